"""`adjit bench npbench --root DIR`: every real program of NPBench differentiated, checked and timed.

In: a checkout of NPBench (see `npbench`). Out: a table with a row for each program, and JSON on request. Of each
gradient is said how far its product with a fixed random direction is, relatively, from a difference quotient of the
plain program and from complex step through the traced IR (``-`` where the program jumps or bends between any two
points, so that a quotient says nothing; ``~`` where the program is so ill-conditioned that no float64 arithmetic comes
closer), how many compiled values it costs, and the seconds of the first call, stage by stage in the JSON.

A row fails, and the exit status is not zero, if the program is refused or breaks; if the gradient is further from a
reference than allowed, or has no reference; if an argument has changed, or a second call gives other bits.
"""

from __future__ import annotations

import copy
import gc
import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..api import grad, jit
from ..api.arguments import flatten_tree
from ..api.specialize import Specialization
from ..ir.core import walk
from ..ir.types import F32
from .npbench import Problem, names, problem
from .references import complex_step, difference_quotient, direction, relative, slope
from .runner import once, scaled

__all__ = ["Row", "main", "measure"]

QUOTIENT_ALLOWED = 1e-5
EXACT_ALLOWED = {"f64": 1e-9, "f32": 1e-6}
"""By the precision that the program computes in: some round to float32 inside."""
CONDITION = 3.0
"""An ill-conditioned program may also be so many times as far from complex step as complex step is from itself at
arguments whose last bits are others."""
SMOOTH = 1e-6
"""Relative error that a difference quotient may estimate of itself in order to count."""
BUDGET = 0.5
"""Seconds spent on timing a program."""


@dataclass
class Row:
    """What was found out about one program. Errors are relative; times are the best of several rounds, in seconds."""

    name: str
    failure: str = ""
    """Why the program fails; empty where all is well."""
    quotient_error: float | None = None
    """None where no difference quotient counts."""
    exact_error: float | None = None
    ill_conditioned: bool = False
    """Complex step moves as much where the last bits of the arguments do."""
    exact: float | None = None
    """The derivative along the direction, by complex step."""
    value_error: float | None = None
    """Of the compiled value, against plain Python."""
    value: float = math.nan
    gradient: float = math.nan
    first_call: float = math.nan
    """Of the gradient: from nothing to its first result, code from the disk cache included."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of the first call, stage by stage."""

    def text(self) -> str:
        out = f"{self.name:18s}"
        if math.isnan(self.first_call):
            return f"{out}FAILED  {self.failure}"
        ratio = f"{self.gradient / self.value:10.2f}" if self.value > 0 else f"{'-':>10s}"
        loose = "~" if self.ill_conditioned else " "
        out += f"{digits(self.quotient_error)}{digits(self.exact_error)}{loose}{ratio[1:]}{self.first_call:10.2f} s"
        out += scaled(self.gradient) if not math.isnan(self.gradient) else f"{'-':>12s}"
        return out + (f"  FAILED  {self.failure}" if self.failure else "")


def digits(error: float | None) -> str:
    """An error, 12 characters wide."""
    return f"{'-':>12s}" if error is None else f"{error:12.1e}"


class Mismatch(Exception):
    """A check that failed."""


def measure(root: Path, name: str, preset: str = "S") -> Row:
    """Differentiate, check and time a program."""
    row = Row(name)
    try:
        differentiate(problem(root, name, preset), row)
    except Exception as error:  # whatever it is, it belongs into the table
        row.failure = reason(error)
    return row


def differentiate(given: Problem, row: Row) -> None:
    """Fill in a row; `Mismatch` and whatever the program raises."""
    gradient, value = grad(given.loss), jit(given.loss)
    arguments = given.fresh()
    begin = time.perf_counter()
    found = gradient(*arguments)
    row.first_call = time.perf_counter() - begin
    spec = gradient._stage_source()
    row.stages = spec.seconds
    if bits(arguments) != bits(given.fresh()):
        raise Mismatch("an argument has changed")
    if bits(found) != bits(gradient(*arguments)):
        raise Mismatch("a second call gives other bits")
    with np.errstate(all="ignore"):
        wanted = float(given.loss(*given.fresh()))
    row.value_error = relative(float(value(*given.fresh())), wanted)
    compare(given, found, spec, row)
    del found
    time_both(given, gradient, value, row)


