"""One specialization: a function, a transform, and the types of one call, brought to something that runs.

In: a `Call` and a `Transform`. Out: a `Specialization` with every stage kept (`traced`, `optimized`, `adjoint`,
`scheduled`, source) and a `run(leaves)` that returns the kernel's results. The pipeline, in one place:

    trace -> optimize -> vjp -> optimize -> schedule -> render -> compile

What is differentiated otherwise than by one reverse sweep (`jvp`, Jacobians, Hessians) is so while it is traced
(`tracer.derivatives`), and then goes on like a function under `jit`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import optree

from ..codegen import Executable, compile_function
from ..codegen.build import stats
from ..codegen.donation import DonatedExecutable
from ..codegen.host import kernel_type, leaf_of
from ..ir import collection, interp, pipeline
from ..ir.adjoint import Adjoint, vjp
from ..ir.adjoint.growing_tapes import with_checkpoints
from ..ir.adjoint.two_versions import in_two_versions
from ..ir.core import Function
from ..ir.errors import ArgumentError
from ..ir.types import Array, Scalar
from ..tracer import Capture, Derivative, Guard, Result, Traced, trace
from .arguments import NAMESPACE, Call, flatten_tree, leaf_names, leaf_type, to_leaf, unflatten

__all__ = ["Specialization", "Transform", "specialize", "thread_count", "traced_as"]


@dataclass(frozen=True)
class Transform:
    """What to make of a function: kind (jit, grad, value_and_grad, vjp) and which arguments to differentiate.

    `loose`: extents that turn out to be 1 are repeated as NumPy repeats them (see `tracer.broadcasting`).
    `debug_nans`: a NaN or an infinity in a result is an error that says where it comes from (see `nans`).
    `threads`: how many the kernel may use, 0 for all there are; None: it is not to be parallel at all.
    """

    kind: str
    argnums: int | tuple[int, ...] | None
    has_aux: bool
    static_argnames: tuple[str, ...]
    loose: bool = False
    options: Any = None
    """What the kind asks for besides, hashable: `(in_axes, out_axes)` of vmap."""
    debug_nans: bool = False
    threads: int | None = None
    donate: tuple[int, ...] = ()
    """Positional arguments whose memory the kernel may write results to."""

    @property
    def reverse(self) -> bool:
        """Whether one reverse sweep over the traced program makes it."""
        return self.kind in ("grad", "value_and_grad", "vjp")


def traced_as(function: Callable[..., Any], transform: Transform) -> Any:
    """What is traced for a function under a transform, and says how it is called."""
    if transform.reverse or transform.kind == "jit":
        return function
    argnums = 0 if transform.argnums is None else transform.argnums
    return Derivative(transform.kind, function, argnums, transform.has_aux, transform.options)


@dataclass
class Stages:
    """The IR of each stage, filled in as far as the transform goes, and the seconds that each took to make."""

    traced: Function
    optimized: Function
    adjoint: Function | None = None
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Specialization:
    """See the module's docstring. `wrt`: numbers of the dynamic leaves that are differentiated."""

    traced: Traced
    transform: Transform
    stages: Stages
    layouts: tuple[str, ...]
    wrt: list[int]
    plan: Adjoint | None
    results: list[Any]
    """Leaves of the user's result: `Result(k)` or static values."""
    result_spec: Any
    forward: Function = field(init=False)
    reverse: Function | None = field(init=False, default=None)
    kept: int = field(init=False, default=0)
    """How many results of `forward` are of the user's; gradients or residuals follow."""
    guards: list[Guard] = field(init=False)
    captures: list[Capture] = field(init=False)
    written: dict[int, str] = field(init=False)
    """Arguments that the function writes to: number (among the dynamic leaves and the captures) and name."""
    fast: Callable[..., Any] | None = None
    donated: list[int] = field(default_factory=list)
    """Arguments, among the dynamic leaves, whose memory the kernel may write results to."""
    cotangents: list[int | None] = field(default_factory=list)
    """For `vjp`: per leaf of the value, the cotangent argument of `reverse` that belongs to it; None for leaves without
    a derivative. Leaves are in the order of the pytree (keys of dicts are sorted), arguments in that of the IR's
    results; leaves that are one IR result share an argument."""
    unreached: list[str] = field(default_factory=list)
    """Differentiated leaves that the result does not depend on, in words (see `unreached`)."""

    def __post_init__(self) -> None:
        traced = self.traced
        self.guards, self.captures = traced.guards, traced.captures
        self.written = {k: traced.function.args[k].name or "" for k in sorted(traced.mutated)}

    @property
    def complete(self) -> Specialization:
        """The same with all its IR."""
        return self

    @property
    def seconds(self) -> dict[str, float]:
        """What each stage of the first call took, as far as it got."""
        return {**self.stages.seconds, **self.executable.seconds}

    def is_valid(self) -> bool:
        """Whether everything static that the trace read is still the same."""
        return all(guard.holds() for guard in self.guards)

    @cached_property
    def executable(self) -> Executable:
        """The compiled program (the forward half, for `vjp`)."""
        made = compile_function(self.forward, self.layouts)
        if not self.donated or self.transform.threads is not None:
            return made
        return DonatedExecutable(made, self.donated)

    @cached_property
    def pullback(self) -> Executable:
        """The compiled reverse half (for `vjp`). Residuals come from the forward half: fresh, contiguous arrays."""
        assert self.reverse is not None
        layouts = ["C" if a.is_array else "" for a in self.reverse.args]
        return compile_function(self.reverse, layouts, distinguish_ones=False)

    def captured(self) -> list[Any] | None:
        """Current values of captured arrays and numbers; None where one has changed its type."""
        out = []
        count = len(self.layouts) - len(self.captures)
        for capture, layout in zip(self.captures, self.layouts[count:], strict=True):
            try:
                value = to_leaf(capture.read())
                found = leaf_type(value)
            except Exception:  # whatever the user's objects do when they are looked at, they have changed
                return None
            if found is None or found != (capture.type, capture.weak, layout):
                return None
            out.append(value)
        return out


