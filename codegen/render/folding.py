"""Which operations are written inside the expression that uses them.

In: a scheduled function. Out: the set of folded operations, and for each region's statements the operations left.
An operation is folded where its one result has one use, in the same region, and nothing in between can change
what it reads."""

from __future__ import annotations

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.ops.declare import lookup
from ..scheduled import writes_memory

__all__ = ["Folding", "roots_of"]

WIDTH = 64
"""Expressions longer than this (as estimated) are given a name."""


class Folding:
    """`folded`: operations that are part of another's expression."""

    def __init__(self, function: Function) -> None:
        self.folded: set[Op] = set()
        self.uses: dict[Value, list[Op]] = {}
        self.home: dict[Op, Region] = {}
        self.writes: dict[Op, set[str]] = {}
        self.place(function.body)
        for op in walk(function.body):
            for operand in op.operands:
                self.uses.setdefault(operand, []).append(op)
        self.region(function.body)

    def place(self, region: Region) -> None:
        for op in region.ops:
            self.home[op] = region
            for inner in op.regions:
                self.place(inner)
            self.writes[op] = {str(b.type) for b in writes_memory(op)}
            for inner in op.regions:
                self.writes[op].update(*(self.writes[o] for o in inner.ops))

    def region(self, region: Region) -> None:
        """Decide from the end, so that the statement an operation would be part of is known."""
        at = {op: k for k, op in enumerate(region.ops)}
        root: dict[Op, Op] = {}
        width: dict[Op, int] = {}
        for op in reversed(region.ops):
            for inner in op.regions:
                self.region(inner)
            root[op] = op
            if not foldable(op):
                continue
            uses = self.uses.get(op.results[0], [])
            if len(uses) != 1 or self.home[uses[0]] is not region:
                continue
            target = root[uses[0]]
            if target.attrs.get("reverse") and op.results[0] in target.operands[:2]:
                continue  # read in every turn
            own = width.get(op, 0) + 4 + sum(len(x.name or "00") + 2 for x in op.operands)
            if width.get(target, 0) + own > WIDTH and target.name not in ("for", "while"):
                continue
            if op.name == "buffer.load" and self.disturbed(region, at[op], at[target], op.operands[0]):
                continue
            self.folded.add(op)
            root[op] = target
            width[target] = width.get(target, 0) + own

    def disturbed(self, region: Region, start: int, end: int, buffer: Value) -> bool:
        """Whether an operation between two places may write to the buffer's memory."""
        kind = str(buffer.type).split("[")[0]
        return any(any(w.startswith(kind) for w in self.writes[op]) for op in region.ops[start + 1 : end])

    def statements(self, region: Region) -> list[Op]:
        return [op for op in region.ops if op not in self.folded]


def foldable(op: Op) -> bool:
    if len(op.results) != 1 or op.regions:
        return False
    definition = lookup(op.name)
    return op.name == "buffer.load" or (definition.category in ("elementwise", "buffer") and not definition.effect)


def roots_of(folding: Folding, op: Op, count: int | None = None) -> list[Value]:
    """The values that a statement reads: its (first `count`) operands, those of folded operations in their
    place."""
    out: list[Value] = []
    for operand in op.operands[:count]:
        if isinstance(operand, Const):
            continue
        if operand.op is not None and operand.op in folding.folded:
            out += roots_of(folding, operand.op)
        else:
            out.append(operand)
    return out
