"""Sums of shifted slices: one nest that gathers, with the meaning of the scattered additions it replaces."""

import numpy as np
import pytest
from codegen_support import compare
from differential import check_program

from adjit.codegen.lower import schedule
from adjit.codegen.lower.slice_sums import assemble_slices
from adjit.ir.core import Const, walk
from adjit.ir.interp import run
from adjit.ir.text import parse
from adjit.ir.types import I64
from adjit.ir.verify import verify

rng = np.random.default_rng(0)


def assembled(function):
    return [op for op in walk(assemble_slices(function).body) if op.name == "assemble"]


def agree(text, *argument_sets, assembles=1):
    """Every stage gives the same for all arguments, and so many chains were found."""
    function = parse(text)
    verify(function)
    assert len(assembled(function)) == assembles
    for args in argument_sets:
        expected = run(function, args)
        for found, wanted in zip(run(assemble_slices(function), args), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)
        compare(function, args)
    return schedule(function)


# ---------------------------------------------------------------- chains written in IR

THREE = """func @f(%a: f64[?], %v: f64[?], %w: f64[?]) -> f64[?] {
  %n: i64 = dim %a {axis=0}
  %k: i64 = add %n, -2
  %m: i64 = maximum %k, 0
  %s: i64 = minimum %n, 1
  %t: i64 = minimum %n, 2
  %a_1: f64[?] = accumulate %a, %v, 0, %m, 1 {spec="s"}
  %a_2: f64[?] = accumulate %a_1, %w, %s, %m, 1 {spec="s"}
  %a_3: f64[?] = accumulate %a_2, %v, %t, %m, 1 {spec="s"}
  return %a_3
}"""


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 9, 40])
def test_three_shifted_parts(n):
    m = max(n - 2, 0)
    agree(THREE, (rng.random(n), rng.random(m), rng.random(m)))


def test_nothing_is_read_outside_a_part():
    v = np.array([np.nan, 1.0, np.inf, 2.0, 3.0, np.nan])
    agree(THREE, (rng.random(8), v, np.full(6, -np.inf)), (np.full(8, np.nan), rng.random(6), rng.random(6)))


def test_one_nest_and_no_temporary():
    low = schedule(parse(THREE))
    assert sum(op.name == "buffer.alloc" for op in walk(low.body)) == 1


MARGINS = """func @f(%a: f64[?], %v: f64[?], %w: f64[?], %other: f64[?]) -> f64[?] {
  %n: i64 = dim %a {axis=0}
  %m: i64 = dim %other {axis=0}
  %last: i64 = sub %n, %m
  %a_1: f64[?] = accumulate %a, %v, 0, %m, 1 {spec="s"}
  %a_2: f64[?] = accumulate %a_1, %w, %last, %m, 1 {spec="s"}
  return %a_2
}"""


@pytest.mark.parametrize(("n", "m"), [(9, 9), (9, 8), (9, 6), (9, 3), (9, 1), (9, 0), (0, 0), (40, 35)])
def test_parts_that_leave_out_more_than_foreseen(n, m):
    agree(MARGINS, (rng.random(n), rng.random(m), rng.random(m), rng.random(m)))


def test_one_part_that_leaves_out_more_than_foreseen():
    text = """func @f(%v: f64[?], %other: f64[?]) -> f64[?] {
      %m: i64 = dim %v {axis=0}
      %n: i64 = dim %other {axis=0}
      %a: f64[?] = fill 0.5, %n
      %a_1: f64[?] = accumulate %a, %v, 0, %m, 1 {spec="s"}
      return %a_1
    }"""
    agree(text, (rng.random(5), rng.random(9)), (rng.random(9), rng.random(9)), (rng.random(0), rng.random(3)))


def test_an_empty_part_may_begin_anywhere():
    text = """func @f(%a: f64[?,?], %v: f64[?,?], %w: f64[?,?]) -> f64[?,?] {
      %n: i64 = dim %a {axis=0}
      %m: i64 = dim %a {axis=1}
      %k: i64 = add %n, -1
      %z: i64 = maximum %k, 0
      %a_1: f64[?,?] = accumulate %a, %v, 1, %z, 1, 0, %m, 1 {spec="ss"}
      %a_2: f64[?,?] = accumulate %a_1, %w, 0, %z, 1, 0, %m, 1 {spec="ss"}
      return %a_2
    }"""
    for n in range(4):
        for m in (0, 1, 5):
            part = (max(n - 1, 0), m)
            agree(text, (rng.random((n, m)), rng.random(part), rng.random(part)))


