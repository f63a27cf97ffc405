"""A function of the IR with all of its derivatives, and references for each, to compare.

In: a function whose float arguments are differentiated (`program` makes one of a single operation), and arguments.
Out: `Derivatives`, which runs in the interpreter

* the function (`value`), its tangent program (`tangent`) and its pullback (`pullback`),
* the tangent of the pullback (forward over reverse) and the pullback of the pullback (reverse over reverse),
* for reference `jacobian` and `along` directions: by complex step, or by differences where an operation does not run
  on complex numbers.

The checks at the end (`forward_is_reverse`, `reverse_is_exact`, `second_order_is_exact`, `shapes_fit`) compare them.

Nothing here knows a rule: the drivers of `adjit.ir.adjoint` apply them, as they do for a whole program.
"""

from functools import cached_property

import numpy as np
from ops_cases import domains, is_free

from adjit.ir.adjoint import vjp
from adjit.ir.adjoint.forward import jvp
from adjit.ir.core import Builder, Const, Function, Region, Value, const
from adjit.ir.errors import UnsupportedError
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY
from adjit.ir.types import BOOL, F64, I64, Array, Scalar, dtype_of, make
from adjit.ir.verify import verify

STEP = 1e-30


def arguments(operands, static, dtype=F64):
    """IR values for operands: with `static`, extents belong to the types and integers are constants."""
    out = []
    for k, x in enumerate(operands):
        a = np.asarray(x)
        kind = dtype if is_free(x) else BOOL if a.dtype == bool else dtype_of(a.dtype)
        if static and not a.shape and kind is I64:
            out.append(const(int(a)))
        else:
            needed = static or (a.ndim and 1 in a.shape)  # an axis is stretched only where its 1 is static
            out.append(Value(make(kind, a.shape if needed else (None,) * a.ndim), f"x{k}"))
    return out


def program(name, operands, attrs, static=False, dtype=F64):
    """(the operation as a function of its operands, the arguments it takes: not the operands that are constants)."""
    values = arguments(operands, static, dtype)
    if REGISTRY[name].category == "elementwise" and REGISTRY[name].domain is not None:
        for k, domain in enumerate(domains(REGISTRY[name])):
            values[k] = const(float(operands[k]), dtype) if domain == "whole" else values[k]
    free = [k for k, v in enumerate(values) if not isinstance(v, Const)]
    f = Function(name, Region([values[k] for k in free]))
    with Builder(f.body) as b:
        b.emit("return", b.emit(name, values, attrs))
    verify(f)
    return f, [operands[k] for k in free]


def is_float(value):
    return isinstance(value.type, Scalar | Array) and value.dtype.is_float


def tangents_of(function):
    """(numbers of the float arguments by which a function can be differentiated, its tangent program by those)."""
    floats = [k for k, v in enumerate(function.args) if is_float(v)]
    try:
        return floats, checked(jvp(function, floats, keep=[]))
    except UnsupportedError:
        possible = [k for k in floats if has_derivative(function, k)]
        return possible, checked(jvp(function, possible, keep=[]))


def has_derivative(function, k):
    try:
        jvp(function, [k], keep=[])
    except UnsupportedError:
        return False
    return True


