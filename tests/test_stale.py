"""What a function reads from outside is looked up at every call: nothing that was found once is found for good.

Each case is a function, a change of something that it reads, and compares values before and after with Python's own.
"""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import pytest

from adjit import grad, jit, value_and_grad

Case = Callable[[], Iterator[tuple[Any, ...]]]
"""Gives the function and its arguments, again after each change."""

CASES: dict[str, Case] = {}


def case(make: Case) -> Case:
    CASES[make.__name__] = make
    return make


class Layer:
    k = 1.5
    table = np.array([1.0, 2.0])
    count = 2
    act = staticmethod(np.sin)

    def forward(self, x: Any) -> Any:
        return self.act(x) * self.k

    @property
    def gain(self) -> Any:
        return self.k * 2.0

    @classmethod
    def scaled(cls, x: Any) -> Any:
        return x * cls.k

    def loss(self, x: Any) -> Any:
        return self.forward(x) + self.count * x


def fresh(*bases: type) -> type:
    """A copy of `Layer` with a subclass, so that classes can be changed."""
    own = {k: v for k, v in vars(Layer).items() if k not in ("__dict__", "__weakref__")}
    base = type("Base", bases or (object,), own)
    return type("Sub", (base,), {})


def object_case(function: Callable[..., Any], *changes: Callable[[Any], None]) -> Case:
    """A captured object, and the same object as an argument, changed step by step."""

    def make() -> Iterator[tuple[Any, ...]]:
        o, argument = fresh()(), fresh()()

        def captured(x: float) -> Any:
            return function(x, o)

        yield captured, 0.75
        yield function, 0.75, argument
        for change in changes:
            change(o)
            yield captured, 0.75
            change(argument)
            yield function, 0.75, argument

    return make


def times_k(x: Any, o: Any) -> Any:
    return x * o.k


def call_forward(x: Any, o: Any) -> Any:
    return o.forward(x)


def use_gain(x: Any, o: Any) -> Any:
    return x * o.gain


def use_scaled(x: Any, o: Any) -> Any:
    return o.scaled(x)


def use_extra(x: Any, o: Any) -> Any:
    return x * getattr(o, "extra", 1.0)


def has_extra(x: Any, o: Any) -> Any:
    return x * o.extra if hasattr(o, "extra") else x * x


def use_table(x: Any, o: Any) -> Any:
    return x * np.sum(o.table)


def use_count(x: Any, o: Any) -> Any:
    return x**o.count


def of_class(x: Any, o: Any) -> Any:
    return x * type(o).k


def has_method(x: Any, o: Any) -> Any:
    return o + x if hasattr(type(o), "__add__") else x * 3.0


def sets(name: str, value: Any) -> Callable[[Any], None]:
    return lambda o: setattr(o, name, value)


def deletes(name: str) -> Callable[[Any], None]:
    return lambda o: delattr(o, name)


def sets_class(name: str, value: Any, number: int = 0) -> Callable[[Any], None]:
    """On the class of the object (0) or a base."""
    return lambda o: setattr(type(o).__mro__[number], name, value)


