"""Matrix products: BLAS where it pays, loops where the call would cost more than the work.

In: buffers. Out: nothing; the first operand is overwritten with the product of the others, either of which may be meant
transposed (`matmul_tn`: the first one).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from .compiled import compiled

__all__ = ["FUNCTIONS"]

SMALL = 4096
"""Products of fewer multiplications than this are done by loops."""


def product(out: Any, a: Any, b: Any) -> None:
    """out = a @ b"""
    np.matmul(a, b, out)


def by_rows(out: Any, a: Any, b: Any) -> None:
    rows, inner = a.shape
    columns = b.shape[1]
    for i in range(rows):
        for j in range(columns):
            out[i, j] = 0
        for k in range(inner):
            factor = a[i, k]
            for j in range(columns):
                out[i, j] += factor * b[k, j]


loops = compiled(by_rows)


def by_size(out: Any, a: Any, b: Any) -> None:
    if a.shape[0] * a.shape[1] * b.shape[1] >= SMALL:
        np.dot(a, b, out)
    else:
        loops(out, a, b)


def choose(out: Any, a: Any, b: Any) -> Any:
    """What `product` is in a kernel: BLAS has no products of integers."""
    return by_size if isinstance(out.dtype, types.Float) else by_rows


overload(product, strict=False, jit_options={"nogil": True})(choose)


@compiled
def matmul(out: Any, a: Any, b: Any) -> None:
    """out = a @ b"""
    product(out, a, b)


@compiled
def matmul_nt(out: Any, a: Any, b: Any) -> None:
    """out = a @ b.T"""
    product(out, a, b.T)


@compiled
def matmul_tn(out: Any, a: Any, b: Any) -> None:
    """out = a.T @ b"""
    product(out, a.T, b)


@compiled
def matmul_tt(out: Any, a: Any, b: Any) -> None:
    """out = a.T @ b.T"""
    product(out, a.T, b.T)


def of_parts(left: bool, right: bool, add: bool) -> Callable[..., Any]:
    @compiled
    def part_product(
        out: Any,
        a: Any,
        b: Any,
        i: Any,
        j: Any,
        ai: Any,
        aj: Any,
        bi: Any,
        bj: Any,
        rows: Any,
        columns: Any,
        inner: Any,
    ) -> None:
        """A part of out (+)= a part of a @ a part of b"""
        part = np.empty((rows, columns), out.dtype)
        x = a[ai : ai + (inner if left else rows), aj : aj + (rows if left else inner)].copy()
        y = b[bi : bi + (columns if right else inner), bj : bj + (inner if right else columns)].copy()
        if left and right:
            product(part, x.T, y.T)
        elif left:
            product(part, x.T, y)
        elif right:
            product(part, x, y.T)
        else:
            product(part, x, y)
        for r in range(rows):
            for c in range(columns):
                if add:
                    out[i + r, j + c] += part[r, c]
                else:
                    out[i + r, j + c] = part[r, c]

    return part_product


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "matmul": matmul,
    "matmul_nt": matmul_nt,
    "matmul_tn": matmul_tn,
    "matmul_tt": matmul_tt,
    **{f"add_product_{a}{b}": of_parts(a == "t", b == "t", True) for a in "nt" for b in "nt"},
    **{f"put_product_{a}{b}": of_parts(a == "t", b == "t", False) for a in "nt" for b in "nt"},
}
