"""Loops: `while` and `for` as structured operations with carried values.

In: a loop statement. Out: a ``for`` or ``while`` operation, and the state after it in the tracer's store.

What a loop carries is found by tracing its body: whatever the body left different from what it found is carried
(names only where they are alive at the loop's test), and the body is traced again until nothing new shows and all
types cover what the body makes (`s = 0` becomes a float when `s += x[i]`). What was found is remembered per loop and
call path, so that an outer loop's repetitions do not multiply the inner ones'.

`break` and `return` inside turn a `for` into a ``while`` over a counter with an exit flag. A condition with side
effects (`while (r := f(x)) > tol`) is evaluated before the loop and again at the end of the body. Arrays that a body
swaps (`u, v = v, u`) are carried by name with their contents changing places; which of the caller's arrays holds
what afterwards follows from the number of iterations modulo the period of the permutation.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Const, Region, Value
from ..ir.errors import ShapeError, TraceTypeError, UnsupportedError
from ..ir.types import BOOL, I64, Scalar
from . import integers, views
from .context import DEAD, FLAGS, PathEnds, Store, Tracer
from .control import any_of, block, flags, frame_of, live_after, unless
from .liveness import liveness_of
from .merges import Join, aliases, flag_of, reachable, stage_if
from .numeric import truth
from .scope import bound_names
from .templates import Fixed, NumberLeaf, RefNode, Template, join_numbers, merged_nodes, number_leaf_of, same
from .values import UNDEFINED, ArrayObject, DictObject, Instance, ListObject, Number, Reference

__all__ = ["Loop", "LoopMemory", "for_loop", "while_loop"]

MAX_UNROLL = 64


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


class Suspended(Exception):
    """An array was read under its old name while a loop (`owner`) permutes it."""

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.owner = owner


# ---------------------------------------------------------------- the loop being built


class Builder:
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
        self.cycles: list[list[Any]] = []
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
        for obj in sorted(objects, key=lambda o: o.initial.name or ""):
            if self.t.visible(obj.region):
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
        return {key: entry_value(self.entry, key) for key in self.join.templates}

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
        self.suspend()

    def suspend(self) -> None:
        for obj in self.permuted_objects():
            self.t.suspended[obj] = Suspended(self)

    def resume(self) -> None:
        for obj, error in list(self.t.suspended.items()):
            if error.owner is self:
                del self.t.suspended[obj]

    def permuted_objects(self) -> dict[ArrayObject, None]:
        """The objects that the loop permutes, and those that may be one with them."""
        out: dict[ArrayObject, None] = {}
        if self.cycles:
            originals = self.join.sources(self.entry_values())
            saved, self.t.store = self.t.store, self.entry
            for path in (p for cycle in self.cycles for p in cycle):
                out[originals[path]] = None
                for other, _ in aliases(self.t, originals[path]):
                    out[other] = None
            self.t.store = saved
        return out

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

    def settle(self, begin: Store, end: Store, inner: list[Region]) -> dict[Any, Any]:
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
                join.templates[key] = Fixed(entry_value(self.entry, key))
                self.remember(key, join.templates[key])
                grown = True
            value = entry_value(end, key)
            values[key] = value
            if join.cover(key, value):
                grown = True
                self.remember(key, join.templates[key])
        saved = t.regions[:]
        if self.find_links(values, end):
            grown = True
        if self.find_cycles(values, begin):
            grown = True
        if self.probed and self.attempts == 1:
            grown = True
        t.regions[:] = saved
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

    # arrays that change places

    def find_cycles(self, end: dict[Any, Any], begin: Store) -> bool:
        """Find merged objects that the body permutes. True where the assumption about them has changed."""
        join = self.join
        cycles: list[list[Any]] = []
        if self.memory.permuted:
            now = join.sources({k: begin.get(k, UNDEFINED) for k in join.templates})
            owner = {obj: path for path, obj in now.items()}
            following = {path: owner.get(obj) for path, obj in join.sources(end).items()}
            originals = join.sources(self.entry_values())
            done: set[Any] = set()
            for path in following:
                cycle = [path]
                while (step := following.get(cycle[-1])) is not None and step not in cycle:
                    cycle.append(step)
                if step != path or len(cycle) < 2 or done & set(cycle):
                    continue
                if not all(p in originals for p in cycle):
                    continue
                objects = [originals[p] for p in cycle]
                if len(set(objects)) == len(objects) and all(self.t.visible(o.region) for o in objects):
                    done |= set(cycle)
                    cycles.append(cycle)
        changed = {frozenset(c) for c in cycles} != {frozenset(c) for c in self.cycles}
        self.cycles = cycles
        join.unlinked = frozenset(p for c in cycles for p in c)
        if changed:
            join.links = {
                pair: flag
                for pair, flag in join.links.items()
                if not any(not isinstance(p, ArrayObject) and p in join.unlinked for p in pair)
            }
        return changed

    def forget_cycles(self) -> None:
        """A permuted object was used under its old name: keep track of who is who by flags instead."""
        self.memory.permuted = False
        self.cycles = []
        self.join.unlinked = frozenset()

    def restore(self, iterations: Value) -> None:
        """After the loop: what the permuted objects themselves hold, and which name is which of them."""
        t = self.t
        originals = self.join.sources(self.entry_values())
        after = self.join.sources({k: t.store.get(k, UNDEFINED) for k in self.join.templates})
        wanted = [obj for obj in self.permuted_objects() if self.visible(obj)]
        for cycle in self.cycles:
            period = len(cycle)
            flags_ = {(obj, k): flag_of(t, originals[p], obj) for obj in wanted for k, p in enumerate(cycle)}
            if all(flag is False for flag in flags_.values()):
                continue
            phase = t.emit1("mod", [iterations, Const(period, I64)])
            tests = [t.emit1("eq", [phase, Const(k, I64)]) for k in range(period)]
            # after T iterations, cycle[j] is the original of cycle[(j + T) % period]
            holders = [[after[cycle[(k - turn) % period]] for turn in range(period)] for k in range(period)]
            changes: list[tuple[ArrayObject, Value]] = []
            for obj in wanted:
                old = t.store.get(obj, obj.initial)
                value = old
                for k in range(period):
                    flag = flags_[obj, k]
                    if flag is False:
                        continue
                    held = [views.contents(t, h) for h in holders[k]]
                    new = held[-1]
                    for turn in range(period - 2, -1, -1):
                        new = choose(t, tests[turn], held[turn], new)
                    value = new if flag is True else choose(t, flag, new, value)  # type: ignore[arg-type]
                    for turn, holder in enumerate(holders[k]):
                        self.link(holder, obj, tests[turn], flag)
                changes.append((obj, value))
            for obj, value in changes:
                t.store[obj] = value

    def link(self, holder: ArrayObject, obj: ArrayObject, test: Value, flag: Any) -> None:
        t = self.t
        found = test if flag is True else t.emit1("logical_and", [test, flag])
        before = flag_of(t, holder, obj)
        if before is True or holder is obj:
            return
        if before is not False:
            assert isinstance(before, Value)
            found = t.emit1("logical_or", [before, found])
        t.store[frozenset((holder, obj))] = Number(found, True)

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


def choose(t: Tracer, condition: Value, a: Value, b: Value) -> Value:
    if a is b:
        return a
    then, other = Region(), Region()
    for region, value in ((then, a), (other, b)):
        with t.inside(region):
            t.emit("yield", [value])
    return t.emit("if", [condition], regions=[then, other])[0]


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
            isinstance(n, ast.Name) and n.id == name and isinstance(n.ctx, ast.Store)
            for s in body
            for n in ast.walk(s)
        )
        updates = sum(
            isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name) and n.target.id == name
            for s in body
            for n in ast.walk(s)
        )
        if stores == updates:
            plain.discard(name)
    return plain, augmented, written


# ---------------------------------------------------------------- while


def memory_of(t: Tracer, node: ast.AST) -> LoopMemory:
    key = (frame_of(t).path, id(node))
    return t.loops.setdefault(key, LoopMemory())


def exits_of(t: Tracer, loop: Loop) -> list[tuple[Any, Value]] | bool:
    """Flags that end the loop."""
    out: list[tuple[Any, Value]] = []
    for key in ((frame_of(t), "<returned>"), (loop, "<broke>")):
        flag = t.store.get(key, False)
        if flag is True:
            return True
        if isinstance(flag, Number):
            out.append((key, flag.value))
    return out


def while_loop(t: Tracer, node: ast.While) -> None:
    """Trace a `while` statement."""
    from . import expressions

    def test() -> Any:
        with t.at(node.test):
            return truth(t, expressions.evaluate(t, node.test))

    memory = memory_of(t, node)
    entry = dict(t.store)
    if not memory.unrolled:
        try:
            stage_while(t, node, memory, test, lambda: block(t, node.body), node.body)
            return
        except (UnsupportedError, TraceTypeError) as error:
            t.store = dict(entry)
            if not unroll_while(t, node, test, dry=True):
                raise error
    t.store = dict(entry)
    memory.unrolled = True
    unroll_while(t, node, test, dry=False)


def unroll_while(t: Tracer, node: ast.While, test: Callable[[], Any], dry: bool) -> bool:
    """Run a `while` whose condition is known while tracing. With `dry`: whether it is, on entry."""
    if dry:
        before = len(t.region.ops)
        saved = dict(t.store)
        try:
            return isinstance(test(), bool)
        except (UnsupportedError, TraceTypeError, ShapeError):
            return False
        finally:
            del t.region.ops[before:]
            t.store = saved
    loop = Loop(t.region)

    def turn(k: int) -> None:
        while True:
            condition = test()
            if not isinstance(condition, bool) or k > MAX_UNROLL:
                t.static_needed(
                    "this `while` uses something that must be known while tracing, and does not end by itself then",
                    "use arrays instead of lists and tuples inside the loop",
                )
            if not condition:
                return
            frame_of(t).loops.append(loop)
            try:
                block(t, node.body)
            finally:
                frame_of(t).loops.pop()
            t.store.pop((loop, "<continued>"), None)
            k += 1
            found = exits_of(t, loop)
            if found is True or t.dead():
                return
            if found:
                assert not isinstance(found, bool)
                unless(t, found, lambda k=k: turn(k), live_after(t, node))  # type: ignore[misc]
                return

    turn(0)
    otherwise(t, node, loop)


def otherwise(t: Tracer, node: ast.While | ast.For, loop: Loop) -> None:
    """The `else` of a loop: runs where the loop was not left by `break` or `return`."""
    if node.orelse and not t.dead():
        found = exits_of(t, loop)
        if found is not True:
            if found:
                assert not isinstance(found, bool)
                stage_else(t, found, node)
            else:
                block(t, node.orelse)
    t.store.pop((loop, "<broke>"), None)
    t.store.pop((loop, "<continued>"), None)


def stage_else(t: Tracer, found: list[tuple[Any, Value]], node: ast.While | ast.For) -> None:
    def left() -> None:
        if len(found) == 1:
            t.store[found[0][0]] = True

    def stays() -> None:
        for key, _ in found:
            t.store[key] = False
        block(t, node.orelse)

    stage_if(t, any_of(t, found), left, stays, live_after(t, node))


def stage_while(
    t: Tracer,
    node: ast.While,
    memory: LoopMemory,
    test: Callable[[], Any],
    body: Callable[[], None],
    statements: list[ast.stmt],
) -> None:
    loop = Loop(t.region)
    first: Any = None
    entry = dict(t.store)
    if memory.rotated or any(isinstance(n, ast.NamedExpr) for n in ast.walk(node.test)):
        memory.rotated = True
        first = test()
    elif constant_false(t, test):
        otherwise(t, node, loop)
        return
    key = (loop, "<test>")

    def condition() -> Any:
        if not memory.rotated:
            return test()
        kept = t.store[key]
        return kept.value if isinstance(kept, Number) else kept

    def turn() -> None:
        body()
        if memory.rotated and not t.dead():
            found = exits_of(t, loop)
            if found is True:
                t.store[key] = False
            elif found:
                assert not isinstance(found, bool)

                def again() -> None:
                    for k, _ in found:
                        t.store[k] = False
                    t.store[key] = as_number(test())

                def left() -> None:
                    t.store[key] = False

                t.store.pop((loop, "<continued>"), None)
                stage_if(t, any_of(t, found), left, again)
            else:
                t.store.pop((loop, "<continued>"), None)
                t.store[key] = as_number(test())

    if memory.rotated:
        t.store[key] = as_number(first)
    try:
        run_while(t, node, loop, memory, condition, turn, statements, extra=[key] if memory.rotated else [])
    except Rotate:
        t.store = entry
        stage_while(t, node, memory, test, body, statements)
        return
    t.store.pop(key, None)
    otherwise(t, node, loop)


def as_number(x: Any) -> Any:
    return Number(x, True) if isinstance(x, Value) else x


def constant_false(t: Tracer, test: Callable[[], Any]) -> bool:
    """Whether a condition is False whatever the program's arguments (its operations are thrown away)."""
    region = Region()
    saved = dict(t.store)
    try:
        with t.inside(region):
            return test() is False
    finally:
        t.store = saved


