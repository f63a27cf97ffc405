"""What stands between a user's arguments and machine code that trusts them: nothing unchecked gets through,
and what fits is called directly."""

import dataclasses
import enum
import inspect
import itertools
import threading

import numpy as np
import pytest

from adjit.codegen.build import compile_kernel
from adjit.codegen.host import (
    Build,
    Constant,
    Leaf,
    Output,
    Parameter,
    Record,
    Slot,
    Static,
    check_and_convert,
    kernel_type,
    leaf_of,
    require_disjoint,
    signature_of,
    specialize,
    static_key,
)
from adjit.ir.errors import ArgumentError
from adjit.ir.types import F64, Array, Scalar

BASE = np.arange(24.0).reshape(4, 6)


def unaligned(n=4):
    return np.zeros(8 * n + 1, np.uint8)[1:].view(np.float64)


def swapped(n=4):
    return np.arange(float(n)).astype(">f8" if np.little_endian else "<f8")


# What a value is.


@pytest.mark.parametrize(
    ("value", "leaf"),
    [
        (1.0, Leaf("float", "f64")),
        (1, Leaf("int", "i64")),
        (True, Leaf("bool", "bool")),
        (np.float64(1), Leaf("scalar", "f64")),
        (np.float32(1), Leaf("scalar", "f32")),
        (np.int32(1), Leaf("scalar", "i32")),
        (np.bool_(True), Leaf("scalar", "bool")),
        (np.array(1.0), Leaf("scalar", "f64")),
        (np.ones(3), Leaf("array", "f64", (False,), "C")),
        (np.ones(1), Leaf("array", "f64", (True,), "C")),
        (np.ones(0), Leaf("array", "f64", (False,), "C")),
        (np.ones((3, 1), np.float32), Leaf("array", "f32", (False, True), "C")),
        (BASE, Leaf("array", "f64", (False, False), "C")),
        (BASE.T, Leaf("array", "f64", (False, False), "F")),
        (BASE[::2], Leaf("array", "f64", (False, False), "A")),
        (BASE[:, 0], Leaf("array", "f64", (False,), "A")),
        (BASE[::-1, ::-1], Leaf("array", "f64", (False, False), "A")),
        (swapped(), Leaf("array", "f64", (False,), "C")),
        (unaligned(), Leaf("array", "f64", (False,), "C")),
        (np.arange(3), Leaf("array", "i64", (False,), "C")),
        (np.arange(3, dtype=np.longlong), Leaf("array", "i64", (False,), "C")),
        (np.ones(3, bool), Leaf("array", "bool", (False,), "C")),
    ],
    ids=str,
)
def test_leaves(value, leaf):
    assert leaf_of(value) == leaf
    assert signature_of([value, value]) == (leaf, leaf)
    converted = check_and_convert(value, leaf)
    assert np.array_equal(converted, value)
    if leaf.kind == "array":
        assert converted.flags.aligned and converted.dtype.isnative
        kind, layout = kernel_type(leaf)
        assert (kind.rank, layout) == (value.ndim, leaf.layout)


def test_leaves_of_subclasses(tmp_path):
    class Colour(enum.IntEnum):
        RED = 3

    class Metres(float):
        pass

    assert leaf_of(Colour.RED) == leaf_of(3)
    assert check_and_convert(Colour.RED, leaf_of(3)) == 3
    assert leaf_of(Metres(2)) == leaf_of(2.0)
    mapped = np.memmap(tmp_path / "m", np.float64, "w+", shape=(3,))
    assert leaf_of(mapped) == leaf_of(np.ones(3))
    assert type(check_and_convert(mapped, leaf_of(mapped))) is np.ndarray


