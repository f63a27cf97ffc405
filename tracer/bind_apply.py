"""Bindings that call a function again and again: np.apply_along_axis and np.vectorize.

In: a function and arrays as abstract values. Out: an array of what it returns, filled by a loop. As in NumPy the first
call says of which type and shape the results are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.types import F64, DType
from . import numeric, views
from .bind_reduce import not_empty
from .bind_sequences import run_template
from .bind_shape import axis_of, broadcast_arrays, flat, product
from .context import Tracer
from .numeric import as_reference, element
from .values import Number, Partial, Reference

__all__ = ["register", "vectorized"]

ROWS = """
def rows(a, out, function, args, options):
    for k in range(1, a.shape[0]):
        out[k] = function(a[k], *args, **options)
"""


def apply_along_axis(t: Tracer, func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    from . import calls, indexing

    a = as_reference(t, arr, "np.apply_along_axis")
    at = axis_of(t, axis, a.rank)
    lead = [k for k in range(a.rank) if k != at]
    if not lead:
        return numeric.element(t, calls.call(t, func1d, [a, *args], kwargs), "the result of np.apply_along_axis")
    not_empty(t, a, tuple(lead), "np.apply_along_axis")
    rows = views.permuted(a, [*lead, at])
    shape = views.extents(t, rows)
    if len(lead) > 1:
        rows = views.reshaped(t, rows, [product(t, shape[:-1]), shape[-1]])
    first = element(t, calls.call(t, func1d, [indexing.load(t, rows, 0), *args], kwargs), "np.apply_along_axis")
    part = numeric.shape_of(t, first)
    out = filled_from(t, first, [views.extent(t, rows, 0), *part])
    run_template(t, ROWS, [rows, out, func1d, tuple(args), t.new_dict(kwargs.items())])
    result = views.reshaped(t, out, [*shape[:-1], *part]) if len(lead) > 1 else out
    count = len(lead)
    order = [*range(at), *range(count, count + len(part)), *range(at, count)]
    return views.permuted(result, order)


def filled_from(t: Tracer, first: Any, shape: list[Any]) -> Reference:
    """An array of a shape, of which the first row is written."""
    from . import indexing

    value = numeric.value_of(t, first)
    out = t.new_array(t.emit1("empty", shape, {"dtype": value.dtype}), shape)
    indexing.store(t, out, 0, first)
    return out


# ---------------------------------------------------------------- np.vectorize


def vectorize(
    t: Tracer,
    pyfunc: Any,
    otypes: Any = None,
    doc: Any = None,
    excluded: Any = None,
    cache: Any = False,
    signature: Any = None,
) -> Any:
    """np.vectorize: a function that calls `pyfunc` for each element."""
    if excluded or signature is not None:
        t.unsupported("np.vectorize with `excluded` or `signature`", "write the loop, or a function of arrays")
    return Partial(vectorized, (pyfunc, otypes))


def call_vectorize_object(t: Tracer, made: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """A call of an np.vectorize object that was made outside of the traced function."""
    if made.excluded or made.signature is not None or kwargs:
        t.unsupported("np.vectorize with `excluded`, `signature`, or keyword arguments", "write the loop")
    return call_vectorized(t, made.pyfunc, made.otypes, *args)


def vectorized(*args: Any) -> Any:
    """What np.vectorize makes of a function; called by the tracer only."""
    raise NotImplementedError


def call_vectorized(t: Tracer, pyfunc: Any, otypes: Any, *args: Any) -> Any:
    from . import bind_create, calls, indexing

    values = [element(t, a, "a vectorized function") for a in args]
    arrays = [v for v in values if isinstance(v, Reference)]
    if not arrays:
        return calls.call(t, pyfunc, values, {})
    whole = broadcast_arrays(t, *arrays) if len(arrays) > 1 else tuple(arrays)
    shape = views.extents(t, whole[0])
    if otypes is None:  # the first call tells
        not_empty(t, whole[0], tuple(range(len(shape))), "a vectorized function")
    vectors = iter([flat(t, w) for w in whole])
    operands = [next(vectors) if isinstance(v, Reference) else v for v in values]
    if otypes is None:
        firsts = [indexing.load(t, x, 0) if isinstance(x, Reference) else x for x in operands]
        first = element(t, calls.call(t, pyfunc, firsts, {}), "the result of a vectorized function")
        if isinstance(first, Reference) or isinstance(first, tuple):
            t.unsupported("np.vectorize of a function that returns more than a number", "write the loop")
        first = Number(numeric.scalar_value(t, first))
        out = filled_from(t, first, [product(t, shape)])
    else:
        out = bind_create.blank(t, [product(t, shape)], result_kind(t, otypes))
    begin = 1 if otypes is None else 0
    names = [f"a{k}" for k in range(len(operands))]
    parts = ", ".join(n if not isinstance(x, Reference) else f"{n}[k]" for n, x in zip(names, operands))
    text = f"def each(out, function, {', '.join(names)}):\n    for k in range({begin}, out.shape[0]):\n"
    run_template(t, f"{text}        out[k] = function({parts})\n", [out, pyfunc, *operands])
    return out if len(shape) == 1 else views.reshaped(t, out, shape)


def result_kind(t: Tracer, otypes: Any) -> DType:
    from .values import ListObject

    given = t.items(otypes) if isinstance(otypes, ListObject) else otypes
    if len(given) != 1:
        t.unsupported("np.vectorize with several `otypes`", "write the loop")
    return F64 if given[0] is float else numeric.to_dtype(t, np.dtype(given[0]))


def register() -> None:
    from .bindings import TABLE

    TABLE[np.apply_along_axis] = apply_along_axis
    TABLE[np.vectorize] = vectorize
    TABLE[vectorized] = call_vectorized
