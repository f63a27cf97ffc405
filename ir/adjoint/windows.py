"""Which seeds an element can depend on, where that is a window around its own position: banded derivatives.

In: a tangent program or a pullback, whose last argument is the seed. Out: `bands(program)`, for each axis of the seed
either None or a `Band`: every element of every result that depends on the seed does so by positions in a window of
constant width, which moves along with one axis of the result. Here a result's element i depends on the seeds i and
i + 1, a band of width 2:

    func @f.jvp(%x: f64[?], %x_dot: f64[?]) -> f64[?] {
      %n: i64 = dim %x {axis=0}
      %m: i64 = sub %n, 1
      %a: f64[?] = index %x_dot, 1, %m, 1 {spec="s"}       ; element i: the seed i + 1
      %b: f64[?] = index %x_dot, 0, %m, 1 {spec="s"}       ; the seed i
      %y_dot: f64[?] = sub %a, %b                          ; the seeds i to i + 1
      return %y_dot
    }

This is structure, from the program alone: whether a value is zero plays no part, and no argument's values are looked
at. What is known of a value, for each axis of the seed, is a `Window`: the positions `low` to `high`, counted from a
linear form of integers and, where `axis` is not None, from the element's own position along that axis. A number read
at `x_dot[i]` has the window i to i; written to `y_dot[i]`, it makes that a window of the array. Windows that do not fit
together are no window: anything can depend on any position (`ALL`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..affine import Facts
from ..core import Const, Function, Op, Region, Value, walk
from ..linear import ZERO, Linear
from ..ops import lookup
from ..ops.indexing import split_spec
from ..types import Array
from .activity import loop_parts

__all__ = ["Band", "bands"]

WIDEST = 16
"""Bands of more seeds than this are not looked for."""

ROUNDS = 3
"""How often a loop's carried windows may grow before they are given up."""


@dataclass(frozen=True)
class Window:
    """The positions `form` + `low` to `form` + `high`, from the element's own position along `axis`, if any."""

    axis: int | None
    form: Linear  # without a constant
    low: int
    high: int

    def moved(self, by: Linear, axis: int | None) -> Window:
        """The same positions, where what they are counted from is smaller by `by`."""
        return Window(axis, Linear(0, (self.form + by).terms), self.low + by.const, self.high + by.const)


ALL = None
Windows = tuple[Window | None, ...]  # for each axis of the seed


class Band(NamedTuple):
    """For each result, the axis that the window moves with and its first and last position (None: the result does not
    depend on the seed); and how many positions the widest window has."""

    windows: tuple[tuple[int, int, int] | None, ...]
    width: int


def bands(program: Function) -> list[Band | None]:
    """For each axis of the last argument; see the module's docstring."""
    seed = program.args[-1]
    if not seed.is_array:
        return []
    walker = Walker(program)
    walker.known[seed] = tuple(Window(k, ZERO, 0, 0) for k in range(seed.rank))
    walker.region(program.body)
    found: list[Band | None] = []
    used: set[tuple[int, int]] = set()
    for k in range(seed.rank):
        windows = [walker.known.get(v) for v in program.results]
        band = band_of([None if w is None else (w[k],) for w in windows])
        if band is not None:
            axes = {(n, w[0]) for n, w in enumerate(band.windows) if w is not None}
            if axes & used:  # an axis of a result moves with one axis of the seed only
                band = None
            else:
                used |= axes
        found.append(band)
    return found


def band_of(windows: Sequence[tuple[Window | None] | None]) -> Band | None:
    places: list[tuple[int, int, int] | None] = []
    for given in windows:
        if given is None:
            places.append(None)
            continue
        (w,) = given
        if w is None or w.axis is None or w.form.terms:
            return None
        places.append((w.axis, w.low, w.high))
    width = max((high - low + 1 for place in places if place is not None for _, low, high in [place]), default=1)
    return Band(tuple(places), width) if width <= WIDEST else None


