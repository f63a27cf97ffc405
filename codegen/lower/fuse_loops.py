"""Loop fusion: neighbouring loops over one range that work on the same memory become one loop.

In: a scheduled function, changed in place. Out: whether any loops were fused.

    for %i in (0, %n) {                          for %i in (0, %n) {
      %a: f64 = buffer.load %x, %i                 %a: f64 = buffer.load %x, %i
      %b: f64 = exp %a                             %b: f64 = exp %a
      buffer.store %b, %t, %i                      buffer.store %b, %t, %i
      yield                              =>        %c: f64 = buffer.load %t, %i
    }                                              %s_2: f64 = add_any_order %s_1, %c
    %s: f64 = for %i in (0, %n) (%s_1 = 0.0) {     yield %s_2
      %c: f64 = buffer.load %t, %i               }
      %s_2: f64 = add_any_order %s_1, %c
      yield %s_2
    }

after which `forwarding` sees that `%c` is `%b`, and, where nothing else reads `%t`, that it need not exist. Two
loops may be fused if every element that both touch (and one writes) is touched in the same turn of both; then,
whatever vectorized, still does. What stands between them and is needed by the second moves in front of the first,
checks among it: they may be what keeps the second loop inside its memory. Of loops, only those move that set sums of
rows to their first value: the rows are then read once by both loops.
"""

from __future__ import annotations

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.types import Buffer
from .accesses import Access, Effects, Loop, apart, effects, moves_buffers, same_position
from .loops import affine

__all__ = ["fuse_loops"]

REACH = 24
"""How many operations back a partner is looked for."""
BUFFERS = 48
"""A loop over more buffers than this is not made: their addresses alone would fill the registers many times over."""


def fuse_loops(function: Function) -> bool:
    """Fuse what can be fused; whether there was anything."""
    observable: set[Value] = set()
    if function.attrs.get("donated"):
        observable = {a for a in function.args if isinstance(a.type, Buffer)}
    fuser = Fuser(observable)
    fuser.region(function.body)
    return fuser.fused