def test_overwriting_among_additions():
    text = """func @f(%a: f64[?,?], %v: f64[?,?]) -> f64[?,?] {
      %n: i64 = dim %a {axis=0}
      %m: i64 = dim %a {axis=1}
      %p: i64 = add %n, -1
      %q: i64 = add %m, -1
      %r: i64 = add %m, -2
      %a_1: f64[?,?] = accumulate %a, %v, 0, %p, 1, 0, %q, 1 {spec="ss"}
      %a_2: f64[?,?] = update %a_1, 0.25, 1, %p, 1, 1, %r, 1 {spec="ss"}
      %a_3: f64[?,?] = accumulate %a_2, %v, 1, %p, 1, 1, %q, 1 {spec="ss"}
      %a_4: f64[?,?] = accumulate %a_3, 2.0, 1, %p, 1 {spec="s:"}
      return %a_4
    }"""
    agree(text, *[(rng.random((n, m)), rng.random((n - 1, m - 1))) for n, m in [(2, 3), (3, 3), (5, 7), (6, 12)]])


def test_one_row_of_a_matrix_and_a_strided_one():
    text = """func @f(%a: f64[?,?,?], %v: f64[?,?], %k: i64) -> f64[?,?,?] {
      %n: i64 = dim %a {axis=0}
      %m: i64 = add %n, -1
      %a_1: f64[?,?,?] = accumulate %a, %v, 0, %m, 1, %k {spec="si:"}
      %a_2: f64[?,?,?] = accumulate %a_1, %v, 1, %m, 1, %k {spec="si:"}
      return %a_2
    }"""
    agree(text, (rng.random((5, 3, 4)), rng.random((4, 4)), 1), (rng.random((1, 3, 4)), rng.random((0, 4)), 2))
    text = text.replace('"si:"', '"s:i"')
    agree(text, (rng.random((5, 4, 3)), rng.random((4, 4)), 1), (rng.random((2, 4, 3)), rng.random((1, 4)), 0))


def test_values_that_read_what_is_overwritten():
    text = """func @f(%x: f64[?]) -> f64[?] {
      %n: i64 = dim %x {axis=0}
      %m: i64 = add %n, -2
      %a: f64[?] = mul %x, 3.0
      %p: f64[?] = index %a, 1, %m, 1 {spec="s"}
      %q: f64[?] = mul %p, 0.5
      %a_1: f64[?] = update %a, 0.0, 1, %m, 1 {spec="s"}
      %a_2: f64[?] = accumulate %a_1, %q, 0, %m, 1 {spec="s"}
      %a_3: f64[?] = accumulate %a_2, %p, 1, %m, 1 {spec="s"}
      %a_4: f64[?] = accumulate %a_3, %q, 2, %m, 1 {spec="s"}
      return %a_4
    }"""
    agree(text, (rng.random(9),), (rng.random(3),), (rng.random(2),), (rng.random(50),))


def test_values_that_read_a_row_that_is_overwritten():
    text = """func @f(%x: f64[?,?], %k: i64) -> f64[?,?] {
      %n: i64 = dim %x {axis=1}
      %m: i64 = add %n, -1
      %a: f64[?,?] = mul %x, 3.0
      %p: f64[?] = index %a, %k, 0, %m, 1 {spec="is"}
      %q: f64[?] = mul %p, 0.5
      %a_1: f64[?,?] = accumulate %a, %q, %k, 1, %m, 1 {spec="is"}
      %a_2: f64[?,?] = accumulate %a_1, %p, %k, 0, %m, 1 {spec="is"}
      return %a_2
    }"""
    agree(text, (rng.random((3, 9)), 1), (rng.random((1, 1)), 0), (rng.random((2, 30)), 1))


