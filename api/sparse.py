"""Sparse derivatives: `sparse_jacobian`, `sparse_hessian`.

In: a plain Python function, or one that another transform made. Out: a `SparseDerivative`, whose calls return a
`scipy.sparse.csr_array`. How:

    IR of the function (of the gradient, for Hessians)
      ── ir.adjoint.pattern ──▶ dependence program ── probing, once ──▶ pattern ── coloring ──▶ colours
      ── ir.adjoint.forward, lanes ──▶ tangent program ── per call, up to 8 colours a run ──▶ compressed ──▶ CSR

The pattern is structure: a superset of the elements that are not zero, for all values of the arguments, except those
that the dependence program reads because they decide positions, trip counts or branches (an index array, the `x` of
`while x > 1`); `data(*args)` names them. They are compared at each call, as are the shapes, and where they are not as
before the pattern is found anew.
"""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..codegen import Executable, compile_function
from ..ir import pipeline
from ..ir.adjoint.forward import jvp
from ..ir.adjoint.jacobian import LANES, shares
from ..ir.adjoint.lanes import in_lanes
from ..ir.adjoint.pattern import arguments_read, dependence
from ..ir.adjoint.vjp import vjp
from ..ir.core import Function, Region, Value, walk
from ..ir.errors import ArgumentError, InternalError, ShapeError
from ..ir.ops.callback import refuse_effects
from ..ir.rewrite import copy_op
from ..ir.types import Array, Scalar
from ..tracer import Result
from .coloring import color_columns
from .compiled import Compiled, Transform
from .probing import dense_rows, find_pattern, matrix_of
from .specialize import Specialization, checked_argnums, differentiated_leaves, interpreted, jit_disabled, static_names

__all__ = ["SparseDerivative", "sparse_hessian", "sparse_jacobian"]

Names = str | Iterable[str]
Argnums = int | tuple[int, ...]
Numbers = np.ndarray[Any, Any]
Places = tuple[slice | Numbers, Numbers, Numbers]

KEPT = 8
"""How many patterns of one program are kept, for different shapes and data."""


def sparse_jacobian(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    *,
    pattern: Any = None,
    static_argnames: Names = (),
) -> Any:
    """A function that computes the Jacobian of `function` with respect to the arguments `argnums` as a
    `scipy.sparse.csr_array`.

    Rows are the elements of the result, columns those of the arguments, each in C order; of several arrays (tuples,
    lists, dicts, several argnums) one after the other. Elements that are zero by value alone are stored. The pattern is
    found from the program and kept; with `pattern`, a sparse matrix that has every element that may be nonzero, it is
    not looked for. See `SparseDerivative`.

    >>> import numpy as np
    >>> from adjit import sparse_jacobian
    >>> differences = sparse_jacobian(lambda x: x[1:] ** 2 - x[:-1])
    >>> J = differences(np.array([1.0, 2.0, 4.0]))
    >>> J.shape, J.nnz
    ((2, 3), 4)
    >>> J.toarray()
    array([[-1.,  4.,  0.],
           [ 0., -1.,  8.]])
    """
    if function is None:
        return lambda f: SparseDerivative(f, checked_argnums(argnums), static_names(static_argnames), False, pattern)
    return SparseDerivative(function, checked_argnums(argnums), static_names(static_argnames), False, pattern)


def sparse_hessian(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    *,
    pattern: Any = None,
    static_argnames: Names = (),
) -> Any:
    """A function that computes the matrix of second derivatives of the scalar function `function` with respect to the
    arguments `argnums` as a `scipy.sparse.csr_array`; see `sparse_jacobian`.

    Each column is a product of the Hessian and a vector, forward mode over reverse mode. A few dense rows (a variable
    that meets all others) are taken from their columns.

    >>> import numpy as np
    >>> from adjit import sparse_hessian
    >>> sparse_hessian(lambda x: np.sum(x[1:] * x[:-1]))(np.ones(3)).toarray()
    array([[0., 1., 0.],
           [1., 0., 1.],
           [0., 1., 0.]])
    """
    if function is None:
        return lambda f: SparseDerivative(f, checked_argnums(argnums), static_names(static_argnames), True, pattern)
    return SparseDerivative(function, checked_argnums(argnums), static_names(static_argnames), True, pattern)


