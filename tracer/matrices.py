"""Matrices as linear algebra takes them: float arrays of at least two axes, and what is made of their factors.

In: abstract arrays. Out: operands in one float dtype, checked to be square or to fit together; and `Matrix`, a matrix
whose factorizations are made when first asked for. A factorization that fails is an error of NumPy's, with its message
and the line (`require`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.core import Const, Value
from ..ir.ops import matrices
from ..ir.types import F32, F64, I64, DType
from . import broadcasting, numeric, views
from .bind_reduce import converted_array
from .context import Tracer
from .values import Reference

__all__ = [
    "Matrix",
    "column",
    "float_kind",
    "operand",
    "require",
    "require_square",
    "solved",
    "symmetric",
    "turned",
    "without_column",
    "wrapped",
]

SINGULAR = "Singular matrix"


def float_kind(*arrays: Reference) -> DType:
    """The dtype in which linear algebra computes: single precision only where all operands are in it."""
    return F32 if all(a.dtype is F32 for a in arrays) else F64


def operand(t: Tracer, x: Any, what: str, least: int = 2) -> Reference:
    """An array of at least that many axes."""
    a = numeric.as_reference(t, x, what)
    if a.rank < least:
        t.shape_error(f"{a.rank}-dimensional array given to {what}: it must be at least {least}-dimensional")
    return a


def require_square(t: Tracer, a: Reference, what: str) -> None:
    own = views.extents(t, a)
    broadcasting.agree(t, own[-2], own[-1], f"the last two axes of the array given to {what} must be square")


def require(t: Tracer, status: Value, message: str) -> None:
    """NumPy's LinAlgError where a status is not 0."""
    fine = t.emit1("eq", [status, Const(0, I64)])
    t.emit("check", [fine], {"error": "LinAlgError", "message": message})


def wrapped(t: Tracer, value: Value, extents: Sequence[Value]) -> Any:
    return numeric.wrap(t, value, list(extents))


def turned(a: Reference) -> Reference:
    """The transpose of each matrix, a view."""
    return views.permuted(a, (*range(a.rank - 2), a.rank - 1, a.rank - 2))


def symmetric(t: Tracer, a: Reference, lower: bool) -> Reference:
    """The symmetric matrix of one triangle."""
    with t.builder.at(t.span()):
        value = matrices.symmetric_from(views.read(t, a), lower)
    return t.new_array(value, views.extents(t, a))


def column(t: Tracer, b: Reference) -> Reference:
    """A vector as a matrix of one column."""
    return views.select(t, b, [None, "new"])


def without_column(t: Tracer, x: Reference) -> Any:
    """The only column of matrices, as vectors."""
    return views.select(t, x, [None] * (x.rank - 1) + [(Const(0, I64),)])


@dataclass
class Matrix:
    """A matrix (or stack) in a float dtype: `value` with its extents."""

    t: Tracer
    value: Value
    extents: list[Value]

    @staticmethod
    def of(t: Tracer, a: Reference, kind: DType | None = None) -> Matrix:
        a = converted_array(t, a, kind or float_kind(a))
        return Matrix(t, views.read(t, a), views.extents(t, a))

    @property
    def stack(self) -> list[Value]:
        return self.extents[:-2]

    def smaller(self) -> Value:
        with self.t.builder.at(self.t.span()):
            return matrices.smaller_extent(self.value)

    def identity(self) -> Value:
        with self.t.builder.at(self.t.span()):
            return matrices.identity(self.value)

    def lu(self, message: str = "") -> tuple[Value, Value]:
        """Factors and pivots; with a message, singular matrices are errors."""
        factors, pivots, status = self.t.emit("lu_factor", [self.value])
        if message:
            require(self.t, status, message)
        return factors, pivots

    def solve(self, b: Value, message: str = SINGULAR, transposed: bool = False) -> Value:
        return self.t.emit1("solve_factored", [self.value, b, *self.lu(message)], {"transposed": transposed})

    def cholesky(self, message: str = "Matrix is not positive definite") -> Value:
        """The lower factor, of the lower triangle."""
        found, status = self.t.emit("cholesky_factor", [self.value])
        require(self.t, status, message)
        return self.t.emit1("cholesky", [self.value, found])

    def eigen(self, lower: bool) -> list[Value]:
        *found, status = self.t.emit("eigh_factor", [self.value], {"lower": lower})
        require(self.t, status, "Eigenvalues did not converge")
        return found

    def svd(self) -> list[Value]:
        """What was found, as data: left vectors, values, right vectors."""
        *found, status = self.t.emit("svd_factor", [self.value])
        require(self.t, status, "SVD did not converge")
        return found

    def singular_values(self) -> Any:
        value = self.t.emit1("svd_values", [self.value, *self.svd()])
        return wrapped(self.t, value, [*self.stack, self.smaller()])


def solved(t: Tracer, a: Reference, b: Reference, what: str, message: str = SINGULAR, transposed: bool = False) -> Any:
    """A⁻¹ b for a vector, a matrix, or stacks of either that are broadcast."""
    require_square(t, a, what)
    kind = float_kind(a, b)
    a, b = converted_array(t, a, kind), converted_array(t, b, kind)
    vector = b.rank == 1
    if vector:
        b = column(t, b)
    inner = f"the extents of the matrix and of the right-hand side of {what} differ"
    broadcasting.agree(t, views.extent(t, a, a.rank - 1), views.extent(t, b, b.rank - 2), inner)
    result = solved_stack(t, a, b, what, message, transposed)
    return without_column(t, result) if vector else result


def solved_stack(t: Tracer, a: Reference, b: Reference, what: str, message: str, transposed: bool) -> Reference:
    own, other = views.extents(t, a), views.extents(t, b)
    if a.rank == 2 and b.rank > 2:  # one matrix, factored once: all right-hand sides side by side
        moved = views.permuted(b, (b.rank - 2, *range(b.rank - 2), b.rank - 1))
        shape = views.extents(t, moved)
        flat = views.reshaped(t, moved, [shape[0], product_of(t, shape[1:])])
        found = solved_stack(t, a, flat, what, message, transposed)
        back = views.reshaped(t, found, shape)
        return views.permuted(back, (*range(1, b.rank - 1), 0, b.rank - 1))
    stack = broadcasting.broadcast_shapes(t, [own[:-2], other[:-2]], f"stacks of {what}")
    left, right = [*stack, *own[-2:]], [*stack, *other[-2:]]
    matrix = Matrix(t, broadcasting.broadcast_to(t, views.read(t, a), own, left), left)
    rhs = broadcasting.broadcast_to(t, views.read(t, b), other, right)
    found = wrapped(t, matrix.solve(rhs, message, transposed), right)
    assert isinstance(found, Reference)
    return found


def product_of(t: Tracer, extents: Sequence[Value]) -> Value:
    from .bind_shape import product

    return product(t, extents)
