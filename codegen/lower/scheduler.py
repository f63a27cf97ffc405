"""The walk that turns a function of the array IR into scheduled IR, one operation after the other.

In: a function and its `Plan`. Out: the scheduled function. Scalar operations are copied; array operations that
are not virtual become loop nests (`codegen.lower.rules`); control flow is here. Elements of virtual values are
emitted into the nests that consume them (`Scheduler.element`)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from ...ir.core import Const, Function, Op, Region, Value
from ...ir.ops.declare import lookup
from ...ir.types import I64, Array, Buffer, Scalar, Tape
from ..scheduled import buffer_type
from . import fusion
from .control_flow import CONTROL
from .fusion import WRITES, Plan, closure, element_of, reached, row_reduction
from .hazards import may_overwrite
from .loops import LoopBuilder
from .reserving import room_of
from .shapes import Extents
from .storage import Storage
from .tapes import element_of_row, pushes_of_products, rows_in_place

__all__ = ["Scheduler"]

Read = tuple[Value, list[Value]]


class Scheduler:
    """State of one walk. `scalars` maps scalar values to scheduled ones, `storage.buffer` arrays to buffers. `strided`:
    arguments whose memory is in no particular order; `fortran`: those whose memory is in Fortran order."""

    def __init__(self, function: Function, plan: Plan, strided: set[Value], fortran: set[Value]) -> None:
        self.function = function
        self.strided = strided
        self.fortran = fortran
        self.plan = plan
        self.out = Function(function.name, Region(), dict(function.attrs))
        self.b = LoopBuilder(self.out.body)
        self.extents = Extents()
        self.scalars: dict[Value, Value] = {}
        self.storage = Storage(self.b, self.extents, self.scalars.get)
        self.tapes: dict[Value, tuple[Value, Value]] = {}
        self.reserved: set[Value] = set()
        self.room = room_of(function)
        self.in_place = rows_in_place(function)
        self.pushed = pushes_of_products(function)
        self.rows: dict[Value, tuple[Value, Value]] = {}
        self.recorder: list[Read] | None = None
        self.live: set[Value] = set()
        self.carried_on: dict[Value, Value] = {}
        """What a loop carries from turn to turn, and what becomes of it in a turn."""

    def run(self) -> Function:
        donated = [self.function.args[k] for k in (self.function.attrs.get("donated") or {}).values()]
        for arg in self.function.args:
            if isinstance(arg.type, Tape):
                data = Value(Buffer(arg.type.element.dtype, 1), arg.name)
                length = Value(Scalar(I64), f"{arg.name or 'tape'}_length")
                for part in (data, length):
                    self.out.body.args.append(part)
                    self.b.enter(part, 0)
                self.tapes[arg] = (data, length)
                continue
            new = Value(buffer_type(arg.type), arg.name)
            self.out.body.args.append(new)
            self.b.enter(new, 0)
            if isinstance(arg.type, Array):
                self.extents.dims(arg)
                if arg in donated:
                    self.storage.adopt(new, self.extents.of[arg], arg)
                    self.storage.foreign.add(new)
                else:
                    self.storage.constant.add(new)
                self.storage.place(arg, new)
                for axis, known in enumerate(arg.type.dims):
                    if known is None:
                        self.storage.extent(self.extents.of[arg][axis])
            else:
                self.scalars[arg] = new
                self.extents.met.setdefault(arg, len(self.extents.met))
        with self.b:
            self.region(self.function.body)
        return self.out

    # operations

    def region(self, region: Region) -> None:
        """Emit the operations of a region, its terminator excepted."""
        for op in region.ops[:-1]:
            self.operation(op)
        if region.terminator.name == "return":
            self.returns(region.terminator)

    def operation(self, op: Op) -> None:
        from .rules import RULES

        self.live = closure(self.plan, self.plan.live_after[op])
        with self.b.at(op.span):
            if op.regions:
                CONTROL[op.name](self, op)
            else:
                for extra in self.extents.define(op):
                    self.scalar(extra)
                rule = RULES.get(op.name)
                if op.name == "bound" or (rule is not None and not self.is_fused(op)):
                    assert rule is not None
                    rule(self, op)
                elif fusion.fusible(op):
                    if op.result in self.plan.stored:
                        self.materialize(op.result)
                else:
                    self.scalar(op)
        self.storage.release(closure(self.plan, self.plan.live_after[op]))

    def is_fused(self, op: Op) -> bool:
        """Whether a fusible operation is left to `materialize` and `element`."""
        return fusion.fusible(op)

    def scalar(self, op: Op) -> None:
        """Copy a scalar operation."""
        if op.name == "dim":
            value = self.storage.extent(self.extents.of[op.operands[0]][op.attrs["axis"]])
            assert value is not None
            if value.name is None and not isinstance(value, Const):
                value.name = op.result.name
            self.scalars[op.result] = value
            return
        if any(not isinstance(x.type, Scalar) for x in [*op.operands, *op.results]):
            raise NotImplementedError(f"no lowering for {op.name}")
        names = [r.name for r in op.results]
        results = self.b.emit(op.name, [self.get(x) for x in op.operands], op.attrs, names=names)
        for old, new in zip(op.results, results):
            self.scalars[old] = new

    def get(self, value: Value) -> Value:
        """The scheduled value of a scalar."""
        return value if isinstance(value, Const) or value not in self.scalars else self.scalars[value]

    # elements

    def element(self, value: Value, index: Sequence[Value]) -> Value:
        """One element of an array value (or a scalar), emitted at the depth where its position is known."""
        if not value.is_array:
            return self.get(value)
        index = list(index)
        return self.b.cached(("element", value, *index), index, lambda depth: self.make_element(value, index, depth))

    def make_element(self, value: Value, index: list[Value], depth: int) -> Value:
        buffer = self.storage.buffer.get(value)
        if buffer is not None:
            if self.recorder is not None:
                self.recorder.append((value, index))
            if value in self.rows:
                return element_of_row(self, value, index, depth)
            return self.b.load(buffer, index, max(depth, self.b.depth.get(buffer, 0)))
        op = value.op
        assert op is not None, f"{value} is nowhere"
        with self.b.at(op.span), self.b.at_depth(depth):
            return self.virtual_element(op, index)

    def virtual_element(self, op: Op, index: list[Value]) -> Value:
        if row_reduction(op):
            from .rules import row_of

            return row_of(self, op, index)
        if op.name == "bound":
            i, n = self.element(op.operands[0], index), self.element(op.operands[1], index)
            return self.b.emit1("select", [i < 0, i + n, i])
        if lookup(op.name).element is not None:
            positions = [self.get(x) for x in op.operands[1:]]
            return element_of(op, lambda k, where: self.element(op.operands[k], where), index, positions)
        elements = [self.element(x, index if x.is_array else []) for x in op.operands]
        return self.b.emit1(op.name, elements, op.attrs)

    def reads_of(self, value: Value, index: Sequence[Value]) -> list[Read]:
        """What computing one element reads, found by emitting it into a region that is thrown away."""
        saved, self.recorder = self.recorder, []
        try:
            with self.b.scope(Region(), barrier=True):
                self.element(value, index)
            return self.recorder
        finally:
            self.recorder = saved

    # memory for values

    def materialize(self, value: Value, dest: Value | None = None) -> Value:
        """Compute a virtual value into a buffer: its own (recorded as its place), or `dest`."""
        if dest is None:
            dest = self.destination(value)
            self.fill_buffer(value, dest)
            self.storage.place(value, dest)
        else:
            self.fill_buffer(value, dest)
        return dest

    def fill_buffer(self, value: Value, dest: Value) -> None:
        """Store every element of a value."""
        if value.op is not None and value.op.name == "empty" and value not in self.storage.buffer:
            return
        extents = self.storage.extents_of(value)
        self.b.nest(extents, lambda index: self.b.store(self.element(value, index), dest, index))

    def destination(self, value: Value) -> Value:
        """A buffer for a value about to be computed: that of an operand which dies here and is read at the same
        position only, or a fresh one."""
        assert isinstance(value.type, Array)
        shape = self.extents.of[value]
        for source in self.leaves(value):
            buffer = self.storage.buffer[source]
            if (
                self.storage.owns(source)
                and source not in self.live
                and buffer not in self.storage.foreign
                and buffer.type == buffer_type(value.type)
                and self.extents.same_shape(self.storage.shape[buffer], shape)
                and not self.needed_for_another(source, value)
                and self.identity_safe(value, buffer)
            ):
                return buffer
        return self.storage.fresh(value.type.dtype, shape, value.name)

    def needed_for_another(self, carried: Value, value: Value) -> bool:
        """Whether a loop carries on something else in the memory of `carried` that is made while `value` is alive: it
        would have to be in other memory, and every turn would write to both."""
        next_one = self.carried_on.get(carried)
        while next_one is not None and next_one.op is not None and next_one.op.name in WRITES:
            next_one = next_one.op.operands[0]
        if next_one is None or next_one is value or next_one.op is None:
            return False
        return self.plan.is_live(value, self.plan.live_after.get(next_one.op, ()))

    def leaves(self, value: Value) -> list[Value]:
        """The values in memory that a virtual value reads."""
        found = reached(self.plan, [value, *(value.op.operands if value.op else [])])
        return [v for v in found if v is not value and v in self.storage.buffer]

    def identity_safe(self, value: Value, buffer: Value) -> bool:
        """Whether `buffer` may be overwritten with `value`, element after element, while it is being read."""
        index = [Value(Scalar(I64)) for _ in range(value.rank)]
        return may_overwrite(index, index, self.buffer_reads(value, index, buffer))

    def buffer_reads(self, value: Value, index: list[Value], buffer: Value) -> list[list[Value]]:
        """The positions at which `buffer` is read for one element of `value`."""
        with self.b.scope(Region(index), barrier=True):
            reads = self.reads_of(value, index)
        return [where for source, where in reads if self.storage.buffer[source] is buffer]

    def stored(self, value: Value) -> Value:
        """A buffer that holds a value, to be read: where it is, or a copy that dies with the operation."""
        if value in self.storage.buffer:
            return self.storage.buffer[value]
        buffer = self.owned_copy(value)
        self.storage.place(value, buffer)
        return buffer

    def in_c_order(self, value: Value) -> tuple[Value, bool]:
        """A buffer with a value's contents in C order, to be read, and whether it was made for that (to be freed).

        An argument that was written to is still in its own memory, in whatever order that is."""
        if value in self.strided or value in self.fortran or self.storage.buffer.get(value) in self.storage.foreign:
            return self.owned_copy(value), True
        return self.stored(value), False

    def is_constant(self, value: Value) -> bool:
        """Whether a value is in memory in C order that nobody writes to."""
        ordered = value not in self.strided and value not in self.fortran
        return ordered and self.storage.buffer.get(value) in self.storage.constant

    def owned_copy(self, value: Value) -> Value:
        """A fresh buffer with a value's contents."""
        assert isinstance(value.type, Array)
        dest = self.storage.fresh(value.type.dtype, self.extents.of[value], value.name)
        self.fill_buffer(value, dest)
        return dest

    def writable(self, value: Value, keep: bool = True) -> Value:
        """A buffer with a value's contents that the current operation may overwrite: the value's own, where this
        region owns it and nothing reads it afterwards, else a copy (`keep` False: of undefined contents)."""
        if value not in self.storage.buffer and self.plan.virtual(value):
            return self.owned_copy(value)
        if self.storage.owns(value):
            buffer = self.storage.buffer[value]
            if value not in self.live:
                return buffer
            if buffer in self.storage.foreign and self.storage.frame.kind != "branch":
                # the argument's memory follows the program; what is still needed of it moves out
                self.storage.place(value, self.owned_copy(value))
                return buffer
        if keep:
            return self.owned_copy(value)
        assert isinstance(value.type, Array)
        return self.storage.fresh(value.type.dtype, self.extents.of[value], value.name)

    @contextlib.contextmanager
    def temporary(self, value: Value) -> Iterator[None]:
        """Inside, a virtual value is in memory."""
        before = self.storage.buffer.get(value)
        buffer = self.owned_copy(value)
        self.storage.buffer[value] = buffer
        yield
        if before is None:
            del self.storage.buffer[value]
        else:
            self.storage.buffer[value] = before
        self.storage.free(buffer)

    # results

    def returns(self, op: Op) -> None:
        """Results of the function: scalars, and buffers that are nobody else's."""
        self.live = set()
        donated = self.function.attrs.get("donated") or {}
        taken: set[Value] = set()
        out: list[Value] = []
        late: list[tuple[Value, Value]] = []
        with self.b.at(op.span):
            for k, value in enumerate(op.operands):
                if isinstance(value.type, Tape):
                    out += self.tapes[value]
                    continue
                if not value.is_array:
                    out.append(self.get(value))
                    continue
                buffer = self.storage.buffer.get(value)
                if k in donated:
                    own = self.out.body.args[donated[k]]
                    if buffer is not own:  # the argument's memory may hold something that another result needs
                        late.append((self.owned_copy(value), own))
                    out.append(own)
                    continue
                memory = self.storage.memory_of(value)
                if buffer is None or memory is None or memory in taken or memory in self.storage.foreign:
                    buffer = memory = self.owned_copy(value)
                taken.add(memory)
                out.append(buffer)
            for source, own in late:
                extents = self.storage.values(self.storage.shape[source])

                def move(at: list[Value], source: Value = source, own: Value = own) -> None:
                    self.b.store(self.b.load(source, at), own, at)

                self.b.nest(extents, move)
            self.b.emit("return", out)
