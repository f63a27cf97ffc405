"""Additions that are skipped for seeds that do not reach them.

In: a tangent program or a pullback, whose last argument is the seed. Out: `gated(program)`, the same program with one
more argument before the seed, `reach`: integers of the seed's shape, not zero where the seed may be. In a loop, a large
term that is linear in something small is computed and added only where that can be reached:

    %s: f64 = mul %a_dot, %c                              %n: bool = ne %a_bits, 0
    %u: f64[?] = mul %s, %w                               %z: f64[?] = if %n {
    %z: f64[?] = add %y, %u                                 %s: f64 = mul %a_dot, %c
                                                  =>        %u: f64[?] = mul %s, %w
                                                            yield %z1          ; add %y, %u
                                                          } else {
                                                            yield %y
                                                          }

Where a Jacobian's seeds come in chunks, most of what a program adds up is reached by few of them: the points that a
joint moves, the terms of a sum that a parameter is a factor of. What reaches what is known from the program and from
positions (`pattern.py`), not from values: a term that is zero by its value alone is added as ever, and one that is
skipped is zero by structure, whatever it would have been multiplied with. None where there is nothing to skip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..core import Builder, Const, Function, Op, Region, Value, builder, walk
from ..ops import extents_of, lookup
from ..rewrite import clone_op, uses
from ..types import I64, Array, Tape, with_dtype
from .activity import varied_values
from .pattern import Dependence, either_of, filled, union, union_over

__all__ = ["gated"]

SMALL = 64
"""Elements of what a term is linear in, at most: who reaches them is found out for each."""

NARROW = (4, 3, 2)
"""Columns of a factor that are asked for."""

Uses = dict[Value, list[tuple[Op, int]]]


@dataclass(frozen=True)
class Gate:
    """`op` adds to `into` what `members`, in program order, compute from `sources`."""

    op: Op
    into: Value
    members: tuple[Op, ...]
    sources: tuple[Value, ...]


def gated(program: Function) -> Function | None:
    """See the module's docstring."""
    *given, seed = program.args
    values = [*program.args, *(v for op in walk(program.body) for v in op.results)]
    if any(isinstance(v.type, Tape) for v in values):
        return None
    varied = varied_values(program, [seed])
    gates = {gate.op: gate for gate in find(program, varied)}
    if not gates:
        return None
    args = [Value(a.type, a.name) for a in given]
    reach, new = Value(with_dtype(seed.type, I64), "reach"), Value(seed.type, seed.name)
    body = Region([*args, reach, new])
    walker = Gated(dict(zip(program.args, [*args, new], strict=True)), varied, gates)
    walker.tangents[seed] = reach
    with Builder(body) as b:
        walker.region(program.body)
        b.emit("return", [walker.value(v) for v in program.results], span=program.body.terminator.span)
    return Function(program.name, body, dict(program.attrs))


# ---------------------------------------------------------------- which


def find(program: Function, varied: set[Value]) -> Iterator[Gate]:
    """All gates; none is part of another."""
    users = uses(program.body)
    for op in walk(program.body):
        if op.name in ("for", "while"):
            for region in op.regions:
                yield from in_region(region, varied, users)


def in_region(region: Region, varied: set[Value], users: Uses) -> Iterator[Gate]:
    """The gates of a loop's body, the last first."""
    taken: set[Op] = set()
    for k in range(len(region.ops) - 1, -1, -1):
        op = region.ops[k]
        if op not in taken:
            gate = gate_of(op, region.ops[:k], varied, users)
            if gate is not None:
                taken.update(gate.members)
                yield gate


def gate_of(op: Op, before: Sequence[Op], varied: set[Value], users: Uses) -> Gate | None:
    if op.name not in ("add", "accumulate") or not is_large(op.result):
        return None
    first, second = op.operands[:2]
    choices = [(first, second)] if op.name == "accumulate" else [(first, second), (second, first)]
    for into, term in choices:
        if into.type == op.result.type and into in varied and term in varied and into is not term:
            members = cone(op, into, before, users)
            inside = {r for m in members for r in m.results}
            sources = {v: None for o in members for v in o.operands if v in varied and v not in inside}
            added = term in inside and into not in sources  # what is added to counts as a source where it is one
            if added and sources and all(is_small(v) for v in sources):
                return Gate(op, into, tuple(members), tuple(sources))
    return None


