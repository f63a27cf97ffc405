"""Indexing with arrays of positions: placement of axes, writes, accumulation, positions outside, derivatives."""

import numpy as np
import pytest
import snippets
from differential import check_program

from adjit import grad, jit
from adjit.ir.errors import BoundsError

rng = np.random.default_rng(3)
x = rng.standard_normal(7)
M = rng.standard_normal((4, 5))
i3, j3, k3 = np.array([0, 2, 1]), np.array([1, -1, 0]), np.array([1, 2, 0])
repeated, values = np.array([0, 2, 2, 1, 0]), np.arange(5.0) + 0.5

# ---------------------------------------------------------------- any index NumPy takes


def random_index(rng, shape):
    """The text of an index of an array of this shape, and the arrays that it names."""
    items, arrays, axis = [], {}, 0
    common = tuple(int(n) for n in rng.integers(1, 4, rng.integers(1, 3)))

    def positions(n):
        own = tuple(1 if rng.random() < 0.2 else k for k in common[rng.integers(0, len(common)) :]) or (1,)
        name = f"i{len(arrays)}"
        arrays[name] = rng.integers(-n, n, own)
        return name

    while axis < len(shape) and rng.random() < 0.9:
        n = shape[axis]
        kind = rng.choice(["position", "slice", "array", "array", "list", "mask", "new", "rest"])
        if kind == "rest" and "..." not in items:
            axis += int(rng.integers(0, len(shape) - axis + 1))
            rest = [positions(n) if rng.random() < 0.5 else str(rng.integers(-n, n)) for n in shape[axis:]]
            return ", ".join([*items, "...", *rest]), arrays
        if kind == "new":
            items.append("None")
        elif kind == "mask" and not any(a.dtype == bool for a in arrays.values()):
            rank = 2 if axis + 2 <= len(shape) and rng.random() < 0.4 else 1
            items.append(f"i{len(arrays)}")
            arrays[items[-1]] = rng.random(shape[axis : axis + rank]) < 0.6
            axis += rank
        elif kind in ("position", "slice", "array", "list"):
            choices = {
                "position": str(rng.integers(-n, n)),
                "slice": rng.choice([":", "1:", "::-1", ":-1", "::2", "1:3"]),
                "list": str([int(k) for k in rng.integers(-n, n, common[-1])]),
            }
            items.append(positions(n) if kind == "array" else choices[kind])
            axis += 1
    return ", ".join(items) or ":", arrays


def valid_indices(count, start):
    """Indices that NumPy takes (arrays of positions that cannot be broadcast together are left out)."""
    seed = start
    while count:
        own = np.random.default_rng(seed)
        shape = tuple(int(n) for n in own.integers(2, 5, own.integers(1, 5)))
        index, arrays = random_index(own, shape)
        array = own.standard_normal(shape)
        seed += 1
        try:
            found = eval(f"array[{index}]", {"array": array, **arrays})
        except IndexError:
            continue
        count -= 1
        yield index, array, arrays, found


@pytest.mark.daily(1)
@pytest.mark.parametrize("start", [0, 1000, 2000, 3000])
def test_random_indices_read_and_written(start):
    for index, array, arrays, found in valid_indices(40, start):
        names = ["x", *arrays]
        read = snippets.function_of(f"x[{index}] * 1", names)
        snippets.agrees(read, array.copy(), *arrays.values())
        if np.ndim(found):
            for change in (f"x[{index}] = v", f"x[{index}] += v", f"x[{index}] = 7.0"):
                f = snippets.function_of(f"{change}\nreturn x", [*names, "v"])
                snippets.agrees(f, array.copy(), *arrays.values(), rng.standard_normal(found.shape))


@pytest.mark.slow
def test_random_indices_have_right_derivatives():
    for index, array, arrays, found in valid_indices(12, 5000):
        names = ["x", "v", *arrays]
        body = f"y = x * x\ny[{index}] = v * y[{index}]\nreturn np.sum(y * y * x) + np.sum(x[{index}] ** 3)"
        f = snippets.function_of(body, names)
        args = (array, np.asarray(rng.standard_normal(found.shape)), *arrays.values())
        check_program(f, [args], (0, 1) if found.ndim else (0,))


# ---------------------------------------------------------------- single cases

