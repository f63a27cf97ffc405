"""power, hypot, cbrt: in, float64 `Real`s; out, a `Real`."""

from __future__ import annotations

import math

from .coefficients import CBRT, LN2, LOG
from .exponential import exp_of_sum
from .lanes import MANTISSA, ROUND, Mask, Real, Writer
from .logarithm import ONE, SMALLEST_NORMAL, log_in_two, normalized

BIAS = 1023


def integer_kind(w: Writer, y: Real) -> tuple[Mask, Mask]:
    """(whether y is an integer, whether it is an odd one); infinities count as even."""
    a = abs(y)
    sum_ = a + 2.0**52  # rounds a below 2**52 to an integer, whose parity is the lowest bit
    large = a >= 2.0**52
    integer = large | (sum_ - 2.0**52).equals(a)
    parity = w.select_word(large, a.word(), sum_.word()) & 1
    return integer, parity.equals(1) & integer & (a < 2.0**53)


def log_times(w: Writer, x: Real, y: Real) -> tuple[Real, Real | None]:
    """y log(x) in two doubles, with an absolute error of 2**-56 where the power is neither 0 nor inf."""
    if w.single:
        k, f = normalized(w, x)
        s = f / (2.0 + f)
        z = s * s
        return y * w.muladd(k, LN2[0] + LN2[1], s * w.muladd(z, w.polynomial(z, LOG), 2.0)), None
    high, low = log_in_two(w, x)
    product, error = w.two_product(high, y)
    return product, w.select(abs(product) < 1024.0, w.muladd(low, y, error), 0.0)


def power(w: Writer, x: Real, y: Real) -> Real:
    """x**y, at most 1 ulp, with every special case of IEEE 754 and C99 annex F (as NumPy)."""
    magnitude = abs(x)
    # beyond 2**66 the power of any number but 1 is 0 or inf, and the exact products must not overflow
    bounded = w.at_most(w.at_least(y, -(2.0**66)), 2.0**66)
    value = exp_of_sum(w, *log_times(w, magnitude, bounded))

    upward = y > 0.0
    value = w.select(magnitude.equals(math.inf), w.select(upward, math.inf, 0.0), value)
    value = w.select(magnitude.equals(0.0), w.select(upward, 0.0, math.inf), value)
    integer, odd = integer_kind(w, y)
    value = (value.word() ^ (w.select_word(odd, x.word(), 0) & (1 << 63))).real()
    value = w.select((x < 0.0) & (x > -math.inf) & ~integer, math.nan, value)
    value = w.select(x.unordered(y), math.nan, value)
    return w.select(x.equals(1.0) | y.equals(0.0), 1.0, value)


def hypot(w: Writer, x: Real, y: Real) -> Real:
    """sqrt(x**2 + y**2) without overflow or underflow on the way, at most 2 ulp; inf if one is."""
    a, b = abs(x), abs(y)
    if w.single:
        value = (a * a + b * b).sqrt()
    else:
        high, low = w.select(a > b, a, b), w.select(a > b, b, a)
        large, small = high > 2.0**500, high < 2.0**-450
        scale = w.select(large, 2.0**-600, w.select(small, 2.0**600, 1.0))
        inverse = w.select(large, 2.0**600, w.select(small, 2.0**-600, 1.0))
        high, low = high * scale, low * scale
        value = w.muladd(high, high, low * low).sqrt() * inverse
    value = w.select(x.unordered(y), math.nan, value)
    return w.select(a.equals(math.inf) | b.equals(math.inf), math.inf, value)


def cbrt(w: Writer, x: Real) -> Real:
    """The cube root, at most 1 ulp.

    With |x| = m 8**q, 1 <= m < 8: an approximation y of m**(-1/3) without division, refined by the series of
    (1 - e)**(-1/3), e = 1 - m y**3; then one step of Newton's method for t = m y**2.
    """
    magnitude = abs(x)
    a = magnitude
    unscale: Real | float = 1.0
    if not w.single:
        tiny = magnitude < SMALLEST_NORMAL
        a = w.select(tiny, magnitude * 2.0**54, magnitude)
        unscale = w.select(tiny, 2.0**-18, 1.0)
    word = a.word()
    biased = w.small_integer(word >> 52) - 2.0**52
    fraction = ((word & MANTISSA) | ONE).real()
    shifted = w.muladd(biased, 1.0 / 3.0, -1.0 / 3.0) + ROUND  # floor(biased / 3) in the low bits
    rest = biased - 3.0 * (shifted - ROUND)  # 0, 1 or 2
    one, two = rest.equals(1.0), rest.equals(2.0)
    m = fraction * w.select(two, 4.0, w.select(one, 2.0, 1.0))
    y = w.polynomial(fraction, CBRT) * w.select(two, 2.0 ** (-2 / 3), w.select(one, 2.0 ** (-1 / 3), 1.0))
    e = 1.0 - m * (y * y * y)
    y = w.muladd(y * e, w.polynomial(e, (1 / 3, 2 / 9, 14 / 81)), y)
    value = m * (y * y)
    if not w.single:
        square, square_low = w.two_product(value, value)
        gap = w.residual(m, square, value) - square_low * value
        value = w.muladd(gap * (y * y), 1.0 / 3.0, value)
    value = value * w.power_of_two(shifted.word() + (BIAS - BIAS // 3)) * unscale
    ordinary = (magnitude > 0.0) & (magnitude < math.inf)
    return w.select(ordinary, value, magnitude).with_sign_of(x)
