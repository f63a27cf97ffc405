"""Second derivatives of NPBench's programs: forward and reverse mode, alone and applied to each other (see `modes`).

In: a checkout of NPBench (see `npbench`), names of programs. Out: a table, a row for each: how far results that are
mathematically one are apart. `~` marks programs so ill-conditioned that float64 does no better: there the column
`moved` says how far the same derivative moves where the last bits of the arguments are others.

Programs run at sizes of their own (`SMALL`): small, so that the cost is compiling, and different along each axis, so
that extents cannot be mistaken for each other. With ADJIT_DISABLE_JIT=1 everything runs in the reference interpreter.

    python -m adjit bench npbench --derivatives --root DIR
"""

from __future__ import annotations

import gc
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..api.arguments import flatten_call
from ..api.specialize import Transform, specialize
from .agreement import reason
from .modes import ALLOWED, Agreement, Modes, agreement
from .npbench import Problem, problem
from .npbench_check import single_inside
from .table import Table, progress, seconds

__all__ = ["SMALL", "compare", "table"]

SINGLE = 1e-5
"""Allowed of programs that round to float32 inside."""
COLUMNS = ("F", "RR", "RF", "symmetric", "FRR", "RFF", "RRR")

SMALL: dict[str, dict[str, Any]] = {
    "adi": {"TSTEPS": 3, "N": 8},
    "arc_distance": {"N": 20},
    "atax": {"M": 7, "N": 9},
    "azimint_hist": {"N": 60, "npt": 5},
    "azimint_naive": {"N": 60, "npt": 5},
    "bicg": {"M": 7, "N": 9},
    "cavity_flow": {"ny": 8, "nx": 9, "nt": 3, "nit": 2},
    "channel_flow": {"ny": 8, "nx": 9, "nit": 2},
    "cholesky": {"N": 8},
    "cholesky2": {"N": 8},
    "compute": {"M": 7, "N": 9},
    "conv2d_bias": {"N": 2, "C_in": 3, "C_out": 4, "K": 2, "H": 6, "W": 5},
    "correlation": {"M": 7, "N": 9},
    "covariance": {"M": 7, "N": 9},
    "covariance2": {"M": 7, "N": 9},
    "deriche": {"W": 9, "H": 7},
    "doitgen": {"NR": 3, "NQ": 4, "NP": 5},
    "durbin": {"N": 8},
    "fdtd_2d": {"TMAX": 3, "NX": 7, "NY": 9},
    "floyd_warshall": {"N": 8},
    "gemm": {"NI": 5, "NJ": 6, "NK": 7},
    "gemver": {"N": 8},
    "gesummv": {"N": 8},
    "go_fast": {"N": 8},
    "gramschmidt": {"M": 9, "N": 7},
    "hdiff": {"I": 6, "J": 5, "K": 3},
    "heat_3d": {"TSTEPS": 3, "N": 6},
    "jacobi_1d": {"TSTEPS": 4, "N": 12},
    "jacobi_2d": {"TSTEPS": 4, "N": 8},
    "k2mm": {"NI": 4, "NJ": 5, "NK": 6, "NL": 7},
    "k3mm": {"NI": 4, "NJ": 5, "NK": 6, "NL": 7, "NM": 8},
    "lenet": {"N": 2, "H": 20, "W": 16},
    "lu": {"N": 8},
    "ludcmp": {"N": 8},
    "mlp": {"C_in": 3, "N": 4, "S0": 8, "S1": 7, "S2": 6},
    "mvt": {"N": 8},
    "nbody": {"N": 4, "tEnd": 0.5, "dt": 0.05},
    "resnet": {"N": 2, "W": 6, "H": 5, "C1": 4, "C2": 3},
    "seidel_2d": {"TSTEPS": 3, "N": 7},
    "softmax": {"N": 2, "H": 3, "SM": 5},
    "spmv": {"M": 12, "N": 10, "nnz": 30},
    "symm": {"M": 6, "N": 7},
    "syr2k": {"M": 6, "N": 7},
    "syrk": {"M": 6, "N": 7},
    "trisolv": {"N": 8},
    "trmm": {"M": 6, "N": 7},
    "vadv": {"I": 5, "J": 4, "K": 6},
}


def rounds_to_single(given: Problem) -> bool:
    """Whether the program computes in float32 anywhere."""
    call = flatten_call(given.fresh(), {})
    return single_inside(specialize(given.loss, Transform("grad", (0,), False, ()), call))


def compare(root: Path, name: str, order: int = 2) -> tuple[Agreement, float]:
    """How far modes are apart on a program, up to derivatives of an order, and what is allowed."""
    given = problem(root, name, "S", SMALL.get(name))

    def loss(floats: Any, rest: Any) -> Any:
        return given.loss(floats, *rest)

    allowed = SINGLE if rounds_to_single(given) else ALLOWED
    return agreement(Modes(loss), given.floats, (given.others, given.weights), order == 3, allowed), allowed


def table(root: Path, names: Sequence[str], order: int = 2) -> tuple[Table, list[str]]:
    """A row for each program, and the names of those that fail; each is named when its turn comes."""
    failed = []
    out = Table("NPBench: modes of differentiation against each other", ["program", *COLUMNS, "moved", "time", "note"])
    for name in progress(names, "derivatives", names):
        begin = time.perf_counter()
        note, cells = "", [""] * (len(COLUMNS) + 1)
        try:
            found, allowed = compare(root, name, order)
            cells = [f"{found.distances[c]:.1e}" if c in found.distances else "" for c in COLUMNS]
            cells.append(f"{found.moved:.1e}" if found.moved else "")
            if not found.holds(allowed):
                note = "FAILED"
            elif found.worst > allowed:
                note = "~"
            elif allowed > ALLOWED:
                note = "float32 inside"
        except Exception as error:  # whatever it is, it belongs into the table
            note = f"FAILED: {reason(error)}"
        if note.startswith("FAILED"):
            failed.append(name)
        out.rows.append([name, *cells, seconds(time.perf_counter() - begin), note])
        gc.collect()
    return out, failed
