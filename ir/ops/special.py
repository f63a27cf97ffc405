"""Special functions of elements under SciPy's names: gamma and its relatives, error functions, entropies, losses.

In: the declaration helpers. Out: registry entries, named as in `scipy.special`; the Bessel functions are in
`bessel.py`. Rules are the textbook derivatives in forms that neither overflow nor cancel where the derivative itself
does not; at a pole they are infinite or NaN. Orders and shape parameters without a closed derivative are `refused`.

Functions of these have no declaration of their own: `polygamma` is `zeta` and `digamma`, `multigammaln` a sum of
`gammaln`, `logsumexp` and `softmax` are reductions, the distributions of `scipy.stats` combinations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Value, builder, const
from .analytic import steps
from .arithmetic import eq
from .declare import OpDef
from .functions import exp, log, log1p, sqrt, where
from .named import Named, refused, special

ROOT_PI = math.sqrt(math.pi)
LINE = (-2.5, 2.5)
POSITIVE = (0.3, 5.0)
UNIT = (0.05, 0.95)
FAR = 12.0
"""From where on an asymptotic series of 13 terms is exact to the last bits."""


def absolute(x: Value) -> Value:
    return builder().emit1("abs", [x])


def sign(x: Value) -> Value:
    return builder().emit1("sign", [x])


def polynomial(x: Value, coefficients: list[float]) -> Value:
    """Lowest coefficient first (W. G. Horner)."""
    total: Value = const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        total = total * x + c
    return total


# ---------------------------------------------------------------- gamma and its relatives

zeta: OpDef = special(
    "zeta",  # Hurwitz's, of two arguments
    lambda x, q: (refused("zeta", "x"), lambda: -x * zeta(x + 1, q)),
    domain=("whole", POSITIVE),
)
digamma: OpDef = special("digamma", lambda x: (lambda: trigamma(x),), function="psi", domain=POSITIVE, cost=16)


def trigamma(x: Value) -> Value:
    return zeta(const(2.0, x.dtype), x)


gammaln: OpDef = special("gammaln", lambda x: (lambda: digamma(x),), domain=POSITIVE, cost=16)
gamma = special("gamma", lambda x, *, y: (lambda: y * digamma(x),), domain=POSITIVE)
rgamma = special("rgamma", lambda x, *, y: (lambda: -y * digamma(x),), domain=POSITIVE)
beta = special(
    "beta",
    lambda a, b, *, y: (lambda: y * (digamma(a) - digamma(a + b)), lambda: y * (digamma(b) - digamma(a + b))),
    domain=(POSITIVE, POSITIVE),
    cost=48,
)
betaln: OpDef = special(
    "betaln",
    lambda a, b: (lambda: digamma(a) - digamma(a + b), lambda: digamma(b) - digamma(a + b)),
    domain=(POSITIVE, POSITIVE),
    cost=48,
)
poch = special(
    "poch",
    lambda z, m, *, y: (lambda: y * (digamma(z + m) - digamma(z)), lambda: y * digamma(z + m)),
    domain=(POSITIVE, POSITIVE),
    cost=48,
)


def binom_partials(n: Value, k: Value, *, y: Value) -> tuple[Any, Any]:
    def rest() -> Value:
        return digamma(n - k + 1)

    return lambda: y * (digamma(n + 1) - rest()), lambda: y * (rest() - digamma(k + 1))


binom = special("binom", binom_partials, domain=((3.0, 6.0), (0.2, 2.5)), cost=48)


gammasgn = special("gammasgn", None, continuation=steps, domain=POSITIVE, kinks="constant between the poles: 0", cost=4)


def log_density_of_gamma(a: Value, x: Value) -> Value:
    """log(x**(a - 1) e**-x / gamma(a))."""
    return xlogy(a - 1, x) - x - gammaln(a)


gammainc = special(
    "gammainc",
    lambda a, x: (refused("gammainc", "a"), lambda: exp(log_density_of_gamma(a, x))),
    domain=("whole", POSITIVE),
    cost=100,
)
gammaincc = special(
    "gammaincc",
    lambda a, x: (refused("gammaincc", "a"), lambda: -exp(log_density_of_gamma(a, x))),
    domain=("whole", POSITIVE),
    cost=100,
)
gammaincinv = special(
    "gammaincinv",
    lambda a, p, *, y: (refused("gammaincinv", "a"), lambda: exp(-log_density_of_gamma(a, y))),
    domain=("whole", UNIT),
    cost=100,
)
gammainccinv = special(
    "gammainccinv",
    lambda a, p, *, y: (refused("gammainccinv", "a"), lambda: -exp(-log_density_of_gamma(a, y))),
    domain=("whole", UNIT),
    cost=100,
)


def log_density_of_beta(a: Value, b: Value, x: Value) -> Value:
    """log(x**(a - 1) (1 - x)**(b - 1) / beta(a, b))."""
    return xlogy(a - 1, x) + xlog1py(b - 1, -x) - betaln(a, b)


betainc = special(
    "betainc",
    lambda a, b, x: (
        refused("betainc", "a"),
        refused("betainc", "b"),
        lambda: exp(log_density_of_beta(a, b, x)),
    ),
    domain=("whole", "whole", UNIT),
    cost=100,
)
betaincinv = special(
    "betaincinv",
    lambda a, b, p, *, y: (
        refused("betaincinv", "a"),
        refused("betaincinv", "b"),
        lambda: exp(-log_density_of_beta(a, b, y)),
    ),
    domain=("whole", "whole", UNIT),
    cost=100,
)


def density_of_t(df: Value, t: Value) -> Value:
    """Student's density."""
    scale = exp(-betaln(0.5 * df, const(0.5, df.dtype))) / sqrt(df)
    return scale * exp(-0.5 * (df + 1) * log1p(t * t / df))


