"""Reduction of any argument modulo pi/2, for the few elements that need it: in, |x| >= 2**20; out, (n, r, r_low).

The method of M. Payne and R. Hanek ("Radian reduction for trigonometric functions", SIGNUM 18, 1983): of the
binary digits of 2/pi, only 256 matter for a given exponent of x, those that make neither a multiple of 4 nor
something below the last bit. Their product with the 53-bit significand, modulo 4, is n and a fraction of which at
least 125 bits are right after the leading zeros, of which there are at most 62. Integer code, not vectorized.
"""

from __future__ import annotations

from .coefficients import HALF_PI, TWO_OVER_PI_DIGITS
from .lanes import MANTISSA, Real, Word, Writer

TABLE = "adjit_two_over_pi"
WORDS = len(TWO_OVER_PI_DIGITS)


def table_text() -> str:
    """The LLVM definition of the digits of 2/pi: 64 zero bits, then those after the binary point."""
    digits = ", ".join(f"i64 {digit}" for digit in TWO_OVER_PI_DIGITS)
    return f"@{TABLE} = linkonce_odr constant [{WORDS} x i64] [{digits}]"


def funnel(w: Writer, high: Word, low: Word, shift: Word | int) -> Word:
    """The upper word of high:low shifted left by `shift` modulo 64."""
    w.declared_words["fshl"] = 3
    operands = f"i64 {high.name}, i64 {low.name}, i64 {w.word(shift).name}"
    return Word(w, w.add(f"call i64 @llvm.fshl.i64({operands})"))


def leading_zeros(w: Writer, word: Word) -> Word:
    """The number of leading zeros of a word that is not 0."""
    bits = [w.select_word((word & (1 << 63 - i)).equals(0), 1, 0) for i in range(64)]
    return bits[0]


def far_reduced(w: Writer, x: Real) -> tuple[Word, Real, Real]:
    """(n, r, r_low): |x| = n pi/2 + r + r_low, n modulo 4 in the low bits; NaN for inf and NaN."""
    raise NotImplementedError
