"""A failing random program made smaller, for a report: statements and expressions go, the failure stays.

In: a `RandomProgram` and a predicate that says whether a program still fails in the same way. Out: a smaller one.
Only programs that are valid in plain Python are tried.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from random_programs import RandomProgram, problem

__all__ = ["reduce_program"]

Edit = Callable[[], None]


def reduce_program(program: RandomProgram, fails: Callable[[RandomProgram], bool]) -> RandomProgram:
    """The program with everything taken out that the failure does not need."""
    for kept in range(len(program.argument_sets)):
        candidate = replace(program, argument_sets=(program.argument_sets[kept],))
        if fails(candidate):
            program = candidate
            break
    tree = ast.parse(program.text)
    changed = True
    while changed:
        changed = False
        at = 0
        while True:
            candidate_tree = copy.deepcopy(tree)
            edit = nth(edits(candidate_tree), at)
            if edit is None:
                break
            edit()
            text = ast.unparse(ast.fix_missing_locations(candidate_tree)) + "\n"
            candidate = RandomProgram(text, program.argument_sets, program.number)
            if len(text) < len(program.text) and "program(" in text and works(candidate) and fails(candidate):
                program, tree, changed = candidate, ast.parse(text), True
            else:
                at += 1
    return program


def works(program: RandomProgram) -> bool:
    try:
        return not problem(program)
    except SyntaxError:
        return False


def nth(items: Iterator[Edit], n: int) -> Edit | None:
    for k, item in enumerate(items):
        if k == n:
            return item
    return None


def edits(tree: ast.Module) -> Iterator[Edit]:
    """Ways to make a tree smaller, the largest first."""
    for node in ast.walk(tree):
        for name in ("body", "orelse"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for k, statement in enumerate(block):
                    yield removal(block, k, name)
                    for inner in ("body", "orelse"):
                        if isinstance(statement, ast.If | ast.For | ast.While) and getattr(statement, inner):
                            yield hoisting(block, k, inner)
    for node in ast.walk(tree):
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.expr) and name not in ("func", "target", "slice"):
                yield from smaller(value, lambda new, node=node, name=name: setattr(node, name, new))
            elif isinstance(value, list):
                for k, item in enumerate(value):
                    if isinstance(item, ast.expr):
                        yield from smaller(item, lambda new, value=value, k=k: value.__setitem__(k, new))


def removal(block: list[Any], k: int, name: str) -> Edit:
    def edit() -> None:
        del block[k]
        if not block and name == "body":
            block.append(ast.Pass())

    return edit


def hoisting(block: list[Any], k: int, inner: str) -> Edit:
    def edit() -> None:
        block[k : k + 1] = getattr(block[k], inner)

    return edit


def smaller(value: ast.expr, put: Callable[[Any], None]) -> Iterator[Edit]:
    """Replace an expression by a part of it, or by a constant."""
    parts: list[ast.expr] = []
    if isinstance(value, ast.BinOp):
        parts = [value.left, value.right]
    elif isinstance(value, ast.Call):
        parts = list(value.args)
        if isinstance(value.func, ast.Attribute) and not isinstance(value.func.value, ast.Name):
            parts.append(value.func.value)
    elif isinstance(value, ast.IfExp):
        parts = [value.body, value.orelse]
    elif isinstance(value, ast.BoolOp):
        parts = list(value.values)
    elif isinstance(value, ast.UnaryOp):
        parts = [value.operand]
    for part in parts:
        yield lambda part=part: put(part)
    if not isinstance(value, ast.Constant | ast.Name):
        for constant in (0.5, 1, True):
            yield lambda constant=constant: put(ast.Constant(constant))
