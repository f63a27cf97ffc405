"""Bindings of scipy.linalg, by name: SciPy is not imported here.

In: arrays as abstract values. Out: the compositions that np.linalg's functions are, with SciPy's defaults, messages and
choice of triangle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import I64
from . import bind_decompositions, bind_norms, bind_shape, broadcasting, integers, numeric, views
from .bind_decompositions import cholesky_of, det, inv, pinv_of, qr, relative_to_size, svd, svdvals
from .bind_elementwise import apply, result_dtype, where
from .bind_reduce import converted_array
from .context import Tracer
from .matrices import (
    Matrix,
    column,
    float_kind,
    operand,
    require_square,
    solved,
    symmetric,
    turned,
    without_column,
    wrapped,
)
from .values import Number, Reference

__all__ = ["register"]

SINGULAR = "A singular matrix detected: slice(s) [0] are singular."
NOT_POSITIVE = "the matrix is not positive definite: a leading minor of the array is not positive"
IGNORED = frozenset({"overwrite_a", "overwrite_b", "check_finite", "lapack_driver", "driver"})
"""Arguments that change how SciPy computes, and not what."""


def tolerant(name: str, binding: Callable[..., Any]) -> Callable[..., Any]:
    """A binding that takes the arguments of `IGNORED` too, by keyword. Non-finite numbers go through, as in
    np.linalg."""

    def bound(t: Tracer, *args: Any, **kwargs: Any) -> Any:
        from .calls import call_binding

        kept = {k: v for k, v in kwargs.items() if k not in IGNORED}
        return call_binding(t, shown, binding, list(args), kept)

    def shown() -> None: ...

    shown.__module__, shown.__qualname__, shown.__name__ = "scipy.linalg", name, name
    return bound


# ---------------------------------------------------------------- systems


def solve(t: Tracer, a: Any, b: Any, lower: Any = False, *, assume_a: Any = None, transposed: Any = False) -> Any:
    a, b = operand(t, a, "scipy.linalg.solve"), operand(t, b, "scipy.linalg.solve", 1)
    require_square(t, a, "scipy.linalg.solve")
    if assume_a in (None, "gen", "general"):
        return solved(t, a, b, "scipy.linalg.solve", SINGULAR, bool(transposed))
    if assume_a in ("sym", "symmetric", "her", "hermitian"):
        whole = symmetric(t, converted_array(t, a, float_kind(a)), bool(lower))
        return solved(t, whole, b, "scipy.linalg.solve", SINGULAR)
    if assume_a in ("pos", "positive definite"):
        if a.rank > 2:
            t.unsupported("scipy.linalg.solve of stacks with assume_a='pos'", "leave assume_a out")
        factor = cholesky_of(t, converted_array(t, a, float_kind(a, b)), not lower, NOT_POSITIVE)
        return cho_solve(t, (factor, bool(lower)), b)
    t.unsupported(f"scipy.linalg.solve with assume_a={assume_a!r}", "leave it out, or use 'gen', 'sym' or 'pos'")


TRANSPOSED = {0: False, "N": False, 1: True, "T": True, 2: True, "C": True}


def solve_triangular(t: Tracer, a: Any, b: Any, trans: Any = 0, lower: Any = False, unit_diagonal: Any = False) -> Any:
    a, b = operand(t, a, "scipy.linalg.solve_triangular"), operand(t, b, "scipy.linalg.solve_triangular", 1)
    if isinstance(trans, Number) or trans not in TRANSPOSED:
        t.fail_value("trans must be 0, 1, 2, 'N', 'T' or 'C'")
    return triangular(t, a, b, bool(lower), TRANSPOSED[trans], bool(unit_diagonal))


def triangular(t: Tracer, a: Reference, b: Reference, lower: bool, transposed: bool, unit: bool = False) -> Any:
    require_square(t, a, "scipy.linalg.solve_triangular")
    if a.rank > 2 or b.rank > 2:
        t.unsupported("scipy.linalg.solve_triangular of stacks", "write a loop over the first axis")
    kind = float_kind(a, b)
    a, b = converted_array(t, a, kind), converted_array(t, b, kind)
    if not unit:
        require_diagonal(t, a)
    right = column(t, b) if b.rank == 1 else b
    message = "the extents of the matrix and of the right-hand side of scipy.linalg.solve_triangular differ"
    broadcasting.agree(t, views.extent(t, a, 1), views.extent(t, right, 0), message)
    attrs = {"lower": lower, "transposed": transposed, "unit": unit}
    value = t.emit1("solve_triangular", [views.read(t, a), views.read(t, right)], attrs)
    found = wrapped(t, value, views.extents(t, right))
    return without_column(t, found) if b.rank == 1 else found


def require_diagonal(t: Tracer, a: Reference) -> None:
    """SciPy's error where a number on the diagonal is 0, with its position."""
    diagonal = views.read(t, bind_shape.diagonal(t, a))
    zeros = t.emit1("eq", [diagonal, Const(0, diagonal.dtype)])
    some = t.emit1("logical_not", [t.emit1("reduce_any", [zeros], {"axes": (0,)})])
    t.emit("check", [some], {"error": "LinAlgError", "message": "singular matrix: a number on the diagonal is 0"})


