"""ba: bundle adjustment, how far the images of points in cameras are from where they were observed, times weights; and
how far the weights are from one. The Jacobian is block-sparse: an observation depends on its camera, point and weight.

A camera is rotation (an axis times an angle), centre, focal length, principal point, two coefficients of radial
distortion. Columns of the Jacobian: 11 for each camera, 3 for each point, one for each weight. Rows: two for each
observation, then one for each weight.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jacrev, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "image_errors", "jacobian", "objective", "projected"]

CAMERA, POINT = 11, 3


def rotated(camera: Any, x: Any, y: Any, z: Any) -> Any:
    """A point turned as a camera is, by Rodrigues' formula; to first order where the angle is zero."""
    a, b, c = camera[0], camera[1], camera[2]
    square = a * a + b * b + c * c
    if square == 0.0:
        return x + b * z - c * y, y + c * x - a * z, z + a * y - b * x
    angle = np.sqrt(square)
    a, b, c = a / angle, b / angle, c / angle
    cosine, sine = np.cos(angle), np.sin(angle)
    along = (1.0 - cosine) * (a * x + b * y + c * z)
    return (
        cosine * x + sine * (b * z - c * y) + a * along,
        cosine * y + sine * (c * x - a * z) + b * along,
        cosine * z + sine * (a * y - b * x) + c * along,
    )


def projected(camera: Any, point: Any) -> Any:
    """Where a camera sees a point."""
    x, y, z = rotated(camera, point[0] - camera[3], point[1] - camera[4], point[2] - camera[5])
    u, v = x / z, y / z
    square = u * u + v * v
    scale = camera[6] * (1.0 + camera[9] * square + camera[10] * square * square)
    return scale * u + camera[7], scale * v + camera[8]


def image_errors(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    """How far a camera's image of a point is from where it was observed, times the weight."""
    u, v = projected(camera, point)
    return weight * (u - feature[0]), weight * (v - feature[1])


def weight_error(weight: Any) -> Any:
    """How far the square of a weight is from one."""
    return 1.0 - weight * weight


def objective(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The errors of observations of the points `seen` by the cameras `seen_by`: two of the image, one of the weight."""
    errors = np.empty((len(weights), 3))
    for i in range(len(weights)):
        u, v = image_errors(cameras[seen_by[i]], points[seen[i]], weights[i], features[i])
        errors[i, 0] = u
        errors[i, 1] = v
        errors[i, 2] = weight_error(weights[i])
    return errors


def jacobian(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The Jacobian in compressed rows: where rows start, columns, values."""
    n, m, p = len(cameras), len(points), len(weights)
    width = CAMERA + POINT + 1
    starts = np.empty(3 * p + 1, dtype=np.int64)
    columns = np.empty((2 * width + 1) * p, dtype=np.int64)
    values = np.empty((2 * width + 1) * p)
    block = jacrev(image_errors, argnums=(0, 1, 2))
    for i in range(p):
        c, k = seen_by[i], seen[i]
        rows = block(cameras[c], points[k], weights[i], features[i])
        for side in range(2):
            by_camera, by_point, by_weight = rows[side]
            start = (2 * i + side) * width
            starts[2 * i + side] = start
            for j in range(CAMERA):
                values[start + j] = by_camera[j]
                columns[start + j] = CAMERA * c + j
            for j in range(POINT):
                values[start + CAMERA + j] = by_point[j]
                columns[start + CAMERA + j] = CAMERA * n + POINT * k + j
            values[start + width - 1] = by_weight
            columns[start + width - 1] = CAMERA * n + POINT * m + i
        own = 2 * p * width + i
        starts[2 * p + i] = own
        values[own] = grad(weight_error)(weights[i])
        columns[own] = CAMERA * n + POINT * m + i
    starts[3 * p] = len(values)
    return starts, columns, values


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `objective`: n cameras, m points and p observations, all alike."""
    n, m, p = int(given["n"]), int(given["m"]), int(given["p"])
    cameras, points = np.tile(floats(given["cam"]), (n, 1)), np.tile(floats(given["x"]), (m, 1))
    order = np.arange(p)
    return cameras, points, np.full(p, float(given["w"])), np.tile(floats(given["feat"]), (p, 1)), order % n, order % m


def repeated(errors: Any) -> Any:
    """The errors of the first observation, and how often they are repeated."""
    p = len(errors)
    return {
        "reproj_error": {"elements": errors[0, :2].tolist(), "repeated": p},
        "w_err": {"element": float(errors[0, 2]), "repeated": p},
    }


def excerpt(result: Any) -> Any:
    """The first observation's block and the last entry of the Jacobian's three lists."""
    first = 2 * (CAMERA + POINT + 1)
    return {
        name: [*part[:first].tolist(), part[-1].item()]
        for name, part in zip(("rows", "cols", "vals"), result, strict=True)
    }


FUNCTIONS = {
    "objective": Function(prepare, jit(objective), repeated),
    "jacobian": Function(prepare, jit(jacobian), excerpt),
}
