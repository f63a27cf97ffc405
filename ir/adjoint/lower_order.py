"""Loops whose turns are few next to what the reverse sweep writes anyway: computing again there costs next to nothing.

In: a prepared primal, and the arguments that get a gradient. Out: `LowerOrder(...).at(region)`: whether for each run of
a region, in all turns of the loops around it, a thousand elements of one of these gradients are written. This has to be
known: the array has an axis for each loop, as long as it has turns, and one to spare that is known to be long.

    for i < n:  t += tanh(a[i, i])        n turns; a, and its gradient, have n rows and n columns at least
    for i < n:  t += tanh(x[i, 0])        n turns; x may have few columns

What is known: linear forms of extents and of the loops' ends (`ir.affine`), extents that were found equal, that an
array with a place for the last turn's index is that long, and the branch taken (`two_versions` makes some for this). It
decides between two ways to have a number, both right: nothing but time and memory depends on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from ..affine import Facts, Linear
from ..core import Op, Region, Value
from ..ops import lookup
from ..types import Array, Scalar
from .prepare import Prepared

__all__ = ["LONG", "LowerOrder"]

LONG = 1024
"""Elements of a gradient for one number that is computed again. The square of it is what a processor's caches hold."""
MOST = 32
"""The costs, as declared, of the operations on floats in a turn: a few elementary functions. Many would show."""


class LowerOrder:
    """See the module's docstring."""

    def __init__(self, prepared: Prepared, gradients: Sequence[Value]) -> None:
        self.prepared = prepared
        self.gradients = [v for v in gradients if v.is_array]
        self.found: dict[Region, bool] = {}
        self.known: Facts | None = None

    def at(self, region: Region) -> bool:
        """Whether what is computed in all runs of a region is of lower order than a gradient."""
        if region not in self.found:
            self.found[region] = any(
                self.facts.nonneg(self.facts.extent(array, axis) - LONG) for array, axis, _ in self.to_spare(region)
            )
            self.forget()
        return self.found[region]

    def grows(self, region: Region) -> tuple[Value, int] | None:
        """An array and its axis whose extent, if it is large, makes it so; one that grows with the loops."""
        for array, axis, fitting in self.to_spare(region):
            if fitting and all(axis in able for able in fitting):
                self.forget()
                return array, axis
        self.forget()
        return None

    def to_spare(self, region: Region) -> Iterator[tuple[Value, int, list[set[int]]]]:
        """Arrays with an axis for each loop around a region, of as many elements as the loop has turns at least; a
        further axis of theirs; and the axes that fit the loops whose turns are not known. What is known in the region
        stays so until `forget`."""
        owners = [self.prepared.sites[r].owner for r in self.prepared.path(region)]
        loops = [op for op in owners if op is not None and op.name != "if"]
        if not loops or any(op.name != "for" for op in loops) or cost(loops[-1].regions[0]) > MOST:
            return
        candidates = [array for array in self.gradients if array.rank > len(loops)]
        if candidates:
            self.enter(self.prepared.path(region))
        for array in candidates:
            axes = range(array.rank)
            fitting = [{k for k in axes if self.fits(loop, array, k)} for loop in loops]
            open_ = [able for loop, able in zip(loops, fitting, strict=True) if self.turns(loop).terms]
            for chosen in itertools.permutations(axes, len(loops)):
                if all(k in able for k, able in zip(chosen, fitting, strict=True)):
                    yield from ((array, k, open_) for k in axes if k not in chosen)

    def turns(self, loop: Op) -> Linear:
        return self.facts.linear(loop.operands[1]) - self.facts.linear(loop.operands[0])

    def fits(self, loop: Op, array: Value, axis: int) -> bool:
        """Whether an extent is surely no less than the number of turns of a loop."""
        return self.facts.nonneg(self.facts.extent(array, axis) - self.turns(loop))

    @property
    def facts(self) -> Facts:
        if self.known is None:
            self.known = Facts(self.prepared.function)
        return self.known

    def enter(self, path: Sequence[Region]) -> None:
        """Know what is true in the last of nested regions once the primal has run."""
        self.facts.push()
        loop: Op | None = None
        for region in path:
            owner = self.prepared.sites[region].owner
            if owner is not None and owner.name == "if":
                self.facts.assume(owner.operands[0], region is owner.regions[0])
                if self.prepared.home.get(owner.operands[0]) is not self.prepared.function.body:
                    loop = None  # whether there is a last turn is not known
            else:
                loop = owner
            learn(region, loop, self.facts)

    def forget(self) -> None:
        while self.known is not None and self.known.depth > 1:
            self.known.pop()


def learn(region: Region, loop: Op | None, facts: Facts) -> None:
    """Assume what has been checked in each run of a region. A position that grows with the index of `loop`, in each of
    whose turns the region runs, is in bounds in the last one. (Where there is none, nothing is computed.)"""
    for op in region.ops:
        if op.name == "same_extent":
            facts.assume_equal(*map(facts.linear, op.operands))
        elif op.name == "bound" and loop is not None:
            position, extent = map(facts.linear, op.operands)
            lo, hi = map(facts.linear, loop.operands[:2])
            offset = position - facts.linear(loop.regions[0].args[0])
            if not offset.terms and offset.const >= 0 and facts.nonneg(lo):
                facts.assume_nonneg(extent - hi - offset)


def cost(region: Region) -> int:
    """What a turn of a loop computes with floats, in declared costs; loops in it are not counted."""
    total = 0
    for op in region.ops:
        if op.name == "if":
            total += max(map(cost, op.regions))
        elif not op.regions and any(isinstance(v.type, Scalar | Array) and v.dtype.is_float for v in op.results):
            total += lookup(op.name).cost
    return total
