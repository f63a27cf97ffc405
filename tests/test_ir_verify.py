"""The verifier: every rule has a function that breaks it, and what is wrong is named."""

import pytest
from ir_random import Generator

from adjit.ir.core import Const, Function, Op
from adjit.ir.errors import InternalError
from adjit.ir.ops import REGISTRY
from adjit.ir.text import parse
from adjit.ir.types import F64, I64, fits
from adjit.ir.verify import TERMINATORS, verify


def broken(text: str, what: str) -> None:
    with pytest.raises(InternalError, match=what):
        verify(parse(text))


def sound() -> Function:
    return parse("""func @f(%x: f64, %n: i64) -> f64 {
      %a: f64 = mul %x, 2.0      ; m.py:4
      %s: f64 = for %i in (0, %n) (%t = %a) {
        %u: f64 = add %t, %a     ; m.py:5
        yield %u
      }
      return %s
    }""")


@pytest.mark.parametrize("seed", range(60))
def test_random_programs_are_valid(seed: int) -> None:
    verify(Generator(seed).function())


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("%y: f32 = mul %x, 2.0", "mul: gives f64, declared f32"),
        ("%y: f64 = mul %x, %n", "mul: .*differ"),
        ("%y: f64 = frobnicate %x", "no such operation"),
        ("%y: f64, %z: f64 = mul %x, 2.0", "declared f64, f64"),
        ('%y: f64 = index %v, -1 {spec="i"}', "not normalized"),
        ('%y: f64 = index %v, 0 {spec="q"}', "attribute spec"),
        ('%y: f64 = index %v, 0 {spec="ii"}', "index: "),
        ("%y: i64 = dim %v {axis=1}", "axis 1 of a value of rank 1"),
        ("%y: i64 = dim %v {axis=-1}", "attribute axis"),
        ("%y: f64[?,?] = broadcast %v, %n, %n {axes=(1, 0)}", "attribute axes"),
        ("%y: f64 = cast %x {dtype=2}", "attribute dtype"),
        ("%y: f64 = mul %x, %x {note=(1, 2)}\n yield %y", "ends in its terminator"),
        ("check %x {error=2}", "attribute error"),
        ("%y: f64[4] = fill 0.0, %n", r"gives f64\[\?\], declared f64\[4\]"),
        ("%s: f64 = for %i in (0, %x) (%t = %x) { yield %t }", "for"),
        ("%s: i64 = for %i in (0, %n) (%t = %n) { yield %x }", "for: carried i64 cannot hold f64"),
        ("%s: f64 = for %i in (0, %n) (%t = %x) { yield %t, %t }", "yielded"),
        ("%s: f64 = if %x { yield %x } else { yield %x }", "if"),
        ("%s: f64 = if %p { yield %x } else { yield }", "different numbers"),
        ("%s: f64 = if %p { yield %x } else { test %p }", "ends in test"),
        ("%s: f64 = while (%t = %x) { test %x } do { yield %t }", "while"),
        ("%s: f64 = while (%t = %x) { yield %p } do { yield %t }", "ends in yield, not in test"),
    ],
)
def test_what_is_wrong_is_named(body: str, what: str) -> None:
    broken(
        f"""func @f(%x: f64, %n: i64, %v: f64[?], %p: bool) -> f64 {{
          {body}
          return %x
        }}""",
        what,
    )


TAPES = """func @f(%x: f64, %n: i64, %p: bool) -> f64 {{
  %t: tape[f64] = tape.new
  {body}
  return %x
}}"""


