"""Sorting, binary search, and the positions of a mask.

In: buffers. Out: `argsort` and `nonzero` overwrite their first operand with positions, `searchsorted_left` and
`searchsorted_right` return one. NaN comes after every number. `argsort` is stable: a merge sort of keys and positions
together, bottom up, from runs that are sorted by insertion.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .compiled import compiled

__all__ = ["FUNCTIONS"]

RUN = 16
"""Runs of this length are sorted by insertion."""


@compiled
def merge(keys: Any, order: Any, to_keys: Any, to_order: Any, low: Any, middle: Any, high: Any) -> None:
    """The sorted runs [low, middle) and [middle, high) as one, in other memory."""
    i, j = low, middle
    if middle >= high or not keys[middle] < keys[middle - 1]:
        i, j = low, high  # in order already
        middle = high
    for k in range(low, high):
        if i < middle and (j >= high or not keys[j] < keys[i]):
            to_keys[k], to_order[k] = keys[i], order[i]
            i += 1
        else:
            to_keys[k], to_order[k] = keys[j], order[j]
            j += 1


@compiled
def argsort(out: Any, x: Any) -> None:
    """Each row of `out` orders that row of `x`."""
    rows, n = x.shape
    keys, other_keys = np.empty(n, x.dtype), np.empty(n, x.dtype)
    order, other_order = np.empty(n, np.int64), np.empty(n, np.int64)
    for row in range(rows):
        count = 0
        for i in range(n):
            if x[row, i] == x[row, i]:
                keys[count], order[count] = x[row, i], i
                count += 1
        last = count
        for i in range(n):
            if x[row, i] != x[row, i]:
                out[row, last] = i
                last += 1
        for low in range(0, count, RUN):
            for i in range(low + 1, min(low + RUN, count)):
                key, position = keys[i], order[i]
                j = i
                while j > low and key < keys[j - 1]:
                    keys[j], order[j] = keys[j - 1], order[j - 1]
                    j -= 1
                keys[j], order[j] = key, position
        width = RUN
        while width < count:
            for low in range(0, count, 2 * width):
                merge(keys, order, other_keys, other_order, low, min(low + width, count), min(low + 2 * width, count))
            keys, other_keys = other_keys, keys
            order, other_order = other_order, order
            width *= 2
        for i in range(count):
            out[row, i] = order[i]


@compiled
def searchsorted_left(a: Any, v: Any) -> Any:
    """How many elements of the ordered `a` come before `v`."""
    low, high = 0, len(a)
    while low < high:
        middle = (low + high) >> 1
        if a[middle] < v or (v != v and a[middle] == a[middle]):
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def searchsorted_right(a: Any, v: Any) -> Any:
    """How many elements of the ordered `a` do not come after `v`."""
    low, high = 0, len(a)
    while low < high:
        middle = (low + high) >> 1
        if v < a[middle] or (a[middle] != a[middle] and v == v):
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def nonzero(out: Any, mask: Any) -> None:
    """The positions where `mask` is true; `out` has room for exactly these, so no write needs a branch."""
    found = i = 0
    while found < len(out):
        out[found] = i
        found += int(mask[i])
        i += 1


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "argsort": argsort,
    "searchsorted_left": searchsorted_left,
    "searchsorted_right": searchsorted_right,
    "nonzero": nonzero,
}