stdtr = special(
    "stdtr",
    lambda df, t: (refused("stdtr", "df"), lambda: density_of_t(df, t)),
    domain=("whole", LINE),
    cost=100,
)
stdtrit = special(
    "stdtrit",
    lambda df, p, *, y: (refused("stdtrit", "df"), lambda: 1 / density_of_t(df, y)),
    domain=("whole", UNIT),
    cost=100,
)

# ---------------------------------------------------------------- error functions, the normal distribution


def far_series(u: Value, first: float) -> Value:
    """u + 3 s u**2 + 15 u**3 + 105 s u**4 + ..., with s = `first`: what 2x times Dawson's or the scaled error function
    lacks of a constant, u = 1 / (2 x**2).
    """
    factors, f = [0.0], 1.0
    for k in range(1, 14):
        factors.append(f)
        f *= first * (2 * k + 1)
    return polynomial(u, factors)


def scaled_slope(x: Value, y: Value) -> Value:
    """2 x y - 2 / sqrt(pi) for y = exp(x**2) erfc(x), without cancellation far out."""
    c = 2 / ROOT_PI
    return where(x < FAR, 2 * (x * y) - c, -c * far_series(0.5 / (x * x), -1.0), x)


def dawson_slope(x: Value, y: Value) -> Value:
    """1 - 2 x y, likewise."""
    return where(absolute(x) < FAR, 1 - 2 * (x * y), -far_series(0.5 / (x * x), 1.0), x)


