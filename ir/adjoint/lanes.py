"""Several runs of a function at once: what differs between the runs carries one more axis, everything else is shared.

In: a function, the numbers of the arguments that differ, and how many runs (lanes). Out: a function of the same
arguments, in which these and whatever depends on them have a last axis of that constant extent; the other results are
as they were. Or None, where that cannot be done.

A tangent program depends on its seed in its tangents alone: with several seeds the primal is computed once, and a
scalar's tangents are a small array of constant extent, which the code generator keeps in a vector register.

    func @f.jvp(%x: f64, %x_dot: f64) -> f64 {           func @f.jvp(%x: f64, %x_dot: f64[8]) -> f64[8] {
      %c: f64 = cos %x                                     %c: f64 = cos %x
      %y_dot: f64 = mul %x_dot, %c               =>        %y_dot: f64[8] = mul %x_dot, %c
      return %y_dot                                        return %y_dot
    }                                                    }

Tangents and cotangents never decide a branch, a trip count, a position or an extent; a function in which something in
lanes did (that cannot come from a derivative rule that is linear) is left alone. Operations that have no rule here run
lane by lane, in a loop around that operation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core import Builder, Const, Function, Op, Region, Value, builder
from ..ops import extents_of, lookup
from ..rewrite import copy_op
from ..types import I64, Array, Scalar, Tape, Type
from .activity import loop_parts

__all__ = ["in_lanes"]


class Refused(Exception):
    """Something in lanes where every run must agree."""


def in_lanes(function: Function, wrt: Sequence[int], lanes: int) -> Function | None:
    """`function` with the arguments `wrt` in lanes; every float result is in lanes."""
    differ = Differing(function, [function.args[k] for k in wrt])
    try:
        differ.run()
        body = Region([Value(lifted(a.type, lanes) if a in differ.found else a.type, a.name) for a in function.args])
        walk = Lanes(dict(zip(function.args, body.args, strict=True)), differ.found, lanes)
        with Builder(body) as b:
            walk.region(function.body)
            results = [walk.lift(v) if is_float(v) else walk.value(v) for v in function.results]
            b.emit("return", results, span=function.body.terminator.span)
    except Refused:
        return None
    return Function(function.name, body, dict(function.attrs))


def is_float(value: Value) -> bool:
    return isinstance(value.type, Scalar | Array) and value.dtype.is_float


def lifted(type_: Type, lanes: int) -> Type:
    """The type of a value that is in lanes."""
    if isinstance(type_, Tape):
        element = lifted(type_.element, lanes)
        assert isinstance(element, Array)
        return Tape(element)
    assert isinstance(type_, Scalar | Array)
    return Array(type_.dtype, (*type_.dims, lanes))


# ---------------------------------------------------------------- what differs


class Differing:
    """The values that depend on some arguments. All states of one tape are in lanes, or none."""

    def __init__(self, function: Function, seeds: Sequence[Value]) -> None:
        self.function = function
        self.seeds = set(seeds)
        self.found = set(seeds)

    def run(self) -> None:
        before = -1
        while before < len(self.found):
            before = len(self.found)
            self.region(self.function.body)
        if any(a in self.found and a not in self.seeds for a in self.function.args):
            raise Refused  # a tape from outside

    def mark(self, values: Sequence[Value]) -> None:
        self.found.update(v for v in values if not isinstance(v, Const))

    def join(self, sources: Sequence[Value], target: Value) -> None:
        """`target` may be any of `sources`."""
        if any(v in self.found for v in sources):
            self.mark([target])
        if target in self.found and isinstance(target.type, Tape):
            self.mark(sources)

    def region(self, region: Region) -> None:
        for op in region.ops:
            for inner in op.regions:
                self.region(inner)
            if op.name == "if":
                ends = [r.terminator.operands for r in op.regions]
                for k, result in enumerate(op.results):
                    self.join([end[k] for end in ends], result)
            elif op.regions:
                inits, args, yielded = loop_parts(op)
                for init, arg, end, result in zip(inits, args, yielded, op.results, strict=True):
                    self.join([init, end], arg)
                    self.join([arg], result)
            elif op.name in ("tape.push", "tape.pop"):
                states = [op.operands[0], op.results[0]]
                if any(v in self.found for v in (*states, *op.operands[1:])):
                    self.mark([*states, *op.results])
            elif op.name != "dim" and any(v in self.found for v in op.operands):
                self.mark(op.results)


# ---------------------------------------------------------------- the walk


class Lanes:
    def __init__(self, env: dict[Value, Value], differ: set[Value], lanes: int) -> None:
        self.env = env
        self.differ = differ
        self.lanes = lanes
        self.count = Const(lanes, I64)

    def value(self, old: Value) -> Value:
        return old if isinstance(old, Const) else self.env.get(old, old)

    def times(self, extent: Value) -> Value:
        """An extent times the number of lanes."""
        if isinstance(extent, Const):
            return Const(int(extent.value) * self.lanes, I64)
        return builder().emit1("mul", [extent, self.count])

    def shared(self, old: Value) -> Value:
        """The value of something that must be the same in every lane."""
        if old in self.differ:
            raise Refused
        return self.value(old)

    def lift(self, old: Value) -> Value:
        """A value in lanes, repeated where it is not."""
        new = self.value(old)
        if old in self.differ:
            return new
        if isinstance(new.type, Tape):
            raise Refused
        made = new.op
        if made is not None and made.name == "empty":
            return builder().emit1("empty", [*made.operands, self.count], made.attrs)
        if not new.is_array:
            return builder().emit1("fill", [new, self.count])
        if made is not None and made.name == "fill":
            return builder().emit1("fill", [*made.operands, self.count])
        axes = tuple(range(new.rank))
        return builder().emit1("broadcast", [new, *extents_of(new), self.count], {"axes": axes})

    def spread(self, old: Value, extents: Sequence[Value]) -> Value:
        """A value in lanes, a scalar repeated over `extents`."""
        new = self.lift(old)
        if old.is_array or not extents:
            return new
        return builder().emit1("broadcast", [new, *extents, self.count], {"axes": (len(extents),)})

    # regions

    def region(self, region: Region) -> None:
        """Everything but the terminator."""
        for op in region.ops[:-1]:
            with builder().at(op.span):
                self.operation(op)

    def operation(self, op: Op) -> None:
        if op.name == "if":
            self.branch(op)
        elif op.regions:
            self.loop(op)
        elif op.name == "tape.new" and op.result in self.differ:
            type_ = lifted(op.result.type, self.lanes)
            assert isinstance(type_, Tape)
            self.env[op.result] = builder().emit1("tape.new", [], {"element": type_.element}, names=[op.result.name])
        elif not any(v in self.differ for v in op.results):
            if op.name != "dim":
                for v in op.operands:
                    self.shared(v)
            builder().region.ops.append(copy_op(op, self.env))
        else:
            rule = RULES.get(op.name)
            if rule is None:
                rule = elementwise if lookup(op.name).category == "elementwise" else lane_by_lane
            if lookup(op.name).effect not in ("", "tape"):
                raise Refused
            found = rule(self, op)
            for old, new in zip(op.results, found, strict=True):
                new.name = new.name or old.name
                self.env[old] = new

    def emit(self, op: Op, operands: Sequence[Value], **attrs: object) -> list[Value]:
        """The operation on values in lanes: its results have the types they had, and one axis more."""
        types = [lifted(r.type, self.lanes) if r in self.differ else r.type for r in op.results]
        names = [r.name for r in op.results]
        return builder().emit(op.name, operands, {**op.attrs, **attrs}, names=names, result_types=types)

    def end(self, values: Sequence[Value], targets: Sequence[Value]) -> list[Value]:
        return [self.lift(v) if t in self.differ else self.value(v) for v, t in zip(values, targets, strict=True)]

    def branch(self, op: Op) -> None:
        condition = self.shared(op.operands[0])
        regions = []
        for source in op.regions:
            target = Region()
            with Builder(target, op.span) as b:
                self.region(source)
                b.emit("yield", self.end(source.terminator.operands, op.results), span=source.terminator.span)
            regions.append(target)
        self.finish(op, [condition], regions)

    def loop(self, op: Op) -> None:
        inits, args, yielded = loop_parts(op)
        lead = [self.shared(v) for v in op.operands[: len(op.operands) - len(inits)]]
        operands = [*lead, *self.end(inits, args)]
        first = Region()
        for arg in op.regions[0].args:
            new = Value(lifted(arg.type, self.lanes) if arg in self.differ else arg.type, arg.name)
            first.args.append(new)
            self.env[arg] = new
        regions = [first]
        with Builder(first, op.span) as b:
            self.region(op.regions[0])
            if op.name == "while":
                b.emit("test", [self.shared(op.regions[0].terminator.operands[0])])
                regions.append(Region())
                with Builder(regions[1], op.span):
                    self.region(op.regions[1])
            with Builder(regions[-1], op.span) as end:
                end.emit("yield", self.end(yielded, args), span=op.regions[-1].terminator.span)
        self.finish(op, operands, regions)

    def finish(self, op: Op, operands: list[Value], regions: list[Region]) -> None:
        types = [lifted(r.type, self.lanes) if r in self.differ else r.type for r in op.results]
        names = [r.name for r in op.results]
        results = builder().emit(op.name, operands, op.attrs, regions=regions, names=names, result_types=types)
        self.env.update(zip(op.results, results, strict=True))


# ---------------------------------------------------------------- rules


def elementwise(s: Lanes, op: Op) -> list[Value]:
    """Scalars stay scalars; everything else gets the shape of the result."""
    shape: list[Value] = []
    if op.result.is_array and any(not v.is_array and v in s.differ for v in op.operands):
        shape = extents_of(s.value(next(v for v in op.operands if v.is_array)))[: op.result.rank]
    operands = []
    for v in op.operands:
        if v in s.differ:
            operands.append(s.spread(v, shape if op.result.is_array else []))
        else:
            operands.append(s.lift(v) if v.is_array else s.value(v))
    return s.emit(op, operands)


def filled(s: Lanes, op: Op) -> list[Value]:
    """`fill`, and `broadcast`: the axis of the lanes is one more axis that is not repeated."""
    x, *extents = op.operands
    axes = (*op.attrs.get("axes", ()), len(extents))
    operands = [s.lift(x), *map(s.shared, extents), s.count]
    return [builder().emit1("broadcast", operands, {"axes": axes})]


def with_positions(s: Lanes, op: Op) -> list[Value]:
    """`index`: all lanes at the same positions."""
    x, *positions = op.operands
    return s.emit(op, [s.lift(x), *map(s.shared, positions)], spec=op.attrs["spec"] + ":")


def written(s: Lanes, op: Op) -> list[Value]:
    """`update` and `accumulate`."""
    array, value, *positions = op.operands
    at = [s.shared(p) for p in positions]
    spec = op.attrs["spec"]
    into = s.lift(array)
    if value not in s.differ and not value.is_array:
        return s.emit(op, [into, s.value(value), *at], spec=spec + ":")
    shape: list[Value] = []
    if not value.is_array and spec.strip("i"):
        part = builder().emit1("index", [into, *at], {"spec": spec + ":"})
        shape = extents_of(part)[:-1]
    return s.emit(op, [into, s.spread(value, shape), *at], spec=spec + ":")


def gathered(s: Lanes, op: Op) -> list[Value]:
    x, *indices = op.operands
    return s.emit(op, [s.lift(x), *map(s.shared, indices)])


def scattered(s: Lanes, op: Op) -> list[Value]:
    array, value, *indices = op.operands
    if not value.is_array:
        return lane_by_lane(s, op)
    return s.emit(op, [s.lift(array), s.lift(value), *map(s.shared, indices)])


def along_axes(s: Lanes, op: Op) -> list[Value]:
    """Reductions, scans, `concat`: their axes keep their numbers."""
    return s.emit(op, [s.lift(v) for v in op.operands])


def transposed(s: Lanes, op: Op) -> list[Value]:
    return s.emit(op, [s.lift(op.operands[0])], perm=(*op.attrs["perm"], op.result.rank))


def reshaped(s: Lanes, op: Op) -> list[Value]:
    x, *extents = op.operands
    return s.emit(op, [s.lift(x), *map(s.shared, extents), s.count])


def pushed(s: Lanes, op: Op) -> list[Value]:
    tape, value = op.operands
    return s.emit(op, [s.value(tape), s.lift(value)])


def popped(s: Lanes, op: Op) -> list[Value]:
    tape, *extents = op.operands
    return s.emit(op, [s.value(tape), *map(s.shared, extents), s.count])


def product(s: Lanes, op: Op) -> list[Value]:
    """`matmul` with one factor in lanes is one product: the lanes are further columns, or further rows."""
    a, b = op.operands
    if a in s.differ and b in s.differ:
        return lane_by_lane(s, op)
    emit = builder().emit1
    x, y = s.value(a), s.value(b)
    if few_terms(a, b):
        return [sum_of_products(x, y, a.rank - 1, b.rank - 1, a in s.differ)]
    if b in s.differ:
        inner, *columns = extents_of(y)
        if b.rank == 2:
            y = emit("reshape", [y, inner, s.times(columns[0])])
        out = emit("matmul", [x, y])
        if b.rank == 1:
            return [out]
        return [emit("reshape", [out, *extents_of(out)[:-1], *columns])]
    if a.rank == 1:  # (inner, lanes) and (inner,) or (inner, columns)
        if b.rank == 1:
            return [emit("matmul", [emit("transpose", [x], {"perm": (1, 0)}), y])]
        out = emit("matmul", [emit("transpose", [y], {"perm": (1, 0)}), x])
        return [out]
    rows, inner, _ = extents_of(x)  # the lanes as rows
    turned = emit("transpose", [x], {"perm": (0, 2, 1)})
    flat = emit("reshape", [turned, s.times(rows), inner])
    out = emit("matmul", [flat, y])
    if b.rank == 1:
        return [emit("reshape", [out, rows, s.count])]
    back = emit("reshape", [out, rows, s.count, extents_of(out)[-1]])
    return [emit("transpose", [back], {"perm": (0, 2, 1)})]


def few_terms(a: Value, b: Value) -> bool:
    """Whether the inner extent of a product is known and small: a library's product would not pay."""
    inner = (x.type.dims[k] for x, k in ((a, -1), (b, 0)) if isinstance(x.type, Array))
    return any(n is not None and n <= 4 for n in inner)