@dataclass(frozen=True)
class Structure:
    """A pattern, and how its matrix is computed: from sums of columns, those of one colour, and from sums of rows.

    `colors` are the columns' colours, `row_colors` those of the rows; -1 where a row or column is not computed so.
    `from_rows` says for each element of the pattern whether it is taken from the sum of rows."""

    pattern: Any
    colors: Numbers
    row_colors: Numbers
    from_rows: Numbers

    @cached_property
    def by_columns(self) -> Places:
        """The elements taken from sums of columns: which they are, their rows, the colours of their columns."""
        chosen = slice(None) if not self.row_colors.max(initial=-1) >= 0 else np.flatnonzero(~self.from_rows)
        return chosen, self.rows[chosen], self.colors[self.pattern.indices[chosen]]

    @cached_property
    def by_rows(self) -> Places:
        """The elements taken from sums of rows: which they are, their columns, the colours of their rows."""
        chosen = np.flatnonzero(self.from_rows)
        return chosen, self.pattern.indices[chosen], self.row_colors[self.rows[chosen]]

    @property
    def rows(self) -> Numbers:
        return np.repeat(np.arange(self.pattern.shape[0]), np.diff(self.pattern.indptr))


def structure_of(pattern: Any, symmetric: bool) -> Structure:
    """The colours of a pattern. Rows that are much longer than the others are computed by themselves, and where it
    takes less than half as many products, all rows (but not those of a Hessian, which are its columns)."""
    height, width = pattern.shape
    lengths = np.diff(pattern.indptr).astype(np.int64)
    few = dense_rows(lengths)
    row_colors = np.full(height, -1, np.int64)
    row_colors[few] = np.arange(len(few))
    from_rows = np.repeat(row_colors >= 0, lengths)
    rest = pattern
    if len(few):
        rows = np.repeat(np.arange(height), lengths)
        rest = matrix_of(rows[~from_rows], pattern.indices[~from_rows], pattern.shape)
    colors = color_columns(rest)
    count = count_of(colors)
    if not symmetric and pattern.nnz:
        least = int(np.bincount(pattern.indices, minlength=width).max())
        if 2 * least < count + 2 * len(few):
            all_rows = color_columns(pattern.T.tocsr())
            if 2 * count_of(all_rows) < count + 2 * len(few):
                return Structure(pattern, np.full(width, -1, np.int64), all_rows, np.ones(pattern.nnz, bool))
    return Structure(pattern, colors, row_colors, from_rows)


def count_of(colors: Numbers) -> int:
    return int(colors.max(initial=-1)) + 1


class Directions(NamedTuple):
    """A tangent program or a pullback, of one direction or of several in lanes."""

    executable: Executable
    function: Function
    lanes: int


@dataclass
class Program:
    """What is made of one specialization: dependence programs, tangent programs and pullbacks, each made when first
    needed, and the patterns found."""

    spec: Specialization
    wrt: list[int]
    symmetric: bool
    made: dict[tuple[bool, int], Directions] = field(default_factory=dict)
    shared: dict[bool, bool] = field(default_factory=dict)
    """Whether several directions share work: of the tangent program, of the pullback."""
    structures: dict[Any, Structure] = field(default_factory=dict)

    @cached_property
    def function(self) -> Function:
        out = self.spec.complete.stages.optimized
        refuse_effects(out.body, "a sparse derivative")
        return out

    @property
    def order(self) -> list[int]:
        """For each leaf of the user's result, which result of the function it is."""
        return [leaf.index for leaf in self.spec.results]

    def executable(self, function: Function) -> tuple[Executable, Function]:
        layouts = [*self.spec.layouts, *("C" if a.is_array else "" for a in function.args[len(self.spec.layouts) :])]
        finished = pipeline.finish(pipeline.optimize(function))
        return compile_function(finished, layouts), finished

    @cached_property
    def tangent(self) -> Function:
        return jvp(self.function, self.wrt, keep=[])

    @cached_property
    def pullback(self) -> Function:
        used = set(self.order)
        seeds = ["argument" if k in used else None for k in range(len(self.function.results))]
        return pipeline.optimize(vjp(self.function, self.wrt, seeds, keep=[]).function)

    @cached_property
    def dependence(self) -> tuple[Executable, Function]:
        return self.executable(dependence(self.function, self.wrt))

    @cached_property
    def transposed_dependence(self) -> tuple[Executable, Function]:
        cotangents = range(len(self.spec.layouts), len(self.pullback.args))
        return self.executable(without(pipeline.optimize(dependence(self.pullback, cotangents)), cotangents))

    @cached_property
    def read(self) -> list[int]:
        """The arguments whose values the pattern depends on."""
        return arguments_read(self.dependence[1], len(self.spec.layouts))

    @cached_property
    def read_by_transposed(self) -> list[int]:
        """The same of the transposed pattern."""
        return arguments_read(self.transposed_dependence[1], len(self.spec.layouts))

    @property
    def data(self) -> list[int]:
        """The arguments whose values the pattern depends on, as far as it has been looked for."""
        more = self.read_by_transposed if "transposed_dependence" in self.__dict__ else []
        return sorted({*self.read, *more})

    def key(self, leaves: Sequence[Any]) -> Any:
        """What the pattern depends on, at some arguments."""
        return tuple(np.shape(x) for x in leaves), tuple((k, digest(leaves[k])) for k in self.data)

    def directions(self, reverse: bool, colors: int) -> Directions:
        """The tangent program or the pullback for some colours at once: as many as there are, up to `LANES`."""
        function = self.pullback if reverse else self.tangent
        if reverse not in self.shared:
            self.shared[reverse] = shares(function)
        lanes = min(LANES, 1 << (colors - 1).bit_length()) if colors > 1 and self.shared[reverse] else 1
        if (reverse, lanes) not in self.made:
            first = len(self.spec.layouts)
            several = in_lanes(function, range(first, len(function.args)), lanes) if lanes > 1 else None
            if several is None:
                self.made[reverse, lanes] = Directions(*self.executable(function), 1)
            else:
                self.made[reverse, lanes] = Directions(*self.executable(several), lanes)
        return self.made[reverse, lanes]


