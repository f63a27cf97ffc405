"""Random programs under every transform: what one transform gives is compared with what others give.

In: a seed of `random_programs`, the name of a composition. Out: nothing, or an AssertionError. The reference is the
value in plain Python and the gradient that `value_and_grad` computes, which `differential` checks by other means.

    python tests/compositions.py --seed 20000 --count 200 [--only vmap] [--kernels]

Without `--kernels` everything runs in the reference interpreter (ADJIT_DISABLE_JIT=1).
"""

from __future__ import annotations

import argparse
import ast
import collections
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from differential import at_most, cause
from random_programs import ARGNUMS, RandomProgram, generate, load, problem

__all__ = ["COMPOSITIONS", "Case"]

TOLERANCE = 1e-9


class Case:
    """A random program and one of its argument sets, with what is known about it."""

    def __init__(self, seed: int, chosen: int | None = None) -> None:
        self.seed = seed
        self.program: RandomProgram = generate(seed)
        self.rng = np.random.default_rng(seed)
        self.args = self.program.argument_sets[seed % 3 if chosen is None else chosen]
        self.function = self.program.function

    def fresh(self, args: Sequence[Any] | None = None) -> list[Any]:
        return [x.copy() if isinstance(x, np.ndarray) else x for x in (self.args if args is None else args)]

    @cached_property
    def reference(self) -> tuple[float, tuple[Any, ...]]:
        return self.at(self.args)

    def at(self, args: Sequence[Any]) -> tuple[float, tuple[Any, ...]]:
        """The value and the gradient."""
        return self.value_and_grad(*self.fresh(args))  # type: ignore[no-any-return]

    @cached_property
    def value_and_grad(self) -> Any:
        from adjit import value_and_grad

        return value_and_grad(self.function, ARGNUMS)

    @cached_property
    def batch(self) -> list[tuple[Any, ...]]:
        """Argument sets of the same shapes for which the program runs."""
        out = [self.args]
        for _ in range(20):
            _, a, b, _, idx = self.args
            other = (
                float(self.rng.uniform(-1.6, 1.6)),
                self.rng.uniform(-1.5, 1.5, a.shape),
                self.rng.uniform(-1.5, 1.5, b.shape),
                int(self.rng.integers(0, 5)),
                self.rng.integers(-3, 3, idx.shape),
            )
            if not problem(RandomProgram(self.program.text, (other,))):
                out.append(other)
            if len(out) == 4:
                break
        return out

    @cached_property
    def vector(self) -> Callable[..., Any]:
        """A function of the same arguments with an array as its result: what is left in `a`, and the value."""
        text = self.program.text + "\n\ninner = program\n\n\ndef program(x, a, b, n, idx):\n"
        text += "    value = inner(x, a, b, n, idx)\n"
        text += "    return np.concatenate((np.array([value]), np.sin(a), b[0] * value))\n"
        return load(text)

    def same(self, what: str, found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
        found, wanted = (list(x) if isinstance(x, tuple | list) else [x] for x in (found, wanted))
        assert len(found) == len(wanted), what
        largest = max([float(np.max(np.abs(w), initial=0.0)) for w in wanted], default=0.0)
        for k, (f, w) in enumerate(zip(found, wanted, strict=True)):
            assert np.shape(f) == np.shape(w), f"{what}, {k}: shape {np.shape(f)}, wanted {np.shape(w)}"
            close = np.all(np.abs(np.asarray(f) - w) <= tolerance * (1e-3 + largest)) or (
                not np.all(np.isfinite(w)) and np.array_equal(f, w, equal_nan=True)
            )
            assert close, f"{what}, {k}: {f!r}, wanted {w!r}, at {self.args!r}\n{self.program}"


# ---------------------------------------------------------------- compositions


def batches(case: Case) -> None:
    """`vmap`: every example alone, derivatives per example, derivative through the batch."""
    from adjit import grad, value_and_grad, vmap

    sets = [case.fresh(args) for args in case.batch]
    stacked = [np.stack([np.asarray(args[k]) for args in sets]) for k in range(5)]
    results = [case.at(args) for args in sets]
    values, gradients = [r[0] for r in results], [np.stack([r[1][k] for r in results]) for k in range(3)]
    case.same("vmap", vmap(case.function)(*stacked), np.stack(values))
    case.same("vmap of the gradient", vmap(value_and_grad(case.function, ARGNUMS))(*stacked)[1], gradients)
    weights = case.rng.standard_normal(len(sets))

    def loss(x: Any, a: Any, b: Any, n: Any, idx: Any) -> Any:
        return np.sum(weights * vmap(program)(x, a, b, n, idx))

    program = case.function
    weighted = [g * weights.reshape(-1, *[1] * (g.ndim - 1)) for g in gradients]
    case.same("gradient through vmap", grad(loss, ARGNUMS)(*stacked), weighted)
    same = [case.fresh((*args[:3], case.args[3], case.args[4])) for args in sets]
    shared = vmap(grad(case.function, ARGNUMS), (0, 1, 2, None, None), (0, -1, 1))
    try:
        wanted = [case.at(args)[1] for args in same]
    except Exception:
        return
    moved = [stacked[0], stacked[1].T.copy(), np.moveaxis(stacked[2], 0, 2)]
    found = shared(*moved, case.args[3], case.args[4].copy())
    case.same(
        "vmap over other axes",
        found,
        [np.stack([g[k] for g in wanted], axis=axis) for k, axis in enumerate((0, -1, 1))],
    )


def checkpointed(case: Case) -> None:
    """A function under `checkpoint`, once and within itself."""
    from adjit import checkpoint, jacfwd, value_and_grad

    inner = checkpoint(copying(case.function))

    def twice(x: Any, a: Any, b: Any, n: Any, idx: Any) -> Any:
        return outer(x, a, b, n, idx) * 1.0

    @checkpoint
    def outer(x: Any, a: Any, b: Any, n: Any, idx: Any) -> Any:
        return inner(x, a, b, n, idx) * 1.0

    for what in (inner, twice):
        value, gradient = value_and_grad(what, ARGNUMS)(*case.fresh())
        assert value == case.reference[0]
        case.same("checkpoint", gradient, case.reference[1])
    case.same("forward mode of checkpoint", jacfwd(inner, ARGNUMS)(*case.fresh()), case.reference[1])


def loops(case: Case) -> None:
    """Loops under `checkpoint`, wherever they can be."""
    from adjit import checkpoint, value_and_grad

    text, count = with_checkpoints(case.program.text, case.rng)
    if not count:
        return
    changed = load(text, checkpoint=checkpoint)
    value, gradient = value_and_grad(changed, ARGNUMS)(*case.fresh())
    assert value == case.reference[0], f"loops: {value!r}, wanted {case.reference[0]!r}\n{text}\n{case.args!r}"
    case.same(f"loops under checkpoint\n{text}", gradient, case.reference[1])


def rules(case: Case) -> None:
    """The program's own derivative as a rule: of tangents, of cotangents, and these within a batch."""
    from adjit import custom_jvp, custom_vjp, grad, jacfwd, jvp, value_and_grad, vmap

    program = copying(case.function)
    forward = custom_jvp(program)

    @forward.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        x, a, b, n, idx = primals
        dx, da, db, _, _ = tangents
        return jvp(lambda x, a, b: program(x, a, b, n, idx), (x, a, b), (dx, da, db))

    backward = custom_vjp(program)

    def sweep(kept: Any, dy: Any) -> Any:
        dx, da, db = grad(program, ARGNUMS)(*kept)
        return dy * dx, dy * da, dy * db, None, None

    backward.defvjp(lambda *args: (program(*args), args), sweep)
    for name, f in (("custom_jvp", forward), ("custom_vjp", backward)):
        value, gradient = value_and_grad(f, ARGNUMS)(*case.fresh())
        assert value == case.reference[0]
        case.same(name, gradient, case.reference[1])
    case.same("jacfwd of custom_jvp", jacfwd(forward, ARGNUMS)(*case.fresh()), case.reference[1])
    stacked = [np.stack([np.asarray(x)] * 2) for x in case.fresh()]
    twice = [np.stack([g, g]) for g in case.reference[1]]
    case.same("vmap of the gradient of custom_jvp", vmap(grad(forward, ARGNUMS))(*stacked), twice)


def jacobians(case: Case) -> None:
    """A function with an array as its result: forward, reverse, pullbacks, tangents, and the gradient itself."""
    from adjit import jacfwd, jacrev, jvp, vjp

    case.same("jacfwd of a number", jacfwd(case.function, ARGNUMS)(*case.fresh()), case.reference[1])
    case.same("jacrev of a number", jacrev(case.function, ARGNUMS)(*case.fresh()), case.reference[1])
    f = case.vector
    forward = jacfwd(f, ARGNUMS)(*case.fresh())
    case.same("jacrev", jacrev(f, ARGNUMS)(*case.fresh()), forward)
    case.same("row of the Jacobian", [j[0] for j in forward], case.reference[1])
    value, pullback = vjp(f, *case.fresh())
    cotangents = [case.rng.standard_normal(value.shape) for _ in range(3)]
    wanted = [[np.tensordot(c, j, 1) for j in forward] for c in cotangents]
    for k in (0, 2, 1, 0):
        case.same("pullback", pullback(cotangents[k].copy())[:3], wanted[k])
    directions = [case.rng.standard_normal(np.shape(x)) for x in case.args[:3]]
    n, idx = case.args[3:]
    _, tangent = jvp(
        lambda x, a, b: f(x, a, b, n, idx.copy()), tuple(case.fresh()[:3]), (float(directions[0]), *directions[1:])
    )
    case.same("jvp", tangent, sum(np.tensordot(j, d, np.ndim(d)) for j, d in zip(forward, directions, strict=True)))


def hessians(case: Case) -> None:
    """Second derivatives: forward over reverse, reverse over reverse, reverse over forward, products with vectors."""
    from adjit import grad, hessian, hvp, jacfwd, jacrev

    def flat(h: Any) -> list[Any]:
        return [x for row in h for x in row]

    program = case.function
    found = flat(hessian(program, ARGNUMS)(*case.fresh()))
    case.same("reverse over reverse", flat(jacrev(grad(program, ARGNUMS), ARGNUMS)(*case.fresh())), found, 1e-7)
    case.same("reverse over forward", flat(jacrev(jacfwd(program, ARGNUMS), ARGNUMS)(*case.fresh())), found, 1e-7)
    x, a, b, n, idx = case.args
    v = case.rng.standard_normal(a.shape)
    product = hvp(lambda a, x, b: program(x, a, b, n, idx.copy()), a.copy(), v, x, b.copy())
    case.same("hvp", product, found[4] @ v, 1e-7)


def mixed(case: Case) -> None:
    """Checkpoints inside batches, batches inside checkpoints, second derivatives of both."""
    from adjit import checkpoint, grad, hessian, jacfwd, vmap

    text, _ = with_checkpoints(case.program.text, case.rng)
    program = copying(load(text, checkpoint=checkpoint))
    sets = case.batch[:3]
    stacked = [np.stack([np.asarray(args[k]) for args in sets]) for k in range(5)]
    wanted = [case.at(args)[1] for args in sets]
    total = [np.stack([g[k] for g in wanted]) for k in range(3)]
    inside = checkpoint(program)

    def batched(x: Any, a: Any, b: Any, n: Any, idx: Any) -> Any:
        return np.sum(vmap(inside)(x, a, b, n, idx))

    case.same("gradient of vmap of checkpoint", grad(batched, ARGNUMS)(*stacked), total)
    case.same("checkpoint of vmap", grad(checkpoint(batched), ARGNUMS)(*stacked), total)
    plain = hessian(copying(case.function), 1)(*case.fresh())
    case.same("hessian of checkpoint", hessian(inside, 1)(*case.fresh()), plain, 1e-7)
    case.same("jacfwd of grad of checkpoint", jacfwd(grad(inside, 1), 1)(*case.fresh()), plain, 1e-7)
    case.same("vmap of hessian", vmap(hessian(inside, 1))(*stacked)[0], plain, 1e-7)


def repeated(case: Case) -> None:
    """Calls again: results of earlier calls stay as they are, whatever is done to them changes nothing; threads."""
    from adjit import value_and_grad, vjp

    f = value_and_grad(case.function, ARGNUMS)
    value, gradient = f(*case.fresh())
    bits = [np.asarray(x).tobytes() for x in (value, *gradient)]
    kept = [np.asarray(g).copy() for g in gradient]
    views = [g[::-1] if isinstance(g, np.ndarray) else g for g in gradient]
    for args in case.batch[1:]:
        f(*case.fresh(args))
    for g, view, k in zip(gradient, views, kept, strict=True):
        np.testing.assert_array_equal(g, k)
        if isinstance(g, np.ndarray):
            np.testing.assert_array_equal(view, k[::-1])
            g[...] = np.nan
    del gradient
    again, second = f(*case.fresh())
    assert [np.asarray(x).tobytes() for x in (again, *second)] == bits
    y, pullback = vjp(case.vector, *case.fresh())
    cotangent = case.rng.standard_normal(y.shape)
    first = pullback(cotangent)
    first = [np.array(x) for x in first[:3]]
    y[...] = np.nan  # the user's
    arguments = case.fresh()
    _, pullback2 = vjp(case.vector, *arguments)
    for x in arguments[1:3]:
        x[...] = np.nan
    for p in (pullback2, pullback, pullback2):
        for found, wanted in zip(p(cotangent)[:3], first, strict=True):
            assert np.asarray(found).tobytes() == wanted.tobytes()
            if isinstance(found, np.ndarray):
                found[...] = np.nan
    failures: list[Any] = []

    def work() -> None:
        try:
            for _ in range(5):
                value, gradient = f(*case.fresh())
                assert [np.asarray(x).tobytes() for x in (value, *gradient)] == bits
                assert [np.asarray(x).tobytes() for x in pullback(cotangent)[:3]] == [w.tobytes() for w in first]
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if failures:
        raise failures[0]


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function on copies of what it may write to."""

    def program(x: Any, a: Any, b: Any, n: Any, idx: Any) -> Any:
        return function(x, a.copy(), b.copy(), n, idx.copy())

    return program


class Checkpoints(ast.NodeTransformer):
    """Puts what some loops go over into `checkpoint`."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.count = 0

    def visit_For(self, node: ast.For) -> Any:
        self.generic_visit(node)
        text = ast.unparse(node.iter)
        iterates = isinstance(node.iter, ast.Name) or text.startswith(("range(", "enumerate(", "zip(", "reversed("))
        if iterates and not leaves_early(node.body) and self.rng.random() < 0.8:
            how = ("", ", snapshots=50", ', memory="1MB"')[int(self.rng.integers(3))]
            node.iter = ast.parse(f"checkpoint({text}{how})", mode="eval").body
            self.count += 1
        return node


def leaves_early(body: Sequence[ast.stmt], inner: bool = False) -> bool:
    for node in body:
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break) and not inner):
            return True
        if isinstance(node, ast.FunctionDef):
            continue
        loop = isinstance(node, ast.For | ast.While)
        for part in (getattr(node, "body", []), getattr(node, "orelse", [])):
            if leaves_early(part, inner or loop):
                return True
    return False