class Derivatives:
    """See the module's docstring. `args` are the function's; the floats are differentiated, but for those by which
    an operation refuses to be (see `adjit.ir.ops.named.refused`)."""

    def __init__(self, function, args):
        self.function = function
        self.args = list(args)
        self.wrt, self.tangent_program = tangents_of(function)
        self.floats = [k for k, v in enumerate(function.results) if is_float(v)]
        self.seeds = ["argument" if is_float(v) else None for v in function.results]

    # ------------------------------------------------------------ programs

    @cached_property
    def pullback_program(self):
        return checked(vjp(self.function, self.wrt, self.seeds, keep=[]).function)

    @cached_property
    def second(self):
        """The derivatives of the pullback, by the differentiated arguments and by the cotangents."""
        return Derivatives(self.pullback_program, [*self.args, *self.cotangents])

    # ------------------------------------------------------------ given directions and cotangents

    @cached_property
    def value(self):
        return run(self.function, self.args)

    @cached_property
    def cotangents(self):
        """One of each float result, away from 0."""
        return draws([self.value[k] for k in self.floats], 0.5, 2.0, 3)

    @cached_property
    def directions(self):
        """One of each differentiated argument."""
        return draws([self.args[k] for k in self.wrt], -1.0, 1.0, 11)

    # ------------------------------------------------------------ derivatives

    @cached_property
    def tangents(self):
        """Of each float result, along the directions."""
        return run(self.tangent_program, [*self.args, *self.directions])

    @cached_property
    def gradients(self):
        """Of each differentiated argument."""
        return run(self.pullback_program, [*self.args, *self.cotangents])

    # ------------------------------------------------------------ references

    def results(self, args):
        """The float results as one vector."""
        found = run(self.function, args)
        return np.concatenate([np.ravel(found[k]) for k in self.floats] or [np.zeros(0)])

    def moved(self, by):
        """The arguments, the differentiated ones plus something."""
        args = list(self.args)
        for k, d in zip(self.wrt, by, strict=True):
            args[k] = (np.asarray(args[k]) + d)[()]
        return args

    @cached_property
    def is_analytic(self):
        """Whether the function runs on complex numbers."""
        try:
            self.results(self.moved([STEP * 1j * np.asarray(d) for d in self.directions]))
        except TypeError:
            return False
        return True

    def along(self, directions):
        """The derivative of the float results, as one vector, along directions."""
        if self.is_analytic:
            return np.imag(self.results(self.moved([STEP * 1j * np.asarray(d) for d in directions]))) / STEP
        return self.difference(directions)

    def difference(self, directions, h=2e-4):
        """The same by differences, extrapolated."""
        scaled = [np.asarray(d) for d in directions]

        def central(h):
            up, down = (self.results(self.moved([s * h * d for d in scaled])) for s in (1, -1))
            return (up - down) / (2 * h)

        return (4 * central(h / 2) - central(h)) / 3

    def jacobian(self, along=None):
        """Per differentiated argument, the derivative of all results by each of its elements (along the first axes)."""
        zeros = [np.zeros(np.shape(self.args[k])) for k in self.wrt]
        out = []
        for k, zero in enumerate(zeros):
            rows = []
            for index in np.ndindex(zero.shape):
                unit = zero.copy()
                unit[index] = 1.0
                rows.append((along or self.along)([*zeros[:k], unit, *zeros[k + 1 :]]))
            size = sum(np.size(self.value[j]) for j in self.floats)
            out.append(np.reshape(rows, (*zero.shape, size)))
        return out

    def flat(self, parts):
        return np.concatenate([np.ravel(p) for p in parts] or [np.zeros(0)])


def checked(function):
    verify(function)
    return function


def draws(like, low, high, seed):
    """Random numbers of the shapes and dtypes of some values."""
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.uniform(low, high, np.shape(x)), np.asarray(x).dtype)[()] for x in like]


def inner(a, b):
    """(the inner product of two lists of arrays, the size of its terms)."""
    terms = [np.ravel(np.asarray(x, float) * np.asarray(y, float)) for x, y in zip(a, b, strict=True)]
    every = np.concatenate([*terms, np.zeros(1)])
    return float(np.sum(every)), float(np.sum(np.abs(every)))


# ---------------------------------------------------------------- comparisons


def close(got, expected, rtol, floor=1e-14):
    scale = max(1.0, *(float(np.max(np.abs(e), initial=0)) for e in expected)) if expected else 1.0
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=rtol, atol=floor * scale)


def forward_is_reverse(d):
    """<cotangents, tangents> = <gradients, directions> to 1e-12."""
    (a, size), (b, other) = inner(d.cotangents, d.tangents), inner(d.gradients, d.directions)
    assert abs(a - b) <= 1e-12 * max(size, other), f"forward {a!r}, reverse {b!r}"


def shapes_fit(d):
    for parts, like in ((d.tangents, [d.value[k] for k in d.floats]), (d.gradients, [d.args[k] for k in d.wrt])):
        for part, x in zip(parts, like, strict=True):
            assert np.shape(part) == np.shape(x) and np.asarray(part).dtype == np.asarray(x).dtype


def reverse_is_exact(d):
    """The gradients against the whole Jacobian, by complex step (1e-10) or differences (1e-6)."""
    cotangents = d.flat(d.cotangents)
    expected = [rows @ cotangents for rows in d.jacobian()]
    close(d.gradients, expected, *((1e-10,) if d.is_analytic else (1e-6, 1e-9)))


def second_order_is_exact(d):
    """Forward over reverse against complex step of the pullback; reverse over reverse against that."""
    shapes_fit(d.second)
    exact = d.second.along(d.second.directions)
    tolerance = (1e-10,) if d.second.is_analytic else (1e-6, 1e-9)
    close([d.second.flat(d.second.tangents)], [exact], *tolerance)
    forward_is_reverse(d.second)
