"""Jacobians: the loop over seeds around a tangent program or a pullback, as IR.

In: a function, the numbers of the arguments to differentiate, and the values to apply it to. Out: operations, emitted
through the builder in force, and the blocks of the Jacobian: `blocks[k][j]` is the derivative of result k with respect
to the j-th of these arguments, an array of the result's extents followed by the argument's.

Where every result depends on a window of seeds around its own position alone, a few runs give all entries
(`compress.py`). Else seeds come in chunks of `LANES`: a turn of the loop pushes that many tangents (or pulls that many
cotangents) through one run of the program, in lanes (`lanes.py`), so that what does not depend on the seed is computed
once for all of them. The last chunk begins earlier, so that all are full; lanes beyond the last seed are zero, and cut
off:

    %J0: f64[n,m] = empty %n, %m                           ; m: the number of seeds, or 8 if there are fewer
    %J: f64[n,m] = for %c in (0, %chunks) (%rows = %J0) {
      %first: i64 = minimum (8 * %c), (%m - 8)
      %seeds: f64[m,8] = ...                               ; one where row = first + lane
      ...                                                  ; the tangent program at %seeds
      %next: f64[n,m] = update %rows, %y_dot, %first, 8, 1 {spec=":s"}
      yield %next
    }

What of the program does not depend on the chunk leaves the loop: by loop-invariant motion, from loops that carry both
(`hoist.py`), and for pullbacks because the forward sweep stands before the loop where it has no tapes. What no seed of
a chunk reaches is skipped (`gates.py`). A program that cannot run in lanes gets its seeds one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import Builder as RegionBuilder
from ..core import Const, Function, Region, Value, builder, walk
from ..ops import extents_of, lookup
from ..rewrite import inline
from ..types import I64, Array, Scalar, Tape
from .activity import is_differentiable_type
from .compress import compressed
from .forward import jvp
from .gates import gated
from .hoist import shared
from .lanes import in_lanes
from .vjp import vjp

__all__ = ["Blocks", "forward_blocks", "reverse_blocks", "size"]

Blocks = list[list[Value]]

LANES = 8
"""How many seeds share one run of the program."""


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

        found.append(over_seeds(operands[k], values, program, operands, lead))
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
            out.append(over_seeds(value, inputs, reverse, inline(forward, operands), True, adjoint.function))
        else:
            out.append(over_seeds(value, inputs, adjoint.function, operands, lead=True))
    return out


def over_seeds(
    seeded: Value,
    others: Sequence[Value],
    program: Function,
    operands: Sequence[Value],
    lead: bool,
    whole: Function | None = None,
) -> list[Value]:
    """What `program(*operands, seed)` gives (one value like each of `others`) for every one-hot seed like `seeded`, as
    arrays: with the axes of `seeded` first (`lead`) or last. `whole`: what the program is a part of, if it is."""
    if not seeded.is_array:
        return inline(program, [*operands, Const(1, seeded.dtype)])
    found = compressed(seeded, others, program, operands, lead, whole or program, over_all_seeds)
    return over_all_seeds(seeded, others, program, operands, lead) if found is None else found


def over_all_seeds(
    seeded: Value, others: Sequence[Value], program: Function, operands: Sequence[Value], lead: bool
) -> list[Value]:
    """The same, seed by seed or in lanes."""
    extents = extents_of(seeded)
    count = size(seeded)
    shapes = [extents_of(v) for v in others]
    known = int(count.value) if isinstance(count, Const) else None
    lanes = LANES if known is None else max(1, min(known, LANES))
    skipping = gated(program) if known != lanes else None
    if skipping is not None:
        program = skipping
    if known != lanes:
        program, operands = with_shared(program, operands, 1 if skipping is None else 2)
    runs = in_lanes(program, [len(program.args) - 1], lanes) if known == lanes or shares(program) else None
    if runs is None:
        results = one_by_one(seeded, others, program, operands, lead, skipping is not None)
    elif known == lanes:
        found = inline(runs, [*operands, seeds(seeded, count, lanes, Const(0, I64))])
        results = [lanes_first(v) if lead else v for v in found]
    else:
        results = by_chunks(seeded, others, runs, operands, lead, lanes, skipping is not None)
    if seeded.rank == 1:
        return results
    return [
        builder().emit1("reshape", [v, *extents, *shape] if lead else [v, *shape, *extents])
        for v, shape in zip(results, shapes, strict=True)
    ]


def with_shared(program: Function, operands: Sequence[Value], differ: int) -> tuple[Function, Sequence[Value]]:
    """The program and its operands, where what its loops compute whatever the last `differ` arguments are has been
    computed."""
    count = len(program.args)
    split = shared(program, range(count - differ, count))
    if split is None:
        return program, operands
    first, rest = split
    return rest, [*operands, *inline(first, operands)]


def shares(program: Function) -> bool:
    """Whether seeds in lanes share work. Without control flow, what does not depend on the seed leaves the loop over
    seeds anyway; whole arrays of tangents are then best pushed one by one, while they fit into the cache."""
    ops = list(walk(program.body))
    if any(op.regions or lookup(op.name).category == "library" for op in ops):
        return True
    return not any(
        lookup(op.name).category == "elementwise" and isinstance(r.type, Array) and None in r.type.dims
        for op in ops
        for r in op.results
    )


def seeds(seeded: Value, count: Value, lanes: int, first: Value) -> Value:
    """The one-hot arrays with their ones at `first`, `first` + 1 and so on, in lanes."""
    emit = builder().emit1
    shape = [count, Const(lanes, I64)]
    rows = emit("broadcast", [emit("iota", [count]), *shape], {"axes": (0,)})
    numbers = emit("broadcast", [emit("iota", [shape[1]]), *shape], {"axes": (1,)})
    out = emit("cast", [emit("eq", [emit("sub", [rows, first]), numbers])], {"dtype": seeded.dtype})
    return out if seeded.rank == 1 else emit("reshape", [out, *extents_of(seeded), shape[1]])


def reach_of(seeded: Value, chosen: Value) -> Value:
    """Which seeds are in a run, in the shape of the seed, for `gates`."""
    out = builder().emit1("cast", [chosen], {"dtype": I64})
    return out if seeded.rank == 1 else builder().emit1("reshape", [out, *extents_of(seeded)])


def lanes_first(value: Value) -> Value:
    """The axis of the lanes, which is the last, first."""
    if value.rank == 1:
        return value
    return builder().emit1("transpose", [value], {"perm": (value.rank - 1, *range(value.rank - 1))})


def blank_rows(others: Sequence[Value], count: Value, lead: bool) -> list[Value]:
    shapes = [extents_of(v) for v in others]
    return [
        builder().emit1("empty", [count, *shape] if lead else [*shape, count], {"dtype": v.dtype})
        for v, shape in zip(others, shapes, strict=True)
    ]


def by_chunks(
    seeded: Value,
    others: Sequence[Value],
    runs: Function,
    operands: Sequence[Value],
    lead: bool,
    lanes: int,
    skipping: bool,
) -> list[Value]:
    """Chunk by chunk; `skipping`: whether the program is told which seeds are in the chunk. All chunks are full: the
    last one begins earlier, and where there are fewer seeds than lanes, some are cut off."""
    emit = builder().emit1
    count = size(seeded)
    width = Const(lanes, I64)
    initial = blank_rows(others, emit("maximum", [count, width]), lead)
    chunks = emit("floordiv", [emit("add", [count, Const(lanes - 1, I64)]), width])
    last = emit("maximum", [emit("sub", [count, width]), Const(0, I64)])
    index = Value(Scalar(I64), "chunk")
    body = Region([index, *(Value(v.type) for v in initial)])
    with RegionBuilder(body, builder().span) as b:
        first = b.emit1("minimum", [b.emit1("mul", [index, width]), last])
        given = [*operands, seeds(seeded, count, lanes, first)]
        if skipping:
            numbers = b.emit1("sub", [b.emit1("iota", [count]), first])
            near = [b.emit1("ge", [numbers, Const(0, I64)]), b.emit1("lt", [numbers, width])]
            given.insert(-1, reach_of(seeded, b.emit1("logical_and", near)))
        found = inline(runs, given)
        b.emit(
            "yield", [store_lanes(into, v, first, width, lead) for into, v in zip(body.args[1:], found, strict=True)]
        )
    full = emit_all("for", [Const(0, I64), chunks, *initial], {"reverse": False}, [body])
    some, all_ = Region(), Region()
    with RegionBuilder(some, builder().span) as b:
        one = Const(1, I64)
        specs = ["s" + ":" * (v.rank - 1) if lead else ":" * (v.rank - 1) + "s" for v in full]
        parts = [b.emit1("index", [v, Const(0, I64), count, one], {"spec": spec}) for v, spec in zip(full, specs)]
        b.emit("yield", parts)
    with RegionBuilder(all_, builder().span) as b:
        b.emit("yield", full)
    return emit_all("if", [emit("lt", [count, width])], {}, [some, all_])


def emit_all(name: str, operands: Sequence[Value], attrs: dict[str, Any], regions: Sequence[Region]) -> list[Value]:
    return builder().emit(name, operands, attrs, regions=regions)


def store_lanes(into: Value, found: Value, first: Value, amount: Value, lead: bool) -> Value:
    """All lanes, as rows or columns `first` and following."""
    part = lanes_first(found) if lead else found
    colons = ":" * (found.rank - 1)
    spec = "s" + colons if lead else colons + "s"
    return builder().emit1("update", [into, part, first, amount, Const(1, I64)], {"spec": spec})


def one_by_one(
    seeded: Value,
    others: Sequence[Value],
    program: Function,
    operands: Sequence[Value],
    lead: bool,
    skipping: bool,
) -> list[Value]:
    """Seed by seed; `skipping`: whether the program is told which one it is."""
    count = size(seeded)
    initial = blank_rows(others, count, lead)
    index = Value(Scalar(I64), "seed")
    body = Region([index, *(Value(v.type) for v in initial)])
    with RegionBuilder(body, builder().span) as b:
        blank = b.emit1("fill", [Const(0, seeded.dtype), count])
        seed = b.emit1("update", [blank, Const(1, seeded.dtype), index], {"spec": "i"})
        if seeded.rank != 1:
            seed = b.emit1("reshape", [seed, *extents_of(seeded)])
        given = [*operands, seed]
        if skipping:
            given.insert(-1, reach_of(seeded, b.emit1("eq", [b.emit1("iota", [count]), index])))
        found = inline(program, given)
        rows: list[Value] = []
        for into, v in zip(body.args[1:], found, strict=True):
            colons = ":" * v.rank
            rows.append(b.emit1("update", [into, v, index], {"spec": f"i{colons}" if lead else f"{colons}i"}))
        b.emit("yield", rows)
    return builder().emit("for", [Const(0, I64), count, *initial], {"reverse": False}, regions=[body])
