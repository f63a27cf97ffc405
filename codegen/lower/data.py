"""How operations whose results are positions become calls of kernels: `nonzero`, `argsort`, `searchsorted`.

In: the `Scheduler` and an operation. Out: calls on buffers in C order; what is searched for is fused into the loop
around the search.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...ir.core import Const, Op, Value
from ...ir.types import I64

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["DATA_RULES"]


def product(s: Scheduler, extents: list[Value]) -> Value:
    out: Value = Const(1, I64)
    for n in extents:
        out = s.b.emit1("mul", [out, n])
    return out


def result_buffer(s: Scheduler, op: Op) -> Value:
    return s.storage.fresh(I64, s.extents.of[op.result], op.result.name)


def call_on_view(s: Scheduler, op: Op, source: Value, view: list[Value], dest: Value) -> None:
    """Call the kernel of the operation's name on `source`, in memory and seen in the shape `view`."""
    buffer, made = s.in_c_order(source)
    seen = buffer if source.rank == len(view) else s.b.emit1("buffer.reshape", [buffer, *view])
    s.b.emit("buffer.call", [dest, seen], {"kernel": op.name})
    if made:
        s.storage.free(buffer)


def nonzero(s: Scheduler, op: Op) -> None:
    mask = op.operands[0]
    dest = result_buffer(s, op)
    call_on_view(s, op, mask, [product(s, s.storage.extents_of(mask))], dest)
    s.storage.place(op.result, dest)


def argsort(s: Scheduler, op: Op) -> None:
    x = op.operands[0]
    dest = result_buffer(s, op)
    *rows, count = s.storage.extents_of(x)
    shape = [product(s, rows), count]
    out = dest if x.rank == 2 else s.b.emit1("buffer.reshape", [dest, *shape])
    call_on_view(s, op, x, shape, out)
    s.storage.place(op.result, dest)


def searchsorted(s: Scheduler, op: Op) -> None:
    a, v = op.operands
    buffer, made = s.in_c_order(a)
    attrs = {"kernel": f"searchsorted_{op.attrs['side']}"}

    def search(at: list[Value]) -> Value:
        return s.b.emit1("buffer.call", [buffer, s.element(v, at)], attrs)

    if v.is_array:
        dest = result_buffer(s, op)
        s.b.nest(s.storage.extents_of(v), lambda at: s.b.store(search(at), dest, at))
        s.storage.place(op.result, dest)
    else:
        found = search([])
        found.name = op.result.name
        s.scalars[op.result] = found
    if made:
        s.storage.free(buffer)


DATA_RULES: dict[str, Callable[[Any, Op], None]] = {
    "nonzero": nonzero,
    "argsort": argsort,
    "searchsorted": searchsorted,
}
