"""Every snippet of docs/recipes.md runs by itself."""

import re
from pathlib import Path

import pytest

import adjit

PAGE = Path(adjit.__file__).resolve().parent / "docs" / "recipes.md"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_a_snippet_runs(number: int, tmp_path: Path) -> None:
    text = SNIPPETS[number]
    for library in ("torch", "jax"):
        if re.search(rf"^import {library}$", text, re.MULTILINE):
            pytest.importorskip(library)
    assert "assert " in text
    script = tmp_path / f"recipe{number}.py"  # a real file: the tracer reads the source of what it differentiates
    script.write_text(text, encoding="utf-8")
    exec(compile(text, str(script), "exec"), {"__name__": script.stem})
