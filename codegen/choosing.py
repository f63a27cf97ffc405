"""With threads or without: two kernels of one function, and the choice between them at each call.

In: a function that may use threads. Out: an executable that is the kernel for threads where these can pay, and the
kernel of the same function without `parallel` where they cannot. Loops that may be shared out are written twice, ask
at each entry, and do without some optimizations: small problems should not pay for that. Which of the two is called
depends on the extents of arrays and on integers alone (`codegen.llvm.chances`), so a call gives the same results each
time:

    call(*arguments):    chosen = table[extents and integers of the arguments]     entered by `prepare`
                         chosen(*arguments)

Each kernel is compiled when it is first chosen: the way of a program that always is small costs as much as without
threads. Sites of checks are numbered on: those of the kernel without threads follow those of the other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from ..ir.core import Function
from .build import Kernel
from .emit import Rendered
from .executable import Executable
from .outputs import OutputExecutable

__all__ = [
    "ChoosingExecutable",
    "ChoosingOutputExecutable",
    "StoredChoosingExecutable",
    "output_executable",
    "without_threads",
]

LEAST_SAVED = 0.2
"""The least part of the work that a second thread has to save: what threads do not share is slower with them."""
REMEMBERED = 1000
"""The most calls whose choice is remembered."""
USES = re.compile(r"a\[(\d+)\](?:\.shape\[(\d+)\])?")
"""What an estimate uses: an argument, or one of its extents."""


class Choice(NamedTuple):
    """What is called, its entry, and the number that is added to its sites."""

    executable: Executable
    call: Callable[..., Any]
    offset: int


class ChoosingExecutable(Executable):
    """See the module's docstring. `several` is the executable for threads, whose scheduled IR and source are shown;
    `alone` the other."""

    def __init__(self, several: Executable, alone: Executable) -> None:
        self.several, self.alone = several, alone
        self.function, self.layouts = several.function, several.layouts
        self.distinguish_ones = several.distinguish_ones
        self.table: dict[Any, Choice] = {}

    @property
    def seconds(self) -> dict[str, float]:
        out = dict(self.several.seconds)
        for step, time in self.alone.seconds.items():
            out[step] = out.get(step, 0.0) + time
        return out

    @property
    def scheduled(self) -> Function:
        return self.several.scheduled

    @property
    def rendered(self) -> Rendered:
        return self.several.rendered

    @cached_property
    def chances(self) -> str | None:
        """The text of the estimate; None where only the program can tell, empty where there is nothing to share."""
        from .llvm.chances import chances  # it imports LLVM

        return chances(self.scheduled)

    # the choice

    def pays(self, arguments: Sequence[Any]) -> bool:
        """Whether threads can pay in a call with these arguments."""
        if not self.chances:
            return self.chances is None
        found: dict[str, Any] = {"a": arguments, "float": float, "__builtins__": {}}
        exec(self.estimate, found)
        return bool(found["saved"] >= LEAST_SAVED * found["work"] and found["saved"] > 0.0)

    @cached_property
    def estimate(self) -> Any:
        return compile(self.chances or "", "<adjit estimate>", "exec")

    @cached_property
    def key(self) -> Callable[[Sequence[Any]], Any]:
        """What the choice depends on."""
        function: Callable[[Sequence[Any]], Any] = eval(f"lambda a: {self.key_text}")
        return function

    @cached_property
    def key_text(self) -> str:
        axes: dict[str, set[str]] = {}
        for number, axis in USES.findall(self.chances or ""):
            axes.setdefault(f"a[{number}]", set()).add(axis)
        parts = [looked_at(argument, used) for argument, used in axes.items()]
        return parts[0] if len(parts) == 1 else f"({', '.join(parts)})"

    def choice(self, arguments: Sequence[Any]) -> Choice:
        """The choice for a call with arguments that fit."""
        key = self.key(arguments)
        found = self.table.get(key)
        if found is None:
            found = self.entered(key, self.several if self.pays(arguments) else self.alone)
        return found

    def entered(self, key: Any, executable: Executable) -> Choice:
        offset = 0 if executable is self.several else len(self.several.rendered.sites)
        made = Choice(executable, executable.kernel.call, offset)
        if len(self.table) >= REMEMBERED:
            self.table.clear()
        self.table[key] = made
        return made

    def ready(self, arguments: Sequence[Any]) -> Choice | None:
        """The choice for a call with other extents than before, where it is a kernel that has been made."""
        try:
            executable = self.several if self.pays(arguments) else self.alone
        except (AttributeError, TypeError, ValueError, IndexError, OverflowError):  # other arguments than the kernel's
            return None
        return self.entered(self.key(arguments), executable) if "kernel" in executable.__dict__ else None

    @cached_property
    def call(self) -> Callable[..., Any]:
        """As a kernel's entry, of the kernel that is chosen; None where it has not been made, as of arguments that do
        not fit: who calls then looks at these more closely, and prepares. It costs a few loads and one look into a
        table."""
        given = ", ".join(f"a{k}" for k in range(len(self.several.kernel_types[0])))
        key = re.sub(r"a\[(\d+)\]", r"a\1", self.key_text)
        text = f"""def call({given}):
    try:
        _, kernel, offset = table[{key}]
    except KeyError:
        found = ready(({given}{"," if given else ""}))
        if found is None:
            return None
        _, kernel, offset = found
    except (AttributeError, TypeError):
        return None
    out = kernel({given})
    if offset and out and out[0] > 0:
        return (out[0] + offset, *out[1:])
    return out
