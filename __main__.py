"""The command line: `python -m adjit bench [NAME ...]`, `python -m adjit bench npbench --root DIR`, and
`python -m adjit bench gradbench-tool`, which GradBench's evals drive over standard input and output."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the exit status."""
    parser = argparse.ArgumentParser(prog="adjit", description="exact gradients of plain Python, compiled")
    commands = parser.add_subparsers(dest="command", required=True)
    bench = commands.add_parser("bench", help="time values and gradients of the benchmark programs")
    words = "only programs whose names contain one of these; or: npbench; or: gradbench-tool"
    bench.add_argument("names", nargs="*", help=words)
    npbench = bench.add_argument_group("bench npbench", "differentiate, check and time the programs of NPBench")
    npbench.add_argument("--root", metavar="DIR", help="a checkout of github.com/spcl/npbench")
    npbench.add_argument("--only", metavar="A,B", default="", help="only these programs")
    npbench.add_argument("--preset", default="S", help="the sizes: S (default), M, L or paper")
    npbench.add_argument("--json", metavar="FILE", help="write what was measured to a file")
    given = parser.parse_args(arguments)
    if given.names == ["npbench"]:
        if given.root is None:
            parser.error("bench npbench needs --root DIR, a checkout of NPBench")
        from adjit.benchmarks.npbench_runner import main as run_npbench

        try:
            return run_npbench(given.root, [n for n in given.only.split(",") if n], given.preset, given.json)
        except (FileNotFoundError, ValueError) as error:
            parser.error(str(error))
    if given.root or given.only or given.json:
        parser.error("--root, --only, --preset and --json belong to `bench npbench`")
    if given.names == ["gradbench-tool"]:
        from adjit.benchmarks.gradbench.tool import main as answer

        return answer()
    from adjit.benchmarks.runner import main as run_benchmarks

    return run_benchmarks(given.names)


if __name__ == "__main__":
    sys.exit(main())
