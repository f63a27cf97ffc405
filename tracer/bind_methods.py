"""Attributes and methods of arrays, numbers, lists, dicts and tuples.

In: an abstract value and a name. Out: the attribute, or the result of the method.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const
from ..ir.types import F64, I64
from . import integers, numeric, views
from .context import Tracer
from .numeric import describe
from .values import ClassMethodOf, DictObject, ListObject, Number, Reference

__all__ = ["array_attribute", "astype", "call_method", "container_attribute", "copy", "number_attribute"]


def array_attribute(t: Tracer, ref: Reference, name: str) -> Any:
    from .bind_shape import extent_number, product, ravel, transpose

    if name == "shape":
        return tuple(extent_number(e) for e in views.extents(t, ref))
    if name == "T":
        return transpose(t, ref)
    if name == "ndim":
        return ref.rank
    if name == "size":
        return extent_number(product(t, views.extents(t, ref)))
    if name == "dtype":
        return ref.dtype.numpy
    if name == "itemsize":
        return ref.dtype.itemsize
    if name == "nbytes":
        size = product(t, views.extents(t, ref))
        return extent_number(integers.mul(t, size, ref.dtype.itemsize))
    if name == "flat":
        return ravel(t, ref)
    if name == "real":
        return ref
    if name == "imag":
        from .bind_reals import imag

        return imag(t, ref)
    if name == "mT" and ref.rank >= 2:
        order = list(range(ref.rank))
        order[-2:] = [ref.rank - 1, ref.rank - 2]
        return views.permuted(ref, order)
    if name in ARRAY_METHODS or name in reductions():
        return ClassMethodOf(name, ref)
    if hasattr(np.ndarray, name):
        t.unsupported(f"`.{name}` of an array is not supported", "write it with functions that are known")
    t.type_error(f"an array has no attribute `{name}`")


def reductions() -> dict[str, Any]:
    from .bind_reduce import REDUCTIONS

    return REDUCTIONS


def number_attribute(t: Tracer, x: Number, name: str) -> Any:
    if name == "real":
        return x
    if name == "imag":
        return 0.0
    if x.weak and name in ("conjugate", "is_integer"):
        return ClassMethodOf(name, x)
    if x.weak and hasattr({"b": bool, "i": int, "f": float}[x.dtype.kind], name):
        t.unsupported(f"`.{name}` of a Python number is not supported", "use a function of NumPy instead")
    if x.weak:
        t.type_error(f"a Python number has no attribute `{name}`", "use a function of NumPy instead")
    fixed = {"shape": (), "ndim": 0, "size": 1, "T": x, "dtype": x.dtype.numpy, "itemsize": x.dtype.itemsize}
    if name in fixed:
        return fixed[name]
    if name in NUMBER_METHODS or name in reductions():
        return ClassMethodOf(name, x)
    if hasattr(x.dtype.numpy.type, name):
        t.unsupported(f"`.{name}` of a NumPy number is not supported", "write it with functions that are known")
    t.type_error(f"a NumPy number has no attribute `{name}`")


def static_number_attribute(t: Tracer, x: Any, name: str) -> Any:
    if name in ("real", "imag"):
        return getattr(x, name)
    try:
        return getattr(x, name)
    except AttributeError as error:
        t.type_error(str(error))


def container_attribute(t: Tracer, x: Any, name: str) -> Any:
    if isinstance(x, tuple):
        fields = getattr(type(x), "_fields", ())
        if name in fields:
            return getattr(x, name)
        if (name in ("_replace", "_asdict") and fields) or name in ("count", "index"):
            return ClassMethodOf(name, x)
        if name == "_fields":
            return fields
        from .attributes import class_attribute, guard_class
        from .calls import call
        from .values import BoundMethod

        exists, found, _ = class_attribute(type(x), name)
        guard_class(t, type(x), name)
        if exists and isinstance(found, property):
            return call(t, found.fget, [x], {})
        if exists and callable(found) and type(x) is not tuple:
            return BoundMethod(found, x)
        t.type_error(f"a tuple has no attribute `{name}`")
    known = LIST_METHODS if isinstance(x, ListObject) else DICT_METHODS
    if name in known:
        return ClassMethodOf(name, x)
    t.unsupported(f"`.{name}` of {describe(x) if isinstance(x, ListObject) else 'a dict'} is not supported")


def call_method(t: Tracer, owner: Any, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    from . import calls

    if isinstance(owner, Reference):
        method = reductions().get(name) or ARRAY_METHODS[name]
    elif isinstance(owner, Number):
        method = NUMBER_METHODS.get(name) or reductions()[name]
    elif isinstance(owner, ListObject):
        method = LIST_METHODS[name]
    elif isinstance(owner, DictObject):
        method = DICT_METHODS[name]
    else:
        method = TUPLE_METHODS[name]
    if name == "reshape" or name == "transpose":
        args = [tuple(args)] if len(args) != 1 else args
        if name == "transpose" and args == [()]:
            args = []
    return calls.call_binding(t, getattr(np.ndarray, name, name), method, [owner, *args], kwargs)


# ---------------------------------------------------------------- arrays


def copy(t: Tracer, a: Any, order: Any = "C") -> Any:
    """A new array with the same contents."""
    if not isinstance(a, Reference):
        return a
    return t.new_array(views.read(t, a), views.extents(t, a))


def astype(t: Tracer, a: Any, dtype: Any, order: Any = "K", casting: Any = "unsafe", copy: Any = True) -> Any:
    """Elements converted to a dtype, in a new array."""
    target = F64 if dtype is float else I64 if dtype is int else numeric.to_dtype(t, dtype)
    own = a.dtype.numpy if isinstance(a, Number | Reference) else np.asarray(a).dtype
    if casting != "unsafe" and not np.can_cast(own, target.numpy, casting):
        t.type_error(f"{own} is not converted to {target.numpy} under casting={casting!r}")
    if not isinstance(a, Reference):
        array = isinstance(a, Number) and (a.array if copy is False else bool(a.array))
        return Number(numeric.as_dtype(t, a, target, "astype"), False, array)
    if copy is False and a.dtype is target:
        return a
    value = numeric.as_dtype(t, a, target, "astype")
    return t.new_array(value, views.extents(t, a), True if views.is_c_order(a) else None)


def fill(t: Tracer, a: Reference, value: Any) -> None:
    from .indexing import fill_view

    if numeric.rank_of(value):
        t.shape_error("setting an array element with a sequence", "write `x[...] = values`")
    fill_view(t, a, value, same_kind=False)


def flatten(t: Tracer, a: Reference, order: Any = "C") -> Any:
    from .bind_shape import ravel

    return copy(t, ravel(t, a, order))


def item(t: Tracer, a: Any, *args: Any) -> Any:
    """One element as a Python number."""
    from . import indexing

    if not isinstance(a, Reference):
        return Number(numeric.scalar_value(t, a), True)
    if args:
        found = indexing.load(t, a, tuple(args) if len(args) > 1 else args[0])
        if isinstance(found, Number):
            return Number(found.value, True)
        t.unsupported("`.item(k)` of an array of several axes", "give one position per axis")
    for k, d in enumerate(views.dims(a)):
        if d != 1:
            extent = views.extent(t, a, k)
            one = t.emit1("eq", [extent, Const(1, I64)])
            message = "can only convert an array of size 1 to a Python scalar"
            t.emit("check", [one], {"error": "ValueError", "message": message})
    value = views.read(t, a)
    if a.rank:
        value = t.emit1("index", [value, *[Const(0, I64)] * a.rank], {"spec": "i" * a.rank})
    return Number(value, True)


def tolist(t: Tracer, a: Reference) -> Any:
    from .iteration import array_iterable

    known = views.dims(a)[0]
    if known is None:
        t.static_needed("`.tolist()` of an array whose length is known only at run time", "use the array itself")
    rows = array_iterable(t, a)
    items = [rows.at(k) for k in range(known)]
    return t.new_list([tolist(t, r) if isinstance(r, Reference) else Number(r.value, True) for r in items])


def clip_method(t: Tracer, a: Any, min: Any = None, max: Any = None, out: Any = None) -> Any:
    from .bind_elementwise import clip

    return clip(t, a, min, max, out)


def round_method(t: Tracer, a: Any, decimals: Any = 0, out: Any = None) -> Any:
    from .bind_python import around

    return around(t, a, decimals, out)


def from_shape(name: str) -> Any:
    def method(t: Tracer, a: Any, *args: Any, **kwargs: Any) -> Any:
        from . import bind_shape

        return getattr(bind_shape, name)(t, a, *args, **kwargs)

    return method


def from_function(function: Any) -> Any:
    """A method that is a function of NumPy with the array in front."""

    def method(t: Tracer, a: Any, *args: Any, **kwargs: Any) -> Any:
        from . import calls
        from .bindings import TABLE

        return calls.call_binding(t, function, TABLE[function], [a, *args], kwargs)

    return method


ARRAY_METHODS: dict[str, Any] = {
    "copy": copy,
    "astype": astype,
    "fill": fill,
    "flatten": flatten,
    "item": item,
    "tolist": tolist,
    "clip": clip_method,
    "round": round_method,
    "conj": lambda t, a: a,
    "conjugate": lambda t, a: copy(t, a),
    "reshape": from_shape("reshape"),
    "ravel": from_shape("ravel"),
    "transpose": from_shape("transpose"),
    "swapaxes": from_shape("swapaxes"),
    "squeeze": from_shape("squeeze"),
    "repeat": from_function(np.repeat),
    "diagonal": from_shape("diagonal"),
    "take": from_shape("take"),
    "trace": from_function(np.trace),
    "dot": from_function(np.dot),
}


def is_integer(t: Tracer, x: Number) -> Any:
    from .bind_elementwise import apply

    return apply(t, np.equal, x, apply(t, np.floor, x, weak=True), weak=True)


NUMBER_METHODS: dict[str, Any] = {
    "copy": lambda t, x: x,
    "astype": astype,
    "item": item,
    "conj": lambda t, x: x,
    "conjugate": lambda t, x: x,
    "is_integer": is_integer,
    "clip": clip_method,
    "round": round_method,
    "reshape": from_shape("reshape"),
    "ravel": from_shape("ravel"),
    "dot": from_function(np.dot),
}


# ---------------------------------------------------------------- lists, dicts, tuples


def list_append(t: Tracer, x: ListObject, value: Any) -> None:
    t.set_items(x, (*t.items(x), value))


def list_extend(t: Tracer, x: ListObject, values: Any) -> None:
    from .expressions import spread

    t.set_items(x, (*t.items(x), *spread(t, values)))


def list_pop(t: Tracer, x: ListObject, index: Any = -1) -> Any:
    items = list(t.items(x))
    k = numeric.static_int(t, index, "the index of a list")
    if not -len(items) <= k < len(items):
        t.type_error("pop from an empty list" if not items else "pop index out of range")
    value = items.pop(k)
    t.set_items(x, items)
    return value


def list_insert(t: Tracer, x: ListObject, index: Any, value: Any) -> None:
    items = list(t.items(x))
    items.insert(numeric.static_int(t, index, "the index of a list"), value)
    t.set_items(x, items)


def list_reverse(t: Tracer, x: ListObject) -> None:
    t.set_items(x, t.items(x)[::-1])


LIST_METHODS: dict[str, Any] = {
    "append": list_append,
    "extend": list_extend,
    "pop": list_pop,
    "insert": list_insert,
    "reverse": list_reverse,
    "copy": lambda t, x: t.new_list(t.items(x)),
    "clear": lambda t, x: t.set_items(x, ()),
    "index": lambda t, x, value: tuple_index(t, t.items(x), value),
    "count": lambda t, x, value: tuple_count(t, t.items(x), value),
}


def dict_get(t: Tracer, x: DictObject, key: Any, default: Any = None) -> Any:
    from .expressions import static_key

    return dict(t.items(x)).get(static_key(t, key), default)


def dict_pop(t: Tracer, x: DictObject, key: Any, *default: Any) -> Any:
    pairs = dict(t.items(x))
    if key not in pairs and not default:
        t.type_error(f"the dict has no key {key!r}")
    value = pairs.pop(key, *default)
    t.set_items(x, pairs.items())
    return value


def dict_update(t: Tracer, x: DictObject, other: Any = None, **more: Any) -> None:
    pairs = dict(t.items(x))
    if isinstance(other, DictObject):
        pairs.update(t.items(other))
    elif other is not None:
        t.unsupported("`.update` with something that is no dict")
    pairs.update(more)
    t.set_items(x, pairs.items())


def dict_setdefault(t: Tracer, x: DictObject, key: Any, default: Any = None) -> Any:
    pairs = dict(t.items(x))
    if key not in pairs:
        pairs[key] = default
        t.set_items(x, pairs.items())
    return pairs[key]


DICT_METHODS: dict[str, Any] = {
    "get": dict_get,
    "items": lambda t, x: tuple(t.items(x)),
    "keys": lambda t, x: tuple(k for k, _ in t.items(x)),
    "values": lambda t, x: tuple(v for _, v in t.items(x)),
    "pop": dict_pop,
    "update": dict_update,
    "setdefault": dict_setdefault,
    "copy": lambda t, x: t.new_dict(t.items(x)),
}


def tuple_replace(t: Tracer, x: Any, **fields: Any) -> Any:
    try:
        return x._replace(**fields)
    except ValueError as error:
        t.type_error(str(error))


def tuple_index(t: Tracer, x: tuple[Any, ...], value: Any) -> Any:
    for k, item_ in enumerate(x):
        if isinstance(item_, Number | Reference):
            t.static_needed("`.index` of values known at run time", "use np.argmax of a comparison")
        if item_ == value:
            return k
    t.type_error(f"{value!r} is not in the tuple or list")


def tuple_count(t: Tracer, x: tuple[Any, ...], value: Any) -> Any:
    if any(isinstance(i, Number | Reference) for i in x):
        t.static_needed("`.count` of values known at run time", "use np.sum of a comparison")
    return x.count(value)


TUPLE_METHODS: dict[str, Any] = {
    "_replace": tuple_replace,
    "_asdict": lambda t, x: t.new_dict(zip(type(x)._fields, x)),
    "index": tuple_index,
    "count": tuple_count,
}
