"""sin, cos, tan: in, a float64 `Real`; out, a `Real`.

|x| = n pi/2 + r + r_low with |r| <= pi/4, by subtracting n times pi/2 in three or four pieces (Cody and
Waite), which keeps about 2**-120 and so every bit of a result near a zero. That holds up to `limit`; beyond it
the reduction of `far.py` is called for the elements concerned (`Writer.rarely`), and the loop still vectorizes
for the others. Then polynomials in r**2 for sine and cosine.
"""

from __future__ import annotations

from .coefficients import COS, COS_32, HALF_PI, HALF_PI_33, SIN, SIN_32, TWO_OVER_PI
from .far import far_reduced
from .lanes import ROUND, Mask, Real, Word, Writer


def limit(w: Writer) -> float:
    """The largest magnitude that is reduced here: n times a piece of pi/2 must be exact or fused."""
    return 2.0**30 if w.fused else 2.0**20


def reduced(w: Writer, x: Real) -> tuple[Word, Real, Real]:
    """(n, r, r_low) for 0 <= x <= limit."""
    shifted = w.muladd(x, TWO_OVER_PI[0], ROUND)
    n = shifted - ROUND
    if w.fused:
        first = w.muladd(-n, HALF_PI[0], x)  # exact
        second, error = w.two_product(n, HALF_PI[1])
        r, r_low = w.two_sum(first, -second)
        r_low = w.muladd(-n, HALF_PI[2], r_low - error)
    else:
        first = x - n * HALF_PI_33[0]  # each product is exact
        r, error = w.two_sum(first, -(n * HALF_PI_33[1]))
        r, r_low = w.two_sum(r, -(n * HALF_PI_33[2]))
        r_low = (error + r_low) - n * HALF_PI_33[3]
    return (shifted.word(), *w.fast_two_sum(r, r_low))


def sin_and_cos(w: Writer, r: Real, r_low: Real) -> tuple[Real, Real, Real, Real]:
    """(a, b, c, d) with a + b = sin(r + r_low), c + d = cos(r + r_low), b and d the small terms."""
    z = r * r
    half = 0.5 * z
    if w.single:
        return (
            r,
            (z * r) * w.polynomial(z, SIN_32),
            1.0 - half,
            (z * z) * w.polynomial(z, COS_32),
        )
    leading = 1.0 - half
    sine = w.muladd(z * r, w.polynomial(z, SIN), r_low * leading)
    cosine = w.muladd(z * z, w.polynomial(z, COS), ((1.0 - leading) - half) - r * r_low)
    return r, sine, leading, cosine


def flipped(w: Writer, value: Real, n: Word) -> Real:
    """`value` with the sign changed if bit 1 of n is set."""
    return (value.word() ^ ((n & 2) << 62)).real()


def odd(n: Word) -> Mask:
    """Whether bit 0 of n is set."""
    return (n & 1).equals(1)


def with_sign_bit(value: Real, x: Real) -> Real:
    """`value` with its sign changed if x has one."""
    return (value.word() ^ (x.word() & (1 << 63))).real()


def sine(w: Writer, n: Word, r: Real, r_low: Real) -> Real:
    """sin(n pi/2 + r + r_low)."""
    a, b, c, d = sin_and_cos(w, r, r_low)
    return flipped(w, w.select(odd(n), c + d, a + b), n)


def tangent(w: Writer, n: Word, r: Real, r_low: Real) -> Real:
    """tan(n pi/2 + r + r_low)."""
    a, b, c, d = sin_and_cos(w, r, r_low)
    sine, sine_low = w.fast_two_sum(a, b)
    cosine, cosine_low = w.fast_two_sum(c, d)
    swap = odd(n)
    above, below = w.select(swap, -cosine, sine), w.select(swap, sine, cosine)
    if w.single:
        return above / below
    above_low, below_low = w.select(swap, -cosine_low, sine_low), w.select(swap, sine_low, cosine_low)
    inverse = 1.0 / below
    value = above * inverse
    rest = w.residual(above, value, below) + (above_low - value * below_low)
    return w.muladd(rest, inverse, value)


SIN_KIND, COS_KIND, TAN_KIND = 0.0, 1.0, 2.0


def far_function(w: Writer, x: Real, kind: Real) -> Real:
    """sin, cos or tan of any |x| >= 2**20: one function for the three, since a kernel often has two of them."""
    n, r, r_low = far_reduced(w, x)
    cosine = kind.equals(COS_KIND)
    value = sine(w, n + w.select_word(cosine, 1, 0), r, r_low)
    value = w.select(kind.equals(TAN_KIND), tangent(w, n, r, r_low), value)
    return w.select(cosine, value, with_sign_bit(value, x))


def unless_far(w: Writer, x: Real, kind: float, value: Real) -> Real:
    """`value` where x was reduced correctly."""
    return w.rarely(abs(x) > limit(w), "far_trigonometric", far_function, (x, w.real(kind)), value)


def sin(w: Writer, x: Real) -> Real:
    """The sine, at most 1 ulp."""
    return unless_far(w, x, SIN_KIND, with_sign_bit(sine(w, *reduced(w, abs(x))), x))


def cos(w: Writer, x: Real) -> Real:
    """The cosine, at most 1 ulp."""
    n, r, r_low = reduced(w, abs(x))
    return unless_far(w, x, COS_KIND, sine(w, n + 1, r, r_low))


def tan(w: Writer, x: Real) -> Real:
    """The tangent, at most 2 ulp."""
    return unless_far(w, x, TAN_KIND, with_sign_bit(tangent(w, *reduced(w, abs(x))), x))
