"""Calls of library routines: functions apart, in code that all kernels share (see `codegen.shared`).

In: the name of a routine and the LLVM values of its arguments. Out: a call of a function that is declared in the
kernel's module; it is compiled now unless the process or the disk has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from .. import build, cache, numba_bridge, shared
from ..primitives import library as library_functions
from .numba_parts import Environment, callconv, funcdesc, targetconfig, types, typing
from .scalars import call_primitive

__all__ = ["call_routine", "is_routine"]


def is_routine(name: str) -> bool:
    """Whether a function of `codegen.primitives` is a routine on whole matrices, which gives nothing back."""
    return name in library_functions.FUNCTIONS


def call_routine(context: Any, builder: Any, name: str, kinds: Sequence[Any], values: Sequence[Any]) -> None:
    """Call a routine; where it finds no memory, the kernel returns with Numba's status of that."""
    given = tuple(kinds)
    key = cache.digest("routine", name, repr(given), build.environment())
    descriptor = funcdesc.FunctionDescriptor(
        native=True,
        modname=shared.module_name(key),
        qualname=name,
        unique_name=name,
        doc="",
        typemap={},
        restype=types.none,
        calltypes={},
        args=tuple(f"arg{k}" for k in range(len(given))),
        kws=(),
        argtypes=given,
        global_dict={"__name__": shared.module_name(key)},
    )
    shared.provide(key, descriptor.llvm_func_name, lambda: compiled(descriptor, name))
    context.call_internal(builder, descriptor, typing.signature(types.none, *given), list(values))


def compiled(descriptor: Any, name: str) -> Any:
    """The finished code library of a routine."""
    settings = numba_bridge.settings(numba_bridge.CompileFlags())
    target = numba_bridge.kernel_context(True)
    errors = callconv.create_error_model(settings.error_model, target)
    context = target.subtarget(enable_nrt=True, error_model=errors)
    library = numba_bridge.kernel_library(descriptor.modname, ())
    environment = Environment.from_fndesc(descriptor)
    with targetconfig.ConfigStack().enter(settings), context.push_code_library(library):
        own = context.subtarget(environment=environment, fndesc=descriptor)
        module = library.create_ir_module(name)
        own.declare_env_global(module, own.get_env_name(descriptor))
        code = own.declare_function(module, descriptor)
        builder = ir.IRBuilder(code.append_basic_block("entry"))
        own.call_conv.init_call_helper(builder)
        values = own.call_conv.decode_arguments(builder, descriptor.argtypes, code)
        call_primitive(own, builder, name, descriptor.argtypes, values)
        own.call_conv.return_value(builder, own.get_return_value(builder, types.none, own.get_dummy_value()))
        own.post_lowering(module, library)
        library.add_ir_module(module)
        library.finalize()
    return library
