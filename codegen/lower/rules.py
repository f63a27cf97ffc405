"""How each operation that is not virtual becomes loops: one function per operation name.

In: the `Scheduler` and an operation. Out: loop nests in the scheduled function, and the places of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...ir.core import Const, Op, Value
from ...ir.ops.callback import CALLBACKS
from ...ir.ops.indexing import split_spec
from ...ir.types import BOOL, F32, F64, I64, Array, DType
from .callback import callback
from .data import DATA_RULES
from .fusion import REDUCTIONS, product_operands, small_product, source_of_transpose
from .gather import assemble
from .hazards import may_overwrite
from .library import LIBRARY, library
from .loops import UNROLLED, turns_of
from .part_products import add_product
from .scheduler import Scheduler
from .tapes import TAPE_RULES, row_for

__all__ = ["RULES", "row_of"]

ZERO = Const(0, I64)
ONE = Const(1, I64)

Where = Callable[[list[Value]], list[Value]]


# ---------------------------------------------------------------- reads of one element, checks


def index(s: Scheduler, op: Op) -> None:
    """`index` and `gather` with a scalar result: one element."""
    value = s.virtual_element(op, [])
    s.scalars[op.result] = named(value, op.result.name)


def named(value: Value, name: str | None) -> Value:
    if value.name is None and not isinstance(value, Const):
        value.name = name
    return value


def bound(s: Scheduler, op: Op) -> None:
    """A check of one index is copied; of an array of indices, a loop of checks (the result is virtual)."""
    if not op.result.is_array:
        s.scalar(op)
        return

    def body(where: list[Value]) -> None:
        i, n = s.element(op.operands[0], where), s.element(op.operands[1], where)
        s.b.emit("bound", [i, n], op.attrs)

    s.b.nest(s.storage.extents_of(op.result), body)
    if op.result in s.plan.stored:
        s.materialize(op.result)


def check(s: Scheduler, op: Op) -> None:
    details = [s.get(x) for x in op.operands]
    s.b.emit(op.name, details, op.attrs)


def same_extent(s: Scheduler, op: Op) -> None:
    a, b = (s.get(x) for x in op.operands)
    if isinstance(a, Const) and isinstance(b, Const) and a == b:
        s.scalars[op.result] = a
    else:
        s.scalars[op.result] = s.b.emit1("same_extent", [a, b], op.attrs, names=[op.result.name])


def empty(s: Scheduler, op: Op) -> None:
    if op.result.is_array:
        assert isinstance(op.result.type, Array)
        dest = s.storage.fresh(op.result.type.dtype, s.extents.of[op.result], op.result.name)
        s.storage.place(op.result, dest)


# ---------------------------------------------------------------- writes


def update(s: Scheduler, op: Op) -> None:
    """`update` and `accumulate`: the selected region is written, in place where the old array is dead."""
    array, value, *positions = op.operands
    spec = op.attrs["spec"]
    add = op.name == "accumulate"
    whole = not add and spec.strip(":") == "" and op.result.type == array.type
    dest = s.writable(array, keep=not whole)
    parts = split_spec(spec, [s.get(p) for p in positions])
    own = s.storage.extents_of(array)
    selected = split_spec(spec, positions)
    lengths = [own[k] if c == ":" else selected[k][1] for k, c in enumerate(spec) if c != "i"]
    extents = [s.storage.known(n) for n in lengths]

    def where(at: list[Value]) -> list[Value]:
        rest = iter(at)
        out: list[Value] = []
        for letter, part in zip(spec, parts):
            if letter == "i":
                out.append(part[0])
            elif letter == ":":
                out.append(next(rest))
            else:
                start, _, step = part
                out.append(s.b.emit1("add", [start, s.b.emit1("mul", [next(rest), step])]))
        return out

    write(s, dest, extents, where, value, [value], add, add)
    s.storage.place(op.result, dest)


def scatter(s: Scheduler, op: Op) -> None:
    """`scatter` and `scatter_add`: in the order of the index arrays, so that of equal indices the last one
    stays."""
    array, value, *indices = op.operands
    first, width = op.attrs["axes"][0], indices[0].rank
    dest = s.writable(array)
    own = s.storage.extents_of(array)
    inner = s.storage.extents_of(indices[0]) if width else []
    extents = [*own[:first], *inner, *own[op.attrs["axes"][-1] + 1 :]]

    def where(at: list[Value]) -> list[Value]:
        chosen = [s.element(i, at[first : first + width]) for i in indices]
        return [*at[:first], *chosen, *at[first + width :]]

    write(s, dest, extents, where, value, [value, *indices], op.name == "scatter_add")
    s.storage.place(op.result, dest)


def write(
    s: Scheduler,
    dest: Value,
    extents: Sequence[Value],
    where: Where,
    value: Value,
    reading: Sequence[Value],
    add: bool,
    accumulates: bool = False,
) -> None:
    """The nest that stores `value` (or adds it, in whatever order where it `accumulates`) at `where(index)` of `dest`;
    values of `reading` that would read what it has already overwritten are computed into memory before."""

    def nest() -> None:
        def body(at: list[Value]) -> None:
            position = where(at)
            new = s.element(value, at if value.is_array else [])
            if add:
                new = s.b.emit1("add", [s.b.load(dest, position), new])
            s.b.emit("buffer.store", [new, dest, *position], {"accumulates": True} if accumulates else {})

        s.b.nest(extents, body)

    for x in reading:
        if x.is_array and not safe(s, dest, extents, where, x):
            with s.temporary(x):
                write(s, dest, extents, where, value, [y for y in reading if y is not x], add, accumulates)
            return
    nest()


def safe(s: Scheduler, dest: Value, extents: Sequence[Value], where: Where, value: Value) -> bool:
    """Whether `value` may be computed while `dest` is being written."""
    from ...ir.core import Region
    from ...ir.types import Scalar

    loops: list[Value] = [
        Const(0, I64) if isinstance(n, Const) and n.value == 1 else Value(Scalar(I64)) for n in extents
    ]
    region = Region([x for x in loops if not isinstance(x, Const)])
    with s.b.scope(region, barrier=True):
        position = where(loops)
        at = loops if value.rank == len(loops) else loops[-value.rank :] if value.rank else []
        reads = [r for source, r in s.reads_of(value, at) if s.storage.buffer[source] is dest]
    return may_overwrite(position, loops, reads)


# ---------------------------------------------------------------- reductions


def identity_of(name: str, dtype: DType) -> Const:
    """What a reduction starts from."""
    if name in ("reduce_any", "reduce_all"):
        return Const(name == "reduce_all", BOOL)
    if name in ("reduce_max", "reduce_min"):
        low = name == "reduce_max"
        if dtype.is_float:
            return Const(-np.inf if low else np.inf, dtype)
        if dtype is BOOL:
            return Const(not low, BOOL)
        info = np.iinfo(dtype.numpy)
        return Const(info.min if low else info.max, dtype)
    return Const(1 if name == "reduce_prod" else 0, dtype)


STEP = {
    "reduce_sum": "add_any_order",
    "reduce_prod": "mul_any_order",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_any": "logical_or",
    "reduce_all": "logical_and",
    "reduce_or": "bitwise_or",
}


def step(s: Scheduler, name: str, total: Value, x: Value) -> Value:
    if total.dtype is BOOL:
        name = {"reduce_max": "reduce_any", "reduce_min": "reduce_all"}.get(name, name)
    return s.b.emit1(STEP[name], [total, x])


def fold(s: Scheduler, op: Op, name: str, extents: Sequence[Value], element: Callable[[list[Value]], Value]) -> Value:
    """A reduction in a register. Sums and products of float32 are kept in float64: there are no pairwise blocks that
    would keep the error of long ones small."""
    dtype = op.result.dtype
    wide = F64 if dtype is F32 and name in ("reduce_sum", "reduce_prod") else dtype

    start = accumulator(identity_of(name, wide), op)

    def inside(outer: list[Value], rest: Sequence[Value]) -> Value:
        def turn(at: list[Value], carried: list[Value]) -> list[Value]:
            value = inside([*outer, *at], rest[1:]) if loops else converted(s, element([*outer, *at]), wide)
            return [step(s, name, carried[0], value)]

        loops = len(rest) > 1 and turns_of(rest) > UNROLLED
        return s.b.fold(rest[:1] if loops else rest, [start], turn)[0]

    return converted(s, inside([], extents), dtype)


def converted(s: Scheduler, x: Value, dtype: DType) -> Value:
    return x if x.dtype is dtype else s.b.emit1("cast", [x], {"dtype": dtype})


def reduction(s: Scheduler, op: Op) -> None:
    """Over all axes: one scalar. Over some: the last axis stays innermost. Sums over the last axes are kept in a
    register, those over others go through memory, row by row: as in NumPy, which adds in blocks along the last axis."""
    (x,), axes, name = op.operands, op.attrs["axes"], op.name
    extents = s.storage.extents_of(x)
    if not op.result.is_array:
        s.scalars[op.result] = named(fold(s, op, name, extents, lambda at: s.element(x, at)), op.result.name)
        return
    assert isinstance(op.result.type, Array)
    kept = [k for k in range(x.rank) if k not in axes]
    start = identity_of(name, op.result.dtype)
    dest = s.storage.fresh(op.result.type.dtype, s.extents.of[op.result], op.result.name)
    s.b.nest([extents[k] for k in kept], lambda at: s.b.store(start, dest, at))
    outer = kept[-1] + 1

    def body(at: list[Value]) -> None:
        position = [at[k] for k in kept]
        if outer == x.rank:
            value = s.element(x, at)
        else:
            value = fold(s, op, name, extents[outer:], lambda rest: s.element(x, [*at, *rest]))
        s.b.store(step(s, name, s.b.load(dest, position), value), dest, position)

    s.b.nest(extents[:outer], body)
    s.storage.place(op.result, dest)


def accumulator(start: Const, op: Op) -> Const:
    """The start of a sum, named after its result."""
    out = Const(start.value, start.dtype)
    out.name = op.result.name or "total"
    return out


def row_of(s: Scheduler, op: Op, at: list[Value]) -> Value:
    """One element of a reduction over the last axes, or of a matrix times a vector."""
    if op.name == "matmul":
        _, vector = product_operands(op)
        count = s.storage.extents_of(vector)[0]

        def product(k: list[Value]) -> Value:
            return s.b.emit1("mul", [matrix_element(s, op, [*at, *k]), s.element(vector, k)])

        return fold(s, op, "reduce_sum", [count], product)
    (x,) = op.operands
    extents = s.storage.extents_of(x)[len(at) :]
    return fold(s, op, op.name, extents, lambda k: s.element(x, [*at, *k]))


def arg_extreme(s: Scheduler, op: Op) -> None:
    """`argmax` and `argmin`: the first extreme; the first NaN where there is one, as NumPy does."""
    (x,) = op.operands
    axis, largest = op.attrs["axis"], op.name == "argmax"
    extents = s.storage.extents_of(x)
    dtype = x.dtype
    start = identity_of("reduce_max" if largest else "reduce_min", dtype)

    def best(at: list[Value]) -> Value:
        def body(k: Value, carried: list[Value]) -> list[Value]:
            value = s.element(x, [*at[:axis], k, *at[axis:]])
            if dtype is BOOL:
                new = [value, ~carried[0]] if largest else [~value, carried[0]]
                better = s.b.emit1("logical_and", new)
            elif dtype.is_float:  # a NaN is better than a number, and nothing is better than a NaN
                worse = value <= carried[0] if largest else value >= carried[0]
                better = ~worse & s.b.emit1("eq", [carried[0], carried[0]])
            else:
                better = value > carried[0] if largest else value < carried[0]
            return [s.b.emit1("select", [better, value, carried[0]]), s.b.emit1("select", [better, k, carried[1]])]

        first = Const(0, I64)
        first.name = op.result.name or "best"
        extreme = Const(start.value, dtype)
        extreme.name = "extreme"
        return s.b.loop(ZERO, extents[axis], [extreme, first], body)[1]

    if not op.result.is_array:
        s.scalars[op.result] = named(best([]), op.result.name)
        return
    dest = s.storage.fresh(I64, s.extents.of[op.result], op.result.name)
    s.b.nest(extents[:axis] + extents[axis + 1 :], lambda at: s.b.store(best(at), dest, at))
    s.storage.place(op.result, dest)


def scan(s: Scheduler, op: Op) -> None:
    """`cumsum`, `cumprod` and `recurrence` along an axis, from either end."""
    x = op.operands[-1]
    axis = op.attrs["axis"]
    extents = s.storage.extents_of(x)
    assert isinstance(op.result.type, Array)
    dest = s.storage.fresh(op.result.type.dtype, s.extents.of[op.result], op.result.name)
    first = Const(1 if op.name == "cumprod" else 0, op.result.dtype)
    first.name = "running"
    reverse = bool(op.attrs.get("reverse"))

    def next_one(running: Value, position: list[Value]) -> Value:
        new = s.element(x, position)
        if op.name == "cumsum":
            return s.b.emit1("add", [running, new])
        if op.name == "cumprod":
            return s.b.emit1("mul", [running, new])
        # what the first factor is, even inf, does not matter: there is nothing before the first
        start = s.b.emit1("sub", [extents[axis], ONE]) if reverse else ZERO
        at_start = s.b.emit1("eq", [position[axis], start])
        carried = s.b.emit1("mul", [s.element(op.operands[0], position), running])
        return s.b.emit1("select", [at_start, new, s.b.emit1("add", [carried, new])])

    def line(at: list[Value]) -> None:
        def body(k: Value, carried: list[Value]) -> list[Value]:
            position = [*at[:axis], k, *at[axis:]]
            total = next_one(carried[0], position)
            s.b.store(total, dest, position)
            return [total]

        s.b.loop(ZERO, extents[axis], [first], body, reverse=reverse)

    s.b.nest(extents[:axis] + extents[axis + 1 :], line)
    s.storage.place(op.result, dest)


# ---------------------------------------------------------------- products


def factor_in_memory(s: Scheduler, x: Value) -> Value:
    """A factor of a product: what it is the transpose of, unless it was stored itself, since that is overwritten before
    it is used."""
    return x if x in s.storage.buffer else source_of_transpose(x)


def matrix_element(s: Scheduler, op: Op, at: list[Value]) -> Value:
    """An element of the matrix of `product_operands`."""
    matrix, _ = product_operands(op)
    given = next(x for x in op.operands if x.rank == 2)
    return s.element(matrix, at) if factor_in_memory(s, given) is matrix else s.element(given, at[::-1])


def matmul(s: Scheduler, op: Op) -> None:
    """Products that are not virtual: dot products are a loop, vector times matrix goes by rows, the rest is
    BLAS'."""
    a, b = op.operands
    dtype = op.result.dtype
    if a.rank == b.rank == 1:

        def product(k: list[Value]) -> Value:
            return s.b.emit1("mul", [s.element(a, k), s.element(b, k)])

        total = fold(s, op, "reduce_sum", s.storage.extents_of(a), product)
        s.scalars[op.result] = named(total, op.result.name)
        return
    dest = row_for(s, op) or s.storage.fresh(dtype, s.extents.of[op.result], op.result.name)
    if a.rank + b.rank == 3:
        matrix, vector = product_operands(op)  # dest[j] = sum over k of vector[k] * matrix[k, j]
        rows, columns = s.storage.extents_of(matrix)
        s.b.nest([columns], lambda at: s.b.store(Const(0, dtype), dest, at))

        def body(at: list[Value]) -> None:
            term = s.b.emit1("mul", [s.element(vector, at[:1]), matrix_element(s, op, at)])
            s.b.store(s.b.emit1("add_any_order", [s.b.load(dest, at[1:]), term]), dest, at[1:])

        s.b.nest([rows, columns], body)
    elif small_product(op):

        def entry(at: list[Value]) -> Value:
            def product(k: list[Value]) -> Value:
                return s.b.emit1("mul", [s.element(a, [at[0], *k]), s.element(b, [*k, at[1]])])

            return fold(s, op, "reduce_sum", [inner], product)

        inner = Const(next(n for n in (a.type.dims[1], b.type.dims[0]) if n is not None), I64)  # type: ignore[union-attr]
        s.b.nest(s.storage.extents_of(op.result), lambda at: s.b.store(entry(at), dest, at))
    else:
        sources = [factor_in_memory(s, x) for x in (a, b)]
        flags = "".join("n" if source is x else "t" for source, x in zip(sources, (a, b), strict=True))
        kernel = "matmul" if flags == "nn" else f"matmul_{flags}"
        operands = [s.owned_copy(x) if x in s.strided else s.stored(x) for x in sources]
        s.b.emit("buffer.call", [dest, *operands], {"kernel": kernel})
        for x, buffer in zip(sources, operands):
            if x in s.strided:
                s.storage.free(buffer)
    s.storage.place(op.result, dest)


