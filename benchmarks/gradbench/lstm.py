"""lstm: the loss of a stack of LSTM layers with diagonal weights that predicts the next character; its gradient.

With σ the logistic function, layer i of input a and state (h, c) computes c ← c σ(w₀ a + b₀) + σ(w₁ h + b₁)
tanh(w₃ h + b₃) and h ← σ(w₂ a + b₂) tanh(c), which is the next layer's input. The first layer's is the character times
e₀, and the prediction is y = e₁ h + e₂. The loss is −Σ_t ⟨character_{t+1}, y_t − log(2 + Σ exp y_t)⟩ over the number of
bits predicted.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "objective"]


def sigmoid(x: Any) -> Any:
    """The logistic function."""
    return 1.0 / (1.0 + np.exp(-x))


def objective(parameters: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The loss. `parameters` holds two rows for each layer, weights and biases, of four gates each; `state` two rows
    for each layer, h and c; `extra` the rows e₀, e₁, e₂; `sequence` a row of bits for each character."""
    layers = len(state) // 2
    count, bits = sequence.shape
    hidden = state[0::2].copy()
    cell = state[1::2].copy()
    total = 0.0
    for t in range(count - 1):
        a = sequence[t] * extra[0]
        for i in range(layers):
            w, b, h = parameters[2 * i], parameters[2 * i + 1], hidden[i]
            keep = sigmoid(a * w[:bits] + b[:bits])
            enter = sigmoid(h * w[bits : 2 * bits] + b[bits : 2 * bits])
            leave = sigmoid(a * w[2 * bits : 3 * bits] + b[2 * bits : 3 * bits])
            change = np.tanh(h * w[3 * bits :] + b[3 * bits :])
            cell[i] = cell[i] * keep + enter * change
            a = leave * np.tanh(cell[i])
            hidden[i] = a
        y = a * extra[1] + extra[2]
        total += np.sum(sequence[t + 1] * (y - np.log(2.0 + np.sum(np.exp(y)))))
    return -total / ((count - 1) * bits)


def prepare(given: Any) -> tuple[Any, ...]:
    """The arguments of `objective`."""
    return tuple(floats(given[name]) for name in ("main_params", "extra_params", "state", "sequence"))


def flattened(gradient: Any) -> Any:
    """The gradient as one list."""
    return [number for part in gradient for number in part.ravel().tolist()]


FUNCTIONS = {
    "objective": Function(prepare, jit(objective)),
    "jacobian": Function(prepare, grad(objective, argnums=(0, 1)), flattened),
}
