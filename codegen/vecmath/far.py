"""Reduction of any argument modulo pi/2, for the few elements that need it: in, |x| >= 2**20; out, (n, r, r_low).

The method of M. Payne and R. Hanek ("Radian reduction for trigonometric functions", SIGNUM 18, 1983): of the
binary digits of 2/pi, only 256 matter for a given exponent of x, those that make neither a multiple of 4 nor
something below the last bit. Their product with the 53-bit significand, modulo 4, is n and a fraction of which at
least 125 bits are right after the leading zeros, of which there are at most 62. Integer code, not vectorized.
"""

from __future__ import annotations

from itertools import pairwise

from .coefficients import HALF_PI, TWO_OVER_PI_DIGITS
from .lanes import MANTISSA, Real, Word, Writer

TABLE = "adjit_two_over_pi"
WORDS = len(TWO_OVER_PI_DIGITS)


def digits(w: Writer, position: Word, count: int) -> list[Word]:
    """`count` words of binary digits of 2/pi, from the digit at `position` of the table on."""
    w.constants[TABLE] = TWO_OVER_PI_DIGITS
    first, shift = position >> 6, position & 63
    loaded = []
    for i in range(count + 1):
        index = (first + i).name
        pointer = w.add(f"getelementptr [{WORDS} x i64], ptr @{TABLE}, i64 0, i64 {index}")
        loaded.append(Word(w, w.add(f"load i64, ptr {pointer}")))
    return [funnel(w, high, low, shift) for high, low in pairwise(loaded)]


def funnel(w: Writer, high: Word, low: Word, shift: Word | int) -> Word:
    """The upper word of high:low shifted left by `shift` modulo 64."""
    name = w.call("llvm.fshl.i64", "i64", ("i64", high), ("i64", low), ("i64", w.word(shift)))
    return Word(w, name)


def product(w: Writer, words: list[Word], factor: Word) -> list[Word]:
    """The upper words of words * factor, modulo 2**64 per word given, the lowest word of the product left out."""
    wide_factor = w.add(f"zext i64 {factor.name} to i128")
    carried, result = "0", []
    for word in reversed(words):
        wide = w.add(f"zext i64 {word.name} to i128")
        total = w.add(f"add i128 {w.add(f'mul i128 {wide}, {wide_factor}')}, {carried}")
        result.append(Word(w, w.add(f"trunc i128 {total} to i64")))
        carried = w.add(f"lshr i128 {total}, 64")
    return result[:0:-1]


def as_real(w: Writer, word: Word) -> Real:
    """The number in a word, rounded if it has more than 53 bits."""
    return Real(w, w.add(f"uitofp i64 {word.name} to double"))


def far_reduced(w: Writer, x: Real) -> tuple[Word, Real, Real]:
    """(n, r, r_low): |x| = n pi/2 + r + r_low, n modulo 4 in the low bits; NaN for inf and NaN."""
    word = x.word()
    significand = (word & MANTISSA) | (1 << 52)
    exponent = (word >> 52) & 0x7FF
    # |x| = significand * 2**e, e = exponent - 1075. The first digit of 2/pi whose product is not a multiple of 4
    # is number e - 1 after the binary point (its weight becomes 2), which the table has at e + 62.
    top, middle, bottom = product(w, digits(w, exponent - (1075 - 62), 4), significand)
    n = (top + (1 << 61)) >> 62  # nearest integer: the fraction below is signed
    fraction = [funnel(w, top, middle, 2), funnel(w, middle, bottom, 2), bottom << 2]
    sign = Word(w, w.add(f"ashr i64 {fraction[0].name}, 63"))
    high, middle, low = (part ^ sign for part in fraction)  # |fraction|, but for its last bit
    zeros = Word(w, w.call("llvm.ctlz.i64", "i64", ("i64", high), ("i1", "true")))
    high, low = funnel(w, high, middle, zeros), funnel(w, middle, low, zeros)
    scale = w.power_of_two((1023 - 64) - zeros)
    t = as_real(w, high & ~0x7FF) * scale  # 53 bits: exact
    t_low = as_real(w, ((high & 0x7FF) << 53) | (low >> 11)) * (scale * 2.0**-53)
    r, r_low = w.two_product(t, HALF_PI[0])
    r_low = w.muladd(t_low, HALF_PI[0], w.muladd(t, HALF_PI[1], r_low))
    r, r_low = w.fast_two_sum(r, r_low)
    sign = sign << 63
    invalid = x - x  # 0, or NaN
    return n, (r.word() ^ sign).real() + invalid, (r_low.word() ^ sign).real()
