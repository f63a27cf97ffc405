"""The text of the IR: printer and parser, in one place so that they cannot disagree.

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
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .core import Const, Function, Op, Region, Span, Value
from .types import BOOL, DTYPES, F64, I64, Array, Buffer, DType, Scalar, Tape, Type, parse_type

__all__ = ["ParseError", "constant_text", "names_of", "parse", "to_text"]

COMMENT_COLUMN = 56


class ParseError(ValueError):
    """A text that is not IR; says the line."""


# ---------------------------------------------------------------- printing


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


# ---------------------------------------------------------------- parsing


class Token(NamedTuple):
    kind: str
    text: str
    line: int


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
      | (?P<comment>;[^\n]*)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<value>%\w+)
      | (?P<symbol>@[^\s(]+)
      | (?P<arrow>->)
      | (?P<number>-?(?:nan\(0x[0-9a-f]+\)|(?:inf|nan)\b|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?))
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<sign>[{}()\[\]=:,?&])""",
    re.VERBOSE,
)
_SPAN = re.compile(r"(?:.*, )?([^,]*):(\d+)\s*$")


def tokens_of(text: str) -> Iterator[Token]:
    at, line = 0, 1
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ParseError(f"line {line}: unexpected {text[at : at + 10]!r}")
        kind = str(match.lastgroup)
        if kind != "space":
            yield Token(kind, match.group(), line)
        line += match.group().count("\n")
        at = match.end()
    yield Token("end", "end of text", line)


def parse(text: str) -> Function:
    """The function that a text describes; `ParseError` (a ValueError) where it describes none.

    Types are taken as written and not inferred: `ir.verify.verify` compares the two.
    """
    parser = Parser(text)
    function = parser.function()
    parser.skip_comments()
    if parser.peek.kind != "end":
        parser.fail(f"text after the function: {parser.peek.text!r}")
    return function


