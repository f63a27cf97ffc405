"""Decide where each primal value that the reverse sweep asks for comes from.

In: a prepared primal, its reverse sweep with `residual` placeholders. Out: a `Plan`. There are four ways:

1. read again: the value still exists (arguments, constants, anything at the top level, the loop variable itself,
   places of an array that are not overwritten afterwards: `dependence`);
2. recompute: from values that exist, by operations that are cheap next to memory traffic; also arrays that are made and
   written to within one turn of a loop, which costs what it did the first time, and much less than a tape:

       %k1 = update (empty %n), %v, 1, %m, 1     forward, in a loop over %y      %p, %y = tape.pop %q
       %z = add %y, %k1                                                     =>   %k1 = update (empty %n), ...
       ... mul %z, %w, of which %z is needed                                     %z = add %y, %k1

3. save: keep it when it is computed, on a tape where there are loops around it;
4. undo: roll an overwritten array back while walking backwards, keeping only what the writes overwrote.

Ways 1-3 are chosen together by a minimum cut: in the graph of how needed values are computed from values that are
lost, the cheapest set whose saving lets everything else be recomputed (cut as late as possible, so that equal
memory means less recomputation). Way 4 is taken for a lineage of arrays where the total gets cheaper by it. Costs are
estimates: an element is 1 (8 bytes, written and read), an unknown extent or trip count 20. Arithmetic is free, an
elementary function costs more than to keep its value:

    y = exp %x                  forward, in a loop            y = exp %x
                                                      =>      %q = tape.push %p, %y
    y = exp %x                  reverse: again from %x        %p, %y = tape.pop %q

unless its loops are known to be of lower order than a gradient that is written anyway (`lower_order`): then the time of
a few such functions is lost in that of the gradient, next to which a tape would need memory of its own.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..core import Const, Op, Region, Value, walk
from ..ops import lookup
from ..types import Array, Scalar
from .dependence import FinalRead, final_reads
from .lineage import Lineages, Versions
from .lower_order import LowerOrder
from .prepare import Prepared
from .reverse import OVERWRITES, Reverse

__all__ = ["Need", "Plan", "make_plan"]

TYPICAL_EXTENT = 20.0
UNBOUNDED = 1e18
HIGHEST_RECOMPUTE_COST = 50
ELEMENTARY_COST = 8
KEEPING_PER_COST = 5.0
"""An element costs as much to keep (in memory that has been used before) as operations whose declared costs add up to
this; what is cheaper than an elementary function disappears behind the memory traffic."""
REWRITE_COST = 0.1
"""What it costs to write a part of an array of an iteration's own once more, in units of keeping the array: it is
written to memory that is in a cache, where a tape grows through all of memory."""
REWRITTEN = ("update", "accumulate")
NEW_MEMORY = ("empty", "fill")
NOT_RECOMPUTED = (*OVERWRITES, "concat", "empty", "dim")


@dataclass(frozen=True)
class Need:
    """A primal value asked for where each lineage is at the version `versions` says."""

    value: Value
    versions: dict[Value, Value | None]
    regions: tuple[Region, ...] = ()
    """The regions of the primal in whose mirror it is."""


@dataclass
class Plan:
    """What is saved, and which lineages are undone."""

    prepared: Prepared
    lineages: Lineages
    reverse: Reverse
    final_reads: dict[Value, FinalRead] = field(default_factory=dict)
    saved: set[Value] = field(default_factory=set)
    undone: set[Value] = field(default_factory=set)
    unreached: list[Value] = field(default_factory=list)
    """Differentiated arguments on which no differentiated result depends."""
    cost: float = 0.0
    frugal: bool = False
    """Memory counts alone: nothing is kept to save computing it again."""
    lower_order: LowerOrder | None = None
    """Which regions' numbers are few next to the elements of a gradient."""

    @property
    def undone_writes(self) -> list[Op]:
        return [op for lineage in self.undone_in_order() for op in self.lineages.overwrites[lineage]]

    def undone_in_order(self) -> list[Value]:
        return [lineage for lineage in self.lineages.overwrites if lineage in self.undone]

    def saved_in_order(self) -> list[Value]:
        return sorted(self.saved, key=self.reverse.order_of)

    def exists(self, value: Value, versions: dict[Value, Value | None]) -> bool:
        """Whether a primal value can simply be read where the lineages are at `versions`."""
        if isinstance(value, Const) or value in self.reverse.direct or self.extent_of_lane(value) is not None:
            return True
        if value.op is not None and value.op.name == "dim" and self.exists(value.op.operands[0], versions):
            return True  # but never from an array that has to be taken off a tape, which needs its extents first
        if value.is_array:
            lineage = self.lineages.of(value)
            if lineage in self.undone and versions.get(lineage) is value:
                return True
            if self.prepared.home[value] is not self.prepared.function.body:
                return False
            return self.is_intact(value)
        return self.prepared.home[value] is self.prepared.function.body

    def extent_of_lane(self, value: Value) -> tuple[Value, int] | None:
        """The cotangent, and its axis, whose extent `value` is."""
        found = self.reverse.lane_extents.get(value)
        return found[1:] if found is not None and found[1] in found[0].args else None

    def is_intact(self, value: Value) -> bool:
        """Whether the memory of a top-level array still holds it at the end (arguments are never written)."""
        if value.op is None:
            return True
        lineage = self.lineages.of(value)
        return lineage not in self.lineages.overwrites or self.lineages.final(lineage) is value

    def sources(self, value: Value, regions: Sequence[Region] | None = None) -> list[Value] | None:
        """The values that `value` (needed in the mirror of `regions`) can be computed from again; None where it
        cannot."""
        final = self.read_at_the_end(value)
        if final is not None:
            return list(final.positions)
        if value in self.reverse.inductions:
            return self.reverse.inductions[value].operands
        if value.op is None or not self.can_recompute(value):
            return None
        if value.op.name in REWRITTEN and regions is not None and not self.within_one_turn(value, regions):
            return None
        return value.op.operands

    def read_at_the_end(self, value: Value) -> FinalRead | None:
        """Where the final contents of an array hold `value`, if they do (and are not being undone)."""
        final = self.final_reads.get(value)
        return final if final is not None and final.lineage not in self.undone else None

    def can_recompute(self, value: Value) -> bool:
        """Whether a value may be computed again from its operands."""
        op = value.op
        if op is None or op.regions:
            return False
        if op.name in REWRITTEN:
            return self.is_own(value)
        if op.name == "empty":
            return self.begins_own(value)
        if op.name in NOT_RECOMPUTED or len(op.results) != 1:
            return False
        rule = lookup(op.name)
        return (
            rule.effect in ("", "check")
            and rule.cost <= HIGHEST_RECOMPUTE_COST
            and rule.category
            in (
                "elementwise",
                "shape",
                "check",
            )
        )

    def is_own(self, value: Value) -> bool:
        """Whether a version of an array is made, as a whole, in each turn of the loop around it, by operations that
        can be carried out again: then this costs no more than it did the first time. (Where an array comes into the
        turn from outside and is written to in place, one element may be all that a turn has to do with it.)"""
        home = self.prepared.home[value]
        if self.lineages.of(value) in self.undone:
            return False
        while value.op is not None and value.op.name in REWRITTEN:
            if not self.lineages.continues(value.op):
                return True  # of a copy
            value = value.op.operands[0]
            if self.prepared.home[value] is not home:
                return False
        if value.op is None or not self.can_recompute(value):
            return False
        return value.op.name in NEW_MEMORY or lookup(value.op.name).category == "elementwise"

    def begins_own(self, value: Value) -> bool:
        """Whether memory that begins with any contents is written to in the region where it is made."""
        home = self.prepared.home[value]
        return any(op.name in REWRITTEN and op.operands[0] is value for op in home.ops)

    def within_one_turn(self, value: Value, regions: Sequence[Region]) -> bool:
        """Whether what is needed in the mirror of `regions` can be computed once for each time it was computed: there,
        or before the loop in whose turns it is needed."""
        home = self.prepared.home[value]
        for region in regions:
            while region is not home:
                site = self.prepared.sites[region]
                if site.owner is None or site.parent is None:
                    break
                if site.owner.name != "if" and not self.is_the_same_anywhere(value):
                    break
                region = site.parent
            else:
                return True
        return False

    def is_the_same_anywhere(self, value: Value) -> bool:
        """Whether nothing that a value is computed from is being undone: it is the same before a loop as in it."""
        pending, seen = [value], {value}
        while pending:
            last = pending.pop()
            if last.is_array and self.lineages.of(last) in self.undone:
                return False
            outside = self.prepared.home[last] is self.prepared.function.body
            if last.op is not None and not outside and self.can_recompute(last):
                new = [v for v in last.op.operands if v not in seen and not isinstance(v, Const)]
                seen.update(new)
                pending += new
        return True


