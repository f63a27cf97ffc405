"""`vmap` inside a trace: a function of one example becomes a loop over a batch.

In: a `Derivative` of kind "vmap", whose options say along which axis each argument and result is batched, and abstract
arguments. Out: the abstract result. The function is traced into a program of its own for one example; the program is
put into a loop that reads the example's part of each batched argument and writes to arrays of the results:

    %n: i64 = dim %x {axis=0}
    %Y0: f64[n] = empty %n
    %Y: f64[n] = for %k in (0, %n) (%into = %Y0) {
      %row: f64[m] = index %x, %k {spec="i:"}
      ...                                                  ; the program of one example
      %next: f64[n] = update %into, %y, %k {spec="i"}
      yield %next
    }

so that it is fused, differentiated and nested like any loop that a user writes. A few examples along last axes, whose
number is known, are no loop: they run side by side, in lanes (`ir.adjoint.lanes`), and share what is the same for all.

The arrays' extents come from the part of the program that computes extents, which stands before the loop. So does what
a result without an axis (None) is computed from; it must not depend on the example.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import pipeline
from ..ir.adjoint.lanes import in_lanes
from ..ir.core import Builder as RegionBuilder
from ..ir.core import Const, Function, Op, Region, Value, builder, const, walk
from ..ir.ops import extents_of, lookup
from ..ir.ops.callback import CALLBACKS, refuse_effects
from ..ir.rewrite import clone_region, free_values, inline
from ..ir.types import I64, Array
from . import views
from .broadcasting import agree
from .context import Tracer
from .numeric import describe
from .programs import Derivative, Output, Program, abstract, fill, leaves, only, program, refuse, tree_map
from .values import DictObject, Instance, ListObject, Number, Reference

__all__ = ["ByKey", "vmap"]


FEWEST, MOST = 2, 32
"""How many examples run in lanes."""


@dataclass(frozen=True)
class ByKey:
    """A dict of axes."""

    items: tuple[tuple[Any, Any], ...]


def vmap(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The results of the function for each example, stacked."""
    in_axes, out_axes = made.options
    name = getattr(made.__wrapped__, "__name__", "the function")
    try:  # what has a position counts as positional
        bound = inspect.signature(made.__wrapped__).bind(*args, **kwargs)
    except (TypeError, ValueError):  # a function of the traced program, or one without a signature
        pass
    else:
        args, kwargs = list(bound.args), bound.kwargs
    placed = axes_of_arguments(t, name, in_axes, args, kwargs)
    axes = [axis for axis, _ in placed]
    given = [leaf for x in (*args, *kwargs.values()) for leaf in leaves(t, x) if is_dynamic(leaf)]
    batched = [(leaf, axis, what) for leaf, (axis, what) in zip(given, placed, strict=True) if axis is not None]
    if not batched:
        refuse(t, f"vmap of `{name}`: no argument is batched", "give an array, and its axis in in_axes")
    first, at, source = batched[0]
    count = views.extent(t, first, at)
    for leaf, axis, what in batched[1:]:
        agree(
            t,
            count,
            views.extent(t, leaf, axis),
            f"vmap of `{name}`: {source} (axis {at}) and {what} (axis {axis}) differ in their number of examples",
        )
    rows: list[Row] = []
    following = iter(axes)

    def example(leaf: Any) -> Any:
        axis = next(following)
        if axis is None:
            return leaf
        rows.append(Row(views.read(t, leaf), axis))
        first = rows[-1].at(Const(0, I64))
        return t.new_array(first) if first.is_array else Number(first)

    examples = [tree_map(t, example, x) for x in args]
    named = {k: tree_map(t, example, x) for k, x in kwargs.items()}
    p = program(t, made.__wrapped__, examples, named, ())
    dynamic = [(leaf, axis) for leaf, axis in zip(given, axes, strict=True) if type(leaf) is not float]
    read = iter(rows)
    places = {k: next(read) for k, (_, axis) in enumerate(dynamic) if axis is not None}
    return stacked(t, p, count, places, out_axes)


def is_dynamic(leaf: Any) -> bool:
    return isinstance(leaf, Number | Reference) or type(leaf) is float


# ---------------------------------------------------------------- arguments


@dataclass(frozen=True)
class Row:
    """The example's part of a batched array."""

    array: Value
    axis: int

    def at(self, k: Value) -> Value:
        spec = ":" * self.axis + "i" + ":" * (self.array.rank - self.axis - 1)
        return builder().emit1("index", [self.array, k], {"spec": spec})


Placed = list[tuple[int | None, str]]
"""For each number and array among the arguments, its batched axis (None: the same for all examples) and its name."""


