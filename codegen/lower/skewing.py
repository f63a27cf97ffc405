"""Skewing: loops that follow one another over the same arrays take turns, a block of each at a time.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                          %blocks = (max(%n, %m + 1) + BLOCK - 1) / BLOCK
      %a: f64 = buffer.load %x, %i               for %b in (0, %blocks) {
      %f: f64 = exp %a                             for %i in (cut(%b, 0), cut(%b + 1, 0)) {
      buffer.store %f, %t, %i                        ... as before
      yield                                        }
    }                                      =>      for %j in (cut(%b, -1), cut(%b + 1, -1)) {
    for %j in (0, %m) {                              ... as before
      %k: i64 = add %j, 1                          }
      %p: f64 = buffer.load %t, %j                 yield
      %q: f64 = buffer.load %t, %k               }
      %r: f64 = mul %p, %q
      buffer.store %r, %z, %j                    cut(b, shift) = b * BLOCK + shift, within the loop's own range
      yield
    }

What a loop has written is in a cache when the next one reads it. A loop may run ahead of one before it as little as it
may wait for one after it: where turn `i` of the one and turn `j` of a later one touch the same element, and one of them
writes, `i` stays before `j`. If these are the turns with `i + a == j + b`, that is so wherever the shift of the later
loop is at most that of the earlier one plus `a - b`; so each loop is shifted by what those before it ask for, which for
loops over shifted slices is an element or two. Every element sees the same operations in the same order.

Loops over several axes take turns along the first one. What stands between the loops moves in front of them or behind
them; where it can do neither, the loops behind it are not among those that take turns with the ones before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, walk
from ...ir.types import I64, Buffer, Scalar
from .accesses import Access, Effects, apart, effects, moves_buffers, ordered
from .blocking import is_short, sum_of
from .contraction import Turns, Window, offset, windows
from .loops import affine, scaled, summed
from .private import Places
from .spans import at_least

__all__ = ["BYTES", "ROW_BYTES", "skew"]

BYTES = 32768
"""Of arrays, in a block of loops over one axis: about a first cache."""
ROW_BYTES = 131072
"""Of arrays, in a block of rows: part of a second cache."""
SMALLEST, LARGEST = 256, 4096
"""Turns in a block, over one axis."""
LOOPS = 32
"""More do not take turns with one another."""
ACCESSES = 128
"""In a loop; with more, what it reads and writes is not compared with that of others."""
FARTHEST = 64
"""The largest shift."""
ZERO, ONE = Const(0, I64), Const(1, I64)


def skew(function: Function) -> None:
    """Let loops take turns; not where the function writes to arrays of the caller (which may overlap, and are looked at
    where it fails half way), and not where loops are to be divided among threads. Two threads gain less than loops over
    one axis do that take turns in each step of a loop, so there these do."""
    threads = function.attrs.get("threads")
    if function.attrs.get("donated"):
        return
    if threads is None:
        region(function, function.body)
    elif threads in (1, 2):
        for op in list(walk(function.body)):
            for inner in op.regions if op.name in ("for", "while") else ():
                sweeps(function, inner)


def sweeps(function: Function, where: Region) -> None:
    """`region`, of loops over one axis."""
    if not any(op.regions and any(inner.name == "for" for inner in walk(op.regions[0])) for op in where.ops):
        region(function, where)


def region(function: Function, where: Region) -> None:
    groups = [Group()]
    for op in where.ops:
        if not groups[-1].take(op):
            groups.append(Group())
            groups[-1].take(op)
    # the last ones first: what they do not need of a buffer any more, earlier ones need not leave there
    for group in reversed(groups):
        group.finish(function, where)


@dataclass(eq=False)
class Member(Turns):
    """A loop of a group. `rows`: the extents of what one turn runs through, over inner axes."""

    rows: tuple[Value, ...] = ()


@dataclass
class Group:
    """Operations in their order; among them loops that can take turns, what goes before them and what after them."""

    ops: list[Op] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    before: list[Op] = field(default_factory=list)
    after: list[Op] = field(default_factory=list)
    passed: list[Effects] = field(default_factory=list)
    """What those of `after` do."""

    def take(self, op: Op) -> bool:
        """Whether an operation belongs to the group, which begins with a loop."""
        known = effects(op)
        member = candidate(op, known)
        if member is not None:
            if self.members and not self.joins(member):
                return False
            self.members.append(member)
        elif self.members:
            if op.name in ("return", "yield", "test") or (op.regions and op.name != "if"):
                return False
            if any(ordered(x, known) for x in self.passed) or any(ordered(m.effects, known) for m in self.members):
                self.after.append(op)
                self.passed.append(known)
            else:
                self.before.append(op)
        self.ops.append(op)
        return True

    def joins(self, member: Member) -> bool:
        if len(self.members) == LOOPS or any(ordered(x, member.effects) for x in self.passed):
            return False
        if not any(m.effects.roots & member.effects.roots for m in self.members):
            return False
        if any(len(m.rows) != len(member.rows) for m in self.members):
            return False
        shift = 0
        for earlier in self.members:
            for x in earlier.effects.accesses:
                for y in member.effects.accesses:
                    if x.root is not y.root or not (x.write or y.write):
                        continue
                    lead = distance(earlier, x, member, y)
                    if lead is not None:
                        shift = min(shift, earlier.shift + lead)
                    elif not apart(x, y, []):
                        return False
        member.shift = shift
        return shift >= -FARTHEST

    def finish(self, function: Function, where: Region) -> None:
        """Let the loops take turns, where there are several."""
        taking = len(self.members) > 1
        for op in self.ops:
            if not taking or not any(m.loop is op for m in self.members):
                for inner in op.regions:
                    region(function, inner)
        if taking:
            rest = self.ops[self.ops.index(self.members[0].loop) :]
            loops = taking_turns(function, where, self)
            begin, end = where.ops.index(rest[0]), where.ops.index(rest[-1]) + 1
            known = set(rest)
            made = [op for op in where.ops[begin:end] if op not in known]  # memory of windows
            where.ops[begin:end] = [*made, *self.before, *loops, *self.after]


def candidate(op: Op, known: Effects) -> Member | None:
    """A loop whose turns can be put off, as far as the loop itself says."""
    if op.name != "for" or len(op.operands) > 2 or op.attrs.get("reverse") or is_short(op) or known.checks:
        return None
    if not known.writes or len(known.accesses) > ACCESSES or moves_buffers(op.regions[0]):
        return None
    if any(inner.name == "while" for inner in walk(op.regions[0])):
        return None
    index = op.regions[0].args[0]
    if not all(x.position and any(index in affine(p)[0] for p in x.position) for x in known.accesses if x.write):
        return None  # as a loop over time, each of whose turns sweeps over arrays
    rows = inner_extents(op.regions[0], known.defines)
    return None if rows is None else Member(op, known, 0, rows)


def inner_extents(body: Region, inside: set[Value]) -> tuple[Value, ...] | None:
    """Extents of the loops in a loop's body, of the deepest and first; None where they change from turn to turn."""
    deepest: tuple[Value, ...] = ()
    for op in body.ops:
        found: tuple[Value, ...] | None
        if op.name == "for":
            found = inner_extents(op.regions[0], inside)
            if found is None or any(v in inside for v in op.operands[:2]):
                return None
            found = (op.operands[1], *found)
        else:
            found = ()
            for inner in op.regions:
                nested = inner_extents(inner, inside)
                if nested is None:
                    return None
                found = max(found, nested, key=len)
        deepest = max(deepest, found, key=len)
    return deepest


