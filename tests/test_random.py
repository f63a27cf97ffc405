"""Random programs: that the generator's are worth checking, and that adjit gets them right.

`python tests/random_programs.py --count 2000 --compile 300` checks as many as wanted; here is a slice of that.
"""

import ast
import collections
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from differential import Difference, branches, cause, check_program, check_random
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_programs import ARGNUMS, RandomProgram, generate, load, problem, programs
from reduce_program import reduce_program

from adjit.api.arguments import flatten_call
from adjit.api.specialize import Specialization, Transform, specialize
from adjit.ir.core import Const, Op, Region, Value
from adjit.ir.errors import UnsupportedError
from adjit.ir.ops import REGISTRY
from adjit.tracer.values import ArrayObject, DictObject, Instance, ListObject

SEEDS = range(60)
COMPILED = range(60, 66)
FOUND = [1106, 1124, 2175, 2264, 2275, 2510, 2617, 3022]  # failed once
MANY = range(1000, 3000)
CHUNK = 50
COMPILED_PER_CHUNK = 8  # 320 of the 2,000
MOST_REFUSED = 0.04


def check(program: RandomProgram, compile: bool) -> None:
    """Right, or refused."""
    try:
        check_random(program, compile)
    except UnsupportedError as refused:
        pytest.skip(f"refused: {refused.message}")
    except Difference as found:
        raise AssertionError(f"{found}\n\n{program}") from found


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", SEEDS)
def test_seeded_program(seed: int) -> None:
    check(generate(seed), compile=False)


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", [*COMPILED, *FOUND])
def test_seeded_program_compiled(seed: int) -> None:
    check(generate(seed), compile=True)


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(programs())
def test_drawn_program(program: RandomProgram) -> None:
    try:
        check_random(program, compile=False)
    except UnsupportedError:
        pass


def test_few_programs_are_refused() -> None:
    """A tracer that refused everything would never be wrong."""
    refused: dict[str, list[int]] = collections.defaultdict(list)
    for seed in SEEDS:
        program = generate(seed)
        try:
            trace_only(program)
        except UnsupportedError as error:
            refused[error.message].append(seed)
    assert sum(map(len, refused.values())) <= MOST_REFUSED * len(SEEDS), dict(refused)


def trace_only(program: RandomProgram) -> None:
    from adjit.api.arguments import leaf_names
    from adjit.tracer import trace

    call = flatten_call(program.argument_sets[0], {})
    args, kwargs = call.abstract(leaf_names(call, program.function))
    trace(program.function, args, kwargs)


def stages(program: RandomProgram) -> Specialization:
    call = flatten_call(program.argument_sets[0], {})
    return specialize(program.function, Transform("value_and_grad", ARGNUMS, False, ()), call)


def texts(program: RandomProgram) -> list[str]:
    """A program at every stage."""
    made = stages(program)
    functions = [made.stages.traced, made.stages.optimized, made.forward, made.executable.scheduled]
    return [*map(str, functions), made.executable.source]


HASHED = (Value, Op, Region, ArrayObject, ListObject, DictObject, Instance)
"""What adjit keeps in sets that is hashed by where it happens to lie in memory."""


