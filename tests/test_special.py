"""scipy.special, scipy.stats and their twins in math: values and types as SciPy's, derivatives against mpmath.

The derivative of every operation is tested with the table (`test_ops`), the vectorized kernels with `test_vecmath`.
Here are the bindings, the accuracy of derivatives far out, compositions with all their arguments, what is refused, and
kernels that call SciPy's C functions, in this process and in the next.
"""

import math
import os
import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
import scipy.special as special
import scipy.stats as stats
from differential import check_program
from ops_cases import domains
from ops_derivatives import Derivatives, program
from scipy.special import logsumexp
from scipy.stats import norm
from semantics import check, interpreted

from adjit import UnsupportedError, grad, jit, jvp, stop_gradient
from adjit.codegen import external
from adjit.codegen.primitives import special as primitives
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY
from adjit.ir.ops.named import Named
from adjit.tracer.bind_special import ALIASES, DERIVED
from adjit.tracer.bindings import NAMED, TABLE, enter_imported

inf, nan = math.inf, math.nan
OPERATIONS = {n: d for n, d in REGISTRY.items() if isinstance(d.evaluate, Named)}
DIRECTORY = os.path.dirname(__file__)


def written(text, **names):
    """A function from its source, which the tracer can read."""
    import linecache

    file = f"<special {abs(hash(text))}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    space = {"special": special, "stats": stats, "np": np, "math": math, **names}
    exec(compile(text, file, "exec"), space)
    return space["f"]


def call_of(path, count, more=""):
    arguments = ", ".join("xyz"[:count])
    return written(f"def f({arguments}):\n    return {path}({arguments}{more})\n")


# ---------------------------------------------------------------- values and types


def arguments_of(name, kind):
    """Arguments in the domain of an operation, as numbers or arrays of a kind."""
    rng = np.random.default_rng(5)
    out = []
    for domain in domains(REGISTRY[name]):
        low, high = (1, 4) if domain == "whole" else domain
        x = rng.uniform(low, high, 5)
        whole = np.clip(np.round(x), 1, None) if name not in ("logit", "ndtri", "erfinv") else np.array([0, 1, 1, 0, 1])
        values = {
            "float64": x,
            "float32": x.astype(np.float32),
            "int64": whole.astype(np.int64),
            "int8": whole.astype(np.int8),
            "bool": whole == 1,
            "float": float(x[0]),
            "int": int(whole[0]),
            "numpy": np.float32(x[0]),
        }
        out.append(values[kind])
    return tuple(out)


NAMES = {**{d.evaluate.__name__: n for n, d in OPERATIONS.items()}, **ALIASES}


@pytest.mark.parametrize("name", [n for n, o in NAMES.items() if o in OPERATIONS and hasattr(special, n)])
@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "int8", "bool", "float", "int", "numpy"])
def test_values_and_types_are_those_of_scipy(name, kind):
    operation = NAMES[name]
    args = arguments_of(operation, kind)
    function = call_of(f"special.{name}", len(args))
    # SciPy has loops of its own for whole orders and for float32; what differs are last bits
    check(function, lambda: tuple(np.copy(a) if isinstance(a, np.ndarray) else a for a in args), rtol=1e-13)


@pytest.mark.parametrize("name", ["cbrt", "exp2", "expm1", "log1p", "exp10", "cosm1", "loggamma", "sinc"])
@pytest.mark.parametrize("x", [np.array([0.3, 1.7, 4.0]), np.float32([0.3, 2.0]), np.array([1, 2]), 0.7])
def test_aliases_and_compositions_of_elements(name, x):
    check(call_of(f"special.{name}", 1), lambda: (np.copy(x) if isinstance(x, np.ndarray) else x,), rtol=1e-14)
    if name != "loggamma" and np.asarray(x).dtype == float:
        d = grad(written(f"def f(x):\n    return np.sum(special.{name}(x))\n"))(x)
        function = getattr(special, name)
        np.testing.assert_allclose(d, np.imag(function(x + 1e-30j)) / 1e-30 if name in ("expm1", "log1p", "sinc") else
                                   (function(x + 1e-6) - function(x - 1e-6)) / 2e-6, rtol=1e-7)  # fmt: skip


