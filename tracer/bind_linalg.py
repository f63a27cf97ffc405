"""Bindings of products: `@`, dot, matmul, outer, inner, vdot, kron, cross.

In: arrays as abstract values. Out: the operation ``matmul`` for vectors and matrices, and compositions of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.types import BOOL
from . import bind_elementwise, numeric, views
from .bind_elementwise import apply
from .bind_shape import ravel
from .context import Tracer
from .numeric import cast, element
from .values import Reference

__all__ = ["dot", "matmul", "register"]


def matmul(t: Tracer, x1: Any, x2: Any, out: Any = None) -> Any:
    """np.matmul and `@`."""
    a, b = element(t, x1, "`@`"), element(t, x2, "`@`")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        t.type_error("`@` takes arrays, not numbers", "use `*` with a number")
    if a.rank > 2 or b.rank > 2:
        return batched(t, a, b)
    return product(t, a, b, "`@`")


def product(t: Tracer, a: Reference, b: Reference, what: str) -> Any:
    kind = bind_elementwise.result_dtype(t, a, b)
    if kind is BOOL:
        t.type_error(f"{what} of booleans", "convert with `.astype(float)`")
    left, right = views.extents(t, a), views.extents(t, b)
    numeric.agree(t, left[-1], right[0], f"inner extents of {what} differ")
    value = t.emit1("matmul", [cast(t, views.read(t, a), kind), cast(t, views.read(t, b), kind)])
    return numeric.wrap(t, value, [*left[:-1], *right[1:]])


def batched(t: Tracer, a: Reference, b: Reference) -> Any:
    """Products over leading axes: the sum over the inner axis of broadcast products."""
    if a.rank < 2 or b.rank < 2:
        t.unsupported(
            "`@` of a stack of matrices and a vector", "add an axis to the vector: `(A @ x[..., None])[..., 0]`"
        )
    left = views.select(t, a, [None] * a.rank + ["new"])
    right = views.select(t, b, [None] * (b.rank - 2) + ["new", None, None])
    own, other = views.extents(t, a), views.extents(t, b)
    numeric.agree(t, own[-1], other[-2], "inner extents of `@` differ")
    from .bind_reduce import SUM

    return SUM(t, apply(t, np.multiply, left, right), -2)


def dot(t: Tracer, a: Any, b: Any, out: Any = None) -> Any:
    """np.dot: products of numbers and of vectors and matrices."""
    a, b = element(t, a, "np.dot"), element(t, b, "np.dot")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return apply(t, np.multiply, a, b)
    if a.rank > 2 or b.rank > 2:
        t.unsupported("np.dot of arrays of more than two axes", "use `@`, or sum a product over an axis")
    result = product(t, a, b, "np.dot")
    if out is not None:
        from .indexing import fill_view

        fill_view(t, numeric.as_reference(t, out), result, same_kind=True)
        return out
    return result


def vdot(t: Tracer, a: Any, b: Any) -> Any:
    a, b = element(t, a, "np.vdot"), element(t, b, "np.vdot")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return apply(t, np.multiply, a, b)
    return product(t, ravel(t, a), ravel(t, b), "np.vdot")


def inner(t: Tracer, a: Any, b: Any) -> Any:
    """np.inner: the sum over the last axes."""
    a, b = element(t, a, "np.inner"), element(t, b, "np.inner")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return apply(t, np.multiply, a, b)
    if a.rank > 2 or b.rank > 2:
        t.unsupported("np.inner of arrays of more than two axes", "use `@`")
    return product(t, a, views.permuted(b, (1, 0)) if b.rank == 2 else b, "np.inner")


def outer(t: Tracer, a: Any, b: Any, out: Any = None) -> Any:
    a, b = element(t, a, "np.outer"), element(t, b, "np.outer")
    u, v = (flat(t, x) for x in (a, b))
    return apply(t, np.multiply, views.select(t, u, [None, "new"]), views.select(t, v, ["new", None]))


def flat(t: Tracer, x: Any) -> Reference:
    if isinstance(x, Reference):
        found = ravel(t, x)
    else:
        from .bind_shape import reshape

        found = reshape(t, x, (1,))
    assert isinstance(found, Reference)
    return found


def cross(t: Tracer, a: Any, b: Any, axis: Any = -1) -> Any:
    """np.cross of vectors of three."""
    from . import indexing
    from .bind_create import array

    a, b = numeric.as_reference(t, a, "np.cross"), numeric.as_reference(t, b, "np.cross")
    if a.rank != 1 or b.rank != 1:
        t.unsupported("np.cross of other than two vectors", "write out the three components")
    for ref in (a, b):
        numeric.agree(t, views.extent(t, ref, 0), numeric.scalar_value(t, 3), "np.cross takes vectors of 3")

    def part(i: int, j: int) -> Any:
        def at(ref: Reference, k: int) -> Any:
            return indexing.load(t, ref, k)

        return apply(
            t, np.subtract, apply(t, np.multiply, at(a, i), at(b, j)), apply(t, np.multiply, at(a, j), at(b, i))
        )

    return array(t, (part(1, 2), part(2, 0), part(0, 1)))


def kron(t: Tracer, a: Any, b: Any) -> Any:
    a, b = numeric.as_reference(t, a, "np.kron"), numeric.as_reference(t, b, "np.kron")
    if a.rank != b.rank or a.rank > 2:
        t.unsupported("np.kron of other than two vectors or two matrices", "use np.outer and reshape")
    from . import integers
    from .bind_shape import extent_number, reshape

    left: list[Any] = []
    right: list[Any] = []
    for _ in range(a.rank):
        left += [None, "new"]
        right += ["new", None]
    value = apply(t, np.multiply, views.select(t, a, left), views.select(t, b, right))
    shape = tuple(extent_number(integers.mul(t, x, y)) for x, y in zip(views.extents(t, a), views.extents(t, b)))
    return reshape(t, value, shape)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.matmul: matmul,
            np.dot: dot,
            np.vdot: vdot,
            np.inner: inner,
            np.outer: outer,
            np.cross: cross,
            np.kron: kron,
        }
    )