def run_while(
    t: Tracer,
    node: ast.stmt,
    loop: Loop,
    memory: LoopMemory,
    condition: Callable[[], Any],
    body: Callable[[], None],
    statements: list[ast.stmt],
    extra: list[Any],
    pure: bool = False,
) -> None:
    """Trace a ``while`` operation: `condition` gives its test, `body` one turn.

    `extra`: hidden variables to carry; `pure`: the condition may be evaluated after the loop was left.
    """
    built = Builder(t, node, loop, memory)
    built.assigned_names = bound_names(statements)
    for key in extra:
        leaf = number_leaf_of(t.store[key])
        assert leaf is not None
        built.join.templates[key] = leaf
    built.seed(statements)
    frame = frame_of(t)
    if any(isinstance(n, ast.Return) for s in statements for n in ast.walk(s)):
        built.join.templates[(frame, "<returned>")] = NumberLeaf(BOOL, True)
    if breaks(statements):
        built.join.templates[(loop, "<broke>")] = NumberLeaf(BOOL, True)
    turns = (loop, "<turns>")
    for _ in range(40):
        before, inside = Region(), Region()
        try:
            try:
                if built.cycles:
                    built.entry[turns] = 0
                    built.join.templates.setdefault(turns, NumberLeaf(I64, True))
                arguments = built.start(before)
                with t.inside(before):
                    built.enter(arguments)
                    begin = dict(t.store)
                    test: Any
                    endless = False
                    found = exits_of(t, loop)
                    if found:
                        assert not isinstance(found, bool)
                        if pure:
                            stays = t.emit1("logical_not", [any_of(t, found)])
                            test = t.emit1("logical_and", [stays, condition()])
                        else:
                            raw: list[Any] = []
                            test = stage_if(
                                t, any_of(t, found), lambda: False, lambda: raw.append(condition()) or as_number(raw[0])
                            )
                            test = test.value if isinstance(test, Number) else test
                            endless = raw[0] is True
                    else:
                        test = condition()
                        endless = test is True
                    if changed(begin, t.store):
                        memory.rotated = True
                        raise Rotate
                    for key, _ in found if not isinstance(found, bool) else ():
                        t.store[key] = False
                    with t.inside(inside):
                        built.turn(body)
                        if built.cycles and not t.dead():
                            t.store[turns] = Number(integers.add(t, t.store[turns].value, 1), True)
                        end = dict(t.store)
                values = built.settle(begin, end, [before, inside])
                with t.inside(before), t.inside(inside):
                    t.store = end
                    ends = built.join.flatten(values)
                break
            finally:
                built.resume()
        except Again:
            continue
        except Suspended as error:
            if error.owner is not built:
                raise
            built.forget_cycles()
            continue
    else:
        t.unsupported("the types of what this loop carries do not settle", "give variables one type before the loop")
    t.store = dict(built.entry)
    begins = built.join.flatten(built.entry_values())
    kept, swap = built.prune(arguments, ends, begins, [before, inside])
    if isinstance(test, Value):
        test = swap.get(test, test)
    before.args = [arguments[k] for k in kept]
    with t.inside(before):
        t.emit("test", [test if isinstance(test, Value) else Const(test, BOOL)])
        with t.inside(inside):
            t.emit("yield", [ends[k] for k in kept])
    results = emit_loop(t, "while", [begins[k] for k in kept], {}, [before, inside], [arguments[k] for k in kept])
    full = list(begins)
    for k, result in zip(kept, results):
        full[k] = result
        if arguments[k] in t.nonnegative:
            t.nonnegative.add(result)
    built.leave(full)
    if built.cycles:
        built.restore(t.store.pop(turns).value)
    if endless:
        ways = exits_of(t, loop)
        if not ways:
            t.store[DEAD] = True
        elif isinstance(ways, list) and len(ways) == 1:
            t.store[ways[0][0]] = True


