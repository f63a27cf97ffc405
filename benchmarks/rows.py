"""The rows of the suite `gradbench`: GradBench's programs at the sizes that are timed, in one table.

In: nothing. Out: `PROGRAMS`, what adjit makes of each program and how its derivative is checked, and `ROWS`, each a
program at a size. Other sides of a row are found by the program's name (see `peers`): `reference/<program>.py` and
`peers/jax_<program>.py` have functions `primal` and `derivative` that take the arguments that `prepare` of
`gradbench/<program>.py` makes, and return what adjit's return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from ..api import grad, jit
from . import inputs
from .agreement import Mismatch, agree
from .gradbench import ba, det, gmm, ht, kmeans, llsq, lse, lstm, ode, particle, saddle
from .gradbench.descent import MODES
from .references import difference_quotient, direction, relative, slope

__all__ = ["PROGRAMS", "ROWS", "GradBenchRow", "Program"]

QUOTIENT_ALLOWED = 1e-5
SMOOTH = 1e-6
"""Relative error that a difference quotient may estimate of itself in order to count."""
CHUNK = 1000

Check = Callable[[tuple[Any, ...], Any, Callable[..., Any]], None]
"""Arguments, the derivative there, what to call the plain function through (`jit`, or itself); raises `Mismatch`."""


@dataclass(frozen=True)
class Program:
    """`primal`: the plain function that is compiled and timed as such, if there is one. `derivatives`: by name, makers
    that take the options of adjit's transforms; of several the fastest is the row's. `small`: sizes for a check that is
    cheap and where no derivative is trivially zero."""

    prepare: Callable[[Any], tuple[Any, ...]]
    given: Callable[..., dict[str, Any]]
    small: Mapping[str, Any]
    primal: Callable[..., Any] | None
    derivatives: Mapping[str, Callable[..., Any]]
    check: Check

    def arguments(self, root: Path | None, sizes: Mapping[str, Any]) -> tuple[Any, ...]:
        return self.prepare(self.given(root, **sizes))


def along_quotient(said: float, function: Callable[[tuple[Any, ...]], Any], at: Any, along: Any) -> None:
    """`Mismatch` where a directional derivative is not what a difference quotient says."""
    quotient, estimate = difference_quotient(function, at, along)
    if not estimate <= SMOOTH * abs(quotient):
        if said == quotient == 0.0:
            return
        raise Mismatch(f"no difference quotient to compare with: {quotient!r} +- {estimate:.1e}")
    if not relative(said, quotient) <= QUOTIENT_ALLOWED:
        raise Mismatch(f"the derivative gives {said!r}, a difference quotient {quotient!r}")


def gradient_of(function: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Check:
    """Checks a gradient along a random direction."""
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    def check(arguments: tuple[Any, ...], result: Any, through: Callable[..., Any]) -> None:
        parts = result if isinstance(argnums, tuple) else (result,)
        at = [arguments[k] for k in numbers]
        along = direction(at)
        called = through(function)

        def value(floats: tuple[Any, ...]) -> Any:
            moved = dict(zip(numbers, floats, strict=True))
            return called(*(moved.get(k, a) for k, a in enumerate(arguments)))

        along_quotient(slope(parts, along), value, at, along)

    return check


def check_ba(arguments: tuple[Any, ...], result: Any, through: Callable[..., Any]) -> None:
    """The Jacobian between random weights of errors and a random direction."""
    starts, columns, values = result
    at = arguments[:3]
    along = direction(at)
    moves = np.concatenate([np.ravel(x) for x in along])
    matrix = scipy.sparse.csr_array((values, columns, starts), shape=(len(starts) - 1, len(moves)))
    weights = np.random.default_rng(3).standard_normal(matrix.shape[0])
    called = through(ba.objective)

    def value(floats: tuple[Any, ...]) -> Any:
        errors = called(*floats, *arguments[3:])
        return weights @ np.concatenate((errors[:, :2].ravel(), errors[:, 2]))

    along_quotient(float(weights @ (matrix @ moves)), value, at, along)


def check_ht(arguments: tuple[Any, ...], result: Any, through: Callable[..., Any]) -> None:
    """The Jacobian between random weights of errors and a random direction."""
    at = arguments[:2]
    by_theta, by_us = along = direction(at)
    weights = np.random.default_rng(3).standard_normal(len(result))
    moved = result[:, 2:] @ by_theta + np.sum(result[:, :2] * np.repeat(by_us, 3, axis=0), axis=1)
    called = through(ht.on_triangles)

    def value(floats: tuple[Any, ...]) -> Any:
        return weights @ called(*floats, *arguments[2:]).ravel()

    along_quotient(float(weights @ moved), value, at, along)


def check_kmeans(arguments: tuple[Any, ...], result: Any, through: Callable[..., Any]) -> None:
    """Newton's step leads each centroid to the mean of the points that are nearest to it: the cost is quadratic."""
    centroids, points = arguments
    sums, counts = np.zeros_like(centroids), np.zeros(len(centroids))
    for start in range(0, len(points), CHUNK):
        some = points[start : start + CHUNK]
        nearest = np.argmin(np.sum((some[:, None] - centroids) ** 2, axis=2), axis=1)
        np.add.at(sums, nearest, some)
        np.add.at(counts, nearest, 1.0)
    agree(centroids - result, sums / counts[:, None], "Newton's step and the means")


