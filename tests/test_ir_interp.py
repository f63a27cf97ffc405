"""The reference interpreter: every kind of control flow, exact dtypes, complex step, errors, and its own checks."""

import numpy as np
import pytest

from adjit.ir.core import Function, Span
from adjit.ir.errors import AdjitError, ArgumentError, BoundsError, CheckError, InternalError, ShapeError
from adjit.ir.interp import failure, run, run_region
from adjit.ir.text import parse

DECAY = """func @decay(%x: f64) -> f64 {
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
}"""


def decay(x: complex) -> complex:
    while x.real > 1:
        x -= 0.1 * (x * x)
    return x


def test_while_as_python_and_by_complex_step() -> None:
    function = parse(DECAY)
    for x in (0.5, 3.0, 7.25):
        assert run(function, [x]) == [decay(x)]
        (y,) = run(function, [x + 1e-30j])
        assert y == decay(x + 1e-30j)
        assert y.imag / 1e-30 == pytest.approx((decay(x + 1e-7) - decay(x - 1e-7)).real / 2e-7, rel=1e-6)


def test_for_runs_forwards_and_backwards_and_not_at_all() -> None:
    text = """func @f(%n: i64) -> (i64, i64) {{
      %a: i64, %last: i64 = for %i in {word}(2, %n) (%s = 0, %l = -1) {{
        %t: i64 = mul %s, 10
        %u: i64 = add %t, %i
        yield %u, %i
      }}
      return %a, %last
    }}"""
    assert run(parse(text.format(word="")), [5]) == [234, 4]
    assert run(parse(text.format(word="reverse")), [5]) == [432, 2]
    assert run(parse(text.format(word="")), [1]) == [0, -1]


def test_if_runs_only_the_chosen_branch() -> None:
    function = parse("""func @f(%p: bool, %x: f64[?], %i: i64) -> f64 {
      %y: f64 = if %p {
        %n: i64 = dim %x {axis=0}
        %k: i64 = bound %i, %n {what="index", axis=0}
        %v: f64 = index %x, %k {spec="i"}
        yield %v
      } else {
        yield 0.0
      }
      return %y
    }""")
    assert run(function, [False, np.ones(2), 7]) == [0.0]
    assert run(function, [True, np.array([1.0, 2.0]), -1]) == [2.0]
    with pytest.raises(BoundsError, match="index 7 is out of bounds for axis 0 with size 2"):
        run(function, [True, np.ones(2), 7])


def test_tapes_are_stacks_and_old_versions_stay() -> None:
    function = parse("""func @f(%n: i64) -> (i64, i64) {
      %e: tape[i64] = tape.new
      %t: tape[i64] = for %i in (0, %n) (%p = %e) {
        %q: tape[i64] = tape.push %p, %i
        yield %q
      }
      %d: i64, %u: tape[i64] = for %i in reverse(0, %n) (%s = 0, %p = %t) {
        %r: tape[i64], %v: i64 = tape.pop %p
        %a: i64 = mul %s, 10
        %b: i64 = add %a, %v
        yield %b, %r
      }
      return %d, %n
    }""")
    assert run(function, [4]) == [3210, 4]
    empty = parse("""func @f() -> f64 {
      %e: tape[f64] = tape.new
      %r: tape[f64], %v: f64 = tape.pop %e
      return %v
    }""")
    with pytest.raises(InternalError, match="empty tape"):
        run(empty, [])


def test_results_have_exactly_the_declared_dtype() -> None:
    function = parse("""func @f(%h: f32, %i: i32, %v: f32[?]) -> (f32, i32, f32[?], f64) {
      %a: f32 = mul %h, 0.1:f32
      %b: i32 = mul %i, 2147483647:i32
      %c: f32[?] = add %v, %h
      %d: f64 = cast %a {dtype=f64}
      return %a, %b, %c, %d
    }""")
    a, b, c, d = run(function, [np.float32(3), np.int32(3), np.ones(2, np.float32)])
    assert type(a) is np.float32 and a == np.float32(3) * np.float32(0.1)
    assert type(b) is np.int32 and b == 2147483645  # wraps
    assert c.dtype == np.float32
    assert type(d) is np.float64 and d == float(a)