class Parser:
    def __init__(self, text: str) -> None:
        self.tokens = list(tokens_of(text))
        self.at = 0
        self.scopes: list[dict[str, Value]] = [{}]

    # tokens

    @property
    def peek(self) -> Token:
        return self.tokens[self.at]

    def fail(self, what: str, line: int = 0) -> NoReturn:
        raise ParseError(f"line {line or self.peek.line}: {what}")

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, text: str) -> bool:
        if self.peek.text == text and self.peek.kind != "string":
            self.at += 1
            return True
        return False

    def expect(self, text: str) -> None:
        if not self.accept(text):
            self.fail(f"expected {text!r}, found {self.peek.text!r}")

    def take(self, kind: str) -> str:
        if self.peek.kind != kind:
            self.fail(f"expected a {kind}, found {self.peek.text!r}")
        return self.next().text

    def skip_comments(self) -> None:
        while self.peek.kind == "comment":
            self.at += 1

    def span(self) -> Span | None:
        """The span in a comment on the line of the last token."""
        token = self.peek
        if token.kind != "comment" or token.line != self.tokens[self.at - 1].line:
            return None
        self.at += 1
        match = _SPAN.match(token.text[1:].strip())
        return Span(match.group(1), int(match.group(2))) if match else None

    # values, types, attributes

    def define(self, token: str, type_: Type) -> Value:
        name = token[1:]
        if any(name in scope for scope in self.scopes):
            self.fail(f"{token} is defined twice", self.tokens[self.at - 1].line)
        value = Value(type_, None if name.isdigit() else name)
        self.scopes[-1][name] = value
        return value

    def operand(self) -> Value:
        token = self.peek
        if token.kind != "value":
            return self.constant()
        for scope in reversed(self.scopes):
            if token.text[1:] in scope:
                self.at += 1
                return scope[token.text[1:]]
        self.fail(f"{token.text} is not defined here")

    def constant(self) -> Const:
        token = self.next()
        if token.text in ("true", "false"):
            return Const(token.text == "true", BOOL)
        if token.kind != "number":
            self.at -= 1
            self.fail(f"expected a value, found {token.text!r}")
        dtype = I64 if re.fullmatch(r"-?\d+", token.text) else F64
        if self.accept(":"):
            name = self.take("word")
            if name not in DTYPES:
                self.fail(f"{name} is not a type")
            dtype = DTYPES[name]
        return Const(number(token.text, dtype), dtype)

    def type(self) -> Type:
        text = "&" if self.accept("&") else ""
        text += self.take("word")
        depth = 0
        while self.peek.text == "[" or depth:
            token = self.next()
            if token.kind == "end":
                self.fail("unclosed type")
            depth += (token.text == "[") - (token.text == "]")
            text += token.text
            if not depth:
                break
        try:
            return parse_type(text)
        except ValueError as error:
            self.fail(str(error))

    def attributes(self) -> dict[str, Any]:
        self.expect("{")
        out: dict[Any, Any] = {}
        while not self.accept("}"):
            name = int(self.take("number")) if self.peek.kind == "number" else self.take("word")
            self.expect("=")
            out[name] = self.attribute()
            if not self.accept(","):
                self.expect("}")
                break
        return out

    def attribute(self) -> Any:
        token = self.peek
        if token.kind == "string":
            self.at += 1
            return json.loads(token.text)
        if token.kind == "number":
            self.at += 1
            whole = re.fullmatch(r"-?\d+", token.text)
            return int(token.text) if whole else float(number(token.text, F64))
        if token.text == "{":
            return self.attributes()
        if self.accept("("):
            return tuple(self.attribute_list(")"))
        if self.accept("["):
            return self.attribute_list("]")
        word = self.take("word")
        if word in ("true", "false", "none"):
            return {"true": True, "false": False, "none": None}[word]
        if word in DTYPES:
            return DTYPES[word]
        if word == "func":
            self.at -= 1
            return self.closed_function()
        if word in ("type", "const"):
            self.expect("(")
            inner: Any = self.type() if word == "type" else self.constant()
            self.expect(")")
            return inner
        self.fail(f"{word!r} is not an attribute value")

    def attribute_list(self, close: str) -> list[Any]:
        out: list[Any] = []
        while not self.accept(close):
            out.append(self.attribute())
            if not self.accept(","):
                self.expect(close)
                break
        return out

    def closed_function(self) -> Function:
        """A function inside of another one, of which it sees nothing."""
        saved, self.scopes = self.scopes, [{}]
        out = self.function()
        self.scopes = saved
        return out

    # structure

    def function(self) -> Function:
        self.skip_comments()
        self.expect("func")
        name = self.take("symbol")[1:]
        args = self.arguments()
        self.expect_arrow()
        if self.accept("("):
            types: list[Type] = []
            while not self.accept(")"):
                types.append(self.type())
                self.accept(",")
        else:
            types = [self.type()]
        region = self.region(args, keep=True)
        returned = [str(v.type) for v in region.terminator.operands]
        if returned != [str(t) for t in types]:
            self.fail(f"@{name} returns ({', '.join(returned)}), not what its first line says")
        return Function(name, region, self.attributes() if self.accept("with") else {})

    def expect_arrow(self) -> None:
        if self.next().kind != "arrow":
            self.at -= 1
            self.fail("expected ->")

    def arguments(self) -> list[Value]:
        """``(%a: T, %b: U)``"""
        out: list[Value] = []
        self.expect("(")
        while not self.accept(")"):
            name = self.take("value")
            self.expect(":")
            out.append(self.define(name, self.type()))
            self.accept(",")
        return out

    def region(self, args: list[Value], keep: bool = False) -> Region:
        """``{ operations }``; with `keep`, what it defines stays in sight."""
        region = Region(args)
        self.expect("{")
        if not keep:
            self.scopes.append({})
        self.skip_comments()
        while not self.accept("}"):
            region.ops.append(self.op())
            self.skip_comments()
        if not keep:
            self.scopes.pop()
        if not region.ops:
            self.fail("an empty region: it needs a terminator")
        return region

    def op(self) -> Op:
        names: list[str] = []
        types: list[Type] = []
        if self.peek.kind == "value":
            while True:
                names.append(self.take("value"))
                self.expect(":")
                types.append(self.type())
                if not self.accept(","):
                    break
            self.expect("=")
        line = self.peek.line
        name = self.take("word")
        self.scopes.append({})
        form = {"if": self.if_, "for": self.for_, "while": self.while_}.get(name)
        op = form(types) if form else self.plain(name, types, line)
        self.scopes.pop()
        if op.regions and self.accept("with"):
            op.attrs.update(self.attributes())
        op.span = self.span()
        for result, text in zip(op.results, names, strict=True):
            defined = self.define(text, result.type)
            result.name = defined.name
            self.scopes[-1][text[1:]] = result
        return op

    def operands(self) -> list[Value]:
        out = [self.operand()]
        while self.accept(","):
            out.append(self.operand())
        return out

    def plain(self, name: str, types: list[Type], line: int) -> Op:
        token = self.peek
        begins = token.kind in ("value", "number") or token.text in ("true", "false")
        operands = self.operands() if begins and token.line == line else []
        attrs = self.attributes() if self.peek.text == "{" else {}
        if name == "tape.new" and "element" not in attrs and types and isinstance(types[0], Tape):
            attrs["element"] = types[0].element
        regions: list[Region] = []
        while self.accept("do"):
            self.scopes.append({})
            regions.append(self.region(self.arguments()))
            self.scopes.pop()
        return Op(name, operands, types, attrs, regions)

    def if_(self, types: list[Type]) -> Op:
        condition = self.operand()
        then = self.region([])
        self.expect("else")
        return Op("if", [condition], types, {}, [then, self.region([])])

    def for_(self, types: list[Type]) -> Op:
        induction = self.take("value")
        self.expect("in")
        parallel, reverse = self.accept("parallel"), self.accept("reverse")
        self.expect("(")
        lo = self.operand()
        self.expect(",")
        hi = self.operand()
        self.expect(")")
        names, inits = self.initial() if self.peek.text == "(" else ([], [])
        attrs = {"reverse": reverse, **({"parallel": True} if parallel else {})}
        args = [self.define(induction, Scalar(I64)), *self.carried(names, types)]
        return Op("for", [lo, hi, *inits], types, attrs, [self.region(args)])

    def while_(self, types: list[Type]) -> Op:
        names, inits = self.initial()
        before = self.region(self.carried(names, types), keep=True)
        self.expect("do")
        return Op("while", inits, types, {}, [before, self.region([])])

    def initial(self) -> tuple[list[str], list[Value]]:
        """``(%a = %x, %b = 0.0)``"""
        names: list[str] = []
        inits: list[Value] = []
        self.expect("(")
        while not self.accept(")"):
            names.append(self.take("value"))
            self.expect("=")
            inits.append(self.operand())
            self.accept(",")
        return names, inits

    def carried(self, names: list[str], types: list[Type]) -> list[Value]:
        if len(names) != len(types):
            self.fail(f"{len(names)} carried values, {len(types)} results")
        return [self.define(n, t) for n, t in zip(names, types, strict=True)]


def number(text: str, dtype: DType) -> Any:
    """A number token as a NumPy scalar of its dtype, exactly."""
    kind = dtype.numpy.type
    if "(" in text:
        bits = int(text[text.index("0x") : -1], 16)
        return np.array(bits, dtype=f"u{dtype.itemsize}").view(dtype.numpy)[()]
    if dtype.is_float:
        return kind(text)
    return kind(int(text))
