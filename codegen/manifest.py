"""What a trace found out, kept on disk with what it depends on, so that a warm start traces nothing.

In: the identity of what was traced, the caller's plain bytes (kernel sources, structure of the result, sites)
and what the trace read. Out: the same bytes in a later process, if everything that was read is still the
same; else None.

A trace reads two kinds of things. *Source lines* of functions: each is named by file and line range and is
read again from disk. *Captures*, the static values found in enclosing scopes and modules (helpers, flags,
tuples): each has a name that the caller can resolve and a digest that only the caller can compute again, so
`load_manifest` asks for it. A manifest is used only if every one of them has the digest it had. Arrays and
numbers that are read at call time are not among them.

>>> key = manifest_key("m", "f", "ab12", "f64", "grad:0")
>>> len(key)
64
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tokenize
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache as memoize
from pathlib import Path

from . import cache

__all__ = [
    "Capture",
    "SourceLines",
    "code_digest",
    "load_manifest",
    "manifest_key",
    "source_lines",
    "store_manifest",
]

_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class SourceLines:
    """Lines `first`..`last` (from 1, inclusive) of `file`, and the digest of their text when they were
    traced."""

    file: str
    first: int
    last: int
    digest: str


@dataclass(frozen=True)
class Capture:
    """A static value the trace used: a name that its owner can resolve, and the digest of the value."""

    name: str
    digest: str


def source_lines(file: str, first: int, last: int, text: str | None = None) -> SourceLines:
    """The dependency on lines of a file: on `text` where the traced text is at hand, else on what the file
    holds now.

    Raises OSError, SyntaxError or UnicodeError where the file cannot be read, ValueError where it has no such
    lines.
    """
    if text is None:
        text = _lines(_read(file), first, last)
    return SourceLines(file, first, last, cache.digest(text.rstrip("\n")))


def _read(file: str) -> list[str]:
    with tokenize.open(file) as text:  # honours the file's coding line, as Python does
        return text.read().split("\n")


def _lines(lines: list[str], first: int, last: int) -> str:
    if not 1 <= first <= last <= len(lines):
        raise ValueError(f"no lines {first}..{last} among {len(lines)}")
    return "\n".join(lines[first - 1 : last]).rstrip("\n")


def code_digest(code: types.CodeType) -> str:
    """A digest of what a code object does: its instructions, names and constants, not where it stands.

    >>> a, b, c = (eval(text) for text in ("lambda x: x + 1", "lambda  x:  x + 1", "lambda x: x + 2"))
    >>> code_digest(a.__code__) == code_digest(b.__code__) != code_digest(c.__code__)
    True
    """
    parts: list[str | bytes] = [
        code.co_code,
        getattr(code, "co_exceptiontable", b""),
        repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)),
        repr((code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)),
    ]
    parts += [_constant_digest(constant) for constant in code.co_consts]
    return cache.digest(*parts)


def _constant_digest(constant: object) -> str:
    if isinstance(constant, types.CodeType):
        return code_digest(constant)
    if isinstance(constant, frozenset):  # its order changes from process to process
        return cache.digest("frozenset", *sorted(_constant_digest(item) for item in constant))
    if isinstance(constant, tuple):
        return cache.digest("tuple", *(_constant_digest(item) for item in constant))
    return cache.digest(type(constant).__name__, repr(constant))  # -0.0 is not 0.0, 1 is not 1.0


def manifest_key(module: str, qualname: str, source_digest: str, signature: str, options: str) -> str:
    """The key of a trace: which function, with which arguments, transformed how, by which adjit."""
    return cache.digest("manifest", module, qualname, source_digest, signature, options, adjit_digest())


@memoize
def adjit_digest() -> str:
    """A digest of adjit itself: any edit of its sources makes other manifests."""
    package = Path(__file__).resolve().parent.parent
    hasher = hashlib.sha256()
    for folder in ("ir", "tracer", "codegen", "api"):
        files = [os.path.join(at, name) for at, _, names in os.walk(package / folder) for name in names]
        for path in sorted(file for file in files if file.endswith(".py")):
            with open(path, "rb") as source:
                hasher.update(os.path.relpath(path, package).encode())
                hasher.update(hashlib.sha256(source.read()).digest())
    return hasher.hexdigest()


def store_manifest(key: str, payload: bytes, dependencies: Sequence[SourceLines | Capture] = ()) -> bool:
    """Keep `payload` with what it depends on; False where it could not be stored."""
    sources = [[d.file, d.first, d.last, d.digest] for d in dependencies if isinstance(d, SourceLines)]
    captures = [[d.name, d.digest] for d in dependencies if isinstance(d, Capture)]
    head = json.dumps({"sources": sources, "captures": captures}).encode()
    return cache.store("trace", key, _LENGTH.pack(len(head)) + head + payload)


def load_manifest(key: str, capture_digest: Callable[[str], str | None] | None = None) -> bytes | None:
    """The payload stored under `key` if all that it depends on is unchanged, else None.

    `capture_digest` gives the digest that a capture has now (None: it no longer exists). A manifest with
    captures never loads without it. A manifest whose dependencies changed stays: the next trace stores over
    it, and another program may still want it.
    """
    data = cache.load("trace", key)
    if data is None:
        return None
    try:
        (length,) = _LENGTH.unpack_from(data)
        head = json.loads(data[_LENGTH.size : _LENGTH.size + length])
        files: dict[str, list[str]] = {}
        for file, first, last, expected in head["sources"]:
            if file not in files:
                files[file] = _read(file)
            if cache.digest(_lines(files[file], first, last)) != expected:
                return None
        for name, expected in head["captures"]:
            if capture_digest is None or capture_digest(name) != expected:
                return None
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return None  # a file that is gone or unreadable is a changed one
    return data[_LENGTH.size + length :]
