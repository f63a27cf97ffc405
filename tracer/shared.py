"""Memory that a function shares with its caller, where the function is traced into a program of its own.

In: a function that plain Python calls as it is (`checkpoint`, `custom_vjp`, `custom_jvp`, the solver of `custom_root`),
its arguments and result. Out: refusals where the call would be seen to work on copies.

A program works on copies: what it writes to an argument is lost, and a result that is an argument, a view of one, or a
view of another result, is an array of its own. Plain Python sees one array in each of these cases. So writes to
arguments are refused. A result that shares memory may be read as long as what it shares memory with is unchanged, and
is not written to (`ArrayObject.copied_from`, `readonly`); the same of lists, dicts and objects (`merged_from`). What is
shared with an array that nobody can see any more counts as the function's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..ir.core import Const
from ..ir.types import I64
from . import aliasing, views
from .context import Store, Tracer
from .values import ArrayObject, DictObject, Instance, ListObject, Maybe, Reference, in_order

__all__ = ["keep_containers", "link", "memory_of", "memory_outside", "now", "refuse_writes", "sources"]

SHARED = "NumPy has one array here, under this name and another"


def memory_of(t: Tracer, x: Reference) -> set[ArrayObject]:
    """The objects whose memory an array may be, or may be a view of."""
    found: set[ArrayObject] = set()
    stack = [x.object]
    while stack:
        obj = stack.pop()
        if obj in found:
            continue
        found.add(obj)
        if obj.choice is not None:
            stack += [part.object for part in obj.choice[1:]]
        stack += [source for source, _ in obj.copied_from]
        stack += [other for other, _ in aliasing.aliases(t, obj)]
    return found


def refuse_writes(t: Tracer, name: str, arguments: Iterable[ArrayObject]) -> None:
    """Refuse a function that has changed an array among its arguments."""
    for obj in arguments:
        if t.store.get(obj, obj.initial) is not obj.initial:
            t.unsupported(
                f"`{name}`, which has a derivative of its own or is under checkpoint, writes to an array that it is "
                "given",
                "copy the array in the function first (`x = x.copy()`), and return what is new",
            )


def sources(t: Tracer, memory: Iterable[ArrayObject], before: Store) -> tuple[ArrayObject, ...]:
    """Those of the objects of the surroundings that can still be seen there."""
    seen: set[ArrayObject] = set()
    for obj in aliasing.reachable(t, before, set()):
        seen |= memory_of(t, Reference(obj))
    return tuple(o for o in in_order(memory) if o in seen and o.choice is None)


def link(t: Tracer, made: ArrayObject, origins: Sequence[ArrayObject]) -> None:
    """`made` stands for what is a view of `origins` in NumPy: it holds what they held."""
    made.readonly = SHARED
    made.copied_from = tuple((o, views.contents(t, o)) for o in origins if t.visible(o.region))


def memory_outside(t: Tracer, x: Reference, arguments: Mapping[ArrayObject, Reference]) -> set[ArrayObject]:
    """`memory_of` a result, with the caller's objects for the function's arguments."""
    out: set[ArrayObject] = set()
    for obj in memory_of(t, x):
        out |= memory_of(t, arguments[obj]) if obj in arguments else {obj}
    return out


def keep_containers(t: Tracer, result: Any, made: Any, given: Sequence[tuple[Any, Any]], born: int) -> None:
    """Note on the lists, dicts and objects of `made`, a copy of the structure `result`, which of the caller's they are
    in plain Python. `given`: the arguments, and the structures that the function got for them; `born`: the serial
    number from which on objects are the function's own."""
    inside: dict[int, Any] = {}
    for outer, inner in given:
        inside.update((id(b), a) for a, b in containers(t, outer, inner))
    seen: dict[int, Any] = {}
    for x, y in containers(t, result, made):
        origin = inside.get(id(x), x if x.serial < born else None)
        if origin is not None:
            y.merged_from = ((origin, t.items(origin)),)
        elif id(x) in seen:
            y.merged_from = seen[id(x)].merged_from = ()
        seen[id(x)] = y


def containers(t: Tracer, x: Any, y: Any) -> Iterator[tuple[Any, Any]]:
    """The lists, dicts and objects of two structures that are alike."""
    if isinstance(x, Maybe):
        yield from containers(t, x.value, y)
    elif isinstance(x, tuple):
        for a, b in zip(x, y, strict=True):
            yield from containers(t, a, b)
    elif isinstance(x, ListObject | DictObject | Instance):
        yield x, y
        named = not isinstance(x, ListObject)
        for a, b in zip(t.items(x), t.items(y), strict=True):
            yield from containers(t, a[1] if named else a, b[1] if named else b)


def now(t: Tracer) -> int:
    """A serial number between those of objects that exist and of those to come."""
    return ArrayObject(Const(0, I64), [], t.region).serial
