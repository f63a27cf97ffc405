"""ba by hand: the Jacobian's two rows of an observation from closed formulas, written where they belong.

With r the axis times the angle θ, d the point relative to the camera's centre, A = sin θ / θ and B = (1 − cos θ) / θ²,
the point turned is cos θ d + A r × d + B (r · d) r; its derivative with respect to r_k is r_k T + A e_k × d +
B ((r · d) e_k + d_k r) with T = −A d + (cos θ − A) / θ² r × d + (A − 2 B) / θ² (r · d) r.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

CAMERA, POINT = 11, 3
WIDTH = CAMERA + POINT + 1


@kernel
def coefficients(a: float, b: float, c: float) -> tuple[float, float, float, float, float]:
    """cos θ, A, B, (cos θ − A) / θ², (A − 2 B) / θ²; to first order where the angle is zero."""
    square = a * a + b * b + c * c
    if square == 0.0:
        return 1.0, 1.0, 0.0, 0.0, 0.0
    angle = np.sqrt(square)
    cosine, inverse = np.cos(angle), 1.0 / square
    first, second = np.sin(angle) / angle, (1.0 - cosine) * inverse
    return cosine, first, second, (cosine - first) * inverse, (first - 2.0 * second) * inverse


@kernel
def primal(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The errors of all observations."""
    errors = np.empty((len(weights), 3))
    for i in range(len(weights)):
        camera, point, w = cameras[seen_by[i]], points[seen[i]], weights[i]
        a, b, c = camera[0], camera[1], camera[2]
        x, y, z = point[0] - camera[3], point[1] - camera[4], point[2] - camera[5]
        cosine, first, second, _, _ = coefficients(a, b, c)
        along = second * (a * x + b * y + c * z)
        p = cosine * x + first * (b * z - c * y) + along * a
        q = cosine * y + first * (c * x - a * z) + along * b
        depth = 1.0 / (cosine * z + first * (a * y - b * x) + along * c)
        u, v = p * depth, q * depth
        square = u * u + v * v
        scale = camera[6] * (1.0 + camera[9] * square + camera[10] * square * square)
        errors[i, 0] = w * (scale * u + camera[7] - features[i, 0])
        errors[i, 1] = w * (scale * v + camera[8] - features[i, 1])
        errors[i, 2] = 1.0 - w * w
    return errors


@kernel
def derivative(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The Jacobian in compressed rows: where rows start, columns, values."""
    n, m, p = len(cameras), len(points), len(weights)
    starts = np.empty(3 * p + 1, dtype=np.int64)
    columns = np.empty((2 * WIDTH + 1) * p, dtype=np.int64)
    values = np.empty((2 * WIDTH + 1) * p)
    for i in range(p):
        observation(
            cameras[seen_by[i]], points[seen[i]], weights[i], features[i],
            values[2 * WIDTH * i : 2 * WIDTH * i + WIDTH], values[2 * WIDTH * i + WIDTH : 2 * WIDTH * (i + 1)],
        )  # fmt: skip
        of_camera, of_point, of_weight = CAMERA * seen_by[i], CAMERA * n + POINT * seen[i], CAMERA * n + POINT * m + i
        for side in range(2):
            start = (2 * i + side) * WIDTH
            row = columns[start : start + WIDTH]
            starts[2 * i + side] = start
            for j in range(CAMERA):
                row[j] = of_camera + j
            for j in range(POINT):
                row[CAMERA + j] = of_point + j
            row[WIDTH - 1] = of_weight
        own = 2 * p * WIDTH + i
        starts[2 * p + i] = own
        values[own] = -2.0 * weights[i]
        columns[own] = of_weight
    starts[3 * p] = len(values)
    return starts, columns, values


@kernel
def observation(camera: Any, point: Any, w: float, feature: Any, first_row: Any, second_row: Any) -> None:
    """The two rows of an observation."""
    a, b, c = camera[0], camera[1], camera[2]
    x, y, z = point[0] - camera[3], point[1] - camera[4], point[2] - camera[5]
    cosine, first, second, of_cross, of_along = coefficients(a, b, c)
    cross_x, cross_y, cross_z = b * z - c * y, c * x - a * z, a * y - b * x
    dot = a * x + b * y + c * z
    along = second * dot
    turned_x = cosine * x + first * cross_x + along * a
    turned_y = cosine * y + first * cross_y + along * b
    turned_z = cosine * z + first * cross_z + along * c
    t_x = of_cross * cross_x + of_along * dot * a - first * x
    t_y = of_cross * cross_y + of_along * dot * b - first * y
    t_z = of_cross * cross_z + of_along * dot * c - first * z
    depth = 1.0 / turned_z
    u, v = turned_x * depth, turned_y * depth
    square = u * u + v * v
    focal, k1, k2 = camera[6], camera[9], camera[10]
    distortion = 1.0 + k1 * square + k2 * square * square
    scale, slope = focal * distortion, 2.0 * focal * (k1 + 2.0 * k2 * square)
    for side in range(2):
        row = first_row if side == 0 else second_row
        at = u if side == 0 else v
        # by u and v, then by the turned point
        by_u, by_v = w * (at * slope * u), w * (at * slope * v)
        if side == 0:
            by_u += w * scale
        else:
            by_v += w * scale
        g_x, g_y = by_u * depth, by_v * depth
        g_z = -(g_x * u + g_y * v)
        g_dot, g_t = g_x * a + g_y * b + g_z * c, g_x * t_x + g_y * t_y + g_z * t_z
        part = second * g_dot
        row[0] = a * g_t + first * (y * g_z - z * g_y) + along * g_x + part * x
        row[1] = b * g_t + first * (z * g_x - x * g_z) + along * g_y + part * y
        row[2] = c * g_t + first * (x * g_y - y * g_x) + along * g_z + part * z
        p_x = cosine * g_x + first * (g_y * c - g_z * b) + part * a
        p_y = cosine * g_y + first * (g_z * a - g_x * c) + part * b
        p_z = cosine * g_z + first * (g_x * b - g_y * a) + part * c
        row[3], row[4], row[5] = -p_x, -p_y, -p_z
        row[6] = w * distortion * at
        row[7], row[8] = (w, 0.0) if side == 0 else (0.0, w)
        row[9] = w * focal * square * at
        row[10] = w * focal * square * square * at
        row[11], row[12], row[13] = p_x, p_y, p_z
        row[14] = scale * at + camera[7 + side] - feature[side]
