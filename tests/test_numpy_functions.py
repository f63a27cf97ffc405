"""NumPy's functions that are compositions: value, shape and dtype as NumPy's, gradient as by complex step.

Every line of the table is traced once and run in the interpreter: its result is compared with NumPy's in full, then its
gradient (through a nonlinear function of the result) with complex step and with difference quotients, at every stage
of the IR. A few lines at a time also go into one compiled kernel.
"""

import numpy as np
import pytest
import tracing
from differential import check_program

from adjit.ir import pipeline
from adjit.ir.adjoint import jvp, vjp
from adjit.ir.errors import AdjitError, InternalError
from adjit.ir.interp import run

rng = np.random.default_rng(5)


def positive(*shape):
    """Numbers apart from each other and from 0."""
    n = int(np.prod(shape))
    return (rng.permutation(n) + rng.uniform(0.2, 0.8, n)).reshape(shape) / max(n, 1) + 0.1


x, y, z = positive(5), positive(4), positive(3)
A, B, C = positive(3, 4), positive(4, 5), positive(3, 4)
S = positive(3, 3)
T, U = positive(2, 3, 4), positive(2, 4, 3)
W = positive(2, 1, 3, 4)
E = np.zeros((0, 4))
strided = positive(6, 8)[::2, 1::2]
fortran = np.asfortranarray(positive(3, 4))
N = np.where(A > 0.6, np.nan, A)
f32 = positive(5).astype(np.float32)
k = np.array([3, 1, 2, 4, 0])
mask = np.array([True, False, True, True, False])

# (name, function, arguments)
PRODUCTS = [
    ("einsum product", lambda a, b: np.einsum("ij,jk->ik", a, b), A, B),
    ("einsum implicit", lambda a, b: np.einsum("ij,jk", a, b), A, B),
    ("einsum implicit order", lambda a: np.einsum("ba", a), A),
    ("einsum spaces", lambda a, b: np.einsum("i j , j k -> k i", a, b), A, B),
    ("einsum sum", lambda a: np.einsum("ij->", a), A),
    ("einsum rows", lambda a: np.einsum("ij->i", a), A),
    ("einsum transpose", lambda a: np.einsum("ijk->kij", a), T),
    ("einsum trace", lambda a: np.einsum("ii", a), S),
    ("einsum diagonal", lambda a: np.einsum("ii->i", a), S),
    ("einsum diagonal of three", lambda a, b: np.einsum("iji,j->i", a, b), positive(3, 2, 3), positive(2)),
    ("einsum triple diagonal", lambda a: np.einsum("iii->i", a), positive(3, 3, 3)),
    ("einsum outer", lambda a, b: np.einsum("i,j->ij", a, b), x, y),
    ("einsum outer turned", lambda a, b: np.einsum("i,j->ji", a, b), x, y),
    ("einsum dot", lambda a, b: np.einsum("i,i", a, b), x, x + 1),
    ("einsum hadamard", lambda a, b: np.einsum("ij,ij->ij", a, b), A, C),
    ("einsum hadamard turned", lambda a, b: np.einsum("ij,ji->ij", a, b), A, C.T.copy()),
    ("einsum frobenius", lambda a, b: np.einsum("ij,ij->", a, b), A, C),
    ("einsum bilinear", lambda a, b, c: np.einsum("i,ij,j->", a, b, c), z, A, y),
    ("einsum bilinear, vectors first", lambda a, b, c: np.einsum("i,j,ij->", a, c, b), z, A, y),
    ("einsum chain", lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c), A, B, positive(5, 2)),
    ("einsum chain optimized", lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c, optimize=True), A, B, positive(5, 2)),
    (
        "einsum chain with a path",
        lambda a, b, c: np.einsum("ij,jk,kl->il", a, b, c, optimize=["einsum_path", (1, 2), (0, 1)]),
        A,
        B,
        positive(5, 2),
    ),
    ("einsum batch", lambda a, b: np.einsum("bij,bjk->bik", a, b), T, U),
    ("einsum batch, rows", lambda a, b: np.einsum("bij,bj->bi", a, b), T, positive(2, 4)),
    ("einsum batch, dots", lambda a, b: np.einsum("bi,bi->b", a, b), A, C),
    ("einsum batch summed", lambda a, b: np.einsum("bij,bjk->ik", a, b), T, U),
    ("einsum batch last", lambda a, b: np.einsum("bij,bjk->ikb", a, b), T, U),
    ("einsum two inner axes", lambda a, b: np.einsum("bij,bjk->k", a, b), T, U),
    ("einsum two outer axes", lambda a, b: np.einsum("ijk,kl->jil", a, b), T, B),
    ("einsum ellipsis", lambda a, b: np.einsum("...ij,...jk->...ik", a, b), T, U),
    ("einsum ellipsis implicit", lambda a, b: np.einsum("...ij,jk", a, b), T, B),
    ("einsum ellipsis broadcast", lambda a, b: np.einsum("...i,...i", a, b), T, C),
    ("einsum ellipsis in front", lambda a: np.einsum("i...->...", a), T),
    ("einsum broadcast extent 1", lambda a, b: np.einsum("ij,ij->ij", a, b), positive(1, 4), A),
    ("einsum broadcast extent 1 summed", lambda a, b: np.einsum("ij,ij->", a, b), positive(3, 1), A),
    ("einsum lists", lambda a, b: np.einsum(a, [0, 1], b, [1, 2], [2, 0]), A, B),
    ("einsum lists implicit", lambda a, b: np.einsum(a, [0, 1], b, [1, 2]), A, B),
    ("einsum lists ellipsis", lambda a, b: np.einsum(a, [..., 0], b, [..., 0]), T, C),
    ("einsum number", lambda a, b: np.einsum(",i->i", a, b), 1.5, x),
    ("einsum out", lambda a, b: np.einsum("ij,jk->ik", a, b, out=np.zeros((3, 5))), A, B),
    ("einsum empty", lambda a, b: np.einsum("ij,jk->ik", a, b), E, B),
    ("einsum integers", lambda a, b: np.einsum("i,i->", a, b), x, k),
    ("tensordot", lambda a, b: np.tensordot(a, b), T, positive(3, 4, 2)),
    ("tensordot of one axis", lambda a, b: np.tensordot(a, b, 1), T, B),
    ("tensordot of no axis", lambda a, b: np.tensordot(a, b, axes=0), x, A),
    ("tensordot of pairs", lambda a, b: np.tensordot(a, b, axes=([1, 2], [2, 1])), T, U),
    ("tensordot of axes", lambda a, b: np.tensordot(a, b, axes=(0, -1)), T, positive(3, 2)),
    ("matmul", lambda a, b: a @ b, A, B),
    ("matmul strided", lambda a, b: a @ b, strided, B),
    ("matmul fortran", lambda a, b: a @ b, fortran, B),
    ("matmul empty", lambda a, b: a @ b, E, B),
    ("matmul of stacks", lambda a, b: a @ b, T, U),
    ("matmul of a stack and a matrix", lambda a, b: a @ b, T, B),
    ("matmul of a matrix and a stack", lambda a, b: a @ b, A, U),
    ("matmul of a stack and a vector", lambda a, b: a @ b, T, y),
    ("matmul of a vector and a stack", lambda a, b: a @ b, y, U),
    ("matmul of broadcast stacks", lambda a, b: a @ b, W, U),
    ("matmul of stacks of stacks", lambda a, b: np.matmul(a, b), positive(2, 2, 3, 4), positive(2, 2, 4, 2)),
    ("matmul of stacks of extent 1", lambda a, b: a @ b, positive(1, 3, 4), U),
    ("matmul out", lambda a, b: np.matmul(a, b, out=np.ones((3, 5))), A, B),
    ("matmul of stacks out", lambda a, b: np.matmul(a, b, out=np.ones((2, 3, 3))), T, U),
    ("dot", lambda a, b: np.dot(a, b), A, B),
    ("dot of vectors", lambda a, b: a.dot(b), x, x + 1),
    ("dot of three axes", lambda a, b: np.dot(a, b), T, U),
    ("dot of three axes and a vector", lambda a, b: np.dot(a, b), T, y),
    ("dot with a number", lambda a: np.dot(a, 2.0), A),
    ("dot out", lambda a, b: np.dot(a, b, out=np.zeros((3, 5))), A, B),
    ("inner", lambda a, b: np.inner(a, b), A, C),
    ("inner of three axes", lambda a, b: np.inner(a, b), T, C),
    ("vdot", lambda a, b: np.vdot(a, b), A, C),
    ("vecdot", lambda a, b: np.vecdot(a, b), T, C),
    ("vecdot axis", lambda a, b: np.vecdot(a, b, axis=0), A, C),
    ("matvec", lambda a, b: np.matvec(a, b), T, positive(2, 4)),
    ("vecmat", lambda a, b: np.vecmat(a, b), positive(2, 4), U),
    ("outer", lambda a, b: np.outer(a, b), x, A),
    ("kron", lambda a, b: np.kron(a, b), A, S),
    ("kron of vectors", lambda a, b: np.kron(a, b), x, z),
    ("kron of different ranks", lambda a, b: np.kron(a, b), T, z),
    ("cross", lambda a, b: np.cross(a, b), z, z[::-1].copy()),
    ("cross of rows", lambda a, b: np.cross(a, b), positive(4, 3), z),
    ("cross of columns", lambda a, b: np.cross(a, b, axis=0), A, positive(3, 4)),
    ("cross axes", lambda a, b: np.cross(a, b, axisa=0, axisb=1, axisc=0), A, positive(4, 3)),
    ("trace", lambda a: np.trace(a), A),
    ("trace offset", lambda a: a.trace(offset=1), A),
    ("trace of axes", lambda a: np.trace(a, axis1=0, axis2=2), T),
]

