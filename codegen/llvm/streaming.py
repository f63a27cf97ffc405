"""Copies to long tapes go past the caches.

In: a loop that copies a row of an array to a tape. Out: its code: where the tape is longer than what caches keep, a
call of a function that is added to the module once per type of elements; else the loop as it is.

    for %i in (%lo, %hi) {                               bytes of %tape >= STREAM and %hi - %lo >= LEAST
      %v: f64 = buffer.load %y, %i                         ? adjit.stream(&tape[%at + %lo], &y[%lo], %hi - %lo)
      %k: i64 = add %at, %i                        =>      : the loop
      buffer.store %v, %tape, %k
      yield
    }

A store to memory that is in no cache loads the cache line first, and pushes another one out. What a reverse sweep reads
when all the others have been written will not be in a cache by then, so whole lines are written with stores that do
neither (`nontemporal`; others at both ends). They are seen by other threads after the next operation of theirs that
waits for all stores, so not in parallel loops, whose last operation need not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Op
from ...ir.types import BOOL, I64, Scalar
from ..lower.loops import affine
from .numba_parts import cgutils
from .scalars import integer

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["streamed"]

STREAM = 1 << 24
"""Bytes of a tape: as far as a last cache keeps what is written until it is read, the others are faster."""
LEAST = 64
"""Elements of a row: with fewer, most lines are not written as a whole."""
LINE = 64
"""Bytes of a cache line."""
INTEGERS = frozenset({"add", "sub", "mul"})
Word = ir.IntType(64)


def streamed(low: Lowering, op: Op) -> bool:
    """Write the loop if it is such a copy."""
    found = copy_of(op)
    if low.inside or found is None:
        return False
    load, store = found
    source, tape = low.memory(load.operands[0]), low.memory(store.operands[1])
    if source.strides is not None or tape.strides is not None:
        return False
    b = low.b
    begin, end = low.number(op.operands[0]), low.number(op.operands[1])
    count = b.sub(end, begin)
    (room,) = tape.extents
    large = b.icmp_signed(">=", room, integer(STREAM // tape.type.dtype.itemsize))
    streams, loop, after = (b.append_basic_block(name) for name in ("stream", "copy", "copied"))
    b.cbranch(b.and_(large, b.icmp_signed(">=", count, integer(LEAST))), streams, loop)
    b.position_at_end(streams)
    low.numbers[op.regions[0].args[0]] = begin
    for inner in op.regions[0].ops:
        if inner.name in INTEGERS:
            low.operation(inner)
    places = [
        low.memories.place(memory, [low.number(v) for v in position])
        for memory, position in ((tape, store.operands[2:]), (source, load.operands[1:]))
    ]
    b.call(stream(b.module, places[0].type.pointee, tape.type.dtype.itemsize), [*places, count])
    b.branch(after)
    b.position_at_end(loop)
    low.serial_loop(op)
    b.branch(after)
    b.position_at_end(after)
    return True


def copy_of(op: Op) -> tuple[Op, Op] | None:
    """The load and the store of a loop that copies to a tape, one element after the other."""
    if len(op.operands) > 2 or op.attrs:
        return None
    index, body = op.regions[0].args[0], op.regions[0].ops[:-1]
    loads = [inner for inner in body if inner.name == "buffer.load"]
    stores = [inner for inner in body if inner.name == "buffer.store"]
    if len(loads) != 1 or len(stores) != 1 or stores[0].operands[0] is not loads[0].result:
        return None
    others = [inner for inner in body if inner not in (*loads, *stores)]
    if any(inner.name not in INTEGERS or inner.result.type != Scalar(I64) for inner in others):
        return None
    (load,), (store,) = loads, stores
    tape = store.operands[1]
    made = tape.op
    if made is None or made.name != "buffer.call" or made.attrs["kernel"] != "tape_reserve":
        return None
    if load.result.dtype is BOOL or not load.operands[1:]:
        return None
    inside = {index, *(v for inner in others for v in inner.results)}
    *rows, last = load.operands[1:]
    if any(inside & affine(row)[0].keys() for row in rows):
        return None
    for position in (last, store.operands[2]):
        terms = affine(position)[0]
        if terms.get(index) != 1 or len(inside & terms.keys()) > 1:
            return None
    return load, store


def stream(module: Any, kind: Any, itemsize: int) -> Any:
    """`void (to, from, count)`: copies elements."""
    name = f"adjit.stream.{kind}"
    if name in module.globals:
        return module.globals[name]
    pointer = kind.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer, pointer, Word]), name)
    function.linkage = "internal"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    to, origin, count = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    width = LINE // itemsize
    vector = ir.VectorType(kind, width)
    address = b.ptrtoint(to, Word)
    before = b.udiv(b.and_(b.neg(address), integer(LINE - 1)), integer(itemsize))
    before = b.select(b.icmp_signed("<", before, count), before, count)

    def one(index: Any) -> None:
        b.store(b.load(b.gep(origin, [index])), b.gep(to, [index]))

    with cgutils.for_range(b, before) as loop:
        one(loop.index)
    lines = b.sdiv(b.sub(count, before), integer(width))
    flag = module.add_metadata([ir.Constant(ir.IntType(32), 1)])
    with cgutils.for_range(b, lines) as loop:
        at = b.add(before, b.mul(loop.index, integer(width)))
        value = b.load(b.bitcast(b.gep(origin, [at]), vector.as_pointer()), align=itemsize)
        b.store(value, b.bitcast(b.gep(to, [at]), vector.as_pointer()), align=LINE).set_metadata("nontemporal", flag)
    after = b.add(before, b.mul(lines, integer(width)))
    with cgutils.for_range_slice(b, after, count, integer(1)) as (index, _):
        one(index)
    b.ret_void()
    return function
