"""How calls of Python functions are lowered: a call of a library kernel, and a check of its status.

In: the `Scheduler` and a `callback` or `ordered_callback`. Out: what the function reads is put into memory in C order;
its results are fresh memory, numbers one element each, which is read afterwards:

    %y: &f64[?] = buffer.alloc %n {dtype=f64}
    %status: i64 = buffer.call %site, 1, %y, %x, %a {kernel="callback", outs=1}
    %ok: bool = eq %status, 0
    check %ok {error="callback", message="lookup"}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...ir.core import Const, Op, Value
from ...ir.types import I64, Array
from ..callbacks import CALLBACK

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["callback"]


def callback(s: Scheduler, op: Op) -> None:
    given: list[Value] = []
    copies: list[Value] = []
    for x in op.operands[1 : 1 + op.attrs["args"]]:
        if not x.is_array:
            given.append(s.get(x))
            continue
        buffer, copied = s.in_c_order(x)
        if copied:
            copies.append(buffer)
        given.append(buffer)
    results: list[Value] = []
    for result in op.results:
        if result.is_array:
            assert isinstance(result.type, Array)
            dest = s.storage.fresh(result.type.dtype, s.extents.of[result], result.name)
            s.storage.place(result, dest)
        else:
            dest = s.b.emit1("buffer.alloc", [Const(1, I64)], {"dtype": result.dtype}, names=[result.name])
        results.append(dest)
    count = len(results)
    passed = [s.get(op.operands[0]), Const(count, I64), *results, *given]
    status = s.b.emit1("buffer.call", passed, {"kernel": CALLBACK, "outs": count}, names=["status"])
    ok = s.b.emit1("eq", [status, Const(0, I64)])
    s.b.emit("check", [ok], {"error": "callback", "message": op.attrs["name"]})
    for result, dest in zip(op.results, results):
        if not result.is_array:
            s.scalars[result] = s.b.load(dest, [Const(0, I64)])
            s.scalars[result].name = result.name
    for buffer in copies:
        s.storage.free(buffer)