def with_checkpoints(text: str, rng: np.random.Generator) -> tuple[str, int]:
    changes = Checkpoints(rng)
    tree = ast.fix_missing_locations(changes.visit(ast.parse(text)))
    return ast.unparse(tree) + "\n", changes.count


COMPOSITIONS: dict[str, Callable[[Case], None]] = {
    "batches": batches,
    "checkpointed": checkpointed,
    "loops": loops,
    "rules": rules,
    "jacobians": jacobians,
    "hessians": hessians,
    "mixed": mixed,
    "repeated": repeated,
}


def main(argv: Sequence[str] | None = None) -> int:
    from adjit.ir.errors import UnsupportedError

    parser = argparse.ArgumentParser(description="random programs under every transform")
    parser.add_argument("--seed", type=int, default=20000)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--only", default=",".join(COMPOSITIONS))
    parser.add_argument("--kernels", action="store_true")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--timeout", type=int, default=120)
    parser.add_argument("--traceback", action="store_true")
    options = parser.parse_args(argv)
    if options.verify:
        os.environ["ADJIT_VERIFY"] = "1"
    if not options.kernels:
        os.environ["ADJIT_DISABLE_JIT"] = "1"
    counts: collections.Counter[str] = collections.Counter()
    spent: collections.Counter[str] = collections.Counter()
    refused: dict[str, list[Any]] = collections.defaultdict(list)
    for seed in range(options.seed, options.seed + options.count):
        case = Case(seed)
        for name in options.only.split(","):
            begin = time.process_time()
            try:
                with at_most(options.timeout):
                    COMPOSITIONS[name](case)
                counts[f"{name} holds"] += 1
            except UnsupportedError as error:
                counts[f"{name} refused"] += 1
                refused[f"{name}: {error.message}"].append(seed)
            except Exception as error:
                counts[f"{name} FAILED"] += 1
                print(f"==== seed {seed} {name}: {cause(error)}\n{str(error)[:600]}", flush=True)
                if options.traceback:
                    traceback.print_exception(error)
            spent[name] += time.process_time() - begin  # type: ignore[assignment]
    for message, seeds in refused.items():
        print(f"refused {len(seeds)}: {message[:150]} {seeds[:5]}")
    print(dict(counts))
    print({name: round(seconds, 1) for name, seconds in spent.items()})
    return 0


if __name__ == "__main__":
    main()
