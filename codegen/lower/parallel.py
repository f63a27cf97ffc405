"""Which loops may run their turns at once, and what each thread needs of its own for it.

In: a scheduled function. Out: `mark` gives its parallel loops the attribute `parallel`, outermost ones first, after
`induction` has brought counters and tapes into closed form; `plan` says of one loop how it can be run in parallel.

    for %i in (0, %n) {                          for %i in parallel (0, %n) {
      for %j in (0, %m) {                          for %j in (0, %m) {
        %a: f64 = buffer.load %x, %i, %j             %a: f64 = buffer.load %x, %i, %j
        %b: f64 = exp %a                   =>        %b: f64 = exp %a
        buffer.store %b, %y, %i, %j                  buffer.store %b, %y, %i, %j
        yield                                        yield
      }                                            }
      yield                                        yield
    }                                            }

A loop is parallel where

* no element that one turn writes is touched by another; or turns get along with copies of that memory (`private`),
  which are not needed of memory that is only added to if turns that touch the same elements are near each other;
* what it carries is a sum, a product, a largest or smallest value, and only the last turn's is looked at;
* a turn does nothing but compute, read and write memory, and fail. Which turn fails first is told by the order of
  turns, but others may have run by then: so no loop that can fail writes to the caller's arrays.

Whether there is work enough is seen when the program runs (`codegen.llvm.parallel`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.ops.declare import lookup
from ...ir.types import BOOL, Buffer
from ..callbacks import CALLBACK
from ..scheduled import written_operands
from .accesses import CHECKS, Access, Loop, apart, root_of
from .induction import closed_forms, defined_in
from .polynomials import (
    Polynomial,
    Range,
    add,
    bound_above,
    bound_below,
    constant,
    expand,
    is_atom,
    never_negative,
)
from .private import Places, only_added_to, workspace

__all__ = ["Plan", "Quotient", "mark", "plans"]

REDUCTIONS = {
    "add": "add",
    "add_any_order": "add",
    "sub": "add",
    "mul": "mul",
    "mul_any_order": "mul",
    "maximum": "maximum",
    "minimum": "minimum",
}

FEW_TURNS = ("lanes", "bounded", "plain")
"""What says of a loop that it has too few turns for threads (`columns`, `blocking`, `triangles`)."""


Quotient = tuple[Polynomial, int]


@dataclass
class Plan:
    """How to run a loop in parallel. `sums`: per carried value, by what partial results are put together;
    `workspaces`: memory of which each thread has a copy; `accumulated`: memory of which each chunk of turns has a copy
    of zeros that is added in the end; `near`: of some of that memory, how many turns apart two turns are at most that
    touch the same element, the largest of these quotients (rounded down, not less than 0), known before the loop;
    `fails`: whether a turn can end the program."""

    sums: list[str] = field(default_factory=list)
    workspaces: list[Value] = field(default_factory=list)
    accumulated: list[Value] = field(default_factory=list)
    near: dict[Value, list[Quotient]] = field(default_factory=dict)
    fails: bool = False


def mark(function: Function) -> None:
    """Mark the parallel loops of a function. Changes it in place."""
    closed_forms(function)
    analysis = Analysis(function)
    for op in analysis.outermost(function.body, True):
        op.attrs["parallel"] = True


def plans(function: Function) -> dict[Op, Plan]:
    """How to run the loops that are marked."""
    analysis = Analysis(function)
    out = {}
    for op in walk(function.body):
        if op.attrs.get("parallel"):
            found = analysis.plan(op)
            if found is not None:
                out[op] = found
    return out


@dataclass
class Turn:
    """One operation of a loop's body that touches memory: what, at which position (None: anywhere), in which loops."""

    op: Op
    root: Value
    write: bool
    position: tuple[Value, ...] | None
    loops: tuple[Loop, ...]


