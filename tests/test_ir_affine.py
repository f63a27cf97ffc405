"""Proofs about integers: what is proven is true in every run, and what the design needs is proven."""

import contextlib
from typing import Any

import numpy as np
import pytest
from ir_random import Generator

from adjit.ir.affine import Facts
from adjit.ir.core import Function, Op, Region, Value, walk
from adjit.ir.interp import Interpreter
from adjit.ir.text import parse
from adjit.ir.types import I64, Scalar


def named(function: Function, name: str) -> Value:
    for op in walk(function.body):
        for v in [*op.results, *(a for r in op.regions for a in r.args)]:
            if v.name == name:
                return v
    return next(a for a in function.args if a.name == name)


def proves(function: Function, larger: str, smaller: str, by: int = 0) -> bool:
    facts = Facts(function)
    difference = facts.linear(named(function, larger)) - facts.linear(named(function, smaller))
    return facts.nonneg(difference - by)


def test_forms_meet() -> None:
    function = parse("""func @f(%i: i64, %n: i64, %x: f64[?]) -> i64 {
      %a: i64 = add %i, %n
      %b: i64 = mul %a, 3
      %c: i64 = sub %b, %n
      %d: i64 = neg %c
      %e: i64 = add %d, %b
      return %e
    }""")
    facts = Facts(function)
    assert facts.equal(facts.linear(named(function, "e")), facts.linear(function.args[1]))


@pytest.mark.parametrize("reverse", ["", "reverse"])
def test_loop_ends_counters_and_products(reverse: str) -> None:
    function = parse(f"""func @f(%x: f64[?], %k: i64) -> i64 {{
      %n: i64 = dim %x {{axis=0}}
      %h: i64 = floordiv %n, 2
      %s: i64 = for %i in {reverse}(1, %h) (%c = 0) {{
        %twice: i64 = mul %i, 2
        %next: i64 = add %c, 2
        %inner: i64 = for %j in (%i, %n) (%t = 0) {{
          %gap: i64 = sub %j, %i
          yield %gap
        }}
        yield %next
      }}
      return %s
    }}""")
    assert proves(function, "n", "twice", 2) and not proves(function, "n", "twice", 3)
    assert proves(function, "n", "j", 1) and proves(function, "j", "i") and not proves(function, "j", "i", 1)
    assert proves(function, "gap", "c") is False
    assert proves(function, "n", "c", 4), "c is 2 * (i - 1) forwards and 2 * (h - 1 - i) backwards"
    facts = Facts(function)
    assert facts.nonneg(facts.linear(named(function, "gap")))
    assert facts.nonneg(facts.linear(named(function, "s")))


def test_cases() -> None:
    function = parse("""func @f(%x: f64[?], %i: i64, %p: bool) -> i64 {
      %n: i64 = dim %x {axis=0}
      %low: i64 = minimum %i, %n
      %clipped: i64 = maximum %low, 0
      %length: i64 = sub %n, %clipped
      %either: i64 = select %p, %clipped, %n
      %branch: i64 = if %p { yield %length } else { %m: i64 = sub %n, %length yield %m }
      %k: i64 = bound %i, %n {what="index", axis=0}
      %r: i64 = mod %i, 7
      %b: i64 = cast %p {dtype=i64}
      return %k
    }""")
    facts = Facts(function)
    for name in ("clipped", "length", "either", "branch", "k", "r", "b"):
        assert facts.nonneg(facts.linear(named(function, name))), name
    assert not facts.nonneg(facts.linear(named(function, "low")))
    for name in ("clipped", "length", "either", "branch"):
        assert proves(function, "n", name), name
    assert proves(function, "n", "k", 1) and not proves(function, "n", "k", 2)
    assert facts.nonneg(facts.linear(named(function, "r")).times(-1) + 6)