class Fuser:
    """`observable`: memory whose contents are seen even where the program fails; it may overlap other arguments."""

    def __init__(self, observable: set[Value]) -> None:
        self.observable = observable
        self.known: dict[Op, Effects] = {}
        self.fused = False

    def effects(self, op: Op) -> Effects:
        if op not in self.known:
            self.known[op] = effects(op)
        return self.known[op]

    def region(self, region: Region) -> None:
        at = 0
        while at < len(region.ops):
            op = region.ops[at]
            merged = self.into_earlier(region, at) if op.name == "for" else False
            if not merged:
                at += 1
        for op in region.ops:
            for inner in op.regions:
                self.region(inner)
                self.known.pop(op, None)

    def into_earlier(self, region: Region, at: int) -> bool:
        """Fuse the loop at `at` into one before it; True if it was."""
        second = region.ops[at]
        needed: list[Op] = []  # what the second loop needs of what stands in between, last first
        for back in range(1, min(REACH, at) + 1):
            op = region.ops[at - back]
            if op.name == "for" and self.fusible(op, second) and not any(self.depends(op, n) for n in needed):
                self.merge(region, at - back, at, needed)
                return True
            if self.effects(op).checks or self.depends(op, second) or any(self.depends(op, n) for n in needed):
                if op.regions and not (clears(op) and self.sums_of_rows(op, second)):
                    return False  # moving whole loops around is not worth the trouble
                needed.append(op)
        return False

    def sums_of_rows(self, clearing: Op, loop: Op) -> bool:
        """Whether what is cleared are sums that a nest adds to, at places that are known before it runs."""
        known = self.effects(loop)
        sums = self.effects(clearing).roots
        places = [a for a in known.accesses if a.root in sums]
        return bool(places) and all(
            a.position is not None
            and len(a.loops) > 1
            and all(not affine(p)[0].keys() & known.defines - {inner.index for inner in a.loops} for p in a.position)
            for a in places
        )

    def depends(self, first: Op, second: Op) -> bool:
        """Whether the order of two operations matters."""
        a, b = self.effects(first), self.effects(second)
        if a.defines & b.uses:
            return True
        if a.writes & b.roots or a.roots & b.writes:
            return True
        if a.checks and b.checks:
            return True
        if self.observable and (
            (a.checks and b.writes & self.observable)
            or (b.checks and a.writes & self.observable)
            or (a.roots & self.observable and b.roots & self.observable and (a.writes or b.writes))
        ):
            return True
        return False

    def fusible(self, first: Op, second: Op) -> bool:
        if first.operands[:2] != second.operands[:2]:
            return False
        if bool(first.attrs.get("reverse")) != bool(second.attrs.get("reverse")):
            return False
        if any(isinstance(v.type, Buffer) for v in (*first.results, *second.results)):
            return False
        a, b = self.effects(first), self.effects(second)
        if a.defines & b.uses or (a.checks and b.checks) or not a.roots & b.roots:
            return False
        if self.observable and (a.checks or b.checks or (a.roots | b.roots) & self.observable):
            return False
        if len(a.roots | b.roots) > BUFFERS or character(first) != character(second):
            return False
        if moves_buffers(first.regions[0]) or moves_buffers(second.regions[0]):
            return False
        index, other = first.regions[0].args[0], second.regions[0].args[0]
        around = Loop(index, first.operands[0], first.operands[1])
        return all(
            self.same_turn(x, y, index, other) or self.never(x, y, around, other)
            for x in a.accesses
            for y in b.accesses
            if x.root is y.root and (x.write or y.write)
        )

    @staticmethod
    def same_turn(x: Access, y: Access, index: Value, other: Value) -> bool:
        """Whether the elements of two accesses can only be the same in one and the same turn of the two loops:
        some axis of both runs with the loop index alone, in the same way."""
        if x.position is None or y.position is None:
            return False
        inner = {loop.index for loop in (*x.loops[1:], *y.loops[1:])}
        for p, q in zip(x.position, y.position):
            if uses(p, index) and same_position([p], [q], {other: index}) and not any(uses(p, v) for v in inner):
                return True
        return False

    @staticmethod
    def never(x: Access, y: Access, around: Loop, other: Value) -> bool:
        return apart(x, y, [])

    def merge(self, region: Region, first_at: int, second_at: int, needed: list[Op]) -> None:
        first, second = region.ops[first_at], region.ops[second_at]
        a, b = first.regions[0], second.regions[0]
        renamed = {b.args[0]: a.args[0]}
        end_a, end_b = a.ops.pop(), b.ops.pop()
        for op in walk(b):
            op.operands = [renamed.get(v, v) for v in op.operands]
        end_b.operands = [renamed.get(v, v) for v in end_b.operands]
        a.args += b.args[1:]
        a.ops += b.ops
        end_a.operands += end_b.operands
        a.ops.append(end_a)
        first.operands += second.operands[2:]
        for result in second.results:
            result.op = first
        first.results += second.results
        del region.ops[second_at]
        for op in needed:
            region.ops.remove(op)
        at = region.ops.index(first)
        region.ops[at:at] = list(reversed(needed))
        self.known.pop(first, None)  # the loops around it are not looked at any more
        self.fused = True


def uses(position: Value, index: Value) -> bool:
    return index in affine(position)[0]


def clears(loop: Op) -> bool:
    """Whether a nest of loops does nothing but store constants."""
    return (
        loop.name == "for"
        and not loop.results
        and all(
            isinstance(op.operands[0], Const) if op.name == "buffer.store" else op.name in ("for", "yield")
            for op in walk(loop.regions[0])
        )
    )


def character(loop: Op) -> tuple[int, bool, bool]:
    """What loops must have in common to be worth fusing: depth, and whether turns are independent and without
    branches."""
    body = loop.regions[0]
    inner = [op for op in body.ops if op.regions]
    depth = max((character(op)[0] for op in inner if op.name == "for"), default=0) + 1
    branches = any(op.name in ("if", "while") for op in walk(body))
    return depth, branches, any(sequential(op) for op in [loop, *walk(body)] if op.name == "for")


def sequential(loop: Op) -> bool:
    """Whether a loop carries something other than sums in any order."""
    body = loop.regions[0]
    carried = dict(zip(body.terminator.operands, body.args[1:]))
    for value, arg in carried.items():
        op = value.op
        fine = op is not None and (
            (op.name in ("add_any_order", "mul_any_order", "maximum", "minimum") and arg in op.operands)
            or op.name == "for"
        )
        if not fine:
            return True
    return False
