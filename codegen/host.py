"""From a kernel to a Python function that checks its arguments, calls it and unpacks what it returns.

In: a kernel's entry and a description of what it was compiled for. Out: two callables for each signature,
`fast` (tests that the arguments are what the kernel was compiled for, by generated straight-line code, and
calls it) and `run` (the same for a flat list of leaves, converting what can be converted).

Two levels. `leaf_of` (in `leaves`, as all that is about one argument) names exactly what a kernel can be
compiled for: a Python number, a NumPy scalar, or an array's dtype, which of its extents are 1 and its memory
layout. `signature_of` names a list of leaves, as a hashable key. `specialize` then generates, for one
signature, the function with the user's own parameter names that serves calls of that kind in well under a
microsecond, and hands every other call to `miss`.

Nothing reaches machine code unchecked: every leaf's exact type, dtype, rank, extents of 1, contiguity and
alignment, and for arrays that the kernel writes that they are writable and share no memory with another
argument. A kernel that checks its arrays itself (`entry`) is not asked twice.

>>> x = Parameter("x", Slot(0, leaf_of(1.0)))
>>> double = lambda x: (0, 0, 0, 2 * x)
>>> fast, run = specialize("f", [x], double, Output(0), failed=None, miss=lambda x: "not a float")
>>> fast(1.5), fast(1), run([0.25])
(3.0, 'not a float', 0.5)
"""

from __future__ import annotations

import keyword
import linecache
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from ..ir.errors import ArgumentError, InternalError
from ..ir.types import DTYPES, Array, Scalar
from .build import Kernel
from .leaves import (
    Leaf,
    check_and_convert,
    kernel_type,
    leaf_of,
    require_disjoint,
    signature_of,
    static_key,
)

__all__ = [
    "Build",
    "Constant",
    "Leaf",
    "Output",
    "Parameter",
    "Record",
    "Slot",
    "Static",
    "check_and_convert",
    "kernel_type",
    "leaf_of",
    "require_disjoint",
    "signature_of",
    "specialize",
    "static_key",
]


# What `specialize` is told: the structure of the arguments and of the result.


@dataclass(frozen=True)
class Slot:
    """A leaf of the arguments that becomes the kernel's argument number `index`."""

    index: int
    leaf: Leaf


@dataclass(frozen=True)
class Static:
    """A part of the arguments that must be this value (`static_key` says what counts as the same)."""

    value: Any


@dataclass(frozen=True)
class Record:
    """An object of exactly this class, and what its attributes must be (dataclasses, NamedTuples, users'
    objects)."""

    type: type
    attributes: dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter of the user's function: its name, the structure of what is passed (`Slot`, `Static`,
    `Record`, or a tuple, list or dict of such), its default if it has one (in a 1-tuple), and whether it is
    keyword-only."""

    name: str
    structure: Any
    default: tuple[Any] | None = None
    keyword_only: bool = False


@dataclass(frozen=True)
class Output:
    """The kernel's result number `index`, passed through `convert` if there is one (``np.float32``)."""

    index: int
    convert: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Constant:
    """A part of the result that is known beforehand."""

    value: Any


@dataclass(frozen=True)
class Build:
    """A part of the result made by a call: `function(*parts)` (a dataclass, an unflatten)."""

    function: Callable[..., Any]
    parts: tuple[Any, ...]


_C, _F, _ALIGNED, _WRITEABLE = 0x1, 0x2, 0x100, 0x400  # bits of ndarray.flags.num, part of NumPy's C interface
_FLAGS = {  # (mask, value) that tell the layouts apart
    "C": (_C | _ALIGNED, _C | _ALIGNED),
    "F": (_C | _F | _ALIGNED, _F | _ALIGNED),
    "A": (_C | _F | _ALIGNED, _ALIGNED),
}
_numbers = count()