def axes_of_arguments(t: Tracer, name: str, in_axes: Any, args: list[Any], kwargs: dict[str, Any]) -> Placed:
    per_argument: Sequence[Any] = in_axes if isinstance(in_axes, tuple) else [in_axes] * len(args)
    if len(per_argument) != len(args) or isinstance(in_axes, ByKey):
        entries = len(in_axes.items) if isinstance(in_axes, ByKey) else len(per_argument)
        refuse(
            t,
            f"in_axes of vmap has {entries} entries for the {len(args)} positional arguments of `{name}`",
            "give an axis or None for each positional argument, or one axis for all of them",
        )
    out: Placed = []
    names = [*(f"argument {k}" for k in range(len(args))), *(f"argument {k!r}" for k in kwargs)]
    for axis, x, what in zip([*per_argument, *([0] * len(kwargs))], [*args, *kwargs.values()], names, strict=True):
        spread(t, name, axis, x, what, out)
    return out


def spread(t: Tracer, name: str, axis: Any, x: Any, what: str, out: Placed) -> None:
    """Appends the axis of each leaf of `x`; `axis` is one for all, or a structure like the top of `x`."""
    if isinstance(axis, tuple | ByKey):
        for a, part, key in matched(t, "in_axes", axis, x):
            spread(t, name, a, part, what + key, out)
        return
    inner = parts_of(t, x)
    if inner is not None:
        for key, part in inner:
            spread(t, name, axis, part, f"{what}[{key!r}]", out)
        return
    for leaf in leaves(t, x):
        if not is_dynamic(leaf):
            continue
        rank = leaf.rank if isinstance(leaf, Reference) else 0
        if axis is not None and not -rank <= axis < rank:
            refuse(
                t,
                f"vmap is to map axis {axis} of {what} of `{name}`, which is {describe(leaf)}: it has {rank} axes",
                "give None in in_axes for what is the same for all examples",
            )
        out.append((None if axis is None else axis % rank, what))


def parts_of(t: Tracer, x: Any) -> list[tuple[Any, Any]] | None:
    """The keys and parts of a structure; None for a leaf."""
    if isinstance(x, tuple):
        return list(enumerate(x))
    if isinstance(x, ListObject):
        return list(enumerate(t.items(x)))
    if isinstance(x, DictObject | Instance):
        return list(t.items(x))
    return None


def matched(t: Tracer, what: str, axes: tuple[Any, ...] | ByKey, x: Any) -> Iterator[tuple[Any, Any, str]]:
    """The entries of a structure of axes with the parts of `x` that they are for, and their keys in brackets; dicts by
    their keys, in the order of `x`."""
    parts = parts_of(t, x)
    if isinstance(axes, ByKey):
        known = dict(axes.items)
        if not isinstance(x, DictObject | Instance) or set(known) != {key for key, _ in parts or ()}:
            refuse(
                t,
                f"{what} of vmap has the keys {', '.join(map(repr, known))} in a place where there is {describe(x)}",
                "give one axis for all of it, or a dict with the same keys",
            )
        entries = [known[key] for key, _ in parts or ()]
    else:
        entries = list(axes)
        if parts is None or len(parts) != len(entries):
            refuse(
                t,
                f"{what} of vmap has {len(entries)} axes in a place where there is {describe(x)}",
                "give one axis for all of it, or a structure like it",
            )
    for a, (key, part) in zip(entries, parts or (), strict=True):
        yield a, part, f"[{key!r}]"


# ---------------------------------------------------------------- results


def stacked(t: Tracer, p: Program, count: Value, places: dict[int, Row], out_axes: Any) -> Any:
    """The loop over the examples, and the structure of its results."""
    outputs: dict[int, int] = {}
    same: list[int] = []
    place_outputs(t, p, out_axes, p.result, outputs, same)
    known = dict(zip(same, for_all(t, p, places, same), strict=True))
    lanes = None if same else side_by_side(p, count, places, outputs)
    if lanes is not None:
        operands = [places[k].array if k in places else v for k, v in enumerate(p.operands)]
        known = dict(enumerate(inline(lanes, operands)))
        return fill(t, p.result, lambda o: abstract(t, known[o.index], o))
    extents = extents_of_results(t, p, count)
    order = sorted(outputs)
    initial = []
    for k in order:
        shape = list(extents[k])
        shape.insert(outputs[k], count)
        initial.append(t.emit1("empty", shape, {"dtype": p.function.results[k].dtype}))
    index = Value(Const(0, I64).type, "example")
    body = Region([index, *(Value(v.type) for v in initial)])
    with t.inside(body), builder().at(t.span()):
        operands = [places[k].at(index) if k in places else v for k, v in enumerate(p.operands)]
        found = inline(p.function, operands)
        filled = []
        for k, into in zip(order, body.args[1:], strict=True):
            for own, extent in zip(extents_of(found[k]) if found[k].is_array else [], extents[k], strict=True):
                agree(t, own, extent, f"the results of `{p.name}` have other shapes for other examples")
            before, after = ":" * outputs[k], ":" * (found[k].rank - outputs[k])
            filled.append(t.emit1("update", [into, found[k], index], {"spec": f"{before}i{after}"}))
        t.emit("yield", filled)
    arrays = t.emit("for", [Const(0, I64), count, *initial], {"reverse": False}, regions=[body])
    known |= zip(order, arrays, strict=True)
    return fill(t, p.result, lambda o: abstract(t, known[o.index], o))


