"""Derivatives inside a trace: calls of transformed functions become operations of the traced program.

In: a `Derivative` (a function and what to make of it) and abstract arguments. Out: the abstract result. The function is
traced into a region of its own, as a program of its arguments and of whatever it reads from around it; that program is
optimized, differentiated (`ir.adjoint`) and put where the call stands. What is there then is ordinary operations, so
that derivatives nest in each other, in loops and in branches, to any order, by this one mechanism; and `jacfwd(f)` as a
whole is the trace of one call.

Names follow JAX. A derivative never changes its arguments: the function works on copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from ..ir.adjoint import jvp as ir_jvp
from ..ir.adjoint import vjp as ir_vjp
from ..ir.adjoint.jacobian import Blocks, forward_blocks, reverse_blocks, size
from ..ir.core import Const, Region, Value, const
from ..ir.ops.callback import refuse_effects
from ..ir.rewrite import inline
from ..ir.types import F64
from . import calls, views
from .batching import ByKey, vmap
from .broadcasting import agree
from .callbacks import RULES as CALLBACKS
from .callbacks import bind_callback, bind_print
from .checkpoints import bind_checkpoint, checkpointed_call
from .context import Tracer
from .custom import RULES, bind_custom_rule
from .implicit import KINDS as SOLVERS
from .implicit import bind_custom_linear_solve, bind_custom_root
from .numeric import describe
from .programs import (
    Derivative,
    Output,
    Program,
    abstract,
    arranged,
    fill,
    float_outputs,
    leaves,
    of_arguments,
    only,
    program,
    refuse,
    results_of,
    split_aux,
    structure,
    value_of,
)
from .values import (
    BoundMethod,
    DictObject,
    FunctionValue,
    Host,
    ListObject,
    Number,
    Reference,
)
from .values import Partial as PartialValue

__all__ = ["call_derivative", "register"]


def call_derivative(t: Tracer, made: Derivative, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """A call of a derivative (the transform named by its kind) with abstract arguments."""
    return KINDS[made.kind](t, made, list(args), kwargs)


# ---------------------------------------------------------------- the transforms


def primal(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The function itself, on copies of its arguments."""
    p = program(t, made.__wrapped__, args, kwargs, ())
    return results_of(t, p.result, dict(enumerate(inline(p.function, p.operands))))


