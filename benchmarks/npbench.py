"""NPBench as its authors publish it: the programs of a checkout, their data, and a scalar loss around each.

In: the folder of a checkout (github.com/spcl/npbench; it is not part of adjit). Out: `Problem`s: the program from its
own ``*_numpy.py``, unchanged, inside of a loss Σ_k <w_k, output_k> with fixed pseudo-random weights, and the arguments
that its own ``initialize`` makes, in two groups: those to differentiate, which are all float arrays and float numbers,
and the others. The outputs are the arguments that ``bench_info`` says the program writes, if it does, and all it
returns; where that is nothing, all arguments that it writes.

Single precision data are given as float64: what is checked here are derivatives, to more digits than float32 has. A few
programs need other data to have a derivative at all (`ADAPTED`).
"""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

__all__ = ["ADAPTED", "NOT_REAL", "Problem", "names", "port", "problem"]

NOT_REAL = {
    "contour_integral": "complex",
    "crc16": "integers",
    "mandelbrot1": "complex",
    "mandelbrot2": "complex",
    "nussinov": "integers",
    "scattering_self_energies": "complex",
    "stockham_fft": "complex",
}
"""Programs without a real derivative, and what they compute with instead."""


@dataclass(frozen=True)
class Adapted:
    """How a program's data are changed (`change`, by argument name), and what alone is differentiated (`wrt`)."""

    change: dict[str, Callable[[Any], Any]]
    wrt: tuple[str, ...] | None = None


def by_rows(w: Any) -> Any:
    """Weights divided by their number of inputs, so that sums of products stay of order one."""
    return w / w.shape[0]


def off_ties(path: Any) -> Any:
    """Integer lengths as floats, no two paths of equal length."""
    return path * (1.0 + 0.1 * np.random.default_rng(0).random(path.shape))


ADAPTED = {
    "azimint_hist": Adapted({}, ("data",)),  # radius only chooses bins
    "azimint_naive": Adapted({}, ("data",)),
    "compute": Adapted({"array_1": lambda a: a + 0.25, "array_2": lambda a: a + 0.0}),  # off the bounds of the clip
    "floyd_warshall": Adapted({"path": off_ties}),
    "mlp": Adapted({"w1": by_rows, "w2": by_rows, "w3": by_rows}),  # else the softmax is saturated: derivative zero
}


@dataclass(frozen=True)
class Problem:
    """`loss(floats, others, weights)` of a program, to be differentiated with respect to `floats`."""

    name: str
    loss: Callable[..., Any]
    floats: tuple[Any, ...]
    others: tuple[Any, ...]
    weights: tuple[Any, ...]
    chosen: tuple[bool, ...] = ()
    """Which of the program's arguments are among `floats`, in the order in which it takes them."""
    outputs: tuple[Any, ...] = ()
    """What the program makes of them."""

    def fresh(self) -> tuple[Any, ...]:
        """The arguments of the loss, copied: the programs write to theirs."""
        return copy.deepcopy(self.floats), copy.deepcopy(self.others), self.weights


def names(root: Path) -> list[str]:
    """The programs of a checkout that have a real derivative. FileNotFoundError where it is no checkout."""
    files = sorted((root / "bench_info").glob("*.json"))
    if not files:
        raise FileNotFoundError(f"no bench_info/*.json in {root}: is it a checkout of NPBench?")
    return [file.stem for file in files if file.stem not in NOT_REAL]


