"""Views: reading and writing an array object through stages of selection and reshaping.

In: references and positions. Out: IR values (what a reference shows), new references (views of views, composed
into one stage where possible), and new contents of objects in the store (writes).

A write goes to every object that the reference's object may be identical with (see `merges`): it is unconditional
for the object itself and under a run-time flag for the others.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Builder, Const, Region, Value
from ..ir.types import I64, Array
from . import integers
from .context import Tracer, defining_index
from .values import ArrayObject, Reference, Reshape, View

__all__ = [
    "Item",
    "contents",
    "dims",
    "extent",
    "extents",
    "is_c_order",
    "permuted",
    "read",
    "reshaped",
    "select",
    "static_dims",
    "write",
]

Item = tuple[Value, ...] | None | str
"""One subscript: (position,), (start, length, step), None for the whole axis, or "new" for a new axis."""


# ---------------------------------------------------------------- extents


def object_extent(t: Tracer, obj: ArrayObject, axis: int) -> Value:
    """The extent of an object: read once, where the object came into being."""
    found = obj.extents[axis]
    if found is None and obj.choice is not None:
        flag, a, b = obj.choice
        x, y = extent(t, a, axis), extent(t, b, axis)
        return x if integers.same(x, y) else t.emit1("select", [flag, x, y])
    if found is None:
        index = defining_index(obj.region, obj.initial)
        if index < 0:
            return t.emit1("dim", [obj.initial], {"axis": axis})
        ops = obj.region.ops
        tail = ops[index:]
        del ops[index:]
        span = obj.initial.op.span if obj.initial.op is not None else None
        with Builder(obj.region, span) as builder:
            found = builder.emit1("dim", [obj.initial], {"axis": axis})
        ops.extend(tail)
        obj.extents[axis] = found
    return found


def extent(t: Tracer, ref: Reference, axis: int) -> Value:
    """The extent of a reference along one of its axes."""
    if not ref.stages:
        return object_extent(t, ref.object, axis)
    last = ref.stages[-1]
    if isinstance(last, Reshape):
        return last.extents[axis]
    shown = last.axes[axis]
    if shown is None:
        return Const(1, I64)
    selector = last.selectors[shown]
    if selector is None:
        return extent(t, Reference(ref.object, ref.stages[:-1]), shown)
    return selector[1]


def extents(t: Tracer, ref: Reference) -> list[Value]:
    return [extent(t, ref, axis) for axis in range(ref.rank)]


def dims(ref: Reference) -> tuple[int | None, ...]:
    """Extents as far as they are known while tracing; emits nothing."""
    if not ref.stages:
        type_ = ref.object.initial.type
        assert isinstance(type_, Array)
        return tuple(
            d if d is not None else integers.known(e) if e is not None else None
            for d, e in zip(type_.dims, ref.object.extents)
        )
    last = ref.stages[-1]
    if isinstance(last, Reshape):
        return tuple(integers.known(e) for e in last.extents)
    before: tuple[int | None, ...] | None = None
    out: list[int | None] = []
    for shown in last.axes:
        if shown is None:
            out.append(1)
            continue
        selector = last.selectors[shown]
        if selector is None:
            before = before if before is not None else dims(Reference(ref.object, ref.stages[:-1]))
            out.append(before[shown])
        else:
            out.append(integers.known(selector[1]))
    return tuple(out)


def object_dims(obj: ArrayObject) -> tuple[int | None, ...]:
    """Extents of an object as far as its type knows them."""
    assert isinstance(obj.initial.type, Array)
    return obj.initial.type.dims


def static_dims(ref: Reference) -> tuple[int, ...] | None:
    found = dims(ref)
    return None if None in found else tuple(d for d in found if d is not None)


# ---------------------------------------------------------------- contents


def contents(t: Tracer, obj: ArrayObject) -> Value:
    """What an object holds now."""
    if obj in t.suspended:
        raise t.suspended[obj]
    if obj.choice is not None:
        flag, a, b = obj.choice
        then, other = Region(), Region()
        for region, shown in ((then, a), (other, b)):
            with t.inside(region):
                t.emit("yield", [read(t, shown)])
        return t.emit("if", [flag], regions=[then, other])[0]
    for source, held_then in obj.copied_from:
        if contents(t, source) is not held_then:
            t.unsupported(
                "whether this array is a copy or a view is decided at run time, and what it was made from has "
                "changed since",
                "write `.copy()` where it is made",
            )
    held: Value = t.store.get(obj, obj.initial)
    return held


def read(t: Tracer, ref: Reference) -> Value:
    """The contents of an array as the reference shows them (a scalar where no axis is left)."""
    value = contents(t, ref.object)
    for k, stage in enumerate(ref.stages):
        value = read_stage(t, Reference(ref.object, ref.stages[:k]), value, stage)
    return value


def spec_of(stage: View) -> tuple[str, list[Value]]:
    spec = "".join(":" if s is None else "i" if len(s) == 1 else "s" for s in stage.selectors)
    return spec, [p for s in stage.selectors if s is not None for p in s]


def read_stage(t: Tracer, base: Reference, value: Value, stage: View | Reshape) -> Value:
    if isinstance(stage, Reshape):
        return t.emit1("reshape", [value, *stage.extents])
    spec, positions = spec_of(stage)
    if positions:
        value = t.emit1("index", [value, *positions], {"spec": spec})
    kept = [k for k, letter in enumerate(spec) if letter != "i"]
    shown = [a for a in stage.axes if a is not None]
    perm = tuple(kept.index(a) for a in shown)
    if perm != tuple(range(len(perm))):
        value = t.emit1("transpose", [value], {"perm": perm})
    if len(shown) != len(stage.axes):
        view = Reference(base.object, (*base.stages, stage))
        target = extents(t, view)
        if not shown:
            return t.emit1("fill", [value, *target])
        axes = tuple(k for k, a in enumerate(stage.axes) if a is not None)
        value = t.emit1("broadcast", [value, *target], {"axes": axes})
    return value


# ---------------------------------------------------------------- views of views


def select(t: Tracer, ref: Reference, items: Sequence[Item]) -> Reference:
    """A view by basic indexing: one item per axis of `ref`, plus "new" for new axes."""
    rank = ref.rank
    if ref.stages and isinstance(ref.stages[-1], View):
        base, last = ref.stages[:-1], ref.stages[-1]
    else:
        base, last = ref.stages, View((None,) * rank, tuple(range(rank)))
    selectors = list(last.selectors)
    axes: list[int | None] = []
    position = 0
    for item in items:
        if item == "new":
            axes.append(None)
            continue
        assert not isinstance(item, str)
        shown = last.axes[position]
        position += 1
        if item is None:
            axes.append(shown)
            continue
        if shown is None:  # an axis of extent 1: a position removes it, a range of length 1 keeps it
            if len(item) == 3:
                if integers.known(item[1]) != 1:
                    t.unsupported("a slice of a new axis", "write the slice before adding the axis")
                axes.append(None)
            continue
        selectors[shown] = compose(t, selectors[shown], item)
        if len(item) == 3:
            axes.append(shown)
    view = View(tuple(selectors), tuple(axes))
    if all(s is None for s in view.selectors) and view.axes == tuple(range(len(view.selectors))):
        return Reference(ref.object, base)
    return Reference(ref.object, (*base, view))


def compose(t: Tracer, outer: tuple[Value, ...] | None, item: tuple[Value, ...]) -> tuple[Value, ...]:
    """An item within a range, as an item of the axis itself."""
    if outer is None:
        return item
    start, _, step = outer
    first = integers.add(t, start, integers.mul(t, item[0], step))
    if len(item) == 1:
        return (first,)
    return (first, item[1], integers.mul(t, item[2], step))


def conform(t: Tracer, ref: Reference, like: Reference) -> Reference | None:
    """The same view, spelled with ranges wherever `like` has ranges; None where the two differ in more than that."""
    if ref.shape_of_views() == like.shape_of_views():
        return ref
    if ref.object.rank != like.object.rank or len(ref.stages) > 1 or len(like.stages) > 1:
        return None
    whole = View((None,) * ref.object.rank, tuple(range(ref.object.rank)))
    own = ref.stages[0] if ref.stages else whole
    other = like.stages[0] if like.stages else whole
    if not isinstance(own, View) or not isinstance(other, View) or own.axes != other.axes:
        return None
    selectors: list[tuple[Value, ...] | None] = []
    for axis, (a, b) in enumerate(zip(own.selectors, other.selectors)):
        if a is None and b is not None and len(b) == 3:
            a = (Const(0, I64), object_extent(t, ref.object, axis), Const(1, I64))
        elif (a is None) != (b is None) and not (b is None and a is not None and len(a) == 3):
            return None
        elif a is not None and b is not None and len(a) != len(b):
            return None
        selectors.append(a)
    if all(a is b for a, b in zip(selectors, own.selectors)):
        return ref
    return Reference(ref.object, (View(tuple(selectors), own.axes),))


def permuted(ref: Reference, order: Sequence[int]) -> Reference:
    """A view with axes in another order."""
    rank = ref.rank
    if ref.stages and isinstance(ref.stages[-1], View):
        base, last = ref.stages[:-1], ref.stages[-1]
    else:
        base, last = ref.stages, View((None,) * rank, tuple(range(rank)))
    view = View(last.selectors, tuple(last.axes[k] for k in order))
    if all(s is None for s in view.selectors) and view.axes == tuple(range(len(view.selectors))):
        return Reference(ref.object, base)
    return Reference(ref.object, (*base, view))


def is_c_order(ref: Reference) -> bool | None:
    """Whether the elements lie in C order without gaps (None: not known while tracing)."""
    if ref.object.c_order is not True and ref.object.rank > 1:
        return None
    for stage in ref.stages:
        if isinstance(stage, Reshape):
            continue
        shown = [a for a in stage.axes if a is not None]
        if shown != sorted(shown):
            return None
        whole_from = 0
        for k, selector in enumerate(stage.selectors):
            if selector is not None:
                whole_from = k + 1
        for k, selector in enumerate(stage.selectors[:whole_from]):
            if selector is None:
                return None
            if len(selector) == 3 and (
                integers.known(selector[2]) != 1 or any(s is None or len(s) == 3 for s in stage.selectors[:k])
            ):
                return None
    return True


def reshaped(t: Tracer, ref: Reference, shape: Sequence[Value]) -> Reference:
    """`reshape` of as many elements: a view where NumPy makes one, else a copy."""
    if (ref.object.choice is None and is_c_order(ref)) or (ref.rank <= 1 and len(shape) <= 1):
        return Reference(ref.object, (*ref.stages, Reshape(tuple(shape))))
    source = contents(t, ref.object)
    out = t.new_array(t.emit1("reshape", [read(t, ref), *shape]), list(shape))
    out.object.copied_from = ((ref.object, source),)
    out.object.readonly = "whether NumPy copies here or makes a view is decided at run time, so it cannot be written to"
    return out


# ---------------------------------------------------------------- writes


def write(t: Tracer, ref: Reference, value: Value) -> None:
    """Replace what the reference shows; `value` is a scalar or has exactly the reference's shape."""
    from . import aliasing, merges

    obj = ref.object
    if obj.readonly:
        t.unsupported(f"this array cannot be written to: {obj.readonly}", "write `.copy()` where it is made")
    if obj.choice is not None:
        chosen, a, b = obj.choice
        new = written(t, contents(t, obj), ref, 0, value)
        merges.stage_if(t, chosen, lambda: write(t, a, new), lambda: write(t, b, new))
        return
    for other, flag in aliasing.aliases(t, obj):
        if flag is True:
            t.store[other] = written(t, contents(t, other), ref, 0, value)
        elif isinstance(flag, Value):
            aliasing.update_if(t, flag, other, lambda old: written(t, old, ref, 0, value))
    t.store[obj] = written(t, contents(t, obj), ref, 0, value)


