"""Parking: what is kept while the place it came from is overwritten by a number stays there, and the number waits.

In: a scheduled function, changed in place. Out: nothing. What a reverse sweep hands on to an array that a step has
overwritten is taken out of that array's cotangent, which is cleared, and kept meanwhile in memory of its own. As long
as nothing else looks at the cotangent, it can stay where it was:

    for %i in (0, %n) { for %j in (0, %m) {            for %i in (0, %n) { for %j in (0, %m) {
      %p: i64 = add %i, 1                                %p: i64 = add %i, 1
      ...                                                ...
      buffer.store %v, %t, %i, %j                        buffer.store %v, %x, %p, %j
      buffer.store 0.0, %x, %p, %j                       yield
      yield                                      =>    } yield }
    } yield }
    ... = buffer.load %t, %k, %l                       %q: i64 = add %k, 1
                                                       ... = buffer.load %x, %q, %l
                                                       for %i in (0, %n) { for %j in (0, %m) {
                                                         buffer.store 0.0, %x, ...

As many numbers are written as before, to one array less. The nest writes all of %t, and nothing else does; all that
reads %t comes after it in the same region, and nothing up to the last of these touches %x. Both are allocated by the
function and go by no other names. Arrays of one axis are left to `skewing`, which keeps only windows of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...ir.core import Builder, Const, Function, Op, Region, Value, builder, walk
from ...ir.rewrite import defined
from ...ir.types import I64, Buffer, Scalar
from .accesses import effects, root_of
from .inheriting import carried
from .loops import affine

__all__ = ["park"]

LEAST_RANK = 2
ZERO = Const(0, I64)


@dataclass
class Parked:
    """`kept` is stored to `aside` by a turn of `nest` that stores `number` to `place`, whose positions are the turn's
    indices plus `shifts`; `last` is the last operation that reads what was kept."""

    nest: Op
    body: Region
    aside: Op
    place: Op
    shifts: list[tuple[dict[Value, int], int]]
    last: Op


def park(function: Function) -> None:
    """See the module's docstring."""
    made = {op.result for op in walk(function.body) if op.name == "buffer.alloc" and len(op.operands) >= LEAST_RANK}
    if len(made) < 2:
        return
    made -= carried(function.body)
    uses: dict[Value, list[Op]] = {buffer: [] for buffer in made}
    for op in walk(function.body):
        for operand in dict.fromkeys(op.operands):
            if operand in made:
                uses[operand].append(op)
    for region in [function.body, *(inner for op in walk(function.body) for inner in op.regions)]:
        for op in list(region.ops):
            if op.name == "for" and not op.results:
                found = parked(region, op, made, uses)
                if found is not None:
                    leave(region, found, uses)


def parked(region: Region, nest: Op, made: set[Value], uses: dict[Value, list[Op]]) -> Parked | None:
    """What a nest puts aside, and can leave where it was."""
    loops, body = levels(nest)
    stores = [op for op in body.ops if op.name == "buffer.store"]
    indices = [loop.regions[0].args[0] for loop in loops]
    inside = defined(*nest.regions)
    for aside in stores:
        kept = aside.operands[1]
        if kept not in made or aside.operands[2:] != indices or not fills(loops, kept):
            continue
        last = last_reader(region, nest, aside, uses[kept])
        if last is None:
            continue
        for place in stores:
            target = place.operands[1]
            if target not in made or target is kept or not isinstance(place.operands[0], Const):
                continue
            shifts = shifted(place.operands[2:], indices, inside)
            if shifts is None or target.type != kept.type:
                continue
            if untouched(region, nest, last, target) and own_element(nest, body, place, aside):
                return Parked(nest, body, aside, place, shifts, last)
    return None


def levels(nest: Op) -> tuple[list[Op], Region]:
    """The loops of a nest that stand in one another, with nothing but numbers next to them, and the innermost body."""
    loops = [nest]
    while True:
        body = loops[-1].regions[0]
        further = [op for op in body.ops if op.regions]
        if len(further) != 1 or further[0].name != "for" or further[0].results or touches_memory(body):
            return loops, body
        loops.append(further[0])


def touches_memory(body: Region) -> bool:
    return any(isinstance(v.type, Buffer) for op in body.ops for v in op.operands if not op.regions)


def fills(loops: Sequence[Op], buffer: Value) -> bool:
    """Whether the loops run through all of a buffer."""
    assert buffer.op is not None
    return [loop.operands[1] for loop in loops] == buffer.op.operands and all(
        loop.operands[0] == ZERO for loop in loops
    )


