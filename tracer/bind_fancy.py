"""Bindings that read, write and make positions: take, put, take_along_axis, ix_, fill_diagonal, ufunc.at and more.

In: arrays and positions as abstract values. Out: what stands there, the write, or positions. All of them go through
`places`, so that positions outside are refused by the line that has them, and gradients are gathers and scatters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, I64
from . import indexing, integers, numeric, selections, views
from .bind_create import compare_positions, shape_values
from .bind_elementwise import apply
from .bind_select import cycled
from .bind_shape import axis_of, product, ravel
from .context import Tracer
from .numeric import as_reference, cast, element
from .places import Place
from .subscripts import Inside
from .values import ListObject, Number, Reference

__all__ = ["register"]


def copied(t: Tracer, x: Any) -> Any:
    """A result of its own, where reading gave a view."""
    if isinstance(x, Reference) and x.stages:
        return t.new_array(views.read(t, x), views.extents(t, x))
    return x


def whole(t: Tracer, x: Any, what: str) -> Any:
    """Positions: a number or an array of integers."""
    if isinstance(x, ListObject) and not t.items(x):
        return t.new_array(t.emit1("fill", [Const(0, I64), Const(0, I64)]), [Const(0, I64)])
    x = element(t, x, what)
    if np.dtype(numeric.dtype_spec(x)).kind not in "iu":
        t.type_error(f"{what} takes positions that are integers", "convert with `.astype(np.int64)`")
    return x


def brought_inside(t: Tracer, places: Any, extent: Value, mode: Any, what: str) -> Any:
    """Positions under a mode of NumPy: as they are ("raise"), around the end, or at the nearest end."""
    if mode == "raise":
        return places
    if mode == "wrap":
        return apply(t, np.remainder, places, Number(extent, True))
    if mode == "clip":
        return apply(t, np.maximum, apply(t, np.minimum, places, Number(integers.sub(t, extent, 1), True)), 0)
    t.fail_value(f"the mode of {what} is 'raise', 'wrap' or 'clip'")


# ---------------------------------------------------------------- take and put


def take(t: Tracer, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: Any = "raise") -> Any:
    from .bind_reduce import into

    ref = as_reference(t, a, "np.take")
    if axis is None:
        ref, axis = ravel(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    places = brought_inside(t, whole(t, indices, "np.take"), views.extent(t, ref, at), mode, "np.take")
    found = indexing.load(t, ref, (*[slice(None)] * at, places))
    return into(t, copied(t, found), out)


def put(t: Tracer, a: Any, ind: Any, v: Any, mode: Any = "raise") -> None:
    """np.put: positions count in C order, and values start again where they end."""
    target = as_reference(t, a, "np.put")
    shape = views.extents(t, target)
    size = product(t, shape)
    places = brought_inside(t, whole(t, ind, "np.put"), size, mode, "np.put")
    if isinstance(places, Reference):
        places = ravel(t, places)
        count = views.extent(t, places, 0)
        flat = cast(t, views.read(t, places), I64)
    else:
        count = Const(1, I64)
        flat = t.emit1("fill", [cast(t, numeric.scalar_value(t, places), I64), count])
    flat = t.emit1("bound", [flat, size], {"what": "index", "axis": 0})
    found = selections.coordinates(t, flat, shape)
    values = cycled(t, v, t.emit1("iota", [count]), "np.put", count)
    indexing.store(t, target, tuple(Inside(t.new_array(p, [count])) for p in found), values)


def put_method(t: Tracer, a: Any, indices: Any, values: Any, mode: Any = "raise") -> None:
    put(t, a, indices, values, mode)


def along(t: Tracer, ref: Reference, indices: Any, axis: Any, what: str) -> tuple[Reference, tuple[Any, ...]]:
    """The array (flat without an axis) and the index that addresses it along an axis."""
    places = as_reference(t, whole(t, indices, what), what)
    if axis is None:
        if places.rank != 1:
            t.shape_error(f"{what} without an axis takes a vector of indices")
        return ravel(t, ref), (places,)
    at = axis_of(t, axis, ref.rank)
    if places.rank != ref.rank:
        t.shape_error(f"the indices of {what} have as many axes as the array")
    index: list[Any] = []
    for k in range(ref.rank):
        if k == at:
            index.append(places)
            continue
        n = views.extent(t, ref, k)
        own = [n if j == k else Const(1, I64) for j in range(ref.rank)]
        counted = t.emit1("iota", [n])
        grid = counted if ref.rank == 1 else t.emit1("broadcast", [counted, *own], {"axes": (k,)})
        index.append(Inside(t.new_array(grid, own)))
    return ref, tuple(index)


def take_along_axis(t: Tracer, arr: Any, indices: Any, axis: Any = -1) -> Any:
    what = "np.take_along_axis"
    ref, index = along(t, as_reference(t, arr, what), indices, axis, what)
    return indexing.load(t, ref, index)


def put_along_axis(t: Tracer, arr: Any, indices: Any, values: Any, axis: Any) -> None:
    what = "np.put_along_axis"
    ref = as_reference(t, arr, what)
    if axis is None:
        places = as_reference(t, whole(t, indices, what), what)
        shape = views.extents(t, ref)
        flat = cast(t, views.read(t, places), I64)
        flat = t.emit1("bound", [flat, product(t, shape)], {"what": "index", "axis": 0})
        own = views.extents(t, places)
        found = selections.coordinates(t, flat, shape)
        indexing.store(t, ref, tuple(Inside(t.new_array(p, own)) for p in found), values)
        return
    _, index = along(t, ref, indices, axis, what)
    indexing.store(t, ref, index, values)


# ---------------------------------------------------------------- ufunc.at


def at(ufunc: np.ufunc) -> Callable[..., None]:
    """`ufunc.at(a, indices, b)`: elements that are chosen several times are changed several times."""
    what = f"np.{ufunc.__name__}.at"

    def binding(t: Tracer, a: Any, indices: Any, b: Any) -> None:
        chosen = Place(t, as_reference(t, a, what), indices)
        value = element(t, b, what)
        if chosen.view is not None or chosen.unique:
            chosen.write(apply(t, ufunc, chosen.read(), value), same_kind=True)
        elif ufunc is np.add:
            chosen.accumulate(value)
        elif ufunc is np.subtract:
            chosen.accumulate(apply(t, np.negative, value))
        else:
            t.unsupported(f"{what} with positions that may repeat", "write a loop over the positions")

    return binding


# ---------------------------------------------------------------- positions


def ix_(t: Tracer, *args: Any) -> tuple[Any, ...]:
    """np.ix_: vectors (masks too) as positions along an axis each."""
    out = []
    for k, given in enumerate(args):
        ref = as_reference(t, whole_or_mask(t, given), "np.ix_")
        if ref.rank != 1:
            t.shape_error("np.ix_ takes vectors")
        if ref.dtype is BOOL:
            places, count = selections.nonzero(t, views.read(t, ref))
            ref = t.new_array(places, [count])
        out.append(views.select(t, ref, [*["new"] * k, None, *["new"] * (len(args) - k - 1)]))
    return tuple(out)


def whole_or_mask(t: Tracer, x: Any) -> Any:
    if isinstance(x, ListObject) and not t.items(x):
        return whole(t, x, "np.ix_")
    return element(t, x, "np.ix_")


def fill_diagonal(t: Tracer, a: Any, val: Any, wrap: Any = False) -> None:
    ref = as_reference(t, a, "np.fill_diagonal")
    if ref.rank < 2:
        t.shape_error("the array of np.fill_diagonal has at least two axes")
    if wrap is not False:
        t.unsupported("np.fill_diagonal with `wrap`", "fill each block on its own: `np.fill_diagonal(a[k:], value)`")
    shape = views.extents(t, ref)
    if ref.rank > 2:
        for e in shape[1:]:
            numeric.agree(t, shape[0], e, "all axes of the array of np.fill_diagonal must have one extent")
    n = integers.minimum(t, shape[0], shape[1]) if ref.rank == 2 else shape[0]
    steps = t.emit1("iota", [n])
    place = Place(t, ref, tuple(Inside(t.new_array(steps, [n])) for _ in shape))
    place.unique = True
    place.write(cycled(t, val, steps, "np.fill_diagonal", n), same_kind=False)


def diag_indices(t: Tracer, n: Any, ndim: Any = 2) -> tuple[Any, ...]:
    (size,) = shape_values(t, n)
    return (t.new_array(t.emit1("iota", [size]), [size]),) * numeric.static_int(t, ndim, "the number of axes")


def diag_indices_from(t: Tracer, arr: Any) -> tuple[Any, ...]:
    ref = as_reference(t, arr, "np.diag_indices_from")
    if ref.rank < 2:
        t.shape_error("the array of np.diag_indices_from has at least two axes")
    shape = views.extents(t, ref)
    for e in shape[1:]:
        numeric.agree(t, shape[0], e, "all axes of the array of np.diag_indices_from must have one extent")
    return diag_indices(t, Number(shape[0], True), ref.rank)


def triangle_indices(lower: bool) -> Callable[..., Any]:
    def binding(t: Tracer, n: Any, k: Any = 0, m: Any = None) -> tuple[Any, ...]:
        (rows,) = shape_values(t, n)
        columns = shape_values(t, m)[0] if m is not None else rows
        shift = numeric.integer_value(t, k, "the diagonal")
        mask = compare_positions(t, "ge" if lower else "le", rows, columns, shift)
        found, count = selections.located(t, t.new_array(mask, [rows, columns]))
        return tuple(t.new_array(p, [count]) for p in found)

    return binding


def triangle_indices_from(lower: bool) -> Callable[..., Any]:
    def binding(t: Tracer, arr: Any, k: Any = 0) -> tuple[Any, ...]:
        ref = as_reference(t, arr, "np.tril_indices_from")
        if ref.rank != 2:
            t.shape_error("the array of np.tril_indices_from and its kin is a matrix")
        rows, columns = (Number(e, True) for e in views.extents(t, ref))
        found: tuple[Any, ...] = triangle_indices(lower)(t, rows, k, columns)
        return found

    return binding


def extents_given(t: Tracer, shape: Any, order: Any, what: str) -> list[Value]:
    if order != "C":
        t.unsupported(f"{what} in an order other than C", "reverse the shape and the positions")
    return shape_values(t, shape)


def outside(t: Tracer, places: Any, extent: Value) -> Value:
    """Whether a position, or one of an array of positions, is not inside."""
    low = apply(t, np.less, places, 0)
    bad = numeric.value_of(t, apply(t, np.logical_or, low, apply(t, np.greater_equal, places, Number(extent, True))))
    return t.emit1("reduce_any", [bad], {"axes": tuple(range(bad.rank))}) if bad.is_array else bad


def require_inside(t: Tracer, places: Any, extent: Value, message: str) -> None:
    t.emit("check", [t.emit1("logical_not", [outside(t, places, extent)])], {"error": "ValueError", "message": message})


def unravel_index(t: Tracer, indices: Any, shape: Any, order: Any = "C") -> tuple[Any, ...]:
    extents = extents_given(t, shape, order, "np.unravel_index")
    places = whole(t, indices, "np.unravel_index")
    require_inside(t, places, product(t, extents), "index is out of bounds for the array of np.unravel_index")
    flat = cast(t, numeric.value_of(t, places), I64)
    own = numeric.shape_of(t, places)
    return tuple(numeric.wrap(t, p, own) for p in selections.coordinates(t, flat, extents))


def ravel_multi_index(t: Tracer, multi_index: Any, dims: Any, mode: Any = "raise", order: Any = "C") -> Any:
    from .bind_shape import sequence

    what = "np.ravel_multi_index"
    extents = extents_given(t, dims, order, what)
    parts = [whole(t, p, what) for p in sequence(t, multi_index, what)]
    if len(parts) != len(extents):
        t.fail_value(f"{what}: {len(parts)} arrays of positions for {len(extents)} extents")
    modes: Sequence[Any] = mode if isinstance(mode, tuple) else (mode,) * len(parts)
    flat: Any = 0
    for part, extent, how in zip(parts, extents, modes, strict=True):
        if how == "raise":
            require_inside(t, part, extent, "invalid entry in coordinates array")
        part = brought_inside(t, part, extent, how, what)
        flat = apply(t, np.add, apply(t, np.multiply, flat, Number(extent, True)), part)
    value = cast(t, numeric.value_of(t, flat), I64)
    return numeric.wrap(t, value, numeric.shape_of(t, flat))


def register() -> None:
    from .bind_methods import ARRAY_METHODS
    from .bindings import TABLE

    ARRAY_METHODS.update({"take": take, "put": put_method})
    for ufunc in (np.add, np.subtract, np.multiply, np.true_divide, np.maximum, np.minimum, np.power):
        TABLE[ufunc.at] = at(ufunc)
    TABLE.update(
        {
            np.take: take,
            np.put: put,
            np.take_along_axis: take_along_axis,
            np.put_along_axis: put_along_axis,
            np.ix_: ix_,
            np.fill_diagonal: fill_diagonal,
            np.diag_indices: diag_indices,
            np.diag_indices_from: diag_indices_from,
            np.tril_indices: triangle_indices(True),
            np.triu_indices: triangle_indices(False),
            np.tril_indices_from: triangle_indices_from(True),
            np.triu_indices_from: triangle_indices_from(False),
            np.unravel_index: unravel_index,
            np.ravel_multi_index: ravel_multi_index,
        }
    )
