"""Golden cases: a program, arguments, and the text of what becomes of it.

A case is a file with a comment that says its phenomenon, and sections. A section begins with ``--- name`` and
may have a short text on the same line:

    # a*a leaves the loop; x[i]*k depends on i and stays
    --- source
    def f(a, x): ...
    --- args     a: f64 = 1.5, x: f64[3] = [1, 2, 3]
    --- passes   licm
    --- ir
    func @f(...) ...

The program is Python (``source``) or IR (``input``). ``args`` may be repeated. ``passes`` names passes of
`adjit.ir.passes`, or ``optimize``. Meaning comes before text: the program is run on every ``args`` before
and after the passes (a Python program in Python as well), and only when all agree is the text of ``ir``
compared, or, with ``pytest --update-data``, written. So updating cannot bless a wrong program. Further
meanings (a kernel, a gradient) join by appending to `MEANINGS`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import linecache
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from adjit.ir.core import Function
from adjit.ir.interp import run
from adjit.ir.pipeline import optimize
from adjit.ir.text import parse, to_text
from adjit.ir.types import parse_type
from adjit.ir.verify import verify

GOLDEN = Path(__file__).parent / "golden"

MEANINGS: list[Callable[[Function, Sequence[Any]], Any]] = []
"""Other ways to run a function: each must give the interpreter's results, or its error's class name."""


@dataclass
class Section:
    name: str
    inline: str
    body: str


@dataclass
class Case:
    path: Path
    header: str
    sections: list[Section]

    def all(self, name: str) -> list[Section]:
        return [s for s in self.sections if s.name == name]

    def get(self, name: str) -> Section | None:
        found = self.all(name)
        return found[0] if found else None


def read_case(path: Path) -> Case:
    """A golden file, taken apart."""
    header, *parts = re.split(r"^--- ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = []
    for part in parts:
        first, _, body = part.partition("\n")
        name, _, inline = first.partition(" ")
        sections.append(Section(name, inline.strip(), body.strip("\n")))
    return Case(path, header.rstrip("\n"), sections)


def write_case(case: Case) -> None:
    lines = [case.header] if case.header else []
    for s in case.sections:
        lines.append(f"--- {s.name:<8} {s.inline}".rstrip())
        if s.body:
            lines.append(s.body)
    case.path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def arguments(text: str) -> dict[str, Any]:
    """``a: f64 = 1.5, x: f64[3] = [1, 2, 3]`` as values of those dtypes and shapes.

    A value is a Python literal, or a call of a NumPy function such as ``ones((2, 3))``.
    """
    out: dict[str, Any] = {}
    text = text.strip()
    pattern = re.compile(r"\s*(\w+)\s*:\s*(\w+(?:\[[^\]]*\])?)\s*=\s*")
    at = 0
    while at < len(text):
        match = pattern.match(text, at)
        if match is None:
            raise ValueError(f"not an argument: {text[at:]!r}")
        following = re.compile(r",\s*\w+\s*:\s*\w+(?:\[[^\]]*\])?\s*=").search(text, match.end())
        end = following.start() if following else len(text)
        type_ = parse_type(match.group(2))
        literal = text[match.end() : end]
        try:
            value: Any = ast.literal_eval(literal)
        except ValueError:
            value = eval(literal, {**vars(np)})
        array = np.array(value, dtype=type_.dtype.numpy)  # type: ignore[union-attr]
        wanted = type_.dims  # type: ignore[union-attr]
        if array.ndim != len(wanted) or any(w not in (None, n) for w, n in zip(wanted, array.shape)):
            raise ValueError(f"{match.group(1)} is {type_}, its value has shape {array.shape}")
        out[match.group(1)] = array if array.ndim else array.item() if type_.dtype.kind != "f" else array[()]  # type: ignore[union-attr]
        at = end + 1
    return out


def python_function(case: Case, source: str) -> Callable[..., Any]:
    """The (first) function that a source section defines, with its source where tools look for it."""
    name = f"<{case.path.stem}>"
    linecache.cache[name] = (len(source), None, (source + "\n").splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"np": np, "__name__": "golden_case"}
    exec(compile(source + "\n", name, "exec"), namespace)
    first = next(n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef))
    return namespace[first]  # type: ignore[no-any-return]


def traced(function: Callable[..., Any], args: dict[str, Any]) -> tuple[Function, Callable[..., Any]]:
    """The IR of a Python function for arguments like these, and how it is called as the function is."""
    from tracing import fill, traced_of

    found, _ = traced_of(function, copies(args))

    def call(*values: Any) -> Any:
        return fill(found.result, run(found.function, list(values)))

    return found.function, call


def apply_passes(function: Function, names: str) -> Function:
    """Run passes by name, verifying after each."""
    verify(function)
    for name in names.split():
        if name == "optimize":
            function = optimize(function, verify=True)
        else:
            function = importlib.import_module(f"adjit.ir.passes.{name}").run(function)
            verify(function, after=name)
    return function


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a program does: results as bytes (every nan alike), or the class of the error it raises."""
    try:
        results = call(*args)
    except (ArithmeticError, AssertionError, IndexError, ValueError, TypeError, KeyError) as error:
        kinds = [k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"]
        return f"raises {kinds[0]}"
    if not isinstance(results, list | tuple):
        results = [results]
    out = []
    for r in results:
        array = np.array(r)
        if array.dtype.kind == "f":
            array[np.isnan(array)] = np.nan
        out.append((str(array.dtype), array.shape, array.tobytes()))
    return out


def check_case(case: Case, update: bool) -> None:
    """Assert what a case says; with `update`, write its ``ir`` instead of comparing it, once its meaning holds."""
    calls = [arguments(s.inline + s.body) for s in case.all("args")]
    assert calls, "a golden case needs args: its meaning is checked before its text"
    source, given = case.get("source"), case.get("input")
    if source is not None:
        python = python_function(case, source.body)
        before, as_python = traced(python, calls[0])
        for call in calls:
            wanted = outcome(python, *copies(call))
            assert outcome(as_python, *call.values()) == wanted, f"the trace differs from Python for {call}"
    else:
        assert given is not None, "a golden case needs source or input"
        before = parse(given.body)
        verify(before)
        printed = to_text(before)
        assert printed == given.body or update, "the input is not in the printed form (--update-data writes it)"
        given.body = printed
    names = case.get("passes")
    after = apply_passes(before, names.inline if names else "")
    for call in calls:
        values = list(call.values())
        wanted = outcome(run, before, values)
        assert outcome(run, after, values) == wanted, f"the passes changed the results for {call}"
        for meaning in MEANINGS:
            assert outcome(meaning, after, values) == wanted, f"{meaning.__name__} differs for {call}"
    text = to_text(after)
    assert to_text(parse(text)) == text
    expected = case.get("ir")
    if update:
        if expected is None:
            case.sections.append(Section("ir", "", text))
        else:
            expected.body = text
        write_case(case)
        return
    assert expected is not None, "no ir section (--update-data writes it)"
    assert text == expected.body, "the text differs (--update-data writes it):\n" + difference(expected.body, text)


def difference(expected: str, found: str) -> str:
    return "\n".join(difflib.unified_diff(expected.splitlines(), found.splitlines(), "expected", "found", lineterm=""))


def copies(call: dict[str, Any]) -> list[Any]:
    return [np.array(v) if isinstance(v, np.ndarray) else v for v in call.values()]


def cases(folder: str) -> list[Path]:
    """The golden files of a folder."""
    return sorted((GOLDEN / folder).glob("*.txt"))
