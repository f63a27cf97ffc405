"""Python functions that cannot be traced, called from traced programs.

In: a `Derivative` of kind "callback", whose options say what the function returns, what its derivative is and whether
it has effects, and abstract arguments. Out: the abstract result: of one operation (`ir.ops.callback`), whose first
operand is the number of the call's site in the process (`ir.callbacks`). That number is a capture: it is read when the
program is called, so that no compiled code contains an address.

What the function returns is said by an example or by a function of its arguments (`result`), which is traced for the
extents and dtypes of what it gives, and otherwise forgotten. Rules (`vjp`, `jvp`) become functions of an operation
`custom` around the results, like those of `custom_vjp`; the results themselves are among what they take, so that they
can be differentiated in turn. A rule for cotangents is linear in them: transposed it serves forward mode.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..ir.callbacks import Site, register
from ..ir.core import Builder, Const, Function, Region, Value, builder
from ..ir.ops import extents_of
from ..ir.ops.callback import refuse_effects
from ..ir.rewrite import inline
from ..ir.types import BOOL, F64, I64, DType, Scalar, dtype_of
from . import calls
from .context import Tracer
from .custom import directions_like, dynamic, float_or_zero, floats_of, is_float, zero
from .joins import make_tuple
from .numeric import describe
from .programs import Derivative, Output, Program, program, refuse, results_of, tree_map, value_of
from .values import (
    BoundMethod,
    DictObject,
    Formatted,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Number,
    Reference,
)
from .values import Partial as PartialValue

__all__ = ["RULES", "Opaque", "bind_callback", "bind_print", "call_python"]

WEAK = {F64: "float", I64: "int", BOOL: "bool"}
PYTHON = {float: F64, int: I64, bool: BOOL}
REFUSED = (FunctionValue, BoundMethod, PartialValue, Derivative)


@dataclass(frozen=True)
class Opaque:
    """What is known of a function that is not traced. `result`: an example of its result, or a function of its
    arguments that gives one; `vjp` and `jvp`: rules, with whether they are called by Python, too; `zero`: whether the
    derivative counts as zero; `effects`: whether each call counts; `name`: what it is called in messages, where it has
    no name of its own."""

    result: Any
    effects: bool
    zero: bool
    name: str = ""
    vjp: tuple[Any, bool] | None = None
    jvp: tuple[Any, bool] | None = None


def call_python(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a function that is not traced."""
    o: Opaque = made.options
    name = o.name or made.__name__.removesuffix("_callback")
    args, kwargs = bound(t, made, name, args, kwargs)
    tree, kinds = outlined(t, o.result, name, args, kwargs)
    if not kinds and not o.effects:
        refuse(t, f"the callback `{name}` has neither a result nor effects", "say what it returns by `result=`")
    values: list[Value] = []
    forms = [form(t, name, x, values) for x in args]
    named = [form(t, name, x, values) for x in kwargs.values()]
    ruled = o.vjp is not None or o.jvp is not None
    handle = site(t, made.__wrapped__, name, (*forms, *named), tuple(kwargs), result_form(t, tree, kinds))
    attrs = {
        "args": len(values),
        "dtypes": tuple(k.dtype for k in kinds),
        "ranks": tuple(len(k.extents) for k in kinds),
        "name": name,
    }
    if o.zero or ruled:
        attrs["zero"] = True
    op = "ordered_callback" if o.effects else "callback"
    found = t.emit(op, [handle, *values, *(n for k in kinds for n in k.extents)], attrs)
    raw = dict(enumerate(found))
    return with_rules(t, made, o, name, args, kwargs, tree, raw) if ruled else results_of(t, tree, raw)


def bound(t: Tracer, made: Derivative, name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], Any]:
    """Arguments by position where the function's signature says so; keyword-only ones stay. Rules take all of them,
    with defaults."""
    o: Opaque = made.options
    ruled = o.vjp is not None or o.jvp is not None
    try:
        given = inspect.signature(made.__wrapped__).bind(*args, **kwargs)
    except ValueError:  # built in, without a signature
        if ruled and kwargs:
            refuse(t, f"keyword arguments of the callback `{name}`, which has rules", "pass them by position")
        return args, kwargs
    except TypeError as error:
        t.type_error(f"{name}: {error}")
    if ruled:
        if given.kwargs:
            refuse(t, f"keyword arguments of the callback `{name}`, which has rules", "make them positional")
        given.apply_defaults()
        return list(given.args), {}
    return list(given.args), given.kwargs


# ---------------------------------------------------------------- arguments


