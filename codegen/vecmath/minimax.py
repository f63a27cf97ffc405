"""Fits the polynomials of the vector math, and a quotient of two: in, a table of functions and intervals; out,
`coefficients.py`.

A development tool (it needs mpmath), not imported by the package. `python -m adjit.codegen.vecmath.minimax`
prints the text of `coefficients.py`; a test refits a part of the table and compares.

Every fit minimises the largest *relative* error of the function that uses the polynomial, by the exchange
algorithm of E. Remez (as in J.-M. Muller, "Elementary Functions", section 3.5): the error is made to
alternate on degree + 2 points, which are then moved to the extrema of the error. The lowest coefficient is rounded to a
double first and the rest is fitted again, so that it absorbs this rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import mpmath as mp

Real = Any  # an mpmath number

ERFC_CENTRE = 3.8125  # near the 3.75 of M. Shepherd and J. Laframboise, and the value there is nearly a double
PRECISION = 240  # bits; the fits themselves need about 120
GRID = 48  # points between two alternation points when looking for an extremum


@dataclass(frozen=True)
class Fit:
    """One polynomial: `function(t)` for t in [low, high]; an error d counts as `weight(t) * d`."""

    name: str
    function: Callable[[Real], Real]
    weight: Callable[[Real], Real]
    low: Real
    high: Real
    degree: int
    wide: bool = False  # 0 is well inside: what the lowest coefficient lost cannot be absorbed, and is chosen small


def evaluate(coefficients: Sequence[Real], t: Real) -> Real:
    """The value of a polynomial, lowest coefficient first."""
    total = mp.mpf(0)
    for coefficient in reversed(coefficients):
        total = total * t + coefficient
    return total


def remez(
    function: Callable[[Real], Real], weight: Callable[[Real], Real], low: Real, high: Real, degree: int
) -> tuple[list[Real], Real]:
    """Return the coefficients of the weighted minimax polynomial and its largest weighted error."""
    count = degree + 2
    middle, half = (low + high) / 2, (high - low) / 2
    nodes = [middle - half * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    coefficients: list[Real] = []
    largest = mp.inf
    for _ in range(12):
        matrix = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for row, node in enumerate(nodes):
            w = abs(weight(node))
            for column in range(degree + 1):
                matrix[row, column] = w * node**column
            matrix[row, degree + 1] = (-1) ** row
            right[row] = w * function(node)
        solution = mp.lu_solve(matrix, right)
        coefficients = [solution[i] for i in range(degree + 1)]
        levelled = abs(solution[degree + 1])

        def error(t: Real, coefficients: list[Real] = coefficients) -> Real:
            return abs(weight(t)) * (evaluate(coefficients, t) - function(t))

        edges = [low, *((a + b) / 2 for a, b in itertools.pairwise(nodes)), high]
        moved = []
        for left, right_edge in itertools.pairwise(edges):
            points = [left + (right_edge - left) * i / GRID for i in range(GRID + 1)]
            moved.append(max(points, key=lambda t: abs(error(t)) if t != 0 else mp.mpf(0)))
        nodes = moved
        largest = max(abs(error(t)) for t in nodes)
        if largest < levelled * mp.mpf("1.01"):
            break
    return coefficients, largest


def fit(spec: Fit) -> tuple[list[float], float]:
    """Return the coefficients as doubles and log2 of the largest weighted error that they leave."""
    with mp.workprec(PRECISION):
        low, high = mp.mpf(spec.low), mp.mpf(spec.high)
        free, _ = remez(spec.function, spec.weight, low, high, spec.degree)
        first, rest = float(free[0]), free[1:]
        if not spec.wide:
            rest, _ = remez(
                lambda t: (spec.function(t) - first) / t, lambda t: spec.weight(t) * t, low, high, spec.degree - 1
            )
        rounded = [first, *(float(c) for c in rest)]
        points = [low + (high - low) * (2 * i + 1) / 2000 for i in range(1000)]
        largest = max(abs(spec.weight(t) * (evaluate(rounded, t) - spec.function(t))) for t in points if abs(t) > 1e-9)
        return rounded, float(mp.log(largest, 2))


@dataclass(frozen=True)
class Ratio:
    """Two polynomials, the second beginning with 1, whose quotient is near `function`, as for `Fit`."""

    names: tuple[str, str]
    function: Callable[[Real], Real]
    weight: Callable[[Real], Real]
    high: Real
    degrees: tuple[int, int]


def ratio(spec: Ratio) -> tuple[list[float], list[float], float]:
    """As `fit`, for t in (0, high]: in each exchange the error and the divisor at the points are found in turn."""
    above, below = spec.degrees
    count = above + below + 2
    with mp.workprec(PRECISION):
        high = mp.mpf(spec.high)
        grid = [high * i / 1000 for i in range(1, 1001)]
        nodes = [high * (1 - mp.cos(mp.pi * (2 * i + 1) / (2 * count))) / 2 for i in range(count)]
        p, q = [mp.mpf(0)], [mp.mpf(1)]
        for step in range(40):
            matrix, right = mp.matrix(count, count), mp.matrix(count, 1)
            for row, t in enumerate(nodes):
                value = right[row] = spec.function(t)
                for k in range(above + 1):
                    matrix[row, k] = t**k
                for k in range(1, below + 1):
                    matrix[row, above + k] = -value * t**k
                matrix[row, count - 1] = (-1) ** row * evaluate(q, t) / spec.weight(t)
            solution = list(mp.lu_solve(matrix, right))
            p, q = solution[: above + 1], [mp.mpf(1), *solution[above + 1 : count - 1]]
            if step % 4 == 3:
                errors = [spec.weight(t) * (evaluate(p, t) / evaluate(q, t) - spec.function(t)) for t in grid]
                runs = [list(run) for _, run in itertools.groupby(range(1000), key=lambda i: errors[i] > 0)]
                nodes = [grid[max(run, key=lambda i: abs(errors[i]))] for run in runs]
                assert len(nodes) == count, "the error does not alternate"
        rounded = [float(c) for c in p], [float(c) for c in q]
        largest = max(
            abs(spec.weight(t) * (evaluate(rounded[0], t) / evaluate(rounded[1], t) - spec.function(t))) for t in grid
        )
        return *rounded, float(mp.log(largest, 2))


def tanh_ratio() -> Ratio:
    """(tanh(x) - x) / x**3 as a function of x**2, below the 0.625 from which on `tanh` is one minus something."""

    def tail(z: Real) -> Real:
        x = mp.sqrt(z)
        return (mp.tanh(x) - x) / (x * z)

    def weight(z: Real) -> Real:
        return mp.sqrt(z) * z / mp.tanh(mp.sqrt(z))

    return Ratio(("TANH_ABOVE", "TANH_BELOW"), tail, weight, mp.mpf("0.625") ** 2, (2, 3))


def _log_ratio(s: Real) -> Real:
    """log((1 + s) / (1 - s)), the function that every logarithm here reduces to."""
    return 2 * mp.atanh(s)


def table() -> list[Fit]:
    """The polynomials, those for float64 results and (name ending in 32) those for float32 results."""
    ln2 = mp.log(2)
    r = ln2 / 2 + mp.mpf("1e-4")  # the argument of exp after reduction, with the low part that `power` adds
    z_log = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.0001")
    z_trig = (mp.pi / 4 + mp.mpf("1e-5")) ** 2
    quarter = mp.mpf("0.2500001")

    def exp_tail(t: Real) -> Real:
        return (mp.expm1(t) - t) / t**2

    def exp2_tail(t: Real) -> Real:
        return mp.expm1(t * ln2) / t

    def odd_tail(f: Callable[[Real], Real], scale: int = 1) -> Callable[[Real], Real]:
        return lambda z: (f(mp.sqrt(z)) - scale * mp.sqrt(z)) / (mp.sqrt(z) * z)

    def log_tail_2(z: Real) -> Real:
        s = mp.sqrt(z)
        return (_log_ratio(s) - 2 * s - 2 * s**3 / 3) / s**5

    def cos_tail(z: Real) -> Real:
        return (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2

    def square(z: Real) -> Real:
        return z * z

    def erf_ratio(z: Real) -> Real:
        s = mp.sqrt(z)
        return (mp.erf(s) / s if s else 2 / mp.sqrt(mp.pi)) - 1

    @cache
    def scaled_erfc(t: Real) -> Real:
        """(1 + 2x) exp(x**2) erfc(x), where t in [-1, 1] is (x - c) / (x + c) of x >= 0."""
        if t >= 1:
            return 2 / mp.sqrt(mp.pi)
        x = mp.mpf(ERFC_CENTRE) * (1 + t) / (1 - t)
        return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)

    def identity(z: Real) -> Real:
        return z

    def half(z: Real) -> Real:
        return z / 2

    return [
        Fit("EXPM1", exp_tail, lambda t: t**2 / mp.expm1(t), -r, r, 10),
        Fit("EXPM1_32", exp_tail, lambda t: t**2 / mp.expm1(t), -r, r, 5),
        Fit("EXP2", exp2_tail, lambda t: t * 2**-t, -mp.mpf("0.50001"), mp.mpf("0.50001"), 10),
        Fit("EXP2_32", exp2_tail, lambda t: t * 2**-t, -mp.mpf("0.50001"), mp.mpf("0.50001"), 6),
        Fit("LOG", odd_tail(_log_ratio, 2), half, 0, z_log, 6),
        Fit("LOG_32", odd_tail(_log_ratio, 2), half, 0, z_log, 2),
        Fit("LOG_LONG", log_tail_2, lambda z: z * z / 2, 0, z_log, 7),
        Fit("SIN", odd_tail(mp.sin), identity, 0, z_trig, 5),
        Fit("SIN_32", odd_tail(mp.sin), identity, 0, z_trig, 2),
        Fit("COS", cos_tail, square, 0, z_trig, 5),
        Fit("COS_32", cos_tail, square, 0, z_trig, 2),
        Fit("ATAN", odd_tail(mp.atan), identity, 0, quarter, 11),
        Fit("ATAN_32", odd_tail(mp.atan), identity, 0, quarter, 5),
        Fit("ASIN", odd_tail(mp.asin), identity, 0, quarter, 12),
        Fit("ASIN_32", odd_tail(mp.asin), identity, 0, quarter, 5),
        Fit("ERF", erf_ratio, lambda z: 1 / (1 + erf_ratio(z)), 0, mp.mpf("1.0001"), 11),
        Fit("ERFC", scaled_erfc, lambda t: 1 / scaled_erfc(t), -1, 1, 25, wide=True),
        Fit("CBRT", lambda t: t ** (-mp.mpf(1) / 3), lambda t: mp.cbrt(t), 1, 2, 4),
    ]


def parts(value: Real, *bits: int) -> list[float]:
    """Doubles of at most that many bits each whose sum is near `value`: all truncated but the last."""
    result: list[float] = []
    for count in bits[:-1]:
        unit = mp.mpf(2) ** (mp.frexp(value)[1] - count)
        result.append(float(mp.floor(value / unit) * unit))
        value -= result[-1]
    return [*result, float(value)]


def constants() -> dict[str, list[float]]:
    """Constants in several doubles; those of 33 bits have exact products with integers below 2**20."""
    ln2, ln10 = mp.log(2), mp.log(10)
    return {
        "LN2": parts(ln2, 33, 53),
        "LOG10_2": parts(ln2 / ln10, 33, 53),
        "LOG2_E": parts(1 / ln2, 53, 53),
        "LOG10_E": parts(1 / ln10, 53, 53),
        "HALF_PI": parts(mp.pi / 2, 53, 53, 53),
        "HALF_PI_33": parts(mp.pi / 2, 33, 33, 33, 53),
        "TWO_OVER_PI": [float(2 / mp.pi)],
        "TWO_THIRDS": parts(mp.mpf(2) / 3, 53, 53),
        "PI": parts(mp.pi, 53, 53),
        "QUARTER_PI": parts(mp.pi / 4, 53, 53),
        "THREE_QUARTERS_PI": parts(3 * mp.pi / 4, 53, 53),
    }


def digits_of_two_over_pi(words: int) -> list[int]:
    """64 zero bits and then the binary digits of 2 / pi, in words."""
    with mp.workprec(64 * words):
        scaled = int(mp.floor(mp.ldexp(2 / mp.pi, 64 * (words - 1))))
    return [scaled >> (64 * i) & (2**64 - 1) for i in reversed(range(words))]


def assignment(name: str, values: Sequence[object], comment: str = "") -> str:
    """The line, or lines, that give `name` a tuple, as `ruff format` leaves them."""
    line = f"{name}: Final = ({', '.join(map(repr, values))}{',' if len(values) == 1 else ''})"
    if not comment and len(line) <= 110:
        return line
    return "\n".join([f"{name}: Final = ({comment}", *(f"    {v!r}," for v in values), ")"])


def text() -> str:
    """The text of `coefficients.py`."""
    lines = [
        '"""Constants in several doubles, highest first, and polynomials, lowest degree first.',
        "",
        "Written by `minimax.py`, not by hand. The comment at a polynomial is the largest relative error",
        "that it causes in the function that uses it.",
        '"""',
        "",
        "from typing import Final",
        "",
    ]
    with mp.workprec(PRECISION):
        for name, values in constants().items():
            lines.append(assignment(name, values))
        lines.append(assignment("TWO_OVER_PI_DIGITS", digits_of_two_over_pi(22)))
        for spec in table():
            coefficients, error = fit(spec)
            lines.append(assignment(spec.name, coefficients, f"  # 2**{error:.1f}"))
        quotient = tanh_ratio()
        above, below, error = ratio(quotient)
        for name, values in zip(quotient.names, (above, below), strict=True):
            lines.append(assignment(name, values, f"  # 2**{error:.1f}"))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(text(), end="")
