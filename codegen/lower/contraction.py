"""Contraction: an array that lives between loops that take turns becomes a window that moves along with them.

In: loops that are about to take turns block by block (`skewing`), and what stands in front of them. Out: the buffers
of which only a window is ever needed; and the operations that move it.

    %t: &f64[?] = buffer.alloc %n                %w: &f64[?] = buffer.alloc BLOCK + 1
    for %b in (0, %blocks) {                     for %b in (0, %blocks) {
      for %i in (...) {                            %o = %b * BLOCK - 1
        buffer.store %f, %t, %i            =>      for %i in (...) { buffer.store %f, %w, %i - %o }
        yield                                      for %j in (...) { ... = buffer.load %w, %j - 1 - %o, ... }
      }                                            %last: f64 = buffer.load %w, BLOCK
      for %j in (...) {                            buffer.store %last, %w, 0
        %k: i64 = sub %j, 1                        yield
        ... = buffer.load %t, %k, ...            }

What the loops write then never leaves the first cache. This is done where every element that they read has been written
by them before (or is one of a few that were written just in front of them), and where nobody reads what they leave.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...ir.core import Builder, Const, Function, Op, Region, Value
from ...ir.types import I64, Buffer
from .accesses import Access, Effects, Form
from .loops import affine, scaled, summed
from .private import Places, read_later, touches
from .spans import at_least, at_most

__all__ = ["Turns", "Window", "offset", "windows"]

ZERO = Const(0, I64)
HALO = 8
"""How many elements, at most, a window takes along to the next block."""


@dataclass(eq=False)
class Turns:
    """A loop that takes turns with others, and by how much it is shifted."""

    loop: Op
    effects: Effects
    shift: int


Placed = tuple[Turns, Access, Form]
"""An access, and how far from the index of its loop it is."""


@dataclass(eq=False)
class Window:
    """`buffer` holds, in a block that begins at `b`, the elements of `root` from `b + first` on; the last `halo` of
    them belong to the next block, too."""

    root: Value
    first: int
    halo: int
    accesses: set[Op]
    ahead: list[Op]
    """Stores to single elements, in front of the loops."""
    behind: list[Op]
    """Loads of single elements, behind the loops: of what the first block leaves."""

    def open(self, home: Region, block: int, base: Value) -> Value:
        """Its memory, for blocks of so many turns, allocated where `root` is; what stands in front of the loops writes
        to it."""
        buffer = self.allocate(home, block + self.halo)
        for op in self.ahead:
            op.operands[1:] = [buffer, self.number(op.operands[2], base)]
        return buffer

    def allocate(self, home: Region, extent: int) -> Value:
        made = self.root.op
        assert made is not None
        attrs = dict(made.attrs)
        alloc = Op("buffer.alloc", [Const(extent, I64)], [self.root.type], attrs, (), made.span, [self.root.name])
        home.ops.insert(home.ops.index(made), alloc)
        return alloc.result

    def number(self, position: Value, base: Value) -> Const:
        """The place in the window of a constant position, in the first block."""
        return Const(affine(position)[1] - affine(base)[1] - self.first, I64)

    def leave(self, home: Region, b: Builder, buffer: Value, block: Value, base: Value) -> None:
        """What is read behind the loops gets a place of its own, in the first block."""
        for op in self.behind:
            place = self.allocate(home, 1)
            kept, nothing = Region(), Region()
            with Builder(kept, op.span) as inside:
                value = inside.emit1("buffer.load", [buffer, self.number(op.operands[1], base)])
                inside.emit("buffer.store", [value, place, ZERO])
                inside.emit("yield", [])
            nothing.ops.append(Op("yield", [], [], {}, (), op.span))
            b.emit("if", [b.emit1("eq", [block, ZERO])], {}, [kept, nothing])
            op.operands[:] = [place, ZERO]

    def enter(self, buffer: Value, turns: Sequence[Turns], begin: Value) -> None:
        """Let the loops work on it, in the block that begins at `begin`."""
        origin = begin + Const(self.first, I64) if self.first else begin
        for t in turns:
            self.rebase(t.loop.regions[0], buffer, origin)

    def rebase(self, region: Region, buffer: Value, origin: Value) -> None:
        """Positions are counted from where the window begins."""
        out: list[Op] = []
        for op in region.ops:
            for inner in op.regions:
                self.rebase(inner, buffer, origin)
            if op in self.accesses:
                scratch = Region()
                with Builder(scratch, op.span) as b:
                    op.operands[-2:] = [buffer, b.emit1("sub", [op.operands[-1], origin])]
                out += scratch.ops
            out.append(op)
        region.ops[:] = out

    def move(self, b: Builder, buffer: Value, block: int) -> None:
        """What the next block needs goes to the front."""
        values = [b.emit1("buffer.load", [buffer, Const(block + k, I64)]) for k in range(self.halo)]
        for k, value in enumerate(values):
            b.emit("buffer.store", [value, buffer, Const(k, I64)])


def windows(
    function: Function, where: Region, turns: Sequence[Turns], before: Sequence[Op], behind: Sequence[Op], base: Value
) -> list[Window]:
    """The buffers to contract. `before`, `behind`: what the loops, in the region `where`, stand among, and where it
    goes; blocks begin at `base`, and no loop begins in front of the first one."""
    places = Places.of(function)
    found: list[Window] = []
    roots = dict.fromkeys(a.root for t in turns for a in t.effects.accesses if a.write)
    for root in roots:
        made = root.op
        if made is None or made.name != "buffer.alloc" or not isinstance(root.type, Buffer) or root.type.rank != 1:
            continue
        window = window_of(places, where, turns, before, behind, base, root)
        if window is not None:
            found.append(window)
    return found


def window_of(
    places: Places,
    where: Region,
    turns: Sequence[Turns],
    before: Sequence[Op],
    behind: Sequence[Op],
    base: Value,
    root: Value,
) -> Window | None:
    begin = where.ops.index(turns[0].loop)
    end = max(where.ops.index(op) for op in (*(t.loop for t in turns), *before, *behind)) + 1
    ahead = [op for op in before if touches(op, root)]
    while begin and (not touches(where.ops[begin - 1], root) or is_single(where.ops[begin - 1], root)):
        begin -= 1
        if touches(where.ops[begin], root):
            ahead.append(where.ops[begin])
    left = [op for op in behind if touches(op, root)]
    if not all(is_single(op, root) for op in ahead) or not all(is_pick(op, root) for op in left):
        return None
    placed: list[Placed] = []
    for t in turns:
        for access in t.effects.accesses:
            if access.root is root:
                form = offset_of(t, access)
                if form is None:
                    return None
                placed.append((t, access, form))
    lowest = min(t.shift + at_least(form) for t, _, form in placed)
    highest = max(t.shift + at_most(form) for t, _, form in placed)
    if math.isinf(lowest) or math.isinf(highest):
        return None
    first, halo = int(lowest), int(highest - lowest)
    stored = [affine(op.operands[2])[1] for op in ahead]
    picked = [affine(op.operands[1])[1] for op in left]
    if halo > HALO or ((stored or picked) and affine(base)[0]):
        return None
    if not all(0 <= at - affine(base)[1] - first <= HALO for at in (*stored, *picked)):
        return None
    if not written_before(turns, placed, stored) or not all(written_first(placed, root, at) for at in picked):
        return None
    if read_later(places, where, begin, end, root):
        return None
    return Window(root, first, halo, {access.op for _, access, _ in placed}, ahead, left)


def is_single(op: Op, root: Value) -> bool:
    """Whether an operation stores to one element, at a constant position."""
    return op.name == "buffer.store" and op.operands[1] is root and not affine(op.operands[2])[0]


def is_pick(op: Op, root: Value) -> bool:
    """Whether an operation loads one element, at a constant position."""
    return op.name == "buffer.load" and op.operands[0] is root and not affine(op.operands[1])[0]


def offset_of(t: Turns, access: Access) -> Form | None:
    """How far from the index of the loop an access is."""
    buffer = access.op.operands[1 if access.write else 0]
    if buffer is not access.root or access.op.name not in ("buffer.load", "buffer.store") or access.position is None:
        return None
    form = offset(t.loop, access.position[0])
    return form if form is not None and not form[0].keys() & t.effects.defines else None


def offset(loop: Op, position: Value) -> Form | None:
    """A position less the index of a loop, if it runs with it one by one."""
    index = loop.regions[0].args[0]
    terms, constant = affine(position)
    if terms.get(index) != 1:
        return None
    return {v: c for v, c in terms.items() if v is not index}, constant


def written_before(turns: Sequence[Turns], placed: Sequence[Placed], singles: Sequence[int]) -> bool:
    """Whether every element that a loop reads was written in front of the loops, or by all turns of an earlier one."""
    number = {t: k for k, t in enumerate(turns)}
    for t, access, offset in placed:
        if access.write:
            continue
        ranges = [turns for w, turns in written(placed) if number[w] < number[t]]
        ranges += [(({}, s), ({}, s + 1)) for s in singles]
        if not covered(moved(t.loop.operands[0], offset), moved(t.loop.operands[1], offset), ranges):
            return False
    return True


def moved(value: Value, by: Form) -> Form:
    return summed(affine(value), by)


def written_first(placed: Sequence[Placed], root: Value, at: int) -> bool:
    """Whether loops write the element `at`, by writing all from there to the end of the array: since somebody reads
    it, there is such an element."""
    assert root.op is not None
    return covered(({}, at), affine(root.op.operands[0]), [turns for _, turns in written(placed)])


def written(placed: Sequence[Placed]) -> Iterator[tuple[Turns, tuple[Form, Form]]]:
    """What loops write in all of their turns, from which element to which."""
    for t, access, offset in placed:
        if access.write and access.op in t.loop.regions[0].ops:
            yield t, (moved(t.loop.operands[0], offset), moved(t.loop.operands[1], offset))


def covered(low: Form, high: Form, ranges: list[tuple[Form, Form]]) -> bool:
    """Whether everything from `low` to before `high` is in one of some ranges (each of which may be empty)."""
    left = list(ranges)
    reached = low
    while not in_order(high, reached):
        following = next(
            (r for r in left if all(in_order(x, reached) or in_order(x, low) for x in largest(r[0]))), None
        )
        if following is None:
            return False
        left.remove(following)
        reached = following[1]
    return True


def largest(a: Form) -> list[Form]:
    """The forms whose maximum one is."""
    terms, constant = a
    if len(terms) == 1:
        ((value, factor),) = terms.items()
        if factor == 1 and value.op is not None and value.op.name == "maximum":
            return [part for x in value.op.operands for part in largest(moved(x, ({}, constant)))]
    return [a]


def in_order(a: Form, b: Form) -> bool:
    """Whether `a` is at most `b`, as far as is known."""
    return at_most(summed(a, scaled(b, -1))) <= 0
