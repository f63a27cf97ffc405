"""Eigenvalues of symmetric matrices, and singular values, with their vectors.

In: the declaration helpers. Out: registry entries. As in `decompositions`, what is found is data, and its parts are
functions of the matrix:

    %w0, %V0, %s = eigh_factor %A                 A = V diag(w) Vᵀ, w ascending
    %w = eigh_values %A, %w0, %V0                 %V = eigh_vectors …
    %U0, %s0, %Vt0, %s = svd_factor %A            A = U diag(s) Vt, s descending, as many as the smaller extent
    %U = svd_left %A, %U0, %s0, %Vt0              %s = svd_values …, %Vt = svd_right …

So values never pay for vectors: where only values are used, no term with 1/(wᵢ - wⱼ) exists. `lower` says which
triangle of a symmetric matrix is looked at; elements of the other have the derivative 0, as in NumPy. Rules: Giles
2008, Townsend 2016 (oblong matrices).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Const, Value, builder
from .analytic import parts, with_parts
from .declare import extent
from .evaluation import attempt, back, reduced_svd, whole_symmetric
from .matrices import (
    as_columns,
    as_rows,
    diagonal_of,
    half_triangle,
    on_diagonal,
    product,
    symmetric_from,
    turned,
)
from .routines import routine

__all__: list[str] = []

Tangents = Sequence[Value | None]

# ---------------------------------------------------------------- symmetric eigenvalues


def uplo(lower: bool) -> Any:
    return "L" if lower else "U"


def gaps(w: Any) -> Any:
    """1 / (w[j] - w[i]), 0 on the diagonal."""
    d = w[..., None, :] - w[..., :, None]
    n = np.arange(w.shape[-1])
    d[..., n, n] = np.inf
    with np.errstate(all="ignore"):
        return 1 / d


def eigh_complex(which: int) -> Any:
    """Values of the real part, to first order in the imaginary part."""

    def evaluate(a: Any, *rest: Any, lower: bool) -> Any:
        w, v = np.linalg.eigh(np.real(a), uplo(lower))
        moved = back(v) @ whole_symmetric(np.imag(a), lower) @ v
        if which == 0:
            return with_parts(w, np.diagonal(moved, axis1=-2, axis2=-1))
        return with_parts(v, v @ (gaps(w) * moved))

    return evaluate


def eigh_shapes(a: Any) -> list[tuple[int, ...]]:
    return [a.shape[:-1], a.shape]


eigh_factor = routine(
    "eigh_factor",
    "(n,n)->(n),(n,n),:i64",
    lambda a, *, lower: attempt(np.linalg.eigh, a, eigh_shapes(a), UPLO=uplo(lower)),
    attributes=("lower",),
)


def values_of(a: Value, w: Value, v: Value, lower: bool) -> Value:
    return builder().emit1("eigh_values", [a, w, v], {"lower": lower})


def vectors_of(a: Value, w: Value, v: Value, lower: bool) -> Value:
    return builder().emit1("eigh_vectors", [a, w, v], {"lower": lower})


def folded(s: Value, lower: bool) -> Value:
    """The cotangent of the triangle that was looked at, from that of a matrix of free elements."""
    return half_triangle(s + turned(s), lower)


def one_over_gaps(w: Value) -> Value:
    """1 / (w[j] - w[i]), 0 on the diagonal."""
    n = extent(w, w.rank - 1)
    difference = as_columns(w, n) - as_rows(w, n)
    return on_diagonal(1.0 / on_diagonal(difference, 1.0), 0.0)


def values_cotangent(a: Value, w: Value, v: Value, *, dy: Value, lower: bool) -> tuple[Any, ...]:
    """V diag(dy) Vᵀ, folded to one triangle."""
    vectors = vectors_of(a, w, v, lower)
    scaled = vectors * as_columns(dy, extent(v, v.rank - 2))
    return folded(product(scaled, turned(vectors)), lower), None, None


def in_basis(da: Value, vectors: Value, lower: bool) -> Value:
    return product(product(turned(vectors), symmetric_from(da, lower)), vectors)


def values_tangent(a: Value, w: Value, v: Value, *, tangents: Tangents, lower: bool) -> Value | None:
    """The diagonal of Vᵀ A' V."""
    if tangents[0] is None:
        return None
    return diagonal_of(in_basis(tangents[0], vectors_of(a, w, v, lower), lower))


