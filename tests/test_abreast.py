"""Turns that read, compute and write anywhere, eight at a time: which loops, and the same numbers bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit

pytestmark = pytest.mark.usefixtures("always_threads")

TURNS = [0, 1, 7, 8, 9, 16, 23, 40]


def much(x: Any, y: Any) -> Any:
    """Arithmetic that costs more than going turn by turn."""
    for c in (0.25, 0.5, 0.125, 0.75, 0.375, 1.0):
        x, y = x * y + c, (y - 0.5 * x) / (x * x + 1.5)
        x = x * np.sqrt(y * y + 0.5) - y
    return x * y, x - y


def anywhere(x: Any, at: Any) -> Any:
    """Read and written where data says, negative positions too."""
    out = np.zeros((len(x), 2))
    for i in range(len(at)):
        u, v = much(x[at[i], 0], x[at[i], 1] + i)
        out[at[i], 0] = u
        out[i, 1] = v
    return out


def both_sides(x: Any, at: Any) -> Any:
    """Branches in branches that give floats, integers and truth values; a side that is not taken is not a number."""
    out, kinds, signs = np.zeros(len(x)), np.zeros(len(x), dtype=np.int64), np.zeros(len(x), dtype=np.bool_)
    for i in range(len(at)):
        a, b = x[at[i], 0], x[at[i], 1]
        if a > 0.25:
            u, v = much(a / (a - 0.25), b)
            kind = 1
            positive = u > v
        else:
            if b == 0.0:
                u, v = a, 1.0
            else:
                u, v = a / b, np.sqrt(b)
            kind = 2
            positive = False
        u, v = much(u + 1.0, v)
        out[i] = u + v
        kinds[i] = kind
        signs[i] = positive
    return out, kinds, signs


def one_after_the_other(x: Any, at: Any) -> Any:
    """Carried sums keep their order, the last turn first."""
    total, last = 0.5, 2
    out = np.zeros(len(x))
    for i in range(len(at) - 1, -1, -1):
        u, v = much(x[i, 0], x[i, 1])
        total = total * 0.75 + u
        out[at[i]] += total * v
        last = at[i] + 3 * last % 7
    return out, total, last


def rows(x: Any, at: Any) -> Any:
    """The rest has loops and branches of its own, and reads what was written."""
    out = np.zeros((len(at), x.shape[1]))
    for i in range(len(at)):
        k = at[i]
        u, v = much(x[k, 0] * i, x[k, 1])
        for j in range(x.shape[1]):
            out[i, j] = x[k, j] * u + out[i, 0]
        if v > 0.0:
            out[i, 0] += v
    return out


def raised(x: Any, at: Any) -> Any:
    """A check of numbers that were read."""
    out = np.zeros(len(x))
    for i in range(len(at)):
        if x[at[i], 0] > 1e6:
            raise ValueError("too far")
        u, v = much(x[at[i], 0], x[at[i], 1])
        out[i] = u - v
    return out


def raised_late(x: Any, at: Any) -> Any:
    """A check of what was computed, the only one."""
    total = 0.0
    for i in range(len(x)):
        u, v = much(x[i, 0], x[i, 1])
        if not u < 1e6:
            raise ValueError("too far")
        total = total * 0.5 + v
    return total


def written(x: Any, at: Any) -> Any:
    """Not abreast: a turn reads what the one before has written."""
    x = x.copy()
    for i in range(len(at)):
        u, v = much(x[at[i], 0], x[at[i], 1])
        x[i, 0] = u * 0.25 + v
    return x


def carried(x: Any, at: Any) -> Any:
    """Not abreast: each turn begins where the one before has ended."""
    u, v = 0.5, 0.25
    for i in range(len(at)):
        u, v = much(u * 0.25 + x[at[i], 0], v)
    return u + v


def checked_late(x: Any, at: Any) -> Any:
    """Not abreast: what fails first would be another turn's."""
    out = np.zeros(len(x))
    for i in range(len(at)):
        u, v = much(x[at[i], 0], x[at[i], 1])
        if u > 1e6:
            raise ValueError("too far")
        out[i] = u - v
    return out


def little(x: Any, at: Any) -> Any:
    """Not abreast: not worth it."""
    out = np.zeros(len(x))
    for i in range(len(at)):
        out[i] = x[at[i], 0] * x[at[i], 1]
    return out


ABREAST = [anywhere, both_sides, one_after_the_other, rows, raised, raised_late]
KEPT = [written, carried, checked_late, little]


def inputs(n: int, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    x = rng.uniform(-1.5, 1.5, (n, 2)).astype(dtype)
    x[::5, 1] = 0.0
    return x, rng.integers(-n, n, n) if n else np.zeros(0, dtype=np.int64)


def runs_abreast(function: Callable[..., Any]) -> bool:
    compiled = adjit.jit(function)
    compiled.compile(*inputs(3))
    return "lanes=true" in str(compiled.ir("scheduled"))


def same(found: Any, expected: Any) -> None:
    if isinstance(expected, tuple):
        for a, b in zip(found, expected, strict=True):
            same(a, b)
    else:
        assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("function", ABREAST)
def test_abreast(function: Any) -> None:
    assert runs_abreast(function)


@pytest.mark.parametrize("function", KEPT)
def test_not_abreast(function: Any) -> None:
    assert not runs_abreast(function)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*ABREAST, *KEPT])
