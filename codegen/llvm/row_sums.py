"""Sums and extremes of short rows as two vectors.

In: an innermost `for` of the scheduled IR, inside another loop, that carries sums in any order, largest or smallest
values, and how to write it in general. Out: besides, code for rows of 8 to 16 turns:

    %s, %m = for %k in (0, %n) (%a = 0.0, %b = -inf) {      x, y = u[0 : 8], u[n-8 : n]
      %x: f64 = buffer.load %u, %i, %k                      s = sum of x + (y where it is not in x)
      %c: f64 = add_any_order %a, %x                  =>    m = largest of maximum(x, y)
      %d: f64 = maximum %b, %x
      yield %c, %d
    }

LLVM's vectors begin where there are more turns than that, or take one turn after the other for what is left over; a sum
then waits for each of its additions. What the turns write, they write as in `row_vectors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Op
from ...ir.ops.declare import lookup
from ..lower.accesses import effects
from ..lower.lanes import is_vector
from .loop_hints import LANES, independent
from .row_vectors import HALF, KERNEL, Row, before, in_vectors, is_row, perhaps_short, write
from .scalars import integer, scalar
from .vectors import EMIT

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["short_row"]

TWICE_IS_ONCE = frozenset({"maximum", "minimum"})
"""Of these, elements may count twice."""
OPERATIONS = 32
"""In a body with elementary functions, which is written for 16 and 12 turns."""
I32 = ir.IntType(32)
Number = Any  # an LLVM value
Carried = list[list[Number]]


def short_row(
    s: Lowering, loop: Op, low: Number, high: Number, starts: Sequence[Sequence[Number]], general: Callable[[], Carried]
) -> Carried:
    """Write the loop for short rows, if it can be, and as `general` does; the registers that it carries, afterwards."""
    found = combined(loop)
    if not found or not suits(s, loop, found):
        return general()
    b = s.b
    count = b.sub(high, low, flags=("nsw",))
    short, other, out = (b.append_basic_block(name) for name in ("short", "other", "endrow"))
    b.cbranch(b.icmp_unsigned("<=", b.sub(count, integer(LANES)), integer(LANES)), short, other)
    ends: list[tuple[Carried, Any]] = []
    b.position_at_end(short)
    blocks = [b.append_basic_block(name) for name in ("shorter", "longer")]
    b.cbranch(b.icmp_signed("<=", count, integer(LANES + HALF)), *blocks)
    for block, width in zip(blocks, (HALF, LANES), strict=True):
        b.position_at_end(block)
        second = before(b, high, width)
        parts = write(s, loop, [(low, LANES), (second, width)], found)
        shared = b.sub(b.add(low, integer(LANES), flags=("nsw",)), second, flags=("nsw",))
        values = [total(s, op, parts, arg, shared) for op, arg in zip(found, loop.regions[0].args[1:], strict=True)]
        after = [[scalar(s.context, b, op, [*start, v])] for op, start, v in zip(found, starts, values, strict=True)]
        ends.append((after, b.block))
        b.branch(out)
    b.position_at_end(other)
    ends.append((general(), b.block))
    b.branch(out)
    b.position_at_end(out)
    merged: Carried = []
    for k, parts_of in enumerate(starts):
        merged.append([b.phi(part.type) for part in parts_of])
        for values_of, block in ends:
            for phi, part in zip(merged[-1], values_of[k], strict=True):
                phi.add_incoming(part, block)
    return merged


def combined(loop: Op) -> list[Op]:
    """What adds to each value that the loop carries, or takes the larger one, and does nothing else with it; none where
    one is of another kind."""
    body = loop.regions[0]
    out = []
    for arg, value in zip(body.args[1:], body.terminator.operands, strict=True):
        op = value.op
        if op is None or op not in body.ops or not (op.name == "add_any_order" or op.name in TWICE_IS_ONCE):
            return []
        if not op.result.dtype.is_float or list(op.operands).count(arg) != 1 or not is_vector(op):
            return []
        if sum(list(other.operands).count(v) for other in body.ops for v in (arg, value)) != 2:
            return []
        out.append(op)
    return out


def suits(s: Lowering, loop: Op, found: Sequence[Op]) -> bool:
    body = loop.regions[0]
    if s.size > KERNEL or loop.attrs.get("reverse") or len(body.ops) > OPERATIONS:
        return False
    if not is_row(s, loop) or not perhaps_short(loop):
        return False
    rest = [op for op in body.ops[:-1] if op not in found]
    if any(lookup(op.name).effect and op.name not in ("buffer.load", "buffer.store") for op in rest):
        return False
    if effects(loop).writes and not independent(loop, s.inputs):
        return False
    return all(in_vectors(s, loop, rest))


def total(s: Lowering, op: Op, parts: Sequence[Row], arg: Any, shared: Number) -> Number:
    """Of what two vectors of turns give, of which the second one begins with so many turns of the first."""
    b = s.b
    (term,) = (v for v in op.operands if v is not arg)
    first, second = (part.vector(term) for part in parts)
    if op.name not in TWICE_IS_ONCE:
        width = second.type.count
        numbers = parts[1].repeat(shared, ir.VectorType(ir.IntType(64), width))
        lanes = ir.Constant(numbers.type, list(range(width)))
        second = b.select(b.icmp_signed(">=", lanes, numbers), second, ir.Constant(second.type, [0.0] * width))
    vector = first
    if first.type.count > second.type.count:
        vector = EMIT[op.name](parts[0], op, halves(b, first))
    vector = EMIT[op.name](parts[0], op, [vector, second])
    while vector.type.count > 2:
        vector = EMIT[op.name](parts[0], op, halves(b, vector))
    return scalar(s.context, b, op, [b.extract_element(vector, I32(k)) for k in range(2)])


def halves(b: Any, vector: Any) -> list[Any]:
    width = vector.type.count // 2
    nothing = ir.Constant(vector.type, ir.Undefined)
    kind = ir.VectorType(I32, width)
    return [
        b.shuffle_vector(vector, nothing, ir.Constant(kind, list(range(first, first + width)))) for first in (0, width)
    ]
