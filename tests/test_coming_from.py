"""The pages `docs/coming_from`: every block runs, adjit's and that of the library beside it, and what it claims holds.

A page's blocks are two scripts, run from top to bottom: adjit's, and the other library's where it can be imported.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest
from documents import Block, Script, claims_of, python_blocks

import adjit

FOLDER = Path(adjit.__file__).resolve().parent / "docs" / "coming_from"
PAGES = sorted(FOLDER.glob("*.md"))
BLOCKS = [block for page in PAGES for block in python_blocks(page)]
TOOLS = ("pytorch", "tensorflow", "mxnet", "jax", "autograd", "numba", "enzyme_tapenade")
MODULES = {
    "PyTorch": "torch",
    "TensorFlow": "tensorflow",
    "MXNet": "mxnet",
    "JAX": "jax",
    "autograd": "autograd",
    "Numba": "numba",
}

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
    if block.peer is not None and importlib.util.find_spec(MODULES[block.peer]) is None:
        return block.peer
    for node in ast.walk(ast.parse(block.text)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            if importlib.util.find_spec(name.partition(".")[0]) is None:
                return name
    return None


def of_the_daily_lane(block: Block) -> bool:
    """One page is: most of its time is compilation."""
    return block.path.stem == "autograd" or missing(block) is not None


@pytest.mark.parametrize(
    "block", [pytest.param(b, marks=() if of_the_daily_lane(b) else pytest.mark.slow, id=named(b)) for b in BLOCKS]
)
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


@pytest.mark.parametrize("tool", TOOLS)
def test_a_page_compares_and_says_what_is_missing(tool: str) -> None:
    page = FOLDER / f"{tool}.md"
    text = page.read_text(encoding="utf-8")
    blocks = [block for block in BLOCKS if block.path == page]
    assert f"({tool}.md)" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "## Not here, instead" in text
    assert sum(len(claims_of(block.text)) for block in blocks if block.peer is None) >= 12
    assert any(block.peer for block in blocks) or "```julia " in text


RUN = """\
import numpy as np

x = np.arange(3.0)
"""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x * 2  # [0, 2, 4]", None),
        ("x * 2  # [0, 2, 5]", "claims"),
        ("x * 2  # [0, 2]", "shape"),
        ("np.sin(x)  # [0.0, 0.8415, 0.9093]", None),
        ("np.sin(x)  # [0.0, 0.8416, 0.9093]", "claims"),
        ("np.sin(x)  # [0.0, 0.84, 0.91]", "claims"),
        ("y = x.sum()  # 3.0: the sum", None),
        ("y = x.sum()  # 4.0: the sum", "claims"),
        ("(1.0, x)  # (1.0, [0, 1, 2])", None),
        ("(1.0, x)  # (1.0, [0, 1, 2], 3)", "claims"),
        ("{'a': x}  # {'a': [0, 1, 2]}", None),
        ("{'a': x}  # {'b': [0, 1, 2]}", "claims"),
        ("x + 1  # = x[::-1] + [1, 1, 1]", "claims"),
        ("x + 1  # = 1 + x", None),
        ("x.shape  # (3,)", None),
        ("x.sum() > 2  # True", None),
        ("x.sum() > 2  # False", "claims"),
        ("x * np.nan  # [nan, nan, nan]", None),
        ("x[5]  # IndexError: out of bounds", None),
        ("x[5]  # IndexError: too small", "too small"),
        ("x[1]  # IndexError: out of bounds", "does not raise"),
        ("x[5]  # ValueError", "not ValueError"),
        ("print(x)  # [0. 1. 2.]", None),
        ("print(x)  # [0. 1. 3.]", "printed"),
        ("x.sum()  # 3 is the sum", "no literal"),
        ("x.sum()  # the sum is 4", None),
        ("if True:\n    x.sum()  # 4.0", "claims|nothing checks"),
        ("for k in range(2):\n    x.sum()  # 3.0\nx", "nothing checks"),
        ("def f():\n    return 1  # 2 is wrong", None),
    ],
)
def test_claims_are_checked(text: str, complaint: str | None, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Text.\n\n```python\n{RUN}```\n\n```python\n{text}\n```\n", encoding="utf-8")
    first, second = python_blocks(page)
    script = Script([first, second], tmp_path, "page")
    script.run(first)
    if complaint is None:
        script.run(second)
    else:
        with pytest.raises(AssertionError, match=complaint):
            script.run(second)


def test_fences_are_known(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```python title="JAX"\nx = 1\n```\n\n```python\nx = 2\n```\n', encoding="utf-8")
    assert [(block.peer, block.line) for block in python_blocks(page)] == [("JAX", 2), (None, 6)]
    page.write_text("```python linenums=1\nx = 1\n```\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="fence"):
        python_blocks(page)
