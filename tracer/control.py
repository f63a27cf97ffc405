"""Blocks of statements, `if`, and the ways out: `break`, `continue`, `return`, `raise`.

In: statements. Out: operations in the current region, and the state after them in the tracer's store.

A way out taken at run time is a flag: the statements after it run under the test that no flag is set. Where one
branch of an `if` certainly leaves (`if x < 0: return ...`), the rest of the block moves into the other branch
instead, and no flag is needed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..ir.core import Value
from .context import DEAD, Tracer
from .merges import Branch, merge_branches, stage_if
from .numeric import truth
from .values import Number

if TYPE_CHECKING:
    from .scope import Frame

__all__ = ["any_of", "block", "flags", "live_after"]

Names = frozenset[str]


def frame_of(t: Tracer) -> Frame:
    assert t.frame is not None
    return t.frame


def flags(t: Tracer) -> list[tuple[Any, Value]] | None:
    """None where this path has certainly left the block; else the flags that may say so, with their keys."""
    if t.store.get(DEAD) is True:
        return None
    frame = frame_of(t)
    keys: list[Any] = [(frame, "<returned>")]
    if frame.loops:
        loop = frame.loops[-1]
        keys += [(loop, "<broke>"), (loop, "<continued>")]
    out: list[tuple[Any, Value]] = []
    for key in keys:
        flag = t.store.get(key, False)
        if flag is True:
            return None
        if isinstance(flag, Number):
            out.append((key, flag.value))
    return out


def any_of(t: Tracer, found: Sequence[tuple[Any, Value]]) -> Value:
    """Whether any of the flags is set."""
    value = found[0][1]
    for _, other in found[1:]:
        value = t.emit1("logical_or", [value, other])
    return value


def live_after(t: Tracer, statement: ast.stmt) -> Names | None:
    """Names to carry past a statement of the current frame; None: all of them."""
    from .liveness import liveness_of

    frame = frame_of(t)
    if frame.comprehension:
        return None
    return liveness_of(frame.code, frame.scope.captured).after.get(statement)


def block(t: Tracer, statements: Sequence[ast.stmt]) -> None:
    """Trace statements in order, as far as control flow reaches them."""
    from . import statements as one

    for k, statement in enumerate(statements):
        found = flags(t)
        if found is None:
            return
        if found:
            unless(t, found, partial(block, t, statements[k:]), live_after(t, statements[-1]))
            return
        if isinstance(statement, ast.If):
            with t.at(statement):
                consumed = conditional(t, statement, statements[k + 1 :])
            if consumed:
                return
        else:
            one.statement(t, statement)


def unless(t: Tracer, found: list[tuple[Any, Value]], rest: Callable[[], None], live: Names | None) -> None:
    """Trace `rest` under the test that none of the flags is set."""

    def left() -> None:
        if len(found) == 1:
            t.store[found[0][0]] = True

    def stays() -> None:
        for key, _ in found:
            t.store[key] = False
        rest()

    stage_if(t, any_of(t, found), left, stays, live)


def conditional(t: Tracer, statement: ast.If, rest: Sequence[ast.stmt]) -> bool:
    """Trace an `if`. True where the rest of the block was traced with it."""
    from . import expressions
    from .statements import raise_as_check

    with t.at(statement.test):
        condition = truth(t, expressions.evaluate(t, statement.test))
    if isinstance(condition, bool):
        block(t, statement.body if condition else statement.orelse)
        return False
    if len(statement.body) == 1 and not statement.orelse and isinstance(statement.body[0], ast.Raise):
        if raise_as_check(t, statement.body[0], condition):
            return False
    first, second = Branch(t), Branch(t)
    first.run(lambda: block(t, statement.body))
    second.run(lambda: block(t, statement.orelse))
    gone, other_gone = certainly_left(t, first), certainly_left(t, second)
    last: ast.stmt = statement
    consumed = gone and other_gone
    if rest and gone != other_gone:
        stays, leaves = (second, first) if gone else (first, second)
        if not leaves.dead:
            stays.run(lambda: block(t, rest))
            consumed = True
            last = rest[-1]
    merge_branches(t, condition, first, second, live_after(t, last))
    return consumed


def certainly_left(t: Tracer, branch: Branch) -> bool:
    saved, t.store = t.store, branch.store
    try:
        return flags(t) is None
    finally:
        t.store = saved
