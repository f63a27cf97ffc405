"""Arrays on tapes: read where they stand, reserved for whole nests of loops, never mixed up with what comes later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import adjit
from adjit.codegen.lower.tapes import rows_in_place
from adjit.ir.core import Value
from adjit.ir.text import parse

from .differential import check_program


def squares(x: Any, turns: int) -> Any:
    """A row is kept in each turn."""
    v = x.copy()
    for _ in range(turns):
        v = v * v * 0.5 + x
    return np.sum(v)


def nest(x: Any, turns: int, inner: int) -> Any:
    """The nest pushes the same in every turn."""
    v = x.copy()
    for t in range(turns):
        for i in range(inner):
            v = np.tanh(v * (t + i + 1.0)) + x
        v = v * v
    return np.sum(v)


def triangle(x: Any, turns: int) -> Any:
    """How much is pushed depends on the turn."""
    v = x.copy()
    for t in range(turns):
        for _ in range(t, 3):
            v = np.sin(v) * v
    return np.sum(v)


def shrinking(x: Any) -> Any:
    """So does the length of the row."""
    total = 0.0
    for i in range(len(x)):
        row = x[i:] * x[i]
        total += np.sum(row * row * row)
        for k in range(2):
            total += np.sum(np.exp(row * (0.1 * k)) * row)
    return total


def halving(x: Any) -> Any:
    """Inside a loop that nobody knows the turns of."""
    v = x.copy()
    s = np.sum(v * v)
    while s > 0.1:
        for _ in range(2):
            v = np.sin(v) * v * 0.9
        s = np.sum(v * v)
    return s + np.sum(v)


def matrices(a: Any, turns: int) -> Any:
    """A library kernel reads the row."""
    m = a.copy()
    for _ in range(turns):
        m = np.tanh(m @ a)
    return np.sum(m * m)


def overwritten(x: Any, turns: int) -> Any:
    """What is read off the tape is needed after parts of it were overwritten."""
    v = x.copy()
    total = 0.0
    for t in range(turns):
        w = v * v
        w[0] = w[1] * t
        w[1:] = w[1:] * w[:-1]
        total += np.sum(w * v)
        v = w + x
    return total


def branches(x: Any, turns: int) -> Any:
    """What is popped in a branch is needed behind it."""
    v = x.copy()
    for t in range(turns):
        if t % 2 == 0:
            v = v * v
        else:
            for _ in range(2):
                v = v * x
    return np.sum(v * v)


X = np.array([0.4, -0.3, 0.8, 0.1, 0.6])
CASES: list[tuple[Callable[..., Any], list[tuple[Any, ...]]]] = [
    (squares, [(X, 0), (X, 1), (X, 4), (X[:0], 3), (X, -2)]),
    (nest, [(X, 3, 2), (X, 0, 2), (X, 2, 0), (X, 2, -1), (X[:1], 2, 3)]),
    (triangle, [(X, 3), (X, 5), (X, 0)]),
    (shrinking, [(X,), (X[:1],), (X[:0],)]),
    (halving, [(X,), (0.1 * X,)]),
    (matrices, [(np.outer(X, X) + np.eye(5), 3), (np.eye(2), 0)]),
    (overwritten, [(X, 3), (X[:2], 2)]),
    (branches, [(X, 4), (X, 1), (X, 0)]),
]


@pytest.mark.daily(1)
@pytest.mark.parametrize(("function", "arguments"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_rows_on_tapes(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> None:
    check_program(function, arguments, (0,), compile=True)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [squares, overwritten])
def test_second_derivatives(function: Callable[..., Any]) -> None:
    def slope(x: Any) -> Any:
        return np.sum(adjit.grad(function)(x, 3) * np.cos(x))

    check_program(slope, [(X,)], (0,))


def popped(text: str) -> list[str | None]:
    function = parse(text)
    found: set[Value] = rows_in_place(function)
    return sorted(v.name or "" for v in found)


def test_what_stays_on_a_tape_is_read_there() -> None:
    assert popped(
        """func @f(%t: tape[f64[?]], %n: i64) -> f64 {
          %t1: tape[f64[?]], %v: f64[?] = tape.pop %t, %n
          %t2: tape[f64[?]], %w: f64[?] = tape.pop %t1, %n
          %p: f64[?] = mul %v, %w
          %s: f64 = reduce_sum %p {axes=(0,)}
          return %s
        }"""
    ) == ["v", "w"]


def test_what_the_next_push_overwrites_is_copied() -> None:
    assert (
        popped(
            """func @f(%t: tape[f64[?]], %n: i64) -> (f64, tape[f64[?]]) {
          %t1: tape[f64[?]], %v: f64[?] = tape.pop %t, %n
          %e: f64[?] = exp %v
          %t2: tape[f64[?]] = for %i in (0, %n) (%q = %t1) {
            %q1: tape[f64[?]] = tape.push %q, %e
            yield %q1
          }
          %s: f64 = reduce_sum %v {axes=(0,)}
          return %s, %t2
        }"""
        )
        == []
    )


def test_tapes_of_nests_are_reserved_at_once() -> None:
    text = adjit.grad(nest)
    text(X, 3, 2)
    scheduled = text.ir("scheduled").splitlines()
    first_loop = next(k for k, line in enumerate(scheduled) if "= for " in line or line.startswith("  for %t"))
    assert any("tape_reserve" in line for line in scheduled)
    assert all(line.startswith("  %") for line in scheduled if "tape_reserve" in line), first_loop
