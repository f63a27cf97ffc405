"""Plots of a run, as PNG and SVG.

In: rows of suites. Out: files in a folder, and their names. One picture per suite: other sides' derivatives in units of
adjit's where sides are compared, times against size where problems grow, first calls where compiling is timed; axes are
logarithmic. Matplotlib draws them; it belongs to the extra `bench`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .results import Row, Run
from .tables import OWN, sides_of

__all__ = ["draw"]

COLOURS = {OWN: "#1b6ca8", "numba": "#7a9e3f", "jax": "#d1495b", "torch": "#e08e2b", "autograd": "#8d6a9f"}
OTHER = "#8a8f98"
FORMATS = ("png", "svg")


def draw(run: Run, folder: Path) -> dict[str, str]:
    """Draw what there is to draw; the PNG's name for each suite. ModuleNotFoundError without Matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "adjit"  # the same picture is the same file
    from matplotlib.figure import Figure

    drawn = {}
    for suite, rows in run.suites().items():
        figure = Figure(layout="constrained")
        if DRAWINGS.get(suite, against)(figure, suite, rows):
            for format_ in FORMATS:
                metadata = {"Date": None} if format_ == "svg" else None
                figure.savefig(folder / f"{suite}.{format_}", dpi=150, metadata=metadata)
            drawn[suite] = f"{suite}.png"
    return drawn


def against(figure: Any, suite: str, rows: Sequence[Row]) -> bool:
    """Derivatives of the other sides over adjit's, with the middle half of the samples; whether there are any."""
    sides = [s for s in sides_of(rows) if s != OWN and any(row.timing(s, "derivative") for row in rows)]
    rows = [row for row in rows if any(row.ratio((s, "derivative"), (OWN, "derivative")) for s in sides)]
    if not rows:
        return False
    axes = prepared(figure, len(rows))
    for side in sides:
        ratios = [row.ratio((side, "derivative"), (OWN, "derivative")) for row in rows]
        at = [(y, r) for y, r in enumerate(ratios) if r]
        middles = [r.median for _, r in at]
        spread = np.abs(np.array([r.quartiles for _, r in at]).T - middles)
        look = {"color": COLOURS.get(side, OTHER), "capsize": 2, "markersize": 5}
        axes.errorbar(middles, [y for y, _ in at], xerr=spread, fmt="o", label=side, **look)
    axes.axvline(1.0, color=COLOURS[OWN], label=OWN)
    finish(axes, [row.name for row in rows], f"{suite}: time of the derivative / adjit's")
    return True


def first_calls(figure: Any, suite: str, rows: Sequence[Row]) -> bool:
    """Seconds of first calls; whether there are any."""
    rows = [row for row in rows if row.first_calls]
    if not rows:
        return False
    sides = [side for side in sides_of(rows) if any(side in row.first_calls for row in rows)]
    axes = prepared(figure, len(rows))
    for side in sides:
        at = [(y, row.first_calls[side]) for y, row in enumerate(rows) if side in row.first_calls]
        axes.plot([x for _, x in at], [y for y, _ in at], "o", label=side, color=COLOURS.get(side, OTHER), markersize=5)
    finish(axes, [row.name for row in rows], f"{suite}: seconds of the first call")
    return True


def prepared(figure: Any, count: int) -> Any:
    """Axes with room for so many rows."""
    figure.set_size_inches(8.0, 1.4 + 0.24 * count)
    axes = figure.add_subplot()
    axes.set_xscale("log")
    return axes


def finish(axes: Any, names: Sequence[str], title: str) -> None:
    """Names of rows from top to bottom, a legend, a grid."""
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(frameon=False, ncols=5, loc="lower left", bbox_to_anchor=(0.0, 1.0))


def lines(figure: Any, suite: str, rows: Sequence[Row]) -> bool:
    """Seconds against size, primal and derivative of each program."""
    rows = [row for row in rows if "seconds" in row.facts]
    if not rows:
        return False
    columns = min(3, len(rows))
    figure.set_size_inches(3.2 * columns, 2.8 * -(-len(rows) // columns))
    for k, row in enumerate(rows):
        axes = figure.add_subplot(-(-len(rows) // columns), columns, k + 1)
        for quantity, colour in (("primal", OTHER), ("derivative", COLOURS[OWN])):
            p = row.facts["exponents"][quantity]
            label = f"{quantity}, size^{p:.2f}"
            axes.plot(row.facts["sizes"], row.facts["seconds"][quantity], "o-", label=label, color=colour, markersize=3)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(row.name, fontsize=10)
        axes.set_ylabel("seconds")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8)
    return True


DRAWINGS: dict[str, Callable[[Any, str, Sequence[Row]], bool]] = {"scaling": lines, "compile": first_calls}
