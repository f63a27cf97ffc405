"""Loop-invariant code motion: what is the same in every iteration is computed once, before the loop.

In: a function. Out: the same one, or one where such operations stand outside the loop, as far out as they
can.

A loop may not run at all, and a branch may not be taken, so an operation leaves only if it is safe there:
it has no effect, and what it takes for granted (positions inside the array, arrays of one shape) holds
outside as well, as `ir.affine` proves. What surely runs in every first iteration, before any check that
stays (a ``while`` condition, or the body of a ``for`` that surely has iterations), may leave without that,
checks included. From a branch, only cheap scalars leave. Control flow itself stays where it is.

    %s: f64 = for %i in (0, %n) (%t = 0.0) {       %k: f64 = mul %a, %a
      %k: f64 = mul %a, %a                         %s: f64 = for %i in (0, %n) (%t = 0.0) {
      %v: f64 = index %x, %i {spec="i"}       =>     %v: f64 = index %x, %i {spec="i"}
      %w: f64 = mul %v, %k                           %w: f64 = mul %v, %k
      %u: f64 = add %t, %w                           %u: f64 = add %t, %w
      yield %u                                       yield %u
    }                                              }
"""

from __future__ import annotations

from collections.abc import Sequence

from ..affine import Facts, Linear
from ..core import Const, Function, Op, Region, Value, walk
from ..ops import REGISTRY
from ..rewrite import Rewriter, clone_args
from ..types import Tape

__all__ = ["run"]

TOTAL = frozenset(
    "dim transpose reduce_sum reduce_prod reduce_any reduce_all reduce_or cumsum cumprod stop_gradient argsort "
    "searchsorted nonzero".split()
)
"""Operations besides elementwise ones that are defined for all operands of the right types."""

FRESH = frozenset({"fill", "empty"})
"""Arrays that are usually written to next: made once, they would have to be copied in every iteration."""


def run(function: Function) -> Function:
    """The function with invariant operations outside its loops; the same object where nothing moved."""
    if not any(op.name in ("for", "while") for op in walk(function.body)):
        return function
    return Motion(function).function(function)


class Frame:
    """A region we are inside of. `loop`: a stop before its owner is a stop outside a loop."""

    def __init__(self, out: list[Op], loop: bool = False, branch: bool = False, certain: bool = False) -> None:
        self.out = out
        self.loop = loop
        self.branch = branch
        self.certain = certain  # what comes next surely runs whenever the owner runs


