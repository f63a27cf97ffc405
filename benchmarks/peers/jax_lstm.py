"""lstm in JAX: a scan over characters, layers unrolled."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .jax_common import compiled

__all__ = ["derivative", "primal"]


def objective(parameters: Any, extra: Any, state: Any, sequence: Any) -> Any:
    """The loss."""
    layers, (count, bits) = len(state) // 2, sequence.shape
    weights, biases = (parameters[k::2].reshape(layers, 4, bits) for k in range(2))

    def advance(carry: Any, character: Any) -> Any:
        hidden, cell = carry
        hidden, cell = list(hidden), list(cell)
        a = character * extra[0]
        for i in range(layers):
            w, b, h = weights[i], biases[i], hidden[i]
            z = jnp.stack((a, h, a, h)) * w + b
            gates = jax.nn.sigmoid(z[:3])
            cell[i] = cell[i] * gates[0] + gates[1] * jnp.tanh(z[3])
            a = hidden[i] = gates[2] * jnp.tanh(cell[i])
        return (tuple(hidden), tuple(cell)), a

    start = tuple(state[0::2]), tuple(state[1::2])
    _, outputs = jax.lax.scan(advance, start, sequence[:-1])
    y = outputs * extra[1] + extra[2]
    norm = jnp.log(2.0 + jnp.sum(jnp.exp(y), axis=1, keepdims=True))
    return -jnp.sum(sequence[1:] * (y - norm)) / ((count - 1) * bits)


primal = compiled(objective)
derivative = compiled(jax.grad(objective, argnums=(0, 1)))
