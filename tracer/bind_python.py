"""Bindings of Python's own functions: abs, min, max, sum, pow, round, len, range, enumerate, zip, float, int and more.

In: abstract values. Out: what Python would give, static wherever possible.
"""

from __future__ import annotations

import builtins
import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, DType
from . import bind_reduce, indexing, integers, numeric, views
from .bind_elementwise import apply, divmod_
from .context import Tracer
from .iteration import Enumerate, Range, Reversed, Zip, iterable_of
from .numeric import cast, describe, element, is_number, is_static_number, scalar_value, truth
from .values import (
    BoundMethod,
    DictObject,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Number,
    Partial,
    Reference,
)

__all__ = ["around", "register"]


def weak(x: Any) -> bool:
    from .expressions import is_weak

    return is_weak(x)


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


# ---------------------------------------------------------------- numbers


def abs_(t: Tracer, x: Any) -> Any:
    if is_static_number(x):
        return abs(x)
    if isinstance(x, Instance | Host):
        from .calls import call
        from .expressions import attribute

        return call(t, attribute(t, x, "__abs__"), [], {})
    x = element(t, x, "abs()")
    if isinstance(x, Number) and x.weak and x.dtype is BOOL:
        return Number(cast(t, x.value, I64), True)
    return apply(t, np.absolute, x, weak=weak(x))


def extreme(name: str, pick: Callable[..., Any]) -> Callable[..., Any]:
    """Python's min and max: the first of the smallest (largest), by comparison."""
    ufunc = np.less if name == "min" else np.greater

    def binding(t: Tracer, *args: Any, key: Any = None, default: Any = MISSING) -> Any:
        from .calls import call
        from .merges import stage_if

        if len(args) == 1:
            (only,) = args
            only = listed(t, only)
            if isinstance(only, Reference):
                if only.rank != 1 or key is not None:
                    t.unsupported(f"{name}() of an array of {only.rank} axes", f"use np.{name}")
                return bind_reduce.REDUCTIONS[name](t, only)
            items = static_items(t, only, f"{name}()")
        else:
            items = list(args)
        if not items:
            if default is not MISSING:
                return default
            t.fail_value(f"{name}() of nothing")
        if key is None and all(is_static_number(x) or isinstance(x, str) for x in items):
            return pick(items)
        best = items[0]
        best_key = best if key is None else call(t, key, [best], {})
        for x in items[1:]:
            this = x if key is None else call(t, key, [x], {})
            if not (is_number(this) and is_number(best_key)):
                if isinstance(this, Reference) or isinstance(best_key, Reference):
                    t.type_error(
                        f"{name}() compares numbers; an array has no single truth value", f"use np.{name}imum of arrays"
                    )
                t.type_error(f"{name}() of {describe(this)}")
            if is_static_number(this) and is_static_number(best_key):
                if bool(ufunc(this, best_key)):
                    best, best_key = x, this
                continue
            better = apply(t, ufunc, this, best_key)
            if is_number(x) and is_number(best):
                best = choose(t, better.value, x, best)
                best_key = best if key is None else choose(t, better.value, this, best_key)
            else:
                first, old = x, best
                best = stage_if(t, better.value, lambda first=first: first, lambda old=old: old)  # type: ignore[misc]
                best_key = choose(t, better.value, this, best_key)
        return best

    return binding


MISSING = object()


def choose(t: Tracer, condition: Value, a: Any, b: Any) -> Number:
    """`a if condition else b` of numbers, as a selection."""
    from .templates import join_numbers, number_leaf

    leaf = join_numbers(number_leaf(a), number_leaf(b))
    x, y = (cast(t, scalar_value(t, v), leaf.dtype) for v in (a, b))
    out = t.emit1("select", [condition, x, y])
    if all((isinstance(v, Const) and v.value >= 0) or v in t.nonnegative for v in (x, y)) and leaf.dtype is I64:
        t.nonnegative.add(out)
    return Number(out, leaf.weak)


def sum_(t: Tracer, iterable: Any, start: Any = 0) -> Any:
    """Python's sum: from left to right."""
    import ast

    from .expressions import GeneratorValue, binary

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
    source = "def sum_(values, total):\n    for value in values:\n        total = total + value\n    return total\n"
    return run_template(t, source, [x, start])


def sum_generator(t: Tracer, value: Any, start: Any) -> Any:
    """sum() of a generator expression: a loop where its length is known only at run time."""
    import ast

    node = value.node
    generator = node.generators[0]
    if len(node.generators) == 1 and all_static(t, value):
        from .expressions import binary, generated_list

        out = start
        for x in t.items(generated_list(t, value)):
            out = binary(t, ast.Add(), out, x)
        return out
    return loop_over(t, value, generator, start)


