"""Bundle adjustment: where cameras stood and what they saw, from where the points are in their pictures.

What it shows: `sparse_jacobian` finds from the program which residual depends on which unknowns (here 12 of hundreds:
one camera's nine numbers, one point's three), colours the columns, and returns SciPy's sparse matrix from one compiled
run per eight colours. `scipy.optimize.least_squares` takes it as it is. The dense Jacobian of the same size is mostly
zeros, and costs accordingly.

A camera is a rotation (as an axis times an angle), a translation, a focal length and two coefficients of radial
distortion; the loop over observations projects one point at a time, as a textbook writes it.

    python examples/bundle_adjustment.py [--out FOLDER]
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.optimize import least_squares

from adjit import jacobian, jit, sparse_jacobian

CAMERA, POINT = 9, 3


def rotated(axis, x):
    """Rodrigues' formula."""
    square = np.dot(axis, axis)
    angle = np.sqrt(square + 1e-300)
    unit = axis / angle
    turned = np.array(
        [unit[1] * x[2] - unit[2] * x[1], unit[2] * x[0] - unit[0] * x[2], unit[0] * x[1] - unit[1] * x[0]]
    )
    return np.cos(angle) * x + np.sin(angle) * turned + np.dot(unit, x) * (1.0 - np.cos(angle)) * unit


def projected(camera, point):
    """Where in the picture a camera sees a point."""
    x = rotated(camera[:3], point) + camera[3:6]
    p = x[:2] / x[2]
    square = np.dot(p, p)
    return camera[6] * (1.0 + square * (camera[7] + camera[8] * square)) * p


def residuals(unknowns, cameras, seen_by, points, seen):
    """How far each observation is from where the point should appear. `unknowns`: all cameras, then all points."""
    out = np.empty(2 * len(seen))
    for k in range(len(seen)):
        c, p = CAMERA * seen_by[k], CAMERA * cameras + POINT * points[k]
        out[2 * k : 2 * k + 2] = projected(unknowns[c : c + CAMERA], unknowns[p : p + POINT]) - seen[k]
    return out


def problem(cameras=12, points=150, share=0.4, noise=0.5, seed=0):
    """Cameras on a ring around a cloud of points; each sees a part of them, with errors of half a pixel."""
    draws = np.random.default_rng(seed)
    truth = np.empty((cameras, CAMERA))
    for k in range(cameras):
        angle = 2 * np.pi * k / cameras
        truth[k, :3] = [0.0, angle, 0.0]
        truth[k, 3:6] = [0.0, 0.0, 6.0]
        truth[k, 6:] = [800.0, -0.05, 0.01]
    truth[:, :6] += 0.05 * draws.standard_normal((cameras, 6))
    cloud = draws.uniform(-1.0, 1.0, (points, POINT))
    seen_by, which = (a.astype(np.int64) for a in np.nonzero(draws.random((cameras, points)) < share))
    unknowns = np.concatenate([truth.ravel(), cloud.ravel()])
    seen = run(unknowns, cameras, seen_by, which, np.zeros((len(which), 2))).reshape(-1, 2)
    seen = seen + noise * draws.standard_normal(seen.shape)
    start = unknowns + 0.02 * draws.standard_normal(unknowns.shape) * np.where(np.abs(unknowns) > 100.0, 100.0, 1.0)
    return start, (cameras, seen_by, which, seen)


run = jit(residuals)
derivative = sparse_jacobian(residuals)


def best_of(count, function, *arguments):
    times = []
    for _ in range(count):
        begin = perf_counter()
        function(*arguments)
        times.append(perf_counter() - begin)
    return min(times)


def draw(path, matrix, start, found, data):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5), layout="constrained")
    axes[0].spy(matrix[:400], markersize=0.4, aspect="auto")
    axes[0].set_title("the Jacobian's first 400 rows", fontsize="small")
    for unknowns, label in ((start, "before"), (found, "after")):
        error = np.linalg.norm(run(unknowns, *data).reshape(-1, 2), axis=1)
        axes[1].hist(np.log10(error + 1e-3), bins=40, alpha=0.6, label=label)
    axes[1].set_xlabel("log10 of the error in pixels")
    axes[1].legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(out=Path("out/bundle_adjustment"), cameras=12, points=150):
    start, data = problem(cameras, points)
    matrix = derivative(start, *data)
    print(f"{matrix.shape[0]} residuals, {matrix.shape[1]} unknowns, {matrix.nnz} entries that may not be zero")

    dense = jacobian(residuals)
    same = np.array_equal(dense(start, *data), matrix.toarray())
    ratio = best_of(3, dense, start, *data) / best_of(3, derivative, start, *data)
    print(f"the dense Jacobian has the same entries: {same}; it takes {ratio:.0f} times as long")

    fit = least_squares(run, start, derivative, args=data, x_scale="jac", method="trf", max_nfev=60)
    before, after = (np.sqrt(np.mean(run(x, *data) ** 2)) for x in (start, fit.x))
    print(f"error in pixels (root of the mean square): {before:.2f} before, {after:.3f} after {fit.nfev} steps")
    try:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(out / "bundle.png", matrix, start, fit.x, data)
        print(f"drawn in {out / 'bundle.png'}")
    except ImportError:
        print("not drawn: matplotlib is not installed")
    return {"same": same, "before": before, "after": after, "nnz": matrix.nnz, "shape": matrix.shape}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/bundle_adjustment"), help="folder for the picture")
    main(options.parse_args().out)