class Rotate(Exception):
    """The condition of a `while` changes something: it has to be evaluated outside the test."""


def changed(a: Store, b: Store) -> bool:
    if a.keys() != b.keys():
        return True
    return any(not same(a[k], b[k]) for k in a)


def emit_loop(
    t: Tracer, name: str, operands: list[Value], attrs: dict[str, Any], regions: list[Region], arguments: list[Value]
) -> list[Value]:
    return t.emit(name, operands, attrs, regions, names=[a.name for a in arguments], result_types=[a.type for a in arguments])


# ---------------------------------------------------------------- for


@dataclass(eq=False)
class Count:
    """A counted loop: i = lo, ..., hi - 1 (backwards where `reverse`); `item` makes the loop variable of i."""

    lo: Value
    hi: Value
    reverse: bool
    item: Callable[[Value], Any]


def for_loop(t: Tracer, node: ast.For) -> None:
    """Trace a `for` statement."""
    from . import expressions, iteration

    with t.at(node.iter):
        iterable = expressions.evaluate(t, node.iter)
        source = iteration.iterable_of(t, iterable)
    memory = memory_of(t, node)
    hidden = (frame_of(t), f"<iterable {id(node)}>")
    t.store[hidden] = iterable if isinstance(iterable, Reference | tuple) else None
    try:
        if source.static_length is not None and source.static_only:
            unroll_for(t, node, source, source.static_length)
            return
        length = source.static_length
        entry = dict(t.store)
        if not memory.unrolled:
            try:
                stage_for(t, node, memory, source)
                return
            except (UnsupportedError, TraceTypeError, ShapeError):
                if length is None or length > MAX_UNROLL:
                    raise
                t.store = dict(entry)
        memory.unrolled = True
        assert length is not None
        unroll_for(t, node, source, length)
    finally:
        t.store.pop(hidden, None)