@pytest.mark.parametrize(
    "value",
    [
        *("text", None, [1.0], (1.0,), 1j, object(), np.complex128(1), np.float16(1)),
        *(np.ones(2, complex), np.ones(2, np.float16), np.array(["a"]), np.array([None])),
        *(np.ma.ones(3), np.ones(2).view(np.recarray), np.datetime64(0, "s")),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_no_kernel_takes_is_refused(value):
    with pytest.raises(ArgumentError, match="theta") as raised:
        leaf_of(value, "theta")
    assert raised.value.help


def test_check_and_convert_refuses_another_leaf():
    leaf = leaf_of(np.ones(3))
    for value in (
        1.0,
        np.ones(1),
        np.ones((3, 3)),
        np.ones(3, np.float32),
        np.arange(6.0)[::2],
        np.arange(3),
    ):
        with pytest.raises(ArgumentError, match="compiled for"):
            check_and_convert(value, leaf)
    with pytest.raises(ArgumentError, match="compiled for"):
        check_and_convert(1, leaf_of(1.0))  # an integer is not a float: it has no derivative


def test_written_arguments_must_be_writable_in_place():
    frozen = np.ones(3)
    frozen.flags.writeable = False
    for value in (frozen, swapped(), unaligned()):
        check_and_convert(value, leaf_of(value))
        with pytest.raises(ArgumentError, match="written"):
            check_and_convert(value, leaf_of(value), written=True)


def test_overlaps():
    x = np.zeros(10)
    require_disjoint([x[:5], x[5:], 1.0], [0])
    require_disjoint([x[::2], x[1::2]], [0, 1])  # interleaved, not overlapping
    require_disjoint([x, x], [])  # both are only read
    for values, written in (([x, x], [0]), ([x[:6], x[5:]], [1]), ([1.0, x, x[3:4]], [2])):
        with pytest.raises(ArgumentError, match="shares memory"):
            require_disjoint(values, written)
    with pytest.raises(ArgumentError, match="u is written to and shares memory with v"):
        require_disjoint([x, x], [0], ["u", "v"])


# The specialized function.


def echo(*arguments):
    return (0, 0, 0, *arguments)


def specialized(values, call=echo, result=None, written=(), failed=None):
    parameters = [Parameter(f"a{i}", Slot(i, leaf_of(value))) for i, value in enumerate(values)]
    outputs = tuple(map(Output, range(len(values)))) if result is None else result
    return specialize("loss", parameters, call, outputs, failed=failed, miss=lambda *a: "miss", written=written)


VALUES = [
    *(1.0, 2, True, np.float64(1), np.float32(1), np.int64(1), np.bool_(False)),
    *(np.ones(3), np.ones(1), np.ones(3, np.float32), np.arange(3), np.ones(0), BASE[:, 0], np.ones(3, bool)),
    *(
        BASE,
        BASE.T,
        BASE[::2],
        BASE[:, :1],
        BASE[:1],
        np.ones((1, 1)),
        np.ones((2, 1, 3)),
        np.ones((2, 2, 3)),
    ),
]


def test_fast_takes_exactly_its_own_signature():
    for own, other in itertools.product(VALUES, VALUES):
        fast, run = specialized([own])
        if leaf_of(own) == leaf_of(other):
            assert fast(other)[0] is other
            assert run([other])[0] is other
        else:
            assert fast(other) == "miss"
            with pytest.raises(ArgumentError):
                run([other])


@pytest.mark.parametrize(
    "value",
    [swapped(), unaligned(), np.array(2.0), np.ma.ones(3), None, "x", np.arange(3.0).view(np.recarray)],
)
def test_fast_misses_what_needs_a_second_look(value):
    for own in (1.0, np.ones(3), np.float64(2)):
        assert specialized([own])[0](value) == "miss"


def test_run_converts_what_can_be_converted():
    _, run = specialized([np.ones(3), np.float64(1)])
    first, second = run([swapped(4), np.array(2.5)])
    assert first.dtype.isnative and np.array_equal(first, np.arange(4.0))
    assert second == 2.5
    with pytest.raises(ArgumentError, match="leaves"):
        run([1.0])


def test_fast_has_the_users_parameters():
    structure = [Slot(0, leaf_of(1.0)), Slot(1, leaf_of(1.0)), Slot(2, leaf_of(1.0))]
    parameters = [
        Parameter("theta", structure[0]),
        Parameter("t_end", structure[1], (2.0,)),
        Parameter("scale", structure[2], (3.0,), keyword_only=True),
    ]
    seen = []
    fast, _ = specialize(
        "loss",
        parameters,
        echo,
        (Output(0), Output(1), Output(2)),
        failed=None,
        miss=lambda *a, **k: seen.append((a, k)),
    )
    assert fast(1.0) == (1.0, 2.0, 3.0)
    assert fast(1.0, scale=5.0, t_end=4.0) == (1.0, 4.0, 5.0)
    fast(1.0, 2, scale=7.0)
    assert seen == [((1.0, 2), {"scale": 7.0})]
    with pytest.raises(TypeError, match=r"loss\(\) missing 1 required positional argument: 'theta'"):
        fast()
    assert str(inspect.signature(fast)) == "(theta, t_end=2.0, *, scale=3.0)"


@dataclasses.dataclass
class Layer:
    w: object
    b: object


def test_nested_structures():
    w, b = np.ones((2, 3)), np.ones(3)
    tree = {
        "layer": Record(Layer, {"w": Slot(1, leaf_of(w)), "b": Slot(0, leaf_of(b))}),
        3: [Slot(2, leaf_of(1.0))],
    }
    fast, _ = specialize(
        "f",
        [Parameter("params", tree), Parameter("pair", (Static("relu"), Slot(3, leaf_of(2))))],
        echo,
        {
            "layer": Build(Layer, (Output(1), Output(0))),
            "rest": [Output(2), (Output(3),)],
            "flag": Constant(None),
        },
        failed=None,
        miss=lambda *a: "miss",
    )
    result = fast({"layer": Layer(w, b), 3: [0.5]}, ("relu", 7))
    assert result["layer"].w is w and result["layer"].b is b
    assert result["rest"] == [0.5, (7,)] and result["flag"] is None
    fine = {"layer": Layer(w, b), 3: [0.5]}
    for params, pair in [
        (fine, ("tanh", 7)),
        (fine, ("relu", 7.0)),
        (fine, ["relu", 7]),
        (fine, ("relu", 7, 8)),
        (fine, None),
        ({**fine, "more": 1}, ("relu", 7)),
        ({"layer": Layer(w, b), 4: [0.5]}, ("relu", 7)),
        ({"layer": Layer(b, w), 3: [0.5]}, ("relu", 7)),
        ({"layer": (w, b), 3: [0.5]}, ("relu", 7)),
        ({"layer": Layer(w, b), 3: []}, ("relu", 7)),
    ]:
        assert fast(params, pair) == "miss"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1,
        1.0,
        0.0,
        "text",
        (1, "a"),
        (True,),
        [1, 2],
        {"k": 1},
        np.float64,
        len,
        np.dtype("f4"),
        slice(1, 2),
    ],
    ids=repr,
)
def test_static_arguments_by_value_and_type(value):
    others = [None, True, False, 0, 1, 1.0, 0.0, -0.0, "text", (1, "a"), (1,), (True,), [1, 2], [1, 2.0]]
    others += [
        {"k": 1},
        {"k": True},
        np.float64,
        np.float32,
        len,
        np.dtype("f4"),
        np.dtype("f8"),
        slice(1, 2),
    ]
    others += [slice(1, 2.0), np.float64(1), np.ones(2)]
    fast, _ = specialize(
        "f", [Parameter("s", Static(value))], echo, Constant("hit"), failed=None, miss=lambda s: "miss"
    )
    hits = [other for other in others if fast(other) == "hit"]
    assert len(hits) == 1 and type(hits[0]) is type(value) and repr(hits[0]) == repr(value)


