"""`f.into(out, *args)`: results written into memory of the caller's.

In: a `Compiled` object, arrays for the gradient (for `grad` and `value_and_grad`) or for the result (for every other
transform) in its structure, and the arguments of a call. Out: what the call would give, with `out` in the gradient's
(or the result's) place.

The kernel is compiled with the arrays as further arguments and writes into them straight away: nothing is allocated for
them. Where it cannot (an array that is not contiguous in C order or shares memory with an argument, a number, which
takes an array without axes, a result whose memory comes from a library), the result is computed and copied. Shapes and
dtypes must be the result's; after an error, the contents of `out` are undefined.

>>> import numpy as np
>>> from adjit import grad
>>> x, g = np.array([1.0, 2.0]), np.empty(2)
>>> grad(lambda x: np.sum(x * x)).into(g, x) is g, g
(True, array([2., 4.]))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..codegen.choosing import ChoosingOutputExecutable, output_executable
from ..codegen.outputs import OutputExecutable
from ..ir.errors import ArgumentError, ShapeError
from ..ir.types import Array, Scalar
from ..tracer import Result
from .arguments import Call, flatten_tree, unflatten
from .fast import fast_into
from .specialize import Specialization, as_tuple, jit_disabled

if TYPE_CHECKING:
    from .compiled import Compiled

__all__ = ["gradient_results", "into"]


def into(compiled: Compiled, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """See the module's docstring."""
    try:
        rest = compiled._fast_into(out, *args, **kwargs)
    except ShapeError:  # of the caller's, of an array of `out`, or an extent that turns out to be 1
        compiled._fast_into = compiled._general_into
        rest = any_call(compiled, out, args, kwargs)
    transform = compiled._transform
    if transform.kind == "value_and_grad":
        return rest, out
    return (out, rest) if transform.reverse and transform.has_aux else out