def test_arguments_are_never_written_and_results_never_shared() -> None:
    function = parse("""func @f(%a: f64[?]) -> (f64[?], f64[?], f64[2]) {
      %b: f64[?] = update %a, 7.0, 0 {spec="i"}
      %c: f64[2] = index %a, 0, 2, 1 {spec="s"}
      return %a, %b, %c
    }""")
    given = np.array([1.0, 2.0, 3.0])
    a, b, c = run(function, [given])
    assert given.tolist() == [1, 2, 3] and b.tolist() == [7, 2, 3] and c.tolist() == [1, 2]
    for result in (a, b, c):
        assert not np.shares_memory(result, given)
        result[:] = 0
    assert given.tolist() == [1, 2, 3]


def test_arguments_have_to_fit() -> None:
    function = parse("func @f(%x: f64, %n: i64, %v: f64[3]) -> f64 { return %x }")
    assert run(function, [1, 2, [1, 2, 3]]) == [1.0]
    with pytest.raises(ArgumentError):
        run(function, [1.0, 2.5, np.ones(3)])
    with pytest.raises(ArgumentError):
        run(function, [1.0, 2, np.ones(4)])
    with pytest.raises(ArgumentError):
        run(function, [np.ones(1), 2, np.ones(3)])
    with pytest.raises(ArgumentError):
        run(function, [1.0, 2])
    with pytest.raises(ArgumentError):
        run(function, [1.0, 2 + 1j, np.ones(3)])


def test_complex_flows_through_arrays_but_not_into_comparisons_or_integers() -> None:
    function = parse("""func @f(%v: f64[?], %k: f64) -> (f64, i64, bool) {
      %a: f64[?] = mul %v, %k
      %b: f64[?] = update %a, %k, 1 {spec="i"}
      %c: f64[?] = accumulate %b, 1.0, 1 {spec="i"}
      %x: f64 = index %c, 1 {spec="i"}
      %i: i64 = cast %x {dtype=i64}
      %p: bool = lt %x, 10.0
      return %x, %i, %p
    }""")
    x, i, p = run(function, [np.ones(3), 2.5 + 1e-30j])
    assert x == 3.5 + 1e-30j and i == 3 and type(i) is np.int64 and p


# ---------------------------------------------------------------- errors of the program


def checked(error: str, message: str, operand: str = "%ok, %n") -> Function:
    return parse(
        f"""func @f(%ok: bool, %n: i64) -> i64 {{
          check {operand} {{error="{error}", message="{message}"}}     ; model.py:12
          return %n
        }}"""
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("AssertionError", AssertionError),
        ("ValueError", ValueError),
        ("ZeroDivisionError", ZeroDivisionError),
        ("BoundsError", IndexError),
        ("ShapeError", ValueError),
        ("UnicodeDecodeError", CheckError),
        ("ModelDiverged", CheckError),
        ("print", CheckError),
    ],
)
def test_a_failed_check_raises_its_class_with_message_and_span(name: str, kind: type[Exception]) -> None:
    function = checked(name, "n is {0}, {1}")
    assert run(function, [True, 3]) == [3]
    with pytest.raises(kind) as caught:
        run(function, [False, 3])
    assert "n is 3, {1}" in str(caught.value)
    assert caught.value.span.line == 12  # type: ignore[attr-defined]
    shown = str(caught.value) + "".join(getattr(caught.value, "__notes__", []))
    assert "model.py:12" in shown


def test_an_assertion_without_a_message() -> None:
    with pytest.raises(AssertionError) as caught:
        run(checked("AssertionError", ""), [False, 1])
    assert caught.value.args == ()


