"""Bindings of elementwise functions: NumPy's ufuncs from the operation table, their `math` twins, and the rest.

In: the registry of operations. Out: entries of the binding table. A function that an operation names as its own is
bound without a line here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const
from ..ir.ops import REGISTRY
from ..ir.types import BOOL, F64, I64
from . import numeric, views
from .context import Tracer
from .numeric import element, elementwise, is_static_number
from .values import Number, Reference

__all__ = ["BY_NUMPY", "register"]

BY_NUMPY: dict[Any, str] = {}
"""The operation that each NumPy ufunc is bound to."""

for _definition in REGISTRY.values():
    if _definition.category == "elementwise":
        for _function in _definition.numpy:
            BY_NUMPY.setdefault(_function, _definition.name)

MATH = {
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "sqrt": np.sqrt,
    "cbrt": np.cbrt,
    "fabs": np.absolute,
    "copysign": np.copysign,
    "fmod": np.fmod,
    "pow": np.power,
    "degrees": np.rad2deg,
    "radians": np.deg2rad,
    "nextafter": np.nextafter,
}
"""Functions of `math` of floats, by their NumPy twins."""


def float_number(t: Tracer, x: Any, what: str) -> Any:
    """An argument of a `math` function: one Python float."""
    if isinstance(x, Reference):
        if views.static_dims(x) != (1,) * x.rank:
            t.type_error(f"{what} takes one number, not {numeric.describe(x)}", f"use np.{what.rsplit('.', 1)[-1]}")
        value = views.read(t, x)
        if x.rank:
            value = t.emit1("index", [value, *[Const(0, I64)] * x.rank], {"spec": "i" * x.rank})
        x = Number(value)
    if isinstance(x, Number):
        return Number(numeric.cast(t, x.value, F64), True)
    if is_static_number(x):
        return float(x)
    t.type_error(f"{what} takes one number, not {numeric.describe(x)}")


def ufunc_binding(ufunc: np.ufunc, name: str) -> Callable[..., Any]:
    what = f"np.{ufunc.__name__}"

    def binding(t: Tracer, *args: Any, out: Any = None, where: Any = True, dtype: Any = None) -> Any:
        if len(args) == ufunc.nin + 1 and out is None:
            *args, out = args  # type: ignore[assignment]
        if len(args) != ufunc.nin:
            t.type_error(f"{what} takes {ufunc.nin} arguments, not {len(args)}")
        if where is not True:
            t.unsupported(f"`{what}` with the argument `where` is not supported", "use np.where on the result")
        if out is None and all(is_static_number(a) for a in args):
            with np.errstate(all="ignore"):
                return ufunc(*args, **({"dtype": dtype} if dtype is not None else {}))
        if dtype is not None:
            from .bind_methods import astype

            args = tuple(astype(t, element(t, a, what), dtype) for a in args)
        result = elementwise(t, name, ufunc, args, what)
        if out is not None:
            from .indexing import fill_view

            if isinstance(out, tuple) and len(out) == 1:
                (out,) = out
            target = numeric.as_reference(t, out, f"`out` of {what}")
            fill_view(t, target, result, same_kind=True)
            return target
        return result

    return binding


def derived(function: Any, compute: Callable[..., Any]) -> None:
    """Bind a function that is a composition; on static numbers it is NumPy's own."""
    from .bindings import TABLE

    def binding(t: Tracer, *args: Any) -> Any:
        if all(is_static_number(a) for a in args):
            return function(*args)
        return compute(t, *args)

    TABLE[function] = binding


def apply(t: Tracer, ufunc: np.ufunc, *args: Any, weak: bool = False) -> Any:
    """A ufunc of abstract values."""
    return elementwise(t, BY_NUMPY[ufunc], ufunc, args, f"np.{ufunc.__name__}", weak)


def sinc(t: Tracer, x: Any) -> Any:
    """sin(pi x) / (pi x), with NumPy's substitute of 1e-20 for zero."""
    x = element(t, x, "np.sinc")
    y = apply(t, np.multiply, math.pi, where(t, apply(t, np.equal, x, 0), 1.0e-20, x))
    return apply(t, np.true_divide, apply(t, np.sin, y), y)