UFUNCS = [
    ("add.reduce", lambda a: np.add.reduce(a), A),
    ("add.reduce everything", lambda a: np.add.reduce(a, axis=None), T),
    ("add.reduce initial", lambda a: np.add.reduce(a, axis=1, initial=3.0, keepdims=True), A),
    ("multiply.reduce", lambda a: np.multiply.reduce(a, axis=(0, 2)), T),
    ("maximum.reduce", lambda a: np.maximum.reduce(a, axis=1), A),
    ("minimum.reduce", lambda a: np.minimum.reduce(a, axis=None), A),
    ("minimum.reduce initial", lambda a: np.minimum.reduce(a, initial=0.4), A),
    ("subtract.reduce", lambda a: np.subtract.reduce(a, axis=1), A),
    ("divide.reduce", lambda a: np.divide.reduce(a), x),
    ("power.reduce", lambda a: np.power.reduce(a), z[:2].copy()),
    ("hypot.reduce", lambda a: np.hypot.reduce(a, axis=None), A),
    ("hypot.reduce keepdims", lambda a: np.hypot.reduce(a, axis=(0, 2), keepdims=True), T),
    ("logaddexp.reduce", lambda a: np.logaddexp.reduce(a, axis=1), A),
    ("logaddexp.reduce initial", lambda a: np.logaddexp.reduce(a, axis=0, initial=0.5), A),
    ("logaddexp.reduce where", lambda a: np.logaddexp.reduce(a, axis=1, where=a > 0.4), A),
    ("fmax.reduce", lambda a: np.fmax.reduce(a, axis=(0, 1)), T),
    ("logical_and.reduce", lambda a: np.where(np.logical_and.reduce(a > 0.2, axis=1), a[:, 0], 0.0), A),
    ("add.accumulate", lambda a: np.add.accumulate(a, axis=1), A),
    ("multiply.accumulate", lambda a: np.multiply.accumulate(a), A),
    ("maximum.accumulate", lambda a: np.maximum.accumulate(a), x),
    ("maximum.accumulate axis", lambda a: np.maximum.accumulate(a, axis=-1), T),
    ("minimum.accumulate", lambda a: np.minimum.accumulate(a, axis=0), strided),
    ("subtract.accumulate", lambda a: np.subtract.accumulate(a, axis=1), A),
    ("logaddexp.accumulate", lambda a: np.logaddexp.accumulate(a), x),
    ("logical_or.accumulate", lambda a: np.logical_or.accumulate(a > 0.8) * a, x),
    ("maximum.accumulate empty", lambda a: np.maximum.accumulate(a), np.zeros(0)),
    ("add.outer", lambda a, b: np.add.outer(a, b), x, y),
    ("subtract.outer", lambda a, b: np.subtract.outer(a, b), A, y),
    ("multiply.outer", lambda a: np.multiply.outer(a, 2.0), A),
    ("maximum.outer", lambda a, b: np.maximum.outer(a, b), x, y),
    ("power.outer", lambda a: np.power.outer(2.0, a), A),
    ("add.outer out", lambda a, b: np.add.outer(a, b, out=np.ones((5, 4))), x, y),
    ("add.reduceat", lambda a: np.add.reduceat(a, [0, 3, 1, 4]), x),
    ("maximum.reduceat", lambda a: np.maximum.reduceat(a, [0, 2], axis=1), A),
    ("multiply.reduceat", lambda a, i: np.multiply.reduceat(a, i[1:3]), A[:, 0].copy(), np.array([0, 1, 2])),
    ("ufunc out", lambda a, b: np.add(a, b, out=np.zeros((3, 4))), A, y),
    ("ufunc out by position", lambda a, b: np.multiply(a, b, np.zeros((3, 4))), A, y),
    ("ufunc out in a tuple", lambda a: np.exp(a, out=(np.zeros(5),)), x),
    ("ufunc where and out", lambda a: np.log(a, out=np.zeros_like(a), where=a > 0.5), A),
    ("ufunc where broadcast", lambda a, b: np.divide(a, b, out=np.ones((3, 4)), where=b > 0.5), A, y),
    ("ufunc where into itself", lambda a: masked_square(a), A),
    ("ufunc dtype", lambda a: np.add(a, 1, dtype=np.float32), f32),
    ("ufunc dtype wider", lambda a: np.multiply(a, a, dtype=np.float64), f32),
    ("ufunc dtype of integers", lambda a: a * np.add(k, 1, dtype=float), x),
    ("ufunc where it is defined", lambda a: np.sqrt(a, where=a > 0, out=np.zeros(3)), np.array([-0.5, 0.5, 2.0])),
    ("modf", lambda a: np.modf(3 * a), x),
    ("frexp", lambda a: np.frexp(a)[0], x),
    ("conjugate", lambda a: np.conj(a) + np.conjugate(a), A),
    ("divmod", lambda a: np.divmod(3 * a, 1.0), x),
]

