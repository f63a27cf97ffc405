"""Bindings that make arrays: zeros, ones, full, empty, arange, linspace, eye, array, and their `_like` forms.

In: shapes, dtypes and contents as abstract values. Out: new arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import F64, I64, DType
from . import bind_elementwise, integers, numeric, views
from .context import Tracer
from .numeric import as_dtype, cast, element, integer_value, is_number, is_static_number, to_dtype
from .values import ListObject, Number, Reference

__all__ = ["array", "register", "shape_values"]


def shape_values(t: Tracer, shape: Any, what: str = "a shape") -> list[Value]:
    """The extents that a shape argument means (an integer, a tuple, a list)."""
    if isinstance(shape, ListObject):
        shape = t.items(shape)
    if isinstance(shape, Reference):
        known = views.static_dims(shape)
        if known is None or shape.rank != 1:
            t.static_needed("the number of axes of a shape must be known before the program runs")
        value = views.read(t, shape)
        shape = tuple(Number(t.emit1("index", [value, Const(k, I64)], {"spec": "i"})) for k in range(known[0]))
    if not isinstance(shape, tuple):
        shape = (shape,)
    out: list[Value] = []
    for part in shape:
        value = integer_value(t, part, f"an extent in {what}")
        k = integers.known(value)
        if k is not None and k < 0:
            t.fail_value("negative dimensions are not allowed")
        if k is None and not integers.is_nonnegative(t, value):
            ok = t.emit1("ge", [value, Const(0, I64)])
            t.emit(
                "check", [ok, value], {"error": "ValueError", "message": "negative dimensions are not allowed ({0})"}
            )
            t.nonnegative.add(value)
        out.append(value)
    return out


def dtype_argument(t: Tracer, dtype: Any, default: DType) -> DType:
    if dtype is None:
        return default
    if dtype is float:
        return F64
    return to_dtype(t, dtype)


def filled(t: Tracer, value: Any, shape: list[Value], dtype: DType) -> Any:
    inner = as_dtype(t, value, dtype, "np.full")
    if not shape:
        return Number(inner, False, True)
    return t.new_array(t.emit1("fill", [inner, *shape]), shape)


def laid_out(t: Tracer, made: Any, order: Any, like: Any = None) -> Any:
    """A new array with what is known of the order of its elements in memory: C order, or left open."""
    if order not in ("C", "F", "A", "K", None):
        t.fail_value("order must be one of 'C', 'F', 'A', or 'K'")
    if isinstance(made, Reference) and made.rank > 1:
        as_like = order in ("A", "K", None) and isinstance(like, Reference) and not views.is_c_order(like)
        if order == "F" or as_like:
            made.object.c_order = None
    return made


def constant(value: Any) -> Any:
    """np.zeros and np.ones."""

    def binding(t: Tracer, shape: Any, dtype: Any = None, order: Any = "C") -> Any:
        return laid_out(t, filled(t, value, shape_values(t, shape), dtype_argument(t, dtype, F64)), order)

    return binding


def blank(t: Tracer, extents: list[Value], dtype: DType) -> Any:
    """Memory nobody has written."""
    if not extents:
        return Number(Const(0, dtype), False, True)
    return t.new_array(t.emit1("empty", extents, {"dtype": dtype}), extents)


def empty(t: Tracer, shape: Any, dtype: Any = None, order: Any = "C") -> Any:
    return laid_out(t, blank(t, shape_values(t, shape), dtype_argument(t, dtype, F64)), order)


def ndarray(
    t: Tracer,
    shape: Any,
    dtype: Any = float,
    buffer: Any = None,
    offset: Any = 0,
    strides: Any = None,
    order: Any = None,
) -> Any:
    """np.ndarray as a constructor: memory nobody has written."""
    if buffer is not None or strides is not None or offset != 0:
        t.unsupported("np.ndarray of a buffer, or with strides", "use np.reshape and slices")
    return empty(t, shape, dtype, "C" if order is None else order)


def full(t: Tracer, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> Any:
    value = element(t, fill_value, "np.full")
    kind = dtype_argument(t, dtype, as_own(t, value).dtype)
    return laid_out(t, filled_with(t, value, shape_values(t, shape), kind, "np.full"), order)


def filled_with(t: Tracer, value: Any, extents: list[Value], kind: DType, what: str) -> Any:
    """An array of a shape, filled with a number or with an array that is broadcast."""
    if not isinstance(value, Reference):
        return filled(t, value, extents, kind)
    out = numeric.as_dtype(t, value, kind, what)
    own = views.extents(t, value)
    target = numeric.broadcast_shapes(t, [own, extents], what)
    if len(own) > len(extents):
        t.shape_error(f"what {what} fills in has more axes than the array")
    return t.new_array(numeric.broadcast_to(t, out, own, target), extents)


def as_own(t: Tracer, x: Any) -> Value:
    return numeric.value_of(t, x)


def like(value: Any, what: str) -> Any:
    """np.zeros_like and its kin; `value` is None for memory nobody has written."""

    def binding(t: Tracer, a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
        a, kind, extents = model(t, a, dtype, shape, what)
        made = blank(t, extents, kind) if value is None else filled(t, value, extents, kind)
        return laid_out(t, made, order, a)

    return binding


def empty_like(
    t: Tracer, prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None
) -> Any:
    return like(None, "np.empty_like")(t, prototype, dtype, order, subok, shape)


def full_like(
    t: Tracer, a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None
) -> Any:
    a, kind, extents = model(t, a, dtype, shape, "np.full_like")
    value = element(t, fill_value, "np.full_like")
    return laid_out(t, filled_with(t, value, extents, kind, "np.full_like"), order, a)


def model(t: Tracer, a: Any, dtype: Any, shape: Any, what: str) -> tuple[Any, DType, list[Value]]:
    """An array, and the dtype and extents of an array like it."""
    a = element(t, a, what)
    own = a.dtype if isinstance(a, Number | Reference) else as_own(t, a).dtype
    extents = shape_values(t, shape) if shape is not None else numeric.shape_of(t, a)
    return a, dtype_argument(t, dtype, own), extents


# ---------------------------------------------------------------- ranges


def arange(
    t: Tracer, start_or_stop: Any = None, stop: Any = None, step: Any = None, dtype: Any = None, *, start: Any = None
) -> Any:
    """np.arange: integers as they are; floats as NumPy computes them, first + i * ((first + step) - first)."""
    start = start_or_stop if start is None else start
    if start is None:
        start, stop = stop, None
    if stop is None:
        start, stop = 0, start
    step = 1 if step is None else step
    parts = [scalar(t, p) for p in (start, stop, step)]
    natural = I64 if all(kind(p) in "iub" for p in parts) else F64
    if natural is I64:
        from .iteration import range_length

        first, last, by = (integer_value(t, p, "an argument of np.arange") for p in parts)
        size = range_length(t, first, last, parts[2] if isinstance(parts[2], int) else Number(by, True))
        t.nonnegative.add(size)
        value = t.emit1("iota", [size])
        if integers.known(by) != 1:
            value = t.emit1("mul", [value, by])
        if integers.known(first) != 0:
            value = t.emit1("add", [value, first])
        out = t.new_array(cast(t, value, dtype_argument(t, dtype, I64)), [size])
        return out
    first, last, by = (as_dtype(t, p, F64, "np.arange") for p in parts)
    if all(is_static_number(p) for p in parts):
        with np.errstate(all="ignore"):
            size = Const(max(0, int(np.ceil((last.value - first.value) / by.value))), I64)  # type: ignore[attr-defined]
    else:
        span = t.emit1("div", [t.emit1("sub", [last, first]), by])
        size = integers.clamp_low(t, cast(t, t.emit1("ceil", [span]), I64))
    delta = t.emit1("sub", [t.emit1("add", [first, by]), first])
    steps = cast(t, t.emit1("iota", [size]), F64)
    value = t.emit1("add", [first, t.emit1("mul", [steps, delta])])
    return t.new_array(cast(t, value, dtype_argument(t, dtype, F64)), [size])


def scalar(t: Tracer, x: Any) -> Any:
    if is_number(x):
        return x
    if isinstance(x, Reference) and x.rank == 0:
        return Number(views.read(t, x))
    t.type_error(f"a number is needed here, not {numeric.describe(x)}")


def kind(x: Any) -> str:
    return x.dtype.kind if isinstance(x, Number) else np.asarray(x).dtype.kind


def eye(t: Tracer, N: Any, M: Any = None, k: Any = 0, dtype: Any = None, order: Any = "C") -> Any:
    (rows,) = shape_values(t, N)
    columns = shape_values(t, M)[0] if M is not None else rows
    shift = numeric.integer_value(t, k, "the diagonal of np.eye")
    equal = compare_positions(t, "eq", rows, columns, shift)
    return t.new_array(cast(t, equal, dtype_argument(t, dtype, F64)), [rows, columns])


def compare_positions(t: Tracer, name: str, rows: Value, columns: Value, shift: Value) -> Value:
    """A mask of a matrix: row + shift compared with column."""
    i = t.emit1("broadcast", [t.emit1("iota", [rows]), rows, columns], {"axes": (0,)})
    j = t.emit1("broadcast", [t.emit1("iota", [columns]), rows, columns], {"axes": (1,)})
    if integers.known(shift) != 0:
        i = t.emit1("add", [i, shift])
    return t.emit1(name, [i, j])


def identity(t: Tracer, n: Any, dtype: Any = None) -> Any:
    return eye(t, n, dtype=dtype)


# ---------------------------------------------------------------- arrays of given elements


def array(
    t: Tracer,
    object: Any,
    dtype: Any = None,
    *,
    copy: Any = True,
    order: Any = "K",
    subok: Any = False,
    ndmin: Any = 0,
) -> Any:
    """np.array; with `copy` None or False an array is itself where that is possible."""
    if not copy and isinstance(object, Reference):
        same = dtype is None or to_dtype(t, dtype) is object.dtype
        if copy is False and not same:
            t.fail_value("Unable to avoid copy while creating an array as requested.")
        made = object if same else new_array(t, object, dtype)
        if order in ("C", "F") and same and not (order == "C" and views.is_c_order(made)) and made.rank > 1:
            t.unsupported(f"np.array with `copy={copy}` and `order`", "leave `order` out")
    else:
        if copy is False:
            t.fail_value("Unable to avoid copy while creating an array as requested.")
        made = laid_out(t, new_array(t, object, dtype), order, object)
    missing = numeric.static_int(t, ndmin, "`ndmin`") - numeric.rank_of(made)
    if missing > 0:
        from .bind_shape import reshape

        if not isinstance(made, Reference):
            return reshape(t, made, (1,) * missing)
        return views.select(t, made, ["new"] * missing + [None] * made.rank)
    return made


def new_array(t: Tracer, obj: Any, dtype: Any = None) -> Any:
    """np.array of numbers, arrays, and nested lists and tuples of them."""
    from .bind_methods import astype
    from .expressions import GeneratorValue

    if isinstance(obj, GeneratorValue):
        t.type_error("np.array of a generator", "write a list: np.array([... for ...])")
    if is_number(obj):
        kind_ = dtype_argument(t, dtype, as_own(t, obj).dtype)
        return Number(as_dtype(t, obj, kind_, "np.array"), False, True)
    if isinstance(obj, Reference):
        if dtype is not None:
            return astype(t, obj, dtype)
        return t.new_array(views.read(t, obj), views.extents(t, obj)) if obj.rank else Number(views.read(t, obj))
    if not isinstance(obj, tuple | ListObject):
        t.type_error(f"an array cannot be made of {numeric.describe(obj)}")
    items = t.items(obj) if isinstance(obj, ListObject) else obj
    parts = [new_array(t, x) if not is_static_number(x) else x for x in items]
    if not parts:
        return t.new_array(t.emit1("fill", [Const(0, dtype_argument(t, dtype, F64)), Const(0, I64)]), [Const(0, I64)])
    strong = [np.dtype(type(p)) if is_static_number(p) else p.dtype.numpy for p in parts]
    kind_ = dtype_argument(t, dtype, to_dtype(t, np.result_type(*strong)))  # Python's numbers count as int64, float64
    ranks = {p.rank if isinstance(p, Reference) else 0 for p in parts}
    if len(ranks) > 1:
        t.shape_error("the rows of an array have different numbers of axes")
    values = [as_dtype(t, p, kind_, "np.array") for p in parts]
    (rank,) = ranks
    if rank == 0:
        return of_scalars(t, values, kind_)
    from .bind_join import stack_values

    return stack_values(t, values, [views.extents(t, p) for p in parts], 0)


def of_scalars(t: Tracer, values: list[Value], dtype: DType) -> Any:
    """A vector of scalars: the most frequent constant filled in, the others written."""
    n = Const(len(values), I64)
    constants = [v for v in values if isinstance(v, Const)]
    base = max(constants, key=constants.count) if constants else None
    if base is None:
        out = t.emit1("fill", [values[0], n])
        base_value: Value = values[0]
    else:
        out = t.emit1("fill", [base, n])
        base_value = base
    for k, v in enumerate(values):
        if v is base_value or (isinstance(v, Const) and v == base_value):
            continue
        out = t.emit1("update", [out, v, Const(k, I64)], {"spec": "i"})
    return t.new_array(out, [n])


def asarray(t: Tracer, a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None) -> Any:
    if isinstance(a, Number) and a.array and dtype is None and not copy:
        return a
    if order in ("C", "F") and numeric.rank_of(a) > 1 and not copy:
        return in_memory_order(t, asarray(t, a, dtype), order)
    return array(t, a, dtype, copy=copy if isinstance(a, Reference) or copy is False else True, order=order)


def in_memory_order(t: Tracer, a: Any, order: str) -> Any:
    """An array as it is, or a copy whose elements lie in another order: which of the two may be known at run time."""
    if not isinstance(a, Reference) or a.rank < 2 or (order == "C" and views.is_c_order(a)):
        return a
    out = t.new_array(views.read(t, a), views.extents(t, a), True if order == "C" else None)
    out.object.copied_from = ((a.object, views.contents(t, a.object)),)
    out.object.readonly = "whether NumPy copies here depends on the layout of memory; write `.copy()`"
    return out


def contiguous(order: str) -> Any:
    def binding(t: Tracer, a: Any, dtype: Any = None) -> Any:
        found = in_memory_order(t, asarray(t, a, dtype), order)
        if isinstance(found, Reference):
            if not views.is_c_order(found) and order == "C":  # a vector that is a slice with a step
                return in_memory_copy(t, found)
            return found
        from .bind_shape import reshape

        return reshape(t, found, (1,))

    return binding


def in_memory_copy(t: Tracer, a: Reference) -> Reference:
    out = t.new_array(views.read(t, a), views.extents(t, a))
    out.object.copied_from = ((a.object, views.contents(t, a.object)),)
    out.object.readonly = "np.ascontiguousarray copies only where it has to; write `.copy()`"
    return out


def as_function(t: Tracer, x: Any, dtype: Any, *, copy: Any = True) -> Any:
    """np.astype."""
    from .bind_methods import astype

    return astype(t, numeric.as_reference(t, x, "np.astype"), dtype, copy=copy)


def finite_array(t: Tracer, a: Any, dtype: Any = None, order: Any = None) -> Any:
    from .bind_reduce import ALL

    a = asarray(t, a, dtype, order)
    good = numeric.scalar_value(t, ALL(t, bind_elementwise.apply(t, np.isfinite, a)))
    t.emit("check", [good], {"error": "ValueError", "message": "array must not contain infs or NaNs"})
    return a


def copy(t: Tracer, a: Any, order: Any = "K", subok: Any = False) -> Any:
    return array(t, a, order=order)


def register() -> None:
    from .bindings import TABLE

    bindings: dict[Any, Any] = {
        np.zeros: constant(0),
        np.ones: constant(1),
        np.ndarray: ndarray,
        np.empty: empty,
        np.full: full,
        np.zeros_like: like(0, "np.zeros_like"),
        np.ones_like: like(1, "np.ones_like"),
        np.empty_like: empty_like,
        np.full_like: full_like,
        np.arange: arange,
        np.eye: eye,
        np.identity: identity,
        np.array: array,
        np.asarray: asarray,
        np.asanyarray: asarray,
        np.asarray_chkfinite: finite_array,
        np.ascontiguousarray: contiguous("C"),
        np.asfortranarray: contiguous("F"),
        np.astype: as_function,
        np.copy: copy,
    }
    TABLE.update(bindings)
