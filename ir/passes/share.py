"""Share: what a branch has computed is not computed again in a later branch that is taken in the same cases.

In: a function that nobody will differentiate any more. Out: the same one, or one where `if`s give on what later ones on
the same condition would compute again:

    %r: f64 = if %c {                              %r: f64, %s: f64, %t: f64 = if %c {
      %s: f64 = sqrt %x                              %s: f64 = sqrt %x
      %t: f64 = sin %s                               %t: f64 = sin %s
      yield %t                                       yield %t, %s, %t
    } else {                                       } else {
      yield %x                                       yield %x, 0.0, 0.0
    }                                        =>    }
    %g: f64 = if %c {                              %g: f64 = if %c {
      %u: f64 = sqrt %x
      %v: f64 = sin %u
      %w: f64 = mul %v, %u                           %w: f64 = mul %t, %s
      yield %w                                       yield %w
    } else {                                       } else {
      yield 0.0                                      yield 0.0
    }                                              }

The reverse sweep mirrors an `if` by an `if` on the same condition, and computes again there what the forward sweep did
not keep; so does each row of a Jacobian. Only numbers are given on, and only what costs more than to be carried past
the other branch, where it is zero, and never looked at. What is cheap is computed again, but known to be equal.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..core import Const, Function, Op, Region, Value, walk
from ..ops import REGISTRY
from ..rewrite import Rewriter, clone_args
from ..types import Scalar
from . import dce
from .cse import COMMUTATIVE, frozen

__all__ = ["run"]

COSTLY = 4
"""What an operation costs that is worth being given on."""

Case = tuple[Value, int]
"""A condition, and which of the two branches on it."""


def run(function: Function) -> Function:
    """The function with shared branches; the same object where there is nothing to share."""
    conditions = [op.operands[0] for op in walk(function.body) if op.name == "if"]
    if len(set(conditions)) == len(conditions):
        return function
    shared = Sharing().function(function)
    return shared if shared is function else dce.run(shared)


class Sharing(Rewriter):
    """`known`: what branches in sight compute in a case, by what it is computed of. `equal`: of a value in a case, the
    first one that is equal to it there. `met`: what is known since each region began that we are in."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Case, dict[Hashable, tuple[Op, Value]]] = {}
        self.equal: dict[tuple[Case, Value], Value] = {}
        self.met: list[list[tuple[Case, Hashable]]] = []

    def region(self, region: Region, args: list[Value] | None = None) -> Region:
        self.met.append([])
        new = super().region(region, args)
        for case, key in self.met.pop():
            del self.known[case][key]
        return new

    def visit(self, op: Op) -> None:
        if op.name != "if" or type(op.operands[0]) is Const:
            self.copy(op)
            return
        condition = self.get(op.operands[0])
        new = Op("if", [condition], [r.type for r in op.results], dict(op.attrs), (), op.span)
        found: list[tuple[Case, Hashable, Value]] = []
        for number, region in enumerate(op.regions):
            new.regions.append(self.branch(region, (condition, number), found))
        for case, key, value in found:
            if key not in self.known.setdefault(case, {}):
                self.known[case][key] = new, value
                self.met[-1].append((case, key))
        for number, region in enumerate(new.regions):
            for result, value in zip(new.results, region.terminator.operands, strict=True):
                if type(value) is not Const:
                    self.equal[(condition, number), result] = self.first((condition, number), value)
        for old, result in zip(op.results, new.results, strict=True):
            result.name = old.name
            self.env[old] = result
        self.out.append(new)

    def branch(self, region: Region, case: Case, found: list[tuple[Case, Hashable, Value]]) -> Region:
        """A branch, with what earlier ones have computed; what it computes itself goes to `found`."""
        new = Region(clone_args(region.args, self.env))
        saved, self.out = self.out, new.ops
        self.met.append([])
        for op in region.ops:
            if not is_number(op):
                self.visit(op)
                continue
            key = self.key(op, case)
            first = self.known.get(case, {}).get(key)
            if first is not None and REGISTRY[op.name].cost >= COSTLY:
                self.env[op.result] = given = self.give_on(*first, case)
                self.equal[case, given] = self.first(case, first[1])
                self.changed = True
                continue
            own = self.copy(op).result
            if first is not None:
                self.equal[case, own] = self.first(case, first[1])
            else:
                found.append((case, key, own))
        for inner, known in self.met.pop():
            del self.known[inner][known]
        self.out = saved
        return new

    def first(self, case: Case, value: Value) -> Value:
        """The first value that is equal to one in a case."""
        return self.equal.get((case, value), value)

    def key(self, op: Op, case: Case) -> Hashable:
        """What the result of an operation is told apart by in a case."""
        operands = [v.key if type(v) is Const else id(self.first(case, v)) for v in self.operands(op)]
        if op.name in COMMUTATIVE:
            operands.sort(key=repr)
        attrs = tuple((k, frozen(v)) for k, v in sorted(op.attrs.items()))
        return (op.name, attrs, *operands, op.result.type)

    @staticmethod
    def give_on(branches: Op, value: Value, case: Case) -> Value:
        """The result of an `if` that is `value` in that case."""
        ends = [region.terminator.operands for region in branches.regions]
        for result, end in zip(branches.results, ends[case[1]], strict=True):
            if end is value:
                return result
        for number, operands in enumerate(ends):
            operands.append(value if number == case[1] else Const(0, value.dtype))
        branches.results.append(Value(value.type, value.name, branches))
        return branches.results[-1]


def is_number(op: Op) -> bool:
    """Whether an operation computes one number of others and does nothing else."""
    definition = REGISTRY[op.name]
    return (
        not op.regions
        and not definition.effect
        and definition.category == "elementwise"
        and len(op.results) == 1
        and isinstance(op.result.type, Scalar)
        and all(isinstance(v.type, Scalar) for v in op.operands)
    )
