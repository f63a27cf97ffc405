"""Operators: arithmetic, comparisons, `and`, `or`, `not`, `is`, `in`, conditional expressions.

In: expression nodes, or an operator and abstract values. Out: abstract values. What is static is computed by Python
itself; numbers and arrays follow NumPy's promotion; `and`, `or` and conditional expressions evaluate a side only
where Python does.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Region, Value
from ..ir.types import BOOL, F64, I64
from . import expressions, integers, numeric
from .aliasing import flag_of
from .context import Tracer
from .merges import stage_if
from .numeric import describe, element, is_number, is_static_number, truth
from .values import DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["as_flag", "binary", "compare_one", "identical", "is_weak"]

# ---------------------------------------------------------------- arithmetic

STATIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.MatMult: operator.matmul,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}

UFUNCS: dict[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.remainder,
    ast.Pow: np.power,
    ast.BitAnd: np.bitwise_and,
    ast.BitOr: np.bitwise_or,
    ast.BitXor: np.bitwise_xor,
    ast.LShift: np.left_shift,
    ast.RShift: np.right_shift,
}

SYMBOLS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.LShift: "<<",
    ast.RShift: ">>",
}

METHODS = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "truediv",
    ast.FloorDiv: "floordiv",
    ast.Mod: "mod",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
}


def binary_expression(t: Tracer, node: ast.BinOp) -> Any:
    left = expressions.evaluate(t, node.left)
    right = expressions.evaluate(t, node.right)
    return binary(t, node.op, left, right)


def is_weak(x: Any) -> bool:
    return x.weak if isinstance(x, Number) else isinstance(x, bool | int | float) and not isinstance(x, np.generic)


def binary(t: Tracer, op: ast.operator, a: Any, b: Any) -> Any:
    """`a op b` as Python and NumPy define it."""
    kind = type(op)
    if is_static_number(a) and is_static_number(b):
        return static_binary(t, kind, a, b)
    if (is_number(a) or isinstance(a, Reference)) and (is_number(b) or isinstance(b, Reference)):
        if kind is ast.MatMult:
            from . import bind_products

            return bind_products.matmul(t, a, b)
        return numeric_binary(t, kind, a, b)
    return other_binary(t, kind, a, b)


def static_binary(t: Tracer, kind: type[ast.operator], a: Any, b: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            value = STATIC[kind](a, b)
    except ZeroDivisionError:
        if isinstance(a, float) or isinstance(b, float) or kind is ast.Div:
            with np.errstate(all="ignore"):
                return float(UFUNCS[kind](float(a), float(b)))
        t.type_error("integer division by zero")
    except (TypeError, ValueError, OverflowError) as error:
        t.type_error(str(error))
    if isinstance(value, complex | np.complexfloating):
        return math.nan  # a negative number to a fractional power, as NumPy answers it
    return value


def numeric_binary(t: Tracer, kind: type[ast.operator], a: Any, b: Any) -> Any:
    weak = is_weak(a) and is_weak(b)
    symbol = f"`{SYMBOLS[kind]}`"
    if weak and kind not in (ast.BitAnd, ast.BitOr, ast.BitXor):
        a, b = python_integer(t, a), python_integer(t, b)
    specs = (numeric.dtype_spec(a), numeric.dtype_spec(b))
    if kind is ast.Pow:
        if specs[0] == np.dtype(bool) and isinstance(a, Reference) and specs[1] is int:
            if not isinstance(b, int):
                t.type_error("the dtype of booleans to an integer power depends on the power", "convert the booleans")
            if b == 2:  # NumPy takes np.square here, with a dtype of its own
                return numeric.elementwise(t, "square", np.square, [a], symbol)
        a, b = power_operands(t, a, b)
    elif (
        kind in (ast.FloorDiv, ast.Mod) and specs[0] is int and specs[1] is int and not (isinstance(b, int) and b != 0)
    ):
        nonzero = t.emit1("ne", [numeric.scalar_value(t, b), Const(0, I64)])
        t.emit("check", [nonzero], {"error": "ZeroDivisionError", "message": "integer division or modulo by zero"})
    elif kind in (ast.LShift, ast.RShift) and weak and specs[1] is int and not known_nonnegative(t, b):
        fine = t.emit1("ge", [numeric.scalar_value(t, b), Const(0, I64)])
        t.emit("check", [fine], {"error": "ValueError", "message": "negative shift count"})
    elif kind is ast.Mod and isinstance(a, str):
        return other_binary(t, kind, a, b)
    ufunc = UFUNCS[kind]
    out = numeric.elementwise(t, op_name(t, ufunc, symbol), ufunc, [a, b], symbol, weak)
    if isinstance(out, Number) and out.dtype is I64:
        mark_nonnegative(t, kind, a, b, out)
    return out


def mark_nonnegative(t: Tracer, kind: type[ast.operator], a: Any, b: Any, out: Number) -> None:
    """Remember integers that cannot be negative, so that positions made of them need no test."""

    if kind in (ast.Add, ast.Mult, ast.FloorDiv, ast.BitAnd, ast.RShift):
        if known_nonnegative(t, a) and known_nonnegative(t, b):
            t.nonnegative.add(out.value)
    elif kind is ast.Mod and known_nonnegative(t, b):
        t.nonnegative.add(out.value)


def known_nonnegative(t: Tracer, x: Any) -> bool:
    """Whether an integer certainly is not negative."""
    if isinstance(x, Number):
        return integers.is_nonnegative(t, x.value)
    return isinstance(x, int | np.integer) and bool(x >= 0)


def python_integer(t: Tracer, x: Any) -> Any:
    """Python's bool counts as 0 or 1 in arithmetic."""
    if isinstance(x, bool):
        return int(x)
    if isinstance(x, Number) and x.dtype is BOOL:
        return Number(numeric.cast(t, x.value, I64), True)
    return x


