"""Machine code made directly from the scheduled IR: what `codegen_support.compare` does not reach by itself."""

import numpy as np
import pytest
from codegen_support import allocations, compare

from adjit import jit, value_and_grad
from adjit.codegen.emit import render
from adjit.codegen.llvm.lowering import checks_of
from adjit.codegen.llvm.passes import TURNS, is_short
from adjit.codegen.lower import schedule
from adjit.ir.core import walk
from adjit.ir.text import parse
from adjit.ir.types import DTYPES

VALUES = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["f64", "f32"])
@pytest.mark.parametrize("turned", ["nn", "nt", "tn", "tt"])
def test_products(dtype, turned):
    left = "%p: D[?,?] = transpose %a {perm=(1,0)}" if turned[0] == "t" else "%p: D[?,?] = mul %a, %a"
    right = "%q: D[?,?] = transpose %b {perm=(1,0)}" if turned[1] == "t" else "%q: D[?,?] = mul %b, %b"
    text = f"func @f(%a: D[?,?], %b: D[?,?]) -> D[?,?] {{ {left} {right} %c: D[?,?] = matmul %p, %q  return %c }}"
    function = parse(text.replace("D[", f"{dtype}["))
    for rows, inner, columns in [(3, 2, 4), (40, 20, 30), (1, 5, 1), (0, 3, 2), (3, 0, 2), (3, 2, 0)]:
        a = VALUES.normal(size=(inner, rows) if turned[0] == "t" else (rows, inner)).astype(DTYPES[dtype].numpy)
        b = VALUES.normal(size=(columns, inner) if turned[1] == "t" else (inner, columns)).astype(DTYPES[dtype].numpy)
        compare(function, [a, b], both=rows == 3, rtol=1e-10 if dtype == "f64" else 1e-4)


def test_checks_have_the_numbers_that_the_source_gives_them():
    function = parse(
        """func @f(%x: f64[?], %n: i64) -> f64 {
          %d: i64 = dim %x {axis=0}
          %c: bool = lt %n, 3
          check %c, %n {error="ValueError", message="first"}
          %s: f64 = for %i in (0, %n) (%t = 0.0) {
            %k: i64 = bound %i, %d {what="index", axis=0}
            %v: f64 = index %x, %k {spec="i"}
            %p: bool = gt %v, 0.0
            check %p, %v {error="ValueError", message="second"}
            %w: f64 = add %t, %v
            yield %w
          }
          return %s
        }"""
    )
    low = schedule(function, ["C", ""])
    assert [(op.name, op.attrs) for op in checks_of(low)] == [(s.name, s.attrs) for s in render(low, "f").sites]
    for x, n in ([1.0, 2.0], 2), ([1.0], 2), ([1.0, -1.0], 2), ([], 3):
        compare(function, [np.array(x), n])


def test_not_enough_memory_is_an_error_of_python():
    @jit
    def total(n: int) -> float:
        return np.sum(np.cumsum(np.ones(n)))

    assert total(3) == 6.0
    owned = allocations()
    with pytest.raises(MemoryError, match="total"):
        total(2**52)
    assert allocations() == owned


def test_memory_is_released_on_every_way_out():
    def program(x, limit):
        a, b = x * 2.0, np.zeros_like(x)
        kept = 0.0
        for i in range(len(x)):
            row = np.cumsum(a) * x[i]
            if row[-1] > limit:
                if i > 2:
                    return np.sum(row)
                b, a = a, row
            assert row[0] < 100.0
            t = 1.0
            while t < row[-1]:
                t = t * 1.5 + a[0]
                kept += t * t
            a, b = b + row, a
        return kept + np.sum(a)

    f = value_and_grad(program)
    calls = [
        (np.array(x), limit) for x in ([0.5, 1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [80.0, 2.0]) for limit in (1.0, 50.0)
    ]
    held = allocations()
    for x, limit in calls:
        try:
            value, gradient = f(x, limit)
        except AssertionError:
            continue
        assert value == program(x, limit)
        del value, gradient
    assert allocations() == held


@pytest.mark.parametrize("turns", [1, 2, 8, 9])
def test_short_loops_are_marked_and_mean_the_same(turns):
    function = parse(
        """func @f(%x: f64[?], %n: i64) -> f64 {
          %s: f64 = for %i in (0, %n) (%t = 0.0) {
            %u: f64 = for %k in (0, TURNS) (%w = %t) {
              %f: f64 = cast %k {dtype=f64}
              %v: f64 = index %x, %i {spec="i"}
              %p: f64 = mul %v, %f
              %q: f64 = sub %p, %w
              yield %q
            }
            yield %u
          }
          return %s
        }""".replace("TURNS", str(turns))
    )
    low = schedule(function, ["C", ""])
    loops = [op for op in walk(low.body) if op.name == "for"]
    assert [is_short(op) for op in loops] == ([False, 1 < turns <= TURNS] if turns > 1 else [False] * len(loops))
    for n in (0, 1, 3):
        compare(function, [np.array([1.5, -2.0, 0.25]), n])