erf = special(
    "erf", lambda x: (lambda: 2 / ROOT_PI * exp(-(x * x)),), continuation=Named("scipy.special.erf"), domain=LINE
)
erfc = special(
    "erfc", lambda x: (lambda: -2 / ROOT_PI * exp(-(x * x)),), continuation=Named("scipy.special.erfc"), domain=LINE
)
erfcx: OpDef = special(
    "erfcx",
    lambda x, *, y: (lambda: scaled_slope(x, y),),
    continuation=Named("scipy.special.erfcx"),
    domain=LINE,
)
dawsn = special(
    "dawsn",
    lambda x, *, y: (lambda: dawson_slope(x, y),),
    continuation=Named("scipy.special.dawsn"),
    domain=LINE,
)
erfinv = special("erfinv", lambda p, *, y: (lambda: 0.5 * ROOT_PI * exp(y * y),), domain=(-0.95, 0.95))
erfcinv = special("erfcinv", lambda p, *, y: (lambda: -0.5 * ROOT_PI * exp(y * y),), domain=(0.05, 1.95))
ndtr = special("ndtr", lambda x: (lambda: math.sqrt(0.5 / math.pi) * exp(-0.5 * (x * x)),), domain=LINE)
log_ndtr = special(
    "log_ndtr",
    lambda x: (lambda: math.sqrt(2 / math.pi) / erfcx(-math.sqrt(0.5) * x),),
    domain=(-6.0, 3.0),
)
ndtri = special("ndtri", lambda p, *, y: (lambda: math.sqrt(2 * math.pi) * exp(0.5 * (y * y)),), domain=UNIT)
ndtri_exp = special(
    "ndtri_exp",
    lambda p, *, y: (lambda: math.sqrt(math.pi / 2) * erfcx(-math.sqrt(0.5) * y),),
    domain=(-8.0, -0.05),
    cost=100,
)

# ---------------------------------------------------------------- logistic functions

expit: OpDef = special(
    "expit",
    lambda x, *, y: (lambda: y * expit(-x),),
    continuation=lambda x: 1 / (1 + np.exp(-x)),
    domain=(-20.0, 20.0),
    cost=8,
)
log_expit = special(
    "log_expit",
    lambda x: (lambda: expit(-x),),
    continuation=lambda x: -np.log1p(np.exp(-x)),
    domain=(-20.0, 20.0),
    cost=12,
)
logit = special(
    "logit",
    lambda x: (lambda: 1 / (x * (1 - x)),),
    continuation=lambda x: np.log(x / (1 - x)),
    domain=UNIT,
    cost=12,
    kinks="x = 0, x = 1: inf",
)

# ---------------------------------------------------------------- x log(y) and entropies


def log_ratio(x: Value, y: Value) -> Value:
    """log(x / y), also where the quotient is beyond the range of floats."""
    ratio = x / y
    inside = (ratio > 1e-30) & (ratio < 1e30)
    return where(inside, log(ratio), log(x) - log(y), x)


def nonzero(x: Value) -> Value:
    return ~eq(x, 0)


xlogy: OpDef = special(
    "xlogy",
    lambda x, y_: (lambda: log(y_), lambda: x / y_),
    masks=lambda x, y_: (None, lambda: nonzero(x)),
    domain=(LINE, POSITIVE),
    cost=8,
    kinks="x = 0: by y 0, by structure; y = 0: by x -inf",
)
xlog1py: OpDef = special(
    "xlog1py",
    lambda x, y_: (lambda: log1p(y_), lambda: x / (1 + y_)),
    masks=lambda x, y_: (None, lambda: nonzero(x)),
    domain=(LINE, (-0.7, 5.0)),
    cost=8,
    kinks="x = 0: by y 0, by structure; y = -1: by x -inf",
)
entr = special("entr", lambda x: (lambda: -log(x) - 1,), domain=POSITIVE, cost=8, kinks="x = 0: inf; x < 0: nan")
rel_entr = special(
    "rel_entr",
    lambda x, y_: (lambda: log_ratio(x, y_) + 1, lambda: -x / y_),
    masks=lambda x, y_: (None, lambda: nonzero(x)),
    domain=(POSITIVE, POSITIVE),
    cost=8,
    kinks="x = 0: by x -inf, by y 0, by structure",
)
kl_div = special(
    "kl_div",
    lambda x, y_: (lambda: log_ratio(x, y_), lambda: where(nonzero(x), 1 - x / y_, 1.0, x)),
    domain=(POSITIVE, POSITIVE),
    cost=8,
    kinks="x = 0: by x -inf, by y 1",
)

