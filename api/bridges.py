"""Compiled functions inside PyTorch and JAX: `f.as_torch()` and `f.as_jax()`.

In: a `Compiled` object. Out: a function of tensors (or of JAX's arrays) that the other library differentiates by
adjit's reverse sweep. Arguments and results are trees, as for the compiled function; what is neither tensor nor array
in them (numbers, strings) is passed on and has no derivative. Arguments are never changed, also where `jit(f)` would
write to them.

* PyTorch: a `torch.autograd.Function`, whose backward is the pullback of `vjp`. Tensors on other devices are copied to
  the processor and back. Derivatives of the first order: a second backward is refused.
* JAX: a `jax.custom_vjp` over `jax.pure_callback`, usable under `jax.jit` and `jax.vmap` (one call per element). The
  backward is a call of its own, which computes the forward sweep again. XLA has to know a result's shape beforehand:
  it is computed from the part of the program that the shapes depend on; should that be values of arguments that are
  not known yet, pass `result=`, a tree of arrays or `jax.ShapeDtypeStruct`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir import interp, pipeline
from ..ir.core import Builder, Function, Op, Region, Value
from ..ir.errors import ArgumentError
from ..ir.rewrite import clone_function, inline, substitute
from ..ir.types import Array, Scalar
from ..tracer import Result
from .arguments import flatten_call, flatten_tree, unflatten

if TYPE_CHECKING:
    from .compiled import Compiled
    from .specialize import Specialization

__all__ = ["as_jax", "as_torch"]

Evaluate = Callable[..., Any]


def as_torch(compiled: Compiled, primal: Evaluate, vjp: Evaluate) -> Callable[..., Any]:
    """The function of tensors; `primal` and `vjp` evaluate the compiled function without changing arguments."""
    torch: Any = importlib.import_module("torch")
    base: Any = torch.autograd.Function

    def array_of(tensor: Any) -> Any:
        return tensor.detach().resolve_neg().cpu().numpy()

    def tensor_of(value: Any, device: Any) -> Any:
        return torch.from_numpy(np.asarray(value)).to(device)

    class Bridge(base):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, program: tuple[Any, list[Any], list[int], list[Any]], *tensors: Any) -> Any:
            treespec, leaves, places, returned = program
            device = tensors[0].device
            for place, tensor in zip(places, tensors, strict=True):
                leaves[place] = array_of(tensor)
            args = unflatten(treespec, leaves)
            if any(ctx.needs_input_grad):
                value, ctx.pullback = vjp(*args)
                ctx.save_for_backward(*tensors)
            else:
                value = primal(*args)
            values, structure = flatten_tree(value)
            numbers = [is_number(v) for v in values]
            out = [tensor_of(v, device) for v, number in zip(values, numbers) if number]
            returned[:] = [structure, [None if number else v for v, number in zip(values, numbers)]]
            ctx.mark_non_differentiable(*(t for t in out if not t.is_floating_point()))
            ctx.form = treespec, places, structure, returned[1], [t.device for t in tensors]
            return tuple(out)

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            wanted = ctx.needs_input_grad[1:]
            if torch.is_grad_enabled():  # what is computed here may be differentiated again
                return None, *Once.apply(ctx, wanted, len(cotangents), *cotangents, *ctx.saved_tensors)
            return None, *pulled_back(ctx, wanted, cotangents)

    class Once(base):  # type: ignore[misc]
        """The reverse sweep, as a function of the arguments too: it has no derivative, which must not count as zero."""

        @staticmethod
        def forward(_: Any, ctx: Any, wanted: Any, count: int, *tensors: Any) -> Any:
            return tuple(pulled_back(ctx, wanted, tensors[:count]))

        @staticmethod
        def backward(ctx: Any, *cotangents: Any) -> Any:
            raise ArgumentError(
                f"{compiled!r}.as_torch() has first derivatives only",
                help="let adjit differentiate more often, for instance `adjit.grad(f).as_torch()`",
            )

    def pulled_back(ctx: Any, wanted: Sequence[bool], cotangents: Sequence[Any]) -> list[Any]:
        treespec, places, structure, constants, devices = ctx.form
        given = (array_of(c) for c in cotangents)
        leaves = [next(given) if constant is None else constant for constant in constants]
        gradients = treespec.flatten_up_to(tuple(ctx.pullback(unflatten(structure, leaves))))
        found = [gradients[place] for place in places]
        return [
            tensor_of(g, device) if want and g is not None else None
            for g, device, want in zip(found, devices, wanted, strict=True)
        ]

    def call(*args: Any) -> Any:
        leaves, treespec = flatten_tree(args)
        places = [k for k, x in enumerate(leaves) if isinstance(x, torch.Tensor)]
        if not places:
            raise ArgumentError(f"{compiled!r}.as_torch() was called without a tensor", help="call the function itself")
        returned: list[Any] = []
        program = (treespec, list(leaves), places, returned)
        tensors = iter(Bridge.apply(program, *(leaves[k] for k in places)))
        structure, constants = returned
        return unflatten(structure, [next(tensors) if c is None else c for c in constants])

    return named(call, compiled)


def as_jax(
    compiled: Compiled,
    primal: Evaluate,
    vjp: Evaluate,
    specialization: Callable[[Any], Specialization],
    result: Any,
) -> Callable[..., Any]:
    """The function of JAX's arrays; `specialization` gives that of `primal` for a call."""
    jax: Any = importlib.import_module("jax")
    canonical = jax.dtypes.canonicalize_dtype

    def shaped(shape: Sequence[int], dtype: Any) -> Any:
        return jax.ShapeDtypeStruct(tuple(shape), canonical(np.dtype(dtype)))

    def checked(values: Sequence[Any], expected: Sequence[Any]) -> tuple[Any, ...]:
        out = tuple(np.asarray(v) for v in values)
        for found, e in zip(out, expected, strict=True):
            if found.shape != e.shape:
                raise ArgumentError(
                    f"a result of {compiled!r} has shape {found.shape}, but XLA was told {e.shape}",
                    help="under JAX, shapes cannot depend on the values of arguments",
                )
        return tuple(v.astype(e.dtype) for v, e in zip(out, expected))

    def call(*args: Any) -> Any:
        leaves, treespec = flatten_tree(args)
        places = [k for k, x in enumerate(leaves) if isinstance(x, jax.Array | np.ndarray)]
        if not places:
            raise ArgumentError(f"{compiled!r}.as_jax() was called without an array", help="call the function itself")

        def arguments(arrays: Sequence[Any]) -> Any:
            filled = list(leaves)
            for place, x in zip(places, arrays, strict=True):
                filled[place] = np.asarray(x)
            return unflatten(treespec, filled)

        shapes = [shaped(leaves[k].shape, leaves[k].dtype) for k in places]
        if result is None:
            values, structure = result_shapes(specialization, arguments, shapes)
        else:
            values, structure = flatten_tree(result)
        numbers = [k for k, v in enumerate(values) if hasattr(v, "dtype")]
        expected = [shaped(values[k].shape, values[k].dtype) for k in numbers]
        floats = [k for k, s in enumerate(shapes) if np.issubdtype(s.dtype, np.floating)]

        def forward(*arrays: Any) -> Any:
            found, given = flatten_tree(primal(*arguments(arrays)))
            if given != structure:
                raise ArgumentError(f"{compiled!r} gives {given}, but XLA was told {structure}")
            return checked([found[k] for k in numbers], expected)

        def backward(arrays: Any, cotangents: Any) -> Any:
            value, pullback = vjp(*arguments(arrays))
            full = list(flatten_tree(value)[0])
            for k, cotangent in zip(numbers, cotangents, strict=True):
                if np.issubdtype(np.asarray(full[k]).dtype, np.floating):
                    full[k] = np.asarray(cotangent)
            gradients = treespec.flatten_up_to(tuple(pullback(unflatten(structure, full))))
            return checked([gradients[places[k]] for k in floats], [shapes[k] for k in floats])

        @jax.custom_vjp  # type: ignore[untyped-decorator]
        def function(*arrays: Any) -> Any:
            return jax.pure_callback(forward, tuple(expected), *arrays, vmap_method="sequential")

        def kept(*arrays: Any) -> Any:
            return function(*arrays), arrays

        def gradient(arrays: Any, cotangents: Any) -> Any:
            real = [
                c if np.issubdtype(e.dtype, np.floating) else np.zeros(e.shape, e.dtype)
                for c, e in zip(cotangents, expected, strict=True)
            ]
            wanted = tuple(shapes[k] for k in floats)
            found = iter(jax.pure_callback(backward, wanted, arrays, tuple(real), vmap_method="sequential"))
            none = jax.dtypes.float0
            return tuple(next(found) if k in floats else np.zeros(s.shape, none) for k, s in enumerate(shapes))

        function.defvjp(kept, gradient)
        out = list(values)
        for k, x in zip(numbers, function(*(leaves[k] for k in places)), strict=True):
            out[k] = x
        return unflatten(structure, out)

    return named(call, compiled)


