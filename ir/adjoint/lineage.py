"""Which arrays are versions of one another: chains of contents where each is the last with one place overwritten.

In: a prepared primal. Out: `Lineages`: sets of array values such that each but the first replaces the one before it
(by `update` and its kin, around a loop, or through an `if`), the one before not being needed again. So one piece
of memory can hold them in turn; and walking backwards, each version can be had again by *undoing* the write that
followed it. `Versions` follows, along the reverse sweep, which version that memory holds.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from ..core import Op, Region, Value
from ..types import Type
from .activity import loop_parts
from .prepare import Prepared
from .reverse import OVERWRITES

__all__ = ["Lineages", "Versions"]


class Lineages:
    """The lineages of a prepared primal; a lineage is named by its first version."""

    def __init__(self, prepared: Prepared, mirrored: set[Op]) -> None:
        self.prepared = prepared
        self.mirrored = mirrored
        self._root: dict[Value, Value] = {}
        self._continued: list[Value] = []
        self._closed: set[tuple[Value, Op]] = set()
        self._uses: dict[Value, list[tuple[Op, Region]]] = defaultdict(list)
        self.overwrites: dict[Value, list[Op]] = {}
        self._collect_uses(prepared.function.body)
        self._walk(prepared.function.body)
        self.all_writes: dict[Value, list[Op]] = defaultdict(list)
        for op in prepared.order:
            if op.name in OVERWRITES and self.continues(op):
                self.all_writes[self.of(op.result)].append(op)
        for lineage, writes in self.all_writes.items():
            mirrored_writes = [op for op in writes if self._is_mirrored(op)]
            if mirrored_writes:
                self.overwrites[lineage] = mirrored_writes

    def of(self, value: Value) -> Value:
        """The lineage of an array value."""
        while (up := self._root.get(value, value)) is not value:
            value = up
        return value

    def continues(self, op: Op) -> bool:
        """Whether an overwriting operation's result and operand are one lineage."""
        return self.of(op.result) is self.of(op.operands[0])

    def passing(self, op: Op) -> dict[Value, int]:
        """Lineages that go through a loop or an `if`, with the number of the result that is theirs."""
        out: dict[Value, int] = {}
        if op in self.mirrored:
            for k, result in enumerate(op.results):
                if result.is_array and self.enters(op, k) is not None:
                    out[self.of(result)] = k
        return out

    def enters(self, op: Op, k: int) -> Value | None:
        """The version of result k's lineage before a loop or `if`'s first change, None where it is another lineage."""
        lineage = self.of(op.results[k])
        if op.name == "if":
            return op.results[k] if all(self.of(r.terminator.operands[k]) is lineage for r in op.regions) else None
        return loop_parts(op)[1][k] if self.of(loop_parts(op)[1][k]) is lineage else None

    @cached_property
    def of_one_type(self) -> dict[Value, bool]:
        """For each lineage whether all versions have one type (extents may be known of some only)."""
        types: dict[Value, set[Type]] = defaultdict(set)
        for value in self.prepared.home:
            if value.is_array:
                types[self.of(value)].add(value.type)
        return {lineage: len(found) == 1 for lineage, found in types.items()}

    def home(self, lineage: Value) -> Region:
        """The region that a lineage begins and ends in: around the loop, where the first version is a block argument
        and the last one the loop's result (what the argument starts from is needed otherwise, so no version of it)."""
        region = self.prepared.home[lineage]
        site = self.prepared.sites[region]
        if lineage in region.args and site.owner is not None and site.parent is not None:
            if any(r.is_array and self.of(r) is lineage for r in site.owner.results):
                return site.parent
        return region

    def final(self, lineage: Value) -> Value:
        """The last version in the region where the lineage ends."""
        home = self.home(lineage)
        last = lineage
        for op in home.ops:
            for value in op.results:
                if value.is_array and self.of(value) is lineage:
                    last = value
        return last

    # ------------------------------------------------------------ construction

    def _is_mirrored(self, op: Op) -> bool:
        owners = (self.prepared.sites[r].owner for r in self.prepared.path(self.prepared.home[op.result]))
        return all(owner is None or owner in self.mirrored for owner in owners)

    def _collect_uses(self, region: Region) -> None:
        for op in region.ops:
            for value in op.operands:
                self._uses[value].append((op, region))
            for inner in op.regions:
                self._collect_uses(inner)

    def _join(self, newer: Value, older: Value) -> None:
        a, b = self.of(newer), self.of(older)
        if a is not b:
            self._root[a] = b

    def _dies(self, value: Value, op: Op, region: Region) -> bool:
        """Whether `value` is not needed after `op`, which stands in `region`."""
        prepared = self.prepared
        home = prepared.home.get(value)
        if home is None:
            return False
        here = region
        while here is not home:
            site = prepared.sites[here]
            if site.owner is None or site.parent is None or site.owner.name != "if":
                return False  # a loop comes back to it
            if (value, site.owner) in self._closed:
                return False
            here = site.parent
        return not any(
            prepared.order[use] > prepared.order[op] and not self._exclusive(where, region)
            for use, where in self._uses[value]
            if use is not op
        )

    def _exclusive(self, a: Region, b: Region) -> bool:
        """Whether two regions are in different branches of one `if`."""
        for x, y in zip(self.prepared.path(a), self.prepared.path(b), strict=False):
            if x is not y:
                owner = self.prepared.sites[x].owner
                return owner is self.prepared.sites[y].owner and owner is not None and owner.name == "if"
        return False

    def _walk(self, region: Region) -> None:
        for op in region.ops:
            if op.name in OVERWRITES and self._dies(op.operands[0], op, region):
                self._continue(op.result, op.operands[0])
            if op.name == "if":
                self._walk_branches(op)
            else:
                for inner in op.regions:
                    self._walk(inner)
            if op in self.mirrored and op.name in ("for", "while"):
                for init, arg, new, result in zip(*loop_parts(op), op.results, strict=True):
                    if arg.is_array and self.of(new) is self.of(arg):
                        self._join(result, arg)
                        # of two arguments that start from one array, neither continues it: they part from there on
                        if op.operands.count(init) == 1 and self._dies(init, op, region):
                            self._continue(arg, init)

    def _continue(self, newer: Value, older: Value) -> None:
        self._join(newer, older)
        self._continued.append(older)

    def _walk_branches(self, op: Op) -> None:
        """A lineage that changes inside an `if` has to come out of it as one result. Where it does not (one branch
        yields something else), what the branch makes of it is a lineage of its own: walk again, with that known."""
        while True:
            roots, count = dict(self._root), len(self._continued)
            for inner in op.regions:
                self._walk(inner)
            entering = {v for v in self._continued[count:] if not self._is_inside(v, op)}
            leaving = self._leaving(op)
            lost = {v for v in entering if self.of(v) not in leaving}
            if not lost:
                break
            self._closed |= {(v, op) for v in lost}
            self._root = roots
            del self._continued[count:]
        for k in leaving.values():
            self._join(op.results[k], op.regions[0].terminator.operands[k])

    def _leaving(self, op: Op) -> dict[Value, int]:
        """Lineages that come out of an `if` as one result, with its number. Two results that are versions of one array
        part from there on: neither continues it."""
        found: dict[Value, list[int]] = defaultdict(list)
        for k, result in enumerate(op.results):
            a, b = (r.terminator.operands[k] for r in op.regions)
            if op in self.mirrored and result.is_array and self.of(a) is self.of(b) and a is not b:
                found[self.of(a)].append(k)
        return {lineage: numbers[0] for lineage, numbers in found.items() if len(numbers) == 1}

    def _is_inside(self, value: Value, op: Op) -> bool:
        owners = (self.prepared.sites[r].owner for r in self.prepared.path(self.prepared.home[value]))
        return op in owners


