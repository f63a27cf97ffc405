"""Where a NaN or an infinity comes from: what `debug_nans=True` asks when a result holds one.

In: a specialization, the call's leaves. Out: a `FloatingPointError` that names the first operation, in the forward or
in the reverse sweep, that made a NaN (or, where there is none, an infinity) of numbers that were none, with its source
line. The search runs the reference interpreter, which is slow; it runs only when something was found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir import interp
from ..ir.core import Function, Op, Value
from ..ir.errors import ArgumentError, show_span
from ..ir.ops.callback import calls_with_effects
from .specialize import Specialization

__all__ = ["refuse_nans"]

Test = Callable[[Any], bool]


def is_float(x: Any) -> bool:
    return isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")


def has_nan(x: Any) -> bool:
    return is_float(x) and bool(np.isnan(x).any())


def has_infinity(x: Any) -> bool:
    return is_float(x) and bool(np.isinf(x).any())


class Found(Exception):
    """The operation that was looked for."""


class Watching(interp.Interpreter):
    """Stops at the first operation that makes what `test` finds of operands in which it finds nothing."""

    def __init__(self, env: interp.Env, test: Test) -> None:
        super().__init__(env, checks=False)
        self.test = test

    def set(self, target: Value, result: Any, op: Op | None) -> None:
        super().set(target, result, op)
        if op is None or op.regions or not self.test(self.env[target]):
            return
        if op.name not in ("empty", "tape.pop") and not any(self.test(self.get(v)) for v in op.operands):
            raise Found(op)


def refuse_nans(spec: Specialization, leaves: Sequence[Any], outputs: Sequence[Any]) -> None:
    """FloatingPointError where an output holds a NaN or an infinity."""
    test = has_nan if any(map(has_nan, outputs)) else has_infinity
    if not any(map(test, outputs)):
        return
    what = "nan" if test is has_nan else "inf"
    for leaf, value in zip(leaves, spec.stages.traced.args, strict=False):
        if test(leaf):
            raise FloatingPointError(f"the argument `{value.name}` holds {what}")
    if calls_with_effects(spec.stages.optimized.body):
        raise FloatingPointError(
            f"a result holds {what}: where it comes from is not looked for, since that would call a callback with "
            "effects once more"
        )
    sweeps = [(spec.stages.optimized, ""), (spec.complete.forward, " in the derivative of this line")]
    for function, where in sweeps:
        op = first(function, leaves, test)
        if op is not None:
            error = FloatingPointError(f"`{op.name}` gives {what}{where}")
            if op.span is not None:
                error = FloatingPointError(f"`{op.name}` gives {what}{where}\n{show_span(op.span)}")
                error.__dict__["span"] = op.span
            raise error
    raise FloatingPointError(
        f"a result holds {what}, which the kernel alone computes: the interpreter does not find it"
    )


def first(function: Function, leaves: Sequence[Any], test: Test) -> Op | None:
    env: interp.Env = {value: interp.argument(leaf, value) for value, leaf in zip(function.args, leaves, strict=True)}
    try:
        with np.errstate(all="ignore"):
            Watching(env, test).region(function.body)
    except Found as found:
        op: Op = found.args[0]
        return op
    except ArgumentError:
        return None
    return None
