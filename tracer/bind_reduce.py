"""Bindings of reductions and scans: sum, prod, mean, max, min, var, std, any, all, argmax, argmin, cumsum.

In: arrays as abstract values, axes, keepdims. Out: reduced values. Dtypes follow NumPy (sums of small integers are
int64, means of integers float64); an extreme of nothing is refused at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, DType
from . import integers, numeric, views
from .bind_elementwise import apply
from .bind_shape import axis_of, product, ravel
from .context import Tracer
from .numeric import cast, element
from .values import ListObject, Number, Reference

__all__ = ["REDUCTIONS", "converted_array", "masked", "reduced", "register"]


def axes_of(t: Tracer, axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    if isinstance(axis, ListObject):
        axis = t.items(axis)
    parts = axis if isinstance(axis, tuple) else (axis,)
    found = sorted(axis_of(t, a, rank) for a in parts)
    if len(set(found)) != len(found):
        t.fail_value("duplicate value in 'axis'")
    return tuple(found)


def operand(t: Tracer, a: Any, what: str) -> Any:
    from .expressions import GeneratorValue, generated_list

    if isinstance(a, GeneratorValue):
        a = generated_list(t, a)
    return element(t, a, what)


def finish(t: Tracer, value: Value, ref: Reference, axes: tuple[int, ...], keepdims: bool) -> Any:
    """A reduced value with kept axes of extent 1 put back."""
    own = views.extents(t, ref)
    rest = [e for k, e in enumerate(own) if k not in axes]
    if not keepdims:
        return numeric.wrap(t, value, rest)
    shape = [Const(1, I64) if k in axes else e for k, e in enumerate(own)]
    if not rest:
        return t.new_array(t.emit1("fill", [value, *shape]), shape)
    kept = tuple(k for k in range(len(own)) if k not in axes)
    return t.new_array(t.emit1("broadcast", [value, *shape], {"axes": kept}), shape)


def reduced(t: Tracer, name: str, a: Any, axis: Any, keepdims: Any, dtype: DType | None, what: str) -> Any:
    """A reduction operation over axes, of elements converted to `dtype`."""
    if not isinstance(a, Reference):
        for k in axis if isinstance(axis, tuple) else () if axis is None else (axis,):
            axis_of(t, k, 1, "the axis of a number")  # NumPy takes 0 and -1
        return Number(cast(t, numeric.scalar_value(t, a), dtype or numeric.scalar_value(t, a).dtype))
    axes = axes_of(t, axis, a.rank)
    value = views.read(t, a)
    value = truths(t, value) if dtype is BOOL else cast(t, value, dtype or value.dtype)
    if not axes:
        return numeric.wrap(t, value, views.extents(t, a))
    return finish(t, t.emit1(name, [value], {"axes": axes}), a, axes, bool(keepdims))


def truths(t: Tracer, value: Value) -> Value:
    return value if value.dtype is BOOL else t.emit1("ne", [value, Const(0, value.dtype)])


def wide(t: Tracer, a: Any, dtype: Any) -> DType:
    """The dtype in which NumPy adds."""
    if dtype is not None:
        return numeric.to_dtype(t, dtype)
    own = a.dtype if isinstance(a, Number | Reference) else numeric.scalar_value(t, a).dtype
    if own is BOOL or own.kind == "i":
        return I64
    if own.kind == "u":
        return numeric.to_dtype(t, np.uint64)
    return own


def masked(t: Tracer, a: Any, where: Any, neutral: Any, what: str) -> Any:
    """An array with a value that changes nothing wherever `where` is false."""
    from .bind_elementwise import where as choose
    from .bind_ufuncs import mask_of

    where = True if where is True else mask_of(t, where, what)
    if where is True:
        return a
    rank = a.rank if isinstance(a, Reference) else 0
    if isinstance(where, Reference) and where.rank > rank:
        t.shape_error(f"`where` of {what} has more axes than the array")
    if isinstance(a, Reference) and a.dtype is BOOL:
        neutral = bool(neutral)
    return choose(t, where, a, neutral)


def converted_array(t: Tracer, a: Reference, dtype: DType) -> Reference:
    """An array with elements of a dtype (the array itself where they are of it)."""
    if a.dtype is dtype:
        return a
    return t.new_array(numeric.as_dtype(t, a, dtype, "a conversion"), views.extents(t, a))


def adding(name: str, what: str, ufunc: np.ufunc) -> Callable[..., Any]:
    def binding(
        t: Tracer,
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        a = masked(t, operand(t, a, what), where, ufunc.identity, what)
        value = reduced(t, name, a, axis, keepdims, wide(t, a, dtype), what)
        if initial is not None:
            value = apply(t, ufunc, value, initial)
        return into(t, value, out)

    return binding


def into(t: Tracer, value: Any, out: Any) -> Any:
    if out is None:
        return value
    from .indexing import fill_view

    fill_view(t, numeric.as_reference(t, out, "`out`"), value, same_kind=True)
    return out


def extreme(name: str, what: str, ufunc: np.ufunc) -> Callable[..., Any]:
    def binding(
        t: Tracer,
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        a = operand(t, a, what)
        if where is not True:
            if initial is None:
                t.fail_value(f"{what} with `where` needs `initial`, for where nothing is chosen")
            a = masked(t, a, where, initial, what)
        if isinstance(a, Reference) and initial is None:
            not_empty(t, a, axes_of(t, axis, a.rank), what)
        truth = isinstance(a, Reference) and a.dtype is BOOL
        operation = name if not truth else "reduce_any" if "max" in name else "reduce_all"

        def over(a: Any) -> Any:
            value = reduced(t, operation, a, axis, keepdims, BOOL if truth else None, what)
            return value if initial is None else apply(t, ufunc, value, initial)

        if truth or initial is None or not isinstance(a, Reference):
            return into(t, over(a), out)
        return into(t, over_something(t, a, axes_of(t, axis, a.rank), initial, over), out)

    return binding


def over_something(t: Tracer, a: Reference, axes: tuple[int, ...], initial: Any, over: Callable[[Any], Any]) -> Any:
    """A reduction that has an initial value, of an array that may be empty: then of that value alone."""
    from .bind_create import filled
    from .merges import stage_if

    own = views.extents(t, a)
    size = product(t, [own[k] for k in axes])
    single = [Const(1, I64) if k in axes else e for k, e in enumerate(own)]
    known = integers.known(size)
    if known is not None:
        return over(a if known else filled(t, initial, single, a.dtype))
    some = t.emit1("gt", [size, Const(0, I64)])
    return stage_if(t, some, lambda: over(a), lambda: over(filled(t, initial, single, a.dtype)))


def not_empty(t: Tracer, a: Reference, axes: tuple[int, ...], what: str) -> None:
    for k in axes:
        extent = views.extent(t, a, k)
        n = integers.known(extent)
        if n == 0:
            t.shape_error(f"{what} of an array without elements")
        if n is None:
            ok = t.emit1("gt", [extent, Const(0, I64)])
            t.emit("check", [ok], {"error": "ValueError", "message": f"{what} of an array without elements"})


def logical(name: str, what: str) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, where: Any = True) -> Any:
        a = operand(t, a, what)
        if where is not True:
            a = masked(t, apply(t, np.not_equal, a, 0), where, name == "reduce_all", what)
        if not isinstance(a, Reference):
            value = numeric.truth(t, a)
            return value if isinstance(value, bool) else Number(value)
        return into(t, reduced(t, name, a, axis, keepdims, BOOL, what), out)

    return binding


def argument_of(name: str, what: str) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        a = operand(t, a, what)
        if not isinstance(a, Reference):
            return np.int64(0)
        if axis is None:
            if keepdims:
                t.unsupported(f"{what} with keepdims and no axis")
            a, axis = ravel(t, a), 0
        at = axis_of(t, axis, a.rank)
        not_empty(t, a, (at,), what)
        value = views.read(t, a)
        if value.dtype is BOOL:
            value = cast(t, value, I64)
        found = t.emit1(name, [value], {"axis": at})
        if not found.is_array:
            t.nonnegative.add(found)
        return into(t, finish(t, found, a, (at,), bool(keepdims)), out)

    return binding


def count_of(t: Tracer, a: Any, axis: Any, dtype: DType, where: Any = True, keepdims: Any = False) -> Any:
    """How many elements a reduction takes together, as floats."""
    if where is not True:
        shape = numeric.shape_of(t, a)
        ones = t.new_array(t.emit1("fill", [Const(True, BOOL), *shape]), shape) if shape else True
        return cast_float(t, SUM(t, ones, axis, keepdims=keepdims, where=where), dtype)
    if not isinstance(a, Reference):
        return Number(Const(1, dtype))
    size = product(t, [views.extent(t, a, k) for k in axes_of(t, axis, a.rank)])
    return Number(cast(t, size, dtype))


def float_dtype(t: Tracer, a: Any, dtype: Any) -> DType:
    if dtype is not None:
        return numeric.to_dtype(t, dtype)
    own = a.dtype if isinstance(a, Number | Reference) else numeric.scalar_value(t, a).dtype
    return own if own.is_float else F64


def mean(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    where: Any = True,
) -> Any:
    a = operand(t, a, "np.mean")
    kind = float_dtype(t, a, dtype)
    chosen = masked(t, a, where, 0, "np.mean")
    total = reduced(t, "reduce_sum", chosen, axis, keepdims, kind, "np.mean")
    return into(t, apply(t, np.true_divide, total, count_of(t, a, axis, kind, where, keepdims)), out)


def var(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """np.var: the mean square distance from the mean, over n - ddof."""
    a = operand(t, a, "np.var")
    kind = float_dtype(t, a, dtype)
    if correction is not None:
        if ddof != 0:
            t.fail_value("ddof and correction can't be provided simultaneously")
        ddof = correction
    centre = mean
    if mean is None:
        centre = MEAN(t, a, axis, kind.numpy, keepdims=True, where=where) if isinstance(a, Reference) else a
    deviation = apply(t, np.subtract, a, centre)
    squares = masked(t, apply(t, np.multiply, deviation, deviation), where, 0, "np.var")
    total = reduced(t, "reduce_sum", squares, axis, keepdims, kind, "np.var")
    count = count_of(t, a, axis, kind, where, keepdims)
    if not (isinstance(ddof, int | float) and ddof == 0):
        count = cast_float(t, apply(t, np.maximum, apply(t, np.subtract, count, ddof), 0), kind)
    return into(t, apply(t, np.true_divide, total, count), out)


def std(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    return into(t, apply(t, np.sqrt, var(t, a, axis, dtype, None, ddof, keepdims, where, mean, correction)), out)


MEAN = mean
"""The function, where a parameter has its name."""


def ptp(t: Tracer, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    high, low = MAX(t, a, axis, keepdims=keepdims), MIN(t, a, axis, keepdims=keepdims)
    return into(t, apply(t, np.subtract, high, low), out)


def count_nonzero(t: Tracer, a: Any, axis: Any = None, keepdims: Any = False) -> Any:
    a = operand(t, a, "np.count_nonzero")
    return SUM(t, apply(t, np.not_equal, a, 0), axis, keepdims=keepdims)


def scan(name: str, what: str) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        a = operand(t, a, what)
        if not isinstance(a, Reference):
            from .bind_shape import reshape

            row = reshape(t, a, (1,))
            return t.new_array(cast(t, views.read(t, row), wide(t, a, dtype)), views.extents(t, row))
        if axis is None:
            a, axis = ravel(t, a), 0
        at = axis_of(t, axis, a.rank)
        value = cast(t, views.read(t, a), wide(t, a, dtype))
        result = t.new_array(t.emit1(name, [value], {"axis": at, "reverse": False}), views.extents(t, a))
        return into(t, result, out)

    return binding


def cast_float(t: Tracer, x: Any, kind: DType) -> Any:
    value = numeric.value_of(t, x)
    return numeric.wrap(t, cast(t, value, kind), numeric.shape_of(t, x))


def float_of(t: Tracer, x: Any) -> Any:
    if isinstance(x, Number):
        return x if x.dtype.is_float else Number(cast(t, x.value, F64))
    return float(x)


SUM = adding("reduce_sum", "np.sum", np.add)
PROD = adding("reduce_prod", "np.prod", np.multiply)
MAX = extreme("reduce_max", "np.max", np.maximum)
MIN = extreme("reduce_min", "np.min", np.minimum)
ANY = logical("reduce_any", "np.any")
ALL = logical("reduce_all", "np.all")
ARGMAX = argument_of("argmax", "np.argmax")
ARGMIN = argument_of("argmin", "np.argmin")
CUMSUM = scan("cumsum", "np.cumsum")
CUMPROD = scan("cumprod", "np.cumprod")

REDUCTIONS: dict[str, Callable[..., Any]] = {
    "sum": SUM,
    "prod": PROD,
    "max": MAX,
    "min": MIN,
    "any": ANY,
    "all": ALL,
    "argmax": ARGMAX,
    "argmin": ARGMIN,
    "cumsum": CUMSUM,
    "cumprod": CUMPROD,
    "mean": mean,
    "var": var,
    "std": std,
}
"""Also methods of arrays, under these names."""


def register() -> None:
    from .bindings import TABLE

    for name, binding in REDUCTIONS.items():
        TABLE[getattr(np, name)] = binding
    TABLE[np.amax] = MAX
    TABLE[np.amin] = MIN
    TABLE[np.ptp] = ptp
    TABLE[np.count_nonzero] = count_nonzero
