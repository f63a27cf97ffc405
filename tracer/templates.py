"""Templates: what a variable may be where several paths meet, and which IR values carry it there.

In: abstract values of one variable (or container, or object) on different paths. Out: a template that covers them
all. A template says what is the same on every path and which parts become IR values at the merge:

* `Fixed`: the same on every path, nothing is carried;
* `NumberLeaf`: one number of a joined type (`s = 0` and `s += x[i]` join to a float);
* `TupleNode`, `RefNode`, `MaybeNode`: structure around leaves;
* `ContentsLeaf`: what an array object holds;
* `PoisonNode`: nothing covers the values; reading them later is an error.

`widen` grows a template until it covers a value; growing ends, because types only join upwards. A `RefNode` whose
paths mean different objects is *merged*: it stands for a new object that holds the contents of whichever object
the path meant, and `Join` keeps for every pair of objects that may be one a flag that says whether they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, Array, DType, Scalar, Type, dtype_of, join_dims
from . import views
from .context import Tracer
from .numeric import describe, dtype_spec, is_python_type, is_static_number
from .values import (
    UNDEFINED,
    ArrayObject,
    BoundMethod,
    DictObject,
    FunctionValue,
    Instance,
    ListObject,
    Maybe,
    Number,
    Partial,
    Poison,
    Reference,
)

__all__ = [
    "ChoiceNode",
    "ContentsLeaf",
    "Fixed",
    "MaybeNode",
    "NumberLeaf",
    "Packed",
    "Plan",
    "PoisonNode",
    "RefNode",
    "Template",
    "TupleNode",
    "Widener",
    "pack",
    "same",
    "unpack",
]


@dataclass(frozen=True, eq=False)
class Fixed:
    value: Any


@dataclass(frozen=True)
class NumberLeaf:
    dtype: DType
    weak: bool


@dataclass(frozen=True)
class ContentsLeaf:
    dtype: DType
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class TupleNode:
    cls: type
    items: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Merged:
    """A new object in place of different ones: its type, the extents all of them share, where it is.

    `materialized`: the paths see their objects through different views, so the new object holds what the views
    show; it is then not to be written to, nor read once one of `sources` (the objects viewed) has changed.
    """

    path: Any
    dtype: DType
    dims: tuple[int | None, ...]
    extents: tuple[Value | None, ...]
    c_order: bool | None
    materialized: bool = False
    sources: frozenset[ArrayObject] = frozenset()
    members: frozenset[ArrayObject] = frozenset()
    readonly: str = ""


@dataclass(frozen=True, eq=False)
class RefNode:
    """A reference: the views of `like`; `parts`: their values, None where carried; `merged` where objects differ."""

    like: Reference
    parts: tuple[Value | None, ...]
    merged: Merged | None


@dataclass(frozen=True, eq=False)
class Plan:
    """How a reference is carried out of a branch: `visible` says whether its object exists outside.

    An object that does not is carried by its contents, or, where it is itself a choice, by the flag and both plans.
    `links`: objects outside that it may be one with, and the flags that say so.
    """

    ref: Reference
    visible: bool
    choice: tuple[Plan, Plan] | None
    links: tuple[tuple[ArrayObject, Any], ...] = ()


@dataclass(frozen=True, eq=False)
class ChoiceNode:
    """References that differ in more than values, at an `if`: all are carried, and the condition chooses.

    One plan: a reference that only one path has.
    """

    plans: tuple[Plan, ...]


@dataclass(frozen=True, eq=False)
class Packed:
    """A list, dict or object together with what it holds on a path: how joins see containers."""

    container: Any
    shape: Any
    items: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class ContainerNode:
    """Different containers of one shape: a new one that holds what they hold."""

    shape: Any
    items: tuple[Any, ...]
    sources: frozenset[Any]


@dataclass(frozen=True)
class MaybeNode:
    """A value that some paths do not define: the value and a flag are carried."""

    inner: Any


@dataclass(frozen=True)
class PoisonNode:
    message: str


Template = Fixed | NumberLeaf | ContentsLeaf | TupleNode | RefNode | ChoiceNode | ContainerNode | MaybeNode | PoisonNode

IMMUTABLE = (str, bytes, type(None), type, np.dtype, slice, type(Ellipsis), range)


# ---------------------------------------------------------------- sameness


def same_value(a: Value | None, b: Value | None) -> bool:
    return a is b or (isinstance(a, Const) and isinstance(b, Const) and a == b)


def same(a: Any, b: Any) -> bool:
    """Whether two abstract values are certainly one and the same."""
    if a is b:
        return True
    if isinstance(a, Number) and isinstance(b, Number):
        return a.weak == b.weak and same_value(a.value, b.value)
    if is_static_number(a) and is_static_number(b):
        if type(a) is not type(b):
            return False
        return bool(np.asarray(a).tobytes() == np.asarray(b).tobytes()) if isinstance(a, float | np.generic) else a == b
    if isinstance(a, tuple) and isinstance(b, tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    if isinstance(a, Reference) and isinstance(b, Reference):
        return (
            a.object is b.object
            and a.shape_of_views() == b.shape_of_views()
            and all(same_value(x, y) for x, y in zip(a.parts(), b.parts()))
        )
    if isinstance(a, BoundMethod) and isinstance(b, BoundMethod):
        return a.function is b.function and same(a.self, b.self)
    if isinstance(a, Partial) and isinstance(b, Partial):
        return (
            a.function is b.function and same(a.args, b.args) and same(tuple(a.kwargs.items()), tuple(b.kwargs.items()))
        )
    if isinstance(a, FunctionValue) and isinstance(b, FunctionValue):
        # made again by a repeated statement: the same function as long as it closes over the same frame
        return (
            a.code is b.code
            and a.frame is b.frame
            and same(a.defaults, b.defaults)
            and same(tuple(a.keyword_defaults.items()), tuple(b.keyword_defaults.items()))
        )
    if isinstance(a, Maybe) and isinstance(b, Maybe):
        return same(a.value, b.value) and (a.defined is b.defined)
    if isinstance(a, Value) and isinstance(b, Value):
        return same_value(a, b)
    if isinstance(a, Poison) and isinstance(b, Poison):
        return True
    if isinstance(a, Packed) and isinstance(b, Packed):
        return a.container is b.container
    if type(a) is type(b) and isinstance(a, IMMUTABLE):
        return bool(a == b)
    if type(a) is type(b) and not isinstance(a, ListObject | DictObject | Instance | ArrayObject | Maybe | Value):
        try:
            return callable(a) and bool(a == b)  # bound methods of the caller's objects
        except Exception:
            return False
    return False


# ---------------------------------------------------------------- numbers


def number_leaf(x: Any) -> NumberLeaf:
    spec = dtype_spec(x)
    if is_python_type(spec):
        return NumberLeaf(BOOL if spec is bool else I64 if spec is int else F64, True)
    dtype = dtype_of(spec)
    return NumberLeaf(dtype if dtype is not None else F64, False)


def join_numbers(a: NumberLeaf, b: NumberLeaf) -> NumberLeaf:
    """The type of a number that is `a` on one path and `b` on another: NumPy's promotion, weak numbers giving way."""
    if a == b:
        return a
    if a.weak == b.weak:
        dtype = dtype_of(np.promote_types(a.dtype.numpy, b.dtype.numpy))
        return NumberLeaf(dtype if dtype is not None else F64, a.weak)
    weak, strong = (a, b) if a.weak else (b, a)
    order = "biuf"
    if order.index(weak.dtype.kind.replace("u", "i")) <= order.index(strong.dtype.kind.replace("u", "i")):
        return NumberLeaf(strong.dtype, False)
    return NumberLeaf(weak.dtype, weak.dtype.kind != "f")