def distance(earlier: Member, x: Access, later: Member, y: Access) -> int | None:
    """The least that `a - b` can be, where turns `i` and `j` of two loops touch the same element only if
    `i + a == j + b`; None where that is not so."""
    if x.position is None or y.position is None or len(x.position) != len(y.position):
        return None
    changing = earlier.effects.defines | later.effects.defines
    found: float = -math.inf
    for p, q in zip(x.position, y.position, strict=True):
        a, b = offset(earlier.loop, p), offset(later.loop, q)
        if a is not None and b is not None:
            gap = summed(a, scaled(b, -1))
            if not gap[0].keys() & changing:
                found = max(found, at_least(gap))
    return int(found) if found > -math.inf else None


def taking_turns(function: Function, where: Region, group: Group) -> list[Op]:
    """The loop over blocks."""
    members = group.members
    span = members[0].loop.span
    new, visit = Region(), Region([number := Value(Scalar(I64))])
    with Builder(new, span) as b:
        base = extreme(b, "minimum", [(m.loop.operands[0], m.shift) for m in members])
        top = extreme(b, "maximum", [(m.loop.operands[1], m.shift) for m in members])
        size = block_size(b, members)
        turns = int(size.value) if isinstance(size, Const) else 0
        rest = Const(turns - 1, I64) if turns else size - ONE
        count = b.emit1("floordiv", [sum_of(top, base, -1) + rest, size])
        found: list[tuple[Window, Region, Value]] = []
        if turns:
            region_of = Places.of(function).region_of
            for window in windows(function, where, members, group.before, group.after, base):
                assert window.root.op is not None
                home = region_of[window.root.op]
                found.append((window, home, window.open(home, turns, base)))
    with Builder(visit, span) as b:
        begin = sum_of(number * size, base)
        end = begin + size
        cuts: dict[tuple[Value, Value, int], tuple[Value, Value]] = {}
        for window, _, buffer in found:
            window.enter(buffer, members, begin)
        for m in members:
            low, high = m.loop.operands
            key = (low, high, m.shift)
            if key not in cuts:
                cuts[key] = cut(b, begin, m.shift, low, high), cut(b, end, m.shift, low, high)
            m.loop.operands[:2] = cuts[key]
            b.region.ops.append(m.loop)
        for window, home, buffer in found:
            window.leave(home, b, buffer, number, base)
            window.move(b, buffer, turns)
        b.emit("yield", [])
    return [*new.ops, Op("for", [ZERO, count], [], {}, [visit], span)]


