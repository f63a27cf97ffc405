"""Removes what the walk emitted and nothing needs: what nobody uses, and names carried through loops that never change.

In: a scheduled function, changed in place. Out: nothing.
"""

from __future__ import annotations

from ...ir.core import Function, Op, Region, Value, walk
from ...ir.ops.declare import lookup

__all__ = ["cleanup"]

REMOVABLE = frozenset({"buffer.load", "buffer.alloc", "buffer.reshape", "buffer.view"})


def cleanup(function: Function) -> None:
    while stationary(function.body):
        pass
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
        if op.results and used.isdisjoint(op.results) and (op.name in REMOVABLE or is_pure(op)):
            continue
        if op.name == "for" and not op.results and len(op.regions[0].ops) == 1:
            continue  # nothing is left inside
        kept.append(op)
    changed = len(kept) < len(region.ops)
    region.ops[:] = kept
    for op in kept:
        for inner in op.regions:
            changed |= sweep(inner, used)
    return changed


def is_pure(op: Op) -> bool:
    definition = lookup(op.name)
    return not definition.effect and definition.category not in ("control", "terminator")


def stationary(region: Region) -> bool:
    """Values that a loop carries and every turn gives back as they are become the values they start from; so do branch
    results that are one value on both sides. True where there were some."""
    changed = False
    renamed: dict[Value, Value] = {}
    for op in list(region.ops):
        for inner in op.regions:
            changed |= stationary(inner)
        if op.name in ("for", "while"):
            skip = 2 if op.name == "for" else 0
            args, yielded = op.regions[0].args, op.regions[-1].terminator.operands
            first = len(args) - len(yielded)
            for k in reversed(range(len(yielded))):
                if yielded[k] is args[first + k]:
                    init = op.operands[skip + k]
                    renamed[args[first + k]] = renamed[op.results[k]] = init
                    del args[first + k], yielded[k], op.operands[skip + k], op.results[k]
        elif op.name == "if":
            first_values, second_values = (inner.terminator.operands for inner in op.regions)
            for k in reversed(range(len(first_values))):
                if first_values[k] == second_values[k]:
                    renamed[op.results[k]] = first_values[k]
                    del first_values[k], second_values[k], op.results[k]
    if renamed:
        for op in walk(region):
            op.operands = [resolved(v, renamed) for v in op.operands]
    return changed or bool(renamed)


def resolved(value: Value, renamed: dict[Value, Value]) -> Value:
    while value in renamed:
        value = renamed[value]
    return value