def make_plan(prepared: Prepared, reverse: Reverse, frugal: bool = False, gradients: Sequence[Value] = ()) -> Plan:
    """The cheapest plan found: greedily, lineage by lineage, undo where it pays. `gradients`: arguments whose gradients
    the sweep makes."""
    order = LowerOrder(prepared, gradients)
    lineages = Lineages(prepared, reverse.reversed_ops)
    final = final_reads(lineages, reverse)
    best = _evaluate(Plan(prepared, lineages, reverse, final, frugal=frugal, lower_order=order))
    for lineage in lineages.overwrites:
        if best.cost == 0:
            break
        candidate = _evaluate(replace(best, saved=set(), undone={*best.undone, lineage}))
        if candidate.cost < best.cost:
            best = candidate
    return best


# ---------------------------------------------------------------- costs


def size(value: Value) -> float:
    """Estimated elements of a value, in units of 8 bytes."""
    t = value.type
    if not isinstance(t, Scalar | Array):
        return UNBOUNDED
    count = t.dtype.itemsize / 8
    for d in t.dims:
        count *= TYPICAL_EXTENT if d is None else d
    return count


def price(plan: Plan, value: Value) -> float:
    return size(value) * TYPICAL_EXTENT ** plan.prepared.loops(plan.prepared.home[value])


