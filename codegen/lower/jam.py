"""Jamming: short rows are visited several at a time.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                              for %b in (0, %n / ROWS) {
      %a: f64 = buffer.load %w, %i                     %a0, %a1, ... = w[ROWS * %b], w[ROWS * %b + 1], ...
      for %j in (0, %m) {                              for %j in (0, %m) {
        %x: f64 = buffer.load %p, %i, %j                 %x0, %x1, ... = p[ROWS * %b, %j], p[ROWS * %b + 1, %j], ...
        %y: f64 = mul %x, %a                             %y0 = %x0 * %a0;  %y1 = %x1 * %a1;  ...
        %t: f64 = buffer.load %s, %j          =>         %t: f64 = buffer.load %s, %j
        %u: f64 = add_any_order %t, %y                   %u = %t + ((%y0 + %y1) + (%y2 + %y3))
        buffer.store %u, %s, %j                          buffer.store %u, %s, %j
        yield                                            yield
      }                                                }
      yield                                            yield
    }                                                } with {rows=4}
                                                     the rows that are left over, as they were

Of a row of, say, ten numbers, what is around the vectors takes most of the time: the turns of the loop, what fills no
vector, the chain of additions to a sum; and a row of sums that was stored a moment ago is waited for. `ROWS` rows at
once share all this. Where rows are longer than `SHORT`, which is seen at run time, nothing is gained, and the loop runs
as it was. So it does in a nest of more loops around, which is entered often and turns a few times, and where a row
computes elementary functions, which is much code. Loops without sums gain too little for their code.

The turns of the outer loop must be independent: an element that one of them writes is touched in no other one, or only
in the same inner loop, in the same turn of it, and then in the order in which it was. So every element sees the same
operations in the same order, sums in any order excepted: these add the sum of `ROWS` terms, in pairs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import inf

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.ops.declare import lookup
from ...ir.rewrite import Env, copy_op, mapped, use_counts
from ...ir.types import I64, Buffer, Scalar
from .accesses import Access, effects, root_of
from .blocking import sum_of
from .columns import ONE, ZERO, extent_of
from .lanes import is_arithmetic
from .loops import affine, difference

__all__ = ["jam_rows"]

ROWS = 4
SHORT = 64
"""The longest rows."""
FEW = 8
"""Turns of an inner loop that is unrolled altogether."""
OPERATIONS = 28
"""In a turn of the outer loop: they are written `ROWS` times more."""
CHEAP = 8
"""What an operation of a row may cost: larger ones are not written `ROWS` times more."""
PLAIN = frozenset({"buffer.load", "buffer.store", "yield"})


def jam_rows(function: Function, left_over: Collection[Op] = (), independent: Collection[Op] = ()) -> None:
    """Visit several rows at a time where it can be done. `left_over`: loops of which few turns are run; `independent`:
    loops over rows, of any length, that are known to be worth it and to have independent turns (`triangles`)."""
    Jamming(function, left_over, independent).region(function.body)


@dataclass
class Sum:
    """A row of sums: element `load` of it becomes `add` of itself and `term`, and goes back by `store`."""

    load: Op
    add: Op
    term: Value
    store: Op


class Jamming:
    def __init__(self, function: Function, left_over: Collection[Op], independent: Collection[Op]) -> None:
        self.known = independent
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        self.left_over = left_over
        self.whole = function.body
        self.uses = use_counts(function.body)

    def region(self, region: Region) -> None:
        alone = sum(1 for op in region.ops if op.regions) == 1 and region is not self.whole
        for op in list(region.ops):
            # what is in nothing but loops around it is entered often, and turns a few times each
            suits = op in self.known or (op.name == "for" and op not in self.left_over and not alone and self.fits(op))
            if suits:
                at = region.ops.index(op)
                none_left = op in self.known and turns(op) % ROWS == 0
                region.ops[at : at + none_left] = self.rows(op)
            else:
                for inner in op.regions:
                    self.region(inner)

    # which loops

    def fits(self, loop: Op) -> bool:
        """Whether a loop goes over rows, and several of them can be visited at once."""
        body = loop.regions[0]
        inner = [op for op in body.ops if op.regions]
        if not inner or "lanes" in loop.attrs or turns(loop) <= FEW:
            return False
        known = effects(loop)
        changing = known.defines
        for op in walk(body):
            if len(op.regions) > 0:
                fine = op.name == "for" and op in inner and (FEW < turns(op) <= SHORT or turns(op) == inf)
                if not fine or any(v in changing for v in op.operands[:2]):
                    return False
                if any(isinstance(v.type, Buffer) for v in op.operands):
                    return False
            elif op.name not in PLAIN and not is_cheap(op):
                return False
        if sum(1 for _ in walk(body)) > OPERATIONS or known.writes & self.arguments:
            return False
        if not any(is_sum(over) or self.sums(over, changing) for over in inner):
            return False
        if not self.carried_at_the_end(loop, inner[-1]):
            return False
        return self.independent(known.accesses, body.args[0], changing)

    def carried_at_the_end(self, loop: Op, last: Op) -> bool:
        """Whether what the loop carries, which is no memory, is first needed behind its last inner loop."""
        body = loop.regions[0]
        carried = set(body.args[1:])
        if any(isinstance(v.type, Buffer) for v in carried):
            return False
        before = body.ops[: body.ops.index(last) + 1]
        return not any(v in carried for op in (*before, *walk(Region([], before))) for v in op.operands)

    @staticmethod
    def independent(accesses: Sequence[Access], index: Value, changing: set[Value]) -> bool:
        """Whether turns touch what others write in one turn of one inner loop only, if at all."""
        written = {a.root for a in accesses if a.write}
        touched = [a for a in accesses if a.root in written]
        return all(
            runs_with(x, y, index, changing) or same_row(x, y, changing)
            for k, x in enumerate(touched)
            for y in touched[k:]
            if x.root is y.root and (x.write or y.write)
        )

    # what becomes of them

    def rows(self, loop: Op) -> list[Op]:
        """The operations that come before the loop, which keeps the rows that are left over."""
        lo, hi = loop.operands[:2]
        carried = loop.operands[2:]
        body = loop.regions[0]
        count = Const(ROWS, I64)
        new = Region()
        with Builder(new, loop.span) as b:
            if turns(loop) == inf:
                number = b.emit1("floordiv", [b.emit1("maximum", [sum_of(hi, lo, -1), ZERO]), count])
            else:
                number = Const(max(int(turns(loop)), 0) // ROWS, I64)
            short = None if loop in self.known else self.short([op for op in body.ops if op.regions])
            blocks = b.emit1("select", [short, number, ZERO]) if short is not None else number
            jammed = Region([block := Value(Scalar(I64))])
            given = [Value(v.type, v.name) for v in body.args[1:]]
            jammed.args += given
            with Builder(jammed, loop.span) as inside:
                if loop.attrs.get("reverse"):
                    base, step = sum_of(hi, block * count, -1) - ONE, -1
                else:
                    base, step = sum_of(block * count, lo), 1
                envs: list[Env] = [{body.args[0]: sum_of(base, Const(k, I64), step)} for k in range(ROWS)]
                ends = self.turn(body, envs, given, inside, loop not in self.known)
                inside.emit("yield", ends)
            attrs = {"rows": ROWS} | ({"bounded": True} if loop in self.known and turns(loop) < inf else {})
            done = Op("for", [ZERO, blocks, *carried], [v.type for v in carried], attrs, [jammed], loop.span)
            new.ops.append(done)
            covered = blocks * count
            if loop.attrs.get("reverse"):
                loop.operands[:] = [lo, sum_of(hi, covered, -1), *done.results]
            else:
                loop.operands[:] = [sum_of(covered, lo), hi, *done.results]
        if loop in self.known:
            for op in body.ops:
                if op.regions:
                    op.attrs["plain"] = True  # a few rows, at most
        return new.ops

    def short(self, inner: Sequence[Op]) -> Value | None:
        """Whether rows are short; None where that is known."""
        out: Value | None = None
        b = builder()
        for over in {tuple(op.operands[:2]): op for op in inner}.values():
            if turns(over) > SHORT:
                test = b.emit1("le", [extent_of(over), Const(SHORT, I64)])
                out = test if out is None else b.emit1("logical_and", [out, test])
        return out

    def turn(self, body: Region, envs: list[Env], given: list[Value], b: Builder, short: bool) -> list[Value]:
        """`ROWS` turns at once; `given` is what they carry. Returns what it becomes."""
        part: list[Op] = []
        for op in body.ops[:-1]:
            if op.regions:
                for env in envs:
                    b.region.ops += [copy_op(o, env) for o in part]
                part = []
                b.region.ops.append(self.inner(op, envs, {"bounded": True} | ({"short": True} if short else {})))
            else:
                part.append(op)
        totals = {add for k in range(len(given)) if (add := self.total(body, k)) is not None}
        starts = given
        for env in envs:
            env.update(zip(body.args[1:], given, strict=True))
            b.region.ops += [copy_op(o, env) for o in part if o not in totals]
            given = mapped(body.terminator.operands, env)
        for k, arg in enumerate(body.args[1:]):
            found = self.total(body, k)
            if found is not None:  # one addition, whose rounding error is kept (`llvm.sums`)
                (term,) = (v for v in found.operands if v is not arg)
                given[k] = b.emit1("add_any_order", [starts[k], in_pairs([env.get(term, term) for env in envs], b)])
        return given

    def total(self, body: Region, k: int) -> Op | None:
        """The addition to what the outer loop carries, if that is a sum in any order and used for nothing else."""
        arg, end = body.args[1 + k], body.terminator.operands[k]
        add = end.op
        if add is None or add not in body.ops or add.name != "add_any_order" or self.uses[end] != 1:
            return None
        return add if list(add.operands).count(arg) == 1 and self.uses[arg] == 1 else None

    def inner(self, loop: Op, envs: list[Env], hints: dict[str, bool]) -> Op:
        """One inner loop of all rows."""
        body = loop.regions[0]
        new = Region([Value(Scalar(I64), body.args[0].name)])
        starts: list[Value] = []
        for env in envs:
            env[body.args[0]] = new.args[0]
            starts += mapped(loop.operands[2:], env)
            for arg in body.args[1:]:
                env[arg] = Value(arg.type, arg.name)
                new.args.append(env[arg])
        sums = self.sums(loop, effects(loop).defines | envs[0].keys())
        special = {op for found in sums for op in (found.load, found.add, found.store)}
        with Builder(new, loop.span) as b:
            for env in envs:
                new.ops += [copy_op(op, env) for op in body.ops[:-1] if op not in special]
            for found in sums:
                self.add(found, envs, b)
            b.emit("yield", [v for env in envs for v in mapped(body.terminator.operands, env)])
        made = Op(
            "for", [*loop.operands[:2], *starts], [v.type for v in starts], {**loop.attrs, **hints}, [new], loop.span
        )
        results = iter(made.results)
        for env in envs:
            for old in loop.results:
                env[old] = next(results)
                env[old].name = old.name
        return made

    def sums(self, loop: Op, changing: Collection[Value]) -> list[Sum]:
        """The rows of sums of an inner loop."""
        return [found for op in loop.regions[0].ops if (found := self.sum_at(op, loop, changing)) is not None]

    def sum_at(self, store: Op, loop: Op, changing: Collection[Value]) -> Sum | None:
        """What a store adds to an element that is the same for all rows, if nothing else in the loop touches these."""
        body = loop.regions[0]
        add = store.operands[0].op if store.name == "buffer.store" else None
        if add is None or add not in body.ops or add.name not in ("add", "add_any_order") or self.uses[add.result] != 1:
            return None
        place = store.operands[1:]
        terms = [v for position in place[1:] for v in affine(position)[0]]
        if body.args[0] not in terms or any(v in changing and v is not body.args[0] for v in terms):
            return None
        for old, term in zip(add.operands, reversed(add.operands), strict=True):
            load = old.op
            if load is None or load not in body.ops or load.name != "buffer.load" or load.operands != place:
                continue
            if self.uses[old] == 1 and (add.name == "add_any_order" or old is add.operands[0]):
                root = root_of(place[0])
                others = [a for a in effects(loop).accesses if a.root is root and a.op not in (load, store)]
                return None if others else Sum(load, add, term, store)
        return None

    @staticmethod
    def add(found: Sum, envs: list[Env], b: Builder) -> None:
        """One element of a row of sums: in any order by pairs, else one row after the other."""
        place = mapped(found.load.operands, envs[0])
        total = b.emit1("buffer.load", place)
        terms = [env.get(found.term, found.term) for env in envs]
        if found.add.name == "add_any_order":
            terms = [in_pairs(terms, b)]
        for term in terms:
            total = b.emit1(found.add.name, [total, term])
        b.emit("buffer.store", [total, *place])


def in_pairs(terms: Sequence[Value], b: Builder) -> Value:
    """The sum of `ROWS` terms, in pairs."""
    while len(terms) > 1:
        terms = [b.emit1("add_any_order", list(pair)) for pair in zip(terms[::2], terms[1::2], strict=True)]
    return terms[0]


def is_sum(loop: Op) -> bool:
    """Whether a loop carries numbers, each of which waits for the one before."""
    return any(v.dtype.is_float for v in loop.results)


def is_cheap(op: Op) -> bool:
    """Whether an operation is arithmetic that takes little code."""
    return is_arithmetic(op) and lookup(op.name).cost < CHEAP and isinstance(op.result.type, Scalar)


def turns(loop: Op) -> float:
    """How often a loop turns, as far as that is known."""
    lo, hi = loop.operands[:2]
    if isinstance(lo, Const) and isinstance(hi, Const):
        return int(hi.value) - int(lo.value)
    terms, constant = difference(hi, lo)
    return inf if terms else constant


def same_row(x: Access, y: Access, changing: set[Value]) -> bool:
    """Whether two accesses, in one inner loop, can only be of the same element in one turn of that."""
    if len(x.loops) < 2 or len(y.loops) < 2 or x.loops[1].index is not y.loops[1].index:
        return False
    return runs_with(x, y, x.loops[1].index, changing)


def runs_with(x: Access, y: Access, index: Value, changing: set[Value]) -> bool:
    """Whether some axis of both positions runs with an index, in the same way, whatever else changes."""
    if x.position is None or y.position is None:
        return False
    for p, q in zip(x.position, y.position, strict=True):
        form = affine(p)
        if form == affine(q) and index in form[0] and not any(v in changing and v is not index for v in form[0]):
            return True
    return False
