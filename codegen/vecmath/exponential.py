"""exp, exp2, expm1: in, a float64 `Real`; out, the `Real` of the result.

All write x = n log(2) + r with |r| <= log(2) / 2 and take a polynomial for the exponential of r (W. Cody and
W. Waite, "Software Manual for the Elementary Functions", 1980). The rounding error of r is kept and added to
the polynomial's tail, or r is had as a difference whose first part is exact. The scaling by 2**n is two multiplications
by half of it, so that results below the smallest normal number round once.
"""

from __future__ import annotations

from .coefficients import EXP2, EXP2_32, EXPM1, EXPM1_32, LN2, LOG2_E
from .lanes import ROUND, Real, Word, Writer

BIAS = 1023


def reduced(w: Writer, x: Real, low: Real | None = None) -> tuple[Word, Real, Real]:
    """(n, r, r_low) with x + low = n log(2) + r + r_low; the low bits of the word hold n."""
    shifted = w.muladd(x, LOG2_E[0], ROUND)
    n = shifted - ROUND
    high = w.muladd(-n, w.real(LN2[0]), x)  # exact: n has 11 bits, the constant 33
    r = w.muladd(-n, w.real(LN2[1]), high)
    r_low = w.muladd(-n, w.real(LN2[1]), high - r)
    if low is not None:
        r, r_low = w.fast_two_sum(r, r_low + low)
    return shifted.word(), r, r_low


def parted(w: Writer, x: Real, bias: int) -> tuple[Word, Real, Real]:
    """(n, high, low) with x = n log(2) + high - low; high is exact, |low| < 2**-23; the low bits of the word hold
    n + bias.
    """
    shifted = w.muladd(x, LOG2_E[0], ROUND + bias)
    n = shifted - (ROUND + bias)
    return shifted.word(), w.muladd(-n, w.real(LN2[0]), x), n * LN2[1]


def scaled(w: Writer, value: Real, n: Word) -> Real:
    """value * 2**n, rounded once, for -1100 <= n <= 1100 (float32: 300); overflow gives inf."""
    if w.single:  # no float64 limit is near
        return value * w.power_of_two(n + BIAS)
    lower = n >> 1  # floor(n / 2) in the low bits, because the upper bits of the word are even
    upper = n - lower
    return (value * w.power_of_two(lower + BIAS)) * w.power_of_two(upper + BIAS)


def clamped(w: Writer, x: Real, low: float, high: float) -> Real:
    """x limited to where the result is neither 0 nor inf, or somewhat beyond, so that n stays in range; NaN
    stays NaN.
    """
    return w.at_least(w.at_most(x, high), low)


def tail(w: Writer, r: Real, r_low: Real) -> Real:
    """exp(r + r_low) - 1 - r."""
    return w.muladd(r * r, w.polynomial(r, EXPM1_32 if w.single else EXPM1), r_low)


def exp(w: Writer, x: Real) -> Real:
    """e**x, at most 1 ulp: (e**r - 1) 2**k + 2**k rounds once, so the sum in e**r - 1 is all that is lost before."""
    if w.single:
        return exp_of_sum(w, x, None)
    n, high, low = parted(w, clamped(w, x, -760.0, 720.0), 2 * BIAS)
    r = high - low
    value = high + w.muladd(r * r, w.polynomial(r, EXPM1), -low)
    half = n >> 1  # both halves are biased
    scale = w.power_of_two(half)
    return w.muladd(value, scale, scale) * w.power_of_two(n - half)


def exp_of_sum(w: Writer, x: Real, low: Real | None) -> Real:
    """e**(x + low) for |low| < 2**-14; `low` may be None."""
    x = clamped(w, x, -150.0, 150.0) if w.single else clamped(w, x, -760.0, 720.0)
    n, r, r_low = reduced(w, x, low)
    if w.single:
        return scaled(w, 1.0 + tail(w, r, r), n)
    total, error = w.fast_two_sum(w.real(1.0), r)
    return scaled(w, total + (error + tail(w, r, r_low)), n)


def exp2(w: Writer, x: Real) -> Real:
    """2**x, at most 2 ulp; exact for integers."""
    x = clamped(w, x, -200.0, 200.0) if w.single else clamped(w, x, -1090.0, 1090.0)
    shifted = x + ROUND
    r = x - (shifted - ROUND)  # exact
    value = w.muladd(r, w.polynomial(r, EXP2_32 if w.single else EXP2), 1.0)
    return scaled(w, value, shifted.word())


def quarter_expm1(w: Writer, x: Real) -> tuple[Real, Real]:
    """(u, v) with u + v = (e**x - 1) / 4, |v| well below |u|; for -60 <= x <= 710.8.

    A quarter, because sinh and cosh need e**x beyond the largest number.
    """
    n, r, r_low = reduced(w, x)
    scale = w.power_of_two(n + (BIAS - 2))
    u, error = w.fast_two_sum(scale - 0.25, scale * r)  # both terms exact, the second smaller unless the first is 0
    return u, w.muladd(scale, tail(w, r, r_low), error)


def expm1(w: Writer, x: Real) -> Real:
    """e**x - 1, at most 2 ulp."""
    u, v = quarter_expm1(w, w.at_least(w.at_most(x, 710.8), -60.0))
    return w.select(abs(x) < 2.0**-60, x, 4.0 * (u + v))
