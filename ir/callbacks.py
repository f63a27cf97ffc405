"""Python functions that compiled programs call: where they are found at run time, and what they are given.

In: a `Site`, the place of a call in a program: the user's function, how its arguments are put together from numbers and
arrays, and how its result is taken apart. Out: `register(site)` gives a number by which kernels and the interpreter
find the site in this process (`call`), as long as the site is alive. So code that was compiled by another process
contains no address: the number is an argument, read at each call.

Arguments and results are described by *forms*, nested tuples:

    ("leaf", k, kind)             number or array k; `kind`: "float", "int", "bool" (Python's), "scalar", "array"
    ("static", value)             the value itself
    ("tuple", cls, forms)         ("list", forms)         ("dict", keys, forms)         ("object", cls, names, forms)
    ("format", ((conversion, spec), ...), forms)              an f-string

The function gets copies, which it may keep and change. What it raises passes through a kernel as a status and is raised
by the host (`taken`), as the user's own exception.
"""

from __future__ import annotations

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ArgumentError, ShapeError, show_span

__all__ = ["Site", "call", "raised", "register", "site_of", "taken"]

Form = tuple[Any, ...]
CONVERSIONS: dict[int, Callable[[Any], str]] = {ord("s"): str, ord("r"): repr, ord("a"): ascii}
PYTHON: dict[str, Callable[[Any], Any]] = {"float": float, "int": int, "bool": bool}


