"""Linear systems and determinants, from factors that are made once.

In: the declaration helpers. Out: registry entries.

    %LU, %p, %s = lu_factor %A                    with row exchanges; data. Status k: a pivot k is 0
    %X = solve_factored %A, %B, %LU, %p           A X = B (`transposed`: Aᵀ X = B)
    %d = det_factored %A, %LU, %p                 the determinant; %l = logdet_factored …: log |det A|
    %s = lu_sign %LU, %p                          its sign; data
    %X = solve_triangular %T, %B                  only one triangle of T is looked at

A determinant is a polynomial: its derivative is the matrix of `cofactors`, whose derivative along Z is
`cofactors_along`. Both come from singular values, without a division, so they are right for singular matrices too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Value, builder
from .analytic import parts, with_parts
from .declare import extent
from .evaluation import over_stack, unless_singular
from .matrices import identity, product, total_of, triangle, turned
from .routines import routine

__all__ = ["lu_of", "solved", "triangular"]

Tangents = Sequence[Value | None]

# ---------------------------------------------------------------- NumPy's side


def factor_one(a: Any) -> tuple[Any, Any, Any]:
    w = np.array(a).T.copy()  # routines see rows as columns: what is factored is Aᵀ = P L U, kept as (L\U)ᵀ
    n = len(w)
    pivots = np.arange(n)
    status = 0
    for k in range(n):
        p = k + int(np.argmax(np.abs(w[k:, k])))
        pivots[k] = p
        w[[k, p]] = w[[p, k]]
        if w[k, k] == 0:
            status = status or k + 1
            continue
        w[k + 1 :, k] /= w[k, k]
        w[k + 1 :, k + 1 :] -= np.outer(w[k + 1 :, k], w[k, k + 1 :])
    return w.T.copy(), pivots, status


def lu_of(a: Any) -> tuple[Any, Any, Any]:
    """(factors, pivots, status) of each matrix."""
    a = np.real(a)
    if a.size == 0:
        return a, np.zeros(a.shape[:-1], np.int64), np.int64(0)
    factors, pivots, status = over_stack(factor_one, a)
    return factors, pivots, np.int64(next(iter(np.ravel(status)[np.ravel(status) != 0]), 0))


def unfactored(factors: Any, pivots: Any) -> Any:
    """The matrix that was factored."""

    def one(m: Any, exchanges: Any) -> Any:
        w = m.T
        out = (np.tril(w, -1) + np.eye(len(w), dtype=w.dtype)) @ np.triu(w)
        for k in reversed(range(len(w))):
            out[[k, exchanges[k]]] = out[[exchanges[k], k]]
        return out.T

    lead = factors.shape[:-2]
    out = np.empty_like(factors)
    for at in np.ndindex(lead):
        out[at] = one(factors[at], pivots[at])
    return out


def sign_of(factors: Any, pivots: Any) -> Any:
    factors, pivots = np.real(factors), np.asarray(pivots)
    diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
    exchanged = pivots != np.arange(pivots.shape[-1])
    return (np.prod(np.sign(diagonal), axis=-1) * (1 - 2 * (np.sum(exchanged, axis=-1) % 2))).astype(factors.dtype)[()]


def solve_any(a: Any, b: Any, *rest: Any, transposed: bool) -> Any:
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)


def triangle_of(t: Any, lower: bool, unit: bool) -> Any:
    t = np.tril(t) if lower else np.triu(t)
    if unit:
        n = np.arange(t.shape[-1])
        t[..., n, n] = 1
    return t


def solve_triangle(t: Any, b: Any, *, lower: bool, transposed: bool, unit: bool) -> Any:
    return solve_any(triangle_of(t, lower, unit), b, transposed=transposed)


def log_det(a: Any, *rest: Any) -> Any:
    real = np.linalg.slogdet(np.real(a))[1]
    if not np.iscomplexobj(a):
        return real
    imag = np.trace(np.linalg.solve(np.real(a), np.imag(a)), axis1=-2, axis2=-1)
    return with_parts(real, imag)


# ---------------------------------------------------------------- systems

lu_factor = routine("lu_factor", "(n,n)->(n,n),(n):i64,:i64", lu_of)


def solved(a: Value, b: Value, factors: Value, pivots: Value, transposed: bool = False) -> Value:
    """A⁻¹ B, or A⁻ᵀ B."""
    return builder().emit1("solve_factored", [a, b, factors, pivots], {"transposed": transposed})


def solve_cotangents(
    a: Value, b: Value, factors: Value, pivots: Value, *, y: Value, dy: Value, transposed: bool
) -> tuple[Any, ...]:
    """B: A⁻ᵀ dy; A: -(A⁻ᵀ dy) yᵀ."""
    g = solved(a, dy, factors, pivots, not transposed)
    outer = (lambda: -product(y, turned(g))) if transposed else (lambda: -product(g, turned(y)))
    return outer, g, None, None


def solve_tangent(
    a: Value, b: Value, factors: Value, pivots: Value, *, y: Value, tangents: Tangents, transposed: bool
) -> Value | None:
    da, db = tangents[:2]
    moved = db
    if da is not None:
        by_a = product(turned(da) if transposed else da, y)
        moved = -by_a if moved is None else moved - by_a
    return None if moved is None else solved(a, moved, factors, pivots, transposed)


solve_factored = routine(
    "solve_factored",
    "(n,n),(n,k),(n,n),(n):i64->(n,k)",
    unless_singular(solve_any),
    reads=(1, 2, 3),
    compute=lambda b, factors, pivots, *, transposed: unless_singular(solve_any)(
        unfactored(factors, pivots), b, transposed=transposed
    ),
    attributes=("transposed",),
    vjp=solve_cotangents,
    jvp=solve_tangent,
    numpy=(np.linalg.solve, np.linalg.inv),
    kinks="a singular matrix is an error, as in NumPy",
)


def triangular(t: Value, b: Value, lower: bool, transposed: bool = False, unit: bool = False) -> Value:
    attrs = {"lower": lower, "transposed": transposed, "unit": unit}
    return builder().emit1("solve_triangular", [t, b], attrs)


def triangular_cotangents(
    t: Value, b: Value, *, y: Value, dy: Value, lower: bool, transposed: bool, unit: bool
) -> tuple[Any, ...]:
    """b: T⁻ᵀ dy; T: one triangle of -(T⁻ᵀ dy) yᵀ."""
    g = triangular(t, dy, lower, not transposed, unit)

    def for_matrix() -> Value:
        outer = product(y, turned(g)) if transposed else product(g, turned(y))
        return -triangle(outer, lower, strict=unit)

    return for_matrix, g


def triangular_tangent(
    t: Value, b: Value, *, y: Value, tangents: Tangents, lower: bool, transposed: bool, unit: bool
) -> Value | None:
    """T⁻¹ (b' - T' y), of one triangle of T'."""
    dt, moved = tangents
    if dt is not None:
        part = triangle(dt, lower, strict=unit)
        by_t = product(turned(part) if transposed else part, y)
        moved = -by_t if moved is None else moved - by_t
    return None if moved is None else triangular(t, moved, lower, transposed, unit)