INDICES = [
    "a[b, c]",
    "a[[]]",
    "a[(0, 1), :]",
    "a[np.array(2)]",
    "a[b[0]]",
    "a[b - 4]",
    "a[b[b > 0]]",
    "a[np.array([], dtype=int)]",
    "a[b, ..., c]",
    "a[:, [0, 1], ...]",
    "a[b][:, c]",
    "a[-1, b]",
    "a[b + 4]",
    "a[b, c + 9]",
    "a[b, 4 * c]",
    "a[np.ix_(b, b)]",
    "a[np.ix_(b, a[0] > 0)]",
    "a[np.ix_([0, 1], [2, 2])] = 1\nreturn a",
    "a[b, c] = a[c, b]\nreturn a",
    "a[b][0] = 1\nreturn a",
    "d = a[b]\nd += 1\nreturn a, d",
    "d = a[np.array(1)]\nd += 1\nreturn a, d",
    "a[b[0]] += 3\nreturn a",
    "a[[1, 1]] += a[[0, 2]]\nreturn a",
]
POSITIONS = [
    "np.take(a, b)",
    "np.take(a, b, axis=1)",
    "np.take(a, 1, axis=0)",
    "d = np.take(a, 1, axis=0)\nd[0] = 9\nreturn a, d",
    "np.take(a, [[0, 1], [2, 3]])",
    "np.take(a, b + 3, axis=1, mode='wrap')",
    "np.take(a, b + 3, axis=1, mode='clip')",
    "np.take(a, b - 9, axis=1, mode='clip')",
    "np.take(a, -1)",
    "np.take(a, 7, axis=0)",
    "a.take(b, axis=0)",
    "np.take_along_axis(a, np.argsort(a, axis=1), axis=1)",
    "np.take_along_axis(a, np.argmax(a, axis=0, keepdims=True), axis=0)",
    "np.take_along_axis(a, b, axis=None)",
    "np.put_along_axis(a, np.argmax(a, axis=1, keepdims=True), 9.0, axis=1)\nreturn a",
    "np.put_along_axis(a, b, 5.0, axis=None)\nreturn a",
    "np.put(a, b * 4 + c, [1.0, 2.0])\nreturn a",
    "np.put(a, [25], 1)\nreturn a",
    "np.put(a, [25, -30], [1.0, 2.0], mode='wrap')\nreturn a",
    "np.put(a, [25, -30], [1.0, 2.0], mode='clip')\nreturn a",
    "np.put(a, 3, 9)\nreturn a",
    "a.put([0, 1, 2], [5.0, 6.0])\nreturn a",
    "np.fill_diagonal(a, 3.0)\nreturn a",
    "np.fill_diagonal(a, [1, 2.0])\nreturn a",
    "np.fill_diagonal(a.T, 3.0)\nreturn a",
    "np.fill_diagonal(a[:3, :3], a[0, :3])\nreturn a",
    "a[np.diag_indices(3)]",
    "a[np.diag_indices(3)] = 0\nreturn a",
    "np.diag_indices_from(a[:, :4])",
    "a[np.tril_indices(3)]",
    "a[np.triu_indices(3, 1)]",
    "a[np.triu_indices(4, 1, 5)]",
    "a[np.tril_indices_from(a, -1)]",
    "np.triu_indices_from(a)",
    "np.unravel_index(b * 3, (4, 5))",
    "np.unravel_index(np.argmax(a), a.shape)",
    "a[np.unravel_index(7, a.shape)]",
    "np.unravel_index(20, (4, 5))",
    "np.ravel_multi_index((b, b), (4, 5))",
    "np.ravel_multi_index((b, b), (2, 2), mode='wrap')",
    "np.ravel_multi_index((b, b), (2, 2), mode='clip')",
    "np.ravel_multi_index((b, b), (2, 2))",
]
REPEATED = [
    "a[b] += 1",
    "a[b] = c",
    "a[b] *= c",
    "np.add.at(a, b, 1.5)",
    "np.add.at(a, b, c)",
    "np.add.at(a, b + 1, c)",
    "np.add.at(a, b - 7, c)",
    "np.add.at(a, b + 7, c)",
    "np.subtract.at(a, b, c)",
    "np.add.at(a, 1, 2.0)",
    "np.multiply.at(a, 1, 2.0)",
    "np.add.at(a, slice(0, 3), c[:3])",
    "np.put(a, b, c)",
]
ROWS = [
    "np.add.at(a, (b, c), 1)",
    "np.add.at(a, (b, slice(None)), 1)",
    "np.add.at(a, b, np.arange(5.0))",
    "np.add.at(a, (slice(None), b), np.arange(12.0).reshape(4, 3))",
    "np.add.at(a, (b, [0]), 2.5)",
    "np.subtract.at(a, ([0, 0], [1, 1]), 1)",
]


