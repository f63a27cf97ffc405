"""Scheduled IR -> LLVM: one function, written instruction by instruction.

In: a scheduled function, and the LLVM values of its arguments. Out: instructions in an LLVM function that returns
`(status, detail0, detail1, *results)`, exactly as the Python text of `codegen.render` does under Numba, in a fraction
of the time to compile: nothing has types to be inferred, and loops are written as LLVM likes them, with block
arguments as phis and the test at the end.

A check that fails stores its number and details and leaves through `ownership`, which releases what is owned there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.errors import InternalError
from ...ir.ops.declare import lookup
from ...ir.types import F64, I64, Buffer, Scalar
from ..lower.parallel import plans
from .classes import Classes
from .loop_hints import FULL, LANES, LONG, MASKED, PAIRED, Hints, Vectors, calls_out, independent, innermost, short_rows
from .memory import POINTER, Memories, Memory, element_type
from .numba_parts import types
from .ownership import Link, Ownership
from .parallel import parallel_loop
from .part_products import PART_PRODUCTS, part_product
from .passes import is_large, is_short
from .positions import positions
from .products import PRODUCTS, product
from .routines import call_routine, is_routine
from .row_sums import short_row
from .row_vectors import rows_of_vectors
from .scalars import call_primitive, cast, constant, integer, numba_scalar, scalar
from .streaming import streamed
from .sums import corrected, error_of, in_blocks, long_sums, rows, several_loops
from .vectors import vectorized

__all__ = ["OUT_OF_MEMORY", "Lowering", "checks_of", "details_are_float", "result_types"]

OUT_OF_MEMORY = -1  # the status of a kernel that found no memory
Number = Any  # an LLVM value


def details_of(op: Op) -> list[Value]:
    return list(op.operands[1:3] if op.name == "check" else op.operands)


def allocates(ops: Sequence[Op]) -> bool:
    """Whether an operation, or one inside of it, may allocate."""
    return any(
        op.name in ("buffer.alloc", "buffer.call") or any(allocates(region.ops) for region in op.regions) for op in ops
    )


def checks_of(function: Function) -> list[Op]:
    """The checks in the order of their numbers (from 1)."""
    return [op for op in walk(function.body) if lookup(op.name).effect == "check"]


def details_are_float(function: Function) -> bool:
    """Whether the details of failed checks are passed as floats."""
    return any(
        not (isinstance(x.type, Scalar) and x.type.dtype.kind in "biu")
        for op in checks_of(function)
        if op.name == "check"
        for x in details_of(op)
    )


def result_types(function: Function) -> list[Any]:
    """Numba's types of what the kernel returns."""
    detail = types.float64 if details_are_float(function) else types.int64
    classes = Classes(function, function.attrs["layouts"], True)
    out = [types.int64, detail, detail]
    for value in function.results:
        assert isinstance(value.type, Scalar | Buffer)
        kind = numba_scalar(value.type.dtype)
        layout = "A" if isinstance(value.type, Buffer) and classes.strided(value) else "C"
        out.append(types.Array(kind, value.type.rank, layout) if isinstance(value.type, Buffer) else kind)
    return out


def adds_to(value: Value, buffer: Value) -> bool:
    """Whether a value that is stored in a buffer is an element of that buffer plus something."""
    parts = value.op.operands if value.op is not None and value.op.name == "add" else ()
    return any(v.op is not None and v.op.name == "buffer.load" and v.op.operands[0] is buffer for v in parts)


def final_uses(region: Region) -> dict[Op, set[Value]]:
    """To each operation with regions, the buffers that it uses, and nothing after it in its own region."""
    last: dict[Value, Op] = {}
    for op in region.ops:
        for inner in (op, *(o for r in op.regions for o in walk(r))):
            last.update((v, op) for v in inner.operands if isinstance(v.type, Buffer))
    out: dict[Op, set[Value]] = {}
    for value, op in last.items():
        if op.regions:
            out.setdefault(op, set()).add(value)
    return out


