"""What LLVM is told about loops: which loops may be declared parallel, and that short rows give the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjit
from adjit.codegen.llvm.loop_hints import independent, short_rows
from adjit.ir.core import Op, walk
from adjit.ir.text import parse

pytestmark = pytest.mark.usefixtures("always_threads")


def loop_of(body: str) -> Op:
    """The innermost loop of a function whose buffers %w and %t are its own, %x and %p are arguments."""
    function = parse(
        f"""func @f(%x: &f64[?], %p: &i64[?], %n: i64, %m: i64, %a: i64) -> () {{
          %w: &f64[?,?] = buffer.alloc %n, %m {{dtype=f64}}
          %t: &f64[?] = buffer.alloc %m {{dtype=f64}}
          %i1: i64 = add %a, 1
          for %k in (0, %m) {{
            {body}
            yield
          }}
          return
        }}"""
    )
    return next(op for op in walk(function.body) if op.name == "for")


STORE = "buffer.store 1.0, "
INDEPENDENT = [
    STORE + "%t, %k",
    "%v: f64 = buffer.load %t, %k\n buffer.store %v, %t, %k",
    "%v: f64 = buffer.load %w, %i1, %k\n buffer.store %v, %w, %a, %k",  # the same column of another row
    "%v: f64 = buffer.load %x, %a\n buffer.store %v, %t, %k",
]
DEPENDENT = [
    STORE + "%t, %a",  # one element in every turn
    STORE + "%w, %k, %a",  # down a column
    "%j: i64 = add %k, 1\n %v: f64 = buffer.load %t, %k\n buffer.store %v, %t, %j",
    "%j: i64 = sub %k, %a\n %v: f64 = buffer.load %t, %j\n buffer.store %v, %t, %k",
    "%j: i64 = mul 2, %k\n" + STORE + "%t, %j",
    "%q: i64 = buffer.load %p, %k\n" + STORE + "%t, %q",
    # one name, another number in each turn: 0 + 1 and 1 + 0 are one element
    "%q: i64 = buffer.load %p, %k\n %j: i64 = add %q, %k\n" + STORE + "%t, %j",
    STORE + "%x, %k",  # an argument's elements may overlap
]


@pytest.mark.parametrize("body", INDEPENDENT)
def test_turns_that_are_independent(body: str) -> None:
    loop = loop_of(body)
    assert independent(loop, [])


@pytest.mark.parametrize("body", DEPENDENT)
def test_turns_that_may_depend_on_each_other(body: str) -> None:
    loop = loop_of(body)
    argument = next((v for op in walk(loop.regions[0]) for v in op.operands if v.name == "x"), None)
    assert not independent(loop, [] if argument is None else [argument])


def test_loops_with_elementary_functions_are_short_rows() -> None:
    assert short_rows(loop_of("%v: f64 = buffer.load %t, %k\n %e: f64 = exp %v\n buffer.store %e, %t, %k"))
    assert not short_rows(loop_of("%v: f64 = buffer.load %t, %k\n %e: f64 = neg %v\n buffer.store %e, %t, %k"))
    checked = '%v: f64 = buffer.load %t, %k\n %e: f64 = exp %v\n %q: i64 = bound %k, %a {what="index", axis=0}'
    assert not short_rows(loop_of(checked + "\n buffer.store %e, %t, %k"))


@pytest.mark.parametrize("body", DEPENDENT[:6])
def test_turns_that_wait_for_each_other_are_no_short_rows(body: str) -> None:
    assert not short_rows(loop_of("%u: f64 = buffer.load %x, %k\n %e: f64 = exp %u\n " + body))


def rows(x: Any, w: Any) -> Any:
    out = np.zeros_like(x)
    total = 0.0
    for i in range(len(x)):
        out[i] = np.tanh(x[i] * w[0] + w[1]) + np.exp(-x[i])
        total += np.sum(np.log(1.0 + np.exp(x[i, ::-1])) * out[i])
    return total


def by_hand(x: Any, w: Any) -> tuple[Any, Any]:
    t = np.tanh(x * w[0] + w[1])
    soft = np.log(1.0 + np.exp(x[:, ::-1]))
    inner = soft * (1 - t * t)
    slope = (1.0 / (1.0 + np.exp(-x[:, ::-1])) * (t + np.exp(-x)))[:, ::-1]
    return inner * w[0] - soft * np.exp(-x) + slope, np.array([np.sum(inner * x, axis=0), np.sum(inner, axis=0)])


@pytest.mark.parametrize("length", [0, 1, 3, 7, 8, 9, 14, 16, 23])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_of_every_length(length: int, dtype: Any) -> None:
    random = np.random.default_rng(length)
    x, w = random.normal(size=(5, length)).astype(dtype), random.normal(size=(2, length)).astype(dtype)
    value, gradients = GRADIENT(x, w)
    tolerance = 1e-12 if dtype is np.float64 else 2e-5
    assert np.isclose(value, rows(x, w), rtol=tolerance, atol=tolerance)
    for given, expected in zip(gradients, by_hand(x, w), strict=True):
        np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)


GRADIENT = adjit.value_and_grad(rows, argnums=(0, 1))


def test_special_numbers_in_the_last_vector() -> None:
    x = np.full((2, 11), 0.5)
    x[0, 10], x[1, 9] = np.inf, np.nan
    with np.errstate(all="ignore"):
        expected = np.exp(x) + np.tanh(x)
    np.testing.assert_array_almost_equal(SPECIAL(x), expected)


def elementary(x: Any) -> Any:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = np.exp(x[i]) + np.tanh(x[i])
    return out


SPECIAL = adjit.jit(elementary)


@pytest.mark.parametrize("parallel", [False, 2])
def test_calls_are_not_announced_as_vectors(parallel: Any, capfd: Any, monkeypatch: Any) -> None:
    """LLVM says on the terminal that it does not do as it is told."""
    monkeypatch.setenv("ADJIT_CACHE_DIR", "")

    def total(x: Any) -> Any:
        return np.sum(np.exp(x) * np.logaddexp(x, 0.25))

    x = np.linspace(0.2, 0.8, 37)
    value, gradient = adjit.value_and_grad(total, parallel=parallel)(x)
    assert np.isclose(value, total(x), rtol=1e-13)
    slope = np.exp(x) * (np.logaddexp(x, 0.25) + 1.0 / (1.0 + np.exp(0.25 - x)))
    assert np.allclose(gradient, slope, rtol=1e-12)
    assert capfd.readouterr().err == ""
