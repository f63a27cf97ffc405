"""What the JAX programs have in common: 64-bit numbers, and calls that return when the result is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

__all__ = ["compiled", "place"]

jax.config.update("jax_enable_x64", True)


def compiled(function: Callable[..., Any], static: tuple[int, ...] = ()) -> Callable[..., Any]:
    """The function compiled, with arguments at `static` as constants; waits for the result."""
    compiled_once = jax.jit(function, static_argnums=static)

    def call(*arguments: Any) -> Any:
        return jax.block_until_ready(compiled_once(*arguments))

    return call


def place(*arguments: Any) -> tuple[Any, ...]:
    """The arguments with arrays as JAX's, so that a timed call converts nothing."""
    return tuple(jax.device_put(x) if hasattr(x, "shape") else x for x in arguments)
