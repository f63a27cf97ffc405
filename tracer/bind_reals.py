"""Bindings of what NumPy has for complex numbers, as it answers for reals; and refusals, with reasons.

In: real numbers and arrays. Out: parts, angles and predicates. What gives complex numbers, or has no derivative that
adjit could carry, is refused by name with what to do instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const
from ..ir.types import BOOL
from . import numeric, views
from .bind_elementwise import apply, positive, where
from .bind_reduce import ALL
from .context import Tracer
from .numeric import element, is_static_number
from .values import Number, Reference

__all__ = ["register"]


def real(t: Tracer, val: Any) -> Any:
    return element(t, val, "np.real")


def imag(t: Tracer, val: Any) -> Any:
    """Zeros: a read-only array, as NumPy's is."""
    val = element(t, val, "np.imag")
    if not isinstance(val, Reference):
        return 0 if is_static_number(val) else Number(Const(0, numeric.scalar_value(t, val).dtype), val.weak)
    shape = views.extents(t, val)
    out = t.new_array(t.emit1("fill", [Const(0, val.dtype), *shape]), shape)
    out.object.readonly = "the imaginary part of an array of reals is read-only"
    return out


def angle(t: Tracer, z: Any, deg: Any = False) -> Any:
    """0 for positive numbers, pi for negative ones (and for -0.0)."""
    z = element(t, z, "np.angle")
    if not isinstance(z, Reference | Number):
        return np.angle(z, deg)
    z = z if z.dtype.is_float else apply(t, np.true_divide, z, 1)
    half_turn = 180.0 if deg else math.pi
    found = where(t, apply(t, np.signbit, z), half_turn, apply(t, np.multiply, 0.0, apply(t, np.sign, z)))
    found = where(t, apply(t, np.isnan, z), np.nan, found)
    return Number(found.value) if isinstance(found, Number) else found


def conjugate(t: Tracer, x: Any, out: Any = None, where: Any = True) -> Any:
    from .bind_ufuncs import into

    return into(t, positive(t, x), out, "np.conjugate", where)


def everywhere(answer: bool) -> Callable[..., Any]:
    """np.isreal and np.iscomplex of reals."""

    def binding(t: Tracer, x: Any) -> Any:
        x = element(t, x)
        if not isinstance(x, Reference):
            return np.bool_(answer)
        shape = views.extents(t, x)
        return t.new_array(t.emit1("fill", [Const(answer, BOOL), *shape]), shape)

    return binding


def infinite(comparison: np.ufunc) -> Callable[..., Any]:
    def binding(t: Tracer, x: Any, out: Any = None) -> Any:
        from .bind_ufuncs import into

        x = element(t, x)
        found = apply(t, np.logical_and, apply(t, np.isinf, x), apply(t, comparison, x, 0))
        return into(t, found, out, "np.isposinf or np.isneginf")

    return binding


def fix(t: Tracer, x: Any, out: Any = None) -> Any:
    from .bind_ufuncs import into

    return into(t, apply(t, np.trunc, x), out, "np.fix")


def is_scalar(t: Tracer, element: Any) -> Any:
    if isinstance(element, Number):
        return not element.array
    return False if isinstance(element, Reference) else np.isscalar(element)


def array_equiv(t: Tracer, a1: Any, a2: Any) -> Any:
    """np.array_equiv of arrays that can be broadcast together."""
    return ALL(t, apply(t, np.equal, a1, a2))


def result_type(t: Tracer, *arrays_and_dtypes: Any) -> Any:
    from .bind_elementwise import result_dtype

    dtypes = [x for x in arrays_and_dtypes if not isinstance(x, Number | Reference)]
    values = [x for x in arrays_and_dtypes if isinstance(x, Number | Reference)]
    if not values:
        return np.result_type(*dtypes)
    own = result_dtype(t, *values).numpy
    return np.result_type(own, *dtypes) if dtypes else own


# ---------------------------------------------------------------- refusals

COMPLEX = "gives complex numbers, and adjit's are real"
PARTS = "compute with cosines and sines of your own, or transform outside and pass the result in"

REAL_OF_FFT = ("fftfreq", "rfftfreq", "fftshift", "ifftshift")

REFUSED: list[tuple[Any, str, str]] = [
    *((getattr(np.fft, name), COMPLEX, PARTS) for name in np.fft.__all__ if name not in REAL_OF_FFT),
    (np.roots, COMPLEX, "find real roots by Newton's method, written as a loop"),
    (np.trim_zeros, "gives as many elements as the values decide", "slice the array at known positions"),
    (np.polydiv, "drops leading zeros, so that its shape depends on the values", "write the division as a loop"),
    (np.frompyfunc, "gives arrays of Python objects", "use np.vectorize, or write the loop"),
    (np.bmat, "gives a matrix object", "use np.block"),
    (np.asmatrix, "gives a matrix object", "use two-dimensional arrays and `@`"),
    (np.matrix, "gives a matrix object", "use two-dimensional arrays and `@`"),
    (np.poly1d, "gives an object of NumPy's", "use a vector of coefficients and np.polyval"),
    (np.isfortran, "is decided by the layout of memory", "compare shapes, or transpose explicitly"),
    (np.shares_memory, "is decided by the layout of memory", "decide it outside"),
    (np.may_share_memory, "is decided by the layout of memory", "decide it outside"),
    (np.sort_complex, COMPLEX, "use np.sort"),
]
"""Functions that are refused, why, and what to do instead."""


def refusal(function: Any, reason: str, way_out: str) -> Callable[..., Any]:
    def binding(t: Tracer, *args: Any, **kwargs: Any) -> Any:
        from .calls import name_of

        t.unsupported(f"`{name_of(function)}` {reason}", way_out)

    binding.refusal = reason  # type: ignore[attr-defined]
    return binding


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.real: real,
            np.imag: imag,
            np.angle: angle,
            np.conjugate: conjugate,
            np.real_if_close: lambda t, a, tol=100: element(t, a),
            np.isreal: everywhere(True),
            np.iscomplex: everywhere(False),
            np.isrealobj: lambda t, x: True,
            np.iscomplexobj: lambda t, x: False,
            np.isposinf: infinite(np.greater),
            np.isneginf: infinite(np.less),
            np.fix: fix,
            np.isscalar: is_scalar,
            np.array_equiv: array_equiv,
            np.result_type: result_type,
        }
    )
    for function, reason, way_out in REFUSED:
        TABLE.setdefault(function, refusal(function, reason, way_out))