@pytest.mark.parametrize(
    "body",
    [
        "%a: tape[f64] = tape.push %t, %x\n %b: tape[f64] = tape.push %t, %x",
        "%a: tape[f64] = tape.push %t, %x\n %b: tape[f64], %v: f64 = tape.pop %a\n"
        " %c: tape[f64], %w: f64 = tape.pop %a",
        "for %i in (0, %n) { %a: tape[f64] = tape.push %t, %x\n yield }",
        "%s: tape[f64] = if %p { %a: tape[f64] = tape.push %t, %x\n yield %a } else { yield %t }\n"
        "%b: tape[f64] = tape.push %t, %x",
        "%s: tape[f64] = while (%u = %t) { %a: tape[f64], %v: f64 = tape.pop %u\n %c: bool = lt %v, 1.0\n"
        " test %c } do { yield %a }",
        "%s: f64 = while (%u = %x) { %c: bool = lt %u, 1.0\n test %c } do {\n"
        " %a: tape[f64] = tape.push %t, %u\n yield %u }",
        "%s: tape[f64] = for %i in (0, %n) (%u = %t) { if %p { %a: tape[f64] = tape.push %u, %x\n yield }"
        " else { yield }\n yield %u }",
    ],
)
def test_tapes_are_consumed_once(body: str) -> None:
    broken(TAPES.format(body=body), "consumed")


def test_a_tape_may_be_consumed_by_both_branches() -> None:
    verify(
        parse(
            TAPES.format(
                body="%s: tape[f64] = if %p { %a: tape[f64] = tape.push %t, %x\n yield %a } else { yield %t }\n"
                "%b: tape[f64] = tape.push %s, %x"
            )
        )
    )


# ---------------------------------------------------------------- what text cannot say


def test_values_are_defined_before_use_and_in_sight() -> None:
    function = sound()
    first, loop, last = function.body.ops
    inner = loop.regions[0].ops[0]
    last.operands = [inner.result]
    with pytest.raises(InternalError, match="return: operand %u: f64 is out of sight"):
        verify(function)
    function = sound()
    function.body.ops[:2] = function.body.ops[1::-1]
    with pytest.raises(InternalError, match="for: operand %a: f64 is not defined before"):
        verify(function)
    other = sound()
    function = sound()
    function.body.terminator.operands = [other.args[0]]
    with pytest.raises(InternalError, match="not defined before"):
        verify(function)
    assert first.name == "mul"


def test_nothing_appears_twice() -> None:
    function = sound()
    function.body.ops.insert(1, function.body.ops[0])
    with pytest.raises(InternalError, match="appears twice"):
        verify(function)
    function = sound()
    loop = function.body.ops[1]
    copy = Op("for", loop.operands, [r.type for r in loop.results], dict(loop.attrs), loop.regions)
    function.body.ops.insert(2, copy)
    with pytest.raises(InternalError, match="two owners"):
        verify(function)


def test_results_know_their_operation() -> None:
    function = sound()
    function.body.ops[0].result.op = None
    with pytest.raises(InternalError, match="says it is defined by"):
        verify(function)


def test_constants_hold_their_dtype() -> None:
    function = sound()
    constant = Const(2.0, F64)
    constant.value = 2.0
    function.body.ops[0].operands[1] = constant
    with pytest.raises(InternalError, match="holds float"):
        verify(function)


def test_attributes_are_static_data() -> None:
    function = sound()
    function.body.ops[0].attrs["rule"] = lambda x: x
    with pytest.raises(InternalError, match="not static data"):
        verify(function)


def test_errors_name_pass_function_and_span() -> None:
    function = sound()
    function.body.ops[0].operands[1] = Const(2, I64)
    with pytest.raises(InternalError, match="after licm in @f: mul") as caught:
        verify(function, after="licm")
    assert str(caught.value.span) == "m.py:4"


def test_an_extent_may_be_known_more_exactly_than_declared() -> None:
    verify(parse("func @f(%n: i64) -> f64[?] { %y: f64[?] = fill 0.0, 3 return %y }"))
    a, b = (parse(f"func @f(%x: {t}) -> i64 {{ return 0 }}").args[0].type for t in ("tape[f64[3]]", "tape[f64[?]]"))
    assert fits(a, b) and not fits(b, a)


def test_every_operation_with_regions_has_its_terminators() -> None:
    control = {name for name, d in REGISTRY.items() if d.category == "control"}
    assert control == set(TERMINATORS)
