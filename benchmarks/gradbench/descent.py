"""Gradient descent as `particle` and `saddle` define it, with the derivative of any function that it is given.

The rate of descent starts small, doubles after ten steps down in a row and halves where a step leads up. It ends where
the slope is flat or a step is short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...api import grad, jacfwd

__all__ = ["MODES", "argmin"]

MODES: dict[str, Callable[..., Any]] = {"f": jacfwd, "r": grad}
"""Derivatives of a scalar function of an array: in forward mode, in reverse mode."""

FLAT = 1e-5
FIRST_RATE = 1e-5
IN_A_ROW = 10


def length(x: Any) -> Any:
    """|x|."""
    return np.sqrt(np.sum(x * x))


def argmin(function: Callable[..., Any], derivative: Callable[..., Any], start: Any) -> Any:
    """Where `function` is least, from `start` downhill."""
    x, value, slope = start, function(start), derivative(start)
    rate, successes = FIRST_RATE, 0
    while length(slope) > FLAT:
        if successes == IN_A_ROW:
            rate *= 2.0
            successes = 0
        moved = x - rate * slope
        if length(moved - x) <= FLAT:
            break
        there = function(moved)
        if there < value:
            x, value, slope = moved, there, derivative(moved)
            successes += 1
        else:
            rate *= 0.5
            successes = 0
    return x