solve_triangular = routine(
    "solve_triangular",
    "(n,n),(n,k)->(n,k)",
    unless_singular(solve_triangle),
    attributes=("lower", "transposed", "unit"),
    vjp=triangular_cotangents,
    jvp=triangular_tangent,
    kinks="elements of the other triangle (and of a unit diagonal) have the derivative 0: they are not looked at",
)

# ---------------------------------------------------------------- determinants


def spread(v: Value, like: Value) -> Value:
    """A number per matrix, for each of its elements."""
    if not v.is_array:
        return v
    shape = [extent(like, k) for k in range(like.rank)]
    return builder().emit1("broadcast", [v, *shape], {"axes": tuple(range(v.rank))})


def cofactors_of(a: Value) -> Value:
    return builder().emit1("cofactors", [a])


def along(a: Value, z: Value) -> Value:
    return builder().emit1("cofactors_along", [a, z])


det_factored = routine(
    "det_factored",
    "(n,n),(n,n),(n):i64->()",
    lambda a, *rest: np.linalg.det(a),
    reads=(1, 2),
    compute=lambda factors, pivots: np.linalg.det(unfactored(factors, pivots)),
    vjp=lambda a, factors, pivots, *, dy: (lambda: spread(dy, a) * cofactors_of(a), None, None),
    jvp=lambda a, factors, pivots, *, tangents: (
        None if tangents[0] is None else total_of(cofactors_of(a) * tangents[0])
    ),
    numpy=(np.linalg.det,),
    kinks="smooth: a singular matrix has its cofactors for derivative (first and second; the third is NaN there)",
)

logdet_factored = routine(
    "logdet_factored",
    "(n,n),(n,n),(n):i64->()",
    lambda a, *rest: np.linalg.slogdet(a)[1],
    evaluate_complex=log_det,
    reads=(1, 2),
    compute=lambda factors, pivots: np.linalg.slogdet(unfactored(factors, pivots))[1],
    vjp=lambda a, factors, pivots, *, dy: (
        lambda: spread(dy, a) * solved(a, identity(a), factors, pivots, transposed=True),
        None,
        None,
    ),
    jvp=lambda a, factors, pivots, *, tangents: (
        None
        if tangents[0] is None
        else total_of(solved(a, identity(a), factors, pivots, transposed=True) * tangents[0])
    ),
    numpy=(np.linalg.slogdet,),
    kinks="infinite or NaN where the matrix is singular",
)

