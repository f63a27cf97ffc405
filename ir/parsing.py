"""The parser of the IR's text.

In: a text in the format that `ir.text` describes. Out: the `Function`, or a `ParseError` with the line.

>>> parse("func @f(%x: f64) -> f64 { return %x }").name
'f'
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .core import Const, Function, Op, Region, Span, Value
from .types import BOOL, DTYPES, F64, I64, DType, Scalar, Tape, Type, parse_type

__all__ = ["ParseError", "parse"]


class ParseError(ValueError):
    """A text that is not IR; says the line."""


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
