"""llsq in JAX: Horner's rule at all points at once, sixteen coefficients for each visit of a point."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]


def objective(x: Any, n: int) -> Any:
    """½ Σ (sign(t) − Σ x_j tʲ)², the polynomial by Horner's rule."""
    t = -1.0 + 2.0 * jnp.arange(n) / (n - 1)
    residual = jnp.sign(t) - jnp.polyval(x[::-1], t, unroll=16)
    return 0.5 * jnp.sum(residual * residual)


primal = compiled(objective, (1,))
derivative = compiled(jax.grad(objective), (1,))
