"""Products of parts of matrices, in place, by BLAS.

In: matrices in C order and where in their memory the parts begin. Out: nothing. Slices of arrays would do, but each
costs Numba time to compile; here, a call of BLAS is one instruction. BLAS is SciPy's, reached through the wrapper that
Numba brings for its own `np.dot`.
"""

from __future__ import annotations

import importlib
from typing import Any

from llvmlite import ir
from numba import extending, types

__all__ = ["subtract_product"]

BYTE, INTEGER = ir.IntType(8), ir.IntType(64)
POINTER = ir.PointerType(BYTE)
GEMM = ir.FunctionType(
    ir.IntType(32),
    [*(BYTE,) * 3, *(INTEGER,) * 3, POINTER, POINTER, INTEGER, POINTER, INTEGER, POINTER, POINTER, INTEGER],
)
"""(kind, transposed a, transposed b, rows, columns, inner, alpha, a, lda, b, ldb, beta, c, ldc), of columns."""


def matrices(*kinds: Any) -> bool:
    return all(isinstance(k, types.Array) and k.ndim == 2 and k.layout == "C" for k in kinds)


def subtract(context: Any, c: Any, c_at: Any, a: Any, a_at: Any, turned: Any, b: Any, b_at: Any, m: Any, k: Any) -> Any:
    """C -= A B (`turned`: Aᵀ B): parts that begin at those elements, m rows, inner extent k, rows as long as c's."""
    if not matrices(c, a, b) or not (c.dtype == a.dtype == b.dtype):
        return None
    importlib.import_module("numba.np.linalg").ensure_blas()
    kind = ord("s" if c.dtype == types.float32 else "d")

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = ir.FloatType() if c.dtype == types.float32 else ir.DoubleType()

        def constant(value: float) -> Any:
            slot = builder.alloca(number)
            builder.store(ir.Constant(number, value), slot)
            return builder.bitcast(slot, POINTER)

        def part(which: int) -> tuple[Any, Any]:
            """(where a part begins, how long the rows of its matrix are)"""
            array = context.make_array(signature.args[which])(context, builder, values[which])
            begin = builder.gep(array.data, [values[which + 1]])
            return builder.bitcast(begin, POINTER), builder.extract_value(array.shape, 1)

        function = builder.module.globals.get("numba_xxgemm")
        if function is None:
            function = ir.Function(builder.module, GEMM, "numba_xxgemm")
        (c_from, width), (a_from, stride), (b_from, _) = part(0), part(2), part(5)
        plain, transposed = ir.Constant(BYTE, ord("N")), ir.Constant(BYTE, ord("T"))
        flag = builder.select(builder.trunc(values[4], ir.IntType(1)), transposed, plain)
        # BLAS sees the rows of a matrix in C order as columns: Cᵀ -= Bᵀ Aᵀ
        builder.call(
            function,
            [
                *(ir.Constant(BYTE, kind), plain, flag),
                *(width, values[7], values[8]),
                *(constant(-1.0), b_from, width, a_from, stride),
                *(constant(1.0), c_from, width),
            ],
        )
        return context.get_dummy_value()

    return types.none(c, types.int64, a, types.int64, types.boolean, b, types.int64, types.int64, types.int64), emit


_numba: Any = extending
subtract_product: Any = _numba.intrinsic(subtract)
