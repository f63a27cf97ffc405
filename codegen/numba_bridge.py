"""The only place that knows Numba's insides: Python function -> machine code -> callable, and back from the
disk.

In: a Python function in the subset that Numba's nopython mode compiles, its argument types and the flags.
Out: `MachineCode`, whose `entry` is the compiled callable itself, without Numba's dispatcher around it.

What is used of Numba, and why not its public `njit`:

* `compile_extra` with `Flags`: one compilation for one explicit signature. The `noalias` flag exists there
  only.
* A target context of our own (`_kernel_context`), which replaces Numba's CPython wrapper by ours (`entry`). A
  dispatcher finds the types of the arguments again at each call, and the wrapper behind it trusts what the
  dispatcher found: it looks at an array's item size alone, and truncates a float passed for an integer. Ours
  checks natively and is faster than both.
* A code library of our own (`_kernel_library`). Numba makes everything that a kernel calls a weak symbol,
  named after the callee and a per-process counter; an object file loaded from a cache may then be linked to
  another process's idea of the same name. In our objects, all symbols except the kernel's own are private,
  so an object is closed in itself.
* The object code and the kernel's constants as plain data (bytes, dtype names). No pickle is read from the
  disk, no registry of Numba's is needed to load: it takes well under a millisecond and spares Numba's
  one-time initialisation.

`tests/test_build.py::test_numba_offers_what_the_bridge_uses` fails with the name of what a new Numba changed.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import importlib
import json
import os
import platform
import struct
import sys
import types as python_types
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache as memoize
from typing import Any

import numpy as np

from ..ir.types import Array, DType, Scalar
from . import blas_threads, callbacks, entry, external, shared, threads
from .entry import Argument

__all__ = [
    "Argument",
    "CompileFlags",
    "MachineCode",
    "asm_text",
    "compile_function",
    "compiler_lock",
    "compiling",
    "environment",
    "image_of",
    "is_jitted",
    "kernel_context",
    "kernel_library",
    "link",
    "llvm_text",
    "load",
    "load_routine",
    "native_of",
    "needs",
    "numba_type",
    "object_of",
    "python_function_of",
    "record_maker",
    "serialize",
    "settings",
]

_HEAD = struct.Struct("<III")  # lengths: description, object code, bitcode


@dataclass(frozen=True)
class CompileFlags:
    """How to compile. `fastmath`: False, True or a set of LLVM's flag names; `noalias`: memory that is
    written is reached through one argument only."""

    fastmath: bool | frozenset[str] = False
    noalias: bool = True
    nogil: bool = True

    def text(self) -> str:
        fast = self.fastmath if isinstance(self.fastmath, bool) else ",".join(sorted(self.fastmath))
        return f"fastmath={fast};noalias={self.noalias};nogil={self.nogil};error_model=numpy;boundscheck=False"


@dataclass
class MachineCode:
    """One compiled function. `entry(*args)` calls it; `image` is what `load` needs, None where it cannot be
    stored.

    `checked`: `entry` gives None for arguments of other types. If not, it must never see such.
    """

    entry: Callable[..., Any]
    checked: bool
    llvm: Callable[[], str]
    asm: Callable[[], str]
    image: bytes | None
    keep: tuple[object, ...]  # owners of the memory that `entry` uses
    native: Callable[[], tuple[int, Any]]
    """The address of the function behind the entry, in Numba's own calling convention, and Numba's type of its
    result."""


def environment() -> str:
    """Everything outside a kernel that machine code depends on: versions, the CPU with its features, Numba's
    settings (`NUMBA_OPT` and others)."""
    llvmlite = importlib.import_module("llvmlite")
    numba = _numba("")
    triple, cpu, features = _codegen().magic_tuple()
    versions = (
        numba.__version__,
        llvmlite.__version__,
        np.__version__,
        sys.version,
        platform.python_implementation(),
    )
    settings = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    return "\n".join((*versions, triple, cpu, features, repr(settings)))


def _numba(module: str) -> Any:
    """A module of Numba's, which is partly typed and means little by it."""
    return importlib.import_module(f"numba.{module}" if module else "numba")