def specialize(
    name: str,
    parameters: Sequence[Parameter],
    kernel: Kernel | Callable[..., tuple[Any, ...]],
    result: Any,
    *,
    failed: Callable[[int, int, int, tuple[Any, ...]], Any] | None,
    miss: Callable[..., Any],
    captures: Sequence[tuple[Callable[[], Any], Any]] = (),
    written: Sequence[int] = (),
    apart: Sequence[int] = (),
) -> tuple[Callable[..., Any], Callable[[Sequence[Any]], Any]]:
    """The callables `(fast, run)` for one signature of a function.

    Args:
        name: the user's function, for Python's own messages about missing arguments.
        parameters: its parameters with the structure of what is passed for each; slots number the kernel's
            arguments.
        kernel: a `Kernel` compiled for the slots' leaves, or a Python function of the same contract: it gives
            ``(status, detail0, detail1, *results)``.
        result: the structure of what `fast` returns: `Output`, `Constant`, `Build`, or a tuple, list or dict
            of such.
        failed: called with status, details and the kernel's arguments where the status is not 0; it raises.
        miss: called as `fast` was where an argument is not what this signature says.
        captures: values read at each call besides the arguments: a function that reads one, and its
            structure.
        written: the kernel's arguments that it writes to.
        apart: further arguments that must share no memory with another (those that the program writes to, where
            the kernel writes to a copy).

    Returns: `fast`, with the parameters of the user's function; and `run`, which takes the kernel's arguments
    as a sequence, raises ArgumentError where they are not of this signature, and converts byte-swapped and
    unaligned arrays.

    Raises ValueError where slots are not numbered 0, 1, ... without a gap, or the kernel was compiled for
    others.
    """
    checked = isinstance(kernel, Kernel) and kernel.checked and kernel.distinguish_ones
    separate = frozenset((*written, *apart))
    writer = _Writer(frozenset(written), checked)
    header = _header(parameters, writer)
    for parameter in parameters:
        writer.guard(parameter.name, parameter.structure)
    for get, structure in captures:
        if isinstance(get, partial) and get.func is getattr and len(get.args) == 2:
            writer.guard(f"{writer.bind(get.args[0])}.{get.args[1]}", structure)
        else:
            writer.guard(f"{writer.bind(get)}()", structure)
    if sorted(writer.slots) != list(range(len(writer.slots))):
        raise ValueError(f"slots are numbered {sorted(writer.slots)}")
    slots = [writer.slots[i] for i in range(len(writer.slots))]
    leaves = [slot.leaf for slot in slots]
    _same_types(kernel, leaves)
    slots = writer.disjoint(slots, separate)
    built = writer.build(result)
    call = writer.bind(kernel.call if isinstance(kernel, Kernel) else kernel, "_kernel")
    passed, seen = (", ".join(parts) for parts in ((s.first for s in slots), (s.name for s in slots)))
    again = ", ".join(f"{p.name}={p.name}" if p.keyword_only else p.name for p in parameters)
    on_miss, on_failure = writer.bind(miss, "_miss"), writer.bind(failed or _unexpected, "_failed")
    shown = name if name.isidentifier() and not keyword.iskeyword(name) else "call"
    text = f"""def {shown}({header}):
    if {" and ".join(writer.conditions) or "True"}:
        _adjit_r = {call}({passed})
        if _adjit_r is not None:
            if not _adjit_r[0]:
                return {built}
            return {on_failure}(_adjit_r[0], _adjit_r[1], _adjit_r[2], ({seen}{"," if slots else ""}))
    return {on_miss}({again})

def _adjit_finish(_adjit_r, _adjit_arguments):
    if not _adjit_r[0]:
        return {built}
    return {on_failure}(_adjit_r[0], _adjit_r[1], _adjit_r[2], tuple(_adjit_arguments))
"""
    file = f"<adjit call of {shown} {next(_numbers)}>"
    exec(compile(text, file, "exec"), writer.names)
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    direct, finish = writer.names[call], writer.names["_adjit_finish"]
    writes, total = sorted(writer.written), len(slots)

    def run(values: Sequence[Any]) -> Any:
        if len(values) != total:
            raise ArgumentError(f"{len(values)} leaves passed to a kernel of {total}")
        if checked and not separate:
            returned = direct(*values)
            if returned is not None:
                return finish(returned, values)
        converted = [
            check_and_convert(value, leaf, f"argument {i}", written=i in writes)
            for i, (value, leaf) in enumerate(zip(values, leaves))
        ]
        require_disjoint(converted, sorted(separate))
        returned = direct(*converted)
        if returned is None:
            raise InternalError(f"a kernel refuses what fits it: {leaves}")
        return finish(returned, converted)

    return writer.names[shown], run


