"""The reference interpreter: what a function of the IR means, computed with NumPy.

In: a `Function` and its arguments. Out: its results, or the error that the program raises. Nothing is fast
here and nothing is clever: this is what kernels, passes and derivatives are compared with.

Values are NumPy scalars and arrays of exactly the declared dtype (so integers wrap and `f32` rounds), tapes
are linked pairs ``(rest, top)``. A float may also be complex: with ``x + 1e-30j`` as an argument, the
imaginary parts of the results are the derivative along it (complex step), by `OpDef.evaluate_complex` where
the operation says so. Control flow follows the region rules at the top of `ir.core`.

With ``checks`` (the default) every result is compared with its declared type, every position with its array
and every pair of shapes with each other: what passes or derivatives got wrong shows here as an
`InternalError`, never as NumPy quietly broadcasting or wrapping a negative index.

>>> from adjit.ir.text import parse
>>> f = parse('''
... func @power(%x: f64, %n: i64) -> f64 {
...   %y: f64 = for %i in (0, %n) (%p = 1.0) {
...     %q: f64 = mul %p, %x
...     yield %q
...   }
...   return %y
... }''')
>>> run(f, [2.0, 5])
[np.float64(32.0)]
>>> run(f, [2.0 + 1e-30j, 5])[0].imag / 1e-30
np.float64(80.0)
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import callbacks, errors
from .core import Const, Function, Op, Region, Span, Value
from .errors import AdjitError, ArgumentError, BoundsError, CheckError, InternalError, ShapeError, show_span
from .ops import REGISTRY
from .ops.indexing import split_spec
from .types import Array, Scalar, Tape, Type

__all__ = ["Env", "Interpreter", "argument", "failure", "run", "run_region"]

Env = dict[Value, Any]


def run(function: Function, args: Sequence[Any], *, checks: bool = True) -> list[Any]:
    """The results of a function on arguments (numbers or arrays; complex where the type is a float).

    Arguments are never written to, and results share no memory with them. Raises the errors of the program
    (`BoundsError`, `ShapeError`, AssertionError, the exceptions it raises itself), `ArgumentError` where an
    argument does not fit its type, and with `checks` `InternalError` where the IR contradicts itself.
    """
    if len(args) != len(function.args):
        count = len(function.args)
        raise ArgumentError(f"{function.name} takes {count} argument{'s' * (count != 1)}, not {len(args)}")
    env: Env = {}
    for value, given in zip(function.args, args):
        env[value] = argument(given, value)
    results = run_region(function.body, env, checks=checks)
    return [np.array(r) if isinstance(r, np.ndarray) else r for r in results]


def run_region(region: Region, env: Env, *, checks: bool = True) -> list[Any]:
    """Run a region whose block arguments and captured values are in `env` (which grows by what it defines).

    Returns the values of the terminator's operands.
    """
    with np.errstate(all="ignore"):
        return Interpreter(env, checks).region(region)


def argument(given: Any, value: Value) -> Any:
    """An argument as its declared type; `ArgumentError` where it cannot be one."""
    type_ = value.type
    if isinstance(type_, Tape):
        return given
    array = np.asarray(given)
    if not isinstance(type_, Scalar | Array) or array.ndim != type_.rank:
        raise ArgumentError(f"%{value.name} is {type_}; the argument has rank {array.ndim}")
    if any(d is not None and d != n for d, n in zip(type_.dims, array.shape)):
        raise ArgumentError(f"%{value.name} is {type_}; the argument has shape {array.shape}")
    if array.dtype.kind == "c" and type_.dtype.is_float:
        return array[()]
    if array.dtype != type_.dtype.numpy:
        weak = isinstance(given, int | float) and not isinstance(given, bool)
        if not np.can_cast(array.dtype, type_.dtype.numpy, "same_kind" if weak else "safe"):
            raise ArgumentError(f"%{value.name} is {type_}; the argument has dtype {array.dtype}")
        array = array.astype(type_.dtype.numpy)
    return array[()]


# ---------------------------------------------------------------- failing checks


def failure(name: str, attrs: dict[str, Any], values: Sequence[Any], span: Span | None = None) -> BaseException:
    """The exception of a failed check (`bound`, `same_extent` or `check`), from its operands' values.

    Shared with the host of compiled kernels, so that both say the same. In the message of a `check`, ``{0}``
    stands for its first detail. Python's own exceptions carry the source line as a note and as `span`.
    """
    if name == "bound":
        index, extent = values
        wrong = [int(i) for i in np.ravel(index) if not -int(extent) <= int(i) < int(extent)]
        found = wrong[0] if wrong else index
        what = attrs.get("what") or "index"
        axis = f" for axis {attrs['axis']}" if "axis" in attrs else ""
        return BoundsError(f"{what} {found} is out of bounds{axis} with size {int(extent)}", span)
    if name == "same_extent":
        what = attrs.get("what") or "extents differ"
        error = ShapeError(f"{what}: {int(values[0])} and {int(values[1])}", span)
        error.repeats = bool(attrs.get("repeats")) and 1 in map(int, values)
        return error
    message = attrs.get("message") or ""
    if attrs.get("error") == "callback":
        return callbacks.taken()
    details = [shown_as(np.asarray(detail)) for detail in values[1:]]

    def place(found: re.Match[str]) -> str:
        k, spec = int(found[1]), found[2] or ""
        if k >= len(details):
            return found[0]
        try:
            return format(details[k], spec)
        except (TypeError, ValueError):  # a format that the number does not have
            return str(details[k])

    message = re.sub(r"\{(\d+)(?::([^{}]*))?\}", place, message)
    return exception(attrs.get("error") or "AssertionError", message, span)


def shown_as(detail: np.ndarray) -> Any:
    """A detail of a check as Python shows it: float32 keeps its own few digits."""
    return detail[()] if detail.ndim == 0 and detail.dtype in (np.float32, np.float16) else detail.tolist()


def exception(name: str, message: str, span: Span | None) -> Exception:
    """An instance of the named exception class, adjit's, Python's or np.linalg's; `CheckError` where there is none."""
    kind = next((found for place in (errors, builtins, np.linalg) if (found := getattr(place, name, None))), None)
    if isinstance(kind, type) and issubclass(kind, AdjitError):
        return kind(message, span)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return CheckError(f"{name}: {message}" if message else name, span)
    try:
        error = kind(message) if message else kind()
    except TypeError:  # UnicodeDecodeError and its like need more than a message
        return CheckError(f"{name}: {message}", span)
    if span is not None:
        error.add_note(show_span(span))
        error.__dict__["span"] = span
    return error


