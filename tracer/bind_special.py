"""Bindings of `scipy.special`, and of the functions of `math` that have their twins there.

In: operations that name a function of SciPy's as their own, and arguments as abstract values. Out: bindings by name
(SciPy itself is never imported here), compositions among them. Dtypes are what SciPy's ufuncs resolve to.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.ops import REGISTRY
from ..ir.ops.named import Named
from ..ir.types import F64
from . import numeric, views
from .bind_elementwise import float_number
from .bind_reduce import ALL, ANY, MAX, SUM, float_dtype
from .bind_ufuncs import ufunc_binding
from .context import Tracer
from .numeric import element, is_static_number
from .terms import Term, choose, of
from .values import Number, Reference

__all__ = ["register"]

ALIASES = {"cbrt": "cbrt", "exp2": "exp2", "expm1": "expm1", "log1p": "log1p", "jn": "jv"}
"""SciPy's ufuncs that are operations under another name, or NumPy's."""


def float_term(t: Tracer, x: Any, what: str) -> Term:
    """A number or array as floats: integers and booleans as float64."""
    x = element(t, x, what)
    return Term(t, x).cast(float_dtype(t, x, None))


def derived(name: str, compute: Callable[..., Any], count: int = 1) -> tuple[str, Callable[[Any], Any]]:
    """A binding that is a composition of numbers and arrays; SciPy's own function on static numbers."""

    def make(function: Any) -> Any:
        def binding(t: Tracer, *args: Any) -> Any:
            if len(args) != count:
                t.type_error(f"scipy.special.{name} takes {count} argument{'s' * (count > 1)}, not {len(args)}")
            if all(is_static_number(a) for a in args):
                return function(*args)
            return compute(*(float_term(t, a, f"scipy.special.{name}") for a in args)).result

        return binding

    return name, make


def ufunc(operation: str) -> Callable[[Any], Any]:
    return lambda function: ufunc_binding(function, operation, f"scipy.special.{function.__name__}")


# ---------------------------------------------------------------- compositions of elements


def exp10(x: Term) -> Term:
    return x.ufunc(np.power, 10.0, x)


def cosm1(x: Term) -> Term:
    """cos(x) - 1 = -2 sin(x / 2)**2"""
    half = x.ufunc(np.sin, 0.5 * x)
    return -2.0 * (half * half)


def softplus(x: Term) -> Term:
    return x.ufunc(np.logaddexp, 0.0, x)


def loggamma(x: Term) -> Term:
    """The logarithm of gamma, on the reals: NaN below 0."""
    return choose(x < 0, math.nan, of("gammaln", x))


DERIVED = dict(derived(f.__name__, f) for f in (exp10, cosm1, softplus, loggamma))


def whole(t: Tracer, n: Any, what: str) -> int:
    """A whole number that is known while tracing; also one given as a float."""
    if isinstance(n, float) and n.is_integer():
        return int(n)
    return numeric.static_int(t, n, what)


def polygamma(t: Tracer, n: Any, x: Any) -> Any:
    """The n-th derivative of digamma: (-1)**(n + 1) n! zeta(n + 1, x)."""
    order = whole(t, n, "the order of scipy.special.polygamma")
    if order < 0:
        t.fail_value("the order of scipy.special.polygamma is negative")
    if is_static_number(x):
        return Named("scipy.special.polygamma")(order, x)[()]
    z = Term(t, element(t, x, "scipy.special.polygamma")).cast(F64)
    if order == 0:
        return of("digamma", z).x
    return ((-1.0) ** (order + 1) * math.gamma(order + 1.0) * of("zeta", order + 1.0, z)).x


def zeta(t: Tracer, x: Any, q: Any = None) -> Any:
    """Riemann's function has one argument, Hurwitz's two."""
    q = 1.0 if q is None else q
    if is_static_number(x) and is_static_number(q):
        return Named("scipy.special.zeta")(x, q)
    like = Named("scipy.special.poch").function  # a ufunc with the loops, in the order, of that behind `zeta`
    assert isinstance(like, np.ufunc)
    return numeric.elementwise(t, "zeta", like, [x, q], "scipy.special.zeta")