def test_conditions_hold_where_they_were_tested_and_no_longer() -> None:
    function = parse("""func @f(%i: i64, %j: i64, %p: bool) -> bool {
      %a: bool = lt %i, %j
      %b: bool = ge %i, 0
      %c: bool = logical_and %a, %b
      %d: bool = logical_or %a, %p
      return %c
    }""")
    facts = Facts(function)
    i, j = map(facts.linear, function.args[:2])
    facts.push()
    facts.assume(named(function, "c"))
    assert facts.nonneg(j - i - 1) and facts.nonneg(j) and not facts.nonneg(i - 1)
    assert facts.nonneg(j - i - 1, depth=1) is False
    facts.pop()
    assert not facts.nonneg(j - i)
    facts.push()
    facts.assume(named(function, "d"), False)
    assert facts.nonneg(i - j) and not facts.nonneg(i - j - 1)
    facts.assume(named(function, "c"), False)  # one of the two is false: nothing is known of either
    assert not facts.nonneg(i)
    facts.pop()


def test_extents_are_traced_through_loops_and_swaps() -> None:
    function = parse("""func @f(%u: f64[?,?], %w: f64[?], %steps: i64) -> (i64, i64, i64) {
      %n: i64 = dim %u {axis=0}
      %m: i64 = dim %u {axis=1}
      %z: f64[?,?] = fill 0.0, %n, %m
      %a: f64[?,?], %b: f64[?,?], %c: f64[?] = for %t in (0, %steps) (%p = %u, %q = %z, %r = %w) {
        %e: f64[?,?] = while (%y = %q) {
          test true
        } do {
          %o: f64[?,?] = update %y, 1.0, 0, 0 {spec="ii"}
          yield %o
        }
        %k: i64 = dim %p {axis=1}
        %l: f64[?] = fill 0.0, %k
        yield %e, %p, %l
      }
      %da: i64 = dim %a {axis=0}
      %db: i64 = dim %b {axis=1}
      %dc: i64 = dim %c {axis=0}
      return %da, %db, %dc
    }""")
    facts = Facts(function)
    n, m, a, b, c = (facts.linear(named(function, k)) for k in ("n", "m", "da", "db", "dc"))
    assert facts.equal(a, n)
    assert facts.equal(b, m)
    assert not facts.equal(c, m), "the loop may not run"


def test_a_shape_that_changes_is_not_kept() -> None:
    function = parse("""func @f(%u: f64[?], %steps: i64) -> i64 {
      %n: i64 = dim %u {axis=0}
      %a: f64[?] = for %t in (0, %steps) (%p = %u) {
        %k: i64 = dim %p {axis=0}
        %l: i64 = add %k, 1
        %q: f64[?] = fill 0.0, %l
        yield %q
      }
      %x: i64 = dim %a {axis=0}
      return %x
    }""")
    facts = Facts(function)
    assert not facts.equal(facts.linear(named(function, "x")), facts.linear(named(function, "n")))


Claims = dict[Value, list[tuple[Value | None, int]]]


class Watching(Interpreter):
    """Runs a program and, at every integer, asks whether what is proven about it is true."""

    def __init__(self, claims: Claims) -> None:
        super().__init__({}, checks=False)
        self.claims = claims

    def set(self, target: Value, result: Any, op: Op | None) -> None:
        super().set(target, result, op)
        for other, by in self.claims.get(target, ()):
            known = 0 if other is None else self.env[other]
            assert int(self.env[target]) - int(known) - by >= 0, (target, other, by)


def prove_all(facts: Facts, region: Region, visible: list[Value], claims: Claims) -> None:
    """What can be proven of every integer, alone and against those in sight."""
    visible = visible + [v for v in region.args if v.type == Scalar(I64) and v.name == "i"]
    for op in region.ops:
        for inner in op.regions[:1] if op.name == "while" else op.regions:
            prove_all(facts, inner, visible, claims)
        for v in op.results:
            if v.type == Scalar(I64):
                for other in [None, *visible[-6:]]:
                    form = facts.linear(v)
                    if other is not None:
                        form = form - facts.linear(other)
                    for by in (0, 1, 2):
                        if facts.nonneg(form - by):
                            claims.setdefault(v, []).append((other, by))
                visible.append(v)


def test_what_is_proven_is_true_in_every_run() -> None:
    proven = 0
    for seed in range(80):
        generator = Generator(seed)
        function = generator.function()
        claims: Claims = {}
        prove_all(Facts(function), function.body, [], claims)
        proven += sum(map(len, claims.values()))
        watching = Watching(claims)
        for _ in range(3):
            watching.env = dict(zip(function.args, generator.args()))
            with np.errstate(all="ignore"), contextlib.suppress(IndexError, ValueError):
                watching.region(function.body)
    assert proven > 500