# ---------------------------------------------------------------- running


class Interpreter:
    """One run: the values known so far."""

    def __init__(self, env: Env, checks: bool) -> None:
        self.env = env
        self.checks = checks

    def get(self, value: Value) -> Any:
        return value.value if isinstance(value, Const) else self.env[value]

    def set(self, target: Value, result: Any, op: Op | None) -> None:
        self.env[target] = convert(result, target.type, op, self.checks)

    def region(self, region: Region) -> list[Any]:
        for op in region.ops:
            if op.regions:
                CONTROL[op.name](self, op)
            elif op.results or op.name in CHECKS or REGISTRY[op.name].effect == "call":
                self.step(op)
        return [self.get(v) for v in region.terminator.operands]

    def step(self, op: Op) -> None:
        operands = [self.get(v) for v in op.operands]
        test = CHECKS.get(op.name)
        if test is not None:
            if not test(*operands):
                raise failure(op.name, op.attrs, operands, op.span)
            if not op.results:
                return
            attrs = {}
        else:
            attrs = op.attrs
        definition = REGISTRY[op.name]
        evaluate = definition.evaluate
        if definition.evaluate_complex is not None and any(map(np.iscomplexobj, operands)):
            evaluate = definition.evaluate_complex
        if evaluate is None:
            raise InternalError(f"{op.name} cannot be interpreted", op.span)
        if self.checks:
            consistent(op, operands)
        try:
            result = evaluate(*operands, **attrs)
        except Exception as error:
            error.add_note(f"while interpreting {op!r}" + (f" ({op.span})" if op.span else ""))
            raise
        if len(op.results) == 1:
            self.set(op.results[0], result, op)
        else:
            for target, part in zip(op.results, result, strict=True):
                self.set(target, part, op)

    def run_if(self, op: Op) -> None:
        chosen = op.regions[0 if self.get(op.operands[0]) else 1]
        for target, value in zip(op.results, self.region(chosen), strict=True):
            self.set(target, value, op)

    def run_for(self, op: Op) -> None:
        lo, hi, *carried = (self.get(v) for v in op.operands)
        (body,) = op.regions
        induction, *arguments = body.args
        trips = range(int(lo), int(hi))
        for i in reversed(trips) if op.attrs.get("reverse") else trips:
            self.env[induction] = np.int64(i)
            for target, value in zip(arguments, carried, strict=True):
                self.set(target, value, op)
            carried = self.region(body)
        for target, value in zip(op.results, carried, strict=True):
            self.set(target, value, op)

    def run_while(self, op: Op) -> None:
        before, body = op.regions
        carried = [self.get(v) for v in op.operands]
        while True:
            for target, value in zip(before.args, carried, strict=True):
                self.set(target, value, op)
            (proceed,) = self.region(before)
            if not proceed:
                break
            carried = self.region(body)
        for target, value in zip(op.results, carried, strict=True):
            self.set(target, value, op)


