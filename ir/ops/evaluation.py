"""What operations on matrices mean to NumPy, where it takes more than one call: for their `evaluate`.

In: arrays whose last two axes are matrices. Out: arrays. A routine that NumPy raises in gives NaN here, and a status
where the operation has one: the tracer checks statuses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["attempt", "back", "over_stack", "reduced_svd", "unless_singular", "whole_symmetric"]


def back(a: Any) -> Any:
    return np.swapaxes(a, -1, -2)


def attempt(function: Any, a: Any, shapes: list[tuple[int, ...]], **attrs: Any) -> tuple[Any, ...]:
    """(*results, status) of a NumPy decomposition; NaN and 1 where it raises."""
    a = np.real(a)
    try:
        found = function(a, **attrs)
        return (*(found if isinstance(found, tuple) else (found,)), np.int64(0))
    except np.linalg.LinAlgError:
        return (*(np.full(shape, np.nan, a.dtype) for shape in shapes), np.int64(1))


def whole_symmetric(a: Any, lower: bool) -> Any:
    """The symmetric matrix of a triangle."""
    half = np.tril(a) if lower else back(np.triu(a))
    return half + back(np.tril(half, -1))


def reduced_svd(a: Any) -> Any:
    return tuple(np.linalg.svd(a, full_matrices=False))


def unless_singular(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a routine gives where it would raise: NaN. Checks stand before every use that needs one."""

    def quiet(*operands: Any, **attrs: Any) -> Any:
        try:
            return function(*operands, **attrs)
        except np.linalg.LinAlgError:
            shapes = [np.shape(x) for x in operands]
            return np.full(shapes[1] if len(shapes) > 1 else shapes[0], np.nan, operands[0].dtype)

    return quiet


def over_stack(function: Callable[..., Any], *operands: Any) -> Any:
    """A function of matrices on each problem of a stack; of several results, a tuple of stacks."""
    lead = operands[0].shape[:-2]
    found = [function(*(x[at] for x in operands)) for at in np.ndindex(lead)]
    if not found:  # an empty stack: its results have the shape of those of any matrix
        return over_stack(function, *(np.ones((1, *x.shape[len(lead) :]), x.dtype) for x in operands))
    if isinstance(found[0], tuple):
        return tuple(np.reshape(np.stack(p), (*lead, *np.shape(p[0]))) for p in zip(*found))
    return np.reshape(np.stack(found), (*lead, *np.shape(found[0])))[()]
