"""The text of the IR: what is printed is read back, bit for bit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ir_random import Generator

from adjit.ir.core import Builder, Const, Function, Op, Region, Span, Value, walk
from adjit.ir.text import ParseError, constant_text, names_of, parse, to_text
from adjit.ir.types import BOOL, F32, F64, I8, I64, U64, Array, DType, Scalar, Tape
from adjit.ir.verify import verify

EVERYTHING = """func @decay.vjp(%x: f64, %r_adj: f64, %A: f64[?,3]) -> (f64, f64) {
  %t0: tape[f64] = tape.new
  %r: f64, %n: i64, %t: tape[f64] = while (%v = %x, %i = 0, %p = %t0) {
    %c: bool = gt %v, 1.0
    test %c
  } do {
    %q: tape[f64] = tape.push %p, %v                      ; decay.py:2
    %s: f64 = mul %v, %v
    %k: f64 = mul 0.1, %s
    %w: f64 = sub %v, %k
    %j: i64 = add %i, 1
    yield %w, %j, %q
  }                                                       ; decay.py:2
  %x_adj: f64, %e: tape[f64] = for %i in reverse(0, %n) (%w_adj = %r_adj, %p = %t) {
    %q: tape[f64], %v: f64 = tape.pop %p
    %g: f64 = mul 0.2, %v
    %h: f64 = mul %g, %w_adj
    %v_adj: f64 = sub %w_adj, %h                          ; decay.py:2
    yield %v_adj, %q
  }
  for %i in (0, 3) {
    %0: f64 = index %A, %i, 2 {spec="ii"}
    %ok: bool = ne %0, nan
    check %ok, %i {error="ValueError", message="a \\"quoted\\" {0}; {brace}"}
    yield
  } with {unroll=4}
  %y: f64 = if true {
    %1: f32 = cast %x {dtype=f32}
    %2: f32 = add %1, 0.1:f32
    %3: f64 = cast %2 {dtype=f64}
    yield %3
  } else {
    yield -inf
  }
  %4: f64[2] = empty 2 {dtype=f64, some=(1, (2,), ()), list=[none, -1.5, false], type=type(tape[f64[?]])}
  return %y, %x_adj
} with {names=("x", "r"), count=2}"""


def test_everything_at_once() -> None:
    function = parse(EVERYTHING)
    assert to_text(function) == EVERYTHING
    verify(function)
    push = next(op for op in walk(function.body) if op.name == "tape.push")
    assert push.span == Span("decay.py", 2)
    check = next(op for op in walk(function.body) if op.name == "check")
    assert check.attrs["message"] == 'a "quoted" {0}; {brace}'
    empty = next(op for op in walk(function.body) if op.name == "empty")
    assert empty.attrs == {
        "dtype": F64,
        "some": (1, (2,), ()),
        "list": [None, -1.5, False],
        "type": Tape(Array(F64, (None,))),
    }
    assert function.attrs == {"names": ("x", "r"), "count": 2}
    assert next(op for op in walk(function.body) if op.name == "tape.new").attrs == {"element": Scalar(F64)}


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_round_trip(seed: int) -> None:
    function = Generator(seed).function()
    text = to_text(function)
    again = parse(text)
    assert to_text(again) == text
    verify(again)
    for a, b in zip(walk(function.body), walk(again.body), strict=True):
        assert (a.name, a.attrs, [r.type for r in a.results]) == (b.name, b.attrs, [r.type for r in b.results])
        for x, y in zip(a.operands, b.operands, strict=True):
            assert isinstance(x, Const) == isinstance(y, Const)
            assert not isinstance(x, Const) or x == y


@given(st.floats(width=64) | st.integers(0, 2**64 - 1).map(lambda b: np.uint64(b).view(np.float64)))
def test_f64_constants_round_trip_bit_for_bit(x: float) -> None:
    round_trip(Const(x, F64))


@given(st.integers(0, 2**32 - 1).map(lambda b: np.uint32(b).view(np.float32)))
def test_f32_constants_round_trip_bit_for_bit(x: np.float32) -> None:
    round_trip(Const(x, F32))


@given(st.sampled_from([I8, I64, U64, BOOL]), st.data())
def test_integer_constants_round_trip(dtype: DType, data: st.DataObject) -> None:
    if dtype is BOOL:
        value = int(data.draw(st.booleans()))
    else:
        info = np.iinfo(dtype.numpy)
        value = data.draw(st.integers(int(info.min), int(info.max)))
    round_trip(Const(dtype.numpy.type(value), dtype))


def round_trip(constant: Const) -> None:
    text = f"func @f() -> {constant.dtype} {{\n  return {constant_text(constant)}\n}}"
    (found,) = parse(text).results
    assert isinstance(found, Const) and found == constant
    assert to_text(parse(text)) == text


def test_f32_constants_are_short() -> None:
    assert constant_text(Const(0.1, F32)) == "0.1:f32"
    assert constant_text(Const(16777216.0, F32)) == "16777216.0:f32"
    assert constant_text(Const(3.0, F32)) == "3.0:f32"


attributes = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from([F64, BOOL, Scalar(F64), Array(F32, (None, 2)), Tape(Scalar(F64)), Const(0.5, F32)]),
    lambda inner: (
        st.tuples(inner)
        | st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b_2"]), inner)
    ),
    max_leaves=6,
)


@given(attributes)
def test_attributes_round_trip(value: object) -> None:
    x = Value(Scalar(F64), "x")
    region = Region([x])
    region.ops.append(Op("mul", [x, x], [Scalar(F64)], {"attribute": value}))
    region.ops.append(Op("return", [x], []))
    text = to_text(Function("f", region))
    found = parse(text).body.ops[0].attrs["attribute"]
    assert found == value and type(found) is type(value)
    assert to_text(parse(text)) == text


@given(st.lists(st.none() | st.text("x1_%. ", max_size=4), min_size=1, max_size=12))
def test_names_are_unique_in_sight_and_stable(names: list[str | None]) -> None:
    x = Value(Scalar(F64), names[0])
    body = Region([x])
    with Builder(body) as b:
        for name in names[1:]:
            inner = Region()
            with Builder(inner) as c:
                y = c.emit1("neg", [x], names=[name])
                c.emit("yield", [c.emit1("neg", [y], names=[name])])
            other = Region()
            with Builder(other) as c:
                c.emit("yield", [c.emit1("neg", [x], names=[name])])
            b.emit("if", [Const(True, BOOL)], {}, [inner, other], names=[name])
        b.emit("return", [x])
    function = Function("f", body)
    text = to_text(function)
    assert to_text(parse(text)) == text
    verify(parse(text))
    top = [names_of(function)[v] for op in body.ops for v in op.results]
    assert len(set(top)) == len(top)


def test_hints_are_kept_and_siblings_may_share_a_name() -> None:
    function = parse("""func @f(%p: bool, %x: f64) -> f64 {
      %y: f64 = if %p { %v: f64 = neg %x yield %v } else { %v: f64 = mul %x, 2.0 yield %v }
      return %y
    }""")
    assert to_text(function).count("%v: f64") == 2


def test_spans_print_base_name_and_line() -> None:
    x = Value(Scalar(F64), "x")
    body = Region([x], [])
    body.ops = [
        Op("neg", [x], [Scalar(F64)], span=Span("/somewhere/a, b.py", 12, 4)),
        Op("return", [x], [], span=Span("C:\\there\\c d.py", 3)),
    ]
    text = to_text(Function("f", body))
    assert text.splitlines()[1].endswith("  ; a_ b.py:12") and text.splitlines()[2].endswith("  ; c d.py:3")
    assert to_text(parse(text)) == text


def test_comments_that_are_not_spans_are_allowed() -> None:
    function = parse("""; a program
    func @f(%x: f64) -> f64 {   ; of one line
      ; which is this
      %y: f64 = mul %x, 2.0     ; kept: mul needs %x, decay.py:2
      return %y
    }
    ; the end""")
    assert function.body.ops[0].span == Span("decay.py", 2)


def test_other_operations_may_have_regions() -> None:
    text = """func @f(%n: i64) -> i64 {
  %r: i64 = loops.nest %n, 2 {order=(0,)} do (%i: i64, %v: &f64[?,?]) {
    yield %i
  } do () {
    yield
  }                                                       ; a.py:1
  return %r
}"""
    assert to_text(parse(text)) == text


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("func @f() -> f64 { return %x }", "line 1: %x is not defined"),
        ("func @f(%x: f64) -> f64 {\n %y: f65 = neg %x\n return %y }", "line 2: .*f65"),
        ("func @f(%x: f64) -> f64 {\n %x: f64 = neg %x\n return %x }", "line 2: %x is defined twice"),
        ("func @f(%x: f64) -> f64 {\n return %x", "end of text"),
        ("func @f(%x: f64) -> f32 { return %x }", "not what its first line says"),
        ("func @f(%x: f64) -> f64 { return %x } more", "text after the function"),
        ("func @f(%x: f64) -> f64 { }", "empty region"),
        ("func @f(%x: f64) -> f64 { %y: f64 = neg %x {a=$} return %y }", "unexpected"),
        ("func @f(%x: f64) -> f64 { %y: f64 = neg %x {a=thing} return %y }", "not an attribute value"),
        ("func @f(%x: f64) -> f64 { %y: f64 = for %i in (0, 1) () { yield } return %y }", "carried"),
        ("func @f(%p: bool) -> bool { if %p { %v: bool = logical_not %p yield } else { yield }\n return %v }", "%v"),
    ],
)
def test_what_is_not_ir_is_refused_with_its_line(text: str, what: str) -> None:
    with pytest.raises(ParseError, match=what):
        parse(text)
