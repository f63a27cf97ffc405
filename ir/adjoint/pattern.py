"""Which inputs each result depends on, as a program: dependence pushed along with values, as sets of bits.

In: a function and the numbers of the arguments to differentiate. Out: `dependence(function, wrt)`, a function of the
same arguments and of one i64 array (or number) of the same shape per differentiated argument; its results are arrays
of i64 like the function's float results, whose elements are the union (bitwise or) of the bits of all elements that
the derivative of that element can be nonzero by. With one bit per input, it is the sparsity pattern of the Jacobian:

    func @f(%x: f64, %i: i64) -> f64 {              func @f.dependence(%x: f64, %i: i64, %x_bits: i64) -> i64 {
      %a: f64 = sin %x
      %y: f64 = mul %a, %x                    =>
      return %y                                       return %x_bits
    }                                               }

This is structure, and no sampling: a derivative that is zero by its value alone (`x * 0.0`) counts; one that no rule
has (`floor(x)`, `stop_gradient(x)`, an element overwritten) does not. Of `where`, `maximum` and the like all choices
count. Of an `if`, the branch that is taken; but both where floats decide (as far as that can be seen) and the branches
do nothing but compute scalars. What decides control flow and positions is computed as in the primal, so the result
holds for those values of the arguments that the program still reads when dead code is removed: `arguments_read`.

Products of matrices take whole rows and columns, decompositions whole matrices: a zero in them is no structure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..core import Builder, Const, Function, Op, Region, Value, builder, walk
from ..ops import call_rule, extents_of, lookup, zeros_like
from ..ops.callback import CALLBACKS
from ..ops.custom import merged
from ..ops.declare import OpDef
from ..rewrite import Rewriter, clone_op, inline
from ..types import I64, Scalar, Tape, Type, with_dtype
from .activity import is_differentiable_type, varied_values
from .forward import Forward

__all__ = ["arguments_read", "dependence"]

ZERO = Const(0, I64)
ONE = Const(1, I64)


def dependence(function: Function, wrt: Sequence[int]) -> Function:
    """The dependence program of `function`; see the module's docstring."""
    function = DropFloatChecks().function(function)
    body = Region([Value(a.type, a.name) for a in function.args])
    walker = Dependence(
        dict(zip(function.args, body.args, strict=True)), varied_values(function, [function.args[k] for k in wrt])
    )
    for k in wrt:
        arg = function.args[k]
        bits = Value(walker.tangent_type(arg.type), bits_name(arg))
        body.args.append(bits)
        walker.tangents[arg] = bits
    with Builder(body) as b:
        walker.region(function.body)
        found = [walker.tangent(v) for v in function.results if is_differentiable_type(v)]
        b.emit("return", found, span=function.body.terminator.span)
    attrs = {k: v for k, v in function.attrs.items() if k != "donated"}
    return Function(f"{function.name}.dependence", body, attrs)


def arguments_read(function: Function, count: int) -> list[int]:
    """Those of the first `count` arguments whose values, not only their extents, the function reads."""
    read = {v for op in walk(function.body) if op.name != "dim" for v in op.operands}
    return [k for k, a in enumerate(function.args[:count]) if a in read]


def bits_name(value: Value) -> str | None:
    return f"{value.name}_bits" if value.name else None


