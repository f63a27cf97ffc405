"""Products of vectors in a loop are made for many turns at once, by products of matrices.

In: a function of the array IR. Out: the same function, or an equal one (sums of products in another order) in which
loops that multiply one vector in each turn go in blocks of `BLOCK` turns. The vectors of a block are the rows of a
*panel*, or already stand side by side in a matrix:

    %acc: f64[?,?] = for %i in (0, %n) (%a = %zero) {          %acc = for %k in (0, %blocks) (%a = %zero) {
      %g: f64[?] = ...                                           ... %lo, %hi, %count = %hi - %lo
      %u: f64[?] = index %x, %i {spec=":i"}                      %g: f64[?,?] = for %i in (%lo, %hi) (%p = empty) {
      %p: f64[?,?] = mul broadcast %u, broadcast %g       =>       ... yield update %p, %g, row %i - %lo
      %b: f64[?,?] = accumulate %a, %p {spec="::"}               }
      yield %b                                                   %u: f64[?,?] = index %x, %lo, %count, 1 {spec=":s"}
    }                                                            %p: f64[?,?] = matmul %u, %g
                                                                 yield accumulate %a, %p {spec="::"} }

What a matrix times a vector gives is needed in the same turn, mostly: then the turns of a block run up to the product,
then come all of the products, then the rest of the turns. `turns` says what can be done so. Where a range of positions
moves with the loop, the part that all turns of a block have in common is left to the product, and the rest is done in
each turn as before: no element takes part in a product that it was not in, so what is not finite stays where it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ...ir.affine import Facts, Linear
from ...ir.core import Builder, Const, Function, Op, Region, Value, walk
from ...ir.passes import cse, dce, licm, simplify
from ...ir.rewrite import Rewriter, clone_op
from ...ir.types import I64, Scalar
from . import part_products as _operations
from .turns import Applied, Line, Outer, Range, Turns, reads, seen_by_loops, turns_of_loop

__all__ = ["make_panels"]

BLOCK = 32
LEVELS = 4
"""How often the rest of the turns of a block is looked through for products in its turn."""
INTEGER = Scalar(I64)
ZERO, ONE = Const(0, I64), Const(1, I64)
MATRICES = frozenset({"accumulate", "reduce_sum"})


def make_panels(function: Function) -> Function:
    """The function with products made in blocks; the same object where there are none."""
    if not any(op.name == "for" and multiplies(op) for op in walk(function.body)):
        return function
    out = Panels(function, False).function(function)
    if out is function:
        return function
    for _ in range(LEVELS):
        for run in (simplify.run, cse.run, licm.run, dce.run):
            out = run(out)
        deeper = Panels(out, True).function(out)
        if deeper is out:
            break
        out = deeper
    return out


def multiplies(loop: Op) -> bool:
    """Whether a loop's body has what may be a product of a vector."""
    ops = loop.regions[0].ops
    return any(op.name == "matmul" or (op.name in MATRICES and op.operands[0].rank >= 2) for op in ops)


class Panels(Rewriter):
    """One pass over a function. `again`: only over what an earlier one has left after the products of a block."""

    def __init__(self, function: Function, again: bool) -> None:
        super().__init__()
        self.again = again
        self.facts = Facts(function)
        self.exist = seen_by_loops(function)
        self.found: dict[Op, Turns | None] = {}
        self.seen = seen_outside(function)

    def turns(self, op: Op) -> Turns | None:
        if op not in self.found:
            self.found[op] = turns_of_loop(op, self.facts, self.exist[op], not self.again)
        return self.found[op]

    def visit(self, op: Op) -> None:
        if op.name != "for" or bool(op.attrs.get("rest")) != self.again:
            self.copy(op)
            return
        inner = [] if self.again else [x for r in op.regions for x in walk(r) if x.name == "for"]
        found = None if any(self.turns(x) for x in inner) else self.turns(op)
        if found is None or (op in self.seen and has_checks(op)):
            self.copy(op)
            return
        self.changed = True
        with Builder(Region([], self.out), op.span) as b:
            if self.again:
                Blocks(self, found, b).emit_again()
            else:
                Blocks(self, found, b).emit()


