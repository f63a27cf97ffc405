"""The verifier: whether a function is valid IR.

In: a `Function`, and the pass it came from. Out: nothing, or an `InternalError` that names the operation,
what is wrong with it and the pass. It checks that

* every operand is a constant or a value defined before and in sight, and everything is defined once;
* regions end in the terminator their operation asks for, and nowhere else is one;
* result types are what the operation's type rule infers (a declared extent ``?`` may be known more exactly);
* a tape value is consumed at most once on every path, and never by a loop that did not make it;
* attributes are static data of the kind their name promises.

>>> from adjit.ir.text import parse
>>> verify(parse("func @f(%x: f64) -> f32 { %y: f32 = mul %x, 2.0  return %y }"), after="cse")
Traceback (most recent call last):
adjit.ir.errors.InternalError: invalid IR after cse in @f: mul: gives f64, declared f32
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import numpy as np

from .core import Const, Function, Op, Region, Value
from .errors import InternalError
from .ops import REGISTRY
from .types import I64, Array, Buffer, DType, Scalar, Tape, Type, fits

__all__ = ["verify"]

TERMINATORS = {"if": ("yield", "yield"), "for": ("yield",), "while": ("test", "yield")}


def verify(function: Function, after: str | None = None) -> None:
    """Raise `InternalError` unless the function is valid; `after` names the pass that made it."""
    Verifier(function, after).run()


class Verifier:
    def __init__(self, function: Function, after: str | None) -> None:
        self.function = function
        self.where = f"invalid IR{f' after {after}' if after else ''} in @{function.name}"
        self.visible: set[Value] = set()
        self.defined: set[Value] = set()
        self.seen: set[int] = set()
        self.tapes = False

    def fail(self, op: Op | None, what: str) -> NoReturn:
        raise InternalError(f"{self.where}: {op.name if op else 'function'}: {what}", op.span if op else None)

    def run(self) -> None:
        self.region(self.function.body, None, "return")
        if self.tapes:
            self.tape_region(self.function.body, set())

    # values and structure

    def define(self, value: Value, owner: Op | None, by: Op | None) -> None:
        if isinstance(value, Const) or value in self.defined:
            self.fail(owner, f"{value!r} is defined twice")
        if value.op is not by:
            self.fail(owner, f"{value!r} says it is defined by {value.op!r}")
        self.tapes = self.tapes or isinstance(value.type, Tape)
        self.defined.add(value)
        self.visible.add(value)

    def region(self, region: Region, owner: Op | None, terminator: str, keep: bool = False) -> list[Value]:
        """Verify a region; returns what it made visible (with `keep`, the caller takes it out of sight)."""
        if id(region) in self.seen:
            self.fail(owner, "a region has two owners")
        self.seen.add(id(region))
        if not region.ops or region.ops[-1].name != terminator:
            found = region.ops[-1].name if region.ops else "nothing"
            self.fail(owner, f"a region ends in {found}, not in {terminator}")
        made = list(region.args)
        for arg in region.args:
            self.define(arg, owner, None)
        for op in region.ops:
            self.op(op, op is region.ops[-1])
            made += op.results
        if not keep:
            self.visible.difference_update(made)
        return made

    def op(self, op: Op, last: bool) -> None:
        if id(op) in self.seen:
            self.fail(op, "the operation appears twice")
        self.seen.add(id(op))
        definition = REGISTRY.get(op.name)
        if definition is None:
            self.fail(op, "no such operation")
        if (definition.category == "terminator") != last:
            self.fail(op, "a region ends in its terminator, and only there")
        for operand in op.operands:
            if isinstance(operand, Const):
                if type(operand.value) is not operand.dtype.numpy.type:
                    self.fail(op, f"constant {operand!r} holds {type(operand.value).__name__}")
            elif operand not in self.visible:
                state = "out of sight or used before" if operand in self.defined else "not defined before"
                self.fail(op, f"operand {operand!r} is {state}")
        self.attributes(op)
        if op.regions or op.name in TERMINATORS:
            self.control(op)
        try:
            inferred = definition.infer(list(op.operands), dict(op.attrs), list(op.regions))
        except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
            self.fail(op, f"{error or type(error).__name__}")
        declared = [r.type for r in op.results]
        if len(inferred) != len(declared) or not all(map(fits, inferred, declared)):
            self.fail(op, f"gives {listed(inferred)}, declared {listed(declared)}")
        for result in op.results:
            self.define(result, op, op)

    def control(self, op: Op) -> None:
        terminators = TERMINATORS.get(op.name, ("yield",) * len(op.regions))
        if len(terminators) != len(op.regions):
            self.fail(op, f"has {len(op.regions)} regions, needs {len(terminators)}")
        if op.name == "while":
            before, body = op.regions
            if body.args:
                self.fail(op, "the body of a while has no block arguments of its own")
            made = self.region(before, op, "test", keep=True)
            self.region(body, op, "yield")
            self.visible.difference_update(made)
            return
        if op.name == "for" and (not op.regions[0].args or op.regions[0].args[0].type != Scalar(I64)):
            self.fail(op, "the first block argument is the i64 induction variable")
        if op.name == "if" and any(r.args for r in op.regions):
            self.fail(op, "a branch has no block arguments")
        for region, terminator in zip(op.regions, terminators):
            self.region(region, op, terminator)

    # attributes

    def attributes(self, op: Op) -> None:
        for name, value in op.attrs.items():
            if not static_data(value):
                self.fail(op, f"attribute {name} is not static data: {value!r}")
            if isinstance(value, Function):
                verify(value, f"a pass, in {op.name} of @{self.function.name}")
            kind = KINDS.get(name)
            if kind is not None and not kind(value):
                self.fail(op, f"attribute {name} cannot be {value!r}")
        rank = op.operands[0].rank if op.operands else 0
        axis = op.attrs.get("axis")
        if op.name in AXIS_OF_FIRST and not (isinstance(axis, int) and 0 <= axis < rank):
            self.fail(op, f"axis {axis} of a value of rank {rank}")
        if op.name.startswith("reduce_") and not all(0 <= a < rank for a in op.attrs.get("axes", (-1,))):
            self.fail(op, f"axes {op.attrs.get('axes')} of a value of rank {rank}")
        if op.name in ("index", "update", "accumulate"):
            for position in op.operands[1 if op.name == "index" else 2 :]:
                if op.attrs.get("spec", "").strip("i:") == "" and isinstance(position, Const) and position.value < 0:
                    self.fail(op, f"position {position.value} is not normalized")

    # tapes

    def tape_region(self, region: Region, consumed: set[Value], own: set[Value] | None = None) -> None:
        """Mark tapes consumed in `region`; `own`, where given, holds the only outer tapes it may consume."""
        local: set[Value] | None = None
        if own is not None:
            local = own | set(region.args)
        for op in region.ops:
            if op.name != "tape.read":
                for operand in op.operands:
                    if isinstance(operand.type, Tape):
                        if operand in consumed:
                            self.fail(op, f"tape {operand!r} is consumed twice")
                        if local is not None and operand not in local:
                            self.fail(op, f"tape {operand!r} is consumed in a loop that did not make it")
                        consumed.add(operand)
            if op.name == "if":
                branches = [set(consumed) for _ in op.regions]
                for branch, inner in zip(branches, op.regions):
                    self.tape_region(inner, branch, local)
                for branch in branches:
                    consumed |= branch
            elif op.name == "while":
                before, body = op.regions
                self.tape_region(before, consumed, set())
                for arg in before.args:
                    if arg in consumed:
                        self.fail(op, f"tape {arg!r} is consumed by the condition and is a result as well")
                made = {r for o in before.ops for r in o.results}
                self.tape_region(body, consumed, made | set(before.args))
            else:
                for inner in op.regions:
                    self.tape_region(inner, consumed, set())
            if local is not None:
                local.update(op.results)


def listed(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def static_data(value: Any) -> bool:
    """Whether an attribute value can be printed and read back."""
    if isinstance(value, tuple | list):
        return all(map(static_data, value))
    if isinstance(value, dict):
        return all(isinstance(k, str) and static_data(v) for k, v in value.items())
    plain = bool | int | float | str | np.generic | DType | Scalar | Array | Tape | Buffer | Const | Function
    return value is None or isinstance(value, plain)


def axes_kind(value: Any) -> bool:
    return integers_kind(value) and list(value) == sorted(set(value))


def integers_kind(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(a, int) and a >= 0 for a in value)


def spec_kind(value: Any) -> bool:
    return isinstance(value, str) and not value.strip("is:")


def instance(*kinds: type) -> Any:
    return lambda value: isinstance(value, kinds)


KINDS: dict[str, Any] = {
    "spec": spec_kind,
    "axes": axes_kind,
    "perm": integers_kind,
    "axis": lambda value: isinstance(value, int) and value >= 0,
    "dtype": instance(DType),
    "element": instance(Scalar, Array),
    "reverse": instance(bool),
    "parallel": instance(bool),
    "error": instance(str),
    "message": instance(str),
    "what": instance(str),
}
AXIS_OF_FIRST: Iterable[str] = frozenset({"dim", "concat", "argmax", "argmin", "cumsum", "cumprod"})
