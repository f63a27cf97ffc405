"""Several short rows at a time: which loops, and the same numbers, bit for bit where their order is the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit

EXTENTS = [(0, 9), (1, 1), (3, 10), (4, 64), (5, 65), (8, 0), (11, 3), (37, 17), (64, 200)]
"""Rows and their lengths: no block, whole ones, something left over, nothing in a row, rows that are too long."""


def squares(p: Any, w: Any) -> Any:
    """A sum in any order for each row."""
    return np.sum(p * p, axis=1)


def columns(p: Any, w: Any) -> Any:
    """A row of sums in any order."""
    return np.sum(p * p, axis=0)


def weighted_columns(p: Any, w: Any) -> Any:
    return w @ p


def by_rows(p: Any, w: Any) -> Any:
    """Sums in the user's order, one for each row."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.25 * i
        for j in range(p.shape[1]):
            s = s * 0.5 + p[i, j]
        out[i] = s * i
    return out


def by_columns(p: Any, w: Any) -> Any:
    """A row of sums in the user's order."""
    out = np.ones(p.shape[1])
    for i in range(len(p)):
        for j in range(p.shape[1]):
            out[j] += p[i, j] * (i + 0.5)
    return out


def backwards(p: Any, w: Any) -> Any:
    """The last row first."""
    out = np.ones(p.shape[1])
    for i in range(len(p) - 1, -1, -1):
        for j in range(p.shape[1]):
            out[j] += p[i, j] * (i + 0.5)
    return out


def not_only_sums(p: Any, w: Any) -> Any:
    """What is done with a row of sums is no addition alone: they are stored after each row."""
    out, last = np.ones(p.shape[1]), np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            out[j] = out[j] * 0.5 + p[i, j]
            s += out[j]
        last[i] = s
    return last


def twice(p: Any, w: Any) -> Any:
    """Two loops along a row, the second with what the first has found and written; a number goes from row to row."""
    x, out, t = np.empty(p.shape), np.zeros(len(p)), 1.0
    for i in range(len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            x[i, j] = p[i, j] * (i + 0.5)
            s += p[i, j]
        r = 0.0
        for j in range(p.shape[1]):
            r += x[i, j] * s
        t = 0.5 * t + r
        out[i] = t
    return out


def next_row(p: Any, w: Any) -> Any:
    """A row reads the one before, in the same place."""
    x, out = p.copy(), np.zeros(len(p))
    for i in range(1, len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            x[i, j] = x[i - 1, j] * 0.5 + p[i, j]
            s += x[i, j]
        out[i] = s
    return out


def from_behind(p: Any, w: Any) -> Any:
    """Not at a time: a row reads the one before from behind."""
    x, out = p.copy(), np.zeros(len(p))
    for i in range(1, len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            x[i, j] = x[i - 1, p.shape[1] - 1 - j] * 0.5 + p[i, j]
            s += x[i, j]
        out[i] = s
    return out


def shifted(p: Any, w: Any) -> Any:
    """Not at a time: a row of sums is read in another place than it is written."""
    x, out = np.ones(p.shape[1] + 1), np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            x[j] += x[j + 1] * p[i, j]
            s += x[j]
        out[i] = s
    return out


def needed_before(p: Any, w: Any) -> Any:
    """Not at a time: a row begins with what the one before has ended with."""
    out, t = np.zeros(len(p)), 1.0
    for i in range(len(p)):
        s = t
        for j in range(p.shape[1]):
            s = s * 0.5 + p[i, j]
        t = s * 0.75
        out[i] = t
    return out


def triangle(p: Any, w: Any) -> Any:
    """Not at a time: rows are of different lengths."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(min(i, p.shape[1])):
            s += p[i, j] * i
        out[i] = s
    return out


def chosen(p: Any, w: Any) -> Any:
    """Not at a time: rows go where numbers say, and may meet."""
    out, to = np.zeros((len(p), p.shape[1])), (np.abs(w) * len(p)).astype(np.int64) % max(len(p), 1)
    last = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(p.shape[1]):
            out[to[i], j] = out[to[i], j] * 0.5 + p[i, j]
            s += out[to[i], j]
        last[i] = s
    return last


ANY_ORDER = [squares, columns, weighted_columns]
IN_ORDER = [by_rows, by_columns, backwards, not_only_sums, twice, next_row]
KEPT = [from_behind, shifted, needed_before, triangle, chosen]


def inputs(extents: tuple[int, int]) -> tuple[Any, Any]:
    n, m = extents
    rng = np.random.default_rng(n + 100 * m)
    return rng.uniform(-0.9, 0.9, (n, m)), rng.uniform(-0.9, 0.9, n)


def at_a_time(function: Callable[..., Any]) -> bool:
    compiled = adjit.jit(function)
    compiled.compile(*inputs((3, 4)))
    return "rows=4" in str(compiled.ir("scheduled"))


@pytest.mark.parametrize("function", [*ANY_ORDER, *IN_ORDER])
def test_rows_at_a_time(function: Any) -> None:
    assert at_a_time(function)


@pytest.mark.parametrize("function", KEPT)
def test_one_row_after_the_other(function: Any) -> None:
    assert not at_a_time(function)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [*ANY_ORDER, *IN_ORDER, *KEPT])
def test_values(function: Any) -> None:
    compiled = adjit.jit(function)
    for extents in EXTENTS:
        p, w = inputs(extents)
        for given in ((p, w), (np.asfortranarray(p), w), (np.repeat(p, 2, axis=0)[::2], w[::-1])):
            found, expected = compiled(*given), function(*given)
            if function in ANY_ORDER:
                assert np.allclose(found, expected, rtol=1e-13, atol=1e-14)
            else:
                assert np.array_equal(found, expected)  # the same operations in the same order


@pytest.mark.parametrize("function", [*ANY_ORDER, *IN_ORDER])
def test_single_precision(function: Any) -> None:
    p, w = (x.astype(np.float32) for x in inputs((37, 17)))
    assert np.allclose(adjit.jit(function)(p, w), function(p, w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [squares, columns, by_columns])
def test_what_is_no_number(function: Any) -> None:
    p, w = inputs((23, 11))
    p[5, 3], p[7, 4], p[9, 4], p[22, 10] = np.nan, np.inf, -np.inf, np.inf
    with np.errstate(all="ignore"):
        expected = function(p, w)
    assert np.allclose(adjit.jit(function)(p, w), expected, rtol=1e-13, equal_nan=True)


@pytest.mark.parametrize("function", [*ANY_ORDER, *IN_ORDER, *KEPT])
def test_derivatives(function: Any) -> None:
    def weighted(p: Any, w: Any) -> Any:
        out = function(p, w)
        return np.sum(out * out)

    check_program(weighted, [inputs((11, 6))], (0, 1), compile=True)