def sum_of_products(x: Value, y: Value, rows: int, columns: int, first: bool) -> Value:
    """The product, element by element: the sum over the last axis of terms in the shape (rows, columns, lanes, inner).
    The lanes are an axis of `x` (`first`) or of `y`; `rows` and `columns`: how many axes of these there are."""
    emit = builder().emit1
    inner = rows + columns + 1
    of_x = [*range(rows), *([inner - 1, inner] if first else [inner])]
    of_y = [*range(rows, rows + columns), *([inner] if first else [inner - 1, inner])]
    x_order = (*range(rows), rows + 1, rows) if first else tuple(range(rows + 1))  # the inner axis last
    y_order = (*range(1, y.rank), 0)
    if x_order != tuple(range(x.rank)):
        x = emit("transpose", [x], {"perm": x_order})
    if y.rank > 1:
        y = emit("transpose", [y], {"perm": y_order})
    known = dict(zip(of_y, extents_of(y), strict=True))
    known.update(zip(of_x, extents_of(x), strict=True))
    shape = [known[k] for k in range(inner + 1)]
    terms = emit("broadcast", [x, *shape], {"axes": tuple(of_x)}) * emit(
        "broadcast", [y, *shape], {"axes": tuple(of_y)}
    )
    return emit("reduce_sum", [terms], {"axes": (inner,)})


