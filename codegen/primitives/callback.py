"""The call of a Python function from a kernel, as LLVM instructions.

In: the number of a site, how many of the operands are results, the operands. Out: the status (`codegen.callbacks`).
The operands are described by words on the kernel's stack; nothing is boxed before the interpreter lock is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending as numba_extending
from numba.core import cgutils as numba_cgutils
from numba.core import types as numba_types
from numba.core.typing import templates as numba_templates
from numba.np.numpy_support import as_dtype

from ..callbacks import CALLBACK, SYMBOL, call_python, register

__all__ = ["FUNCTIONS"]

extending: Any = numba_extending  # Numba has no annotations
cgutils: Any = numba_cgutils
types: Any = numba_types
templates: Any = numba_templates
WORD = ir.IntType(64)


def callback(handle: Any, outs: Any, *memory: Any) -> Any:
    """A Python function called: see `codegen.callbacks`."""
    return call_python(handle, outs, *memory)


class Typing(numba_templates.AbstractTemplate):
    """Any operands; the result is a status."""

    key = callback

    def generic(self, args: Any, kws: Any) -> Any:
        return templates.signature(types.int64, *args)


def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    register()
    words: list[Any] = []
    for value, kind in zip(arguments[2:], signature.args[2:], strict=True):
        words += described(context, builder, value, types.unliteral(kind))
    place = cgutils.alloca_once(builder, WORD, size=WORD(max(len(words), 1)))
    for k, word in enumerate(words):
        builder.store(word, builder.gep(place, [WORD(k)]))
    kind = ir.FunctionType(WORD, [WORD, WORD, WORD, WORD.as_pointer()])
    function = cgutils.get_or_insert_function(builder.module, kind, SYMBOL)
    handle, outs = (
        context.cast(builder, value, given, types.int64)
        for value, given in zip(arguments[:2], signature.args[:2], strict=True)
    )
    return builder.call(function, [handle, outs, WORD(len(words)), place])


def described(context: Any, builder: Any, value: Any, kind: Any) -> list[Any]:
    """The words of an operand."""
    if not isinstance(kind, types.Array):
        return [WORD(as_dtype(kind).num), WORD(-1), bits(builder, value)]
    array = context.make_array(kind)(context, builder, value)
    extents = cgutils.unpack_tuple(builder, array.shape, kind.ndim)
    address = builder.ptrtoint(array.data, WORD)
    return [WORD(as_dtype(kind.dtype).num), WORD(kind.ndim), address, *extents]


def bits(builder: Any, value: Any) -> Any:
    """A number's bits in a word."""
    if isinstance(value.type, ir.DoubleType):
        return builder.bitcast(value, WORD)
    if isinstance(value.type, ir.FloatType):
        value = builder.bitcast(value, ir.IntType(32))
    return value if value.type.width == 64 else builder.zext(value, WORD)


templates.infer(Typing)
templates.infer_global(callback, types.Function(Typing))
extending.lower_builtin(callback, types.VarArg(types.Any))(lower)

FUNCTIONS: dict[str, Callable[..., Any]] = {CALLBACK: callback}
