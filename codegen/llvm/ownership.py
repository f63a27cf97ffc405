"""Who releases which memory when: the chain of what is owned at a point of the program.

In: memory as it is acquired, and the ends of regions. Out: releases, on the ordinary way and on the way out of a
failed check. Owned memory stands in a chain that grows as the program is written; the chain at a check is what must
be released if it fails. Ways out share their tails: the block that releases a link goes on to the block
of the link before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.core import Value
from .memory import Memories, Memory

__all__ = ["Link", "Ownership"]


@dataclass(eq=False)
class Link:
    value: Value
    memory: Memory
    before: Link | None
    block: Any = field(default=None)


class Ownership:
    """`last`: the newest link (None: nothing is owned); `way_out`: the block in which every failure ends."""

    def __init__(self, memories: Memories, way_out: Any) -> None:
        self.memories = memories
        self.way_out = way_out
        self.last: Link | None = None

    def own(self, value: Value, memory: Memory) -> None:
        self.last = Link(value, memory, self.last)

    def links(self, down_to: Link | None) -> list[Link]:
        out = []
        link = self.last
        while link is not down_to:
            assert link is not None
            out.append(link)
            link = link.before
        return out

    def hand_over(
        self,
        values: Sequence[Value],
        memory: Callable[[Value], Memory],
        owned: Callable[[Value], bool],
        to: Link | None,
    ) -> None:
        """End a scope that began at link `to` and gives `values` to who comes next, each with a reference of its own:
        what the scope owns is moved or released, what it does not own is retained."""
        links = self.links(to)
        mine = {link.value for link in links}
        moved: set[Value] = set()
        for value in values:
            if not owned(value):
                continue
            if value in mine and value not in moved:
                moved.add(value)
            else:
                owner = memory(value).owner
                if owner is not None:
                    self.memories.retain(owner)
        for link in links:
            if link.value not in moved:
                self.memories.release(link.memory.owner)
        self.last = to

    def owns(self, value: Value, down_to: Link | None) -> bool:
        """Whether memory is owned since `down_to`."""
        return any(link.value is value for link in self.links(down_to))

    def take(self, value: Value, down_to: Link | None) -> bool:
        """Forget memory that is owned since `down_to`, for whoever takes it over; False if it is not."""
        if not self.owns(value, down_to):
            return False
        links = self.links(down_to)
        last = down_to
        for link in reversed(links):
            if link.value is not value:
                last = Link(link.value, link.memory, last)
        self.last = last
        return True

    def exit(self) -> Any:
        """The block to go to when the program fails here."""
        return self.exit_of(self.last)

    def exit_of(self, link: Link | None) -> Any:
        if link is None:
            return self.way_out
        if link.block is None:
            b = self.memories.b
            link.block = b.append_basic_block("release")
            after = self.exit_of(link.before)
            with b.goto_block(link.block):
                self.memories.release(link.memory.owner)
                b.branch(after)
        return link.block
