"""Inputs of GradBench's programs, as its evals make them.

In: sizes, and optionally the folder of a checkout of GradBench, which has the data files of ba, ht and lstm. Out: what
an eval sends to a tool (arrays in place of lists). Random numbers are those of NumPy with the seed 31337 for each input
(an eval seeds once for all of its sizes; that of lstm not at all). Without a checkout, the data of ba, ht and lstm are
drawn as well, of the same shapes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .gradbench.ht import turn

__all__ = ["ba", "det", "gmm", "ht", "kmeans", "llsq", "lse", "lstm", "ode", "particle", "saddle"]

SEED = 31337
BA_SIZES = {1: (49, 7776, 31843), 10: (1197, 126327, 563734)}
"""Cameras, points and observations of the data files of bundle adjustment."""
HAND_SIZES = {("small", 1): (544, 100), ("big", 10): (10000, 25600)}
"""Vertices of a hand model, and points of a data file."""
BONES, TRIANGLES = 22, 1084


def generator() -> np.random.RandomState:
    return np.random.RandomState(SEED)


def gmm(root: Path | None, d: int, k: int, n: int) -> dict[str, Any]:
    draw = np.random.default_rng(SEED)
    return {
        "d": d,
        "k": k,
        "n": n,
        "x": np.array([draw.normal(size=d) for _ in range(n)]),
        "m": 0,
        "gamma": 1.0,
        "alpha": draw.normal(size=k),
        "mu": np.array([draw.uniform(size=d) for _ in range(k)]),
        "q": np.array([draw.normal(size=d) for _ in range(k)]),
        "l": np.array([draw.normal(size=d * (d - 1) // 2) for _ in range(k)]),
    }


def lstm(root: Path | None, l: int, c: int, b: int = 14) -> dict[str, Any]:
    """The bits of the first c characters of a text, 14 of them each."""
    draw = generator()
    if root is None:
        sequence = (draw.random_sample((c, b)) < 0.5).astype(np.float64)
    else:
        with (root / "evals" / "lstm" / "data" / "lstm_full.txt").open(encoding="utf-8") as file:
            sequence = np.array([[int(bit) for bit in f"{ord(x):0{b}b}"] for x in file.read(c)], dtype=np.float64)
    names = {"state": (2 * l, b), "main_params": (2 * l, 4 * b), "extra_params": (3, b)}
    return {**{name: draw.random_sample(shape) for name, shape in names.items()}, "sequence": sequence}


def ode(root: Path | None, n: int, s: int) -> dict[str, Any]:
    return {"x": generator().rand(n), "s": s}


def lse(root: Path | None, n: int) -> dict[str, Any]:
    return {"x": generator().rand(n)}


def llsq(root: Path | None, n: int, m: int) -> dict[str, Any]:
    return {"x": generator().rand(m), "n": n}


def kmeans(root: Path | None, k: int, n: int, d: int) -> dict[str, Any]:
    points = generator().rand(n, d)
    return {"points": points, "centroids": points[-k:].copy()}


def det(root: Path | None, l: int) -> dict[str, Any]:
    return {"A": generator().rand(l * l), "ell": l}


def particle(root: Path | None) -> dict[str, Any]:
    return {"w": 0.0}


def saddle(root: Path | None) -> dict[str, Any]:
    return {"start": [1.0, 1.0]}


def ba(root: Path | None, number: int) -> dict[str, Any]:
    """The data file of that number; 0 is a small input of our own."""
    if root is not None and number:
        (file,) = (root / "evals" / "ba" / "data").glob(f"ba{number}_*.txt")
        sizes, cam, x, w, feat = (line.split() for line in file.read_text(encoding="utf-8").splitlines()[:5])
        n, m, p = map(int, sizes)
        return {"n": n, "m": m, "p": p, "cam": floats(cam), "x": floats(x), "w": float(w[0]), "feat": floats(feat)}
    draw = generator()
    n, m, p = BA_SIZES.get(number, (2, 3, 12))
    cam = draw.normal(size=11) * np.array([1, 1, 1, 30, 30, 30, 0, 5, 5, 0.05, 0.01]) + 400.0 * (np.arange(11) == 6)
    given = {"cam": cam, "x": 3.0 * draw.normal(size=3), "w": float(draw.rand()), "feat": 500.0 * draw.rand(2)}
    return {"n": n, "m": m, "p": p, **given}


def floats(words: Any) -> Any:
    return np.array([float(word) for word in words])


def ht(root: Path | None, size: str, number: int) -> dict[str, Any]:
    """The data file of that number with the `big` or the `small` model and barycentric coordinates; 0 is a small input
    of our own."""
    if root is None or not number:
        return made_hand(*HAND_SIZES.get((size, number), (12, 5)))
    folder = root / "evals" / "ht" / "data" / f"complicated_{size}"
    (file,) = folder.glob(f"hand{number}_*.txt")
    lines = [line.split() for line in file.read_text(encoding="utf-8").splitlines()]
    points, thetas = int(lines[0][0]), int(lines[0][1])
    first, second = lines[1 : points + 1], lines[points + 1 : 2 * points + 1]
    data = {
        "model": hand_model(folder / "model"),
        "correspondences": [int(line[0]) for line in first],
        "points": np.array([floats(line[1:4]) for line in first]),
    }
    theta = floats(line[0] for line in lines[2 * points + 1 : 2 * points + 1 + thetas])
    return {"theta": theta, "data": data, "us": np.array([floats(line) for line in second])}


def hand_model(folder: Path) -> dict[str, Any]:
    """A hand model from its files: fields apart by colons."""

    def fields(name: str) -> list[list[str]]:
        return [line.split(":") for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]

    bones, vertices = fields("bones.txt"), fields("vertices.txt")
    weights = np.zeros((len(vertices), len(bones)))
    for row, vertex in zip(weights, vertices, strict=True):
        for k in range(int(vertex[8])):
            row[int(vertex[9 + 2 * k])] = float(vertex[10 + 2 * k])
    positions = np.array([[*map(float, vertex[:3]), 1.0] for vertex in vertices])
    return {
        "parents": [int(bone[1]) for bone in bones],
        "base_relatives": np.array([floats(bone[2:18]).reshape(4, 4) for bone in bones]),
        "inverse_base_absolutes": np.array([floats(bone[18:34]).reshape(4, 4) for bone in bones]),
        "base_positions": positions,
        "weights": weights,
        "triangles": [[int(corner) for corner in line] for line in fields("triangles.txt")],
        "is_mirrored": False,
    }


def made_hand(vertices: int, points: int) -> dict[str, Any]:
    """A model of that many vertices, each of which follows a few bones, and as many points."""
    draw = generator()

    def rigid() -> Any:
        out = np.tile(np.eye(4), (BONES, 1, 1))
        for matrix in out:
            matrix[:3, :3] = turn(draw.normal(size=3))
            matrix[:3, 3] = draw.normal(size=3)
        return out

    weights = draw.random_sample((vertices, BONES)) * (draw.random_sample((vertices, BONES)) < 0.2)
    weights[:, 0] += 0.1
    model = {
        "parents": [-1, 0, *(k - 1 if k % 4 != 2 else 1 for k in range(2, BONES))],
        "base_relatives": rigid(),
        "inverse_base_absolutes": rigid(),
        "base_positions": np.concatenate((draw.normal(size=(vertices, 3)), np.ones((vertices, 1))), axis=1),
        "weights": weights / np.sum(weights, axis=1, keepdims=True),
        "triangles": draw.randint(vertices, size=(TRIANGLES, 3)),
        "is_mirrored": False,
    }
    data = {
        "model": model,
        "correspondences": draw.randint(TRIANGLES, size=points),
        "points": draw.normal(size=(points, 3)),
    }
    return {"theta": 0.5 * draw.normal(size=26), "data": data, "us": draw.random_sample((points, 2))}