@collection.rarely()
def specialize(function: Callable[..., Any], transform: Transform, call: Call) -> Specialization:
    """Trace, optimize and differentiate `function` for the types of `call`."""
    stats.traces += 1
    program = traced_as(function, transform)
    args, kwargs = call.abstract(leaf_names(call, program))
    seconds: dict[str, float] = {}
    with timed(seconds, "trace"):
        traced = trace(program, args, kwargs, transform.loose, effects=transform.kind == "jit")
    with timed(seconds, "optimize"):
        optimized = pipeline.optimize(traced.function)
    results, spec = flatten_tree(traced.result)
    layouts = [t[2] if isinstance(t[0], Array) else "C" for t in call.types if t is not None]
    layouts += [kernel_type(leaf_of(to_leaf(capture.read())))[1] for capture in traced.captures]
    stages = Stages(traced.function, optimized, seconds=seconds)
    out = Specialization(traced, transform, stages, tuple(layouts), [], None, results, spec)
    if not transform.reverse:
        out.forward = pipeline.finish(optimized, bool(traced.mutated))
        out.donated = [] if traced.mutated else donated_leaves(function, transform, call)
        out.stages.adjoint = None if transform.kind == "jit" else out.forward
        out.forward.attrs["donated"] = {result: arg for arg, result in traced.mutated.items()}
        on_threads(transform, out.forward)
        return out
    out.wrt = differentiated_leaves(function, transform, call)
    value_leaves, aux_leaves = split_results(function, transform, traced, results, call)
    seeds: list[str | None] = [None] * len(optimized.results)
    for leaf in value_leaves:
        if isinstance(leaf, Result):
            t = optimized.results[leaf.index].type
            if isinstance(t, Scalar | Array) and t.dtype.is_float:
                seeds[leaf.index] = "argument" if transform.kind == "vjp" else "one"
    keep = [leaf.index for leaf in (aux_leaves if transform.kind == "grad" else results) if isinstance(leaf, Result)]
    keep = list(dict.fromkeys(keep))
    if transform.kind == "vjp":
        number = {k: n for n, k in enumerate(k for k, seed in enumerate(seeds) if seed is not None)}
        out.cotangents = [number.get(leaf.index) if isinstance(leaf, Result) else None for leaf in value_leaves]
    out.donated = donated_leaves(function, transform, call)
    with timed(seconds, "adjoint"):
        out.plan = vjp(optimized, out.wrt, seeds, keep, donated=bool(out.donated))
        if transform.kind == "grad" and (thrifty := with_checkpoints(optimized, out.plan.plan)) is not None:
            out.plan = vjp(thrifty, out.wrt, seeds, keep, donated=bool(out.donated))
        elif transform.threads is None and (twice := in_two_versions(optimized, out.plan.plan)) is not None:
            doubled, most = twice
            again = vjp(doubled, out.wrt, seeds, keep)
            if len(again.plan.saved) < most:
                out.plan = again
        out.kept = out.plan.function.attrs["kept"]
    renumbered = {old: new for new, old in enumerate(keep)}
    out.results = [renumbered_result(leaf, renumbered) for leaf in results]
    if transform.kind == "vjp":
        forward, reverse = out.plan.split()
        out.forward, out.reverse = (pipeline.finish(pipeline.optimize(half)) for half in (forward, reverse))
        out.stages.adjoint = pipeline.finish(pipeline.optimize(out.plan.function))
    else:
        with timed(seconds, "optimize adjoint"):
            out.forward = out.stages.adjoint = pipeline.finish(pipeline.optimize(out.plan.function))
    on_threads(transform, out.forward)
    if out.reverse is not None:
        on_threads(transform, out.reverse)
    return out


