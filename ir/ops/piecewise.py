"""Functions made of pieces: magnitudes and signs, the larger and the smaller, rounding, parts of a float.

In: the declaration helpers. Out: registry entries under NumPy's names. Conventions where two pieces meet:

* a tie of `maximum`, `minimum`, `fmax`, `fmin` gives half of the cotangent to each operand, `abs` gives 0 at 0;
* an operand that was not chosen has a zero by structure (`masks`), which no infinite derivative can poison;
* functions that are constant between their jumps (`floor`, `sign`, ...) have no rule: their derivative is zero
  everywhere, jumps included, and nothing flows through them.

`clip` is `minimum(maximum(x, low), high)`; `round` scales around `rint`; `divmod`, `modf`, `frexp` are pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Value, builder, const
from ..types import I32, DType
from . import analytic
from .analytic import continued, parts, pick, product, steps, with_parts
from .arithmetic import ANY, eq, ne
from .declare import elementwise, of_floats, of_numbers, predicate
from .functions import where

_function: Any
JUMPS = "constant between jumps: 0, at the jumps too"

# ---------------------------------------------------------------- magnitude and sign

sign = elementwise(
    "sign",
    np.sign,
    result=of_numbers("sign"),
    numpy=np.sign,
    evaluate_complex=continued(np.sign, steps),
    domain=ANY,
    kinks=JUMPS,
)
abs = elementwise(
    "abs",
    np.absolute,
    partials=lambda x: (lambda: sign(x),),
    numpy=(np.absolute, np.fabs),
    evaluate_complex=continued(np.absolute, analytic.magnitude),
    domain=ANY,
    kinks="x = 0: 0",
)
copysign = elementwise(
    "copysign",
    np.copysign,
    partials=lambda x, s, *, y: (lambda: sign(x) * sign(y), None),
    result=of_floats("copysign"),
    numpy=np.copysign,
    evaluate_complex=continued(np.copysign, lambda x, s: product(np.copysign(1.0, np.real(s)), analytic.magnitude(x))),
    domain=(ANY, ANY),
    kinks="x = 0: 0; by s 0 everywhere",
)
heaviside = elementwise(
    "heaviside",
    np.heaviside,
    partials=lambda x, h: (None, 1),
    masks=lambda x, h: (None, lambda: eq(x, 0)),
    result=of_floats("heaviside"),
    numpy=np.heaviside,
    evaluate_complex=continued(np.heaviside, lambda x, h: pick(np.real(x) == 0, h, 0.0)),
    domain=(ANY, ANY),
    kinks="by x 0 everywhere; by h 1 where x = 0, else 0",
)


def on_real(function: Any) -> Any:
    """A predicate or jump function of complex numbers looks at real parts."""
    return lambda *operands: function(*(np.real(x) for x in operands))


signbit = predicate("signbit", np.signbit, numpy=np.signbit, evaluate_complex=on_real(np.signbit), domain=ANY)
isnan = predicate("isnan", np.isnan, numpy=np.isnan, evaluate_complex=on_real(np.isnan), domain=ANY)
isinf = predicate("isinf", np.isinf, numpy=np.isinf, evaluate_complex=on_real(np.isinf), domain=ANY)
isfinite = predicate("isfinite", np.isfinite, numpy=np.isfinite, evaluate_complex=on_real(np.isfinite), domain=ANY)

# ---------------------------------------------------------------- the larger and the smaller


def is_nan(x: Value) -> Value:
    return ne(x, x)


def half_at_ties(a: Value, b: Value) -> tuple[Any, Any]:
    weight = lambda: where(eq(a, b), 0.5, 1, a)
    return weight, weight


def larger(a: Value, b: Value) -> tuple[Any, Any]:
    """Where `maximum` takes each: the larger, or the first NaN, as NumPy chooses."""
    return lambda: (a >= b) | is_nan(a), lambda: ~((a > b) | is_nan(a))


def smaller(a: Value, b: Value) -> tuple[Any, Any]:
    return lambda: (a <= b) | is_nan(a), lambda: ~((a < b) | is_nan(a))


def larger_number(a: Value, b: Value) -> tuple[Any, Any]:
    """Where `fmax` takes each: the larger, or the one that is a number."""
    return lambda: (a >= b) | is_nan(b), lambda: (b >= a) | is_nan(a)


def smaller_number(a: Value, b: Value) -> tuple[Any, Any]:
    return lambda: (a <= b) | is_nan(b), lambda: (b <= a) | is_nan(a)


def chosen(compare: Any, propagates: bool) -> Any:
    """The continuation: the operand whose real part is chosen, with its imaginary part."""

    def continuation(a: Any, b: Any) -> Any:
        (ar, _), (br, _) = parts(a), parts(b)
        return pick(compare(ar, br) | np.isnan(ar if propagates else br), a, b)

    return continuation


for _name, _function, _masks, _compare in (
    ("maximum", np.maximum, larger, np.greater_equal),
    ("minimum", np.minimum, smaller, np.less_equal),
    ("fmax", np.fmax, larger_number, np.greater_equal),
    ("fmin", np.fmin, smaller_number, np.less_equal),
):
    elementwise(
        _name,
        _function,
        partials=half_at_ties,
        masks=_masks,
        numpy=_function,
        evaluate_complex=continued(_function, chosen(_compare, not _name.startswith("f"))),
        domain=(ANY, ANY),
        kinks="a = b: 1/2 each; the other operand's is 0 by structure",
    )

# ---------------------------------------------------------------- rounding

for _name, _function in (("floor", np.floor), ("ceil", np.ceil), ("trunc", np.trunc), ("rint", np.rint)):
    elementwise(
        _name,
        _function,
        result=of_floats(_name),
        numpy=_function,
        evaluate_complex=continued(_function, steps),
        domain=ANY,
        kinks=JUMPS,
    )


# ---------------------------------------------------------------- parts of a float


def fraction(x: Any) -> Any:
    return np.modf(x)[0]


def mantissa(x: Any) -> Any:
    return np.frexp(x)[0]


def exponent(x: Any) -> Any:
    return np.frexp(x)[1]


def whole_of_float(dtypes: list[DType]) -> DType:
    of_floats("frexp_exponent")(dtypes)
    return I32


def float_and_whole(dtypes: list[DType]) -> DType:
    x, k = dtypes
    if not x.is_float or not k.is_integer:
        raise TypeError(f"ldexp of {x} and {k}: a float and an integer")
    return x


def scaled_parts(x: Any, k: Any) -> Any:
    real, imag = parts(x)
    return with_parts(np.ldexp(real, k), np.ldexp(imag, k))


modf_fraction = elementwise(
    "modf_fraction",  # np.modf(x)[0]; the other half is trunc
    fraction,
    partials=lambda x: (1,),
    result=of_floats("modf_fraction"),
    evaluate_complex=continued(fraction, lambda x: x),
    domain=ANY,
    kinks="at the jumps (x an integer): 1",
)
frexp_exponent = elementwise(
    "frexp_exponent",  # np.frexp(x)[1]
    exponent,
    result=whole_of_float,
    evaluate_complex=on_real(exponent),
    domain=ANY,
)
ldexp = elementwise(
    "ldexp",  # x * 2**k
    np.ldexp,
    partials=lambda x, k: (lambda: power_of_two(x, k), None),
    result=float_and_whole,
    same=slice(0, 1),
    numpy=np.ldexp,
    evaluate_complex=continued(np.ldexp, scaled_parts),
    domain=(ANY, "int"),
)
frexp_mantissa = elementwise(
    "frexp_mantissa",  # np.frexp(x)[0]
    mantissa,
    partials=lambda x: (lambda: power_of_two(x, -frexp_exponent(x)),),
    result=of_floats("frexp_mantissa"),
    evaluate_complex=continued(mantissa, lambda x: scaled_parts(x, -exponent(np.real(x)))),
    domain=ANY,
    kinks="at the jumps (|x| a power of 2): that of the larger |x|",
)


def power_of_two(x: Value, k: Value) -> Value:
    """2**k in x's dtype."""
    return builder().emit1("ldexp", [const(1.0, x.dtype), k])


nextafter = elementwise(
    "nextafter",
    np.nextafter,
    partials=lambda a, b: (1, None),
    result=of_floats("nextafter"),
    numpy=np.nextafter,
    evaluate_complex=continued(np.nextafter, lambda a, b: a),
    domain=(ANY, ANY),
    kinks="1 by a, 0 by b: the neighbour of a moves with a",
)
spacing = elementwise(
    "spacing",
    np.spacing,
    result=of_floats("spacing"),
    numpy=np.spacing,
    evaluate_complex=continued(np.spacing, steps),
    domain=ANY,
    kinks=JUMPS,
)