def with_salt(salt: int) -> Callable[[object], int]:
    return lambda x: hash((salt, id(x)))


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", SEEDS[::4])
def test_every_stage_is_reproducible(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same program gives the same text at every stage, or the cache on disk would miss. Hashes are shuffled, so
    that every iteration over a set of values or operations takes another order."""
    program = generate(seed)
    found = set()
    for salt in range(4):
        for kind in HASHED:
            monkeypatch.setattr(kind, "__hash__", with_salt(salt), raising=False)
        monkeypatch.setattr(Const, "__hash__", lambda x, salt=salt: hash((salt, x.key)))
        try:
            found.add(tuple(texts(program)))
        except UnsupportedError as refused:
            pytest.skip(f"refused: {refused.message}")
        finally:
            monkeypatch.undo()
    assert len(found) == 1, [k for k, parts in enumerate(zip(*found, strict=True)) if len(set(parts)) > 1]


@pytest.mark.slow
def test_another_process_has_the_same_text_and_does_not_compile(tmp_path: Path) -> None:
    """Whatever PYTHONHASHSEED is, by which the order of a set of strings changes."""
    script = (
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_random import generate, stages, texts\n"
        "from adjit.codegen import cache\n"
        "programs = [generate(seed) for seed in (1, 36, 53)]\n"
        "for p in programs:\n"
        "    print(cache.digest(*texts(p)))\n"
        "print(stages(programs[0]).executable.kernel.from_cache)\n"
    )
    printed = []
    for hash_seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "ADJIT_CACHE_DIR": str(tmp_path / "cache")}
        run = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        printed.append(run.stdout.split())
    assert printed[0][:-1] == printed[1][:-1] == printed[2][:-1]
    assert [p[-1] for p in printed] == ["False", "True", "True"]


@pytest.mark.sweep
@pytest.mark.parametrize("first", MANY[::CHUNK])
def test_many_programs(first: int) -> None:
    wrong: dict[str, list[int]] = collections.defaultdict(list)
    refused = 0
    for k, seed in enumerate(range(first, first + CHUNK)):
        try:
            check_random(generate(seed), compile=k < COMPILED_PER_CHUNK)
        except UnsupportedError:
            refused += 1
        except Difference as found:
            wrong[cause(found)].append(seed)
    assert not wrong
    assert refused <= 2 * MOST_REFUSED * CHUNK


# ---------------------------------------------------------------- the generator, in plain Python


def test_programs_are_distinct_and_reproducible() -> None:
    texts = [generate(seed).text for seed in range(200)]
    assert len(set(texts)) == len(texts)
    assert str(generate(17)) == str(generate(17))


def test_few_programs_are_thrown_away() -> None:
    from random_programs import Seeded, write

    why = [problem(write(Seeded(seed), seed)) for seed in range(300)]
    assert sum(map(bool, why)) <= 6
    assert set(why) <= {"", "grows", "runs long", "overflows"}


CONSTRUCTS = {
    "break": (ast.Break,),
    "continue": (ast.Continue,),
    "while": (ast.While,),
    "conditional expression": (ast.IfExp,),
    "augmented assignment": (ast.AugAssign,),
    "loop with else": (ast.For, ast.While),
    "early return": (ast.Return,),
    "transposed view": (ast.Attribute,),
    "helper": (ast.FunctionDef,),
    "swap": (ast.Tuple,),
}


@functools.cache
def trees() -> list[ast.AST]:
    return [ast.parse(generate(seed).text) for seed in range(200)]


def has(tree: ast.AST, construct: str) -> bool:
    for node in ast.walk(tree):
        if not isinstance(node, CONSTRUCTS[construct]):
            continue
        if construct == "loop with else" and not node.orelse:  # type: ignore[attr-defined]
            continue
        if construct == "early return" and node.col_offset < 8:  # type: ignore[attr-defined]
            continue
        if construct == "transposed view" and node.attr != "T":  # type: ignore[attr-defined]
            continue
        if construct == "helper" and node.name == "program":  # type: ignore[attr-defined]
            continue
        if construct == "swap" and not isinstance(node.ctx, ast.Store):  # type: ignore[attr-defined]
            continue
        return True
    return False


@pytest.mark.daily(1)
@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_constructs_occur(construct: str) -> None:
    found = sum(has(tree, construct) for tree in trees())
    assert found >= 10


def test_argument_sets_take_different_branches() -> None:
    different = 0
    for seed in range(100):
        program = generate(seed)
        paths = {branches(program.function, copied(args))[1] for args in program.argument_sets}
        different += len(paths) > 1
    assert different >= 70


def copied(args: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(np.array(x) if isinstance(x, np.ndarray) else x for x in args)


def test_complex_step_in_python_agrees_with_difference_quotients() -> None:
    """The reference itself: an error in one of the analytic twins would show."""
    compared = 0
    for seed in range(150):
        program = generate(seed)
        for x, a, b, n, idx in program.argument_sets:
            rng = np.random.default_rng(seed)
            dx, da, db = rng.standard_normal(), rng.standard_normal(a.shape), rng.standard_normal(b.shape)
            h = 1e-30j
            exact = np.imag(program.analytic(np.complex128(x + h * dx), a + h * da, b + h * db, n, idx.copy())) / 1e-30
            points = [
                branches(program.function, (x + t * dx, a + t * da, b + t * db, n, idx.copy()))
                for t in (1e-4, -1e-4, 5e-5, -5e-5)
            ]
            if len({path for _, path in points}) > 1:
                continue
            coarse, fine = (points[0][0] - points[1][0]) / 2e-4, (points[2][0] - points[3][0]) / 1e-4
            slope = (4 * fine - coarse) / 3
            if abs(coarse - fine) <= 1e-4 * (1 + abs(slope)):
                compared += 1
                assert slope == pytest.approx(exact, rel=2e-5, abs=2e-5), program
    assert compared >= 300


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_drawn_programs_run(data: st.DataObject) -> None:
    program = data.draw(programs())
    assert not problem(program)


# ---------------------------------------------------------------- the harness itself


def wrong_on_purpose(x: float) -> float:
    return x * x


def test_harness_notices_a_wrong_reference() -> None:
    """A check that could not fail would be none."""
    with pytest.raises(Difference, match="complex step"):
        check_program(wrong_on_purpose, [(1.5,)], (0,), analytic=lambda x: x * x * 1.001)


@pytest.mark.parametrize(
    ("changed", "stage"),
    [
        ({"partials": lambda x, *, y: (1 - y,)}, "adjoint"),
        ({"partials": lambda x, *, y: (0.0 * x,)}, "adjoint"),
        ({"evaluate": np.sin}, "value of traced IR"),
    ],
)
def test_harness_notices_a_wrong_declaration(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, object], stage: str
) -> None:
    monkeypatch.setitem(REGISTRY, "tanh", replace(REGISTRY["tanh"], **changed))  # type: ignore[arg-type]
    function = load("def program(a):\n    return np.sum(np.tanh(a) * a)\n")
    with pytest.raises(Difference, match=stage):
        check_program(function, [(np.array([0.3, -0.8]),)], (0,))


def test_reducer_keeps_the_failure() -> None:
    program = generate(3)
    small = reduce_program(program, lambda p: "clip" in p.text)
    assert "clip" in small.text
    assert len(small.text) < 0.4 * len(program.text)
    assert not problem(small)


def test_loaded_programs_show_their_source() -> None:
    import inspect

    text = generate(5).text
    assert "def program" in inspect.getsource(load(text))