def on_threads(transform: Transform, function: Function) -> None:
    """Tell the code generator how many threads the transform allows."""
    if transform.threads is not None:
        function.attrs["threads"] = transform.threads


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Adds to `seconds[stage]` what the block takes."""
    begin = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - begin


def renumbered_result(leaf: Any, numbers: dict[int, int]) -> Any:
    """A leaf of the user's result where only some results are kept (None for the others)."""
    if not isinstance(leaf, Result):
        return leaf
    return replace(leaf, index=numbers[leaf.index]) if leaf.index in numbers else None


def differentiated_leaves(function: Callable[..., Any], transform: Transform, call: Call) -> list[int]:
    """Numbers (among the dynamic leaves) of those to differentiate; checks that they are floats."""
    args: tuple[Any, ...] = unflatten(call.treespec, list(range(len(call.leaves))))[0]
    numbers = range(len(args)) if transform.argnums is None else as_tuple(transform.argnums)
    position = {leaf: k for k, leaf in enumerate(k for k, t in enumerate(call.types) if t is not None)}
    out: list[int] = []
    name = getattr(function, "__name__", "the function")
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(
                f"argnums={transform.argnums}: `{name}` was called with {len(args)} positional arguments",
                help="pass the arguments to differentiate by position",
            )
        for leaf in optree.tree_leaves(args[number], namespace=NAMESPACE):
            t = call.types[leaf]
            if transform.kind == "vjp" and (t is None or not t[0].dtype.is_float):
                continue
            if t is None:
                raise ArgumentError(
                    f"argument {number} of `{name}` contains {call.leaves[leaf]!r}, which has no derivative",
                    help="choose other arguments with argnums=, or keep such values out of it",
                )
            if not t[0].dtype.is_float:
                raise ArgumentError(
                    f"argument {number} of `{name}` has dtype {t[0].dtype.numpy_name}: only floats have a derivative",
                    help="pass a float (`1.0`, `x.astype(np.float64)`), or choose other arguments with argnums=",
                )
            out.append(position[leaf])
    return out


def donated_leaves(function: Callable[..., Any], transform: Transform, call: Call) -> list[int]:
    """Numbers (among the dynamic leaves) of arrays in donated arguments."""
    args: tuple[Any, ...] = unflatten(call.treespec, list(range(len(call.leaves))))[0]
    position = {leaf: k for k, leaf in enumerate(k for k, t in enumerate(call.types) if t is not None)}
    out: list[int] = []
    for number in transform.donate:
        if not -len(args) <= number < len(args):
            name = getattr(function, "__name__", "the function")
            raise ArgumentError(
                f"donate={transform.donate}: `{name}` was called with {len(args)} positional arguments",
                help="pass the arguments to donate by position",
            )
        for leaf in optree.tree_leaves(args[number], namespace=NAMESPACE):
            t = call.types[leaf]
            if t is not None and isinstance(t[0], Array):
                out.append(position[leaf])
    return list(dict.fromkeys(out))


def checked_donate(donate: Any) -> tuple[int, ...]:
    """`donate` as a tuple of argument numbers."""
    numbers = tuple(donate) if isinstance(donate, tuple | list) else (donate,)
    if not all(isinstance(k, int | np.integer) and not isinstance(k, bool) for k in numbers):
        raise ArgumentError(
            f"donate={donate!r} is no argument number and no tuple of them",
            help="write `donate=0`, or `donate=(0, 1)`: arguments are counted from 0",
        )
    return tuple(int(k) for k in numbers)


