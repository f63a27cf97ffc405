"""The matrix exponential.

In: the declaration helpers. Out: a registry entry. Its derivative along E is a block of the exponential of a matrix
twice as large (Higham, Functions of Matrices, 2008, chapter 3), so it has derivatives of every order:

    exp [[A, E], [0, A]] = [[exp A, L(A, E)], [0, exp A]]          the cotangent is L(Aᵀ, dy)

    %E: f64[?,?] = matrix_exp %A
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Value, builder, const
from .analytic import with_parts
from .declare import extent, zeros_like
from .evaluation import over_stack
from .matrices import between, turned
from .routines import routine

__all__ = ["PADE", "THETA"]

PADE = (
    64764752532480000.0,
    32382376266240000.0,
    7771770303897600.0,
    1187353796428800.0,
    129060195264000.0,
    10559470521600.0,
    670442572800.0,
    33522128640.0,
    1323241920.0,
    40840800.0,
    960960.0,
    16380.0,
    182.0,
    1.0,
)
"""The diagonal Padé approximant of degree 13, right to double precision up to a norm of `THETA`."""

THETA = 5.371920351148152


def exponential_one(a: Any) -> Any:
    wide = a.astype(np.result_type(a.dtype, np.float64))
    norm = float(np.max(np.sum(np.abs(np.real(wide)), axis=0), initial=0.0))
    if not np.isfinite(norm):
        return np.full_like(a, np.nan)
    squarings = max(0, int(np.ceil(np.log2(norm / THETA)))) if norm > THETA else 0
    x = wide * 0.5**squarings
    one = np.eye(len(x))
    x2 = x @ x
    x4 = x2 @ x2
    x6 = x4 @ x2
    c = PADE
    odd = x @ (x6 @ (c[13] * x6 + c[11] * x4 + c[9] * x2) + c[7] * x6 + c[5] * x4 + c[3] * x2 + c[1] * one)
    even = x6 @ (c[12] * x6 + c[10] * x4 + c[8] * x2) + c[6] * x6 + c[4] * x4 + c[2] * x2 + c[0] * one
    out = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        out = out @ out
    return out.astype(a.dtype)


def exponential(a: Any) -> Any:
    return np.array(a) if a.size == 0 else over_stack(exponential_one, a)


def exponential_complex(a: Any) -> Any:
    return with_parts(exponential(np.real(a)), np.imag(exponential(a)))


def derivative(a: Value, direction: Value) -> Value:
    """L(A, E)"""
    rows, columns = a.rank - 2, a.rank - 1
    n = extent(a, rows)
    upper = builder().emit1("concat", [a, direction], {"axis": columns})
    lower = builder().emit1("concat", [zeros_like(a), a], {"axis": columns})
    both = builder().emit1("concat", [upper, lower], {"axis": rows})
    whole = builder().emit1("matrix_exp", [both])
    top = between(whole, rows, const(0), n)
    return between(top, columns, n, extent(whole, columns))


def exponential_cotangent(a: Value, *, dy: Value) -> tuple[Any]:
    """L(Aᵀ, dy), a block of the exponential of [[Aᵀ, dy], [0, Aᵀ]]."""
    return (lambda: derivative(turned(a), dy),)


def exponential_tangent(a: Value, *, tangents: Sequence[Value]) -> Value:
    """L(A, A'), a block of the exponential of [[A, A'], [0, A]]."""
    return derivative(a, tangents[0])


matrix_exp = routine(
    "matrix_exp",
    "(n,n)->(n,n)",
    exponential,
    evaluate_complex=exponential_complex,
    vjp=exponential_cotangent,
    jvp=exponential_tangent,
)