def unroll_for(t: Tracer, node: ast.For, source: Any, length: int) -> None:
    from . import statements

    loop = Loop(t.region)

    def turn(k: int) -> None:
        while (n := source.current_length(t, length)) > k:
            if source.guard is not None:
                inside_range = source.guard(t, k)
                if inside_range is False:
                    return
                if inside_range is not True:
                    stage_if(t, inside_range, lambda k=k: one(k) or follow(k + 1), lambda: None, live_after(t, node))  # type: ignore[misc]
                    return
            one(k)
            k += 1
            found = exits_of(t, loop)
            if found is True or t.dead():
                return
            if found:
                assert not isinstance(found, bool)
                unless(t, found, lambda k=k: turn(k), live_after(t, node))  # type: ignore[misc]
                return
            assert n <= 100_000

    def follow(k: int) -> None:
        found = exits_of(t, loop)
        if found is True or t.dead():
            return
        if found:
            assert not isinstance(found, bool)
            unless(t, found, lambda: turn(k), live_after(t, node))
            return
        turn(k)

    def one(k: int) -> None:
        with t.at(node.target):
            statements.assign(t, node.target, source.item(t, k))
        frame_of(t).loops.append(loop)
        try:
            block(t, node.body)
        finally:
            frame_of(t).loops.pop()
        t.store.pop((loop, "<continued>"), None)

    turn(0)
    otherwise(t, node, loop)


