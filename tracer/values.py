"""What names stand for while tracing: abstract values.

In: nothing. Out: the classes of abstract values. What is static is itself: Python numbers, strings, tuples,
functions, dtypes and modules stand for themselves. What is known only at run time is

* `Number`: one scalar, an IR value, `weak` where it is a Python number (NEP 50);
* `Reference`: an array: *which object*, seen through *which view*. The object's contents are an IR value that
  changes as the program writes; the store of the tracer says what it is now;
* `ListObject`, `DictObject`, `Instance`: mutable containers of abstract values, compared by identity;
* `FunctionValue`: a function or lambda defined by the traced program, with the frame it closes over.

`Poison` is a value that must not be read (the paths that lead here disagree about it); `Maybe` one that may
not exist, with a flag that says whether it does.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..ir.core import Const, Region, Value
from ..ir.types import DType

if TYPE_CHECKING:
    from .scope import Frame
    from .source import FunctionCode

__all__ = [
    "UNDEFINED",
    "ArrayObject",
    "BoundMethod",
    "DictObject",
    "FunctionValue",
    "Host",
    "Instance",
    "ListObject",
    "Maybe",
    "Number",
    "Partial",
    "Poison",
    "Reference",
    "Reshape",
    "View",
    "in_order",
    "is_dynamic",
]


class Undefined:
    """A name without a value."""

    def __repr__(self) -> str:
        return "UNDEFINED"


UNDEFINED = Undefined()


CALLERS = 2
"""`Number.array` of an argument."""


@dataclass(frozen=True, eq=False)
class Formatted:
    """An f-string with values known at run time, for `print`: (value, conversion, format) of each part."""

    parts: tuple[tuple[Any, int, str], ...]


@dataclass(eq=False, slots=True)
class Number:
    """A scalar known at run time. `weak`: a Python bool, int or float rather than a NumPy scalar.

    `array`: NumPy has a 0-d array of its own here, which `+=` changes in place under all its names; `CALLERS` where
    one of these names may be the caller's.
    """

    value: Value
    weak: bool = False
    array: int = False

    @property
    def dtype(self) -> DType:
        return self.value.dtype


@dataclass(frozen=True)
class Poison:
    """A value that paths disagree about; reading it is an error that says so."""

    message: str


@dataclass(eq=False, slots=True)
class Maybe:
    """A value that exists where `defined` (a static bool or a boolean IR value) is true."""

    value: Any
    defined: Any


# ---------------------------------------------------------------- arrays

Made = TypeVar("Made", "ArrayObject", "ArrayObject | ListObject | DictObject | Instance")
_SERIALS = itertools.count()
"""Numbers objects as they come into being: their order in a set is not that of the next run."""


def in_order(objects: Iterable[Made]) -> list[Made]:
    """Array objects and containers, in the order in which they came into being."""
    return sorted(objects, key=lambda o: o.serial)


@dataclass(eq=False, slots=True)
class ArrayObject:
    """The identity of an array. Its contents are `initial` until written.

    `extents`: one IR value per axis, or None where nobody asked yet. `region`: where it came into being, hence
    where its values are visible. `c_order`: whether its elements lie in C order (None: NumPy decides at run time).
    `copied_from`: where this may be a copy or a view of other objects: those, with what they held then.
    """

    initial: Value
    extents: list[Value | None]
    region: Region
    birth: Any = None
    c_order: bool | None = True
    argument: int | None = None
    choice: tuple[Value, Reference, Reference] | None = None
    """For an array that is one thing or another (through different views): the flag and both. `initial` is a type."""
    copied_from: tuple[tuple[ArrayObject, Value], ...] = ()
    readonly: str = ""
    serial: int = field(default_factory=_SERIALS.__next__, init=False)

    @property
    def dtype(self) -> DType:
        return self.initial.dtype

    @property
    def rank(self) -> int:
        return len(self.extents)


@dataclass(frozen=True, eq=False)
class View:
    """Part of an array, axes in any order.

    `selectors`: per axis of what is viewed: None (the whole axis), (position,) or (start, length, step).
    `axes`: per axis of the view, the axis it shows, or None for a new axis of extent 1.
    """

    selectors: tuple[tuple[Value, ...] | None, ...]
    axes: tuple[int | None, ...]


@dataclass(frozen=True, eq=False)
class Reshape:
    """The same elements in C order under other extents."""

    extents: tuple[Value, ...]


@dataclass(frozen=True, eq=False)
class Reference:
    """An array as seen through stages of views."""

    object: ArrayObject
    stages: tuple[View | Reshape, ...] = ()

    @property
    def rank(self) -> int:
        if not self.stages:
            return self.object.rank
        last = self.stages[-1]
        return len(last.axes) if isinstance(last, View) else len(last.extents)

    @property
    def dtype(self) -> DType:
        return self.object.dtype

    def parts(self) -> list[Value]:
        """The IR values that the views mention, in a fixed order."""
        out: list[Value] = []
        for stage in self.stages:
            if isinstance(stage, Reshape):
                out += stage.extents
            else:
                for selector in stage.selectors:
                    out += selector or ()
        return out

    def with_parts(self, object_: ArrayObject, parts: list[Value]) -> Reference:
        """The same views of another object, with other values."""
        rest: Iterator[Value] = iter(parts)
        stages: list[View | Reshape] = []
        for stage in self.stages:
            if isinstance(stage, Reshape):
                stages.append(Reshape(tuple(next(rest) for _ in stage.extents)))
            else:
                selectors = tuple(None if s is None else tuple(next(rest) for _ in s) for s in stage.selectors)
                stages.append(View(selectors, stage.axes))
        return Reference(object_, tuple(stages))

    def shape_of_views(self) -> tuple[Any, ...]:
        """What must agree for two references to differ in values only."""
        return tuple(
            ("reshape", len(s.extents))
            if isinstance(s, Reshape)
            else (tuple(None if x is None else len(x) for x in s.selectors), s.axes)
            for s in self.stages
        )


# ---------------------------------------------------------------- containers and functions


@dataclass(eq=False, slots=True)
class ListObject:
    """A Python list; the store has its items once they change. `host`: a list of the caller's, not to be changed.

    `merged_from`: this stands for different lists on different paths (those, with what they held then), so it is not
    to be changed, nor read once one of them has changed. Dicts and instances have the same fields.
    """

    initial: tuple[Any, ...]
    region: Region
    birth: Any = None
    host: str = ""
    merged_from: tuple[tuple[Any, tuple[Any, ...]], ...] | None = None
    serial: int = field(default_factory=_SERIALS.__next__, init=False)


@dataclass(eq=False, slots=True)
class DictObject:
    """A Python dict with static keys: pairs in order."""

    initial: tuple[tuple[Any, Any], ...]
    region: Region
    birth: Any = None
    host: str = ""
    merged_from: tuple[tuple[Any, tuple[Any, ...]], ...] | None = None
    serial: int = field(default_factory=_SERIALS.__next__, init=False)


@dataclass(eq=False, slots=True)
class Instance:
    """An object of a user's class made of abstract values (a dataclass argument, or made while tracing)."""

    cls: type
    initial: tuple[tuple[str, Any], ...]
    region: Region
    birth: Any = None
    host: str = ""
    merged_from: tuple[tuple[Any, tuple[Any, ...]], ...] | None = None
    serial: int = field(default_factory=_SERIALS.__next__, init=False)


@dataclass(eq=False)
class Host:
    """An object of the caller's whose attributes are read at call time."""

    value: Any
    read: Callable[[], Any]
    text: str
    key: Any


@dataclass(eq=False)
class FunctionValue:
    """A function or lambda that the traced program defined."""

    code: FunctionCode
    frame: Frame
    defaults: tuple[Any, ...]
    keyword_defaults: dict[str, Any]

    @property
    def __name__(self) -> str:
        return self.code.name


@dataclass(eq=False)
class BoundMethod:
    """A function with its `self`."""

    function: Any
    self: Any


@dataclass(eq=False)
class Partial:
    """functools.partial of abstract values."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class ClassMethodOf:
    """A method of an array or container, not called yet."""

    name: str
    self: Any


def is_dynamic(value: Any) -> bool:
    """Whether a value (not looking into containers) is known at run time only."""
    return isinstance(value, Number | Reference)


def constant(value: Value) -> Any:
    """The Python value of a constant, else None."""
    return value.value.item() if isinstance(value, Const) else None


def children(node: ast.AST) -> Iterator[ast.AST]:
    return ast.iter_child_nodes(node)