class Dependence(Forward):
    """Forward mode in which a tangent is a set of bits."""

    def tangent_type(self, type_: Type) -> Type:
        if isinstance(type_, Tape):
            return Tape(with_dtype(type_.element, I64))
        return with_dtype(type_, I64)

    def tangent(self, old: Value) -> Value:
        known = self.tangents.get(old)
        if known is not None:
            return known
        if isinstance(old.type, Tape):
            element = with_dtype(old.type.element, I64)
            return builder().emit1("tape.new", [], {"element": element}, names=[bits_name(old)])
        return filled(ZERO, extents_of(self.value(old)))

    def rule(
        self, op: Op, rule: OpDef, operands: list[Value], given: list[Value | None], results: list[Value]
    ) -> list[Value | None]:
        if op.name == "tape.push":
            return [builder().emit1("tape.push", [self.tangent(v) for v in op.operands])]
        if op.name == "tape.pop":
            return list(builder().emit("tape.pop", [self.tangent(op.operands[0]), *operands[1:]]))
        if op.name == "custom":
            return self.custom(op, rule, operands, given, results)
        if rule.partials is not None:
            found = passing(op, rule, given)
            if found is not None and results[0].is_array and not found.is_array:
                found = filled(found, extents_of(results[0]))
            return [found]
        if not any(given) or (op.name in CALLBACKS and op.attrs.get("zero")):
            return [None] * len(results)
        special = RULES.get(op.name)
        if special is not None:
            return [special(op, operands, given)]
        if op.name in MOVES:
            moved = [self.tangent(op.operands[k]) if k in rule.linear else v for k, v in enumerate(operands)]
            return [builder().emit1(op.name, moved, op.attrs)]
        return everything(op, rule, operands, given, results)

    def custom(
        self, op: Op, rule: OpDef, operands: list[Value], given: list[Value | None], results: list[Value]
    ) -> list[Value | None]:
        """A rule of the user's, or a function computed again: what its own program says; else all of all."""
        start = op.attrs["args"]
        values = operands[start + op.attrs["outs"] :]
        program = op.attrs.get("recompute")
        if program is not None:
            at = [k for k, v in enumerate(program.args) if is_differentiable_type(v)]
        else:
            program, at = op.attrs.get("pushforward"), list(op.attrs.get("pushforward_at", ()))
            if program is None:
                return everything(op, rule, operands, given[:start], results)
            zeros = [zeros_like(v) for v in operands[:start]]
            values = merged(values, at, zeros, op.attrs.get("pushforward_outs", ()), results)
        bits = [self.tangent(v) for v in op.operands[: len(at)]]
        return list(inline(dependence(program, at), [*values, *bits]))

    # ------------------------------------------------------------ branches

    def branch(self, op: Op) -> None:
        """Both branches count where floats decide between scalars."""
        if not (decided_by_floats(op.operands[0]) and all(map(only_scalars, op.regions))):
            super().branch(op)
            return
        clone_op(op, self.env, builder())
        self.either(op)

    def either(self, op: Op) -> None:
        for region in op.regions:
            for inner in region.ops[:-1]:
                if inner.regions:
                    self.either(inner)
                elif any(v in self.varied for v in inner.results):
                    found = passing(inner, lookup(inner.name), [self.tangents.get(v) for v in inner.operands])
                    if found is not None:
                        self.tangents[inner.result] = found
        for k, result in enumerate(op.results):
            found = union([self.tangents.get(r.terminator.operands[k]) for r in op.regions])
            if found is not None:
                self.tangents[result] = found


def passing(op: Op, rule: OpDef, given: Sequence[Value | None]) -> Value | None:
    """The union of the sets of those operands by which an elementwise operation's derivative is not always zero."""
    if rule.partials is None:
        return None
    found: list[Value] = []
    with Builder(Region()):  # what the rule emits is not wanted
        partials = call_rule(rule.partials, op.operands, op.attrs, y=lambda: op.results[0])
        for bits, partial in zip(given, partials, strict=True):
            if bits is None:
                continue
            factor = partial() if callable(partial) else partial
            if factor is not None and (isinstance(factor, Value) or factor != 0):
                found.append(bits)
    return union(found)


def decided_by_floats(condition: Value) -> bool:
    """Whether a condition was computed from floats, or was kept from a forward sweep."""
    op = condition.op
    if op is None or op.regions:
        return False
    if op.name == "tape.pop" or (op.name == "index" and op.operands[0].op is not None):
        return True
    return any(is_differentiable_type(v) or decided_by_floats(v) for v in op.operands)


