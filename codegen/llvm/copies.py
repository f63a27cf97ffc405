"""Copies of memory for parallel loops: of workspaces for each thread, of what is added to for each chunk.

In: some memory, and how many copies of it there shall be. Out: memory for them, where each begins, and code that fills
one with nothing and that adds them all to the original. Between copies is room (`APART`), since processors fetch cache
lines in pairs, and wait for each other where they write to the same pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Value
from ...ir.types import Buffer
from .memory import Memory, element_type
from .numba_parts import cgutils
from .scalars import integer

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["add_copies", "clear", "copies_of", "elements", "place_of_copy"]

APART = 128
"""Bytes between copies."""


def elements(b: Any, memory: Memory) -> Any:
    out: Any = integer(1)
    for extent in memory.extents:
        out = b.mul(out, extent)
    return out


def copies_of(low: Lowering, root: Value, count: Any) -> Memory:
    """Memory for copies of a buffer, owned here."""
    b = low.b
    original = low.memory(root)
    value = Value(Buffer(original.type.dtype, 1), "copies")
    size = b.add(b.mul(count, distance(b, original)), integer(apart(original)))
    memory, enough = low.memories.allocate(value, [size], original.number)
    with b.if_then(b.not_(enough), likely=False):
        release = ir.FunctionType(ir.VoidType(), [])
        b.call(cgutils.get_or_insert_function(b.module, release, "adjit_threads_release"), [])
    low.require_memory(enough)
    memory = low.memories.with_data(memory)
    low.ownership.own(value, memory)
    return memory


def apart(memory: Memory) -> int:
    """How many elements lie between copies, and before the first: no cache line holds elements of two."""
    return APART // memory.type.dtype.itemsize


def distance(b: Any, memory: Memory) -> Any:
    """From a copy of some memory to the next one, in elements: a multiple of `apart`."""
    line = apart(memory)
    rounded = b.and_(b.add(elements(b, memory), integer(line - 1)), integer(-line))
    return b.add(rounded, integer(line))


def place_of_copy(b: Any, original: Memory, copies: Any, number: Any) -> Any:
    """Where a copy of `original` begins."""
    return b.gep(copies, [b.add(b.mul(number, distance(b, original)), integer(apart(original)))])


def add_copies(low: Lowering, original: Memory, copies: Memory, count: Any) -> None:
    """Add the copies to the original, one after the other."""
    b = low.b
    size = elements(b, original)
    with cgutils.for_range(b, count) as outer:
        begin = place_of_copy(b, original, copies.data, outer.index)
        with cgutils.for_range(b, size) as inner:
            place = b.gep(original.data, [inner.index], inbounds=True)
            part = b.load(b.gep(begin, [inner.index], inbounds=True))
            b.store(b.fadd(b.load(place), part), place)


def clear(low: Lowering, data: Any, size: Any, memory: Memory) -> None:
    """Fill memory with what, added, changes no bit."""
    b = low.b
    zero = ir.Constant(element_type(memory.type), -0.0)
    with cgutils.for_range(b, size) as loop:
        low.memories.tag(b.store(zero, b.gep(data, [loop.index], inbounds=True)), memory)
