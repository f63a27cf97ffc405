"""Messages of `assert` and `raise`: text with places for numbers known at run time.

In: the expression of a message. Out: its text, in which ``{0:.2f}`` stands for the first detail as `format` shows it,
and the details. A check carries two numbers; what does not fit, and what has no text while tracing, is shown by its
source (`x.shape`).
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np

from ..ir.core import Value
from . import expressions
from .context import Tracer
from .numeric import describe
from .values import DictObject, ListObject, Number, Reference

__all__ = ["message_of"]

MAX_DETAILS = 2
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.generic, np.dtype, type)


def message_of(t: Tracer, node: ast.expr) -> tuple[str, list[Value]]:
    """A message: its text with {0}, {1}, ... where numbers known at run time go, and these."""
    details: list[Value] = []
    if not isinstance(node, ast.JoinedStr):
        return shown(t, expressions.evaluate(t, node), node, -1, "", details), details
    text = ""
    for part in node.values:
        if isinstance(part, ast.Constant):
            text += str(part.value)
            continue
        assert isinstance(part, ast.FormattedValue)
        value = expressions.evaluate(t, part.value)
        spec: Any = ""
        if isinstance(part.format_spec, ast.JoinedStr):
            spec = static_text(t, part.format_spec)
        if spec is None:
            text += ast.unparse(part.value)
        else:
            text += shown(t, value, part.value, part.conversion, spec, details)
    return text, details


def static_text(t: Tracer, node: ast.JoinedStr) -> str | None:
    """A format's text; None where it depends on numbers known at run time."""
    out = ""
    for part in node.values:
        value = part.value if isinstance(part, ast.Constant) else None
        if isinstance(part, ast.FormattedValue):
            value = expressions.evaluate(t, part.value)
        if not isinstance(value, str | int):
            return None
        out += str(value)
    return out


def shown(t: Tracer, value: Any, node: ast.expr, conversion: int, spec: str, details: list[Value]) -> str:
    """One value in a message. Adds to `details` what is known at run time only."""
    if isinstance(value, Reference):
        return f"<{describe(value)}>"
    count = len(details)
    text = place(t, value, conversion == ord("r"), spec, conversion, details)
    if text is None or len(details) > MAX_DETAILS:
        del details[count:]
        return ast.unparse(node)
    return text


def place(t: Tracer, value: Any, quoted: bool, spec: str, conversion: int, details: list[Value]) -> str | None:
    """The text of a value as `str` or (`quoted`) `repr` give it; None where there is none."""
    if isinstance(value, Number):
        k = next((k for k, known in enumerate(details) if known is value.value), len(details))
        details[k:] = details[k:] or [value.value]
        there = f"{{{k}{':' + spec if spec else ''}}}"
        return there if value.weak or not quoted else f"np.{value.dtype.numpy_name}({there})"
    if type(value) in (tuple, list) or isinstance(value, ListObject):
        if spec:
            return None
        items = [
            place(t, v, True, "", -1, details) for v in (t.items(value) if isinstance(value, ListObject) else value)
        ]
        if None in items:
            return None
        inner = ", ".join(str(i) for i in items)
        if type(value) is not tuple:
            return f"[{inner}]"
        return f"({inner},)" if len(items) == 1 else f"({inner})"
    if isinstance(value, DictObject):
        pairs = [(k, place(t, v, True, "", -1, details)) for k, v in t.items(value)]
        if spec or any(v is None for _, v in pairs):
            return None
        return "{" + ", ".join(f"{k!r}: {v}" for k, v in pairs) + "}"
    if not isinstance(value, PLAIN):
        return None
    convert = expressions.CONVERSIONS.get(conversion) or (repr if quoted else None)
    try:
        return format(value if convert is None else convert(value), spec)
    except (TypeError, ValueError) as error:
        t.fail_value(str(error))
