"""`vjp`: the joint program of a function's value and the pullback of given cotangents.

In: a primal function (optimized), the numbers of the arguments to differentiate, and for each result what its
cotangent is. Out: an `Adjoint`: one function that runs forward and back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..core import Builder, Const, Function, Op, Region, Value, walk
from ..ops.declare import REGISTRY
from ..rewrite import clone_function
from ..types import Type
from .activity import active_values, is_differentiable_type, loop_parts
from .assemble import assemble
from .cotangents import Cotangent
from .expand import expand_calls
from .prepare import prepare
from .reverse import Reverse
from .save import Plan, make_plan

__all__ = ["Adjoint", "Collected", "vjp"]


@dataclass
class Adjoint:
    """The adjoint program. `function`'s arguments are the primal's, then one cotangent per seeded result ("argument");
    its results are the primal's (those asked for), then one cotangent per differentiated argument."""

    function: Function
    plan: Plan
    boundary: int
    """How many operations the forward sweep has."""
    masked: list[int] = field(default_factory=list)
    """With `collected`: the positions in `wrt` of the cotangents whose masks are further results."""

    def split(self) -> tuple[Function, Function]:
        """The two halves: forward (primal arguments -> results, then residuals) and reverse (residuals, then
        cotangents -> cotangents). Residuals are whatever of the forward half the reverse half mentions."""
        body, end = self.function.body, self.function.body.terminator
        forward_ops, reverse_ops = body.ops[: self.boundary], body.ops[self.boundary : -1]
        count = self.function.attrs["kept"]
        seeds = body.args[len(body.args) - self.function.attrs["seeds"] :]
        defined = {v for op in forward_ops for v in op.results} | set(body.args) - set(seeds)
        used = [v for op in walk(Region([], reverse_ops)) for v in op.operands] + end.operands[count:]
        residuals = [v for v in dict.fromkeys(used) if v in defined]
        name = self.function.name.removesuffix(".vjp")
        args = body.args[: len(body.args) - len(seeds)]
        forward = Function(f"{name}.forward", Region(args, list(forward_ops)), dict(self.function.attrs))
        forward.body.ops.append(Op("return", [*end.operands[:count], *residuals], [], {}, (), end.span))
        reverse = Function(f"{name}.pullback", Region([*residuals, *seeds], list(reverse_ops)), {})
        reverse.body.ops.append(Op("return", end.operands[count:], [], {}, (), end.span))
        return clone_function(forward), clone_function(reverse)


@dataclass(frozen=True)
class Collected:
    """What a sweep within another one goes on from, in further arguments: the cotangents collected so far, then masks.

    `masks`: per result, the type of the mask of its cotangent, if there is one. `begins`, per differentiated argument:
    whether its cotangent is added to something. `begin_masks`: the types of the masks of these, if there are any. Masks
    of the cotangents that come out are further results (`Adjoint.masked`)."""

    masks: Sequence[Type | None]
    begins: Sequence[bool]
    begin_masks: Sequence[Type | None]


