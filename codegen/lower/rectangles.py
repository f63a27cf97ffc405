"""Blocks of pairs, swept by rows: what `triangles` makes of a loop that it has found.

In: a loop, in parts (`Found`), and the operation of the function's body that it is in. Out: the operations that come in
its place, as the docstring of `triangles` shows them; rows of memory are made in front of that operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Scalar
from .accesses import Access
from .blocking import sum_of
from .columns import ONE, ZERO
from .crossing import Nest
from .loops import affine
from .rows_first import over

__all__ = ["BLOCK", "LEAST", "Building", "Found"]

BLOCK = 8
"""Turns of the outer loop: a multiple of how many rows are swept at once."""
LEAST = 16
"""Turns of a loop that is cut in blocks."""
TERMS = 4096
"""Of a sum in any order, several of which are added up first."""


@dataclass
class Found:
    """A loop, in parts. `side`: -1, where %k stays below %j, 1 above, 0 where both run through a rectangle; `saved`:
    numbers of a turn that its pairs need; `again`: what is computed again for a pair; `starts`: checks, and what is
    computed for what the sums start from; `accumulators`: elements that are the same for all pairs of a %k, with the
    loads and stores of each; `any_order`: additions of cotangents, whose order nobody wrote, with their loads and
    stores; `width`: of the rows of memory."""

    nest: Nest
    before: list[Op]
    after: list[Op]
    accesses: list[Access]
    part: dict[Op, int]
    side: int = 0
    saved: list[Value] = field(default_factory=list)
    again: list[Op] = field(default_factory=list)
    starts: list[Op] = field(default_factory=list)
    accumulators: list[list[Access]] = field(default_factory=list)
    any_order: set[Op] = field(default_factory=set)
    varying: set[Value] = field(default_factory=set)
    width: Value | None = None

    @property
    def pulls(self) -> bool:
        """Whether turns carry sums through their pairs."""
        return bool(self.nest.inner.results)

    @property
    def down(self) -> bool:
        """Whether the last turns come first."""
        return bool(self.nest.outer.attrs.get("reverse"))

    @property
    def early(self) -> bool:
        """Whether pairs come before the turn that they belong to, else behind it."""
        return self.side != 0 and self.down != (self.side < 0)

    @property
    def body(self) -> list[Op]:
        """A pair."""
        return self.nest.inner.regions[0].ops[:-1]


class Building:
    """Makes the loops that come in place of one. `kept`: rows of memory, by the number of which a row has those of all
    turns; `wide`: whether the loop is cut; `sweeps`: the loops over rows."""

    def __init__(self, function: Function, top: Op, found: Found) -> None:
        self.function = function
        self.top = top
        self.found = found
        self.loop, self.pairs = found.nest.outer, found.nest.inner
        self.kept: dict[Value, Value] = {}
        self.wide: Value = ZERO
        self.sweeps: list[Op] = []

    def operations(self) -> list[Op]:
        found, loop = self.found, self.loop
        lo, hi = loop.operands[:2]
        assert found.width is not None
        ops = self.function.body.ops
        with Builder(Region(), self.top.span) as outside:
            numbers = found.nest.inner.results if found.pulls else found.saved
            for value in numbers:
                size = outside.emit1("maximum", [found.width, ONE])
                attrs = {"dtype": value.dtype}
                self.kept[value] = outside.emit1("buffer.alloc", [size], attrs, names=[value.name])
        at = ops.index(self.top)
        ops[at:at] = outside.region.ops
        with Builder(Region(), loop.span) as b:
            if found.side == 0:
                self.rectangle(lo, hi)
            else:
                self.triangle(lo, hi)
                self.pairs.attrs["plain"] = True  # of a block, or of few turns
        return b.region.ops

    def decide(self, first: Value, last: Value) -> Value:
        """Whether it is worth while to cut the loop; returns how many turns of it there are."""
        b = builder()
        found = self.found
        lo, hi = self.loop.operands[:2]
        extent = b.emit1("maximum", [sum_of(last, first, -1), ZERO])
        wide = b.emit1("ge", [extent, Const(LEAST, I64)])
        if self.kept:
            assert found.width is not None
            wide = b.emit1("logical_and", [wide, b.emit1("le", [hi, found.width])])
            if not (isinstance(lo, Const) and lo.value >= 0):
                wide = b.emit1("logical_and", [wide, b.emit1("ge", [lo, ZERO])])
        if any(op.name in ("add_any_order", "mul_any_order") for op in self.pairs.regions[0].ops):
            wide = b.emit1("logical_and", [wide, b.emit1("le", [extent, Const(TERMS, I64)])])
        self.wide = wide
        return extent

    def rectangle(self, lo: Value, hi: Value) -> None:
        """All pairs come behind the loop."""
        b = builder()
        low, high = self.pairs.operands[:2]
        self.decide(lo, hi)
        self.keep()
        self.pairs.operands[1] = b.emit1("select", [self.wide, low, high])
        b.region.ops.append(self.loop)
        self.sweep((low, high), (lo, hi))

    def triangle(self, lo: Value, hi: Value) -> None:
        found = self.found
        b = builder()
        low, high = self.pairs.operands[:2]
        below = found.side < 0
        first, last = (either("minimum", low, lo), hi) if below else (lo, either("maximum", high, hi))
        extent = self.decide(first, last)
        size = b.emit1("select", [self.wide, Const(BLOCK, I64), extent])
        several = b.emit1("floordiv", [extent + Const(BLOCK - 1, I64), Const(BLOCK, I64)])
        blocks = b.emit1("select", [self.wide, several, b.emit1("minimum", [extent, ONE])])
        if found.starts or found.pulls:
            self.start(lo, hi)
        visit = Region([Value(Scalar(I64))])
        with Builder(visit, self.loop.span) as inside:
            # blocks begin where all are whole that have pairs with turns of others
            number = blocks - ONE - visit.args[0] if below == found.down else visit.args[0]
            if below:
                begin = sum_of(number * size, first)
                end = inside.emit1("minimum", [begin + size, last])
                whole = begin + Const(BLOCK, I64)
            else:
                end = last - number * size
                begin = inside.emit1("maximum", [end - size, first])
                whole = end - Const(BLOCK, I64)
            self.loop.operands[:2] = clipped(begin, lo, first, "maximum"), clipped(end, hi, last, "minimum")
            if below:
                rows = clipped(begin, low, first, "maximum"), end
                columns = clipped(end, lo, first, "maximum"), hi
                self.pairs.operands[0] = rows[0]
                rows = rows[0], whole
            else:
                rows = begin, clipped(end, high, last, "minimum")
                columns = lo, clipped(begin, hi, last, "minimum")
                self.pairs.operands[1] = rows[1]
                rows = whole, rows[1]
            if found.early:
                self.go_on_from_rows()
                inside.region.ops.append(self.loop)
                self.sweep(rows, columns)
            else:
                self.keep()
                self.sweep(rows, columns)
                inside.region.ops.append(self.loop)
            inside.emit("yield", [])
        b.region.ops.append(Op("for", [ZERO, blocks], [], {}, [visit], self.loop.span))

    def place(self, j: Value) -> Value:
        return builder().emit1("select", [self.wide, j, ZERO])

    def keep(self) -> None:
        """Let each turn of the loop keep what its pairs need."""
        if not self.kept:
            return
        with Builder(Region(), self.pairs.span) as b:
            at = self.place(self.found.nest.j)
            for value, row in self.kept.items():
                b.emit("buffer.store", [value, row, at])
        self.insert(b.region.ops)

    def insert(self, ops: list[Op]) -> None:
        body = self.loop.regions[0].ops
        at = body.index(self.pairs)
        body[at:at] = ops

    def start(self, lo: Value, hi: Value) -> None:
        """The checks of all turns, which come before what they say is there is read, and what the sums start from."""
        j = Value(Scalar(I64), self.found.nest.j.name)
        env: Env = {self.found.nest.j: j}
        with over(j, (lo, builder().emit1("select", [self.wide, hi, lo])), self.loop) as b:
            b.region.ops += [copy_op(op, env) for op in self.found.starts]
            if self.found.pulls:
                for row, start in zip(self.kept.values(), mapped(self.pairs.operands[2:], env), strict=True):
                    b.emit("buffer.store", [start, row, j])

    def go_on_from_rows(self) -> None:
        """Let the sums of each turn start from the rows."""
        if not self.kept:
            return
        with Builder(Region(), self.pairs.span) as b:
            at = self.place(self.found.nest.j)
            for k, row in enumerate(self.kept.values()):
                so_far = b.emit1("buffer.load", [row, at])
                self.pairs.operands[2 + k] = b.emit1("select", [self.wide, so_far, self.pairs.operands[2 + k]])
        self.insert(b.region.ops)

    def sweep(self, rows: tuple[Value, Value], columns: tuple[Value, Value]) -> None:
        """A rectangle of pairs, row by row, if there are any."""
        nothing = Region()
        with Builder(nothing, self.loop.span) as b:
            b.emit("yield", [])
        some = builder().emit1("logical_and", [self.wide, builder().emit1("lt", list(columns))])
        with Builder(Region(), self.loop.span) as b:
            self.rectangle_of(rows, columns)
            b.emit("yield", [])
        builder().region.ops.append(Op("if", [some], [], {}, [b.region, nothing], self.loop.span))

    def rectangle_of(self, rows: tuple[Value, Value], columns: tuple[Value, Value]) -> None:
        """A rectangle of pairs, row by row."""
        found, around = self.found, builder()
        body = self.pairs.regions[0]
        j, k = (Value(Scalar(I64), v.name) for v in (found.nest.j, found.nest.k))
        env: Env = {found.nest.k: k}
        carried = {access.op: n for n, group in enumerate(found.accumulators) for access in group}
        places = [place_of(group[0].op) for group in found.accumulators]
        with over(k, rows, self.pairs) as outside:
            self.sweeps += [op for op in around.region.ops if op.regions and op.regions[0] is outside.region]
            outside.region.ops += [copy_op(op, env) for op in found.body if self.same_in_all(op)]
            starts = [outside.emit1("buffer.load", mapped(place, env)) for place in places]
            args = [Value(v.type) for v in starts]
            inner = Region([j, *args])
            env[found.nest.j] = j
            with Builder(inner, self.pairs.span) as b:
                inner.ops += [copy_op(op, env) for op in found.again]
                for value in found.saved:
                    env[value] = b.emit1("buffer.load", [self.kept[value], j])
                if found.pulls:
                    for arg, row in zip(body.args[1:], self.kept.values(), strict=True):
                        env[arg] = b.emit1("buffer.load", [row, j])
                self.pair(carried, args, env)
                if found.pulls:
                    for value, row in zip(mapped(body.terminator.operands, env), self.kept.values(), strict=True):
                        b.emit("buffer.store", [value, row, j])
                b.emit("yield", args)
            attrs = {} if found.pulls else dict(self.loop.attrs)
            if carried and all(op in found.any_order for op in carried):
                attrs = {"bounded": True}  # vectors of sums, from the first column on
                for end in args:
                    assert end.op is not None
                    end.op.name = "add_any_order"
            made = Op("for", [*columns, *starts], [v.type for v in starts], attrs, [inner], self.pairs.span)
            outside.region.ops.append(made)
            for total, place in zip(made.results, places, strict=True):
                outside.emit("buffer.store", [total, *mapped(place, env)])

    def pair(self, carried: dict[Op, int], now: list[Value], env: Env) -> None:
        """What differs from %j to %j in a pair; accumulators, which are not memory meanwhile, are `now`."""
        b = builder()
        for op in self.found.body:
            if op not in carried:
                if not self.same_in_all(op):
                    b.region.ops.append(copy_op(op, env))
            elif op.name == "buffer.load":
                env[op.result] = now[carried[op]]
            else:
                (now[carried[op]],) = mapped(op.operands[:1], env)

    def same_in_all(self, op: Op) -> bool:
        """Whether an operation of a pair gives the same for all %j."""
        return op.name != "buffer.store" and self.found.varying.isdisjoint((*op.operands, *op.results))


def place_of(op: Op) -> Sequence[Value]:
    """The buffer and the position of a load or store."""
    return op.operands[0 if op.name == "buffer.load" else 1 :]


def either(name: str, x: Value, y: Value) -> Value:
    """The smaller or the larger one of two ends, which mostly are one."""
    return y if affine(x) == affine(y) else builder().emit1(name, [x, y])


def clipped(value: Value, end: Value, known: Value, name: str) -> Value:
    """A place in a range that has the end `known`, where it may not be beyond `end`."""
    return value if affine(end) == affine(known) else builder().emit1(name, [value, end])