def form(t: Tracer, name: str, x: Any, values: list[Value]) -> tuple[Any, ...]:
    """How an argument is put together (`ir.callbacks`); appends its numbers and arrays to `values`."""
    if isinstance(x, Number | Reference):
        values.append(value_of(t, x))
        kind = "array" if isinstance(x, Reference) or x.array else "scalar"
        if isinstance(x, Number) and x.weak:
            kind = WEAK.get(x.dtype, kind)
        return ("leaf", len(values) - 1, kind)
    part = partial(form, t, name, values=values)
    if isinstance(x, tuple):
        return ("tuple", type(x), tuple(part(v) for v in x))
    if isinstance(x, ListObject):
        return ("list", tuple(part(v) for v in t.items(x)))
    if isinstance(x, DictObject):
        items = t.items(x)
        return ("dict", tuple(k for k, _ in items), tuple(part(v) for _, v in items))
    if isinstance(x, Instance):
        items = t.items(x)
        return ("object", x.cls, tuple(k for k, _ in items), tuple(part(v) for _, v in items))
    if isinstance(x, Host):
        return ("static", x.value)
    if isinstance(x, Formatted):
        return (
            "format",
            tuple((conversion, spec) for _, conversion, spec in x.parts),
            tuple(part(v) for v, *_ in x.parts),
        )
    if isinstance(x, REFUSED) or type(x).__module__.startswith(__package__ or ""):
        refuse(
            t,
            f"the callback `{name}` is given {describe(x)}",
            "give it numbers, arrays, and tuples, lists and dicts of them; what is static it can find by itself",
        )
    return ("static", x)


def site(
    t: Tracer, function: Any, name: str, forms: tuple[Any, ...], keywords: tuple[str, ...], result: tuple[Any, ...]
) -> Value:
    """The number of the call's site, which is read when the program is called."""
    key = ("callback", id(function), t.span(), identity(forms), keywords, identity(result))
    if key not in t.captures.known:
        made = Site(function, name, forms, keywords, result, t.span())
        number = t.captures.add(lambda: register(made), Scalar(I64), True, name, None)
        t.captures.known[key] = (number, made)
    value: Value = t.captures.known[key][0]
    return value


def identity(x: Any) -> Any:
    """What tells one form from another."""
    return tuple(identity(v) for v in x) if type(x) is tuple else x if type(x) in (str, int, bool) else (type(x), id(x))


# ---------------------------------------------------------------- results


@dataclass(frozen=True)
class Kind:
    """What is known of a number or array of the result. `weak`: it is a Python number."""

    dtype: DType
    extents: list[Value]
    weak: bool = False
    array: int = False


