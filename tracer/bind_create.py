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


def zeros(t: Tracer, shape: Any, dtype: Any = None, order: Any = "C") -> Any:
    return filled(t, 0, shape_values(t, shape), dtype_argument(t, dtype, F64))


def ones(t: Tracer, shape: Any, dtype: Any = None, order: Any = "C") -> Any:
    return filled(t, 1, shape_values(t, shape), dtype_argument(t, dtype, F64))


def empty(t: Tracer, shape: Any, dtype: Any = None, order: Any = "C") -> Any:
    extents = shape_values(t, shape)
    kind = dtype_argument(t, dtype, F64)
    if not extents:
        return Number(Const(0, kind), False, True)
    return t.new_array(t.emit1("empty", extents, {"dtype": kind}), extents)


def full(t: Tracer, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C") -> Any:
    value = element(t, fill_value, "np.full")
    natural = as_own(t, value).dtype
    extents = shape_values(t, shape)
    kind = dtype_argument(t, dtype, natural)
    if isinstance(value, Reference):
        out = views.read(t, value)
        own = views.extents(t, value)
        target = numeric.broadcast_shapes(t, [own, extents], "np.full")
        return t.new_array(numeric.broadcast_to(t, cast(t, out, kind), own, target), target)
    return filled(t, value, extents, kind)


def as_own(t: Tracer, x: Any) -> Value:
    return numeric.value_of(t, x)


def like(value: Any) -> Any:
    def binding(t: Tracer, a: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None) -> Any:
        a = element(t, a, "np.zeros_like")
        own = a.dtype if isinstance(a, Number | Reference) else as_own(t, a).dtype
        extents = shape_values(t, shape) if shape is not None else numeric.shape_of(t, a)
        out = filled(t, value, extents, dtype_argument(t, dtype, own))
        if isinstance(out, Reference) and isinstance(a, Reference) and not views.is_c_order(a):
            out.object.c_order = None if a.rank > 1 else True
        return out

    return binding


def empty_like(
    t: Tracer, prototype: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None
) -> Any:
    a = element(t, prototype, "np.empty_like")
    own = a.dtype if isinstance(a, Number | Reference) else as_own(t, a).dtype
    extents = shape_values(t, shape) if shape is not None else numeric.shape_of(t, a)
    if not extents:
        return Number(Const(0, dtype_argument(t, dtype, own)), False, True)
    out = t.new_array(t.emit1("empty", extents, {"dtype": dtype_argument(t, dtype, own)}), extents)
    if isinstance(a, Reference) and not views.is_c_order(a) and a.rank > 1:
        out.object.c_order = None
    return out


def full_like(
    t: Tracer, a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None
) -> Any:
    a = element(t, a, "np.full_like")
    own = a.dtype if isinstance(a, Number | Reference) else as_own(t, a).dtype
    extents = shape_values(t, shape) if shape is not None else numeric.shape_of(t, a)
    return filled(t, element(t, fill_value), extents, dtype_argument(t, dtype, own))


# ---------------------------------------------------------------- ranges


def arange(t: Tracer, start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Any:
    """np.arange: integers as they are; floats as NumPy computes them, first + i * ((first + step) - first)."""
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


def linspace(
    t: Tracer, start: Any, stop: Any, num: Any = 50, endpoint: Any = True, retstep: Any = False, dtype: Any = None
) -> Any:
    """np.linspace, computed as NumPy does: i * ((stop - start) / div) + start, the last one set to stop."""
    first, last = (as_dtype(t, scalar(t, p), F64, "np.linspace") for p in (start, stop))
    (size,) = shape_values(t, num, "np.linspace")
    one = Const(1, I64)
    div = integers.sub(t, size, 1) if endpoint else size
    delta = t.emit1("sub", [last, first])
    safe = integers.maximum(t, div, 1)
    step = t.emit1("div", [delta, cast(t, safe, F64)])
    steps = cast(t, t.emit1("iota", [size]), F64)
    value = t.emit1("add", [t.emit1("mul", [steps, step]), first])
    out = t.new_array(value, [size])
    if endpoint:
        n = integers.known(size)
        if n is None:
            many = t.emit1("gt", [size, one])
            position = integers.sub(t, size, 1)
            from ..ir.core import Region

            then, other = Region(), Region()
            with t.inside(then):
                t.emit("yield", [t.emit1("update", [value, last, position], {"spec": "i"})])
            with t.inside(other):
                t.emit("yield", [value])
            t.store[out.object] = t.emit("if", [many], regions=[then, other])[0]
        elif n > 1:
            t.store[out.object] = t.emit1("update", [value, last, Const(n - 1, I64)], {"spec": "i"})
    result: Any = out
    if dtype is not None:
        from .bind_methods import astype

        result = astype(t, out, dtype)
    return (result, Number(step)) if retstep else result


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


def triangle(name: str) -> Any:
    def binding(t: Tracer, m: Any, k: Any = 0) -> Any:
        ref = numeric.as_reference(t, m, f"np.{name}")
        if ref.rank != 2:
            t.unsupported(f"np.{name} of an array of {ref.rank} axes", "use a matrix")
        rows, columns = views.extents(t, ref)
        shift = numeric.integer_value(t, k, "the diagonal")
        mask = compare_positions(t, "ge" if name == "tril" else "le", rows, columns, shift)
        value = t.emit1("select", [mask, views.read(t, ref), Const(0, ref.dtype)])
        return t.new_array(value, [rows, columns])

    return binding


def identity(t: Tracer, n: Any, dtype: Any = None) -> Any:
    return eye(t, n, dtype=dtype)


# ---------------------------------------------------------------- arrays of given elements


def array(t: Tracer, obj: Any, dtype: Any = None, copy: Any = True, order: Any = None, ndmin: Any = 0) -> Any:
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
    parts = [array(t, x) if not is_static_number(x) else x for x in items]
    if not parts:
        return t.new_array(t.emit1("fill", [Const(0, dtype_argument(t, dtype, F64)), Const(0, I64)]), [Const(0, I64)])
    kind_ = dtype_argument(t, dtype, bind_elementwise.result_dtype(t, *parts))
    ranks = {p.rank if isinstance(p, Reference) else 0 for p in parts}
    if len(ranks) > 1:
        t.shape_error("the rows of an array have different numbers of axes")
    values = [as_dtype(t, p, kind_, "np.array") for p in parts]
    (rank,) = ranks
    if rank == 0:
        return of_scalars(t, values, kind_)
    from .bind_shape import stack_values

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


def asarray(t: Tracer, a: Any, dtype: Any = None, order: Any = None) -> Any:
    if isinstance(a, Reference) and (dtype is None or to_dtype(t, dtype) is a.dtype):
        return a
    if isinstance(a, Number) and a.array and dtype is None:
        return a
    return array(t, a, dtype)


def ascontiguousarray(t: Tracer, a: Any, dtype: Any = None) -> Any:
    a = asarray(t, a, dtype)
    if not isinstance(a, Reference) or views.is_c_order(a):
        return a
    out = t.new_array(views.read(t, a), views.extents(t, a))
    out.object.copied_from = ((a.object, views.contents(t, a.object)),)
    out.object.readonly = "np.ascontiguousarray copies only where it has to; write `.copy()`"
    return out


def copy(t: Tracer, a: Any, order: Any = "K", subok: Any = False) -> Any:
    from .bind_methods import copy as copied

    a = element(t, a, "np.copy")
    if not isinstance(a, Reference):
        return array(t, a)
    out = copied(t, a)
    if not views.is_c_order(a) and a.rank > 1:
        out.object.c_order = None
    return out


def meshgrid(t: Tracer, *xi: Any, copy: Any = True, sparse: Any = False, indexing: Any = "xy") -> Any:
    refs = [numeric.as_reference(t, x, "np.meshgrid") for x in xi]
    if len(refs) != 2 or sparse:
        t.unsupported("np.meshgrid of other than two vectors", "use `x[:, None]` and `y[None, :]`")
    x, y = refs
    n, m = views.extent(t, x, 0), views.extent(t, y, 0)
    shape, ax, ay = ([m, n], 1, 0) if indexing == "xy" else ([n, m], 0, 1)
    out = [
        t.new_array(t.emit1("broadcast", [views.read(t, r), *shape], {"axes": (a,)}), shape)
        for r, a in ((x, ax), (y, ay))
    ]
    return tuple(out)


def register() -> None:
    from .bindings import TABLE

    bindings: dict[Any, Any] = {
        np.zeros: zeros,
        np.ones: ones,
        np.empty: empty,
        np.full: full,
        np.zeros_like: like(0),
        np.ones_like: like(1),
        np.empty_like: empty_like,
        np.full_like: full_like,
        np.arange: arange,
        np.linspace: linspace,
        np.eye: eye,
        np.identity: identity,
        np.tril: triangle("tril"),
        np.triu: triangle("triu"),
        np.array: array,
        np.asarray: asarray,
        np.ascontiguousarray: ascontiguousarray,
        np.copy: copy,
        np.meshgrid: meshgrid,
    }
    TABLE.update(bindings)