"""
        found: dict[str, Any] = {"table": self.table, "ready": self.ready}
        exec(text, found)
        call: Callable[..., Any] = found["call"]
        return call

    # as an executable

    def prepare(self, leaves: Sequence[Any]) -> None:
        self.choice(leaves)

    @property
    def kernel(self) -> Kernel:
        """A kernel whose `call` chooses; the rest is that of one that has been compiled."""
        if not self.chances:
            return self.machine_code
        alone = "kernel" in self.alone.__dict__ and "kernel" not in self.several.__dict__
        return dataclasses.replace(self.alone.kernel if alone else self.several.kernel, call=self.call)

    def llvm(self) -> str:
        return self.machine_code.llvm()

    def asm(self) -> str:
        return self.machine_code.asm()

    @property
    def machine_code(self) -> Kernel:
        return self.alone.kernel if self.chances == "" else self.several.kernel

    def run(self, leaves: Sequence[Any], python: bool = False) -> list[Any]:
        chosen = self.several
        if not python:
            with contextlib.suppress(AttributeError, TypeError, IndexError):  # leaves that do not fit: `run` says how
                chosen = self.choice(leaves).executable
        return chosen.run(leaves, python)

    def failure(self, status: int, detail0: int, detail1: int, arguments: tuple[Any, ...] = ()) -> BaseException:
        sites = 0 if self.chances == "" else len(self.several.rendered.sites)
        if status > sites:
            return self.alone.failure(status - sites, detail0, detail1, arguments)
        return self.several.failure(status, detail0, detail1, arguments)


def looked_at(argument: str, axes: set[str]) -> str:
    """What a choice looks at of an argument, of which an estimate uses these extents; no number ("") for a number's
    value. The first extent alone takes a third of the time of all of them."""
    if axes == {""}:
        return argument
    return f"len({argument})" if axes == {"0"} else f"{argument}.shape"


class StoredChoosingExecutable(ChoosingExecutable):
    """One whose sources and estimate are known from an earlier process."""

    def __init__(self, several: Executable, alone: Executable, chances: str | None) -> None:
        super().__init__(several, alone)
        self.__dict__["chances"] = chances


class ChoosingOutputExecutable(StoredChoosingExecutable):
    """Two that write results into further arguments (`outputs`), the same ones: `direct`, out of `wanted`."""

    def __init__(self, several: OutputExecutable, alone: OutputExecutable, chances: str | None) -> None:
        super().__init__(several, alone, chances)
        self.wanted, self.direct = several.wanted, several.direct


def output_executable(base: Executable, wanted: Sequence[int]) -> OutputExecutable | ChoosingOutputExecutable:
    """An executable that writes some of its results into further arguments, with threads where `base` would have
    them."""
    if not isinstance(base, ChoosingExecutable):
        return OutputExecutable(base, wanted)
    several, alone = OutputExecutable(base.several, wanted), OutputExecutable(base.alone, wanted)
    if base.chances is None or several.direct != alone.direct:
        return several
    return ChoosingOutputExecutable(several, alone, base.chances)


def without_threads(function: Function) -> Function:
    """The same function, for one thread."""
    return Function(function.name, function.body, {k: v for k, v in function.attrs.items() if k != "threads"})