def vectors_cotangent(a: Value, w: Value, v: Value, *, y: Value, dy: Value, lower: bool) -> tuple[Any, ...]:
    """V (F · Vᵀ dy) Vᵀ, folded to one triangle; F: 1/(wⱼ - wᵢ), 0 on the diagonal."""
    inner = one_over_gaps(values_of(a, w, v, lower)) * product(turned(y), dy)
    return folded(product(product(y, inner), turned(y)), lower), None, None


def vectors_tangent(a: Value, w: Value, v: Value, *, y: Value, tangents: Tangents, lower: bool) -> Value | None:
    """V (F · Vᵀ A' V); F: 1/(wⱼ - wᵢ), 0 on the diagonal."""
    if tangents[0] is None:
        return None
    return product(y, one_over_gaps(values_of(a, w, v, lower)) * in_basis(tangents[0], y, lower))


eigh_values = routine(
    "eigh_values",
    "(n,n),(n),(n,n)->(n)",
    lambda a, w, v, *, lower: np.linalg.eigvalsh(a, uplo(lower)),
    evaluate_complex=eigh_complex(0),
    reads=(1,),
    known=1,
    vjp=values_cotangent,
    jvp=values_tangent,
    numpy=(np.linalg.eigvalsh,),
    kinks="of equal eigenvalues, the sum is right and each one's is that of the eigenvector NumPy gives",
)
eigh_vectors = routine(
    "eigh_vectors",
    "(n,n),(n),(n,n)->(n,n)",
    lambda a, w, v, *, lower: np.linalg.eigh(a, uplo(lower))[1],
    evaluate_complex=eigh_complex(1),
    reads=(2,),
    known=2,
    vjp=vectors_cotangent,
    jvp=vectors_tangent,
    numpy=(np.linalg.eigh,),
    kinks="infinite or NaN where two eigenvalues are equal: the eigenvectors are not functions of the matrix there",
)

# ---------------------------------------------------------------- singular values


def svd_shapes(a: Any) -> list[tuple[int, ...]]:
    *stack, m, n = a.shape
    k = min(m, n)
    return [(*stack, m, k), (*stack, k), (*stack, k, n)]


def svd_complex(which: int) -> Any:
    def evaluate(a: Any, *rest: Any) -> Any:
        real, da = parts(a)
        u, s, vt = reduced_svd(real)
        inner = back(u) @ da @ back(vt)
        f, row, column = gaps(s**2), s[..., None, :], s[..., :, None]
        if which == 1:
            return with_parts(s, np.diagonal(inner, axis1=-2, axis2=-1))
        with np.errstate(all="ignore"):
            if which == 0:
                du = u @ (f * (inner * row + column * back(inner)))
                if a.shape[-2] > a.shape[-1]:
                    du = du + (da @ back(vt) - u @ inner) / row
                return with_parts(u, du)
            dvt = -(f * (back(inner) * row + column * inner)) @ vt
            if a.shape[-1] > a.shape[-2]:
                dvt = dvt + (back(u) @ da - inner @ vt) / column
        return with_parts(vt, dvt)

    return evaluate


svd_factor = routine(
    "svd_factor",
    "(m,n)->(m,k),(k),(k,n),:i64;k=min(m,n)",
    lambda a: attempt(reduced_svd, a, svd_shapes(a)),
)

LEFT, VALUES, RIGHT = "svd_left", "svd_values", "svd_right"


def part_of(name: str, a: Value, u: Value, s: Value, vt: Value) -> Value:
    return builder().emit1(name, [a, u, s, vt])


def svd_values_cotangent(a: Value, u: Value, s: Value, vt: Value, *, dy: Value) -> tuple[Any, ...]:
    """U diag(dy) Vt"""
    left, right = part_of(LEFT, a, u, s, vt), part_of(RIGHT, a, u, s, vt)
    return product(left * as_columns(dy, extent(u, u.rank - 2)), right), None, None, None


def svd_inner(da: Value, left: Value, right: Value) -> Value:
    return product(product(turned(left), da), turned(right))


def svd_values_tangent(a: Value, u: Value, s: Value, vt: Value, *, tangents: Tangents) -> Value | None:
    """The diagonal of Uᵀ A' V."""
    if tangents[0] is None:
        return None
    left, right = part_of(LEFT, a, u, s, vt), part_of(RIGHT, a, u, s, vt)
    return diagonal_of(svd_inner(tangents[0], left, right))


def only_if(longer: Value, shorter: Value, x: Value) -> Value:
    """x where one extent exceeds another, else zeros by structure."""
    return builder().emit1("select", [longer > shorter, x, Const(0, x.dtype)])


