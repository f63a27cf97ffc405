"""The Python in documents: its blocks, run as they stand, and what their comments claim.

In: a Markdown file. Out: its fenced blocks of Python, and a script that runs them. Blocks of other libraries are marked
in the fence, ```` ```python title="JAX" ````, which GitHub and MkDocs show as Python.

A script is a real file, since the tracer reads the source of what it differentiates; its lines have the numbers they
have in the document. It is run one top-level statement at a time, and comments that begin like a value are claims:

    grad(f)(x)  # [0, 4, 8, 12]        the statement's value
    y = f(x)  # 14.0                   what is assigned
    print(f(x))  # 14.0                what is printed
    grad(f)(1)  # ArgumentError: arg   that it raises this, with this text in the message

A claim is a Python literal (of numbers, tuples, lists, dicts, strings), or an expression of earlier names in `=`-form:
`# = 4 * x`. Numbers claimed to four decimals or more are rounded, others exact. Text after `;` or
`:` is for people. Claims
about values that stand inside compound statements would not be seen, and are refused.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FENCE = re.compile(r"^```python(?: title=\"(?P<peer>\w+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
CLAIM = re.compile(r"([-+]?\.?\d|[(\[{'\"=]|(?:True|False|None|nan|inf)\b|(?:\w+\.)*\w+(?:Error|Warning)\b)")
RAISES = re.compile(r"(?:\w+\.)*(\w+(?:Error|Warning))(?:: (.*))?$")
NAMES = {"nan": np.nan, "inf": np.inf}


@dataclass(frozen=True)
class Block:
    """A block of Python. `peer`: the library it is written for, or None; `line`: of its first line in the file."""

    path: Path
    peer: str | None
    line: int
    text: str


def python_blocks(path: Path) -> list[Block]:
    """The blocks of a document, in order."""
    page = path.read_text(encoding="utf-8")
    found = [
        Block(path, match["peer"], page.count("\n", 0, match.start("text")) + 1, match["text"])
        for match in FENCE.finditer(page)
    ]
    assert len(found) == len(re.findall(r"^```python", page, re.MULTILINE)), f"{path.name}: a fence that is not known"
    return found


class Script:
    """Blocks run one after another, in one namespace."""

    def __init__(self, blocks: list[Block], folder: Path, name: str) -> None:
        lines: list[str] = []
        for block in blocks:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
        self.file = folder / f"{name}.py"
        self.file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.names: dict[str, Any] = {"__name__": name}
        tree = ast.parse(self.file.read_text(encoding="utf-8"))
        self.imports = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]

    def run(self, block: Block) -> int:
        """Run one block and check what it claims; how many claims there were."""
        text = "\n" * (block.line - 1) + block.text
        claims, checked = claims_of(text), 0
        for statement in ast.parse(text).body:
            last = statement.end_lineno or 0
            own = {n: claims[n] for n in range(statement.lineno, last + 1) if n in claims}
            if isinstance(statement, ast.FunctionDef | ast.ClassDef):
                own = {}  # comments on what a function does
            claim = own.pop(last, None)
            assert not own, f"{block.path.name}: nothing checks the claims {own}, inside of a statement"
            self.execute(statement, claim, f"{block.path.name}, line {last}")
            checked += claim is not None
        return checked

    def execute(self, statement: ast.stmt, claim: str | None, where: str) -> None:
        raises = RAISES.match(claim) if claim else None
        if raises is not None:
            self.refuses(statement, raises[1], raises[2] or "", where)
        elif claim is None:
            self.perform(statement)
        elif isinstance(statement, ast.Expr) and is_print(statement.value):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                self.perform(statement)
            assert out.getvalue().strip() == claim, f"{where}: printed {out.getvalue().strip()!r}, not {claim!r}"
        else:
            self.holds(statement, claim, where)

    def perform(self, statement: ast.stmt) -> None:
        """Run one statement. The file's imports are named beside it, in a branch never taken: Python makes other
        byte code for calls on imported modules, and the tracer compares it with the file's."""
        never = ast.If(ast.Constant(False), self.imports, [])
        module = ast.fix_missing_locations(ast.Module([never, statement] if self.imports else [statement], []))
        exec(compile(module, str(self.file), "exec", dont_inherit=True), self.names)

    def value(self, expression: ast.expr) -> Any:
        self.perform(ast.copy_location(ast.Assign([ast.Name("__value__", ast.Store())], expression), expression))
        return self.names.pop("__value__")

    def holds(self, statement: ast.stmt, claim: str, where: str) -> None:
        if isinstance(statement, ast.Expr):
            found = self.value(statement.value)
        else:
            assert isinstance(statement, ast.Assign), f"{where}: nothing checks the claim {claim!r}"
            self.perform(statement)
            target = ast.parse(ast.unparse(statement.targets[0]), mode="eval").body
            found = self.value(target)
        if claim.startswith("="):
            expected, rounded = self.value(ast.parse(claim[1:].strip(), mode="eval").body), 1e-12
        else:
            expected, rounded = literal(claim, where)
        try:
            same(found, expected, rounded)
        except AssertionError as error:
            raise AssertionError(f"{where}: claims {claim}, but it is {found!r}\n{error}") from None

    def refuses(self, statement: ast.stmt, kind: str, text: str, where: str) -> None:
        try:
            self.perform(statement)
        except Exception as error:
            names = [c.__name__ for c in type(error).__mro__]
            assert kind in names, f"{where}: raises {type(error).__name__}: {error}, not {kind}"
            assert text in str(error), f"{where}: {text!r} is not in {str(error)!r}"
        else:
            raise AssertionError(f"{where}: does not raise {kind}")


