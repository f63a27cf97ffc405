"""Loops and branches of the array IR, as those of the scheduled IR, with the memory that goes in and comes out.

In: an operation with regions, the `Scheduler` in whose walk it is met. Out: the operation of the same name in scheduled
IR. Arrays that are carried on move into the loop as buffers; a buffer that every turn gives back as it is keeps its
name, others take turns:

    %y: f64[?] = for %i in (0, %n) (%s = %x) {      %q: &f64[?] = buffer.alloc %m {dtype=f64}
      %t: f64[?] = matmul %a, %s                =>  %y: &f64[?], %r: &f64[?] = for %i in (0, %n) (%s = %p, %t = %q) {
      yield %t                                        ... the elements of %t from those of %s ...
    }                                                 yield %t, %s
                                                    }
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ...ir.core import Op, Region, Value
from ...ir.types import I64, Buffer, Scalar, Tape
from .fusion import closure
from .storage import BUSY, Frame
from .tapes import Reserved, room_for_branches

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["CONTROL"]


def give(s: Scheduler, value: Value, during: set[Value]) -> Value:
    """A buffer with a value's contents for a loop that will own it; `during`: what is read in or after the
    loop."""
    if s.storage.owns(value):
        buffer = s.storage.buffer[value]
        if value in during and buffer in s.storage.foreign and s.storage.frame.kind != "branch":
            s.storage.place(value, s.owned_copy(value))
            return s.storage.take(buffer)
        if value not in during:
            return s.storage.take(buffer)
    return s.storage.take(s.owned_copy(value))


def enter_carried(s: Scheduler, op: Op, inits: Sequence[Value]) -> tuple[list[Value], list[int]]:
    """Scheduled initial values of a loop, tapes as two; and where each carried value starts among them."""
    during = closure(s.plan, s.plan.live_in[op])
    out: list[Value] = []
    starts: list[int] = []
    for value in inits:
        starts.append(len(out))
        if isinstance(value.type, Tape):
            out += s.tapes[value]
        elif value.is_array:
            out.append(give(s, value, during))
        else:
            out.append(s.get(value))
    return out, starts


def bind_carried(s: Scheduler, values: Sequence[Value], new: Sequence[Value], starts: Sequence[int]) -> None:
    """Array IR values (block arguments, results) now stand for scheduled ones."""
    for value, start in zip(values, starts):
        if isinstance(value.type, Tape):
            s.tapes[value] = (new[start], new[start + 1])
        elif value.is_array:
            s.storage.adopt(new[start], s.extents.of[value], value)
            s.storage.place(value, new[start])
        else:
            s.scalars[value] = new[start]


def yielded(s: Scheduler, terminator: Op, values: Sequence[Value]) -> list[Value]:
    """Scheduled values of a yield; buffers leave the region, copies are made of what it does not own."""
    out: list[Value] = []
    taken: set[Value] = set()
    after = closure(s.plan, s.plan.live_after[terminator])
    s.live = closure(s.plan, values) | after
    for value in values:
        if isinstance(value.type, Tape):
            out += s.tapes[value]
        elif value.is_array:
            if s.storage.owns(value) and value not in taken and value not in after:
                buffer = s.storage.buffer[value]
            else:
                buffer = s.owned_copy(value)
            s.storage.frame.owned[buffer] = BUSY
            taken.add(value)
            out.append(buffer)
        else:
            out.append(s.get(value))
    return [s.storage.take(v) if isinstance(v.type, Buffer) and v in s.storage.frame.owned else v for v in out]


def copies_of(s: Scheduler, inits: Sequence[Value], args: Sequence[Value], starts: Sequence[int]) -> list[Value]:
    """Block arguments for scheduled initial values, under the names of the array IR's."""
    names: dict[int, str | None] = {}
    for arg, start in zip(args, starts):
        names[start] = arg.name
        if isinstance(arg.type, Tape):
            names[start + 1] = f"{arg.name or 'tape'}_length"
    return [Value(v.type, names.get(k)) for k, v in enumerate(inits)]


