"""Bessel functions of elements under SciPy's names, of orders 0 and 1 and of any real order.

In: the declaration helpers. Out: registry entries. The derivative by the argument is the difference, or sum, of the
neighbouring orders, which is exact at 0 too and can be differentiated as often as one likes. By the order there is
no closed form: refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..core import Value, const
from .declare import OpDef
from .named import refused, special
from .special import sign

LINE = (-6.0, 6.0)
RIGHT = (0.3, 6.0)
Neighbours = Callable[[Value, Value], Value]


def of_any_order(name: str, slope: Callable[[Value, Value, Value, Value], Value], kinks: str = "") -> OpDef:
    """Declare a function of (order, x); `slope(below, above, x, y)`: its derivative, from the neighbouring orders."""

    def partials(v: Value, x: Value, *, y: Value) -> tuple[Any, Any]:
        return refused(name, "v"), lambda: slope(definition(v - 1, x), definition(v + 1, x), x, y)

    definition: OpDef = special(name, partials, domain=("whole", RIGHT), cost=100, kinks=kinks)
    return definition


jv = of_any_order("jv", lambda below, above, x, y: 0.5 * (below - above))
yv = of_any_order("yv", lambda below, above, x, y: 0.5 * (below - above))
iv = of_any_order("iv", lambda below, above, x, y: 0.5 * (below + above))
kv = of_any_order("kv", lambda below, above, x, y: -0.5 * (below + above))
ive = of_any_order("ive", lambda below, above, x, y: 0.5 * (below + above) - sign(x) * y)
kve = of_any_order("kve", lambda below, above, x, y: y - 0.5 * (below + above))


def second(function: OpDef, x: Value) -> Value:
    """The function of order 2."""
    return function(const(2.0, x.dtype), x)


j0 = special("j0", lambda x: (lambda: -j1(x),), domain=LINE)
j1: OpDef = special("j1", lambda x: (lambda: 0.5 * (j0(x) - second(jv, x)),), domain=LINE)
y0 = special("y0", lambda x: (lambda: -y1(x),), domain=RIGHT)
y1: OpDef = special("y1", lambda x: (lambda: 0.5 * (y0(x) - second(yv, x)),), domain=RIGHT)
i0 = special("i0", lambda x: (lambda: i1(x),), domain=LINE)
i1: OpDef = special("i1", lambda x: (lambda: 0.5 * (i0(x) + second(iv, x)),), domain=LINE)
k0 = special("k0", lambda x: (lambda: -k1(x),), domain=RIGHT)
k1: OpDef = special("k1", lambda x: (lambda: -0.5 * (k0(x) + second(kv, x)),), domain=RIGHT)
i0e = special("i0e", lambda x, *, y: (lambda: i1e(x) - sign(x) * y,), domain=LINE, kinks="x = 0: 0")
i1e: OpDef = special("i1e", lambda x, *, y: (lambda: 0.5 * (i0e(x) + second(ive, x)) - sign(x) * y,), domain=LINE)
k0e = special("k0e", lambda x, *, y: (lambda: y - k1e(x),), domain=RIGHT)
k1e: OpDef = special("k1e", lambda x, *, y: (lambda: y - 0.5 * (k0e(x) + second(kve, x)),), domain=RIGHT)