# ---------------------------------------------------------------- rearrangements


def concat(s: Scheduler, op: Op) -> None:
    axis = op.attrs["axis"]
    assert isinstance(op.result.type, Array)
    dest = s.storage.fresh(op.result.type.dtype, s.extents.of[op.result], op.result.name)
    offset: Value = ZERO
    for x in op.operands:
        extents = s.storage.extents_of(x)

        def body(at: list[Value], x: Value = x, offset: Value = offset) -> None:
            moved = s.b.emit1("add", [offset, at[axis]])
            s.b.store(s.element(x, at), dest, [*at[:axis], moved, *at[axis + 1 :]])

        s.b.nest(extents, body)
        offset = s.b.emit1("add", [offset, extents[axis]])
    s.storage.place(op.result, dest)


def reshape(s: Scheduler, op: Op) -> None:
    """The operand's own memory under another shape, where that is in C order and holds nothing else, or is an argument
    (which nobody writes to); else fresh memory, filled through a view of it in the operand's shape."""
    x = op.operands[0]
    assert isinstance(op.result.type, Array)
    if s.is_constant(x):
        view = s.b.emit1(
            "buffer.reshape", [s.storage.buffer[x], *s.storage.extents_of(op.result)], names=[op.result.name]
        )
        s.storage.constant.add(view)
        s.storage.place(op.result, view)
        return
    if s.storage.owns(x) and x not in s.live and s.storage.buffer[x] not in s.storage.foreign:
        extents = s.storage.extents_of(op.result)
        view = s.b.emit1("buffer.reshape", [s.storage.buffer[x], *extents], names=[op.result.name])
        s.storage.view(op.result, view, s.storage.buffer[x])
        return
    dest = s.storage.fresh(op.result.type.dtype, s.extents.of[op.result], op.result.name)
    extents = s.storage.extents_of(x)
    view = s.b.emit1("buffer.reshape", [dest, *extents], names=[op.result.name])
    s.b.nest(extents, lambda at: s.b.store(s.element(x, at), view, at))
    s.storage.place(op.result, dest)


