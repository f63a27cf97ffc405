"""From the source text of a kernel to something that can be called: machine code through Numba, or plain
Python.

In: a Python module's text that defines one function (the rendered kernel), the types of its arguments, the
flags. Out: a `Kernel`, compiled now or loaded from the disk cache, or `python_kernel`'s ordinary function.

The text is written to a real file (see `cache`), so that tracebacks, debuggers and `.source()` show it, and
compiled for **one** signature. The kernel's contract: it never raises, never writes to an argument unless
that was agreed (`host` then has checked that nothing else shares its memory), and returns a tuple

    (status: int64, detail0: int64, detail1: int64, *results)

whose results are scalars or C-contiguous arrays that the kernel allocated. Status 0 is success, else it is
the 1-based site of the check that failed, and the details are its values.

The key of the disk cache covers the text, the signature, the flags, the versions of adjit, Python, NumPy,
Numba and llvmlite, the CPU and its features, and the text of the modules that kernels import their primitives
from.

>>> text = "def twice(x):\\n    return (0, 0, 0, x + x)\\n"
>>> kernel = compile_kernel(text, "twice", [Scalar(F64)], ["C"])
>>> kernel.call(1.5)
(0, 0, 0, 3.0)
>>> python_kernel(text, "twice")(1.5)
(0, 0, 0, 3.0)
"""

from __future__ import annotations

import dataclasses
import hashlib
import linecache
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterable, Sequence
from functools import cache as memoize
from pathlib import Path
from typing import Any

from ..ir.core import Function
from ..ir.errors import InternalError
from ..ir.types import F64, Array, Scalar
from . import cache, pool
from . import numba_bridge as bridge

__all__ = ["F64", "Kernel", "Scalar", "Stats", "compile_kernel", "python_kernel", "stats"]

_FORMAT = "1"  # of what is stored; another one makes other keys
_PRIMITIVES = (
    "primitives.py",
    "primitives",
    "vecmath",
    "llvm",
    "lower",
    "pool",
    "narrow_products.py",
    "numba_bridge.py",
    "callbacks.py",
    "entry.py",
    "shared.py",
    "threads",
    "blas_threads.py",
)


@dataclasses.dataclass
class Stats:
    """Counts of this process, for tests and for the curious: kernels compiled by Numba, kernels loaded from
    the disk cache instead, functions traced."""

    compiled: int = 0
    loaded_from_cache: int = 0
    traces: int = 0

    def reset(self) -> None:
        """Start counting again."""
        self.compiled = self.loaded_from_cache = self.traces = 0


