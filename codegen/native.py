"""Compiled kernels as functions of users' own `@njit` code.

In: an object that can say which kernel serves arguments of given types (`Resolver`). Out: the object is known to Numba:
used in nopython code, as a global, a closure variable or an argument, a call of it is a call of machine code, without
the interpreter. What happens when Numba types such a call:

    Numba's types of the arguments -> dummies of these types -> `Resolver.resolve` -> `NativeCall`, a compiled kernel
    -> a small function, made here and compiled by Numba, which takes the arguments apart, checks what types do not say
       (extents of 1, overlap with what the kernel writes), calls the kernel and raises where its status asks for it

The arguments of a call are numbers, arrays and tuples of them; its leaves, in order, are the kernel's arguments. The
result is one number or array, or a flat tuple of them. For `f.njit(x, p)` with a kernel of two results:

    def f(a0, a1):
        if a0.shape[0] == 1: raise ValueError('...')
        r = kernel(a0, a1)
        if r[0] != 0: raise Failure(7, r[0], r[1], r[2])
        return (r[3], r[4])

The kernel is called by its address, which marks the caller's code as tied to this process: Numba then does not put it
into its own cache on the disk.
"""

from __future__ import annotations

import importlib
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np

from ..ir.errors import AdjitError
from ..ir.types import Array
from .build import Kernel
from .numba_bridge import numba_type

__all__ = ["Constant", "Failure", "NativeCall", "Output", "Resolver", "dummy_array", "register"]


@dataclass(frozen=True)
class Output:
    """A leaf of the result: the kernel's result of this number."""

    index: int


@dataclass(frozen=True)
class Constant:
    """A leaf of the result that is known beforehand."""

    value: bool | int | float


@dataclass(frozen=True)
class NativeCall:
    """What serves a call: the kernel, the leaves of its result, the arguments that it or the program writes to, what
    makes of a status and its details an exception, and whether it is still right."""

    kernel: Kernel
    results: tuple[Output | Constant, ...]
    written: tuple[int, ...]
    failure: Callable[[int, Any, Any], BaseException]
    is_valid: Callable[[], bool]


class Resolver(Protocol):
    """What Numba is to know as a function."""

    @property
    def __name__(self) -> str: ...

    def resolve(self, arguments: tuple[Any, ...]) -> NativeCall:
        """The kernel for arguments of the types of these. Raises what is wrong with them."""


_failures: dict[int, Callable[[int, Any, Any], BaseException]] = {}
_numbers = count()


class Failure(Exception):
    """What `@njit` code raises where a kernel's check failed; calling it gives the exception that the user sees."""

    def __new__(cls, *parts: Any) -> Any:
        if len(parts) == 1:  # Python makes sure that what is raised is an exception, by one call more
            return parts[0]
        number, status, detail0, detail1 = parts
        return _failures[number](status, detail0, detail1)


def dummy_array(dtype: Any, ones: Sequence[bool], layout: str) -> np.ndarray[Any, Any]:
    """An array of this dtype and memory layout; `ones` says which extents are 1. Where all are, there is one layout."""
    if layout == "A":
        return np.zeros([1 if one else 4 for one in ones], dtype)[tuple(slice(None, None, 2) for _ in ones)]
    return np.zeros([1 if one else 2 for one in ones], dtype, order="F" if layout == "F" else "C")


def register(kind: type[Resolver]) -> None:
    """Let Numba know the objects of a class."""
    extending = _numba("extending")
    native_type = _native_type()

    def type_of(value: Any, context: Any) -> Any:
        found = value.__dict__.get("_numba_type")
        if found is None:
            found = value.__dict__["_numba_type"] = native_type(value)
        return found

    extending.typeof_impl.register(kind)(type_of)


def _numba(module: str) -> Any:
    """A module of Numba's, which is partly typed and means little by it."""
    return importlib.import_module(f"numba.{module}" if module else "numba")


_made: list[Any] = []


