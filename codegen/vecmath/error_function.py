"""erf, erfc, erfcx, and the normal distribution function ndtr: in, a float64 `Real`; out, a `Real`.

Up to 1, erf(x) = x + x P(x**2). Beyond, all rest on exp(x**2) erfc(x) = P(t) / (1 + 2x) for x >= 0, with
t = (x - c) / (x + c): the mapping of M. Shepherd and J. Laframboise ("Chebyshev approximation of (1 + 2x) exp(x**2)
erfc x", Mathematics of Computation 36, 1981), c = ERFC_CENTRE of `minimax.py`. The square in the exponent is kept
in two doubles, as its rounding error would be multiplied by the square itself.
"""

from __future__ import annotations

from .coefficients import ERF, ERFC
from .exponential import exp_of_sum
from .lanes import Real, Writer

CENTRE = 3.8125
ROOT_HALF = (0.7071067811865476, -4.833646656726457e-17)
TWO_OVER_ROOT_PI = 1.1283791670955126
ROOT_PI_INVERSE = 0.5641895835477563
FAR = 1e10


def near(w: Writer, x: Real) -> Real:
    """erf(x) for |x| <= 1."""
    return w.muladd(x, w.polynomial(x * x, ERF), x)


def scaled(w: Writer, x: Real) -> tuple[Real, Real]:
    """exp(x**2) erfc(x) for x >= 0, in two doubles."""
    t = (x - CENTRE) / (x + CENTRE)
    value, value_low = w.fast_two_sum(w.real(ERFC[0]), t * w.polynomial(t, ERFC[1:]))
    large = x > 1.0
    divisor, divisor_low = w.fast_two_sum(w.select(large, 2.0 * x, 1.0), w.select(large, 1.0, 2.0 * x))
    inverse = 1.0 / divisor
    quotient = value * inverse
    return quotient, (w.residual(value, quotient, divisor) + w.muladd(-quotient, divisor_low, value_low)) * inverse


def times_exp(w: Writer, square: tuple[Real, Real], sign: float, factor: tuple[Real, Real]) -> Real:
    """exp(sign * square) * factor."""
    e = exp_of_sum(w, sign * square[0], sign * square[1])
    return w.muladd(e, factor[1], e * factor[0])


def erf(w: Writer, x: Real) -> Real:
    """The error function, at most 2 ulp."""
    a = w.at_most(abs(x), 7.0)
    beyond = 1.0 - times_exp(w, w.two_product(a, a), -1.0, scaled(w, a))
    return w.select(a < 1.0, near(w, a), beyond).with_sign_of(x)


def erfc(w: Writer, x: Real) -> Real:
    """1 - erf(x), at most 2 ulp, also where it is tiny."""
    a = w.at_most(abs(x), 30.0)
    beyond = times_exp(w, w.two_product(a, a), -1.0, scaled(w, a))
    beyond = w.select(x > 0.0, beyond, 2.0 - beyond)
    return w.select(a < 0.5, 1.0 - near(w, x), beyond)


def erfcx(w: Writer, x: Real) -> Real:
    """exp(x**2) erfc(x), at most 2 ulp."""
    a = w.at_most(abs(x), FAR)
    value, low = scaled(w, a)
    bounded = w.at_most(a, 30.0)
    e = exp_of_sum(w, *w.two_product(bounded, bounded))
    value = w.select(x < 0.0, 2.0 * e - value, value + low)
    value = w.select(a < 0.5, e * (1.0 - near(w, x)), value)
    return w.select(x > FAR, ROOT_PI_INVERSE / x, value)


def ndtr(w: Writer, x: Real) -> Real:
    """The probability of a standard normal below x, at most 2 ulp, also where it is tiny."""
    z = w.at_most(abs(x), 40.0)
    a, a_low = w.two_product(z, ROOT_HALF[0])
    value, low = scaled(w, a)
    slope = w.muladd(2.0 * a, value, -TWO_OVER_ROOT_PI)
    low = w.muladd(w.muladd(z, ROOT_HALF[1], a_low), slope, low)
    tail = 0.5 * times_exp(w, w.two_product(z, z), -0.5, (value, low))
    tail = w.select(x > 0.0, 1.0 - tail, tail)
    middle = w.muladd(near(w, a).with_sign_of(x), 0.5, 0.5)
    return w.select(a < 0.5, middle, tail)
