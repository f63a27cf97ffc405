"""Functions that are differentiated inside a trace, as programs of their own.

In: a function and abstract arguments. Out: a `Program`: its optimized IR, a function of the leaves of the arguments
and of whatever it reads from around it, with the values to apply it to and the structures of arguments and result.
Besides: `Derivative`, which stands for a function that a transform made, and what walks structures of abstract values.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from ..ir import pipeline
from ..ir.core import Function, Region, Value, const
from ..ir.errors import ArgumentError
from ..ir.rewrite import clone_region, free_values
from ..ir.types import F64
from . import calls, shared, views
from .context import DEAD, Store, Tracer
from .expressions import usable
from .joins import make_tuple
from .numeric import describe
from .values import (
    ArrayObject,
    DictObject,
    Instance,
    ListObject,
    Maybe,
    Number,
    Poison,
    Reference,
)

__all__ = [
    "Derivative",
    "Output",
    "Program",
    "Slot",
    "abstract",
    "arranged",
    "fill",
    "float_outputs",
    "leaves",
    "mark_shared",
    "of_arguments",
    "only",
    "program",
    "refuse",
    "results_of",
    "split_aux",
    "structure",
    "tree_map",
    "value_of",
]


class Derivative:
    """A function made of another one: `kind` is a key of `KINDS`, `options` what that kind asks for besides. Called in
    traced programs only."""

    def __init__(
        self,
        kind: str,
        function: Any,
        argnums: int | tuple[int, ...] = 0,
        has_aux: bool = False,
        options: Any = None,
    ) -> None:
        self.kind = kind
        self.__wrapped__ = function
        self.argnums = argnums
        self.has_aux = has_aux
        self.options = options
        self.__name__ = f"{name_of(function)}_{kind.replace(' ', '_')}"
        code = getattr(function, "__code__", None)
        if code is not None:
            self.__code__ = code
        own = signature(kind, function)
        if own is not None:
            self.__signature__ = own

    @property
    def __adjit_derivative__(self) -> Derivative:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError("a Derivative is called by the tracer")


def name_of(function: Any) -> str:
    """A function's name as an identifier."""
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else "lambda_" if name == "<lambda>" else "function"


def signature(kind: str, function: Any) -> inspect.Signature | None:
    """The signature of a kind that is not called like the function it is made of."""
    if kind in ("jvp", "tangent"):
        return inspect.Signature([parameter("primals"), parameter("tangents")])
    if kind == "hvp" and callable(function):
        try:
            point, *rest = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return None
        if point.kind in (point.POSITIONAL_ONLY, point.POSITIONAL_OR_KEYWORD):
            vector = "v" if all(p.name != "v" for p in (point, *rest)) else "vector_"
            return inspect.Signature([point, inspect.Parameter(vector, point.kind), *rest])
    return None


def parameter(name: str) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY)


# ---------------------------------------------------------------- structures of abstract values


def tree_map(t: Tracer, f: Callable[[Any], Any], x: Any) -> Any:
    """The same structure with every number, array and float replaced by what `f` makes of it."""
    if isinstance(x, Poison | Maybe):
        x = usable(t, x, "a value")
    if isinstance(x, Number | Reference) or type(x) is float:
        return f(x)
    if isinstance(x, tuple):
        return make_tuple(type(x), [tree_map(t, f, v) for v in x])
    if isinstance(x, ListObject):
        return ListObject(tuple(tree_map(t, f, v) for v in t.items(x)), t.region, t.birth())
    if isinstance(x, DictObject):
        return DictObject(tuple((k, tree_map(t, f, v)) for k, v in t.items(x)), t.region, t.birth())
    if isinstance(x, Instance):
        return Instance(x.cls, tuple((k, tree_map(t, f, v)) for k, v in t.items(x)), t.region, t.birth())
    return x


def leaves(t: Tracer, x: Any) -> list[Any]:
    """Numbers, arrays and static values of a structure, in order."""
    if isinstance(x, Poison | Maybe):
        x = usable(t, x, "a value")
    if isinstance(x, tuple):
        return [leaf for v in x for leaf in leaves(t, v)]
    if isinstance(x, ListObject):
        return [leaf for v in t.items(x) for leaf in leaves(t, v)]
    if isinstance(x, DictObject | Instance):
        return [leaf for _, v in t.items(x) for leaf in leaves(t, v)]
    return [x]


