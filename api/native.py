"""`f.njit`: a compiled function inside users' own `@njit` code.

In: a `Compiled` object. Out: `NativeFunction`, which Numba knows as a function (`codegen.native`). Its signature is
flat:

* the arguments are positional: numbers and arrays, and tuples of them where the function takes tuples. Float64 and
  int64 count as Python's numbers, as they do in Numba. `f.njit.like(*example)` has the structure of an example instead
  (dicts, dataclasses, static values, extents of 1): it takes the example's numbers and arrays, in order.
* the result is a number or an array, or a flat tuple of them: the leaves in order, as in Python (for `value_and_grad`
  the value, then the gradients).

Called from Python, it does the same. What the function captures cannot be read at a call from machine code, so a
function that captures arrays, numbers or other things that may change is refused.

>>> import numba
>>> from adjit import grad
>>> slope = grad(lambda x: x * x * x).njit
>>> @numba.njit
... def descend(x, steps):
...     for _ in range(steps):
...         x -= 0.01 * slope(x)
...     return x
>>> round(descend(1.0, 10), 6)
0.764427
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from ..codegen import native
from ..ir.errors import ArgumentError, ShapeError
from ..ir.types import Array
from ..tracer import Guard, Result
from .arguments import NAMESPACE, ZERO_D, Call, Static, flatten_call, unflatten
from .specialize import Specialization, as_tuple

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = ["NativeFunction"]

WAY_OUT = "pass it as an argument: what a function captures cannot be read when @njit code calls it"
CONSTANT = (types.ModuleType, types.FunctionType, types.BuiltinFunctionType, type, np.ufunc)
LOOKED_UP = ("code", "presence", "attribute", "undefined", "class", "lookup", "super")
"""Aspects of functions and classes, not of data."""


class NativeFunction:
    """See the module's docstring."""

    def __init__(self, compiled: Compiled, example: tuple[tuple[Any, ...], dict[str, Any]] | None = None) -> None:
        transform = compiled._transform
        if transform.kind == "vjp":
            raise ArgumentError("the pullback of `vjp` is a Python object", help="use `grad` or `jvp` in @njit code")
        if transform.debug_nans:
            raise ArgumentError("debug_nans is for calls from Python", help="leave it out for `.njit`")
        self.__name__ = getattr(compiled.__wrapped__, "__name__", "call")
        self._compiled = compiled
        self._example = example
        self._like: Call | None = None
        if example is not None:
            self._like = compiled._flatten(*example)
            if any(t is not None and t[2] == ZERO_D for t in self._like.types):
                raise ArgumentError("`.njit` takes no arrays without axes", help="pass the number in it: `x[()]`")
        native.register(NativeFunction)

    def __repr__(self) -> str:
        return f"{self._compiled!r}.njit"

    def __reduce__(self) -> Any:
        return NativeFunction, (self._compiled, self._example)

    def like(self, *args: Any, **kwargs: Any) -> NativeFunction:
        """The same for arguments of the structure, static values and extents of 1 of these; it takes their numbers and
        arrays, in order."""
        return NativeFunction(self._compiled, (args, kwargs))

    def __call__(self, *leaves: Any) -> Any:
        """The flat call, from Python."""
        if self._like is None:
            out = self._compiled(*leaves)
        else:
            args, kwargs = unflatten(self._like.treespec, self._filled(self._like, list(leaves)))
            out = self._compiled(*args, **kwargs)
        found = optree.tree_leaves(out, namespace=NAMESPACE)
        return found[0] if len(found) == 1 else tuple(found)

    # ------------------------------------------------------------ for codegen.native

    def resolve(self, arguments: tuple[Any, ...]) -> native.NativeCall:
        """The kernel for arguments of the types of these."""
        spec, call = self._specialization(arguments)
        if spec.donated:
            raise ArgumentError(f"`{self.__name__}` has `donate=`", help="@njit code takes it without")
        if spec.captures:
            raise ArgumentError(f"`{self.__name__}` captures `{spec.captures[0].path}`", help=WAY_OUT)
        for guard in spec.guards:
            if not is_constant(guard):
                raise ArgumentError(f"`{self.__name__}` depends on {guard.text}, which may change", help=WAY_OUT)
        executable = spec.executable

        def failure(status: int, detail0: Any, detail1: Any) -> BaseException:
            error = executable.failure(status, detail0, detail1)
            if isinstance(error, ShapeError) and error.repeats:
                error.help = (
                    "an extent that turns out to be 1 is not repeated in @njit code: "
                    "slice so that it shows (`x[:1]`), or use np.broadcast_to"
                )
            return error

        return native.NativeCall(
            executable.machine_code, tuple(flat_results(spec, call)), tuple(spec.written), failure, spec.is_valid
        )

    def _specialization(self, arguments: tuple[Any, ...]) -> tuple[Specialization, Call]:
        compiled = self._compiled
        if self._like is None:
            if compiled._static[0] and any(k < len(arguments) for k in compiled._static[0]):
                raise ArgumentError("static arguments have no place in @njit code", help="give them by .njit.like(...)")
            call = flatten_call(arguments, {})
        else:
            dummies = leaves_of(arguments)
            args, kwargs = unflatten(self._like.treespec, self._filled(self._like, dummies, self._shaped))
            call = compiled._flatten(args, kwargs)
        spec, _ = compiled._specialization(call)
        return spec, call

    def _filled(self, like: Call, leaves: list[Any], shape: Callable[[Any, Any], Any] | None = None) -> list[Any]:
        """All leaves of the structure: the static ones as they were, the others from `leaves`."""
        if len(leaves) != len(like.dynamic):
            raise ArgumentError(
                f"`{self.__name__}.njit.like(...)` takes {len(like.dynamic)} numbers and arrays, not {len(leaves)}",
                help="pass what is a number or an array in the example, in order",
            )
        given = iter(leaves)
        out = []
        for x, t in zip(like.leaves, like.types, strict=True):
            if t is None:
                out.append(x.value if isinstance(x, Static) else x)
            else:
                leaf = next(given)
                out.append(shape(leaf, t[0]) if shape is not None else leaf)
        return out

    def _shaped(self, leaf: Any, type_: Any) -> Any:
        """A dummy with the example's extents of 1."""
        if not isinstance(type_, Array) or not isinstance(leaf, np.ndarray) or leaf.ndim != type_.rank:
            return leaf
        flags = leaf.flags
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
        return native.dummy_array(leaf.dtype, [n == 1 for n in type_.dims], layout)


