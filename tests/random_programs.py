"""Random programs: Python source text of functions to differentiate, and arguments to call them with.

In: a source of choices, either Hypothesis (`programs()`, which shrinks) or a seeded generator (`generate(seed)`,
which is fast). Out: `RandomProgram`: the text of ``def program(x, a, b, n, idx)`` with its helpers above it (a float, a
1-d and a 2-d float array, an int, an array of integers), and argument sets of other signs, trip counts and shapes.

Programs are valid by construction: every name is bound before it is read, every index is inside its array, arrays that
meet have the same symbolic extents, loops are bounded. What is left to chance is size: values that grow and loops that
nest too deep are found by running the text in plain Python (`problem`), and such a program is thrown away.

Nothing here knows of adjit. As a script, it sends programs through the checks of `differential`:

    python tests/random_programs.py --seed 0 --count 2000 --compile 300
"""

from __future__ import annotations

import linecache
import math
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

__all__ = ["RandomProgram", "generate", "load", "programs"]

ARGNUMS = (0, 1, 2)
"""Which arguments of `program` are floats: x, a, b."""

# ---------------------------------------------------------------- the source of choices


class Choices:
    """Where decisions come from. The first option is the simplest: Hypothesis shrinks towards it."""

    def integer(self, low: int, high: int) -> int:
        raise NotImplementedError

    def pick(self, options: Sequence[Any]) -> Any:
        return options[self.integer(0, len(options) - 1)]

    def chance(self, percent: int) -> bool:
        return self.integer(0, 99) >= 100 - percent

    def weighted(self, options: Sequence[tuple[int, Any]]) -> Any:
        at = self.integer(0, sum(w for w, _ in options) - 1)
        for weight, option in options:
            at -= weight
            if at < 0:
                return option
        raise AssertionError


class Seeded(Choices):
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)


class Drawn(Choices):
    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))


# ---------------------------------------------------------------- what is in scope