@pytest.mark.parametrize("x", [0.0, -0.0, 1e-300, 1e-8, -1e-3, 0.2, 1 / np.pi, 2.5, 1e20, 1e200])
def test_derivatives_of_sinc_near_zero(x):
    y = np.pi * x
    if abs(y) < 1:
        terms = [(-1) ** k * 2 * k / math.factorial(2 * k + 1) * y ** (2 * k - 1) for k in range(1, 12)]
        first = np.pi * math.fsum(terms)
    else:
        first = np.pi * (np.cos(y) / y - np.sin(y) / y / y)
    function = written("def f(x):\n    return np.sinc(x)\n")
    assert grad(function)(x) == pytest.approx(first, rel=1e-13, abs=0.0)
    assert jvp(function, (x,), (1.0,))[1] == pytest.approx(first, rel=1e-13, abs=0.0)
    if abs(x) < 1e-7:
        assert grad(grad(function))(x) == pytest.approx(-(np.pi**2) / 3, rel=1e-12)


@pytest.mark.parametrize("text", ["out=b", "out=(b,)", "where=x > 0.5, out=b", "dtype=np.float32"])
def test_keywords_of_ufuncs(text):
    function = written(f"def f(x, b):\n    y = special.erf(x, {text})\n    return y, b\n")
    check(function, lambda: (np.array([0.2, 0.7, 1.1]), np.zeros(3)), rtol=1e-6 if "dtype" in text else 1e-14)


@pytest.mark.parametrize("name", ["erf", "erfc", "gamma", "lgamma"])
def test_twins_in_math(name):
    function = call_of(f"math.{name}", 1)
    for x in (0.3, 2, True, np.float64(1.7), np.float32(0.5), -1.3):
        check(function, lambda: (x,), rtol=1e-14)  # noqa: B023
    exact = {"erf": mp.erf, "erfc": mp.erfc, "gamma": mp.gamma, "lgamma": lambda x: mp.log(abs(mp.gamma(x)))}[name]
    for x in (0.3, 2.0, -1.3):
        np.testing.assert_allclose(grad(function)(x), float(mp.diff(exact, x)), rtol=1e-12)


def test_static_arguments_are_computed_while_tracing():
    function = written("def f(x):\n    return x * special.gamma(4) + math.erf(0.5) + special.polygamma(1, 1.0)\n")
    assert not {op.name for op in jit_ops(function, 2.0)} & {"gamma", "erf", "zeta"}
    assert interpreted(function)(2.0) == function(2.0)


def jit_ops(function, *args):
    from semantics import JIT

    from adjit.api.arguments import flatten_call
    from adjit.api.specialize import specialize
    from adjit.ir.core import walk

    return walk(specialize(function, JIT, flatten_call(args, {})).stages.traced.body)


def test_every_name_is_bound():
    enter_imported()
    assert not {"scipy.special", "scipy.stats"} & set(NAMED)
    for name in [*NAMES, *DERIVED, "logsumexp", "softmax", "log_softmax", "polygamma", "multigammaln", "zeta", "sinc"]:
        function = getattr(special, name, None)
        assert function is None or function in TABLE, name


def test_importing_adjit_does_not_import_scipy():
    text = "import adjit, sys; assert 'scipy.special' not in sys.modules and 'scipy.stats' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True, timeout=60)


# ---------------------------------------------------------------- derivatives, far out too

