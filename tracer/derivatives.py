"""Derivatives inside a trace: calls of transformed functions become operations of the traced program.

In: a `Derivative` (a function and what to make of it) and abstract arguments. Out: the abstract result. The function is
traced into a region of its own, as a program of its arguments and of whatever it reads from around it; that program is
optimized, differentiated (`ir.adjoint`) and put where the call stands. What is there then is ordinary operations, so
that derivatives nest in each other, in loops and in branches, to any order, by this one mechanism; and `jacfwd(f)` as a
whole is the trace of one call.

Names follow JAX. A derivative never changes its arguments: the function works on copies.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NoReturn

from ..ir import pipeline
from ..ir.adjoint import jvp as ir_jvp
from ..ir.adjoint import vjp as ir_vjp
from ..ir.adjoint.jacobian import Blocks, forward_blocks, inline, reverse_blocks, size
from ..ir.core import Const, Function, Region, Value, const
from ..ir.errors import ArgumentError
from ..ir.rewrite import clone_region, free_values
from ..ir.types import F64
from . import calls, views
from .broadcasting import agree
from .context import DEAD, Tracer
from .expressions import usable
from .joins import make_tuple
from .numeric import describe
from .values import (
    ArrayObject,
    BoundMethod,
    DictObject,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Maybe,
    Number,
    Poison,
    Reference,
)
from .values import Partial as PartialValue

__all__ = ["Derivative", "call_derivative"]


class Derivative:
    """A function made of another one: `kind` is a key of `KINDS`. Called in traced programs only."""

    def __init__(
        self,
        kind: str,
        function: Any,
        argnums: int | tuple[int, ...] = 0,
        has_aux: bool = False,
    ) -> None:
        self.kind = kind
        self.__wrapped__ = function
        self.argnums = argnums
        self.has_aux = has_aux
        self.__name__ = f"{name_of(function)}_{kind}"
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


def call_derivative(t: Tracer, made: Derivative, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a derivative (the transform named by its kind) with abstract arguments."""
    return KINDS[made.kind](t, made, list(args), kwargs)


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
        return (kind, *((k, structure(t, v)) for k, v in t.items(x)))
    return "*"


def value_of(t: Tracer, leaf: Any) -> Value:
    """The IR value of a leaf."""
    if isinstance(leaf, Reference):
        return views.read(t, leaf)
    return leaf.value if isinstance(leaf, Number) else const(leaf)


def abstract(t: Tracer, value: Value, like: Any = None) -> Any:
    """A leaf that holds `value`; of numbers, of the kind of `like` (unless given, a float64 is a Python number)."""
    if value.is_array:
        return t.new_array(value)
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
    outputs: list[Output] = field(default_factory=list)

    def outputs_of(self, t: Tracer, tree: Any) -> list[Output]:
        return [leaf for leaf in leaves(t, tree) if isinstance(leaf, Output)]


