"""A warm start: a later process uses what an earlier one traced, as long as nothing that the trace read has changed.

Most cases run in one process: a new `grad(f)` knows nothing of the one before, so that it looks into the cache as
another process would; `stats` counts what was traced and compiled.
"""

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adjit import grad, jit, value_and_grad, vjp
from adjit.api import warm
from adjit.api.arguments import flatten_call
from adjit.api.provenance import digest_of
from adjit.api.specialize import Transform, specialize
from adjit.codegen import build, cache, manifest
from adjit.codegen.build import stats
from adjit.ir.errors import ArgumentError
from programs import PROGRAMS, Program

MAIN = """
import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import warm_helper
from warm_helper import square

ORDER = 3
RATE = 0.5
WEIGHTS = np.array([1.0, 2.0, 3.0])
SETTINGS = {"power": 2, "names": ("a", "b")}


class Pair(NamedTuple):
    a: float
    b: float


@dataclass
class Point:
    x: float
    y: float = 2.0

    def length(self):
        return self.x * self.x + self.y


class Model:
    scale = 2

    def __init__(self):
        self.w = np.array([1.0, 2.0])
        self.depth = 2

    def loss(self, x):
        s = 0.0
        for _ in range(self.depth):
            s += np.sum(self.w * x) * self.scale
        return s * x


MODEL = Model()


def program(x):
    s = 0.0
    for _ in range(ORDER):
        s += square(x) * RATE
    return s + np.sum(WEIGHTS) * x


def deep(x):
    return warm_helper.cube(x) * SETTINGS["power"] + len(SETTINGS["names"]) * x


def picked(x, i):
    return x[i] * x[i]


def doubled(p):
    return Pair(p.a * p.b, p.a)


def of_point(x):
    return Point(x).length()


def own(x):
    return abs(x) * x


def made(k):
    def inner(x):
        return x * x * k

    return inner


closed = made(4)


def filled(a):
    a[0] = a[1] * 2.0
    return np.sum(a)
"""

HELPER = """
FACTOR = 5


def square(x, plus=1):
    return x * x + plus * x


def cube(x):
    return x * square(x) * FACTOR
"""