def seen_outside(function: Function) -> set[Op]:
    """What the caller's arrays are computed by, where a function writes to them: if a check fails half way, they show
    how far it came, so that checks and writes keep their order."""
    results = function.body.terminator.operands
    pending = [results[k] for k in function.attrs.get("donated") or {}]
    owner = {arg: op for op in walk(function.body) for region in op.regions for arg in region.args}
    found: set[Op] = set()
    while pending:
        value = pending.pop()
        op = value.op or owner.get(value)
        if op is not None and op not in found:
            found.add(op)
            pending += [*op.operands, *(x for region in op.regions for inner in walk(region) for x in inner.operands)]
    return found


def has_checks(op: Op) -> bool:
    from ...ir.ops import REGISTRY

    return any(REGISTRY[x.name].effect == "check" for r in op.regions for x in walk(r))


@dataclass(frozen=True)
class Span:
    """The positions of a `Range` in one block: the least start, the greatest start, ..."""

    low: Value
    high: Value
    start: Value
    stop: Value
    """All positions of any turn are in [low, high); those of all turns are [start, stop)."""


@dataclass(frozen=True)
class Part:
    """A factor: the part of a matrix that begins at `at`, or (`turned`) the transpose of that; its own extents."""

    matrix: Value
    at: tuple[Value, Value]
    extents: tuple[Value, Value]
    turned: bool

    def transposed(self) -> Part:
        return Part(self.matrix, self.at, (self.extents[1], self.extents[0]), not self.turned)


