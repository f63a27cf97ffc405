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

so that it is fused, differentiated and nested like any loop that a user writes. The arrays' extents come from the part
of the program that computes extents, which stands before the loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..ir import pipeline
from ..ir.core import Builder as RegionBuilder
from ..ir.core import Const, Function, Op, Region, Value, builder, const
from ..ir.ops import extents_of, lookup
from ..ir.ops.callback import refuse_effects
from ..ir.rewrite import clone_region, free_values, inline
from ..ir.types import I64
from . import views
from .broadcasting import agree
from .context import Tracer
from .numeric import describe
from .programs import Derivative, Output, Program, fill, leaves, program, refuse, tree_map
from .values import DictObject, Instance, ListObject, Number, Reference

__all__ = ["vmap"]


def vmap(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The results of the function for each example, stacked."""
    in_axes, out_axes = made.options
    name = getattr(made.__wrapped__, "__name__", "the function")
    axes = axes_of_arguments(t, name, in_axes, args, kwargs)
    given = [leaf for x in (*args, *kwargs.values()) for leaf in leaves(t, x) if is_dynamic(leaf)]
    batched = [(leaf, axis) for leaf, axis in zip(given, axes, strict=True) if axis is not None]
    if not batched:
        refuse(t, f"vmap of `{name}`: no argument is batched", "give an array, and its axis in in_axes")
    count = views.extent(t, *batched[0])
    for leaf, axis in batched[1:]:
        agree(
            t,
            count,
            views.extent(t, leaf, axis),
            f"the batched arguments of `{name}` differ in their number of examples",
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


def axes_of_arguments(t: Tracer, name: str, in_axes: Any, args: list[Any], kwargs: dict[str, Any]) -> list[int | None]:
    """The batched axis of every number and array among the arguments (None: the same for all examples)."""
    per_argument: Sequence[Any] = in_axes if isinstance(in_axes, tuple) else [in_axes] * len(args)
    if len(per_argument) != len(args):
        refuse(
            t,
            f"in_axes of vmap has {len(per_argument)} entries for the {len(args)} positional arguments of `{name}`",
            "give an axis or None for each positional argument, or one axis for all of them",
        )
    out: list[int | None] = []
    for axis, x in zip([*per_argument, *([0] * len(kwargs))], [*args, *kwargs.values()], strict=True):
        spread(t, name, axis, x, out)
    return out


def spread(t: Tracer, name: str, axis: Any, x: Any, out: list[int | None]) -> None:
    """Appends the axis of each leaf of `x`; `axis` is one for all, or a structure like the top of `x`."""
    if isinstance(axis, tuple):
        for a, part in matched(t, "in_axes", axis, x):
            spread(t, name, a, part, out)
        return
    for leaf in leaves(t, x):
        if not is_dynamic(leaf):
            continue
        rank = leaf.rank if isinstance(leaf, Reference) else 0
        if axis is not None and not -rank <= axis < rank:
            refuse(
                t,
                f"vmap is to map axis {axis} of {describe(leaf)}, which `{name}` was given: it has {rank} axes",
                "give None in in_axes for what is the same for all examples",
            )
        out.append(None if axis is None else axis % rank)


def matched(t: Tracer, what: str, axes: tuple[Any, ...], x: Any) -> Iterator[tuple[Any, Any]]:
    """The entries of a structure of axes with the parts of `x` that they are for."""
    parts: list[Any] = []
    if isinstance(x, tuple):
        parts = list(x)
    elif isinstance(x, ListObject):
        parts = list(t.items(x))
    elif isinstance(x, DictObject | Instance):
        parts = [v for _, v in t.items(x)]
    if len(parts) != len(axes):
        refuse(
            t,
            f"{what} of vmap has {len(axes)} axes in a place where there is {describe(x)}",
            "give one axis for all of it, or a structure like it",
        )
    return zip(axes, parts, strict=True)


# ---------------------------------------------------------------- results


def stacked(t: Tracer, p: Program, count: Value, places: dict[int, Row], out_axes: Any) -> Any:
    """The loop over the examples, and the structure of its results."""
    outputs: dict[int, int] = {}
    place_outputs(t, p, out_axes, p.result, outputs)
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
    known = dict(zip(order, arrays, strict=True))
    return fill(t, p.result, lambda o: t.new_array(known[o.index]))


def place_outputs(t: Tracer, p: Program, axis: Any, x: Any, out: dict[int, int]) -> None:
    """Notes along which axis each result is stacked."""
    if isinstance(axis, tuple):
        for a, part in matched(t, "out_axes", axis, x):
            place_outputs(t, p, a, part, out)
        return
    for leaf in leaves(t, x):
        if not isinstance(leaf, Output):
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
