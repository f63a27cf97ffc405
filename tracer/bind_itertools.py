"""Bindings of `itertools`: `product`, `combinations`, `permutations`, `pairwise`, `chain` and `islice`.

In: what a loop can go over. Out: what a `for` loop goes over in their place. As `np.ndindex`, `product` is one loop,
whose k-th item has the digits of k in the mixed base of the lengths; `pairwise` is one over all items but the last.
`combinations(x, 2)` is one loop too: item k is the pair (i, j), where i is found from the number of pairs before a row,
`i (2n - i - 1) / 2`. All others choose among items whose number is known while tracing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import I64
from . import bind_shape, integers, views
from .bind_ndindex import digits
from .bind_sequences import run_template
from .context import Tracer
from .iteration import Iterable, Range, iterable_of, static_iterable
from .numeric import describe
from .values import DictObject, ListObject, Number, Reference

__all__ = ["Product", "Tuples", "product_iterable", "register", "tuples_iterable"]

PAIR = """
def pair(k, n):
    i = int((2 * n - 1 - ((2 * n - 1) ** 2 - 8 * k) ** 0.5) / 2)
    if i * (2 * n - i - 1) // 2 > k:
        i -= 1
    if (i + 1) * (2 * n - i - 2) // 2 <= k:
        i += 1
    return i, k - i * (2 * n - i - 1) // 2 + i + 1
"""


@dataclass(eq=False)
class Product:
    """All tuples of an item of each."""

    inner: tuple[Any, ...]


@dataclass(eq=False)
class Tuples:
    """`combinations(x, 2)`, or `pairwise(x)` where `adjacent`."""

    inner: Any
    adjacent: bool


def product(t: Tracer, *iterables: Any, repeat: Any = 1) -> Any:
    if not isinstance(repeat, int):
        t.unsupported("itertools.product with a number of repetitions known only at run time", "write the loops")
    return Product(tuple(kept(t, x, "itertools.product") for x in iterables) * repeat)


def combinations(t: Tracer, iterable: Any, r: Any) -> Any:
    if isinstance(r, int) and r == 2:
        inner = kept(t, iterable, "itertools.combinations")
        if not iterable_of(t, inner).static_only:
            return Tuples(inner, adjacent=False)
    return chosen(t, "combinations", itertools.combinations, iterable, r)


def permutations(t: Tracer, iterable: Any, r: Any = None) -> Any:
    return chosen(t, "permutations", itertools.permutations, iterable, r)


def combinations_with_replacement(t: Tracer, iterable: Any, r: Any) -> Any:
    return chosen(t, "combinations_with_replacement", itertools.combinations_with_replacement, iterable, r)


def pairwise(t: Tracer, iterable: Any) -> Any:
    inner = kept(t, iterable, "itertools.pairwise")
    if iterable_of(t, inner).static_only:
        return t.new_list(list(itertools.pairwise(items_of(t, "pairwise", inner))))
    return Tuples(inner, adjacent=True)


def chain(t: Tracer, *iterables: Any) -> Any:
    return t.new_list([item for x in iterables for item in items_of(t, "chain", x)])


def from_iterable(t: Tracer, iterables: Any) -> Any:
    return chain(t, *items_of(t, "chain", iterables))


def islice(t: Tracer, iterable: Any, *bounds: Any) -> Any:
    if not all(b is None or isinstance(b, int) for b in bounds):
        t.unsupported("itertools.islice with bounds known only at run time", "write a loop over a range")
    return t.new_list(list(itertools.islice(items_of(t, "islice", iterable), *bounds)))


def chosen(t: Tracer, name: str, choose: Callable[..., Any], iterable: Any, r: Any) -> Any:
    """Tuples of items whose number is known."""
    items = items_of(t, name, iterable)
    if r is not None and not isinstance(r, int):
        t.unsupported(f"itertools.{name} of a number of items known only at run time", "write the loops")
    return t.new_list([tuple(items[k] for k in tuple_) for tuple_ in choose(range(len(items)), r)])


def items_of(t: Tracer, name: str, x: Any) -> list[Any]:
    inner = iterable_of(t, x)
    if inner.static_length is None or inner.guard is not None:
        t.unsupported(
            f"itertools.{name} of {describe(x)} whose length is known only at run time",
            "write nested loops over ranges",
        )
    return [inner.item(t, k) for k in range(inner.static_length)]


def kept(t: Tracer, x: Any, what: str) -> Any:
    """The items as they are now: Python takes them out before the first turn."""
    if isinstance(x, Range | tuple | Product | Tuples) or isinstance(x, str | range):
        return x
    if isinstance(x, Reference):
        return t.new_array(views.read(t, x), views.extents(t, x)) if x.rank == 1 else x
    if isinstance(x, ListObject):
        return tuple(t.items(x))
    if isinstance(x, DictObject):
        return tuple(k for k, _ in t.items(x))
    inner = iterable_of(t, x)
    if inner.static_length is None or inner.guard is not None:
        t.unsupported(f"{what} of {describe(x)}", "write nested loops over ranges or arrays")
    return tuple(inner.item(t, k) for k in range(inner.static_length))


def product_iterable(t: Tracer, made: Product) -> Iterable:
    inner = [iterable_of(t, x) for x in made.inner]
    known = [i.static_length for i in inner if i.static_length is not None]
    static = math.prod(known) if len(known) == len(inner) else None
    must = any(i.static_only for i in inner)
    if must and static is None:
        if math.prod(known) == 0:
            return static_iterable(())
        t.unsupported(
            "itertools.product of a list or tuple and of something whose length is known only at run time",
            "write nested loops",
        )
    lengths = [i.length() for i in inner]

    def at(k: Any) -> Any:
        if isinstance(k, int) and static is not None:
            places: Sequence[Any] = [int(i) for i in np.unravel_index(k, known)] if known else ()
        else:
            places = digits(t, integers.integer(k), lengths)
        return tuple(i.at(place) for i, place in zip(inner, places, strict=True))

    return Iterable(static, must, lambda: bind_shape.product(t, lengths), at)


def tuples_iterable(t: Tracer, made: Tuples) -> Iterable:
    inner = iterable_of(t, made.inner)
    count, n = inner.static_length, inner.length()

    def adjacent(k: Any) -> Any:
        following = k + 1 if isinstance(k, int) else integers.add(t, k, 1)
        return inner.at(k), inner.at(following)

    def pair(k: Any) -> Any:
        if isinstance(k, int) and count is not None:
            i, j = next(itertools.islice(itertools.combinations(range(count), 2), k, None))
            return inner.at(i), inner.at(j)
        found = run_template(t, PAIR, [Number(integers.integer(k), True), Number(n, True)])
        places = [integers.integer(part.value if isinstance(part, Number) else part) for part in found]
        t.nonnegative.update(places)
        return tuple(inner.at(place) for place in places)

    if made.adjacent:
        fewer = None if count is None else max(count - 1, 0)
        return Iterable(fewer, False, lambda: integers.clamp_low(t, integers.sub(t, n, 1)), adjacent)

    def pairs() -> Value:
        product_ = integers.mul(t, n, integers.sub(t, n, 1))
        return t.emit1("floordiv", [product_, Const(2, I64)])

    return Iterable(None if count is None else math.comb(count, 2), False, pairs, pair)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            itertools.product: product,
            itertools.combinations: combinations,
            itertools.permutations: permutations,
            itertools.combinations_with_replacement: combinations_with_replacement,
            itertools.pairwise: pairwise,
            itertools.chain: chain,
            itertools.chain.from_iterable: from_iterable,
            itertools.islice: islice,
        }
    )