def last_reader(region: Region, nest: Op, aside: Op, users: Sequence[Op]) -> Op | None:
    """The last operation of a region that reads what is put aside, if all that use it are in later ones, and read."""
    last: Op | None = None
    found = {aside}
    for op in region.ops[region.ops.index(nest) + 1 :]:
        inside = {op, *(x for inner in op.regions for x in walk(inner))}
        readers = [user for user in users if user in inside]
        if readers:
            last = op
            found.update(readers)
    if len(found) != len(users) or any(op is not aside and op.name != "buffer.load" for op in users):
        return None
    return last


def shifted(
    position: Sequence[Value], indices: Sequence[Value], inside: set[Value]
) -> list[tuple[dict[Value, int], int]] | None:
    """By how much each part of a position is more than the index of its loop, in terms of what is known before."""
    if len(position) != len(indices):
        return None
    out: list[tuple[dict[Value, int], int]] = []
    for part, index in zip(position, indices):
        terms, constant = affine(part)
        terms = dict(terms)
        if terms.pop(index, 0) != 1 or any(v in inside for v in terms):
            return None
        out.append((terms, constant))
    return out


def untouched(region: Region, nest: Op, last: Op, target: Value) -> bool:
    """Whether nothing after a nest and up to an operation touches a buffer."""
    first, end = region.ops.index(nest), region.ops.index(last)
    return all(target not in effects(op).roots for op in region.ops[first + 1 : end + 1])


def own_element(nest: Op, body: Region, place: Op, aside: Op) -> bool:
    """Whether a turn touches the element that it overwrites alone, reads it before anything is stored to it, and does
    nothing to the array by other means."""
    target = place.operands[1]
    first = min(body.ops.index(place), body.ops.index(aside))
    for access in effects(nest).accesses:
        if access.root is not root_of(target) or access.op is place:
            continue
        if access.write or access.op not in body.ops or body.ops.index(access.op) > first:
            return False
        if access.position is None or [affine(p) for p in access.position] != [affine(p) for p in place.operands[2:]]:
            return False
    return True


# ---------------------------------------------------------------- the change


def leave(region: Region, found: Parked, uses: dict[Value, list[Op]]) -> None:
    """Let what is put aside stay in its place, and clear that after it was read."""
    target, kept = found.place.operands[1], found.aside.operands[1]
    number, position = found.place.operands[0], found.place.operands[2:]
    with Builder(Region(), found.nest.span) as b:
        shifts = [written(b, terms, constant) for terms, constant in found.shifts]
        at = region.ops.index(found.nest)
        region.ops[at:at] = b.region.ops
    store = Op("buffer.store", [found.aside.operands[0], target, *position], [], {}, (), found.aside.span)
    ops = found.body.ops
    ops[max(ops.index(found.aside), ops.index(found.place))] = store
    ops[:] = [op for op in ops if op is not found.aside and op is not found.place]
    for where, load in readers(region, kept):
        with Builder(Region(), load.span) as b:
            load.operands[:] = [target, *(moved(b, p, shift) for p, shift in zip(load.operands[1:], shifts))]
            here = where.ops.index(load)
            where.ops[here:here] = b.region.ops
        uses[target].append(load)
    cleared = Region()
    with Builder(cleared, found.place.span):
        clearing(kept.op.operands if kept.op is not None else [], number, target, shifts)
    at = region.ops.index(found.last) + 1
    region.ops[at:at] = cleared.ops
    uses[kept].clear()
    uses[target] += [store, *(op for op in walk(cleared) if op.name == "buffer.store")]


def readers(region: Region, kept: Value) -> Iterator[tuple[Region, Op]]:
    """The loads of a buffer in a region, each with the region that it stands in."""
    for here in [region, *(inner for op in walk(region) for inner in op.regions)]:
        for op in list(here.ops):
            if op.name == "buffer.load" and op.operands[0] is kept:
                yield here, op


def written(b: Builder, terms: dict[Value, int], constant: int) -> Value:
    """A shift as a value."""
    out: Value = Const(constant, I64)
    for value, factor in terms.items():
        term = value if factor == 1 else b.emit1("mul", [value, Const(factor, I64)])
        out = moved(b, term, out)
    return out


def moved(b: Builder, position: Value, shift: Value) -> Value:
    return position if shift == ZERO else b.emit1("add", [position, shift])


def clearing(extents: Sequence[Value], number: Value, target: Value, shifts: Sequence[Value]) -> None:
    """Emit a nest of loops that stores a number to a part of a buffer."""
    indices = [Value(Scalar(I64)) for _ in extents]

    def level(k: int) -> None:
        if k == len(extents):
            position = [moved(builder(), i, shift) for i, shift in zip(indices, shifts)]
            builder().emit("buffer.store", [number, target, *position])
            return
        body = Region([indices[k]])
        with Builder(body, builder().span) as b:
            level(k + 1)
            b.emit("yield", [])
        builder().emit("for", [ZERO, extents[k]], {}, [body])

    level(0)
