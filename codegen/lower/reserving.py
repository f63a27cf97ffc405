"""Room on a tape for all that is pushed next, found before the program is scheduled.

In: a function of the array IR. Out: `Room`: at which operations (a push, or an `if` that pushes in its branches) the
memory is reserved for how many numbers, and which tapes are the last with room left. Pushes that follow each other,
with `if`s but no loops in between, need one look at the room, ahead of the first, for the most that they can push:

    %t1 = if %c {                                    reserve 3
      %a = tape.push %t, %x                          if %c { store %x ... }
      yield %a                               =>      store %y
    } else { yield %t }                              store %z
    %t2 = tape.push %t1, %y
    %t3 = tape.push %t2, %z
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ...ir.core import Function, Op, Region, Value
from ...ir.types import Scalar, Tape

__all__ = ["Room", "room_of"]


@dataclass
class Room:
    """`ahead`: per operation and tape it takes, how many numbers to make room for. `ends`: tapes after which the room
    may be used up."""

    ahead: dict[Op, dict[Value, int]] = field(default_factory=dict)
    ends: set[Value] = field(default_factory=set)


@dataclass
class Stretch:
    """Pushes that follow each other: the first operation, the tape that it takes, how many, and the tape after them."""

    first: Op
    tape: Value
    amount: int
    last: Value


def room_of(function: Function) -> Room:
    """Where a function reserves memory for several pushes at once."""
    room = Room()
    visit(function.body, room)
    return room


def visit(region: Region, room: Room) -> None:
    open_: dict[Value, Stretch] = {}
    found: list[Stretch] = []
    for op in region.ops:
        for before, after, amount in grown(op):
            stretch = open_.pop(before, None)
            if stretch is None:
                stretch = Stretch(op, before, 0, after)
                found.append(stretch)
            stretch.amount += amount
            stretch.last = after
            open_[after] = stretch
        for inner in op.regions:
            visit(inner, room)
    for stretch in found:
        if stretch.amount > 1 or stretch.first.name == "if":
            room.ahead.setdefault(stretch.first, {})[stretch.tape] = stretch.amount
            room.ends.add(stretch.last)


def grown(op: Op) -> Iterator[tuple[Value, Value, int]]:
    """Tapes of numbers that an operation only pushes onto: before, after, and how many numbers at most."""
    if op.name == "tape.push" and isinstance(op.operands[1].type, Scalar):
        yield op.operands[0], op.result, 1
    elif op.name == "if":
        for k, result in enumerate(op.results):
            if isinstance(result.type, Tape):
                ways = [pushed_since(region.terminator.operands[k], region) for region in op.regions]
                if None in ways:
                    continue
                (before, one), (other, two) = (way for way in ways if way is not None)
                if before is other and max(one, two) > 0:
                    yield before, result, max(one, two)


def pushed_since(tape: Value, region: Region) -> tuple[Value, int] | None:
    """The tape that a tape was when the region began, and how many numbers were pushed since, at most; None where
    something else than pushing happened."""
    amount = 0
    while tape.op is not None and any(op is tape.op for op in region.ops):
        steps = [(before, more) for before, after, more in grown(tape.op) if after is tape]
        if not steps:
            return None
        tape, more = steps[0]
        amount += more
    return tape, amount