class Analysis:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.places = Places.of(function)
        self.order = {op: k for k, op in enumerate(walk(function.body))}
        layouts = function.attrs.get("layouts") or ("C",) * len(function.args)
        self.dense = {a for a, layout in zip(function.args, layouts, strict=True) if layout != "A"}
        self.facts = [(op, self.guards(op)) for op in walk(function.body) if op.name == "same_extent"]

    def outermost(self, region: Region, copies: bool) -> Iterator[Op]:
        """The outermost parallel loops; `copies`: also those that accumulate. Where copies cost too much when the
        program runs, loops inside that need none may run in parallel instead."""
        for op in region.ops:
            if any(op.attrs.get(hint) for hint in FEW_TURNS):
                continue
            found = self.plan(op) if op.name == "for" else None
            chosen = found is not None and (copies or not found.accumulated)
            if chosen:
                yield op
            if not chosen or (found is not None and found.accumulated):
                for inner in op.regions:
                    yield from self.outermost(inner, copies and not chosen)

    # extents that are known to be equal

    def guards(self, op: Op) -> list[tuple[Value, Value]] | None:
        """The ranges that were not empty where an operation has been run; None if that depends on more."""
        out = []
        owner = self.places.owner_of[self.places.region_of[op]]
        while owner is not None:
            if owner.name != "for":
                return None
            out.append((owner.operands[0], owner.operands[1]))
            owner = self.places.owner_of[self.places.region_of[owner]]
        return out

    def equalities(self, loop: Op) -> dict[Value, Value]:
        """Values that are equal in the turns of a loop, each with the one that stands for all."""
        around = [(loop.operands[0], loop.operands[1])]
        owner = self.places.owner_of[self.places.region_of[loop]]
        while owner is not None:
            if owner.name == "for":
                around.append((owner.operands[0], owner.operands[1]))
            owner = self.places.owner_of[self.places.region_of[owner]]
        out: dict[Value, Value] = {}
        for op, guards in self.facts:
            inside = self.places.region_of[op] is loop.regions[0]
            if guards is not None and (inside or self.order[op] < self.order[loop]):
                if all(g in around for g in guards):
                    for other in (op.operands[1], op.results[0]):
                        a, b = sorted((found(out, op.operands[0]), found(out, other)), key=plainness)
                        if a != b:
                            out[b] = a
        return out

    # one loop

    def plan(self, loop: Op) -> Plan | None:
        """How to run a loop in parallel; None where that is not possible."""
        body = loop.regions[0]
        touched = self.turns(body)
        if touched is None:
            return None
        out = Plan()
        for arg, given in zip(body.args[1:], body.terminator.operands, strict=True):
            kind = self.reduction(arg, given)
            if kind is None:
                return None
            out.sums.append(kind)
        out.fails = any(op.name in CHECKS or op.name in ("buffer.alloc", "buffer.call") for op in walk(body))
        inside = defined_in(body)
        equal = self.equalities(loop)

        def same(value: Value) -> Value:
            return found(equal, value)

        for root in dict.fromkeys(t.root for t in touched if t.write and t.root not in inside):
            if not self.may_be_written(root, body):
                return None
            mine = [t for t in touched if t.root is root]
            if all(self.get_along(loop, a, b, same) for a in mine if a.write for b in mine):
                continue
            if not named_directly(body, root, inside):
                return None
            if workspace(self.places, loop, root, same):
                out.workspaces.append(root)
            elif only_added_to(self.places, [t.op for t in mine], root):
                out.accumulated.append(root)
                reach = None if out.fails else self.reach(loop, mine, same)
                if reach is not None:
                    out.near[root] = reach
            else:
                return None
        return out

    def reach(self, loop: Op, turns: list[Turn], same: Callable[[Value], Value]) -> list[Quotient] | None:
        """How far apart turns can be that touch one element: the most of these quotients; None where all may."""
        out: list[Quotient] = []
        for a in turns:
            for b in turns:
                if a.write and not self.get_along(loop, a, b, same):
                    found = self.reach_of(loop, a, b)
                    if found is None:
                        return None
                    out += found
        return out

    def reach_of(self, loop: Op, a: Turn, b: Turn) -> list[Quotient] | None:
        """Of two accesses, by positions along an axis that grow by the same number in each turn."""
        if a.position is None or b.position is None:
            return None
        index = loop.regions[0].args[0]
        turns = Loop(index, loop.operands[0], loop.operands[1])
        inside = defined_in(loop.regions[0])
        for p, q in zip(a.position, b.position):
            # values stand for themselves: those that are equal to them may not be known where the loop begins
            found = self.difference(index, turns, inside, p, q, a.loops, b.loops, lambda value: value)
            if found is not None and list(found[0]) == [()]:
                slope, above, below = found
                return [(above, slope[()]), (add({}, below, -1), slope[()])]
        return None

    def turns(self, body: Region) -> list[Turn] | None:
        """What a turn does to memory; None if it does anything that cannot be told or done in parallel."""
        out: list[Turn] = []

        def enter(region: Region, loops: tuple[Loop, ...]) -> bool:
            for op in region.ops:
                effect = lookup(op.name).effect
                if effect not in ("", "memory", "check", "terminator"):
                    return False
                buffers = [v for v in op.operands if isinstance(v.type, Buffer)]
                if op.name == "buffer.load":
                    out.append(self.turn(op, 0, False, loops))
                elif op.name == "buffer.store":
                    out.append(self.turn(op, 1, True, loops))
                elif op.name == "buffer.call":
                    if op.attrs["kernel"] == CALLBACK or any(isinstance(r.type, Buffer) for r in op.results):
                        return False
                    writes = written_operands(op)
                    for k, v in enumerate(op.operands):
                        if isinstance(v.type, Buffer):
                            out.append(Turn(op, root_of(v), k in writes, None, loops))
                elif op.regions:
                    if buffers or any(isinstance(r.type, Buffer) for r in op.results):
                        return False
                    inner = loops
                    if op.name == "for":
                        inner = (*loops, Loop(op.regions[0].args[0], op.operands[0], op.operands[1]))
                    if not all(enter(r, inner) for r in op.regions):
                        return False
                elif buffers and op.name not in ("buffer.dim", "buffer.reshape"):
                    return False
            return True

        return out if enter(body, ()) else None

    def turn(self, op: Op, at: int, write: bool, loops: tuple[Loop, ...]) -> Turn:
        buffer = op.operands[at]
        root = root_of(buffer)
        while buffer is not root and buffer.op is not None and buffer.op.name == "buffer.call":
            buffer = buffer.op.operands[0]  # a tape that has grown keeps its elements' places
        return Turn(op, root, write, tuple(op.operands[at + 1 :]) if root is buffer else None, loops)

    def may_be_written(self, root: Value, body: Region) -> bool:
        """Whether it does no harm that further turns have run when one fails, and elements are apart in memory."""
        if root.op is not None:
            return root.op.name in ("buffer.alloc", "buffer.call")
        if root not in self.function.args:
            # a name that a loop carries memory under
            return False
        if root not in self.dense:
            return False
        return not any(op.name in CHECKS for op in walk(body))

    # what is carried

    def reduction(self, arg: Value, given: Value) -> str | None:
        """By what the contributions of turns to a carried value are put together."""
        if isinstance(arg.type, Buffer) or arg.dtype is BOOL:
            return None
        return self.chain(arg, given)

    def chain(self, start: Value, end: Value) -> str | None:
        """The kind of a sum that begins with `start` and ends with `end`, if nobody else looks at it on the way."""
        op = end.op
        if op is None or self.uses(end) != 1:
            return None
        if op.name in REDUCTIONS:
            sides = [k for k, v in enumerate(op.operands) if self.leads_to(v, start)]
            if len(sides) != 1 or (op.name == "sub" and sides != [0]):
                return None
            return self.onward(start, op.operands[sides[0]], REDUCTIONS[op.name])
        if op.name == "for":
            k = op.results.index(end)
            inner = self.chain(op.regions[0].args[1 + k], op.regions[0].terminator.operands[k])
            others = [v for j, v in enumerate(op.operands) if j != 2 + k]
            if inner is None or any(self.leads_to(v, start) for v in others):
                return None
            return self.onward(start, op.operands[2 + k], inner)
        if op.name == "if":
            k = op.results.index(end)
            ends = [region.terminator.operands[k] for region in op.regions]
            if self.uses(start) != len(ends):  # one in each branch
                return None
            kinds = {self.chain_in_branch(start, v) for v in ends if v is not start}
            return kinds.pop() if len(kinds) == 1 else None
        return None

    def onward(self, start: Value, before: Value, kind: str) -> str | None:
        if before is start:
            return kind if self.uses(start) == 1 else None
        return kind if self.chain(start, before) == kind else None

    def chain_in_branch(self, start: Value, end: Value) -> str | None:
        """As `chain`, of one operation, where other branches use `start` too."""
        op = end.op
        if op is None or self.uses(end) != 1 or op.name not in REDUCTIONS or op.operands.count(start) != 1:
            return None
        if op.name == "sub" and op.operands[0] is not start:
            return None
        return REDUCTIONS[op.name]

    def uses(self, value: Value) -> int:
        return len(self.places.users.get(value, []))

    def leads_to(self, value: Value, start: Value, depth: int = 40) -> bool:
        """Whether a value is computed from `start` by operations of a chain; others are seen by who uses `start`."""
        if value is start:
            return True
        op = value.op
        if op is None or depth == 0:
            return False
        if op.name in REDUCTIONS:
            return any(self.leads_to(v, start, depth - 1) for v in op.operands)
        if op.name == "for":
            k = op.results.index(value)
            return self.leads_to(op.operands[2 + k], start, depth - 1)
        return False

    # positions

    def get_along(self, loop: Op, a: Turn, b: Turn, same: Callable[[Value], Value]) -> bool:
        """Whether two accesses in different turns never touch one element."""
        if a.position is None or b.position is None:
            return False
        index = loop.regions[0].args[0]
        inside = defined_in(loop.regions[0])
        turns = Loop(index, loop.operands[0], loop.operands[1])
        if any(self.far(index, turns, inside, p, q, a.loops, b.loops, same) for p, q in zip(a.position, b.position)):
            return True
        first, second = (Access(t.root, t.write, t.position, t.loops, t.op) for t in (a, b))
        return steady(a, index, inside) and steady(b, index, inside) and apart(first, second, [turns])

    def far(
        self,
        index: Value,
        turns: Loop,
        inside: set[Value],
        p: Value,
        q: Value,
        around_p: tuple[Loop, ...],
        around_q: tuple[Loop, ...],
        same: Callable[[Value], Value],
    ) -> bool:
        """Whether two positions along an axis differ in different turns, whatever the loops inside do."""
        found = self.difference(index, turns, inside, p, q, around_p, around_q, same)
        if found is None:
            return False
        slope, above, below = found
        one = constant(1)
        return never_negative(add(add(slope, above, -1), one, -1)) and never_negative(add(add(slope, below), one, -1))

    def difference(
        self,
        index: Value,
        turns: Loop,
        inside: set[Value],
        p: Value,
        q: Value,
        around_p: tuple[Loop, ...],
        around_q: tuple[Loop, ...],
        same: Callable[[Value], Value],
    ) -> tuple[Polynomial, Polynomial, Polynomial] | None:
        """Of two positions along an axis: by how much each grows in a turn (not negative as far as it is a number), and
        the largest and the smallest that the first minus the second gets besides, whatever the loops inside do."""
        seen = [within(index, turns, loops, same) for loops in (around_p, around_q)]
        own = [expand(x, same, known) for x, (known, _) in zip((p, q), seen, strict=True)]
        slopes: list[Polynomial] = []
        for k, form in enumerate(own):
            slope: Polynomial = {}
            rest: Polynomial = {}
            for monomial, coefficient in form.items():
                times = monomial.count(index)
                if times > 1:
                    return None
                if times:
                    slope[tuple(v for v in monomial if v is not index)] = coefficient
                else:
                    rest[monomial] = coefficient
            slopes.append(slope)
            own[k] = rest
        if not slopes[0] or slopes[0] != slopes[1]:
            return None
        slope = slopes[0]
        if any(c < 0 for c in slope.values()):
            slope = {m: -c for m, c in slope.items()}
            own = [{m: -c for m, c in form.items()} for form in own]
        ranges = [given for _, given in seen]
        for form, given in zip(own, ranges, strict=True):
            indices = {r.index for r in given}
            if any(v in inside and v not in indices for m in form for v in m):
                return None
        if any(v in inside for m in slope for v in m):
            return None
        if own[0] == own[1] and not any(v in inside for m in own[0] for v in m):
            difference_above = difference_below = constant(0)
        else:
            above, below = bound_above(own[0], ranges[0]), bound_below(own[1], ranges[1])
            least, most = bound_below(own[0], ranges[0]), bound_above(own[1], ranges[1])
            if above is None or below is None or least is None or most is None:
                return None
            if any(v in inside for bound in (above, below, least, most) for m in bound for v in m):
                return None  # one name, another number in each turn
            difference_above, difference_below = add(above, below, -1), add(least, most, -1)
        return slope, difference_above, difference_below