def without(function: Function, numbers: Sequence[int]) -> Function:
    """A dependence program without the arguments it is about, of which it needs the extents alone: it has those of
    their sets, its last arguments."""
    args = function.args
    sets = dict(zip((args[k] for k in numbers), args[len(args) - len(numbers) :], strict=True))
    env: dict[Value, Value] = {}
    body = Region([a for k, a in enumerate(args) if k not in numbers])
    for op in function.body.ops:
        body.ops.append(copy_op(op, env))
    for op in walk(body):
        if op.name == "dim":
            op.operands[:] = [sets.get(v, v) for v in op.operands]
        elif any(v in sets for v in op.operands):
            raise InternalError(f"{op.name} of a cotangent decides what depends on what", op.span)
    return Function(function.name, body, dict(function.attrs))


class SparseDerivative:
    """A sparse Jacobian or Hessian; see the module's docstring. `pattern(*args)`, `colors(*args)` and
    `plot_pattern(*args)` tell what a call with these arguments would use, `data(*args)` what the pattern depends on."""

    def __init__(
        self, function: Callable[..., Any], argnums: Argnums, names: tuple[str, ...], symmetric: bool, pattern: Any
    ) -> None:
        if not callable(function):
            raise ArgumentError(f"a sparse derivative is of a function, not of {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self._argnums = argnums
        self._symmetric = symmetric
        self._given = None if pattern is None else given_pattern(pattern)
        self._given_structures: dict[bool, Structure] = {}
        transform = Transform("primal", None, False, names)
        if symmetric:
            function = Compiled(function, Transform("grad", argnums, False, names))
        self._function = function
        self._strict = Compiled(function, transform)
        self._loose = Compiled(function, replace(transform, loose=True))
        self._programs: dict[Any, Program] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The matrix."""
        return self._with_repeats(self._matrix, args, kwargs)

    def pattern(self, *args: Any, **kwargs: Any) -> Any:
        """The elements that may be nonzero, as a `csr_array` of booleans."""
        return self._with_repeats(self._structure, args, kwargs).pattern.copy()

    def colors(self, *args: Any, **kwargs: Any) -> Numbers:
        """For each column its colour, counted from 0: columns of one colour are computed together (-1: all rows are
        computed instead, by `row_colors`)."""
        return np.array(self._with_repeats(self._structure, args, kwargs).colors)

    def row_colors(self, *args: Any, **kwargs: Any) -> Numbers:
        """For each row that is computed as a row its colour, counted from 0; -1 for the others."""
        return np.array(self._with_repeats(self._structure, args, kwargs).row_colors)

    def data(self, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """The names of the arguments whose values decide the pattern: where one changes, it is found anew."""

        def names(compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
            program, leaves = self._prepared(compiled, args, kwargs)
            self._structure_of(program, leaves)
            return tuple(program.function.args[k].name or f"argument {k}" for k in program.data)

        return () if self._given is not None else self._with_repeats(names, args, kwargs)

    def plot_pattern(self, *args: Any, path: Any = None, **kwargs: Any) -> Any:
        """A picture of the pattern by matplotlib, which has to be installed; written to the file `path` where given.
        Returns the figure."""
        structure = self._with_repeats(self._structure, args, kwargs)
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ArgumentError("plot_pattern needs matplotlib", help="pip install matplotlib") from None
        pattern = structure.pattern
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.add_subplot()
        axes.spy(pattern, markersize=max(0.2, min(8.0, 250 / max(*pattern.shape, 1))), color="black")
        axes.set_title(
            f"{pattern.shape[0]} × {pattern.shape[1]}, {pattern.nnz} elements\n"
            f"colours of columns: {count_of(structure.colors)}, of rows: {count_of(structure.row_colors)}"
        )
        if path is not None:
            figure.savefig(path)
        return figure

    def __reduce__(self) -> Any:
        """By name, where a module has it under its name (a decorated function); else by what it was made of."""
        name: str = getattr(self, "__qualname__", "")
        found: Any = sys.modules.get(self.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        names = self._strict._transform.static_argnames
        return SparseDerivative, (self.__wrapped__, self._argnums, names, self._symmetric, self._given)

    def __repr__(self) -> str:
        kind = "sparse_hessian" if self._symmetric else "sparse_jacobian"
        return f"<adjit.{kind} of {getattr(self.__wrapped__, '__qualname__', self.__wrapped__)}>"

    # ------------------------------------------------------------ how

    def _with_repeats(self, run: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """`run`, once more with extents of 1 repeated where one turns out to be 1 by chance."""
        try:
            return run(self._strict, args, kwargs)
        except ShapeError as error:
            if not error.repeats:
                raise
        return run(self._loose, args, kwargs)

    def _prepared(self, compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Program, list[Any]]:
        call = compiled._flatten(args, kwargs)
        spec, captured = compiled._specialization(call)
        key = (compiled is self._loose, call.key)
        program = self._programs.get(key)
        if program is None or program.spec is not spec:
            wrt = differentiated_leaves(self.__wrapped__, Transform("jacfwd", self._argnums, False, ()), call)
            check_results(spec, getattr(self.__wrapped__, "__name__", "the function"))
            program = self._programs[key] = Program(spec, wrt, self._symmetric)
        return program, [*call.dynamic, *captured]

    def _structure(self, compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Structure:
        program, leaves = self._prepared(compiled, args, kwargs)
        return self._structure_of(program, leaves)

    def _structure_of(self, program: Program, leaves: list[Any]) -> Structure:
        if self._given is not None:
            if not self._given_structures:
                self._given_structures[True] = structure_of(self._given, self._symmetric)
            return self._given_structures[True]
        kept = program.structures
        found = kept.get(program.key(leaves))
        if found is None:
            pattern = detected(program, leaves)
            same = next((s for s in list(kept.values()) if same_pattern(s.pattern, pattern)), None)
            found = same or structure_of(pattern, self._symmetric)
            while len(kept) >= KEPT:
                kept.pop(next(iter(kept)), None)
            kept[program.key(leaves)] = found  # the key may say more than before: what reverse mode reads
        return found

    def _matrix(self, compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from scipy.sparse import csr_array

        program, leaves = self._prepared(compiled, args, kwargs)
        structure = self._structure_of(program, leaves)
        pattern = structure.pattern
        inputs = [leaves[k] for k in program.wrt]
        if self._given is not None:
            width = sum(np.size(x) for x in inputs)
            if pattern.shape[1] != width:
                raise ArgumentError(f"the pattern has {pattern.shape[1]} columns, the arguments have {width} elements")
            results = results_of(program, leaves)
            height = sum(np.size(results[k]) for k in program.order)
            if pattern.shape[0] != height:
                raise ArgumentError(f"the pattern has {pattern.shape[0]} rows, the result has {height} elements")
        values = elements(program, leaves, structure)
        return csr_array((values, pattern.indices.copy(), pattern.indptr.copy()), shape=pattern.shape)


def given_pattern(pattern: Any) -> Any:
    """A pattern of the user's, sorted and without repetitions."""
    from scipy.sparse import coo_array

    found = coo_array(pattern)
    if found.ndim != 2:
        raise ArgumentError(f"pattern= has {found.ndim} axes, a matrix has 2")
    rows, columns = found.coords
    return matrix_of(rows, columns, found.shape)


def digest(leaf: Any) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(leaf).view(np.uint8).data, digest_size=32).digest()


