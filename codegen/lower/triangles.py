"""Triangles by rows: loops down the columns of a triangle become sweeps over rows, block by block.

In: a scheduled function, changed in place. Out: nothing.

    for %j in reverse(0, %n) {                  for %e, %b of blocks of `BLOCK` turns, the last ones first {
      %c = ...                                    for %k in (%b, %e) {
      for %k in (0, %j) {                           %s = buffer.load %y, %k
        %y[%k] += %c * %a[%k, %j]                   for %j in reverse(%e, %n) (%s) {
        %d[%k, %j] += %c * %x[%k]                     %s += %cs[%j] * %a[%k, %j]
      }                                     =>        %d[%k, %j] += %cs[%j] * %x[%k]
      ...                                           }
    }                                               buffer.store %s, %y, %k
                                                  }
                                                  for %j in reverse(%b, %e) {
                                                    %c = ...;  buffer.store %c, %cs, %j
                                                    for %k in (%b, %j) { as before }
                                                    ...
                                                  }
                                                }

A turn of the outer loop, %j, and one of the inner loop, %k, are a *pair*. A turn needs what pairs of turns before it
have left, so the loops cannot change places; but a pair is needed, or can be computed, only in turn %k. A pair that
*pushes* (its loop writes to memory) waits until just before the block that turn %k is in. One that *pulls* (its loop
carries a sum, and writes nothing) comes right behind the block of turn %k, and is added to a row of memory from which
the sum of turn %j starts. All these pairs of a block make a rectangle, which is swept row by row, several rows at a
time (`jam`). What is left of the loop is a small triangle for each block, in the order in which it was.
The same with %k in (%j + 1, %n), the other way round; and where %k is in the same range in all turns, all pairs that
push wait until the loop is over.

Few turns, seen at run time, are one block, which is the loop as it was.

For that, what a pair passes on its way must not touch what it touches (`crossing`): the rest of the turns between, and
pairs of other %k. Pairs of the same %k, which may add to the same element, keep their order; so every element sees the
same operations in the same order. No array of the caller's is written. Sums in any order have at most `TERMS` terms, so
that they are accurate when they are added up one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Buffer, Scalar
from .accesses import CHECKS, Access, Form, effects, form
from .blocking import sum_of
from .columns import ONE, ZERO
from .crossing import Nest, Point, apart, at_least
from .jam import runs_with, turns
from .lanes import is_arithmetic
from .loops import affine, difference
from .rows_first import Finder, over

__all__ = ["sweep_triangles"]

BLOCK = 8
TERMS = 4096
"""Of a sum in any order, several of which are added up first."""
LEAST = 16
"""Turns of a loop that is cut in blocks."""
OPERATIONS = 64
"""In a turn of the outer loop."""
PAIR = 14
"""In a turn of the inner loop: they are written five times more."""
SAVED = 4
"""Numbers that the pairs of a turn share, which are kept in rows of memory."""


def sweep_triangles(function: Function, few: Iterable[Op] = ()) -> tuple[set[Op], set[Op]]:
    """See the module's docstring. `few`: loops of which few turns are left over; returns them and new ones, and the
    loops over rows of which several can be visited at once."""
    triangles = Triangles(function, set(few))
    for top in list(function.body.ops):
        if top.regions:
            triangles.top = top
            triangles.operation(function.body, top, [])
    return triangles.left_over, triangles.independent


@dataclass
class Accumulator:
    """An element that is the same for all pairs of a %k: read once and written once by each."""

    load: Op
    store: Op


@dataclass
class Found:
    """A loop, in parts. `side`: -1, where %k stays below %j, 1 above, 0 where both run through a rectangle;
    `saved`: numbers of a turn that its pairs need; `again`: positions that are computed again for a pair; `starts`:
    checks, and what is computed for what the sums start from; `width`: of the rows of memory."""

    nest: Nest
    before: list[Op]
    after: list[Op]
    side: int
    accesses: list[Access]
    saved: list[Value] = field(default_factory=list)
    again: list[Op] = field(default_factory=list)
    starts: list[Op] = field(default_factory=list)
    accumulators: list[Accumulator] = field(default_factory=list)
    varying: set[Value] = field(default_factory=set)
    width: Value | None = None

    @property
    def pulls(self) -> bool:
        return bool(self.nest.inner.results)

    @property
    def down(self) -> bool:
        """Whether the last turns come first."""
        return bool(self.nest.outer.attrs.get("reverse"))


class Triangles:
    def __init__(self, function: Function, left_over: set[Op]) -> None:
        self.function = function
        self.left_over = left_over
        self.independent: set[Op] = set()
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        layouts = function.attrs["layouts"]
        self.strided = {a for a, layout in zip(function.args, layouts, strict=True) if layout in ("A", "F")}
        self.top: Op = function.body.ops[0]

    def operation(self, region: Region, op: Op, around: list[Op]) -> None:
        if op.attrs.get("lanes"):
            return
        found = self.found(op, around) if op.name == "for" and op not in self.left_over else None
        if found is not None:
            made = Building(self, found).operations()
            at = region.ops.index(op)
            region.ops[at : at + 1] = made
            self.left_over.add(op)
            return
        deeper = [*around, op] if op.name == "for" else around
        for inner in op.regions:
            for nested in list(inner.ops):
                self.operation(inner, nested, deeper)

    # which loops

    def found(self, loop: Op, around: list[Op]) -> Found | None:
        ops = loop.regions[0].ops
        inner = [op for op in ops if op.regions]
        if len(inner) != 1 or len(loop.operands) > 2 or not loop.attrs.keys() <= {"reverse"} or turns(loop) < LEAST:
            return None
        (pairs,) = inner
        if not Finder.is_simple(pairs) or sum(1 for _ in walk(loop.regions[0])) > OPERATIONS:
            return None
        at = ops.index(pairs)
        found = Found(Nest(around, loop, pairs), ops[:at], ops[at + 1 : -1], 0, effects(loop).accesses)
        for op in (*found.before, *found.after):
            if op.name not in ("buffer.load", "buffer.store", *CHECKS) and not is_arithmetic(op):
                return None
        if any(a.position is None for a in found.accesses) or {a.root for a in found.accesses if a.write} & (
            self.arguments
        ):
            return None
        side = self.side(found)
        if side is None or not self.needed(found) or not self.by_rows(found):
            return None
        found.side = side
        if not (self.pulled(found) if found.pulls else self.pushed(found)) or not self.crosses_nothing(found):
            return None
        found.width = self.width(found)
        return found if found.width is not None else None

    @staticmethod
    def side(found: Found) -> int | None:
        """On which side of %j the inner loop is; None where that is neither, or its pairs cannot move."""
        loop, pairs = found.nest.outer, found.nest.inner
        changing = effects(loop).defines
        low, high = (difference(v, found.nest.j) for v in pairs.operands[:2])
        ends = [not any(v in changing for v in affine(v)[0]) for v in pairs.operands[:2]]
        if all(ends):
            return None if found.pulls else 0
        forward = found.down == found.pulls
        if ends[0] and not high[0] and high[1] in (0, 1) and not forward:
            return -1
        if ends[1] and not low[0] and low[1] in (0, 1) and forward:
            return 1
        return None

    def needed(self, found: Found) -> bool:
        """Find what pairs need of their turn; whether it can be kept or computed again."""
        inside = {v: op for op in found.before for v in op.results}
        work = [v for op in found.nest.inner.regions[0].ops for v in op.operands if v in inside]
        again: set[Op] = set()
        while work:
            value = work.pop()
            op = inside[value]
            if value.dtype.is_float and not found.pulls:
                found.saved += [value] if value not in found.saved else []
            elif value.dtype is I64 and op.name != "buffer.load" and is_arithmetic(op):
                again.add(op)
                work += [v for v in op.operands if v in inside]
            else:
                return False
        found.again = [op for op in found.before if op in again]
        return len(found.saved) <= SAVED

    def by_rows(self, found: Found) -> bool:
        """Whether pairs go down columns, and do not along rows; finds what differs from %j to %j."""
        j, k = found.nest.j, found.nest.k
        body = found.nest.inner.regions[0]
        found.varying = {j, *found.saved, *(v for op in found.again for v in op.results), *body.args[1:]}
        columns = False
        for op in body.ops[:-1]:
            if not found.varying.isdisjoint(op.operands):
                found.varying.update(op.results)
            if op.name not in ("buffer.load", "buffer.store"):
                continue
            first = 1 if op.name == "buffer.load" else 2
            forms = [affine(v)[0] for v in op.operands[first:]]
            if op.operands[first - 1] in self.strided:
                return False
            if not any(v in found.varying for terms in forms for v in terms):
                continue
            *others, last = forms
            if last.get(j) != 1 or k in last or any(v in found.varying for v in last if v is not j):
                return False
            if any(v in found.varying for terms in others for v in terms):
                return False
            columns |= any(k in terms for terms in others)
        return columns

    # whether pairs may be moved

    def pulled(self, found: Found) -> bool:
        """Whether sums can be computed in parts, each before the turn that they are needed in."""
        pairs = found.nest.inner
        body = pairs.regions[0]
        if any(op.name == "buffer.store" for op in body.ops):
            return False
        in_order = bool(pairs.attrs.get("reverse")) == found.down
        for arg, end in zip(body.args[1:], body.terminator.operands, strict=True):
            summed = end.op is not None and end.op in body.ops and end.op.name == "add_any_order"
            if not in_order and not (summed and sum(v is arg for op in body.ops for v in op.operands) == 1):
                return False
        checks = [op for op in (*found.before, *found.after) if op.name in CHECKS]
        tested = self.computing(found, [v for op in checks for v in op.operands])
        if any(op.name == "buffer.load" for op in tested):
            return False
        wanted = {*checks, *tested, *self.computing(found, pairs.operands[2:])}
        found.starts = [op for op in (*found.before, *found.after) if op in wanted]
        nest, other = found.nest, found.nest.another()
        here = Point(nest.j)
        early = [a for a in found.accesses if a.op in wanted]
        for x in early:
            for y in found.accesses:
                if not y.write or y.root is not x.root:
                    continue
                if y.op in found.before and found.before.index(y.op) < found.before.index(x.op):
                    return False
                sooner = at_least(form(other.j, {}), form(here.j, {}), 1)
                if not found.down:
                    sooner = at_least(form(here.j, {}), form(other.j, {}), 1)
                if not apart(nest, x, here, y, other, [*nest.known(here, other), sooner]):
                    return False
        return True

    @staticmethod
    def computing(found: Found, values: list[Value]) -> set[Op]:
        """The operations of a turn that values come from."""
        inside = {v: op for op in (*found.before, *found.after) for v in op.results}
        out: set[Op] = set()
        work = [*values]
        while work:
            op = inside.get(work.pop())
            if op is not None and op not in out:
                out.add(op)
                work += op.operands
        return out

    def pushed(self, found: Found) -> bool:
        """Whether pairs of different %k can change places; finds their accumulators."""
        nest = found.nest
        j, k = nest.j, nest.k
        body = nest.inner.regions[0]
        mine = [a for a in found.accesses if a.op in body.ops]
        written = {a.root for a in mine if a.write}
        changing = effects(nest.outer).defines
        one, two = Point(j, k), nest.another(k=True)
        assert two.k is not None
        known = nest.known(one, two)
        ways = [at_least(form(k, {}), form(two.k, {}), 1), at_least(form(two.k, {}), form(k, {}), 1)]
        kept = found.side == 0 or bool(nest.inner.attrs.get("reverse")) == found.down
        for x in mine:
            for y in mine:
                if x.root is not y.root or not (x.write or y.write) or runs_with(x, y, k, changing):
                    continue
                if kept and runs_with(x, y, j, changing):
                    continue  # in one turn of the outer loop, whose inner loop keeps its order
                if not all(apart(nest, x, one, y, two, [*known, way]) for way in ways):
                    return False
        fixed = [a for a in mine if a.root in written and not any(v in found.varying for v in self.terms(a))]
        for store in (a for a in fixed if a.write):
            loads = [a for a in fixed if not a.write and a.root is store.root and same(a, store)]
            if len(loads) != 1 or body.ops.index(loads[0].op) > body.ops.index(store.op):
                return False
            found.accumulators.append(Accumulator(loads[0].op, store.op))
            same_k = Point(two.j, k)
            for y in mine:
                if y.root is store.root and y.op not in (loads[0].op, store.op):
                    if not apart(nest, store, one, y, same_k, nest.known(one, same_k)):
                        return False
        found.varying.update(a.load.result for a in found.accumulators)
        for op in body.ops[:-1]:
            if not found.varying.isdisjoint(op.operands):
                found.varying.update(op.results)
        carried = {op for a in found.accumulators for op in (a.load, a.store)}
        return all(a.op in carried for a in fixed) and not self.needs_neighbours(found, mine)

    @staticmethod
    def needs_neighbours(found: Found, mine: list[Access]) -> bool:
        """Whether pairs of a %k read what others of it write: down a column, many such chains go side by side."""
        nest = found.nest
        here, there = Point(nest.j, nest.k), Point(nest.another().j, nest.k)
        known = nest.known(here, there)
        carried = {op for a in found.accumulators for op in (a.load, a.store)}
        return any(
            not (same(x, y) or apart(nest, x, here, y, there, known))
            for x in mine
            for y in mine
            if x.root is y.root and x.write and x.op not in carried and y.op not in carried
        )

    @staticmethod
    def terms(access: Access) -> list[Value]:
        return [v for p in access.position or () for v in affine(p)[0]]

    @staticmethod
    def crosses_nothing(found: Found) -> bool:
        """Whether the rest of the turns that a pair is moved across touches nothing that the pair does, as far as one
        of them writes."""
        nest = found.nest
        body = nest.inner.regions[0]
        pair, other = Point(nest.j, nest.k), nest.another()
        j, k, m = (form(v, {}) for v in (nest.j, nest.k, other.j))
        known = nest.known(pair, other)
        for x in (a for a in found.accesses if a.op in body.ops):
            for y in found.accesses:
                if y.op in body.ops or x.root is not y.root or not (x.write or y.write):
                    continue
                strictly = int((y.op in found.before) != found.pulls)  # the pair is between them in its own turn
                between: list[Form] = []
                if found.side <= 0 and not (found.side == 0 and not found.down):
                    between.append(at_least(j, m, strictly))
                else:
                    between.append(at_least(m, j, strictly))
                if found.side:
                    between.append(at_least(m, k, 1) if found.side < 0 else at_least(k, m, 1))
                if not apart(nest, x, pair, y, other, [*known, *between]):
                    return False
        return True

    def width(self, found: Found) -> Value | None:
        """The length of the rows of a matrix whose columns pairs go down, known in front of `top`."""
        if not found.saved and not found.pulls:
            return ZERO
        ops = self.function.body.ops
        for op in found.nest.inner.regions[0].ops:
            if op.name not in ("buffer.load", "buffer.store"):
                continue
            matrix = op.operands[0 if op.name == "buffer.load" else 1]
            assert isinstance(matrix.type, Buffer)
            if matrix.type.rank < 2 or found.nest.j not in affine(op.operands[-1])[0]:
                continue
            if matrix in self.arguments:
                at = ops.index(self.top)
                with Builder(Region(), self.top.span) as b:
                    extent = b.emit1("buffer.dim", [matrix], {"axis": matrix.type.rank - 1})
                ops[at:at] = b.region.ops
                return extent
            if matrix.op is not None and matrix.op.name == "buffer.alloc" and matrix.op in ops:
                return matrix.op.operands[-1]
        return None


def same(x: Access, y: Access) -> bool:
    """Whether two accesses in one turn are of the same element."""
    assert x.position is not None
    assert y.position is not None
    return all(affine(p) == affine(q) for p, q in zip(x.position, y.position, strict=True))


class Building:
    """Makes the loops that come in place of one. `kept`: rows of memory, by the number of which a row has those of all
    turns."""

    def __init__(self, triangles: Triangles, found: Found) -> None:
        self.triangles = triangles
        self.found = found
        self.loop, self.pairs = found.nest.outer, found.nest.inner
        self.kept: dict[Value, Value] = {}
        self.wide: Value = ZERO

    def operations(self) -> list[Op]:
        found, loop = self.found, self.loop
        lo, hi = loop.operands[:2]
        assert found.width is not None
        ops = self.triangles.function.body.ops
        with Builder(Region(), self.triangles.top.span) as outside:
            numbers = found.nest.inner.results if found.pulls else found.saved
            for value in numbers:
                size = outside.emit1("maximum", [found.width, ONE])
                attrs = {"dtype": value.dtype}
                self.kept[value] = outside.emit1("buffer.alloc", [size], attrs, names=[value.name])
        at = ops.index(self.triangles.top)
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
        if found.pulls:
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
            if found.pulls:
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
            for row, start in zip(self.kept.values(), mapped(self.pairs.operands[2:], env), strict=True):
                b.emit("buffer.store", [start, row, j])

    def go_on_from_rows(self) -> None:
        """Let the sums of each turn start from the rows."""
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
        found = self.found
        body = self.pairs.regions[0]
        j, k = (Value(Scalar(I64), v.name) for v in (found.nest.j, found.nest.k))
        env: Env = {found.nest.k: k}
        carried = {a.load: a.store for a in found.accumulators}
        with over(k, rows, self.pairs) as outside:
            outside.region.ops += [copy_op(op, env) for op in body.ops[:-1] if self.same_in_all(op)]
            starts = [outside.emit1("buffer.load", mapped(load.operands, env)) for load in carried]
            args = [Value(v.type, load.result.name) for v, load in zip(starts, carried, strict=True)]
            inner = Region([j, *args])
            env[found.nest.j] = j
            env.update(zip((load.result for load in carried), args, strict=True))
            with Builder(inner, self.pairs.span) as b:
                inner.ops += [copy_op(op, env) for op in found.again]
                for value in found.saved:
                    env[value] = b.emit1("buffer.load", [self.kept[value], j])
                if found.pulls:
                    for arg, row in zip(body.args[1:], self.kept.values(), strict=True):
                        env[arg] = b.emit1("buffer.load", [row, j])
                for op in body.ops[:-1]:
                    if not self.same_in_all(op) and op not in carried and op not in carried.values():
                        inner.ops.append(copy_op(op, env))
                if found.pulls:
                    for value, row in zip(mapped(body.terminator.operands, env), self.kept.values(), strict=True):
                        b.emit("buffer.store", [value, row, j])
                b.emit("yield", mapped([store.operands[0] for store in carried.values()], env))
            attrs = {} if found.pulls else dict(self.loop.attrs)
            made = Op("for", [*columns, *starts], [v.type for v in starts], attrs, [inner], self.pairs.span)
            outside.region.ops.append(made)
            for store, total in zip(carried.values(), made.results, strict=True):
                outside.emit("buffer.store", [total, *mapped(store.operands[1:], env)])
            new = outside.region
        (whole,) = (op for op in builder().region.ops if new in op.regions)
        if len(body.ops) <= PAIR and (carried or found.pulls):
            self.triangles.independent.add(whole)
        else:
            self.triangles.left_over.add(whole)

    def same_in_all(self, op: Op) -> bool:
        """Whether an operation of a pair gives the same for all %j."""
        return op.name != "buffer.store" and self.found.varying.isdisjoint((*op.operands, *op.results))


def either(name: str, x: Value, y: Value) -> Value:
    """The smaller or the larger one of two ends, which mostly are one."""
    return y if affine(x) == affine(y) else builder().emit1(name, [x, y])


def clipped(value: Value, end: Value, known: Value, name: str) -> Value:
    """A place in a range that has the end `known`, where it may not be beyond `end`."""
    return value if affine(end) == affine(known) else builder().emit1(name, [value, end])
