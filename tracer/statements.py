"""Statements: assignment in all its forms, `return`, `assert`, `raise`, `del`, `match`, nested functions.

In: a statement. Out: its effect on the tracer's store. (`if` and blocks are in `control`, loops in `loops`.)
"""

from __future__ import annotations

import ast
from typing import Any

from ..ir.core import Const, Value
from ..ir.types import BOOL
from . import expressions, indexing, operators, views
from .context import DEAD, Tracer
from .control import block, frame_of, live_after
from .merges import Branch, merge_branches, stage_if
from .messages import message_of
from .numeric import describe, truth
from .source import FunctionCode
from .values import CALLERS, DictObject, Instance, ListObject, Maybe, Number, Poison, Reference

__all__ = ["assign", "raise_as_check", "statement"]


def statement(t: Tracer, node: ast.stmt) -> None:
    """Trace one statement."""
    handler = HANDLERS.get(type(node))
    with t.at(node):
        if handler is None:
            t.unsupported(f"`{type(node).__name__.lower()}` statements are not supported")
        handler(t, node)


# ---------------------------------------------------------------- assignment


def assign(t: Tracer, target: ast.expr, value: Any) -> None:
    """Bind or write a value."""
    if isinstance(target, ast.Name):
        expressions.bind(t, target.id, value)
    elif isinstance(target, ast.Tuple | ast.List):
        unpack(t, target, value)
    elif isinstance(target, ast.Subscript):
        container = expressions.evaluate(t, target.value)
        index = expressions.subscript(t, target.slice)
        with t.at(target):
            indexing.store(t, container, index, value)
    elif isinstance(target, ast.Attribute):
        owner = expressions.evaluate(t, target.value)
        with t.at(target):
            set_attribute(t, owner, target.attr, value)
    elif isinstance(target, ast.Starred):
        t.unsupported("a starred name outside of a tuple")
    else:
        t.unsupported(f"assignment to {type(target).__name__}")


def unpack(t: Tracer, target: ast.Tuple | ast.List, value: Any) -> None:
    """`a, b = value`."""
    names = target.elts
    starred = [k for k, e in enumerate(names) if isinstance(e, ast.Starred)]
    with t.at(target):
        items = sequence_items(t, value, len(names), bool(starred))
    if starred:
        k = starred[0]
        after = len(names) - k - 1
        if len(items) < len(names) - 1:
            with t.at(target):
                t.fail_value(f"not enough values to unpack (expected at least {len(names) - 1}, got {len(items)})")
        middle = t.new_list(items[k : len(items) - after])
        star = names[k]
        assert isinstance(star, ast.Starred)
        items = [*items[:k], middle, *items[len(items) - after :]]
        names = [*names[:k], star.value, *names[k + 1 :]]
    if len(items) != len(names):
        with t.at(target):
            t.fail_value(f"cannot unpack {len(items)} values into {len(names)} names")
    for name, item in zip(names, items):
        assign(t, name, item)


def sequence_items(t: Tracer, value: Any, wanted: int, starred: bool) -> list[Any]:
    """The items of what is unpacked into `wanted` names."""
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, ListObject):
        return list(t.items(value))
    if isinstance(value, DictObject):
        return [k for k, _ in t.items(value)]
    if isinstance(value, str):
        return list(value)
    if isinstance(value, Reference) and value.rank:
        extent = views.extent(t, value, 0)
        if starred and not isinstance(extent, Const):
            t.unsupported("unpacking an array into a starred name", "slice the array: `a, rest = x[0], x[1:]`")
        count = int(extent.value) if isinstance(extent, Const) else wanted
        if not isinstance(extent, Const):
            fits = t.emit1("eq", [extent, Const(wanted, extent.dtype)])
            message = f"cannot unpack an array of length {{0}} into {wanted} names"
            t.emit("check", [fits, extent], {"error": "ValueError", "message": message})
        from .iteration import array_iterable

        iterable = array_iterable(t, value)
        return [iterable.at(k) for k in range(count)]
    from .iteration import Enumerate, Range, Reversed, Zip, iterable_of

    if isinstance(value, Enumerate | Range | Reversed | Zip):
        iterable = iterable_of(t, value)
        if iterable.static_length is not None:
            return [iterable.at(k) for k in range(iterable.static_length)]
    t.type_error(f"cannot unpack {describe(value)}")


