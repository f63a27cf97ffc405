"""Routines on small dense matrices as loops: triangular systems, and what is made of factors.

In: the type of the elements. Out: functions for Numba to compile, which take stacks of matrices in C order (see
`codegen.routines`). Inner loops run along rows, so they vectorize over right-hand sides, a panel of which stays in the
cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from numba import njit

from .products import product

__all__ = ["IMPLEMENTATIONS", "solve_lu"]

PANEL = 64
"""How many right-hand sides are solved for at once."""

Maker = Callable[[Any], Callable[..., None]]


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def substitute(t: Any, x: Any, lower: Any, transposed: Any, unit: Any) -> None:
    """x becomes T⁻¹ x (`transposed`: T⁻ᵀ x), looking at one triangle of T only."""
    n, width = x.shape
    downwards = lower != transposed
    for left in range(0, width, PANEL):
        right = min(left + PANEL, width)
        for step in range(n):
            i = step if downwards else n - 1 - step
            start, stop = (0, i) if lower else (i + 1, n)
            if not transposed:
                for k in range(start, stop):
                    factor = t[i, k]
                    for j in range(left, right):
                        x[i, j] -= factor * x[k, j]
            if not unit:
                pivot = t[i, i]
                for j in range(left, right):
                    x[i, j] /= pivot
            if transposed:
                for k in range(start, stop):
                    factor = t[i, k]
                    for j in range(left, right):
                        x[k, j] -= factor * x[i, j]


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
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


@njit(nogil=True, error_model="numpy")  # type: ignore[untyped-decorator, unused-ignore]
def exchange(x: Any, i: Any, j: Any) -> None:
    if i != j:
        for k in range(x.shape[1]):
            x[i, k], x[j, k] = x[j, k], x[i, k]


# ---------------------------------------------------------------- routines


def solve_factored(kind: Any) -> Callable[..., None]:
    def run(out: Any, b: Any, factors: Any, pivots: Any, transposed: Any) -> None:
        out[:] = b
        for s in range(out.shape[0]):
            solve_lu(factors[s], pivots[s], out[s], transposed)

    return run


def solve_triangular(kind: Any) -> Callable[..., None]:
    def run(out: Any, t: Any, b: Any, lower: Any, transposed: Any, unit: Any) -> None:
        out[:] = b
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
