"""`adjit bench`: the command line of the benchmarks.

In: suites and options. Out: tables in the terminal, on request JSON (written after each row) and a report page; the
exit status, 1 where a row fails. Ctrl-C ends the measuring and shows what there is. Times are taken in a new process
whose environment allows as many threads as asked for (see `threads`).
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from ..api import jit
from . import report
from .agreement import reason
from .options import ORDERS, PEERS, Options, installed
from .results import Row, Run
from .table import progress
from .tables import tables
from .threads import again, count, is_set
from .timing import QUICK, Effort
from .worker import module_of

__all__ = ["SUITES", "add_arguments", "main"]

SUITES = ("textbook", "overhead", "gradbench", "npbench", "compile", "scaling", "threads")
DEFAULT = ("textbook", "overhead")
TOOL = "gradbench-tool"
FORMAT = argparse.RawDescriptionHelpFormatter

DESCRIPTION = """\
Time derivatives, next to their primals and to other tools, all sides interleaved. The suites:

  textbook    small programs as their users would write them, against plain Python
  overhead    what a call from Python costs
  gradbench   GradBench's programs at its sizes
  npbench     NPBench's programs, unmodified, from a checkout (--root)
  compile     first calls with an empty and with a filled cache; imports
  scaling     time and memory against problem size, with fitted exponents
  threads     several threads (--threads) against one, on gradbench's and npbench's programs

`adjit bench gradbench-tool` speaks GradBench's protocol instead, and takes no options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `adjit bench`."""
    parser.description = DESCRIPTION
    parser.formatter_class = FORMAT
    words = f"{', '.join(SUITES)}; all (npbench where --root is given, threads where --threads is)"
    words += f"; default: {' '.join(DEFAULT)}"
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=words)
    parser.add_argument("--filter", metavar="REGEX", default="", help="only rows whose names contain a match")
    parser.add_argument("--list", action="store_true", help="say which rows there are, and stop")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: to see that all works")
    words = f"other sides, of {', '.join(PEERS)}, or none; default: those that are installed"
    parser.add_argument("--peers", metavar="A,B", help=words)
    parser.add_argument("--threads", metavar="N", default="1", help="one (1, the default), a number, or all")
    parser.add_argument("--seconds", type=float, help=f"time spent on a row (default {Effort().seconds})")
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory (a process for each side)")
    parser.add_argument("--root", metavar="DIR", help="a checkout of github.com/spcl/npbench")
    parser.add_argument("--preset", default="S", help="NPBench's sizes: S (default), M, L or paper")
    words = "npbench only: time nothing; compare second derivatives (or third, with 3) by all modes, at small sizes"
    parser.add_argument("--derivatives", type=int, nargs="?", const=2, choices=ORDERS, metavar="ORDER", help=words)
    parser.add_argument("--gradbench", metavar="DIR", help="a checkout of github.com/gradbench/gradbench, for its data")
    parser.add_argument("--json", metavar="FILE", help="write what was measured")
    parser.add_argument("--report", metavar="DIR", help="write a page with tables and pictures")
    parser.add_argument("--load", metavar="FILE", action="append", help="measure nothing: show what --json has written")


def main(given: argparse.Namespace, arguments: Sequence[str], parser: argparse.ArgumentParser) -> int:
    """Do what is asked for; `arguments` are those after `bench`."""
    if given.suites == [TOOL]:
        from .gradbench.tool import main as answer

        return answer()
    try:
        if given.load:
            return show(loaded(given.load), given)
        suites, options = chosen(given)
        rows = [(suite, name) for suite in suites for name in module_of(suite).names(options)]
        pattern = re.compile(given.filter)
        if given.derivatives and suites != ["npbench"]:
            raise ValueError("--derivatives is for the suite npbench alone")
    except (ValueError, OSError, re.error) as error:
        parser.error(str(error))
    rows = [(suite, name) for suite, name in rows if pattern.search(name)]
    if not rows:
        parser.error(f"no row's name matches {given.filter!r}")
    if given.list:
        print("\n".join(f"{suite}: {name}" for suite, name in rows))
        return 0
    if not is_set(given.threads):
        return again(arguments, given.threads)
    if given.derivatives:
        return derivatives([name for _, name in rows], options, given.derivatives)
    jit(lambda x: x)(1.0)  # Numba's own start belongs to no row
    run = Run([], {**options.to_json(), "filter": given.filter})
    try:
        for row in progress(rows, "adjit bench", [": ".join(row) for row in rows]):
            run.rows.append(measure(*row, options))
            if given.json:  # what comes later may fail, or be given up
                run.save(given.json)
    except KeyboardInterrupt:
        print(f"stopped after {len(run.rows)} of {len(rows)} rows", file=sys.stderr)
        return show(run, given) or 1
    return show(run, given)


def derivatives(names: Sequence[str], options: Options, order: int) -> int:
    """All modes against each other on programs of NPBench; the exit status."""
    from .npbench_modes import table

    table_, failed = table(Path(options.root or ""), names, order=order)
    table_.show()
    return 1 if failed else 0


def chosen(given: argparse.Namespace) -> tuple[list[str], Options]:
    """Suites and options. ValueError where something is unknown."""
    suites = list(given.suites or DEFAULT)
    if suites == ["all"]:
        left_out = {"npbench": not given.root, "threads": count(given.threads) == 1}
        suites = [suite for suite in SUITES if not left_out.get(suite)]
    for suite in suites:
        if suite not in SUITES:
            raise ValueError(f"no suite {suite!r}; there are {', '.join(SUITES)} (rows are chosen with --filter)")
    effort = QUICK if given.quick else Effort()
    if given.seconds is not None:
        effort = Effort(given.seconds, effort.sample, effort.least, effort.most)
    return suites, Options(
        peers=peers_of(given.peers),
        effort=effort,
        quick=given.quick,
        memory=not (given.quick or given.no_memory),
        threads=count(given.threads),
        root=given.root and str(Path(given.root).resolve()),
        gradbench=given.gradbench and str(Path(given.gradbench).resolve()),
        preset=given.preset,
    )


def peers_of(text: str | None) -> tuple[str, ...]:
    """The sides that take part: those asked for, else all, if they are installed; a note for each that is not."""
    wanted = PEERS if text is None else tuple(name for name in text.split(",") if name and name != "none")
    for name in wanted:
        if name not in PEERS:
            raise ValueError(f"no peer {name!r}; there are {', '.join(PEERS)}")
        if text is not None and not installed(name):
            print(f"{name} is not installed: left out (pip install 'adjit[peers]')", file=sys.stderr)
    return tuple(name for name in wanted if installed(name))


def measure(suite: str, name: str, options: Options) -> Row:
    """A row; what went wrong is said in it."""
    try:
        row: Row = module_of(suite).measure(name, options)
    except Exception as error:  # whatever it is, it belongs into the table
        row = Row(suite, name, failure=reason(error))
    gc.collect()
    return row


def loaded(files: Sequence[str]) -> Run:
    """Runs from files as one: rows of all, conditions of the first."""
    runs = [Run.load(file) for file in files]
    first = runs[0]
    first.rows = [row for run in runs for row in run.rows]
    return first


def show(run: Run, given: argparse.Namespace) -> int:
    """Print the tables, write what is asked for; the exit status."""
    for of_suite in tables(run).values():
        for table in of_suite:
            table.show()
    for row in run.failed:
        print(f"FAILED  {row.suite} {row.name}: {row.failure}")
    if given.json:
        run.save(given.json)
    if given.report:
        print(f"report: {report.write(run, Path(given.report))}")
    return 1 if run.failed else 0
