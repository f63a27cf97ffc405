"""ode by hand: the four stages of a step together, block by block, from one row of the tape to the next.

The tape is the states alone; the reverse sweep recomputes the stages of a block while it is in the first cache.
Information travels to the right in the forward sweep and to the left in the reverse one, so blocks need of their
neighbour no more than one number of each stage.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

END = 2.0
BLOCK = 512


@kernel
def step(x: Any, y: Any, new: Any, h: float, k1: Any, k2: Any, k3: Any) -> None:
    """One step from y to `new`. Element 0 of k1, k2, k3 is what belongs to the element left of the block."""
    half, sixth = 0.5 * h, h / 6.0
    k1[0] = k2[0] = k3[0] = x[0]
    new[0] = y[0] + sixth * (x[0] + 2.0 * x[0] + 2.0 * x[0] + x[0])
    for start in range(1, len(x), BLOCK):
        count = min(BLOCK, len(x) - start)
        own, here, left, there = x[start:], y[start:], y[start - 1 :], new[start:]
        for i in range(count):
            k1[i + 1] = own[i] * left[i]
        for i in range(count):
            k2[i + 1] = own[i] * (left[i] + half * k1[i])
        for i in range(count):
            k3[i + 1] = own[i] * (left[i] + half * k2[i])
        for i in range(count):
            k4 = own[i] * (left[i] + h * k3[i])
            there[i] = here[i] + sixth * (k1[i + 1] + 2.0 * k2[i + 1] + 2.0 * k3[i + 1] + k4)
        k1[0], k2[0], k3[0] = k1[count], k2[count], k3[count]


@kernel
def primal(x: Any, steps: int) -> Any:
    """y at the end."""
    k1, k2, k3 = np.empty(BLOCK + 1), np.empty(BLOCK + 1), np.empty(BLOCK + 1)
    old, new = np.zeros(len(x)), np.empty(len(x))
    for _ in range(steps):
        step(x, old, new, END / steps, k1, k2, k3)
        old, new = new, old
    return old


HALO = 3


@kernel
def stage(x: Any, y: Any, first: int, last: int, weight: float, before: Any, k: Any) -> None:
    """k = x (y + weight · before), all but x of the left neighbour, from element `first` to `last`."""
    own, left = x[first:last], y[first - 1 : last - 1]
    for i in range(len(own)):
        k[i] = own[i] * (left[i] + weight * before[i])


@kernel
def products(x: Any, y: Any, first: int, last: int, k: Any) -> None:
    """k = x y, where y is of the left neighbour, from element `first` to `last`."""
    own, left = x[first:last], y[first - 1 : last - 1]
    for i in range(len(own)):
        k[i] = own[i] * left[i]


@kernel
def block_adjoint(
    x: Any, left: Any, y_adj: Any, x_adj: Any, h: float, k1: Any, k2: Any, k3: Any, v1: Any, v2: Any, v3: Any, v4: Any
) -> None:
    """A block's part of `step_adjoint`: k1, k2, k3 and `left` are of the left neighbours; v1, … have one more element,
    which is of the right neighbour."""
    half, sixth, third = 0.5 * h, h / 6.0, h / 3.0
    n = len(x)
    for i in range(n):
        k_adj = sixth * y_adj[i]
        v4[i] = k_adj * x[i]
        x_adj[i] += k_adj * (left[i] + h * k3[i])
    for i in range(n):
        k_adj = third * y_adj[i] + h * v4[i + 1]
        v3[i] = k_adj * x[i]
        x_adj[i] += k_adj * (left[i] + half * k2[i])
    for i in range(n):
        k_adj = third * y_adj[i] + half * v3[i + 1]
        v2[i] = k_adj * x[i]
        x_adj[i] += k_adj * (left[i] + half * k1[i])
    for i in range(n):
        k_adj = sixth * y_adj[i] + half * v2[i + 1]
        v1[i] = k_adj * x[i]
        x_adj[i] += k_adj * left[i]
    for i in range(n):
        y_adj[i] += v1[i + 1] + v2[i + 1] + v3[i + 1] + v4[i + 1]


@kernel
def step_adjoint(x: Any, y: Any, y_adj: Any, x_adj: Any, h: float, stages: Any, parts: Any) -> None:
    """The adjoint of a step from y: that of the new y, in y_adj, becomes that of y; adds to x_adj."""
    half = 0.5 * h
    k1, k2, k3 = stages[0], stages[1], stages[2]
    v1, v2, v3, v4 = parts[0], parts[1], parts[2], parts[3]
    n = len(x)
    blocks = (n - 1 + BLOCK - 1) // BLOCK
    v1[0] = v2[0] = v3[0] = v4[0] = 0.0
    for block in range(blocks - 1, -1, -1):
        start = 1 + block * BLOCK
        stop = min(start + BLOCK, n)
        count = stop - start
        v1[count], v2[count], v3[count], v4[count] = v1[0], v2[0], v3[0], v4[0]
        base = start - HALO - 1  # of this element are k1[0], k2[0], k3[0]
        if block == 0:
            k1[-base] = k2[-base] = k3[-base] = x[0]
        first = max(1, start - 3)
        products(x, y, first, stop - 1, k1[first - base :])
        first = max(1, start - 2)
        stage(x, y, first, stop - 1, half, k1[first - base - 1 :], k2[first - base :])
        first = max(1, start - 1)
        stage(x, y, first, stop - 1, half, k2[first - base - 1 :], k3[first - base :])
        block_adjoint(
            x[start:stop], y[start - 1 :], y_adj[start:], x_adj[start:], h, k1[HALO:], k2[HALO:], k3[HALO:], v1, v2,
            v3, v4,
        )  # fmt: skip
    k4_adj = h / 6.0 * y_adj[0]
    k3_adj = h / 3.0 * y_adj[0] + h * v4[0]
    k2_adj = h / 3.0 * y_adj[0] + half * v3[0]
    k1_adj = h / 6.0 * y_adj[0] + half * v2[0]
    x_adj[0] += k1_adj + k2_adj + k3_adj + k4_adj
    y_adj[0] += v1[0] + v2[0] + v3[0] + v4[0]


@kernel
def sweeps(x: Any, steps: int, tape: Any) -> Any:
    """The gradient of the last component; `tape` is the memory for the states, a row for each step."""
    n, h = len(x), END / steps
    stages, parts = np.zeros((3, BLOCK + HALO + 1)), np.empty((4, BLOCK + 1))
    tape[0] = 0.0
    for t in range(steps - 1):
        step(x, tape[t], tape[t + 1], h, stages[0], stages[1], stages[2])
    x_adj, y_adj = np.zeros(n), np.zeros(n)
    y_adj[n - 1] = 1.0
    for t in range(steps - 1, -1, -1):
        step_adjoint(x, tape[t], y_adj, x_adj, h, stages, parts)
    return x_adj


tapes: dict[tuple[int, int], Any] = {}


def derivative(x: Any, steps: int) -> Any:
    """The gradient of the last component of y."""
    shape = steps, len(x)
    tape = tapes.pop(shape, None)
    if tape is None:
        tapes.clear()
        tape = np.empty(shape)
    result = sweeps(x, steps, tape)
    tapes[shape] = tape
    return result
