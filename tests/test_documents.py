"""The README's Python runs as printed, and the files that documents link to exist."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from documents import Script, python_blocks

import adjit

ROOT = Path(adjit.__file__).resolve().parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_readme_runs_from_top_to_bottom(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = python_blocks(ROOT / "README.md")
    assert len(blocks) == 4
    script = Script(blocks, tmp_path, "readme")
    for block in blocks:
        script.run(block)
    names = script.names
    printed = capsys.readouterr().out
    assert "func @" in printed

    x = np.array([-1.2, 1.0, 0.8])
    value, gradient = names["f"](x)
    assert value == pytest.approx(names["rosenbrock"](x), rel=1e-14)
    # by hand: d/dx_i = 200 (x_i - x_{i-1}²) - 400 x_i (x_{i+1} - x_i²) - 2 (1 - x_i)
    expected = np.zeros(3)
    expected[:-1] += -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    expected[1:] += 200 * (x[1:] - x[:-1] ** 2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    np.testing.assert_allclose(names["y"], [-1.2, -0.1, 0.35], rtol=1e-14)
    np.testing.assert_allclose(names["x_adj"], [1.75, 0.75, 0.5], rtol=1e-14)
    np.testing.assert_array_equal(names["x"], x)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target


def test_what_the_makefile_runs_exists() -> None:
    assert sys.version_info >= (3, 11)
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for script in re.findall(r"\$\(BIN\)/python (\S+\.py)", targets):
        assert (ROOT / script).exists()
    for target in ("demo", "test", "test-fast", "check", "bench"):
        assert re.search(rf"^{target}:", targets, re.MULTILINE)
