"""What a run of the benchmarks is asked for, and what every suite offers.

In: the command line. Out: `Options`, which can be sent to another process as JSON, and the protocol of a `Suite`: names
of rows, and a measurement for each. A `Contender` is one side of a row, ready to be called.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ..api import grad
from .results import Row
from .timing import Effort, Side

__all__ = ["ORDERS", "PEERS", "Contender", "Options", "Suite", "Unavailable", "installed", "start_jax"]

ORDERS = (2, 3)
"""Of derivatives that modes are compared on."""
PEERS = ("numba", "jax", "torch", "autograd")
"""`numba` are references written by hand and shipped with adjit; the others are other people's tools."""


class Unavailable(Exception):
    """A side that a row does not have, and why."""


def installed(peer: str) -> bool:
    """Whether a peer can be imported. It is not imported."""
    return importlib.util.find_spec(peer) is not None


def start_jax() -> Any:
    """JAX in double precision."""
    import jax

    jax.config.update("jax_enable_x64", True)
    return jax


@dataclass(frozen=True)
class Options:
    """`root`, `gradbench`: checkouts of NPBench and of GradBench."""

    peers: tuple[str, ...] = ()
    effort: Effort = field(default_factory=Effort)
    quick: bool = False
    memory: bool = True
    threads: int = 1
    root: str | None = None
    gradbench: str | None = None
    preset: str = "S"

    @property
    def data(self) -> Path | None:
        """The checkout of GradBench."""
        return Path(self.gradbench) if self.gradbench else None

    def transforms(self) -> Mapping[str, Any]:
        """Options of adjit's transforms: more than one thread has to be asked for."""
        known = inspect.signature(grad).parameters
        return {"parallel": self.threads} if self.threads > 1 and "parallel" in known else {}

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "effort": vars(self.effort)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Options:
        return cls(**{**data, "effort": Effort(**data["effort"]), "peers": tuple(data["peers"])})


@dataclass(frozen=True)
class Contender:
    """A side's functions and the arguments for them."""

    name: str
    arguments: tuple[Any, ...]
    derivative: Callable[..., Any] | None
    primal: Callable[..., Any] | None = None
    primal_writes: bool = False
    derivative_writes: bool = False

    def sides(self) -> list[Side]:
        """What is to be timed."""
        out = []
        if self.primal is not None:
            out.append(Side(self.name, "primal", self.primal, self.arguments, self.primal_writes))
        if self.derivative is not None:
            out.append(Side(self.name, "derivative", self.derivative, self.arguments, self.derivative_writes))
        return out

    def side(self, quantity: str) -> Side:
        """One of them; `Unavailable` where there is none."""
        for side in self.sides():
            if side.quantity == quantity:
                return side
        raise Unavailable(f"{self.name} has no {quantity}")


class Suite(Protocol):
    """A module with these functions."""

    def names(self, options: Options) -> Sequence[str]:
        """The rows. ValueError or FileNotFoundError where something is missing that the suite needs."""

    def measure(self, name: str, options: Options) -> Row:
        """Check and time a row; whatever it raises becomes the row's failure."""

    def contender(self, name: str, side: str, options: Options) -> Contender:
        """A side of a row, as another process needs it. `Unavailable` where there is none."""