def extreme(b: Builder, name: str, ends: Sequence[tuple[Value, int]]) -> Value:
    """The smallest or largest of some ends of loops, each less its shift."""
    best: dict[tuple[tuple[Value, int], ...], tuple[int, Value, int]] = {}
    for end, shift in ends:
        terms, constant = affine(end)
        key = tuple(terms.items())
        number = constant - shift
        if key not in best or (number < best[key][0] if name == "minimum" else number > best[key][0]):
            best[key] = number, end, shift
    out: Value | None = None
    for key, (_, end, shift) in list(best.items()):  # without what another one is beyond anyway
        here = summed(affine(end), ({}, -shift))
        for other, (_, beyond, by) in best.items():
            gap = summed(here, scaled(summed(affine(beyond), ({}, -by)), -1))
            if other != key and at_least(gap if name == "minimum" else scaled(gap, -1)) >= 0:
                del best[key]
                break
    for key, (number, end, shift) in best.items():
        moved: Value = Const(number, I64)
        if key:
            moved = end - Const(shift, I64) if shift else end
        out = moved if out is None else b.emit1(name, [out, moved])
    assert out is not None
    return out


def cut(b: Builder, at: Value, shift: int, low: Value, high: Value) -> Value:
    """Where one part of a loop ends and another begins."""
    shifted = at + Const(shift, I64) if shift else at
    return b.emit1("minimum", [b.emit1("maximum", [shifted, low]), high])


def block_size(b: Builder, members: Sequence[Member]) -> Value:
    """How many turns of the loops a block has."""
    roots = {a.root for m in members for a in m.effects.accesses}
    width = sum(root.type.dtype.itemsize for root in roots if isinstance(root.type, Buffer))
    rows = max((m.rows for m in members), key=len)
    if not rows:
        turns = 1 << (BYTES // width).bit_length() - 1
        return Const(min(max(turns, SMALLEST), LARGEST), I64)
    elements = rows[0]
    for extent in rows[1:]:
        elements = elements * extent
    bytes_of_row = b.emit1("maximum", [elements * Const(width, I64), ONE])
    return b.emit1("maximum", [b.emit1("floordiv", [Const(ROW_BYTES, I64), bytes_of_row]), ONE])
