"""The fast way into a kernel: straight-line code for calls like the one it was compiled for.

In: a specialization, the call that made it, the user's function. Out: a function with the user's parameters that tests
the arguments, calls the kernel and builds the result, and hands every other call to `miss`; or None where the call
has a shape that straight-line code cannot test (star arguments, pytree nodes of other libraries).
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..codegen import Executable, host
from ..codegen.choosing import ChoosingOutputExecutable
from ..codegen.outputs import OutputExecutable
from ..ir.types import DTYPES, Array, Scalar
from ..tracer import Result
from ..tracer.lookups import MISSING
from .arguments import ZERO_D, Call, Static, flatten_tree, further_attributes, unflatten
from .specialize import Specialization, as_tuple, traced_as

__all__ = ["fast_entry", "fast_into"]

SIMPLE = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_ONLY)


class _NotSimple(Exception):
    pass


def fast_entry(
    function: Callable[..., Any], spec: Specialization, call: Call, miss: Callable[..., Any]
) -> Callable[..., Any] | None:
    """See the module's docstring."""
    if any(t is not None and t[2] == ZERO_D for t in call.types):
        return None  # the kernel takes them for numbers: these have a specialization of their own
    if not spec.executable.kernel.checked and any(
        n not in (None, 1) for a in spec.forward.args if isinstance(a.type, Array) for n in a.type.dims
    ):
        return None  # nobody would look at the extents that the kernel relies on
    try:
        parameters = _parameters(traced_as(function, spec.transform), call)
        result = _result(spec, call)
    except _NotSimple:
        return None
    donated: dict[int, int] = spec.forward.attrs.get("donated") or {}
    fast, _ = host.specialize(
        getattr(function, "__name__", "call"),
        parameters,
        spec.executable.kernel,
        result,
        failed=_raise(spec.executable),
        miss=miss,
        captures=_captures(spec, call),
        written=sorted(donated.values()),
        apart=list(spec.written),
    )
    return fast


def fast_into(
    function: Callable[..., Any],
    spec: Specialization,
    call: Call,
    executable: OutputExecutable | ChoosingOutputExecutable,
    out: Any,
    miss: Callable[..., Any],
) -> Callable[..., Any] | None:
    """The same for `f.into(out, ...)` where the kernel writes all of `out`: of the result's other parts, it gives what
    there is."""
    if any(t is not None and t[2] == ZERO_D for t in call.types):
        return None
    arrays, structure = flatten_tree(out)
    if any(type(x) is not np.ndarray or 1 in x.shape for x in arrays):
        return None
    first = len(spec.layouts)
    slots = [host.Slot(first + executable.direct.index(number), host.leaf_of(x)) for number, x in
             zip(executable.wanted, arrays, strict=True)]  # fmt: skip
    left = [k for k in range(len(spec.forward.results)) if k not in executable.direct]
    try:
        parameters = _parameters(traced_as(function, spec.transform), call)
        target = _structure(unflatten(structure, slots))
        result = _besides(spec, {number: k for k, number in enumerate(left)})
    except _NotSimple:
        return None
    name = "out"
    while any(name == p.name for p in parameters):
        name += "_"
    fast, _ = host.specialize(
        getattr(function, "__name__", "call"),
        [host.Parameter(name, target), *parameters],
        executable.kernel,
        result,
        failed=_raise(executable),
        miss=miss,
        captures=_captures(spec, call),
        written=[slot.index for slot in slots],
    )
    return fast


def _captures(spec: Specialization, call: Call) -> list[tuple[Callable[[], Any], Any]]:
    """What is read at each call besides the arguments."""
    count = sum(t is not None for t in call.types)
    out: list[tuple[Callable[[], Any], Any]] = []
    for g in spec.guards:
        if g.aspect == "size":
            out.append((never_raises(same_size(g.read, *g.expected), g.key, g.aspect), host.Static(True)))
        else:
            out.append((never_raises(g.read, g.key, g.aspect), host.Static(g.expected)))
    for k, capture in enumerate(spec.captures):
        read = never_raises(capture.read, capture.key)
        out.append((read, host.Slot(count + k, host.leaf_of(capture.read()))))
    return out


def same_size(read: Callable[[], Any], kind: type, length: int) -> Callable[[], bool]:
    """Whether what has been a container of that kind and length still is."""

    def compare() -> bool:
        found = read()
        return found[0] is kind and found[1] == length

    return compare


def never_raises(read: Callable[[], Any], key: Any, aspect: str = "value") -> Callable[[], Any]:
    """A reader that gives what is equal to nothing where `read` raises. Names and code are read as they are."""
    if aspect == "code" or (aspect in ("value", "presence") and key and key[0] in ("global", "cell")):
        return read

    def attempt() -> Any:
        try:
            return read()
        except Exception:  # a property of the user's may raise anything; what it gave when traced is gone then
            return MISSING

    return attempt


def _raise(executable: Executable) -> Callable[..., Any]:
    def failed(status: int, detail0: int, detail1: int, arguments: tuple[Any, ...]) -> Any:
        raise executable.failure(status, detail0, detail1, arguments)

    return failed


