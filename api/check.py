"""`check_grads`: derivatives against numerical ones, entry by entry.

In: a function, arguments, an order and modes. Out: nothing, or an AssertionError that names the worst entry.

The function is traced, and the program that differentiation gives is run by the reference interpreter and compared with
the complex step `Im f(x + ih) / h` through the program before it, which has no cancellation; where an operation does
not continue to complex numbers, with central differences. Higher orders do the same with the derivative programs along
random directions, so order 2 checks each mode over each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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

__all__ = ["check_grads"]

MODES = ("fwd", "rev")
ENTRIES = 64
"""How many entries of the arguments are checked one by one (drawn at random where there are more)."""
STEP = 1e-30


@dataclass
class Subject:
    """A program to differentiate. `wrt`: arguments that vary; `given`: all arguments; `what`: how it was made."""

    function: Function
    given: list[Any]
    wrt: list[int]
    what: str


def check_grads(
    function: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] | str = MODES,
    atol: float | None = None,
    rtol: float | None = None,
    eps: float | None = None,
) -> None:
    """Check the derivatives of `function` at `args` up to `order`, in forward ("fwd") and reverse ("rev") mode.

    Raises AssertionError with the worst entry: which argument and element, which mode, both values. Tolerances are
    1e-9 where complex step works, else 1e-5, and 1e-2 in float32, unless given; `eps`: the step of differences.
    All float arguments are differentiated; others are constants.

    >>> import numpy as np
    >>> from adjit import check_grads
    >>> check_grads(lambda x: np.sum(np.sin(x) * x), (np.array([1.0, 2.0]),))
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
    program = spec.stages.optimized  # rules included
    given = [np.asarray(x)[()] for x in (*call.dynamic, *captured)]
    count = len(call.dynamic)
    wrt = [k for k in range(count) if is_differentiable_type(program.args[k])]
    if not wrt:
        raise ArgumentError("no argument is a float, so there is no derivative to check", help="pass floats")
    leaf_of = [n for n, t in enumerate(call.types) if t is not None]
    names = [place_of(call.treespec, leaf_of[k]) for k in wrt]
    readable = leaf_names(call, function)
    labels = [f"{name} (`{readable[k]}`)" for name, k in zip(names, wrt, strict=True)]
    subject = Subject(program, given, wrt, "")
    Checker(modes, atol, rtol, eps, labels, np.random.default_rng(0)).check(subject, order)


