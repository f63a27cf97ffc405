"""GradBench's programs: values against independent formulas, derivatives against complex step; the tool's protocol."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import scipy
from differential import check_program

from adjit.__main__ import main
from adjit.benchmarks.gradbench import ba, det, gmm, ht, kmeans, llsq, lse, lstm, ode, particle, tool
from adjit.benchmarks.gradbench.descent import MODES
from adjit.benchmarks.gradbench.function import Function


def draws(seed: int = 0) -> Callable[..., Any]:
    return np.random.default_rng(seed).random


# ---------------------------------------------------------------- small inputs, as the evals send them


def gmm_input(d: int = 3, k: int = 2, n: int = 4) -> dict[str, Any]:
    r = draws()
    shapes = {"x": (n, d), "alpha": k, "mu": (k, d), "q": (k, d), "l": (k, d * (d - 1) // 2)}
    return {"d": d, "k": k, "n": n, "m": 2, "gamma": 1.3, **{name: r(s).tolist() for name, s in shapes.items()}}


def ba_input() -> dict[str, Any]:
    r = draws()
    return {"n": 2, "m": 3, "p": 12, "cam": r(11).tolist(), "x": (r(3) + 3).tolist(), "w": 0.7, "feat": r(2).tolist()}


def lstm_input(layers: int = 2, bits: int = 3, count: int = 4) -> dict[str, Any]:
    r = draws()
    names = {"main_params": (2 * layers, 4 * bits), "extra_params": (3, bits), "state": (2 * layers, bits)}
    sequence = (r((count, bits)) > 0.5).astype(float)
    return {**{name: r(s).tolist() for name, s in names.items()}, "sequence": sequence.tolist()}


def interpreted(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run adjit's programs in the interpreter; compiled only where loops over single numbers would take minutes."""
    if module not in ("ht", "gmm"):
        monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")


def ht_input(us: bool, vertices: int = 5, points: int = 3) -> dict[str, Any]:
    r = draws()
    bones = 22
    model = {
        "bone_count": bones,
        "bone_names": [f"bone {k}" for k in range(bones)],
        "parents": [-1, 0, *(k - 1 if k % 4 != 2 else 1 for k in range(2, bones))],
        "base_relatives": rigid(r, bones).tolist(),
        "inverse_base_absolutes": rigid(r, bones).tolist(),
        "base_positions": np.concatenate((r((vertices, 3)), np.ones((vertices, 1))), axis=1).tolist(),
        "weights": (r((vertices, bones)) / bones).tolist(),
        "triangles": [[0, 1, 2], [1, 2, 3], [2, 3, 4]],
        "is_mirrored": False,
    }
    data = {"model": model, "correspondences": [0, 2, 1], "points": r((points, 3)).tolist()}
    return {"theta": r(26).tolist(), "data": data, "us": r((points, 2)).tolist() if us else []}


def rigid(r: Callable[..., Any], count: int) -> Any:
    out = np.tile(np.eye(4), (count, 1, 1))
    out[:, :3, :3] = scipy.spatial.transform.Rotation.from_rotvec(r((count, 3))).as_matrix()
    out[:, :3, 3] = r((count, 3))
    return out


INPUTS: dict[str, dict[str, Any]] = {
    "ba": ba_input(),
    "det": {"A": draws()(16).tolist(), "ell": 4},
    "gmm": gmm_input(),
    "ht": ht_input(True),
    "kmeans": {"points": draws()((9, 2)).tolist(), "centroids": draws()((9, 2))[-3:].tolist()},
    "llsq": {"x": draws()(4).tolist(), "n": 6},
    "lse": {"x": draws()(5).tolist()},
    "lstm": lstm_input(),
    "ode": {"x": draws()(5).tolist(), "s": 10},
    "particle": {"w": 0.0},
    "saddle": {"start": [1.0, 1.0]},
}


