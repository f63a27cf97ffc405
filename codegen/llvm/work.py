"""How much work a loop is, in nanoseconds, computed where the program is about to enter it.

In: a loop, and the LLVM values of what is known around it. Out: an LLVM number (f64). Trip counts are exact where they
are known around the loop; loops inside whose range depends on an index are taken at the middle of that index's range.
The figures are those of one core of an ordinary machine; they decide whether threads are worth waking, nothing else.
What LLVM vectorizes costs a fraction: lanes, and innermost loops along rows whose sums are in any order. For example:

    %s: f64 = for %i in (0, %n) (%t = 0.0) {
      %a: f64 = buffer.load %x, %i                  0.2                  0.05
      %b: f64 = mul %a, %a                          0.2                  0.025
      %c: f64 = add %t, %b                          0.2       or, with   0.025      add_any_order
      yield %c                                      0.5                  0.0625
    }                                            n * 1.1                 3 + n * 0.1625
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Const, Op, Region, Value, walk
from ...ir.types import Buffer, Scalar
from ..lower.accesses import root_of
from ..lower.loops import affine

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["INLINE", "Work", "most_turns", "usual_branches"]

F64 = ir.DoubleType()
FREE = frozenset("buffer.dim buffer.reshape buffer.view yield same_extent bound check cast stop_gradient".split())
MEMORY = frozenset({"buffer.load", "buffer.store"})
ARITHMETIC = frozenset(
    "add sub mul neg add_any_order mul_any_order select lt le gt ge eq ne logical_and logical_or logical_not "
    "maximum minimum abs square sign copysign floor ceil trunc rint isnan isinf isfinite".split()
)
DIVISIONS = frozenset({"div", "sqrt", "reciprocal"})
PRODUCTS = frozenset({"matmul", "matmul_nt", "matmul_tn", "matmul_tt"})
ANY_ORDER = frozenset({"add_any_order", "mul_any_order", "maximum", "minimum"})
FUNCTIONS = frozenset(
    "exp exp2 expm1 log log2 log10 log1p sin cos tan tanh sinh cosh arcsin arccos arctan arctan2 arcsinh arccosh "
    "arctanh erf erfc erfcx ndtr expit log_expit logit pow cbrt hypot fmax fmin mod fmod floordiv heaviside "
    "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift logical_xor signbit".split()
)
INLINE = FREE | MEMORY | ARITHMETIC | DIVISIONS | FUNCTIONS
"""What is instructions, without a call of a function that knows no vectors."""
TURN_COST, ARITHMETIC_COST, DIVISION_COST, FUNCTION_COST, SPECIAL_COST = 0.5, 0.2, 1.0, 2.0, 20.0
PRODUCT_COST, CALL_COST, UNKNOWN_CALL_COST = 0.06, 2000.0, 20000.0
NAMED_EXTENTS = {"buffer.alloc": 0, "buffer.reshape": 1, "buffer.view": 2}
"""Where the extents stand among the operands of what makes a buffer."""
WIDE = 8.0
"""What vectors gain on arithmetic; on memory and divisions half of it, on functions little."""
START_COST = 3.0
"""Before and after the vectors of a loop."""
UNKNOWN_TRIPS = 16.0
"""Turns of a loop whose extent nobody knows before the program computes it."""
SQUARE = 10_000
"""The largest extent that is thought of where it is that of two axes of an array: 0.8 GB of float64."""
Number = Any
"""A Python float, or an LLVM value."""


def most_turns(loop: Op) -> float:
    """More turns than a loop can have: one that runs along two axes of an array does not run as far as one of them
    could."""
    index = loop.regions[0].args[0]
    axes: dict[Value, set[int]] = {}
    for op in walk(loop.regions[0]):
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *positions = op.operands[op.name == "buffer.store" :]
            along = {k for k, position in enumerate(positions) if index in affine(position)[0]}
            axes.setdefault(root_of(buffer), set()).update(along)
    return SQUARE if any(len(found) > 1 for found in axes.values()) else math.inf


def usual_branches(op: Op) -> list[Region]:
    """The branches of an `if` that are run: both, half of the time each, unless it says that one hardly ever is."""
    return op.regions if "rare" not in op.attrs else [op.regions[1 - op.attrs["rare"]]]


class Work:
    """Emits the estimate for one loop."""

    unknown_trips = UNKNOWN_TRIPS

    def __init__(self, lowering: Lowering, loop: Op) -> None:
        self.low = lowering
        self.b = lowering.b
        self.loop = loop
        self.known: dict[Value, Number | None] = {}
        self.wide = False

    def of_loop(self) -> Number:
        """Of the whole loop, as an LLVM value."""
        return self.llvm(self.loop_cost(self.loop))

    def least_trips(self, work: float) -> int | None:
        """How many turns are that much work; None where that depends on more than constants."""
        _, turn, start = self.loop_costs(self.loop)
        return math.ceil((work - start) / turn) if isinstance(turn, float) else None

    def of_loop_inside(self, inner: Op) -> Any:
        """Of a loop inside, in a turn in the middle, as an LLVM value."""
        self.enter(self.loop, inner)
        return self.llvm(self.loop_cost(inner))

    def enter(self, op: Op, inner: Op) -> bool:
        """Note the indices of the loops around `inner`."""
        if op is inner:
            return True
        if op.name == "for":
            self.middle(op)
        return any(self.enter(o, inner) for region in op.regions for o in region.ops if o is inner or o.regions)

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
            return self.mul(self.add(self.region(op.regions[0]), self.region(op.regions[1])), self.unknown_trips)
        if op.name == "if":
            usual = usual_branches(op)
            total: Number = 0.0
            for region in usual:
                total = self.add(total, self.region(region))
            return self.mul(total, 1.0 / len(usual))
        if op.name == "buffer.call":
            return self.call_cost(op)
        if op.name in FREE:
            return 0.0
        if op.name in ARITHMETIC:
            return ARITHMETIC_COST / WIDE if self.wide else ARITHMETIC_COST
        if op.name in MEMORY:
            return 2.0 * ARITHMETIC_COST / WIDE if self.wide else ARITHMETIC_COST
        if op.name in DIVISIONS:
            return 2.0 * DIVISION_COST / WIDE if self.wide else DIVISION_COST
        if op.name in FUNCTIONS:
            return 0.6 * FUNCTION_COST if self.wide else FUNCTION_COST
        return SPECIAL_COST

    def call_cost(self, op: Op) -> Number:
        """Of a library kernel: of a product as it is; of others as if they multiplied their matrices, or sorted."""
        if op.attrs["kernel"].startswith(("add_product", "put_product")):
            return self.part_cost(op)
        if op.attrs["kernel"] in PRODUCTS:
            out, left = (self.extents(v) for v in op.operands[:2])
            if out is None or left is None:
                return UNKNOWN_CALL_COST
            inner = left[0 if op.attrs["kernel"] in ("matmul_tn", "matmul_tt") else -1]
            return self.product(PRODUCT_COST, *out, inner)
        total: Number = CALL_COST
        for operand in op.operands:
            if isinstance(operand.type, Buffer) and operand.type.rank:
                extents = self.extents(operand)
                if extents is None:
                    return UNKNOWN_CALL_COST
                by = [PRODUCT_COST, extents[-1]] if len(extents) > 1 else [FUNCTION_COST]
                total = self.add(total, self.product(*by, *extents))
        return total

    def product(self, *factors: Number) -> Number:
        out: Number = 1.0
        for factor in factors:
            out = self.mul(out, factor)
        return out

    def extents(self, buffer: Value) -> list[Number] | None:
        """As far as they are known before the loop."""
        if buffer in self.low.places:
            return [self.b.sitofp(extent, F64) for extent in self.low.places[buffer].extents]
        op = buffer.op
        if op is None or op.name not in NAMED_EXTENTS:
            return None
        found = [self.value(v) for v in op.operands[NAMED_EXTENTS[op.name] :]]
        known = [x for x in found if x is not None]
        return known if len(known) == len(found) else None

    def part_cost(self, op: Op) -> Number:
        size: Number = PRODUCT_COST
        for extent in op.operands[-3:]:
            known = self.value(extent)
            size = self.mul(size, self.unknown_trips if known is None else known)
        return size

    def loop_cost(self, op: Op) -> Number:
        trips, turn, start = self.loop_costs(op)
        return self.add(self.mul(trips, turn), start)

    def loop_costs(self, op: Op) -> tuple[Number, Number, float]:
        """Trips of a loop, the cost of each, and what is added to them."""
        lo, hi = (self.value(v) for v in op.operands[:2])
        if lo is None or hi is None:
            trips: Number = self.unknown_trips
        else:
            trips = self.least(self.add(hi, self.mul(lo, -1.0)), 0.0, False)
        self.middle(op)
        before = self.wide
        rows = not before and not op.attrs.get("lanes") and in_vectors(op)
        self.wide = before or rows or bool(op.attrs.get("lanes"))
        turn = self.add(self.region(op.regions[0]), TURN_COST / WIDE if self.wide else TURN_COST)
        self.wide = before
        return trips, turn, START_COST if rows else 0.0

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


def in_vectors(loop: Op) -> bool:
    """Whether LLVM is likely to vectorize a loop."""
    body = loop.regions[0]
    index = body.args[0]
    inside = {v for op in body.ops for v in op.results}
    for op in body.ops[:-1]:
        if op.regions or op.name == "buffer.call":
            return False
        if op.name in MEMORY:
            *rows, last = [affine(p)[0] for p in op.operands[1 if op.name == "buffer.load" else 2 :]] or [{}]
            if any(index in terms for terms in rows) or last.get(index, 1) != 1:
                return False
            if any(v in inside for terms in (*rows, last) for v in terms):
                return False
    return all(v.op is not None and v.op.name in ANY_ORDER for v in body.terminator.operands)
