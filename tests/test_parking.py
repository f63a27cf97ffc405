"""What is taken out of an array that is cleared stays in it until it was read: the same results, one array less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.codegen.lower.parking import park
from adjit.codegen.scheduled import run
from adjit.ir.text import parse
from adjit.ir.verify import verify


def jacobi(u: Any, v: Any, steps: int, weights: Any) -> Any:
    """Means over five neighbours, from one array into another and back."""
    for _ in range(steps):
        v[1:-1, 1:-1] = 0.2 * (u[1:-1, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] + u[:-2, 1:-1] + u[2:, 1:-1])
        u[1:-1, 1:-1] = 0.3 * (v[1:-1, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] + v[:-2, 1:-1] + v[2:, 1:-1])
    return np.sum(u * weights) + np.sum(v * weights * weights)


def grid(n: int, m: int) -> Any:
    return np.sin(np.arange(float(n * m)).reshape(n, m) * 1.7)


@pytest.mark.slow
def test_results() -> None:
    sizes = [(5, 4), (3, 7), (3, 3)]
    arguments = [(grid(n, m), grid(n, m) * 0.5, 3, grid(n, m) + 1.0) for n, m in sizes]
    check_program(jacobi, arguments, (0, 1), compile=True)


def test_small_and_none() -> None:
    arguments = [(grid(n, 4), grid(n, 4), steps, grid(n, 4)) for n, steps in [(2, 2), (4, 0)]]
    check_program(jacobi, arguments, (0, 1))


def test_one_array_less() -> None:
    """There are the two cotangents, and no other array."""
    gradient = adjit.grad(jacobi, argnums=(0, 1))
    gradient(grid(5, 5), grid(5, 5), 2, grid(5, 5))
    text = gradient.ir("scheduled")
    assert sum("buffer.alloc" in line and "alloc 0" not in line for line in text.splitlines()) == 2


PROGRAM = """func @f(%x0: &f64[?,?], %n: i64, %m: i64) -> (&f64[?,?], &f64[?,?]) {{
  %a: i64 = buffer.dim %x0 {{axis=0}}
  %b: i64 = buffer.dim %x0 {{axis=1}}
  %x: &f64[?,?] = buffer.alloc %a, %b {{dtype=f64}}
  %y: &f64[?,?] = buffer.alloc %a, %b {{dtype=f64}}
  for %i in (0, %a) {{
    for %j in (0, %b) {{
      %v: f64 = buffer.load %x0, %i, %j
      buffer.store %v, %x, %i, %j
      buffer.store %v, %y, %i, %j
      yield
    }}
    yield
  }}
  %t: &f64[?,?] = buffer.alloc %n, %m {{dtype=f64}}
  for %s in (0, 2) {{
    for %i in (0, {rows}) {{
      %p: i64 = add %i, {shift}
      for %j in (0, %m) {{
        %v: f64 = buffer.load %x, %p, {read}
        %w: f64 = mul %v, 3.0
        buffer.store %w, %t, {at}
        buffer.store 0.0, %x, %p, %j
        {more}
        yield
      }}
      yield
    }}
    for %k in (0, %n) {{
      for %l in (0, %m) {{
        %o: i64 = sub %n, %k
        %q: i64 = sub %o, 1
        %z: f64 = buffer.load %t, %q, %l
        %c: f64 = buffer.load {other}, %k, %l
        %d: f64 = add %z, %c
        buffer.store %d, %y, %k, %l
        yield
      }}
      yield
    }}
    yield
  }}
  return %x, %y
}}"""
USUAL = {"rows": "%n", "shift": "1", "read": "%j", "at": "%i, %j", "more": "", "other": "%y"}


@pytest.mark.parametrize(
    ("changes", "parked"),
    [
        ({}, True),
        ({"shift": "0"}, True),
        ({"rows": "%m"}, False),  # not all of it is written
        ({"at": "%j, %i"}, False),  # elsewhere than it came from
        ({"read": "%i"}, False),  # another element is read
        ({"other": "%x"}, False),  # the cleared array is read meanwhile
        ({"more": "%e: f64 = buffer.load %x, %p, %j\n buffer.store %e, %y, %p, %j"}, False),  # and here
        ({"more": "%e: f64 = buffer.load %t, %i, %j\n buffer.store %e, %y, %p, %j"}, False),  # read before its time
    ],
)
def test_when(changes: dict[str, str], parked: bool) -> None:
    function = parse(PROGRAM.format(**{**USUAL, **changes}))
    verify(function)
    arguments = [grid(5, 5), 4, 4]
    expected = [np.array(r) for r in run(function, arguments)]
    park(function)
    verify(function)
    text = str(function)
    assert ("buffer.store %w, %t" not in text) is parked
    for found, value in zip(run(function, arguments), expected, strict=True):
        assert np.array_equal(found, value)