def hull(a: Windows | None, b: Windows | None) -> Windows | None:
    """What depends on both; None: on nothing."""
    if a is None or b is None:
        return b if a is None else a
    return tuple(joined(x, y) for x, y in zip(a, b, strict=True))


def joined(a: Window | None, b: Window | None) -> Window | None:
    if a is None or b is None or a.axis != b.axis or a.form != b.form:
        return ALL
    return replace(a, low=min(a.low, b.low), high=max(a.high, b.high))


class Walker:
    """Windows of all values that depend on the seed; what is not in `known` does not."""

    def __init__(self, program: Function) -> None:
        self.facts = Facts(program)
        self.known: dict[Value, Windows] = {}

    def get(self, value: Value) -> Windows | None:
        return None if isinstance(value, Const) else self.known.get(value)

    def set(self, value: Value, windows: Windows | None) -> None:
        if windows is None:
            self.known.pop(value, None)
        else:
            self.known[value] = windows

    def linear(self, value: Value) -> Linear:
        return self.facts.linear(value)

    def start(self, start: Value, length: Value) -> Linear:
        """The first position of a slice, as it is wherever the slice has an element: `x[1:]` begins at
        `minimum(1, n)`, which then is 1, since from n on there is none."""
        op, form = start.op, self.linear(start)
        if op is None or op.name not in ("minimum", "maximum") or len(form.terms) != 1 or form.const:
            return form
        (atom,) = form.terms
        lengths = [self.linear(length)]
        if length.op is not None and length.op.name == "maximum":
            first, least = length.op.operands
            if isinstance(least, Const) and least.value <= 0:
                lengths = [self.linear(first)]
        for one, other in (op.operands, op.operands[::-1]):
            ends = [n.replace(atom, self.linear(other)) for n in lengths if atom in n.terms]
            if any(self.facts.nonneg(n.times(-1)) for n in ends):
                return self.start(one, length)
        return form

    def region(self, region: Region) -> None:
        for op in region.ops[:-1]:
            self.operation(op)

    def operation(self, op: Op) -> None:
        if op.name == "if":
            for branch in op.regions:
                self.region(branch)
            inside = defined(op)
            for k, result in enumerate(op.results):
                found = None
                for branch in op.regions:
                    found = hull(found, outside(self.get(branch.terminator.operands[k]), inside))
                self.set(result, found)
        elif op.name == "for":
            self.loop(op)
        elif op.regions or lookup(op.name).category == "tape":
            used = {v for inner in walk_all(op) for v in inner.operands}
            if any(self.get(v) is not None for v in used):
                for inner in walk_all(op):
                    self.everything(inner)
        elif op.name != "dim" and any(self.get(v) is not None for v in op.operands):
            rule = RULES.get(op.name)
            if rule is None and lookup(op.name).category == "elementwise" and not lookup(op.name).effect:
                rule = elementwise
            if rule is None:
                self.everything(op)
            else:
                self.set(op.result, rule(self, op))

    def everything(self, op: Op) -> None:
        count = len(next(iter(self.known.values())))
        for v in (*op.results, *(a for region in op.regions for a in region.args)):
            self.known[v] = (ALL,) * count

    def loop(self, op: Op) -> None:
        """Carried windows grow until they stay; those that do not soon are given up."""
        inits, args, yielded = loop_parts(op)
        inside = defined(op)
        for init, arg in zip(inits, args, strict=True):
            self.set(arg, self.get(init))
        turn = 0
        while True:
            self.region(op.regions[0])
            changed = False
            for arg, end in zip(args, yielded, strict=True):
                before = self.get(arg)
                after = hull(before, outside(self.get(end), inside))
                if after != before:
                    assert after is not None
                    if turn >= ROUNDS and before is not None:
                        after = tuple(a if a == b else ALL for a, b in zip(after, before, strict=True))
                    self.set(arg, after)
                    changed = True
            turn += 1
            if not changed:
                break
        for result, arg in zip(op.results, args, strict=True):
            self.set(result, self.get(arg))


