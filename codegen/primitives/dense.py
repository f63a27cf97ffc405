"""Routines on small dense matrices as loops: triangular systems, and what is made of factors.

In: the type of the elements. Out: functions for Numba to compile, which take stacks of matrices in C order (see
`codegen.routines`). Inner loops run along rows, so they vectorize over right-hand sides; of large systems, most of
the work is left to BLAS (`blas`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .blas import subtract_product
from .compiled import compiled
from .products import product
from .whole import copy

__all__ = ["IMPLEMENTATIONS", "solve_lu"]

BLOCK = 48
LARGE = 2 * BLOCK**3
"""Systems with fewer multiplications than this are solved by loops alone."""

Maker = Callable[[Any], Callable[..., None]]


@compiled
def substitute_rows(t: Any, x: Any, low: Any, high: Any, lower: Any, transposed: Any, unit: Any) -> None:
    """Those rows of x become T⁻¹ x (`transposed`: T⁻ᵀ x), with that diagonal block of T for T."""
    width = x.shape[1]
    downwards = lower != transposed
    for step in range(high - low):
        i = low + step if downwards else high - 1 - step
        start, stop = (low, i) if lower else (i + 1, high)
        if not transposed:
            for k in range(start, stop):
                factor = t[i, k]
                for j in range(width):
                    x[i, j] -= factor * x[k, j]
        if not unit:
            pivot = t[i, i]
            for j in range(width):
                x[i, j] /= pivot
        if transposed:
            for k in range(start, stop):
                factor = t[i, k]
                for j in range(width):
                    x[k, j] -= factor * x[i, j]


@compiled
def substitute(t: Any, x: Any, lower: Any, transposed: Any, unit: Any) -> None:
    """x becomes T⁻¹ x (`transposed`: T⁻ᵀ x), looking at one triangle of T: diagonal blocks by loops, the rest by BLAS
    where there is enough of it."""
    n, width = x.shape
    block = BLOCK if n * n * width >= LARGE else max(n, 1)
    blocks = (n + block - 1) // block
    downwards = lower != transposed
    for step in range(blocks):
        low = block * (step if downwards else blocks - 1 - step)
        high = min(low + block, n)
        substitute_rows(t, x, low, high, lower, transposed, unit)
        start, stop = (high, n) if downwards else (0, low)
        if start < stop:  # x[start:stop] -= T[start:stop, low:high] @ x[low:high]
            at = low * n + start if transposed else start * n + low
            subtract_product(x, start * width, t, at, transposed, x, low * width, stop - start, high - low)


@compiled
def solve_lu(factors: Any, pivots: Any, x: Any, transposed: Any) -> None:
    """x becomes A⁻¹ x. The factors are of Aᵀ = P L U and stand as (L\\U)ᵀ."""
    n = x.shape[0]
    if transposed:
        for k in range(n):
            exchange(x, k, pivots[k])
    for half in range(2):  # one place where it is called is compiled once
        unit = (half == 0) == transposed
        substitute(factors, x, not unit, transposed, unit)
    if not transposed:
        for step in range(n):
            k = n - 1 - step
            exchange(x, k, pivots[k])


@compiled
def exchange(x: Any, i: Any, j: Any) -> None:
    if i != j:
        for k in range(x.shape[1]):
            x[i, k], x[j, k] = x[j, k], x[i, k]


# ---------------------------------------------------------------- routines


def solve_factored(kind: Any) -> Callable[..., None]:
    def run(out: Any, b: Any, factors: Any, pivots: Any, transposed: Any) -> None:
        copy(out, b)
        for s in range(out.shape[0]):
            solve_lu(factors[s], pivots[s], out[s], transposed)

    return run


def solve_triangular(kind: Any) -> Callable[..., None]:
    def run(out: Any, t: Any, b: Any, lower: Any, transposed: Any, unit: Any) -> None:
        copy(out, b)
        for s in range(out.shape[0]):
            substitute(t[s], out[s], lower, transposed, unit)

    return run


def det_factored(kind: Any) -> Callable[..., None]:
    def run(out: Any, factors: Any, pivots: Any) -> None:
        for s in range(out.shape[0]):
            total = kind(1)
            for k in range(pivots.shape[1]):
                total *= factors[s, k, k] if pivots[s, k] == k else -factors[s, k, k]
            out[s] = total

    return run


def logdet_factored(kind: Any) -> Callable[..., None]:
    def run(out: Any, factors: Any, pivots: Any) -> None:
        for s in range(out.shape[0]):
            total = kind(0)
            for k in range(pivots.shape[1]):
                total += kind(math.log(abs(factors[s, k, k])))
            out[s] = total

    return run


def lu_sign(kind: Any) -> Callable[..., None]:
    def run(out: Any, factors: Any, pivots: Any) -> None:
        for s in range(out.shape[0]):
            total = kind(1)
            for k in range(pivots.shape[1]):
                x = factors[s, k, k]
                sign = x if x != x else kind(1) if x > 0 else kind(-1) if x < 0 else kind(0)
                total *= sign if pivots[s, k] == k else -sign
            out[s] = total

    return run


def stack_matmul(kind: Any) -> Callable[..., None]:
    def run(out: Any, a: Any, b: Any) -> None:
        for s in range(out.shape[0]):
            product(out[s], a[s], b[s])

    return run


IMPLEMENTATIONS: dict[str, Maker] = {
    "solve_factored": solve_factored,
    "solve_triangular": solve_triangular,
    "det_factored": det_factored,
    "logdet_factored": logdet_factored,
    "lu_sign": lu_sign,
    "stack_matmul": stack_matmul,
}
