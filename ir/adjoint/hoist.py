"""What the runs of a program share, computed once: loops that carry both what depends on the seed and what does not.

In: a program and the numbers of the arguments in which its runs differ. Out: `shared(program, differ)`: two programs.
The first, of the other arguments, gives what the second is given as further arguments, in front of those that differ:

    %s: f64, %s_dot: f64[8] = for %i ... (%a = 0.0, %a_dot = %z) { ... }
    %u: f64[8] = mul %s_dot, %s

becomes

    %s: f64 = for %i ... (%a = 0.0) { ... }                                     once
    %s1: f64, %s_dot: f64[8] = for %i ... (%a = 0.0, %a_dot = %z) { ... }       in each run
    %u: f64[8] = mul %s_dot, %s

and where nothing in the second loop needs `%a`, it is dead code there. Straight-line code leaves a loop over runs by
loop-invariant motion; this is about loops alone. None where there are none to share.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core import Builder, Function, Region, Value, walk
from ..passes import dce
from ..rewrite import Env, clone_op, mapped
from ..types import Tape
from .lanes import Differing

__all__ = ["shared"]


def shared(program: Function, differ: Sequence[int]) -> tuple[Function, Function] | None:
    """See the module's docstring."""
    seeds = [program.args[k] for k in differ]
    if any(isinstance(a.type, Tape) for a in program.args):
        return None
    differing = Differing(program, seeds)
    differing.run()
    used = {v for op in walk(program.body) for v in op.operands}
    given = [
        r
        for op in program.body.ops
        if op.regions
        for r in op.results
        if r not in differing.found and r in used and not isinstance(r.type, Tape)
    ]
    if not given:
        return None
    common = [a for a in program.args if a not in seeds]
    first = once(program, seeds, given)
    return None if first is None else (first, rest(program, seeds, common, given))


def once(program: Function, seeds: Sequence[Value], given: Sequence[Value]) -> Function | None:
    """The program of `given`, without the seeds; None where that needs them after all."""
    env: Env = {a: Value(a.type, a.name) for a in program.args}
    body = Region([env[a] for a in program.args])
    with Builder(body) as b:
        for op in program.body.ops[:-1]:
            clone_op(op, env, b)
        b.emit("return", mapped(given, env), span=program.body.terminator.span)
    cleaned = dce.run(Function(program.name, body, dict(program.attrs)))
    at = [k for k, a in enumerate(program.args) if a in seeds]
    unused = {cleaned.args[k] for k in at}
    if any(v in unused for op in walk(cleaned.body) for v in op.operands):
        return None
    cleaned.body.args = [a for a in cleaned.args if a not in unused]
    return cleaned


def rest(program: Function, seeds: Sequence[Value], common: Sequence[Value], given: Sequence[Value]) -> Function:
    """The program with `given` from outside."""
    env: Env = {v: Value(v.type, v.name) for v in (*common, *given, *seeds)}
    known = {v: env[v] for v in given}
    body = Region([env[v] for v in (*common, *given, *seeds)])
    with Builder(body) as b:
        for op in program.body.ops[:-1]:
            if op.results and all(r in known for r in op.results):
                continue
            clone_op(op, env, b)
            env.update({r: known[r] for r in op.results if r in known})
        b.emit("return", mapped(program.results, env), span=program.body.terminator.span)
    return Function(program.name, body, dict(program.attrs))
