"""Turns of an outer loop side by side: which loops, and the same numbers bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.ir.core import walk
from adjit.ir.passes import prove
from adjit.ir.text import parse

EXTENTS = [(0, 3, 4), (1, 1, 1), (15, 4, 3), (16, 3, 0), (17, 5, 9), (35, 2, 64), (33, 2, 65), (64, 7, 2)]
"""Points, centres and dimensions: no block, a whole one, something left over, columns that are too long."""


def nearest(p: Any, q: Any) -> Any:
    """Sums in any order, and a place that is used as an index."""
    total = 0.0
    for i in range(len(p)):
        j = np.argmin(np.sum((q - p[i]) ** 2, axis=1))
        total += np.sum((q[j] - p[i]) ** 2)
    return total


def closest(p: Any, q: Any) -> Any:
    """By loops, in their order."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        best = np.inf
        for j in range(len(q)):
            s = 0.0
            for c in range(p.shape[1]):
                s += abs(q[j, c] - p[i, c]) * q[j, c]
            best = np.minimum(best, s)
        out[i] = best
    return out


def backwards(p: Any, q: Any) -> Any:
    """The last point first; what is carried on is neither a sum nor the same for each."""
    out, t = np.zeros(len(p)), 0.25
    for i in range(len(p) - 1, -1, -1):
        s = 0.0
        for j in range(len(q) - 1, -1, -1):
            for c in range(p.shape[1]):
                s = s * 0.75 + np.sqrt(np.maximum(p[i, c], 0.5)) * q[j, c] / (p[i, c] * p[i, c] + 1.5)
        t = t * s + 0.5
        out[i] = t
    return out


def neighbours(p: Any, q: Any) -> Any:
    """Lanes read what lies side by side: nothing is copied."""
    out = np.zeros(p.shape[1])
    for i in range(p.shape[1]):
        s = 0.0
        for j in range(len(p)):
            s = s * 0.5 + p[j, i] * p[j, 0]
        out[i] = s + i
    return out


def pairs_of_indices(p: Any, q: Any) -> Any:
    """Two loops run over what is copied."""
    x = np.ones((len(p), 2, p.shape[1])) * 0.5
    for i in range(len(p)):
        x[i, 1] = p[i]
    out = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(len(q)):
            for k in range(2):
                for c in range(p.shape[1]):
                    s += x[i, k, c] * q[j, c] * s + x[i, k, c]
        out[i] = s
    return out


