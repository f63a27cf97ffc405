"""Parallel loops in machine code: chunks of turns, run by whoever of a pool of threads comes first.

In: a loop marked as parallel (`codegen.lower.parallel`), with its plan. Out: its body as a function of a chunk, and the
code that decides, when the program gets there, into how many chunks the turns go, and has them run.

    before the loop:   chunks = as the work suggests, at most CHUNKS; 1 where it is small; some more where that
                                makes them equally long
                       threads = adjit_threads_acquire(wanted, work)
                       context = {records, lo, hi, chunks, copies, what the body uses of its surroundings}
                       adjit_threads_run(task, context, chunks, threads, order)
    the task:          its turns, from what chunk 0 starts with or from nothing; its part of the sums, or its failure,
                       into the record of the chunk
    after the loop:    the failure of the first chunk that failed; else sums of the parts, in the order of chunks

What a chunk is depends on extents alone, never on threads: so results are the same from run to run, for any number of
threads, whoever does what. Every thread has its own copies of workspaces, and every chunk its own copy of what is
accumulated; but the first chunk adds to the original, and the chunk with the last turn works in the original workspace.
Where only turns that are near each other add to the same elements, chunks may do without copies (`tails`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llvmlite import ir

from ...ir.core import Const, Op, Value, walk
from ...ir.types import Buffer
from ..lower.induction import defined_in
from ..lower.parallel import Plan
from ..threads import BACKWARD, FORWARD, IN_ORDER
from . import alone
from .copies import add_copies, clear, copies_of, elements, place_of_copy
from .loop_hints import innermost
from .memory import POINTER, Memory, element_type
from .numba_parts import cgutils
from .ownership import Ownership
from .scalars import integer, scalar, value_type
from .sums import BLOCK, SINGLE, in_blocks, long_sums
from .tails import Part, Tails, after_head, before_tail, part_of
from .work import Work, most_turns

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["parallel_loop"]

I1, I32, I64, F64 = ir.IntType(1), ir.IntType(32), ir.IntType(64), ir.DoubleType()
CHUNKS = 64
"""The most chunks of a loop."""
COPIES = 16
"""The most chunks of a loop that accumulates: each has its own copy of the memory."""
GRAIN = 8000.0
"""The least work in a chunk, in nanoseconds."""
LEAST = 40000.0
"""The least work that goes to threads: for less, the data that comes from another processor's cache takes as long as
the second thread saves."""
COPY_COST = 16.0
"""The least work, in nanoseconds, for each element of an accumulated copy: twenty times what a copy costs."""
SHORT = 16
"""Operations of a loop that is written twice, so that it runs as if there were no threads where these do not pay."""
MUCH = 1e9
"""More work than this is not counted."""
SELDOM = (1, 2000)
"""How often threads are asked for: where they are, what it costs to get there is little; where not, registers are for
the loop."""
LINE = 64
"""Chunks of many turns begin at multiples of a quarter of this."""


@dataclass
class Frame:
    """What is known of one parallel loop while its code is written."""

    op: Op
    plan: Plan
    captured: list[Value]
    words: list[Any]
    """The LLVM values that stand for what is captured, each once: what is equal around the loop is so in it."""
    context: Any
    records: Any
    task: Any
    ended: Any = None
    """Where heads of chunks tell that they have ended; None where no chunks have tails."""


def parallel_loop(low: Lowering, op: Op, plan: Plan) -> None:
    """Write the loop at the builder's position."""
    b = low.b
    low_, high = low.number(op.operands[0]), low.number(op.operands[1])
    trips = b.sub(high, low_)
    trips = b.select(b.icmp_signed(">", trips, integer(0)), trips, integer(0))
    least = None if plan.accumulated else Work(low, op).least_trips(LEAST)
    if least is not None and least > most_turns(op):
        low.serial_loop(op)
        return
    if least is not None:  # one comparison: short loops get here often
        several = b.icmp_signed(">=", trips, integer(max(least, 2)))
    else:
        work = Work(low, op).of_loop()
        parts, _ = parts_worth_it(low, work, plan, trips)
        several = b.and_(b.fcmp_ordered(">=", parts, ir.Constant(F64, 2.0)), b.icmp_signed(">", trips, integer(1)))
        several = b.and_(several, b.fcmp_ordered(">=", work, ir.Constant(F64, LEAST)))
    size = sum(1 for _ in walk(op.regions[0]))
    if low.depth == 0 and not plan.accumulated and size > SHORT:
        # run once in a call: one code for all
        work = Work(low, op).of_loop()
        parts, tails = parts_worth_it(low, work, plan, trips)
        chunks = chunk_count(low, plan, parts, trips, tails)
        run(low, op, plan, b.select(several, chunks, integer(1)), work, tails)
        return
    start = low.ownership.last
    after = b.append_basic_block("joined")
    ends = []

    def write(head: Any, how: Callable[[], None]) -> None:
        b.position_at_end(head)
        how()
        assert low.ownership.last is start
        ends.append(([low.number(v) for v in op.results], b.block))
        b.branch(after)

    def in_chunks() -> None:
        work = Work(low, op).of_loop()
        parts, tails = parts_worth_it(low, work, plan, trips)
        run(low, op, plan, chunk_count(low, plan, parts, trips, tails), work, tails)

    threads, alone = (b.append_basic_block(name) for name in ("threads", "alone"))
    b.cbranch(several, threads, alone).set_weights(SELDOM)
    write(threads, in_chunks)
    b.position_at_end(alone)
    inside = [inner for inner in walk(op.regions[0]) if inner in low.plans]
    if inside:
        together, alone = (b.append_basic_block(name) for name in ("inside", "alone"))
        b.cbranch(large_inside(low, op, inside), together, alone).set_weights(SELDOM)
        write(together, lambda: low.serial_loop(op))
        low.inside = True
    write(alone, lambda: low.serial_loop(op))
    low.inside = False
    b.position_at_end(after)
    for k, value in enumerate(op.results):
        phi = b.phi(value_type(value.dtype))
        for numbers, block in ends:
            phi.add_incoming(numbers[k], block)
        low.numbers[value] = phi