def _native_type() -> Any:
    """The class of Numba's types of such objects: one type per object, as each is compiled for itself."""
    if _made:
        return _made[0]
    types, errors, extending = _numba("core.types"), _numba("core.errors"), _numba("extending")
    models, imputils = _numba("core.datamodel.models"), _numba("core.imputils")

    callable_type: Any = types.Callable
    opaque_type: Any = types.Opaque

    class NativeFunction(callable_type, opaque_type):  # type: ignore[misc]
        """The type of one object. It keeps the functions made for it, by Numba's types of the arguments."""

        def __init__(self, resolver: Resolver) -> None:
            self.resolver = resolver
            self.served: dict[Any, tuple[NativeCall, Any]] = {}
            super().__init__(f"adjit.njit({resolver.__name__}, {next(_numbers)})")

        def get_call_type(self, context: Any, args: Any, kws: Any) -> Any:
            if kws:
                raise errors.TypingError(f"{self.resolver.__name__}.njit takes arguments by position")
            kinds = tuple(types.unliteral(kind) for kind in args)
            found = self.served.get(kinds)
            if found is None or not found[0].is_valid():
                try:
                    native = self.resolver.resolve(tuple(_dummy(kind) for kind in kinds))
                    found = self.served[kinds] = native, _function(self.resolver.__name__, kinds, native)
                except AdjitError as error:
                    text = f"{self.resolver.__name__}.njit: {type(error).__name__}: {error}"
                    raise errors.TypingError(text) from error
            return types.Dispatcher(found[1]).get_call_type(context, kinds, {})

        def get_call_signatures(self) -> Any:
            return [], True

        def get_impl_key(self, signature: Any) -> Any:
            return types.Dispatcher(self.served[signature.args][1]).get_impl_key(signature)

    extending.register_model(NativeFunction)(models.OpaqueModel)

    @imputils.lower_constant(NativeFunction)  # type: ignore[untyped-decorator]
    def constant(context: Any, builder: Any, kind: Any, value: Any) -> Any:
        return context.get_dummy_value()

    @extending.unbox(NativeFunction)  # type: ignore[untyped-decorator]
    def unboxed(kind: Any, value: Any, c: Any) -> Any:
        return extending.NativeValue(c.context.get_dummy_value())

    _made.append(NativeFunction)
    return NativeFunction


def _dummy(kind: Any) -> Any:
    """A value of a type of Numba's: floats and integers of 64 bits are Python's own numbers."""
    types, errors, support = _numba("core.types"), _numba("core.errors"), _numba("np.numpy_support")
    if isinstance(kind, types.BaseTuple):
        parts = [_dummy(types.unliteral(part)) for part in kind]
        return kind.instance_class(*parts) if isinstance(kind, types.BaseNamedTuple) else tuple(parts)
    if kind == types.float64:
        return 1.0
    if kind == types.int64:
        return 1
    if isinstance(kind, types.Number | types.Boolean):
        return support.as_dtype(kind).type(1)
    if type(kind) is types.Array and kind.ndim > 0 and kind.aligned:
        return dummy_array(support.as_dtype(kind.dtype), [False] * kind.ndim, kind.layout)
    what = "an array without axes" if isinstance(kind, types.Array) and kind.ndim == 0 else f"a {kind}"
    raise errors.TypingError(f"an adjit function in @njit code takes numbers, arrays and tuples of them, not {what}")


def _leaves(kind: Any, text: str) -> list[tuple[Any, str]]:
    """The leaves of an argument: their types, and expressions for them."""
    types = _numba("core.types")
    if not isinstance(kind, types.BaseTuple):
        return [(kind, text)]
    return [leaf for k, part in enumerate(kind) for leaf in _leaves(types.unliteral(part), f"{text}[{k}]")]


