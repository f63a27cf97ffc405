"""Buffers in machine code: where an element lies, who owns the memory, what cannot overlap.

In: an LLVM builder, and buffers of the scheduled IR. Out: `Memory`, a buffer's LLVM values, and code that allocates,
reads, writes, retains and releases. An allocation is a reference-counted record of Numba's, so that a result can be
handed to Python and to library kernels as an array of Numba's; its memory comes from the pool (`codegen.pool`).

Every access says to which class of memory it belongs (`alias.scope`) and with which it cannot overlap (`noalias`),
so that LLVM vectorizes loops over several buffers without tests at run time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from ...ir.core import Value
from ...ir.types import BOOL, Buffer
from ..pool.code import LARGE
from .numba_parts import arrayobj, cgutils, types
from .scalars import bit, integer, numba_scalar, value_type

__all__ = ["Memories", "Memory"]

I8, I32, I64 = (ir.IntType(n) for n in (8, 32, 64))
POINTER = I8.as_pointer()
ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Memory:
    """A buffer's place: its first element, extents, strides in bytes (None: C order) and owner (None: the caller's)."""

    type: Buffer
    data: Any
    extents: tuple[Any, ...]
    strides: tuple[Any, ...] | None
    owner: Any
    number: int  # of its class of memory


def element_type(type_: Buffer) -> ir.Type:
    """The LLVM type of a number in memory."""
    return I8 if type_.dtype is BOOL else value_type(type_.dtype)


class Memories:
    """Emits code for the memory of one function with `classes` classes of memory."""

    def __init__(self, context: Any, builder: Any, classes: int) -> None:
        self.context, self.b = context, builder
        self.module = builder.module
        self.scopes = self.scope_metadata(classes)
        self.group: Any = None  # of the accesses of the loop that is being written (`loop_hints`)

    # aliasing

    def scope_metadata(self, classes: int) -> list[tuple[Any, Any]]:
        """Per class: the list of its scope, and the list of all other scopes."""
        module = self.module
        domain = module.add_metadata(["adjit memory"])
        scopes = [module.add_metadata([f"adjit memory {k}", domain]) for k in range(classes)]
        own = [module.add_metadata([scope]) for scope in scopes]
        others = [module.add_metadata([s for j, s in enumerate(scopes) if j != k]) for k in range(classes)]
        return list(zip(own, others, strict=True))

    def tag(self, access: Any, memory: Memory) -> None:
        own, others = self.scopes[memory.number]
        access.set_metadata("alias.scope", own)
        if len(self.scopes) > 1:
            access.set_metadata("noalias", others)
        if self.group is not None:
            access.set_metadata("llvm.access.group", self.group)

    # elements

    def place(self, memory: Memory, where: Sequence[Any]) -> Any:
        b = self.b
        if memory.strides is not None:
            offset: Any = None
            for position, stride in zip(where, memory.strides, strict=True):
                step = b.mul(position, stride, flags=("nsw",))
                offset = step if offset is None else b.add(offset, step, flags=("nsw",))
            start = b.gep(b.bitcast(memory.data, POINTER), [offset], inbounds=True)
            return b.bitcast(start, memory.data.type)
        at = where[0]
        for position, extent in zip(where[1:], memory.extents[1:], strict=True):
            at = b.add(b.mul(at, extent, flags=("nsw",)), position, flags=("nsw",))
        return b.gep(memory.data, [at], inbounds=True)

    def load(self, memory: Memory, where: Sequence[Any]) -> Any:
        access = self.b.load(self.place(memory, where))
        self.tag(access, memory)
        if memory.type.dtype is BOOL:
            return self.b.icmp_unsigned("!=", access, I8(0))
        return access

    def store(self, value: Any, memory: Memory, where: Sequence[Any]) -> None:
        if memory.type.dtype is BOOL:
            value = self.b.zext(value, I8)
        self.tag(self.b.store(value, self.place(memory, where)), memory)

    # allocation

    def allocate(self, buffer: Value, extents: Sequence[Any], number: int) -> tuple[Memory, Any]:
        """Fresh memory, and whether there was enough."""
        assert isinstance(buffer.type, Buffer)
        owner = self.b.call(self.allocator(len(extents)), [*extents, integer(buffer.type.dtype.itemsize)])
        enough = self.b.icmp_unsigned("!=", owner, ir.Constant(POINTER, None))
        return self.owned(buffer.type, owner, tuple(extents), number), enough

    def slot(self, buffer: Value, extents: Sequence[Any], number: int) -> Memory:
        """Memory in the kernel's frame, of constant extents; nobody owns it."""
        assert isinstance(buffer.type, Buffer)
        size = 1
        for extent in extents:
            size *= int(extent.constant)
        kind = element_type(buffer.type)
        with self.b.goto_entry_block():
            place = self.b.alloca(ir.ArrayType(kind, max(size, 1)))
        place.align = ALIGNMENT if size * buffer.type.dtype.itemsize >= ALIGNMENT else 16
        return Memory(buffer.type, self.b.bitcast(place, kind.as_pointer()), tuple(extents), None, None, number)

    def owned(self, type_: Buffer, owner: Any, extents: tuple[Any, ...], number: int) -> Memory:
        """The memory of a record; to be completed by `with_data` where the record is known to exist."""
        return Memory(type_, None, extents, None, owner, number)

    def with_data(self, memory: Memory) -> Memory:
        start = self.context.nrt.meminfo_data(self.b, memory.owner)
        data = self.b.bitcast(start, element_type(memory.type).as_pointer())
        return Memory(memory.type, data, memory.extents, memory.strides, memory.owner, memory.number)

    def allocator(self, rank: int) -> Any:
        """A function of the extents and the size of an element: the record of that much memory; null if there is not
        enough, or the size is no number of bytes."""
        name = f"adjit_allocate_{rank}"
        found = self.module.globals.get(name)
        if found is not None:
            return found
        function = ir.Function(self.module, ir.FunctionType(POINTER, [I64] * (rank + 1)), name)
        function.linkage = "internal"
        b = ir.IRBuilder(function.append_basic_block("entry"))
        size: Any = function.args[-1]
        wrong: Any = bit(0)
        for extent in function.args[:-1]:
            # an empty array may have any other extents
            product = b.smul_with_overflow(size, extent)
            size, over = b.extract_value(product, 0), b.extract_value(product, 1)
            wrong = b.or_(wrong, b.or_(over, b.icmp_signed("<", extent, integer(0))))
        with b.if_then(wrong, likely=False):
            b.ret(ir.Constant(POINTER, None))
        allocate = cgutils.get_or_insert_function(self.module, ir.FunctionType(POINTER, [I64]), "adjit_memory_allocate")
        b.ret(b.call(allocate, [size]))
        return function

    def reserve(
        self, memory: Memory, used: Any, needed: Any, buffer: Value, mine: bool, require: Callable[[Any], None]
    ) -> Memory:
        """`memory` itself if it holds `needed` elements, else larger memory that begins with the first `used` of them.

        All that growing takes is in a block of its own, so that what does not grow costs one comparison. `mine`: the
        reference to `memory` goes over to the result, which otherwise has one more; `require` goes on only if there
        was enough memory, and as if nothing had happened yet."""
        assert isinstance(buffer.type, Buffer)
        b = self.b
        (room,) = memory.extents
        grow, end = b.append_basic_block("grow"), b.append_basic_block("reserved")
        stay = end if mine else b.append_basic_block("shared")
        b.cbranch(b.icmp_signed("<=", needed, room), stay, grow).set_weights([99, 1])
        start = b.block
        if not mine:
            b.position_at_end(stay)
            self.retain(memory.owner)
            b.branch(end)
            start = stay
        b.position_at_end(grow)
        itemsize = integer(buffer.type.dtype.itemsize)
        theirs = memory.owner if mine else ir.Constant(POINTER, None)
        grown = b.call(self.grower(), [self.remembered(), room, needed, itemsize, theirs])
        size, owner = b.extract_value(grown, 0), b.extract_value(grown, 1)
        require(b.icmp_unsigned("!=", owner, ir.Constant(POINTER, None)))
        larger = self.with_data(self.owned(buffer.type, owner, (size,), memory.number))
        if mine:
            with b.if_then(b.icmp_unsigned("!=", owner, memory.owner)):
                cgutils.raw_memcpy(b, larger.data, memory.data, used, itemsize)
                self.release(memory.owner)
        else:
            cgutils.raw_memcpy(b, larger.data, memory.data, used, itemsize)
        after = b.block
        b.branch(end)
        b.position_at_end(end)

        def either(kept: Any, new: Any) -> Any:
            phi = b.phi(kept.type)
            phi.add_incoming(kept, start)
            phi.add_incoming(new, after)
            return phi

        data, room, owner = either(memory.data, larger.data), either(room, size), either(memory.owner, owner)
        return Memory(memory.type, data, (room,), None, owner, memory.number)

    def remembered(self) -> Any:
        """A place for how large a tape became here, which later calls read; threads may overwrite each other's."""
        place = ir.GlobalVariable(self.module, I64, self.module.get_unique_name("adjit_last_size"))
        place.linkage, place.initializer = "internal", integer(0)
        return place

    def grower(self) -> Any:
        """A function of a remembered size, the room that there is, what is needed, the size of an element and the
        record of what there is (null: others have it, too): the new room and its record. Null if there is not enough
        memory; the same record where its memory has become larger.

        Room doubles while a tape is small; one that grows beyond the pool's smallest block gets at once what it needed
        in an earlier call, and is copied no more. What is reserved for the first time is of exact size."""
        name = "adjit_grow"
        found = self.module.globals.get(name)
        if found is not None:
            return found
        result = ir.LiteralStructType([I64, POINTER])
        function = ir.Function(self.module, ir.FunctionType(result, [I64.as_pointer(), I64, I64, I64, POINTER]), name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        last, room, needed, itemsize, before_it = function.args
        b = ir.IRBuilder(function.append_basic_block("entry"))

        def larger(x: Any, y: Any) -> Any:
            return b.select(b.icmp_signed(">", x, y), x, y)

        twice = larger(larger(b.shl(room, integer(1)), needed), integer(16))
        before = b.load_atomic(last, "monotonic", 8)
        large = b.icmp_signed(">=", twice, b.udiv(integer(LARGE), itemsize))
        grows = b.and_(large, b.icmp_signed(">", room, integer(0)))
        size = b.select(grows, larger(twice, before), twice)
        with b.if_then(b.and_(grows, b.icmp_signed(">", size, before)), likely=False):
            b.store_atomic(size, last, "monotonic", 8)

        null = ir.Constant(POINTER, None)
        kept = b.insert_value(b.insert_value(ir.Constant(result, ir.Undefined), size, 0), before_it, 1)
        few = b.icmp_signed("<", size, integer(1 << 40))
        with b.if_then(b.and_(b.and_(grows, few), b.icmp_unsigned("!=", before_it, null)), likely=False):
            kind = ir.FunctionType(ir.IntType(1), [POINTER, I64])
            extend = cgutils.get_or_insert_function(self.module, kind, "adjit_memory_extend")
            with b.if_then(b.call(extend, [before_it, b.mul(size, itemsize)])):
                b.ret(kept)

        def give(size: Any) -> Any:
            record = b.call(self.allocator(1), [size, itemsize])
            pair = b.insert_value(ir.Constant(result, ir.Undefined), size, 0)
            return record, b.insert_value(pair, record, 1)

        record, pair = give(size)
        with b.if_then(b.icmp_unsigned("!=", record, null), likely=True):
            b.ret(pair)
        _, pair = give(needed)
        b.ret(pair)
        return function

    def retain(self, owner: Any) -> None:
        self.count("NRT_incref", owner)

    def release(self, owner: Any) -> None:
        self.count("NRT_decref", owner)

    def count(self, name: str, owner: Any) -> None:
        function = cgutils.get_or_insert_function(self.module, ir.FunctionType(ir.VoidType(), [POINTER]), name)
        self.b.call(function, [owner])

    # arrays of Numba's

    def numba_type(self, memory: Memory) -> Any:
        layout = "C" if memory.strides is None else "A"
        return types.Array(numba_scalar(memory.type.dtype), memory.type.rank, layout)

    def as_array(self, memory: Memory) -> Any:
        """The memory as Numba's record of an array."""
        b, dtype = self.b, memory.type.dtype
        array = arrayobj.make_array(self.numba_type(memory))(self.context, b)
        strides = memory.strides or self.c_strides(memory.extents, dtype.itemsize)
        owner = memory.owner if memory.owner is not None else ir.Constant(POINTER, None)
        arrayobj.populate_array(array, memory.data, list(memory.extents), list(strides), integer(dtype.itemsize), owner)
        return array._getvalue()

    def c_strides(self, extents: Sequence[Any], itemsize: int) -> tuple[Any, ...]:
        strides: list[Any] = [integer(itemsize)]
        for extent in reversed(extents[1:]):
            strides.insert(0, self.b.mul(strides[0], extent))
        return tuple(strides)

    def of_array(self, type_: Buffer, record: Any, number: int, layout: str, owned: bool) -> Memory:
        """The memory of an array of Numba's; its owner only if `owned`."""
        kind = types.Array(numba_scalar(type_.dtype), type_.rank, layout)
        array = arrayobj.make_array(kind)(self.context, self.b, value=record)
        extents = tuple(cgutils.unpack_tuple(self.b, array.shape, type_.rank))
        strides = None if layout == "C" else tuple(cgutils.unpack_tuple(self.b, array.strides, type_.rank))
        owner = array.meminfo if owned else None
        return Memory(type_, array.data, extents, strides, owner, number)