def set_attribute(t: Tracer, owner: Any, name: str, value: Any) -> None:
    if isinstance(owner, Instance):
        fields = dict(t.items(owner))
        found = getattr(owner.cls, "__dataclass_params__", None)
        if found is not None and found.frozen:
            t.unsupported(f"`{owner.cls.__name__}` is frozen: its field `{name}` cannot be assigned")
        if isinstance(getattr(owner.cls, name, None), property):
            t.unsupported(f"assignment to the property `{name}`")
        fields[name] = value
        t.set_items(owner, fields.items())
    elif isinstance(owner, Reference):
        t.unsupported(f"assignment to `.{name}` of an array", "make a new array (reshape, astype, ...)")
    else:
        t.unsupported(
            f"assignment to the attribute `{name}` of an object that the function did not make",
            "return the new value instead",
        )


def assign_statement(t: Tracer, node: ast.Assign) -> None:
    value = expressions.evaluate(t, node.value)
    if isinstance(value, expressions.GeneratorValue):
        value = expressions.generated_list(t, value)
    for target in node.targets:
        assign(t, target, value)


def annotated(t: Tracer, node: ast.AnnAssign) -> None:
    if node.value is not None:
        assign(t, node.target, expressions.evaluate(t, node.value))


def augmented(t: Tracer, node: ast.AugAssign) -> None:
    """`target op= value`: in place for arrays, a new binding for everything else."""
    target = node.target
    if isinstance(target, ast.Name):
        old = expressions.read_name(t, target.id)
        value = expressions.evaluate(t, node.value)
        with t.at(node):
            if isinstance(old, Reference):
                in_place(t, node.op, old, value)
            elif isinstance(old, ListObject):
                extend_list(t, node.op, old, value)
            elif isinstance(old, Number) and old.array:
                if old.array == CALLERS:
                    t.unsupported(
                        f"`{target.id}` is an array without axes that belongs to the caller, and is changed in place",
                        f"write `{target.id} = {target.id} + ...`, or pass an array of one element",
                    )
                new = expressions.copied_number(t, operators.binary(t, node.op, old, value), old)
                expressions.bind(t, target.id, new)
            else:
                expressions.bind(t, target.id, operators.binary(t, node.op, old, value))
        return
    if isinstance(target, ast.Attribute):
        owner = expressions.evaluate(t, target.value)
        with t.at(target):
            old = expressions.attribute(t, owner, target.attr)
        value = expressions.evaluate(t, node.value)
        with t.at(node):
            if isinstance(old, Reference) and old.rank:
                in_place(t, node.op, old, value)
            else:
                set_attribute(t, owner, target.attr, operators.binary(t, node.op, old, value))
        return
    container = expressions.evaluate(t, target.value)
    index = expressions.subscript(t, target.slice)
    if isinstance(container, Reference):
        with t.at(target):
            place = indexing.Place(t, container, index)
            old = place.read()
        value = expressions.evaluate(t, node.value)
        with t.at(node):
            if isinstance(old, Reference) and place.view is not None:
                in_place(t, node.op, old, value)
            else:
                place.write(operators.binary(t, node.op, old, value), same_kind=False)
        return
    with t.at(target):
        old = indexing.load(t, container, index)
    value = expressions.evaluate(t, node.value)
    with t.at(node):
        if isinstance(old, Reference) and old.rank:
            in_place(t, node.op, old, value)
        else:
            indexing.store(t, container, index, operators.binary(t, node.op, old, value))


def extend_list(t: Tracer, op: ast.operator, old: ListObject, value: Any) -> None:
    if isinstance(op, ast.Mult):
        t.unsupported("`*=` of a list", "build a new list: `p = p * 2`")
    if not isinstance(op, ast.Add):
        t.type_error(f"a list does not support this operation with {describe(value)}")
    items = t.items(value) if isinstance(value, ListObject) else value if isinstance(value, tuple) else None
    if items is None and not isinstance(value, Number):
        t.unsupported(f"a list is extended by {describe(value)}", "extend it by a list or a tuple")
    if items is None:
        t.type_error(f"a list cannot be extended by {describe(value)}")
    t.set_items(old, (*t.items(old), *items))


def in_place(t: Tracer, op: ast.operator, target: Reference, value: Any) -> None:
    """`array op= value`: the array keeps its dtype and shape."""
    result = operators.binary(t, op, target, value)
    if not isinstance(result, Reference) and target.rank:
        t.type_error(f"an array cannot become {describe(result)} in place")
    if isinstance(result, Reference) and result.rank > target.rank:
        t.shape_error(f"non-broadcastable output operand: {result.rank} axes are to fit into {target.rank}")
    indexing.fill_view(t, target, result, same_kind=True)


# ---------------------------------------------------------------- functions


