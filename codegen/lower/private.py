"""Memory that each thread may have a copy of its own of: workspaces, and what is only added to.

In: a scheduled function, one of its loops, a buffer that turns of the loop write to in a way that may collide. Out:
whether turns get along with copies.

A *workspace* is written as a whole in each turn before it is read there. Copies start with any contents:

    for %i in (0, %n) {
      for %j in (0, %m) { buffer.store %a, %w, %j }            %w: &f64[?] = buffer.alloc %m
      ... buffer.load %w, %k ...
    }

Of what is *only added to*, copies start with zeros and are added up in the end:

    %a: f64 = buffer.load %s, %k
    %b: f64 = add %a, %v
    buffer.store %b, %s, %k
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.types import Buffer
from ..scheduled import written_operands
from .accesses import root_of
from .polynomials import expand

__all__ = ["Places", "fills", "only_added_to", "read_later", "touches", "workspace"]

WHOLE = frozenset({"matmul", "matmul_nt", "matmul_tn", "matmul_tt"})
"""Library kernels that overwrite all of what they write to."""
UNDEFINED, DEFINED, EXPOSED = "undefined", "defined", "exposed"
"""What has become of a buffer: not (wholly) written, wholly written, read before it was wholly written."""
Same = Callable[[Value], Value]


@dataclass
class Places:
    """Where operations stand, and who uses a value."""

    region_of: dict[Op, Region]
    owner_of: dict[Region, Op | None]
    users: dict[Value, list[Op]]

    @staticmethod
    def of(function: Function) -> Places:
        out = Places({}, {}, {})
        out.enter(function.body, None)
        return out

    def enter(self, region: Region, owner: Op | None) -> None:
        self.owner_of[region] = owner
        for op in region.ops:
            self.region_of[op] = region
            for v in op.operands:
                if not isinstance(v, Const):
                    self.users.setdefault(v, []).append(op)
            for inner in op.regions:
                self.enter(inner, op)


def uses(op: Op, root: Value) -> bool:
    return any(isinstance(v.type, Buffer) and root_of(v) is root for v in op.operands) and op.name != "buffer.dim"


# ---------------------------------------------------------------- workspaces


def workspace(places: Places, loop: Op, root: Value, same: Same) -> bool:
    """Whether turns of a loop may work on copies of a buffer, the last one on the buffer itself."""
    if root.op is None or root.op.name != "buffer.alloc":
        return False
    state = after(loop.regions[0], root, same, UNDEFINED)
    if state == EXPOSED:
        return False
    # if the last turn leaves all of it written, it is as it would be; else nobody may look
    return state == DEFINED or not looked_at_after(places, loop, root, same)


def after(region: Region, root: Value, same: Same, state: str, upto: Op | None = None) -> str:
    """What has become of a buffer at the end of a region (before the operation `upto`)."""
    for op in region.ops:
        if op is upto or state == EXPOSED:
            break
        state = step(op, root, same, state)
    return state


def step(op: Op, root: Value, same: Same, state: str) -> str:
    if state == DEFINED or op.name in ("buffer.dim", "buffer.reshape"):
        return state
    if op.regions:
        if any(isinstance(v.type, Buffer) and root_of(v) is root for v in op.operands):
            return EXPOSED
        if op.name == "if":
            ends = [after(region, root, same, state) for region in op.regions]
            return EXPOSED if EXPOSED in ends else DEFINED if ends == [DEFINED] * len(ends) else state
        if op.name == "for" and fills(op, root, same):
            return DEFINED
        ends = [after(region, root, same, state) for region in op.regions]
        return EXPOSED if EXPOSED in ends else state
    if not uses(op, root):
        return state
    if op.name == "buffer.store":
        return state
    if op.name == "buffer.call":
        writes = written_operands(op)
        read = any(k not in writes and root_of(v) is root for k, v in enumerate(op.operands)
                   if isinstance(v.type, Buffer))  # fmt: skip
        return EXPOSED if read or op.attrs["kernel"] not in WHOLE else DEFINED
    return EXPOSED


def fills(op: Op, root: Value, same: Same) -> bool:
    """Whether a nest of loops stores to every element of a buffer, and reads none before."""
    assert root.op is not None
    extents = root.op.operands
    indices: dict[Value, Value] = {}
    region = op.regions[0]
    while True:
        lo, hi = op.operands[:2]
        if not (isinstance(lo, Const) and int(lo.value) == 0):
            return False
        indices[op.regions[0].args[0]] = hi
        region = op.regions[0]
        for k, inner in enumerate(region.ops):
            if inner.name == "buffer.store" and inner.operands[1] is root:
                position = inner.operands[2:]
                later = [other for other in region.ops[k + 1 :] if touches(other, root)]
                own = all(other.name == "buffer.load" and other.operands[1:] == position for other in later)
                return own and covers(position, indices, extents, same) and quiet(region.ops[:k], root)
            if touches(inner, root):
                if inner.name != "for" or not quiet(region.ops[:k], root):
                    return False
                op = inner
                break
        else:
            return False
        # what follows in this turn of an outer loop may read only what was filled: a part
        rest = region.ops[region.ops.index(op) + 1 :]
        if any(touches(other, root) for other in rest):
            return False


def covers(position: list[Value], indices: dict[Value, Value], extents: list[Value], same: Same) -> bool:
    if len(position) != len(extents):
        return False
    used = set()
    for at, extent in zip(position, extents, strict=True):
        if isinstance(at, Const):
            if not (isinstance(extent, Const) and int(extent.value) == 1 and int(at.value) == 0):
                return False
        elif at not in indices or at in used or expand(indices[at], same) != expand(extent, same):
            return False
        used.add(at)
    # a loop whose index says nothing about the position may have no turns at all
    return all(index in used or (isinstance(end, Const) and int(end.value) > 0) for index, end in indices.items())


def touches(op: Op, root: Value) -> bool:
    return uses(op, root) or any(uses(inner, root) for region in op.regions for inner in walk(region))


def quiet(ops: list[Op], root: Value) -> bool:
    return not any(touches(op, root) for op in ops)


def looked_at_after(places: Places, op: Op, root: Value, same: Same) -> bool:
    """Whether the contents that a buffer has after an operation may be read."""
    assert root.op is not None
    home = places.region_of[root.op]
    while True:
        region = places.region_of[op]
        state = UNDEFINED
        for later in region.ops[region.ops.index(op) + 1 :]:
            state = step(later, root, same, state)
            if state == EXPOSED:
                return True
            if state == DEFINED:
                break
        owner = places.owner_of[region]
        if region is home or owner is None:
            return False
        if owner.name == "while":
            others = [x for r in owner.regions for x in r.ops if x is not op]
            if not quiet(others, root):
                return True
        elif owner.name == "for" and after(region, root, same, UNDEFINED, op) == EXPOSED:
            return True
        if state == DEFINED:
            # on the way out of the loop, too, it was written since
            return False
        op = owner


def read_later(places: Places, where: Region, begin: int, end: int, root: Value) -> bool:
    """Whether what the operations from `begin` to before `end` of a region leave in a buffer may be read."""
    assert root.op is not None

    def same(value: Value) -> Value:
        return value

    state = UNDEFINED
    for op in where.ops[end:]:
        state = step(op, root, same, state)
        if state == EXPOSED:
            return True
    owner = places.owner_of[where]
    if where is places.region_of[root.op] or owner is None:
        return False
    if owner.name != "for" or after(where, root, same, UNDEFINED, where.ops[begin]) == EXPOSED:
        return True
    return looked_at_after(places, owner, root, same)


# ---------------------------------------------------------------- sums


def only_added_to(places: Places, accesses: list[Op], root: Value) -> bool:
    """Whether all that operations do to a buffer is to add to elements; they are all that touch it in a loop."""
    loads = [op for op in accesses if op.name == "buffer.load"]
    stores = [op for op in accesses if op.name == "buffer.store"]
    products = [op for op in accesses if adds_product(op, root)]
    if len(loads) + len(stores) + len(products) != len(accesses) or len(loads) != len(stores) or not accesses:
        return False
    if not isinstance(root.type, Buffer) or not root.type.dtype.is_float:
        return False
    return all(added(places, load, root) for load in loads)


def adds_product(op: Op, root: Value) -> bool:
    """Whether an operation is a product of other matrices that is added to a buffer, under its own name."""
    if op.name != "buffer.call" or not op.attrs["kernel"].startswith("add_product"):
        return False
    return op.operands[0] is root and all(root_of(v) is not root for v in op.operands[1:3])


def added(places: Places, load: Op, root: Value) -> bool:
    """Whether a load is followed by a store of that element with something added, and is used for nothing else."""
    region = places.region_of[load]
    value = load.result
    op = sole_user(places, value)
    if op is None or places.region_of[op] is not region:
        return False
    if op.name == "sub":
        if op.operands[0] is not value or op.operands[1] is value:
            return False
    elif op.name not in ("add", "add_any_order") or list(op.operands).count(value) != 1:
        return False
    store = sole_user(places, op.result)
    if store is None or store.name != "buffer.store" or places.region_of[store] is not region:
        return False
    if store.operands[0] is not op.result or store.operands[1] is not root or load.operands[0] is not root:
        return False
    if store.operands[2:] != load.operands[1:]:
        return False
    between = region.ops[region.ops.index(load) + 1 : region.ops.index(store)]
    return quiet(between, root)


def sole_user(places: Places, value: Value) -> Op | None:
    users = places.users.get(value, [])
    return users[0] if len(users) == 1 else None
