"""Which products of vectors in a loop can be made for many turns at once: the analysis behind `panels`.

In: a `for` of the array IR and what is known of its integers. Out: a `Turns`, which says

* which additions of outer products, ``acc[r, s] += outer(u, v)``, and which products of a matrix that the loop does not
  change with a vector, ``y = A[r, s] @ w``, may wait for (or be made before) those of other turns (`Outer`, `Applied`);
* which operations have to come before these products, and which after: nothing before may need what comes after, in the
  same turn or in one before. Sums that are only added to (`Sum`) may be added to in either place.

A range of positions may move with the loop at one end, by one in each turn (``A[:, i:]``). All turns of a block then
have the part in common that no turn leaves out; what is beyond is the *head* of a turn, and is left to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ...ir.affine import Facts, Linear
from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.ops import REGISTRY
from ...ir.ops.indexing import split_spec
from ...ir.rewrite import defined, free_values, uses
from ...ir.types import Array, Tape

__all__ = ["Applied", "Line", "Outer", "Range", "Sum", "Turns", "seen_by_loops", "turns_of_loop"]

SMALL = 16
"""Products of a constant extent below this are better computed turn by turn: they stay in registers."""
Parts = list[tuple[Value, ...]]
AGAIN = frozenset({"index", "broadcast", "transpose", "dim", "fill", "cast"})
"""What is cheaper to compute again after the products than to be kept for it, besides arithmetic on integers."""


@dataclass(frozen=True)
class Range:
    """Positions from `start` to before `stop` along an axis. `moves`: the end that depends on the turn, or ""; `up`:
    whether it grows with the loop's variable. `whole`: all there are."""

    start: Linear
    stop: Linear
    moves: str = ""
    up: bool = True
    whole: bool = False


@dataclass(frozen=True)
class Line:
    """A row (`axis` 0) or column of a matrix that the loop does not change: number (loop's variable) + `offset`, from
    position `start` on."""

    matrix: Value
    axis: int
    offset: Linear
    start: Linear


@dataclass
class Outer:
    """An addition of outer products to a sum: of the first of each pair along the rows, of the second along the
    columns."""

    op: Op
    pairs: list[tuple[Value, Value]]
    parts: Parts
    ranges: list[Range]
    axes: list[int]


@dataclass
class Applied:
    """A matrix times a vector. `matrix`: what does not change, of which `parts` are taken (`axes`: those that are
    ranges); `inner`: which of the two is summed over. `into`: the addition of the result to one line of a sum, where
    nothing else is done with it; `line`: which axis of the sum numbers the lines, `offset`: from which line on,
    `along`: the positions in a line."""

    op: Op
    matrix: Value
    spec: str
    parts: Parts
    ranges: list[Range]
    axes: list[int]
    inner: int
    vector: Value
    into: Op | None = None
    line: int = 0
    offset: Linear = field(default_factory=Linear)
    along: Range | None = None


@dataclass
class Sum:
    """A carried array that is only added to: the additions in their order."""

    slot: int
    links: list[Op]


@dataclass
class Turns:
    """The plan for one loop; `after`: operations that need a product, `late`: carried values that do."""

    op: Op
    outer: dict[Op, Outer]
    applied: dict[Op, Applied]
    sums: list[Sum]
    after: set[Op]
    late: set[Value]
    kept: list[Value]
    """What is computed before the products, and is needed after them, and is too dear to be computed again."""
    lines: dict[Value, Line]
    """Of vectors that the products are made of: which line of a matrix they are."""


def turns_of_loop(op: Op, facts: Facts, seen: set[Value], moving: bool = True) -> Turns | None:
    """The plan for a loop; None where there is nothing to gain. `seen`: the values that exist before it. `moving`:
    whether ranges may move with the loop."""
    return Search(op, facts, seen, moving).run()


def seen_by_loops(function: Function) -> dict[Op, set[Value]]:
    """The values that exist where each `for` stands."""
    out: dict[Op, set[Value]] = {}

    def enter(region: Region, seen: set[Value]) -> set[Value]:
        seen = seen | set(region.args)
        for op in region.ops:
            if op.name == "for":
                out[op] = set(seen)
            below = seen
            for inner in op.regions:  # the body of a `while` sees what its condition defines
                after = enter(inner, below)
                below = after if op.name == "while" else seen
            seen.update(op.results)
        return seen

    enter(function.body, set())
    return out


