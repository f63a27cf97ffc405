"""Bindings of np.linalg: systems, inverses, determinants and decompositions.

In: arrays as abstract values. Out: a factorization (`matrices.Matrix`), and compositions of what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import I32, I64
from . import bind_shape, broadcasting, integers, numeric, views
from .bind_elementwise import apply
from .bind_products import matmul
from .bind_reduce import ANY, SUM, converted_array
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
from .numeric import static_int
from .values import Number, Reference

__all__ = ["inv", "pinv_of", "qr", "register", "svd"]

EighResult, SVDResult, QRResult, SlogdetResult = (
    type(function(np.eye(1))) for function in (np.linalg.eigh, np.linalg.svd, np.linalg.qr, np.linalg.slogdet)
)

# ---------------------------------------------------------------- systems and determinants


def solve(t: Tracer, a: Any, b: Any) -> Any:
    return solved(t, operand(t, a, "np.linalg.solve"), operand(t, b, "np.linalg.solve", 1), "np.linalg.solve")


def inv(t: Tracer, a: Any, what: str = "np.linalg.inv", message: str = "Singular matrix") -> Any:
    ref = operand(t, a, what)
    require_square(t, ref, what)
    matrix = Matrix.of(t, ref)
    return wrapped(t, matrix.solve(matrix.identity(), message), matrix.extents)


def det(t: Tracer, a: Any, what: str = "np.linalg.det") -> Any:
    ref = operand(t, a, what)
    require_square(t, ref, what)
    matrix = Matrix.of(t, ref)
    return wrapped(t, t.emit1("det_factored", [matrix.value, *matrix.lu()]), matrix.stack)


def slogdet(t: Tracer, a: Any) -> Any:
    ref = operand(t, a, "np.linalg.slogdet")
    require_square(t, ref, "np.linalg.slogdet")
    matrix = Matrix.of(t, ref)
    factors = matrix.lu()
    sign = wrapped(t, t.emit1("lu_sign", [*factors]), matrix.stack)
    return SlogdetResult._make((sign, wrapped(t, t.emit1("logdet_factored", [matrix.value, *factors]), matrix.stack)))


def cholesky(t: Tracer, a: Any, *, upper: Any = False) -> Any:
    """The triangle that is looked at is that of the result."""
    ref = operand(t, a, "np.linalg.cholesky")
    require_square(t, ref, "np.linalg.cholesky")
    return cholesky_of(t, ref, bool(upper), "Matrix is not positive definite")


def cholesky_of(t: Tracer, a: Reference, upper: bool, message: str) -> Any:
    matrix = Matrix.of(t, turned(a) if upper else a)
    found = wrapped(t, matrix.cholesky(message), matrix.extents)
    if not upper:
        return found
    back = turned(found)
    return t.new_array(views.read(t, back), views.extents(t, back))


def tensorsolve(t: Tracer, a: Any, b: Any, axes: Any = None) -> Any:
    a, b = operand(t, a, "np.linalg.tensorsolve", 1), operand(t, b, "np.linalg.tensorsolve", 1)
    if axes is not None:
        order = list(range(a.rank))
        for k in bind_shape.axes_given(t, axes, a.rank):
            order.remove(k)
            order.append(k)
        a = views.permuted(a, order)
    own = views.extents(t, a)
    inner = own[b.rank :]
    size, rows = bind_shape.product(t, inner), bind_shape.product(t, own[: b.rank])
    broadcasting.agree(t, size, rows, "np.linalg.tensorsolve needs prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])")
    right = bind_shape.ravel(t, b)
    found = solved(t, views.reshaped(t, a, [size, size]), right, "np.linalg.tensorsolve")
    return views.reshaped(t, found, inner)


def tensorinv(t: Tracer, a: Any, ind: Any = 2) -> Any:
    a = operand(t, a, "np.linalg.tensorinv", 1)
    split = static_int(t, ind, "`ind` of np.linalg.tensorinv")
    if split <= 0:
        t.fail_value("Invalid ind argument.")
    own = views.extents(t, a)
    size = bind_shape.product(t, own[split:])
    rows = bind_shape.product(t, own[:split])
    broadcasting.agree(t, rows, size, "np.linalg.tensorinv needs prod(a.shape[:ind]) == prod(a.shape[ind:])")
    found = inv(t, views.reshaped(t, a, [size, size]), "np.linalg.tensorinv")
    return views.reshaped(t, found, [*own[split:], *own[:split]])


def matrix_power(t: Tracer, a: Any, n: Any) -> Any:
    """As NumPy multiplies: by squaring."""
    a = operand(t, a, "np.linalg.matrix_power")
    require_square(t, a, "np.linalg.matrix_power")
    count = static_int(t, n, "the exponent of np.linalg.matrix_power")
    if count == 0:
        matrix = Matrix(t, views.read(t, a), views.extents(t, a))
        return t.new_array(matrix.identity(), matrix.extents)
    if count < 0:
        a, count = inv(t, a), -count
    square: Any = None
    result: Any = None
    if count == 3:
        return matmul(t, matmul(t, a, a), a)
    while count:
        square = a if square is None else matmul(t, square, square)
        count, bit = divmod(count, 2)
        if bit:
            result = square if result is None else matmul(t, result, square)
    return result


# ---------------------------------------------------------------- decompositions


def triangle_given(t: Tracer, uplo: Any) -> bool:
    """Whether UPLO names the lower triangle."""
    if not isinstance(uplo, str) or uplo.upper() not in ("L", "U"):
        t.fail_value("UPLO argument must be 'L' or 'U'")
    return uplo.upper() == "L"


def eigh(t: Tracer, a: Any, UPLO: Any = "L") -> Any:
    lower = triangle_given(t, UPLO)
    ref = operand(t, a, "np.linalg.eigh")
    require_square(t, ref, "np.linalg.eigh")
    matrix = Matrix.of(t, ref)
    operands = [matrix.value, *matrix.eigen(lower)]
    w, v = (t.emit1(name, operands, {"lower": lower}) for name in ("eigh_values", "eigh_vectors"))
    return EighResult._make((wrapped(t, w, matrix.extents[:-1]), wrapped(t, v, matrix.extents)))


def eigvalsh(t: Tracer, a: Any, UPLO: Any = "L", what: str = "np.linalg.eigvalsh") -> Any:
    lower = triangle_given(t, UPLO)
    ref = operand(t, a, what)
    require_square(t, ref, what)
    matrix = Matrix.of(t, ref)
    w = t.emit1("eigh_values", [matrix.value, *matrix.eigen(lower)], {"lower": lower})
    return wrapped(t, w, matrix.extents[:-1])


def require_no_more(t: Tracer, what: str, way_out: str, compare: str, a: Value, b: Value) -> None:
    """The full form of a decomposition is supported where it is the reduced one; said while tracing if that is
    known, else at run time."""
    x, y = integers.known(a), integers.known(b)
    message = f"{what} has vectors that are not functions of the matrix: {way_out}"
    if x is not None and y is not None:
        if not (x == y if compare == "eq" else x <= y):
            t.unsupported(f"{what} has vectors that are not functions of the matrix", way_out)
        return
    fine = t.emit1(compare, [a, b])
    t.emit("check", [fine], {"error": "UnsupportedError", "message": message})


def svd(
    t: Tracer,
    a: Any,
    full_matrices: Any = True,
    compute_uv: Any = True,
    hermitian: Any = False,
    what: str = "np.linalg.svd",
) -> Any:
    ref = operand(t, a, what)
    if hermitian:
        require_square(t, ref, what)
        if compute_uv:
            t.unsupported(f"{what} with hermitian=True", "use np.linalg.eigh")
        ref = symmetric(t, ref, True)
    matrix = Matrix.of(t, ref)
    if not compute_uv:
        return matrix.singular_values()
    if full_matrices:
        way_out = "write `full_matrices=False` (or `compute_uv=False` for the values alone)"
        require_no_more(t, f"{what} of an oblong matrix", way_out, "eq", *matrix.extents[-2:])
    operands = [matrix.value, *matrix.svd()]
    u, s, vt = (t.emit1(name, operands) for name in ("svd_left", "svd_values", "svd_right"))
    k = matrix.smaller()
    rows, columns = matrix.extents[-2:]
    return SVDResult._make(
        (
            wrapped(t, u, [*matrix.stack, rows, k]),
            wrapped(t, s, [*matrix.stack, k]),
            wrapped(t, vt, [*matrix.stack, k, columns]),
        )
    )


def svdvals(t: Tracer, x: Any, what: str = "np.linalg.svdvals") -> Any:
    return Matrix.of(t, operand(t, x, what)).singular_values()


def qr(t: Tracer, a: Any, mode: Any = "reduced", what: str = "np.linalg.qr") -> Any:
    if mode not in ("reduced", "complete", "r"):
        t.unsupported(f"{what} in the mode {mode!r}", "use 'reduced', 'complete' or 'r'")
    matrix = Matrix.of(t, operand(t, a, what))
    rows, columns = matrix.extents[-2:]
    if mode == "complete":
        way_out = "use the reduced form"
        require_no_more(t, f"the complete form of {what} of a tall matrix", way_out, "le", rows, columns)
    operands = [matrix.value, *t.emit("qr_factor", [matrix.value])]
    k = matrix.smaller()
    r = wrapped(t, t.emit1("qr_triangular", operands), [*matrix.stack, k, columns])
    if mode == "r":
        return r
    return QRResult._make((wrapped(t, t.emit1("qr_orthogonal", operands), [*matrix.stack, rows, k]), r))


# ---------------------------------------------------------------- rank, generalized inverse, least squares

Cutoff = Callable[[Any], Any]
"""From the greatest singular values (one, in an axis of their own) to the least that counts."""


def machine_epsilon(matrix: Matrix) -> float:
    return float(np.finfo(matrix.value.dtype.numpy).eps)


def relative_to_size(t: Tracer, matrix: Matrix) -> Any:
    """max(rows, columns) times the machine epsilon."""
    size = Number(integers.maximum(t, *matrix.extents[-2:]), True)
    return apply(t, np.multiply, size, machine_epsilon(matrix))


def with_last_axis(t: Tracer, x: Any) -> Any:
    """A tolerance per matrix, for each of its singular values."""
    return views.select(t, x, [None] * x.rank + ["new"]) if isinstance(x, Reference) and x.rank else x


def held(t: Tracer, x: Any) -> Any:
    """Without a derivative."""
    from .bindings import MARKED

    return MARKED["stop_gradient"](t, x)


def greatest(t: Tracer, values: Reference) -> Any:
    """The greatest of each matrix' singular values, which are in order, or 0 where there are none; in an axis of
    their own."""
    *stack, _ = views.extents(t, values)
    zero = t.emit1("fill", [Const(0, values.dtype), *stack, Const(1, I64)])
    padded = t.emit1("concat", [views.read(t, values), zero], {"axis": values.rank - 1})
    whole = t.new_array(padded, [*stack, integers.add(t, views.extent(t, values, values.rank - 1), 1)])
    return views.select(t, whole, [None] * len(stack) + [(Const(0, I64), Const(1, I64), Const(1, I64))])


def pinv_of(t: Tracer, matrix: Matrix, cutoff: Cutoff) -> tuple[Reference, Any, Any]:
    """The generalized inverse, the rank, and the greatest singular value: what is below the cutoff counts as 0."""
    u, s, vt = matrix.svd()
    rows, columns = matrix.extents[-2:]
    k = matrix.smaller()
    values = t.new_array(s, [*matrix.stack, k])
    top = greatest(t, values)
    large = apply(t, np.greater, values, held(t, cutoff(top)))
    from .bind_elementwise import where

    inverse = where(t, large, apply(t, np.true_divide, 1.0, where(t, large, values, 1.0)), 0.0)
    left, right = t.new_array(u, [*matrix.stack, rows, k]), t.new_array(vt, [*matrix.stack, k, columns])
    scaled = apply(t, np.multiply, with_last_axis(t, inverse), turned(left))
    found = converted_array(t, matmul(t, turned(right), scaled), matrix.value.dtype)
    value = t.emit1("pseudo_inverse", [matrix.value, views.read(t, found)])
    out = t.new_array(value, [*matrix.stack, columns, rows])
    return out, SUM(t, large, -1), top


NO_VALUE = np._NoValue


def pinv(t: Tracer, a: Any, rcond: Any = None, hermitian: Any = False, *, rtol: Any = NO_VALUE) -> Any:
    ref = operand(t, a, "np.linalg.pinv")
    if hermitian:
        require_square(t, ref, "np.linalg.pinv")
        ref = symmetric(t, ref, True)
    matrix = Matrix.of(t, ref)
    if rcond is not None and rtol is not NO_VALUE:
        t.fail_value("`rtol` and `rcond` can't be both set.")
    if rcond is None:
        rcond = 1e-15 if rtol is NO_VALUE else rtol
    if rcond is None:
        rcond = relative_to_size(t, matrix)
    rcond = with_last_axis(t, rcond)
    return pinv_of(t, matrix, lambda top: apply(t, np.multiply, rcond, top))[0]


def matrix_rank(t: Tracer, A: Any, tol: Any = None, hermitian: Any = False, *, rtol: Any = None) -> Any:
    if tol is not None and rtol is not None:
        t.fail_value("`tol` and `rtol` can't be both set.")
    A = numeric.element(t, A, "np.linalg.matrix_rank")
    if not isinstance(A, Reference) or A.rank < 2:
        return numeric.wrap(t, numeric.cast(t, numeric.value_of(t, ANY(t, apply(t, np.not_equal, A, 0))), I64))
    if hermitian:
        require_square(t, A, "np.linalg.matrix_rank")
        A = symmetric(t, A, True)
    matrix = Matrix.of(t, A)
    values = t.new_array(matrix.svd()[1], [*matrix.stack, matrix.smaller()])
    if tol is None:
        relative = relative_to_size(t, matrix) if rtol is None else with_last_axis(t, rtol)
        tol = apply(t, np.multiply, greatest(t, values), relative)
    else:
        tol = with_last_axis(t, tol)
    return SUM(t, apply(t, np.greater, values, tol), -1)


def lstsq(t: Tracer, a: Any, b: Any, rcond: Any = None) -> Any:
    """The least-squares solution of least norm; residuals only where the columns are independent, as NumPy gives
    them."""
    a, b = operand(t, a, "np.linalg.lstsq"), operand(t, b, "np.linalg.lstsq", 1)
    if a.rank != 2 or b.rank > 2:
        t.shape_error("np.linalg.lstsq takes a matrix and a vector or matrix")
    kind = float_kind(a, b)
    matrix, b = Matrix.of(t, a, kind), converted_array(t, b, kind)
    rows, columns = matrix.extents
    broadcasting.agree(t, rows, views.extent(t, b, 0), "Incompatible dimensions of np.linalg.lstsq")
    vector = b.rank == 1
    right = column(t, b) if vector else b
    if rcond is None:
        rcond = relative_to_size(t, matrix)
    elif isinstance(rcond, int | float) and rcond < 0:
        rcond = machine_epsilon(matrix)
    inverse, rank, _ = pinv_of(t, matrix, lambda top: apply(t, np.multiply, rcond, top))
    x = matmul(t, inverse, right)
    misfit = apply(t, np.subtract, matmul(t, converted_array(t, a, kind), x), right)
    residuals = SUM(t, apply(t, np.multiply, misfit, misfit), 0)
    count = views.extent(t, right, 1)
    full = t.emit1("eq", [numeric.scalar_value(t, rank), columns])
    determined = t.emit1("logical_and", [full, t.emit1("gt", [rows, columns])])
    kept = t.emit1("select", [determined, count, Const(0, I64)])
    t.nonnegative.add(kept)
    residuals = views.select(t, residuals, [(Const(0, I64), kept, Const(1, I64))])
    residuals = t.new_array(views.read(t, residuals), [kept])
    rank = Number(numeric.cast(t, numeric.scalar_value(t, rank), I32))
    return (without_column(t, x) if vector else x), residuals, rank, matrix.singular_values()


# ---------------------------------------------------------------- names

REFUSED = [
    (function, "gives complex numbers, and adjit's are real", "use np.linalg.eigh for a symmetric matrix")
    for function in (np.linalg.eig, np.linalg.eigvals)
]


def aliases() -> dict[Any, Callable[..., Any]]:
    """np.linalg's names for functions of NumPy, where these are bound."""
    from .bindings import TABLE

    def last_axes(function: Any) -> Callable[..., Any]:
        return lambda t, x, *, offset=0: TABLE[function](t, x, offset, -2, -1)

    def trace(t: Tracer, x: Any, *, offset: Any = 0, dtype: Any = None) -> Any:
        return TABLE[np.trace](t, x, offset, -2, -1, dtype)

    def outer(t: Tracer, x1: Any, x2: Any) -> Any:
        for x in (x1, x2):
            if numeric.as_reference(t, x, "np.linalg.outer").rank != 1:
                t.shape_error("np.linalg.outer takes one-dimensional arrays")
        return TABLE[np.outer](t, x1, x2)

    def cross(t: Tracer, x1: Any, x2: Any, *, axis: Any = -1) -> Any:
        return TABLE[np.cross](t, x1, x2, axis=axis)

    def tensordot(t: Tracer, x1: Any, x2: Any, *, axes: Any = 2) -> Any:
        return TABLE[np.tensordot](t, x1, x2, axes)

    return {
        np.linalg.diagonal: last_axes(np.diagonal),
        np.linalg.trace: trace,
        np.linalg.outer: outer,
        np.linalg.cross: cross,
        np.linalg.tensordot: tensordot,
        np.linalg.matmul: lambda t, x1, x2: TABLE[np.matmul](t, x1, x2),
        np.linalg.vecdot: lambda t, x1, x2, *, axis=-1: TABLE[np.vecdot](t, x1, x2, axis=axis),
        np.linalg.matrix_transpose: lambda t, x: TABLE[np.matrix_transpose](t, x),
    }


