"""ht by hand: the derivatives of the bones' matrices, turned as the hand is, are few; a block of vertices at a time
meets those that are not zero: an angle moves the bones from its own to the finger's tip.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

FINGERS, JOINTS, WRIST = 5, 3, 1
TURN, MOVE, THETA = 3, 6, 26
ANGLES = THETA - MOVE
BLOCK = 64


@kernel
def angle_of_bones(bones: int) -> Any:
    """Of each bone: which angles its flexion and its spread are, −1 for none."""
    used = 0
    which = np.full((bones, 2), -1)
    for finger in range(FINGERS):
        for joint in range(JOINTS):
            bone = WRIST + 1 + finger * (JOINTS + 1) + joint
            which[bone, 0] = used
            used += 1
            if joint == 0:
                which[bone, 1] = used
                used += 1
    return which


@kernel
def product(a: Any, b: Any) -> Any:
    """The product of 4 × 4 matrices, or of the first rows of one with another."""
    out = np.empty((len(a), 4))
    for i in range(len(a)):
        for j in range(4):
            out[i, j] = (a[i, 0] * b[0, j] + a[i, 1] * b[1, j]) + (a[i, 2] * b[2, j] + a[i, 3] * b[3, j])
    return out


@kernel
def bend(c: float, s: float, k: float, t: float, last: float) -> Any:
    """The matrix of a joint, of the cosines and sines of flexion and spread."""
    out = np.zeros((4, 4))
    out[0, 0], out[0, 1], out[0, 2] = k, -t * c, t * s
    out[1, 0], out[1, 1], out[1, 2] = t, k * c, -k * s
    out[2, 1], out[2, 2], out[3, 3] = s, c, last
    return out


@kernel
def turn(rotation: Any) -> Any:
    """The rotation matrix and its three derivatives."""
    x, y, z = rotation
    out = np.zeros((4, 3, 3))
    square = x * x + y * y + z * z
    angle = np.sqrt(square)
    if angle < 1e-4:
        out[0] = np.eye(3)
        return out
    cosine, first, second = np.cos(angle), np.sin(angle) / angle, (1.0 - np.cos(angle)) / square
    of_cross, of_outer = (cosine - first) / square, (first - 2.0 * second) / square
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    for i in range(3):
        for j in range(3):
            outer, one = rotation[i] * rotation[j], 1.0 if i == j else 0.0
            out[0, i, j] = cosine * one + first * cross[i, j] + second * outer
            for k in range(3):
                by = rotation[k] * (of_cross * cross[i, j] + of_outer * outer - first * one)
                if k == i:
                    by += second * rotation[j]
                if k == j:
                    by += second * rotation[i]
                out[1 + k, i, j] = by
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        out[1 + k, j, i] += first
        out[1 + k, i, j] -= first
    return out


@kernel
def mirror(matrix: Any, mirrored: bool) -> Any:
    """The first three rows, the first one negative if mirrored."""
    out = matrix[:3].copy()
    if mirrored:
        out[0] = -out[0]
    return out


@kernel
def bones_of(theta: Any, parents: Any, relatives: Any, inverses: Any, mirrored: bool, derivatives: bool) -> Any:
    """Of each bone the matrix of its points, its derivatives with respect to the angles, and which are not zero."""
    bones = len(parents)
    which = angle_of_bones(bones)
    count = bones if derivatives else 0
    absolute, matrices = np.empty((bones, 4, 4)), np.empty((bones, 3, 4))
    absolute_by, matrices_by = np.empty((count, ANGLES, 4, 4)), np.empty((count, ANGLES, 3, 4))
    moved = np.zeros((count, ANGLES), dtype=np.bool_)
    for b in range(bones):
        flexion = theta[MOVE + which[b, 0]] if which[b, 0] >= 0 else 0.0
        spread = theta[MOVE + which[b, 1]] if which[b, 1] >= 0 else 0.0
        c, s, k, t = np.cos(flexion), np.sin(flexion), np.cos(spread), np.sin(spread)
        own, parent = product(relatives[b], bend(c, s, k, t, 1.0)), parents[b]
        absolute[b] = product(absolute[parent], own) if parent >= 0 else own
        matrices[b] = mirror(product(absolute[b], inverses[b]), mirrored)
        for p in range(ANGLES if derivatives else 0):
            if parent >= 0 and moved[parent, p]:
                absolute_by[b, p] = product(absolute_by[parent, p], own)
            elif p == which[b, 0] or p == which[b, 1]:
                if p == which[b, 0]:
                    by = bend(-s, c, k, t, 0.0)
                    by[0, 0] = by[1, 0] = 0.0
                else:
                    by = bend(c, s, -t, k, 0.0)
                    by[2, 1] = by[2, 2] = 0.0
                by = product(relatives[b], by)
                absolute_by[b, p] = product(absolute[parent], by) if parent >= 0 else by
            else:
                continue
            moved[b, p] = True
            matrices_by[b, p] = mirror(product(absolute_by[b, p], inverses[b]), mirrored)
    return matrices, matrices_by, moved


@kernel
def weighted(weights: Any, base: Any, start: int, bone: int, out: Any) -> None:
    """The points of a block of vertices times the weights of a bone, coordinates by rows."""
    count = min(BLOCK, len(base) - start)
    for v in range(count):
        w = weights[start + v, bone]
        for j in range(4):
            out[j, v] = w * base[start + v, j]


@kernel
def add_row(m: Any, x: Any, y: Any, z: Any, one: Any, out: Any) -> None:
    """out += a row of a matrix times points."""
    a, b, c, d = m[0], m[1], m[2], m[3]
    for v in range(len(out)):
        out[v] += (a * x[v] + b * y[v]) + (c * z[v] + d * one[v])


@kernel
def rotate(rotation: Any, x: Any, y: Any, z: Any, offset: float, out: Any) -> None:
    """out = a row of a rotation matrix times points, plus an offset."""
    a, b, c = rotation[0], rotation[1], rotation[2]
    for v in range(len(out)):
        out[v] = a * x[v] + b * y[v] + c * z[v] + offset


@kernel
def vertices(theta: Any, parents: Any, relatives: Any, inverses: Any, base: Any, weights: Any, mirrored: bool) -> Any:
    """The vertices of the hand."""
    matrices, _, _ = bones_of(theta, parents, relatives, inverses, mirrored, False)
    rotation = turn(theta[:TURN])[0]
    out, points = np.empty((len(base), 3)), np.empty((4, BLOCK))
    x, y, turned = points[0], points[1], np.empty((3, BLOCK))
    points[:] = 0.0
    for start in range(0, len(base), BLOCK):
        sums = np.zeros((3, BLOCK))
        for b in range(len(parents)):
            weighted(weights, base, start, b, points)
            for r in range(3):
                add_row(matrices[b, r], x, y, points[2], points[3], sums[r])
        for r in range(3):
            rotate(rotation[r], sums[0], sums[1], sums[2], theta[TURN + r], turned[r])
        for v in range(min(BLOCK, len(base) - start)):
            for r in range(3):
                out[start + v, r] = turned[r, v]
    return out


@kernel
def vertices_by_theta(
    theta: Any, parents: Any, relatives: Any, inverses: Any, base: Any, weights: Any, mirrored: bool
) -> Any:
    """The vertices of the hand, a row each, and their derivatives: vertices × 3 × theta."""
    matrices, matrices_by, moved = bones_of(theta, parents, relatives, inverses, mirrored, True)
    rotations = turn(theta[:TURN])
    for b in range(len(parents)):  # the derivatives' matrices with the rotation of the hand
        for p in range(ANGLES):
            if moved[b, p]:
                by = matrices_by[b, p].copy()
                for r in range(3):
                    for j in range(4):
                        total = 0.0
                        for i in range(3):
                            total += rotations[0, r, i] * by[i, j]
                        matrices_by[b, p, r, j] = total
    out, result = np.empty((len(base), 3)), np.empty((len(base), 3, THETA))
    points, turned, by_theta = np.zeros((4, BLOCK)), np.empty((3, BLOCK)), np.zeros((3, THETA, BLOCK))
    for r in range(3):
        by_theta[r, TURN + r] = 1.0
    x, y, z, one = points[0], points[1], points[2], points[3]
    for start in range(0, len(base), BLOCK):
        sums = np.zeros((3, BLOCK))
        by_theta[:, MOVE:] = 0.0
        for b in range(len(parents)):
            weighted(weights, base, start, b, points)
            for r in range(3):
                add_row(matrices[b, r], x, y, z, one, sums[r])
                for p in range(ANGLES):
                    if moved[b, p]:
                        add_row(matrices_by[b, p, r], x, y, z, one, by_theta[r, MOVE + p])
        for r in range(3):
            rotate(rotations[0, r], sums[0], sums[1], sums[2], theta[TURN + r], turned[r])
            for k in range(TURN):
                rotate(rotations[1 + k, r], sums[0], sums[1], sums[2], 0.0, by_theta[r, k])
        for v in range(min(BLOCK, len(base) - start)):
            for r in range(3):
                out[start + v, r] = turned[r, v]
                row = result[start + v, r]
                for p in range(THETA):
                    row[p] = by_theta[r, p, v]
    return out, result


@kernel
def differences_of_vertices(mesh: Any, corresponding: Any, points: Any) -> Any:
    """points − corresponding vertices."""
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        for r in range(3):
            out[i, r] = points[i, r] - mesh[corresponding[i], r]
    return out


@kernel
def differences_of_triangles(mesh: Any, us: Any, corners: Any, points: Any) -> Any:
    """points − points of triangles."""
    out = np.empty((len(points), 3))
    for i in range(len(points)):
        u, v = us[i, 0], us[i, 1]
        for r in range(3):
            on = u * mesh[corners[i, 0], r] + v * mesh[corners[i, 1], r] + (1.0 - u - v) * mesh[corners[i, 2], r]
            out[i, r] = points[i, r] - on
    return out


@kernel
def rows_of_vertices(by_theta: Any, corresponding: Any) -> Any:
    """The Jacobian on vertices."""
    out = np.empty((3 * len(corresponding), THETA))
    for i in range(len(corresponding)):
        for r in range(3):
            row, source = out[3 * i + r], by_theta[corresponding[i], r]
            for p in range(THETA):
                row[p] = -source[p]
    return out


@kernel
def combine(u: float, v: float, w: float, a: Any, b: Any, c: Any, out: Any) -> None:
    """out = −(u a + v b + w c)."""
    for p in range(len(out)):
        out[p] = -(u * a[p] + v * b[p] + w * c[p])


@kernel
def rows_of_triangles(mesh: Any, by_theta: Any, us: Any, corners: Any) -> Any:
    """The Jacobian on triangles."""
    out = np.empty((3 * len(corners), 2 + THETA))
    for i in range(len(corners)):
        a, b, c, u, v = corners[i, 0], corners[i, 1], corners[i, 2], us[i, 0], us[i, 1]
        for r in range(3):
            row = out[3 * i + r]
            row[0] = mesh[c, r] - mesh[a, r]
            row[1] = mesh[c, r] - mesh[b, r]
            combine(u, v, 1.0 - u - v, by_theta[a, r], by_theta[b, r], by_theta[c, r], row[2:])
    return out


def primal(theta: Any, us: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The errors, on vertices or on triangles."""
    mesh = vertices(theta, *hand)
    if len(us):
        return differences_of_triangles(mesh, us, corresponding, points)
    return differences_of_vertices(mesh, corresponding, points)


def derivative(theta: Any, us: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The Jacobian, on vertices or on triangles."""
    mesh, by_theta = vertices_by_theta(theta, *hand)
    if len(us):
        return rows_of_triangles(mesh, by_theta, us, corresponding)
    return rows_of_vertices(by_theta, corresponding)
