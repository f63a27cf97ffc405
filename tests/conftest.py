"""Options of the test suite. Kernels get memory full of NaNs: what reads it before writing it fails."""

import os

import pytest

os.environ.setdefault("ADJIT_POISON_MEMORY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-data",
        action="store_true",
        help="write the texts of golden cases whose meaning holds, instead of comparing them",
    )


@pytest.fixture
def always_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for threads are called with small arguments, too, where adjit would take the ones without."""
    from adjit.codegen.choosing import ChoosingExecutable

    monkeypatch.setattr(ChoosingExecutable, "pays", lambda self, arguments: True)
