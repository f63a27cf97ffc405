"""sinh, cosh, tanh and their inverses: in, a float64 `Real`; out, a `Real`.

The hyperbolic functions follow from (e**|x| - 1) / 4, whose quarter leaves room where e**|x| overflows and
the result does not; their inverses are logarithms of a sum of two doubles, so that nothing cancels near 0
(near 1 for arccosh).
"""

from __future__ import annotations

import math

from .coefficients import EXPM1, LN2, LOG, LOG_32, TANH_ABOVE, TANH_BELOW
from .exponential import BIAS, parted, quarter_expm1, reduced, tail
from .lanes import Mask, Real, Writer
from .logarithm import LARGEST, combined, exponent, log_of_sum, normalized

SPLIT = 0.625
"""Where `tanh` is 0.55: from here on, what 1 - 2 / (e**2x + 1) loses of its last term counts less than half."""


def tanh(w: Writer, x: Real) -> Real:
    """x + x**3 P(x**2) / Q(x**2) near 0, 1 - 2 / (e**2x + 1) elsewhere; at most 2 ulp. One division serves both."""
    magnitude = abs(x)
    if w.single:
        u, v = quarter_expm1(w, w.at_most(2.0 * magnitude, 45.0))
        value = (u + v) / ((u + v) + 0.5)
        return w.select(magnitude < 2.0**-60, magnitude, value).with_sign_of(x)
    n, high, low = parted(w, w.at_most(2.0 * magnitude, 45.0), BIAS)
    r = high - low
    scale = w.power_of_two(n)
    divisor = w.muladd(w.muladd(r * r, w.polynomial(r, EXPM1), r), scale, scale + 1.0)
    z = magnitude * magnitude
    near = magnitude < SPLIT
    above = (magnitude * z) * w.polynomial(z, TANH_ABOVE)
    quotient = w.select(near, above, -2.0) / w.select(near, w.polynomial(z, TANH_BELOW), divisor)
    return (w.select(near, magnitude, 1.0) + quotient).with_sign_of(x)


def sinh(w: Writer, x: Real) -> Real:
    """(e**x - e**-x) / 2, at most 2 ulp."""
    magnitude = abs(x)
    u, v = quarter_expm1(w, w.at_most(magnitude, 710.8))
    total = u + v
    value = 2.0 * (u + (v + total / w.muladd(total, 4.0, 1.0)))
    return w.select(magnitude < 2.0**-60, magnitude, value).with_sign_of(x)


def cosh(w: Writer, x: Real) -> Real:
    """(e**x + e**-x) / 2, at most 2 ulp."""
    n, r, r_low = reduced(w, w.at_most(abs(x), 710.8))
    quarter = (1.0 + (r + tail(w, r, r_low))) * w.power_of_two(n + (BIAS - 2))
    return 2.0 * (quarter + 0.0625 / quarter)


def root_of_sum(w: Writer, high: Real, low: Real) -> tuple[Real, Real]:
    """The square root of high + low >= 0 in two doubles."""
    root = high.sqrt()
    return root, (w.residual(high, root, root) + low) / w.at_least(2.0 * root, 1e-300)


def log_of_root_sum(w: Writer, a: Real, sign: float, magnitude: Real, large: Mask) -> Real:
    """log(a + sqrt(a**2 + sign)); log(2 magnitude) where large."""
    square, square_low = w.two_product(a, a)
    if w.single:
        return combined_of(w, a + (square + sign).sqrt())
    total, error = w.two_sum(square, w.real(sign))
    total, total_low = w.fast_two_sum(total, error + square_low)
    root, root_low = root_of_sum(w, total, total_low)
    high, low = w.two_sum(a, root)
    high = w.select(large, 0.5 * magnitude, high)
    value = log_of_sum(w, high, w.select(large, 0.0, low + root_low))
    return value + w.select(large, 2.0 * (LN2[0] + LN2[1]), 0.0)


def combined_of(w: Writer, x: Real) -> Real:
    """log(x) for positive normal x."""
    return combined(w, *normalized(w, x))


def arcsinh(w: Writer, x: Real) -> Real:
    """log(|x| + sqrt(x**2 + 1)) with the sign of x, at most 2 ulp."""
    magnitude = abs(x)
    large = magnitude > 2.0**30
    a = magnitude if w.single else w.select(large, 1.0, magnitude)
    value = log_of_root_sum(w, a, 1.0, magnitude, large)
    value = w.select(magnitude <= LARGEST, value, magnitude)
    return w.select(magnitude < (2.0**-13 if w.single else 2.0**-28), magnitude, value).with_sign_of(x)


def arccosh(w: Writer, x: Real) -> Real:
    """log(x + sqrt(x**2 - 1)), at most 2 ulp; NaN below 1."""
    large = x > 2.0**30
    a = x if w.single else w.select(large, 1.0, x)
    value = log_of_root_sum(w, a, -1.0, x, large)
    return w.select(x >= 1.0, w.select(x <= LARGEST, value, x), math.nan)


def arctanh(w: Writer, x: Real) -> Real:
    """log((1 + x) / (1 - x)) / 2, at most 2 ulp; inf at 1, NaN beyond.

    With a = |x| and 2**k near (1 + a) / (1 - a), the result is k log(2) / 2 + artanh(s), where s = (1 + a -
    2**k (1 - a)) / (1 + a + 2**k (1 - a)): one division for the quotient and for the logarithm of it.
    """
    magnitude = abs(x)
    a = w.at_most(magnitude, 1.0 - 2.0**-53)
    above, above_low = w.fast_two_sum(w.real(1.0), a)
    below, below_low = w.fast_two_sum(w.real(1.0), -a)
    biased, m = exponent(below)
    more = above > math.sqrt(2.0) * m
    k = w.select(more, 2.0**52 + BIAS + 1, 2.0**52 + BIAS) - w.small_integer(biased)
    power = ((w.select_word(more, 2 * BIAS + 1, 2 * BIAS) - biased) << 52).real()
    if w.single:
        s = w.muladd(a, 1.0 + power, 1.0 - power) / w.muladd(a, 1.0 - power, 1.0 + power)
        z = s * s
        value = 0.5 * w.muladd(k, LN2[0] + LN2[1], s * w.muladd(z, w.polynomial(z, LOG_32), 2.0))
    else:
        below, below_low = power * below, power * below_low
        number, number_low = w.fast_two_sum(above - below, above_low - below_low)  # the first difference is exact
        divisor, divisor_low = w.fast_two_sum(above, below)
        inverse = 1.0 / divisor
        s = number * inverse
        rest = number_low - s * (divisor_low + (above_low + below_low))
        s_low = (w.residual(number, s, divisor) + rest) * inverse
        z = s * s
        total, error = w.fast_two_sum(k * (0.5 * LN2[0]), s)
        small = w.muladd(s * z, 0.5 * w.polynomial(z, LOG), s_low)
        value = total + (error + w.muladd(k, 0.5 * LN2[1], small))
    value = w.select(magnitude < 1.0, value, w.select(magnitude.equals(1.0), math.inf, math.nan))
    return value.with_sign_of(x)
