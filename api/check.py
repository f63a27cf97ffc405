"""`check_grads`: derivatives against numerical ones, entry by entry.

In: a function, arguments, an order and modes. Out: a `GradientReport`, which names the worst entry of each check, or a
`GradientError` (an AssertionError) that holds it.

The function is traced, and the program that differentiation gives is run by the reference interpreter and compared with
the complex step `Im f(x + ih) / h` through the program before it, which has no cancellation; where an operation does
not continue to complex numbers, with central differences. Higher orders do the same with the derivative programs along
random directions, so order 2 checks each mode over each. Arguments are not changed, whatever the function writes to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..ir import interp, pipeline
from ..ir.adjoint import jvp, vjp
from ..ir.adjoint.activity import is_differentiable_type
from ..ir.core import Function
from ..ir.errors import ArgumentError
from .arguments import flatten_call, leaf_names, place_of
from .compiled import Compiled
from .specialize import Transform, specialize

__all__ = ["GradientError", "GradientReport", "check_grads"]

MODES = ("fwd", "rev")
ENTRIES = 64
"""How many entries of the arguments are checked one by one (drawn at random where there are more)."""
STEP = 1e-30


@dataclass(frozen=True)
class Entry:
    """One derivative. `argument`: which one, as in `argument 0['w'] (`p_w`)`; `index`: of its element; `result`: of
    what; `step`: of the numerical derivative, `method`: "complex step" or "differences"."""

    result: str
    argument: str
    index: tuple[int, ...]
    ours: float
    numerical: float
    method: str
    step: float
    allowed: float
    """How far the two may be apart."""

    @property
    def error(self) -> float:
        same = self.ours == self.numerical or (np.isnan(self.ours) and np.isnan(self.numerical))
        return 0.0 if same else abs(self.ours - self.numerical)

    @property
    def excess(self) -> float:
        """The error in units of what is allowed."""
        if self.error == 0.0:
            return 0.0
        found = self.error / self.allowed if self.allowed else np.inf
        return float(found) if np.isfinite(found) else np.inf

    def __str__(self) -> str:
        return (
            f"the derivative of {self.result} with respect to {self.argument}{show(self.index)} is {self.ours!r}, "
            f"numerically {self.numerical!r} (error {self.error:.1e}, allowed {self.allowed:.1e}; {self.method}, step "
            f"{self.step:.0e})"
        )


@dataclass(frozen=True)
class Comparison:
    """One check: a mode, over others for higher orders. `worst` of its `entries`, of which `bad` are off."""

    order: int
    mode: str
    entries: int
    bad: int
    worst: Entry | None

    def __str__(self) -> str:
        if self.worst is None:
            return f"order {self.order}, {self.mode}: nothing to compare"
        head, worst = f"order {self.order}, {self.mode}", self.worst
        if self.bad:
            return f"{head}: {self.bad} of {self.entries} entries are off; the worst: {worst}"
        how = f"{worst.method}, step {worst.step:.0e}"
        return f"{head}: {self.entries} entries agree, the worst to {worst.error:.1e} ({how})"


@dataclass
class GradientReport:
    """What `check_grads` found: a `Comparison` for each mode and order. True where all agree."""

    function: str
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def worst(self) -> Comparison | None:
        """The comparison with the worst entry."""
        found = [c for c in self.comparisons if c.worst is not None]
        return max(found, key=lambda c: c.worst.excess if c.worst else 0.0, default=None)

    def __bool__(self) -> bool:
        return not any(c.bad for c in self.comparisons)

    def __repr__(self) -> str:
        verdict = "agree" if self else "DIFFER"
        head = f"derivatives of `{self.function}` {verdict} with numerical ones"
        return "\n".join([head, *(f"  {c}" for c in self.comparisons)])


class GradientError(AssertionError):
    """A derivative that differs from the numerical one; `report` has them all."""

    def __init__(self, message: str, report: GradientReport) -> None:
        super().__init__(message)
        self.report = report


@dataclass
class Subject:
    """A program to differentiate. `wrt`: arguments that vary; `given`: all arguments; `what`: how it was made."""

    function: Function
    given: list[Any]
    wrt: list[int]
    what: str
    order: int = 1


@dataclass(frozen=True)
class Column:
    """The numerical derivative of every float result with respect to one element of an argument."""

    parts: list[Any]
    method: str
    step: float
    tolerance: float


Columns = dict[tuple[int, Any], Column]


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] | str = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
    *,
    raises: bool = True,
) -> GradientReport:
    """Check the derivatives of `function` at `args` up to `order`, in forward ("fwd") and reverse ("rev") mode, by the
    complex step where every operation continues to complex numbers, else by central differences.

    Returns a report; raises `GradientError`, an AssertionError, with the worst entry (which argument and element, which
    mode, both values, the error, the step) unless `raises=False`. Tolerances are 1e-9 where complex step works, else
    1e-5, and 1e-2 in float32, unless given; `eps`: the step of differences. All float leaves of the arguments are
    differentiated; integers and the like are constants. Nothing is changed, in-place writes included.

    >>> import numpy as np
    >>> from adjit import check_grads
    >>> print(check_grads(lambda x: np.sum(x * x), (np.array([1.0, 2.0]),), order=1, modes="rev"))
    derivatives of `<lambda>` agree with numerical ones
      order 1, reverse mode: 2 entries agree, the worst to 0.0e+00 (complex step, step 1e-30)
    """
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    for mode in modes:
        if mode not in MODES:
            raise ArgumentError(f"no mode {mode!r}", help='modes are "fwd" and "rev"')
    if not isinstance(order, int) or order < 1:
        raise ArgumentError(f"order={order!r}: the order is a number from 1", help="write `order=2`")
    if not isinstance(args, tuple | list):
        raise ArgumentError(
            f"the arguments are one tuple, not {type(args).__name__}", help="write `check_grads(f, (x,))`"
        )
    compiled = function if isinstance(function, Compiled) else Compiled(function, Transform("jit", (), False, ()))
    call = flatten_call(tuple(args), {})
    spec = specialize(compiled, Transform("primal", None, False, ()), call)
    captured = spec.captured()
    assert captured is not None
    program = spec.stages.optimized  # with rules, which the finished program has no more
    given = [np.array(x)[()] for x in (*call.dynamic, *captured)]
    count = len(call.dynamic)
    wrt = [k for k in range(count) if is_differentiable_type(program.args[k])]
    if not wrt:
        raise ArgumentError("no argument is a float, so there is no derivative to check", help="pass floats")
    leaf_of = [n for n, t in enumerate(call.types) if t is not None]
    names = [place_of(call.treespec, leaf_of[k]) for k in wrt]
    readable = leaf_names(call, function)
    labels = [f"{name} (`{readable[k]}`)" for name, k in zip(names, wrt, strict=True)]
    report = GradientReport(getattr(function, "__name__", "the function"))
    checker = Checker(modes, atol, rtol, eps, labels, np.random.default_rng(0), report)
    checker.check(Subject(program, given, wrt, ""), order)
    worst = report.worst
    if raises and not report:
        assert worst is not None
        raise GradientError(f"{worst.mode}: {worst.worst} ({worst.bad} of {worst.entries} entries are off)", report)
    return report


@dataclass
class Checker:
    """The settings of one check. `labels`: what the differentiated arguments are called."""

    modes: Sequence[str]
    atol: float | None
    rtol: float | None
    eps: float | None
    labels: list[str]
    random: np.random.Generator
    report: GradientReport

    def check(self, subject: Subject, order: int) -> None:
        """Compare the first derivative of a program, then go on with the programs that compute it."""
        results = interp.run(subject.function, subject.given)
        floats = [k for k, v in enumerate(subject.function.results) if is_differentiable_type(v)]
        if not floats:
            raise ArgumentError("the function returns no float, so there is no derivative to check")
        outputs = [np.asarray(results[k]) for k in floats]
        columns = self.columns(subject, floats)
        for mode in self.modes:
            if mode == "fwd":
                self.forward(subject, columns)
            else:
                self.reverse(subject, floats, outputs, columns)
        if order == 1:
            return
        for mode in self.modes:
            self.check(self.derivative(subject, mode, floats, outputs), order - 1)

    # ------------------------------------------------------------ numerical derivatives

    def columns(self, subject: Subject, floats: list[int]) -> Columns:
        """For entries of the arguments, the numerical derivative of every float result."""
        entries = [(k, index) for k in subject.wrt for index in np.ndindex(np.shape(subject.given[k]))]
        if len(entries) > ENTRIES:
            entries = [entries[k] for k in sorted(self.random.choice(len(entries), ENTRIES, replace=False))]
        single = any(np.asarray(x).dtype == np.float32 for x in subject.given)
        if not single:
            try:
                return {e: Column(self.complex_step(subject, floats, *e), "complex step", STEP, 1e-9) for e in entries}
            except Exception:  # some operation does not continue to complex numbers
                pass
        return {e: self.difference(subject, floats, single, *e) for e in entries}

    def complex_step(self, subject: Subject, floats: list[int], k: int, index: Any) -> list[Any]:
        moved = list(subject.given)
        z = np.array(moved[k], complex)
        z[index] += STEP * 1j
        moved[k] = z[()]
        found = interp.run(subject.function, moved)
        return [np.imag(found[n]) / STEP for n in floats]

    def difference(self, subject: Subject, floats: list[int], single: bool, k: int, index: Any) -> Column:
        h = self.eps or (1e-2 if single else 1e-6)
        h *= max(1.0, float(np.abs(np.asarray(subject.given[k])[index])))
        ends: list[list[Any]] = []
        for sign in (1, -1):
            moved = list(subject.given)
            z = np.array(moved[k])
            z[index] += sign * h
            moved[k] = z[()]
            ends.append(interp.run(subject.function, moved))
        parts = [(np.asarray(ends[0][n], float) - np.asarray(ends[1][n], float)) / (2 * h) for n in floats]
        return Column(parts, "differences", h, 1e-2 if single else 1e-5)

    # ------------------------------------------------------------ ours

    def forward(self, subject: Subject, columns: Columns) -> None:
        program = pipeline.optimize(jvp(subject.function, subject.wrt, keep=[]))
        rows: list[Entry] = []
        for (k, index), column in columns.items():
            seeds = [np.zeros_like(subject.given[j]) for j in subject.wrt]
            at = subject.wrt.index(k)
            seeds[at][index] = 1
            found = interp.run(program, [*subject.given, *(s[()] for s in seeds)])
            for n, (a, b) in enumerate(zip(found, column.parts, strict=True)):
                for place in np.ndindex(np.shape(a)):
                    ours, numerical = float(np.asarray(a)[place]), float(np.asarray(b)[place])
                    rows.append(self.entry(f"result {n}{show(place)}", at, index, ours, numerical, column))
        self.compare(rows, f"forward mode{subject.what}", subject.order)

    def reverse(self, subject: Subject, floats: list[int], outputs: list[Any], columns: Columns) -> None:
        weights = [self.direction(y) for y in outputs]
        seeds = ["argument" if k in floats else None for k in range(len(subject.function.results))]
        program = pipeline.optimize(vjp(subject.function, subject.wrt, seeds, keep=[]).function)
        found = interp.run(program, [*subject.given, *weights])
        what = "a weighted sum of the results"
        rows: list[Entry] = []
        for (k, index), column in columns.items():
            at = subject.wrt.index(k)
            number = sum(float(np.sum(w * c)) for w, c in zip(weights, column.parts, strict=True))
            rows.append(self.entry(what, at, index, float(np.asarray(found[at])[index]), number, column))
        self.compare(rows, f"reverse mode{subject.what}", subject.order)

    def entry(self, what: str, at: int, index: Any, ours: float, numerical: float, column: Column) -> Entry:
        atol = column.tolerance if self.atol is None else self.atol
        rtol = column.tolerance if self.rtol is None else self.rtol
        allowed = atol + rtol * abs(numerical)
        return Entry(what, self.labels[at], index, ours, numerical, column.method, column.step, allowed)

    def derivative(self, subject: Subject, mode: str, floats: list[int], outputs: list[Any]) -> Subject:
        """The program of a derivative along random directions, which are constants of it."""
        what = f" over {'forward' if mode == 'fwd' else 'reverse'} mode{subject.what}"
        if mode == "fwd":
            program = jvp(subject.function, subject.wrt, keep=[])
            directions = [self.direction(subject.given[k]) for k in subject.wrt]
        else:
            seeds = ["argument" if k in floats else None for k in range(len(subject.function.results))]
            program = vjp(subject.function, subject.wrt, seeds, keep=[]).function
            directions = [self.direction(y) for y in outputs]
        given = [*subject.given, *directions]
        return Subject(pipeline.optimize(program), given, subject.wrt, what, subject.order + 1)

    def direction(self, like: Any) -> Any:
        return np.asarray(self.random.uniform(0.5, 1.5, np.shape(like)), np.asarray(like).dtype)[()]

    def compare(self, rows: list[Entry], mode: str, order: int) -> None:
        """Enter a check into the report."""
        worst = max(rows, key=lambda row: row.excess, default=None)
        bad = sum(row.excess > 1 for row in rows)
        self.report.comparisons.append(Comparison(order, mode, len(rows), bad, worst))


def show(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