def large_inside(low: Lowering, op: Op, inside: Sequence[Op]) -> Any:
    """Whether a parallel loop inside of this one may be worth threads."""
    b = low.b
    out: Any = None
    for inner in inside:
        work = Work(low, op).of_loop_inside(inner)
        large = b.fcmp_ordered(">=", work, ir.Constant(F64, LEAST))
        out = large if out is None else b.or_(out, large)
    return out


def parts_worth_it(low: Lowering, work: Any, plan: Plan, trips: Any) -> tuple[Any, Tails | None]:
    """How many chunks the work is worth (f64); less than 2: no work for threads. And whether they have tails."""
    b = low.b
    parts = b.fmul(work, ir.Constant(F64, 1.0 / GRAIN))
    if not plan.accumulated:
        return parts, None
    copies = worth_copies(low, work, parts, plan.accumulated)
    if not plan.near:
        return copies, None
    tails = Tails.of(low, plan, trips, copies)
    others = [root for root in plan.accumulated if root not in plan.near]
    limit = b.sitofp(tails.most_chunks(b, trips), F64)
    without = worth_copies(low, work, parts, others)
    without = b.select(b.fcmp_ordered("<", without, limit), without, limit)
    return b.select(tails.wanted, without, copies), tails


def worth_copies(low: Lowering, work: Any, parts: Any, accumulated: Sequence[Value]) -> Any:
    """How many chunks, at most `parts`, the work is worth if each has copies of some memory."""
    b = low.b
    size: Any = ir.Constant(F64, 1.0)
    for root in accumulated:
        size = b.fadd(size, b.sitofp(elements(b, low.memory(root)), F64))
    share = b.fdiv(work, b.fmul(size, ir.Constant(F64, COPY_COST)))
    return b.select(b.fcmp_ordered("<", share, parts), share, parts)


