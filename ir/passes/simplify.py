"""Simplification: constants folded, identities applied, control flow that is decided already taken apart.

In: a function. Out: the same one, or a simpler one with the same results, bit for bit. The rules are
tables: `algebra` (numbers, logic, comparisons), `shapes` (extents, indexing, rearrangement); here are the
walk that applies them and control flow:

* an ``if`` whose condition is constant, or whose branches yield the same, is its branch; inside a branch its
  condition is a constant;
* a ``for`` that runs never or once is its initial values or its body; a ``while`` whose condition is false at once
  is its initial values;
* a carried value that is yielded as it came is its initial value;
* what follows a check that two different numbers are one extent goes (`never`).

    func @f(%x: f64) -> f64 {                              func @f(%x: f64) -> f64 {
      %c: bool = lt 1, 2
      %y: f64 = if %c {
        %a: f64 = mul %x, 1.0                         =>
        yield %a
      } else { yield 0.0 }
      return %y                                              return %x
    }                                                      }
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..affine import WRITES, shape_origin
from ..core import Builder, Const, Function, Op, Region, Value
from ..ops import REGISTRY
from ..rewrite import clone_args
from ..types import BOOL, I64, Array, Scalar, Type, fits
from .never import Cutter

__all__ = ["Simplifier", "run"]

TRUE, FALSE = Const(True, BOOL), Const(False, BOOL)

Rule = Callable[["Simplifier", list[Value], dict[str, Any], Type], Value | None]
"""Given operands, attributes and the result's type: the value that the operation is equal to, or None."""


def run(function: Function) -> Function:
    """The simplified function; the same object where nothing could be simplified."""
    return Simplifier().function(function)


