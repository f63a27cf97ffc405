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

Where `lower.lanes` asks for it (`lanes`), loops inside are loops over vectors, which carry vectors, and what the lanes
read is put together from elements wherever they are:

    for %l in (0, 16) {                                        loop:
      %m: f64 = for %j in (0, %k) (%a = inf) {                   %a = phi <16 x double> [inf...], [%n]
        %b: f64 = buffer.load %x, %j, %l               =>        %b = load <16 x double> from x[j, 0]
        %n: f64 = minimum %a, %b                                 %n = minimum of the two, lane by lane
        yield %n                                                 br j + 1 < k, loop
      }
      buffer.store %m, %y, %l                                  store %n to y[0]
    } with {lanes=true}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from llvmlite import binding, ir

from ...ir.core import Const, Op, Region, Value, walk
from ...ir.types import BOOL, F64, Buffer, DType
from ..lower.accesses import CHECKS
from ..lower.lanes import is_arithmetic, is_vector, lane_dependent
from ..lower.loops import affine
from .passes import is_short
from .scalars import BINARY, COMPARISONS, compare, constant, integer, value_type

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["EMIT", "Vectors", "along_lanes", "vectorized"]

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
    if loop.attrs.get("lanes"):
        Lanes(s, loop).write(loop.regions[0])
    else:
        Vectors(s, loop.regions[0].args[0], int(lo.value), int(hi.value - lo.value)).body(loop)
    return True


# ---------------------------------------------------------------- which loops


def suits(s: Lowering, loop: Op) -> bool:
    index = loop.regions[0].args[0]
    if loop.attrs.get("lanes"):
        body = loop.regions[0]
        varying = lane_dependent(body, {index})
        for op in walk(body):
            if not in_lanes(op, varying):
                return False
            if op.name == "buffer.store" and not (
                op in body.ops and along_lanes(s, op.operands[1], op.operands[2:], index, varying)
            ):
                return False
        return apart(s, body, index, varying)
    varying = {index}
    for op in loop.regions[0].ops[:-1]:
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *where = op.operands if op.name == "buffer.load" else op.operands[1:]
            along = along_lanes(s, buffer, where, index, varying)
            if not along and (op.name == "buffer.store" or not varying.isdisjoint(where)):
                return False
            if along and op.name == "buffer.load":
                varying.add(op.result)
        elif op.name in EMIT and simple(op):
            if any(x in varying for x in op.operands):
                varying.add(op.result)
        else:
            return False
    return apart(s, loop.regions[0], index, varying)


def along_lanes(s: Lowering, buffer: Value, where: list[Value], index: Value, varying: set[Value]) -> bool:
    """Whether the turns read or write neighbours."""
    if not where or any(p in varying for p in where[:-1]) or s.memory(buffer).strides is not None:
        return False
    return offset_of(where[-1], index, varying) is not None


def apart(s: Lowering, body: Region, index: Value, varying: set[Value]) -> bool:
    """Whether the turns do not see each other: what is written is touched at one place in each."""
    touched: dict[int, set[tuple[Value, Offset | None]]] = {}
    written: set[int] = set()
    for op in walk(body):
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *where = op.operands if op.name == "buffer.load" else op.operands[1:]
            number = s.classes.memory_class(buffer)
            offset = offset_of(where[-1], index, varying) if where else None
            touched.setdefault(number, set()).add((buffer, offset))
            if op.name == "buffer.store":
                written.add(number)
    return all(len(touched[number]) == 1 for number in written)


def in_lanes(op: Op, varying: set[Value]) -> bool:
    """Whether an operation can be written for lanes that differ in what is `varying`."""
    if op.name == "for":
        return not any(v in varying for v in op.operands[:2]) and not any(
            isinstance(v.type, Buffer) for v in op.results
        )
    if op.name in ("buffer.load", "buffer.store", "yield"):
        return True
    if not (is_arithmetic(op) or op.name in CHECKS):
        return False
    return varying.isdisjoint(op.operands) or (is_arithmetic(op) and is_vector(op))