class Modules:
    """The two modules above, as files that a test may change before they are imported anew."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.texts = {"warm_helper": HELPER, "warm_main": MAIN}

    def change(self, module: str, old: str, new: str) -> None:
        assert self.texts[module].count(old) == 1
        self.texts[module] = self.texts[module].replace(old, new)

    def load(self) -> ModuleType:
        for name, text in self.texts.items():
            path = self.folder / f"{name}.py"
            path.write_text(text)
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            exec(compile(text, str(path), "exec"), module.__dict__)
        return sys.modules["warm_main"]


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Modules]:
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("ADJIT_DISABLE_JIT", raising=False)
    yield Modules(tmp_path)
    for name in ("warm_helper", "warm_main"):
        sys.modules.pop(name, None)


def traced(run: Callable[[], Any]) -> tuple[int, Any]:
    """How often something was traced, and what came out."""
    stats.reset()
    out = run()
    return stats.traces, out


def slope(function: Callable[..., Any], *args: Any) -> float:
    up, down = (function(args[0] + h, *args[1:]) for h in (1e-6, -1e-6))
    return float((up - down) / 2e-6)


# ---------------------------------------------------------------- the same


def test_nothing_is_traced_again(modules: Modules) -> None:
    program = modules.load().program
    assert traced(lambda: grad(program)(1.5))[0] == 1
    again = grad(modules.load().program)
    assert traced(lambda: again(1.5)) == (0, pytest.approx(slope(program, 1.5)))
    assert traced(lambda: again(2.5)) == (0, pytest.approx(slope(program, 2.5)))
    assert traced(lambda: again(np.float32(2.5)))[0] == 1  # other types are another trace


@pytest.mark.parametrize("name", ["deep", "of_point", "own", "closed"])
def test_what_is_read_in_other_places(modules: Modules, name: str) -> None:
    wanted = slope(getattr(modules.load(), name), 1.5)
    assert traced(lambda: grad(getattr(modules.load(), name))(1.5)) == (1, pytest.approx(wanted))
    assert traced(lambda: grad(getattr(modules.load(), name))(1.5)) == (0, pytest.approx(wanted))


def test_structures_come_back(modules: Modules) -> None:
    main = modules.load()
    cold = jit(main.doubled)(main.Pair(2.0, 3.0))
    main = modules.load()
    count, found = traced(lambda: jit(main.doubled)(main.Pair(2.0, 3.0)))
    assert (count, found) == (0, cold) and type(found) is main.Pair and found.a == 6.0


def test_methods_read_their_object_at_each_call(modules: Modules) -> None:
    main = modules.load()
    grad(main.MODEL.loss)(2.0)
    main = modules.load()
    again = grad(main.MODEL.loss)
    assert traced(lambda: again(2.0)) == (0, pytest.approx(slope(main.MODEL.loss, 2.0)))
    main.MODEL.w = np.array([5.0, 7.0])
    assert traced(lambda: again(2.0)) == (0, pytest.approx(slope(main.MODEL.loss, 2.0)))
    main.MODEL.depth = 3
    assert traced(lambda: again(2.0)) == (1, pytest.approx(slope(main.MODEL.loss, 2.0)))


def test_arrays_and_numbers_are_read_at_each_call(modules: Modules) -> None:
    grad(modules.load().program)(1.5)
    modules.change("warm_main", "[1.0, 2.0, 3.0]", "[4.0, 5.0, 6.0, 7.0]")
    modules.change("warm_main", "RATE = 0.5", "RATE = 2.5")
    main = modules.load()
    again = grad(main.program)
    assert traced(lambda: again(1.5)) == (0, pytest.approx(slope(main.program, 1.5)))
    main.RATE = 8.0
    main.WEIGHTS[0] = -3.0
    assert traced(lambda: again(1.5)) == (0, pytest.approx(slope(main.program, 1.5)))


def test_arguments_that_are_written_to(modules: Modules) -> None:
    jit(modules.load().filled)(np.arange(3.0))
    a = np.arange(3.0)
    assert traced(lambda: jit(modules.load().filled)(a))[0] == 0
    assert a[0] == 2.0
    a.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        jit(modules.load().filled)(a)


def test_pullbacks(modules: Modules) -> None:
    x = np.array([1.0, 2.0])
    wanted = vjp(modules.load().picked, x, 1)[1](1.0)[0]
    count, (value, pullback) = traced(lambda: vjp(modules.load().picked, x, 1))
    assert (count, value) == (0, 4.0)
    assert traced(lambda: pullback(1.0)[0].tolist()) == (0, wanted.tolist())


def test_errors_name_the_line(modules: Modules) -> None:
    x = np.array([1.0, 2.0])
    texts = []
    for _ in range(2):
        again = grad(modules.load().picked)
        again(x, 1)
        with pytest.raises(IndexError) as caught:
            again(x, 5)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]
    line = MAIN.split("\n").index("    return x[i] * x[i]") + 1
    assert f"warm_main.py:{line}" in texts[0]


def test_the_ir_is_there_when_asked_for(modules: Modules) -> None:
    cold = value_and_grad(modules.load().deep)
    wanted = cold(1.5)
    warm_ = value_and_grad(modules.load().deep)
    assert warm_(1.5) == wanted
    stats.reset()
    assert cold.source() == warm_.source()
    assert stats.traces == 0
    for stage in ("traced", "optimized", "adjoint", "scheduled"):
        assert cold.ir(stage) == warm_.ir(stage)
    assert cold.explain() == warm_.explain()
    assert stats.traces == 1
    assert "define" in warm_.llvm()


def test_machine_code_that_was_lost_is_made_again(modules: Modules, tmp_path: Path) -> None:
    build._kernels.clear()
    wanted = grad(modules.load().deep)(1.5)
    for file in (tmp_path / "cache" / "code").iterdir():
        file.unlink()
    build._kernels.clear()
    again = grad(modules.load().deep)
    assert traced(lambda: again(1.5)) == (1, wanted)
    assert stats.compiled == 1


# ---------------------------------------------------------------- not the same

CHANGES = {
    "the function": ("program", "warm_main", "s += square(x) * RATE", "s += square(x) * RATE * 2.0"),
    "a helper": ("program", "warm_helper", "x * x + plus * x", "x * x - plus * x"),
    "a helper of a helper": ("deep", "warm_helper", "x * x + plus * x", "x * x - plus * x"),
    "where a helper stands": ("program", "warm_helper", "FACTOR = 5", "FACTOR = 5\n"),
    "a static number": ("program", "warm_main", "ORDER = 3", "ORDER = 4"),
    "the type of a static number": ("program", "warm_main", "ORDER = 3", "ORDER = np.int32(3)"),
    "a number of a helper's module": ("deep", "warm_helper", "FACTOR = 5", "FACTOR = 6"),
    "an entry of a dict": ("deep", "warm_main", '"power": 2', '"power": 3'),
    "the length of a tuple": ("deep", "warm_main", '("a", "b")', '("a", "b", "c")'),
    "a default of a helper": ("program", "warm_helper", "plus=1", "plus=2"),
    "the type of an array": ("program", "warm_main", "[1.0, 2.0, 3.0]", "[[1.0, 2.0, 3.0]]"),
    "a number of NumPy's": ("program", "warm_main", "RATE = 0.5", "RATE = np.float64(0.5)"),
    "a builtin": ("own", "warm_main", "ORDER = 3", "def abs(x): return 3.0 * x"),
    "a closure": ("closed", "warm_main", "closed = made(4)", "closed = made(5)"),
    "a default of a dataclass": ("of_point", "warm_main", "y: float = 2.0", "y: float = 3.0"),
    "a method": ("of_point", "warm_main", "self.x * self.x + self.y", "self.x * self.x * self.y"),
    "a module": ("program", "warm_main", "from warm_helper import square", "def square(x): return 7.0 * x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_are_noticed(modules: Modules, change: str) -> None:
    name, module, old, new = CHANGES[change]
    grad(getattr(modules.load(), name))(1.5)
    assert traced(lambda: grad(getattr(modules.load(), name))(1.5))[0] == 0
    modules.change(module, old, new)
    function = getattr(modules.load(), name)
    assert traced(lambda: grad(function)(1.5)) == (1, pytest.approx(slope(function, 1.5), rel=1e-5))


def test_changes_of_a_class(modules: Modules) -> None:
    grad(modules.load().MODEL.loss)(1.5)
    modules.change("warm_main", "    scale = 2", "    scale = 3")
    loss = modules.load().MODEL.loss
    assert traced(lambda: grad(loss)(1.5)) == (1, pytest.approx(slope(loss, 1.5)))


def test_changes_after_a_warm_start_are_noticed(modules: Modules) -> None:
    grad(modules.load().program)(1.5)
    main = modules.load()
    again = grad(main.program)
    assert traced(lambda: again(1.5))[0] == 0
    main.ORDER = 7
    assert traced(lambda: again(1.5)) == (1, pytest.approx(slope(main.program, 1.5)))
    main.square = lambda x: 3.0 * x
    assert traced(lambda: again(1.5)) == (1, pytest.approx(slope(main.program, 1.5)))


def test_equal_names_in_two_modules_are_guarded_both(modules: Modules) -> None:
    modules.change("warm_helper", "FACTOR = 5", "ORDER = 3")
    modules.change("warm_helper", "* FACTOR", "* ORDER")
    modules.change("warm_main", 'SETTINGS["power"]', "ORDER")
    main = modules.load()
    again = grad(main.deep)
    again(1.5)
    main.warm_helper.ORDER = 4
    assert traced(lambda: again(1.5)) == (1, pytest.approx(slope(main.deep, 1.5)))


@pytest.mark.parametrize("what", ["versions", "adjit", "transform"])
def test_other_versions_and_transforms(modules: Modules, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    main = modules.load()
    grad(main.picked)(np.array([1.0, 2.0]), 1)
    if what == "versions":
        monkeypatch.setattr(build, "_environment", lambda: "another numba")
    elif what == "adjit":
        monkeypatch.setattr(manifest, "adjit_digest", lambda: "another adjit")
    make = value_and_grad if what == "transform" else grad
    assert traced(lambda: make(modules.load().picked)(np.array([1.0, 2.0]), 1))[0] == 1


def test_equal_text_in_two_folders_are_two_functions(modules: Modules, tmp_path: Path) -> None:
    grad(modules.load().program)(1.5)
    (tmp_path / "copy").mkdir()
    modules.folder = tmp_path / "copy"
    assert traced(lambda: grad(modules.load().program)(1.5))[0] == 1
    assert traced(lambda: grad(modules.load().program)(1.5))[0] == 0
    modules.change("warm_helper", "FACTOR = 5", "FACTOR = 5\n")
    assert traced(lambda: grad(modules.load().program)(1.5))[0] == 1


def test_damaged_and_foreign_entries_are_traced(modules: Modules, tmp_path: Path) -> None:
    wanted = grad(modules.load().program)(1.5)
    (entry,) = (tmp_path / "cache" / "trace").iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[:-5] + b"12345")
    assert traced(lambda: grad(modules.load().program)(1.5)) == (1, wanted)
    key = entry.stem
    assert manifest.store_manifest(key, b"no pickle")
    assert traced(lambda: grad(modules.load().program)(1.5)) == (1, wanted)
    assert traced(lambda: grad(modules.load().program)(1.5)) == (0, wanted)


# ---------------------------------------------------------------- what cannot be kept


def test_a_function_without_a_file_is_traced(modules: Modules) -> None:
    from random_programs import load

    function = load("def program(x):\n    return x * x\n")
    assert [traced(lambda: grad(function)(1.5)) for _ in range(2)] == [(1, 3.0)] * 2


def test_what_cannot_be_compared_is_traced(modules: Modules) -> None:
    modules.change("warm_main", "ORDER = 3", "ORDER = frozenset((1, 2, 3))")
    modules.change("warm_main", "range(ORDER)", "ORDER")
    function = modules.load().program
    assert [traced(lambda: grad(function)(1.5)) for _ in range(2)] == [(1, pytest.approx(slope(function, 1.5)))] * 2


def test_functions_as_arguments_are_traced(modules: Modules) -> None:
    modules.change("warm_main", "def picked(x, i):\n    return x[i] * x[i]", "def picked(x, i):\n    return i(x) * x")
    for _ in range(2):
        main = modules.load()
        count, found = traced(lambda main=main: grad(main.picked)(1.5, main.square))
        assert (count, found) == (1, pytest.approx(slope(main.picked, 1.5, main.square)))


def test_without_a_cache_every_process_traces(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_CACHE_DIR", "")
    assert [traced(lambda: grad(modules.load().closed)(1.5)) for _ in range(2)] == [(1, 12.0)] * 2


def test_digests_tell_values_apart() -> None:
    values = [
        1,
        True,
        1.0,
        0.0,
        -0.0,
        "1",
        b"1",
        None,
        (1,),
        [1],
        {"a": 1},
        np.int64(1),
        np.dtype("f4"),
        np.sin,
        len,
        np,
    ]
    values += [np.sum, dict, Transform, range(3), slice(1, 2), digest_of]
    digests = [digest_of(v) for v in values]
    assert None not in digests
    assert len(set(digests)) == len(values)
    assert digest_of(object()) is None and digest_of({1, 2}) is None and digest_of(np.ones(2)) is None


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_programs_are_kept(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole programs, without compiling: what is found says the same as what was kept."""
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(tmp_path))
    transform = Transform("value_and_grad", program.argnums, False, ())
    call = flatten_call(program.fresh(), {})
    made = specialize(program.function, transform, call)
    assert warm.find(program.function, transform, call) is None
    assert warm.keep(made, program.function, call)
    stats.reset()
    found = warm.find(program.function, transform, flatten_call(program.fresh(), {}))
    assert found is not None and found.is_valid() and stats.traces == 0
    assert found.executable.source == made.executable.source
    assert found.executable.rendered == made.executable.rendered
    for name in ("layouts", "wrt", "kept", "written", "results", "result_spec"):
        assert getattr(found, name) == getattr(made, name), name
    assert [a.type for a in found.forward.args] == [a.type for a in made.forward.args]
    assert [r.type for r in found.forward.results] == [r.type for r in made.forward.results]
    mine, theirs = found.captured(), made.captured()
    assert mine is not None and theirs is not None and len(mine) == len(theirs)
    assert all(a is b or a == b for a, b in zip(mine, theirs, strict=True))


