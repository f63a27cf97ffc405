"""Bindings of what `@njit` code says to Numba's compiler (`prange`, `literal_unroll`), and of what Numba makes of
functions besides `@njit`: ufuncs.

In: a helper written for Numba, read as Python. Out: the loop it means. `prange` is `range`, as it is for Numba without
`parallel=True`: which loops run on threads, adjit finds out itself (`grad(f, parallel=True)`). A function under
`@vectorize` is called for each element, in the types of the first of its signatures that fits (as NumPy picks a loop of
a ufunc), or in those of its operands where there is none and Numba would compile one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import numeric, views
from .bind_apply import call_vectorized
from .bind_sequences import range_
from .bindings import always, binds_named
from .context import Tracer
from .values import Number, Reference

__all__ = ["call_numba_object", "register"]


def literal_unroll(t: Tracer, container: Any) -> Any:
    """A loop over a tuple is unrolled anyway."""
    return container


def call_numba_object(t: Tracer, made: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of what one of Numba's decorators made, other than `@njit`."""
    kind = type(made).__name__
    if kind != "DUFunc":
        name = {"GUFunc": "guvectorize", "StencilFunc": "stencil", "CFunc": "cfunc"}.get(kind, kind)
        t.unsupported(f"a call of what `numba.{name}` made", "call a plain or `@njit` function with the loop")
    if kwargs:
        t.unsupported("keyword arguments of a ufunc of Numba's", "assign its result instead of `out=` and `where=`")
    if len(args) != made.nin:
        t.type_error(f"{made.__name__}() takes {made.nin} arguments, {len(args)} were given")
    operands = [numeric.element(t, x, made.__name__) for x in args]
    given = [numeric.dtype_spec(x) for x in operands]
    loop = next((types for types in made.types if fits(types, given)), None)
    function = made._dispatcher.py_func
    if loop is None:
        if made._frozen:
            t.type_error(f"{made.__name__}() has no signature for these arguments: it has {', '.join(made.types)}")
        return call_vectorized(t, function, None, *operands)
    inputs, output = loop.split("->")
    converted = [in_dtype(t, x, np.dtype(c)) for x, c in zip(operands, inputs, strict=True)]
    found = call_vectorized(t, function, (np.dtype(output),), *converted)
    return found if isinstance(found, Reference) else in_dtype(t, found, np.dtype(output))


def fits(types: str, given: list[Any]) -> bool:
    """Whether a loop of a ufunc (`dd->d`) takes operands of these types: as NumPy asks, safe casts alone, and Python's
    own numbers adapt where another operand is of their kind or of a wider one."""
    inputs = types.split("->")[0]
    widest = max((ORDER[spec.kind] for spec in given if isinstance(spec, np.dtype)), default=-1)
    for spec, c in zip(given, inputs, strict=True):
        own = np.dtype(spec)
        weak = not isinstance(spec, np.dtype) and ORDER[own.kind] <= widest
        if not (ORDER[np.dtype(c).kind] >= ORDER[own.kind] if weak else np.can_cast(own, c, "safe")):
            return False
    return True


ORDER = {"b": 0, "u": 1, "i": 1, "f": 2}


def in_dtype(t: Tracer, x: Any, dtype: np.dtype[Any]) -> Any:
    value = numeric.as_dtype(t, x, numeric.to_dtype(t, dtype), "a ufunc of Numba's")
    return t.new_array(value, views.extents(t, x)) if isinstance(x, Reference) else Number(value)


def register() -> None:
    binds_named("numba.prange", always(range_))
    binds_named("numba.literal_unroll", always(literal_unroll))
