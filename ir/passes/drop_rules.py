"""The end of users' own derivatives: what no transform will differentiate any more needs no rule.

In: a function. Out: the same one without `custom` operations: their results are the values that were computed.

    %y: f64 = custom %x, %y0, %r {...}
    %z: f64 = mul %y, 2.0                      =>      %z: f64 = mul %y0, 2.0
"""

from __future__ import annotations

from ..core import Function, Op
from ..rewrite import Rewriter

__all__ = ["run"]


def run(function: Function) -> Function:
    """The function without rules; the same object where there are none."""
    return DropRules().function(function)


class DropRules(Rewriter):
    def visit(self, op: Op) -> None:
        if op.name != "custom":
            self.copy(op)
            return
        start = op.attrs["args"]
        for result, value in zip(op.results, self.operands(op)[start : start + len(op.results)], strict=True):
            if not self.replace(result, value):
                raise TypeError(f"{value!r} does not fit where {result!r} was")
