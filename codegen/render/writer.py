"""Statements: the text of a scheduled function.

In: a scheduled function. Out: its source, and the sites at which it can fail. Every check is an early ``return``
of its number, so a kernel never raises: ``(status, detail0, detail1, *results)``."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.core import Const, Function, Op, Region, Span, Value, walk
from ...ir.ops.declare import lookup
from ...ir.types import BOOL, F32, I64, Buffer, Scalar
from .expressions import ATOM, Text, constant, dtype_text, expression, gives_numpy_scalar
from .folding import Folding
from .variables import Variables

__all__ = ["Writer"]

COMMENT_COLUMN = 60
RESERVED = frozenset({"np", "range", "min", "max", "int", "float", "bool", "abs", "len", "True", "False", "None"})


class Writer:
    def __init__(self, function: Function, name: str, primitives: frozenset[str]) -> None:
        self.function = function
        self.name = name
        self.folding = Folding(function)
        self.variables = Variables(function, self.folding, RESERVED | primitives | {name})
        self.lines: list[str] = []
        self.needs: set[str] = set()
        self.sites: list[Op] = []
        self.span: Span | None = None
        self.exact: dict[Value, bool] = {}
        self.natural: set[Value] = set()
        self.dummies: dict[str, str] = {}
        self.float_details = any(
            not (isinstance(x.type, Scalar) and x.type.dtype.kind in "biu") for x in self.details(function.body)
        )

    def details(self, region: Region) -> list[Value]:
        out: list[Value] = []
        for op in region.ops:
            if op.name == "check":
                out += op.operands[1:3]
            for inner in op.regions:
                out += self.details(inner)
        return out

    def write(self) -> str:
        arguments = ", ".join(self.variables.name[a] for a in self.function.args)
        self.lines.append(f"def {self.name}({arguments}):")
        for arg in self.function.args:
            self.exact[arg] = False
        if any(lookup(op.name).effect == "check" for op in walk(self.function.body)):
            self.choose_dummies()
        self.region(self.function.body, 1)
        return "\n".join(self.lines)

    # expressions

    def text(self, value: Value) -> Text:
        if isinstance(value, Const):
            return constant(value)
        if value.op is not None and value.op in self.folding.folded:
            return self.of(value.op)
        return self.variables.name[value], ATOM

    def plain(self, value: Value) -> str:
        return self.text(value)[0]

    def is_exact(self, value: Value) -> bool:
        if isinstance(value, Const):
            return value.dtype is F32 or (value.dtype not in (I64, BOOL) and not value.dtype.is_float)
        if value in self.exact:
            return self.exact[value]
        op = value.op
        if op is None:
            return False
        if op.name == "buffer.load":
            out = True
        elif op.regions or op.name in ("bound", "same_extent"):
            out = False
        elif op.name == "buffer.dim":
            out = False
        else:
            out = gives_numpy_scalar(op, [self.is_exact(x) for x in op.operands])
        self.exact[value] = out
        return out

    def of(self, op: Op) -> Text:
        """The expression of an operation with one result."""
        if op.name == "buffer.load":
            return f"{self.plain(op.operands[0])}[{self.positions(op.operands[1:])}]", ATOM
        if op.name == "buffer.dim":
            return f"{self.plain(op.operands[0])}.shape[{op.attrs['axis']}]", ATOM
        if op.name == "buffer.alloc":
            assert isinstance(op.results[0].type, Buffer)
            return f"np.empty({self.shape(op.operands)}, {dtype_text(op.results[0].type.dtype)})", ATOM
        if op.name == "buffer.reshape":
            text = f"{self.plain(op.operands[0])}.reshape({self.shape(op.operands[1:])})"
            return (f"{text}.view({dtype_text(op.attrs['dtype'])})" if "dtype" in op.attrs else text), ATOM
        if op.name == "buffer.view":
            start, *extents = (f"({text})" if bound < ATOM else text for text, bound in map(self.text, op.operands[1:]))
            part = f"{self.plain(op.operands[0])}[{start} : {start} + {' * '.join(extents)}]"
            return (part if len(extents) == 1 else f"{part}.reshape(({', '.join(extents)}))"), ATOM
        if op.name == "buffer.call":
            name = op.attrs["kernel"]
            self.needs.add(name)
            return f"{name}({', '.join(map(self.plain, op.operands))})", ATOM
        exact = [self.is_exact(x) for x in op.operands]
        return expression(op, [self.text(x) for x in op.operands], exact, self.needs)

    def positions(self, indices: Sequence[Value]) -> str:
        return ", ".join(map(self.position, indices))

    def position(self, index: Value) -> str:
        text = self.plain(index)
        if self.is_natural(index):
            return text
        self.needs.add("at")
        return f"at({text})"

    def is_natural(self, value: Value) -> bool:
        """Whether the compiler can see that an index is not negative."""
        if isinstance(value, Const):
            return bool(value.value >= 0)
        if value in self.natural:
            return True
        op = value.op
        return op is not None and op.name == "add" and all(map(self.is_natural, op.operands))

    def shape(self, extents: Sequence[Value]) -> str:
        texts = [self.plain(e) for e in extents]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    # statements

    def line(self, indent: int, text: str, span: Span | None = None) -> None:
        out = "    " * indent + text
        if span is not None and str(span) != str(self.span):
            self.span = span
            out = f"{out:<{COMMENT_COLUMN}}  # {span}"
        self.lines.append(out)

    def region(self, region: Region, indent: int, targets: Sequence[Value] = ()) -> None:
        """Write a region; `targets`: what its yield assigns to."""
        before = len(self.lines)
        for op in self.folding.statements(region):
            if op.name == "yield":
                self.assign(indent, targets, op.operands, op.span)
            else:
                self.statement(op, indent)
        if len(self.lines) == before:
            self.line(indent, "pass")

    def statement(self, op: Op, indent: int) -> None:
        if op.name == "return":
            results = "".join(f", {self.plain(v)}" for v in op.operands)
            zero = "0.0" if self.float_details else "0"
            self.line(indent, f"return (0, {zero}, {zero}{results})")
        elif op.name == "if":
            self.branch(op, indent)
        elif op.name == "for":
            self.for_loop(op, indent)
        elif op.name == "while":
            self.while_loop(op, indent)
        elif op.name == "test":
            self.line(indent, f"if not {self.atom(op.operands[0])}:", op.span)
            self.line(indent + 1, "break")
        elif op.name == "buffer.store":
            value, buffer, *indices = op.operands
            self.line(indent, f"{self.plain(buffer)}[{self.positions(indices)}] = {self.plain(value)}", op.span)
        elif op.name in ("check", "bound", "same_extent"):
            self.check(op, indent)
        elif not op.results:
            self.line(indent, self.of(op)[0], op.span)
        else:
            (result,) = op.results
            text, target = self.of(op)[0], self.variables.name[result]
            if text != target:
                self.line(indent, f"{target} = {text}", op.span)

    def atom(self, value: Value) -> str:
        text, tight = self.text(value)
        return text if tight > 2 else f"({text})"

    def assign(self, indent: int, targets: Sequence[Value], values: Sequence[Value], span: Span | None) -> None:
        """Assign all at once: in turn where no target is read later on, else as one tuple."""
        pairs = [(self.variables.name[t], self.plain(v)) for t, v in zip(targets, values)]
        reads = [self.read_by(v) for v in values]
        todo = [(t, v, r) for (t, v), r in zip(pairs, reads) if t != v]
        clash = any(t in r for k, (t, _, _) in enumerate(todo) for _, _, r in todo[k + 1 :])
        if clash:
            self.line(indent, f"{', '.join(t for t, _, _ in todo)} = {', '.join(v for _, v, _ in todo)}", span)
        else:
            for target, value, _ in todo:
                self.line(indent, f"{target} = {value}", span)

    def read_by(self, value: Value) -> set[str]:
        from .folding import roots_of

        if isinstance(value, Const):
            return set()
        if value.op is not None and value.op in self.folding.folded:
            return {self.variables.name[v] for v in roots_of(self.folding, value.op)}
        return {self.variables.name[value]}

    # control flow

    def branch(self, op: Op, indent: int) -> None:
        then, other = op.regions
        for result in op.results:
            self.exact[result] = False
        self.line(indent, f"if {self.plain(op.operands[0])}:", op.span)
        self.region(then, indent + 1, op.results)
        start = len(self.lines)
        self.line(indent, "else:")
        self.region(other, indent + 1, op.results)
        if [text.strip() for text in self.lines[start + 1 :]] == ["pass"]:
            del self.lines[start:]

    def for_loop(self, op: Op, indent: int) -> None:
        lo, hi, *inits = op.operands
        index, *args = op.regions[0].args
        self.carried(args, inits, op.regions[-1])
        self.assign(indent, args, inits, op.span)
        if op.attrs.get("parallel"):
            self.line(indent, "# parallel: the machine code may run turns of this loop at once")
        name = self.variables.name[index]
        start = "" if isinstance(lo, Const) and lo.value == 0 else f"{self.plain(lo)}, "
        if op.attrs.get("reverse"):
            # written so that the loop itself runs upwards, which vectorizes
            low, high = self.tight(lo), self.plain(hi)
            turn = self.unused(f"{name}_turn")
            count = high if not start else f"{self.tight(hi)} - {low}"
            self.line(indent, f"for {turn} in range({count}):", op.span)
            self.line(indent + 1, f"{name} = {self.tight(hi)} - 1 - {turn}")
        else:
            if isinstance(lo, Const) and lo.value >= 0:
                self.natural.add(index)
            self.line(indent, f"for {name} in range({start}{self.plain(hi)}):", op.span)
        self.region(op.regions[0], indent + 1, args)

    def unused(self, name: str) -> str:
        taken = set(self.variables.name.values())
        while name in taken:
            name += "_"
        return name

    def tight(self, value: Value) -> str:
        text, tight = self.text(value)
        return text if tight >= 7 else f"({text})"

    def while_loop(self, op: Op, indent: int) -> None:
        before, body = op.regions
        self.carried(before.args, op.operands, body)
        self.assign(indent, before.args, op.operands, op.span)
        self.line(indent, "while True:", op.span)
        self.region(before, indent + 1)
        mark = len(self.lines)
        self.region(body, indent + 1, before.args)
        if self.lines[mark:] == ["    " * (indent + 1) + "pass"]:
            del self.lines[mark:]

    def carried(self, args: Sequence[Value], inits: Sequence[Value], body: Region) -> None:
        for arg in args:
            self.exact[arg] = False

    # checks

    def check(self, op: Op, indent: int) -> None:
        self.sites.append(op)
        if op.name == "check":
            self.line(indent, f"if not {self.atom(op.operands[0])}:", op.span)
            self.fail(op, indent + 1, op.operands[1:3])
            return
        a, b = op.operands
        result = op.results[0]
        target = self.variables.name[result]
        if op.name == "same_extent":
            self.line(indent, f"if {self.tight(a)} != {self.tight(b)}:", op.span)
            self.fail(op, indent + 1, [a, b])
        else:
            i, n = self.plain(a), self.tight(b)
            known = isinstance(a, Const) and a.value >= 0
            test = f"{i} >= {n}" if known else f"{self.tight(a)} < -{n} or {self.tight(a)} >= {n}"
            self.line(indent, f"if {test}:", op.span)
            self.fail(op, indent + 1, [a, b])
            if not known:
                self.line(indent, f"{target} = {i} + {n} if {self.tight(a)} < 0 else {i}")
                return
        if target != self.plain(a):
            self.line(indent, f"{target} = {self.plain(a)}")

    def fail(self, op: Op, indent: int, details: Sequence[Value]) -> None:
        texts = [self.detail(v) for v in details] + [self.detail(None)] * (2 - len(details))
        dummies = "".join(f", {self.dummy(v)}" for v in self.function.results)
        self.line(indent, f"return ({len(self.sites)}, {', '.join(texts)}{dummies})")

    def detail(self, value: Value | None) -> str:
        if value is None:
            return "0.0" if self.float_details else "0"
        text = self.plain(value)
        if self.float_details:
            return f"np.float64({text})"
        return text if value.dtype is I64 else f"np.int64({text})"

    def dummy(self, value: Value) -> str:
        """A result without meaning: an array argument of the type, or an empty array made at the start."""
        if isinstance(value.type, Buffer):
            return self.dummies[str(value.type)]
        return constant(Const(0, value.dtype))[0]

    def choose_dummies(self) -> None:
        layouts = self.function.attrs.get("layouts") or ()
        for arg, layout in zip(self.function.args, layouts):
            if layout == "C":
                self.dummies.setdefault(str(arg.type), self.variables.name[arg])
        for value in self.function.results:
            if isinstance(value.type, Buffer) and str(value.type) not in self.dummies:
                name = self.unused(f"no_{value.type.dtype.name}_{value.type.rank}")
                self.dummies[str(value.type)] = name
                zeros = "0" if value.type.rank == 1 else f"({', '.join('0' * value.type.rank)})"
                self.line(1, f"{name} = np.empty({zeros}, {dtype_text(value.type.dtype)})")
