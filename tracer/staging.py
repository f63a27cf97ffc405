"""The loop operations themselves: ``while`` and ``for`` with their regions.

In: a condition and a body as callables that trace. Out: the operation in the current region, and the state after it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..ir.core import Const, Region, Value
from ..ir.types import BOOL, I64, Scalar
from . import integers
from .carried import Again, Loop, LoopBuilder, LoopMemory
from .context import DEAD, Store, Tracer
from .control import any_of, frame_of
from .merges import stage_if
from .permutations import Suspended
from .scope import bound_names
from .templates import NumberLeaf, number_leaf_of, same
from .values import Number

__all__ = ["Count", "Exits", "Rotate", "as_number", "breaks", "exits_of", "leaves", "run_for", "run_while"]

ATTEMPTS = 40


def exits_of(t: Tracer, loop: Loop) -> list[tuple[Any, Value]] | None:
    """Flags that end the loop, with their keys; None where it has certainly been left."""
    out: list[tuple[Any, Value]] = []
    for key in ((frame_of(t), "<returned>"), (loop, "<broke>")):
        flag = t.store.get(key, False)
        if flag is True:
            return None
        if isinstance(flag, Number):
            out.append((key, flag.value))
    return out


def as_number(x: Any) -> Any:
    return Number(x, True) if isinstance(x, Value) else x


@dataclass(eq=False)
class Count:
    """A counted loop: i = lo, ..., hi - 1 (backwards where `reverse`); `item` makes the loop variable of i;
    `checkpoint`: what of its states may be kept (`checkpoints.Checkpointed`; None: all)."""

    lo: Value
    hi: Value
    reverse: bool
    item: Callable[[Value], Any]
    checkpoint: Any = None


class Rotate(Exception):
    """The condition of a `while` changes something: it has to be evaluated outside the test."""


def changed(a: Store, b: Store) -> bool:
    """Whether a state has anything new over an earlier one. What is gone (names of a call that ended) nobody reads."""
    return any(k not in a or not same(a[k], b[k]) for k in b)


def emit_loop(
    t: Tracer, name: str, operands: list[Value], attrs: dict[str, Any], regions: list[Region], arguments: list[Value]
) -> list[Value]:
    return t.emit(
        name, operands, attrs, regions, names=[a.name for a in arguments], result_types=[a.type for a in arguments]
    )


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


def prepared(t: Tracer, node: ast.stmt, loop: Loop, memory: LoopMemory, statements: list[ast.stmt]) -> LoopBuilder:
    built = LoopBuilder(t, node, loop, memory)
    built.assigned_names = bound_names(statements)
    return built


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
    built = prepared(t, node, loop, memory, statements)
    templates = built.join.templates
    for key in extra:
        leaf = number_leaf_of(t.store[key])
        assert leaf is not None
        templates[key] = leaf
    built.seed(statements)
    if any(isinstance(n, ast.Return) for s in statements for n in ast.walk(s)):
        templates[frame_of(t), "<returned>"] = NumberLeaf(BOOL, True)
    if breaks(statements):
        templates[loop, "<broke>"] = NumberLeaf(BOOL, True)
    for _ in range(ATTEMPTS):
        turns = While(t, built, condition, body, pure)
        if turns.attempt():
            turns.finish()
            return
    unsettled(t)


def unsettled(t: Tracer) -> None:
    t.unsupported(
        "the types of what this loop carries do not settle", "give variables one type before the loop, and keep it"
    )


class While:
    """One attempt at a ``while``."""

    def __init__(
        self, t: Tracer, built: LoopBuilder, condition: Callable[[], Any], body: Callable[[], None], pure: bool
    ) -> None:
        self.t = t
        self.built = built
        self.condition = condition
        self.body = body
        self.pure = pure
        self.before, self.inside = Region(), Region()
        self.turns = (built.loop, "<turns>")
        self.test: Any = None
        self.endless = False

    def attempt(self) -> bool:
        """Trace the test and the body; False where more has to be carried."""
        built, t = self.built, self.t
        if built.permutation:
            built.entry[self.turns] = 0
            built.join.templates.setdefault(self.turns, NumberLeaf(I64, True))
        try:
            self.arguments = built.start(self.before)
            with t.inside(self.before):
                built.enter(self.arguments)
                begin = dict(t.store)
                flags = self.trace_test()
                if changed(begin, t.store):
                    built.memory.rotated = True
                    raise Rotate
                for key, _ in flags:
                    t.store[key] = False
                with t.inside(self.inside):
                    built.turn(self.body)
                    if built.permutation and not t.dead():
                        count = t.store[self.turns]
                        t.store[self.turns] = Number(integers.add(t, count.value, 1), True)
                    end = dict(t.store)
            values = built.settle(begin, end)
            with t.inside(self.before), t.inside(self.inside):
                t.store = end
                self.ends = built.join.flatten(values)
            return True
        except Again:
            return False
        except Suspended as error:
            if error.owner is not built.permutation:
                raise
            built.permutation.forget()
            return False
        finally:
            built.permutation.resume()

    def trace_test(self) -> list[tuple[Any, Value]]:
        """The loop's test: its condition, where no exit flag is set. Returns the flags."""
        t = self.t
        flags = exits_of(t, self.built.loop)
        assert flags is not None, "a loop is entered with its flags unset"
        if not flags:
            self.test = self.condition()
            self.endless = self.test is True
        elif self.pure:
            stays = t.emit1("logical_not", [any_of(t, flags)])
            self.test = t.emit1("logical_and", [stays, self.condition()])
        else:

            def asked() -> Any:
                found = self.condition()
                self.endless = found is True
                return as_number(found)

            found = stage_if(t, any_of(t, flags), lambda: False, asked)
            self.test = found.value if isinstance(found, Number) else found
        return flags

    def finish(self) -> None:
        """Emit the operation and put the state after it into the store."""
        built, t = self.built, self.t
        t.store = dict(built.entry)
        begins = built.join.flatten(built.entry_values())
        kept, swap = built.prune(self.arguments, self.ends, begins, [self.before, self.inside])
        test = self.test if isinstance(self.test, Value) else Const(self.test, BOOL)
        self.before.args = [self.arguments[k] for k in kept]
        with t.inside(self.before):
            t.emit("test", [swap.get(test, test)])
            with t.inside(self.inside):
                t.emit("yield", [self.ends[k] for k in kept])
        regions = [self.before, self.inside]
        carried = [self.arguments[k] for k in kept]
        results = emit_loop(t, "while", [begins[k] for k in kept], {}, regions, carried)
        full = list(begins)
        for k, result in zip(kept, results):
            full[k] = result
            if self.arguments[k] in t.nonnegative:
                t.nonnegative.add(result)
        built.leave(full)
        if built.permutation:
            built.permutation.restore(t.store.pop(self.turns).value)
        if self.endless:
            ways = exits_of(t, built.loop)
            if ways == []:
                t.store[DEAD] = True
            elif ways is not None and len(ways) == 1:
                t.store[ways[0][0]] = True