def arguments(name: str, given: Any = None) -> tuple[Any, ...]:
    return next(iter(tool.functions(name).values())).prepare(given or INPUTS[name])


# ---------------------------------------------------------------- derivatives

GRADIENTS: dict[str, tuple[Callable[..., Any], tuple[int, ...]]] = {
    "det": (det.determinant, (0,)),
    "gmm": (gmm.objective, (0, 1, 2, 3)),
    "kmeans": (kmeans.cost, (0,)),
    "llsq": (llsq.objective, (0,)),
    "lse": (lse.logsumexp, (0,)),
    "lstm": (lstm.objective, (0, 1)),
    "ode": (ode.last, (0,)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients(name: str) -> None:
    function, argnums = GRADIENTS[name]
    report = check_program(function, [arguments(name)], argnums, compile=name in {"lse", "ode"})
    assert report.counts["complex step"] >= 1


def weighted_image(camera: Any, point: Any, weight: Any, feature: Any) -> Any:
    u, v = ba.image_errors(camera, point, weight, feature)
    return 0.3 * u + 0.7 * v


def test_gradient_of_bundle_adjustment() -> None:
    r = draws()
    camera, point = r(11), r(3) + 3
    still = np.concatenate((np.zeros(3), camera[3:]))  # no rotation: a branch of its own
    check_program(weighted_image, [(c, point, 0.7, r(2)) for c in (camera, still)], (0, 1, 2))


def weighted_hand(theta: Any, us: Any, hand: Any, corners: Any, points: Any, weights: Any) -> Any:
    return np.sum(weights * ht.on_triangles(theta, us, hand, corners, points))


@pytest.mark.daily(1)
@pytest.mark.parametrize("mirrored", [False, True])
def test_gradient_of_hand_tracking(mirrored: bool) -> None:
    given = ht_input(True)
    given["data"]["model"]["is_mirrored"] = mirrored
    check_program(weighted_hand, [(*arguments("ht", given), draws(1)((3, 3)))], (0, 1))


def quotients(function: Callable[[Any], Any], x: Any, step: float = 1e-5) -> Any:
    """The Jacobian by central differences: a column for each entry of x."""
    x = np.array(x)
    columns = []
    for k in np.ndindex(x.shape):
        unit = np.zeros(x.shape)
        unit[k] = step
        columns.append((np.ravel(function(x + unit)) - np.ravel(function(x - unit))) / (2 * step))
    return np.stack(columns, axis=1)


def test_sparse_jacobian_of_bundle_adjustment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    cameras, points, weights, features, seen_by, seen = arguments("ba")
    r = draws(3)
    cameras, points, weights = cameras + r(cameras.shape), points + r(points.shape), r(len(weights))
    starts, columns, values = ba.jacobian(cameras, points, weights, features, seen_by, seen)
    everything = [cameras, points, weights]

    def errors(k: int, part: Any) -> Any:
        found = ba.objective(*(part if j == k else x for j, x in enumerate(everything)), features, seen_by, seen)
        return np.concatenate((found[:, :2].ravel(), found[:, 2]))

    wanted = np.concatenate([quotients(partial(errors, k), x) for k, x in enumerate(everything)], axis=1)
    found = scipy.sparse.csr_array((values, columns, starts), shape=wanted.shape).toarray()
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("us", [False, True])
def test_jacobian_of_hand_tracking(us: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    theta, barycentric, *given = arguments("ht", ht_input(us))
    found = ht.jacobian(theta, barycentric, *given)
    assert found.shape == (9, 28 if us else 26)
    by_theta = quotients(lambda x: ht.objective(x, barycentric, *given), theta)
    np.testing.assert_allclose(found[:, -26:], by_theta, rtol=1e-6, atol=1e-8)
    if us:
        by_us = quotients(lambda x: ht.objective(theta, x, *given), barycentric)
        own = np.stack([by_us[k, 2 * (k // 3) : 2 * (k // 3) + 2] for k in range(9)])
        assert np.count_nonzero(by_us) == own.size
        np.testing.assert_allclose(found[:, :2], own, rtol=1e-6, atol=1e-8)


def test_newton_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost is quadratic while no point changes its centroid: Newton's step leads to the mean of a cluster."""
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    centroids, points = arguments("kmeans")
    nearest = np.argmin(scipy.spatial.distance.cdist(points, centroids), axis=1)
    means = np.stack([np.mean(points[nearest == k], axis=0) for k in range(3)])
    direction = tool.evaluate("kmeans", "dir", INPUTS["kmeans"])["output"]
    np.testing.assert_allclose(direction, centroids - means, rtol=1e-12)


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", ["f", "r"])
def test_derivatives_through_a_path(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outer derivative of a path that follows inner derivatives, with either mode inside; in few steps."""
    monkeypatch.setattr(particle, "STEP", 1.5)

    def miss(w: Any) -> Any:
        return particle.miss(w, MODES[name])

    check_program(miss, [(np.array([0.1]),)], (0,))


# GradBench's own answers
CONSTANTS = {"particle": 0.2071918746486116, "saddle": [8.246324826140356e-06] * 4}


@pytest.mark.parametrize("name", CONSTANTS)
def test_nested_optimization(name: str) -> None:
    """All four combinations of modes, compiled: each differentiates an optimizer or a path with derivatives inside."""
    for function in ("ff", "fr", "rf", "rr"):
        answer = tool.evaluate(name, function, INPUTS[name])["output"]
        np.testing.assert_allclose(answer, CONSTANTS[name], rtol=1e-9)


# ---------------------------------------------------------------- values


def test_least_squares() -> None:
    x, n = arguments("llsq")
    t = np.linspace(-1.0, 1.0, n)
    assert llsq.objective(x, n) == pytest.approx(0.5 * np.sum((np.sign(t) - np.polyval(x[::-1], t)) ** 2))
    assert lse.logsumexp(x) == pytest.approx(scipy.special.logsumexp(x))


def test_mixture_against_densities() -> None:
    given = gmm_input()
    alpha, mu, q, l, x, m, gamma, log_normalizer = arguments("gmm")
    d = len(q[0])
    assert log_normalizer == pytest.approx(scipy.special.multigammaln(0.5 * (d + m + 1), d))
    density, prior = np.zeros(len(x)), 0.0
    for k, share in enumerate(scipy.special.softmax(alpha)):
        matrix = gmm.factor(q[k], l[k])
        assert matrix[1:, 0].tolist() == given["l"][k][:2] and matrix[2, 1] == given["l"][k][2] and matrix[0, 1] == 0
        precision = matrix.T @ matrix
        density += share * scipy.stats.multivariate_normal(mu[k], np.linalg.inv(precision)).pdf(x)
        prior += scipy.stats.wishart(d + m + 1, np.eye(d) / gamma**2).logpdf(precision)
    wanted = np.sum(np.log(density)) + prior
    assert gmm.objective(alpha, mu, q, l, x, m, gamma, log_normalizer) == pytest.approx(wanted)


def test_clusters_against_all_distances() -> None:
    centroids, points = arguments("kmeans")
    distances = scipy.spatial.distance.cdist(points, centroids, "sqeuclidean")
    assert kmeans.cost(centroids, points) == pytest.approx(np.sum(np.min(distances, axis=1)))


def test_network_against_scalars() -> None:
    """The same recurrence, one bit at a time."""
    parameters, extra, state, sequence = arguments("lstm")
    bits, layers = len(sequence[0]), len(state) // 2
    logistic = lambda z: 1.0 / (1.0 + math.exp(-z))
    state = state.tolist()
    loss = 0.0
    for now, after in pairwise(sequence):
        outputs = []
        for k in range(bits):
            a = now[k] * extra[0, k]
            for i in range(layers):
                (wf, wi, wo, wc), (bf, bi, bo, bc) = (parameters[2 * i + s, k::bits] for s in (0, 1))
                h, c = state[2 * i][k], state[2 * i + 1][k]
                c = c * logistic(a * wf + bf) + logistic(h * wi + bi) * math.tanh(h * wc + bc)
                a = logistic(a * wo + bo) * math.tanh(c)
                state[2 * i][k], state[2 * i + 1][k] = a, c
            outputs.append(a * extra[1, k] + extra[2, k])
        norm = math.log(2.0 + sum(map(math.exp, outputs)))
        loss -= sum(gold * (y - norm) for gold, y in zip(after, outputs))
    assert lstm.objective(parameters, extra, arguments("lstm")[2], sequence) == pytest.approx(
        loss / (bits * (len(sequence) - 1))
    )


def test_equation_against_its_solution() -> None:
    """y_i = x₀ … x_i t^(i+1) / (i+1)!, which the method finds exactly while it is of degree four."""
    x, steps = arguments("ode")
    powers = np.arange(1, 5)
    exact = np.cumprod(x[:4]) * 2.0**powers / [math.factorial(k) for k in powers]
    np.testing.assert_allclose(ode.solution(x, steps)[:4], exact, rtol=1e-12)


def test_determinant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    for n in range(1, 6):
        given = {"A": draws(n)(n * n).tolist(), "ell": n}
        a = np.reshape(given["A"], (n, n))
        assert det.determinant(a) == pytest.approx(np.linalg.det(a))
        gradient = tool.evaluate("det", "gradient", given)["output"]
        np.testing.assert_allclose(gradient, (np.linalg.det(a) * np.linalg.inv(a).T).ravel(), rtol=1e-8)


def test_cameras_against_rotations() -> None:
    camera, point = draws()(11), draws(1)(3) + 3
    seen = scipy.spatial.transform.Rotation.from_rotvec(camera[:3]).apply(point - camera[3:6])
    flat = seen[:2] / seen[2]
    r2 = flat @ flat
    wanted = camera[6] * flat * (1 + camera[9] * r2 + camera[10] * r2**2) + camera[7:9]
    np.testing.assert_allclose(ba.projected(camera, point), wanted)


def test_hands_against_rotations() -> None:
    """The hand as a whole turns and moves as a rigid body; a joint's matrix is a product of two rotations."""
    theta, _, hand, *_ = arguments("ht")
    still = np.concatenate((np.zeros(6), theta[6:]))
    by = scipy.spatial.transform.Rotation
    wanted = by.from_rotvec(theta[:3]).apply(ht.vertices(still, hand)) + theta[3:6]
    np.testing.assert_allclose(ht.vertices(theta, hand), wanted)
    joint = by.from_euler("xz", [0.3, 0.5]).as_matrix()
    np.testing.assert_allclose(ht.bend(0.3, 0.5)[:3, :3], joint, atol=1e-15)


# ---------------------------------------------------------------- the protocol


def session(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    responses = io.StringIO()
    tool.serve((json.dumps({"id": k, **m}) for k, m in enumerate(messages)), responses)
    found = [json.loads(line) for line in responses.getvalue().splitlines()]
    assert [r["id"] for r in found] == list(range(len(messages)))
    return found


def question(module: str, function: str, given: Any) -> dict[str, Any]:
    return {"kind": "evaluate", "module": module, "function": function, "input": given}


@pytest.mark.parametrize("module", sorted(INPUTS.keys() - CONSTANTS.keys()))
def test_answers_are_what_the_functions_say(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    interpreted(module, monkeypatch)
    given = {**INPUTS[module], "min_runs": 2, "min_seconds": 0}
    known = tool.functions(module)
    questions = [question(module, name, given) for name in known]
    defined, *answers = session({"kind": "define", "module": module}, *questions)
    assert defined["success"]
    for function, answer in zip(known.values(), answers):
        assert answer["success"], answer["error"]
        assert [t["name"] for t in answer["timings"]] == ["prepare", "evaluate", "evaluate"]
        assert all(isinstance(t["nanoseconds"], int) and t["nanoseconds"] > 0 for t in answer["timings"])
        assert answer["output"] == function.report(function.compute(*function.prepare(given)))


def test_shapes_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")

    def output(module: str, function: str, given: Any = None) -> Any:
        (answer,) = session(question(module, function, given or INPUTS[module]))
        return answer["output"]

    gradient = output("gmm", "jacobian")
    assert {name: np.shape(part) for name, part in gradient.items()} == {
        "alpha": (2,), "mu": (2, 3), "q": (2, 3), "l": (2, 3)
    }  # fmt: skip
    assert np.shape(output("lstm", "jacobian")) == (2 * 2 * 12 + 3 * 3,)
    errors = output("ba", "objective")
    assert errors["reproj_error"]["repeated"] == errors["w_err"]["repeated"] == 12
    assert {name: len(part) for name, part in output("ba", "jacobian").items()} == {"rows": 31, "cols": 31, "vals": 31}
    assert np.shape(output("ht", "objective")) == (9,)
    assert np.shape(output("gmm", "jacobian", gmm_input(d=1))["l"]) == (2, 0)


def test_failures_are_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    start, unknown, missing, wrong, said, right = session(
        {"kind": "start", "eval": "lse"},
        {"kind": "define", "module": "os"},
        question("lse", "hessian", INPUTS["lse"]),
        question("lse", "gradient", {"x": "twelve"}),
        {"kind": "analysis", "of": 3, "valid": False, "error": "no output"},
        question("hello", "double", 3.0),
    )
    assert start == {"id": 0, "tool": "adjit"} and said == {"id": 4}
    assert not unknown["success"] and "no module 'os'" in unknown["error"]
    assert not missing["success"] and "no function 'hessian' of lse; there are primal, gradient" in missing["error"]
    assert not wrong["success"] and "ValueError" in wrong["error"]
    assert right["success"] and right["output"] == 6.0


def test_runs_until_enough_time_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[float] = []
    slow = Function(lambda given: (given["x"],), lambda x: calls.append(x) or 2.0 * x)
    monkeypatch.setattr(tool, "functions", lambda module: {"twice": slow})
    clock = iter(np.arange(1000) * 0.25)
    monkeypatch.setattr(tool.time, "perf_counter", lambda: float(next(clock)))
    answer = tool.evaluate("any", "twice", {"x": 4.0, "min_runs": 1, "min_seconds": 1.0})
    assert answer["output"] == 8.0
    assert [t["nanoseconds"] for t in answer["timings"]] == [250_000_000] * 5
    assert len(calls) == 5
    assert len(tool.evaluate("any", "twice", {"x": 4.0, "min_runs": 7, "min_seconds": 0.1})["timings"]) == 1 + 7


@pytest.mark.slow
def test_an_eval_drives_the_command() -> None:
    """A dialogue with the command line: the next question depends on the last answer, as in GradBench's `hello`."""
    command = [sys.executable, "-m", "adjit", "bench", "gradbench-tool"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        number = 0

        def ask(**message: Any) -> Any:
            nonlocal number
            print(json.dumps({"id": number, **message}), file=process.stdin, flush=True)
            response = json.loads(process.stdout.readline())  # type: ignore[union-attr]
            assert response["id"] == number
            number += 1
            return response

        assert ask(kind="start", eval="hello")["tool"] == "adjit"
        assert ask(kind="define", module="hello")["success"]
        x = 3.0
        for _ in range(2):
            y = ask(**question("hello", "square", x))["output"]
            assert y == x * x
            x = ask(**question("hello", "double", y))["output"]
            assert x == 2.0 * y
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_the_command_ends_with_its_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"id": 0, "kind": "start"}\n\n'))
    assert main(["bench", "gradbench-tool"]) == 0
    assert json.loads(capsys.readouterr().out) == {"id": 0, "tool": "adjit"}
