"""Solvers, differentiated by what they solve: `custom_root` and `custom_linear_solve` inside a trace.

In: the function whose root is wanted (or the linear map), the solver, abstract arguments. Out: the solver's result,
marked by an operation `custom` (`ir.ops.custom`) whose rule comes from the implicit function theorem, so that the
solver's own steps are never differentiated. What is differentiated besides the arguments is what the function captures:

    f(x, theta) = 0      =>      dx = -(df/dx)^-1 (df/dtheta dtheta)
    A(theta) x = b       =>      dx = A^-1 (db - dA x),      bbar = A^-T xbar,  thetabar = -<bbar, dA/dtheta x>
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from ..ir.adjoint import jvp as ir_jvp
from ..ir.adjoint import vjp as ir_vjp
from ..ir.core import Function, Region, Value, builder, const
from ..ir.ops.callback import refuse_effects
from ..ir.rewrite import clone_region, inline
from . import calls, views
from .broadcasting import agree
from .context import Tracer
from .custom import DEEPEST, directions_like, dynamic, floats_of, marked, zero
from .numeric import describe
from .programs import (
    Derivative,
    Program,
    arranged,
    leaves,
    only,
    program,
    refuse,
    results_of,
    structure,
    tree_map,
    value_of,
)
from .values import Number, Reference

__all__ = ["KINDS", "bind_custom_linear_solve", "bind_custom_root"]


@dataclass(eq=False)
class LinearMap:
    """A linear function that exists as IR only: `apply` takes and gives the values of leaves."""

    apply: Callable[[list[Value]], list[Value]]
    tree: Any
    kind: str = "linear map"
    __name__ = "linear map"

    @property
    def __adjit_derivative__(self) -> LinearMap:
        return self

    def __call__(self, *args: Any) -> NoReturn:
        raise NotImplementedError("called by the tracer")


def apply_map(t: Tracer, made: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    if len(args) != 1 or kwargs or structure(t, args[0]) != structure(t, made.tree):
        refuse(t, "this linear function takes one vector, of the structure of the solution", "pass just that")
    found = iter(made.apply([value_of(t, leaf) for leaf in leaves(t, arranged(t, args[0], made.tree))]))
    return like(t, made.tree, lambda: next(found))


def like(t: Tracer, tree: Any, following: Callable[[], Value]) -> Any:
    """A structure like one of numbers and arrays, of other values."""

    def leaf(_: Any) -> Any:
        value = following()
        return t.new_array(value) if value.is_array else Number(value, True)

    return tree_map(t, leaf, tree)


def as_leaf(t: Tracer, value: Value) -> Any:
    return t.new_array(value) if value.is_array else Number(value)


@dataclass(eq=False)
class Equation:
    """The function as IR: its first arguments are the leaves of x; the floats among the others are parameters."""

    program: Program
    count: int

    @property
    def parameters(self) -> list[int]:
        args = self.program.function.args
        return [k for k in range(self.count, len(args)) if args[k].dtype.is_float]

    def operands(self, x: Sequence[Value], parameters: Sequence[Value]) -> list[Value]:
        out = [*x, *self.program.operands[self.count :]]
        for k, value in zip(self.parameters, parameters, strict=True):
            out[k] = value
        return out

    @property
    def function(self) -> Function:
        return self.program.function


def equation(t: Tracer, what: str, f: Any, x: Any) -> Equation:
    """The function traced at something like `x`; it must give something like `x`, and its results are in that order."""
    p = program(t, f, [x], {}, ())
    refuse_effects(p.function.body, "an equation to solve")
    found = results_of(t, p.result, dict(enumerate(inline(p.function, p.operands))))  # for its extents
    require_alike(t, what, found, x)
    p.function = only(p, [o.index for o in p.outputs_of(t, arranged(t, p.result, x))])
    return Equation(p, dynamic(t, x))


def require_alike(t: Tracer, what: str, found: Any, x: Any) -> None:
    """That `what` gives something of the structure, shapes and dtypes of `x`."""
    alike = structure(t, found) == structure(t, x)
    pairs = list(zip(leaves(t, arranged(t, found, x) if alike else found), leaves(t, x), strict=False))
    if not alike or not all(
        isinstance(a, Number | Reference) and a.dtype is b.dtype and rank_of(a) == rank_of(b) for a, b in pairs
    ):
        refuse(
            t,
            f"{what} gives {describe(found)} for {describe(x)}",
            "it has to return the structure of its argument, with its shapes and dtypes",
        )
    for a, b in pairs:
        for axis in range(rank_of(a)):
            agree(t, views.extent(t, a, axis), views.extent(t, b, axis), f"{what} gives another shape")


def rank_of(leaf: Any) -> int:
    return leaf.rank if isinstance(leaf, Reference) else 0


def all_floats(t: Tracer, what: str, x: Any) -> Any:
    """`x` with Python's floats as numbers; refused where it holds anything but floats."""

    def leaf(value: Any) -> Any:
        if type(value) is float:
            return Number(const(value), True)
        if not value.dtype.is_float:
            refuse(t, f"{what} holds {describe(value)}", "pass floats and arrays of floats")
        return value

    return tree_map(t, leaf, x)


