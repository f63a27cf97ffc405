"""Views and copies: what is written through one name is seen, or not, through the others, as in NumPy.

Each expression makes something of `x`; it is written through, and so is `x` afterwards. Where whether NumPy copies
depends on how memory lies at run time, writing is refused.
"""

from __future__ import annotations

import numpy as np
import pytest
from semantics import check, differences, function_of

from adjit import grad, jit
from adjit.ir.errors import UnsupportedError

VIEWS = """
x | x[1:] | x[:, 1] | x[::-1] | x[:, ::2] | x.T | x.T[1:] | x[...] | x[None] | x[None][0, 1] | x[:, None, :]
x[:, None][1]
x[1, ...] | x[..., 0] | x[-1] | x[-2:] | x[5:] | x[:-10] | x[-10:2] | x[1:100] | x[2:1] | x[::-2] | x[10::-1] | x[:0:-1]
x[1:][1:] | x[1:, ::2][::-1] | x[::-1][0] | x[::-1, ::-1].T | x[0:3] | x[:] | x[:, :] | x[1][1:] | x[1, 1:3] | x.T.T
x.T[::-1].T | x[-1:-4:-1] | x[1:2, 1:2] | x[:, -1:] | x[2, 3:4] | x[1, 2, ...]
np.transpose(x) | np.swapaxes(x, 0, 1) | x.swapaxes(0, 1) | x.transpose(1, 0) | np.moveaxis(x, 0, 1)
np.expand_dims(x, 0)
np.atleast_1d(x) | np.atleast_3d(x) | np.squeeze(x[:, None], 1) | np.asarray(x) | x.real | np.flip(x) | np.flipud(x)
np.fliplr(x) | np.rot90(x) | np.array(x, copy=False) | x.astype(float, copy=False) | x.conj()
np.diagonal(x).copy() | x.copy() | np.copy(x) | np.array(x) | +x | x * 1 | x.flatten() | x[[0, 2]] | x[np.array([0, 2])]
x[[0, 2], 1:] | x[1:, [0, 0]] | x[1, [0, 2]] | np.take(x, 0, axis=0) | x.take([0, 1], axis=0) | np.roll(x, 1)
np.triu(x)
np.concatenate([x]) | np.vstack([x]) | np.where(x > 2, x, x) | np.clip(x, 1, 2) | np.maximum(x, 0) | np.abs(x)
x.astype(float) | np.array([x])[0] | np.tile(x, 1) | np.repeat(x, 1) | np.add(x, 0, out=x)
np.nan_to_num(x, copy=False)
x[1:][[0]] | x.T[[1]] | x[x > 3]
"""
CONTIGUOUS = """
x.reshape(4, 3) | x.reshape(-1) | x.reshape(2, 6)[1] | x.ravel() | x.ravel()[::2] | x[1:].ravel() | x[1:].reshape(4, 2)
np.ravel(x) | np.reshape(x, (2, 6)) | x.reshape(x.shape) | x.reshape(3, 2, 2)[:, 1] | x.reshape(3, 4)[1]
x[1:2].reshape(4)
x.reshape(-1)[::-1] | x.reshape(3, 1, 4)[:, 0] | x.reshape(2, -1).T | x[1].reshape(2, 2) | x.reshape(12)[3:][::3]
"""
"""Views of contiguous memory; of other memory NumPy may have to copy."""
READ_ONLY = "np.diagonal(x) | x.diagonal() | np.diag(x) | np.broadcast_to(x, (2, 3, 4))"

C = np.arange(12.0).reshape(3, 4)
LAYOUTS = {
    "C": lambda: (C.copy(),),
    "F": lambda: (np.asfortranarray(C),),
    "strided": lambda: (np.repeat(np.repeat(C, 2, 0), 2, 1)[::2, ::2],),
    "reversed": lambda: (C[::-1, ::-1].copy()[::-1, ::-1],),
}


def expressions(text):
    return [e.strip() for line in text.strip().splitlines() for e in line.split(" | ")]


def written_through(expression):
    return function_of("x", f"v = {expression}; v[...] = v * 10 + 1; w = v.sum(); x[0] -= 5.0; return v, w, x.copy()")


@pytest.mark.parametrize("expression", expressions(VIEWS))
def test_views_and_copies(expression):
    assert differences(written_through(expression), LAYOUTS.items()) == []


