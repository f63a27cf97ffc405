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
have left, so the loops cannot change places; but a pair is needed, or can be computed, only in turn %k. Where turn %k
is still to come, as above, its pairs wait until just before the block that it is in. Where it is over, they come right
behind that block; if the inner loop carries a sum, they are added to a row of memory from which the sum of turn %j
starts. All these pairs of a block make a rectangle, which is swept row by row, several rows at a time (`jam`). What is
left of the loop is a small triangle for each block, in the order in which it was. The same with %k in (%j + 1, %n), the
other way round; and where %k is in the same range in all turns, all pairs wait until the loop is over. Sums that are
carried through a rectangle are for `rows_first`.

Few turns, seen at run time, are one block, which is the loop as it was. Only derivative programs are looked at: most
such loops are in reverse sweeps, and elsewhere the code is not worth the time to compile it.

For that, what a pair passes on its way must not touch what it touches (`crossing`): the rest of the turns between, and
pairs of other %k. Pairs of the same %k, which may add to the same element, keep their order; so every element sees the
same operations in the same order. Only what adds cotangents (`accumulates`: `accumulate` of the array IR) does so in
whatever order suits vectors. No array of the caller's is written. Sums in any order have at most `TERMS` terms, so
that they are accurate when they are added up one after the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...ir.core import Function, Op, Region, Value, walk
from ...ir.ops.declare import lookup
from ...ir.types import Buffer
from .accesses import CHECKS, Access, Form, effects, form
from .columns import ZERO, row_length
from .crossing import Nest, Point, apart, at_least
from .jam import runs_with, turns
from .lanes import is_arithmetic
from .loops import affine, difference
from .pairs import Pairs, pairs_of
from .rectangles import LEAST, Building, Found
from .rows_first import Finder

__all__ = ["sweep_triangles"]

DERIVATIVES = frozenset({"vjp", "jvp", "forward", "pullback"})
"""What `ir.adjoint` makes, by what is in the names of it."""
OPERATIONS = 64
"""In a turn of the outer loop."""
PAIR = 14
"""In a turn of the inner loop: they are written five times more."""
SAVED = 4
"""Numbers that the pairs of a turn share, which are kept in rows of memory."""
AGAIN = 6
"""Operations that are computed again for a pair,"""
CHEAP = 4
"""each of which costs less than this."""


