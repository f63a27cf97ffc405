"""Every snippet of docs/recipes.md runs by itself."""

import re
from pathlib import Path

import pytest
from documents import Block, Script, python_blocks

import adjit

PAGE = Path(adjit.__file__).resolve().parent / "docs" / "recipes.md"
SNIPPETS = python_blocks(PAGE)


@pytest.mark.parametrize("block", SNIPPETS, ids=[str(k) for k in range(len(SNIPPETS))])
def test_a_snippet_runs(block: Block, tmp_path: Path) -> None:
    for library in ("torch", "jax"):
        if re.search(rf"^import {library}$", block.text, re.MULTILINE):
            pytest.importorskip(library)
    assert "assert " in block.text
    Script([block], tmp_path, f"recipe{block.line}").run(block)
