"""Measurements that need a process of their own: first calls and the peak of memory.

In: a job as JSON, the last argument of `python -m adjit.benchmarks.worker`: which suite, row and side. Out: a line of
JSON. `ask` starts such a process and reads its answer.

A first call is told apart into what belongs to it and what any first call of a process pays: imports, and what a
compiler does with its first kernel (`start`). `process` is all of it, from the start of the process.

Memory is how much the peak of resident memory grows over one call, results and workspaces included. Linux is asked to
forget the peak so far; elsewhere a call that stays below an earlier peak, that of compiling for example, seems to need
nothing. A call before it has compiled everything and made libraries allocate what they keep; what adjit keeps between
calls is given back after it, and so counts as the call's. What the C library's allocator keeps of freed blocks would
hide some of what a call needs, or all of it, on whichever side: glibc is told to give blocks of `BLOCK` bytes back.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..api import clear_memory, jit
from .agreement import leaves
from .options import Contender, Options, Unavailable, start_jax
from .timing import first_call

__all__ = ["ask", "growth", "main", "module_of", "stages"]

LIMIT = 1800.0
"""Seconds after which a process is given up."""
READINGS = 5
BLOCK = 1 << 14
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def module_of(suite: str) -> Any:
    """The module of a suite."""
    return importlib.import_module(f".suite_{suite}", __package__)


def ask(job: str, suite: str, row: str, side: str, options: Options, **more: Any) -> dict[str, Any]:
    """The answer of a new process. RuntimeError with the last line that it wrote where it fails. `environment`, if
    given, is the environment of the process."""
    environment: Mapping[str, str] | None = more.pop("environment", None)
    data = {"job": job, "suite": suite, "row": row, "side": side, "options": options.to_json(), **more}
    if job == "memory":
        environment = {**(os.environ if environment is None else environment), "MALLOC_MMAP_THRESHOLD_": str(BLOCK)}
    command = [sys.executable, "-m", "adjit.benchmarks.worker", json.dumps({**data, "begin": time.time()})]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer after {LIMIT:.0f} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"status {done.returncode}"]
        raise RuntimeError(lines[-1][:300])
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if "unavailable" in answer:
        raise Unavailable(answer["unavailable"])
    return answer


def resident(kind: str) -> int:
    """Bytes: `VmRSS` now, or `VmHWM`, the peak."""
    if STATUS.exists():
        for line in STATUS.read_text(encoding="ascii").splitlines():
            if line.startswith(kind):
                return int(line.split()[1]) * 1024
    import resource  # not on Windows, which then has no row of memory

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def settle() -> None:
    """Give unused memory back to the system and forget the peak so far, as far as the system can."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        CLEAR.write_text("5", encoding="ascii")


def growth(contender: Contender, quantity: str) -> int:
    """Bytes by which the peak grows over one call: the least of `READINGS`, since a few pages may be other things'."""
    side = contender.side(quantity)
    first_call(side)
    found = []
    for _ in range(READINGS):
        clear_memory()
        settle()
        resident("VmRSS")  # what reading takes itself is not the call's
        before = resident("VmRSS")
        result = first_call(side)[1]
        found.append(max(0, resident("VmHWM") - before))
        del result
    return min(found)


def memory(contender: Contender, job: Mapping[str, Any]) -> dict[str, Any]:
    """The growth, and the size of the arguments."""
    held = sum(leaf.nbytes for leaf in leaves(contender.arguments) if isinstance(leaf, np.ndarray))
    return {"growth": growth(contender, job["quantity"]), "arguments": held}


def start(side: str) -> float:
    """Seconds of what a compiler does with a process's first kernel, whatever it is."""
    begin = time.perf_counter()
    if side == "jax":
        jax = start_jax()
        begin = time.perf_counter()  # its import is counted elsewhere
        jax.block_until_ready(jax.jit(lambda x: x + 1.0)(1.0))
    else:
        jit(lambda x: x + 1.0)(1.0)
        for module in ("scipy.linalg", "numba.np.linalg"):  # imports: the first program with a product needs them
            importlib.import_module(module)
    return time.perf_counter() - begin


def main(text: str) -> int:
    """Do a job, print the answer."""
    job = json.loads(text)
    try:
        answer = do(job, Options.from_json(job["options"]))
    except Unavailable as error:
        answer = {"unavailable": str(error)}
    print(json.dumps(answer))
    return 0


def do(job: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """The answer to a job."""
    started = start(job["side"]) if job["job"] == "first_call" else 0.0
    begin = time.perf_counter()
    contender = module_of(job["suite"]).contender(job["row"], job["side"], options)
    making = time.perf_counter() - begin
    if job["job"] == "memory":
        return memory(contender, job)
    side = contender.side("derivative")
    took, _ = first_call(side)
    process = time.time() - job["begin"] - making
    again, _ = first_call(side)
    return {"start": started, "first_call": took, "again": again, "process": process, "stages": stages(side.call)}


def stages(call: Any) -> dict[str, float]:
    """Seconds of the stages of a first call, where it is adjit's."""
    source = getattr(call, "_stage_source", None)
    return dict(source().seconds) if source is not None else {}


if __name__ == "__main__":
    sys.exit(main(sys.argv[-1]))
