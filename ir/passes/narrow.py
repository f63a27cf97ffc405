"""Narrow: of an array that waits on a tape, only what will be read of it is kept.

In: a function that is ready to be scheduled. Out: the same, with shorter rows on its tapes. Where all that the reverse
sweep reads of an array that it pops lies between two positions along an axis, which the forward sweep knows as well,
the part between them is pushed, and read from where it begins:

    %u = for %k in (1, %n) (%t = %s, ...) {            %u = for %k in (1, %n) (%t = %s, ...) {
      ...                                                ...
                                                         %p: f64[?] = index %y, 0, %k, 1 {spec="s"}
      %t1: tape[f64[?]] = tape.push %t, %y               %t1: tape[f64[?]] = tape.push %t, %p
    }                                            =>    }
    ... = for %k in reverse(1, %n) (%r = %u, ...) {    ... = for %k in reverse(1, %n) (%r = %u, ...) {
      %r1, %v: f64[?] = tape.pop %r, %n                  %r1, %v: f64[?] = tape.pop %r, %k
      %w: f64[?] = index %v, %j, %k, -1 {spec="s"}       %w: f64[?] = index %v, %j, %k, -1 {spec="s"}

So recurrences that work on the first `k` elements in turn `k` keep triangles instead of squares. Loops have to be
`for`s over the same range, one in the direction of the other's mirror; the positions linear in what is known before
the loops and the turn of one of them, so that where a row stands follows from the turn (`codegen.lower.tapes`). That
everything read lies in between is proven (`ir.affine`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..affine import Facts
from ..core import Builder, Const, Function, Op, Region, Value, walk
from ..linear import Linear
from ..ops.indexing import split_spec
from ..rewrite import clone_function
from ..types import I64, Array, Tape
from .stacks import Follower, Site, Uses

__all__ = ["run"]

Ends = tuple[Linear, Linear]
"""The first position, and the one after the last."""


@dataclass(eq=False)
class Row:
    """An array that is pushed, popped, and read by some operations; `turns` are the indices of the loops around its
    push, with those of the mirrored loops."""

    push: Site
    pop: Site
    reads: list[Op]
    turns: list[tuple[Value, Value]]

    @property
    def value(self) -> Value:
        return self.pop.op.results[1]


def run(function: Function) -> Function:
    """`function` itself where all that is kept is read. With threads, turns are told apart by where their rows stand,
    which has to be a multiple of the turn's number."""
    if "threads" in function.attrs or not any(True for _ in candidates(function)):
        return function
    out = clone_function(function)
    facts, changed = Facts(out), False
    for row in list(candidates(out)):
        changed |= narrowed(row, facts, out)
    return out if changed else function


def candidates(function: Function) -> Iterator[Row]:
    """Arrays on tapes of which parts are read."""
    tapes = [op for op in function.body.ops if op.name == "tape.new"]
    tapes = [op for op in tapes if isinstance(op.result.type, Tape) and isinstance(op.result.type.element, Array)]
    if not tapes:
        return
    uses = Uses(function)
    for new in tapes:
        follower = Follower(uses)
        if not follower.follow(new.result, function.body, ()) or follower.end is not None:
            continue
        if len(follower.pushes) != 1 or len(follower.pops) != 1:
            continue
        push, pop = follower.pushes[0], follower.pops[0]
        turns = mirrored(push, pop)
        value = pop.op.results[1]
        reads = [op for op in walk(pop.region) if value in op.operands]
        if turns and reads and all(op.name == "index" and value not in op.operands[1:] for op in reads):
            yield Row(push, pop, reads, turns)


def mirrored(push: Site, pop: Site) -> list[tuple[Value, Value]] | None:
    """The indices of the loops around a push with those around the pop; None where the latter are not the mirrors.
    What is around these, too, are the same branches of `if`s on the same condition."""
    if len(push.path) != len(pop.path):
        return None
    out: list[tuple[Value, Value]] = []
    for (forward, branch), (backward, mirror) in zip(push.path, pop.path):
        if forward.name == backward.name == "if" and forward.operands == backward.operands and branch == mirror:
            continue
        if forward.name != "for" or backward.name != "for":
            return None
        if bool(forward.attrs.get("reverse")) == bool(backward.attrs.get("reverse")):
            return None
        known: dict[Value, Value] = {b: a for a, b in out}
        for a, b in zip(forward.operands[:2], backward.operands[:2]):
            if a != known.get(b, b):
                return None
        out.append((forward.regions[0].args[0], backward.regions[0].args[0]))
    return out


def narrowed(row: Row, facts: Facts, function: Function) -> bool:
    """Shorten a row along the first axis that it can be shortened along; whether there is one."""
    type_ = row.value.type
    assert isinstance(type_, Array)
    outside = known_before(row, function)
    for axis, fixed in enumerate(type_.dims):
        if fixed is None:
            ends = hull(row, axis, facts, outside)
            if ends is not None:
                shorten(row, axis, ends)
                return True
    return False


def known_before(row: Row, function: Function) -> set[Value]:
    """What is known where the loops around the push begin, and stays known."""
    out = set(function.args)
    for op in function.body.ops:
        if op is row.push.path[0][0]:
            break
        out.update(op.results)
    return out


# ---------------------------------------------------------------- which part


