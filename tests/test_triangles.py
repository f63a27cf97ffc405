"""Triangles swept by rows: the same bits as before, where the order of sums is the user's; which loops stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program
from scheduled_nests import nest

import adjit
from adjit.api.arguments import flatten_call
from adjit.api.specialize import Transform, specialize
from adjit.codegen.lower import rectangles, schedule, triangles
from adjit.codegen.lower.cleanup import cleanup
from adjit.codegen.lower.jam import jam_rows
from adjit.codegen.scheduled import run
from adjit.ir.core import Function
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify


def lu(a: Any) -> Any:
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            a[i, j] = (a[i, j] - a[i, :j] @ a[:j, j]) / a[j, j]
        for j in range(i, n):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return np.sum(a * a)


def lu_in_order(a: Any) -> Any:
    """As `lu`, with sums whose order is the program's."""
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            s = 0.0
            for k in range(j):
                s += a[i, k] * a[k, j]
            a[i, j] = (a[i, j] - s) / a[j, j]
        for j in range(i, n):
            s = a[i, j]
            for k in range(i):
                s -= a[i, k] * a[k, j]
            a[i, j] = s
    return np.sum(a * a)


def wide(a: Any) -> Any:
    """More columns than rows: a matrix and right-hand sides."""
    n, m = a.shape
    for i in range(n):
        for j in range(min(i, m)):
            a[i, j] = (a[i, j] - a[i, :j] @ a[:j, j]) / a[j, j]
        for j in range(i, m):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return np.sum(a * a)


def crout(a: Any) -> Any:
    n = a.shape[0]
    for j in range(n):
        for i in range(j, n):
            a[i, j] -= a[i, :j] @ a[:j, j]
        for i in range(j + 1, n):
            a[j, i] = (a[j, i] - a[j, :j] @ a[:j, i]) / a[j, j]
    return np.sum(a * a)


def cholesky(a: Any) -> Any:
    """The upper factor, column by column."""
    n = a.shape[0]
    for i in range(n):
        for j in range(i):
            a[j, i] = (a[j, i] - a[:j, i] @ a[:j, j]) / a[j, j]
        a[i, i] = np.sqrt(a[i, i] - a[:i, i] @ a[:i, i])
    return np.sum(np.triu(a) * a)


def forwards(a: Any) -> Any:
    """Solves with the transposed upper triangle; the lower one is never read."""
    x = a[0].copy()
    for j in range(a.shape[0]):
        x[j] = (x[j] - a[:j, j] @ x[:j]) / a[j, j]
    return np.sum(x * x)


def backwards(a: Any) -> Any:
    """With the transposed lower triangle."""
    n = a.shape[0]
    x = a[:, 0].copy()
    for j in range(n - 1, -1, -1):
        x[j] = (x[j] - a[j + 1 :, j] @ x[j + 1 :]) / a[j, j]
    return np.sum(x * x)


def several(a: Any) -> Any:
    """A triangle and many right-hand sides, which are in the other one."""
    n = a.shape[0]
    x = a.copy()
    for i in range(n):
        for j in range(i, n):
            x[i, j] = (x[i, j] - a[i, :i] @ x[:i, j]) / a[i, i]
    return np.sum(x * x)


def by_columns(a: Any) -> Any:
    n = a.shape[0]
    x = a[0].copy()
    for j in range(n - 1, -1, -1):
        x[j] /= a[j, j]
        for k in range(j):
            x[k] -= x[j] * a[k, j]
    return np.sum(x * x)


PROGRAMS = [lu, lu_in_order, wide, crout, cholesky, forwards, backwards, several, by_columns]
SOLVERS = [forwards, backwards, by_columns]
SIZES = [0, 1, 2, 5, 15, 16, 17, 24, 33, 40]


def matrix(n: int, m: int | None = None, dtype: Any = np.float64) -> Any:
    rng = np.random.default_rng(n)
    a = rng.standard_normal((n, m or n)) / max(n, 1)
    a = (a + a.T) / 2 if m is None else a
    return (a + 3 * np.eye(n, m)).astype(dtype)


def along(program: Callable[[Any], Any], a: Any, direction: Any) -> float:
    """The derivative along a direction, by a complex step in plain Python."""
    return float(np.imag(program(a + 1e-30j * direction)) / 1e-30)


def adjoint_of(program: Callable[..., Any], *args: Any) -> Function:
    return specialize(program, Transform("grad", (0,), False, ()), flatten_call(args, {})).forward


def as_it_was(function: Function, monkeypatch: pytest.MonkeyPatch) -> Function:
    """A schedule without what is tested here."""
    with monkeypatch.context() as patch:
        patch.setattr(triangles, "DERIVATIVES", frozenset())
        return schedule(function)


