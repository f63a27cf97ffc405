"""log, log2, log10, log1p, and the logarithm in two doubles for `powers.py`: in, a `Real`; out, `Real`s.

All write x = 2**k (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2), s = f / (2 + f), and use log(1 + f) = 2 s + s**3
P(s**2) = f - f**2 / 2 + s (f**2 / 2 + s**2 P(s**2)), whose leading terms are exact or small (the method of
the FreeBSD library's e_log.c). One division each.
"""

from __future__ import annotations

import math

from .coefficients import LN2, LOG, LOG2_E, LOG10_2, LOG10_E, LOG_32, LOG_LONG, TWO_THIRDS
from .lanes import MANTISSA, Real, Word, Writer, bits_of

BIAS = 1023
SQRT_HALF = 0x3FE6A09E00000000  # the bits of sqrt(1/2), truncated
ONE = bits_of(1.0)
SMALLEST_NORMAL = 2.0**-1022
LARGEST = 1.7976931348623157e308


def exponent(x: Real) -> tuple[Word, Real]:
    """(k + 1023, m) with x = m * 2**k, sqrt(1/2) <= m < sqrt(2), for normal positive x."""
    moved = x.word() + (ONE - SQRT_HALF)
    return moved >> 52, ((moved & MANTISSA) + SQRT_HALF).real()


def normalized(w: Writer, x: Real) -> tuple[Real, Real]:
    """(k, f) with x = 2**k (1 + f), for any positive finite x, subnormal numbers included."""
    if w.single:  # a float32 is a normal float64
        biased, m = exponent(x)
        return w.small_integer(biased) - (2.0**52 + BIAS), m - 1.0
    tiny = x < SMALLEST_NORMAL
    biased, m = exponent(w.select(tiny, x * 2.0**54, x))
    return w.small_integer(biased) - w.select(tiny, 2.0**52 + BIAS + 54, 2.0**52 + BIAS), m - 1.0


def with_specials(w: Writer, x: Real, value: Real) -> Real:
    """`value` for positive finite x; inf for inf, -inf for 0, NaN for NaN and below 0."""
    value = w.select(x <= LARGEST, value, x)
    return w.select(x > 0.0, value, w.select(x.equals(0.0), -math.inf, math.nan))


def log1p_tail(w: Writer, f: Real) -> Real:
    """log(1 + f) - f."""
    s = f / (2.0 + f)
    z = s * s
    half_square = (0.5 * f) * f
    return w.muladd(s, w.muladd(z, w.polynomial(z, LOG), half_square), -half_square)


def short_log(w: Writer, f: Real) -> Real:
    """log(1 + f) to about 30 bits."""
    s = f / (2.0 + f)
    z = s * s
    return s * w.muladd(z, w.polynomial(z, LOG_32), 2.0)


def combined(w: Writer, k: Real, f: Real, low: Real | None = None) -> Real:
    """k log(2) + log(1 + f) + low."""
    if w.single:
        return w.muladd(k, LN2[0] + LN2[1], short_log(w, f) if low is None else short_log(w, f) + low)
    total, error = w.fast_two_sum(k * LN2[0], f)  # the product is exact, and 0 or larger than f
    small = w.muladd(k, LN2[1], log1p_tail(w, f))
    return total + (error + (small if low is None else small + low))


def log(w: Writer, x: Real) -> Real:
    """The natural logarithm, at most 1 ulp."""
    return with_specials(w, x, combined(w, *normalized(w, x)))


def other_base(w: Writer, x: Real, step: tuple[float, float], scale: tuple[float, float]) -> Real:
    """log(x) to the base b, with step = log_b(2) and scale = log_b(e), each in two doubles."""
    k, f = normalized(w, x)
    if w.single:
        return with_specials(w, x, w.muladd(short_log(w, f), scale[0], k * (step[0] + step[1])))
    high, low = w.fast_two_sum(f, log1p_tail(w, f))
    product, error = w.two_product(high, scale[0])
    error = w.muladd(low, scale[0], w.muladd(high, scale[1], error))
    total, more = w.fast_two_sum(k * step[0], product)
    small = error + more if step[1] == 0.0 else w.muladd(k, step[1], error + more)
    return with_specials(w, x, total + small)


def log2(w: Writer, x: Real) -> Real:
    """The logarithm to the base 2, at most 1 ulp; exact for powers of 2."""
    return other_base(w, x, (1.0, 0.0), LOG2_E)


def log10(w: Writer, x: Real) -> Real:
    """The logarithm to the base 10, at most 1 ulp."""
    return other_base(w, x, LOG10_2, LOG10_E)


def reciprocal(m: Real) -> Real:
    """1 / m to 6 per cent, for sqrt(1/2) <= m <= sqrt(2): enough for what scales an error term."""
    return 1.9965 - 0.9411764705882353 * m


def log_of_sum(w: Writer, high: Real, low: Real) -> Real:
    """log(high + low) for high + low >= sqrt(1/2), relative to the result even where that is near 0."""
    biased, m = exponent(high)
    k = w.small_integer(biased) - (2.0**52 + BIAS)
    low = low * ((2 * BIAS - biased) << 52).real()
    f, low = w.fast_two_sum(m - 1.0, low)
    return combined(w, k, f, low * reciprocal(m))


def log1p(w: Writer, x: Real) -> Real:
    """log(1 + x), at most 2 ulp."""
    total = 1.0 + x
    larger = x > 1.0
    low = w.select(larger, 1.0 - (total - x), x - (total - 1.0))
    biased, m = exponent(total)
    near = biased.equals(BIAS)  # k = 0: f is x itself
    k = w.small_integer(biased) - (2.0**52 + BIAS)
    scale = ((2 * BIAS + 1 - biased) << 52).real() * 0.5  # 2**-k, with room for the largest k
    correction = w.select(near | (x > 2.0**60), 0.0, (low * scale) * reciprocal(m))
    value = combined(w, k, w.select(near, x, m - 1.0), correction)
    value = w.select(x <= LARGEST, value, x)
    value = w.select(x > -1.0, value, w.select(x.equals(-1.0), -math.inf, math.nan))
    return w.select(abs(x) < 2.0**-60, x, value)


def log_in_two(w: Writer, x: Real) -> tuple[Real, Real]:
    """(high, low) with high + low = log(x) to about 2**-66 relative and |low| < 2**-23, for positive finite
    x.
    """
    k, f = normalized(w, x)
    divisor = 2.0 + f
    inverse = 1.0 / divisor
    s = f * inverse
    divisor_low = f - (divisor - 2.0)
    s_low = (w.residual(f, s, divisor) - s * divisor_low) * inverse
    z, z_low = w.two_product(s, s)
    z_low = w.muladd(2.0 * s, s_low, z_low)
    more = z * w.polynomial(z, LOG_LONG)
    factor, factor_low = w.fast_two_sum(w.real(TWO_THIRDS[0]), more)
    factor_low = factor_low + TWO_THIRDS[1]
    b, b_low = w.two_product(z, factor)
    b_low = w.muladd(z, factor_low, w.muladd(z_low, factor, b_low))
    c, c_low = w.two_product(s, b)
    c_low = w.muladd(s, b_low, w.muladd(s_low, b, c_low))
    total, error = w.fast_two_sum(k * LN2[0], 2.0 * s)
    total, error_2 = w.fast_two_sum(total, c)
    return total, w.muladd(k, LN2[1], (error + error_2) + w.muladd(s_low, 2.0, c_low))
