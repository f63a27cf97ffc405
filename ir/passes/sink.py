"""Sink: a product of what is there anyway is computed where it is first needed, not earlier.

In: a function that is ready to be scheduled. Out: the same, with products (`matmul`) moved down towards the first
operation that uses them, as long as what they are made of stays in memory anyway: arguments (also seen in another shape
or order) do to the end, other values until they are read for the last time. What is computed in between needs no memory
next to theirs then, and memory that it gives back can be theirs:

    %a: f64[?,?] = matmul %w, %bt                %g: f64[?,?] = matmul %tt, %w        the last use of %t
    %g: f64[?,?] = matmul %tt, %w        =>      %a: f64[?,?] = matmul %w, %bt        in the memory of %t
    %h: f64[?,?] = mul %a, 2.0                   %h: f64[?,?] = mul %a, 2.0

What one pass over arguments gives, and nothing but the caller needs, is computed after all products of matrices: it can
be where a matrix was that only they need.

It is not for functions that write to their arguments.
"""

from __future__ import annotations

from ..core import Const, Function, Op, Value
from ..ops import REGISTRY
from ..rewrite import clone_function

__all__ = ["run"]

SEEN_OTHERWISE = frozenset({"transpose", "reshape"})
OVERWRITES = frozenset({"update", "accumulate", "scatter", "scatter_add"})


def run(function: Function) -> Function:
    """`function` itself where there is nothing to move."""
    places = order(function)
    if places == sorted(places):
        return function
    out = clone_function(function)
    out.body.ops = [out.body.ops[k] for k in places]
    return out


def order(function: Function) -> list[int]:
    """The places of the function's operations in their new order."""
    ops = list(function.body.ops)
    lasting: set[Value] = set(function.args)
    for op in function.body.ops:
        if op.name in SEEN_OTHERWISE and op.operands[0] in lasting:
            lasting.add(op.result)
    for op in reversed(function.body.ops):
        if op.name == "matmul":
            at = ops.index(op)
            needed = {v for v in op.operands if not isinstance(v, Const) and v not in lasting}
            below = at + 1
            while not uses(ops[below], op.result) and all(lives_on(v, ops, below) for v in needed):
                below += 1
            ops.insert(below - 1, ops.pop(at))
    products = [op for op in ops if op.name == "matmul" and op.result.rank == 2]
    for op in function.body.ops:
        if products and is_late(op, function, lasting) and ops.index(op) < ops.index(products[-1]):
            ops.insert(len(ops) - 2, ops.pop(ops.index(op)))
    places = {op: k for k, op in enumerate(function.body.ops)}
    return [places[op] for op in ops]


def is_late(op: Op, function: Function, lasting: set[Value]) -> bool:
    """Whether an operation computes elements of a result of the function from what is there to the end."""
    if len(op.results) != 1 or REGISTRY[op.name].category != "elementwise" or not op.result.is_array:
        return False
    arrays = {v for v in op.operands if v.is_array}
    if not arrays or not arrays <= lasting or op.result not in function.results:
        return False
    return not any(uses(other, op.result) for other in function.body.ops[:-1])


def lives_on(value: Value, ops: list[Op], place: int) -> bool:
    """Whether the operation at `place` or one below it reads a value anyway, and that one does not change it in
    place."""
    reader = next((op for op in ops[place:] if uses(op, value)), None)
    return reader is not None and (reader is not ops[place] or not (reader.regions or reader.name in OVERWRITES))


def uses(op: Op, value: Value) -> bool:
    return value in op.operands or any(uses(inner, value) for region in op.regions for inner in region.ops)
