"""particle: where to put a charge so that a particle driven by it and another one meets the origin, by gradient descent
on the square of where its path meets the axis; forces are derivatives of a potential. All combinations of forward and
reverse mode for the outer and the inner derivative.

The charges are at (10, 10 − w) and (10, 0), the potential is the sum of the inverse distances, the path is Euler's with
steps of 0.1 and a last one as long as it takes to meet the axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...api import jit
from .descent import MODES, argmin
from .function import Function

__all__ = ["FUNCTIONS", "control", "miss"]

STEP = 0.1


def potential(position: Any, w: Any) -> Any:
    """The sum of the inverse distances from the charges."""
    x, y = position[0] - 10.0, position[1]
    return 1.0 / np.sqrt(x * x + (y - 10.0 + w) ** 2) + 1.0 / np.sqrt(x * x + y * y)


def miss(w: Any, inner: Callable[..., Any]) -> Any:
    """The square of where the path meets the axis; `w` is an array of one number."""
    slope = inner(potential)
    position, velocity = np.array([0.0, 8.0]), np.array([0.75, 0.0])
    following = position + STEP * velocity
    while following[1] >= 0.0:
        velocity = velocity - STEP * slope(position, w[0])
        position = following
        following = position + STEP * velocity
    meets = position[0] - position[1] / velocity[1] * velocity[0]
    return meets * meets


def control(outer: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a start that finds w, with the derivatives of `outer` and `inner`."""

    def search(start: Any) -> Any:
        def squared(w: Any) -> Any:
            return miss(w, inner)

        return argmin(squared, outer(squared), start)[0]

    return search


def prepare(given: Any) -> tuple[Any, ...]:
    """The start, as an array of one number."""
    return (np.array([float(given["w"])]),)


FUNCTIONS = {a + b: Function(prepare, jit(control(MODES[a], MODES[b]))) for a in MODES for b in MODES}
