"""Options of the test suite. Kernels get memory full of NaNs: what reads it before writing it fails."""

import gc
import os

import pytest

os.environ.setdefault("ADJIT_POISON_MEMORY", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-data",
        action="store_true",
        help="write the texts of golden cases whose meaning holds, instead of comparing them",
    )


def pytest_collection_finish() -> None:
    """What collecting has made stays until the end: the garbage collector need not look at it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def always_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for threads are called with small arguments, too, where adjit would take the ones without."""
    from adjit.codegen.choosing import ChoosingExecutable

    monkeypatch.setattr(ChoosingExecutable, "pays", lambda self, arguments: True)
