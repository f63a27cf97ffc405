"""Numbers and arrays as NumPy treats them: promotion (NEP 50), conversion, broadcasting, elementwise operations.

In: abstract values and the name of an operation. Out: abstract values. Promotion is NumPy's own: its ufuncs are
asked which dtypes they would compute with. Every conversion is an explicit `cast`, every repetition an
explicit `broadcast`; shapes whose extents are not known while tracing are compared by `same_extent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, DType, dtype_of
from . import views
from .broadcasting import agree, broadcast_shapes, broadcast_to, fits
from .context import Tracer
from .values import Host, Instance, ListObject, Maybe, Number, Reference

__all__ = [
    "agree",
    "as_array_like",
    "broadcast_shapes",
    "broadcast_to",
    "cast",
    "converted",
    "counted",
    "describe",
    "dtype_spec",
    "elementwise",
    "emit_elementwise",
    "fits",
    "is_number",
    "promote",
    "scalar_value",
    "truth",
    "value_of",
    "wrap",
]

PYTHON_TYPES = (bool, int, float)
Extents = list[Value]


def is_python_type(spec: Any) -> bool:
    """Whether a spec is bool, int or float itself (a dtype compares equal to them)."""
    return spec is bool or spec is int or spec is float


def is_static_number(x: Any) -> bool:
    return isinstance(x, bool | int | float | np.number | np.bool_) and not isinstance(x, complex | np.complexfloating)


def is_number(x: Any) -> bool:
    """Whether a value is one number, static or not."""
    return isinstance(x, Number) or is_static_number(x)


def describe(x: Any) -> str:
    """A value in words, for messages."""
    if isinstance(x, Number):
        names = {"b": "bool", "i": "int", "u": "int", "f": "float"}
        return f"a {names[x.dtype.kind]}" if x.weak else f"a {x.dtype.numpy} number"
    if isinstance(x, Reference):
        return f"a {x.rank}-d array of {x.dtype.numpy}"
    if isinstance(x, ListObject):
        return "a list"
    if x is None:
        return "None"
    if isinstance(x, tuple):
        return "a tuple"
    if isinstance(x, bool | int | float | str):
        return f"{x!r}"
    if callable(x):
        return f"the function `{getattr(x, '__name__', x)}`"
    if isinstance(x, Instance | Host):
        return f"an object of class {(x.cls if isinstance(x, Instance) else type(x.value)).__name__}"
    if type(x).__name__ in KINDS and type(x).__module__.startswith(__package__):
        return KINDS[type(x).__name__]
    return f"a value of type {type(x).__name__}"


KINDS = {
    "ListObject": "a list",
    "DictObject": "a dict",
    "GeneratorValue": "a generator expression",
    "Range": "a range",
    "Enumerate": "an enumerate",
    "Zip": "a zip",
    "Reversed": "a reversed",
    "Grid": "an np.ndindex",
    "Product": "an itertools.product",
    "Tuples": "pairs of items",
    "FunctionValue": "a function",
    "BoundMethod": "a method",
    "ClassMethodOf": "a method",
    "Partial": "a functools.partial",
    "Derivative": "a derivative",
    "Super": "super()",
    "HarmlessContext": "a context manager",
    "Distribution": "a distribution",
    "Undefined": "a name without a value",
    "Poison": "a value that differs by path",
    "Maybe": "a value that may not exist",
}
"""What users call the tracer's kinds of values."""


def counted(n: int, what: str) -> str:
    """`1 argument`, `2 arguments`."""
    return f"{n} {what}{'s' * (n != 1)}"


def dtype_spec(x: Any) -> Any:
    """What NumPy's promotion is asked with: a dtype, or bool, int or float for Python's own numbers."""
    if isinstance(x, Number):
        if x.weak:
            return {"b": bool, "i": int, "f": float}[x.dtype.kind]
        return x.dtype.numpy
    if isinstance(x, Reference):
        return x.dtype.numpy
    if isinstance(x, PYTHON_TYPES) and not isinstance(x, np.generic):
        return bool if isinstance(x, bool) else type(x) if type(x) in PYTHON_TYPES else float
    return np.dtype(type(x))


