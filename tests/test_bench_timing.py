"""How benchmarks measure: rounds, ratios, files, tables. On a clock of our own: no times are asserted."""

from __future__ import annotations

import gc
import json
import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from adjit.benchmarks import timing
from adjit.benchmarks.agreement import Mismatch, agree, distance, reason
from adjit.benchmarks.processors import Processors, Watched
from adjit.benchmarks.results import Row, Run, geometric_mean
from adjit.benchmarks.suite_scaling import exponent, judge
from adjit.benchmarks.suite_threads import shared
from adjit.benchmarks.table import NOTHING, Table, kilobytes, ranged, seconds
from adjit.benchmarks.tables import tables
from adjit.benchmarks.timing import Effort, Ratio, Side, Timing, interleaved, ratio


class Clock:
    """Time that passes only in calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.log: list[str] = []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def side(self, name: str, cost: float | Callable[[], float]) -> Side:
        def call() -> None:
            self.log.append(name)
            self.now += cost() if callable(cost) else cost

        return Side(name, "derivative", call, ())


def test_samples_last_long_enough_and_a_slow_side_is_called_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sides = [clock.side("fast", 1e-4), clock.side("slow", 2.0)]
    fast, slow = interleaved(sides, Effort(seconds=1.0, sample=0.005, least=3, most=20))
    assert slow.calls == 1 and slow.samples == pytest.approx([2.0] * 3)
    assert fast.calls * 1e-4 >= 0.005 and len(fast.samples) == 20
    assert fast.median == pytest.approx(1e-4) and fast.minimum == pytest.approx(1e-4)


def test_sides_that_are_about_as_fast_get_as_many_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    costs = {"slow": 0.02, "near": 0.011, "fast": 0.0065, "primal": 0.002}
    sides = [clock.side(name, cost) for name, cost in costs.items()]
    sides[-1] = replace(sides[-1], quantity="primal")
    found = interleaved(sides, Effort(0.0, 0.01, 2, 2))
    assert [timing.calls for timing in found] == [2, 2, 2, 6]


def test_sides_take_turns_and_each_round_starts_with_another(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    sides = [clock.side(name, 1.0) for name in "abc"]
    interleaved(sides, Effort(seconds=0.0, sample=0.005, least=4, most=9))
    assert "".join(clock.log) == "abc" + "abc" + "bca" + "cab" + "abc"  # the first are for calibration


def test_a_sample_begins_when_no_other_thread_works(monkeypatch: pytest.MonkeyPatch) -> None:
    others, events = [0.0], []

    def sleep(seconds: float) -> None:
        events.append("wait")
        others[0] += seconds if len(events) < 4 else 0.0

    monkeypatch.setattr(timing.time, "sleep", sleep)
    monkeypatch.setattr(timing.time, "thread_time", lambda: 1.0)
    monkeypatch.setattr(timing.time, "process_time", lambda: 1.0 + others[0])
    interleaved([Side("a", "primal", lambda: events.append("call"), ())], Effort(sample=1e-9, least=2, most=2))
    assert events == [*4 * ["wait"], "call", "wait", "call", "wait", "call"]


class Machine:
    """Processors that are there or not, as the clock says."""

    def __init__(self, clock: Clock, missing: Callable[[float], bool]) -> None:
        self.clock, self.missing = clock, missing
        self.asked: list[int] = []
        self.apart = 0.0

    def near(self, apart: float) -> bool:
        return apart <= 1.0

    def given(self, threads: int) -> bool:
        self.asked.append(threads)
        self.clock.now += 0.001
        return not self.missing(self.clock.now)


def watched(clock: Clock, missing: Callable[[float], bool]) -> Watched:
    return Watched(cast(Processors, Machine(clock, missing)), len, seconds=5.0)


def test_samples_wait_for_processors_and_count_if_they_were_there_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = watched(clock, lambda now: now % 1.0 < 0.5)
    side = clock.side("ab", lambda: 0.3 if 0.5 <= clock.now % 1.0 < 0.7 else 0.4)
    (found,) = interleaved([side], Effort(0.0, 0.1, least=6, most=6), watch)
    assert found.samples == pytest.approx([0.3] * 6)
    assert watch.repeated > 0 and watch.disturbed == 0
    assert set(cast(Machine, watch.processors).asked) == {2}


def test_in_the_end_samples_count_without_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = watched(clock, lambda now: True)
    (found,) = interleaved([clock.side("a", 0.1)], Effort(0.0, 0.1, 3, 3), watch)
    assert found.samples == pytest.approx([0.1] * 3)
    assert watch.disturbed == 3 and 5.0 <= watch.spent < 6.0 and watch.repeated == 8


def test_samples_are_outdated_when_processors_turn_out_to_be_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows that they are far apart before they are near each other."""
    clock = Clock(monkeypatch)
    for first, last, outdated in ((0.5, 0.5, False), (5.0, 0.5, True), (0.5, 5.0, True)):
        watch = watched(clock, lambda now: False)
        watch.processors.apart = first
        watch.before(clock.side("ab", 0.1))
        watch.processors.apart = last
        assert watch.counts(clock.side("ab", 0.1)) and watch.counted == 1
        assert watch.outdated() == outdated


