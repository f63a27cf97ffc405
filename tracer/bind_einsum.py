"""Bindings of contractions: einsum, tensordot, dot, inner.

In: arrays as abstract values, whose axes carry labels: einsum's letters. Out: sums of products over labels.

Two operands at a time are contracted. What is a matrix product is one (the axes of each group joined to one); a product
of stacks is a loop of matrix products, which copies no operand that is broadcast; anything else is an elementwise
product that is summed, which fuses to one loop nest.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, I64
from . import bind_elementwise, bind_shape, integers, numeric, views
from .bind_elementwise import apply
from .bind_products import as_kind, matmul
from .bind_reduce import SUM
from .context import Tracer
from .numeric import element
from .values import ListObject, Number, Reference

__all__ = ["dot", "einsum", "register"]

Labels = tuple[Any, ...]


@dataclass(frozen=True)
class Factor:
    """An array (or a number, without labels) and the label of each of its axes."""

    value: Any
    labels: Labels


def has(factor: Factor) -> frozenset[Any]:
    return frozenset(factor.labels)


# ---------------------------------------------------------------- contraction of labelled axes


def contract(t: Tracer, factors: list[Factor], output: Labels, what: str, path: Any = None) -> Any:
    """The product of factors summed over every label that `output` does not have, with axes in its order.

    `path`: which factors to take together, in turn, as np.einsum_path gives it; by default the pair whose product has
    the fewest axes.
    """
    agreed(t, factors, what)
    factors = [without_own(t, f, output, factors) for f in factors]
    steps = iter(path or ())
    while len(factors) > 1:
        chosen = next(steps, None) or cheapest(factors, output)
        taken = [factors[k] for k in sorted(chosen)]
        factors = [f for k, f in enumerate(factors) if k not in chosen]
        product = taken[0]
        for k, other in enumerate(taken[1:], 2):
            rest = [*factors, *taken[k:]]
            product = pair(t, product, other, wanted_by(output, rest), what)
        factors.append(product)
    return arranged(t, summed(t, factors[0], frozenset(output)), output)


def wanted_by(output: Labels, factors: Sequence[Factor]) -> frozenset[Any]:
    return frozenset(output).union(*(f.labels for f in factors))


def cheapest(factors: Sequence[Factor], output: Labels) -> tuple[int, int]:
    """The first pair of factors whose product has the fewest axes."""

    def axes(chosen: tuple[int, int]) -> int:
        rest = [f for k, f in enumerate(factors) if k not in chosen]
        return len(wanted_by(output, rest) & (has(factors[chosen[0]]) | has(factors[chosen[1]])))

    return min(itertools.combinations(range(len(factors)), 2), key=axes)


def agreed(t: Tracer, factors: list[Factor], what: str) -> None:
    """Axes of one label have one extent (1 where it is broadcast)."""
    found: dict[Any, Value] = {}
    for factor in factors:
        for label, extent in zip(factor.labels, numeric.shape_of(t, factor.value)):
            if integers.known(extent) == 1:
                continue
            if label in found:
                numeric.agree(t, found[label], extent, f"extents of operands of {what} differ")
            found.setdefault(label, extent)


def without_own(t: Tracer, factor: Factor, output: Labels, factors: Sequence[Factor]) -> Factor:
    """A factor with repeated labels made one, broadcast axes dropped, and what nobody else has summed."""
    for label in dict.fromkeys(factor.labels):
        if factor.labels.count(label) > 1:
            factor = on_diagonal(t, factor, label)
    others = [f for f in factors if f is not factor]
    if not isinstance(factor.value, Reference):
        return factor
    dropped = [
        integers.known(e) == 1 and any(stretches(t, f, label) for f in others)
        for label, e in zip(factor.labels, views.extents(t, factor.value))
    ]
    if any(dropped):
        value: Any = views.select(t, factor.value, [(Const(0, I64),) if d else None for d in dropped])
        labels = tuple(label for label, d in zip(factor.labels, dropped) if not d)
        factor = Factor(value if value.rank else Number(views.read(t, value)), labels)
    return summed(t, factor, wanted_by(output, others))


def stretches(t: Tracer, factor: Factor, label: Any) -> bool:
    """Whether a factor has the label with an extent that is not 1."""
    shape = numeric.shape_of(t, factor.value)
    return any(x == label and integers.known(e) != 1 for x, e in zip(factor.labels, shape))


def on_diagonal(t: Tracer, factor: Factor, label: Any) -> Factor:
    """A factor with one axis where two had the same label."""
    first = factor.labels.index(label)
    second = factor.labels.index(label, first + 1)
    own = [integers.known(views.extent(t, factor.value, k)) == 1 for k in (first, second)]
    if own[0] != own[1]:  # the axis of extent 1 is broadcast along the other
        one = first if own[0] else second
        items: list[Any] = [(Const(0, I64),) if k == one else None for k in range(len(factor.labels))]
        factor = Factor(views.select(t, factor.value, items), factor.labels[:one] + factor.labels[one + 1 :])
    else:
        rest = tuple(x for k, x in enumerate(factor.labels) if k not in (first, second))
        factor = Factor(bind_shape.diagonal(t, factor.value, 0, first, second), (*rest, label))
    return on_diagonal(t, factor, label) if factor.labels.count(label) > 1 else factor


def summed(t: Tracer, factor: Factor, wanted: frozenset[Any]) -> Factor:
    """A factor summed over its labels that are not wanted."""
    axes = tuple(k for k, label in enumerate(factor.labels) if label not in wanted)
    if not axes:
        return factor
    total = SUM(t, factor.value, axes, dtype=factor.value.dtype.numpy)
    return Factor(total, tuple(x for x in factor.labels if x in wanted))


def arranged(t: Tracer, factor: Factor, output: Labels) -> Any:
    """A factor's axes in the order of `output`."""
    if factor.labels == output:
        return factor.value
    return views.permuted(factor.value, [factor.labels.index(x) for x in output])


