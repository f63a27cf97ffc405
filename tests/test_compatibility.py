"""The compatibility page says of every name in the lists what measuring says, and the measuring can fail."""

import os
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

import adjit
from adjit import stop_gradient

SCRIPT = Path(adjit.__file__).resolve().parent / "docs" / "compatibility.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def rows(script):
    return script["rows"]()


@pytest.fixture
def interpreted(monkeypatch):
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")


def page():
    return SCRIPT.with_suffix(".md").read_text(encoding="utf-8")


def test_every_name_is_classified(script, rows):
    listed = {(script["LISTS"][n], name) for n, names in script["stored_names"]()["lists"].items() for name in names}
    assert listed == {(r.namespace, r.name) for r in rows} and len(listed) > 600
    for row in rows:
        assert bool(row.calls) != bool(row.reason), row


def test_the_page_has_every_row(rows):
    sections = re.split(r"^## ", page(), flags=re.MULTILINE)
    text = {section.splitlines()[0]: section for section in sections}
    for row in rows:
        if row.calls:
            assert f"\n| `{row.name}` | " in text[row.namespace], f"{row.full}: run python docs/compatibility.py"
        else:
            assert f"`{row.name}`" in text["Not measured"]
    assert "| WRONG |" not in page() and "| FAILED |" not in page()


def test_a_sample_is_as_the_page_says(script, rows, interpreted, monkeypatch):
    """Every twelfth function is measured again; its row is the page's."""
    monkeypatch.setattr(os, "environ", {**os.environ})  # `measured` turns compilation off for its process
    for row in script["measured"]([r for r in rows if r.calls][::12]):
        assert row.state not in ("WRONG", "FAILED"), row
        assert script["line"](row) in page(), f"{row.full}: run python docs/compatibility.py"


def test_what_is_wrong_is_noticed(script, interpreted):
    x = np.array([0.3, 0.8])
    measure = script["measure"]
    assert measure(lambda x: np.sin(x) * x, [x]) == ("gradient", "")
    assert measure(lambda x: x > 0.5, [x]) == ("value", "")
    assert measure(lambda x: stop_gradient(x) * x, [x])[0] == "WRONG"
    kind, text = measure(lambda x: np.array([v for v in x if v > 0.5]), [x])
    assert kind == "refused" and text
    assert measure(lambda k: eval("k + 1"), [np.arange(3)])[0] == "refused"  # without floats adjit runs it, too
    for value in (x[:1], x.astype(np.float32).sum(), [x], x + 1e-9, x > 0):
        assert script["differs"](value, x)
    assert not script["differs"]((x, (1, True)), (x.copy(), (np.int64(1), True)))