def test_processors_are_looked_at_in_this_process_and_left_as_they_were() -> None:
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    count = threading.active_count()
    with Processors(2) as processors:
        assert {type(processors.given(threads)) for threads in (1, 2, 1, 2)} == {bool}
        assert 0.0 < processors.fastest < math.inf
        if processors.own:
            assert 0.0 < processors.exchanges(1) < math.inf
            assert 0.0 < Processors.nearest < math.inf
        processors.leave()
    assert threading.active_count() == count
    assert allowed is None or os.sched_getaffinity(0) == allowed
    assert {array.ctypes.data % 4096 for array in processors.arrays} == {0}


def test_sides_that_write_get_fresh_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    seen = []

    def call(x: Any) -> None:
        seen.append(x[0])
        x[0] += 1.0
        clock.now += 1e-3

    given = np.zeros(1)
    (found,) = interleaved([Side("a", "primal", call, (given,), writes=True)], Effort(0.0, least=2, most=2))
    assert given[0] == 0.0 and set(seen) == {0.0}
    assert found.calls >= 5 and found.samples == pytest.approx([1e-3, 1e-3])
    timing.first_call(Side("a", "primal", call, (given,), writes=True))
    assert given[0] == 0.0


def test_garbage_is_collected_before_and_not_during() -> None:
    during = []
    assert gc.isenabled()
    interleaved([Side("a", "primal", lambda: during.append(gc.isenabled()), ())], Effort(0.0, 0.0, 1, 1))
    assert gc.isenabled() and not any(during)
    with pytest.raises(ZeroDivisionError):
        interleaved([Side("a", "primal", lambda: 1 / 0, ())], Effort(0.0, 0.0, 1, 1))
    assert gc.isenabled()


def test_ratios_are_of_samples_of_the_same_round() -> None:
    found = ratio(Timing([2.0, 4.0, 9.0, 100.0]), Timing([1.0, 2.0, 3.0]))
    assert found == Ratio(2.0, (2.0, 2.5), 2.0)
    assert ratio(Timing([3.0]), Timing([2.0])) == Ratio(1.5, (1.5, 1.5), 1.5)
    assert Timing([4.0, 1.0, 2.0, 3.0]).quartiles == (1.75, 3.25)


def test_exponents_of_synthetic_times() -> None:
    sizes = [100, 200, 400, 800]
    assert exponent(sizes, [3e-9 * n**2.5 for n in sizes]) == pytest.approx(2.5)
    row = Row("scaling", "any", facts={"exponents": {"primal": 2.0, "derivative": 3.0}})
    row.facts["memory exponents"] = {"primal": 1.0, "derivative": 1.05}
    judge(row)
    assert row.notes == ["time grows faster: +1.00"]


