"""Elementary functions without branches, which vectorize inside the loops that call them.

In: NumPy's names, and some of SciPy's. Out: Python functions that Numba compiles to inlined LLVM code, at most
1 ulp (exp, log) or 2 ulp (all others) from the exact value for float64, with NumPy's results for zeros, infinities
and NaN; correctly rounded but for rare cases for float32. Under plain Python they are NumPy's and SciPy's own
functions, so a generated kernel runs either way:

>>> from adjit.codegen.vecmath import exp, power
>>> float(exp(0.0)), float(power(2.0, 10.0))
(1.0, 1024.0)

Importing this compiles nothing. A kernel that calls one of them compiles a few milliseconds longer (sin, cos
and tan: about 25, once per kernel), and its loops vectorize on AVX-512, AVX2 and SSE2 alike. `sin`, `cos`
and `tan` of arguments beyond 2**30 take a slower path for the elements concerned; everything else has no rare cases.
The bounds also hold, at lower speed, on x86 machines without a fused multiply-add (2**20 is the limit there).
No result depends on the C library, on the position of an element in its array, or on `fastmath`.

Outside of loops that vectorize (recurrences, scalar code) the C library's `exp`, `log`, `sin` and `power`, which
Numba uses for NumPy's functions, are up to three times faster: branch-free code is made for many elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from ...ir.ops.named import Named
from . import error_function, exponential, hyperbolic, inverse, logarithm, logistic, powers, trigonometric
from .lowering import Elementary, bind

ELEMENTARY: Final = {
    entry.name: entry
    for entry in (
        Elementary("exp", np.exp, exponential.exp),
        Elementary("exp2", np.exp2, exponential.exp2),
        Elementary("expm1", np.expm1, exponential.expm1),
        Elementary("log", np.log, logarithm.log),
        Elementary("log2", np.log2, logarithm.log2),
        Elementary("log10", np.log10, logarithm.log10),
        Elementary("log1p", np.log1p, logarithm.log1p),
        Elementary("sin", np.sin, trigonometric.sin),
        Elementary("cos", np.cos, trigonometric.cos),
        Elementary("tan", np.tan, trigonometric.tan),
        Elementary("sinh", np.sinh, hyperbolic.sinh),
        Elementary("cosh", np.cosh, hyperbolic.cosh),
        Elementary("tanh", np.tanh, hyperbolic.tanh),
        Elementary("arcsinh", np.arcsinh, hyperbolic.arcsinh),
        Elementary("arccosh", np.arccosh, hyperbolic.arccosh),
        Elementary("arctanh", np.arctanh, hyperbolic.arctanh),
        Elementary("arcsin", np.arcsin, inverse.arcsin),
        Elementary("arccos", np.arccos, inverse.arccos),
        Elementary("arctan", np.arctan, inverse.arctan),
        Elementary("arctan2", np.arctan2, inverse.arctan2),
        Elementary("hypot", np.hypot, powers.hypot),
        Elementary("cbrt", np.cbrt, powers.cbrt),
        Elementary("power", np.power, powers.power),
        Elementary("erf", Named("scipy.special.erf"), error_function.erf),
        Elementary("erfc", Named("scipy.special.erfc"), error_function.erfc),
        Elementary("erfcx", Named("scipy.special.erfcx"), error_function.erfcx),
        Elementary("ndtr", Named("scipy.special.ndtr"), error_function.ndtr),
        Elementary("expit", Named("scipy.special.expit"), logistic.expit),
        Elementary("log_expit", Named("scipy.special.log_expit"), logistic.log_expit),
        Elementary("logit", Named("scipy.special.logit"), logistic.logit),
    )
}

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {name: bind(entry) for name, entry in ELEMENTARY.items()}
"""The functions by NumPy's name."""

TABLE: Final[dict[str, tuple[Callable[..., Any], np.ufunc | Named]]] = {
    name: (FUNCTIONS[name], entry.ufunc) for name, entry in ELEMENTARY.items()
}
"""NumPy's name -> (the function for kernels, its NumPy twin)."""

exp = FUNCTIONS["exp"]
exp2 = FUNCTIONS["exp2"]
expm1 = FUNCTIONS["expm1"]
log = FUNCTIONS["log"]
log2 = FUNCTIONS["log2"]
log10 = FUNCTIONS["log10"]
log1p = FUNCTIONS["log1p"]
sin = FUNCTIONS["sin"]
cos = FUNCTIONS["cos"]
tan = FUNCTIONS["tan"]
sinh = FUNCTIONS["sinh"]
cosh = FUNCTIONS["cosh"]
tanh = FUNCTIONS["tanh"]
arcsinh = FUNCTIONS["arcsinh"]
arccosh = FUNCTIONS["arccosh"]
arctanh = FUNCTIONS["arctanh"]
arcsin = FUNCTIONS["arcsin"]
arccos = FUNCTIONS["arccos"]
arctan = FUNCTIONS["arctan"]
arctan2 = FUNCTIONS["arctan2"]
hypot = FUNCTIONS["hypot"]
cbrt = FUNCTIONS["cbrt"]
power = pow = FUNCTIONS["power"]
erf = FUNCTIONS["erf"]
erfc = FUNCTIONS["erfc"]
erfcx = FUNCTIONS["erfcx"]
ndtr = FUNCTIONS["ndtr"]
expit = FUNCTIONS["expit"]
log_expit = FUNCTIONS["log_expit"]
logit = FUNCTIONS["logit"]

__all__ = ["ELEMENTARY", "FUNCTIONS", "TABLE", "pow", *FUNCTIONS]