def recompute_price(plan: Plan, value: Value, regions: Sequence[Region]) -> float:
    """What it costs to compute a value again from its operands, for a need in the mirror of `regions`, in the unit of
    `price`."""
    assert value.op is not None
    if value.op.name in REWRITTEN and not plan.frugal:
        return price(plan, value) * REWRITE_COST
    cost = lookup(value.op.name).cost
    if plan.frugal or cost < ELEMENTARY_COST or not value.dtype.is_float:
        return 0.0
    bytes_per_element = value.dtype.itemsize / 8
    once = price(plan, value) / bytes_per_element * cost / KEEPING_PER_COST
    if value.is_array or plan.lower_order is None:
        return once
    home, loops = plan.prepared.home[value], plan.prepared.loops
    if {loops(region) for region in regions} != {loops(home)}:  # it is computed where it is needed, which is more often
        return once
    if not reads_arguments_alone(plan, value) or not plan.lower_order.at(home):
        return once
    return once / TYPICAL_EXTENT


def reads_arguments_alone(plan: Plan, value: Value) -> bool:
    """Whether a number is computed again without reading an array that would have to be there longer for it."""
    top = plan.prepared.function.body
    pending, seen = [value], {value}
    while pending:
        op = pending.pop().op
        for v in op.operands if op is not None else ():
            if v.is_array and v not in top.args:
                return False
            if v not in seen and v.op is not None and plan.prepared.home[v] is not top and plan.can_recompute(v):
                seen.add(v)
                pending.append(v)
    return True


def undo_price(plan: Plan, op: Op) -> float:
    """What the overwritten elements of one write cost to keep."""
    element = op.result.dtype.itemsize / 8
    if op.name.startswith("scatter"):
        count = size(op.operands[2]) * 2
    else:
        count = TYPICAL_EXTENT ** sum(letter != "i" for letter in op.attrs["spec"])
    return element * count * TYPICAL_EXTENT ** plan.prepared.loops(plan.prepared.home[op.result])


# ---------------------------------------------------------------- needs


def collect_needs(plan: Plan) -> list[Need]:
    """Every placeholder of the reverse sweep, with the versions in force there."""
    needs: list[Need] = []
    versions = Versions(plan.lineages)
    body = plan.prepared.function.body
    versions.enter([body], None)
    _collect_in(plan, plan.reverse.region, (body,), versions, needs, wanted_placeholders(plan))
    for lineage in plan.undone_in_order():  # undoing starts from the last version, to be had where the lineage ends
        home = plan.lineages.home(lineage)
        if home is not body:
            needs.append(Need(plan.lineages.final(lineage), {}))
    return needs


def wanted_placeholders(plan: Plan) -> set[Value]:
    """Operands of everything in the sweep but of the markers of writes that are not undone."""
    undone = set(plan.undone_writes)
    return {
        v for op in walk(plan.reverse.region) if op.name != "undo" or op.attrs["primal"] in undone for v in op.operands
    }


def _collect_in(
    plan: Plan,
    mirror: Region,
    regions: Sequence[Region],
    versions: Versions,
    needs: list[Need],
    wanted: set[Value],
) -> None:
    for op in mirror.ops:
        if op.name == "residual":
            if op.result in wanted:
                needs.append(Need(op.attrs["of"], dict(versions.current), tuple(regions)))
        elif op.name == "undo":
            primal: Op = op.attrs["primal"]
            versions.undo(primal)
        elif op.regions:
            owner: Op = op.attrs["primal"]
            for target, sources in mirrored_pairs(op, owner):
                before = versions.enter(sources, owner)
                _collect_in(plan, target, sources, versions, needs, wanted)
                after = versions.current
                versions.current = before
            versions.current = after
            versions.leave(before, owner)