@memoize
def _target() -> Any:
    return _numba("core.registry").cpu_target


def _codegen() -> Any:
    return _target().target_context.codegen()


def numba_type(type_: Scalar | Array, layout: str) -> Any:
    """Numba's type of an argument; `layout` is ``C``, ``F`` or ``A`` for arrays and of no meaning for
    scalars.

    Arrays are declared writable and aligned. Read-only arrays may be passed all the same, as unboxing does
    not look.
    """
    scalar = _numba_scalar(type_.dtype)
    if isinstance(type_, Scalar):
        return scalar
    if layout not in ("C", "F", "A"):
        raise ValueError(f"not a layout: {layout!r}")
    if layout == "F" and type_.rank == 1:
        layout = "C"
    return _numba("core.types").Array(scalar, type_.rank, layout, readonly=False, aligned=True)


def _numba_scalar(dtype: DType) -> Any:
    return _numba("np.numpy_support").from_dtype(dtype.numpy)


@memoize
def _kernel_library() -> Any:
    """A class of code libraries that export nothing but the kernel (see the module's docstring)."""
    base: Any = _numba("core.codegen").JITCodeLibrary

    class KernelLibrary(base):  # type: ignore[misc]
        kernel_module = ""
        arguments: tuple[Argument, ...] = ()
        passes: Callable[[Any, Any], None] | None = None  # other passes than Numba's, on a module and target machine

        def _optimize_functions(self, module: Any) -> None:
            if self.passes is None:
                super()._optimize_functions(module)

        def _optimize_final_module(self) -> None:
            for function in self._final_module.functions:
                # vector forms refer to their function by its signature, which LLVM may change where it is internal;
                # their names say what they are, so that another object's are the same
                if function.name.startswith("adjit_"):
                    continue
                if not function.is_declaration and function.linkage.name in _SHARED:
                    function.linkage = "internal"
            for variable in self._final_module.global_variables:
                # environments of callees: only Python objects would need them, which kernels do not use
                if (
                    not variable.is_declaration
                    and variable.linkage.name in _SHARED
                    and self.kernel_module not in variable.name
                ):
                    variable.linkage = "internal"
            if self.passes is None:
                super()._optimize_final_module()
            else:
                self.passes(self._final_module, self._codegen._tm)
            make_private(self._final_module)

    return KernelLibrary


def make_private(module: Any) -> None:
    """Take the names of internal symbols out of the object. The linker within LLVM's engine finds local symbols by name
    from other objects, too: `@njit` code compiled later would call our `NRT_incref`, which may rely on how our own code
    calls it."""
    for symbol in (*module.functions, *module.global_variables):
        if not symbol.is_declaration and symbol.linkage.name == "internal":
            symbol.linkage = "private"


_SHARED = frozenset(("linkonce_any", "linkonce_odr", "weak_any", "weak_odr", "common"))


@memoize
def _kernel_context() -> Any:
    """A target context like Numba's own for this CPU, which makes our entries."""
    base: Any = _numba("core.cpu").CPUContext

    class KernelContext(base):  # type: ignore[misc]
        def create_cpython_wrapper(
            self, library: Any, fndesc: Any, env: Any, call_helper: Any, release_gil: bool = False
        ) -> None:
            module = self.create_module("wrapper")
            entry.build_wrapper(self, module, fndesc, library.arguments, release_gil)
            library.add_ir_module(module)

        def get_executable(self, library: Any, fndesc: Any, env: Any) -> Any:
            address = library.get_pointer_to_function(fndesc.llvm_cpython_wrapper_name)
            _set_environment(env)
            return entry.make_callable(address, fndesc.qualname, (library, env))

    original = _target().target_context
    original.refresh()
    context = copy.copy(original)  # as `subtarget` does: what is registered is shared
    context.__class__ = KernelContext
    return context


