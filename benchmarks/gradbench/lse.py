"""lse: the logarithm of a sum of exponentials, log Σ_i exp(x_i), shifted by the maximum; its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "logsumexp"]


def logsumexp(x: Any) -> Any:
    """log Σ_i exp(x_i)."""
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `logsumexp`."""
    return (floats(given["x"]),)


FUNCTIONS = {
    "primal": Function(prepare, jit(logsumexp)),
    "gradient": Function(prepare, grad(logsumexp)),
}
