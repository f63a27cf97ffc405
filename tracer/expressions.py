"""Expressions: what an expression means for abstract values.

In: an expression node. Out: an abstract value, and operations in the current region. What is static is computed
here and now by Python itself.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..ir.core import Const
from ..ir.types import BOOL
from . import indexing, operators
from .context import PathEnds, Tracer
from .control import frame_of
from .numeric import cast, describe, truth
from .scope import Frame, Scope, bound_names
from .source import FunctionCode
from .values import (
    UNDEFINED,
    BoundMethod,
    DictObject,
    Formatted,
    FunctionValue,
    Host,
    Instance,
    ListObject,
    Maybe,
    Number,
    Poison,
    Reference,
)

__all__ = ["attribute", "bind", "evaluate", "read_name", "spread", "subscript", "usable"]


class HarmlessContext:
    """A context manager without effect on values (np.errstate)."""


HARMLESS_CONTEXT = HarmlessContext()


@dataclass(eq=False)
class GeneratorValue:
    """A generator expression, not gone over yet."""

    node: ast.GeneratorExp
    frame: Frame


def evaluate(t: Tracer, node: ast.expr) -> Any:
    """The abstract value of an expression."""
    saved, t.node = t.node, node
    t.current = node
    try:
        return EVALUATORS[type(node)](t, node)
    except KeyError:
        if type(node) in EVALUATORS:
            raise
        t.unsupported(f"`{type(node).__name__}` expressions are not supported")
    finally:
        t.node = saved


# ---------------------------------------------------------------- names


def holder(t: Tracer, name: str) -> Frame | None:
    """The frame that a name belongs to; None for what was not defined by the traced program."""
    frame: Frame | None = t.frame
    while frame is not None:
        if name in frame.scope.local:
            return frame
        frame = frame.parent
    return None


def root(frame: Frame) -> Frame:
    while frame.parent is not None:
        frame = frame.parent
    return frame


def bind(t: Tracer, name: str, value: Any) -> None:
    """Bind a name in the frame that it belongs to."""
    frame = holder(t, name)
    if frame is None:
        t.unsupported(
            f"`{name}` belongs to a function outside of the traced one and would be changed",
            "return the new value instead",
        )
    if isinstance(value, Number) and value.array:
        check_zero_d(t, frame, name, value)
    t.name_value(value, name)
    t.store[frame, name] = value


def check_zero_d(t: Tracer, frame: Frame, name: str, value: Number) -> None:
    """Refuse a second name for a 0-d array where one of the names is changed in place."""
    for key, held in t.store.items():
        if held is value and isinstance(key, tuple) and key != (frame, name):
            owner, other = key
            if name in changed_in_place(frame) or (isinstance(owner, Frame) and other in changed_in_place(owner)):
                t.unsupported(
                    f"`{other}` and `{name}` are one 0-d array here, and one of them is changed in place later",
                    "convert it with `float(...)`, or write `x = x + ...` instead of `x += ...`",
                )


def changed_in_place(frame: Frame) -> frozenset[str]:
    """Names that a function changes by `+=` and the like."""
    facts = frame.code.facts
    if "in place" not in facts:
        nodes = [n for s in frame.code.body for n in ast.walk(s) if isinstance(n, ast.AugAssign)]
        facts["in place"] = frozenset(n.target.id for n in nodes if isinstance(n.target, ast.Name))
    found: frozenset[str] = facts["in place"]
    return found


def usable(t: Tracer, value: Any, name: str) -> Any:
    """A value that may be read, with a check where it may not exist."""
    if isinstance(value, Poison):
        t.unsupported(value.message, f"give `{name}` a value of one kind on every path before it is read")
    if isinstance(value, Maybe):
        if value.defined is False:
            return undefined(t, name)
        if value.defined is not True:
            message = f"cannot access local variable '{name}' where it is not associated with a value"
            t.emit("check", [value.defined], {"error": "UnboundLocalError", "message": message})
        return usable(t, value.value, name)
    return value


def undefined(t: Tracer, name: str) -> Any:
    for loop in t.probing:  # a loop that assigns the name later in its body has to be traced once to know its type
        if loop.frame is holder(t, name) and name in loop.assigned_names and loop.probe():
            message = f"cannot access local variable '{name}' where it is not associated with a value"
            t.emit("check", [Const(False, BOOL)], {"error": "UnboundLocalError", "message": message})
            raise PathEnds
    t.unsupported(f"`{name}` may be undefined here", f"assign `{name}` on every path, or before the branch or loop")


def copied_number(t: Tracer, value: Any, like: Number) -> Any:
    """What a 0-d array holds after an operation in place: it keeps its dtype and stays an array."""
    if not isinstance(value, Number):
        return value
    if "biuf".index(value.dtype.kind.replace("u", "i")) > "biuf".index(like.dtype.kind.replace("u", "i")):
        t.type_error("a 0-d array of integers cannot become one of floats in place", "convert it with `float(...)`")
    return Number(cast(t, value.value, like.dtype), False, like.array)


def read_name(t: Tracer, name: str) -> Any:
    frame = holder(t, name)
    if frame is not None:
        value = t.store.get((frame, name), UNDEFINED)
        if value is UNDEFINED:
            return undefined(t, name)
        return usable(t, value, name)
    base = root(frame_of(t))
    if name in base.cells:
        return t.captures.cell(base, name)
    return t.captures.global_(base, name)


def name_expression(t: Tracer, node: ast.Name) -> Any:
    return read_name(t, node.id)


def walrus(t: Tracer, node: ast.NamedExpr) -> Any:
    value = evaluate(t, node.value)
    assert isinstance(node.target, ast.Name)
    bind(t, node.target.id, value)
    return value


# ---------------------------------------------------------------- containers


def tuple_expression(t: Tracer, node: ast.Tuple) -> Any:
    return tuple(items_of(t, node.elts))


def list_expression(t: Tracer, node: ast.List) -> Any:
    return t.new_list(items_of(t, node.elts))


def items_of(t: Tracer, nodes: list[ast.expr]) -> list[Any]:
    out: list[Any] = []
    for node in nodes:
        if isinstance(node, ast.Starred):
            out += spread(t, evaluate(t, node.value))
        else:
            out.append(evaluate(t, node))
    return out


def spread(t: Tracer, value: Any) -> list[Any]:
    """The items of what stands after a star."""
    from . import iteration

    if isinstance(value, GeneratorValue):
        return list(t.items(generated_list(t, value)))
    iterable = iteration.iterable_of(t, value)
    if iterable.static_length is None:
        t.static_needed(
            "unpacking with `*` needs a length known before the program runs",
            "pass the array itself, or unpack a tuple or list",
        )
    return [iterable.at(k) for k in range(iterable.static_length)]


def dict_expression(t: Tracer, node: ast.Dict) -> Any:
    pairs: dict[Any, Any] = {}
    for key, value in zip(node.keys, node.values):
        if key is None:
            inner = evaluate(t, value)
            if not isinstance(inner, DictObject):
                t.type_error(f"`**` takes a dict, not {describe(inner)}")
            pairs.update(t.items(inner))
        else:
            pairs[static_key(t, evaluate(t, key))] = evaluate(t, value)
    return t.new_dict(pairs.items())


def static_key(t: Tracer, key: Any) -> Any:
    if isinstance(key, Number | Reference):
        t.static_needed("a key of a dict must be known before the program runs", "use an array indexed by integers")
    return key


def set_expression(t: Tracer, node: ast.Set) -> Any:
    items = items_of(t, node.elts)
    if any(isinstance(x, Number | Reference) for x in items):
        t.unsupported("a set of values known at run time", "use a tuple or an array")
    return frozenset(items)


CONVERSIONS: dict[int, Callable[[Any], str]] = {ord("s"): str, ord("r"): repr, ord("a"): ascii}


def joined_string(t: Tracer, node: ast.JoinedStr) -> Any:
    out = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            out += str(part.value)
            continue
        assert isinstance(part, ast.FormattedValue)
        value = evaluate(t, part.value)
        if isinstance(value, Number | Reference | ListObject | DictObject):
            t.unsupported("a string made of values known at run time", "f-strings may be used in `assert` and `raise`")
        spec = joined_string(t, part.format_spec) if isinstance(part.format_spec, ast.JoinedStr) else ""
        convert = CONVERSIONS.get(part.conversion)
        shown = value if convert is None else convert(value)
        out += format(shown, spec)
    return out


def formatted(t: Tracer, node: ast.JoinedStr) -> Formatted:
    """An f-string that is put together at run time."""
    parts: list[Any] = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            spec = joined_string(t, part.format_spec) if isinstance(part.format_spec, ast.JoinedStr) else ""
            parts.append((evaluate(t, part.value), part.conversion, spec))
        else:
            parts.append((part.value if isinstance(part, ast.Constant) else evaluate(t, part), -1, ""))
    return Formatted(tuple(parts))


def subscript_expression(t: Tracer, node: ast.Subscript) -> Any:
    container = evaluate(t, node.value)
    index = subscript(t, node.slice)
    return usable(t, indexing.load(t, container, index), "this element")


def subscript(t: Tracer, node: ast.expr) -> Any:
    """What stands in square brackets; slices as `slice` objects of abstract values."""
    if isinstance(node, ast.Slice):
        with t.at(node):
            return slice(*(None if p is None else evaluate(t, p) for p in (node.lower, node.upper, node.step)))
    if isinstance(node, ast.Tuple) and any(isinstance(e, ast.Slice | ast.Starred) for e in node.elts):
        out: list[Any] = []
        for e in node.elts:
            if isinstance(e, ast.Starred):
                out += spread(t, evaluate(t, e.value))
            else:
                out.append(subscript(t, e))
        return tuple(out)
    return evaluate(t, node)


# ---------------------------------------------------------------- attributes


def attribute_expression(t: Tracer, node: ast.Attribute) -> Any:
    value = evaluate(t, node.value)
    return attribute(t, value, node.attr)


def attribute(t: Tracer, value: Any, name: str) -> Any:
    """`value.name`."""
    from . import attributes, bind_methods

    if isinstance(value, Reference):
        return bind_methods.array_attribute(t, value, name)
    if isinstance(value, Number):
        return bind_methods.number_attribute(t, value, name)
    if isinstance(value, Instance):
        return attributes.instance_attribute(t, value, name)
    if isinstance(value, Host):
        return attributes.host_attribute(t, value, name)
    if isinstance(value, tuple | ListObject | DictObject):
        return bind_methods.container_attribute(t, value, name)
    if isinstance(value, FunctionValue | BoundMethod):
        if name == "__name__":
            return value.__name__ if isinstance(value, FunctionValue) else getattr(value.function, "__name__", "")
        t.unsupported(f"the attribute `{name}` of a function")
    if isinstance(value, attributes.Super):
        return attributes.super_attribute(t, value, name)
    return attributes.static_attribute(t, value, name)


# ---------------------------------------------------------------- functions and calls


def make_function(t: Tracer, code: FunctionCode) -> FunctionValue:
    """A function object of a definition in the traced program; defaults are evaluated now."""
    a = code.node.args
    defaults = tuple(evaluate(t, d) for d in a.defaults)
    keyword = {p.arg: evaluate(t, d) for p, d in zip(a.kwonlyargs, a.kw_defaults) if d is not None}
    return FunctionValue(code, frame_of(t), defaults, keyword)


def lambda_expression(t: Tracer, node: ast.Lambda) -> Any:
    frame = frame_of(t)
    known = frame.code.facts.setdefault("nested", {})
    code = known.get(id(node))
    if code is None:
        code = known[id(node)] = FunctionCode(node, frame.file, f"{frame.code.qualname}.<locals>.<lambda>", "")
    return make_function(t, code)


def call_expression(t: Tracer, node: ast.Call) -> Any:
    from . import attributes, calls

    function = evaluate(t, node.func)
    if function is super and not node.args:
        return attributes.implicit_super(t)
    args: list[Any] = []
    for a in node.args:
        if isinstance(a, ast.Starred):
            args += spread(t, evaluate(t, a.value))
        elif function is print and isinstance(a, ast.JoinedStr):
            args.append(formatted(t, a))
        else:
            args.append(evaluate(t, a))
    kwargs: dict[str, Any] = {}
    for k in node.keywords:
        value = evaluate(t, k.value)
        if k.arg is None:
            if not isinstance(value, DictObject):
                t.type_error(f"`**` takes a dict, not {describe(value)}")
            kwargs.update(t.items(value))
        else:
            kwargs[k.arg] = value
    if function is super and len(args) == 2 and isinstance(args[0], type):
        return attributes.Super(args[0], args[1])
    return calls.call(t, function, args, kwargs)


# ---------------------------------------------------------------- comprehensions


def comprehension_frame(t: Tracer, node: Any) -> Frame:
    frame = frame_of(t)
    names: set[str] = set()
    for generator in node.generators:
        names |= bound_names([generator.target])
    scope = Scope(frozenset(names), frozenset(), frozenset())
    path = (*frame.path, id(node))
    return Frame(frame.code, scope, frame, frame.globals, frame.cells, path, t.region, frame.file, comprehension=True)


def comprehend(t: Tracer, frame: Frame, generators: list[ast.comprehension], each: Callable[[], None]) -> None:
    """Run `each` for every combination of a comprehension, all of them static."""
    from . import iteration, statements

    def level(k: int) -> None:
        if k == len(generators):
            each()
            return
        generator = generators[k]
        if k == 0:  # the first iterable belongs to the enclosing scope
            inner, t.frame = t.frame, frame.parent
            try:
                value = evaluate(t, generator.iter)
            finally:
                t.frame = inner
        else:
            value = evaluate(t, generator.iter)
        with t.at(generator.iter):
            iterable = iteration.iterable_of(t, value)
            if iterable.static_length is None or iterable.guard is not None:
                t.static_needed(
                    "a comprehension over something whose length is known only at run time",
                    "allocate an array (`np.empty(n)`) and fill it in a loop, or use an array expression",
                )
        for n in range(iterable.static_length):
            with t.at(generator.target):
                statements.assign(t, generator.target, iterable.at(n))
            keep: Any = True
            for test in generator.ifs:
                with t.at(test):
                    keep = truth(t, evaluate(t, test))
                if not isinstance(keep, bool):
                    with t.at(test):
                        t.static_needed(
                            "a condition in a comprehension must be known before the program runs",
                            "use np.where, or a loop that writes to an array",
                        )
                if not keep:
                    break
            if keep:
                level(k + 1)

    saved, t.frame = t.frame, frame
    try:
        level(0)
    finally:
        t.frame = saved
        # names of the comprehension stay in the store: functions made inside may read them


def list_comprehension(t: Tracer, node: ast.ListComp) -> Any:
    return t.new_list(generated(t, node, comprehension_frame(t, node)))


def generated(t: Tracer, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, frame: Frame) -> list[Any]:
    out: list[Any] = []
    comprehend(t, frame, node.generators, lambda: out.append(evaluate(t, node.elt)))
    return out


def generated_list(t: Tracer, value: GeneratorValue) -> ListObject:
    saved, t.frame = t.frame, value.frame.parent
    try:
        return t.new_list(generated(t, value.node, value.frame))
    finally:
        t.frame = saved


def generator_expression(t: Tracer, node: ast.GeneratorExp) -> Any:
    return GeneratorValue(node, comprehension_frame(t, node))


def dict_comprehension(t: Tracer, node: ast.DictComp) -> Any:
    pairs: dict[Any, Any] = {}

    def each() -> None:
        key = static_key(t, evaluate(t, node.key))
        pairs[key] = evaluate(t, node.value)

    comprehend(t, comprehension_frame(t, node), node.generators, each)
    return t.new_dict(pairs.items())


def set_comprehension(t: Tracer, node: ast.SetComp) -> Any:
    items = generated(t, node, comprehension_frame(t, node))
    if any(isinstance(x, Number | Reference) for x in items):
        t.unsupported("a set of values known at run time", "use a list or an array")
    return frozenset(items)


def constant_expression(t: Tracer, node: ast.Constant) -> Any:
    return node.value  # complex only as the step of a slice of np.mgrid; the fence refuses others


def starred(t: Tracer, node: ast.Starred) -> Any:
    t.unsupported("a starred expression here")


EVALUATORS: dict[type[ast.expr], Any] = {
    ast.Constant: constant_expression,
    ast.Name: name_expression,
    ast.NamedExpr: walrus,
    ast.BinOp: operators.binary_expression,
    ast.UnaryOp: operators.unary_expression,
    ast.Compare: operators.compare_expression,
    ast.BoolOp: operators.boolean_expression,
    ast.IfExp: operators.conditional_expression,
    ast.Tuple: tuple_expression,
    ast.List: list_expression,
    ast.Dict: dict_expression,
    ast.Set: set_expression,
    ast.JoinedStr: joined_string,
    ast.Subscript: subscript_expression,
    ast.Attribute: attribute_expression,
    ast.Call: call_expression,
    ast.Lambda: lambda_expression,
    ast.ListComp: list_comprehension,
    ast.GeneratorExp: generator_expression,
    ast.DictComp: dict_comprehension,
    ast.SetComp: set_comprehension,
    ast.Starred: starred,
}