# ---------------------------------------------------------------- growing


class Widener:
    """Grows templates; knows the tracer (what is visible outside) and how to name merged objects."""

    def __init__(self, t: Tracer, per_path: bool) -> None:
        self.t = t
        self.per_path = per_path
        self.old_store: dict[Any, Any] = {}
        self.new_store: dict[Any, Any] = {}
        """The states of the two sides of an `if`."""

    def lift(self, value: Any, path: Any) -> Template:
        """A template for a value that only one path has."""
        if isinstance(value, Number):
            return number_leaf(value)
        if isinstance(value, tuple):
            return TupleNode(type(value), tuple(self.lift(v, (path, k)) for k, v in enumerate(value)))
        if isinstance(value, Reference):
            if self.t.visible(value.object.region):
                return RefNode(value, (None,) * len(value.parts()), None)
            if value.object.choice is not None:
                if self.per_path:
                    return RefNode(value, (), self.materialized(value, value, path))
                return ChoiceNode((self.plan(value, self.new_store),))
            return RefNode(value, (None,) * len(value.parts()), self.merged(value.object, value.object, path))
        if isinstance(value, Maybe):
            return MaybeNode(self.lift(value.value, path))
        if isinstance(value, Poison):
            return PoisonNode(value.message)
        if isinstance(value, Value):
            return ContentsLeaf(value.dtype, value.type.dims if isinstance(value.type, Array) else ())
        if isinstance(value, Packed) and not self.t.visible(value.container.region):
            return self.contained(value, path)
        return Fixed(value)

    def contained(self, value: Packed, path: Any) -> Template:
        sources = frozenset([value.container]) if self.t.visible(value.container.region) else frozenset()
        items = tuple(self.lift(v, (path, k)) for k, v in enumerate(value.items))
        return ContainerNode(value.shape, items, sources)

    def widen_container(self, template: ContainerNode, value: Any, path: Any, name: str) -> Template:
        if not isinstance(value, Packed) or value.shape != template.shape:
            return PoisonNode(
                f"{quoted(name)} is {describe_container(template.shape)} on one path and "
                f"{describe_container(value.shape) if isinstance(value, Packed) else describe(value)} on another"
            )
        items = tuple(
            self.widen(x, v, (path, k), f"{name}[{k}]") for k, (x, v) in enumerate(zip(template.items, value.items))
        )
        sources = template.sources
        if self.t.visible(value.container.region):
            sources |= {value.container}
        if sources == template.sources and all(a is b for a, b in zip(items, template.items)):
            return template
        return ContainerNode(template.shape, items, sources)

    def merged(self, a: ArrayObject, b: ArrayObject, path: Any) -> Merged | None:
        """A new object for two of one dtype and rank; None where they have none."""
        if a.dtype is not b.dtype or a.rank != b.rank:
            return None
        extents = tuple(x if x is not None and same_value(x, y) else None for x, y in zip(a.extents, b.extents))
        dims = join_dims(self.dims(a), self.dims(b))
        c_order = a.c_order if a.c_order == b.c_order else None
        return Merged(
            path if self.per_path else (a, b),
            a.dtype,
            dims,
            extents if a is not b else self.outer_extents(a),
            c_order,
            sources=self.sources_of(a) | self.sources_of(b),
            members=frozenset(o for o in (a, b) if self.t.visible(o.region)),
            readonly=a.readonly or b.readonly,
        )

    def sources_of(self, a: ArrayObject) -> frozenset[ArrayObject]:
        found = [o for o, _ in a.copied_from]
        if a.choice is not None:
            found += [o for ref in (a.choice[1], a.choice[2]) for o in (ref.object, *self.sources_of(ref.object))]
        return frozenset(o for o in found if self.t.visible(o.region))

    def materialized(self, a: Reference, b: Reference, path: Any) -> Merged:
        """A new object that holds what different views show."""
        sources = self.sources_of(a.object) | self.sources_of(b.object)
        sources |= {o for o in (a.object, b.object) if self.t.visible(o.region)}
        return Merged(
            path if self.per_path else (a, b),
            a.dtype,
            join_dims(views.dims(a), views.dims(b)),
            (None,) * a.rank,
            None,
            True,
            sources,
            readonly="it is a view of one array on one path and another array on another",
        )

    def plan(self, ref: Reference, store: dict[Any, Any]) -> Plan:
        obj = ref.object
        if self.t.visible(obj.region):
            return Plan(ref, True, None)
        if obj.choice is not None:
            return Plan(ref, False, (self.plan(obj.choice[1], store), self.plan(obj.choice[2], store)))
        links: list[tuple[ArrayObject, Any]] = []
        for key, flag in store.items():
            if type(key) is frozenset and obj in key and flag is not False:
                (other,) = key - {obj}
                if self.t.visible(other.region):
                    links.append((other, flag))
        return Plan(ref, False, None, tuple(links))

    def outer_extents(self, a: ArrayObject) -> tuple[Value | None, ...]:
        if self.t.visible(a.region):
            return tuple(a.extents)
        return tuple(e if isinstance(e, Const) else None for e in a.extents)

    def dims(self, a: ArrayObject) -> tuple[int | None, ...]:
        assert isinstance(a.initial.type, Array)
        now = self.t.store.get(a, a.initial)
        return (
            join_dims(a.initial.type.dims, now.type.dims)
            if isinstance(now, Value) and isinstance(now.type, Array)
            else a.initial.type.dims
        )

    def widen(self, template: Template, value: Any, path: Any, name: str) -> Template:
        """`template` itself where it covers `value`, else a larger one that does."""
        if is_result(path):  # what a function returns is read only where it has returned
            if value is UNDEFINED:
                return self.lift(template.value, path) if isinstance(template, Fixed) else template
            if isinstance(template, Fixed) and template.value is UNDEFINED:
                return self.lift(value, path)
        if isinstance(template, PoisonNode):
            return template
        if isinstance(template, MaybeNode):
            if value is UNDEFINED:
                return template
            inner = self.widen(template.inner, value.value if isinstance(value, Maybe) else value, path, name)
            if isinstance(inner, PoisonNode):
                return inner
            return template if inner is template.inner else MaybeNode(inner)
        if isinstance(template, Fixed):
            return self.widen_fixed(template, value, path, name)
        if isinstance(value, Poison):
            return PoisonNode(value.message)
        if value is UNDEFINED or isinstance(value, Maybe):
            inner = self.widen(template, value.value, path, name) if isinstance(value, Maybe) else template
            return inner if isinstance(inner, PoisonNode) else MaybeNode(inner)
        if isinstance(template, NumberLeaf):
            if isinstance(value, Number) or is_static_number(value):
                joined = join_numbers(template, number_leaf(value))
                return template if joined == template else joined
            return PoisonNode(f"{quoted(name)} is a number on one path and {describe(value)} on another")
        if isinstance(template, ContentsLeaf):
            assert isinstance(value, Value)
            dims = join_dims(template.dims, value.type.dims) if isinstance(value.type, Array) else ()
            return template if dims == template.dims else ContentsLeaf(template.dtype, dims)
        if isinstance(template, TupleNode):
            return self.widen_tuple(template, value, path, name)
        if isinstance(template, ContainerNode):
            return self.widen_container(template, value, path, name)
        if isinstance(template, ChoiceNode):
            return (
                template
                if len(template.plans) == 1 and template.plans[0].ref is value
                else PoisonNode(f"{quoted(name)} is a view of different arrays")
            )
        assert isinstance(template, RefNode)
        return self.widen_reference(template, value, path, name)

    def widen_fixed(self, template: Fixed, value: Any, path: Any, name: str) -> Template:
        old = template.value
        if same(old, value):
            return template
        if isinstance(old, Poison):
            return PoisonNode(old.message)
        if old is UNDEFINED:
            lifted = self.lift(value, path)
            return lifted if isinstance(lifted, PoisonNode | MaybeNode) else MaybeNode(lifted)
        if isinstance(old, Maybe):
            return self.widen(MaybeNode(self.lift(old.value, path)), value, path, name)
        if value is UNDEFINED or isinstance(value, Maybe):
            lifted = self.lift(old, path)
            return lifted if isinstance(lifted, PoisonNode) else self.widen(MaybeNode(lifted), value, path, name)
        if isinstance(old, Number) or is_static_number(old):
            return self.widen(number_leaf(old), value, path, name)
        if isinstance(old, Value):
            return self.widen(self.lift(old, path), value, path, name)
        if isinstance(old, tuple):
            fixed = TupleNode(type(old), tuple(Fixed(v) for v in old))
            return self.widen(fixed, value, path, name)
        if isinstance(old, Reference):
            return self.widen(RefNode(old, tuple(old.parts()), None), value, path, name)
        if isinstance(old, Packed):
            fixed_items = ContainerNode(old.shape, tuple(Fixed(v) for v in old.items), self.seen(old))
            return self.widen_container(fixed_items, value, path, name)
        return PoisonNode(f"{quoted(name)} is {describe(old)} on one path and {describe(value)} on another")

    def seen(self, value: Packed) -> frozenset[Any]:
        return frozenset([value.container]) if self.t.visible(value.container.region) else frozenset()

    def widen_tuple(self, template: TupleNode, value: Any, path: Any, name: str) -> Template:
        if not isinstance(value, tuple) or type(value) is not template.cls or len(value) != len(template.items):
            return PoisonNode(
                f"{quoted(name)} is a tuple of {len(template.items)} on one path and {describe(value)} on another"
            )
        items = tuple(
            self.widen(x, v, (path, k), f"{name}[{k}]") for k, (x, v) in enumerate(zip(template.items, value))
        )
        if all(a is b for a, b in zip(items, template.items)):
            return template
        return TupleNode(template.cls, items)

    def widen_reference(self, template: RefNode, value: Any, path: Any, name: str) -> Template:
        like = before = template.like
        if not isinstance(value, Reference):
            return PoisonNode(f"{quoted(name)} is {describe(like)} on one path and {describe(value)} on another")
        if like.dtype is not value.dtype or like.rank != value.rank:
            return PoisonNode(f"{quoted(name)} is {describe(like)} on one path and {describe(value)} on another")
        merged = template.merged
        if merged is not None and merged.materialized:
            return self.widen_materialized(template, merged, value)
        virtual = like.object is not value.object and (like.object.choice or value.object.choice)
        wide = None if virtual else views.conform(self.t, like, value)
        narrow = None if wide is None else views.conform(self.t, value, wide)
        if wide is None or narrow is None:
            if not self.per_path:
                return ChoiceNode((self.plan(like, self.old_store), self.plan(value, self.new_store)))
            return self.copied(template, value, path)
        if wide is not like:
            old = template.parts
            kept = [p if p is not None else None for p in old] if len(old) == len(wide.parts()) else wide.parts()
            template = RefNode(wide, tuple(kept), merged)
            like = wide
        value = narrow
        parts = tuple(p if p is not None and same_value(p, v) else None for p, v in zip(template.parts, value.parts()))
        if merged is not None:
            merged = self.grow(merged, value.object)
        elif like.object is not value.object or not self.t.visible(like.object.region):
            merged = self.merged(like.object, value.object, path)
            if merged is None:
                return PoisonNode(f"{quoted(name)} is {describe(like)} on one path and {describe(value)} on another")
        if merged is template.merged and all(p is q for p, q in zip(parts, template.parts)) and like is before:
            return template
        return RefNode(like, parts, merged)

    def copied(self, template: RefNode, value: Reference, path: Any) -> Template:
        """Give up on views that differ too much: carry what they show."""
        found = self.materialized(template.like, value, path)
        if template.merged is not None:
            found = replace(found, sources=found.sources | template.merged.sources | template.merged.members)
        return RefNode(template.like, (), found)

    def widen_materialized(self, template: RefNode, merged: Merged, value: Reference) -> Template:
        dims = join_dims(merged.dims, views.dims(value))
        sources = merged.sources | self.sources_of(value.object)
        if self.t.visible(value.object.region):
            sources |= {value.object}
        if dims == merged.dims and sources == merged.sources:
            return template
        return RefNode(template.like, (), replace(merged, dims=dims, sources=sources))

    def grow(self, merged: Merged, obj: ArrayObject) -> Merged:
        extents = tuple(x if x is not None and same_value(x, y) else None for x, y in zip(merged.extents, obj.extents))
        dims = join_dims(merged.dims, self.dims(obj))
        c_order = merged.c_order if merged.c_order == obj.c_order else None
        sources = merged.sources | self.sources_of(obj)
        members = merged.members | {obj} if self.t.visible(obj.region) else merged.members
        readonly = merged.readonly or obj.readonly
        same_extents = all(a is b for a, b in zip(extents, merged.extents))
        now = (dims, c_order, sources, members, readonly)
        then = (merged.dims, merged.c_order, merged.sources, merged.members, merged.readonly)
        if now == then and same_extents:
            return merged
        return replace(
            merged, extents=extents, dims=dims, c_order=c_order, sources=sources, members=members, readonly=readonly
        )


