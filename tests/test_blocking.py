"""Sweeps over arrays, block by block: which loops, and the same numbers bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.ir.core import Op, walk
from adjit.ir.text import parse

pytestmark = pytest.mark.usefixtures("always_threads")

EXTENTS = [(0, 5), (1, 1), (3, 0), (4, 7), (5, 1023), (9, 1025), (2, 5000)]
"""Sweeps and elements: none, less than a group or a block, a whole one, more."""


def horner(c: Any, t: Any) -> Any:
    out = np.zeros(len(t))
    for j in range(len(c) - 1, -1, -1):
        out = out * t + c[j]
    return out


def decay(c: Any, t: Any) -> Any:
    y = t.copy()
    for j in range(len(c)):
        for i in range(len(t)):
            y[i] = y[i] - c[j] * y[i] * t[i]
    return y


def two_arrays(c: Any, t: Any) -> Any:
    """A leapfrog of many particles: both arrays are carried on."""
    x, v = t.copy(), np.zeros(len(t))
    for j in range(2, len(c)):
        v = v - c[j] * x
        x = x + c[j - 1] * v
    return x * v


def rows(c: Any, t: Any) -> Any:
    """One array is kept sweep by sweep."""
    y, kept = t.copy(), np.zeros((len(c), len(t)))
    for j in range(len(c)):
        for i in range(len(t)):
            y[i] = y[i] * c[j] + t[i]
            kept[j, i] = y[i]
    return kept


def moments(c: Any, t: Any) -> Any:
    """Sums that something is done with."""
    y, out = np.ones(len(t)), np.zeros(len(c))
    for j in range(len(c)):
        out[j] = c[j] * np.sum(y)
        y = y * t
    return out


def two_sums(c: Any, t: Any) -> Any:
    y, out = t * 0.5, np.zeros((2, len(c)))
    for j in range(len(c) - 1, -1, -1):
        out[0, j] = np.sum(y * t)
        out[1, j] = np.sum(y)
        y = y * t + c[j]
    return out


def shifted(c: Any, t: Any) -> Any:
    """Not blocked: each sweep reads what its neighbours were."""
    y = t.copy()
    for j in range(len(c)):
        for i in range(len(t) - 1):
            y[i] = y[i] * 0.5 + c[j] * y[i + 1]
    return y


def moved_with_the_sweep(c: Any, t: Any) -> Any:
    """Not blocked: the position depends on the sweep."""
    y = np.zeros(len(c) + len(t))
    for j in range(len(c)):
        for i in range(len(t)):
            y[i + j] = y[i + j] * 0.5 + t[i]
    return y


def normalized(c: Any, t: Any) -> Any:
    """Not blocked: a sum over all elements is used in the next sweep."""
    y = t + 2.0
    for j in range(len(c)):
        y = y * (c[j] / np.sum(y))
    return y


def growing(c: Any, t: Any) -> Any:
    """Not blocked: sweeps of different lengths."""
    y = t.copy()
    for j in range(min(len(c), len(t))):
        for i in range(j):
            y[i] = y[i] * c[j] + t[i]
    return y


def read_from_outside(c: Any, t: Any) -> Any:
    """Not blocked: a sweep is scaled by an element that sweeps change."""
    y = t + 1.5
    for j in range(min(len(c), len(t))):
        s = y[j]
        for i in range(len(t)):
            y[i] = y[i] * 0.5 + s
    return y


BLOCKED = [horner, decay, two_arrays, rows, moments, two_sums]
KEPT = [shifted, moved_with_the_sweep, normalized, growing, read_from_outside]


def inputs(extents: tuple[int, int]) -> tuple[Any, Any]:
    rng = np.random.default_rng(sum(extents))
    return rng.uniform(-0.5, 0.9, extents[0]), rng.uniform(-0.9, 0.9, extents[1])


def blocked(function: Callable[..., Any]) -> bool:
    compiled = adjit.jit(function)
    compiled.compile(*inputs((3, 4)))
    return "bounded=true" in str(compiled.ir("scheduled"))


@pytest.mark.parametrize("function", BLOCKED)
def test_blocked(function: Any) -> None:
    assert blocked(function)


@pytest.mark.parametrize("function", KEPT)
def test_not_blocked(function: Any) -> None:
    assert not blocked(function)


@pytest.mark.parametrize("extents", EXTENTS)
@pytest.mark.parametrize("function", [*BLOCKED, *KEPT])
def test_values(function: Any, extents: tuple[int, int]) -> None:
    given = inputs(extents)
    if function is normalized and 0 in extents:
        return
    found, expected = adjit.jit(function)(*given), function(*given)
    if function in (moments, two_sums, normalized):
        assert np.allclose(found, expected, rtol=1e-13, atol=1e-13)
    else:
        assert np.array_equal(found, expected)  # the same operations in the same order


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [*BLOCKED, *KEPT])
def test_derivatives(function: Any) -> None:
    def weighted(c: Any, t: Any) -> Any:
        out = function(c, t)
        return np.sum(out * out)

    check_program(weighted, [inputs((6, 5)), inputs((3, 9))], (0, 1), compile=True)


@pytest.mark.parametrize("function", [horner, moments, rows])
def test_derivatives_of_long_arrays(function: Any) -> None:
    """Against differences along one direction."""

    def weighted(c: Any, t: Any) -> Any:
        out = function(c, t)
        return np.sum(out * out)

    c, t = inputs((7, 2500))
    found = adjit.grad(weighted, argnums=(0, 1))(c, t)
    rng = np.random.default_rng(3)
    dc, dt = rng.normal(size=c.shape), rng.normal(size=t.shape)
    h = 1e-6
    slope = (weighted(c + h * dc, t + h * dt) - weighted(c - h * dc, t - h * dt)) / (2 * h)
    assert np.isclose(np.sum(found[0] * dc) + np.sum(found[1] * dt), slope, rtol=1e-7)


def test_infinite_sums() -> None:
    t = np.full(3000, 0.5)
    t[7] = np.inf
    found, expected = adjit.jit(moments)(np.ones(6), t), moments(np.ones(6), t)
    assert np.array_equal(found, expected, equal_nan=True) and np.isinf(found[1])
    t[9] = np.nan
    assert np.array_equal(np.isnan(adjit.jit(moments)(np.ones(6), t)), [False, *[True] * 5])


def in_place(c: Any, y: Any, t: Any) -> Any:
    for j in range(len(c)):
        for i in range(len(t)):
            y[i] = y[i] * c[j] + t[i]
    return y


def test_memory_of_the_caller() -> None:
    """It is left to be swept as written."""
    c, t = inputs((5, 3000))
    found, expected = np.ones(3000), np.ones(3000)
    compiled = adjit.jit(in_place)
    compiled(c, found, t)
    in_place(c, expected, t)
    assert np.array_equal(found, expected)
    assert "bounded=true" not in compiled.ir("scheduled")


def test_threads() -> None:
    c, t = inputs((9, 5000))
    for function in (horner, rows, moments):
        found = adjit.jit(function, parallel=2)(c, t)
        assert np.allclose(found, function(c, t), rtol=1e-13, atol=1e-13)


def test_operations_of_one_block_are_found_once() -> None:
    """Loads of what the sweep before has stored are gone."""
    compiled = adjit.jit(horner)
    compiled.compile(*inputs((3, 4)))
    loops: list[Op] = [op for op in walk(parse(compiled.ir("scheduled")).body) if op.attrs.get("bounded")]
    loads = [sum(op.name == "buffer.load" for op in loop.regions[0].ops) for loop in loops]
    assert loads == [2, 2]
