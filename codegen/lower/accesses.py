"""What a piece of scheduled IR reads and writes, and whether two positions can be the same.

In: scheduled operations. Out: `Effects` of an operation (memory by *root*: the buffer that it is part of), and
answers about positions, which are affine forms over loop indices with their ranges. In a schedule, different
buffers in reach are different memory, except for views (`buffer.reshape`, `buffer.view`) and what a library kernel
gives back in place of its operand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ...ir.core import Const, Op, Region, Value
from ...ir.types import Buffer
from ..callbacks import CALLBACK
from ..scheduled import written_operands
from .loops import affine, scaled, summed

__all__ = ["Access", "Effects", "Loop", "apart", "effects", "moves_buffers", "ordered", "root_of", "same_position"]

CHECKS = frozenset({"check", "bound", "same_extent"})
Form = tuple[dict[Value, int], int]


@dataclass(frozen=True)
class Loop:
    """A loop around an access: its index runs from `lo` to before `hi`."""

    index: Value
    lo: Value
    hi: Value


@dataclass(frozen=True)
class Access:
    """One read or write. `position` None: any element. `loops`: those around it, inside the operation asked
    about."""

    root: Value
    write: bool
    position: tuple[Value, ...] | None
    loops: tuple[Loop, ...]
    op: Op


@dataclass
class Effects:
    """Everything an operation does: memory, values used from outside, whether it may end the program. Not changed once
    it is asked for `reads`, `writes` or `roots`."""

    accesses: list[Access] = field(default_factory=list)
    uses: set[Value] = field(default_factory=set)
    defines: set[Value] = field(default_factory=set)
    checks: bool = False

    @cached_property
    def reads(self) -> set[Value]:
        return {a.root for a in self.accesses if not a.write}

    @cached_property
    def writes(self) -> set[Value]:
        return {a.root for a in self.accesses if a.write}

    @cached_property
    def roots(self) -> set[Value]:
        return {a.root for a in self.accesses}


def root_of(buffer: Value) -> Value:
    """The buffer whose memory a buffer is, as far as can be seen."""
    while buffer.op is not None and (
        buffer.op.name in ("buffer.reshape", "buffer.view")
        or (buffer.op.name == "buffer.call" and isinstance(buffer.op.operands[0].type, Buffer))
    ):
        buffer = buffer.op.operands[0]
    return buffer


def effects(op: Op) -> Effects:
    """The effects of an operation, its regions included."""
    out = Effects()
    collect(op, (), out)
    out.uses -= out.defines
    return out


def collect(op: Op, loops: tuple[Loop, ...], out: Effects) -> None:
    out.uses.update([v for v in op.operands if v.__class__ is not Const])
    out.defines.update(op.results)
    if op.name in CHECKS:
        out.checks = True
    elif op.name == "buffer.load":
        out.accesses.append(Access(root_of(op.operands[0]), False, position_of(op, 0), loops, op))
    elif op.name == "buffer.store":
        out.accesses.append(Access(root_of(op.operands[1]), True, position_of(op, 1), loops, op))
    elif op.name == "buffer.call":
        out.checks |= op.attrs["kernel"] == CALLBACK  # what it does besides has its order
        writes = written_operands(op)
        for k, operand in enumerate(op.operands):
            if isinstance(operand.type, Buffer):
                out.accesses.append(Access(root_of(operand), True, None, loops, op))
                if k not in writes:
                    out.accesses.append(Access(root_of(operand), False, None, loops, op))
    elif op.regions:
        for operand in op.operands:
            if isinstance(operand.type, Buffer):  # carried: written under another name
                out.accesses.append(Access(root_of(operand), True, None, loops, op))
    elif op.name in ("yield", "return"):
        for operand in op.operands:
            if isinstance(operand.type, Buffer):
                out.accesses.append(Access(root_of(operand), False, None, loops, op))
    inner = loops
    if op.name == "for":
        inner = (*loops, Loop(op.regions[0].args[0], op.operands[0], op.operands[1]))
    for region in op.regions:
        out.defines.update(region.args)
        for nested in region.ops:
            collect(nested, inner, out)


def ordered(a: Effects, b: Effects) -> bool:
    """Whether the order of two operations, of which `a` stands first, matters. What touches memory stays behind the
    check that says that it may."""
    if a.defines & b.uses or (a.checks and (b.checks or b.accesses)):
        return True
    return bool(a.writes & b.roots or a.roots & b.writes)


def position_of(op: Op, at: int) -> tuple[Value, ...] | None:
    """The position of a load or store; None where the buffer is a view in another shape."""
    buffer = op.operands[at]
    while buffer.op is not None and buffer.op.name == "buffer.call":  # a tape in other memory: the same elements
        buffer = buffer.op.operands[0]
    return tuple(op.operands[at + 1 :]) if root_of(buffer) is buffer else None


def moves_buffers(region: Region) -> bool:
    """Whether anything inside carries buffers under changing names."""
    for op in region.ops:
        if op.regions and any(isinstance(v.type, Buffer) for v in op.results):
            return True
        if any(moves_buffers(inner) for inner in op.regions):
            return True
        if op.name in ("buffer.call", "buffer.alloc"):
            return True
    return False


# ---------------------------------------------------------------- positions


def same_position(a: Sequence[Value], b: Sequence[Value], renamed: Mapping[Value, Value]) -> bool:
    """Whether two positions are one, `renamed` giving the names of `b`'s values in `a`'s terms."""
    return all(
        x == y or (form(x, {}) == form(y, renamed)) for x, y in zip((renamed.get(v, v) for v in a), b, strict=True)
    )


def form(value: Value, renamed: Mapping[Value, Value]) -> Form:
    terms, constant = affine(value)
    out: dict[Value, int] = {}
    for v, c in terms.items():
        w = renamed.get(v, v)
        out[w] = out.get(w, 0) + c
    return {v: c for v, c in out.items() if c}, constant


def apart(a: Access, b: Access, around: Sequence[Loop]) -> bool:
    """Whether the elements of two accesses are never the same, in whatever turns of their loops. `around`:
    further loops whose indices both see, as two independent turns."""
    if a.position is None or b.position is None or len(a.position) != len(b.position):
        return False
    loops_a = [*around, *a.loops]
    loops_b = [*around, *b.loops]
    twins = {loop.index: Value(loop.index.type, loop.index.name) for loop in loops_b}
    ranges = [(loop.index, form(loop.lo, {}), form(loop.hi, {})) for loop in loops_a]
    ranges += [(twins[loop.index], form(loop.lo, twins), form(loop.hi, twins)) for loop in loops_b]
    for x, y in zip(a.position, b.position):
        gap = summed(form(x, {}), scaled(form(y, twins), -1))
        if at_least(gap, 1, ranges) or at_least(scaled(gap, -1), 1, ranges):
            return True
    return False


def at_least(what: Form, bound: int, ranges: Sequence[tuple[Value, Form, Form]]) -> bool:
    """Whether an affine form is at least `bound`, indices running through their ranges, extents being at least
    0."""
    terms, constant = dict(what[0]), what[1]
    for index, lo, hi in reversed(ranges):  # inner ranges may depend on outer indices
        coefficient = terms.pop(index, 0)
        if coefficient > 0:
            terms, constant = summed((terms, constant), scaled(lo, coefficient))
        elif coefficient < 0:
            terms, constant = summed((terms, constant), scaled((hi[0], hi[1] - 1), coefficient))
    if constant < bound:
        return False
    return all(c > 0 and v.op is not None and v.op.name == "buffer.dim" for v, c in terms.items())
