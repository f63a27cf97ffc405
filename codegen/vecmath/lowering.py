"""Makes Numba call the elementary functions: in, a body written for `lanes.Writer`; out, a Python function.

Under plain Python the function is its NumPy twin. In a Numba kernel a call of it becomes a call of an LLVM
function of our own, `alwaysinline`, whose text is made once per process, so that neither Numba's type
inference nor its lowering sees a body: the cost at compile time is that of a few dozen LLVM instructions.
Float32 arguments are computed in float64 and rounded once; integers and booleans become float64, as in NumPy.

The text is added to Numba's module as it is. Numba's `fastmath=True` therefore does not reach into it (it
would destroy the error terms); it adds flags to the instructions that Numba wrote itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types

from .lanes import Real, Writer

ATTRIBUTES = "nounwind willreturn memory(none)"
WIDTHS = (2, 4, 8, 16)  # lanes of float64 that the vectorizer may choose
DOUBLE = ir.DoubleType()


@dataclass(frozen=True)
class Elementary:
    """An elementary function: its NumPy name and ufunc, its number of arguments, and its body."""

    name: str
    ufunc: np.ufunc
    body: Callable[..., Real]


@dataclass(frozen=True)
class Code:
    """The LLVM text of one function, and what it mentions."""

    name: str
    text: str
    intrinsics: tuple[tuple[str, int], ...]
    fallbacks: tuple[str, ...]


@cache
def code(elementary: Elementary, single: bool, fused: bool) -> Code:
    """Write the function for float64, or float32 (`single`), on machines with or without a fused
    multiply-add.
    """
    writer = Writer(fused=fused, single=single)
    count = elementary.ufunc.nin
    result = elementary.body(writer, *(writer.argument(i) for i in range(count)))
    kind = "float" if single else "double"
    lines = list(writer.lines)
    if single:
        lines = [f"  %x{i} = fpext float %a{i} to double" for i in range(count)] + lines
        lines.append(f"  %result = fptrunc double {result.name} to float")
    name = f"adjit_{elementary.name}_{'f32' if single else 'f64'}"
    arguments = ", ".join(f"{kind} %{'a' if single else 'x'}{i}" for i in range(count))
    text = "\n".join(
        [
            f"define linkonce_odr {kind} @{name}({arguments}) alwaysinline {ATTRIBUTES} {{",
            "entry:",
            *(re.sub(r"#FAR_(\w+)#", lambda match: variants(match[1]), line) for line in lines),
            f"  ret {kind} {'%result' if single else result.name}",
            "}",
        ]
    )
    return Code(name, text, tuple(writer.declared.items()), tuple(writer.fallbacks))


def variants(function: str) -> str:
    """The attribute that tells the vectorizer of the masked vector forms of `adjit_<function>_far`."""
    name = f"adjit_{function}_far"
    names = ",".join(f"_ZGV_LLVM_M{n}v_{name}({name}_v{n})" for n in WIDTHS)
    return f'"vector-function-abi-variant"="{names}"'


@cache
def fallback(function: str) -> str:
    """The LLVM text of `adjit_<function>_far`, which calls the C library, and of its vector forms.

    A vector form gets the mask of the lanes that need it and does nothing when there is none. So a loop over
    ordinary arguments pays one call and one test per vector. The forms are `weak_odr` because nothing refers
    to them until the loop is vectorized and anything less would be dropped before.
    """
    name = f"adjit_{function}_far"
    parts = [
        f"define linkonce_odr double @{name}(double %x) noinline {ATTRIBUTES} {{",
        f"  %r = call double @llvm.{function}.f64(double %x)",
        "  ret double %r",
        "}",
    ]
    for n in WIDTHS:
        vector = f"<{n} x double>"
        parts += [
            f"declare {vector} @llvm.{function}.v{n}f64({vector})",
            f"define weak_odr {vector} @{name}_v{n}({vector} %x, <{n} x i1> %mask) noinline {ATTRIBUTES} {{",
            "entry:",
            f"  %lanes = bitcast <{n} x i1> %mask to i{n}",
            f"  %any = icmp ne i{n} %lanes, 0",
            "  br i1 %any, label %call, label %done",
            "call:",
            f"  %r = call {vector} @llvm.{function}.v{n}f64({vector} %x)",
            "  br label %done",
            "done:",
            f"  %result = phi {vector} [ %x, %entry ], [ %r, %call ]",
            f"  ret {vector} %result",
            "}",
        ]
    return "\n".join(parts)


class TextFunction(ir.Function):  # type: ignore[misc]
    """A function in an llvmlite module that prints as given; without blocks, so that passes over the module
    leave it alone.
    """

    def __init__(self, module: ir.Module, kind: ir.FunctionType, name: str, text: str) -> None:
        super().__init__(module, kind, name)
        self.text = text

    def descr(self, buf: list[str]) -> None:
        """Append the text (llvmlite's hook for printing)."""
        buf.append(self.text + "\n")

    def __str__(self) -> str:
        return self.text + "\n"


def insert(module: ir.Module, wanted: Code, count: int, single: bool) -> ir.Function:
    """Return the function in `module`, adding it and what it mentions if need be."""
    found = module.globals.get(wanted.name)
    if found is not None:
        return found
    scalars = [(f"llvm.{name}.f64", operands) for name, operands in wanted.intrinsics]
    scalars += [(f"llvm.{name}.f64", 1) for name in wanted.fallbacks]
    for name, operands in scalars:
        if name not in module.globals:
            ir.Function(module, ir.FunctionType(DOUBLE, [DOUBLE] * operands), name)
    for name in wanted.fallbacks:
        if f"adjit_{name}_far" not in module.globals:
            TextFunction(module, ir.FunctionType(DOUBLE, [DOUBLE]), f"adjit_{name}_far", fallback(name))
    kind = ir.FloatType() if single else DOUBLE
    return TextFunction(module, ir.FunctionType(kind, [kind] * count), wanted.name, wanted.text)


def has_fused_multiply_add(triple: str, features: str) -> bool:
    """Whether the machine computes a * b + c in one rounding by one instruction. All 64-bit machines but
    older x86 do.
    """
    if triple.split("-")[0] in ("x86_64", "i386", "i686", "amd64"):
        return "+fma" in features.split(",")
    return True


def bind(elementary: Elementary) -> Callable[..., Any]:
    """Return the Python function for an elementary function: NumPy's under Python, ours in Numba kernels."""
    ufunc = elementary.ufunc
    count = ufunc.nin

    if count == 1:

        def function(x: Any) -> Any:
            return ufunc(x)
    else:

        def function(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return ufunc(x, y)

    function.__name__ = function.__qualname__ = elementary.name
    function.__module__ = __package__ or ""
    function.__doc__ = elementary.body.__doc__

    def result_of(*arguments: Any) -> Any:
        if not all(isinstance(t, types.Float | types.Integer | types.Boolean) for t in arguments):
            return None
        return types.float32 if all(t == types.float32 for t in arguments) else types.float64

    def type_unary(context: Any) -> Any:
        def typer(x: Any) -> Any:
            return result_of(x)

        return typer

    def type_binary(context: Any) -> Any:
        def typer(x: Any, y: Any) -> Any:
            return result_of(x, y)

        return typer

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        single = signature.return_type == types.float32
        triple, _, features = context.codegen().magic_tuple()
        wanted = code(elementary, single, has_fused_multiply_add(triple, features))
        callee = insert(builder.module, wanted, count, single)
        values = [
            context.cast(builder, value, kind, signature.return_type)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        return builder.call(callee, values)

    numba: Any = extending
    numba.type_callable(function)(type_unary if count == 1 else type_binary)
    numba.lower_builtin(function, *[types.Any] * count)(lower)
    return function