def power_operands(t: Tracer, a: Any, b: Any) -> tuple[Any, Any]:
    """Integer powers: negative static exponents of Python integers give floats; others are refused (`numeric`)."""
    a_integer, b_integer = (kind_of(x) in "iu" for x in (a, b))
    if not (a_integer and b_integer):
        return a, b
    if isinstance(b, int) and b < 0 and is_weak(a) and is_weak(b):
        return (Number(numeric.cast(t, a.value, F64), True) if isinstance(a, Number) else float(a)), float(b)
    return a, b


def kind_of(x: Any) -> str:
    if isinstance(x, Number | Reference):
        return x.dtype.kind
    return "b" if isinstance(x, bool | np.bool_) else "i" if isinstance(x, int | np.integer) else "f"


def op_name(t: Tracer, ufunc: Any, what: str) -> str:
    """The operation that a NumPy function is bound to."""
    from .bind_elementwise import BY_NUMPY

    name = BY_NUMPY.get(ufunc)
    if name is None:
        t.unsupported(f"{what} is not supported yet")
    return name


def other_binary(t: Tracer, kind: type[ast.operator], a: Any, b: Any) -> Any:
    """Operators on strings, tuples, lists, and objects with methods for them."""
    symbol = SYMBOLS[kind]
    if isinstance(a, Instance | Host) or isinstance(b, Instance | Host):
        return object_binary(t, kind, a, b)
    if isinstance(a, ListObject) and isinstance(b, ListObject) and kind is ast.Add:
        return t.new_list((*t.items(a), *t.items(b)))
    if kind is ast.Mult and (isinstance(a, ListObject | tuple | str) or isinstance(b, ListObject | tuple | str)):
        sequence, count = (a, b) if isinstance(a, ListObject | tuple | str) else (b, a)
        if is_number(count):
            n = numeric.static_int(t, count, "how often a list or tuple is repeated")
            return t.new_list(t.items(sequence) * n) if isinstance(sequence, ListObject) else sequence * n
    if isinstance(a, tuple) and isinstance(b, tuple) and kind is ast.Add:
        return tuple(a) + tuple(b)
    if (isinstance(a, tuple | ListObject) and isinstance(b, Reference)) or (
        isinstance(b, tuple | ListObject) and isinstance(a, Reference)
    ):
        return binary(t, (ast.Add() if kind is ast.Add else kind()), element(t, a), element(t, b))
    if kind is ast.BitOr and isinstance(a, DictObject) and isinstance(b, DictObject):
        t.unsupported("`|` of two dicts", "write `{**a, **b}`")
    dynamic = any(isinstance(x, Number | Reference) for x in (a, b))
    if not dynamic and not any(isinstance(x, ListObject | DictObject | tuple) for x in (a, b)):
        try:
            return STATIC[kind](a, b)
        except TypeError as error:
            t.type_error(str(error))
    t.type_error(f"`{symbol}` is not defined for {describe(a)} and {describe(b)}")


