"""Arrays that are written to in places, above an infinite slope: their cotangents get masks, too (see `partly_read`).

In: a program and its active values. Out: those arrays of which an element can be finite where the slope it came from is
infinite (`sqrt` of 0), and which are the states of one array that is written to part by part. What is overwritten, or
never read, has a cotangent that is zero by structure, and the mask of it walks back through the writes:

    for %i in (0, %n) (%y = %zeros) {                for %i in reverse(0, %n) (%y_adj = ..., %m = ...) {
      %x_i = index %x, %i                              %v_adj = index %y_adj, %i      %k = index %m, %i
      %v = sqrt %x_i                            =>     %y_adj_1 = update %y_adj, 0, %i  %m_1 = update %m, false, %i
      %y_1 = update %y, %v, %i                         ... select(%k, %v_adj * (0.5 / %v), 0)
      yield %y_1                                       yield %y_adj_1, %m_1
    }                                                }

A mask is looked at or changed wherever the array is read or written to in part. So it is kept only where no such place
is visited more often than the infinite slope is computed, as far as loops and axes tell: the diagonal of a Cholesky
factor, whose elements are read again and again, has no mask. Quotients and logarithms count as no such slopes: where
these are infinite, the primal value is, too. Masks do not enter the turns of a checkpointed loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..core import Function, Op, Region, Value, walk
from ..ops import lookup
from .tangent_masks import QUOTIENTS, joins, steep_operands

__all__ = ["overwritten"]

WRITES = ("update", "accumulate")
PASSED = frozenset("index update accumulate transpose reshape fill broadcast".split())
"""What hands masks on towards the slope, besides elementwise operations."""
INFINITE = frozenset([*QUOTIENTS, "log", "log2", "log10", "log1p"])
"""Where the slope of these is infinite, so is what they compute."""


@dataclass(eq=False)
class States:
    """The states of one array."""

    values: set[Value] = field(default_factory=set)
    touches: list[int] = field(default_factory=list)
    """How many loops and axes there are around each place where a part of it is read or written."""
    written: bool = False


def overwritten(function: Function, active: set[Value]) -> set[Value]:
    """The arrays, of those that are written to in places, whose cotangents need a mask."""
    ops = list(placed(function.body, 0))
    slopes = {op: depth + op.result.rank for op, depth in ops if is_slope(op, active)}
    if not slopes:
        return set()
    below = reached(function, slopes)
    out: set[Value] = set()
    for states in lineages(ops, active):
        from_slopes = [below[v] for v in states.values if v in below]
        if states.written and from_slopes and max(states.touches) <= min(from_slopes):
            out |= states.values
    return out


def placed(region: Region, depth: int) -> Iterator[tuple[Op, int]]:
    """Each operation with the number of loops around it."""
    for op in region.ops:
        yield op, depth
        for inner in op.regions:
            yield from placed(inner, depth + (op.name != "if"))


def is_slope(op: Op, active: set[Value]) -> bool:
    if op.name in INFINITE or op.regions or not any(v in active for v in op.results):
        return False
    return any(op.operands[k] in active for k in steep_operands(op))


def reached(function: Function, slopes: dict[Op, int]) -> dict[Value, int]:
    """What infinite slopes flow into, with how often (the least of them) they are computed."""
    found: dict[Value, int] = {}

    def add(sources: list[Value], target: Value) -> bool:
        depths = [found[v] for v in sources if v in found]
        if not depths or found.get(target, min(depths) + 1) <= min(depths):
            return False
        found[target] = min(depths)
        return True

    for op, depth in slopes.items():
        found[op.result] = depth
    changed = True
    while changed:
        changed = False
        for op in walk(function.body):
            if op.regions:
                for sources, target in joins(op):
                    changed |= add(sources, target)
            elif op.results and (lookup(op.name).partials is not None or op.name in PASSED):
                floats = [op.operands[k] for k in range(len(op.operands)) if k < 2 or op.name not in PASSED]
                changed |= add(floats, op.result)
    return found


def lineages(ops: list[tuple[Op, int]], active: set[Value]) -> list[States]:
    """The active arrays that are written to in places, by which array they are states of."""
    of: dict[Value, States] = {}

    def same(values: list[Value]) -> None:
        whole = States()
        for v in values:
            states = of.get(v, States({v}))
            if states is not whole:
                whole.values |= states.values
                whole.touches += states.touches
                whole.written |= states.written
                for u in states.values:
                    of[u] = whole
        for v in whole.values:
            of[v] = whole

    for op, depth in ops:
        if op.regions:
            for sources, target in joins(op):
                if target.is_array and target in active:
                    same([target, *(v for v in sources if v in active)])
        elif op.name in WRITES and op.result in active:
            same([v for v in (op.operands[0], op.result) if v in active])
            of[op.result].touches.append(depth + axes_of(op))
            of[op.result].written |= op.name == "update"
    for op, depth in ops:
        if op.name == "index" and op.operands[0] in of and op.result in active:
            of[op.operands[0]].touches.append(depth + axes_of(op))
    return list(dict.fromkeys(of.values()))


def axes_of(op: Op) -> int:
    """How many axes a read or a write runs over."""
    spec: str = op.attrs["spec"]
    return len(spec) - spec.count("i")
