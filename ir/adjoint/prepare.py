"""Make a primal ready for the reverse sweep: explicit trip counts, and extents of every array as values.

In: a primal function. Out: `Prepared`, a copy in which every `while` carries a counter of its iterations, and
in which `shapes` gives, for each array value, its extents as values that exist where the array does.

    %r = while (%v = %x) {…} do {… yield %w}
    %r, %n = while (%v = %x, %count = 0) {…} do {… %next = add %count, 1; yield %w, %next}

An extent that no operation changes costs nothing: `update` has its operand's, a loop that preserves extents has
its initial value's. Only what cannot be expressed so becomes a `dim` operation (removed again where unused).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..core import Builder, Function, Op, Region, Value, builder, const, walk
from ..ops import lookup
from ..types import I64, Array, Scalar

__all__ = ["Prepared", "Site", "prepare"]


@dataclass(frozen=True)
class Site:
    """Where a region hangs: its owner operation and the region that operation stands in (None at the top)."""

    owner: Op | None
    parent: Region | None
    loops: int


@dataclass
class Prepared:
    """The copied primal with what the reverse sweep wants to know of it."""

    function: Function
    shapes: dict[Value, list[Value]]
    home: dict[Value, Region] = field(default_factory=dict)
    sites: dict[Region, Site] = field(default_factory=dict)
    trip_count: dict[Op, Value] = field(default_factory=dict)
    order: dict[Op, int] = field(default_factory=dict)

    def path(self, region: Region) -> list[Region]:
        """The regions around `region`, outermost first, itself last."""
        out = [region]
        while (parent := self.sites[out[-1]].parent) is not None:
            out.append(parent)
        return out[::-1]

    def loops(self, region: Region) -> int:
        """How many loops are around the operations of `region`."""
        return self.sites[region].loops


class _ShapeBuilder(Builder):
    """A builder that answers `dim` from what is known instead of emitting it."""

    def __init__(self, region: Region, shapes: dict[Value, list[Value]]) -> None:
        super().__init__(region)
        self.shapes = shapes

    def emit(
        self, name: str, operands: Iterable[Value] = (), attrs: dict[str, Any] | None = None, *rest: Any, **kw: Any
    ) -> list[Value]:
        operands = list(operands)
        if name == "dim" and attrs is not None and operands[0] in self.shapes:
            return [self.shapes[operands[0]][attrs["axis"]]]
        return super().emit(name, operands, attrs, *rest, **kw)


def prepare(function: Function) -> Prepared:
    """Copy `function` with counters and extents; see the module's docstring."""
    copier = _Copier()
    body = Region([copier.fresh(a) for a in function.args])
    env = dict(zip(function.args, body.args, strict=True))
    with copier.building(body):
        for arg in body.args:
            copier.measure_by_dim(arg)
        copier.region(function.body, body, env)
    out = Prepared(Function(function.name, body, dict(function.attrs)), copier.shapes, trip_count=copier.trip_count)
    _locate(out, body, Site(None, None, 0))
    return out


def _locate(prepared: Prepared, region: Region, site: Site) -> None:
    prepared.sites[region] = site
    for arg in region.args:
        prepared.home[arg] = region
    for op in region.ops:
        prepared.order[op] = len(prepared.order)
        for value in op.results:
            prepared.home[value] = region
        for k, inner in enumerate(op.regions):
            # the body of a while lies inside its condition region: it sees what that defines
            parent = op.regions[0] if op.name == "while" and k == 1 else region
            _locate(prepared, inner, Site(op, parent, site.loops + (op.name in ("for", "while"))))


