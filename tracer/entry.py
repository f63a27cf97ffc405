"""The tracer's front door: `trace(function, args, kwargs)`.

In: a Python function and the arguments it would be called with, every dynamic leaf replaced by a `Leaf`. Out: `Traced`.

>>> from adjit.ir.types import F64, Scalar
>>> def scaled(x, c=0.5):
...     return c * (x * x)
>>> traced = trace(scaled, (Leaf(Scalar(F64), "x", weak=True),), {})
>>> [op.name for op in traced.function.body.ops], traced.result
(['mul', 'mul', 'return'], Result(index=0, weak=True))
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
from dataclasses import dataclass, field
from typing import Any

from ..ir.core import Const, Function, Region, Value, walk
from ..ir.errors import AdjitError, ArgumentError, InternalError, UnsupportedError
from ..ir.types import I64, Array, Scalar
from . import calls, views
from .captures import Capture, Captures, Guard
from .context import StaticNeeded, Tracer
from .joins import make_tuple
from .source import first_line, span_of
from .values import CALLERS, ArrayObject, DictObject, Host, Instance, ListObject, Maybe, Number, Poison, Reference

__all__ = ["Leaf", "Result", "Traced", "trace"]


@dataclass
class Leaf:
    """Placeholder of a dynamic argument leaf. `weak`: a Python number; `contiguous`: C order without gaps; `array`:
    a number that is an array of NumPy's without axes."""

    type: Scalar | Array
    name: str
    weak: bool = False
    contiguous: bool = True
    index: int = -1
    """Its place among the IR function's arguments; unless given, they come in order of appearance."""
    array: bool = False


@dataclass(frozen=True)
class Result:
    """Placeholder of the k-th IR result in the returned structure. `weak`: Python would return a Python number;
    `array`: an array without axes, not a NumPy scalar."""

    index: int
    weak: bool = False
    array: bool = field(default=False, repr=False)


@dataclass(eq=False)
class Traced:
    """What a trace gives.

    `function`: its arguments are the leaves in order of appearance (positional arguments, then keyword arguments
    in their order), then the captures. `result`: the returned structure with `Result` for IR results. `mutated`:
    index of an argument of the IR function → index of the IR result that holds its final contents (after the user's).
    `sources`: what was read, for the cache's manifest: (file, qualified name, text).
    """

    function: Function
    result: Any
    captures: list[Capture]
    guards: list[Guard]
    mutated: dict[int, int]
    sources: list[tuple[str, str, str]] = field(default_factory=list)
    lines: list[tuple[int, int]] = field(default_factory=list)
    """The first and the last line of each source."""
    located: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    """By identity: objects found outside, and the keys of their places (see `Captures.found`)."""
    differentiates: bool = False
    """Whether the program contains derivatives of its own."""


def trace(
    function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], loose: bool = False, effects: bool = False
) -> Traced:
    """Trace a function. Raises `UnsupportedError`, `TraceTypeError`, `ShapeError` with the user's line.

    `loose`: extents that turn out to be 1 at run time are repeated (see `broadcasting`). `effects`: whether the caller
    is to see what the function does to its arguments; lists and dicts among them then cannot be changed.
    """
    t = Tracer(loose)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 20_000))
    try:
        return run(t, function, args, kwargs, effects)
    except StaticNeeded as error:
        refused = UnsupportedError(error.message, error.span, error.help)
        refused.caller = error.caller
        raise refused from error
    except AdjitError as error:
        if error.span is None:
            error.span = t.span()
        raise
    except RecursionError as error:
        raise UnsupportedError(
            "the program is nested too deeply to be traced", t.span(), "write recursion as a loop"
        ) from error
    except Exception as error:
        raise InternalError(
            f"the tracer failed: {type(error).__name__}: {error}",
            span_of(t.current, t.file) if t.current is not None else t.span(),
            "this is a bug in adjit; please report it with the function above",
        ) from error
    finally:
        sys.setrecursionlimit(limit)