GAMMALN = lambda x: mp.log(abs(mp.gamma(x)))
LOG_NDTR = lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)
EXACT = {
    "erf": (mp.erf, [0.0, 0.5, -3.0, 6.0]),
    "erfc": (mp.erfc, [0.5, -3.0, 6.0, 20.0]),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), [-5.0, 0.0, 3.0, 11.9, 12.1, 300.0]),
    "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), [0.0, -2.0, 11.9, 12.1, 40.0]),
    "ndtr": (mp.ncdf, [-10.0, -1.0, 0.0, 3.0]),
    "log_ndtr": (LOG_NDTR, [-40.0, -5.0, 0.0, 4.0]),
    "expit": (lambda x: 1 / (1 + mp.exp(-x)), [-40.0, -1.0, 0.0, 40.0]),
    "log_expit": (lambda x: -mp.log1p(mp.exp(-x)), [-40.0, -1.0, 0.0, 40.0]),
    "logit": (lambda x: mp.log(x) - mp.log1p(-x), [1e-10, 0.3, 0.999]),
    "gamma": (mp.gamma, [0.1, 3.7, 50.0, -2.5]),
    "gammaln": (GAMMALN, [0.1, 1.0, 2.0, 50.0, 1e6, -2.5]),
    "digamma": (mp.digamma, [0.1, 1.4616321449683623, 50.0, 1e6, -2.5]),
    "rgamma": (mp.rgamma, [0.1, 3.7, -2.5]),
    "i0": (lambda x: mp.besseli(0, x), [0.0, 0.5, -30.0]),
    "i1": (lambda x: mp.besseli(1, x), [0.0, 1e-8, 0.5, -30.0]),
    "i0e": (lambda x: mp.besseli(0, x) * mp.exp(-abs(x)), [0.5, 30.0, -3.0]),
    "i1e": (lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), [0.5, 30.0, -3.0]),
    "j0": (lambda x: mp.besselj(0, x), [0.5, 30.0, -3.0]),
    "j1": (lambda x: mp.besselj(1, x), [0.0, 1e-8, 0.5, 30.0, -3.0]),
    "y0": (lambda x: mp.bessely(0, x), [0.5, 30.0]),
    "y1": (lambda x: mp.bessely(1, x), [0.5, 30.0]),
    "k0": (lambda x: mp.besselk(0, x), [0.5, 5.0]),
    "k1": (lambda x: mp.besselk(1, x), [0.5, 5.0]),
    "exprel": (lambda x: mp.expm1(x) / x if x else mp.mpf(1), [1e-6, 0.5, -0.999, 1.001, -30.0, 20.0]),
    "expi": (mp.ei, [0.3, 5.0, -2.0]),
    "exp1": (mp.e1, [0.3, 5.0]),
    "entr": (lambda x: -x * mp.log(x), [1e-10, 0.5, 3.0]),
    "erfinv": (mp.erfinv, [0.0, 0.9, -0.999]),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), [0.01, 0.5, 0.999]),
    "ndtri_exp": (lambda p: mp.sqrt(2) * mp.erfinv(2 * mp.exp(p) - 1), [-3.0, -0.7]),
}
POINTS = [(n, x) for n, (_, xs) in EXACT.items() for x in xs]


def derivative(exact, x, n=1):
    with mp.workdps(50):
        return float(mp.diff(exact, mp.mpf(x), n))


@pytest.mark.parametrize("name, x", POINTS)
def test_derivatives_against_mpmath(name, x):
    d = Derivatives(*program(name, [np.float64(x)], {}))
    d.cotangents = [np.float64(1.0)]
    first = derivative(EXACT[name][0], x)
    np.testing.assert_allclose(d.gradients[0], first, rtol=2e-12, atol=1e-300)
    if name != "exprel" or abs(x) > 1e-3:
        d.second.directions = [np.float64(1.0), np.float64(0.0)]
        second = derivative(EXACT[name][0], x, 2)
        np.testing.assert_allclose(d.second.tangents[0], second, rtol=1e-10, atol=1e-10 * abs(first))


