"""Dead code elimination: what no result and no check depends on is removed.

In: a function. Out: the same one, or one without dead operations, results of control flow and carried values.

Roots are the function's results and operations with an effect (checks); everything they depend on is alive,
and nothing else is: so a carried value that only feeds itself goes, and so does a tape that nobody reads,
with all its pushes and pops through all loops. A ``while`` without effects whose results nobody uses goes
too.

    func @f(%x: f64, %n: i64) -> f64 {                        func @f(%x: f64, %n: i64) -> f64 {
      %p: tape[f64] = tape.new
      %y: f64, %q: tape[f64] =                          =>      %y: f64 = for %i in (0, %n) (%s = %x) {
          for %i in (0, %n) (%s = %x, %t = %p) {
        %u: tape[f64] = tape.push %t, %s
        %v: f64 = mul %s, %s                                      %v: f64 = mul %s, %s
        yield %v, %u                                              yield %v
      }                                                         }
      return %y                                                 return %y
    }                                                         }
"""

from __future__ import annotations

from ..core import Const, Function, Op, Region, Value
from ..ops import REGISTRY
from ..rewrite import Rewriter, clone_args

__all__ = ["live_values", "run"]


def run(function: Function) -> Function:
    """The function without dead code; the same object where there is none."""
    liveness = Liveness(function)
    if not liveness.anything_dead:
        return function
    return Sweep(liveness).function(function)


def live_values(function: Function) -> set[Value]:
    """The values on which the results or an effect of a function depend."""
    return Liveness(function).values


class Liveness:
    """Marks what is alive, from the roots backwards."""

    def __init__(self, function: Function) -> None:
        self.values: set[Value] = set()
        self.ops: set[Op] = set()
        self.owner: dict[Op, Op | None] = {}
        self.argument: dict[Value, tuple[Op, int]] = {}
        self.queue: list[Value] = []
        roots: list[Op] = [function.body.terminator]
        self.collect(function.body, None, roots)
        for op in roots:
            self.mark_op(op)
        while self.queue:
            self.trace(self.queue.pop())
        self.anything_dead = self.find_dead(function.body)

    def collect(self, region: Region, owner: Op | None, roots: list[Op]) -> None:
        for op in region.ops:
            self.owner[op] = owner
            if REGISTRY[op.name].effect not in ("", "tape", "terminator"):
                roots.append(op)
            for inner in op.regions:
                for k, arg in enumerate(inner.args):
                    self.argument[arg] = (op, k)
                self.collect(inner, op, roots)

    def mark(self, value: Value) -> None:
        if type(value) is not Const and value not in self.values:
            self.values.add(value)
            self.queue.append(value)

    def mark_op(self, op: Op) -> None:
        """An operation is executed: what it needs whatever its results are for, and the control flow around it."""
        if op in self.ops:
            return
        self.ops.add(op)
        if op.name == "if":
            self.mark(op.operands[0])
        elif op.name == "for":
            self.mark(op.operands[0])
            self.mark(op.operands[1])
        elif op.name == "while":
            self.mark(op.regions[0].terminator.operands[0])
        elif op.name not in ("yield", "test"):
            for operand in op.operands:
                self.mark(operand)
            for region in op.regions:  # an operation with regions we know nothing about keeps all of them
                for inner in region.ops:
                    self.mark_op(inner)
                for operand in region.terminator.operands:
                    self.mark(operand)
        owner = self.owner[op]
        if owner is not None:
            self.mark_op(owner)

    def trace(self, value: Value) -> None:
        """What a live value is made of."""
        if value in self.argument:
            op, k = self.argument[value]
            self.mark_op(op)
            if op.name == "for":
                if k:
                    self.carried(op, k - 1)
            elif op.name == "while":
                self.carried(op, k)
            return
        op_ = value.op
        if op_ is None:
            return
        self.mark_op(op_)
        if op_.name == "if":
            k = op_.results.index(value)
            for region in op_.regions:
                self.mark(region.terminator.operands[k])
        elif op_.name in ("for", "while"):
            self.carried(op_, op_.results.index(value))

    def carried(self, op: Op, k: int) -> None:
        first = 2 if op.name == "for" else 0
        self.mark(op.operands[first + k])
        self.mark(op.regions[-1].terminator.operands[k])
        self.mark(op.regions[0].args[k + (1 if op.name == "for" else 0)])

    def kept(self, op: Op) -> list[int]:
        """Which results of control flow stay."""
        if op.name == "if":
            return [k for k, r in enumerate(op.results) if r in self.values]
        if op.name not in ("for", "while"):
            return list(range(len(op.results)))
        args = op.regions[0].args[1 if op.name == "for" else 0 :]
        return [k for k, (r, a) in enumerate(zip(op.results, args)) if r in self.values or a in self.values]

    def find_dead(self, region: Region) -> bool:
        for op in region.ops[:-1]:
            if op not in self.ops or len(self.kept(op)) != len(op.results):
                return True
            if any(self.find_dead(inner) for inner in op.regions):
                return True
        return False


class Sweep(Rewriter):
    """Copies what is alive."""

    def __init__(self, liveness: Liveness) -> None:
        super().__init__()
        self.live = liveness
        self.keep: list[list[int] | None] = [None]
        self.changed = True

    def visit(self, op: Op) -> None:
        if op.name == "yield":
            keep = self.keep[-1]
            operands = self.operands(op)
            self.copy(op, operands if keep is None else [operands[k] for k in keep])
        elif op.name in ("return", "test"):
            self.copy(op)
        elif op not in self.live.ops:
            return
        elif op.name in ("if", "for", "while"):
            self.control(op, self.live.kept(op))
        else:
            self.keep.append(None)
            self.copy(op)
            self.keep.pop()

    def control(self, op: Op, keep: list[int]) -> None:
        head = {"if": 1, "for": 2, "while": 0}[op.name]
        operands = self.operands(op)
        if op.name != "if":
            operands = operands[:head] + [operands[head + k] for k in keep]
        types = [op.results[k].type for k in keep]
        names = [op.results[k].name for k in keep]
        new = Op(op.name, operands, types, dict(op.attrs), (), op.span, names)
        self.keep.append(keep)
        for number, region in enumerate(op.regions):
            args = list(region.args)
            if op.name == "for":
                args = [args[0], *(args[1 + k] for k in keep)]
            elif op.name == "while" and number == 0:
                args = [args[k] for k in keep]
            new.regions.append(self.region(region, clone_args(args, self.env)))
        self.keep.pop()
        for k, result in zip(keep, new.results):
            self.env[op.results[k]] = result
        self.out.append(new)