def side_by_side(p: Program, count: Value, places: dict[int, Row], outputs: dict[int, int]) -> Function | None:
    """The program with a last axis for the examples in every batched argument and in all results; None where that is
    not what is asked for, or not known to be as good as a loop: a loop reads and writes parts that are far apart."""
    known = int(count.value) if isinstance(count, Const) else 0
    results = p.function.results
    if not FEWEST <= known <= MOST:
        return None
    if any(row.axis != row.array.rank - 1 or last_extent(row.array) != known for row in places.values()):
        return None
    if any(outputs[k] != v.rank for k, v in enumerate(results)):
        return None
    if not all(v.dtype.is_float for v in (*results, *(row.array for row in places.values()))):
        return None
    if any(op.name in CALLBACKS or lookup(op.name).effect == "call" for op in walk(p.function.body)):
        return None
    return in_lanes(p.function, list(places), known)


def last_extent(array: Value) -> int | None:
    """The extent of an array's last axis, as its type knows it."""
    return array.type.dims[-1] if isinstance(array.type, Array) else None


def for_all(t: Tracer, p: Program, places: dict[int, Row], same: Sequence[int]) -> list[Value]:
    """Results that are the same for all examples; refused where they are computed from an example."""
    if not same:
        return []
    function = only_needed(pipeline.optimize(only(p, same)))
    refuse_effects(function.body, "what decides on a result of vmap without an axis")
    read = {v for op in walk(function.body) if op.name != "dim" for v in op.operands}
    for k in places:
        if function.args[k] in read:
            what = f" (`{function.args[k].name}`)" if function.args[k].name else ""
            refuse(
                t,
                f"out_axes of vmap is None for a result of `{p.name}` that depends on a batched argument{what}",
                "give the axis along which it is to be stacked",
            )
    operands = [places[k].at(Const(0, I64)) if k in places else v for k, v in enumerate(p.operands)]
    return inline(function, operands)


def place_outputs(t: Tracer, p: Program, axis: Any, x: Any, out: dict[int, int], same: list[int]) -> None:
    """Notes along which axis each result is stacked, and those that are not."""
    if isinstance(axis, tuple | ByKey):
        for a, part, _ in matched(t, "out_axes", axis, x):
            place_outputs(t, p, a, part, out, same)
        return
    for leaf in leaves(t, x):
        if not isinstance(leaf, Output):
            continue
        if axis is None:
            same.append(leaf.index)
            continue
        rank = p.function.results[leaf.index].rank + 1
        if not isinstance(axis, int) or not -rank <= axis < rank:
            refuse(
                t,
                f"vmap is to stack a result of `{p.name}` along axis {axis}: stacked, it has {rank} axes",
                "give an axis of the stacked array in out_axes",
            )
        out[leaf.index] = axis % rank


def extents_of_results(t: Tracer, p: Program, count: Value) -> list[list[Value]]:
    """The extents of the program's results, before any example is computed.

    They follow from the arguments' extents as a rule. Where they take more (a loop, data), the first example is asked,
    if there is one.
    """
    body = clone_region(p.function.body, {})
    end = body.ops.pop()
    with RegionBuilder(body, end.span) as b:
        shapes = [extents_of(v) if v.is_array else [] for v in end.operands]
        b.emit("return", [n for shape in shapes for n in shape])
    sizes = only_needed(pipeline.optimize(Function(p.function.name, body)))
    refuse_effects(sizes.body, "what decides on the shape of a result of vmap")
    if all(follows_from_extents(op) for op in sizes.body.ops):
        found = iter(inline(sizes, p.operands))
    else:
        regions = [Region(), Region()]
        with t.inside(regions[0]):
            t.emit("yield", inline(sizes, p.operands))
        with t.inside(regions[1]):
            t.emit("yield", [const(0)] * len(sizes.results))
        found = iter(t.emit("if", [t.emit1("gt", [count, const(0)])], regions=regions))
    return [[next(found) for _ in shape] for shape in shapes]


def only_needed(function: Function) -> Function:
    """Without what its results do not need: the checks, which are made for each example."""
    needed = set(function.results)
    kept = []
    for op in reversed(function.body.ops):
        if op.name == "return" or needed.intersection(op.results):
            kept.append(op)
            needed.update(op.operands, free_values(*op.regions))
    function.body.ops[:] = kept[::-1]
    return function


def follows_from_extents(op: Op) -> bool:
    """Whether an operation is arithmetic of extents."""
    if op.name in ("dim", "return", "same_extent"):
        return True
    return not op.regions and not lookup(op.name).effect and not any(v.is_array for v in (*op.operands, *op.results))
