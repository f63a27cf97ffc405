"""The source of a Python function: its syntax tree with true file positions, checked against what would run.

In: a function object. Out: a `FunctionCode`: the node, the file, and where positions are. Whole files are
parsed once, so that lines and columns need no correction and lambdas are found by the positions that the
interpreter recorded in their code objects. Works for modules, notebook cells and prompts: wherever `linecache`
knows the text.

The tree is compiled again and compared with the code object: where a file was edited after it was imported,
the function is refused rather than something else traced in its place.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Span
from ..ir.errors import UnsupportedError

__all__ = ["FunctionCode", "FunctionNode", "find", "span_of"]

FunctionNode = ast.FunctionDef | ast.Lambda
ASYNCHRONOUS = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


@dataclass(eq=False)
class FunctionCode:
    """A function's syntax tree. `text` is its own source, `qualname` what Python calls it."""

    node: FunctionNode
    file: str
    qualname: str
    text: str
    facts: dict[str, Any] = field(default_factory=dict)
    """What analyses found out (scope, liveness, fence), kept with the tree."""

    @property
    def name(self) -> str:
        return self.node.name if isinstance(self.node, ast.FunctionDef) else "lambda"

    @property
    def body(self) -> list[ast.stmt]:
        if isinstance(self.node, ast.FunctionDef):
            return self.node.body
        if "body" not in self.facts:
            self.facts["body"] = [ast.copy_location(ast.Return(self.node.body), self.node.body)]
        return self.facts["body"]  # type: ignore[no-any-return]


@dataclass(eq=False)
class Module:
    """A parsed file."""

    text: str
    functions: list[FunctionNode]
    compiled: types.CodeType
    found: dict[int, FunctionCode]


_MODULES: dict[str, Module] = {}
_CODES: dict[tuple[str, types.CodeType], tuple[str, FunctionCode]] = {}  # equal code may be in two files


def span_of(node: ast.AST, file: str) -> Span:
    """The span of a node (computed once, kept on the node)."""
    span: Span | None = getattr(node, "_adjit_span", None)
    if span is None:
        span = Span(
            file,
            getattr(node, "lineno", 0),
            getattr(node, "col_offset", 0),
            getattr(node, "end_lineno", 0) or 0,
            getattr(node, "end_col_offset", 0) or 0,
        )
        node._adjit_span = span  # type: ignore[attr-defined]
    return span


def find(function: types.FunctionType) -> FunctionCode:
    """The syntax tree of a function. UnsupportedError where its source cannot be found or has changed."""
    code = function.__code__
    file = code.co_filename
    linecache.checkcache(file)
    text = "".join(linecache.getlines(file, function.__globals__))
    known = _CODES.get((file, code))
    if known is not None and known[0] == text:
        return known[1]
    if not text:
        raise UnsupportedError(
            f"the source of `{function.__qualname__}` cannot be found (it is said to be in {file})",
            help="define the function in a file or in a notebook cell, where Python can show its source",
        )
    module = parse_file(file, text, function)
    node = locate(module, code)
    if node is None and code.co_flags & ASYNCHRONOUS:
        raise UnsupportedError(
            f"`{function.__qualname__}` is an async function, which cannot be traced",
            Span(file, code.co_firstlineno),
            help="write a plain `def`, and await outside of it",
        )
    if node is None:
        raise UnsupportedError(
            f"the source of `{function.__qualname__}` in {file} is not what Python runs: "
            "the file was changed after it was imported",
            Span(file, code.co_firstlineno),
            help="import the module again (or restart), so that the text and the function agree",
        )
    found = module.found.get(id(node))
    if found is None:
        found = FunctionCode(node, file, function.__qualname__, segment(text, node))
        module.found[id(node)] = found
    _CODES[file, code] = (text, found)
    return found


def segment(text: str, node: FunctionNode) -> str:
    lines = text.splitlines(keepends=True)
    first = first_line(node)
    return "".join(lines[first - 1 : node.end_lineno])


def parse_file(file: str, text: str, function: types.FunctionType) -> Module:
    module = _MODULES.get(file)
    if module is None or module.text != text:
        try:
            tree = ast.parse(text, file)
            compiled = compile(tree, file, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise UnsupportedError(
                f"the source of `{function.__qualname__}` in {file} does not parse: {error}",
                help="the file was changed after it was imported; import it again",
            ) from error
        functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)]
        module = _MODULES[file] = Module(text, functions, compiled, {})
    return module


def locate(module: Module, code: types.CodeType) -> FunctionNode | None:
    """The node that compiles to `code`; None where there is none."""
    candidates = [c for c in nested_codes(module.compiled) if same_code(c, code)]
    exact = [c for c in candidates if c.co_firstlineno == code.co_firstlineno]
    for compiled in exact or candidates:
        nodes = [n for n in module.functions if first_line(n) == compiled.co_firstlineno and is_named(n, compiled)]
        if len(nodes) > 1:  # several lambdas on one line: by the columns of their instructions
            wanted = columns(code if exact else compiled)
            nodes = [n for n in nodes if encloses(n, wanted)]
            nodes.sort(key=lambda n: ((n.end_lineno or 0) - n.lineno, (n.end_col_offset or 0) - n.col_offset))
        if nodes:
            return nodes[0]
    return None


def first_line(node: FunctionNode) -> int:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return min([node.lineno, *(d.lineno for d in decorators)])


def is_named(node: FunctionNode, code: types.CodeType) -> bool:
    return (node.name if isinstance(node, ast.FunctionDef) else "<lambda>") == code.co_name


def columns(code: types.CodeType) -> list[tuple[int, int]]:
    return [
        (line, column)
        for line, _, column, _ in code.co_positions()
        if line is not None and column is not None and (line, column) != (code.co_firstlineno, 0)
    ]


def encloses(node: FunctionNode, positions: list[tuple[int, int]]) -> bool:
    start = (node.lineno, node.col_offset)
    end = (node.end_lineno or 0, node.end_col_offset or 0)
    return bool(positions) and all(start <= p <= end for p in positions)


def nested_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from nested_codes(constant)


def same_code(a: types.CodeType, b: types.CodeType) -> bool:
    """Whether two code objects do the same (positions aside)."""
    if a.co_name != b.co_name or a.co_varnames[: a.co_argcount] != b.co_varnames[: b.co_argcount]:
        return False
    if any(name.startswith("@py_") or name == "@pytest_ar" for name in (*b.co_names, *b.co_varnames)):
        return a.co_firstlineno == b.co_firstlineno  # pytest rewrote its assert statements
    if a.co_code != b.co_code or a.co_names != b.co_names or a.co_varnames != b.co_varnames:
        return False
    if a.co_freevars != b.co_freevars or len(a.co_consts) != len(b.co_consts):
        return False
    for x, y in zip(a.co_consts, b.co_consts, strict=True):
        if isinstance(x, types.CodeType) and isinstance(y, types.CodeType):
            if not same_code(x, y):
                return False
        elif type(x) is not type(y) or repr(x) != repr(y):
            return False
    return True
