"""Arrays of which only parts are read, below an infinite slope: their cotangents get masks (see `cotangents`).

In: a program and its active values. Out: those arrays that are read by `index` (and by what moves or combines such
arrays) alone, and whose cotangent meets a slope that may be infinite. What nobody reads has a cotangent that is zero by
structure, which such a slope must leave a zero:

    %y = sqrt %x                          %m = update(%false, true, 1)
    %e = index %y, 1               =>     %y_adj = accumulate(%zeros, %e_adj, 1)
    return %e                             %x_adj = select(%m, %y_adj * (0.5 / %y), 0)

A choice (`select`, `maximum`, ...) leaves parts, too. Arrays of which each turn of a loop reads a slice are left alone:
the slices may overlap, and all of them would be marked. Of arrays that are written to in places see `overwritten`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..core import Function, Op, Region, Value, walk
from ..ops import lookup
from .tangent_masks import steep_operands

__all__ = ["partly_read"]

PASSED = frozenset("transpose reshape reduce_sum fill broadcast".split())
"""Operations that masks of cotangents pass besides the elementwise ones."""


def partly_read(function: Function, active: set[Value]) -> set[Value]:
    """The arrays whose cotangents need a mask of what is read of them."""
    ops = list(walk(function.body))
    if not any(any(v in active for v in op.results) and steep_operands(op) for op in ops):
        return set()
    uses: dict[Value, list[Op]] = {}
    for op in ops:
        for v in op.operands:
            if v in active:
                uses.setdefault(v, []).append(op)
    partial: set[Value] = set()
    home = dict(loops_around(function.body, None))
    for op in reversed(ops):
        for v in op.results:
            if v in active and v.is_array and not op.regions and uses.get(v):
                slices = any(reads_a_slice(user) and home[user] is not home[op] for user in uses[v])
                if not slices and all(leaves_parts(user, v, active, partial) for user in uses[v]):
                    partial.add(v)
    wanted: set[Value] = set()
    for op in ops:  # what comes before is decided first
        steep = [k for k in steep_operands(op) if op.operands[k] in active]
        for v in op.results:
            if v in partial and (steep or (passes(op) and any(u in wanted for u in op.operands))):
                wanted.add(v)
    return wanted


def loops_around(region: Region, loop: Op | None) -> Iterator[tuple[Op, Op | None]]:
    """Each operation with the innermost loop around it."""
    for op in region.ops:
        yield op, loop
        for inner in op.regions:
            yield from loops_around(inner, loop if op.name == "if" else op)


def reads_a_slice(op: Op) -> bool:
    return op.name == "index" and "s" in op.attrs["spec"]


def passes(op: Op) -> bool:
    return lookup(op.name).partials is not None or op.name in PASSED


def leaves_parts(user: Op, value: Value, active: set[Value], partial: set[Value]) -> bool:
    """Whether the cotangent that an operation hands to an operand is zero in places, by structure."""
    if not any(v in active for v in user.results):
        return True
    if user.name == "index":
        return set(user.attrs["spec"]) != {":"}
    if lookup(user.name).masks is not None:
        return True
    return passes(user) and all(v in partial for v in user.results if v in active)