# ---------------------------------------------------------------- arguments


def _parameters(function: Callable[..., Any], call: Call) -> list[host.Parameter]:
    slots: list[Any] = []
    for x, t in zip(call.leaves, call.types, strict=True):
        if t is None:
            slots.append(host.Static(x.value if isinstance(x, Static) else x))
        else:
            number = sum(isinstance(s, host.Slot) for s in slots)
            slots.append(host.Slot(number, host.leaf_of(x)))
    args, kwargs = unflatten(call.treespec, slots)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise _NotSimple from error
    bound = signature.bind(*args, **kwargs).arguments
    out: list[host.Parameter] = []
    for name, parameter in signature.parameters.items():
        if parameter.kind not in SIMPLE:
            raise _NotSimple
        default = None if parameter.default is parameter.empty else (parameter.default,)
        structure = _structure(bound[name]) if name in bound else host.Static(parameter.default)
        out.append(host.Parameter(name, structure, default, parameter.kind is parameter.KEYWORD_ONLY))
    return out


def _structure(x: Any) -> Any:
    """A part of the arguments, as `host` describes structures."""
    if isinstance(x, host.Slot | host.Static):
        return x
    if x is None:
        return host.Static(None)
    if type(x) in (tuple, list):
        return type(x)(_structure(part) for part in x)
    if type(x) is dict:
        return {k: _structure(v) for k, v in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return host.Record(type(x), {f: _structure(getattr(x, f)) for f in x._fields})
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        names = [*(f.name for f in dataclasses.fields(x)), *further_attributes(x)]
        parts = {name: _structure(getattr(x, name)) for name in names}
        own = getattr(x, "__dict__", None)
        if own is None:
            return host.Record(type(x), parts)
        if own.keys() != parts.keys():
            raise _NotSimple
        return host.Record(type(x), {"__dict__": parts})  # and no attribute more than these
    raise _NotSimple


# ---------------------------------------------------------------- results


def _result(spec: Specialization, call: Call) -> Any:
    transform = spec.transform
    leaves: list[Any] = []
    for r in spec.results:
        leaves.append(host.Output(r.index, output_type(spec, r)) if isinstance(r, Result) else host.Constant(r))
    value = unflatten(spec.result_spec, leaves)
    if not transform.reverse:
        return _built(value)
    assert transform.argnums is not None
    kept = spec.kept
    dynamic = [k for k, t in enumerate(call.types) if t is not None]
    slots: list[Any] = [host.Constant(None)] * len(call.leaves)
    for k, number in enumerate(spec.wrt):
        leaf = host.leaf_of(call.leaves[dynamic[number]])
        convert = None
        if leaf.kind == "scalar" and leaf.dtype != "f64":
            convert = DTYPES[leaf.dtype].numpy.type
        slots[dynamic[number]] = host.Output(kept + k, convert)
    args, _ = unflatten(call.treespec, slots)
    chosen = tuple(args[k] for k in as_tuple(transform.argnums))
    gradient = _built(chosen if isinstance(transform.argnums, tuple) else chosen[0])
    if transform.kind == "value_and_grad":
        return (_built(value), gradient)
    if transform.has_aux:
        return (gradient, _built(value[1]))
    return gradient


def _besides(spec: Specialization, numbers: dict[int, int]) -> Any:
    """What a call gives besides its gradient, as `host` describes results; `numbers`: of the kernel's results."""
    transform = spec.transform
    if transform.kind != "value_and_grad" and not (transform.reverse and transform.has_aux):
        return host.Constant(None)
    leaves: list[Any] = [
        host.Output(numbers[r.index], output_type(spec, r)) if isinstance(r, Result) else host.Constant(r)
        for r in spec.results
    ]
    value = unflatten(spec.result_spec, leaves)
    return _built(value if transform.kind == "value_and_grad" else value[1])


def output_type(spec: Specialization, result: Result) -> Callable[[Any], Any] | None:
    """What makes of a scalar result the NumPy scalar, or the array without axes, that Python would return (kernels
    return Python numbers)."""
    t = spec.forward.results[result.index].type
    if isinstance(t, Scalar) and result.array:
        dtype = t.dtype.numpy
        return lambda value: np.asarray(value, dtype)
    return t.dtype.numpy.type if isinstance(t, Scalar) and not result.weak else None


def _built(x: Any) -> Any:
    """A part of the result, as `host` describes results."""
    if isinstance(x, host.Output | host.Constant):
        return x
    if x is None:
        return host.Constant(None)
    if type(x) in (tuple, list):
        return type(x)(_built(part) for part in x)
    if type(x) is dict:
        return {k: _built(v) for k, v in x.items()}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return host.Build(type(x), tuple(_built(part) for part in x))
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        kind, names = type(x), [*(f.name for f in dataclasses.fields(x)), *further_attributes(x)]

        def make(*parts: Any) -> Any:
            out = object.__new__(kind)
            for name, part in zip(names, parts, strict=True):
                object.__setattr__(out, name, part)
            return out

        return host.Build(make, tuple(_built(getattr(x, n)) for n in names))
    raise _NotSimple