REDUCTIONS = [
    ("sum where", lambda a: np.sum(a, where=a > 0.5), A),
    ("sum where axis", lambda a, b: np.sum(a, axis=1, where=b > 0.5, initial=2.0), A, y),
    ("sum method", lambda a: a.sum(axis=0, where=a > 0.5, keepdims=True), A),
    ("sum out", lambda a: np.sum(a, axis=0, out=np.ones(4)), A),
    ("sum dtype", lambda a: np.sum(a, dtype=np.float64), f32),
    ("sum of no axis", lambda a: np.sum(a, axis=()), A),
    ("prod where", lambda a: np.prod(a, axis=1, where=a > 0.5), A),
    ("max where", lambda a: np.max(a, axis=0, where=a < 0.8, initial=0.0), A),
    ("min where", lambda a: a.min(where=a > 0.3, initial=2.0), A),
    ("mean where", lambda a: np.mean(a, axis=1, where=a > 0.3), A),
    ("mean keepdims", lambda a: np.mean(a, axis=(0, 2), keepdims=True), T),
    ("var where", lambda a: np.var(a, axis=1, where=a > 0.2, ddof=1), A),
    ("var mean", lambda a: np.var(a, axis=0, mean=np.mean(a, axis=0, keepdims=True), correction=1), A),
    ("std where", lambda a: np.std(a, where=a > 0.2), A),
    ("any where", lambda a: np.any(a > 0.5, axis=1, where=a < 0.8) * a[:, 0], A),
    ("all where", lambda a: np.all(a > 0.3, axis=0, where=a > 0.2) * a[0], A),
    ("ptp", lambda a: np.ptp(a, axis=1, keepdims=True), A),
    ("average", lambda a: np.average(a, axis=0), A),
    ("average weights", lambda a, w: np.average(a, weights=w), A, C),
    ("average weights of an axis", lambda a, w: np.average(a, axis=1, weights=w, keepdims=True), A, y),
    ("average weights of axes", lambda a, w: np.average(a, axis=(2, 0), weights=w), T, positive(4, 2)),
    ("average returned", lambda a, w: np.average(a, axis=1, weights=w, returned=True), A, y),
    ("cov", lambda a: np.cov(a), A),
    ("cov of a vector", lambda a: np.cov(a), x),
    ("cov of columns", lambda a: np.cov(a, rowvar=False, bias=True), A),
    ("cov transposed", lambda a: np.cov(np.transpose(a)), A),
    ("cov of two", lambda a, b: np.cov(a, b), x, x**2),
    ("cov weights", lambda a, w: np.cov(a, aweights=w), A, y),
    ("cov all weights", lambda a, w: np.cov(a, fweights=np.array([1, 2, 1, 3]), aweights=w, ddof=0), A, y),
    ("corrcoef", lambda a: np.corrcoef(a), A),
    ("nansum", lambda a: np.nansum(a, axis=1), N),
    ("nanprod", lambda a: np.nanprod(a, axis=0, keepdims=True), N),
    ("nanmean", lambda a: np.nanmean(a, axis=1), N),
    ("nanvar", lambda a: np.nanvar(a, axis=1, ddof=1), np.where(A > 0.9, np.nan, A)),
    ("nanstd", lambda a: np.nanstd(a), N),
    ("nanmax", lambda a: np.nanmax(a, axis=1), N),
    ("nanmin", lambda a: np.nanmin(a), N),
    ("nancumsum", lambda a: np.nancumsum(a, axis=0), N),
    ("nancumprod", lambda a: np.nancumprod(a), N),
    ("nanargmax", lambda a: a[np.nanargmax(a)], np.array([0.3, np.nan, 0.9, 0.1])),
    ("nan functions without NaN", lambda a: np.nanmean(a) + np.nanmax(a) + np.nansum(k) * a[0], x),
    ("nan_to_num", lambda a: np.nan_to_num(a, nan=3.0), N),
    ("allclose", lambda a: a * np.allclose(a, a + 1e-12), x),
    ("isclose", lambda a: a * np.isclose(a, [a[0], 7.0, np.inf, 1.0, 1.0]), x),
    ("array_equal", lambda a: a * np.array_equal(a, a), x),
    ("apply_over_axes", lambda a: np.apply_over_axes(np.sum, a, [0, 2]), T),
]