def object_binary(t: Tracer, kind: type[ast.operator], a: Any, b: Any) -> Any:
    from . import calls
    from .attributes import guard_class
    from .lookups import MISSING

    name = METHODS.get(kind)
    for owner, other, method in ((a, b, f"__{name}__"), (b, a, f"__r{name}__")):
        if isinstance(owner, Instance | Host):
            cls = owner.cls if isinstance(owner, Instance) else type(owner.value)
            if name is not None and guard_class(t, cls, method) is not MISSING:
                result = calls.call(t, expressions.attribute(t, owner, method), [other], {})
                if result is not NotImplemented:
                    return result
    t.type_error(f"`{SYMBOLS[kind]}` is not defined for {describe(a)} and {describe(b)}")


def unary_expression(t: Tracer, node: ast.UnaryOp) -> Any:
    x = expressions.evaluate(t, node.operand)
    if isinstance(node.op, ast.Not):
        value = truth(t, x, "`not`")
        if isinstance(value, bool):
            return not value
        return Number(t.emit1("logical_not", [value]), True)
    if is_static_number(x):
        if isinstance(node.op, ast.USub):
            return -x
        return +x if isinstance(node.op, ast.UAdd) else ~x
    if isinstance(x, Instance | Host):
        from . import calls

        method = {ast.USub: "__neg__", ast.UAdd: "__pos__", ast.Invert: "__invert__"}[type(node.op)]
        return calls.call(t, expressions.attribute(t, x, method), [], {})
    if not isinstance(x, Number | Reference):
        t.type_error(f"a sign does not go with {describe(x)}")
    weak = is_weak(x)
    if weak:
        x = python_integer(t, x)
    if isinstance(node.op, ast.UAdd):
        if numeric.dtype_spec(x) == np.dtype(bool):
            t.type_error("`+` of booleans is not defined in NumPy")
        return Number(x.value, weak) if isinstance(x, Number) else numeric.wrap(t, numeric.value_of(t, x))
    if isinstance(node.op, ast.USub):
        if numeric.dtype_spec(x) == np.dtype(bool):
            t.type_error("`-` of booleans is not defined in NumPy", "use `~` to negate a mask")
        return numeric.elementwise(t, "neg", np.negative, [x], "`-`", weak)
    return numeric.elementwise(t, op_name(t, np.invert, "`~`"), np.invert, [x], "`~`", weak)


# ---------------------------------------------------------------- comparisons and logic

COMPARISONS: dict[type[ast.cmpop], tuple[str, np.ufunc, Callable[[Any, Any], Any]]] = {
    ast.Lt: ("lt", np.less, operator.lt),
    ast.LtE: ("le", np.less_equal, operator.le),
    ast.Gt: ("gt", np.greater, operator.gt),
    ast.GtE: ("ge", np.greater_equal, operator.ge),
    ast.Eq: ("eq", np.equal, operator.eq),
    ast.NotEq: ("ne", np.not_equal, operator.ne),
}


def compare_expression(t: Tracer, node: ast.Compare) -> Any:
    """Chained comparisons; each operand is evaluated once, and only where Python evaluates it."""
    left = expressions.evaluate(t, node.left)

    def chain(k: int, left: Any) -> Any:
        right = expressions.evaluate(t, node.comparators[k])
        found = compare_one(t, node.ops[k], left, right)
        if k == len(node.ops) - 1:
            return found
        return conjunction(t, found, lambda: chain(k + 1, right))

    return chain(0, left)