def only_scalars(region: Region) -> bool:
    """Whether a region only computes scalars from scalars."""
    return all(
        all(isinstance(v.type, Scalar) for v in op.results)
        and (
            (op.name == "if" and all(map(only_scalars, op.regions)))
            or (lookup(op.name).category == "elementwise" and not lookup(op.name).effect)
        )
        for op in region.ops[:-1]
    ) and all(isinstance(v.type, Scalar) for v in region.terminator.operands)


class DropFloatChecks(Rewriter):
    """Checks of floats (`assert x > 0`) prove nothing that makes the program safe, and need no computing."""

    def visit(self, op: Op) -> None:
        if not (op.name == "check" and compares_floats(op.operands[0])):
            self.copy(op)


def compares_floats(condition: Value) -> bool:
    op = condition.op
    if op is None or op.regions or lookup(op.name).effect:
        return False
    if all(is_differentiable_type(v) for v in op.operands):
        return lookup(op.name).category == "elementwise"
    if op.name.startswith(("logical_", "reduce_any", "reduce_all")):
        return all(compares_floats(v) for v in op.operands)
    return False


# ---------------------------------------------------------------- sets


def filled(value: Value, extents: Sequence[Value]) -> Value:
    return builder().emit1("fill", [value, *extents]) if extents else value


def union(sets: Sequence[Value | None]) -> Value | None:
    out: Value | None = None
    for bits in sets:
        if bits is None or bits is out:
            continue
        out = bits if out is None else either_of(out, bits)
    return out


def either_of(a: Value, b: Value) -> Value:
    return builder().emit1("bitwise_or", [a, b])


def union_over(bits: Value, axes: tuple[int, ...]) -> Value:
    return builder().emit1("reduce_or", [bits], {"axes": axes}) if axes else bits


def everything(
    op: Op, rule: OpDef, operands: list[Value], given: Sequence[Value | None], results: list[Value]
) -> list[Value | None]:
    """Every element of every float result depends on every element of every operand."""
    total = union([None if x is None else union_over(x, tuple(range(x.rank))) for x in given])
    if total is None:
        return [None] * len(results)
    shapes = [extents_of(r) for r in results]
    if rule.extents is not None:
        shapes = rule.extents(Op(op.name, operands, [r.type for r in results], dict(op.attrs)))
    return [
        filled(total, shape) if is_differentiable_type(r) else None for r, shape in zip(results, shapes, strict=True)
    ]


# ---------------------------------------------------------------- rules

Rule = Callable[[Op, list[Value], list[Value | None]], Value]

MOVES = frozenset("fill broadcast stretch index update gather scatter transpose reshape concat".split())
"""Operations that put elements somewhere: they do the same to sets."""


def zeros(like: Value) -> Value:
    return filled(ZERO, extents_of(like))


def reduced(op: Op, operands: list[Value], given: list[Value | None]) -> Value:
    (bits,) = given
    assert bits is not None
    return union_over(bits, op.attrs["axes"])


def running(op: Op, operands: list[Value], given: list[Value | None]) -> Value:
    """Every element has what the elements before it have."""
    start = union(given)
    assert start is not None
    axis = op.attrs["axis"]
    count = extents_of(start)[axis]
    spec = at_axis(axis, start.rank)
    index = Value(Scalar(I64), "k")
    body = Region([index, Value(start.type)])
    with Builder(body, op.span) as b:
        before, at = (index - 1, index) if not op.attrs["reverse"] else (count - index, count - index - 1)
        parts = [b.emit1("index", [body.args[1], k], {"spec": spec}) for k in (before, at)]
        b.emit("yield", [b.emit1("update", [body.args[1], either_of(*parts), at], {"spec": spec})])
    return builder().emit("for", [ONE, count, start], {"reverse": False}, regions=[body])[0]


def added(op: Op, operands: list[Value], given: list[Value | None]) -> Value:
    """`accumulate`: the region read, united with the value, written back."""
    array = zeros(operands[0]) if given[0] is None else given[0]
    return array if given[1] is None else united(array, given[1], operands[2:], op.attrs["spec"])


