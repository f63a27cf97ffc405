"""Bindings of elementwise functions: NumPy's ufuncs from the operation table, their `math` twins, and the rest.

In: the registry of operations. Out: entries of the binding table. A function that an operation names as its own is
bound without a line here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.ops import REGISTRY
from ..ir.types import BOOL, F64, I64
from . import numeric, views
from .context import Tracer
from .numeric import element, elementwise, is_static_number
from .values import ListObject, Number, Reference

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
        if x.rank:
            t.type_error(f"{what} takes one number, not {numeric.describe(x)}", f"use np.{what.rsplit('.', 1)[-1]}")
        x = Number(views.read(t, x))
    if isinstance(x, Number):
        return Number(numeric.cast(t, x.value, F64), True)
    if is_static_number(x):
        return float(x)
    t.type_error(f"{what} takes one number, not {numeric.describe(x)}")


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


def arithmetic(t: Tracer, ufunc: np.ufunc, *args: Any) -> Any:
    """A ufunc of abstract values which of Python's numbers is one, computed now where they are static."""
    from .operators import is_weak

    weak = all(is_weak(x) for x in args)
    if all(is_static_number(x) for x in args):
        with np.errstate(all="ignore"):
            found = ufunc(*args)
        return found.item() if weak else found
    return apply(t, ufunc, *args, weak=weak)


SINC = [(-1) ** k / math.factorial(2 * k + 1) for k in range(11)]
"""sin(y) / y in powers of y**2."""


def sinc(t: Tracer, x: Any) -> Any:
    """sin(pi x) / (pi x); near 0 its series, which has derivatives of all orders there."""
    y = apply(t, np.multiply, math.pi, element(t, x, "np.sinc"))
    near = apply(t, np.less, apply(t, np.abs, y), 1.0)
    far = chosen(t, near, 1.0, y, "np.sinc")
    square = apply(t, np.multiply, y, y)
    series: Any = SINC[-1]
    for coefficient in SINC[-2::-1]:
        series = apply(t, np.add, apply(t, np.multiply, series, square), coefficient)
    return chosen(t, near, series, apply(t, np.true_divide, apply(t, np.sin, far), far), "np.sinc")


def where(t: Tracer, condition: Any, x: Any = None, y: Any = None) -> Any:
    """np.where with three arguments."""
    if x is None or y is None:
        t.unsupported(
            "np.where with a condition only gives as many indices as there are True, which is not known here",
            "use the form np.where(condition, a, b)",
        )
    return zero_d(chosen(t, condition, x, y, "np.where"))


def chosen(t: Tracer, condition: Any, x: Any, y: Any, what: str) -> Any:
    """Elements of one or the other, in `what`."""
    operands = [element(t, v, what) for v in (condition, x, y)]
    target = result_dtype(t, *operands[1:])
    return numeric.emit_elementwise(t, "select", operands, [BOOL, target, target], what)


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


def isclose(t: Tracer, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False) -> Any:
    difference = apply(t, np.absolute, apply(t, np.subtract, a, b))
    bound = apply(t, np.add, atol, apply(t, np.multiply, rtol, apply(t, np.absolute, b)))
    near = apply(t, np.logical_and, apply(t, np.less_equal, difference, bound), apply(t, np.isfinite, b))
    found = apply(t, np.logical_or, near, apply(t, np.equal, a, b))
    if equal_nan:
        both = apply(t, np.logical_and, apply(t, np.isnan, a), apply(t, np.isnan, b))
        found = apply(t, np.logical_or, found, both)
    return found


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
    target, x = x, element(t, x, "np.nan_to_num")
    if is_static_number(x):
        return np.nan_to_num(x, copy, nan, posinf, neginf)
    if not x.dtype.is_float:
        return positive(t, x) if copy else x
    info = np.finfo(x.dtype.numpy if isinstance(x, Number | Reference) else np.float64)
    out = where(t, apply(t, np.isnan, x), nan, x)
    infinite = apply(t, np.isinf, x)
    up = apply(t, np.logical_and, infinite, apply(t, np.greater, x, 0))
    down = apply(t, np.logical_and, infinite, apply(t, np.less, x, 0))
    out = where(t, up, float(info.max) if posinf is None else posinf, out)
    out = where(t, down, float(info.min) if neginf is None else neginf, out)
    if copy or not isinstance(target, Reference):
        return Number(out.value) if isinstance(out, Number) else out
    from .indexing import fill_view

    fill_view(t, target, out, same_kind=True)
    return target


# ---------------------------------------------------------------- math


def math_binding(name: str, ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"math.{name}"

    def binding(t: Tracer, *args: Any) -> Any:
        if len(args) != ufunc.nin:
            t.type_error(f"{what} takes {numeric.counted(ufunc.nin, 'argument')}, not {len(args)}")
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
        if isinstance(x, int):
            return int(x)
        if isinstance(x, Number) and not x.dtype.is_float:
            return t.number(numeric.cast(t, x.value, I64), True, x.value in t.nonnegative)
        value = float_number(t, x, f"math.{name}")
        if isinstance(value, float):
            return getattr(math, name)(value)
        from .bind_python import require_finite

        rounded = apply(t, ufunc, value, weak=True)
        require_finite(t, rounded.value)
        return Number(numeric.cast(t, rounded.value, I64), True)

    return binding


def math_hypot(t: Tracer, *args: Any) -> Any:
    """Of more than two numbers step by step, so that squares neither overflow nor vanish."""
    values = [float_number(t, a, "math.hypot") for a in args]
    if all(isinstance(v, float) for v in values):
        return math.hypot(*values)
    if len(values) == 1:
        return apply(t, np.absolute, values[0], weak=True)
    return functools.reduce(lambda x, y: apply(t, np.hypot, x, y, weak=True), values)


def math_dist(t: Tracer, p: Any, q: Any) -> Any:
    parts = []
    for point in (p, q):
        items = t.items(point) if isinstance(point, ListObject) else point
        if not isinstance(items, tuple):
            t.unsupported(f"math.dist of {numeric.describe(point)}", "write `np.linalg.norm(p - q)`")
        parts.append([float_number(t, v, "math.dist") for v in items])
    if len(parts[0]) != len(parts[1]):
        t.shape_error("both points of math.dist must have the same number of coordinates")
    return math_hypot(t, *(apply(t, np.subtract, a, b, weak=True) for a, b in zip(*parts, strict=True)))


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

    TABLE[np.float_power] = float_power
    TABLE[np.where] = where
    TABLE[np.clip] = clip
    TABLE[np.isclose] = isclose
    TABLE[np.nan_to_num] = nan_to_num
    TABLE[np.divmod] = divmod_
    if np.positive not in BY_NUMPY:
        TABLE[np.positive] = positive
    derived(np.sinc, sinc)
    function: Any
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
    TABLE[math.dist] = math_dist
    TABLE[math.floor] = to_integer(np.floor, "floor")
    TABLE[math.ceil] = to_integer(np.ceil, "ceil")
    TABLE[math.trunc] = to_integer(np.trunc, "trunc")
    for name, predicate in (("isnan", np.isnan), ("isinf", np.isinf), ("isfinite", np.isfinite)):
        TABLE[getattr(math, name)] = math_predicate(predicate, name)
    for name in ("factorial", "comb", "perm", "isqrt"):
        TABLE[getattr(math, name)] = integer_function(getattr(math, name), name)
    TABLE[math.gcd] = math_gcd
