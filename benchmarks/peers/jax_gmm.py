"""gmm in JAX: all components at once."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from .jax_common import compiled

__all__ = ["derivative", "primal"]


def objective(alpha: Any, mu: Any, q: Any, l: Any, x: Any, m: int, gamma: float, log_normalizer: float) -> Any:
    """The log posterior."""
    (n, d), k = x.shape, len(alpha)
    columns, rows = np.triu_indices(d, 1)
    strict = jnp.zeros((k, d, d)).at[:, rows, columns].set(l)
    diagonal, sums = jnp.exp(q), jnp.sum(q, axis=1)
    centered = x[:, None, :] - mu
    scaled = diagonal * centered + jnp.einsum("kab,nkb->nka", strict, centered)
    likelihood = jnp.sum(logsumexp(alpha + sums - 0.5 * jnp.sum(scaled * scaled, axis=2), axis=1))
    prior = jnp.sum(m * sums) - 0.5 * gamma * gamma * (jnp.sum(diagonal * diagonal) + jnp.sum(l * l))
    prior += k * ((d + m + 1) * d * jnp.log(gamma / jnp.sqrt(2.0)) - log_normalizer)
    return likelihood - n * (0.5 * d * jnp.log(2.0 * jnp.pi) + logsumexp(alpha)) + prior


primal = compiled(objective)
derivative = compiled(jax.grad(objective, argnums=(0, 1, 2, 3)))
