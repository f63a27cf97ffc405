"""Proof of checks: what follows from loops, conditions and extents is not tested at run time.

In: a function. Out: the same one, or one without the checks and comparisons of integers that `ir.affine`
decides: a `bound` that cannot fail is its index (and the index itself serves where only its sign is known),
a `same_extent` its operand, a comparison a constant, a `maximum` or `minimum` the larger or smaller one,
the extent of an array that a loop carries that of the initial one. What a check proved is known to those
after it. What follows one that surely fails for an extent that is a number goes (`never`): from what contradicts itself
everything could be proven.

    %n: i64 = dim %x {axis=0}                             %n: i64 = dim %x {axis=0}
    %h: i64 = sub %n, 1                                   %h: i64 = sub %n, 1
    %s: f64 = for %i in (1, %h) (%t = 0.0) {         =>   %s: f64 = for %i in (1, %h) (%t = 0.0) {
      %j: i64 = add %i, 1                                   %j: i64 = add %i, 1
      %k: i64 = bound %j, %n {what="index", axis=0}
      %v: f64 = index %x, %k {spec="i"}                     %v: f64 = index %x, %j {spec="i"}
"""

from __future__ import annotations

from ..affine import COMPARISONS, Facts
from ..core import Const, Function, Op, Value, walk
from ..rewrite import clone_args
from ..types import BOOL, I64, Scalar
from .never import Cutter

__all__ = ["run"]

DECIDED = COMPARISONS | {"bound", "same_extent", "maximum", "minimum", "dim"}


def run(function: Function) -> Function:
    """The function without what is known already; the same object where nothing is."""
    if not any(op.name in DECIDED for op in walk(function.body)):
        return function
    return Prover(function).function(function)


class Prover(Cutter):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.facts = Facts(function)
        self.used = {v for op in walk(function.body) for v in op.operands if type(v) is not Const}

    def visit(self, op: Op) -> None:
        if op.regions:
            self.control(op)
            return
        if op.name == "dim":
            known = self.extent(op)
            if known is not None and self.replace(op.results[0], known):
                return
        elif op.name in DECIDED and op.operands[0].type == Scalar(I64):
            known = self.decide(op)
            if known is not None and self.replace(op.results[0], known):
                return
        self.copy(op)
        self.failed |= self.fails(op)
        if op.name == "bound":
            self.same_index(op)
        if op.name == "check":
            self.facts.assume(op.operands[0])
        elif op.name == "same_extent":
            self.facts.assume_equal(*map(self.facts.linear, op.operands))
        elif op.name == "bound" and op.operands[0].type == Scalar(I64):
            i, n = map(self.facts.linear, op.operands)
            self.facts.assume_nonneg(n - i - 1)
            self.facts.assume_nonneg(n - 1)  # neither 0 <= i < n nor -n <= i < 0 where n is 0

    def decide(self, op: Op) -> Value | None:
        """What the result of an operation surely is."""
        facts = self.facts
        a, b = op.operands
        if op.name in COMPARISONS:
            known = facts.compare(op.name, a, b)
            return None if known is None else Const(known, BOOL)
        x, y = facts.linear(a), facts.linear(b)
        if op.name == "bound":
            if facts.nonneg(x) and facts.nonneg(y - x - 1):
                return self.get(a)
        elif op.name == "same_extent":
            if facts.equal(x, y):
                return self.get(a)
        elif op.name in ("maximum", "minimum"):
            if facts.nonneg(x - y):
                return self.get(a if op.name == "maximum" else b)
            if facts.nonneg(y - x):
                return self.get(b if op.name == "maximum" else a)
        return None

    def fails(self, op: Op) -> bool:
        """Whether a check surely fails, of extents that types may know."""
        if op.name not in ("bound", "same_extent") or op.operands[0].type != Scalar(I64):
            return False
        x, y = map(self.facts.linear, op.operands)
        if op.name == "bound":
            return not y.terms and (self.facts.nonneg(x - y) or self.facts.nonneg(y.times(-1) - x - 1))
        return not (x.terms and y.terms) and (self.facts.nonneg(x - y - 1) or self.facts.nonneg(y - x - 1))

    def same_index(self, op: Op) -> None:
        """An index that is not negative is not changed by the check, which stays."""
        index, result = op.operands[0], op.results[0]
        if result in self.used and index.type == Scalar(I64) and self.facts.nonneg(self.facts.linear(index)):
            self.replace(result, self.get(index))

    def extent(self, op: Op) -> Value | None:
        """The extent of an array that comes from one outside the loops we are in: that one's."""
        facts = self.facts
        form = facts.resolve(facts.linear(op.result))
        if not form.terms:
            return Const(form.const, I64)
        if form.const or len(form.terms) != 1:
            return None
        ((atom, factor),) = form.terms.items()
        if factor != 1 or not isinstance(atom, tuple):
            return None
        _, array, axis = atom
        if array is op.operands[0] or array not in facts.order:
            return None
        return self.emit("dim", [self.get(array)], {"axis": axis}, op.span, op.results[0].name)

    def control(self, op: Op) -> None:
        facts = self.facts
        new = Op(op.name, self.operands(op), [r.type for r in op.results], dict(op.attrs), (), op.span)
        if op.name == "while":
            before, body = op.regions
            facts.push()
            new.regions = [self.region(before, clone_args(before.args, self.env))]
            facts.assume(before.terminator.operands[0])
            new.regions.append(self.region(body))
            facts.pop()
        else:
            for k, region in enumerate(op.regions):
                facts.push()
                if op.name == "if":
                    facts.assume(op.operands[0], k == 0)
                elif op.name == "for":
                    facts.enter_loop(op)
                new.regions.append(self.region(region))
                facts.pop()
        for old, result in zip(op.results, new.results):
            result.name = old.name
            self.env[old] = result
        self.out.append(new)
