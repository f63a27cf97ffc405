"""kmeans by hand: a block of points as columns, which every centroid visits; a lane remembers its point's nearest one.
Gradient and diagonal of the Hessian come from sums and counts of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

BLOCK = 64


@kernel
def first_part(x: Any, y: Any, a: float, b: float, d: Any) -> None:
    """d = the squared distances in two coordinates."""
    for i in range(len(d)):
        d[i] = (a - x[i]) * (a - x[i]) + (b - y[i]) * (b - y[i])


@kernel
def add_two(x: Any, y: Any, a: float, b: float, d: Any) -> None:
    """d += the squared distances in two coordinates."""
    for i in range(len(d)):
        d[i] += (a - x[i]) * (a - x[i]) + (b - y[i]) * (b - y[i])


@kernel
def add_four(x: Any, y: Any, z: Any, t: Any, a: float, b: float, c: float, e: float, d: Any) -> None:
    """d += the squared distances in four coordinates."""
    for i in range(len(d)):
        d[i] += ((a - x[i]) * (a - x[i]) + (b - y[i]) * (b - y[i])) + (
            (c - z[i]) * (c - z[i]) + (e - t[i]) * (e - t[i])
        )


@kernel
def keep_nearer(d: Any, j: float, best: Any, nearest: Any) -> None:
    """Where d is less than the best, it is the best, and j the nearest."""
    for i in range(len(d)):
        less = d[i] < best[i]
        nearest[i] = j if less else nearest[i]
        best[i] = d[i] if less else best[i]


@kernel
def block_of_points(centroids: Any, columns: Any, d: Any, best: Any, nearest: Any) -> None:
    """The squared distances to the nearest centroids, and which those are, as numbers that lanes can select."""
    k, dimensions = centroids.shape
    for i in range(len(best)):
        best[i], nearest[i] = np.inf, 0.0
    for j in range(k):
        at = centroids[j]
        first_part(columns[0], columns[1], at[0], at[1], d)
        c = 2
        if dimensions % 4 == 0:
            add_two(columns[2], columns[3], at[2], at[3], d)
            c = 4
        while c < dimensions:
            x, y, z, t = columns[c], columns[c + 1], columns[c + 2], columns[c + 3]
            add_four(x, y, z, t, at[c], at[c + 1], at[c + 2], at[c + 3], d)
            c += 4
        keep_nearer(d, float(j), best, nearest)


@kernel
def clusters(centroids: Any, points: Any, which: Any) -> Any:
    """The cost; into `which`, the centroid of each point. An odd dimension is padded with zeros."""
    (k, dimensions), n = centroids.shape, len(points)
    even = dimensions + dimensions % 2
    padded, columns = np.zeros((k, even)), np.zeros((even, BLOCK))
    padded[:, :dimensions] = centroids
    d, best, nearest = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    total = 0.0
    for start in range(0, n, BLOCK):
        count = min(BLOCK, n - start)
        for i in range(count):
            for c in range(dimensions):
                columns[c, i] = points[start + i, c]
        block_of_points(padded, columns, d, best, nearest)
        for i in range(count):
            total += best[i]
            which[start + i] = int(nearest[i])
    return total


@kernel
def primal(centroids: Any, points: Any) -> Any:
    """The sum of the squared distances."""
    return clusters(centroids, points, np.empty(len(points), dtype=np.int64))


@kernel
def add_difference(centroid: Any, point: Any, sums: Any) -> None:
    """sums += 2 (centroid − point)."""
    for c in range(len(sums)):
        sums[c] += 2.0 * (centroid[c] - point[c])


@kernel
def derivative(centroids: Any, points: Any) -> Any:
    """Newton's direction: the gradient 2 Σ (c − p) over the diagonal 2 Σ 1 of the Hessian, sums over a cluster."""
    which = np.empty(len(points), dtype=np.int64)
    clusters(centroids, points, which)
    k, dimensions = centroids.shape
    gradient, diagonal = np.zeros((k, dimensions)), np.zeros(k)
    for i in range(len(points)):
        j = which[i]
        diagonal[j] += 2.0
        add_difference(centroids[j], points[i], gradient[j])
    for j in range(k):
        for c in range(dimensions):
            gradient[j, c] /= diagonal[j]
    return gradient