def walk_all(op: Op) -> list[Op]:
    return [op, *(inner for region in op.regions for inner in walk(region))]


def defined(op: Op) -> set[Value]:
    """The values that exist inside an operation's regions only."""
    out: set[Value] = set()
    for inner in walk_all(op):
        out.update(a for region in inner.regions for a in region.args)
        if inner is not op:
            out.update(inner.results)
    return out


def outside(windows: Windows | None, inside: set[Value]) -> Windows | None:
    """Windows that are counted from something that has another value, or none, outside are given up."""
    if windows is None:
        return None
    return tuple(w if w is not None and not mentions(w.form, inside) else ALL for w in windows)


def mentions(form: Linear, inside: set[Value]) -> bool:
    def of(atom: object) -> bool:
        return any(map(of, atom)) if isinstance(atom, tuple) else atom in inside

    return any(map(of, form.terms))


# ---------------------------------------------------------------- rules

Rule = Callable[[Walker, Op], Windows | None]


def along(windows: Windows | None, change: Callable[[Window], Window | None]) -> Windows | None:
    """Windows that move with an axis, changed."""
    if windows is None:
        return None
    return tuple(w if w is None or w.axis is None else change(w) for w in windows)


def renumbered(windows: Windows | None, axes: Sequence[int | None]) -> Windows | None:
    """Where axis k becomes axis `axes[k]`, or is lost."""

    def change(w: Window) -> Window | None:
        assert w.axis is not None
        new = axes[w.axis]
        return ALL if new is None else replace(w, axis=new)

    return along(windows, change)


def elementwise(s: Walker, op: Op) -> Windows | None:
    found = None
    for v in op.operands:
        found = hull(found, s.get(v))
    return found


def filled(s: Walker, op: Op) -> Windows | None:
    if any(s.get(v) is not None for v in op.operands[1:]):
        return everywhere(s)
    x, *extents = op.operands
    axes = op.attrs.get("axes", ())
    own = x.type.dims if isinstance(x.type, Array) else ()
    repeats = [own[k] == 1 and not is_one(extents[a]) for k, a in enumerate(axes)]
    return renumbered(s.get(x), [None if again else a for a, again in zip(axes, repeats, strict=True)])


def everywhere(s: Walker) -> Windows:
    return (ALL,) * len(next(iter(s.known.values())))


def indexed(s: Walker, op: Op) -> Windows | None:
    array, *positions = op.operands
    if any(s.get(p) is not None for p in positions):
        return everywhere(s)
    spec = op.attrs["spec"]
    parts = split_spec(spec, positions)
    axes = [None if letter == "i" else k - spec[:k].count("i") for k, letter in enumerate(spec)]

    def change(w: Window) -> Window | None:
        assert w.axis is not None
        letter, part = spec[w.axis], parts[w.axis]
        if letter == ":":
            return replace(w, axis=axes[w.axis])
        if letter == "s" and not is_one(part[2]):
            return ALL
        first = s.linear(part[0]) if letter == "i" else s.start(part[0], part[1])
        return w.moved(first, axes[w.axis])

    return along(s.get(array), change)


def is_one(value: Value) -> bool:
    return isinstance(value, Const) and value.value == 1


def written(s: Walker, op: Op) -> Windows | None:
    """`update` and `accumulate`: what the array had, and what is written, seen from the array."""
    array, value, *positions = op.operands
    if any(s.get(p) is not None for p in positions):
        return everywhere(s)
    into, given = s.get(array), s.get(value)
    if given is None:
        return into
    spec = op.attrs["spec"]
    parts = split_spec(spec, positions)
    kept = [k for k, letter in enumerate(spec) if letter != "i"]  # the array's axes that the value has

    def change(w: Window) -> Window | None:
        assert w.axis is not None
        k = kept[w.axis]
        if spec[k] == ":":
            return replace(w, axis=k)
        start, length, step = parts[k]
        return w.moved(s.start(start, length).times(-1), k) if is_one(step) else ALL

    def tied(w: Window | None, wanted: int | None) -> Window | None:
        """A window that moves with no axis of the value, counted from the position it is written to."""
        if w is None or w.axis is not None:
            return w
        choices = []
        for k, letter in enumerate(spec):
            if letter == "i":
                moved = w.moved(s.linear(parts[k][0]).times(-1), k)
                if not moved.form.terms:
                    choices.append(moved)
        preferred = [c for c in choices if c.axis == wanted]
        return (preferred or choices or [w])[0]

    count = len(given)
    before = into or (ALL,) * count
    wanted = [w.axis if w is not None else None for w in before]
    # which of the value's windows moved with its own axes is known before they are seen from the array
    seen = tuple(tied(w, k) if w is None or w.axis is None else change(w) for w, k in zip(given, wanted, strict=True))
    return hull(into, seen)