def test_a_static_list_that_changes_is_another_value():
    value = ["a", {"k": [1]}]
    fast, _ = specialize(
        "f", [Parameter("s", (Static(value),))], echo, Constant("hit"), failed=None, miss=lambda s: "miss"
    )
    assert fast((value,)) == "hit"
    value[1]["k"].append(2)
    assert fast((value,)) == "miss"
    assert fast((["a", {"k": [1]}],)) == "hit"


def test_static_keys_of_nan():
    assert static_key(float("nan")) == static_key(float("nan"))  # or every call would trace again


def test_captures_are_read_at_each_call():
    place = {"scale": 2.0, "mode": "a"}
    fast, _ = specialize(
        "f",
        [Parameter("x", Slot(0, leaf_of(1.0)))],
        echo,
        (Output(0), Output(1)),
        failed=None,
        miss=lambda x: "miss",
        captures=[(lambda: place["scale"], Slot(1, leaf_of(1.0))), (lambda: place["mode"], Static("a"))],
    )
    assert fast(1.0) == (1.0, 2.0)
    place["scale"] = 5.0
    assert fast(1.0) == (1.0, 5.0)
    place["mode"] = "b"
    assert fast(1.0) == "miss"
    place.update(mode="a", scale=5)
    assert fast(1.0) == "miss"