def united(array: Value, value: Value, positions: Sequence[Value], spec: str) -> Value:
    """The sets of a region of an array, united with `value`. Where a step may be 0, one element stands for all of an
    axis: position by position."""
    axis = at = 0
    for k, letter in enumerate(spec):
        if letter == "s":
            start, length, step = positions[at : at + 3]
            if not (isinstance(step, Const) and step.value):
                index = Value(Scalar(I64), "k")
                body = Region([index, Value(array.type)])
                with Builder(body) as b:
                    spot = [*positions[:at], start + index * step, *positions[at + 3 :]]
                    part = value
                    if value.is_array:
                        part = b.emit1("index", [value, index], {"spec": at_axis(axis, value.rank)})
                    b.emit("yield", [united(body.args[1], part, spot, f"{spec[:k]}i{spec[k + 1 :]}")])
                return builder().emit("for", [ZERO, length, array], {"reverse": False}, regions=[body])[0]
        at += {"i": 1, "s": 3, ":": 0}[letter]
        axis += letter != "i"
    region = builder().emit1("index", [array, *positions], {"spec": spec})
    return builder().emit1("update", [array, either_of(region, value), *positions], {"spec": spec})


def at_axis(axis: int, rank: int) -> str:
    """The `spec` of one position along an axis."""
    return ":" * axis + "i" + ":" * (rank - axis - 1)


def scattered(op: Op, operands: list[Value], given: list[Value | None]) -> Value:
    """`scatter_add`: one position after the other, since they may repeat."""
    array = zeros(operands[0]) if given[0] is None else given[0]
    value, axes, indices = given[1], op.attrs["axes"], operands[2:]
    if value is None:
        return array
    first, rank = axes[0], indices[0].rank
    after = array.rank - len(axes) - first
    spec = ":" * first + "i" * len(axes) + ":" * after

    if not rank:
        return united(array, value, indices, spec)
    count: Value = ONE
    for n in extents_of(indices[0]):
        count = n if count is ONE else count * n
    if rank > 1:
        indices = [builder().emit1("reshape", [i, count]) for i in indices]
        if value.is_array:
            own = extents_of(value)
            value = builder().emit1("reshape", [value, *own[:first], count, *own[first + rank :]])
    index = Value(Scalar(I64), "k")
    body = Region([index, Value(array.type)])
    with Builder(body, op.span) as b:
        bits = value
        if value.is_array:
            bits = b.emit1("index", [value, index], {"spec": at_axis(first, first + 1 + after)})
        positions = [b.emit1("index", [i, index], {"spec": "i"}) for i in indices]
        b.emit("yield", [united(body.args[1], bits, positions, spec)])
    return builder().emit("for", [ZERO, count, array], {"reverse": False}, regions=[body])[0]


def product(op: Op, operands: list[Value], given: list[Value | None]) -> Value:
    """A product of matrices: an element has its row of the one, its column of the other."""
    a, b = operands
    stack = extents_of(a)[: max(a.rank - 2, 0)]
    rows = extents_of(a)[-2:-1] if a.rank > 1 else []
    columns = extents_of(b)[-1:] if b.rank > 1 else []
    shape = [*stack, *rows, *columns]
    terms: list[Value] = []
    for bits, lost, kept in (
        (given[0], a.rank - 1, tuple(range(len(stack) + len(rows)))),
        (given[1], max(b.rank - 2, 0), (*range(len(stack)), *range(len(stack) + len(rows), len(shape)))),
    ):
        if bits is None:
            continue
        total = union_over(bits, (lost,))
        if shape and total.rank < len(shape):
            total = (
                builder().emit1("broadcast", [total, *shape], {"axes": kept}) if total.rank else filled(total, shape)
            )
        terms.append(total)
    found = union(terms)
    assert found is not None
    return found


RULES: dict[str, Rule] = {
    **dict.fromkeys("reduce_sum reduce_prod reduce_max reduce_min".split(), reduced),
    **dict.fromkeys("cumsum cumprod recurrence".split(), running),
    "accumulate": added,
    "scatter_add": scattered,
    "matmul": product,
    "stack_matmul": product,
}
