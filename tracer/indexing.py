"""Subscripts: `x[...]` read and written, as NumPy and Python define them.

In: a container and an index of abstract values. Out: an element, a view, or a gathered copy; or the write.

Basic indexing (integers, slices, `...`, `None`) gives views. Integer arrays gather and scatter; a mask may be
assigned to. Every position that a user writes goes through ``bound``, which counts negative ones from the end
and refuses what is outside; slices are clipped as Python clips them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.errors import BoundsError
from ..ir.types import BOOL, I64
from . import integers, numeric, views
from .context import Tracer
from .numeric import describe, integer_value, is_static_number
from .values import UNDEFINED, DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["Place", "fill_view", "load", "remove", "store"]


def load(t: Tracer, container: Any, index: Any) -> Any:
    """`container[index]`."""
    if isinstance(container, Reference):
        return Place(t, container, index).read()
    if isinstance(container, tuple | ListObject):
        items = t.items(container) if isinstance(container, ListObject) else container
        if isinstance(index, slice):
            bounds = (
                None if p is None else numeric.static_int(t, p, "a bound of a slice of a tuple or list")
                for p in (index.start, index.stop, index.step)
            )
            part = items[slice(*bounds)]
            return t.new_list(part) if isinstance(container, ListObject) else tuple(part)
        k = numeric.static_int(t, index, "the index of a tuple or list")
        if not -len(items) <= k < len(items):
            t.type_error(f"index {k} is out of range for {len(items)} items")
        return items[k]
    if isinstance(container, DictObject):
        from .expressions import static_key

        key = static_key(t, index)
        for k, v in t.items(container):
            if k == key:
                return v
        t.type_error(f"the dict has no key {key!r}")
    if isinstance(container, Instance | Host):
        from . import calls, expressions

        return calls.call(t, expressions.attribute(t, container, "__getitem__"), [index], {})
    if isinstance(container, str):
        if isinstance(index, slice):
            return container[index]
        return container[numeric.static_int(t, index, "the index of a string")]
    from .iteration import Range

    if isinstance(container, Range) and not isinstance(index, slice):
        from .iteration import iterable_of

        iterable = iterable_of(t, container)
        if iterable.static_length is not None:
            return iterable.at(numeric.static_int(t, index, "the index of a range"))
    t.type_error(f"{describe(container)} cannot be indexed")


def store(t: Tracer, container: Any, index: Any, value: Any) -> None:
    """`container[index] = value`."""
    if isinstance(container, Reference):
        Place(t, container, index).write(value, same_kind=False)
    elif isinstance(container, ListObject):
        items = list(t.items(container))
        if isinstance(index, slice):
            t.unsupported("assignment to a slice of a list", "assign element by element")
        k = numeric.static_int(t, index, "the index of a list")
        if not -len(items) <= k < len(items):
            t.type_error(f"index {k} is out of range for {len(items)} items")
        items[k] = value
        t.set_items(container, items)
    elif isinstance(container, DictObject):
        from .expressions import static_key

        pairs = dict(t.items(container))
        pairs[static_key(t, index)] = value
        t.set_items(container, pairs.items())
    elif isinstance(container, Instance | Host):
        from . import calls, expressions

        calls.call(t, expressions.attribute(t, container, "__setitem__"), [index, value], {})
    else:
        t.type_error(f"{describe(container)} does not support item assignment")


def remove(t: Tracer, container: Any, index: Any) -> None:
    """`del container[index]`."""
    if isinstance(container, DictObject):
        t.set_items(container, [(k, v) for k, v in t.items(container) if k != index])
    elif isinstance(container, ListObject) and not isinstance(index, slice):
        items = list(t.items(container))
        del items[numeric.static_int(t, index, "the index of a list")]
        t.set_items(container, items)
    else:
        t.unsupported("`del` of elements of an array", "build a new array without them (np.concatenate of slices)")


# ---------------------------------------------------------------- the items of an index


def is_index_array(x: Any) -> bool:
    return isinstance(x, Reference | ListObject)


def normalized(t: Tracer, ref: Reference, index: Any) -> list[Any]:
    """One item per axis (plus "new"), `...` spelled out and short indices filled up."""
    items = list(index) if isinstance(index, tuple) else [index]
    out: list[Any] = []
    used = 0
    for item in items:
        if item is None or item is Ellipsis:
            continue
        used += mask_rank(item)
    if used > ref.rank:
        t.fail(BoundsError, f"too many indices: the array has {ref.rank} axes, {used} are indexed")
    seen = False
    for item in items:
        if item is Ellipsis:
            if seen:
                t.type_error("an index can have only one `...`")
            seen = True
            out += [slice(None)] * (ref.rank - used)
        else:
            out.append("new" if item is None else item)
    if not seen:
        out += [slice(None)] * (ref.rank - used)
    return out


def mask_rank(item: Any) -> int:
    if isinstance(item, Reference) and item.dtype is BOOL:
        return item.rank
    return 1


def bound(t: Tracer, position: Any, extent: Value, axis: int) -> Value:
    """A position inside an axis, negative ones counted from the end; refused at run time where outside."""
    value = integer_value(t, position, "an index")
    k, n = integers.known(value), integers.known(extent)
    if k is not None and n is not None and -n <= k < n:
        return integers.integer(k % n if n else k)
    out = t.emit1("bound", [value, extent], {"what": "index", "axis": axis})
    t.nonnegative.add(out)
    return out


def clipped(t: Tracer, part: Any, extent: Value, low: int, high: Value, default: Value) -> Value:
    """A bound of a slice: counted from the end where negative, then clipped to [low, high]."""
    if part is None:
        return default
    value = integer_value(t, part, "a bound of a slice")
    k, n = integers.known(value), integers.known(extent)
    if k is not None and n is not None:
        top = integers.known(high)
        assert top is not None
        return integers.integer(min(max(k + n if k < 0 else k, low), top))
    if k is not None and k < 0:  # below the top in any case
        return integers.maximum(t, integers.add(t, extent, k), low)
    value = integers.select_negative(t, value, extent)
    if low < 0 or not integers.is_nonnegative(t, value):
        value = integers.maximum(t, value, low)
    return integers.minimum(t, value, high)


def slice_range(t: Tracer, part: slice, extent: Value) -> tuple[Value, ...] | None:
    """(start, length, step) of a slice of an axis; None for the whole axis."""
    step = 1 if part.step is None else numeric.static_int(t, part.step, "the step of a slice")
    if step == 0:
        t.fail_value("slice step cannot be zero")
    if part.start is None and part.stop is None and step == 1:
        return None
    if step > 0:
        start = clipped(t, part.start, extent, 0, extent, Const(0, I64))
        stop = clipped(t, part.stop, extent, 0, extent, extent)
        if is_zero(part.start):
            length = stop
        else:
            length = difference(t, stop, start, part)
        length = integers.ceil_div(t, length, step)
    else:
        last = integers.sub(t, extent, 1)
        start = clipped(t, part.start, extent, -1, last, last)
        stop = clipped(t, part.stop, extent, -1, last, Const(-1, I64))
        length = integers.ceil_div(t, integers.clamp_low(t, integers.sub(t, start, stop)), -step)
    if integers.same(start, 0) and integers.same(length, extent) and step == 1:
        return None
    if not isinstance(length, Const):
        t.nonnegative.add(length)
    return start, length, Const(step, I64)


def is_zero(part: Any) -> bool:
    return part is None or (isinstance(part, int | np.integer) and int(part) == 0)


def difference(t: Tracer, stop: Value, start: Value, part: slice) -> Value:
    """max(stop - start, 0); the maximum is left out where the slice runs to the end of the axis."""
    size = integers.sub(t, stop, start)
    if part.stop is None:
        return size
    return integers.clamp_low(t, size)


# ---------------------------------------------------------------- places


class Place:
    """What a subscript of an array denotes: a view, or elements chosen by integer arrays or a mask.

    Evaluated once, so that `x[f(i)] += v` reads and writes the same place.
    """

    def __init__(self, t: Tracer, ref: Reference, index: Any) -> None:
        self.t = t
        self.mask: Reference | None = None
        self.indices: list[Any] = []
        self.axes: tuple[int, ...] = ()
        self.front = False
        self.view: Reference | None = None
        self.ellipsis = index is Ellipsis or (isinstance(index, tuple) and any(i is Ellipsis for i in index))
        items = normalized(t, ref, index)
        arrays = [x for x in items if is_index_array(x)]
        if len(arrays) == 1 and isinstance(arrays[0], Reference) and arrays[0].dtype is BOOL:
            if len(items) == 1 or all(x is arrays[0] or x == slice(None) for x in items):
                self.mask = arrays[0]
                self.base = ref
                return
        if any(isinstance(x, Reference) and x.dtype is BOOL for x in arrays):
            refuse_mask(t)
        if not arrays:
            self.base = self.view = views.select(t, ref, basic_items(t, ref, items))
            return
        self.advanced(ref, items)

    def advanced(self, ref: Reference, items: list[Any]) -> None:
        """Split into a basic view and integer arrays over its axes."""
        t = self.t
        advanced = [k for k, x in enumerate(items) if x != "new" and (is_index_array(x) or is_position(x))]
        adjacent = advanced == list(range(advanced[0], advanced[0] + len(advanced)))
        basic: list[Any] = []
        axis = 0
        result_axis = 0
        axes: list[int] = []
        chosen: list[Any] = []
        for item in items:
            if item == "new":
                basic.append("new")
                result_axis += 1
                continue
            if is_index_array(item):
                array = numeric.element(t, item, "an index")
                if not isinstance(array, Reference) or not (array.dtype.is_integer):
                    t.type_error("arrays used as indices must be of integers", "convert with `.astype(np.int64)`")
                extent = views.extent(t, ref, axis)
                chosen.append((array, extent, axis))
                axes.append(result_axis)
                basic.append(None)
                result_axis += 1
            else:
                part = basic_item(t, ref, item, axis)
                basic.append(part)
                if part is None or len(part) == 3:
                    result_axis += 1
            axis += 1
        self.base = views.select(t, ref, basic)
        shapes = [views.extents(t, a) for a, _, _ in chosen]
        target = numeric.broadcast_shapes(t, shapes, "index arrays")
        self.target = target
        for (array, extent, axis), shape in zip(chosen, shapes):
            value = numeric.cast(t, views.read(t, array), I64)
            value = t.emit1("bound", [value, extent], {"what": "index", "axis": axis})
            self.indices.append(numeric.broadcast_to(t, value, shape, target))
        self.axes = tuple(axes)
        if axes != list(range(axes[0], axes[0] + len(axes))):
            rest = [k for k in range(self.base.rank) if k not in axes]
            self.base = views.permuted(self.base, [*axes, *rest])
            self.axes = tuple(range(len(axes)))
        elif not adjacent and axes[0] != 0:  # an integer apart from the arrays: NumPy puts their axes first
            rest = [k for k in range(self.base.rank) if k not in axes]
            self.base = views.permuted(self.base, [*axes, *rest])
            self.axes = tuple(range(len(axes)))

    # ------------------------------------------------------------ reading

    def read(self) -> Any:
        t = self.t
        if self.view is not None:
            if self.view.rank or self.ellipsis:  # with `...`, NumPy gives a view even of one element
                return self.view
            return Number(views.read(t, self.view))
        if self.mask is not None:
            refuse_mask(t)
        value = t.emit1("gather", [views.read(t, self.base), *self.indices], {"axes": self.axes})
        return t.new_array(value, self.extents(), True if self.base.rank == 1 else None)

    def extents(self) -> list[Value]:
        own = views.extents(self.t, self.base)
        return [*own[: self.axes[0]], *self.target, *own[self.axes[-1] + 1 :]]

    # ------------------------------------------------------------ writing

    def write(self, value: Any, same_kind: bool) -> None:
        t = self.t
        if self.view is not None:
            fill_view(t, self.view, value, same_kind)
            return
        if self.mask is not None:
            self.write_mask(value)
            return
        prepared = prepare(t, value, self.base, self.extents(), same_kind)
        old = views.read(t, self.base)
        views.write(t, self.base, t.emit1("scatter", [old, prepared, *self.indices], {"axes": self.axes}))

    def write_mask(self, value: Any) -> None:
        """`x[mask] = number`: a selection."""
        t = self.t
        assert self.mask is not None
        value = numeric.element(t, value, "an assignment")
        if isinstance(value, Reference) and value.rank:
            t.unsupported(
                "assigning an array to the elements a mask chooses",
                "write `x[:] = np.where(mask, values, x)` with values of x's shape",
            )
        new = numeric.as_dtype(t, cast_check(t, value, self.base, False), self.base.dtype, "an assignment")
        shape = views.extents(t, self.base)
        mask = views.read(t, self.mask)
        own = views.extents(t, self.mask)
        for a, b in zip(own, shape):
            numeric.agree(t, a, b, "a mask and its array differ in shape")
        if len(own) != len(shape):
            mask = t.emit1("broadcast", [mask, *shape], {"axes": tuple(range(len(own)))})
        views.write(t, self.base, t.emit1("select", [mask, new, views.read(t, self.base)]))

    def accumulate(self, value: Any) -> None:
        """`np.add.at(x, index, value)`."""
        t = self.t
        if self.view is not None or self.mask is not None:
            t.unsupported("np.add.at with this index", "use integer arrays, or `x[i] += v`")
        prepared = prepare(t, value, self.base, self.extents(), True)
        old = views.read(t, self.base)
        views.write(t, self.base, t.emit1("scatter_add", [old, prepared, *self.indices], {"axes": self.axes}))


def is_position(x: Any) -> bool:
    return isinstance(x, Number) or is_static_number(x)


def refuse_mask(t: Tracer) -> None:
    t.unsupported(
        "indexing with a mask gives as many elements as the mask has True, which is not known here",
        "use np.where(mask, x, 0.0), or multiply by the mask; `x[mask] = number` is allowed",
    )


def basic_items(t: Tracer, ref: Reference, items: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    axis = 0
    for item in items:
        if item == "new":
            out.append("new")
            continue
        out.append(basic_item(t, ref, item, axis))
        axis += 1
    return out


def basic_item(t: Tracer, ref: Reference, item: Any, axis: int) -> tuple[Value, ...] | None:
    """A position or a range along an axis; None for the whole axis."""
    if isinstance(item, slice):
        if item.start is None and item.stop is None and item.step is None:
            return None
        return slice_range(t, item, views.extent(t, ref, axis))
    if isinstance(item, bool | np.bool_) or (isinstance(item, Number) and item.dtype is BOOL):
        t.type_error("a bool as an index", "use an integer, or np.where for a mask")
    if isinstance(item, float | np.floating) or (isinstance(item, Number) and item.dtype.is_float):
        t.type_error("a float as an index", "convert with `int(...)`")
    if isinstance(item, tuple):
        t.unsupported("a tuple inside an index", "use a list or an integer array")
    return (bound(t, item, views.extent(t, ref, axis), axis),)


def cast_check(t: Tracer, value: Any, target: Reference, same_kind: bool) -> Any:
    """Refuse conversions that would lose more than precision."""
    kind = value.dtype.kind if isinstance(value, Number | Reference) else np.asarray(value).dtype.kind
    rank = {"b": 0, "u": 1, "i": 1, "f": 2}
    if rank.get(kind, 3) > rank[target.dtype.kind]:
        static = is_static_number(value) and not same_kind and float(value).is_integer()
        if not static:
            words = {"b": "booleans", "i": "integers", "u": "integers", "f": "floats"}
            t.type_error(
                f"{words[kind]} are written to an array of {target.dtype.numpy}, which would cut them off",
                "make the array of floats (`dtype=float`), or convert the values with `int(...)` or `.astype(...)`",
            )
    return value


def prepare(t: Tracer, value: Any, target: Reference, shape: Sequence[Value], same_kind: bool) -> Value:
    """What is written, in the target's dtype and shape (a scalar stays one)."""
    value = numeric.element(t, value, "an assignment to elements of an array")
    cast_check(t, value, target, same_kind)
    out = numeric.as_dtype(t, value, target.dtype, "an assignment")
    if not isinstance(value, Reference):
        return out
    own = views.extents(t, value)
    while len(own) > len(shape):  # leading extents of 1 are dropped, as in NumPy
        if integers.known(own[0]) != 1:
            t.shape_error(f"an array of {value.rank} axes is written to {len(shape)} axes")
        out = t.emit1("index", [out, Const(0, I64)], {"spec": "i" + ":" * (out.rank - 1)})
        own = own[1:]
    if not out.is_array:
        return out
    offset = len(shape) - len(own)
    for k, extent in enumerate(own):
        if integers.known(extent) == 1:
            continue
        wanted = shape[k + offset]
        if integers.known(wanted) == 1:
            t.shape_error("an array is written to a part of extent 1 that it does not fit")
        numeric.agree(t, wanted, extent, "what is written does not fit the part of the array")
    return numeric.broadcast_to(t, out, own, shape)


def fill_view(t: Tracer, view: Reference, value: Any, same_kind: bool) -> None:
    """Write a number or an array to what a reference shows."""
    if value is UNDEFINED:
        return
    shape = views.extents(t, view)
    views.write(t, view, prepare(t, value, view, shape, same_kind))
