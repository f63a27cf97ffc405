"""particle by hand: the path with the force written out, and with it the path's derivative with respect to the charge's
place; inside of the same gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from .descent import FIRST_RATE, FLAT, IN_A_ROW
from .kernel import kernel

__all__ = ["derivative", "primal"]

STEP = 0.1


@kernel
def miss(w: float) -> Any:
    """The square of where the path meets the axis."""
    x, y, vx, vy = 0.0, 8.0, 0.75, 0.0
    next_x, next_y = x + STEP * vx, y + STEP * vy
    while next_y >= 0.0:
        a, b, c = x - 10.0, y - 10.0 + w, y
        near, far = a * a + b * b, a * a + c * c
        s, t = 1.0 / (near * np.sqrt(near)), 1.0 / (far * np.sqrt(far))
        vx += STEP * (a * s + a * t)
        vy += STEP * (b * s + c * t)
        x, y = next_x, next_y
        next_x, next_y = x + STEP * vx, y + STEP * vy
    meets = x - y / vy * vx
    return meets * meets


@kernel
def slope(w: float) -> Any:
    """The derivative of `miss`: position and velocity with their tangents."""
    x, y, vx, vy = 0.0, 8.0, 0.75, 0.0
    dx, dy, dvx, dvy = 0.0, 0.0, 0.0, 0.0
    next_x, next_y = x + STEP * vx, y + STEP * vy
    while next_y >= 0.0:
        a, b, c = x - 10.0, y - 10.0 + w, y
        db = dy + 1.0
        near, far = a * a + b * b, a * a + c * c
        s, t = 1.0 / (near * np.sqrt(near)), 1.0 / (far * np.sqrt(far))
        ds, dt = -3.0 * s * (a * dx + b * db) / near, -3.0 * t * (a * dx + c * dy) / far
        vx += STEP * (a * s + a * t)
        vy += STEP * (b * s + c * t)
        dx_next, dy_next = dx + STEP * dvx, dy + STEP * dvy
        dvx += STEP * (dx * (s + t) + a * (ds + dt))
        dvy += STEP * (db * s + b * ds + dy * t + c * dt)
        x, y, dx, dy = next_x, next_y, dx_next, dy_next
        next_x, next_y = x + STEP * vx, y + STEP * vy
    ratio = y / vy
    meets = x - ratio * vx
    return 2.0 * meets * (dx - (dy - ratio * dvy) / vy * vx - ratio * dvx)


@kernel
def derivative(start: Any) -> Any:
    """The place of the charge."""
    w = start[0]
    value, by, rate, successes = miss(w), slope(w), FIRST_RATE, 0
    while abs(by) > FLAT:
        if successes == IN_A_ROW:
            rate *= 2.0
            successes = 0
        moved = w - rate * by
        if abs(moved - w) <= FLAT:
            break
        there = miss(moved)
        if there < value:
            w, value, by = moved, there, slope(moved)
            successes += 1
        else:
            rate *= 0.5
            successes = 0
    return w


primal = derivative
"""The program's derivatives are inside of it."""