stats = Stats()
_lock = threading.RLock()
_kernels: dict[str, Kernel] = {}
_python_functions: dict[tuple[str, str], Callable[..., Any]] = {}


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled kernel.

    `call(*args)` is the machine code's own entry. With `checked`, it gives None for arguments that are not of
    exactly `arg_types` (a scalar may be Python's or NumPy's) and `layouts`; read-only arrays are taken, and
    `host` has to look after those that the kernel writes. Without (where `entry` does not know how objects
    are laid out), it trusts its caller. It may be called from several threads at once and runs without the
    interpreter lock. `compile_seconds` is what this process spent: compiling, or loading if `from_cache`.
    """

    name: str
    arg_types: tuple[Scalar | Array, ...]
    layouts: tuple[str, ...]
    key: str
    call: Callable[..., Any]
    path: str
    compile_seconds: float
    from_cache: bool
    checked: bool
    distinguish_ones: bool
    text: str
    _code: bridge.MachineCode
    _again: Callable[[], bridge.MachineCode]

    @property
    def source(self) -> str:
        """The kernel as Python source."""
        return self.text

    @property
    def python(self) -> Callable[..., Any]:
        """The same source as a plain Python function, without Numba."""
        return python_kernel(self.text, self.name)

    def native(self) -> tuple[int, Any]:
        """The address of the machine code in Numba's own calling convention, and Numba's type of its result."""
        return self._code.native()

    def llvm(self) -> str:
        """The optimized LLVM of the kernel. It is read from the cache if the code came from there (and
        compiled once more should the cache have lost it)."""
        try:
            return self._code.llvm()
        except LookupError:
            return self._again().llvm()

    def asm(self) -> str:
        """The assembly of the kernel, as `llvm`."""
        try:
            return self._code.asm()
        except LookupError:
            return self._again().asm()

    def __repr__(self) -> str:
        arguments = ", ".join(map(str, self.arg_types))
        how = "loaded" if self.from_cache else "compiled"
        return f"<kernel {self.name}({arguments}) {how} from {self.path}>"


def compile_kernel(
    source: str,
    name: str,
    arg_types: Sequence[Scalar | Array],
    layouts: Sequence[str],
    *,
    threads: int | None = None,
    fastmath: bool | Iterable[str] = False,
    noalias: bool = True,
    nogil: bool = True,
    distinguish_ones: bool = False,
    scheduled: Function | Callable[[], Function] | None = None,
) -> Kernel:
    """Machine code for function `name` of `source`, from this process, from the disk cache, or compiled now.

    Args:
        source: the text of a Python module that defines `name`.
        name: the function; its parameters are positional and as many as `arg_types`.
        arg_types: the argument types; an array's rank and dtype count, its extents do not.
        layouts: per argument ``C`` (contiguous in C order), ``F`` (in Fortran order) or ``A`` (any strides);
            ignored for scalars.
        threads: how many the kernel's parallel loops may use (`codegen.threads`), 0 for all there are, None where it
            has none. It tells kernels apart; what is parallel is said by `scheduled`, and without it nothing is.
        fastmath: False, True, or LLVM's names of single permissions (``{"contract", "reassoc"}``).
        noalias: memory that the kernel writes is reached through one argument only. True is right for every
            kernel that writes to no argument, even if they overlap; for others the host must have checked.
        nogil: release the interpreter lock while the kernel runs (about 30 ns per call).
        distinguish_ones: an array extent that its type leaves open must not be 1 either (what broadcasts
            belongs to a user's signature), else `call` gives None.
        scheduled: what `source` was rendered from (or what gives that, asked only if there is something to compile).
            With it, LLVM code is made of it directly (`codegen.llvm`), several
            times as fast as through Numba's front end (which `ADJIT_BACKEND=numba` asks for all the same).

    Returns: the `Kernel`. The same request gives the same object.

    Raises:
        InternalError: the text does not compile; Numba's message follows.
        ValueError: `arg_types` and `layouts` do not match.
    """
    if len(arg_types) != len(layouts):
        raise ValueError(f"{len(arg_types)} argument types, but {len(layouts)} layouts")
    permissions = fastmath if isinstance(fastmath, bool) else frozenset(fastmath)
    flags = bridge.CompileFlags(permissions, noalias, nogil)
    signature = ",".join(
        str(t) if isinstance(t, Scalar) else f"{t.dtype}[{t.rank}]{layout}" for t, layout in zip(arg_types, layouts)
    )
    if os.environ.get("ADJIT_BACKEND") == "numba":
        scheduled = None
    front = "numba" if scheduled is None else "llvm"
    flags_text = f"{flags.text()};distinguish_ones={distinguish_ones};threads={threads};{front}"
    key = cache.digest("kernel", _FORMAT, source, name, signature, flags_text, _environment())
    kernel = _kernels.get(key)
    if kernel is not None:
        return kernel
    with bridge.compiler_lock(), _lock:  # in this order: Numba may be compiling what calls the kernel
        kernel = _kernels.get(key)
        if kernel is None:
            arguments = [bridge.Argument(t, layout, distinguish_ones) for t, layout in zip(arg_types, layouts)]
            kernel = _kernels[key] = _make(source, name, arguments, flags, key, scheduled)
    return kernel


def _make(
    source: str,
    name: str,
    arguments: Sequence[bridge.Argument],
    flags: bridge.CompileFlags,
    key: str,
    scheduled: Function | Callable[[], Function] | None,
) -> Kernel:
    start = time.perf_counter()
    path = _path(source, name)

    def compile_now(module_name: str) -> bridge.MachineCode:
        return _compile(source, name, arguments, flags, path, module_name, scheduled)

    code = _load(key)
    from_cache = code is not None
    if code is None:
        code = compile_now(f"adjit_kernel_{key}")
        stats.compiled += 1
        if code.image is not None:
            cache.store("code", key, code.image)
    else:
        stats.loaded_from_cache += 1
    seconds = time.perf_counter() - start
    again = memoize(lambda: compile_now(f"adjit_kernel_{key}_again"))
    code = dataclasses.replace(code, image=None)
    types_, layouts = tuple(a.type for a in arguments), tuple(a.layout for a in arguments)
    how = (path, seconds, from_cache, code.checked, all(a.distinguish_ones for a in arguments))
    return Kernel(name, types_, layouts, key, code.entry, *how, source, code, again)


def _load(key: str) -> bridge.MachineCode | None:
    image = cache.load("code", key)
    if image is None:
        return None
    try:
        pool.register()
        return bridge.load(image, lambda: cache.load("code", key))
    except (ValueError, KeyError, TypeError, ArithmeticError, ImportError):
        cache.remove("code", key)  # whole, but not what this version reads: compile
        return None


def _compile(
    source: str,
    name: str,
    arguments: Sequence[bridge.Argument],
    flags: bridge.CompileFlags,
    path: str,
    module_name: str,
    scheduled: Function | Callable[[], Function] | None,
) -> bridge.MachineCode:
    try:
        if scheduled is not None:
            from .llvm import compile_scheduled  # it imports Numba

            made = scheduled() if callable(scheduled) else scheduled
            code: bridge.MachineCode = compile_scheduled(made, name, arguments, flags, module_name)
            return code
        function = _execute(source, name, path, module_name)
        return bridge.compile_function(function, arguments, flags)
    except Exception as error:
        raise InternalError(
            f"the kernel `{name}` does not compile; its source is {path}\n{type(error).__name__}: {error}",
            help="this is a bug in adjit: please report it with the source of the function",
        ) from error


def _path(source: str, name: str) -> str:
    """The file that holds the source; where none can be written, a name under which `linecache` knows the
    text."""
    file = cache.source_file(name, source)
    if file is not None:
        return str(file)
    path = f"<adjit kernel {name} {cache.digest(source)[:16]}>"
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    return path


def _execute(source: str, name: str, path: str, module_name: str) -> types.FunctionType:
    """Run the module's text and give its function. The text is compiled, not the file: nobody's edit of the
    file gets into a kernel, while tracebacks and debuggers find the file."""
    module = types.ModuleType(module_name)
    module.__file__ = path
    sys.modules[module_name] = module  # Numba looks the module up by name
    exec(compile(source, path, "exec"), module.__dict__)
    function = module.__dict__[name]
    if not isinstance(function, types.FunctionType):
        raise TypeError(f"`{name}` is not a function, but {function!r}")
    return function


def python_kernel(source: str, name: str) -> Callable[..., Any]:
    """Function `name` of the module text `source` as plain Python: nothing is compiled, so a debugger steps
    through.

    Jitted primitives that the text imports are replaced by the Python functions they were made from, and so
    are those that they call in turn.

    Raises KeyError where the text defines no `name`, and what running the text raises.
    """
    found = _python_functions.get((source, name))
    if found is None:
        module_name = f"adjit_python_kernel_{cache.digest(source, name)}"
        function = _execute(source, name, _path(source, name), module_name)
        found = _python_functions[source, name] = _without_jit(function, {})
    return found


def _without_jit(function: types.FunctionType, done: dict[int, types.FunctionType]) -> types.FunctionType:
    """`function` with every jitted function it can reach through global names replaced by its Python
    function."""
    if id(function) in done:
        return done[id(function)]
    replaced: dict[str, Any] = {}
    plain = types.FunctionType(
        function.__code__, replaced, function.__name__, function.__defaults__, function.__closure__
    )
    plain.__kwdefaults__ = function.__kwdefaults__
    plain.__doc__ = function.__doc__
    done[id(function)] = plain  # before its callees: they may call it
    replaced.update(function.__globals__)
    for name in _global_names(function.__code__):
        value = replaced.get(name)
        if bridge.is_jitted(value):
            replaced[name] = _without_jit(bridge.python_function_of(value), done)
        elif isinstance(value, types.FunctionType) and value.__globals__ is function.__globals__:
            replaced[name] = _without_jit(value, done)
    return plain


def _global_names(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names


def environment() -> str:
    """A digest of what machine code depends on besides the kernel."""
    return _environment()


@memoize
def _environment() -> str:
    """What machine code depends on besides the kernel: versions, CPU, adjit's primitives."""
    return cache.digest(_adjit_version(), bridge.environment(), _primitives_digest())


def _adjit_version() -> str:
    known = getattr(sys.modules.get(__name__.split(".")[0]), "__version__", None)
    if isinstance(known, str):
        return known
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("adjit")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _primitives_digest() -> str:
    here = Path(__file__).resolve().parent
    files: list[Path] = []
    for name in _PRIMITIVES:
        path = here / name
        files += sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.exists() else []
    hasher = hashlib.sha256()
    for file in files:
        hasher.update(cache.digest(str(file.relative_to(here)), file.read_bytes()).encode())
    return hasher.hexdigest()
