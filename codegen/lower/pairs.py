"""The inner loops of a turn as one, whose index is comparable with that of the loop around.

In: a loop over %j. Out: its inner loops as one loop over %k, for `triangles`, with the operations that it needs; the
loop over %j stays as it is until `Pairs.enter`, and is as it was again after `Pairs.leave`.

    for %j in (0, %n) {                              for %j in (0, %n) {
      %h: i64 = sub %n, %j                             %l: i64 = add %j, 1
      %m: i64 = sub %h, 1
      for %p in (0, %m) { ... %x[%p + %j + 1] ... }    for %k in (%l, %n) {
      for %q in (0, %m) { ... %y[%q + %j + 1] ... }      ... %x[%k] ... %y[%k] ...
    }                                          =>      }
                                                     }

Slices count from where they begin, so that one from %j + 1 on has the positions 0, 1, ...; here %k is what it is an
index of. Whether the loops may be run as one, pair by pair, is for `triangles` to say: `part` tells which pair of
operations comes from which of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.core import Builder, Const, Op, Region, Value, builder
from ...ir.rewrite import Env, copy_op
from ...ir.types import I64, Scalar
from .accesses import Form, effects
from .loops import affine, scaled, summed

__all__ = ["Pairs", "pairs_of"]


@dataclass
class Pairs:
    """The inner loop of `outer` that stands for `replaced`. `outside`, `inside`: operations in front of the outer and
    of the inner loop; `part`: of operations of its body, the number of the loop that they come from."""

    outer: Op
    loop: Op
    replaced: list[Op]
    outside: list[Op] = field(default_factory=list)
    inside: list[Op] = field(default_factory=list)
    part: dict[Op, int] = field(default_factory=dict)

    def enter(self) -> None:
        body = self.outer.regions[0].ops
        at = body.index(self.replaced[0])
        body[at : at + len(self.replaced)] = [*self.inside, self.loop]
        self.give_results(self.replaced[0], self.loop)

    def leave(self) -> None:
        body = self.outer.regions[0].ops
        at = body.index(self.loop) - len(self.inside)
        body[at : at + len(self.inside) + 1] = self.replaced
        self.give_results(self.loop, self.replaced[0])

    @staticmethod
    def give_results(one: Op, other: Op) -> None:
        """What follows goes on with the same values."""
        other.results = one.results
        for value in other.results:
            value.op = other


def pairs_of(outer: Op) -> Pairs | None:
    """The inner loops of a loop as one; None where they have different ranges, or something comes between them."""
    ops = outer.regions[0].ops
    loops = [op for op in ops if op.regions]
    first = loops[0]
    at = ops.index(first)
    if ops[at : at + len(loops)] != loops or any(op.name != "for" for op in loops):
        return None
    if len(loops) > 1 and any(op.results or op.operands != first.operands or op.attrs != first.attrs for op in loops):
        return None
    changing = effects(outer).defines
    moved = shifted(first, outer.regions[0].args[0], changing)
    if moved is None:
        return None
    by, *forms = moved
    found = Pairs(outer, first, loops)
    ends: list[Value] = []
    for form, end in zip(forms, first.operands[:2], strict=True):
        outside = not any(v in changing for v in form[0])
        if by == ({}, 0) and (end not in changing or not outside):
            ends.append(end)
            continue
        with Builder(Region(), outer.span) as b:
            ends.append(value_of(form))
        (found.outside if outside else found.inside).extend(b.region.ops)
    if len(loops) == 1 and ends == first.operands[:2]:
        found.part = dict.fromkeys(first.regions[0].ops, 0)
        return found
    index = Value(Scalar(I64), first.regions[0].args[0].name)
    body = Region([index])
    with Builder(body, first.span) as b:
        position = value_of(summed(({index: 1}, 0), scaled(by, -1)))
        env: Env = {}
        carried = [Value(v.type, v.name) for v in first.regions[0].args[1:]]
        body.args += carried
        env.update(zip(first.regions[0].args[1:], carried, strict=True))
        for number, loop in enumerate(loops):
            env[loop.regions[0].args[0]] = position
            for op in loop.regions[0].ops[:-1]:
                new = copy_op(op, env)
                if op.name in ("buffer.load", "buffer.store"):
                    first_index = 1 if op.name == "buffer.load" else 2
                    new.operands[first_index:] = [value_of(affine(v)) for v in new.operands[first_index:]]
                body.ops.append(new)
                found.part[new] = number
        b.emit("yield", [v if isinstance(v, Const) else env.get(v, v) for v in first.regions[0].terminator.operands])
    types = [v.type for v in first.results]
    found.loop = Op("for", [*ends, *first.operands[2:]], types, dict(first.attrs), [body], first.span)
    return found


def shifted(loop: Op, j: Value, changing: set[Value]) -> tuple[Form, Form, Form] | None:
    """By how much an index is to be moved, and the ends of its range then: both the same in all turns of the loop
    around, or one of them, and the other one that loop's index or the one after."""
    low, high = (affine(v) for v in loop.operands[:2])
    here: Form = ({j: 1}, 0)

    def stays(form: Form) -> bool:
        return not any(v in changing for v in form[0])

    def beside(form: Form) -> bool:
        return summed(form, scaled(here, -1)) in (({}, 0), ({}, 1))

    if (stays(low) and (stays(high) or beside(high))) or (stays(high) and beside(low)):
        return ({}, 0), low, high
    by = summed(here, scaled(high, -1))
    if stays(summed(low, by)):
        return by, summed(low, by), here
    after: Form = ({j: 1}, 1)
    by = summed(after, scaled(low, -1))
    if stays(summed(high, by)):
        return by, after, summed(high, by)
    return None


def value_of(form: Form) -> Value:
    """An affine form as a value."""
    terms, constant = form
    out: Value | None = None
    for value, factor in sorted(terms.items(), key=lambda term: -term[1]):
        if out is None:
            out = value if factor == 1 else value * Const(factor, I64)
        elif factor == -1:
            out = out - value
        else:
            out = out + (value if factor == 1 else value * Const(factor, I64))
    if out is None:
        return Const(constant, I64)
    if constant == 0:
        return out
    return builder().emit1("add" if constant > 0 else "sub", [out, Const(abs(constant), I64)])
