"""Small programs given as text: one expression or a few lines, with NumPy, for tables of cases.

In: the body of a function and its arguments. Out: the function, with source that can be read; `agrees` compares its
trace with plain Python, dtypes of results included; `second_order` checks the derivative of the derivative.
"""

import copy
import itertools
import linecache

import numpy as np
import tracing

from adjit.ir.adjoint import jvp, vjp
from adjit.ir.interp import run
from adjit.ir.verify import verify

NUMBERS = itertools.count()


def function_of(body, names):
    """A function of these arguments; a body of one expression is what it returns."""
    lines = body.split("\n") if "return" in body else [f"return {body}"]
    source = f"def program({', '.join(names)}):\n" + "".join(f"    {line}\n" for line in lines)
    file = f"<snippet {next(NUMBERS)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = {"np": np}
    exec(compile(source, file, "exec"), namespace)
    return namespace["program"]


def program(body, args):
    """The function of arguments named a, b, c, ..."""
    return function_of(body, "abcdefgh"[: len(args)])


def agrees(function, *args):
    """The interpreter of the trace gives what Python gives, in the same dtypes, and leaves the same in arguments."""
    traced = tracing.check(function, *args)
    leaves: list = []
    tracing.flatten(args, "x", leaves)
    try:
        with np.errstate(all="ignore"):
            expected = function(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in args))
    except Exception:
        return  # both raise: `check` has seen that
    found, _ = tracing.run_traced(traced, leaves)
    assert dtypes(found) == dtypes(expected)


def dtypes(result):
    if isinstance(result, list | tuple):
        return [dtypes(r) for r in result]
    return None if result is None else np.asarray(result).dtype


def second_order(function, args):
    """The pullback's own derivatives: forward against complex step, reverse against forward by inner product."""
    traced, leaves = tracing.traced_of(function, copy.deepcopy(args))
    rng = np.random.default_rng(8)

    def like(values):
        return [np.asarray(rng.standard_normal(np.shape(v)))[()] for v in values]

    primal = traced.function
    wrt = [k for k, a in enumerate(primal.args) if a.dtype.is_float]
    given = [*leaves, *like(run(primal, leaves))]
    count = len(given) - len(leaves)
    first = vjp(primal, wrt, ["argument"] * count, keep=[]).function
    gradients = run(first, given)
    direction = like([given[k] for k in wrt])
    forward = jvp(first, wrt)
    verify(forward)
    along = run(forward, [*given, *direction])[len(gradients) :]
    stepped = list(given)
    for k, d in zip(wrt, direction, strict=True):
        stepped[k] = given[k] + 1e-30j * d
    for got, exact in zip(along, run(first, stepped), strict=True):
        np.testing.assert_allclose(got, np.imag(exact) / 1e-30, rtol=1e-10, atol=1e-12)
    second = vjp(first, wrt, ["argument"] * len(wrt), keep=[]).function
    verify(second)
    weights = like(gradients)
    back = run(second, [*given, *weights])
    one = sum(float(np.sum(b * d)) for b, d in zip(back, direction, strict=True))
    other = sum(float(np.sum(a * w)) for a, w in zip(along, weights, strict=True))
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