class _Copier:
    def __init__(self) -> None:
        self.shapes: dict[Value, list[Value]] = {}
        self.trip_count: dict[Op, Value] = {}
        self.renamed: dict[Value, Value] = {}

    @staticmethod
    def fresh(value: Value) -> Value:
        return Value(value.type, value.name)

    def building(self, region: Region) -> _ShapeBuilder:
        return _ShapeBuilder(region, self.shapes)

    # ------------------------------------------------------------ extents

    def measure_by_dim(self, value: Value) -> None:
        """The extents of an array nothing is known of."""
        if isinstance(value.type, Array):
            self.shapes[value] = [
                const(d) if d is not None else Builder.emit(builder(), "dim", [value], {"axis": k})[0]
                for k, d in enumerate(value.type.dims)
            ]

    def measure_results(self, op: Op) -> None:
        rule = lookup(op.name).extents
        if not any(isinstance(v.type, Array) for v in op.results):
            return
        if rule is None:
            for value in op.results:
                self.measure_by_dim(value)
            return
        for value, extents in zip(op.results, rule(op), strict=True):
            if isinstance(value.type, Array):
                self.shapes[value] = [
                    const(d) if d is not None else e for d, e in zip(value.type.dims, extents, strict=True)
                ]

    # ------------------------------------------------------------ copying

    def region(self, source: Region, target: Region, env: dict[Value, Value]) -> None:
        """Copy the operations of `source` into `target` (whose builder must be in force)."""
        for op in source.ops:
            with builder().at(op.span):
                self.op(op, target, env)

    def op(self, op: Op, target: Region, env: dict[Value, Value]) -> None:
        operands = [env.get(v, v) for v in op.operands]
        if op.name in ("for", "while"):
            self.loop(op, operands, target, env)
            return
        if op.name == "if":
            self.branch(op, operands, target, env)
            return
        if op.name == "dim" and operands[0] in self.shapes:  # one value for one extent, so that they compare
            env[op.result] = self.shapes[operands[0]][op.attrs["axis"]]
            return
        new = Op(
            op.name, operands, [v.type for v in op.results], dict(op.attrs), (), op.span, [v.name for v in op.results]
        )
        target.ops.append(new)
        env.update(zip(op.results, new.results, strict=True))
        self.measure_results(new)

    def branch(self, op: Op, operands: list[Value], target: Region, env: dict[Value, Value]) -> None:
        regions = []
        for source in op.regions:
            inner = Region()
            with self.building(inner):
                self.region(source, inner, dict(env))
            regions.append(inner)
        new = Op(
            "if", operands, [v.type for v in op.results], dict(op.attrs), regions, op.span, [v.name for v in op.results]
        )
        target.ops.append(new)
        env.update(zip(op.results, new.results, strict=True))
        visible = _defined(regions)
        for value, a, b in zip(new.results, *(r.terminator.operands for r in regions), strict=True):
            self.measure_joined(value, self.shapes.get(a), self.shapes.get(b), visible)

    def measure_joined(self, value: Value, a: list[Value] | None, b: list[Value] | None, hidden: set[Value]) -> None:
        """Extents of a value that is one of two: where both agree on a value visible here, that."""
        if not isinstance(value.type, Array) or a is None or b is None:
            return
        self.shapes[value] = [
            const(d)
            if d is not None
            else x
            if x == y and x not in hidden
            else Builder.emit(builder(), "dim", [value], {"axis": k})[0]
            for k, (d, x, y) in enumerate(zip(value.type.dims, a, b, strict=True))
        ]

    def loop(self, op: Op, operands: list[Value], target: Region, env: dict[Value, Value]) -> None:
        if op.name == "while" and any(inner.regions for inner in op.regions[0].ops):
            op = self.rotate(op, operands, target, env)
            operands = [env.get(v, v) for v in op.operands]
        lead = 2 if op.name == "for" else 0
        inits = operands[lead:]
        assumed = [list(self.shapes[i]) if i in self.shapes else None for i in inits]
        new, args = self.loop_assuming(op, operands, env, assumed)
        kept = self.kept_extents(new, args, inits)
        if kept != assumed:  # some extent changes from iteration to iteration: those are read off the arrays
            new, args = self.loop_assuming(op, operands, env, [None] * len(inits))
            kept = [None] * len(inits)
        target.ops.append(new)
        env.update(zip((self.renamed.get(v, v) for v in op.results), new.results, strict=False))
        if op.name == "while":
            self.trip_count[new] = new.results[-1]
        for value, extents in zip(new.results, kept, strict=False):
            if extents is not None:
                self.shapes[value] = extents
            else:
                self.measure_by_dim(value)

    def rotate(self, op: Op, operands: list[Value], target: Region, env: dict[Value, Value]) -> Op:
        """A `while` whose condition has control flow of its own, with the condition computed before the loop and at
        the end of its body: so that all that is kept is kept exactly once for each run of the body.

            while (%v) {…%c} do {…; yield %v1}

        becomes  %c0 = …; while (%v, %c = %c0) {test %c} do {…; %c1 = …; yield %v1, %c1}
        """
        before, body = op.regions
        used = {v for inner in walk(body) for v in inner.operands}
        extra = [v for inner in before.ops for v in inner.results if v in used]
        condition = before.terminator.operands[0]
        lost = [condition, *(v for v in extra if v is not condition)]

        def evaluate(args: list[Value], into: Region, env: dict[Value, Value]) -> list[Value]:
            env.update(zip(before.args, args, strict=True))
            for inner in before.ops[:-1]:
                clone(inner, into, env)
            return [env.get(v, v) for v in lost]

        def clone(source: Op, into: Region, env: dict[Value, Value]) -> None:
            regions = []
            for region in source.regions:
                copy = Region([self.fresh(a) for a in region.args])
                env.update(zip(region.args, copy.args, strict=True))
                for inner in region.ops:
                    clone(inner, copy, env)
                regions.append(copy)
            new = Op(
                source.name,
                [env.get(v, v) for v in source.operands],
                [v.type for v in source.results],
                dict(source.attrs),
                regions,
                source.span,
                [v.name for v in source.results],
            )
            into.ops.append(new)
            env.update(zip(source.results, new.results, strict=True))

        # both copies are in terms of the original's outer values; the first is copied on into the target
        first = Region()
        starts = evaluate(op.operands, first, {})
        with builder().at(op.span):
            for inner in first.ops:
                self.op(inner, target, env)
        args = [self.fresh(a) for a in before.args]
        carried = [self.fresh(v) for v in lost]
        inside: dict[Value, Value] = dict(zip([*before.args, *lost], [*args, *carried], strict=True))
        again = Region()
        for inner in body.ops[:-1]:
            clone(inner, again, inside)
        following = [inside.get(v, v) for v in body.terminator.operands]
        ends = evaluate(following, again, dict(inside))
        again.ops.append(Op("yield", [*following, *ends], [], {}, (), op.span))
        test = Region([*args, *carried], [Op("test", [carried[0]], [], {}, (), op.span)])
        types = [v.type for v in [*args, *carried]]
        names = [v.name for v in op.results]
        out = Op("while", [*op.operands, *starts], types, dict(op.attrs), [test, again], op.span, names)
        for old, new in zip(op.results, out.results, strict=False):
            self.renamed[new] = old
        return out

    def kept_extents(self, loop: Op, args: list[Value], inits: list[Value]) -> list[list[Value] | None]:
        yielded = loop.regions[-1].terminator.operands
        return [
            self.shapes[i] if i in self.shapes and self.shapes[i] == self.shapes.get(y) else None
            for i, y in zip(inits, yielded, strict=False)
        ]

    def loop_assuming(
        self, op: Op, operands: list[Value], env: dict[Value, Value], assumed: list[list[Value] | None]
    ) -> tuple[Op, list[Value]]:
        """Copy a loop, taking `assumed` for the extents of its carried arrays."""
        env = dict(env)
        first = Region([self.fresh(a) for a in op.regions[0].args])
        env.update(zip(op.regions[0].args, first.args, strict=True))
        carried = first.args[1:] if op.name == "for" else list(first.args)
        regions = [first]
        names = [v.name for v in op.results]
        with self.building(first):
            for arg, extents in zip(carried, assumed, strict=True):
                if extents is not None:
                    self.shapes[arg] = extents
                else:
                    self.measure_by_dim(arg)
            if op.name == "while":
                count = Value(Scalar(I64), "count")
                first.args.append(count)
                self.region(op.regions[0], first, env)
                body = Region()
                regions.append(body)
                with self.building(body) as b:
                    self.region(op.regions[1], body, env)
                    end = body.ops.pop()
                    (following,) = b.emit("add", [count, const(1)], names=["count"])
                    body.ops.append(Op("yield", [*end.operands, following], [], {}, (), end.span))
                operands = [*operands, const(0)]
                names.append("trips")
            else:
                self.region(op.regions[0], first, env)
        carried_types = [a.type for a in (first.args[1:] if op.name == "for" else first.args)]
        return Op(op.name, operands, carried_types, dict(op.attrs), regions, op.span, names), carried


def _defined(regions: list[Region]) -> set[Value]:
    out: set[Value] = set()
    for region in regions:
        out.update(region.args)
        for op in region.ops:
            out.update(op.results)
            out |= _defined(op.regions)
    return out