def same_pattern(a: Any, b: Any) -> bool:
    return (
        a.shape == b.shape
        and a.nnz == b.nnz
        and np.array_equal(a.indptr, b.indptr)
        and np.array_equal(a.indices, b.indices)
    )


def check_results(spec: Specialization, name: str) -> None:
    """ArgumentError unless every result is a float."""
    types = spec.complete.stages.optimized.results
    for leaf in spec.results:
        t = types[leaf.index].type if isinstance(leaf, Result) else None
        if not isinstance(t, Scalar | Array) or not t.dtype.is_float:
            raise ArgumentError(
                f"`{name}` returns {leaf if t is None else t}, which has no derivative",
                help="return floats and arrays of floats that depend on the arguments",
            )


def run(executable: Executable, function: Function, leaves: Sequence[Any]) -> list[Any]:
    return interpreted(function, leaves) if jit_disabled() else executable.run(leaves)


def in_shapes(flat: Numbers, like: Sequence[Any]) -> list[Any]:
    """The elements (first axis) of a flat array as leaves of these shapes; further axes stay."""
    out, first = [], 0
    for x in like:
        part = flat[first : first + np.size(x)]
        first += np.size(x)
        shape = (*np.shape(x), *flat.shape[1:])
        out.append(np.ascontiguousarray(part.reshape(shape)) if shape else part[0])
    return out


