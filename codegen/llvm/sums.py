"""Sums of many terms: as accurate as NumPy's, which adds in pairs of blocks.

In: a `for` of the scheduled IR that carries sums whose order is not the user's (`add_any_order`), and how to write some
of its turns. Out: machine code whose rounding errors do not grow with the number of turns.

*Innermost loops* are vectorized with a few partial sums; each would collect more and more terms. So such a loop runs in
stretches of `BLOCK` turns, and what the stretches give is added up with its rounding errors:

    %s: f64 = for %i in (0, %n) (%a = 0.0) {          from = 0
      %x: f64 = buffer.load %u, %i                    again:  to = min(from + BLOCK, n)
      %t: f64 = add_any_order %a, %x          =>              s = sum of u[from:to], vectorized
      yield %t                                                if to < n:  total, errors += s;  from = to;  goto again
    }                                                 if from > 0:  s = total + s + errors

A loop inside another one is written twice, for rows of at most one stretch and for longer ones: how often it turns
is then known outside of the loop around it, which matters where the rows are of a few numbers. In a large kernel
(`passes.is_large`) one of `SEVERAL` loops inside a loop, a time step's say, is written once: what it takes to enter it
is little beside the others', and loops with a dozen of sums are much to compile.

*Loops around others* add one term a turn, with its rounding error. Nothing vectorizes there that this would stop.

The rounding error of `t = a + b` is `(a - (t - d)) + (b - d)` with `d = t - a`, exactly. Where `t` is infinite or NaN
so is the sum, and the errors (then NaN) are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ...ir.core import Const, Op, Value, walk
from ...ir.types import Buffer
from .scalars import integer

__all__ = ["BLOCK", "SINGLE", "corrected", "error_of", "in_blocks", "long_sums", "rows", "several_loops"]

BLOCK = 2048
"""Turns of an innermost loop: with vectors of four numbers, four at a time, 128 terms to a partial sum."""
SINGLE = 64
"""Turns of a loop that is not vectorized."""
SEVERAL = 6
"""Loops in a turn of a loop, which is then much longer than what it takes to enter one of them."""

Number = Any  # an LLVM value
Turns = Callable[[Number, Number, list[list[Number]]], list[list[Number]]]


def long_sums(loop: Op) -> list[int]:
    """Which of the values that a loop carries are sums of floats that may become long: to each, every turn adds a term
    in any order, and does nothing else with it."""
    lo, hi = loop.operands[:2]
    if loop.attrs.get("bounded"):
        return []
    if isinstance(lo, Const) and isinstance(hi, Const) and hi.value - lo.value <= BLOCK:
        return []
    body = loop.regions[0]
    if any(isinstance(v.type, Buffer) for v in body.args):
        return []
    uses: dict[Value, int] = {}
    for op in inside(loop):
        for operand in op.operands:
            uses[operand] = uses.get(operand, 0) + 1
    return [
        k
        for k, (arg, value) in enumerate(zip(body.args[1:], body.terminator.operands, strict=True))
        if arg.dtype.is_float
        and value.op is not None
        and value.op.name == "add_any_order"
        and value.op in body.ops
        and arg in value.op.operands
        and uses[arg] == 1
        and uses[value] == 1
    ]


def several_loops(loop: Op) -> bool:
    """Whether every turn of a loop may run many others."""
    return sum(1 for region in loop.regions for op in walk(region) if op.name == "for") >= SEVERAL


def inside(loop: Op) -> list[Op]:
    out = []
    for op in loop.regions[0].ops:
        out += [op, *(o for region in op.regions for o in inside_region(region.ops))]
    return out


def inside_region(ops: Sequence[Op]) -> list[Op]:
    return [o for op in ops for o in (op, *(n for region in op.regions for n in inside_region(region.ops)))]


def error_of(b: Any, a: Number, term: Number, total: Number) -> Number:
    """The rounding error of `total = a + term`."""
    part = b.fsub(total, a)
    return b.fadd(b.fsub(a, b.fsub(total, part)), b.fsub(term, part))


def corrected(b: Any, total: Number, errors: Number) -> Number:
    """A sum and its rounding errors, if these are numbers."""
    return b.select(b.fcmp_ordered("ord", errors, errors), b.fadd(total, errors), total)


def in_blocks(
    b: Any,
    low: Number,
    high: Number,
    starts: Sequence[Sequence[Number]],
    sums: Sequence[int],
    turns: Turns,
    block: int = BLOCK,
) -> list[list[Number]]:
    """The turns from `low` to `high` of a loop, which `turns` writes, in stretches of `block`. `starts`: the registers
    that the loop carries, those of `sums` being sums. Returns the registers afterwards."""
    entry = b.block
    head, more, out = (b.append_basic_block(name) for name in ("stretch", "further", "stretched"))
    b.branch(head)
    b.position_at_end(head)
    begin = b.phi(ir.IntType(64))
    begin.add_incoming(low, entry)
    carried: list[list[Any]] = []
    for parts in starts:
        carried.append([b.phi(part.type) for part in parts])
        for phi, part in zip(carried[-1], parts, strict=True):
            phi.add_incoming(part, entry)
    totals, errors = ({k: b.phi(starts[k][0].type) for k in sums} for _ in range(2))
    for phi in (*totals.values(), *errors.values()):
        phi.add_incoming(ir.Constant(phi.type, 0.0), entry)
    long = b.icmp_signed(">", b.sub(high, begin, flags=("nsw",)), integer(block))
    end = b.select(long, b.add(begin, integer(block), flags=("nsw",)), high)
    after = turns(begin, end, carried)
    b.cbranch(b.icmp_signed("<", end, high), more, out).set_weights([1, 100])
    b.position_at_end(more)
    begin.add_incoming(end, more)
    for k, phis in enumerate(carried):
        for phi, part in zip(phis, after[k], strict=True):
            phi.add_incoming(ir.Constant(part.type, 0.0) if k in totals else part, more)
    for k in sums:
        total = b.fadd(totals[k], after[k][0])
        error = error_of(b, totals[k], after[k][0], total)
        errors[k].add_incoming(b.fadd(errors[k], error), more)
        totals[k].add_incoming(total, more)
    b.branch(head)
    b.position_at_end(out)
    several, done = (b.append_basic_block(name) for name in ("several", "summed"))
    b.cbranch(b.icmp_signed(">", begin, low), several, done).set_weights([1, 100])
    b.position_at_end(several)
    results = {}
    for k in sums:
        total = b.fadd(totals[k], after[k][0])
        results[k] = corrected(b, total, b.fadd(errors[k], error_of(b, totals[k], after[k][0], total)))
    b.branch(done)
    b.position_at_end(done)
    for k, value in results.items():
        phi = b.phi(value.type)
        phi.add_incoming(after[k][0], out)
        phi.add_incoming(value, several)
        after[k] = [phi]
    return after


def rows(
    b: Any, low: Number, high: Number, starts: Sequence[Sequence[Number]], sums: Sequence[int], turns: Turns
) -> list[list[Number]]:
    """As `in_blocks`, for a loop that is entered often and rarely long."""
    short, long, out = (b.append_basic_block(name) for name in ("short", "long", "added"))
    b.cbranch(b.icmp_signed("<=", b.sub(high, low, flags=("nsw",)), integer(BLOCK)), short, long).set_weights([100, 1])
    ends = []
    for block in (short, long):
        b.position_at_end(block)
        given = [list(parts) for parts in starts]
        after = turns(low, high, given) if block is short else in_blocks(b, low, high, given, sums, turns)
        ends.append((after, b.block))
        b.branch(out)
    b.position_at_end(out)
    merged = []
    for k, parts in enumerate(starts):
        merged.append([b.phi(part.type) for part in parts])
        for after, block in ends:
            for phi, part in zip(merged[-1], after[k], strict=True):
                phi.add_incoming(part, block)
    return merged
