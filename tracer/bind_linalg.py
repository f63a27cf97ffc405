"""Bindings of numpy.linalg: the functions that NumPy has under two names.

In: arrays as abstract values. Out: what the function of the same name in NumPy gives.
"""

from __future__ import annotations

import numpy as np

__all__ = ["register"]

SAME = ("matmul", "outer", "tensordot", "vecdot", "cross", "trace", "diagonal", "matrix_transpose")


def register() -> None:
    from .bindings import TABLE

    for name in SAME:
        TABLE[getattr(np.linalg, name)] = TABLE[getattr(np, name)]
