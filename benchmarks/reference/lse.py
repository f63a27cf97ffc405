"""lse by hand: the maximum, the exponentials and their sum, then the quotients: three passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import exp, kernel

__all__ = ["derivative", "primal"]

LANES = 32


@kernel
def highest(x: Any) -> Any:
    """The maximum, in as many lanes as hide the latency of a comparison."""
    top = np.full(LANES, -np.inf)
    n = len(x) // LANES * LANES
    for start in range(0, n, LANES):
        block = x[start : start + LANES]
        for k in range(LANES):
            top[k] = block[k] if block[k] > top[k] else top[k]
    most = -np.inf
    for k in range(LANES):
        most = max(most, top[k])
    for i in range(n, len(x)):
        most = max(most, x[i])
    return most


@kernel
def total(x: Any) -> Any:
    """The sum, in lanes."""
    sums = np.zeros(LANES)
    n = len(x) // LANES * LANES
    for start in range(0, n, LANES):
        block = x[start : start + LANES]
        for k in range(LANES):
            sums[k] += block[k]
    result = 0.0
    for k in range(LANES):
        result += sums[k]
    for i in range(n, len(x)):
        result += x[i]
    return result


BLOCK = 1024


@kernel
def primal(x: Any) -> Any:
    """log Σ exp(x)."""
    top = highest(x)
    terms = np.empty(BLOCK)
    result = 0.0
    for start in range(0, len(x), BLOCK):
        count = min(BLOCK, len(x) - start)
        for i in range(count):
            terms[i] = exp(x[start + i] - top)
        result += total(terms[:count])
    return top + np.log(result)


@kernel
def derivative(x: Any) -> Any:
    """exp(x) / Σ exp(x)."""
    top = highest(x)
    terms = np.empty(len(x))
    result = 0.0
    for start in range(0, len(x), BLOCK):
        block, part = x[start : start + BLOCK], terms[start : start + BLOCK]
        for i in range(len(block)):
            part[i] = exp(block[i] - top)
        result += total(part)
    scale = 1.0 / result
    for i in range(len(terms)):
        terms[i] *= scale
    return terms
