"""Helpers of the tracer's tests: trace a function for given arguments, run the IR in the interpreter, compare.

`check(function, *args)` traces, verifies, runs the interpreter, runs the plain function on copies, and compares the
result and what the arguments hold afterwards.
"""

import copy
import dataclasses

import numpy as np

from adjit.ir import types
from adjit.ir.errors import ShapeError
from adjit.ir.interp import run
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify
from adjit.tracer import Leaf, Result, Traced, trace


def leaf_of(value, name):
    """The placeholder of a dynamic leaf; None for what is static."""
    if isinstance(value, np.ndarray) and value.ndim:
        dims = tuple(1 if n == 1 else None for n in value.shape)
        return Leaf(types.Array(types.dtype_of(value.dtype), dims), name, False, value.flags.c_contiguous)
    if isinstance(value, np.generic | np.ndarray):
        return Leaf(types.Scalar(types.dtype_of(value.dtype)), name)
    if isinstance(value, bool):
        return Leaf(types.Scalar(types.BOOL), name, True)
    if isinstance(value, int):
        return Leaf(types.Scalar(types.I64), name, True)
    if isinstance(value, float):
        return Leaf(types.Scalar(types.F64), name, True)
    return None


def flatten(value, name, leaves):
    """The structure with leaves replaced; the leaves' values go to the list `leaves`."""
    found = leaf_of(value, name)
    if found is not None:
        leaves.append(value)
        return found
    if isinstance(value, tuple):
        items = [flatten(v, f"{name}_{k}", leaves) for k, v in enumerate(value)]
        return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
    if isinstance(value, list):
        return [flatten(v, f"{name}_{k}", leaves) for k, v in enumerate(value)]
    if isinstance(value, dict):
        return {k: flatten(v, f"{name}_{k}", leaves) for k, v in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = object.__new__(type(value))
        for f in dataclasses.fields(value):
            object.__setattr__(made, f.name, flatten(getattr(value, f.name), f"{name}_{f.name}", leaves))
        return made
    return value


def parameter_names(function, count):
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    names = list(code.co_varnames[: code.co_argcount]) if code else []
    if hasattr(function, "__self__"):
        names = names[1:]
    return names[:count] + [f"arg{k}" for k in range(len(names), count)]


def traced_of(function, args, kwargs=None, loose=False) -> tuple[Traced, list]:
    """The trace of a function for arguments, and the leaves' values."""
    leaves: list = []
    names = parameter_names(function, len(args))
    given = tuple(flatten(a, n, leaves) for a, n in zip(args, names))
    named = {k: flatten(v, k, leaves) for k, v in (kwargs or {}).items()}
    traced = trace(function, given, named, loose)
    verify(traced.function)
    return traced, leaves


def fill(structure, results):
    if isinstance(structure, Result):
        return results[structure.index]
    if isinstance(structure, tuple):
        items = [fill(v, results) for v in structure]
        return type(structure)._make(items) if hasattr(structure, "_make") else tuple(items)
    if isinstance(structure, list):
        return [fill(v, results) for v in structure]
    if isinstance(structure, dict):
        return {k: fill(v, results) for k, v in structure.items()}
    if dataclasses.is_dataclass(structure) and not isinstance(structure, type):
        return {f.name: fill(getattr(structure, f.name), results) for f in dataclasses.fields(structure)}
    return structure


def run_traced(traced: Traced, leaves):
    """The result structure, and the final contents of the arguments (by position of the leaf)."""
    values = [*leaves, *(c.read() for c in traced.captures)]
    results = run(traced.function, values)
    return fill(traced.result, results), {k: results[r] for k, r in traced.mutated.items()}


def same(a, b, rtol=1e-13):
    if isinstance(b, dict) or dataclasses.is_dataclass(b):
        if dataclasses.is_dataclass(b):
            b = {f.name: getattr(b, f.name) for f in dataclasses.fields(b)}
        return a.keys() == b.keys() and all(same(a[k], b[k], rtol) for k in b)
    if isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y, rtol) for x, y in zip(a, b))
    if b is None or isinstance(b, str):
        return a == b
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype.kind != b.dtype.kind:
        return False
    if b.dtype.kind == "f":
        rtol = max(rtol, 1e-5) if b.dtype == np.float32 else rtol
        return bool(np.allclose(a, b, rtol=rtol, atol=rtol, equal_nan=True))
    return bool(np.array_equal(a, b))


def check(function, *args, others=(), rtol=1e-13, **kwargs):
    """Trace once for `args`, compare the interpreter with Python for them and for every tuple of `others`; once more,
    as the API does, where an extent is 1 by chance."""
    try:
        return check_trace(function, args, others, rtol, kwargs, loose=False)
    except ShapeError as error:
        if not error.repeats:
            raise
    return check_trace(function, args, others, rtol, kwargs, loose=True)


def check_trace(function, args, others, rtol, kwargs, loose):
    traced, _ = traced_of(function, copy.deepcopy(args), kwargs, loose)
    text = to_text(traced.function)
    assert to_text(parse(text)) == text
    for call in (args, *others):
        compare(function, traced, call, kwargs, rtol)
    return traced


def compare(function, traced, args, kwargs=None, rtol=1e-13):
    """The interpreter against Python: both give the same, or both raise."""
    leaves: list = []
    expected_args = copy.deepcopy(args)
    flatten(tuple(copy.deepcopy(args)), "x", leaves)
    for v in (kwargs or {}).values():
        flatten(v, "x", leaves)
    after: list = []
    try:
        with np.errstate(all="ignore"):
            expected = function(*expected_args, **(kwargs or {}))
    except Exception as error:
        try:
            found, _ = run_traced(traced, leaves)
        except Exception as other:
            assert isinstance(other, type(error)), (error, other)
            return
        raise AssertionError(f"Python raises {error!r}, the IR gives {found}") from error
    found, mutated = run_traced(traced, leaves)
    assert same(found, expected, rtol), f"\n{found!r}\nis not\n{expected!r}\n{traced.function}"
    flatten(expected_args, "x", after)
    for k, (old, new) in enumerate(zip(leaves, after)):
        if isinstance(old, np.ndarray) and old.ndim:
            final = mutated.get(k, old)
            assert same(final, new, rtol), f"argument {k} afterwards: {final} is not {new}\n{traced.function}"