def _any_extents(type_: Scalar | Array, checked: bool) -> Scalar | Array:
    """A type without the extents that a kernel looks at itself; 1 is what a leaf says, too."""
    if not checked or not isinstance(type_, Array):
        return type_
    return Array(type_.dtype, tuple(n if n == 1 else None for n in type_.dims))


def _same_types(kernel: Any, leaves: Sequence[Leaf]) -> None:
    if not isinstance(kernel, Kernel):
        return
    expected = [kernel_type(leaf) for leaf in leaves]
    found = list(zip(kernel.arg_types, kernel.layouts))
    if len(expected) != len(found) or any(
        e[0] != _any_extents(f[0], kernel.checked) or (isinstance(e[0], Array) and e[1] != f[1])
        for e, f in zip(expected, found)
    ):
        raise ValueError(f"the kernel was compiled for {found}, the slots say {expected}")


def _unexpected(status: int, detail0: int, detail1: int, arguments: tuple[Any, ...]) -> Any:
    raise RuntimeError(f"a kernel without checks reports a failure at site {status} ({detail0}, {detail1})")


def _header(parameters: Sequence[Parameter], writer: _Writer) -> str:
    parts: list[str] = []
    for parameter in parameters:
        if parameter.name.startswith("_adjit_"):
            raise ValueError(f"a parameter named {parameter.name}")
        if parameter.keyword_only and "*" not in parts:
            parts.append("*")
        default = "" if parameter.default is None else f"={writer.bind(parameter.default[0])}"
        parts.append(parameter.name + default)
    return ", ".join(parts)


class _Filled(NamedTuple):
    """A slot in the text: `first` evaluates and names the value, `name` is it afterwards."""

    leaf: Leaf
    first: str
    name: str