REARRANGEMENTS = [
    ("reshape", lambda a: np.reshape(a, (2, -1)), A),
    ("reshape order", lambda a: np.reshape(a, (2, 6), order="F"), A),
    ("reshape copy", lambda a: np.reshape(a, 12, copy=True), A),
    ("ravel order", lambda a: a.ravel(order="F"), A),
    ("ravel fortran", lambda a: np.ravel(a), fortran),
    ("moveaxis", lambda a: np.moveaxis(a, 0, -1), T),
    ("moveaxis of lists", lambda a: np.moveaxis(a, [0, 1], [-1, -2]), T),
    ("rollaxis", lambda a: np.rollaxis(a, 2), T),
    ("rollaxis to", lambda a: np.rollaxis(a, 0, 2), T),
    ("swapaxes", lambda a: np.swapaxes(a, 0, 2), T),
    ("matrix_transpose", lambda a: np.matrix_transpose(a), T),
    ("permute_dims", lambda a: np.permute_dims(a, (1, 2, 0)), T),
    ("expand_dims", lambda a: np.expand_dims(a, (0, 3)), A),
    ("squeeze", lambda a: np.squeeze(a, axis=1), W),
    ("atleast", lambda a: (np.atleast_1d(a), np.atleast_2d(a), np.atleast_3d(a)), x),
    ("atleast of several", lambda a, b: np.atleast_2d(a, b), x, A),
    ("atleast_3d of a matrix", lambda a: np.atleast_3d(a), A),
    ("broadcast_to", lambda a: np.broadcast_to(a, (3, 4)), y),
    ("broadcast_arrays", lambda a, b: np.broadcast_arrays(a, b), A, y),
    ("broadcast_shapes", lambda a, b: np.ones(np.broadcast_shapes(a.shape, b.shape)) * a, A, y),
    ("diagonal", lambda a: np.diagonal(a, offset=-1), A),
    ("diagonal of axes", lambda a: a.diagonal(0, 0, 2), T),
    ("diag", lambda a: np.diag(a), x),
    ("diag off", lambda a: np.diag(a, k=2) + np.diag(a, k=-2), z),
    ("diag of a matrix", lambda a: np.diag(a, 1), A),
    ("diagflat", lambda a: np.diagflat(a, 1), A),
    ("tril", lambda a: np.tril(a, -1), A),
    ("triu of a stack", lambda a: np.triu(a, 1), T),
    ("tril of a vector", lambda a: np.tril(a), z),
    ("tri", lambda a: np.tri(3, 4, 1) * a, A),
    ("vander", lambda a: np.vander(a), z),
    ("vander increasing", lambda a: np.vander(a, 4, increasing=True), z),
    ("roll", lambda a: np.roll(a, 2), x),
    ("roll of a matrix", lambda a: np.roll(a, -1), A),
    ("roll axis", lambda a: np.roll(a, 1, axis=1), A),
    ("roll axes", lambda a: np.roll(a, (1, 2), axis=(0, 1)), A),
    ("roll one shift", lambda a: np.roll(a, 1, axis=(0, 1)), A),
    ("roll by data", lambda a, i: np.roll(a, i[0]), x, k),
    ("flip", lambda a: np.flip(a), A),
    ("flip axes", lambda a: np.flip(a, (0, 2)), T),
    ("fliplr and flipud", lambda a: np.fliplr(a) * np.flipud(a), A),
    ("rot90", lambda a: (np.rot90(a), np.rot90(a, 2), np.rot90(a, -1), np.rot90(a, 4)), A),
    ("rot90 axes", lambda a: np.rot90(a, 1, axes=(2, 1)), T),
    ("fftshift", lambda a: np.fft.fftshift(a) + 2 * np.fft.ifftshift(a, axes=0), positive(3, 5)),
    ("sliding_window_view", lambda a: np.lib.stride_tricks.sliding_window_view(a, 3), x),
    ("sliding_window_view axes", lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 3)), A),
    ("sliding_window_view axis", lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, axis=1), T),
    ("tile", lambda a: np.tile(a, (2, 3)), A),
    ("tile more axes", lambda a: np.tile(a, (2, 1, 2)), x),
    ("repeat", lambda a: np.repeat(a, 2), A),
    ("repeat axis", lambda a: a.repeat(3, axis=1), A),
    ("repeat counts", lambda a: np.repeat(a, [2, 0, 1], axis=0), A),
    ("repeat counts of data", lambda a, i: np.repeat(a, i), x, k),
    ("resize", lambda a: np.resize(a, (3, 3)), x),
    ("resize smaller", lambda a: np.resize(a, 3), A),
    ("pad", lambda a: np.pad(a, 2), A),
    ("pad constant", lambda a: np.pad(a, ((1, 0), (0, 2)), constant_values=((3.0, 4.0), (5.0, 6.0))), A),
    ("pad pair", lambda a: np.pad(a, (1, 2), mode="constant", constant_values=7), x),
    ("pad dict", lambda a: np.pad(a, {-1: (1, 2)}), A),
    ("pad edge", lambda a: np.pad(a, ((2, 1), (0, 3)), "edge"), A),
    ("pad reflect", lambda a: np.pad(a, ((2, 1), (3, 3)), "reflect"), A),
    ("pad reflect far", lambda a: np.pad(a, (7, 8), "reflect"), z),
    ("pad reflect one", lambda a: np.pad(a, 2, "reflect"), np.array([0.7])),
    ("pad symmetric", lambda a: np.pad(a, ((2, 1), (3, 3)), "symmetric"), A),
    ("pad symmetric far", lambda a: np.pad(a, (7, 8), "symmetric"), z),
    ("pad wrap", lambda a: np.pad(a, ((2, 1), (3, 3)), "wrap"), A),
    ("pad wrap far", lambda a: np.pad(a, (7, 8), "wrap"), z),
    ("pad linear_ramp", lambda a: np.pad(a, ((2, 3),), "linear_ramp", end_values=(0.5, -2.0)), A),
    ("pad mean", lambda a: np.pad(a, 2, "mean"), A),
    ("pad maximum", lambda a: np.pad(a, (1, 2), "maximum", stat_length=2), A),
    ("pad minimum", lambda a: np.pad(a, ((1, 1), (0, 2)), "minimum", stat_length=((2, 1), (3, 2))), A),
    ("concatenate", lambda a, b: np.concatenate([a, b], axis=0), A, positive(2, 4)),
    ("concatenate flat", lambda a, b: np.concatenate((a, b), axis=None), A, x),
    ("concatenate out", lambda a, b: np.concatenate((a, b), out=np.zeros(9)), x, y),
    ("concatenate dtype", lambda a: np.concatenate((a, k), dtype=np.float64), x),
    ("concat", lambda a, b: np.concat((a, b)), x, y),
    ("stack", lambda a, b: np.stack([a, b], axis=-1), A, C),
    ("stack out", lambda a, b: np.stack([a, b], out=np.zeros((2, 3, 4))), A, C),
    ("vstack", lambda a, b: np.vstack((a, b)), A, y),
    ("hstack", lambda a, b: np.hstack([a, b]), A, S),
    ("hstack of vectors", lambda a, b: np.hstack([a, b, 3.0]), x, y),
    ("dstack", lambda a, b: np.dstack((a, b)), A, C),
    ("dstack of vectors", lambda a: np.dstack((a, 2 * a)), x),
    ("column_stack", lambda a, b: np.column_stack([a, b]), z, A),
    ("block", lambda a, b: np.block([[a, b], [b, a]]), A, C),
    ("block of vectors", lambda a: np.block([a, 1.0, 2 * a]), x),
    ("block of ranks", lambda a, b: np.block([[a], [b]]), A, y),
    ("append", lambda a, b: np.append(a, b), A, x),
    ("append axis", lambda a, b: np.append(a, b, axis=1), A, S),
    ("append number", lambda a: np.append(a, 2.0), x),
    ("insert", lambda a: np.insert(a, 2, 5.0), x),
    ("insert end", lambda a: np.insert(a, 5, 5.0), x),
    ("insert negative", lambda a: np.insert(a, -1, a[0]), x),
    ("insert row", lambda a, b: np.insert(a, 1, b, axis=0), A, y),
    ("insert column", lambda a, b: np.insert(a, 1, b, axis=1), A, z),
    ("insert rows", lambda a, b: np.insert(a, 1, b, axis=0), A, positive(2, 4)),
    ("insert several", lambda a, b: np.insert(a, [3, 1, 1], b), x, z),
    ("insert flat", lambda a: np.insert(a, [1], [2.0, 3.0]), A),
    ("delete", lambda a: np.delete(a, 2), x),
    ("delete row", lambda a: np.delete(a, -1, axis=0), A),
    ("delete several", lambda a: np.delete(a, [3, 0, 3], axis=1), A),
    ("delete slice", lambda a: np.delete(a, slice(1, 3)), x),
    ("delete by data", lambda a, i: np.delete(a, i[1]), x, k),
    ("split", lambda a: np.split(a, 2, axis=1), A),
    ("split at", lambda a: np.split(a, [1, 3]), x),
    ("split beyond", lambda a: np.split(a, [3, 2, 9]), x),
    ("array_split", lambda a: np.array_split(a, 3), x),
    ("array_split many", lambda a: np.array_split(a, 5, axis=1), A),
    ("hsplit", lambda a: np.hsplit(a, [1]), A),
    ("vsplit", lambda a: np.vsplit(a, 3), A),
    ("dsplit", lambda a: np.dsplit(a, 2), T),
]

