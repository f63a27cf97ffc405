"""NPBench's own ports to JAX, as a side of the suite `npbench`.

In: a `Problem` (see `npbench`) and the port, which returns what the NumPy program returns or writes. Out: a `Contender`
with the value and the gradient of the same loss, jitted, and what is missing in it. Which of a port's outputs is which
of the program's is told by their values; the weights of an output that the port does not return count as zero. A port
that takes numbers as static (a time step, say) cannot be differentiated with respect to them: then its arrays alone
are. Either is less work than adjit does, and is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .agreement import ALLOWED, Mismatch, distance
from .npbench import Problem, port
from .options import Contender, start_jax

__all__ = ["contender"]


@dataclass(frozen=True)
class Port:
    """What a port is differentiated with respect to (numbers of the problem's floats), and the weights of the program's
    outputs if it does not return all of them."""

    moving: Sequence[int]
    weights: tuple[Any, ...] | None


def listed(result: Any) -> list[Any]:
    """A port's outputs."""
    return list(result) if isinstance(result, tuple | list) else [result]


def places(given: Problem, outputs: Sequence[Any]) -> list[int | None]:
    """For each output of the program that has a weight, which of the port's it is; `Mismatch` where it is none."""
    found: list[int | None] = []
    for weight, wanted in zip(given.weights, given.outputs, strict=True):
        if weight is not None:
            same = [j for j, x in enumerate(outputs) if j not in found and distance(np.asarray(x), wanted) <= ALLOWED]
            found.append(same[0] if same else None)
    if all(place is None for place in found):
        shapes = ", ".join(str(np.shape(x)) for x in outputs)
        raise Mismatch(f"the port returns none of the program's outputs (its own: {shapes})")
    return found


def scalar_loss(
    program: Callable[..., Any],
    given: Problem,
    moving: Sequence[int],
    where: Sequence[int | None],
    weights: Sequence[Any],
) -> Callable[..., Any]:
    """The loss as a function of the floats in `moving` and of the integer arrays; all else is a constant."""

    def loss(floats: Sequence[Any], arrays: Sequence[Any]) -> Any:
        outputs = listed(program(*arguments(given, dict(zip(moving, floats, strict=True)), arrays)))
        return sum((weights[k] * outputs[j]).sum() for k, j in enumerate(where) if j is not None)

    return loss


def arguments(given: Problem, floats: dict[int, Any], arrays: Sequence[Any]) -> list[Any]:
    """The program's arguments: `floats` by number, and the integer arrays; as they are in the problem for the rest."""
    mine = [floats.get(k, x) for k, x in enumerate(given.floats)]
    rest = iter(arrays)
    others = [next(rest) if isinstance(x, np.ndarray) else x for x in given.others]
    first, second = iter(mine), iter(others)
    return [next(first if chosen else second) for chosen in given.chosen]


def contender(root: Path, given: Problem) -> tuple[Contender, Port]:
    """See the module's docstring; whatever JAX raises. Nothing stays compiled."""
    jax = start_jax()
    program = port(root, given.name, "jax")
    asarray = jax.numpy.asarray
    arrays = [asarray(x) for x in given.others if isinstance(x, np.ndarray)]
    floats = dict(enumerate(asarray(x) if isinstance(x, np.ndarray) else x for x in given.floats))
    where = places(given, listed(program(*arguments(given, floats, arrays))))
    weights = [asarray(w) for w in given.weights if w is not None]
    everything = list(floats)
    only_arrays = [k for k, x in enumerate(given.floats) if isinstance(x, np.ndarray)]
    for moving in (everything, only_arrays):
        loss = scalar_loss(program, given, moving, where, weights)
        value, gradient = jax.jit(loss), jax.jit(jax.grad(loss))
        chosen = ([asarray(floats[k]) for k in moving], arrays)
        try:
            jax.eval_shape(gradient, *chosen)
        except Exception:
            if moving == everything and only_arrays and only_arrays != everything:
                continue
            raise
        break
    jax.clear_caches()
    ready = jax.block_until_ready
    side = Contender("jax", chosen, lambda *a: ready(gradient(*a)), lambda *a: ready(value(*a)))
    return side, Port(moving, zeroed(given.weights, where))


def zeroed(weights: Sequence[Any], where: Sequence[int | None]) -> tuple[Any, ...] | None:
    """The weights, zero where the port has no such output; None where it has all."""
    if None not in where:
        return None
    rest = iter(where)
    return tuple(w if w is None or next(rest) is not None else np.zeros_like(w) for w in weights)
