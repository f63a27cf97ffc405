"""Triangular and orthogonal factors of matrices, and the generalized inverse.

In: the declaration helpers. Out: registry entries. Each decomposition is two things: a factorization, which is data,
and the factors as functions of the matrix, which have derivatives and are given what was found:

    %L0, %s = cholesky_factor %A                  A = L Lᵀ, status k: the k-th pivot is not positive
    %L = cholesky %A, %L0
    %Q0, %R0 = qr_factor %A                       A = Q R, as many columns in Q as the smaller extent
    %Q = qr_orthogonal %A, %Q0, %R0               %R = qr_triangular …
    %P = pseudo_inverse %A, %P0                   the generalized inverse P0, found from the singular values

Of a symmetric matrix the lower triangle is looked at; elements of the other have the derivative 0, as in NumPy. Rules:
Giles 2008 (Cholesky), Walter and Lehmann 2010 (QR), Golub and Pereyra 1973 (generalized inverse).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Const, Value, builder, const
from .analytic import with_parts
from .declare import extent, extents_of, zeros_like
from .evaluation import attempt, back, reduced_svd, whole_symmetric
from .matrices import (
    between,
    half_triangle,
    product,
    smaller_extent,
    symmetric_from,
    triangle,
    turned,
)
from .routines import routine
from .solving import triangular

__all__: list[str] = []

Tangents = Sequence[Value | None]


# ---------------------------------------------------------------- Cholesky


def cholesky_real(a: Any) -> Any:
    return np.linalg.cholesky(np.real(a))


def cholesky_complex(a: Any, *rest: Any) -> Any:
    """The continuation: no conjugation anywhere."""
    full = whole_symmetric(a, True)
    out = np.zeros_like(full)
    for j in range(full.shape[-1]):
        rest_of = full[..., j:, j] - np.einsum("...ik,...k->...i", out[..., j:, :j], out[..., j, :j])
        out[..., j:, j] = rest_of / np.sqrt(rest_of[..., :1])
    return with_parts(cholesky_real(a), np.imag(out))


cholesky_factor = routine("cholesky_factor", "(n,n)->(n,n),:i64", lambda a: attempt(np.linalg.cholesky, a, [a.shape]))


def cholesky_cotangent(a: Value, found: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """L⁻ᵀ Φ(Lᵀ dy) L⁻¹ and its transpose, added; Φ and the result: the lower triangle, half the diagonal."""
    inner = half_triangle(product(turned(y), dy), lower=True)
    left = triangular(y, inner, lower=True, transposed=True)
    both = triangular(y, turned(left), lower=True, transposed=True)
    return half_triangle(both + turned(both), lower=True), None


def cholesky_tangent(a: Value, found: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """L Φ(L⁻¹ A' L⁻ᵀ); Φ: the lower triangle, half the diagonal."""
    if tangents[0] is None:
        return None
    left = triangular(y, symmetric_from(tangents[0], lower=True), lower=True)
    both = triangular(y, turned(left), lower=True)
    return product(y, half_triangle(turned(both), lower=True))


cholesky = routine(
    "cholesky",
    "(n,n),(n,n)->(n,n)",
    lambda a, found: cholesky_real(a),
    evaluate_complex=cholesky_complex,
    reads=(1,),
    known=1,
    vjp=cholesky_cotangent,
    jvp=cholesky_tangent,
    numpy=(np.linalg.cholesky,),
    kinks="a matrix that is not positive definite is an error, as in NumPy; the other triangle has the derivative 0",
)

# ---------------------------------------------------------------- orthogonal-triangular


def qr_complex(which: int) -> Any:
    """A = Q R with Rᵀ R = Aᵀ A of the first columns, in the signs of the real run."""

    def evaluate(a: Any, *rest: Any) -> Any:
        q, r = np.linalg.qr(np.real(a))
        k = min(a.shape[-2:])
        square = a[..., :k]
        upper = back(cholesky_complex(back(square) @ square))
        signs = np.sign(np.diagonal(r[..., :k], axis1=-2, axis2=-1))
        upper = upper * signs[..., :, None]
        orthogonal = np.linalg.solve(back(upper), back(square))
        if which == 0:
            return with_parts(q, np.imag(back(orthogonal)))
        rest_of = orthogonal @ a[..., k:]
        return with_parts(r, np.imag(np.concatenate([upper, rest_of], axis=-1)))

    return evaluate


qr_factor = routine("qr_factor", "(m,n)->(m,k),(k,n);k=min(m,n)", lambda a: tuple(np.linalg.qr(np.real(a))))


def qr_part(name: str, a: Value, q: Value, r: Value) -> Value:
    return builder().emit1(name, [a, q, r])


def square_qr_cotangent(q: Value, r: Value, dq: Value | None, dr: Value | None) -> Value:
    """Of a matrix with at least as many rows as columns: M = R dRᵀ - dQᵀ Q, dA = (dQ + Q (lower M, mirrored)) R⁻ᵀ."""
    inner: Value | None = None
    if dr is not None:
        inner = product(r, turned(dr))
    if dq is not None:
        by_q = -product(turned(dq), q)
        inner = by_q if inner is None else inner + by_q
    assert inner is not None
    total = product(q, symmetric_from(inner, lower=True))
    if dq is not None:
        total = total + dq
    return turned(triangular(r, turned(total), lower=False))


def pieces(a: Value, r: Value) -> tuple[Value, Value, Value, Value]:
    """The first columns of A and R, as many as there are in Q, and the others (none, where A is tall)."""
    k, n = smaller_extent(a), extent(a, a.rank - 1)
    zero = const(0)
    return between(a, -1, zero, k), between(r, -1, zero, k), between(a, -1, k, n), between(r, -1, k, n)


def joined(first: Value, rest: Value) -> Value:
    return builder().emit1("concat", [first, rest], {"axis": first.rank - 1})


def is_tall(a: Value) -> bool:
    """Whether a matrix is known to have no more columns than rows."""
    m, n = extents_of(a)[-2:]
    return isinstance(m, Const) and isinstance(n, Const) and n.value <= m.value


def qr_orthogonal_cotangent(a: Value, q: Value, r: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """(dy + Q M) R⁻ᵀ; M: the lower triangle of -dyᵀ Q, mirrored."""
    upper = qr_part("qr_triangular", a, q, r)
    if is_tall(a):
        return square_qr_cotangent(y, upper, dy, None), None, None
    first, upper_first, rest, _ = pieces(a, upper)
    del first
    return joined(square_qr_cotangent(y, upper_first, dy, None), zeros_like(rest)), None, None


def qr_triangular_cotangent(a: Value, q: Value, r: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """Q M R⁻ᵀ; M: the lower triangle of R dyᵀ, mirrored; what R has beside is Qᵀ times the rest of A."""
    orthogonal = qr_part("qr_orthogonal", a, q, r)
    if is_tall(a):
        return square_qr_cotangent(orthogonal, y, None, triangle(dy, lower=False)), None, None
    _, upper, rest, _ = pieces(a, y)
    _, dr, _, d_rest = pieces(a, dy)
    dq = product(rest, turned(d_rest))
    first = square_qr_cotangent(orthogonal, upper, dq, triangle(dr, lower=False))
    return joined(first, product(orthogonal, d_rest)), None, None


def qr_tangents(da: Value, q: Value, r: Value) -> tuple[Value, Value]:
    """Of a matrix with at least as many rows as columns: with dA R⁻¹ = dQ + Q (dR R⁻¹), whose second factor is upper
    triangular, and Qᵀ dQ antisymmetric."""
    moved = turned(triangular(r, turned(da), lower=False, transposed=True))
    inner = product(turned(q), moved)
    skew = triangle(inner, lower=True, strict=True)
    skew = skew - turned(skew)
    upper = inner - skew
    return moved - product(q, upper), product(triangle(upper, lower=False), r)


def qr_orthogonal_tangent(a: Value, q: Value, r: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """A' R⁻¹ - Q U; U: Qᵀ A' R⁻¹ with its strictly lower triangle added to the upper, and taken away."""
    da = tangents[0]
    if da is None:
        return None
    upper = qr_part("qr_triangular", a, q, r)
    if is_tall(a):
        return qr_tangents(da, y, upper)[0]
    first, upper_first, _, _ = pieces(da, upper)
    return qr_tangents(first, y, upper_first)[0]


def qr_triangular_tangent(a: Value, q: Value, r: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """U R, with the U of the orthogonal factor."""
    da = tangents[0]
    if da is None:
        return None
    orthogonal = qr_part("qr_orthogonal", a, q, r)
    if is_tall(a):
        return qr_tangents(da, orthogonal, y)[1]
    first, upper, moved, _ = pieces(da, y)
    dq, dr = qr_tangents(first, orthogonal, upper)
    rest = pieces(a, y)[2]
    return joined(dr, product(turned(dq), rest) + product(turned(orthogonal), moved))


QR = "(m,n),(m,k),(k,n)->"
qr_orthogonal = routine(
    "qr_orthogonal",
    QR + "(m,k)",
    lambda a, *rest: np.linalg.qr(a)[0],
    evaluate_complex=qr_complex(0),
    reads=(1,),
    known=1,
    vjp=qr_orthogonal_cotangent,
    jvp=qr_orthogonal_tangent,
    numpy=(np.linalg.qr,),
    kinks="infinite or NaN where the first columns are linearly dependent",
)
qr_triangular = routine(
    "qr_triangular",
    QR + "(k,n)",
    lambda a, *rest: np.linalg.qr(a)[1],
    evaluate_complex=qr_complex(1),
    reads=(2,),
    known=2,
    vjp=qr_triangular_cotangent,
    jvp=qr_triangular_tangent,
    numpy=(np.linalg.qr,),
    kinks="infinite or NaN where the first columns are linearly dependent",
)

# ---------------------------------------------------------------- generalized inverse


def pinv_moved(a: Any, p: Any, da: Any) -> Any:
    """The derivative where the rank does not change."""
    pt, dt = back(p), back(da)
    return -p @ da @ p + p @ pt @ (dt - dt @ a @ p) + (dt - p @ a @ dt) @ pt @ p


def pinv_of(a: Any, found: Any) -> Any:
    """The generalized inverse of the rank that was found."""
    u, s, vt = reduced_svd(np.real(a))
    kept = np.arange(s.shape[-1]) < np.linalg.matrix_rank(np.real(found))[..., None]
    with np.errstate(all="ignore"):
        return back(vt) @ (np.where(kept, 1 / s, 0)[..., None] * back(u))


def pinv_complex(a: Any, found: Any) -> Any:
    p = pinv_of(a, found)
    return with_parts(p, pinv_moved(np.real(a), p, np.imag(a)))


def pinv_cotangent(a: Value, found: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """-Pᵀ dy Pᵀ + (1 - A P) dyᵀ P Pᵀ + Pᵀ P dyᵀ (1 - P A); P = y."""
    pt, dt = turned(y), turned(dy)
    first = product(product(pt, dy), pt)
    columns = product(product(dt, y), pt)
    rows = product(product(pt, y), dt)
    second = columns - product(a, product(y, columns))
    third = rows - product(product(rows, y), a)
    return second + third - first, None


def pinv_tangent(a: Value, found: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """-P A' P + P Pᵀ A'ᵀ (1 - A P) + (1 - P A) A'ᵀ Pᵀ P; P = y."""
    da = tangents[0]
    if da is None:
        return None
    pt, dt = turned(y), turned(da)
    first = product(product(y, da), y)
    second = product(product(y, pt), dt - product(product(dt, a), y))
    third = product(product(dt - product(y, product(a, dt)), pt), y)
    return second + third - first


pseudo_inverse = routine(
    "pseudo_inverse",
    "(m,n),(n,m)->(n,m)",
    pinv_of,
    evaluate_complex=pinv_complex,
    reads=(1,),
    known=1,
    vjp=pinv_cotangent,
    jvp=pinv_tangent,
    numpy=(np.linalg.pinv, np.linalg.lstsq),
    kinks="the derivative for matrices of the same rank; where the rank changes there is none",
)
