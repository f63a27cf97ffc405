"""The suite `overhead`: what a call from Python costs where the work itself is next to nothing.

In: three ways to pass arguments: a number, three arrays, a tree of ten arrays. Out: the time of a gradient, of JAX's
jitted one (the result ready), and of a derivative written by hand that Numba compiled (`numba`: its dispatcher).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api import grad, jit
from .agreement import agree
from .options import Contender, Options, Unavailable, start_jax
from .results import Row
from .suite_gradbench import time_all
from .timing import first_call

__all__ = ["contender", "measure", "names"]

LEAVES, LENGTH = 10, 3


def scalar(x: Any) -> Any:
    return x * np.sin(x)


def arrays(a: Any, b: Any, c: Any) -> Any:
    return np.sum(a * b + c)


def tree(parameters: dict[str, Any]) -> Any:
    total = 0.0
    for name in parameters:
        total = total + np.sum(parameters[name] * parameters[name])
    return total


def scalar_by_hand(x: float) -> float:
    return math.sin(x) + x * math.cos(x)


def arrays_by_hand(a: Any, b: Any, c: Any) -> Any:
    return b.copy(), a.copy(), np.ones_like(c)


def tree_by_hand(a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any, j: Any) -> Any:
    return 2.0 * a, 2.0 * b, 2.0 * c, 2.0 * d, 2.0 * e, 2.0 * f, 2.0 * g, 2.0 * h, 2.0 * i, 2.0 * j


Case = tuple[Callable[..., Any], tuple[int, ...] | int, Callable[..., Any]]
CASES: dict[str, Case] = {
    "scalar": (scalar, 0, scalar_by_hand),
    "three arrays": (arrays, (0, 1, 2), arrays_by_hand),
    "tree of ten leaves": (tree, 0, tree_by_hand),
}


def names(options: Options) -> Sequence[str]:
    return list(CASES)


def arguments_of(name: str) -> tuple[Any, ...]:
    """The arguments of a case."""
    generator = np.random.default_rng(0)
    if name == "scalar":
        return (0.7,)
    if name == "three arrays":
        return tuple(generator.normal(size=LENGTH) for _ in range(3))
    return ({f"w{k}": generator.normal(size=LENGTH) for k in range(LEAVES)},)


def contender(name: str, side: str, options: Options) -> Contender:
    """A side of a case."""
    function, argnums, by_hand = CASES[name]
    arguments = arguments_of(name)
    if side == "adjit":
        return Contender("adjit", arguments, grad(function, argnums=argnums), jit(function))
    if side == "numba":
        import numba

        flat = tuple(arguments[0].values()) if name == "tree of ten leaves" else arguments
        return Contender("numba", flat, numba.njit(by_hand))
    if side == "jax":
        jax = start_jax()
        plain = {"scalar": lambda x: x * jax.numpy.sin(x), "three arrays": lambda a, b, c: jax.numpy.sum(a * b + c)}
        gradient = jax.jit(jax.grad(plain.get(name, tree_in(jax)), argnums=argnums))
        placed = jax.tree.map(lambda x: jax.numpy.asarray(x) if isinstance(x, np.ndarray) else x, arguments)
        return Contender("jax", placed, lambda *a: jax.block_until_ready(gradient(*a)))
    raise Unavailable(f"{side} has no overhead to compare")


def tree_in(jax: Any) -> Callable[..., Any]:
    return lambda parameters: sum(jax.numpy.sum(x * x) for x in parameters.values())


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("overhead", name)
    sides = []
    wanted: Any = None
    for side in ("adjit", *options.peers):
        try:
            made = contender(name, side, options)
        except Unavailable:
            continue
        row.first_calls[side], result = first_call(made.side("derivative"))
        if side == "adjit":
            wanted = result
            first_call(made.side("primal"))
            reference = CASES[name][2]
            flat = contender_arguments(made)
            agree(wanted, reference(*flat), "the gradient and the one by hand")
        else:
            agree(wanted, result, f"adjit and {side}")
        sides += made.sides()
    time_all(row, sides, options)
    return row


def contender_arguments(made: Contender) -> tuple[Any, ...]:
    """The arguments as the functions by hand take them."""
    first = made.arguments[0]
    return tuple(first.values()) if isinstance(first, dict) else made.arguments
