"""Loops whose share of a cotangent may well be 0 are written twice, once without it."""

from collections.abc import Callable

import numpy as np
import pytest

from adjit import grad
from adjit.codegen.lower.cleanup import cleanup
from adjit.codegen.lower.unswitching import unswitch
from adjit.ir.core import Function, Op, walk
from adjit.ir.text import parse
from adjit.ir.verify import verify

LOOP = """
func @f(%x: &f64[?], %a: f64, %top: f64, %n: i64) -> f64 {{
  %c: bool = isfinite %a
  %b: f64 = if %c {{
    yield -1.0
  }} else {{
    yield %top
  }}{rare}
  %share: f64 = add 1.0, %b
  %s: f64 = for %i in (0, %n) (%t = 0.0) {{
    %1: f64 = buffer.load %x, %i
    %2: bool = eq %1, %top
    %3: f64 = select {operands}
    %4: f64 = add %t, %3
    yield %4
  }}
  return %s
}} with {{layouts=("C", "", "", "")}}
"""
RARE = " with {rare=1}"


def made(operands: str, rare: str = RARE) -> Function:
    function = parse(LOOP.format(operands=operands, rare=rare))
    unswitch(function)
    cleanup(function)
    verify(function)
    return function


def loops(op: Op | Function) -> list[Op]:
    regions = [op.body] if isinstance(op, Function) else op.regions
    return [inner for region in regions for inner in walk(region) if inner.name == "for"]


@pytest.mark.parametrize("operands", ["%2, %share, 0.0", "%2, 0.0, %share"])
def test_twice(operands: str) -> None:
    function = made(operands)
    first, second = loops(function)
    assert not any(v.name == "share" for op in walk(first.regions[0]) for v in op.operands)
    assert any(v.name == "share" for op in walk(second.regions[0]) for v in op.operands)
    assert function.results[0].op is not None and function.results[0].op.name == "if"


@pytest.mark.parametrize(
    ("operands", "rare"),
    [
        ("%2, %share, 0.0", ""),  # nothing says that it may be 0
        ("%2, %share, 1.0", RARE),  # not a share
        ("%2, %a, 0.0", RARE),  # an argument
        ("%2, %1, 0.0", RARE),  # not the same for all
    ],
)
def test_once(operands: str, rare: str) -> None:
    assert len(loops(made(operands, rare))) == 1


def logsumexp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def shifted(x):
    top = np.max(x)
    return np.log(np.sum(np.exp(x - top)))


@pytest.mark.parametrize(("function", "least"), [(logsumexp, 1.0), (shifted, 1.0)])
def test_both_loops_run(function: Callable[..., float], least: float) -> None:
    """The same kernel meets a share of 0, another, and NaN; long arrays run in vectors."""
    found = grad(function)
    for n in (1, 5, 1000):
        x = np.linspace(-3.0, least, n)
        e = np.exp(x - np.max(x))
        expected = e / np.sum(e)
        if function is shifted:
            expected[np.argmax(x)] -= 1.0
        np.testing.assert_allclose(found(x), expected, rtol=1e-13, atol=1e-16)
        x[n // 2] = np.nan
        assert np.isnan(found(x)).all()


def test_what_does_not_cancel_asks_nothing() -> None:
    """Without the cancellation there is one loop: `x` is looked at once more, as ever."""
    counts = []
    for function in (logsumexp, lambda x: np.max(x) * 2.0 + np.sum(x)):
        found = grad(function)
        found(np.arange(5.0))
        text = found.ir_function("scheduled")
        counts.append(sum(op.name == "if" for op in walk(text.body)))
    assert counts[0] == 3 and counts[1] == 0
