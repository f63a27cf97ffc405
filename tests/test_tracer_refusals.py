"""What the tracer refuses, and in which words: golden files under golden/refusals.

Each file holds a program, its arguments and the error that tracing it gives: class, message, file, line, caret, and
what to write instead. `pytest --update-data` rewrites the messages.
"""

import linecache
from pathlib import Path

import numpy as np
import pytest
import tracing

from adjit.ir.errors import AdjitError, InternalError

FOLDER = Path(__file__).parent / "golden" / "refusals"
CASES = sorted(FOLDER.glob("*.txt"))


def sections(path: Path) -> dict[str, str]:
    """The parts of a golden file by name; "" is its comment."""
    out: dict[str, str] = {"": ""}
    name = ""
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("--- "):
            name = line[4:].strip()
            out[name] = ""
        else:
            out[name] += line
    return out


def refusal(path: Path) -> str:
    """The error that tracing the program gives, as text."""
    parts = sections(path)
    source = parts["source"]
    file = f"{path.stem}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict = {"np": np, "__name__": path.stem}
    try:
        exec(compile(source, file, "exec"), namespace)
        args = eval(parts["args"], {"np": np})
        with pytest.raises(AdjitError) as caught:
            tracing.traced_of(namespace["f"], args)
        error = caught.value
        assert not isinstance(error, InternalError), error
        assert error.span is not None
        assert error.help
        return f"{type(error).__name__}: {error}\n"
    finally:
        del linecache.cache[file]


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_refusal(path: Path, request: pytest.FixtureRequest) -> None:
    found = refusal(path)
    if request.config.getoption("--update-data"):
        text = path.read_text(encoding="utf-8")
        path.write_text(text[: text.index("--- error\n")] + "--- error\n" + found, encoding="utf-8")
    assert found == sections(path)["error"]


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 40
