"""Common subexpression elimination: what was computed before, in sight, is not computed again.

In: a function. Out: the same one, or one where later equal operations are replaced by the first.

Two operations are equal when name, attributes, operands and result types are; operands of commutative
operations may be swapped. A check that was made before, on the same operands, cannot fail again and goes too.
Not touched: control flow, tapes, and fresh memory (`empty`, and `fill` of arrays: two arrays that start equal
are usually written to separately, and sharing them would cost a copy).

    func @f(%x: f64) -> f64 {                      func @f(%x: f64) -> f64 {
      %a: f64 = sin %x                               %a: f64 = sin %x
      %b: f64 = sin %x                         =>
      %y: f64 = mul %a, %b                           %y: f64 = mul %a, %a
      return %y                                      return %y
    }                                              }
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from ..core import Const, Function, Op, Region, Value
from ..ops import REGISTRY
from ..rewrite import Rewriter

__all__ = ["Scoped", "frozen", "run"]

COMMUTATIVE = frozenset(
    "add mul eq ne logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor same_extent".split()
)


def run(function: Function) -> Function:
    """The function without repeated computations; the same object where there are none."""
    return Numbering().function(function)


class Scoped(Rewriter):
    """What is known, in one table per region on a stack of those in sight."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[Hashable, Op] = {}
        self.scopes: list[list[Hashable]] = []

    def region(self, region: Region, args: list[Value] | None = None) -> Region:
        self.scopes.append([])
        new = super().region(region, args)
        for key in self.scopes.pop():
            del self.known[key]
        return new

    def once(self, key: Hashable, op: Op) -> None:
        """Copy an operation, or take the results of the one before it that has its key."""
        first = self.known.get(key)
        if first is None:
            self.known[key] = self.copy(op)
            self.scopes[-1].append(key)
            return
        self.changed = True
        for old, new in zip(op.results, first.results):
            self.env[old] = new
            if new.name is None:
                new.name = old.name


class Numbering(Scoped):
    """Value numbering."""

    def visit(self, op: Op) -> None:
        key = self.key(op) if not op.regions else None
        if key is not None:
            self.once(key, op)
        elif op.name == "while":
            self.while_(op)
        else:
            self.copy(op)

    def while_(self, op: Op) -> None:
        """The body sees what the condition computed."""
        before, body = op.regions
        new = Op("while", self.operands(op), [r.type for r in op.results], dict(op.attrs), (), op.span)
        self.scopes.append([])
        inner = Region([])
        for arg in before.args:
            self.env[arg] = fresh = Value(arg.type, arg.name)
            inner.args.append(fresh)
        saved, self.out = self.out, inner.ops
        for part in before.ops:
            self.visit(part)
        self.out = saved
        new.regions = [inner, self.region(body)]
        for key in self.scopes.pop():
            del self.known[key]
        for old, result in zip(op.results, new.results):
            result.name = old.name
            self.env[old] = result
        self.out.append(new)

    def key(self, op: Op) -> Hashable | None:
        """What identifies the operation's results; None where it must stay as it is."""
        definition = REGISTRY[op.name]
        if definition.effect not in ("", "check") or definition.category in ("terminator", "tape"):
            return None
        if op.name == "empty" or (op.name == "fill" and op.results[0].is_array):
            return None
        operands: list[Any] = [v.key if type(v) is Const else id(v) for v in self.operands(op)]
        if op.name in COMMUTATIVE:
            operands.sort(key=repr)
        if op.name == "check":
            return (op.name, operands[0])
        if definition.effect == "check":  # `what` and `axis` are for the message
            return (op.name, *operands)
        attrs = tuple((k, frozen(v)) for k, v in sorted(op.attrs.items())) if op.attrs else ()
        return (op.name, attrs, *operands, *(r.type for r in op.results))


def frozen(value: Any) -> Hashable:
    return repr(value) if isinstance(value, list | dict | float) else value
