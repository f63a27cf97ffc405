"""The vocabulary of matrix derivatives: transposes, products, triangles and diagonals of stacks of matrices.

In: IR values whose last two axes are a matrix. Out: IR values, from operations of the table. Functions, not
operations; the one exception is the product of stacks, `stack_matmul`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Const, Value, as_value, builder, const
from .analytic import parts, with_parts
from .declare import extent, extents_of
from .routines import least, routine

__all__ = [
    "as_columns",
    "as_rows",
    "between",
    "diagonal_of",
    "half_triangle",
    "identity",
    "identity_minus",
    "on_diagonal",
    "product",
    "symmetric_from",
    "total_of",
    "triangle",
    "turned",
]


def product_of_parts(a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    return with_parts(np.matmul(ar, br), np.matmul(ar, bi) + np.matmul(ai, br))


stack_matmul = routine(
    "stack_matmul",
    "(m,k),(k,n)->(m,n)",
    np.matmul,
    evaluate_complex=product_of_parts,
    bilinear=True,
    transpose=lambda a, b, *, dy: (lambda: product(dy, turned(b)), lambda: product(turned(a), dy)),
    domain=[([(2, 3, 4), (2, 4, 2)], {}), ([(2, 1, 3, 2), (2, 1, 2, 1)], {})],
)


def turned(a: Value) -> Value:
    """The transpose of each matrix."""
    order = (*range(a.rank - 2), a.rank - 1, a.rank - 2)
    return builder().emit1("transpose", [a], {"perm": order})


def product(a: Value, b: Value) -> Value:
    """a @ b"""
    return builder().emit1("matmul" if a.rank == 2 else "stack_matmul", [a, b])


def as_rows(v: Value, columns: Value) -> Value:
    """The matrix that has v[i] in row i: each element repeated along a row."""
    return builder().emit1("broadcast", [v, *extents_of(v), columns], {"axes": tuple(range(v.rank))})


def as_columns(v: Value, rows: Value) -> Value:
    """The matrix that has v[j] in column j."""
    *stack, n = extents_of(v)
    axes = (*range(v.rank - 1), v.rank)
    return builder().emit1("broadcast", [v, *stack, rows, n], {"axes": axes})


def total_of(x: Value) -> Value:
    """The sum of the elements of each matrix."""
    return builder().emit1("reduce_sum", [x], {"axes": (x.rank - 2, x.rank - 1)})


# ---------------------------------------------------------------- places


def places(shape: list[Value]) -> tuple[Value, Value]:
    """Row and column numbers of every element, as two arrays of a shape."""
    rank = len(shape)

    def numbers(axis: int) -> Value:
        count = builder().emit1("iota", [shape[axis]])
        return builder().emit1("broadcast", [count, *shape], {"axes": (axis,)})

    return numbers(rank - 2), numbers(rank - 1)


def zero(x: Value) -> Const:
    return Const(0, x.dtype)


def select(where: Value, x: Any, y: Any) -> Value:
    like = x if isinstance(x, Value) else y
    return builder().emit1("select", [where, as_value(x, like), as_value(y, like)])


def triangle(x: Value, lower: bool, strict: bool = False) -> Value:
    """One triangle, zeros elsewhere; `strict`: without the diagonal."""
    rows, columns = places(extents_of(x))
    if not lower:
        rows, columns = columns, rows
    return select(rows > columns if strict else rows >= columns, x, zero(x))


def half_triangle(x: Value, lower: bool) -> Value:
    """One triangle with half of the diagonal: x is the sum of both, where it is symmetric."""
    rows, columns = places(extents_of(x))
    if not lower:
        rows, columns = columns, rows
    same = builder().emit1("eq", [rows, columns])
    return select(rows > columns, x, select(same, x * 0.5, zero(x)))


def symmetric_from(x: Value, lower: bool) -> Value:
    """The symmetric matrix that has this triangle."""
    return triangle(x, lower) + turned(triangle(x, lower, strict=True))


def on_diagonal(x: Value, y: Any) -> Value:
    """x with the diagonal replaced."""
    rows, columns = places(extents_of(x))
    return select(builder().emit1("eq", [rows, columns]), y, x)


def diagonal_of(x: Value) -> Value:
    """The diagonals of square matrices, as vectors."""
    rows, columns = places(extents_of(x))
    kept = select(builder().emit1("eq", [rows, columns]), x, zero(x))
    return builder().emit1("reduce_sum", [kept], {"axes": (x.rank - 1,)})


def identity(like: Value, axis: int = -1) -> Value:
    """Identity matrices of a stack like `like`, as large as its extent along `axis`."""
    n = extent(like, axis % like.rank)
    shape = [*extents_of(like)[:-2], n, n]
    rows, columns = places(shape)
    same = builder().emit1("eq", [rows, columns])
    return builder().emit1("cast", [same], {"dtype": like.dtype})


def identity_minus(x: Value) -> Value:
    return on_diagonal(-x, 1.0 - x)


def between(x: Value, axis: int, start: Value, stop: Value) -> Value:
    """x[start:stop] along an axis."""
    axis %= x.rank
    spec = "".join("s" if k == axis else ":" for k in range(x.rank))
    length = stop if isinstance(start, Const) and start.value == 0 else stop - start
    if isinstance(start, Const) and isinstance(stop, Const):
        length = const(int(stop.value) - int(start.value))
    return builder().emit1("index", [x, start, length, const(1)], {"spec": spec})


def smaller_extent(x: Value) -> Value:
    """min(rows, columns)"""
    return least(extent(x, x.rank - 2), extent(x, x.rank - 1))
