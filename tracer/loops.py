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
from functools import partial
from typing import Any

from ..ir.core import Region, Value
from ..ir.errors import ShapeError, TraceTypeError, UnsupportedError
from . import integers
from .carried import Loop, LoopMemory, memory_of
from .context import Tracer
from .control import any_of, block, frame_of, live_after, unless
from .merges import stage_if
from .numeric import truth
from .staging import Count, Exits, Rotate, as_number, exits_of, leaves, run_for, run_while
from .values import Number

__all__ = ["for_loop", "while_loop"]

MAX_UNROLL = 64


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
        saved = dict(t.store)
        try:
            with t.inside(Region()):  # thrown away
                return isinstance(test(), bool)
        except (UnsupportedError, TraceTypeError, ShapeError):
            return False
        finally:
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
            if found is None or t.dead():
                return
            if found:
                unless(t, found, partial(turn, k), live_after(t, node))
                return

    turn(0)
    otherwise(t, node, loop)
    return True


def otherwise(t: Tracer, node: ast.While | ast.For, loop: Loop) -> None:
    """The `else` of a loop: runs where the loop was not left by `break` or `return`."""
    if node.orelse and not t.dead():
        found = exits_of(t, loop)
        if found:
            unless(t, found, partial(block, t, node.orelse), live_after(t, node))
        elif found is not None:
            block(t, node.orelse)
    t.store.pop((loop, "<broke>"), None)
    t.store.pop((loop, "<continued>"), None)


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
            if found is None:
                t.store[key] = False
            elif found:

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


def constant_false(t: Tracer, test: Callable[[], Any]) -> bool:
    """Whether a condition is False whatever the program's arguments (its operations are thrown away)."""
    region = Region()
    saved = dict(t.store)
    try:
        with t.inside(region):
            return test() is False
    finally:
        t.store = saved


def for_loop(t: Tracer, node: ast.For) -> None:
    """Trace a `for` statement."""
    from . import expressions, iteration

    with t.at(node.iter):
        iterable = expressions.evaluate(t, node.iter)
        source = iteration.iterable_of(t, iterable)
    memory = memory_of(t, node)
    hidden = (frame_of(t), f"<iterable {id(node)}>")
    t.store[hidden] = iterable  # so that its arrays count as being in use
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
                    stage_if(t, inside_range, partial(both, k), lambda: None, live_after(t, node))
                    return
            one(k)
            k += 1
            found = exits_of(t, loop)
            if found is None or t.dead():
                return
            if found:
                unless(t, found, partial(turn, k), live_after(t, node))
                return
            assert n <= 100_000

    def both(k: int) -> None:
        one(k)
        follow(k + 1)

    def follow(k: int) -> None:
        found = exits_of(t, loop)
        if found is None or t.dead():
            return
        if found:
            unless(t, found, partial(turn, k), live_after(t, node))
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


def counted_while(
    t: Tracer, node: ast.For, loop: Loop, memory: LoopMemory, count: Count, body: Callable[[Value], None]
) -> None:
    """A `for` with exits: a while over k = lo, ..., with index k (or, backwards, hi - 1 - (k - lo))."""
    if count.checkpoint is not None:
        t.unsupported(
            "a loop under `checkpoint` that is left by `break` or `return`",
            "let it run to its end (`if not done:` around its body), or put its body into a checkpointed function",
        )
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
