"""Workspaces that are only touched at places known now: which ones become values, and the same numbers bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.api import grad, jacrev


def error(record: Any, w: Any) -> Any:
    if record[0] > 0.5:
        return record[1] * w * np.sin(record[4])
    return record[0] * record[3] - w * record[1]


def rows_of_gradients(records: Any, weights: Any) -> Any:
    """Part of each gradient, by a loop of a constant number of turns."""
    out = np.empty((len(records), 4))
    for i in range(len(records)):
        of_record, of_weight = grad(error, argnums=(0, 1))(records[i], weights[i])
        for j in range(3):
            out[i, j] = of_record[j]
        out[i, 3] = of_weight
    return out


def rows_in_a_loop_that_carries(records: Any, weights: Any) -> Any:
    """Two gradients at once, the last element first."""
    out, total = np.empty(len(records)), 0.0
    for i in range(len(records)):
        a, b = grad(error)(records[i], weights[i]), grad(error)(records[i - 1], 0.5)
        s = 0.25
        for j in range(4, -1, -1):
            s = s * a[j] + b[j] * j
        out[i] = s
        total = total * 0.5 + s
    out[0] += total
    return out


def counts(records: Any, weights: Any) -> Any:
    """Written by hand, read on one side of a branch, in the turn of a longer loop."""
    out = np.zeros(len(records))
    for i in range(len(records)):
        w = np.zeros(records.shape[1])
        w[1] = weights[i]
        w[0] += w[1] * records[i, 2]
        w[1] -= 0.75
        for j in range(i):
            if records[j, 0] > 0.5:
                out[i] += w[0] * w[1] + w[2]
    return out


def matrix(records: Any, weights: Any) -> Any:
    out = np.zeros((len(records), 4))
    for i in range(len(records)):
        w = np.zeros((records.shape[1], 2))
        for j in range(2):
            w[j, 1 - j] = records[i, j] + weights[i]
            w[2, j] -= w[j, 1 - j]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = w[0, 1], w[1, 0], w[2, 0], w[2, 1]
    return out


def written_in_a_branch(records: Any, weights: Any) -> Any:
    """What it holds depends on the side that was taken."""
    out = np.zeros(len(records))
    for i in range(len(records)):
        w = np.zeros(records.shape[1])
        w[1] = weights[i]
        if records[i, 0] > 0.5:
            w[1] = w[1] * records[i, 2]
            w[0] = 4.0
        out[i] = w[0] - w[1]
    return out


def place_of_data(records: Any, weights: Any) -> Any:
    """Stays: where it is written depends on the data."""
    out = np.zeros(len(records))
    for i in range(len(records)):
        w = np.zeros(records.shape[1])
        w[1] = 2.0
        w[int(abs(records[i, 0]))] += weights[i]
        out[i] = w[0] - w[1] * w[2]
    return out


def whole(records: Any, weights: Any) -> Any:
    """Stays: it is read as a whole."""
    out = np.zeros_like(records)
    for i in range(len(records)):
        w = np.zeros(records.shape[1])
        w[1] = weights[i]
        w[0] = w[1] * records[i, 0]
        out[i] = w
    return out


def left_over(records: Any, weights: Any) -> Any:
    """Stays: a turn reads what the one before has written."""
    out = np.zeros(len(records))
    w = np.zeros(records.shape[1])
    for i in range(len(records)):
        out[i] = w[1]
        w[1] = weights[i] + 0.5 * w[1]
    return out


def filled_on_one_side(records: Any, weights: Any) -> Any:
    """Stays: what it is filled with depends on the side that was taken."""
    out = np.zeros(len(records))
    for i in range(len(records)):
        w = np.ones(records.shape[1]) if records[i, 0] > 0.5 else np.zeros(records.shape[1])
        w[1] += weights[i]
        out[i] = w[0] - w[1]
    return out


VALUES = [rows_of_gradients, rows_in_a_loop_that_carries, counts, matrix, written_in_a_branch]
MEMORY = [place_of_data, whole, left_over, filled_on_one_side]
KEPT_PLAIN = [counts, matrix, written_in_a_branch, *MEMORY]


def inputs(n: int, dtype: Any = np.float64) -> tuple[Any, Any]:
    rng = np.random.default_rng(n)
    return rng.uniform(-0.9, 1.9, (n, 5)).astype(dtype), rng.uniform(-0.9, 0.9, n).astype(dtype)


def workspaces(function: Callable[..., Any]) -> int:
    """Buffers besides the result."""
    compiled = adjit.jit(function)
    compiled.compile(*inputs(4))
    return str(compiled.ir("scheduled")).count("buffer.alloc") - 1


@pytest.mark.parametrize("function", VALUES)
def test_no_workspace_is_left(function: Any) -> None:
    assert workspaces(function) == 0


@pytest.mark.parametrize("function", MEMORY)
def test_workspaces_that_stay(function: Any) -> None:
    assert workspaces(function) > 0


@pytest.mark.parametrize("function", KEPT_PLAIN)
@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
def test_values(function: Any, n: int) -> None:
    given = inputs(n)
    assert np.array_equal(adjit.jit(function)(*given), function(*given))


def gradient_by_hand(record: Any, w: Any) -> Any:
    out = np.zeros(5)
    if record[0] > 0.5:
        out[1], out[4] = w * np.sin(record[4]), record[1] * w * np.cos(record[4])
        return out, record[1] * np.sin(record[4])
    out[0], out[3], out[1] = record[3], record[0], -w
    return out, -record[1]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 33])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_in_rows(n: int, dtype: Any) -> None:
    records, weights = inputs(n, dtype)
    found = adjit.jit(rows_of_gradients)(records, weights)
    for i in range(n):
        gradient, by_weight = gradient_by_hand(records[i], weights[i])
        assert np.allclose(found[i], [*gradient[:3], by_weight], rtol=1e-5 if dtype is np.float32 else 1e-13)


def test_two_gradients_at_once() -> None:
    records, weights = inputs(7)
    total, expected = 0.0, []
    for i in range(7):
        a, b = gradient_by_hand(records[i], weights[i])[0], gradient_by_hand(records[i - 1], 0.5)[0]
        s = 0.25
        for j in range(4, -1, -1):
            s = s * a[j] + b[j] * j
        total = total * 0.5 + s
        expected.append(s)
    expected[0] += total
    assert np.allclose(adjit.jit(rows_in_a_loop_that_carries)(records, weights), expected, rtol=1e-12)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [*KEPT_PLAIN])
def test_derivatives(function: Any) -> None:
    def weighted(records: Any, weights: Any) -> Any:
        out = function(records, weights)
        return np.sum(out * out)

    check_program(weighted, [inputs(6)], (0, 1), compile=True)


@pytest.mark.parametrize("function", [rows_of_gradients, counts, matrix])
def test_records_that_are_too_short(function: Any) -> None:
    records, weights = inputs(4)
    with pytest.raises(IndexError):
        adjit.jit(function)(records[:, :1].copy(), weights)


def zeros_of_both_signs(x: Any) -> Any:
    out = np.zeros((len(x), 3))
    for i in range(len(x)):
        w = np.zeros(x.shape[1])
        w[0] += x[i, 0]
        w[1] = x[i, 1]
        out[i, 0], out[i, 1], out[i, 2] = 1.0 / w[0], 1.0 / w[1], 1.0 / w[2]
    return out


def test_zeros_of_both_signs() -> None:
    """0.0 + -0.0 is 0.0, and no shorter."""
    x = np.array([[-0.0, -0.0, 1.0], [np.nan, np.inf, 1.0], [0.0, 0.0, 1.0]])
    with np.errstate(divide="ignore"):
        assert np.array_equal(adjit.jit(zeros_of_both_signs)(x), zeros_of_both_signs(x), equal_nan=True)


def blocks(records: Any, weights: Any) -> Any:
    """Rows of a Jacobian, a nested derivative's derivative."""
    total = 0.0
    for i in range(len(records)):
        (by_record, by_weight) = jacrev(error, argnums=(0, 1))(records[i], weights[i])
        for j in range(5):
            total += by_record[j] * by_record[j] * (j + 1)
        total += by_weight * by_weight
    return total


def by_hand(records: Any, weights: Any) -> Any:
    total = 0.0
    for r, w in zip(records, weights, strict=True):
        if r[0] > 0.5:
            total += 2 * (w * np.sin(r[4])) ** 2 + 5 * (r[1] * w * np.cos(r[4])) ** 2 + (r[1] * np.sin(r[4])) ** 2
        else:
            total += r[3] ** 2 + 4 * r[0] ** 2 + 2 * w**2 + r[1] ** 2
    return total


def test_derivative_of_what_is_kept() -> None:
    records, weights = inputs(5)
    value, (of_records, of_weights) = adjit.value_and_grad(blocks, argnums=(0, 1))(records, weights)
    assert np.isclose(value, by_hand(records, weights), rtol=1e-13)
    h = 1e-6
    for array, gradient in ((records, of_records), (weights, of_weights)):
        for at in np.ndindex(array.shape):
            before = array[at]
            array[at] = before + h
            more = by_hand(records, weights)
            array[at] = before - h
            less = by_hand(records, weights)
            array[at] = before
            assert np.isclose(gradient[at], (more - less) / (2 * h), rtol=1e-6, atol=1e-7)
