"""Whether forward and reverse mode agree on a program, alone and applied to each other, up to third derivatives.

In: a scalar function `loss(x, rest)`, to be differentiated with respect to all of `x` (a tuple of arrays and numbers,
or of structures of them), and its arguments. Out: an `Agreement`: how far results that are mathematically one are from
each other. With g the gradient, H the matrix of second derivatives, v and w fixed random directions, and modes named
from the outermost to the innermost, F for forward and R for reverse:

    first    F, R                  <g, v>
    second   FR, RR, RF            H v, array by array; and <w, H v> against <v, H w>
    third    FFR, FRR, RFF, RRR    the gradient of <w, H v>, array by array

Distances are relative to the largest entry of each array; those of inner products to the sum of the sizes of their
terms. Directions have the size of the arguments, so that <g, v>, H v * v and the like are of one size unless something
cancels: what is smaller than the derivative of one order less by `CANCELS` is compared on that one's scale.

A program may be so ill-conditioned that no float64 arithmetic comes to the same digits twice: then the distance is also
compared with how far one and the same derivative moves where the last bits of the arguments do (`moved`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..api import grad, jit, jvp
from ..api.arguments import flatten_tree, unflatten
from .agreement import leaves

__all__ = ["ALLOWED", "Agreement", "Modes", "agreement", "directions"]

CANCELS = 1e-4
"""How much of a derivative may cancel before its digits count as lost."""
ALLOWED = 1e-10
CONDITION = 3.0
"""How many times further than a derivative moves with the last bits of its arguments modes may be apart."""


@dataclass
class Agreement:
    """Distances, by what is compared: ``F``, ``RR``, ``RF``, ``symmetric``, ``FRR``, …"""

    distances: dict[str, float] = field(default_factory=dict)
    moved: float = 0.0
    """How far derivatives move with the last bits of the arguments; 0 where that was not measured."""

    def holds(self, allowed: float = ALLOWED) -> bool:
        """Whether all agree as well as asked, or as well as the program lets float64 do."""
        return self.worst <= allowed or bool(np.isfinite(self.worst) and self.worst <= CONDITION * self.moved)

    @property
    def worst(self) -> float:
        """The largest distance (NaN counts as infinite)."""
        return max((d if d == d else np.inf for d in self.distances.values()), default=0.0)


def inner(a: Any, b: Any) -> Any:
    """<a, b> of two structures of arrays and numbers; traced as well as run."""
    if isinstance(a, tuple | list):
        total = 0.0
        for p, q in zip(a, b):
            total = total + inner(p, q)
        return total
    if isinstance(a, dict):
        return inner(list(a.values()), list(b.values()))
    return np.sum(a * b)


class Modes:
    """The derivatives of `loss(x, rest)` with respect to `x` along directions, each one kernel.

    `first` and `second` take (x, rest, v), `third` takes (x, rest, v, w); by names of modes.
    """

    def __init__(self, loss: Callable[..., Any]) -> None:
        def forward(x: Any, rest: Any, v: Any) -> Any:
            return jvp(lambda y: loss(y, rest), (x,), (v,))[1]

        def reverse(x: Any, rest: Any, v: Any) -> Any:
            return inner(grad(loss)(x, rest), v)

        def forward_reverse(x: Any, rest: Any, v: Any) -> Any:
            return jvp(lambda y: grad(loss)(y, rest), (x,), (v,))[1]

        def ffr(x: Any, rest: Any, v: Any, w: Any) -> Any:
            return jvp(lambda y: forward_reverse(y, rest, v), (x,), (w,))[1]

        def rrr(x: Any, rest: Any, v: Any, w: Any) -> Any:
            return grad(lambda y: inner(grad(reverse)(y, rest, v), w))(x)

        def rff(x: Any, rest: Any, v: Any, w: Any) -> Any:
            return grad(lambda y: jvp(lambda z: forward(z, rest, v), (y,), (w,))[1])(x)

        def frr(x: Any, rest: Any, v: Any, w: Any) -> Any:
            return jvp(lambda y: grad(reverse)(y, rest, v), (x,), (w,))[1]

        self.gradient = grad(loss)
        self.first = {"F": jit(forward), "R": jit(reverse)}
        self.second = {"FR": jit(forward_reverse), "RR": grad(reverse), "RF": grad(forward)}
        self.third = {"FFR": jit(ffr), "FRR": jit(frr), "RFF": jit(rff), "RRR": jit(rrr)}


def agreement(modes: Modes, x: Any, rest: Any, third: bool = False, allowed: float = ALLOWED) -> Agreement:
    """Compare all modes at `x`, of third derivatives too with `third`. Arguments are copied before each call. Where
    something is further apart than `allowed`, it is measured how far derivatives move with the last bits of `x`."""
    v, w = directions(x, 2), directions(x, 3)

    def at(function: Callable[..., Any], *along: Any) -> Any:
        return function(copy.deepcopy(x), copy.deepcopy(rest), *along)

    out = Agreement()
    gradient = at(modes.gradient)
    sizes = [largest(g) for g in leaves(gradient)]
    first = {name: float(at(f, v)) for name, f in modes.first.items()}
    out.distances["F"] = relative(first["F"], first["R"], terms(gradient, v))
    second = {name: at(f, v) for name, f in modes.second.items()}
    for name in ("RR", "RF"):
        out.distances[name] = apart(second[name], second["FR"], sizes)
    across = at(modes.second["FR"], w)
    one, other = float(inner(w, second["FR"])), float(inner(v, across))
    size = max(terms(w, second["FR"]), terms(v, across), CANCELS * terms(w, gradient))
    out.distances["symmetric"] = relative(one, other, size)
    thirds = modes.third if third else {}
    above = [max(largest(h), CANCELS * s) for h, s in zip(leaves(second["FR"]), sizes, strict=True)]
    found = {name: at(f, v, w) for name, f in thirds.items()}
    for name in list(found)[1:]:
        out.distances[name] = apart(found[name], found["FFR"], above)
    if not out.worst <= allowed:
        for k in range(3):
            near = (last_bits(x, k), copy.deepcopy(rest))
            out.moved = max(out.moved, relative(float(modes.first["R"](*near, v)), first["R"], terms(gradient, v)))
            near = (last_bits(x, k), copy.deepcopy(rest))
            out.moved = max(out.moved, apart(modes.second["FR"](*near, v), second["FR"], sizes))
            if third:
                near = (last_bits(x, k), copy.deepcopy(rest))
                out.moved = max(out.moved, apart(modes.third["FFR"](*near, v, w), found["FFR"], above))
    return out


def each(function: Callable[[Any], Any], x: Any) -> Any:
    """The same structure with `function` applied to each number and array."""
    found, structure = flatten_tree(x)
    return unflatten(structure, [function(leaf) for leaf in found])


def directions(x: Any, seed: int) -> Any:
    """A structure like `x` of random numbers of the size of the entries of each array."""
    generator = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        size = float(np.sqrt(np.mean(np.square(leaf)))) if np.size(leaf) else 0.0
        by = generator.standard_normal(np.shape(leaf)) * (size or 1.0)
        return by.astype(leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf)(by)

    return each(draw, x)


def last_bits(x: Any, seed: int) -> Any:
    """The same numbers, each with its last bit up, down or unchanged at random."""
    generator = np.random.default_rng(seed)

    def move(leaf: Any) -> Any:
        by = np.nextafter(leaf, leaf + generator.integers(-1, 2, np.shape(leaf)), dtype=np.asarray(leaf).dtype)
        return by if isinstance(leaf, np.ndarray) else type(leaf)(by)

    return each(move, x)


# ---------------------------------------------------------------- distances


def largest(array: Any) -> float:
    return float(np.max(np.abs(array), initial=0.0))


def terms(a: Any, b: Any) -> float:
    """The sum of the sizes of the terms of <a, b>."""
    return float(sum(np.sum(np.abs(p * q)) for p, q in zip(leaves(a), leaves(b), strict=True)))


def relative(found: float, wanted: float, size: float) -> float:
    return 0.0 if found == wanted else abs(found - wanted) / size


def apart(found: Any, wanted: Any, sizes: list[float]) -> float:
    """The largest distance of two structures of arrays, each relative to its largest entry, or to a share of `sizes`;
    infinite where shapes differ or what is not finite is not the same."""
    out = 0.0
    for a, b, size in zip(leaves(found), leaves(wanted), sizes, strict=True):
        if a.shape != b.shape:
            return np.inf
        if np.array_equal(a, b):
            continue
        difference = largest(a - b) / max(largest(a), largest(b), CANCELS * size)
        out = max(out, difference if np.isfinite(difference) else np.inf)
    return out