def checked_argnums(argnums: Any) -> int | tuple[int, ...]:
    """`argnums` as a number or a tuple of numbers (lists are taken as tuples)."""
    numbers = tuple(argnums) if isinstance(argnums, tuple | list) else (argnums,)
    if not numbers or not all(isinstance(k, int | np.integer) and not isinstance(k, bool) for k in numbers):
        raise ArgumentError(
            f"argnums={argnums!r} is no argument number and no tuple of them",
            help="write `argnums=0`, or `argnums=(0, 1)`: arguments are counted from 0",
        )
    chosen = tuple(int(k) for k in numbers)
    return chosen if isinstance(argnums, tuple | list) else chosen[0]


def static_names(names: Any) -> tuple[str, ...]:
    """`static_argnames` as a tuple."""
    chosen = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else (names,)
    if not all(isinstance(n, str) for n in chosen):
        raise ArgumentError(f"static_argnames={names!r} is no parameter's name and no tuple of names")
    return chosen


def thread_count(parallel: Any) -> int | None:
    """`parallel` as `Transform.threads`."""
    if isinstance(parallel, bool | np.bool_):
        return 0 if parallel else None
    if isinstance(parallel, int | np.integer) and parallel >= 1:
        return int(parallel)
    raise ArgumentError(
        f"parallel={parallel!r} is no number of threads", help="write `parallel=True`, or a number of at least 1"
    )


def as_tuple(argnums: int | tuple[int, ...]) -> tuple[int, ...]:
    return argnums if isinstance(argnums, tuple) else (argnums,)


def split_results(
    function: Callable[..., Any], transform: Transform, traced: Traced, results: list[Any], call: Call
) -> tuple[list[Any], list[Any]]:
    """(leaves of the differentiated result, leaves of the auxiliary one), checked."""
    name = getattr(function, "__name__", "the function")
    value = traced.result
    aux: list[Any] = []
    if transform.has_aux:
        if not isinstance(value, tuple) or len(value) != 2:
            raise ArgumentError(f"has_aux=True, but `{name}` does not return a pair (value, aux)")
        aux = flatten_tree(value[1])[0]
        value = value[0]
    leaves = flatten_tree(value)[0]
    if transform.kind == "vjp":
        return leaves, aux
    if len(leaves) != 1 or value is not leaves[0]:
        raise ArgumentError(
            f"`{name}` returns {describe(value)}, but a gradient is of one float",
            help="return one number; with has_aux=True, a pair (value, anything else); or use `vjp`",
        )
    leaf = leaves[0]
    if isinstance(leaf, Result):
        t = traced.function.results[leaf.index].type
        if isinstance(t, Array):
            shape = actual_shape(traced, leaf, call)
            raise ArgumentError(
                f"`{name}` returns an array of shape {shape}, but a gradient is of one float",
                help="sum it (`np.sum(...)`) for a gradient; use `vjp` with a cotangent of that shape; or `jacobian`",
            )
        if not (isinstance(t, Scalar) and t.dtype.is_float):
            raise ArgumentError(f"`{name}` returns {t}, which has no derivative", help="return a float")
    elif not isinstance(leaf, float | int | np.number) or isinstance(leaf, bool):
        raise ArgumentError(f"`{name}` returns {leaf!r}, but a gradient is of one float", help="return a float")
    return leaves, aux


def actual_shape(traced: Traced, leaf: Result, call: Call) -> tuple[int, ...]:
    """The shape of an array result at this call, for a message."""
    leaves = [*call.dynamic, *(to_leaf(c.read()) for c in traced.captures)]
    return tuple(np.shape(interp.run(traced.function, leaves)[leaf.index]))


def describe(value: Any) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def interpreted(function: Function, leaves: Sequence[Any]) -> list[Any]:
    """Run by the reference interpreter (ADJIT_DISABLE_JIT=1); scalars are Python's, as kernels return them."""
    return [x.item() if isinstance(x, np.generic) else x for x in interp.run(function, list(leaves))]


def jit_disabled() -> bool:
    return os.environ.get("ADJIT_DISABLE_JIT", "0") not in ("", "0")