def structure(t: Tracer, x: Any) -> Any:
    """What two structures must have in common for their leaves to correspond."""
    if isinstance(x, tuple):
        return (type(x).__name__, *(structure(t, v) for v in x))
    if isinstance(x, ListObject):
        return ("list", *(structure(t, v) for v in t.items(x)))
    if isinstance(x, DictObject | Instance):
        kind = "dict" if isinstance(x, DictObject) else x.cls.__name__
        return (kind, frozenset((k, structure(t, v)) for k, v in t.items(x)))
    return "*"


def arranged(t: Tracer, x: Any, like: Any) -> Any:
    """`x`, whose structure is that of `like`, with the items of dicts in the same order, so that leaves correspond."""
    if isinstance(x, Poison | Maybe):
        x = usable(t, x, "a value")
    if isinstance(like, Poison | Maybe):
        like = usable(t, like, "a value")
    if isinstance(x, tuple):
        return make_tuple(type(x), [arranged(t, v, w) for v, w in zip(x, like, strict=True)])
    if isinstance(x, ListObject):
        pairs = zip(t.items(x), t.items(like), strict=True)
        return ListObject(tuple(arranged(t, v, w) for v, w in pairs), t.region, t.birth())
    if isinstance(x, DictObject | Instance):
        found = dict(t.items(x))
        items = tuple((k, arranged(t, found[k], w)) for k, w in t.items(like))
        if isinstance(x, DictObject):
            return DictObject(items, t.region, t.birth())
        return Instance(x.cls, items, t.region, t.birth())
    return x


def value_of(t: Tracer, leaf: Any) -> Value:
    """The IR value of a leaf."""
    if isinstance(leaf, Reference):
        return views.read(t, leaf)
    return leaf.value if isinstance(leaf, Number) else const(leaf)


def abstract(t: Tracer, value: Value, like: Any = None) -> Any:
    """A leaf that holds `value`; of numbers, of the kind of `like` (unless given, a float64 is a Python number)."""
    if value.is_array:
        made = t.new_array(value)
        if isinstance(like, Output) and like.shared is not None:
            shared.link(t, made.object, like.shared)
        return made
    if isinstance(like, Output):
        return Number(value, like.weak, like.array)
    return Number(value, value.dtype is F64)


# ---------------------------------------------------------------- a function as a program


@dataclass(eq=False)
class Input:
    """A leaf of the arguments: what was passed, and the program's argument that stands for it."""

    given: Any
    value: Value
    inner: Value


@dataclass(eq=False)
class Output:
    """A leaf of the result."""

    index: int
    weak: bool = False
    array: int = False
    memory: frozenset[ArrayObject] = frozenset()
    """The objects that an array may be a view of."""
    shared: Sequence[ArrayObject] | None = None
    """Not None for an array that is a view in plain Python: of these objects, of another result."""


@dataclass(eq=False)
class Program:
    """A function as IR: `function` applied to `operands` gives the results that `Output`s in `result` number."""

    name: str
    function: Function
    operands: list[Value]
    wrt: list[int]
    wrt_trees: list[Any]
    """The differentiated arguments, with numbers of leaves (positions in `wrt`) as leaves."""
    result: Any
    before: Store = field(default_factory=dict)
    """What the tracer's store held where the call stands."""

    def outputs_of(self, t: Tracer, tree: Any) -> list[Output]:
        return [leaf for leaf in leaves(t, tree) if isinstance(leaf, Output)]