@pytest.mark.parametrize("body", INDICES)
def test_indices(body):
    snippets.agrees(snippets.program(body, (M, i3, k3)), M.copy(), i3, k3)


@pytest.mark.parametrize("body", POSITIONS)
def test_functions_of_positions(body):
    snippets.agrees(snippets.program(body, (M, i3, j3)), M.copy(), i3, j3)


@pytest.mark.parametrize("body", REPEATED)
def test_repeated_positions(body):
    snippets.agrees(snippets.program(f"{body}\nreturn a", (x, repeated, values)), x.copy(), repeated, values)


@pytest.mark.parametrize("body", ROWS)
def test_accumulated_rows(body):
    snippets.agrees(snippets.program(f"{body}\nreturn a", (M, i3, k3)), M.copy(), i3, k3)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.int64])
def test_positions_of_any_integer_dtype(dtype):
    snippets.agrees(snippets.program("a[b, 1] + a[0, b]", (M, i3)), M.copy(), i3.astype(dtype))


# ---------------------------------------------------------------- derivatives


def gathered(a, i, j):
    b = a[i, j] * a[j, i]
    c = np.take_along_axis(a, np.argsort(a, axis=1), axis=1)
    return np.sum(b**2) + np.sum(c * a) + np.sum(np.take(a, i, axis=1) ** 2) + a[np.ix_(i, j)].sum()


def accumulated(a, v, i):
    b = a * a
    np.add.at(b, i, v)
    np.subtract.at(b, i[::-1], v * v)
    b[i] += v
    np.put(b, [1, 3], v)
    return np.sum(b * b)


def diagonals(a, v):
    b = a * 2
    np.fill_diagonal(b, v)
    b[np.tril_indices(4, -1)] *= 3.0
    np.put_along_axis(b, np.argmin(a, axis=1, keepdims=True), a[:, :1] ** 2, axis=1)
    return np.sum(b * b * a) + np.sum(a[np.diag_indices(4)] ** 3)


PROGRAMS = [
    (gathered, (M[:, :4].copy(), i3, k3), (0,)),
    (accumulated, (x, values, repeated), (0, 1)),
    (diagonals, (M[:, :4].copy(), values[:4]), (0, 1)),
]


@pytest.mark.parametrize("function, args, argnums", PROGRAMS, ids=[p[0].__name__ for p in PROGRAMS])
def test_derivatives(function, args, argnums):
    check_program(function, [args], argnums)


@pytest.mark.parametrize("function, args, argnums", PROGRAMS, ids=[p[0].__name__ for p in PROGRAMS])
def test_second_derivatives(function, args, argnums):
    snippets.second_order(function, args)


def test_compiled():
    check_program(accumulated, [(x, values, repeated)], (0, 1), compile=True)


def test_overwritten_elements_have_no_derivative():
    def f(a, i):
        y = np.sqrt(a)
        y[i] = a[i] * 2
        return np.sum(y)

    np.testing.assert_allclose(grad(f)(np.array([4.0, 0.0, 1.0]), np.array([1, 1])), [0.25, 2.0, 0.5], rtol=1e-14)


def test_positions_outside_name_their_line():
    def f(a, i):
        s = np.sum(a)
        return s + np.sum(a[i])

    compiled = jit(f)
    assert compiled(x, i3) == pytest.approx(np.sum(x) + np.sum(x[i3]))
    with pytest.raises(BoundsError, match="index 7 is out of bounds for axis 0 with size 7") as caught:
        compiled(x, i3 + 5)
    assert caught.value.span is not None and caught.value.span.line == f.__code__.co_firstlineno + 2
    with pytest.raises(BoundsError, match="index -8"):
        compiled(x, i3 - 8)
