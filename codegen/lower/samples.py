"""Large extents to try things out with, which fit together.

In: a function of the array IR. Out: `Samples`, which says what its integers are where all arrays are large. Which part
of an array a slice leaves out at its ends, as `x[1 : n + 1]` does of `n + 4` elements, is the same number for any large
extent, but only if the extents that are tried are ones with which the function's checks hold:

    %m: i64 = dim %y {axis=0}                        m = 1000
    %n: i64 = dim %x {axis=0}                        n = 1000: the check fails, by 2; n = 1002: it holds
    %k: i64 = sub %n, 2
    %e: i64 = same_extent %k, %m                     so x has 1002 elements where y has 1000

Extents begin equal. One that a failing check depends on is moved by what it fails by, where more checks hold then.
What is found decides about speed alone: whoever asks states as a condition, at run time, what holds for the samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ir.core import Const, Function, Op, Value, walk
from ...ir.types import Array

__all__ = ["SAMPLES", "Samples", "samples_of"]

SAMPLES = (1000, 2000)
"""What extents are, as far as checks allow."""
TRIALS = 200
"""So often are extents moved at most."""
DEPTH = 24

RULES: dict[str, Any] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "minimum": min,
    "maximum": max,
    "same_extent": lambda a, b: a,
}

Dim = tuple[Value, int]
"""An array and its axis."""


class Samples:
    """`moved`: by how much extents differ from `SAMPLES`. `own`: which of them are known; those of others are None."""

    def __init__(self, own: Callable[[Value], bool] | None = None) -> None:
        self.moved: dict[Dim, int] = {}
        self.own = own

    def number(self, value: Value, sample: int, depth: int = DEPTH) -> int | None:
        """An integer where extents are `sample`; None where it depends on something else."""
        if isinstance(value, Const):
            return int(value.value)
        op = value.op
        if op is None or not depth:
            return None
        if op.name == "dim":
            return sample + self.moved.get(dim_of(op), 0) if self.own is None or self.own(value) else None
        rule = RULES.get(op.name)
        if rule is None:
            return None
        operands = [self.number(x, sample, depth - 1) for x in op.operands]
        if any(x is None for x in operands):
            return None
        out: int = rule(*operands)
        return out

    def extent(self, array: Value, axis: int, sample: int) -> int:
        """That of an array along an axis."""
        known = array.type.dims[axis] if isinstance(array.type, Array) else None
        if known is not None:
            return known
        if self.own is not None:
            return sample
        while array.op is not None and array.op.name in ("accumulate", "update", "assemble"):
            array = array.op.operands[0]
        if array.op is not None and array.op.name == "fill":
            found = self.number(array.op.operands[1 + axis], sample)
            if found is not None:
                return found
        return sample + self.moved.get((array, axis), 0)


def dim_of(op: Op) -> Dim:
    return op.operands[0], op.attrs["axis"]


def samples_of(function: Function) -> Samples:
    """Extents with which as many as possible of the function's checks of extents hold."""
    samples = Samples()
    checks = [op for op in walk(function.body) if op.name == "same_extent"]

    def misses(check: Op) -> int:
        """What a check fails by."""
        one, other = (samples.number(x, SAMPLES[0]) for x in check.operands[:2])
        return 0 if one is None or other is None else one - other

    def failing() -> list[Op]:
        return [check for check in checks if misses(check)]

    left = failing()
    trials = 0
    progress = True
    while left and progress and trials < TRIALS:
        progress = False
        for check in left:
            by = misses(check)
            for dim in dims_under(check):
                for move in (by, -by, 2 * by, -2 * by):
                    before = samples.moved.get(dim, 0)
                    samples.moved[dim] = before + move
                    trials += 1
                    now = failing()
                    if len(now) < len(left):
                        left, progress = now, True
                        break
                    samples.moved[dim] = before
                if progress:
                    break
            if progress:
                break
    return samples


def dims_under(check: Op) -> list[Dim]:
    """The extents that a check depends on."""
    found: dict[Dim, None] = {}
    seen: set[Value] = set()
    stack = list(check.operands[:2])
    while stack:
        value = stack.pop()
        if value in seen or value.op is None:
            continue
        seen.add(value)
        if value.op.name == "dim":
            found[dim_of(value.op)] = None
        elif value.op.name in RULES:
            stack += value.op.operands
    return list(found)
