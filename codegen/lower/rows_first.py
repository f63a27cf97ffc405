"""Rows first: loops down the columns of a matrix become sweeps over its rows.

In: a scheduled function, changed in place. Out: nothing.

    for %j in (0, %n) {                              for %j in (0, %n) { store 0.0, %ts, %j }
      %t: f64 = for %k in (0, %m) (%s = 0.0) {       for %k in (0, %m) {
        %a: f64 = buffer.load %x, %k, %j               %b: f64 = buffer.load %y, %k
        %b: f64 = buffer.load %y, %k                   for %j in (0, %n) {
        %p: f64 = mul %a, %b                             %s: f64 = buffer.load %ts, %j
        %u: f64 = add_any_order %s, %p                   %a: f64 = buffer.load %x, %k, %j
        yield %u                                         ...
      }                                        =>        buffer.store %u, %ts, %j
      buffer.store %t, %z, %j                          }
      for %k in (0, %m) {                            }
        ...                                          for %j in (0, %n) { %z[%j] = %ts[%j] }
        buffer.store %v, %w, %k, %j                  for %k in (0, %m) { for %j in (0, %n) { ... } }
      }
      yield                                          and the loop as it was, for few columns
    }

Down a column, every element is in another cache line, no vector is read at once, and what a column adds up waits for
the term before. The parts of a turn follow one after the other, each for all columns: first the checks, in their order,
then each store and each inner loop, whose own loop comes to stand outside. What an inner loop carries stands in a row
of memory meanwhile. What a part needs of the arithmetic of its turn is computed again there.

The turns must be independent: what one of them writes, no other one touches. Then every element sees the same
operations in the same order. Checks come before what earlier turns write, so nothing with checks is changed that writes
to arrays of the caller's. Sums in any order are added up term by term, of which there are at most `TERMS`, seen at run
time; so are the columns, at least `COLUMNS`. What runs in lanes already (`lanes`), whose sums are in registers, stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.ops.declare import lookup
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import I64, Buffer, Scalar
from .accesses import CHECKS, Access, apart, effects, root_of
from .blocking import sum_of
from .columns import ZERO, row_length
from .jam import runs_with, turns
from .lanes import is_arithmetic
from .loops import affine

__all__ = ["rows_first"]

COLUMNS = 8
TERMS = 1024
FEW = 8
"""Turns of an inner loop that LLVM unrolls."""
OPERATIONS = 48
"""In a turn: they are written twice."""
AGAIN = 6
"""Operations that are computed again for an element,"""
CHEAP = 4
"""each of which costs less than this."""


def rows_first(function: Function, few: Iterable[Op] = ()) -> set[Op]:
    """See the module's docstring. `few`: loops of which few turns are left over; returns them and new ones."""
    left_over = set(few)
    for top in list(function.body.ops):
        if top.regions:
            Finder(function, top, left_over).operation(function.body, top)
    return left_over


@dataclass
class Columns:
    """A loop over columns. `parts`: its checks, stores and inner loops, in their order, with what each needs of the
    turn's arithmetic; `width`: as many elements as a row of memory for what inner loops carry has to have."""

    loop: Op
    varying: set[Value]
    checks: list[Op] = field(default_factory=list)
    parts: list[Op] = field(default_factory=list)
    needed: dict[Op, list[Op]] = field(default_factory=dict)
    width: Value | None = None


