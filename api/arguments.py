"""Arguments as leaves: what of a call is dynamic (numbers, arrays) and what is static (everything else).

In: the arguments of a call. Out: `Call`: the dynamic leaves in order, and a hashable key that says for which
specialization they are: the pytree structure, each leaf's dtype, rank, extents of 1 and contiguity, and every static
value. Pytrees are optree's (tuples, lists, dicts, NamedTuples, ...); dataclasses are entered when first seen.
"""

from __future__ import annotations

import array
import dataclasses
import enum
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optree

from ..codegen.host import kernel_type, leaf_of
from ..ir.errors import ArgumentError
from ..ir.types import Array, Scalar
from ..tracer import Leaf, Result

__all__ = [
    "NAMESPACE",
    "ZERO_D",
    "Call",
    "Static",
    "flatten_call",
    "further_attributes",
    "leaf_type",
    "static_value",
    "to_leaf",
    "unflatten",
]

NAMESPACE = "adjit"
ZERO_D = "0"
BUFFERS = (memoryview, bytearray, array.array)
"""What numbers may be in, but not as an array."""
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Static:
    """A static value as part of a key: equal where type and value are (by identity if it cannot be hashed)."""

    __slots__ = ("_hash", "value")

    def __init__(self, value: Any) -> None:
        self.value = value
        try:
            self._hash = hash((type(value), value))
        except TypeError:
            self._hash = id(value)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Static):
            return NotImplemented
        if self.value is other.value:
            return True
        return type(self.value) is type(other.value) and self._hash == other._hash and _equal(self.value, other.value)

    def __repr__(self) -> str:
        return f"Static({self.value!r})"


VALUES = (int, float, complex, str, bytes, tuple, frozenset, np.generic, np.dtype, enum.Enum)


def by_value(x: Any) -> bool:
    """Whether equal values are interchangeable: not objects of users' classes, which may differ in what is read of
    them."""
    return type(x).__module__ == "builtins" or isinstance(x, VALUES) or dataclasses.is_dataclass(x)


def _equal(a: Any, b: Any) -> bool:
    try:
        hash(a)
        return by_value(a) and bool(a == b)
    except (TypeError, ValueError):
        return False


def leaf_type(x: Any, name: str = "an argument") -> tuple[Scalar | Array, bool, str] | None:
    """(IR type, weak, layout) of a dynamic leaf; None for a static one. ArgumentError for arrays adjit cannot take."""
    kind = type(x)
    if isinstance(x, BUFFERS):
        raise ArgumentError(f"{name} is of type {kind.__name__}, and no array", help="pass `np.asarray(...)` of it")
    if kind is bool or not isinstance(x, float | int | np.ndarray | np.generic | complex):
        return None
    if isinstance(x, np.generic) and x.dtype.kind in "OSUVMm":
        return None
    leaf = leaf_of(x, name)
    type_, layout = kernel_type(leaf)
    return type_, leaf.kind in ("float", "int"), layout


def to_leaf(x: Any) -> Any:
    """A leaf as kernels take it: files in memory and array-likes as plain arrays, 0-d arrays as scalars."""
    if type(x) is np.ndarray:
        return x if x.ndim else x[()]
    if isinstance(x, np.memmap):
        return to_leaf(np.asarray(x))
    if isinstance(x, np.ndarray):
        raise ArgumentError(
            f"{type(x).__name__} is not supported: a subclass of ndarray may have rules of its own",
            help="pass a plain array: `np.asarray(x)`",
        )
    if hasattr(x, "__array__") and not isinstance(x, np.generic | type):
        return to_leaf(np.asarray(x))
    return x