def problem(root: Path, name: str, preset: str = "S", sizes: Mapping[str, Any] | None = None) -> Problem:
    """The problem of a program at the sizes of a preset, `sizes` (by name of the parameter) instead of some of them.
    Runs the program once, to see what it returns."""
    info = json.loads((root / "bench_info" / f"{name}.json").read_text(encoding="utf-8"))["benchmark"]
    if preset not in info["parameters"]:
        raise ValueError(f"{name} has no preset {preset}; it has {', '.join(info['parameters'])}")
    folder = root / "npbench" / "benchmarks" / info["relative_path"]
    parameters = {**info["parameters"][preset], **(sizes or {})}
    data = initial_data(info, load(folder / f"{info['module_name']}.py"), parameters)
    adapted = ADAPTED.get(name, Adapted({}))
    for argument, change in adapted.change.items():
        data[argument] = change(data[argument])
    inputs: list[str] = info["input_args"]
    arguments = [as_double(data[n]) for n in inputs]
    chosen = [is_float(a) and (adapted.wrt is None or n in adapted.wrt) for n, a in zip(inputs, arguments, strict=True)]
    floats = tuple(a for a, c in zip(arguments, chosen, strict=True) if c)
    others = tuple(a for a, c in zip(arguments, chosen, strict=True) if not c)
    program = getattr(load(folder / f"{info['module_name']}_numpy.py"), info["func_name"])
    mine = copy.deepcopy(arguments)
    with np.errstate(all="ignore"):
        returned = program(*mine)
    changed = [k for k, a in enumerate(arguments) if np.asarray(a).tobytes() != np.asarray(mine[k]).tobytes()]
    declared = [k for k, n in enumerate(inputs) if n in info["output_args"]]
    written = [k for k in declared if k in changed]
    if not written and returned is None:
        written = changed or declared  # the data may be at rest
    outputs = outputs_of(mine, written, returned)
    generator = np.random.default_rng(1)
    weights = tuple(generator.standard_normal(np.shape(x)) if is_float(x) else None for x in outputs)
    loss = scalar_loss(program, chosen, written)
    return Problem(name, loss, floats, others, weights, tuple(chosen), tuple(outputs))


def port(root: Path, name: str, framework: str) -> Callable[..., Any]:
    """The same program as NPBench's authors write it for another framework (`jax`). FileNotFoundError where they do
    not; whatever its module raises."""
    info = json.loads((root / "bench_info" / f"{name}.json").read_text(encoding="utf-8"))["benchmark"]
    folder = root / "npbench" / "benchmarks" / info["relative_path"]
    found: Callable[..., Any] = getattr(load(folder / f"{info['module_name']}_{framework}.py"), info["func_name"])
    return found


def scalar_loss(program: Callable[..., Any], chosen: Sequence[bool], written: Sequence[int]) -> Callable[..., Any]:
    """Σ_k <w_k, output_k> of a program whose arguments come in two groups, those that are `chosen` and the others.

    Outputs whose weight is None (a count of steps, say) are left out.
    """
    places = [(c, sum(d == c for d in chosen[:k])) for k, c in enumerate(chosen)]

    def loss(floats: tuple[Any, ...], others: tuple[Any, ...], weights: tuple[Any, ...]) -> Any:
        arguments = [floats[k] if is_chosen else others[k] for is_chosen, k in places]
        outputs = outputs_of(arguments, written, program(*arguments))
        total = 0.0
        for w, x in zip(weights, outputs):
            if w is not None:
                total = total + np.sum(w * x)
        return total

    return loss


def outputs_of(arguments: Sequence[Any], written: Sequence[int], returned: Any) -> list[Any]:
    """The arguments that the program writes, then what it returns."""
    outputs = [arguments[k] for k in written]
    if isinstance(returned, tuple):
        return outputs + list(returned)
    return outputs if returned is None else [*outputs, returned]


def initial_data(info: dict[str, Any], module: ModuleType, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The program's arguments by name: the parameters, and what its ``initialize`` makes of them."""
    data = dict(parameters)
    init = info.get("init")
    if init:
        state = np.random.get_state()
        np.random.seed(0)  # some draw from NumPy's global generator
        try:
            made = getattr(module, init["func_name"])(*(data[n] for n in init["input_args"]))
        finally:
            np.random.set_state(state)
        produced = init["output_args"]
        data.update({produced[0]: made} if len(produced) == 1 else zip(produced, made, strict=True))
    return data


def load(path: Path) -> ModuleType:
    """A module from its file, under a name that no other has. FileNotFoundError where there is none."""
    name = f"npbench_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def is_float(x: Any) -> bool:
    return isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f")


def as_double(x: Any) -> Any:
    """float32 data as float64; anything else as it is."""
    if isinstance(x, np.ndarray) and x.dtype == np.float32:
        return x.astype(np.float64)
    return float(x) if isinstance(x, np.float32) else x