def describe_container(shape: Any) -> str:
    """A container's shape in words."""
    kind, keys = shape
    if kind is list:
        return f"a list of {keys}"
    if kind is dict:
        return f"a dict of {', '.join(map(repr, keys)) or 'nothing'}"
    return f"a {kind.__name__}"


def pack(t: Tracer, store: dict[Any, Any], value: Any, inside: tuple[Any, ...] = ()) -> Any:
    """A value with its containers replaced by what they hold in a store, and objects by older ones that they are."""
    if isinstance(value, Reference):
        obj = oldest(t, store, value.object)
        return value if obj is value.object else Reference(obj, value.stages)
    if isinstance(value, tuple):
        items = [pack(t, store, v, inside) for v in value]
        if all(a is b for a, b in zip(items, value)):
            return value
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, Maybe):
        inner = pack(t, store, value.value, inside)
        return value if inner is value.value else Maybe(inner, value.defined)
    if isinstance(value, ListObject | DictObject | Instance) and not any(value is c for c in inside):
        held = store.get(value, value.initial)
        below = (*inside, value)
        if isinstance(value, ListObject):
            return Packed(value, (list, len(held)), tuple(pack(t, store, v, below) for v in held))
        kind = dict if isinstance(value, DictObject) else value.cls
        return Packed(value, (kind, tuple(k for k, _ in held)), tuple(pack(t, store, v, below) for _, v in held))
    return value