TWO = {
    "beta": (mp.beta, [(0.5, 3.0), (20.0, 0.1)]),
    "betaln": (lambda a, b: mp.log(mp.beta(a, b)), [(0.5, 3.0), (200.0, 100.0)]),
    "binom": (mp.binomial, [(5.0, 2.0), (4.5, 1.3)]),
    "poch": (mp.rf, [(2.5, 1.3), (0.3, 4.0)]),
    "xlogy": (lambda x, y: x * mp.log(y), [(0.3, 2.0)]),
    "xlog1py": (lambda x, y: x * mp.log1p(y), [(0.3, 1e-12), (2.0, -0.5)]),
    "rel_entr": (lambda x, y: x * mp.log(x / y), [(0.3, 0.2)]),
    "kl_div": (lambda x, y: x * mp.log(x / y) - x + y, [(0.3, 0.2)]),
    "boxcox": (lambda x, p: (x**p - 1) / p if p else mp.log(x), [(2.0, 0.3), (0.2, -1.5), (3.0, 1e-9)]),
    "inv_boxcox": (lambda y, p: (y * p + 1) ** (1 / p) if p else mp.exp(y), [(0.7, 0.3), (0.4, 1e-9)]),
    "boxcox1p": (lambda x, p: ((1 + x) ** p - 1) / p if p else mp.log1p(x), [(1e-3, 0.3), (2.0, -1.5)]),
    "inv_boxcox1p": (lambda y, p: (y * p + 1) ** (1 / p) - 1 if p else mp.expm1(y), [(0.7, 0.3)]),
    "pseudo_huber": (lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1), [(1.0, 1e-9), (2.0, 3.0)]),
    "huber": (lambda d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2), [(1.0, 0.5), (1.0, -3.0)]),
}


@pytest.mark.parametrize("name, point", [(n, p) for n, (_, points) in TWO.items() for p in points])
def test_derivatives_of_two_operands_against_mpmath(name, point):
    d = Derivatives(*program(name, [np.float64(x) for x in point], {}))
    d.cotangents = [np.float64(1.0)]
    a, b = point
    exact = TWO[name][0]
    by_b = derivative(lambda y: exact(mp.mpf(a), y), b)
    np.testing.assert_allclose(d.gradients, [derivative(lambda x: exact(x, mp.mpf(b)), a), by_b], rtol=2e-12)


HELD = {
    "gammainc": (lambda a, x: mp.gammainc(a, 0, x, regularized=True), (2.5, 1.3)),
    "gammaincc": (lambda a, x: mp.gammainc(a, x, regularized=True), (0.4, 1.3)),
    "zeta": (mp.zeta, (2.5, 1.3)),
    "jv": (mp.besselj, (0.5, 1.3)),
    "yv": (mp.bessely, (1.5, 1.3)),
    "iv": (mp.besseli, (0.5, 1.3)),
    "kv": (mp.besselk, (1.5, 1.3)),
    "ive": (lambda v, x: mp.besseli(v, x) * mp.exp(-abs(x)), (0.5, 1.3)),
    "kve": (lambda v, x: mp.besselk(v, x) * mp.exp(x), (0.5, 1.3)),
    "betainc": (lambda a, b, x: mp.betainc(a, b, 0, x, regularized=True), (2.5, 0.7, 0.4)),
}


@pytest.mark.parametrize("name", HELD)
def test_derivatives_by_the_last_operand_and_refusal_of_the_others(name):
    exact, point = HELD[name]
    letters = "xyz"[: len(point)]
    function = written(f"def f({', '.join(letters)}):\n    return special.{name}({', '.join(letters)})\n")
    last = derivative(lambda x: exact(*map(mp.mpf, point[:-1]), x), point[-1])
    np.testing.assert_allclose(grad(function, argnums=len(point) - 1)(*point), last, rtol=2e-12)
    for k in range(len(point) - 1):
        with pytest.raises(UnsupportedError, match=f"`{name}` has no derivative by"):
            grad(function, argnums=k)(*point)


def test_refused_operands_can_be_held_constant():
    function = written("def f(a, x):\n    return special.gammainc(stop_gradient(a), x)\n", stop_gradient=stop_gradient)
    d = grad(function, argnums=(0, 1))(2.0, 1.0)
    np.testing.assert_allclose(d, [0.0, math.exp(-1.0)], rtol=1e-13)


