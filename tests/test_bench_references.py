"""The sides that adjit is compared with compute what it computes: references by hand, and peers where their library is
installed. Sizes are such that blocks, lanes and what is left over of them all occur."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from test_gradbench import CONSTANTS, ba_input, draws, gmm_input, ht_input, interpreted, lstm_input

from adjit.benchmarks.gradbench import tool

RTOL = 1e-10


def lse_inputs() -> Iterator[Any]:
    for n in (1, 5, 100, 1100):
        yield {"x": (10.0 * draws()(n) - 700.0).tolist()}


def llsq_inputs() -> Iterator[Any]:
    for m, n in ((1, 2), (6, 70), (8, 64)):
        yield {"x": draws()(m).tolist(), "n": n}


def lstm_inputs() -> Iterator[Any]:
    yield lstm_input()
    yield lstm_input(layers=3, bits=18, count=5)


def gmm_inputs() -> Iterator[Any]:
    yield gmm_input(d=1)
    yield gmm_input(d=6, k=3, n=70)
    yield gmm_input(d=26, k=2, n=203)


def ode_inputs() -> Iterator[Any]:
    yield {"x": draws()(1).tolist(), "s": 2}
    yield {"x": draws()(5).tolist(), "s": 10}
    # two blocks, and neither the result nor its derivatives vanish
    yield {"x": (0.5 * np.arange(1, 531) * (0.7 + 0.6 * draws()(530))).tolist(), "s": 135}


def kmeans_inputs() -> Iterator[Any]:
    for k, n, d in ((3, 9, 2), (9, 14, 3), (2, 3, 1)):
        points = draws()((n, d))
        yield {"points": points.tolist(), "centroids": points[-k:].tolist()}


def det_inputs() -> Iterator[Any]:
    for n in range(1, 6):
        yield {"A": draws()(n * n).tolist(), "ell": n}


def ba_inputs() -> Iterator[Any]:
    yield ba_input()
    still = ba_input()
    still["cam"][:3] = [0.0, 0.0, 0.0]
    yield still


def ht_inputs() -> Iterator[Any]:
    for us, mirrored in ((False, True), (True, False)):
        given = ht_input(us)
        given["data"]["model"]["is_mirrored"] = mirrored
        yield given
    given = ht_input(True, vertices=70)
    given["theta"][:3] = [0.0, 1e-5, 0.0]
    yield given


INPUTS: dict[str, Callable[[], Iterator[Any]]] = {
    "ba": ba_inputs,
    "det": det_inputs,
    "gmm": gmm_inputs,
    "ht": ht_inputs,
    "kmeans": kmeans_inputs,
    "llsq": llsq_inputs,
    "lse": lse_inputs,
    "lstm": lstm_inputs,
    "ode": ode_inputs,
}


def side(package: str, name: str) -> Any:
    return importlib.import_module(f"adjit.benchmarks.{package}.{name}")


def agree(found: Any, wanted: Any) -> None:
    """To `RTOL` of the largest entry, each array."""
    if isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted):
            agree(a, b)
        return
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    assert np.all(np.isfinite(wanted))
    np.testing.assert_allclose(found, wanted, rtol=RTOL, atol=RTOL * np.max(np.abs(wanted), initial=0.0))


def compare(package: str, prefix: str, name: str, given: Any) -> None:
    other = side(package, prefix + name)
    program = list(tool.functions(name).values())
    arguments = program[0].prepare(given)
    agree(other.primal(*arguments), program[0].compute(*arguments))
    agree(other.derivative(*arguments), program[-1].compute(*arguments))


@pytest.mark.slow
@pytest.mark.parametrize("name", INPUTS)
def test_references(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted(name, monkeypatch)
    for given in INPUTS[name]():
        compare("reference", "", name, given)


@pytest.mark.parametrize("name", CONSTANTS)
def test_references_of_optimizations(name: str) -> None:
    start = {"particle": np.array([0.0]), "saddle": np.array([1.0, 1.0])}[name]
    np.testing.assert_allclose(side("reference", name).derivative(start), CONSTANTS[name], rtol=RTOL)


@pytest.mark.slow
def test_memory_is_not_shared_between_sizes() -> None:
    """What a reference keeps between calls has the size that the call asks for."""
    ode = side("reference", "ode")
    x = draws()(5)
    first = ode.derivative(x, 10)
    ode.derivative(x[:3], 4)
    np.testing.assert_array_equal(ode.derivative(x, 10), first)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(INPUTS.keys() - {"det"}))
def test_peers_in_jax(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jax")
    interpreted(name, monkeypatch)
    for given in INPUTS[name]():
        compare("peers", "jax_", name, given)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONSTANTS)
def test_peers_in_jax_of_optimizations(name: str) -> None:
    pytest.importorskip("jax")
    start = {"particle": np.array([0.0]), "saddle": np.array([1.0, 1.0])}[name]
    np.testing.assert_allclose(side("peers", "jax_" + name).derivative(start), CONSTANTS[name], rtol=RTOL)