@dataclass
class Checker:
    """The settings of one check. `labels`: what the differentiated arguments are called."""

    modes: Sequence[str]
    atol: float | None
    rtol: float | None
    eps: float | None
    labels: list[str]
    random: np.random.Generator

    def check(self, subject: Subject, order: int) -> None:
        """Compare the first derivative of a program, then go on with the programs that compute it."""
        results = interp.run(subject.function, subject.given)
        floats = [k for k, v in enumerate(subject.function.results) if is_differentiable_type(v)]
        if not floats:
            raise ArgumentError("the function returns no float, so there is no derivative to check")
        outputs = [np.asarray(results[k]) for k in floats]
        columns, tolerance = self.columns(subject, floats)
        for mode in self.modes:
            if mode == "fwd":
                self.forward(subject, columns, tolerance)
            else:
                self.reverse(subject, floats, outputs, columns, tolerance)
        if order == 1:
            return
        for mode in self.modes:
            self.check(self.derivative(subject, mode, floats, outputs), order - 1)

    # ------------------------------------------------------------ numerical derivatives

    def columns(self, subject: Subject, floats: list[int]) -> tuple[dict[tuple[int, Any], list[Any]], float]:
        """For entries of the arguments, the numerical derivative of every float result; and how exact it is."""
        entries = [(k, index) for k in subject.wrt for index in np.ndindex(np.shape(subject.given[k]))]
        if len(entries) > ENTRIES:
            entries = [entries[k] for k in sorted(self.random.choice(len(entries), ENTRIES, replace=False))]
        single = any(np.asarray(subject.given[k]).dtype.itemsize < 8 for k in subject.wrt)
        if not single:
            try:
                return {e: self.complex_step(subject, floats, *e) for e in entries}, 1e-9
            except Exception:  # some operation does not continue to complex numbers
                pass
        return {e: self.difference(subject, floats, single, *e) for e in entries}, 1e-2 if single else 1e-5

    def complex_step(self, subject: Subject, floats: list[int], k: int, index: Any) -> list[Any]:
        moved = list(subject.given)
        z = np.array(moved[k], complex)
        z[index] += STEP * 1j
        moved[k] = z[()]
        found = interp.run(subject.function, moved)
        return [np.imag(found[n]) / STEP for n in floats]

    def difference(self, subject: Subject, floats: list[int], single: bool, k: int, index: Any) -> list[Any]:
        h = self.eps or (1e-2 if single else 1e-6)
        h *= max(1.0, float(np.abs(np.asarray(subject.given[k])[index])))
        ends: list[list[Any]] = []
        for sign in (1, -1):
            moved = list(subject.given)
            z = np.array(moved[k])
            z[index] += sign * h
            moved[k] = z[()]
            ends.append(interp.run(subject.function, moved))
        return [(np.asarray(ends[0][n], float) - np.asarray(ends[1][n], float)) / (2 * h) for n in floats]

    # ------------------------------------------------------------ ours

    def forward(self, subject: Subject, columns: dict[tuple[int, Any], list[Any]], tolerance: float) -> None:
        program = pipeline.optimize(jvp(subject.function, subject.wrt, keep=[]))
        rows: list[Row] = []
        for (k, index), expected in columns.items():
            seeds = [np.zeros_like(subject.given[j]) for j in subject.wrt]
            at = subject.wrt.index(k)
            seeds[at][index] = 1
            found = interp.run(program, [*subject.given, *(s[()] for s in seeds)])
            for n, (a, b) in enumerate(zip(found, expected, strict=True)):
                for place in np.ndindex(np.shape(a)):
                    where = f"of result {n}{show(place)} with respect to {self.labels[at]}{show(index)}"
                    rows.append((where, float(np.asarray(a)[place]), float(np.asarray(b)[place])))
        self.compare(rows, f"forward mode{subject.what}", tolerance)

    def reverse(
        self,
        subject: Subject,
        floats: list[int],
        outputs: list[Any],
        columns: dict[tuple[int, Any], list[Any]],
        tolerance: float,
    ) -> None:
        weights = [self.direction(y) for y in outputs]
        seeds = ["argument" if k in floats else None for k in range(len(subject.function.results))]
        program = pipeline.optimize(vjp(subject.function, subject.wrt, seeds, keep=[]).function)
        found = interp.run(program, [*subject.given, *weights])
        rows: list[Row] = []
        for (k, index), expected in columns.items():
            at = subject.wrt.index(k)
            number = sum(float(np.sum(w * c)) for w, c in zip(weights, expected, strict=True))
            where = f"of a weighted sum of the results with respect to {self.labels[at]}{show(index)}"
            rows.append((where, float(np.asarray(found[at])[index]), number))
        self.compare(rows, f"reverse mode{subject.what}", tolerance)

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
        return Subject(pipeline.optimize(program), [*subject.given, *directions], subject.wrt, what)

    def direction(self, like: Any) -> Any:
        return np.asarray(self.random.uniform(0.5, 1.5, np.shape(like)), np.asarray(like).dtype)[()]

    def compare(self, rows: list[Row], mode: str, tolerance: float) -> None:
        """Raise for the worst of (where, ours, numerical), if it is too far off."""
        if not rows:
            return
        atol = tolerance if self.atol is None else self.atol
        rtol = tolerance if self.rtol is None else self.rtol

        def excess(row: Row) -> float:
            _, ours, numerical = row
            if ours == numerical or (np.isnan(ours) and np.isnan(numerical)):
                return 0.0
            found = abs(ours - numerical) / (atol + rtol * abs(numerical))
            return found if np.isfinite(found) else np.inf

        where, ours, numerical = worst = max(rows, key=excess)
        if excess(worst) > 1:
            bad = sum(excess(row) > 1 for row in rows)
            raise AssertionError(
                f"{mode}: the derivative {where} is {ours!r}, numerically {numerical!r} "
                f"({bad} of {len(rows)} entries are off; this is the worst)"
            )


Row = tuple[str, float, float]


def show(index: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""