def test_orders_are_refused_by_complex_step_and_forward_mode_too():
    f, _ = program("gammaincc", [np.float64(2.0), np.float64(1.3)], {})
    whole, _ = program("betaln", [np.float64(2.0), np.float64(1.3)], {})
    assert np.imag(run(whole, [2.0, 1.3 + 1e-30j])[0]) != 0
    assert len(f.args) == 1  # the order is a constant of the table's tests
    with pytest.raises(UnsupportedError, match="no derivative by `a`"):
        OPERATIONS["gammaincc"].evaluate_complex(2.0 + 1e-30j, 1.3)


def test_polygamma_and_multigammaln():
    for n in (0, 1, 3, 2.0):
        function = written(f"def f(x):\n    return special.polygamma({n}, x)\n")
        check(function, lambda: (np.array([0.3, 2.5, 11.0]),), rtol=1e-13)
        check(function, lambda: (np.array([1, 2]),), rtol=1e-13)
        np.testing.assert_allclose(grad(function)(2.5), derivative(lambda x: mp.psi(int(n), x), 2.5), rtol=1e-12)  # noqa: B023
    function = written("def f(a):\n    return special.multigammaln(a, 3)\n")
    check(function, lambda: (2.5,), rtol=1e-13)
    check(function, lambda: (np.array([2.5, 7.0]),), rtol=1e-13)
    exact = lambda a: sum(mp.loggamma(a - mp.mpf(j) / 2) for j in range(3))
    np.testing.assert_allclose(grad(function)(2.5), derivative(exact, 2.5), rtol=1e-12)
    for wrong in (0.5, np.array([3.0, 1.0])):
        check(function, lambda: (wrong,))  # noqa: B023
    check(written("def f(x):\n    return special.zeta(x)\n"), lambda: (np.array([2.0, 3.5]),), rtol=1e-13)
    with pytest.raises(UnsupportedError, match="must be known"):
        interpreted(written("def f(n, x):\n    return special.polygamma(n, x)\n"))(2, 1.5)


def test_what_is_not_known_is_refused_by_its_name():
    with pytest.raises(UnsupportedError, match=r"`scipy\.special\.hyp2f1` is not known"):
        interpreted(written("def f(x):\n    return special.hyp2f1(x, 1.0, 2.0, 0.5)\n"))(0.4)


# ---------------------------------------------------------------- logsumexp, softmax

ARRAYS = {
    "plain": np.array([[0.3, -1.2, 2.0], [1.0, 1.0, -3.0]]),
    "huge": np.array([[1e3, 1e3 - 1, -1e3], [-1e3, -2e3, -1e3]]),
    "minus": np.array([[-inf, -inf, -inf], [0.5, -inf, 1.0]]),
    "plus": np.array([[inf, inf, 1.0], [0.5, -inf, inf]]),
    "nan": np.array([[nan, 0.0, 1.0], [0.5, 0.2, 1.0]]),
    "near": np.array([[0.0, -40.0, -50.0], [-745.0, 0.0, -1.0]]),
    "whole": np.array([[1, 2, 3], [-1, 0, 700]]),
    "single": np.float32([[0.3, -1.2, 2.0], [100.0, 1.0, -3.0]]),
    "empty": np.zeros((0, 3)),
}
WEIGHTS = {
    "positive": np.array([[1.0, 2.0, 0.5]]),
    "zeros": np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0]]),
    "signs": np.array([[1.0, -2.0, 0.5], [-1.0, 1.0, 3.0]]),
    "whole": np.array([1, 2, 3]),
    "one": np.float64(2.5),
}
REDUCING = ["axis=None", "axis=0", "axis=-1", "axis=(0, 1)", "axis=1, keepdims=True"]


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("how", REDUCING)
def test_logsumexp_is_scipys(array, how):
    for name in ("logsumexp", "softmax", "log_softmax"):
        if name != "logsumexp" and "keepdims" in how:
            continue
        if array == "empty" and how in ("axis=None", "axis=0", "axis=(0, 1)"):
            with pytest.raises(ValueError, match="without elements"):
                interpreted(call_of(f"special.{name}", 1, f", {how}"))(ARRAYS[array])
            continue
        check(call_of(f"special.{name}", 1, f", {how}"), lambda: (ARRAYS[array].copy(),), rtol=1e-13)
    sign = call_of("special.logsumexp", 1, f", {how}, return_sign=True")
    if array != "empty":
        check(sign, lambda: (ARRAYS[array].copy(),), rtol=1e-13)