def stage_for(t: Tracer, node: ast.For, memory: LoopMemory, source: Any) -> None:
    from . import statements

    count: Count = source.count(t)
    loop = Loop(t.region)

    def body(index: Value) -> None:
        with t.at(node.target):
            value = count.item(index)
            statements.assign(t, node.target, value)
        block(t, node.body)

    if memory.exits or leaves(node.body):
        counted_while(t, node, loop, memory, count, body)
    else:
        try:
            run_for(t, node, loop, memory, count, body)
        except Exits:
            memory.exits = True
            counted_while(t, node, loop, memory, count, body)
    otherwise(t, node, loop)


class Exits(Exception):
    """A `for` is left early at run time: it has to be a ``while``."""


def breaks(body: list[ast.stmt]) -> bool:
    """Whether statements contain a `break` of this loop."""
    return leaves(body, ast.Break)


def leaves(body: list[ast.stmt], kinds: Any = (ast.Break, ast.Return)) -> bool:
    """Whether statements contain a `break` of this loop or a `return`."""
    stack: list[tuple[ast.AST, bool]] = [(s, True) for s in body]
    while stack:
        node, own = stack.pop()
        if isinstance(node, kinds) and (own or isinstance(node, ast.Return)):
            return True
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            continue
        inner = own and not isinstance(node, ast.For | ast.While)
        if isinstance(node, ast.For | ast.While):
            stack.extend((s, own) for s in node.orelse)
            stack.extend((s, False) for s in node.body)
            continue
        stack.extend((child, inner) for child in ast.iter_child_nodes(node))
    return False


