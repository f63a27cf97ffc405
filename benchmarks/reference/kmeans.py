"""kmeans by hand: the centroids transposed, so that distances to many centroids are computed at once, of four points
for each visit; gradient and diagonal of the Hessian from sums and counts of clusters."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

LANES = 8
POINTS = 4


@kernel
def distances(columns: Any, points: Any, i: int, d0: Any, d1: Any, d2: Any, d3: Any) -> None:
    """The squared distances of points i, …, i + 3 to all centroids; `columns` holds the centroids' coordinates."""
    p0, p1, p2, p3 = points[i], points[i + 1], points[i + 2], points[i + 3]
    dimensions, k = columns.shape
    for c in range(0, dimensions - dimensions % 2, 2):
        x, y = columns[c], columns[c + 1]
        a0, a1, a2, a3 = p0[c], p1[c], p2[c], p3[c]
        b0, b1, b2, b3 = p0[c + 1], p1[c + 1], p2[c + 1], p3[c + 1]
        if c == 0:
            for j in range(k):
                d0[j] = (x[j] - a0) * (x[j] - a0) + (y[j] - b0) * (y[j] - b0)
                d1[j] = (x[j] - a1) * (x[j] - a1) + (y[j] - b1) * (y[j] - b1)
                d2[j] = (x[j] - a2) * (x[j] - a2) + (y[j] - b2) * (y[j] - b2)
                d3[j] = (x[j] - a3) * (x[j] - a3) + (y[j] - b3) * (y[j] - b3)
        else:
            for j in range(k):
                d0[j] += (x[j] - a0) * (x[j] - a0) + (y[j] - b0) * (y[j] - b0)
                d1[j] += (x[j] - a1) * (x[j] - a1) + (y[j] - b1) * (y[j] - b1)
                d2[j] += (x[j] - a2) * (x[j] - a2) + (y[j] - b2) * (y[j] - b2)
                d3[j] += (x[j] - a3) * (x[j] - a3) + (y[j] - b3) * (y[j] - b3)
    if dimensions % 2:
        c = dimensions - 1
        x = columns[c]
        if c == 0:
            d0[:], d1[:], d2[:], d3[:] = 0.0, 0.0, 0.0, 0.0
        for j in range(k):
            d0[j] += (x[j] - p0[c]) * (x[j] - p0[c])
            d1[j] += (x[j] - p1[c]) * (x[j] - p1[c])
            d2[j] += (x[j] - p2[c]) * (x[j] - p2[c])
            d3[j] += (x[j] - p3[c]) * (x[j] - p3[c])


@kernel
def first_least(d: Any, values: Any) -> int:
    """Where d, a multiple of LANES long, is least; the first place of equals."""
    for l in range(LANES):
        values[l] = np.inf
    for start in range(0, len(d), LANES):
        block = d[start : start + LANES]
        for l in range(LANES):
            values[l] = block[l] if block[l] < values[l] else values[l]
    least = np.inf
    for l in range(LANES):
        least = min(least, values[l])
    for j in range(len(d)):
        if d[j] == least:
            return j
    return 0


@kernel
def clusters(centroids: Any, points: Any, nearest: Any) -> Any:
    """The cost; into `nearest`, the centroid of each point."""
    (k, dimensions), n = centroids.shape, len(points)
    width = (k + LANES - 1) // LANES * LANES
    columns = np.full((dimensions, width), np.inf)
    for j in range(k):
        for c in range(dimensions):
            columns[c, j] = centroids[j, c]
    d0, d1, d2, d3, values = np.empty(width), np.empty(width), np.empty(width), np.empty(width), np.empty(LANES)
    total = 0.0
    last = np.empty((POINTS, dimensions))
    for i in range(0, n, POINTS):
        if i + POINTS <= n:
            distances(columns, points, i, d0, d1, d2, d3)
        else:
            for p in range(POINTS):
                last[p] = points[min(i + p, n - 1)]
            distances(columns, last, 0, d0, d1, d2, d3)
        for p in range(min(POINTS, n - i)):
            d = d0 if p == 0 else d1 if p == 1 else d2 if p == 2 else d3
            j = first_least(d, values)
            nearest[i + p] = j
            total += d[j]
    return total


@kernel
def primal(centroids: Any, points: Any) -> Any:
    """The sum of the squared distances."""
    return clusters(centroids, points, np.empty(len(points), dtype=np.int64))


@kernel
def derivative(centroids: Any, points: Any) -> Any:
    """Newton's direction: the gradient 2 Σ (c − p) over the diagonal 2 Σ 1 of the Hessian, sums over a cluster."""
    nearest = np.empty(len(points), dtype=np.int64)
    clusters(centroids, points, nearest)
    k, dimensions = centroids.shape
    gradient, diagonal = np.zeros((k, dimensions)), np.zeros(k)
    for i in range(len(points)):
        j = nearest[i]
        diagonal[j] += 2.0
        for c in range(dimensions):
            gradient[j, c] += 2.0 * (centroids[j, c] - points[i, c])
    for j in range(k):
        for c in range(dimensions):
            gradient[j, c] /= diagonal[j]
    return gradient