def test_what_is_read_in_between_and_afterwards():
    text = """func @f(%x: f64[?], %v: f64[?]) -> (f64[?], f64[?], f64[?]) {
      %n: i64 = dim %x {axis=0}
      %m: i64 = add %n, -1
      %a: f64[?] = mul %x, 3.0
      %a_1: f64[?] = accumulate %a, %v, 0, %m, 1 {spec="s"}
      %a_2: f64[?] = accumulate %a_1, %v, 1, %m, 1 {spec="s"}
      %r: f64[?] = exp %a_2
      %a_3: f64[?] = accumulate %a_2, %v, 0, %m, 1 {spec="s"}
      %a_4: f64[?] = accumulate %a_3, %v, 1, %m, 1 {spec="s"}
      return %a_4, %r, %a
    }"""
    agree(text, (rng.random(9), rng.random(8)), (rng.random(1), rng.random(0)), assembles=2)


def test_memory_outside_of_all_parts_is_left_alone():
    """A part of a long array, in a loop, costs what the part costs."""
    text = """func @f(%a: f64[?], %v: f64[?], %steps: i64) -> f64[?] {
      %m: i64 = dim %v {axis=0}
      %k: i64 = add %m, -1
      %w: f64[?] = index %v, 1, %k, 1 {spec="s"}
      %r: f64[?] = for %t in (0, %steps) (%c = %a) {
        %c_1: f64[?] = accumulate %c, %v, 0, %m, 1 {spec="s"}
        %c_2: f64[?] = accumulate %c_1, %w, 1, %k, 1 {spec="s"}
        yield %c_2
      }
      return %r
    }"""
    low = agree(
        text, (rng.random(9), rng.random(3), 2), (rng.random(1), rng.random(1), 1), (rng.random(5), rng.random(4), 3)
    )
    (steps,) = [
        op for op in low.body.ops if op.name == "for" and any(inner.name == "for" for inner in op.regions[0].ops)
    ]
    inner = [op for op in walk(steps.regions[0]) if op.name == "for" and not op.attrs.get("short")]
    assert inner and all(loop.operands[0] != Const(0, I64) for loop in inner)


def test_known_extents():
    text = """func @f(%a: f64[6,2], %v: f64[5,2], %w: f64[6,1]) -> f64[6,2] {
      %a_1: f64[6,2] = accumulate %a, %v, 0, 5, 1 {spec="s:"}
      %a_2: f64[6,2] = accumulate %a_1, %v, 1, 5, 1 {spec="s:"}
      %a_3: f64[6,2] = accumulate %a_2, %w, 1, 1, 1 {spec=":s"}
      return %a_3
    }"""
    agree(text, (rng.random((6, 2)), rng.random((5, 2)), rng.random((6, 1))))


@pytest.mark.parametrize(
    "parts",
    [
        ("0, %h, 1", "%h, %h, 1"),  # little in common
        ("0, %m, 2", "1, %m, 2"),  # steps
        ("%i, %m, 1", "0, %m, 1"),  # begins who knows where
    ],
)
def test_what_is_no_chain(parts):
    text = """func @f(%a: f64[?], %v: f64[?], %i: i64) -> f64[?] {{
      %n: i64 = dim %a {{axis=0}}
      %h: i64 = floordiv %n, 2
      %m: i64 = dim %v {{axis=0}}
      %a_1: f64[?] = accumulate %a, %v, {} {{spec="s"}}
      %a_2: f64[?] = accumulate %a_1, %v, {} {{spec="s"}}
      return %a_2
    }}""".format(*parts)
    agree(text, (rng.random(8), rng.random(4), 1), assembles=0)


# ---------------------------------------------------------------- programs


def laplacian(x):
    y = np.zeros_like(x)
    y[1:-1, 1:-1] = x[1:-1, 1:-1] * (x[1:-1, :-2] + x[1:-1, 2:] + x[2:, 1:-1] + x[:-2, 1:-1])
    return np.sum(y * y)


