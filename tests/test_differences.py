"""docs/differences.md: each row of its table is what Python and adjit do, and so are its sentences about arrays."""

from __future__ import annotations

import linecache
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjit import jit

PAGE = Path(__file__).parents[1] / "docs" / "differences.md"
ROW = re.compile(r"\| (.*?) ?\| `(lambda .*?)` \| `(.*?)` \| `?(.*?)`? \| `?(.*?)`? \|")


def rows() -> list[tuple[str, str, str, str]]:
    return [found.groups()[1:] for line in PAGE.read_text().splitlines() if (found := ROW.fullmatch(line))]


def outcome(function: Callable[..., Any], argument: Any) -> str:
    try:
        return repr(function(argument))
    except Exception as error:
        return type(error).__name__


def made(source: str) -> Any:
    """A function whose source can be found."""
    file = f"difference_{abs(hash(source))}.py"
    text = f"f = {source}\n"
    linecache.cache[file] = (len(text), None, [text], file)
    namespace: dict[str, Any] = {"np": np, "math": math}
    exec(compile(text, file, "exec"), namespace)
    return namespace["f"]


def test_every_row_is_read():
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "lambda" in line]
    assert len(rows()) == len(lines) >= 30


@pytest.mark.parametrize("source, argument, python, adjit", rows())
def test_the_page_says_what_happens(source, argument, python, adjit):
    function, value = made(source), eval(argument, {"np": np, "math": math})
    assert outcome(function, value) == python
    assert outcome(jit(function), value) == adjit


def test_factorials_in_loops_wrap_unless_they_are_floats():
    def series(x, f):
        s = 1.0
        for k in range(1, 23):
            f *= k
            s += x**k / f
        return s, f

    value, factorial = jit(series)(1.0, 1)
    assert factorial == (math.factorial(22) + 2**63) % 2**64 - 2**63 != math.factorial(22)
    value, factorial = jit(series)(1.0, 1.0)
    assert (value, factorial) == (pytest.approx(math.e, rel=1e-15), pytest.approx(math.factorial(22), rel=1e-15))


def test_returned_arrays_are_fresh():
    x = np.arange(4.0)
    same = jit(lambda x: x)(x)
    tail = jit(lambda x: x[1:])(x)
    assert not np.shares_memory(same, x) and not np.shares_memory(tail, x)
    assert list(same) == list(x) and list(tail) == list(x[1:])

    def twice(x):
        y = 2.0 * x
        return y, y, y[1:]

    first, second, third = jit(twice)(x)
    assert not any(np.shares_memory(a, b) for a, b in ((first, second), (first, third), (second, third)))


def test_what_was_written_before_an_exception_stays():
    def f(x):
        x[0] = 5.0
        assert x[1] > 3.0
        return x

    for function in (f, jit(f)):
        x = np.ones(2)
        with pytest.raises(AssertionError):
            function(x)
        assert list(x) == [5.0, 1.0]


def test_slices_that_were_written_before_an_exception_stay_written():
    def step(x, rows):
        for t in range(2):
            x[:2] *= 0.5
            x[1:] = rows[t] + x[1:]
            x[:2] = rows[t + 1, :2]

    for rows in (np.ones((2, 3)), np.ones((2, 2))):
        expected, x = np.ones(3), np.ones(3)
        with pytest.raises((IndexError, ValueError)):
            step(expected, rows)
        with pytest.raises((IndexError, ValueError)):
            jit(step)(x, rows)
        assert x.tolist() == expected.tolist()


def test_sums_differ_by_rounding_only_and_are_the_same_in_every_run():
    x = np.arange(1000) * 0.1
    total = jit(lambda x: np.sum(x))
    assert total(x) == pytest.approx(float(np.sum(x)), rel=1e-14)
    assert len({total(x.copy()) for _ in range(5)}) == 1


def test_no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(jit(lambda x: 1.0 / x)(np.zeros(2))) == [math.inf, math.inf]
