"""Bindings of Python's functions of sequences: len, range, enumerate, zip, map, filter, sum, any, all, sorted.

In: abstract values. Out: static containers, or loops where the length is known only at run time.
"""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import numpy as np

from ..ir.core import Region
from . import bind_reduce, integers, numeric, views
from .bind_elementwise import apply
from .context import Tracer
from .iteration import Enumerate, Range, Reversed, Zip, iterable_of
from .numeric import describe, is_number, truth
from .values import DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["listed", "register", "static_items"]


def length(t: Tracer, x: Any) -> Any:
    from .bind_shape import extent_number

    if isinstance(x, Reference):
        if x.rank == 0:
            t.type_error("a 0-d array has no len()")
        return extent_number(views.extent(t, x, 0))
    if isinstance(x, ListObject | DictObject):
        return len(t.items(x))
    if isinstance(x, Range | Enumerate | Zip | Reversed):
        iterable = iterable_of(t, x)
        if iterable.static_length is not None:
            return iterable.static_length
        return t.number(iterable.length(), True, True)
    if isinstance(x, Instance | Host):
        from .calls import call
        from .expressions import attribute

        return call(t, attribute(t, x, "__len__"), [], {})
    if is_number(x) or x is None or not hasattr(x, "__len__"):
        t.type_error(f"{describe(x)} has no len()")
    return len(x)


def range_(t: Tracer, *args: Any) -> Any:
    if not 1 <= len(args) <= 3:
        t.type_error(f"range() takes 1 to 3 arguments, not {len(args)}")
    parts = [integer_part(t, a) for a in args]
    start, stop, step = (0, parts[0], 1) if len(parts) == 1 else (*parts, 1) if len(parts) == 2 else parts
    if isinstance(step, int) and step == 0:
        t.fail_value("range() arg 3 must not be zero")
    return Range(start, stop, step)


def integer_part(t: Tracer, x: Any) -> Any:
    if isinstance(x, bool | int | np.integer):
        return int(x)
    value = numeric.integer_value(t, x, "an argument of range()")
    k = integers.known(value)
    return Number(value, True) if k is None else k


def enumerate_(t: Tracer, iterable: Any, start: Any = 0) -> Any:
    return Enumerate(listed(t, iterable), start)


def listed(t: Tracer, x: Any) -> Any:
    from .expressions import GeneratorValue, generated_list

    return generated_list(t, x) if isinstance(x, GeneratorValue) else x


def zip_(t: Tracer, *iterables: Any, strict: Any = False) -> Any:
    if strict:
        iters = [iterable_of(t, listed(t, x)) for x in iterables]
        for other in iters[1:]:
            numeric.agree(t, iters[0].length(), other.length(), "arguments of zip(strict=True) differ in length")
    return Zip(tuple(listed(t, x) for x in iterables))


def map_(t: Tracer, function: Any, *iterables: Any) -> Any:
    from .calls import call

    iters = [iterable_of(t, listed(t, x)) for x in iterables]
    lengths = [i.static_length for i in iters]
    if None in lengths:
        t.static_needed(
            "map() over something whose length is known only at run time", "write a `for` loop that fills an array"
        )
    n = min(k for k in lengths if k is not None)
    return t.new_list([call(t, function, [i.at(k) for i in iters], {}) for k in range(n)])


def filter_(t: Tracer, function: Any, iterable: Any) -> Any:
    from .calls import call

    items = static_items(t, listed(t, iterable), "filter()")
    kept = []
    for x in items:
        found = truth(t, x if function is None else call(t, function, [x], {}))
        if not isinstance(found, bool):
            t.static_needed("filter() by a condition known only at run time", "use np.where")
        if found:
            kept.append(x)
    return t.new_list(kept)


def static_items(t: Tracer, x: Any, what: str) -> list[Any]:
    iterable = iterable_of(t, listed(t, x))
    if iterable.static_length is None or iterable.guard is not None:
        t.static_needed(f"{what} of something whose length is known only at run time", "use arrays")
    return [iterable.at(k) for k in range(iterable.static_length)]


def reversed_(t: Tracer, x: Any) -> Any:
    if isinstance(x, ListObject):
        return t.items(x)[::-1]
    if isinstance(x, tuple):
        return tuple(x)[::-1]
    return Reversed(x)


def sum_(t: Tracer, iterable: Any, start: Any = 0) -> Any:
    """Python's sum: from left to right."""
    from .expressions import GeneratorValue
    from .operators import binary

    if isinstance(iterable, GeneratorValue):
        return sum_generator(t, iterable, start)
    if isinstance(iterable, Reference) and views.dims(iterable)[0] is None:
        return sum_array(t, iterable, start)
    out = start
    for x in static_items(t, iterable, "sum()"):
        out = binary(t, ast.Add(), out, x)
    return out


def sum_array(t: Tracer, x: Reference, start: Any) -> Any:
    """sum() over the first axis of an array, as a loop."""
    rest = "values"
    source = "def sum_(values, total):\n"
    if x.rank > 1:  # a number becomes a row with the first of them
        source, rest = source + "    total = total + values[0]\n", "values[1:]"
    source += f"    for value in {rest}:\n        total = total + value\n    return total\n"
    return run_template(t, source, [x, start])


