"""Makes Numba call the elementary functions: in, a body written for `lanes.Writer`; out, a Python function.

Under plain Python the function is its NumPy twin. In a Numba kernel a call of it becomes a call of an LLVM
function of our own, `alwaysinline`, whose text is made once per process, so that neither Numba's type
inference nor its lowering sees a body: the cost at compile time is that of a few dozen LLVM instructions.
Float32 arguments are computed in float64 and rounded once; integers and booleans become float64, as in NumPy.

The text is added to Numba's module as it is. Numba's `fastmath=True` therefore does not reach into it (it
would destroy the error terms); it adds flags to the instructions that Numba wrote itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types

from ...ir.ops.named import Named
from .lanes import WIDTHS, Real, Writer

ATTRIBUTES = "nounwind willreturn memory(none)"
DOUBLE = ir.DoubleType()
KINDS = {"double": DOUBLE, "float": ir.FloatType(), "i64": ir.IntType(64), "i1": ir.IntType(1)}


@dataclass(frozen=True)
class Elementary:
    """A function: its NumPy or SciPy name, their own function, and the body that computes it on `Real`s."""

    name: str
    ufunc: np.ufunc | Named
    body: Callable[..., Real]


@dataclass(frozen=True)
class Code:
    """The LLVM text of one function, and what it mentions."""

    name: str
    text: str
    result: ir.Type
    operands: tuple[ir.Type, ...]
    intrinsics: dict[str, tuple[str, tuple[str, ...]]]
    constants: dict[str, tuple[int, ...]]
    callees: tuple[Code, ...]


@cache
def code(elementary: Elementary, single: bool, fused: bool) -> Code:
    """Write the function for float64, or float32 (`single`), with or without a fused multiply-add."""
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
            *lines,
            f"  ret {kind} {'%result' if single else result.name}",
            "}",
        ]
    )
    callees = tuple(rare_code(rare, *entry, fused) for rare, entry in writer.rare.items())
    return Code(name, text, KINDS[kind], (KINDS[kind],) * count, writer.declared, writer.constants, callees)


@cache
def rare_code(name: str, body: Callable[..., Real], count: int, fused: bool) -> Code:
    """Write a function that is called for few elements, and its vector forms.

    A vector form gets the mask of the lanes that need it and does nothing when there is none. So a loop over
    ordinary arguments pays one call and one test per vector. The forms are `weak_odr` because nothing refers to
    them until the loop is vectorized; anything less would be dropped before. The function itself is not
    optimized: that would take most of the time to compile the kernel, and gain nothing measurable.
    """
    writer = Writer(fused=fused, single=False)
    result = body(writer, *(writer.argument(i) for i in range(count)))
    arguments = ", ".join(f"double %x{i}" for i in range(count))
    parts = [f"define linkonce_odr double @adjit_{name}({arguments}) noinline optnone {ATTRIBUTES} {{"]
    parts += ["entry:", *writer.lines, f"  ret double {result.name}", "}"]
    parts += [vector_form(name, count, width) for width in WIDTHS]
    text = "\n".join(parts)
    return Code(f"adjit_{name}", text, DOUBLE, (DOUBLE,) * count, writer.declared, writer.constants, ())


def vector_form(name: str, count: int, width: int) -> str:
    """The LLVM text of the vector form of `adjit_<name>` for that many lanes."""
    vector, mask = f"<{width} x double>", f"<{width} x i1>"
    parameters = ", ".join(f"{vector} %x{i}" for i in range(count))
    elements = "\n".join(f"  %e{i} = extractelement {vector} %x{i}, i32 %i" for i in range(count))
    arguments = ", ".join(f"double %e{i}" for i in range(count))
    return f"""\
define weak_odr {vector} @adjit_{name}_v{width}({parameters}, {mask} %mask) noinline {ATTRIBUTES} {{
entry:
  %lanes = bitcast {mask} %mask to i{width}
  %none = icmp eq i{width} %lanes, 0
  br i1 %none, label %done, label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %i.next, %next ]
  %y = phi {vector} [ %x0, %entry ], [ %y.next, %next ]
  %wanted = extractelement {mask} %mask, i32 %i
  br i1 %wanted, label %call, label %next
call:
{elements}
  %value = call double @adjit_{name}({arguments})
  %y.set = insertelement {vector} %y, double %value, i32 %i
  br label %next
next:
  %y.next = phi {vector} [ %y, %loop ], [ %y.set, %call ]
  %i.next = add i32 %i, 1
  %last = icmp eq i32 %i.next, {width}
  br i1 %last, label %done, label %loop
done:
  %result = phi {vector} [ %x0, %entry ], [ %y.next, %next ]
  ret {vector} %result
}}"""


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


def insert(module: ir.Module, wanted: Code) -> ir.Function:
    """Return the function in `module`, adding it and what it mentions if need be."""
    found = module.globals.get(wanted.name)
    if found is not None:
        return found
    for name, (result, operands) in wanted.intrinsics.items():
        if name not in module.globals:
            ir.Function(module, ir.FunctionType(KINDS[result], [KINDS[kind] for kind in operands]), name)
    for name, words in wanted.constants.items():
        if name not in module.globals:
            kind = ir.ArrayType(KINDS["i64"], len(words))
            table = ir.GlobalVariable(module, kind, name)
            table.initializer = ir.Constant(kind, list(words))
            table.linkage, table.global_constant = "linkonce_odr", True
    for callee in wanted.callees:
        insert(module, callee)
    return TextFunction(module, ir.FunctionType(wanted.result, wanted.operands), wanted.name, wanted.text)


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
        callee = insert(builder.module, wanted)
        values = [
            context.cast(builder, value, kind, signature.return_type)
            for value, kind in zip(arguments, signature.args, strict=True)
        ]
        return builder.call(callee, values)

    numba: Any = extending
    numba.type_callable(function)(type_unary if count == 1 else type_binary)
    numba.lower_builtin(function, *[types.Any] * count)(lower)
    return function