CALCULUS = [
    ("cumsum", lambda a: np.cumsum(a, axis=1), A),
    ("cumsum out", lambda a: np.cumsum(a, out=np.zeros(5)), x),
    ("cumprod", lambda a: a.cumprod(axis=0), A),
    ("cumulative_sum", lambda a: np.cumulative_sum(a, axis=1, include_initial=True), A),
    ("cumulative_prod", lambda a: np.cumulative_prod(a, include_initial=True), x),
    ("diff", lambda a: np.diff(a), A),
    ("diff twice", lambda a: np.diff(a, n=2, axis=0), A),
    ("diff none", lambda a: np.diff(a, n=0), x),
    ("diff prepend", lambda a, b: np.diff(a, prepend=0.0, append=b), A, positive(3, 2)),
    ("diff of an empty array", lambda a: np.diff(a, axis=0), E),
    ("ediff1d", lambda a: np.ediff1d(a, to_begin=1.0, to_end=[2.0, 3.0]), A),
    ("gradient", lambda a: np.gradient(a), x),
    ("gradient of a matrix", lambda a: np.gradient(a), A),
    ("gradient axis", lambda a: np.gradient(a, 0.5, axis=1), A),
    ("gradient spacings", lambda a: np.gradient(a, 2.0, 3.0), A),
    ("gradient coordinates", lambda a, c: np.gradient(a, c), x, np.cumsum(x)),
    ("gradient coordinates of an axis", lambda a, c: np.gradient(a, c, axis=1, edge_order=2), A, np.cumsum(y)),
    ("gradient edge_order", lambda a, h: np.gradient(a, h, edge_order=2), x, 0.3),
    ("trapezoid", lambda a: np.trapezoid(a, dx=0.5), A),
    ("trapezoid points", lambda a, c: np.trapezoid(a, c, axis=0), A, np.cumsum(z)),
    ("trapezoid points of rows", lambda a, c: np.trapezoid(a, c), A, np.cumsum(C, axis=1)),
    ("unwrap", lambda a: np.unwrap(np.cumsum(9 * a)), x),
    ("unwrap period", lambda a: np.unwrap(3 * a, period=1.0, axis=0), A),
    ("unwrap discont", lambda a: np.unwrap(9 * a, discont=5.0), A),
    ("convolve", lambda a, b: np.convolve(a, b), x, z),
    ("convolve same", lambda a, b: np.convolve(a, b, mode="same"), x, y),
    ("convolve same, short first", lambda a, b: np.convolve(a, b, "same"), y, x),
    ("convolve valid", lambda a, b: np.convolve(a, b, "valid"), x, z),
    ("correlate", lambda a, b: np.correlate(a, b), x, z),
    ("correlate same", lambda a, b: np.correlate(a, b, "same"), x, y),
    ("correlate same, short first", lambda a, b: np.correlate(a, b, "same"), y, x),
    ("correlate full", lambda a, b: np.correlate(a, b, "full"), z, x),
    ("interp", lambda a, b: np.interp(a, [0.2, 0.5, 0.6, 0.9], b), x, y),
    ("interp points", lambda a, c, b: np.interp(a, c, b), x, np.sort(y), y),
    ("interp of a matrix", lambda a, b: np.interp(a, [0.2, 0.5, 0.6, 0.9], b, left=-1.0, right=b[0]), A, y),
    ("interp at a number", lambda a, b: np.interp(a, [0.2, 0.5, 0.6, 0.9], b), 0.55, y),
    ("interp period", lambda a, b: np.interp(a, [0.2, 0.9, 0.6, 0.5], b, period=1.0), 4 * x, y),
    ("interp one point", lambda a, b: np.interp(a, [0.5], b), x, np.array([0.4])),
    ("polyval", lambda p, a: np.polyval(p, a), z, A),
    ("polyval at a number", lambda p, a: np.polyval(p, a), z, 0.3),
    ("polyadd", lambda p, q: np.polyadd(p, q), z, x),
    ("polysub", lambda p, q: np.polysub(p, q), x, z),
    ("polymul", lambda p, q: np.polymul(p, q), x, z),
    ("polyder", lambda p: np.polyder(p, 2), x),
    ("polyint", lambda p: np.polyint(p, 2, [1.0, 2.0]), z),
    ("poly", lambda r: np.poly(r), y),
    ("polyfit", lambda a, b: np.polyfit(a, b, 2), x, x**3),
    ("polyfit weights", lambda a, b, w: np.polyfit(a, b, 1, w=w), y, positive(4, 2), positive(4)),
    ("i0", lambda a: np.i0(3 * a), A),
    ("angle", lambda a: a + np.angle(a - 0.5) + np.angle(0.5 - a, deg=True), x),
    ("real and imag", lambda a: np.real(a) + np.imag(a) + a.real + a.imag, A),
    ("isreal", lambda a: a * np.isreal(a) + np.iscomplex(a), A),
    ("isposinf", lambda a: a + np.isposinf(a) + np.isneginf(1 / a), x),
    ("fix", lambda a: a * np.fix(5 * a), x),
]

GRIDS = [
    ("linspace", lambda a: np.linspace(a[0], a[1], 6), x),
    ("linspace without endpoint", lambda a: np.linspace(0.0, a[1], 4, endpoint=False), x),
    ("linspace one", lambda a: np.linspace(a[0], a[1], 1), x),
    ("linspace step", lambda a: np.linspace(a[0], 2.0, 5, retstep=True), x),
    ("linspace of arrays", lambda a: np.linspace(a, 2.0, 3), A),
    ("linspace axis", lambda a, b: np.linspace(a, b, 4, axis=-1), x, x + 1),
    ("linspace integers", lambda a: a * np.linspace(-3.0, 3.0, 5, dtype=int), x),
    ("logspace", lambda a: np.logspace(a[0], a[1], 4, base=2.0), x),
    ("geomspace", lambda a: np.geomspace(a[0], a[1], 4), x),
    ("geomspace negative", lambda a: np.geomspace(-a[0], -a[1], 3, endpoint=False), x),
    ("meshgrid", lambda a, b: np.meshgrid(a, b), x, y),
    ("meshgrid ij", lambda a, b, c: np.meshgrid(a, b, c, indexing="ij"), x, y, z),
    ("meshgrid of three", lambda a, b, c: np.meshgrid(a, b, c), x, y, z),
    ("meshgrid sparse", lambda a, b: np.meshgrid(a, b, sparse=True), x, y),
    ("mgrid", lambda a: np.mgrid[0:3, 1 : a.shape[1] + 1] * a, A),
    ("mgrid points", lambda a: np.mgrid[0:1:3j, 0:2:4j] * a, A),
    ("mgrid of one", lambda a: np.mgrid[0 : a.shape[0]] * a, x),
    ("ogrid", lambda a: np.ogrid[0:3, 0:4][1] * a, A),
    ("r_", lambda a: np.r_[a, 1.0, 0:3, a[::-1]], x),
    ("c_", lambda a, b: np.c_[a, b], z, A),
    ("s_", lambda a: a[np.s_[1:, ::2]], A),
    ("indices", lambda a: np.indices(a.shape) * a, A),
    ("indices sparse", lambda a: np.indices((3, 4), sparse=True)[0] * a, A),
    ("fromfunction", lambda a: np.fromfunction(lambda i, j: i * j + a, a.shape), A),
    ("identity", lambda a: np.identity(4) * a[0], A),
    ("full", lambda a: np.full((2, 4), a[0]) + np.full(4, a[0, 0]), A),
    ("full_like", lambda a, b: np.full_like(a, b), A, y),
    ("fftfreq", lambda a: np.fft.fftfreq(len(a), 0.5) * a, x),
    ("fftfreq even", lambda a: np.fft.fftfreq(4, d=a[0]) * a, y),
    ("rfftfreq", lambda a: np.fft.rfftfreq(8) * a, x),
    ("hanning", lambda a: np.hanning(5) * a, x),
    ("hamming", lambda a: np.hamming(a.shape[0]) * a, x),
    ("blackman", lambda a: np.blackman(5) * a, x),
    ("bartlett", lambda a: np.bartlett(len(a)) * a, x),
    ("kaiser", lambda a: np.kaiser(5, a[0]) * a, x),
    ("window of one", lambda a: np.hanning(1) * a + np.bartlett(1), x),
    ("ndarray", lambda a: np.multiply(a, 2.0, out=np.ndarray((3, 4), dtype=a.dtype)), A),
    ("array ndmin", lambda a: np.array(a, ndmin=3), x),
    ("array without a copy", lambda a: np.array(a, copy=None) + np.asarray(a, copy=True), A),
    ("asfortranarray", lambda a: np.asfortranarray(a) + np.ascontiguousarray(a), A),
    ("asanyarray", lambda a: np.asanyarray(a) + np.asarray_chkfinite(a), A),
    ("astype", lambda a: np.astype(a, np.float64), f32),
    ("device", lambda a: a + np.zeros(5, device="cpu"), x),
    ("apply_along_axis", lambda a: np.apply_along_axis(np.cumsum, 0, a), A),
    ("apply_along_axis to numbers", lambda a: np.apply_along_axis(np.max, 1, a), T),
    ("apply_along_axis of a function", lambda a: np.apply_along_axis(weighted, -1, a, 2.0, power=2), A),
    ("apply_along_axis to matrices", lambda a: np.apply_along_axis(lambda r: np.outer(r, r), 0, a), A),
    ("vectorize", lambda a: np.vectorize(lambda v: v * v if v > 0.5 else 0.3 * v)(a), A),
    ("vectorize outside", lambda a, b: branching(a, b), A, y),
    ("vectorize otypes", lambda a: np.vectorize(lambda v: 2 * v, otypes=[float])(a), x),
]


