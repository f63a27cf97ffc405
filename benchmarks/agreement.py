"""Whether two results agree: what is wrong is not timed.

In: results of two sides, trees (tuples, lists, dicts) of arrays and numbers in the same order. Out: how far they are
apart, relative to the largest entry of each array; `Mismatch` where that is too far.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..api.arguments import flatten_tree

__all__ = ["ALLOWED", "Mismatch", "agree", "distance"]

ALLOWED = 1e-6
"""Relative to the largest entry: sides sum in other orders, and a difference quotient has few digits."""


class Mismatch(Exception):
    """Two results that should be one."""


def leaves(tree: Any) -> list[Any]:
    """The arrays of a tree, other libraries' as NumPy's."""
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in leaves(part)]
    if isinstance(tree, dict):
        return [leaf for part in tree.values() for leaf in leaves(part)]
    if hasattr(tree, "__array__") or isinstance(tree, int | float):
        return [np.asarray(tree)]
    return [np.asarray(leaf) for leaf in flatten_tree(tree)[0]]


def distance(found: Any, wanted: Any) -> float:
    """The largest difference of two trees, relative to the largest entry of the array it is in; infinite where they
    have other shapes or one alone is not finite."""
    ours, theirs = leaves(found), leaves(wanted)
    if [x.shape for x in ours] != [x.shape for x in theirs]:
        return np.inf
    out = 0.0
    for a, b in zip(ours, theirs, strict=True):
        if a.size == 0 or np.array_equal(a, b):
            continue
        with np.errstate(all="ignore"):
            apart = float(np.max(np.abs(a - b)) / max(np.max(np.abs(a)), np.max(np.abs(b))))
        out = max(out, apart if np.isfinite(apart) else np.inf)
    return out


def agree(found: Any, wanted: Any, sides: str, allowed: float = ALLOWED) -> float:
    """Their distance; `Mismatch`, naming the `sides`, where it is too large."""
    apart = distance(found, wanted)
    if not apart <= allowed:
        shapes = [[x.shape for x in leaves(tree)] for tree in (found, wanted)]
        detail = f"{apart:.1e} apart" if shapes[0] == shapes[1] else f"shapes {shapes[0]} and {shapes[1]}"
        raise Mismatch(f"{sides} disagree: {detail}")
    return apart