def pair(t: Tracer, a: Factor, b: Factor, wanted: frozenset[Any], what: str) -> Factor:
    """The product of two factors, summed over the labels that are not wanted."""
    both = [x for x in a.labels if x in has(b)]
    stacked = [x for x in both if x in wanted]
    inner = [x for x in both if x not in wanted]
    left, right = [x for x in a.labels if x not in both], [x for x in b.labels if x not in both]
    if (inner and left and right) or (inner and not stacked):
        return matrix_product(t, a, b, (stacked, left, inner, right), what)
    labels = (*stacked, *left, *right, *inner)
    product = apply(t, np.multiply, *(spaced(t, f, labels) for f in (a, b)))
    return summed(t, Factor(product, labels), wanted)


def spaced(t: Tracer, factor: Factor, labels: Labels) -> Any:
    """A factor with its axes in the order of `labels` and new axes for those it does not have."""
    if not isinstance(factor.value, Reference):
        return factor.value
    own = [x for x in labels if x in has(factor)]
    return views.select(t, arranged(t, factor, tuple(own)), [None if x in own else "new" for x in labels])


def matrix_product(t: Tracer, a: Factor, b: Factor, groups: tuple[list[Any], ...], what: str) -> Factor:
    """A product with inner axes, as products of matrices: the axes of each group are joined to one."""
    stacked, left, inner, right = groups
    x = joined(t, a, [[s] for s in stacked] + ([left] if left else []) + [inner])
    y = joined(t, b, [[s] for s in stacked] + [inner] + ([right] if right else []))
    shapes = {label: e for f in (a, b) for label, e in zip(f.labels, views.extents(t, f.value))}
    result = matmul(t, x, y, what=what)
    labels = (*stacked, *left, *right)
    if len(left) > 1 or len(right) > 1:
        result = bind_shape.reshape(t, result, tuple(Number(shapes[x], True) for x in labels))
    return Factor(result, labels)


