"""How each scalar operation is written in Python.

In: an operation and the texts of its operands. Out: the text of the expression, and which names it needs. Infix
operators are used where Python's meaning on NumPy scalars and Numba's is the IR's; where they differ (division by
zero among Python floats, `**`, `%`, `~` of booleans, integers narrower than 64 bits), a primitive of
`codegen.primitives` is called instead."""

from __future__ import annotations

import math
from typing import Any

from ...ir.core import Const, Op, Value
from ...ir.types import BOOL, F32, F64, I64, DType

__all__ = ["ATOM", "Text", "constant", "dtype_text", "expression"]

Text = tuple[str, int]
"""An expression and how tightly it binds: 9 atom, 8 unary minus (and below), 7 * /, 6 + -,
5 shifts, 4 comparisons."""

ATOM = 9

INFIX = {
    "add": ("+", 6),
    "sub": ("-", 6),
    "mul": ("*", 7),
    "lt": ("<", 3),
    "le": ("<=", 3),
    "gt": (">", 3),
    "ge": (">=", 3),
    "eq": ("==", 3),
    "ne": ("!=", 3),
    "logical_and": ("&", 5),
    "logical_or": ("|", 4),
    "logical_xor": ("!=", 3),
}
ALIASES = {
    "pow": "power",
    "abs": "absolute",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "select": "where",
    "add_any_order": "plus",
    "mul_any_order": "times",
}
NUMPY_ONLY = frozenset({"sqrt", "floor", "ceil", "trunc"})
"""Functions that Numba turns into one instruction when it sees NumPy's."""


def dtype_text(dtype: DType) -> str:
    return "np.bool_" if dtype is BOOL else f"np.{dtype.numpy_name}"


def constant(value: Const) -> Text:
    dtype, number = value.dtype, value.value
    if dtype is BOOL:
        return ("True" if number else "False", ATOM)
    if dtype.is_float:
        number = float(number)
        if math.isnan(number):
            text, tight = "np.nan", ATOM
        elif math.isinf(number):
            text, tight = ("np.inf", ATOM) if number > 0 else ("-np.inf", 8)
        elif dtype is F32:
            text = str(value.value)  # the shortest that is this number in single precision
            text, tight = (text if set(text) & set(".en") else text + ".0"), 8 if text.startswith("-") else ATOM
        else:
            text, tight = repr(number), 8 if math.copysign(1.0, number) < 0 else ATOM
    else:
        text, tight = str(int(number)), ATOM if number >= 0 else 8
    if dtype in (F64, I64):
        return text, tight
    return f"{dtype_text(dtype)}({text})", ATOM


def wrap(text: Text, tight: int) -> str:
    return text[0] if text[1] >= tight else f"({text[0]})"


def infix(op: Op, operands: list[Text]) -> Text:
    symbol, tight = INFIX[op.name]
    right = tight if symbol in ("&", "|") else tight + 1
    left = tight + 1 if tight <= 3 else tight
    return f"{wrap(operands[0], left)} {symbol} {wrap(operands[1], right)}", tight


def expression(op: Op, operands: list[Text], exact: list[bool], needs: set[str]) -> Text:
    """The text of an elementwise operation. `exact`: per operand, whether it is surely a NumPy scalar when run by
    plain Python (and not a Python float, which raises where NumPy gives inf). Names of primitives used are added
    to `needs`."""
    name = op.name
    dtype = op.results[0].dtype
    narrow = dtype.is_integer and dtype is not I64
    if name == "cast":
        return cast(op, operands[0], needs)
    if name == "bitcast":
        return call("bits_of_float" if dtype is I64 else "float_of_bits", operands, needs)
    if name == "stop_gradient":
        return operands[0]
    if name in INFIX:
        text = infix(op, operands)
        return (f"{dtype_text(dtype)}({text[0]})", ATOM) if narrow else text
    if name == "neg":
        text = f"-{wrap(operands[0], 9)}", 8
        return (f"{dtype_text(dtype)}({text[0]})", ATOM) if narrow else text
    if name == "div":
        divisor = op.operands[1]
        safe = any(exact) or (isinstance(divisor, Const) and divisor.value != 0)
        if safe:
            return f"{wrap(operands[0], 7)} / {wrap(operands[1], 8)}", 7
        return call("divide", operands, needs)
    if name == "logical_not":
        return f"not {wrap(operands[0], 3)}", 2
    if name == "square":
        return call("square", operands, needs)
    if name == "pow" and not dtype.is_float:
        return call("integer_power", operands, needs)
    text = call(ALIASES.get(name, name), operands, needs)
    return (f"{dtype_text(dtype)}({text[0]})", ATOM) if narrow and name != "select" else text


def call(name: str, operands: list[Text], needs: set[str]) -> Text:
    arguments = ", ".join(text for text, _ in operands)
    if name in NUMPY_ONLY:
        return f"np.{name}({arguments})", ATOM
    needs.add(name)
    return f"{name}({arguments})", ATOM


def cast(op: Op, operand: Text, needs: set[str]) -> Text:
    source, target = op.operands[0].dtype, op.results[0].dtype
    if source is target:
        return operand
    if target is BOOL:
        return f"{wrap(operand, 4)} != {constant(Const(0, source))[0]}", 3
    if source.is_float and target.is_integer:
        needs.add("to_integer")
        text = f"to_integer({operand[0]})"
        return (text, ATOM) if target is I64 else (f"{dtype_text(target)}({text})", ATOM)
    return f"{dtype_text(target)}({operand[0]})", ATOM


def gives_numpy_scalar(op: Op, exact: list[bool]) -> bool:
    """Whether plain Python computes a NumPy scalar, whatever it is given."""
    if op.name in INFIX or op.name in ("neg", "stop_gradient"):
        return any(exact)
    if op.name == "select":
        return all(exact[1:])
    if op.name == "div":
        return True
    return True


_: Any = Value
