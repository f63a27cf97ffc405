"""What the kernels have in common: the decorator that compiles them, and functions whose loops vectorize.

In: a Python function. Out: Numba's, for arrays that do not overlap. The elementary functions have neither branches nor
calls; they take multiply and add as one operation, which is part of their definition and not of their callers'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba.core import cpu
from numba.core.options import TargetOptions

__all__ = ["exp", "expm1", "inlined", "kernel", "sigmoid", "tanh"]

# the compiler knows the flag, the decorator only lacks the name
if not hasattr(cpu.CPUTargetOptions, "noalias"):
    mapping: Any = TargetOptions.Mapping
    cpu.CPUTargetOptions.noalias = mapping("noalias")

njit: Any = numba.njit


def kernel(function: Callable[..., Any]) -> Any:
    """Compiled at its first call; its array arguments do not overlap."""
    return njit(cache=False, error_model="numpy", noalias=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """As `kernel`, for what is called often: views that it is given cost no counting of references."""
    return njit(cache=False, error_model="numpy", noalias=True, forceinline=True)(function)


def elementary(function: Callable[..., Any]) -> Any:
    """To be inlined into kernels."""
    return njit(cache=False, error_model="numpy", fastmath={"contract"})(function)


# the integer nearest to t is in the last bits of t + SHIFT
SHIFT = 6755399441055744.0
LOG2E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10
# (exp(r) − 1 − r) / r² for |r| ≤ log(2) / 2, to 2e-17 of exp(r), by interpolation at Chebyshev's nodes
C0, C1, C2, C3, C4 = 0.5, 0.16666666666666669, 0.04166666666662399, 0.008333333333330051, 0.0013888888917281794
C5, C6, C7 = 0.00019841269863105968, 2.480152119021773e-05, 2.7557268378684192e-06
C8, C9 = 2.7620138719733994e-07, 2.5100424157005067e-08


@elementary
def split(x: float) -> tuple[float, float]:
    """(exp(r) − 1, 2ᵏ) with x = k log(2) + r; x is limited to where 2ᵏ is a normal number."""
    x = min(max(x, -708.0), 709.0)
    t = x * LOG2E + SHIFT
    k = t - SHIFT
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    r2 = r * r
    r4 = r2 * r2
    # by halves (Estrin): short recurrences need it, since they wait for each exponential
    low = (C3 * r + C2) * r2 + (C1 * r + C0)
    high = (C7 * r + C6) * r2 + (C5 * r + C4)
    q = ((C9 * r + C8) * r4 + high) * r4 + low
    power = np.int64((np.float64(t).view(np.int64) << 52) + (1023 << 52)).view(np.float64)
    return q * r2 + r, power


@elementary
def exp(x: float) -> Any:
    """eˣ; the smallest normal number where it is less."""
    p, power = split(x)
    return p * power + power


@elementary
def expm1(x: float) -> Any:
    """eˣ − 1."""
    p, power = split(x)
    return p * power + (power - 1.0)


@elementary
def sigmoid(x: float) -> Any:
    """The logistic function."""
    return 1.0 / (1.0 + exp(-x))


@elementary
def tanh(x: float) -> Any:
    """The hyperbolic tangent; a NaN stays one."""
    e = expm1(2.0 * min(max(x, -20.0), 20.0))
    return e / (e + 2.0)
