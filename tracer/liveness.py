"""Liveness: which local names of a function may still be read after a statement.

In: a function's syntax tree. Out: per statement, the names that control flow has to carry past it, and per loop
the names alive at its test. A name that is always assigned before it is read in the next iteration is not carried
by a loop, whatever it held; so temporaries cost nothing and their types never clash.

Backwards data flow over the tree (sets of names; loops by repetition to a fixpoint).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from .scope import COMPREHENSIONS
from .source import FunctionCode, FunctionNode

__all__ = ["Liveness", "liveness_of"]

Names = frozenset[str]
NONE: Names = frozenset()


@dataclass(eq=False)
class Liveness:
    """`after[s]`: names to carry past a statement; `header[s]`: names alive at a loop's test; `exits[s]`: after it."""

    after: dict[ast.stmt, Names] = field(default_factory=dict)
    header: dict[ast.stmt, Names] = field(default_factory=dict)


def liveness_of(code: FunctionCode, always: Names) -> Liveness:
    """Liveness of a function's body, computed once; `always`: names that functions inside it may read any time."""
    found: Liveness | None = code.facts.get("liveness")
    if found is None:
        found = code.facts["liveness"] = Liveness()
        Analysis(found, always).block(code.body, always, NONE, NONE)
    return found


class Analysis:
    def __init__(self, out: Liveness, always: Names) -> None:
        self.out = out
        self.always = always

    def block(self, statements: list[ast.stmt], live: Names, on_break: Names, on_continue: Names) -> Names:
        for statement in reversed(statements):
            carried = live | on_break | on_continue  # a merge here may carry paths that leave the loop's body
            before = self.out.after.get(statement, NONE)
            self.out.after[statement] = before | carried
            live = self.statement(statement, live, on_break, on_continue) | self.always
        return live

    def statement(self, s: ast.stmt, live: Names, on_break: Names, on_continue: Names) -> Names:
        if isinstance(s, ast.If):
            then = self.block(s.body, live, on_break, on_continue)
            other = self.block(s.orelse, live, on_break, on_continue)
            return uses(s.test, then | other)
        if isinstance(s, ast.While | ast.For):
            exit_ = self.block(s.orelse, live, on_break, on_continue)
            header = exit_
            while True:
                entering = header
                body = self.block(s.body, entering, live, entering)
                if isinstance(s, ast.While):
                    new = uses(s.test, body | exit_)
                else:
                    new = (body - targets(s.target)) | exit_
                if new <= header:
                    break
                header = header | new
            self.out.header[s] = header | live  # what `break` leads to passes the test as well
            return header if isinstance(s, ast.While) else uses(s.iter, header)
        if isinstance(s, ast.Return):
            return uses(s.value, NONE) if s.value is not None else NONE
        if isinstance(s, ast.Raise):
            return uses(s.exc, NONE) if s.exc is not None else NONE
        if isinstance(s, ast.Break):
            return on_break
        if isinstance(s, ast.Continue):
            return on_continue
        if isinstance(s, ast.Assign):
            for target in s.targets:
                live = self.assigned(target, live)
            return uses(s.value, live)
        if isinstance(s, ast.AnnAssign):
            if s.value is None:
                return live
            return uses(s.value, self.assigned(s.target, live))
        if isinstance(s, ast.AugAssign):
            return uses(s.value, uses(s.target, live))
        if isinstance(s, ast.Delete):
            for target in s.targets:
                live = live - {target.id} if isinstance(target, ast.Name) else uses(target, live)
            return live
        if isinstance(s, ast.FunctionDef):
            return reads(s, live - {s.name})
        if isinstance(s, ast.With):
            live = self.block(s.body, live, on_break, on_continue)
            for item in s.items:
                if item.optional_vars is not None:
                    live = self.assigned(item.optional_vars, live)
                live = uses(item.context_expr, live)
            return live
        if isinstance(s, ast.Match):
            out = live
            for case in s.cases:
                inner = self.block(case.body, live, on_break, on_continue)
                if case.guard is not None:
                    inner = uses(case.guard, inner)
                out |= inner
                for node in ast.walk(case.pattern):
                    if isinstance(node, ast.expr):
                        out = uses(node, out)
            return uses(s.subject, out)
        return reads(s, live)

    def assigned(self, target: ast.expr, live: Names) -> Names:
        """Before an assignment: names it binds die, names in subscripts are read."""
        if isinstance(target, ast.Name):
            return live - {target.id}
        if isinstance(target, ast.Tuple | ast.List):
            for element in target.elts:
                live = self.assigned(element, live)
            return live
        if isinstance(target, ast.Starred):
            return self.assigned(target.value, live)
        return uses(target, live)


def targets(target: ast.expr) -> Names:
    return frozenset(n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))


def uses(expression: ast.expr, live: Names) -> Names:
    """Names alive before an expression is evaluated. (A walrus binds conditionally: what it binds stays alive.)"""
    return reads(expression, live)


def reads(node: ast.AST, live: Names) -> Names:
    found = {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Del)}
    return live | found if found else live


def contains_functions(node: FunctionNode) -> bool:
    return any(isinstance(n, ast.FunctionDef | ast.Lambda | COMPREHENSIONS) for n in ast.walk(node) if n is not node)