def mirrored_pairs(op: Op, owner: Op) -> Iterator[tuple[Region, list[Region]]]:
    """Each region of a mirrored operation with the primal regions it mirrors."""
    if owner.name == "if":
        for target, source in zip(op.regions, owner.regions, strict=True):
            yield target, [source]
    else:
        yield op.regions[0], owner.regions


# ---------------------------------------------------------------- minimum cut


def _evaluate(plan: Plan) -> Plan:
    needs = collect_needs(plan)
    while True:
        plan.saved, plan.cost = _minimum_cut(plan, needs)
        extra = [
            n
            for n in _extent_needs(plan)
            if not plan.exists(n.value, n.versions) and n.value not in {m.value for m in needs}
        ]
        if not extra:
            break
        needs = needs + extra
    plan.cost += sum(undo_price(plan, op) for op in plan.undone_writes)
    return plan


def _extent_needs(plan: Plan) -> list[Need]:
    """To read an array off a tape its extents are needed."""
    arrays = [v for v in plan.saved_in_order() if v.is_array]
    for op in plan.undone_writes:
        arrays += [op.result, *(v for v in op.operands[2:] if v.is_array)]
    return [Need(e, {}) for v in arrays for e in plan.prepared.shapes[v] if not isinstance(e, Const)]


class _Graph:
    """Capacities between nodes; minimum cut by augmenting along shortest paths (Edmonds and Karp 1972)."""

    def __init__(self) -> None:
        self.capacity: dict[object, dict[object, float]] = {}

    def edge(self, a: object, b: object, capacity: float) -> None:
        out = self.capacity.setdefault(a, {})
        out[b] = max(out.get(b, 0.0), capacity)
        self.capacity.setdefault(b, {}).setdefault(a, 0.0)

    def shortest_path(self, source: object, sink: object) -> list[object] | None:
        before: dict[object, object] = {source: source}
        queue = deque([source])
        while queue:
            node = queue.popleft()
            if node is sink:
                path = [sink]
                while path[-1] is not source:
                    path.append(before[path[-1]])
                return path[::-1]
            for following, capacity in self.capacity.get(node, {}).items():
                if capacity > 0 and following not in before:
                    before[following] = node
                    queue.append(following)
        return None

    def saturate(self, source: object, sink: object) -> float:
        flow = 0.0
        while (path := self.shortest_path(source, sink)) is not None:
            pairs = list(itertools.pairwise(path))
            amount = min(self.capacity[a][b] for a, b in pairs)
            for a, b in pairs:
                self.capacity[a][b] -= amount
                self.capacity[b][a] += amount
            flow += amount
        return flow

    def reaching(self, sink: object) -> set[object]:
        """Nodes from which the sink can still be reached."""
        back: dict[object, list[object]] = {}
        for a, out in self.capacity.items():
            for b, capacity in out.items():
                if capacity > 0:
                    back.setdefault(b, []).append(a)
        found = {sink}
        queue = deque([sink])
        while queue:
            for node in back.get(queue.popleft(), []):
                if node not in found:
                    found.add(node)
                    queue.append(node)
        return found


def _minimum_cut(plan: Plan, needs: list[Need]) -> tuple[set[Value], float]:
    graph = _Graph()
    source, sink = "source", "sink"
    seen: set[tuple[Value, int]] = set()
    nodes: dict[Value, None] = {}
    for number, need in enumerate(needs):
        if plan.exists(need.value, need.versions):
            continue
        graph.edge((need.value, "out"), sink, UNBOUNDED)
        pending = [need.value]
        while pending:
            value = pending.pop()
            if (value, number) in seen:
                continue
            seen.add((value, number))
            if value not in nodes:
                nodes[value] = None
                graph.edge((value, "in"), (value, "out"), price(plan, value))
            operands = plan.sources(value, need.regions)
            if operands is None:
                graph.edge(source, (value, "in"), UNBOUNDED)
                continue
            if value.op is not None and plan.can_recompute(value) and plan.read_at_the_end(value) is None:
                again = recompute_price(plan, value, need.regions)
                if again:
                    graph.edge(source, (value, "in"), again)
            for operand in operands:
                if not plan.exists(operand, need.versions):
                    graph.edge((operand, "out"), (value, "in"), UNBOUNDED)
                    pending.append(operand)
    cost = graph.saturate(source, sink)
    late = graph.reaching(sink)
    return {v for v in nodes if (v, "in") not in late and (v, "out") in late}, cost
