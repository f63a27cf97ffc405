"""Rules of `simplify` for arrays: extents, fills, indexing, updates, rearrangements.

In: an operation's simplified operands and attributes. Out: a value it is equal to, or None.

Extents are traced to what they come from. A rearrangement of a rearrangement is one, of a `fill` is a
`fill`. An element read where it was written is what was written (``index(update(A, v, p), p)`` is v), also
past writes to positions that are surely different. What would read an older version of an array than the
program does is not done, however simple: that version would have to be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..affine import WRITES, shape_origin
from ..core import Builder, Const, Op, Region, Value
from ..ops import REGISTRY
from ..ops.declare import same_extents
from ..ops.indexing import split_spec
from ..types import I64, Array, Scalar, Type
from .algebra import offset
from .simplify import Rule, Simplifier

__all__ = ["RULES", "keeps_shape", "of_fills", "shape_source", "surely_apart"]

LOOK_BACK = 32  # how many writes a read is followed past
ONE, ZERO = Const(1, I64), Const(0, I64)


def defining(value: Value, name: str) -> Op | None:
    op = value.op
    return op if op is not None and op.name == name else None


# ---------------------------------------------------------------- extents


def keeps_shape(loop: Op, k: int, known: dict[tuple[Value, Value | None], Value] | None = None) -> bool:
    """Whether a loop's carried array `k` is yielded in the shape it came in, by what can be seen at once."""
    arg = loop.regions[0].args[k + (1 if loop.name == "for" else 0)]
    return shape_source(loop.regions[-1].terminator.operands[k], arg, known) is arg


def shape_source(
    value: Value, until: Value | None = None, known: dict[tuple[Value, Value | None], Value] | None = None
) -> Value:
    """The array a value has its shape from, followed back to `until` or as far as it goes.

    `known`: what has been found in this search: both branches of an `if` lead to what comes before it.
    """
    known = {} if known is None else known
    start = value
    if (start, until) in known:
        return known[start, until]
    while value is not until and value.op is not None:
        op = value.op
        if op.name in WRITES:
            value = op.operands[0]
        elif op.name in ("for", "while"):
            k = op.results.index(value)
            if not keeps_shape(op, k, known):
                break
            value = op.operands[k + (2 if op.name == "for" else 0)]
        elif op.name == "if":
            k = op.results.index(value)
            sources = {shape_source(r.terminator.operands[k], until, known) for r in op.regions}
            if len(sources) != 1:
                break
            value = sources.pop()
        elif REGISTRY[op.name].extents is same_extents:
            arrays = [v for v in op.operands if v.is_array]
            if not arrays:
                break
            value = until if until is not None and until in arrays else arrays[0]
        else:
            break
    known[start, until] = value
    return value


def extent_key(s: Simplifier, array: Value, axis: int) -> Any:
    """Something equal for equal extents, found without emitting anything."""
    array = shape_origin(array, axis)
    assert isinstance(array.type, Array)
    known = array.type.dims[axis]
    if known is not None:
        return known
    source = s.extent_source.get(array)
    if source is not None:
        return extent_key(s, source, axis)
    op = array.op
    rule = REGISTRY[op.name].extents if op is not None else None
    if op is None or rule is None:
        return ("dim", array, axis)
    with Builder(Region()):
        value = rule(op)[op.results.index(array)][axis]
    return value_key(s, value)


def value_key(s: Simplifier, value: Value) -> Any:
    if isinstance(value, Const):
        return int(value.value)
    op = value.op
    if op is not None and op.name == "dim":
        return extent_key(s, op.operands[0], op.attrs["axis"])
    if op is not None and op.name == "same_extent":
        return value_key(s, op.operands[0])
    base, constant = offset(value)
    if base is not value and base is not None:
        return ("sum", value_key(s, base), constant)
    return value


def has_extents(s: Simplifier, array: Value, extents: Sequence[Value]) -> bool:
    """Whether an array's extents are surely the given ones."""
    if array.rank != len(extents):
        return False
    return all(extent_key(s, array, k) == value_key(s, e) for k, e in enumerate(extents))


