"""Copying and rewriting: copies share nothing, and what is not changed is not copied."""

import pytest
from ir_random import Generator

from adjit.ir.core import Builder, Function, Op, Region, walk
from adjit.ir.rewrite import (
    Rewriter,
    clone_function,
    clone_op,
    clone_region,
    defined,
    free_values,
    substitute,
    use_counts,
    uses,
)
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

LOOP = """func @f(%x: f64, %y: f64, %n: i64) -> f64 {
  %a: f64 = mul %x, 2.0                                   ; m.py:2
  %s: f64 = while (%t = %a) {
    %c: bool = lt %t, %y
    test %c
  } do {
    %u: f64 = add %t, %x
    %v: f64 = select %c, %u, %y
    yield %v
  }                                                       ; m.py:3
  return %s
}"""


def everything(function: Function) -> set[int]:
    out = {id(function.body), *map(id, function.args)}
    for op in walk(function.body):
        out |= {id(op), *map(id, op.results), *map(id, op.regions)}
        out |= {id(a) for r in op.regions for a in r.args}
    return out


@pytest.mark.parametrize("seed", range(30))
def test_a_clone_prints_the_same_and_shares_nothing(seed: int) -> None:
    function = Generator(seed).function()
    copy = clone_function(function)
    verify(copy)
    assert to_text(copy) == to_text(function)
    assert not everything(copy) & everything(function)
    assert copy.attrs == function.attrs and copy.attrs is not function.attrs


def test_clone_function_may_rename() -> None:
    assert clone_function(parse(LOOP), "g").name == "g"


def test_clone_op_maps_operands_and_remembers_results() -> None:
    function = parse(LOOP)
    x, y, _ = function.args
    first, loop, _ = function.body.ops
    out = Region(list(function.args))
    env = {x: y}
    builder = Builder(out)
    (a,) = clone_op(first, env, builder)
    (s,) = clone_op(loop, env, builder)
    builder.emit("return", [s])
    assert env[first.result] is a and env[loop.result] is s and a is not first.result
    copy = Function("g", out)
    verify(copy)
    assert to_text(copy) == LOOP.replace("@f", "@g").replace("mul %x", "mul %y").replace("add %t, %x", "add %t, %y")
    assert out.ops[1].span == loop.span


def test_clone_region_of_a_while_in_order() -> None:
    loop = parse(LOOP).body.ops[1]
    env: dict = {}
    before, body = (clone_region(r, env) for r in loop.regions)
    assert body.ops[1].operands[0] is before.ops[0].result
    assert body.ops[0].operands[0] is before.args[0] is not loop.regions[0].args[0]


def test_tables() -> None:
    function = parse(LOOP)
    x, y, n = function.args
    loop = function.body.ops[1]
    a, t = function.body.ops[0].result, loop.regions[0].args[0]
    assert free_values(*loop.regions) == [y, x]
    assert free_values(function.body) == []
    assert t in defined(*loop.regions) and a not in defined(*loop.regions) and a in defined(function.body)
    assert [(op.name, k) for op, k in uses(function.body)[t]] == [("lt", 0), ("add", 0)]
    assert use_counts(function.body)[y] == 2 and n not in use_counts(function.body)


def test_substitute_uses_another_value_everywhere() -> None:
    function = parse(LOOP)
    text = to_text(function)
    x, y, _ = function.args
    result = substitute(function, {y: x})
    verify(result)
    assert to_text(function) == text
    assert to_text(result) == text.replace("lt %t, %y", "lt %t, %x").replace("%u, %y", "%u, %x")


@pytest.mark.parametrize("seed", range(20))
def test_a_rewriter_that_changes_nothing_returns_its_input(seed: int) -> None:
    function = Generator(seed).function()
    assert Rewriter().function(function) is function
    copy = Rewriter().function(function, always=True)
    assert copy is not function and to_text(copy) == to_text(function)
    verify(copy)


def test_a_rewriter_refuses_a_value_of_less_known_shape() -> None:
    class Replace(Rewriter):
        def visit(self, op: Op) -> None:
            if op.name != "neg" or not self.replace(op.results[0], self.get(op.operands[0])):
                self.copy(op)

    text = """func @f(%a: f64[?], %b: f64[3]) -> (f64[3], f64[?]) {
  %c: f64[3] = neg %a
  %d: f64[?] = neg %b
  return %c, %d
}"""
    function = Replace().function(parse(text))
    assert [op.name for op in function.body.ops] == ["neg", "return"]
    assert function.results[1] is function.args[1]
