"""The pages `docs/coming_from`: every block runs, adjit's and that of the library beside it, and what it claims holds.

A page's blocks are two scripts, run from top to bottom: adjit's, and the other library's where it can be imported.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
from documents import Block, Script, python_blocks, same

import adjit

FOLDER = Path(adjit.__file__).resolve().parent / "docs" / "coming_from"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCKS = [block for page in PAGES for block in python_blocks(page)]
TOOLS = ("pytorch", "tensorflow", "mxnet", "jax", "autograd", "numba", "enzyme_tapenade")

Progress = tuple[Script, list[Block]]
SCRIPTS: dict[tuple[Path, str | None], Progress] = {}


def named(block: Block) -> str:
    return f"{block.path.stem}-{block.peer or 'adjit'}-{block.line}"


def script_of(block: Block, tmp_path_factory: pytest.TempPathFactory) -> Progress:
    """The script that a block belongs to, and which of its blocks have not run yet."""
    key = block.path, block.peer
    if key not in SCRIPTS:
        blocks = [b for b in BLOCKS if (b.path, b.peer) == key]
        name = f"{block.path.stem}_{block.peer or 'adjit'}"
        SCRIPTS[key] = Script(blocks, tmp_path_factory.mktemp(name), f"page_{name}"), blocks
    return SCRIPTS[key]


def missing(block: Block) -> str | None:
    """A library that the block needs and that is not here."""
    if block.peer is not None and importlib.util.find_spec(block.peer) is None:
        return block.peer
    for node in ast.walk(ast.parse(block.text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                return name
    return None


@pytest.mark.parametrize("block", BLOCKS, ids=named)
def test_a_block_runs_and_its_claims_hold(block: Block, tmp_path_factory: pytest.TempPathFactory) -> None:
    library = missing(block)
    if library is not None:
        compile(block.text, block.path.name, "exec")
        pytest.skip(f"needs {library}")
    script, left = script_of(block, tmp_path_factory)
    while block in left:  # in this process, those above it run first
        here = left.pop(0)
        if missing(here) is None:
            script.run(here)
