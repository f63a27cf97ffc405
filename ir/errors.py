"""The errors users see: few, named, each with file, line, caret, what is wrong and what to write instead.

In: a message, a `Span`, a way out. Out: exception classes, re-exported by `adjit.api`.

>>> print(UnsupportedError("`try` cannot be differentiated", help="check the condition with `if`"))
`try` cannot be differentiated
  help: check the condition with `if`
"""

from __future__ import annotations

import linecache

from .core import Span

__all__ = [
    "AdjitError",
    "ArgumentError",
    "BoundsError",
    "CheckError",
    "InternalError",
    "ShapeError",
    "TraceTypeError",
    "UnsupportedError",
]


class AdjitError(Exception):
    """Base of adjit's errors. `span`: the source it is about; `help`: what to write instead; `caller`: where the user's
    code calls the library whose source it is about."""

    def __init__(self, message: str, span: Span | None = None, help: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.span = span
        self.help = help
        self.caller: Span | None = None

    def __str__(self) -> str:
        out = self.message
        if self.span is not None:
            out += "\n" + show_span(self.span)
        if self.caller is not None:
            out += "\n  called from\n" + show_span(self.caller)
        if self.help:
            out += f"\n  help: {self.help}"
        return out


def show_span(span: Span) -> str:
    """The source line with a caret under what is meant."""
    lines = [f"  --> {span.file}:{span.line}:{span.column + 1}"]
    text = linecache.getline(span.file, span.line).rstrip("\n")
    if text.strip():
        end = span.end_column if span.end_line in (0, span.line) and span.end_column > span.column else len(text)
        number = f"{span.line} | "
        lines += [
            "  " + number + text,
            " " * (2 + len(number) + span.column) + "^" * max(1, end - span.column),
        ]
    return "\n".join(lines)


class UnsupportedError(AdjitError):
    """A construct or function that adjit refuses; `help` says what to write instead."""


class TraceTypeError(AdjitError, TypeError):
    """Values whose types do not go together (dtypes, ranks, kinds that differ between branches)."""


class ArgumentError(AdjitError, TypeError):
    """An argument of a transform or of a call that does not fit (integer to differentiate, non-scalar result)."""


class ShapeError(AdjitError, ValueError):
    """Shapes that do not match, found while tracing or at run time."""

    repeats = False
    """Whether one of two extents is 1, which NumPy would repeat."""


class BoundsError(AdjitError, IndexError):
    """An index outside its array, at run time."""


class CheckError(AdjitError):
    """Raised at run time by the user's own `raise` of an exception class adjit cannot build; `assert` raises
    AssertionError itself."""


class InternalError(AdjitError):
    """A bug in adjit: please report it."""