# ---------------------------------------------------------------- processes

SCRIPT = """
    import json, sys
    sys.path.insert(0, {folder!r})
    import numpy as np
    from adjit import grad, vjp
    from adjit.codegen.build import stats
    import warm_main

    out = []
    def report(value):
        out.append([value, stats.traces, stats.compiled, stats.loaded_from_cache])
        stats.reset()

    report(grad(warm_main.program)(1.5))
    report(grad(warm_main.MODEL.loss)(1.5))
    y, pullback = vjp(warm_main.picked, np.array([1.0, 3.0]), 1)
    report(pullback(1.0)[0].tolist())
    print(json.dumps(out))
"""


def start(modules: Modules, hash_seed: int) -> subprocess.Popen[str]:
    script = textwrap.dedent(SCRIPT).format(folder=str(modules.folder))
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> list[Any]:
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return list(json.loads(out))


def test_another_process_neither_traces_nor_compiles(modules: Modules) -> None:
    modules.load()
    first, second = finish(start(modules, 1)), finish(start(modules, 2))
    assert [row[1:] for row in first] == [[1, 1, 0], [1, 1, 0], [1, 2, 0]]
    assert [row[1:] for row in second] == [[0, 0, 1], [0, 0, 1], [0, 0, 2]]
    assert [row[0] for row in first] == [row[0] for row in second]
    assert first[2][0] == [0.0, 6.0]
    modules.change("warm_main", "ORDER = 3", "ORDER = 4")
    modules.load()
    assert next(row[1] for row in finish(start(modules, 3))) == 1


