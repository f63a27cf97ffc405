"""Directional derivatives to compare a gradient with: two references that know nothing of its reverse sweep.

In: a plain function and a direction. Out: the derivative along it, by an extrapolated difference quotient of the plain
Python function (with an estimate of its own error, which is large where the function jumps or bends between the points
it takes), or by complex step through the reference interpreter on the traced IR (exact to rounding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api.arguments import flatten_call
from ..api.specialize import Specialization
from ..ir import interp

__all__ = ["complex_step", "difference_quotient", "direction", "relative", "slope"]

WIDEST, RATIO, STEPS = 2e-3, 4.0, 14
ENOUGH = 1e-9
TINY = 1e-30


def direction(at: Sequence[Any], seed: int = 2) -> list[Any]:
    """For each array or number random numbers of the size of its entries, so that one step suits all of them."""
    generator = np.random.default_rng(seed)
    along = []
    for x in at:
        size = float(np.sqrt(np.mean(np.square(x)))) if np.size(x) else 0.0
        by = generator.standard_normal(np.shape(x)) * (size or 1.0)
        along.append(by if np.ndim(x) else float(by))
    return along


def slope(gradient: Sequence[Any], along: Sequence[Any]) -> float:
    """The directional derivative that a gradient says."""
    return float(sum(np.sum(g * d) for g, d in zip(gradient, along, strict=True)))


def relative(found: float, wanted: float) -> float:
    """The distance of two numbers relative to the larger; 0 where they are equal, also if both are 0."""
    if found == wanted:
        return 0.0
    return abs(found - wanted) / max(abs(found), abs(wanted))


def difference_quotient(
    function: Callable[[tuple[Any, ...]], Any], at: Sequence[Any], along: Sequence[Any]
) -> tuple[float, float]:
    """(derivative, estimate of its error): central differences with ever smaller steps, extrapolated (Richardson).

    Of all extrapolants the one that differs least from those it was made of is taken (Ridders), where no error is less
    than what the last bits of the values make of it: with small steps, differences that are far smaller than the values
    agree by chance. Points where the function fails do not count. It may write to what it is given.
    """

    def value(step: float) -> float:
        try:
            with np.errstate(all="ignore"):
                return float(function(tuple(x + step * d for x, d in zip(at, along, strict=True))))
        except (ArithmeticError, ValueError):
            return np.nan

    best, estimate = np.nan, np.inf
    row: list[tuple[float, float]] = []  # extrapolants, and what rounding makes of them
    for k in range(STEPS):
        h = WIDEST / RATIO**k
        after, before = value(h), value(-h)
        above, row = row, [((after - before) / (2 * h), last_bit(after, before) / h)]
        factor = 1.0
        for coarser, noise in above:
            factor *= RATIO**2
            last, its_noise = row[-1]
            finer = (factor * last - coarser) / (factor - 1.0)
            rounding = (factor * its_noise + noise) / (factor - 1.0)
            error = max(abs(finer - last), abs(finer - coarser), rounding)
            if error < estimate:
                best, estimate = finer, error
            row.append((finer, rounding))
        if estimate <= max(ENOUGH * abs(best), row[0][1]):
            break  # good enough, or nothing but rounding from here on
    return best, estimate


def last_bit(*values: float) -> float:
    """That of the largest of some numbers; 0 where one is not finite."""
    return float(np.spacing(np.max(np.abs(values)))) if np.all(np.isfinite(values)) else 0.0


def complex_step(spec: Specialization, arguments: tuple[Any, ...], along: Sequence[Any]) -> float:
    """The derivative of a traced function along a direction of its first leaves, in one run of the interpreter."""
    leaves = [*flatten_call(arguments, {}).dynamic, *(spec.captured() or ())]
    for k, by in enumerate(along):
        moved = leaves[k] + 1j * TINY * by
        leaves[k] = moved if isinstance(moved, np.ndarray) else np.complex128(moved)
    result = getattr(spec.traced.result, "index", None)
    if result is None:  # a constant
        return 0.0
    return float(np.imag(interp.run(spec.stages.traced, leaves, checks=False)[result])) / TINY
