"""What one loop carries: found by tracing its body until nothing new shows.

In: a loop statement and the state before it. Out: `LoopBuilder`, which holds the templates of the carried values,
compares the state at the end of a body with what was assumed at its start (`Again` where more has to be carried), and
knows what was learned about the same loop before (`LoopMemory`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Region, Value
from .aliasing import reachable
from .context import DEAD, FLAGS, PathEnds, Store, Tracer
from .control import frame_of
from .joins import Join
from .liveness import liveness_of
from .permutations import Permutation
from .scope import bound_names
from .templates import Fixed, NumberLeaf, RefNode, Template, join_numbers, merged_nodes, number_leaf_of, pack, same
from .values import UNDEFINED, ArrayObject, DictObject, Instance, ListObject, Reference, in_order

__all__ = ["Again", "Loop", "LoopBuilder", "LoopMemory", "entry_value", "memory_of"]


@dataclass(eq=False)
class Loop:
    """One loop being traced: the owner of its flags."""

    region: Region


@dataclass(eq=False)
class LoopMemory:
    """What earlier traces of a loop found out."""

    names: dict[str, Any] = field(default_factory=dict)
    objects: set[Any] = field(default_factory=set)
    exits: bool = False
    rotated: bool = False
    unrolled: bool = False
    permuted: bool = True


class Again(Exception):
    """The loop has to be traced again, having learned something."""


class LoopBuilder:
    """Traces the body of one loop until its carried values are settled, then emits the operation."""

    def __init__(self, t: Tracer, node: ast.stmt, loop: Loop, memory: LoopMemory) -> None:
        self.t = t
        self.node = node
        self.loop = loop
        self.memory = memory
        self.entry: Store = dict(t.store)
        self.join = Join(t, per_path=True)
        frame = frame_of(t)
        self.frame = frame
        self.live = None if frame.comprehension else liveness_of(frame.code, frame.scope.captured).header.get(node)
        self.permutation = Permutation(self)
        self.assigned_names: set[str] = set()
        self.sights: dict[frozenset[Any], set[ArrayObject]] = {}
        self.attempts = 0
        self.probed = False

    def probe(self) -> bool:
        """Whether reading an undefined name may be put off: only while the loop is traced for the first time."""
        if self.attempts != 1:
            return False
        self.probed = True
        return True

    # what is carried from the start

    def seed(self, assigned: list[ast.stmt]) -> None:
        plain, augmented, written = assignments(assigned)
        memory = self.memory
        for name in sorted(plain | augmented | set(memory.names)):
            if self.live is not None and name not in self.live:
                continue
            key = (self.frame, name)
            value = self.entry.get(key, UNDEFINED)
            hint = memory.names.get(name)
            leaf = number_leaf_of(value)
            if leaf is not None:
                self.join.templates[key] = join_numbers(leaf, hint) if isinstance(hint, NumberLeaf) else leaf
            elif isinstance(value, Reference) and (name in plain or hint == "merged"):
                if self.t.visible(value.object.region):
                    merged = self.join.widener.merged(value.object, value.object, key)
                    if merged is not None:
                        self.join.templates[key] = RefNode(value, tuple(value.parts()), merged)
        objects: set[ArrayObject] = set()
        for name in written - plain:
            value = self.entry.get((self.frame, name))
            if isinstance(value, Reference):
                objects.add(value.object)
        if memory.objects:
            objects |= {o for o in reachable(self.t, self.entry, set()) if o.birth in memory.objects}
        for obj in sorted(in_order(objects), key=lambda o: o.initial.name or ""):
            if self.t.visible(obj.region) and obj.choice is None:
                self.join.templates[obj] = self.join.widener.lift(self.entry.get(obj, obj.initial), obj)

    def turn(self, body: Callable[[], None]) -> None:
        """Trace one turn of the body."""
        t = self.t
        self.frame.loops.append(self.loop)
        t.probing.append(self)
        try:
            body()
        except PathEnds:
            t.store[DEAD] = True
        finally:
            t.probing.pop()
            self.frame.loops.pop()
        t.store.pop((self.loop, "<continued>"), None)

    def entry_values(self) -> dict[Any, Any]:
        return {key: pack(self.t, self.entry, entry_value(self.entry, key)) for key in self.join.templates}

    # one attempt

    def start(self, region: Region) -> list[Value]:
        """Block arguments for what is carried, and the state that they stand for."""
        t = self.t
        self.attempts += 1
        t.store = dict(self.entry)
        saved = t.store
        self.find_links(self.entry_values(), saved)
        arguments = [Value(type_, name) for type_, name in zip(self.join.types(), self.join.names(), strict=True)]
        region.args += arguments
        return arguments

    def enter(self, arguments: list[Value]) -> None:
        """Put the carried state into the store (inside the loop's region)."""
        t = self.t
        t.store.update(self.join.rebuild(arguments))
        for key in list(t.store):
            if t.store[key] is UNDEFINED and isinstance(key, tuple):
                del t.store[key]
        self.permutation.suspend()

    def visible(self, obj: ArrayObject) -> bool:
        return self.t.visible(obj.region) and obj in self.in_sight()

    def in_sight(self) -> set[ArrayObject]:
        """Objects that can be reached otherwise than through the names that the loop rebinds."""
        skip = frozenset(k for k, v in self.join.templates.items() if any(True for _ in merged_nodes(v)))
        if skip not in self.sights:
            self.sights[skip] = reachable(self.t, self.entry, set(skip))
        return self.sights[skip]

    def find_links(self, values: dict[Any, Any], store: Store) -> bool:
        if not any(True for _ in self.join.nodes()):
            return False
        saved, self.t.store = self.t.store, store
        try:
            return self.join.cover_links(values, self.visible)
        finally:
            self.t.store = saved

    def settle(self, begin: Store, end: Store) -> dict[Any, Any]:
        """Compare the state at the end of the body with what was assumed; `Again` where more has to be carried."""
        t = self.t
        join = self.join
        grown = False
        if end.get(DEAD) is True:
            end = begin
        values: dict[Any, Any] = {}
        for key in dict.fromkeys([*join.templates, *end]):
            if key in (DEAD,) or not t.alive(key):
                continue
            if key not in join.templates:
                if end.get(key, UNDEFINED) is begin.get(key, UNDEFINED):
                    continue
                a, b = entry_value(begin, key), entry_value(end, key)
                if same(a, b) or (isinstance(key, tuple) and key[1] == "<continued>"):
                    continue
                if self.dead_name(key):
                    continue
                if isinstance(key, frozenset) and not all(t.visible(o.region) for o in key):
                    continue
                join.templates[key] = Fixed(pack(t, self.entry, entry_value(self.entry, key)))
                self.remember(key, join.templates[key])
                grown = True
            value = pack(t, end, entry_value(end, key))
            values[key] = value
            if join.cover(key, value):
                grown = True
                self.remember(key, join.templates[key])
        if self.find_links(values, end):
            grown = True
        if self.permutation.find(values, begin, end):
            grown = True
        if self.probed and self.attempts == 1:
            grown = True
        if grown:
            raise Again
        return values

    def dead_name(self, key: Any) -> bool:
        return (
            self.live is not None
            and isinstance(key, tuple)
            and key[0] is self.frame
            and not key[1].startswith("<")
            and key[1] not in self.live
        )

    def remember(self, key: Any, template: Template) -> None:
        memory = self.memory
        if isinstance(key, tuple) and key[0] is self.frame:
            if isinstance(template, NumberLeaf):
                memory.names[key[1]] = template
            elif isinstance(template, RefNode) and template.merged is not None:
                memory.names[key[1]] = "merged"
        elif isinstance(key, ArrayObject):
            memory.objects.add(key.birth)

    # the end

    def prune(
        self, arguments: list[Value], ends: list[Value], begins: list[Value], regions: list[Region]
    ) -> tuple[list[int], dict[Value, Value]]:
        """Positions that are really carried; the others never change and are replaced by what they were."""
        kept: list[int] = []
        swap: dict[Value, Value] = {}
        for k, (argument, end, begin) in enumerate(zip(arguments, ends, begins, strict=True)):
            if end is argument and begin.type == argument.type:
                swap[argument] = begin
            else:
                kept.append(k)
        if swap:
            for region in regions:
                replace(region, swap)
            for k in kept:
                ends[k] = swap.get(ends[k], ends[k])
        return kept, swap

    def leave(self, results: list[Value]) -> None:
        t = self.t
        t.store = dict(self.entry)
        for key, value in self.join.rebuild(results).items():
            if value is UNDEFINED:
                t.store.pop(key, None)
            else:
                t.store[key] = value
        for key in list(t.store):
            if self.dead_name(key) and key[1] in self.assigned_names:
                del t.store[key]


def entry_value(store: Store, key: Any) -> Any:
    if key in store:
        return store[key]
    if isinstance(key, tuple):
        return False if key[1] in FLAGS else UNDEFINED
    if isinstance(key, ArrayObject | ListObject | DictObject | Instance):
        return key.initial
    return False


def replace(region: Region, swap: dict[Value, Value]) -> None:
    """Replace operands throughout a region."""
    for op in region.ops:
        op.operands = [swap.get(v, v) for v in op.operands]
        for inner in op.regions:
            replace(inner, swap)


def assignments(body: list[ast.stmt]) -> tuple[set[str], set[str], set[str]]:
    """Names assigned plainly, names assigned by `+=` only, and names whose elements are written."""
    augmented: set[str] = set()
    written: set[str] = set()
    plain = bound_names(body)
    counted: set[str] = set()
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
                augmented.add(node.target.id)
                written.add(node.target.id)
            elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
                base: ast.expr = node
                while isinstance(base, ast.Subscript | ast.Attribute):
                    base = base.value
                if isinstance(base, ast.Name):
                    written.add(base.id)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                counted.add(node.id)
    # a name in an AugAssign target is a Store too: plain only where it is stored elsewhere
    for name in augmented:
        stores = sum(
            isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store) for s in body for n in ast.walk(s)
        )
        updates = sum(
            isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name) and n.target.id == name
            for s in body
            for n in ast.walk(s)
        )
        if stores == updates:
            plain.discard(name)
    return plain, augmented, written


def memory_of(t: Tracer, node: ast.AST) -> LoopMemory:
    key = (frame_of(t).path, id(node))
    return t.loops.setdefault(key, LoopMemory())