def claims_of(text: str) -> dict[int, str]:
    """The claims in comments, by line. What stands after `;` or `:` is for people."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comment = token.string.lstrip("#").strip()
            alone = not token.line[: token.start[1]].strip()
            if not alone and CLAIM.match(comment):
                named = comment.startswith(("{", "=")) or RAISES.match(comment)
                found[token.start[0]] = re.split(r";" if named else r"[;:]", comment)[0].strip()
    return found


def literal(claim: str, where: str) -> tuple[Any, float]:
    """The value a claim states, and how far numbers may be off (0: not at all but for rounding errors)."""
    try:
        tree = ast.parse(claim, mode="eval")
        value = eval(compile(tree, where, "eval"), {"__builtins__": {}}, NAMES)
    except (SyntaxError, NameError) as error:
        raise AssertionError(f"{where}: the claim {claim!r} is no literal ({error})") from None
    numbers = [ast.get_source_segment(claim, n) or "" for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    decimals = [len(n.partition(".")[2]) for n in numbers if "." in n and "e" not in n]
    return value, 0.6 * 10.0 ** -max(decimals) if decimals and max(decimals) >= 4 else 0.0


def same(found: Any, expected: Any, rounded: float) -> None:
    """AssertionError where a value is not what is claimed: structure, shape, numbers."""
    if isinstance(expected, dict):
        assert isinstance(found, dict) and sorted(found) == sorted(expected), f"the keys of {found!r}"
        for key in expected:
            same(found[key], expected[key], rounded)
    elif isinstance(expected, tuple):
        assert isinstance(found, tuple | list) and len(found) == len(expected), f"no tuple of {len(expected)}"
        for one, other in zip(found, expected, strict=True):
            same(one, other, rounded)
    elif expected is None or isinstance(expected, str | bool):
        assert found == expected and (expected is not None or found is None)
    elif isinstance(expected, list) and any(isinstance(e, dict | tuple | str | None) for e in expected):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other, rounded)
    else:
        array = numbers_of(found)
        assert array.shape == np.shape(expected), f"the shape is {array.shape}"
        single = array.dtype.itemsize < 8 and array.dtype.kind == "f"
        np.testing.assert_allclose(array, expected, rtol=2e-6 if single else 1e-12, atol=rounded or 1e-14)


def numbers_of(x: Any) -> np.ndarray:
    """An array, a tensor or a number as an array."""
    if hasattr(x, "detach"):
        x = x.detach()
    return np.asarray(x)


def is_print(expression: ast.expr) -> bool:
    return isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name) and expression.func.id == "print"