def transposed(s: Walker, op: Op) -> Windows | None:
    perm = op.attrs["perm"]
    return renumbered(s.get(op.operands[0]), [perm.index(k) for k in range(len(perm))])


def reduced(s: Walker, op: Op) -> Windows | None:
    (x,) = op.operands
    lost = op.attrs["axes"]
    axes = [None if k in lost else k - sum(a < k for a in lost) for k in range(x.rank)]
    return renumbered(s.get(x), axes)


def running(s: Walker, op: Op) -> Windows | None:
    found = elementwise(s, op)
    return along(found, lambda w: ALL if w.axis == op.attrs["axis"] else w)


def joined_end_to_end(s: Walker, op: Op) -> Windows | None:
    """`concat`: positions in a part are positions in the whole, less where the part begins."""
    axis, start, found = op.attrs["axis"], ZERO, None
    for v in op.operands:
        before = start.times(-1)

        def change(w: Window, before: Linear = before) -> Window:
            return w.moved(before, axis) if w.axis == axis else w

        found = hull(found, along(s.get(v), change))
        start = start + s.facts.extent(v, axis)
    return found


def reshaped(s: Walker, op: Op) -> Windows | None:
    """Leading and trailing axes that keep their extents are the same axes, whatever is between them."""
    x, *extents = op.operands
    if any(s.get(n) is not None for n in extents):
        return everywhere(s)
    old, new = [s.facts.extent(x, k) for k in range(x.rank)], [s.linear(n) for n in extents]
    axes: list[int | None] = [None] * len(old)
    for k, n in same_places(old, new):
        axes[k] = n
    for k, n in same_places(old[::-1], new[::-1]):
        axes[len(old) - 1 - k] = len(new) - 1 - n
    return renumbered(s.get(x), axes)


def same_places(old: Sequence[Linear], new: Sequence[Linear]) -> list[tuple[int, int]]:
    """The first axes that two shapes of one array have in common; axes of extent 1 come and go."""
    out: list[tuple[int, int]] = []
    k = n = 0
    while k < len(old) and n < len(new):
        if old[k] == new[n]:
            out.append((k, n))
            k, n = k + 1, n + 1
        elif old[k] == Linear(1):
            k += 1
        elif new[n] == Linear(1):
            n += 1
        else:
            break
    return out


def product(s: Walker, op: Op) -> Windows | None:
    """`matmul`: rows of the first factor, columns of the second."""
    a, b = op.operands
    rows: list[int | None] = [0, None] if a.rank == 2 else [None]
    columns: list[int | None] = [None, a.rank - 1] if b.rank == 2 else [None]
    return hull(renumbered(s.get(a), rows), renumbered(s.get(b), columns))


RULES: dict[str, Rule] = {
    **dict.fromkeys("fill broadcast".split(), filled),
    "index": indexed,
    **dict.fromkeys("update accumulate".split(), written),
    "transpose": transposed,
    **dict.fromkeys("reduce_sum reduce_prod reduce_max reduce_min".split(), reduced),
    **dict.fromkeys("cumsum cumprod".split(), running),
    "concat": joined_end_to_end,
    "reshape": reshaped,
    "matmul": product,
}
