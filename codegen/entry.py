"""How Python enters machine code: checks and unboxes the arguments, calls the kernel, boxes the results, all
natively.

In: the LLVM function that Numba made of a kernel, and what each argument must be. Out: a callable for Python
that returns the kernel's tuple, or **None if the arguments are not what the kernel was compiled for**, so
that nothing unchecked reaches machine code and a caller need not check a second time.

Numba's own wrapper looks at an array's item size alone, allocates a record per array argument, and unpickles
a class per array result; checking dtype, rank, contiguity and extents in Python would cost another 0.1 µs per
array. Here an argument is checked by comparing pointers and numbers in its header:

* a number: its exact type (`float` or `np.float64`, ...); an `int` beyond its type's range raises
  OverflowError or misses;
* an array: exactly `ndarray`, NumPy's own native dtype object, rank, the contiguity of its layout, alignment,
  extents that the type fixes, and, with `distinguish_ones`, that no other extent is 1. Whether it is writable
  is not checked.

A result of at most `SMALL` bytes becomes an array of NumPy's own memory, by a copy; a larger one keeps the
kernel's.

The layout of `PyArrayObject` and of NumPy's scalars is part of NumPy's binary interface (its C macros read
the same fields); `supported` nevertheless looks, and where it is another, kernels get Numba's wrapper and
`host` checks in Python.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.types import BOOL, DTYPES, F32, F64, U64, Array, DType, Scalar

__all__ = ["Argument", "build_wrapper", "make_callable", "register_symbols", "supported"]

SMALL = 2048  # bytes
_HEAD = object.__basicsize__  # of every object: reference count(s), then the type as its last word
_TYPE = _HEAD - 8
_DATA, _RANK, _DIMENSIONS, _STRIDES, _DTYPE, _FLAGS = (_HEAD + n for n in (0, 8, 16, 24, 40, 48))
_C, _F, _ALIGNED = 0x1, 0x2, 0x100
LAYOUT_BITS = {  # (mask, value) of an array's flags
    "C": (_C | _ALIGNED, _C | _ALIGNED),
    "F": (_C | _F | _ALIGNED, _F | _ALIGNED),
    "A": (_ALIGNED, _ALIGNED),
}
_FASTCALL = 0x80  # METH_FASTCALL
_kept: list[object] = []  # what LLVM knows by its address


@dataclass(frozen=True)
class Argument:
    """What one argument must be. With `distinguish_ones`, an extent that the type leaves open must not be
    1."""

    type: Scalar | Array
    layout: str
    distinguish_ones: bool


@functools.cache
def supported() -> bool:
    """Whether objects are laid out here as this module reads them: looks at an array and at scalars."""
    if platform.python_implementation() != "CPython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    at = id(array)
    word, flags = ctypes.c_uint64.from_address, ctypes.c_uint32.from_address

    def words(address: int) -> tuple[int, int]:
        return ctypes.c_int64.from_address(address).value, ctypes.c_int64.from_address(address + 8).value

    scalars = {
        d: {"f": ctypes.c_double if d == F64 else ctypes.c_float, "b": ctypes.c_bool}.get(d.kind)
        or getattr(ctypes, f"c_{'u' * (d.kind == 'u')}int{8 * d.itemsize}")
        for d in DTYPES.values()
    }
    number = 1.25
    return (
        word(at + _TYPE).value == id(np.ndarray)
        and word(at + _DATA).value == array.ctypes.data
        and flags(at + _RANK).value == 2
        and words(word(at + _DIMENSIONS).value) == array.shape
        and words(word(at + _STRIDES).value) == array.strides
        and word(at + _DTYPE).value == id(array.dtype) == id(np.dtype(np.float64))
        and flags(at + _FLAGS).value == array.flags.num
        and ctypes.c_double.from_address(id(number) + _HEAD).value == number
        and all(
            kind.from_address(id(scalar) + _HEAD).value == scalar.item()
            for d, kind in scalars.items()
            for scalar in [d.numpy.type(1)]
        )
    )


@functools.cache
def register_symbols() -> None:
    """Tell LLVM the addresses that entries refer to by name: types, dtypes, NumPy's constructor of arrays."""
    llvm = importlib.import_module("llvmlite.binding")
    objects: dict[str, object] = {
        "float": float,
        "int": int,
        "ndarray": np.ndarray,
        "true": True,
        "false": False,
    }
    for dtype in DTYPES.values():
        objects[f"dtype_{dtype}"] = dtype.numpy
        objects[f"scalar_{dtype}"] = dtype.numpy.type
    for name, value in objects.items():
        _kept.append(value)
        llvm.add_symbol(f"adjit_{name}", id(value))
    table = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    functions = (ctypes.c_void_p * 95).from_address(pointer(table, None))
    llvm.add_symbol("adjit_PyArray_NewFromDescr", functions[94])  # the number is part of NumPy's interface


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def make_callable(address: int, name: str, owners: tuple[object, ...]) -> Callable[..., Any]:
    """The Python callable of an entry at `address`; it keeps `owners` alive."""
    definition = _MethodDef(name.encode(), address, _FASTCALL, b"compiled kernel; None for other arguments")
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = [ctypes.POINTER(_MethodDef), ctypes.py_object, ctypes.py_object]
    made: Callable[..., Any] = make(ctypes.byref(definition), (definition, *owners), "adjit")
    return made


