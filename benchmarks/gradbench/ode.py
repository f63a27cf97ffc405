"""ode: y₀' = x₀, y_i' = x_i y_{i−1} from y = 0 to time 2, by s steps of Runge and Kutta's method of fourth order; the
gradient of the last component.

Information travels four indices in a step: for more than 4 s + 1 components the last one, and its gradient, are zero.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "last", "solution"]

END = 2.0


def rate(x: Any, y: Any) -> Any:
    """y'."""
    derivative = np.empty_like(x)
    derivative[0] = x[0]
    derivative[1:] = x[1:] * y[:-1]
    return derivative


def solution(x: Any, steps: int) -> Any:
    """y at the end."""
    h = END / steps
    y = np.zeros_like(x)
    for _ in range(steps):
        k1 = rate(x, y)
        k2 = rate(x, y + 0.5 * h * k1)
        k3 = rate(x, y + 0.5 * h * k2)
        k4 = rate(x, y + h * k3)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y


def last(x: Any, steps: int) -> Any:
    """The last component of y at the end."""
    return solution(x, steps)[-1]


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `solution` and `last`."""
    return floats(given["x"]), int(given["s"])


FUNCTIONS = {
    "primal": Function(prepare, jit(solution)),
    "gradient": Function(prepare, grad(last)),
}