def reads(op: Op) -> list[Value]:
    return [v for v in [*op.operands, *free_values(*op.regions)] if type(v) is not Const]


class Search:
    def __init__(self, op: Op, facts: Facts, seen: set[Value], moving: bool) -> None:
        self.op = op
        self.seen = seen
        self.moving = moving
        self.facts = facts
        self.region = op.regions[0]
        self.i, self.args = self.region.args[0], self.region.args[1:]
        self.body = self.region.ops[:-1]
        self.yields = self.region.terminator.operands
        self.inside = defined(self.region)
        self.uses = uses(self.region)
        self.top = set(self.body)

    def run(self) -> Turns | None:
        inner = list(walk(self.region))
        if not any(op.name in ("matmul", "accumulate", "reduce_sum") for op in self.body):
            return None
        if any(REGISTRY[op.name].effect == "call" for op in inner):
            return None
        lo, hi = (self.facts.linear(v) for v in self.op.operands[:2])
        trips = self.facts.resolve(hi - lo)
        if not trips.terms and trips.const < SMALL:
            return None
        sums = [s for k in range(len(self.args)) if (s := self.sum(k)) is not None]
        links = {link for s in sums for link in s.links}
        outer = {link: o for s in sums for link in s.links if (o := self.outer(link)) is not None}
        applied = {op: a for op in self.body if (a := self.applied(op)) is not None}
        for one in applied.values():
            self.into_sum(one, links)
        while outer or applied:
            after, late = self.consequences(applied, links)
            wrong = {op for op, a in applied.items() if self.is_late(a.vector, after, late)}
            for op, o in outer.items():
                if any(self.is_late(x, after, late) for pair in o.pairs for x in pair):
                    wrong.add(op)
            if not wrong:
                kept = self.kept(after, late, set(applied))
                if kept is not None:
                    vectors = [x for o in outer.values() for pair in o.pairs for x in pair]
                    vectors += [a.vector for a in applied.values()]
                    lines = {x: line for x in vectors if (line := self.line(x)) is not None}
                    return Turns(self.op, outer, applied, sums, after, late, kept, lines)
                wrong = {op for op, a in applied.items() if a.into is None}
                if not wrong:
                    return None
            applied = {op: a for op, a in applied.items() if op not in wrong}
            outer = {op: o for op, o in outer.items() if op not in wrong}
        return None

    # ---------------------------------------------------------------- what there is

    def invariant(self, value: Value) -> bool:
        return value not in self.inside

    def fixed(self, form: Linear) -> bool:
        return all(self.visible(atom) for atom in form.terms)

    def visible(self, atom: object) -> bool:
        value = atom[1] if isinstance(atom, tuple) else atom
        return isinstance(value, Value) and value in self.seen

    def linear(self, value: Value) -> Linear:
        return self.facts.resolve(self.facts.linear(value))

    def only_use(self, value: Value) -> Op | None:
        found = self.uses.get(value, ())
        return found[0][0] if len(found) == 1 else None

    def sum(self, slot: int) -> Sum | None:
        value: Value = self.args[slot]
        if not isinstance(value.type, Array) or not value.dtype.is_float:
            return None
        links: list[Op] = []
        while True:
            user = self.only_use(value)
            if user is self.region.terminator and links:
                return Sum(slot, links) if user.operands[slot] is value else None
            if user is None or user not in self.top or user.name != "accumulate" or user.operands[0] is not value:
                return None
            links.append(user)
            value = user.result

    def range(self, letter: str, part: Sequence[Value], array: Value, axis: int) -> Range | None:
        """The range that a letter of a spec selects along an axis, if it is one we can handle."""
        if letter == ":":
            length = self.facts.resolve(self.facts.extent(array, axis))
            return Range(Linear(), length, whole=True) if self.fixed(length) else None
        start, count, step = part
        if not (type(step) is Const and step.value == 1):
            return None
        begin = self.linear(start)
        end = self.facts.resolve(begin + self.linear(count))
        factors = [form.terms.get(self.i, 0) for form in (begin, end)]
        rest = [form - Linear(0, {self.i: k}) if k else form for form, k in zip((begin, end), factors)]
        if not all(map(self.fixed, rest)) or all(factors) or any(abs(k) > 1 for k in factors):
            return None
        if any(factors) and not self.moving:
            return None
        moves = "start" if factors[0] else "stop" if factors[1] else ""
        return Range(begin, end, moves, sum(factors) > 0)

    def ranges(self, spec: str, parts: Parts, array: Value) -> tuple[list[int], list[Range]] | None:
        """The two axes of a part of an array that are ranges; positions along others are the same in every turn."""
        axes = [k for k, letter in enumerate(spec) if letter != "i"]
        if len(axes) != 2 or any(not self.invariant(p[0]) for p, c in zip(parts, spec) if c == "i"):
            return None
        out = [self.range(spec[k], parts[k], array, k) for k in axes]
        found = [r for r in out if r is not None and not self.small(r)]
        return (axes, found) if len(found) == 2 else None

    def small(self, r: Range) -> bool:
        length = self.facts.resolve(r.stop - r.start)
        return not length.terms and length.const < SMALL

    def outer(self, link: Op) -> Outer | None:
        array, value, *positions = link.operands
        parts = split_spec(link.attrs["spec"], positions)
        found = self.ranges(link.attrs["spec"], parts, array)
        pairs = self.pairs(value) if value.rank == 2 else None
        if found is None or pairs is None:
            return None
        return Outer(link, pairs, parts, found[1], found[0])

    def pairs(self, value: Value) -> list[tuple[Value, Value]] | None:
        """The vectors of outer products of which a matrix is the sum, if nothing else needs it."""
        op = value.op
        if op is None or op not in self.top or self.only_use(value) is None:
            return None
        if op.name == "add":
            both = [self.pairs(x) if x.rank == 2 else None for x in op.operands]
            return [pair for some in both for pair in some or ()] if None not in both else None
        if op.name == "transpose":
            found = self.pairs(op.operands[0])
            return None if found is None else [(v, u) for u, v in found]
        if op.name != "mul":
            return None
        factors = {axis: y for axis in (0, 1) for x in op.operands if (y := self.repeated(x, axis)) is not None}
        return [(factors[0], factors[1])] if len(factors) == 2 else None

    def repeated(self, value: Value, axis: int) -> Value | None:
        """The vector along one axis of a matrix that a value is, the same along the other."""
        op = value.op
        if value.rank != 2 or op is None or op.name != "broadcast" or op.attrs["axes"] != (axis,):
            return None
        x = op.operands[0]
        assert isinstance(x.type, Array) and isinstance(value.type, Array)
        return x if x.type.dims[0] != 1 or value.type.dims[axis] == 1 else None

    def applied(self, op: Op) -> Applied | None:
        factors = self.factors(op)
        if factors is None or not op.result.dtype.is_float:
            return None
        matrix, vector, inner = factors
        if not self.invariant(matrix) and matrix.op is not None and matrix.op.name == "transpose":
            matrix, inner = matrix.op.operands[0], 1 - inner
        if self.invariant(matrix):
            spec, parts = "::", list[tuple[Value, ...]]([(), ()])
        elif matrix.op is not None and matrix.op.name == "index" and self.invariant(matrix.op.operands[0]):
            spec = matrix.op.attrs["spec"]
            parts = split_spec(spec, matrix.op.operands[1:])
            matrix = matrix.op.operands[0]
        else:
            return None
        found = self.ranges(spec, parts, matrix)
        if found is None or self.invariant(vector):
            return None
        return Applied(op, matrix, spec, parts, found[1], found[0], inner, vector)

    def factors(self, op: Op) -> tuple[Value, Value, int] | None:
        """(matrix, vector, which axis of the matrix is summed over) of a product, written as one or as a sum."""
        if op.name == "matmul":
            a, b = op.operands
            if a.rank + b.rank != 3:
                return None
            return (a, b, 1) if a.rank == 2 else (b, a, 0)
        product = op.operands[0].op if op.name == "reduce_sum" and op.operands[0].rank == 2 else None
        if product is None or product.name != "mul" or len(op.attrs["axes"]) != 1:
            return None
        (inner,) = op.attrs["axes"]
        for matrix, other in (product.operands, product.operands[::-1]):
            vector = self.repeated(other, inner) if other.rank == 2 else None
            if vector is not None and matrix.rank == 2 and self.only_use(product.result) is op:
                return matrix, vector, inner
        return None

    def into_sum(self, applied: Applied, links: set[Op]) -> None:
        """Whether the result is but added to line number i + offset of a sum."""
        link = self.only_use(applied.op.result)
        if link not in links or link is None or applied.ranges[1 - applied.inner].moves:
            return
        array, value, *positions = link.operands
        spec = link.attrs["spec"]
        parts = split_spec(spec, positions)
        if value is not applied.op.result or array.rank != 2 or spec.count("i") != 1:
            return
        line = spec.index("i")
        offset = self.linear(parts[line][0]) - Linear(0, {self.i: 1})
        along = self.range(spec[1 - line], parts[1 - line], array, 1 - line)
        if self.fixed(offset) and along is not None and not along.moves:
            applied.into, applied.line, applied.offset, applied.along = link, line, offset, along

    def line(self, value: Value) -> Line | None:
        """The line of a matrix that a vector is, one after the other in turns that follow."""
        op = value.op
        if op is None or op.name != "index" or op.operands[0].rank != 2 or not self.invariant(op.operands[0]):
            return None
        spec = op.attrs["spec"]
        if spec.count("i") != 1 or value not in self.inside:
            return None
        parts = split_spec(spec, op.operands[1:])
        axis = spec.index("i")
        offset = self.linear(parts[axis][0]) - Linear(0, {self.i: 1})
        start = Linear()
        if spec[1 - axis] == "s":
            begin, _, step = parts[1 - axis]
            start = self.linear(begin)
            if not (type(step) is Const and step.value == 1):
                return None
        return Line(op.operands[0], axis, offset, start) if self.fixed(offset) else None

    # ---------------------------------------------------------------- before and after

    def consequences(self, applied: dict[Op, Applied], links: set[Op]) -> tuple[set[Op], set[Value]]:
        """What needs a product, in its turn or in a later one."""
        results = {op.result for op, a in applied.items() if a.into is None}
        skipped = {a.into for a in applied.values() if a.into is not None} | set(applied)
        after: set[Op] = set()
        late = set(results)
        sums = {x for link in links for x in (link.operands[0], link.result)}
        while True:
            size = len(after), len(late)
            for op in self.body:
                needs = [v for v in reads(op) if not (op in links and v is op.operands[0])]
                if op not in skipped and op not in after and any(v in late for v in needs):
                    after.add(op)
                    late.update(r for r in op.results if r not in sums)
            for arg, new in zip(self.args, self.yields):
                if new in late and arg not in sums:
                    late.add(arg)
            if (len(after), len(late)) == size:
                return after, late

    def is_late(self, value: Value, after: set[Op], late: set[Value]) -> bool:
        return value in late or value.op in after

    def kept(self, after: set[Op], late: set[Value], products: set[Op]) -> list[Value] | None:
        """What must be handed over; None where that cannot be, or where a check would come too late."""
        out: dict[Value, None] = {}
        for op in after:
            if any(REGISTRY[x.name].effect == "check" for x in [op, *(x for r in op.regions for x in walk(r))]):
                return None
        for op in self.body:
            if op in after:
                for value in reads(op):
                    if not self.hand_over(value, after, late, products, out):
                        return None
        for arg, new in zip(self.args, self.yields):
            if arg in late and not self.hand_over(new, after, late, products, out):
                return None
        return list(out)

    def hand_over(
        self, value: Value, after: set[Op], late: set[Value], products: set[Op], out: dict[Value, None]
    ) -> bool:
        sums = value in self.args and self.sum(self.args.index(value)) is not None
        if self.invariant(value) or value in late or value.op in after or sums or self.is_link(value):
            return True
        if self.again(value):
            return True
        if isinstance(value.type, Tape):
            return False
        if isinstance(value.type, Array):
            if value.rank != 1 or not self.fixed(self.facts.resolve(self.facts.extent(value, 0))):
                return False
        out[value] = None
        return True

    def is_link(self, value: Value) -> bool:
        return value.op is not None and value.op.name == "accumulate" and self.in_sum(value)

    def in_sum(self, value: Value) -> bool:
        while value.op is not None and value.op.name == "accumulate":
            value = value.op.operands[0]
        return value in self.args and self.sum(self.args.index(value)) is not None

    def again(self, value: Value) -> bool:
        """Whether a value is easily computed again from the loop's variable and what the loop does not change."""
        if value is self.i or type(value) is Const or self.invariant(value):
            return True
        op = value.op
        if op is None or op.regions or REGISTRY[op.name].effect:
            return False
        arithmetic = REGISTRY[op.name].category == "elementwise" and not value.is_array and not value.dtype.is_float
        return (arithmetic or op.name in AGAIN) and all(self.again(x) for x in op.operands)
