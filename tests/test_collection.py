"""While a function is compiled, Python looks for garbage less often; before and after, as the process wants it."""

import gc
import threading
from pathlib import Path

import pytest

from adjit import grad, jit, vjp
from adjit.codegen import executable
from adjit.ir import collection


@pytest.fixture(autouse=True)
def thresholds():
    before, on = gc.get_threshold(), gc.isenabled()
    yield
    gc.set_threshold(*before)
    gc.enable() if on else gc.disable()


def test_what_the_process_wants_comes_back() -> None:
    gc.set_threshold(900, 7, 5)
    with collection.rarely():
        assert gc.get_threshold() == (collection.OBJECTS, 7, 5)
        with collection.rarely():
            assert gc.get_threshold()[0] == collection.OBJECTS
        assert gc.get_threshold()[0] == collection.OBJECTS
    assert gc.get_threshold() == (900, 7, 5)


@pytest.mark.parametrize("wanted", [0, 10_000_000])
def test_who_looks_less_often_already_does_so(wanted: int) -> None:
    gc.set_threshold(wanted, 10, 10)
    with collection.rarely():
        assert gc.get_threshold() == (wanted, 10, 10)
    assert gc.get_threshold() == (wanted, 10, 10)


def test_what_is_set_meanwhile_stays() -> None:
    gc.set_threshold(900, 7, 5)
    with collection.rarely():
        gc.set_threshold(1234, 5, 6)
    assert gc.get_threshold() == (1234, 5, 6)


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    grad(lambda x: x * x * 3.5)(2.0)
    assert not gc.isenabled()


def test_an_error_leaves_the_context() -> None:
    gc.set_threshold(900, 7, 5)
    with pytest.raises(KeyError), collection.rarely():
        raise KeyError
    assert gc.get_threshold() == (900, 7, 5)


def test_the_last_of_several_threads_puts_it_back() -> None:
    gc.set_threshold(900, 7, 5)
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with collection.rarely():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with collection.rarely():
        thread.start()
        inside.wait()
    assert gc.get_threshold()[0] == collection.OBJECTS
    leave.set()
    thread.join()
    assert gc.get_threshold() == (900, 7, 5)


def test_compiling_rarely_collects_and_calls_do_as_usual(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(tmp_path / "new"))  # else a second run finds kernels there
    seen = []

    def watched(x: float) -> float:
        return x * x + 0.25

    def looked(*args: object) -> object:
        seen.append(gc.get_threshold()[0])
        return schedule(*args)

    schedule = executable.schedule
    monkeypatch.setattr(executable, "schedule", looked)
    gc.set_threshold(700, 10, 10)
    for transform in (jit, grad):
        assert transform(watched)(1.5) == pytest.approx(2.5 if transform is jit else 3.0)
        assert gc.get_threshold() == (700, 10, 10)
    value, pullback = vjp(watched, 1.5)
    assert (value, pullback(1.0)[0]) == pytest.approx((2.5, 3.0))
    assert gc.get_threshold() == (700, 10, 10)
    assert set(seen) == {collection.OBJECTS}