class Simplifier(Cutter):
    """Applies the rules to every operation, operands first, so that one walk reaches nearly everything."""

    def __init__(self) -> None:
        super().__init__()
        self.hint: str | None = None
        self.extent_source: dict[Value, Value] = {}
        """For a carried array or its result, an array outside the loop that has the same extents."""
        self.overwritten: set[Value] = set()
        """Arrays of which a newer version may exist: reading them later than the program does costs a copy."""

    def visit(self, op: Op) -> None:
        if op.regions:
            form = {"if": self.if_, "for": self.for_, "while": self.while_}.get(op.name)
            if form is None or not form(op):
                self.copy(op)
            return
        if len(op.results) != 1:
            if op.name == "check" and self.get(op.operands[0]) == TRUE:
                self.changed = True
                return
            if op.name != "tape.pop" or not self.push_and_pop(op):
                self.copy(op)
            return
        self.span, self.hint = op.span, op.results[0].name
        operands = self.operands(op)
        result = op.results[0]
        mark, changed = len(self.out), self.changed
        simpler = self.simplify(op.name, operands, op.attrs, result.type)
        if simpler is not None and self.overwritten and self.reads_older(simpler, mark, operands):
            del self.out[mark:]
            simpler, self.changed = None, changed
        if simpler is None or not self.replace(result, simpler):
            self.copy(op, operands)
            self.failed |= op.name == "same_extent" and self.differ(operands)
        if op.name in WRITES:
            self.overwritten.add(operands[0])

    @staticmethod
    def differ(operands: Sequence[Value]) -> bool:
        """Whether two extents are different numbers."""
        one, other = operands[:2]
        return isinstance(one, Const) and isinstance(other, Const) and bool(one.value != other.value)

    def push_and_pop(self, op: Op) -> bool:
        """A push and the pop that takes it back, in one region, are nothing."""
        push = self.get(op.operands[0]).op
        if push is None or push.name != "tape.push" or push not in self.out:
            return False
        if not fits(push.operands[1].type, op.results[1].type):
            return False
        self.out.remove(push)
        return self.pass_on(op, push.operands)

    def reads_older(self, result: Value, mark: int, operands: list[Value]) -> bool:
        """Whether what was emitted since `mark` reads an array with a newer version that is not an operand."""
        read = [v for op in self.out[mark:] if op.name != "dim" for v in op.operands]
        return any(v in self.overwritten and v not in operands for v in [*read, result])

    def simplify(self, name: str, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
        """A simpler value than the operation would give, already emitted; None where there is none."""
        from . import algebra, shapes

        folded = algebra.fold(name, operands, attrs)
        if folded is not None:
            return folded
        for table in (algebra.RULES, shapes.RULES):
            rule = table.get(name)
            if rule is not None:
                simpler = rule(self, operands, attrs, type_)
                if simpler is not None and fits(simpler.type, type_):
                    return simpler
        if REGISTRY[name].category == "elementwise" and any(v.is_array for v in operands):
            return shapes.of_fills(self, name, operands, attrs, type_)
        return None

    def make(self, name: str, operands: Sequence[Value], attrs: dict[str, Any] | None = None) -> Value:
        """The value of an operation, simplified or else emitted, in place of the one being visited."""
        operands = list(operands)
        attrs = attrs or {}
        (type_,) = REGISTRY[name].infer(operands, attrs, [])
        simpler = self.simplify(name, operands, attrs, type_)
        return simpler if simpler is not None else self.emit(name, operands, attrs, self.span, self.hint)

    def integer(self, value: int) -> Const:
        return Const(value, I64)

    # ---------------------------------------------------------------- control flow

    def pass_on(self, op: Op, values: list[Value]) -> bool:
        """Let values stand for the results of an operation that is not needed any more."""
        if not all(fits(v.type, r.type) for v, r in zip(values, op.results)):
            return False
        for old, new in zip(op.results, values, strict=True):
            self.replace(old, new)
        self.changed = True
        return True

    def if_(self, op: Op) -> bool:
        from .shapes import shape_source

        condition = self.get(op.operands[0])
        then, other = op.regions
        if isinstance(condition, Const):
            return self.pass_on(op, self.inline(then if condition.value else other))
        source = condition.op
        if source is not None and source.name == "logical_not":
            condition, then, other = source.operands[0], other, then
            self.changed = True
        regions = [self.branch(op.operands[0], r, r is op.regions[0]) for r in (then, other)]
        yields = [r.terminator.operands for r in regions]
        simple = all(len(r.ops) == 1 for r in regions)
        kept: list[int] = []
        for k, (result, a, b) in enumerate(zip(op.results, *yields, strict=True)):
            if a == b and self.replace(result, a):
                continue
            if simple and isinstance(result.type, Scalar):
                self.span, self.hint = op.span, result.name
                self.replace(result, self.make("select", [condition, a, b]))
                continue
            kept.append(k)
        for region, values in zip(regions, yields):
            region.terminator.operands = [values[k] for k in kept]
        types = [op.results[k].type for k in kept]
        names = [op.results[k].name for k in kept]
        new = Op("if", [condition], types, dict(op.attrs), regions, op.span, names)
        for k, result in zip(kept, new.results):
            self.env[op.results[k]] = result
            if result.is_array:
                self.overwritten.update(values[k] for values in yields)
                sources = {shape_source(r.terminator.operands[k]) for r in op.regions}
                if len(sources) == 1:  # in sight of both branches, so outside of them
                    outer = self.get(sources.pop())
                    self.extent_source[result] = self.extent_source.get(outer, outer)
        self.out.append(new)
        return True

    def branch(self, condition: Value, region: Region, truth: bool) -> Region:
        """A branch, in which the condition is known."""
        with self.known(condition, truth):
            return self.region(region)

    @contextlib.contextmanager
    def known(self, condition: Value, truth: bool) -> Iterator[None]:
        """A (not yet rewritten) boolean has a known value inside."""
        if isinstance(condition, Const):
            yield
            return
        missing = condition not in self.env
        saved = self.get(condition)
        self.env[condition] = TRUE if truth else FALSE
        yield
        self.env[condition] = saved
        if missing:
            del self.env[condition]

    def for_(self, op: Op) -> bool:
        lo, hi, *inits = self.operands(op)
        body = op.regions[0]
        if lo == hi:
            return self.pass_on(op, inits)
        if isinstance(lo, Const) and isinstance(hi, Const):
            if hi.value <= lo.value:
                return self.pass_on(op, inits)
            if hi.value - lo.value == 1:
                for arg, value in zip(body.args, [lo, *inits], strict=True):
                    self.env[arg] = value
                return self.pass_on(op, self.inline(body))
        kept = self.carried(op, body.args[1:], inits, body.terminator.operands)
        args = clone_args([body.args[0], *(body.args[1 + k] for k in kept)], self.env)
        self.keep_extents(op, args[1:], inits, kept)
        new = self.loop(op, [lo, hi, *(inits[k] for k in kept)], kept)
        new.regions = [self.kept_region(body, args, kept)]
        return True

    def while_(self, op: Op) -> bool:
        before, body = op.regions
        inits = self.operands(op)
        kept = self.carried(op, before.args, inits, body.terminator.operands)
        args = clone_args([before.args[k] for k in kept], self.env)
        self.keep_extents(op, args, inits, kept)
        mark = len(self.out)
        first = self.region(before, args)
        condition = first.terminator.operands[0]
        if condition == FALSE:  # runs the condition once: again, with the initial values in place
            del self.out[mark:]
            for arg, value in zip(before.args, inits, strict=True):
                self.env[arg] = value
            self.inline(before)
            return self.pass_on(op, inits)
        new = self.loop(op, [inits[k] for k in kept], kept)
        with self.known(before.terminator.operands[0], True):
            new.regions = [first, self.kept_region(body, [], kept)]
        return True

    def carried(self, op: Op, args: list[Value], inits: list[Value], yielded: list[Value]) -> list[int]:
        """Which carried values stay; the others are the initial values, inside and after the loop."""
        kept = []
        for k, (arg, init, new) in enumerate(zip(args, inits, yielded, strict=True)):
            unchanged = new is arg or (type(new) is not Const and self.env.get(new) is init) or new == init
            if unchanged and fits(init.type, op.results[k].type):
                self.env[arg] = init
                self.env[op.results[k]] = init
                self.changed = True
            else:
                kept.append(k)
        return kept

    def loop(self, op: Op, operands: list[Value], kept: list[int]) -> Op:
        """A loop with fewer carried values, its regions still to come."""
        types = [op.results[k].type for k in kept]
        names = [op.results[k].name for k in kept]
        new = Op(op.name, operands, types, dict(op.attrs), (), op.span, names)
        for k, result in zip(kept, new.results):
            self.env[op.results[k]] = result
            source = self.extent_source.get(op.results[k])
            if source is not None:
                self.extent_source[result] = source
        self.out.append(new)
        return new

    def kept_region(self, region: Region, args: list[Value], kept: list[int]) -> Region:
        """The last region of a loop, yielding what is kept."""
        new = self.region(region, args)
        terminator = new.terminator
        terminator.operands = [terminator.operands[k] for k in kept]
        return new

    def keep_extents(self, op: Op, args: list[Value], inits: list[Value], kept: list[int]) -> None:
        """Note which carried arrays keep their extents: `dim` of them is `dim` of the initial ones."""
        from .shapes import keeps_shape

        self.overwritten.update(v for v in inits if v.is_array)
        for arg, k in zip(args, kept):
            if isinstance(arg.type, Array) and keeps_shape(op, k):
                source = self.extent_source.get(inits[k], inits[k])
                self.extent_source[arg] = source
                self.extent_source[op.results[k]] = source

    # ---------------------------------------------------------------- extents

    def extent(self, array: Value, axis: int) -> Value:
        """The extent of an array as a value in sight (emitting what it takes)."""
        array = shape_origin(array, axis)
        assert isinstance(array.type, Array)
        known = array.type.dims[axis]
        if known is not None:
            return self.integer(known)
        source = self.extent_source.get(array)
        if source is not None:
            return self.extent(source, axis)
        op = array.op
        rule = REGISTRY[op.name].extents if op is not None else None
        if op is None or rule is None:
            return self.emit("dim", [array], {"axis": axis}, self.span, self.hint)
        scratch = Region()
        with Builder(scratch):
            wanted = rule(op)[op.results.index(array)][axis]
        return self.transfer(wanted, set(scratch.ops))

    def transfer(self, value: Value, scratch: set[Op]) -> Value:
        """A value computed by scratch operations, computed here (simplified)."""
        op = value.op
        if op is None or op not in scratch:
            return value
        operands = [self.transfer(v, scratch) for v in op.operands]
        if op.name == "dim":
            return self.extent(operands[0], op.attrs["axis"])
        return self.make(op.name, operands, op.attrs)