def masked_square(a):
    b = a.copy()
    np.square(b, out=b, where=b > 0.5)
    return b


def weighted(row, factor, power=1):
    return np.sum(factor * row**power)


@np.vectorize
def branching(a, b):
    if a > b:
        return a * b
    return a + b


CASES = [*PRODUCTS, *UFUNCS, *REDUCTIONS, *REARRANGEMENTS, *CALCULUS, *GRIDS]
IDS = [name for name, *_ in CASES]
assert len(set(IDS)) == len(IDS)


def parts(result):
    return result if isinstance(result, tuple | list) else (result,)


def loss_of(*functions):
    """A number that depends on every element of what the functions return, in a way that is not linear."""

    def loss(*args):
        total = 0.0
        for function in functions:
            result = function(*args)
            if isinstance(result, tuple | list):
                for part in result:
                    total = total + np.sum(np.sin(part) * part)
            else:
                total = total + np.sum(np.sin(result) * result)
        return total

    return loss


def same_dtypes(function, args):
    traced, leaves = tracing.traced_of(function, args)
    found, _ = tracing.run_traced(traced, leaves)
    for ours, numpys in zip(parts(found), parts(function(*args)), strict=True):
        assert np.asarray(ours).dtype == np.asarray(numpys).dtype


@pytest.mark.parametrize(("name", "function", "args"), [(n, f, a) for n, f, *a in CASES], ids=IDS)
def test_function(name, function, args):
    loose = np.float32 in [np.asarray(a).dtype for a in args]
    tracing.check(function, *args, rtol=1e-5 if loose else 1e-12)
    same_dtypes(function, tuple(args))
    floats = tuple(j for j, a in enumerate(args) if np.asarray(a).dtype.kind == "f")
    check_program(loss_of(function), [tuple(args)], floats)


def test_powers_are_reduced_in_order():
    """NumPy itself forgets all exponents but the last one where it has AVX-512 (2.4), so not by its `reduce`."""
    traced, leaves = tracing.traced_of(lambda a: np.power.reduce(a), (z,))
    (found,) = run(traced.function, leaves)
    np.testing.assert_allclose(found, np.power.accumulate(z)[-1], rtol=1e-13)


# ---------------------------------------------------------------- other dtypes: values and dtypes only

i8 = np.array([3, -1, 2, 4, 0], np.int8)
i64 = np.arange(5) - 2
F32 = positive(3, 4).astype(np.float32)
DTYPES = [
    ("cumsum of bools", lambda a: np.cumsum(a), mask),
    ("diff of bools", lambda a: np.diff(a), mask),
    ("add.reduce of bools", lambda a: np.add.reduce(a), mask),
    ("multiply.reduce of int8", lambda a: np.multiply.reduce(a), i8),
    ("bitwise_or.reduce", lambda a: np.bitwise_or.reduce(a), i8),
    ("subtract.accumulate of integers", lambda a: np.subtract.accumulate(a), i64),
    ("maximum.accumulate of int8", lambda a: np.maximum.accumulate(a), i8),
    ("logical_and.accumulate of integers", lambda a: np.logical_and.accumulate(a), i64),
    ("bitwise_and.reduce of uint8", lambda a: np.bitwise_and.reduce(a.astype(np.uint8)), i8),
    ("logical_xor.reduce", lambda a: np.logical_xor.reduce(a), mask),
    ("add.reduceat of int8", lambda a: np.add.reduceat(a, [0, 2]), i8),
    ("einsum of integers", lambda a: np.einsum("i,i", a, a), i64),
    ("einsum of mixed dtypes", lambda a, b: np.einsum("ij,j->i", a, b), F32, i8[:4]),
    ("einsum dtype", lambda a: np.einsum("i,i", a, a, dtype=np.float64), f32),
    ("matmul of integers", lambda a: np.outer(a, a) @ a, i64),
    ("tensordot of float32", lambda a: np.tensordot(a, a, ([0, 1], [0, 1])), F32),
    ("trace of int32", lambda a: np.trace(np.outer(a, a).astype(np.int32)), i64),
    ("convolve of integers", lambda a: np.convolve(a, a), i64),
    ("convolve of float32", lambda a: np.convolve(a, [1, 2]), f32),
    ("gradient of integers", lambda a: np.gradient(a), i64),
    ("gradient of float32", lambda a: np.gradient(a), F32),
    ("trapezoid of integers", lambda a: np.trapezoid(a), i64),
    ("unwrap of float32", lambda a: np.unwrap(9 * a), f32),
    ("interp at integers", lambda a: np.interp(a, [0, 1], [2, 3]), i64),
    ("interp at float32", lambda a: np.interp(a, [0.0, 1.0], [2.0, 3.0]), f32),
    ("average of integers", lambda a: np.average(a, weights=a + 3), i64),
    ("average of float32", lambda a: np.average(a, weights=[1, 2, 3, 4, 5]), f32),
    ("cov of integers", lambda a: np.cov(a), i64),
    ("cov of float32", lambda a: np.cov(a), F32),
    ("mean of float32 where", lambda a: np.mean(a, where=a > 0.5), f32),
    ("std of integers where", lambda a: np.std(a, where=a > 0), i64),
    ("nansum of integers", lambda a: np.nansum(a) + np.nanmax(a), i64),
    ("nanvar of integers", lambda a: np.nanvar(a, ddof=1), i64),
    ("nanvar of float32", lambda a: np.nanvar(a, axis=0), F32),
    ("nanmean of nothing but NaN", lambda a: np.nanmean(a, axis=0), np.array([[np.nan, 1.0], [np.nan, 3.0]])),
    ("nanmax of nothing but NaN", lambda a: np.nanmax(a, axis=0), np.array([[np.nan, 1.0], [np.nan, 3.0]])),
    ("nan_to_num of integers", lambda a: np.nan_to_num(a), i64),
    ("nan_to_num of infinities", lambda a: np.nan_to_num(a), np.array([np.inf, -np.inf, np.nan, 1.0])),
    ("nan_to_num of float32", lambda a: np.nan_to_num(a), np.array([np.inf, -np.inf, np.nan, 1.0], np.float32)),
    ("isclose of infinities", lambda a: np.isclose(a, a[::-1], equal_nan=True), np.array([np.inf, np.nan, np.inf])),
    ("angle of float32", lambda a: np.angle(a - 0.5), f32),
    ("angle of integers", lambda a: np.angle(a), i64),
    ("angle of special numbers", lambda a: np.angle(a), np.array([0.0, -0.0, np.nan, -np.inf])),
    ("vander of integers", lambda a: np.vander(a, 3), i64),
    ("polynomials of integers", lambda a: (np.polyval(a, 2), np.polyder(a), np.polyint(a), np.poly(a)), i64),
    ("polyval of float32", lambda a: np.polyval([1, 2, 3], a), f32),
    ("pad mean of integers", lambda a: np.pad(a, 2, "mean"), i64),
    ("pad linear_ramp of float32", lambda a: np.pad(a, 2, "linear_ramp"), f32),
    ("insert into integers", lambda a: np.insert(a, 1, 2.7), i64),
    ("concatenate of dtypes", lambda a: np.r_[a, 1.5], i64),
    ("stack of dtypes", lambda a, b: np.stack([a, b]), f32, i8),
    ("linspace of integers", lambda a: np.linspace(a[0], 3, 4), i64),
    ("linspace of float32", lambda a: np.linspace(0.0, a, 3), f32),
    ("logspace of float32", lambda a: np.logspace(0, a[0], 3), f32),
    ("geomspace of float32", lambda a: np.geomspace(a[0], a[1], 3), f32),
    ("geomspace dtype", lambda a: np.geomspace(a[0], a[1], 3, dtype=np.float32), x),
    ("vectorize of float32", lambda a: np.vectorize(lambda v: v * 2)(a), f32),
    ("apply_along_axis of float32", lambda a: np.apply_along_axis(np.sum, 0, a), F32),
    ("outer of float32 and a list", lambda a: np.add.outer(a, [1.0, 2.0]), f32),
    ("ufunc dtype of integers to float32", lambda a: np.true_divide(a, 2, dtype=np.float32), i8),
    ("array_equiv", lambda a: np.array_equiv(a, a[:, :1] + a - a[:, :1]), A),
    ("result_type", lambda a: np.ones(3, dtype=np.result_type(a, np.float32)) + a[0], i8),
    (
        "questions",
        lambda a: np.array([np.isrealobj(a), np.iscomplexobj(a), np.isscalar(a[0]), np.isscalar(a), np.isscalar(2)]),
        x,
    ),
    ("row_stack", lambda a: np.row_stack((a, a)), x),
    ("flat", lambda a: np.cumsum(a.flat) * a.nbytes, A),
    ("flatten order", lambda a: a.flatten(order="F"), A),
    ("round out", lambda a: np.round(a, 1, out=np.zeros(5)) + a.round(0, np.ones(5)), x),
    ("argmax out", lambda a: np.argmax(a, axis=0, out=np.zeros(4, int)), A),
    ("real_if_close", lambda a: np.real_if_close(a), x),
    ("unstack", lambda a: np.unstack(np.stack([a, 2 * a])), x),
    ("frexp exponent", lambda a: np.frexp(a)[1], x),
]