def run_for(
    t: Tracer, node: ast.For, loop: Loop, memory: LoopMemory, count: Count, body: Callable[[Value], None]
) -> None:
    """Trace a ``for`` operation."""
    statements: list[ast.stmt] = [*node.body, ast.Assign([node.target], ast.Constant(None))]
    built = prepared(t, node, loop, memory, statements)
    built.seed(statements)
    name = node.target.id if isinstance(node.target, ast.Name) else "i"
    for _ in range(ATTEMPTS):
        turns = For(t, built, count, body, name)
        if turns.attempt():
            turns.finish()
            return
    unsettled(t)


class For:
    """One attempt at a ``for``."""

    def __init__(self, t: Tracer, built: LoopBuilder, count: Count, body: Callable[[Value], None], name: str) -> None:
        self.t = t
        self.built = built
        self.count = count
        self.body = body
        self.region = Region()
        self.index = Value(Scalar(I64), name)
        self.region.args.append(self.index)
        if integers.is_nonnegative(t, count.lo):
            t.nonnegative.add(self.index)

    def attempt(self) -> bool:
        """Trace the body; False where more has to be carried."""
        built, t = self.built, self.t
        try:
            self.arguments = built.start(self.region)
            with t.inside(self.region):
                built.enter(self.arguments)
                begin = dict(t.store)
                built.turn(lambda: self.body(self.index))
                if exits_of(t, built.loop) != [] and not t.dead():
                    t.store = dict(built.entry)
                    raise Exits
                end = dict(t.store)
            values = built.settle(begin, end)
            with t.inside(self.region):
                t.store = end
                self.ends = built.join.flatten(values)
            return True
        except Again:
            return False
        except Suspended as error:
            if error.owner is not built.permutation:
                raise
            built.permutation.forget()
            return False
        finally:
            built.permutation.resume()

    def finish(self) -> None:
        """Emit the operation and put the state after it into the store."""
        built, t, count = self.built, self.t, self.count
        t.store = dict(built.entry)
        begins = built.join.flatten(built.entry_values())
        kept, _ = built.prune(self.arguments, self.ends, begins, [self.region])
        carried = [self.arguments[k] for k in kept]
        self.region.args = [self.index, *carried]
        with t.inside(self.region):
            t.emit("yield", [self.ends[k] for k in kept])
        operands = [count.lo, count.hi, *(begins[k] for k in kept)]
        if count.checkpoint is not None:
            from .checkpoints import checkpointed_loop

            results = checkpointed_loop(
                t, count.checkpoint, count.lo, count.hi, operands[2:], self.region, count.reverse
            )
        else:
            results = emit_loop(t, "for", operands, {"reverse": count.reverse}, [self.region], carried)
        full = list(begins)
        for k, result in zip(kept, results):
            full[k] = result
        built.leave(full)
        if built.permutation:
            built.permutation.restore(integers.clamp_low(t, integers.sub(t, count.hi, count.lo)))
