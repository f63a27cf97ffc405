"""The tables of a run.

In: rows, as measured or read from a file. Out: for each suite one `Table` or two, with the sides that took part. Times
are medians; a ratio is the median of quotients of samples of the same round, with its middle half in parentheses.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Sequence

from .results import Row, Run, geometric_mean
from .table import NOTHING, Table, kilobytes, quotient, ranged, seconds
from .timing import Timing

__all__ = ["tables"]

OWN, WARM = "adjit", "adjit warm"
COMPUTING = ("adjit", "numba", "numpy", "python")
"""Whose primals a derivative is measured against, the fastest of them: the function itself, whoever compiles it."""


def sides_of(rows: Iterable[Row]) -> list[str]:
    """The sides that took part, adjit first."""
    found = dict.fromkeys(side for row in rows for side in (*row.timings, *row.first_calls))
    return [OWN, *(side for side in found if side != OWN)]


def time(row: Row, side: str, quantity: str) -> str:
    """A median."""
    timing = row.timing(side, quantity)
    return seconds(timing.median if timing else None)


def means(label: str, numbers: Sequence[float]) -> list[str]:
    """Geometric mean and median of ratios, in words."""
    if not numbers:
        return []
    middle, mean = statistics.median(numbers), geometric_mean(numbers)
    return [f"{label}: geometric mean {quotient(mean)}, median {quotient(middle)}, over {len(numbers)} rows."]


def remarks(row: Row) -> str:
    """What does not hold, and notes."""
    return "; ".join([*([f"FAILED: {row.failure}"] if row.failure else []), *row.notes])


def comparison(title: str, rows: Sequence[Row]) -> Table:
    """Times of all sides; the derivative's price; ratios to other sides."""
    sides = sides_of(rows)
    others = [side for side in sides if any(row.timing(side, "derivative") for row in rows) and side != OWN]
    columns = ["program", *(f"primal {s}" for s in sides), *(f"derivative {s}" for s in (OWN, *others))]
    columns += ["derivative / primal", *(f"{s} / adjit" for s in others), "note"]
    table = Table(title, columns)
    for row in rows:
        cells = [row.name, *(time(row, s, "primal") for s in sides)]
        cells += [time(row, s, "derivative") for s in (OWN, *others)]
        cells += [ranged(row.price(OWN, COMPUTING))]
        cells += [ranged(row.ratio((s, "derivative"), (OWN, "derivative"))) for s in others]
        table.rows.append([*cells, remarks(row)])
    prices = [p.median for row in rows if not row.failure and (p := row.price(OWN, COMPUTING))]
    table.below = means("Derivative / primal", prices)
    for side in others:
        ratios = [row.ratio((side, "derivative"), (OWN, "derivative")) for row in rows]
        table.below += means(f"{side} / adjit", [r.median for r in ratios if r])
    return table


def resources(title: str, rows: Sequence[Row]) -> Table:
    """First calls and memory of all sides."""
    sides = sides_of(rows)
    columns = ["program", *(f"first call {s}" for s in sides), *(f"memory {s}" for s in sides)]
    table = Table(title, columns)
    for row in rows:
        first = [seconds(row.first_calls.get(s)) for s in sides]
        table.rows.append([row.name, *first, *(kilobytes(row.memory.get(s)) for s in sides)])
    for side in sides[1:]:
        pairs = [(row.first_calls.get(OWN), row.first_calls.get(side)) for row in rows]
        table.below += means(f"First call, adjit / {side}", [a / b for a, b in pairs if a and b])
    return table


def accuracy(rows: Sequence[Row]) -> Table:
    """How far gradients are from their references."""
    table = Table("npbench: distance of gradients from references", ["program", "difference quotient", "complex step"])
    for row in rows:
        loose = " ~" if row.facts.get("ill_conditioned") else ""
        errors = [row.facts.get(name) for name in ("quotient_error", "exact_error")]
        quotient_, exact = (NOTHING if e is None else f"{e:.1e}" for e in errors)
        table.rows.append([row.name, quotient_, exact + loose])
    held = sum(not row.failure for row in rows)
    table.below = [f"{held} of {len(rows)} programs hold.", "~: ill-conditioned, see `adjit.benchmarks.npbench_check`."]
    return table


def scaling(rows: Sequence[Row]) -> Table:
    """Fitted exponents."""
    columns = ["program", "sizes", "time: primal", "derivative", "memory: primal", "derivative", "note"]
    table = Table("scaling: exponents p of fits size^p", columns)
    for row in rows:
        cells = [row.name, "–".join(str(row.facts["sizes"][k]) for k in (0, -1)) if "sizes" in row.facts else ""]
        for kind in ("exponents", "memory exponents"):
            found = row.facts.get(kind, {})
            cells += [f"{found[q]:.2f}" if q in found else NOTHING for q in ("primal", "derivative")]
        table.rows.append([*cells, remarks(row)])
    return table


