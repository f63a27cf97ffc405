"""Python as a language under the tracer: captures and guards, functions of all kinds, objects, sources, aliasing."""

import dataclasses
import functools
import importlib.util
import linecache
import math
import sys
from typing import NamedTuple

import numpy as np
import pytest
import tracing

from adjit.ir import types
from adjit.ir.core import walk
from adjit.ir.errors import UnsupportedError
from adjit.tracer import Leaf, trace

SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])
COUNT = 3
FLAG = True
PAIR = (1.5, 2)
SETTINGS = {"rate": 0.5, "weights": np.array([1.0, -1.0]), "mode": "sum"}


def ops(traced):
    return [op.name for op in walk(traced.function.body)]


# ---------------------------------------------------------------- captures and guards


def test_floats_and_arrays_are_read_at_call_time(monkeypatch):
    def f(x):
        return x * SCALE + TABLE[1]

    traced, leaves = tracing.traced_of(f, (1.5,))
    assert [c.path for c in traced.captures] == ["SCALE", "TABLE"]
    assert [c.weak for c in traced.captures] == [True, False]
    assert tracing.run_traced(traced, leaves)[0] == f(1.5)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 5.0)
    monkeypatch.setattr(sys.modules[__name__], "TABLE", np.array([0.0, 7.0]))
    assert tracing.run_traced(traced, leaves)[0] == 14.5
    assert all(g.holds() for g in traced.guards)


def test_static_captures_are_guarded(monkeypatch):
    def f(x):
        return x * COUNT if FLAG else helper(x)

    traced, _ = tracing.traced_of(f, (1.5,))
    assert traced.captures == []
    assert {g.text for g in traced.guards} >= {"COUNT", "FLAG"}
    assert all(g.holds() for g in traced.guards)
    monkeypatch.setattr(sys.modules[__name__], "COUNT", 4)
    assert [g.text for g in traced.guards if not g.holds()] == ["COUNT"]


def helper(x):
    return x + 1.0


def test_a_changed_helper_is_noticed(monkeypatch):
    traced, _ = tracing.traced_of(lambda x: helper(x), (1.5,))
    assert all(g.holds() for g in traced.guards)
    monkeypatch.setattr(sys.modules[__name__], "helper", math.sin)
    assert not all(g.holds() for g in traced.guards)


def test_containers_are_captured_by_their_leaves():
    def f(x):
        first, second = PAIR
        return x * first**second + SETTINGS["rate"] * np.sum(SETTINGS["weights"] * x) * len(SETTINGS["mode"])

    traced = tracing.check(f, 1.5)
    assert [c.path for c in traced.captures] == ["PAIR[0]", "SETTINGS['rate']", "SETTINGS['weights']"]


def test_closures_see_later_rebinding():
    def f(x):
        scale = 2.0

        def g(v):
            return v * scale

        a = g(x)
        scale = 3.0
        return a + g(x)

    tracing.check(f, 1.5)


def test_closure_cells_of_the_caller():
    k, table = 2.5, np.array([1.0, 4.0])

    def f(x):
        return x * k + table[1]

    traced, leaves = tracing.traced_of(f, (1.5,))
    assert {c.path for c in traced.captures} == {"k", "table"}
    k = 10.0
    table = np.array([0.0, 1.0])
    assert tracing.run_traced(traced, leaves)[0] == 16.0


def test_captured_arrays_may_be_written():
    buffer = np.zeros(3)

    def f(x):
        buffer[0] = x
        return np.sum(buffer)

    traced, leaves = tracing.traced_of(f, (1.5,))
    assert traced.mutated == {1: 1}
    _, after = tracing.run_traced(traced, leaves)
    assert after[1][0] == 1.5


def test_one_array_by_two_names_is_one_array():
    a = np.zeros(3)
    b = a

    def f(x):
        a[0] = x
        return b[0] * 2

    traced, leaves = tracing.traced_of(f, (1.5,))
    assert len(traced.captures) == 1
    assert tracing.run_traced(traced, leaves)[0] == 3.0


