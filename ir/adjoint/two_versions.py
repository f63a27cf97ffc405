"""Loops that would keep a few numbers next to a gradient, in two versions: for large extents and for others.

In: a primal function and the plan of its reverse sweep. Out: the function in which such loops have their body twice, of
which an extent chooses one when the program runs; None where there is no such loop. In the branch that knows the extent
to be large, the plan of the new function computes again (`lower_order`) what that of the other branch keeps:

    %t: f64 = for %i in (0, %n) (%s = 0.0) {      %m: i64 = dim %a {axis=1}
      %e: f64 = index %a, %i, %i                  %large: bool = ge %m, 1024
      %y: f64 = tanh %e                       =>  %t: f64 = for %i in (0, %n) (%s = 0.0) {
      %u: f64 = add %s, %y                          %w: f64 = if %large { ... yield %u } else { ... yield %u1 }
      yield %u                                      yield %w
    }                                             }

The tape is a small part of the memory that the gradient of `a` takes, but it comes on top of it. To compute `tanh`
again is a small part of the time where this gradient is large, and up to a quarter where it stays in a cache. The loop
remains one, so that its surroundings fuse as they did. Only loops that compute numbers alone are changed.
"""

from __future__ import annotations

from ..core import Builder, Const, Function, Op, Region, Value, walk
from ..ops.callback import calls_with_effects
from ..rewrite import Rewriter, clone_region
from ..types import I64, Tape
from . import lower_order
from .save import Plan, reads_arguments_alone

__all__ = ["in_two_versions"]


def in_two_versions(function: Function, plan: Plan) -> tuple[Function, int] | None:
    """See the module's docstring: the function, and how many values its sweep keeps if both versions keep the same."""
    prepared, order = plan.prepared, plan.lower_order
    if order is None or any(isinstance(v.type, Tape) for op in walk(function.body) for v in op.results):
        return None  # a program with tapes of its own has been differentiated before: what is on them stays as it is
    found: dict[Op, tuple[Value, int]] = {}
    around: list[Op] = []
    for value in plan.saved_in_order():
        region = prepared.home[value]
        owners = [prepared.sites[r].owner for r in prepared.path(region)]
        loop = next((op for op in reversed(owners) if op is not None and op.name != "if"), None)
        if loop is None:
            continue
        around.append(loop)
        if value.is_array or not plan.can_recompute(value) or not reads_arguments_alone(plan, value):
            continue
        spare = order.grows(region) if computes_numbers(loop) else None
        if spare is not None:
            found.setdefault(loop, spare)
    if not found:
        return None
    loops = [op for op in walk(function.body) if op.name == "for"]
    copies = [op for op in prepared.order if op.name == "for"]
    arguments = dict(zip(prepared.function.args, function.args, strict=False))
    chosen = {}
    for op, copy in zip(loops, copies, strict=True):
        if copy in found:
            array, axis = found[copy]
            chosen[op] = (arguments[array], axis)
    return _Doubling(chosen).function(function), len(plan.saved) + sum(loop in found for loop in around)


def computes_numbers(loop: Op) -> bool:
    """Whether a loop reads arrays, computes numbers, and does nothing else: then its turns are all that there is to it,
    and no pass would have found anything in them that branches hide."""
    body = loop.regions[0]
    ops = list(walk(body))
    made = [*body.args, *(v for op in ops for v in op.results)]
    return (
        not any(v.is_array for v in made)
        and not any(op.name in ("for", "while") for op in ops)
        and not calls_with_effects(body)
    )


class _Doubling(Rewriter):
    def __init__(self, chosen: dict[Op, tuple[Value, int]]) -> None:
        super().__init__()
        self.chosen = chosen

    def visit(self, op: Op) -> None:
        if op not in self.chosen:
            self.copy(op)
            return
        self.changed = True
        array, axis = self.chosen[op]
        body = op.regions[0]
        turn = Region([Value(v.type, v.name) for v in body.args])
        env = {**self.env, **dict(zip(body.args, turn.args, strict=True))}
        with Builder(Region([], self.out), op.span) as b:  # what is emitted goes to the list in hand
            extent = b.emit1("dim", [self.env.get(array, array)], {"axis": axis})
            large = b.emit1("ge", [extent, Const(lower_order.LONG, I64)])
            with Builder(turn, op.span) as inside:
                versions = [clone_region(Region([], body.ops), dict(env)) for _ in range(2)]
                inside.emit("yield", inside.emit("if", [large], {}, versions))
            ends = b.emit("for", self.operands(op), dict(op.attrs), [turn])
        for old, new in zip(op.results, ends, strict=True):
            new.name = old.name
            self.env[old] = new
