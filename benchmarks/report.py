"""The report page of a run.

In: a `Run`. Out: a folder with `results.md` (conditions, tables, pictures), the pictures as PNG and SVG, and the run
itself as `results.json`, from which the page can be made again.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .plots import draw
from .results import Run
from .tables import tables

__all__ = ["page", "write"]

HOW = """Times are medians over rounds, all sides interleaved in one process. A ratio is the median of the quotients of
samples of the same round; the middle half of them stands in parentheses. Each derivative is checked before it is timed.
What each column means: [README](README.md)."""


def page(run: Run, pictures: dict[str, str]) -> str:
    """The page as Markdown."""
    parts = ["# Results of `adjit bench`", conditions(run), HOW]
    for suite, of_suite in tables(run).items():
        parts.append(f"## {suite}")
        if suite in pictures:
            parts.append(f"![{suite}]({pictures[suite]})")
        for table in of_suite:
            parts += [f"### {table.title}", table.markdown()]
    return "\n\n".join(parts) + "\n"


def conditions(run: Run) -> str:
    """Machine, versions and options, in words."""
    machine = run.machine
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine.get("memory") else ""
    versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    options = run.options
    data = (
        "GradBench's data files"
        if options.get("gradbench")
        else "data drawn in their shapes (no checkout of GradBench)"
    )
    quick = " **A quick run at small sizes: a smoke test, no measurement.**" if options.get("quick") else ""
    return (
        f"{run.date}, {machine['processor']}, {machine['processors']} processors{memory}, {machine['system']}; "
        f"threads: {machine['threads']}. {versions}. ba, ht and lstm with {data}.{quick}"
    )


def write(run: Run, folder: Path) -> Path:
    """Write the page and what belongs to it; where the page is."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pictures = draw(run, folder)
    except ModuleNotFoundError as error:
        print(f"no pictures: {error} (pip install 'adjit[bench]')", file=sys.stderr)
        pictures = {}
    run.save(folder / "results.json")
    target = folder / "results.md"
    target.write_text(page(run, pictures), encoding="utf-8")
    return target
