"""The record of one program: a plain function, arguments to call it with, and what is known about it.

A program is written as a NumPy or Numba user would write it, returns a scalar loss, and may change its
arguments; whoever calls it takes a fresh copy of them (`Program.fresh`).

Kinds:

* ``acceptance``: named in the first milestone's list of programs that must hold
* ``textbook``: from an introduction to automatic differentiation
* ``tracing``: there for a construct of the language rather than for its mathematics
* ``complex``: the plain function itself takes complex inputs and is analytic, so that complex step through
  plain NumPy is a reference; the others are checked by complex step in the IR interpreter
* ``float32``: single precision; compare with tolerances to match
* ``kink``: not differentiable at some inputs (not at those given)
* ``linear``: the reverse sweep needs nothing from the forward sweep
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

KINDS = frozenset({"acceptance", "textbook", "tracing", "complex", "float32", "kink", "linear"})


@dataclass(frozen=True)
class Program:
    """A function, its arguments, which of them to differentiate, and further arguments of the same types.

    `others` holds argument tuples that take other branches, trip counts or shapes than `args`.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...] = (0,)
    kinds: frozenset[str] = frozenset()
    others: tuple[tuple[Any, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "kinds", frozenset(self.kinds))
        if not self.kinds <= KINDS:
            raise ValueError(f"{self.name}: unknown kinds {sorted(self.kinds - KINDS)}")

    def fresh(self) -> tuple[Any, ...]:
        """The arguments, copied, so that a program may write to them."""
        return copy.deepcopy(self.args)

    def calls(self) -> Iterator[tuple[Any, ...]]:
        """Copies of every argument tuple that is given for the program."""
        for args in (self.args, *self.others):
            yield copy.deepcopy(args)


def leaves(value: Any) -> list[Any]:
    """The numbers and arrays of a structure, in a fixed order (fields, dict entries by insertion)."""
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in leaves(entry)]
    if isinstance(value, list | tuple):
        return [leaf for entry in value for leaf in leaves(entry)]
    if hasattr(value, "__dataclass_fields__"):
        return [leaf for name in value.__dataclass_fields__ for leaf in leaves(getattr(value, name))]
    return [value]


def map_leaves(function: Callable[[Any], Any], value: Any) -> Any:
    """The same structure with `function` applied to each number and array."""
    if isinstance(value, dict):
        return {key: map_leaves(function, entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_leaves(function, entry) for entry in value))
    if isinstance(value, list | tuple):
        return type(value)(map_leaves(function, entry) for entry in value)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(**{name: map_leaves(function, getattr(value, name)) for name in value.__dataclass_fields__})
    return function(value)


def is_float(value: Any) -> bool:
    """Whether a leaf is real floating-point data: what is differentiated and what directions exist for."""
    if isinstance(value, np.ndarray):
        return bool(np.issubdtype(value.dtype, np.floating))
    return isinstance(value, float | np.floating)


def direction(args: tuple[Any, ...], argnums: tuple[int, ...], seed: int = 0) -> tuple[Any, ...]:
    """A direction to differentiate along: normal numbers for float leaves of `argnums`, zero elsewhere."""
    rng = np.random.default_rng(seed)

    def draw(leaf: Any) -> Any:
        if not is_float(leaf):
            return 0
        if isinstance(leaf, np.ndarray):
            return rng.standard_normal(leaf.shape)
        return float(rng.standard_normal())

    return tuple(
        map_leaves(draw, arg) if k in argnums else map_leaves(lambda leaf: 0, arg) for k, arg in enumerate(args)
    )


def shifted(args: tuple[Any, ...], along: tuple[Any, ...], step: complex) -> tuple[Any, ...]:
    """`args + step * along`, copied; leaves that do not move keep their dtype and type, float32 included.

    With an imaginary `step` the moved leaves become complex.
    """
    moves = iter([leaf for arg in along for leaf in leaves(arg)])

    def move(leaf: Any) -> Any:
        by = next(moves)
        if isinstance(by, int):
            return copy.deepcopy(leaf)
        if isinstance(leaf, np.ndarray):
            result = leaf + step * by
            return result if np.iscomplexobj(result) else result.astype(leaf.dtype)
        if isinstance(leaf, np.floating) and not np.iscomplexobj(step):
            return type(leaf)(leaf + step * by)
        return leaf + step * by

    return tuple(map_leaves(move, arg) for arg in args)


def complex_step(program: Program, args: tuple[Any, ...], along: tuple[Any, ...], h: float = 1e-30) -> float:
    """The derivative along a direction, by one call of the plain function with complex input."""
    return float(np.imag(program.function(*shifted(args, along, 1j * h)))) / h


def difference_quotient(
    program: Program, args: tuple[Any, ...], along: tuple[Any, ...], h: float = 1e-4
) -> tuple[float, float]:
    """The derivative along a direction by Richardson extrapolation of central differences, and its spread.

    The spread (the difference of the last two extrapolants) is an estimate of the error; it is large where
    a branch changed between the points.
    """

    def central(step: float) -> float:
        up = program.function(*shifted(args, along, step))
        down = program.function(*shifted(args, along, -step))
        return (float(up) - float(down)) / (2 * step)

    coarse, middle, fine = central(h), central(h / 2), central(h / 4)
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    best = (16 * second - first) / 15
    return best, abs(best - second)