def compiling(rows: Sequence[Row]) -> list[Table]:
    """Imports; first calls by side; adjit's by stage."""
    programs = [row for row in rows if row.first_calls or row.failure]
    sides = sides_of(programs)
    imports = Table("compile: imports", ["process", *(f"import {s}" for s in sides_of(rows))])
    for row in rows:
        if not row.first_calls:
            imports.rows.append([row.name, *(time(row, s, "import") for s in sides_of(rows))])
    for side in sides_of(rows)[1:]:
        ratios = [row.ratio((OWN, "import"), (side, "import")) for row in rows if not row.first_calls]
        imports.below += [f"import adjit / import {side}: {ranged(r)}." for r in ratios if r]
    calls = Table("compile: first calls, and new processes from start to result", ["program"])
    calls.columns = ["program", *(f"first call {s}" for s in sides), *(f"process {s}" for s in sides), "note"]
    stages = list(dict.fromkeys(stage for row in programs for stage in row.facts.get(OWN, {}).get("stages", {})))
    by_stage = Table("compile: adjit's first call by stage", ["program", *stages])
    for row in programs:
        first = [seconds(row.first_calls.get(s)) for s in sides]
        process = [seconds(row.facts.get(s, {}).get("process")) for s in sides]
        calls.rows.append([row.name, *first, *process, remarks(row)])
        took = row.facts.get(OWN, {}).get("stages", {})
        by_stage.rows.append([row.name, *(seconds(took.get(stage)) for stage in stages)])
    for side in sides[1:]:
        if side.startswith(OWN):
            continue
        pairs = [(row.first_calls.get(OWN), row.first_calls.get(side)) for row in programs]
        calls.below += means(f"First call, adjit / {side}", [a / b for a, b in pairs if a and b])
    slowest = max((row.first_calls[OWN] for row in programs if OWN in row.first_calls), default=math.nan)
    if not math.isnan(slowest):
        calls.below.append(f"The slowest first call of adjit: {seconds(slowest)}.")
    warm = geometric_mean(row.first_calls[WARM] for row in programs if WARM in row.first_calls)
    if warm is not None:
        calls.below.append(f"With a warm cache: geometric mean {seconds(warm)}.")
    return [table for table in (imports, calls, by_stage) if table.rows]


def overhead(rows: Sequence[Row]) -> Table:
    """Times of calls."""
    sides = sides_of(rows)
    others = [side for side in sides if side != OWN]
    columns = ["call", "value adjit", *(f"gradient {s}" for s in sides), *(f"{s} / adjit" for s in others), "note"]
    table = Table("overhead: a call from Python", columns)
    for row in rows:
        cells = [row.name, time(row, OWN, "primal"), *(time(row, s, "derivative") for s in sides)]
        cells += [ranged(row.ratio((s, "derivative"), (OWN, "derivative"))) for s in others]
        table.rows.append([*cells, remarks(row)])
    return table


def threads(rows: Sequence[Row]) -> Table:
    """Several threads against one, and where one did all the work on both sides."""
    several = [side for side in sides_of(rows) if side != OWN]
    columns = ["program"]
    for quantity in ("primal", "derivative"):
        columns += [f"{quantity} {s}" for s in (OWN, *several)] + [f"{quantity}: {OWN} / {s}" for s in several]
    table = Table("threads: times and gains", [*columns, "note"])
    for row in rows:
        cells = [row.name]
        for quantity in ("primal", "derivative"):
            cells += [time(row, s, quantity) for s in (OWN, *several)]
            gains = [ranged(row.ratio((OWN, quantity), (s, quantity))) for s in several]
            cells += [g if g == NOTHING or is_shared(row, quantity) else f"{g}, one thread" for g in gains]
        table.rows.append([*cells, remarks(row)])
    for quantity, side in itertools.product(("primal", "derivative"), several):
        ratios = [row.ratio((OWN, quantity), (side, quantity)) for row in rows if is_shared(row, quantity)]
        table.below += means(f"{quantity}: {OWN} / {side}", [r.median for r in ratios if r])
    return table


def is_shared(row: Row, quantity: str) -> bool:
    """Whether several threads worked, as far as the row says (`suite_threads`)."""
    return quantity in row.facts.get("shared", (quantity,))


def best(rows: Sequence[Row]) -> Table:
    """Minima and the spread of samples of derivatives: what the machine can do, and how quiet it was."""
    sides = [s for s in sides_of(rows) if any(row.timing(s, "derivative") for row in rows)]
    table = Table(f"{rows[0].suite}: derivative, best sample (middle half of the samples)", ["program", *sides])
    for row in rows:
        table.rows.append([row.name, *(spread(row.timing(s, "derivative")) for s in sides)])
    return table


def spread(timing: Timing | None) -> str:
    if timing is None:
        return NOTHING
    low, high = timing.quartiles
    return f"{seconds(timing.minimum)} ({seconds(low)}–{seconds(high)})"


def of_gradbench(rows: Sequence[Row]) -> list[Table]:
    return [
        comparison("gradbench: times and ratios", rows),
        resources("gradbench: first calls, and growth of peak memory over a call", rows),
        best(rows),
    ]


def of_npbench(rows: Sequence[Row]) -> list[Table]:
    return [
        comparison("npbench: times and ratios", rows),
        resources("npbench: first calls, and growth of peak memory over a call", rows),
        accuracy(rows),
    ]


def of_textbook(rows: Sequence[Row]) -> list[Table]:
    table = comparison("textbook: times and ratios", rows)
    ratios = [row.ratio(("python", "primal"), (OWN, "primal")) for row in rows]
    table.below += means("Plain Python and NumPy / adjit's compiled value", [r.median for r in ratios if r])
    return [table, resources("textbook: first calls", rows)]


TABLES: dict[str, Callable[[Sequence[Row]], list[Table]]] = {
    "gradbench": of_gradbench,
    "npbench": of_npbench,
    "textbook": of_textbook,
    "overhead": lambda rows: [overhead(rows)],
    "compile": compiling,
    "scaling": lambda rows: [scaling(rows)],
    "threads": lambda rows: [threads(rows)],
}


def tables(run: Run) -> dict[str, list[Table]]:
    """The tables of each suite in a run."""
    return {suite: TABLES[suite](rows) for suite, rows in run.suites().items()}
