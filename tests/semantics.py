"""Comparison of adjit with plain Python and NumPy, bit by bit unless a tolerance is given.

In: functions, or the text of their bodies (`function_of`), and ways to make arguments. Out: what differs, in words:
values and signs of zeros, NumPy dtypes and Python types of results, exceptions, and what the arguments hold afterwards.
`interpreted` runs the traced IR in the reference interpreter, `jit` the kernel.
"""

from __future__ import annotations

import itertools
import linecache
import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from adjit import jit
from adjit.api.arguments import flatten_call
from adjit.api.compiled import Transform, _user_result
from adjit.api.specialize import interpreted as interpreted_results
from adjit.api.specialize import specialize
from adjit.ir.errors import AdjitError, ShapeError

_numbers = itertools.count()
JIT = Transform("jit", (), False, ())
LOOSE = replace(JIT, loose=True)
Make = Callable[[], tuple[Any, ...]]


def function_of(parameters: str, body: str) -> Callable[..., Any]:
    """A function from the text of its body: statements apart by `;`, or one expression."""
    lines = body.split("; ") if "return" in body else [f"return {body}"]
    source = f"def f({parameters}):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<semantics {next(_numbers)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"np": np, "math": math}
    exec(compile(source, file, "exec"), namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def interpreted(function: Callable[..., Any], optimized: bool = True) -> Callable[..., Any]:
    """`function` through the tracer and the interpreter: its result, written arguments changed."""

    def once(transform: Transform, args: tuple[Any, ...]) -> Any:
        call = flatten_call(args, {})
        spec = specialize(function, transform, call)
        captured = spec.captured()
        assert captured is not None
        program = spec.stages.optimized if optimized else spec.stages.traced
        leaves = [*call.dynamic, *captured]
        outputs = interpreted_results(program, leaves)
        for argument, result in spec.traced.mutated.items():
            leaves[argument][...] = outputs[result]
        return _user_result(spec, outputs)

    def run(*args: Any) -> Any:
        try:
            return once(JIT, args)
        except ShapeError as error:
            if not error.repeats:
                raise
        return once(LOOSE, args)

    return run


def outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """What a call gives, or the exception it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*args)
    except Exception as error:
        return error


def difference(found: Any, wanted: Any, rtol: float = 0.0, where: str = "result") -> str:
    """What is different, in words; "" where nothing is. Python types and dtypes have to be the same."""
    if isinstance(wanted, list | tuple):
        if type(found) is not type(wanted) or len(found) != len(wanted):
            return f"{where}: {found!r} is not {wanted!r}"
        parts = (difference(f, w, rtol, f"{where}[{k}]") for k, (f, w) in enumerate(zip(found, wanted)))
        return next((p for p in parts if p), "")
    aliases = (
        isinstance(found, np.generic) and isinstance(wanted, np.generic) and found.dtype == wanted.dtype
    )  # longlong
    if type(found) is not type(wanted) and not aliases:
        return f"{where}: {type(found).__name__} {found!r} is not {type(wanted).__name__} {wanted!r}"
    if isinstance(wanted, dict):
        return difference([*found.items()], [*wanted.items()], rtol, where)
    if not isinstance(wanted, np.ndarray | np.generic | float):
        return "" if found == wanted else f"{where}: {found!r} is not {wanted!r}"
    f, w = np.asarray(found), np.asarray(wanted)
    if f.dtype != w.dtype or f.shape != w.shape:
        return f"{where}: {f.dtype}{f.shape} {found!r} is not {w.dtype}{w.shape} {wanted!r}"
    same = np.array_equal(f, w, equal_nan=w.dtype.kind == "f")
    if w.dtype.kind == "f":
        same = same and np.array_equal(np.signbit(f[~np.isnan(f)]), np.signbit(w[~np.isnan(w)]))
        tolerance = rtol * (2.0**29 if w.dtype == np.float32 else 1.0)
        same = same or (rtol > 0 and np.allclose(f, w, rtol=tolerance, atol=tolerance, equal_nan=True))
    return "" if same else f"{where}: {found!r} is not {wanted!r}"


def compare(
    run: Callable[..., Any], function: Callable[..., Any], make: Make, rtol: float = 0.0, refusable: bool = False
) -> str:
    """Run both on fresh arguments; "" where results, exceptions and changes to the arguments agree.

    An exception of Python's has to be met by one of its class (or by an error of adjit's own that says no);
    with `refusable`, adjit may refuse what Python runs, with an `AdjitError` that has a way out.
    """
    mine, theirs = make(), make()
    wanted, found = outcome(function, theirs), outcome(run, mine)
    if isinstance(found, Exception):
        if isinstance(wanted, Exception):
            fits = isinstance(found, type(wanted)) or (isinstance(found, AdjitError) and found.help)
            return "" if fits else f"raises {found!r}, Python {wanted!r}"
        if refusable and isinstance(found, AdjitError) and found.help and type(found).__name__ != "InternalError":
            return ""
        return f"raises {type(found).__name__}: {found}\nPython gives {wanted!r}"
    if isinstance(wanted, Exception):
        return f"gives {found!r}, Python raises {wanted!r}"
    return difference(found, wanted, rtol) or difference(mine, theirs, rtol, "arguments afterwards")


def differences(function: Callable[..., Any], cases: Iterable[tuple[str, Make]], **options: Any) -> list[str]:
    """What is wrong for each case, by name, in the interpreter before and after optimization."""
    out: list[str] = []
    for name, make in cases:
        for optimized in (False, True):
            found = compare(interpreted(function, optimized), function, make, **options)
            if found:
                out.append(f"{name}{', optimized' * optimized}: {found}")
    return out


def check(function: Callable[..., Any], make: Make, compile: bool = False, **options: Any) -> None:
    """Assert that the interpreter and, with `compile`, the kernel (called twice) do as Python."""
    assert differences(function, [("interpreter", make)], **options) == []
    if compile:
        kernel = jit(function)
        for call in ("first", "second"):
            found = compare(kernel, function, make, **options)
            assert not found, f"kernel, {call} call: {found}"