def joined(t: Tracer, factor: Factor, groups: list[list[Any]]) -> Reference:
    """A factor's axes in the order of groups, each group one axis."""
    value: Reference = arranged(t, factor, tuple(x for g in groups for x in g))
    if all(len(g) == 1 for g in groups):
        return value
    extents = dict(zip(factor.labels, views.extents(t, factor.value)))
    shape = [bind_shape.product(t, [extents[x] for x in g]) for g in groups]
    return views.reshaped(t, value, shape)


# ---------------------------------------------------------------- einsum


def einsum(t: Tracer, *operands: Any, out: Any = None, optimize: Any = False, **keywords: Any) -> Any:
    """np.einsum of any subscripts; `optimize` may give a path, otherwise pairs are chosen here."""
    dtype = keywords.pop("dtype", None)
    for name, value in keywords.items():
        if name not in ("order", "casting") or value not in ("K", "C", "A", "safe", "same_kind"):
            t.unsupported(f"np.einsum with `{name}={value!r}`", "leave it out")
    subscripts, values = subscripts_of(t, operands)
    arrays = [element(t, v, "np.einsum") for v in values]
    kind = bind_elementwise.result_dtype(t, *arrays) if dtype is None else numeric.to_dtype(t, dtype)
    if kind is BOOL:
        t.type_error("np.einsum of booleans", "convert with `.astype(float)`, or use np.any of a product")
    inputs, output = labels_of(t, subscripts, [a.rank if isinstance(a, Reference) else 0 for a in arrays])
    factors = [Factor(as_kind(t, a, kind), labels) for a, labels in zip(arrays, inputs)]
    if len(factors) == 1 and is_view(factors[0], output) and out is None:
        return arranged(t, factors[0], output)
    path = None
    if isinstance(optimize, tuple | ListObject):
        steps = t.items(optimize) if isinstance(optimize, ListObject) else optimize
        path = [s for s in steps if isinstance(s, tuple)]
    result = contract(t, factors, output, "np.einsum", path)
    if out is not None:
        from .bind_ufuncs import into

        return into(t, result, out, "np.einsum")
    return result


def is_view(factor: Factor, output: Labels) -> bool:
    """Whether NumPy gives a view of the one operand: no axis is summed."""
    return bool(factor.labels) and sorted(map(str, factor.labels)) == sorted(map(str, output))