def _set_environment(environment: Any) -> None:
    """Point the machine code to the Python objects it may need; most kernels need none."""
    if _codegen()._engine.is_symbol_defined(environment.env_name):
        _codegen().set_env(environment.env_name, environment)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """One compilation at a time, without Numba's warnings, which are advice to whoever writes Numba code by hand."""
    with _numba("core.compiler_lock").global_compiler_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore", _numba("core.errors").NumbaWarning)
        yield


def kernel_context(checked: bool) -> Any:
    """The target context to compile a kernel with; `checked`: with our own entry."""
    return _kernel_context() if checked else _target().target_context


def kernel_library(module_name: str, arguments: Sequence[Argument]) -> Any:
    """An empty code library for a kernel."""
    library = _kernel_library()(_codegen(), module_name)
    library.kernel_module = module_name
    library.arguments = tuple(arguments)
    library.enable_object_caching()  # keeps the object code that LLVM emits
    return library


def settings(flags: CompileFlags) -> Any:
    """Numba's flags of a kernel."""
    out = _numba("core.compiler").Flags()
    out.nrt = True
    out.enable_pyobject = False
    out.enable_looplift = False
    out.boundscheck = False
    out.error_model = "numpy"
    out.release_gil = flags.nogil
    out.no_cfunc_wrapper = True
    out.noalias = flags.noalias
    fast = flags.fastmath
    out.fastmath = _numba("core.cpu_options").FastMathOptions(fast if isinstance(fast, bool) else set(fast))
    return out


def object_of(name: str, write: Callable[[Any], Any]) -> bytes:
    """The object code of a module that `write` writes, which needs nothing of Numba's but what it declares."""
    with compiling():
        codegen = _codegen()
        library = codegen.create_library(name)
        library.enable_object_caching()
        module = _target().target_context.create_module(name)
        write(module)
        library.add_ir_module(module)
        library.finalize()
        code: bytes = library._get_compiled_object()
        return code


def link(name: str, object_code: bytes, functions: Sequence[str]) -> dict[str, int]:
    """The addresses of an object's functions, which stay for as long as the process lives: objects of Python's may
    call them to their end."""
    with _numba("core.compiler_lock").global_compiler_lock:
        codegen = _codegen()
        library = codegen.create_library(name)
        library.enable_object_caching()
        library._set_compiled_object(object_code)
        library._finalize_final_module()
        codegen._engine._defined_symbols.update(functions)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object((library, codegen)))
        return {f: library.get_pointer_to_function(f) for f in functions}


def record_maker() -> int:
    """The address of Numba's function that makes a record of memory and of what releases it."""
    _numba("core.runtime.nrt").rtsys.initialize(_target().target_context)
    helpers = _numba("core.runtime._nrt_python").c_helpers
    table = ctypes.CFUNCTYPE(ctypes.c_void_p)(helpers["get_api"])()
    assert table is not None
    return int((ctypes.c_void_p * 3).from_address(table)[2] or 0)  # NRT_api_functions.manage_memory


def compile_function(
    function: python_types.FunctionType, arguments: Sequence[Argument], flags: CompileFlags
) -> MachineCode:
    """Compile `function` for `arguments`. The name of its module must be unique to this
    compilation (symbols are named after it) and the module must be in `sys.modules`.

    Raises Numba's errors where the function is outside the subset, which for a rendered kernel is a bug of
    adjit's.
    """
    compiler = _numba("core.compiler")
    types = [numba_type(argument.type, argument.layout) for argument in arguments]
    checked = entry.supported()
    if checked:
        entry.register_symbols()
    target = _target()
    with compiling():
        library = kernel_library(function.__module__, arguments)
        result = compiler.compile_extra(
            target.typing_context,
            kernel_context(checked),
            function,
            args=tuple(types),
            return_type=None,
            flags=settings(flags),
            locals={},
            library=library,
        )
        image = image_of(result, checked)
    keep = (library, result.environment)
    native = native_of(library, result.fndesc)
    return MachineCode(result.entry_point, checked, library.get_llvm_str, library.get_asm_str, image, keep, native)


