"""Which buffers live on the kernel's stack: small ones whose size is known, and that nobody outside gets to see.

In: a scheduled function, and which of its buffers may be the same memory. Out: the allocations that are slots of the
kernel's frame rather than records of Numba's. A slot costs nothing to make or to release, and where LLVM sees
through its accesses, it becomes registers:

    %t: &f64[?] = buffer.alloc 3 {dtype=f64}        =>      %t = alloca [3 x double]           (in the entry block)

A slot is made once, however often the allocation is passed. So an allocation in a loop is a slot only if what it gave
in one turn is dead in the next: nothing that may be the same memory is carried by a loop around it. Memory that may
leave (a result, or what a library kernel gives back) and memory that may be an argument's has a record. Kernels that
only work on buffers do not ask who owns them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from ...ir.core import Const, Function, Op, Region, Value
from ...ir.types import Buffer

__all__ = ["stack_slots"]

LARGEST = 2048
"""Bytes of a slot."""
ALTOGETHER = 16384
"""Bytes of all slots of a kernel: kernels run on threads with little stack, too."""


def stack_slots(function: Function, memory: Callable[[Value], Hashable]) -> set[Op]:
    """The allocations that need no record; `memory` gives equal answers for buffers that may be the same memory."""
    candidates: list[tuple[Op, tuple[Op, ...]]] = []
    outside = {memory(v) for v in [*function.args, *function.results] if isinstance(v.type, Buffer)}
    carried: dict[Op, set[Hashable]] = {}

    def visit(region: Region, loops: tuple[Op, ...]) -> None:
        for op in region.ops:
            if op.name == "buffer.alloc":
                candidates.append((op, loops))
            elif op.name == "buffer.call":
                outside.update(memory(v) for v in op.results if isinstance(v.type, Buffer))
            inside = loops
            if op.name in ("for", "while"):
                inside = (*loops, op)
                carried[op] = {memory(v) for v in op.results if isinstance(v.type, Buffer)}
            for inner in op.regions:
                visit(inner, inside)

    visit(function.body, ())
    slots: set[Op] = set()
    room = ALTOGETHER
    for op, loops in candidates:
        size = size_in_bytes(op)
        here = memory(op.result)
        if size is None or size > min(room, LARGEST) or here in outside or any(here in carried[loop] for loop in loops):
            continue
        room -= size
        slots.add(op)
    return slots


def size_in_bytes(op: Op) -> int | None:
    """How much an allocation asks for; None where that is not known, or not a size."""
    assert isinstance(op.result.type, Buffer)
    size = op.result.type.dtype.itemsize
    for extent in op.operands:
        if not isinstance(extent, Const) or extent.value < 0:
            return None
        size *= int(extent.value)
    return size
