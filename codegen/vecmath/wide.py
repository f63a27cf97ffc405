"""Elementary functions of vectors: in, a function, a number of lanes; out, a call of LLVM code of our own.

The bodies of the elementary functions are straight-line code of numbers, so their text for vectors is the same with
other types. LLVM's vectorizer does the same to calls in its loops; this is for code that is written with vectors.

    define double @adjit_f_f64(double %x0)                  define <8 x double> @adjit_f_f64_v8(<8 x double> %x0)
      %v0 = fadd double %x0, 0x3FE0000000000000       =>      %v0 = fadd <8 x double> %x0, splat (double 0x3FE…)

Functions with a rare path (`Writer.rarely`) have no such text.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from llvmlite import ir

from . import ELEMENTARY
from .lowering import ATTRIBUTES, DOUBLE, TextFunction, code, has_fused_multiply_add

__all__ = ["call_wide", "is_wide"]

TOKEN = re.compile(r"@llvm\.\w+\.f64|[%@][\w.]+|0x[0-9A-F]+|\b(?:double|i64|i1|true|false|\d+)\b")


def is_wide(name: str) -> bool:
    """Whether the function of one float64 with that name can be called for vectors."""
    found = ELEMENTARY.get(name)
    if found is None or found.ufunc.nin != 1:
        return False
    text = code(found, False, True)
    return not text.callees and not text.constants


def call_wide(context: Any, b: Any, name: str, x: Any) -> Any:
    """The function of a vector of float64."""
    triple, _, features = context.codegen().magic_tuple()
    function = insert(b.module, name, x.type.count, has_fused_multiply_add(triple, features))
    return b.call(function, [x])


def insert(module: ir.Module, name: str, width: int, fused: bool) -> ir.Function:
    """The function for vectors of `width` in a module, added if need be."""
    scalar = code(ELEMENTARY[name], False, fused)
    own = f"{scalar.name}_v{width}"
    found = module.globals.get(own)
    if found is not None:
        return found
    kind = ir.VectorType(DOUBLE, width)
    for intrinsic, (_, operands) in scalar.intrinsics.items():
        wider = widened(f"@{intrinsic}", width)[1:]
        if wider not in module.globals:
            ir.Function(module, ir.FunctionType(kind, [kind] * len(operands)), wider)
    return TextFunction(module, ir.FunctionType(kind, [kind]), own, wide_text(name, width, fused))


@cache
def wide_text(name: str, width: int, fused: bool) -> str:
    """The text of the function for vectors."""
    scalar = code(ELEMENTARY[name], False, fused)
    _, *lines = scalar.text.split("\n")
    kind = f"<{width} x double>"
    head = f"define linkonce_odr {kind} @{scalar.name}_v{width}({kind} %x0) alwaysinline {ATTRIBUTES} {{"
    return "\n".join([head, *(widened(line, width) for line in lines)])


def widened(line: str, width: int) -> str:
    """One instruction on vectors."""

    def token(match: re.Match[str]) -> str:
        text = match[0]
        if text.startswith("@llvm."):
            return text.removesuffix("f64") + f"v{width}f64"
        if text[0] in "%@":
            return text
        if text in ("double", "i64", "i1"):
            return f"<{width} x {text}>"
        kind = "double" if text.startswith("0x") else "i1" if text in ("true", "false") else "i64"
        return f"splat ({kind} {text})"

    return TOKEN.sub(token, line)