def compare_one(t: Tracer, op: ast.cmpop, a: Any, b: Any) -> Any:
    if isinstance(op, ast.Is | ast.IsNot):
        found = identical(t, a, b)
        if isinstance(found, bool):
            return found is isinstance(op, ast.Is)
        return Number(found if isinstance(op, ast.Is) else t.emit1("logical_not", [found]), True)
    if isinstance(op, ast.In | ast.NotIn):
        found = contained(t, a, b)
        if isinstance(found, bool):
            return found is isinstance(op, ast.In)
        return Number(found if isinstance(op, ast.In) else t.emit1("logical_not", [found]), True)
    name, ufunc, static = COMPARISONS[type(op)]
    numbers = is_number(a) and is_number(b)
    if numbers or isinstance(a, Reference) or isinstance(b, Reference):
        if is_static_number(a) and is_static_number(b):
            return static(a, b)
        if not numbers and (a is None or b is None or isinstance(a, str) or isinstance(b, str)):
            t.type_error("an array is compared with None or a string", "use `is None`")
        a, b = element(t, a, "a comparison"), element(t, b, "a comparison")
        return numeric.elementwise(t, name, ufunc, [a, b], "a comparison", is_weak(a) and is_weak(b))
    if isinstance(a, tuple | ListObject) and isinstance(b, tuple | ListObject) and isinstance(op, ast.Eq | ast.NotEq):
        return sequence_equal(t, op, a, b)
    if any(isinstance(x, Number) for x in (a, b)):
        if isinstance(op, ast.Eq | ast.NotEq):
            return isinstance(op, ast.NotEq)  # a number and something that is no number
        t.type_error(f"{describe(a)} and {describe(b)} cannot be compared")
    if isinstance(a, Host) or isinstance(b, Host):
        if isinstance(a, Host) and isinstance(b, Host) and isinstance(op, ast.Eq | ast.NotEq):
            return (a.value is b.value) is isinstance(op, ast.Eq)
        t.type_error(f"{describe(a)} and {describe(b)} cannot be compared while tracing")
    try:
        return bool(static(a, b))
    except TypeError as error:
        t.type_error(str(error))


def sequence_equal(t: Tracer, op: ast.cmpop, a: Any, b: Any) -> Any:
    x = t.items(a) if isinstance(a, ListObject) else a
    y = t.items(b) if isinstance(b, ListObject) else b
    equal: Any = len(x) == len(y) and isinstance(a, ListObject) == isinstance(b, ListObject)
    if equal:
        for p, q in zip(x, y):
            found = truth(t, compare_one(t, ast.Eq(), p, q))
            if found is False:
                equal = False
                break
            if found is not True:
                equal = found if equal is True else t.emit1("logical_and", [equal, found])
    if isinstance(equal, bool):
        return equal is isinstance(op, ast.Eq)
    return Number(equal if isinstance(op, ast.Eq) else t.emit1("logical_not", [equal]), True)


def identical(t: Tracer, a: Any, b: Any) -> Any:
    """`a is b`: a static bool, or a flag for arrays that may be one."""
    if isinstance(a, Reference) and isinstance(b, Reference):
        if a.stages or b.stages:
            return a is b
        return flag_of(t, a.object, b.object)
    for x, y in ((a, b), (b, a)):
        if isinstance(x, bool) and isinstance(y, Number) and y.weak and y.dtype is BOOL:
            return y.value if x else t.emit1("logical_not", [y.value])
    if isinstance(a, Number) or isinstance(b, Number):
        if a is None or b is None or a is Ellipsis or b is Ellipsis or isinstance(a, str) or isinstance(b, str):
            return False
        if isinstance(a, Number) and isinstance(b, Number) and a is b:
            return True
        t.unsupported("`is` between numbers", "use `==`")
    if isinstance(a, Host) and isinstance(b, Host):
        return a.value is b.value
    return a is b


