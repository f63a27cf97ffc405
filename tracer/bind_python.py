"""Bindings of Python's own functions: abs, min, max, pow, round, float, int, isinstance, getattr, partial and more.

In: abstract values. Out: what Python would give, static wherever possible.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, DType, dtype_of
from . import indexing, numeric, views
from .bind_elementwise import apply, divmod_
from .bind_sequences import listed, run_template, static_items
from .context import Tracer
from .iteration import Range
from .numeric import cast, describe, element, is_number, is_static_number, truth
from .values import (
    BoundMethod,
    DictObject,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Number,
    Partial,
    Reference,
)

__all__ = ["around", "register"]


def weak(x: Any) -> bool:
    from .operators import is_weak

    return is_weak(x)


# ---------------------------------------------------------------- numbers


def abs_(t: Tracer, x: Any) -> Any:
    if is_static_number(x):
        return abs(x)
    if isinstance(x, Instance | Host):
        from .calls import call
        from .expressions import attribute

        return call(t, attribute(t, x, "__abs__"), [], {})
    if not isinstance(x, Number | Reference):
        t.type_error(f"abs() of {describe(x)}")
    if isinstance(x, Number) and x.weak and x.dtype is BOOL:
        return Number(cast(t, x.value, I64), True)
    return apply(t, np.absolute, x, weak=weak(x))


def extreme(name: str, pick: Callable[..., Any]) -> Callable[..., Any]:
    """Python's min and max: the first of the smallest (largest), by comparison."""
    ufunc = np.less if name == "min" else np.greater

    def binding(t: Tracer, *args: Any, key: Any = None, default: Any = MISSING) -> Any:
        from .calls import call
        from .merges import stage_if

        if len(args) == 1:
            (only,) = args
            only = listed(t, only)
            if isinstance(only, Reference):
                if only.rank != 1 or key is not None:
                    t.unsupported(f"{name}() of an array of {only.rank} axes", f"use np.{name}")
                return run_template(t, EXTREME.format(name=name, sign=">" if name == "max" else "<"), [only])
            items = static_items(t, only, f"{name}()")
        else:
            items = list(args)
        if not items:
            if default is not MISSING:
                return default
            t.fail_value(f"{name}() of nothing")
        if key is None and all(is_static_number(x) or isinstance(x, str) for x in items):
            return pick(items)
        best = items[0]
        best_key = best if key is None else call(t, key, [best], {})
        for x in items[1:]:
            this = x if key is None else call(t, key, [x], {})
            if not (is_number(this) and is_number(best_key)):
                if isinstance(this, Reference) or isinstance(best_key, Reference):
                    t.type_error(
                        f"{name}() compares numbers; an array has no single truth value", f"use np.{name}imum of arrays"
                    )
                t.type_error(f"{name}() of {describe(this)}")
            if is_static_number(this) and is_static_number(best_key):
                if bool(ufunc(this, best_key)):
                    best, best_key = x, this
                continue
            better = apply(t, ufunc, this, best_key)
            if is_number(x) and is_number(best):
                best = choose(t, better.value, x, best)
                best_key = best if key is None else choose(t, better.value, this, best_key)
            else:
                first, old = x, best
                best = stage_if(t, better.value, lambda first=first: first, lambda old=old: old)  # type: ignore[misc]
                best_key = choose(t, better.value, this, best_key)
        return best

    return binding


EXTREME = """
def {name}(values):
    if len(values) == 0:
        raise ValueError("{name}() arg is an empty sequence")
    best = values[0]
    for value in values:
        if value {sign} best:
            best = value
    return best
"""
"""Of an array: by comparison, as Python does it, so that the first of equal ones wins and NaN replaces no number."""

MISSING = object()


def choose(t: Tracer, condition: Value, a: Any, b: Any) -> Number:
    """`a if condition else b` of numbers, as a selection."""
    from .templates import join_numbers, number_leaf

    leaf = join_numbers(number_leaf(a), number_leaf(b))
    x, y = (numeric.as_dtype(t, v, leaf.dtype, "a choice of numbers of different types") for v in (a, b))
    out = t.emit1("select", [condition, x, y])
    if all((isinstance(v, Const) and v.value >= 0) or v in t.nonnegative for v in (x, y)) and leaf.dtype is I64:
        t.nonnegative.add(out)
    return Number(out, leaf.weak)


