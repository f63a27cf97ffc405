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
from ..ir.types import BOOL, F64, I64, Array, DType, Scalar, Type, dtype_of
from . import views
from .context import Tracer
from .numeric import dtype_spec, is_python_type, is_static_number
from .values import (
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
    array: int = False


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
        return a.weak == b.weak and a.array == b.array and same_value(a.value, b.value)
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
    return NumberLeaf(dtype if dtype is not None else F64, False, isinstance(x, Number) and x.array)


def join_numbers(a: NumberLeaf, b: NumberLeaf) -> NumberLeaf:
    """The type of a number that is `a` on one path and `b` on another: NumPy's promotion, weak numbers giving way."""
    if a == b:
        return a
    if a.array or b.array:
        joined = join_numbers(replace(a, array=False), replace(b, array=False))
        return replace(joined, array=max(a.array, b.array))
    if a.weak == b.weak:
        dtype = dtype_of(np.promote_types(a.dtype.numpy, b.dtype.numpy))
        return NumberLeaf(dtype if dtype is not None else F64, a.weak)
    weak, strong = (a, b) if a.weak else (b, a)
    order = "biuf"
    if order.index(weak.dtype.kind.replace("u", "i")) <= order.index(strong.dtype.kind.replace("u", "i")):
        return NumberLeaf(strong.dtype, False)
    return NumberLeaf(weak.dtype, weak.dtype.kind != "f")


def same_keys(one: Any, other: Any) -> bool:
    """Whether two dicts or objects differ in the order of what they hold, alone."""
    return one[0] is other[0] and one[0] is not list and len(one[1]) == len(other[1]) and set(one[1]) == set(other[1])


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
