"""Functions with derivatives of the user's own, `custom_vjp` and `custom_jvp`, inside a trace.

In: a `Derivative` that holds the function and its rules, and abstract arguments. Out: the abstract result: of the
function (for `custom_vjp`, of its forward rule), marked by an operation `custom` that carries the rule as a function of
its own (`ir.ops.custom`). Rules are traced like any other program, so that they fuse with what is around them and can
be differentiated again. They are checked here: a rule has to return what belongs to each argument or result.

A rule may call its own function, as the derivative of exp does. There it has its rule again, down to `DEEPEST`; what
is called further inside may not be differentiated.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NoReturn

from ..ir.core import Value
from ..ir.ops import zeros_like
from ..ir.rewrite import inline
from . import calls, views
from .broadcasting import agree
from .context import Tracer
from .numeric import describe
from .programs import (
    Derivative,
    Program,
    arranged,
    leaves,
    mark_shared,
    program,
    refuse,
    results_of,
    structure,
    tree_map,
    value_of,
)
from .values import ListObject, Number, Reference

__all__ = ["RULES", "bind_custom_rule", "custom_jvp", "custom_vjp"]

DEEPEST = 3


def custom_vjp(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a function with a forward and a backward rule."""
    forward, backward, fixed = made.options
    name = made.__name__.removesuffix("_custom_vjp")
    if forward is None:
        refuse(t, f"`{name}` has no rule", f"give it one: `{name}.defvjp(forward, backward)`")
    args = by_position(t, made, args, kwargs)
    free = [a for k, a in enumerate(args) if k not in fixed]
    if t.rules.count(made.__wrapped__) == DEEPEST:
        return without_rule(t, made, args, free, name)
    p = rule_program(t, made, forward, args, called=True)
    if not isinstance(p.result, tuple) or len(p.result) != 2:
        refuse(
            t,
            f"the forward rule of `{name}` returns {describe(p.result)}",
            "return a pair: the value, and what the backward rule needs",
        )
    value, residuals = p.result
    found = dict(enumerate(inline(p.function, p.operands)))
    result = results_of(t, value, found)
    kept = results_of(t, residuals, found)
    rule = Derivative("backward rule", backward, options=(name, [args[k] for k in fixed]))
    directions = tree_map(t, float_or_zero, result)
    b = rule_program(t, made, rule, [kept, directions, *free])
    start = dynamic(t, kept)
    places = tuple(range(start, start + dynamic(t, directions)))
    rest = [v for k, v in enumerate(b.operands) if k not in places]
    given = floats_of(t, tuple(free))
    wanted = [leaf for leaf, part in zip(given, b.result, strict=True) if part is not None]
    attrs = {"pullback": b.function, "pullback_at": places}
    return marked(t, p, value, found, wanted, rest, attrs)


