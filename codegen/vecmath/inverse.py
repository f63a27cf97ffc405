"""arcsin, arccos, arctan, arctan2: in, float64 `Real`s; out, a `Real`."""

from __future__ import annotations

import math

from .coefficients import ASIN, ASIN_32, ATAN, ATAN_32, PI, QUARTER_PI, THREE_QUARTERS_PI
from .lanes import Mask, Real, Writer

HALF_PI = (PI[0] / 2, PI[1] / 2)


def arcsin_parts(w: Writer, x: Real) -> tuple[Mask, Real, Real]:
    """(far, t, tail): far = |x| > 1/2; t + tail is arcsin |x|, or half of arccos |x| where far.

    arccos(a) = 2 arcsin(sqrt((1 - a) / 2)), and (1 - a) / 2 is exact for a from 1/2 to 1.
    """
    a = abs(x)
    outer = a > 0.5
    z = w.select(outer, w.muladd(a, -0.5, 0.5), a * a)
    t = w.select(outer, z.sqrt(), a)
    return outer, t, (t * z) * w.polynomial(z, ASIN_32 if w.single else ASIN)


def arcsin(w: Writer, x: Real) -> Real:
    """The inverse sine, at most 2 ulp; NaN beyond 1."""
    outer, t, tail = arcsin_parts(w, x)
    total, error = w.fast_two_sum(w.real(HALF_PI[0]), -2.0 * t)
    complement = total + (error - (2.0 * tail - HALF_PI[1]))
    return w.select(outer, complement, t + tail).with_sign_of(x)


def arccos(w: Writer, x: Real) -> Real:
    """The inverse cosine, at most 2 ulp; NaN beyond 1."""
    outer, t, tail = arcsin_parts(w, x)
    negative = x < 0.0
    twice, twice_tail = 2.0 * t, 2.0 * tail
    near = w.select(negative, PI[0] - (twice + (twice_tail - PI[1])), twice + twice_tail)
    signed, signed_tail = w.select(negative, -t, t), w.select(negative, -tail, tail)
    return w.select(outer, near, HALF_PI[0] - (signed + (signed_tail - HALF_PI[1])))


def arctan_of_ratio(
    w: Writer, low: Real, high: Real, near: tuple[Real, Real], middle: tuple[Real, Real], flip: Mask
) -> Real:
    """c + arctan(low / high) or c - arctan(…) where flip, for 0 <= low <= high, c = near + 0.

    For low / high > 1/2 it is pi/4 - arctan((high - low) / (high + low)), whose numerator is exact; `middle`
    is c plus or minus pi/4. Both constants are in two doubles.
    """
    steep = 2.0 * low > high  # doubling is exact, for subnormal numbers too
    t = w.select(steep, low - high, low) / w.select(steep, low + high, high)
    z = t * t
    tail = (t * z) * w.polynomial(z, ATAN_32 if w.single else ATAN)
    t, tail = w.select(flip, -t, t), w.select(flip, -tail, tail)
    offset, offset_low = w.select(steep, middle[0], near[0]), w.select(steep, middle[1], near[1])
    total, error = w.fast_two_sum(offset, t)
    return total + (error + (tail + offset_low))


def arctan(w: Writer, x: Real) -> Real:
    """The inverse tangent, at most 2 ulp."""
    a = abs(x)
    flip = a > 1.0
    low, high = w.select(flip, 1.0, a), w.select(flip, a, 1.0)
    near = (w.select(flip, HALF_PI[0], 0.0), w.select(flip, HALF_PI[1], 0.0))
    middle = (w.real(QUARTER_PI[0]), w.real(QUARTER_PI[1]))
    return arctan_of_ratio(w, low, high, near, middle, flip).with_sign_of(x)


def arctan2(w: Writer, y: Real, x: Real) -> Real:
    """The angle of the point (x, y), at most 2 ulp, with the signs of zeros and infinities of IEEE 754."""
    a, b = abs(y), abs(x)
    upper = a > b
    low, high = w.select(upper, b, a), w.select(upper, a, b)
    infinite = high.equals(math.inf)
    low = w.select(infinite, w.select(low.equals(math.inf), 1.0, 0.0), low)
    high = w.select(infinite, 1.0, w.select(high.equals(0.0), 1.0, high))
    if not w.single:
        scale = w.select(high > 2.0**1000, 2.0**-4, 1.0)  # so that low + high does not overflow
        low, high = low * scale, high * scale
    left = (x.word() >> 63).equals(1)  # -0.0 is left
    # in the right half: 0 + or pi/2 -; in the left half: pi - or pi/2 +
    near = [w.select(upper, h, w.select(left, p, 0.0)) for h, p in zip(HALF_PI, PI, strict=True)]
    middle = [w.select(left, t, q) for t, q in zip(THREE_QUARTERS_PI, QUARTER_PI, strict=True)]
    value = arctan_of_ratio(w, low, high, (near[0], near[1]), (middle[0], middle[1]), upper ^ left)
    return w.select(x.unordered(y), math.nan, value).with_sign_of(y)