class _Writer:
    """Writes the guards and the result of one specialized function, collecting the names that its text uses.

    With `checked`, the kernel itself looks at arrays that it does not write.
    """

    def __init__(self, written: frozenset[int], checked: bool) -> None:
        self.written, self.checked = written, checked
        self.names: dict[str, Any] = {"_adjit_ndarray": np.ndarray}
        self.conditions: list[str] = []
        self.slots: dict[int, _Filled] = {}
        self._temporaries = count()

    def bind(self, value: Any, hint: str = "_v") -> str:
        name = f"_adjit{hint}{len(self.names)}"
        self.names[name] = value
        return name

    def _local(self) -> str:
        return f"_adjit_t{next(self._temporaries)}"

    def _test(self, condition: str) -> None:
        self.conditions.append(condition)

    def guard(self, expression: str, structure: Any) -> None:
        """Conditions under which `expression` has `structure`; slots are entered under a simple name."""
        if expression.isidentifier():
            name = first = expression
        else:
            name = self._local()
            first = f"({name} := {expression})"  # evaluated once, by the first condition
        if isinstance(structure, Slot):
            self._slot(name, first, structure)
        elif isinstance(structure, Static):
            self._static(name, first, structure.value)
        elif isinstance(structure, Record):
            self._test(f"type({first}) is {self.bind(structure.type)}")
            for attribute, part in structure.attributes.items():
                self.guard(f"{name}.{attribute}", part)
        elif type(structure) in (tuple, list):
            self._test(f"type({first}) is {type(structure).__name__} and len({name}) == {len(structure)}")
            for i, part in enumerate(structure):
                self.guard(f"{name}[{i}]", part)
        elif type(structure) is dict:
            self._test(f"type({first}) is dict and len({name}) == {len(structure)}")
            missing = self.bind(object())
            for key, part in structure.items():
                shown = repr(key) if type(key) in (str, int) else self.bind(key)
                self.guard(f"{name}.get({shown}, {missing})", part)
        else:
            raise ValueError(f"not a structure of arguments: {structure!r}")

    def _slot(self, name: str, first: str, slot: Slot) -> None:
        leaf = slot.leaf
        if slot.index in self.slots:
            raise ValueError(f"two slots are numbered {slot.index}")
        if self.checked and leaf.kind == "array" and slot.index not in self.written:
            self.slots[slot.index] = _Filled(leaf, first, name)
            return
        self.slots[slot.index] = _Filled(leaf, name, name)
        if leaf.kind in ("float", "int", "bool"):
            self._test(f"type({first}) is {leaf.kind}")
            return
        dtype = DTYPES[leaf.dtype].numpy
        if leaf.kind == "scalar":
            self._test(f"type({first}) is {self.bind(dtype.type)}")
            return
        mask, value = _FLAGS[leaf.layout]
        if slot.index in self.written:
            mask, value = mask | _WRITEABLE, value | _WRITEABLE
        rank, shape = len(leaf.ones), self._local()
        extents = [f"{shape}[{i}] {'==' if one else '!='} 1" for i, one in enumerate(leaf.ones)]
        if rank > 1 and not any(leaf.ones):
            extents = [f"1 not in {shape}"]
        self._test(
            f"type({first}) is _adjit_ndarray and {name}.dtype is {self.bind(dtype)}"
            f" and {name}.flags.num & {mask} == {value} and len({shape} := {name}.shape) == {rank}"
        )
        self.conditions += extents

    def _static(self, name: str, first: str, value: Any) -> None:
        key = static_key(value)
        if key == (type(value), id(value)) or value is None or type(value) is bool:
            self._test(f"{first} is {self.bind(value)}")
            return
        test = f"{self.bind(static_key)}({name}) == {self.bind(key)}"
        if type(value) in (int, str, bytes, float):  # the same object is the same value: it cannot change
            self._test(f"({first} is {self.bind(value)} or {test})")
        else:
            self._test(test if first == name else f"({first} is {name} and {test})")

    def disjoint(self, slots: Sequence[_Filled], separate: frozenset[int]) -> list[_Filled]:
        """Conditions under which no array of `separate` can share memory with another; the slots, those that the
        conditions have named by name."""
        test = self.bind(np.may_share_memory) if separate else ""
        out = list(slots)
        for i in sorted(separate):
            for j, other in enumerate(out):
                if other.leaf.kind == "array" and j != i and not (j in separate and j < i):
                    first = out[i].first
                    out[i] = out[i]._replace(first=out[i].name)
                    self._test(f"not {test}({first}, {other.first})")
                    out[j] = other._replace(first=other.name)
        return out

    def build(self, structure: Any) -> str:
        """The expression of a part of the result, from the kernel's tuple `_adjit_r`."""
        if isinstance(structure, Output):
            taken = f"_adjit_r[{3 + structure.index}]"
            return taken if structure.convert is None else f"{self.bind(structure.convert)}({taken})"
        if isinstance(structure, Constant):
            return self.bind(structure.value)
        if isinstance(structure, Build):
            return f"{self.bind(structure.function)}({', '.join(map(self.build, structure.parts))})"
        if type(structure) is tuple:
            return "(" + "".join(f"{self.build(part)}, " for part in structure) + ")"
        if type(structure) is list:
            return f"[{', '.join(map(self.build, structure))}]"
        if type(structure) is dict:
            parts = (f"{self.bind(key)}: {self.build(part)}" for key, part in structure.items())
            return "{" + ", ".join(parts) + "}"
        raise ValueError(f"not a structure of results: {structure!r}")
