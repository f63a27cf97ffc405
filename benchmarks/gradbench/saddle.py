"""saddle: min_x max_y |x|² − |y|² in the plane by gradient descent inside of gradient descent, with all combinations of
forward and reverse mode for the outer and the inner derivative; the outer one goes through the inner optimization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...api import jit
from .descent import MODES, argmin
from .function import Function, floats

__all__ = ["FUNCTIONS", "height", "saddle_point"]


def height(x: Any, y: Any) -> Any:
    """|x|² − |y|²."""
    return np.sum(x * x) - np.sum(y * y)


def saddle_point(outer: Callable[..., Any], inner: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a start that finds x and y, with the derivatives of `outer` and `inner`."""

    def highest(x: Any, start: Any, derivative: Callable[..., Any]) -> Any:
        def depth(y: Any) -> Any:
            return -height(x, y)

        return argmin(depth, derivative(depth), start)

    def search(start: Any) -> Any:
        def ridge(x: Any) -> Any:
            return height(x, highest(x, start, inner))

        x = argmin(ridge, outer(ridge), start)
        return np.concatenate((x, highest(x, start, outer)))

    return search


def prepare(given: Any) -> tuple[Any, ...]:
    """The start."""
    return (floats(given["start"]),)


FUNCTIONS = {a + b: Function(prepare, jit(saddle_point(MODES[a], MODES[b]))) for a in MODES for b in MODES}