def native_of(library: Any, descriptor: Any) -> Callable[[], tuple[int, Any]]:
    """What `MachineCode.native` is for a function of a library."""
    return lambda: (library.get_pointer_to_function(descriptor.llvm_func_name), descriptor.restype)


def compiler_lock() -> Any:
    """Numba's lock, which whoever compiles or loads holds. To be taken before any of adjit's."""
    return _numba("core.compiler_lock").global_compiler_lock


def image_of(result: Any, checked: bool) -> bytes | None:
    """The compile result as plain bytes; None where it refers to this process (addresses in the code,
    start-up functions, Python objects other than dtypes among its constants)."""
    library = result.library
    constants = [_constant_name(c) for c in result.environment.consts]
    if library.has_dynamic_globals or library._reload_init or result.reload_init or result.lifted:
        return None
    if None in constants:
        return None
    description = {
        "module": result.fndesc.modname,
        "name": result.fndesc.qualname,
        "wrapper": result.fndesc.llvm_cpython_wrapper_name,
        "native": result.fndesc.llvm_func_name,
        "results": [_type_name(kind) for kind in result.fndesc.restype],
        "environment": result.environment.env_name,
        "defines_environment": any(
            variable.name == result.environment.env_name and not variable.is_declaration
            for variable in library._final_module.global_variables
        ),
        "constants": constants,
        "checked": checked,
        "needs": needs(library),
    }
    return serialize(description, library._get_compiled_object(), library._final_module.as_bitcode())


def needs(library: Any) -> list[str]:
    """The symbols that a finished library's code refers to."""
    module = library._final_module
    functions = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    return sorted(functions) + sorted(v.name for v in module.global_variables if v.is_declaration)


def _type_name(kind: Any) -> tuple[str, int, str]:
    """(dtype, rank, layout) of a result; numbers have rank -1."""
    array = hasattr(kind, "ndim")
    dtype: np.dtype[Any] = _numba("np.numpy_support").as_dtype(kind.dtype if array else kind)
    return dtype.str, kind.ndim if array else -1, kind.layout if array else ""


def _named_type(dtype: str, rank: int, layout: str) -> Any:
    scalar = _numba("np.numpy_support").from_dtype(np.dtype(dtype))
    return scalar if rank < 0 else _numba("core.types").Array(scalar, rank, layout)


def _constant_name(constant: object) -> str | None:
    if isinstance(constant, np.dtype) and constant.isbuiltin == 1:
        return constant.str
    return None


def serialize(description: dict[str, Any], object_code: bytes, bitcode: bytes) -> bytes:
    """The bytes that `load` reads."""
    head = json.dumps(description).encode()
    return _HEAD.pack(len(head), len(object_code), len(bitcode)) + head + object_code + bitcode