def dim(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    (array,) = operands
    axis = attrs["axis"]
    assert isinstance(array.type, Array)
    known = array.type.dims[axis]
    if known is not None:
        return Const(known, I64)
    if array in s.extent_source or (array.op is not None and REGISTRY[array.op.name].extents is not None):
        return s.extent(array, axis)
    return None


# ---------------------------------------------------------------- fills


def filler(value: Value) -> Value | None:
    """The scalar that every element of an array is."""
    op = value.op
    if op is not None and op.name in ("fill", "broadcast") and not op.operands[0].is_array:
        return op.operands[0]
    return None


def of_fills(s: Simplifier, name: str, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    """An elementwise operation sees the scalar instead of an array filled with it."""
    if REGISTRY[name].effect:
        return None
    scalars = [filler(v) if v.is_array else None for v in operands]
    if not any(scalars):
        return None
    new = [v if x is None else x for v, x in zip(operands, scalars)]
    if any(v.is_array for v in new):
        (inferred,) = REGISTRY[name].infer(new, attrs, [])
        return s.make(name, new, attrs) if inferred == type_ else None
    filled = next(v for v, x in zip(operands, scalars) if x is not None)
    extents = [s.extent(filled, k) for k in range(filled.rank)]
    return s.make("fill", [s.make(name, new, attrs), *extents])


def fill_like(s: Simplifier, scalar: Value, extents: Sequence[Value]) -> Value:
    return s.make("fill", [scalar, *extents]) if extents else scalar


# ---------------------------------------------------------------- rearrangements


def broadcast(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    x, *extents = operands
    axes = attrs["axes"]
    if not x.is_array:
        return fill_like(s, x, extents)
    scalar = filler(x)
    if scalar is not None:
        return fill_like(s, scalar, extents)
    if len(axes) == len(extents) and has_extents(s, x, extents):
        return x
    inner = defining(x, "broadcast")
    if inner is not None:
        source = inner.operands[0]
        assert isinstance(x.type, Array) and isinstance(source.type, Array)
        for k, a in enumerate(inner.attrs["axes"]):
            stretched_later = x.type.dims[a] == 1 and extents[axes[a]] != ONE
            if stretched_later and source.type.dims[k] != 1:
                return None  # an extent that is 1 at run time: only `inner` says so
        return s.make("broadcast", [source, *extents], {"axes": tuple(axes[a] for a in inner.attrs["axes"])})
    return None


def transpose(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    (x,) = operands
    perm = attrs["perm"]
    if list(perm) == list(range(len(perm))):
        return x
    inner = defining(x, "transpose")
    if inner is not None:
        return s.make("transpose", inner.operands, {"perm": tuple(inner.attrs["perm"][p] for p in perm)})
    scalar = filler(x)
    if scalar is not None:
        return fill_like(s, scalar, [s.extent(x, p) for p in perm])
    return None


def reshape(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    x, *extents = operands
    if not x.is_array:
        return None
    scalar = filler(x)
    if scalar is not None:
        return fill_like(s, scalar, extents)
    if has_extents(s, x, extents):
        return x
    inner = defining(x, "reshape")
    if inner is not None and inner.operands[0].is_array:
        return s.make("reshape", [inner.operands[0], *extents])
    return None


def concat(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    return operands[0] if len(operands) == 1 else None


def reduction(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    return operands[0] if attrs.get("axes") == () and operands[0].type == type_ else None


# ---------------------------------------------------------------- reading

Part = tuple[Value, ...]


def index(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    array, *positions = operands
    spec = attrs["spec"]
    parts: list[Part] = split_spec(spec, positions)
    if not spec.strip(":"):
        return array
    whole = [k for k, part in enumerate(parts) if spec[k] == "s" and is_whole(s, array, k, part)]
    if whole:
        for k in whole:
            spec, parts[k] = spec[:k] + ":" + spec[k + 1 :], ()
        return read(s, array, spec, parts)
    op = array.op
    if op is None:
        return None
    scalar = filler(array)
    if scalar is not None:
        return fill_like(s, scalar, selected(s, array, spec, parts))
    if op.name == "iota" and spec == "i":
        return positions[0]
    rule = {"index": index_of_index, "transpose": index_of_transpose, "broadcast": index_of_broadcast}.get(op.name)
    if rule is not None:
        return rule(s, op, spec, parts)
    if op.name in ("update", "accumulate"):
        return written(s, op, spec, positions, type_)
    return None


def is_whole(s: Simplifier, array: Value, axis: int, part: Part) -> bool:
    start, length, step = part
    return start == ZERO and step == ONE and value_key(s, length) == extent_key(s, array, axis)


def read(s: Simplifier, array: Value, spec: str, parts: Sequence[Part]) -> Value:
    return s.make("index", [array, *(p for part in parts for p in part)], {"spec": spec})


def selected(s: Simplifier, array: Value, spec: str, parts: Sequence[Part]) -> list[Value]:
    """The extents of what an index selects."""
    return [
        part[1] if letter == "s" else s.extent(array, k)
        for k, (letter, part) in enumerate(zip(spec, parts))
        if letter != "i"
    ]


def index_of_index(s: Simplifier, op: Op, spec: str, parts: list[Part]) -> Value | None:
    array, *positions = op.operands
    outer = iter(zip(spec, parts))
    letters, out = "", []
    for letter, part in zip(op.attrs["spec"], split_spec(op.attrs["spec"], positions), strict=True):
        if letter != "i":
            wanted, chosen = next(outer)
            if letter == ":":
                letter, part = wanted, chosen
            elif wanted != ":":
                start, _, step = part
                first = s.make("add", [start, s.make("mul", [chosen[0], step])])
                if wanted == "i":
                    letter, part = "i", (first,)
                else:
                    part = (first, chosen[1], s.make("mul", [chosen[2], step]))
        letters += letter
        out.append(part)
    return read(s, array, letters, out)


def index_of_transpose(s: Simplifier, op: Op, spec: str, parts: list[Part]) -> Value | None:
    perm = op.attrs["perm"]
    letters: list[str] = [""] * len(perm)
    chosen: list[Part] = [()] * len(perm)
    for k, p in enumerate(perm):
        letters[p], chosen[p] = spec[k], parts[k]
    part = read(s, op.operands[0], "".join(letters), chosen)
    kept = [p for k, p in enumerate(perm) if spec[k] != "i"]  # the axes that stay, in the order wanted
    order = sorted(kept)
    return s.make("transpose", [part], {"perm": tuple(order.index(p) for p in kept)}) if kept else part


def index_of_broadcast(s: Simplifier, op: Op, spec: str, parts: list[Part]) -> Value | None:
    x, *extents = op.operands
    assert isinstance(x.type, Array)
    axes = op.attrs["axes"]
    letters, chosen = "", []
    for k, a in enumerate(axes):
        stretched = x.type.dims[k] == 1 and extents[a] != ONE
        if not stretched:
            letters += spec[a]
            chosen.append(parts[a])
        elif spec[a] == "i":
            letters += "i"
            chosen.append((ZERO,))
        else:
            letters += ":"
            chosen.append(())
    part = read(s, x, letters, chosen)
    kept = [a for a in range(len(extents)) if spec[a] != "i"]
    wanted = [parts[a][1] if spec[a] == "s" else extents[a] for a in kept]
    if not kept:
        return part
    if not part.is_array:
        return fill_like(s, part, wanted)
    return s.make("broadcast", [part, *wanted], {"axes": tuple(kept.index(a) for a in axes if spec[a] != "i")})


def written(s: Simplifier, op: Op, spec: str, positions: list[Value], type_: Type) -> Value | None:
    """What was written where we read, if that is certain; only elements of scalar positions are followed."""
    for _ in range(LOOK_BACK):
        array, value, *places = op.operands
        if op.attrs["spec"] == spec and same_positions(places, positions):
            if op.name != "update":
                return None
            if isinstance(type_, Array) and not value.is_array:
                return fill_like(s, value, selected(s, array, spec, split_spec(spec, positions)))
            return value
        if not surely_apart(op.attrs["spec"], places, spec, positions):
            return None
        source = array.op
        if source is None:
            return None
        if source.name == "fill" and isinstance(type_, Scalar):
            return source.operands[0]
        if source.name not in ("update", "accumulate"):
            return None
        op = source
    return None


def same_positions(a: Sequence[Value], b: Sequence[Value]) -> bool:
    return all(x == y or offset(x) == offset(y) for x, y in zip(a, b, strict=True))


def surely_apart(spec: str, a: Sequence[Value], other: str, b: Sequence[Value]) -> bool:
    """Whether two reads or writes touch no element in common: along some axis, one of two single positions or parts
    without gaps (of a step of 1) lies before the other."""
    for letter, wanted, p, q in zip(spec, other, split_spec(spec, a), split_spec(other, b), strict=True):
        if ":" in (letter, wanted) or not all(len(part) == 1 or part[2] == ONE for part in (p, q)):
            continue
        if before(p, q) or before(q, p):
            return True
    return False


def before(p: Part, q: Part) -> bool:
    """Whether a position or part of a step of 1 ends before another one begins."""
    base, constant = offset(q[0])
    start, gap = offset(p[0])
    if len(p) == 1:
        return start is base and gap < constant
    length, more = offset(p[1])
    if start is not None and length is not None:
        return False
    return (start if length is None else length) is base and gap + more <= constant


# ---------------------------------------------------------------- writing


def update(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    array, value, *positions = operands
    spec = attrs["spec"]
    parts: list[Part] = split_spec(spec, positions)
    whole = [k for k, part in enumerate(parts) if spec[k] == "s" and is_whole(s, array, k, part)]
    if whole:
        for k in whole:
            spec, parts[k] = spec[:k] + ":" + spec[k + 1 :], ()
        return s.make("update", [array, value, *(p for part in parts for p in part)], {"spec": spec})
    if not spec.strip(":"):
        if value.is_array:
            return value
        return fill_like(s, value, [s.extent(array, k) for k in range(array.rank)])
    scalar = filler(value)
    if scalar is not None:
        return s.make("update", [array, scalar, *positions], attrs)
    source = defining(value, "index")  # what stands there is written there
    if source is not None and source.operands[0] is array and source.attrs["spec"] == spec:
        if same_positions(source.operands[1:], positions):
            return array
    return None


def accumulate(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    array, value, *positions = operands
    if not attrs["spec"].strip(":"):
        return s.make("add", [array, value])
    scalar = filler(value)
    if scalar is not None:
        return s.make("accumulate", [array, scalar, *positions], attrs)
    return None


RULES: dict[str, Rule] = {
    "dim": dim,
    "broadcast": broadcast,
    "transpose": transpose,
    "reshape": reshape,
    "concat": concat,
    "reduce_sum": reduction,
    "reduce_prod": reduction,
    "reduce_max": reduction,
    "reduce_min": reduction,
    "index": index,
    "update": update,
    "accumulate": accumulate,
}
