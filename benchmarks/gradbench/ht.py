"""ht: hand tracking, the distances between observed points and those of a hand in a pose; and their Jacobian.

The hand is a mesh whose vertices follow the bones of a skeleton, each by its own weight. A pose is 26 numbers: the
hand's rotation (an axis times an angle) and translation, and for each of five fingers two angles of the first joint and
one of the two that follow. A point corresponds to a vertex or, where barycentric coordinates are given (two for each
point, differentiated as well), to a point of a triangle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import jacfwd, jit, jvp
from .function import Function, floats

__all__ = ["FUNCTIONS", "on_triangles", "on_vertices"]

FINGERS, JOINTS = 5, 3
WRIST = 1


def turn(rotation: Any) -> Any:
    """The rotation matrix of an axis times an angle; the identity for tiny angles, as the eval defines it."""
    angle = np.sqrt(np.sum(rotation * rotation))
    if angle < 1e-4:
        return np.eye(3)
    x, y, z = rotation[0] / angle, rotation[1] / angle, rotation[2] / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)


def bend(flexion: Any, spread: Any) -> Any:
    """The 4 × 4 matrix of a joint: about the x axis by `flexion`, then about the z axis by `spread`."""
    c, s = np.cos(flexion), np.sin(flexion)
    k, t = np.cos(spread), np.sin(spread)
    return np.array([[k, -t * c, t * s, 0.0], [t, k * c, -k * s, 0.0], [0.0, s, c, 0.0], [0.0, 0.0, 0.0, 1.0]])


def angles(theta: Any, bones: int) -> Any:
    """Flexion and spread of each bone: wrist and finger tips do not bend."""
    bent = np.zeros((bones, 2))
    used = 6
    for finger in range(FINGERS):
        for joint in range(JOINTS):
            bone = WRIST + 1 + finger * (JOINTS + 1) + joint
            bent[bone, 0] = theta[used]
            used += 1
            if joint == 0:
                bent[bone, 1] = theta[used]
                used += 1
    return bent


def vertices(theta: Any, hand: Any) -> Any:
    """The vertices of the hand in a pose."""
    parents, relatives, inverses, base, weights, mirrored = hand
    bones = len(parents)
    bent = angles(theta, bones)
    absolute = np.empty((bones, 4, 4))
    positions = np.zeros((len(base), 3))
    for b in range(bones):
        own = relatives[b] @ bend(bent[b, 0], bent[b, 1])
        absolute[b] = own if parents[b] < 0 else absolute[parents[b]] @ own
        moved = base @ (absolute[b] @ inverses[b]).T
        positions += weights[:, b : b + 1] * moved[:, :3]
    if mirrored:
        positions[:, 0] = -positions[:, 0]
    return positions @ turn(theta[:3]).T + theta[3:6]


def on_vertices(theta: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """points − corresponding vertices."""
    return points - vertices(theta, hand)[corresponding]


def on_triangles(theta: Any, us: Any, hand: Any, corners: Any, points: Any) -> Any:
    """points − points of the triangles with the given corners."""
    return off_mesh(vertices(theta, hand), us, corners, points)


def off_mesh(mesh: Any, us: Any, corners: Any, points: Any) -> Any:
    """points − points of the triangles of a mesh."""
    u, v = us[:, 0][:, None], us[:, 1][:, None]
    return points - (u * mesh[corners[:, 0]] + v * mesh[corners[:, 1]] + (1.0 - u - v) * mesh[corners[:, 2]])


def jacobian_on_vertices(theta: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The derivatives of all coordinates of `on_vertices`, a row each, with respect to theta."""
    return jacfwd(on_vertices)(theta, hand, corresponding, points).reshape(3 * len(points), len(theta))


def jacobian_on_triangles(theta: Any, us: Any, hand: Any, corners: Any, points: Any) -> Any:
    """The derivatives of all coordinates of `on_triangles`, a row each, with respect to its point's own two barycentric
    coordinates and theta. No two points share barycentric coordinates, so that two tangents give all of the former."""
    mesh = vertices(theta, hand)

    def of_us(at: Any) -> Any:
        return off_mesh(mesh, at, corners, points)

    rows = np.empty((len(points), 3, 2 + len(theta)))
    for k in range(2):
        tangent = np.zeros_like(us)
        tangent[:, k] = 1.0
        rows[:, :, k] = jvp(of_us, (us,), (tangent,))[1]
    rows[:, :, 2:] = jacfwd(on_triangles)(theta, us, hand, corners, points)
    return rows.reshape(3 * len(points), 2 + len(theta))


def objective(theta: Any, us: Any, *given: Any) -> Any:
    """The errors, on vertices or on triangles."""
    if len(us):
        return value_on_triangles(theta, us, *given)
    return value_on_vertices(theta, *given)


def jacobian(theta: Any, us: Any, *given: Any) -> Any:
    """The Jacobian, on vertices or on triangles."""
    if len(us):
        return rows_on_triangles(theta, us, *given)
    return rows_on_vertices(theta, *given)


value_on_vertices, value_on_triangles = jit(on_vertices), jit(on_triangles)
rows_on_vertices, rows_on_triangles = jit(jacobian_on_vertices), jit(jacobian_on_triangles)


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `objective` and `jacobian`: theta, us, the hand, what corresponds to the points, the points."""
    data, us = given["data"], floats(given["us"])
    model = data["model"]
    parents, triangles = np.array(model["parents"]), np.array(model["triangles"])
    arrays = (floats(model[name]) for name in ("base_relatives", "inverse_base_absolutes", "base_positions", "weights"))
    hand = (parents, *arrays, bool(model["is_mirrored"]))
    corresponding = np.array(data["correspondences"])
    if len(us):
        corresponding = triangles[corresponding]
    return floats(given["theta"]), us, hand, corresponding, floats(data["points"])


FUNCTIONS = {
    "objective": Function(prepare, objective, lambda errors: errors.ravel().tolist()),
    "jacobian": Function(prepare, jacobian),
}
