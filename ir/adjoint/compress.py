"""Banded Jacobians from few runs: seeds whose windows do not meet share a run.

In: what `jacobian.over_seeds` gets. Out: the same, or None where no axis of the seed has a band (`windows.py`). With a
band of width w along an axis, the seeds j, j + w, j + 2w and so on are pushed together: of all that an element of the
result can depend on, one seed is among them. So w runs give all entries; the rest of the result is zero by structure:

    %C: f64[?,3] = ...                                   ; the tangent program at the seeds of 3 colours
    %J: f64[?,?] = for %i in (0, %m) (%J1 = %J0) {       ; the rows
      %J2: f64[?,?] = update %J1, 0.0, %i {spec="i:"}
      %J3: f64[?,?] = for %j in (%first, %end) (%J4 = %J2) {
        %c: i64 = mod %j, 3
        %v: f64 = index %C, %i, %c {spec="ii"}
        %J5: f64[?,?] = update %J4, %v, %i, %j {spec="ii"}
        yield %J5
      }
      yield %J3
    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import Builder as RegionBuilder
from ..core import Const, Function, Region, Value, builder
from ..ops import extents_of
from ..rewrite import inline
from ..types import I64, Array, Scalar
from .windows import Band, bands

__all__ = ["compressed"]

ZERO = Const(0, I64)

Runs = Callable[[Value, Sequence[Value], Function, Sequence[Value], bool], list[Value]]


def compressed(
    seeded: Value,
    others: Sequence[Value],
    program: Function,
    operands: Sequence[Value],
    lead: bool,
    whole: Function,
    run: Runs,
) -> list[Value] | None:
    """See the module's docstring; `run` gives the results for all seeds of a program. `whole`: what it is a part of,
    with the same seed and results (of a pullback, the joint form), which says more about positions."""
    assert isinstance(seeded.type, Array)
    found = [
        band if band is not None and pays(band, n) else None
        for band, n in zip(bands(whole), seeded.type.dims, strict=True)
    ]
    if not any(found):
        return None
    own = extents_of(seeded)
    colors = [n if band is None else Const(band.width, I64) for band, n in zip(found, own, strict=True)]
    extents = [n for band, n in zip(found, own, strict=True) if band is not None]
    like = builder().emit1("empty", colors, {"dtype": seeded.dtype})
    together = run(like, others, colored(program, found), [*operands, *extents], lead)
    shapes = [extents_of(v) for v in others]
    return [
        Spread(v, shape, own, lead).run([None if band is None else band.windows[k] for band in found], colors)
        for k, (v, shape) in enumerate(zip(together, shapes, strict=True))
    ]


def pays(band: Band, extent: int | None) -> bool:
    """Whether there are fewer colours than seeds, by half at least where that is known."""
    return extent is None or extent > 2 * band.width


def colored(program: Function, found: Sequence[Band | None]) -> Function:
    """The program as one of the extents of the banded axes and of a seed with a position for each colour there."""
    *given, seed = program.args
    assert isinstance(seed.type, Array)
    args = [Value(a.type, a.name) for a in given]
    extents = [Value(Scalar(I64)) for band in found if band is not None]
    dims = tuple(n if band is None else band.width for n, band in zip(seed.type.dims, found, strict=True))
    colors = Value(Array(seed.type.dtype, dims), seed.name)
    body = Region([*args, *extents, colors])
    with RegionBuilder(body) as b:
        value, rest = colors, iter(extents)
        for axis, band in enumerate(found):
            if band is not None:
                color = b.emit1("mod", [b.emit1("iota", [next(rest)]), Const(band.width, I64)])
                value = b.emit1("gather", [value, color], {"axes": (axis,)})
        b.emit("return", inline(program, [*args, value]), span=program.body.terminator.span)
    return Function(program.name, body, dict(program.attrs))


@dataclass
class Spread:
    """The Jacobian of one result of the extents `shape` by a seed of the extents `own`, whose axes come first where
    `lead` says so, from the compressed one, `values`."""

    values: Value
    shape: list[Value]
    own: list[Value]
    lead: bool

    def run(self, windows: Sequence[tuple[int, int, int] | None], colors: Sequence[Value]) -> Value:
        """`windows`: for each axis of the seed the result's axis that it moves with, and its positions."""
        self.first_of_seed, self.first_of_result = (0, len(self.own)) if self.lead else (len(self.shape), 0)
        self.colors = colors
        extents = [*self.own, *self.shape] if self.lead else [*self.shape, *self.own]
        levels = [(axis, *w) for axis, w in enumerate(windows) if w is not None]
        if not levels:  # it does not depend on the seed
            return builder().emit1("fill", [Const(0, self.values.dtype), *extents])
        rows = [level for level in levels if level[0 if self.lead else 1] == 0]
        levels = rows + [level for level in levels if level not in rows]
        if rows:  # what is zero is written row by row, next to what is not
            out = builder().emit1("empty", extents, {"dtype": self.values.dtype})
        else:
            out = builder().emit1("fill", [Const(0, self.values.dtype), *extents])
        return self.nest(out, levels, {}, {}, bool(rows))

    def nest(
        self,
        into: Value,
        levels: Sequence[tuple[int, int, int, int]],
        positions: dict[int, Value],
        sources: dict[int, Value],
        clear: bool,
    ) -> Value:
        """Loops over the positions of the bands; `positions` in the result by axis, `sources` in the compressed one."""
        if not levels:
            part = emit("index", [self.values, *in_order(sources)], {"spec": spec_of(sources, into.rank)})
            return emit("update", [into, part, *in_order(positions)], {"spec": spec_of(positions, into.rank)})
        axis, along, low, high = levels[0]
        of_seed, of_result = self.first_of_seed + axis, self.first_of_result + along
        seeds, elements = self.own[axis], self.shape[along]
        outer, inner = (of_seed, of_result) if self.lead else (of_result, of_seed)
        before, after, count = (high, -low, elements) if self.lead else (-low, high, seeds)

        def row(here: Value, into: Value) -> Value:
            if clear:
                into = emit("update", [into, Const(0, into.dtype), here], {"spec": "i" + ":" * (into.rank - 1)})
            start = emit("maximum", [emit("sub", [here, Const(before, I64)]), ZERO])
            stop = emit("minimum", [emit("add", [here, Const(after + 1, I64)]), count])

            def entry(there: Value, into: Value) -> Value:
                at = {outer: here, inner: there}
                color = emit("mod", [at[of_seed], self.colors[axis]])
                return self.nest(
                    into,
                    levels[1:],
                    {**positions, **at},
                    {**sources, of_seed: color, of_result: at[of_result]},
                    False,
                )

            return loop(start, stop, into, entry)

        return loop(ZERO, seeds if self.lead else elements, into, row)


def emit(name: str, operands: Sequence[Value], attrs: dict[str, Any] | None = None) -> Value:
    return builder().emit1(name, operands, attrs)


def loop(start: Value, stop: Value, carried: Value, body: Callable[[Value, Value], Value]) -> Value:
    """A loop that carries one value."""
    region = Region([Value(Scalar(I64)), Value(carried.type)])
    with RegionBuilder(region, builder().span) as b:
        b.emit("yield", [body(*region.args)])
    return builder().emit("for", [start, stop, carried], {"reverse": False}, regions=[region])[0]


def in_order(positions: dict[int, Value]) -> list[Value]:
    return [positions[k] for k in sorted(positions)]


def spec_of(positions: dict[int, Value], rank: int) -> str:
    return "".join("i" if k in positions else ":" for k in range(rank))
