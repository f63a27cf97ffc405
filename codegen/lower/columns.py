"""Columns: rows of a buffer, of as many turns of a loop as run side by side, turned over.

In: a load whose position depends on the turn of an outer loop and on loops inside of it. Out: scheduled IR that copies
what these loops read, so that the element of one turn lies beside that of the next:

    %u: f64 = buffer.load %p, %i, %c           =>      for %c in (0, %d) {
                                                         for %lane in (0, 16) {
                                                           %j: i64 = add %base, %lane
                                                           %u: f64 = buffer.load %p, %j, %c
                                                           buffer.store %u, %x, %c, %lane
                                                           yield
                                                         } with {lanes=true}
                                                         yield
                                                       } with {bounded=true}
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder
from ...ir.rewrite import Env
from ...ir.types import I64, Buffer, Scalar
from .blocking import sum_of
from .loops import affine

__all__ = [
    "LANES",
    "ONE",
    "WIDTH",
    "ZERO",
    "Column",
    "extent_of",
    "fill",
    "inside_of",
    "key_of",
    "rebuilt",
    "row_length",
]

LANES = 16
"""Turns side by side: as many chains as hide how long an addition takes, on machines with narrow vectors too."""
ZERO, ONE, WIDTH = Const(0, I64), Const(1, I64), Const(LANES, I64)


@dataclass
class Column:
    """Rows of a buffer, as columns: the loops over their elements, and where these are (`position`, of a load)."""

    load: Op
    loops: tuple[Op, ...]
    memory: Value | None = None
    extents: list[Value] = field(default_factory=list)


def key_of(column: Column) -> object:
    """Equal for columns with the same contents."""
    names = {loop.regions[0].args[0]: k for k, loop in enumerate(column.loops)}
    forms = []
    for position in column.load.operands[1:]:
        terms, constant = affine(position)
        forms.append((frozenset((names.get(v, v), c) for v, c in terms.items()), constant))
    ranges = tuple(tuple(loop.operands[:2]) for loop in column.loops)
    return (column.load.operands[0], ranges, tuple(forms))


def extent_of(loop: Op) -> Value:
    lo, hi = loop.operands[:2]
    return builder().emit1("maximum", [sum_of(hi, lo, -1), ZERO])


def rebuilt(value: Value, env: Env) -> Value:
    """A position from its terms, of which `env` has new ones."""
    terms, constant = affine(value)
    out: Value | None = None
    for term, factor in terms.items():
        part = env.get(term, term)
        part = part if factor == 1 else part * Const(factor, I64)
        out = part if out is None else out + part
    if out is None:
        return Const(constant, I64)
    return out if constant == 0 else out + Const(constant, I64)


def inside_of(column: Column) -> Iterator[Value]:
    """That the elements of a column are elements of its buffer; a check in a turn may come too late to say so."""
    b = builder()
    buffer, *where = column.load.operands
    ends = {over.regions[0].args[0]: (over.operands[0], over.operands[1] - ONE) for over in column.loops}
    for axis, position in enumerate(where):
        terms, _ = affine(position)
        if ends.keys().isdisjoint(terms):
            continue
        least: Env = {v: ends[v][0 if factor > 0 else 1] for v, factor in terms.items() if v in ends}
        most: Env = {v: ends[v][1 if factor > 0 else 0] for v, factor in terms.items() if v in ends}
        yield b.emit1("ge", [rebuilt(position, least), ZERO])
        yield b.emit1("lt", [rebuilt(position, most), b.emit1("buffer.dim", [buffer], {"axis": axis})])


def fill(column: Column, index: Value, base: Value, around: Env) -> None:
    """Copy rows into columns."""
    assert column.memory is not None
    memory = column.memory

    def level(k: int, env: Env, at: list[Value]) -> None:
        b = builder()
        here = Value(Scalar(I64), "lane" if k == len(column.loops) else None)
        body = Region([here])
        with Builder(body, b.span) as inside:
            if k == len(column.loops):
                buffer, *where = column.load.operands
                env = {**env, index: base + here}
                value = inside.emit1("buffer.load", [buffer, *(rebuilt(p, env) for p in where)])
                inside.emit("buffer.store", [value, memory, *at, here])
            else:
                over = column.loops[k]
                level(k + 1, {**env, over.regions[0].args[0]: sum_of(here, over.operands[0])}, [*at, here])
            inside.emit("yield", [])
        if k == len(column.loops):
            b.region.ops.append(Op("for", [ZERO, WIDTH], [], {"lanes": True}, [body], b.span))
        else:
            b.region.ops.append(Op("for", [ZERO, column.extents[k]], [], {"bounded": True}, [body], b.span))

    level(0, dict(around), [])


def row_length(function: Function, top: Op, matrix: Value) -> Value | None:
    """The length of a matrix's rows, known in front of `top`, an operation of the function's body; None where it is
    not."""
    assert isinstance(matrix.type, Buffer)
    ops = function.body.ops
    if matrix in function.args:
        at = ops.index(top)
        with Builder(Region(), top.span) as b:
            extent = b.emit1("buffer.dim", [matrix], {"axis": matrix.type.rank - 1})
        ops[at:at] = b.region.ops
        return extent
    made = matrix.op
    return made.operands[-1] if made is not None and made.name == "buffer.alloc" and made in ops else None
