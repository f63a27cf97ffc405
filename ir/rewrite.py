"""What passes are built from: copying with a value map, tables of uses, and `Rewriter`, a pass in one walk.

In: functions, regions, operations. Out: new ones; nothing here changes what it is given.

A value map (`Env`) says which new value stands for an old one; values it does not mention stand for
themselves. `Rewriter` walks a function in program order and builds a new one: a subclass overrides `visit` to
emit something else than a copy. When nothing changed it returns the very function it was given, so that a
pipeline can see that a fixpoint is reached.

>>> from adjit.ir.text import parse
>>> f = parse('''func @f(%x: f64, %y: f64) -> f64 {
...   %a: f64 = mul %x, %y
...   %b: f64 = add %a, %x
...   return %b
... }''')
>>> print(substitute(f, {f.args[1]: f.args[0]}))
func @f(%x: f64, %y: f64) -> f64 {
  %a: f64 = mul %x, %x
  %b: f64 = add %a, %x
  return %b
}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .core import Builder, Const, Function, Op, Region, Span, Value, builder, walk
from .types import Type, fits

__all__ = [
    "Env",
    "Rewriter",
    "clone_function",
    "clone_op",
    "clone_region",
    "defined",
    "free_values",
    "inline",
    "mapped",
    "substitute",
    "use_counts",
    "uses",
]

Env = dict[Value, Value]


# ---------------------------------------------------------------- copying


def mapped(values: Iterable[Value], env: Mapping[Value, Value]) -> list[Value]:
    """The values that stand for `values`."""
    return [v if type(v) is Const else env.get(v, v) for v in values]


def copy_op(op: Op, env: Env) -> Op:
    """A copy of an operation and its regions, belonging to no region yet; `env` learns its results."""
    operands = mapped(op.operands, env)
    regions = [clone_region(r, env) for r in op.regions]
    new = Op(op.name, operands, [r.type for r in op.results], dict(op.attrs), regions, op.span)
    for old, result in zip(op.results, new.results):
        result.name = old.name
        env[old] = result
    return new


def clone_op(op: Op, env: Env, builder: Builder) -> list[Value]:
    """Append a copy of `op` through `builder`, with operands mapped by `env`; `env` learns the results.

    Names, span and declared result types are kept. Returns the new results.
    """
    new = copy_op(op, env)
    builder.region.ops.append(new)
    return new.results


def clone_args(args: Sequence[Value], env: Env) -> list[Value]:
    """Fresh block arguments like `args`; `env` learns them."""
    out = []
    for arg in args:
        env[arg] = new = Value(arg.type, arg.name)
        out.append(new)
    return out


def clone_region(region: Region, env: Env) -> Region:
    """A copy of a region; outer values are mapped by `env`, which learns everything defined inside.

    The two regions of a ``while`` must be cloned in order with one `env`, since the second sees the first.
    """
    new = Region(clone_args(region.args, env))
    new.ops = [copy_op(op, env) for op in region.ops]
    return new


def inline(function: Function, operands: Sequence[Value]) -> list[Value]:
    """The operations of a function on `operands`, through the builder in force; returns what its results are."""
    env: Env = dict(zip(function.args, operands, strict=True))
    for op in function.body.ops[:-1]:
        clone_op(op, env, builder())
    return mapped(function.results, env)


def clone_function(function: Function, name: str | None = None) -> Function:
    """A copy that shares no value, operation or region with the original."""
    return Function(name or function.name, clone_region(function.body, {}), dict(function.attrs))


def substitute(function: Function, replacements: Mapping[Value, Value]) -> Function:
    """A copy in which each key of `replacements` (of a value of the function) is used as its value.

    Block arguments and definitions stay where they are, merely unused.
    """
    env: Env = {}
    rewriter = _Substitution(env, replacements)
    return rewriter.function(function, always=True)


# ---------------------------------------------------------------- tables


def uses(region: Region) -> dict[Value, list[tuple[Op, int]]]:
    """Who uses each value, inner regions included: (operation, operand number) in program order."""
    out: dict[Value, list[tuple[Op, int]]] = {}
    for op in walk(region):
        for k, v in enumerate(op.operands):
            if type(v) is not Const:
                out.setdefault(v, []).append((op, k))
    return out


def use_counts(region: Region) -> dict[Value, int]:
    """How many operands each value is, inner regions included."""
    out: dict[Value, int] = {}
    for op in walk(region):
        for v in op.operands:
            if type(v) is not Const:
                out[v] = out.get(v, 0) + 1
    return out


def defined(*regions: Region) -> set[Value]:
    """Everything that regions define, block arguments and inner regions included."""
    out: set[Value] = set()
    for region in regions:
        out.update(region.args)
        for op in walk(region):
            out.update(op.results)
            for inner in op.regions:
                out.update(inner.args)
    return out


def free_values(*regions: Region) -> list[Value]:
    """What regions use and do not define, constants left out, in order of first use.

    Give both regions of a ``while`` at once, since the second sees what the first defines.
    """
    own = defined(*regions)
    out: dict[Value, None] = {}
    for region in regions:
        for op in walk(region):
            for v in op.operands:
                if type(v) is not Const and v not in own:
                    out[v] = None
    return list(out)


# ---------------------------------------------------------------- passes in one walk


class Rewriter:
    """Rebuilds a function operation by operation; the base class copies.

    A pass overrides `visit(op)`, which either calls `copy(op)`, or says by `replace` what stands for every
    result of the operation. Operands of old operations are looked up with `self.get`. `self.out` is the list
    that new operations go to.
    """

    def __init__(self) -> None:
        self.env: Env = {}
        self.out: list[Op] = []
        self.changed = False

    def function(self, function: Function, always: bool = False) -> Function:
        """The rewritten function; the same object where nothing changed (unless `always`)."""
        body = self.region(function.body)
        if not self.changed and not always:
            return function
        return Function(function.name, body, dict(function.attrs))

    def get(self, value: Value) -> Value:
        return value if type(value) is Const else self.env.get(value, value)

    def operands(self, op: Op) -> list[Value]:
        env = self.env
        return [v if type(v) is Const else env.get(v, v) for v in op.operands]

    def region(self, region: Region, args: list[Value] | None = None) -> Region:
        """A rewritten region, with fresh block arguments unless `args` (already mapped) are given."""
        new = Region(clone_args(region.args, self.env) if args is None else args)
        saved, self.out = self.out, new.ops
        for op in region.ops:
            self.visit(op)
        self.out = saved
        return new

    def inline(self, region: Region) -> list[Value]:
        """Rewrite a region's operations into the place where we are; returns its terminator's operands."""
        for op in region.ops[:-1]:
            self.visit(op)
        return self.operands(region.terminator)

    def visit(self, op: Op) -> None:
        self.copy(op)

    def copy(self, op: Op, operands: list[Value] | None = None) -> Op:
        """A copy of an old operation, its regions rewritten."""
        new = Op(
            op.name,
            self.operands(op) if operands is None else operands,
            [r.type for r in op.results],
            dict(op.attrs),
            (),
            op.span,
        )
        if op.regions:
            new.regions = [self.region(r) for r in op.regions]
        env = self.env
        for old, result in zip(op.results, new.results):
            result.name = old.name
            env[old] = result
        self.out.append(new)
        return new

    def replace(self, old: Value, new: Value) -> bool:
        """Let `new` stand for `old`, if its type allows that."""
        if not fits(new.type, old.type):
            return False
        self.env[old] = new
        self.changed = True
        return True

    def emit(
        self,
        name: str,
        operands: Sequence[Value],
        attrs: dict[str, Any] | None = None,
        span: Span | None = None,
        hint: str | None = None,
    ) -> Value:
        """Append a new operation with one result, whose type is inferred."""
        from .ops import lookup

        attrs = attrs or {}
        types: list[Type] = lookup(name).infer(list(operands), attrs, [])
        op = Op(name, operands, types, attrs, (), span, [hint])
        self.out.append(op)
        self.changed = True
        return op.result


class _Substitution(Rewriter):
    def __init__(self, env: Env, replacements: Mapping[Value, Value]) -> None:
        super().__init__()
        self.env = env
        self.replacements = replacements

    def operands(self, op: Op) -> list[Value]:
        return mapped(mapped(op.operands, self.replacements), self.env)