def relaxed(x, steps):
    a, b = x * 1.0, x * 2.0
    for _ in range(steps):
        b[1:-1, 1:-1] = 0.2 * (a[1:-1, 1:-1] + a[1:-1, :-2] + a[1:-1, 2:] + a[2:, 1:-1] + a[:-2, 1:-1])
        a[1:-1, 1:-1] = 0.2 * (b[1:-1, 1:-1] * b[1:-1, :-2] + b[1:-1, 2:] + b[2:, 1:-1] + b[:-2, 1:-1])
    return np.sum(a * a)


def in_place(x, steps):
    a = np.sin(x)
    for _ in range(steps):
        a[1:-1] = 0.3 * (a[:-2] + a[1:-1] * a[2:])
        a[0] = a[-1] + 1.0
    return np.sum(a * a)


def volume(x):
    y = x[1:-1, 1:-1, 1:-1] * 2.0 + x[2:, 1:-1, 1:-1] - x[:-2, 1:-1, 1:-1] * x[1:-1, 2:, 1:-1]
    y = y + x[1:-1, :-2, 1:-1] - np.exp(x[1:-1, 1:-1, 2:]) + x[1:-1, 1:-1, :-2]
    return np.sum(np.where(y > 0.5, y, 0.0) * y)


def wide(x, w):
    """A filter, written as a sum of slices."""
    out = np.zeros(len(x) - 8)
    for k in (0, 1, 4, 8):
        out = out + w[k] * x[k : len(x) - 8 + k]
    return np.sum(out**3)


def rows(x, steps):
    a = x * 1.0
    for t in range(1, steps):
        a[t, 1:-1] = a[t - 1, :-2] + 0.5 * a[t - 1, 1:-1] * a[t - 1, 2:]
    return np.sum(a * a)


def mixed(x, k):
    """Strides, reversal, and slices that depend on an argument."""
    return np.sum(x[::2] ** 2) + np.sum(x[::-1][1:] * x[:-1]) + np.sum(x[k:] * x[: len(x) - k]) + np.sum(x[1:] * x[:-1])


def margins(field, out):
    """Slices given by the extents of another array."""
    n, m = out.shape
    lap = 4.0 * field[1 : n + 3, 1 : m + 3] - (field[2 : n + 4, 1 : m + 3] + field[0 : n + 2, 1 : m + 3])
    lap = lap - field[1 : n + 3, 2 : m + 4] * field[1 : n + 3, 0 : m + 2]
    res = lap[1:, 1 : m + 1] - lap[:-1, 1 : m + 1]
    return np.sum(out * (res[1:, :] - res[:-1, :]) ** 2)


def prefix(a, w, steps):
    """Parts that may be a small share of the array."""
    m = len(w)
    total = 0.0
    for t in range(steps):
        total += np.sum(w * a[:m] ** 2) + t * np.sum(w[1:] * a[1:m]) + np.sum(np.sin(a[2 : m + 2]) * w)
    return total


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("function", "argument_sets", "argnums"),
    [
        (laplacian, [(rng.random(s),) for s in [(7, 9), (3, 3), (4, 3), (2, 5), (12, 4)]], (0,)),
        (relaxed, [(rng.random(s), t) for s, t in [((6, 7), 3), ((3, 4), 2), ((5, 5), 0)]], (0,)),
        (in_place, [(rng.random(n), t) for n, t in [(9, 3), (3, 2), (4, 1)]], (0,)),
        (volume, [(rng.random(s),) for s in [(5, 6, 7), (3, 3, 3), (4, 4, 9)]], (0,)),
        (wide, [(rng.random(n), rng.random(9)) for n in (30, 9, 12)], (0, 1)),
        (rows, [(rng.random(s), s[0]) for s in [(4, 9), (3, 3), (2, 4)]], (0,)),
        (mixed, [(rng.random(9), 3), (rng.random(8), 0), (rng.random(5), 5)], (0,)),
        (prefix, [(rng.random(n), rng.random(m), 3) for n, m in [(9, 7), (30, 4), (5, 1)]], (0, 1)),
        (margins, [(rng.random((n + 4, m + 4)), rng.random((n, m))) for n, m in [(5, 6), (1, 1), (3, 9)]], (0, 1)),
    ],
)
def test_gradients(function, argument_sets, argnums):
    check_program(function, argument_sets, argnums, compile=True)