def _function(name: str, kinds: Sequence[Any], native: NativeCall) -> Any:
    """The function that Numba code calls, jitted (see the module's docstring)."""
    numba, types, errors = _numba(""), _numba("core.types"), _numba("core.errors")
    parameters = [f"a{k}" for k in range(len(kinds))]
    leaves = [leaf for kind, text in zip(kinds, parameters) for leaf in _leaves(kind, text)]
    lines = []
    for k, (kind, text) in enumerate(leaves):
        if k in native.written and not (isinstance(kind, types.Array) and kind.mutable):
            raise errors.TypingError(f"{name}.njit: argument {k} is written to, but it is a {kind}")
        lines += _extent_checks(name, k, text, native.kernel.arg_types[k])
    arrays = [k for k, (kind, _) in enumerate(leaves) if isinstance(kind, types.Array)]
    for k in native.written:
        for other in arrays:
            if other != k and not (other in native.written and other < k):
                message = f"{name}.njit: argument {k} is written to and may share memory with argument {other}"
                lines += [f"if overlap({leaves[k][1]}, {leaves[other][1]}):", f"    raise ValueError({message!r})"]
    number = next(_numbers)
    _failures[number] = native.failure
    results = [f"r[{3 + r.index}]" if isinstance(r, Output) else repr(r.value) for r in native.results]
    lines += [
        f"r = kernel({', '.join(text for _, text in leaves)})",
        "if r[0] != 0:",
        f"    raise Failure({number}, r[0], r[1], r[2])",
        f"return {results[0] if len(results) == 1 else '(' + ', '.join(results) + ')'}",
    ]
    shown = name if name.isidentifier() else "call"
    names = {
        "Failure": Failure,
        "overlap": _overlap() if native.written else None,
        "kernel": _intrinsic(native.kernel, len(leaves)),
        "inf": float("inf"),
        "nan": float("nan"),
    }
    function = _executed(shown, parameters, lines, names)
    return numba.njit(error_model="numpy")(function)


def _extent_checks(name: str, number: int, text: str, type_: Any) -> list[str]:
    """An extent that a type leaves open is not 1, as broadcasting depends on it; one that it names is."""
    out = []
    for axis, extent in enumerate(type_.dims if isinstance(type_, Array) else ()):
        if extent is None:
            test, said = "==", "is 1, for which it was not compiled: 1 decides what is repeated"
        else:
            test, said = "!=", "is not 1, as in the example it was compiled for"
        message = (
            f"{name}.njit: extent {axis} of argument {number} {said}. "
            f"Say so beforehand by {name}.njit.like(...), called with arguments of these shapes"
        )
        out += [f"if {text}.shape[{axis}] {test} 1:", f"    raise ValueError({message!r})"]
    return out


def _executed(name: str, parameters: Sequence[str], lines: Sequence[str], names: dict[str, Any]) -> Any:
    """The function of these lines, which tracebacks can show."""
    text = f"def {name}({', '.join(parameters)}):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<adjit native call of {name} {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace = {**names, "__name__": __name__}
    exec(compile(text, file, "exec"), namespace)
    return namespace[name]


def _intrinsic(kernel: Kernel, count: int) -> Any:
    """A function of nopython code that calls the kernel and gives its tuple."""
    extending = _numba("extending")
    address, result = kernel.native()
    kinds = [numba_type(t, layout) for t, layout in zip(kernel.arg_types, kernel.layouts)]

    def emitted(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        function_type = context.call_conv.get_function_type(result, kinds)
        place = context.add_dynamic_addr(builder, address, info=kernel.name)
        callee = builder.bitcast(place, function_type.as_pointer())
        status, given = context.call_conv.call_function(builder, callee, result, kinds, values)
        with builder.if_then(status.is_error, likely=False):
            context.call_conv.return_status_propagate(builder, status)
        return given  # with references of its own

    def typed(*arguments: Any) -> Any:
        return result(*arguments), emitted

    parameters = [f"a{k}" for k in range(count)]
    lines = [f"return typed({', '.join(parameters)})"]
    return extending.intrinsic(_executed("kernel", ["typing_context", *parameters], lines, {"typed": typed}))


def _overlap() -> Any:
    """Whether the memory between the first and the last element of one array meets that of another."""
    numba = _numba("")

    def ends(x: Any) -> Any:
        low = high = x.ctypes.data
        for extent, stride in zip(x.shape, x.strides):
            if stride < 0:
                low += (extent - 1) * stride
            else:
                high += (extent - 1) * stride
        return low, high + x.itemsize

    bounds = numba.njit(ends)

    def overlap(x: Any, y: Any) -> Any:
        if x.size == 0 or y.size == 0:
            return False
        low, high = bounds(x)
        begin, end = bounds(y)
        return low < end and begin < high

    return numba.njit(overlap)
