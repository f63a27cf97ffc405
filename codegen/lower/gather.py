"""`assemble` as one loop nest over its result, with the interior of each row apart from its ends.

In: the `Scheduler` and an `assemble` (see `slice_sums`). Out: a nest in which each element is made of what its links
add, read from wherever that is: nothing is scattered, and no element is visited twice. With three links along one
axis that take the ranges `lo_k` to before `hi_k`:

    for %i in (L, H) {                        L: the largest lo_k, H: the smallest hi_k (at least L)
      store base[i] + v_1[i - lo_1] + v_2[i - lo_2] + v_3[i - lo_3]
    }
    if lo_1 == 0, lo_2 == 1, lo_3 == 2, hi_1 == n - 2, ... {
      store base[0] + v_1[0], base[1] + v_1[1] + v_2[0] and, at the other end, ...
    } else {
      for %i in (0, L) and in (H, n) {
        %a_1 = if lo_1 <= i < hi_1 { base[i] + v_1[i - lo_1] } else { base[i] }
        %a_2 = if lo_2 <= i < hi_2 { a_1 + v_2[i - lo_2] } else { a_1 }
        ...

The condition holds for arrays that are not tiny. Of more axes, the last one is treated so in every row for whose other
indices all links count; a row for which they do not is made by the last loop alone. So there are two bodies to compile,
however many axes there are. Nothing is read where a link does not reach: every read stands behind its condition.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...ir.core import Const, Op, Region, Value
from ...ir.types import I64, Scalar
from .hazards import may_overwrite
from .loops import difference
from .samples import Samples
from .scheduler import Scheduler
from .shapes import Term
from .slice_sums import Piece, common, margins, pieces_of

__all__ = ["assemble"]

ZERO, TWO = Const(0, I64), Const(2, I64)
Range = tuple[Value, Value]
Element = Callable[[list[Value]], Value]


@dataclass(frozen=True)
class Axis:
    """How the nest runs along an axis of the target.

    `kind` "at": not at all (every link takes position `lo`); "all": over its whole range `lo` to before `hi`, which
    every link takes; "ends": over the whole axis, `ranges` being those of the links and `lo` to before `hi` what they
    have in common.
    """

    kind: str
    extent: Value
    lo: Value
    hi: Value
    first: Value = ZERO
    final: Value = ZERO
    ranges: tuple[Range, ...] = ()
    cut: tuple[tuple[int, int], ...] = ()
    stop: Value = ZERO
    """`hi`, or less than `lo` where that is so: a loop over no turns either way."""


def assemble(s: Scheduler, op: Op) -> None:
    """The result takes the base's memory, where nothing reads that afterwards; then only what the links take is
    touched. Else, or where the values of the links read it too, it is made elsewhere, all of it."""
    base = op.operands[0]
    pieces = pieces_of(op)
    held = s.storage.buffer.get(base)
    dies = held is not None and s.storage.owns(base) and base not in s.live and held not in s.storage.foreign
    elsewhere = not dies
    if dies and held is not None:
        axes = [axis(s, op, pieces, k, False) for k in range(base.rank)]
        elsewhere = not safe(s, held, pieces, pieces, axes) and all_own(s, base, pieces)
    if op.attrs["whole"] and elsewhere:
        axes = [axis(s, op, pieces, k, True) for k in range(base.rank)]
        dest = s.storage.fresh(op.result.dtype, s.extents.of[op.result], op.result.name)
        Nest(s, lambda at: s.element(base, at), dest, pieces, axes, True).row_or_loop([])
    else:
        dest = s.writable(base)
        in_place(s, dest, pieces, [axis(s, op, pieces, k, False) for k in range(base.rank)])
    s.storage.place(op.result, dest)


def all_own(s: Scheduler, base: Value, pieces: Sequence[Piece]) -> bool:
    """Whether links take nearly all of the base, whatever other arrays are like."""
    for k, extent in enumerate(s.extents.of[base]):

        def own(dim: Value, extent: Term = extent) -> bool:
            return s.extents.equal(dim, extent)

        if any(margins(base, piece, k, Samples(own)) is None for piece in pieces):
            return False
    return True


def in_place(s: Scheduler, dest: Value, pieces: Sequence[Piece], axes: Sequence[Axis]) -> None:
    """The nest over what `dest` holds; values that would read what it has already overwritten are computed into memory
    before."""
    for piece in pieces:
        if piece.value.is_array and not safe(s, dest, [piece], pieces, axes):
            with s.temporary(piece.value):
                in_place(s, dest, pieces, axes)
            return
    Nest(s, lambda at: s.b.load(dest, at), dest, pieces, axes, False).row_or_loop([])


def safe(s: Scheduler, dest: Value, asked: Sequence[Piece], pieces: Sequence[Piece], axes: Sequence[Axis]) -> bool:
    """Whether the values of `asked` may be computed while `dest` is being written, in any order of turns."""
    loops = [Value(Scalar(I64)) for _ in axes]
    with s.b.scope(Region(loops), barrier=True):
        position = [a.lo if a.kind == "at" else i for a, i in zip(axes, loops)]
        reads = []
        for piece in asked:
            if piece.value.is_array:
                number = pieces.index(piece)
                found = s.reads_of(piece.value, source(s, piece, number, axes, position))
                reads += [where for value, where in found if s.storage.buffer[value] is dest]
    return may_overwrite(position, [i for i, a in zip(loops, axes) if a.kind != "at"], reads)


def axis(s: Scheduler, op: Op, pieces: Sequence[Piece], k: int, whole: bool) -> Axis:
    extent = s.storage.extents_of(op.operands[0])[k]
    first = pieces[0]
    same = all(p.spec[k] == first.spec[k] and p.parts[k] == first.parts[k] for p in pieces)
    if first.spec[k] == "i":
        at = s.get(first.parts[k][0])
        return Axis("at", extent, at, at)
    if same and (first.spec[k] == ":" or not whole):
        lo, hi = limits(s, first, k, extent)
        return Axis("all", extent, lo, hi)
    ranges = tuple(limits(s, p, k, extent) for p in pieces)
    lows, highs = (list(dict.fromkeys(ends)) for ends in zip(*ranges))
    lo = smaller(s, of_all(s, "maximum", lows), extent)
    stop = smaller(s, of_all(s, "minimum", highs), extent)
    hi = s.b.emit1("maximum", [stop, lo])
    begin: Value = ZERO
    end: Value = extent
    if not whole:
        begin = s.b.emit1("minimum", [of_all(s, "minimum", lows), extent])
        end = s.b.emit1("minimum", [of_all(s, "maximum", highs), extent])
    cut = tuple(of_piece[k] for of_piece in op.attrs["margins"])
    return Axis("ends", extent, lo, hi, begin, end, ranges, cut, stop)


def of_all(s: Scheduler, name: str, values: Sequence[Value]) -> Value:
    out = values[0]
    for x in values[1:]:
        out = s.b.emit1(name, [out, x])
    return out


def smaller(s: Scheduler, a: Value, extent: Value) -> Value:
    """The smaller of a value and an extent, which is at least 0."""
    terms, constant = difference(a, extent)
    if a == ZERO or (not terms and constant <= 0):
        return a
    return extent if not terms else s.b.emit1("minimum", [a, extent])


def limits(s: Scheduler, piece: Piece, k: int, extent: Value) -> Range:
    """Where a link begins and ends along an axis."""
    if piece.spec[k] == ":":
        return ZERO, extent
    start, length = s.get(piece.parts[k][0]), s.storage.known(piece.parts[k][1])
    return start, s.b.emit1("add", [start, length])


def source(s: Scheduler, piece: Piece, number: int, axes: Sequence[Axis], at: Sequence[Value]) -> list[Value]:
    """Where in a link's value the element is that goes to `at`."""
    out = []
    for letter, a, i in zip(piece.spec, axes, at):
        if letter != "i":
            lo = a.ranges[number][0] if a.kind == "ends" else a.lo
            out.append(s.b.emit1("sub", [i, lo]))
    return out


