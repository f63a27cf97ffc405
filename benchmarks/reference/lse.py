"""lse by hand: the maximum, the exponentials and their sum, then the quotients: three passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import exp, kernel

__all__ = ["derivative", "primal"]

LANES = 64


@kernel
def highest(x: Any) -> Any:
    """The maximum, in as many lanes as hide the latency of a comparison."""
    top = np.full(LANES, -np.inf)
    n = len(x) // LANES * LANES
    for start in range(0, n, LANES):
        block = x[start : start + LANES]
        for k in range(len(top)):
            top[k] = block[k] if block[k] > top[k] else top[k]
    most = -np.inf
    for k in range(LANES):
        most = max(most, top[k])
    for i in range(n, len(x)):
        most = max(most, x[i])
    return most


@kernel
def add(block: Any, sums: Any) -> None:
    """sums += block."""
    for k in range(len(sums)):
        sums[k] += block[k]


@kernel
def total(x: Any) -> Any:
    """The sum, in lanes."""
    sums = np.zeros(LANES)
    n = len(x) // LANES * LANES
    for start in range(0, n, LANES):
        add(x[start : start + LANES], sums)
    result = np.sum(sums)
    for i in range(n, len(x)):
        result += x[i]
    return result


BLOCK = 2048


@kernel
def exponentials(x: Any, shift: float, out: Any) -> None:
    """out = exp(x − shift)."""
    for i in range(len(out)):
        out[i] = exp(x[i] - shift)


@kernel
def primal(x: Any) -> Any:
    """log Σ exp(x)."""
    top = highest(x)
    terms = np.empty(BLOCK)
    result = 0.0
    for start in range(0, len(x), BLOCK):
        part = terms[: len(x) - start]
        exponentials(x[start:], top, part)
        result += total(part)
    return top + np.log(result)


@kernel
def derivative(x: Any) -> Any:
    """exp(x) / Σ exp(x)."""
    top = highest(x)
    terms = np.empty(len(x))
    result = 0.0
    for start in range(0, len(x), BLOCK):
        part = terms[start : start + BLOCK]
        exponentials(x[start:], top, part)
        result += total(part)
    scale = 1.0 / result
    for i in range(len(terms)):
        terms[i] *= scale
    return terms