CASES |= {
    "class attribute": object_case(times_k, sets("k", 5.0), sets("k", 6.0), deletes("k"), sets_class("k", 7.0)),
    "class attribute of a base": object_case(times_k, sets_class("k", 7.0, 1), sets_class("k", 8.0, 0)),
    "class attribute of another type": object_case(times_k, sets("k", 5), sets_class("k", np.float32(2.0))),
    "static method": object_case(call_forward, sets("act", np.cos), sets("act", np.tanh)),
    "static method of the subclass": object_case(call_forward, sets_class("act", staticmethod(np.cos))),
    "method on the object": object_case(call_forward, sets("forward", lambda x: 7.0 * x), deletes("forward")),
    "method of the subclass": object_case(call_forward, sets_class("forward", lambda self, x: x * x)),
    "property": object_case(use_gain, sets("k", 4.0), sets_class("gain", property(lambda self: self.k * 9.0))),
    "property that becomes a number": object_case(use_gain, sets_class("gain", 2.5), sets("gain", 3.5)),
    "class method": object_case(use_scaled, sets_class("k", 4.0, 1), sets_class("k", 5.0)),
    "default of getattr": object_case(use_extra, sets("extra", 8.0), sets("extra", 9.0), deletes("extra")),
    "default of getattr, class": object_case(use_extra, sets_class("extra", 8.0, 1)),
    "hasattr": object_case(has_extra, sets("extra", 8.0), deletes("extra"), sets_class("extra", 3.0)),
    "array": object_case(use_table, sets("table", np.array([5.0, 6.0, 7.0])), deletes("table")),
    "static number": object_case(use_count, sets("count", 3), deletes("count"), sets_class("count", 4)),
    "attribute of the class itself": object_case(of_class, sets_class("k", 4.0, 1), sets_class("k", 5.0)),
    "operator": object_case(has_method, sets_class("__add__", lambda self, x: x * x)),
}


@case
def self_of_a_bound_method() -> Iterator[tuple[Any, ...]]:
    o = fresh()()
    loss = o.loss
    yield loss, 0.5
    for name, value in (("k", 4.0), ("count", 5), ("act", np.cos), ("forward", lambda x: x * x)):
        setattr(o, name, value)
        yield loss, 0.5


@case
def answers_of_getattr() -> Iterator[tuple[Any, ...]]:
    class Answers:
        def __getattr__(self, name: str) -> float:
            if name == "none":
                raise AttributeError(name)
            return 4.0

    o: Any = Answers()

    def f(x: float) -> Any:
        return o.anything * x + getattr(o, "none", 1.0) * x

    yield f, 1.0
    o.anything = 6.0
    yield f, 1.0
    o.none = 3.0
    yield f, 1.0
    Answers.__getattr__ = lambda self, name: 9.0  # type: ignore[method-assign]
    yield f, 1.0


@case
def own_rules_for_attributes() -> Iterator[tuple[Any, ...]]:
    class Rules:
        def __init__(self) -> None:
            self.k = 1.0

        def __getattribute__(self, name: str) -> Any:
            return (
                2.0 * object.__getattribute__(self, "__dict__")["k"]
                if name == "twice"
                else object.__getattribute__(self, name)
            )

    o: Any = Rules()

    def f(x: float) -> Any:
        return o.twice * x

    yield f, 1.0
    o.k = 5.0
    yield f, 1.0


@case
def inherited_by_super() -> Iterator[tuple[Any, ...]]:
    class A:
        def f(self, x: Any) -> Any:
            return x * 2.0

    class B(A):
        def f(self, x: Any) -> Any:
            return super().f(x) + x

    o = B()

    def f(x: float) -> Any:
        return o.f(x)

    yield f, 1.0
    A.f = lambda self, x: x * x * 5.0  # type: ignore[method-assign]
    yield f, 1.0


@dataclasses.dataclass
class Parameters:
    w: float
    k: ClassVar[float] = 2.0

    def loss(self, x: Any) -> Any:
        return self.w * self.k * x


@case
def attributes_of_a_dataclass() -> Iterator[tuple[Any, ...]]:
    class P(Parameters):
        pass

    p: Any = P(3.0)

    def f(x: float, p: Any) -> Any:
        return p.loss(x) + getattr(p, "extra", 0.0) * x

    yield f, 1.0, p
    p.k = 5.0
    yield f, 1.0, p
    p.extra = 7.0
    yield f, 1.0, p
    P.loss = lambda self, x: x * x  # type: ignore[method-assign]
    yield f, 1.0, p


@case
def code_of_a_function() -> Iterator[tuple[Any, ...]]:
    def h(x: Any, c: Any = 2.0) -> Any:
        return x * c

    def f(x: float) -> Any:
        return h(x)

    yield f, 1.0
    h.__code__ = (lambda x, c: x * x * c).__code__
    yield f, 1.0
    h.__defaults__ = (2.0, 3.0)
    yield f, 1.0


