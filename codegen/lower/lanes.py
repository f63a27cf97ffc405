"""Lanes: an outer loop whose turns each compute sums or extremes runs several turns side by side.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                              for %b in (0, %n / LANES) {
      %m: f64 = for %j in (0, %k) (%a = inf) {         %x[%c, %l] = %p[%b * LANES + %l, %c]      for all %c, %l
        %s: f64 = for %c in (0, %d) (%t = 0.0) {       for %l in (0, LANES) {
          %u: f64 = buffer.load %p, %i, %c               %m: f64 = for %j ... { for %c ... { buffer.load %x, %c, %l }}
          %v: f64 = buffer.load %q, %j, %c     =>        buffer.store %m, %y, %l
          ...                                          } with {lanes=true}
        }                                              for %l in (0, LANES) {
        ...                                              %m: f64 = buffer.load %y, %l
      }                                                  ...
      buffer.store %m, %z, %i                            buffer.store %m, %z, %b * LANES + %l
    }                                                  }
                                                     }
                                                     the turns that are left over, as they were

A sum, a minimum or its place over a row is a chain in which every step waits for the one before. `LANES` chains, of as
many turns of the outer loop, are vectors, which `llvm.vectors` writes: in each lane the operations and their order are
those of one turn. Rows are copied into columns, of which a vector is read at once.

What is computed side by side comes before what the turns write and carry, so it must depend on neither: it is made of
loops and arithmetic that read memory which the loop does not write. A check that is the same in all turns moves along;
nothing is taken from behind another one. A copy may read what a turn checks before it reads: where that is outside of
the memory, which is seen before, turns are not side by side. Sums in any order have at most `TERMS` terms in a lane,
since these are added one after the other; columns have at most `COLUMNS` elements. Both are seen at run time, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.ops.declare import lookup
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Buffer, Scalar
from .accesses import CHECKS, effects, root_of
from .blocking import sum_of
from .columns import ONE, WIDTH, ZERO, Column, extent_of, fill, inside_of, key_of
from .loops import affine

__all__ = ["VECTORS", "is_arithmetic", "is_vector", "lane_dependent", "use_lanes"]

COLUMNS = 64
"""Elements of a turn that are copied."""
TERMS = 128
"""Terms of a sum in any order."""
OPERATIONS = 256
"""In a turn: they are written twice."""
FEW = 8
"""Turns of a loop that LLVM unrolls and vectorizes around."""
VECTORS = frozenset(
    """add sub mul neg div select cast lt le gt ge eq ne logical_and logical_or logical_xor logical_not maximum minimum
    sqrt abs square add_any_order mul_any_order stop_gradient""".split()
)
"""What is an instruction for vectors."""


def use_lanes(function: Function) -> set[Op]:
    """Run side by side what can be. Returns the loops of which few turns are left over."""
    lanes = Lanes(function)
    lanes.region(function.body)
    return lanes.left_over


def is_vector(op: Op) -> bool:
    """Whether an operation on numbers is one on vectors."""
    if op.name not in VECTORS:
        return False
    kinds = {v.dtype.kind for v in (*op.operands, *op.results)}
    if op.name == "cast":
        return op.result.dtype.is_float
    if op.name in ("div", "sqrt", "abs", "square", "maximum", "minimum"):
        return kinds == {"f"}
    return True


def lane_dependent(region: Region, seeds: Iterable[Value]) -> set[Value]:
    """The values inside of a region that depend on `seeds`, in what they are or in what has been read."""
    found = set(seeds)
    while True:
        before = len(found)
        for op in walk(region):
            if op.name == "for":
                body = op.regions[0]
                for init, arg, end, result in zip(
                    op.operands[2:], body.args[1:], body.terminator.operands, op.results, strict=True
                ):
                    if not found.isdisjoint((init, arg, end)):
                        found.update((arg, result))
            elif not op.regions and not found.isdisjoint(op.operands):
                found.update(op.results)
        if len(found) == before:
            return found


@dataclass
class Group:
    """What is computed side by side of a loop: `early` operations and loops in their order, the `checks` that are the
    same in all turns, the `columns` that loads read, each with the indices of the loops around it that say where."""

    loop: Op
    early: list[Op] = field(default_factory=list)
    checks: list[Op] = field(default_factory=list)
    columns: dict[Op, tuple[Column, list[Value]]] = field(default_factory=dict)
    checked: bool = False

    @property
    def nests(self) -> list[Op]:
        return [op for op in self.early if op.regions]


class Lanes:
    def __init__(self, function: Function) -> None:
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        self.observed = bool(function.attrs.get("donated"))
        layouts = function.attrs["layouts"]
        self.strided = {a for a, layout in zip(function.args, layouts, strict=True) if layout in ("A", "F")}
        self.left_over: set[Op] = set()

    def region(self, region: Region) -> None:
        for op in list(region.ops):
            group = self.group(op) if op.name == "for" else None
            if group is not None:
                at = region.ops.index(op)
                region.ops[at:at] = self.blocks(group)
                self.left_over.add(op)
            else:
                for inner in op.regions:
                    self.region(inner)

    # what can be computed side by side

    def group(self, loop: Op) -> Group | None:
        body = loop.regions[0]
        if not any(is_long(op) for op in body.ops) or sum(1 for _ in walk(body)) > OPERATIONS:
            return None
        if any(isinstance(v.type, Buffer) for op in (loop, *walk(body)) if op.regions for v in op.results):
            return None  # names of memory change
        known = effects(loop)
        written = known.writes
        if self.observed and written & self.arguments:
            written |= self.arguments  # they may overlap
        found = Group(loop)
        inside = known.defines
        early, same, writes = {body.args[0]}, set[Value](), False

        def available(op: Op) -> bool:
            return all(v not in inside or v in early or v in same for v in op.operands)

        for op in body.ops[:-1]:
            if op.name in CHECKS:
                uniform = all(v not in inside or v in same for v in op.operands)
                if not uniform or (writes and self.observed):
                    break
                found.checks.append(op)
                same.update(op.results)
            elif op.regions:
                checks = effects(op).checks
                if checks and writes and self.observed:
                    break
                if op.name == "for" and available(op) and self.is_nest(op, early, same, inside, written):
                    found.early.append(op)
                    found.checked |= checks
                    early.update(op.results)
                elif checks:
                    break
                else:
                    writes = True
            elif not available(op):
                writes = True
            elif op.name == "buffer.load":
                if root_of(op.operands[0]) not in written:
                    found.early.append(op)
                    early.update(op.results)
            elif is_arithmetic(op) and (is_vector(op) or not early & set(op.operands)):
                found.early.append(op)
                early.update(op.results)
            else:
                writes = True
        return found if self.pays(found, inside, same) else None

    def is_nest(self, op: Op, early: set[Value], same: set[Value], inside: set[Value], written: set[Value]) -> bool:
        """Whether a loop reads and computes, as often in all lanes, and in vectors where lanes differ."""
        own = effects(op).defines
        varying = lane_dependent(Region([], [op]), early)
        for inner in (op, *walk(op.regions[0])):
            if any(v in inside and v not in own and v not in early and v not in same for v in inner.operands):
                return False
            if inner.regions:
                if inner.name != "for" or any(v in varying for v in inner.operands[:2]):
                    return False
            elif inner.name == "buffer.load":
                if root_of(inner.operands[0]) in written:
                    return False
            elif inner.name in CHECKS:
                if not varying.isdisjoint(inner.operands):
                    return False
            elif inner.name != "yield" and not is_arithmetic(inner):
                return False
            elif inner.name != "yield" and not is_vector(inner) and not varying.isdisjoint(inner.operands):
                return False
        return True

    def pays(self, group: Group, inside: set[Value], same: set[Value]) -> bool:
        """Whether there is something to be gained; finds the columns."""
        index = group.loop.regions[0].args[0]
        varying = lane_dependent(Region([], group.early), {index})
        shared: dict[object, Column] = {}
        waiting: list[tuple[Op, object, list[Value]]] = []
        gains: list[Op] = []
        for nest in group.nests:
            fine, useful = is_long(nest), False
            for load, loops in loads_of(nest):
                if not varying.isdisjoint(load.operands) and not self.contiguous(load, index, varying):
                    column = self.column(load, loops, group, varying, inside, same)
                    if column is None:
                        fine = False
                        continue
                    key, indices = key_of(column), [over.regions[0].args[0] for over in column.loops]
                    if key in shared or len(column.loops) < len(loops):
                        group.columns[load] = shared.setdefault(key, column), indices
                        useful = True
                    else:
                        fine = False
                        waiting.append((load, key, indices))
                elif load.operands[0] not in self.strided and not varying.isdisjoint(load.operands):
                    useful = True
            if fine and useful:
                gains.append(nest)
        for load, key, indices in waiting:
            if key in shared:
                group.columns[load] = shared[key], indices
        return bool(gains) and all(bounds_known(nest, inside) for nest in group.nests)

    def contiguous(self, load: Op, index: Value, varying: set[Value]) -> bool:
        """Whether lanes read neighbours."""
        buffer, *where = load.operands
        if not where or buffer in self.strided or any(p in varying for p in where[:-1]):
            return False
        terms, _ = affine(where[-1])
        return terms.get(index) == 1 and not any(v in varying for v in terms if v is not index)

    def column(
        self, load: Op, loops: tuple[Op, ...], group: Group, varying: set[Value], inside: set[Value], same: set[Value]
    ) -> Column | None:
        """What a load reads in the course of some of the loops around it, if these say where it is."""
        index, checked = group.loop.regions[0].args[0], group.checked
        over = {loop.regions[0].args[0]: loop for loop in loops}
        found = set()
        forms = [affine(position)[0] for position in load.operands[1:]]
        for terms in forms:
            for value in terms:
                if value in over:
                    found.add(value)
                elif value is not index and (value in varying or (value in inside and value not in same)):
                    return None
        chosen = tuple(loop for value, loop in over.items() if value in found)
        if any(v in inside for loop in chosen for v in loop.operands[:2]):
            return None
        if checked and any(index in terms and not over.keys().isdisjoint(terms) for terms in forms):
            return None
        return Column(load, chosen)

    # what becomes of it

    def blocks(self, group: Group) -> list[Op]:
        """The operations that come before the loop, which keeps the turns that are left over."""
        loop = group.loop
        lo, hi = loop.operands[:2]
        carried = loop.operands[2:]
        columns = list({id(column): column for column, _ in group.columns.values()}.values())
        new = Region()
        with Builder(new, loop.span) as b:
            turns = b.emit1("floordiv", [b.emit1("maximum", [sum_of(hi, lo, -1), ZERO]), WIDTH])
            fits = self.fits(group, columns)
            blocks = b.emit1("select", [fits, turns, ZERO]) if fits is not None else turns
            some = b.emit1("gt", [blocks, ZERO])
            for column in columns:
                column.extents = [b.emit1("select", [some, extent_of(over), ZERO]) for over in column.loops]
                column.memory = b.emit1("buffer.alloc", [*column.extents, WIDTH], {"dtype": column.load.result.dtype})
            needed = results_needed(group)
            places = {v: b.emit1("buffer.alloc", [WIDTH], {"dtype": v.dtype}) for v in needed}
            body = Region([number := Value(Scalar(I64))])
            given = [Value(v.type, v.name) for v in loop.regions[0].args[1:]]
            body.args += given
            with Builder(body, loop.span) as inner:
                if loop.attrs.get("reverse"):
                    base = sum_of(hi, (number + ONE) * WIDTH, -1)
                else:
                    base = sum_of(number * WIDTH, lo)
                env: Env = {}
                for check in group.checks:
                    inner.region.ops.append(copy_op(check, env))
                for column in columns:
                    fill(column, group.loop.regions[0].args[0], base, env)
                self.side_by_side(group, base, env, places)
                ends = self.one_by_one(group, base, env, places, given)
                inner.emit("yield", ends)
            done = Op("for", [ZERO, blocks, *carried], [v.type for v in carried], {}, [body], loop.span)
            new.ops.append(done)
            covered = blocks * WIDTH
            if loop.attrs.get("reverse"):
                loop.operands[:] = [lo, sum_of(hi, covered, -1), *done.results]
            else:
                loop.operands[:] = [sum_of(covered, lo), hi, *done.results]
        return new.ops

    def fits(self, group: Group, columns: list[Column]) -> Value | None:
        """Whether sums and columns are as short as they must be."""
        b = builder()
        limits: list[tuple[Value, int]] = []
        for nest in group.nests:
            for op in (nest, *walk(nest.regions[0])):
                if op.name == "for" and any(is_free(v) for v in op.regions[0].terminator.operands):
                    limits.append((extent_of(op), TERMS))
        for column in columns:
            elements: Value = ONE
            for over in column.loops:
                extent = extent_of(over)
                limits.append((extent, COLUMNS))
                elements = extent if elements is ONE else elements * extent
            if len(column.loops) > 1:
                limits.append((elements, COLUMNS))
        out: Value | None = None
        if group.checked:
            for column in columns:
                for test in inside_of(column):
                    out = test if out is None else b.emit1("logical_and", [out, test])
        seen: set[tuple[Value, int]] = set()
        for extent, limit in limits:
            if (extent, limit) in seen or (isinstance(extent, Const) and extent.value <= limit):
                continue
            seen.add((extent, limit))
            test = b.emit1("le", [extent, Const(limit, I64)])
            out = test if out is None else b.emit1("logical_and", [out, test])
        return out

    def side_by_side(self, group: Group, base: Value, around: Env, places: dict[Value, Value]) -> None:
        b = builder()
        body = Region([lane := Value(Scalar(I64), "lane")])
        with Builder(body, b.span) as inside:
            env = {**around, group.loop.regions[0].args[0]: base + lane}
            inside.region.ops += copies(wanted(group), env, group, lane)
            for value, place in places.items():
                inside.emit("buffer.store", [env[value], place, lane])
            inside.emit("yield", [])
        b.region.ops.append(Op("for", [ZERO, WIDTH], [], {"lanes": True}, [body], b.span))

    def one_by_one(
        self, group: Group, base: Value, around: Env, places: dict[Value, Value], given: list[Value]
    ) -> list[Value]:
        b = builder()
        loop = group.loop
        old = loop.regions[0]
        body = Region([lane := Value(Scalar(I64), "lane")])
        args = [Value(v.type, v.name) for v in given]
        body.args += args
        nests, checks = set(group.nests), set(group.checks)
        with Builder(body, b.span) as inside:
            env = {**around, old.args[0]: base + lane, **dict(zip(old.args[1:], args, strict=True))}
            for value, place in places.items():
                env[value] = inside.emit1("buffer.load", [place, lane])
            for op in old.ops[:-1]:
                if op not in nests and op not in checks:
                    inside.region.ops.append(copy_op(op, env))
            inside.emit("yield", mapped(old.terminator.operands, env))
        attrs = {"reverse": True} if loop.attrs.get("reverse") else {}
        made = Op("for", [ZERO, WIDTH, *given], [v.type for v in given], attrs, [body], b.span)
        b.region.ops.append(made)
        return list(made.results)


def is_arithmetic(op: Op) -> bool:
    definition = lookup(op.name)
    return not op.regions and not definition.effect and definition.category in ("elementwise", "buffer")


def is_long(op: Op) -> bool:
    """Whether a loop, or one inside of it, has more than a few turns, as far as is known, and carries something."""
    if op.name != "for":
        return False
    low, high = op.operands[:2]
    few = isinstance(low, Const) and isinstance(high, Const) and high.value - low.value <= FEW
    return (not few and len(op.operands) > 2) or any(is_long(inner) for inner in op.regions[0].ops)


def is_free(value: Value) -> bool:
    """Whether it is a sum or product in any order so far."""
    return value.op is not None and value.op.name in ("add_any_order", "mul_any_order") and value.dtype.is_float


def bounds_known(nest: Op, inside: set[Value]) -> bool:
    """Whether it is known before the loop how many terms its sums in any order have."""
    for op in (nest, *walk(nest.regions[0])):
        if op.name == "for" and any(is_free(v) for v in op.regions[0].terminator.operands):
            if any(v in inside for v in op.operands[:2]):
                return False
    return True


def loads_of(op: Op, loops: tuple[Op, ...] = ()) -> Iterator[tuple[Op, tuple[Op, ...]]]:
    """The loads in a nest, with the loops around them."""
    if op.name == "buffer.load":
        yield op, loops
    for region in op.regions:
        for inner in region.ops:
            yield from loads_of(inner, (*loops, op))


def wanted(group: Group) -> list[Op]:
    """The early operations that its loops need."""
    uses = {v for nest in group.nests for op in (nest, *walk(nest.regions[0])) for v in op.operands}
    out = []
    for op in reversed(group.early):
        if op.regions or any(r in uses for r in op.results):
            uses.update(op.operands)
            out.append(op)
    return out[::-1]


def results_needed(group: Group) -> list[Value]:
    """What its loops give that the rest of a turn uses."""
    nests = set(group.nests)
    body = group.loop.regions[0]
    uses = set(body.terminator.operands)
    for op in body.ops:
        if op not in nests:
            uses.update(op.operands)
            uses.update(v for region in op.regions for inner in walk(region) for v in inner.operands)
    return [v for nest in group.nests for v in nest.results if v in uses]


def copies(ops: Iterable[Op], env: Env, group: Group, lane: Value) -> list[Op]:
    """Copies of operations, which read columns instead of rows."""
    out = []
    for op in ops:
        if op in group.columns:
            column, indices = group.columns[op]
            assert column.memory is not None
            with Builder(Region([]), op.span) as b:
                at = [sum_of(env[i], over.operands[0], -1) for i, over in zip(indices, column.loops, strict=True)]
                env[op.result] = b.emit1("buffer.load", [column.memory, *at, lane])
            out += b.region.ops
        elif op.regions:
            (old,) = op.regions
            operands, region = mapped(op.operands, env), Region([])
            for arg in old.args:
                env[arg] = new = Value(arg.type, arg.name)
                region.args.append(new)
            region.ops = copies(old.ops, env, group, lane)
            made = Op(op.name, operands, [r.type for r in op.results], dict(op.attrs), [region], op.span)
            for before, after in zip(op.results, made.results, strict=True):
                after.name = before.name
                env[before] = after
            out.append(made)
        else:
            out.append(copy_op(op, env))
    return out
