"""Places: what a subscript of an array denotes, to be read, written, or both.

In: an array and an index of abstract values. Out: a view (basic indexing), or elements chosen by arrays of positions
or by masks: a copy when read, a scatter when written.

A mask is as many arrays of positions as it has axes, and these are advanced indices like any other. Only a number
written to all that a mask chooses is simpler: a selection. Where index arrays (or positions next to them) are kept
apart by a slice, `...` or None, their axes come first in what is chosen; else they stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import I64
from . import integers, numeric, selections, views
from .context import Tracer
from .numeric import is_static_number
from .subscripts import GAP, Inside, basic_item, basic_items, is_array_item, is_mask, is_position, spelled_out
from .values import UNDEFINED, Number, Reference

__all__ = ["Place", "fill_view"]


class Place:
    """What a subscript of an array denotes.

    Evaluated once, so that `x[f(i)] += v` reads and writes the same place. `view` where it is one. Else `indices`, of
    extents `target`, address the axes `axes` of the view `base`; `unique` where no element is chosen twice.
    """

    def __init__(self, t: Tracer, ref: Reference, index: Any) -> None:
        self.t = t
        self.view: Reference | None = None
        self.mask: tuple[Reference, int] | None = None
        self.base = ref
        self.indices: list[Value] = []
        self.axes: tuple[int, ...] = ()
        self.target: list[Value] = []
        self.unique = False
        given = index if isinstance(index, tuple) else (index,)
        self.ellipsis = any(x is Ellipsis for x in given)
        self.copies = any(isinstance(x, Reference) or (isinstance(x, Number) and x.array) for x in given)
        items = spelled_out(t, ref, index)
        arrays = [k for k, x in enumerate(items) if is_array_item(x)]
        if not arrays:
            self.base = self.view = views.select(t, ref, basic_items(t, ref, items))
        elif (
            len(arrays) == 1
            and is_mask(items[arrays[0]])
            and all(k == arrays[0] or x == slice(None) for k, x in enumerate(items))
        ):
            mask, axis = items[arrays[0]], arrays[0]
            selections.agree_with_mask(t, mask, views.extents(t, ref)[axis : axis + mask.rank])
            self.mask = mask, axis
            self.axes = tuple(range(axis, axis + mask.rank))
            self.unique = True
        else:
            self.advanced(ref, items)

    def advanced(self, ref: Reference, items: list[Any]) -> None:
        """Split an index into a basic view and arrays of positions over its axes."""
        t = self.t
        chosen = [k for k, x in enumerate(items) if is_array_item(x) or is_position(x)]
        together = chosen == list(range(chosen[0], chosen[0] + len(chosen)))
        self.unique = sum(is_array_item(x) for x in items) == 1 and any(is_mask(x) for x in items)
        basic: list[Any] = []
        arrays: list[tuple[Value, list[Value]]] = []
        axes: list[int] = []
        axis = 0
        for item in items:
            if item is GAP:
                continue
            if item == "new":
                basic.append("new")
                continue
            if is_array_item(item):
                for array in self.positions(ref, item, axis):
                    arrays.append(array)
                    axes.append(sum(b is None or b == "new" or len(b) == 3 for b in basic))
                    basic.append(None)
                    axis += 1
                continue
            basic.append(basic_item(t, ref, item, axis))
            axis += 1
        self.base = views.select(t, ref, basic)
        self.target = numeric.broadcast_shapes(t, [shape for _, shape in arrays], "index arrays")
        self.indices = [numeric.broadcast_to(t, value, shape, self.target) for value, shape in arrays]
        if not together and axes != list(range(len(axes))):
            self.base = views.permuted(self.base, [*axes, *(k for k in range(self.base.rank) if k not in axes)])
            axes = list(range(len(axes)))
        self.axes = tuple(axes)

    def positions(self, ref: Reference, item: Any, axis: int) -> list[tuple[Value, list[Value]]]:
        """Arrays of positions inside the axes from `axis` on, with their extents, that an item means."""
        t = self.t
        if is_mask(item):
            selections.agree_with_mask(t, item, views.extents(t, ref)[axis : axis + item.rank])
            found, count = selections.located(t, item)
            return [(value, [count]) for value in found]
        if isinstance(item, Inside):
            return [(views.read(t, item.array), views.extents(t, item.array))]
        if not item.dtype.is_integer:
            t.type_error("arrays used as indices must be of integers", "convert with `.astype(np.int64)`")
        value = numeric.cast(t, views.read(t, item), I64)
        value = t.emit1("bound", [value, views.extent(t, ref, axis)], {"what": "index", "axis": axis})
        return [(value, views.extents(t, item))]

    def locate(self) -> list[Value]:
        """The arrays of positions; those of a mask are found when they are first needed."""
        if self.mask is not None and not self.indices:
            self.indices, count = selections.located(self.t, self.mask[0])
            self.target = [count]
        return self.indices

    def extents(self) -> list[Value]:
        """The extents of what is chosen."""
        self.locate()
        own = views.extents(self.t, self.base)
        return [*own[: self.axes[0]], *self.target, *own[self.axes[-1] + 1 :]]

    # ------------------------------------------------------------ reading

    def read(self) -> Any:
        t = self.t
        if self.view is not None:
            if self.view.rank and self.copies:  # a 0-d array among the positions: NumPy copies
                return t.new_array(views.read(t, self.view), views.extents(t, self.view))
            if self.view.rank or self.ellipsis:  # with `...`, NumPy gives a view even of one element
                return self.view
            return Number(views.read(t, self.view))
        value = t.emit1("gather", [views.read(t, self.base), *self.locate()], {"axes": self.axes})
        return t.new_array(value, self.extents(), True if self.base.rank == 1 else None)

    # ------------------------------------------------------------ writing

    def write(self, value: Any, same_kind: bool) -> None:
        t = self.t
        if self.view is not None:
            if not self.view.rank and not self.ellipsis and numeric.rank_of(value):
                t.shape_error("setting an array element with a sequence", "write `x[k] = v[0]`, or give a slice")
            fill_view(t, self.view, value, same_kind)
            return
        value = numeric.element(t, value, "an assignment to elements of an array")
        if self.mask is not None and not self.indices and not (isinstance(value, Reference) and value.rank):
            self.write_number(*self.mask, prepare(t, value, self.base, [], same_kind))
            return
        prepared = prepare(t, value, self.base, self.extents(), same_kind)
        attrs = {"axes": self.axes, **({"unique": True} if self.unique else {})}
        old = views.read(t, self.base)
        views.write(t, self.base, t.emit1("scatter", [old, prepared, *self.locate()], attrs))

    def write_number(self, mask: Reference, axis: int, value: Value) -> None:
        """`x[mask] = number`: a selection."""
        t = self.t
        shape = views.extents(t, self.base)
        chosen = views.read(t, mask)
        if mask.rank != len(shape):
            chosen = t.emit1("broadcast", [chosen, *shape], {"axes": tuple(range(axis, axis + mask.rank))})
        views.write(t, self.base, t.emit1("select", [chosen, value, views.read(t, self.base)]))

    def accumulate(self, value: Any) -> None:
        """`np.add.at(x, index, value)`: elements that are chosen several times are added to several times."""
        t = self.t
        if self.view is not None:
            from .bind_elementwise import apply

            fill_view(t, self.view, apply(t, np.add, self.view, value), True)
            return
        prepared = prepare(t, value, self.base, self.extents(), True)
        old = views.read(t, self.base)
        views.write(t, self.base, t.emit1("scatter_add", [old, prepared, *self.locate()], {"axes": self.axes}))


# ---------------------------------------------------------------- what is written


def cast_check(t: Tracer, value: Any, target: Reference, same_kind: bool) -> Any:
    """Conversions as NumPy allows them: any by assignment, to the same kind of number only by `+=` and `out=`."""
    spec, wanted = numeric.dtype_spec(value), target.dtype.numpy
    if same_kind:
        least = {bool: np.dtype(bool), int: np.dtype(np.uint8), float: np.dtype(np.float16)}
        found = least[spec] if numeric.is_python_type(spec) else spec
        if not np.can_cast(found, wanted, "same_kind"):
            t.type_error(
                f"{numeric.describe(value)} cannot be cast to {wanted}, the dtype of the array that is written to",
                "convert it (`.astype(...)`), or make the array of a dtype that holds it",
            )
    elif isinstance(value, Number) and target.dtype.is_integer:
        from .bind_python import require_finite

        require_finite(t, value.value)
    elif target.dtype.is_integer and is_static_number(value) and not np.isfinite(value):
        t.fail_value(f"cannot convert float {value} to integer")
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
        numeric.fits(t, shape[k + offset], extent, "what is written does not fit the part of the array")
    return numeric.broadcast_to(t, out, own, shape)


def fill_view(t: Tracer, view: Reference, value: Any, same_kind: bool) -> None:
    """Write a number or an array to what a reference shows."""
    if value is UNDEFINED:
        return
    shape = views.extents(t, view)
    views.write(t, view, prepare(t, value, view, shape, same_kind))
