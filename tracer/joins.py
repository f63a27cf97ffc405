"""Joins: the templates of a whole state, carried values in and out of them, and the objects merged for them.

In: what keys of the store hold on different paths. Out: the IR values that carry it (`flatten`), and the abstract
values that they stand for on the other side (`rebuild`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..ir.core import Const, Value
from ..ir.types import BOOL, I64, Array, Scalar, Type
from . import views
from .aliasing import Flag, aliases, flag_of
from .context import Tracer
from .numeric import as_dtype, cast, scalar_value
from .templates import (
    ChoiceNode,
    ContainerNode,
    ContentsLeaf,
    Fixed,
    MaybeNode,
    NumberLeaf,
    Packed,
    Plan,
    PoisonNode,
    RefNode,
    Template,
    TupleNode,
    leaf_types,
    merged_nodes,
    unpack,
)
from .values import UNDEFINED, ArrayObject, DictObject, Instance, ListObject, Maybe, Number, Poison, Reference, in_order
from .widening import Widener

__all__ = ["Join", "make_tuple"]


class Join:
    """Templates for the keys of a store that differ between paths, and the objects merged for them."""

    def __init__(self, t: Tracer, per_path: bool) -> None:
        self.t = t
        self.widener = Widener(t, per_path)
        self.templates: dict[Any, Template] = {}
        self.links: dict[tuple[Any, Any], Template] = {}
        """Per pair (merged object's path, object or path): the flag that the two are one."""
        self.known_paths: set[Any] = set()
        self.condition: Value | None = None
        self.unlinked: frozenset[Any] = frozenset()
        """Paths that a loop only permutes: who is who is settled after the loop."""

    # growing

    def cover(self, key: Any, value: Any) -> bool:
        """Grow the template of a key to cover a value; True where it had to grow."""
        old = self.templates.get(key)
        if old is None:
            self.templates[key] = Fixed(value)
            return True
        new = self.widener.widen(old, value, key, name_of(key))
        self.templates[key] = new
        return new is not old

    def references(self, values: dict[Any, Any]) -> dict[Any, Reference]:
        """For each merged object (by path) the reference that it is on a path with these values."""
        out: dict[Any, Reference] = {}
        for key, template in self.templates.items():
            for node, value in paired(template, values.get(key, UNDEFINED)):
                assert node.merged is not None
                if isinstance(value, Reference):
                    out[node.merged.path] = value
        return out

    def sources(self, values: dict[Any, Any]) -> dict[Any, ArrayObject]:
        """For each merged object (by path) the object that it is; those that copy what views show are left out."""
        copies = {path for path, node in self.nodes() if node.merged is not None and node.merged.materialized}
        return {path: ref.object for path, ref in self.references(values).items() if path not in copies}

    def cover_links(self, values: dict[Any, Any], visible: Callable[[ArrayObject], bool]) -> bool:
        """Grow the flags "is one object" to cover the current store's; True where one had to grow."""
        grown = False
        sources = self.sources(values)
        found: dict[tuple[Any, Any], Flag] = {}
        paths = [path for path, _ in self.nodes() if path in sources and path not in self.unlinked]
        for i, path in enumerate(paths):
            obj = sources[path]
            for other, flag in [(obj, True), *aliases(self.t, obj)]:
                if visible(other):
                    found[path, other] = flag
            for second in paths[:i]:
                flag = flag_of(self.t, obj, sources[second])
                if flag is not False:
                    found[second, path] = flag
        for pair in dict.fromkeys([*self.links, *found]):
            flag = found.get(pair, False)
            old = self.links.get(pair)
            if old is None:
                known = isinstance(flag, bool) and pair[0] not in self.known_paths
                self.links[pair] = Fixed(flag) if known else NumberLeaf(BOOL, True)
                grown = True
            elif isinstance(old, Fixed) and old.value is not flag:
                self.links[pair] = NumberLeaf(BOOL, True)
                grown = True
        self.known_paths |= set(paths)
        return grown

    # carrying

    def nodes(self) -> Iterator[tuple[Any, RefNode]]:
        """Merged nodes, each merged object once."""
        seen: set[Any] = set()
        for template in self.templates.values():
            for node in merged_nodes(template):
                assert node.merged is not None
                if node.merged.path not in seen:
                    seen.add(node.merged.path)
                    yield node.merged.path, node

    def carried_links(self) -> list[tuple[tuple[Any, Any], Template]]:
        """Flags of pairs whose objects are (still) merged ones."""
        paths = {path for path, node in self.nodes() if node.merged is not None and not node.merged.materialized}
        return [
            (pair, flag)
            for pair, flag in self.links.items()
            if pair[0] in paths and (isinstance(pair[1], ArrayObject) or pair[1] in paths)
        ]

    def types(self) -> list[Type]:
        out: list[Type] = []
        for template in self.templates.values():
            out += [type_ for _, type_ in leaf_types(template)]
        for _, node in self.nodes():
            assert node.merged is not None
            out.append(Array(node.merged.dtype, node.merged.dims))
        out += [Scalar(BOOL) for _, flag in self.carried_links() if isinstance(flag, NumberLeaf)]
        return out

    def names(self) -> list[str | None]:
        """A name for every carried value."""
        out: list[str | None] = []
        for key, template in self.templates.items():
            name = name_of(key)
            out += [name for _ in leaf_types(template)]
        owners: dict[Any, str] = {}
        for key, template in self.templates.items():
            for node in merged_nodes(template):
                assert node.merged is not None
                owners.setdefault(node.merged.path, name_of(key))
        out += [owners[path] for path, _ in self.nodes()]
        out += ["is_same" for _, flag in self.carried_links() if isinstance(flag, NumberLeaf)]
        return [n if n and n.isidentifier() else None for n in out]

    def flatten(self, values: dict[Any, Any]) -> list[Value]:
        """The carried values on a path whose values are these (in the current region and store)."""
        t = self.t
        out: list[Value] = []
        for key, template in self.templates.items():
            out += flatten(t, template, values.get(key, UNDEFINED))
        sources = self.sources(values)
        references = self.references(values)
        for path, node in self.nodes():
            assert node.merged is not None
            if path in sources:
                out.append(views.contents(t, sources[path]))
            elif path in references:
                out.append(views.read(t, references[path]))
            else:
                out.append(dummy(t, Array(node.merged.dtype, node.merged.dims)))
        for (first, second), flag in self.carried_links():
            if isinstance(flag, NumberLeaf):
                a = sources.get(first)
                b = sources.get(second) if not isinstance(second, ArrayObject) else second
                found = flag_of(t, a, b) if a is not None and b is not None else False
                out.append(found if isinstance(found, Value) else Const(found, BOOL))
        return out

    def rebuild(self, carried: Sequence[Value]) -> dict[Any, Any]:
        """Store entries from carried values, in the order of `flatten`; merged objects are made anew."""
        t = self.t
        rest = iter(carried)
        pending: list[tuple[Any, Template, list[Value]]] = []
        for key, template in self.templates.items():
            pending.append((key, template, [next(rest) for _ in leaf_types(template)]))
        objects: dict[Any, Any] = {}
        for path, node in self.nodes():
            merged = node.merged
            assert merged is not None
            value = next(rest)
            known: list[Value | None] = list(merged.extents)
            for k, d in enumerate(merged.dims):
                if d is not None:
                    known[k] = Const(d, I64)
            obj = ArrayObject(value, known, t.region, ("merged", path_key(path)), merged.c_order)
            obj.readonly = merged.readonly
            objects[path] = obj
        out: dict[Any, Any] = {}
        for key, template, leaves in pending:
            if isinstance(template, PoisonNode) and isinstance(key, ListObject | DictObject | Instance):
                t.unsupported(
                    "a list, dict or object changes its length or its kinds of entries on a path decided at run time",
                    "allocate an array before (`np.zeros(n)`) and write to its elements",
                )
            out[key] = rebuild(t, template, iter(leaves), objects, self.condition)
        for (first, second), flag in self.carried_links():
            a = objects[first]
            b = second if isinstance(second, ArrayObject) else objects[second]
            if isinstance(flag, NumberLeaf):
                out[frozenset((a, b))] = Number(next(rest), True)
            elif isinstance(flag, Fixed) and flag.value is True:
                out[frozenset((a, b))] = True
        out.update(objects.pop("<links>", []))
        for made, sources in objects.pop("<containers>", []):
            made.merged_from = tuple((o, out.get(o, t.store.get(o, o.initial))) for o in in_order(sources))
        for path, node in self.nodes():
            assert node.merged is not None
            seen = [o for o in in_order(node.merged.sources) if t.visible(o.region)]
            held = {o: out.get(o, t.store.get(o, o.initial)) for o in seen}
            objects[path].copied_from = tuple((o, v) for o, v in held.items() if isinstance(v, Value))
        return out


def path_key(path: Any) -> Any:
    return path if not isinstance(path, tuple) else tuple(path_key(p) for p in path if not isinstance(p, ArrayObject))


def name_of(key: Any) -> str:
    if isinstance(key, tuple) and len(key) == 2:
        return str(key[1]).strip("<>")
    if isinstance(key, ArrayObject):
        return key.initial.name or ""
    return ""


def paired(template: Template, value: Any) -> Iterator[tuple[RefNode, Any]]:
    """Merged nodes of a template with the parts of a value that they stand for."""
    if isinstance(value, Maybe):
        value = value.value
    if isinstance(template, MaybeNode):
        yield from paired(template.inner, value)
    elif isinstance(template, RefNode):
        if template.merged is not None:
            yield template, value
    elif isinstance(template, TupleNode):
        for k, item in enumerate(template.items):
            yield from paired(item, value[k] if isinstance(value, tuple) else UNDEFINED)
    elif isinstance(template, ContainerNode):
        for k, item in enumerate(template.items):
            yield from paired(item, value.items[k] if isinstance(value, Packed) else UNDEFINED)


def dummy(t: Tracer, type_: Type) -> Value:
    """Some value of a type, for paths on which nobody will look at it."""
    assert isinstance(type_, Scalar | Array)
    zero = Const(0, type_.dtype)
    if isinstance(type_, Scalar):
        return zero
    return t.emit1("fill", [zero, *[Const(0 if d is None else d, I64) for d in type_.dims]])


def flatten(t: Tracer, template: Template, value: Any) -> list[Value]:
    """The values that a template carries, of an abstract value that it covers (UNDEFINED: anything)."""
    if isinstance(template, Fixed | PoisonNode):
        return []
    if isinstance(template, MaybeNode):
        flag: Flag = value is not UNDEFINED
        if isinstance(value, Maybe):
            flag, value = value.defined, value.value
        return [*flatten(t, template.inner, value), flag if isinstance(flag, Value) else Const(flag, BOOL)]
    if isinstance(value, Maybe):
        value = value.value
    if isinstance(template, TupleNode):
        parts = value if isinstance(value, tuple) else (UNDEFINED,) * len(template.items)
        return [v for item, part in zip(template.items, parts) for v in flatten(t, item, part)]
    if isinstance(template, ContainerNode):
        held = value.items if isinstance(value, Packed) else (UNDEFINED,) * len(template.items)
        return [v for item, part in zip(template.items, held) for v in flatten(t, item, part)]
    undefined = value is UNDEFINED or isinstance(value, Poison)
    if isinstance(template, ChoiceNode):
        return [v for plan in template.plans for v in carried_plan(t, plan, plan.ref is value)]
    if isinstance(template, NumberLeaf):
        if undefined:
            return [Const(0, template.dtype)]
        if template.dtype.is_integer:  # a Python integer may not fit
            return [as_dtype(t, value, template.dtype, "a variable that paths give different types")]
        return [cast(t, scalar_value(t, value), template.dtype)]
    if isinstance(template, ContentsLeaf):
        if undefined:
            return [dummy(t, Array(template.dtype, template.dims))]
        assert isinstance(value, Value)
        return [value]
    if undefined:
        return [Const(0, I64) for part in template.parts if part is None]
    if template.merged is not None and template.merged.materialized:
        return []
    conformed = views.conform(t, value, template.like)
    assert conformed is not None
    value = conformed
    return [have for part, have in zip(template.parts, value.parts()) if part is None]


def rebuild(
    t: Tracer, template: Template, rest: Iterator[Value], objects: dict[Any, Any], condition: Value | None
) -> Any:
    """The abstract value that a template and its carried values stand for."""
    if isinstance(template, Fixed):
        return unpack(template.value)
    if isinstance(template, PoisonNode):
        return Poison(template.message)
    if isinstance(template, NumberLeaf):
        return Number(next(rest), template.weak, template.array)
    if isinstance(template, ContentsLeaf):
        return next(rest)
    if isinstance(template, MaybeNode):
        inner = rebuild(t, template.inner, rest, objects, condition)
        return Maybe(inner, next(rest))
    if isinstance(template, TupleNode):
        return make_tuple(template.cls, [rebuild(t, item, rest, objects, condition) for item in template.items])
    if isinstance(template, ContainerNode):
        made = container(t, template, [rebuild(t, item, rest, objects, condition) for item in template.items])
        objects.setdefault("<containers>", []).append((made, template.sources))
        return made
    if isinstance(template, ChoiceNode):
        return chosen(t, template, rest, objects, condition)
    if template.merged is not None and template.merged.materialized:
        return Reference(objects[template.merged.path])
    parts = [next(rest) if part is None else part for part in template.parts]
    obj = template.like.object if template.merged is None else objects[template.merged.path]
    return template.like.with_parts(obj, parts)


def carried_plan(t: Tracer, plan: Plan, mine: bool) -> list[Value]:
    """The values that carry a reference out of its branch; on the other side (not `mine`) anything will do."""
    ref = plan.ref
    out: list[Value] = ref.parts() if mine else [Const(0, I64) for _ in ref.parts()]
    if plan.choice is not None:
        assert ref.object.choice is not None
        out.append(ref.object.choice[0] if mine else Const(False, BOOL))
        for inner in plan.choice:
            out += carried_plan(t, inner, mine)
    elif not plan.visible:
        out.append(views.contents(t, ref.object) if mine else dummy(t, ref.object.initial.type))
        out += [f.value if mine else Const(False, BOOL) for _, f in plan.links if isinstance(f, Number)]
    return out


def rebuilt_plan(t: Tracer, plan: Plan, rest: Iterator[Value], links: list[Any]) -> Reference:
    """The reference outside of the branch; flags "is one object" go to `links`."""
    ref = plan.ref
    obj = ref.object
    parts = [next(rest) for _ in ref.parts()]
    if plan.choice is not None:
        flag = next(rest)
        a, b = (rebuilt_plan(t, inner, rest, links) for inner in plan.choice)
        obj = choice_object(t, flag, a, b)
    elif not plan.visible:
        known: list[Value | None] = [Const(d, I64) if d is not None else None for d in views.object_dims(obj)]
        sources = tuple((o, v) for o, v in obj.copied_from if t.visible(o.region))
        obj = ArrayObject(
            next(rest), known, t.region, ("chosen",), obj.c_order, copied_from=sources, readonly=obj.readonly
        )
        for other, flag in plan.links:
            links.append((frozenset((obj, other)), Number(next(rest), True) if isinstance(flag, Number) else flag))
    return ref.with_parts(obj, parts)


def choice_object(t: Tracer, flag: Value, a: Reference, b: Reference) -> ArrayObject:
    """An array that is one reference or another: reads and writes go to whichever it is."""
    dims = tuple(x if x == y else None for x, y in zip(views.dims(a), views.dims(b)))
    extents: list[Value | None] = [Const(d, I64) if d is not None else None for d in dims]
    return ArrayObject(Value(Array(a.dtype, dims)), extents, t.region, ("choice",), None, choice=(flag, a, b))


def container(t: Tracer, node: ContainerNode, items: list[Any]) -> ListObject | DictObject | Instance:
    """A new container in place of different ones."""
    kind, keys = node.shape
    if kind is list:
        return ListObject(tuple(items), t.region)
    pairs = tuple(zip(keys, items))
    return DictObject(pairs, t.region) if kind is dict else Instance(kind, pairs, t.region)


def chosen(
    t: Tracer, node: ChoiceNode, rest: Iterator[Value], objects: dict[Any, Any], condition: Value | None
) -> Reference:
    links = objects.setdefault("<links>", [])
    refs = [rebuilt_plan(t, plan, rest, links) for plan in node.plans]
    if len(refs) == 1:
        return refs[0]
    assert condition is not None
    return Reference(choice_object(t, condition, refs[0], refs[1]))


def make_tuple(cls: type, items: Sequence[Any]) -> Any:
    return cls._make(items) if hasattr(cls, "_make") else tuple(items)