def sum_generator(t: Tracer, value: Any, start: Any) -> Any:
    """sum() of a generator expression: a loop where its length is known only at run time."""
    node = value.node
    generator = node.generators[0]
    if len(node.generators) == 1 and all_static(t, value):
        from .expressions import generated_list
        from .operators import binary

        out = start
        for x in t.items(generated_list(t, value)):
            out = binary(t, ast.Add(), out, x)
        return out
    return loop_over(t, value, generator, start)


def all_static(t: Tracer, value: Any) -> bool:
    """Whether a generator's first iterable has to be, or can be, gone over while tracing."""
    from .expressions import evaluate

    node = value.node.generators[0].iter
    saved_store, saved_frame = dict(t.store), t.frame
    t.frame = value.frame.parent
    try:
        with t.inside(Region()):  # thrown away
            iterable = iterable_of(t, evaluate(t, node))
        return iterable.static_length is not None and (iterable.static_only or iterable.static_length <= 16)
    finally:
        t.frame = saved_frame
        t.store = saved_store


def loop_over(t: Tracer, value: Any, generator: Any, start: Any) -> Any:
    """The loops that a summed generator expression stands for."""
    from .control import block

    node = value.node
    cached = getattr(node, "_adjit_loop", None)
    if cached is None:
        total = ast.Name("<total>", ast.Store())
        body: list[ast.stmt] = [ast.AugAssign(total, ast.Add(), node.elt)]
        for g in reversed(node.generators):
            for test in reversed(g.ifs):
                body = [ast.If(test, body, [])]
            body = [ast.For(g.target, g.iter, body, [])]
        for statement in body:
            for inner in ast.walk(statement):
                if isinstance(inner, ast.stmt | ast.expr) and not hasattr(inner, "lineno"):
                    ast.copy_location(inner, node)
        cached = node._adjit_loop = body
    frame = value.frame
    names = frozenset(frame.scope.local | {"<total>"})
    frame.scope = replace(frame.scope, local=names)
    saved, t.frame = t.frame, frame
    t.store[frame, "<total>"] = start
    try:
        block(t, cached)
    finally:
        t.frame = saved
    return t.store.pop((frame, "<total>"))


def run_template(t: Tracer, source: str, args: list[Any]) -> Any:
    """Trace a helper of adjit's own, written in Python."""
    from . import calls
    from .scope import Frame, scope_of
    from .source import FunctionCode

    code = TEMPLATES.get(source)
    if code is None:
        node = ast.parse(source).body[0]
        assert isinstance(node, ast.FunctionDef)
        span = t.span()
        for inner in ast.walk(node):
            if isinstance(inner, ast.stmt | ast.expr):
                inner._adjit_span = span  # type: ignore[union-attr]
        code = FunctionCode(node, t.file, node.name, source)
    frame = Frame(code, scope_of(code), None, {}, {}, calls.path_here(t), t.region, t.file)
    return calls.call_function(t, frame, (), {}, args, {})


TEMPLATES: dict[str, Any] = {}


def tuple_(t: Tracer, x: Any = ()) -> Any:
    return tuple(static_items(t, x, "tuple()"))


def list_(t: Tracer, x: Any = ()) -> Any:
    return t.new_list(static_items(t, x, "list()"))


def dict_(t: Tracer, x: Any = None, **more: Any) -> Any:
    pairs: dict[Any, Any] = {}
    if isinstance(x, DictObject):
        pairs.update(t.items(x))
    elif x is not None:
        for pair in static_items(t, x, "dict()"):
            key, value = pair if isinstance(pair, tuple) else t.items(pair)
            pairs[key] = value
    pairs.update(more)
    return t.new_dict(pairs.items())


def sorted_(t: Tracer, x: Any, key: Any = None, reverse: Any = False) -> Any:
    items = static_items(t, x, "sorted()")
    if key is not None or any(isinstance(i, Number | Reference) for i in items):
        t.unsupported("sorted() of numbers known at run time", "write the sort as loops over an array")
    return t.new_list(sorted(items, reverse=bool(reverse)))


def any_(t: Tracer, x: Any) -> Any:
    return fold(t, x, "any", np.logical_or, True)


def all_(t: Tracer, x: Any) -> Any:
    return fold(t, x, "all", np.logical_and, False)


def fold(t: Tracer, x: Any, name: str, ufunc: np.ufunc, stop: bool) -> Any:
    """Python's any and all."""
    if isinstance(x, Reference):
        if x.rank != 1:
            t.type_error(f"{name}() of an array of {x.rank} axes", f"use np.{name}")
        found = bind_reduce.REDUCTIONS[name](t, x)
        return Number(found.value, True) if isinstance(found, Number) else found
    out: Any = not stop
    for item in static_items(t, x, f"{name}()"):
        found = truth(t, item)
        if isinstance(found, bool):
            if found is stop:
                return stop
            continue
        if isinstance(out, bool):
            out = Number(found, True)
        else:
            out = apply(t, ufunc, out, Number(found, True), weak=True)
    return out


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            len: length,
            range: range_,
            enumerate: enumerate_,
            zip: zip_,
            map: map_,
            filter: filter_,
            reversed: reversed_,
            sum: sum_,
            any: any_,
            all: all_,
            tuple: tuple_,
            list: list_,
            dict: dict_,
            sorted: sorted_,
        }
    )