def cone(op: Op, into: Value, before: Sequence[Op], users: Uses) -> list[Op]:
    """What computes only what `op` adds to `into`, from small values on."""
    inside = {op}
    for made in reversed(before):
        known = lookup(made.name)
        used = [user for r in made.results for user, _ in users.get(r, [])]
        if (
            used
            and all(user in inside for user in used)
            and not made.regions
            and not known.effect
            and known.category in ("elementwise", "shape", "reduction", "library")
            and not any(r is into or is_small(r) for r in made.results)
        ):
            inside.add(made)
    inside.discard(op)
    return [made for made in before if made in inside]


def is_large(value: Value) -> bool:
    return isinstance(value.type, Array) and None in value.type.dims


def is_wide(value: Value) -> bool:
    """Whether a factor is a matrix of nobody knows how many columns."""
    return isinstance(value.type, Array) and len(value.type.dims) == 2 and value.type.dims[1] is None


def is_small(value: Value) -> bool:
    count = 1
    for n in value.type.dims if isinstance(value.type, Array) else ():
        if n is None:
            return False
        count *= n
    return count <= SMALL


# ---------------------------------------------------------------- the walk


class Gated(Dependence):
    """The program itself, with the sets of its values beside it, for the gates to look at."""

    def __init__(self, env: dict[Value, Value], varied: set[Value], gates: dict[Op, Gate]) -> None:
        super().__init__(env, varied)
        self.gates = gates
        self.members = {op for gate in gates.values() for op in gate.members}

    def simple(self, op: Op) -> None:
        if op in self.members:
            return
        if op in self.gates:
            self.gate(self.gates[op])
        else:
            super().simple(op)

    def gate(self, gate: Gate) -> None:
        into = self.value(gate.into)
        sets = [self.tangents.get(v) for v in gate.sources]
        reached = union([None if s is None else union_over(s, tuple(range(s.rank))) for s in sets])
        result = gate.op.result
        if reached is None:  # by no seed at all
            self.env[result] = into
        else:
            reaches = builder().emit1("ne", [reached, Const(0, I64)])
            add, leave = Region(), Region()
            with Builder(add, gate.op.span) as b:
                b.emit("yield", [self.added(gate, NARROW)])
            with Builder(leave, gate.op.span) as b:
                b.emit("yield", [into])
            self.env[result] = builder().emit("if", [reaches], regions=[add, leave], names=[result.name])[0]
        self.remember(gate, reached)

    def added(self, gate: Gate, narrow: Sequence[int]) -> Value:
        """The sum. Where factors of products turn out to have few columns, with that known: such products are computed
        where they are used."""
        made = {r for m in gate.members for r in m.results}
        products = [m for m in gate.members if m.name == "matmul" and is_wide(m.operands[0])]
        inner = {m: self.value(m.operands[0]) for m in products if m.operands[0] not in made}
        if not inner or not narrow:
            for member in (*gate.members, gate.op):
                clone_op(member, self.env, builder())
            return self.value(gate.op.result)
        count, *others = narrow
        fits: Value | None = None
        for factor in inner.values():
            fit = builder().emit1("eq", [extents_of(factor)[-1], Const(count, I64)])
            fits = fit if fits is None else builder().emit1("logical_and", [fits, fit])
        assert fits is not None
        few, many = Region(), Region()
        before = dict(self.env)
        with Builder(few, gate.op.span) as b:
            for member in (*gate.members, gate.op):
                if member in inner:
                    first, second = map(self.value, member.operands)
                    zero, one, columns = Const(0, I64), Const(1, I64), Const(count, I64)
                    first = b.emit1("index", [first, zero, columns, one], {"spec": ":s"})
                    second = b.emit1("index", [second, zero, columns, one], {"spec": "s" + ":" * (second.rank - 1)})
                    self.env[member.result] = b.emit1("matmul", [first, second])
                else:
                    clone_op(member, self.env, b)
            b.emit("yield", [self.value(gate.op.result)])
        self.env = before
        with Builder(many, gate.op.span) as b:
            b.emit("yield", [self.added(gate, others)])
        return builder().emit("if", [fits], regions=[few, many], names=[gate.op.result.name])[0]

    def remember(self, gate: Gate, reached: Value | None) -> None:
        """Who reaches the sum: who reaches any of it."""
        result, found = gate.op.result, self.tangents.get(gate.into)
        if reached is not None:
            everywhere = filled(reached, extents_of(self.value(result)))
            found = everywhere if found is None else either_of(found, everywhere)
        if found is not None:
            self.tangents[result] = found
