"""The fence: constructs that are refused before anything is traced.

In: the syntax tree of a function. Out: nothing, or an `UnsupportedError` with the line, the reason and the way out. The
table maps node types to reasons; a few constructs are refused only in some forms.
"""

from __future__ import annotations

import ast

from ..ir.errors import UnsupportedError
from .source import FunctionCode, span_of

__all__ = ["REFUSED", "check"]

REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Try: (
        "`try` cannot be traced: whether an exception is raised is known only at run time",
        "test the condition with `if`, or catch the exception outside of the function",
    ),
    ast.TryStar: (
        "`try` cannot be traced: whether an exception is raised is known only at run time",
        "test the condition with `if`, or catch the exception outside of the function",
    ),
    ast.Yield: ("a generator (`yield`) cannot be traced", "write the values to an array and return it"),
    ast.YieldFrom: ("a generator (`yield from`) cannot be traced", "write the values to an array and return it"),
    ast.Await: ("`await` cannot be traced", "await outside, and pass the result in"),
    ast.AsyncFunctionDef: ("an async function cannot be traced", "write a plain `def`"),
    ast.AsyncFor: ("`async for` cannot be traced", "write a plain `for`"),
    ast.AsyncWith: ("`async with` cannot be traced", "do this outside of the function"),
    ast.ClassDef: ("a class cannot be defined inside a traced function", "define the class at module level"),
    ast.Global: (
        "`global` lets the function change a module's variable",
        "return the new value instead (reading globals needs no declaration)",
    ),
}


def check(code: FunctionCode) -> None:
    """Refuse a function that contains a construct adjit does not trace. Each function is walked once."""
    if code.facts.get("fenced"):
        return
    Walk(code.file).function(code.node)
    code.facts["fenced"] = True


class Walk(ast.NodeVisitor):
    def __init__(self, file: str) -> None:
        self.file = file

    def refuse(self, node: ast.AST, reason: str, help: str) -> None:
        raise UnsupportedError(reason, span_of(head(node), self.file), help)

    def function(self, node: ast.AST) -> None:
        body = node.body if isinstance(node, ast.FunctionDef) else [node.body]  # type: ignore[attr-defined]
        for child in body:
            self.visit(child)

    def visit(self, node: ast.AST) -> None:
        found = REFUSED.get(type(node))
        if found is not None:
            self.refuse(node, *found)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For):
            self.targets(node)
        elif isinstance(node, ast.Slice) and is_imaginary(node.step):
            for bound in (node.lower, node.upper):  # the step of np.mgrid: so many points
                if bound is not None:
                    self.visit(bound)
            return
        elif is_imaginary(node):
            self.refuse(node, "complex numbers are not supported yet", "separate real and imaginary parts")
        elif isinstance(node, ast.Delete):
            for target in node.targets:
                if isinstance(target, ast.Attribute):
                    self.refuse(target, "`del` of an attribute", "leave the attribute, or build a new object")
        elif isinstance(node, ast.comprehension) and node.is_async:
            self.refuse(node.iter, "`async for` cannot be traced", "write a plain `for`")
        elif isinstance(node, ast.ImportFrom) and any(a.name == "*" for a in node.names):
            self.refuse(node, "`import *` inside a function", "import the names that are used")
        elif isinstance(node, ast.MatchMapping | ast.MatchClass):
            self.refuse(node, "this kind of pattern is not supported", "write the tests with `if`")
        self.generic_visit(node)

    def targets(self, node: ast.Assign | ast.AugAssign | ast.AnnAssign | ast.For) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            starred = [
                e
                for t in ast.walk(target)
                if isinstance(t, ast.Tuple | ast.List)
                for e in t.elts
                if isinstance(e, ast.Starred)
            ]
            if len(starred) > 1:
                self.refuse(starred[1], "two starred names in one assignment", "unpack in two steps")


def head(node: ast.AST) -> ast.AST:
    """What a caret should stand under: the first line of a block, not all of it."""
    if hasattr(node, "body") and hasattr(node, "lineno") and isinstance(node, ast.stmt):
        short = ast.Pass()
        short.lineno, short.col_offset = node.lineno, node.col_offset
        short.end_lineno = node.lineno
        width = {
            ast.Try: 3,
            ast.TryStar: 3,
            ast.ClassDef: 5,
            ast.AsyncFunctionDef: 9,
            ast.AsyncFor: 9,
            ast.AsyncWith: 10,
        }
        short.end_col_offset = node.col_offset + width.get(type(node), 4)
        return short
    return node


def is_imaginary(node: ast.AST | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, complex)