def bits(tree: Any) -> list[bytes]:
    """What tells two trees of numbers and arrays apart."""
    leaves = [np.ascontiguousarray(x).reshape(-1) for x in flatten_tree(tree)[0] if x is not None]
    return [hashlib.sha256(x.view(np.uint8).data).digest() for x in leaves]


def compare(given: Problem, gradient: Sequence[Any], spec: Specialization, row: Row) -> None:
    """The gradient against both references; `Mismatch` where it is too far from one."""
    along = direction(given.floats)
    ours = slope(gradient, along)
    row.exact = complex_step(spec, given.fresh(), along)
    row.exact_error = relative(ours, row.exact)
    found = f"the gradient gives {ours!r}, complex step {row.exact!r}"
    single = single_inside(spec)
    close = row.exact_error <= EXACT_ALLOWED["f32" if single else "f64"]
    if not close:
        moved = [complex_step(spec, (last_bits(given.floats, k), *given.fresh()[1:]), along) for k in range(3)]
        close = row.ill_conditioned = row.exact_error <= CONDITION * max(relative(row.exact, m) for m in moved)
    if not single:  # rounding to float32 makes a function of steps: flat between them
        quotient, estimate = difference_quotient(
            lambda floats: given.loss(floats, copy.deepcopy(given.others), given.weights), given.floats, along
        )
        found += f", a difference quotient {quotient!r} +- {estimate:.1e}"
        if estimate <= SMOOTH * abs(quotient):
            row.quotient_error = relative(ours, quotient)
            if not row.quotient_error <= QUOTIENT_ALLOWED:
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


def time_both(given: Problem, gradient: Any, value: Any, row: Row) -> None:
    """The best times of the compiled value and the gradient, in turns."""
    arguments = given.fresh()
    times = max(1, min(1000, int(0.002 / once(gradient, arguments, 1))))
    row.value = row.gradient = math.inf
    begin = time.perf_counter()
    rounds = 0
    while rounds < 3 or time.perf_counter() - begin < BUDGET:
        row.value = min(row.value, once(value, arguments, times))
        row.gradient = min(row.gradient, once(gradient, arguments, times))
        rounds += 1


def reason(error: BaseException) -> str:
    """An error in one line: its class, its message, the line of the program it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    where = next((line.removeprefix("--> ") for line in lines if line.startswith("--> ")), "")
    where = f" ({Path(where).name})" if where else ""
    what = lines[0] if isinstance(error, Mismatch) else f"{type(error).__name__}: {lines[0]}"
    return what + where


def main(root: str, only: Sequence[str] = (), preset: str = "S", json_file: str | None = None) -> int:
    """Measure the programs (all unless some are named), print the table; 1 where one fails, else 0."""
    known = names(Path(root))
    unknown = [n for n in only if n not in known]
    if unknown:
        raise ValueError(f"no program {unknown[0]} in {root}; there are {', '.join(known)}")
    print(f"{'program':18s}{'quotient':>12s}{'exact':>12s}{'ratio':>10s}{'first call':>12s}{'gradient':>12s}")
    jit(lambda x: x)(1.0)  # Numba's own start belongs to no program
    rows = []
    for name in only or known:
        rows.append(measure(Path(root), name, preset))
        print(rows[-1].text(), flush=True)
        gc.collect()
    failed = sum(bool(row.failure) for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} programs hold")
    if json_file is not None:
        text = json.dumps({"preset": preset, "programs": [asdict(row) for row in rows]}, indent=1)
        Path(json_file).write_text(text + "\n", encoding="utf-8")
    return 1 if failed else 0