CONTROL: dict[str, Callable[[Interpreter, Op], None]] = {
    "if": Interpreter.run_if,
    "for": Interpreter.run_for,
    "while": Interpreter.run_while,
}

CHECKS: dict[str, Callable[..., Any]] = {
    "bound": lambda i, n: np.all((-n <= np.asarray(i)) & (np.asarray(i) < n)),
    "same_extent": lambda a, b: a == b,
    "check": lambda ok, *details: np.all(ok),
}


def convert(result: Any, type_: Type, op: Op | None, checks: bool) -> Any:
    """A result as exactly its declared type; complex numbers pass where a float is declared."""
    if not isinstance(type_, Scalar | Array):
        return result
    dtype = type_.dtype.numpy
    if isinstance(type_, Scalar):
        if type(result) is dtype.type:
            return result
        if checks and np.ndim(result):
            raise wrong(op, f"{np.shape(result)} where {type_} is declared")
    elif checks:
        shape = np.shape(result)
        if len(shape) != len(type_.dims) or any(d is not None and d != n for d, n in zip(type_.dims, shape)):
            raise wrong(op, f"an array of shape {shape} where {type_} is declared")
    array = np.asarray(result)
    if array.dtype != dtype:
        kind = array.dtype.kind
        if kind == "c" and (type_.dtype.is_float or (op is not None and op.name == "bitcast")):
            return array[()]
        if checks and KINDS[kind] != KINDS[type_.dtype.kind]:
            raise wrong(op, f"{array.dtype} where {type_} is declared")
        array = array.astype(dtype)
    return array[()]


KINDS = {"b": "bool", "i": "integer", "u": "integer", "f": "float", "c": "complex", "O": "object"}


def wrong(op: Op | None, what: str) -> InternalError:
    return InternalError(f"{op.name if op else 'a region'} gives {what}", op.span if op else None)


# ---------------------------------------------------------------- consistency of shapes and positions


def consistent(op: Op, operands: Sequence[Any]) -> None:
    """InternalError where an operation's preconditions, which the IR promises, do not hold."""
    name = op.name
    if name in ("index", "update", "accumulate"):
        positions = operands[1:] if name == "index" else operands[2:]
        shape = selected_shape(op, np.shape(operands[0]), positions)
        if name != "index" and np.ndim(operands[1]) and np.shape(operands[1]) != shape:
            raise InternalError(f"{name}: {np.shape(operands[1])} written to a region of {shape}", op.span)
    elif name in ("gather", "scatter", "scatter_add"):
        indices = operands[1:] if name == "gather" else operands[2:]
        for axis, i in zip(op.attrs["axes"], indices, strict=True):
            if np.any(np.asarray(i) < 0) or np.any(np.asarray(i) >= operands[0].shape[axis]):
                raise InternalError(f"{name}: index outside axis {axis} of {operands[0].shape}", op.span)
        if len({np.shape(i) for i in indices}) != 1:
            raise InternalError(f"{name}: index arrays differ in shape", op.span)
    elif name == "broadcast":
        for k, a in enumerate(op.attrs["axes"]):
            have, wanted = operands[0].shape[k], int(operands[1 + a])
            known = op.operands[0].type.dims[k]  # type: ignore[union-attr]
            if have != wanted and known != 1:
                raise InternalError(f"broadcast: axis {k} of {operands[0].shape} becomes {wanted}", op.span)
    elif name == "tape.pop" and operands[0] is None:
        raise InternalError("tape.pop of an empty tape", op.span)
    elif REGISTRY[name].category == "elementwise":
        shapes = {np.shape(x) for x in operands if np.ndim(x)}
        if len(shapes) > 1:
            raise InternalError(f"{name}: shapes differ: {sorted(shapes)}", op.span)


def selected_shape(op: Op, shape: tuple[int, ...], positions: Sequence[Any]) -> tuple[int, ...]:
    """The shape of the region that an index operation selects; InternalError where it leaves the array."""
    out: list[int] = []
    spec = op.attrs["spec"]
    for extent, letter, part in zip(shape, spec, split_spec(spec, [int(p) for p in positions]), strict=True):
        if letter == ":":
            out.append(extent)
            continue
        start, length, step = (part[0], 1, 0) if letter == "i" else part
        if length < 0 or (length and not (0 <= start < extent and 0 <= start + (length - 1) * step < extent)):
            raise InternalError(f"{op.name}: {spec!r} at {part} leaves an axis of {extent}", op.span)
        if letter == "s":
            out.append(length)
    return tuple(out)