def custom_jvp(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a function with a rule for tangents, which serves both modes."""
    rule, fixed = made.options
    name = made.__name__.removesuffix("_custom_jvp")
    if rule is None:
        refuse(t, f"`{name}` has no rule", f"give it one: `@{name}.defjvp`")
    args = by_position(t, made, args, kwargs)
    free = tuple(a for k, a in enumerate(args) if k not in fixed)
    if t.rules.count(made.__wrapped__) == DEEPEST:
        return without_rule(t, made, args, free, name)
    p = program(t, made.__wrapped__, args, {}, (), called=True)
    found = dict(enumerate(inline(p.function, p.operands)))
    result = results_of(t, p.result, found)
    tangents = tree_map(t, float_or_zero, free)
    own = Derivative("tangent rule", rule, options=(name, [args[k] for k in fixed]))
    b = rule_program(t, made, own, [free, tangents, result])
    start = dynamic(t, free)
    places = tuple(range(start, start + dynamic(t, tangents)))
    rest = [v for k, v in enumerate(b.operands) if k not in places]
    attrs = {"pushforward": b.function, "pushforward_at": places}
    return marked(t, p, p.result, found, floats_of(t, free), rest, attrs)


def without_rule(t: Tracer, made: Derivative, args: list[Any], free: Sequence[Any], name: str) -> Any:
    """A call that may not be differentiated."""
    p = program(t, made.__wrapped__, args, {}, (), called=True)
    found = dict(enumerate(inline(p.function, p.operands)))
    return marked(t, p, p.result, found, floats_of(t, tuple(free)), [], {"deepest": name})


def rule_program(t: Tracer, made: Derivative, rule: Any, args: list[Any], called: bool = False) -> Program:
    """A rule as a program; calls of its own function inside are counted."""
    t.rules.append(made.__wrapped__)
    try:
        return program(t, rule, args, {}, (), called)
    finally:
        t.rules.pop()


def marked(
    t: Tracer,
    p: Program,
    tree: Any,
    found: dict[int, Value],
    args: Sequence[Any],
    rest: Sequence[Value],
    attrs: dict[str, Any],
) -> Any:
    """The result, its floats through an operation `custom`; `args`: the leaves that the rule is about."""
    mark_shared(t, p, tree)
    outs = [o.index for o in p.outputs_of(t, tree) if found[o.index].dtype.is_float]
    if args and outs:
        operands = [*(value_of(t, x) for x in args), *(found[k] for k in outs), *rest]
        found |= zip(outs, t.emit("custom", operands, {"args": len(args), "outs": len(outs), **attrs}), strict=True)
    return results_of(t, tree, found)


def by_position(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> list[Any]:
    """All arguments by position, defaults included: rules take them so."""
    if not callable(made.__wrapped__):
        if kwargs:
            refuse(t, "keyword arguments of a function with rules of its own", "pass them by position")
        return args
    try:
        bound = inspect.signature(made.__wrapped__).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        t.type_error(f"{made.__name__}: {error}")
    bound.apply_defaults()
    if bound.kwargs:
        refuse(t, "a function with rules of its own that has keyword-only parameters", "make them positional")
    return list(bound.args)


def is_float(leaf: Any) -> bool:
    return isinstance(leaf, Number | Reference) and leaf.dtype.is_float


def float_or_zero(leaf: Any) -> Any:
    """What stands for the tangent or cotangent of a leaf: something of its kind; 0.0 where it has none."""
    return leaf if is_float(leaf) else 0.0


def dynamic(t: Tracer, x: Any) -> int:
    """How many arguments of a program a structure becomes."""
    return sum(isinstance(leaf, Number | Reference) for leaf in leaves(t, x))


def bind_custom_rule(t: Tracer, *args: Any, **kwargs: Any) -> NoReturn:
    t.unsupported(
        "a function with a rule of its own (custom_vjp, custom_jvp) that is made inside of a traced function",
        "make it outside, and pass what it captures as arguments: a rule says nothing about captured values",
    )


# ---------------------------------------------------------------- rules as programs


def backward_rule(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The cotangents of all float leaves of the arguments, in order (None where the rule says so)."""
    name, fixed = made.options
    residuals, directions, *free = args
    found = calls.call(t, made.__wrapped__, [*fixed, residuals, directions], {})
    parts = tuple(t.items(found)) if isinstance(found, ListObject) else found
    if not isinstance(parts, tuple) or len(parts) != len(free):
        refuse(
            t,
            f"the backward rule of `{name}` returns {describe(found)} for {len(free)} arguments",
            "return a tuple with a cotangent, of the argument's structure and shape, or None for each argument",
        )
    out: list[Any] = []
    for k, (x, dx) in enumerate(zip(free, parts, strict=True)):
        out += directions_like(t, f"the backward rule of `{name}`", f"a cotangent of argument {k}", x, dx)
    return tuple(out)


def tangent_rule(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The tangents of all float leaves of the result, in order."""
    name, fixed = made.options
    primals, tangents, result = args
    found = calls.call(t, made.__wrapped__, [*fixed, primals, tangents], {})
    if not isinstance(found, tuple) or len(found) != 2:
        refuse(
            t,
            f"the rule of `{name}` returns {describe(found)}",
            "return a pair: the value, and its tangent of the same structure and shape",
        )
    given = directions_like(t, f"the rule of `{name}`", "the tangent of the result", result, found[1])
    return tuple(zero(t, x) if dx is None else dx for x, dx in zip(floats_of(t, result), given, strict=True))


def zero(t: Tracer, x: Any) -> Any:
    value = zeros_like(value_of(t, x))
    return t.new_array(value) if value.is_array else Number(value)


def floats_of(t: Tracer, x: Any) -> list[Any]:
    return [leaf for leaf in leaves(t, x) if is_float(leaf)]


def directions_like(t: Tracer, who: str, what: str, x: Any, dx: Any) -> list[Any]:
    """A tangent or cotangent for each float leaf of `x`, of its shape and dtype; None where there is none."""
    floats = floats_of(t, x)
    if dx is None:
        return [None] * len(floats)
    if structure(t, dx) != structure(t, x):
        refuse(
            t,
            f"{who} returns {describe(dx)} as {what}, which is {describe(x)}",
            "return the same structure, or None for zero",
        )
    out = []
    for leaf, part in zip(leaves(t, x), leaves(t, arranged(t, dx, x)), strict=True):
        if is_float(leaf):
            out.append(None if part is None else direction_like(t, who, what, leaf, part))
    return out


def direction_like(t: Tracer, who: str, what: str, x: Any, dx: Any) -> Any:
    """A tangent or cotangent of one leaf, checked and in its dtype."""
    numeric = isinstance(dx, Number | Reference) or type(dx) in (int, float)
    rank, given = ((v.rank if isinstance(v, Reference) else 0) for v in (x, dx))
    if not numeric or rank != given:
        refuse(t, f"{who} returns {describe(dx)} as {what}, which is {describe(x)}", "return one of the same shape")
    for axis in range(rank):
        agree(t, views.extent(t, x, axis), views.extent(t, dx, axis), f"{who} returns {what}, which has another shape")
    value = value_of(t, float(dx) if type(dx) is int else dx)
    if value.dtype is not x.dtype:
        value = t.emit1("cast", [value], {"dtype": x.dtype})
    return t.new_array(value) if value.is_array else Number(value)


RULES = {
    "custom_vjp": custom_vjp,
    "custom_jvp": custom_jvp,
    "backward rule": backward_rule,
    "tangent rule": tangent_rule,
}
