"""Jacobians: the loop over seeds around a tangent program or a pullback, as IR.

In: a function, the numbers of the arguments to differentiate, and the values to apply it to. Out: operations, emitted
through the builder in force, and the blocks of the Jacobian: `blocks[k][j]` is the derivative of result k with respect
to the j-th of these arguments, an array of the result's extents followed by the argument's.

    %J0: f64[n,n] = empty %n, %n
    %J: f64[n,n] = for %k in (0, %n) (%rows = %J0) {
      %zeros: f64[n] = fill 0.0, %n
      %seed: f64[n] = update %zeros, 1.0, %k {spec="i"}
      ...                                                  ; the tangent program at %seed
      %next: f64[n,n] = update %rows, %y_dot, %k {spec=":i"}
      yield %next
    }

What of the program does not depend on the seed leaves the loop: by loop-invariant motion, and for pullbacks because
the forward sweep stands before the loop where it has no tapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core import Builder as RegionBuilder
from ..core import Const, Function, Region, Value, builder
from ..ops import extents_of, zeros_like
from ..rewrite import inline
from ..types import I64, Tape
from .activity import is_differentiable_type
from .forward import jvp
from .vjp import vjp

__all__ = ["Blocks", "forward_blocks", "reverse_blocks", "size"]

Blocks = list[list[Value]]


def size(value: Value) -> Value:
    """How many elements a value has."""
    out: Value = Const(1, I64)
    for n in extents_of(value):
        out = n if isinstance(out, Const) and out.value == 1 else out * n
    return out


def forward_blocks(
    function: Function,
    wrt: Sequence[int],
    operands: Sequence[Value],
    values: Sequence[Value],
    lead: bool = False,
) -> Blocks:
    """One tangent program per element of the arguments; `values`: the results, which say their extents.

    `lead`: put the argument's axes first (rows are written then, not columns).
    """
    found: list[list[Value]] = []  # per argument
    for k in wrt:
        program = jvp(function, [k], keep=[])
        order = [n for n, v in enumerate(function.results) if is_differentiable_type(v)]
        assert len(order) == len(values), "every result of a Jacobian is a float"

        def turn(seed: Value, program: Function = program) -> list[Value]:
            return inline(program, [*operands, seed])

        found.append(over_seeds(operands[k], values, turn, lead))
    return [[found[j][n] for j in range(len(wrt))] for n in range(len(values))]


def reverse_blocks(
    function: Function, wrt: Sequence[int], operands: Sequence[Value], values: Sequence[Value]
) -> Blocks:
    """One reverse sweep per element of the results. The forward sweep stands before the loop, unless it has tapes,
    which can be read only once."""
    inputs = [operands[k] for k in wrt]
    out: Blocks = []
    for n, value in enumerate(values):
        seeds = ["argument" if k == n else None for k in range(len(values))]
        adjoint = vjp(function, wrt, seeds, keep=[])
        forward, reverse = adjoint.split()
        if value.is_array and not any(isinstance(v.type, Tape) for v in forward.results):
            residuals = inline(forward, operands)

            def turn(seed: Value, reverse: Function = reverse, residuals: list[Value] = residuals) -> list[Value]:
                return inline(reverse, [*residuals, seed])
        else:

            def turn(seed: Value, joint: Function = adjoint.function) -> list[Value]:  # type: ignore[misc]
                return inline(joint, [*operands, seed])

        out.append(over_seeds(value, inputs, turn, lead=True))
    return out


def over_seeds(seeded: Value, others: Sequence[Value], turn: Callable[[Value], list[Value]], lead: bool) -> list[Value]:
    """What `turn(seed)` gives (one value like each of `others`) for every one-hot seed like `seeded`, as arrays: with
    the axes of `seeded` first (`lead`) or last."""
    if not seeded.is_array:
        return turn(Const(1, seeded.dtype))
    extents = extents_of(seeded)
    count = size(seeded)
    shapes = [extents_of(v) if v.is_array else [] for v in others]
    initial = [
        builder().emit1("empty", [count, *shape] if lead else [*shape, count], {"dtype": v.dtype})
        for v, shape in zip(others, shapes, strict=True)
    ]
    index = Value(Const(0, I64).type, "seed")
    body = Region([index, *(Value(v.type) for v in initial)])
    with RegionBuilder(body, builder().span) as b:
        blank = b.emit1("fill", [Const(0, seeded.dtype), count])
        seed = b.emit1("update", [blank, Const(1, seeded.dtype), index], {"spec": "i"})
        if seeded.rank != 1:
            seed = b.emit1("reshape", [seed, *extents])
        found = turn(seed)
        rows: list[Value] = []
        for into, v, like in zip(body.args[1:], found, others, strict=True):
            colons = ":" * like.rank
            v = zeros_like(like) if v is None else v
            rows.append(b.emit1("update", [into, v, index], {"spec": f"i{colons}" if lead else f"{colons}i"}))
        b.emit("yield", rows)
    results = builder().emit("for", [Const(0, I64), count, *initial], {"reverse": False}, regions=[body])
    if seeded.rank == 1:
        return results
    return [
        builder().emit1("reshape", [v, *extents, *shape] if lead else [v, *shape, *extents])
        for v, shape in zip(results, shapes, strict=True)
    ]