def known(value: Any) -> Check:
    """Checks against what GradBench says."""
    return lambda arguments, result, through: void(agree(result, value, "adjit and GradBench's own answer", 1e-4))


def void(_: Any) -> None:
    return None


def modes(program: Callable[..., Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """The compiled program for each pair of modes, outer and inner."""
    return {a + b: partial(jit, program(MODES[a], MODES[b])) for a in MODES for b in MODES}


GMM = (0, 1, 2, 3)

PROGRAMS: dict[str, Program] = {
    "gmm": Program(
        gmm.prepare,
        inputs.gmm,
        {"d": 3, "k": 2, "n": 4},
        gmm.objective,
        {"": partial(grad, gmm.objective, argnums=GMM)},
        gradient_of(gmm.objective, GMM),
    ),
    "lstm": Program(
        lstm.prepare,
        inputs.lstm,
        {"l": 2, "c": 5, "b": 14},
        lstm.objective,
        {"": partial(grad, lstm.objective, argnums=(0, 1))},
        gradient_of(lstm.objective, (0, 1)),
    ),
    "ode": Program(
        ode.prepare,
        inputs.ode,
        {"n": 5, "s": 10},
        ode.solution,
        {"": partial(grad, ode.last)},
        gradient_of(ode.last),
    ),
    "lse": Program(
        lse.prepare,
        inputs.lse,
        {"n": 20},
        lse.logsumexp,
        {"": partial(grad, lse.logsumexp)},
        gradient_of(lse.logsumexp),
    ),
    "llsq": Program(
        llsq.prepare,
        inputs.llsq,
        {"n": 9, "m": 4},
        llsq.objective,
        {"": partial(grad, llsq.objective)},
        gradient_of(llsq.objective),
    ),
    "kmeans": Program(
        kmeans.prepare,
        inputs.kmeans,
        {"k": 3, "n": 20, "d": 4},
        kmeans.cost,
        {"": partial(jit, kmeans.direction)},
        check_kmeans,
    ),
    "det": Program(
        det.prepare,
        inputs.det,
        {"l": 4},
        det.determinant,
        {"": partial(grad, det.determinant)},
        gradient_of(det.determinant),
    ),
    "ba": Program(ba.prepare, inputs.ba, {"number": 0}, ba.objective, {"": partial(jit, ba.jacobian)}, check_ba),
    "ht": Program(
        ht.prepare,
        inputs.ht,
        {"size": "small", "number": 0},
        ht.on_triangles,
        {"": partial(jit, ht.jacobian_on_triangles)},
        check_ht,
    ),
    "particle": Program(
        particle.prepare, inputs.particle, {}, None, modes(particle.control), known(0.2071918746486116)
    ),
    "saddle": Program(
        saddle.prepare, inputs.saddle, {}, None, modes(saddle.saddle_point), known(np.full(4, 8.246324826140356e-06))
    ),
}


@dataclass(frozen=True)
class GradBenchRow:
    """A program at a size."""

    name: str
    program: str
    sizes: Mapping[str, Any] = field(default_factory=dict)


ROWS = [
    GradBenchRow("gmm d10 k10 n1000", "gmm", {"d": 10, "k": 10, "n": 1000}),
    GradBenchRow("gmm d64 k100 n1000", "gmm", {"d": 64, "k": 100, "n": 1000}),
    GradBenchRow("lstm l2 c1024 b14", "lstm", {"l": 2, "c": 1024}),
    GradBenchRow("lstm l4 c4096 b14", "lstm", {"l": 4, "c": 4096}),
    GradBenchRow("ode n1000 s100", "ode", {"n": 1000, "s": 100}),
    GradBenchRow("ode n100000 s100", "ode", {"n": 100_000, "s": 100}),
    GradBenchRow("lse n80000", "lse", {"n": 80_000}),
    GradBenchRow("lse n1280000", "lse", {"n": 1_280_000}),
    GradBenchRow("llsq n8196 m128", "llsq", {"n": 8196, "m": 128}),
    GradBenchRow("llsq n262144 m128", "llsq", {"n": 262_144, "m": 128}),
    GradBenchRow("kmeans k10 n10000 d8", "kmeans", {"k": 10, "n": 10_000, "d": 8}),
    GradBenchRow("kmeans k1000 n10000 d16", "kmeans", {"k": 1000, "n": 10_000, "d": 16}),
    GradBenchRow("det l8", "det", {"l": 8}),
    GradBenchRow("det l10", "det", {"l": 10}),
    GradBenchRow("ba ba1", "ba", {"number": 1}),
    GradBenchRow("ba ba10", "ba", {"number": 10}),
    GradBenchRow("ht small complicated 1", "ht", {"size": "small", "number": 1}),
    GradBenchRow("ht big complicated 10", "ht", {"size": "big", "number": 10}),
    GradBenchRow("particle", "particle"),
    GradBenchRow("saddle", "saddle"),
]
