"""Arrays that a loop's body swaps or rotates (`u, v = v, u`).

In: a loop being built. Out: the cycles of merged objects that the body permutes, and, after the loop, what each of the
objects themselves holds and which name is which of them, from the number of iterations modulo the period.

Inside the loop the names alone are in use: whoever reads one of the objects under another name raises `Suspended`, and
the loop is traced again with flags in place of the permutation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir.core import Const, Region, Value
from ..ir.types import I64
from . import views
from .aliasing import aliases, flag_of
from .context import Store, Tracer
from .templates import pack
from .values import UNDEFINED, ArrayObject, Number

if TYPE_CHECKING:
    from .carried import LoopBuilder

__all__ = ["Permutation", "Suspended"]


class Suspended(Exception):
    """An array was read under its old name while a loop (`owner`) permutes it."""

    def __init__(self, owner: Any) -> None:
        super().__init__()
        self.owner = owner


class Permutation:
    """The cycles found so far: lists of merged objects' paths, each taking the next one's place."""

    def __init__(self, built: LoopBuilder) -> None:
        self.built = built
        self.t = built.t
        self.cycles: list[list[Any]] = []

    def __bool__(self) -> bool:
        return bool(self.cycles)

    def suspend(self) -> None:
        for obj in self.permuted_objects():
            self.t.suspended[obj] = Suspended(self)

    def resume(self) -> None:
        for obj, error in list(self.t.suspended.items()):
            if error.owner is self:
                del self.t.suspended[obj]

    def permuted_objects(self) -> dict[ArrayObject, None]:
        """The objects that the loop permutes, and those that may be one with them."""
        out: dict[ArrayObject, None] = {}
        if self.cycles:
            originals = self.built.join.sources(self.built.entry_values())
            saved, self.t.store = self.t.store, self.built.entry
            for path in (p for cycle in self.cycles for p in cycle):
                out[originals[path]] = None
                for other, _ in aliases(self.t, originals[path]):
                    out[other] = None
            self.t.store = saved
        return out

    def find(self, end: dict[Any, Any], begin: Store, final: Store) -> bool:
        """Find merged objects that the body permutes; True where the assumption about them has changed.

        `end`: what the loop's keys hold at the end of the body; `begin`, `final`: the states around the body.
        """
        join = self.built.join
        cycles: list[list[Any]] = []
        if self.built.memory.permuted:
            now = join.sources(self.packed(begin))
            owner = {obj: path for path, obj in now.items()}
            then = join.sources(end)
            following = {path: owner.get(obj) for path, obj in then.items()}
            originals = join.sources(self.built.entry_values())
            done: set[Any] = set()
            for path in following:
                cycle = [path]
                while (step := following.get(cycle[-1])) is not None and step not in cycle:
                    cycle.append(step)
                if step != path or len(cycle) < 2 or done & set(cycle):
                    continue
                if not all(p in originals for p in cycle):
                    continue
                objects = [originals[p] for p in cycle]
                if not apart(self.built.entry, objects, [o for p, o in originals.items() if p not in cycle]):
                    continue
                if not apart(final, [now[p] for p in cycle], [o for p, o in then.items() if p not in cycle]):
                    continue
                if all(self.t.visible(o.region) for o in objects):
                    done |= set(cycle)
                    cycles.append(cycle)
        changed = {frozenset(c) for c in cycles} != {frozenset(c) for c in self.cycles}
        self.cycles = cycles
        join.unlinked = frozenset(p for c in cycles for p in c)
        if changed:
            join.links = {
                pair: flag
                for pair, flag in join.links.items()
                if not any(not isinstance(p, ArrayObject) and p in join.unlinked for p in pair)
            }
        return changed

    def packed(self, store: Store) -> dict[Any, Any]:
        return {k: pack(self.t, store, store.get(k, UNDEFINED)) for k in self.built.join.templates}

    def forget(self) -> None:
        """A permuted object was used under its old name: keep track of who is who by flags instead."""
        self.built.memory.permuted = False
        self.cycles = []
        self.built.join.unlinked = frozenset()

    def restore(self, iterations: Value) -> None:
        """After the loop: what the permuted objects themselves hold, and which name is which of them."""
        t = self.t
        originals = self.built.join.sources(self.built.entry_values())
        after = self.built.join.sources(self.packed(t.store))
        wanted = [obj for obj in self.permuted_objects() if self.built.visible(obj)]
        for cycle in self.cycles:
            period = len(cycle)
            flags_ = {(obj, k): flag_of(t, originals[p], obj) for obj in wanted for k, p in enumerate(cycle)}
            if all(flag is False for flag in flags_.values()):
                continue
            phase = t.emit1("mod", [iterations, Const(period, I64)])
            tests = [t.emit1("eq", [phase, Const(k, I64)]) for k in range(period)]
            # after T iterations, cycle[j] is the original of cycle[(j + T) % period]
            holders = [[after[cycle[(k - turn) % period]] for turn in range(period)] for k in range(period)]
            changes: list[tuple[ArrayObject, Value]] = []
            for obj in wanted:
                old = t.store.get(obj, obj.initial)
                value = old
                for k in range(period):
                    flag = flags_[obj, k]
                    if flag is False:
                        continue
                    held = [views.contents(t, h) for h in holders[k]]
                    new = held[-1]
                    for turn in range(period - 2, -1, -1):
                        new = choose(t, tests[turn], held[turn], new)
                    value = choose(t, flag, new, value) if isinstance(flag, Value) else new
                    for turn, holder in enumerate(holders[k]):
                        self.link(holder, obj, tests[turn], flag)
                changes.append((obj, value))
            for obj, value in changes:
                t.store[obj] = value

    def link(self, holder: ArrayObject, obj: ArrayObject, test: Value, flag: Any) -> None:
        t = self.t
        found = test if flag is True else t.emit1("logical_and", [test, flag])
        before = flag_of(t, holder, obj)
        if before is True or holder is obj:
            return
        if before is not False:
            assert isinstance(before, Value)
            found = t.emit1("logical_or", [before, found])
        t.store[frozenset((holder, obj))] = Number(found, True)


def apart(store: Store, cycle: list[ArrayObject], others: list[ArrayObject]) -> bool:
    """Whether no two of a cycle's objects can be one, nor one of them another name's object."""
    pairs = [(a, b) for k, a in enumerate(cycle) for b in (*cycle[:k], *others)]
    return all(a is not b and store.get(frozenset((a, b)), False) is False for a, b in pairs)


def choose(t: Tracer, condition: Value, a: Value, b: Value) -> Value:
    if a is b:
        return a
    then, other = Region(), Region()
    for region, value in ((then, a), (other, b)):
        with t.inside(region):
            t.emit("yield", [value])
    return t.emit("if", [condition], regions=[then, other])[0]