lu_sign = routine("lu_sign", "(n,n),(n):i64->()", sign_of)

# ---------------------------------------------------------------- cofactors


def without(s: Any, count: int) -> Any:
    """Products of all but one element, or (a symmetric matrix) but two."""
    n = len(s)
    out = np.ones((n,) * count, s.dtype)
    for at in np.ndindex(out.shape):
        out[at] = np.prod([s[k] for k in range(n) if k not in at])
    return out


def cofactors_one(a: Any) -> Any:
    u, s, vt = np.linalg.svd(a)
    sign = np.linalg.det(u) * np.linalg.det(vt)
    return (np.round(sign) * (u * without(s, 1)) @ vt).astype(a.dtype)


def along_one(a: Any, z: Any) -> Any:
    """The derivative of the cofactors along Z: in the bases of singular vectors, each element of Z moves those of the
    complementary minors."""
    u, s, vt = np.linalg.svd(a)
    sign = np.round(np.linalg.det(u) * np.linalg.det(vt))
    inner = u.T @ z @ vt.T
    pairs = without(s, 2)
    np.fill_diagonal(pairs, 0)
    moved = -pairs * inner.T
    np.fill_diagonal(moved, pairs @ np.diagonal(inner))
    return (sign * u @ moved @ vt).astype(a.dtype)


def stacked(function: Callable[..., Any]) -> Callable[..., Any]:
    def evaluate(*operands: Any) -> Any:
        if operands[0].size == 0:
            return np.zeros_like(operands[0])
        return over_stack(function, *operands)

    return evaluate


every_cofactor, every_along = stacked(cofactors_one), stacked(along_one)


def cofactors_complex(a: Any) -> Any:
    real, imag = parts(a)
    return with_parts(every_cofactor(real), every_along(real, imag))


def along_complex(a: Any, z: Any) -> Any:
    """Linear in Z; by A, as a difference of the formula for invertible matrices."""
    (ar, ai), (zr, zi) = parts(a), parts(z)
    imag = every_along(ar, zi + np.zeros_like(ar))
    if np.any(ai):
        b = np.swapaxes(np.linalg.inv(a), -1, -2)
        zt = np.swapaxes(zr, -1, -2)
        inner = np.sum(b * zr, axis=(-1, -2))[..., None, None]
        formula = np.linalg.det(a)[..., None, None] * (inner * b - b @ zt @ b)
        imag = imag + np.imag(formula)
    return with_parts(every_along(ar, zr), imag)


def third(a: Value, z: Value, w: Value) -> Value:
    """The derivative of `cofactors_along` (A, Z) by A along W, of an invertible matrix. With B = A⁻ᵀ and |A| the
    determinant, the cofactors are C = |A| B, and dB = -B dAᵀ B."""
    factors, pivots, _ = builder().emit("lu_factor", [a])
    det = builder().emit1("det_factored", [a, factors, pivots])
    b = solved(a, identity(a), factors, pivots, transposed=True)

    def inner(x: Value, y: Value) -> Value:
        return spread(total_of(x * y), a)

    def sandwich(x: Value) -> Value:
        return product(product(b, turned(x)), b)

    bz, bw = sandwich(z), sandwich(w)
    first = inner(b, w) * (inner(b, z) * b - bz)
    rest = product(product(bw, turned(z)), b) + product(product(bz, turned(w)), b)
    second = rest - inner(bw, z) * b - inner(b, z) * bw
    return spread(det, a) * (first + second)


cofactors = routine(
    "cofactors",
    "(n,n)->(n,n)",
    every_cofactor,
    evaluate_complex=cofactors_complex,
    vjp=lambda a, *, dy: (lambda: along(a, dy),),
    jvp=lambda a, *, tangents: along(a, tangents[0]),
)


def along_cotangents(a: Value, z: Value, *, dy: Value) -> tuple[Any, Any]:
    """A: the third derivative of the determinant along B and dy; B: the cofactors along dy."""
    return lambda: third(a, z, dy), lambda: along(a, dy)


def along_tangent(a: Value, z: Value, *, tangents: Tangents) -> Value | None:
    """The cofactors along B', and the third derivative of the determinant along B and A'."""
    da, dz = tangents
    out = None if dz is None else along(a, dz)
    if da is not None:
        by_a = third(a, z, da)
        out = by_a if out is None else out + by_a
    return out


cofactors_along = routine(
    "cofactors_along",
    "(n,n),(n,n)->(n,n)",
    every_along,
    evaluate_complex=along_complex,
    vjp=along_cotangents,
    jvp=along_tangent,
)
