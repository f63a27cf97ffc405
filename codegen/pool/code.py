"""The pool of large blocks as machine code: what kernels call to get memory, and what gives it back.

In: nothing. Out: an LLVM module, compiled once per machine (`process`), with

    adjit_memory_allocate(bytes) -> record     for kernels: Numba's reference-counted record of undefined memory; null
                                               where there is none
    adjit_memory_extend(record, bytes) -> yes  the record's memory, whose only owner asks, holds so many bytes now, the
                                               first as they were; it may lie elsewhere. No (0): it is as it was
    adjit_memory_release(data)                 a record's memory goes back to the pool, by whatever thread
    adjit_memory_clear() -> bytes              what is idle goes back to the system
    adjit_memory_configure(limit, poison)      how many bytes may be idle; whether memory is filled with NaNs
    adjit_memory_idle() -> bytes
    adjit_memory_reused() -> count             allocations that found an idle block

The first touch of a page costs six times what its reuse does. So a block of at least `LARGE` bytes whose record dies (a
buffer or a tape that a kernel releases, a result that Python drops) waits in the pool for the next allocation of about
its size, by any kernel. Smaller ones stay with Numba's allocator, which keeps them itself.

Idle blocks stand in `SLOTS` slots for each of `STEPS` sizes per power of two; a slot is an address, or 0. Who swaps an
address out of a slot owns the block: there is no lock, so threads never wait, and a fork at any point leaves the
child's pool intact. An allocation takes a block of its size or the next larger ones, up to about twice its own. Where
too much is idle, what has waited longest is freed.

A block knows where it begins, its capacity and, if it is a mapping, how large that is, in the three words before its
data, which begin at a cache line. On Linux, blocks of `HUGE` bytes are mappings of their own: in a heap, the system
would go on to make large pages of what was asked for as such once, and of the room of other blocks with it. And a
mapping can be made larger without a copy: the system moves its pages to another address, so that what grows (a tape in
its first call) touches each page once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

__all__ = ["ENTRIES", "EXTERNAL", "LARGE", "write"]

LARGE = 1 << 16
LARGEST = 1 << 43
STEPS = 8  # sizes per power of two: at most an eighth of a block is not asked for
CLASSES = (43 - 15) * STEPS
ROOMY = 1 << 20
"""Blocks from here on are made with a quarter more room than was asked for, so that they can be a somewhat larger one
later: what is not touched is no memory."""
SLOTS = 32
NEAR = STEPS + 1  # how many sizes an allocation looks at
LINE = 64
HEAD = 2 * LINE
HUGE = 1 << 22  # from here on the system is asked for large pages, as NumPy does: a fifth of the faults
LARGE_PAGE = 1 << 21
MADV_HUGEPAGE = 14
MAPPINGS = sys.platform == "linux"
READ_WRITE, PRIVATE_ANONYMOUS = 1 | 2, 2 | 32  # of `mmap`
MAY_MOVE = 1  # of `mremap`
OWNERS, HOW_RELEASED, DATA = 0, 2, 3  # words of Numba's records; `extend` looks whether they are what it takes them for

I1, I8, I32, I64 = (ir.IntType(n) for n in (1, 8, 32, 64))
POINTER = I8.as_pointer()
VOID = ir.VoidType()

ENTRIES = {
    "adjit_memory_allocate": ir.FunctionType(POINTER, [I64]),
    "adjit_memory_extend": ir.FunctionType(I1, [POINTER, I64]),
    "adjit_memory_release": ir.FunctionType(VOID, [POINTER]),
    "adjit_memory_clear": ir.FunctionType(I64, []),
    "adjit_memory_configure": ir.FunctionType(VOID, [I64, I64]),
    "adjit_memory_idle": ir.FunctionType(I64, []),
    "adjit_memory_reused": ir.FunctionType(I64, []),
}
EXTERNAL = {
    "adjit_system_malloc": ir.FunctionType(POINTER, [I64]),
    "adjit_system_free": ir.FunctionType(VOID, [POINTER]),
    "adjit_system_madvise": ir.FunctionType(I32, [POINTER, I64, I32]),
    "adjit_system_mmap": ir.FunctionType(POINTER, [POINTER, I64, I32, I32, I32, I64]),
    "adjit_system_mremap": ir.FunctionType(POINTER, [POINTER, I64, I64, I32]),
    "adjit_system_munmap": ir.FunctionType(I32, [POINTER, I64]),
    "adjit_manage_memory": ir.FunctionType(POINTER, [POINTER, POINTER]),
    "NRT_MemInfo_alloc_aligned": ir.FunctionType(POINTER, [I64, I32]),
    "NRT_MemInfo_data": ir.FunctionType(POINTER, [POINTER]),
}
"""What it calls: the C library's, and Numba's functions that make records."""


def word(number: int) -> ir.Constant:
    return ir.Constant(I64, number)


class _Pool:
    """Writes the module's functions; `state` names its global variables."""

    def __init__(self, module: ir.Module) -> None:
        self.module = module
        self.external = {n: ir.Function(module, t, n) for n, t in EXTERNAL.items()}
        self.slots = self.variable("slots", CLASSES * SLOTS)
        self.stamps = self.variable("stamps", CLASSES * SLOTS)
        self.state = {name: self.variable(name, 1) for name in ("idle", "limit", "clock", "poison", "reused")}
        self.functions = {n: ir.Function(module, t, n) for n, t in ENTRIES.items()}
        self.fresh = self.internal("fresh", POINTER, [I64, I64])
        self.give_back = self.internal("give_back", VOID, [POINTER])
        self.evict = self.internal("evict", I1, [])
        self.take = self.internal("take", POINTER, [I64])
        self.fill = self.internal("fill", VOID, [POINTER, I64])

    def variable(self, name: str, count: int) -> ir.GlobalVariable:
        kind = ir.ArrayType(I64, count)
        out = ir.GlobalVariable(self.module, kind, f"adjit_pool_{name}")
        out.linkage, out.align, out.initializer = "private", LINE, ir.Constant(kind, None)
        return out

    def internal(self, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
        out = ir.Function(self.module, ir.FunctionType(result, arguments), f"adjit_pool_{name}")
        out.linkage = "private"
        return out

    def write(self) -> None:
        self.write_fresh()
        self.write_give_back()
        self.write_evict()
        self.write_take()
        self.write_fill()
        self.write_allocate()
        self.write_extend()
        self.write_release()
        self.write_clear()
        self.write_small()

    # pieces

    def at(self, b: Any, array: ir.GlobalVariable, index: Any) -> Any:
        return b.gep(array, [word(0), index], inbounds=True)

    def get(self, b: Any, name: str) -> Any:
        return b.load_atomic(self.at(b, self.state[name], word(0)), "monotonic", 8)

    def put(self, b: Any, name: str, value: Any) -> None:
        b.store_atomic(value, self.at(b, self.state[name], word(0)), "monotonic", 8)

    def add(self, b: Any, name: str, amount: Any, operation: str = "add") -> Any:
        """The number before."""
        return b.atomic_rmw(operation, self.at(b, self.state[name], word(0)), amount, "monotonic")

    def peek(self, b: Any, index: Any) -> Any:
        """What a slot holds: it may be another thing already."""
        return b.load_atomic(self.at(b, self.slots, index), "monotonic", 8)

    def swap_out(self, b: Any, index: Any) -> Any:
        """The block of a slot, which is the caller's now; 0 where there is none."""
        block = b.atomic_rmw("xchg", self.at(b, self.slots, index), word(0), "acq_rel")
        with b.if_then(b.icmp_unsigned("!=", block, word(0))):
            self.add(b, "idle", self.capacity(b, b.inttoptr(block, POINTER)), "sub")
        return block

    def field(self, b: Any, data: Any, number: int) -> Any:
        return b.gep(b.bitcast(data, I64.as_pointer()), [word(-number)])

    def capacity(self, b: Any, data: Any) -> Any:
        return b.load(self.field(b, data, 2))

    @contextmanager
    def loop(self, b: Any, low: Any, high: Any) -> Iterator[Any]:
        """Each number from `low` on, below `high`."""
        before, body, after, end = (b.append_basic_block(n) for n in ("head", "body", "next", "end"))
        entry = b.block
        b.branch(before)
        b.position_at_end(before)
        i = b.phi(I64)
        i.add_incoming(low, entry)
        b.cbranch(b.icmp_unsigned("<", i, high), body, end)
        b.position_at_end(body)
        yield i
        b.branch(after)
        b.position_at_end(after)
        i.add_incoming(b.add(i, word(1)), after)
        b.branch(before)
        b.position_at_end(end)

    def size_class(self, b: Any, size: Any) -> tuple[Any, Any]:
        """The number of the class whose blocks hold `size` bytes, and how much they hold."""
        last = b.sub(size, word(1))
        exponent = b.sub(word(63), b.ctlz(last, ir.Constant(I1, 0)))
        shift = b.sub(exponent, word(3))
        top = b.lshr(last, shift)  # STEPS .. 2 STEPS - 1
        number = b.add(b.mul(b.sub(exponent, word(15)), word(STEPS)), b.sub(top, word(STEPS)))
        return number, b.shl(b.add(top, word(1)), shift)

    def roomy(self, b: Any, size: Any) -> Any:
        """The capacity of a new block for `size` bytes."""
        among = b.and_(b.icmp_unsigned(">=", size, word(ROOMY)), b.icmp_unsigned("<=", size, word(LARGEST // 2)))
        slack = b.select(among, b.lshr(size, word(2)), word(0))
        return self.size_class(b, b.add(size, slack))[1]

    # functions

    def write_fresh(self) -> None:
        """adjit_pool_fresh(capacity, wanted): a block from the system; null where there is none. Large pages only for
        what is wanted now: a large page is memory as a whole as soon as one byte of it is touched."""
        b = ir.IRBuilder(self.fresh.append_basic_block())
        capacity, wanted = self.fresh.args
        if MAPPINGS:
            with b.if_then(b.icmp_unsigned(">=", capacity, word(HUGE)), likely=False):
                flags = [ir.Constant(I32, n) for n in (READ_WRITE, PRIVATE_ANONYMOUS, -1)]
                total = b.add(capacity, word(HEAD))
                start = b.call(self.external["adjit_system_mmap"], [ir.Constant(POINTER, None), total, *flags, word(0)])
                with b.if_then(b.icmp_signed("==", b.ptrtoint(start, I64), word(-1)), likely=False):
                    b.ret(ir.Constant(POINTER, None))
                data = self.headed(b, start, capacity, total)
                end = b.and_(b.add(b.ptrtoint(data, I64), wanted), word(-LARGE_PAGE))
                size = b.sub(end, b.ptrtoint(start, I64))
                b.call(self.external["adjit_system_madvise"], [start, size, ir.Constant(I32, MADV_HUGEPAGE)])
                b.ret(data)
        start = b.call(self.external["adjit_system_malloc"], [b.add(capacity, word(HEAD))])
        with b.if_then(b.icmp_unsigned("==", start, ir.Constant(POINTER, None)), likely=False):
            b.ret(start)
        b.ret(self.headed(b, start, capacity))

    def headed(self, b: Any, start: Any, capacity: Any, mapped: Any = None) -> Any:
        """Where the data of a block begin, which is told there what it has to know."""
        address = b.ptrtoint(start, I64)
        data = b.inttoptr(b.and_(b.add(address, word(2 * LINE - 1)), word(-LINE)), POINTER)
        b.store(address, self.field(b, data, 1))
        b.store(capacity, self.field(b, data, 2))
        if mapped is not None:
            b.store(mapped, self.field(b, data, 3))
        return data

    def write_give_back(self) -> None:
        """adjit_pool_give_back(data): to the system."""
        b = ir.IRBuilder(self.give_back.append_basic_block())
        (data,) = self.give_back.args
        start = b.inttoptr(b.load(self.field(b, data, 1)), POINTER)
        if MAPPINGS:
            with b.if_then(b.icmp_unsigned(">=", self.capacity(b, data), word(HUGE)), likely=False):
                b.call(self.external["adjit_system_munmap"], [start, b.load(self.field(b, data, 3))])
                b.ret_void()
        b.call(self.external["adjit_system_free"], [start])
        b.ret_void()

    def write_evict(self) -> None:
        """adjit_pool_evict(): free what has waited longest; false where nothing waits."""
        b = ir.IRBuilder(self.evict.append_basic_block())
        oldest, found = b.alloca(I64), b.alloca(I64)
        b.store(word(-1), oldest)
        b.store(word(-1), found)
        with self.loop(b, word(0), word(CLASSES * SLOTS)) as i:
            with b.if_then(b.icmp_unsigned("!=", self.peek(b, i), word(0))):
                stamp = b.load_atomic(self.at(b, self.stamps, i), "monotonic", 8)
                with b.if_then(b.icmp_unsigned("<", stamp, b.load(oldest))):
                    b.store(stamp, oldest)
                    b.store(i, found)
        index = b.load(found)
        with b.if_then(b.icmp_signed("<", index, word(0))):
            b.ret(ir.Constant(I1, 0))
        block = self.swap_out(b, index)
        with b.if_then(b.icmp_unsigned("!=", block, word(0))):  # else another thread took it
            b.call(self.give_back, [b.inttoptr(block, POINTER)])
        b.ret(ir.Constant(I1, 1))

    def write_take(self) -> None:
        """adjit_pool_take(class): an idle block of this class or the next larger ones; null where there is none."""
        b = ir.IRBuilder(self.take.append_basic_block())
        (number,) = self.take.args
        first = b.mul(number, word(SLOTS))
        last = b.add(first, word(NEAR * SLOTS))
        last = b.select(b.icmp_unsigned("<", last, word(CLASSES * SLOTS)), last, word(CLASSES * SLOTS))
        with self.loop(b, first, last) as i:
            with b.if_then(b.icmp_unsigned("!=", self.peek(b, i), word(0))):
                block = self.swap_out(b, i)
                with b.if_then(b.icmp_unsigned("!=", block, word(0))):
                    b.ret(b.inttoptr(block, POINTER))
        b.ret(ir.Constant(POINTER, None))

    def write_fill(self) -> None:
        """adjit_pool_fill(data, size): NaNs of every floating type, where that was asked for."""
        b = ir.IRBuilder(self.fill.append_basic_block())
        data, size = self.fill.args
        with b.if_then(b.icmp_unsigned("!=", self.get(b, "poison"), word(0)), likely=False):
            with self.loop(b, word(0), size) as i:
                b.store(ir.Constant(I8, 0xFF), b.gep(data, [i]))
        b.ret_void()

    def write_allocate(self) -> None:
        function = self.functions["adjit_memory_allocate"]
        b = ir.IRBuilder(function.append_basic_block())
        (size,) = function.args
        null = ir.Constant(POINTER, None)
        with b.if_then(b.icmp_unsigned("<", size, word(LARGE)), likely=True):
            record = b.call(self.external["NRT_MemInfo_alloc_aligned"], [size, ir.Constant(I32, LINE)])
            with b.if_then(b.icmp_unsigned("!=", self.get(b, "poison"), word(0)), likely=False):
                with b.if_then(b.icmp_unsigned("!=", record, null)):
                    b.call(self.fill, [b.call(self.external["NRT_MemInfo_data"], [record]), size])
            b.ret(record)
        with b.if_then(b.icmp_unsigned(">", size, word(LARGEST)), likely=False):
            b.ret(null)
        number, capacity = self.size_class(b, size)
        slot = b.alloca(POINTER)
        found = b.call(self.take, [number])
        b.store(found, slot)
        with b.if_else(b.icmp_unsigned("==", found, null)) as (miss, hit):
            with miss:
                fresh = b.call(self.fresh, [self.roomy(b, size), size])
                b.store(fresh, slot)
                with b.if_then(b.icmp_unsigned("==", fresh, null), likely=False):
                    b.call(self.functions["adjit_memory_clear"], [])
                    again = b.call(self.fresh, [capacity, size])
                    b.store(again, slot)
                    with b.if_then(b.icmp_unsigned("==", again, null), likely=False):
                        b.ret(null)
            with hit:
                self.add(b, "reused", word(1))
        data = b.load(slot)
        b.call(self.fill, [data, size])
        release = b.bitcast(self.functions["adjit_memory_release"], POINTER)
        record = b.call(self.external["adjit_manage_memory"], [data, release])
        with b.if_then(b.icmp_unsigned("==", record, null), likely=False):
            b.call(self.give_back, [data])
        b.ret(record)

    def write_extend(self) -> None:
        """Only mappings are extended, and only where no idle block would do: its pages have been touched."""
        function = self.functions["adjit_memory_extend"]
        b = ir.IRBuilder(function.append_basic_block())
        record, size = function.args
        no, yes = ir.Constant(I1, 0), ir.Constant(I1, 1)
        if not MAPPINGS:
            b.ret(no)
            return
        words = b.bitcast(record, I64.as_pointer())

        def unless(condition: Any) -> None:
            with b.if_then(b.not_(condition)):
                b.ret(no)

        at = b.gep(words, [word(DATA)])
        data = b.call(self.external["NRT_MemInfo_data"], [record])
        unless(b.icmp_unsigned("==", b.load(at), b.ptrtoint(data, I64)))
        released = b.ptrtoint(self.functions["adjit_memory_release"], I64)
        unless(b.icmp_unsigned("==", b.load(b.gep(words, [word(HOW_RELEASED)])), released))
        unless(b.icmp_unsigned("==", b.load_atomic(b.gep(words, [word(OWNERS)]), "acquire", 8), word(1)))
        capacity = self.capacity(b, data)
        unless(b.and_(b.icmp_unsigned(">=", capacity, word(HUGE)), b.icmp_unsigned("<=", size, word(LARGEST // 2))))
        unless(b.icmp_unsigned("==", self.get(b, "poison"), word(0)))
        with b.if_then(b.icmp_unsigned("<=", size, capacity)):
            b.ret(yes)
        number, _ = self.size_class(b, size)
        first = b.mul(number, word(SLOTS))
        last = b.add(first, word(NEAR * SLOTS))
        last = b.select(b.icmp_unsigned("<", last, word(CLASSES * SLOTS)), last, word(CLASSES * SLOTS))
        with self.loop(b, first, last) as i:
            unless(b.icmp_unsigned("==", self.peek(b, i), word(0)))
        larger = self.roomy(b, size)
        start = b.load(self.field(b, data, 1))
        before = b.load(self.field(b, data, 3))
        # whole large pages: then the system lets it begin where large pages do, and next time moves them as they are
        after = b.and_(b.add(larger, word(HEAD + LARGE_PAGE - 1)), word(-LARGE_PAGE))
        place = b.inttoptr(start, POINTER)
        # a mapping of which only a part may have large pages is two, and two are not moved
        b.call(self.external["adjit_system_madvise"], [place, before, ir.Constant(I32, MADV_HUGEPAGE)])
        moved = b.call(self.external["adjit_system_mremap"], [place, before, after, ir.Constant(I32, MAY_MOVE)])
        unless(b.icmp_signed("!=", b.ptrtoint(moved, I64), word(-1)))
        there = self.headed(b, moved, larger, after)
        b.store(b.ptrtoint(there, I64), at)
        b.ret(yes)

    def write_release(self) -> None:
        function = self.functions["adjit_memory_release"]
        b = ir.IRBuilder(function.append_basic_block())
        (data,) = function.args
        capacity = self.capacity(b, data)
        limit = self.get(b, "limit")
        with b.if_then(b.icmp_unsigned(">", capacity, limit), likely=False):
            b.call(self.give_back, [data])
            b.ret_void()
        self.add(b, "idle", capacity)  # before it stands in a slot: who takes it subtracts
        head, evict, enough = (b.append_basic_block(n) for n in ("crowded", "evict", "enough"))
        b.branch(head)
        b.position_at_end(head)
        b.cbranch(b.icmp_unsigned(">", self.get(b, "idle"), limit), evict, enough).set_weights([1, 99])
        b.position_at_end(evict)
        b.cbranch(b.call(self.evict, []), head, enough)
        b.position_at_end(enough)
        stamp = self.add(b, "clock", word(1))
        number, _ = self.size_class(b, capacity)
        first = b.mul(number, word(SLOTS))
        block = b.ptrtoint(data, I64)
        with self.loop(b, first, b.add(first, word(SLOTS))) as i:
            with b.if_then(b.icmp_unsigned("==", self.peek(b, i), word(0))):
                made = b.cmpxchg(self.at(b, self.slots, i), word(0), block, "acq_rel", "monotonic")
                with b.if_then(b.extract_value(made, 1)):
                    b.store_atomic(stamp, self.at(b, self.stamps, i), "monotonic", 8)
                    b.ret_void()
        self.add(b, "idle", capacity, "sub")  # all slots are taken
        b.call(self.give_back, [data])
        b.ret_void()

    def write_clear(self) -> None:
        function = self.functions["adjit_memory_clear"]
        b = ir.IRBuilder(function.append_basic_block())
        total = b.alloca(I64)
        b.store(word(0), total)
        with self.loop(b, word(0), word(CLASSES * SLOTS)) as i:
            with b.if_then(b.icmp_unsigned("!=", self.peek(b, i), word(0))):
                block = self.swap_out(b, i)
                with b.if_then(b.icmp_unsigned("!=", block, word(0))):
                    data = b.inttoptr(block, POINTER)
                    b.store(b.add(b.load(total), self.capacity(b, data)), total)
                    b.call(self.give_back, [data])
        b.ret(b.load(total))

    def write_small(self) -> None:
        function = self.functions["adjit_memory_configure"]
        b = ir.IRBuilder(function.append_basic_block())
        self.put(b, "limit", function.args[0])
        self.put(b, "poison", function.args[1])
        b.ret_void()
        for name in ("idle", "reused"):
            b = ir.IRBuilder(self.functions[f"adjit_memory_{name}"].append_basic_block())
            b.ret(self.get(b, name))


def write(module: ir.Module) -> None:
    """Write the functions into an empty module of the machine's target."""
    _Pool(module).write()
