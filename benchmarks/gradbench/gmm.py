"""gmm: the log posterior of a mixture of Gaussians with a Wishart prior on their precision matrices; its gradient.

Component k has the weight exp(alpha_k) / Σ exp(alpha), the mean mu_k and the precision matrix QᵀQ; Q is lower
triangular, with the diagonal exp(q_k) and l_k below it, column by column. The prior is Wishart's with the scale matrix
I / gamma² and d + m + 1 degrees of freedom.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats, listed

__all__ = ["FUNCTIONS", "log_gamma", "objective"]

INDEPENDENT = ("alpha", "mu", "q", "l")


def log_gamma(a: float, p: int) -> float:
    """The logarithm of the multivariate gamma function of dimension p at a."""
    return 0.25 * p * (p - 1) * math.log(math.pi) + sum(math.lgamma(a - 0.5 * j) for j in range(p))


def factor(q: Any, l: Any) -> Any:
    """Q: exp(q) on the diagonal, l below it, column by column."""
    d = len(q)
    matrix = np.zeros((d, d))
    start = 0
    for j in range(d):
        matrix[j, j] = np.exp(q[j])
        below = d - 1 - j
        matrix[j + 1 :, j] = l[start : start + below]
        start += below
    return matrix


def objective(alpha: Any, mu: Any, q: Any, l: Any, x: Any, m: int, gamma: float, log_normalizer: float) -> Any:
    """The log posterior; `log_normalizer` is that of the prior, log Γ_d((d + m + 1) / 2)."""
    n, d = x.shape
    k = len(alpha)
    beta = np.empty((n, k))
    prior = 0.0
    for c in range(k):
        matrix = factor(q[c], l[c])
        scaled = (x - mu[c]) @ matrix.T
        log_determinant = np.sum(q[c])
        beta[:, c] = alpha[c] + log_determinant - 0.5 * np.sum(scaled * scaled, axis=1)
        prior += m * log_determinant - 0.5 * gamma * gamma * np.sum(matrix * matrix)
    prior += k * ((d + m + 1) * d * np.log(gamma / np.sqrt(2.0)) - log_normalizer)
    top = np.max(beta, axis=1)
    likelihood = np.sum(top + np.log(np.sum(np.exp(beta - top[:, None]), axis=1)))
    highest = np.max(alpha)
    weights = highest + np.log(np.sum(np.exp(alpha - highest)))
    return likelihood - n * (0.5 * d * np.log(2.0 * np.pi) + weights) + prior


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `objective`."""
    d, k, m = int(given["d"]), int(given["k"]), int(given["m"])
    independent = (floats(given[name]) for name in INDEPENDENT)
    alpha, mu, q, l = independent
    l = l.reshape(k, d * (d - 1) // 2)
    return alpha, mu, q, l, floats(given["x"]), m, float(given["gamma"]), log_gamma(0.5 * (d + m + 1), d)


def named(gradient: Any) -> Any:
    """The parts of the gradient by the names of the inputs."""
    return dict(zip(INDEPENDENT, listed(gradient), strict=True))


FUNCTIONS = {
    "objective": Function(prepare, jit(objective)),
    "jacobian": Function(prepare, grad(objective, argnums=(0, 1, 2, 3)), named),
}