def run(t: Tracer, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], effects: bool) -> Traced:
    region = Region()
    t.captures = Captures(t, region)
    arguments = Arguments(t, region, effects)
    parameters = parameter_names(function, len(args))
    with t.inside(region):
        given = [arguments.abstract(a, parameters[k]) for k, a in enumerate(args)]
        named = {k: arguments.abstract(a, k) for k, a in kwargs.items()}
        count = len(region.args)
        t.captures.argument_count = count
        t.captures.array_objects += arguments.objects
        where = definition(function)
        if where is not None:
            t.node, t.file = where
        value = calls.call(t, function, given, named)
        if t.dead():
            t.unsupported("every path through this function ends in an error", "let some path return a value")
        results: list[Value] = []
        structure = Structure(t, results).result(value)
        mutated = final_contents(t, region, results)
        t.node = None
        t.emit("return", results)
    mutated = drop_unused(t, region, count, mutated)
    mutated = arguments.in_order(count, mutated)
    name = getattr(function, "__name__", None) or type(function).__name__
    if name == "<lambda>":
        name = "lambda_"
    traced = Function(name if name.isidentifier() else "function", region)
    sources = [(c.file, c.qualname, c.text) for c in t.sources.values()]
    lines = [(first_line(c.node), c.node.end_lineno or 0) for c in t.sources.values()]
    guards = unique(t.captures.guards)
    located = t.captures.located
    return Traced(traced, structure, t.captures.captures, guards, mutated, sources, lines, located, t.differentiates)


def definition(function: Any) -> tuple[ast.AST, str] | None:
    """A node to blame where something is wrong with a call as a whole."""
    code = getattr(function, "__code__", None)
    if code is None:
        return None
    node = ast.Pass()
    node.lineno, node.col_offset = code.co_firstlineno, 0
    node.end_lineno, node.end_col_offset = code.co_firstlineno, 0
    return node, code.co_filename