def plain(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    return calls.call(t, made.__wrapped__, args, kwargs)


def value_and_grad(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    t.differentiates = True
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
    t.differentiates = True
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
    if made.kind == "tangent":
        refuse_effects(p.function.body, "linearize")
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
    given = [x for x in leaves(t, arranged(t, tangents, primals)) if x is not None]
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
    t.differentiates = True
    p = program(t, made.__wrapped__, args, kwargs, made.argnums)
    value, aux = split_aux(t, made, p)
    outputs = float_outputs(t, p, value)
    refuse_effects(p.function.body, f"a {made.kind}")
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
    t.differentiates = True
    inner = Derivative("jacrev", made.__wrapped__, made.argnums, made.has_aux)
    p = program(t, inner, args, kwargs, made.argnums)
    gradient, aux = split_aux(t, made, p)
    outputs = float_outputs(t, p, gradient)
    refuse_effects(p.function.body, "a hessian")
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
    t.differentiates = True
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
    t.differentiates = True
    p = program(t, made.__wrapped__, args, kwargs, None)
    value, aux = split_aux(t, made, p)
    float_outputs(t, p, value)
    refuse_effects(p.function.body, "a vjp in a traced function")
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


def transform(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Derivative:
    """A transform that was given its options, given its function."""
    kind: str = made.__wrapped__
    if len(args) != 1 or kwargs:
        refuse(t, f"{kind} with options takes one function", f"write `{kind}(argnums=1)(f)`")
    check_function(t, kind, args[0])
    return Derivative(kind, args[0], made.argnums, made.has_aux, made.options)


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
    "vmap": vmap,
    "checkpoint": checkpointed_call,
    "transform": transform,
    **RULES,
    **CALLBACKS,
    **SOLVERS,
}


# ---------------------------------------------------------------- transforms named in traced programs


def check_function(t: Tracer, kind: str, function: Any) -> None:
    if not callable(function) and not isinstance(function, FunctionValue | BoundMethod | PartialValue | Host):
        refuse(t, f"{kind} takes a function, not {describe(function)}", f"inside a function, write `{kind}(f)(x)`")


def made_by(kind: str) -> Callable[..., Any]:
    """The binding of a transform that returns a function; the outermost one says whether to use threads."""

    def binding(
        t: Tracer,
        function: Any = None,
        argnums: Any = 0,
        has_aux: Any = False,
        static_argnames: Any = (),
        parallel: Any = False,
    ) -> Derivative:
        if function is None:  # `@grad(argnums=1)`
            return Derivative("transform", kind, argnums, has_aux)
        check_function(t, kind, function)
        return Derivative(kind, function, argnums, has_aux)

    return binding


def bind_jvp(t: Tracer, function: Any, primals: Any, tangents: Any, has_aux: Any = False, parallel: Any = False) -> Any:
    check_function(t, "jvp", function)
    return jvp(t, Derivative("jvp", function, 0, has_aux), [primals, tangents], {})


def bind_vjp(t: Tracer, function: Any, *args: Any, has_aux: Any = False, parallel: Any = False) -> Any:
    check_function(t, "vjp", function)
    return vjp(t, Derivative("vjp", function, 0, has_aux), list(args), {})


def bind_vmap(t: Tracer, function: Any = None, in_axes: Any = 0, out_axes: Any = 0) -> Derivative:
    options = tuple(frozen_axes(t, x) for x in (in_axes, out_axes))
    if function is None:
        return Derivative("transform", "vmap", options=options)
    check_function(t, "vmap", function)
    return Derivative("vmap", function, options=options)


def frozen_axes(t: Tracer, x: Any) -> Any:
    """A structure of axes, as tuples."""
    if isinstance(x, ListObject | tuple):
        return tuple(frozen_axes(t, v) for v in (t.items(x) if isinstance(x, ListObject) else x))
    if isinstance(x, DictObject):
        return ByKey(tuple((k, frozen_axes(t, v)) for k, v in t.items(x)))
    if x is not None and not isinstance(x, int):
        refuse(t, f"an axis of vmap is {describe(x)}", "write axes as numbers, None, or structures of them")
    return x


def bind_hvp(t: Tracer, function: Any, x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
    check_function(t, "hvp", function)
    return hvp(t, Derivative("hvp", function), [x, v, *args], kwargs)


def bind_linearize(t: Tracer, function: Any, *primals: Any, has_aux: Any = False, parallel: Any = False) -> Any:
    t.differentiates = True
    check_function(t, "linearize", function)
    p = program(t, function, list(primals), {}, None)
    refuse_effects(p.function.body, "linearize in a traced function")
    value, aux = split_aux(t, Derivative("jvp", function, 0, has_aux), p)
    found = dict(enumerate(inline(p.function, p.operands)))
    result = results_of(t, value, found)
    along = Push(p, value, primals)
    return (result, along, results_of(t, aux, found)) if has_aux else (result, along)


def register() -> None:
    from .bindings import MARKED, TABLE

    TABLE[print] = bind_print

    for kind in ("grad", "value_and_grad", "jacfwd", "jacrev", "jacobian", "hessian"):
        MARKED[kind] = made_by(kind)
    MARKED.update(
        jit=made_by("jit"),
        jvp=bind_jvp,
        vjp=bind_vjp,
        hvp=bind_hvp,
        linearize=bind_linearize,
        vmap=bind_vmap,
        callback=bind_callback,
        custom_rule=bind_custom_rule,
        checkpoint=bind_checkpoint,
        custom_root=bind_custom_root,
        custom_linear_solve=bind_custom_linear_solve,
    )