def subscripts_of(t: Tracer, operands: Sequence[Any]) -> tuple[str, list[Any]]:
    """einsum's subscripts as a string, and its operands, from either way of calling it."""
    if operands and isinstance(operands[0], str):
        return operands[0].replace(" ", ""), list(operands[1:])
    values, lists = list(operands[: 2 * (len(operands) // 2) : 2]), list(operands[1::2])
    last = operands[-1] if len(operands) % 2 else None

    def letters(items: Any) -> str:
        if isinstance(items, ListObject):
            items = t.items(items)
        if not isinstance(items, tuple):
            t.type_error("np.einsum takes subscripts, or an array and a list of integers in turn")
        return "".join("..." if k is Ellipsis else LETTERS[numeric.static_int(t, k, "a subscript")] for k in items)

    text = ",".join(letters(x) for x in lists)
    return (text if last is None else f"{text}->{letters(last)}"), values


LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def labels_of(t: Tracer, subscripts: str, ranks: Sequence[int]) -> tuple[list[Labels], Labels]:
    """The labels of operands and of the output; axes under an ellipsis are numbered from the last."""
    left, arrow, right = subscripts.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        t.fail_value(f"np.einsum: {len(terms)} subscripts for {len(ranks)} operands")
    for term in (*terms, right):
        if any(c not in LETTERS for c in term.replace("...", "")) or term.count("...") > 1:
            t.fail_value(f"np.einsum: {term!r} is not a subscript")
    widest = 0
    inputs: list[Labels] = []
    for term, rank in zip(terms, ranks):
        before, dots, after = term.partition("...")
        hidden = rank - len(before) - len(after)
        if hidden < 0 or (hidden and not dots):
            t.fail_value(f"np.einsum: the subscript {term!r} is for an array of {rank} axes")
        widest = max(widest, hidden)
        inputs.append((*before, *range(-hidden, 0), *after))
    every = [x for labels in inputs for x in labels if isinstance(x, str)]
    if not arrow:
        return inputs, (*range(-widest, 0), *sorted(x for x in set(every) if every.count(x) == 1))
    before, dots, after = right.partition("...")
    if len({*before, *after}) != len(before + after):
        t.fail_value("np.einsum: a subscript of the output is repeated")
    if not {*before, *after} <= set(every):
        t.fail_value("np.einsum: the output has a subscript that no operand has")
    if widest and not dots:
        t.fail_value("np.einsum: the axes under the ellipsis are missing from the output")
    return inputs, (*before, *(range(-widest, 0) if dots else ()), *after)


# ---------------------------------------------------------------- dot, inner, tensordot


def dot(t: Tracer, a: Any, b: Any, out: Any = None) -> Any:
    """np.dot: over the last axis of the first and the last but one of the second."""
    return of_axes(t, a, b, out, "np.dot", -1, -2)


def inner(t: Tracer, a: Any, b: Any) -> Any:
    """np.inner: over the last axes."""
    return of_axes(t, a, b, None, "np.inner", -1, -1)


def of_axes(t: Tracer, a: Any, b: Any, out: Any, what: str, first: int, second: int) -> Any:
    from .bind_ufuncs import into

    a, b = element(t, a, what), element(t, b, what)
    if not isinstance(a, Reference) or not isinstance(b, Reference):
        return into(t, apply(t, np.multiply, a, b), out, what)
    return into(t, contracted(t, a, b, [a.rank - 1], [max(b.rank + second, 0)], what), out, what)


def contracted(t: Tracer, a: Any, b: Any, axes: Sequence[int], others: Sequence[int], what: str) -> Any:
    """The sum of products over pairs of axes; first the other axes of `a`, then those of `b`."""
    kind = bind_elementwise.result_dtype(t, a, b)
    if kind is BOOL:
        t.type_error(f"{what} of booleans", "convert with `.astype(float)`")
    for k, m in zip(axes, others):
        numeric.agree(t, views.extent(t, a, k), views.extent(t, b, m), f"the extents that {what} sums over differ")
    left: list[Any] = [("a", k) for k in range(numeric.rank_of(a))]
    right: list[Any] = [("b", k) for k in range(numeric.rank_of(b))]
    for k, m in zip(axes, others):
        left[k] = right[m] = ("sum", k)
    output = (*(x for x in left if x[0] == "a"), *(x for x in right if x[0] == "b"))
    factors = [Factor(as_kind(t, a, kind), tuple(left)), Factor(as_kind(t, b, kind), tuple(right))]
    result = contract(t, factors, output, what)
    return result


def tensordot(t: Tracer, a: Any, b: Any, axes: Any = 2) -> Any:
    """np.tensordot: over the last axes of one and the first of the other, or over pairs of axes."""
    a, b = element(t, a, "np.tensordot"), element(t, b, "np.tensordot")
    ranks = [numeric.rank_of(x) for x in (a, b)]
    if isinstance(axes, ListObject):
        axes = t.items(axes)
    if isinstance(axes, tuple):
        if len(axes) != 2:
            t.fail_value("`axes` of np.tensordot is a number, or two sequences of axes")
        groups = [bind_shape.axes_given(t, x, rank) for x, rank in zip(axes, ranks)]
    else:
        n = numeric.static_int(t, axes, "`axes` of np.tensordot")
        if n > min(ranks):
            t.shape_error(f"np.tensordot over {n} axes of arrays of {ranks[0]} and {ranks[1]}")
        groups = [list(range(ranks[0] - n, ranks[0])), list(range(n))]
    if len(groups[0]) != len(groups[1]):
        t.shape_error("np.tensordot sums over as many axes of one array as of the other")
    if not all(ranks) and not groups[0]:
        return apply(t, np.multiply, a, b)
    return contracted(t, a, b, groups[0], groups[1], "np.tensordot")


def register() -> None:
    from .bindings import TABLE

    TABLE.update({np.einsum: einsum, np.tensordot: tensordot, np.dot: dot, np.inner: inner})
