"""Lengths of clipped slices, compared as functions of the one extent that they depend on.

In: a term of `shapes`. Out: its `Profile`, None where it is not such a function. What slicing makes of an extent
n is built from n and small constants by +, -, min and max: `max(max(n - 1, 0) - min(1, n), 0)` for `[1:-1]`,
`max(n - 2, 0)` for `[:-2]`. Such a function is linear between few breakpoints, all of them small: two that agree
for n = 0, 1, ..., 80 are equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.core import Const, Op, Value

__all__ = ["Profile", "combine", "constant", "identity"]

COUNT = 81
LIMIT = 30
"""The sum of the constants in a function bounds its breakpoints; up to this, the last 50 values lie on one line."""


@dataclass(frozen=True)
class Profile:
    """A function of `base` (None: a constant), by its values for base = 0, 1, ...; `weight` bounds its
    breakpoints."""

    base: Any
    values: tuple[int, ...]
    weight: int

    @property
    def key(self) -> tuple[Any, tuple[int, ...]]:
        return self.base, self.values

    def distance_from_base(self) -> int | None:
        """The most by which the base exceeds the function, None where there is no bound."""
        gaps = np.arange(COUNT) - np.array(self.values)
        return int(gaps.max()) if gaps[-1] == gaps[-2] else None


def identity(base: Any) -> Profile:
    return Profile(base, tuple(range(COUNT)), 0)


def constant(value: int) -> Profile:
    return Profile(None, (value,) * COUNT, abs(value))


COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def combine(op: Op, of: Callable[[Value | int], Profile | None]) -> Profile | None:
    """The profile of an operation's result from those of its operands (`of`)."""
    function = COMBINE.get(op.name)
    if function is None:
        return None
    first, second = (int(x.value) if isinstance(x, Const) else x for x in op.operands)
    a = of(first)
    b = of(second) if a is not None else None
    if a is None or b is None:
        return None
    bases = {p.base for p in (a, b)} - {None}
    weight = a.weight + b.weight
    if len(bases) > 1 or weight > LIMIT or max(map(abs, (*a.values, *b.values))) > 8 * COUNT:
        return None
    values = function(np.array(a.values), np.array(b.values))
    return Profile(next(iter(bases), None), tuple(map(int, values)), weight)
