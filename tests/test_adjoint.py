"""The adjoint on IR written by hand: each case one way of making primal values available, or one kind of zero.

Checked against complex step through the interpreter, and for what is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from adjit.ir.adjoint import jvp, vjp
from adjit.ir.core import Function, walk
from adjit.ir.interp import run
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify


@dataclass
class Case:
    text: str
    args: list[Any]
    wrt: list[int]
    pushes: int | None = None
    """How many tape.push operations the adjoint program has (None: not asserted)."""


RNG = np.random.default_rng(7)

CASES = {
    "while_saves_what_it_carries": Case(
        """
        func @f(%x: f64) -> f64 {
          %r: f64 = while (%v = %x) {
            %c: bool = gt %v, 1.0
            test %c
          } do {
            %s: f64 = mul %v, %v
            %k: f64 = mul 0.1, %s
            %w: f64 = sub %v, %k
            yield %w
          }
          return %r
        }""",
        [3.0],
        [0],
        pushes=1,
    ),
    "linear_loop_keeps_nothing": Case(
        """
        func @f(%x: f64, %n: i64) -> f64 {
          %r: f64 = for %i in (0, %n) (%v = %x) {
            %w: f64 = mul %v, 0.9
            %u: f64 = add %w, 1.0
            yield %u
          }
          return %r
        }""",
        [3.0, 5],
        [0],
        pushes=0,
    ),
    "undo_element_writes": Case(
        """
        func @f(%a: f64[?], %n: i64) -> f64 {
          %r: f64[?] = for %i in (1, %n) (%v = %a) {
            %j: i64 = sub %i, 1
            %p: f64[?] = index %v, 0, %i, 1 {spec="s"}
            %q: f64[?] = mul %p, %p
            %s: f64 = reduce_sum %q {axes=(0,)}
            %o: f64 = index %v, %i {spec="i"}
            %m: f64 = mul %o, %s
            %w: f64[?] = update %v, %m, %j {spec="i"}
            yield %w
          }
          %t: f64[?] = mul %r, %r
          %y: f64 = reduce_sum %t {axes=(0,)}
          return %y
        }""",
        [RNG.normal(size=6), 6],
        [0],
    ),
    "branch_in_loop": Case(
        """
        func @f(%a: f64[?], %x: f64, %n: i64) -> f64 {
          %r: f64 = for %i in (0, %n) (%v = %x) {
            %e: f64 = index %a, %i {spec="i"}
            %c: bool = gt %e, 0.0
            %w: f64 = if %c {
              %s: f64 = mul %v, %e
              %t: f64 = mul %s, %s
              yield %t
            } else {
              %s: f64 = add %v, %e
              yield %s
            }
            yield %w
          }
          return %r
        }""",
        [np.array([0.5, -0.3, 1.2, -0.2, 0.4]), 1.1, 5],
        [0, 1],
    ),
    "branch_at_the_top": Case(
        """
        func @f(%x: f64, %a: f64[?]) -> f64 {
          %c: bool = gt %x, 0.0
          %y: f64, %b: f64[?] = if %c {
            %s: f64 = mul %x, %x
            %t: f64 = mul %s, %s
            %q: f64[?] = mul %a, %t
            %q2: f64[?] = mul %q, %q
            yield %t, %q2
          } else {
            yield %x, %a
          }
          %b2: f64[?] = mul %b, %b
          %z: f64 = reduce_sum %b2 {axes=(0,)}
          %w: f64 = mul %z, %y
          return %w
        }""",
        [1.3, np.array([0.3, -0.7, 2.0])],
        [0, 1],
        pushes=0,
    ),
    "local_array_in_a_loop": Case(
        """
        func @f(%a: f64[?], %n: i64) -> f64 {
          %r: f64 = for %i in (0, %n) (%acc = 0.0) {
            %e: f64 = index %a, %i {spec="i"}
            %z: f64[4] = fill %e, 4
            %b: f64[4] = for %j in (1, 4) (%v = %z) {
              %k: i64 = sub %j, 1
              %p: f64 = index %v, %k {spec="i"}
              %o: f64 = index %v, %j {spec="i"}
              %m: f64 = mul %p, %o
              %w: f64[4] = update %v, %m, %j {spec="i"}
              yield %w
            }
            %t: f64[4] = mul %b, %b
            %s: f64 = reduce_sum %t {axes=(0,)}
            %u: f64 = add %acc, %s
            yield %u
          }
          return %r
        }""",
        [np.array([0.5, -0.3, 1.2]), 3],
        [0],
    ),
    "carried_array_replaced_each_step": Case(
        """
        func @f(%a: f64[?], %n: i64) -> f64 {
          %r: f64[?] = for %i in (0, %n) (%v = %a) {
            %s: f64[?] = mul %v, %v
            %k: f64[?] = mul %s, 0.3
            %w: f64[?] = sub %v, %k
            yield %w
          }
          %y: f64 = reduce_sum %r {axes=(0,)}
          return %y
        }""",
        [np.array([0.5, -0.3, 1.2]), 4],
        [0],
        pushes=1,
    ),
    "while_with_control_flow_in_its_condition": Case(
        """
        func @f(%x: f64, %a: f64[?]) -> f64 {
          %n: i64 = dim %a {axis=0}
          %r: f64, %m: i64 = while (%v = %x, %i = 0) {
            %in: bool = lt %i, %n
            %c: bool, %e: f64 = if %in {
              %e: f64 = index %a, %i {spec="i"}
              %e2: f64 = mul %e, %e
              %ok: bool = gt %e, 0.0
              yield %ok, %e2
            } else {
              yield false, 0.0
            }
            test %c
          } do {
            %w: f64 = mul %v, %e
            %w2: f64 = mul %w, %w
            %j: i64 = add %i, 1
            yield %w2, %j
          }
          return %r
        }""",
        [1.3, np.array([0.9, 1.1, 0.7, -1.0, 2.0])],
        [0, 1],
    ),
    "top_level_writes_are_undone": Case(
        """
        func @f(%a: f64[?]) -> f64 {
          %x0: f64 = index %a, 0 {spec="i"}
          %b: f64[?] = mul %a, 2.0
          %s0: f64[?] = mul %b, %b
          %t0: f64 = reduce_sum %s0 {axes=(0,)}
          %c: f64[?] = update %b, %t0, 1 {spec="i"}
          %s1: f64[?] = mul %c, %c
          %t1: f64 = reduce_sum %s1 {axes=(0,)}
          %d: f64[?] = update %c, %t1, 2 {spec="i"}
          %s2: f64[?] = mul %d, %d
          %t2: f64 = reduce_sum %s2 {axes=(0,)}
          %y: f64 = mul %t2, %x0
          return %y
        }""",
        [np.array([0.5, -0.3, 1.2, 0.4])],
        [0],
        pushes=0,
    ),
    "gather_and_scatter": Case(
        """
        func @f(%a: f64[?], %k: i64[?], %n: i64) -> f64 {
          %r: f64[?] = for %i in (0, %n) (%v = %a) {
            %g: f64[?] = gather %v, %k {axes=(0,)}
            %h: f64[?] = mul %g, %g
            %w: f64[?] = scatter_add %v, %h, %k {axes=(0,)}
            %g2: f64[?] = mul %g, 0.5
            %u: f64[?] = scatter %w, %g2, %k {axes=(0,)}
            yield %u
          }
          %t: f64[?] = mul %r, %r
          %y: f64 = reduce_sum %t {axes=(0,)}
          return %y
        }""",
        [np.array([0.5, -0.3, 1.2, 0.4]), np.array([1, 3, 1]), 3],
        [0],
    ),
    "two_arrays_swapped": Case(
        """
        func @f(%a: f64[?], %b: f64[?], %n: i64) -> f64 {
          %r: f64[?], %s: f64[?] = for %i in (0, %n) (%u = %a, %v = %b) {
            %x: f64 = index %u, 0 {spec="i"}
            %y: f64 = index %v, 1 {spec="i"}
            %z: f64 = mul %x, %y
            %w: f64[?] = update %v, %z, 0 {spec="i"}
            yield %w, %u
          }
          %t: f64[?] = mul %r, %s
          %y: f64 = reduce_sum %t {axes=(0,)}
          return %y
        }""",
        [np.array([0.5, -0.3]), np.array([1.2, 0.4]), 5],
        [0, 1],
    ),
    "lineage_that_ends_in_a_branch": Case(
        """
        func @f(%b: f64[?], %s: f64) -> f64 {
          %c: bool = gt %s, 2.0
          %r: f64[?] = if %c {
            yield %b
          } else {
            %v: f64[?] = for %i in (0, 2) (%u = %b) {
              %e: f64 = index %u, %i {spec="i"}
              %d: f64 = sub %e, 0.3
              %w: f64[?] = update %u, %d, %i {spec="i"}
              yield %w
            }
            %q: f64[?] = mul %v, %v
            yield %q
          }
          %y: f64 = reduce_sum %r {axes=(0,)}
          return %y
        }""",
        [np.array([0.5, -0.3, 1.2]), 1.0],
        [0],
    ),
    "nested_loops_with_row_updates": Case(
        """
        func @f(%a: f64[?,?], %n: i64) -> f64 {
          %r: f64[?,?] = for %i in (1, %n) (%v = %a) {
            %h: i64 = sub %i, 1
            %r2: f64[?,?] = for %j in (0, %n) (%u = %v) {
              %p: f64 = index %u, %h, %j {spec="ii"}
              %row: f64[?] = index %u, %i {spec="i:"}
              %q: f64[?] = mul %row, %p
              %q1: f64[?] = mul %q, %row
              %w: f64[?,?] = update %u, %q1, %i {spec="i:"}
              yield %w
            }
            yield %r2
          }
          %t: f64[?,?] = mul %r, %r
          %y: f64 = reduce_sum %t {axes=(0,1)}
          return %y
        }""",
        [0.9 + 0.1 * RNG.normal(size=(3, 3)), 3],
        [0],
    ),
}


def pushes(function: Function) -> int:
    return sum(op.name == "tape.push" for op in walk(function.body))


@pytest.mark.parametrize("name", CASES)
def test_adjoint(name: str) -> None:
    case = CASES[name]
    function = parse(case.text)
    verify(function)
    adjoint = vjp(function, case.wrt, ["one"])
    verify(adjoint.function)
    assert to_text(parse(to_text(adjoint.function))) == to_text(adjoint.function)
    value, *gradients = run(adjoint.function, case.args)
    assert value == run(function, case.args)[0]
    for _ in range(3):
        directions = [RNG.normal(size=np.shape(case.args[k])) for k in case.wrt]
        shifted = list(case.args)
        for k, d in zip(case.wrt, directions, strict=True):
            shifted[k] = case.args[k] + 1e-30j * d
        expected = run(function, shifted)[0].imag / 1e-30
        got = sum(np.sum(g * d) for g, d in zip(gradients, directions, strict=True))
        assert got == pytest.approx(expected, rel=1e-12), to_text(adjoint.function)
    if case.pushes is not None:
        assert pushes(adjoint.function) == case.pushes, to_text(adjoint.function)


@pytest.mark.parametrize("name", CASES)
def test_split_form_agrees_and_may_be_pulled_back_twice(name: str) -> None:
    case = CASES[name]
    adjoint = vjp(parse(case.text), case.wrt, ["argument"])
    forward, reverse = adjoint.split()
    verify(forward)
    verify(reverse)
    _, *expected = run(adjoint.function, [*case.args, 1.0])
    _, *residuals = run(forward, case.args)
    for scale in (1.0, 2.0):
        got = run(reverse, [*residuals, scale])
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a, scale * np.asarray(b), rtol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_adjoint_of_the_adjoint(name: str) -> None:
    """The adjoint program is ordinary IR: the directional derivative of a component of the gradient."""
    case = CASES[name]
    first = vjp(parse(case.text), case.wrt, ["one"], keep=[]).function
    second = vjp(first, case.wrt, ["argument"] * len(case.wrt), keep=[]).function
    verify(second)
    for _ in range(3):
        u, v = ([RNG.normal(size=np.shape(case.args[k])) for k in case.wrt] for _ in range(2))
        shifted = list(case.args)
        for k, d in zip(case.wrt, u, strict=True):
            shifted[k] = case.args[k] + 1e-30j * d
        gradients = run(first, shifted)
        expected = sum(np.sum(g.imag / 1e-30 * d) for g, d in zip(gradients, v, strict=True))
        products = run(second, [*case.args, *v])
        got = sum(np.sum(p * d) for p, d in zip(products, u, strict=True))
        assert got == pytest.approx(expected, rel=1e-11), to_text(second)


STRUCTURAL_ZEROS = {
    "select": """
        func @f(%x: f64) -> f64 {
          %c: bool = gt %x, 0.0
          %s: f64 = sqrt %x
          %r: f64 = select %c, %s, %x
          return %r
        }""",
    "select_of_arrays_through_a_chain": """
        func @f(%x: f64) -> f64 {
          %a: f64[3] = fill %x, 3
          %c: bool[3] = gt %a, 0.0
          %s: f64[3] = log %a
          %t: f64[3] = div %s, %a
          %z: f64[3] = fill 0.0, 3
          %r: f64[3] = select %c, %t, %z
          %y: f64 = reduce_sum %r {axes=(0,)}
          %y2: f64 = add %y, %x
          return %y2
        }""",
    "maximum": """
        func @f(%x: f64) -> f64 {
          %s: f64 = sqrt %x
          %t: f64 = add %x, 1.0
          %r: f64 = maximum %s, %t
          return %r
        }""",
    "branch_not_taken": """
        func @f(%x: f64) -> f64 {
          %c: bool = gt %x, 0.0
          %s: f64 = sqrt %x
          %r: f64 = if %c {
            yield %s
          } else {
            yield %x
          }
          return %r
        }""",
    "loop_not_entered": """
        func @f(%x: f64) -> f64 {
          %s: f64 = sqrt %x
          %r: f64 = for %i in (0, 0) (%v = %x) {
            %w: f64 = add %v, %s
            yield %w
          }
          return %r
        }""",
    "carried_and_not_used": """
        func @f(%x: f64) -> f64 {
          %r: f64, %t: f64 = for %i in (0, 3) (%v = %x, %u = 1.0) {
            %c: bool = gt %v, 1.0
            %w: f64 = select %c, %u, %v
            %s: f64 = sqrt %x
            yield %w, %s
          }
          return %r
        }""",
    "maximum_of_an_array": """
        func @f(%x: f64) -> f64 {
          %a: f64[2] = fill %x, 2
          %b: f64[2] = update %a, 1.0, 1 {spec="i"}
          %s: f64[2] = sqrt %b
          %m: f64 = reduce_max %s {axes=(0,)}
          %r: f64 = add %m, %x
          return %r
        }""",
    "sum_of_a_masked_array": """
        func @f(%x: f64) -> f64 {
          %s: f64 = sqrt %x
          %a: f64[2] = fill %s, 2
          %c: bool[2] = gt %a, 0.0
          %z: f64[2] = fill %x, 2
          %h: f64[2] = mul %z, 0.5
          %r: f64[2] = select %c, %a, %h
          %y: f64 = reduce_sum %r {axes=(0,)}
          return %y
        }""",
}


@pytest.mark.parametrize("name", STRUCTURAL_ZEROS)
def test_zeros_by_structure_meet_no_infinity(name: str) -> None:
    function = parse(STRUCTURAL_ZEROS[name])
    adjoint = vjp(function, [0], ["one"], keep=[]).function
    verify(adjoint)
    assert run(adjoint, [0.0]) == [1.0], to_text(adjoint)


def test_a_zero_that_is_a_number_multiplies_as_ieee_says() -> None:
    function = parse("func @f(%x: f64) -> f64 { %s: f64 = sqrt %x\n %r: f64 = mul %s, 0.0\n return %r }")
    assert np.isnan(run(vjp(function, [0], ["one"], keep=[]).function, [0.0])[0])


@pytest.mark.parametrize("name", CASES)
def test_forward_mode_agrees_with_reverse_mode(name: str) -> None:
    """<gradient, u> = tangent along u; and forward over reverse is the same as reverse over reverse."""
    case = CASES[name]
    function = parse(case.text)
    tangent = jvp(function, case.wrt)
    verify(tangent)
    gradient = vjp(function, case.wrt, ["one"], keep=[]).function
    second = jvp(gradient, case.wrt)
    verify(second)
    back = vjp(gradient, case.wrt, ["argument"] * len(case.wrt), keep=[]).function
    u, v = ([RNG.normal(size=np.shape(case.args[k])) for k in case.wrt] for _ in range(2))
    got = run(tangent, [*case.args, *u])[1]
    first = run(gradient, case.args)
    assert got == pytest.approx(sum(np.sum(g * d) for g, d in zip(first, u, strict=True)), rel=1e-12)
    along = run(second, [*case.args, *u])[len(case.wrt) :]
    transposed = run(back, [*case.args, *v])
    a = sum(np.sum(g * d) for g, d in zip(along, v, strict=True))
    b = sum(np.sum(g * d) for g, d in zip(transposed, u, strict=True))
    assert a == pytest.approx(b, rel=1e-11)
