"""The IR itself: values, operations, regions, functions, and the builder that makes them.

In: operation declarations (`ir.ops`) for names and type rules. Out: static SSA with structured control flow.

A `Function` owns one `Region`. A region is a list of block arguments and a list of operations, the last
of which is its terminator (`return`, `yield` or `test`). Control flow is operations that own regions:

* ``if``: operand cond; regions then, else (no block arguments), both end in ``yield``.
* ``for``: operands lo, hi (i64), then initial carried values; attribute ``reverse``; one region with block
  arguments (i, carried...), ends in ``yield``. Runs i = lo, lo+1, ..., hi-1, or backwards where ``reverse``.
* ``while``: operands are the initial carried values; two regions. The first has the carried values as
  block arguments and ends in ``test cond``. The second, the body, has no block arguments of its own: it sees
  everything the first region defines, and ends in ``yield``.

Regions may use any value of an enclosing region defined before them (there is nothing else to capture).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .types import BOOL, F64, I64, Array, DType, Scalar, Type

__all__ = ["Builder", "Const", "Function", "Op", "Region", "Span", "Value", "builder", "const", "walk"]


@dataclass(frozen=True)
class Span:
    """Where in the user's source something came from: lines from 1, columns from 0 as in `ast`."""

    file: str
    line: int
    column: int = 0
    end_line: int = 0
    end_column: int = 0

    def __str__(self) -> str:
        return f"{self.file.replace(chr(92), '/').rsplit('/', 1)[-1]}:{self.line}"