@pytest.mark.parametrize(("name", "function", "args"), [(n, f, a) for n, f, *a in DTYPES], ids=[c[0] for c in DTYPES])
@pytest.mark.filterwarnings("ignore")
def test_dtype(name, function, args):
    tracing.check(function, *args, rtol=1e-12)
    same_dtypes(function, tuple(args))


# ---------------------------------------------------------------- views and copies


def write_flip(a):
    np.flip(a)[0] = 5.0
    return a


def write_rot90(a):
    np.rot90(a)[0, 1] = 5.0
    return a


def write_split(a):
    front, behind = np.split(a, [2])
    front[0] = 7.0
    behind[:] += front[1]
    return a


def write_parts(a):
    for part in np.array_split(a, 2, axis=1):
        part *= 2.0
    return a


def write_moved(a):
    np.moveaxis(a, 0, 1)[0, 1] = 9.0
    np.rollaxis(a, 1)[2, 1] = 8.0
    np.expand_dims(a, 0)[0, 1, 1] = 7.0
    np.atleast_3d(a)[0, 0, 0] = 6.0
    np.real(a)[2] *= 2.0
    return a


def write_einsum(a):
    np.einsum("ij->ji", a)[0, 1] = 9.0
    return a


def write_arrays(a):
    np.array(a, copy=False)[0] = 3.0
    np.asarray(a)[1] = 4.0
    np.array(a)[2] = 100.0
    np.asarray(a, copy=True)[3] = 100.0
    return a


def write_copies(a):
    np.roll(a, 1)[0] = 5.0
    np.tile(a, 1)[1] = 5.0
    np.concatenate([a])[2] = 5.0
    np.append(a, 1.0)[3] = 5.0
    np.meshgrid(a, a)[0][0, 0] = 5.0
    np.broadcast_to(a, (2, 5)).copy()[0, 0] = 5.0
    np.diag(np.diag(a)).copy()[0] = 5.0
    return a


def write_in_place(a):
    np.add(a[1:], a[:-1], out=a[1:])
    np.maximum.accumulate(a, out=a)
    np.nan_to_num(a, copy=False)[0] = 3.0
    np.cumsum(a, out=a)
    return a


def write_matmul(a):
    np.matmul(a[:, :3], a[:, :3].T, out=a[:, 1:])
    return a


def write_reshaped(a):
    np.reshape(a.T, 12, order="F")[1] = 5.0
    return a


WRITES = [
    (write_flip, x),
    (write_rot90, A),
    (write_split, x),
    (write_parts, A),
    (write_moved, A),
    (write_einsum, A),
    (write_arrays, x),
    (write_copies, x),
    (write_in_place, x),
    (write_matmul, A),
    (write_reshaped, A),
]


@pytest.mark.parametrize(("function", "array"), WRITES, ids=lambda v: getattr(v, "__name__", ""))
def test_writes_go_through_views_and_not_to_copies(function, array):
    tracing.check(function, array)
    check_program(loss_of(function), [(array,)], (0,))


# ---------------------------------------------------------------- what is wrong, and what is refused

RAISED = [
    (lambda a, n: np.split(a, 2)[0], (np.ones(4), 0), (np.ones(5), 0)),
    (lambda a, n: np.insert(a, n, 1.0), (np.ones(4), 2), (np.ones(4), 5), (np.ones(4), -5), (np.ones(4), -4)),
    (lambda a, n: np.delete(a, n), (np.ones(4), 2), (np.ones(4), 4), (np.ones(4), -5)),
    (lambda a, n: np.einsum("i,i", a, a[n:]), (np.ones(4), 0), (np.ones(4), 1)),
    (lambda a, n: np.dot(a, a[n:]), (np.ones(4), 0), (np.ones(4), 1)),
    (lambda a, n: np.pad(a[n:], 2, "edge"), (np.ones(4), 0), (np.ones(4), 4)),
    (lambda a, n: np.pad(a, n), (np.ones(4), 0), (np.ones(4), -1)),
    (lambda a, n: np.add.reduceat(a, np.array([0, 2])), (np.ones(4), 0), (np.ones(2), 0)),
    (lambda a, n: np.subtract.reduce(a[n:]), (np.ones(4), 0), (np.ones(4), 4)),
    (lambda a, n: np.convolve(a[n:], a), (np.ones(4), 0), (np.ones(4), 4)),
    (lambda a, n: np.gradient(a[n:]), (np.ones(4), 0), (np.ones(4), 3)),
    (lambda a, n: np.average(a, weights=a - n), (np.ones(4), 0), (np.ones(4), 1)),
    (lambda a, n: np.repeat(a, np.array([1, 1, 1, 1]) * n), (np.ones(4), 2), (np.ones(4), -1), (np.ones(3), 1)),
    (lambda a, n: np.asarray_chkfinite(a / n), (np.ones(4), 2), (np.ones(4), 0)),
    (lambda a, n: np.nanargmin(a / n), (np.ones(4), 2), (np.zeros(4), 0)),
    (lambda a, n: np.geomspace(a[0] * n, 1.0), (np.ones(4), 2), (np.ones(4), 0)),
    (lambda a, n: np.resize(a[n:], 3), (np.ones(4), 2)),
    (lambda a, n: np.tensordot(a, a[n:], 1), (np.ones(4), 0), (np.ones(4), 2)),
]