def named(call: Callable[..., Any], compiled: Compiled) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = getattr(compiled, "__name__", "call")
    call.__doc__ = getattr(compiled, "__doc__", None)
    return call


def is_number(value: Any) -> bool:
    """Whether a leaf of a result is an array or a number, and not a static value."""
    return isinstance(value, np.ndarray | np.generic | float | int) and not isinstance(value, bool)


# ---------------------------------------------------------------- shapes of results


def result_shapes(
    specialization: Callable[[Any], Specialization], arguments: Callable[[Sequence[Any]], Any], shapes: Sequence[Any]
) -> tuple[list[Any], Any]:
    """The leaves and the structure of the result for arguments of these shapes: `ShapeDtype`s and static values."""
    told = []
    for seed in range(2):
        draws = np.random.default_rng(seed)
        arrays = [probe(s, seed + 1, draws) for s in shapes]
        call = flatten_call(arguments(arrays), {})
        spec = specialization(call)
        try:
            leaves = [*call.dynamic, *(spec.captured() or ())]
            extents = interp.run(shape_function(spec.stages.optimized), leaves)
        except Exception as error:
            raise unknown_shape() from error
        told.append([int(n) for n in extents])
    if told[0] != told[1]:
        raise unknown_shape()
    remaining = iter(told[0])
    known: list[ShapeDtype] = []
    for value in spec.stages.optimized.results:
        assert isinstance(value.type, Scalar | Array)
        rank = value.type.rank if isinstance(value.type, Array) else 0
        known.append(ShapeDtype(tuple(next(remaining) for _ in range(rank)), value.type.dtype.numpy))
    return [known[r.index] if isinstance(r, Result) else r for r in spec.results], spec.result_spec