def chunk_count(low: Lowering, plan: Plan, parts: Any, trips: Any, tails: Tails | None) -> Any:
    """Into how many chunks the turns go, where it is more than one."""
    b = low.b
    limit = COPIES if plan.accumulated else CHUNKS
    most = ir.Constant(F64, float(limit))
    chunks = b.fptosi(b.select(b.fcmp_ordered("<", parts, most), parts, most), I64)
    for count in (2, 4, 8, 16):  # few chunks are shared out evenly if they are a power of two
        between = b.and_(b.icmp_signed(">", chunks, integer(count)), b.icmp_signed("<", chunks, integer(2 * count)))
        chunks = b.select(between, integer(count), chunks)
    chunks = b.select(b.icmp_signed("<", trips, chunks), trips, chunks)
    # ... and of as many turns: of ten turns, eight chunks would be five of two
    size = at_least_one(b, b.sdiv(trips, at_least_one(b, chunks)))
    even = b.sdiv(b.add(trips, b.sub(size, integer(1))), size)
    room: Any = integer(limit)
    if tails is not None:
        longest = tails.most_chunks(b, trips)
        room = b.select(b.and_(tails.wanted, b.icmp_signed("<", longest, room)), longest, room)
    return b.select(b.icmp_signed("<=", even, room), even, chunks)


def at_least_one(b: Any, count: Any) -> Any:
    return b.select(b.icmp_signed(">", count, integer(1)), count, integer(1))


# ---------------------------------------------------------------- around the loop


def run(low: Lowering, op: Op, plan: Plan, chunks: Any, work: Any, tails: Tails | None = None) -> None:
    b = low.b
    start = low.ownership.last
    frame = prepare(low, op, plan)
    jobs = chunks
    if tails is not None:
        tails.wanted = b.and_(tails.wanted, b.icmp_signed(">", chunks, integer(1)))
        jobs = b.select(tails.wanted, b.shl(chunks, integer(1)), chunks)
        cgutils.memset(b, frame.ended, b.mul(chunks, integer(8)), 0)
    known = ir.Constant(F64, MUCH)
    nanoseconds = b.fptosi(b.select(b.fcmp_ordered("<", work, known), work, known), I64)
    threads_there = call(b, "adjit_threads_acquire", I64, [integer(low.threads), nanoseconds], chunks)
    copied = b.select(b.icmp_signed(">", chunks, integer(1)), threads_there, integer(0))
    copies = [copies_of(low, root, copied) for root in plan.workspaces]
    more = b.sub(chunks, integer(1))
    of_each = {root: more if tails is None else b.select(tails.wanted, integer(0), more) for root in plan.near}
    copies += [copies_of(low, root, of_each.get(root, more)) for root in plan.accumulated]
    fill_context(low, frame, chunks, tails, copies)
    context = b.bitcast(frame.context, POINTER)
    symbol = cgutils.get_or_insert_function(
        b.module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, I64]), "adjit_threads_run"
    )
    calls = any(inner.name == "buffer.call" for inner in walk(op.regions[0]))
    if calls:
        alone.enter(b)
    order: Any = integer(BACKWARD if op.attrs.get("reverse") else FORWARD)
    if tails is not None:
        order = b.select(tails.wanted, integer(IN_ORDER), order)
    b.call(symbol, [b.bitcast(frame.task, POINTER), context, jobs, threads_there, order])
    if calls:
        alone.leave(b)
    if plan.fails:
        first_failure(low, frame, chunks)
    sums(low, frame, jobs)
    for root, made in zip(plan.accumulated, copies[len(plan.workspaces) :], strict=True):
        add_copies(low, low.memory(root), made, of_each.get(root, more))
    low.ownership.hand_over((), low.memory, low.is_owned, start)


def call(b: Any, name: str, result: Any, arguments: Sequence[Any], chunks: Any) -> Any:
    """How many threads there are; 1 without asking where there is one chunk."""
    function = cgutils.get_or_insert_function(b.module, ir.FunctionType(result, [a.type for a in arguments]), name)
    before = b.block
    asks, asked = b.append_basic_block("asks"), b.append_basic_block("asked")
    b.cbranch(b.icmp_signed(">", chunks, integer(1)), asks, asked)
    b.position_at_end(asks)
    given = b.call(function, arguments)
    b.branch(asked)
    b.position_at_end(asked)
    out = b.phi(I64)
    out.add_incoming(integer(1), before)
    out.add_incoming(given, asks)
    return out


