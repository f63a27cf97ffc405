"""Bindings of order: sort, argsort, lexsort, partition, searchsorted, digitize, unique.

In: arrays as abstract values. Out: positions, and values gathered at them. There is one order of an array, the stable
one: where NumPy leaves open how equal elements are ordered (`argsort` by default, `partition`), this is what is given.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, I64, DType
from . import integers, numeric, selections, views
from .bind_elementwise import apply
from .bind_shape import axis_of, product, ravel
from .context import Tracer
from .numeric import as_reference, cast, element
from .values import Number, Reference

__all__ = ["gathered_along", "iota_along", "order_along", "register", "searched", "sorted_along"]


def last_axis_first(rank: int, axis: int) -> list[int]:
    """The order of axes in which `axis` comes last."""
    return [*(k for k in range(rank) if k != axis), axis]


def put_back(t: Tracer, value: Value, like: Reference, axis: int) -> Reference:
    """A new array of what was computed with `axis` last, with its axes in the order of `like`."""
    order = last_axis_first(like.rank, axis)
    if axis != like.rank - 1:
        perm = tuple(order.index(k) for k in range(like.rank))
        value = t.emit1("transpose", [value], {"perm": perm})
    return t.new_array(value, views.extents(t, like), True if views.is_c_order(like) else None)


def iota_along(t: Tracer, shape: list[Value], axis: int) -> Value:
    """An array of a shape that counts along one axis."""
    counted = t.emit1("iota", [shape[axis]])
    return counted if len(shape) == 1 else t.emit1("broadcast", [counted, *shape], {"axes": (axis,)})


def order_of_last(t: Tracer, value: Value) -> Value:
    return t.emit1("argsort", [cast(t, value, I64) if value.dtype is BOOL else value])


def gathered_along(t: Tracer, value: Value, order: Value, shape: list[Value]) -> Value:
    """Each row of `value` read at the positions in that row of `order`; `shape` is the shape of both."""
    rank = len(shape)
    indices = [*(iota_along(t, shape, k) for k in range(rank - 1)), order]
    return t.emit1("gather", [value, *indices], {"axes": tuple(range(rank))})


def flattened(t: Tracer, a: Any, axis: Any, what: str) -> tuple[Reference, int]:
    """The array, flat where no axis is given, and the axis as a number from 0."""
    ref = as_reference(t, a, what)
    if axis is None:
        return ravel(t, ref), 0
    return ref, axis_of(t, axis, ref.rank)


def moved_last(t: Tracer, ref: Reference, axis: int) -> tuple[Value, list[Value]]:
    """The contents with `axis` last, and their extents."""
    shown = views.permuted(ref, last_axis_first(ref.rank, axis))
    return views.read(t, shown), views.extents(t, shown)


def order_along(t: Tracer, ref: Reference, axis: int) -> Reference:
    """The positions along an axis in increasing order of what stands there."""
    value, _ = moved_last(t, ref, axis)
    return put_back(t, order_of_last(t, value), ref, axis)


def sorted_along(t: Tracer, ref: Reference, axis: int) -> Reference:
    value, shape = moved_last(t, ref, axis)
    return put_back(t, gathered_along(t, value, order_of_last(t, value), shape), ref, axis)


def no_fields(t: Tracer, order: Any) -> None:
    if order is not None:
        t.type_error("`order` names fields, and the arrays here have none")


def sort(t: Tracer, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    no_fields(t, order)
    return sorted_along(t, *flattened(t, a, axis, "np.sort"))


def argsort(t: Tracer, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    no_fields(t, order)
    return order_along(t, *flattened(t, a, axis, "np.argsort"))


def partition(t: Tracer, a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    """np.partition: all of it in order, which is one of the results that NumPy may give."""
    ref, at = flattened(t, a, axis, "np.partition")
    inside(t, kth, views.extent(t, ref, at))
    return sorted_along(t, ref, at)


def argpartition(t: Tracer, a: Any, kth: Any, axis: Any = -1, kind: Any = None, order: Any = None) -> Any:
    ref, at = flattened(t, a, axis, "np.argpartition")
    inside(t, kth, views.extent(t, ref, at))
    return order_along(t, ref, at)


def inside(t: Tracer, kth: Any, extent: Value) -> None:
    """Refuse positions of a partition that are outside."""
    places = element(t, kth, "`kth`")
    low = apply(t, np.less, places, Number(integers.sub(t, 0, extent), True))
    high = apply(t, np.greater_equal, places, Number(extent, True))
    bad = numeric.value_of(t, apply(t, np.logical_or, low, high))
    if bad.is_array:
        bad = t.emit1("reduce_any", [bad], {"axes": tuple(range(bad.rank))})
    ok = t.emit1("logical_not", [bad])
    t.emit("check", [ok, extent], {"error": "ValueError", "message": "kth is out of bounds ({0})"})


def in_place(compute: Any) -> Any:
    """A method that puts the elements of an array in another order."""

    def method(t: Tracer, a: Reference, *args: Any, **kwargs: Any) -> None:
        from .indexing import fill_view

        if "axis" in kwargs and kwargs["axis"] is None:
            t.type_error("the method sorts along an axis: None is no axis", "use np.sort(a, axis=None)")
        fill_view(t, a, compute(t, a, *args, **kwargs), same_kind=True)

    return method


def lexsort(t: Tracer, keys: Any, axis: Any = -1) -> Any:
    """np.lexsort: by the last key, equal ones by the key before, and so on."""
    from .bind_shape import sequence

    refs = [as_reference(t, k, "a key of np.lexsort") for k in sequence(t, keys, "np.lexsort")]
    if not refs:
        t.type_error("np.lexsort needs at least one key")
    at = axis_of(t, axis, refs[0].rank)
    _, shape = moved_last(t, refs[0], at)
    order: Value | None = None
    for ref in refs:
        value, own = moved_last(t, ref, at)
        if len(own) != len(shape):
            t.shape_error("the keys of np.lexsort differ in shape")
        for a, b in zip(shape, own):
            numeric.agree(t, a, b, "the keys of np.lexsort differ in shape")
        if order is None:
            order = order_of_last(t, value)
        else:
            again = order_of_last(t, gathered_along(t, value, order, shape))
            order = gathered_along(t, order, again, shape)
    assert order is not None
    return put_back(t, order, refs[0], at)


# ---------------------------------------------------------------- search among ordered elements


def common_dtype(t: Tracer, *values: Value) -> DType:
    out = values[0].dtype.numpy
    for v in values[1:]:
        out = np.promote_types(out, v.dtype.numpy)
    return numeric.to_dtype(t, np.int64 if out == np.bool_ else out)


def searched(t: Tracer, a: Value, v: Any, side: str) -> Any:
    """How many elements of the ordered vector `a` come before each of `v` (with side "right": not after it)."""
    value = numeric.value_of(t, v)
    kind = common_dtype(t, a, value)
    found = t.emit1("searchsorted", [cast(t, a, kind), cast(t, value, kind)], {"side": side})
    if not found.is_array:
        t.nonnegative.add(found)
    return numeric.wrap(t, found, numeric.shape_of(t, v))


def searchsorted(t: Tracer, a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    ref = as_reference(t, a, "np.searchsorted")
    if ref.rank != 1:
        t.shape_error("np.searchsorted searches in a vector")
    if side not in ("left", "right"):
        t.fail_value("`side` is 'left' or 'right'")
    if sorter is not None:
        from .indexing import load

        places = as_reference(t, sorter, "`sorter`")
        numeric.agree(t, views.extent(t, ref, 0), views.extent(t, places, 0), "`sorter` has another length")
        ref = load(t, ref, places)
    return searched(t, views.read(t, ref), element(t, v, "np.searchsorted"), side)


def digitize(t: Tracer, x: Any, bins: Any, right: Any = False) -> Any:
    """np.digitize: bins may increase or decrease, which is seen at run time."""
    x, edges = element(t, x, "np.digitize"), as_reference(t, bins, "the bins of np.digitize")
    if edges.rank != 1:
        t.shape_error("the bins of np.digitize are a vector")
    if not isinstance(right, bool):
        t.static_needed("`right` of np.digitize must be known before the program runs")
    n = views.extent(t, edges, 0)
    value = views.read(t, edges)
    before, after = neighbours(t, value, n)
    axes = {"axes": (0,)}
    rises = t.emit1("reduce_all", [t.emit1("le", [before, after])], axes)
    falls = t.emit1("reduce_all", [t.emit1("ge", [before, after])], axes)
    ok = t.emit1("logical_or", [rises, falls])
    t.emit("check", [ok], {"error": "ValueError", "message": "bins must be monotonically increasing or decreasing"})
    turned = t.emit1("index", [value, integers.sub(t, n, 1), n, Const(-1, I64)], {"spec": "s"})
    rising = t.emit1("select", [rises, value, turned])
    count = searched(t, rising, x, "left" if right else "right")
    return apply_select(t, rises, count, apply(t, np.subtract, Number(n), count))


def apply_select(t: Tracer, flag: Value, a: Any, b: Any) -> Any:
    kind = numeric.value_of(t, a).dtype
    return numeric.emit_elementwise(t, "select", [Number(flag), a, b], [BOOL, kind, kind], "a choice")


def neighbours(t: Tracer, value: Value, n: Value) -> tuple[Value, Value]:
    """A vector without its last and without its first element."""
    size = integers.clamp_low(t, integers.sub(t, n, 1))
    one = Const(1, I64)
    first = integers.minimum(t, n, 1)
    return (
        t.emit1("index", [value, Const(0, I64), size, one], {"spec": "s"}),
        t.emit1("index", [value, first, size, one], {"spec": "s"}),
    )


# ---------------------------------------------------------------- different elements


def unique(
    t: Tracer,
    ar: Any,
    return_index: Any = False,
    return_inverse: Any = False,
    return_counts: Any = False,
    axis: Any = None,
    *,
    equal_nan: Any = True,
    sorted: Any = True,
) -> Any:
    """np.unique: the first of each group of equal elements, in order."""
    ref = as_reference(t, ar, "np.unique")
    if axis is not None and ref.rank != 1:
        t.unsupported("np.unique of rows or columns", "it is supported for elements, without `axis`")
    shape = views.extents(t, ref)
    n = product(t, shape)
    flat = views.read(t, ravel(t, ref))
    order = order_of_last(t, flat)
    ordered = t.emit1("gather", [flat, order], {"axes": (0,)})
    starts = first_of_equals(t, ordered, n, bool(equal_nan))
    places, count = selections.nonzero(t, starts)
    values = t.new_array(t.emit1("gather", [ordered, places], {"axes": (0,)}), [count])
    out: list[Any] = [values]
    if return_index:
        out.append(t.new_array(t.emit1("gather", [order, places], {"axes": (0,)}), [count]))
    if return_inverse:
        group = t.emit1("cumsum", [cast(t, starts, I64)], {"axis": 0, "reverse": False})
        group = t.emit1("sub", [group, Const(1, I64)])
        zeros = t.emit1("fill", [Const(0, I64), n])
        inverse = t.emit1("scatter", [zeros, group, order], {"axes": (0,), "unique": True})
        if len(shape) > 1:
            inverse = t.emit1("reshape", [inverse, *shape])
        out.append(t.new_array(inverse, shape))
    if return_counts:
        last = integers.sub(t, count, 1)
        k = t.emit1("iota", [count])
        following = t.emit1("minimum", [t.emit1("add", [k, Const(1, I64)]), last])
        end = t.emit1("gather", [places, following], {"axes": (0,)})
        end = t.emit1("select", [t.emit1("eq", [k, last]), n, end])
        out.append(t.new_array(t.emit1("sub", [end, places]), [count]))
    return out[0] if len(out) == 1 else tuple(out)


def first_of_equals(t: Tracer, ordered: Value, n: Value, equal_nan: bool) -> Value:
    """Where an ordered vector has another element than just before."""
    k = t.emit1("iota", [n])
    before = t.emit1("maximum", [t.emit1("sub", [k, Const(1, I64)]), Const(0, I64)])
    previous = t.emit1("gather", [ordered, before], {"axes": (0,)})
    differs = t.emit1("ne", [ordered, previous])
    if equal_nan and ordered.dtype.is_float:
        again = t.emit1("logical_and", [t.emit1("ne", [ordered, ordered]), t.emit1("ne", [previous, previous])])
        differs = t.emit1("logical_and", [differs, t.emit1("logical_not", [again])])
    return t.emit1("logical_or", [t.emit1("eq", [k, Const(0, I64)]), differs])


METHODS: dict[str, Any] = {
    "sort": in_place(sort),
    "argsort": argsort,
    "partition": in_place(partition),
    "argpartition": argpartition,
    "searchsorted": searchsorted,
}


def register() -> None:
    from .bind_methods import ARRAY_METHODS
    from .bindings import TABLE

    ARRAY_METHODS.update(METHODS)
    TABLE.update(
        {
            np.sort: sort,
            np.argsort: argsort,
            np.lexsort: lexsort,
            np.partition: partition,
            np.argpartition: argpartition,
            np.searchsorted: searchsorted,
            np.digitize: digitize,
            np.unique: unique,
        }
    )
