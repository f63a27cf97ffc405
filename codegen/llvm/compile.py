"""From a scheduled function to machine code without Python source in between.

In: a scheduled function, its name, what each argument must be, the flags. Out: `MachineCode`, as
`numba_bridge.compile_function` gives for the rendered source: the same calling convention, entry, library and image for
the disk. Numba's part is its target: code generation, linking, memory and the library kernels that the function calls.
"""

from __future__ import annotations

import functools
import types as python_types
from collections.abc import Sequence

from llvmlite import ir

from ...ir.core import Function, walk
from .. import blas_threads, entry, numba_bridge, pool, threads
from ..entry import Argument
from .emission import align_frames, emission, overflows
from .lowering import Lowering, result_types
from .numba_parts import Environment, callconv, funcdesc, targetconfig, types
from .passes import optimize, reads_neighbours, speed_level

__all__ = ["compile_scheduled"]


def compile_scheduled(
    function: Function,
    name: str,
    arguments: Sequence[Argument],
    flags: numba_bridge.CompileFlags,
    module_name: str,
) -> numba_bridge.MachineCode:
    """Machine code of a scheduled function; `module_name` must be unique to this compilation."""
    with numba_bridge.compiling():
        return _compiled(function, name, arguments, flags, module_name)


def _compiled(
    function: Function,
    name: str,
    arguments: Sequence[Argument],
    flags: numba_bridge.CompileFlags,
    module_name: str,
) -> numba_bridge.MachineCode:
    checked = entry.supported()
    if checked:
        entry.register_symbols()
    pool.register()
    if "threads" in function.attrs:
        threads.register_symbols()
    if any(op.name == "buffer.call" for op in walk(function.body)):
        blas_threads.register_symbols()
    settings = numba_bridge.settings(flags)
    target = numba_bridge.kernel_context(checked)
    target.typing_context.refresh()
    target.refresh()
    errors = callconv.create_error_model(settings.error_model, target)
    context = target.subtarget(enable_nrt=True, error_model=errors)
    library = numba_bridge.kernel_library(module_name, arguments)
    library.passes = functools.partial(optimize, neighbours=reads_neighbours(function), speed=speed_level(function))
    kinds = tuple(numba_bridge.numba_type(a.type, a.layout) for a in arguments)
    descriptor = funcdesc.FunctionDescriptor(
        native=True,
        modname=module_name,
        qualname=name,
        unique_name=name,
        doc="",
        typemap={},
        restype=types.Tuple(tuple(result_types(function))),
        calltypes={},
        args=tuple(f"arg{k}" for k in range(len(kinds))),
        kws=(),
        argtypes=kinds,
        noalias=flags.noalias,
        global_dict={"__name__": module_name},
    )
    environment = Environment.from_fndesc(descriptor)
    with targetconfig.ConfigStack().enter(settings), context.push_code_library(library):
        own = context.subtarget(environment=environment, fndesc=descriptor)
        module = library.create_ir_module(name)
        own.declare_env_global(module, own.get_env_name(descriptor))
        code = own.declare_function(module, descriptor)
        builder = ir.IRBuilder(code.append_basic_block("entry"))
        own.call_conv.init_call_helper(builder)
        values = own.call_conv.decode_arguments(builder, kinds, code)
        lowering = Lowering(own, builder, function, flags.noalias)
        lowering.run(values)
        own.post_lowering(module, library)
        if overflows(lowering.rows):
            align_frames(module)
        library.add_ir_module(module)
        own.create_cpython_wrapper(library, descriptor, environment, None, release_gil=flags.nogil)
        with emission(function, lowering.rows):
            call = own.get_executable(library, descriptor, environment)
    result = python_types.SimpleNamespace(
        library=library, fndesc=descriptor, environment=environment, reload_init=(), lifted=()
    )
    image = numba_bridge.image_of(result, checked)
    keep, native = (library, environment), numba_bridge.native_of(library, descriptor)
    return numba_bridge.MachineCode(call, checked, library.get_llvm_str, library.get_asm_str, image, keep, native)