def to_dtype(t: Tracer, dtype: Any) -> DType:
    """adjit's dtype of NumPy's; refused where there is none."""
    try:
        found = dtype_of(dtype)
    except TypeError:
        found = None
    if found is None:
        t.type_error(
            f"the dtype {np.dtype(dtype) if not isinstance(dtype, str) else dtype} is not supported",
            "use float64, float32, an integer type or bool (for instance by `.astype(np.float64)`)",
        )
    return found


# ---------------------------------------------------------------- values


def scalar_value(t: Tracer, x: Any) -> Value:
    """A number as an IR value of its own dtype."""
    if isinstance(x, Number):
        return x.value
    if isinstance(x, PYTHON_TYPES) and not isinstance(x, np.generic):
        if isinstance(x, int) and not isinstance(x, bool) and not -(2**63) <= x < 2**63:
            t.type_error(f"the integer {x} does not fit 64 bits", "use a float")
        return Const(x, BOOL if isinstance(x, bool) else I64 if isinstance(x, int) else F64)
    return Const(x, to_dtype(t, np.dtype(type(x))))


def value_of(t: Tracer, x: Any) -> Value:
    """A number or array as an IR value."""
    return views.read(t, x) if isinstance(x, Reference) else scalar_value(t, x)


def wrap(
    t: Tracer,
    value: Value,
    extents: Sequence[Value | None] | None = None,
    weak: bool = False,
    c_order: bool | None = True,
) -> Any:
    """An IR value as an abstract value: a number, or a new array."""
    if value.is_array:
        return t.new_array(value, extents, c_order)
    return Number(value, weak)


def cast(t: Tracer, value: Value, dtype: DType) -> Value:
    """Conversion of elements, folded for constants."""
    if value.dtype is dtype:
        return value
    if isinstance(value, Const):
        with np.errstate(all="ignore"):
            return Const(value.value, dtype)
    out = t.emit1("cast", [value], {"dtype": dtype})
    if out.dtype is I64 and not out.is_array and (value in t.nonnegative or value.dtype is BOOL):
        t.nonnegative.add(out)
    return out


def element(t: Tracer, x: Any, what: str = "this operation") -> Any:
    """A number or array; Python lists and tuples of numbers become arrays as in NumPy; anything else is refused."""
    if isinstance(x, Number | Reference) or is_static_number(x):
        return x
    if isinstance(x, tuple | ListObject):
        from . import bind_create

        return bind_create.array(t, x)
    if isinstance(x, Maybe):
        return x.value
    t.type_error(f"{what} does not take {describe(x)}")


as_array_like = element


def as_reference(t: Tracer, x: Any, what: str = "this operation") -> Reference:
    """An array (numbers are refused)."""
    x = element(t, x, what)
    if not isinstance(x, Reference):
        t.type_error(f"{what} takes an array, not {describe(x)}")
    return x


def integer_value(t: Tracer, x: Any, what: str) -> Value:
    """An i64 value of an integer number."""
    if isinstance(x, Reference) and x.rank == 0:
        x = Number(views.read(t, x))
    if isinstance(x, Number):
        if x.dtype.is_integer or x.dtype is BOOL:
            return cast(t, x.value, I64)
    elif isinstance(x, int | np.integer | np.bool_):
        return scalar_value(t, int(x))
    t.type_error(f"{what} must be an integer, not {describe(x)}", "write `int(...)` to convert a number")


def static_int(t: Tracer, x: Any, what: str) -> int:
    """An integer known while tracing."""
    if isinstance(x, Number) and isinstance(x.value, Const):
        x = x.value.value.item()
    if isinstance(x, bool | int | np.integer | np.bool_):
        return int(x)
    if isinstance(x, Number) and x.dtype.is_integer:
        t.static_needed(
            f"{what} must be known before the program runs; here it is computed at run time",
            "write the number itself, or pass it as a static argument",
        )
    t.type_error(f"{what} must be an integer, not {describe(x)}")


# ---------------------------------------------------------------- shapes


def shape_of(t: Tracer, x: Any) -> Extents:
    return views.extents(t, x) if isinstance(x, Reference) else []


