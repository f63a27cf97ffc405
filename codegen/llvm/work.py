"""How much work a loop is, in nanoseconds, computed where the program is about to enter it.

In: a loop, and the LLVM values of what is known around it. Out: an LLVM number (f64). Trip counts are exact where they
are known around the loop; loops inside whose range depends on an index are taken at the middle of that index's range.
The figures are those of one core of an ordinary machine, vectorized; they decide whether threads are worth waking,
nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Const, Op, Region, Value
from ...ir.types import Buffer, Scalar

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Work"]

F64 = ir.DoubleType()
FREE = frozenset({"buffer.dim", "buffer.reshape", "yield", "same_extent", "bound", "check", "cast", "stop_gradient"})
ARITHMETIC = frozenset(
    "add sub mul neg add_any_order mul_any_order select lt le gt ge eq ne logical_and logical_or logical_not "
    "maximum minimum absolute square buffer.load buffer.store".split()
)
DIVISIONS = frozenset({"div", "sqrt", "reciprocal"})
PRODUCTS = frozenset({"matmul", "matmul_nt", "matmul_tn", "matmul_tt"})
ARITHMETIC_COST, DIVISION_COST, FUNCTION_COST, PRODUCT_COST, CALL_COST = 0.2, 1.0, 2.0, 0.06, 2000.0
UNKNOWN_TRIPS = 16.0
Number = Any
"""A Python float, or an LLVM value."""


class Work:
    """Emits the estimate for one loop."""

    def __init__(self, lowering: Lowering, loop: Op) -> None:
        self.low = lowering
        self.b = lowering.b
        self.loop = loop
        self.known: dict[Value, Number | None] = {}

    def of_loop(self) -> Number:
        """Of the whole loop, as an LLVM value."""
        return self.llvm(self.loop_cost(self.loop))

    def llvm(self, x: Number) -> Any:
        return ir.Constant(F64, x) if isinstance(x, float) else x

    # arithmetic that is done now where it can be

    def add(self, x: Number, y: Number) -> Number:
        if isinstance(x, float) and isinstance(y, float):
            return x + y
        return self.b.fadd(self.llvm(x), self.llvm(y))

    def mul(self, x: Number, y: Number) -> Number:
        if isinstance(x, float) and isinstance(y, float):
            return x * y
        return self.b.fmul(self.llvm(x), self.llvm(y))

    def least(self, x: Number, y: Number, smaller: bool) -> Number:
        if isinstance(x, float) and isinstance(y, float):
            return min(x, y) if smaller else max(x, y)
        x, y = self.llvm(x), self.llvm(y)
        return self.b.select(self.b.fcmp_ordered("<" if smaller else ">", x, y), x, y)

    # operations

    def region(self, region: Region) -> Number:
        fixed = 0.0
        out: Number = 0.0
        for op in region.ops:
            cost = self.cost(op)
            if isinstance(cost, float):
                fixed += cost
            else:
                out = self.add(out, cost)
        return self.add(out, fixed)

    def cost(self, op: Op) -> Number:
        if op.name == "for":
            return self.loop_cost(op)
        if op.name == "while":
            return self.mul(self.add(self.region(op.regions[0]), self.region(op.regions[1])), UNKNOWN_TRIPS)
        if op.name == "if":
            return self.mul(self.add(self.region(op.regions[0]), self.region(op.regions[1])), 0.5)
        if op.name == "buffer.call":
            return self.call_cost(op)
        if op.name in FREE:
            return 0.0
        if op.name in ARITHMETIC:
            return ARITHMETIC_COST
        return DIVISION_COST if op.name in DIVISIONS else FUNCTION_COST

    def call_cost(self, op: Op) -> Number:
        if op.attrs["kernel"].startswith("add_product"):
            return self.part_cost(op)
        if op.attrs["kernel"] not in PRODUCTS:
            return CALL_COST
        out, left, _ = op.operands
        if any(v not in self.low.places for v in (out, left)):
            return CALL_COST
        inner = self.low.places[left].extents[0 if op.attrs["kernel"] in ("matmul_tn", "matmul_tt") else 1]
        size: Number = PRODUCT_COST
        for extent in (*self.low.places[out].extents, inner):
            size = self.mul(size, self.b.sitofp(extent, F64))
        return size

    def part_cost(self, op: Op) -> Number:
        size: Number = PRODUCT_COST
        for extent in op.operands[-3:]:
            known = self.value(extent)
            size = self.mul(size, UNKNOWN_TRIPS if known is None else known)
        return size

    def loop_cost(self, op: Op) -> Number:
        lo, hi = (self.value(v) for v in op.operands[:2])
        if lo is None or hi is None:
            trips: Number = UNKNOWN_TRIPS
        else:
            trips = self.least(self.add(hi, self.mul(lo, -1.0)), 0.0, False)
        self.middle(op)
        return self.mul(trips, self.add(self.region(op.regions[0]), 0.5))

    def middle(self, op: Op) -> None:
        lo, hi = (self.value(v) for v in op.operands[:2])
        known = None if lo is None or hi is None else self.mul(self.add(lo, hi), 0.5)
        self.known[op.regions[0].args[0]] = known

    def value(self, value: Value) -> Number | None:
        """An integer of the loop's body as far as it is known before."""
        if value not in self.known:
            self.known[value] = self.find(value)
        return self.known[value]

    def find(self, value: Value) -> Number | None:
        if isinstance(value, Const):
            return float(value.value)
        if value in self.low.numbers:
            assert isinstance(value.type, Scalar)
            number = self.low.numbers[value]
            return self.b.sitofp(number, F64) if value.dtype.kind == "i" else None
        op = value.op
        if op is None:
            return None
        if op.name == "buffer.dim" and op.operands[0] in self.low.places:
            return self.b.sitofp(self.low.places[op.operands[0]].extents[op.attrs["axis"]], F64)
        if op.name in ("same_extent", "bound"):
            return self.value(op.operands[0])
        if op.name not in ("add", "sub", "mul", "minimum", "maximum"):
            return None
        if any(isinstance(v.type, Buffer) for v in op.operands):
            return None
        a, c = (self.value(v) for v in op.operands)
        if a is None or c is None:
            return None
        if op.name == "mul":
            return self.mul(a, c)
        if op.name in ("minimum", "maximum"):
            return self.least(a, c, op.name == "minimum")
        return self.add(a, c if op.name == "add" else self.mul(c, -1.0))