def function_definition(t: Tracer, node: ast.FunctionDef) -> None:
    from . import calls

    decorators = []
    for expression in node.decorator_list:
        with t.at(expression):
            decorators.append((expression, expressions.evaluate(t, expression)))
    frame = frame_of(t)
    known = frame.code.facts.setdefault("nested", {})
    code = known.get(id(node))
    if code is None:
        code = known[id(node)] = FunctionCode(node, frame.file, f"{frame.code.qualname}.<locals>.{node.name}", "")
    made = expressions.make_function(t, code)
    for expression, decorator in reversed(decorators):
        with t.at(expression):
            made = calls.call(t, decorator, [made], {})
    expressions.bind(t, node.name, made)


def return_statement(t: Tracer, node: ast.Return) -> None:
    frame = frame_of(t)
    value = expressions.evaluate(t, node.value) if node.value is not None else None
    if isinstance(value, expressions.GeneratorValue):
        value = expressions.generated_list(t, value)
    t.store[(frame, "<result>")] = value
    t.store[(frame, "<returned>")] = True


def break_statement(t: Tracer, node: ast.Break) -> None:
    t.store[(frame_of(t).loops[-1], "<broke>")] = True


def continue_statement(t: Tracer, node: ast.Continue) -> None:
    t.store[(frame_of(t).loops[-1], "<continued>")] = True


# ---------------------------------------------------------------- assert and raise


def assert_statement(t: Tracer, node: ast.Assert) -> None:
    with t.at(node.test):
        condition = truth(t, expressions.evaluate(t, node.test))
    if condition is True:
        return
    message = ""
    details: list[Value] = []
    if node.msg is not None:
        message, details = message_of(t, node.msg)
    ok = condition if isinstance(condition, Value) else Const(False, BOOL)
    t.emit("check", [ok, *details], {"error": "AssertionError", "message": message})
    if condition is False:
        t.store[DEAD] = True


def exception_of(t: Tracer, node: ast.Raise) -> tuple[str, str, list[Value]]:
    """The exception class and message of a `raise`."""
    if node.exc is None:
        t.unsupported("a bare `raise`", "raise a new exception, such as ValueError(...)")
    if isinstance(node.exc, ast.Call):
        cls = expressions.evaluate(t, node.exc.func)
        message, details = message_of(t, node.exc.args[0]) if node.exc.args else ("", [])
    else:
        cls, message, details = expressions.evaluate(t, node.exc), "", []
    if isinstance(cls, type) and issubclass(cls, BaseException):
        return cls.__name__, message, details
    t.unsupported("only exceptions named here can be raised", "write `raise ValueError(...)`")


def raise_as_check(t: Tracer, node: ast.Raise, condition: Value) -> bool:
    """`if condition: raise ...` as one check, without a branch; False where the message needs one."""
    simple = (ast.Constant, ast.Name, ast.Attribute, ast.Load, ast.JoinedStr, ast.FormattedValue, ast.Call, ast.Raise)
    nodes = list(ast.walk(node))
    if not all(isinstance(n, simple) for n in nodes) or sum(isinstance(n, ast.Call) for n in nodes) > 1:
        return False
    with t.at(node):
        name, message, details = exception_of(t, node)
        ok = t.emit1("logical_not", [condition])
        t.emit("check", [ok, *details], {"error": name, "message": message})
    return True


def raise_statement(t: Tracer, node: ast.Raise) -> None:
    name, message, details = exception_of(t, node)
    t.emit("check", [Const(False, BOOL), *details], {"error": name, "message": message})
    t.store[DEAD] = True


# ---------------------------------------------------------------- the rest


def delete(t: Tracer, node: ast.Delete) -> None:
    for target in node.targets:
        with t.at(target):
            if isinstance(target, ast.Name):
                expressions.read_name(t, target.id)
                t.store.pop((frame_of(t), target.id), None)
            elif isinstance(target, ast.Subscript):
                container = expressions.evaluate(t, target.value)
                indexing.remove(t, container, expressions.subscript(t, target.slice))
            else:
                t.unsupported("`del` of this")


def expression_statement(t: Tracer, node: ast.Expr) -> None:
    if not isinstance(node.value, ast.Constant):
        expressions.evaluate(t, node.value)


def nothing(t: Tracer, node: ast.stmt) -> None:
    pass


def import_statement(t: Tracer, node: ast.Import | ast.ImportFrom) -> None:
    """Imports of what is imported already bind as Python would."""
    import importlib

    package = frame_of(t).globals.get("__package__")
    try:
        if isinstance(node, ast.Import):
            for alias in node.names:
                module = importlib.import_module(alias.name)
                if alias.asname is None:
                    expressions.bind(t, alias.name.split(".")[0], importlib.import_module(alias.name.split(".")[0]))
                else:
                    expressions.bind(t, alias.asname, module)
        else:
            module = importlib.import_module("." * node.level + (node.module or ""), package)
            for alias in node.names:
                if alias.name == "*":
                    t.unsupported("`import *` inside a function")
                expressions.bind(t, alias.asname or alias.name, getattr(module, alias.name))
    except (ImportError, AttributeError) as error:
        t.unsupported(f"this import does not work while tracing: {error}", "import at the top of the module")


