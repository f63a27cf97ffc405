"""Bindings of NumPy's ufuncs, their keyword arguments, and their methods: reduce, accumulate, outer, reduceat.

In: the ufuncs that operations of the table name as their own. Out: entries of the binding table. `out`, `where` and
`dtype` mean what they mean in NumPy. Reductions and running values that are operations of their own (sums, products,
extremes) are those; of any other ufunc they are the loop that NumPy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.types import BOOL, DType
from . import bind_reduce, numeric, views
from .bind_elementwise import BY_NUMPY, apply
from .bind_sequences import run_template
from .bind_shape import axis_of
from .context import Tracer
from .numeric import converted, element, elementwise, is_static_number, to_dtype
from .values import Number, Reference

__all__ = ["into", "register"]

CASTINGS = ("no", "equiv", "safe", "same_kind", "unsafe")

# ---------------------------------------------------------------- calls


def ufunc_binding(ufunc: np.ufunc, name: str, what: str = "") -> Callable[..., Any]:
    what = what or f"np.{ufunc.__name__}"

    def binding(
        t: Tracer,
        *args: Any,
        out: Any = None,
        where: Any = True,
        casting: Any = "same_kind",
        order: Any = "K",
        dtype: Any = None,
        subok: Any = True,
    ) -> Any:
        given, out = operands_and_out(t, args, out, ufunc.nin, what)
        if dtype is None and out is None and where is True and all(is_static_number(a) for a in given):
            with np.errstate(all="ignore"):
                return ufunc(*given)
        operands = [element(t, a, what) for a in given]
        if dtype is None:
            result = elementwise(t, name, ufunc, operands, what)
        else:
            result = converted(t, name, operands, loop_dtypes(t, ufunc, operands, dtype, casting, what), what)
        return into(t, result, out, what, where)

    return binding


def operands_and_out(t: Tracer, args: Sequence[Any], out: Any, count: int, what: str) -> tuple[list[Any], Any]:
    """Operands apart from an output, which may be the last argument, or a tuple of one."""
    found = list(args)
    if len(found) == count + 1 and out is None:
        out = found.pop()
    if len(found) != count:
        t.type_error(f"{what} takes {numeric.counted(count, 'argument')}, not {len(args)}")
    if isinstance(out, tuple):
        if len(out) != 1:
            t.type_error(f"{what} has one output, not {len(out)}")
        (out,) = out
    return found, out


def loop_dtypes(
    t: Tracer, ufunc: np.ufunc, operands: Sequence[Any], dtype: Any, casting: Any, what: str
) -> list[DType]:
    """The dtypes of operands with which a ufunc gives results of `dtype`, as NumPy resolves them."""
    if casting not in CASTINGS:
        t.fail_value(f"casting must be one of {', '.join(CASTINGS)}")
    specs = [numeric.dtype_spec(x) for x in operands]
    asked = [np.dtype(bool) if s is bool else s for s in specs]
    wanted = to_dtype(t, dtype).numpy
    try:
        found = ufunc.resolve_dtypes((*asked, None), signature=(None,) * ufunc.nin + (wanted,), casting=casting)
    except TypeError:
        names = ", ".join(str(s.__name__ if isinstance(s, type) else s) for s in specs)
        t.type_error(f"{what} of {names} with `dtype={wanted}` is not defined in NumPy")
    return [to_dtype(t, d) for d in found[: len(operands)]]


def into(t: Tracer, result: Any, out: Any, what: str, where: Any = True) -> Any:
    """A result written to `out` where there is one, and only where `where` is true."""
    from .indexing import cast_check, fill_view

    if where is not True:
        where = mask_of(t, where, what)
    if out is None:
        return result if where is True else partly_written(t, result, where, what)
    target = numeric.as_reference(t, out, f"`out` of {what}")
    if isinstance(result, Reference) and result.rank > target.rank:
        t.shape_error(f"the result of {what} has {result.rank} axes, its `out` {target.rank}")
    if where is not True:
        cast_check(t, result, target, True)
        dtypes = [BOOL, target.dtype, target.dtype]
        result = numeric.emit_elementwise(t, "select", [where, result, target], dtypes, what)
    fill_view(t, target, result, same_kind=True)
    return target


def mask_of(t: Tracer, where: Any, what: str) -> Any:
    """`where` as booleans (True where it is statically true)."""
    where = element(t, where, f"`where` of {what}")
    dtype = where.dtype if isinstance(where, Number | Reference) else np.asarray(where).dtype
    if dtype.kind != "b":
        t.type_error(f"`where` of {what} must be of booleans, not {numeric.describe(where)}", "compare it with `!= 0`")
    return True if is_static_number(where) and where else where


def partly_written(t: Tracer, result: Any, where: Any, what: str) -> Any:
    """A new array that is written only where `where` is true; the rest is whatever NumPy finds in memory."""
    shapes = [numeric.shape_of(t, x) for x in (result, where)]
    shape = numeric.broadcast_shapes(t, shapes, f"operands of {what}")
    if not shape:
        t.unsupported(f"{what} of numbers with `where` and no `out`", "write np.where(condition, value, other)")
    dtype = result.dtype if isinstance(result, Number | Reference) else numeric.scalar_value(t, result).dtype
    blank = t.new_array(t.emit1("empty", shape, {"dtype": dtype}), shape)
    return numeric.emit_elementwise(t, "select", [where, result, blank], [BOOL, dtype, dtype], what)


# ---------------------------------------------------------------- two results


def pair_binding(ufunc: np.ufunc, parts: tuple[Callable[[Tracer, Any], Any], ...]) -> Callable[..., Any]:
    """A ufunc with two results, each given by an operation."""
    what = f"np.{ufunc.__name__}"

    def binding(t: Tracer, x: Any, *outs: Any, out: Any = (None, None), where: Any = True) -> Any:
        if is_static_number(x):
            return tuple(ufunc(x))
        x = element(t, x, what)
        given = tuple(outs) if outs else out
        results = [part(t, x) for part in parts]
        return tuple(into(t, r, o, what, where) for r, o in zip(results, given, strict=True))

    return binding


def operation(name: str, ufunc: np.ufunc) -> Callable[[Tracer, Any], Any]:
    return lambda t, x: elementwise(t, name, ufunc, [x])


# ---------------------------------------------------------------- reductions

NATIVE: dict[np.ufunc, Any] = {
    np.add: bind_reduce.SUM,
    np.multiply: bind_reduce.PROD,
    np.maximum: bind_reduce.MAX,
    np.minimum: bind_reduce.MIN,
    np.logical_and: bind_reduce.ALL,
    np.logical_or: bind_reduce.ANY,
}
"""Reductions that are operations of their own."""

ANY_ORDER = (np.fmax, np.fmin)
"""Ufuncs without an identity of which NumPy reduces several axes nevertheless."""

OF_SCALARS = """
def reduce(a, total, first, ufunc):
    if first and a.shape[0]:
        total = a[0]
    for k in range(first, a.shape[0]):
        total = ufunc(total, a[k])
    return total
