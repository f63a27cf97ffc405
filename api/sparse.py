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
from ..ir.core import Function
from ..ir.errors import ArgumentError, ShapeError
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
    """A pattern, and how its matrix is computed. `alone`: dense rows (of a Hessian), taken from their columns, whose
    colours come first."""

    pattern: Any
    colors: Numbers
    count: int
    rows: Numbers
    """For each element of the pattern, the row of the compressed matrix it is in; its column is in `places`."""
    places: Numbers


def structure_of(pattern: Any, symmetric: bool) -> Structure:
    """The colours of a pattern, and where its elements are found in the compressed matrix."""
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    columns = pattern.indices.astype(np.int64)
    alone = np.zeros(0, np.int64)
    if symmetric:
        alone = dense_rows(np.diff(pattern.indptr).astype(np.int64), pattern.shape[1])
    if not len(alone):
        colors = color_columns(pattern)
        return Structure(pattern, colors, int(colors.max(initial=0)) + 1, rows, colors[columns])
    is_alone = np.zeros(pattern.shape[1], bool)
    is_alone[alone] = True
    rest = ~is_alone[rows] & ~is_alone[columns]
    colors = color_columns(matrix_of(rows[rest], columns[rest], pattern.shape)) + len(alone)
    colors[alone] = np.arange(len(alone))
    turned = is_alone[rows] & ~is_alone[columns]
    source_rows, source_columns = np.where(turned, columns, rows), np.where(turned, rows, columns)
    return Structure(pattern, colors, int(colors.max()) + 1, source_rows, colors[source_columns])


class Directions(NamedTuple):
    """A tangent program, of one direction or of several in lanes."""

    executable: Executable
    function: Function
    lanes: int


@dataclass
class Program:
    """What is made of one specialization: the dependence program, the tangent programs, and the patterns found."""

    spec: Specialization
    wrt: list[int]
    symmetric: bool
    tangents: dict[int, Directions] = field(default_factory=dict)
    structures: dict[Any, Structure] = field(default_factory=dict)

    @cached_property
    def function(self) -> Function:
        return self.spec.complete.stages.optimized

    def executable(self, function: Function) -> tuple[Executable, Function]:
        layouts = [*self.spec.layouts, *("C" if a.is_array else "" for a in function.args[len(self.spec.layouts) :])]
        finished = pipeline.finish(pipeline.optimize(function))
        return compile_function(finished, layouts), finished

    @cached_property
    def dependence(self) -> tuple[Executable, Function]:
        return self.executable(dependence(self.function, self.wrt))

    @cached_property
    def read(self) -> list[int]:
        """The arguments whose values the pattern depends on."""
        return arguments_read(self.dependence[1], len(self.spec.layouts))

    @cached_property
    def tangent(self) -> Function:
        return jvp(self.function, self.wrt, keep=[])

    @cached_property
    def has_shared_work(self) -> bool:
        return shares(self.tangent)

    def directions(self, colors: int) -> Directions:
        """The tangent program for some colours at once: as many as there are, up to `LANES`."""
        lanes = min(LANES, 1 << (colors - 1).bit_length()) if colors > 1 and self.has_shared_work else 1
        if lanes not in self.tangents:
            first = len(self.spec.layouts)
            several = in_lanes(self.tangent, range(first, len(self.tangent.args)), lanes) if lanes > 1 else None
            if several is None:
                self.tangents[lanes] = Directions(*self.executable(self.tangent), 1)
            else:
                self.tangents[lanes] = Directions(*self.executable(several), lanes)
        return self.tangents[lanes]


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
        """For each column its colour, counted from 0: columns of one colour are computed together."""
        return np.array(self._with_repeats(self._structure, args, kwargs).colors)

    def data(self, *args: Any, **kwargs: Any) -> tuple[str, ...]:
        """The names of the arguments whose values decide the pattern: where one changes, it is found anew."""

        def names(compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, ...]:
            program, _ = self._prepared(compiled, args, kwargs)
            return tuple(program.function.args[k].name or f"argument {k}" for k in program.read)

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
            f"{pattern.shape[0]} × {pattern.shape[1]}, {pattern.nnz} elements, "
            f"{structure.count} {'colour' if structure.count == 1 else 'colours'}"
        )
        if path is not None:
            figure.savefig(path)
        return figure

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
        shapes = tuple(np.shape(x) for x in leaves)
        key = (shapes, tuple(digest(leaves[k]) for k in program.read))
        kept = program.structures
        if key not in kept:
            pattern = detected(program, leaves)
            same = next((s for s in kept.values() if same_pattern(s.pattern, pattern)), None)
            if len(kept) >= KEPT:
                del kept[next(iter(kept))]
            kept[key] = same or structure_of(pattern, self._symmetric)
        return kept[key]

    def _matrix(self, compiled: Compiled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        from scipy.sparse import csr_array

        program, leaves = self._prepared(compiled, args, kwargs)
        structure = self._structure_of(program, leaves)
        pattern = structure.pattern
        inputs = [leaves[k] for k in program.wrt]
        width = sum(np.size(x) for x in inputs)
        if pattern.shape[1] != width:
            raise ArgumentError(f"the pattern has {pattern.shape[1]} columns, the arguments have {width} elements")
        data = compressed(program, leaves, structure)
        if data.shape[0] != pattern.shape[0]:
            raise ArgumentError(f"the pattern has {pattern.shape[0]} rows, the result has {data.shape[0]} elements")
        values = data[structure.rows, structure.places]
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


def joined(program: Program, found: Sequence[Any], lanes: bool) -> Numbers:
    """Results as one array with an axis of all elements, in the order of the user's result."""
    order = [leaf.index for leaf in program.spec.results]
    parts = [np.asarray(found[k]) for k in order]
    return np.concatenate([p.reshape(-1, p.shape[-1]) if lanes else p.reshape(-1) for p in parts])


def detected(program: Program, leaves: list[Any]) -> Any:
    """The pattern, by the dependence program."""
    executable, function = program.dependence
    inputs = [leaves[k] for k in program.wrt]
    width = sum(np.size(x) for x in inputs)

    def product(bits: Numbers) -> Numbers:
        seeds = in_shapes(bits, inputs)
        found = run(executable, function, [*leaves, *(int(s) if np.ndim(s) == 0 else s for s in seeds)])
        return joined(program, found, False).astype(np.int64, copy=False)

    height = len(product(np.zeros(width, np.int64)))
    return find_pattern(product, (height, width), program.symmetric)


def compressed(program: Program, leaves: list[Any], structure: Structure) -> Numbers:
    """The sums of the columns of each colour, side by side."""
    inputs = [leaves[k] for k in program.wrt]
    dtypes = [program.function.args[k].dtype.numpy for k in program.wrt]
    executable, function, lanes = program.directions(structure.count)
    out: list[Numbers] = []
    for first in range(0, structure.count, lanes):
        seeds = structure.colors == first
        if lanes > 1:
            seeds = structure.colors[:, None] == np.arange(first, first + lanes)
        given = [s.astype(t) for s, t in zip(in_shapes(seeds, inputs), dtypes, strict=True)]
        found = joined(program, run(executable, function, [*leaves, *given]), lanes > 1)
        out.append(found if lanes > 1 else found[:, None])
    return np.concatenate(out, axis=1) if len(out) > 1 else out[0]