def simple(op: Op) -> bool:
    """Whether an operation of the table is one instruction for these types."""
    return is_vector(op)


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
        self.varying: set[Value] = {index}
        """What differs between the turns."""
        self.found: dict[Value, Any] = {}
        """Their vectors."""
        self.repeated: dict[Value, Any] = {}
        """What does not, in every lane of a vector."""

    def body(self, loop: Op) -> None:
        self.varying |= lane_dependent(loop.regions[0], {self.index})
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
        out = self.repeated[value] = self.repeat(self.s.number(value), kind)
        return out

    def repeat(self, number: Any, kind: ir.VectorType) -> Any:
        """A number in every lane."""
        one = self.b.insert_element(ir.Constant(kind, ir.Undefined), number, I32(0))
        mask = ir.Constant(ir.VectorType(I32, self.width), [0] * self.width)
        return self.b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)

    def place(self, buffer: Value, where: list[Value]) -> Any:
        """Where the first turn reads or writes, as memory of a vector."""
        s = self.s
        memory = s.memory(buffer)
        s.numbers[self.index] = ir.Constant(ir.IntType(64), self.first)
        return self.as_vector(s.memories.place(memory, [self.number(p) for p in where]))

    def as_vector(self, start: Any) -> Any:
        """Memory of a number as that of a vector."""
        return self.b.bitcast(start, ir.VectorType(start.type.pointee, self.width).as_pointer())

    def number(self, position: Value) -> Any:
        """A position in the first turn: sums of the index were written as vectors, if at all."""
        if position not in self.found:
            return self.s.number(position)
        return self.b.extract_element(self.found[position], I32(0))

    # memory

    def load(self, op: Op) -> None:
        buffer, *where = op.operands
        if not any(p in self.varying for p in where):
            self.s.operation(op)
            return
        if not along_lanes(self.s, buffer, where, self.index, self.varying):
            self.gather(op)
            return
        assert isinstance(buffer.type, Buffer)
        value = self.b.load(self.place(buffer, where), align=buffer.type.dtype.itemsize)
        self.s.memories.tag(value, self.s.memory(buffer))
        if buffer.type.dtype is BOOL:
            value = self.b.icmp_unsigned("!=", value, ir.Constant(value.type, None))
        self.found[op.result] = value

    def gather(self, op: Op) -> None:
        """Elements that lie anywhere, one by one."""
        s, b = self.s, self.b
        buffer, *where = op.operands
        out = ir.Constant(self.type(op.result.dtype), ir.Undefined)
        for lane in range(self.width):
            s.numbers[self.index] = integer(self.first + lane)
            place = [b.extract_element(self.found[p], I32(lane)) if p in self.found else s.number(p) for p in where]
            out = b.insert_element(out, s.memories.load(s.memory(buffer), place), I32(lane))
        self.found[op.result] = out

    def store(self, op: Op) -> None:
        value, buffer, *where = op.operands
        assert isinstance(buffer.type, Buffer)
        number = self.vector(value)
        if buffer.type.dtype is BOOL:
            number = self.b.zext(number, ir.VectorType(ir.IntType(8), self.width))
        access = self.b.store(number, self.place(buffer, where), align=buffer.type.dtype.itemsize)
        self.s.memories.tag(access, self.s.memory(buffer))


