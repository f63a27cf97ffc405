"""Tapes in memory: a flat buffer and how much of it is used.

In: `tape.new`, `tape.push`, `tape.pop` of the array IR. Out: loads and stores. A tape value is two scheduled
values, data and length; both are carried through loops. Growth doubles the buffer (`tape_reserve`).

Where a loop with a known number of turns pushes (or pops) the same amount in every turn, the memory is reserved
ahead and the position follows from the loop index, so that nothing is carried and the loop vectorizes:

    for i in range(n):                 t = tape_reserve(t, t_length, t_length + n)
        push v                         for i in range(n):
                                           t[t_length + i] = v

An array that is popped is not copied out of the tape but read where it is, as often as it is needed, if nothing is
pushed where it was as long as it may be needed (`read_in_place`):

    rest, a = pop t                    before = t_length - n
    use a[i]                           use t[before + i]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ...ir.core import Const, Function, Op, Region, Value
from ...ir.ops.declare import lookup
from ...ir.types import I64, Array, Tape
from .fusion import REDUCTIONS
from .shapes import term

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["TAPE_RULES", "Reserved", "popped_element", "read_in_place"]

ZERO = Const(0, I64)


def new(s: Scheduler, op: Op) -> None:
    assert isinstance(op.result.type, Tape)
    dtype = op.result.type.element.dtype
    name = op.result.name or "tape"
    data = s.b.emit1("buffer.alloc", [ZERO], {"dtype": dtype}, names=[name])
    s.tapes[op.result] = (data, ZERO)


def size_of(s: Scheduler, extents: Sequence[Value]) -> Value:
    size: Value = Const(1, I64)
    for n in extents:
        size = s.b.emit1("mul", [size, n])
    return size


def linear(s: Scheduler, at: Sequence[Value], extents: Sequence[Value]) -> Value:
    """The position of an element in C order."""
    out: Value = ZERO
    for k, n in zip(at, extents):
        out = s.b.emit1("add", [s.b.emit1("mul", [out, n]), k])
    return out


def push(s: Scheduler, op: Op) -> None:
    tape, value = op.operands
    data, length = s.tapes[tape]
    extents = s.storage.extents_of(value) if value.is_array else []
    after = s.b.emit1("add", [length, size_of(s, extents)])
    if tape not in s.reserved:
        attrs = {"kernel": "tape_reserve"}
        data = s.b.emit1("buffer.call", [data, length, after], attrs, names=[data.name])
    else:
        s.reserved.add(op.result)
    s.b.nest(
        extents,
        lambda at: s.b.store(s.element(value, at), data, [s.b.emit1("add", [length, linear(s, at, extents)])]),
    )
    s.tapes[op.result] = (data, after)


def pop(s: Scheduler, op: Op) -> None:
    rest, value = op.results
    data, length = s.tapes[op.operands[0]]
    extents = s.storage.extents_of(value) if value.is_array else []
    before = s.b.emit1("sub", [length, size_of(s, extents)])
    if op.operands[0] in s.reserved:
        s.reserved.add(rest)
    if value in s.read_in_place:
        s.taped[value] = (data, before, extents)
    elif value.is_array:
        assert isinstance(value.type, Array)
        dest = s.storage.fresh(value.type.dtype, s.extents.of[value], value.name)

        def body(at: list[Value]) -> None:
            s.b.store(s.b.load(data, [s.b.emit1("add", [before, linear(s, at, extents)])]), dest, at)

        s.b.nest(extents, body)
        s.storage.place(value, dest)
    else:
        loaded = s.b.load(data, [before])
        loaded.name = value.name
        s.scalars[value] = loaded
    s.tapes[rest] = (data, before)


def read(s: Scheduler, op: Op) -> None:
    """`tape.read %t, %i`: entry number i, from the bottom."""
    tape, i = op.operands
    data, _ = s.tapes[tape]
    if op.result.is_array:
        raise NotImplementedError("tape.read of arrays")
    loaded = s.b.load(data, [s.get(i)])
    loaded.name = op.result.name
    s.scalars[op.result] = loaded


TAPE_RULES: dict[str, Callable[[Any, Op], None]] = {
    "tape.new": new,
    "tape.push": push,
    "tape.pop": pop,
    "tape.read": read,
}


BY_ELEMENT = frozenset(("update", "accumulate", "scatter", "scatter_add"))  # their operands but the first


def read_in_place(function: Function) -> set[Value]:
    """The popped arrays that stay where they are on the tape: what is left of it is only popped from and yielded in the
    region in which they were popped. In loops further in nothing needs them in memory of their own, or each turn would
    copy them."""
    out: set[Value] = set()
    home: dict[Value, Region] = {}
    regions = [function.body]
    for region in regions:
        consumer: dict[Value, Op | None] = {}
        for op in region.ops:
            regions += op.regions
            for k, value in enumerate(op.operands):
                if isinstance(value.type, Tape):
                    consumer[value] = op if value not in consumer else None
                elif value in home and home[value] is not region and not reads_elements(op, k):
                    out.discard(value)
        for op in region.ops:
            if op.name == "tape.pop" and op.results[1].is_array:
                home[op.results[1]] = region
                if stays(op.results[0], consumer, region.ops[-1]):
                    out.add(op.results[1])
    return out


def stays(tape: Value, consumer: dict[Value, Op | None], terminator: Op) -> bool:
    """Whether nothing is pushed on what is left of a tape before the region ends."""
    while tape in consumer:
        user = consumer[tape]
        if user is terminator:
            return True
        if user is None or user.name != "tape.pop":
            return False
        tape = user.results[0]
    return True


def reads_elements(op: Op, k: int) -> bool:
    """Whether an operation reads its operand number `k` element by element, wherever that is."""
    definition = lookup(op.name)
    by_element = definition.element is not None or definition.category == "elementwise" or op.name in REDUCTIONS
    return by_element or (op.name in BY_ELEMENT and k > 0)


def popped_element(s: Scheduler, value: Value, index: Sequence[Value], depth: int) -> Value:
    """An element of an array that is read on the tape, at `depth` or as far out as the tape is known."""
    data, before, extents = s.taped[value]
    depth = max(depth, s.b.depth_of([data, before, *extents]))
    with s.b.at_depth(depth):
        where = s.b.emit1("add", [before, linear(s, index, extents)])
    return s.b.load(data, [where], depth)


class Reserved:
    """The tapes of a `for` whose growth per turn is known at its start.

    Construction reserves their memory and replaces them as carried values; `enter` gives the block arguments their
    position in this turn, `after` the results theirs at the end.
    """

    def __init__(self, s: Scheduler, op: Op, lo: Value, hi: Value) -> None:
        self.s = s
        self.op = op
        self.slots: dict[int, tuple[Value, Value, Value, int]] = {}
        self.lo, self.hi = lo, hi
        body = op.regions[0]
        for slot, arg in enumerate(body.args[1:]):
            if isinstance(arg.type, Tape):
                found = self.growth(slot, arg)
                if found is not None:
                    self.reserve(slot, op.operands[2 + slot], *found)

    def growth(self, slot: int, arg: Value) -> tuple[Value, int] | None:
        """(elements per turn, +1 for pushes or -1 for pops), where every turn does the same."""
        s, body = self.s, self.op.regions[0]
        s.extents.keeps_shape(self.op)
        at, sign = arg, 0
        total: Value = ZERO
        for op in body.ops[:-1]:
            if at not in op.operands:
                continue
            if op.name not in ("tape.push", "tape.pop") or sign == -self.sign(op):
                return None
            sign = self.sign(op)
            terms = (
                (s.extents.of[op.operands[1]] if op.operands[1].is_array else [])
                if sign > 0
                else [term(x) for x in op.operands[1:]]
            )
            size: Value = Const(1, I64)
            for t in terms:
                n = s.storage.extent(t)
                if n is None:
                    return None
                size = s.b.emit1("mul", [size, n])
            total = s.b.emit1("add", [total, size])
            at = op.results[0]
        if sign == 0 or body.terminator.operands[slot] is not at:
            return None
        return total, sign

    @staticmethod
    def sign(op: Op) -> int:
        return 1 if op.name == "tape.push" else -1

    def reserve(self, slot: int, init: Value, per_turn: Value, sign: int) -> None:
        s = self.s
        data, length = s.tapes[init]
        turns = s.b.emit1("sub", [self.hi, self.lo])
        if not (isinstance(self.lo, Const) and self.lo.value == 0 and self.is_extent(self.hi)):
            turns = s.b.emit1("maximum", [turns, ZERO])
        amount = s.b.emit1("mul", [turns, per_turn])
        end = s.b.emit1("add" if sign > 0 else "sub", [length, amount])
        if sign > 0:
            data = s.b.emit1("buffer.call", [data, length, end], {"kernel": "tape_reserve"}, names=[data.name])
        self.slots[slot] = (data, length, end, sign)
        self.per_turn = {**getattr(self, "per_turn", {}), slot: per_turn}

    def is_extent(self, value: Value) -> bool:
        """Whether a value cannot be negative: it is the extent of something."""
        return isinstance(value, Const) or (value.op is not None and value.op.name == "buffer.dim")

    def kept(self) -> list[int]:
        """The numbers of the carried values that stay carried."""
        return [k for k in range(len(self.op.operands) - 2) if k not in self.slots]

    def enter(self, index: Value) -> None:
        s = self.s
        for slot, (data, length, _, sign) in self.slots.items():
            arg = self.op.regions[0].args[1 + slot]
            if self.op.attrs.get("reverse"):
                done = s.b.emit1("sub", [s.b.emit1("sub", [self.hi, Const(1, I64)]), index])
            else:
                done = s.b.emit1("sub", [index, self.lo])
            moved = s.b.emit1("mul", [done, self.per_turn[slot]])
            s.tapes[arg] = (data, s.b.emit1("add" if sign > 0 else "sub", [length, moved]))
            s.reserved.add(arg)

    def after(self) -> None:
        for slot, (data, _, end, _) in self.slots.items():
            self.s.tapes[self.op.results[slot]] = (data, end)