def program(
    t: Tracer, function: Any, args: list[Any], kwargs: dict[str, Any], argnums: int | tuple[int, ...] | None
) -> Program:
    """Trace a function into a program of its own. `argnums`: the arguments to differentiate (None: all)."""
    name = getattr(function, "__name__", None) or type(function).__name__
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
        return Reference(ArrayObject(inner, known, body, ("argument", len(inputs)), order))

    def enter_constant(leaf: Any) -> Any:
        return leaf if type(leaf) is float else enter(leaf)

    given: list[Any] = []
    trees: dict[int, Any] = {}
    for k, a in enumerate(args):
        before = len(inputs)
        given.append(tree_map(t, enter if k in chosen else enter_constant, a))
        if k in chosen:
            check_floats(t, name, k, a)
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
        results.append(value_of(t, leaf))
        return outputs[-1]

    with t.inside(body):
        value = calls.call(t, function, given, named)
        if t.dead():
            t.unsupported(f"every path through `{name}` ends in an error", "let some path return a value")
        result = tree_map(t, leave, value)
        t.emit("return", results)
    check_effects(t, name, entry)
    t.store = entry
    free = free_values(body)
    env: dict[Value, Value] = {v: Value(v.type, v.name) for v in free}
    lifted = clone_region(body, env)
    lifted.args += [env[v] for v in free]
    identifier = name if name.isidentifier() else "lambda_" if name == "<lambda>" else "function"
    made = pipeline.optimize(Function(identifier, lifted))
    operands = [*(x.value for x in inputs), *free]
    return Program(name, made, operands, wrt, [trees[k] for k in chosen], result, outputs)


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
        return t.new_list([fill(t, v, f) for v in t.items(tree)])
    if isinstance(tree, DictObject):
        return t.new_dict([(k, fill(t, v, f)) for k, v in t.items(tree)])
    if isinstance(tree, Instance):
        return Instance(tree.cls, tuple((k, fill(t, v, f)) for k, v in t.items(tree)), t.region, t.birth())
    return tree


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