@dataclasses.dataclass
class Call:
    """One call's arguments, flattened. `leaves` are all leaves in order; `types[k]` is None for a static leaf, else
    its type, whether it is weak, and its layout (`ZERO_D` for arrays without axes, which kernels take as numbers)."""

    leaves: list[Any]
    types: list[tuple[Scalar | Array, bool, str] | None]
    treespec: Any
    key: Any

    @property
    def dynamic(self) -> list[Any]:
        return [x for x, t in zip(self.leaves, self.types, strict=True) if t is not None]

    def abstract(self, names: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments with each dynamic leaf replaced by a `Leaf`, static leaves as they are."""
        out: list[Any] = []
        dynamic = iter(enumerate(names))
        for x, t in zip(self.leaves, self.types, strict=True):
            if t is None:
                out.append(x.value if isinstance(x, Static) else x)
            else:
                number, name = next(dynamic)
                out.append(Leaf(t[0], name, t[1], t[2] in ("C", ""), number, t[2] == ZERO_D))
        args, kwargs = unflatten(self.treespec, out)
        return tuple(args), dict(kwargs)


def flatten_call(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    """Flatten a call. Values wrapped in `Static` stay static whatever they are."""
    leaves, treespec = flatten_tree((args, kwargs))
    zero_d = [isinstance(x, np.ndarray) and x.ndim == 0 for x in leaves]
    leaves = [to_leaf(x) for x in leaves]
    types: list[Any] = []
    for k, x in enumerate(leaves):
        try:
            types.append(None if isinstance(x, Static) else leaf_type(x))
        except ArgumentError:
            types.append(leaf_type(x, place_of(treespec, k)))  # the same error with the argument's name
    types = [(t[0], t[1], ZERO_D) if t is not None and zero else t for t, zero in zip(types, zero_d, strict=True)]
    key = (
        treespec,
        tuple(
            (x if isinstance(x, Static) else Static(x)) if t is None else t for x, t in zip(leaves, types, strict=True)
        ),
    )
    return Call(leaves, types, treespec, key)


def static_value(value: Any, place: int | str) -> Static:
    """A static argument of a call, wrapped; `place`: its position or name. Arrays change, and cannot be static."""
    if any(hasattr(x, "__array__") and not isinstance(x, np.generic | type) for x in flatten_tree(value)[0]):
        raise ArgumentError(
            f"argument {place!r} is named in static_argnames, but holds an array",
            help="leave it out of static_argnames: arrays are arguments whose values are read at every call",
        )
    return Static(value)


def place_of(treespec: Any, leaf: int) -> str:
    """Where a leaf of (args, kwargs) is, in words: `argument 0`, `argument 1['w'][2]`."""
    kind, first, *path = optree.treespec_paths(treespec)[leaf]
    return f"argument {first if kind == 0 else repr(first)}" + "".join(f"[{p!r}]" for p in path)


def unflatten(treespec: Any, leaves: Sequence[Any]) -> Any:
    """The pytree of a structure with these leaves."""
    return optree.tree_unflatten(treespec, leaves)


def flatten_tree(tree: Any) -> tuple[list[Any], Any]:
    """Leaves and structure of a pytree; dataclasses met for the first time are entered as nodes."""
    while True:
        leaves, treespec = optree.tree_flatten(tree, namespace=NAMESPACE)
        new = {type(x) for x in leaves if dataclasses.is_dataclass(x) and not isinstance(x, type | Result)}
        if not new:
            return leaves, treespec
        for kind in new:
            _register_dataclass(kind)


def _register_dataclass(kind: type) -> None:
    names = [f.name for f in dataclasses.fields(kind)]

    def flatten(x: Any) -> tuple[list[Any], Any, list[str]]:
        present = (*names, *further_attributes(x))
        return [getattr(x, n) for n in present], present, list(present)

    def unflatten(present: Sequence[str], children: Sequence[Any]) -> Any:
        out: Any = object.__new__(kind)
        for name, child in zip(present, children, strict=True):
            object.__setattr__(out, name, child)
        return out

    register: Callable[..., Any] = optree.register_pytree_node
    register(kind, flatten, unflatten, namespace=NAMESPACE)


def further_attributes(x: Any) -> list[str]:
    """Attributes that a dataclass instance has besides its fields; what it remembers of them is computed again."""
    kind = type(x)
    fields = {f.name for f in dataclasses.fields(kind)}
    return [
        name
        for name in getattr(x, "__dict__", {})
        if name not in fields
        and not name.startswith("__adjit_")
        and not isinstance(getattr(kind, name, None), functools.cached_property)
    ]


def leaf_names(call: Call, function: Callable[..., Any]) -> list[str]:
    """A readable name for each dynamic leaf, from its parameter and its path (`theta`, `params_w`)."""
    try:
        parameters = [p.name for p in inspect.signature(function).parameters.values() if p.kind in POSITIONAL]
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for path, t in zip(optree.treespec_paths(call.treespec), call.types, strict=True):
        if t is None:
            continue
        first = path[1] if len(path) > 1 else "argument"
        if isinstance(first, int):
            first = parameters[first] if first < len(parameters) else f"argument{first}"
        text = "_".join(str(p) for p in (first, *path[2:]))
        names.append("".join(c if c.isalnum() or c == "_" else "_" for c in text))
    return names