def rank_of(x: Any) -> int:
    return x.rank if isinstance(x, Reference) else 0


# ---------------------------------------------------------------- elementwise operations

_PROMOTED: dict[Any, tuple[np.dtype[Any], ...]] = {}


def promote(t: Tracer, ufunc: np.ufunc, specs: Sequence[Any], what: str) -> tuple[np.dtype[Any], ...]:
    """Dtypes that a NumPy ufunc computes with, inputs then result, for dtypes or Python number types."""
    key = (ufunc, tuple(s.__name__ if is_python_type(s) else s.str for s in specs))
    found = _PROMOTED.get(key)
    if found is None:
        asked = list(specs)
        asked = [np.dtype(bool) if s is bool else s for s in asked]
        if all(is_python_type(s) for s in asked):
            kinds = {bool: np.dtype(bool), int: np.dtype(np.int64), float: np.dtype(np.float64)}
            asked = [kinds[s] for s in asked]
        try:
            with np.errstate(all="ignore"):
                found = tuple(ufunc.resolve_dtypes((*asked, *[None] * ufunc.nout)))
        except TypeError:
            names = ", ".join(str(s.__name__ if isinstance(s, type) else s) for s in specs)
            t.type_error(f"{what} is not defined for {names}")
        half = np.dtype(np.float16)
        if half in found and half not in asked:  # NumPy computes functions of tiny integers in half precision
            found = tuple(np.dtype(np.float64) if d == half else d for d in found)
        _PROMOTED[key] = found
    return found


ORDERS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})

BOOLEAN = {
    "add": "logical_or",
    "maximum": "logical_or",
    "fmax": "logical_or",
    "mul": "logical_and",
    "minimum": "logical_and",
    "fmin": "logical_and",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "ne": "logical_xor",
    "invert": "logical_not",
    "bitwise_not": "logical_not",
}
"""What arithmetic on booleans means in NumPy."""


def elementwise(
    t: Tracer, name: str, ufunc: np.ufunc, operands: Sequence[Any], what: str = "", weak: bool = False
) -> Any:
    """A NumPy ufunc of numbers and arrays as the operation `name`. `weak`: the result of numbers is Python's."""
    what = what or f"np.{ufunc.__name__}"
    operands = [element(t, x, what) for x in operands]
    dtypes = promote(t, ufunc, [dtype_spec(x) for x in operands], what)
    return converted(t, name, operands, [to_dtype(t, d) for d in dtypes[: len(operands)]], what, weak)


def converted(
    t: Tracer, name: str, operands: Sequence[Any], targets: list[DType], what: str, weak: bool = False
) -> Any:
    """The operation `name`, or what it means for booleans and integers, on operands converted to `targets`."""
    if targets and all(d is BOOL for d in targets) and name in BOOLEAN:
        name = BOOLEAN[name]
    if name in ORDERS and any(dtype_spec(x) is int for x in operands) and targets[0].is_integer:
        targets = [I64 if targets[0].itemsize < 8 else targets[0]] * 2  # Python's integers are compared exactly
    if name == "pow" and targets[0].is_integer and targets[0].kind != "u":  # (then a negative one does not fit)
        require_no_negative(t, operands[1])
    if name in ("floor", "ceil", "trunc") and not targets[0].is_float:
        return wrap(t, value_of(t, operands[0]), shape_of(t, operands[0]), weak)  # integers are whole already
    if name.startswith("logical_"):
        targets = [BOOL] * len(targets)
    return emit_elementwise(t, name, operands, targets, what, weak)


def as_dtype(t: Tracer, x: Any, dtype: DType, what: str) -> Value:
    """A number or array as an IR value of a dtype; what is tested for truth is compared with zero."""
    value = value_of(t, x)
    if dtype is BOOL and value.dtype is not BOOL:
        if isinstance(value, Const):
            return Const(bool(value.value), BOOL)
        return t.emit1("ne", [value, Const(0, value.dtype)])
    if isinstance(value, Const) and isinstance(x, int) and not isinstance(x, bool) and dtype.is_integer:
        info = np.iinfo(dtype.numpy)
        if not info.min <= x <= info.max:
            t.type_error(f"{what}: the Python integer {x} is out of bounds for {dtype.numpy}")
    elif isinstance(x, Number) and x.weak and x.dtype is I64 and dtype.is_integer and dtype is not I64:
        require_in_bounds(t, value, dtype)
    return cast(t, value, dtype)