def test_bound_normalizes_numbers_and_arrays() -> None:
    function = parse("""func @f(%i: i64, %v: i64[?], %n: i64) -> (i64, i64[?]) {
      %k: i64 = bound %i, %n {what="index", axis=0}      ; model.py:3
      %w: i64[?] = bound %v, %n {what="index", axis=1}
      return %k, %w
    }""")
    k, w = run(function, [-1, np.array([0, -3, 2]), 3])
    assert k == 2 and w.tolist() == [0, 0, 2]
    for i in (3, -4):
        with pytest.raises(BoundsError, match=f"index {i} is out of bounds for axis 0") as caught:
            run(function, [i, np.array([0]), 3])
        assert str(caught.value.span) == "model.py:3"
    with pytest.raises(IndexError, match="index 5 is out of bounds for axis 1"):
        run(function, [0, np.array([0, 5]), 3])


def test_same_extent() -> None:
    function = parse("""func @f(%n: i64, %m: i64) -> i64 {
      %k: i64 = same_extent %n, %m {what="operands of + differ"}
      return %k
    }""")
    assert run(function, [3, 3]) == [3]
    with pytest.raises(ShapeError, match=r"operands of \+ differ: 3 and 4"):
        run(function, [3, 4])


def test_failure_is_shared_with_the_host_of_kernels() -> None:
    error = failure("bound", {"what": "index", "axis": 1}, [np.int64(9), np.int64(4)], Span("a.py", 3))
    assert isinstance(error, BoundsError) and isinstance(error, AdjitError) and error.span == Span("a.py", 3)


# ---------------------------------------------------------------- checks of the IR itself


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ('%y: f64 = index %v, 3 {spec="i"}', "leaves an axis"),
        ('%y: f64 = index %v, %n {spec="i"}', "leaves an axis"),
        ('%y: f64[?] = index %v, 1, %m, 1 {spec="s"}', "leaves an axis"),
        ('%y: f64[?] = index %v, 1, %m, -1 {spec="s"}', "leaves an axis"),
        ("%y: f64[?] = add %v, %w", "shapes differ"),
        ('%y: f64[?] = update %v, %w {spec=":"}', "written to a region"),
        ("%y: f64[?] = broadcast %w, %m {axes=(0,)}", "broadcast"),
        ("%y: f64[4] = broadcast %v, %m {axes=(0,)}", "declared"),
        ("%y: f64 = mul %v, 2.0", "declared"),
        ("%y: i64 = mul %x, 2.0", "declared"),
        ("%y: f64[?] = gather %v, %g {axes=(0,)}", "index outside"),
    ],
)
def test_what_the_ir_promises_is_checked(body: str, what: str) -> None:
    """Each of these NumPy would let pass, or answer with an error about something else."""
    function = parse(
        f"""func @f(%v: f64[?], %w: f64[?], %g: i64[?], %x: f64, %n: i64, %m: i64) -> i64 {{
          {body}
          return %n
        }}"""
    )
    args = [np.arange(3.0), np.ones(1), np.array([-1]), 1.0, -1, 3]
    with pytest.raises(InternalError, match=what):
        run(function, args)


def test_run_region_uses_and_extends_the_given_values() -> None:
    function = parse("func @f(%x: f64) -> f64 { %y: f64 = mul %x, 2.0 return %y }")
    env = {function.args[0]: np.float64(3)}
    assert run_region(function.body, env) == [6.0]
    assert env[function.body.ops[0].result] == 6.0


def test_no_warnings_where_numpy_would_warn(recwarn: pytest.WarningsRecorder) -> None:
    function = parse("""func @f(%x: f64, %i: i64) -> (f64, i64, f64) {
      %a: f64 = div %x, 0.0
      %b: i64 = mul %i, %i
      %c: f64 = sub %a, %a
      return %a, %b, %c
    }""")
    a, b, c = run(function, [1.0, 2**62])
    assert a == np.inf and b == 0 and np.isnan(c)
    assert not recwarn.list