class Versions:
    """Which version each of some lineages is at, at a point of the reverse sweep."""

    def __init__(self, lineages: Lineages) -> None:
        self.lineages = lineages
        self.current: dict[Value, Value | None] = {}

    def enter(self, regions: list[Region], owner: Op | None) -> dict[Value, Value | None]:
        """Begin the mirror of primal `regions` (a loop's or a branch); returns what `leave` needs."""
        before = dict(self.current)
        for region in regions:
            for value in [*region.args, *(v for op in region.ops for v in op.results)]:
                if value.is_array:
                    self.current[self.lineages.of(value)] = value
        if owner is not None:
            for lineage, k in self.lineages.passing(owner).items():
                self.current[lineage] = regions[-1].terminator.operands[k]
        return before

    def leave(self, before: dict[Value, Value | None], owner: Op) -> None:
        """End the mirror of `owner`: each lineage that went through it is at the version before it."""
        after = self.current
        self.current = before
        for lineage, k in self.lineages.passing(owner).items():
            if owner.name == "if":
                self.current[lineage] = after.get(lineage)
            else:
                init = owner.operands[k + (2 if owner.name == "for" else 0)]
                self.current[lineage] = init if self.lineages.of(init) is lineage else None

    def undo(self, op: Op) -> None:
        """Step back over an overwriting operation."""
        if self.lineages.continues(op):
            self.current[self.lineages.of(op.result)] = op.operands[0]
        else:
            self.current[self.lineages.of(op.result)] = None
