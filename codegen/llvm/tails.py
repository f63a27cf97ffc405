"""Chunks of turns that add to the same elements where they meet: the last turns of a chunk wait for the next one's.

In: a parallel loop whose turns only add to some memory, and that touch an element of it only if they are at most
`reach` turns apart (`Plan.near`), as the derivative of a convolution by its input does:

    for %i in parallel (0, %n) {
      for %k in (0, %c) {                                  reach: c - 1
        %p: i64 = add %i, %k
        ... add to the row %p of %x_adj
      }
    }

Out: the turns of each of the chunks go in two parts, its *head*, and as its *tail* its last `reach` turns. Heads touch
nothing that another head touches, tails nothing that another tail does, and a tail shares elements with its own head
and the one after it alone. So heads and tails are chunks of the pool, first all the heads, and a tail begins when these
two heads have ended; nobody needs copies of the memory, and each element gets its terms in the same order from run to
run:

    chunks of the pool:     head 0    head 1    head 2    tail 0    tail 1
    turns:                  0 … 6     8 … 14    16 … 23   7         15           n = 24, 3 chunks, reach 1

As chunks are begun in order, who waits for a head waits for somebody who is at work on it. Whether there are tails or
copies is seen when the program gets there, by extents alone: a long reach is work that only every other thread has
(`FAR`), copies of large memory are not worth it (`FEW`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ..lower.parallel import Plan
from ..lower.polynomials import Polynomial
from .numba_parts import cgutils
from .scalars import integer

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["LEAST_TURNS", "Part", "Tails", "after_head", "before_tail", "part_of"]

I1, I64, F64 = ir.IntType(1), ir.IntType(64), ir.DoubleType()
FAR = 16
"""Turns for each turn of the reach, from which on there are tails however cheap copies are."""
LEAST_TURNS = 4
"""Turns for each turn of the reach, at least: a chunk is no shorter than two tails, and there are two chunks."""
FEW = 4.0
"""With copies for less chunks than these, tails are tried."""


@dataclass
class Tails:
    """What is known before the loop: whether its chunks have tails (i1), and how long these are (i64)."""

    wanted: Any
    reach: Any

    @staticmethod
    def of(low: Lowering, plan: Plan, trips: Any, copies: Any) -> Tails:
        """`copies`: how many chunks with copies of all that is added to the work is worth (f64)."""
        b = low.b
        reach: Any = integer(0)
        for root in plan.near:
            for dividend, divisor in plan.near[root]:
                length = number(low, dividend)
                positive = b.icmp_signed(">", length, integer(0))
                length = b.select(positive, b.sdiv(length, integer(divisor)), integer(0))
                reach = b.select(b.icmp_signed(">", length, reach), length, reach)
        few = b.fcmp_ordered("<", copies, ir.Constant(F64, FEW))
        least = b.select(few, integer(LEAST_TURNS), integer(FAR))
        # a quotient: a reach may be as large as integers get
        wanted = b.icmp_signed("<=", reach, b.sdiv(trips, least))
        return Tails(wanted, b.select(wanted, reach, integer(0)))

    def most_chunks(self, b: Any, trips: Any) -> Any:
        """How many chunks there can be, each as long as two tails."""
        pairs = b.shl(self.reach, integer(1))
        pairs = b.select(b.icmp_signed(">", pairs, integer(1)), pairs, integer(1))
        return b.sdiv(trips, pairs)


def number(low: Lowering, p: Polynomial) -> Any:
    """A polynomial as an LLVM value."""
    b = low.b
    out: Any = integer(0)
    for monomial, coefficient in p.items():
        term: Any = integer(coefficient)
        for value in monomial:
            term = b.mul(term, low.number(value))
        out = b.add(out, term)
    return out


# ---------------------------------------------------------------- in the task


@dataclass
class Part:
    """What a chunk of the pool is: the tail (i1) or the head of a chunk of turns (i64), and whose record it has."""

    is_tail: Any
    chunk: Any
    record: Any


def part_of(b: Any, job: Any, chunks: Any, tails: Any) -> Part:
    """`chunks`: of turns; `tails`: whether they have any (i1)."""
    is_tail = b.icmp_signed(">=", job, chunks)
    chunk = b.select(is_tail, b.sub(job, chunks), job)
    record = b.add(b.shl(chunk, integer(1)), b.zext(is_tail, I64))
    return Part(is_tail, chunk, b.select(tails, record, chunk))


def before_tail(b: Any, part: Part, chunks: Any, ended: Any) -> None:
    """Wait for the heads that a tail shares elements with; `ended`: a word for each head, not 0 when it has ended."""
    wait = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(ir.VoidType(), [I64.as_pointer()]), "adjit_threads_wait"
    )
    with b.if_then(part.is_tail):
        b.call(wait, [b.gep(ended, [part.chunk])])
        following = b.add(part.chunk, integer(1))
        with b.if_then(b.icmp_signed("<", following, chunks)):
            b.call(wait, [b.gep(ended, [following])])


def after_head(b: Any, part: Part, ended: Any) -> None:
    """Tell that a head has ended."""
    with b.if_then(b.not_(part.is_tail)):
        b.store_atomic(integer(1), b.gep(ended, [part.chunk]), "release", 8)
