"""Read through: what a copy gives once is read where it was copied from.

In: a scheduled function, changed in place. Out: nothing.

    for %i in (0, %n) {                                  for %i in (0, %n) {
      for %j in (0, %m) {                                  for %j in (0, %m) {
        %a: f64 = buffer.load %x, %i, %j                     %a: f64 = buffer.load %x, %i, %j
        %b: f32 = cast %a                                    ...
        buffer.store %b, %copy, %i, %j                     }
        ...                                              }
      }                                            =>    for %j in (0, %m) {
    }                                                      for %i in (0, %n) {
    for %j in (0, %m) {                                      %c: f64 = buffer.load %x, %i, %j
      for %i in (0, %n) {                                    %d: f32 = cast %c
        %d: f32 = buffer.load %copy, %i, %j                  ...
        buffer.store 0.0, %copy, %i, %j                    }
        ...                                              }
      }
    }

Where a program fills an array slice by slice, its reverse sweep takes the cotangent of that array apart likewise, and
clears what it took; the cotangent itself is often the weights of a sum in another precision. On several threads the
copy would go from the cache of who writes it to that of who reads it.

The copy is of an argument that nobody writes to, along its rows, with little arithmetic; everything else that
touches it is one loop nest after it, at one place in the innermost loop, in a different element each time, and reads
before it writes. So each element is read at most once, and what is written is never read.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.rewrite import Env, copy_op, mapped
from ...ir.types import Buffer
from .accesses import effects

__all__ = ["read_through"]

CHEAP = frozenset({"cast", "neg", "add", "sub", "mul", "stop_gradient"})
POSITIONS = {"buffer.load": 1, "buffer.store": 2}
"""Where positions begin among the operands of what touches memory."""
OPERATIONS = 3
"""That make an element of a copy, at most: they are done where it is read."""


@dataclass
class Copy:
    """`element`: the operations that make an element `value` at the `indices`, one for each axis, in the region where
    it is stored; and what else touches the copy, in its own region."""

    indices: list[Value]
    element: list[Op]
    value: Value
    filled_in: Region
    store: Op
    touched_in: Region
    touching: list[Op]


def read_through(function: Function) -> None:
    """See the module's docstring."""
    for region in [function.body, *(region for op in walk(function.body) for region in op.regions)]:
        users: dict[Value, list[Op]] = {op.result: [] for op in region.ops if op.name == "buffer.alloc"}
        if users:
            for op in region.ops:
                for buffer in mentioned(op).intersection(users):
                    users[buffer].append(op)
            for buffer, ops in users.items():
                found = copy_in(buffer, ops, function)
                if found is not None:
                    replace(found)


# ---------------------------------------------------------------- which ones


def copy_in(buffer: Value, users: list[Op], function: Function) -> Copy | None:
    """The copy that a buffer is made for, if it is one that is read once. `users`: what uses it in its region."""
    if len(users) != 2 or buffer.op is None:
        return None
    filled, touched = (accesses(op, buffer) for op in users)
    if filled is None or touched is None or len(filled) != 1:
        return None
    loops, store = filled[0]
    if not covers(loops, store, buffer.op.operands) or not once(touched):
        return None
    body, value, indices = loops[-1].regions[0], store.operands[0], place(store)
    element = element_of(value, body, effects(users[0]).defines - set(indices))
    if element is None or not all(is_cheap(op, indices[-1]) for op in element):
        return None
    if not unwritten(function).issuperset(op.operands[0] for op in element if op.name == "buffer.load"):
        return None
    return Copy(indices, element, value, body, store, touched[0][0][-1].regions[0], [op for _, op in touched])


def mentioned(op: Op) -> set[Value]:
    """What an operation uses, its regions included."""
    return set(op.operands).union(*(inner.operands for region in op.regions for inner in walk(region)))


def unwritten(function: Function) -> set[Value]:
    """The arguments that nobody writes to."""
    touched = [access for op in function.body.ops for access in effects(op).accesses]
    # what a branch gives is memory under another name, which may be written to
    written = {access.root for access in touched if access.write or access.op.name == "yield"}
    return {arg for arg in function.args if isinstance(arg.type, Buffer) and arg not in written}


Accesses = list[tuple[list[Op], Op]]
"""Loads and stores, each with the loops around it."""


def accesses(top: Op, buffer: Value) -> Accesses | None:
    """What touches a buffer in a nest of loops, if it is loads and stores with nothing but loops around them."""
    found: Accesses = []

    def visit(loop: Op, around: list[Op]) -> bool:
        if loop.name != "for" or buffer in loop.operands:
            return False
        for op in loop.regions[0].ops:
            if op.regions:
                if buffer in mentioned(op) and not visit(op, [*around, op]):
                    return False
            elif buffer in op.operands:
                if op.name not in POSITIONS:
                    return False
                found.append((around, op))
        return True

    return found if visit(top, [top]) else None


def covers(loops: list[Op], store: Op, extents: list[Value]) -> bool:
    """Whether a store in loops is done once for each element of an array of these extents."""
    ranges = {loop.regions[0].args[0]: loop.operands[:2] for loop in loops}
    where = place(store)
    if store.name != "buffer.store" or len(ranges) != len(where) or set(ranges) != set(where):
        return False
    return all(is_zero(ranges[at][0]) and ranges[at][1] == extent for at, extent in zip(where, extents, strict=True))


def is_zero(value: Value) -> bool:
    return isinstance(value, Const) and value.value == 0


def element_of(value: Value, body: Region, unknown: set[Value]) -> list[Op] | None:
    """The operations of a body that make a value, in their order, if they are few and need nothing `unknown` but each
    other."""
    needed: set[Value] = {value}
    out: list[Op] = []
    for op in reversed(body.ops):
        if not needed.isdisjoint(op.results):
            out.append(op)
            needed.difference_update(op.results)
            needed.update(op.operands)
    return out[::-1] if 0 < len(out) <= OPERATIONS and needed.isdisjoint(unknown) else None


def is_cheap(op: Op, last: Value) -> bool:
    """Whether an operation costs little where the copy was read along its rows, whose index is `last`."""
    return op.operands[-1] is last if op.name == "buffer.load" else op.name in CHEAP


def once(touched: Accesses) -> bool:
    """Whether each element is touched in one turn of the loops around at most, and read before it is written."""
    loops, first = touched[0]
    if any(around != loops or place(op) != place(first) for around, op in touched):
        return False
    names = [op.name for _, op in touched]
    return {loop.regions[0].args[0] for loop in loops} <= set(place(first)) and names == sorted(names)


def place(op: Op) -> list[Value]:
    """Where a load or a store is."""
    return op.operands[POSITIONS[op.name] :]


# ---------------------------------------------------------------- what becomes of them


def replace(copy: Copy) -> None:
    """Make the elements where they are read, and nothing where they were stored."""
    copy.filled_in.ops.remove(copy.store)
    env: Env = {}
    ops: list[Op] = []
    for op in copy.touched_in.ops:
        op.operands = mapped(op.operands, env)
        if op not in copy.touching:
            for inner in (inner for region in op.regions for inner in walk(region)):
                inner.operands = mapped(inner.operands, env)
            ops.append(op)
        elif op.name == "buffer.load":
            at: Env = dict(zip(copy.indices, place(op), strict=True))
            ops += [copy_op(made, at) for made in copy.element]
            env[op.result] = at[copy.value]
    copy.touched_in.ops[:] = ops