def require_in_bounds(t: Tracer, value: Value, dtype: DType) -> None:
    """A Python integer that is to have a NumPy dtype: NumPy refuses it where it does not fit."""
    info = np.iinfo(dtype.numpy)
    tests = [] if value in t.nonnegative else [t.emit1("ge", [value, Const(info.min, I64)])]
    if info.max < 2**63:
        tests.append(t.emit1("le", [value, Const(info.max, I64)]))
    if tests:
        fine = tests[0] if len(tests) == 1 else t.emit1("logical_and", tests)
        message = f"Python integer {{0}} out of bounds for {dtype.numpy}"
        t.emit("check", [fine, value], {"error": "OverflowError", "message": message})


def require_no_negative(t: Tracer, exponent: Any) -> None:
    """An exponent of integers: NumPy has no negative ones."""
    message = "Integers to negative integer powers are not allowed."
    if is_static_number(exponent):
        if exponent < 0:
            t.fail_value(message, "write a float base, or a float exponent")
        return
    if exponent.dtype.kind == "u" or (isinstance(exponent, Number) and exponent.value in t.nonnegative):
        return
    value = value_of(t, exponent)
    fine = t.emit1("ge", [value, Const(0, value.dtype)])
    if fine.is_array:
        fine = t.emit1("reduce_all", [fine], {"axes": tuple(range(fine.rank))})
    t.emit("check", [fine], {"error": "ValueError", "message": message})


def emit_elementwise(
    t: Tracer, name: str, operands: Sequence[Any], dtypes: Sequence[DType], what: str, weak: bool = False
) -> Any:
    """The operation on operands converted to the given dtypes and broadcast to one shape."""
    shapes = [views.extents(t, x) for x in operands if isinstance(x, Reference)]
    values = [as_dtype(t, x, d, what) for x, d in zip(operands, dtypes)]
    if not shapes:
        return Number(t.emit1(name, values), weak)
    target = broadcast_shapes(t, shapes, f"operands of {what}")
    rest = iter(shapes)
    for k, x in enumerate(operands):
        if isinstance(x, Reference):
            values[k] = broadcast_to(t, values[k], next(rest), target)
    ordered = all(views.is_c_order(x) for x in operands if isinstance(x, Reference) and x.rank > 1)
    if not target:
        return Number(t.emit1(name, values), weak)
    return t.new_array(t.emit1(name, values), target, True if ordered else None)


# ---------------------------------------------------------------- truth


def truth(t: Tracer, x: Any, what: str = "a condition") -> Any:
    """What `bool(x)` is: a static bool, or a boolean IR value."""
    if isinstance(x, Reference):
        if x.rank == 0 or views.static_dims(x) == (1,) * x.rank:
            value = views.read(t, x)
            if x.rank:
                value = t.emit1("index", [value, *[Const(0, I64)] * x.rank], {"spec": "i" * x.rank})
            return truth(t, Number(value), what)
        t.type_error(
            f"the truth value of an array is ambiguous ({what} needs one bool)",
            "use np.any(...) or np.all(...), or compare single elements",
        )
    if isinstance(x, Number):
        if isinstance(x.value, Const):
            return bool(x.value.value)
        if x.dtype is BOOL:
            return x.value
        return t.emit1("ne", [x.value, Const(0, x.dtype)])
    from .attributes import guard_class
    from .lookups import MISSING
    from .values import BoundMethod, DictObject, FunctionValue, Host, Instance, Partial

    if isinstance(x, ListObject | DictObject):
        return bool(t.items(x))
    if isinstance(x, FunctionValue | BoundMethod | Partial):
        return True
    if isinstance(x, Host | Instance):
        cls = x.cls if isinstance(x, Instance) else type(x.value)
        if any(guard_class(t, cls, name) is not MISSING for name in ("__bool__", "__len__")):
            t.unsupported(f"the truth value of a {cls.__name__}", "compare explicitly")
        return True
    return bool(x)
