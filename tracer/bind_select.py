"""Bindings that choose by conditions: nonzero and its kin, compress, place, putmask, select, piecewise, choose.

In: masks and arrays as abstract values. Out: positions, what stands there, or the write. What a mask selects has as
many elements as the mask has True (see `selections`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, I64
from . import bind_elementwise, indexing, integers, numeric, selections, views
from .bind_elementwise import apply, result_dtype
from .bind_join import stack_values
from .bind_shape import axis_of, product, ravel, sequence
from .context import Tracer
from .numeric import as_reference, element, is_number
from .subscripts import Inside
from .values import Number, Reference

__all__ = ["cycled", "register", "true_of"]


def true_of(t: Tracer, a: Any, what: str) -> Reference:
    """Where an array is not zero, as a mask."""
    ref = as_reference(t, a, what)
    if ref.dtype is BOOL:
        return ref
    return as_reference(t, apply(t, np.not_equal, ref, 0), what)


# ---------------------------------------------------------------- positions


def nonzero(t: Tracer, a: Any) -> tuple[Any, ...]:
    """np.nonzero: a vector of positions per axis."""
    found, count = selections.located(t, true_of(t, a, "np.nonzero"))
    return tuple(t.new_array(p, [count]) for p in found)


def flatnonzero(t: Tracer, a: Any) -> Any:
    places, count = selections.nonzero(t, views.read(t, true_of(t, a, "np.flatnonzero")))
    return t.new_array(places, [count])


def argwhere(t: Tracer, a: Any) -> Any:
    found, count = selections.located(t, true_of(t, a, "np.argwhere"))
    return stack_values(t, found, [[count]] * len(found), 1)


def where(t: Tracer, condition: Any, *branches: Any) -> Any:
    """np.where: a choice between two, or the positions of True."""
    if not branches:
        return nonzero(t, condition)
    if len(branches) != 2:
        t.type_error("either both or neither of x and y should be given to np.where")
    return bind_elementwise.where(t, condition, *branches)


def extract(t: Tracer, condition: Any, arr: Any) -> Any:
    mask = true_of(t, condition, "np.extract")
    return compress(t, ravel(t, mask), arr)


def compress(t: Tracer, condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    """np.compress: the rows for which a vector is true, which may be shorter than the array."""
    from .bind_reduce import into

    mask = true_of(t, condition, "np.compress")
    if mask.rank != 1:
        t.shape_error("the condition of np.compress is a vector")
    ref = as_reference(t, a, "np.compress")
    if axis is None:
        ref, axis = ravel(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    places, count = selections.nonzero(t, views.read(t, mask))
    index = [slice(None)] * at + [t.new_array(places, [count])]
    return into(t, indexing.load(t, ref, tuple(index)), out)


def compress_method(t: Tracer, a: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return compress(t, condition, a, axis, out)


# ---------------------------------------------------------------- writes


def cycled(t: Tracer, values: Any, places: Value, what: str, needed: Value) -> Any:
    """What a list of values gives at positions, from the start again where it ends; `needed`: how many are used."""
    values = element(t, values, what)
    if not isinstance(values, Reference) or values.rank == 0:
        return values
    flat = ravel(t, values)
    size = views.extent(t, flat, 0)
    if integers.known(size) == 1:
        return Number(t.emit1("index", [views.read(t, flat), Const(0, I64)], {"spec": "i"}))
    if not integers.known(size):
        some = t.emit1("logical_or", [t.emit1("gt", [size, Const(0, I64)]), t.emit1("eq", [needed, Const(0, I64)])])
        t.emit("check", [some], {"error": "ValueError", "message": f"{what}: there are no values to write"})
    at = t.emit1("mod", [places, integers.maximum(t, size, 1)])
    return t.new_array(t.emit1("gather", [views.read(t, flat), at], {"axes": (0,)}), [needed])


def place(t: Tracer, arr: Any, mask: Any, vals: Any) -> None:
    """np.place: the first values go to the first places, from the start again where they end."""
    target = as_reference(t, arr, "np.place")
    where_ = true_of(t, mask, "np.place")
    flat, count = selections.nonzero(t, views.read(t, where_))
    selections.agree_with_mask(t, where_, views.extents(t, target))
    found = selections.coordinates(t, flat, views.extents(t, where_))
    values = cycled(t, vals, t.emit1("iota", [count]), "np.place", count)
    indexing.store(t, target, tuple(Inside(t.new_array(p, [count])) for p in found), values)


def putmask(t: Tracer, a: Any, mask: Any, values: Any) -> None:
    """np.putmask: each place gets the value of its own position, counted around the values."""
    target = as_reference(t, a, "np.putmask")
    where_ = true_of(t, mask, "np.putmask")
    shape = views.extents(t, target)
    selections.agree_with_mask(t, where_, shape)
    size = product(t, shape)
    new = cycled(t, values, t.emit1("iota", [size]), "np.putmask", size)
    if isinstance(new, Reference) and target.rank > 1:
        new = t.new_array(t.emit1("reshape", [views.read(t, new), *shape]), shape)
    indexing.fill_view(t, target, bind_elementwise.where(t, where_, new, target), same_kind=True)


def copyto(t: Tracer, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    """np.copyto, where a mask is true if there is one."""
    target = as_reference(t, dst, "np.copyto")
    if where is not True:
        src = bind_elementwise.where(t, where, src, target)
    indexing.fill_view(t, target, src, same_kind=True)


# ---------------------------------------------------------------- choices


def chosen(t: Tracer, conditions: Sequence[Any], choices: Sequence[Any], default: Any, what: str) -> Any:
    """The first choice whose condition is true."""
    kind = result_dtype(t, *choices, default)
    out = default
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        out = numeric.emit_elementwise(t, "select", [condition, choice, out], [BOOL, kind, kind], what)
    return out


def select(t: Tracer, condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    conditions = [element(t, c, "np.select") for c in sequence(t, condlist, "np.select")]
    choices = [element(t, c, "np.select") for c in sequence(t, choicelist, "np.select")]
    if len(conditions) != len(choices):
        t.fail_value("list of cases must be same length as list of conditions")
    if not conditions:
        t.fail_value("select with an empty condition list is not possible")
    for c in conditions:
        if numeric.dtype_spec(c) not in (bool, np.dtype(bool)):
            t.type_error("a condition of np.select is an array of booleans")
    return chosen(t, conditions, choices, element(t, default, "np.select"), "np.select")


def choose(t: Tracer, a: Any, choices: Any, out: Any = None, mode: Any = "raise") -> Any:
    """np.choose: `choices[a[i]][i]`."""
    from .bind_reduce import into

    options = [element(t, c, "np.choose") for c in sequence(t, choices, "np.choose")]
    places = element(t, a, "np.choose")
    n = len(options)
    if not options:
        t.fail_value("np.choose needs at least one choice")
    if mode == "wrap":
        places = apply(t, np.remainder, places, n)
    elif mode == "raise":
        outside = apply(t, np.logical_or, apply(t, np.less, places, 0), apply(t, np.greater_equal, places, n))
        bad = numeric.value_of(t, outside)
        if bad.is_array:
            bad = t.emit1("reduce_any", [bad], {"axes": tuple(range(bad.rank))})
        ok = t.emit1("logical_not", [bad])
        t.emit("check", [ok], {"error": "ValueError", "message": "invalid entry in choice array"})
    elif mode != "clip":
        t.fail_value("`mode` is 'raise', 'wrap' or 'clip'")
    conditions = [apply(t, np.less_equal, places, k) for k in range(n)]
    return into(t, chosen(t, conditions, options, options[-1], "np.choose"), out)


def piecewise(t: Tracer, x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """np.piecewise: each function of the elements for which its condition is true; the last of what is left."""
    from .bind_create import filled
    from .calls import call

    ref = as_reference(t, x, "np.piecewise")
    if isinstance(condlist, Reference) and condlist.rank == ref.rank:
        condlist = (condlist,)
    masks = [true_of(t, c, "a condition of np.piecewise") for c in sequence(t, condlist, "np.piecewise")]
    pieces = sequence(t, funclist, "np.piecewise")
    if len(pieces) == len(masks) + 1:
        rest: Any = masks[0]
        for m in masks[1:]:
            rest = apply(t, np.logical_or, rest, m)
        masks.append(as_reference(t, apply(t, np.logical_not, rest)))
    if len(pieces) != len(masks):
        t.fail_value(f"with {len(masks)} conditions, as many functions are expected, or one more")
    y = as_reference(t, filled(t, 0, views.extents(t, ref), ref.dtype))
    for mask, piece in zip(masks, pieces):
        value = element(t, piece) if is_number(piece) or isinstance(piece, Reference) else None
        if value is None:
            value = call(t, piece, [indexing.load(t, ref, mask), *args], kw)
        indexing.store(t, y, mask, value)
    return y


def register() -> None:
    from .bind_methods import ARRAY_METHODS
    from .bindings import TABLE

    ARRAY_METHODS.update(
        {
            "nonzero": nonzero,
            "compress": compress_method,
            "choose": choose,
        }
    )
    TABLE.update(
        {
            np.nonzero: nonzero,
            np.flatnonzero: flatnonzero,
            np.argwhere: argwhere,
            np.where: where,
            np.extract: extract,
            np.compress: compress,
            np.place: place,
            np.putmask: putmask,
            np.copyto: copyto,
            np.select: select,
            np.choose: choose,
            np.piecewise: piecewise,
        }
    )
