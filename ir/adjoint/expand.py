"""Rules put in place: the last step of a reverse sweep.

In: a region with `call` operations. Out: the same region, changed in place, with what the functions called consist of.
While a sweep is built, and while it is decided what to keep for it, a rule is one operation.

    %dx: f64 = call %r, %dy {function=func @backward(...) {...}}      =>      %dx: f64 = mul %r, %dy
"""

from __future__ import annotations

from ..core import Builder, Region, Value
from ..rewrite import inline, mapped

__all__ = ["expand_calls"]


def expand_calls(region: Region) -> None:
    """Put the functions that are called in a region, or inside of it, in their place."""
    _expand(region, {})


def _expand(region: Region, env: dict[Value, Value]) -> None:
    old, region.ops = region.ops, []
    for op in old:
        op.operands[:] = mapped(op.operands, env)
        if op.name == "call":
            target = Region()
            with Builder(target, op.span):
                env.update(zip(op.results, inline(op.attrs["function"], op.operands), strict=True))
            region.ops += target.ops
            continue
        for inner in op.regions:
            _expand(inner, env)
        region.ops.append(op)
