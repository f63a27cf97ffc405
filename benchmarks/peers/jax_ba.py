"""ba in JAX: the blocks of all observations at once, in forward mode or reverse mode of one observation's errors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]

CAMERA, POINT = 11, 3


def rotated(rotation: Any, d: Any) -> Any:
    """A vector turned by Rodrigues' formula; to first order where the angle is zero."""
    square = rotation @ rotation
    zero = square == 0.0
    angle = jnp.sqrt(jnp.where(zero, 1.0, square))
    axis = rotation / angle
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    turned = cosine * d + sine * jnp.cross(axis, d) + (1.0 - cosine) * (axis @ d) * axis
    return jnp.where(zero, d + jnp.cross(rotation, d), turned)


def image_errors(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    """The errors of an observation."""
    x = rotated(camera[:3], point - camera[3:6])
    flat = x[:2] / x[2]
    square = flat @ flat
    seen = camera[6] * (1.0 + camera[9] * square + camera[10] * square * square) * flat + camera[7:9]
    return weight * (seen - feature)


def objective(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The errors of all observations."""
    errors = jax.vmap(image_errors)(cameras[seen_by], points[seen], weights, features)
    return jnp.concatenate((errors, (1.0 - weights * weights)[:, None]), axis=1)


def jacobian(cameras: Any, points: Any, weights: Any, features: Any, seen_by: Any, seen: Any) -> Any:
    """The Jacobian in compressed rows."""
    n, m, p = len(cameras), len(points), len(weights)
    block = jax.vmap(jax.jacrev(image_errors, argnums=(0, 1, 2)))
    by_camera, by_point, by_weight = block(cameras[seen_by], points[seen], weights, features)
    rows = jnp.concatenate((by_camera, by_point, by_weight[:, :, None]), axis=2)
    values = jnp.concatenate((rows.ravel(), -2.0 * weights))
    own = CAMERA * n + POINT * m + jnp.arange(p)
    of_camera = CAMERA * seen_by[:, None] + jnp.arange(CAMERA)
    of_point = CAMERA * n + POINT * seen[:, None] + jnp.arange(POINT)
    columns = jnp.concatenate((of_camera, of_point, own[:, None]), axis=1)
    width = CAMERA + POINT + 1
    of_rows = jnp.broadcast_to(columns[:, None], (p, 2, width))
    starts = jnp.concatenate((width * jnp.arange(2 * p), 2 * width * p + jnp.arange(p + 1)))
    return starts, jnp.concatenate((of_rows.ravel(), own)), values


primal = compiled(objective)
derivative = compiled(jacobian)