class Finder:
    """Looks for such loops in an operation `top` of the function's body, in front of which there is place for rows."""

    def __init__(self, function: Function, top: Op, left_over: set[Op]) -> None:
        self.function = function
        self.top = top
        self.left_over = left_over
        self.arguments = {a for a in function.args if isinstance(a.type, Buffer)}
        layouts = function.attrs["layouts"]
        self.strided = {a for a, layout in zip(function.args, layouts, strict=True) if layout in ("A", "F")}

    def operation(self, region: Region, op: Op) -> None:
        if op.attrs.get("lanes"):
            return
        found = self.columns(op) if op.name == "for" and op not in self.left_over else None
        if found is not None:
            made = self.by_rows(found)
            at = region.ops.index(op)
            region.ops[at:at] = made
            self.left_over.add(op)
            return
        for inner in op.regions:
            for nested in list(inner.ops):
                self.operation(inner, nested)

    # which loops

    def columns(self, loop: Op) -> Columns | None:
        body = loop.regions[0]
        inner = [op for op in body.ops if op.regions]
        if len(loop.operands) > 2 or loop.attrs or not inner or turns(loop) < COLUMNS:
            return None
        if sum(1 for _ in walk(body)) > OPERATIONS or any(not self.is_simple(op) for op in inner):
            return None
        known = effects(loop)
        if any(a.position is None for a in known.accesses):
            return None
        if known.writes & self.arguments and (known.checks or len(known.roots & self.arguments) > 1):
            return None  # arrays of the caller's: they may overlap, and are seen if the program fails
        if any(v in known.defines for op in inner for v in op.operands[:2]):
            return None
        index = body.args[0]
        if not self.independent(known.accesses, index, known.defines):
            return None
        found = Columns(loop, varying(body))
        for op in body.ops[:-1]:
            if op.name in CHECKS:
                found.checks.append(op)
            elif op.regions or op.name == "buffer.store":
                found.parts.append(op)
            elif op.name != "buffer.load" and not is_arithmetic(op):
                return None
        for op in (*found.checks, *found.parts):
            if not self.again(found, op, known.writes):
                return None
        gains = [self.gain(found, op) for op in inner]
        if any(gain is None for gain in gains):
            return None
        if any(op.results for op in inner):
            found.width = next(
                (
                    w
                    for gain in gains
                    if gain is not None and (w := row_length(self.function, self.top, gain)) is not None
                ),
                None,
            )
            if found.width is None:
                return None
        return found

    @staticmethod
    def is_simple(loop: Op) -> bool:
        """Whether a loop is one over elements that carries numbers."""
        if loop.name != "for" or turns(loop) <= FEW or not loop.attrs.keys() <= {"reverse"}:
            return False
        if any(not isinstance(v.type, Scalar) or not v.dtype.is_float for v in loop.results):
            return False
        for op in loop.regions[0].ops[:-1]:
            if op.name not in ("buffer.load", "buffer.store") and not is_arithmetic(op):
                return False
            if any(isinstance(v.type, Buffer) for v in op.results):
                return False
        return True

    @staticmethod
    def independent(accesses: list[Access], index: Value, changing: set[Value]) -> bool:
        """Whether no turn touches what another one writes."""
        return all(
            runs_with(x, y, index, changing) or apart(x, y, [])
            for k, x in enumerate(accesses)
            for y in accesses[k:]
            if x.root is y.root and (x.write or y.write)
        )

    def again(self, found: Columns, part: Op, written: set[Value]) -> bool:
        """Find what a part needs of the arithmetic of its turn, and whether it can be computed there."""
        ops = found.loop.regions[0].ops
        at = ops.index(part)
        inside = {v: op for op in ops for v in op.results}
        used = {v for op in (part, *(x for r in part.regions for x in walk(r))) for v in op.operands}
        needed: set[Op] = set()
        work = [inside[v] for v in used if v in inside]
        while work:
            op = work.pop()
            if op in needed:
                continue
            if op.name in CHECKS or (op.regions and part.name in CHECKS):
                return False
            needed.add(op)
            if not op.regions:
                work += [inside[v] for v in op.operands if v in inside]
        for op in needed:
            if op.name == "buffer.load" and (root := root_of(op.operands[0])) in written:
                between = ops[ops.index(op) + 1 : at + 1 if part.regions else at]
                if part.name in CHECKS or any(root in effects(x).writes for x in between):
                    return False
            elif not op.regions and op.name != "buffer.load" and part.regions and lookup(op.name).cost >= CHEAP:
                return False
        if part.regions and len(needed) > AGAIN:
            return False
        found.needed[part] = [op for op in ops if op in needed]
        return True

    def gain(self, found: Columns, inner: Op) -> Value | None:
        """A matrix that an inner loop runs down the columns of; None where there is none, or where it runs along a
        row."""
        index, down = found.loop.regions[0].args[0], inner.regions[0].args[0]
        matrix: Value | None = None
        for op in (*found.needed[inner], *inner.regions[0].ops):
            if op.name not in ("buffer.load", "buffer.store"):
                continue
            first = 1 if op.name == "buffer.load" else 2
            buffer, position = op.operands[first - 1], op.operands[first:]
            forms = [affine(p)[0] for p in position]
            if not any(v in found.varying for form in forms for v in form):
                continue
            *others, last = forms
            if last.get(index) != 1 or down in last or buffer in self.strided:
                return None
            if any(v in found.varying for form in (*others, last) for v in form if v is not index or form is not last):
                return None
            if any(down in form for form in others):
                matrix = matrix or buffer
        return matrix

    # what becomes of them

    def by_rows(self, found: Columns) -> list[Op]:
        """The operations that come before the loop, which keeps what is not done by rows."""
        loop = found.loop
        low, high = loop.operands
        rows: dict[Value, Value] = {}
        with Builder(Region(), self.top.span) as outside:
            for part in found.parts:
                for result in part.results:
                    assert found.width is not None
                    attrs = {"dtype": result.dtype}
                    rows[result] = outside.emit1("buffer.alloc", [found.width], attrs, names=[result.name])
        ops = self.function.body.ops
        at = ops.index(self.top)
        ops[at:at] = outside.region.ops
        with Builder(Region(), loop.span) as b:
            wide = b.emit1("ge", [sum_of(high, low, -1), Const(COLUMNS, I64)])
            for part in found.parts:
                if any(op.name in ("add_any_order", "mul_any_order") for r in part.regions for op in r.ops):
                    terms = sum_of(part.operands[1], part.operands[0], -1)
                    wide = b.emit1("logical_and", [wide, b.emit1("le", [terms, Const(TERMS, I64)])])
            if found.width is not None:
                room = b.emit1("le", [high, found.width])
                wide = b.emit1("logical_and", [wide, b.emit1("logical_and", [room, b.emit1("ge", [low, ZERO])])])
            end = b.emit1("select", [wide, high, low])
            if found.checks:
                self.row(found, (low, end), [*found.checks], found.checks, rows)
            for part in found.parts:
                if part.regions:
                    self.nest(found, part, wide, (low, end), rows)
                else:
                    self.row(found, (low, end), [part], [part], rows)
        loop.operands[0] = end
        return b.region.ops

    def row(
        self, found: Columns, ends: tuple[Value, Value], parts: list[Op], needing: list[Op], rows: dict[Value, Value]
    ) -> None:
        """Operations of all turns, one turn after the other."""
        wanted = {op for part in needing for op in found.needed[part]} | set(parts)
        index = Value(Scalar(I64), found.loop.regions[0].args[0].name)
        env: Env = {found.loop.regions[0].args[0]: index}
        with over(index, ends, found.loop) as b:
            self.copied([op for op in found.loop.regions[0].ops if op in wanted], env, rows, index, b)

    @staticmethod
    def copied(ops: list[Op], env: Env, rows: dict[Value, Value], index: Value, b: Builder) -> None:
        """Copies of operations of a turn; of inner loops, what they have left in rows of memory."""
        for op in ops:
            if op.regions:
                for result in op.results:
                    env[result] = b.emit1("buffer.load", [rows[result], index])
            else:
                b.region.ops.append(copy_op(op, env))

    def nest(self, found: Columns, part: Op, wide: Value, ends: tuple[Value, Value], rows: dict[Value, Value]) -> None:
        """An inner loop, for all turns at once."""
        outer, body = found.loop.regions[0].args[0], part.regions[0]
        needed = found.needed[part]
        carried = [rows[result] for result in part.results]
        if carried:
            index = Value(Scalar(I64), outer.name)
            env: Env = {outer: index}
            with over(index, ends, found.loop) as b:
                self.copied(needed, env, rows, index, b)
                for row, start in zip(carried, mapped(part.operands[2:], env), strict=True):
                    b.emit("buffer.store", [start, row, index])
        low, high = part.operands[:2]
        down = Value(Scalar(I64), body.args[0].name)
        last = builder().emit1("select", [wide, high, low])
        env = {body.args[0]: down}
        with over(down, (low, last), part) as outside:
            ops = self.reached(needed, {v for op in body.ops for v in op.operands}) + body.ops[:-1]
            outside.region.ops += [copy_op(op, env) for op in ops if self.same_in_all(found, op)]
            inside = [op for op in body.ops[:-1] if not self.same_in_all(found, op)]
            index = env[outer] = Value(Scalar(I64), outer.name)
            with over(index, ends, found.loop) as b:
                used = {v for op in (*inside, body.terminator) for v in op.operands}
                again = [op for op in self.reached(needed, used) if not self.same_in_all(found, op)]
                self.copied(again, env, rows, index, b)
                for arg, row in zip(body.args[1:], carried, strict=True):
                    env[arg] = b.emit1("buffer.load", [row, index])
                for op in inside:
                    b.region.ops.append(copy_op(op, env))
                for row, end in zip(carried, mapped(body.terminator.operands, env), strict=True):
                    b.emit("buffer.store", [end, row, index])

    @staticmethod
    def same_in_all(found: Columns, op: Op) -> bool:
        """Whether an operation gives the same for all columns."""
        return (
            not op.regions
            and op.name != "buffer.store"
            and not any(v in found.varying for v in (*op.operands, *op.results))
        )

    @staticmethod
    def reached(ops: list[Op], wanted: set[Value]) -> list[Op]:
        """Those of some operations, in their order, that give what is wanted."""
        out: list[Op] = []
        wanted = set(wanted)
        for op in reversed(ops):
            if not wanted.isdisjoint(op.results):
                out.insert(0, op)
                wanted.update(op.operands if not op.regions else ())
        return out


class over:
    """A loop that is built inside of a `with`; in it, the builder of its body."""

    def __init__(self, index: Value, ends: tuple[Value, Value], like: Op) -> None:
        self.region = Region([index])
        self.op = Op("for", list(ends), [], dict(like.attrs), [self.region], like.span)
        self.inner = Builder(self.region, like.span)
        builder().region.ops.append(self.op)

    def __enter__(self) -> Builder:
        return self.inner.__enter__()

    def __exit__(self, *error: object) -> None:
        self.inner.emit("yield", [])
        self.inner.__exit__(*error)


def varying(body: Region) -> set[Value]:
    """What may differ from turn to turn, of all that is computed in a loop's body."""
    found: set[Value] = {body.args[0]}
    while True:
        before = len(found)
        for op in walk(body):
            if op.regions:
                found.update((*op.results, *op.regions[0].args[1:]))  # what is carried stands in a row
            elif not found.isdisjoint(op.operands):
                found.update(op.results)
        if len(found) == before:
            return found