@dataclass(eq=False)
class Site:
    """One call of a Python function in a program. `arguments`: a form per argument, the last ones of `keywords`;
    `result`: that of the result; `span`: where the program calls it."""

    function: Callable[..., Any]
    name: str
    arguments: tuple[Form, ...]
    keywords: tuple[str, ...]
    result: Form
    span: Any = None
    handle: int = -1

    @functools.cached_property
    def numbers(self) -> frozenset[int]:
        """Which results are numbers."""
        return frozenset(k for k, kind in leaves_of(self.result) if kind != "array")

    def __call__(self, values: Sequence[Any], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> list[Any]:
        """The results for these numbers and arrays, which are the function's to keep."""
        args = [built(form, values) for form in self.arguments]
        count = len(args) - len(self.keywords)
        found = self.function(*args[:count], **dict(zip(self.keywords, args[count:])))
        leaves: dict[int, Any] = {}
        self.take(self.result, found, leaves, "the result")
        return [self.fitted(leaves[k], k, shape, dtype) for k, (shape, dtype) in enumerate(zip(shapes, dtypes))]

    def take(self, form: Form, x: Any, leaves: dict[int, Any], what: str) -> None:
        """Note the numbers and arrays of (a part of) the result."""
        kind = form[0]
        if kind == "leaf":
            leaves[form[1]] = x
        elif kind in ("tuple", "list"):
            parts = form[-1]
            if not isinstance(x, tuple | list) or len(x) != len(parts):
                self.refuse(what, x, f"a {kind} of {len(parts)}")
            for k, (inner, part) in enumerate(zip(parts, x)):
                self.take(inner, part, leaves, f"{what}[{k}]")
        elif kind == "dict":
            if not isinstance(x, dict) or set(x) != set(form[1]):
                self.refuse(what, x, f"a dict with the keys {', '.join(map(repr, form[1]))}")
            for key, inner in zip(form[1], form[2]):
                self.take(inner, x[key], leaves, f"{what}[{key!r}]")
        elif kind == "object":
            if not isinstance(x, form[1]):
                self.refuse(what, x, f"a {form[1].__name__}")
            for name, inner in zip(form[2], form[3]):
                self.take(inner, getattr(x, name), leaves, f"{what}.{name}")

    def refuse(self, what: str, x: Any, expected: str) -> None:
        raise ArgumentError(
            f"the callback `{self.name}` returned a {type(x).__name__} as {what}: `result=` says {expected}",
            self.span,
            "return what `result=` describes, or change `result=`",
        )

    def fitted(self, x: Any, k: int, shape: tuple[int, ...], dtype: Any) -> Any:
        """A number or array as its shape and dtype say."""
        if type(x) is np.ndarray and x.dtype is dtype and x.shape == shape:
            return x
        if type(x) is float and dtype == np.float64 and shape == ():
            return x
        try:
            array = np.asarray(x)
        except ValueError:
            array = np.asarray(None)
        if array.dtype.kind not in "biuf" or not np.can_cast(array.dtype, dtype, "same_kind"):
            given = f"{array.dtype}" if array.dtype.kind != "O" else f"a {type(x).__name__}"
            self.refuse(f"number or array {k} of the result ({given})", x, f"{np.dtype(dtype)}")
        if array.shape != shape:
            raise ShapeError(
                f"the callback `{self.name}` returned an array of shape {array.shape}: `result=` says {shape}",
                self.span,
                "return what `result=` describes, or change `result=`",
            )
        return array.astype(dtype, copy=False)[()]


def leaves_of(form: Form) -> list[tuple[int, str]]:
    """The numbers and kinds of the leaves of a form."""
    if form[0] == "leaf":
        return [(form[1], form[2])]
    return [] if form[0] == "static" else [leaf for part in form[-1] for leaf in leaves_of(part)]


def built(form: Form, values: Sequence[Any]) -> Any:
    """An argument put together."""
    kind = form[0]
    if kind == "leaf":
        x = values[form[1]]
        return PYTHON[form[2]](x) if form[2] in PYTHON else np.asarray(x) if form[2] == "array" else x
    if kind == "static":
        return form[1]
    if kind == "tuple":
        parts = [built(part, values) for part in form[2]]
        return form[1]._make(parts) if hasattr(form[1], "_make") else tuple(parts)
    if kind == "list":
        return [built(part, values) for part in form[1]]
    if kind == "dict":
        return {key: built(part, values) for key, part in zip(form[1], form[2])}
    if kind == "format":
        texts = [built(part, values) for part in form[2]]
        return "".join(
            format(CONVERSIONS[conversion](x) if conversion in CONVERSIONS else x, spec)
            for (conversion, spec), x in zip(form[1], texts)
        )
    made = object.__new__(form[1])
    for name, part in zip(form[2], form[3]):
        object.__setattr__(made, name, built(part, values))
    return made


# ---------------------------------------------------------------- sites of this process

_numbers = itertools.count(1)
_sites: weakref.WeakValueDictionary[int, Site] = weakref.WeakValueDictionary()


def register(site: Site) -> int:
    """The number of a site; it lives as long as somebody holds the site."""
    if site.handle < 0:
        site.handle = next(_numbers)
        _sites[site.handle] = site
    return site.handle


def site_of(handle: int) -> Site:
    return _sites[int(handle)]


def call(handle: int, values: Sequence[Any], shapes: Sequence[tuple[int, ...]], dtypes: Sequence[Any]) -> list[Any]:
    """The results of a site's function. `values` are copied."""
    copies = [x.copy() if isinstance(x, np.ndarray) else x for x in values]
    return site_of(handle)(copies, shapes, dtypes)


# ---------------------------------------------------------------- exceptions on their way through a kernel

_pending = threading.local()


def raised(handle: int, error: BaseException) -> None:
    """Keep an exception until the kernel that is running has returned."""
    site = _sites.get(int(handle))
    if site is not None and site.span is not None and getattr(error, "span", None) is not site.span:
        note = f"raised by the callback `{site.name}`, which is called here\n{show_span(site.span)}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
    if isinstance(error, ShapeError):
        error.repeats = False  # nothing that another kernel could repair
    _pending.error = error


def taken() -> BaseException:
    """The exception that a callback of the kernel that has just returned raised in this thread."""
    error, _pending.error = getattr(_pending, "error", None), None
    return error if error is not None else RuntimeError("a callback failed")
