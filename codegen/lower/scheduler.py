"""The walk that turns a function of the array IR into scheduled IR, one operation after the other.

In: a function and its `Plan`. Out: the scheduled function. Scalar operations are copied; array operations that
are not virtual become loop nests (`codegen.lower.rules`); control flow is here. Elements of virtual values are
emitted into the nests that consume them (`Scheduler.element`)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

from ...ir.core import Const, Function, Op, Region, Value
from ...ir.ops.declare import lookup
from ...ir.types import BOOL, I64, Array, Buffer, Scalar, Tape
from ..scheduled import buffer_type
from . import fusion
from .fusion import WRITES, Plan, closure, element_of, reached, row_reduction
from .hazards import may_overwrite
from .loops import LoopBuilder
from .reserving import room_of
from .shapes import Extents
from .storage import BUSY, Frame, Storage
from .tapes import Reserved, element_of_row, pushes_of_products, room_for_branches, rows_in_place

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

    # control flow

    def give(self, value: Value, during: set[Value]) -> Value:
        """A buffer with a value's contents for a loop that will own it; `during`: what is read in or after the
        loop."""
        if self.storage.owns(value):
            buffer = self.storage.buffer[value]
            if value in during and buffer in self.storage.foreign and self.storage.frame.kind != "branch":
                self.storage.place(value, self.owned_copy(value))
                return self.storage.take(buffer)
            if value not in during:
                return self.storage.take(buffer)
        return self.storage.take(self.owned_copy(value))

    def enter_carried(self, op: Op, inits: Sequence[Value]) -> tuple[list[Value], list[int]]:
        """Scheduled initial values of a loop, tapes as two; and where each carried value starts among them."""
        during = closure(self.plan, self.plan.live_in[op])
        out: list[Value] = []
        starts: list[int] = []
        for value in inits:
            starts.append(len(out))
            if isinstance(value.type, Tape):
                out += self.tapes[value]
            elif value.is_array:
                out.append(self.give(value, during))
            else:
                out.append(self.get(value))
        return out, starts

    def bind_carried(self, values: Sequence[Value], new: Sequence[Value], starts: Sequence[int]) -> None:
        """Array IR values (block arguments, results) now stand for scheduled ones."""
        for value, start in zip(values, starts):
            if isinstance(value.type, Tape):
                self.tapes[value] = (new[start], new[start + 1])
            elif value.is_array:
                self.storage.adopt(new[start], self.extents.of[value], value)
                self.storage.place(value, new[start])
            else:
                self.scalars[value] = new[start]

    def yielded(self, terminator: Op, values: Sequence[Value]) -> list[Value]:
        """Scheduled values of a yield; buffers leave the region, copies are made of what it does not own."""
        out: list[Value] = []
        taken: set[Value] = set()
        after = closure(self.plan, self.plan.live_after[terminator])
        self.live = closure(self.plan, values) | after
        for value in values:
            if isinstance(value.type, Tape):
                out += self.tapes[value]
            elif value.is_array:
                if self.storage.owns(value) and value not in taken and value not in after:
                    buffer = self.storage.buffer[value]
                else:
                    buffer = self.owned_copy(value)
                self.storage.frame.owned[buffer] = BUSY
                taken.add(value)
                out.append(buffer)
            else:
                out.append(self.get(value))
        return [
            self.storage.take(v) if isinstance(v.type, Buffer) and v in self.storage.frame.owned else v for v in out
        ]

    def copies_of(self, inits: Sequence[Value], args: Sequence[Value], starts: Sequence[int]) -> list[Value]:
        """Block arguments for scheduled initial values, under the names of the array IR's."""
        names: dict[int, str | None] = {}
        for arg, start in zip(args, starts):
            names[start] = arg.name
            if isinstance(arg.type, Tape):
                names[start + 1] = f"{arg.name or 'tape'}_length"
        return [Value(v.type, names.get(k)) for k, v in enumerate(inits)]

    def for_loop(self, op: Op) -> None:
        lo, hi = self.get(op.operands[0]), self.get(op.operands[1])
        reserved = Reserved(self, op, lo, hi)
        kept = reserved.kept()
        inits = [op.operands[2 + k] for k in kept]
        args = [op.regions[0].args[1 + k] for k in kept]
        start_values, starts = self.enter_carried(op, inits)
        index = Value(Scalar(I64), op.regions[0].args[0].name or "i")
        carried = self.copies_of(start_values, args, starts)
        region = Region([index, *carried])
        self.scalars[op.regions[0].args[0]] = index
        enter = functools.partial(reserved.enter, index)
        extra_inits, yields = self.loop_body(op, [region], start_values, carried, args, starts, kept, enter)
        region.ops.append(Op("yield", yields, [], {}, (), self.b.span))
        operands = [lo, hi, *start_values, *extra_inits]
        attrs = {"reverse": True} if op.attrs.get("reverse") else {}
        results = [op.results[k] for k in kept]
        self.finish_loop(op, results, operands, start_values, extra_inits, [region], attrs, starts)
        reserved.after()

    def while_loop(self, op: Op) -> None:
        before = op.regions[0]
        start_values, starts = self.enter_carried(op, op.operands)
        carried = self.copies_of(start_values, before.args, starts)
        regions = [Region(carried), Region()]
        kept = range(len(op.operands))
        extra_inits, yields = self.loop_body(
            op, regions, start_values, carried, before.args, starts, kept, lambda: None
        )
        regions[1].ops.append(Op("yield", yields, [], {}, (), self.b.span))
        operands = [*start_values, *extra_inits]
        self.finish_loop(op, op.results, operands, start_values, extra_inits, regions, {}, starts)

    def loop_body(
        self,
        op: Op,
        regions: list[Region],
        start_values: Sequence[Value],
        carried: list[Value],
        args: Sequence[Value],
        starts: Sequence[int],
        kept: Sequence[int],
        enter: Callable[[], None],
    ) -> tuple[list[Value], list[Value]]:
        """Emit the regions of a loop. Returns initial values of buffers that take turns, and what is yielded."""
        storage = self.storage
        mark = self.extents.mark()
        first = regions[0]
        outer = storage.frame
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.b.scope(first, barrier=True))
            frame = Frame(outer, "loop", len(self.b.scopes) - 1)
            storage.frame = frame
            self.extents.enter_loop(op)
            self.bind_carried(args, carried, starts)
            self.carried_on.update(zip(args, (op.regions[-1].terminator.operands[k] for k in kept)))
            self.storage.foreign.update(a for a, init in zip(carried, start_values) if init in storage.foreign)
            enter()
            if len(regions) == 2:
                self.region(op.regions[0])
                test = op.regions[0].terminator
                self.b.emit("test", [self.get(test.operands[0])], span=test.span)
                stack.enter_context(self.b.scope(regions[1], barrier=True))
                frame.depth = len(self.b.scopes) - 1
            self.region(op.regions[-1])
            terminator = op.regions[-1].terminator
            yields = self.yielded(terminator, [terminator.operands[k] for k in kept])
            turns = storage.settle_loop(frame)
            for inside, _, back in turns:
                first.args.append(inside)
                yields.append(back)
            storage.frame = outer
        storage.static_workspaces(frame, regions, turns)
        self.extents.end_body(op, mark)
        for inside, outside, _ in turns:
            storage.shape[outside] = storage.shape[inside]
        return [outside for _, outside, _ in turns], yields

    def finish_loop(
        self,
        op: Op,
        results: Sequence[Value],
        operands: list[Value],
        start_values: list[Value],
        extra_inits: list[Value],
        regions: list[Region],
        attrs: dict[str, bool],
        starts: Sequence[int],
    ) -> None:
        carried = list(regions[0].args[1:] if op.name == "for" else regions[0].args)
        types = [v.type for v in [*start_values, *extra_inits]]
        names = [v.name for v in carried]
        new = self.b.emit(op.name, operands, dict(attrs), regions, names=names, result_types=types)
        self.extents.leave_loop(op)
        inits = operands[2:] if op.name == "for" else operands
        kept = [y is a for y, a in zip(regions[-1].terminator.operands, carried)]
        moved = any(b in self.storage.foreign and not same for b, same in zip(inits, kept))
        # what every turn gives back as it is, is still the same memory
        new = [init if same and isinstance(init.type, Buffer) else v for v, init, same in zip(new, inits, kept)]
        self.bind_carried(results, new, starts)
        if moved:
            self.storage.foreign.update(v for v, same in zip(new, kept) if not same and isinstance(v.type, Buffer))
        for buffer, outside in zip(new[len(start_values) :], extra_inits):
            self.storage.adopt(buffer, self.storage.shape[outside])

    def if_else(self, op: Op) -> None:
        storage = self.storage
        outer = storage.frame
        condition = self.get(op.operands[0])
        tapes = room_for_branches(self, op)
        regions: list[Region] = []
        ends: list[tuple[list[Value], dict[Value, Value | None]]] = []
        entries: list[set[Value]] = []
        shapes = []
        for source in op.regions:
            region = Region()
            mark = self.extents.mark()
            entry = {b: None if h is BUSY else h for b, h in outer.owned.items()}
            with self.b.scope(region, barrier=True):
                storage.frame = Frame(outer, "branch", len(self.b.scopes) - 1, entry, entry=set(entry))
                self.region(source)
                entries.append(storage.frame.entry)
                ends.append((self.yielded(source.terminator, source.terminator.operands), storage.frame.owned))
            storage.frame = outer
            shapes.append(self.extents.outer_terms(source.terminator.operands, mark))
            self.extents.forget(mark)
            regions.append(region)
        self.extents.join(op, shapes)
        owned = {b: None if h is BUSY else h for b, h in outer.owned.items()}
        first, second = ends[0][0], ends[1][0]
        static = {b for b, c in zip(first, second) if b is c and isinstance(b.type, Buffer)}
        # what a branch asked its surroundings for, the other has not seen: there it is free
        ends = [
            (values, {**end, **{b: None for b in owned if b not in seen and b not in end and b not in values}})
            for (values, end), seen in zip(ends, entries)
        ]
        stable = {b for b in owned if all(b in end or b in static for _, end in ends)}
        spare = [[b for b in end if b not in stable] for _, end in ends]
        outer.owned = {b: h for b, h in owned.items() if b in stable}
        extras = self.pair_up(*spare) if len(stable) < len(owned) else []
        moving = [(b, c) for b, c in zip(first, second) if b not in static]
        for region, which in zip(regions, (0, 1)):
            values = [pair[which] for pair in [*moving, *extras]]
            region.ops.append(Op("yield", values, [], {}, (), self.b.span))
        names = [n for n, b in zip(self.flat_names(op), first) if b not in static]
        types = [b.type for b, _ in [*moving, *extras]]
        new = iter(self.b.emit("if", [condition], {}, regions, names=names, result_types=types))
        results = [b if b in static else next(new) for b in first]
        for result, *pair in zip(results, first, second):
            if any(b in storage.foreign for b in pair):
                storage.foreign.add(result)
        at = 0
        for value in op.results:
            starts = [at]
            at += 2 if isinstance(value.type, Tape) else 1
            self.bind_carried([value], results, starts)
        for buffer, (one, other) in zip(new, extras):
            storage.adopt(buffer, storage.shape[one])
            if one in storage.foreign or other in storage.foreign:
                storage.foreign.add(buffer)
        self.tapes.update(tapes)
        self.reserved.difference_update(tapes)

    def flat_names(self, op: Op) -> list[str | None]:
        out: list[str | None] = []
        for value in op.results:
            out.append(value.name)
            if isinstance(value.type, Tape):
                out.append(f"{value.name or 'tape'}_length")
        return out

    def pair_up(self, one: list[Value], other: list[Value]) -> list[tuple[Value, Value]]:
        """Free buffers of two branches that may go on under one name."""
        pairs: list[tuple[Value, Value]] = []
        rest = list(other)
        for a in one:
            b = next((b for b in rest if self.storage.interchangeable(a, b)), None)
            if b is not None:
                rest.remove(b)
                pairs.append((a, b))
        return pairs


CONTROL: dict[str, Callable[[Scheduler, Op], None]] = {
    "if": Scheduler.if_else,
    "for": Scheduler.for_loop,
    "while": Scheduler.while_loop,
}

_ = BOOL
