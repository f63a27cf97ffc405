"""Loops of a few turns of plain arithmetic as vector instructions.

In: a `for` of the scheduled IR whose trip count is a constant power of two (`WIDTHS`), as tangents in lanes give them.
Out: its body once, on vectors of that many numbers, or False where the loop is not of this kind and nothing was
written:

    for %l in (0, 8) {
      %a: f64 = buffer.load %t, %i, %l                  %a = load <8 x double> from t[i, 0]
      %b: f64 = mul %a, %c                      =>      %b = fmul %a, <c, c, c, c, c, c, c, c>
      buffer.store %b, %u, %i, %l                       store %b to u[i, 0]
    }

LLVM would unroll such a loop before it thinks of vectors. The turns must not see each other: of memory that the body
writes, turn `l` reads and writes elements whose last position is the same sum of `l` and something constant in the
loop, through one buffer; then whole vectors, read and written in the order of the body, mean the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Const, Op, Value
from ...ir.types import BOOL, Buffer, DType
from ..lower.loops import affine
from .scalars import BINARY, COMPARISONS, compare, constant, value_type

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["vectorized"]

WIDTHS = (8, 16)
I32 = ir.IntType(32)
Offset = tuple[frozenset[tuple[Value, int]], int]


def vectorized(s: Lowering, loop: Op) -> bool:
    """Write a loop as vector instructions, if it can be; whether it was."""
    lo, hi, *inits = loop.operands
    if inits or not isinstance(lo, Const) or not isinstance(hi, Const) or int(hi.value - lo.value) not in WIDTHS:
        return False
    if not suits(s, loop):
        return False
    Vectors(s, loop.regions[0].args[0], int(lo.value), int(hi.value - lo.value)).body(loop)
    return True


# ---------------------------------------------------------------- which loops


def suits(s: Lowering, loop: Op) -> bool:
    index = loop.regions[0].args[0]
    varying = {index}
    read: dict[int, set[tuple[Value, Offset | None]]] = {}
    written: set[int] = set()
    for op in loop.regions[0].ops[:-1]:
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *where = op.operands if op.name == "buffer.load" else op.operands[1:]
            offset = offset_of(where[-1], index, varying) if where else None
            if any(p in varying for p in where[:-1]) or (offset is None and (not where or where[-1] in varying)):
                return False
            if offset is not None and s.memory(buffer).strides is not None:
                return False
            number = s.classes.memory_class(buffer)
            read.setdefault(number, set()).add((buffer, offset))
            if op.name == "buffer.store":
                if offset is None:
                    return False
                written.add(number)
            elif offset is not None:
                varying.add(op.result)
        elif op.name in EMIT and simple(op):
            if any(x in varying for x in op.operands):
                varying.add(op.result)
        else:
            return False
    return all(len(read[number]) == 1 for number in written)


def simple(op: Op) -> bool:
    """Whether an operation of the table is one instruction for these types."""
    if op.name == "cast":
        return op.result.dtype.is_float
    return op.name != "div" or op.result.dtype.is_float


def offset_of(position: Value, index: Value, varying: set[Value]) -> Offset | None:
    """What a position is besides the index; None where it does not run with the index, one by one."""
    terms, fixed = affine(position)
    if terms.get(index) != 1 or any(v in varying for v in terms if v is not index):
        return None
    return frozenset((v, c) for v, c in terms.items() if v is not index), fixed


# ---------------------------------------------------------------- their instructions


class Vectors:
    """Writes the body of one loop. What is the same in every turn stays a number until it meets a vector."""

    def __init__(self, s: Lowering, index: Value, first: int, width: int) -> None:
        self.s, self.b = s, s.b
        self.first, self.width, self.index = first, width, index
        self.found: dict[Value, Any] = {}
        """What differs between the turns."""
        self.repeated: dict[Value, Any] = {}
        """What does not, in every lane of a vector."""

    def body(self, loop: Op) -> None:
        for op in loop.regions[0].ops[:-1]:
            self.operation(op)

    def operation(self, op: Op) -> None:
        if op.name == "buffer.load":
            self.load(op)
        elif op.name == "buffer.store":
            self.store(op)
        elif any(x is self.index or x in self.found for x in op.operands):
            operands = [self.vector(x) for x in op.operands]
            self.found[op.result] = EMIT[op.name](self, op, operands)
        else:
            self.s.operation(op)

    def type(self, dtype: DType) -> ir.VectorType:
        return ir.VectorType(value_type(dtype), self.width)

    def vector(self, value: Value) -> Any:
        """A value in every turn."""
        if value in self.found:
            return self.found[value]
        if value in self.repeated:
            return self.repeated[value]
        kind = self.type(value.dtype)
        if value is self.index:
            return ir.Constant(kind, list(range(self.first, self.first + self.width)))
        if isinstance(value, Const):
            return ir.Constant(kind, [constant(value)] * self.width)
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), self.s.number(value), I32(0))
        mask = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        out = self.repeated[value] = self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)
        return out

    def place(self, buffer: Value, where: list[Value]) -> Any:
        """Where the first turn reads or writes, as memory of a vector."""
        s = self.s
        memory = s.memory(buffer)
        s.numbers[self.index] = ir.Constant(ir.IntType(64), self.first)
        start = s.memories.place(memory, [self.number(p) for p in where])
        kind = ir.VectorType(start.type.pointee, self.width)
        return self.b.bitcast(start, kind.as_pointer())

    def number(self, position: Value) -> Any:
        """A position in the first turn: sums of the index were written as vectors, if at all."""
        if position not in self.found:
            return self.s.number(position)
        return self.b.extract_element(self.found[position], I32(0))

    def load(self, op: Op) -> None:
        buffer, *where = op.operands
        if not where or not (where[-1] is self.index or where[-1] in self.found):
            self.s.operation(op)
            return
        assert isinstance(buffer.type, Buffer)
        value = self.b.load(self.place(buffer, where), align=buffer.type.dtype.itemsize)
        self.s.memories.tag(value, self.s.memory(buffer))
        if buffer.type.dtype is BOOL:
            value = self.b.icmp_unsigned("!=", value, ir.Constant(value.type, None))
        self.found[op.result] = value

    def store(self, op: Op) -> None:
        value, buffer, *where = op.operands
        assert isinstance(buffer.type, Buffer)
        number = self.vector(value)
        if buffer.type.dtype is BOOL:
            number = self.b.zext(number, ir.VectorType(ir.IntType(8), self.width))
        access = self.b.store(number, self.place(buffer, where), align=buffer.type.dtype.itemsize)
        self.s.memories.tag(access, self.s.memory(buffer))


def binary(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return BINARY[op.name](v.b, *operands, op.operands[0].dtype)


def comparison(v: Vectors, op: Op, operands: list[Any]) -> Any:
    x, y = operands
    return compare(v.b, COMPARISONS[op.name], x, y, op.operands[0].dtype)


def negated(v: Vectors, op: Op, operands: list[Any]) -> Any:
    (x,) = operands
    return v.b.fneg(x) if op.result.dtype.is_float else v.b.sub(ir.Constant(x.type, None), x)


def divided(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return v.b.fdiv(*operands)


def selected(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return v.b.select(*operands)


def converted(v: Vectors, op: Op, operands: list[Any]) -> Any:
    b, (x,) = v.b, operands
    source, kind = op.operands[0].dtype, v.type(op.result.dtype)
    if source.is_float:
        return b.fpext(x, kind) if op.result.dtype.itemsize > source.itemsize else b.fptrunc(x, kind)
    return (b.sitofp if source.kind == "i" else b.uitofp)(x, kind)


EMIT: dict[str, Callable[[Vectors, Op, list[Any]], Any]] = {
    **dict.fromkeys(("add", "sub", "mul", "logical_and", "logical_or", "logical_xor"), binary),
    **dict.fromkeys(COMPARISONS, comparison),
    "neg": negated,
    "div": divided,
    "select": selected,
    "cast": converted,
    "stop_gradient": lambda v, op, operands: operands[0],
}
