"""One program through every stage of adjit, each compared with plain Python and with independent derivatives.

In: a plain function, argument sets, which arguments to differentiate. Out: a `Report`, or a `Difference` that names the
stage. `check_program` compares, for every argument set,

* the value: plain Python on copies of the arguments; the interpreter on the traced and the optimized IR; the adjoint
  program in the interpreter; the rendered kernel under plain Python; the compiled kernel. Also what is left in
  arrays that the program writes to;
* the derivative along fixed random directions: complex step through the interpreter on the traced IR, and, where the
  caller has an analytic version of the function, through plain Python; a difference quotient of plain Python, where
  all its points took the same branches; each gradient above, and that of the split form (forward now, reverse later);
* that arguments are unchanged, that a second call gives the same bits, that the IR is valid after every pass and that
  ``parse(to_text(f))`` prints as it did, at every stage.

Programs that adjit refuses raise its `UnsupportedError`, for the caller to judge. As a script, `main` does all this to
random programs (see `random_programs`), and says which causes of failure it found, with a small program for each.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optree
from random_programs import ARGNUMS, RandomProgram, generate

__all__ = ["Difference", "Report", "check_program", "main"]

DIRECTIONS = 3
STEP = 1e-30


class Difference(AssertionError):
    """Two ways of running one program disagree, or a stage failed. `stage` says which one is to blame."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(f"{stage}: {message}")
        self.stage = stage


@dataclass
class Report:
    """What was compared: how often each comparison was made."""

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: collections.Counter[str] = field(default_factory=collections.Counter)

    @contextmanager
    def doing(self, stage: str) -> Iterator[None]:
        """Whatever goes wrong inside is a `Difference` of that stage; refusals pass."""
        from adjit.ir.errors import UnsupportedError

        begin = time.perf_counter()
        try:
            yield
        except (Difference, UnsupportedError, TimeoutError):
            raise
        except Exception as error:
            raise Difference(stage, f"{type(error).__name__}: {error}") from error
        finally:
            self.seconds[stage] += time.perf_counter() - begin  # type: ignore[assignment]
        self.counts[stage] += 1


@dataclass(frozen=True)
class Tolerances:
    """value and gradient: relative, between ways of running; exact: against an exact derivative; quotient: against
    a difference quotient with steps of `step`; rounding: relative error of the value, as an estimate."""

    value: float
    gradient: float
    exact: float
    quotient: float
    step: float
    rounding: float


DOUBLE = Tolerances(1e-11, 1e-10, 1e-9, 1e-6, 1e-4, 1e-14)
SINGLE = Tolerances(2e-5, 2e-4, 2e-4, 2e-2, 1e-2, 1e-5)


# ---------------------------------------------------------------- the check


def check_program(
    function: Callable[..., Any],
    argument_sets: Sequence[tuple[Any, ...]],
    argnums: tuple[int, ...] = (0,),
    compile: bool = False,
    analytic: Callable[..., Any] | None = None,
) -> Report:
    """Check one program (see the module's docstring); raises `Difference`.

    `compile`: whether kernels are compiled too (they are always rendered and run under plain Python). `analytic`:
    the same function for complex arguments (often the function itself), as a reference that adjit has no part in.
    """
    from adjit.api.arguments import flatten_call
    from adjit.api.specialize import Transform
    from adjit.api.transforms import jit, value_and_grad

    report = Report()
    transform = Transform("value_and_grad", argnums, False, ())
    stages: dict[Any, Stages] = {}
    compiled = (value_and_grad(function, argnums), jit(function)) if compile else None
    for args in argument_sets:
        call = flatten_call(copy.deepcopy(args), {})
        if call.key not in stages:
            stages[call.key] = Stages(function, transform, call, report)
        Call(function, args, call, stages[call.key], report, analytic).check(compiled)
    return report