def program(
    t: Tracer,
    function: Any,
    args: list[Any],
    kwargs: dict[str, Any],
    argnums: int | tuple[int, ...] | None,
    called: bool = False,
) -> Program:
    """Trace a function into a program of its own. `argnums`: the arguments to differentiate (None: all). `called`: it
    is one that plain Python calls as it is, on the arguments themselves (see `shared`)."""
    named_by = function
    while isinstance(named_by, Derivative):
        named_by = named_by.__wrapped__
    name = getattr(named_by, "__name__", None) or type(named_by).__name__
    chosen = positions(t, name, argnums, len(args))
    body = Region()
    inputs: list[Input] = []
    wrt: list[int] = []

    def enter(leaf: Any) -> Any:
        if type(leaf) is float:
            leaf = Number(const(leaf), True)
        if isinstance(leaf, Number):
            value = leaf.value
            inner = Value(value.type, getattr(value, "name", None))
            inputs.append(Input(leaf, value, inner))
            return Number(inner, leaf.weak, leaf.array)
        value = views.read(t, leaf)
        inner = Value(value.type, value.name)
        inputs.append(Input(leaf, value, inner))
        order = views.is_c_order(leaf) if not leaf.stages else True
        known = list(leaf.object.extents) if not leaf.stages else list(views.extents(t, leaf))
        arrays[ArrayObject(inner, known, body, ("argument", len(inputs)), order)] = leaf
        return Reference(next(reversed(arrays)))

    def enter_constant(leaf: Any) -> Any:
        return leaf if type(leaf) is float else enter(leaf)

    arrays: dict[ArrayObject, Reference] = {}
    born = shared.now(t)
    given: list[Any] = []
    trees: dict[int, Any] = {}
    for k, a in enumerate(args):
        before = len(inputs)
        given.append(tree_map(t, enter if k in chosen else enter_constant, a))
        if k in chosen:
            check_floats(t, name, k, a, argnums is not None)
            slots = iter([Slot(n) for n in range(len(wrt), len(wrt) + len(inputs) - before)])
            wrt += range(before, len(inputs))
            trees[k] = tree_map(t, partial(following, slots), a)
    named = {k: tree_map(t, enter_constant, v) for k, v in kwargs.items()}
    body.args = [x.inner for x in inputs]
    entry = dict(t.store)
    outputs: list[Output] = []
    results: list[Value] = []

    def leave(leaf: Any) -> Any:
        if isinstance(leaf, Number):
            outputs.append(Output(len(results), leaf.weak, leaf.array))
        else:
            outputs.append(Output(len(results), type(leaf) is float, False))
        if called and isinstance(leaf, Reference):
            outputs[-1].memory = frozenset(shared.memory_outside(t, leaf, arrays))
        results.append(value_of(t, leaf))
        return outputs[-1]

    with t.inside(body):
        value = calls.call(t, function, given, named)
        if t.dead():
            t.unsupported(f"every path through `{name}` ends in an error", "let some path return a value")
        result = tree_map(t, leave, value)
        t.emit("return", results)
    check_effects(t, name, entry)
    if called:
        shared.refuse_writes(t, name, arrays)
        pairs = [*zip(args, given, strict=True), *((kwargs[k], v) for k, v in named.items())]
        shared.keep_containers(t, value, result, pairs, born)
    t.store = entry
    free = free_values(body)
    env: dict[Value, Value] = {v: Value(v.type, v.name) for v in free}
    lifted = clone_region(body, env)
    lifted.args += [env[v] for v in free]
    identifier = name if name.isidentifier() else "lambda_" if name == "<lambda>" else "function"
    made = pipeline.optimize(Function(identifier, lifted))
    operands = [*(x.value for x in inputs), *free]
    return Program(name, made, operands, wrt, [trees[k] for k in chosen], result, entry)


@dataclass(eq=False)
class Slot:
    """A leaf of the differentiated arguments, by number."""

    number: int


def following(slots: Iterator[Slot], _: Any) -> Slot:
    return next(slots)


def fill(t: Tracer, tree: Any, f: Callable[[Any], Any]) -> Any:
    """A structure with each `Slot` or `Output` replaced by what `f` makes of it."""
    if isinstance(tree, Slot | Output):
        return f(tree)
    if isinstance(tree, tuple):
        return make_tuple(type(tree), [fill(t, v, f) for v in tree])
    if isinstance(tree, ListObject):
        made: Any = t.new_list([fill(t, v, f) for v in tree.initial])
    elif isinstance(tree, DictObject):
        made = t.new_dict([(k, fill(t, v, f)) for k, v in tree.initial])
    elif isinstance(tree, Instance):
        made = Instance(tree.cls, tuple((k, fill(t, v, f)) for k, v in tree.initial), t.region, t.birth())
    else:
        return tree
    made.merged_from = tree.merged_from
    return made


def refuse(t: Tracer, message: str, help: str) -> NoReturn:
    t.fail(ArgumentError, message, help)