@pytest.mark.parametrize("expression", expressions(CONTIGUOUS))
def test_reshapes(expression):
    function = written_through(expression)
    assert differences(function, [("C", LAYOUTS["C"])]) == []
    others = [(k, v) for k, v in LAYOUTS.items() if k != "C"]
    assert differences(function, others, refusable=True) == []  # where it is known that NumPy copies, or not at all
    assert differences(function_of("x", f"{expression} * 2.0"), LAYOUTS.items()) == []


@pytest.mark.parametrize("expression", expressions(READ_ONLY))
def test_read_only_views_are_refused(expression):
    with pytest.raises(UnsupportedError, match=r"cannot be written to|read-only"):
        jit(written_through(expression))(C.copy())
    assert differences(function_of("x", f"{expression} * 2.0"), LAYOUTS.items()) == []


DEEP = (
    "v = x[1:][:, ::2].T[0]; v += 100.0; x[1, 0] = 7.0; return v, x",
    "v = x[::-1][1:]; w = v[:, ::-1]; w[0, 0] = 5.0; v[1] += w[0]; return v, w, x",
    "v = x[1]; w = x[:, 1]; v += w[1]; w *= 2.0; x[1, 1] = 0.5; return v, w, x",
    "v = x.reshape(2, 6); w = v[1].reshape(3, 2); w[:, 0] = v[0, :3]; return w, v, x",
    "v = x; v = v + 1; v[0] = 0.0; return v, x",
    "v = x; v += 1; v[0] = 0.0; return v, x",
    "v = x[0]; x = x * 2; v[0] = 9.0; return v, x",
    "v = x[[0, 1]]; v[0] = 9.0; x[[0, 1]] += v; return v, x",
    "x[0], x[1] = x[1], x[0]; return x",
    "x[:2] = x[1:]; return x",
    "x[1:] = x[:-1]; return x",
    "x[1:] += x[:-1]; return x",
    "x[:, 1:] = x[:, :-1] + x[:, 1:]; return x",
    "x[...] = x[::-1]; return x",
    "x += x[::-1]; return x",
    "x += x[0]; return x",
    "x[:] -= x[:, :1]; return x",
    "x[:, 0] = x[0, :3]; return x",
    "x[0, 1:], x[0, :-1] = x[0, :-1], x[0, 1:]; return x",
    "x.T[...] += x[0, 0]; return x",
    "np.add(x[1:], x[:-1], out=x[1:]); return x",
    "v = x[1:2]; v[0, 0] = v[0, 1]; x[v.shape[0]] = 3.0; return v, x",
    "v = x.ravel(); x[0, 0] = 11.0; v[1] = 12.0; return v[:2] * 1, x",
    "v = x[None, :, None]; v[0, 1] = 4.0; return v.shape, x",
    "v = np.swapaxes(x[None], 0, 2); v[1] = 2.0; return v, x",
)


@pytest.mark.parametrize("body", DEEP)
def test_views_of_views(body):
    function = function_of("x", body)
    contiguous = [("C", LAYOUTS["C"])]
    assert differences(function, contiguous if "reshape" in body or "ravel" in body else LAYOUTS.items()) == []


def test_compiled_kernels_write_through_views():
    def through(x, y):
        v = x[1:][:, ::2].T
        v[0] += y[:2]
        w = x.reshape(-1)[::-3]
        w *= 2.0
        c = x[[0, 2]]
        c[:] = -1.0
        x[1:] += x[:-1]
        y[::-1][1:] = x[0, :3]
        return v * 1.0, w + c[0], x.sum()

    y = np.array([0.5, -1.0, 2.0, 3.0])
    check(through, lambda: (C.copy(), y.copy()), compile=True)
    check(through, lambda: (C.copy(), np.repeat(y, 2)[::2]), compile=True)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_do_not_depend_on_the_layout(layout):
    def f(x):
        v = x[:, 1:]
        v *= x[:, :-1]
        return np.sum(v[::-1] * x[:, 0:1])

    (x,) = LAYOUTS[layout]()
    before = x.copy()
    found = grad(f)(x)
    np.testing.assert_array_equal(x, before)
    step = 1e-6 * np.eye(12).reshape(12, 3, 4)
    wanted = [(f(C + s) - f(C - s)) / 2e-6 for s in step]
    np.testing.assert_allclose(found, np.reshape(wanted, (3, 4)), rtol=1e-7, atol=1e-6)