# ---------------------------------------------------------------- roots


def bind_custom_root(t: Tracer, f: Any, guess: Any, solve: Any, tangent_solve: Any) -> Any:
    """x with f(x) = 0, as `solve(f, guess)` finds it."""
    p = program(t, solve, [f, guess], {}, (), called=True)
    found = dict(enumerate(inline(p.function, p.operands)))
    x = results_of(t, p.result, found)
    e = equation(t, "the function whose root is wanted", f, x)
    parameters = [e.program.operands[k] for k in e.parameters]
    given = tuple(as_leaf(t, v) for v in parameters)
    rule = Derivative("root tangent", tangent_solve, options=e)
    b = program(t, rule, [x, given, given], {}, ())
    start = dynamic(t, x) + len(given)
    places = tuple(range(start, start + len(given)))
    rest = [v for k, v in enumerate(b.operands) if k not in places]
    attrs = {"pushforward": b.function, "pushforward_at": places}
    return marked(t, p, p.result, found, given, rest, attrs)


def root_tangent(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The leaves of dx."""
    e: Equation = made.options
    x, parameters, directions = args
    at = [value_of(t, leaf) for leaf in leaves(t, x)]
    operands = e.operands(at, [value_of(t, v) for v in parameters])
    moved = inline(ir_jvp(e.function, e.parameters, keep=[]), [*operands, *(value_of(t, v) for v in directions)])
    along = ir_jvp(e.function, list(range(e.count)), keep=[])
    jacobian = LinearMap(lambda v: inline(along, [*operands, *v]), x)
    sign = iter([builder().emit1("neg", [v]) for v in moved])
    found = calls.call(t, made.__wrapped__, [jacobian, like(t, x, lambda: next(sign))], {})
    given = directions_like(t, "the tangent_solve of custom_root", "a change of the solution", x, found)
    return tuple(zero(t, leaf) if dx is None else dx for leaf, dx in zip(floats_of(t, x), given, strict=True))


# ---------------------------------------------------------------- linear systems


def bind_custom_linear_solve(
    t: Tracer, matvec: Any, b: Any, solve: Any, transpose_solve: Any = None, symmetric: Any = False
) -> Any:
    """x with matvec(x) = b, as `solve(matvec, b)` finds it."""
    b = all_floats(t, "the right side of custom_linear_solve", b)
    p = program(t, solve, [matvec, b], {}, (), called=True)
    found = dict(enumerate(inline(p.function, p.operands)))
    require_alike(t, "the solver of custom_linear_solve", results_of(t, p.result, found), b)
    tree = arranged(t, p.result, b)
    x = results_of(t, tree, found)
    e = equation(t, "the linear function", matvec, b)
    given = tuple(as_leaf(t, e.program.operands[k]) for k in e.parameters)
    wrt = [*floats_of(t, b), *given]
    if t.rules.count(bind_custom_linear_solve) == DEEPEST:
        solution = marked(t, p, tree, found, wrt, [], {"deepest": "custom_linear_solve"})
        return arranged(t, solution, p.result)
    back = transpose_solve if not symmetric else solve
    options = (e, matvec, solve, back, symmetric)
    count, directions = dynamic(t, x), dynamic(t, x) + len(given)
    t.rules.append(bind_custom_linear_solve)
    try:
        forward = program(t, Derivative("solve tangent", solve, options=options), [x, given, b, given], {}, ())
        at = tuple(range(directions, 2 * directions))
        rest = [v for k, v in enumerate(forward.operands) if k not in at]
        attrs = {"pushforward": forward.function, "pushforward_at": at}
        if back is not None:
            reverse = program(t, Derivative("solve cotangent", back, options=options), [x, given, x], {}, ())
            places = tuple(range(directions, directions + count))
            others = [v for k, v in enumerate(reverse.operands) if k not in places]
            attrs = {
                "pullback": widened(reverse.function, [], rest),
                "pullback_at": places,
                "pushforward": widened(forward.function, others, []),
                "pushforward_at": tuple(k + len(others) for k in at),
            }
            rest = [*others, *rest]
    finally:
        t.rules.pop()
    return arranged(t, marked(t, p, tree, found, wrt, rest, attrs), p.result)


def widened(function: Function, before: Sequence[Value], after: Sequence[Value]) -> Function:
    """The function with further arguments, which it does not use, before and after its own."""
    body = clone_region(function.body, {})
    extra = [[Value(v.type) for v in values] for values in (before, after)]
    return Function(function.name, Region([*extra[0], *body.args, *extra[1]], body.ops), dict(function.attrs))


def solve_tangent(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The leaves of dx."""
    e, matvec, solve, back, symmetric = made.options
    x, parameters, db, directions = args
    operands = e.operands(*([value_of(t, v) for v in leaves(t, part)] for part in (x, parameters)))
    right = [value_of(t, v) for v in leaves(t, db)]
    if e.parameters:
        moved = inline(ir_jvp(e.function, e.parameters, keep=[]), [*operands, *(value_of(t, v) for v in directions)])
        right = [builder().emit1("sub", [a, c]) for a, c in zip(right, moved, strict=True)]
    values = iter(right)
    found = bind_custom_linear_solve(t, matvec, like(t, db, lambda: next(values)), solve, back, symmetric)
    return tuple(leaves(t, arranged(t, found, x)))


def solve_cotangent(t: Tracer, made: Derivative, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """The leaves of the cotangents of b, then those of the parameters."""
    e, matvec, solve, back, symmetric = made.options
    x, parameters, dx = args
    operands = e.operands(*([value_of(t, v) for v in leaves(t, part)] for part in (x, parameters)))
    seeds = ["argument"] * e.count
    across = ir_vjp(e.function, list(range(e.count)), seeds, keep=[]).function
    transposed = matvec if symmetric else LinearMap(lambda v: inline(across, [*operands, *v]), dx)
    w = arranged(t, bind_custom_linear_solve(t, transposed, dx, back, solve, symmetric), dx)
    values = [value_of(t, v) for v in leaves(t, w)]
    out = list(leaves(t, w))
    if e.parameters:
        pulled = inline(ir_vjp(e.function, e.parameters, seeds, keep=[]).function, [*operands, *values])
        out += [as_leaf(t, builder().emit1("neg", [v])) for v in pulled]
    return tuple(out)


KINDS = {
    "linear map": apply_map,
    "root tangent": root_tangent,
    "solve tangent": solve_tangent,
    "solve cotangent": solve_cotangent,
}