def test_defaults_are_static_and_guarded():
    def f(x, h=0.5, n=2, table=TABLE):
        return x * h**n + table[0]

    traced = tracing.check(f, 1.5)
    assert [c.path for c in traced.captures] == ["a default of f"]
    assert all(g.holds() for g in traced.guards)
    f.__defaults__ = (0.25, 2, TABLE)
    assert not all(g.holds() for g in traced.guards)


# ---------------------------------------------------------------- functions of all kinds


class Model:
    bias = 0.25

    def __init__(self, rate, layers):
        self.rate = rate
        self.layers = layers

    @property
    def first(self):
        return self.layers[0]

    @staticmethod
    def square(v):
        return v * v

    @classmethod
    def shifted(cls, v):
        return v + cls.bias

    def __call__(self, x):
        return self.shifted(self.square(x)) * self.rate + np.sum(self.first * x)


class Deep(Model):
    def __call__(self, x):
        return 2.0 * super().__call__(x)


def test_methods_and_objects():
    model = Model(0.5, [np.array([1.0, 2.0]), np.array([3.0])])
    traced = tracing.check(lambda x: model(x) + model.square(x), 1.5)
    assert {c.path for c in traced.captures} == {"model.rate", "Model.bias", "model.layers[0]"}
    tracing.check(model.__call__, 1.5)
    tracing.check(Deep(0.5, [TABLE]).__call__, 1.5)


def test_objects_as_arguments():
    model = Model(0.5, [TABLE])
    traced = trace(lambda m, x: m(x), (model, Leaf(types.Scalar(types.F64), "x", True)), {})
    model.rate = 4.0
    values = [1.5, *(c.read() for c in traced.captures)]
    from adjit.ir.interp import run

    assert run(traced.function, values)[0] == model(1.5)


@dataclasses.dataclass
class Point:
    x: float
    y: float = 2.0

    def norm(self):
        return math.sqrt(self.x**2 + self.y**2)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)


class Pair(NamedTuple):
    a: float
    b: float

    def total(self):
        return self.a + self.b


def test_objects_made_inside():
    def f(u, v):
        p = Point(u) + Point(v, u)
        p.x = p.x * 2
        q = Pair(p.x, b=p.norm())
        r = q._replace(a=1.0)
        return p, q.total() + r.a, r

    tracing.check(f, 1.5, -0.5)


class Accumulator:
    def __init__(self, start):
        self.total = start
        self.count = 0

    def add(self, v):
        self.total = self.total + v
        self.count += 1
        return self


def test_objects_with_state_made_inside():
    def f(x, n):
        acc = Accumulator(0.0)
        for k in range(n):
            acc.add(x * k)
        if x > 1:
            acc.add(x)
        return acc.total * acc.count

    tracing.check(f, 1.5, 4, others=((0.5, 0), (2.0, 1)))


def test_partials_lambdas_and_star_calls():
    def weigh(a, b, *rest, scale=1.0, **more):
        return (a - b) * scale + sum(rest) + more.get("extra", 0.0)

    half = functools.partial(weigh, 2.0, scale=0.5)

    def f(x, y):
        args = (x, y, 3.0)
        return half(x) + weigh(*args, extra=y) + (lambda a, *, b=y: a * b)(x) + half(x, y, scale=y)

    traced = tracing.check(f, 1.5, -0.5)
    assert any("partial" in c.path for c in traced.captures)


def test_static_recursion():
    def power(x, n):
        return 1.0 if n == 0 else x * power(x, n - 1)

    tracing.check(lambda x: power(x, 5), 1.5)


def test_numba_dispatchers_are_traced_through():
    numba = pytest.importorskip("numba")

    @numba.njit
    def inner(x):
        s = 0.0
        for k in range(3):
            s += x * k
        return s

    tracing.check(lambda x: inner(x) * 2, 1.5)