def prepare(low: Lowering, op: Op, plan: Plan) -> Frame:
    """The task, and room on the stack for its context and the records of chunks."""
    inside = defined_in(op.regions[0])
    used = dict.fromkeys(
        v for inner in walk(op.regions[0]) for v in inner.operands if not isinstance(v, Const) and v not in inside
    )
    captured = list(dict.fromkeys([*used, *(v for v in op.operands if not isinstance(v, Const))]))
    # an extent that is known stays known
    words = list(dict.fromkeys(p for v in captured for p in low.parts(v) if not isinstance(p, ir.Constant)))
    carried = [value_type(v.dtype) for v in op.results]
    excinfo = low.b.function.args[1].type.pointee
    record = ir.LiteralStructType([I64, low.detail_type, low.detail_type, I32, excinfo, *carried])
    copies = [element_type(low.memory(r).type).as_pointer() for r in (*plan.workspaces, *plan.accumulated)]
    tails = [I64.as_pointer(), I1, I64] if plan.near else []
    context_type = ir.LiteralStructType([record.as_pointer(), I64, *tails, *copies, *(w.type for w in words)])
    room = str(record)
    with low.b.goto_entry_block():
        context = low.b.alloca(context_type)
        if room not in low.rooms:  # loops run one after the other
            low.rooms[room] = low.b.alloca(ir.ArrayType(record, CHUNKS))
        if plan.near and "ended" not in low.rooms:
            low.rooms["ended"] = low.b.alloca(I64, CHUNKS)
    records = low.rooms[room]
    frame = Frame(op, plan, captured, words, context, records, None, low.rooms["ended"] if plan.near else None)
    frame.task = Body(low, frame).task
    return frame


def fill_context(low: Lowering, frame: Frame, chunks: Any, tails: Tails | None, copies: Sequence[Memory]) -> None:
    b = low.b
    first = b.gep(frame.records, [integer(0), integer(0)])
    of_tails = [] if tails is None else [frame.ended, tails.wanted, tails.reach]
    values = [first, chunks, *of_tails, *(m.data for m in copies), *frame.words]
    for k, value in enumerate(values):
        b.store(value, b.gep(frame.context, [integer(0), I32(k)]))


def field(b: Any, frame: Frame, chunk: Any, k: int) -> Any:
    return b.gep(frame.records, [integer(0), chunk, I32(k)])


def first_failure(low: Lowering, frame: Frame, chunks: Any) -> None:
    """Leave with the failure of the first chunk that failed."""
    b = low.b
    head, bad, good = (b.append_basic_block(name) for name in ("look", "failed_chunk", "fine"))
    step = b.append_basic_block("look_on")
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    chunk = b.phi(I64)
    chunk.add_incoming(integer(0), before)
    b.cbranch(b.icmp_signed("<", chunk, chunks), step, good)
    b.position_at_end(step)
    status, code = b.load(field(b, frame, chunk, 0)), b.load(field(b, frame, chunk, 3))
    fails = b.or_(b.icmp_signed("!=", status, integer(0)), b.icmp_signed("!=", code, I32(0)))
    following = b.add(chunk, integer(1))
    chunk.add_incoming(following, b.block)
    b.cbranch(fails, bad, head).set_weights([1, 99])
    b.position_at_end(bad)
    with b.if_then(b.icmp_signed("!=", code, I32(0)), likely=False):
        b.store(b.load(field(b, frame, chunk, 4)), b.function.args[1])
        b.ret(code)
    for k, slot in enumerate(low.status):
        b.store(b.load(field(b, frame, chunk, k)), slot)
    b.branch(low.ownership.exit())
    b.position_at_end(good)


