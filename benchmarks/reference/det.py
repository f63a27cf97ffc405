"""det by hand: the gradient in the traversal that computes the value.

The determinant is linear in each minor, so a minor's adjoint is known on the way down, before its value: one recursion
computes values on the way up and adds their products with adjoints to the gradient. Columns that are left are a linked
list: following[j] is the next one after j, n is the list's head and its end. Minors of three rows are written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]


@kernel
def value(a: Any, following: Any, r: int) -> Any:
    """The minor of the rows from r on and the columns that are left; of three rows or more."""
    n = len(a)
    if r == n - 3:
        i = following[n]
        j = following[i]
        k = following[j]
        x, y, z = a[r], a[r + 1], a[r + 2]
        return (
            x[i] * (y[j] * z[k] - y[k] * z[j]) - x[j] * (y[i] * z[k] - y[k] * z[i]) + x[k] * (y[i] * z[j] - y[j] * z[i])
        )
    total, sign, before, j = 0.0, 1.0, n, following[n]
    while j != n:
        following[before] = following[j]
        minor = value(a, following, r + 1)
        following[before] = j
        total += sign * a[r, j] * minor
        sign = -sign
        before, j = j, following[j]
    return total


@kernel
def descend(a: Any, a_adj: Any, following: Any, r: int, adjoint: float) -> Any:
    """As `value`; adds the minor's adjoint times its derivatives to a_adj."""
    n = len(a)
    if r == n - 3:
        i = following[n]
        j = following[i]
        k = following[j]
        x, y, z = a[r], a[r + 1], a[r + 2]
        x_adj, y_adj, z_adj = a_adj[r], a_adj[r + 1], a_adj[r + 2]
        xi, xj, xk, yi, yj, yk, zi, zj, zk = x[i], x[j], x[k], y[i], y[j], y[k], z[i], z[j], z[k]
        by_i, by_j, by_k = yj * zk - yk * zj, yi * zk - yk * zi, yi * zj - yj * zi
        x_adj[i] += adjoint * by_i
        x_adj[j] -= adjoint * by_j
        x_adj[k] += adjoint * by_k
        of_i, of_j, of_k = adjoint * xi, adjoint * xj, adjoint * xk
        y_adj[i] += of_k * zj - of_j * zk
        y_adj[j] += of_i * zk - of_k * zi
        y_adj[k] += of_j * zi - of_i * zj
        z_adj[i] += of_j * yk - of_k * yj
        z_adj[j] += of_k * yi - of_i * yk
        z_adj[k] += of_i * yj - of_j * yi
        return xi * by_i - xj * by_j + xk * by_k
    total, sign, before, j = 0.0, 1.0, n, following[n]
    while j != n:
        following[before] = following[j]
        factor = sign * a[r, j]
        minor = descend(a, a_adj, following, r + 1, adjoint * factor)
        following[before] = j
        a_adj[r, j] += adjoint * sign * minor
        total += factor * minor
        sign = -sign
        before, j = j, following[j]
    return total


@kernel
def all_columns(n: int) -> Any:
    """The list of all columns."""
    following = np.arange(1, n + 2)
    following[n] = 0
    return following


@kernel
def primal(a: Any) -> Any:
    """The determinant."""
    n = len(a)
    if n == 1:
        return a[0, 0]
    if n == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return value(a, all_columns(n), 0)


@kernel
def derivative(a: Any) -> Any:
    """The cofactors."""
    n = len(a)
    a_adj = np.zeros_like(a)
    if n == 1:
        a_adj[0, 0] = 1.0
    elif n == 2:
        a_adj[0, 0], a_adj[0, 1], a_adj[1, 0], a_adj[1, 1] = a[1, 1], -a[1, 0], -a[0, 1], a[0, 0]
    else:
        descend(a, a_adj, all_columns(n), 0, 1.0)
    return a_adj
