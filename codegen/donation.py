"""Results in the memory of arguments that the caller has given up.

In: a scheduled function, and which arguments' memory may be overwritten. Out: the function with some results written
there instead of into memory of their own, and without them among its results; and which result is in which argument.

A result takes an argument's place if the function allocates it once, outside of loops and branches, with the dtype and
the extents of the argument, and does not touch it before the argument was read for the last time. An element-wise loop
may do both: it reads an element and writes the same one.

    func @f(%x: &f64[?]) -> &f64[?] {              func @f(%x: &f64[?]) {
      %n: i64 = buffer.dim %x {axis=0}               %n: i64 = buffer.dim %x {axis=0}
      %y: &f64[?] = buffer.alloc %n
      for %i in (0, %n) {                            for %i in (0, %n) {
        %a: f64 = buffer.load %x, %i                   %a: f64 = buffer.load %x, %i
        %b: f64 = mul %a, 2.0                =>        %b: f64 = mul %a, 2.0
        buffer.store %b, %y, %i                        buffer.store %b, %x, %i
        yield                                          yield
      }                                              }
      return %y                                      return
    }                                              }

The caller sees to it that the argument's memory is nobody else's and may be written to.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ..ir.core import Function, Op, Value
from ..ir.errors import InternalError
from ..ir.rewrite import clone_function, substitute
from ..ir.types import Buffer
from .executable import Executable
from .host import check_and_convert, leaf_of, require_disjoint
from .lower import schedule, take_turns
from .lower.accesses import effects
from .lower.inheriting import element_by_element, is_carried

__all__ = ["DonatedExecutable", "results_in_arguments"]


def results_in_arguments(function: Function, donated: Sequence[int]) -> tuple[Function, dict[int, int]]:
    """See the module's docstring: the function, and by number of the result that of its argument."""
    copy = clone_function(function)
    layouts = function.attrs["layouts"]
    placed: dict[int, int] = {}
    for number in donated:
        argument = copy.args[number]
        if not isinstance(argument.type, Buffer) or (layouts[number] != "C" and argument.type.rank > 1):
            continue
        if layouts[number] == "A" or is_carried(copy.body, argument):
            continue
        for k, result in enumerate(copy.results):
            if k not in placed and may_take(copy, argument, result):
                placed[k] = number
                break
    if not placed:
        return function, {}
    results = copy.results
    replaced: dict[Value, Value] = {results[k]: copy.args[number] for k, number in placed.items()}
    allocations = {results[k].op for k in placed}
    end = copy.body.ops[-1]
    kept = [r for k, r in enumerate(results) if k not in placed]
    copy.body.ops[:] = [op for op in copy.body.ops[:-1] if op not in allocations]
    copy.body.ops.append(Op("return", kept, [], span=end.span))
    out = substitute(Function(copy.name, copy.body, dict(copy.attrs)), replaced)
    out.attrs["rewritten"] = tuple(sorted(set(placed.values())))
    out.body.ops[:] = [op for op in out.body.ops if not changes_nothing(op)]
    return out, placed


def may_take(function: Function, argument: Value, result: Value) -> bool:
    """Whether a result may be where an argument is."""
    op = result.op
    ops = function.body.ops
    if op is None or op.name != "buffer.alloc" or op not in ops or function.results.count(result) > 1:
        return False
    if result.type != argument.type or is_carried(function.body, result):
        return False
    for axis, extent in enumerate(op.operands):
        asked = extent.op
        if asked is None or asked.name != "buffer.dim" or asked.operands[0] is not argument:
            return False
        if asked.attrs["axis"] != axis:
            return False
    known = [effects(each) for each in ops[:-1]]
    reads = [k for k, found in enumerate(known) if argument in found.roots]
    touches = [k for k, found in enumerate(known) if result in found.roots]
    last, first = max(reads, default=-1), min(touches, default=len(ops))
    if last < first:
        return True
    return last == first and element_by_element(ops[last], known[last].accesses, argument, result)


def changes_nothing(op: Op) -> bool:
    """Whether a nest of loops stores every element where it was read."""
    if op.name != "for" or op.results:
        return False
    body = op.regions[0].ops[:-1]
    if len(body) == 1:
        return changes_nothing(body[0])
    if [inner.name for inner in body] != ["buffer.load", "buffer.store"]:
        return False
    load, store = body
    return store.operands == [load.result, *load.operands]


class DonatedExecutable(Executable):
    """An executable that may write results into the memory of the arguments `donated`; `run` gives these arrays."""

    def __init__(self, base: Executable, donated: Sequence[int]) -> None:
        super().__init__(base.function, base.layouts, base.distinguish_ones)
        self.base = base
        self.donated = tuple(donated)

    @cached_property
    def made(self) -> tuple[Function, dict[int, int]]:
        plain = schedule(self.base.function, self.base.layouts, turns=False)
        out, placed = results_in_arguments(plain, self.donated)
        take_turns(out)  # what is in the memory of an argument is disjoint from all others: see `run`
        return out, placed

    @cached_property
    def scheduled(self) -> Function:
        return self.made[0]

    def run(self, leaves: Sequence[Any], python: bool = False) -> list[Any]:
        placed = self.made[1]
        written = sorted(set(placed.values()))
        checked = [
            check_and_convert(x, leaf_of(x), f"argument {k}", written=k in written) for k, x in enumerate(leaves)
        ]
        require_disjoint(checked, written)
        out = (self.python if python else self.kernel.call)(*checked)
        if out is None:
            raise InternalError(f"arguments {[leaf_of(x) for x in leaves]} do not fit {self.function.name}")
        if out[0]:
            raise self.failure(*out[:3])
        rest = iter(out[3:])
        return [checked[placed[k]] if k in placed else next(rest) for k in range(len(self.function.results))]