@pytest.mark.parametrize("exponent_, more", [(2.0, ", but no faster than the primal's time"), (2.2, "")])
def test_a_tape_may_be_as_long_as_the_run(exponent_: float, more: str) -> None:
    row = Row("scaling", "any", facts={"exponents": {"primal": 2.0, "derivative": 2.0}})
    row.facts["memory exponents"] = {"primal": 1.0, "derivative": exponent_}
    judge(row)
    assert row.notes == [f"memory grows faster: +{exponent_ - 1.0:.2f}{more}"]


def test_geometric_mean() -> None:
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert geometric_mean([]) is None


def test_what_disagrees_is_found() -> None:
    right = (np.array([1.0, -200.0]), {"a": 3.0}, [np.zeros((0, 3))])
    assert agree(right, right, "both") == 0.0
    assert agree((np.array([1.0 + 1e-5, -200.0]), 3.0, np.zeros((0, 3))), right, "both") == pytest.approx(5e-8)
    for wrong in (
        (np.array([1.1, -200.0]), 3.0, np.zeros((0, 3))),
        (np.array([1.0, 200.0]), 3.0, np.zeros((0, 3))),
        (np.array([1.0, -200.0]), 0.0, np.zeros((0, 3))),
    ):
        with pytest.raises(Mismatch, match=r"^both disagree: \d.* apart$"):
            agree(wrong, right, "both")
    with pytest.raises(Mismatch, match=r"shapes \[\(2,\)\] and \[\(2, 1\)\]"):
        agree(np.zeros(2), np.zeros((2, 1)), "both")
    with pytest.raises(Mismatch, match="the first is not finite"):
        agree(np.array([np.nan]), np.zeros(1), "both")
    assert distance(np.array([np.inf]), np.array([1.0])) == math.inf
    assert distance(np.array([np.nan]), np.array([np.nan])) == math.inf

    class Foreign:
        """Another library's array."""

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.array([1.0, 2.0])

    assert distance([Foreign()], [np.array([1.0, 2.0])]) == 0.0


def test_errors_in_one_line() -> None:
    assert reason(ValueError("no\n --> /a/b/program.py:3\nhelp")) == "ValueError: no (program.py:3)"
    assert reason(Mismatch("both disagree")) == "both disagree"
    assert reason(KeyError()) == "KeyError: "


def example() -> Run:
    slow = Row("gradbench", "slow|one", failure="broken")
    fast = Row(
        "gradbench",
        "fast",
        timings={
            "adjit": {"primal": Timing([1e-3, 2e-3], 5), "derivative": Timing([3e-3, 4e-3], 2)},
            "numba": {"primal": Timing([2e-3, 4e-3], 5), "derivative": Timing([6e-3, 8e-3])},
            "jax": {"primal": Timing([5e-4, 5e-4]), "derivative": Timing([3e-2, 2e-2])},
        },
        first_calls={"adjit": 0.5, "jax": 1.0},
        memory={"adjit": 3 * 2**20, "jax": 5000},
        notes=["adjit: ff"],
    )
    run = Run([fast, slow], options={"peers": ("numba", "jax")})
    run.rows[0].facts["worst"] = math.inf
    return run


