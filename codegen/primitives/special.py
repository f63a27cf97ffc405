"""Special functions of one element that are not in `codegen.vecmath`: calls of SciPy's C functions, and `zeta`.

In: NumPy scalars (or Python numbers). Out: NumPy scalars. Under plain Python they are SciPy's own functions. In
kernels, float32 is computed in float64 and rounded. The values are SciPy's bit for bit, its accuracy is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types

from ...ir.ops.named import Named
from .. import external
from ..vecmath.lowering import TextFunction
from .elements import twin, unliteral

__all__ = ["EXTERNAL", "FUNCTIONS"]

EXTERNAL = {
    1: """erfinv erfcinv dawsn log_ndtr ndtri ndtri_exp gamma gammaln gammasgn rgamma psi entr exprel expi exp1
        i0 i1 i0e i1e k0 k1 k0e k1e j0 j1 y0 y1""".split(),
    2: """beta betaln poch binom gammainc gammaincc gammaincinv gammainccinv stdtr stdtrit xlogy xlog1py rel_entr kl_div
        huber pseudo_huber boxcox boxcox1p inv_boxcox inv_boxcox1p jv yv iv kv ive kve""".split(),
    3: "betainc betaincinv".split(),
}
"""SciPy's names, by the number of arguments."""

NAMES = {"psi": "digamma"}
"""The names of operations that differ from SciPy's."""

FUNCTIONS: dict[str, Callable[..., Any]] = {}
DOUBLE, INT = ir.DoubleType(), ir.IntType(32)
ATTRIBUTES = "nounwind willreturn memory(none)"


def result_of(*arguments: Any) -> Any:
    """float32 of float32, else float64; None (a typing error) of what is not a number."""
    if not all(isinstance(unliteral(t), types.Float | types.Integer | types.Boolean) for t in arguments):
        return None
    return types.float32 if all(unliteral(t) == types.float32 for t in arguments) else types.float64


def typing_rule(count: int) -> Callable[..., Any]:
    if count == 1:
        return lambda context: lambda x: result_of(x)
    if count == 2:
        return lambda context: lambda x, y: result_of(x, y)
    return lambda context: lambda x, y, z: result_of(x, y, z)


def declared(module: Any, name: str, count: int) -> Any:
    """The declaration of SciPy's function in an LLVM module."""
    symbol = external.symbol(name, count)
    found = module.globals.get(symbol)
    if found is None:
        external.register([symbol])
        kind = ir.FunctionType(DOUBLE, [DOUBLE] * count + [INT])
        arguments = ", ".join(["double"] * count + ["i32"])
        found = TextFunction(module, kind, symbol, f"declare double @{symbol}({arguments}) {ATTRIBUTES}")
    return found


def call_external(name: str, count: int) -> None:
    """Declare a primitive that calls SciPy's function."""
    plain = twin(NAMES.get(name, name), Named(f"scipy.special.{name}"), count)

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = [
            context.cast(builder, value, unliteral(kind), types.float64)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        value = builder.call(declared(builder.module, name, count), [*wide, INT(0)])
        return context.cast(builder, value, types.float64, signature.return_type)

    numba: Any = extending
    numba.type_callable(plain)(typing_rule(count))
    numba.lower_builtin(plain, *[types.Any] * count)(lower)
    FUNCTIONS[plain.__name__] = plain


for _count, _names in EXTERNAL.items():
    for _name in _names:
        call_external(_name, _count)

# ---------------------------------------------------------------- Hurwitz's zeta function


def bernoulli_terms(count: int) -> tuple[float, ...]:
    """B(2k) / (2k)! for k = 1, 2, ...: the series of x / (e**x - 1)."""
    series = [Fraction(1)]
    for n in range(1, 2 * count + 1):
        series.append(-sum((series[k] / math.factorial(n - k + 1) for k in range(n)), Fraction(0)))
    return tuple(float(term) for term in series[2::2])


TERMS = bernoulli_terms(11)
EPS = 2.0**-56


def hurwitz(x: float, q: float) -> float:
    """The sum of (q + k)**-x over k >= 0, x > 1: terms up to q + k >= max(10, x), then the formula of L. Euler and
    C. Maclaurin (F. Olver, "Asymptotics and Special Functions", section 8.5).
    """
    if x == 1.0 or (q <= 0.0 and not x < 1.0 and q == math.floor(q)):
        return math.inf
    if x < 1.0 or (q <= 0.0 and x != math.floor(x)) or math.isnan(x) or math.isnan(q):
        return math.nan
    total: float = 0.0
    w = q
    while w < 10.0 or w < x:
        term: float = w**-x
        total += term
        w += 1.0
        if w > 1.0 and abs(term) <= EPS * abs(total):
            return total if total != 0.0 or q > 1e8 else math.nan  # SciPy has nothing there either
    last: float = w**-x
    if last == 0.0 or math.isinf(w):
        return total
    total += last * (w / (x - 1.0) + 0.5)
    factor = x * last / w
    for k in range(len(TERMS)):
        term = TERMS[k] * factor
        total += term
        factor *= ((x + 2 * k + 1) / w) * ((x + 2 * k + 2) / w)
    return total


FUNCTIONS["zeta"] = twin("zeta", Named("scipy.special.zeta"), 2)
extending.register_jitable(error_model="numpy")(hurwitz)


def zeta_overload(x: Any, y: Any) -> Any:
    kind = result_of(x, y)
    return None if kind is None else (lambda x, y: kind(hurwitz(np.float64(x), np.float64(y))))


extending.overload(FUNCTIONS["zeta"], strict=False)(zeta_overload)
