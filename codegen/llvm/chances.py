"""Whether threads can pay in a whole program, told by the extents of its arguments before it is run.

In: a scheduled function whose parallel loops are marked. Out: Python text that says, given these extents and integers,
how much work there is (`work`), and how much of it a second thread would save (`saved`), both in the nanoseconds of
`work`. Library kernels are work only where threads share them: else they take what they take, on whatever side. Loops
inside loops are taken at the middle of the ranges around them. For example:

    for %i in parallel (0, %n) {           d0_0 = float(a[0].shape[0])
      %s: f64 = for %j in (0, %m) ... {    d0_1 = float(a[0].shape[1])
        ...                                t0 = d0_1 * 0.1625
      }                              =>    t1 = t0 + 3.0
      ...                                  t2 = d0_0 * t1
    }                                      t3 = t2 * 0.5
                                           t4 = t3 + -25000.0
                                           t5 = t4 if t4 > 0.0 else 0.0
                                           t6 = t5 if t2 >= 40000.0 and d0_0 >= 2.0 else 0.0
                                           work, saved = t2, t6

Where it cannot be told (a range of a parallel loop is computed from numbers in arrays), there is no text: the program
itself finds out, loop by loop. A loop around of which nobody knows how often it turns, of time steps, say, counts as a
few turns, whether `for` or `while`: work and what is saved of it grow alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from ...ir.core import Function, Op, Region, Value, walk
from ...ir.types import Buffer, Scalar
from ..lower.parallel import Plan, Quotient, plans
from .parallel import COPY_COST, GRAIN, LEAST
from .products import PRODUCTS
from .shared_products import NARROW, PART
from .tails import LEAST_TURNS
from .work import Number, Work, most_turns, usual_branches

__all__ = ["chances"]

COMPARISONS = {"le": "<=", "lt": "<", "ge": ">=", "gt": ">", "eq": "==", "ne": "!="}

MEETING = 25000.0
"""Nanoseconds that it takes to meet another thread: to wake it or have its attention, to hand over and get back what
is in one processor's cache, to wait for the last of the work."""
FEW_TRIPS = 4.0
"""Turns of a loop of unknown extent, of a sparse matrix's row, say: fewer than they may be, since threads that do not
pay cost more than threads that would have."""
TEXTS = {
    **{name: f"float({{}} {sign} {{}})" for name, sign in COMPARISONS.items()},
    "select": "{1} if {0} else {2}",
    "logical_and": "float({0} != 0.0 and {1} != 0.0)",
    "logical_or": "float({0} != 0.0 or {1} != 0.0)",
    "logical_not": "float({0} == 0.0)",
    "floordiv": "{0} // {1} if {1} else 0.0",
    "mod": "{0} % {1} if {1} else 0.0",
    "neg": "-{0}",
    "cast": "{0}",
}
"""Integers and truth values in terms of others; each is an expression of its own, of names and numbers."""


def chances(function: Function) -> str | None:
    """See the module's docstring; empty where there is nothing that threads could share."""
    found = plans(function)
    if not found and not any(is_product(op) for op in walk(function.body)):
        return ""
    estimate = Estimate(function, found)
    try:
        work, saved = estimate.of_region(function.body)
    except CannotTell:
        return None
    lines = estimate.b.lines
    lines.append(f"work, saved = {estimate.llvm(work)}, {estimate.llvm(saved)}")
    body = "\n".join(lines)
    names = dict.fromkeys(re.findall(r"\b(?:d\d+_\d+|n\d+)\b", body))
    return "\n".join([*(f"{name} = {what_is(name)}" for name in names), body])


def what_is(name: str) -> str:
    """The extent, or the integer, that a name of the text stands for."""
    if name[0] == "n":
        return f"float(a[{name[1:]}])"
    number, axis = name[1:].split("_")
    return f"float(a[{number}].shape[{axis}])"


def is_product(op: Op) -> bool:
    return op.name == "buffer.call" and op.attrs["kernel"] in PRODUCTS


class CannotTell(Exception):
    """How much work threads could share depends on more than extents."""


