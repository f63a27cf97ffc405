"""Analytic twins: what elementwise functions mean on the complex numbers of complex step.

In: a function on real NumPy values and its continuation to complex ones. Out: an `evaluate_complex` whose real
part is bit for bit what the function gives on the real parts (so that a program run with ``x + 1e-30j`` takes
the branches it takes with ``x``) and whose imaginary part is the continuation's. An imaginary part of exactly 0
stays 0, so that an infinite value does not turn an absent derivative into NaN.

>>> float(continued(np.sqrt)(np.complex128(4 + 1e-30j)).imag)
2.5e-31
>>> continued(np.floor, steps)(np.complex128(1.5 + 1e-30j))
np.complex128(1+0j)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["continued", "parts", "pick", "product", "steps", "with_parts"]

Function = Callable[..., Any]


def parts(x: Any) -> tuple[Any, Any]:
    """Real and imaginary part; the latter 0 for real numbers."""
    return np.real(x), np.imag(x)


def with_parts(real: Any, imag: Any) -> Any:
    """A complex number or array of these parts. (``real + 1j * imag`` turns an infinite part into NaN.)"""
    out = np.empty(np.broadcast_shapes(np.shape(real), np.shape(imag)), np.complex128)
    out.real = real
    out.imag = imag
    return out[()]


def product(a: Any, b: Any) -> Any:
    """a * b where an exact zero in `b` wins over everything: for derivatives that are absent."""
    return np.where(np.equal(b, 0), 0.0, np.multiply(a, b))


def continued(function: Function, continuation: Function | None = None) -> Function:
    """The twin of `function`: its values, with the imaginary part of `continuation` (default: itself).

    Real operands are passed through, so integers stay integers. Outside the real domain both parts are NaN.
    """
    extend = continuation or function

    def twin(*operands: Any, **attrs: Any) -> Any:
        if not any(np.iscomplexobj(x) for x in operands):
            return function(*operands, **attrs)
        real = function(*(np.real(x) for x in operands), **attrs)
        imag = np.where(np.isnan(real), np.nan, np.imag(extend(*operands, **attrs)))
        moved = np.any(np.broadcast_arrays(*(np.imag(x) != 0 for x in operands)), axis=0)
        return with_parts(real, np.where(moved, imag, 0.0))

    return twin


def steps(*operands: Any, **attrs: Any) -> float:
    """The continuation of a function that is constant between its jumps: no imaginary part."""
    return 0.0


def pick(condition: Any, a: Any, b: Any) -> Any:
    """np.where that keeps complex parts apart, as arithmetic on infinities would not."""
    return np.where(condition, a, b)[()]


# ---------------------------------------------------------------- continuations NumPy does not have


def multiplied(a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    return with_parts(ar * br, product(ar, bi) + product(br, ai))


def divided(a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    y = np.true_divide(ar, br)
    return with_parts(y, product(1 / br, ai) - product(y / br, bi))


def power(x: Any, p: Any) -> Any:
    """x ** p around the real parts: xr**pr * exp(p log(x / xr) + (p - pr) log(xr)), so for negative xr too."""
    (xr, xi), (pr, pi) = parts(x), parts(p)
    y = np.power(xr, pr)
    at_zero = np.equal(xr, 0)
    ratio = np.log(with_parts(1.0, xi / np.where(at_zero, 1.0, xr)))
    exponent = p * ratio + with_parts(0.0, product(np.log(xr), pi))
    near_zero = np.power(with_parts(0.0, xi), pr)
    return pick(
        at_zero,
        near_zero,
        with_parts(product(np.real(np.exp(exponent)), y), product(np.imag(np.exp(exponent)), y)),
    )


def cube_root(x: Any) -> Any:
    xr, xi = parts(x)
    y = np.cbrt(xr)
    return y * np.exp(np.log(with_parts(1.0, xi / xr)) / 3)


def hypotenuse(a: Any, b: Any) -> Any:
    h = np.hypot(np.real(a), np.real(b))
    scale = np.where(h == 0, 1.0, h)
    return pick(h == 0, 0.0, h * np.sqrt((a / scale) ** 2 + (b / scale) ** 2))


def angle(a: Any, b: Any) -> Any:
    """arctan2: turn by the real angle, then the small rest is an arctan."""
    (ar, _), (br, _) = parts(a), parts(b)
    h = np.hypot(ar, br)
    s, c = ar / h, br / h
    return np.arctan2(ar, br) + np.arctan((a * c - b * s) / (b * c + a * s))


def log_of_sum(exp: Function, log: Function) -> Function:
    def continuation(a: Any, b: Any) -> Any:
        (ar, _), (br, _) = parts(a), parts(b)
        high = np.maximum(ar, br)
        shift = np.where(np.isfinite(high), high, 0.0)
        return log(exp(a - shift) + exp(b - shift))

    return continuation


def magnitude(x: Any) -> Any:
    return pick(np.real(x) < 0, -x, x)
