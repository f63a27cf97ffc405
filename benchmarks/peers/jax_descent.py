"""Gradient descent as `particle` and `saddle` define it, in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..gradbench.descent import FIRST_RATE, FLAT, IN_A_ROW

__all__ = ["argmin"]


def length(x: Any) -> Any:
    """|x|."""
    return jnp.sqrt(jnp.sum(x * x))


def argmin(function: Callable[..., Any], derivative: Callable[..., Any], start: Any) -> Any:
    """Where `function` is least, from `start` downhill."""

    def going(state: Any) -> Any:
        _, _, slope, _, _, done = state
        return ~done & (length(slope) > FLAT)

    def down(state: Any) -> Any:
        x, value, slope, rate, successes, _ = state
        enough = successes == IN_A_ROW
        rate, successes = jnp.where(enough, 2.0 * rate, rate), jnp.where(enough, 0, successes)
        moved = x - rate * slope
        there = function(moved)
        better = there < value
        new_slope = jax.lax.cond(better, derivative, lambda _: slope, moved)
        new = (
            jnp.where(better, moved, x),
            jnp.where(better, there, value),
            new_slope,
            jnp.where(better, rate, 0.5 * rate),
            jnp.where(better, successes + 1, 0),
        )
        done = length(moved - x) <= FLAT
        kept = (x, value, slope, rate, successes)
        return *(jnp.where(done, a, b) for a, b in zip(kept, new, strict=True)), done

    state = start, function(start), derivative(start), jnp.asarray(FIRST_RATE), jnp.asarray(0), jnp.asarray(False)
    return jax.lax.while_loop(going, down, state)[0]
