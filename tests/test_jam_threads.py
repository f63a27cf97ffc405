"""Short rows several at a time, and copies of memory for each thread, in kernels with threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import adjit
from adjit.ir.core import walk

pytestmark = pytest.mark.usefixtures("always_threads")

EXTENTS = [(0, 9), (1, 1), (5, 65), (8, 0), (11, 3), (3000, 10), (3001, 64), (900, 200)]
"""Rows and their lengths: nothing, too little for threads, and work for several with rows short and long."""


def squares(p: Any, w: Any) -> Any:
    """A sum in any order for each row."""
    return np.sum(p * p, axis=1) * w


def columns(p: Any, w: Any) -> Any:
    """A row of sums in any order, of which every chunk of rows has its own."""
    return w @ (p * p)


def by_columns(p: Any, w: Any) -> Any:
    """A row of sums in the user's order."""
    out = np.ones(p.shape[1])
    for i in range(len(p)):
        for j in range(p.shape[1]):
            out[j] += p[i, j] * w[i]
    return out


def workspaces(p: Any, w: Any) -> Any:
    """Three numbers of memory that each turn writes anew, many times: every thread has its own."""
    out, last = np.zeros(len(p)), np.zeros(3)
    for i in range(len(p)):
        for j in range(p.shape[1]):
            last[0] = p[i, j] * w[i]
            last[1] = last[0] * p[i, j]
            last[2] = last[0] + last[1]
            out[i] += last[2] * last[1]
    return out


PROGRAMS = (squares, columns, by_columns, workspaces)


def scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda p, w: np.sum(function(p, w) * 1.5)


def arguments(rows: int, length: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows * 1000 + length)
    return rng.uniform(-1.0, 1.0, (rows, length)), rng.uniform(-1.0, 1.0, rows)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_threads_give_what_one_gives(function: Callable[..., Any]) -> None:
    """To rounding; and two calls the same bits."""
    one = adjit.value_and_grad(scalar(function), argnums=(0, 1))
    two, three = (adjit.value_and_grad(scalar(function), argnums=(0, 1), parallel=n) for n in (2, 3))
    for extents in EXTENTS:
        given = arguments(*extents)
        (value, gradient), (a, b), (c, d), (e, f) = one(*given), two(*given), two(*given), three(*given)
        np.testing.assert_allclose(a, value, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(e, value, rtol=1e-12, atol=1e-12)
        assert a == c
        for x, y, again, z in zip(gradient, b, d, f, strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(z, x, rtol=1e-12, atol=1e-12)
            assert y.tobytes() == again.tobytes()
        np.testing.assert_allclose(a, scalar(function)(*given), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("function", [squares, columns], ids=lambda f: f.__name__)
def test_rows_are_visited_several_at_a_time_by_threads(function: Callable[..., Any]) -> None:
    """A loop over blocks of rows is there, and runs on threads."""
    compiled = adjit.value_and_grad(scalar(function), argnums=(0, 1), parallel=2).compile(*arguments(11, 3))
    blocks = [op for op in walk(compiled.ir_function("scheduled").body) if "rows" in op.attrs]
    assert any(op.attrs.get("parallel") for op in blocks)


def test_copies_of_several_kinds_of_memory() -> None:
    """Copies of memory of several kinds, of one element and of many, stay apart."""

    def program(x: Any, n: int) -> Any:
        flags, number, row = np.zeros(3, dtype=bool), np.zeros(1), np.zeros(len(x))
        out = np.zeros(n)
        for i in range(n):
            flags[i % 3] = i % 2 == 0
            number[0] = 0.5 * i
            for j in range(len(x)):
                row[j] = x[j] * number[0]
            for j in range(len(x)):
                out[i] += row[j] * (2.0 if flags[i % 3] else 1.0)
        return out

    x = np.linspace(-1.0, 1.0, 200)
    wanted = program(x, 500)
    np.testing.assert_allclose(adjit.jit(program, parallel=2)(x, 500), wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(adjit.jit(program)(x, 500), wanted, rtol=1e-12, atol=1e-12)
