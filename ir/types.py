"""Types of IR values.

In: nothing. Out: `DType` and the four value types: `Scalar`, `Array`, `Tape` and `Buffer`.

An array type fixes the dtype and the *rank*; an extent is part of the type only where it is known
while tracing (`np.zeros(3)`, `x[:, None]`), otherwise it is a run-time value and the type says `?`.
So a new shape never makes a new program, a new rank or dtype does.

>>> str(Array(F64, (None, 1)))
'f64[?,1]'
>>> parse_type("tape[f32[?]]") == Tape(Array(F32, (None,)))
True
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "BOOL",
    "F32",
    "F64",
    "I32",
    "I64",
    "Array",
    "Buffer",
    "DType",
    "Scalar",
    "Tape",
    "Type",
    "dtype_of",
    "fits",
    "join_dims",
    "parse_type",
    "with_dtype",
]


@dataclass(frozen=True)
class DType:
    """An element type. `kind` is NumPy's kind letter: b, i, u, f (c is reserved for complex)."""

    name: str
    numpy_name: str
    kind: str

    @property
    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.numpy_name)

    @property
    def itemsize(self) -> int:
        return int(self.numpy.itemsize)

    @property
    def is_float(self) -> bool:
        """True where a derivative can exist."""
        return self.kind in "fc"

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return dtype_named, (self.name,)  # there is one of each, compared by identity

    __repr__ = __str__


BOOL = DType("bool", "bool", "b")
I8, I16, I32, I64 = (DType(f"i{n}", f"int{n}", "i") for n in (8, 16, 32, 64))
U8, U16, U32, U64 = (DType(f"u{n}", f"uint{n}", "u") for n in (8, 16, 32, 64))
F32 = DType("f32", "float32", "f")
F64 = DType("f64", "float64", "f")

DTYPES: dict[str, DType] = {d.name: d for d in (BOOL, I8, I16, I32, I64, U8, U16, U32, U64, F32, F64)}


def dtype_named(name: str) -> DType:
    return DTYPES[name]


_BY_NUMPY: dict[np.dtype[Any], DType] = {d.numpy: d for d in DTYPES.values()}


def dtype_of(dtype: Any) -> DType | None:
    """The `DType` of a NumPy dtype (or of what `np.dtype` accepts); None where adjit has none.

    >>> dtype_of(np.float32)
    f32
    """
    return _BY_NUMPY.get(np.dtype(dtype))


@dataclass(frozen=True)
class Scalar:
    """One number (a NumPy 0-d array is a scalar too)."""

    dtype: DType

    @property
    def dims(self) -> tuple[int | None, ...]:
        return ()

    @property
    def rank(self) -> int:
        return 0

    def __str__(self) -> str:
        return self.dtype.name


@dataclass(frozen=True)
class Array:
    """An immutable array of `rank` >= 1; `dims` holds static extents, None where an extent is a run-time value."""

    dtype: DType
    dims: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not self.dims:
            raise ValueError("an array of rank 0 is a Scalar")

    @property
    def rank(self) -> int:
        return len(self.dims)

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join('?' if d is None else str(d) for d in self.dims)}]"


@dataclass(frozen=True)
class Tape:
    """A stack of elements of one type: what the forward sweep keeps for the reverse sweep."""

    element: Scalar | Array

    def __str__(self) -> str:
        return f"tape[{self.element}]"


@dataclass(frozen=True)
class Buffer:
    """Mutable memory of a dtype and rank; exists in the scheduled IR only."""

    dtype: DType
    rank: int

    def __str__(self) -> str:
        return f"&{self.dtype.name}[{','.join('?' * self.rank)}]"


Type = Scalar | Array | Tape | Buffer


def with_dtype(type_: Type, dtype: DType) -> Scalar | Array:
    """The same shape with another element type."""
    if isinstance(type_, Scalar):
        return Scalar(dtype)
    if isinstance(type_, Array):
        return Array(dtype, type_.dims)
    raise TypeError(f"{type_} has no elements")


def make(dtype: DType, dims: tuple[int | None, ...]) -> Scalar | Array:
    """Scalar for no dims, else Array."""
    return Array(dtype, dims) if dims else Scalar(dtype)


def join_dims(a: tuple[int | None, ...], b: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """Extents known to both."""
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


_TYPE = re.compile(r"\s*(&?)(\w+)(?:\[([^\]]*)\])?\s*$")


def parse_type(text: str) -> Type:
    """The type a text such as ``f64[?,3]`` names; ValueError where it names none."""
    text = text.strip()
    if text.startswith("tape[") and text.endswith("]"):
        element = parse_type(text[5:-1])
        if not isinstance(element, Scalar | Array):
            raise ValueError(f"not a tape element: {element}")
        return Tape(element)
    match = _TYPE.match(text)
    if match is None or match.group(2) not in DTYPES:
        raise ValueError(f"not a type: {text!r}")
    reference, name, dims = match.groups()
    parts = tuple(None if d.strip() == "?" else int(d) for d in dims.split(",")) if dims is not None else ()
    if reference:
        return Buffer(DTYPES[name], len(parts))
    return make(DTYPES[name], parts)


def fits(type_: Type, declared: Type) -> bool:
    """Whether a value of `type_` may stand where `declared` is expected: equal, or known more exactly.

    >>> fits(Array(F64, (3,)), Array(F64, (None,))), fits(Array(F64, (None,)), Array(F64, (3,)))
    (True, False)
    """
    if type_ == declared:
        return True
    if isinstance(type_, Array) and isinstance(declared, Array):
        return (
            type_.dtype is declared.dtype
            and type_.rank == declared.rank
            and all(d is None or d == t for t, d in zip(type_.dims, declared.dims))
        )
    if isinstance(type_, Tape) and isinstance(declared, Tape):
        return fits(type_.element, declared.element)
    return False
