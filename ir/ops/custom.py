"""Values with a derivative of the user's own, and rules applied.

In: values that were computed somehow (`outs`), the values they are a function of (`args`), and the rule. Out: the same
values, whose derivative with respect to `args` is the rule's, whatever computed them:

    %y: f64 = custom %x, %y0, %r {args=1, outs=1, pullback=func @backward(%r: f64, %dy: f64) -> f64 {
      %dx: f64 = mul %r, %dy
      return %dx
    }, pullback_at=(1,)}

The operands are `args`, `outs`, then whatever else the rule reads. A `pullback` takes these last values and the
cotangents of `outs`, which stand among its arguments at the positions `pullback_at`, and returns the cotangents of
`args`; a `pushforward` is the same of tangents, and serves reverse mode, too, transposed, where there is no pullback;
a pullback that is `linear` in the cotangents serves forward mode in the same way.
A rule may take the operation's own results besides, at the positions `pullback_outs` (`pushforward_outs`): they have
the rule as their derivative, as `outs` have not. Where there is a function `recompute`, the last operands are its
arguments and its derivative is the rule: so its reverse sweep starts with its
forward sweep (see `ir.adjoint.checkpoint`). Without a rule, but with the name of a function `deepest`, the values may
not be differentiated.

A rule is a function of its own and closed: no pass looks into it before it is put in place. In a reverse sweep it
stands as `call` until the sweep is finished (`ir.adjoint.expand`). Where nothing is differentiated any more, the pass
`drop_rules` takes `custom` out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from ..core import Function, Op, Region, Value, builder
from ..errors import UnsupportedError
from ..rewrite import inline
from ..types import Type
from .declare import OpDef, declare, extents_of, zeros_like

__all__ = ["custom"]


def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    start, count = attrs["args"], attrs["outs"]
    rest = len(operands) - start - count
    for name, given, gives in (("pullback", count, start), ("pushforward", start, count)):
        rule = attrs.get(name)
        if rule is None:
            continue
        own = len(attrs.get(f"{name}_outs", ()))
        if (len(rule.args), len(attrs[f"{name}_at"]), len(rule.results)) != (rest + given + own, given, gives):
            raise TypeError(f"the {name} does not take {rest} values and {given} directions to {gives}")
    if attrs.get("recompute") is not None and len(attrs["recompute"].args) != rest:
        raise TypeError(f"{rest} operands are not the arguments of what is to be computed again")
    return [v.type for v in operands[start : start + count]]


def evaluate(*operands: Any, args: int, outs: int, **_: Any) -> Any:
    found = operands[args : args + outs]
    return found[0] if outs == 1 else found


def extents(op: Op) -> list[list[Value]]:
    start, count = op.attrs["args"], op.attrs["outs"]
    return [extents_of(v) for v in op.operands[start : start + count]]


def merged(
    rest: Sequence[Value],
    positions: Sequence[int],
    directions: Sequence[Value],
    outs_at: Sequence[int] = (),
    outs: Sequence[Value] = (),
) -> list[Value]:
    """A rule's arguments: `directions`, and `outs`, at their positions among the other values."""
    others, known = iter(rest), dict(zip(positions, directions, strict=True))
    known |= dict(zip(outs_at, outs, strict=False))
    return [known[k] if k in known else next(others) for k in range(len(rest) + len(known))]


def called(function: Function, operands: Sequence[Value]) -> list[Value]:
    """The results of a rule, where a reverse sweep is being built."""
    return builder().emit("call", operands, {"function": function}, names=[v.name for v in function.results])


def reverse(
    *operands: Value,
    dy: Any,
    ys: Sequence[Value],
    args: int,
    outs: int,
    pullback: Function | None = None,
    pullback_at: Sequence[int] = (),
    pullback_outs: Sequence[int] = (),
    pushforward: Function | None = None,
    pushforward_at: Sequence[int] = (),
    pushforward_outs: Sequence[int] = (),
    linear: bool = False,
    deepest: str = "",
) -> list[Value | None]:
    dys = list(dy) if isinstance(dy, list) else [dy]
    rest = operands[args + outs :]
    if pullback is not None:
        found = called(pullback, merged(rest, pullback_at, dys, pullback_outs, ys))
    elif pushforward is not None:  # linear in the tangents: transposed, at tangents of zero
        from ..adjoint.vjp import vjp

        transposed = vjp(pushforward, pushforward_at, ["argument"] * outs, keep=[]).function
        zeros = [zeros_like(x) for x in operands[:args]]
        found = called(transposed, [*merged(rest, pushforward_at, zeros, pushforward_outs, ys), *dys])
    else:
        too_deep(deepest)
    return [*found, *[None] * (len(operands) - args)]


def too_deep(name: str) -> NoReturn:
    raise UnsupportedError(
        f"a derivative of this order through the rule of `{name}`, which calls `{name}` itself",
        builder().span,
        help="write the rule without calling the function it is for",
    )


def forward(
    *operands: Value,
    tangents: Sequence[Value | None],
    ys: Sequence[Value],
    args: int,
    outs: int,
    pullback: Function | None = None,
    pullback_at: Sequence[int] = (),
    pullback_outs: Sequence[int] = (),
    pushforward: Function | None = None,
    pushforward_at: Sequence[int] = (),
    pushforward_outs: Sequence[int] = (),
    linear: bool = False,
    recompute: Function | None = None,
    deepest: str = "",
) -> Sequence[Value | None]:
    if deepest:
        too_deep(deepest)
    if recompute is not None:
        from ..adjoint.activity import is_differentiable_type, varied_values
        from ..adjoint.forward import jvp

        floats = [k for k, v in enumerate(recompute.args) if is_differentiable_type(v)]
        moved = [(k, dx) for k, dx in zip(floats, tangents, strict=False) if dx is not None]
        along = jvp(recompute, [k for k, _ in moved], keep=[])
        found = iter(inline(along, [*operands[args + outs :], *(dx for _, dx in moved)]))
        varied = varied_values(recompute, [recompute.args[k] for k, _ in moved])
        pairs = [(v, next(found)) for v in recompute.results if is_differentiable_type(v)]
        return [dv if v in varied else None for v, dv in pairs]
    rest = operands[args + outs :]
    given = [zeros_like(x) if dx is None else dx for x, dx in zip(operands[:args], tangents, strict=False)]
    if pushforward is None and pullback is not None and linear:
        from ..adjoint.vjp import vjp

        transposed = vjp(pullback, pullback_at, ["argument"] * args, keep=[]).function
        zeros = [zeros_like(y) for y in ys]
        return inline(transposed, [*merged(rest, pullback_at, zeros, pullback_outs, ys), *given])
    if pushforward is None:
        raise UnsupportedError(
            "a function with a custom_vjp rule has no derivative in forward mode",
            builder().span,
            help="use reverse mode (grad, vjp, jacrev), or give it a custom_jvp rule, which serves both modes",
        )
    return inline(pushforward, merged(rest, pushforward_at, given, pushforward_outs, ys))


custom = declare(OpDef("custom", infer, evaluate, vjp=reverse, jvp=forward, extents=extents, category="rule", cost=100))

declare(
    OpDef("call", lambda operands, attrs, regions: [v.type for v in attrs["function"].results], category="internal")
)
