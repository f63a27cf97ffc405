"""A warning for arguments that are differentiated but do not reach the result.

In: a new specialization of `grad` or `value_and_grad`. Out: an `UnreachedArgumentWarning` for each leaf of the
differentiated arguments that the result is not computed from, whatever the numbers: a forgotten term, a wrong
`argnums`. Its gradient is zero all the same. It points at the caller's line and shows the function's.

Not warned about: leaves that the result does depend on without a derivative (by `floor`, a comparison, `stop_gradient`,
a rule that says so); functions that contain derivatives, or are some (the derivative of a linear function is constant);
`vjp` and Jacobians, which differentiate whatever there is.

>>> import warnings
>>> from adjit import grad
>>> with warnings.catch_warnings(record=True) as caught:
...     warnings.simplefilter("always")
...     _ = grad(lambda x, y: x * x, argnums=(0, 1))(2.0, 3.0)
>>> print(str(caught[0].message).splitlines()[0])
the result of `<lambda>` does not depend on argument 1 (`y`): its gradient is zero
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..ir.core import Const, Function, Op, Region, Span, Value
from ..ir.errors import show_span
from ..ir.passes.dce import Liveness
from ..tracer import Result
from .arguments import Call, place_of
from .specialize import Specialization

__all__ = ["UnreachedArgumentWarning", "unreached", "warn_unreached"]

PACKAGE = Path(__file__).resolve().parent.parent
OWN = tuple(str(PACKAGE / folder) for folder in ("api", "tracer", "ir", "codegen"))


class UnreachedArgumentWarning(UserWarning):
    """A gradient with respect to an argument, or a part of one, that the result does not depend on."""


class Reaching(Liveness):
    """What the results are computed from, decisions included; not what is only checked, and extents do not count."""

    def collect(self, region: Region, owner: Op | None, roots: list[Op]) -> None:
        super().collect(region, owner, roots)
        if owner is None:
            del roots[1:]

    def mark_op(self, op: Op) -> None:
        if op.name != "dim":
            super().mark_op(op)

    def find_dead(self, region: Region) -> bool:
        return False


def unreached(spec: Specialization, function: Callable[..., Any], call: Call) -> list[str]:
    """Where the leaves are, in words, that are differentiated and that the result does not depend on."""
    plan = spec.plan
    if plan is None or spec.transform.kind not in ("grad", "value_and_grad") or spec.traced.differentiates:
        return []
    optimized = spec.stages.optimized
    candidates = {v.name for v in plan.plan.unreached}
    suspects = [k for k in spec.wrt if optimized.args[k].name in candidates]
    if not suspects or getattr(function, "__adjit_derivative__", None) is not None:
        return []
    alive = Reaching(of_value(spec)).values
    dynamic = [k for k, t in enumerate(call.types) if t is not None]
    names = parameters(function)
    out = []
    for k in suspects:
        if optimized.args[k] not in alive:
            place = place_of(call.treespec, dynamic[k])
            number = place.split("[")[0].removeprefix("argument ")
            if number.isdigit() and int(number) < len(names):
                place = place.replace(f"argument {number}", f"argument {number} (`{names[int(number)]}`)", 1)
            out.append(place)
    return out


def of_value(spec: Specialization) -> Function:
    """The program with the value as its only result: not what comes with it, nor arguments that were written to."""
    optimized = spec.stages.optimized
    result = spec.traced.result[0] if spec.transform.has_aux else spec.traced.result
    kept: list[Value] = [optimized.results[result.index]] if isinstance(result, Result) else []
    values = [v for v in kept if not isinstance(v, Const)]
    region = Region(optimized.args, [*optimized.body.ops[:-1], Op("return", values, [])])
    return Function(optimized.name, region)


def parameters(function: Callable[..., Any]) -> list[str]:
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def warn_unreached(places: list[str], function: Callable[..., Any]) -> None:
    """Warn of these leaves, at the line that called adjit."""
    if not places:
        return
    name = getattr(function, "__name__", "the function")
    text = f"the result of `{name}` does not depend on {', '.join(places)}: its gradient is zero"
    if len(places) > 1:
        text = text.replace("its gradient is", "their gradients are")
    where = definition(function)
    if where is not None:
        text += f"\n{show_span(where)}"
    text += "\n  help: choose others by argnums=, or wrap what is meant to be constant in `stop_gradient`"
    warnings.warn(text, UnreachedArgumentWarning, stacklevel=outside())


def definition(function: Callable[..., Any]) -> Span | None:
    """The line of `def`, or the body of a lambda."""
    function = inspect.unwrap(function)
    try:
        lines, first = inspect.getsourcelines(function)
    except (OSError, TypeError):
        return None
    file = inspect.getsourcefile(function) or ""
    for k, line in enumerate(lines):
        if line.lstrip().startswith(("def ", "async def ")):
            column = len(line) - len(line.lstrip())
            return Span(file, first + k, column, first + k, len(line.rstrip()))
    code = function.__code__
    places = [p for p in code.co_positions() if p[0] == first and p[0] == p[1] and (p[2] or 0) < (p[3] or 0)]
    if not places:
        return Span(file, first)
    return Span(file, first, min(p[2] or 0 for p in places), first, max(p[3] or 0 for p in places))


def outside() -> int:
    """The stack level of the caller's frame, for `warnings.warn` in the function that asks."""
    frame = sys._getframe(1)
    level = 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith((*OWN, "<adjit ")):
        frame = frame.f_back
        level += 1
    return level
