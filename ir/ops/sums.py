"""Sums of a cotangent over axes, of products before they are multiplied out.

In: an array value and axes. Out: its sums, by operations that are emitted here. What was repeated along an axis gets
the sum of the cotangents there; where these are a matrix product, the rows (or columns) of a factor are summed, and
the product is that of a vector and a matrix, so that the product of matrices is not needed for it:

    %c: f64[?,?] = matmul %a, %b                      %s: f64[?] = reduce_sum %a {axes=(0,)}
    %d: f64[?,?] = neg %c                       =>    %t: f64[?] = matmul %s, %b
    %e: f64[?] = reduce_sum %d {axes=(0,)}            %e: f64[?] = neg %t

This is for cotangents alone: what a program sums itself stays as it is written.
"""

from __future__ import annotations

from ..core import Value, builder

__all__ = ["summed_over"]


def summed_over(x: Value, axes: tuple[int, ...]) -> Value:
    """The sums of x over those axes."""
    op = x.op
    if axes in ((0,), (1,)) and x.rank == 2 and x.dtype.is_float and op is not None:
        if op.name == "neg":
            (inner,) = op.operands
            if inner.op is not None and inner.op.name == "matmul":
                return -summed_over(inner, axes)
        if op.name == "matmul" and all(v.rank == 2 for v in op.operands):
            factors = list(op.operands)
            which = axes[0]
            factors[which] = builder().emit1("reduce_sum", [factors[which]], {"axes": axes})
            return builder().emit1("matmul", factors)
    return builder().emit1("reduce_sum", [x], {"axes": axes})
