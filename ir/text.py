"""The text of the IR: the format, its printer, and the name under which its parser (`ir.parsing`) is found.

In: a `Function`, or its text. Out: the other one. ``to_text(parse(text)) == text`` for every printed text,
bit for bit in constants; a comment at the end of a line is the span (base name of the file and line).

    func @decay(%x: f64) -> f64 {
      %r: f64 = while (%v = %x) {
        %c: bool = gt %v, 1.0
        test %c
      } do {
        %s: f64 = mul %v, %v                            ; decay.py:2
        yield %s
      }
      return %r
    }

A line is ``results = operation operands {attributes}``. A name is seen in its region, after its definition,
and in the regions inside. A constant stands where it is used: ``0.1`` is f64, ``3`` i64, ``true`` bool, every
other type has a suffix (``2:i32``, ``0.5:f32``). Carried values have the type of the result they become:

    %s: f64 = for %i in (0, %n) (%t = 0.0) { ... }        for %i in reverse(0, %n) (...) { ... }
    %y: f64 = if %c { ... } else { ... }                  } with {unroll=4}    attributes of such operations
    for %i in parallel (0, %n) { ... }                    turns may run at once (scheduled IR; `codegen.lower.parallel`)

>>> print(to_text(parse("func @f(%x: f64) -> f64 { %y: f64 = mul %x, 2.0  return %y }")))
func @f(%x: f64) -> f64 {
  %y: f64 = mul %x, 2.0
  return %y
}
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from .core import Const, Function, Op, Region, Span, Value
from .parsing import ParseError, parse
from .types import BOOL, F64, I64, Array, Buffer, DType, Scalar, Tape

__all__ = ["ParseError", "constant_text", "names_of", "parse", "to_text"]

COMMENT_COLUMN = 56


def to_text(function: Function) -> str:
    """The text of a function, without a newline at its end."""
    printer = Printer()
    printer.function(function)
    return "\n".join(printer.lines)


def names_of(function: Function) -> dict[Value, str]:
    """The names (without ``%``) under which `to_text` prints a function's values."""
    printer = Printer()
    printer.function(function)
    return printer.names


def constant_text(value: Const) -> str:
    """A constant as it is printed.

    >>> from adjit.ir.types import F32
    >>> constant_text(Const(0.1, F64)), constant_text(Const(0.1, F32)), constant_text(Const(True, BOOL))
    ('0.1', '0.1:f32', 'true')
    """
    dtype, number = value.dtype, value.value
    if dtype is BOOL:
        return "true" if number else "false"
    text = float_text(number) if dtype.is_float else str(int(number))
    return text if dtype in (F64, I64) else f"{text}:{dtype}"


def float_text(number: Any) -> str:
    if np.isnan(number):
        bits = number.view(f"u{number.itemsize}")
        plain = type(number)(np.nan).view(bits.dtype)
        return "nan" if bits == plain else f"nan(0x{int(bits):x})"
    if isinstance(number, np.float64):
        return repr(float(number))
    for digits in (6, 7, 8, 9):  # the shortest text that is this number in its own precision
        text = f"{float(number):.{digits}g}"
        if type(number)(text) == number:
            break
    return text if re.search("[.einf]", text) else text + ".0"


