"""How an operation is declared: one `OpDef` says everything that adjit knows of it.

In: short declarations in the sibling modules. Out: the registry that the builder, verifier, interpreter, adjoint
and code generator read. A declaration states

* its type rule (`infer`) and how extents of results follow from operands (`extents`),
* its meaning on NumPy values (`evaluate`; `evaluate_complex` where complex step needs an analytic twin),
* its derivative, as mathematics, once: `partials` (elementwise), `transpose` (jointly linear in the operands
  `linear`; or `bilinear`: linear in each of its two operands), or `vjp` (everything else; forward mode then
  has `jvp(*operands, y, tangents)`, one tangent per operand, None where it is zero). A rule mentions operands,
  the result `y`, the cotangent `dy` and attributes by name; whatever primal value a rule mentions is what the
  reverse sweep needs, and nothing else is kept,
* how one element of the result is computed from elements of the operands (`element`), from which the code
  generator makes fused loops; operations without it are lowered by `codegen` under their own name,
* the NumPy functions it is bound to and the domain on which it is tested: of elementwise operations a range
  `(low, high)` per operand (or "bool", or "int"), of others a list of cases `(operand shapes, attributes)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..core import Const, Op, Region, Value, as_value, builder
from ..types import BOOL, I64, Array, DType, Scalar, Type, make

__all__ = [
    "REGISTRY",
    "Into",
    "OpDef",
    "call_rule",
    "declare",
    "elementwise",
    "extent",
    "extents_of",
    "lookup",
    "types_of",
    "zeros_like",
]

Infer = Callable[[list[Value], dict[str, Any], list[Region]], list[Type]]


class Into(NamedTuple):
    """A cotangent given as a way to add to an accumulator: `add(accumulator) -> accumulator`.

    The driver calls it on the cotangent collected so far (zeros where there is none), so that the adjoint of
    reading one element is one in-place addition, never an array of zeros with one entry.
    """

    add: Callable[[Value], Value]


@dataclass(frozen=True)
class OpDef:
    """Everything about one operation; see the module's docstring. Calling it emits it.

    `effect`: "" (pure), "check" (may end the program with an error; kept, in order), "tape" (linear use of tapes),
    "call" (a Python function with effects is called: kept, in order with checks, done once).
    `category`: elementwise, shape, reduction, library, check, tape, control, terminator,
    callback.
    """

    name: str
    infer: Infer
    evaluate: Callable[..., Any] | None = None
    evaluate_complex: Callable[..., Any] | None = None
    effect: str = ""
    category: str = "library"
    partials: Callable[..., Any] | None = None
    masks: Callable[..., Any] | None = None
    linear: tuple[int, ...] = ()
    transpose: Callable[..., Any] | None = None
    vjp: Callable[..., Any] | None = None
    bilinear: bool = False
    jvp: Callable[..., Any] | None = None
    extents: Callable[[Op], list[list[Value]]] | None = None
    element: Callable[..., Value] | None = None
    primitive: str = ""
    numpy: tuple[Any, ...] = ()
    domain: Any = None
    kinks: str = ""
    cost: int = 1
    """Rough price of recomputing one element (1: an addition, 8: a transcendental, 100: never recompute)."""

    @property
    def differentiable(self) -> bool:
        return self.partials is not None or self.transpose is not None or self.vjp is not None

    def __call__(self, *operands: Any, **attrs: Any) -> Value:
        like = next((x for x in operands if isinstance(x, Value)), None)
        if like is None:
            raise TypeError(f"{self.name} needs at least one IR value")
        return builder().emit1(self.name, [as_value(x, like) for x in operands], attrs)


REGISTRY: dict[str, OpDef] = {}


def declare(definition: OpDef) -> OpDef:
    """Enter a declaration into the registry."""
    if definition.name in REGISTRY:
        raise ValueError(f"operation {definition.name!r} is declared twice")
    REGISTRY[definition.name] = definition
    return definition


def lookup(name: str) -> OpDef:
    """The declaration of an operation; KeyError where there is none."""
    return REGISTRY[name]


def types_of(values: Sequence[Value]) -> list[Type]:
    return [v.type for v in values]


_PARAMETERS: dict[Callable[..., Any], frozenset[str] | None] = {}


def rule_mentions(rule: Callable[..., Any], name: str) -> bool:
    """Whether a rule takes the keyword `name` (or any keyword)."""
    if rule not in _PARAMETERS:
        parameters = inspect.signature(rule).parameters.values()
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters)
        _PARAMETERS[rule] = None if open_ended else frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
    names = _PARAMETERS[rule]
    return names is None or name in names


def call_rule(rule: Callable[..., Any], operands: Sequence[Any], attrs: dict[str, Any], **available: Any) -> Any:
    """Call a rule with the operands and with those keywords (attributes, `y`, `dy`, ...) that it asks for.

    `available` values may be thunks (zero-argument functions): they are called only if asked for.
    """
    keywords: dict[str, Any] = {}
    for name, value in {**attrs, **available}.items():
        if rule_mentions(rule, name):
            keywords[name] = value() if callable(value) else value
    return rule(*operands, **keywords)


# ---------------------------------------------------------------- extents


def extent(value: Value, axis: int) -> Value:
    """The extent of an array value along an axis: a constant where the type knows it, else a `dim` operation."""
    assert isinstance(value.type, Array), value.type
    known = value.type.dims[axis]
    if known is not None:
        return Const(known, I64)
    return builder().emit1("dim", [value], {"axis": axis})


def extents_of(value: Value) -> list[Value]:
    """All extents of a value ([] for a scalar); emits `dim` operations where they are not static."""
    return [extent(value, axis) for axis in range(value.rank)]


def zeros_like(value: Value) -> Value:
    """A zero of a value's type: a constant for scalars, a `fill` for arrays."""
    zero = Const(0, value.dtype)
    return zero if not value.is_array else builder().emit1("fill", [zero, *extents_of(value)])


