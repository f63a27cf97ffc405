"""llsq in JAX: Horner's rule at all points at once, written out, so that the compiler fuses it into one pass; or by
cumulative products, a row of powers for each point; the derivative uses what is faster there."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]


def horner(x: Any, n: int) -> Any:
    """½ Σ (sign(t) − Σ x_j tʲ)², the polynomial by Horner's rule."""
    t = -1.0 + 2.0 * jnp.arange(n) / (n - 1)
    residual = jnp.sign(t) - jnp.polyval(x[::-1], t, unroll=128)
    return 0.5 * jnp.sum(residual * residual)


def powers(x: Any, n: int) -> Any:
    """½ Σ (sign(t) − Σ x_j tʲ)², the powers by a cumulative product."""

    def residual(t: Any) -> Any:
        return jnp.sign(t) - x @ jnp.cumprod(jnp.full(len(x), t).at[0].set(1.0))

    t = -1.0 + 2.0 * jnp.arange(n) / (n - 1)
    return 0.5 * jnp.sum(jax.vmap(residual)(t) ** 2)


primal = compiled(horner, (1,))
derivative = compiled(jax.grad(powers), (1,))