def test_files_hold_what_was_measured(tmp_path: Path) -> None:
    run = example()
    run.save(tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert set(data) == {"schema", "rows", "options", "machine", "versions", "date"}
    assert {"python", "numpy", "numba", "adjit"} <= set(data["versions"])
    row = data["rows"][0]
    timing_ = row["timings"]["adjit"]["derivative"]
    assert timing_.pop("quartiles") == pytest.approx([3.25e-3, 3.75e-3])
    assert timing_ == {"median": 3.5e-3, "minimum": 3e-3, "samples": [3e-3, 4e-3], "calls": 2}
    assert row["ratios"]["numba"]["derivative / adjit's"] == {"median": 2.0, "quartiles": [2.0, 2.0], "of_minima": 2.0}
    assert row["ratios"]["adjit"]["derivative / fastest primal"]["of_minima"] == 6.0
    assert row["facts"]["worst"] is None
    again = Run.load(tmp_path / "run.json")
    assert again.rows[0].timings == run.rows[0].timings and again.rows[1] == run.rows[1]
    assert [row.name for row in again.failed] == ["slow|one"]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "run.json").read_bytes()
    (tmp_path / "other.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ValueError, match="is no result"):
        Run.load(tmp_path / "other.json")


def test_prices_are_relative_to_the_fastest_primal() -> None:
    row = example().rows[0]
    assert row.primal() == ("jax", Timing([5e-4, 5e-4]))
    assert row.primal(["adjit", "numba"]) == ("adjit", Timing([1e-3, 2e-3], 5))
    price = row.price("numba", ["adjit", "numba"])
    assert price is not None and price.median == 5.0 and price.quartiles == (4.5, 5.5)
    assert row.price("torch") is None and row.ratio(("adjit", "derivative"), ("torch", "derivative")) is None
    assert Row("gradbench", "empty").price() is None


def test_numbers_as_text() -> None:
    assert [seconds(t) for t in (None, 2.5, 0.04567, 1.234e-5, 9.996e-6, 5e-8)] == [
        NOTHING, "2.50 s", "45.7 ms", "12.3 µs", "10.0 µs", "50.0 ns"
    ]  # fmt: skip
    assert ranged(Ratio(1.234, (1.1, 12.34), 1.0)) == "1.23 (1.10–12.3)"
    assert [kilobytes(size) for size in (None, 5000, 3 * 2**20)] == [NOTHING, "5 KiB", "3.00 MiB"]


def test_tables_show_the_sides_that_took_part(capsys: pytest.CaptureFixture[str]) -> None:
    times, resources, _ = tables(example())["gradbench"]
    lines = times.markdown().splitlines()
    assert "primal numba" in lines[0] and "torch" not in lines[0]
    assert "2.50 (2.25–2.75)" in lines[2] and "2.00 (2.00–2.00)" in lines[2]
    assert r"slow\|one" in lines[3] and "FAILED: broken" in lines[3]
    assert len({len(line) for line in lines[:4]}) == 1
    assert "numba / adjit: geometric mean 2.00, median 2.00, over 1 rows." in times.below
    assert "memory numba" not in resources.markdown() and "3.00 MiB" in resources.markdown()
    assert "First call, adjit / jax: geometric mean 0.50, median 0.50, over 1 rows." in resources.below
    times.show()
    assert "fast" in capsys.readouterr().out


def test_whether_other_threads_work_in_a_call() -> None:
    def by_another(size: int) -> None:
        thread = threading.Thread(target=sum, args=(range(size),))
        thread.start()
        thread.join()

    assert not shared(Side("adjit", "primal", lambda size: sum(range(size)), (200_000,)))
    assert shared(Side("adjit", "primal", by_another, (200_000,)))


def test_the_gain_of_threads_is_told_where_several_worked() -> None:
    row = Row("threads", "p", facts={"shared": ["derivative"]})
    for side, factor in (("adjit", 2.0), ("adjit, 2 threads", 1.0)):
        row.timings[side] = {quantity: Timing([factor]) for quantity in ("primal", "derivative")}
    (table,) = tables(Run([row]))["threads"]
    assert table.rows[0][3] == "2.00 (2.00–2.00), one thread" and table.rows[0][6] == "2.00 (2.00–2.00)"
    assert len(table.below) == 1 and table.below[0].startswith("derivative")


def test_a_table_without_rows() -> None:
    assert Table("none", ["program", "time"]).markdown() == "| program |\n| ------- |"