def all_static(t: Tracer, value: Any) -> bool:
    """Whether a generator's first iterable has to be, or can be, gone over while tracing."""
    from .expressions import evaluate

    node = value.node.generators[0].iter
    before = len(t.region.ops)
    saved_store, saved_frame = dict(t.store), t.frame
    t.frame = value.frame.parent
    try:
        iterable = iterable_of(t, evaluate(t, node))
        return iterable.static_length is not None and (iterable.static_only or iterable.static_length <= 16)
    finally:
        t.frame = saved_frame
        t.store = saved_store
        del t.region.ops[before:]


def loop_over(t: Tracer, value: Any, generator: Any, start: Any) -> Any:
    """The loops that a summed generator expression stands for."""
    import ast

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
    from dataclasses import replace

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
        import ast

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


def pow_(t: Tracer, base: Any, exp: Any, mod: Any = None) -> Any:
    import ast

    from .expressions import binary

    if mod is not None:
        if isinstance(base, int) and isinstance(exp, int) and isinstance(mod, int):
            return pow(base, exp, mod)
        t.unsupported("pow() with three arguments", "write `(base ** exp) % mod`")
    return binary(t, ast.Pow(), base, exp)


def round_(t: Tracer, number: Any, ndigits: Any = None) -> Any:
    """Python's round: to an int without digits, to the nearest even at a tie."""
    if is_static_number(number):
        return round(number, ndigits) if ndigits is not None else round(number)
    if isinstance(number, Reference):
        return around(t, number, ndigits or 0)
    if isinstance(number, Number) and not number.dtype.is_float:
        return number
    if not isinstance(number, Number):
        t.type_error(f"round() of {describe(number)}")
    if ndigits is None:
        return Number(cast(t, t.emit1("rint", [number.value]), I64), True)
    if weak(number):
        t.unsupported(
            "round() to digits of a number known at run time",
            "use np.round, which differs in the last place from Python's round",
        )
    return around(t, number, ndigits)