def multi_dot(t: Tracer, arrays: Any, *, out: Any = None) -> Any:
    """A product of many, in the order that needs the fewest multiplications where all extents are known."""
    from .bind_reduce import into

    parts = [numeric.as_reference(t, x, "np.linalg.multi_dot") for x in bind_shape.sequence(t, arrays, "multi_dot")]
    if len(parts) < 2:
        t.fail_value("Expecting at least two arrays.")
    first, last = parts[0], parts[-1]
    ranks = [p.rank for p in parts]
    if any(r != 2 for r in ranks[1:-1]) or ranks[0] > 2 or ranks[-1] > 2:
        t.shape_error("np.linalg.multi_dot takes matrices; the first and the last may be vectors")
    if first.rank == 1:
        parts[0] = views.select(t, first, ["new", None])
    if last.rank == 1:
        parts[-1] = column(t, last)
    result = chain(t, parts)
    items: list[Any] = [(Const(0, I64),) if first.rank == 1 else None, (Const(0, I64),) if last.rank == 1 else None]
    chosen = views.select(t, result, items) if 1 in (first.rank, last.rank) else result
    shown = chosen if chosen.rank else Number(views.read(t, chosen))
    return into(t, shown, out)


def chain(t: Tracer, parts: list[Reference]) -> Reference:
    sizes = [views.dims(p)[0] for p in parts] + [views.dims(parts[-1])[1]]
    known = [n for n in sizes if n is not None]
    if len(known) < len(sizes):
        result = parts[0]
        for p in parts[1:]:
            result = matmul(t, result, p)
        return result
    best: dict[tuple[int, int], tuple[int, int]] = {(k, k): (0, k) for k in range(len(parts))}
    for length in range(1, len(parts)):
        for i in range(len(parts) - length):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k + 1, j][0] + known[i] * known[k + 1] * known[j + 1], k) for k in range(i, j)
            )

    def build(i: int, j: int) -> Reference:
        if i == j:
            return parts[i]
        k = best[i, j][1]
        found = matmul(t, build(i, k), build(k + 1, j))
        assert isinstance(found, Reference)
        return found

    return build(0, len(parts) - 1)