def oldest(t: Tracer, store: dict[Any, Any], obj: ArrayObject) -> ArrayObject:
    """The object itself, or the one from the outermost region that it certainly is."""
    found = obj
    for key, flag in store.items():
        if flag is True and type(key) is frozenset and obj in key:
            (other,) = key - {obj}
            if depth(t, other) < depth(t, found):
                found = other
    return found


def depth(t: Tracer, obj: ArrayObject) -> int:
    for k, region in enumerate(t.regions):
        if region is obj.region:
            return k
    return len(t.regions)


def unpack(value: Any) -> Any:
    """The value itself again."""
    if isinstance(value, Packed):
        return value.container
    if isinstance(value, tuple):
        items = [unpack(v) for v in value]
        if all(a is b for a, b in zip(items, value)):
            return value
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, Maybe):
        return Maybe(unpack(value.value), value.defined)
    return value


def quoted(name: str) -> str:
    return f"`{name}`" if name else "this value"


def is_result(path: Any) -> bool:
    return isinstance(path, tuple) and len(path) == 2 and path[1] == "<result>"


def number_leaf_of(value: Any) -> NumberLeaf | None:
    """The leaf of a number; None for anything else."""
    return number_leaf(value) if isinstance(value, Number) or is_static_number(value) else None


def leaf_types(template: Template) -> Iterator[tuple[str, Type]]:
    """The types of the values that a template carries, in order, without contents of merged objects."""
    if isinstance(template, NumberLeaf):
        yield "number", Scalar(template.dtype)
    elif isinstance(template, ContentsLeaf):
        yield "contents", Array(template.dtype, template.dims) if template.dims else Scalar(template.dtype)
    elif isinstance(template, TupleNode | ContainerNode):
        for item in template.items:
            yield from leaf_types(item)
    elif isinstance(template, RefNode):
        for part in template.parts:
            if part is None:
                yield "part", Scalar(I64)
    elif isinstance(template, ChoiceNode):
        for plan in template.plans:
            yield from plan_types(plan)
    elif isinstance(template, MaybeNode):
        yield from leaf_types(template.inner)
        yield "flag", Scalar(BOOL)


def plan_types(plan: Plan) -> Iterator[tuple[str, Type]]:
    for _ in plan.ref.parts():
        yield "part", Scalar(I64)
    if plan.choice is not None:
        yield "flag", Scalar(BOOL)
        for inner in plan.choice:
            yield from plan_types(inner)
    elif not plan.visible:
        yield "object", Array(plan.ref.object.dtype, views.object_dims(plan.ref.object))
        for _, flag in plan.links:
            if isinstance(flag, Number):
                yield "flag", Scalar(BOOL)


def merged_nodes(template: Template) -> Iterator[RefNode]:
    if isinstance(template, TupleNode | ContainerNode):
        for item in template.items:
            yield from merged_nodes(item)
    elif isinstance(template, MaybeNode):
        yield from merged_nodes(template.inner)
    elif isinstance(template, RefNode) and template.merged is not None:
        yield template
