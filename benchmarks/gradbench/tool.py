"""A tool of GradBench: `adjit bench gradbench-tool` answers the messages of an eval.

In: messages, a JSON object a line: `start`, `define` (is there a module?), `evaluate` (a function of it at an input),
`analysis` (what the eval thinks of an answer). Out: a response a line, with the message's id. A function is called once
before it is timed, since a first call compiles: that is the timing "prepare". Then it is called `min_runs` times and
until `min_seconds` have passed, each a timing "evaluate". What fails is a response without success; the next message is
answered all the same. GradBench means one thread: set OPENBLAS_NUM_THREADS=1, for matrix products go to BLAS.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from collections.abc import Iterable
from typing import Any, TextIO

from .function import Function

__all__ = ["MODULES", "functions", "main", "respond", "serve"]

MODULES = ("ba", "det", "gmm", "hello", "ht", "kmeans", "llsq", "lse", "lstm", "ode", "particle", "saddle")
"""The evals that there are programs for."""


def functions(module: str) -> dict[str, Function]:
    """The functions of an eval; KeyError where there is no program for it."""
    if module not in MODULES:
        raise KeyError(f"no module {module!r}; there are {', '.join(MODULES)}")
    found: dict[str, Function] = importlib.import_module(f".{module}", __package__).FUNCTIONS
    return found


def timing(name: str, seconds: float) -> dict[str, Any]:
    """An entry of a response's timings."""
    return {"name": name, "nanoseconds": round(seconds * 1e9)}


def define(module: str) -> dict[str, Any]:
    """Whether there is a module."""
    begin = time.perf_counter()
    functions(module)
    return {"success": True, "timings": [timing("define", time.perf_counter() - begin)]}


def evaluate(module: str, name: str, given: Any) -> dict[str, Any]:
    """A function's output at an input, and how long each of its runs took."""
    known = functions(module)
    if name not in known:
        raise KeyError(f"no function {name!r} of {module}; there are {', '.join(known)}")
    function = known[name]
    arguments = function.prepare(given)
    runs, seconds = (given.get("min_runs", 1), given.get("min_seconds", 0.0)) if isinstance(given, dict) else (1, 0.0)
    begin = time.perf_counter()
    result = function.compute(*arguments)
    timings = [timing("prepare", time.perf_counter() - begin)]
    elapsed, done = 0.0, 0
    while done < runs or elapsed < seconds:
        begin = time.perf_counter()
        result = function.compute(*arguments)
        took = time.perf_counter() - begin
        timings.append(timing("evaluate", took))
        elapsed += took
        done += 1
    return {"success": True, "output": function.report(result), "timings": timings}


def respond(message: dict[str, Any]) -> dict[str, Any]:
    """The response to a message."""
    response: dict[str, Any] = {"id": message["id"]}
    try:
        match message["kind"]:
            case "start":
                response["tool"] = "adjit"
            case "define":
                response |= define(message["module"])
            case "evaluate":
                response |= evaluate(message["module"], message["function"], message["input"])
    except Exception as error:  # whatever it is, the eval shall know, and go on
        response |= {"success": False, "error": "".join(traceback.format_exception(error))}
    return response


def serve(messages: Iterable[str], responses: TextIO) -> None:
    """Answer messages until they end."""
    for line in messages:
        if line.strip():
            print(json.dumps(respond(json.loads(line))), file=responses, flush=True)


def main() -> int:
    """Answer what comes on the standard input."""
    try:
        serve(sys.stdin, sys.stdout)
    except BrokenPipeError:
        return 1
    return 0
