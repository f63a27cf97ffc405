"""Tables: the one place where results become text.

In: a title, columns, cells that are text already (see `seconds`, `quotient`, …). Out: Markdown, or a table in the
terminal (drawn by Rich where it is installed, else Markdown's text). Progress is shown on the standard error.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .timing import Ratio

__all__ = ["Table", "kilobytes", "progress", "quotient", "ranged", "seconds"]

T = TypeVar("T")
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
NOTHING = "–"


def seconds(time: float | None) -> str:
    """A time with a unit, three digits."""
    if time is None:
        return NOTHING
    for size, unit in UNITS:
        if time >= size:
            return f"{three(time / size)} {unit}"
    return f"{three(time / 1e-9)} ns"


def three(number: float) -> str:
    """Three significant digits, or all before the point."""
    return f"{number:.2f}" if number < 9.995 else f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def quotient(number: float | None) -> str:
    """A ratio."""
    return NOTHING if number is None else three(number)


def ranged(ratio: Ratio | None) -> str:
    """A ratio, and where its middle half lies."""
    if ratio is None:
        return NOTHING
    low, high = ratio.quartiles
    return f"{three(ratio.median)} ({three(low)}–{three(high)})"


def kilobytes(size: float | None) -> str:
    """A size in memory."""
    if size is None:
        return NOTHING
    return f"{three(size / 2**20)} MiB" if size >= 2**20 else f"{size / 2**10:.0f} KiB"


@dataclass
class Table:
    """The first column is text, the others are numbers; those named in `words` are text, too."""

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    words: Sequence[str] = ("note", "notes", "failure")
    below: list[str] = field(default_factory=list)
    """Lines of text that belong to it: means, and what is missing."""

    def is_text(self, column: int) -> bool:
        return column == 0 or self.columns[column] in self.words

    def shown(self) -> list[int]:
        """Columns where anything is: a peer that was not there has none."""
        return [k for k in range(len(self.columns)) if k == 0 or any(row[k] not in ("", NOTHING) for row in self.rows)]

    def markdown(self) -> str:
        """The table as Markdown, its columns aligned."""
        shown = self.shown()
        cells = [[self.columns[k] for k in shown], *([row[k].replace("|", "\\|") for k in shown] for row in self.rows)]
        widths = [max(3, *(len(line[k]) for line in cells)) for k in range(len(shown))]

        def line(parts: Sequence[str]) -> str:
            padded = [p.ljust(w) if self.is_text(c) else p.rjust(w) for p, w, c in zip(parts, widths, shown)]
            return f"| {' | '.join(padded)} |"

        rule = [("-" * w) if self.is_text(c) else "-" * (w - 1) + ":" for w, c in zip(widths, shown)]
        text = "\n".join([line(cells[0]), line(rule), *map(line, cells[1:])])
        return "\n\n".join([text, *self.below]) if self.below else text

    def show(self) -> None:
        """The table on the standard output."""
        if importlib.util.find_spec("rich") is None:
            print(f"\n{self.title}\n\n{self.markdown()}", flush=True)
            return
        from rich.console import Console
        from rich.table import Table as Drawn
        from rich.text import Text

        console = Console(width=None if sys.stdout.isatty() else 200)
        drawn = Drawn(title=self.title, title_justify="left")
        for k in self.shown():
            text = self.is_text(k)
            drawn.add_column(self.columns[k], justify="left" if text else "right", overflow="fold", no_wrap=k == 0)
        for row in self.rows:
            drawn.add_row(*(Text(row[k]) for k in self.shown()))
        console.print(drawn)
        for line in self.below:
            console.print(Text(line))


def progress(items: Iterable[T], label: str, names: Sequence[str]) -> Iterator[T]:
    """The items; meanwhile, on the standard error, which of them is being worked on."""
    if importlib.util.find_spec("rich") is None or not sys.stderr.isatty():
        for k, item in enumerate(items):
            print(f"{label} {k + 1}/{len(names)}: {names[k]}", file=sys.stderr, flush=True)
            yield item
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    look = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*look, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=len(names))
        for k, item in enumerate(items):
            bar.update(task, description=f"{label}: {names[k]}")
            yield item
            bar.advance(task)
