"""What is checked of a program of NPBench before it is timed.

In: a `Problem` (see `npbench`), its compiled gradient and value. Out: `Checked`: how far the gradient's product with a
fixed random direction is, relatively, from a difference quotient of the plain program (None where the program jumps or
bends between any two points, so that a quotient says nothing) and from complex step through the traced IR, and whether
the program is so ill-conditioned that no float64 arithmetic comes closer.

`Mismatch` if the gradient is further from a reference than allowed, or has no reference; if an argument has changed, or
a second call gives other bits.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..api.arguments import flatten_tree
from ..api.specialize import Specialization
from ..ir.core import walk
from ..ir.types import F32
from .agreement import Mismatch
from .npbench import Problem
from .references import complex_step, difference_quotient, direction, relative, slope

__all__ = ["Checked", "check"]

QUOTIENT_ALLOWED = 1e-5
EXACT_ALLOWED = {"f64": 1e-9, "f32": 1e-6}
"""By the precision that the program computes in: some round to float32 inside."""
CONDITION = 3.0
"""An ill-conditioned program may also be so many times as far from complex step as complex step is from itself at
arguments whose last bits are others."""
SMOOTH = 1e-6
"""Relative error that a difference quotient may estimate of itself in order to count."""


@dataclass
class Checked:
    """What was found out about one program. Errors are relative."""

    quotient_error: float | None = None
    """None where no difference quotient counts."""
    exact_error: float | None = None
    ill_conditioned: bool = False
    """Complex step moves as much where the last bits of the arguments do."""
    exact: float | None = None
    """The derivative along the direction, by complex step."""
    value_error: float | None = None
    """Of the compiled value, against plain Python."""


def check(given: Problem, gradient: Any, value: Any, found: Any, checked: Checked) -> None:
    """Fill in `checked`, `found` being the gradient's first result; `Mismatch`."""
    arguments = given.fresh()
    again = gradient(*arguments)
    if bits(arguments) != bits(given.fresh()):
        raise Mismatch("an argument has changed")
    if bits(found) != bits(again):
        raise Mismatch("a second call gives other bits")
    with np.errstate(all="ignore"):
        wanted = float(given.loss(*given.fresh()))
    checked.value_error = relative(float(value(*given.fresh())), wanted)
    compare(given, found, gradient._stage_source(), checked)


def bits(tree: Any) -> list[bytes]:
    """What tells two trees of numbers and arrays apart."""
    leaves = [np.ascontiguousarray(x).reshape(-1) for x in flatten_tree(tree)[0] if x is not None]
    return [hashlib.sha256(x.view(np.uint8).data).digest() for x in leaves]


def compare(given: Problem, gradient: Sequence[Any], spec: Specialization, checked: Checked) -> None:
    """The gradient against both references; `Mismatch` where it is too far from one."""
    along = direction(given.floats)
    ours = slope(gradient, along)
    checked.exact = complex_step(spec, given.fresh(), along)
    checked.exact_error = relative(ours, checked.exact)
    found = f"the gradient gives {ours!r}, complex step {checked.exact!r}"
    single = single_inside(spec)
    close = checked.exact_error <= EXACT_ALLOWED["f32" if single else "f64"]
    if not close:
        moved = [complex_step(spec, (last_bits(given.floats, k), *given.fresh()[1:]), along) for k in range(3)]
        itself = max(relative(checked.exact, m) for m in moved)
        close = checked.ill_conditioned = checked.exact_error <= CONDITION * itself
    if not single:  # rounding to float32 makes a function of steps: flat between them
        quotient, estimate = difference_quotient(
            lambda floats: given.loss(floats, copy.deepcopy(given.others), given.weights), given.floats, along
        )
        found += f", a difference quotient {quotient!r} +- {estimate:.1e}"
        if estimate <= SMOOTH * abs(quotient):
            checked.quotient_error = relative(ours, quotient)
            if not checked.quotient_error <= QUOTIENT_ALLOWED:
                raise Mismatch(found)
    if not close:
        raise Mismatch(found)


def last_bits(floats: Sequence[Any], seed: int) -> tuple[Any, ...]:
    """The same numbers, each with its last bit up, down or unchanged at random."""
    generator = np.random.default_rng(seed)
    return tuple(np.nextafter(x, x + generator.integers(-1, 2, np.shape(x)), dtype=np.float64) for x in floats)


def single_inside(spec: Specialization) -> bool:
    """Whether the traced program computes in float32 anywhere."""
    return any(getattr(v.type, "dtype", None) is F32 for op in walk(spec.stages.traced.body) for v in op.results)
