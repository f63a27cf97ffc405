"""Bindings of `np.ndindex` and `np.ndenumerate`: one loop over all positions of a shape, in C order.

In: extents, or an array. Out: what a `for` loop goes over; the k-th item is the tuple of the digits of k in the mixed
base of the extents, `(k // n2 // n1, k // n2 % n1, k % n2)`, and with it the element that is there now.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import I64
from . import bind_create, bind_shape, integers, views
from .context import Tracer
from .iteration import Iterable
from .numeric import element
from .values import Number, Reference

__all__ = ["Grid", "grid_iterable", "register"]


@dataclass(eq=False)
class Grid:
    """The positions of a shape; `inner`: the array whose elements come with them."""

    extents: tuple[Value, ...]
    inner: Reference | None = None


def ndindex(t: Tracer, *shape: Any) -> Grid:
    if len(shape) == 1 and not isinstance(shape[0], int | Number):
        (given,) = shape
        return Grid(tuple(bind_create.shape_values(t, given, "np.ndindex")))
    return Grid(tuple(bind_create.shape_values(t, tuple(shape), "np.ndindex")))


def ndenumerate(t: Tracer, arr: Any) -> Grid:
    array = element(t, arr, "np.ndenumerate")
    if not isinstance(array, Reference):
        t.unsupported("np.ndenumerate of a number", "use the number")
    return Grid(tuple(views.extents(t, array)), array)


def grid_iterable(t: Tracer, grid: Grid) -> Iterable:
    extents, array = grid.extents, grid.inner
    known = [n for n in map(integers.known, extents) if n is not None]
    static = math.prod(known) if len(known) == len(extents) else None

    def at(k: Any) -> Any:
        found: list[Value]
        if isinstance(k, int) and static is not None:
            found = [Const(int(i), I64) for i in np.unravel_index(k, known)] if known else []
        else:
            found = digits(t, integers.integer(k), extents)
        index = tuple(bind_shape.extent_number(i) for i in found)
        if array is None:
            return index
        return index, Number(views.read(t, views.select(t, array, [(i,) for i in found])))

    return Iterable(static, False, lambda: bind_shape.product(t, extents), at)


def digits(t: Tracer, k: Value, extents: Sequence[Value]) -> list[Value]:
    """The position of the k-th element."""
    out: list[Value] = []
    for extent in reversed(extents[1:]):
        size = integers.maximum(t, extent, 1)  # a loop over nothing divides by nothing either
        out.append(t.emit1("mod", [k, size]))
        k = t.emit1("floordiv", [k, size])
    out = [*out, k][: len(extents)]
    t.nonnegative.update(out)
    return out[::-1]


def register() -> None:
    from .bindings import TABLE

    TABLE.update({np.ndindex: ndindex, np.ndenumerate: ndenumerate})