"""
OF_ROWS = """
def reduce(a, total, first, ufunc):
    if first and a.shape[0]:
        total[...] = a[0]
    for k in range(first, a.shape[0]):
        total[...] = ufunc(total, a[k])
    return total
"""


def reduce_binding(ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"np.{ufunc.__name__}.reduce"
    native = NATIVE.get(ufunc)

    def binding(
        t: Tracer,
        array: Any,
        axis: Any = 0,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        a = element(t, array, what)
        if native is not None:
            options: dict[str, Any] = {"axis": axis, "keepdims": keepdims, "where": where}
            if ufunc in (np.add, np.multiply):
                options["dtype"] = dtype
            elif dtype is not None and not isinstance(a, Reference):
                t.unsupported(f"{what} of a number with `dtype`", "convert the number")
            elif dtype is not None:
                a = bind_reduce.converted_array(t, a, to_dtype(t, dtype))
            if initial is not None:
                if ufunc in (np.logical_and, np.logical_or):
                    t.unsupported(f"{what} with `initial`", f"combine the result with np.{ufunc.__name__}")
                options["initial"] = initial
            return into(t, native(t, a, **options), out, what)
        if not isinstance(a, Reference):
            return into(t, a, out, what)
        axes = bind_reduce.axes_of(t, axis, a.rank)
        if len(axes) > 1 and ufunc.identity is None and ufunc not in ANY_ORDER:
            t.fail_value(f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be given")
        kind = own_dtype(t, ufunc, a, dtype, what)
        a = bind_reduce.converted_array(t, a, kind)
        if where is not True:
            if ufunc.identity is None:
                t.unsupported(f"{what} with `where`", "use np.where with a value that changes nothing")
            a = bind_reduce.masked(t, a, where, ufunc.identity, what)
        result: Any = a
        for done, k in enumerate(axes):
            result = reduce_axis(t, ufunc, result, k - done, initial if not done else None, kind, what)
        value = numeric.value_of(t, result)
        if keepdims:
            result = bind_reduce.finish(t, value, a, axes, True)
        return into(t, result, out, what)

    return binding


def own_dtype(t: Tracer, ufunc: np.ufunc, a: Reference, dtype: Any, what: str) -> DType:
    """The dtype in which a ufunc combines elements and results of it."""
    if ufunc.__name__.startswith("logical_"):
        return BOOL
    spec = a.dtype.numpy if dtype is None else to_dtype(t, dtype).numpy
    found = numeric.promote(t, ufunc, [spec, spec], what)
    if len(set(found)) != 1:
        t.type_error(f"{what} of {spec}: its results are of another type than its operands")
    return to_dtype(t, found[0])


def reduce_axis(t: Tracer, ufunc: np.ufunc, a: Reference, axis: int, initial: Any, kind: DType, what: str) -> Any:
    """The loop that combines the rows of an axis from the first to the last."""
    from .bind_create import filled

    rows = views.permuted(a, [axis, *(k for k in range(a.rank) if k != axis)])
    shape = views.extents(t, rows)[1:]
    nothing = ufunc.identity if initial is None else initial
    if nothing is None:
        bind_reduce.not_empty(t, rows, (0,), what)
        nothing = 0
    elif kind.kind == "u" and nothing == -1:  # all bits
        nothing = int(np.iinfo(kind.numpy).max)
    start = filled(t, nothing, list(shape), kind)
    start = Number(start.value) if isinstance(start, Number) else start
    first = int(initial is None)
    return run_template(t, OF_ROWS if shape else OF_SCALARS, [rows, start, first, ufunc])


# ---------------------------------------------------------------- running values

SCANS: dict[np.ufunc, Any] = {np.add: bind_reduce.CUMSUM, np.multiply: bind_reduce.CUMPROD}
"""Running values that are operations of their own."""

RUNNING = """
def accumulate(a, out, ufunc):
    for k in range(1, a.shape[0]):
        out[k] = ufunc(out[k - 1], a[k])
    return out
