"""Subscripts of arrays, tuples, lists, dicts, strings and objects: `x[...]` read, written and deleted.

In: a container and an index of abstract values. Out: an element, a view, or a copy of what was chosen; or the write.
What a subscript of an array means is in `places`.
"""

from __future__ import annotations

from typing import Any

from . import numeric
from .context import Tracer
from .numeric import describe
from .places import Place, cast_check, fill_view
from .values import DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["Place", "cast_check", "fill_view", "load", "remove", "store"]


def load(t: Tracer, container: Any, index: Any) -> Any:
    """`container[index]`."""
    if isinstance(container, Reference):
        return Place(t, container, index).read()
    if isinstance(container, tuple | ListObject):
        items = t.items(container) if isinstance(container, ListObject) else container
        if isinstance(index, slice):
            bounds = (
                None if p is None else numeric.static_int(t, p, "a bound of a slice of a tuple or list")
                for p in (index.start, index.stop, index.step)
            )
            part = items[slice(*bounds)]
            return t.new_list(part) if isinstance(container, ListObject) else tuple(part)
        k = numeric.static_int(t, index, "the index of a tuple or list")
        if not -len(items) <= k < len(items):
            t.type_error(f"index {k} is out of range for {len(items)} items")
        return items[k]
    if isinstance(container, DictObject):
        from .expressions import static_key

        key = static_key(t, index)
        for k, v in t.items(container):
            if k == key:
                return v
        t.type_error(f"the dict has no key {key!r}")
    if isinstance(container, Instance | Host):
        from . import calls, expressions

        return calls.call(t, expressions.attribute(t, container, "__getitem__"), [index], {})
    if isinstance(container, Number) and not container.weak and isinstance(index, tuple) and not index:
        return Number(container.value)  # NumPy's `x[()]` makes a scalar of an array without axes
    if isinstance(container, str):
        if isinstance(index, slice):
            return container[index]
        return container[numeric.static_int(t, index, "the index of a string")]
    from .bind_grids import SUBSCRIPTS
    from .iteration import Range

    if id(container) in SUBSCRIPTS:
        return SUBSCRIPTS[id(container)](t, index)
    if isinstance(container, Range) and not isinstance(index, slice):
        from .iteration import iterable_of

        iterable = iterable_of(t, container)
        if iterable.static_length is not None:
            return iterable.at(numeric.static_int(t, index, "the index of a range"))
    t.type_error(f"{describe(container)} cannot be indexed")


def store(t: Tracer, container: Any, index: Any, value: Any) -> None:
    """`container[index] = value`."""
    if isinstance(container, Reference):
        Place(t, container, index).write(value, same_kind=False)
    elif isinstance(container, ListObject):
        items = list(t.items(container))
        if isinstance(index, slice):
            t.unsupported("assignment to a slice of a list", "assign element by element")
        k = numeric.static_int(t, index, "the index of a list")
        if not -len(items) <= k < len(items):
            t.type_error(f"index {k} is out of range for {len(items)} items")
        items[k] = value
        t.set_items(container, items)
    elif isinstance(container, DictObject):
        from .expressions import static_key

        pairs = dict(t.items(container))
        pairs[static_key(t, index)] = value
        t.set_items(container, pairs.items())
    elif isinstance(container, Instance | Host):
        from . import calls, expressions

        calls.call(t, expressions.attribute(t, container, "__setitem__"), [index, value], {})
    else:
        t.type_error(f"{describe(container)} does not support item assignment")


def remove(t: Tracer, container: Any, index: Any) -> None:
    """`del container[index]`."""
    if isinstance(container, DictObject):
        t.set_items(container, [(k, v) for k, v in t.items(container) if k != index])
    elif isinstance(container, ListObject) and not isinstance(index, slice):
        items = list(t.items(container))
        del items[numeric.static_int(t, index, "the index of a list")]
        t.set_items(container, items)
    else:
        t.unsupported("`del` of elements of an array", "build a new array without them (np.concatenate of slices)")