def _parts(image: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    sizes = _HEAD.unpack_from(image)
    start = _HEAD.size
    parts = []
    for size in sizes:
        parts.append(image[start : start + size])
        start += size
    if start != len(image):
        raise ValueError("an image of another length than it says")
    return json.loads(parts[0]), parts[1], parts[2]


def load(image: bytes, read_again: Callable[[], bytes | None]) -> MachineCode:
    """Machine code from an image that `compile_function` made under the same `environment`.

    `read_again` gives the image once more, for inspection: the bitcode is not kept in memory. Raises
    ValueError (or what reading plain data raises) where the bytes are not an image.
    """
    description, object_code, _ = _parts(image)
    if description["checked"] and not entry.supported():
        raise ValueError("an image for another memory layout of Python's objects")
    constants = [np.dtype(name) for name in description["constants"]]
    wrapper: str = description["wrapper"]
    module = sys.modules.get(description["module"])
    if module is None:
        module = python_types.ModuleType(description["module"])
    with _numba("core.compiler_lock").global_compiler_lock:
        _numba("core.runtime.nrt").rtsys.initialize(_target().target_context)
        if description["checked"]:
            entry.register_symbols()
        _require_symbols(description["needs"])
        codegen = _codegen()
        library = codegen.create_library(description["module"])
        library.enable_object_caching()
        library._set_compiled_object(object_code)
        library._finalize_final_module()
        codegen._engine._defined_symbols.update((wrapper, description["native"]))
        address = library.get_pointer_to_function(wrapper)
        if not address:
            raise ValueError("an image without its entry")
        kept = _numba("core.environment").Environment({"__name__": description["module"]})
        kept.consts[:] = constants
        kept.env_name = description["environment"]
        if description["defines_environment"]:
            codegen._engine._defined_symbols.add(kept.env_name)
        _set_environment(kept)
        if description["checked"]:
            call = entry.make_callable(address, description["name"], (library, kept))
        else:
            call = _numba("_dynfunc").make_function(
                module, description["name"], "compiled kernel", address, kept, (library,)
            )

    def bitcode() -> bytes:
        again = read_again()
        if again is None:
            raise LookupError("the cache no longer holds this kernel")
        return _parts(again)[2]

    llvm, asm = (lambda: llvm_text(bitcode())), (lambda: asm_text(bitcode()))

    def native() -> tuple[int, Any]:
        kinds = [_named_type(*name) for name in description["results"]]
        return library.get_pointer_to_function(description["native"]), _numba("core.types").Tuple(tuple(kinds))

    return MachineCode(call, description["checked"], llvm, asm, image, (library, kept), native)


def load_routine(image: bytes, module: str, symbol: str) -> Any:
    """The code library of a routine (see `shared`) from its image; raises what `load` does."""
    description, object_code, _ = _parts(image)
    if description["symbol"] != symbol:
        raise ValueError("an image of another routine")
    with _numba("core.compiler_lock").global_compiler_lock:
        _numba("core.runtime.nrt").rtsys.initialize(_target().target_context)
        _require_symbols(description["needs"])
        codegen = _codegen()
        library = codegen.create_library(module)
        library.enable_object_caching()
        library._set_compiled_object(object_code)
        library._finalize_final_module()
        codegen._engine._defined_symbols.add(symbol)
        return library


def _require_symbols(names: Sequence[str]) -> None:
    """LLVM ends the process over a symbol that it cannot find, so look first. The usual ones are registered
    by the context's construction; others (BLAS, hashing) by modules that Numba imports with its
    registries."""
    llvm = importlib.import_module("llvmlite.binding")

    external.register(names)
    shared.register(names)
    if callbacks.SYMBOL in names:
        callbacks.register()
    if not threads.SYMBOLS.isdisjoint(names):
        threads.register_symbols()
    if not blas_threads.SYMBOLS.isdisjoint(names):
        blas_threads.register_symbols()
    if any(name.startswith(("numba_xx", "numba_ez", "numba_raw")) for name in names):
        # is SciPy's BLAS still of the integer width that the code was compiled for?
        _numba("np.linalg").ensure_blas()
    if all(llvm.address_of_symbol(name) for name in names):
        return
    _target().target_context.refresh()
    missing = [name for name in names if not llvm.address_of_symbol(name)]
    if missing:
        raise ValueError(f"code that needs unknown symbols: {missing}")


def llvm_text(bitcode: bytes) -> str:
    """Readable LLVM of a bitcode module."""
    llvm = importlib.import_module("llvmlite.binding")

    return str(llvm.parse_bitcode(bitcode))


def asm_text(bitcode: bytes) -> str:
    """The assembly that this machine's target makes of a bitcode module."""
    llvm = importlib.import_module("llvmlite.binding")

    return str(_codegen()._tm.emit_assembly(llvm.parse_bitcode(bitcode)))


def is_jitted(value: object) -> bool:
    """True for what `njit` returns."""
    if "numba" not in sys.modules:
        return False
    return isinstance(value, _numba("core.dispatcher").Dispatcher)


def python_function_of(value: Any) -> python_types.FunctionType:
    """The Python function that a jitted one was made from."""
    function = value.py_func
    assert isinstance(function, python_types.FunctionType)
    return function