def build_wrapper(
    context: Any, module: Any, function_descriptor: Any, arguments: Sequence[Argument], nogil: bool
) -> None:
    """Add the entry of a kernel to LLVM `module`, under the name that Numba gives to its CPython wrapper."""
    _Wrapper(context, module, function_descriptor).build(arguments, nogil)


class _Wrapper:
    def __init__(self, context: Any, module: Any, descriptor: Any) -> None:
        self.ir = importlib.import_module("llvmlite.ir")
        self.types = importlib.import_module("numba.core.types")
        self.cgutils = importlib.import_module("numba.core.cgutils")
        self.arrayobj = importlib.import_module("numba.np.arrayobj")
        self.context, self.module, self.descriptor = context, module, descriptor
        self.i8, self.i32, self.i64 = (self.ir.IntType(n) for n in (8, 32, 64))
        self.pointer = self.i8.as_pointer()

    def build(self, arguments: Sequence[Argument], nogil: bool) -> None:
        ir, descriptor = self.ir, self.descriptor
        signature = ir.FunctionType(self.pointer, [self.pointer, self.pointer.as_pointer(), self.i64])
        wrapper = ir.Function(self.module, signature, name=descriptor.llvm_cpython_wrapper_name)
        kernel_type = self.context.call_conv.get_function_type(descriptor.restype, descriptor.argtypes)
        kernel = ir.Function(self.module, kernel_type, name=descriptor.llvm_func_name)
        builder = self.builder = ir.IRBuilder(wrapper.append_basic_block("entry"))
        self.api = self.context.get_python_api(builder)
        self.miss = wrapper.append_basic_block("miss")
        self.error = wrapper.append_basic_block("error")
        with builder.goto_block(self.miss):
            builder.ret(self.api.make_none())
        with builder.goto_block(self.error):
            builder.ret(ir.Constant(self.pointer, None))

        _, vector, count = wrapper.args
        self.require(builder.icmp_signed("==", count, self.i64(len(arguments))))
        values = []
        for i, (argument, type_) in enumerate(zip(arguments, descriptor.argtypes)):
            object_ = builder.load(builder.gep(vector, [self.i64(i)]))
            unbox = self.array if isinstance(argument.type, Array) else self.scalar
            values.append(unbox(object_, argument, type_))
        thread = self.api.save_thread() if nogil else None
        status, result = self.context.call_conv.call_function(
            builder, kernel, descriptor.restype, descriptor.argtypes, values, attrs=("noinline",)
        )
        if nogil:
            self.api.restore_thread(thread)
        with builder.if_then(status.is_error, likely=False):  # memory ran out
            self.context.call_conv.raise_error(builder, self.api, status)
            builder.branch(self.error)
        builder.ret(self.results(result))

    # Reading objects.

    def symbol(self, name: str) -> Any:
        """The address registered as `name`."""
        full = f"adjit_{name}"
        return self.module.globals.get(full) or self.ir.GlobalVariable(self.module, self.i8, full)

    def field(self, object_: Any, offset: int, type_: Any) -> Any:
        """What stands at `offset` of an object's memory."""
        place = self.builder.gep(object_, [self.i64(offset)])
        return self.builder.load(self.builder.bitcast(place, type_.as_pointer()))

    def require(self, condition: Any) -> None:
        """Go on if `condition`, else miss."""
        after = self.builder.append_basic_block("fits")
        branch = self.builder.cbranch(condition, after, self.miss)
        branch.set_weights([99, 1])
        self.builder.position_at_end(after)

    def is_(self, value: Any, name: str) -> Any:
        return self.builder.icmp_unsigned("==", value, self.symbol(name))

    def scalar(self, object_: Any, argument: Argument, type_: Any) -> Any:
        """The value of a number: of adjit's dtype as a NumPy scalar, or Python's own."""
        builder, dtype = self.builder, argument.type.dtype
        native = self.context.get_value_type(type_)
        found = self.field(object_, _TYPE, self.pointer)
        if dtype == F64:  # both keep a double behind the header
            self.require(builder.or_(self.is_(found, "float"), self.is_(found, f"scalar_{dtype}")))
            return self.field(object_, _HEAD, native)
        slot = self.cgutils.alloca_once(builder, native)
        python, end = (builder.append_basic_block(name) for name in ("python", "unboxed"))
        own = builder.append_basic_block("own")
        builder.cbranch(self.is_(found, f"scalar_{dtype}"), own, python)
        builder.position_at_end(own)
        if dtype == BOOL:
            value = builder.icmp_unsigned("!=", self.field(object_, _HEAD, self.i8), self.i8(0))
        else:
            value = self.field(object_, _HEAD, native)
        builder.store(value, slot)
        builder.branch(end)
        builder.position_at_end(python)
        builder.store(self.python_scalar(object_, found, dtype, native), slot)
        builder.branch(end)
        builder.position_at_end(end)
        return builder.load(slot)

    def python_scalar(self, object_: Any, found: Any, dtype: DType, native: Any) -> Any:
        builder = self.builder
        if dtype == F32:
            self.require(self.is_(found, "float"))
            return builder.fptrunc(self.field(object_, _HEAD, self.ir.DoubleType()), native)
        if dtype == BOOL:
            true = self.is_(object_, "true")
            self.require(builder.or_(true, self.is_(object_, "false")))
            return true
        self.require(self.is_(found, "int"))
        convert = "PyLong_AsUnsignedLongLong" if dtype == U64 else "PyLong_AsLongLong"
        function = self.cgutils.get_or_insert_function(
            self.module, self.ir.FunctionType(self.i64, [self.pointer]), convert
        )
        value = builder.call(function, [object_])
        with builder.if_then(builder.icmp_signed("==", value, self.i64(-1)), likely=False):
            fine = self.cgutils.is_null(builder, self.api.err_occurred())
            after = builder.append_basic_block("minus_one")
            builder.cbranch(fine, after, self.error)
            builder.position_at_end(after)
        if native.width == 64:
            return value
        narrow = builder.trunc(value, native)
        widen = builder.zext if dtype.kind == "u" else builder.sext
        self.require(builder.icmp_signed("==", widen(narrow, self.i64), value))
        return narrow

    def array(self, object_: Any, argument: Argument, type_: Any) -> Any:
        """Numba's record of an array, after its header was found to be right. It owns nothing: the caller
        holds the array as long as the kernel runs."""
        builder = self.builder
        assert isinstance(argument.type, Array)
        dims, layout = argument.type.dims, argument.layout
        mask, value = LAYOUT_BITS["C" if len(dims) == 1 and layout == "F" else layout]
        self.require(self.is_(self.field(object_, _TYPE, self.pointer), "ndarray"))
        same = self.is_(self.field(object_, _DTYPE, self.pointer), f"dtype_{argument.type.dtype}")
        rank = builder.icmp_signed("==", self.field(object_, _RANK, self.i32), self.i32(len(dims)))
        flags = builder.and_(self.field(object_, _FLAGS, self.i32), self.i32(mask))
        fits = builder.and_(builder.and_(same, rank), builder.icmp_signed("==", flags, self.i32(value)))
        self.require(fits)  # the rank first: it says how many extents there are
        words = self.i64.as_pointer()
        extents = self.field(object_, _DIMENSIONS, words)
        strides = self.field(object_, _STRIDES, words)

        def read(words: Any) -> list[Any]:
            return [builder.load(builder.gep(words, [self.i64(i)])) for i in range(len(dims))]

        shape = read(extents)
        for extent, fixed in zip(shape, dims):
            if fixed is not None:
                self.require(builder.icmp_signed("==", extent, self.i64(fixed)))
            elif argument.distinguish_ones:
                self.require(builder.icmp_signed("!=", extent, self.i64(1)))
        array = self.context.make_array(type_)(self.context, builder)
        data = self.field(object_, _DATA, self.pointer)
        self.arrayobj.populate_array(
            array,
            data=builder.bitcast(data, array.data.type),
            shape=shape,
            strides=read(strides),
            itemsize=argument.type.dtype.itemsize,
            meminfo=None,
        )
        return array._getvalue()

    # Making objects.

    def results(self, result: Any) -> Any:
        """The kernel's tuple as a Python tuple."""
        builder, type_ = self.builder, self.descriptor.restype
        if not isinstance(type_, self.types.BaseTuple):
            raise TypeError(f"a kernel that returns {type_}, not a tuple")
        made = self.api.tuple_new(len(type_))
        for i, part in enumerate(type_):
            value = builder.extract_value(result, i)
            if isinstance(part, self.types.Array):
                boxed = self.box_array(value, part)
            else:
                boxed = self.api.from_native_value(part, value)
            with builder.if_then(self.cgutils.is_null(builder, boxed), likely=False):
                self.api.decref(made)  # out of memory: later results are lost with it
                builder.branch(self.error)
            self.api.tuple_setitem(made, i, boxed)
        return made

    def box_array(self, value: Any, type_: Any) -> Any:
        """An array for Python: a copy if it is small, else one that holds the kernel's memory."""
        builder, ir = self.builder, self.ir
        array = self.context.make_array(type_)(self.context, builder, value=value)
        dtype = self.symbol(f"dtype_{_dtype_name(type_)}")
        slot = self.cgutils.alloca_once_value(builder, value)
        result = self.cgutils.alloca_once(builder, self.pointer)
        size = builder.mul(array.nitems, array.itemsize)
        small = builder.icmp_unsigned("<=", size, self.i64(SMALL if type_.layout == "C" else 0))
        with builder.if_else(small) as (copy, keep):
            with copy:
                new = self.cgutils.get_or_insert_function(
                    self.module,
                    ir.FunctionType(
                        self.pointer,
                        [self.pointer, self.pointer, self.i32, self.i64.as_pointer(), self.i64.as_pointer()]
                        + [self.pointer, self.i32, self.pointer],
                    ),
                    "adjit_PyArray_NewFromDescr",
                )
                null = ir.Constant(self.pointer, None)
                extents = builder.bitcast(self.cgutils.alloca_once_value(builder, array.shape), self.i64.as_pointer())
                self.api.incref(dtype)  # the constructor takes it over
                made = builder.call(
                    new,
                    [self.symbol("ndarray"), dtype, self.i32(type_.ndim), extents]
                    + [ir.Constant(self.i64.as_pointer(), None), null, self.i32(0), null],
                )
                with builder.if_then(self.cgutils.is_not_null(builder, made), likely=True):
                    self.cgutils.raw_memcpy(
                        builder, self.field(made, _DATA, self.pointer), array.data, size, self.i64(1)
                    )
                builder.store(made, result)
            with keep:
                adapt = self.cgutils.get_or_insert_function(
                    self.module,
                    ir.FunctionType(self.pointer, [self.pointer, self.pointer, self.i32, self.i32, self.pointer]),
                    "NRT_adapt_ndarray_to_python_acqref",
                )
                place = builder.bitcast(slot, self.pointer)
                made = builder.call(adapt, [place, self.symbol("ndarray"), self.i32(type_.ndim), self.i32(1), dtype])
                builder.store(made, result)
        self.context.nrt.decref(builder, type_, value)
        return builder.load(result)


def _dtype_name(type_: Any) -> str:
    numpy_dtype = importlib.import_module("numba.np.numpy_support").as_dtype(type_.dtype)
    for dtype in DTYPES.values():
        if dtype.numpy == numpy_dtype:
            return dtype.name
    raise TypeError(f"a kernel that returns an array of {type_.dtype}")
