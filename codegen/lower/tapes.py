"""Tapes in memory: a flat buffer and how much of it is used.

In: `tape.new`, `tape.push`, `tape.pop` of the array IR. Out: loads and stores. A tape value is two scheduled
values, data and length; both are carried through loops. Growth doubles the buffer (`tape_reserve`).

Where a loop with a known number of turns pushes (or pops) the same amount in every turn, the memory is reserved
ahead, once for a whole nest of loops, and the position follows from the loop index, so that nothing is carried and the
loop vectorizes:

    for i in range(n):                 t = tape_reserve(t, t_length, t_length + n)
        push v                         for i in range(n):
                                           t[t_length + i] = v

What is popped is read where it stands on the tape, unless the tape is pushed onto again while it is known:

    %r, %v: f64[?] = tape.pop %t, %n              %at = sub %t_length, %n
    %w: f64[?] = exp %v                    =>     for %k in (0, %n) {
                                                    %p = add %at, %k
                                                    %x: f64 = buffer.load %t, %p
                                                    ...

And what a library kernel computes in order to be pushed, it computes where it will stand on the tape, if the tape's
memory is reserved:

    %c: f64[?,?] = matmul %a, %b               %c: &f64[?,?] = buffer.view %t, %t_length, %n, %m
    %u: tape[f64[?,?]] = tape.push %t, %c =>   buffer.call %c, %a, %b {kernel="matmul"}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...ir.core import Const, Function, Op, Value, walk
from ...ir.types import I64, Array, Tape
from .reserving import grown
from .shapes import Term, term

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = [
    "TAPE_RULES",
    "Reserved",
    "element_of_row",
    "pushes_of_products",
    "room_for_branches",
    "row_for",
    "rows_in_place",
]

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
    has_room = tape in s.reserved
    if not has_room:
        ahead = s.room.ahead.get(op, {}).get(tape)
        has_room = ahead is not None
        data = room_until(s, tape, after if ahead is None else s.b.emit1("add", [length, Const(ahead, I64)]))
    if has_room and op.result not in s.room.ends:
        s.reserved.add(op.result)
    if s.rows.get(value) == (data, length):  # it was computed there
        s.tapes[op.result] = (data, after)
        return
    s.b.nest(
        extents,
        lambda at: s.b.store(s.element(value, at), data, [s.b.emit1("add", [length, linear(s, at, extents)])]),
    )
    s.tapes[op.result] = (data, after)


def room_until(s: Scheduler, tape: Value, end: Value) -> Value:
    """The data of a tape with memory up to a position. Other branches may still know the tape as it was."""
    data, length = s.tapes[tape]
    return s.b.emit1("buffer.call", [data, length, end], {"kernel": "tape_reserve"}, names=[data.name])


def room_for_branches(s: Scheduler, op: Op) -> dict[Value, tuple[Value, Value]]:
    """Before an `if`: reserve memory for what is pushed in and after it. What comes out has room where what it was has
    some, except for the last. Returns the tapes as they were, which they still are for branches next to this one."""
    before_it: dict[Value, tuple[Value, Value]] = {}
    for tape, amount in s.room.ahead.get(op, {}).items():
        if tape not in s.reserved:
            before_it[tape] = s.tapes[tape]
            length = s.tapes[tape][1]
            s.tapes[tape] = (room_until(s, tape, s.b.emit1("add", [length, Const(amount, I64)])), length)
            s.reserved.add(tape)
    for before, after, _ in grown(op):
        if before in s.reserved and after not in s.room.ends:
            s.reserved.add(after)
    return before_it


def pop(s: Scheduler, op: Op) -> None:
    rest, value = op.results
    data, length = s.tapes[op.operands[0]]
    extents = s.storage.extents_of(value) if value.is_array else []
    before = s.b.emit1("sub", [length, size_of(s, extents)])
    if op.operands[0] in s.reserved:
        s.reserved.add(rest)
    if value in s.in_place:
        view = s.b.emit1("buffer.view", [data, before, *extents], names=[value.name])
        s.storage.place(value, view)
        s.rows[value] = (data, before)
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


def rows_in_place(function: Function) -> set[Value]:
    """What is popped off tapes that are not pushed onto again while it is known: it can be read where it stands."""
    out: set[Value] = set()

    def region(ops: Sequence[Op]) -> None:
        pushed: set[Value] = set()  # tapes that are written to further down
        for op in reversed(ops):
            if op.name == "tape.push":
                pushed.add(op.operands[0])
            elif op.name == "tape.pop":
                if op.results[0] in pushed:
                    pushed.add(op.operands[0])
                elif op.results[1].is_array:
                    out.add(op.results[1])
            elif op.regions:
                inside = [x for inner in op.regions for x in walk(inner)]
                if any(r in pushed for r in op.results) or any(x.name == "tape.push" for x in inside):
                    pushed.update(v for x in (op, *inside) for v in x.operands if isinstance(v.type, Tape))
                # the body of a `while` sees what its condition defines
                for part in [op.regions] if op.name == "while" else [[r] for r in op.regions]:
                    region([x for inner in part for x in inner.ops])

    region(function.body.ops)
    return out


def pushes_of_products(function: Function) -> dict[Value, Value]:
    """Of products that are pushed by the region that computes them: onto which tape."""
    out: dict[Value, Value] = {}

    def region(ops: Sequence[Op]) -> None:
        products: set[Value] = set()
        for op in ops:
            if op.name == "matmul" and op.result.rank == 2:
                products.add(op.result)
            elif op.name == "tape.push" and op.operands[1] in products:
                out.setdefault(op.operands[1], op.operands[0])
            for inner in op.regions:
                region(inner.ops)

    region(function.body.ops)
    return out


def row_for(s: Scheduler, op: Op) -> Value | None:
    """The place on a tape that the result of an operation will be pushed to, where that is known already; it will not
    move as long as the result is known. Not where loops may be shared out to threads: what a library kernel writes to
    is not known by position, so that turns of a loop would seem to write to the same memory."""
    tape = s.pushed.get(op.result)
    if tape is None or tape not in s.reserved or tape not in s.tapes or "threads" in s.function.attrs:
        return None
    data, length = s.tapes[tape]
    view = s.b.emit1("buffer.view", [data, length, *s.storage.extents_of(op.result)], names=[op.result.name])
    s.rows[op.result] = (data, length)
    return view


def element_of_row(s: Scheduler, value: Value, at: Sequence[Value], depth: int) -> Value:
    """An element of what was popped and stands on its tape."""
    data, start = s.rows[value]
    position = s.b.emit1("add", [start, linear(s, at, s.storage.extents_of(value))])
    return s.b.load(data, [position], max(depth, s.b.depth_of([data, position])))


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


@dataclass(frozen=True)
class Growth:
    """By how many elements a turn of a loop makes a tape longer (`sign` 1) or shorter (-1): `size`, and `slope` times
    the number of the turn."""

    size: Value
    slope: Value | None
    sign: int


def added(s: Scheduler, a: Value | None, b: Value | None) -> Value | None:
    if a is None or b is None:
        return b if a is None else a
    return s.b.emit1("add", [a, b])


class Reserved:
    """The tapes of a `for` whose growth per turn is known at its start.

    Construction reserves their memory and replaces them as carried values; `enter` gives the block arguments their
    position in this turn, `after` the results theirs at the end.
    """

    def __init__(self, s: Scheduler, op: Op, lo: Value, hi: Value) -> None:
        self.s = s
        self.op = op
        self.slots: dict[int, tuple[Value, Value, Value, Growth]] = {}
        self.lo, self.hi = lo, hi
        self.block: int | None = op.attrs.get("block")
        rounded = op.operands[1].op
        if self.block is not None:
            if rounded is None or rounded.name != "floordiv":
                return
            # so many turns are in all blocks, the last of which may be shorter
            self.turns_in_all = s.b.emit1("sub", [s.get(rounded.operands[0]), Const(self.block - 1, I64)])
        body = op.regions[0]
        for slot, arg in enumerate(body.args[1:]):
            if isinstance(arg.type, Tape):
                found = self.growth(op, slot) if self.block is None else self.growth_of_block(slot)
                if found is not None:
                    self.reserve(slot, op.operands[2 + slot], found)

    def growth(self, loop: Op, slot: int) -> Growth | None:
        """How much longer a turn of a loop makes a tape, where that is linear in the turn. Loops inside count as well,
        if they run as often in every turn."""
        s, body = self.s, loop.regions[0]
        s.extents.keeps_shape(self.op)
        at, sign = body.args[1 + slot], 0
        total: Value = ZERO
        slope: Value | None = None
        for op in body.ops[:-1]:
            if at not in op.operands:
                continue
            if op.name == "for":
                found = self.growth_of_inner(op, op.operands.index(at) - 2)
                after = op.results[op.operands.index(at) - 2]
            elif op.name in ("tape.push", "tape.pop"):
                terms = (
                    (s.extents.of[op.operands[1]] if op.operands[1].is_array else [])
                    if op.name == "tape.push"
                    else [term(x) for x in op.operands[1:]]
                )
                found, after = self.size_in_turn(terms, body.args[0], self.sign(op)), op.results[0]
            else:
                return None
            if found is None or sign == -found.sign:
                return None
            sign, at = found.sign, after
            total = s.b.emit1("add", [total, found.size])
            slope = added(s, slope, found.slope)
        if sign == 0 or body.terminator.operands[slot] is not at:
            return None
        return Growth(total, slope, sign)

    def size_in_turn(self, terms: Sequence[Term], turn: Value, sign: int) -> Growth | None:
        """The size of an array of which at most one extent depends, and that linearly, on the turn of a loop."""
        emit = self.s.b.emit1
        size: Value = Const(1, I64)
        slope: Value | None = None
        for t in terms:
            extent = self.known_outside(t)
            found = Growth(extent, None, sign) if extent is not None else self.linear_in(t, turn)
            if found is None or (slope is not None and found.slope is not None):
                return None
            if slope is not None:
                slope = emit("mul", [slope, found.size])
            elif found.slope is not None:
                slope = emit("mul", [size, found.slope])
            size = emit("mul", [size, found.size])
        return Growth(size, slope, sign)

    def linear_in(self, t: Term, turn: Value) -> Growth | None:
        """An extent as a linear form of a loop's turn; the sign does not matter."""
        s = self.s
        if t is turn:
            return Growth(ZERO, Const(1, I64), 1)
        known = self.known_outside(t)
        if known is not None:
            return Growth(known, None, 1)
        op = t.op if isinstance(t, Value) else None
        if op is None or op.name not in ("add", "sub", "mul"):
            return None
        one, other = (self.linear_in(term(x), turn) for x in op.operands)
        if one is None or other is None:
            return None
        if op.name == "mul":
            if one.slope is not None and other.slope is not None:
                return None
            size = s.b.emit1("mul", [one.size, other.size])
            slopes = [(one.slope, other.size), (other.slope, one.size)]
            slope = next((s.b.emit1("mul", [a, b]) for a, b in slopes if a is not None), None)
            return Growth(size, slope, 1)
        size = s.b.emit1(op.name, [one.size, other.size])
        if other.slope is None:
            return Growth(size, one.slope, 1)
        mine = ZERO if one.slope is None else one.slope
        return Growth(size, s.b.emit1(op.name, [mine, other.slope]), 1)

    def known_outside(self, t: Term) -> Value | None:
        """An extent of something in the loop, from values that are known before it."""
        found = self.s.storage.extent(t)
        op = t.op if isinstance(t, Value) else None
        if found is not None or op is None:
            return found
        if op.name == "dim":
            return self.known_outside(self.s.extents.of[op.operands[0]][op.attrs["axis"]])
        if op.name in ("add", "sub", "mul", "minimum", "maximum"):
            operands = [self.known_outside(term(x)) for x in op.operands]
            if all(x is not None for x in operands):
                return self.s.b.emit1(op.name, [x for x in operands if x is not None])
        return None

    def growth_of_block(self, slot: int) -> Growth | None:
        """Of a loop over blocks of turns (`panels`): the growth per turn, where one loop over the turns of a block is
        all that uses a tape."""
        body = self.op.regions[0]
        arg = body.args[1 + slot]
        users = [op for op in body.ops if arg in op.operands]
        if len(users) != 1 or users[0].name != "for" or users[0].operands[2:].count(arg) != 1:
            return None
        at = users[0].operands.index(arg) - 2
        found = self.growth(users[0], at) if body.terminator.operands[slot] is users[0].results[at] else None
        return None if found is None or found.slope is not None else found

    def growth_of_inner(self, loop: Op, slot: int) -> Growth | None:
        """By how much all turns of a loop in the body make a tape longer, where that is known outside already."""
        s = self.s
        bounds = [v if isinstance(v, Const) else s.scalars.get(v) for v in loop.operands[:2]]
        found = self.growth(loop, slot) if slot >= 0 and loop.operands.count(loop.operands[2 + slot]) == 1 else None
        lo, hi = bounds
        if found is None or lo is None or hi is None:
            return None
        return Growth(self.sum_over(found, lo, self.turns(lo, hi)), None, found.sign)

    def sum_over(self, growth: Growth, first: Value, count: Value) -> Value:
        """The growth of so many turns, from the first on."""
        emit = self.s.b.emit1
        total = emit("mul", [count, growth.size])
        if growth.slope is None:
            return total
        # count (2 first + count - 1) is even: of the first and the last factor, one is
        ends = emit("sub", [emit("add", [emit("mul", [Const(2, I64), first]), count]), Const(1, I64)])
        turns = emit("floordiv", [emit("mul", [count, ends]), Const(2, I64)])
        return emit("add", [total, emit("mul", [growth.slope, turns])])

    def turns(self, lo: Value, hi: Value) -> Value:
        turns = self.s.b.emit1("sub", [hi, lo])
        if isinstance(lo, Const) and lo.value == 0 and self.is_extent(hi):
            return turns
        return self.s.b.emit1("maximum", [turns, ZERO])

    @staticmethod
    def sign(op: Op) -> int:
        return 1 if op.name == "tape.push" else -1

    def reserve(self, slot: int, init: Value, growth: Growth) -> None:
        s, sign = self.s, growth.sign
        data, length = s.tapes[init]
        turns = self.turns(self.lo, self.hi) if self.block is None else self.turns(ZERO, self.turns_in_all)
        amount = self.sum_over(growth, self.lo, turns)
        end = s.b.emit1("add" if sign > 0 else "sub", [length, amount])
        if sign > 0 and init not in s.reserved:
            data = s.b.emit1("buffer.call", [data, length, end], {"kernel": "tape_reserve"}, names=[data.name])
        self.slots[slot] = (data, length, end, growth)

    def is_extent(self, value: Value) -> bool:
        """Whether a value cannot be negative: it is the extent of something."""
        return isinstance(value, Const) or (value.op is not None and value.op.name == "buffer.dim")

    def kept(self) -> list[int]:
        """The numbers of the carried values that stay carried."""
        return [k for k in range(len(self.op.operands) - 2) if k not in self.slots]

    def enter(self, index: Value) -> None:
        s = self.s
        for slot, (data, length, _, growth) in self.slots.items():
            arg = self.op.regions[0].args[1 + slot]
            first = self.lo
            if self.block is not None:
                done = self.done_before(index, self.block)
            elif self.op.attrs.get("reverse"):
                done = s.b.emit1("sub", [s.b.emit1("sub", [self.hi, Const(1, I64)]), index])
                first = s.b.emit1("add", [index, Const(1, I64)]) if growth.slope is not None else first
            else:
                done = s.b.emit1("sub", [index, self.lo])
            moved = self.sum_over(growth, first, done)
            s.tapes[arg] = (data, s.b.emit1("add" if growth.sign > 0 else "sub", [length, moved]))
            s.reserved.add(arg)

    def done_before(self, index: Value, size: int) -> Value:
        """How many turns are in the blocks before this one."""
        emit, length = self.s.b.emit1, Const(size, I64)
        if not self.op.attrs.get("reverse"):
            return emit("mul", [index, length])
        end = emit("mul", [emit("add", [index, Const(1, I64)]), length])
        return emit("sub", [self.turns_in_all, emit("minimum", [end, self.turns_in_all])])

    def after(self) -> None:
        for slot, (data, _, end, _) in self.slots.items():
            result = self.op.results[slot]
            self.s.tapes[result] = (data, end)
            if self.op.operands[2 + slot] in self.s.reserved:
                self.s.reserved.add(result)
