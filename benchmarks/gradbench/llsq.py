"""llsq: ½ Σ_i (sign(t_i) − Σ_j x_j t_iʲ)² over n equidistant points t_i of [−1, 1]; its gradient with respect to x."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "objective"]


def objective(x: Any, n: int) -> Any:
    """Half of the sum of squares of the residuals; the polynomial by Horner's rule at all points at once."""
    t = -1.0 + 2.0 * np.arange(n) / (n - 1)
    polynomial = np.zeros(n)
    for j in range(len(x) - 1, -1, -1):
        polynomial = polynomial * t + x[j]
    residual = np.sign(t) - polynomial
    return 0.5 * np.sum(residual * residual)


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `objective`."""
    return floats(given["x"]), int(given["n"])


FUNCTIONS = {
    "primal": Function(prepare, jit(objective)),
    "gradient": Function(prepare, grad(objective)),
}
