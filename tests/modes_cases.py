"""Programs whose derivatives are compared between modes: a scalar function `loss(x, rest)`, and its arguments.

In: the programs of `programs`, of the textbook's examples, and of GradBench. Out: `Case`s by name. `x` is what is
differentiated, all of it; `rest` are the other arguments.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from test_gradbench import GRADIENTS, arguments, draws, ht_input, weighted_hand, weighted_image
from test_textbook import example

from adjit.benchmarks.gradbench import descent, particle, saddle
from programs import PROGRAMS, Program

__all__ = ["GRADBENCH", "OWN", "TEXTBOOK", "Case", "case_of", "gradbench", "textbook"]


@dataclass(frozen=True)
class Case:
    """`loss(x, rest)`, to be differentiated with respect to all of `x`. `single`: it computes in float32."""

    loss: Callable[..., Any]
    x: Any
    rest: Any
    single: bool = False


def of_call(
    function: Callable[..., Any], args: tuple[Any, ...], argnums: tuple[int, ...], single: bool = False
) -> Case:
    """The case of a function of which some arguments are differentiated."""
    places = [(k in argnums, sum(j in argnums for j in range(k)) if k in argnums else k) for k in range(len(args))]
    places = [(chosen, at if chosen else sum(j not in argnums for j in range(at))) for chosen, at in places]

    def loss(x: Any, rest: Any) -> Any:
        return function(*[x[k] if chosen else rest[k] for chosen, k in places])

    given = copy.deepcopy(args)
    x = tuple(a for k, a in enumerate(given) if k in argnums)
    return Case(loss, x, tuple(a for k, a in enumerate(given) if k not in argnums), single)


# ---------------------------------------------------------------- programs


def case_of(program: Program) -> Case:
    """The case of a program."""
    if program.name == "dataclass_fields":
        return of_dataclasses(program)
    return of_call(program.function, program.args, program.argnums, "float32" in program.kinds)


def of_dataclasses(program: Program) -> Case:
    """Records as arguments, their fields as what is differentiated."""
    spring, state, steps, dt = program.fresh()
    make, move, function = type(spring), type(state), program.function
    fields = tuple(vars(spring).values())

    def loss(x: Any, rest: Any) -> Any:
        stiffness, other, position, velocity, step = x
        return function(make(stiffness, other), move(position, velocity), rest[0], step)

    return Case(loss, (*fields, *state, dt), (steps,))


OWN = {program.name: program for program in PROGRAMS}


# ---------------------------------------------------------------- the textbook


def summed(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of arrays as a scalar one, its entries weighted."""

    def loss(*args: Any) -> Any:
        y = function(*args)
        return np.sum(np.cos(np.arange(y.size)).reshape(y.shape) * y)

    return loss


def textbook(name: str) -> Case:
    """A program of the textbook."""
    x = np.arange(4.0) + 0.5
    if name.startswith("c_scalar_formulas"):
        f, args = next((f, args) for f, args in example("c_scalar_formulas").CASES if f.__name__ == name.split(".")[1])
        return of_call(f, args, tuple(range(len(args))))
    if name.startswith("c_linear_layer"):
        c = example("c_linear_layer")
        x, y, W = c.data()
        return of_call(getattr(c, name.split(".")[1]), (W, x, y), (0, 1, 2))
    if name.startswith("d_graph"):
        return of_call(getattr(example("d_graph_drawn"), name.split(".")[1]), (2.0, -4.0), (0, 1))
    file, function = name.split(".")
    f = getattr(example(file), function)
    return of_call(summed(f) if function in ("square", "f") else f, (x,), (0,))


TEXTBOOK = [
    "a1_gradient.y",
    "a1_gradient.total",
    "a2_not_a_scalar.square",
    "a2_not_a_scalar.sum_of_squares",
    "a4_control_flow.f",
    "a5_exponential_loop.f",
    "a6_sine.total_sine",
    "c_scalar_formulas.product",
    "c_scalar_formulas.rational",
    "c_scalar_formulas.transcendental",
    "c_linear_layer.loss_loops",
    "c_linear_layer.loss_arrays",
    "d_graph_drawn.in_one_line",
    "d_graph_drawn.with_intermediate_names",
]
"""All but those that hold values constant (A3, B1) or have rules of their own (B2): what modes make of these is no
derivative of anything, so that second derivatives need not be symmetric."""


# ---------------------------------------------------------------- GradBench


def missed(mode: str) -> Callable[..., Any]:
    """particle's inner problem, with forces in one of the modes."""
    inner = descent.MODES[mode]

    def miss(w: Any) -> Any:
        return particle.miss(w, inner)

    return miss


def at_the_saddle(outer: str, inner: str) -> Callable[..., Any]:
    """How far an optimization within an optimization has come from a start."""
    search = saddle.saddle_point(descent.MODES[outer], descent.MODES[inner])

    def found(start: Any) -> Any:
        return np.sum(search(start) * np.array([0.3, -0.7, 1.1, 0.2]))

    return found


def gradbench(name: str) -> Case:
    """One of the twelve programs. Optimizations go few, long steps: see `GRADBENCH`."""
    if name in GRADIENTS:
        function, argnums = GRADIENTS[name]
        return of_call(function, arguments(name), argnums)
    if name == "hello":
        return of_call(lambda x: x * x, (3.0,), (0,))
    if name == "ba":
        r = draws()
        return of_call(weighted_image, (r(11), r(3) + 3, 0.7, r(2)), (0, 1, 2))
    if name == "ht":
        return of_call(weighted_hand, (*arguments("ht", ht_input(True)), draws(1)((3, 3))), (0, 1))
    if name.startswith("particle"):
        return of_call(missed(name[-1]), (np.array([0.1]),), (0,))
    return of_call(at_the_saddle(*name[-2:]), (np.array([1.0, 0.6]),), (0,))


GRADBENCH = [*GRADIENTS, "hello", "ba", "ht", "particle f", "particle r", "saddle fr", "saddle rf"]
"""To be called with `particle.STEP`, `descent.FIRST_RATE` and `descent.FLAT` changed, as `test_mode_agreement` does."""
