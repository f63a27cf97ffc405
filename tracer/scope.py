"""Names: which are local to a function, which frame holds them, and what an activation of a function is.

In: syntax trees. Out: `Scope` (which names a function binds) and `Frame` (one activation of it while tracing).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..ir.core import Region
from .source import FunctionCode

if TYPE_CHECKING:
    from .carried import Loop

__all__ = ["Frame", "Scope", "bound_names", "scope_of"]

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(frozen=True)
class Scope:
    """Names that a function binds; names that it declares nonlocal; names that functions inside it read."""

    local: frozenset[str]
    nonlocal_: frozenset[str]
    captured: frozenset[str]


@dataclass(eq=False)
class Frame:
    """One activation of a function. `path`: the calls that led here, the same whenever the trace is repeated."""

    code: FunctionCode
    scope: Scope
    parent: Frame | None
    globals: dict[str, Any]
    cells: dict[str, Any]
    path: tuple[Any, ...]
    region: Region
    file: str
    loops: list[Loop] = field(default_factory=list)
    comprehension: bool = False
    owner: type | None = None
    function: Any = None
    caller: Frame | None = None

    def __repr__(self) -> str:
        return f"<frame {self.code.name}>"


def bound_names(nodes: list[ast.stmt] | list[ast.expr]) -> set[str]:
    """Names that statements bind, not looking into functions defined there."""
    names: set[str] = set()
    stack: list[ast.AST] = list(nodes)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store | ast.Del):
                names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
            stack.extend(node.decorator_list)
            continue
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, COMPREHENSIONS):
            names |= {
                n.target.id for n in ast.walk(node) if isinstance(n, ast.NamedExpr) and isinstance(n.target, ast.Name)
            }
            continue
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(a.asname or a.name).split(".")[0] for a in node.names}
            continue
        elif isinstance(node, ast.MatchAs | ast.MatchStar) and node.name:
            names.add(node.name)
        stack.extend(ast.iter_child_nodes(node))
    return names


def scope_of(code: FunctionCode) -> Scope:
    """The scope of a function, computed once."""
    scope: Scope | None = code.facts.get("scope")
    if scope is None:
        node = code.node
        a = node.args
        names = {p.arg for p in (*a.posonlyargs, *a.args, *a.kwonlyargs)}
        names |= {p.arg for p in (a.vararg, a.kwarg) if p is not None}
        body: list[Any] = node.body if isinstance(node, ast.FunctionDef) else [node.body]
        names |= bound_names(body)
        nonlocal_: set[str] = set()
        captured: set[str] = set()
        for statement in body:
            for inner in ast.walk(statement):
                if isinstance(inner, ast.Nonlocal):
                    nonlocal_ |= set(inner.names)
                elif isinstance(inner, ast.FunctionDef | ast.Lambda):
                    captured |= {n.id for n in ast.walk(inner) if isinstance(n, ast.Name)}
                    captured |= {x for n in ast.walk(inner) if isinstance(n, ast.Nonlocal) for x in n.names}
        own_nonlocal = {x for s in body if isinstance(s, ast.stmt) for x in own_nonlocals(s)}
        scope = Scope(frozenset(names - own_nonlocal), frozenset(own_nonlocal), frozenset(captured))
        code.facts["scope"] = scope
    return scope


def own_nonlocals(statement: ast.stmt) -> set[str]:
    """Names that a statement declares nonlocal, not looking into functions."""
    out: set[str] = set()
    stack: list[ast.AST] = [statement]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Nonlocal):
            out |= set(node.names)
        if not isinstance(node, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(node))
    return out
