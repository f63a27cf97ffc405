"""Narrow products take turns with the loops around them, a block of rows at a time.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                                 for %b in (0, (%n + ROWS - 1) / ROWS) {
      for %j in (0, %m) {                                 %at = %b * ROWS;  %rows = min(ROWS, %n - %at)
        ... buffer.store %d, %t, %i, %j                   for %i in (0, %rows) {
      }                                                     for %j in (0, %m) {
    }                                                         ... buffer.store %d, %w, %i, %j
    buffer.call %y, %t, %q {kernel="matmul_nt"}             }
    for %i in (0, %n) {                           =>      }
      for %j in (0, %k) {                                 buffer.call %y, %w, %q, %at, ... {kernel="put_product_nt"}
        %v: f64 = buffer.load %y, %i, %j                  for %i in (0, %rows) {
        ...                                                 for %j in (0, %k) {
      }                                                       %v: f64 = buffer.load %y, %at + %i, %j
    }                                                         ...
                                                            }
                                                          }
                                                        }

A product of matrices with few columns takes as long as reading its factors and writing what becomes of it. Block by
block, all this stays in the first cache; what only lives between the loops and the products (`%t`) is a window of as
many rows (`%w`). A product of rows is that of the block's rows; one that sums over rows (`matmul_tn`) adds up the
blocks. Every other element sees the same operations in the same order.

Loops and products take part whose turns, or rows, meet in the same row only. What stands in between moves in front of
them or behind. Whether the products are narrow is seen at run time; others, which BLAS had better see as a whole, are
one block of all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import prod
from operator import mul

from ...ir.core import Builder, Const, Function, Op, Region, Value, walk
from ...ir.types import F32, F64, I64, Buffer, DType, Scalar
from ..narrow_products import limits
from .accesses import Access, Effects, effects, moves_buffers, ordered, root_of
from .blocking import is_short
from .loops import affine
from .polynomials import Polynomial, add, expand, multiply
from .private import Places, fills, read_later, touches

__all__ = ["ROWS", "block_products"]

ROWS = 96
"""Of a block: what a dozen columns of them take is a part of a small first cache."""
MEMBERS = 24
"""Loops and products that take turns with one another."""
REACH = 64
"""Operations between two of them, at most."""
ACCESSES = 64
"""In a loop; with more, what it reads and writes is not compared with that of others."""
BY_ROWS = {"matmul": "put_product_nn", "matmul_nt": "put_product_nt"}
"""Products whose rows are those of their first factor."""
OVER_ROWS = {"matmul_tn": "add_product_tn"}
"""Products that sum over the rows of both factors."""
ZERO, ONE = Const(0, I64), Const(1, I64)


def block_products(function: Function) -> None:
    """Let narrow products take turns with loops; not where the function writes to arrays of the caller (which may
    overlap, and are looked at where it fails half way), and not where loops are to be divided among threads."""
    if function.attrs.get("donated") or "threads" in function.attrs:
        return
    extents = Extents(function)
    if any(is_candidate(op, extents) for op in walk(function.body)):
        region(function, function.body, extents)


def region(function: Function, where: Region, extents: Extents) -> None:
    for op in where.ops:
        for inner in op.regions:
            region(function, inner, extents)
    while any(is_candidate(op, extents) for op in where.ops):
        group = next_group(where, extents)
        if group is None:
            return
        take_turns(function, where, group, extents)


class Extents:
    """Of matrices, as values."""

    def __init__(self, function: Function) -> None:
        dims = (op for op in function.body.ops if op.name == "buffer.dim")
        self.named = {(op.operands[0], op.attrs["axis"]): op.result for op in dims}

    def of(self, matrix: Value) -> list[Value | None]:
        """None: it has no name."""
        made = matrix.op
        if made is not None and made.name in ("buffer.alloc", "buffer.reshape", "buffer.view"):
            return list(made.operands[-2:])
        return [self.named.get((matrix, axis)) for axis in range(2)]

    def of_product(self, op: Op) -> list[Value | None]:
        """Rows, columns, and how many terms are summed."""
        out, left, right = op.operands
        (rows, columns), first, second = self.of(out), self.of(left), self.of(right)
        if op.attrs["kernel"] in OVER_ROWS:
            return [rows, columns, second[0] if first[0] is None else first[0]]
        return [first[0] if rows is None else rows, columns, first[1]]

    def here(self, b: Builder, op: Op) -> list[Value]:
        """Those of a product, under whatever name."""
        out, left, _ = op.operands
        unnamed = [(out, 0), (out, 1), (left, 0 if op.attrs["kernel"] in OVER_ROWS else 1)]
        found = zip(self.of_product(op), unnamed, strict=True)
        return [
            b.emit1("buffer.dim", [matrix], {"axis": axis}) if value is None else value
            for value, (matrix, axis) in found
        ]


def is_candidate(op: Op, extents: Extents) -> bool:
    """Whether an operation is a product by rows or over rows that may be narrow."""
    if op.name != "buffer.call" or (op.attrs["kernel"] not in BY_ROWS and op.attrs["kernel"] not in OVER_ROWS):
        return False
    if number_type(op) not in (F64, F32):
        return False
    sizes = extents.of_product(op)
    for of, low, high in limits_of(op):
        known = [size.value for k in of if isinstance(size := sizes[k], Const)]
        if len(known) == len(of) and not low <= prod(map(int, known)) <= high:
            return False
    return True


def number_type(product: Op) -> DType:
    out = product.operands[0].type
    assert isinstance(out, Buffer)
    return out.dtype


def limits_of(product: Op) -> list[tuple[tuple[int, ...], int, int]]:
    """Limits of the extents of a product that blocks of rows leave as they are."""
    kernel = product.attrs["kernel"]
    along = 2 if kernel in OVER_ROWS else 0
    found = limits(kernel in OVER_ROWS, kernel == "matmul_nt", number_type(product))
    return [limit for limit in found if along not in limit[0]]


# ---------------------------------------------------------------- what takes turns


Row = tuple[str, object]
"""How elements of a buffer belong to a row: those whose first position it is, or a stretch of a flat buffer."""
FIRST: Row = ("first", None)


@dataclass
class Touch:
    """A buffer that is read or written; None: not by rows."""

    root: Value
    write: bool
    row: Row | None


@dataclass(eq=False)
class Member:
    """A loop over rows, or a product."""

    op: Op
    effects: Effects
    touches: list[Touch]
    rows: Value


@dataclass
class Group:
    """Operations in their order; among them those that take turns, what goes before them and what after them."""

    members: list[Member] = field(default_factory=list)
    before: list[Op] = field(default_factory=list)
    after: list[Op] = field(default_factory=list)
    passed: list[Effects] = field(default_factory=list)
    """What those of `after` do."""

    def take(self, op: Op, known: Effects, member: Member | None) -> bool:
        """Whether an operation belongs to the group."""
        if member is not None and self.joins(member):
            self.members.append(member)
            return True
        if op.name in ("return", "yield", "test"):
            return False
        if any(ordered(x, known) for x in self.passed) or any(ordered(m.effects, known) for m in self.members):
            self.after.append(op)
            self.passed.append(known)
        else:
            self.before.append(op)
        return True

    def joins(self, member: Member) -> bool:
        if len(self.members) == MEMBERS or any(ordered(x, member.effects) for x in self.passed):
            return False
        return all(
            m.rows is member.rows and not m.effects.defines & member.effects.uses and all(
                x.row is not None and x.row == y.row
                for x in m.touches
                for y in member.touches
                if x.root is y.root and (x.write or y.write)
            )
            for m in self.members
        )  # fmt: skip

    def gains(self) -> bool:
        """Whether there is a product among those that take turns, and a loop that works on its rows."""
        products = [m for m in self.members if m.op.name == "buffer.call"]
        rows = {t.root for m in products for t in m.touches if t.row is not None}
        return any(t.root in rows for m in self.members if m not in products for t in m.touches)


def next_group(where: Region, extents: Extents) -> Group | None:
    """The first loops and products of a region that take turns."""
    known = [effects(op) for op in where.ops]
    members = [member_of(op, e, extents) for op, e in zip(where.ops, known, strict=True)]
    products = [m for m in members if m is not None and m.op.name == "buffer.call"]
    rows = {t.root for m in products for t in m.touches if t.row is not None}
    for at, first in enumerate(members):
        if first is None or rows.isdisjoint(first.effects.roots):
            continue
        group = Group([first])
        end = at + 1
        last = end  # behind the last member
        while end - last < REACH and end < len(where.ops) and group.take(where.ops[end], known[end], members[end]):
            end += 1
            if group.members[-1].op is where.ops[end - 1]:
                last = end
        taken = set(where.ops[at:last])
        group.before = [op for op in group.before if op in taken]
        group.after = [op for op in group.after if op in taken]
        if group.gains():
            return group
    return None


def member_of(op: Op, known: Effects, extents: Extents) -> Member | None:
    if op.name == "buffer.call":
        return product_member(op, known, extents) if is_candidate(op, extents) else None
    if op.name != "for" or len(op.operands) > 2 or op.attrs.get("reverse") or is_short(op) or known.checks:
        return None
    if op.operands[0] != ZERO or not known.writes or len(known.accesses) > ACCESSES or moves_buffers(op.regions[0]):
        return None
    if any(inner.name == "while" for inner in walk(op.regions[0])):
        return None
    index = op.regions[0].args[0]
    touched = [Touch(a.root, a.write, row_of(a, index, known.defines)) for a in known.accesses]
    if not any(t.row is not None for t in touched):
        return None
    return Member(op, known, touched, op.operands[1])


def product_member(op: Op, known: Effects, extents: Extents) -> Member | None:
    over_rows = op.attrs["kernel"] in OVER_ROWS
    rows = extents.of_product(op)[2 if over_rows else 0]
    if rows is None or isinstance(rows, Const):
        return None
    touched = []
    for k, buffer in enumerate(op.operands):
        whole = k == (0 if over_rows else 2)
        row = None if whole else row_of_matrix(buffer)
        if row is None and not whole:
            return None
        touched.append(Touch(root_of(buffer), k == 0, row))
    return Member(op, known, touched, rows) if len({t.root for t in touched}) == 3 else None


def row_of_matrix(buffer: Value) -> Row | None:
    """How the rows of a whole matrix are rows of the memory it is in."""
    if root_of(buffer) is buffer:
        return FIRST
    made = buffer.op
    assert made is not None
    if made.name == "buffer.view" and len(made.operands) == 4:
        return stretch(polynomial(made.operands[1]), made.operands[3])
    return None


def row_of(access: Access, index: Value, inside: set[Value]) -> Row | None:
    """How what a loop over rows touches in a turn belongs to the row."""
    if not access.position:
        return None
    if affine(access.position[0]) == ({index: 1}, 0):
        return FIRST
    if len(access.position) > 1:
        return None
    for loop in access.loops[1:]:  # the position is that of an element of a row of so many
        if loop.lo == ZERO and loop.hi not in inside:
            rest = polynomial(access.position[0])
            turn: Polynomial = {(index,): 1}
            rest = add(add(rest, {(loop.index,): 1}, -1), multiply(polynomial(loop.hi), turn), -1)
            if not any(v in inside for monomial in rest for v in monomial):
                return stretch(rest, loop.hi)
    return None


def stretch(start: Polynomial, width: Value) -> Row:
    return ("stretch", (frozenset(start.items()), frozenset(polynomial(width).items())))


def polynomial(value: Value) -> Polynomial:
    return expand(value, lambda v: v)


# ---------------------------------------------------------------- what becomes of it


def take_turns(function: Function, where: Region, group: Group, extents: Extents) -> None:
    """Replace the members by a loop over blocks."""
    begin = where.ops.index(group.members[0].op)
    taken = {m.op for m in group.members} | {*group.before, *group.after}
    end = begin + len(taken)
    windows = [root for root in written(group) if is_window(function, where, group, root, begin, end)]
    rows = group.members[0].rows
    new, visit = Region(), Region([number := Value(Scalar(I64))])
    span = group.members[0].op.span
    with Builder(new, span) as b:
        size = block_size(b, group, rows, extents)
        count = b.emit1("floordiv", [rows + size - ONE, size])
        memory: dict[Value, Value] = {}
        for root in windows:
            assert root.op is not None
            attrs = dict(root.op.attrs)
            memory[root] = b.emit1("buffer.alloc", [size, *root.op.operands[1:]], attrs, names=[root.name])
        for m in group.members:
            if m.op.name == "buffer.call" and m.op.attrs["kernel"] in OVER_ROWS:
                clear(b, m.op.operands[0], *extents.here(b, m.op)[:2])
    with Builder(visit, span) as b:
        at = number * size
        here = b.emit1("minimum", [size, rows - at])
        for m in group.members:
            if m.op.name == "for":
                part_of_loop(m, at, here, memory)
                b.region.ops.append(m.op)
            else:
                part_of_product(b, m.op, extents.here(b, m.op), at, here, memory)
        b.emit("yield", [])
    loop = Op("for", [ZERO, count], [], {}, [visit], span)
    where.ops[begin:end] = [*group.before, *new.ops, loop, *group.after]


def written(group: Group) -> list[Value]:
    return list(dict.fromkeys(t.root for m in group.members for t in m.touches if t.write))


def is_window(function: Function, where: Region, group: Group, root: Value, begin: int, end: int) -> bool:
    """Whether nothing but rows of the block that is worked on is ever needed of a buffer."""
    made = root.op
    if made is None or made.name != "buffer.alloc" or made.operands[0] is not group.members[0].rows:
        return False
    users = [m for m in group.members if any(t.root is root for t in m.touches)]
    if any(t.row != FIRST for m in users for t in m.touches if t.root is root):
        return False
    if any(touches(op, root) for op in (*group.before, *group.after)):
        return False
    first = users[0].op
    if first.name == "for":
        if not fills(first, root, lambda v: v):
            return False
    elif first.operands[0] is not root:
        return False
    for m in users:  # under no other name
        operands = [v for op in (m.op, *(x for r in m.op.regions for x in walk(r))) for v in op.operands]
        if any(isinstance(v.type, Buffer) and v is not root and root_of(v) is root for v in operands):
            return False
    return not read_later(Places.of(function), where, begin, end, root)


def block_size(b: Builder, group: Group, rows: Value, extents: Extents) -> Value:
    """How many rows a block has: all of them where a product is not narrow."""
    fits: Value | None = None
    for m in group.members:
        if m.op.name != "buffer.call":
            continue
        sizes = extents.here(b, m.op)
        for of, low, high in limits_of(m.op):
            value = reduce(mul, [sizes[k] for k in of])
            for test in (b.emit1("ge", [value, Const(low, I64)]), b.emit1("le", [value, Const(high, I64)])):
                fits = test if fits is None else b.emit1("logical_and", [fits, test])
    assert fits is not None
    return b.emit1("select", [fits, Const(ROWS, I64), b.emit1("maximum", [rows, ONE])])


def clear(b: Builder, matrix: Value, height: Value, width: Value) -> None:
    over_rows, over_columns = Region([i := Value(Scalar(I64))]), Region([j := Value(Scalar(I64))])
    with Builder(over_columns, b.span) as inside:
        assert isinstance(matrix.type, Buffer)
        inside.emit("buffer.store", [Const(0.0, matrix.type.dtype), matrix, i, j])
        inside.emit("yield", [])
    over_rows.ops.append(Op("for", [ZERO, width], [], {}, [over_columns], b.span))
    over_rows.ops.append(Op("yield", [], [], {}, (), b.span))
    b.region.ops.append(Op("for", [ZERO, height], [], {}, [over_rows], b.span))


def part_of_loop(member: Member, at: Value, count: Value, memory: dict[Value, Value]) -> None:
    """The turns of a block; rows of windows are counted from its first one."""
    loop = member.op
    body = loop.regions[0]
    turn = body.args[0]
    body.args[0] = here = Value(turn.type, turn.name)
    scratch = Region()
    with Builder(scratch, loop.span) as b:
        row = b.emit1("add", [at, here])
    for op in walk(body):
        op.operands = [row if v is turn else v for v in op.operands]
    for a in member.effects.accesses:
        if a.root in memory:
            buffer = 1 if a.write else 0
            a.op.operands[buffer : buffer + 2] = [memory[a.root], here]
    body.ops[:0] = scratch.ops
    loop.operands[:2] = [ZERO, count]


def part_of_product(
    b: Builder, op: Op, sizes: Sequence[Value], at: Value, count: Value, memory: dict[Value, Value]
) -> None:
    """The product of a block, written to the block's rows or added to what there is."""
    out, left, right = (ZERO if v in memory else at for v in op.operands)
    matrices = [memory.get(v, v) for v in op.operands]
    rows, columns, inner = sizes
    if op.attrs["kernel"] in BY_ROWS:
        kernel = BY_ROWS[op.attrs["kernel"]]
        numbers = [out, ZERO, left, ZERO, ZERO, ZERO, count, columns, inner]
    else:
        kernel = OVER_ROWS[op.attrs["kernel"]]
        numbers = [ZERO, ZERO, left, ZERO, right, ZERO, rows, columns, count]
    b.emit("buffer.call", [*matrices, *numbers], {"kernel": kernel})