def sums(low: Lowering, frame: Frame, chunks: Any) -> None:
    """What the loop carries in the end: the parts of chunks, put together in order."""
    b = low.b
    if not frame.plan.sums:
        return
    starts = [b.load(field(b, frame, integer(0), 5 + k)) for k in range(len(frame.plan.sums))]
    head, step, end = (b.append_basic_block(name) for name in ("sum", "sum_on", "summed"))
    before = b.block
    b.branch(head)
    b.position_at_end(head)
    chunk = b.phi(I64)
    chunk.add_incoming(integer(1), before)
    phis = []
    for value in starts:
        phis.append(b.phi(value.type))
        phis[-1].add_incoming(value, before)
    b.cbranch(b.icmp_signed("<", chunk, chunks), step, end)
    b.position_at_end(step)
    following = []
    for k, (kind, phi) in enumerate(zip(frame.plan.sums, phis, strict=True)):
        part = b.load(field(b, frame, chunk, 5 + k))
        following.append(combined(low, kind, frame.op.results[k], phi, part))
    for phi, value in zip(phis, following, strict=True):
        phi.add_incoming(value, b.block)
    chunk.add_incoming(b.add(chunk, integer(1)), b.block)
    b.branch(head)
    b.position_at_end(end)
    for value, phi in zip(frame.op.results, phis, strict=True):
        low.numbers[value] = phi


def combined(low: Lowering, kind: str, like: Value, first: Any, second: Any) -> Any:
    """Two parts of a sum as one."""
    operands = [Value(like.type), Value(like.type)]
    return scalar(low.context, low.b, Op(kind, operands, [like.type]), [first, second])


# ---------------------------------------------------------------- the loop's body


class Body:
    """Writes the function that runs a chunk; `task` is it, as the pool wants it."""

    def __init__(self, low: Lowering, frame: Frame) -> None:
        self.low, self.frame = low, frame
        module = low.b.module
        name = module.get_unique_name(f"{low.b.function.name}.turns")
        excinfo = low.b.function.args[1].type
        # the arguments begin as Numba's do: what is called in the body leaves through them if it raises
        kind = ir.FunctionType(I32, [POINTER, excinfo, frame.context.type, I64, I64])
        self.function = ir.Function(module, kind, name)
        self.function.linkage = "internal"
        self.write()
        self.task = self.make_task(module, name)

    def make_task(self, module: Any, name: str) -> Any:
        """i64 (context, job, thread): not 0 where the chunk failed. A job is a chunk, or a part of one (`tails`)."""
        task = ir.Function(module, ir.FunctionType(I64, [POINTER, I64, I64]), f"{name}.task")
        task.linkage = "internal"
        b = ir.IRBuilder(task.append_basic_block("entry"))
        given, job, thread = task.args
        context = b.bitcast(given, self.frame.context.type)
        part, chunks = self.part(b, context, job)
        near = bool(self.frame.plan.near)
        if near:
            ended = b.load(b.gep(context, [integer(0), I32(2)]))
            before_tail(b, part, chunks, ended)
        pointer = self.function.args[1].type
        raised = b.alloca(pointer.pointee)
        b.store(ir.Constant(pointer.pointee, None), raised)
        code = b.call(self.function, [ir.Constant(POINTER, None), raised, context, job, thread])
        records = b.load(b.gep(context, [integer(0), I32(0)]))
        for k, value in ((3, code), (4, b.load(raised))):
            b.store(value, b.gep(records, [part.record, I32(k)]))
        status = b.load(b.gep(records, [part.record, I32(0)]))
        if near:
            after_head(b, part, ended)
        b.ret(b.or_(status, b.zext(code, I64)))
        return task

    def part(self, b: Any, context: Any, job: Any) -> tuple[Part, Any]:
        """What a job is, and how many chunks there are."""
        chunks = b.load(b.gep(context, [integer(0), I32(1)]))
        if not self.frame.plan.near:
            return Part(ir.Constant(I1, False), job, job), chunks
        return part_of(b, job, chunks, b.load(b.gep(context, [integer(0), I32(3)]))), chunks

    def write(self) -> None:
        outer, frame = self.low, self.frame
        op, plan = frame.op, frame.plan
        b = ir.IRBuilder(self.function.append_basic_block("entry"))
        outer.context.call_conv.init_call_helper(b)
        _, _, context, job, thread = self.function.args
        low = copy.copy(outer)
        low.b = b
        low.memories = copy.copy(outer.memories)
        low.memories.b = b
        low.numbers, low.places = {}, {}
        low.inside, low.depth, low.chunked = True, 0, frame.op
        words = iter(range(len(frame.context.type.pointee.elements)))

        def next_word() -> Any:
            return b.load(b.gep(context, [integer(0), I32(next(words))]))

        records, chunks = next_word(), next_word()
        _, tails, reach = (next_word() for _ in range(3)) if plan.near else (None, ir.Constant(I1, False), integer(0))
        part = self.part(b, context, job)[0]
        copies = [next_word() for _ in (*plan.workspaces, *plan.accumulated)]
        given = {word: next_word() for word in frame.words}
        for value in frame.captured:
            if isinstance(value.type, Buffer):
                low.places[value] = outer.memory(value)  # in form
            low.bind(value, value, [given.get(part, part) for part in outer.parts(value)])
        slots = [b.gep(records, [part.record, I32(k)]) for k in range(3)]
        low.status = slots
        low.way_out = b.append_basic_block("failed")
        low.ownership = Ownership(low.memories, low.way_out)
        low.scope = None
        lo, hi, *inits = op.operands
        low_, high = low.number(lo), low.number(hi)
        trips = b.sub(high, low_)
        trips = b.select(b.icmp_signed(">", trips, integer(0)), trips, integer(0))
        begin, end = bounds(b, trips, chunks, part, reach)
        last = b.icmp_signed("==", end, trips)
        first = b.icmp_signed("==", part.record, integer(0))
        foremost = b.icmp_signed("==", part.chunk, integer(0))
        for k, root in enumerate((*plan.workspaces, *plan.accumulated)):
            original = low.memory(root)
            size = elements(b, original)
            workspace = k < len(plan.workspaces)
            number = thread if workspace else b.sub(part.chunk, integer(1))
            own = place_of_copy(b, original, copies[k], number)
            in_place = last if workspace else b.or_(foremost, tails) if root in plan.near else foremost
            data = b.select(in_place, original.data, own)
            if not workspace:  # a tail goes on with its head's copy
                with b.if_then(b.not_(b.or_(in_place, part.is_tail))):
                    clear(low, data, size, original)
            low.places[root] = Memory(
                original.type, data, original.extents, original.strides, original.owner, original.number
            )
        starts = []
        for kind, value in zip(plan.sums, inits, strict=True):
            start = low.number(value)
            starts.append(b.select(first, start, nothing(kind, start)))

        def some(begin: Any, end: Any, carried: list[list[Any]]) -> list[list[Any]]:
            return low.stretch(op, begin, end, carried, (low_, high))

        sums, carried = long_sums(op), [[value] for value in starts]
        begin, end = b.add(low_, begin), b.add(low_, end)
        block = BLOCK if innermost(op) else SINGLE
        finals = in_blocks(b, begin, end, carried, sums, some, block) if sums else some(begin, end, carried)
        for k, (value,) in enumerate(finals):
            b.store(value, b.gep(records, [part.record, I32(5 + k)]))
        b.store(integer(0), slots[0])
        b.ret(I32(0))
        b.position_at_end(low.way_out)
        b.ret(I32(0))


