"""Bindings of products: matmul, vecdot and its kin, vdot, outer, kron, cross, trace.

In: arrays as abstract values. Out: compositions of the operation ``matmul``, of elementwise products, and of sums. A
product of stacks of matrices is a loop of products, which copies no operand that is broadcast.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const
from ..ir.types import BOOL, I64, DType
from . import bind_elementwise, bind_join, bind_shape, integers, numeric, views
from .bind_elementwise import apply
from .bind_reduce import SUM
from .bind_sequences import run_template
from .context import Tracer
from .numeric import cast, element
from .values import Number, Reference

__all__ = ["as_kind", "matmul", "register"]


def as_kind(t: Tracer, x: Any, kind: DType) -> Any:
    """A number or an array in a dtype."""
    if isinstance(x, Reference):
        return x if x.dtype is kind else t.new_array(cast(t, views.read(t, x), kind), views.extents(t, x))
    return Number(cast(t, numeric.scalar_value(t, x), kind))


# ---------------------------------------------------------------- matmul

STACK = """
def stack(a, b, out, product):
    for k in range(out.shape[0]):
        {statement}
"""


def stack_text(has_a: bool, has_b: bool, nested: bool) -> str:
    """The loop over a stack, for operands that have its first axis or are broadcast along it."""
    a, b = "a[k]" if has_a else "a", "b[k]" if has_b else "b"
    return STACK.format(statement=f"product({a}, {b}, out=out[k])" if nested else f"out[k] = product({a}, {b})")


def matmul(t: Tracer, x1: Any, x2: Any, out: Any = None, what: str = "`@`") -> Any:
    """np.matmul and `@`: of vectors, matrices, and stacks of matrices."""
    from .bind_ufuncs import into

    a, b = element(t, x1, what), element(t, x2, what)
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        t.type_error(f"{what} takes arrays, not numbers", "use `*` with a number")
    kind = bind_elementwise.result_dtype(t, a, b)
    if kind is BOOL:
        t.type_error(f"{what} of booleans", "convert with `.astype(float)`")
    numeric.agree(t, views.extent(t, a, a.rank - 1), views.extent(t, b, max(b.rank - 2, 0)), f"inner extents of {what}")
    a, b = as_kind(t, a, kind), as_kind(t, b, kind)
    if a.rank <= 2 and b.rank <= 2:
        return into(t, simple(t, a, b), out, what)
    if b.rank == 1:
        return into(t, SUM(t, apply(t, np.multiply, a, b), -1, dtype=kind.numpy), out, what)
    if a.rank == 1:
        column = views.select(t, a, [None, "new"])
        return into(t, SUM(t, apply(t, np.multiply, column, b), -2, dtype=kind.numpy), out, what)
    if b.rank == 2:  # one product of all rows
        own = views.extents(t, a)
        rows = views.reshaped(t, a, [bind_shape.product(t, own[:-1]), own[-1]])
        shape = [*own[:-1], views.extent(t, b, 1)]
        return into(t, views.reshaped(t, simple(t, rows, b), shape), out, what)
    return stacks(t, a, b, out, what)


def simple(t: Tracer, a: Reference, b: Reference) -> Any:
    value = t.emit1("matmul", [views.read(t, a), views.read(t, b)])
    return numeric.wrap(t, value, [*views.extents(t, a)[:-1], *views.extents(t, b)[1:]])


def stacks(t: Tracer, a: Reference, b: Reference, out: Any, what: str) -> Any:
    """A loop over the first axis of stacks, of which either may be broadcast."""
    own, other = views.extents(t, a), views.extents(t, b)
    shape = [*numeric.broadcast_shapes(t, [own[:-2], other[:-2]], f"stacks of {what}"), own[-2], other[-1]]
    target = out
    if target is None:
        target = t.new_array(t.emit1("empty", shape, {"dtype": a.dtype}), shape)
    depth = len(shape) - 2

    def first(x: Reference) -> tuple[Reference, bool]:
        """An operand without its first axis where that is broadcast; and whether it has it."""
        if x.rank - 2 < depth:
            return x, False
        if integers.known(views.extent(t, x, 0)) == 1 and integers.known(shape[0]) != 1:
            return views.select(t, x, [(Const(0, I64),), *[None] * (x.rank - 1)]), False
        return x, True

    (a, has_a), (b, has_b) = first(a), first(b)
    run_template(t, stack_text(has_a, has_b, depth > 1), [a, b, target, np.matmul])
    return target


def vdot(t: Tracer, a: Any, b: Any) -> Any:
    a, b = element(t, a, "np.vdot"), element(t, b, "np.vdot")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return apply(t, np.multiply, a, b)
    return matmul(t, bind_shape.ravel(t, a), bind_shape.ravel(t, b), what="np.vdot")


def by_signature(name: str) -> Any:
    """np.vecdot, np.matvec, np.vecmat: vectors and matrices in the last axes, everything before broadcast."""
    first, second, summed_axis = {"vecdot": (1, 1, -1), "matvec": (2, 1, -1), "vecmat": (1, 2, -2)}[name]
    what = f"np.{name}"

    def binding(t: Tracer, x1: Any, x2: Any, out: Any = None, axis: Any = -1) -> Any:
        from .bind_ufuncs import into

        a, b = numeric.as_reference(t, x1, what), numeric.as_reference(t, x2, what)
        if axis != -1:
            if name != "vecdot":
                t.type_error(f"{what} has no single axis", "move the axes with np.moveaxis")
            a, b = (bind_shape.moveaxis(t, x, axis, -1) for x in (a, b))
        if a.rank < first or b.rank < second:
            t.shape_error(f"{what} of arrays of {a.rank} and {b.rank} axes")
        at = b.rank + (summed_axis if second == 2 else -1)
        numeric.agree(t, views.extent(t, a, a.rank - 1), views.extent(t, b, at), f"the inner extents of {what} differ")
        if a.rank == first and b.rank == second:
            return into(t, matmul(t, a, b, what=what), out, what)
        if first == 2:
            b = views.select(t, b, [None] * (b.rank - 1) + ["new", None])
        if second == 2:
            a = views.select(t, a, [None] * a.rank + ["new"])
        return into(t, SUM(t, apply(t, np.multiply, a, b), summed_axis), out, what)

    return binding


# ---------------------------------------------------------------- outer products


def outer(t: Tracer, a: Any, b: Any, out: Any = None) -> Any:
    from .bind_ufuncs import into

    u, v = (bind_shape.flat(t, element(t, x, "np.outer")) for x in (a, b))
    product = apply(t, np.multiply, views.select(t, u, [None, "new"]), views.select(t, v, ["new", None]))
    return into(t, product, out, "np.outer")


def kron(t: Tracer, a: Any, b: Any) -> Any:
    """np.kron: every element of one times the other, in blocks."""
    a, b = element(t, a, "np.kron"), element(t, b, "np.kron")
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return apply(t, np.multiply, a, b)
    rank = max(a.rank, b.rank)
    a, b = (views.select(t, x, ["new"] * (rank - x.rank) + [None] * x.rank) for x in (a, b))
    left: list[Any] = [None, "new"] * rank
    right: list[Any] = ["new", None] * rank
    value = apply(t, np.multiply, views.select(t, a, left), views.select(t, b, right))
    shape = [integers.mul(t, x, y) for x, y in zip(views.extents(t, a), views.extents(t, b))]
    return views.reshaped(t, value, shape)


def cross(t: Tracer, a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Any:
    """np.cross of vectors of three along an axis."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = numeric.as_reference(t, a, "np.cross"), numeric.as_reference(t, b, "np.cross")
    a, b = bind_shape.moveaxis(t, a, axisa, -1), bind_shape.moveaxis(t, b, axisb, -1)
    for ref in (a, b):
        numeric.agree(t, views.extent(t, ref, ref.rank - 1), Const(3, I64), "np.cross takes vectors of 3")

    def at(ref: Reference, k: int) -> Any:
        part = views.select(t, ref, [None] * (ref.rank - 1) + [(Const(k, I64),)])
        return part if part.rank else Number(views.read(t, part))

    def component(i: int, j: int) -> Any:
        return apply(
            t, np.subtract, apply(t, np.multiply, at(a, i), at(b, j)), apply(t, np.multiply, at(a, j), at(b, i))
        )

    parts = (component(1, 2), component(2, 0), component(0, 1))
    stacked = bind_join.stack(t, parts, -1)
    return bind_shape.moveaxis(t, stacked, -1, axisc)


def trace(
    t: Tracer, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    return SUM(t, bind_shape.diagonal(t, a, offset, axis1, axis2), -1, dtype, out)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.matmul: lambda t, x1, x2, out=None: matmul(t, x1, x2, out),
            np.vdot: vdot,
            np.outer: outer,
            np.kron: kron,
            np.cross: cross,
            np.trace: trace,
            np.vecdot: by_signature("vecdot"),
            np.matvec: by_signature("matvec"),
            np.vecmat: by_signature("vecmat"),
        }
    )
