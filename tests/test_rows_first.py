"""Loops down columns that become sweeps over rows: which ones, and the same numbers, bit for bit where their order is
the user's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit

SHAPES = [(0, 9), (9, 0), (1, 1), (10, 3), (3, 8), (11, 9), (12, 33)]
"""Rows and columns: none, few columns, a few more."""


def symmetric(c: Any, a: Any, b: Any) -> Any:
    """Updates and sums down the columns of two matrices; `i` rows of them."""
    out = c * 0.5
    held = np.zeros(c.shape[1])
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            out[:i, j] += 0.25 * b[i, j] * a[i, :i]
            held[j] = b[:i, j] @ a[i, :i]
        out[i, :] += b[i, :] * a[i, i] + held
    return out


def in_order(c: Any, a: Any, b: Any) -> Any:
    """What is carried is no sum in any order."""
    out = np.zeros_like(c)
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            s = 0.125 * i
            for k in range(c.shape[0]):
                s = s * 0.5 + c[k, j] * c[k, 0]
            out[i, j] = s - b[i, j]
    return out


def backwards(c: Any, a: Any, b: Any) -> Any:
    out = c.copy()
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            s = b[i, j] * a[i, i]
            for k in range(c.shape[0] - 1, -1, -1):
                s = s * 0.5 + c[k, j]
                out[k, j] = out[k, j] * 0.75 + s * c[k, 0]
    return out


def first_column_last(c: Any, a: Any, b: Any) -> Any:
    """A column needs the one before."""
    out = c.copy()
    for i in range(c.shape[0]):
        for j in range(1, c.shape[1]):
            for k in range(c.shape[0]):
                out[k, j] = out[k, j] - 0.5 * out[k, j - 1] * a[i, k] + b[k, j]
    return out


def own_place(c: Any, a: Any, b: Any) -> Any:
    """A turn reads an element of its column that its inner loop overwrites."""
    out = c.copy()
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            s = out[i, j]
            for k in range(c.shape[0]):
                out[k, j] = out[k, j] * 0.5 - 0.25 * s * a[i, k] + b[k, j]
    return out


def triangle(c: Any, a: Any, b: Any) -> Any:
    """As `trmm` of NPBench."""
    out = b.copy()
    for i in range(c.shape[0]):
        for j in range(c.shape[1]):
            out[i, j] += np.dot(a[i + 1 :, i], out[i + 1 :, j])
    return out * c


def apart_of_it(c: Any, a: Any, b: Any) -> Any:
    """A row that all columns read, of the matrix that is written."""
    out = b.copy()
    for i in range(1, c.shape[0]):
        for j in range(i, c.shape[1]):
            for k in range(i, c.shape[0]):
                out[k, j] -= out[k, i - 1] * out[i - 1, j]
    return out * c


PROGRAMS = [symmetric, in_order, backwards, first_column_last, own_place, triangle, apart_of_it]
CHANGED = {symmetric, in_order, backwards, triangle}


def arguments(rows: int, columns: int, seed: int = 3) -> tuple[Any, ...]:
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(0.5, 1.5, shape) for shape in ((rows, columns), (rows, rows), (rows, columns)))


def by_rows(f: Any) -> bool:
    """Whether a loop is there twice: for few columns, and for more."""
    return "ge %" in f.ir("scheduled") and ", 8" in f.ir("scheduled")


@pytest.mark.daily(2)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_values(program: Callable[..., Any]) -> None:
    f = adjit.jit(program)
    for shape in SHAPES:
        given = arguments(*shape)
        wanted = program(*given)
        exact = program in (in_order, backwards, first_column_last, own_place, apart_of_it)
        np.testing.assert_allclose(f(*given), wanted, rtol=0 if exact else 1e-13, atol=0, err_msg=str(shape))


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_derivatives(program: Callable[..., Any]) -> None:
    def loss(c: Any, a: Any, b: Any) -> Any:
        return np.sum(program(c, a, b) * c)

    check_program(loss, [arguments(*shape) for shape in ((0, 9), (4, 3), (5, 9))], (0, 1, 2))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_which(program: Callable[..., Any]) -> None:
    f = adjit.jit(program)
    f(*arguments(9, 9))
    assert by_rows(f) == (program in CHANGED)


def test_infinities_and_nans() -> None:
    c, a, b = arguments(9, 12)
    b[2, 3], b[4, 5], a[3, 1], c[0, 0] = np.inf, np.nan, -np.inf, 0.0
    for program in (in_order, backwards, own_place):
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(adjit.jit(program)(c, a, b), program(c, a, b))


def test_long_sums_are_accurate() -> None:
    def products(x: Any, y: Any) -> Any:
        out = np.zeros(x.shape[1])
        for j in range(x.shape[1]):
            out[j] = np.dot(x[:, j], y)
        return out

    x = np.full((300_000, 9), 0.1)
    y = np.ones(300_000)
    np.testing.assert_allclose(adjit.jit(products)(x, y), np.full(9, 30_000.0), rtol=1e-13)


def test_a_check_fails_as_before() -> None:
    def sums(x: Any, y: Any, z: Any) -> Any:
        out = np.zeros(x.shape[1])
        for j in range(x.shape[1]):
            s = y[j]
            for k in range(x.shape[0]):
                s += x[k, j] * z[k]
            out[j] = s
        return out

    f = adjit.jit(sums)
    x, y, z = np.ones((10, 12)), np.ones(12), np.ones(10)
    np.testing.assert_array_equal(f(x, y, z), sums(x, y, z))
    for given in ((x, y[:7], z), (x, y, z[:4]), (x, y[:7], z[:4])):
        with pytest.raises(IndexError) as found:
            f(*given)
        with pytest.raises(IndexError) as wanted:
            sums(*given)
        assert str(wanted.value).split()[:2] == str(found.value).split()[:2]
    np.testing.assert_array_equal(f(x[:0], y, z[:0]), sums(x[:0], y, z[:0]))


def test_arrays_of_the_caller() -> None:
    def project(a: Any) -> None:
        for j in range(a.shape[1]):
            s = 0.0
            for k in range(a.shape[0]):
                s = s + a[k, j] * a[k, j]
            for k in range(a.shape[0]):
                a[k, j] = a[k, j] - s * 0.01

    rng = np.random.default_rng(8)
    memory = rng.standard_normal((14, 12))
    for given in (memory, memory[:, ::-1], memory[::2], memory.T):
        mine, wanted = (given.copy(order="K") for _ in range(2))
        f = adjit.jit(project)
        f(mine)
        project(wanted)
        np.testing.assert_array_equal(mine, wanted)
    f(memory)
    assert by_rows(f)
