"""Turns abreast: a loop whose turns each compute much with numbers of their own runs eight turns at a time.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                              for %b in (0, %n / 8) {
      %c: i64 = buffer.load %seen, %i                  for %l in (0, 8) {
      %k: i64 = bound %c, %m                             ... the checks, as they were, in their order
      %x: f64 = buffer.load %p, %k, 2                    buffer.store %x, %xs, %l
      %a: f64 = mul %x, %x                             }
      %s: f64 = sin %a                                 for %l in (0, 8) { %as[%l] = mul %xs[%l], %xs[%l] }
      %t: f64 = if %q { ... } else { ... }      =>     for %l in (0, 8) { %ss[%l] = sin %as[%l] }
      %y: f64 = div %t, %s                             for %l in (0, 8) {
      buffer.store %y, %z, %i, %c                        ... both sides; %t: f64 = select %q, ..., ...
                                                         %ys[%l] = div %t, %ss[%l]
                                                       }
                                                       for %l in (0, 8) { buffer.store %ys[%l], %z, %b * 8 + %l, %c }
    }                                                }
                                                     the turns that are left over, as they were

What a turn reads lies anywhere, what it writes, too, and it checks where that is, so LLVM makes no vectors of it. Three
parts of a turn are told apart. What *reads* is made of checks, loads and the arithmetic of positions, and goes on turn
by turn. What *computes* is arithmetic with what was read, without memory, where branches may be selections: vectors of
eight turns, written by `llvm.vectors`; elementary functions in loops of their own, which LLVM makes vectors of. The
*rest* follows turn by turn: stores, loops, sums that are carried. Every number sees the same operations in the same
order as before.

Reading comes before what earlier turns of the block write, so the loop writes to nothing that it reads there; and
checks come early, which nobody sees unless a caller's memory is written or the rest has checks, too. Such loops stay
as they are, and those whose arithmetic is not worth copying what goes into it and comes out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Buffer, Scalar
from . import lanes
from .accesses import CHECKS, effects, root_of
from .blocking import sum_of
from .columns import ONE, ZERO, rebuilt
from .lanes import is_vector
from .loops import affine
from .parallel import Analysis

__all__ = ["abreast"]

TURNS = 8
"""At a time: as many as a vector has at most."""
WIDTH = Const(TURNS, I64)
COSTS = {"div": 5, "sqrt": 6}
FUNCTION = 20
"""What an operation costs, of which most cost one: that of vectors for eight turns is a fraction."""
LEAST = 96
"""What a turn must cost,"""
COPIES = 3
"""and so many times the numbers that are copied."""
CHEAP = 8
"""What may be computed for a check, or to know where to read, turn by turn."""
OPERATIONS = 1500
"""In a turn: they are written twice."""
ANY_ORDER = frozenset({"add_any_order", "mul_any_order"})
UNSUITED = frozenset({"while", "buffer.call", "buffer.alloc", "buffer.reshape", "buffer.view"})


def abreast(function: Function, left_over: set[Op]) -> set[Op]:
    """Run turns abreast where that pays. `left_over`: loops of few turns; returns them and new ones."""
    found = Finder(function, left_over)
    if "threads" in function.attrs:
        found.parallel.update(Analysis(function).outermost(function.body, True))
    found.region(function.body)
    return found.left_over


class Finder:
    def __init__(self, function: Function, left_over: set[Op]) -> None:
        self.function = function
        self.parallel: set[Op] = set()
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        self.observed = bool(function.attrs.get("donated"))
        layouts = function.attrs["layouts"]
        self.strided = {a for a, layout in zip(function.args, layouts, strict=True) if layout in ("A", "F")}
        self.left_over = set(left_over)

    def region(self, region: Region) -> None:
        for op in list(region.ops):
            if op.attrs.get("lanes"):
                continue
            parts = self.parts(op) if op.name == "for" and op not in self.left_over else None
            if parts is not None and self.put(region, op, parts):
                self.left_over.add(op)
            else:
                for inner in op.regions:
                    self.region(inner)

    def put(self, region: Region, loop: Op, parts: Parts) -> bool:
        """Blocks before the loop; not where threads could share its turns and cannot share the blocks."""
        operands = list(loop.operands)
        before = list(region.ops)
        at = region.ops.index(loop)
        made = parts.blocks()
        region.ops[at:at] = made
        if loop in self.parallel and Analysis(self.function).plan(made[parts.at]) is None:
            region.ops[:], loop.operands[:] = before, operands
            return False
        return True

    def parts(self, loop: Op) -> Parts | None:
        """The parts of a turn, if it pays to run turns abreast."""
        body = loop.regions[0]
        low, high = loop.operands[:2]
        if not loop.attrs.keys() <= {"reverse", "bounded"}:
            return None
        if isinstance(low, Const) and isinstance(high, Const) and high.value - low.value < TURNS:
            return None
        if cost_of(body) < LEAST:
            return None
        count = 0
        for op in (loop, *walk(body)):
            count += 1
            if op.name in UNSUITED or op.attrs.get("lanes"):
                return None
            if op.regions and any(isinstance(v.type, Buffer) for v in op.results):
                return None
        if count > OPERATIONS:
            return None
        known = effects(loop)
        written = known.writes
        if self.observed and written & self.arguments:
            if known.checks:
                return None
            written |= self.arguments  # they may overlap
        parts = Parts(loop, written, self.strided)
        return parts if parts.divided() and parts.pays() else None


def cost_of(region: Region) -> int:
    """What arithmetic with floating-point numbers costs; of branches the dearer side."""
    total = 0
    for op in region.ops:
        if op.name == "if":
            total += max(cost_of(inner) for inner in op.regions)
        elif not op.regions and is_arithmetic(op):
            total += cost(op)
    return total


def is_arithmetic(op: Op) -> bool:
    """Whether an operation computes numbers from numbers."""
    return lanes.is_arithmetic(op) and all(isinstance(v.type, Scalar) for v in (*op.operands, *op.results))


def in_vectors(op: Op) -> bool:
    """Whether what is computed is an instruction for vectors."""
    return op.name == "buffer.load" or is_vector(op)


def cost(op: Op) -> int:
    if not any(v.dtype.is_float for v in (*op.operands, *op.results)):
        return 0
    return COSTS.get(op.name, 1) if is_vector(op) else FUNCTION


def computes(op: Op) -> bool:
    """Whether an operation is arithmetic with floating-point numbers, or with what compares them."""
    if not is_arithmetic(op) or len(op.results) != 1:
        return False
    return is_vector(op) or all(v.dtype.is_float for v in (*op.operands, *op.results))


@dataclass
class Parts:
    """The parts of a turn. `reads`: operations that read and check; `order`: those that compute, in `levels` by how
    many functions come before them, and these; `rest`: all others."""

    loop: Op
    written: set[Value]
    strided: set[Value]
    reads: list[Op] = field(default_factory=list)
    order: list[Op] = field(default_factory=list)
    levels: list[list[Op]] = field(default_factory=list)
    functions: list[list[Op]] = field(default_factory=list)
    rest: list[Op] = field(default_factory=list)
    level: dict[Value, int] = field(default_factory=dict)
    """Of what is computed."""
    renamed: Env = field(default_factory=dict)
    """What stands for the results of branches: selections, which belong to no region."""
    columns: list[Value] = field(default_factory=list)
    """What one part gives to another one."""
    memory: dict[Value, Value] = field(default_factory=dict)
    """Where that is."""
    again: set[Value] = field(default_factory=set)
    """What the rest computes for itself."""
    at: int = 0
    """Where among the operations that are made the loop over blocks stands."""

    @property
    def index(self) -> Value:
        return self.loop.regions[0].args[0]

    # which operation is of which part

    def divided(self) -> bool:
        """Tell the parts apart; whether the order that matters is kept."""
        body = self.loop.regions[0]
        inside = set(body.args)
        uses = set(body.terminator.operands)
        for op in walk(body):
            uses.update(op.operands)
            inside.update(op.results)
            for region in op.regions:
                inside.update(region.args)
        outside = uses - inside
        read = {self.index}
        early = self.needed_to_read()
        tested = checked = late = scattered = ordered = False

        def known(op: Op) -> bool:
            return all(v not in inside or v in read or v in self.level for v in op.operands)

        for op in body.ops[:-1]:
            only_read = all(v not in inside or v in read for v in op.operands)
            if op.name in CHECKS:
                tested = True
                varying = any(v in inside for v in op.operands)  # else the first turn fails, or none
                checked |= only_read and (varying or late)
                late |= not only_read
                (self.reads if only_read else self.rest).append(op)
                if only_read:
                    read.update(op.results)
            elif op.name == "buffer.load" and only_read and root_of(op.operands[0]) not in self.written:
                if op.result not in early and self.contiguous(op, inside):
                    self.computed(op, 0)
                else:
                    scattered |= self.anywhere(op, inside)
                    self.reads.append(op)
                    read.update(op.results)
            elif only_read and is_arithmetic(op) and (op.result in early or not (computes(op) and cost(op))):
                self.reads.append(op)
                read.update(op.results)
            elif not op.regions and computes(op) and known(op):
                self.place(op)
            elif op.name == "if" and self.selectable(op, outside | read):
                self.select(op)
            else:
                late |= bool(op.regions) and effects(op).checks
                ordered |= bool(op.regions) or (is_arithmetic(op) and cost(op) > 0 and op.name not in ANY_ORDER)
                self.rest.append(op)
        return (tested or scattered or ordered) and not (checked and late)

    def needed_to_read(self) -> set[Value]:
        """What checks are about and where is read, as far as it costs little."""
        made = {v: op for op in self.loop.regions[0].ops for v in op.results}
        found: set[Value] = set()
        for op in self.loop.regions[0].ops:
            if op.name in CHECKS or op.name == "buffer.load":
                needed: set[Value] = set()
                waiting, total = list(op.operands), 0
                while waiting and total <= CHEAP:
                    maker = made.get(waiting.pop())
                    if maker is not None and not needed.issuperset(maker.results):
                        needed.update(maker.results)
                        waiting += maker.operands
                        total += CHEAP + 1 if maker.regions else cost(maker) if is_arithmetic(maker) else 0
                if total <= CHEAP:
                    found |= needed
        return found

    def anywhere(self, load: Op, inside: set[Value]) -> bool:
        """Whether where something is read depends on more than which turn it is."""
        return any(v in inside and v is not self.index for p in load.operands[1:] for v in affine(p)[0])

    def contiguous(self, load: Op, inside: set[Value]) -> bool:
        """Whether turns read neighbours."""
        buffer, *where = load.operands
        if not where or buffer in self.strided:
            return False
        *rows, last = (affine(p)[0] for p in where)
        if any(v in inside for terms in rows for v in terms):
            return False
        return last.get(self.index) == 1 and not any(v in inside for v in last if v is not self.index)

    def place(self, op: Op) -> None:
        level = max((self.level.get(self.renamed.get(v, v), 0) for v in op.operands), default=0)
        self.computed(op, level)

    def computed(self, op: Op, level: int) -> None:
        """An operation comes after so many functions."""
        self.level[op.result] = level if in_vectors(op) else level + 1
        self.order.append(op)

    def selectable(self, op: Op, outer: set[Value]) -> bool:
        """Whether both sides of a branch may be computed, of values from `outer` places and those before."""
        own: set[Value] = set()

        def known(inner: Op) -> bool:
            return all(v in outer or v in self.level or v in own for v in inner.operands)

        def side(region: Region) -> bool:
            for inner in region.ops[:-1]:
                if not (branch(inner) if inner.name == "if" else known(inner) and computes(inner)):
                    return False
                own.update(inner.results)
            return known(region.terminator)

        def branch(inner: Op) -> bool:
            numbers = all(isinstance(v.type, Scalar) for v in inner.results)
            return numbers and known(inner) and all(map(side, inner.regions))

        return branch(op)

    def select(self, op: Op) -> None:
        """Both sides, and a selection for each result."""
        for region in op.regions:
            for inner in region.ops[:-1]:
                if inner.name == "if":
                    self.select(inner)
                else:
                    self.place(inner)
        first, second = (region.terminator.operands for region in op.regions)
        for result, yes, no in zip(op.results, first, second, strict=True):
            made = Op("select", [op.operands[0], yes, no], [result.type], {}, [], op.span)
            made.result.name = result.name
            self.place(made)
            self.renamed[result] = made.result
            self.level[result] = self.level[made.result]

    # whether it pays

    def arrange(self) -> None:
        """What is computed as late as possible: less is given from step to step."""
        last = max(self.level.values(), default=0)
        latest: dict[Value, int] = {}
        self.levels = [[] for _ in range(last + 1)]
        self.functions = [[] for _ in range(last + 1)]
        for op in reversed(self.order):
            if in_vectors(op):
                level = latest.get(op.result, last)
                self.levels[level].append(op)
            else:
                level = self.level[op.result] - 1
                self.functions[level].append(op)
            for v in map(self.final, op.operands):
                latest[v] = min(level, latest.get(v, last))
        for ops in (*self.levels, *self.functions):
            ops.reverse()

    def pays(self) -> bool:
        self.arrange()
        worth = sum(cost(op) for ops in (*self.levels, *self.functions) for op in ops if is_arithmetic(op))
        self.columns = self.needed_columns()
        return worth >= LEAST and worth >= COPIES * len(self.columns)

    def final(self, value: Value) -> Value:
        return self.renamed.get(value, value)

    def steps(self) -> Iterator[tuple[list[Op], bool]]:
        """What is computed, in its order: operations on vectors and functions, by turns."""
        for level, functions in zip(self.levels, self.functions, strict=True):
            yield level, False
            yield functions, True

    def needed_columns(self) -> list[Value]:
        """What one part gives to another one: read values that are computed with or that the rest cannot read again,
        computed values that later steps or the rest use."""
        found: dict[Value, None] = {}
        made: dict[Value, int] = {}
        steps = list(self.steps())
        for k, (ops, _) in enumerate(steps):
            made.update((op.result, k) for op in ops)
        read = {v for op in self.reads for v in op.results}
        for k, (ops, _) in enumerate(steps):
            for op in ops:
                for v in map(self.final, op.operands if op.name != "buffer.load" else ()):
                    if v in read or made.get(v, k) != k:
                        found[v] = None
        self.again = self.read_again()
        for v in map(self.final, self.used_by_rest()):
            if v in made or (v in read and v not in self.again):
                found[v] = None
        return list(found)

    def used_by_rest(self) -> Iterator[Value]:
        body = self.loop.regions[0]
        for op in (*self.rest, body.terminator):
            yield from op.operands
            for region in op.regions:
                for inner in walk(region):
                    yield from inner.operands

    def read_again(self) -> set[Value]:
        """What the rest computes for itself: arithmetic of the index and what it is in the loop's surroundings."""
        made = {v for op in self.reads for v in op.results}
        out = {self.index}
        for op in self.reads:
            if is_arithmetic(op) and all(v in out or v not in made for v in op.operands):
                out.update(op.results)
        return out

    # what becomes of it

    def blocks(self) -> list[Op]:
        """The operations that come before the loop, which keeps the turns that are left over."""
        loop = self.loop
        lo, hi = loop.operands[:2]
        carried = loop.operands[2:]
        backwards = bool(loop.attrs.get("reverse"))
        new = Region()
        with Builder(new, loop.span) as b:
            blocks = b.emit1("floordiv", [b.emit1("maximum", [sum_of(hi, lo, -1), ZERO]), WIDTH])
            self.memory = {v: b.emit1("buffer.alloc", [WIDTH], {"dtype": v.dtype}) for v in self.columns}
            body = Region([number := Value(Scalar(I64))])
            given = [Value(v.type, v.name) for v in loop.regions[0].args[1:]]
            body.args += given
            with Builder(body, loop.span) as inner:
                if backwards:
                    base = sum_of(hi, (number + ONE) * WIDTH, -1)
                else:
                    base = sum_of(number * WIDTH, lo)
                self.part(self.reads, base, {"reverse": True} if backwards else {})
                for ops, functions in self.steps():
                    if ops:
                        self.part(ops, base, {"lanes": True} if not functions else {"functions": True})
                ends = self.turn_by_turn(base, given)
                inner.emit("yield", ends)
            done = Op("for", [ZERO, blocks, *carried], [v.type for v in carried], {}, [body], loop.span)
            self.at = len(new.ops)
            new.ops.append(done)
            covered = blocks * WIDTH
            if backwards:
                loop.operands[:] = [lo, sum_of(hi, covered, -1), *done.results]
            else:
                loop.operands[:] = [sum_of(covered, lo), hi, *done.results]
        return new.ops

    def part(self, ops: list[Op], base: Value, attrs: dict[str, object]) -> None:
        """A loop over the turns of a block: columns are read where they are used first, and written in the end."""
        b = builder()
        body = Region([lane := Value(Scalar(I64), "lane")])
        own = {v for op in ops for v in op.results}
        with Builder(body, b.span) as inside:
            env: Env = {self.index: base + lane}
            for op in ops:
                if op.name == "buffer.load" and op.result in self.level:
                    buffer, *where = op.operands
                    env[op.result] = inside.emit1("buffer.load", [buffer, *(rebuilt(p, env) for p in where)])
                    continue
                for old in op.operands:
                    v = self.final(old)
                    if v in self.memory and v not in own and v not in env:
                        env[v] = inside.emit1("buffer.load", [self.memory[v], lane])
                    if v in env:
                        env[old] = env[v]
                inside.region.ops.append(copy_op(op, env))
            for v in self.columns:
                if v in own:
                    inside.emit("buffer.store", [env[v], self.memory[v], lane])
            inside.emit("yield", [])
        b.region.ops.append(Op("for", [ZERO, WIDTH], [], attrs, [body], b.span))

    def turn_by_turn(self, base: Value, given: list[Value]) -> list[Value]:
        b = builder()
        loop = self.loop
        old = loop.regions[0]
        body = Region([lane := Value(Scalar(I64), "lane")])
        args = [Value(v.type, v.name) for v in given]
        body.args += args
        uses = set(map(self.final, self.used_by_rest()))
        with Builder(body, b.span) as inside:
            env: Env = {self.index: base + lane, **dict(zip(old.args[1:], args, strict=True))}
            for op in self.reads:
                if op.results and all(v in self.again for v in op.results):
                    inside.region.ops.append(copy_op(op, env))
            for v in self.columns:
                if v in uses:
                    env[v] = inside.emit1("buffer.load", [self.memory[v], lane])
            for before, after in self.renamed.items():
                if after in env:
                    env[before] = env[after]
            for op in self.rest:
                inside.region.ops.append(copy_op(op, env))
            inside.emit("yield", mapped(old.terminator.operands, env))
        attrs = {"reverse": True} if loop.attrs.get("reverse") else {}
        made = Op("for", [ZERO, WIDTH, *given], [v.type for v in given], attrs, [body], b.span)
        b.region.ops.append(made)
        return list(made.results)
