"""The operation table at NumPy's level: each function that an operation is bound to, as a program calls it.

Nothing is listed by hand: functions come from the declarations, arguments from their domains. Each program is traced,
and run in the interpreter. Its value, shape and dtype are NumPy's, and its derivatives hold (forward against reverse,
forward against complex step), with

* broadcasting both ways, over missing axes and over axes of extent 1, and Python numbers beside arrays;
* views that are reversed, spaced, transposed, windows, and of nothing;
* float32, which stays float32 beside Python numbers.
"""

import numpy as np
import pytest
from ops_cases import ELEMENTWISE, REFUSE_EMPTY, REGISTRY, cases_of, domains, empty_cases_of, is_free, sample
from ops_derivatives import Derivatives, close, forward_is_reverse
from tracing import check as trace_and_compare
from tracing import traced_of

from adjit.ir import pipeline

FUNCTIONS = [(n, f) for n, d in ELEMENTWISE.items() for f in d.numpy if d.domain is not None]
ids = lambda x: getattr(x, "__name__", str(x))

SHAPES = [
    ((3,), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((1,), (4,)),
    ((4,), (1, 1)),
    ((), (2, 3)),
    ((2, 3), ()),
    ((2, 1, 3), (4, 1)),
    ((0,), (2, 0)),
    ((2, 0), (1, 1)),
]

VIEWS = {
    "as it is": lambda x: x,
    "reversed": lambda x: x[::-1],
    "every other": lambda x: x[:, ::2],
    "transposed": lambda x: x.T,
    "a window": lambda x: x[1:, 1:3],
    "reversed, of nothing": lambda x: x[::-1, 4:],
}


def check(call, args):
    """Trace a call, compare its value with Python's, and its derivatives with each other and with complex step."""
    try:
        compare(call, args)
    except Exception as error:
        error.add_note(f"on {[np.shape(x) for x in args]}, {[np.asarray(x).dtype.name for x in args]}")
        raise


def compare(call, args):
    with np.errstate(all="ignore"):
        expected = call(*args)
    traced, leaves = traced_of(call, tuple(args))
    function = pipeline.optimize(traced.function, verify=True)
    d = Derivatives(function, leaves)
    expected = expected if isinstance(expected, tuple | list) else [expected]
    assert len(expected) == len(d.value)
    single = any(np.asarray(x).dtype == np.float32 for x in args)
    for got, wanted in zip(d.value, expected):
        assert np.shape(got) == np.shape(wanted)
        assert np.asarray(got).dtype == np.asarray(wanted).dtype
        np.testing.assert_allclose(got, wanted, rtol=1e-6 if single else 1e-14, atol=1e-15)
    if d.wrt and d.floats and not single:
        forward_is_reverse(d)
        close([d.flat(d.tangents)], [d.along(d.directions)], *((1e-10,) if d.is_analytic else (1e-6, 1e-9)))
    assert all(np.asarray(g).dtype == np.asarray(x).dtype for g, x in zip(d.gradients, [d.args[k] for k in d.wrt]))


def of(function, view=None, **kwargs):
    """A program that calls a function, on views of its arguments."""

    def call(*xs):
        return function(*xs, **kwargs)

    def call_on_views(*xs):
        return function(*[view(x) for x in xs], **kwargs)

    return call if view is None else call_on_views


def operands(name, shapes):
    return [sample(d, s, 7 * k + 2) for k, (d, s) in enumerate(zip(domains(REGISTRY[name]), shapes))]


# ---------------------------------------------------------------- functions of elements


@pytest.mark.parametrize("name, function", FUNCTIONS, ids=ids)
def test_strided(name, function):
    for view in VIEWS.values():
        check(of(function, view), operands(name, [(3, 4)] * len(domains(REGISTRY[name]))))


@pytest.mark.parametrize("name, function", [x for x in FUNCTIONS if len(domains(REGISTRY[x[0]])) > 1], ids=ids)
def test_broadcasting_both_ways(name, function):
    count = len(domains(REGISTRY[name]))
    for shapes in SHAPES:
        check(of(function), operands(name, [*shapes, *shapes[:1]][:count]))


@pytest.mark.parametrize("name, function", FUNCTIONS, ids=ids)
def test_numbers_and_float32(name, function):
    count = len(domains(REGISTRY[name]))
    for shape in ((), (4,), (2, 1, 3)):
        args = operands(name, [shape] * count)
        check(of(function), args)
        check(of(function), [np.float32(x) if is_free(x) else x for x in args])
    if count == 2 and all(isinstance(d, tuple) for d in domains(REGISTRY[name])):
        for dtype in (np.float32, np.float64):
            a, b = operands(name, [(4,), (4,)])
            check(of(function), [a.astype(dtype), float(b[0])])
            check(of(function), [float(a[0]), b.astype(dtype)])


# ---------------------------------------------------------------- functions of arrays


def direct_calls(name, function):
    """The cases of an operation that are calls of the NumPy function as it stands: same arguments, same value.

    Operations that are a part of what a function does (one factor of a decomposition) have none.
    """
    definition, calls = REGISTRY[name], []
    for operands, attrs in cases_of(name):
        keywords = {{"axes": "axis"}.get(k, k): v for k, v in attrs.items() if k != "reverse" or v}
        try:
            value = function(*operands, **keywords)
            same = np.array_equal(definition.evaluate(*operands, **attrs), value, equal_nan=True)
        except (TypeError, ValueError):
            continue
        if same and isinstance(value, np.ndarray | np.generic):
            calls.append((operands, keywords))
    return calls


LIBRARY = [(n, f) for n, d in REGISTRY.items() for f in d.numpy if d.category in ("library", "reduction")]
DIRECT = [pytest.param(f, calls, id=f"{n}-{f.__name__}") for n, f in LIBRARY if (calls := direct_calls(n, f))]


def test_functions_of_arrays_are_found():
    named = {"sum", "prod", "max", "amin", "any", "argmax", "cumsum", "cumprod", "matmul"}
    assert named <= {p.values[0].__name__ for p in DIRECT}


@pytest.mark.parametrize("name, function", [(n, f) for n, f in LIBRARY if n in REFUSE_EMPTY], ids=ids)
def test_what_has_no_value_of_nothing_says_so(name, function):
    """Where NumPy raises ValueError, the program does (see `tracing.compare`); else it has NumPy's value."""
    for (x,), attrs in empty_cases_of(name):
        keywords = {{"axes": "axis"}.get(k, k): v for k, v in attrs.items()}
        trace_and_compare(of(function, **keywords), x)


@pytest.mark.parametrize("function, calls", DIRECT)
def test_functions_of_arrays(function, calls):
    """In all their cases; on arrays as they are, on strided views, in float32."""
    for args, kwargs in calls:
        check(of(function, **kwargs), args)
        if all(map(is_free, args)):
            check(of(function, **kwargs), [np.float32(x) for x in args])
        if all(is_free(x) and np.ndim(x) for x in args):
            check(of(function, VIEWS["reversed"], **kwargs), [np.array(x[::-1]) for x in args])
            check(of(function, VIEWS["transposed"], **kwargs), [np.array(x.T) for x in args])
            check(of(function, **kwargs), [np.asfortranarray(x) for x in args])