@pytest.mark.parametrize("array", [a for a in ARRAYS if a != "empty"])
@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sign", [False, True])
def test_weighted_logsumexp_is_scipys(array, weights, sign):
    for how in ("axis=1", "axis=None"):
        function = written(f"def f(x, w):\n    return special.logsumexp(x, b=w, {how}, return_sign={sign})\n")
        check(function, lambda: (ARRAYS[array].copy(), np.copy(WEIGHTS[weights])[()]), rtol=1e-12)


def test_logsumexp_of_numbers_and_vectors():
    check(written("def f(x, y):\n    return logsumexp([x, y])\n", logsumexp=logsumexp), lambda: (0.3, 2.0), rtol=1e-14)
    check(call_of("special.logsumexp", 1), lambda: (0.7,), rtol=1e-14)
    check(call_of("special.softmax", 1), lambda: (np.array([0.7, 0.1]),), rtol=1e-14)


def softmax_exact(x):
    with mp.workdps(50):
        e = [mp.exp(mp.mpf(float(v))) for v in x]
        return [float(v / sum(e)) for v in e]


@pytest.mark.parametrize("row", ["plain", "huge", "near"])
def test_gradient_of_logsumexp_is_softmax(row):
    for x in ARRAYS[row]:
        np.testing.assert_allclose(grad(call_of("special.logsumexp", 1))(x), softmax_exact(x), rtol=1e-13, atol=1e-300)


def test_gradient_of_logsumexp_where_the_largest_is_infinite():
    function = call_of("special.logsumexp", 1)
    third = 1.0 / 3.0
    points = {(-inf, -inf, -inf): [third] * 3, (inf, 0.0, inf): [0.5, 0, 0.5], (-inf, 1.0, -inf): [0, 1, 0]}
    for x, expected in points.items():
        np.testing.assert_allclose(grad(function)(np.array(x)), expected, rtol=1e-15)
    assert np.all(np.isnan(grad(function)(np.array([nan, 1.0]))))


def test_gradient_of_logsumexp_by_its_weights():
    function = written("def f(x, w):\n    return special.logsumexp(x, b=w)\n")
    x, w = np.array([0.3, 1.0, 1.0, 2.0]), np.array([1.0, -0.5, 2.0, 0.0])
    for values, weights in ((x, w), (np.array([1.0, 1.0, 0.0]), np.array([1.0, 2.0, 3.0])), (x + 900.0, w)):
        shifted = values - values.max()
        total = np.sum(weights * np.exp(shifted))
        got = grad(function, argnums=(0, 1))(values, weights)
        np.testing.assert_allclose(got[0], weights * np.exp(shifted) / total, rtol=1e-13, atol=1e-16)
        np.testing.assert_allclose(got[1], np.exp(shifted) / total, rtol=1e-13)


def test_compositions_as_whole_programs():
    x = np.array([[0.3, -1.2, 2.0], [1.0, 0.7, -3.0]])
    for text in (
        "return np.sum(special.log_softmax(x, axis=1) * x)",
        "return np.sum(special.softmax(x, axis=0) ** 2)",
        "return np.sum(special.logsumexp(x, axis=1, b=np.array([1.0, 2.0, 0.5])) * x[:, 0])",
        "s = 0.0\n    for i in range(x.shape[0]):\n        s += special.gammaln(x[i, 0] + 2.0) * special.erf(x[i, 1])\n"
        "    return s",
    ):
        check_program(written(f"def f(x):\n    {text}\n"), [(x,)])


# ---------------------------------------------------------------- scipy.stats

