"""Repeats: a loop or a branch that has been run before, on the same values, is not run again.

In: a function that nobody will differentiate any more. Out: the same one, or one where the first of equal loops gives
its results for all of them:

    %b: f64[?] = fill 0.0, %n                      %b: f64[?] = fill 0.0, %n
    %y: f64[?] = for %i in (0, %n) (%t = %b) {     %y: f64[?] = for %i in (0, %n) (%t = %b) {
      %v: f64 = index %x, %i {spec="i"}              %v: f64 = index %x, %i {spec="i"}
      %w: f64 = sin %v                               %w: f64 = sin %v
      %u: f64[?] = update %t, %w, %i {spec="i"}      %u: f64[?] = update %t, %w, %i {spec="i"}
      yield %u                                       yield %u
    }                                              }
    %c: f64[?] = fill 0.0, %n                  =>
    %z: f64[?] = for %i in (0, %n) (%t = %c) {     %s: f64[?] = add %y, %y
      ... the same ...                             return %s
    }
    %s: f64[?] = add %y, %z
    return %s

So it is where a value and a derivative are asked for one after the other, or derivatives by several arguments. Two are
equal when they look the same: operations, attributes, and what they use from outside; memory that starts out equal
counts as the same, since arrays are values. A check that has been passed is passed again. What has effects, or keeps
something on a tape, is run as often as it stands there.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..core import Const, Function, Op, Value, walk
from ..ops import REGISTRY
from ..types import Tape
from . import cse, dce
from .cse import Scoped, frozen

__all__ = ["run"]

FRESH = frozenset({"fill", "empty"})
ROUNDS = 3
"""What follows equal loops may be equal loops."""


def run(function: Function) -> Function:
    """The function without repeated control flow; the same object where there is none."""
    for _ in range(ROUNDS):
        if not may_repeat(function):
            return function
        once = Once().function(function)
        if once is function:
            return function
        function = dce.run(cse.run(once))
    return function


def may_repeat(function: Function) -> bool:
    """Whether two operations with regions look alike at first sight."""
    seen: set[Hashable] = set()
    for op in walk(function.body):
        if op.regions:
            looks = (op.name, tuple(str(r.type) for r in op.results), *(len(region.ops) for region in op.regions))
            if looks in seen:
                return True
            seen.add(looks)
    return False


class Once(Scoped):
    """Numbering of control flow."""

    def visit(self, op: Op) -> None:
        if op.regions and repeatable(op):
            self.once(self.form(op, {}), op)
        else:
            self.copy(op)

    def form(self, op: Op, inside: dict[Value, int]) -> Hashable:
        """What an operation does, in terms of values from outside; `inside` numbers those that it defines itself."""
        operands = [self.name(v, inside) for v in op.operands]
        attrs = tuple((k, frozen(v)) for k, v in sorted(op.attrs.items()))
        regions = []
        for region in op.regions:
            for arg in region.args:
                inside[arg] = len(inside)
            regions.append((tuple(a.type for a in region.args), *(self.form(o, inside) for o in region.ops)))
        for result in op.results:
            inside[result] = len(inside)
        return (op.name, attrs, *operands, *(r.type for r in op.results), *regions)

    def name(self, value: Value, inside: dict[Value, int]) -> Hashable:
        """A value in a form."""
        if type(value) is Const:
            return value.key
        if value in inside:
            return ("inside", inside[value])
        made = value.op
        if made is not None and made.name in FRESH:
            return self.form(made, {})
        return ("outside", id(self.get(value)))


def repeatable(op: Op) -> bool:
    """Whether running an operation a second time changes nothing."""
    if any(isinstance(v.type, Tape) for v in (*op.operands, *op.results)):
        return False
    return all(repeatable(inner) if inner.regions else quiet(inner) for region in op.regions for inner in region.ops)


def quiet(op: Op) -> bool:
    definition = REGISTRY[op.name]
    return definition.effect in ("", "check", "terminator") and definition.category != "tape"
