"""kmeans: Σ_i min_j |c_j − p_i|², the cost of centroids c for points p; and Newton's direction, the gradient over the
diagonal of the Hessian, which has nothing off its diagonal: its product with a vector of ones is the diagonal."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit, jvp
from .function import Function, floats

__all__ = ["FUNCTIONS", "cost", "direction"]


def cost(centroids: Any, points: Any) -> Any:
    """The sum of the squared distances of points to the centroids that are nearest to them."""
    total = 0.0
    for i in range(len(points)):
        nearest = np.argmin(np.sum((centroids - points[i]) ** 2, axis=1))
        total += np.sum((centroids[nearest] - points[i]) ** 2)
    return total


def direction(centroids: Any, points: Any) -> Any:
    """Newton's direction: the gradient over the diagonal of the Hessian."""

    def gradient(at: Any) -> Any:
        return grad(cost)(at, points)

    first, diagonal = jvp(gradient, (centroids,), (np.ones_like(centroids),))
    return first / diagonal


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `cost`."""
    return floats(given["centroids"]), floats(given["points"])


FUNCTIONS = {
    "cost": Function(prepare, jit(cost)),
    "dir": Function(prepare, jit(direction)),
}