def same_extents(op: Op) -> list[list[Value]]:
    """Extents rule of operations whose results have the shape of their first array operand."""
    for x in op.operands:
        if x.is_array:
            return [extents_of(x) for _ in op.results]
    return [[] for _ in op.results]


# ---------------------------------------------------------------- elementwise


def elementwise_dims(name: str, operands: Sequence[Value]) -> tuple[int | None, ...]:
    dims: tuple[int | None, ...] = ()
    for x in operands:
        if isinstance(x.type, Array):
            if not dims:
                dims = x.type.dims
            elif len(dims) != x.rank or any(
                a != b and None not in (a, b) for a, b in zip(dims, x.type.dims, strict=True)
            ):
                raise TypeError(f"{name}: shapes differ: {[str(o.type) for o in operands]}; broadcast first")
            else:
                dims = tuple(a if a is not None else b for a, b in zip(dims, x.type.dims, strict=True))
    return dims


def elementwise(
    name: str,
    evaluate: Callable[..., Any],
    *,
    partials: Callable[..., Any] | None = None,
    masks: Callable[..., Any] | None = None,
    result: DType | Callable[[list[DType]], DType] | None = None,
    numpy: Any = (),
    evaluate_complex: Callable[..., Any] | None = None,
    primitive: str = "",
    domain: Any = None,
    kinks: str = "",
    cost: int = 1,
    effect: str = "",
    same: slice = slice(None),
) -> OpDef:
    """Declare an operation on elements: arrays of one shape, and scalars, which every element sees.

    `partials(*operands, y)` gives one partial derivative per operand: a value, a Python number, or None for an
    operand without derivative. `masks(*operands)` gives, for operations that choose among operands, a boolean per
    operand that says where it was chosen: elsewhere its adjoint is zero by structure. `result`: the result's
    dtype where it is not the operands'. `same`: which operands must share one dtype.
    """

    def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
        dtypes = [x.dtype for x in operands]
        if len(set(dtypes[same])) > 1:
            raise TypeError(f"{name}: operand types differ: {[str(o.type) for o in operands]}; cast first")
        if isinstance(result, DType):
            dtype = result
        elif result is not None:
            dtype = result(dtypes)
        else:
            dtype = dtypes[same][0]
        return [make(dtype, elementwise_dims(name, operands))]

    return declare(
        OpDef(
            name,
            infer,
            evaluate=evaluate,
            evaluate_complex=evaluate_complex,
            category="elementwise",
            partials=partials,
            masks=masks,
            extents=same_extents,
            primitive=primitive or name,
            numpy=numpy if isinstance(numpy, tuple) else (numpy,),
            domain=domain,
            kinks=kinks,
            cost=cost,
            effect=effect,
        )
    )


def of_floats(name: str) -> Callable[[list[DType]], DType]:
    """The result rule of a function on floats: their dtype; TypeError for others, which are cast first."""

    def rule(dtypes: list[DType]) -> DType:
        if not dtypes[0].is_float:
            raise TypeError(f"{name} of {dtypes[0]}: cast to a float first")
        return dtypes[0]

    return rule


def of_numbers(name: str) -> Callable[[list[DType]], DType]:
    """The result rule of a function on floats and integers, but not on booleans."""

    def rule(dtypes: list[DType]) -> DType:
        if dtypes[0].kind == "b":
            raise TypeError(f"{name} of {dtypes[0]}: cast to a number first")
        return dtypes[0]

    return rule


def predicate(name: str, evaluate: Callable[..., Any], **keywords: Any) -> OpDef:
    """Declare an elementwise operation with a boolean result and no derivative."""
    return elementwise(name, evaluate, result=BOOL, **keywords)


def scalar_type(value: Value, name: str, dtype: DType | None = None) -> None:
    """TypeError unless `value` is a scalar (of `dtype`)."""
    if not isinstance(value.type, Scalar) or (dtype is not None and value.type.dtype is not dtype):
        raise TypeError(f"{name} needs a scalar{f' {dtype}' if dtype else ''}, not {value.type}")