def cholesky(t: Tracer, a: Any, lower: Any = False) -> Any:
    ref = operand(t, a, "scipy.linalg.cholesky")
    require_square(t, ref, "scipy.linalg.cholesky")
    return cholesky_of(t, ref, not lower, NOT_POSITIVE)


def cho_factor(t: Tracer, a: Any, lower: Any = False) -> Any:
    """The other triangle holds what it held in the matrix."""
    ref = operand(t, a, "scipy.linalg.cho_factor")
    require_square(t, ref, "scipy.linalg.cho_factor")
    if ref.rank > 2:
        t.unsupported("scipy.linalg.cho_factor of stacks", "write a loop over the first axis")
    ref = converted_array(t, ref, float_kind(ref))
    factor = cholesky_of(t, ref, not lower, NOT_POSITIVE)
    n = Number(views.extent(t, ref, 0), True)
    from .bindings import TABLE

    inside = TABLE[np.tri](t, n, n, 0, bool)
    return where(t, inside if lower else turned(inside), factor, ref), bool(lower)


def cho_solve(t: Tracer, c_and_lower: Any, b: Any) -> Any:
    if not isinstance(c_and_lower, tuple) or len(c_and_lower) != 2 or isinstance(c_and_lower[1], Number):
        t.type_error("scipy.linalg.cho_solve takes what cho_factor gives, and a right-hand side")
    c, lower = c_and_lower
    c, b = operand(t, c, "scipy.linalg.cho_solve"), operand(t, b, "scipy.linalg.cho_solve", 1)
    first = triangular(t, c, b, bool(lower), not lower)
    return triangular(t, c, first, bool(lower), bool(lower))


# ---------------------------------------------------------------- functions and decompositions


def expm(t: Tracer, A: Any) -> Any:
    ref = numeric.element(t, A, "scipy.linalg.expm")
    if not isinstance(ref, Reference):
        return bind_shape.reshape(t, apply(t, np.exp, ref), (1, 1))
    ref = operand(t, ref, "scipy.linalg.expm")
    require_square(t, ref, "scipy.linalg.expm")
    matrix = Matrix.of(t, ref)
    return wrapped(t, t.emit1("matrix_exp", [matrix.value]), matrix.extents)


def eigenvalues(t: Tracer, a: Any, *, lower: Any = True, eigvals_only: Any = True) -> Any:
    if not eigvals_only:
        t.unsupported(
            "`scipy.linalg.eigh` with eigenvectors, whose signs are not NumPy's",
            "use np.linalg.eigh (or eigvals_only=True)",
        )
    return bind_decompositions.eigvalsh(t, a, "L" if lower else "U", "scipy.linalg.eigvalsh")