def outlined(t: Tracer, result: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> tuple[Any, list[Kind]]:
    """The structure of the result, with `Output`s, and what is known of each."""
    kinds: list[Kind] = []
    traced = isinstance(result, FunctionValue | PartialValue | BoundMethod | Host)
    if not traced and (isinstance(result, type) or not callable(result)):
        return outline(t, name, result, {}, kinds), kinds
    p = program(t, result, args, kwargs, ())
    refuse_effects(p.function.body, f"`result=` of the callback `{name}`")
    return outline(t, name, p.result, dict(enumerate(inline(p.function, p.operands))), kinds), kinds


def outline(t: Tracer, name: str, x: Any, found: dict[int, Value], kinds: list[Kind]) -> Any:
    """The structure of an example, host's or abstract; `found`: the values of `Output`s in it."""

    def leaf(kind: Kind) -> Output:
        kinds.append(kind)
        return Output(len(kinds) - 1, kind.weak, kind.array)

    def part(v: Any) -> Any:
        return outline(t, name, v, found, kinds)

    if x is None:
        return x
    if isinstance(x, Output):
        value = found[x.index]
        return leaf(Kind(value.dtype, extents_of(value) if value.is_array else [], x.weak, x.array))
    if isinstance(x, Reference):  # an example in a traced function
        return leaf(Kind(x.dtype, extents_of(value_of(t, x))))
    if isinstance(x, Number):
        return leaf(Kind(x.dtype, [], x.weak, x.array))
    if isinstance(x, tuple):
        return make_tuple(type(x), [part(v) for v in x])
    if isinstance(x, list | ListObject):
        return ListObject(tuple(part(v) for v in (x if isinstance(x, list) else t.items(x))), t.region, t.birth())
    if isinstance(x, dict | DictObject):
        items = x.items() if isinstance(x, dict) else t.items(x)
        return DictObject(tuple((k, part(v)) for k, v in items), t.region, t.birth())
    if isinstance(x, Instance):
        return Instance(x.cls, tuple((k, part(v)) for k, v in t.items(x)), t.region, t.birth())
    cls = x if isinstance(x, type) else type(x)
    if cls in PYTHON:
        return leaf(Kind(PYTHON[cls], [], True))
    if isinstance(x, type) and issubclass(x, np.generic):
        dtype, shape = dtype_of(np.dtype(x)), []
    elif hasattr(x, "shape") and hasattr(x, "dtype"):
        dtype, shape = dtype_of(np.dtype(x.dtype)), [int(n) for n in x.shape]
    else:
        dtype, shape = None, []
    if dtype is None:
        refuse(
            t,
            f"`result=` of the callback `{name}` gives {describe(x)}",
            "give an example of the result (a number, an array, a structure of them), or a function of the arguments "
            "that makes one, such as `result=lambda x: x`",
        )
    return leaf(Kind(dtype, [Const(n, I64) for n in shape]))


def result_form(t: Tracer, tree: Any, kinds: Sequence[Kind]) -> tuple[Any, ...]:
    """How the result is taken apart."""
    if isinstance(tree, Output):
        return ("leaf", tree.index, "array" if kinds[tree.index].extents else "scalar")
    if isinstance(tree, tuple):
        return ("tuple", type(tree), tuple(result_form(t, v, kinds) for v in tree))
    if isinstance(tree, ListObject):
        return ("list", tuple(result_form(t, v, kinds) for v in t.items(tree)))
    if isinstance(tree, DictObject | Instance):
        keys, parts = zip(*t.items(tree), strict=True) if t.items(tree) else ((), ())
        forms = tuple(result_form(t, v, kinds) for v in parts)
        return ("dict", keys, forms) if isinstance(tree, DictObject) else ("object", tree.cls, keys, forms)
    return ("static", tree)


# ---------------------------------------------------------------- rules


@dataclass(frozen=True)
class Rule:
    """A rule as a program. Of its operands, `directions` are where tangents or cotangents go, `outs` (by number of the
    result) where results go."""

    program: Program
    directions: list[int]
    outs: dict[int, int]


def with_rules(
    t: Tracer,
    made: Derivative,
    o: Opaque,
    name: str,
    args: list[Any],
    kwargs: dict[str, Any],
    tree: Any,
    raw: dict[int, Value],
) -> Any:
    """The results, with the derivative that the rules say."""
    result = results_of(t, tree, raw)
    given = floats_of(t, tuple(args))
    floats = [k for k in sorted(raw) if raw[k].dtype.is_float]
    if not given or not floats:
        return result
    back = along = None
    if o.vjp is not None:
        rule, python = o.vjp
        own = Derivative("callback vjp", opaque_vjp(t, rule, name, args) if python else rule, options=(name,))
        directions = tree_map(t, float_or_zero, result)
        p = program(t, own, [directions, result, *args], {}, ())
        back = placed(t, p, directions, result, raw)
    if o.jvp is not None:
        rule, python = o.jvp
        own = Derivative("callback jvp", opaque_jvp(t, rule, name, result) if python else rule, options=(name,))
        tangents = tree_map(t, float_or_zero, tuple(args))
        p = program(t, own, [tangents, result, *args], {}, ())
        along = placed(t, p, tangents, result, raw)
    rest, attrs = closed(back, along, floats)
    operands = [*(value_of(t, x) for x in given), *(raw[k] for k in floats), *rest]
    marked = t.emit("custom", operands, {"args": len(given), "outs": len(floats), "linear": True, **attrs})
    return results_of(t, tree, raw | dict(zip(floats, marked, strict=True)))


def placed(t: Tracer, p: Program, directions: Any, result: Any, raw: dict[int, Value]) -> Rule:
    """Which of a rule's operands are directions and which results: the first arguments, in this order."""
    start = dynamic(t, directions)
    number = {id(v): k for k, v in raw.items() if v.dtype.is_float}
    outs = {number[id(v)]: k for k, v in enumerate(p.operands) if k >= start and id(v) in number}
    return Rule(p, list(range(start)), outs)


def closed(back: Rule | None, along: Rule | None, floats: list[int]) -> tuple[list[Value], dict[str, Any]]:
    """The rules as functions of the same values: these, and the attributes of `custom`."""
    rest: list[Value] = []
    for rule in (back, along):
        if rule is not None:
            special = {*rule.directions, *rule.outs.values()}
            rest += [v for k, v in enumerate(rule.program.operands) if k not in special]
    rest = list({id(v): v for v in rest}.values())
    attrs: dict[str, Any] = {}
    for rule, name in ((back, "pullback"), (along, "pushforward")):
        if rule is None:
            continue
        p = rule.program
        own = [Value(v.type, v.name) for v in rest]
        directions = [Value(p.function.args[k].type, p.function.args[k].name) for k in rule.directions]
        outs = [Value(p.operands[rule.outs[k]].type if k in rule.outs else Scalar(F64)) for k in floats]
        known = {id(v): new for v, new in zip(rest, own, strict=True)}
        operands = [known.get(id(v), v) for v in p.operands]
        for k, v in zip(rule.directions, directions, strict=True):
            operands[k] = v
        for k, v in zip(floats, outs, strict=True):
            if k in rule.outs:
                operands[rule.outs[k]] = v
        region = Region([*own, *directions, *outs])
        with Builder(region, builder().span) as b:
            b.emit("return", inline(p.function, operands))
        first, last = len(own), len(own) + len(directions)
        attrs[name] = Function(p.function.name, region)
        attrs[f"{name}_at"] = tuple(range(first, last))
        attrs[f"{name}_outs"] = tuple(range(last, last + len(outs)))
    return rest, attrs


def opaque_vjp(t: Tracer, rule: Any, name: str, args: list[Any]) -> Derivative:
    """A rule for cotangents that Python is to call: it returns one of the structure of each argument."""
    like = tuple(tree_map(t, lambda leaf: leaf if is_float(leaf) else None, x) for x in args)
    like = tuple(x if floats_of(t, x) else None for x in like)
    return Derivative("callback", rule, options=Opaque(like, False, False, f"{name}.vjp"))


def opaque_jvp(t: Tracer, rule: Any, name: str, result: Any) -> Derivative:
    """A rule for tangents that Python is to call: it returns one of the structure of the result."""
    like = tree_map(t, lambda leaf: leaf if is_float(leaf) else None, result)
    return Derivative("callback", rule, options=Opaque(like, False, False, f"{name}.jvp"))


def cotangent_rule(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The cotangents of all float leaves of the arguments, in order."""
    (name,) = made.options
    directions, result, *primals = args
    found = calls.call(t, made.__wrapped__, [directions, result, *primals], {})
    parts = tuple(t.items(found)) if isinstance(found, ListObject) else found
    if not isinstance(parts, tuple) or len(parts) != len(primals):
        refuse(
            t,
            f"the vjp rule of `{name}` returns {describe(found)} for {len(primals)} arguments",
            "return a tuple with a cotangent, of the argument's structure and shape, or None for each argument",
        )
    out: list[Any] = []
    for k, (x, dx) in enumerate(zip(primals, parts, strict=True)):
        given = directions_like(t, f"the vjp rule of `{name}`", f"the cotangent of argument {k}", x, dx)
        out += [zero(t, leaf) if part is None else part for leaf, part in zip(floats_of(t, x), given, strict=True)]
    return tuple(out)


def tangent_rule(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The tangents of all float leaves of the result, in order."""
    (name,) = made.options
    tangents, result, *primals = args
    found = calls.call(t, made.__wrapped__, [tangents, result, *primals], {})
    given = directions_like(t, f"the jvp rule of `{name}`", "the tangent of the result", result, found)
    return tuple(zero(t, x) if dx is None else dx for x, dx in zip(floats_of(t, result), given, strict=True))


RULES: dict[str, Callable[..., Any]] = {
    "callback": call_python,
    "callback vjp": cotangent_rule,
    "callback jvp": tangent_rule,
}


# ---------------------------------------------------------------- named in traced programs


def bind_callback(t: Tracer, function: Any, result: Any = None, effects: Any = None, derivative: Any = None) -> Any:
    """`callback(function, result=...)` inside of a traced function."""
    if not callable(function) or isinstance(function, Derivative):
        t.unsupported(
            f"a callback of {describe(function)} that is made inside of a traced function",
            "define it outside, and give it what it needs as arguments",
        )
    chosen = result is None if effects is None else bool(effects)
    return Derivative("callback", function, options=Opaque(result, chosen, derivative == "zero"))


def bind_print(t: Tracer, *args: Any, sep: Any = " ", end: Any = "\n", flush: Any = False) -> None:
    """Python's `print`, in the forward sweep."""
    made = Derivative("callback", print, options=Opaque(None, True, True))
    call_python(t, made, list(args), {"sep": sep, "end": end, "flush": flush})
