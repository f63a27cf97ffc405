"""Which values have a derivative that matters.

In: a primal function, the arguments to differentiate, the results whose cotangents are given. Out: the set of
*active* values: floats that depend on such an argument (varied) and on which such a result depends (useful).
Only active values get a cotangent; everything else is zero by structure and never computed.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..core import Function, Op, Region, Value
from ..ops import lookup
from ..types import Array, Scalar, Tape

__all__ = ["active_values", "is_differentiable_type", "loop_parts", "varied_values"]


def is_differentiable_type(value: Value) -> bool:
    """Floats, and tapes of floats."""
    t = value.type.element if isinstance(value.type, Tape) else value.type
    return isinstance(t, Scalar | Array) and t.dtype.is_float


def differentiable_operands(op: Op) -> list[Value]:
    """Operands through which a derivative can pass."""
    if not lookup(op.name).differentiable:
        return []
    through = op.operands[: op.attrs["args"]] if op.name == "custom" else op.operands
    return [v for v in through if is_differentiable_type(v)]


def active_values(function: Function, inputs: Iterable[Value], outputs: Iterable[Value]) -> set[Value]:
    """Values that are varied and useful; see the module's docstring."""
    varied = varied_values(function, inputs)
    useful = {v for v in outputs if v in varied}
    _spread_useful(function.body, useful)
    return varied & useful


def varied_values(function: Function, inputs: Iterable[Value]) -> set[Value]:
    """Floats (and tapes of floats) that depend on one of `inputs`."""
    varied = {v for v in inputs if is_differentiable_type(v)}
    _spread_varied(function.body, varied)
    return varied


def _mark(values: set[Value], value: Value) -> bool:
    if value in values or not is_differentiable_type(value):
        return False
    values.add(value)
    return True


def loop_parts(op: Op) -> tuple[list[Value], list[Value], list[Value]]:
    """(initial values, block arguments, yielded values) of a loop's carried values."""
    lead = 2 if op.name == "for" else 0
    args = op.regions[0].args[1:] if op.name == "for" else op.regions[0].args
    return op.operands[lead:], args, op.regions[-1].terminator.operands


def _spread_varied(region: Region, varied: set[Value]) -> None:
    for op in region.ops:
        if op.name == "if":
            for inner in op.regions:
                _spread_varied(inner, varied)
                for end, result in zip(inner.terminator.operands, op.results, strict=True):
                    if end in varied:
                        _mark(varied, result)
        elif op.name in ("for", "while"):
            inits, args, yielded = loop_parts(op)
            changed = True
            while changed:
                changed = False
                for init, arg, new, result in zip(inits, args, yielded, op.results, strict=True):
                    if init in varied or new in varied:
                        changed |= _mark(varied, arg)
                        _mark(varied, result)
                before = len(varied)
                for inner in op.regions:
                    _spread_varied(inner, varied)
                changed |= len(varied) != before
        elif any(v in varied for v in differentiable_operands(op)):
            for value in op.results:
                _mark(varied, value)


def _spread_useful(region: Region, useful: set[Value]) -> None:
    for op in reversed(region.ops):
        if op.name == "if":
            for inner in op.regions:
                for end, result in zip(inner.terminator.operands, op.results, strict=True):
                    if result in useful:
                        _mark(useful, end)
                _spread_useful(inner, useful)
        elif op.name in ("for", "while"):
            inits, args, yielded = loop_parts(op)
            changed = True
            while changed:
                before = len(useful)
                for init, arg, new, result in zip(inits, args, yielded, op.results, strict=True):
                    if result in useful or arg in useful:
                        _mark(useful, new)
                        _mark(useful, init)
                for inner in reversed(op.regions):
                    _spread_useful(inner, useful)
                changed = len(useful) != before
        elif any(v in useful for v in op.results):
            for value in differentiable_operands(op):
                _mark(useful, value)
