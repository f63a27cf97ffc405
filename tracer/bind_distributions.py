"""Bindings of `scipy.stats`: densities, distribution functions and quantiles of the common distributions.

In: the caller's distribution object, and arguments as abstract values. Out: compositions of operations of the table.
A distribution says its logarithmic density, and what else is not that, of the standardized variable (x - loc) / scale;
the location, the scale, the support and parameters without meaning (NaN, as in SciPy) are handled once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.types import F64
from .context import Tracer
from .numeric import element
from .terms import Term, choose, of
from .values import Host

__all__ = ["register"]

Function = Callable[..., Term]
LOG_ROOT_2_PI = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Distribution:
    """`log_density(z, *shapes)`; `below`, `log_below`, `above`, `log_above`: the probabilities of either side and their
    logarithms; `quantile`, `upper` (q, *shapes): where the one or the other is q; `support`: None for the whole line;
    `valid(*shapes)`: where shapes have a meaning.
    """

    log_density: Function
    shapes: tuple[str, ...] = ()
    below: Function | None = None
    above: Function | None = None
    log_below: Function | None = None
    log_above: Function | None = None
    quantile: Function | None = None
    upper: Function | None = None
    support: tuple[float, float] | None = None
    valid: Function | None = None
    discrete: bool = False


def exp(x: Term) -> Term:
    return x.ufunc(np.exp, x)


def log(x: Term) -> Term:
    return x.ufunc(np.log, x)


def log1p(x: Term) -> Term:
    return x.ufunc(np.log1p, x)


def expm1(x: Term) -> Term:
    return x.ufunc(np.expm1, x)


def size(x: Term) -> Term:
    return x.ufunc(np.absolute, x)


def log_t(z: Term, df: Term) -> Term:
    constant = -of("betaln", 0.5 * df, 0.5) - 0.5 * log(df)
    return constant - 0.5 * (df + 1.0) * log1p(z * z / df)


def log_beta(z: Term, a: Term, b: Term) -> Term:
    return of("xlog1py", b - 1.0, -z) + of("xlogy", a - 1.0, z) - of("betaln", a, b)


def log_gamma(z: Term, a: Term) -> Term:
    return of("xlogy", a - 1.0, z) - z - of("gammaln", a)


def log_poisson(k: Term, mu: Term) -> Term:
    value = of("xlogy", k, mu) - of("gammaln", k + 1.0) - mu
    between = k > k.ufunc(np.floor, k)
    return choose(between, -math.inf, value)


def cauchy_upper(q: Term) -> Term:
    """1 / tan(pi q), from the nearer end."""
    near = choose(q < 0.5, q, 1.0 - q)
    value = 1.0 / near.ufunc(np.tan, math.pi * near)
    return choose(q < 0.5, value, -value)


POSITIVE = lambda *shapes: all_of(*(s > 0.0 for s in shapes))
RIGHT, UNIT = (0.0, math.inf), (0.0, 1.0)


def all_of(first: Term, *rest: Term) -> Term:
    for term in rest:
        first = first & term
    return first


DISTRIBUTIONS = {
    "norm": Distribution(
        lambda z: -0.5 * (z * z) - LOG_ROOT_2_PI,
        below=lambda z: of("ndtr", z),
        above=lambda z: of("ndtr", -z),
        log_below=lambda z: of("log_ndtr", z),
        log_above=lambda z: of("log_ndtr", -z),
        quantile=lambda q: of("ndtri", q),
        upper=lambda q: -of("ndtri", q),
    ),
    "t": Distribution(
        log_t,
        ("df",),
        below=lambda z, df: of("stdtr", df, z),
        above=lambda z, df: of("stdtr", df, -z),
        quantile=lambda q, df: of("stdtrit", df, q),
        upper=lambda q, df: -of("stdtrit", df, q),
        valid=POSITIVE,
    ),
    "gamma": Distribution(
        log_gamma,
        ("a",),
        below=lambda z, a: of("gammainc", a, z),
        above=lambda z, a: of("gammaincc", a, z),
        quantile=lambda q, a: of("gammaincinv", a, q),
        upper=lambda q, a: of("gammainccinv", a, q),
        support=RIGHT,
        valid=POSITIVE,
    ),
    "chi2": Distribution(
        lambda z, df: log_gamma(0.5 * z, 0.5 * df) - math.log(2.0),
        ("df",),
        below=lambda z, df: of("gammainc", 0.5 * df, 0.5 * z),
        above=lambda z, df: of("gammaincc", 0.5 * df, 0.5 * z),
        quantile=lambda q, df: 2.0 * of("gammaincinv", 0.5 * df, q),
        upper=lambda q, df: 2.0 * of("gammainccinv", 0.5 * df, q),
        support=RIGHT,
        valid=POSITIVE,
    ),
    "beta": Distribution(
        log_beta,
        ("a", "b"),
        below=lambda z, a, b: of("betainc", a, b, z),
        above=lambda z, a, b: of("betainc", b, a, 1.0 - z),
        quantile=lambda q, a, b: of("betaincinv", a, b, q),
        upper=lambda q, a, b: 1.0 - of("betaincinv", b, a, q),
        support=UNIT,
        valid=POSITIVE,
    ),
    "expon": Distribution(
        lambda z: -z,
        below=lambda z: -expm1(-z),
        above=lambda z: exp(-z),
        log_above=lambda z: -z,
        quantile=lambda q: -log1p(-q),
        upper=lambda q: -log(q),
        support=RIGHT,
    ),
    "laplace": Distribution(
        lambda z: -math.log(2.0) - size(z),
        below=lambda z: choose(z > 0.0, 1.0 - 0.5 * exp(-size(z)), 0.5 * exp(-size(z))),
        above=lambda z: choose(z > 0.0, 0.5 * exp(-size(z)), 1.0 - 0.5 * exp(-size(z))),
        quantile=lambda q: choose(q > 0.5, -log(2.0 * (1.0 - q)), log(2.0 * q)),
        upper=lambda q: choose(q > 0.5, log(2.0 * (1.0 - q)), -log(2.0 * q)),
    ),
    "logistic": Distribution(
        lambda z: of("log_expit", z) + of("log_expit", -z),
        below=lambda z: of("expit", z),
        above=lambda z: of("expit", -z),
        log_below=lambda z: of("log_expit", z),
        log_above=lambda z: of("log_expit", -z),
        quantile=lambda q: of("logit", q),
        upper=lambda q: -of("logit", q),
    ),
    "cauchy": Distribution(
        lambda z: -math.log(math.pi) - log1p(z * z),
        below=lambda z: z.ufunc(np.arctan2, 1.0, -z) / math.pi,
        above=lambda z: z.ufunc(np.arctan2, 1.0, z) / math.pi,
        quantile=lambda q: -cauchy_upper(q),
        upper=lambda q: cauchy_upper(q),
    ),
    "poisson": Distribution(
        log_poisson,
        ("mu",),
        below=lambda k, mu: of("gammaincc", k.ufunc(np.floor, k) + 1.0, mu),
        above=lambda k, mu: of("gammainc", k.ufunc(np.floor, k) + 1.0, mu),
        support=RIGHT,
        valid=lambda mu: mu >= 0.0,
        discrete=True,
    ),
}

# ---------------------------------------------------------------- methods


@dataclass(frozen=True)
class Method:
    """`value(distribution, z, shapes)` of the standardized variable; `scaled`: how `scale` enters a density; `left`,
    `right`: the value beyond the ends of the support."""

    value: Callable[[Distribution, Term, list[Term]], Term | None]
    left: float
    right: float
    scaled: Callable[[Term, Term], Term] = lambda value, scale: value


def side(which: str, logarithm: bool = False) -> Callable[[Distribution, Term, list[Term]], Term | None]:
    def value(d: Distribution, z: Term, shapes: list[Term]) -> Term | None:
        exact = getattr(d, f"log_{which}") if logarithm else None
        if exact is not None:
            found: Term = exact(z, *shapes)
            return found
        function = getattr(d, which)
        if function is None:
            return None
        found = function(z, *shapes)
        if not logarithm:
            return found
        other = getattr(d, "above" if which == "below" else "below")
        if other is None:
            return log(found)
        return choose(found > 0.5, log1p(-other(z, *shapes)), log(found))

    return value


def log_density(d: Distribution, z: Term, shapes: list[Term]) -> Term:
    return d.log_density(z, *shapes)


def density(d: Distribution, z: Term, shapes: list[Term]) -> Term:
    return exp(d.log_density(z, *shapes))


METHODS = {
    "pdf": Method(density, 0.0, 0.0, lambda value, scale: value / scale),
    "logpdf": Method(log_density, -math.inf, -math.inf, lambda value, scale: value - log(scale)),
    "pmf": Method(density, 0.0, 0.0),
    "logpmf": Method(log_density, -math.inf, -math.inf),
    "cdf": Method(side("below"), 0.0, 1.0),
    "logcdf": Method(side("below", True), -math.inf, 0.0),
    "sf": Method(side("above"), 1.0, 0.0),
    "logsf": Method(side("above", True), 0.0, -math.inf),
}


def arguments(
    t: Tracer, d: Distribution, what: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Term], Term, Term]:
    """(shapes, loc, scale) from a call, as SciPy takes them."""
    kinds = inspect.Parameter
    parameters = [kinds(s, kinds.POSITIONAL_OR_KEYWORD) for s in d.shapes]
    parameters.append(kinds("loc", kinds.POSITIONAL_OR_KEYWORD, default=0.0))
    if not d.discrete:
        parameters.append(kinds("scale", kinds.POSITIONAL_OR_KEYWORD, default=1.0))
    try:
        bound = inspect.Signature(parameters).bind(*args, **kwargs)
    except TypeError as error:
        t.type_error(f"{what}: {error}")
    bound.apply_defaults()
    terms = {k: Term(t, element(t, v, what)) for k, v in bound.arguments.items()}
    return (
        [terms[s].cast(F64) for s in d.shapes],
        terms["loc"],
        terms.get("scale") or Term(t, 1.0),
    )


def distribution(t: Tracer, owner: Any, method: str) -> tuple[Distribution, str]:
    """The distribution of a caller's object; refused where it is not known."""
    value = owner.value if isinstance(owner, Host) else owner
    name = getattr(value, "name", type(value).__name__)
    what = f"scipy.stats.{name}.{method}"
    if name not in DISTRIBUTIONS or type(value).__module__.split(".")[0] != "scipy":
        t.unsupported(
            f"`{what}` is not known to adjit",
            f"write its formula; distributions known are {', '.join(DISTRIBUTIONS)}",
        )
    return DISTRIBUTIONS[name], what