@pytest.mark.slow
def test_several_processes_at_once(modules: Modules) -> None:
    modules.load()
    rows = [finish(p) for p in [start(modules, k) for k in range(4)]]
    assert len({json.dumps([row[0] for row in r]) for r in rows}) == 1
    assert [row[1:] for row in finish(start(modules, 9))] == [[0, 0, 1], [0, 0, 1], [0, 0, 2]]
    assert cache.info().entries["trace"] == 3


# ---------------------------------------------------------------- nothing here fails a call


ODD = """
import enum
import functools
import types

import numpy as np


class Model:
    w = 2.0

    @functools.cached_property
    def gain(self):
        return 3.0

    @property
    def twice(self):
        return self.w * 2.0

    @staticmethod
    def act(x):
        return np.sin(x)

    def loss(self, x):
        return self.w * x * x

    def remembered(self, x):
        return self.gain * x

    def derived(self, x):
        return self.twice * self.act(x)


class Asked:
    def __getattr__(self, name):
        if name.startswith("__"):
            raise RuntimeError("not to be looked at")
        return 4.0


class Strange:
    __hash__ = None

    def __init__(self):
        self.k = 5.0
        self.me = self

    def __eq__(self, other):
        raise RuntimeError("not to be compared")

    def __reduce_ex__(self, protocol):
        raise RuntimeError("not to be copied")


loss = Model().loss
config = types.SimpleNamespace(k=2.0)
asked, strange = Asked(), Strange()
partial = functools.partial(Model().derived)


def bound(x):
    return loss(x) + 1.0


def namespace(x):
    return config.k * x


def answers(x):
    return asked.k * x


def strangers(x):
    return strange.me.me.k * x


def partially(x):
    return partial(x)


remembered, derived = Model().remembered, Model().derived
"""


