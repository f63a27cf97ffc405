"""The command line: `python -m adjit bench [SUITE ...]`, and `python -m adjit bench gradbench-tool`, which GradBench's
evals drive over standard input and output."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    from adjit.benchmarks import command

    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(prog="adjit", description="exact gradients of plain Python, compiled")
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench", help="time derivatives, next to their primals and to other tools")
    command.add_arguments(bench)
    return command.main(parser.parse_args(arguments), arguments[1:], bench)


if __name__ == "__main__":
    sys.exit(main())
