"""The textbook's programs as users of other tools write them.

In: a peer's name and a program. Out: its `Contender`; `Unavailable` where the tool has no natural way to write it
(writes into arrays, long loops in a tool that runs Python step by step). Each tool is imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .options import Contender, Unavailable, start_jax
from .programs import Benchmark

__all__ = ["peer"]


def mixture(tool: Any, logsumexp: Callable[[Any], Any]) -> Callable[..., Any]:
    """The mixture's likelihood without a loop over points, in the functions of a tool."""

    def likelihood(x: Any, means: Any, log_weights: Any) -> Any:
        distances = tool.sum((x[:, None, :] - means) ** 2, axis=2)
        return tool.sum(logsumexp(log_weights - 0.5 * distances))

    return likelihood


def attention(tool: Any, softmax: Callable[[Any], Any]) -> Callable[..., Any]:
    """One head of attention in the functions of a tool."""

    def head(q: Any, k: Any, v: Any) -> Any:
        return tool.sum(tool.tanh(softmax(q @ k.T / np.sqrt(q.shape[1])) @ v))

    return head


def chosen(programs: Mapping[str, Callable[..., Any]], benchmark: Benchmark) -> Callable[..., Any]:
    """The program of the benchmark's function."""
    name = benchmark.function.__name__
    if name not in programs:
        raise Unavailable(f"nobody would write {name} so")
    return programs[name]


def jax_side(benchmark: Benchmark) -> Contender:
    """JAX, jitted; loops by `lax`."""
    jax = start_jax()
    jnp, lax = jax.numpy, jax.lax

    def doubling(a: Any) -> Any:
        b = lax.while_loop(lambda b: abs(b) < 1000.0, lambda b: 2.0 * b, 2.0 * a)
        return jnp.where(b > 0.0, b, 100.0 * b)

    def recurrence(x: Any, c: Any, steps: int) -> Any:
        return lax.fori_loop(0, steps, lambda _, x: x * x + c, x)

    def stencil(u: Any, steps: int) -> Any:
        def step(_: Any, u: Any) -> Any:
            around = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1]
            return u.at[1:-1, 1:-1].add(0.1 * around)

        return jnp.sum(lax.fori_loop(0, steps, step, u) ** 2)

    def rosenbrock(x: Any) -> Any:
        return jnp.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)

    def two_layers(parameters: Any, x: Any) -> Any:
        hidden = jnp.maximum(x @ parameters["W1"] + parameters["b1"], 0.0)
        return jnp.mean(jnp.maximum(hidden @ parameters["W2"] + parameters["b2"], 0.0) ** 2)

    programs: dict[str, Callable[..., Any]] = {
        "doubling": doubling,
        "recurrence": recurrence,
        "stencil": stencil,
        "mixture": mixture(jnp, lambda t: jax.scipy.special.logsumexp(t, axis=1)),
        "attention": attention(jnp, lambda s: jax.nn.softmax(s, axis=1)),
        "rosenbrock": rosenbrock,
        "rosenbrock_loop": rosenbrock,  # loops over elements are written as arrays there
        "two_layers": two_layers,
    }
    program = chosen(programs, benchmark)
    static = {"recurrence": (2,), "stencil": (1,)}.get(benchmark.function.__name__, ())
    reverse = jax.jacfwd if benchmark.function.__name__ == "doubling" else jax.grad  # no reverse mode of `while_loop`
    if benchmark.derivative != "grad":
        return jax_second(jax, benchmark, program)
    value = jax.jit(program, static_argnums=static)
    gradient = jax.jit(reverse(program, argnums=benchmark.argnums), static_argnums=static)
    arguments = tuple(jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in benchmark.arguments())
    ready = jax.block_until_ready
    return Contender("jax", arguments, lambda *a: ready(gradient(*a)), lambda *a: ready(value(*a)))


def jax_second(jax: Any, benchmark: Benchmark, program: Callable[..., Any]) -> Contender:
    """Second derivatives by JAX, jitted."""
    arguments = jax.tree.map(jax.numpy.asarray, benchmark.arguments())
    ready, value = jax.block_until_ready, jax.jit(program)
    if benchmark.derivative == "hessian":
        matrix = jax.jit(jax.hessian(program))
        return Contender("jax", arguments, lambda *a: ready(matrix(*a)), lambda *a: ready(value(*a)))
    product = jax.jit(lambda x, v: jax.jvp(jax.grad(program), (x,), (v,))[1])
    return Contender("jax", arguments, lambda *a: ready(product(*a)), lambda x, v: ready(value(x)))


def autograd_side(benchmark: Benchmark) -> Contender:
    """HIPS autograd, which runs Python operation by operation."""
    import autograd
    import autograd.numpy as anp
    from autograd.scipy.special import logsumexp

    def softmax(s: Any) -> Any:
        weights = anp.exp(s - anp.max(s, axis=1, keepdims=True))
        return weights / anp.sum(weights, axis=1, keepdims=True)

    programs = {
        "doubling": benchmark.function,
        "mixture": mixture(anp, lambda t: logsumexp(t, axis=1)),
        "attention": attention(anp, softmax),
    }
    program = chosen(programs, benchmark)
    return Contender("autograd", benchmark.arguments(), autograd.grad(program, benchmark.argnums), program)


def torch_side(benchmark: Benchmark) -> Contender:
    """PyTorch, eager."""
    import torch

    programs = {
        "mixture": mixture(torch, lambda t: torch.logsumexp(t, dim=1)),
        "attention": attention(torch, lambda s: torch.softmax(s, dim=1)),
    }
    program = chosen(programs, benchmark)
    numbers = benchmark.argnums if isinstance(benchmark.argnums, tuple) else (benchmark.argnums,)
    tensors = [torch.from_numpy(x) for x in benchmark.arguments()]
    for k in numbers:
        tensors[k].requires_grad_()

    def gradient(*arguments: Any) -> Any:
        parts = torch.autograd.grad(program(*arguments), [arguments[k] for k in numbers])
        return parts if isinstance(benchmark.argnums, tuple) else parts[0]

    def value(*arguments: Any) -> Any:
        with torch.no_grad():
            return program(*arguments)

    return Contender("torch", tuple(tensors), gradient, value)


SIDES = {"jax": jax_side, "autograd": autograd_side, "torch": torch_side}


def peer(name: str, benchmark: Benchmark) -> Contender:
    """A peer's side of a program; `Unavailable` where there is none."""
    if name not in SIDES:
        raise Unavailable(f"{name} has none of the textbook's programs")
    return SIDES[name](benchmark)