def test_bindings_by_marker():
    def detach(x):
        raise AssertionError("never called")

    detach.__adjit_binding__ = "stop_gradient"
    traced, _ = tracing.traced_of(lambda x: detach(x * x) * x, (1.5,))
    assert "stop_gradient" in ops(traced)
    traced, _ = tracing.traced_of(lambda x: detach({"a": x, "b": (x, 1)})["b"][0], (np.ones(3),))
    assert "stop_gradient" in ops(traced)


def test_two_lambdas_on_one_line():
    f, g = (lambda x: x + 1.0), (lambda x: x * 3.0)
    tracing.check(f, 1.5)
    tracing.check(g, 1.5)
    assert "mul" in ops(tracing.traced_of(g, (1.5,))[0])


def test_functions_of_a_prompt():
    source = "def f(x):\n    return x * 2 + offset\n"
    name = "<ipython-input-1-abc>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    namespace = {"offset": 1.0}
    exec(compile(source, name, "exec"), namespace)
    traced = tracing.check(namespace["f"], 1.5)
    assert next(op.span for op in walk(traced.function.body) if op.span).file == name


def test_functions_without_source_are_refused():
    namespace: dict = {}
    exec("def f(x):\n    return x * 2\n", namespace)
    with pytest.raises(UnsupportedError, match="cannot be found"):
        tracing.traced_of(namespace["f"], (1.5,))


