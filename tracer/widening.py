"""Widening: growing a template until it covers the values of all paths.

In: a template and one more abstract value. Out: the template itself where it covers the value, else a larger one. Types
only join upwards (`templates.join_numbers`), extents and shared values are only forgotten, so growing ends.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..ir.core import Const, Value
from ..ir.types import Array, join_dims
from . import views
from .context import Tracer
from .numeric import describe, is_static_number
from .templates import (
    ChoiceNode,
    ContainerNode,
    ContentsLeaf,
    Fixed,
    MaybeNode,
    Merged,
    NumberLeaf,
    Packed,
    Plan,
    PoisonNode,
    RefNode,
    Template,
    TupleNode,
    describe_container,
    is_result,
    join_numbers,
    number_leaf,
    quoted,
    same,
    same_keys,
    same_value,
)
from .values import UNDEFINED, ArrayObject, Maybe, Number, Poison, Reference

__all__ = ["Widener"]


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
            if isinstance(value, Packed) and same_keys(value.shape, template.shape):
                parts = "keys" if template.shape[0] is dict else "attributes"
                return PoisonNode(f"{quoted(name)} gets the same {parts} in another order on another path")
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
