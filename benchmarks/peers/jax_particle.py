"""particle in JAX: forward mode outside, since the path is a loop of unknown length, reverse mode inside."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled
from .jax_descent import argmin

__all__ = ["derivative", "primal"]

STEP = 0.1


def potential(position: Any, w: Any) -> Any:
    """The sum of the inverse distances from the charges."""
    x, y = position[0] - 10.0, position[1]
    return 1.0 / jnp.sqrt(x * x + (y - 10.0 + w) ** 2) + 1.0 / jnp.sqrt(x * x + y * y)


def miss(w: Any) -> Any:
    """The square of where the path meets the axis."""

    def above(state: Any) -> Any:
        position, velocity = state
        return position[1] + STEP * velocity[1] >= 0.0

    def step(state: Any) -> Any:
        position, velocity = state
        return position + STEP * velocity, velocity - STEP * jax.grad(potential)(position, w[0])

    position, velocity = jax.lax.while_loop(above, step, (jnp.array([0.0, 8.0]), jnp.array([0.75, 0.0])))
    meets = position[0] - position[1] / velocity[1] * velocity[0]
    return meets * meets


def control(start: Any) -> Any:
    """The place of the charge."""
    return argmin(miss, jax.jacfwd(miss), start)[0]


primal = derivative = compiled(control)
