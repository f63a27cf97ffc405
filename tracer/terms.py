"""Formulas of abstract values: arithmetic and functions of `Term`s read as mathematics.

In: the tracer and numbers or arrays. Out: `Term`s, whose operators apply NumPy's ufuncs as a traced program would, and
whose `of` applies an operation of the table by name. For bindings that are compositions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.types import DType
from . import numeric
from .bind_elementwise import apply, where
from .context import Tracer
from .values import Number, Reference

__all__ = ["Term", "choose", "of"]


class Term:
    """A number or array inside of a formula."""

    __slots__ = ("t", "x")

    def __init__(self, t: Tracer, x: Any) -> None:
        self.t = t
        self.x: Any = x.x if isinstance(x, Term) else x

    def ufunc(self, ufunc: np.ufunc, *operands: Any) -> Term:
        return Term(self.t, apply(self.t, ufunc, *(plain(x) for x in operands)))

    def __add__(self, other: Any) -> Term:
        return self.ufunc(np.add, self, other)

    def __radd__(self, other: Any) -> Term:
        return self.ufunc(np.add, other, self)

    def __sub__(self, other: Any) -> Term:
        return self.ufunc(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Term:
        return self.ufunc(np.subtract, other, self)

    def __mul__(self, other: Any) -> Term:
        return self.ufunc(np.multiply, self, other)

    def __rmul__(self, other: Any) -> Term:
        return self.ufunc(np.multiply, other, self)

    def __truediv__(self, other: Any) -> Term:
        return self.ufunc(np.true_divide, self, other)

    def __rtruediv__(self, other: Any) -> Term:
        return self.ufunc(np.true_divide, other, self)

    def __neg__(self) -> Term:
        return self.ufunc(np.negative, self)

    def __lt__(self, other: Any) -> Term:
        return self.ufunc(np.less, self, other)

    def __gt__(self, other: Any) -> Term:
        return self.ufunc(np.greater, self, other)

    def __le__(self, other: Any) -> Term:
        return self.ufunc(np.less_equal, self, other)

    def __ge__(self, other: Any) -> Term:
        return self.ufunc(np.greater_equal, self, other)

    def equals(self, other: Any) -> Term:
        return self.ufunc(np.equal, self, other)

    def __and__(self, other: Any) -> Term:
        return self.ufunc(np.logical_and, self, other)

    def __or__(self, other: Any) -> Term:
        return self.ufunc(np.logical_or, self, other)

    def __invert__(self) -> Term:
        return self.ufunc(np.logical_not, self)

    @property
    def dtype(self) -> DType:
        return self.x.dtype if isinstance(self.x, Number | Reference) else numeric.scalar_value(self.t, self.x).dtype

    def cast(self, dtype: DType) -> Term:
        """The same in another dtype."""
        if isinstance(self.x, Reference):
            if self.x.dtype is dtype:
                return self
            value = numeric.as_dtype(self.t, self.x, dtype, "a conversion")
            return Term(self.t, self.t.new_array(value, numeric.shape_of(self.t, self.x)))
        return Term(self.t, Number(numeric.cast(self.t, numeric.scalar_value(self.t, self.x), dtype)))

    @property
    def result(self) -> Any:
        """What the formula gives its caller: an array, or a number that is not a 0-d array."""
        return Number(self.x.value) if isinstance(self.x, Number) else self.x

    def constant(self) -> Term:
        """The same value, without derivative."""
        return of("stop_gradient", self)


def plain(x: Any) -> Any:
    return x.x if isinstance(x, Term) else x


def of(name: str, *operands: Any) -> Term:
    """An operation of the table of floats; operands that are Python numbers take the others' dtype."""
    terms = [x for x in operands if isinstance(x, Term)]
    t, dtype = terms[0].t, terms[0].dtype
    given = [plain(x) for x in operands]
    return Term(t, numeric.emit_elementwise(t, name, given, [dtype] * len(given), name))


def choose(condition: Term, a: Any, b: Any) -> Term:
    """np.where"""
    return Term(condition.t, where(condition.t, condition.x, plain(a), plain(b)))
