"""Bindings of norms and condition numbers: np.linalg.norm, vector_norm, matrix_norm, cond.

In: arrays as abstract values. Out: compositions of reductions; spectral norms are of the singular values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const
from ..ir.types import I64
from . import bind_shape, integers, numeric, views
from .bind_elementwise import apply, where
from .bind_reduce import ANY, MAX, MIN, SUM, converted_array, float_of
from .bind_shape import axis_of
from .context import Tracer
from .matrices import Matrix, float_kind, operand, require_square
from .values import Number, Reference

__all__ = ["norm", "register"]


def norm(t: Tracer, x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    x = numeric.element(t, x, "np.linalg.norm")
    if not isinstance(x, Reference):
        if ord is not None or axis is not None:
            t.fail_value("Improper number of dimensions to norm.")
        return apply(t, np.absolute, float_of(t, x))
    if not x.dtype.is_float:
        x = converted_array(t, x, float_kind(x))
    if axis is None:
        fast = ord is None or (ord in ("f", "fro") and x.rank == 2) or (is_number(ord, 2) and x.rank == 1)
        axes = list(range(x.rank))
        if fast:
            return euclidean(t, x, axes, keepdims)
    else:
        axes = [axis_of(t, k, x.rank) for k in (axis if isinstance(axis, tuple) else (axis,))]
    if len(axes) == 1:
        return of_vectors(t, x, ord, axes[0], keepdims)
    if len(axes) != 2:
        t.fail_value("Improper number of dimensions to norm.")
    if axes[0] == axes[1]:
        t.fail_value("Duplicate axes given.")
    return of_matrices(t, x, ord, axes, keepdims)


def is_number(x: Any, value: float) -> bool:
    """Whether an order is known and is that."""
    return isinstance(x, int | float | np.number) and not isinstance(x, bool) and float(x) == value


def euclidean(t: Tracer, x: Reference, axes: list[int], keepdims: Any) -> Any:
    return apply(t, np.sqrt, SUM(t, apply(t, np.multiply, x, x), tuple(axes), keepdims=keepdims))


def of_vectors(t: Tracer, x: Reference, ord: Any, axis: int, keepdims: Any) -> Any:
    if ord is None or is_number(ord, 2):
        return euclidean(t, x, [axis], keepdims)
    if isinstance(ord, str):
        t.fail_value(f"Invalid norm order '{ord}' for vectors")
    size = apply(t, np.absolute, x)
    if is_number(ord, np.inf):
        return MAX(t, size, axis, keepdims=keepdims, initial=0)
    if is_number(ord, -np.inf):
        return MIN(t, size, axis, keepdims=keepdims)
    if is_number(ord, 0):
        return SUM(t, apply(t, np.not_equal, x, 0), axis, dtype=x.dtype.numpy, keepdims=keepdims)
    if is_number(ord, 1):
        return SUM(t, size, axis, keepdims=keepdims)
    order: Any = Number(numeric.cast(t, ord.value, x.dtype)) if isinstance(ord, Number) else float(ord)
    total = SUM(t, apply(t, np.power, size, order), axis, keepdims=keepdims)
    inverse = apply(t, np.true_divide, 1.0, order) if isinstance(order, Number) else 1.0 / order
    return apply(t, np.power, total, inverse)


def of_matrices(t: Tracer, x: Reference, ord: Any, axes: list[int], keepdims: Any) -> Any:
    row, col = axes
    if ord is None or ord in ("fro", "f"):
        return euclidean(t, x, axes, keepdims)
    if ord == "nuc" or is_number(ord, 2) or is_number(ord, -2):
        moved = views.permuted(x, [k for k in range(x.rank) if k not in axes] + axes)
        values = Matrix.of(t, moved).singular_values()
        found = SUM(t, values, -1) if ord == "nuc" else largest(t, values) if ord == 2 else MIN(t, values, -1)
    elif any(is_number(ord, v) for v in (1, -1, np.inf, -np.inf)):
        summed, other = (row, col) if abs(ord) == 1 else (col, row)
        sums = SUM(t, apply(t, np.absolute, x), summed)
        at = other - (other > summed)
        found = MAX(t, sums, at, initial=0) if ord > 0 else MIN(t, sums, at)
    else:
        t.fail_value("Invalid norm order for matrices.")
    if keepdims:
        items: list[Any] = ["new" if k in axes else None for k in range(x.rank)]
        return views.select(t, found, items) if isinstance(found, Reference) else bind_shape.reshape(t, found, (1, 1))
    return found


def largest(t: Tracer, values: Any) -> Any:
    return MAX(t, values, -1, initial=0)


def vector_norm(t: Tracer, x: Any, *, axis: Any = None, keepdims: Any = False, ord: Any = 2) -> Any:
    """Several axes count as one vector."""
    x = operand(t, x, "np.linalg.vector_norm", 1)
    axes = list(range(x.rank)) if axis is None else bind_shape.axes_given(t, axis, x.rank)
    rest = [k for k in range(x.rank) if k not in axes]
    moved = views.permuted(x, [*rest, *axes])
    own = views.extents(t, moved)
    flat = views.reshaped(t, moved, [*own[: len(rest)], bind_shape.product(t, own[len(rest) :])])
    found = norm(t, flat, ord, -1)
    if not keepdims:
        return found
    items: list[Any] = ["new" if k in axes else None for k in range(x.rank)]
    if isinstance(found, Reference):
        return views.select(t, found, items)
    return bind_shape.reshape(t, found, (1,) * x.rank)


def matrix_norm(t: Tracer, x: Any, *, keepdims: Any = False, ord: Any = "fro") -> Any:
    return norm(t, operand(t, x, "np.linalg.matrix_norm"), ord, (-2, -1), keepdims)


def cond(t: Tracer, x: Any, p: Any = None) -> Any:
    a = operand(t, x, "np.linalg.cond")
    rows, columns = views.extents(t, a)[-2:]
    some = t.emit1("ne", [integers.mul(t, rows, columns), Const(0, I64)])
    t.emit("check", [some], {"error": "LinAlgError", "message": "cond is not defined on empty arrays"})
    a = converted_array(t, a, float_kind(a))
    if p is None or is_number(p, 2) or is_number(p, -2):
        values = Matrix.of(t, a).singular_values()
        first = views.select(t, values, [None] * (values.rank - 1) + [(Const(0, I64),)])
        last = views.select(
            t, values, [None] * (values.rank - 1) + [(integers.sub(t, views.extent(t, values, values.rank - 1), 1),)]
        )
        top, bottom = (x if x.rank else Number(views.read(t, x)) for x in (first, last))
        found = apply(t, np.true_divide, *((bottom, top) if is_number(p, -2) else (top, bottom)))
    else:
        require_square(t, a, "np.linalg.cond")
        matrix = Matrix.of(t, a)
        inverse = t.new_array(matrix.solve(matrix.identity(), message=""), matrix.extents)
        found = apply(t, np.multiply, norm(t, a, p, (-2, -1)), norm(t, inverse, p, (-2, -1)))
    # of a singular matrix infinity, but NaN where the matrix has some
    lost = apply(t, np.isnan, found)
    given = ANY(t, apply(t, np.isnan, a), (-2, -1))
    shown = where(t, apply(t, np.logical_and, lost, apply(t, np.logical_not, given)), np.inf, found)
    return Number(shown.value) if isinstance(shown, Number) else shown


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.linalg.norm: norm,
            np.linalg.vector_norm: vector_norm,
            np.linalg.matrix_norm: matrix_norm,
            np.linalg.cond: cond,
        }
    )
