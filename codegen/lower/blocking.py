"""Blocking: a loop that sweeps over whole arrays again and again visits a block of them at a time.

In: a scheduled function, changed in place. Out: nothing.

    for %j in (0, %m) {                          for %b in (0, %blocks) {
      %a: f64 = buffer.load %c, %j                 for %g in (0, %m / SWEEPS) {
      for %i in (0, %n) {                            %a0, %a1, ... = c[SWEEPS * %g], c[SWEEPS * %g + 1], ...
        %p: f64 = buffer.load %y, %i                 for %i in (%b * BLOCK, min(%b * BLOCK + BLOCK, %n)) {
        %q: f64 = buffer.load %t, %i                   %p: f64 = buffer.load %y, %i
        %r: f64 = mul %p, %q               =>          %q: f64 = buffer.load %t, %i
        %s: f64 = add %r, %a                           %s0 = %p * %q + %a0;  %s1 = %s0 * %q + %a1;  ...
        buffer.store %s, %y, %i                        buffer.store ..., %y, %i
        yield                                          yield
      }                                              }
      yield                                          yield
    }                                              }
                                                   the sweeps that are left over, one after the other
                                                   yield
                                                 }

A block stays in the first cache from one sweep to the next, and in registers for `SWEEPS` of them. The sweeps must be
independent from element to element: what is written in one turn of the inner loop and touched in another sweep is
touched there in the same turn (as for the fusion of loops). Every element then sees the same operations in the same
order.

Sums in any order over the inner loop are added up over the blocks, with their rounding errors; what is done with them
follows in a loop of its own (`bounded`: at most `BLOCK` turns, of which a sum is accurate as it is):

    for %j in (0, %m) {                          for %b ... for %j ... %totals[%j] += sum over the block
      %s: f64 = for %i in (0, %n) ...      =>    for %j in (0, %m) {
      buffer.store %s, %z, %j                      %s: f64 = buffer.load %totals, %j
      yield                                        buffer.store %s, %z, %j
    }                                              yield
                                                 }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.ops.declare import lookup
from ...ir.rewrite import Env, copy_op
from ...ir.types import I64, Buffer, Scalar
from .accesses import Access, effects, root_of
from .loops import affine

__all__ = ["BLOCK", "SWEEPS", "block_sweeps"]

BYTES = 16384
"""Of arrays, in a block: half of a small first cache."""
BLOCK = 2048
"""Turns of the inner loop, at most."""
SWEEPS = 4
"""Turns of the outer loop that are carried out at once."""
OPERATIONS = 24
"""In a sweep; where there are more, each is carried out alone, since there is little to be gained."""
FEW = 64
"""Turns of an inner loop that is not worth a block."""
NEW_BUFFERS = frozenset({"buffer.call", "buffer.alloc", "buffer.reshape", "buffer.view"})
ZERO, ONE = Const(0, I64), Const(1, I64)


@dataclass
class Sweep:
    """An outer loop, in parts: what each turn computes first, the inner loop, what is done with its sums."""

    loop: Op
    before: list[Op]
    inner: Op
    after: list[Op]


def block_sweeps(function: Function) -> None:
    """Block what can be; not where the function writes to arrays of the caller, whose contents others may look at."""
    if not function.attrs.get("donated"):
        Blocking(function).region(function.body)


class Blocking:
    def __init__(self, function: Function) -> None:
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        self.threads = "threads" in function.attrs

    def region(self, region: Region) -> None:
        for op in list(region.ops):
            sweep = self.sweep(op) if op.name == "for" else None
            if sweep is not None:
                at = region.ops.index(op)
                region.ops[at : at + 1] = self.blocked(sweep)
            else:
                for inner in op.regions:
                    self.region(inner)

    # which loops

    def sweep(self, loop: Op) -> Sweep | None:
        """The parts of a loop, if it sweeps over arrays and its sweeps can be carried out block by block."""
        body = loop.regions[0].ops[:-1]
        inner = [op for op in body if op.regions]
        if len(loop.operands) > 2 or len(inner) != 1 or inner[0].name != "for":
            return None
        (turns,) = inner
        if turns.attrs.get("reverse") or any(op.regions for op in turns.regions[0].ops) or is_short(turns):
            return None
        known = effects(loop)
        if any(v in known.defines for v in turns.operands[:2]) or known.checks:
            return None
        if any(op.name in NEW_BUFFERS for op in walk(loop.regions[0])):
            return None
        if any(op.name == "buffer.store" and sums_up(op) for op in turns.regions[0].ops):
            return None  # sums of rows: many, and rarely what takes the time
        if not all(is_sum(turns, k) for k in range(len(turns.results))):
            return None
        parts = divided(loop, turns)
        if parts is None or not self.independent(parts):
            return None
        return parts

    def independent(self, parts: Sweep) -> bool:
        """Whether sweeps meet in the same turns of the inner loop only, and not in what is around it."""
        index = parts.inner.regions[0].args[0]
        around = effects(parts.inner)
        written = around.writes
        if not written or written & self.arguments:
            return False
        everywhere = [a for a in effects(parts.loop).accesses if a.root in written]
        touched = [a for a in around.accesses if a.root in written]
        if len(everywhere) > len(touched) or all(a.write for a in touched):
            return False  # touched elsewhere too, or never looked at
        changing = effects(parts.loop).defines - {index}
        if not any(visited_again(a, changing) for a in touched):
            return False  # each sweep has memory of its own
        for k, x in enumerate(touched):
            for y in touched[k:]:
                if x.root is y.root and (x.write or y.write) and not same_turn(x, y, index, changing):
                    return False
        stored = {root_of(op.operands[1]) for op in parts.after if op.name == "buffer.store"}
        read = around.reads | {root_of(op.operands[0]) for op in parts.before if op.name == "buffer.load"}
        return not stored & (read | written | self.arguments)

    # what becomes of them

    def blocked(self, parts: Sweep) -> list[Op]:
        loop, inner = parts.loop, parts.inner
        lo, hi = loop.operands
        begin, end = inner.operands[:2]
        new = Region()
        buffers = {a.root for a in effects(inner).accesses}
        block = min(BLOCK, 1 << (BYTES // (8 * len(buffers))).bit_length() - 1)
        size = Const(max(block, 64), I64)
        together = SWEEPS if self.several(parts) else 1
        with Builder(new, loop.span) as b:
            sweeps = b.emit1("maximum", [sum_of(hi, lo, -1), ZERO])
            totals = [self.provide(sweeps, v) for v in inner.results]
            blocks = b.emit1("floordiv", [sum_of(end, begin, -1) + Const(size.value - 1, I64), size])
            groups = b.emit1("floordiv", [sweeps, Const(together, I64)]) if together > 1 else ZERO
            visit = Region([Value(Scalar(I64))])
            with Builder(visit, loop.span):
                start = sum_of(visit.args[0] * size, begin)
                stop = builder().emit1("minimum", [start + size, end])
                if together > 1:
                    self.counted(ZERO, groups, parts, (start, stop), totals, together)
                    self.counted(groups * Const(together, I64), sweeps, parts, (start, stop), totals, 1)
                else:
                    self.counted(ZERO, sweeps, parts, (start, stop), totals, 1)
                builder().emit("yield", [])
            new.ops.append(Op("for", [ZERO, blocks], [], {}, [visit], loop.span))
            if parts.after:
                new.ops.append(self.remainder(parts, totals))
        return new.ops

    def several(self, parts: Sweep) -> bool:
        return len(parts.inner.regions[0].ops) <= OPERATIONS

    def provide(self, sweeps: Value, like: Value) -> Value:
        """Memory for the sums of all sweeps, and (unless threads have parts of it) their rounding errors; zeros."""
        b = builder()
        rows = 1 if self.threads else 2
        memory = b.emit1("buffer.alloc", [Const(rows, I64), sweeps], {"dtype": like.dtype})
        region = Region([Value(Scalar(I64))])
        with Builder(region, b.span) as inside:
            for row in range(rows):
                inside.emit("buffer.store", [Const(0.0, like.dtype), memory, Const(row, I64), region.args[0]])
            inside.emit("yield", [])
        b.region.ops.append(Op("for", [ZERO, sweeps], [], {"short": True}, [region], b.span))
        return memory

    def counted(
        self,
        first: Value,
        last: Value,
        parts: Sweep,
        block: tuple[Value, Value],
        totals: Sequence[Value],
        together: int,
    ) -> None:
        """The loop over sweeps, or groups of so many `together`, of a block."""
        loop, inner = parts.loop, parts.inner
        lo, hi = loop.operands
        around = builder()
        body = Region([count := Value(Scalar(I64))])
        with Builder(body, loop.span) as b:
            turns = Region([Value(Scalar(I64), inner.regions[0].args[0].name)])
            ends: list[Value] = []
            places = []
            for k in range(together):
                number = count * Const(together, I64) + Const(k, I64) if together > 1 else count
                places.append(number)
                if loop.attrs.get("reverse"):
                    index = (hi - ONE) - number
                else:
                    index = sum_of(number, lo)
                env: Env = {loop.regions[0].args[0]: index, inner.regions[0].args[0]: turns.args[0]}
                for op in parts.before:
                    b.region.ops.append(copy_op(op, env))
                for arg in inner.regions[0].args[1:]:
                    env[arg] = Value(arg.type, arg.name)
                    turns.args.append(env[arg])
                *operations, terminator = inner.regions[0].ops
                turns.ops += [copy_op(op, env) for op in operations]
                ends += [env.get(v, v) for v in terminator.operands]
            turns.ops.append(Op("yield", ends, [], {}, (), inner.span))
            starts = inner.operands[2:] * together
            # what is left over is few sweeps: little code for them
            hints = {"bounded": True} | ({"short": True} if together == 1 and self.several(parts) else {})
            made = Op("for", [*block, *starts], [v.type for v in starts], hints, [turns], inner.span)
            b.region.ops.append(made)
            sums = iter(made.results)
            for number in places:
                for memory in totals:
                    self.add(memory, number, next(sums))
            b.emit("yield", [])
        around.region.ops.append(Op("for", [first, last], [], {}, [body], loop.span))

    def add(self, memory: Value, at: Value, term: Value) -> None:
        b = builder()
        old = b.emit1("buffer.load", [memory, ZERO, at])
        if self.threads:
            b.emit("buffer.store", [b.emit1("add_any_order", [old, term]), memory, ZERO, at])
            return
        new = old + term
        part = new - old
        error = b.emit1("buffer.load", [memory, ONE, at]) + ((old - (new - part)) + (term - part))
        b.emit("buffer.store", [new, memory, ZERO, at])
        b.emit("buffer.store", [error, memory, ONE, at])

    def remainder(self, parts: Sweep, totals: Sequence[Value]) -> Op:
        """The loop that does what follows the sums."""
        loop = parts.loop
        lo, hi = loop.operands
        body = Region([index := Value(Scalar(I64), loop.regions[0].args[0].name)])
        env: Env = {loop.regions[0].args[0]: index}
        with Builder(body, loop.span) as b:
            b.region.ops += [copy_op(op, env) for op in parts.before]
            at = (hi - ONE) - index if loop.attrs.get("reverse") else sum_of(index, lo, -1)
            for memory, result in zip(totals, parts.inner.results, strict=True):
                env[result] = self.final(memory, at)
            b.region.ops += [copy_op(op, env) for op in parts.after]
            b.emit("yield", [])
        return Op("for", [lo, hi], [], dict(loop.attrs), [body], loop.span)

    def final(self, memory: Value, at: Value) -> Value:
        """A sum with its errors, which are NaN where it is infinite or NaN."""
        b = builder()
        total = b.emit1("buffer.load", [memory, ZERO, at])
        if self.threads:
            return total
        error = b.emit1("buffer.load", [memory, ONE, at])
        return b.emit1("select", [b.emit1("eq", [error, error]), total + error, total])


def same_turn(x: Access, y: Access, index: Value, changing: set[Value]) -> bool:
    """Whether elements of two accesses, in whatever sweeps, are the same in one turn of the inner loop only: some axis
    of both runs with the index, in the same way in all sweeps."""
    if x.position is None or y.position is None:
        return False
    for p, q in zip(x.position, y.position, strict=True):
        form = affine(p)
        if form == affine(q) and index in form[0] and not form[0].keys() & changing:
            return True
    return False


def visited_again(x: Access, changing: set[Value]) -> bool:
    """Whether every sweep touches the same elements."""
    return x.position is not None and not any(affine(p)[0].keys() & changing for p in x.position)


def is_short(loop: Op) -> bool:
    """Whether a loop is known to have few turns, as over lanes: all of it is in registers as it is."""
    first, last = loop.operands[:2]
    return isinstance(first, Const) and isinstance(last, Const) and last.value - first.value <= FEW


def is_sum(loop: Op, k: int) -> bool:
    """Whether what a loop carries is a sum of floats in any order, from nothing."""
    start, arg, end = loop.operands[2 + k], loop.regions[0].args[1 + k], loop.regions[0].terminator.operands[k]
    uses = sum(list(op.operands).count(arg) for op in loop.regions[0].ops)
    return (
        isinstance(start, Const)
        and start.dtype.is_float
        and start.value == 0
        and end.op is not None
        and end.op.name == "add_any_order"
        and arg in end.op.operands
        and uses == 1
        and not any(end in op.operands for op in loop.regions[0].ops[:-1])
    )


def sums_up(store: Op) -> bool:
    made = store.operands[0].op
    return made is not None and made.name == "add_any_order"


def divided(loop: Op, turns: Op) -> Sweep | None:
    """What the inner loop needs, and what follows it."""
    body = loop.regions[0].ops[:-1]
    at = body.index(turns)
    before, after = body[:at], body[at + 1 :]
    written = effects(loop).writes
    for op in before:
        definition = lookup(op.name)
        fine = not definition.effect and definition.category in ("elementwise", "buffer")
        if not fine and not (op.name == "buffer.load" and root_of(op.operands[0]) not in written):
            return None
    if any(op.name not in ("buffer.load", "buffer.store") and lookup(op.name).effect for op in after):
        return None
    return Sweep(loop, before, turns, after)


def sum_of(value: Value, other: Value, sign: int = 1) -> Value:
    """`value` plus or minus `other`, which mostly is zero."""
    if isinstance(other, Const) and other.value == 0:
        return value
    return value + other if sign > 0 else value - other
