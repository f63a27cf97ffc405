"""Writes docs/compatibility.md: which functions of HIPS autograd's and JAX's lists adjit differentiates, as measured.

In: the lists of names in compatibility_names.json, the sample calls in compatibility_calls.py. Out: the page. Each
function is called through adjit (in its interpreter: nothing is compiled), its value is compared with NumPy's, its
gradient with differences of NumPy's values; or it is refused, and the page has the refusal's own words. So nothing on
the page is asserted.

    python docs/compatibility.py            measures and writes the page
    python docs/compatibility.py --names    reads the lists again, where autograd and jax are installed
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PAGE = HERE / "compatibility.md"
NAMES = HERE / "compatibility_names.json"

sys.path.insert(0, str(HERE))
from compatibility_calls import ARGUMENTS, CALLS, NOT_FUNCTIONS, WITHOUT_TWIN  # noqa: E402

# list: the namespace whose functions it is about
LISTS = {
    "autograd.numpy": "numpy",
    "autograd.numpy.linalg": "numpy.linalg",
    "autograd.numpy.fft": "numpy.fft",
    "autograd.scipy.special": "scipy.special",
    "autograd.scipy.linalg": "scipy.linalg",
    "autograd.scipy.stats": "scipy.stats",
    "autograd.scipy.signal": "scipy.signal",
    "autograd.scipy.integrate": "scipy.integrate",
    "jax.numpy": "numpy",
    "jax.numpy.linalg": "numpy.linalg",
    "jax.scipy.special": "scipy.special",
    "jax.scipy.linalg": "scipy.linalg",
}
PREFIXES = {"numpy": "np", "numpy.linalg": "np.linalg", "numpy.fft": "np.fft"}
DEFAULTS = ("u", "u, w", "k", "k, m", "A", "Q", "Q, R", "u, w, u")  # the first that NumPy takes
PREAMBLE = "import numpy as np\nfrom scipy import integrate, linalg, signal, special, stats\n"

HEAD = """# Compatibility

