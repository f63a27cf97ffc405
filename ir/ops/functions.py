"""Smooth elementary functions of elements: powers, roots, exponentials, logarithms, trigonometry.

In: the declaration helpers. Out: registry entries under NumPy's names. Every rule is the textbook derivative,
written through the result `y` where that is cheaper than through the operands, and in a form that neither
overflows nor cancels where the derivative itself does not. A true singularity (`sqrt` at 0, `log` at 0) gives
an infinite or NaN partial: loud, never replaced.

Functions of these have no declaration of their own: `float_power` is `pow` after a cast to f64, `degrees` and
`radians` are products, `positive` is the identity, `sinc` is a composition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Const, Value, as_value, builder, const
from . import analytic
from .analytic import continued
from .arithmetic import eq
from .declare import OpDef, elementwise, of_floats, of_numbers

__all__ = ["smooth", "where"]

LN2 = math.log(2.0)
LN10 = math.log(10.0)
LINE = (-3.0, 3.0)
POSITIVE = (0.2, 4.0)


def where(condition: Value, a: Any, b: Any, like: Value) -> Value:
    """`select` with numbers as constants of `like`'s dtype."""
    return builder().emit1("select", [condition, as_value(a, like), as_value(b, like)])


def smooth(
    name: str,
    function: Callable[..., Any],
    partials: Callable[..., Any],
    *,
    domain: Any,
    continuation: Callable[..., Any] | None = None,
    numpy: Any = None,
    cost: int = 8,
    kinks: str = "",
) -> OpDef:
    """Declare a function on floats that is its own complex continuation, unless one is given."""
    return elementwise(
        name,
        function,
        partials=partials,
        result=of_floats(name),
        numpy=function if numpy is None else numpy,
        evaluate_complex=continued(function, continuation),
        domain=domain,
        cost=cost,
        kinks=kinks,
    )


# ---------------------------------------------------------------- exponentials and logarithms

exp = smooth("exp", np.exp, lambda x, *, y: (y,), domain=(-20.0, 20.0))
exp2 = smooth("exp2", np.exp2, lambda x, *, y: (lambda: LN2 * y,), domain=(-20.0, 20.0))
expm1 = smooth("expm1", np.expm1, lambda x, *, y: (lambda: y + 1,), domain=(-4.0, 20.0))
log = smooth("log", np.log, lambda x: (lambda: 1 / x,), domain=(1e-3, 1e3))
log2 = smooth("log2", np.log2, lambda x: (lambda: (1 / LN2) / x,), domain=(1e-3, 1e3))
log10 = smooth("log10", np.log10, lambda x: (lambda: (1 / LN10) / x,), domain=(1e-3, 1e3))
log1p = smooth("log1p", np.log1p, lambda x: (lambda: 1 / (1 + x),), domain=(-0.9, 1e2))


def share_of_sum(base: Callable[[Value], Value], a: Value, b: Value) -> Value:
    """The derivative of log(e**a + e**b) by a: 1 / (1 + e**(b - a)). Of equal infinities each has half."""
    return where(eq(a, b), 0.5, 1 / (1 + base(b - a)), a)


logaddexp = smooth(
    "logaddexp",
    np.logaddexp,
    lambda a, b: (lambda: share_of_sum(exp, a, b), lambda: share_of_sum(exp, b, a)),
    continuation=analytic.log_of_sum(np.exp, np.log),
    domain=((-30.0, 30.0), (-30.0, 30.0)),
    cost=16,
    kinks="both -inf or both inf: 1/2 each",
)
logaddexp2 = smooth(
    "logaddexp2",
    np.logaddexp2,
    lambda a, b: (lambda: share_of_sum(exp2, a, b), lambda: share_of_sum(exp2, b, a)),
    continuation=analytic.log_of_sum(np.exp2, np.log2),
    domain=((-30.0, 30.0), (-30.0, 30.0)),
    cost=16,
    kinks="both -inf or both inf: 1/2 each",
)

# ---------------------------------------------------------------- powers and roots

square = elementwise(
    "square",
    np.square,
    partials=lambda x: (lambda: 2 * x,),
    result=of_numbers("square"),
    numpy=np.square,
    evaluate_complex=continued(np.square, lambda x: analytic.multiplied(x, x)),
    domain=LINE,
)
sqrt = smooth(
    "sqrt",
    np.sqrt,
    lambda x, *, y: (lambda: 0.5 * (1 / y),),  # exactly 0.5 / y, and 1 / y is often there: in x / sqrt(x @ x), say
    domain=POSITIVE,
    cost=4,
    kinks="x = 0: inf",
)
cbrt = smooth(
    "cbrt",
    np.cbrt,
    lambda x, *, y: (lambda: 1 / (3 * (y * y)),),
    continuation=analytic.cube_root,
    domain=LINE,
    kinks="x = 0: inf",
)
reciprocal = elementwise(
    "reciprocal",
    np.reciprocal,
    partials=lambda x, *, y: (lambda: -(y * y),),
    result=of_numbers("reciprocal"),
    numpy=np.reciprocal,
    evaluate_complex=continued(np.reciprocal, lambda x: analytic.divided(1.0, x)),
    domain=POSITIVE,
    cost=4,
)