def positions(t: Tracer, name: str, argnums: int | tuple[int, ...] | None, count: int) -> list[int]:
    if argnums is None:
        return list(range(count))
    out = []
    for k in argnums if isinstance(argnums, tuple) else (argnums,):
        if not -count <= k < count:
            refuse(
                t,
                f"argnums={argnums}: `{name}` was called with {count} positional arguments",
                "pass the arguments to differentiate by position",
            )
        out.append(k % count)
    return out


def check_floats(t: Tracer, name: str, k: int, tree: Any, chosen: bool) -> None:
    """Refuse an argument to differentiate that is no structure of floats. `chosen`: arguments are named by argnums;
    else (`jvp`, `linearize`, ...) all are differentiated."""
    other = "choose other arguments with argnums=" if chosen else "keep it out of the arguments: `lambda x: f(x, n)`"
    for leaf in leaves(t, tree):
        if isinstance(leaf, Number | Reference):
            if leaf.dtype.is_float:
                continue
            refuse(
                t,
                f"argument {k} of `{name}` has dtype {leaf.dtype.numpy_name}: only floats have a derivative",
                f"pass a float (`1.0`, `x.astype(np.float64)`), or {other}",
            )
        elif type(leaf) is not float and leaf is not None:
            refuse(
                t,
                f"argument {k} of `{name}` contains {describe(leaf)}, which has no derivative",
                f"{other}, or keep such values out of it" if chosen else other,
            )


def check_effects(t: Tracer, name: str, before: dict[Any, Any]) -> None:
    """Refuse a function that changed something around it: a derivative has no side effects."""
    if t.store.get(DEAD) is not before.get(DEAD):
        t.unsupported(f"every path through `{name}` ends in an error", "let some path return a value")
    for key, now in t.store.items():
        if t.alive(key) and (key not in before or before[key] is not now):
            what = f"the variable `{key[1]}`" if isinstance(key, tuple) else "an array or container"
            t.unsupported(
                f"`{name}`, which is differentiated here, changes {what} of the code around it",
                "return the new value instead, or pass a copy as an argument",
            )


# ---------------------------------------------------------------- results


def split_aux(t: Tracer, made: Derivative, p: Program) -> tuple[Any, Any]:
    if not made.has_aux:
        return p.result, None
    if not isinstance(p.result, tuple) or len(p.result) != 2:
        refuse(t, f"has_aux=True, but `{p.name}` does not return a pair (value, aux)", "return `value, aux`")
    return p.result[0], p.result[1]


def float_outputs(t: Tracer, p: Program, tree: Any) -> list[Output]:
    """The leaves of a result that is differentiated; refuses those without a derivative."""
    out = []
    for leaf in leaves(t, tree):
        if isinstance(leaf, Output):
            dtype = p.function.results[leaf.index].dtype
            if not dtype.is_float:
                refuse(
                    t,
                    f"`{p.name}` returns a value of dtype {dtype.numpy_name}, which has no derivative",
                    "return floats; with has_aux=True, a pair (value, anything else)",
                )
            out.append(leaf)
        elif leaf is not None:
            refuse(
                t,
                f"`{p.name}` returns {describe(leaf)}, which has no derivative",
                "return floats; with has_aux=True, a pair (value, anything else)",
            )
    return out


def mark_shared(t: Tracer, p: Program, tree: Any) -> None:
    """Note on the arrays in a result of a function that is called as it is what they share memory with."""
    outputs = p.outputs_of(t, tree)
    for o in outputs:
        origins = shared.sources(t, o.memory, p.before)
        if origins or any(o.memory & other.memory for other in outputs if other is not o):
            o.shared = origins


def results_of(t: Tracer, tree: Any, found: dict[int, Value]) -> Any:
    """A structure of outputs as abstract values; `found`: by number of the result."""
    return fill(t, tree, lambda o: abstract(t, found[o.index], o))


def of_arguments(t: Tracer, made: Derivative, p: Program, f: Callable[[int], Any]) -> Any:
    """A structure like the differentiated arguments, of what `f` gives for each of their leaves."""
    trees = tuple(fill(t, tree, lambda slot: f(slot.number)) for tree in p.wrt_trees)
    return trees if isinstance(made.argnums, tuple) else trees[0]


def only(p: Program, chosen: Sequence[int]) -> Function:
    """The program with some of its results, in that order."""
    body = clone_region(p.function.body, {})
    end = body.terminator
    end.operands[:] = [end.operands[k] for k in chosen]
    return Function(p.function.name, body, dict(p.function.attrs))