def of_whole_order(name: str, operation: str) -> Callable[..., Any]:
    """Bessel functions that SciPy has for whole orders: given a float, it would cut it off."""
    what = f"scipy.special.{name}"

    def binding(t: Tracer, n: Any, x: Any) -> Any:
        if is_static_number(n) and is_static_number(x):
            return Named(what)(n, x)
        order, z = element(t, n, what), element(t, x, what)
        kind = order.dtype if isinstance(order, Number | Reference) else numeric.scalar_value(t, order).dtype
        if kind.is_float:
            t.type_error(f"the order of {what} must be an integer", f"use scipy.special.{operation} for real orders")
        return numeric.emit_elementwise(t, operation, [order, z], [F64, F64], what)

    return binding


def kind_of(t: Tracer, x: Any) -> Any:
    return float_dtype(t, x, None).numpy


def multigammaln(t: Tracer, a: Any, d: Any) -> Any:
    """d (d - 1) / 4 log(pi) + the sum of gammaln(a - j / 2) over j < d."""
    count = whole(t, d, "the dimension of scipy.special.multigammaln")
    if count < 1:
        t.fail_value("d should be a positive integer (dimension)")
    if is_static_number(a):
        return Named("scipy.special.multigammaln")(a, count)
    x = float_term(t, a, "scipy.special.multigammaln")
    fits = numeric.scalar_value(t, ALL(t, (~(x <= 0.5 * (count - 1))).x))
    message = f"scipy.special.multigammaln: `a` must be greater than (d - 1) / 2 = {0.5 * (count - 1)}"
    t.emit("check", [fits], {"error": "ValueError", "message": message})
    total: Any = 0.25 * count * (count - 1) * math.log(math.pi)
    for j in range(count):
        total = total + of("gammaln", x - 0.5 * j)
    return total.x


# ---------------------------------------------------------------- reductions


def shifted(a: Term, axis: Any) -> Term:
    """The largest along axes, without derivative; 0 where it is not finite."""
    high = Term(a.t, MAX(a.t, a.x, axis, keepdims=True)).constant()
    return choose(high.ufunc(np.isfinite, high), high, 0.0)


def total(a: Term, axis: Any) -> Term:
    return Term(a.t, SUM(a.t, a.x, axis, keepdims=True))


def as_array(t: Tracer, x: Any) -> Any:
    """At least one axis."""
    if isinstance(x, Reference) and x.rank:
        return x
    from .bind_shape import reshape

    return reshape(t, x, (1,))


def broadcast_pair(t: Tracer, a: Any, b: Any) -> tuple[Term, Term]:
    """Two arrays of floats of one dtype and shape."""
    kind = numeric.to_dtype(t, np.result_type(kind_of(t, a), kind_of(t, b)))
    shape = numeric.broadcast_shapes(t, [numeric.shape_of(t, x) for x in (a, b)], "operands of scipy.special.logsumexp")

    def fitted(x: Any) -> Term:
        value = numeric.as_dtype(t, x, kind, "scipy.special.logsumexp")
        if not shape:
            return Term(t, as_array(t, Number(value)))
        if not value.is_array:
            return Term(t, t.new_array(t.emit1("fill", [value, *shape]), shape))
        return Term(t, t.new_array(numeric.broadcast_to(t, value, numeric.shape_of(t, x), shape), shape))

    return fitted(a), fitted(b)


def dropped(t: Tracer, x: Term, axis: Any, keepdims: Any) -> Any:
    """Without the reduced axes, unless they are kept."""
    if keepdims:
        return x.x
    from .bind_shape import squeeze

    out = squeeze(t, x.x, axis)
    return Number(views.read(t, out)) if isinstance(out, Reference) and out.rank == 0 else out


