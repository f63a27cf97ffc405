"""Removes what the walk emitted and nothing uses: pure operations, loads, allocations without a reader.

In: a scheduled function, changed in place. Out: nothing.
"""

from __future__ import annotations

from ...ir.core import Function, Region, Value, walk
from ...ir.ops.declare import lookup

__all__ = ["cleanup"]

REMOVABLE = frozenset({"buffer.load", "buffer.alloc", "buffer.reshape"})


def cleanup(function: Function) -> None:
    while True:
        used: set[Value] = set()
        for op in walk(function.body):
            used.update(op.operands)
        if not sweep(function.body, used):
            return


def sweep(region: Region, used: set[Value]) -> bool:
    """Drop unused operations of a region; True where there were some."""
    kept = []
    for op in region.ops:
        definition = lookup(op.name)
        pure = not definition.effect and definition.category not in ("control", "terminator")
        dead = not any(r in used for r in op.results) and bool(op.results)
        if dead and (pure or op.name in REMOVABLE):
            continue
        kept.append(op)
    changed = len(kept) < len(region.ops)
    region.ops[:] = kept
    for op in kept:
        for inner in op.regions:
            changed |= sweep(inner, used)
    return changed
