"""Memory that is handed on to an array of another type: the same results, and one array less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.codegen.lower.inheriting import inherit
from adjit.codegen.scheduled import run
from adjit.ir.core import walk
from adjit.ir.text import parse
from adjit.ir.verify import verify

pytestmark = pytest.mark.usefixtures("always_threads")


def histogram(w: Any, a: Any) -> Any:
    """The positions of the bins are read where the weights' cotangent will be."""
    h = np.histogram(a, 5, weights=w)[0]
    return np.sum(h * h * np.histogram(a, 5)[0])


def looked_up(w: Any, a: Any) -> Any:
    """So are those of a table."""
    table = np.cos(w)
    places = np.minimum((a * 7.0).astype(np.int64), len(w) - 1)
    counts = np.zeros(len(w))
    for k in places:
        counts[k] += 1.0
    return np.sum(table[places] * w[places]) + np.sum(counts * w)


A = np.array([0.1, 0.9, 0.35, 0.2, 0.66, 0.6, 0.05, 0.5])
W = np.array([0.4, -0.3, 0.8, 0.1, 0.6, -0.7, 1.5, 0.2])
CASES: list[tuple[Callable[..., Any], list[tuple[Any, ...]]]] = [
    (histogram, [(W, A), (W[:1], A[:1]), (W[:0], A[:0])]),
    (looked_up, [(W, A), (W[:3], A), (W[:1], A[:1]), (W, A[:0])]),
]


@pytest.mark.parametrize(("function", "arguments"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_results(function: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> None:
    check_program(function, arguments, (0,), compile=True)


def test_positions_stand_where_the_gradient_will() -> None:
    gradient = adjit.grad(histogram)
    gradient(W, A)
    seen = [line for line in gradient.ir("scheduled").splitlines() if "buffer.reshape" in line]
    assert [("w_adj" in line, "{dtype=i64}" in line) for line in seen] == [(True, True)]
    out = np.empty_like(W)
    gradient.into(out, W, A)
    assert np.array_equal(out, adjit.grad(histogram)(W, A))


@pytest.mark.parametrize("function", [histogram, looked_up])
def test_memory_of_the_caller(function: Callable[..., Any]) -> None:
    expected = adjit.grad(function)(W, A)
    assert np.array_equal(adjit.grad(function, donate=(0,))(W.copy(), A), expected)
    assert np.allclose(adjit.grad(function, parallel=2)(W, A), expected, rtol=1e-14)


PROGRAM = """func @f(%x: &f64[?], %t: &f64[?]) -> &f64[?] {{
  %n: i64 = buffer.dim %x {{axis=0}}
  %p: &i64[?] = buffer.alloc %n {{dtype=i64}}
  for %i in (0, %n) {{
    %a: f64 = buffer.load %x, %i
    %b: i64 = cast %a {{dtype=i64}}
    %c: i64 = mod %b, %n
    buffer.store %c, %p, %i
    yield
  }}
  %m: i64 = sub %n, 1
  %y: &f64[?] = buffer.alloc {extent} {{dtype=f64}}
  for %i in (0, %n) {{
    {turn}
    yield
  }}
  {after}
  return %y
}}"""

LOAD, FLIP = "%k: i64 = buffer.load %p, %i\n", "%l: i64 = sub %m, %i\n"
LOOK = "%v: f64 = buffer.load %t, %k\n"
TAKE = LOAD + LOOK + "buffer.store %v, %y, %i"


@pytest.mark.parametrize(
    ("extent", "turn", "after", "shared"),
    [
        ("%n", TAKE, "", True),
        ("%m", "%j: i64 = minimum %i, 0\n" + LOAD + LOOK + "buffer.store %v, %y, %j", "", False),  # another extent
        ("%n", "buffer.store 0.5, %y, %i\n" + LOAD + LOOK + "buffer.store %v, %y, %i", "", False),  # written before
        ("%n", FLIP + "%k: i64 = buffer.load %p, %l\n" + LOOK + "buffer.store %v, %y, %i", "", False),
        ("%n", FLIP + LOAD + LOOK + "buffer.store %v, %y, %l", "", False),
        ("%n", TAKE, "%u: i64 = buffer.load %p, 0\n buffer.store 1.0, %y, %u", False),  # read once more
        ("%n", "buffer.store 0.5, %y, %i", "%u: i64 = buffer.load %p, 0\n buffer.store 1.0, %y, %u", False),
    ],
)
def test_when(extent: str, turn: str, after: str, shared: bool) -> None:
    """Where an element that is read makes the same element, and is not read again."""
    function = parse(PROGRAM.format(extent=extent, turn=turn, after=after))
    verify(function)
    x, t = np.array([3.0, 1.0, 0.0, 7.0, 2.0]), np.linspace(1.0, 2.0, 5)
    expected = run(function, [x, t])[0]
    inherit(function)
    verify(function)
    assert any(op.name == "buffer.reshape" for op in walk(function.body)) is shared
    assert np.array_equal(run(function, [x, t])[0], expected, equal_nan=True)
