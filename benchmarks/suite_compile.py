"""The suite `compile`: how long the first call of a derivative takes, in processes of their own.

In: GradBench's programs at small sizes, the textbook's, and NPBench's where a checkout is given. Out: for each the
first call with an empty cache (`adjit`), stage by stage, and in a second process that finds the kernel there (`adjit
warm`), that of JAX, and that of Numba for the reference by hand. A process's imports and its very first kernel are
counted apart (see `worker`). Another row times `import adjit` against `import numba`, processes in turns.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from . import suite_gradbench, suite_npbench, suite_textbook
from .options import Contender, Options, Unavailable, installed
from .results import Row
from .rows import PROGRAMS, ROWS
from .timing import Timing
from .worker import ask

__all__ = ["IMPORTS", "contender", "measure", "names"]

IMPORTS = "imports"
ROUNDS, QUICK_ROUNDS = 7, 1
TIMED_IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def names(options: Options) -> Sequence[str]:
    """`imports`, then programs, each after the name of its suite."""
    out = [IMPORTS, *(f"gradbench {name}" for name in PROGRAMS)]
    out += [f"textbook {name}" for name in suite_textbook.names(options)]
    if options.root is not None:
        out += [f"npbench {name}" for name in suite_npbench.names(options)]
    return out


def contender(name: str, side: str, options: Options) -> Contender:
    """A side of a program of another suite."""
    suite, _, program = name.partition(" ")
    if suite == "gradbench":
        first = next(row.name for row in ROWS if row.program == program)
        return suite_gradbench.contender(first, side, replace(options, quick=True))  # the small input
    if suite == "npbench":
        return suite_npbench.contender(program, side, options)
    return suite_textbook.contender(program, side, options)


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("compile", name)
    if name == IMPORTS:
        time_imports(row, options)
        return row
    with tempfile.TemporaryDirectory(prefix="adjit-bench-") as cache:
        environment = {**os.environ, "ADJIT_CACHE_DIR": cache}
        for label in ("adjit", "adjit warm"):
            enter(row, label, ask("first_call", "compile", name, "adjit", options, environment=environment))
    for peer in options.peers:
        try:
            enter(row, peer, ask("first_call", "compile", name, peer, options))
        except Unavailable:
            continue
        except RuntimeError as error:
            row.notes.append(f"{peer}: {error}")
    return row


def enter(row: Row, label: str, answer: dict[str, Any]) -> None:
    """A process's answer into the row."""
    row.first_calls[label] = answer["first_call"]
    row.facts[label] = answer


def time_imports(row: Row, options: Options) -> None:
    """Seconds that an import takes in a new process."""
    modules = ["adjit", "numba", *(p for p in options.peers if p != "numba" and installed(p))]
    samples: dict[str, list[float]] = {module: [] for module in modules}
    for round_ in range(1 + (QUICK_ROUNDS if options.quick else ROUNDS)):
        for module in modules:
            command = [sys.executable, "-c", TIMED_IMPORT.format(module)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if round_:  # the first one may write byte code
                samples[module].append(float(done.stdout))
    row.timings = {module: {"import": Timing(taken)} for module, taken in samples.items()}