class Motion(Rewriter):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.facts = Facts(function)
        self.frames: list[Frame] = []
        self.level: dict[Value, int] = {}

    def region(self, region: Region, args: list[Value] | None = None) -> Region:
        return self.framed(region, Frame([]))

    def framed(self, region: Region, frame: Frame) -> Region:
        new = Region(clone_args(region.args, self.env), frame.out)
        self.enter(frame, region.args)
        for op in region.ops:
            self.visit(op)
        self.leave()
        return new

    def enter(self, frame: Frame, args: Sequence[Value]) -> None:
        """From here on, operations belong to the region of `frame`."""
        self.frames.append(frame)
        self.facts.push()
        self.out = frame.out
        for arg in args:
            self.level[arg] = len(self.frames) - 1

    def leave(self) -> None:
        self.facts.pop()
        self.frames.pop()
        if self.frames:
            self.out = self.frames[-1].out

    def visit(self, op: Op) -> None:
        if op.regions:
            self.control(op)
            return
        here = len(self.frames) - 1
        target = self.target(op, here) if len(self.frames) > 1 else here
        self.out = self.frames[target].out
        self.copy(op)
        self.out = self.frames[-1].out
        if target != here:
            self.changed = True
        for result in op.results:
            self.level[result] = target
        if REGISTRY[op.name].effect in ("check", "call"):
            for frame in self.frames[target:]:
                frame.certain = frame.certain and frame is not self.frames[target]
            self.learn(op, target)

    def learn(self, op: Op, target: int) -> None:
        """What a check that was passed tells, from where it stands."""
        scopes = self.facts.scopes
        saved, self.facts.scopes = scopes, scopes[: target + 2]
        if op.name == "check":
            self.facts.assume(op.operands[0])
        elif op.name == "same_extent":
            self.facts.assume_equal(*map(self.facts.linear, op.operands))
        self.facts.scopes = saved

    def control(self, op: Op) -> None:
        operands = self.operands(op)
        new = Op(op.name, operands, [r.type for r in op.results], dict(op.attrs), (), op.span)
        if op.name == "while":
            before, body = op.regions
            frame = Frame([], loop=True, certain=True)
            first = Region(clone_args(before.args, self.env), frame.out)
            self.enter(frame, before.args)
            for part in before.ops:
                self.visit(part)
            frame.certain = False
            new.regions = [first, self.framed(body, Frame([]))]
            self.leave()
        elif op.name == "for":
            lo, hi = map(self.facts.linear, op.operands[:2])
            certain = self.facts.nonneg(hi - lo - 1)
            new.regions = [self.framed(op.regions[0], Frame([], loop=True, certain=certain))]
        else:
            new.regions = [self.framed(r, Frame([], branch=True)) for r in op.regions]
        for old, result in zip(op.results, new.results):
            result.name = old.name
            self.env[old] = result
            self.level[old] = len(self.frames) - 1
        self.frames[-1].out.append(new)
        if any(REGISTRY[inner.name].effect in ("check", "call") for r in op.regions for inner in walk(r)):
            self.frames[-1].certain = False

    # ---------------------------------------------------------------- how far out

    def target(self, op: Op, here: int) -> int:
        """The frame an operation moves to (its own, where it stays)."""
        definition = REGISTRY[op.name]
        if definition.effect not in ("", "check") or definition.category in ("terminator", "tape"):
            return here
        if op.name in FRESH and op.results[0].is_array:
            return here
        level = 0
        for operand in op.operands:
            if type(operand) is not Const:
                level = max(level, self.level[operand])
        best = at = here
        unchecked = True  # whether it would surely run here, before anything that may fail
        cheap = definition.cost < 50 and not any(r.is_array for r in op.results)
        while at > level:
            frame = self.frames[at]
            unchecked = unchecked and frame.certain
            if frame.branch and not cheap:
                break
            if not unchecked and (definition.effect or not self.safe(op, at)):
                break
            at -= 1
            if frame.loop:
                best = at
        return best

    def safe(self, op: Op, frame: int) -> bool:
        """Whether an operation may run before frame `frame` begins, even if it would not have run inside."""
        if any(isinstance(v.type, Tape) for v in op.operands):
            return False
        name, operands, facts = op.name, op.operands, self.facts
        depth = frame + 1  # the scopes that are open there
        if REGISTRY[name].category == "elementwise":
            arrays = list(dict.fromkeys(v for v in operands if v.is_array))
            return all(self.same_shape(arrays[0], other, depth) for other in arrays[1:])
        if name in TOTAL:
            return True
        if name == "iota":
            return all(facts.nonneg(facts.linear(e), depth) for e in operands)
        if name == "broadcast":
            return self.safe_broadcast(op, depth)
        if name == "index":
            return self.inside(op, operands[1:], depth)
        if name == "matmul":
            a, b = operands
            inner = facts.extent(a, a.rank - 1), facts.extent(b, max(b.rank - 2, 0))
            return facts.equal(*inner, depth)
        return False

    def same_shape(self, a: Value, b: Value, depth: int) -> bool:
        facts = self.facts
        return all(facts.equal(facts.extent(a, k), facts.extent(b, k), depth) for k in range(a.rank))

    def safe_broadcast(self, op: Op, depth: int) -> bool:
        x, *extents = op.operands
        facts = self.facts
        for k, a in enumerate(op.attrs["axes"]):
            own = facts.extent(x, k)
            if own != Linear(1) and not facts.equal(own, facts.linear(extents[a]), depth):
                return False
        return all(facts.nonneg(facts.linear(e), depth) for e in extents)

    def inside(self, op: Op, positions: Sequence[Value], depth: int) -> bool:
        """Whether all positions are surely inside the array."""
        array, facts = op.operands[0], self.facts
        rest = iter(positions)
        for axis, letter in enumerate(op.attrs["spec"]):
            if letter == ":":
                continue
            last = facts.extent(array, axis) - 1
            start = facts.linear(next(rest))
            ends = [start]
            if letter == "s":
                length, step = facts.linear(next(rest)), facts.linear(next(rest))
                if step.terms or not facts.nonneg(length, depth):
                    return False
                ends.append(start.plus(length - 1, step.const))
            if not all(facts.nonneg(e, depth) and facts.nonneg(last - e, depth) for e in ends):
                return False
        return True
