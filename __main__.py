"""The command line: `python -m adjit bench [NAME ...]`."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(prog="adjit", description="exact gradients of plain Python, compiled")
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench", help="time values and gradients of the benchmark programs")
    bench.add_argument("names", nargs="*", help="only programs whose names contain one of these")
    given = parser.parse_args(arguments)
    from adjit.benchmarks.runner import main as run_benchmarks

    return run_benchmarks(given.names)


if __name__ == "__main__":
    sys.exit(main())
