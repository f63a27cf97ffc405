"""ht in JAX: forward mode, since there are few angles; barycentric coordinates by two tangents."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .jax_common import compiled

__all__ = ["derivative", "primal"]

FINGERS, JOINTS, WRIST = 5, 3, 1


def turn(rotation: Any) -> Any:
    """The rotation matrix of an axis times an angle; the identity for tiny angles."""
    square = rotation @ rotation
    tiny = square < 1e-8
    angle = jnp.sqrt(jnp.where(tiny, 1.0, square))
    x, y, z = rotation / angle
    cross = jnp.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return jnp.where(tiny, jnp.eye(3), jnp.eye(3) + jnp.sin(angle) * cross + (1.0 - jnp.cos(angle)) * (cross @ cross))


def bends(theta: Any, bones: int) -> Any:
    """The matrices of the joints."""
    flexion, spread = np.full(bones, -1), np.full(bones, -1)
    first = WRIST + 1 + (JOINTS + 1) * np.arange(FINGERS)
    used = 6 + (JOINTS + 1) * np.arange(FINGERS)
    spread[first] = used + 1
    for joint in range(JOINTS):
        flexion[first + joint] = used + (joint + 1 if joint else 0)
    a = jnp.where(flexion < 0, 0.0, theta[flexion])
    b = jnp.where(spread < 0, 0.0, theta[spread])
    c, s, k, t, zero, one = jnp.cos(a), jnp.sin(a), jnp.cos(b), jnp.sin(b), jnp.zeros(bones), jnp.ones(bones)
    rows = [[k, -t * c, t * s, zero], [t, k * c, -k * s, zero], [zero, s, c, zero], [zero, zero, zero, one]]
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def vertices(theta: Any, parents: tuple[int, ...], hand: Any) -> Any:
    """The vertices of the hand."""
    relatives, inverses, base, weights, sign = hand
    own = relatives @ bends(theta, len(parents))
    absolute: list[Any] = []
    for b, parent in enumerate(parents):
        absolute.append(own[b] if parent < 0 else absolute[parent] @ own[b])
    moved = jnp.einsum("bij,nj->bni", (jnp.stack(absolute) @ inverses)[:, :3], base)
    positions = jnp.einsum("nb,bni->ni", weights, moved) * jnp.stack((sign, jnp.ones(()), jnp.ones(())))
    return positions @ turn(theta[:3]).T + theta[3:6]


def errors(theta: Any, us: Any, parents: tuple[int, ...], hand: Any, corresponding: Any, points: Any) -> Any:
    """The errors, on vertices or on triangles."""
    mesh = vertices(theta, parents, hand)
    if not len(us):
        return points - mesh[corresponding]
    u, v = us[:, :1], us[:, 1:]
    corners = mesh[corresponding]
    return points - (u * corners[:, 0] + v * corners[:, 1] + (1.0 - u - v) * corners[:, 2])


def jacobian(theta: Any, us: Any, parents: tuple[int, ...], hand: Any, corresponding: Any, points: Any) -> Any:
    """The Jacobian, a row for each coordinate; own barycentric coordinates first."""
    rows = jax.jacfwd(errors)(theta, us, parents, hand, corresponding, points)
    if len(us):

        def of_us(at: Any) -> Any:
            return errors(theta, at, parents, hand, corresponding, points)

        tangents = jnp.zeros((2, *us.shape)).at[0, :, 0].set(1.0).at[1, :, 1].set(1.0)
        own = jax.vmap(lambda tangent: jax.jvp(of_us, (us,), (tangent,))[1])(tangents)
        rows = jnp.concatenate((jnp.moveaxis(own, 0, 2), rows), axis=2)
    return rows.reshape(3 * len(points), -1)


compiled_errors, compiled_jacobian = compiled(errors, (2,)), compiled(jacobian, (2,))


def converted(hand: Any) -> tuple[tuple[int, ...], Any]:
    """The skeleton as a constant, the rest as JAX's arrays."""
    parents, *arrays, mirrored = hand
    return tuple(int(p) for p in parents), (*arrays, jnp.asarray(-1.0 if mirrored else 1.0))


def primal(theta: Any, us: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The errors."""
    return compiled_errors(theta, us, *converted(hand), corresponding, points)


def derivative(theta: Any, us: Any, hand: Any, corresponding: Any, points: Any) -> Any:
    """The Jacobian."""
    return compiled_jacobian(theta, us, *converted(hand), corresponding, points)
