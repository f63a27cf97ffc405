"""What is known already: loads of what was just stored, operations done before, and buffers that nobody reads.

In: a scheduled function, changed in place. Out: nothing.

    buffer.store %b, %t, %i                     buffer.store %b, %t, %i
    %c: f64 = buffer.load %t, %i          =>    %d: f64 = mul %b, 2.0
    %d: f64 = mul %c, 2.0

and where all uses of `%t` are stores, they and its allocation go too; stores go, too, after which `%t` is not read.
"""

from __future__ import annotations

from typing import Any

from ...ir.core import Function, Op, Region, Value, walk
from ...ir.ops.declare import lookup
from ...ir.types import Buffer
from .accesses import Access, Effects, apart, effects, position_of, root_of

__all__ = ["forward"]

Key = tuple[Any, ...]
FIRST_EXTENT = {"buffer.alloc": 0, "buffer.reshape": 1, "buffer.view": 2}
"""Where the extents begin among the operands of what makes a buffer."""


def forward(function: Function) -> None:
    extents_of_allocations(function)
    renamed: dict[Value, Value] = {}
    Forwarder(renamed).region(function.body, {}, {})
    apply(function.body, renamed)
    drop_unread(function)


def apply(region: Region, renamed: dict[Value, Value]) -> None:
    def final(value: Value) -> Value:
        while value in renamed:
            value = renamed[value]
        return value

    if renamed:
        for op in walk(region):
            op.operands = [final(v) for v in op.operands]


def extents_of_allocations(function: Function) -> None:
    """`buffer.dim` of a buffer allocated here is what it was allocated with."""
    renamed: dict[Value, Value] = {}
    for op in walk(function.body):
        if op.name == "buffer.dim":
            made = op.operands[0].op
            if made is not None and made.name in FIRST_EXTENT:
                renamed[op.result] = made.operands[FIRST_EXTENT[made.name] + op.attrs["axis"]]
    apply(function.body, renamed)


class Forwarder:
    """`known` maps a buffer and a position to the value there."""

    def __init__(self, renamed: dict[Value, Value]) -> None:
        self.renamed = renamed
        self.cache: dict[Op, Effects] = {}

    def final(self, value: Value) -> Value:
        while value in self.renamed:
            value = self.renamed[value]
        return value

    def region(self, region: Region, known: dict[Key, Value], done: dict[Key, Value]) -> None:
        kept: list[Op] = []
        for op in region.ops:
            op.operands = [self.final(v) for v in op.operands]
            kept.append(op)
            definition = lookup(op.name)
            if op.name == "buffer.load":
                key: Key = tuple(op.operands)
                if key in known:
                    self.renamed[op.result] = known[key]
                elif position_of(op, 0) is not None:
                    known[key] = op.result
            elif op.name == "buffer.store":
                value, *key_parts = op.operands
                self.forget(known, effects(op))
                if position_of(op, 1) is not None:
                    known[tuple(key_parts)] = value
            elif op.regions:
                changed = effects(op) if known else Effects()
                if op.name in ("for", "while"):
                    self.forget(known, changed)  # an earlier turn may have written
                    inside, seen = dict(known), dict(done)
                    for inner in op.regions:
                        self.region(inner, inside, seen)
                else:
                    for inner in op.regions:
                        self.region(inner, dict(known), dict(done))
                    self.forget(known, changed)
            elif op.name == "buffer.call":
                self.forget(known, effects(op))
            elif not definition.effect and definition.category in ("elementwise", "buffer"):
                again = (op.name, *op.operands, *sorted((k, str(v)) for k, v in op.attrs.items()))
                if again in done:
                    self.renamed[op.result] = done[again]
                    kept.pop()
                else:
                    done[again] = op.result
        region.ops[:] = kept

    def forget(self, known: dict[Key, Value], changed: Effects) -> None:
        """Forget positions that may have been written."""
        writes: dict[Value, list[Access]] = {}
        for access in changed.accesses:
            if access.write:
                writes.setdefault(access.root, []).append(access)
        for key in list(known) if writes else ():
            buffer, *position = key
            root = root_of(buffer)
            if root in writes:
                here = Access(root, False, tuple(position), (), known_op(known[key]))
                if not all(apart(access, here, []) for access in writes[root]):
                    del known[key]


def known_op(value: Value) -> Op:
    return value.op if value.op is not None else Op("yield", [], [])


def drop_unread(function: Function) -> None:
    """Remove stores to buffers of the function's own that nobody reads afterwards, and the buffers that nobody reads at
    all."""
    while True:
        uses = Uses(function)
        unread = {op.result for op in walk(function.body) if op.name == "buffer.alloc" and op.result not in uses.last}
        if not unread and not uses.dead:
            return
        remove(function.body, unread, uses.dead)


class Uses:
    """`last`: the number, in program order, of the last operation that does something else with a buffer than to store
    to it, by whichever name: a view may be made long before what it shows is written and read. `dead`: the stores that
    no such operation comes after, nor is in a loop around the store with."""

    def __init__(self, function: Function) -> None:
        self.last: dict[Value, int] = {}
        self.dead: set[Op] = set()
        self.depth: dict[Value, int] = {}
        """Around each value's definition there are so many operations."""
        self.carrier: dict[Value, Op] = {}
        """The loops of block arguments."""
        self.stores: list[tuple[Op, tuple[int, ...]]] = []
        self.count = 0
        self.region(function.body, ())
        for store, around in self.stores:
            buffer = store.operands[1]
            if self.own(buffer) and self.last.get(root_of(buffer), -1) < around[self.depth[buffer]]:
                self.dead.add(store)

    def region(self, region: Region, around: tuple[int, ...]) -> None:
        """`around`: the numbers of the operations around the region."""
        for op in region.ops:
            self.count += 1
            here = (*around, self.count)
            for k, operand in enumerate(op.operands):
                if not isinstance(operand.type, Buffer):
                    continue
                if op.name == "buffer.store" and k == 1:
                    self.stores.append((op, here))
                elif op.name != "buffer.dim":
                    self.last[root_of(operand)] = self.count
            for inner in op.regions:
                for arg in inner.args:
                    self.carrier[arg] = op
                    self.depth[arg] = len(here)
                self.region(inner, here)
            for result in op.results:
                self.depth[result] = len(around)

    def own(self, buffer: Value) -> bool:
        """Whether a buffer is allocated here, or buffers allocated here are handed on by that name."""
        made = self.carrier[buffer] if buffer in self.carrier else buffer.op
        if made is None or made.name == "buffer.alloc":
            return made is not None
        if made.name in ("for", "while"):
            given = made.operands
        elif made.name == "if":
            given = [v for region in made.regions for v in region.terminator.operands]
        else:
            return False
        return all(self.own(v) for v in given if isinstance(v.type, Buffer))


def remove(region: Region, unread: set[Value], dead: set[Op]) -> None:
    region.ops[:] = [
        op
        for op in region.ops
        if op not in dead
        and not (op.name == "buffer.store" and op.operands[1] in unread)
        and not (op.name == "buffer.alloc" and op.result in unread)
    ]
    for op in region.ops:
        for inner in op.regions:
            remove(inner, unread, dead)