def with_statement(t: Tracer, node: ast.With) -> None:
    from .pauses import PAUSED, paused_block

    paused = False
    for item in node.items:
        manager = expressions.evaluate(t, item.context_expr)
        paused |= manager is PAUSED
        if manager is not expressions.HARMLESS_CONTEXT and manager is not PAUSED:
            with t.at(item.context_expr):
                t.unsupported(
                    "this `with` block",
                    "np.errstate(...) and stop_gradient() are known; write other set-up outside the function",
                )
    if paused:
        paused_block(t, node, lambda: block(t, node.body))
    else:
        block(t, node.body)


def for_statement(t: Tracer, node: ast.For) -> None:
    from . import loops

    loops.for_loop(t, node)


def while_statement(t: Tracer, node: ast.While) -> None:
    from . import loops

    loops.while_loop(t, node)


def match_statement(t: Tracer, node: ast.Match) -> None:
    """`match` on values: literals, alternatives, names and guards, as a chain of `if`."""
    subject = expressions.evaluate(t, node.subject)

    def case(k: int) -> None:
        if k == len(node.cases):
            return
        this = node.cases[k]
        with t.at(this.pattern):
            matched = pattern(t, this.pattern, subject)

        def guarded() -> Any:
            if this.guard is None:
                return True
            with t.at(this.guard):
                return truth(t, expressions.evaluate(t, this.guard))

        if matched is True and this.guard is not None:
            matched = guarded()
        elif isinstance(matched, Value) and this.guard is not None:
            inner = matched
            found = stage_if(t, inner, lambda: operators.as_flag(guarded()), lambda: False)
            matched = found.value if isinstance(found, Number) else found
        if isinstance(matched, bool):
            if matched:
                block(t, this.body)
            else:
                case(k + 1)
            return
        first, second = Branch(t), Branch(t)
        first.run(lambda: block(t, this.body))
        second.run(lambda: case(k + 1))
        merge_branches(t, matched, first, second, live_after(t, node))

    case(0)


def pattern(t: Tracer, node: ast.pattern, subject: Any) -> Any:
    """Whether a pattern matches: a static bool or a boolean IR value. Binds names."""
    if isinstance(node, ast.MatchValue):
        return truth(t, operators.compare_one(t, ast.Eq(), subject, expressions.evaluate(t, node.value)))
    if isinstance(node, ast.MatchSingleton):
        return operators.identical(t, subject, node.value)
    if isinstance(node, ast.MatchAs):
        matched = True if node.pattern is None else pattern(t, node.pattern, subject)
        if node.name is not None:
            expressions.bind(t, node.name, subject)
        return matched
    if isinstance(node, ast.MatchOr):
        out: Any = False
        for alternative in node.patterns:
            found = pattern(t, alternative, subject)
            if found is True:
                return True
            if found is not False:
                out = found if out is False else t.emit1("logical_or", [out, found])
        return out
    if isinstance(node, ast.MatchSequence) and isinstance(subject, tuple | ListObject):
        items = subject if isinstance(subject, tuple) else t.items(subject)
        if any(isinstance(p, ast.MatchStar) for p in node.patterns):
            t.unsupported("a starred pattern", "compare lengths and items with `if`")
        if len(items) != len(node.patterns):
            return False
        out = True
        for inner, item in zip(node.patterns, items):
            found = pattern(t, inner, item)
            if found is False:
                return False
            if found is not True:
                out = found if out is True else t.emit1("logical_and", [out, found])
        return out
    t.unsupported("this kind of pattern", "use literals, `|`, names and guards, or write the tests with `if`")


def nothing_to_see(value: Any) -> bool:
    return isinstance(value, Poison | Maybe)


HANDLERS: dict[type[ast.stmt], Any] = {
    ast.Assign: assign_statement,
    ast.AnnAssign: annotated,
    ast.AugAssign: augmented,
    ast.FunctionDef: function_definition,
    ast.Return: return_statement,
    ast.Break: break_statement,
    ast.Continue: continue_statement,
    ast.Assert: assert_statement,
    ast.Raise: raise_statement,
    ast.Delete: delete,
    ast.Expr: expression_statement,
    ast.Pass: nothing,
    ast.Nonlocal: nothing,
    ast.Global: nothing,
    ast.Import: import_statement,
    ast.ImportFrom: import_statement,
    ast.With: with_statement,
    ast.For: for_statement,
    ast.While: while_statement,
    ast.Match: match_statement,
}