def within(d: Distribution, shapes: list[Term], scale: Term) -> Term:
    """Where the parameters have a meaning."""
    good = scale > 0.0
    return good & d.valid(*shapes) if d.valid is not None else good


def unknown(t: Tracer, what: str) -> Any:
    t.unsupported(f"`{what}` is not known to adjit", "write its formula with functions of scipy.special")


def value_binding(name: str) -> Callable[..., Any]:
    method = METHODS[name]

    def binding(t: Tracer, self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        d, what = distribution(t, self, name)
        shapes, loc, scale = arguments(t, d, what, args, kwargs)
        z = ((Term(t, element(t, x, what)) - loc) / scale).cast(F64)
        value = method.value(d, z, shapes)
        if value is None:
            return unknown(t, what)
        scale = scale.cast(F64)
        value = method.scaled(value, scale)
        if d.support is not None:
            low, high = d.support
            value = choose(z < low, method.left, value)
            if math.isfinite(high):
                value = choose(z > high, method.right, value)
        return choose(within(d, shapes, scale), value, math.nan).result

    return binding


def quantile_binding(name: str) -> Callable[..., Any]:
    def binding(t: Tracer, self: Any, q: Any, *args: Any, **kwargs: Any) -> Any:
        d, what = distribution(t, self, name)
        function = d.upper if name == "isf" else d.quantile
        if function is None:
            return unknown(t, what)
        shapes, loc, scale = arguments(t, d, what, args, kwargs)
        given = Term(t, element(t, q, what)).cast(F64)
        ends = (-math.inf, math.inf) if d.support is None else d.support
        least, greatest = reversed(ends) if name == "isf" else ends
        value = function(given, *shapes)
        value = choose(given.equals(0.0), least, choose(given.equals(1.0), greatest, value))
        inside = (given >= 0.0) & (given <= 1.0) & within(d, shapes, scale)
        return choose(inside, value * scale.cast(F64) + loc.cast(F64), math.nan).result

    return binding


def refused(name: str) -> Callable[..., Any]:
    def binding(t: Tracer, self: Any, *args: Any, **kwargs: Any) -> Any:
        if name == "rvs":
            t.unsupported("`rvs` draws random numbers", "draw them before the call and pass them in as arguments")
        if name == "__call__":
            t.unsupported(
                "a distribution with fixed parameters (`norm(loc, scale)`) is not supported",
                "give the parameters with each call: `norm.logpdf(x, loc, scale)`",
            )
        t.unsupported(f"`{name}` of a distribution is not known to adjit", "compute it outside, or write its formula")

    return binding


REFUSED = ("__call__", "rvs", "fit", "expect", "interval", "moment", "stats", "mean", "median", "std", "var", "entropy")


def register() -> None:
    from .bindings import always, binds_named

    def enter(kind: str, names: Any, make: Callable[[str], Any]) -> None:
        for name in names:
            binds_named(f"scipy.stats:{kind}.{name}", always(make(name)))

    for kind, own in (("rv_continuous", ("pdf", "logpdf")), ("rv_discrete", ("pmf", "logpmf"))):
        enter(kind, (*own, "cdf", "logcdf", "sf", "logsf"), value_binding)
        enter(kind, ("ppf", "isf"), quantile_binding)
        enter(kind, REFUSED, refused)