def test_failures_are_reported_with_their_arguments():
    reports = []

    def failed(*report):
        reports.append(report)
        raise IndexError("the 7th")

    call = lambda x, y: (7, 10, -3, 0.0) if x < 0 else (0, 0, 0, x)
    fast, run = specialized([1.0, 2.0], call, Output(0), failed=failed)
    assert fast(4.0, 1.0) == 4.0
    for attempt in (lambda: fast(-1.0, 2.0), lambda: run([-1.0, 2.0])):
        with pytest.raises(IndexError, match="7th"):
            attempt()
    assert reports == [(7, 10, -3, (-1.0, 2.0))] * 2
    with pytest.raises(RuntimeError, match="site 7"):
        specialized([1.0, 2.0], call, Output(0))[0](-1.0, 2.0)


def test_written_arguments_are_guarded():
    x = np.zeros(6)
    fast, run = specialized([x[:3], x[3:]], written=[0])
    assert fast(x[:3], x[3:]) != "miss"
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert fast(frozen, x[3:]) == "miss"
    assert fast(x[3:], frozen) != "miss"  # the second is only read
    assert fast(x[:4], x[3:]) == "miss"
    with pytest.raises(ArgumentError, match="shares memory"):
        run([x[:4], x[3:]])
    with pytest.raises(ArgumentError, match="read-only"):
        run([frozen, x])


def test_slots_without_a_gap():
    with pytest.raises(ValueError, match="slots"):
        specialize("f", [Parameter("x", Slot(1, leaf_of(1.0)))], echo, Output(0), failed=None, miss=echo)
    with pytest.raises(ValueError, match="two slots"):
        slot = Slot(0, leaf_of(1.0))
        specialize("f", [Parameter("x", (slot, slot))], echo, Output(0), failed=None, miss=echo)
    with pytest.raises(ValueError, match="structure"):
        specialize("f", [Parameter("x", 3)], echo, Output(0), failed=None, miss=echo)


def test_names_that_are_no_identifiers():
    fast, _ = specialize("<lambda>", [Parameter("x", Slot(0, leaf_of(1.0)))], echo, Output(0), failed=None, miss=echo)
    assert fast(1.0) == 1.0


def test_with_machine_code_from_several_threads(tmp_path, monkeypatch):
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(tmp_path / "cache"))
    text = """
import numpy as np

def f(x, w):
    g = np.empty(x.shape[0])
    s = 0.0
    for i in range(x.shape[0]):
        s += w * x[i] * x[i]
        g[i] = 2.0 * w * x[i]
    return 0, 0, 0, s, g
"""
    kernel = compile_kernel(text, "f", [Array(F64, (None,)), Scalar(F64)], ["C", "C"])
    fast, _ = specialized([np.ones(3), 1.0], kernel.call, (Output(0), Output(1)))
    wrong = []

    def work(seed):
        x = np.random.default_rng(seed).normal(size=seed + 2)
        for _ in range(500):
            value, gradient = fast(x, 0.5)
            if not (np.isclose(value, 0.5 * (x @ x)) and np.array_equal(gradient, x)):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert fast(np.ones((2, 2)), 0.5) == "miss"