def for_loop(s: Scheduler, op: Op) -> None:
    lo, hi = s.get(op.operands[0]), s.get(op.operands[1])
    reserved = Reserved(s, op, lo, hi)
    kept = reserved.kept()
    inits = [op.operands[2 + k] for k in kept]
    args = [op.regions[0].args[1 + k] for k in kept]
    start_values, starts = enter_carried(s, op, inits)
    index = Value(Scalar(I64), op.regions[0].args[0].name or "i")
    carried = copies_of(s, start_values, args, starts)
    region = Region([index, *carried])
    s.scalars[op.regions[0].args[0]] = index
    enter = functools.partial(reserved.enter, index)
    extra_inits, yields = loop_body(s, op, [region], start_values, carried, args, starts, kept, enter)
    region.ops.append(Op("yield", yields, [], {}, (), s.b.span))
    operands = [lo, hi, *start_values, *extra_inits]
    attrs = {"reverse": True} if op.attrs.get("reverse") else {}
    results = [op.results[k] for k in kept]
    finish_loop(s, op, results, operands, start_values, extra_inits, [region], attrs, starts)
    reserved.after()


def while_loop(s: Scheduler, op: Op) -> None:
    before = op.regions[0]
    start_values, starts = enter_carried(s, op, op.operands)
    carried = copies_of(s, start_values, before.args, starts)
    regions = [Region(carried), Region()]
    kept = range(len(op.operands))
    extra_inits, yields = loop_body(s, op, regions, start_values, carried, before.args, starts, kept, lambda: None)
    regions[1].ops.append(Op("yield", yields, [], {}, (), s.b.span))
    operands = [*start_values, *extra_inits]
    finish_loop(s, op, op.results, operands, start_values, extra_inits, regions, {}, starts)


def loop_body(
    s: Scheduler,
    op: Op,
    regions: list[Region],
    start_values: Sequence[Value],
    carried: list[Value],
    args: Sequence[Value],
    starts: Sequence[int],
    kept: Sequence[int],
    enter: Callable[[], None],
) -> tuple[list[Value], list[Value]]:
    """Emit the regions of a loop. Returns initial values of buffers that take turns, and what is yielded."""
    storage = s.storage
    mark = s.extents.mark()
    first = regions[0]
    outer = storage.frame
    with contextlib.ExitStack() as stack:
        stack.enter_context(s.b.scope(first, barrier=True))
        frame = Frame(outer, "loop", len(s.b.scopes) - 1)
        storage.frame = frame
        s.extents.enter_loop(op)
        bind_carried(s, args, carried, starts)
        s.carried_on.update(zip(args, (op.regions[-1].terminator.operands[k] for k in kept)))
        s.storage.foreign.update(a for a, init in zip(carried, start_values) if init in storage.foreign)
        enter()
        if len(regions) == 2:
            s.region(op.regions[0])
            test = op.regions[0].terminator
            s.b.emit("test", [s.get(test.operands[0])], span=test.span)
            stack.enter_context(s.b.scope(regions[1], barrier=True))
            frame.depth = len(s.b.scopes) - 1
        s.region(op.regions[-1])
        terminator = op.regions[-1].terminator
        yields = yielded(s, terminator, [terminator.operands[k] for k in kept])
        turns = storage.settle_loop(frame)
        for inside, _, back in turns:
            first.args.append(inside)
            yields.append(back)
        storage.frame = outer
    storage.static_workspaces(frame, regions, turns)
    s.extents.end_body(op, mark)
    for inside, outside, _ in turns:
        storage.shape[outside] = storage.shape[inside]
    return [outside for _, outside, _ in turns], yields


def finish_loop(
    s: Scheduler,
    op: Op,
    results: Sequence[Value],
    operands: list[Value],
    start_values: list[Value],
    extra_inits: list[Value],
    regions: list[Region],
    attrs: dict[str, bool],
    starts: Sequence[int],
) -> None:
    carried = list(regions[0].args[1:] if op.name == "for" else regions[0].args)
    types = [v.type for v in [*start_values, *extra_inits]]
    names = [v.name for v in carried]
    new = s.b.emit(op.name, operands, dict(attrs), regions, names=names, result_types=types)
    s.extents.leave_loop(op)
    inits = operands[2:] if op.name == "for" else operands
    kept = [y is a for y, a in zip(regions[-1].terminator.operands, carried)]
    moved = any(b in s.storage.foreign and not same for b, same in zip(inits, kept))
    # what every turn gives back as it is, is still the same memory
    new = [init if same and isinstance(init.type, Buffer) else v for v, init, same in zip(new, inits, kept)]
    bind_carried(s, results, new, starts)
    if moved:
        s.storage.foreign.update(v for v, same in zip(new, kept) if not same and isinstance(v.type, Buffer))
    for buffer, outside in zip(new[len(start_values) :], extra_inits):
        s.storage.adopt(buffer, s.storage.shape[outside])


