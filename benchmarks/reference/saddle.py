"""saddle by hand, in scalars: the inner optimum does not depend on x but by the rounding of a comparison, so that the
outer gradient is 2 x; values still need the inner optimization."""

from __future__ import annotations

from typing import Any

import numpy as np

from .descent import FIRST_RATE, FLAT, IN_A_ROW
from .kernel import kernel

__all__ = ["derivative", "primal"]


@kernel
def highest(x0: float, x1: float, y0: float, y1: float) -> tuple[float, float]:
    """Where −(|x|² − |y|²) is least, from y downhill."""
    level = x0 * x0 + x1 * x1
    value, rate, successes = -(level - (y0 * y0 + y1 * y1)), FIRST_RATE, 0
    while np.sqrt(4.0 * (y0 * y0 + y1 * y1)) > FLAT:
        if successes == IN_A_ROW:
            rate *= 2.0
            successes = 0
        moved0, moved1 = y0 - rate * (2.0 * y0), y1 - rate * (2.0 * y1)
        way0, way1 = moved0 - y0, moved1 - y1
        if np.sqrt(way0 * way0 + way1 * way1) <= FLAT:
            break
        there = -(level - (moved0 * moved0 + moved1 * moved1))
        if there < value:
            y0, y1, value = moved0, moved1, there
            successes += 1
        else:
            rate *= 0.5
            successes = 0
    return y0, y1


@kernel
def ridge(x0: float, x1: float, start: Any) -> Any:
    """The height at the highest point for an x."""
    y0, y1 = highest(x0, x1, start[0], start[1])
    return (x0 * x0 + x1 * x1) - (y0 * y0 + y1 * y1)


@kernel
def derivative(start: Any) -> Any:
    """The saddle point."""
    x0, x1 = start[0], start[1]
    value, rate, successes = ridge(x0, x1, start), FIRST_RATE, 0
    while np.sqrt(4.0 * (x0 * x0 + x1 * x1)) > FLAT:
        if successes == IN_A_ROW:
            rate *= 2.0
            successes = 0
        moved0, moved1 = x0 - rate * (2.0 * x0), x1 - rate * (2.0 * x1)
        way0, way1 = moved0 - x0, moved1 - x1
        if np.sqrt(way0 * way0 + way1 * way1) <= FLAT:
            break
        there = ridge(moved0, moved1, start)
        if there < value:
            x0, x1, value = moved0, moved1, there
            successes += 1
        else:
            rate *= 0.5
            successes = 0
    y0, y1 = highest(x0, x1, start[0], start[1])
    return np.array([x0, x1, y0, y1])


primal = derivative
"""The program's derivatives are inside of it."""