def contained(t: Tracer, a: Any, b: Any) -> Any:
    """`a in b`."""
    if isinstance(b, DictObject):
        keys = [k for k, _ in t.items(b)]
        if isinstance(a, Number | Reference):
            t.static_needed("a key of a dict must be known before the program runs")
        return a in keys
    items: tuple[Any, ...] | None = None
    if isinstance(b, ListObject):
        items = t.items(b)
    elif isinstance(b, tuple):
        items = b
    elif isinstance(b, set | frozenset):
        items = tuple(b)
    elif isinstance(b, str) and isinstance(a, str):
        return a in b
    if items is None:
        if isinstance(b, Reference):
            equal = numeric.elementwise(t, "eq", np.equal, [element(t, a), b], "`in`")
            return t.emit1("reduce_any", [numeric.value_of(t, equal)], {"axes": tuple(range(b.rank))})
        t.type_error(f"`in` is not defined for {describe(b)}")
    out: Any = False
    for item in items:
        if isinstance(item, Reference) or isinstance(a, Reference):
            t.unsupported("`in` among arrays", "compare the arrays element by element")
        found = truth(t, compare_one(t, ast.Eq(), a, item))
        if found is True:
            return True
        if found is not False:
            out = found if out is False else t.emit1("logical_or", [out, found])
    return out


CHEAP = frozenset(
    "add sub mul lt le gt ge eq ne logical_and logical_or logical_not logical_xor cast neg abs minimum maximum "
    "select dim isnan isinf isfinite signbit".split()
)
"""Operations on scalars that may be computed where Python would not, since nothing can go wrong with them."""


def as_flag(x: Any) -> Any:
    return Number(x, True) if isinstance(x, Value) else x


def conjunction(t: Tracer, left: Any, rest: Callable[[], Any]) -> Any:
    """`left and rest()`: Python's value, the right side evaluated only where the left one is true."""
    condition = truth(t, left, "`and`")
    if isinstance(condition, bool):
        return rest() if condition else left
    return lazy(t, condition, left, rest, True)


def disjunction(t: Tracer, left: Any, rest: Callable[[], Any]) -> Any:
    """`left or rest()`."""
    condition = truth(t, left, "`or`")
    if isinstance(condition, bool):
        return left if condition else rest()
    return lazy(t, condition, left, rest, False)


def lazy(t: Tracer, condition: Value, left: Any, rest: Callable[[], Any], conjoin: bool) -> Any:
    region = Region()
    saved = dict(t.store)
    with t.inside(region):
        right = rest()
    unchanged = len(t.store) == len(saved) and all(saved.get(k) is v for k, v in t.store.items())
    cheap = unchanged and all(op.name in CHEAP and not any(r.is_array for r in op.results) for op in region.ops)
    is_bool = isinstance(left, Number) and left.dtype is BOOL
    right_bool = isinstance(right, bool) or (isinstance(right, Number) and right.dtype is BOOL)
    if cheap and is_bool and right_bool and len(region.ops) <= 12:
        if isinstance(right, bool):
            return left if right is conjoin else right
        t.region.ops.extend(region.ops)
        weak = left.weak and is_weak(right)
        return Number(t.emit1("logical_and" if conjoin else "logical_or", [condition, right.value]), weak)
    t.store = saved
    if conjoin:
        return stage_if(t, condition, rest, lambda: left)
    return stage_if(t, condition, lambda: left, rest)


def boolean_expression(t: Tracer, node: ast.BoolOp) -> Any:
    join = conjunction if isinstance(node.op, ast.And) else disjunction

    def chain(k: int) -> Any:
        value = expressions.evaluate(t, node.values[k])
        if k == len(node.values) - 1:
            return value
        return join(t, value, lambda: chain(k + 1))

    return chain(0)


def conditional_expression(t: Tracer, node: ast.IfExp) -> Any:
    with t.at(node.test):
        condition = truth(t, expressions.evaluate(t, node.test))
    if isinstance(condition, bool):
        return expressions.evaluate(t, node.body if condition else node.orelse)
    out = stage_if(
        t, condition, lambda: expressions.evaluate(t, node.body), lambda: expressions.evaluate(t, node.orelse)
    )
    return expressions.usable(t, out, "this expression")