class Blocks:
    """One loop being rewritten."""

    def __init__(self, owner: Panels, turns: Turns, b: Builder) -> None:
        self.owner, self.turns, self.b = owner, turns, b
        self.op = turns.op
        self.region = self.op.regions[0]
        self.i, self.args = self.region.args[0], self.region.args[1:]
        self.yields = self.region.terminator.operands
        self.links = {link: s.slot for s in turns.sums for link in s.links}
        self.sums = {s.slot for s in turns.sums}

    # ---------------------------------------------------------------- numbers

    def number(self, form: Linear, i: Value | None = None) -> Value:
        """The value of a form, for a value of the loop's variable."""
        total: Value | None = None
        for atom, factor in form.terms.items():
            if atom is self.i:
                assert i is not None
                value = i
            elif isinstance(atom, tuple):
                value = self.b.emit1("dim", [self.owner.get(atom[1])], {"axis": atom[2]})
            else:
                assert isinstance(atom, Value)
                value = self.owner.get(atom)
            if abs(factor) != 1:
                value = self.b.emit1("mul", [value, Const(abs(factor), I64)])
            if total is None:
                total = value if factor > 0 else self.b.emit1("neg", [value])
            else:
                total = self.b.emit1("add" if factor > 0 else "sub", [total, value])
        if total is None:
            return Const(form.const, I64)
        return self.plus(total, Const(form.const, I64)) if form.const else total

    def plus(self, a: Value, b: Value) -> Value:
        return self.b.emit1("add", [a, b])

    def minus(self, a: Value, b: Value) -> Value:
        if type(b) is Const and b.value == 0:
            return a
        return self.b.emit1("sub", [a, b])

    def span(self, r: Range) -> Span:
        """A range in the block at hand."""
        ends = self.last, self.lo
        first, last = ends if r.up else ends[::-1]  # where a moving end is greatest, and least
        low = self.number(r.start, last)
        start = self.number(r.start, first) if r.moves == "start" else low
        high = self.number(r.stop, first)
        stop = self.number(r.stop, last) if r.moves == "stop" else high
        return Span(low, high, start, stop)

    # ---------------------------------------------------------------- the blocks

    def emit(self) -> None:
        b, op, owner = self.b, self.op, self.owner
        lo0, hi0 = (owner.get(v) for v in op.operands[:2])
        size = Const(BLOCK, I64)
        count = b.emit1("floordiv", [self.plus(self.minus(hi0, lo0), Const(BLOCK - 1, I64)), size], span=op.span)
        inits = [owner.get(v) for v in op.operands[2:]]
        block = Value(INTEGER, "block")
        carried = [Value(a.type, a.name) for a in self.args]
        region = Region([block, *carried])
        with Builder(region, op.span) as self.b:
            self.lo = self.plus(lo0, self.b.emit1("mul", [block, size]))
            self.hi = self.b.emit1("minimum", [self.plus(self.lo, size), hi0])
            self.count = self.minus(self.hi, self.lo)
            self.last = self.minus(self.hi, ONE)
            self.b.emit("yield", self.one_block(carried))
        self.b = b
        results = [r.type for r in op.results]
        names = [r.name for r in op.results]
        new = Op("for", [ZERO, count, *inits], results, {**op.attrs, "block": BLOCK}, [region], op.span, names)
        b.region.ops.append(new)
        owner.env.update(zip(op.results, new.results))

    def emit_again(self) -> None:
        """For a loop over the turns of one block."""
        self.lo, self.hi = (self.owner.get(v) for v in self.op.operands[:2])
        self.count, self.last = self.minus(self.hi, self.lo), self.minus(self.hi, ONE)
        state = self.one_block([self.owner.get(v) for v in self.op.operands[2:]])
        self.owner.env.update(zip(self.op.results, state))

    def one_block(self, carried: Sequence[Value]) -> list[Value]:
        """The operations of a block; what it yields."""
        self.state = list(carried)
        self.panels: dict[tuple[Value, Linear], tuple[Range, Span]] = {}
        self.full: dict[tuple[Value, Linear], Value] = {}
        self.spans: dict[Range, Span] = {}
        outer_ranges = [r for outer in self.turns.outer.values() for r in outer.ranges]
        for r in [*outer_ranges, *(r for applied in self.turns.applied.values() for r in applied.ranges)]:
            self.span_of(r)
        for outer in self.turns.outer.values():
            for pair in outer.pairs:
                for x, r in zip(pair, outer.ranges):
                    self.prepare(x, r)
        for applied in self.turns.applied.values():
            self.prepare(applied.vector, applied.ranges[applied.inner])
        for value in self.turns.kept:
            if value.is_array:
                length = self.owner.facts.resolve(self.owner.facts.extent(value, 0))
                self.prepare(value, Range(Linear(), length), True)
        self.first_half()
        self.products = {}
        for op, applied in self.turns.applied.items():
            if applied.into is None:
                self.products[op] = self.product(applied)
        self.second_half()
        for applied in self.turns.applied.values():
            if applied.into is not None:
                self.add_lines(applied)
        for outer in self.turns.outer.values():
            self.add_outer(outer)
        return self.state

    def span_of(self, r: Range) -> Span:
        if r not in self.spans:
            self.spans[r] = self.span(r)
        return self.spans[r]

    def prepare(self, value: Value, r: Range, always: bool = False) -> None:
        """Note what a panel has to be made of, unless the vectors stand in a matrix."""
        line = None if always else self.line(value, r)
        if line is None:
            self.panels[value, r.start] = (r, self.span_of(r))

    def line(self, value: Value, r: Range) -> Line | None:
        found = self.turns.lines.get(value)
        if found is None or self.i in (found.start - r.start).terms:
            return None
        return found

    # ---------------------------------------------------------------- turns

    def first_half(self) -> None:
        """The turns up to the products, and the heads of what is only added."""
        turns, b = self.turns, self.b
        sums = {self.links[link] for link in self.links if link not in turns.after and not self.waits(link)}
        own = [k for k, a in enumerate(self.args) if k in sums or (k not in self.sums and a not in turns.late)]
        scalars = [v for v in turns.kept if not v.is_array]
        keys = list(self.panels)
        fresh = [
            b.emit1("empty", [self.count, self.minus(s.high, s.low)], {"dtype": v.dtype}, names=[v.name])
            for (v, _), (_, s) in self.panels.items()
        ]
        fresh += [b.emit1("empty", [self.count], {"dtype": v.dtype}, names=[v.name]) for v in scalars]
        region = Region([Value(INTEGER, self.i.name)])
        env = dict(self.owner.env)
        env[self.i] = i = region.args[0]
        env.update(zip(self.args, self.state))
        for k in own:
            env[self.args[k]] = new = Value(self.args[k].type, self.args[k].name)
            region.args.append(new)
        panels = [Value(p.type, p.name) for p in fresh]
        region.args += panels
        with Builder(region, self.op.span) as self.b:
            for op in self.region.ops[:-1]:
                if op in turns.outer:
                    env[op.result] = self.outer_heads(turns.outer[op], env, i)
                elif (applied := self.applied_into(op)) is not None:
                    env[op.result] = self.line_head(applied, env, i)
                elif op in turns.after or op in turns.applied:
                    if op in self.links:
                        env[op.result] = env[op.operands[0]]
                else:
                    clone_op(op, env, self.b)
            row = self.minus(i, self.lo)
            for k, (value, _) in enumerate(keys):
                r, span = self.panels[keys[k]]
                start = self.number(r.start, i)
                at = [row, self.minus(start, span.low), self.minus(self.number(r.stop, i), start), ONE]
                panels[k] = self.b.emit1("update", [panels[k], env.get(value, value), *at], {"spec": "is"})
            for k, value in enumerate(scalars, len(keys)):
                panels[k] = self.b.emit1("update", [panels[k], env.get(value, value), row], {"spec": "i"})
            self.b.emit("yield", [env.get(self.yields[k], self.yields[k]) for k in own] + panels)
        self.b = b
        if own or panels or has_checks(self.op):
            inits = [*(self.state[k] for k in own), *fresh]
            results = self.loop(region, inits, False)
            for k, value in zip(own, results):
                self.state[k] = value
            made = results[len(own) :]
            self.full = dict(zip(keys, made))
            self.scalars = dict(zip(scalars, made[len(keys) :]))

    def loop(self, region: Region, inits: Sequence[Value], rest: bool) -> list[Value]:
        types = [v.type for v in inits]
        names = [v.name for v in region.args[1:]]
        attrs = {k: v for k, v in self.op.attrs.items() if k != "rest"} | ({"rest": True} if rest else {})
        new = Op("for", [self.lo, self.hi, *inits], types, attrs, [region], self.op.span, names)
        self.b.region.ops.append(new)
        return new.results

    def waits(self, link: Op) -> bool:
        """Whether nothing of an addition is done in its own turn."""
        outer = self.turns.outer.get(link)
        if outer is not None:
            return not any(r.moves for r in outer.ranges)
        applied = self.applied_into(link)
        return applied is not None and not applied.ranges[applied.inner].moves

    def applied_into(self, link: Op) -> Applied | None:
        return next((a for a in self.turns.applied.values() if a.into is link), None)

    def second_half(self) -> None:
        """The rest of the turns."""
        turns, b = self.turns, self.b
        if not turns.after and not any(a in turns.late for a in self.args):
            return
        sums = {slot for link, slot in self.links.items() if link in turns.after}
        own = [k for k, a in enumerate(self.args) if k in sums or a in turns.late]
        region = Region([Value(INTEGER, self.i.name)])
        env = dict(self.owner.env)
        env[self.i] = i = region.args[0]
        env.update(zip(self.args, self.state))
        for k in own:
            env[self.args[k]] = new = Value(self.args[k].type, self.args[k].name)
            region.args.append(new)
        known: set[Value] = {self.i, *(self.args[k] for k in {*own, *self.sums})}
        with Builder(region, self.op.span) as self.b:
            for op in self.region.ops[:-1]:
                if op in turns.after:
                    for value in reads(op):
                        self.fetch(value, env, known, i)
                    clone_op(op, env, self.b)
                    known.update(op.results)
                elif op in self.links:
                    env[op.result] = env[op.operands[0]]
                    known.add(op.result)
            for k in own:
                self.fetch(self.yields[k], env, known, i)
            self.b.emit("yield", [env.get(self.yields[k], self.yields[k]) for k in own])
        self.b = b
        for k, value in zip(own, self.loop(region, [self.state[k] for k in own], True)):
            self.state[k] = value

    def fetch(self, value: Value, env: dict[Value, Value], known: set[Value], i: Value) -> None:
        """Let the second half have what the first one computed."""
        if value in known or type(value) is Const or value in self.owner.env:
            return
        op = value.op
        if op in self.turns.applied:
            env[value] = self.product_row(self.turns.applied[op], env, known, i)
        elif value in self.turns.kept:
            row = self.minus(i, self.lo)
            if value.is_array:
                length = self.owner.facts.resolve(self.owner.facts.extent(value, 0))
                env[value] = self.panel_row(value, Range(Linear(), length), i)
            else:
                env[value] = self.b.emit1("index", [self.scalars[value], row], {"spec": "i"})
        elif op is not None and self.inside(op):
            for x in op.operands:
                self.fetch(x, env, known, i)
            clone_op(op, env, self.b)
        known.add(value)

    def inside(self, op: Op) -> bool:
        return op in self.members

    @property
    def members(self) -> set[Op]:
        if not hasattr(self, "_members"):
            self._members = set(self.region.ops)
        return self._members

    def panel_row(self, value: Value, r: Range, i: Value) -> Value:
        span = self.span_of(r)
        start = self.number(r.start, i)
        at = [self.minus(i, self.lo), self.minus(start, span.low), self.minus(self.number(r.stop, i), start), ONE]
        return self.b.emit1("index", [self.full[value, r.start], *at], {"spec": "is"})

    # ---------------------------------------------------------------- heads

    def head(self, r: Range, i: Value) -> tuple[Value, Value]:
        """(start, length) of what a turn has beyond the common part of a range that moves."""
        span = self.span_of(r)
        if r.moves == "start":
            start = self.number(r.start, i)
            return start, self.minus(span.start, start)
        return span.stop, self.minus(self.number(r.stop, i), span.stop)

    def common(self, r: Range) -> tuple[Value, Value]:
        span = self.span_of(r)
        return span.start, self.minus(span.stop, span.start)

    def cut(self, value: Value, r: Range, part: tuple[Value, Value], i: Value) -> Value:
        """A part of a vector that belongs to a range."""
        start = self.minus(part[0], self.number(r.start, i))
        return self.b.emit1("index", [value, start, part[1], ONE], {"spec": "s"})

    def selected(
        self, spec: str, parts: Sequence[tuple[Value, ...]], axes: Sequence[int], ranges: Sequence[tuple[Value, Value]]
    ) -> tuple[str, list[Value]]:
        """A spec and its positions with other ranges."""
        letters, positions = list(spec), []
        at = dict(zip(axes, ranges))
        for axis in range(len(spec)):
            if axis in at:
                letters[axis] = "s"
                positions += [*at[axis], ONE]
            else:
                positions.append(self.owner.get(parts[axis][0]))
        return "".join(letters), positions

    def outer_heads(self, outer: Outer, env: dict[Value, Value], i: Value) -> Value:
        """What is added in the turn itself: beyond the common rows all columns, beyond the common columns the rest."""
        total = env[outer.op.operands[0]]
        rows, columns = outer.ranges
        whole = self.number(columns.start, i), self.minus(self.number(columns.stop, i), self.number(columns.start, i))
        pieces = []
        if rows.moves:
            pieces.append((self.head(rows, i), whole))
        if columns.moves:
            pieces.append((self.common(rows), self.head(columns, i)))
        for (r, c), (u, v) in itertools.product(pieces, outer.pairs):
            left = self.b.emit1("broadcast", [self.cut(env.get(u, u), rows, r, i), r[1], c[1]], {"axes": (0,)})
            right = self.b.emit1("broadcast", [self.cut(env.get(v, v), columns, c, i), r[1], c[1]], {"axes": (1,)})
            product = self.b.emit1("mul", [left, right])
            spec, at = self.selected(outer.op.attrs["spec"], outer.parts, outer.axes, [r, c])
            total = self.b.emit1("accumulate", [total, product, *at], {"spec": spec})
        return total

    def matrix_part(self, applied: Applied, ranges: Sequence[tuple[Value, Value]]) -> Value:
        """That part of a matrix, with the axis that is summed over last."""
        spec, at = self.selected(applied.spec, applied.parts, applied.axes, ranges)
        part = self.b.emit1("index", [self.owner.get(applied.matrix), *at], {"spec": spec})
        return part if applied.inner == 1 else self.b.emit1("transpose", [part], {"perm": (1, 0)})

    def applied_head(self, applied: Applied, vector: Value, i: Value) -> Value:
        inner, other = applied.ranges[applied.inner], applied.ranges[1 - applied.inner]
        start = self.number(other.start, i)
        part, whole = self.head(inner, i), (start, self.minus(self.number(other.stop, i), start))
        ranges = (whole, part) if applied.inner == 1 else (part, whole)
        return self.times(self.matrix_part(applied, ranges), self.cut(vector, inner, part, i), applied.inner)

    def times(self, matrix: Value, vector: Value, inner: int) -> Value:
        if inner == 0 and matrix.op is not None and matrix.op.name == "transpose":
            return self.b.emit1("matmul", [vector, matrix.op.operands[0]])
        return self.b.emit1("matmul", [matrix, vector])

    def line_head(self, applied: Applied, env: dict[Value, Value], i: Value) -> Value:
        link = applied.into
        assert link is not None
        total = env[link.operands[0]]
        if not applied.ranges[applied.inner].moves:
            return total
        value = self.applied_head(applied, env.get(applied.vector, applied.vector), i)
        positions = [env.get(x, x) for x in link.operands[2:]]
        return self.b.emit1("accumulate", [total, value, *positions], dict(link.attrs))

    # ---------------------------------------------------------------- products

    def side_by_side(self, value: Value, r: Range) -> Part:
        """The common parts of a block's vectors as the rows of a matrix."""
        start, length = self.common(r)
        line = self.line(value, r)
        if line is None or (value, r.start) in self.panels:
            panel = self.full[value, r.start]
            return Part(panel, (ZERO, self.minus(start, self.span_of(r).low)), (self.count, length), False)
        first = self.number(line.offset + Linear(0, {self.i: 1}), self.lo)
        moved = self.plus(start, self.number(line.start - r.start))
        part = Part(self.owner.get(line.matrix), (first, moved), (self.count, length), False)
        return part if line.axis == 0 else Part(part.matrix, (moved, first), part.extents, True)

    def part(self, applied: Applied) -> Part:
        """The part of a matrix for all positions that any turn has in its result; they number its columns."""
        inner, other = applied.inner, 1 - applied.inner
        span = self.span_of(applied.ranges[other])
        ranges = [self.common(applied.ranges[inner]), (span.low, self.minus(span.high, span.low))]
        ordered = ranges if inner == 0 else ranges[::-1]
        matrix = self.owner.get(applied.matrix)
        if matrix.rank > 2:
            spec, at = self.selected(applied.spec, applied.parts, applied.axes, ordered)
            matrix = self.b.emit1("index", [matrix, *at], {"spec": spec})
            ordered = [(ZERO, length) for _, length in ordered]
        at2 = (ordered[0][0], ordered[1][0])
        return Part(matrix, at2, (ranges[0][1], ranges[1][1]), inner == 1)

    def add(self, total: Value, at: tuple[Value, Value], left: Part, right: Part) -> Value:
        """A sum, to a part of which a product is added."""
        flags = ("t" if left.turned else "n") + ("t" if right.turned else "n")
        numbers = [*at, *left.at, *right.at, left.extents[0], right.extents[1], left.extents[1]]
        return self.b.emit1("add_product", [total, left.matrix, right.matrix, *numbers], {"flags": flags})

    def product(self, applied: Applied) -> Value:
        """A row for each turn."""
        vectors, part = self.side_by_side(applied.vector, applied.ranges[applied.inner]), self.part(applied)
        zero = self.b.emit1("fill", [Const(0, applied.op.result.dtype), vectors.extents[0], part.extents[1]])
        return self.add(zero, (ZERO, ZERO), vectors, part)

    def product_row(self, applied: Applied, env: dict[Value, Value], known: set[Value], i: Value) -> Value:
        inner, other = applied.ranges[applied.inner], applied.ranges[1 - applied.inner]
        start = self.number(other.start, i)
        at = [self.minus(i, self.lo), self.minus(start, self.span_of(other).low)]
        at += [self.minus(self.number(other.stop, i), start), ONE]
        row = self.b.emit1("index", [self.products[applied.op], *at], {"spec": "is"})
        if inner.moves:
            vector = applied.vector
            if (vector, inner.start) in self.full:
                here = self.panel_row(vector, inner, i)
            else:
                self.fetch(vector, env, known, i)
                here = env[vector]
            row = self.plus(row, self.applied_head(applied, here, i))
        return row

    def add_lines(self, applied: Applied) -> None:
        link = applied.into
        assert link is not None and applied.along is not None
        vectors, part = self.side_by_side(applied.vector, applied.ranges[applied.inner]), self.part(applied)
        first = self.number(applied.offset + Linear(0, {self.i: 1}), self.lo)
        start = self.number(applied.along.start)
        slot = self.links[link]
        if applied.line == 0:  # a line for each turn, under one another
            self.state[slot] = self.add(self.state[slot], (first, start), vectors, part)
        else:
            self.state[slot] = self.add(self.state[slot], (start, first), part.transposed(), vectors.transposed())

    def add_outer(self, outer: Outer) -> None:
        rows, columns = outer.ranges
        common = [self.common(rows), self.common(columns)]
        slot = self.links[outer.op]
        for u, v in outer.pairs:
            left, right = self.side_by_side(u, rows).transposed(), self.side_by_side(v, columns)
            total = self.state[slot]
            if total.rank == 2:
                self.state[slot] = self.add(total, (common[0][0], common[1][0]), left, right)
                continue
            zero = self.b.emit1("fill", [Const(0, total.dtype), left.extents[0], right.extents[1]])
            product = self.add(zero, (ZERO, ZERO), left, right)
            spec, at = self.selected(outer.op.attrs["spec"], outer.parts, outer.axes, common)
            self.state[slot] = self.b.emit1("accumulate", [total, product, *at], {"spec": spec})


_ = _operations
