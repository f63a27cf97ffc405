"""Early checks: a check stands as early in its region as what it tests is known.

In: a function that is ready to be scheduled and does not write to its arguments. Out: the same, with checks of extents
and positions moved up past operations that only compute, together with the integers that they test. What they prove is
then known to all that follows, so that the loops which operations become have one range, and nothing stands between
them:

    %y: f64[?] = mul %x, %s                            %k: i64 = same_extent %n, %m
    %t_1: tape[f64[?]] = tape.push %t, %y        =>    %y: f64[?] = mul %x, %s
    %k: i64 = same_extent %n, %m                       %t_1: tape[f64[?]] = tape.push %t, %y
    %z: f64[?] = mul %y, %w                            %z: f64[?] = mul %y, %w

Checks keep their order among each other, and with everything else that can be observed: calls of Python, and control
flow with any such thing inside. A program that fails fails with the same error.
"""

from __future__ import annotations

from ..core import Function, Op, Region, Value, walk
from ..ops import REGISTRY
from ..rewrite import clone_function
from ..types import Scalar

__all__ = ["run"]

OBSERVED = frozenset({"check", "call"})
MOVED = frozenset({"check", "bound", "same_extent"})


def run(function: Function) -> Function:
    """`function` itself where there is nothing to move."""
    if not any(op.name in MOVED for op in walk(function.body)):
        return function
    out = clone_function(function)
    return out if reorder(out.body) else function


def reorder(region: Region) -> bool:
    """Move the checks of a region and of those inside; whether any was moved."""
    moved = False
    out: list[Op] = []
    part = Part()
    for op in region.ops:
        for inner in op.regions:
            moved |= reorder(inner)
        if op.name in MOVED and part.knows(op):
            part.first(op)
            continue
        part.add(op)
        if observed(op):
            moved |= part.end(out)
            part = Part()
    moved |= part.end(out)
    region.ops[:] = out
    return moved


class Part:
    """Operations of a region in which checks may move: nothing among them keeps its order with checks."""

    def __init__(self) -> None:
        self.place: dict[Op, int] = {}
        self.made: dict[Value, Op] = {}
        self.front: dict[Op, None] = {}
        self.late: set[Value] = set()  # what is not known from the beginning

    def add(self, op: Op) -> None:
        self.enter(op)
        if not simple(op) or any(v in self.late for v in op.operands):
            self.late.update(op.results)

    def enter(self, op: Op) -> None:
        self.place[op] = len(self.place)
        self.made.update(dict.fromkeys(op.results, op))

    def knows(self, check: Op) -> bool:
        """Whether what a check tests is known from the beginning, or computed by numbers alone."""
        return not any(v.is_array or v in self.late for v in check.operands)

    def first(self, check: Op) -> None:
        """Move a check, behind those that have been, with what it needs (in its order)."""
        self.enter(check)
        needed: dict[Op, None] = {check: None}
        work = [check]
        while work:
            for made in (self.made.get(v) for v in work.pop().operands):
                if made is not None and made not in self.front and made not in needed:
                    needed[made] = None
                    work.append(made)
        self.front.update(dict.fromkeys(sorted(needed, key=self.place.__getitem__)))

    def end(self, out: list[Op]) -> bool:
        """Append the operations in their new order; whether it is another one."""
        now = [*self.front, *(op for op in self.place if op not in self.front)]
        out += now
        return now != list(self.place)


def simple(op: Op) -> bool:
    """Whether an operation computes a number from numbers and extents, and nothing else."""
    rule = REGISTRY[op.name]
    if rule.effect or op.regions or len(op.results) != 1 or not isinstance(op.result.type, Scalar):
        return False
    return op.name == "dim" or (rule.category == "elementwise" and not any(v.is_array for v in op.operands))


def observed(op: Op) -> bool:
    """Whether an operation, or one inside of it, keeps its place among checks."""
    if REGISTRY[op.name].effect in OBSERVED:
        return True
    return any(REGISTRY[inner.name].effect in OBSERVED for region in op.regions for inner in walk(region))