def any_call(compiled: Compiled, out: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Writes `out`; gives the parts of the result that are not in it. Lets calls like this one go the fast way."""
    transform = compiled._transform
    if transform.kind == "vjp":
        raise ArgumentError("a pullback has no `.into`", help="use `grad` or `value_and_grad`")
    if transform.donate:
        raise ArgumentError("a function with `donate=` has no `.into`", help="give it arrays by one of the two")
    call = compiled._flatten(args, kwargs)
    spec, captured = compiled._specialization(call)
    leaves = [*call.dynamic, *captured]
    results = matched(spec, call, out)
    arrays = [checked(array, spec, number) for number, array in results]
    refuse_overlap(spec, leaves, arrays)
    if transform.reverse:
        refuse_other_shapes(spec, leaves, results)
    numbers = [number for (number, _), array in zip(results, arrays) if may_be_direct(spec, leaves, array)]
    direct: dict[int, Any] = {}
    if numbers and not jit_disabled() and not transform.debug_nans:
        executable = executable_for(spec, tuple(numbers))
        of = {number: array for (number, _), array in zip(results, arrays)}
        direct = {number: of[number] for number in executable.direct}
    if not direct:
        given = compiled(*args, **kwargs)
    else:
        try:
            remaining = iter(executable.run([*leaves, *direct.values()]))
        except ShapeError:  # whatever it is, this call says it better, or has another answer
            given, direct = compiled(*args, **kwargs), {}
        else:
            total = len(spec.forward.results)
            given = compiled._result(spec, call, [direct[k] if k in direct else next(remaining) for k in range(total)])
    if transform.kind == "value_and_grad":
        computed, rest = given[1], given[0]
    elif transform.reverse and transform.has_aux:
        computed, rest = given
    else:
        computed, rest = given, None
    found = flatten_tree(computed)[0]
    for (number, _), array, value in zip(results, arrays, found, strict=True):
        if number not in direct:
            copied(array, value)
    if direct and len(direct) == len(results):
        key = ("fast", *numbers)
        if key not in kept_of(spec):
            again = compiled._general_into
            kept_of(spec)[key] = fast_into(compiled.__wrapped__, spec, call, executable, out, again) or again
        compiled._fast_into = kept_of(spec)[key]
    return rest


def kept_of(spec: Specialization) -> dict[Any, Any]:
    """What is made of a specialization here: executables by the results that they write, and entries to them."""
    kept: dict[Any, Any] = spec.__dict__.setdefault("outputs", {})
    return kept


def gradient_results(spec: Specialization, call: Call) -> Any:
    """The gradient's structure, with a `Result` for each leaf."""
    assert spec.transform.argnums is not None
    dynamic = [k for k, t in enumerate(call.types) if t is not None]
    slots: list[Any] = [None] * len(call.leaves)
    for k, number in enumerate(spec.wrt):
        slots[dynamic[number]] = Result(spec.kept + k)
    args, _ = unflatten(call.treespec, slots)
    chosen = tuple(args[k] for k in as_tuple(spec.transform.argnums))
    return chosen if isinstance(spec.transform.argnums, tuple) else chosen[0]


def matched(spec: Specialization, call: Call, out: Any) -> list[tuple[int, Any]]:
    """For each leaf of `out`: the number of the kernel's result, and the leaf."""
    tree = gradient_results(spec, call) if spec.transform.reverse else unflatten(spec.result_spec, spec.results)
    wanted, structure = flatten_tree(tree)
    leaves, given = flatten_tree(out)
    if given != structure:
        raise ArgumentError(
            f"`out` has the structure {given}, the result {structure}",
            help="pass arrays in the structure of what the call would give",
        )
    for r in wanted:
        if not isinstance(r, Result):
            raise ArgumentError(f"{r!r} in the result is no array to be written to `out`")
    return [(r.index, leaf) for r, leaf in zip(wanted, leaves, strict=True)]


def checked(array: Any, spec: Specialization, number: int) -> Any:
    """A leaf of `out` as a plain array that fits the result of this number, but for its shape."""
    type_ = spec.forward.results[number].type
    assert isinstance(type_, Scalar | Array)
    rank = type_.rank if isinstance(type_, Array) else 0
    if not isinstance(array, np.ndarray) or not (type(array) is np.ndarray or isinstance(array, np.memmap)):
        raise ArgumentError(
            f"`out` holds a {type(array).__name__}, and no NumPy array",
            help="a number is written to an array without axes, `np.empty(())`",
        )
    if array.dtype != type_.dtype.numpy or array.ndim != rank:
        raise ArgumentError(
            f"`out` holds an array of {array.dtype} with {array.ndim} axes, the result is {type_}: "
            f"{type_.dtype.numpy} with {rank} axes"
        )
    if not array.flags.writeable:
        raise ArgumentError("`out` holds a read-only array")
    return np.asarray(array)


def refuse_overlap(spec: Specialization, leaves: Sequence[Any], arrays: Sequence[Any]) -> None:
    """Arrays that are written to share no memory with each other."""
    written = [leaves[k] for k in spec.written]
    for k, array in enumerate(arrays):
        for other in (*arrays[:k], *written):
            if isinstance(other, np.ndarray) and np.shares_memory(array, other):
                raise ArgumentError("an array of `out` shares memory with another array that is written to")


def refuse_other_shapes(spec: Specialization, leaves: Sequence[Any], results: Sequence[tuple[int, Any]]) -> None:
    """A gradient has the shape of its argument."""
    for number, array in results:
        argument = leaves[spec.wrt[number - spec.kept]]
        if array.shape != np.shape(argument):
            raise ShapeError(f"`out` holds an array of shape {array.shape}, the gradient's is {np.shape(argument)}")


def may_be_direct(spec: Specialization, leaves: Sequence[Any], array: Any) -> bool:
    """Whether a kernel may write to an array of `out` while it reads its arguments."""
    return (
        not spec.written
        and array.ndim > 0
        and array.flags.c_contiguous
        and array.flags.aligned
        and array.dtype.isnative
        and not any(isinstance(x, np.ndarray) and np.may_share_memory(x, array) for x in leaves)
    )


def executable_for(spec: Specialization, numbers: tuple[int, ...]) -> OutputExecutable | ChoosingOutputExecutable:
    """The executable that writes these results to further arguments, kept with the specialization."""
    kept = kept_of(spec)
    if numbers not in kept:
        kept[numbers] = output_executable(spec.executable, numbers)
    found: OutputExecutable | ChoosingOutputExecutable = kept[numbers]
    return found


def copied(array: Any, value: Any) -> None:
    if np.shape(value) != array.shape:
        raise ShapeError(f"`out` holds an array of shape {array.shape}, the result's is {np.shape(value)}")
    array[...] = value
