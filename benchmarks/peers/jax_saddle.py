"""saddle in JAX: forward mode outside, since the optimization is a loop of unknown length, reverse mode inside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled
from .jax_descent import argmin

__all__ = ["derivative", "primal"]


def height(x: Any, y: Any) -> Any:
    """|x|² − |y|²."""
    return jnp.sum(x * x) - jnp.sum(y * y)


def saddle_point(start: Any) -> Any:
    """x and y."""

    def highest(x: Any) -> Any:
        def depth(y: Any) -> Any:
            return -height(x, y)

        return argmin(depth, jax.grad(depth), start)

    def ridge(x: Any) -> Any:
        return height(x, highest(x))

    x = argmin(ridge, jax.jacfwd(ridge), start)
    return jnp.concatenate((x, highest(x)))


primal = derivative = compiled(saddle_point)