def stops(p: Any, q: Any) -> Any:
    """A check after the sums, in the middle of a block."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(len(q)):
            for c in range(p.shape[1]):
                s += q[j, c] * p[i, c]
        if s > 1e6:
            raise ValueError("too far")
        out[i] = s
    return out


def written(p: Any, q: Any) -> Any:
    """Not side by side: a turn reads what the one before has written."""
    x = p.copy()
    for i in range(1, len(p)):
        best = 0.0
        for j in range(len(q)):
            s = 0.0
            for c in range(p.shape[1]):
                s += q[j, c] * x[i, c]
            best = np.maximum(best, s)
        x[i - 1, 0] = best
        x[0, 0] = best * 0.5
    return x


def carried(p: Any, q: Any) -> Any:
    """Not side by side: a sum begins where that of the turn before has ended."""
    out, s = np.zeros(len(p)), 0.0
    for i in range(len(p)):
        for j in range(len(q)):
            for c in range(p.shape[1]):
                s += q[j, c] * p[i, c]
        out[i] = s
    return out


def triangle(p: Any, q: Any) -> Any:
    """Not side by side: lanes would take turns of different numbers."""
    out = np.zeros(len(p))
    for i in range(len(p)):
        s = 0.0
        for j in range(i):
            for c in range(p.shape[1]):
                s += p[j, c] * p[i, c]
        out[i] = s
    return out


def after_a_check(p: Any, q: Any) -> Any:
    """Not side by side: that the sum may be had is only known behind a check that depends on the turn."""
    out, to = np.zeros(len(p)), np.argsort(p[:, 0])
    for i in range(len(p)):
        at = to[i]
        s = 0.0
        for j in range(len(q)):
            for c in range(p.shape[1]):
                s += q[j, c] * p[at, c]
        out[i] = s
    return out


LANES = [nearest, closest, backwards, neighbours, pairs_of_indices, stops]
KEPT = [written, carried, triangle, after_a_check]


def inputs(extents: tuple[int, int, int]) -> tuple[Any, Any]:
    n, k, d = extents
    rng = np.random.default_rng(n + 100 * d)
    return rng.uniform(-0.9, 0.9, (n, d)), rng.uniform(-0.9, 0.9, (k, d))


def side_by_side(function: Callable[..., Any]) -> bool:
    compiled = adjit.jit(function)
    compiled.compile(*inputs((3, 4, 2)))
    return "lanes=true" in str(compiled.ir("scheduled"))


@pytest.mark.parametrize("function", LANES)
def test_lanes(function: Any) -> None:
    assert side_by_side(function)


@pytest.mark.parametrize("function", KEPT)
def test_no_lanes(function: Any) -> None:
    assert not side_by_side(function)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*LANES, *KEPT])
def test_values(function: Any) -> None:
    compiled = adjit.jit(function)
    for extents in EXTENTS:
        if 0 in extents and function in (after_a_check, neighbours, written):
            continue
        p, q = inputs(extents)
        for given in ((p, q), (np.asfortranarray(p), q), (np.repeat(p, 2, axis=0)[::2], q[::-1])):
            found, expected = compiled(*given), function(*given)
            if function is nearest:
                assert np.isclose(found, expected, rtol=1e-13)
            else:
                assert np.array_equal(found, expected)  # the same operations in the same order


@pytest.mark.parametrize("function", [closest, backwards, neighbours])
def test_single_precision(function: Any) -> None:
    p, q = (x.astype(np.float32) for x in inputs((37, 3, 21)))
    assert np.allclose(adjit.jit(function)(p, q), function(p, q), rtol=1e-4)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*LANES, *KEPT])
def test_derivatives(function: Any) -> None:
    def weighted(p: Any, q: Any) -> Any:
        out = function(p, q)
        return np.sum(out * out)

    check_program(weighted, [inputs((18, 3, 2))], (0, 1), compile=True)


def place(p: Any, q: Any) -> Any:
    out = np.zeros((len(p), 2), dtype=np.int64)
    for i in range(len(p)):
        out[i, 0] = np.argmin(np.sum(q * p[i], axis=1))
        out[i, 1] = np.argmax(np.sum(q * p[i], axis=1))
    return out


def test_extremes_of_what_is_no_number() -> None:
    """The first NaN, the first of equal ones, and infinities, as NumPy finds them."""
    rng = np.random.default_rng(5)
    p, q = rng.choice([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], (83, 2)), rng.choice([0.0, 1.0, -2.0], (6, 2))
    with np.errstate(all="ignore"):
        expected = place(p, q)
    assert np.array_equal(adjit.jit(place)(p, q), expected)


@pytest.mark.parametrize("at", [0, 5, 15, 16, 31, 32, 39])
def test_failing_in_the_middle_of_a_block(at: int) -> None:
    p, q = inputs((40, 2, 3))
    p[at] = 1e9 * q[0]
    with pytest.raises(ValueError, match="too far"):
        adjit.jit(stops)(p, q)


def test_shapes_that_do_not_match() -> None:
    p, q = inputs((40, 2, 3))
    with pytest.raises(ValueError, match="broadcast"):
        adjit.jit(nearest)(p, q[:, :2])
    with pytest.raises(ValueError, match="without elements"):
        adjit.jit(nearest)(p, q[:0])
    assert adjit.jit(nearest)(p[:0], q[:0]) == 0.0


def into_rows(x: Any, p: Any, q: Any) -> Any:
    for i in range(len(p)):
        s = 0.0
        for j in range(len(q)):
            for c in range(q.shape[1]):
                s += q[j, c] * p[i, c]
        if s > 1e6:
            raise ValueError("too far")
        x[i] = s
    return x


@pytest.mark.parametrize("at", [0, 20, 39])
def test_memory_of_the_caller(at: int) -> None:
    """It is as Python leaves it, where a turn fails too."""
    p, q = inputs((40, 3, 4))
    p[at] = 1e9 * q[0]
    written = [np.full(40, 7.0) for _ in range(2)]
    for function, x in zip((adjit.jit(into_rows), into_rows), written, strict=True):
        with pytest.raises(ValueError, match="too far"):
            function(x, p, q)
    assert np.array_equal(*written)


def test_columns_that_do_not_exist() -> None:
    """A check in a turn comes before what would be read there."""
    p, q = inputs((40, 3, 4))
    for x in (p[:, :3], p[:, :0]):
        written = np.full(40, 7.0)
        with pytest.raises(IndexError):
            adjit.jit(into_rows)(written, x, q)
        assert np.all(written == 7.0)
    written = np.full(40, 7.0)
    assert np.all(adjit.jit(into_rows)(written, p[:, :0], q[:0]) == 0.0)


def test_the_place_of_an_extreme_is_inside() -> None:
    """Where there are elements, which is checked, and of the array that it is an extreme of."""
    head = "func @f(%x: f64[?], %y: f64[?]) -> f64 { %n: i64 = dim %x {axis=0}  %m: i64 = dim %y {axis=0}  "
    check = '%c: bool = gt %n, 0  check %c {error="ValueError", message="none"}  '
    place = "%j: i64 = argmin %x {axis=0}  "

    def left(before: str, of: str, array: str) -> bool:
        bound = f'%k: i64 = bound %j, {of} {{what="index", axis=0}}  '
        read = f'%v: f64 = index {array}, %k {{spec="i"}}  return %v }}'
        return any(op.name == "bound" for op in walk(prove.run(parse(head + before + place + bound + read)).body))

    assert not left(check, "%n", "%x")
    assert left("", "%n", "%x")
    assert left(check, "%m", "%y")