def where(t: Tracer, condition: Any, x: Any = None, y: Any = None) -> Any:
    """np.where with three arguments."""
    if x is None or y is None:
        t.unsupported(
            "np.where with a condition only gives as many indices as there are True, which is not known here",
            "use the form np.where(condition, a, b)",
        )
    condition, x, y = (element(t, v, "np.where") for v in (condition, x, y))
    target = result_dtype(t, x, y)
    operands = [condition, x, y]
    return zero_d(numeric.emit_elementwise(t, "select", operands, [BOOL, target, target], "np.where"))


def zero_d(x: Any) -> Any:
    """A number as the 0-d array that NumPy makes of it."""
    return Number(x.value, False, True) if isinstance(x, Number) else x


def result_dtype(t: Tracer, *xs: Any) -> Any:
    """NumPy's promotion of values (Python numbers are weak)."""
    probes = []
    for x in xs:
        spec = numeric.dtype_spec(x)
        probes.append(spec if not numeric.is_python_type(spec) else np.dtype(bool) if spec is bool else spec(0))
    return numeric.to_dtype(t, np.result_type(*probes))


def clip(
    t: Tracer, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None
) -> Any:
    low = a_min if a_min is not None else min
    high = a_max if a_max is not None else max
    value = element(t, a, "np.clip")
    if low is not None:
        value = apply(t, np.maximum, value, low)
    if high is not None:
        value = apply(t, np.minimum, value, high)
    if out is not None:
        from .indexing import fill_view

        fill_view(t, numeric.as_reference(t, out), value, same_kind=True)
        return out
    if low is None and high is None:
        return apply(t, np.positive, value) if np.positive in BY_NUMPY else value
    return value


def float_power(t: Tracer, x: Any, y: Any) -> Any:
    return elementwise(t, "pow", np.float_power, [x, y], "np.float_power")


def isclose(t: Tracer, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8) -> Any:
    difference = apply(t, np.absolute, apply(t, np.subtract, a, b))
    bound = apply(t, np.add, atol, apply(t, np.multiply, rtol, apply(t, np.absolute, b)))
    return apply(t, np.less_equal, difference, bound)


def positive(t: Tracer, x: Any) -> Any:
    from .bind_methods import copy

    x = element(t, x, "np.positive")
    return copy(t, x) if isinstance(x, Reference) else x


def scaled(factor: float) -> Callable[..., Any]:
    return lambda t, x: apply(t, np.multiply, x, factor)


def divmod_(t: Tracer, a: Any, b: Any) -> Any:
    import ast

    from .operators import binary

    return (binary(t, ast.FloorDiv(), a, b), binary(t, ast.Mod(), a, b))