def probe(like: Any, number: int, draws: np.random.Generator) -> Any:
    """An array of this shape and dtype: around `number`; integers are that number, booleans whether it is odd."""
    if np.issubdtype(like.dtype, np.floating):
        return np.asarray(number + 0.5 * draws.random(like.shape)).astype(like.dtype)
    return np.full(like.shape, number % 2 if like.dtype == bool else number, like.dtype)


class ShapeDtype:
    """A shape and a dtype."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype


def unknown_shape() -> ArgumentError:
    return ArgumentError(
        "the shape of the result depends on the values of the arguments, or cannot be found without them",
        help="pass `result=`: a tree of arrays, or of jax.ShapeDtypeStruct, like the result",
    )


def shape_function(function: Function) -> Function:
    """From a function: one that gives the extents of its array results, in order, without what only values need.

    func @f(%x: f64[n]) -> f64[n] {            func @f.shapes(%x: f64[n]) -> i64 {
      check ...; %y: f64[n] = exp %x             %n: i64 = dim %x {axis=0}
      return %y }                                return %n }
    """
    copy = clone_function(function, f"{function.name}.shapes")
    copy.attrs.pop("donated", None)
    replaced: dict[Value, Value] = {}
    drop_checks(copy.body, replaced)
    copy = substitute(copy, replaced)
    body = Region([Value(a.type, a.name) for a in copy.args])
    with Builder(body) as b:
        results = inline(copy, body.args)
        extents = [
            b.emit1("dim", [r], {"axis": axis})
            for r in results
            if isinstance(r.type, Array)
            for axis in range(r.type.rank)
        ]
        b.emit("return", extents)
    return pipeline.optimize(Function(copy.name, body, copy.attrs))


def drop_checks(region: Region, replaced: dict[Value, Value]) -> None:
    """Take checks out of a region: what they check, no shape needs."""
    kept: list[Op] = []
    for op in region.ops:
        if op.name == "check":
            continue
        if op.name == "bound":
            replaced[op.result] = op.operands[0]
            continue
        for inner in op.regions:
            drop_checks(inner, replaced)
        kept.append(op)
    region.ops[:] = kept