@pytest.mark.parametrize(("function", "good", "others"), [(f, g, o) for f, g, *o in RAISED])
@pytest.mark.filterwarnings("ignore")
def test_errors_at_run_time_are_numpys(function, good, others):
    """Where NumPy raises, running the IR raises an error of the same class."""
    tracing.check(function, *good, others=others)


REFUSALS = [
    (lambda a: np.fft.rfft(a), "complex"),
    (lambda a: np.roots(a), "complex"),
    (lambda a: np.einsum("ij", a), "subscript"),
    (lambda a: np.einsum("i,j", a), "subscripts for"),
    (lambda a: np.einsum("i->ii", a), "repeated"),
    (lambda a: np.einsum("i->j", a), "no operand has"),
    (lambda a: np.einsum("...->", a), "ellipsis"),
    (lambda a: np.einsum("i->i", a > 0), "booleans"),
    (lambda a: np.tensordot(a, a, 2), "axes"),
    (lambda a: np.add(a, a, where=a), "booleans"),
    (lambda a: np.add(a, a, dtype=int), "dtype"),
    (lambda a: np.add(a, a, a, a), "arguments"),
    (lambda a: np.add(a[:, None], a, out=a), "axes"),
    (lambda a: np.subtract.reduce(a[:, None] + a, axis=(0, 1)), "reorderable"),
    (lambda a: np.subtract.reduce(a, where=a > 0), "where"),
    (lambda a: np.less.reduce(a), "another type"),
    (lambda a: np.max(a, where=a > 0), "initial"),
    (lambda a: np.pad(a, 1, "median"), "modes known"),
    (lambda a: np.pad(a, 1, "reflect", reflect_type="odd"), "odd"),
    (lambda a: np.pad(a, 1, "edge", constant_values=2), "unsupported keyword"),
    (lambda a: np.pad(a, ((1, 2, 3),)), "pair"),
    (lambda a: np.split(a, 0), "larger than 0"),
    (lambda a: np.insert(a, [1, -1], 2.0), "both ends"),
    (lambda a: np.vsplit(a, 2), "2 or more dimensions"),
    (lambda a: np.diag(a[:, None, None]), "1- or 2-d"),
    (lambda a: np.concatenate([a, a[:, None]]), "number of axes"),
    (lambda a: np.concatenate([a, 1.0]), "zero-dimensional"),
    (lambda a: np.moveaxis(a, [0], [0, 0]), "repeated"),
    (lambda a: np.gradient(a, 1.0, 2.0), "spacing"),
    (lambda a: np.vectorize(lambda v: (v, v))(a), "more than a number"),
    (lambda a: np.vectorize(np.sum, signature="(n)->()")(a), "signature"),
    (lambda a: np.r_["0,2", a], "string"),
    (lambda a: np.polyfit(a, a, 1, full=True), "full"),
    (lambda a: np.ndarray(3, float, a), "buffer"),
    (lambda a: np.trim_zeros(a), "decide"),
    (lambda a: np.linspace(a[0], 1, a[0]), "integer"),
    (lambda a: np.zeros((2, 2), order="X"), "order"),
    (lambda a: np.cov(a, fweights=a), "fweights"),
    (lambda a: np.array([1, 2], copy=False), "avoid copy"),
    (lambda a: a.astype(int, casting="safe"), "casting"),
    (lambda a: np.round(np.arange(9), -1), "integers"),
]


@pytest.mark.parametrize(("function", "words"), REFUSALS)
def test_refusal_says_what_is_wrong(function, words):
    with pytest.raises(AdjitError, match=words) as caught:
        tracing.traced_of(function, (x,))
    assert not isinstance(caught.value, InternalError)
    assert caught.value.span is not None
    assert caught.value.help


# ---------------------------------------------------------------- several functions in one kernel


def batch(names):
    """A loss of several lines of the table, and the arguments of all of them."""
    chosen = [case for case in CASES if case[0] in names]
    assert len(chosen) == len(names)
    plan, args = [], []
    for _, function, *own in chosen:
        plan.append((loss_of(function), len(args), len(args) + len(own)))
        args += own
    plan = tuple(plan)

    def loss(*args):
        total = 0.0
        for part, low, high in plan:
            total = total + part(*args[low:high])
        return total

    return loss, tuple(args)


BATCHES = {
    "products": [
        "einsum chain",
        "einsum batch",
        "einsum batch, rows",
        "tensordot of pairs",
        "matmul of broadcast stacks",
    ],
    "ufuncs": ["logaddexp.reduce", "maximum.accumulate axis", "subtract.outer", "add.reduceat", "ufunc where and out"],
    "statistics": ["cov weights", "nanvar", "average weights of an axis", "max where", "corrcoef"],
    "rearrangements": [
        "pad reflect far",
        "pad linear_ramp",
        "repeat counts of data",
        "insert several",
        "roll axes",
        "diag off",
    ],
    "calculus": ["gradient coordinates of an axis", "convolve same", "interp points", "unwrap period", "polyval"],
    "grids": ["geomspace", "mgrid points", "apply_along_axis of a function", "vectorize outside", "linspace of arrays"],
}


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", BATCHES)
def test_compiled(name):
    loss, args = batch(BATCHES[name])
    floats = tuple(j for j, a in enumerate(args) if np.asarray(a).dtype.kind == "f")
    check_program(loss, [args], floats, compile=True)


@pytest.mark.parametrize("name", BATCHES)
def test_forward_mode_and_second_order(name):
    """Tangents agree with the gradient, and the gradient's derivative is the same in either mode."""
    loss, args = batch(BATCHES[name])
    traced, leaves = tracing.traced_of(loss, args)
    function = pipeline.optimize(traced.function)
    wrt = [j for j, leaf in enumerate(leaves) if np.asarray(leaf).dtype.kind == "f"]
    draws = np.random.default_rng(3)
    u, v = ([draws.standard_normal(np.shape(leaves[j])) for j in wrt] for _ in range(2))
    gradient = vjp(function, wrt, ["one"], keep=[]).function
    first = run(gradient, leaves)
    tangent = run(jvp(function, wrt), [*leaves, *u])[-1]
    assert tangent == pytest.approx(inner(first, u), rel=1e-11)
    along = run(jvp(gradient, wrt), [*leaves, *u])[len(wrt) :]
    back = run(vjp(gradient, wrt, ["argument"] * len(wrt), keep=[]).function, [*leaves, *v])
    assert inner(along, v) == pytest.approx(inner(back, u), rel=1e-9)

    def moved(step):
        shifted = [leaf + step * u[wrt.index(j)] if j in wrt else leaf for j, leaf in enumerate(leaves)]
        return run(gradient, shifted)

    for ours, high, low in zip(along, moved(1e-5), moved(-1e-5), strict=True):
        difference = (np.asarray(high) - low) / 2e-5
        assert np.allclose(ours, difference, rtol=1e-5, atol=1e-5 * (1 + np.max(np.abs(difference))))


def inner(a, b):
    return sum(float(np.sum(np.asarray(x) * y)) for x, y in zip(a, b, strict=True))
