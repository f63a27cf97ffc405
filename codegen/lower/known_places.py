"""Known places: a workspace that is only touched at places known now becomes values.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                              for %i in (0, %n) {
      for %k in (0, %m) { w[%k] = 0.0 }
      %a: f64 = buffer.load %w, 7                      %b: f64 = add 0.0, %t
      %b: f64 = add %a, %t
      buffer.store %b, %w, 7                 =>
      for %j in (0, 11) {                              z[%i * 11 + 0] = 0.0
        %c: f64 = buffer.load %w, %j                   ...
        z[%i * 11 + %j] = %c                           z[%i * 11 + 7] = %b
      }                                                ...
    }                                                }

The cotangent of a record of a few numbers is such a workspace: zeros, to whose elements something is added, one by one.
Its memory is of a size that only the call knows, so LLVM cannot make registers of it, and each number is waited for
until it has been stored and read again.

A workspace is filled as a whole with one value before anything else touches it: at the start of the innermost region
that contains all its uses, or in both branches of an `if` there. What touches it then are reads and writes at constant
places; loops of a few turns whose places are constant in each turn, which are unrolled; branches, which give what they
have written; and other regions that only read at constant places. The loop that fills it may be shorter than what is
read: what is read exists, since it is read, and so it was filled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Buffer, DType, Scalar
from .loops import affine

__all__ = ["keep_values"]

TURNS = 16
"""The most turns of a loop that is unrolled for this."""
OPERATIONS = 256
"""And the most operations that it becomes."""
ACCESSES = ("buffer.load", "buffer.store")
Place = tuple[int, ...]


def keep_values(function: Function) -> None:
    """Make values of the workspaces of a function."""
    seen: set[Value] = set()
    again = True
    while again:
        again = False
        for buffer, chains in candidates(function).items():
            if buffer in seen:
                continue
            seen.add(buffer)
            region = function.body
            for owners in zip(*(chain[:-1] for chain in chains), strict=False):
                if any(entry != owners[0] for entry in owners):
                    break
                region = owners[0][1]
            workspace = Workspace(buffer, {op for chain in chains for op, _ in chain})
            if workspace.suits(region):
                workspace.replace(region)
                again = True
                break  # operations have changed


Chain = list[tuple[Op, Region]]
"""An operation in the end, those around it before; each with the region that the next one is in (its own, last)."""


def candidates(function: Function) -> dict[Value, list[Chain]]:
    """Allocations that are only read and written element by element, and where."""
    found: dict[Value, list[Chain]] = {}
    leaving: set[Value] = set()

    def visit(region: Region, around: Chain) -> None:
        for op in region.ops:
            at = buffer_of(op)
            for operand in op.operands:
                if operand is at:
                    found.setdefault(operand, []).append([*around, (op, region)])
                elif isinstance(operand.type, Buffer) and op.name != "buffer.dim":
                    leaving.add(operand)
            for inner in op.regions:
                visit(inner, [*around, (op, inner)])

    visit(function.body, [])
    return {
        buffer: chains
        for buffer, chains in found.items()
        if buffer.op is not None and buffer.op.name == "buffer.alloc" and buffer not in leaving
    }


def buffer_of(op: Op) -> Value | None:
    """What a load or store touches."""
    if op.name not in ACCESSES:
        return None
    return op.operands[0 if op.name == "buffer.load" else 1]


def place_of(op: Op, index: Value | None = None) -> Place | None:
    """Where a load or store touches it, in the first turn of the loop with this index; None where that depends on
    anything else."""
    place = []
    for position in op.operands[1 if op.name == "buffer.load" else 2 :]:
        terms, constant = affine(position)
        if any(v is not index for v in terms):
            return None
        place.append(constant)
    return tuple(place)


def fills(op: Op, buffer: Value) -> tuple[Op, Region] | None:
    """The store by which a nest of loops gives each element of a buffer one value, and the region it is in, where it
    does nothing else to the buffer."""
    assert buffer.op is not None
    indices: list[Value] = []
    ends: list[Value] = []
    outer = op
    while op.name == "for" and len(op.operands) == 2 and op.operands[0] == Const(0, I64):
        body = op.regions[0]
        indices.append(body.args[0])
        ends.append(op.operands[1])
        for inner in body.ops:
            if inner.name == "buffer.store" and inner.operands[1] is buffer:
                value, _, *where = inner.operands
                alone = sum(buffer_of(other) is buffer for other in walk(outer.regions[0])) == 1
                fixed = isinstance(value, Const)
                return (inner, body) if alone and fixed and where == indices and ends == buffer.op.operands else None
        if len(body.ops) != 2:
            return None
        op = body.ops[0]
    return None


def unrolled(loop: Op) -> tuple[list[Op], list[Value]]:
    """The turns of a loop of a constant number of turns, one after the other, and what it gives."""
    turns = turns_of(loop)
    assert turns is not None
    body = loop.regions[0]
    carried = list(loop.operands[2:])
    out: list[Op] = []
    for turn in reversed(turns) if loop.attrs.get("reverse") else turns:
        env: Env = {body.args[0]: Const(turn, I64), **dict(zip(body.args[1:], carried, strict=True))}
        out += [copy_op(op, env) for op in body.ops[:-1]]
        carried = mapped(body.terminator.operands, env)
    return out, carried


def turns_of(loop: Op) -> range | None:
    low, high = loop.operands[:2]
    if not isinstance(low, Const) or not isinstance(high, Const):
        return None
    return range(int(low.value), int(high.value))


class UnknownPlace(Exception):
    """Something about a workspace is only known when the program runs."""


@dataclass
class Workspace:
    """A buffer, and the operations that touch it or contain some that do."""

    buffer: Value
    touching: set[Op]
    unrolling: set[Op] = field(default_factory=set)
    renamed: dict[Value, Value] = field(default_factory=dict)
    """What stands for loads, and for results of loops that are no more."""

    def accesses(self, op: Op) -> Iterator[Op]:
        """The loads and stores inside of an operation."""
        for region in op.regions:
            for inner in walk(region):
                if buffer_of(inner) is self.buffer:
                    yield inner

    # whether it can be done

    def suits(self, region: Region) -> bool:
        try:
            self.after(region, None)
        except UnknownPlace:
            return False
        return True

    def after(self, region: Region, filled: Value | None) -> Value | None:
        """What a workspace has been filled with, where a region ends."""
        for op in region.ops:
            if op not in self.touching:
                continue
            if not op.regions:
                if filled is None or place_of(op) is None:
                    raise UnknownPlace
                continue
            fill = fills(op, self.buffer)
            if fill is not None:
                filled = fill[0].operands[0]
            elif op.name == "if":
                first, second = (self.after(inner, filled) for inner in op.regions)
                if first is None or first != second:
                    raise UnknownPlace
                filled = first
            elif filled is None:
                raise UnknownPlace
            elif any(inner.name == "buffer.store" or place_of(inner) is None for inner in self.accesses(op)):
                if not self.may_unroll(op):
                    raise UnknownPlace
                self.unrolling.add(op)
        return filled

    def may_unroll(self, op: Op) -> bool:
        if op.name != "for" or any(inner.regions for inner in op.regions[0].ops):
            return False
        turns = turns_of(op)
        if turns is None or len(turns) > TURNS or len(turns) * len(op.regions[0].ops) > OPERATIONS:
            return False
        return all(place_of(inner, op.regions[0].args[0]) is not None for inner in self.accesses(op))

    # doing it

    def replace(self, region: Region) -> None:
        """Values instead of loads and stores."""
        self.known(region, Const(0.0, dtype_of(self.buffer)), {})
        for op in walk(region):
            op.operands = [self.final(v) for v in op.operands]

    def known(self, region: Region, filled: Value, places: dict[Place, Value]) -> tuple[Value, dict[Place, Value]]:
        """What is at each place where a region ends; elsewhere it is as `filled`."""
        kept: list[Op] = []
        waiting = region.ops[::-1]
        places = dict(places)
        while waiting:
            op = waiting.pop()
            if op in self.unrolling:
                turns, results = unrolled(op)
                self.renamed.update(zip(op.results, results, strict=True))
                waiting += reversed(turns)
            elif buffer_of(op) is self.buffer:
                place = place_of(op)
                assert place is not None
                if op.name == "buffer.load":
                    self.renamed[op.result] = places.get(place, filled)
                else:
                    places[place] = op.operands[0]
            else:
                kept.append(op)
                if op not in self.touching:
                    continue
                fill = fills(op, self.buffer)
                if fill is not None:
                    store, body = fill
                    filled, places = store.operands[0], {}
                    body.ops.remove(store)
                elif op.name == "if":
                    filled, places = self.branches(op, filled, places)
                else:
                    for inner in op.regions:
                        self.known(inner, filled, places)
        region.ops[:] = kept
        return filled, places

    def branches(self, op: Op, filled: Value, places: dict[Place, Value]) -> tuple[Value, dict[Place, Value]]:
        """A branch gives what is at the places that one of its sides has written."""
        (given, first), (_, second) = (self.known(inner, filled, places) for inner in op.regions)
        out: dict[Place, Value] = {}
        for place in {**first, **second}:
            values = [self.final(side.get(place, given)) for side in (first, second)]
            if values[0] == values[1]:
                out[place] = values[0]
                continue
            for inner, value in zip(op.regions, values, strict=True):
                inner.terminator.operands.append(value)
            out[place] = result = Value(Scalar(dtype_of(self.buffer)), None, op)
            op.results.append(result)
        return given, out

    def final(self, value: Value) -> Value:
        while value in self.renamed:
            value = self.renamed[value]
        return value


def dtype_of(buffer: Value) -> DType:
    assert isinstance(buffer.type, Buffer)
    return buffer.type.dtype