def power_by_base(x: Value, p: Value) -> Any:
    """p x**(p - 1), and 0 where p is 0 (also at x = 0)."""
    if isinstance(p, Const):
        exponent = float(p.value)
        if exponent in (0.0, 1.0):
            return exponent
        return 2 * x if exponent == 2 else p * x ** const(exponent - 1, p.dtype)
    return where(eq(p, 0), 0, p * x ** (p - 1), x)


def power_by_exponent(x: Value, p: Value, y: Value) -> Value:
    """log(x) x**p; 0 where x**p is 0 although log(x) is infinite (x = 0 < p, or x = inf and p < 0)."""
    if isinstance(x, Const) and 0 < x.value < math.inf:
        return const(np.log(x.value), x.dtype) * y
    return where(eq(y, 0) & (x >= 0), 0, log(x) * y, y)


def power_partials(x: Value, p: Value, *, y: Value) -> tuple[Any, Any]:
    return lambda: power_by_base(x, p), lambda: power_by_exponent(x, p, y)


pow = elementwise(
    "pow",  # of integers too: a negative integer exponent raises ValueError, as in NumPy
    np.power,
    partials=power_partials,
    result=of_numbers("pow"),
    numpy=(np.power, np.float_power),
    evaluate_complex=continued(np.power, analytic.power),
    domain=(POSITIVE, LINE),
    cost=16,
    kinks="x = 0: by x p x**(p-1), 0 for p = 0; by p 0 for p > 0, -inf for p = 0; x < 0: nan by p",
)


def share_of_length(a: Value, y: Value) -> Value:
    return where(eq(y, 0), 0, a / y, a)


hypot = smooth(
    "hypot",
    np.hypot,
    lambda a, b, *, y: (lambda: share_of_length(a, y), lambda: share_of_length(b, y)),
    continuation=analytic.hypotenuse,
    domain=(LINE, LINE),
    kinks="a = b = 0: 0 each",
)

# ---------------------------------------------------------------- trigonometric functions and their inverses

sin: OpDef = smooth("sin", np.sin, lambda x: (lambda: cos(x),), domain=(-30.0, 30.0))
cos: OpDef = smooth("cos", np.cos, lambda x: (lambda: -sin(x),), domain=(-30.0, 30.0))
tan = smooth("tan", np.tan, lambda x, *, y: (lambda: 1 + y * y,), domain=(-1.4, 1.4))
arcsin = smooth(
    "arcsin",
    np.arcsin,
    lambda x: (lambda: 1 / sqrt((1 - x) * (1 + x)),),
    domain=(-0.99, 0.99),
    kinks="|x| = 1: inf",
)
arccos = smooth(
    "arccos",
    np.arccos,
    lambda x: (lambda: -1 / sqrt((1 - x) * (1 + x)),),
    domain=(-0.99, 0.99),
    kinks="|x| = 1: -inf",
)
arctan = smooth("arctan", np.arctan, lambda x: (lambda: 1 / (1 + x * x),), domain=(-30.0, 30.0))


def maximum_of(*values: Value) -> Value:
    """The largest magnitude of values: what a rule divides by so that squares stay in range."""
    sizes = [builder().emit1("abs", [v]) for v in values]
    out = sizes[0]
    for size in sizes[1:]:
        out = builder().emit1("maximum", [out, size])
    return out


def arctan2_partials(a: Value, b: Value) -> tuple[Any, Any]:
    """b / (a*a + b*b) and -a / (a*a + b*b), scaled by the larger so that the squares stay in range."""

    def share(of: Value) -> Value:
        scale = 1 / maximum_of(a, b)
        u, v = a * scale, b * scale
        return (of * scale) / (u * u + v * v) * scale

    return lambda: share(b), lambda: -share(a)


arctan2 = smooth(
    "arctan2",
    np.arctan2,
    arctan2_partials,
    continuation=analytic.angle,
    domain=(LINE, LINE),
    kinks="a = b = 0: nan (no derivative, unbounded nearby)",
)

# ---------------------------------------------------------------- hyperbolic functions and their inverses

sinh: OpDef = smooth("sinh", np.sinh, lambda x: (lambda: cosh(x),), domain=(-10.0, 10.0))
cosh: OpDef = smooth("cosh", np.cosh, lambda x: (lambda: sinh(x),), domain=(-10.0, 10.0))
tanh = smooth("tanh", np.tanh, lambda x, *, y: (lambda: 1 - y * y,), domain=(-20.0, 20.0))
arcsinh = smooth("arcsinh", np.arcsinh, lambda x: (lambda: 1 / hypot(x, 1),), domain=(-1e2, 1e2))
arccosh = smooth(
    "arccosh",
    np.arccosh,
    lambda x: (lambda: 1 / (sqrt(x - 1) * sqrt(x + 1)),),
    domain=(1.01, 1e2),
    kinks="x = 1: inf",
)
arctanh = smooth(
    "arctanh",
    np.arctanh,
    lambda x: (lambda: 1 / ((1 - x) * (1 + x)),),
    domain=(-0.99, 0.99),
    kinks="|x| = 1: inf",
)