def eigh(t: Tracer, a: Any, *, lower: Any = True, eigvals_only: Any = False) -> Any:
    return eigenvalues(t, a, lower=lower, eigvals_only=eigvals_only)


def pinv(t: Tracer, a: Any, *, atol: Any = None, rtol: Any = None, return_rank: Any = False) -> Any:
    matrix = Matrix.of(t, operand(t, a, "scipy.linalg.pinv"))
    relative = relative_to_size(t, matrix) if rtol is None else rtol

    def cutoff(top: Any) -> Any:
        found = apply(t, np.multiply, top, relative)
        return found if atol is None else apply(t, np.add, found, atol)

    found, rank, _ = pinv_of(t, matrix, cutoff)
    return (found, rank) if return_rank else found


def qr_of(t: Tracer, a: Any, *, mode: Any = "full", pivoting: Any = False) -> Any:
    if pivoting:
        t.unsupported("`scipy.linalg.qr` with pivoting", "leave it out: the order of columns is a jump")
    modes = {"full": "complete", "economic": "reduced", "r": "r"}
    if mode not in modes:
        t.unsupported(f"`scipy.linalg.qr` in the mode {mode!r}", "use 'economic'")
    found = qr(t, a, modes[mode], "scipy.linalg.qr")
    return (found,) if mode == "r" else tuple(found)


def svd_of(t: Tracer, a: Any, full_matrices: Any = True, compute_uv: Any = True) -> Any:
    found = svd(t, a, full_matrices, compute_uv, what="scipy.linalg.svd")
    return tuple(found) if isinstance(found, tuple) else found


# ---------------------------------------------------------------- matrices of a form


def block_diag(t: Tracer, *arrs: Any) -> Any:
    blocks = [bind_shape.at_least(2)(t, x) for x in arrs]
    if any(b.rank > 2 for b in blocks):
        t.unsupported("scipy.linalg.block_diag of stacks", "write a loop over the first axis")
    if not blocks:
        t.unsupported("scipy.linalg.block_diag of nothing", "give it at least one block")
    kind = result_dtype(t, *blocks)
    heights, widths = ([views.extent(t, b, k) for b in blocks] for k in (0, 1))
    shape = [total(t, heights), total(t, widths)]
    value = t.emit1("fill", [Const(0, kind), *shape])
    row: Value = Const(0, I64)
    column_at: Value = Const(0, I64)
    for b, m, n in zip(blocks, heights, widths):
        part = numeric.cast(t, views.read(t, b), kind)
        one = Const(1, I64)
        value = t.emit1("update", [value, part, row, m, one, column_at, n, one], {"spec": "ss"})
        row, column_at = integers.add(t, row, m), integers.add(t, column_at, n)
    return t.new_array(value, shape)


def total(t: Tracer, extents: list[Value]) -> Value:
    out: Value = Const(0, I64)
    for e in extents:
        out = integers.add(t, out, e)
    return out


def toeplitz(t: Tracer, c: Any, r: Any = None) -> Any:
    """Constant along diagonals: c[i - j] below, r[j - i] above (r[0] is not looked at)."""
    c = bind_shape.ravel(t, numeric.as_reference(t, c, "scipy.linalg.toeplitz"))
    r = c if r is None else bind_shape.ravel(t, numeric.as_reference(t, r, "scipy.linalg.toeplitz"))
    m, n = views.extent(t, c, 0), views.extent(t, r, 0)
    from .bindings import TABLE

    backwards = TABLE[np.flip](t, c)
    one = Const(1, I64)
    rest = integers.clamp_low(t, integers.sub(t, n, 1))
    start = integers.minimum(t, one, n)
    line = TABLE[np.concatenate](t, (backwards, views.select(t, r, [(start, rest, one)])))
    rows, columns = t.emit1("iota", [m]), t.emit1("iota", [n])
    down = t.emit1("broadcast", [rows, m, n], {"axes": (0,)})
    across = t.emit1("broadcast", [columns, m, n], {"axes": (1,)})
    last = integers.sub(t, m, 1)
    at = t.emit1("add", [t.emit1("sub", [across, down]), last])
    return t.new_array(t.emit1("gather", [views.read(t, line), at], {"axes": (0,)}), [m, n])


