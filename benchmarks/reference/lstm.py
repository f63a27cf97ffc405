"""lstm by hand: rows padded to blocks of 16 lanes, gates of a cell together, weights' adjoints in place.

The forward sweep keeps of each cell four gates, c, tanh(c) and the output; the reverse sweep does with multiplications.
The head (exponentials of the prediction) has no recurrence: it is done where the reverse sweep needs it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import exp, inlined, kernel, sigmoid, tanh

__all__ = ["derivative", "primal"]

LANES = 16
KEEP, ENTER, LEAVE, CHANGE, CELL, BENT, OUT = range(7)
KEPT = 7


@kernel
def padded(rows: Any, parts: int) -> Any:
    """Each row's `parts` of equal length, padded with zeros: rows × parts × lanes."""
    bits = rows.shape[1] // parts
    result = np.zeros((len(rows), parts, (bits + LANES - 1) // LANES * LANES))
    for i in range(len(rows)):
        for g in range(parts):
            result[i, g, :bits] = rows[i, g * bits : (g + 1) * bits]
    return result


@kernel
def unpadded(rows: Any, bits: int) -> Any:
    """The rows without padding."""
    parts = rows.shape[1]
    result = np.empty((len(rows), parts * bits))
    for i in range(len(rows)):
        for g in range(parts):
            result[i, g * bits : (g + 1) * bits] = rows[i, g, :bits]
    return result


@inlined
def gates_of_state(h: Any, w_enter: Any, b_enter: Any, w_change: Any, b_change: Any, enter: Any, change: Any) -> None:
    """Those gates that depend on the state."""
    for k in range(len(h)):
        enter[k] = sigmoid(h[k] * w_enter[k] + b_enter[k])
        change[k] = tanh(h[k] * w_change[k] + b_change[k])


@inlined
def gates_of_input(a: Any, w_keep: Any, b_keep: Any, w_leave: Any, b_leave: Any, keep: Any, leave: Any) -> None:
    """Those gates that depend on the input."""
    for k in range(len(a)):
        keep[k] = sigmoid(a[k] * w_keep[k] + b_keep[k])
        leave[k] = sigmoid(a[k] * w_leave[k] + b_leave[k])


@inlined
def output(c: Any, keep: Any, enter: Any, leave: Any, change: Any, new: Any, bent: Any, out: Any) -> None:
    """The new state and the output."""
    for k in range(len(c)):
        new[k] = c[k] * keep[k] + enter[k] * change[k]
        bent[k] = tanh(new[k])
        out[k] = leave[k] * bent[k]


@inlined
def cell(a: Any, h: Any, c: Any, w: Any, b: Any, kept: Any) -> None:
    """A cell's gates, state and output into `kept`, of input a and state h, c."""
    gates_of_state(h, w[ENTER], b[ENTER], w[CHANGE], b[CHANGE], kept[ENTER], kept[CHANGE])
    gates_of_input(a, w[KEEP], b[KEEP], w[LEAVE], b[LEAVE], kept[KEEP], kept[LEAVE])
    output(c, kept[KEEP], kept[ENTER], kept[LEAVE], kept[CHANGE], kept[CELL], kept[BENT], kept[OUT])


@inlined
def head(a: Any, extra: Any, following: Any, bits: int, e: Any) -> tuple[float, float, float]:
    """(Σ following · y, Σ following, 2 + Σ exp y) with exp y in e, zero in the padding."""
    for k in range(len(a)):
        e[k] = exp(a[k] * extra[1, 0, k] + extra[2, 0, k])
    loss, ones, norm = 0.0, 0.0, 2.0
    for k in range(bits):
        loss += following[k] * (a[k] * extra[1, 0, k] + extra[2, 0, k])
        ones += following[k]
        norm += e[k]
    return loss, ones, norm


@kernel
def primal(parameters: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The loss."""
    layers, (count, bits) = len(state) // 2, sequence.shape
    weights, ends, first, characters = padded(parameters, 4), padded(extra, 1), padded(state, 1), padded(sequence, 1)
    width = weights.shape[2]
    kept = np.zeros((2, layers, KEPT, width))
    for i in range(layers):
        kept[1, i, OUT] = first[2 * i, 0]
        kept[1, i, CELL] = first[2 * i + 1, 0]
    enter, e = np.empty(width), np.empty(width)
    total = 0.0
    for t in range(count - 1):
        new, old = kept[t % 2], kept[1 - t % 2]
        for k in range(width):
            enter[k] = characters[t, 0, k] * ends[0, 0, k]
        for i in range(layers):
            a = enter if i == 0 else new[i - 1, OUT]
            cell(a, old[i, OUT], old[i, CELL], weights[2 * i], weights[2 * i + 1], new[i])
        loss, ones, norm = head(new[layers - 1, OUT], ends, characters[t + 1, 0], bits, e)
        total += loss - ones * np.log(norm)
    return -total / ((count - 1) * bits)


@inlined
def output_adjoint(
    c: Any, keep: Any, enter: Any, leave: Any, change: Any, bent: Any, above: Any, h_adj: Any, c_adj: Any, by: Any,
    by_leave: Any, by_enter: Any, by_change: Any,
) -> None:  # fmt: skip
    """Of the adjoints of output and states, those of the gates' arguments (`by` is that of KEEP) and of the old c."""
    for k in range(len(c)):
        out_adj = above[k] + h_adj[k]
        new_adj = c_adj[k] + out_adj * leave[k] * (1.0 - bent[k] * bent[k])
        c_adj[k] = new_adj * keep[k]
        by[k] = new_adj * c[k] * (keep[k] * (1.0 - keep[k]))
        by_leave[k] = out_adj * bent[k] * (leave[k] * (1.0 - leave[k]))
        by_enter[k] = new_adj * change[k] * (enter[k] * (1.0 - enter[k]))
        by_change[k] = new_adj * enter[k] * (1.0 - change[k] * change[k])


@inlined
def gates_adjoint(
    a: Any, by: Any, by_other: Any, w: Any, w_other: Any, w_adj: Any, w_other_adj: Any, b_adj: Any, b_other_adj: Any,
    a_adj: Any,
) -> None:  # fmt: skip
    """Of the adjoints of the arguments a w + b of two gates, those of a, of w and of b."""
    for k in range(len(a)):
        w_adj[k] += by[k] * a[k]
        w_other_adj[k] += by_other[k] * a[k]
        b_adj[k] += by[k]
        b_other_adj[k] += by_other[k]
        a_adj[k] = by[k] * w[k] + by_other[k] * w_other[k]


@inlined
def cell_adjoint(
    a: Any, h: Any, c: Any, w: Any, kept: Any, above: Any, h_adj: Any, c_adj: Any, w_adj: Any, b_adj: Any, by: Any
) -> None:
    """Of the adjoint `above` of the output: to the weights', into h_adj and c_adj, the input's into `above`."""
    output_adjoint(
        c, kept[KEEP], kept[ENTER], kept[LEAVE], kept[CHANGE], kept[BENT], above, h_adj, c_adj, by[KEEP], by[LEAVE],
        by[ENTER], by[CHANGE],
    )  # fmt: skip
    gates_adjoint(
        a, by[KEEP], by[LEAVE], w[KEEP], w[LEAVE], w_adj[KEEP], w_adj[LEAVE], b_adj[KEEP], b_adj[LEAVE], above
    )
    gates_adjoint(
        h, by[ENTER], by[CHANGE], w[ENTER], w[CHANGE], w_adj[ENTER], w_adj[CHANGE], b_adj[ENTER], b_adj[CHANGE], h_adj
    )


@kernel
def sweeps(parameters: Any, extra: Any, state: Any, sequence: Any, kept: Any) -> Any:
    """The gradient; `kept` is the memory for what is kept of the cells."""
    layers, (count, bits) = len(state) // 2, sequence.shape
    weights, ends, first, characters = padded(parameters, 4), padded(extra, 1), padded(state, 1), padded(sequence, 1)
    width = weights.shape[2]
    for i in range(layers):
        kept[0, i, OUT] = first[2 * i, 0]
        kept[0, i, CELL] = first[2 * i + 1, 0]
    enter, e = np.empty(width), np.empty(width)
    for t in range(count - 1):
        new, old = kept[t + 1], kept[t]
        for k in range(width):
            enter[k] = characters[t, 0, k] * ends[0, 0, k]
        for i in range(layers):
            a = enter if i == 0 else new[i - 1, OUT]
            cell(a, old[i, OUT], old[i, CELL], weights[2 * i], weights[2 * i + 1], new[i])
    weights_adj, ends_adj = np.zeros_like(weights), np.zeros_like(ends)
    h_adj, c_adj, above = np.zeros((layers, width)), np.zeros((layers, width)), np.zeros(width)
    by = np.empty((4, width))
    scale = -1.0 / ((count - 1) * bits)
    for t in range(count - 2, -1, -1):
        new, old = kept[t + 1], kept[t]
        a, following = new[layers - 1, OUT], characters[t + 1, 0]
        _, ones, norm = head(a, ends, following, bits, e)
        factor = ones / norm
        for k in range(bits):
            y_adj = scale * (following[k] - factor * e[k])
            ends_adj[1, 0, k] += y_adj * a[k]
            ends_adj[2, 0, k] += y_adj
            above[k] = y_adj * ends[1, 0, k]
        for k in range(width):
            enter[k] = characters[t, 0, k] * ends[0, 0, k]
        for i in range(layers - 1, -1, -1):
            a = enter if i == 0 else new[i - 1, OUT]
            j = 2 * i
            cell_adjoint(
                a, old[i, OUT], old[i, CELL], weights[j], new[i], above, h_adj[i], c_adj[i], weights_adj[j],
                weights_adj[j + 1], by,
            )  # fmt: skip
        for k in range(width):
            ends_adj[0, 0, k] += above[k] * characters[t, 0, k]
    return unpadded(weights_adj, bits), unpadded(ends_adj, bits)


kept_cells: dict[tuple[int, ...], Any] = {}


def derivative(parameters: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The gradient with respect to the parameters and the extra ones."""
    count, bits = sequence.shape
    shape = count, len(state) // 2, KEPT, -(-bits // LANES) * LANES
    kept = kept_cells.pop(shape, None)
    if kept is None:
        kept_cells.clear()
        kept = np.empty(shape)
    result = sweeps(parameters, extra, state, sequence, kept)
    kept_cells[shape] = kept
    return result
