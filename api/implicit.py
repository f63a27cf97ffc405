"""Solvers that are differentiated by what they solve, not by how: `custom_root`, `custom_linear_solve`, `fixed_point`.

In: an equation, and a solver for it, both plain Python. Out: what the solver finds. Its derivative, wherever adjit
differentiates a program that calls it, is that of the solution (implicit function theorem), with respect to everything
that the equation captures: the steps of the solver are not differentiated, and nothing of them is kept.
Names and arguments are JAX's (`jax.lax.custom_root`, `jax.lax.custom_linear_solve`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .derivatives import jacfwd

__all__ = ["custom_linear_solve", "custom_root", "fixed_point"]

Function = Callable[..., Any]


def dense_solve(linear: Function, right: Any) -> Any:
    """The solution of `linear(x) = right` for a number or an array, by the matrix of the linear function."""
    if np.ndim(right) == 0:
        return right / linear(1.0)
    n = np.size(right)
    matrix = jacfwd(linear)(np.zeros_like(right))
    return np.linalg.solve(np.reshape(matrix, (n, n)), np.reshape(right, (n,))).reshape(np.shape(right))


def custom_root(f: Function, guess: Any, solve: Function, tangent_solve: Function = dense_solve) -> Any:
    """`solve(f, guess)`: an x with f(x) = 0.

    `tangent_solve(g, y)` solves g(x) = y for a linear function g; by default densely, which is for numbers and for one
    array. It is differentiated itself for reverse mode and higher derivatives: give a direct formula, or
    `custom_linear_solve`.

    >>> from adjit import custom_root, grad
    >>> def bisect(f, x):
    ...     low, high = 0.0, 10.0
    ...     while high - low > 1e-14 * high:
    ...         middle = 0.5 * (low + high)
    ...         if f(middle) > 0.0:
    ...             high = middle
    ...         else:
    ...             low = middle
    ...     return 0.5 * (low + high)
    >>> @grad
    ... def cube_root(a):
    ...     return custom_root(lambda x: x * x * x - a, 1.0, bisect)
    >>> round(cube_root(8.0), 12)  # 1/12
    0.083333333333
    """
    return root_of(f, guess, solve, tangent_solve)


def root_of(f: Function, guess: Any, solve: Function, _: Function) -> Any:
    """What plain Python sees of `custom_root`; the tracer knows more."""
    return solve(f, guess)


def custom_linear_solve(
    matvec: Function, b: Any, solve: Function, transpose_solve: Function | None = None, symmetric: bool = False
) -> Any:
    """`solve(matvec, b)`: an x with matvec(x) = b, for a linear function `matvec`.

    `transpose_solve(vecmat, y)` solves with the transposed function, for reverse mode; it is not needed where the
    function is `symmetric`. Without both, reverse mode differentiates the solver of the tangent equation.

    >>> import numpy as np
    >>> from adjit import custom_linear_solve, grad
    >>> def jacobi(matvec, b):
    ...     x = np.zeros_like(b)
    ...     for _ in range(100):
    ...         x = x + 0.2 * (b - matvec(x))
    ...     return x
    >>> A = np.array([[4.0, 1.0], [1.0, 3.0]])
    >>> @grad
    ... def loss(b):
    ...     return np.sum(custom_linear_solve(lambda x: A @ x, b, jacobi, symmetric=True))
    >>> np.round(loss(np.array([1.0, 2.0])), 9)
    array([0.18181818, 0.27272727])
    """
    return solve(matvec, b)


def fixed_point(f: Function, guess: Any, tolerance: float = 1e-12, most: int = 1000) -> Any:
    """An x with f(x) = x, by iteration from `guess` (a number or an array) until no element changes by more than
    `tolerance` relative to the largest (plus one); ArithmeticError after `most` steps.

    >>> import numpy as np
    >>> from adjit import fixed_point, grad
    >>> round(grad(lambda a: fixed_point(lambda x: np.cos(a * x), 0.5))(1.0), 9)  # -x sin x / (1 + sin x)
    -0.297474342
    """

    def iterate(residual: Function, x: Any) -> Any:
        change, steps = residual(x), 0
        while np.max(np.abs(change)) > tolerance * (1.0 + np.max(np.abs(x))):
            if steps >= most:
                raise ArithmeticError("fixed_point has not converged")
            x = x + change
            change = residual(x)
            steps += 1
        return x

    return custom_root(lambda x: f(x) - x, guess, iterate)


root_of.__adjit_binding__ = "custom_root"  # type: ignore[attr-defined]
custom_linear_solve.__adjit_binding__ = "custom_linear_solve"  # type: ignore[attr-defined]
