"""The compiled object: what `grad(f)` and the other transforms return.

In: calls with Python and NumPy values. Out: values with Python and NumPy types, from a kernel that is made for the
call's types the first time and kept. It tells everything about itself: `.ir(stage)`, `.source()`, `.llvm()`, `.asm()`,
`.explain()`. The function it was made from stays as it is, reachable as `.__wrapped__`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import optree

from ..codegen.host import require_disjoint
from ..ir import collection
from ..ir.adjoint.explain import explain
from ..ir.core import Function
from ..ir.errors import ArgumentError, ShapeError
from ..ir.ops.callback import calls_with_effects
from ..ir.types import F64, Array, Scalar
from ..tracer import Derivative, Result
from .arguments import NAMESPACE, ZERO_D, Call, flatten_call, leaf_names, static_value, to_leaf, unflatten
from .bridges import as_jax, as_torch
from .extents import is_worthwhile, may_fix_extents, with_extents
from .fast import fast_entry, output_type
from .into import any_call, into
from .nans import refuse_nans
from .native import NativeFunction
from .specialize import Specialization, Transform, as_tuple, interpreted, jit_disabled, specialize, traced_as
from .unreached import unreached, warn_unreached
from .warm import find as find_kept
from .warm import keep

__all__ = ["Compiled", "Pullback", "Transform"]

STAGES = ("traced", "optimized", "adjoint", "scheduled")


class Compiled:
    """A function under a transform; see the module's docstring."""

    def __init__(self, function: Callable[..., Any], transform: Transform) -> None:
        if not callable(function):
            raise ArgumentError(f"{transform.kind} takes a function, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._transform = transform
        self._program = traced_as(function, transform)
        if "__signature__" in getattr(self._program, "__dict__", {}):
            self.__signature__ = self._program.__signature__
        self._specializations: dict[Any, Specialization] = {}
        self._fixed: dict[Any, Any] = {}
        """By the key of calls, the key of those whose extents are constants; None where there are none."""
        self._latest: Specialization | None = None
        self._static = _static_positions(self._program, transform.static_argnames)
        self._fast: Callable[..., Any] = self._general
        self._loose: Compiled | None = None
        self._njit: NativeFunction | None = None
        self._fast_into: Callable[..., Any] = self._general_into
        self._warned: set[str] = set()

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """As a method: `self` is static structure, and the first argument is the one after it."""
        if instance is None:
            return self
        bound = types.MethodType(self.__wrapped__, instance)
        name = f"__adjit_{id(self)}__"
        kept: Compiled | None = getattr(instance, "__dict__", {}).get(name)
        if kept is None:
            kept = Compiled(bound, self._transform)
            if hasattr(instance, "__dict__"):
                instance.__dict__[name] = kept
        return kept

    def __reduce__(self) -> Any:
        """By name, where a module has it under its name (a decorated function); else by function and transform."""
        name: str = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return Compiled, (self.__wrapped__, self._transform)

    def __repr__(self) -> str:
        return f"<adjit.{self._transform.kind} of {getattr(self.__wrapped__, '__qualname__', self.__wrapped__)}>"

    @property
    def __adjit_derivative__(self) -> Derivative:
        """What a call means inside a traced function."""
        transform = self._transform
        argnums = 0 if transform.argnums is None else transform.argnums
        return Derivative(transform.kind, self.__wrapped__, argnums, transform.has_aux, transform.options)

    # ------------------------------------------------------------ calls

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._fast(*args, **kwargs)
        except ShapeError as error:
            if not self._may_repeat(error):
                raise
        if self._loose is None:  # an extent is 1 by chance: the same function, compiled for that
            self._loose = Compiled(self.__wrapped__, replace(self._transform, loose=True))
        return self._loose(*args, **kwargs)

    def _may_repeat(self, error: ShapeError) -> bool:
        """Whether to call again with extents of 1 repeated: not where arguments may have been written to already."""
        if not error.repeats or self._transform.loose:
            return False
        latest = self._latest
        if latest is not None and calls_with_effects(latest.forward.body):
            error.help = (
                "an extent that turned out to be 1 is not repeated in a function that calls a callback with effects: "
                "slice so that it shows (`x[:1]`), or use np.broadcast_to"
            )
            return False
        donated = any(s.donated for s in self._specializations.values())
        changed = self._transform.kind == "jit" and any(s.written for s in self._specializations.values())
        if not donated and not changed:
            return True
        error.help = (
            "an extent that turned out to be 1 is not repeated in a function that writes to its arguments: "
            "slice so that it shows (`x[:1]`), or use np.broadcast_to"
        )
        return False

    def _general(self, *args: Any, **kwargs: Any) -> Any:
        """Any call: finds or makes the specialization, and lets calls like this one go the fast way from now on."""
        disabled = jit_disabled()
        if disabled and self._transform.kind == "jit":
            return self.__wrapped__(*args, **kwargs)
        call = self._flatten(args, kwargs)
        known = call.key in self._specializations or call.key in self._fixed
        with contextlib.nullcontext() if known else collection.rarely():
            call, (spec, captured) = (call, self._specialization(call)) if disabled else self._at_extents(call)
            leaves = [*call.dynamic, *captured]
            if not disabled:
                spec.executable.prepare(leaves)
        if spec.written:
            names = [*leaf_names(call, self._program), *(c.path for c in spec.captures)]
            require_disjoint(leaves, list(spec.written), names)
        if self._transform.debug_nans:
            given = [x.copy() if isinstance(x, np.ndarray) else x for x in leaves]
            outputs = interpreted(spec.forward, leaves) if disabled else spec.executable.run(leaves)
            refuse_nans(spec, given, outputs)
            return self._result(spec, call, outputs)
        if disabled:
            return self._result(spec, call, interpreted(spec.forward, leaves))
        if self._transform.kind != "vjp" and spec.fast is None and not spec.donated:
            spec.fast = fast_entry(self.__wrapped__, spec, call, self._general) or self._general
        self._fast = spec.fast or self._general
        return self._result(spec, call, spec.executable.run(leaves))

    def _general_into(self, out: Any, /, *args: Any, **kwargs: Any) -> Any:
        return any_call(self, out, args, kwargs)

    def into(self, out: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The call with these arguments, which writes the gradient into the arrays of `out` and gives `out` in its
        place; for other transforms, the result. See `api.into`."""
        return into(self, out, args, kwargs)

    def compile(self, *args: Any, **kwargs: Any) -> Compiled:
        """Compile for the types of these arguments without running; returns the object itself."""
        with collection.rarely():
            call = self._flatten(args, kwargs)
            spec, captured = self._specialization(call)
            if not jit_disabled():
                spec.executable.prepare([*call.dynamic, *captured])
        return self

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        if kwargs:
            args, kwargs = _by_position(self._program, args, kwargs)
        if self._static[0]:
            names = self._static[1]
            args = tuple(static_value(a, k) if k in self._static[0] else a for k, a in enumerate(args))
            kwargs = {n: static_value(a, n) if n in names else a for n, a in kwargs.items()}
        return flatten_call(args, kwargs)

    def _at_extents(self, call: Call) -> tuple[Call, tuple[Specialization, list[Any]]]:
        """The specialization for the extents of a call's small arrays where that is worthwhile and the first one so,
        else the one for all extents; and the call that it is for."""
        fixed = with_extents(call) if may_fix_extents(self._transform) else None
        if fixed is None or self._fixed.get(call.key, fixed.key) != fixed.key:
            return call, self._specialization(call)
        found = self._known(fixed)
        if found is not None:
            self._fixed[call.key] = fixed.key
            return fixed, found
        found = self._known(call)
        if found is not None:
            self._fixed[call.key] = None
            return call, found
        spec = specialize(self.__wrapped__, self._transform, call)
        narrow = None
        if is_worthwhile(spec):
            with contextlib.suppress(Exception):  # what is an error for these extents will be one when it is run
                narrow = specialize(self.__wrapped__, self._transform, fixed)
        if narrow is None:
            self._fixed[call.key] = None
            return call, self._made(spec, call)
        self._fixed[call.key] = fixed.key
        return fixed, self._made(narrow, fixed)

    def _specialization(self, call: Call) -> tuple[Specialization, list[Any]]:
        return self._known(call) or self._made(specialize(self.__wrapped__, self._transform, call), call)

    def _known(self, call: Call) -> tuple[Specialization, list[Any]] | None:
        """The specialization for a call, if it was made before and is still right, and what it captures."""
        spec = self._specializations.get(call.key)
        if spec is not None and spec.is_valid():
            captured = spec.captured()
            if captured is not None:
                self._latest = spec
                return spec, captured
        if not jit_disabled():
            spec = find_kept(self.__wrapped__, self._transform, call)
            captured = None if spec is None else spec.captured()
            if spec is not None and captured is not None:
                self._specializations[call.key] = self._latest = spec
                self._warn(spec)
                return spec, captured
        return None

    def _made(self, spec: Specialization, call: Call) -> tuple[Specialization, list[Any]]:
        """Remember a specialization that was made for a call."""
        spec.unreached = unreached(spec, self.__wrapped__, call)
        self._warn(spec)
        self._specializations[call.key] = self._latest = spec
        captured = spec.captured()
        assert captured is not None
        if not jit_disabled():
            keep(spec, self.__wrapped__, call)
        return spec, captured

    def _warn(self, spec: Specialization) -> None:
        """Say once which arguments the result does not depend on."""
        new = [place for place in spec.unreached if place not in self._warned]
        self._warned.update(new)
        warn_unreached(new, self.__wrapped__)

    def _result(self, spec: Specialization, call: Call, outputs: list[Any]) -> Any:
        kind = self._transform.kind
        if not self._transform.reverse:
            return _user_result(spec, outputs)
        count = spec.kept
        if kind == "vjp":
            value = _user_result(spec, outputs[:count])
            pullback = Pullback(spec, call, outputs[count:], value[0] if self._transform.has_aux else value)
            return (value[0], pullback, value[1]) if self._transform.has_aux else (value, pullback)
        gradient = _gradient(spec, call, self._transform, outputs[count:])
        if kind == "value_and_grad":
            return _user_result(spec, outputs[:count]), gradient
        if self._transform.has_aux:
            return gradient, _aux_result(spec, outputs[:count])
        return gradient

    @property
    def njit(self) -> NativeFunction:
        """The same for the inside of `@njit` code, with a flat signature: see `api.native`."""
        if self._njit is None:
            self._njit = NativeFunction(self)
        return self._njit

    def as_torch(self) -> Callable[..., Any]:
        """The same for PyTorch's tensors, a `torch.autograd.Function`: see `api.bridges`."""
        return as_torch(self, *self._functional("as_torch"))

    def as_jax(self, result: Any = None) -> Callable[..., Any]:
        """The same for JAX's arrays, a `jax.custom_vjp` over a callback: see `api.bridges`. `result`: arrays, or
        `jax.ShapeDtypeStruct`s, like the result, where its shape cannot be found beforehand."""
        primal, vjp = self._functional("as_jax")
        return as_jax(self, primal, vjp, lambda call: primal._specialization(call)[0], result)

    def _functional(self, name: str) -> tuple[Compiled, Compiled]:
        """The function as one that changes no arguments, and its `vjp`."""
        transform = self._transform
        if transform.kind == "vjp" or transform.static_argnames:
            what = "a pullback" if transform.kind == "vjp" else "static arguments"
            raise ArgumentError(
                f"a function with {what} has no `.{name}()`",
                help="give static values by functools.partial or a closure",
            )
        function = self.__wrapped__ if transform.kind == "jit" else self
        return Compiled(function, Transform("primal", None, False, ())), Compiled(
            function, Transform("vjp", None, False, ())
        )

    # ------------------------------------------------------------ what it tells

    def _stage_source(self) -> Specialization:
        if self._latest is None:
            raise ArgumentError(
                "nothing is compiled yet",
                help="call the function, or `.compile(*args)`, with arguments of the types you want",
            )
        return self._latest

    def ir(self, stage: str = "optimized") -> str:
        """The IR text of a stage of the latest specialization: traced, optimized, adjoint or scheduled."""
        return str(self.ir_function(stage))

    def ir_function(self, stage: str) -> Function:
        """The IR of a stage as a `Function`."""
        spec = self._stage_source()
        if stage not in STAGES:
            raise ArgumentError(f"no stage {stage!r}", help=f"stages are {', '.join(STAGES)}")
        if stage == "scheduled":
            return spec.executable.scheduled
        found: Function | None = getattr(spec.stages, stage)
        if found is None:
            raise ArgumentError(f"{self._transform.kind} has no stage {stage!r}")
        return found

    def explain(self) -> str:
        """What the forward sweep keeps for the reverse sweep: per value why, how many bytes, which line. Then the
        differentiated arguments that do not reach the result."""
        plan = self._stage_source().plan
        if plan is None:
            raise ArgumentError(
                f"{self._transform.kind} has no list of what is kept", help="`grad` and `vjp` of the same function have"
            )
        return explain(plan.plan)

    def source(self) -> str:
        """The generated Python source of the kernel."""
        return self._stage_source().executable.source

    def llvm(self) -> str:
        """The kernel's LLVM IR."""
        return self._stage_source().executable.llvm()

    def asm(self) -> str:
        """The kernel's machine code as text."""
        return self._stage_source().executable.asm()


class Pullback:
    """The reverse sweep of one evaluation: call it with a cotangent of the value, as often as you like."""

    def __init__(self, spec: Specialization, call: Call, residuals: list[Any], value: Any) -> None:
        self._spec = spec
        self._call = call
        self._residuals = residuals
        self._value = value
        self._leaves, self._structure = optree.tree_flatten(value, namespace=NAMESPACE)

    def __call__(self, cotangent: Any) -> tuple[Any, ...]:
        """Cotangents of all arguments (None for arguments that are not floats), as a tuple."""
        spec = self._spec
        leaves, structure = optree.tree_flatten(cotangent, namespace=NAMESPACE)
        if structure != self._structure:
            raise ArgumentError(
                f"the cotangent is {described(cotangent)}, the value is {described(self._value)}",
                help=f"pass {described(self._value, expected=True)}: the structure of the value, with its shapes",
            )
        given: dict[int, Any] = {}
        for cot, value, number in zip(leaves, self._leaves, spec.cotangents, strict=True):
            if number is None:
                continue
            x = np.ascontiguousarray(to_leaf(cot), dtype=np.asarray(value).dtype).reshape(np.shape(cot))
            if x.shape != np.shape(value):
                raise ArgumentError(f"the cotangent has shape {x.shape}, the value {np.shape(value)}")
            x = x if x.ndim else x[()]
            given[number] = given[number] + x if number in given else x
        assert spec.reverse is not None
        inputs = [*self._residuals, *(given[number] for number in sorted(given))]
        if jit_disabled():
            outputs = interpreted(spec.reverse, inputs)
        else:
            outputs = spec.pullback.run(inputs)
        gradients = _gradient_leaves(spec, self._call, outputs)
        args, _ = unflatten(self._call.treespec, gradients)
        return tuple(args)


def described(x: Any, expected: bool = False) -> str:
    """The structure of a value in words; `expected`: as what to pass."""
    if isinstance(x, np.ndarray):
        return f"an array of shape {x.shape}" if x.ndim or not expected else "a number"
    if isinstance(x, float | int | np.generic):
        return "a number"
    if isinstance(x, dict):
        return f"a dict with the keys {', '.join(map(repr, x))}" if x else "an empty dict"
    if isinstance(x, tuple | list):
        inner = ", ".join(described(v) for v in x[:4]) + (", ..." if len(x) > 4 else "")
        return f"a {type(x).__name__} of {len(x)} ({inner})"
    return "None" if x is None else f"a {type(x).__name__}"


def _user_result(spec: Specialization, outputs: list[Any]) -> Any:
    return unflatten(spec.result_spec, _result_leaves(spec, outputs))


def _aux_result(spec: Specialization, outputs: list[Any]) -> Any:
    """The second of the pair (value, aux), of which only aux was kept."""
    return unflatten(spec.result_spec, _result_leaves(spec, outputs))[1]


def _result_leaves(spec: Specialization, outputs: list[Any]) -> list[Any]:
    """The leaves of the user's result (None for what was not kept)."""
    out: list[Any] = []
    for r in spec.results:
        if isinstance(r, Result):
            convert = output_type(spec, r)
            value = outputs[r.index]
            out.append(value if convert is None else convert(value))
        else:
            out.append(r)
    return out


def _gradient_leaves(spec: Specialization, call: Call, outputs: list[Any]) -> list[Any]:
    """One entry per leaf of the call: its cotangent, or None."""
    dynamic = [k for k, t in enumerate(call.types) if t is not None]
    out: list[Any] = [None] * len(call.leaves)
    for number, value in zip(spec.wrt, outputs, strict=True):
        t = call.types[dynamic[number]]
        assert t is not None
        if isinstance(t[0], Scalar):
            value = float(value) if t[0].dtype is F64 else t[0].dtype.numpy.type(value)
            if t[2] == ZERO_D:
                value = np.asarray(value, t[0].dtype.numpy)
        else:
            assert isinstance(t[0], Array)
        out[dynamic[number]] = value
    return out


def _gradient(spec: Specialization, call: Call, transform: Transform, outputs: list[Any]) -> Any:
    args, _ = unflatten(call.treespec, _gradient_leaves(spec, call, outputs))
    assert transform.argnums is not None
    chosen = tuple(args[k] for k in as_tuple(transform.argnums))
    return chosen if isinstance(transform.argnums, tuple) else chosen[0]


def _static_positions(function: Callable[..., Any], names: tuple[str, ...]) -> tuple[set[int], set[str]]:
    if not names:
        return set(), set()
    parameters = list(inspect.signature(function).parameters)
    unknown = [n for n in names if n not in parameters]
    if unknown:
        raise ArgumentError(
            f"static_argnames: there is no parameter {unknown[0]!r} (there are {', '.join(parameters)})"
        )
    return {parameters.index(n) for n in names}, set(names)


def _by_position(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Arguments given by keyword moved to their position where the signature has one."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise ArgumentError(str(error)) from None
    return bound.args, bound.kwargs
