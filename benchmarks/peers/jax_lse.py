"""lse in JAX."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]


def logsumexp(x: Any) -> Any:
    """log Σ exp(x)."""
    top = jnp.max(x)
    return top + jnp.log(jnp.sum(jnp.exp(x - top)))


primal = compiled(logsumexp)
derivative = compiled(jax.grad(logsumexp))