def written(t: Tracer, old: Value, ref: Reference, k: int, value: Value) -> Value:
    """The contents `old` of what stage k sees, with what the stages from k on show replaced by `value`."""
    stages = ref.stages[k:]
    base = Reference(ref.object, ref.stages[:k])
    if not stages:
        if value.is_array:
            return value
        return t.emit1("fill", [value, *extents(t, base)])
    stage = stages[0]
    if len(stages) > 1:
        inner = read_stage(t, base, old, stage)
        value = written(t, inner, ref, k + 1, value)
    if isinstance(stage, Reshape):
        target = extents(t, base)
        return t.emit1("reshape" if value.is_array else "fill", [value, *target])
    spec, positions = spec_of(stage)
    if value.is_array:
        new = [k for k, a in enumerate(stage.axes) if a is None]
        if new:
            letters = "".join("i" if k in new else ":" for k in range(len(stage.axes)))
            value = t.emit1("index", [value, *[Const(0, I64)] * len(new)], {"spec": letters})
        shown = [a for a in stage.axes if a is not None]
        perm = tuple(shown.index(a) for a in sorted(shown))
        if perm != tuple(range(len(perm))):
            value = t.emit1("transpose", [value], {"perm": perm})
        if not positions:
            return value
    elif not positions:
        return t.emit1("fill", [value, *extents(t, base)])
    return t.emit1("update", [old, value, *positions], {"spec": spec})