def swept(function: Function) -> Function:
    """What becomes of a scheduled function, several rows at a time."""
    out = parse(to_text(function))
    left_over, independent = triangles.sweep_triangles(out)
    cleanup(out)
    verify(out)
    jam_rows(out, left_over, independent)
    cleanup(out)
    verify(out)
    return out


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few turns are cut in blocks, too."""
    monkeypatch.setattr(rectangles, "BLOCK", 4)
    for module in (rectangles, triangles):
        monkeypatch.setattr(module, "LEAST", 4)


@pytest.mark.daily(2)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_gradients(program: Callable[..., Any]) -> None:
    compiled = adjit.grad(program)
    for n in [*SIZES, 100]:
        if n == 0 and program in SOLVERS:
            continue  # there is no right-hand side
        a = matrix(n, n + 7 if program is wide else None)
        direction = np.random.default_rng(n + 1).standard_normal(a.shape)
        found = compiled(a)
        assert found.shape == a.shape
        np.testing.assert_allclose(np.sum(found * direction), along(program, a, direction), rtol=1e-10, atol=1e-12)


@pytest.mark.daily(2)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_all_stages(program: Callable[..., Any]) -> None:
    check_program(program, [(matrix(5),), (matrix(18),)], (0,), analytic=program, compile=program is lu)


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_same_numbers(program: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    function = adjoint_of(program, matrix(4))
    plain, new = as_it_was(function, monkeypatch), schedule(function)
    assert to_text(plain) != to_text(new)
    assert to_text(parse(to_text(new))) == to_text(new)
    for n in (1, 3, 16, 21):
        for x, y in zip(run(plain, [matrix(n)]), run(new, [matrix(n)]), strict=True):
            np.testing.assert_allclose(y, x, rtol=1e-11, atol=1e-13)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("start", range(0, 800, 100))
def test_random_nests_keep_every_bit(start: int) -> None:
    changed = 0
    for seed in range(start, start + 100):
        function = parse(nest(seed))
        function.attrs["layouts"] = ("C", "C", "C", "")
        cleanup(function)
        verify(function)
        new = swept(function)
        if to_text(new) == to_text(function):
            continue
        changed += 1
        for n in (1, 3, 9, 14):
            rng = np.random.default_rng(seed)
            given = [*rng.standard_normal((2, n + 3, n + 3)), rng.standard_normal(n + 3), n]
            expected = [np.array(v) for v in run(function, given)]
            for found, value in zip(run(new, given), expected, strict=True):
                np.testing.assert_array_equal(found, value, err_msg=f"{seed}, {n}")
    assert changed >= 5


@pytest.mark.daily(1)
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("start", range(0, 400, 200))
def test_random_sums_of_cotangents(start: int) -> None:
    reordered = 0
    for seed in range(start, start + 200):
        function = parse(nest(seed, cotangents=True))
        function.attrs["layouts"] = ("C", "C", "C", "")
        cleanup(function)
        new = swept(function)
        if to_text(new) == to_text(function):
            continue
        reordered += "add_any_order" in to_text(new)
        for n in (1, 3, 9, 14):
            rng = np.random.default_rng(seed)
            given = [*rng.standard_normal((2, n + 3, n + 3)), rng.standard_normal(n + 3), n]
            expected = [np.array(v) for v in run(function, given)]
            for found, value in zip(run(new, given), expected, strict=True):
                np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=f"{seed}, {n}")
    assert reordered >= 1


PUSHED = """func @f.vjp(%a: &f64[?,?], %d0: &f64[?,?], %n: i64) -> &f64[?,?] {{
  %m: i64 = buffer.dim %d0 {{axis=0}}
  %d: &f64[?,?] = buffer.alloc %m, %m {{dtype=f64}}
  for %p in (0, %m) {{
    for %q in (0, %m) {{
      %e: f64 = buffer.load %d0, %p, %q
      buffer.store %e, %d, %p, %q
      yield
    }}
    yield
  }}
  for %i in (0, {rows}) {{
    for %j in {order}({turns}) {{
      %j1: i64 = add %j, 1
      %c: f64 = buffer.load %d, {turn}
      {before}
      for %k in ({pairs}) {{
        %x: f64 = buffer.load %a, {read}
        %y: f64 = mul %c, %x
        %s: f64 = buffer.load %d, {sum}
        %t: f64 = add %s, %y
        buffer.store %t, %d, {sum}
        yield
      }}
      {after}
      yield
    }}
    yield
  }}
  return %d
}}"""
USUAL = {
    "rows": "%n",
    "order": "reverse",
    "turns": "0, %i",
    "turn": "%i, %j",
    "pairs": "0, %j",
    "read": "%k, %j",
    "sum": "%i, %k",
    "before": "",
    "after": "",
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({}, True),
        ({"pairs": "0, %j1"}, True),  # a pair adds to what its own turn has read
        ({"turns": "%i, %n", "pairs": "0, %i"}, True),
        ({"turns": "%i, %n", "pairs": "0, %i", "order": ""}, True),
        ({"turns": "0, %n", "pairs": "0, %i"}, False),  # turns read what pairs of others add to
        ({"turns": "0, %n", "turn": "%j, %j", "pairs": "0, %i", "sum": "%j, %k"}, False),  # sums along rows
        ({"order": ""}, False),  # later turns of the loop need what pairs before them have added
        ({"turn": "%j, %j"}, True),  # in rows above
        ({"turn": "%j, %j", "rows": "1"}, True),
        ({"order": "", "turn": "%j, %j"}, False),  # what pairs need is there too late
        ({"read": "%j, %k"}, False),  # along rows as it is
        ({"sum": "%k, %j"}, True),  # rows above
        ({"sum": "%k, %j1"}, True),  # the columns beside
        ({"sum": "%i, %j1"}, False),  # one element for all pairs of a turn, added to in another order
        ({"sum": "%k, %k"}, True),
        ({"sum": "%k, %k", "turn": "%j, %j", "order": ""}, False),
        ({"sum": "%i, 0"}, False),  # one element for all
        ({"before": "%b: f64 = buffer.load %d, %i, 0\n buffer.store %b, %d, %i, %j"}, False),
        ({"after": "%b: f64 = buffer.load %d, %i, 0\n buffer.store %b, %d, %i, %j"}, False),
        ({"after": "buffer.store %c, %d, %i, %j"}, True),
        ({"after": "buffer.store %c, %d, %j, %i"}, True),
        ({"after": "buffer.store %c, %d, %i, %j1"}, True),
    ],
)
def test_when(changes: dict[str, str], moved: bool) -> None:
    function = parse(PUSHED.format(**{**USUAL, **changes}))
    function.attrs["layouts"] = ("C", "C", "")
    cleanup(function)
    verify(function)
    new = swept(function)
    assert (to_text(new) != to_text(function)) is moved
    rng = np.random.default_rng(1)
    for n in (0, 1, 4, 9, 13):
        given = [*rng.standard_normal((2, n + 1, n + 1)), n]
        expected = [np.array(v) for v in run(function, given)]
        for found, value in zip(run(new, given), expected, strict=True):
            np.testing.assert_array_equal(found, value)


def test_what_is_not_read_may_be_anything() -> None:
    for program in SOLVERS:
        a = matrix(37)
        wanted = adjit.grad(program)(a)
        unread = np.triu_indices(37, 1) if program is backwards else np.tril_indices(37, -1)
        for value in (np.nan, np.inf):
            b = a.copy()
            b[unread] = value
            np.testing.assert_array_equal(adjit.grad(program)(b), wanted)


def test_zero_pivots(monkeypatch: pytest.MonkeyPatch) -> None:
    a = matrix(20)
    a[0, 0] = 0.0
    function = adjoint_of(lu_in_order, a)
    with np.errstate(all="ignore"):
        (wanted,) = run(as_it_was(function, monkeypatch), [a])
    assert not np.all(np.isfinite(wanted))
    np.testing.assert_allclose(adjit.grad(lu_in_order)(a), wanted, rtol=1e-11)


def test_single_precision() -> None:
    for program in (lu, forwards, several):
        found = adjit.grad(program)(matrix(60, dtype=np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, adjit.grad(program)(matrix(60)), rtol=2e-3, atol=2e-4)


def test_layouts() -> None:
    a = matrix(45) + np.triu(np.ones((45, 45))) / 100
    for program in (lu, several, by_columns):
        wanted = adjit.grad(program)(a)
        for given in (np.asfortranarray(a), np.ascontiguousarray(a.T).T, np.repeat(np.repeat(a, 2, 0), 2, 1)[::2, ::2]):
            np.testing.assert_allclose(adjit.grad(program)(given), wanted, rtol=1e-11, atol=1e-13)


def test_derivatives_of_derivatives() -> None:
    a = matrix(24)
    v = np.random.default_rng(5).standard_normal(a.shape)

    def slope(a: Any) -> Any:
        return np.sum(adjit.grad(lu)(a) * v)

    step = 1e-5
    near = (adjit.grad(lu)(a + step * v) - adjit.grad(lu)(a - step * v)) / (2 * step)
    np.testing.assert_allclose(adjit.grad(slope)(a), near, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("always_threads")
def test_threads() -> None:
    for program in (lu, several):
        found = adjit.grad(program, parallel=True)(matrix(50))
        np.testing.assert_allclose(found, adjit.grad(program)(matrix(50)), rtol=1e-11, atol=1e-13)


def test_a_check_fails_as_before() -> None:
    def solve(u: Any, b: Any) -> Any:
        x = b.copy()
        for j in range(b.shape[0]):
            s = 0.0
            for k in range(j):
                s += u[k, j] * x[k]
            x[j] = (x[j] - s) / u[j, j]
        return np.sum(x * x)

    u, b = matrix(30), np.ones(30)
    gradient = adjit.grad(solve, argnums=(0, 1))
    assert gradient(u, b)[0].shape == u.shape
    for given in ((u[:, :20], b), (u[:20], b), (u[:20, :20], b)):
        with pytest.raises(IndexError):
            solve(*given)
        with pytest.raises(IndexError):
            gradient(*given)
