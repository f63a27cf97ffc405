"""A sum in any order is added up by one loop: two would come to other bits, and it would not equal itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adjit import grad, jit, jvp

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((8, 4)), RNG.standard_normal((3, 4))
VX, VY = RNG.standard_normal((8, 4)), RNG.standard_normal((3, 4))


def nearest(x, y):
    distance = np.sum((x[:, None, :] - y) ** 2, axis=-1)
    return np.sum(distance.min(axis=1))


def farthest(x, y):
    return np.sum(np.max(np.sum(np.abs(x[:, None, :] - y), axis=-1), axis=1))


def largest_product(x, y):
    return np.sum(np.max(np.prod(1.0 + 0.1 * x[:, None, :] * y, axis=-1), axis=1))


def largest_row(x, y):
    return np.max(np.sin(np.sum(x * x, axis=1))) + np.min(np.sum(y, axis=1))


def largest_image(x, y):
    return np.max(x @ y[0]) * np.min(y @ x[0])


PROGRAMS = [nearest, farthest, largest_product, largest_row, largest_image]


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", PROGRAMS)
def test_forward_mode_finds_what_attains_the_extreme(function: Callable[..., Any]) -> None:
    tangent = jit(lambda x, y, vx, vy: jvp(function, (x, y), (vx, vy))[1])(X, Y, VX, VY)  # alone: no value is stored
    gx, gy = grad(function, (0, 1))(X, Y)
    assert tangent == pytest.approx(np.sum(gx * VX) + np.sum(gy * VY), rel=1e-12)


def attained(x, y):
    """How many entries attain the minimum of their row."""
    distance = np.sum((x[:, None, :] - y) ** 2, axis=-1)
    return np.sum(np.sum(distance == distance.min(axis=1)[:, None], axis=1))


def excess(x, y):
    """How far the others are above it."""
    distance = np.sum((x[:, None, :] - y) ** 2, axis=-1)
    return np.sum(np.sqrt(distance - distance.min(axis=1)[:, None]))


def rows_against_the_first(x, y):
    """Rows that are the same have the same sum, whichever way it is read."""
    same = np.sum(np.broadcast_to(x[0], x.shape) * y[0], axis=1)
    return np.sum(same[1:] == same[:-1])


def test_values_that_are_compared_with_themselves() -> None:
    assert jit(attained)(X, Y) == len(X)
    assert jit(excess)(X, Y) == pytest.approx(excess(X, Y), rel=1e-12)  # NaN where an entry were below the minimum
    assert jit(rows_against_the_first)(X, Y) == len(X) - 1
