"""What follows a check that surely fails is never run, and goes.

In: operations that a pass rebuilds, one by one, and its word (`failed`) that the last one surely fails. Out: a region
that ends there; what it yields then is anything of the right type, an older version of the array where there is one.

    for %k in (1, %n) (%z = %x) {                            for %k in (1, %n) (%z = %x) {
      %e: i64 = same_extent 1, 0                               %e: i64 = same_extent 1, 0
      %p: f64[0] = mul %z, %empty                     =>       yield %z
      %q: f64[1] = update %z, %p {spec=":"}                  }
      yield %q
    }

An `n` that is larger than 1 may promise a slice of an array of one element more than it has. The loop above does not
run for such arrays, and its types, of one and of no elements, need not fit.
"""

from __future__ import annotations

from ..affine import WRITES
from ..core import Const, Op, Region, Span, Value
from ..rewrite import Rewriter, clone_args
from ..types import I64, Array, Tape, fits

__all__ = ["Cutter"]


class Cutter(Rewriter):
    """A rewriter of regions that end where a check surely fails."""

    def __init__(self) -> None:
        super().__init__()
        self.span: Span | None = None
        self.failed = False
        """Whether what comes next in the region is never run."""

    def region(self, region: Region, args: list[Value] | None = None) -> Region:
        new = Region(clone_args(region.args, self.env) if args is None else args)
        saved, self.out, failed, self.failed = self.out, new.ops, self.failed, False
        ends = self.inline(region)
        end = region.terminator
        new.ops.append(Op(end.name, ends, [], dict(end.attrs), (), end.span))
        self.out, self.failed = saved, failed
        return new

    def inline(self, region: Region) -> list[Value]:
        end = region.terminator
        for k, op in enumerate(region.ops[:-1]):
            self.visit(op)
            if self.failed:
                self.changed |= k + 2 < len(region.ops)
                never = {v for later in region.ops[k + 1 : -1] for v in later.results}
                return [self.anything(v, never) for v in end.operands]
        return self.operands(end)

    def anything(self, value: Value, never: set[Value]) -> Value:
        """What stands for a value, which may be one that is never computed."""
        type_ = value.type
        while value in never and value.op is not None and value.op.name in (*WRITES, "tape.push"):
            value = value.op.operands[0]
        if value not in never and fits(self.get(value).type, type_):
            return self.get(value)
        if isinstance(type_, Array):
            extents = [Const(extent or 0, I64) for extent in type_.dims]
            return self.emit("empty", extents, {"dtype": type_.dtype}, self.span)
        if isinstance(type_, Tape):
            return self.emit("tape.new", [], {"element": type_.element}, self.span)
        return Const(0, type_.dtype)