Which functions of [HIPS autograd](https://github.com/HIPS/autograd) (those with a gradient) and of
[JAX](https://github.com/jax-ml/jax) (`jax.numpy`, `jax.numpy.linalg`, `jax.scipy.special`, `jax.scipy.linalg`) adjit
knows, under their NumPy and SciPy names. `python docs/compatibility.py` writes this page by *measuring* it: each call
below is run through adjit, its value compared with NumPy's, its gradient with differences of NumPy's values.

* **gradient**: value and gradient are right in all calls. **value**: so is the value; the result has no derivative.
* **partly**: some of the calls are refused; the last column says which, and why.
* **refused**: adjit says so while it traces, with the source line; the last column has its words.

In the calls `u`, `w`, `x`, `y`, `p`, `g`, `b`, `d` and `z` (which has NaN) are vectors, `A`, `B`, `N`, `Q`, `R`, `S`
matrices (`S` is positive definite), `T` has three axes, `s`, `t`, `r` are numbers, `k` and `m` are of integers, `c`
is of booleans.
"""


# ---------------------------------------------------------------- lists of names


def read_names() -> dict[str, Any]:
    """The public names of the libraries' namespaces, each with what it is; needs autograd and jax."""
    from importlib.metadata import version

    lists: dict[str, dict[str, str]] = {}
    for name in LISTS:
        found = autograd_names(name) if name.startswith("autograd") else jax_names(name)
        lists[name] = dict(sorted(found.items()))
    return {"versions": {name: version(name) for name in ("autograd", "jax")}, "lists": lists}


def stored_names() -> dict[str, Any]:
    """What `read_names` read when the lists were last refreshed."""
    found: dict[str, Any] = json.loads(NAMES.read_text(encoding="utf-8"))
    return found


def autograd_names(namespace: str) -> dict[str, str]:
    """Names in a namespace of autograd that have a gradient, by a rule or as a composition of such."""
    from autograd.core import primitive_jvps, primitive_vjps

    if namespace == "autograd.scipy.stats":
        parts = ("beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t")
        return {
            f"{part}.{name}": kind
            for part in parts
            for name, kind in autograd_names(f"{namespace}.{part}").items()
            if re.search("pdf|cdf|sf|pmf|entropy", name)
        }
    out = {}
    for name, value in vars(importlib.import_module(namespace)).items():
        composed = getattr(value, "__module__", "") == "autograd.numpy.numpy_wrapper" and not hasattr(value, "fun")
        if name.startswith(("_", "wrap_")) or not callable(value) or isinstance(value, type):
            continue
        if composed or value in primitive_vjps or value in primitive_jvps:
            out[name] = "function"
    return out


def jax_names(namespace: str) -> dict[str, str]:
    module = importlib.import_module(namespace)
    kinds = {}
    for name in dir(module):
        value = getattr(module, name)
        if not name.startswith("_"):
            is_class, is_module = isinstance(value, type), type(value).__name__ == "module"
            kinds[name] = (
                "class" if is_class else "module" if is_module else "function" if callable(value) else "constant"
            )
    return kinds


# ---------------------------------------------------------------- what is measured


@dataclass
class Row:
    """One function: where it stands, which lists have it, its calls, and what came of each."""

    namespace: str
    name: str
    lists: list[str]
    reason: str = ""
    calls: tuple[str, ...] = ()
    outcomes: tuple[tuple[str, str], ...] = ()

    @property
    def full(self) -> str:
        return f"{self.namespace}.{self.name}"

    @property
    def state(self) -> str:
        """gradient, value, partly, refused, "not measured"; or WRONG or FAILED, which must not be."""
        kinds = {kind for kind, _ in self.outcomes}
        for worst in ("FAILED", "WRONG"):
            if worst in kinds:
                return worst
        if not kinds:
            return "not measured"
        if "refused" in kinds:
            return "refused" if kinds == {"refused"} else "partly"
        return "gradient" if "gradient" in kinds else "value"


def rows() -> list[Row]:
    """All names of all lists, classified; the functions with their calls, not yet measured."""
    lists = stored_names()["lists"]
    found: dict[tuple[str, str], Row] = {}
    for listed, namespace in LISTS.items():
        for name, kind in lists[listed].items():
            library = "autograd" if listed.startswith("autograd") else "JAX"
            row = found.setdefault((namespace, name), Row(namespace, name, []))
            row.lists.append(library)
            row.reason = row.reason or why_not(namespace, name, kind)
            if not row.reason:
                row.calls = calls_of(row)
    return sorted(found.values(), key=lambda r: (list(LISTS.values()).index(r.namespace), r.name))


def why_not(namespace: str, name: str, kind: str) -> str:
    """Why a name is not measured; empty for functions."""
    if namespace == "numpy" and name in NOT_FUNCTIONS:
        return NOT_FUNCTIONS[name]
    if kind != "function":
        return {"class": "a dtype or a class", "module": "a module"}.get(kind, "a constant or a helper for indices")
    if name in WITHOUT_TWIN:
        return WITHOUT_TWIN[name]
    return "" if twin(namespace, name) is not None else "neither in NumPy nor in SciPy"


def twin(namespace: str, name: str) -> Any:
    """The function of NumPy or SciPy of that name."""
    value: Any = importlib.import_module(namespace)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def calls_of(row: Row) -> tuple[str, ...]:
    if row.full in CALLS:
        return CALLS[row.full]
    prefix = PREFIXES.get(row.namespace, row.namespace.removeprefix("scipy."))
    for arguments in DEFAULTS:
        try:
            with np.errstate(all="ignore"):
                twin(row.namespace, row.name)(*(ARGUMENTS[a] for a in arguments.split(", ")))
        except Exception:  # whatever NumPy says: the next arguments
            continue
        return (f"{prefix}.{row.name}({arguments})",)
    raise LookupError(f"no sample call of {row.full}: add one to compatibility_calls.py")


def programs(calls: list[str], folder: Path) -> dict[str, tuple[Callable[..., Any], list[str]]]:
    """Each call as a function of the letters in it. They stand in a real file: adjit reads the source."""
    text, letters = [PREAMBLE], {}
    for number, call in enumerate(calls):
        *statements, last = call.split("; ")
        used = {
            n.id
            for n in ast.walk(ast.parse("; ".join([*statements, last.removeprefix("return ")])))
            if isinstance(n, ast.Name)
        }
        letters[call] = [a for a in ARGUMENTS if a in used]
        body = [*statements, f"return {last.removeprefix('return ')}"]
        text.append(f"\n\ndef call_{number}({', '.join(letters[call])}):\n" + "".join(f"    {s}\n" for s in body))
    path = folder / "calls.py"
    path.write_text("".join(text), encoding="utf-8")
    names: dict[str, Any] = {"__name__": "calls"}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    return {call: (names[f"call_{number}"], letters[call]) for number, call in enumerate(calls)}


# ---------------------------------------------------------------- measuring


def leaves(value: Any) -> list[Any]:
    """The numbers and arrays in a result."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    return [value]


def structure(value: Any) -> Any:
    """The lists and tuples of a result."""
    if isinstance(value, tuple | list):
        return "list" if isinstance(value, list) else "tuple", [structure(part) for part in value]
    return "one"


def like(value: Any, make: Callable[[Any], Any]) -> Any:
    """A structure like a result's, with something for each leaf."""
    if isinstance(value, tuple | list):
        parts = [like(part, make) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return make(value)


def is_float(x: Any) -> bool:
    return np.asarray(x).dtype.kind == "f"


def measure(function: Callable[..., Any], args: list[Any]) -> tuple[str, str]:
    """What comes of a call through adjit: (gradient, value, refused, WRONG or FAILED; details)."""
    import adjit

    with np.errstate(all="ignore"):
        expected = function(*copies(args))
    has_derivative = any(map(is_float, leaves(expected))) and any(map(is_float, args))
    try:
        value, pullback = adjit.vjp(function, *copies(args))
        rng = np.random.default_rng(1)
        cotangent = like(value, lambda x: rng.uniform(0.5, 1.5, np.shape(x))[()] if is_float(x) else x)
        gradients = pullback(cotangent) if has_derivative else None
    except adjit.InternalError as error:
        return "FAILED", first_line(error)
    except adjit.AdjitError as error:
        return "refused", first_line(error)
    except Exception as error:
        return "FAILED", f"{type(error).__name__}: {first_line(error)}"
    problem = differs(value, expected)
    if problem or gradients is None:
        return ("WRONG", problem) if problem else ("value", "")
    directions = [rng.uniform(-1, 1, np.shape(a))[()] if is_float(a) else None for a in args]
    ours = sum(float(np.sum(g * d)) for g, d in zip(gradients, directions) if d is not None)
    weights = [np.asarray(c, float) for c in leaves(cotangent) if is_float(c)]
    theirs = slope(function, args, directions, weights)
    if abs(ours - theirs) > 1e-6 * (1 + abs(theirs)):
        return "WRONG", f"the derivative is {ours:.10g}, by differences {theirs:.10g}"
    return "gradient", ""


def copies(args: list[Any]) -> list[Any]:
    return [a.copy() if isinstance(a, np.ndarray) else a for a in args]


def slope(function: Callable[..., Any], args: list[Any], directions: list[Any], weights: list[Any]) -> float:
    """The derivative of the weighted sum of results along directions, by extrapolated differences. NaN counts as 0."""

    def at(h: float) -> float:
        moved = [a if d is None else a + h * d for a, d in zip(copies(args), directions, strict=True)]
        with np.errstate(all="ignore"):
            results = [np.asarray(r, float) for r in leaves(function(*moved)) if is_float(r)]
        return sum(float(np.nansum(w * r)) for w, r in zip(weights, results, strict=True))

    def central(h: float) -> float:
        return (at(h) - at(-h)) / (2 * h)

    h = 1e-4
    return (4 * central(h / 2) - central(h)) / 3


def differs(value: Any, expected: Any) -> str:
    """How a value differs from NumPy's; empty where it does not."""
    found, wanted = leaves(value), leaves(expected)
    if structure(value) != structure(expected):
        return (
            f"a {type(value).__name__} of {len(found)} arrays, NumPy gives a {type(expected).__name__} of {len(wanted)}"
        )
    for a, b in zip(found, wanted, strict=True):
        if np.shape(a) != np.shape(b) or np.asarray(a).dtype.kind != np.asarray(b).dtype.kind:
            return f"{np.asarray(a).dtype}{np.shape(a)}, NumPy gives {np.asarray(b).dtype}{np.shape(b)}"
        numeric = np.asarray(b).dtype.kind in "biufc"
        if not (np.allclose(a, b, rtol=1e-11, atol=1e-12, equal_nan=True) if numeric else np.array_equal(a, b)):
            return f"{np.asarray(a).tolist()}, NumPy gives {np.asarray(b).tolist()}"
    return ""


def first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def measured(wanted: list[Row]) -> list[Row]:
    """Rows with their outcomes."""
    os.environ["ADJIT_DISABLE_JIT"] = "1"
    every = list(dict.fromkeys(call for row in wanted for call in row.calls))
    with tempfile.TemporaryDirectory() as folder:
        made = programs(every, Path(folder))
        outcome = {call: measure(f, [ARGUMENTS[a] for a in letters]) for call, (f, letters) in made.items()}
    for row in wanted:
        row.outcomes = tuple(outcome[call] for call in row.calls)
    return wanted


# ---------------------------------------------------------------- the page

STATES = ("gradient", "value", "partly", "refused", "not measured")


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def remark(row: Row) -> str:
    if row.state in ("refused", "FAILED", "WRONG"):
        return next(text for kind, text in row.outcomes if kind == row.state)
    wrong = [f"`{call}`: {text}" for call, (kind, text) in zip(row.calls, row.outcomes) if kind == "refused"]
    return "; ".join(wrong)


def line(row: Row) -> str:
    calls = ", ".join(f"`{call}`" for call in row.calls)
    libraries = ", ".join(dict.fromkeys(row.lists))
    return f"| `{row.name}` | {libraries} | {row.state} | {cell(calls)} | {cell(remark(row))} |"


def summary(all_rows: list[Row]) -> Iterator[str]:
    stored = stored_names()
    by_name = {(r.namespace, r.name): r for r in all_rows}
    yield f"| list | names | {' | '.join(STATES)} |"
    yield f"| --- | --- |{' --- |' * len(STATES)}"
    for listed, namespace in LISTS.items():
        names = stored["lists"][listed]
        counts = Counter(by_name[namespace, name].state for name in names)
        yield f"| `{listed}` | {len(names)} | {' | '.join(str(counts[s]) for s in STATES)} |"
    yield ""
    yield f"The lists are those of autograd {stored['versions']['autograd']} and JAX {stored['versions']['jax']}."


def page(all_rows: list[Row]) -> str:
    parts = [HEAD, *summary(all_rows)]
    for namespace in dict.fromkeys(LISTS.values()):
        inside = [r for r in all_rows if r.namespace == namespace and r.calls]
        parts += ["", f"## {namespace}", "", "| function | listed by | adjit | measured by | remark |"]
        parts += ["| --- | --- | --- | --- | --- |", *map(line, inside)]
    parts += [
        "",
        "## Not measured",
        "",
        "Names in the lists that are no functions of numbers.",
        "",
        "| reason | names |",
    ]
    parts += ["| --- | --- |"]
    reasons = sorted({r.reason for r in all_rows if r.reason})
    for reason in reasons:
        names = ", ".join(f"`{r.name}`" for r in all_rows if r.reason == reason)
        parts.append(f"| {reason} | {names} |")
    return "\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    if "--names" in arguments:
        NAMES.write_text(json.dumps(read_names(), indent=1) + "\n", encoding="utf-8")
        return 0
    found = measured(rows())
    PAGE.write_text(page(found), encoding="utf-8")
    bad = [row for row in found if row.state in ("WRONG", "FAILED")]
    for row in bad:
        print(f"{row.full}: {row.state}: {remark(row)}", file=sys.stderr)
    print(", ".join(f"{n} {state}" for state, n in Counter(r.state for r in found).items()))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
