"""Products of vectors and matrices.

In: the declaration helpers. Out: registry entries. `matmul` takes operands of rank 1 or 2 in all four combinations;
`dot`, `inner`, `vdot`, `vecdot`, `matvec` and `vecmat` are this operation, `outer` is a product of two broadcasts
(so that it fuses). That the inner extents agree is checked by the tracer.

    %c: f64[?,?] = matmul %A, %B        %y: f64[?] = matmul %A, %x        %s: f64 = matmul %x, %y
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Op, Region, Value, builder
from ..types import Array, Type, make
from .analytic import parts, with_parts
from .declare import OpDef, declare, extent

__all__ = ["matmul", "outer"]


def infer_matmul(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    a, b = (x.type for x in operands)
    if not isinstance(a, Array) or not isinstance(b, Array) or max(a.rank, b.rank) > 2:
        raise TypeError(f"matmul of {a} and {b}: vectors and matrices only")
    if a.dtype is not b.dtype or a.dtype.kind == "b":
        raise TypeError(f"matmul of {a} and {b}: cast first")
    inner = {d for d in (a.dims[-1], b.dims[0]) if d is not None}
    if len(inner) > 1:
        raise TypeError(f"matmul of {a} and {b}: the inner extents differ")
    return [make(a.dtype, a.dims[:-1] + b.dims[1:])]


def matmul_extents(op: Op) -> list[list[Value]]:
    a, b = op.operands
    return [[extent(a, k) for k in range(a.rank - 1)] + [extent(b, k) for k in range(1, b.rank)]]


def product_of_parts(a: Any, b: Any) -> Any:
    """The complex product without the square of the imaginary parts, so with the real part of a real run."""
    (ar, ai), (br, bi) = parts(a), parts(b)
    return with_parts(np.matmul(ar, br), np.matmul(ar, bi) + np.matmul(ai, br))


def outer(u: Value, v: Value) -> Value:
    """The matrix u[i] * v[j]."""
    shape = [extent(u, 0), extent(v, 0)]
    rows = builder().emit1("broadcast", [u, *shape], {"axes": (0,)})
    columns = builder().emit1("broadcast", [v, *shape], {"axes": (1,)})
    return rows * columns


def turned(a: Value) -> Value:
    return builder().emit1("transpose", [a], {"perm": (1, 0)})


def product(a: Value, b: Value) -> Value:
    return builder().emit1("matmul", [a, b])


def matmul_transpose(a: Value, b: Value, *, dy: Value) -> tuple[Any, Any]:
    ranks = (a.rank, b.rank)
    if ranks == (1, 1):
        return lambda: dy * b, lambda: dy * a
    if ranks == (2, 1):
        return lambda: outer(dy, b), lambda: product(dy, a)
    if ranks == (1, 2):
        return lambda: product(b, dy), lambda: outer(a, dy)
    return lambda: product(dy, turned(b)), lambda: product(turned(a), dy)


matmul = declare(
    OpDef(
        "matmul",
        infer_matmul,
        evaluate=np.matmul,
        evaluate_complex=product_of_parts,
        bilinear=True,
        transpose=matmul_transpose,
        extents=matmul_extents,
        numpy=(np.matmul,),
        domain=[([(3, 4), (4, 2)], {}), ([(3, 4), (4,)], {}), ([(3,), (3, 2)], {}), ([(5,), (5,)], {})],
        cost=100,
    )
)
