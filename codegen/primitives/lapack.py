"""Routines that call LAPACK: factorizations, and what is made of singular values.

In: the type of the elements. Out: functions for Numba to compile, which take stacks of matrices in C order (see
`codegen.routines`). LAPACK is SciPy's, reached through the wrappers that Numba brings for its own `np.linalg`; they
give back LAPACK's `info` (0: all went well), which becomes the status. LAPACK sees the rows of a matrix in C order as
columns, so what it factors is the transpose.

The wrappers raise where an argument is invalid, so nothing empty gets to them, and nothing that is not finite gets to
those that look for it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types

from ...ir.ops.matrix_functions import PADE, THETA
from .compiled import compiled
from .dense import solve_lu
from .products import product
from .whole import copy, fill

__all__ = ["IMPLEMENTATIONS"]

Maker = Callable[[Any], Callable[..., None]]


class Lapack(NamedTuple):
    """The wrappers for one type of elements, what they are told about it, and the integers that they use."""

    getrf: Any
    potrf: Any
    syevd: Any
    gesdd: Any
    geqrf: Any
    orgqr: Any
    kind: int
    integer: Any


@cache
def lapack(kind: Any) -> Lapack:
    module: Any = importlib.import_module("numba.np.linalg")
    routines = module._LAPACK()
    return Lapack(
        routines.numba_xxgetrf(kind),
        routines.numba_xxpotrf(kind),
        routines.numba_ez_xxxevd(kind),
        routines.numba_ez_gesdd(kind),
        routines.numba_ez_geqrf(kind),
        routines.numba_ez_xxgqr(kind),
        ord("s" if kind == types.float32 else "d"),
        module.F_INT_nptype,
    )


@compiled
def all_finite(a: Any) -> Any:
    total = a.dtype.type(0)
    for x in a.flat:
        total += x * 0
    return total == 0


@compiled
def turn(out: Any, a: Any) -> None:
    """out = aᵀ"""
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            out[j, i] = a[i, j]


# ---------------------------------------------------------------- factorizations


def lu_factor(kind: Any) -> Callable[..., None]:
    factor = lu_in_place(kind)

    def run(factors: Any, pivots: Any, status: Any, a: Any) -> None:
        copy(factors, a)
        status[0] = 0
        for s in range(a.shape[0]):
            info = factor(factors[s], pivots[s])
            if status[0] == 0:
                status[0] = info

    return run


@cache
def lu_in_place(kind: Any) -> Any:
    getrf, code, integer = lapack(kind).getrf, lapack(kind).kind, lapack(kind).integer

    @compiled
    def factor(a: Any, pivots: Any) -> Any:
        """a becomes its factors; gives the number of the first pivot that is 0, or 0."""
        n = a.shape[0]
        if n == 0:
            return 0
        places = np.empty(n, integer)
        info = getrf(code, n, n, a.ctypes, n, places.ctypes)
        for k in range(n):
            pivots[k] = places[k] - 1
        return info

    return factor


def cholesky_factor(kind: Any) -> Callable[..., None]:
    potrf, code, upper = lapack(kind).potrf, lapack(kind).kind, ord("U")

    def run(out: Any, status: Any, a: Any) -> None:
        copy(out, a)
        status[0] = 0
        n = a.shape[1]
        for s in range(a.shape[0]):
            one = out[s]
            info = potrf(code, upper, n, one.ctypes, n) if n else 0
            if status[0] == 0:
                status[0] = info
            for i in range(n):
                for j in range(i + 1, n):
                    one[i, j] = 0

    return run


def eigh_factor(kind: Any) -> Callable[..., None]:
    syevd, code = lapack(kind).syevd, lapack(kind).kind
    vectors, from_lower, from_upper = ord("V"), ord("L"), ord("U")

    def run(w: Any, v: Any, status: Any, a: Any, lower: Any) -> None:
        status[0] = 0
        n = a.shape[1]
        work = np.empty((n, n), a.dtype)
        for s in range(a.shape[0]):
            if n == 0:
                continue
            turn(work, a[s])  # as NumPy passes it, so that the signs of the vectors are NumPy's
            info = 0
            if all_finite(work):
                info = syevd(code, vectors, from_lower if lower else from_upper, n, work.ctypes, n, w[s].ctypes)
            else:
                fill(work, np.nan)
                fill(w[s], np.nan)
            if status[0] == 0:
                status[0] = info
            turn(v[s], work)

    return run


@cache
def svd_of(kind: Any) -> Any:
    gesdd, code, small = lapack(kind).gesdd, lapack(kind).kind, ord("S")

    @compiled
    def decompose(u: Any, values: Any, vt: Any, a: Any) -> Any:
        """As NumPy calls it, so that the signs of the vectors are NumPy's."""
        m, n = a.shape
        k = min(m, n)
        if k == 0:
            return 0
        if not all_finite(a):
            fill(u, np.nan)
            fill(values, np.nan)
            fill(vt, np.nan)
            return 1
        columns, left, right = np.empty((n, m), a.dtype), np.empty((k, m), a.dtype), np.empty((n, k), a.dtype)
        turn(columns, a)
        info = gesdd(code, small, m, n, columns.ctypes, m, values.ctypes, left.ctypes, m, right.ctypes, k)
        turn(u, left)
        turn(vt, right)
        return info

    return decompose


