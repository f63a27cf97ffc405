"""`checkpoint` inside a trace: functions and loops whose reverse sweep computes the forward sweep again.

In: a call of a function under `checkpoint`, or `for t in checkpoint(range(n), ...)`. Out: the operations of
`ir.adjoint.checkpoint` in their place. What limits a loop's memory is checked when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..ir.adjoint.checkpoint import bytes_of, capacity, recomputed, segmented
from ..ir.core import Const, Region, Value, const
from ..ir.types import I64
from .context import Tracer
from .numeric import describe
from .programs import Derivative, mark_shared, program, results_of
from .values import BoundMethod, FunctionValue, Host, Number, Partial

__all__ = ["Checkpointed", "bind_checkpoint", "checkpointed_call", "checkpointed_loop"]

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(eq=False)
class Checkpointed:
    """An iterable under `checkpoint`, and what may be kept: a number of states, a number of bytes."""

    inner: Any
    snapshots: int | None = None
    bytes: int | None = None


def bind_checkpoint(t: Tracer, what: Any = None, *, snapshots: Any = None, memory: Any = None) -> Any:
    """`checkpoint(f)`, `checkpoint(iterable, snapshots=n)` or `checkpoint(iterable, memory="64MB")`."""
    if callable(what) or isinstance(what, FunctionValue | BoundMethod | Partial | Host):
        if snapshots is not None or memory is not None:
            t.unsupported("`snapshots` and `memory` of a function", "they are for loops: `checkpoint(range(n), ...)`")
        return Derivative("checkpoint", what)
    if isinstance(snapshots, Number | float) or (isinstance(snapshots, int) and snapshots < 1):
        t.unsupported(f"snapshots={describe(snapshots)}", "write a positive number")
    return Checkpointed(what, snapshots, None if memory is None else size_in_bytes(t, memory))


def size_in_bytes(t: Tracer, memory: Any) -> int:
    if isinstance(memory, int) and memory > 0:
        return memory
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([A-Za-z]*)\s*", memory) if isinstance(memory, str) else None
    if found is None or found[2].upper() not in UNITS:
        t.unsupported(f"memory={describe(memory)}", 'write a number of bytes, or a text such as "64MB" or "1.5 GiB"')
    return int(float(found[1]) * UNITS[found[2].upper()])


def checkpointed_call(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a function whose inside is not kept."""
    p = program(t, made.__wrapped__, args, kwargs, (), called=True)
    mark_shared(t, p, p.result)
    return results_of(t, p.result, dict(enumerate(recomputed(p.function, p.operands))))


def checkpointed_loop(
    t: Tracer, how: Checkpointed, lo: Value, hi: Value, inits: Sequence[Value], body: Region, reverse: bool
) -> list[Value]:
    """The results of a `for` of which only some states are kept."""
    limited = how.snapshots is not None or how.bytes is not None
    levels = 3 if limited else 2
    if limited:
        check_limit(t, how, t.emit1("maximum", [t.emit1("sub", [hi, lo]), const(0)]), inits, levels)
    return segmented(lo, hi, inits, body, reverse, levels)


def check_limit(t: Tracer, how: Checkpointed, count: Value, inits: Sequence[Value], levels: int) -> None:
    """That as many states as the schedule holds at a time are allowed."""
    held = t.emit1("mul", [capacity(count, levels), Const(levels, I64)])
    if how.snapshots is not None:
        held = t.emit1("minimum", [held, t.emit1("maximum", [count, const(1)])])
        allowed, what = how.snapshots, "{0} states, and {1} are allowed"
    else:
        held = t.emit1("mul", [held, bytes_of(inits)])
        allowed, what = how.bytes or 0, "{0} bytes, and {1} are allowed"
    limit = Const(allowed, I64)
    message = f"to reverse this loop with three forward sweeps takes {what} by checkpoint"
    t.emit("check", [t.emit1("le", [held, limit]), held, limit], {"error": "ValueError", "message": message})
