"""A product of parts of matrices, added to a part of a matrix: an operation that only this folder makes.

In: the declaration helpers of `ir.ops`. Out: the registry entry `add_product` and its lowering to one library kernel,
which BLAS does in place: no part is copied, as it would be for `matmul`, and there is no product in between.

    %c: f64[?,?] = add_product %a, %x, %y, %ai, %aj, %xi, %xj, %yi, %yj, %rows, %columns, %inner {flags="nt"}

adds the product of the part of %x that begins at (%xi, %xj) with that of %y, the second transposed (`t`), to the part
of %a that begins at (%ai, %aj). The product has %rows rows and %columns columns and sums over %inner terms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.core import Op, Region, Value
from ...ir.ops.declare import OpDef, declare, extents_of, scalar_type
from ...ir.types import I64, Type
from ..scheduled import part_of

if TYPE_CHECKING:
    from .scheduler import Scheduler

__all__ = ["add_product"]


def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    total, x, y, *numbers = operands
    if any(v.rank != 2 or v.dtype is not total.dtype for v in (total, x, y)) or len(numbers) != 9:
        raise TypeError(f"add_product of {x.type} and {y.type} to {total.type} with {len(numbers)} numbers")
    for number in numbers:
        scalar_type(number, "a position", I64)
    return [total.type]


def evaluate(total: Any, x: Any, y: Any, *numbers: Any, flags: str) -> Any:
    at = [int(np.real(n)) for n in numbers]
    rows, columns, inner = at[6:]
    left = part_of(x, at[2], at[3], rows, inner, flags[0] == "t")
    right = part_of(y, at[4], at[5], inner, columns, flags[1] == "t")
    out = np.array(total, dtype=np.result_type(total, x, y))
    out[at[0] : at[0] + rows, at[1] : at[1] + columns] += left @ right
    return out


declare(
    OpDef(
        "add_product",
        infer,
        evaluate=evaluate,
        category="buffer",
        extents=lambda op: [extents_of(op.operands[0])],
    )
)


def add_product(s: Scheduler, op: Op) -> None:
    total, x, y, *numbers = op.operands
    dest = s.writable(total)
    factors = [s.in_c_order(v) for v in (x, y)]
    kernel = f"add_product_{op.attrs['flags']}"
    s.b.emit("buffer.call", [dest, *(b for b, _ in factors), *map(s.get, numbers)], {"kernel": kernel})
    for buffer, copied in factors:
        if copied:
            s.storage.free(buffer)
    s.storage.place(op.result, dest)