def named_directly(body: Region, root: Value, inside: set[Value]) -> bool:
    """Whether a loop's body knows memory by its own name, or by others that it makes itself."""
    buffers = {v for op in walk(body) for v in op.operands if isinstance(v.type, Buffer) and root_of(v) is root}
    return all(v is root or v in inside for v in buffers)


def steady(turn: Turn, index: Value, inside: set[Value]) -> bool:
    """Whether a position depends on loop indices and on what no turn changes."""
    assert turn.position is not None
    indices = {index, *(loop.index for loop in turn.loops)}
    values = [*turn.position, *(v for loop in turn.loops for v in (loop.lo, loop.hi))]
    forms = [expand(v, lambda x: x) for v in values]
    return all(v not in inside or v in indices for form in forms for m in form for v in m)


def within(
    index: Value, turns: Loop, loops: tuple[Loop, ...], same: Callable[[Value], Value]
) -> tuple[dict[Value, Polynomial], list[Range]]:
    """The ranges of a loop's index and of those inside. Where one of these begins at a place that moves with the loop
    (a block of a longer loop), its range is what it has come from there, and its value the sum, which is returned:

        for %i in (16 * %b, min(16 * %b + 16, %n))      =>      %i = 16 * %b + %i',  %i' in (0, 16)
    """
    known: dict[Value, Polynomial] = {}
    ranges = [range_of(turns, same)]
    for loop in loops:
        lo = expand(loop.lo, same, known)
        if any(index in monomial for monomial in lo):
            extents = [add(expand(end, same, known), lo, -1) for end in ends_of(loop.hi)]
            extent = next((e for e in extents if not any(index in monomial for monomial in e)), extents[0])
            known[loop.index] = add(lo, {(loop.index,): 1})
            ranges.append(Range(loop.index, {}, add(extent, constant(1), -1)))
        else:
            ranges.append(range_of(loop, same, known))
    return known, ranges


def ends_of(value: Value) -> Iterator[Value]:
    """What a value is not larger than."""
    yield value
    if value.op is not None and value.op.name == "minimum":
        for operand in value.op.operands:
            yield from ends_of(operand)


def range_of(loop: Loop, same: Callable[[Value], Value], known: Mapping[Value, Polynomial] | None = None) -> Range:
    last = add(expand(loop.hi, same, known), constant(1), -1)
    return Range(loop.index, expand(loop.lo, same, known), last)


def plainness(value: Value) -> int:
    """What stands for equal values: a constant, or one that is no sum."""
    return 0 if isinstance(value, Const) else 1 if is_atom(value) else 2


def found(parents: dict[Value, Value], value: Value) -> Value:
    while value in parents:
        value = parents[value]
    return value