SHAPES = {
    "norm": "",
    "t": "3.5, ",
    "gamma": "2.3, ",
    "chi2": "3.0, ",
    "beta": "2.0, 1.5, ",
    "expon": "",
    "laplace": "",
    "logistic": "",
    "cauchy": "",
    "poisson": "2.5, ",
}
REALS = np.array([-inf, -2.0, -0.3, 0.0, 0.2, 0.7, 0.9, 1.0, 1.7, 4.0, inf, nan])
LEVELS = np.array([-0.1, 0.0, 1e-10, 0.2, 0.6, 0.9, 1.0, 1.1, nan])


@pytest.mark.parametrize("name", SHAPES)
def test_distributions_are_scipys(name):
    density = "pmf logpmf" if name == "poisson" else "pdf logpdf ppf isf"
    for method in f"{density} cdf sf logcdf logsf".split():
        x = LEVELS if method in ("ppf", "isf") else REALS
        for more in ("loc=0.0", "loc=0.5" if name == "poisson" else "loc=0.3, scale=2.0"):
            function = written(f"def f(x):\n    return stats.{name}.{method}(x, {SHAPES[name]}{more})\n")
            with np.errstate(all="ignore"):
                wanted = function(x)
            np.testing.assert_allclose(interpreted(function)(x), wanted, rtol=1e-12, atol=1e-14, err_msg=method)


@pytest.mark.parametrize("name", [n for n in SHAPES if n != "poisson"])
def test_derivatives_of_distributions_are_densities(name):
    """Of distribution functions and quantiles; by location and scale, against differences."""
    x = np.array([0.2, 0.45, 0.9])
    for method in ("cdf", "sf", "ppf"):
        function = written(f"def f(x):\n    return np.sum(stats.{name}.{method}(x, {SHAPES[name]}))\n")
        at = x if method != "ppf" else getattr(stats, name).ppf(x, *eval(f"({SHAPES[name]})"))
        density = getattr(stats, name).pdf(at, *eval(f"({SHAPES[name]})"))
        expected = {"cdf": density, "sf": -density, "ppf": 1 / density}[method]
        np.testing.assert_allclose(grad(function)(x), expected, rtol=1e-11)
    function = written(f"def f(loc, scale):\n    return stats.{name}.logpdf(0.8, {SHAPES[name]}loc, scale)\n")
    check_program(function, [(0.1, 1.7)], argnums=(0, 1))


def test_distributions_by_their_shapes():
    for text, args in (
        ("stats.t.logpdf(0.7, a)", (2.5,)),
        ("stats.gamma.logpdf(0.7, a)", (2.5,)),
        ("stats.chi2.logpdf(0.7, a)", (2.5,)),
        ("stats.beta.logpdf(0.7, a, 1.5)", (2.5,)),
        ("stats.poisson.logpmf(3, a)", (2.5,)),
        ("stats.poisson.cdf(3, a)", (2.5,)),
    ):
        check_program(written(f"def f(a):\n    return {text}\n"), [args])


def test_a_distribution_imported_by_its_own_name_and_keywords():
    function = written("def f(x, m, s):\n    return np.sum(norm.logpdf(x, scale=s, loc=m))\n", norm=norm)
    x = np.array([0.3, -1.0])
    m, s = 0.2, 1.5
    got = grad(function, argnums=(0, 1, 2))(x, m, s)
    z = (x - m) / s
    np.testing.assert_allclose(got[0], -z / s, rtol=1e-13)
    np.testing.assert_allclose(got[1:], [np.sum(z) / s, np.sum(z * z - 1) / s], rtol=1e-13)


def test_parameters_without_meaning_give_nan_and_ends_are_masked():
    for text in ("stats.norm.pdf(x, 0.0, -1.0)", "stats.t.logpdf(x, -2.0)", "stats.gamma.pdf(x, 0.0)"):
        assert math.isnan(interpreted(written(f"def f(x):\n    return {text}\n"))(0.5))
    assert grad(written("def f(x):\n    return stats.gamma.pdf(x, 0.5)\n"))(-1.0) == 0.0