def test_edited_files(tmp_path):
    path = tmp_path / "edited.py"
    path.write_text("def f(x):\n    return x * 2\n")
    spec = importlib.util.spec_from_file_location("edited", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tracing.check(module.f, 1.5)
    path.write_text("# a comment moves it\n\ndef f(x):\n    return x * 2\n")
    tracing.check(module.f, 1.5)  # moved, not changed
    path.write_text("def f(x):\n    return x * 3\n")
    with pytest.raises(UnsupportedError, match="changed after it was imported"):
        tracing.traced_of(module.f, (1.5,))


def test_errors_inside_helpers_name_the_helpers_line():
    def inner(a):
        return np.roots(a)

    with pytest.raises(UnsupportedError) as caught:
        tracing.traced_of(lambda a: np.sum(inner(a)), (np.ones(3),))
    assert "return np.roots(a)" in str(caught.value)


# ---------------------------------------------------------------- run-time checks


def test_assert_and_raise_with_details():
    def f(x, n):
        assert x > 0, f"x is {x}"
        if n > 3:
            raise ValueError(f"{n} is too many")
        return x * n

    traced, _ = tracing.traced_of(f, (1.5, 2))
    assert tracing.run_traced(traced, [1.5, 2])[0] == 3.0
    with pytest.raises(AssertionError, match=r"x is -1\.0"):
        tracing.run_traced(traced, [-1.0, 2])
    with pytest.raises(ValueError, match="4 is too many"):
        tracing.run_traced(traced, [1.5, 4])
    assert "if" not in ops(traced)


def test_checks_are_guarded_by_their_path():
    def f(a, k):
        if k < len(a):
            return a[k]
        elif k > 10:
            raise IndexError("far away")
        return -1.0

    tracing.check(f, np.arange(3.0), 1, others=((np.arange(3.0), 7), (np.arange(3.0), 11), (np.arange(3.0), -3)))


def test_maybe_undefined_is_pythons_error():
    def f(n):
        for k in range(n):
            last = k * 0.5
        return last

    tracing.check(f, 3, others=((0,), (1,)))


# ---------------------------------------------------------------- loops over everything


@pytest.mark.parametrize("step", [1, 2, -1, -3])
def test_ranges_of_every_step(step):
    def f(x, lo, hi):
        s, last = 0.0, -1
        for k in range(lo, hi, step):
            s = s * 0.5 + x * k
            last = k
        return s, last

    bounds = [(1.5, lo, hi) for lo in (-3, 0, 4) for hi in (-4, 0, 3, 5)]
    tracing.check(f, *bounds[0], others=bounds[1:])


def test_slices_of_every_kind():
    def f(a, lo, hi):
        return a[lo:hi], a[lo:], a[:hi], a[hi:lo:-1], a[lo:hi:2], a[lo::-2], a[:hi:-1], a[::3], a[-2:], a[:-2]

    bounds = [(np.arange(5.0), lo, hi) for lo in (-7, -3, 0, 2, 9) for hi in (-7, -1, 0, 3, 9)]
    tracing.check(f, *bounds[0], others=[*bounds[1:], (np.arange(0.0), 0, 1)])


def test_static_loops_unroll_where_they_have_to():
    def f(x):
        coefficients = (1.0, -2.0, 0.5)
        total, powers = 0.0, []
        for k in range(3):
            total += coefficients[k] * x**k
            powers.append(x**k)
        n = 3
        while n:
            n -= 1
            total += coefficients[n] * len(powers)
        return total, powers

    traced = tracing.check(f, 1.5)
    assert "for" not in ops(traced)


def test_loops_that_can_be_staged_are():
    def f(x):
        total = 0.0
        for k in range(3):
            total += x * k
        return total

    traced = tracing.check(f, 1.5)
    assert "for" in ops(traced)


def test_generators_in_sums():
    def f(a, n):
        s = sum(a[k] * k for k in range(n) if a[k] > 0.2)
        return s + sum(v * v for v in a) + sum(a) + sum(p * q for p, q in zip(a, a[2:]))

    tracing.check(f, np.linspace(0, 1, 5), 4, others=((np.linspace(0, 1, 7), 0),))


def test_zip_of_static_and_arrays():
    def f(a):
        s = 0.0
        for k, v in zip((1.0, 10.0, 100.0), a):
            if v > 3:
                break
            s += k * v
        return s

    tracing.check(
        f, np.array([1.0, 2.0]), others=((np.arange(1.0, 9.0),), (np.zeros(0),), (np.array([1.0, 5.0, 1.0]),))
    )


def test_types_join_at_merges():
    def f(x, p, n, s):
        a = 0
        b = 1
        c = 0.5
        if p:
            a = x
            b = s
            c = n
        return a, b, c, (1 if p else 2.5), (n if p else True)

    traced, _ = tracing.traced_of(f, (1.5, True, 2, np.float32(0.5)))
    found, _ = tracing.run_traced(traced, [1.5, True, 2, np.float32(0.5)])
    assert found == (1.5, 0.5, 2.0, 1.0, 2)
    found, _ = tracing.run_traced(traced, [1.5, False, 2, np.float32(0.5)])
    assert found == (0.0, 1.0, 0.5, 2.5, 1)
    assert found[1].dtype == np.float32


# ---------------------------------------------------------------- aliasing


def test_choice_among_views():
    def f(A, b, p):
        c = A[1] if p > 0 else b[::-1]
        c[0] = 7.0
        A[1, 1] = 3.0
        b[1] *= 2.0
        return c[1] * 10 + np.sum(A) + np.sum(b) + c[2]

    A, b = np.arange(9.0).reshape(3, 3), np.arange(3.0) + 20
    tracing.check(f, A, b, 1, others=((A, b, -1),))


def test_swap_under_a_condition():
    def f(a, b, n):
        for k in range(n):
            a[0] += 1.0
            if k % 3 == 0:
                a, b = b, a
            b[1] -= 0.5 * a[0]
        a[2] = 9.0
        return a, np.sum(b)

    a, b = np.arange(3.0), np.arange(3.0) + 10
    tracing.check(f, a, b, 5, others=((a, b, 0), (a, b, 1), (a, b, 4)))


def test_names_of_permuted_arrays_in_the_loop():
    def f(a, b, n):
        first = a
        for _ in range(n):
            a[0] += first[1] + 1.0
            a, b = b, a
        first[2] = -1.0
        return a[2] + b[0] * 2 + first[0]

    a, b = np.arange(3.0), np.arange(3.0) + 10
    tracing.check(f, a, b, 3, others=((a, b, 0), (a, b, 2)))


def test_rebinding_in_a_loop_then_writing():
    def f(y, n):
        for _ in range(n):
            y[0] += 1.0
            y = y * 2.0
        y[1] = 5.0
        return np.sum(y)

    tracing.check(f, np.arange(3.0), 3, others=((np.arange(3.0), 0), (np.arange(3.0), 1)))


def test_state_in_tuples_and_dicts():
    def f(q, p, n):
        state = (q, {"p": p, "t": 0.0})
        for _ in range(n):
            q, rest = state
            state = (q + 0.1 * rest["p"], {"p": rest["p"] - 0.1 * q, "t": rest["t"] + 0.1})
        return state[0] @ state[1]["p"] + state[1]["t"]

    tracing.check(f, np.ones(2), np.arange(2.0), 3, others=((np.ones(2), np.ones(2), 0),))

    def g(q, p, n):
        state = (q, (p, 0.0))
        for _ in range(n):
            q, (p, t) = state
            state = (q + 0.1 * p, (p - 0.1 * q, t + 0.1))
        return state[0] @ state[1][0] + state[1][1]

    tracing.check(g, np.ones(2), np.arange(2.0), 3, others=((np.ones(2), np.ones(2), 0),))


def test_dict_entries_change_in_a_loop():
    def f(x, n):
        state = {"x": x, "count": 0}
        values = [0.0, x]
        for k in range(n):
            state["x"] = state["x"] * 0.5 + k
            state["count"] += 1
            values[0], values[1] = values[1], values[0] + state["x"]
        return state["x"] * state["count"] + values[0]

    tracing.check(f, 1.5, 4, others=((1.5, 0),))


def test_objects_rebuilt_in_a_loop():
    def f(x, n):
        state = Point(x, 1.0)
        best = [x, 0]
        for k in range(n):
            state = Point(state.x + 0.1 * state.y, state.y - 0.1 * state.x)
            if state.norm() > best[0]:
                best = [state.norm(), k]
        return state, best

    tracing.check(f, 1.5, 4, others=((1.5, 0), (-3.0, 5)))


def test_containers_chosen_by_path():
    def f(x, p):
        a = {"u": x, "v": (1, x)}
        b = {"u": 2.0, "v": (2, -x)} if p else a
        c = [x, 1] if p else [2.0, x]
        return b["u"] * b["v"][0] + b["v"][1] + c[0] - c[1]

    tracing.check(f, 1.5, True, others=((1.5, False),))


def test_containers_chosen_by_path_are_not_changed():
    def f(x, p):
        a, b = [x, 1.0], [2.0, x]
        c = a if p else b
        c[0] = 3.0
        return a[0]

    def g(x, p):
        a, b = [x, 1.0], [2.0, x]
        c = a if p else b
        a[0] = 3.0
        return c[0]

    for function in (f, g):
        with pytest.raises(UnsupportedError, match="one of several"):
            tracing.traced_of(function, (1.5, True))


def test_unused_captures_are_dropped():
    used = [1.0, np.ones(2)]

    def f(x):
        return x * used[0]

    assert [c.path for c in tracing.check(f, 1.5).captures] == ["used[0]"]


def test_zero_dimensional_arrays():
    def f(a, x):
        v = a[0, ...]
        a[0] = 5.0
        v += 1.0
        w = a[1:2].squeeze(axis=0)
        w *= 2.0
        s = np.where(x > 0, x, 2.0)
        s += 1.0
        u = a[:1].reshape(())
        return v * 2 + math.sin(v), np.sum(a), s, max(u, 3.0), (w > 1) & True

    tracing.check(f, np.arange(3.0), 1.5, others=((np.arange(3.0), -1.0),))


def test_two_names_of_a_zero_dimensional_array():
    def f(x):
        s = t = np.where(x > 0, x, 2.0)
        t += 1.0
        return s

    with pytest.raises(UnsupportedError, match="0-d array"):
        tracing.traced_of(f, (1.5,))


def test_iterating_while_names_are_swapped():
    def f(b, n):
        c = b
        for _ in range(n):
            for k, row in enumerate(b):
                row[0] -= 0.5
                if row[1] > 2:
                    b[:] = 1.0
                else:
                    b[k][2] += 1.0
                b, c = c, b
        return np.sum(b)

    tracing.check(f, np.arange(9.0).reshape(3, 3), 3)