def outside(x: Value, basis: Value) -> Value:
    """The part of the columns of x that the columns of an orthonormal basis do not span."""
    return x - product(basis, product(turned(basis), x))


def tall_cotangent(a: Value, left: Value, s: Value, right: Value, dy: Value) -> Value:
    """The cotangent of A from that of the left vectors; of Aᵀ from that of the right ones."""
    k = extent(s, s.rank - 1)
    rows, columns = extent(a, a.rank - 2), extent(a, a.rank - 1)
    inner = product(turned(left), dy)
    skew = one_over_gaps(s * s) * (inner - turned(inner))
    within = product(product(left, skew * as_columns(s, k)), right)
    beyond = product(outside(dy, left) / as_columns(s, rows), right)
    return within + only_if(rows, columns, beyond)


def svd_left_cotangent(a: Value, u: Value, s: Value, vt: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """U (F · (Uᵀ dy - dyᵀ U)) S Vt + (1 - U Uᵀ) dy S⁻¹ Vt; F: 1/(sⱼ² - sᵢ²), 0 on the diagonal."""
    values, right = part_of(VALUES, a, u, s, vt), part_of(RIGHT, a, u, s, vt)
    return tall_cotangent(a, y, values, right, dy), None, None, None


def svd_right_cotangent(a: Value, u: Value, s: Value, vt: Value, *, y: Value, dy: Value) -> tuple[Any, ...]:
    """That of the left vectors of Aᵀ."""
    values, left = part_of(VALUES, a, u, s, vt), part_of(LEFT, a, u, s, vt)
    found = tall_cotangent(turned(a), turned(y), values, turned(left), turned(dy))
    return turned(found), None, None, None


def tall_tangent(da: Value, left: Value, s: Value, right: Value) -> Value:
    """The tangent of the left vectors."""
    k = extent(s, s.rank - 1)
    rows, columns = extent(da, da.rank - 2), extent(da, da.rank - 1)
    moved = product(da, turned(right))
    inner = product(turned(left), moved)
    skew = one_over_gaps(s * s) * (inner * as_columns(s, k) + turned(inner) * as_rows(s, k))
    beyond = outside(moved, left) / as_columns(s, rows)
    return product(left, skew) + only_if(rows, columns, beyond)


def svd_left_tangent(a: Value, u: Value, s: Value, vt: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """U (F · (P S + S Pᵀ)) + (1 - U Uᵀ) A' V S⁻¹; P = Uᵀ A' V, F: 1/(sⱼ² - sᵢ²), 0 on the diagonal."""
    if tangents[0] is None:
        return None
    return tall_tangent(tangents[0], y, part_of(VALUES, a, u, s, vt), part_of(RIGHT, a, u, s, vt))


def svd_right_tangent(a: Value, u: Value, s: Value, vt: Value, *, y: Value, tangents: Tangents) -> Value | None:
    """That of the left vectors of Aᵀ."""
    if tangents[0] is None:
        return None
    left, values = part_of(LEFT, a, u, s, vt), part_of(VALUES, a, u, s, vt)
    return turned(tall_tangent(turned(tangents[0]), turned(y), values, turned(left)))


SVD = "(m,n),(m,k),(k),(k,n)->"
svd_left = routine(
    LEFT,
    SVD + "(m,k)",
    lambda a, *rest: reduced_svd(a)[0],
    evaluate_complex=svd_complex(0),
    reads=(1,),
    known=1,
    vjp=svd_left_cotangent,
    jvp=svd_left_tangent,
    numpy=(np.linalg.svd,),
    kinks="infinite or NaN where two singular values are equal, or (of a tall matrix) one is 0",
)
svd_values = routine(
    VALUES,
    SVD + "(k)",
    lambda a, *rest: np.linalg.svd(a, compute_uv=False),
    evaluate_complex=svd_complex(1),
    reads=(2,),
    known=2,
    vjp=svd_values_cotangent,
    jvp=svd_values_tangent,
    numpy=(np.linalg.svdvals,),
    kinks="of equal singular values, and of 0, that of the singular vectors NumPy gives: a subgradient of their sum",
)
svd_right = routine(
    RIGHT,
    SVD + "(k,n)",
    lambda a, *rest: reduced_svd(a)[2],
    evaluate_complex=svd_complex(2),
    reads=(3,),
    known=3,
    vjp=svd_right_cotangent,
    jvp=svd_right_tangent,
    numpy=(np.linalg.svd,),
    kinks="infinite or NaN where two singular values are equal, or (of a wide matrix) one is 0",
)