@contextmanager
def verifying() -> Iterator[None]:
    """The verifier runs after every pass."""
    before = os.environ.get("ADJIT_VERIFY")
    os.environ["ADJIT_VERIFY"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["ADJIT_VERIFY"]
        else:
            os.environ["ADJIT_VERIFY"] = before


class Stages:
    """One specialization with everything that is made of it."""

    def __init__(self, function: Callable[..., Any], transform: Any, call: Any, report: Report) -> None:
        from adjit.api.arguments import leaf_names
        from adjit.api.specialize import specialize
        from adjit.codegen import compile_function
        from adjit.ir import pipeline
        from adjit.tracer import trace

        # step by step first, so that a failure is blamed on the stage it came from
        with report.doing("trace"):
            args, kwargs = call.abstract(leaf_names(call, function))
            traced = trace(function, args, kwargs)
            self.round_trip("traced", traced.function, report)
        with report.doing("optimize"):
            optimized = pipeline.optimize(traced.function, verify=True)
            self.round_trip("optimized", optimized, report)
        with report.doing("adjoint"), verifying():
            self.spec = specialize(function, transform, call)
            assert self.spec.plan is not None
            self.traced, self.optimized = self.spec.stages.traced, self.spec.stages.optimized
            self.adjoint_as_made, self.adjoint = self.spec.plan.function, self.spec.forward
            self.round_trip("adjoint as made", self.adjoint_as_made, report)
            self.round_trip("adjoint", self.adjoint, report)
        with report.doing("split"), verifying():
            self.halves = self.spec.plan.split()
            for name, half in zip(("forward half", "reverse half"), self.halves, strict=True):
                self.round_trip(name, half, report)
        with report.doing("schedule"):
            self.executable = compile_function(self.spec.forward, self.spec.layouts)
            self.round_trip("scheduled", self.executable.scheduled, report)
        with report.doing("render"):
            assert self.executable.source

    @staticmethod
    def round_trip(stage: str, function: Any, report: Report) -> None:
        from adjit.ir.text import parse, to_text
        from adjit.ir.verify import verify

        verify(function, after=stage)
        text = to_text(function)
        again = parse(text)
        verify(again, after=f"parsing the text of {stage}")
        if to_text(again) != text:
            lines = zip(text.splitlines(), to_text(again).splitlines())
            first = next((pair for pair in lines if pair[0] != pair[1]), ("", ""))
            raise Difference("text", f"{stage} prints {first[0]!r}, and after parsing {first[1]!r}")
        report.counts["round trips"] += 1


class Call:
    """One argument set of one program."""

    def __init__(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        call: Any,
        stages: Stages,
        report: Report,
        analytic: Callable[..., Any] | None,
    ) -> None:
        self.function = function
        self.args = args
        self.call = call
        self.stages = stages
        self.report = report
        self.analytic = analytic
        captured = stages.spec.captured()
        if captured is None:
            raise Difference("trace", "a captured value does not have the type that was read from it")
        self.leaves = [*call.dynamic, *captured]
        self.wrt = stages.spec.wrt
        single = any(np.asarray(self.leaves[k]).dtype == np.float32 for k in self.wrt)
        self.tolerances = SINGLE if single else DOUBLE
        rng = np.random.default_rng(2)
        self.along = [[self.draw(rng, self.leaves[k]) for k in self.wrt] for _ in range(DIRECTIONS)]

    @staticmethod
    def draw(rng: np.random.Generator, leaf: Any) -> Any:
        return rng.standard_normal(leaf.shape) if isinstance(leaf, np.ndarray) else float(rng.standard_normal())

    # ------------------------------------------------------------ plain Python

    def arguments(self, moved: Sequence[Any]) -> tuple[Any, ...]:
        """Fresh arguments in which the differentiated leaves are `moved`."""
        dynamic = [k for k, t in enumerate(self.call.types) if t is not None]
        leaves = copy.deepcopy(
            [getattr(leaf, "value", leaf) if k not in dynamic else leaf for k, leaf in enumerate(self.call.leaves)]
        )
        for number, leaf in zip(self.wrt, moved, strict=True):
            leaves[dynamic[number]] = leaf
        args, _ = optree.tree_unflatten(self.call.treespec, leaves)
        return tuple(args)

    def shifted(self, along: Sequence[Any], step: complex) -> list[Any]:
        """The differentiated leaves, moved; real ones keep their dtype."""
        out = []
        for number, by in zip(self.wrt, along, strict=True):
            leaf = self.leaves[number]
            moved = leaf + step * by
            if isinstance(moved, complex):
                moved = np.complex128(moved)
            if not isinstance(step, complex) and not isinstance(leaf, float):
                moved = np.asarray(moved).astype(np.asarray(leaf).dtype)[()]
            out.append(moved)
        return out

    def quotient(self, along: Sequence[Any], h: float) -> tuple[float, float] | None:
        """Derivative by difference quotients in plain Python, and an estimate of its error; None where the points do
        not all take the same branches."""
        _, taken = branches(self.function, self.arguments(self.shifted(along, 0.0)))
        values = []
        for step in (h, -h, h / 2, -h / 2, h / 4, -h / 4):
            value, path = branches(self.function, self.arguments(self.shifted(along, step)))
            if path != taken:
                return None
            values.append(float(value))
        coarse, middle, fine = ((values[2 * k] - values[2 * k + 1]) / (2 * h / 2**k) for k in range(3))
        first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
        best = (16 * second - first) / 15
        return best, abs(best - second) + self.tolerances.rounding * abs(values[0]) / h

    # ------------------------------------------------------------ comparisons

    def check(self, compiled: tuple[Any, Any] | None) -> None:
        stages, report = self.stages, self.report
        with report.doing("python"):
            kept = copy.deepcopy(self.args)
            self.value = self.function(*kept)
        self.left = [x for x, t in zip(optree_leaves((kept, {})), self.call.types, strict=True) if t is not None]
        with report.doing("value: traced IR"):
            self.primal(stages.traced, "traced IR")
        with report.doing("value: optimized IR"):
            self.primal(stages.optimized, "optimized IR")
        with report.doing("adjoint in the interpreter"):
            self.gradient = self.run_adjoint(stages.adjoint_as_made, "adjoint as made")
            final = self.run_adjoint(stages.adjoint, "optimized adjoint")
            self.same_gradient("optimized adjoint", final)
        with report.doing("split form in the interpreter"):
            self.split()
        self.derivatives()
        with report.doing("kernel under Python"):
            outputs = self.unchanged(lambda leaves: stages.executable.run(leaves, python=True), "kernel under Python")
            self.same_value("kernel under Python", outputs[0])
            self.same_gradient("kernel under Python", outputs[1:])
        if compiled is not None:
            with report.doing("compiled kernel"):
                self.run_compiled(*compiled)

    def primal(self, function: Any, name: str) -> None:
        from adjit.ir.interp import run

        outputs = self.unchanged(lambda leaves: run(function, leaves), name)
        leaf = self.stages.spec.traced.result
        self.same_value(name, outputs[leaf.index] if hasattr(leaf, "index") else leaf)
        for argument, result in self.stages.spec.traced.mutated.items():
            self.same_left(name, argument, outputs[result])

    def run_adjoint(self, function: Any, name: str) -> list[Any]:
        from adjit.ir.interp import run

        value, *gradient = self.unchanged(lambda leaves: run(function, leaves), name)
        self.same_value(name, value)
        for number, part in zip(self.wrt, gradient, strict=True):
            if np.shape(part) != np.shape(self.leaves[number]):
                raise Difference(name, f"a gradient of shape {np.shape(part)} for {np.shape(self.leaves[number])}")
        return gradient

    def split(self) -> None:
        from adjit.ir.interp import run

        forward, reverse = self.stages.halves
        count = self.stages.adjoint_as_made.attrs["kept"]
        outputs = self.unchanged(lambda leaves: run(forward, leaves), "forward half")
        self.same_value("forward half", outputs[0])
        for _ in range(2):  # residuals are not used up
            self.same_gradient("reverse half", run(reverse, outputs[count:]))

    def derivatives(self) -> None:
        from adjit.ir.interp import run

        result = self.stages.spec.traced.result
        for number, along in enumerate(self.along):
            parts = [np.asarray(g, dtype=float) * d for g, d in zip(self.gradient, along, strict=True)]
            ours = float(sum(np.sum(p) for p in parts))
            scale = float(sum(np.sum(np.abs(p)) for p in parts))
            moved = self.shifted(along, 1j * STEP)
            with self.report.doing("complex step"):
                leaves = list(self.leaves)
                for k, leaf in zip(self.wrt, moved, strict=True):
                    leaves[k] = leaf
                outputs = run(self.stages.traced, leaves)
                exact = float(np.imag(outputs[result.index])) / STEP if hasattr(result, "index") else 0.0
            if self.analytic is not None:
                with self.report.doing("complex step in Python"):
                    slope = self.slope_in_python(self.analytic, moved)
                if slope is None and not np.isfinite(exact):
                    continue  # so steep that no step is small enough
                if slope is not None:
                    self.same_slope("complex step through the traced IR", exact, "in Python", slope, scale)
            self.same_slope("adjoint", ours, "by complex step", exact, scale)
            if number == 0:
                with self.report.doing("difference quotient"):
                    wide, narrow = self.tolerances.step, self.tolerances.step / 100
                    found = self.quotient(along, wide) or self.quotient(along, narrow)
                if found is not None and found[1] <= self.tolerances.quotient * (1 + abs(found[0])):
                    self.report.counts["quotients that count"] += 1
                    self.same_slope(
                        "adjoint", ours, "by a difference quotient", found[0], scale, self.tolerances.quotient
                    )

    def slope_in_python(self, analytic: Callable[..., Any], moved: Sequence[Any]) -> float | None:
        """By complex step through plain Python; None where the complex function overflows (`cos`, where an imaginary
        part has grown) though the real one does not."""
        try:
            return float(np.imag(analytic(*self.arguments(moved)))) / STEP
        except FloatingPointError:
            self.report.counts["overflows in complex numbers"] += 1
            return None

    def same_slope(
        self, what: str, found: float, how: str, wanted: float, scale: float, tolerance: float | None = None
    ) -> None:
        exact = tolerance is None
        tolerance = tolerance or self.tolerances.exact
        floor = (0.01 if exact else 1.0) * (1 + abs(float(self.value)))
        if abs(found - wanted) <= tolerance * (scale + abs(wanted) + floor):
            return
        state = "zero" if found == 0 else "not finite" if not np.isfinite(found) else "wrong"
        raise Difference(f"{what}: derivative is {state}", f"{found!r}, {how} {wanted!r}, at {self.args!r}")

    def run_compiled(self, compiled: Any, jitted: Any) -> None:
        results = []
        for _ in range(2):
            args = copy.deepcopy(self.args)
            value, gradient = compiled(*args)
            self.same_value("compiled kernel", value)
            found = [x for x in optree_leaves(gradient) if x is not None]
            self.same_gradient("compiled kernel", found)
            for before, after in zip(optree_leaves(self.args), optree_leaves(args), strict=True):
                if np.asarray(before).tobytes() != np.asarray(after).tobytes():
                    raise Difference("compiled kernel: argument changed", f"{before!r} became {after!r}")
            results.append([np.asarray(x).tobytes() for x in (value, *found)])
        if results[0] != results[1]:
            raise Difference("compiled kernel: second call gives other bits", f"at {self.args!r}")
        args = copy.deepcopy(self.args)
        self.same_value("jit", jitted(*args))
        left = [x for x, t in zip(optree_leaves((args, {})), self.call.types, strict=True) if t is not None]
        for argument, x in enumerate(left):
            if isinstance(x, np.ndarray):
                self.same_left("jit", argument, x)

    def unchanged(self, run: Callable[[list[Any]], Any], name: str) -> list[Any]:
        """Results of running on the leaves, which must stay as they are."""
        leaves = [np.array(x) if isinstance(x, np.ndarray) else x for x in self.leaves]
        outputs = list(run(leaves))
        for k, (before, after) in enumerate(zip(self.leaves, leaves, strict=True)):
            if isinstance(before, np.ndarray) and before.tobytes() != after.tobytes():
                raise Difference(name, f"argument leaf {k} was {before!r}, afterwards {after!r}")
        return outputs

    def same_value(self, name: str, value: Any) -> None:
        if not abs(float(value) - float(self.value)) <= self.tolerances.value * (1 + abs(float(self.value))):
            raise Difference(f"value of {name}", f"{value!r}, in Python {self.value!r}, at {self.args!r}")

    def same_left(self, name: str, argument: int, contents: Any) -> None:
        wanted = np.asarray(self.left[argument])
        if np.shape(contents) != wanted.shape or not np.allclose(
            contents, wanted, rtol=10 * self.tolerances.value, atol=10 * self.tolerances.value, equal_nan=True
        ):
            raise Difference(
                f"value of {name}",
                f"argument leaf {argument} holds {contents!r}, in Python {wanted!r}, at {self.args!r}",
            )

    def same_gradient(self, name: str, gradient: Sequence[Any]) -> None:
        largest = max([float(np.max(np.abs(g), initial=0.0)) for g in self.gradient], default=0.0)
        for number, found, wanted in zip(self.wrt, gradient, self.gradient, strict=True):
            close = np.shape(found) == np.shape(wanted) and np.all(
                np.abs(np.asarray(found) - wanted) <= self.tolerances.gradient * (1e-3 + largest)
            )
            if not close:
                raise Difference(
                    f"gradient of {name}",
                    f"leaf {number}: {found!r}, the adjoint in the interpreter gives {wanted!r}, at {self.args!r}",
                )


def optree_leaves(tree: Any) -> list[Any]:
    from adjit.api.arguments import flatten_tree

    leaves: list[Any] = flatten_tree(tree)[0]
    return leaves


NUMPY = os.path.dirname(np.__file__)


def branches(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, int]:
    """The value of a plain function, and a number that tells the instructions that ran (which branches were taken)."""
    path = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal path
        if event == "call" and frame.f_code.co_filename.startswith(NUMPY):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            path = hash((path, frame.f_lasti, frame.f_code.co_firstlineno))
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        value = function(*args)
    finally:
        sys.settrace(before)
    return value, path


# ---------------------------------------------------------------- random programs, by the thousand


def check_random(program: RandomProgram, compile: bool) -> Report:
    """`check_program` for a `RandomProgram`."""
    return check_program(program.function, program.argument_sets, ARGNUMS, compile, program.analytic)


def cause(error: BaseException) -> str:
    """What failures with the same cause have in common: stage, class of the error, message without numbers."""
    origin: BaseException = error
    while origin.__cause__ is not None:
        origin = origin.__cause__
    if origin is error and isinstance(error, Difference):
        return error.stage
    stage = f"{error.stage}: " if isinstance(error, Difference) else ""
    first = str(origin).split("\n")[0]
    text = re.sub(r"\{[^}]*\}|%\w+|`\w+`", "_", f"{stage}{type(origin).__name__}: {first}")
    text = re.sub(r"-?\d[\d.e+-]*|\bnan\b|\binf\b", "#", text)
    frames = [f for f in traceback.extract_tb(origin.__traceback__) if "/tests/" not in f.filename]
    if not frames:
        return text[:200]
    folder, file = os.path.split(frames[-1].filename)
    return f"{text[:200]} [{os.path.basename(folder)}/{file}:{frames[-1].name}]"


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """TimeoutError after so many seconds, where the platform has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def late(*_: Any) -> None:
        raise TimeoutError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Check random programs; print causes of failure and of refusal, each with its smallest program."""
    from adjit.ir.errors import UnsupportedError

    parser = argparse.ArgumentParser(description="random programs through Python, interpreter and kernel")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=100, help="how many programs")
    parser.add_argument("--compile", type=int, default=0, help="how many of them to compile too")
    parser.add_argument("--reduce", action="store_true", help="make the program of each cause smaller")
    parser.add_argument("--timeout", type=int, default=60, help="seconds per program")
    parser.add_argument("--verbose", action="store_true", help="name each seed before it is checked")
    options = parser.parse_args(argv)
    failures: dict[str, list[Any]] = collections.defaultdict(list)
    refusals: dict[str, list[Any]] = collections.defaultdict(list)
    counts: collections.Counter[str] = collections.Counter()
    seconds: collections.Counter[str] = collections.Counter()
    begin = time.perf_counter()
    for number in range(options.count):
        program = generate(options.seed + number)
        if options.verbose:
            print(f"seed {program.number}", flush=True)
        compile = number * options.compile // max(options.count, 1) < (number + 1) * options.compile // max(
            options.count, 1
        )
        error = failing(program, compile, options.timeout)
        if isinstance(error, Report):
            counts += error.counts
            seconds.update(error.seconds)
            counts["programs that hold"] += 1
            counts["programs that hold, compiled"] += compile
        else:
            found = refusals if isinstance(error, UnsupportedError) else failures
            if found is failures:
                print(f"seed {program.number}: {cause(error)}", flush=True)
            found[cause(error)].append((len(program.text), program, error, compile))
    for title, found in (("refused", refusals), ("FAILED", failures)):
        for name, cases in sorted(found.items(), key=lambda item: -len(item[1])):
            _, program, error, compile = min(cases, key=lambda case: case[0])
            print(f"\n==== {title}, {len(cases)} programs: {name}\n     seeds {[c[1].number for c in cases][:12]}")
            if options.reduce:
                from reduce_program import reduce_program

                wanted = cause(error)
                program = reduce_program(program, lambda p: cause_of(p, compile, options.timeout) == wanted)  # noqa: B023
                error = failing(program, compile, options.timeout)
            print(program)
            print("# " + str(error).replace("\n", "\n# ")[:1500])
    refused, failed = (sum(map(len, found.values())) for found in (refusals, failures))
    print(f"\n{options.count} programs in {time.perf_counter() - begin:.0f} s:", end=" ")
    print(f"{failed} failed ({len(failures)} causes), {refused} refused ({len(refusals)} causes)")
    print("  " + ", ".join(f"{name} {n}" for name, n in counts.items()))
    print("  seconds: " + ", ".join(f"{name} {s:.1f}" for name, s in seconds.most_common(8)))
    return 1 if failures else 0


def failing(program: RandomProgram, compile: bool, timeout: int) -> Report | BaseException:
    try:
        with at_most(timeout):
            return check_random(program, compile)
    except Exception as error:
        return error


def cause_of(program: RandomProgram, compile: bool, timeout: int) -> str:
    error = failing(program, compile, timeout)
    return "" if isinstance(error, Report) else cause(error)