def attribute_text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, float | np.floating):
        return float_text(np.float64(value))
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Scalar | Array | Tape | Buffer):
        return f"type({value})"
    if isinstance(value, Const):
        return f"const({constant_text(value)})"
    if isinstance(value, tuple):
        inner = ", ".join(map(attribute_text, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return f"[{', '.join(map(attribute_text, value))}]"
    if isinstance(value, dict):
        return attributes_text(value)
    if isinstance(value, Function):
        return to_text(value)
    return f"<{getattr(value, '__name__', type(value).__name__)}>"  # for people; the parser refuses it


def attributes_text(attrs: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{k}={attribute_text(v)}" for k, v in attrs.items()) + "}"


class Printer:
    """Names values as it goes: a hint is kept where it is free, else numbered; no hint, a bare number."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.suffix: dict[str, int] = {}
        self.unnamed = 0

    def define(self, value: Value, scope: list[str]) -> str:
        hint = re.sub(r"\W", "_", value.name) if value.name else ""
        if not hint or hint.isdigit():
            name, self.unnamed = str(self.unnamed), self.unnamed + 1
        else:
            name = hint
            count = self.suffix.get(hint, 1)
            while name in self.taken:
                name, count = f"{hint}_{count}", count + 1
                self.suffix[hint] = count
        self.taken.add(name)
        scope.append(name)
        self.names[value] = name
        return "%" + name

    def use(self, value: Value) -> str:
        if isinstance(value, Const):
            return constant_text(value)
        return "%" + self.names.get(value, f"<undefined {value.name or ''}>")

    def uses(self, values: Sequence[Value]) -> str:
        return ", ".join(map(self.use, values))

    def line(self, depth: int, text: str, span: Span | None = None) -> None:
        text = "  " * depth + text.replace("\n", "\n" + "  " * depth)
        if span is not None:
            text = f"{text:<{COMMENT_COLUMN}}  ; {str(span).replace(',', '_')}"
        self.lines.append(text)

    def function(self, function: Function) -> None:
        scope: list[str] = []
        args = ", ".join(f"{self.define(a, scope)}: {a.type}" for a in function.args)
        ops = function.body.ops
        types = [str(v.type) for v in ops[-1].operands] if ops else []
        returned = types[0] if len(types) == 1 else f"({', '.join(types)})"
        self.line(0, f"func @{function.name}({args}) -> {returned} {{")
        self.region(function.body, 1)
        printable = {k: v for k, v in function.attrs.items() if "<" not in attribute_text(v)}
        self.line(0, "}" + (f" with {attributes_text(printable)}" if printable else ""))

    def region(self, region: Region, depth: int) -> None:
        """The operations of a region, whose arguments are named already."""
        scope: list[str] = []
        for op in region.ops:
            self.op(op, depth, scope)
        self.leave(scope)

    def leave(self, scope: list[str]) -> None:
        self.taken.difference_update(scope)
        for name in scope:  # numbers start again: what is out of sight does not count
            self.suffix.pop(name, None)

    def op(self, op: Op, depth: int, scope: list[str]) -> None:
        head = ", ".join(f"{self.define(r, scope)}: {r.type}" for r in op.results)
        head = f"{head} = {op.name}" if head else op.name
        attrs = op.attrs
        if not op.regions:
            if op.name == "tape.new" and attrs.get("element") == getattr(op.results[0].type, "element", None):
                attrs = {k: v for k, v in attrs.items() if k != "element"}  # the result's type says it
            text = f"{head} {self.uses(op.operands)}" if op.operands else head
            self.line(depth, f"{text} {attributes_text(attrs)}" if attrs else text, op.span)
            return
        inner: list[str] = []
        if op.name == "if":
            self.line(depth, f"{head} {self.uses(op.operands)} {{")
            self.region(op.regions[0], depth + 1)
            self.line(depth, "} else {")
            self.region(op.regions[1], depth + 1)
        elif op.name == "for":
            lo, hi, *inits = op.operands
            induction, *carried = op.regions[0].args
            attrs = {k: v for k, v in attrs.items() if k not in ("reverse", "parallel")}
            word = "parallel " if op.attrs.get("parallel") else ""
            word += "reverse" if op.attrs.get("reverse") else ""
            start = self.carried(carried, inits, inner)
            text = f"{head} {self.define(induction, inner)} in {word}({self.uses([lo, hi])})"
            self.line(depth, f"{text} ({start}) {{" if carried else f"{text} {{")
            self.region(op.regions[0], depth + 1)
        elif op.name == "while":
            before, body = op.regions
            self.line(depth, f"{head} ({self.carried(before.args, op.operands, inner)}) {{")
            for part in before.ops:
                self.op(part, depth + 1, inner)
            self.line(depth, "} do {")
            self.region(body, depth + 1)
        else:
            text = f"{head} {self.uses(op.operands)}" if op.operands else head
            text = f"{text} {attributes_text(attrs)}" if attrs else text
            attrs = {}
            for k, region in enumerate(op.regions):
                args = ", ".join(f"{self.define(a, inner)}: {a.type}" for a in region.args)
                self.line(depth, f"{text if k == 0 else '}'} do ({args}) {{")
                self.region(region, depth + 1)
        self.leave(inner)
        self.line(depth, "}" + (f" with {attributes_text(attrs)}" if attrs else ""), op.span)

    def carried(self, args: Sequence[Value], inits: Sequence[Value], scope: list[str]) -> str:
        starts = [self.use(v) for v in inits]
        return ", ".join(f"{self.define(a, scope)} = {s}" for a, s in zip(args, starts, strict=True))
