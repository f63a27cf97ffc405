"""Memory of one type handed on to another: what takes the place of an array as it is read needs no memory of its own.

In: a scheduled function, changed in place. Out: nothing. `storage` lets a value have the memory of one that is dead,
or read for the last time by what makes the new one element by element, where both are of one type. Here they are of
two types whose numbers have the same size, positions and what is found there, say:

    %p: &i64[?] = buffer.alloc %n                     %y: &f64[?] = buffer.alloc %n
                                                      %p: &i64[?] = buffer.reshape %y, %n {dtype=i64}
    for %i in (0, %n) { ... store %k, %p, %i }        for %i in (0, %n) { ... store %k, %p, %i }
    %y: &f64[?] = buffer.alloc %n               =>
    for %i in (0, %n) {                               for %i in (0, %n) {
      %k: i64 = buffer.load %p, %i                      %k: i64 = buffer.load %p, %i
      %v: f64 = buffer.load %t, %k                      %v: f64 = buffer.load %t, %k
      buffer.store %v, %y, %i                           buffer.store %v, %y, %i
      yield                                             yield
    }                                                 }
    return %y                                         return %y

Both are allocated once, outside of loops and branches, by the same extents, and go by no other name; the later one is
not touched before the earlier one was for the last time, except by a loop nest that reads an element of the earlier
one before it writes the same one of the later. Not with threads, where loops are shared out by which memory they use.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.types import Buffer
from .accesses import Access, effects

__all__ = ["carried", "element_by_element", "inherit", "is_carried"]


def inherit(function: Function) -> None:
    """See the module's docstring."""
    made = [op for op in function.body.ops if op.name == "buffer.alloc" and not all(map(is_constant, op.operands))]
    if "threads" in function.attrs or len({op.result.type for op in made}) < 2:
        return
    ops = function.body.ops
    known = [effects(op) for op in ops[:-1]]
    roots, elsewhere = [found.roots for found in known], carried(function.body)
    touched = {op: [k for k, at in enumerate(roots) if op.result in at] for op in made if op.result not in elsewhere}
    taken: set[Op] = set()
    for heir in made:
        for giver in made[: made.index(heir)]:
            if giver in taken or heir in taken or not alike(giver, heir) or giver.result in function.results:
                continue
            if not touched.get(giver) or not touched.get(heir):
                continue
            last, first = touched[giver][-1], touched[heir][0]
            same = last == first and element_by_element(ops[last], known[last].accesses, giver.result, heir.result)
            if last < first or same:
                taken.update((giver, heir))
                hand_on(function, giver, heir)
                break


def is_constant(extent: Value) -> bool:
    """Buffers of constant extents may be on the stack, which costs nothing."""
    return isinstance(extent, Const)


def alike(giver: Op, heir: Op) -> bool:
    """Whether two allocations are of the same size, in numbers of different types."""
    one, other = giver.result.type, heir.result.type
    assert isinstance(one, Buffer) and isinstance(other, Buffer)
    differ = one.dtype is not other.dtype and one.dtype.itemsize == other.dtype.itemsize
    return differ and giver.operands == heir.operands


def hand_on(function: Function, giver: Op, heir: Op) -> None:
    """Let the earlier allocation be a view of the later one, which is made in its place. (So what is returned, or
    written to memory of the caller's, is still what was allocated.)"""
    ops = function.body.ops
    assert isinstance(giver.result.type, Buffer)
    ops.remove(heir)
    at = ops.index(giver)
    view = Op("buffer.reshape", [heir.result, *giver.operands], [], {"dtype": giver.result.type.dtype}, (), giver.span)
    view.results.append(giver.result)
    giver.result.op = view
    ops[at : at + 1] = [heir, view]


# ---------------------------------------------------------------- what is where


def carried(region: Region) -> set[Value]:
    """Buffers that go by other names in loops or branches, or in another shape."""
    return {
        value
        for op in walk(region)
        if op.regions or op.name in ("yield", "buffer.reshape", "buffer.view")
        for value in op.operands
    }


def is_carried(region: Region, buffer: Value) -> bool:
    """Whether a buffer is one of `carried`."""
    return buffer in carried(region)


def element_by_element(loop: Op, accesses: Sequence[Access], argument: Value, result: Value) -> bool:
    """Whether every turn reads the elements of the argument that it then writes as elements of the result, and no
    others."""
    reads = [a for a in accesses if a.root is argument]
    writes = [a for a in accesses if a.root is result]
    if not writes or any(a.write for a in reads) or any(a.position is None for a in (*reads, *writes)):
        return False
    model = writes[0]
    if not model.loops:
        return False
    regions = [region for op in (loop, *(inner for r in loop.regions for inner in walk(r))) for region in op.regions]
    assert model.position is not None
    indices = [loop.index for loop in model.loops]
    if any(index not in model.position for index in indices) or any(x not in indices for x in model.position):
        return False
    if any(a.position != model.position or a.loops != model.loops for a in (*reads, *writes)):
        return False
    body = next((region.ops for region in regions if region.args and region.args[0] is indices[-1]), [])
    if any(a.op not in body for a in (*reads, *writes)):
        return False  # in a branch
    return max(body.index(a.op) for a in reads) < min(body.index(a.op) for a in writes)
