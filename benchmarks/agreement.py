"""Whether two results agree: what is wrong is not timed; and what went wrong, in one line.

In: results of two sides, trees (tuples, lists, dicts) of arrays and numbers in the same order. Out: how far they are
apart, relative to the largest entry of each array; `Mismatch` where that is too far.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..api.arguments import flatten_tree

__all__ = ["ALLOWED", "Mismatch", "agree", "distance", "leaves", "reason"]

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
        finite = [all(np.all(np.isfinite(x)) for x in leaves(tree)) for tree in (found, wanted)]
        detail = f"{apart:.1e} apart"
        if shapes[0] != shapes[1]:
            detail = f"shapes {shapes[0]} and {shapes[1]}"
        elif not all(finite):
            detail = f"{'the first' if not finite[0] else 'the second'} is not finite"
        raise Mismatch(f"{sides} disagree: {detail}")
    return apart


def reason(error: BaseException) -> str:
    """An error in one line: its class, its message, the line of the program it is about."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    where = next((line.removeprefix("--> ") for line in lines if line.startswith("--> ")), "")
    where = f" ({Path(where).name})" if where else ""
    what = lines[0] if isinstance(error, Mismatch) else f"{type(error).__name__}: {lines[0]}"
    return what[:200] + where