class Value:
    """One SSA value: the result of an operation or a block argument. Compared by identity."""

    __slots__ = ("name", "op", "type")

    def __init__(self, type_: Type, name: str | None = None, op: Op | None = None) -> None:
        self.type = type_
        self.name = name
        self.op = op

    @property
    def dtype(self) -> DType:
        if isinstance(self.type, Scalar | Array):
            return self.type.dtype
        raise TypeError(f"{self.type} has no dtype")

    @property
    def rank(self) -> int:
        return self.type.rank if isinstance(self.type, Scalar | Array) else 0

    @property
    def is_array(self) -> bool:
        return isinstance(self.type, Array)

    def __repr__(self) -> str:
        return f"%{self.name or '_'}: {self.type}"

    # Rules read as mathematics: operators emit operations through the builder in force.
    def __add__(self, other: Any) -> Value:
        return _binary("add", self, other)

    def __radd__(self, other: Any) -> Value:
        return _binary("add", other, self)

    def __sub__(self, other: Any) -> Value:
        return _binary("sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return _binary("sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return _binary("mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return _binary("mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return _binary("div", self, other)

    def __rtruediv__(self, other: Any) -> Value:
        return _binary("div", other, self)

    def __pow__(self, other: Any) -> Value:
        return _binary("pow", self, other)

    def __neg__(self) -> Value:
        return builder().emit1("neg", [self])

    def __lt__(self, other: Any) -> Value:
        return _binary("lt", self, other)

    def __le__(self, other: Any) -> Value:
        return _binary("le", self, other)

    def __gt__(self, other: Any) -> Value:
        return _binary("gt", self, other)

    def __ge__(self, other: Any) -> Value:
        return _binary("ge", self, other)

    def __and__(self, other: Any) -> Value:
        return _binary("logical_and", self, other)

    def __or__(self, other: Any) -> Value:
        return _binary("logical_or", self, other)

    def __invert__(self) -> Value:
        return builder().emit1("logical_not", [self])


def _binary(name: str, left: Any, right: Any) -> Value:
    like = left if isinstance(left, Value) else right
    return builder().emit1(name, [as_value(left, like), as_value(right, like)])


def as_value(x: Any, like: Value) -> Value:
    """A Python number as a constant of `like`'s dtype; values unchanged."""
    return x if isinstance(x, Value) else const(x, like.dtype)


class Const(Value):
    """A scalar constant; an operand that no operation defines. Equal where type and bits are equal."""

    __slots__ = ("key", "value")

    def __init__(self, value: Any, dtype: DType) -> None:
        super().__init__(Scalar(dtype))
        self.value: Any = np.asarray(value).astype(dtype.numpy)[()]
        self.key: tuple[str, bytes] = (dtype.name, self.value.tobytes())

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Const) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"{self.value}: {self.type}"


def const(value: Any, dtype: DType | None = None) -> Const:
    """A constant; without `dtype`, of bool, int and float it is bool, i64 and f64.

    >>> const(2.0), const(3)
    (2.0: f64, 3: i64)
    """
    if dtype is None:
        dtype = BOOL if isinstance(value, bool | np.bool_) else I64 if isinstance(value, int | np.integer) else F64
    return Const(value, dtype)


class Op:
    """One operation. `attrs` holds static data (axes, messages); regions hold nested control flow."""

    __slots__ = ("attrs", "name", "operands", "regions", "results", "span")

    def __init__(
        self,
        name: str,
        operands: Sequence[Value],
        result_types: Sequence[Type],
        attrs: dict[str, Any] | None = None,
        regions: Sequence[Region] = (),
        span: Span | None = None,
        names: Sequence[str | None] = (),
    ) -> None:
        self.name = name
        self.operands: list[Value] = list(operands)
        self.attrs: dict[str, Any] = attrs or {}
        self.regions: list[Region] = list(regions)
        self.span = span
        padded = list(names) + [None] * (len(result_types) - len(names))
        self.results: list[Value] = [Value(t, n, self) for t, n in zip(result_types, padded, strict=True)]

    @property
    def result(self) -> Value:
        (value,) = self.results
        return value

    def __repr__(self) -> str:
        return f"<{self.name} {self.operands} {self.attrs or ''}>"


@dataclass(eq=False)
class Region:
    """Block arguments and operations, the terminator last."""

    args: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    @property
    def terminator(self) -> Op:
        return self.ops[-1]


@dataclass(eq=False)
class Function:
    """A named region. `attrs` carries what belongs to the whole function (argument names, counts)."""

    name: str
    body: Region
    attrs: dict[str, Any] = field(default_factory=dict)

    @property
    def args(self) -> list[Value]:
        return self.body.args

    @property
    def results(self) -> list[Value]:
        return self.body.terminator.operands

    def __str__(self) -> str:
        from .text import to_text

        return to_text(self)


def walk(region: Region) -> Iterator[Op]:
    """Every operation of a region, nested ones after their owner, in program order."""
    levels = [iter(region.ops)]
    while levels:
        for op in levels[-1]:
            yield op
            if op.regions:
                levels += [iter(inner.ops) for inner in reversed(op.regions)]
                break
        else:
            levels.pop()


class _Stack(threading.local):
    """The builders in force, per thread."""

    def __init__(self) -> None:
        self.builders: list[Builder] = []


_STACK = _Stack()


def builder() -> Builder:
    """The builder in force (the innermost ``with Builder(...)``)."""
    if not _STACK.builders:
        raise RuntimeError("no builder is in force")
    return _STACK.builders[-1]


class Builder:
    """Appends operations to a region; as a context manager, it is the one that operators on values use.

    >>> from adjit.ir.types import Scalar, F64
    >>> x = Value(Scalar(F64), "x")
    >>> region = Region([x])
    >>> with Builder(region) as b:
    ...     _ = b.emit("return", [x * x + 1.0])
    >>> [op.name for op in region.ops]
    ['mul', 'add', 'return']
    """

    def __init__(self, region: Region, span: Span | None = None) -> None:
        self.region = region
        self.span = span

    def __enter__(self) -> Builder:
        _STACK.builders.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        popped = _STACK.builders.pop()
        assert popped is self, "builders must nest"

    @contextlib.contextmanager
    def at(self, span: Span | None) -> Iterator[None]:
        """Operations emitted inside carry `span`."""
        saved, self.span = self.span, span
        try:
            yield
        finally:
            self.span = saved

    def emit(
        self,
        name: str,
        operands: Iterable[Value] = (),
        attrs: dict[str, Any] | None = None,
        regions: Sequence[Region] = (),
        span: Span | None = None,
        names: Sequence[str | None] = (),
        result_types: Sequence[Type] | None = None,
    ) -> list[Value]:
        """Append an operation and return its results; types come from the declaration unless given."""
        from .ops import lookup

        operands = list(operands)
        attrs = dict(attrs or {})
        if result_types is None:
            result_types = lookup(name).infer(operands, attrs, list(regions))
        op = Op(name, operands, result_types, attrs, regions, span or self.span, names)
        self.region.ops.append(op)
        return op.results

    def emit1(self, name: str, operands: Iterable[Value] = (), attrs: dict[str, Any] | None = None, **kw: Any) -> Value:
        """`emit` for operations with exactly one result."""
        (value,) = self.emit(name, operands, attrs, **kw)
        return value