class Lanes:
    """Writes a loop with loops inside, which are loops over vectors: as many at a time as the lanes take, so that the
    outcome of a comparison, too, is in registers of one kind."""

    def __init__(self, s: Lowering, loop: Op) -> None:
        self.s, self.b = s, s.b
        index, (lo, hi) = loop.regions[0].args[0], (int(v.value) for v in loop.operands[:2] if isinstance(v, Const))
        self.varying = lane_dependent(loop.regions[0], {index})
        width = vector_width()
        self.parts = [Vectors(s, index, first, width) for first in range(lo, hi, width)]
        for part in self.parts:
            part.varying = self.varying

    def write(self, body: Region) -> None:
        for op in body.ops[:-1]:
            if op.name == "for":
                if self.differs(op):
                    self.loop(op)
                else:
                    self.s.operation(op)
            elif op.name == "buffer.store" or not self.varying.isdisjoint(op.operands):
                for part in self.parts:
                    part.operation(op)
            else:
                self.s.operation(op)

    def differs(self, loop: Op) -> bool:
        return any(v in self.varying for op in walk(loop.regions[0]) for v in (*op.operands, *op.results))

    def loop(self, op: Op) -> None:
        """A loop over vectors, as often in all lanes. What it carries is a vector where lanes differ."""
        s, b = self.s, self.b
        body = op.regions[0]
        index, *carried = body.args
        low, high = s.number(op.operands[0]), s.number(op.operands[1])
        starts = [self.like(arg, init) for arg, init in zip(carried, op.operands[2:], strict=True)]
        inside, out = b.append_basic_block("lanes"), b.append_basic_block("endlanes")
        before = b.block
        b.cbranch(b.icmp_signed("<", low, high), inside, out)
        b.position_at_end(inside)
        turn = b.phi(ir.IntType(64))
        turn.add_incoming(low, before)
        phis = [self.phis(arg, start, before) for arg, start in zip(carried, starts, strict=True)]
        s.numbers[index] = turn
        if op.attrs.get("reverse"):
            last = b.add(b.sub(high, integer(1), flags=("nsw",)), low, flags=("nsw",))
            s.numbers[index] = b.sub(last, turn, flags=("nsw",))
        outside = [dict(part.repeated) for part in self.parts]
        self.write(body)
        ends = [self.like(arg, end) for arg, end in zip(carried, body.terminator.operands, strict=True)]
        for part, known in zip(self.parts, outside, strict=True):
            part.repeated = known
        following = b.add(turn, integer(1), flags=("nsw",))
        after = b.block
        turn.add_incoming(following, after)
        for made, numbers in zip(phis, ends, strict=True):
            for phi, number in zip(made, numbers, strict=True):
                phi.add_incoming(number, after)
        s.hints.attach(b.cbranch(b.icmp_signed("<", following, high), inside, out), None, None, whole=is_short(op))
        b.position_at_end(out)
        for result, start, end in zip(op.results, starts, ends, strict=True):
            for phi, number in zip(self.phis(result, start, before), end, strict=True):
                phi.add_incoming(number, after)

    def like(self, arg: Value, value: Value) -> list[Any]:
        """A value as `arg` is carried: a number, or vectors."""
        return [part.vector(value) for part in self.parts] if arg in self.varying else [self.s.number(value)]

    def phis(self, value: Value, starts: list[Any], before: Any) -> list[Any]:
        """What stands for a value that is carried."""
        out = []
        for start in starts:
            out.append(self.b.phi(start.type))
            out[-1].add_incoming(start, before)
        if value in self.varying:
            for part, phi in zip(self.parts, out, strict=True):
                part.found[value] = phi
        else:
            (self.s.numbers[value],) = out
        return out


@cache
def vector_width() -> int:
    """How many numbers of 64 bits a register holds, or half as many as two do."""
    return 8 if binding.get_host_cpu_features().get("avx512f") else 4


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


def inverted(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return v.b.not_(operands[0])


def summed(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return (v.b.fadd if op.result.dtype.is_float else v.b.add)(*operands)


def multiplied(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return (v.b.fmul if op.result.dtype.is_float else v.b.mul)(*operands)


def squared(v: Vectors, op: Op, operands: list[Any]) -> Any:
    return v.b.fmul(operands[0], operands[0])


def intrinsic(name: str) -> Callable[[Vectors, Op, list[Any]], Any]:
    def emit(v: Vectors, op: Op, operands: list[Any]) -> Any:
        kind = operands[0].type
        function = f"llvm.{name}.v{kind.count}{'f64' if op.result.dtype is F64 else 'f32'}"
        known = v.b.module.globals.get(function)
        if known is None:
            known = ir.Function(v.b.module, ir.FunctionType(kind, [kind] * len(operands)), function)
        return v.b.call(known, operands)

    return emit


EMIT: dict[str, Callable[[Vectors, Op, list[Any]], Any]] = {
    **dict.fromkeys(("add", "sub", "mul", "logical_and", "logical_or", "logical_xor"), binary),
    **dict.fromkeys(COMPARISONS, comparison),
    "neg": negated,
    "div": divided,
    "select": selected,
    "cast": converted,
    "stop_gradient": lambda v, op, operands: operands[0],
    "logical_not": inverted,
    "add_any_order": summed,
    "mul_any_order": multiplied,
    "square": squared,
    "sqrt": intrinsic("sqrt"),
    "abs": intrinsic("fabs"),
    "maximum": intrinsic("maximum"),
    "minimum": intrinsic("minimum"),
}