def test_values(function: Any) -> None:
    compiled = adjit.jit(function)
    for n in TURNS:
        x, at = inputs(n)
        for given in ((x, at), (np.asfortranarray(x), at), (np.repeat(x, 2, axis=0)[::2], at[::-1])):
            with np.errstate(all="ignore"):
                same(compiled(*given), function(*given))


@pytest.mark.parametrize("function", [f for f in (*ABREAST, *KEPT) if f is not raised_late])
def test_what_is_no_number(function: Any) -> None:
    x, at = inputs(40)
    x[::3, 0], x[1::7, 1], x[2::7, 0], x[3::11] = np.nan, np.inf, -np.inf, -0.0
    if function is raised:
        x[x == np.inf] = 2.0
    if function is checked_late:
        x[np.isinf(x)] = 2.0
    with np.errstate(all="ignore"):
        same(adjit.jit(function)(x, at), function(x, at))


@pytest.mark.parametrize("function", ABREAST)
def test_single_precision(function: Any) -> None:
    x, at = inputs(19, np.float32)
    found, expected = adjit.jit(function)(x, at), function(x, at)
    for a, b in zip(*((y if isinstance(y, tuple) else (y,)) for y in (found, expected)), strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*ABREAST, *KEPT])
def test_derivatives(function: Any) -> None:
    def weighted(x: Any, at: Any) -> Any:
        out = function(x, at)
        first = out[0] if isinstance(out, tuple) else out
        return np.sum(first * first)

    x, at = inputs(11)
    x[:, 1] = np.abs(x[:, 1]) + 0.1
    check_program(weighted, [(x, at)], (0,), compile=True)


def by_functions(x: Any, at: Any) -> Any:
    """Functions of functions, of which some are on one side of a branch."""
    out = np.zeros((len(x), 2))
    for i in range(len(at)):
        a, b = x[at[i], 0], x[at[i], 1]
        s, c = np.sin(a), np.cos(b)
        e = np.exp(s * c - a)
        if a > 0.25:
            u, v = np.log(1.0 + e), np.arctan2(s, c)
        else:
            u, v = np.tanh(np.sin(e) + b), e ** (0.5 * s)
        out[i, 0] = u * s + v
        out[i, 1] = np.sqrt(1.0 + u * v * v * u) - c
    return out


def test_functions() -> None:
    """The same numbers wherever a turn is, in a block or left over."""
    assert runs_abreast(by_functions)
    compiled = adjit.jit(by_functions)
    for n in TURNS:
        x, at = inputs(n)
        found = compiled(x, at)
        assert np.allclose(found, by_functions(x, at), rtol=1e-13, atol=1e-15)
        for i in range(n):
            alone = compiled(x[at[i]][np.newaxis], np.zeros(1, dtype=np.int64))
            assert np.array_equal(found[i], alone[0])
    x, at = inputs(11)
    check_program(lambda x, at: np.sum(by_functions(x, at) ** 2), [(x, at)], (0,), compile=True)


@pytest.mark.parametrize("at", [0, 7, 8, 20, 23])
@pytest.mark.parametrize("what", [(24, IndexError), (-25, IndexError), (3, ValueError)])
def test_the_first_turn_that_fails(at: int, what: tuple[int, type[Exception]]) -> None:
    """Another turn of the block fails later, in another way."""
    x = inputs(24)[0]
    x[3, 0] = 1e7
    places = np.full(24, 5)
    places[at], error = what
    if at + 1 < 24:
        places[at + 1] = 3 if error is IndexError else 99
    compiled = adjit.jit(raised)
    for function in (compiled, raised):
        with pytest.raises(error):
            function(x, places)


@pytest.mark.parametrize("at", [0, 7, 8, 20, 23])
def test_a_turn_that_fails_late(at: int) -> None:
    x, places = inputs(24)
    compiled = adjit.jit(raised_late)
    same(compiled(x, places), raised_late(x, places))
    x[at, 1] = np.nan
    for function in (compiled, raised_late):
        with pytest.raises(ValueError, match="too far"):
            function(x, places)


def into(out: Any, x: Any, at: Any) -> Any:
    for i in range(len(at)):
        u, v = much(x[at[i], 0], x[at[i], 1])
        out[i] = u - v
    return out


@pytest.mark.parametrize("at", [0, 9, 23])
def test_memory_of_the_caller(at: int) -> None:
    """It is as Python leaves it, where a turn fails too."""
    x, places = inputs(24)
    places[at] = 24
    memory = [np.full(24, 7.0) for _ in range(2)]
    for function, out in zip((adjit.jit(into), into), memory, strict=True):
        with pytest.raises(IndexError):
            function(out, x, places)
    assert np.array_equal(*memory)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [*ABREAST, by_functions])
def test_threads(function: Any) -> None:
    rng = np.random.default_rng(0)
    x, at = rng.uniform(-1.5, 1.5, (20_003, 2)), rng.permutation(20_003)
    same(adjit.jit(function, parallel=True)(x, at), adjit.jit(function)(x, at))