def bounds(b: Any, trips: Any, chunks: Any, part: Part, reach: Any) -> tuple[Any, Any]:
    """The turns of a part of a chunk; tails are `reach` long. Chunks of many turns begin at multiples of 16, so that
    they meet between cache lines."""
    size = b.udiv(b.add(b.add(trips, reach), b.sub(chunks, integer(1))), chunks)
    rounded = b.and_(b.add(size, integer(LINE // 4 - 1)), integer(-(LINE // 4)))
    size = b.select(b.icmp_unsigned(">=", size, integer(LINE)), rounded, size)

    def least(x: Any) -> Any:
        return b.select(b.icmp_signed("<", x, trips), x, trips)

    begin = b.mul(part.chunk, size)
    middle, end = b.add(begin, b.sub(size, reach)), b.add(begin, size)
    return least(b.select(part.is_tail, middle, begin)), least(b.select(part.is_tail, end, middle))


def nothing(kind: str, start: Any) -> Any:
    """What a sum of nothing is, for chunks after the first: adding it changes no bit."""
    if kind in ("maximum", "minimum"):
        return start
    is_float = isinstance(start.type, ir.DoubleType | ir.FloatType)
    if kind == "mul":
        return ir.Constant(start.type, 1.0 if is_float else 1)
    return ir.Constant(start.type, -0.0 if is_float else 0)
