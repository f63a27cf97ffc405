"""expit, log_expit, logit: the logistic function, its logarithm and its inverse: in, a float64 `Real`; out, a `Real`.

The first two are written with e**-|x|, which is never large.
"""

from __future__ import annotations

from .exponential import exp_of_sum
from .hyperbolic import arctanh
from .lanes import Real, Writer
from .logarithm import log, log1p


def expit(w: Writer, x: Real) -> Real:
    """1 / (1 + e**-x), at most 2 ulp, also where it is tiny."""
    e = exp_of_sum(w, -abs(x), None)
    return w.select(x < 0.0, e, 1.0) / (1.0 + e)


def log_expit(w: Writer, x: Real) -> Real:
    """log(1 / (1 + e**-x)), at most 2 ulp."""
    return w.at_most(x, -0.0) - log1p(w, exp_of_sum(w, -abs(x), None))


def logit(w: Writer, x: Real) -> Real:
    """log(x / (1 - x)), at most 2 ulp; inf at 1, NaN outside of [0, 1]."""
    middle = arctanh(w, 2.0 * x - 1.0)  # the argument is exact from 1/4 on
    return w.select(x < 0.25, log(w, x / (1.0 - x)), 2.0 * middle)