def parameter_names(function: Any, count: int) -> list[str]:
    """What the function calls its positional arguments."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][:count]
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "args")
    return names + [f"{rest}[{k}]" for k in range(count - len(names))]


def drop_unused(t: Tracer, region: Region, count: int, mutated: dict[int, int]) -> dict[int, int]:
    """Leave out captures that nothing reads; returns `mutated` with the positions that arguments have then."""
    used = {v for op in walk(region) for v in op.operands}
    captures, region_args = t.captures.captures, region.args
    kept = [k for k in range(count, len(region_args)) if region_args[k] in used or k in mutated]
    position = {old: new for new, old in enumerate([*range(count), *kept])}
    t.captures.captures = [captures[k - count] for k in kept]
    region.args = [*region_args[:count], *(region_args[k] for k in kept)]
    return {position[k]: r for k, r in mutated.items()}


def unique(guards: list[Guard]) -> list[Guard]:
    seen: set[Any] = set()
    out: list[Guard] = []
    for g in guards:
        key = (g.text, g.key, g.aspect, id(g.expected) if g.identity else repr(g.expected))
        if g.key is None or key not in seen:  # without a key, two places may have one text
            seen.add(key)
            out.append(g)
    return out


def final_contents(t: Tracer, region: Region, results: list[Value]) -> dict[int, int]:
    """Append the final contents of written arguments to the results."""
    mutated: dict[int, int] = {}
    position = {id(v): k for k, v in enumerate(region.args)}
    for obj in t.captures.objects():
        now = t.store.get(obj, obj.initial)
        if now is not obj.initial:
            mutated[position[id(obj.initial)]] = len(results)
            results.append(now)
    return mutated


# ---------------------------------------------------------------- arguments


class Arguments:
    """Turns what the user passes (with leaves) into abstract values."""

    def __init__(self, t: Tracer, region: Region, effects: bool) -> None:
        self.t = t
        self.region = region
        self.effects = effects
        self.objects: list[ArrayObject] = []
        self.places: list[int] = []

    def abstract(self, x: Any, text: str) -> Any:
        if isinstance(x, Leaf):
            return self.leaf(x)
        if isinstance(x, tuple):
            items = [self.abstract(v, f"{text}[{k}]") for k, v in enumerate(x)]
            return make_tuple(type(x), items)
        if isinstance(x, list):
            items = [self.abstract(v, f"{text}[{k}]") for k, v in enumerate(x)]
            return ListObject(tuple(items), self.region, ("argument", text), host=text if self.effects else "")
        if isinstance(x, dict):
            pairs = [(k, self.abstract(v, f"{text}[{k!r}]")) for k, v in x.items()]
            return DictObject(tuple(pairs), self.region, ("argument", text), host=text if self.effects else "")
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            fields = {f.name: getattr(x, f.name) for f in dataclasses.fields(x) if hasattr(x, f.name)}
            fields.update(getattr(x, "__dict__", {}))
            pairs = [(k, self.abstract(v, f"{text}.{k}")) for k, v in fields.items()]
            return Instance(type(x), tuple(pairs), self.region, ("argument", text), host=text)
        if isinstance(x, float):
            return x
        if isinstance(x, bool | int | str | bytes | type(None)):
            return x
        captures = self.t.captures
        return captures.found(x, lambda: x, text, ("object", id(x)))

    def in_order(self, count: int, mutated: dict[int, int]) -> dict[int, int]:
        """Bring the function's arguments into the order that their leaves say; returns `mutated` with new positions."""
        order = sorted(range(count), key=lambda k: self.places[k])
        self.region.args[:count] = [self.region.args[k] for k in order]
        position = {old: new for new, old in enumerate(order)}
        return {position.get(k, k): r for k, r in mutated.items()}

    def leaf(self, leaf: Leaf) -> Any:
        value = Value(leaf.type, identifier(leaf.name, self.t.captures.names))
        self.region.args.append(value)
        self.places.append(leaf.index)
        self.t.captures.values.append(value)
        if isinstance(leaf.type, Scalar):
            return Number(value, leaf.weak, CALLERS if leaf.array else False)
        extents: list[Value | None] = [None if d is None else Const(d, I64) for d in leaf.type.dims]
        order: bool | None = True if leaf.contiguous or (leaf.type.rank == 1 and leaf.contiguous) else None
        obj = ArrayObject(
            value, extents, self.region, ("argument", leaf.name), order, argument=len(self.region.args) - 1
        )
        self.objects.append(obj)
        return Reference(obj)


def identifier(name: str, taken: set[str]) -> str:
    clean = "".join(c if c.isalnum() or c == "_" else "_" for c in name).strip("_") or "x"
    if clean[0].isdigit():
        clean = "_" + clean
    while clean in taken:
        clean += "_"
    taken.add(clean)
    return clean


# ---------------------------------------------------------------- results


class Structure:
    """Turns the returned abstract value into a structure with `Result` placeholders."""

    def __init__(self, t: Tracer, results: list[Value]) -> None:
        self.t = t
        self.results = results

    def result(self, x: Any) -> Any:
        t = self.t
        if isinstance(x, Number):
            return self.add(x.value, x.weak, bool(x.array))
        if isinstance(x, Reference):
            return self.add(views.read(t, x), False, x.rank == 0)
        if isinstance(x, Poison | Maybe):
            from .expressions import usable

            return self.result(usable(t, x, "the result"))
        if isinstance(x, tuple):
            return make_tuple(type(x), [self.result(v) for v in x])
        if isinstance(x, ListObject):
            return [self.result(v) for v in t.items(x)]
        if isinstance(x, DictObject):
            return {k: self.result(v) for k, v in t.items(x)}
        if isinstance(x, Instance):
            made: Any = object.__new__(x.cls)
            for k, v in t.items(x):
                object.__setattr__(made, k, self.result(v))
            return made
        if isinstance(x, Host):
            return x.value
        if type(x).__module__.startswith("adjit.tracer"):
            raise ArgumentError(
                "the function returns something that is no number, array or structure of them",
                t.span(),
                "return numbers, arrays, and tuples, lists and dicts of them",
            )
        return x

    def add(self, value: Value, weak: bool, array: bool) -> Result:
        self.results.append(value)
        return Result(len(self.results) - 1, weak, array)