def pow_(t: Tracer, base: Any, exp: Any, mod: Any = None) -> Any:
    import ast

    from .operators import binary

    if mod is not None:
        if isinstance(base, int) and isinstance(exp, int) and isinstance(mod, int):
            return pow(base, exp, mod)
        t.unsupported("pow() with three arguments", "write `(base ** exp) % mod`")
    return binary(t, ast.Pow(), base, exp)


def round_(t: Tracer, number: Any, ndigits: Any = None) -> Any:
    """Python's round: to an int without digits, to the nearest even at a tie."""
    if is_static_number(number):
        return round(number, ndigits) if ndigits is not None else round(number)
    if not isinstance(number, Number) or number.array or (number.dtype is BOOL and not number.weak):
        t.type_error(f"round() of {describe(number)}", "use np.round")
    if not number.dtype.is_float:
        return t.number(cast(t, number.value, I64), True) if ndigits is None or number.weak else number
    if ndigits is None:
        require_finite(t, number.value)
        return Number(cast(t, t.emit1("rint", [number.value]), I64), True)
    if weak(number):
        t.unsupported(
            "round() to digits of a number known at run time",
            "use np.round, which differs in the last place from Python's round",
        )
    return around(t, number, ndigits)


def around(t: Tracer, a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """np.round, written to `out` where there is one."""
    from .bind_reduce import into

    return into(t, rounded(t, a, decimals), out)


def rounded(t: Tracer, a: Any, decimals: Any) -> Any:
    """Multiply, round, divide, as NumPy does."""
    from .bind_methods import copy

    digits = numeric.static_int(t, decimals, "the number of decimals")
    a = element(t, a, "np.round")
    if is_static_number(a):
        return np.round(a, digits)
    if a.dtype is BOOL:
        t.type_error("np.round of booleans", "convert them: `x.astype(float)`")
    if not a.dtype.is_float:
        if digits < 0:
            t.unsupported("np.round of integers to tens or hundreds", "convert them: `x.astype(float)`")
        return t.number(a.value) if isinstance(a, Number) else copy(t, a)
    if digits == 0:
        return apply(t, np.rint, a)
    scale = 10.0 ** abs(digits)
    up, down = (np.multiply, np.true_divide) if digits > 0 else (np.true_divide, np.multiply)
    return apply(t, down, apply(t, np.rint, apply(t, up, a, scale)), scale)


def to_float(t: Tracer, x: Any = 0.0) -> Any:
    if is_static_number(x) or isinstance(x, str):
        try:
            return float(x)
        except ValueError as error:
            t.fail_value(str(error))
    return Number(cast(t, single(t, x, "float()"), F64), True)


def to_int(t: Tracer, x: Any = 0) -> Any:
    if is_static_number(x) or isinstance(x, str):
        try:
            return int(x)
        except (ValueError, OverflowError) as error:
            t.fail_value(str(error))
    value = single(t, x, "int()")
    require_finite(t, value)
    return t.number(cast(t, value, I64), True, value in t.nonnegative and not value.dtype.is_float)


def require_finite(t: Tracer, value: Value) -> None:
    """A float that becomes an integer: Python refuses what has no integer."""
    if value.dtype.is_float:
        for name, error, what in (("isnan", "ValueError", "NaN"), ("isinf", "OverflowError", "infinity")):
            fine = t.emit1("logical_not", [t.emit1(name, [value])])
            t.emit("check", [fine], {"error": error, "message": f"cannot convert float {what} to integer"})


def to_bool(t: Tracer, x: Any = False) -> Any:
    value = truth(t, x, "bool()")
    return value if isinstance(value, bool) else Number(value, True)


def single(t: Tracer, x: Any, what: str) -> Value:
    """One number of a number or an array without axes."""
    if isinstance(x, Number):
        return x.value
    if isinstance(x, Reference):
        if x.rank == 0:
            return views.read(t, x)
        t.type_error(f"{what} of {describe(x)}: only 0-dimensional arrays can be converted", "write `x.item()`")
    t.type_error(f"{what} of {describe(x)}")


def numpy_scalar(dtype: DType) -> Callable[..., Any]:
    def binding(t: Tracer, x: Any = 0) -> Any:
        from .bind_methods import astype

        if is_static_number(x):
            return dtype.numpy.type(x)
        if isinstance(x, Number) and x.weak and dtype.is_integer:
            require_finite(t, x.value)
        found = astype(t, element(t, x, dtype.numpy.name), dtype.numpy)
        return Number(found.value) if isinstance(found, Number) else found

    return binding


# ---------------------------------------------------------------- types


def type_(t: Tracer, x: Any) -> Any:
    if isinstance(x, Number):
        if x.array:
            return np.ndarray
        if x.weak:
            return {"b": bool, "i": int, "f": float}[x.dtype.kind]
        return x.dtype.numpy.type
    if isinstance(x, Reference):
        return np.ndarray
    if isinstance(x, ListObject):
        return list
    if isinstance(x, DictObject):
        return dict
    if isinstance(x, Instance):
        return x.cls
    if isinstance(x, Host):
        return type(x.value)
    if isinstance(x, FunctionValue):
        return type(lambda: None)
    if isinstance(x, Range):
        return range
    return type(x)


def isinstance_(t: Tracer, x: Any, cls: Any) -> Any:
    classes = cls if isinstance(cls, tuple) else (cls,)
    kind = type_(t, x)
    try:
        return any(issubclass(kind, c) for c in flattened(classes))
    except TypeError:
        t.unsupported("isinstance() with this class")


def flattened(classes: Any) -> list[Any]:
    import types

    out: list[Any] = []
    for c in classes:
        if isinstance(c, tuple):
            out += flattened(c)
        elif isinstance(c, types.UnionType):
            out += flattened(c.__args__)
        else:
            out.append(c)
    return out


def callable_(t: Tracer, x: Any) -> Any:
    if isinstance(x, FunctionValue | BoundMethod | Partial):
        return True
    if isinstance(x, Number | Reference | ListObject | DictObject):
        return False
    return callable(x.value if isinstance(x, Host) else x)


def getattr_(t: Tracer, x: Any, name: Any, *default: Any) -> Any:
    from ..ir.errors import TraceTypeError
    from .attributes import guard_absence
    from .expressions import attribute

    try:
        return attribute(t, x, name)
    except TraceTypeError:
        if default:
            guard_absence(t, x, name)
            return default[0]
        raise


def hasattr_(t: Tracer, x: Any, name: Any) -> Any:
    missing = object()
    return getattr_(t, x, name, missing) is not missing


def setattr_(t: Tracer, x: Any, name: Any, value: Any) -> None:
    from .statements import set_attribute

    set_attribute(t, x, name, value)


def errstate(t: Tracer, **kwargs: Any) -> Any:
    from .expressions import HARMLESS_CONTEXT

    return HARMLESS_CONTEXT


def partial_(t: Tracer, function: Any, *args: Any, **kwargs: Any) -> Any:
    return Partial(function, tuple(args), kwargs)


def reduce_(t: Tracer, function: Any, iterable: Any, *initial: Any) -> Any:
    from .calls import call

    items = [*initial, *static_items(t, iterable, "functools.reduce")]
    if not items:
        t.type_error("reduce() of nothing")
    out = items[0]
    for x in items[1:]:
        out = call(t, function, [out, x], {})
    return out


def operator_binding(node: Any) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, b: Any) -> Any:
        from .operators import binary

        return binary(t, node(), a, b)

    return binding


