"""Options of the test suite. Kernels get memory full of NaNs: what reads it before writing it fails."""

import collections
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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test with the mark `daily`, all cases but the first ones are slow tests."""
    seen: collections.Counter[str] = collections.Counter()
    for item in items:
        mark = item.get_closest_marker("daily")
        if mark is not None:
            name = item.nodeid.partition("[")[0]
            seen[name] += 1
            if seen[name] > mark.args[0]:
                item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """What collecting has made stays until the end: the garbage collector need not look at it again and again. Nor at
    everything else as often as it would: tracing and the interpreter make very many objects."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 50, 100)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Nor at what a file's tests have left, which are kernels with all that they are made of: tests that ask the
    collector to look at everything would take a second and more, each."""
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.fixture
def always_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for threads are called with small arguments, too, where adjit would take the ones without."""
    from adjit.codegen.choosing import ChoosingExecutable

    monkeypatch.setattr(ChoosingExecutable, "pays", lambda self, arguments: True)