class Lines:
    """As LLVM's builder, as far as `Work` asks for it, for Python text: values are names and numbers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def name(self, expression: str) -> str:
        out = f"t{len(self.lines)}"
        self.lines.append(f"{out} = {expression}")
        return out

    def fadd(self, a: str, b: str) -> str:
        return self.name(f"{a} + {b}")

    def fmul(self, a: str, b: str) -> str:
        return self.name(f"{a} * {b}")

    def fcmp_ordered(self, how: str, a: str, b: str) -> str:
        return f"{a} {how} {b}"

    def select(self, condition: str, a: str, b: str) -> str:
        return self.name(f"{a} if {condition} else {b}")

    def sitofp(self, value: str, _: Any) -> str:
        return value


class Estimate(Work):
    """Writes the estimate of a whole function."""

    unknown_trips = FEW_TRIPS

    def __init__(self, function: Function, parallel: dict[Op, Plan]) -> None:
        self.parallel = parallel
        self.b: Lines = Lines()
        numbers: dict[Value, str] = {}
        places: dict[Value, Any] = {}
        for k, arg in enumerate(function.args):
            if isinstance(arg.type, Buffer):
                places[arg] = SimpleNamespace(extents=[f"d{k}_{axis}" for axis in range(arg.type.rank)])
            else:
                numbers[arg] = f"n{k}"
        self.low: Any = SimpleNamespace(numbers=numbers, places=places)
        self.known: dict[Value, Number | None] = {}
        self.wide = False
        self.counts_calls = True
        self.begins = dict(carried(function.body))

    def llvm(self, x: Number) -> str:
        return x if isinstance(x, str) else repr(x)

    # how much there is, and how much of it is saved

    def of_region(self, region: Region) -> tuple[Number, Number]:
        work: Number = 0.0
        saved: Number = 0.0
        for op in region.ops:
            if not self.may_share(op):
                self.counts_calls = False
                work = self.add(work, self.cost(op))
                self.counts_calls = True
                continue
            some, part = self.of_operation(op)
            work, saved = self.add(work, some), self.add(saved, part)
        return work, saved

    def may_share(self, op: Op) -> bool:
        return op in self.parallel or is_product(op) or any(self.may_share(o) for r in op.regions for o in r.ops)

    def of_operation(self, op: Op) -> tuple[Number, Number]:
        if op.name == "for":
            return self.of_for(op)
        if op.name == "buffer.call":
            return self.of_product(op)
        regions, times = op.regions, self.unknown_trips if op.name == "while" else 1.0
        if op.name == "if":
            regions = usual_branches(op)
            times = 1.0 / len(regions)
        parts = [self.of_region(region) for region in regions]
        work: Number = 0.0
        saved: Number = 0.0
        for some, part in parts:
            work, saved = self.add(work, some), self.add(saved, part)
        return self.mul(times, work), self.mul(times, saved)

    def of_for(self, op: Op) -> tuple[Number, Number]:
        plan = self.parallel.get(op)
        if plan is not None and None in (self.value(op.operands[0]), self.value(op.operands[1])):
            raise CannotTell
        trips, turn, start = self.loop_costs(op)
        saved: Number = 0.0
        if plan is None or plan.accumulated:
            some, part = self.of_region(op.regions[0])
            saved = self.mul(trips, part)
            if plan is None:
                return self.mul(trips, some), saved
        work = self.add(self.mul(trips, turn), start)
        if isinstance(turn, float) and (LEAST - start) / turn > most_turns(op):
            return work, saved
        least: Number = max(LEAST, 2.0 * GRAIN)
        for root in plan.accumulated:
            found = self.extents(root)
            if found is None:
                raise CannotTell
            copies = self.product(2.0 * COPY_COST, *found)
            if root in plan.near:
                copies = self.without_tails(plan.near[root], trips, copies)
            least = self.least(least, copies, False)
        pays = f"{self.llvm(work)} >= {self.llvm(least)} and {self.llvm(trips)} >= 2.0"
        return work, self.b.select(pays, self.llvm(self.saved(work)), self.llvm(saved))

    def without_tails(self, reach: list[Quotient], trips: Number, copies: Number) -> Number:
        """The least work that pays for copies; none where chunks can have tails instead."""
        for dividend, divisor in reach:
            length: Number = 0.0
            for monomial, coefficient in dividend.items():
                found = [self.value(v) for v in monomial]
                if None in found:
                    return copies
                length = self.add(length, self.product(float(coefficient), *found))
            turns = self.mul(length, LEAST_TURNS / divisor)
            copies = self.b.select(f"{self.llvm(turns)} <= {self.llvm(trips)}", "0.0", self.llvm(copies))
        return copies

    def of_product(self, op: Op) -> tuple[Number, Number]:
        out, left = (self.extents(v) for v in op.operands[:2])
        if out is None or left is None or len(out) != 2 or len(left) != 2:
            raise CannotTell
        inner = left[0 if op.attrs["kernel"] in ("matmul_tn", "matmul_tt") else 1]
        work = self.llvm(self.cost(op))
        longest = self.least(out[0], out[1], False)
        pays = f"{self.llvm(self.product(*out, inner))} >= {2.0 * PART} and {self.llvm(longest)} >= {2.0 * NARROW}"
        shared = self.b.select(pays, work, "0.0")
        return shared, self.saved(shared)

    def saved(self, work: Number) -> Number:
        """What a second thread saves, of so much work at once."""
        return self.least(self.add(self.mul(work, 0.5), -MEETING), 0.0, False)

    def call_cost(self, op: Op) -> Number:
        return super().call_cost(op) if self.counts_calls else 0.0

    # values

    def extents(self, buffer: Value) -> list[Number] | None:
        while buffer in self.begins:
            buffer = self.begins[buffer]
        return super().extents(buffer)

    def find(self, value: Value) -> Number | None:
        op = value.op
        if op is None or not isinstance(value.type, Scalar):
            return super().find(value)
        if op.name == "buffer.dim":
            found = self.extents(op.operands[0])
            return None if found is None else found[op.attrs["axis"]]
        if op.name not in TEXTS or any(not isinstance(v.type, Scalar) or v.dtype.is_float for v in op.operands):
            return super().find(value)
        found = [self.value(v) for v in op.operands]
        if None in found:
            return None
        return self.b.name(TEXTS[op.name].format(*(self.llvm(x) for x in found)))


def carried(region: Region) -> Iterator[tuple[Value, Value]]:
    """Buffers that loops carry, each with what the loop begins with: it has the same extents."""
    for op in walk(region):
        if op.name in ("for", "while"):
            inits = op.operands[2:] if op.name == "for" else op.operands
            args = op.regions[0].args[op.name == "for" :]
            for init, result, arg in zip(inits, op.results, args, strict=True):
                if isinstance(init.type, Buffer):
                    yield result, init
                    yield arg, init