def id_(t: Tracer, x: Any) -> Any:
    t.unsupported("id() of a value while tracing", "compare with `is`")


def register() -> None:
    import ast

    from .bindings import TABLE

    TABLE.update(
        {
            abs: abs_,
            builtins.min: extreme("min", min),
            builtins.max: extreme("max", max),
            pow: pow_,
            round: round_,
            float: to_float,
            int: to_int,
            bool: to_bool,
            divmod: divmod_,
            type: type_,
            isinstance: isinstance_,
            callable: callable_,
            getattr: getattr_,
            hasattr: hasattr_,
            setattr: setattr_,
            id: id_,
            np.errstate: errstate,
            np.round: around,
            np.around: around,
            functools.partial: partial_,
            functools.reduce: reduce_,
        }
    )
    for dtype in (
        np.float64,
        np.float32,
        np.int64,
        np.int32,
        np.int16,
        np.int8,
        np.uint8,
        np.uint16,
        np.uint32,
        np.uint64,
        np.bool_,
    ):
        found = dtype_of(dtype)
        assert found is not None
        TABLE[dtype] = numpy_scalar(found)
    for name, node in (
        ("add", ast.Add),
        ("sub", ast.Sub),
        ("mul", ast.Mult),
        ("truediv", ast.Div),
        ("floordiv", ast.FloorDiv),
        ("mod", ast.Mod),
        ("pow", ast.Pow),
        ("matmul", ast.MatMult),
    ):
        TABLE[getattr(operator, name)] = operator_binding(node)
    TABLE[operator.neg] = lambda t, x: apply(t, np.negative, x, weak=weak(x))
    TABLE[operator.getitem] = lambda t, a, b: indexing.load(t, a, b)
