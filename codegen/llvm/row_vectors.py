"""Rows of elementary functions as pairs of vectors that may overlap.

In: an innermost `for` of the scheduled IR, inside another loop, whose turns do not see each other and that carries
nothing. Out: its body for two vectors of `LANES` turns; or False where it is not of this kind and nothing was written:

    for %k in (0, %n) {                            for each stretch from:to of 8 to 16 turns of 0:n
      %a: f64 = buffer.load %x, %i, %k               a, b = x[i, from : from+8], x[i, to-8 : to]
      %b: f64 = exp %a                       =>      a, b = exp(a), exp(b)
      buffer.store %b, %y, %i, %k                    y[i, from : from+8], y[i, to-8 : to] = a, b
    }

LLVM's own vectors leave the turns that do not fill one to a scalar loop, or mask them, and a store with a mask takes
six cycles on some machines. Here stretches are of 16 turns, but for the last two; the two vectors of a stretch share
elements if it is shorter. Both read before either writes, operation by operation, so that the elements they share are
computed twice, from the same numbers, and written twice, with the same result. Two vectors at a time also hide the
latency of their operations. Rows of 4 to 7 numbers are two vectors of 4; what is shorter runs turn by turn.

Of rows of plain arithmetic only those of 8 to 16 numbers, which LLVM would hardly make vectors of, are written so: in
longer ones what is left over does not count, and LLVM knows best how many vectors suit the machine.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Const, Op, Value
from ...ir.types import F64, I64
from ..lower.lanes import is_vector, lane_dependent
from ..primitives import FUNCTIONS
from ..vecmath import FUNCTIONS as ELEMENTARY
from ..vecmath.wide import call_wide, is_wide
from .loop_hints import LANES, SCALAR, independent, innermost, short_rows
from .scalars import integer, scalar
from .vectors import EMIT, Vectors, along_lanes

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Row", "before", "elementary", "in_vectors", "is_row", "perhaps_short", "rows_of_vectors", "write"]

HALF = LANES // 2
DIVISIONS = 2
"""So many in a body are worth it, too: a scalar one takes half as long as four in a vector."""
OPERATIONS = 192
"""In a body, which is written for 16, 8 and one turn."""
PLAIN = 8
"""In a body of plain arithmetic, which is written for 16 and 12 turns, and once more for LLVM's vectors. Where there is
more to do, the ends of rows count less, and code for them takes long to compile."""
KERNEL = 640
"""Operations of a kernel whose loops of plain arithmetic are written so; larger ones take long to compile anyway."""
Number = Any  # an LLVM value


def rows_of_vectors(s: Lowering, loop: Op, low: Number, high: Number, whole: tuple[Number, Number]) -> bool:
    """Write the turns from `low` to `high` of a loop, out of the `whole`, as vectors, if they can be; whether they
    were."""
    if not suits(s, loop):
        return False
    b = s.b
    begin, end = low, high
    if loop.attrs.get("reverse"):  # in any order: forward, over the same elements
        last = b.add(b.sub(whole[1], integer(1), flags=("nsw",)), whole[0], flags=("nsw",))
        begin, end = b.add(b.sub(last, high, flags=("nsw",)), integer(1), flags=("nsw",)), b.sub(last, low)
        end = b.add(end, integer(1), flags=("nsw",))
    out = b.append_basic_block("endrow")
    if worth(loop):
        stretches(s, loop, begin, end, out)
        s.turns(loop, low, high, whole, [], SCALAR)
    else:
        short_row(s, loop, begin, end, out)
        s.turns(loop, low, high, whole, [], None)
    b.branch(out)
    b.position_at_end(out)
    return True


def stretches(s: Lowering, loop: Op, begin: Number, end: Number, out: Any) -> None:
    """Rows of 4 turns and more, which go to `out` then; others go on where the builder stands."""
    b = s.b
    count = b.sub(end, begin, flags=("nsw",))
    many, vectors, fewer, half, few = (b.append_basic_block(n) for n in ("many", "vectors", "fewer", "half", "few"))
    b.cbranch(b.icmp_signed(">=", count, integer(LANES)), many, fewer)
    b.position_at_end(many)
    b.branch(vectors)
    b.position_at_end(vectors)
    k = b.phi(begin.type)
    left = b.sub(end, k, flags=("nsw",))
    most = b.select(b.icmp_signed(">=", left, integer(3 * LANES)), integer(2 * LANES), b.sub(left, integer(LANES)))
    following = b.add(k, b.select(b.icmp_signed("<=", left, integer(2 * LANES)), left, most), flags=("nsw",))
    write(s, loop, [(k, LANES), (before(b, following, LANES), LANES)])
    s.hints.attach(b.cbranch(b.icmp_signed("<", following, end), vectors, out), None, None, few=True)
    k.add_incoming(begin, many)
    k.add_incoming(following, b.block)
    b.position_at_end(fewer)
    b.cbranch(b.icmp_signed(">=", count, integer(HALF)), half, few)
    b.position_at_end(half)
    write(s, loop, [(begin, HALF), (before(b, end, HALF), HALF)])
    b.branch(out)
    b.position_at_end(few)


def short_row(s: Lowering, loop: Op, begin: Number, end: Number, out: Any) -> None:
    """Rows of 8 to 16 turns, as `stretches`."""
    b = s.b
    count = b.sub(end, begin, flags=("nsw",))
    short, other = (b.append_basic_block(name) for name in ("short", "other"))
    b.cbranch(b.icmp_unsigned("<=", b.sub(count, integer(LANES)), integer(LANES)), short, other)
    b.position_at_end(short)
    with b.if_else(b.icmp_signed("<=", count, integer(LANES + HALF))) as (shorter, longer):
        for branch, width in ((shorter, HALF), (longer, LANES)):
            with branch:
                write(s, loop, [(begin, LANES), (before(b, end, width), width)])
    b.branch(out)
    b.position_at_end(other)


def before(b: Any, end: Number, width: int) -> Number:
    """Where the vector that ends there begins."""
    return b.sub(end, integer(width), flags=("nsw",))


def suits(s: Lowering, loop: Op) -> bool:
    if len(loop.regions[0].args) > 1 or not is_row(s, loop):
        return False
    return independent(loop, s.inputs) and all(in_vectors(s, loop, loop.regions[0].ops[:-1]))


def is_row(s: Lowering, loop: Op) -> bool:
    """Whether a loop is one over a row, and of a body that is worth more code."""
    body = loop.regions[0]
    if s.depth == 0 or len(body.ops) > OPERATIONS or not innermost(loop) or s.function.attrs.get("donated"):
        return False
    return worth(loop) or (s.size <= KERNEL and len(body.ops) <= PLAIN and perhaps_short(loop))


def in_vectors(s: Lowering, loop: Op, ops: Sequence[Op]) -> Iterator[bool]:
    """Of each operation, whether it can be written for vectors of turns."""
    body = loop.regions[0]
    index = body.args[0]
    varying = lane_dependent(body, {index})
    places = positions_alone(loop)
    for op in ops:
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *where = op.operands if op.name == "buffer.load" else op.operands[1:]
            along = along_lanes(s, buffer, where, index, varying)
            yield along or not (op.name == "buffer.store" or not varying.isdisjoint(where))
        elif varying.isdisjoint(op.operands):
            yield not (op.regions or op.name == "buffer.call")
        else:
            yield op in places or (op.name in EMIT and is_vector(op)) or elementary(op)


def worth(loop: Op) -> bool:
    """Whether a loop computes what takes much longer turn by turn."""
    return short_rows(loop) or sum(op.name in ("div", "sqrt") for op in loop.regions[0].ops) >= DIVISIONS


def perhaps_short(loop: Op) -> bool:
    """Whether a row may be of 8 to 16 turns, as far as is known; those of loops that were made shorter on purpose are
    what they are."""
    low, high = loop.operands[:2]
    if isinstance(low, Const) and isinstance(high, Const):
        return LANES <= int(high.value) - int(low.value) <= 2 * LANES
    return not loop.attrs.get("bounded") and any(op.name == "buffer.load" for op in loop.regions[0].ops)


def elementary(op: Op) -> bool:
    """Whether it is a function that `vecmath` has for vectors."""
    if len(op.operands) != 1 or len(op.results) != 1 or op.result.dtype is not F64 or op.operands[0].dtype is not F64:
        return False
    return FUNCTIONS.get(op.name) is ELEMENTARY.get(op.name, 0) and is_wide(op.name)


def positions_alone(loop: Op) -> set[Op]:
    """Sums of integers of which nothing but positions of elements is made."""
    out: set[Op] = set()
    users: dict[Value, list[tuple[Op, int]]] = {}
    for op in reversed(loop.regions[0].ops):
        if op.name in ("add", "sub", "mul", "neg") and op.result.dtype is I64:
            first = {"buffer.load": 1, "buffer.store": 2}
            if all(user in out or k >= first.get(user.name, k + 1) for user, k in users.get(op.result, ())):
                out.add(op)
        for k, operand in enumerate(op.operands):
            users.setdefault(operand, []).append((op, k))
    return out


def write(s: Lowering, loop: Op, vectors: Sequence[tuple[Number, int]], without: Collection[Op] = ()) -> list[Row]:
    """Vectors of turns, from where each begins and so many, side by side; `without` some operations."""
    if worth(loop):
        s.rows.add(loop)
    body = loop.regions[0]
    index = body.args[0]
    varying = lane_dependent(body, {index})
    places = positions_alone(loop)
    parts = [Row(s, index, start, width, varying) for start, width in vectors]
    for op in body.ops[:-1]:
        if op in without:
            continue
        if op.name != "buffer.store" and varying.isdisjoint(op.operands):
            s.operation(op)
        elif op not in places:
            for part in parts:
                part.operation(op)
    return parts


class Row(Vectors):
    """Turns from one that is known when the kernel runs."""

    def __init__(self, s: Lowering, index: Value, start: Number, width: int, varying: set[Value]) -> None:
        super().__init__(s, index, 0, width)
        self.start, self.varying = start, varying
        self.places: dict[Value, Number] = {index: start}

    def operation(self, op: Op) -> None:
        if op.name not in EMIT and op.name not in ("buffer.load", "buffer.store"):
            self.found[op.result] = call_wide(self.s.context, self.b, op.name, self.vector(op.operands[0]))
        else:
            super().operation(op)

    def vector(self, value: Value) -> Any:
        if value is not self.index or value in self.found:
            return super().vector(value)
        kind = self.type(value.dtype)
        first = self.repeat(self.start, kind)
        self.found[value] = self.b.add(first, ir.Constant(kind, list(range(self.width))))
        return self.found[value]

    def place(self, buffer: Value, where: list[Value]) -> Any:
        memory = self.s.memory(buffer)
        return self.as_vector(self.s.memories.place(memory, [self.number(p) for p in where]))

    def number(self, position: Value) -> Any:
        """A position in the first turn, from those of which it is a sum."""
        if position in self.places:
            return self.places[position]
        if position not in self.varying:
            return self.s.number(position)
        assert position.op is not None
        operands = [self.number(x) for x in position.op.operands]
        self.places[position] = scalar(self.s.context, self.b, position.op, operands)
        return self.places[position]