def register() -> None:
    from .bind_reals import refusal
    from .bindings import TABLE

    TABLE.update(
        {
            np.linalg.solve: solve,
            np.linalg.inv: lambda t, a: inv(t, a),
            np.linalg.det: lambda t, a: det(t, a),
            np.linalg.slogdet: slogdet,
            np.linalg.cholesky: cholesky,
            np.linalg.tensorsolve: tensorsolve,
            np.linalg.tensorinv: tensorinv,
            np.linalg.matrix_power: matrix_power,
            np.linalg.eigh: eigh,
            np.linalg.eigvalsh: lambda t, a, UPLO="L": eigvalsh(t, a, UPLO),
            np.linalg.svd: lambda t, a, full_matrices=True, compute_uv=True, hermitian=False: svd(
                t, a, full_matrices, compute_uv, hermitian
            ),
            np.linalg.svdvals: lambda t, x: svdvals(t, x),
            np.linalg.qr: lambda t, a, mode="reduced": qr(t, a, mode),
            np.linalg.pinv: pinv,
            np.linalg.matrix_rank: matrix_rank,
            np.linalg.lstsq: lstsq,
            np.linalg.multi_dot: multi_dot,
        }
    )
    for name, binding in aliases().items():
        TABLE.setdefault(name, binding)
    for function, reason, way_out in REFUSED:
        TABLE[function] = refusal(function, reason, way_out)