def joined(found: Sequence[Any], order: Sequence[int], lanes: bool) -> Numbers:
    """Results as one array with an axis of all elements, in the order given."""
    parts = [np.asarray(found[k]) for k in order]
    return np.concatenate([p.reshape(-1, p.shape[-1]) if lanes else p.reshape(-1) for p in parts])


def results_of(program: Program, leaves: list[Any]) -> list[Any]:
    """The results of the function."""
    return run(program.spec.executable, program.spec.complete.forward, leaves)


def seeds_of(flat: Numbers, results: Sequence[Any], order: Sequence[int]) -> list[Any]:
    """What flat cotangents of the user's result, or sets, are for each result of the function, one that is in the
    user's result several times included."""
    out: dict[int, Any] = {}
    for k, part in zip(order, in_shapes(flat, [results[k] for k in order]), strict=True):
        out[k] = part if k not in out else out[k] | part
    return [out[k] for k in sorted(out)]


def detected(program: Program, leaves: list[Any]) -> Any:
    """The pattern, by the dependence programs."""
    inputs = [leaves[k] for k in program.wrt]
    width = sum(np.size(x) for x in inputs)
    results = results_of(program, leaves)
    height = sum(np.size(results[k]) for k in program.order)

    def product(bits: Numbers) -> Numbers:
        seeds = [int(s) if np.ndim(s) == 0 else s for s in in_shapes(bits, inputs)]
        found = run(*program.dependence, [*leaves, *seeds])
        return joined(found, program.order, False).astype(np.int64, copy=False)

    def transposed(bits: Numbers) -> Numbers:
        if program.symmetric:
            return product(bits)
        executable, function = program.transposed_dependence
        seeds = [int(s) if np.ndim(s) == 0 else s for s in seeds_of(bits, results, program.order)]
        found = run(executable, function, [*leaves, *seeds])
        return joined(found, range(len(inputs)), False).astype(np.int64, copy=False)

    return find_pattern(product, transposed, (height, width))


def elements(program: Program, leaves: list[Any], structure: Structure) -> Numbers:
    """The values of the elements of the pattern."""
    inputs = [leaves[k] for k in program.wrt]
    dtypes = [program.function.args[k].dtype.numpy for k in program.wrt]
    order = program.order
    out = np.zeros(structure.pattern.nnz, np.result_type(*(program.function.results[k].dtype.numpy for k in order)))

    def compressed(reverse: bool, colors: Numbers, split: Callable[[Numbers], list[Any]], given: list[Any]) -> Numbers:
        """The sums of the columns, or rows, of each colour, side by side."""
        count = count_of(colors)
        executable, function, lanes = program.directions(reverse, count)
        parts = []
        for first in range(0, count, lanes):
            chosen = colors[:, None] == np.arange(first, first + lanes) if lanes > 1 else colors == first
            seeds = [np.asarray(s).astype(t)[()] for s, t in zip(split(chosen), given, strict=True)]
            places = range(len(inputs)) if reverse else order
            found = joined(run(executable, function, [*leaves, *seeds]), places, lanes > 1)
            parts.append(found if lanes > 1 else found[:, None])
        return np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]

    def forward(colors: Numbers) -> Numbers:
        return compressed(False, colors, lambda flat: in_shapes(flat, inputs), dtypes)

    chosen, rows, colors = structure.by_columns
    if len(rows):
        out[chosen] = forward(structure.colors)[rows, colors]
    chosen, columns, colors = structure.by_rows
    if len(columns):
        if program.symmetric:
            found = forward(structure.row_colors)
        else:
            results = results_of(program, leaves)
            given = [program.function.results[k].dtype.numpy for k in sorted(set(order))]
            found = compressed(True, structure.row_colors, lambda flat: seeds_of(flat, results, order), given)
        out[chosen] = found[columns, colors]
    return out