@pytest.mark.parametrize(
    "text, message",
    [
        ("norm(x, 1.0).pdf(0.3)", "fixed parameters"),
        ("norm.rvs(x)", "random numbers"),
        ("norm.mean(x)", "not known"),
        ("stats.gumbel_r.pdf(x)", "gumbel_r.pdf` is not known"),
        ("stats.poisson.ppf(x, 2.0)", "poisson.ppf` is not known"),
        ("stats.gamma.cdf(1.0, x)", "no derivative by"),
    ],
)
def test_refusals_of_distributions(text, message):
    with pytest.raises(UnsupportedError, match=message):
        grad(written(f"def f(x):\n    return {text}\n", norm=norm))(0.4)


def test_wrong_arguments_of_distributions():
    from adjit import TraceTypeError

    with pytest.raises(TraceTypeError, match=r"stats\.t\.pdf"):
        interpreted(written("def f(x):\n    return stats.t.pdf(x)\n"))(0.4)


# ---------------------------------------------------------------- kernels


def test_compiled_programs():
    x = np.linspace(0.2, 0.9, 7)
    for text in (
        "return np.sum(special.erf(x) * special.gammaln(x) + special.betainc(2.0, 1.5, x))",
        "return np.sum(special.polygamma(1, x) + special.log_ndtr(x) + special.jv(1.0, x))",
        "return special.logsumexp(x) + np.sum(special.softmax(x) ** 2)",
        "return np.sum(stats.norm.logpdf(x, 0.1, 2.0) + stats.gamma.logpdf(x, 2.3))",
    ):
        check_program(written(f"def f(x):\n    {text}\n"), [(x,)], compile=True)
    single = jit(written("def f(x):\n    return special.erfinv(x)\n"))(x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, special.erfinv(x), rtol=1e-6)


def test_zeta_over_its_range():
    rng = np.random.default_rng(2)
    s = np.concatenate([np.full(40, 2.0), rng.integers(2, 12, 40), rng.uniform(1.01, 60.0, 60), [2.0, 3.0, 2.0]])
    q = np.concatenate([rng.uniform(0.01, 60.0, 40), rng.uniform(0.1, 300.0, 100), [-0.5, -3.3, 1e12]])
    with mp.workdps(60):
        exact = [float(hurwitz(mp.mpf(float(a)), mp.mpf(float(b)))) for a, b in zip(s, q)]
    got = jit(written("def f(x, y):\n    return special.zeta(x, y)\n"))(s, q)
    np.testing.assert_allclose(got, exact, rtol=4e-15)


def hurwitz(s, q):
    total = mp.mpf(0)
    while q < 40 + s:
        total += q**-s
        q += 1
    tail = q ** (1 - s) / (s - 1) + q**-s / 2
    factor = s * q ** (-s - 1)
    for k in range(1, 25):
        tail += mp.bernoulli(2 * k) / mp.factorial(2 * k) * factor
        factor *= (s + 2 * k - 1) * (s + 2 * k) / q**2
    return total + tail


SCRIPT = """
import numpy as np
from scipy import special
from adjit import value_and_grad
from adjit.codegen.build import stats

def f(x):
    return np.sum(special.erfinv(x) * special.betainc(2.0, 1.5, x))

value, gradient = value_and_grad(f)(np.array([0.2, 0.7]))
print(stats.compiled, stats.loaded_from_cache, repr(float(value)), gradient.tolist())
"""


@pytest.mark.slow
def test_code_from_the_cache_finds_scipys_functions_again(tmp_path):
    """In another process they are at other addresses."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    environment = {**os.environ, "ADJIT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": DIRECTORY}
    command = [sys.executable, str(script)]
    outputs = [
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=120, env=environment).stdout.split()
        for _ in range(2)
    ]
    assert outputs[0][:2] == ["1", "0"] and outputs[1][:2] == ["0", "1"]
    assert outputs[0][2:] == outputs[1][2:]


def test_every_function_of_scipy_that_kernels_call_exists():
    for count, names in primitives.EXTERNAL.items():
        assert all(external.address(name, count) for name in names)
    with pytest.raises(ValueError, match="no erfinv of 2"):
        external.register([external.symbol("erfinv", 2)])
    external.register(["malloc"])  # not SciPy's: no concern of this module
