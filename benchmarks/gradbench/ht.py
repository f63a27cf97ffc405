"""ht: hand tracking, the distances between observed points and those of a hand in a pose; and their Jacobian.

The hand is a mesh whose vertices follow the bones of a skeleton, each by its own weight. A pose is 26 numbers: the
hand's rotation (an axis times an angle) and translation, and for each of five fingers two angles of the first joint and
one of the two that follow. A point corresponds to a vertex or, where barycentric coordinates are given (two for each
point, differentiated as well), to a point of a triangle.

The Jacobian is asked for in parts, as one would for speed. Bones have few derivatives: with respect to the rotation,
and to the four angles of the one finger that a bone belongs to; those of all fingers are found together, as derivatives
with respect to a change that all fingers have in common. They are pushed on to a vertex by the bones that it follows,
and from the corners of a triangle to a point.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import jacfwd, jit, jvp, vmap
from .function import Function, floats

__all__ = ["FUNCTIONS", "on_triangles", "on_vertices"]

FINGERS, JOINTS, ANGLES = 5, 3, 4
WRIST = 1
MOVE, BEND = 3, 6
"""Where the translation and the angles begin."""
THETA = BEND + FINGERS * ANGLES


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


def product(a: Any, b: Any) -> Any:
    """The first three rows of the product of two 4 × 4 matrices, of which the fourth rows are (0, 0, 0, 1)."""
    out = np.empty((3, 4))
    for i in range(3):
        for j in range(4):
            out[i, j] = (a[i, 0] * b[0, j] + a[i, 1] * b[1, j]) + (a[i, 2] * b[2, j] + a[i, 3] * b[3, j])
    return out


def joint_of(bone: Any) -> tuple[Any, Any]:
    """The finger and the number of the joint that a bone bends in. Wrist and finger tips do not bend: the finger is
    negative, or the number too large."""
    return (bone - WRIST - 1) // (JOINTS + 1), (bone - WRIST - 1) % (JOINTS + 1)


def matrices(rotation: Any, angles: Any, hand: Any) -> Any:
    """For each bone the first three rows of the matrix that its points move by: bones × 3 × 4."""
    parents, relatives, inverses, _, _, mirrored = hand
    bones = len(parents)
    start = np.zeros((3, 4))
    start[:, :3] = turn(rotation)
    if mirrored:
        start[:, 0] = -start[:, 0]
    absolute, out = np.empty((bones, 3, 4)), np.empty((bones, 3, 4))
    for b in range(bones):
        finger, joint = joint_of(b)
        flexion, spread = 0.0, 0.0
        if finger >= 0 and joint == 0:
            flexion, spread = angles[finger, 0], angles[finger, 1]
        elif finger >= 0 and joint < JOINTS:
            flexion = angles[finger, joint + 1]
        above = start if parents[b] < 0 else absolute[parents[b]]
        absolute[b] = product(product(above, relatives[b]), bend(flexion, spread))
        out[b] = product(absolute[b], inverses[b])
    return out


def weighted(weight: Any, point: Any) -> Any:
    """A point, in homogeneous coordinates, times its weight."""
    return np.array([weight * point[0], weight * point[1], weight * point[2], weight * point[3]])


def moved(matrix: Any, point: Any) -> Any:
    """A point as a bone moves it."""
    m, p, out = matrix, point, np.empty(3)
    for i in range(3):
        out[i] = (m[i, 0] * p[0] + m[i, 1] * p[1]) + (m[i, 2] * p[2] + m[i, 3] * p[3])
    return out


def pose(theta: Any) -> tuple[Any, Any]:
    """The rotation, and the angles of each finger."""
    return np.array([theta[0], theta[1], theta[2]]), theta[BEND:].reshape(FINGERS, ANGLES)


def vertices(theta: Any, hand: Any) -> Any:
    """The vertices of the hand in a pose."""
    base, weights = hand[3], hand[4]
    placed = matrices(*pose(theta), hand)
    out = np.empty((len(base), 3))
    for v in range(len(base)):
        at = np.array([theta[MOVE], theta[MOVE + 1], theta[MOVE + 2]])
        for b in range(len(placed)):
            if weights[v, b] != 0.0:
                at += moved(placed[b], weighted(weights[v, b], base[v]))
        out[v] = at
    return out


def on_vertices(theta: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """points − corresponding vertices."""
    return points - vertices(theta, hand)[corresponding]


def on_triangles(theta: Any, us: Any, hand: Any, corners: Any, points: Any) -> Any:
    """points − points of the triangles with the given corners."""
    mesh = vertices(theta, hand)
    u, v = us[:, 0][:, None], us[:, 1][:, None]
    return off_triangle(u, v, mesh[corners[:, 0]], mesh[corners[:, 1]], mesh[corners[:, 2]], points)


def off_triangle(u: Any, v: Any, a: Any, b: Any, c: Any, point: Any) -> Any:
    """point − the point of the triangle a, b, c."""
    return point - (u * a + v * b + (1.0 - u - v) * c)


# ---------------------------------------------------------------- derivatives


def moved_along(matrix: Any, point: Any, by: Any) -> Any:
    """The derivatives of `moved`, of those of the matrix: 3 × 4 × any number → 3 × that number."""
    return vmap(lambda dm: jvp(lambda m: moved(m, point), (matrix,), (dm,))[1], -1, -1)(by)


def off_along(point: Any, vertex: Any, by: Any) -> Any:
    """The derivatives of point − vertex, of those of the vertex: 3 × any number."""
    return vmap(lambda d: jvp(lambda at: point - at, (vertex,), (d,))[1], -1, -1)(by)


def off_triangle_along(u: Any, v: Any, corners: Any, point: Any, by: Any) -> Any:
    """The derivatives of `off_triangle`, of those of the corners: 3 × any number each."""

    def along(a: Any, b: Any, c: Any) -> Any:
        return jvp(lambda at: off_triangle(u, v, at[0], at[1], at[2], point), (corners,), ((a, b, c),))[1]

    return vmap(along, -1, -1)(*by)


def fingers_of(parents: Any) -> Any:
    """For each bone the finger whose angles move it, −1 for none."""
    out = np.full(len(parents), -1)
    for b in range(len(parents)):
        finger, joint = joint_of(b)
        above = out[parents[b]] if parents[b] >= 0 else -1
        out[b] = above
        if finger >= 0 and joint < JOINTS:
            if above >= 0 and above != finger:
                raise ValueError("a finger grows on another finger")
            out[b] = finger
    return out


def vertices_by_theta(theta: Any, hand: Any) -> tuple[Any, Any]:
    """The vertices, and their derivatives: vertices × 3 × theta."""
    parents, _, _, base, weights, _ = hand
    rotation, angles = pose(theta)

    def changed(turned: Any, change: Any) -> Any:
        out = matrices(turned, angles + change, hand)
        return out, out

    (by_rotation, by_angles), placed = jacfwd(changed, (0, 1), True)(rotation, np.array([0.0, 0.0, 0.0, 0.0]))
    fingers = fingers_of(parents)
    out, by_theta = np.empty((len(base), 3)), np.empty((len(base), 3, THETA))
    row = np.empty((3, THETA))
    for v in range(len(base)):
        at = np.array([theta[MOVE], theta[MOVE + 1], theta[MOVE + 2]])
        row[:] = 0.0
        for i in range(3):
            row[i, MOVE + i] = 1.0
        for b in range(len(parents)):
            if weights[v, b] != 0.0:
                point = weighted(weights[v, b], base[v])
                at += moved(placed[b], point)
                row[:, :MOVE] += moved_along(placed[b], point, by_rotation[b])
                if fingers[b] >= 0:
                    first = BEND + ANGLES * fingers[b]
                    row[:, first : first + ANGLES] += moved_along(placed[b], point, by_angles[b])
        out[v] = at
        by_theta[v] = row
    return out, by_theta


def jacobian_on_vertices(theta: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The derivatives of all coordinates of `on_vertices`, a row each, with respect to theta."""
    mesh, by_theta = vertices_by_theta(theta, hand)
    rows = np.empty((len(points), 3, THETA))
    for i in range(len(points)):
        k = corresponding[i]
        rows[i] = off_along(points[i], mesh[k], by_theta[k])
    return rows.reshape(3 * len(points), THETA)


def jacobian_on_triangles(theta: Any, us: Any, hand: Any, corners: Any, points: Any) -> Any:
    """The derivatives of all coordinates of `on_triangles`, a row each, with respect to its point's own two barycentric
    coordinates and theta."""
    mesh, by_theta = vertices_by_theta(theta, hand)
    rows = np.empty((len(points), 3, 2 + THETA))
    for i in range(len(points)):
        u, v, point = us[i, 0], us[i, 1], points[i]
        a, b, c = corners[i, 0], corners[i, 1], corners[i, 2]
        at = (mesh[a], mesh[b], mesh[c])
        rows[i, :, 0], rows[i, :, 1] = jacfwd(off_triangle, (0, 1))(u, v, *at, point)
        rows[i, :, 2:] = off_triangle_along(u, v, at, point, (by_theta[a], by_theta[b], by_theta[c]))
    return rows.reshape(3 * len(points), 2 + THETA)


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