def logsumexp(
    t: Tracer, a: Any, axis: Any = None, b: Any = None, keepdims: Any = False, return_sign: Any = False
) -> Any:
    """log(sum(b exp(a))) as shift + log(M) + log1p(rest / M), with M the weight of the largest elements.

    The largest elements count as 1 each, exactly, and `rest` is what the others add: nothing is lost where the
    result is near 0. Their derivatives are in `rest`, the shift has none. Where the largest is infinite the result is
    it, and elements that are equal share the derivative, as in np.logaddexp.
    """
    what = "scipy.special.logsumexp"
    given = element(t, a, what)
    if b is None:
        x: Term = Term(t, as_array(t, given)).cast(float_dtype(t, given, None))
        weight: Any = 1.0
        seen = x
    else:
        x, weight = broadcast_pair(t, given, element(t, b, what))
        nothing = weight.equals(0.0)
        seen = choose(nothing, -math.inf, x)  # what counts for the largest
        x = choose(nothing & x.ufunc(np.isnan, x), -math.inf, x)
    axis = tuple(range(x.x.rank)) if axis is None else axis
    high = Term(t, MAX(t, seen.x, axis, keepdims=True))
    finite = high.ufunc(np.isfinite, high)
    shift = shifted(seen, axis)
    distance = x - shift
    if b is None:
        terms = distance.ufunc(np.exp, distance)
    else:
        bounded = choose(nothing, distance.ufunc(np.minimum, distance, 700.0), distance)
        terms = weight * bounded.ufunc(np.exp, bounded)
    largest = seen.equals(high.constant())
    of_largest = choose(largest, weight.constant() if b is not None else 1.0, 0.0).cast(x.dtype)
    main = total(of_largest, axis)
    rest = total(terms - of_largest, axis) / main
    direct_sum = total(terms, axis)
    size = direct_sum
    if b is not None:
        rest = choose(rest < -1.0, -2.0 - rest, rest)
        size = size.ufunc(np.absolute, size)
    value = main.ufunc(np.log1p, rest) + main.ufunc(np.log, main.ufunc(np.absolute, main)) + shift
    if b is not None:
        value = choose(main.equals(0.0), size.ufunc(np.log, size) + shift, value)
    plain_log = size.ufunc(np.log, size) + shift
    shared = total(choose(largest, x, 0.0), axis) / total(largest.cast(x.dtype), axis)
    undefined = plain_log.ufunc(np.isnan, plain_log)
    if b is not None:
        undefined = undefined | Term(t, ALL(t, nothing.x, axis, keepdims=True))
    infinite = choose(undefined, plain_log, shared)
    value = choose(finite, value, infinite)
    sign = direct_sum.ufunc(np.sign, direct_sum)
    if b is not None:  # 0 times inf, where SciPy comes upon it
        lost = ~finite & Term(t, ANY(t, (nothing & (x.equals(math.inf))).x, axis, keepdims=True))
        value, sign = choose(lost, math.nan, value), choose(lost, math.nan, sign)
    if return_sign:
        return dropped(t, value, axis, keepdims), dropped(t, sign, axis, keepdims)
    if b is not None:
        value = choose(sign < 0.0, math.nan, value)
    return dropped(t, value, axis, keepdims)


def softmax(t: Tracer, x: Any, axis: Any = None) -> Any:
    a = float_term(t, x, "scipy.special.softmax")
    if not isinstance(a.x, Reference):
        return (a * 0.0 + 1.0).x
    high = Term(t, MAX(t, a.x, axis, keepdims=True)).constant()
    e = a.ufunc(np.exp, a - high)
    return (e / total(e, axis)).x


def log_softmax(t: Tracer, x: Any, axis: Any = None) -> Any:
    a = float_term(t, x, "scipy.special.log_softmax")
    if not isinstance(a.x, Reference):
        return (a - a).x
    moved = a - shifted(a, axis)
    e = total(moved.ufunc(np.exp, moved), axis)
    return (moved - e.ufunc(np.log, e)).x


FUNCTIONS = {
    "polygamma": polygamma,
    "multigammaln": multigammaln,
    "zeta": zeta,
    "yn": of_whole_order("yn", "yv"),
    "kn": of_whole_order("kn", "kv"),
    "logsumexp": logsumexp,
    "softmax": softmax,
    "log_softmax": log_softmax,
}

# ---------------------------------------------------------------- math

MATH = {"erf": "erf", "erfc": "erfc", "gamma": "gamma", "lgamma": "gammaln"}


def math_binding(name: str, operation: str) -> Callable[..., Any]:
    what = f"math.{name}"

    def binding(t: Tracer, x: Any) -> Any:
        value = float_number(t, x, what)
        if isinstance(value, float):
            return float(REGISTRY[operation].evaluate(value))  # type: ignore[misc]
        return Number(t.emit1(operation, [value.value]), True)

    return binding


def register() -> None:
    from .bindings import TABLE, always, binds_named

    for operation, definition in REGISTRY.items():
        if isinstance(definition.evaluate, Named) and definition.evaluate.__name__ not in FUNCTIONS:
            binds_named(definition.evaluate.name, ufunc(operation))
    for name, operation in ALIASES.items():
        binds_named(f"scipy.special.{name}", ufunc(operation))
    for name, make in DERIVED.items():
        binds_named(f"scipy.special.{name}", make)
    for name, binding in FUNCTIONS.items():
        binds_named(f"scipy.special.{name}", always(binding))
    for name, operation in MATH.items():
        TABLE[getattr(math, name)] = math_binding(name, operation)
