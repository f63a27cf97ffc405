"""Who owns which memory: values become buffers that are written in place, moved, recycled and swapped.

In: the liveness of a `Plan` and extents. Out: buffers for values. Every buffer that may be written has one owner,
the innermost program region (`Frame`) whose turn it is to decide about it, and holds at most one live value:

* an operation that changes an array takes over the array's buffer when nothing reads the old value afterwards;
* a loop takes over the buffers of what it carries, and gives them back under other names;
* a buffer whose value is dead is free, and the next value of its shape gets it;
* a value made in a loop asks the region around the loop for memory, so that nothing is allocated per turn. If it
  is carried on, the buffer that it displaces is handed back instead (two buffers take turns, by renaming).

Arguments are not owned and never written, those excepted that the function is there to change: their memory is
owned, but `foreign`: only versions of the argument's own contents are ever in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...ir.core import Const, Region, Value, walk
from ...ir.types import I64, Buffer, DType, Scalar
from .loops import LoopBuilder
from .shapes import Dim, Extents, Term

__all__ = ["BUSY", "Frame", "Storage"]

BUSY = Value(Scalar(I64), "busy")
"""Holds a buffer whose contents are being made."""


@dataclass
class Frame:
    """A program region: its place among the open regions, and the buffers that it may decide about.

    `owned` maps a buffer to the value it holds, None where it is free. `requested`: what a loop got from outside.
    `entry`: what a branch found owned by the region around it, or asked it for, and decides about in its stead.
    """

    parent: Frame | None
    kind: str
    depth: int
    owned: dict[Value, Value | None] = field(default_factory=dict)
    requested: list[tuple[Value, Value]] = field(default_factory=list)
    entry: set[Value] = field(default_factory=set)


class Storage:
    """The buffers of the values known so far."""

    def __init__(self, builder: LoopBuilder, extents: Extents, scalar: Callable[[Value], Value | None]) -> None:
        self.builder = builder
        self.extents = extents
        self.scalar = scalar
        self.buffer: dict[Value, Value] = {}
        self.shape: dict[Value, list[Term]] = {}
        self.foreign: set[Value] = set()
        self.constant: set[Value] = set()
        """Arguments' memory, and views of it, that nobody writes to."""
        self.frame = Frame(None, "function", 0)

    # extents as values

    def extent(self, t: Term, depth: int | None = None) -> Value | None:
        """A scheduled value for an extent that may be used at `depth`; None where there is none."""
        found = self.located(t, depth)
        return found[1] if found is not None else None

    def located(self, t: Term, depth: int | None = None) -> tuple[Term, Value] | None:
        """`extent`, and which of the terms that are equal here it is the value of: of those furthest out the first."""
        depth = len(self.builder.scopes) - 1 if depth is None else depth
        best: tuple[Term, Value] | None = None
        least = (depth, 0)
        root = self.extents.find(t)
        for member in self.extents.members_of(root):
            if isinstance(member, int):
                return member, Const(member, I64)
            found = self.lookup(member)
            if found is not None and self.builder.visible(found, depth):
                place = self.builder.depth.get(found, 0), self.extents.met.get(member, 0)
                if best is None or place < least:
                    best, least = (member, found), place
        if best is None:
            for member in self.extents.members_of(root):
                if isinstance(member, Dim) and member.value in self.buffer:
                    buffer = self.buffer[member.value]
                    if self.builder.visible(buffer, depth):
                        with self.builder.at_depth(depth):
                            return member, self.builder.emit1("buffer.dim", [buffer], {"axis": member.axis})
        return best

    def lookup(self, member: Term) -> Value | None:
        if isinstance(member, Value):
            return self.scalar(member)
        return None

    def extents_of(self, value: Value) -> list[Value]:
        """The extents of an array value, as scheduled values."""
        return self.values(self.extents.of[value])

    def known(self, extent: Value) -> Value:
        """An extent under the name that every equal extent has here."""
        wanted: Term = int(extent.value) if isinstance(extent, Const) else extent
        self.extents.note(wanted)
        found = self.extent(wanted)
        return found if found is not None else self.scalar(extent) or extent

    def values(self, terms: Sequence[Term]) -> list[Value]:
        out = [self.extent(t) for t in terms]
        assert all(e is not None for e in out), f"unknown extents {terms}"
        return [e for e in out if e is not None]

    # buffers for values

    def place(self, value: Value, buffer: Value) -> None:
        """`value` is in `buffer` from here on."""
        self.buffer[value] = buffer
        if buffer in self.frame.owned:
            self.frame.owned[buffer] = value

    def owns(self, value: Value) -> bool:
        """Whether this region may write to the value's buffer."""
        buffer = self.buffer.get(value)
        return buffer is not None and self.frame.owned.get(buffer) is value

    def memory_of(self, value: Value) -> Value | None:
        """The owned buffer that holds a value and nothing else: its own, or one that it is seen in by another shape."""
        buffer = self.buffer.get(value)
        if buffer is not None and buffer.op is not None and buffer.op.name == "buffer.reshape":
            buffer = buffer.op.operands[0]
        return buffer if buffer is not None and self.frame.owned.get(buffer) is value else None

    def view(self, value: Value, view: Value, buffer: Value) -> None:
        """`value` is read through a view of an owned buffer, which is kept for it and is not written to meanwhile."""
        self.buffer[value] = view
        self.frame.owned[buffer] = value

    def adopt(self, buffer: Value, shape: Sequence[Term], holder: Value | None = None) -> None:
        """A buffer is this region's from here on."""
        self.shape[buffer] = list(shape)
        self.frame.owned[buffer] = holder

    def fresh(self, dtype: DType, shape: Sequence[Term], hint: str | None = None) -> Value:
        """A buffer of undefined contents for a value of this shape: recycled, from outside the loop, or
        allocated."""
        buffer = self.request(self.frame, dtype, list(shape), hint)
        assert buffer is not None
        self.frame.owned[buffer] = BUSY
        return buffer

    def free(self, buffer: Value) -> None:
        """Nothing needs what is in the buffer."""
        if buffer in self.frame.owned:
            self.frame.owned[buffer] = None

    def request(
        self,
        frame: Frame,
        dtype: DType,
        shape: list[Term],
        hint: str | None,
        allocate: bool = True,
        hidden: frozenset[Value] = frozenset(),
    ) -> Value | None:
        for buffer, holder in frame.owned.items():
            fits = isinstance(buffer.type, Buffer) and buffer.type.dtype is dtype
            hide = buffer in hidden or buffer in self.foreign
            if holder is None and not hide and fits and self.extents.same_shape(self.shape[buffer], shape):
                return buffer
        if frame.kind == "loop":
            assert frame.parent is not None
            if all(self.extent(t, frame.parent.depth) is not None for t in shape):
                outer = self.request(frame.parent, dtype, shape, hint)
                assert outer is not None
                frame.parent.owned.pop(outer, None)
                buffer = Value(outer.type, hint)
                self.builder.depth[buffer] = frame.depth
                self.builder.home[buffer] = self.builder.scopes[frame.depth]
                frame.requested.append((buffer, outer))
                frame.owned[buffer] = None
                self.shape[buffer] = self.shape[outer]
                return buffer
        elif frame.kind == "branch":
            assert frame.parent is not None
            found = self.request(frame.parent, dtype, shape, hint, False, hidden | frame.entry)
            if found is not None:
                frame.parent.owned[found] = BUSY
                frame.entry.add(found)
                frame.owned[found] = None
                return found
        if not allocate:
            return None
        return self.allocate(frame, dtype, shape, hint)

    def allocate(self, frame: Frame, dtype: DType, shape: list[Term], hint: str | None) -> Value:
        """A new buffer. Its shape is noted in the terms that it was allocated by: others may be equal only here."""
        depth = frame.depth if frame is not self.frame else len(self.builder.scopes) - 1
        with self.builder.at_depth(depth):
            found = [self.located(t) for t in shape]
            known = [pair for pair in found if pair is not None]
            assert len(known) == len(found), f"unknown extents {shape}"
            extents = [e for _, e in known]
            if frame is not self.frame:
                extents = [self.not_negative(e) for e in extents]
            buffer = self.builder.emit1("buffer.alloc", extents, {"dtype": dtype}, names=[hint])
        frame.owned[buffer] = None
        self.shape[buffer] = [t for t, _ in known]
        return buffer

    def not_negative(self, extent: Value) -> Value:
        """An extent that is known not to be negative inside a loop, outside of it: the loop need not run."""
        if isinstance(extent, Const) or (extent.op is not None and extent.op.name in ("buffer.dim", "maximum")):
            return extent
        return self.builder.emit1("maximum", [extent, Const(0, I64)])

    def allocate_like(self, frame: Frame, model: Value) -> Value:
        """A buffer of the shape of one that is there. (Its extents may have been known further in only, by another
        name.)"""
        assert isinstance(model.type, Buffer)
        with self.builder.at_depth(frame.depth):
            extents = [self.builder.emit1("buffer.dim", [model], {"axis": k}) for k in range(model.type.rank)]
            buffer = self.builder.emit1("buffer.alloc", extents, {"dtype": model.type.dtype}, names=[model.name])
        frame.owned[buffer] = None
        self.shape[buffer] = self.shape[model]
        return buffer

    def release(self, live: set[Value]) -> None:
        """Buffers of this region whose values are dead become free."""
        owned = self.frame.owned
        for buffer, holder in owned.items():
            if holder is not None and holder is not BUSY and holder not in live:
                owned[buffer] = None

    def take(self, buffer: Value) -> Value:
        """The buffer leaves this region (into a loop, or with a yield)."""
        del self.frame.owned[buffer]
        return buffer

    # settling accounts at the end of a region

    def settle_loop(self, frame: Frame) -> list[tuple[Value, Value, Value]]:
        """At the end of a loop's body, after the yielded buffers were taken: what it got from outside is either
        still here (then it is used under its outer name) or was carried on, and another free buffer of that shape
        goes back.

        Returns (buffer inside, buffer outside, buffer that goes back) for those that take turns.
        """
        spare = [b for b in frame.owned if all(b is not inside for inside, _ in frame.requested)]
        spare.sort(key=lambda b: b in self.foreign)
        turns: list[tuple[Value, Value, Value]] = []
        for inside, outside in frame.requested:
            if inside in frame.owned:
                continue
            back = next((b for b in spare if self.interchangeable(b, inside)), None)
            if back is None:
                back = self.allocate_like(frame, inside)
            else:
                spare.remove(back)
            turns.append((inside, outside, back))
        return turns

    def interchangeable(self, a: Value, b: Value) -> bool:
        return a.type == b.type and self.extents.same_shape(self.shape[a], self.shape[b])

    def static_workspaces(
        self, frame: Frame, regions: Sequence[Region], turns: Sequence[tuple[Value, Value, Value]]
    ) -> None:
        """Buffers that a loop got from outside and kept: their outer names inside, and back to their owner."""
        renamed: dict[Value, Value] = {}
        moving = {inside for inside, _, _ in turns}
        assert frame.parent is not None
        for inside, outside in frame.requested:
            if inside not in moving:
                renamed[inside] = outside
                frame.parent.owned[outside] = None
        if renamed:
            for region in regions:
                for op in walk(region):
                    op.operands = [renamed.get(v, v) for v in op.operands]