def vjp(
    function: Function,
    wrt: Sequence[int],
    seeds: Sequence[str | None],
    keep: Sequence[int] | None = None,
    collected: Collected | None = None,
    donated: bool = False,
) -> Adjoint:
    """Differentiate `function`.

    `wrt`: argument numbers. `seeds`: per result, "one" (its cotangent is 1: a scalar), "argument" (the cotangent is
    a further argument) or None (not differentiated). `keep`: numbers of the results to return (all unless given).
    `collected`: the sweep is part of another one, see there. `donated`: gradients may be written to arguments, once
    these have been read.
    """
    prepared = prepare(function)
    body = prepared.function.body
    results = list(body.terminator.operands)
    inputs = [body.args[k] for k in wrt]
    seeded: list[tuple[Value, Cotangent]] = []
    arguments: list[Value] = []
    masks: list[Value] = []

    def with_mask(value: Value, type_: Type | None) -> Cotangent:
        if type_ is None:
            return Cotangent(value)
        masks.append(Value(type_))
        return Cotangent(value, masks[-1])

    given = collected.masks if collected is not None else [None] * len(results)
    for result, seed, mask in zip(results, seeds, given, strict=True):
        if seed is None:
            continue
        if not is_differentiable_type(result):
            raise TypeError(f"a result of type {result.type} has no cotangent")
        if seed == "one":
            seeded.append((result, Cotangent(Const(1, result.dtype))))
        else:
            argument = Value(result.type, f"{result.name}_adj" if result.name else "y_adj")
            arguments.append(argument)
            seeded.append((result, with_mask(argument, mask)))
    # seeded results count as active where they are arguments themselves, too
    active = active_values(prepared.function, inputs, [r for r, _ in seeded])
    reverse = Reverse(prepared, active)
    begins: dict[Value, Cotangent] = {}
    if collected is not None:
        for v, wants, mask in zip(inputs, collected.begins, collected.begin_masks, strict=True):
            if wants:
                arguments.append(Value(v.type, f"{v.name}_adj" if v.name else "x_adj"))
                begins[v] = with_mask(arguments[-1], mask)
    arguments += masks
    found = reverse.run(seeded, inputs, begins)
    cotangents = [c.value for c in found]
    masked = [k for k, c in enumerate(found) if c.mask is not None] if collected is not None else []
    cotangents += [m for k in masked if (m := found[k].mask) is not None]
    drop_dead(reverse, cotangents)
    # what checkpoints compute again is to save memory; a pullback keeps a copy of each array that it reads again
    read_freely = "argument" not in seeds and not donated
    gradients = [v for v in inputs if v in active] if read_freely else []
    plan = make_plan(prepared, reverse, collected is not None, gradients)
    plan.unreached = [v for v in inputs if v not in active]
    drop_unchosen_undo(reverse, plan)
    drop_dead(reverse, cotangents)
    operations, outputs = assemble(plan, cotangents)
    end = body.ops.pop()
    boundary = len(body.ops)
    body.ops += operations
    body.args += arguments
    kept = results if keep is None else [results[k] for k in keep]
    with Builder(body, end.span) as b:
        b.emit("return", [*kept, *outputs])
    attrs: dict[str, Any] = {k: v for k, v in function.attrs.items() if k != "donated"}
    attrs |= {"kept": len(kept), "seeds": len(arguments)}
    expand_calls(body)
    return Adjoint(Function(f"{function.name}.vjp", body, attrs), plan, boundary, masked)


# ---------------------------------------------------------------- dead code in the sweep


def drop_dead(reverse: Reverse, outputs: Sequence[Value]) -> None:
    """Remove what no cotangent needs from a reverse sweep, so that only what is really needed is asked for."""
    live: set[Value] = set(outputs)
    _mark_live(reverse, live)
    _sweep(reverse, live)


def _mark_live(reverse: Reverse, live: set[Value]) -> None:
    def region(ops: list[Op]) -> None:
        for op in reversed(ops):
            if op.name == "if":
                for inner in op.regions:
                    live.update(y for y, r in zip(inner.terminator.operands, op.results, strict=True) if r in live)
                    region(inner.ops)
                if any(r in live for r in op.results) or has_undo(op):
                    live.add(op.operands[0])
            elif op.name == "for":
                changed = True
                inits, args, yielded = loop_parts(op)
                while changed:
                    before = len(live)
                    for init, arg, new, result in zip(inits, args, yielded, op.results, strict=True):
                        if result in live or arg in live:
                            live.update((init, new, arg, result))
                    region(op.regions[0].ops)
                    changed = len(live) != before
                if any(r in live for r in op.results) or has_undo(op):
                    live.update(op.operands[:2])
            elif REGISTRY[op.name].effect or any(r in live for r in op.results):
                live.update(op.operands)

    region(reverse.region.ops)


def has_undo(op: Op) -> bool:
    return any(inner.name == "undo" or has_undo(inner) for r in op.regions for inner in r.ops)


def _sweep(reverse: Reverse, live: set[Value]) -> None:
    def region(ops: list[Op]) -> list[Op]:
        out: list[Op] = []
        for op in ops:
            if op.regions:
                keep = [k for k, r in enumerate(op.results) if r in live]
                if not keep and not has_undo(op):
                    reverse.reversed_ops.discard(op.attrs["primal"])
                    continue
                if op.name == "for":
                    op.operands[:] = op.operands[:2] + [op.operands[2 + k] for k in keep]
                    args = op.regions[0].args
                    args[:] = args[:1] + [args[1 + k] for k in keep]
                for inner in op.regions:
                    end = inner.terminator
                    end.operands[:] = [end.operands[k] for k in keep]
                    inner.ops[:] = region(inner.ops)
                op.results[:] = [op.results[k] for k in keep]
                out.append(op)
            elif not op.results or any(r in live for r in op.results) or REGISTRY[op.name].effect:
                out.append(op)
        return out

    reverse.region.ops[:] = region(reverse.region.ops)


def drop_unchosen_undo(reverse: Reverse, plan: Plan) -> None:
    """Forget the markers of writes that are not undone, and what only they kept alive."""
    chosen = set(plan.undone_writes)
    for region in [reverse.region, *(r for op in walk(reverse.region) for r in op.regions)]:
        region.ops[:] = [op for op in region.ops if op.name != "undo" or op.attrs["primal"] in chosen]
