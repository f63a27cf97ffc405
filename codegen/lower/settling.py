"""Small buffers stay where they are: loops and branches copy their few elements instead of handing over memory.

In: a scheduled function, changed in place. Out: nothing. A loop that carries buffers passes pointers on, which changes
what memory a name means from turn to turn, and keeps the memory in memory. Where all buffers that may be meant have the
same few elements, the loop gets a buffer of its own, into which each turn copies; nothing but loads and stores at known
places is left of it, and LLVM makes registers of them:

    %x: &f64[?] = while (%p = %x0) {                       %p: &f64[?] = buffer.alloc 2         (and %x0's elements)
      ...                                                  while () {
    } do {                                                   ...
      %y: &f64[?] = buffer.alloc 2                  =>     } do {
      ...                                                    %y: &f64[?] = buffer.alloc 2
      yield %y                                               ...
    }                                                        %a = buffer.load %y, 0    %b = buffer.load %y, 1
                                                             buffer.store %a, %p, 0    buffer.store %b, %p, 1
                                                             yield
                                                           }

Results of the function and what library kernels or views see stay memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.types import I64, Buffer, Scalar

__all__ = ["settle"]

LARGEST = 4
"""The most elements that are copied."""
ACCESSES = ("buffer.load", "buffer.store", "buffer.dim")


def settle(function: Function) -> None:
    """Let the small buffers of a function stay where they are."""
    shapes = small_buffers(function)
    if shapes:
        region(function.body, shapes)


# ---------------------------------------------------------------- which ones


class Classes:
    """Buffers that may be the same memory (a union of sets), and the extents of each class."""

    def __init__(self) -> None:
        self.above: dict[Value, Value] = {}
        self.extents: dict[Value, tuple[int, ...] | None] = {}

    def of(self, value: Value) -> Value:
        while value in self.above:
            value = self.above[value]
        return value

    def join(self, a: Value, b: Value) -> None:
        a, b = self.of(a), self.of(b)
        if a is b:
            return
        self.above[b] = a
        known = [self.extents.pop(v) for v in (a, b) if v in self.extents]
        if known:
            self.extents[a] = known[0] if len(set(known)) == 1 else None

    def learn(self, value: Value, extents: tuple[int, ...] | None) -> None:
        """What is made has these extents; None: it must stay as it is."""
        root = self.of(value)
        self.extents[root] = extents if self.extents.get(root, extents) == extents else None


def small_buffers(function: Function) -> dict[Value, tuple[int, ...]]:
    """The buffers that loops and branches can copy, with their extents."""
    classes = Classes()
    moving: list[Value] = []
    for value in function.args:
        if isinstance(value.type, Buffer):
            classes.learn(value, None)
    for op in walk(function.body):
        if op.name == "buffer.alloc":
            classes.learn(op.result, constant_extents(op.operands))
        elif op.name in ("for", "while", "if"):
            moving += [r for r in op.results if isinstance(r.type, Buffer)]
            for values in carried(op):
                for value in values[1:]:
                    classes.join(values[0], value)
        elif op.name not in (*ACCESSES, "yield", "test"):
            for value in [*op.operands, *op.results]:
                if isinstance(value.type, Buffer):
                    classes.learn(value, None)
    out: dict[Value, tuple[int, ...]] = {}
    for value in moving:
        extents = classes.extents.get(classes.of(value))
        if extents is not None:
            out[value] = extents
    return out


def constant_extents(operands: Sequence[Value]) -> tuple[int, ...] | None:
    out = []
    size = 1
    for extent in operands:
        if not isinstance(extent, Const) or not 1 <= extent.value <= LARGEST:
            return None
        out.append(int(extent.value))
        size *= out[-1]
    return tuple(out) if size <= LARGEST else None


def carried(op: Op) -> list[tuple[Value, ...]]:
    """Per result of control flow that is a buffer: what may be the same memory."""
    ends = [inner.terminator.operands for inner in op.regions if inner.terminator.name == "yield"]
    out: list[tuple[Value, ...]] = []
    for k, result in enumerate(op.results):
        if isinstance(result.type, Buffer):
            values = [result, *(end[k] for end in ends)]
            if op.name != "if":
                first = 1 if op.name == "for" else 0
                values += [op.operands[k + 2 * first], op.regions[0].args[k + first]]
            out.append(tuple(values))
    return out


# ---------------------------------------------------------------- copies


def region(where: Region, shapes: dict[Value, tuple[int, ...]]) -> None:
    """Rewrite a region; what is further in first."""
    ops: list[Op] = []
    for op in where.ops:
        for inner in op.regions:
            region(inner, shapes)
        slots = [k for k, r in enumerate(op.results) if r in shapes]
        if slots:
            ops += control(op, slots, shapes)
        ops.append(op)
    where.ops[:] = ops


def control(op: Op, slots: list[int], shapes: dict[Value, tuple[int, ...]]) -> list[Op]:
    """Give a loop or branch buffers of its own in place of results; returns what is to be done before it."""
    before: list[Op] = []
    own: dict[int, Value] = {}
    for k in slots:
        result = op.results[k]
        assert isinstance(result.type, Buffer)
        extents = [Const(n, I64) for n in shapes[result]]
        made = Op("buffer.alloc", extents, [], {"dtype": result.type.dtype}, (), op.span)
        made.results.append(result)  # what comes after finds it under the same name
        result.op = made
        own[k] = result
        before.append(made)
    first = 1 if op.name == "for" else 0
    if op.name != "if":
        before += moved([(op.operands[k + 2 * first], own[k]) for k in slots], shapes, op)
        renamed = {op.regions[0].args[k + first]: own[k] for k in slots}
        for inner in op.regions:
            for user in walk(inner):
                user.operands[:] = [renamed.get(v, v) for v in user.operands]
    for inner in op.regions:
        if inner.terminator.name == "yield":
            end = inner.terminator
            inner.ops[-1:-1] = moved([(end.operands[k], own[k]) for k in slots], shapes, op)
            end.operands[:] = [v for k, v in enumerate(end.operands) if k not in own]
    op.results[:] = [r for k, r in enumerate(op.results) if k not in own]
    if op.name != "if":
        args = op.regions[0].args
        args[:] = [v for k, v in enumerate(args) if k - first not in own]
        op.operands[:] = [v for k, v in enumerate(op.operands) if k - 2 * first not in own]
    return before


def moved(pairs: list[tuple[Value, Value]], shapes: dict[Value, tuple[int, ...]], op: Op) -> list[Op]:
    """Copies of elements, all of which are read before any is written."""
    loads: list[Op] = []
    stores: list[Op] = []
    for source, target in pairs:
        if source is target:
            continue
        assert isinstance(target.type, Buffer)
        for place in itertools.product(*map(range, shapes[target])):
            at = [Const(i, I64) for i in place]
            loads.append(Op("buffer.load", [source, *at], [Scalar(target.type.dtype)], {}, (), op.span))
            stores.append(Op("buffer.store", [loads[-1].result, target, *at], [], {}, (), op.span))
    return loads + stores
