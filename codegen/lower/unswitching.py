"""Loops that add a share to some of their elements are written twice where the share may well be 0: once without it.

In: a scheduled function, changed in place. Out: nothing. The cotangent of a maximum goes to the elements that are it,
which takes another look at each of them. Where what the maximum was subtracted for cancels it again, as in
`top + log(sum(exp(x - top)))`, that cotangent is 0, which is known before the loop, but only when it runs:

    %share: f64 = div %top_adj, %ties                     %zero: bool = eq %share, 0.0
    for %i in (0, %n) {                                   if %zero {
      %a: f64 = buffer.load %e, %i                          for %i in (0, %n) {
      %b: f64 = mul %scale, %a                                %a: f64 = buffer.load %e, %i
      %c: f64 = buffer.load %x, %i                            %b: f64 = mul %scale, %a
      %d: bool = eq %c, %top                                  %g: f64 = add %b, 0.0
      %f: f64 = select %d, %share, 0.0                        buffer.store %g, %e, %i
      %g: f64 = add %b, %f                      =>            yield
      buffer.store %g, %e, %i                               }
      yield                                                 yield
    }                                                     } else {
                                                            for %j in (0, %n) {
                                                              ...                     the loop as it was
                                                          }

It is done to loops at the top level, without loops or branches inside, whose share comes of a branch of which one side
is hardly ever run (`rare`): that is what says that it may well be 0 (`ir.adjoint.scaled_sums`). Loop unswitching, on a
condition that does not stand in the loop.
"""

from __future__ import annotations

from ...ir.core import Builder, Const, Function, Op, Region, Value
from ...ir.rewrite import copy_op
from ...ir.types import Buffer
from .induction import defined_in

__all__ = ["unswitch"]

FAR = 8
"""How many operations a share may be away from the branch."""


def unswitch(function: Function) -> None:
    """Write loops twice whose shares may well be 0."""
    ops = function.body.ops
    for loop in [op for op in ops if op.name == "for"]:
        share = share_of(loop)
        if share is not None:
            at = ops.index(loop)
            ops[at : at + 1] = twice(loop, share)


def share_of(loop: Op) -> Value | None:
    """What a loop adds to some of its elements, if that is the same for all and may well be 0."""
    body = loop.regions[0]
    if any(op.regions for op in body.ops) or any(isinstance(r.type, Buffer) for r in loop.results):
        return None
    inside = defined_in(body)
    for op in body.ops:
        if op.name == "select":
            for share, other in (op.operands[1:], op.operands[:0:-1]):
                if is_zero(other) and share.dtype.is_float and share not in inside and may_cancel(share, FAR):
                    return share
    return None


def is_zero(value: Value) -> bool:
    return isinstance(value, Const) and value.dtype.is_float and value.value == 0.0


def may_cancel(value: Value, far: int) -> bool:
    """Whether a number comes of a branch of which one side is hardly ever run."""
    op = value.op
    if op is None or far == 0:
        return False
    if op.name == "if":
        return "rare" in op.attrs
    return not op.regions and any(may_cancel(operand, far - 1) for operand in op.operands)


def twice(loop: Op, share: Value) -> list[Op]:
    """The comparison of the share, and the branch with both loops, whose results are the loop's."""
    without = Region()
    copied = copy_op(loop, {})
    zero = Const(0, share.dtype)
    for op in copied.regions[0].ops:
        if op.name == "select" and share in op.operands[1:] and any(is_zero(v) for v in op.operands[1:]):
            replace(copied.regions[0], op.result, zero)
    without.ops = [copied, Op("yield", list(copied.results), [], {}, (), loop.span)]
    unchanged = Op(loop.name, loop.operands, [r.type for r in loop.results], loop.attrs, loop.regions, loop.span)
    region = Region()
    region.ops = [unchanged, Op("yield", list(unchanged.results), [], {}, (), loop.span)]
    with Builder(Region()) as b:
        condition = b.emit1("eq", [share, zero])
        branch = Op("if", [condition], [], {}, [without, region], loop.span)
    branch.results.extend(loop.results)
    for result in loop.results:
        result.op = branch
    return [*b.region.ops, branch]


def replace(region: Region, old: Value, new: Value) -> None:
    for op in region.ops:
        op.operands = [new if v is old else v for v in op.operands]
