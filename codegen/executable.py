"""From an IR function to something that runs: schedule, render, compile, call, raise.

In: an optimized function and the memory layout of each argument. Out: an `Executable`, which keeps the scheduled IR
and the source and compiles when first run. A kernel never raises: it returns a status, and `failure` turns the
number of the failed check and its values into the error that names the user's line.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from ..ir import collection
from ..ir.core import Function
from ..ir.errors import InternalError
from ..ir.interp import failure
from ..ir.types import DTYPES, I64, Array, Scalar, Tape
from .build import Kernel, compile_kernel, python_kernel
from .emit import Rendered, render
from .host import check_and_convert, leaf_of
from .lower import schedule

__all__ = ["Executable", "StoredExecutable", "compile_function"]


def compile_function(function: Function, layouts: Sequence[str], distinguish_ones: bool = True) -> Executable:
    """An executable for `function`.

    `layouts` says per argument "C", "F" or "A" ("" for scalars). `distinguish_ones`: an extent that an argument's type
    leaves open is never 1 (it decides broadcasting); not so for residuals.
    """
    made = Executable(function, tuple(layouts), distinguish_ones)
    if "threads" not in function.attrs:
        return made
    from .choosing import ChoosingExecutable, without_threads  # it is made of two of these

    return ChoosingExecutable(made, Executable(without_threads(function), tuple(layouts), distinguish_ones))


class Executable:
    """A function on its way to machine code; every step is made when it is first asked for."""

    def __init__(self, function: Function, layouts: tuple[str, ...], distinguish_ones: bool) -> None:
        self.function = function
        self.layouts = layouts
        self.distinguish_ones = distinguish_ones
        self.steps: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """What each step took: schedule, render, compile (or load, from the disk cache)."""
        return self.steps

    @cached_property
    def scheduled(self) -> Function:
        """Loops over scalars and buffers."""
        begin = time.perf_counter()
        out = schedule(self.function, self.layouts)
        self.steps["schedule"] = time.perf_counter() - begin
        return out

    @cached_property
    def rendered(self) -> Rendered:
        """Python source and the checks in it."""
        scheduled = self.scheduled
        begin = time.perf_counter()
        out = render(scheduled, python_name(self.function.name))
        self.steps["render"] = time.perf_counter() - begin
        return out

    @property
    def source(self) -> str:
        return self.rendered.source

    @property
    def kernel_types(self) -> tuple[list[Scalar | Array], list[str]]:
        """Types and layouts of the kernel's arguments."""
        types: list[Scalar | Array] = []
        layouts: list[str] = []
        for arg, layout in zip(self.function.args, self.layouts, strict=True):
            if isinstance(arg.type, Tape):  # its memory and how much of it is used
                types += [Array(arg.type.element.dtype, (None,)), Scalar(I64)]
                layouts += ["C", ""]
            elif isinstance(arg.type, Scalar | Array):
                types.append(arg.type)
                layouts.append(layout)
        types += self.further
        layouts += ["C" for _ in self.further]
        return types, layouts

    @cached_property
    @collection.rarely()
    def kernel(self) -> Kernel:
        """The machine code."""
        types, layouts = self.kernel_types
        out = compile_kernel(
            self.source,
            python_name(self.function.name),
            types,
            layouts,
            noalias=not self.function.attrs.get("donated"),
            scheduled=lambda: self.scheduled,
            threads=self.function.attrs.get("threads"),
        )
        self.steps["load" if out.from_cache else "compile"] = out.compile_seconds
        return out

    @property
    def machine_code(self) -> Kernel:
        """The kernel for callers that are machine code themselves."""
        return self.kernel

    def prepare(self, leaves: Sequence[Any]) -> None:
        """Make all that a call with these arguments needs."""
        _ = self.kernel

    @property
    def further(self) -> list[Array]:
        """Types of arguments besides the function's own, of memory to write results to (see `outputs`)."""
        return []

    @cached_property
    def python(self) -> Callable[..., Any]:
        """The same source run by plain Python."""
        return python_kernel(self.source, python_name(self.function.name))

    def run(self, leaves: Sequence[Any], python: bool = False) -> list[Any]:
        """Check the leaves, run the kernel on them, and return its results."""
        written = set((self.function.attrs.get("donated") or {}).values())
        checked = [
            check_and_convert(x, leaf_of(x), f"argument {k}", written=k in written) for k, x in enumerate(leaves)
        ]
        out = (self.python if python else self.kernel.call)(*checked)
        if out is None:
            raise InternalError(f"arguments {[leaf_of(x) for x in leaves]} do not fit {self.function.name}")
        if out[0]:
            raise self.failure(*out[:3])
        return list(out[3:])

    def failure(self, status: int, detail0: int, detail1: int, arguments: tuple[Any, ...] = ()) -> BaseException:
        """The exception for a failed check."""
        if status < 0:
            return MemoryError(f"not enough memory for the arrays of `{self.function.name}`")
        site = self.rendered.sites[status - 1]
        values = [DTYPES[t].numpy.type(d) for t, d in zip(site.details, (detail0, detail1), strict=False)]
        return failure(site.name, site.attrs, [False, *values] if site.name == "check" else values, site.span)

    def llvm(self) -> str:
        return self.kernel.llvm()

    def asm(self) -> str:
        return self.kernel.asm()


class StoredExecutable(Executable):
    """One whose source is known from an earlier process. `again` makes it anew: for its scheduled IR, or where the
    machine code was lost."""

    def __init__(
        self,
        function: Function,
        layouts: tuple[str, ...],
        distinguish_ones: bool,
        rendered: Rendered,
        again: Callable[[], Executable],
    ) -> None:
        super().__init__(function, layouts, distinguish_ones)
        self.__dict__["rendered"] = rendered
        self.again = again

    @cached_property
    def scheduled(self) -> Function:
        return self.again().scheduled


def python_name(name: str) -> str:
    """A function's name as a Python identifier."""
    out = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
    return out if out.isidentifier() else f"kernel_{out}"
