"""What one leaf of the arguments is: exactly what a kernel can be compiled for, and nothing else.

In: a value that a user passes. Out: its `Leaf` (a Python number, a NumPy scalar, or an array's dtype, which
of its extents are 1 and its memory layout), the kernel's type for it, and the value as that kernel takes it.
What no kernel takes is refused here, with a way out. Static values, which are part of a key themselves, have
`static_key`.

>>> signature_of([1.0])
(Leaf(kind='float', dtype='f64', ones=(), layout=''),)
>>> leaf_of(np.ones((3, 1)))
Leaf(kind='array', dtype='f64', ones=(False, True), layout='C')
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir.errors import ArgumentError
from ..ir.types import BOOL, DTYPES, F64, I64, Array, DType, Scalar, dtype_of

__all__ = [
    "Leaf",
    "check_and_convert",
    "kernel_type",
    "leaf_of",
    "require_disjoint",
    "signature_of",
    "static_key",
]


class Leaf(NamedTuple):
    """What a kernel is compiled for, of one leaf of the arguments.

    `kind`: ``float``, ``int``, ``bool`` (Python's own, weakly typed), ``scalar`` (NumPy's, and arrays of rank
    0) or ``array``. `dtype`: the name of adjit's dtype. `ones`: for arrays, per axis whether the extent is 1.
    `layout`: for arrays ``C``, ``F`` (contiguous in Fortran order, not in C order) or ``A``.
    """

    kind: str
    dtype: str
    ones: tuple[bool, ...] = ()
    layout: str = ""


FLOAT, INT, BOOLEAN = Leaf("float", F64.name), Leaf("int", I64.name), Leaf("bool", BOOL.name)
_C, _F, _ALIGNED = 0x1, 0x2, 0x100  # bits of ndarray.flags.num, part of NumPy's C interface
_PYTHON = {float: FLOAT, int: INT, bool: BOOLEAN}
_SCALARS: dict[type, Leaf] = {d.numpy.type: Leaf("scalar", d.name) for d in DTYPES.values()}
_arrays: dict[tuple[Any, int, int], Leaf] = {}  # (dtype, rank, flags) -> leaf, where no extent is 1


def leaf_of(value: Any, name: str = "an argument") -> Leaf:
    """The leaf that `value` is.

    Raises ArgumentError for what no kernel takes: other types (lists, complex numbers, subclasses of ndarray
    with a meaning of their own, arrays of other libraries) and other dtypes.

    >>> leaf_of(np.float32(1)).dtype, leaf_of(np.zeros((2, 3)).T).layout
    ('f32', 'F')
    """
    kind = type(value)
    if kind is np.ndarray:
        shape = value.shape
        bits = value.flags.num & (_C | _F | _ALIGNED)
        if 1 not in shape:
            key = (value.dtype, len(shape), bits)
            found = _arrays.get(key)
            if found is None:
                found = _array_leaf(value, name)
                _arrays[key] = found
            return found
        return _array_leaf(value, name)
    known = _PYTHON.get(kind) or _SCALARS.get(kind)
    if known is not None:
        if known is INT and not -(2**63) <= value < 2**63:
            raise ArgumentError(f"{name} is {value}, an integer that does not fit 64 bits", help="pass a float")
        return known
    return leaf_of(_plain(value, name), name)


def _array_leaf(value: np.ndarray[Any, Any], name: str) -> Leaf:
    dtype = _dtype(value, name)
    if value.ndim == 0:
        return Leaf("scalar", dtype.name)
    flags = value.flags
    if not flags.aligned or not value.dtype.isnative:
        layout = "C"  # `check_and_convert` makes a copy
    else:
        layout = "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    return Leaf("array", dtype.name, tuple(n == 1 for n in value.shape), layout)


def _dtype(value: Any, name: str) -> DType:
    if value.dtype.kind == "c":
        raise _complex(name)
    dtype = dtype_of(value.dtype if value.dtype.isnative else value.dtype.newbyteorder("="))
    if dtype is None:
        raise ArgumentError(
            f"{name} has dtype {value.dtype}, which adjit does not know",
            help=f"convert it, for instance {name if name.isidentifier() else 'x'}.astype(np.float64)",
        )
    return dtype


def _complex(name: str) -> ArgumentError:
    return ArgumentError(
        f"{name} is complex: complex numbers are not supported yet",
        help="pass the real and the imaginary part as two arguments (`z.real`, `z.imag`)",
    )


def _plain(value: Any, name: str) -> Any:
    """An argument of a type that is not a leaf itself, as one that is."""
    what = type(value).__qualname__
    if isinstance(value, complex):
        raise _complex(name)
    if isinstance(value, np.ndarray):
        if isinstance(value, np.memmap):
            return np.asarray(value)
        raise ArgumentError(
            f"{name} is a {what}, a subclass of ndarray with rules of its own", help="pass np.asarray(x)"
        )
    if isinstance(value, np.generic):
        _dtype(value, name)  # complains where it is unknown
        return np.asarray(value)  # an alias of a known type, such as longlong
    for base in (bool, int, float):
        if isinstance(value, base):
            return base(value)  # an IntEnum's member, a user's subclass
    if hasattr(value, "__array__") or isinstance(value, list | tuple):
        raise ArgumentError(f"{name} is a {what}, not a NumPy array", help="pass np.asarray(x)")
    raise ArgumentError(f"{name} is a {what}: neither a number nor a NumPy array", help="make it a static argument")


def signature_of(values: Sequence[Any]) -> tuple[Leaf, ...]:
    """The leaves of `values`, as a key: equal keys are served by one kernel. Raises as `leaf_of`."""
    return tuple([leaf_of(value) for value in values])


def kernel_type(leaf: Leaf) -> tuple[Scalar | Array, str]:
    """The type and the layout that a kernel for `leaf` is compiled with.

    >>> str(kernel_type(leaf_of(np.ones((3, 1))))[0])
    'f64[?,1]'
    """
    dtype = DTYPES[leaf.dtype]
    if leaf.kind != "array":
        return Scalar(dtype), "C"
    return Array(dtype, tuple(1 if one else None for one in leaf.ones)), leaf.layout


def check_and_convert(value: Any, leaf: Leaf, name: str = "an argument", *, written: bool = False) -> Any:
    """`value` as the kernel for `leaf` takes it: itself, or a copy if it is byte-swapped or not aligned.

    Raises ArgumentError where it is no such leaf, or where the kernel writes to it and cannot.
    """
    if leaf_of(value, name) != leaf:
        raise ArgumentError(f"{name} is {leaf_of(value, name)}, but the kernel was compiled for {leaf}")
    if leaf.kind != "array":
        if type(value) in _PYTHON or type(value) in _SCALARS:
            return value
        return np.asarray(value).item()
    array = np.asarray(value)
    dtype = DTYPES[leaf.dtype].numpy
    if array.flags.aligned and array.dtype.isnative:
        if written and not array.flags.writeable:
            raise ArgumentError(f"{name} is written to, but it is a read-only array", help="pass a copy")
        return array if array.dtype is dtype else array.view(dtype)  # another name of the same dtype (longlong)
    if written:
        raise ArgumentError(
            f"{name} is written to, but its memory is byte-swapped or not aligned",
            help="pass x.astype(np.float64)",
        )
    return np.ascontiguousarray(array, dtype=dtype) if array.flags.aligned else np.array(array, dtype, order="C")


def require_disjoint(values: Sequence[Any], written: Sequence[int], names: Sequence[str] | None = None) -> None:
    """Raise ArgumentError if an array that a kernel writes shares memory with another argument: the kernel
    takes them for different arrays."""
    for i in written:
        for j, other in enumerate(values):
            if j == i or not isinstance(other, np.ndarray) or (j in written and j < i):
                continue
            if np.may_share_memory(values[i], other) and np.shares_memory(values[i], other):
                first, second = (names[k] if names else f"argument {k}" for k in (i, j))
                raise ArgumentError(
                    f"{first} is written to and shares memory with {second}: adjit takes them for different arrays",
                    help="pass a copy of one of them, or write to a copy",
                )


def static_key(value: Any) -> Any:
    """A hashable key under which static values count as the same: by type and value for numbers, strings,
    dtypes and tuples, lists and dicts of them; by identity for everything else (functions, modules, objects).

    >>> static_key((1, "a")) == static_key((1, "a"))
    True
    >>> static_key(1) == static_key(True), static_key(0.0) == static_key(-0.0)
    (False, False)
    """
    kind = type(value)
    if kind in (int, str, bytes, bool, type(None), type(Ellipsis)):
        return kind, value
    if kind in (float, complex):
        return kind, repr(value)
    if kind in (tuple, list):
        return kind, tuple(map(static_key, value))
    if kind in (set, frozenset):
        return kind, frozenset(map(static_key, value))
    if kind is dict:
        return kind, tuple((static_key(k), static_key(v)) for k, v in value.items())
    if kind is slice:
        return kind, tuple(map(static_key, (value.start, value.stop, value.step)))
    if kind is range:
        return kind, (value.start, value.stop, value.step)
    if isinstance(value, np.dtype):
        return np.dtype, value.str, repr(value)
    if isinstance(value, np.generic):
        return kind, value.dtype.str, value.tobytes()
    return kind, id(value)