class Lowering:
    """Writes one function; `run` is called once."""

    def __init__(self, context: Any, builder: Any, function: Function, noalias: bool) -> None:
        self.context, self.b, self.function = context, builder, function
        self.layouts: Sequence[str] = function.attrs["layouts"]
        own = function.attrs.get("rewritten", ())  # arguments whose memory is nobody else's (`codegen.donation`)
        count = len(function.args) - function.attrs.get("outputs", 0)
        self.inputs = [a for k, a in enumerate(function.args[:count]) if k not in own]
        self.classes = Classes(function, self.layouts, noalias)
        self.memories = Memories(context, builder, len(self.classes.number))
        self.hints = Hints(builder.module)
        self.exact: set[Op] = set()  # additions whose rounding errors are summed
        self.numbers: dict[Value, Number] = {}
        self.places: dict[Value, Memory] = {}
        self.sites = {op: k for k, op in enumerate(checks_of(function), 1)}
        self.detail_type = ir.DoubleType() if details_are_float(function) else ir.IntType(64)
        self.status = [builder.alloca(kind) for kind in (ir.IntType(64), self.detail_type, self.detail_type)]
        self.way_out = builder.append_basic_block("failed")
        self.ownership = Ownership(self.memories, self.way_out)
        self.scope: Link | None = None
        self.last: dict[Op, set[Value]] = {}  # buffers that nothing of a region uses after an operation with regions
        self.viewed = {op.operands[0] for op in walk(function.body) if op.name in ("buffer.reshape", "buffer.view")}
        self.plans = plans(function) if "threads" in function.attrs else {}
        self.threads = int(function.attrs.get("threads", 1))
        self.inside = False  # of a parallel loop: those inside run serially
        self.depth = 0  # loops around
        self.large = is_large(function)
        self.seldom = False  # whether the loop around has so much to do that what is in it is entered seldom
        self.chunked: Op | None = None  # the loop of which a chunk is being written
        self.size = sum(1 for _ in walk(function.body))
        self.rooms: dict[str, Any] = {}  # on the stack, for the records of chunks
        self.rows: set[Op] = set()  # of elementary functions or quotients, written as vectors

    def run(self, arguments: Sequence[Number]) -> None:
        for value, given, layout in zip(self.function.args, arguments, self.layouts, strict=True):
            if isinstance(value.type, Buffer):
                layout = "C" if layout == "F" and value.type.rank == 1 else layout
                memory = self.memories.of_array(value.type, given, self.classes.memory_class(value), layout, False)
                self.places[value] = self.in_form(memory, value)
            else:
                self.numbers[value] = given
        self.region(self.function.body, None)
        self.hand_over(self.function.results, None)
        kinds = result_types(self.function)
        head = [integer(0), *(ir.Constant(self.detail_type, 0) for _ in range(2))]
        self.give(kinds, [*head, *(self.result(v) for v in self.function.results)])
        self.b.position_at_end(self.way_out)
        empty = [ir.Constant(self.context.get_value_type(kind), None) for kind in kinds[3:]]
        self.give(kinds, [*(self.b.load(slot) for slot in self.status), *empty])

    def result(self, value: Value) -> Any:
        if isinstance(value.type, Buffer):
            return self.memories.as_array(self.memory(value))
        return self.number(value)

    def give(self, kinds: Sequence[Any], values: Sequence[Any]) -> None:
        kind = types.Tuple(tuple(kinds))
        record = self.context.make_tuple(self.b, kind, list(values))
        self.context.call_conv.return_value(self.b, self.context.get_return_value(self.b, kind, record))

    # values

    def number(self, value: Value) -> Number:
        return constant(value) if isinstance(value, Const) else self.numbers[value]

    def memory(self, value: Value) -> Memory:
        return self.places[value]

    def in_form(self, memory: Memory, value: Value) -> Memory:
        """The memory as values of this form are represented: with strides, with an owner, or without."""
        strides, owner = memory.strides, memory.owner
        if self.classes.strided(value) and strides is None:
            strides = self.memories.c_strides(memory.extents, memory.type.dtype.itemsize)
        if self.classes.owned(value) and owner is None:
            owner = ir.Constant(POINTER, None)
        return Memory(memory.type, memory.data, memory.extents, strides, owner, memory.number)

    def parts(self, value: Value) -> list[Any]:
        """What stands for a value in registers."""
        if not isinstance(value.type, Buffer):
            return [self.number(value)]
        memory = self.memory(value)
        owner = [] if memory.owner is None else [memory.owner]
        return [memory.data, *memory.extents, *(memory.strides or ()), *owner]

    def bind(self, value: Value, like: Value, parts: Sequence[Any]) -> None:
        """Let `value` stand for registers; `like` is a value of the same form."""
        if not isinstance(value.type, Buffer):
            (self.numbers[value],) = parts
            return
        model = self.memory(like)
        rank = value.type.rank
        data, *rest = parts
        extents, rest = tuple(rest[:rank]), rest[rank:]
        strides = tuple(rest[:rank]) if model.strides is not None else None
        owner = rest[-1] if model.owner is not None else None
        self.places[value] = Memory(value.type, data, extents, strides, owner, self.classes.memory_class(value))

    def phis(self, values: Sequence[Value], like: Sequence[Value]) -> list[list[Any]]:
        """Block arguments: registers per value, bound to them."""
        out = []
        for value, model in zip(values, like, strict=True):
            made = [self.b.phi(part.type) for part in self.parts(model)]
            self.bind(value, model, made)
            out.append(made)
        return out

    def incoming(self, phis: Sequence[Sequence[Any]], values: Sequence[Sequence[Any]], block: Any) -> None:
        for registers, parts in zip(phis, values, strict=True):
            for phi, part in zip(registers, parts, strict=True):
                phi.add_incoming(part, block)

    def own(self, values: Sequence[Value]) -> None:
        for value in values:
            if isinstance(value.type, Buffer) and self.classes.owned(value):
                self.ownership.own(value, self.memory(value))

    def is_owned(self, value: Value) -> bool:
        return isinstance(value.type, Buffer) and self.classes.owned(value)

    def hand_over(self, values: Sequence[Value], to: Link | None) -> None:
        self.ownership.hand_over(values, self.memory, self.is_owned, to)

    # operations

    def region(self, region: Region, start: Link | None, ends: bool = True) -> None:
        """Everything but the terminator's own work; what is owned since `start` belongs to this turn. `ends`: nothing
        that follows reads what the region makes or is given, but for what its terminator hands on."""
        outer, self.scope = self.scope, start
        if ends:
            self.last.update(final_uses(region))
        dying = self.last_uses(region) if ends else {}
        for k, op in enumerate(region.ops):
            self.operation(op)
            if k in dying:
                self.release_early(dying[k], start)
        self.scope = outer

    def last_uses(self, region: Region) -> dict[int, set[Value]]:
        """Buffers that a region makes, by the operation after which nothing uses memory of their class, if memory is
        allocated later on."""
        last: dict[Value, int] = {}
        made: list[Value] = []
        end = 0
        for k, op in enumerate(region.ops):
            made += [v for v in op.results if self.is_owned(v)]
            for inner in (op, *(o for r in op.regions for o in walk(r))):
                for value in (*inner.operands, *inner.results):
                    if isinstance(value.type, Buffer):
                        last[self.classes.memory.find(value)] = k
            if allocates((op,)):
                end = k
        out: dict[int, set[Value]] = {}
        for value in made:
            k = last[self.classes.memory.find(value)]
            if k < end:
                out.setdefault(k, set()).add(value)
        return out

    def taken_over(self, op: Op) -> list[Value]:
        """Buffers that the region around an operation owns and does not use any more: who does inside of the operation
        gets their references, which need not be counted."""
        last = self.last.get(op, set()) - self.viewed
        values = [link.value for link in self.ownership.links(self.scope) if link.value in last]
        return [value for value in values if self.ownership.take(value, self.scope)]

    def release_early(self, dead: set[Value], start: Link | None) -> None:
        """Release what is owned since `start` and used no more: what is allocated from here on may have its place."""
        for link in self.ownership.links(start):
            if link.value in dead:
                self.ownership.take(link.value, start)
                self.memories.release(link.memory.owner)

    def operation(self, op: Op) -> None:
        rule = RULES.get(op.name)
        if rule is not None:
            rule(self, op)
        elif op in self.exact:
            self.numbers[op.result] = self.b.fadd(*(self.number(x) for x in op.operands))
        elif lookup(op.name).category == "elementwise" or op.name in ("add_any_order", "mul_any_order"):
            self.numbers[op.result] = scalar(self.context, self.b, op, [self.number(x) for x in op.operands])
        elif lookup(op.name).category != "terminator":
            raise InternalError(f"no machine code for {op.name}")

    def load(self, op: Op) -> None:
        buffer, *where = op.operands
        self.numbers[op.result] = self.memories.load(self.memory(buffer), [self.number(i) for i in where])

    def store(self, op: Op) -> None:
        value, buffer, *where = op.operands
        number = self.number(value)
        if op.attrs.get("accumulates") and adds_to(value, buffer) and getattr(number, "opname", "") == "fadd":
            number.flags = ["nsz"]  # the first cotangent is added to nothing, as far as LLVM can see that it is
        self.memories.store(number, self.memory(buffer), [self.number(i) for i in where])

    def dim(self, op: Op) -> None:
        self.numbers[op.result] = self.memory(op.operands[0]).extents[op.attrs["axis"]]

    def alloc(self, op: Op) -> None:
        extents = [self.number(n) for n in op.operands]
        if op in self.classes.slots:
            slot = self.memories.slot(op.result, extents, self.classes.memory_class(op.result))
            self.places[op.result] = self.in_form(slot, op.result)
            self.own([op.result])
            return
        memory, enough = self.memories.allocate(op.result, extents, self.classes.memory_class(op.result))
        self.require_memory(enough)
        self.places[op.result] = self.in_form(self.memories.with_data(memory), op.result)
        self.own([op.result])

    def require_memory(self, enough: Any) -> None:
        zero = ir.Constant(self.detail_type, 0)
        self.require(enough, OUT_OF_MEMORY, [zero, zero])

    def reshape(self, op: Op) -> None:
        buffer, *extents = op.operands
        base = self.memory(buffer)
        assert isinstance(op.result.type, Buffer)
        data = base.data
        if op.result.type.dtype is not base.type.dtype:
            data = self.b.bitcast(data, element_type(op.result.type).as_pointer())
        memory = Memory(op.result.type, data, tuple(self.number(n) for n in extents), None, base.owner, base.number)
        self.places[op.result] = self.in_form(memory, op.result)

    def view(self, op: Op) -> None:
        buffer, start, *extents = op.operands
        base = self.memory(buffer)
        assert isinstance(op.result.type, Buffer)
        data = self.memories.place(base, [self.number(start)])
        memory = Memory(op.result.type, data, tuple(self.number(n) for n in extents), None, base.owner, base.number)
        self.places[op.result] = self.in_form(memory, op.result)

    def call(self, op: Op) -> None:
        name = op.attrs["kernel"]
        if name == "tape_reserve":
            self.reserve(op)
            return
        if name in PRODUCTS:
            shared = self.threads if "threads" in self.function.attrs and not self.inside else None
            out, left, right = (self.memory(x) for x in op.operands)
            if product(self.memories, name, out, left, right, shared):
                return
        if name in PART_PRODUCTS:
            matrices = [self.memory(x) for x in op.operands[:3]]
            if part_product(self.memories, name, matrices, [self.number(x) for x in op.operands[3:]]):
                return
        if name == "nonzero" and positions(self.memories, *(self.memory(x) for x in op.operands)):
            return
        kinds, values = [], []
        for operand in op.operands:
            if isinstance(operand.type, Buffer):
                memory = self.memory(operand)
                kinds.append(self.memories.numba_type(memory))
                values.append(self.memories.as_array(memory))
            else:
                kinds.append(numba_scalar(operand.dtype))
                values.append(self.number(operand))
        if is_routine(name):
            call_routine(self.context, self.b, name, kinds, values)
            return
        given, kind = call_primitive(self.context, self.b, name, kinds, values)
        several = isinstance(kind, types.BaseTuple)
        given_kinds = list(kind) if several else [kind]
        for k, result in enumerate(op.results):
            part = self.b.extract_value(given, k) if several else given
            if isinstance(result.type, Buffer):
                number = self.classes.memory_class(result)
                memory = self.memories.of_array(result.type, part, number, given_kinds[k].layout, True)
                self.places[result] = self.in_form(memory, result)
                self.own([result])
            else:
                self.numbers[result] = self.context.cast(self.b, part, given_kinds[k], numba_scalar(result.dtype))

    def reserve(self, op: Op) -> None:
        """A tape has one consumer: memory that this region owns goes over to the result without being counted."""
        data, used, needed = op.operands
        memory = self.memory(data)
        mine = self.ownership.owns(data, self.scope)
        amounts = self.number(used), self.number(needed)
        self.places[op.result] = self.memories.reserve(memory, *amounts, op.result, mine, self.require_memory)
        if mine:
            self.ownership.take(data, self.scope)
        self.own([op.result])

    # checks

    def require(self, holds: Any, status: int, details: Sequence[Any]) -> None:
        """Go on if `holds`, else leave with a status."""
        b = self.b
        after, fail = b.append_basic_block("checked"), b.append_basic_block("fails")
        b.cbranch(holds, after, fail).set_weights([1000, 1])
        b.position_at_end(fail)
        for slot, value in zip(self.status, [integer(status), *details], strict=True):
            b.store(value, slot)
        b.branch(self.ownership.exit())
        b.position_at_end(after)

    def fails_unless(self, op: Op, holds: Any) -> None:
        details: list[Any] = [self.detail(v) for v in details_of(op)]
        zero = ir.Constant(self.detail_type, 0)
        self.require(holds, self.sites[op], [*details, zero, zero][:2])

    def detail(self, value: Value) -> Any:
        target = F64 if isinstance(self.detail_type, ir.DoubleType) else I64
        return cast(self.b, self.number(value), value.dtype, target)

    def check(self, op: Op) -> None:
        self.fails_unless(op, self.number(op.operands[0]))

    def same_extent(self, op: Op) -> None:
        a, other = (self.number(x) for x in op.operands)
        self.fails_unless(op, self.b.icmp_signed("==", a, other))
        self.numbers[op.result] = a

    def bound(self, op: Op) -> None:
        b = self.b
        i, n = (self.number(x) for x in op.operands)
        if isinstance(op.operands[0], Const) and op.operands[0].value >= 0:
            self.fails_unless(op, b.icmp_signed("<", i, n))
            self.numbers[op.result] = i
            return
        from_end = b.select(b.icmp_signed("<", i, integer(0)), b.add(i, n), i)
        self.fails_unless(op, b.icmp_unsigned("<", from_end, n))
        self.numbers[op.result] = from_end

    # control flow

    def branch(self, op: Op) -> None:
        b = self.b
        end = b.append_basic_block("endif")
        heads = [b.append_basic_block(name) for name in ("then", "else")]
        b.cbranch(self.number(op.operands[0]), *heads)
        taken = self.taken_over(op)
        start = self.ownership.last
        ends = []
        for head, region in zip(heads, op.regions, strict=True):
            b.position_at_end(head)
            self.own(taken)
            self.region(region, start)
            values = region.terminator.operands
            self.hand_over(values, start)
            ends.append(([self.parts(v) for v in values], b.block))
            b.branch(end)
        b.position_at_end(end)
        for k, result in enumerate(op.results):
            made = []
            for j, part in enumerate(ends[0][0][k]):
                phi = b.phi(part.type)
                for parts, block in ends:
                    phi.add_incoming(parts[k][j], block)
                made.append(phi)
            self.bind(result, op.regions[0].terminator.operands[k], made)
        self.own(op.results)

    def for_loop(self, op: Op) -> None:
        plan = None if self.inside else self.plans.get(op)
        if plan is not None:
            parallel_loop(self, op, plan)
        elif not streamed(self, op) and not vectorized(self, op):
            self.serial_loop(op)

    def serial_loop(self, op: Op) -> None:
        b = self.b
        low, high = self.number(op.operands[0]), self.number(op.operands[1])
        inits = op.operands[2:]
        self.enter(op, inits)
        starts = [self.parts(v) for v in inits]
        sums = long_sums(op)

        def some(begin: Number, end: Number, carried: list[list[Number]]) -> list[list[Number]]:
            return self.stretch(op, begin, end, carried, (low, high))

        def general() -> list[list[Number]]:
            if not sums or not innermost(op):
                return self.stretch(op, low, high, starts, (low, high), sums)
            write = rows if self.depth and not self.seldom else in_blocks
            return write(b, low, high, starts, sums, some)

        ends = short_row(self, op, low, high, starts, general) if starts else general()
        for result, like, parts in zip(op.results, inits, ends, strict=True):
            self.bind(result, like, parts)
        self.own(op.results)

    def stretch(
        self,
        op: Op,
        low: Number,
        high: Number,
        starts: Sequence[Sequence[Number]],
        whole: tuple[Number, Number],
        sums: Sequence[int] = (),
    ) -> list[list[Number]]:
        """As `turns`, with vectors of the kind that suits the loop."""
        b = self.b
        if rows_of_vectors(self, op, low, high, whole):
            return []
        if not short_rows(op):
            return self.turns(op, low, high, whole, starts, None, sums)
        if self.depth == 0:  # stretches of a sum are rows of whole vectors, but for the last one
            return self.turns(op, low, high, whole, starts, LONG if long_sums(op) else PAIRED)
        count = b.sub(high, low, flags=("nsw",))
        count = b.select(b.icmp_signed(">", count, integer(0)), count, integer(0))
        rest = b.and_(count, integer(LANES - 1))
        middle = b.add(low, b.sub(count, rest, flags=("nsw",)), flags=("nsw",))
        starts = self.turns(op, low, middle, whole, starts, FULL)
        return self.turns(op, middle, b.add(middle, rest, flags=("nsw",)), whole, starts, MASKED)

    def turns(
        self,
        op: Op,
        begin: Number,
        end: Number,
        whole: tuple[Number, Number],
        starts: Sequence[Sequence[Number]],
        vectors: Vectors | None,
        sums: Sequence[int] = (),
    ) -> list[list[Number]]:
        """Some turns of a loop, out of the `whole`; `starts`: the registers that it carries. Returns these afterwards,
        where the loop's results are, too. `sums`: which of them are added up with their rounding errors."""
        b = self.b
        inits = op.operands[2:]
        (region,) = op.regions
        index, *carried = region.args
        start = self.ownership.last
        body, out = b.append_basic_block("loop"), b.append_basic_block("endloop")
        before = b.block
        b.cbranch(b.icmp_signed("<", begin, end), body, out)
        b.position_at_end(body)
        turn = b.phi(ir.IntType(64))
        turn.add_incoming(begin, before)
        phis = self.phis(carried, inits)
        self.incoming(phis, starts, before)
        errors = {k: b.phi(starts[k][0].type) for k in sums}
        for phi in errors.values():
            phi.add_incoming(ir.Constant(phi.type, 0.0), before)
        self.own(carried)
        self.exact.update(self.addition(op, k) for k in sums)
        if op.attrs.get("reverse"):
            low, high = whole
            last = b.add(b.sub(high, integer(1), flags=("nsw",)), low, flags=("nsw",))
            self.numbers[index] = b.sub(last, turn, flags=("nsw",))
        else:
            self.numbers[index] = turn
        alone = not self.function.attrs.get("donated") and independent(op, self.inputs)
        group = self.hints.group() if alone else None
        self.memories.group = group
        self.inner(op, region, start)
        self.memories.group = None
        values = region.terminator.operands
        self.hand_over(values, start)
        following = b.add(turn, integer(1), flags=("nsw",))
        turn.add_incoming(following, b.block)
        ends = [self.parts(v) for v in values]
        self.incoming(phis, ends, b.block)
        found = {k: b.fadd(phi, self.error(op, k)) for k, phi in errors.items()}
        after = b.block
        for k, phi in errors.items():
            phi.add_incoming(found[k], after)
        if vectors is not None and calls_out(b.function.basic_blocks[b.function.basic_blocks.index(body) :]):
            vectors = None
        again = b.cbranch(b.icmp_signed("<", following, end), body, out)
        self.hints.attach(
            again,
            group,
            None if op.attrs.get("plain") else vectors,
            whole=is_short(op) and op is not self.chunked,
            few=bool(op.attrs.get("short")),
            plain=bool(op.attrs.get("plain")),
        )
        b.position_at_end(out)
        results = self.phis(op.results, inits)
        self.incoming(results, starts, before)
        self.incoming(results, ends, after)
        for k, last in found.items():
            remaining = b.phi(last.type)
            remaining.add_incoming(ir.Constant(last.type, 0.0), before)
            remaining.add_incoming(last, after)
            found[k] = remaining
        for k, last in found.items():
            results[k] = [corrected(b, results[k][0], last)]
            self.bind(op.results[k], inits[k], results[k])
        return results

    def inner(self, loop: Op, body: Region, start: Link | None) -> None:
        """The body of a loop."""
        around = self.depth, self.seldom
        self.depth, self.seldom = self.depth + 1, self.large and several_loops(loop)
        self.region(body, start)
        self.depth, self.seldom = around

    def addition(self, op: Op, k: int) -> Op:
        """The operation that adds to a sum that a loop carries."""
        found = op.regions[0].terminator.operands[k].op
        assert found is not None
        return found

    def error(self, op: Op, k: int) -> Number:
        """The rounding error of this turn's addition to a sum."""
        addition, sum_so_far = self.addition(op, k), op.regions[0].args[1 + k]
        x, y = addition.operands
        term = y if x is sum_so_far else x
        return error_of(self.b, self.number(sum_so_far), self.number(term), self.number(addition.result))

    def enter(self, op: Op, inits: Sequence[Value]) -> None:
        """A loop's own references to what it starts from."""
        inside = {v for region in op.regions for inner in walk(region) for v in inner.operands}
        mine = [v for v in self.last.get(op, ()) if inits.count(v) == 1 and v not in inside]
        self.last[op] = set(mine)
        taken = self.taken_over(op)
        for value in inits:
            if self.is_owned(value) and value not in taken:
                self.memories.retain(self.memory(value).owner)

    def while_loop(self, op: Op) -> None:
        b = self.b
        before, body = op.regions
        self.enter(op, op.operands)
        start = self.ownership.last
        head = b.append_basic_block("while")
        inside, end = b.append_basic_block("do"), b.append_basic_block("endwhile")
        entry = b.block
        b.branch(head)
        b.position_at_end(head)
        phis = self.phis(before.args, op.operands)
        self.incoming(phis, [self.parts(v) for v in op.operands], entry)
        self.own(before.args)
        self.region(before, start, ends=False)  # the body follows
        b.cbranch(self.number(before.terminator.operands[0]), inside, end)
        tested = self.ownership.last
        b.position_at_end(inside)
        self.inner(op, body, start)
        values = body.terminator.operands
        self.hand_over(values, start)
        self.incoming(phis, [self.parts(v) for v in values], b.block)
        b.branch(head)
        b.position_at_end(end)
        self.ownership.last = tested
        self.hand_over(before.args, start)
        for result, arg in zip(op.results, before.args, strict=True):
            self.bind(result, arg, self.parts(arg))
        self.own(op.results)


RULES: dict[str, Callable[[Lowering, Op], None]] = {
    "buffer.load": Lowering.load,
    "buffer.store": Lowering.store,
    "buffer.dim": Lowering.dim,
    "buffer.alloc": Lowering.alloc,
    "buffer.reshape": Lowering.reshape,
    "buffer.view": Lowering.view,
    "buffer.call": Lowering.call,
    "check": Lowering.check,
    "same_extent": Lowering.same_extent,
    "bound": Lowering.bound,
    "if": Lowering.branch,
    "for": Lowering.for_loop,
    "while": Lowering.while_loop,
}