def counted_while(
    t: Tracer, node: ast.For, loop: Loop, memory: LoopMemory, count: Count, body: Callable[[Value], None]
) -> None:
    """A `for` with exits: a while over k = lo, ..., with index k (or, backwards, hi - 1 - (k - lo))."""
    key = (loop, "<index>")
    t.store[key] = Number(count.lo, True)
    if integers.is_nonnegative(t, count.lo):
        t.nonnegative.add(count.lo)

    def condition() -> Any:
        k = t.store[key].value
        if integers.is_nonnegative(t, count.lo):
            t.nonnegative.add(k)
        return t.emit1("lt", [k, count.hi])

    def turn() -> None:
        k = t.store[key].value
        index = k
        if count.reverse:
            index = integers.sub(t, integers.add(t, integers.sub(t, count.hi, 1), count.lo), k)
            if integers.is_nonnegative(t, count.lo):
                t.nonnegative.add(index)
        body(index)
        t.store[key] = Number(integers.add(t, k, 1), True)

    # the index is carried, whatever its first value
    statements: list[ast.stmt] = [*node.body, ast.Assign([node.target], ast.Constant(None))]
    run_while(t, node, loop, memory, condition, turn, statements, extra=[key], pure=True)
    t.store.pop(key, None)


def run_for(
    t: Tracer, node: ast.For, loop: Loop, memory: LoopMemory, count: Count, body: Callable[[Value], None]
) -> None:
    """Trace a ``for`` operation."""
    built = Builder(t, node, loop, memory)
    statements: list[ast.stmt] = [*node.body, ast.Assign([node.target], ast.Constant(None))]
    built.assigned_names = bound_names(statements)
    built.seed(statements)
    frame = frame_of(t)
    name = node.target.id if isinstance(node.target, ast.Name) else "i"
    for _ in range(40):
        region = Region()
        index = Value(Scalar(I64), name)
        region.args.append(index)
        if integers.is_nonnegative(t, count.lo):
            t.nonnegative.add(index)
        try:
            try:
                arguments = built.start(region)
                with t.inside(region):
                    built.enter(arguments)
                    begin = dict(t.store)
                    built.turn(lambda: body(index))
                    if exits_of(t, loop) and not t.dead():
                        t.store = dict(built.entry)
                        raise Exits
                    end = dict(t.store)
                values = built.settle(begin, end, [region])
                with t.inside(region):
                    t.store = end
                    ends = built.join.flatten(values)
                break
            finally:
                built.resume()
        except Again:
            continue
        except Suspended as error:
            if error.owner is not built:
                raise
            built.forget_cycles()
            continue
    else:
        t.unsupported("the types of what this loop carries do not settle", "give variables one type before the loop")
    t.store = dict(built.entry)
    begins = built.join.flatten(built.entry_values())
    kept, _ = built.prune(arguments, ends, begins, [region])
    region.args = [index, *(arguments[k] for k in kept)]
    with t.inside(region):
        t.emit("yield", [ends[k] for k in kept])
    results = emit_loop(
        t,
        "for",
        [count.lo, count.hi, *(begins[k] for k in kept)],
        {"reverse": count.reverse},
        [region],
        [arguments[k] for k in kept],
    )
    full = list(begins)
    for k, result in zip(kept, results):
        full[k] = result
    built.leave(full)
    if built.cycles:
        built.restore(integers.clamp_low(t, integers.sub(t, count.hi, count.lo)))