@dataclass(frozen=True)
class Dim:
    """A symbolic extent: `base` less `minus`, never below `least`. Two extents agree where base and minus agree."""

    base: str
    minus: int = 0
    least: int = field(default=0, compare=False)

    def less(self, k: int) -> Dim:
        if self.base == "":
            return fixed(self.least - k)
        return Dim(self.base, self.minus + k, self.least - k)

    def half(self) -> Dim:
        if self.base == "":
            return fixed((self.least + 1) // 2)
        return Dim(f"half({self.base}-{self.minus})", 0, (self.least + 1) // 2)


def fixed(n: int) -> Dim:
    return Dim("", -n, n)


Dims = tuple[Dim, ...]


@dataclass
class Scope:
    """Visible names: floats, integers with the axes they index safely (`expression -> extent`), arrays by extents."""

    floats: list[str] = field(default_factory=list)
    ints: dict[str, list[tuple[str, Dim]]] = field(default_factory=dict)
    arrays: dict[str, Dims] = field(default_factory=dict)
    tables: dict[str, Dims] = field(default_factory=dict)
    """Arrays of floats that are not written."""
    protected: set[str] = field(default_factory=set)
    """Names that are not bound again: counters, parameters that others rely on."""
    index_array: str = ""
    functions: list[str] = field(default_factory=list)
    """Functions of one float defined inside the program, which see its names as they are when called."""

    def inner(self) -> Scope:
        return Scope(
            list(self.floats),
            dict(self.ints),
            dict(self.arrays),
            self.tables,
            set(self.protected),
            self.index_array,
            list(self.functions),
        )

    def names(self) -> set[str]:
        return {*self.floats, *self.ints, *self.arrays, *self.tables, *self.functions, self.index_array}

    def readable(self) -> dict[str, Dims]:
        return {**self.arrays, **self.tables}


@dataclass(frozen=True)
class Helper:
    """A function above the program. kind: scalar(p, q), pair(p, q), reduce(v, p), write(v, p), array(v, p)."""

    name: str
    kind: str


CONSTANTS = ("0.5", "1.0", "0.3", "-0.7", "1.3", "0.1", "2.0", "-1.1", "0.85", "3")
THRESHOLDS = ("0.15", "-0.35", "0.55", "1.05", "-1.25", "2.15")
SQUASHED = (
    "np.tanh({})", "np.sin({})", "np.cos({})", "np.arctan({})", "np.exp(-({}) ** 2)", "np.clip({}, -1.1, 0.9)",
    "({0}) / (1.0 + ({0}) * ({0}))", "1.0 / (1.5 + np.sin({}))", "np.minimum(np.abs({}), 1.7)",
    "np.tanh(np.logaddexp({}, 0.2))", "np.arctan2({}, 1.3)",
)  # fmt: skip
"""Bounded functions of one expression."""
TAME = ("np.sqrt(1.0 + np.square({}))", "np.log1p(({}) * ({}))", "np.abs({})", "-({})", "np.maximum({}, -0.37)", "({})")
"""Functions that grow no faster than their argument."""


LOOPS = [
    (6, "range n"), (6, "range len"), (2, "static"), (2, "down"), (2, "from one"), (2, "items"), (1, "enumerate"),
    (1, "zip"), (1, "reversed"), (1, "stepped"), (1, "integers"),
]  # fmt: skip
"""Forms of `for`, with their weights."""


@dataclass(frozen=True)
class Block:
    """What statements may do where they stand: leave a loop, leave the function (with what)."""

    returns: str
    in_loop: bool = False
    loops: int = 0
    depth: int = 0


# ---------------------------------------------------------------- the generator


class Writer:
    """Writes one function body after another; `c` decides."""

    def __init__(self, c: Choices) -> None:
        self.c = c
        self.lines: list[str] = []
        self.indent = 1
        self.helpers: list[Helper] = []
        self.budget = 0

    def emit(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    @contextmanager
    def indented(self) -> Iterator[None]:
        self.indent += 1
        try:
            yield
        finally:
            self.indent -= 1

    def new_name(self, s: Scope, stem: str) -> str:
        """A name that is not in sight. Sibling blocks use one name for different things."""
        taken = s.names()
        return next(name for k in range(100) if (name := f"{stem}{k}") not in taken)

    # ------------------------------------------------------------ integers

    def integer(self, s: Scope, depth: int = 1) -> str:
        """Any integer expression, as text."""
        options: list[tuple[int, Callable[[], str]]] = [(2, lambda: str(self.c.integer(0, 4)))]
        if s.ints:
            options.append((5, lambda: str(self.c.pick(list(s.ints)))))
        if s.index_array:
            options.append((1, lambda: self.looked_up_index(s)))
        if s.arrays:
            options.append((1, lambda: f"len({self.c.pick(list(s.arrays))})"))
        if depth:
            a, b = (lambda: self.integer(s, depth - 1)), (lambda: self.integer(s, 0))
            options += [
                (2, lambda: f"({a()} + {b()})"),
                (2, lambda: f"({a()} * {self.c.integer(2, 3)} + {self.c.integer(0, 2)})"),
                (1, lambda: f"({a()} - {b()})"),
                (1, lambda: f"{a()} // 2"),
            ]
        return str(self.c.weighted(options)())

    def looked_up_index(self, s: Scope) -> str:
        """An element of the index array: between -3 and 2."""
        name = s.index_array
        if s.ints and self.c.chance(60):
            return f"{name}[{self.c.pick(list(s.ints))} % len({name})]"
        return f"{name}[{self.c.integer(-3, 2)}]"

    def position(self, s: Scope, name: str, axis: int, d: Dim) -> str:
        """An index inside an axis of an array, as text."""
        safe = [e for pairs in s.ints.values() for e, extent in pairs if extent == d]
        length = f"len({name})" if axis == 0 else f"{name}.shape[{axis}]"
        options: list[tuple[int, Callable[[], str]]] = []
        if safe:
            options.append((8, lambda: str(self.c.pick(safe))))
        options.append((2, lambda: str(self.c.integer(-min(d.least, 3), min(d.least, 3) - 1))))
        options.append((2, lambda: f"{self.integer(s)} % {length}" if s.ints else "0"))
        if s.index_array and d.least >= 3:
            options.append((1, lambda: self.looked_up_index(s)))
        return str(self.c.weighted(options)())

    def ranges(self, d: Dim) -> list[tuple[str, Dim]]:
        """Slices of an axis, with the extent they have; the whole axis first."""
        out = [(":", d)]
        if d.least >= 2:
            out += [("1:", d.less(1)), (":-1", d.less(1)), ("::-1", d), (":2", fixed(2)), ("-2:", fixed(2))]
            out += [("::2", d.half()), ("-1:0:-1", d.less(1))]
        if d.least >= 3:
            out += [("1:3", fixed(2)), ("1:-1", d.less(2)), ("2::-1", fixed(3)), ("2:", d.less(2)), (":-2", d.less(2))]
        return out

    # ------------------------------------------------------------ floats

    def number(self, s: Scope, depth: int = 2) -> str:
        """Any float expression, as text."""
        if depth <= 0:
            return self.leaf(s)
        e = lambda: self.number(s, depth - 1)
        options: list[tuple[int, Callable[[], str]]] = [
            (4, lambda: self.leaf(s)),
            (4, lambda: self.bounded(s, depth)),
            (2, lambda: f"({e()} + {e()})"),
            (2, lambda: f"({e()} - {e()})"),
            (3, lambda: f"{e()} * {self.bounded(s, depth - 1)}"),
            (1, lambda: self.filled(self.c.pick(TAME), e())),
            (1, lambda: f"0.3 * ({e()}) ** 2"),
            (1, lambda: f"({e()} if {self.condition(s)} else {e()})"),
        ]
        if any(min(d.least for d in dims) >= 1 for dims in s.readable().values()):
            options.append((2, lambda: self.reduction(s)))
        return str(self.c.weighted(options)())

    def bounded(self, s: Scope, depth: int = 1) -> str:
        """A float expression between -2 and 2."""
        options: list[tuple[int, Callable[[], str]]] = [
            (6, lambda: self.filled(self.c.pick(SQUASHED), self.number(s, depth - 1)))
        ]
        if depth > 0:
            e = lambda: self.number(s, depth - 1)
            options += [
                (1, lambda: f"math.{self.c.pick(('sin', 'tanh', 'atan'))}({e()})"),
                (1, lambda: f"np.where({self.comparison(s)}, {self.bounded(s, 0)}, {self.bounded(s, 0)})"),
                (1, lambda: f"max({self.bounded(s, 0)}, {self.c.pick(THRESHOLDS)})"),
            ]
            scalar = [h for h in self.helpers if h.kind == "scalar"]
            if scalar:
                options.append((2, lambda: f"np.sin({self.c.pick(scalar).name}({e()}, {e()}))"))
            if s.functions:
                options.append((2, lambda: f"np.tanh({self.c.pick(s.functions)}({e()}))"))
        return str(self.c.weighted(options)())

    def filled(self, template: str, inner: str) -> str:
        return template.format(inner, inner) if "{}" in template else template.format(inner)

    def leaf(self, s: Scope, constant: bool = True) -> str:
        options: list[tuple[int, Callable[[], str]]] = []
        if s.floats:
            options.append((6, lambda: self.c.pick(s.floats)))
        if constant or not s.floats:
            options.append((1, lambda: self.c.pick(CONSTANTS)))
        if s.ints and constant:
            options.append((1, lambda: f"0.2 * {self.c.pick(list(s.ints))}"))
        arrays = [name for name, dims in s.readable().items() if min(d.least for d in dims) >= 1]
        if arrays:
            options.append((7, lambda: self.element(s, self.c.pick(arrays), s.readable())))
        return str(self.c.weighted(options)())

    def element(self, s: Scope, name: str, arrays: dict[str, Dims]) -> str:
        """One element of an array (which has no empty axis)."""
        where = [self.position(s, name, axis, d) for axis, d in enumerate(arrays[name])]
        if len(where) == 2 and self.c.chance(15):
            return f"{name}[{where[0]}][{where[1]}]"
        return f"{name}[{', '.join(where)}]"

    def reduction(self, s: Scope) -> str:
        arrays = {n: dims for n, dims in s.readable().items() if min(d.least for d in dims) >= 1}
        name = self.c.pick(list(arrays))
        dims = arrays[name]
        whole = [
            f"np.mean({name})",
            f"0.2 * np.sum({name})",
            f"0.1 * ({name} * {name}).sum()",
            f"np.max({name})",
            f"{name}.min()",
        ]
        if len(dims) == 1:
            other = self.array(s, dims, 1)
            whole += [f"0.2 * ({name} @ ({other}))", f"0.1 * np.dot({other}, {name})", f"np.cumsum({name})[-1]"]
            if s.index_array and dims[0].least >= 3:
                whole += [f"0.2 * np.sum({name}[{s.index_array}])", f"{name}[np.argmin({name})]"]
        else:
            whole += [f"np.max(0.2 * {name}.sum(axis={self.c.integer(0, 1)}))", f"np.var({name})"]
        return str(self.c.pick(whole))

    # ------------------------------------------------------------ conditions

    def comparison(self, s: Scope) -> str:
        sign = self.c.pick((">", "<", ">=", "<="))
        if self.c.chance(70):
            return f"{self.leaf(s, constant=False)} {sign} {self.c.pick(THRESHOLDS)}"
        return f"{self.number(s, 1)} {sign} {self.number(s, 1)}"

    def condition(self, s: Scope) -> str:
        one = lambda: self.comparison(s)
        options: list[tuple[int, Callable[[], str]]] = [
            (6, one),
            (1, lambda: f"{one()} and {one()}"),
            (1, lambda: f"{one()} or {one()}"),
            (1, lambda: f"not {one()}"),
            (1, lambda: f"{self.c.pick(THRESHOLDS[1:4:2])} < {self.leaf(s, False)} <= {self.c.pick(('0.75', '1.55'))}"),
        ]
        if s.ints:
            i = self.c.pick(list(s.ints)[::-1])
            options += [
                (2, lambda: f"{i} {self.c.pick(('>', '<', '==', '!='))} {self.c.integer(0, 3)}"),
                (1, lambda: f"{i} {self.c.pick(('>', '<=', '!='))} {self.integer(s)}"),
                (2, lambda: f"{i} % 2 == {self.c.integer(0, 1)}"),
                (1, lambda: f"{i} > {self.c.integer(0, 2)} and {one()}"),
            ]
        return f"({self.c.weighted(options)()})"

    # ------------------------------------------------------------ arrays

    def parts(self, s: Scope, dims: Dims) -> list[str]:
        """Names and views of readable arrays that have exactly these extents."""
        found = []
        for name, own in s.readable().items():
            if own == dims:
                found += [name, name, name]
                if len(dims) == 1 and own[0].least >= 2:
                    found.append(f"{name}[::-1]")
            if len(own) == len(dims) == 1:
                found += [
                    f"{name}[{text}]" for text, d in self.ranges(own[0]) if d == dims[0] and text not in (":", "::-1")
                ]
            if len(own) == 2 and len(dims) == 1 and min(d.least for d in own) >= 1:
                if own[1] == dims[0]:
                    found += [f"{name}[{self.position(s, name, 0, own[0])}]"] * 2
                if own[0] == dims[0]:
                    found.append(f"{name}[:, {self.position(s, name, 1, own[1])}]")
            if len(own) == len(dims) == 2 and (own[1], own[0]) == dims and own != dims:
                found.append(f"{name}.T")
        if s.index_array and dims == (INDEX,):
            found += [f"{n}[{s.index_array}]" for n, own in s.readable().items() if len(own) == 1 and own[0].least >= 3]
        return found

    def array(self, s: Scope, dims: Dims, depth: int = 1) -> str:
        """An array expression of these extents, as text; a number where there is no array of them."""
        parts = self.parts(s, dims)
        if not parts:
            return self.number(s, depth)
        if depth <= 0:
            return str(self.c.pick(parts))
        e = lambda: self.array(s, dims, depth - 1)
        either = lambda: self.array(s, dims, depth - 1) if self.c.chance(60) else self.number(s, 1)
        options: list[tuple[int, Callable[[], str]]] = [
            (3, lambda: str(self.c.pick(parts))),
            (4, lambda: self.filled(self.c.pick(SQUASHED), e())),
            (2, lambda: f"({e()} + {either()})"),
            (2, lambda: f"({either()} - {e()})"),
            (2, lambda: f"{e()} * {self.bounded(s, 1)}"),
            (2, lambda: f"{e()} * np.cos({either()})"),
            (1, lambda: self.filled(self.c.pick(TAME), e())),
            (1, lambda: f"np.where({e()} > {self.c.pick(THRESHOLDS)}, {e()}, {either()})"),
            (1, lambda: f"np.maximum({e()}, {either()})"),
            (1, lambda: f"0.3 * ({e()}) ** 2"),
        ]
        if len(dims) == 2:
            rows = [n for n, own in s.readable().items() if own == (dims[1],)]
            columns = [n for n, own in s.readable().items() if own == (dims[0],)]
            if rows:
                options.append((2, lambda: f"({e()} + {self.c.pick(rows)})"))
            if columns:
                options.append((2, lambda: f"{e()} * np.tanh({self.c.pick(columns)})[:, None]"))
            if rows and columns:
                options.append((1, lambda: f"(0.3 * np.outer({self.c.pick(columns)}, {self.c.pick(rows)}) + {e()})"))
        if len(dims) == 1:
            tall = [n for n, own in s.readable().items() if len(own) == 2 and own[1] == dims[0] and own[0].least >= 1]
            if tall:
                options.append((1, lambda: f"(0.2 * {self.c.pick(tall)}.sum(axis=0) + {e()})"))
            matrices = [(n, own) for n, own in s.readable().items() if len(own) == 2 and own[0] == dims[0]]
            pairs = [(n, v) for n, own in matrices for v, d in s.readable().items() if d == (own[1],)]
            if pairs:
                options.append((1, lambda: "(0.2 * ({} @ {}) + {})".format(*self.c.pick(pairs), e())))
        return str(self.c.weighted(options)())

    def calm_array(self, s: Scope, dims: Dims) -> str:
        """An array expression to keep: does not grow when it is kept again and again."""
        e = lambda depth: self.array(s, dims, depth)
        return str(
            self.c.weighted(
                [
                    (3, lambda: self.filled(self.c.pick(SQUASHED), e(1))),
                    (3, lambda: f"0.6 * {e(1)} + 0.3 * {e(1)}"),
                    (2, lambda: f"0.9 * {e(1)}"),
                    (2, lambda: e(0)),
                ]
            )()
        )

    def calm_number(self, s: Scope) -> str:
        return str(
            self.c.weighted(
                [
                    (4, lambda: self.bounded(s, 2)),
                    (3, lambda: f"0.6 * {self.number(s, 1)} + 0.3 * {self.number(s, 1)}"),
                    (2, lambda: f"0.8 * {self.number(s, 2)}"),
                    (2, lambda: self.leaf(s)),
                ]
            )()
        )

    # ------------------------------------------------------------ statements

    def block(self, s: Scope, where: Block, low: int = 1, high: int = 4) -> bool:
        """Statements in an inner scope of their own; False where control never reaches the end."""
        for _ in range(self.c.integer(low, high)):
            if not self.statement(s, where):
                return False
            if self.budget <= 0:
                break
        return True

    def statement(self, s: Scope, where: Block) -> bool:
        self.budget -= 1
        arrays = {n: dims for n, dims in s.arrays.items() if min(d.least for d in dims) >= 1}
        simple: list[tuple[int, Callable[..., Any]]] = [(3, self.assign_number), (3, self.update_number)]
        if s.ints:
            simple.append((1, self.assign_integer))
        if where.depth < 2 and self.budget > 3:
            simple.append((1, self.local_function))
        if len(s.floats) > 1:
            simple.append((1, self.swap_numbers))
        if arrays:
            simple += [
                (5, self.write_element), (4, self.write_range), (2, self.write_whole), (2, self.new_array),
                (3, self.new_view), (2, self.new_alias), (1, self.rebind_array), (1, self.write_dynamic_range),
            ]  # fmt: skip
            if any(len(d) == 1 and d[0].least >= 2 for d in arrays.values()) and self.helpers:
                simple.append((3, self.call_helper))
            if any(own == other for n, own in arrays.items() for m, other in arrays.items() if n < m):
                simple.append((3, self.swap_arrays))
        elif any(h.kind in ("scalar", "pair") for h in self.helpers):
            simple.append((1, self.call_helper))
        if s.index_array and arrays:
            simple.append((1, self.write_through_indices))
        compound: list[tuple[int, Callable[..., Any]]] = []
        if self.budget > 1 and where.depth < 5:
            compound.append((7, self.branch))
            if where.loops < 3:
                compound += [(7 - 2 * where.loops, self.for_loop), (3 - where.loops, self.while_loop)]
            if len(arrays) > 1:
                compound.append((1, self.unrolled_loop))
        leave: list[tuple[int, Callable[..., Any]]] = []
        if where.depth:
            leave.append((3 if where.in_loop else 1, self.leave))
        return self.c.weighted([*simple, *compound, *leave])(s, where) is not False

    def assign_number(self, s: Scope, where: Block) -> None:
        name = self.new_name(s, "s")
        kind = self.c.integer(0, 9)
        if kind == 9:
            value = self.c.pick(("0", "1"))  # joins with floats later
        elif kind == 8 and [h for h in self.helpers if h.kind == "pair"]:
            helper = self.c.pick([h for h in self.helpers if h.kind == "pair"])
            other = self.c.pick([f for f in s.floats if f not in s.protected] or ["_"])
            self.emit(f"{name}, {other} = {helper.name}({self.number(s, 1)}, {self.number(s, 1)})")
            s.floats.append(name)
            return
        else:
            value = self.calm_number(s)
        if kind == 7 and [f for f in s.floats if f not in s.protected]:
            name += f" = {self.c.pick([f for f in s.floats if f not in s.protected])}"
        self.emit(f"{name} = {value}")
        s.floats.append(name.split(" ")[0])

    def update_number(self, s: Scope, where: Block) -> None:
        names = [f for f in s.floats if f not in s.protected]
        if not names:
            return self.assign_number(s, where)
        name = self.c.pick(names)
        form = self.c.pick(
            (
                "{0} = {1}",
                "{0} += 0.5 * {2}",
                "{0} -= 0.2 * {3}",
                "{0} *= {2}",
                "{0} = 0.7 * {0} + {2}",
                "{0} /= 1.0 + ({2}) ** 2",
            )
        )
        self.emit(form.format(name, self.calm_number(s), self.bounded(s, 1), self.leaf(s)))
        return None

    def swap_numbers(self, s: Scope, where: Block) -> None:
        names = [f for f in s.floats if f not in s.protected]
        if len(names) < 2:
            return self.assign_number(s, where)
        one = self.c.pick(names)
        other = self.c.pick([f for f in names if f != one])
        self.emit(f"{one}, {other} = {other}, {self.c.pick((one, f'{self.bounded(s, 1)} - 0.5 * {one}'))}")
        return None

    def assign_integer(self, s: Scope, where: Block) -> None:
        names = [k for k in s.ints if k not in s.protected]
        if names and self.c.chance(50):
            name = self.c.pick(names)
            self.emit(self.c.pick((f"{name} += {self.c.integer(1, 2)}", f"{name} = {self.integer(s, 2)} % 5")))
            s.ints[name] = []
            return
        name = self.new_name(s, "k")
        self.emit(f"{name} = {self.integer(s, 2)} % {self.c.integer(2, 5)}")
        s.ints[name] = []

    def array_of(self, s: Scope, rank: int | None = None, least: int = 1) -> str | None:
        """An array that may be written, if there is one."""
        names = [n for n, d in s.arrays.items() if rank in (None, len(d)) and min(x.least for x in d) >= least]
        return self.c.pick(names) if names else None

    def write_element(self, s: Scope, where: Block) -> None:
        name = self.array_of(s)
        assert name is not None
        target = self.element(s, name, s.arrays)
        form = self.c.pick(("{} = {}", "{} = {}", "{} += 0.5 * {}", "{} *= {}", "{} -= 0.3 * {}"))
        self.emit(form.format(target, self.calm_number(s) if " = " in form and "0" not in form else self.bounded(s, 1)))

    def region(self, s: Scope, name: str) -> tuple[str, Dims]:
        """A part of an array that is not one element: its subscript and extents."""
        dims = s.arrays[name]
        if len(dims) == 1:
            text, d = self.c.pick(self.ranges(dims[0]))
            return f"{name}[{text}]", (d,)
        kind = self.c.integer(0, 3)
        first, second = self.c.pick(self.ranges(dims[0])), self.c.pick(self.ranges(dims[1]))
        if kind == 0:
            return f"{name}[{self.position(s, name, 0, dims[0])}]", (dims[1],)
        if kind == 1:
            return f"{name}[:, {self.position(s, name, 1, dims[1])}]", (dims[0],)
        if kind == 2:
            return f"{name}[{self.position(s, name, 0, dims[0])}, {second[0]}]", (second[1],)
        return f"{name}[{first[0]}, {second[0]}]", (first[1], second[1])

    def write_range(self, s: Scope, where: Block) -> None:
        name = self.array_of(s)
        assert name is not None
        target, dims = self.region(s, name)
        form = self.c.pick(("{} = {}", "{} += 0.4 * {}", "{} *= np.cos({})", "{} = 0.5 * {}", "{} -= 0.3 * {}"))
        self.emit(form.format(target, self.calm_array(s, dims) if form == "{} = {}" else self.array(s, dims, 1)))

    def write_whole(self, s: Scope, where: Block) -> None:
        name = self.array_of(s)
        assert name is not None
        form = self.c.pick(("{}[:] = {}", "{} *= np.cos({})", "{} += 0.4 * {}", "{} -= 0.2 * {}"))
        self.emit(
            form.format(name, self.calm_array(s, s.arrays[name]) if " = " in form else self.array(s, s.arrays[name], 1))
        )

    def write_dynamic_range(self, s: Scope, where: Block) -> None:
        """A slice whose extent only the run knows (it may be empty)."""
        name = self.array_of(s)
        assert name is not None
        k = f"{self.integer(s)} % {len(s.arrays[name]) + 2}" if s.ints else str(self.c.integer(0, 3))
        part = f"{name}[{self.c.pick((f'{k}:', f':{k}', f'-1 - {k}:'))}]"
        other = f"{name}[::-1]{part.removeprefix(name)}"
        form = self.c.pick(("{0} = {1}", "{0} *= {1}", "{0} = 0.5 * {0} + {1}", "{0} = 0.7 * {2}"))
        self.emit(form.format(part, self.bounded(s, 1), other))

    def write_through_indices(self, s: Scope, where: Block) -> None:
        name = self.array_of(s, 1, 3)
        idx = s.index_array
        if name is None or self.c.chance(25):
            self.emit(f"{idx}[{self.c.integer(-3, 2)}] = {self.integer(s)} % 3")
            return
        form = self.c.pick(
            ("{0}[{1}] = {2}", "{0}[{1}] = 0.7 * {3}", "{0}[{1}] += 0.4 * {2}", "{0}[{1}] *= np.cos({3})")
        )
        self.emit(form.format(name, idx, self.bounded(s, 1), self.array(s, (INDEX,), 1)))

    def new_array(self, s: Scope, where: Block) -> None:
        source = self.c.pick(list(s.arrays))
        dims = s.arrays[source]
        name = self.new_name(s, "v")
        kind = self.c.integer(0, 12)
        if kind <= 2:
            self.emit(f"{name} = {self.calm_array(s, dims)} + 0.0 * {source}")
        elif kind == 10 and len(dims) == 1:
            self.emit(f"{name} = np.concatenate(({source}, {self.c.pick(self.parts(s, dims))}))")
            dims = (Dim(f"twice {dims[0]}", 0, 2 * dims[0].least) if dims[0].base else fixed(2 * dims[0].least),)
        elif kind == 11:
            self.emit(f"{name} = np.zeros((2, 3))")
            other = self.new_name(s, "w")
            shape, shown = self.c.pick((("6", (fixed(6),)), ("(3, 2)", (fixed(3), fixed(2))), ("-1", (fixed(6),))))
            s.arrays[name] = fixed(2), fixed(3)
            self.emit(f"{other} = {name}.reshape({shape})")
            s.arrays[other] = shown
            self.emit(f"{other}[1] = {self.bounded(s, 1)}")
            return
        elif kind == 12 and len(dims) == 1:
            self.emit(f"{name} = np.stack(({source}, {self.c.pick(self.parts(s, dims))}))")
            dims = fixed(2), *dims
        elif kind <= 4:
            self.emit(f"{name} = {source}.copy()")
        elif kind == 5:
            self.emit(f"{name} = np.zeros_like({source})")
        elif kind == 6:
            self.emit(f"{name} = np.empty_like({source})")
            self.emit(f"{name}[:] = {self.calm_array(s, dims)}")
        elif kind == 7:
            extents = ", ".join(f"{source}.shape[{k}]" for k in range(len(dims)))
            self.emit(f"{name} = np.full(({extents},), {self.bounded(s, 1)})")
        elif kind == 8:
            self.emit(f"{name} = np.array([{', '.join(self.calm_number(s) for _ in range(3))}])")
            dims = (fixed(3),)
        else:
            self.emit(f"{name} = np.zeros((2, 3))")
            dims = (fixed(2), fixed(3))
        s.arrays[name] = dims

    def new_view(self, s: Scope, where: Block) -> None:
        source = self.c.pick([n for n, d in s.arrays.items() if min(x.least for x in d) >= 1])
        name = self.new_name(s, "w")
        if len(s.arrays[source]) == 2 and self.c.chance(20):
            self.emit(f"{name} = {source}.T")
            s.arrays[name] = s.arrays[source][::-1]
            return
        text, dims = self.region(s, source)
        self.emit(f"{name} = {text}")
        s.arrays[name] = dims

    def new_alias(self, s: Scope, where: Block) -> None:
        one = self.c.pick(list(s.arrays))
        name = self.new_name(s, "c")
        same = [n for n, d in s.arrays.items() if d == s.arrays[one] and n != one]
        dims = s.arrays[one]
        if same and self.c.chance(60):
            other = self.c.pick(same)
            if self.c.chance(50):
                self.emit(f"{name} = {one} if {self.condition(s)} else {other}")
            else:
                self.emit(f"{name} = {one}")
                self.emit(f"if {self.condition(s)}:")
                with self.indented():
                    self.emit(f"{name} = {other}")
        else:
            self.emit(f"{name} = {one}")
        s.arrays[name] = dims

    def rebind_array(self, s: Scope, where: Block) -> None:
        names = [n for n in s.arrays if n not in s.protected]
        if not names:
            return self.new_array(s, where)
        name = self.c.pick(names)
        same = [n for n, d in s.arrays.items() if d == s.arrays[name] and n != name]
        if same and self.c.chance(35):
            self.emit(f"{name} = {self.c.pick(same)}")
        else:
            self.emit(f"{name} = {self.calm_array(s, s.arrays[name])} + 0.0 * {name}")
        return None

    def swap_arrays(self, s: Scope, where: Block) -> None:
        names = [n for n, d in s.arrays.items() if n not in s.protected]
        pairs = [(n, m) for n in names for m in names if n != m and s.arrays[n] == s.arrays[m]]
        if not pairs:
            return self.rebind_array(s, where)
        one, other = self.c.pick(pairs)
        third = [m for m in names if m not in (one, other) and s.arrays[m] == s.arrays[one]]
        if third and self.c.chance(30):
            self.emit(f"{one}, {other}, {third[0]} = {other}, {third[0]}, {one}")
        else:
            self.emit(f"{one}, {other} = {other}, {one}")
        return None

    def call_helper(self, s: Scope, where: Block) -> None:
        helper: Helper = self.c.pick(self.helpers)
        if helper.kind in ("scalar", "pair"):
            name = self.new_name(s, "s")
            suffix = "[1]" if helper.kind == "pair" else ""
            self.emit(f"{name} = {helper.name}({self.number(s, 1)}, {self.number(s, 1)}){suffix}")
            s.floats.append(name)
            return
        array = self.array_of(s, 1, 2)
        if array is None:
            return self.assign_number(s, where)
        dims = s.arrays[array]
        passed = self.c.pick(
            [p for p in self.parts(s, dims) if "idx" not in p and not p.startswith(tuple(s.tables))] or [array]
        )
        call = f"{helper.name}({passed}, {self.number(s, 1)})"
        if helper.kind == "write":
            self.emit(call)
        elif helper.kind == "reduce":
            name = self.new_name(s, "s")
            self.emit(f"{name} = {call}")
            s.floats.append(name)
        else:
            name = self.new_name(s, "v")
            self.emit(f"{name} = {call}")
            s.arrays[name] = dims

    def local_function(self, s: Scope, where: Block) -> None:
        name = self.new_name(s, "f")
        inner = s.inner()
        inner.floats.insert(0, "u")
        if self.c.chance(50):
            self.emit(f"{name} = lambda u: {self.number(inner, 2)}")
        else:
            self.emit(f"def {name}(u):")
            with self.indented():
                if self.c.chance(50):
                    self.emit(f"if {self.condition(inner)}:")
                    self.emit(f"    return {self.number(inner, 1)}")
                self.emit(f"return {self.number(inner, 2)}")
        s.functions.append(name)

    # ------------------------------------------------------------ control flow

    def leave(self, s: Scope, where: Block) -> bool:
        """break, continue or return, always behind a condition unless it ends a branch."""
        ways = ["return"]
        if where.in_loop:
            ways = ["break", "continue", "break", "continue", "return"]
        way = self.c.pick(ways)
        self.emit(f"if {self.condition(s)}:")
        with self.indented():
            if self.c.chance(30):
                self.statement(s.inner(), Block(where.returns, False, 9, 9))
            self.emit(self.returned(s, where) if way == "return" else way)
        return True

    def returned(self, s: Scope, where: Block) -> str:
        if where.returns == "nothing":
            return "return"
        if where.returns == "pair":
            return f"return {self.calm_number(s)}, {self.calm_number(s)}"
        if where.returns == "array":
            return f"return {self.c.pick(('v', self.calm_array(s, (HELPER,)) + ' + 0.0 * v'))}"
        return f"return {self.number(s, 2)} * 1.0"

    def branch(self, s: Scope, where: Block) -> bool:
        inside = Block(where.returns, where.in_loop, where.loops, where.depth + 1)
        joined = self.c.pick((None, None, "number", "array")) if s.arrays else self.c.pick((None, "number"))
        name, dims = "", ()
        if joined == "number":
            name = self.new_name(s, "s")
        elif joined == "array":
            name = self.new_name(s, "v")
            dims = s.arrays[self.c.pick(list(s.arrays))]

        def bind(inner: Scope) -> None:
            if joined == "number":
                self.emit(f"{name} = {self.c.pick(('0', '1')) if self.c.chance(20) else self.calm_number(inner)}")
            elif joined == "array":
                same = [n for n, d in inner.arrays.items() if d == dims]
                one = self.c.pick(same)
                self.emit(f"{name} = {self.c.pick((one, f'{self.calm_array(inner, dims)} + 0.0 * {one}'))}")

        arms = ["if"]
        if self.c.chance(20):
            arms.append("elif")
        if joined or self.c.chance(50):
            arms.append("else")
        reached = "else" not in arms
        for word in arms:
            if word == "if" and self.c.chance(8):
                bound = self.new_name(s, "y")
                self.emit(f"if ({bound} := {self.number(s, 1)}) > {self.c.pick(THRESHOLDS)}:")
                s.floats.append(bound)
            else:
                self.emit(f"{word} {self.condition(s)}:" if word != "else" else "else:")
            with self.indented():
                inner = s.inner()
                self.block(inner, inside, 1, 3)
                if self.c.chance(8) and where.depth < 4:
                    ways = ["break", "continue"] if where.in_loop else []
                    way = self.c.pick([*ways, "return"])
                    self.emit(self.returned(inner, where) if way == "return" else way)
                    continue
                bind(inner)
                reached = True
        if joined == "number" and reached:
            s.floats.append(name)
        elif joined == "array" and reached:
            s.arrays[name] = dims
        self.forget_integers(s)
        return reached

    def forget_integers(self, s: Scope) -> None:
        """After inner blocks, integers that are not counters may hold anything."""
        for k in s.ints:
            if k not in s.protected:
                s.ints[k] = []

    def for_loop(self, s: Scope, where: Block) -> bool:
        inner = s.inner()
        self.forget_integers(inner)
        arrays = [n for n, d in s.arrays.items()]
        i = self.new_name(s, "i")
        inner.ints[i] = []
        inner.protected.add(i)
        kind = self.c.weighted(LOOPS)
        if not arrays and kind not in ("range n", "static"):
            kind = "static"
        bound = self.c.pick([k for k in s.ints if k in s.protected] or ["3"])
        if kind == "range n":
            header = f"{i} in range({self.c.pick((bound, bound, f'{bound} + 1', f'{bound}, -1, -1', f'1, {bound}'))})"
        elif kind == "static":
            header = f"{i} in range({self.c.integer(2, 4)})"
        elif kind == "integers" and s.index_array:
            header = f"{i} in {s.index_array}"
        else:
            name = self.c.pick(arrays)
            dims = s.arrays[name]
            d = dims[0]
            e = self.new_name(s, "e")
            if kind in ("items", "reversed", "enumerate", "zip"):
                if len(dims) == 1:
                    inner.floats.append(e)
                    inner.protected.add(e) if self.c.chance(70) else None
                else:
                    inner.arrays[e] = dims[1:]
                if kind == "enumerate":
                    inner.ints[i] = [(i, d)]
                    header = f"{i}, {e} in enumerate({name})"
                elif kind == "zip":
                    header = f"{i}, {e} in zip(range({bound}), {name})"
                else:
                    del inner.ints[i]
                    header = f"{e} in {name}" if kind == "items" else f"{e} in reversed({name})"
            elif kind == "down":
                inner.ints[i] = [(i, d), (f"-1 - {i}", d)]
                header = f"{i} in range(len({name}) - 1, -1, -1)"
            elif kind == "from one":
                inner.ints[i] = [(i, d), (f"{i} - 1", d), (f"-{i}", d)]
                header = f"{i} in range(1, len({name}))"
            elif kind == "stepped":
                inner.ints[i] = [(i, d)]
                header = f"{i} in range({self.c.integer(0, 1)}, len({name}), 2)"
            else:
                inner.ints[i] = [(i, d)]
                if len(dims) == 2 and self.c.chance(50):
                    inner.ints[i] = [(i, dims[1])]
                    header = f"{i} in range({name}.shape[1])"
                else:
                    header = f"{i} in range(len({name}))"
        self.emit(f"for {header}:")
        return self.loop_body(s, inner, where)

    def loop_body(self, s: Scope, inner: Scope, where: Block) -> bool:
        inside = Block(where.returns, True, where.loops + 1, where.depth + 1)
        with self.indented():
            self.block(inner, inside, 1, 4)
        if self.c.chance(15):
            self.emit("else:")
            with self.indented():
                self.block(s.inner(), Block(where.returns, where.in_loop, where.loops, where.depth + 1), 1, 2)
        self.forget_integers(s)
        return True

    def while_loop(self, s: Scope, where: Block) -> bool:
        kind = self.c.integer(0, 3)
        k = self.new_name(s, "j")
        inner = s.inner()
        self.forget_integers(inner)
        if kind == 0:  # halving
            t = self.new_name(s, "t")
            self.emit(f"{t} = 1.5 + {self.c.pick(('np.abs({})', '({}) ** 2')).format(self.bounded(s, 1))}")
            self.emit(f"while {t} > {self.c.pick(('0.4', '0.9', '0.25'))}:")
            inner.floats.append(t)
            inner.protected.add(t)
            s.floats.append(t)
            with self.indented():
                self.emit(
                    f"{t} = {t} * {self.c.pick(('0.6', '(0.5 + 0.1 * {})'.format(f'np.sin({self.number(s, 1)})')))}"
                )
            return self.loop_body(s, inner, where)
        limit = self.c.pick(("3", "4", "n", "6") if "n" in s.ints else ("3", "4", "6"))
        self.emit(f"{k} = 0")
        s.ints[k] = []
        s.protected.add(k)
        inner.ints[k] = []
        inner.protected.add(k)
        if kind == 1:
            self.emit(f"while {k} < {limit}:")
        elif kind == 2:
            self.emit(f"while {k} < {limit} and {self.comparison(s)}:")
        else:
            self.emit("while True:")
        with self.indented():
            self.emit(f"{k} += 1")
            if kind == 3:
                self.emit(f"if {k} > {limit}:")
                self.emit("    break")
        return self.loop_body(s, inner, where)

    def unrolled_loop(self, s: Scope, where: Block) -> bool:
        """A loop over a tuple of arrays of one rank: each in turn under one name."""
        names = [n for n, d in s.arrays.items() if min(x.least for x in d) >= 1]
        first = self.c.pick(names)
        others = [n for n in names if n != first and s.arrays[n] == s.arrays[first]]
        if not others:
            return self.branch(s, where)
        r = self.new_name(s, "r")
        inner = s.inner()
        inner.arrays[r] = s.arrays[first]
        self.forget_integers(inner)
        self.emit(f"for {r} in ({first}, {self.c.pick(others)}):")
        with self.indented():
            self.block(inner, Block(where.returns, False, where.loops + 1, where.depth + 1), 1, 2)
        self.forget_integers(s)
        return True

    # ------------------------------------------------------------ functions

    def helper(self, number: int) -> None:
        kind = self.c.pick(("scalar", "write", "reduce", "array", "pair"))
        name = f"helper{number}"
        self.budget = self.c.integer(1, 5)
        if kind in ("scalar", "pair"):
            s = Scope(floats=["p", "q"])
            self.lines.append(f"def {name}(p, q):")
            where = Block("pair" if kind == "pair" else "number")
        else:
            s = Scope(floats=["p"], arrays={"v": (HELPER,)})
            self.lines.append(f"def {name}(v, p):")
            if kind == "array":
                s.protected.add("v")
            where = Block({"write": "nothing", "array": "array"}.get(kind, "number"))
        reached = self.block(s, where, 1, 3)
        if kind == "write":
            self.write_range(s, where)
        elif reached:
            self.emit(self.returned(s, where))
        self.lines += ["", ""]
        self.helpers.append(Helper(name, kind))

    def program(self) -> str:
        c = self.c
        shared = c.chance(50)
        a, rows = Dim("a", 0, 4), Dim("rows", 0, 3)
        columns = a if shared else Dim("columns", 0, 3)
        s = Scope(floats=["x"], ints={"n": []}, arrays={"a": (a,), "b": (rows, columns)}, index_array="idx")
        s.protected |= {"n"}
        if c.chance(25):
            self.lines.append("TABLE = np.array([0.5, -1.2, 0.7, 1.1])")
            s.tables["TABLE"] = (fixed(4),)
        if c.chance(15):
            self.lines.append("RATE = 0.7")
            s.floats.append("RATE")
            s.protected.add("RATE")
        if self.lines:
            self.lines += ["", ""]
        for number in range(c.pick((0, 1, 1, 2, 3))):
            self.helper(number)
        self.lines.append("def program(x, a, b, n, idx):")
        self.budget = c.integer(4, 28)
        reached = True
        while self.budget > 0 and reached:
            reached = self.statement(s, Block("number"))
        if reached:
            terms = [f"{0.7 + 0.2 * k:.1f} * {f}" for k, f in enumerate(s.floats[:4])]
            for name, dims in list(s.arrays.items())[:6]:
                terms.append(f"np.sum({name} * (0.3 + np.arange({name}.shape[{len(dims) - 1}])))")
            self.emit("return (")
            for k, term in enumerate(terms):
                self.emit(f"    {'+ ' if k else ''}{term}")
            self.emit(")")
        self.shared = shared
        return "\n".join(self.lines) + "\n"


INDEX = Dim("index", 0, 3)
HELPER = Dim("helper", 0, 2)


# ---------------------------------------------------------------- programs


_loaded = iter(range(10**9))


def load(text: str, **names: Any) -> Callable[..., Any]:
    """The function `program` of a text. Its source can be shown, as that of a function typed at a prompt."""
    file = f"<random program {next(_loaded)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    namespace: dict[str, Any] = {"np": np, "math": math, **names}
    exec(compile(text, file, "exec"), namespace)
    return namespace["program"]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class RandomProgram:
    """A program's text and its argument sets (x, a, b, n, idx). `number` is the seed, where there was one."""

    text: str
    argument_sets: tuple[tuple[Any, ...], ...]
    number: int | None = None

    @cached_property
    def function(self) -> Callable[..., Any]:
        return load(self.text)

    @cached_property
    def analytic(self) -> Callable[..., Any]:
        """The same text for complex numbers, so that complex step in plain Python is an exact derivative.

        `np`, `math`, `abs` and `max` are analytic twins; comparisons look at real parts first, as NumPy's do. Takes
        x as a NumPy scalar. A function that would drop an imaginary part raises.
        """
        function = load(self.text, np=ANALYTIC, math=ANALYTIC_MATH, abs=analytic_abs, max=analytic_max)

        def run(*args: Any) -> Any:
            with np.errstate(all="raise", under="ignore"), warnings.catch_warnings():
                warnings.simplefilter("error")
                return function(*args)

        return run

    def __str__(self) -> str:
        sets = "\n".join(f"# {args!r}".replace("\n", "\n#") for args in self.argument_sets)
        return f"# seed {self.number}\n{self.text}\n{sets}"


def arguments(c: Choices, shared: bool, number: int) -> tuple[Any, ...]:
    """One argument set. Elements come from a seeded generator: they have no structure worth shrinking."""
    rng = np.random.default_rng(c.integer(0, 10**6))
    length, rows = c.integer(4, 6), c.integer(3, 5)
    columns = length if shared else c.integer(3, 5)
    x = float(rng.uniform(0.2, 1.6)) * (-1.0) ** number
    a = rng.uniform(-1.5, 1.5, length)
    b = rng.uniform(-1.5, 1.5, (rows, columns))
    n = c.integer(0, 4) if number else c.integer(1, 3)
    return x, a, b, n, rng.integers(-3, 3, c.integer(3, 4))


MOST_LINES = 2500
LARGEST = 1e4


def problem(program: RandomProgram) -> str:
    """Why a program is of no use: it raises, runs long, or does not stay small. "" where it is fine."""
    for args in program.argument_sets:
        x, a, b, n, idx = args
        given = (x, a.copy(), b.copy(), n, idx.copy())
        lines = 0

        def count(frame: Any, event: str, _: Any) -> Any:
            nonlocal lines
            if not frame.f_code.co_filename.startswith("<random program"):
                return None
            lines += event == "line"
            if lines > MOST_LINES:
                raise TimeoutError
            return count

        before = sys.gettrace()
        sys.settrace(count)
        try:
            with np.errstate(all="raise", under="ignore"):
                value = program.function(*given)
        except TimeoutError:
            return "runs long"
        except (FloatingPointError, OverflowError):
            return "overflows"
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        finally:
            sys.settrace(before)
        if not (isinstance(value, float | np.floating) and abs(value) < LARGEST):
            return f"gives {type(value).__name__}" if np.ndim(value) else "grows"
        if any(not np.all(np.abs(array) < LARGEST) for array in given[1:3]):
            return "grows"
        if all(abs(nearby(program, args, relative) - value) > 1e-3 * (1 + abs(value)) for relative in (1e-14, -1e-14)):
            return "is chaotic: the last bits of its arguments decide"
    return ""


def nearby(program: RandomProgram, args: Any, relative: float) -> float:
    """The value at arguments that are hardly others."""
    x, a, b, n, idx = args
    with np.errstate(all="ignore"):
        return float(program.function(x * (1 + relative), a * (1 + relative), b * (1 + relative), n, idx.copy()))


def write(c: Choices, number: int | None = None) -> RandomProgram:
    writer = Writer(c)
    text = writer.program()
    sets = tuple(arguments(c, writer.shared, k) for k in range(3))
    return RandomProgram(text, sets, number)


def generate(seed: int) -> RandomProgram:
    """The program of a seed: the same on every machine."""
    c = Seeded(seed)
    while True:
        program = write(c, seed)
        if not problem(program):
            return program


@st.composite
def programs(draw: Any) -> RandomProgram:
    """Hypothesis strategy of programs."""
    program = write(Drawn(draw))
    assume(not problem(program))
    return program


# ---------------------------------------------------------------- analytic NumPy, for complex step in plain Python


def analytic_abs(z: Any) -> Any:
    return np.where(np.real(z) < 0, -z, z)[()]


def analytic_max(a: Any, b: Any) -> Any:
    return b if np.real(b) > np.real(a) else a


def larger(a: Any, b: Any) -> Any:
    return np.where(np.real(a) >= np.real(b), a, b)[()]


def smaller(a: Any, b: Any) -> Any:
    return np.where(np.real(a) <= np.real(b), a, b)[()]


def analytic_logaddexp(a: Any, b: Any) -> Any:
    high, low = larger(a, b), np.where(np.real(a) >= np.real(b), b, a)
    return high + np.log1p(np.exp(low - high))


class Analytic:
    """NumPy whose functions are analytic in complex arguments and whose new arrays are complex."""

    abs = staticmethod(analytic_abs)
    maximum = staticmethod(larger)
    minimum = staticmethod(smaller)
    logaddexp = staticmethod(analytic_logaddexp)
    arctan2 = staticmethod(lambda y, x: np.arctan(y / x))  # x > 0 in these programs
    clip = staticmethod(lambda z, low, high: smaller(larger(z, low), high))
    var = staticmethod(lambda z: np.mean((z - np.mean(z)) ** 2))
    zeros = staticmethod(lambda shape: np.zeros(shape, np.complex128))
    zeros_like = staticmethod(lambda like: np.zeros(like.shape, np.complex128))
    empty_like = staticmethod(lambda like: np.full(like.shape, np.nan, np.complex128))
    concatenate = staticmethod(lambda parts: np.concatenate(parts).astype(np.complex128))
    full = staticmethod(lambda shape, value: np.full(shape, value, np.complex128))
    array = staticmethod(lambda values: np.array(values, np.complex128))

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


class AnalyticMath:
    sin = staticmethod(np.sin)
    tanh = staticmethod(np.tanh)
    atan = staticmethod(np.arctan)


ANALYTIC = Analytic()
ANALYTIC_MATH = AnalyticMath()


if __name__ == "__main__":
    from differential import main

    main()