@pytest.mark.parametrize(
    "name", ["loss", "bound", "namespace", "answers", "strangers", "partially", "remembered", "derived"]
)
def test_what_cannot_be_described_is_only_not_kept(modules: Modules, name: str) -> None:
    modules.texts["warm_main"] = ODD
    for _ in range(2):
        main = modules.load()
        function = getattr(main, name)
        assert grad(function)(0.5) == pytest.approx(slope(function, 0.5))


def test_attributes_are_looked_up_after_a_warm_start(modules: Modules) -> None:
    modules.texts["warm_main"] = ODD
    grad(modules.load().derived)(0.5)
    main = modules.load()
    g = grad(main.derived)
    assert traced(lambda: g(0.5))[0] == 0
    owner = main.derived.__self__
    for name, value in (("w", 5.0), ("act", np.cos)):
        setattr(owner, name, value)
        for _ in range(2):
            assert g(0.5) == pytest.approx(slope(main.derived, 0.5))
    main.Model.twice = property(lambda self: 7.0)
    assert g(0.5) == pytest.approx(slope(main.derived, 0.5))


def test_a_description_that_fails_does_not_fail_the_call(modules: Modules, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError

    for name in ("key_of", "record_of", "sources_of"):
        with monkeypatch.context() as patch:
            patch.setattr(warm, name, fails)
            function = modules.load().closed
            assert grad(function)(1.5) == pytest.approx(slope(function, 1.5))


def test_modules_that_changed_make_other_keys(tmp_path):
    from adjit.api.warm import state_of

    (tmp_path / "ir" / "passes").mkdir(parents=True)
    module = tmp_path / "ir" / "passes" / "cse.py"
    seen = {state_of(tmp_path, ("api", "ir"))}
    for text in ("a = 1\n", "a = 12\n"):
        module.write_text(text)
        seen.add(state_of(tmp_path, ("api", "ir")))
    os.utime(module, (1, 1))
    seen.add(state_of(tmp_path, ("api", "ir")))
    (tmp_path / "ir" / "notes.txt").write_text("no module")
    seen.add(state_of(tmp_path, ("api", "ir")))
    assert len(seen) == 4