# ---------------------------------------------------------------- losses


def huber_partials(delta: Value, r: Value) -> tuple[Any, Any]:
    def by_delta() -> Value:
        size = absolute(r)
        return where(delta < 0, math.nan, where(size <= delta, 0.0, size - delta, r), r)

    def by_r() -> Value:
        return where(delta < 0, math.nan, where(absolute(r) <= delta, r, delta * sign(r), r), r)

    return by_delta, by_r


def pseudo_huber_partials(delta: Value, r: Value) -> tuple[Any, Any]:
    """By delta: delta (s - 1)**2 / s, by r: r / s, with s = sqrt(1 + (r / delta)**2)."""

    def s() -> Value:
        return builder().emit1("hypot", [r / delta, const(1.0, r.dtype)])

    def by_delta() -> Value:
        v = r / delta
        root = s()
        less_one = v * (v / (root + 1))
        return where(delta < 0, math.nan, delta * (less_one * (less_one / root)), r)

    return by_delta, lambda: where(delta < 0, math.nan, r / s(), r)


huber = special(
    "huber",
    huber_partials,
    domain=((0.5, 2.0), (-3.0, 3.0)),
    cost=4,
    kinks="delta < 0: nan",
)
pseudo_huber = special(
    "pseudo_huber",
    pseudo_huber_partials,
    domain=((0.5, 2.0), (-3.0, 3.0)),
    cost=16,
    kinks="delta < 0: nan; delta = 0: nan by delta",
)

# ---------------------------------------------------------------- (e**x - 1) / x, integrals of e**x / x, Box and Cox


def exprel_slope(x: Value, y: Value) -> Value:
    """The derivative of y = (e**x - 1) / x: (e**x - y) / x, near 0 the sum of x**k / (k! (k + 2))."""
    series = polynomial(x, [1 / (math.factorial(k) * (k + 2)) for k in range(19)])
    return where(absolute(x) < 1, series, (exp(x) - y) / x, x)


exprel: OpDef = special("exprel", lambda x, *, y: (lambda: exprel_slope(x, y),), domain=(-5.0, 5.0), cost=12)
expi = special("expi", lambda x: (lambda: exp(x) / x,), domain=POSITIVE)
exp1 = special("exp1", lambda x: (lambda: -exp(-x) / x,), domain=POSITIVE)


def by_power(logarithm: Value, lam: Value) -> Value:
    """The derivative of (x**lam - 1) / lam by lam, from log(x): log(x)**2 times the slope of `exprel`."""
    u = lam * logarithm
    return logarithm * (logarithm * exprel_slope(u, exprel(u)))


boxcox = special(
    "boxcox",
    lambda x, lam: (lambda: x ** (lam - 1), lambda: by_power(log(x), lam)),
    domain=(POSITIVE, LINE),
)
boxcox1p = special(
    "boxcox1p",
    lambda x, lam: (lambda: exp((lam - 1) * log1p(x)), lambda: by_power(log1p(x), lam)),
    domain=(POSITIVE, LINE),
)
inv_boxcox = special(
    "inv_boxcox",
    lambda x, lam, *, y: (lambda: y ** (1 - lam), lambda: -by_power(log(y), lam) * y ** (1 - lam)),
    domain=((0.1, 0.9), (-0.9, 2.0)),
)
inv_boxcox1p = special(
    "inv_boxcox1p",
    lambda x, lam, *, y: (
        lambda: exp((1 - lam) * log1p(y)),
        lambda: -by_power(log1p(y), lam) * exp((1 - lam) * log1p(y)),
    ),
    domain=((0.1, 0.9), (-0.9, 2.0)),
)
