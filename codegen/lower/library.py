"""How operations that call a library routine are lowered: one rule for all of them.

In: the `Scheduler` and an operation with a signature (`ir.ops.routines`). Out: one call. What the routine reads is put
into memory in C order, and is shown to it as a stack of problems along one axis; results are fresh memory, numbers
among them one element each, which is read afterwards. So a routine has one form, whatever the rank:

    %L: &f64[?,?] = buffer.alloc %n, %n {dtype=f64}              A: one matrix
    %s: &i64[?] = buffer.alloc 1 {dtype=i64}
    %1: &f64[?,?,?] = buffer.reshape %L, 1, %n, %n
    %2: &f64[?,?,?] = buffer.reshape %A, 1, %n, %n
    buffer.call %1, %s, %2 {kernel="cholesky_factor"}
    %status: i64 = buffer.load %s, 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir.core import Const, Op, Value
from ...ir.ops import REGISTRY
from ...ir.ops.routines import Part, signature_of
from ...ir.types import BOOL, I64, Array

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["LIBRARY", "library"]

ONE, ZERO = Const(1, I64), Const(0, I64)

LIBRARY = frozenset(name for name in REGISTRY if signature_of(name) is not None)
"""The operations that are lowered by `library` (those that are one of their operands are virtual before)."""


def library(s: Scheduler, op: Op) -> None:
    signature = signature_of(op.name)
    assert signature is not None
    passed: list[Value] = []
    copies: list[Value] = []
    given = []
    for k in signature.reads:
        x = op.operands[k]
        buffer, copied = s.in_c_order(x)
        if copied:
            copies.append(buffer)
        given.append(as_stack(s, buffer, x, signature.operands[k]))
    numbers: list[tuple[Value, Value]] = []
    for result, part in zip(op.results, signature.results):
        if result.is_array:
            assert isinstance(result.type, Array)
            dest = s.storage.fresh(result.type.dtype, s.extents.of[result], result.name)
            s.storage.place(result, dest)
            passed.append(as_stack(s, dest, result, part))
        else:
            dest = s.b.emit1("buffer.alloc", [ONE], {"dtype": result.dtype}, names=[result.name])
            numbers.append((result, dest))
            passed.append(dest)
    passed += given
    passed += [Const(bool(op.attrs[name]), BOOL) for name in signature.attributes]
    s.b.emit("buffer.call", passed, {"kernel": op.name})
    for result, dest in numbers:
        s.scalars[result] = s.b.load(dest, [ZERO])
        s.scalars[result].name = result.name
    for buffer in copies:
        s.storage.free(buffer)


def as_stack(s: Scheduler, buffer: Value, value: Value, part: Part) -> Value:
    """A view of memory with exactly one axis before those of the problem."""
    extents = s.storage.extents_of(value)
    lead = len(extents) - part.rank
    if lead == 1:
        return buffer
    count: Value = ONE
    for n in extents[:lead]:
        count = s.b.emit1("mul", [count, n])
    return s.b.emit1("buffer.reshape", [buffer, count, *extents[lead:]])
