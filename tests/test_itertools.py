"""Loops over `itertools`: of ranges and arrays whose length is known at run time, and of static items."""

import itertools
from itertools import product

import numpy as np
import pytest
from differential import check_program

from adjit import UnsupportedError, grad, jit

X = np.array([1.0, -2.0, 0.5, 3.0])
M = np.arange(12.0).reshape(4, 3) / 7.0
SIZES = [(X,), (X[:2].copy(),), (X[:1].copy(),), (X[:0].copy(),)]


def pairs_of_positions(x):
    s = 0.0
    for i, j in itertools.combinations(range(len(x)), 2):
        s += x[i] * x[j] ** 2 * (i + 1)
    return s + np.sum(x)


def positions(x):
    s = np.sum(x)
    n = len(x)
    for i, j, k in product(range(n), range(1, n), range(n - 1, -1, -1)):
        s += x[i] * x[j] * x[k] * (i + 2 * j)
    return s


def elements(x):
    s = np.sum(x)
    for a, b in itertools.combinations(x, 2):
        s += a * b**2
    for a, b in itertools.pairwise(x):
        s += a * b
    for a, b in product(x, x[:2]):
        s += a * b**3
    for a, b in product(x, repeat=2):
        if b > 2.0:
            continue
        s += a * b**3
    return s


def static_items(x):
    s = 0.0
    three = [x[0], x[1], x[2]]
    for a, b in itertools.combinations(three, 2):
        s += a * b**2
    for a, b, c in itertools.permutations(tuple(three)):
        s += a * b**2 * c**3
    for a in itertools.chain([x[0]], (x[1], x[2])):
        s += a**2
    for a in itertools.chain.from_iterable([three, three[:1]]):
        s += a**3
    for i in itertools.islice(range(10), 2, 4):
        s += x[i % 3] * i
    for a, b in itertools.combinations_with_replacement(three[:2], 2):
        s += a * b
    for (i, a), b in product(enumerate(three), (2.0, 3.0)):
        s += a**b * i
    for a, b in itertools.pairwise(three):
        s += a * b
    s += sum(a * b for a, b in product(three, repeat=2)) + len(list(product([1, 2], [3]))) * x[0]
    return s + np.sum(np.array([a * b for a, b in itertools.combinations(three, 2)])) + len([1 for _ in product()])


def items_are_taken_out_before(x):
    x = x.copy()
    for i, v in product(range(2), x):
        x[i] += v
    for a, b in itertools.pairwise(x):
        x[0] += a * b
    return np.sum(x**2)


def many(x):
    s = 0.0
    for i, j in product(range(100), range(100)):
        if j > i + 3:
            continue
        s += x[0] * 0.01 * j
        if s > 1.0:
            break
    for a, b in itertools.combinations(range(60), 2):
        s += x[1] * a * b * 1e-3
    return s


def rows(m):
    s = 0.0
    for a, b in itertools.combinations(m, 2):
        s += np.sqrt(np.sum((a - b) ** 2))
    for a, b in itertools.pairwise(m):
        s += a @ b
    for k, (a, i) in enumerate(product(m, range(2))):
        s += k * a.sum() * i
    return s


@pytest.mark.parametrize(
    ("function", "argument_sets"),
    [
        (pairs_of_positions, SIZES),
        (positions, SIZES),
        (elements, SIZES),
        (static_items, SIZES[:1]),
        (items_are_taken_out_before, SIZES[:1]),
        (many, SIZES[:1]),
        (rows, [(M,), (M[:1].copy(),)]),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_programs(function, argument_sets):
    check_program(function, argument_sets, compile=function is elements)


def numbered(n):
    out = np.zeros((n * (n - 1) // 2, 2), np.int64)
    count = 0
    for i, j in itertools.combinations(range(n), 2):
        out[count] = i, j
        count += 1
    return out


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 50, 2000])
def test_pairs_come_in_order(n):
    wanted = np.array(list(itertools.combinations(range(n), 2)), np.int64).reshape(-1, 2)
    np.testing.assert_array_equal(jit(numbered)(n), wanted)


@pytest.mark.parametrize(
    "items",
    [
        lambda x: product(range(len(x)), [0.5, 1.0]),
        lambda x: itertools.combinations(range(len(x)), 3),
        lambda x: itertools.chain(range(len(x)), range(3)),
        lambda x: itertools.permutations(x),
    ],
)
def test_what_has_no_one_loop_is_refused(items):
    def total(x):
        s = 0.0
        for item in items(x):
            s += x[0] * item[0]
        return s

    with pytest.raises(UnsupportedError, match="known only at run time"):
        grad(total)(X)