def hull(row: Row, axis: int, facts: Facts, outside: set[Value]) -> Ends | None:
    """What is read of a row along an axis, in terms of the mirrored loops; None where that is not known, or all."""
    extent = facts.resolve(facts.linear(row.pop.op.operands[1 + axis]))
    facts.push()
    try:
        for loop, _ in row.pop.path:
            if loop.name == "for":
                facts.enter_loop(loop)
        reads: list[tuple[Ends, Linear | None]] = []
        for op in row.reads:
            found = read_by(op, axis, facts)
            if found is None:
                return None
            reads.append(found)
        firsts = dict.fromkeys([Linear(0), *(first for (first, _), _ in reads)])
        afters = dict.fromkeys(after for (_, after), _ in reads)
        for after in afters:
            for first in reversed(firsts):
                if first == Linear(0) and after == extent:
                    continue
                if not fits(row, after - first, outside) or not fits(row, first, outside):
                    continue
                if covers((first, after), reads, extent, facts):
                    return first, after
    finally:
        facts.pop()
    return None


def read_by(op: Op, axis: int, facts: Facts) -> tuple[Ends, Linear | None] | None:
    """From where to where an operation reads along an axis, and, if that may be nothing, how much it reads."""
    spec = op.attrs["spec"]
    part = split_spec(spec, op.operands[1:])[axis]
    if spec[axis] == "i":
        at = facts.resolve(facts.linear(part[0]))
        return (at, at + 1), None
    if spec[axis] == ":":
        return None
    start, length, step = (facts.resolve(facts.linear(p)) for p in part)
    if step.terms or step.const == 0:
        return None
    last = start + (length - 1).times(step.const)
    return ((start, last + 1) if step.const > 0 else (last, start + 1)), length


def covers(ends: Ends, reads: Sequence[tuple[Ends, Linear | None]], extent: Linear, facts: Facts) -> bool:
    """Whether a part of a row surely is one, and has everything that is read."""
    first, after = ends
    if not (facts.nonneg(first) and facts.nonneg(after - first) and facts.nonneg(extent - after)):
        return False
    for (low, high), length in reads:
        facts.push()
        try:
            if length is not None:
                facts.assume_nonneg(length - 1)  # else nothing is read
            if not (facts.nonneg(low - first) and facts.nonneg(after - high)):
                return False
        finally:
            facts.pop()
    return True


def fits(row: Row, form: Linear, outside: set[Value]) -> bool:
    """Whether a form can be had in both sweeps: it is of what is known before them, and of one of their turns."""
    turns = {mirror for _, mirror in row.turns}
    arguments = [v for v in outside if v.op is None]
    used = 0
    for atom in form.terms:
        if isinstance(atom, Value) and atom in turns:
            used += 1
        elif (atom[1] not in arguments) if isinstance(atom, tuple) else (atom not in outside):
            return False
    return used <= 1


# ---------------------------------------------------------------- the change


def shorten(row: Row, axis: int, ends: Ends) -> None:
    """Push and pop the part of a row between two ends."""
    first, after = ends
    push, pop = row.push.op, row.pop.op
    array = push.operands[1]
    assert isinstance(array.type, Array)
    forward = {mirror: own for own, mirror in row.turns}
    with Builder(Region(), push.span) as b:
        begin, length = written(b, first, forward), written(b, after - first, forward)
        spec = "".join("s" if k == axis else ":" for k in range(array.rank))
        part = b.emit1("index", [array, begin, length, Const(1, I64)], {"spec": spec}, names=[array.name])
        at = row.push.region.ops.index(push)
        row.push.region.ops[at:at] = b.region.ops
    push.operands[1] = part
    with Builder(Region(), pop.span) as b:
        begin = written(b, first, {})
        pop.operands[1 + axis] = written(b, after - first, {})
        at = row.pop.region.ops.index(pop)
        row.pop.region.ops[at:at] = b.region.ops
    for op in row.reads if first != Linear(0) else ():
        moved = 1 + sum({"i": 1, "s": 3, ":": 0}[letter] for letter in op.attrs["spec"][:axis])
        shift(op, moved, begin, row.pop.region)


def shift(op: Op, at: int, by: Value, region: Region) -> None:
    """Let an operation in a region, or in loops and branches in it, read so much further to the front."""
    for here in [region, *(inner for outer in walk(region) for inner in outer.regions)]:
        if op in here.ops:
            with Builder(Region(), op.span) as b:
                op.operands[at] = b.emit1("sub", [op.operands[at], by])
                place = here.ops.index(op)
                here.ops[place:place] = b.region.ops
            return


def written(b: Builder, form: Linear, turns: dict[Value, Value]) -> Value:
    """A form as a value, for other turns than those that it names where `turns` has them."""
    out: Value = Const(form.const, I64)
    for atom, factor in form.terms.items():
        if isinstance(atom, tuple):
            value = b.emit1("dim", [atom[1]], {"axis": atom[2]})
        else:
            assert isinstance(atom, Value)
            value = turns.get(atom, atom)
        term = value if factor == 1 else b.emit1("mul", [value, Const(factor, I64)])
        plain = isinstance(out, Const) and out.value == 0
        out = term if plain else b.emit1("add", [out, term])
    return out