def check_floats(t: Tracer, name: str, k: int, tree: Any) -> None:
    """Refuse an argument to differentiate that is no structure of floats."""
    for leaf in leaves(t, tree):
        if isinstance(leaf, Number | Reference):
            if leaf.dtype.is_float:
                continue
            refuse(
                t,
                f"argument {k} of `{name}` has dtype {leaf.dtype.numpy_name}: only floats have a derivative",
                "pass a float (`1.0`, `x.astype(np.float64)`), or choose other arguments with argnums=",
            )
        elif type(leaf) is not float and leaf is not None:
            refuse(
                t,
                f"argument {k} of `{name}` contains {describe(leaf)}, which has no derivative",
                "choose other arguments with argnums=, or keep such values out of it",
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


# ---------------------------------------------------------------- the transforms


def primal(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The function itself, on copies of its arguments."""
    p = program(t, made.__wrapped__, args, kwargs, ())
    return results_of(t, p.result, dict(enumerate(inline(p.function, p.operands))))


def plain(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return calls.call(t, made.__wrapped__, args, kwargs)


def value_and_grad(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    p = program(t, made.__wrapped__, args, kwargs, made.argnums)
    value, aux = split_aux(t, made, p)
    if not isinstance(value, Output) or p.function.results[value.index].is_array:
        what = "an array" if isinstance(value, Output) else "a structure of values"
        refuse(
            t,
            f"`{p.name}` returns {what}, but a gradient is of one float",
            "return one number; with has_aux=True, a pair (value, anything else); or use `jacrev`",
        )
    float_outputs(t, p, value)
    kept = [o.index for o in p.outputs_of(t, p.result)] if made.kind == "value_and_grad" else []
    if made.kind == "grad":
        kept = [o.index for o in p.outputs_of(t, aux)]
    seeds = ["one" if k == value.index else None for k in range(len(p.function.results))]
    found = inline(ir_vjp(p.function, p.wrt, seeds, keep=kept).function, p.operands)
    gradient = of_arguments(t, made, p, lambda k: abstract(t, found[len(kept) + k]))
    values = dict(zip(kept, found))
    if made.kind == "value_and_grad":
        return results_of(t, p.result, values), gradient
    return (gradient, results_of(t, aux, values)) if made.has_aux else gradient


def jvp(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """(value, tangent), with aux (value, tangent, aux); of the kind "tangent", the tangent alone."""
    if len(args) != 2 or kwargs:
        refuse(t, f"jvp takes the primals and the tangents, not {len(args)} arguments", "write `jvp(f, (x,), (v,))`")
    primals, tangents = (tuple(t.items(a)) if isinstance(a, ListObject) else a for a in args)
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple):
            refuse(
                t,
                f"the {what} of jvp are one tuple of the function's arguments, not {describe(given)}",
                "write `jvp(f, (x,), (v,))`",
            )
    p = program(t, made.__wrapped__, list(primals), {}, None)
    value, aux = split_aux(t, made, p)
    outputs = float_outputs(t, p, value)
    seeds = matching(t, p, primals, tangents)
    kept = [] if made.kind == "tangent" else [o.index for o in p.outputs_of(t, p.result)]
    differentiated = only(p, [*(o.index for o in outputs), *kept])
    count = len(outputs)
    jet = ir_jvp(differentiated, p.wrt, keep=range(count, count + len(kept)))
    found = inline(jet, [*p.operands, *seeds])
    values = dict(zip(kept, found))
    directions = {o.index: v for o, v in zip(outputs, found[len(kept) :])}
    tangent = results_of(t, value, directions)
    if made.kind == "tangent":
        return tangent
    out = (results_of(t, value, values), tangent)
    return (*out, results_of(t, aux, values)) if made.has_aux else out


def matching(t: Tracer, p: Program, primals: Any, tangents: Any) -> list[Value]:
    """The values of the tangents, checked against what they are tangents of."""
    if structure(t, primals) != structure(t, tangents):
        refuse(
            t,
            f"the tangents do not have the structure of the primals of `{p.name}`",
            "give one tangent for each argument, of the same structure and shapes",
        )
    out: list[Value] = []
    given = [x for x in leaves(t, tangents) if x is not None]
    numbers = [x for x in leaves(t, primals) if x is not None]
    for x, dx in zip(numbers, given, strict=True):
        if type(dx) is int:
            dx = float(dx)
        fits = isinstance(dx, Number | Reference) or type(dx) is float
        rank = x.rank if isinstance(x, Reference) else 0
        if not fits or (dx.rank if isinstance(dx, Reference) else 0) != rank:
            refuse(
                t,
                f"a tangent for an argument of `{p.name}` is {describe(dx)}, its primal {describe(x)}",
                "a tangent has the shape of its primal",
            )
        if isinstance(dx, Reference):
            for axis in range(rank):
                agree(t, views.extent(t, x, axis), views.extent(t, dx, axis), "a tangent has the shape of its primal")
        value = value_of(t, dx)
        dtype = x.dtype if isinstance(x, Number | Reference) else F64
        out.append(value if value.dtype is dtype else t.emit1("cast", [value], {"dtype": dtype}))
    return out


def jacobian(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """jacfwd, jacrev, and jacobian, which picks one of them by the numbers of inputs and outputs."""
    p = program(t, made.__wrapped__, args, kwargs, made.argnums)
    value, aux = split_aux(t, made, p)
    outputs = float_outputs(t, p, value)
    found = inline(p.function, p.operands)
    values = [found[o.index] for o in outputs]
    function = only(p, [o.index for o in outputs])
    forward = partial(forward_blocks, function, p.wrt, p.operands, values)
    reverse = partial(reverse_blocks, function, p.wrt, p.operands, values)
    if made.kind == "jacfwd":
        blocks = forward()
    elif made.kind == "jacrev":
        blocks = reverse()
    else:
        blocks = cheaper(t, [p.operands[k] for k in p.wrt], values, forward, reverse)
    out = blocks_as_trees(t, made, p, value, blocks)
    return (out, results_of(t, aux, dict(enumerate(found)))) if made.has_aux else out


def blocks_as_trees(t: Tracer, made: Derivative, p: Program, value: Any, blocks: Blocks) -> Any:
    """For each leaf of the result, a structure like the differentiated arguments."""
    rows = iter(blocks)

    def of_output(_: Output) -> Any:
        row = next(rows)
        return of_arguments(t, made, p, lambda k: abstract(t, row[k]))

    return fill(t, value, of_output)


def cheaper(
    t: Tracer,
    inputs: list[Value],
    values: list[Value],
    forward: Callable[[], Blocks],
    reverse: Callable[[], Blocks],
) -> Blocks:
    """Forward mode unless there are more than twice as many inputs as outputs."""
    n, m = total_size(t, inputs), total_size(t, values)
    if not any(v.is_array for v in inputs):
        return forward()
    if not any(v.is_array for v in values) and len(values) == 1:
        return reverse()
    few = t.emit1("le", [n, t.emit1("mul", [Const(2, n.dtype), m])])
    made: list[Blocks] = []
    regions = []
    for way in (forward, reverse):
        region = Region()
        with t.inside(region):
            made.append(way())
            t.emit("yield", [v for row in made[-1] for v in row])
        regions.append(region)
    results = iter(t.emit("if", [few], regions=regions))
    return [[next(results) for _ in row] for row in made[0]]


def total_size(t: Tracer, values: list[Value]) -> Value:
    out = size(values[0]) if values else Const(0, const(0).dtype)
    for v in values[1:]:
        out = t.emit1("add", [out, size(v)])
    return out


def hessian(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Forward over reverse."""
    inner = Derivative("jacrev", made.__wrapped__, made.argnums, made.has_aux)
    p = program(t, inner, args, kwargs, made.argnums)
    gradient, aux = split_aux(t, made, p)
    outputs = float_outputs(t, p, gradient)
    found = inline(p.function, p.operands)
    values = [found[o.index] for o in outputs]
    function = only(p, [o.index for o in outputs])
    count = len(p.wrt)
    ranks = [p.operands[k].rank for k in p.wrt]
    of_scalars = all(v.rank == ranks[k % count] for k, v in enumerate(values))
    blocks = forward_blocks(function, p.wrt, p.operands, values, lead=of_scalars)
    if of_scalars:  # symmetric: what was written by rows, with the axes of the second derivative first
        blocks = [[blocks[k - k % count + j][k % count] for j in range(count)] for k in range(len(values))]
    out = blocks_as_trees(t, made, p, gradient, blocks)
    return (out, results_of(t, aux, dict(enumerate(found)))) if made.has_aux else out


def hvp(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The Hessian with respect to the first argument times a vector; further arguments are constants."""
    if len(args) < 2:
        refuse(t, f"hvp takes a point and a vector, not {len(args)} arguments", "write `hvp(f, x, v)`")
    x, v, *rest = args

    p = program(t, Derivative("grad", made.__wrapped__), [x, *rest], kwargs, 0)
    seeds = matching(t, p, (x,), (v,))
    outputs = float_outputs(t, p, p.result)
    found = inline(ir_jvp(only(p, [o.index for o in outputs]), p.wrt, keep=[]), [*p.operands, *seeds])
    return results_of(t, p.result, {o.index: value for o, value in zip(outputs, found)})


def vjp(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """(value, pullback), inside a traced program; the pullback runs the forward sweep again (which is then found to
    be the same, where it has no loops)."""
    p = program(t, made.__wrapped__, args, kwargs, None)
    value, aux = split_aux(t, made, p)
    float_outputs(t, p, value)
    found = dict(enumerate(inline(p.function, p.operands)))
    result = results_of(t, value, found)
    back = Pull(p, value, result)
    return (result, back, results_of(t, aux, found)) if made.has_aux else (result, back)


@dataclass(eq=False)
class Pull:
    """The pullback of a call of `vjp` inside a traced program."""

    program: Program
    value: Any
    result: Any
    kind: str = "pullback"

    @property
    def __adjit_derivative__(self) -> Pull:
        return self

    def __call__(self, *args: Any) -> NoReturn:
        raise NotImplementedError("called by the tracer")


def pull(t: Tracer, made: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    p, value = made.program, made.value
    if len(args) != 1 or kwargs:
        refuse(t, "a pullback takes one cotangent, of the structure of the value", "write `pullback(cotangent)`")
    cotangents = matching(t, p, made.result, args[0])
    outputs = p.outputs_of(t, value)
    adjoint = ir_vjp(only(p, [o.index for o in outputs]), p.wrt, ["argument"] * len(outputs), keep=[])
    found = inline(adjoint.function, [*p.operands, *cotangents])
    return tuple(fill(t, tree, lambda slot: abstract(t, found[slot.number])) for tree in p.wrt_trees)


@dataclass(eq=False)
class Push:
    """The linear function of a call of `linearize` inside a traced program."""

    program: Program
    value: Any
    primals: tuple[Any, ...]
    kind: str = "pushforward"

    @property
    def __adjit_derivative__(self) -> Push:
        return self

    def __call__(self, *args: Any) -> NoReturn:
        raise NotImplementedError("called by the tracer")


def push(t: Tracer, made: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    p, value = made.program, made.value
    outputs = float_outputs(t, p, value)
    seeds = matching(t, p, made.primals, tuple(args))
    tangent = ir_jvp(only(p, [o.index for o in outputs]), p.wrt, keep=[])
    found = inline(tangent, [*p.operands, *seeds])
    return results_of(t, value, {o.index: v for o, v in zip(outputs, found)})


KINDS: dict[str, Callable[[Tracer, Any, list[Any], dict[str, Any]], Any]] = {
    "jit": plain,
    "primal": primal,
    "grad": value_and_grad,
    "value_and_grad": value_and_grad,
    "vjp": vjp,
    "pullback": pull,
    "pushforward": push,
    "jvp": jvp,
    "tangent": jvp,
    "jacfwd": jacobian,
    "jacrev": jacobian,
    "jacobian": jacobian,
    "hessian": hessian,
    "hvp": hvp,
}


# ---------------------------------------------------------------- transforms named in traced programs


def check_function(t: Tracer, kind: str, function: Any) -> None:
    if not callable(function) and not isinstance(function, FunctionValue | BoundMethod | PartialValue | Host):
        refuse(t, f"{kind} takes a function, not {describe(function)}", f"inside a function, write `{kind}(f)(x)`")


def made_by(kind: str) -> Callable[..., Any]:
    """The binding of a transform that returns a function."""

    def binding(
        t: Tracer, function: Any = None, argnums: Any = 0, has_aux: Any = False, static_argnames: Any = ()
    ) -> Derivative:
        check_function(t, kind, function)
        return Derivative(kind, function, argnums, has_aux)

    return binding


def bind_jvp(t: Tracer, function: Any, primals: Any, tangents: Any, has_aux: Any = False) -> Any:
    check_function(t, "jvp", function)
    return jvp(t, Derivative("jvp", function, 0, has_aux), [primals, tangents], {})


def bind_vjp(t: Tracer, function: Any, *args: Any, has_aux: Any = False) -> Any:
    check_function(t, "vjp", function)
    return vjp(t, Derivative("vjp", function, 0, has_aux), list(args), {})


def bind_hvp(t: Tracer, function: Any, x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
    check_function(t, "hvp", function)
    return hvp(t, Derivative("hvp", function), [x, v, *args], kwargs)


def bind_linearize(t: Tracer, function: Any, *primals: Any, has_aux: Any = False) -> Any:
    check_function(t, "linearize", function)
    p = program(t, function, list(primals), {}, None)
    value, aux = split_aux(t, Derivative("jvp", function, 0, has_aux), p)
    found = dict(enumerate(inline(p.function, p.operands)))
    result = results_of(t, value, found)
    along = Push(p, value, primals)
    return (result, along, results_of(t, aux, found)) if has_aux else (result, along)


def register() -> None:
    from .bindings import MARKED

    for kind in ("grad", "value_and_grad", "jacfwd", "jacrev", "jacobian", "hessian"):
        MARKED[kind] = made_by(kind)
    MARKED.update(jit=made_by("jit"), jvp=bind_jvp, vjp=bind_vjp, hvp=bind_hvp, linearize=bind_linearize)