def around(t: Tracer, a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """np.round: multiply, round, divide, as NumPy does."""
    digits = numeric.static_int(t, decimals, "the number of decimals")
    a = element(t, a, "np.round")
    if is_static_number(a):
        return np.round(a, digits)
    if not a.dtype.is_float:
        return a
    if digits == 0:
        return apply(t, np.rint, a)
    scale = 10.0 ** abs(digits)
    up, down = (np.multiply, np.true_divide) if digits > 0 else (np.true_divide, np.multiply)
    return apply(t, down, apply(t, np.rint, apply(t, up, a, scale)), scale)


def to_float(t: Tracer, x: Any = 0.0) -> Any:
    if is_static_number(x) or isinstance(x, str):
        try:
            return float(x)
        except ValueError as error:
            t.fail_value(str(error))
    return Number(cast(t, single(t, x, "float()"), F64), True)


def to_int(t: Tracer, x: Any = 0) -> Any:
    if is_static_number(x) or isinstance(x, str):
        try:
            return int(x)
        except (ValueError, OverflowError) as error:
            t.fail_value(str(error))
    value = single(t, x, "int()")
    if value.dtype.is_float:
        finite = t.emit1("isfinite", [value])
        t.emit("check", [finite], {"error": "ValueError", "message": "cannot convert a float that is not finite to integer"})
        nonneg = False
    else:
        nonneg = value in t.nonnegative
    return t.number(cast(t, value, I64), True, nonneg)


def to_bool(t: Tracer, x: Any = False) -> Any:
    value = truth(t, x, "bool()")
    return value if isinstance(value, bool) else Number(value, True)


def single(t: Tracer, x: Any, what: str) -> Value:
    """One number of a number or an array of size 1."""
    if isinstance(x, Number):
        return x.value
    if isinstance(x, Reference):
        from .bind_methods import item

        return item(t, x).value  # type: ignore[no-any-return]
    t.type_error(f"{what} of {describe(x)}")


def numpy_scalar(dtype: DType) -> Callable[..., Any]:
    def binding(t: Tracer, x: Any = 0) -> Any:
        from .bind_methods import astype

        if is_static_number(x):
            return dtype.numpy.type(x)
        return astype(t, element(t, x, dtype.numpy.name), dtype.numpy)

    return binding


# ---------------------------------------------------------------- containers


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
        return bind_reduce.REDUCTIONS[name](t, x)
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


# ---------------------------------------------------------------- types


def type_(t: Tracer, x: Any) -> Any:
    if isinstance(x, Number):
        if x.weak:
            return {"b": bool, "i": int, "f": float}[x.dtype.kind]
        return x.dtype.numpy.type
    if isinstance(x, Reference):
        return np.ndarray
    if isinstance(x, ListObject):
        return list
    if isinstance(x, DictObject):
        return dict
    if isinstance(x, Instance):
        return x.cls
    if isinstance(x, Host):
        return type(x.value)
    if isinstance(x, FunctionValue):
        return type(lambda: None)
    if isinstance(x, Range):
        return range
    return type(x)


def isinstance_(t: Tracer, x: Any, cls: Any) -> Any:
    classes = cls if isinstance(cls, tuple) else (cls,)
    kind = type_(t, x)
    try:
        return any(issubclass(kind, c) for c in flattened(classes))
    except TypeError:
        t.unsupported("isinstance() with this class")


def flattened(classes: Any) -> list[Any]:
    import types

    out: list[Any] = []
    for c in classes:
        if isinstance(c, tuple):
            out += flattened(c)
        elif isinstance(c, types.UnionType):
            out += flattened(c.__args__)
        else:
            out.append(c)
    return out


def callable_(t: Tracer, x: Any) -> Any:
    if isinstance(x, FunctionValue | BoundMethod | Partial):
        return True
    if isinstance(x, Number | Reference | ListObject | DictObject):
        return False
    return callable(x.value if isinstance(x, Host) else x)


def getattr_(t: Tracer, x: Any, name: Any, *default: Any) -> Any:
    from ..ir.errors import TraceTypeError
    from .expressions import attribute

    try:
        return attribute(t, x, name)
    except TraceTypeError:
        if default:
            return default[0]
        raise


def hasattr_(t: Tracer, x: Any, name: Any) -> Any:
    missing = object()
    return getattr_(t, x, name, missing) is not missing


def setattr_(t: Tracer, x: Any, name: Any, value: Any) -> None:
    from .statements import set_attribute

    set_attribute(t, x, name, value)


def errstate(t: Tracer, **kwargs: Any) -> Any:
    from .expressions import HARMLESS_CONTEXT

    return HARMLESS_CONTEXT


def partial_(t: Tracer, function: Any, *args: Any, **kwargs: Any) -> Any:
    return Partial(function, tuple(args), kwargs)


def reduce_(t: Tracer, function: Any, iterable: Any, *initial: Any) -> Any:
    from .calls import call

    items = [*initial, *static_items(t, iterable, "functools.reduce")]
    if not items:
        t.type_error("reduce() of nothing")
    out = items[0]
    for x in items[1:]:
        out = call(t, function, [out, x], {})
    return out


def operator_binding(node: Any) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, b: Any) -> Any:
        from .expressions import binary

        return binary(t, node(), a, b)

    return binding


def id_(t: Tracer, x: Any) -> Any:
    t.unsupported("id() of a value while tracing", "compare with `is`")


def register() -> None:
    import ast

    from .bindings import TABLE

    TABLE.update(
        {
            abs: abs_,
            builtins.min: extreme("min", min),
            builtins.max: extreme("max", max),
            sum: sum_,
            pow: pow_,
            round: round_,
            len: length,
            range: range_,
            enumerate: enumerate_,
            zip: zip_,
            map: map_,
            filter: filter_,
            reversed: reversed_,
            float: to_float,
            int: to_int,
            bool: to_bool,
            tuple: tuple_,
            list: list_,
            dict: dict_,
            sorted: sorted_,
            any: any_,
            all: all_,
            divmod: divmod_,
            type: type_,
            isinstance: isinstance_,
            callable: callable_,
            getattr: getattr_,
            hasattr: hasattr_,
            setattr: setattr_,
            id: id_,
            np.errstate: errstate,
            np.round: around,
            np.around: around,
            functools.partial: partial_,
            functools.reduce: reduce_,
        }
    )
    for dtype in (np.float64, np.float32, np.int64, np.int32, np.int16, np.int8, np.uint8, np.uint16, np.uint32, np.uint64, np.bool_):
        found = numeric.dtype_of(dtype)
        assert found is not None
        TABLE[dtype] = numpy_scalar(found)
    for name, node in (
        ("add", ast.Add),
        ("sub", ast.Sub),
        ("mul", ast.Mult),
        ("truediv", ast.Div),
        ("floordiv", ast.FloorDiv),
        ("mod", ast.Mod),
        ("pow", ast.Pow),
        ("matmul", ast.MatMult),
    ):
        TABLE[getattr(operator, name)] = operator_binding(node)
    TABLE[operator.neg] = lambda t, x: apply(t, np.negative, x, weak=weak(x))
    TABLE[operator.getitem] = lambda t, a, b: indexing.load(t, a, b)
