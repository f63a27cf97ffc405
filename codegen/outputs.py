"""Results that a kernel writes into memory of its caller's.

In: a scheduled function, and which of its results the caller has memory for. Out: the function with one more argument
for each of these results that can be written in place, and without them among its results; and which they are.

A result can be written in place if it is a buffer that the function allocates once, outside of loops and branches:
the argument stands for the buffer from there on. The caller sees to it that the argument's memory is nobody else's,
contiguous, and of the result's dtype and rank; that its extents are the result's is checked by the kernel.

    func @f(%x: &f64[?]) -> &f64[?] {          func @f(%x: &f64[?], %out0: &f64[?]) {
      %n: i64 = buffer.dim %x {axis=0}           %n: i64 = buffer.dim %x {axis=0}
      %y: &f64[?] = buffer.alloc %n              %m: i64 = buffer.dim %out0 {axis=0}
      for %i in (0, %n) {                        same_extent %n, %m
        ... buffer.store %a, %y, %i              for %i in (0, %n) { ... buffer.store %a, %out0, %i }
      }                                          return
      return %y                                }
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from ..ir.core import Builder, Function, Op, Region, Value
from ..ir.rewrite import clone_function, substitute
from ..ir.types import Array, Buffer
from .executable import Executable

__all__ = ["OutputExecutable", "outputs_as_arguments"]

DIFFERENT = "an array to write a result to has another shape than the result"


def outputs_as_arguments(function: Function, wanted: Sequence[int]) -> tuple[Function, list[int]]:
    """See the module's docstring. The arguments stand in the order of the numbers that are returned."""
    copy = clone_function(function)
    results = copy.results
    replaced: dict[Value, Value] = {}
    allocations: dict[Op, Value] = {}
    direct: list[int] = []
    for number in wanted:
        value = results[number]
        op = value.op
        if op is None or op.name != "buffer.alloc" or op not in copy.body.ops or results.count(value) > 1:
            continue
        assert isinstance(value.type, Buffer)
        replaced[value] = allocations[op] = Value(Buffer(value.type.dtype, value.type.rank), f"out{len(direct)}")
        direct.append(number)
    if not direct:
        return function, []
    ops: list[Op] = []
    for op in copy.body.ops:
        ops += [op] if op not in allocations else same_extents(op, allocations[op])
    terminator = ops[-1]
    ops[-1] = Op("return", [r for k, r in enumerate(results) if k not in direct], [], span=terminator.span)
    copy.body.ops[:] = ops
    copy.body.args.extend(allocations[results[number].op] for number in direct)  # type: ignore[index]
    out = substitute(Function(copy.name, copy.body, dict(copy.attrs)), replaced)
    out.attrs["layouts"] = (*function.attrs["layouts"], *("C" for _ in direct))
    out.attrs["outputs"] = len(direct)
    return out, direct


def same_extents(allocation: Op, argument: Value) -> list[Op]:
    """What stands in an allocation's place."""
    region = Region([])
    with Builder(region, allocation.span) as b:
        for axis, extent in enumerate(allocation.operands):
            found = b.emit1("buffer.dim", [argument], {"axis": axis})
            b.emit1("same_extent", [found, extent], {"what": DIFFERENT})
    return region.ops


class OutputExecutable(Executable):
    """An executable that writes some of its results into further arguments: `direct` are their numbers, in the order
    of these arguments; `run` gives the others."""

    def __init__(self, base: Executable, wanted: Sequence[int]) -> None:
        super().__init__(base.function, base.layouts, base.distinguish_ones)
        self.base = base
        self.wanted = tuple(wanted)

    @cached_property
    def made(self) -> tuple[Function, list[int]]:
        return outputs_as_arguments(self.base.scheduled, self.wanted)

    @property
    def direct(self) -> list[int]:
        return self.made[1]

    @cached_property
    def scheduled(self) -> Function:
        return self.made[0]

    @property
    def further(self) -> list[Array]:
        out = []
        for number in self.direct:
            type_ = self.function.results[number].type
            assert isinstance(type_, Array)
            out.append(Array(type_.dtype, (None,) * type_.rank))
        return out
