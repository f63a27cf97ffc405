"""One thread or all: what has to be said before NumPy, BLAS and XLA are loaded, hence in a new process.

In: how many threads (`1`, a number, or `all`) and the command line. Out: the exit status of the same command in a
process whose environment says so, and that runs on that many processors where the system lets one choose. The variable
`ADJIT_BENCH_THREADS` tells the new process that this is done. It also gets a kernel cache of its own, empty, so that
first calls are first calls; what a run compiles does not push out what the user has in theirs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence

__all__ = ["MARK", "again", "environment", "is_set", "processors"]

MARK = "ADJIT_BENCH_THREADS"
LIBRARIES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
)
ONE_THREAD_OF_XLA = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"


def processors() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def count(threads: str) -> int:
    """`all`, or a number of threads. ValueError where it is neither."""
    number = processors() if threads == "all" else int(threads)
    if number < 1:
        raise ValueError(f"{threads} threads")
    return number


def environment(number: int) -> dict[str, str]:
    """What a process needs in its environment to use `number` threads."""
    out = {name: str(number) for name in LIBRARIES}
    out[MARK] = str(number)
    out["JAX_PLATFORMS"] = "cpu"
    out["JAX_ENABLE_X64"] = "1"
    if number == 1:
        out["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD_OF_XLA}".strip()
    return out


def is_set(threads: str) -> bool:
    """Whether this process was started for that many threads."""
    return os.environ.get(MARK) == str(count(threads))


def again(arguments: Sequence[str], threads: str) -> int:
    """Run `python -m adjit bench …` with that many threads; its exit status."""
    number = count(threads)
    if hasattr(os, "sched_setaffinity"):  # the new process inherits it; this one only waits
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-number:])
    with tempfile.TemporaryDirectory(prefix="adjit-bench-") as cache:
        given = {**os.environ, **environment(number), "ADJIT_CACHE_DIR": cache}
        with subprocess.Popen([sys.executable, "-m", "adjit", "bench", *arguments], env=given) as process:
            while True:
                try:
                    return process.wait()
                except KeyboardInterrupt:  # it has been told as well, and shows what it has
                    continue