def nan_to_num(t: Tracer, x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    x = element(t, x, "np.nan_to_num")
    info = np.finfo(x.dtype.numpy if isinstance(x, Number | Reference) else np.float64)
    out = where(t, apply(t, np.isnan, x), nan, x)
    infinite = apply(t, np.isinf, x)
    up = apply(t, np.logical_and, infinite, apply(t, np.greater, x, 0))
    down = apply(t, np.logical_and, infinite, apply(t, np.less, x, 0))
    out = where(t, up, float(info.max) if posinf is None else posinf, out)
    return where(t, down, float(info.min) if neginf is None else neginf, out)


# ---------------------------------------------------------------- math


def math_binding(name: str, ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"math.{name}"

    def binding(t: Tracer, *args: Any) -> Any:
        if len(args) != ufunc.nin:
            t.type_error(f"{what} takes {ufunc.nin} arguments, not {len(args)}")
        values = [float_number(t, a, what) for a in args]
        if all(isinstance(v, float) for v in values):
            with np.errstate(all="ignore"):
                return float(ufunc(*values))
        if ufunc not in BY_NUMPY:
            return SCALED[name](t, values[0])
        return apply(t, ufunc, *values, weak=True)

    return binding


SCALED = {
    "degrees": lambda t, x: apply(t, np.multiply, x, 180.0 / math.pi, weak=True),
    "radians": lambda t, x: apply(t, np.multiply, x, math.pi / 180.0, weak=True),
}


def math_log(t: Tracer, x: Any, base: Any = None) -> Any:
    values = [float_number(t, v, "math.log") for v in ((x,) if base is None else (x, base))]
    logs = [float(np.log(v)) if isinstance(v, float) else apply(t, np.log, v, weak=True) for v in values]
    if base is None:
        return logs[0]
    if all(isinstance(v, float) for v in logs):
        return logs[0] / logs[1]
    return apply(t, np.true_divide, logs[0], logs[1], weak=True)


def to_integer(ufunc: np.ufunc, name: str) -> Callable[..., Any]:
    def binding(t: Tracer, x: Any) -> Any:
        if isinstance(x, int) or (isinstance(x, Number) and x.dtype is not F64 and not x.dtype.is_float):
            return x
        value = float_number(t, x, f"math.{name}")
        if isinstance(value, float):
            return getattr(math, name)(value)
        rounded = apply(t, ufunc, value, weak=True)
        return Number(numeric.cast(t, rounded.value, I64), True)

    return binding


def math_hypot(t: Tracer, *args: Any) -> Any:
    values = [float_number(t, a, "math.hypot") for a in args]
    if len(values) == 2 and not all(isinstance(v, float) for v in values):
        return apply(t, np.hypot, *values, weak=True)
    total: Any = 0.0
    for v in values:
        square = v * v if isinstance(v, float) else apply(t, np.multiply, v, v, weak=True)
        total = (
            total + square
            if isinstance(total, float) and isinstance(square, float)
            else apply(t, np.add, total, square, weak=True)
        )
    return math.sqrt(total) if isinstance(total, float) else apply(t, np.sqrt, total, weak=True)


def math_predicate(ufunc: np.ufunc, name: str) -> Callable[..., Any]:
    def binding(t: Tracer, x: Any) -> Any:
        value = float_number(t, x, f"math.{name}")
        if isinstance(value, float):
            return getattr(math, name)(value)
        return apply(t, ufunc, value, weak=True)

    return binding


def integer_function(function: Any, name: str) -> Callable[..., Any]:
    """Functions of integers that are computed while tracing."""

    def binding(t: Tracer, *args: Any) -> Any:
        return function(*(numeric.static_int(t, a, f"an argument of math.{name}") for a in args))

    return binding


def math_gcd(t: Tracer, a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int):
        return math.gcd(a, b)
    return apply(t, np.gcd, a, b, weak=True)


def register() -> None:
    from .bindings import TABLE

    for function, name in BY_NUMPY.items():
        if isinstance(function, np.ufunc):
            TABLE[function] = ufunc_binding(function, name)
    TABLE[np.float_power] = float_power
    for function in (np.where,):
        TABLE[function] = where
    TABLE[np.clip] = clip
    TABLE[np.isclose] = isclose
    TABLE[np.nan_to_num] = nan_to_num
    TABLE[np.divmod] = divmod_
    if np.positive not in BY_NUMPY:
        TABLE[np.positive] = positive
    derived(np.sinc, sinc)
    for function, factor in ((np.deg2rad, math.pi / 180.0), (np.rad2deg, 180.0 / math.pi)):
        if function not in BY_NUMPY:
            derived(function, scaled(factor))
    if np.radians not in BY_NUMPY:
        derived(np.radians, scaled(math.pi / 180.0))
        derived(np.degrees, scaled(180.0 / math.pi))
    for name, ufunc in MATH.items():
        if hasattr(math, name) and (ufunc in BY_NUMPY or name in SCALED):
            TABLE[getattr(math, name)] = math_binding(name, ufunc)
    TABLE[math.log] = math_log
    TABLE[math.hypot] = math_hypot
    TABLE[math.floor] = to_integer(np.floor, "floor")
    TABLE[math.ceil] = to_integer(np.ceil, "ceil")
    TABLE[math.trunc] = to_integer(np.trunc, "trunc")
    for name, predicate in (("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite)):
        TABLE[getattr(math, name)] = math_predicate(predicate, name)
    for name in ("factorial", "comb", "perm", "isqrt"):
        TABLE[getattr(math, name)] = integer_function(getattr(math, name), name)
    TABLE[math.gcd] = math_gcd