def svd_factor(kind: Any) -> Callable[..., None]:
    decompose = svd_of(kind)

    def run(u: Any, values: Any, vt: Any, status: Any, a: Any) -> None:
        status[0] = 0
        for s in range(a.shape[0]):
            info = decompose(u[s], values[s], vt[s], a[s])
            if status[0] == 0:
                status[0] = info

    return run


def qr_factor(kind: Any) -> Callable[..., None]:
    geqrf, orgqr, code = lapack(kind).geqrf, lapack(kind).orgqr, lapack(kind).kind

    def run(q: Any, r: Any, a: Any) -> None:
        m, n = a.shape[1], a.shape[2]
        k = min(m, n)
        work = np.empty((n, m), a.dtype)
        scales = np.empty(k, a.dtype)
        for s in range(a.shape[0]):
            if k == 0:
                continue
            turn(work, a[s])
            geqrf(code, m, n, work.ctypes, m, scales.ctypes)
            for i in range(k):
                for j in range(n):
                    r[s, i, j] = work[j, i] if i <= j else 0
            orgqr(code, m, k, k, work.ctypes, m, scales.ctypes)
            turn(q[s], work[:k])

    return run


# ---------------------------------------------------------------- cofactors


@cache
def bases(kind: Any) -> Any:
    decompose, factor = svd_of(kind), lu_in_place(kind)

    @compiled
    def find(a: Any) -> Any:
        """Singular vectors and values of A, and the determinant, 1 or -1, of the two bases together."""
        n = a.shape[0]
        u, values, vt = np.empty((n, n), a.dtype), np.empty(n, a.dtype), np.empty((n, n), a.dtype)
        decompose(u, values, vt, a)
        sign = a.dtype.type(1)
        pivots = np.empty(n, np.int64)
        for basis in (u.copy(), vt.copy()):
            factor(basis, pivots)
            for k in range(n):
                if (basis[k, k] < 0) != (pivots[k] != k):
                    sign = -sign
        return u, values, vt, sign

    return find


def cofactors(kind: Any) -> Callable[..., None]:
    """From the inverse where that is accurate, else from the singular values."""
    find, factor = bases(kind), lu_in_place(kind)
    limit = 1e2 if kind == types.float32 else 1e4

    def run(out: Any, a: Any) -> None:
        n = a.shape[1]
        work, pivots = np.empty((n, n), a.dtype), np.empty(n, np.int64)
        for s in range(a.shape[0]):
            one = out[s]
            for i in range(n):
                for j in range(n):
                    work[i, j] = a[s, i, j]
                    one[i, j] = i == j
            info = factor(work, pivots)
            det = a.dtype.type(1)
            for k in range(n):
                det *= work[k, k] if pivots[k] == k else -work[k, k]
            if info == 0 and det != 0:
                solve_lu(work, pivots, one, True)
                if greatest_sum(a[s]) * greatest_sum(one) <= limit:
                    for i in range(n):
                        for j in range(n):
                            one[i, j] *= det
                    continue
            u, values, vt, sign = find(a[s])
            for j in range(n):
                others = sign
                for k in range(n):
                    if k != j:
                        others *= values[k]
                for i in range(n):
                    u[i, j] *= others
            product(one, u, vt)

    return run


@compiled
def greatest_sum(a: Any) -> Any:
    """The greatest sum of sizes in a row: a norm."""
    norm = a.dtype.type(0)
    for i in range(a.shape[0]):
        total = a.dtype.type(0)
        for j in range(a.shape[1]):
            total += abs(a[i, j])
        norm = total if not total <= norm else norm
    return norm