def is_constant(guard: Guard) -> bool:
    """Whether what a trace relied on is a function, class or module, or a default value: what Numba, too, takes for
    constant. Numbers and containers are data."""
    if guard.aspect in LOOKED_UP or isinstance(guard.expected, CONSTANT):
        return True
    if isinstance(guard.key, tuple) and guard.key and guard.key[0] == "default":
        return not isinstance(guard.expected, list | dict)
    return guard.identity and callable(guard.expected)


def flat_results(spec: Specialization, call: Call) -> list[native.Output | native.Constant]:
    """The leaves of the user's result in order."""
    transform = spec.transform
    value = unflatten(spec.result_spec, spec.results)
    if not transform.reverse:
        return [leaf_result(r) for r in leaves_of(value)]
    assert transform.argnums is not None
    dynamic = [k for k, t in enumerate(call.types) if t is not None]
    slots: list[Any] = [None] * len(call.leaves)
    for k, number in enumerate(spec.wrt):
        slots[dynamic[number]] = Result(spec.kept + k)
    args, _ = unflatten(call.treespec, slots)
    gradient = [args[k] for k in as_tuple(transform.argnums)]
    if transform.kind == "value_and_grad":
        chosen: Any = (value, gradient)
    else:
        chosen = (gradient, value[1]) if transform.has_aux else gradient
    return [leaf_result(r) for r in leaves_of(chosen)]


def leaves_of(tree: Any) -> list[Any]:
    return optree.tree_leaves(tree, namespace=NAMESPACE)


def leaf_result(leaf: Any) -> native.Output | native.Constant:
    if isinstance(leaf, Result):
        return native.Output(leaf.index)
    if isinstance(leaf, np.bool_ | np.number):
        leaf = leaf.item()
    if isinstance(leaf, bool | int | float):
        return native.Constant(leaf if isinstance(leaf, bool | int) else float(leaf))
    raise ArgumentError(f"{leaf!r} in the result is no number", help="return numbers and arrays only")
