"""Operations on numbers as LLVM instructions.

In: an LLVM builder, an operation of the scheduled IR and the LLVM values of its operands. Out: the LLVM value of its
result. What Python writes with an operator is an instruction here; everything else is a function of
`codegen.primitives`, which brings its own instructions and is found as Numba finds it, so that both ways of
compiling a kernel compute the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba.np.numpy_support import from_dtype

from ...ir.core import Const, Op
from ...ir.types import BOOL, F64, DType
from .. import primitives
from ..render.expressions import ALIASES

__all__ = ["bit", "call_primitive", "constant", "integer", "numba_scalar", "scalar", "value_type"]

I1 = ir.IntType(1)


@cache
def numba_scalar(dtype: DType) -> Any:
    """Numba's type of a number."""
    return from_dtype(dtype.numpy)


@cache
def value_type(dtype: DType) -> ir.Type:
    """The LLVM type of a number in a register."""
    if dtype is BOOL:
        return I1
    if dtype.is_float:
        return ir.DoubleType() if dtype is F64 else ir.FloatType()
    return ir.IntType(8 * dtype.itemsize)


def constant(value: Const) -> ir.Constant:
    kind = value_type(value.dtype)
    return ir.Constant(kind, float(value.value) if value.dtype.is_float else int(value.value))


def integer(number: int) -> ir.Constant:
    return ir.Constant(ir.IntType(64), number)


def bit(number: int) -> ir.Constant:
    return ir.Constant(I1, number)


COMPARISONS: dict[str, str] = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def compare(b: Any, symbol: str, x: Any, y: Any, dtype: DType) -> Any:
    if dtype.is_float:
        return (b.fcmp_unordered if symbol == "!=" else b.fcmp_ordered)(symbol, x, y)
    if dtype.kind == "i":
        return b.icmp_signed(symbol, x, y)
    return b.icmp_unsigned(symbol, x, y)


def arithmetic(of_floats: str, of_integers: str, of_booleans: str) -> Callable[..., Any]:
    def emit(b: Any, x: Any, y: Any, dtype: DType) -> Any:
        name = of_floats if dtype.is_float else of_booleans if dtype is BOOL else of_integers
        return getattr(b, name)(x, y)

    return emit


BINARY: dict[str, Callable[..., Any]] = {
    "add": arithmetic("fadd", "add", "or_"),
    "sub": arithmetic("fsub", "sub", "xor"),
    "mul": arithmetic("fmul", "mul", "and_"),
    "logical_and": lambda b, x, y, dtype: b.and_(x, y),
    "logical_or": lambda b, x, y, dtype: b.or_(x, y),
    "logical_xor": lambda b, x, y, dtype: b.xor(x, y),
}
INTRINSICS = {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc"}


def cast(b: Any, x: Any, source: DType, target: DType) -> Any:
    """NumPy's conversion of a number to another type."""
    if source is target:
        return x
    kind = value_type(target)
    if target is BOOL:
        return compare(b, "!=", x, ir.Constant(value_type(source), 0), source)
    if source is BOOL:
        if target.is_float:  # chosen, not converted: of a vector of comparisons that is one bitwise operation
            return b.select(x, ir.Constant(kind, 1.0), ir.Constant(kind, 0.0))
        return b.zext(x, kind)
    if source.is_float and target.is_float:
        return b.fpext(x, kind) if target is F64 else b.fptrunc(x, kind)
    if target.is_float:
        return (b.sitofp if source.kind == "i" else b.uitofp)(x, kind)
    if source.is_float:
        wide = primitives.elements.to_integer(b, [x], numba_scalar(source))
        return wide if target.itemsize == 8 else b.trunc(wide, kind)
    if target.itemsize == source.itemsize:
        return x
    if target.itemsize < source.itemsize:
        return b.trunc(x, kind)
    return (b.sext if source.kind == "i" else b.zext)(x, kind)


def scalar(context: Any, b: Any, op: Op, operands: list[Any]) -> Any:
    """The result of an elementwise operation."""
    name, dtype = op.name, op.operands[0].dtype
    if name in BINARY:
        return BINARY[name](b, *operands, dtype)
    if name in COMPARISONS:
        return compare(b, COMPARISONS[name], operands[0], operands[1], dtype)
    if name == "stop_gradient":
        return operands[0]
    if name == "cast":
        return cast(b, operands[0], dtype, op.results[0].dtype)
    if name == "bitcast":
        return b.bitcast(operands[0], value_type(op.results[0].dtype))
    if name == "neg":
        return b.fneg(operands[0]) if dtype.is_float else b.neg(operands[0])
    if name == "div" and dtype.is_float:
        return b.fdiv(*operands)
    if name == "logical_not":
        return b.not_(operands[0])
    if name in INTRINSICS and dtype.is_float:
        return primitives.elements.intrinsic(b, INTRINSICS[name], operands)
    if name == "pow" and not dtype.is_float:
        name = "integer_power"
    result = op.results[0].dtype
    kinds = [numba_scalar(x.dtype) for x in op.operands]
    value, kind = call_primitive(context, b, ALIASES.get(name, name), kinds, operands)
    wanted = numba_scalar(result)
    return value if kind == wanted else context.cast(b, value, kind, wanted)


def call_primitive(context: Any, b: Any, name: str, kinds: Sequence[Any], operands: Sequence[Any]) -> tuple[Any, Any]:
    """Call a function of `codegen.primitives` by name: what it gives, and the Numba type of that."""
    typing = context.typing_context
    function = typing.resolve_value_type(primitives.FUNCTIONS[name])
    signature = function.get_call_type(typing, tuple(kinds), {})
    implementation = context.get_function(function, signature)
    arguments = [
        value if given == wanted else context.cast(b, value, given, wanted)
        for value, given, wanted in zip(operands, kinds, signature.args, strict=True)
    ]
    return implementation(b, arguments), signature.return_type