def sweep_triangles(function: Function, few: Iterable[Op] = ()) -> tuple[set[Op], set[Op]]:
    """See the module's docstring. `few`: loops of which few turns are left over; returns them and new ones, and the
    loops over rows of which several can be visited at once."""
    triangles = Triangles(function, set(few))
    for top in list(function.body.ops):
        if top.regions and not DERIVATIVES.isdisjoint(function.name.split(".")[1:]):
            triangles.top = top
            triangles.operation(function.body, top, [])
    return triangles.left_over, triangles.independent


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
        made = self.swept(op, around) if op.name == "for" and op not in self.left_over else None
        if made is not None:
            at = region.ops.index(op)
            region.ops[at : at + 1] = made
            return
        deeper = [*around, op] if op.name == "for" else around
        for inner in op.regions:
            for nested in list(inner.ops):
                self.operation(inner, nested, deeper)

    def swept(self, loop: Op, around: list[Op]) -> list[Op] | None:
        """What comes in place of a loop; None where it stays."""
        body = loop.regions[0]
        if len(loop.operands) > 2 or not loop.attrs.keys() <= {"reverse"} or turns(loop) < LEAST:
            return None
        if not any(op.regions for op in body.ops) or sum(1 for _ in walk(body)) > OPERATIONS:
            return None
        pairs = pairs_of(loop)
        if pairs is None or not all(Finder.is_simple(op) for op in pairs.replaced):
            return None
        pairs.enter()
        found = self.found(pairs, around)
        if found is None:
            pairs.leave()
            return None
        building = Building(self.function, self.top, found)
        made = [*pairs.outside, *building.operations()]
        self.left_over.add(loop)
        small = len(found.body) < PAIR and (found.accumulators or found.pulls)
        (self.independent if small else self.left_over).update(building.sweeps)
        return made

    # which loops

    def found(self, pairs: Pairs, around: list[Op]) -> Found | None:
        loop = pairs.outer
        ops = loop.regions[0].ops
        at = ops.index(pairs.loop)
        found = Found(Nest(around, loop, pairs.loop), ops[:at], ops[at + 1 : -1], effects(loop).accesses, pairs.part)
        for op in (*found.before, *found.after):
            if op.name not in ("buffer.load", "buffer.store", *CHECKS) and not is_arithmetic(op):
                return None
        written = {a.root for a in found.accesses if a.write}
        if any(a.position is None for a in found.accesses) or written & self.arguments:
            return None
        side = self.side(found)
        if side is None:
            return None
        found.side = side
        if found.pulls and (not found.early or any(op.name == "buffer.store" for op in found.body)):
            return None
        if not self.needed(found, written) or not self.by_rows(found):
            return None
        if not (self.pulled(found) if found.pulls else self.pushed(found)) or not self.crosses_nothing(found):
            return None
        if found.early and not self.can_start(found):
            return None
        found.width = self.width(found)
        return found if found.width is not None else None

    @staticmethod
    def side(found: Found) -> int | None:
        """On which side of %j the inner loop is; None where that is neither."""
        loop, inner = found.nest.outer, found.nest.inner
        changing = effects(loop).defines
        low, high = (difference(v, found.nest.j) for v in inner.operands[:2])
        stays = [not any(v in changing for v in affine(v)[0]) for v in inner.operands[:2]]
        if all(stays):
            return 0
        if stays[0] and not high[0] and high[1] in (0, 1):
            return -1
        return 1 if stays[1] and not low[0] and low[1] in (0, 1) else None

    @staticmethod
    def needed(found: Found, written: set[Value]) -> bool:
        """Find what pairs need of their turn; whether it can be kept or computed again."""
        inside = {v: op for op in found.before for v in op.results}
        work = [v for op in found.body for v in op.operands if v in inside]
        again: set[Op] = set()
        while work:
            value = work.pop()
            op = inside[value]
            if value.dtype.is_float and not found.early:
                found.saved += [value] if value not in found.saved else []
                continue
            if op.name == "buffer.load":
                if op.operands[0] in written or not found.early:
                    return False
            elif not is_arithmetic(op) or lookup(op.name).cost >= CHEAP:
                return False
            again.add(op)
            work += [v for v in op.operands if v in inside]
        found.again = [op for op in found.before if op in again]
        return len(found.saved) <= SAVED and len(found.again) <= AGAIN

    def by_rows(self, found: Found) -> bool:
        """Whether pairs go down columns, and do not along rows; finds what differs from %j to %j."""
        j, k = found.nest.j, found.nest.k
        given = [*found.saved, *(v for op in found.again for v in op.results)]
        found.varying = {j, *given, *found.nest.inner.regions[0].args[1:]}
        self.spread(found)
        columns = False
        for op in (*found.again, *found.body):
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

    @staticmethod
    def spread(found: Found) -> None:
        for op in found.body:
            if not found.varying.isdisjoint(op.operands):
                found.varying.update(op.results)

    # whether pairs may be moved

    @staticmethod
    def pulled(found: Found) -> bool:
        """Whether sums can be computed in parts."""
        inner = found.nest.inner
        body = inner.regions[0]
        if bool(inner.attrs.get("reverse")) == found.down:
            return True
        for arg, end in zip(body.args[1:], body.terminator.operands, strict=True):
            summed = end.op is not None and end.op in body.ops and end.op.name == "add_any_order"
            if not summed or sum(v is arg for op in body.ops for v in op.operands) != 1:
                return False
        return True

    def can_start(self, found: Found) -> bool:
        """Whether all checks can come first, as they have to, and what sums start from can be computed then."""
        checks = [op for op in (*found.before, *found.after) if op.name in CHECKS]
        tested = self.computing(found, [v for op in checks for v in op.operands])
        if any(op.name == "buffer.load" for op in tested):
            return False
        wanted = {*checks, *tested, *self.computing(found, found.nest.inner.operands[2:])}
        found.starts = [op for op in (*found.before, *found.after) if op in wanted]
        nest, other = found.nest, found.nest.another()
        here = Point(nest.j)
        for x in (a for a in found.accesses if a.op in wanted):
            for y in found.accesses:
                if not y.write or y.root is not x.root:
                    continue
                if y.op not in found.after and (
                    y.op not in found.before or found.before.index(y.op) < found.before.index(x.op)
                ):
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
        mine = [a for a in found.accesses if a.op in found.part]
        found.any_order = added(found.body)
        changing = effects(nest.outer).defines
        one, two = Point(nest.j, nest.k), nest.another(k=True)
        assert two.k is not None
        known = nest.known(one, two)
        ways = [at_least(form(nest.k, {}), form(two.k, {}), 1), at_least(form(two.k, {}), form(nest.k, {}), 1)]
        kept = found.side == 0 or bool(nest.inner.attrs.get("reverse")) == found.down
        for x in mine:
            for y in mine:
                if x.root is not y.root or not (x.write or y.write) or runs_with(x, y, nest.k, changing):
                    continue
                if kept and found.part[x.op] == found.part[y.op] and runs_with(x, y, nest.j, changing):
                    continue  # in one turn of the outer loop, whose inner loop keeps its order
                if {x.op, y.op} <= found.any_order and runs_with(x, y, nest.j, changing):
                    continue  # or whose order nobody wrote
                if not all(apart(nest, x, one, y, two, [*known, way]) for way in ways):
                    return False
        return self.accumulates(found, mine)

    def accumulates(self, found: Found, mine: list[Access]) -> bool:
        """Find what pairs of a %k have in common; whether it can stay out of memory meanwhile."""
        nest = found.nest
        written = {a.root for a in mine if a.write}
        fixed = [a for a in mine if a.root in written and found.varying.isdisjoint(self.terms(a))]
        here, there = Point(nest.j, nest.k), Point(nest.another().j, nest.k)
        known = nest.known(here, there)
        while fixed:
            group = [a for a in fixed if a.root is fixed[0].root and same(a, fixed[0])]
            for y in mine:
                if y.root is group[0].root and y not in group:
                    if not apart(nest, group[0], here, y, there, known):
                        return False
            fixed = [a for a in fixed if a not in group]
            if any(a.write for a in group):
                found.accumulators.append(group)
                found.varying.update(v for a in group for v in a.op.results)
        self.spread(found)
        if any(not self.terms(a) & found.varying <= {nest.j} for a in mine):
            return False  # places that depend on what is accumulated
        others = [a for a in mine if all(a not in group for group in found.accumulators)]
        return all(  # what pairs need of others beside them goes well down the columns, many chains side by side
            same(x, y) or apart(nest, x, here, y, there, known)
            for x in others
            for y in others
            if x.root is y.root and x.write
        )

    @staticmethod
    def terms(access: Access) -> set[Value]:
        return {v for p in access.position or () for v in affine(p)[0]}

    @staticmethod
    def crosses_nothing(found: Found) -> bool:
        """Whether the rest of the turns that a pair is moved across touches nothing that the pair does, as far as one
        of them writes."""
        nest = found.nest
        pair, other = Point(nest.j, nest.k), nest.another()
        j, k, m = (form(v, {}) for v in (nest.j, nest.k, other.j))
        known = nest.known(pair, other)
        for x in (a for a in found.accesses if a.op in found.part):
            for y in found.accesses:
                if y.op in found.part or x.root is not y.root or not (x.write or y.write):
                    continue
                strictly = int((y.op in found.before) != found.early)  # the pair is between them in its own turn
                between: list[Form] = []
                if found.side < 0 or (found.side == 0 and found.down):
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
        for op in found.body:
            if op.name not in ("buffer.load", "buffer.store"):
                continue
            matrix = op.operands[0 if op.name == "buffer.load" else 1]
            assert isinstance(matrix.type, Buffer)
            if matrix.type.rank < 2 or found.nest.j not in affine(op.operands[-1])[0]:
                continue
            return row_length(self.function, self.top, matrix)
        return None


def added(ops: list[Op]) -> set[Op]:
    """Additions of cotangents to elements of memory, whose order nobody wrote, with their loads and stores."""
    uses = Counter(v for op in ops for v in op.operands)
    out: set[Op] = set()
    for store in ops:
        add = store.operands[0].op if store.attrs.get("accumulates") else None
        if add is None or add.name != "add" or not add.result.dtype.is_float or uses[add.result] != 1:
            continue
        load = add.operands[0].op
        if add not in ops or load is None or load.name != "buffer.load" or load not in ops or uses[load.result] != 1:
            continue
        between = ops[ops.index(load) + 1 : ops.index(store)]
        if load.operands == store.operands[1:] and all(op.name != "buffer.store" for op in between):
            out |= {load, add, store}
    return out


def same(x: Access, y: Access) -> bool:
    """Whether two accesses in one turn are of the same element."""
    assert x.position is not None
    assert y.position is not None
    return all(affine(p) == affine(q) for p, q in zip(x.position, y.position, strict=True))