def if_else(s: Scheduler, op: Op) -> None:
    storage = s.storage
    outer = storage.frame
    condition = s.get(op.operands[0])
    tapes = room_for_branches(s, op)
    regions: list[Region] = []
    ends: list[tuple[list[Value], dict[Value, Value | None]]] = []
    entries: list[set[Value]] = []
    shapes = []
    for source in op.regions:
        region = Region()
        mark = s.extents.mark()
        entry = {b: None if h is BUSY else h for b, h in outer.owned.items()}
        with s.b.scope(region, barrier=True):
            storage.frame = Frame(outer, "branch", len(s.b.scopes) - 1, entry, entry=set(entry))
            s.region(source)
            entries.append(storage.frame.entry)
            ends.append((yielded(s, source.terminator, source.terminator.operands), storage.frame.owned))
        storage.frame = outer
        shapes.append(s.extents.outer_terms(source.terminator.operands, mark))
        s.extents.forget(mark)
        regions.append(region)
    s.extents.join(op, shapes)
    owned = {b: None if h is BUSY else h for b, h in outer.owned.items()}
    first, second = ends[0][0], ends[1][0]
    static = {b for b, c in zip(first, second) if b is c and isinstance(b.type, Buffer)}
    # what a branch asked its surroundings for, the other has not seen: there it is free
    ends = [
        (values, {**end, **{b: None for b in owned if b not in seen and b not in end and b not in values}})
        for (values, end), seen in zip(ends, entries)
    ]
    stable = {b for b in owned if all(b in end or b in static for _, end in ends)}
    spare = [[b for b in end if b not in stable] for _, end in ends]
    outer.owned = {b: h for b, h in owned.items() if b in stable}
    extras = pair_up(s, *spare) if len(stable) < len(owned) else []
    moving = [(b, c) for b, c in zip(first, second) if b not in static]
    for region, which in zip(regions, (0, 1)):
        values = [pair[which] for pair in [*moving, *extras]]
        region.ops.append(Op("yield", values, [], {}, (), s.b.span))
    names = [n for n, b in zip(flat_names(op), first) if b not in static]
    types = [b.type for b, _ in [*moving, *extras]]
    attrs = {"rare": op.attrs["rare"]} if "rare" in op.attrs else {}
    new = iter(s.b.emit("if", [condition], attrs, regions, names=names, result_types=types))
    results = [b if b in static else next(new) for b in first]
    for result, *pair in zip(results, first, second):
        if any(b in storage.foreign for b in pair):
            storage.foreign.add(result)
    at = 0
    for value in op.results:
        starts = [at]
        at += 2 if isinstance(value.type, Tape) else 1
        bind_carried(s, [value], results, starts)
    for buffer, (one, other) in zip(new, extras):
        storage.adopt(buffer, storage.shape[one])
        if one in storage.foreign or other in storage.foreign:
            storage.foreign.add(buffer)
    s.tapes.update(tapes)
    s.reserved.difference_update(tapes)


def flat_names(op: Op) -> list[str | None]:
    out: list[str | None] = []
    for value in op.results:
        out.append(value.name)
        if isinstance(value.type, Tape):
            out.append(f"{value.name or 'tape'}_length")
    return out


def pair_up(s: Scheduler, one: list[Value], other: list[Value]) -> list[tuple[Value, Value]]:
    """Free buffers of two branches that may go on under one name."""
    pairs: list[tuple[Value, Value]] = []
    rest = list(other)
    for a in one:
        b = next((b for b in rest if s.storage.interchangeable(a, b)), None)
        if b is not None:
            rest.remove(b)
            pairs.append((a, b))
    return pairs


CONTROL: dict[str, Callable[[Scheduler, Op], None]] = {"if": if_else, "for": for_loop, "while": while_loop}
