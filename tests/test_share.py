"""What branches on one condition have in common is computed once, where it costs something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.ir.core import walk
from adjit.ir.interp import run as interpret
from adjit.ir.passes import share
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

TWICE = """func @f(%x: f64, %c: bool) -> (f64, f64) {
  %r: f64 = if %c {
    %a: f64 = mul %x, 2.0
    %s: f64 = sqrt %a
    %t: f64 = sin %s
    yield %t
  } else {
    %e: f64 = exp %x
    yield %e
  }
  %g: f64 = if %c {
    %b: f64 = mul 2.0, %x
    %u: f64 = sqrt %b
    %v: f64 = sin %u
    %w: f64 = mul %v, %u
    yield %w
  } else {
    %h: f64 = exp %x
    %k: f64 = cos %h
    yield %k
  }
  return %r, %g
}"""


def count(function: Any, name: str) -> int:
    return sum(op.name == name for op in walk(function.body))


def test_costly_operations_are_computed_once_in_each_case() -> None:
    function = parse(TWICE)
    shared = share.run(function)
    verify(shared)
    assert [count(shared, name) for name in ("sqrt", "sin", "exp", "cos")] == [1, 1, 1, 1]
    assert to_text(parse(to_text(shared))) == to_text(shared)
    for x in (0.25, 1.5):
        for c in (False, True):
            assert interpret(shared, [x, c]) == interpret(function, [x, c])


def test_nothing_to_share() -> None:
    other = parse(TWICE.replace("if %c {\n    %b", "if %d {\n    %b").replace("%c: bool)", "%c: bool, %d: bool)"))
    assert share.run(other) is other  # on another condition
    cheap = parse(TWICE.replace("sqrt", "neg").replace("sin", "neg").replace("exp", "neg").replace("cos", "neg"))
    assert share.run(cheap) is cheap


def test_only_what_is_in_sight() -> None:
    """What a branch inside of a loop computes is not there behind the loop; what stood before it is there inside."""
    text = """func @f(%x: f64, %c: bool) -> (f64, f64) {
      %r: f64 = for %i in (0, 3) (%y = %x) {
        %a: f64 = if %c {
          %s: f64 = sin %x
          yield %s
        } else {
          yield %y
        }
        yield %a
      }
      %g: f64 = if %c {
        %u: f64 = sin %x
        yield %u
      } else {
        yield 0.0
      }
      %z: f64 = for %i in (0, 3) (%y = %x) {
        %b: f64 = if %c {
          %v: f64 = sin %x
          %w: f64 = mul %v, %y
          yield %w
        } else {
          yield %y
        }
        yield %b
      }
      %t: f64 = add %r, %z
      return %t, %g
    }"""
    function = parse(text)
    shared = share.run(function)
    verify(shared)
    assert count(shared, "sin") == 2
    for c in (False, True):
        assert interpret(shared, [0.7, c]) == interpret(function, [0.7, c])


def test_one_branch_inside_of_another() -> None:
    text = """func @f(%x: f64, %c: bool, %d: bool) -> (f64, f64) {
      %r: f64 = if %c {
        %p: f64 = if %d {
          %s: f64 = sin %x
          yield %s
        } else {
          yield %x
        }
        %q: f64 = if %d {
          %t: f64 = sin %x
          %m: f64 = mul %t, %t
          yield %m
        } else {
          yield %p
        }
        yield %q
      } else {
        yield %x
      }
      %g: f64 = if %d {
        %u: f64 = sin %x
        yield %u
      } else {
        yield 1.0
      }
      return %r, %g
    }"""
    function = parse(text)
    shared = share.run(function)
    verify(shared)
    assert count(shared, "sin") == 2
    for c in (False, True):
        for d in (False, True):
            assert interpret(shared, [0.7, c, d]) == interpret(function, [0.7, c, d])


def norm_or_sum(x: Any) -> Any:
    total = np.sum(x * x)
    if total > 1.0:
        root = np.sqrt(total)
        return np.sin(x[0] / root) * np.exp(x[1] / root) + np.cos(root)
    return np.exp(x[0]) * np.sin(x[1]) + total


def by_elements(x: Any) -> Any:
    """Branches in a loop, one inside of another; what the taken one does is undefined in the other."""
    total = 0.0
    for i in range(len(x)):
        if x[i] > 0.0:
            root = np.sqrt(x[i])
            if root > 0.5:
                total += np.log(root) * np.exp(root)
            else:
                total += np.sin(root) / root
        else:
            total += np.exp(x[i])
    return total


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [norm_or_sum, by_elements])
def test_derivatives(function: Any) -> None:
    sets = [(np.array(x),) for x in ([0.3, -0.4, 0.2], [1.5, 0.7, -2.0], [-1.0, -0.1, 0.05])]
    check_program(function, sets, (0,), compile=True)


def pair(x: Any) -> Any:
    if x[0] > 0.0:
        angle = np.sqrt(x[0])
        return np.array([np.cos(angle) * x[1], np.sin(angle) + x[1]])
    return np.array([x[0] * x[1], x[1]])


def test_gradients_share_the_functions() -> None:
    def both(x: Any) -> Any:
        return adjit.grad(lambda y: pair(y)[0])(x) + 2.0 * adjit.grad(lambda y: pair(y)[1])(x)

    compiled = adjit.jit(both)
    for x in ([0.5, 2.0], [-0.5, 2.0]):
        at, h = np.array(x), 1e-6 * np.eye(2)
        rows = np.array([(pair(at + e) - pair(at - e)) / 2e-6 for e in h])
        assert np.allclose(compiled(at), rows @ [1.0, 2.0], rtol=1e-6)
    text = str(compiled.ir("scheduled"))
    assert [text.count(f"= {name} ") for name in ("sqrt", "sin", "cos")] == [1, 1, 1]