def cofactors_along(kind: Any) -> Callable[..., None]:
    find = bases(kind)

    def run(out: Any, a: Any, z: Any) -> None:
        n = a.shape[1]
        half, inner, moved = np.empty((n, n), a.dtype), np.empty((n, n), a.dtype), np.zeros((n, n), a.dtype)
        other = np.empty((n, n), a.dtype)
        for s in range(a.shape[0]):
            u, values, vt, sign = find(a[s])
            turn(half, u)
            product(inner, half, z[s])
            turn(other, vt)
            product(half, inner, other)
            fill(moved, 0)
            for i in range(n):
                for j in range(i):
                    others = sign
                    for k in range(n):
                        if k != i and k != j:
                            others *= values[k]
                    moved[i, j] = -others * half[j, i]
                    moved[j, i] = -others * half[i, j]
                    moved[i, i] += others * half[j, j]
                    moved[j, j] += others * half[i, i]
            product(inner, u, moved)
            product(out[s], inner, vt)

    return run


# ---------------------------------------------------------------- the exponential


SUM, PRODUCT, ODD = 4, 5, 6
STEPS = (  # of the Padé approximant: which slots are multiplied, into which one
    (0, 0, 1),
    (1, 1, 2),
    (2, 1, 3),
    (3, SUM, PRODUCT),
    (0, SUM, ODD),
    (3, SUM, PRODUCT),
)
SUMS = (  # before the last three products, and at the end: coefficients of the latest product, x⁶, x⁴, x² and 1
    (0.0, PADE[13], PADE[11], PADE[9], 0.0),
    (1.0, PADE[7], PADE[5], PADE[3], PADE[1]),
    (0.0, PADE[12], PADE[10], PADE[8], 0.0),
    (1.0, PADE[6], PADE[4], PADE[2], PADE[0]),
)


def matrix_exp(kind: Any) -> Callable[..., None]:
    factor = lu_in_place(types.float64)

    def run(out: Any, a: Any) -> None:
        n = a.shape[1]
        slots = np.empty((7, n, n))  # x, x², x⁴, x⁶, then a sum, a product, and the odd part
        pivots = np.empty(n, np.int64)
        for s in range(a.shape[0]):
            squarings = load_scaled(slots[0], a[s])
            if squarings < 0:
                fill(slots[0], np.nan)
            for step in range(6 if squarings >= 0 else 0):
                left, right, into = STEPS[step]
                if step >= 3:
                    weighted(slots, SUMS[step - 3])
                product(slots[into], slots[left], slots[right])
            if squarings >= 0:
                weighted(slots, SUMS[3])
                for i in range(n):
                    for j in range(n):
                        even, odd = slots[SUM, i, j], slots[ODD, i, j]
                        slots[SUM, i, j] = even - odd
                        slots[0, i, j] = even + odd
                factor(slots[SUM], pivots)
                solve_lu(slots[SUM], pivots, slots[0], False)
            at = 0
            for _ in range(squarings):
                product(slots[1 - at], slots[at], slots[at])
                at = 1 - at
            for i in range(n):
                for j in range(n):
                    out[s, i, j] = slots[at, i, j]

    return run


@compiled
def load_scaled(x: Any, a: Any) -> Any:
    """x = a / 2^k with a 1-norm of at most `THETA`; gives k, or -1 where a is not finite."""
    n = a.shape[0]
    norm = 0.0
    for j in range(n):
        total = 0.0
        for i in range(n):
            total += abs(a[i, j])
        norm = total if not total <= norm else norm
    if not norm < np.inf:
        return -1
    squarings = 0
    while norm > THETA:
        norm *= 0.5
        squarings += 1
    scale = 0.5**squarings
    for i in range(n):
        for j in range(n):
            x[i, j] = scale * a[i, j]
    return squarings


@compiled
def weighted(slots: Any, c: Any) -> None:
    n = slots.shape[1]
    for i in range(n):
        for j in range(n):
            powers = c[1] * slots[3, i, j] + c[2] * slots[2, i, j] + c[3] * slots[1, i, j]
            slots[SUM, i, j] = powers + c[0] * slots[PRODUCT, i, j] if c[0] else powers
        slots[SUM, i, i] += c[4]


IMPLEMENTATIONS: dict[str, Maker] = {
    "lu_factor": lu_factor,
    "cholesky_factor": cholesky_factor,
    "eigh_factor": eigh_factor,
    "svd_factor": svd_factor,
    "qr_factor": qr_factor,
    "cofactors": cofactors,
    "cofactors_along": cofactors_along,
    "matrix_exp": matrix_exp,
}
