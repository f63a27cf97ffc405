"""Of arrays that wait on tapes only the part is kept that will be read: the same results, in less memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.ir.core import Value, walk
from adjit.ir.interp import run as interpret
from adjit.ir.passes import narrow
from adjit.ir.text import parse
from adjit.ir.verify import verify


def durbin(r: Any) -> Any:
    """Turn k works on the first k elements, there and back."""
    y = np.zeros_like(r)
    y[0] = alpha = -r[0]
    beta = 1.0
    for k in range(1, len(r)):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(r[:k][::-1], y[:k])) / beta
        y[:k] += alpha * y[:k][::-1]
        y[k] = alpha
    return np.sum(y * y)


def upper(x: Any) -> Any:
    """Of the rest from k on; the last turns read nothing."""
    v = x.copy()
    for k in range(len(x)):
        s = np.sum(v[k:] * v[k:])
        v[k:] *= np.cos(s) * v[k:][::-1]
    return np.sum(v * v)


def middle(x: Any) -> Any:
    """Both ends move, and so does where what is read begins."""
    v = x.copy()
    n = len(x)
    for k in range(n // 2):
        v[k : n - k] = v[k : n - k] * v[k : n - k][::-1] + x[k]
    return np.sum(v)


def down(x: Any) -> Any:
    """The loop runs backwards."""
    v = x.copy()
    for k in range(len(x) - 1, 0, -1):
        v[:k] = v[:k] * v[:k] * v[k]
    return np.sum(v)


def elements(x: Any) -> Any:
    """Elements are read as well as a part."""
    v = x.copy()
    for k in range(1, len(x)):
        v[: k + 1] = v[: k + 1] * v[k] * v[0]
    return np.sum(v * x)


def rows(a: Any) -> Any:
    """The first rows of a matrix, in each turn."""
    m = a.copy()
    for k in range(1, len(a)):
        m[:k] = m[:k] * np.sin(m[:k]) * a[k, 0]
    return np.sum(m * a)


def nest(x: Any, turns: int) -> Any:
    """As much in every turn of an inner loop, more in every turn of the outer one; and the other way round."""
    v = x.copy()
    for k in range(1, len(x)):
        for _ in range(turns):
            v[:k] = v[:k] * np.cos(v[:k])
        v[k] *= v[k]
    for _ in range(turns):
        for k in range(1, len(x)):
            v[:k] = v[:k] * np.cos(v[:k]) * v[k]
    return np.sum(v)


def bounded(x: Any, lo: int, hi: int) -> Any:
    """Nobody knows before the call how many turns there are, or which."""
    v = x.copy()
    for k in range(lo, hi):
        v[:k] = v[:k] * v[:k] + 0.5
    return np.sum(v * v)


def whole(x: Any) -> Any:
    """All of it is read as well."""
    v = x.copy()
    for k in range(1, len(x)):
        s = np.sum(v * v)
        v[:k] = v[:k] * v[:k] * s
    return np.sum(v)


def inside(x: Any) -> Any:
    """What a turn reads is told by a loop in it."""
    v = x.copy()
    total = 0.0
    for k in range(1, len(x)):
        for j in range(k):
            total += v[j] * v[j] * v[k - 1 - j]
        v[:k] = np.sin(v[:k]) * total
    return total + np.sum(v)


X = np.array([0.4, -0.3, 0.8, 0.1, 0.6, -0.7])
CASES: list[tuple[Callable[..., Any], list[tuple[Any, ...]]]] = [
    (durbin, [(0.5 * X,), (X[:1],), (X[:2],), (0.5 * X.astype(np.float32).astype(float)[::-1],)]),
    (upper, [(X,), (X[:1],), (X[:0],)]),
    (middle, [(X,), (X[:5],), (X[:1],), (X[:0],)]),
    (down, [(X,), (X[:1],), (X[:0],)]),
    (elements, [(X,), (X[:2],), (X[:1],)]),
    (rows, [(np.outer(X, X) + 0.3,), (X.reshape(3, 2),), (X.reshape(6, 1),), (X.reshape(1, 6),)]),
    (nest, [(X, 2), (X, 0), (X[:1], 2), (X, -1)]),
    (bounded, [(X, 0, 4), (X, 2, 6), (X, 3, 3), (X, 4, 2), (X, 1, 8), (X, -2, 3)]),
    (whole, [(X,), (X[:1],)]),
    (inside, [(X,), (X[:2],), (X[:1],)]),
]


@pytest.mark.parametrize(("function", "arguments"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_parts_of_rows(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> None:
    check_program(function, arguments, (0,), compile=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [durbin, upper, middle])
def test_second_derivatives(function: Callable[..., Any]) -> None:
    def slope(x: Any) -> Any:
        return np.sum(adjit.grad(function)(x) * np.cos(x))

    check_program(slope, [(0.5 * X,)], (0,), compile=True)


@pytest.mark.parametrize(
    ("function", "arguments", "kept"),
    [
        (durbin, (np.zeros(3),), True),
        (upper, (np.zeros(3),), True),
        (down, (np.zeros(3),), True),
        (rows, (np.zeros((3, 3)),), True),
        (whole, (np.zeros(3),), False),
    ],
)
def test_what_is_kept(function: Callable[..., Any], arguments: Any, kept: bool) -> None:
    """The rows popped have the turn's extent where they can have it."""
    gradient = adjit.grad(function)
    gradient(*arguments)
    program = parse(gradient.ir("adjoint"))
    extents = [op.operands[1] for op in walk(program.body) if op.name == "tape.pop" and len(op.operands) > 1]
    assert any(depends_on_turn(e) for e in extents) is kept


def depends_on_turn(value: Value) -> bool:
    if value.op is None:
        return value.name == "k"
    return any(depends_on_turn(v) for v in value.op.operands)


PROGRAM = """func @f(%x: f64[?], %n: i64) -> f64 {{
  %m: i64 = dim %x {{axis=0}}
  %t: tape[f64[?]] = tape.new
  %p: tape[f64[?]] = for %i in (0, %m) (%q = %t) {{
    %y: f64[?] = mul %x, 2.0
    %r: tape[f64[?]] = tape.push %q, %y
    yield %r
  }}
  %e: tape[f64[?]], %s: f64 = for %j in {range} (%g = %p, %a = 0.0) {{
    %h: tape[f64[?]], %v: f64[?] = tape.pop %g, %m
    %w: f64[?] = index %v, {place} {{spec="s"}}
    %z: f64 = reduce_sum %w {{axes=(0,)}}
    %b: f64 = add %a, %z
    yield %h, %b
  }}
  return %s
}}"""


@pytest.mark.parametrize(
    ("range_", "place", "changed"),
    [
        ("reverse(0, %m)", "0, %j, 1", True),
        ("reverse(0, %m)", "%j, 1, 1", True),
        ("reverse(0, %m)", "0, %m, 1", False),
        ("reverse(0, %m)", "0, %j, 2", False),  # may end behind the array
        ("(0, %m)", "0, %j, 1", False),  # no mirror
        ("reverse(0, %n)", "0, %j, 1", False),  # another range
    ],
)
def test_pairs_of_loops(range_: str, place: str, changed: bool) -> None:
    function = parse(PROGRAM.format(range=range_, place=place))
    verify(function)
    out = narrow.run(function)
    assert (out is not function) is changed
    verify(out)
    if changed:
        for n in (0, 1, 4):
            x = np.arange(float(n))
            assert interpret(out, [x, n]) == interpret(function, [x, n])