BINDINGS: dict[str, Callable[..., Any]] = {
    "solve": solve,
    "inv": lambda t, a: inv(t, a, "scipy.linalg.inv", SINGULAR),
    "det": lambda t, a: det(t, a, "scipy.linalg.det"),
    "solve_triangular": solve_triangular,
    "cholesky": cholesky,
    "cho_factor": cho_factor,
    "cho_solve": cho_solve,
    "expm": expm,
    "eigh": eigh,
    "eigvalsh": lambda t, a, *, lower=True: eigenvalues(t, a, lower=lower),
    "svd": svd_of,
    "svdvals": lambda t, a: svdvals(t, a, "scipy.linalg.svdvals"),
    "qr": qr_of,
    "pinv": pinv,
    "norm": lambda t, a, ord=None, axis=None, keepdims=False: bind_norms.norm(t, a, ord, axis, keepdims),
    "block_diag": block_diag,
    "toeplitz": toeplitz,
}

UNKNOWN = "is not known to adjit"
UNSURE = "may give complex numbers, and adjit's are real"
SYMMETRIC = (
    "for a symmetric matrix, use the function of the eigenvalues: `w, V = np.linalg.eigh(A)`, `(V * f(w)) @ V.T`"
)
REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(("sqrtm", "logm", "fractional_matrix_power", "funm", "signm"), (UNSURE, SYMMETRIC)),
    **dict.fromkeys(("eig", "eigvals", "schur"), (UNSURE, "use np.linalg.eigh for a symmetric matrix")),
    "lu": ("exchanges rows where values are equal, which is a jump", "use scipy.linalg.solve or det"),
    "lu_factor": ("exchanges rows where values are equal, which is a jump", "use scipy.linalg.solve or det"),
    "lstsq": ("gives residuals in another form than np.linalg.lstsq", "use np.linalg.lstsq"),
    "solve_sylvester": (UNKNOWN, "solve the equation as one system: `np.kron` and scipy.linalg.solve"),
    "solve_continuous_lyapunov": (UNKNOWN, "solve the equation as one system: `np.kron` and scipy.linalg.solve"),
    "solve_discrete_lyapunov": (UNKNOWN, "solve the equation as one system: `np.kron` and scipy.linalg.solve"),
    "expm_frechet": (UNKNOWN, "differentiate scipy.linalg.expm"),
    **dict.fromkeys(("cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm"), (UNKNOWN, SYMMETRIC)),
    **dict.fromkeys(
        ("solve_banded", "solveh_banded", "solve_toeplitz", "solve_circulant", "matmul_toeplitz"),
        (UNKNOWN, "use scipy.linalg.solve with the whole matrix"),
    ),
    **dict.fromkeys(
        ("hessenberg", "ldl", "polar", "qz", "rq", "null_space", "orth", "subspace_angles", "cossin", "pinvh"),
        (UNKNOWN, "use a decomposition of np.linalg"),
    ),
    **dict.fromkeys(
        ("circulant", "hankel", "companion", "hadamard", "hilbert", "invhilbert", "pascal", "leslie", "dft"),
        (UNKNOWN, "make the matrix outside and pass it in, or fill it in a loop"),
    ),
}


def register() -> None:
    from .bindings import binds_named

    for name, binding in BINDINGS.items():
        binds_named(f"scipy.linalg.{name}", always(tolerant(name, binding)))
    for name, (reason, way_out) in REFUSED.items():
        binds_named(f"scipy.linalg.{name}", refusing(reason, way_out))


def always(binding: Callable[..., Any]) -> Callable[[Any], Callable[..., Any]]:
    return lambda function: binding


def refusing(reason: str, way_out: str) -> Callable[[Any], Callable[..., Any]]:
    from .bind_reals import refusal

    return lambda function: refusal(function, reason, way_out)