@case
def attributes_of_a_function() -> Iterator[tuple[Any, ...]]:
    def h(x: Any) -> Any:
        return x

    h.scale = 3.0  # type: ignore[attr-defined]

    def f(x: float) -> Any:
        return h(x) * h.scale * getattr(h, "other", 1.0)  # type: ignore[attr-defined]

    yield f, 1.0
    h.scale = 4.0  # type: ignore[attr-defined]
    yield f, 1.0
    h.other = 5.0  # type: ignore[attr-defined]
    yield f, 1.0


@case
def elements_of_containers() -> Iterator[tuple[Any, ...]]:
    table: dict[str, Any] = {"a": 1.0}
    chosen = {1, 2}

    def f(x: float) -> Any:
        return x * table.get("b", 1.0) * len(table) + x * len(chosen)

    yield f, 1.0
    table["b"] = 3.0
    yield f, 1.0
    chosen.add(5)
    yield f, 1.0


@case
def from_list_to_number() -> Iterator[tuple[Any, ...]]:
    a: Any = [1.0, 2.0]

    def f(x: float) -> Any:
        return x * sum(a) if isinstance(a, list) else x * a

    yield f, 1.0
    a = 5.0
    yield f, 1.0


@case
def cached_property() -> Iterator[tuple[Any, ...]]:
    class M:
        k = 2.0

        @functools.cached_property
        def gain(self) -> float:
            return self.k * 3.0

    o = M()

    def f(x: float) -> Any:
        return x * o.gain

    yield f, 1.0
    o.k = 5.0  # which Python does not notice either
    yield f, 1.0
    o.gain = 1.0
    yield f, 1.0
    del o.gain
    yield f, 1.0


@case
def namespaces() -> Iterator[tuple[Any, ...]]:
    cfg = types.SimpleNamespace(k=2.0)

    def f(x: float) -> Any:
        return x * cfg.k * getattr(cfg, "other", 1.0)

    yield f, 1.0
    cfg.other = 4.0
    yield f, 1.0
    cfg.k = 3
    yield f, 1.0


def compare(make: Case, tolerance: float) -> None:
    made: dict[Any, Any] = {}
    for function, *args in make():
        compiled = made.setdefault(getattr(function, "__func__", function), value_and_grad(function))
        for _ in range(2):  # the second is the fast way
            value, slope = compiled(*args)
            assert value == pytest.approx(function(*args), rel=1e-12)
            x, *rest = args
            h = 1e-6
            wanted = (function(x + h, *rest) - function(x - h, *rest)) / (2 * h)
            assert slope == pytest.approx(wanted, rel=tolerance, abs=tolerance)


@pytest.mark.parametrize("name", sorted(CASES))
def test_changes_are_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    compare(CASES[name], 1e-6)


@pytest.mark.parametrize("name", ["class attribute", "hasattr", "from_list_to_number", "attributes_of_a_dataclass"])
def test_changes_are_noticed_by_kernels(name: str) -> None:
    compare(CASES[name], 1e-6)


def test_functions_of_numpy_as_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    g = grad(lambda x, f: np.sum(f(x)))
    assert g(np.ones(2), np.sin) == pytest.approx(np.cos(np.ones(2)))
    assert g(np.ones(2), np.cumsum) == pytest.approx([2.0, 1.0])
    assert g(np.ones(2), np.exp) == pytest.approx(np.exp(np.ones(2)))


def test_an_attribute_that_is_gone_is_an_error_of_the_function() -> None:
    o = types.SimpleNamespace(k=2.0)
    f = jit(lambda x: x * o.k)
    assert [f(2.0), f(3.0)] == [4.0, 6.0]
    del o.k
    with pytest.raises(Exception, match="no attribute 'k'"):
        f(2.0)


def test_equal_objects_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")

    class Named:
        def __init__(self, k: float) -> None:
            self.k = k

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Named)

        def __hash__(self) -> int:
            return 1

    g = grad(times_k)
    assert [g(1.0, Named(2.0)), g(1.0, Named(3.0))] == [2.0, 3.0]