def lane_by_lane(s: Lanes, op: Op) -> list[Value]:
    """The operation itself, in a loop over the lanes."""
    if any(isinstance(v.type, Tape) for v in (*op.operands, *op.results)):
        raise Refused

    def lane(k: Value) -> list[Value]:
        return [
            builder().emit1("index", [s.value(v), k], {"spec": ":" * v.rank + "i"}) if v in s.differ else s.value(v)
            for v in op.operands
        ]

    rule = lookup(op.name).extents
    if rule is None:
        raise Refused
    types = [r.type for r in op.results]
    shapes = rule(Op(op.name, lane(Const(0, I64)), types, dict(op.attrs)))
    starts = [
        builder().emit1("empty", [*shape, s.count], {"dtype": r.dtype})
        for r, shape in zip(op.results, shapes, strict=True)
    ]
    index = Value(Scalar(I64), "lane")
    body = Region([index, *(Value(v.type) for v in starts)])
    with Builder(body, op.span) as b:
        found = b.emit(op.name, lane(index), op.attrs, result_types=types)
        ends = [
            b.emit1("update", [into, v, index], {"spec": ":" * v.rank + "i"})
            for into, v in zip(body.args[1:], found, strict=True)
        ]
        b.emit("yield", ends)
    return builder().emit("for", [Const(0, I64), s.count, *starts], {"reverse": False}, regions=[body])


RULES: dict[str, Callable[[Lanes, Op], list[Value]]] = {
    "fill": filled,
    "broadcast": filled,
    "index": with_positions,
    "update": written,
    "accumulate": written,
    "gather": gathered,
    "scatter": scattered,
    "scatter_add": scattered,
    "transpose": transposed,
    "reshape": reshaped,
    "matmul": product,
    "tape.push": pushed,
    "tape.pop": popped,
    **dict.fromkeys(
        "concat cumsum cumprod recurrence reduce_sum reduce_prod reduce_max reduce_min reduce_any reduce_all "
        "reduce_or argmax argmin".split(),
        along_axes,
    ),
}
