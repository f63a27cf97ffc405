"""Python variables for values: what a loop carries lives in one variable, and names are those of the user.

In: a scheduled function and its folding. Out: a name per value. Two values *interfere* where one is defined while
the other is still needed; values that do not may share a variable. Shared by choice: what a loop carries with
what it starts from, yields and gives; a branch's results with what the branches yield. Every copy that is avoided
is a line less to read and compile."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Iterator, Sequence

from ...ir.core import Const, Function, Region, Value
from ...ir.types import Buffer
from .folding import Folding, roots_of

__all__ = ["Variables"]


class Variables:
    """`name[value]` for every value that is not a constant or folded.

    Sets of values are integers here, with a bit for each value: large kernels have thousands of values, of which
    hundreds are alive everywhere."""

    def __init__(self, function: Function, folding: Folding, reserved: Iterable[str]) -> None:
        self.folding = folding
        self.bits: dict[Value, int] = {}
        self.near: dict[Value, int] = {}
        """Of each class of values, by its first one: what is alive where one of them is defined."""
        self.inside: dict[Value, int] = {}
        """And its values."""
        self.parent: dict[Value, Value] = {}
        self.members: dict[Value, list[Value]] = {}
        self.order: list[Value] = []
        self.params = set(function.args)
        self.needs: dict[Region, int] = {}
        self.defined(function.args, 0)
        self.indices: set[Value] = set()
        self.live(function.body, 0)
        self.defined(function.args, self.mask(function.args))
        self.pairs(function.body)
        self.name: dict[Value, str] = {}
        self.choose(function, set(reserved))

    def bit(self, value: Value) -> int:
        found = self.bits.get(value)
        if found is None:
            found = self.bits[value] = 1 << len(self.bits)
        return found

    def mask(self, values: Iterable[Value]) -> int:
        out = 0
        for value in values:
            out |= self.bit(value)
        return out

    # interference

    def defined(self, values: Sequence[Value], alive: int) -> None:
        for value in values:
            own = self.bit(value)
            if value not in self.members:
                self.members[value] = [value]
                self.inside[value] = own
                self.order.append(value)
            self.near[value] = self.near.get(value, 0) | (alive & ~own)

    def live(self, region: Region, after: int) -> int:
        """Record what interferes in a region; returns what is live at its start."""
        alive = after
        for op in reversed(region.ops):
            if op in self.folding.folded:
                continue
            made = self.mask(op.results)
            self.defined(op.results, alive | made)
            alive &= ~made
            if op.name == "if":
                then, other = (self.live(inner, alive) for inner in op.regions)
                alive = then | other
            elif op.name == "for":
                (body,) = op.regions
                self.indices.add(body.args[0])
                bounds = self.mask(roots_of(self.folding, op, 2))
                throughout = alive | self.captured(body)
                if op.attrs.get("reverse"):  # the index is counted down from the upper end
                    throughout |= bounds
                start = self.live(body, throughout | self.bit(body.args[0]))
                # the bounds are read after the carried variables have been set
                self.defined(body.args, start | self.mask(body.args) | bounds)
                alive = throughout
            elif op.name == "while":
                before, body = op.regions
                given = self.mask(before.args)
                inside = given | self.mask(r for o in before.ops for r in o.results)
                throughout = alive | self.captured(before) | (self.captured(body) & ~inside)
                in_body = self.live(body, throughout)
                start = self.live(before, in_body | throughout | given)
                self.defined(before.args, start | given)
                alive = throughout
            alive |= self.mask(roots_of(self.folding, op))
        return alive

    def captured(self, region: Region) -> int:
        """What a region needs from outside."""
        if region not in self.needs:
            self.needs[region] = self.captured_by(region)
        return self.needs[region]

    def captured_by(self, region: Region) -> int:
        own, out = self.mask(region.args), 0
        for op in region.ops:
            if op not in self.folding.folded:
                out |= self.mask(roots_of(self.folding, op)) & ~own
            inside = 0
            for inner in op.regions:
                out |= self.captured(inner) & ~own & ~inside
                inside |= self.mask(inner.args) | self.mask(r for o in inner.ops for r in o.results)
            own |= self.mask(op.results)
        return out

    # sharing

    def find(self, value: Value) -> Value:
        while value in self.parent:
            value = self.parent[value]
        return value

    def share(self, a: Value, b: Value) -> None:
        """One variable for both, unless that is wrong."""
        if isinstance(a, Const) or isinstance(b, Const) or a.type != b.type:
            return
        if a not in self.members or b not in self.members:  # folded, or a parameter
            return
        a, b = self.find(a), self.find(b)
        if a is b or a in self.params or b in self.params:
            return
        if self.near[a] & self.inside[b] or self.near[b] & self.inside[a]:
            return
        self.parent[b] = a
        self.members[a] += self.members[b]
        self.near[a] |= self.near[b]
        self.inside[a] |= self.inside[b]

    def pairs(self, region: Region) -> None:
        for op in region.ops:
            for inner in op.regions:
                self.pairs(inner)
            if op.name in ("for", "while"):
                inits = op.operands[2:] if op.name == "for" else op.operands
                args = op.regions[0].args[1:] if op.name == "for" else op.regions[0].args
                for result, arg in zip(op.results, args):
                    self.share(arg, result)
                for arg, value in zip(args, op.regions[-1].terminator.operands):
                    self.share(arg, value)
                for arg, value in zip(args, inits):
                    self.share(arg, value)
            elif op.name == "if":
                for inner in op.regions:
                    for result, value in zip(op.results, inner.terminator.operands):
                        self.share(result, value)

    # names

    def choose(self, function: Function, reserved: set[str]) -> None:
        holders: dict[str, tuple[object, bool]] = {}  # of each name: the type of its values, and whether it is fixed
        near: dict[str, int] = {}  # to the values that have a name
        inside: dict[str, int] = {}  # those values
        place = {v: k for k, v in enumerate(values_of(function.body))}
        classes = [v for v in self.order if self.find(v) is v]
        for root in classes:
            self.members[root].sort(key=place.__getitem__)
        classes.sort(key=lambda v: (not any(m.name for m in self.members[v]), place[self.members[v][0]]))
        for root in classes:
            members = self.members[root]
            hint = next((m.name for m in members if m.name), None)
            wanted = identifier(hint, root)
            letters = list(INDEX_NAMES) if hint is None and root in self.indices else []

            def unfit(name: str, root: Value = root) -> bool:
                if name in reserved:
                    return True
                return bool(self.near[root] & inside.get(name, 0) or self.inside[root] & near.get(name, 0))

            own = (root.type, False)
            alone = root in self.params
            name, count = letters.pop(0) if letters else wanted, 0
            while unfit(name) or (name in holders and (alone or holders[name] != own)):
                count += 1
                name = letters.pop(0) if letters else f"{wanted}_{count}"
            holders[name] = (root.type, alone)
            near[name] = near.get(name, 0) | self.near[root]
            inside[name] = inside.get(name, 0) | self.inside[root]
            for member in members:
                self.name[member] = name


INDEX_NAMES = "ijkl"


def values_of(region: Region) -> Iterator[Value]:
    """All values, in the order in which they are read by people."""
    yield from region.args
    for op in region.ops:
        for inner in op.regions:
            yield from values_of(inner)
        yield from op.results


def identifier(hint: str | None, value: Value) -> str:
    """A Python identifier as close to the hint as can be."""
    text = re.sub(r"\W", "_", hint or "")
    if not text or text.strip("_") == "":
        text = "buffer" if isinstance(value.type, Buffer) else "t"
    if text[0].isdigit():
        text = f"t{text}"
    if keyword.iskeyword(text) or keyword.issoftkeyword(text):
        text += "_"
    return text
