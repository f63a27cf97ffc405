"""ode in JAX: a scan over the steps."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]

END = 2.0


def solution(x: Any, steps: int) -> Any:
    """y at the end."""
    h = END / steps

    def rate(y: Any) -> Any:
        return x * jnp.concatenate((jnp.ones(1), y[:-1]))

    def step(y: Any, _: None) -> Any:
        k1 = rate(y)
        k2 = rate(y + 0.5 * h * k1)
        k3 = rate(y + 0.5 * h * k2)
        k4 = rate(y + h * k3)
        return y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4), None

    return jax.lax.scan(step, jnp.zeros_like(x), None, length=steps)[0]


def last(x: Any, steps: int) -> Any:
    """The last component of y at the end."""
    return solution(x, steps)[-1]


primal = compiled(solution, (1,))
derivative = compiled(jax.grad(last), (1,))