def stayed(s: Scheduler, op: Op) -> None:
    """Which entries of index arrays write last: every target remembers who wrote, then everyone looks."""
    count = len(op.attrs["axes"])
    indices = op.operands[:count]
    targets = [s.get(n) for n in op.operands[count:]]
    owner = s.b.emit1("buffer.alloc", targets, {"dtype": I64}, names=["owner"])
    if not op.result.is_array:
        s.scalars[op.result] = Const(True, BOOL)
        return
    extents = s.storage.extents_of(indices[0])

    def number(at: list[Value]) -> Value:
        out: Value = ZERO
        for k, n in zip(at, extents):
            out = s.b.emit1("add", [s.b.emit1("mul", [out, n]), k])
        return out

    def target(at: list[Value]) -> list[Value]:
        return [s.element(i, at) for i in indices]

    dest = s.storage.fresh(BOOL, s.extents.of[op.result], op.result.name)
    s.b.nest(extents, lambda at: s.b.store(number(at), owner, target(at)))
    s.b.nest(
        extents,
        lambda at: s.b.store(s.b.emit1("eq", [s.b.load(owner, target(at)), number(at)]), dest, at),
    )
    s.storage.place(op.result, dest)


RULES: dict[str, Callable[[Scheduler, Op], Any]] = {
    "index": index,
    "gather": index,
    "bound": bound,
    "check": check,
    "same_extent": same_extent,
    "empty": empty,
    "update": update,
    "accumulate": update,
    "assemble": assemble,
    "scatter": scatter,
    "scatter_add": scatter,
    **dict.fromkeys(REDUCTIONS, reduction),
    "argmax": arg_extreme,
    "argmin": arg_extreme,
    "cumsum": scan,
    "cumprod": scan,
    "recurrence": scan,
    "matmul": matmul,
    "add_product": add_product,
    "concat": concat,
    "reshape": reshape,
    "stayed": stayed,
    **dict.fromkeys(LIBRARY, library),
    **dict.fromkeys(CALLBACKS, callback),
    **DATA_RULES,
    **TAPE_RULES,
}