"""


def accumulate_binding(ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"np.{ufunc.__name__}.accumulate"
    native = SCANS.get(ufunc)

    def binding(t: Tracer, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        a = numeric.as_reference(t, array, what)
        at = axis_of(t, axis, a.rank)
        if native is not None:
            return into(t, native(t, a, at, dtype), out, what)
        a = bind_reduce.converted_array(t, a, own_dtype(t, ufunc, a, dtype, what))
        result = t.new_array(views.read(t, a), views.extents(t, a))
        order = [at, *(k for k in range(a.rank) if k != at)]
        run_template(t, RUNNING, [views.permuted(a, order), views.permuted(result, order), ufunc])
        return into(t, result, out, what)

    return binding


# ---------------------------------------------------------------- outer, reduceat


def outer_binding(ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"np.{ufunc.__name__}.outer"

    def binding(t: Tracer, A: Any, B: Any, **keywords: Any) -> Any:
        from . import calls

        a, b = element(t, A, what), element(t, B, what)
        if isinstance(a, Reference) and isinstance(b, Reference):
            a = views.select(t, a, [None] * a.rank + ["new"] * b.rank)
        return calls.call(t, ufunc, [a, b], keywords)

    return binding


OF_PARTS = """
def reduceat(a, indices, out, reduce):
    for k in range(indices.shape[0]):
        low = indices[k]
        high = a.shape[0]
        if k + 1 < indices.shape[0]:
            high = indices[k + 1]
        if low < high:
            out[k] = reduce(a[low:high])
        else:
            out[k] = a[low]
"""


def reduceat_binding(ufunc: np.ufunc) -> Callable[..., Any]:
    what = f"np.{ufunc.__name__}.reduceat"

    def binding(t: Tracer, array: Any, indices: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        a, places = numeric.as_reference(t, array, what), numeric.as_reference(t, indices, f"the indices of {what}")
        if places.rank != 1 or not places.dtype.is_integer:
            t.type_error(f"the indices of {what} are a vector of integers, not {numeric.describe(places)}")
        at = axis_of(t, axis, a.rank)
        wide = ufunc in (np.add, np.multiply)
        kind = bind_reduce.wide(t, a, dtype) if wide else own_dtype(t, ufunc, a, dtype, what)
        a = bind_reduce.converted_array(t, a, kind)
        shape = views.extents(t, a)
        check_places(t, places, shape[at], what)
        shape[at] = views.extent(t, places, 0)
        result = t.new_array(t.emit1("empty", shape, {"dtype": kind}), shape)
        order = [at, *(k for k in range(a.rank) if k != at)]
        parts = [views.permuted(a, order), places, views.permuted(result, order), ufunc.reduce]
        run_template(t, OF_PARTS, parts)
        return into(t, result, out, what)

    return binding


def check_places(t: Tracer, places: Reference, extent: Any, what: str) -> None:
    """Positions inside the axis, none counted from the end."""
    low = apply(t, np.less, places, 0)
    outside = bind_reduce.ANY(t, apply(t, np.logical_or, low, apply(t, np.greater_equal, places, Number(extent))))
    inside = t.emit1("logical_not", [outside.value])
    t.emit("check", [inside], {"error": "IndexError", "message": f"an index of {what} is outside of the array"})


def register() -> None:
    from .bindings import TABLE

    for function, name in BY_NUMPY.items():
        if not isinstance(function, np.ufunc):
            continue
        TABLE[function] = ufunc_binding(function, name)
        if function.nin == 2 and function.signature is None:
            TABLE[function.outer] = outer_binding(function)
            TABLE[function.reduce] = reduce_binding(function)
            TABLE[function.accumulate] = accumulate_binding(function)
            TABLE[function.reduceat] = reduceat_binding(function)
    fraction, mantissa = operation("modf_fraction", np.modf), operation("frexp_mantissa", np.frexp)
    TABLE[np.modf] = pair_binding(np.modf, (fraction, lambda t, x: apply(t, np.trunc, x)))
    TABLE[np.frexp] = pair_binding(np.frexp, (mantissa, operation("frexp_exponent", np.frexp)))
