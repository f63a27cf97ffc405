"""Which buffers of a scheduled function may be the same memory, and which must look alike.

In: a scheduled function and the layouts of its arguments. Out: `Classes`. Two partitions of its buffer values:

* *memory*: values that may be the same memory: what a loop carries with what it starts from, yields and gives, a
  branch's results with what the branches yield, a buffer with its reshapes. Members of different classes never overlap.
* *form*: values that are carried through the same block argument, and so need one machine representation: with
  explicit strides where one of them is strided, with an owner where one of them is allocated.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.core import Function, Region, Value, walk
from ...ir.types import Buffer
from .stack import stack_slots

__all__ = ["Classes"]


class Partition:
    """Disjoint sets of values."""

    def __init__(self) -> None:
        self.parent: dict[Value, Value] = {}

    def find(self, value: Value) -> Value:
        root = value
        while root in self.parent:
            root = self.parent[root]
        while value is not root:
            self.parent[value], value = root, self.parent[value]
        return root

    def join(self, a: Value, b: Value) -> None:
        a, b = self.find(a), self.find(b)
        if a is not b:
            self.parent[b] = a


class Classes:
    """`memory_class(b)`: a number per class of memory; `strided(b)`, `owned(b)`: the form of b's representation;
    `slots`: the allocations that live on the stack."""

    def __init__(self, function: Function, layouts: Sequence[str], arguments_are_distinct: bool) -> None:
        self.memory, self.form = Partition(), Partition()
        buffers = [a for a in function.args if isinstance(a.type, Buffer)]
        if not arguments_are_distinct:
            for a in buffers[1:]:
                self.memory.join(buffers[0], a)
        self.region(function.body)
        strided = [a for a, layout in zip(function.args, layouts, strict=True) if layout in ("A", "F")]
        self._strided = {self.form.find(a) for a in strided}
        made = [
            r
            for op in walk(function.body)
            if op.name in ("buffer.alloc", "buffer.call")
            for r in op.results
            if isinstance(r.type, Buffer)
        ]
        self.slots = stack_slots(function, self.memory.find)
        self._owned = {self.form.find(r) for r in made if r.op not in self.slots}
        for value in function.results:  # of a result that is seen in another shape, the memory is handed over
            made_from = value.op.operands[0] if value.op is not None and value.op.name == "buffer.reshape" else None
            if made_from is not None and self.owned(made_from):
                self._owned.add(self.form.find(value))
        self.number: dict[Value, int] = {}
        for value in [*buffers, *made]:
            self.number.setdefault(self.memory.find(value), len(self.number))

    def memory_class(self, buffer: Value) -> int:
        return self.number[self.memory.find(buffer)]

    def strided(self, buffer: Value) -> bool:
        return self.form.find(buffer) in self._strided

    def owned(self, buffer: Value) -> bool:
        return self.form.find(buffer) in self._owned

    def carry(self, a: Sequence[Value], b: Sequence[Value]) -> None:
        for x, y in zip(a, b, strict=True):
            if isinstance(x.type, Buffer):
                self.form.join(x, y)
                self.memory.join(x, y)

    def region(self, region: Region) -> None:
        for op in region.ops:
            for inner in op.regions:
                self.region(inner)
            if op.name == "if":
                for inner in op.regions:
                    self.carry(op.results, inner.terminator.operands)
            elif op.name == "for":
                (body,) = op.regions
                for values in (op.operands[2:], op.results, body.terminator.operands):
                    self.carry(body.args[1:], values)
            elif op.name == "while":
                before, body = op.regions
                for values in (op.operands, op.results, body.terminator.operands):
                    self.carry(before.args, values)
            elif op.name in ("buffer.reshape", "buffer.view"):
                self.memory.join(op.operands[0], op.results[0])
            elif op.name == "buffer.call":
                for result in op.results:  # it may be memory that the kernel was given
                    for operand in op.operands:
                        if isinstance(result.type, Buffer) and isinstance(operand.type, Buffer):
                            self.memory.join(operand, result)