class Nest:
    """The loops of one `assemble`. `base`: gives an element of what the links add to; `whole`: `dest` holds nothing."""

    def __init__(
        self, s: Scheduler, base: Element, dest: Value, pieces: Sequence[Piece], axes: Sequence[Axis], whole: bool
    ) -> None:
        self.s = s
        self.b = s.b
        self.base = base
        self.dest = dest
        self.pieces = pieces
        self.axes = axes
        self.whole = whole
        self.last = max(k for k, a in enumerate(axes) if a.kind != "at")
        self.boxes = len({self.box(number, axes) for number in range(len(pieces))})
        self.holds, self.plan = self.make_plan()

    def row_or_loop(self, at: list[Value]) -> None:
        """The loops over the axes from `len(at)` on."""
        a = self.axes[len(at)]
        if len(at) == self.last:
            self.row(at)
        elif a.kind == "at":
            self.row_or_loop([*at, a.lo])
        else:

            def inner(index: Value, carried: list[Value]) -> list[Value]:
                self.row_or_loop([*at, index])
                return []

            lo, hi = (a.first, a.final) if a.kind == "ends" else (a.lo, a.hi)
            self.b.loop(lo, hi, [], inner)

    def row(self, at: list[Value]) -> None:
        """Everything along the last axis that is run through."""
        a = self.axes[self.last]
        after = [x.lo for x in self.axes[self.last + 1 :]]
        inside: Value | None = None  # whether all links take what the outer indices say; None: they always do
        for x, i in zip(self.axes, at):
            if x.kind == "ends":
                inside = self.both(inside, self.within(i, (x.lo, x.hi)))

        def interior() -> None:
            self.loop(at, after, a.lo, a.stop if a.kind == "ends" else a.hi, self.interior)

        def rest(lo: Value, hi: Value) -> None:
            if self.boxes == 1:  # no link takes what not every link takes
                self.loop(at, after, lo, hi, self.base)
            else:
                self.mixed(at, after, lo, hi)

        def ends() -> None:
            low, high = a.lo, a.hi
            if inside is not None:
                low = self.b.emit1("select", [inside, low, a.final])
                high = self.b.emit1("select", [inside, high, a.final])

            def side(number: Value, carried: list[Value]) -> list[Value]:
                first = self.b.emit1("eq", [number, ZERO])
                rest(self.b.emit1("select", [first, a.first, high]), self.b.emit1("select", [first, low, a.final]))
                return []

            self.b.loop(ZERO, TWO, [], side, short=True)

        if a.kind != "ends":
            if inside is None:
                interior()
            else:
                self.either(inside, interior, lambda: rest(a.lo, a.hi))
            return
        if inside is None and self.boxes == 1 and self.whole:
            interior()
            for low, high in ((a.first, a.lo), (a.hi, a.final)):
                if low != high:
                    self.loop(at, after, low, high, self.base, short=True)
            return
        # the ends come first: then what runs through the interior can be taken together with what reads it (`skewing`)
        self.either(self.both(inside, self.holds), lambda: self.planned(at, after), ends)
        if inside is None:
            interior()
        else:
            self.either(inside, interior, lambda: None)

    def planned(self, before: list[Value], after: list[Value]) -> None:
        """The ends of a row for which the plan holds."""
        for position, takers in self.plan:
            if not takers and not self.whole:
                continue
            number: Value = Const(position, I64)
            if position < 0:
                number = self.b.emit1("sub", [self.axes[self.last].extent, Const(-position, I64)])
            at = [*before, number, *after]
            total = self.base(at)
            for k in takers:
                total = self.add(total, k, at)
            self.b.store(total, self.dest, at)

    def either(self, condition: Value, one: Callable[[], None], other: Callable[[], None]) -> None:
        regions = [Region(), Region()]
        for region, emit in zip(regions, (one, other)):
            with self.b.scope(region, barrier=True):
                emit()
            region.ops.append(Op("yield", [], [], {}, (), self.b.span))
        self.b.emit("if", [condition], {}, regions)

    def loop(
        self,
        before: list[Value],
        after: list[Value],
        lo: Value,
        hi: Value,
        element: Element,
        short: bool = False,
    ) -> None:
        def turn(index: Value, carried: list[Value]) -> list[Value]:
            at = [*before, index, *after]
            self.b.store(element(at), self.dest, at)
            return []

        self.b.loop(lo, hi, [], turn, short=short)

    def both(self, a: Value | None, b: Value) -> Value:
        return b if a is None else self.b.emit1("logical_and", [a, b])

    def within(self, i: Value, where: Range) -> Value:
        return self.both(self.b.emit1("ge", [i, where[0]]), self.b.emit1("lt", [i, where[1]]))

    def make_plan(self) -> tuple[Value, list[tuple[int, list[int]]]]:
        """The positions at the ends of a row, those at the far end from -1 downwards, with the links that take them;
        and whether it is so: where the array is large enough, and what links leave out is what was foreseen."""
        a = self.axes[self.last]
        low, high = common(a.cut) if a.kind == "ends" else (0, 0)
        holds = self.b.emit1("ge", [a.extent, Const(low + high, I64)])
        for (lo, hi), (first, final) in dict.fromkeys(zip(a.ranges, a.cut)):
            end = self.b.emit1("sub", [a.extent, Const(final, I64)])
            holds = self.both(holds, self.b.emit1("eq", [lo, Const(first, I64)]))
            holds = self.both(holds, self.b.emit1("eq", [hi, end]))
        near = [(i, [k for k, (first, _) in enumerate(a.cut) if first <= i]) for i in range(low)]
        far = [(-i - 1, [k for k, (_, final) in enumerate(a.cut) if final <= i]) for i in range(high)]
        return holds, near + far

    # elements

    def add(self, total: Value, number: int, at: list[Value]) -> Value:
        """What is there after a link that takes the position."""
        piece = self.pieces[number]
        where = source(self.s, piece, number, self.axes, at) if piece.value.is_array else []
        new = self.s.element(piece.value, where)
        return new if piece.sets else self.b.emit1("add", [total, new])

    def interior(self, at: list[Value]) -> Value:
        """An element that every link takes."""
        first = max((k for k, p in enumerate(self.pieces) if p.sets), default=-1)
        total = self.base(at) if first < 0 else ZERO
        for number in range(max(first, 0), len(self.pieces)):
            total = self.add(total, number, at)
        return total

    def mixed(self, before: list[Value], after: list[Value], lo: Value, hi: Value) -> None:
        """A loop over elements that not every link takes."""
        rows: dict[tuple[Range, ...], Value | None] = {}
        for number in range(len(self.pieces)):
            rows[self.box(number, before)] = self.takes(number, before)

        def element(at: list[Value]) -> Value:
            total = self.base(at)
            number = 0
            while number < len(self.pieces):
                group = [number]
                while group[-1] + 1 < len(self.pieces) and self.box(group[-1] + 1, at) == self.box(number, at):
                    group.append(group[-1] + 1)
                total = self.conditional(total, group, at, rows[self.box(number, before)])
                number = group[-1] + 1
            return total

        self.loop(before, after, lo, hi, element, short=True)

    def box(self, number: int, at: Sequence[object]) -> tuple[Range, ...]:
        return tuple(a.ranges[number] for a, _ in zip(self.axes, at) if a.kind == "ends")

    def takes(self, number: int, at: list[Value]) -> Value | None:
        """Whether a link takes what the outer indices say."""
        out: Value | None = None
        for a, i in zip(self.axes, at):
            if a.kind == "ends":
                out = self.both(out, self.within(i, a.ranges[number]))
        return out

    def conditional(self, total: Value, group: Sequence[int], at: list[Value], row: Value | None) -> Value:
        """The element after links of one range. The condition is on the index of the innermost loop: one that is the
        same in all turns would have the loop copied for each outcome."""
        a = self.axes[self.last]
        lo, hi = a.ranges[group[0]] if a.kind == "ends" else (a.lo, a.hi)
        if row is not None:
            hi = self.b.emit1("select", [row, hi, lo])
        region, otherwise = Region(), Region()
        with self.b.scope(region, barrier=True):
            new = total
            for number in group:
                new = self.add(new, number, at)
        region.ops.append(Op("yield", [new], [], {}, (), self.b.span))
        otherwise.ops.append(Op("yield", [total], [], {}, (), self.b.span))
        condition = self.within(at[self.last], (lo, hi))
        return self.b.emit1("if", [condition], {}, regions=[region, otherwise], result_types=[total.type])
