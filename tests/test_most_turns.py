"""Loops that cannot be long are not asked, each time, whether they are worth threads."""

from __future__ import annotations

import math

import numpy as np
import pytest

import adjit
from adjit.codegen.llvm.work import SQUARE, most_turns
from adjit.ir.text import parse

pytestmark = pytest.mark.usefixtures("always_threads")


def loop(reads: str) -> float:
    function = parse(f"""func @f(%a: &f64[?,?], %b: &f64[?,?], %n: i64, %i: i64) -> f64 {{
      %s: f64 = for %k in (0, %n) (%t = 0.0) {{
        %k1: i64 = add %k, 1
        {reads}
        %p: f64 = mul %x, %y
        %u: f64 = add %t, %p
        yield %u
      }}
      return %s
    }}""")
    return most_turns(function.body.ops[0])


@pytest.mark.parametrize(
    ("one", "other", "most"),
    [
        ("%a, %i, %k", "%a, %k, %i", SQUARE),
        ("%a, %k, %i", "%a, %i, %k1", SQUARE),
        ("%a, %k, %k1", "%b, %i, %i", SQUARE),
        ("%a, %i, %k", "%a, %i, %k1", math.inf),
        ("%a, %i, %k", "%b, %k, %i", math.inf),
        ("%a, %i, %i", "%b, %i, %i", math.inf),
    ],
)
def test_axes_that_a_loop_runs_along(one: str, other: str, most: float) -> None:
    assert loop(f"%x: f64 = buffer.load {one}\n        %y: f64 = buffer.load {other}") == most


def eliminated(a: np.ndarray) -> float:
    for i in range(a.shape[0]):
        for j in range(i):
            s = 0.0
            for k in range(j):
                s += a[i, k] * a[k, j]
            a[i, j] = (a[i, j] - s) / a[j, j]
        for j in range(i, a.shape[0]):
            s = 0.0
            for k in range(i):
                s += a[i, k] * a[k, j]
            a[i, j] -= s
    return np.sum(np.sin(a))


def test_threads_change_nothing() -> None:
    a = np.random.default_rng(1).normal(size=(23, 23)) + 23 * np.eye(23)
    one, two = adjit.grad(eliminated)(a), adjit.grad(eliminated, parallel=2)(a)
    np.testing.assert_allclose(two, one, rtol=1e-13, atol=1e-13)
    np.testing.assert_array_equal(two, adjit.grad(eliminated, parallel=2)(a))
