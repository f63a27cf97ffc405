"""Bindings of shape: reshape, ravel, transpose and other orders of axes, new axes, broadcasting, diagonals.

In: arrays as abstract values. Out: views where NumPy gives views, else new arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.errors import BoundsError
from ..ir.types import I64
from . import bind_elementwise, integers, numeric, views
from .bind_create import shape_values
from .context import Tracer
from .numeric import as_reference, element, static_int
from .values import ListObject, Number, Reference

__all__ = [
    "axes_given",
    "axis_of",
    "diagonal",
    "extent_number",
    "flat",
    "moveaxis",
    "product",
    "ravel",
    "register",
    "reshape",
    "sequence",
    "transpose",
]


def axis_of(t: Tracer, axis: Any, rank: int, what: str = "an axis") -> int:
    """An axis as a number from 0."""
    k = static_int(t, axis, what)
    if not -rank <= k < rank:
        t.fail(BoundsError, f"axis {k} is out of bounds for an array of {rank} axes")
    return k % rank


def product(t: Tracer, extents: Sequence[Value]) -> Value:
    out: Value = Const(1, I64)
    for e in extents:
        out = integers.mul(t, out, e)
    return out


def reshape(t: Tracer, a: Any, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    """np.reshape; one extent may be -1."""
    shape = newshape if shape is None else shape
    a = element(t, a, "np.reshape")
    if not isinstance(a, Reference):
        from .bind_create import filled

        return filled(t, a, target_shape(t, shape, [], Const(1, I64)), numeric.scalar_value(t, a).dtype)
    own = views.extents(t, a)
    wanted = target_shape(t, shape, own, product(t, own))
    if not wanted:
        return views.select(t, a, [(Const(0, I64),)] * a.rank)
    if is_fortran(t, a, order, "np.reshape"):
        turned = views.reshaped(t, views.permuted(a, range(a.rank)[::-1]), wanted[::-1])
        out = views.permuted(turned, range(len(wanted))[::-1])
    elif a.stages and len(wanted) == len(own) and all(integers.same(x, y) for x, y in zip(own, wanted)):
        out = a
    else:
        out = views.reshaped(t, a, wanted)
    if copy is True:
        return t.new_array(views.read(t, out), wanted)
    if copy is False and out.object is not a.object:
        t.unsupported("np.reshape with `copy=False`, where NumPy may have to copy", "leave `copy` out")
    return out


def is_fortran(t: Tracer, a: Reference, order: Any, what: str) -> bool:
    """Whether elements are taken column by column."""
    if order in ("A", "K") and a.rank > 1 and not views.is_c_order(a):
        t.unsupported(f"{what} in the order {order!r} of an array that may not be in C order", "name the order")
    if order not in ("C", "F", "A", "K"):
        t.fail_value("order must be one of 'C', 'F', 'A', or 'K'")
    return bool(order == "F")


def target_shape(t: Tracer, shape: Any, own: Sequence[Value], size: Value) -> list[Value]:
    """The extents that a reshape asks for, checked against the number of elements."""
    if isinstance(shape, ListObject):
        shape = t.items(shape)
    if not isinstance(shape, tuple):
        shape = (shape,)
    unknown = [k for k, s in enumerate(shape) if isinstance(s, int | np.integer) and int(s) == -1]
    if len(unknown) > 1:
        t.fail_value("can only specify one unknown dimension")
    if not unknown:
        wanted = shape_values(t, tuple(shape))
        have = product(t, wanted)
        if not integers.same(have, size) and not same_factors(wanted, own):
            x, y = integers.known(have), integers.known(size)
            if x is not None and y is not None:
                t.shape_error(f"cannot reshape an array of {y} elements into {x}")
            t.emit1("same_extent", [size, have], {"what": "reshape to another number of elements"})
        return wanted
    at = unknown[0]
    rest = shape_values(t, tuple(s for k, s in enumerate(shape) if k != at))
    known = product(t, rest)
    if integers.known(known) == 1:
        found = size
    else:
        x, y = integers.known(known), integers.known(size)
        if x is not None and y is not None:
            if x == 0 or y % x:
                t.shape_error(f"cannot reshape an array of {y} elements into rows of {x}")
            found = Const(y // x, I64)
        else:
            if x is None:
                nonzero = t.emit1("ne", [known, Const(0, I64)])
                message = "cannot reshape an array into rows of no elements (-1 is ambiguous)"
                t.emit("check", [nonzero], {"error": "ValueError", "message": message})
            divisor = integers.maximum(t, known, 1)
            found = t.emit1("floordiv", [size, divisor])
            t.nonnegative.add(found)
            again = t.emit1("mul", [found, known])
            t.emit1("same_extent", [size, again], {"what": "reshape to another number of elements"})
    return [*rest[:at], found, *rest[at:]]


def same_factors(a: Sequence[Value], b: Sequence[Value]) -> bool:
    left = [x for x in a if integers.known(x) != 1]
    for y in b:
        if integers.known(y) == 1:
            continue
        for k, x in enumerate(left):
            if integers.same(x, y):
                del left[k]
                break
        else:
            return False
    return not left


def ravel(t: Tracer, a: Any, order: Any = "C") -> Any:
    a = element(t, a, "np.ravel")
    if isinstance(a, Reference) and a.rank == 1:
        return a
    return reshape(t, a, (-1,), order)


def flat(t: Tracer, a: Any) -> Reference:
    """An array or a number as a vector."""
    found = ravel(t, a)
    assert isinstance(found, Reference)
    return found


def transpose(t: Tracer, a: Any, axes: Any = None) -> Any:
    a = element(t, a, "np.transpose")
    if not isinstance(a, Reference):
        return a
    if isinstance(axes, ListObject):
        axes = t.items(axes)
    order = tuple(range(a.rank))[::-1] if axes is None else tuple(axis_of(t, k, a.rank) for k in axes)
    if sorted(order) != list(range(a.rank)):
        t.fail_value("axes do not match the array")
    return views.permuted(a, order)


def swapaxes(t: Tracer, a: Any, axis1: Any, axis2: Any) -> Any:
    a = as_reference(t, a, "np.swapaxes")
    i, j = axis_of(t, axis1, a.rank), axis_of(t, axis2, a.rank)
    order = list(range(a.rank))
    order[i], order[j] = order[j], order[i]
    return views.permuted(a, order)


def axes_given(t: Tracer, axes: Any, rank: int) -> list[int]:
    """One axis or several, as numbers from 0, each once."""
    if isinstance(axes, ListObject):
        axes = t.items(axes)
    found = [axis_of(t, k, rank) for k in (axes if isinstance(axes, tuple) else (axes,))]
    if len(set(found)) != len(found):
        t.fail_value("an axis is repeated")
    return found


def moveaxis(t: Tracer, a: Any, source: Any, destination: Any) -> Any:
    a = as_reference(t, a, "np.moveaxis")
    sources, targets = axes_given(t, source, a.rank), axes_given(t, destination, a.rank)
    if len(sources) != len(targets):
        t.fail_value("`source` and `destination` of np.moveaxis must have the same number of elements")
    order = [k for k in range(a.rank) if k not in sources]
    for target, s in sorted(zip(targets, sources)):
        order.insert(target, s)
    return views.permuted(a, order)


def rollaxis(t: Tracer, a: Any, axis: Any, start: Any = 0) -> Any:
    a = as_reference(t, a, "np.rollaxis")
    k = axis_of(t, axis, a.rank)
    before = static_int(t, start, "`start` of np.rollaxis")
    if not -a.rank <= before <= a.rank:
        t.fail(BoundsError, f"`start` of np.rollaxis is {before} for an array of {a.rank} axes")
    before += a.rank if before < 0 else 0
    order = [m for m in range(a.rank) if m != k]
    order.insert(before - (k < before), k)
    return views.permuted(a, order)


def matrix_transpose(t: Tracer, x: Any) -> Any:
    a = as_reference(t, x, "np.matrix_transpose")
    if a.rank < 2:
        t.fail_value("np.matrix_transpose takes an array of at least two axes")
    return swapaxes(t, a, -1, -2)


def expand_dims(t: Tracer, a: Any, axis: Any) -> Any:
    a = element(t, a, "np.expand_dims")
    if isinstance(axis, ListObject):
        axis = t.items(axis)
    count = len(axis) if isinstance(axis, tuple) else 1
    rank = numeric.rank_of(a) + count
    new = axes_given(t, axis, rank)
    if not isinstance(a, Reference):
        return reshape(t, a, (1,) * rank)
    return views.select(t, a, ["new" if k in new else None for k in range(rank)])


def squeeze(t: Tracer, a: Any, axis: Any = None) -> Any:
    a = element(t, a, "np.squeeze")
    if not isinstance(a, Reference):
        return a
    known = views.dims(a)
    if axis is None:
        axes = [k for k, d in enumerate(known) if d == 1]
        for k, d in enumerate(known):
            if d is None:  # an extent that happens to be 1 would be dropped by NumPy, and the result have another rank
                other = t.emit1("ne", [views.extent(t, a, k), Const(1, I64)])
                message = "np.squeeze without an axis meets an extent that is 1 only at run time: name the axis"
                t.emit("check", [other], {"error": "ValueError", "message": message})
    else:
        axes = [axis_of(t, k, a.rank) for k in (axis if isinstance(axis, tuple) else (axis,))]
        for k in axes:
            if known[k] != 1:
                one = t.emit1("eq", [views.extent(t, a, k), Const(1, I64)])
                message = "cannot select an axis to squeeze out which has size not equal to one"
                t.emit("check", [one], {"error": "ValueError", "message": message})
    out = views.select(t, a, [(Const(0, I64),) if k in axes else None for k in range(a.rank)])
    return out


def at_least(rank: int) -> Any:
    def binding(t: Tracer, *arys: Any) -> Any:
        found = tuple(with_axes(t, a, rank) for a in arys)
        return found[0] if len(found) == 1 else found

    return binding


def with_axes(t: Tracer, a: Any, rank: int) -> Any:
    """An array with new axes in front until it has `rank` of them; for three, the last of them is new, too."""
    a = element(t, a, f"np.atleast_{rank}d")
    if not isinstance(a, Reference):
        return reshape(t, a, (1,) * rank)
    missing = rank - a.rank
    if missing <= 0:
        return a
    after = int(rank == 3)
    return views.select(t, a, ["new"] * (missing - after) + [None] * a.rank + ["new"] * after)


# ---------------------------------------------------------------- broadcasting, diagonals


def broadcast_to(t: Tracer, array: Any, shape: Any, subok: Any = False) -> Any:
    a = element(t, array, "np.broadcast_to")
    target = shape_values(t, shape)
    if not isinstance(a, Reference):
        from .bind_create import filled

        out = filled(t, a, target, numeric.scalar_value(t, a).dtype)
    else:
        own = views.extents(t, a)
        if len(own) > len(target):
            t.shape_error("np.broadcast_to needs at least as many axes as the array has")
        for k, e in enumerate(own):
            wanted = target[k + len(target) - len(own)]
            numeric.fits(t, wanted, e, "the array does not fit the shape of np.broadcast_to")
        source = views.contents(t, a.object)
        out = t.new_array(numeric.broadcast_to(t, views.read(t, a), own, target), target)
        out.object.copied_from = ((a.object, source),)
    if isinstance(out, Reference):
        out.object.readonly = "the result of np.broadcast_to is read-only"
    return out


def broadcast_arrays(t: Tracer, *args: Any, subok: Any = False) -> Any:
    arrays = [element(t, a, "np.broadcast_arrays") for a in args]
    shapes = [numeric.shape_of(t, a) for a in arrays]
    shape = tuple(Number(e, True) for e in numeric.broadcast_shapes(t, shapes, "arguments of np.broadcast_arrays"))
    return tuple(broadcast_to(t, a, shape) for a in arrays)


def broadcast_shapes(t: Tracer, *shapes: Any) -> Any:
    found = [shape_values(t, shape) for shape in shapes]
    return tuple(extent_number(e) for e in numeric.broadcast_shapes(t, found, "shapes")) if found else ()


def diagonal(t: Tracer, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    """The diagonal of two axes, as the last axis of a copy."""
    ref = as_reference(t, a, "np.diagonal")
    if ref.rank < 2:
        t.fail_value("a diagonal needs an array of at least two axes")
    pair = axis_of(t, axis1, ref.rank), axis_of(t, axis2, ref.rank)
    if pair[0] == pair[1]:
        t.fail_value("axis1 and axis2 cannot be the same")
    moved = views.permuted(ref, [k for k in range(ref.rank) if k not in pair] + list(pair))
    shift = static_int(t, offset, "the offset of a diagonal")
    *rest, rows, columns = views.extents(t, moved)
    low_row, low_column = max(-shift, 0), max(shift, 0)
    size = integers.clamp_low(
        t, integers.minimum(t, integers.sub(t, rows, low_row), integers.sub(t, columns, low_column))
    )
    k = t.emit1("iota", [size])
    i = t.emit1("add", [k, Const(low_row, I64)]) if low_row else k
    j = t.emit1("add", [k, Const(low_column, I64)]) if low_column else k
    axes = (ref.rank - 2, ref.rank - 1)
    out = t.new_array(t.emit1("gather", [views.read(t, moved), i, j], {"axes": axes}), [*rest, size])
    out.object.copied_from = ((ref.object, views.contents(t, ref.object)),)
    out.object.readonly = "a diagonal is a view in NumPy, which adjit reads only; write `.copy()`"
    return out


def take(t: Tracer, a: Any, indices: Any, axis: Any = None, mode: Any = "raise") -> Any:
    from . import indexing

    if mode != "raise":
        t.unsupported("np.take with a mode other than 'raise'", "compute the indices with np.clip or %")
    ref = as_reference(t, a, "np.take")
    if axis is None:
        ref, axis = ravel(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    index: list[Any] = [slice(None)] * ref.rank
    index[at] = indices
    return indexing.load(t, ref, tuple(index))


def sequence(t: Tracer, arrays: Any, what: str) -> list[Any]:
    """The arrays that a function joins, given as a tuple, a list, or the rows of an array."""
    from .expressions import GeneratorValue, generated_list

    if isinstance(arrays, GeneratorValue):
        arrays = generated_list(t, arrays)
    if isinstance(arrays, ListObject):
        return list(t.items(arrays))
    if isinstance(arrays, tuple):
        return list(arrays)
    if isinstance(arrays, Reference) and views.dims(arrays)[0] is not None:
        from .iteration import array_iterable

        rows = array_iterable(t, arrays)
        return [rows.at(k) for k in range(views.dims(arrays)[0] or 0)]
    t.type_error(f"{what} takes a tuple or list of arrays, not {numeric.describe(arrays)}")


def np_shape(t: Tracer, a: Any) -> Any:
    return tuple(extent_number(e) for e in numeric.shape_of(t, element(t, a)))


def extent_number(e: Value) -> Any:
    k = integers.known(e)
    return Number(e, True) if k is None else k


def np_size(t: Tracer, a: Any, axis: Any = None) -> Any:
    shape = numeric.shape_of(t, element(t, a))
    if axis is not None:
        return extent_number(shape[axis_of(t, axis, len(shape))])
    return extent_number(product(t, shape))


def np_ndim(t: Tracer, a: Any) -> Any:
    a = element(t, a)
    return a.rank if isinstance(a, Reference) else 0


def copyto(t: Tracer, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    from .indexing import fill_view

    target = as_reference(t, dst, "np.copyto")
    if where is not True:
        src = bind_elementwise.where(t, where, src, target)
    fill_view(t, target, src, same_kind=True)


def add_at(t: Tracer, a: Any, indices: Any, b: Any) -> None:
    from .indexing import Place

    Place(t, as_reference(t, a, "np.add.at"), indices).accumulate(b)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.reshape: reshape,
            np.ravel: ravel,
            np.transpose: transpose,
            np.swapaxes: swapaxes,
            np.moveaxis: moveaxis,
            np.rollaxis: rollaxis,
            np.matrix_transpose: matrix_transpose,
            np.expand_dims: expand_dims,
            np.squeeze: squeeze,
            np.atleast_1d: at_least(1),
            np.atleast_2d: at_least(2),
            np.atleast_3d: at_least(3),
            np.broadcast_to: broadcast_to,
            np.broadcast_arrays: broadcast_arrays,
            np.broadcast_shapes: broadcast_shapes,
            np.diagonal: diagonal,
            np.take: take,
            np.shape: np_shape,
            np.size: np_size,
            np.ndim: np_ndim,
            np.copyto: copyto,
            np.add.at: add_at,
        }
    )
