"""What a suite finds out: rows of timings, as objects and as JSON.

In: what suites measure. Out: `Row`s, and a `Run` (rows, options, machine, versions) that is written to and read from a
JSON file; tables, plots and the report are made of a `Run`, whether it was just measured or comes from a file.
"""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from .threads import MARK
from .timing import Ratio, Timing, ratio

__all__ = ["SCHEMA", "Row", "Run", "geometric_mean", "machine", "versions"]

SCHEMA = 1
LIBRARIES = ("adjit", "numpy", "scipy", "numba", "llvmlite", "jax", "jaxlib", "torch", "autograd")


@dataclass
class Row:
    """One program at one size."""

    suite: str
    name: str
    timings: dict[str, dict[str, Timing]] = field(default_factory=dict)
    """By side, then by quantity: primal, derivative, …"""
    first_calls: dict[str, float] = field(default_factory=dict)
    """Seconds of the derivative's first call, by side: compiling included."""
    memory: dict[str, int] = field(default_factory=dict)
    """Growth of the peak of resident memory over one call of the derivative, in bytes, by side."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What is particular to the suite."""
    notes: list[str] = field(default_factory=list)
    failure: str = ""
    """Why the row does not hold; empty where all is well."""

    def timing(self, side: str, quantity: str) -> Timing | None:
        return self.timings.get(side, {}).get(quantity)

    def ratio(self, above: tuple[str, str], below: tuple[str, str]) -> Ratio | None:
        """Of two timings, (side, quantity) each; None where one is missing."""
        first, second = self.timing(*above), self.timing(*below)
        return ratio(first, second) if first and second else None

    def primal(self, sides: Sequence[str] | None = None) -> tuple[str, Timing] | None:
        """The fastest primal, by median, and whose it is."""
        found = [(s, by["primal"]) for s, by in self.timings.items() if "primal" in by and (not sides or s in sides)]
        return min(found, key=lambda pair: pair[1].median) if found else None

    def price(self, side: str = "adjit", sides: Sequence[str] | None = None) -> Ratio | None:
        """A side's derivative over the fastest primal of `sides` (all unless given)."""
        fastest = self.primal(sides)
        return self.ratio((side, "derivative"), (fastest[0], "primal")) if fastest else None

    def to_json(self) -> dict[str, Any]:
        ratios = {}
        for side in self.timings:
            price, other = self.price(side), self.ratio((side, "derivative"), ("adjit", "derivative"))
            ratios[side] = {
                "derivative / fastest primal": price and price.to_json(),
                "derivative / adjit's": other and other.to_json(),
            }
        timings = {side: {q: t.to_json() for q, t in by.items()} for side, by in self.timings.items()}
        return {**vars(self), "timings": timings, "ratios": ratios}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Row:
        timings = {s: {q: Timing.from_json(t) for q, t in by.items()} for s, by in data["timings"].items()}
        return cls(**{**{name: data[name] for name in data if name != "ratios"}, "timings": timings})


@dataclass
class Run:
    """Rows that were measured together, and under which conditions."""

    rows: list[Row]
    options: dict[str, Any] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    versions: dict[str, str] = field(default_factory=lambda: versions())
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

    @property
    def failed(self) -> list[Row]:
        return [row for row in self.rows if row.failure]

    def suites(self) -> dict[str, list[Row]]:
        """The rows by suite."""
        out: dict[str, list[Row]] = {}
        for row in self.rows:
            out.setdefault(row.suite, []).append(row)
        return out

    def save(self, file: str | Path) -> None:
        """Write JSON. What is infinite or not a number becomes null."""
        content = {"schema": SCHEMA, **vars(self), "rows": [row.to_json() for row in self.rows]}
        text = json.dumps(finite(content), indent=1, allow_nan=False)
        Path(file).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, file: str | Path) -> Run:
        """Read what `save` wrote. ValueError where it is something else."""
        data = json.loads(Path(file).read_text(encoding="utf-8"))
        if not isinstance(data, dict) or data.pop("schema", None) != SCHEMA:
            raise ValueError(f"{file} is no result of `adjit bench --json` (schema {SCHEMA})")
        return cls(**{**data, "rows": [Row.from_json(row) for row in data["rows"]]})


def finite(data: Any) -> Any:
    """JSON has no infinities."""
    if isinstance(data, dict):
        return {str(key): finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [finite(value) for value in data]
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data.item() if hasattr(data, "item") else data


def geometric_mean(numbers: Iterable[float]) -> float | None:
    """None of no numbers."""
    logarithms = [math.log(x) for x in numbers if x > 0]
    return math.exp(statistics.fmean(logarithms)) if logarithms else None


def versions() -> dict[str, str]:
    """Of Python and of the libraries that are installed."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**out, "adjit": sys.modules[__name__.partition(".")[0]].__version__}


def machine() -> dict[str, Any]:
    """The processor, how many of them there are and how many threads were allowed, memory, system."""
    return {
        "processor": processor_name(),
        "processors": os.cpu_count(),
        "threads": os.environ.get(MARK, "as the environment says"),
        "memory": memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def processor_name() -> str:
    """The model of the processor, as far as the system says."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def memory() -> int | None:
    """Bytes of main memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
