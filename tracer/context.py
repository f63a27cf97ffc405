"""The state of one trace: where operations go, what every name and object holds, and where in the source we are.

In: nothing. Out: `Tracer`, which every other module of the tracer works on.

Everything that a program can change lives in one dictionary, `store`, so that control flow can take a snapshot
and merge two of them. Its keys are

* ``(frame, name)``: a variable; missing means undefined;
* ``(frame or loop, "<returned>" | "<broke>" | "<continued>")``: control-flow flags; missing means False;
* an `ArrayObject`, `ListObject`, `DictObject` or `Instance`: its contents; missing means its initial contents;
* a frozenset of two array objects: whether the two may be one and the same object; missing means they are not;
* ``DEAD``: whether this path has ended in an error.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from ..ir.core import Builder, Const, Op, Region, Span, Value
from ..ir.errors import AdjitError, BoundsError, InternalError, ShapeError, TraceTypeError, UnsupportedError
from ..ir.types import I64, Array, Type
from .source import span_of
from .values import UNDEFINED, ArrayObject, DictObject, Instance, ListObject, Number, Reference

if TYPE_CHECKING:
    from .captures import Captures
    from .carried import LoopMemory
    from .scope import Frame

__all__ = ["DEAD", "StaticNeeded", "Tracer"]

DEAD = "<dead>"
Key = Any
Store = dict[Key, Any]


class StaticNeeded(UnsupportedError):
    """A value was needed while tracing and is known only at run time; a loop may unroll to supply it."""


class PathEnds(Exception):
    """The path being traced ends in an error at run time."""


class Tracer:
    """One trace."""

    def __init__(self, loose: bool = False) -> None:
        self.loose = loose
        """Whether any extent that is not known may be 1 and then is repeated (see `broadcasting`)."""
        self.short: set[Value] = set()
        """Extents that are 0 or 1."""
        self.builders: list[Builder] = []
        self.regions: list[Region] = []
        self.store: Store = {}
        self.node: ast.AST | None = None
        self.file: str = ""
        self.frame: Frame | None = None
        self.depth = 0
        self.captures: Captures
        self.loops: dict[Any, LoopMemory] = {}
        self.nonnegative: set[Value] = set()
        self.sources: dict[int, Any] = {}
        self.births: dict[Any, int] = {}
        self.suspended: dict[ArrayObject, Any] = {}
        self.steps = 0
        self.probing: list[Any] = []
        """Loops being traced, innermost last (see `loops.Builder`)."""
        self.differentiates = False
        """Whether the program contains derivatives of its own."""
        self.rules: list[Any] = []
        """Functions whose own rules of derivatives are being traced, innermost last."""
        self.equal: dict[frozenset[Value], Region] = {}
        """Extents that were compared, and the region where that was."""
        self.current: ast.AST | None = None
        """The expression evaluated last, for reports of internal errors."""

    # ------------------------------------------------------------ where we are

    @property
    def builder(self) -> Builder:
        return self.builders[-1]

    @property
    def region(self) -> Region:
        return self.regions[-1]

    def span(self) -> Span | None:
        node = self.node
        return span_of(node, self.file) if node is not None and hasattr(node, "lineno") else None

    @contextlib.contextmanager
    def inside(self, region: Region) -> Iterator[None]:
        """Operations go to `region`."""
        builder = Builder(region)
        self.builders.append(builder)
        self.regions.append(region)
        with builder:
            try:
                yield
            finally:
                self.regions.pop()
                self.builders.pop()

    @contextlib.contextmanager
    def at(self, node: ast.AST) -> Iterator[None]:
        saved, self.node = self.node, node
        try:
            yield
        finally:
            self.node = saved

    def emit(
        self,
        name: str,
        operands: Iterable[Value] = (),
        attrs: dict[str, Any] | None = None,
        regions: Sequence[Region] = (),
        names: Sequence[str | None] = (),
        result_types: Sequence[Type] | None = None,
    ) -> list[Value]:
        self.steps += 1
        if self.steps > 400_000:
            self.fail(
                UnsupportedError,
                "this program becomes too large when traced (more than 400,000 operations)",
                "a loop over a tuple or a list, or a recursion, is unrolled here: use arrays and `for i in range(n)`",
            )
        try:
            return self.builder.emit(name, operands, attrs, regions, self.span(), names, result_types)
        except AdjitError:
            raise
        except Exception as error:
            raise InternalError(f"{type(error).__name__}: {error}", self.span()) from error

    def emit1(self, name: str, operands: Iterable[Value] = (), attrs: dict[str, Any] | None = None) -> Value:
        return self.emit(name, operands, attrs)[0]

    # ------------------------------------------------------------ errors

    def fail(self, kind: type[AdjitError], message: str, help: str = "") -> NoReturn:
        if not help:
            help = next((text for base, text in WAYS_OUT.items() if issubclass(kind, base)), "")
        raise kind(message, self.span(), help)

    def unsupported(self, message: str, help: str = "") -> NoReturn:
        self.fail(UnsupportedError, message, help)

    def type_error(self, message: str, help: str = "") -> NoReturn:
        self.fail(TraceTypeError, message, help)

    def shape_error(self, message: str, help: str = "") -> NoReturn:
        self.fail(ShapeError, message, help)

    def fail_value(self, message: str, help: str = "") -> NoReturn:
        """What Python would refuse with a ValueError whatever the arguments."""
        self.fail(TraceTypeError, message, help)

    def static_needed(self, message: str, help: str = "") -> NoReturn:
        self.fail(StaticNeeded, message, help)

    # ------------------------------------------------------------ the store

    def get(self, key: Key) -> Any:
        return self.store[key] if key in self.store else default(key)

    def dead(self) -> bool:
        return self.store.get(DEAD) is True

    def visible(self, region: Region) -> bool:
        """Whether what `region` defines may be used here."""
        return any(r is region for r in self.regions)

    def alive(self, key: Key) -> bool:
        """Whether a key of the store names something that exists outside the region being left."""
        if isinstance(key, tuple):
            return self.visible(key[0].region)
        if isinstance(key, frozenset):
            return all(self.visible(o.region) for o in key)
        if isinstance(key, ArrayObject | ListObject | DictObject | Instance):
            return self.visible(key.region)
        return True

    # ------------------------------------------------------------ objects

    def birth(self) -> Any:
        """A name for what comes into being here that is the same when a loop's body is traced again."""
        where = (self.frame.path if self.frame is not None else (), id(self.node))
        return where

    def new_array(
        self, value: Value, extents: Sequence[Value | None] | None = None, c_order: bool | None = True
    ) -> Reference:
        """A new array object that holds `value`."""
        assert isinstance(value.type, Array)
        known: list[Value | None] = [None] * value.type.rank if extents is None else list(extents)
        for k, d in enumerate(value.type.dims):
            if d is not None:
                known[k] = Const(d, I64)
        if value.type.rank == 1:
            c_order = True
        return Reference(ArrayObject(value, known, self.region, self.birth(), c_order))

    def new_list(self, items: Iterable[Any]) -> ListObject:
        return ListObject(tuple(items), self.region, self.birth())

    def new_dict(self, items: Iterable[tuple[Any, Any]]) -> DictObject:
        return DictObject(tuple(items), self.region, self.birth())

    def items(self, container: ListObject | DictObject | Instance) -> tuple[Any, ...]:
        for source, then in container.merged_from or ():
            if self.store.get(source, source.initial) is not then:
                self.unsupported(
                    "a list, dict or object that is one of several, depending on the path taken, is read after one "
                    "of them has changed",
                    "build a new one on every path",
                )
        found: tuple[Any, ...] = self.store.get(container, container.initial)
        return found

    def set_items(self, container: ListObject | DictObject | Instance, items: Iterable[Any]) -> None:
        if container.host:
            self.unsupported(
                f"`{container.host}` belongs to the caller and is changed here",
                "build a new one inside the function and return it; elements of arrays in it may be written to",
            )
        if container.merged_from is not None:
            self.unsupported(
                "a list, dict or object that is one of several, depending on the path taken, is changed",
                "build a new one instead of changing it",
            )
        self.store[container] = tuple(items)

    # ------------------------------------------------------------ scalars

    def number(self, value: Value, weak: bool = False, nonnegative: bool = False) -> Number:
        if nonnegative:
            self.nonnegative.add(value)
        return Number(value, weak)

    def name_value(self, value: Any, name: str) -> None:
        """Let the IR value carry the name of the Python variable."""
        if isinstance(value, Number):
            inner: Value = value.value
        elif isinstance(value, Reference) and not value.stages:
            inner = value.object.initial
        else:
            return
        if inner.name is None and not isinstance(inner, Const):
            inner.name = name


def default(key: Key) -> Any:
    """What a missing key of the store means."""
    if isinstance(key, tuple):
        return False if key[1] in FLAGS else UNDEFINED
    if isinstance(key, ArrayObject | ListObject | DictObject | Instance):
        return key.initial
    return False


WAYS_OUT: dict[type[AdjitError], str] = {
    BoundsError: "axes are counted from 0, and an array has as many as its `.ndim` says",
    TraceTypeError: "plain Python and NumPy refuse this as well: look at what the values on this line are",
    ShapeError: "NumPy refuses these shapes as well: look at the `.shape` of the arrays on this line",
    UnsupportedError: "compute this outside of the function and pass the result in",
}
"""What to do where a message has no better advice."""

FLAGS = ("<returned>", "<broke>", "<continued>")


def defining_index(region: Region, value: Value) -> int:
    """Where in `region` an operation may stand that uses `value`: right after its definition."""
    if value.op is None:
        return 0
    ops: list[Op] = region.ops
    for k in range(len(ops) - 1, -1, -1):
        if ops[k] is value.op:
            return k + 1
    return -1
