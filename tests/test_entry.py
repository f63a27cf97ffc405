"""The native entry of kernels: it takes exactly what a kernel was compiled for, and owns nothing that it should not."""

import gc
import sys
import tracemalloc

import numpy as np
import pytest

from adjit.codegen import build, entry
from adjit.codegen import numba_bridge as bridge
from adjit.codegen.build import compile_kernel, stats
from adjit.codegen.host import Output, Parameter, Slot, kernel_type, leaf_of, specialize
from adjit.ir.errors import ArgumentError
from adjit.ir.types import BOOL, DTYPES, F32, F64, I64, Array, Scalar

BASE = np.arange(24.0).reshape(4, 6)
VECTOR = Array(F64, (None,))
IDENTITY = "def f(x):\n    return 0, 0, 0, x\n"
COPY = "import numpy as np\n\ndef f(x):\n    return 0, 0, 0, x.copy()\n"
SUM = """
def f(x):
    s = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            s += (10 * i + j) * x[i, j]
    return 0, 0, 0, s, x.shape[0], x.shape[1]
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(build, "_kernels", {})
    stats.reset()


def kernel_for(text, *types, layouts=None, **options):
    return compile_kernel(text, "f", types, layouts or ["C"] * len(types), **options)


def test_this_python_is_supported():
    assert entry.supported()  # else everything works, at the price of 0.1 µs per argument
    assert kernel_for(IDENTITY, Scalar(F64)).checked


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_scalars_of_every_dtype(dtype):
    call = kernel_for(IDENTITY, Scalar(dtype)).call
    own = dtype.numpy.type
    if dtype is BOOL:
        fine, other = [True, False, np.True_, np.False_], [1, 0, 1.0, np.int8(1), None, "x", np.array(True)]
    elif dtype.is_float:
        fine = [0.5, -0.0, float("inf"), 1e30, own(0.1)]
        other = [1, True, "1.0", None, 1j, np.array(1.0), np.float16(1), [1.0]]
        other.append(np.float32(1) if dtype is F64 else np.float64(1))
    else:
        limits = np.iinfo(dtype.numpy)
        fine = [0, 1, limits.min, limits.max, own(limits.max), own(limits.min)]
        fine += [-1, own(-1)] if limits.min else []
        other = [1.0, True, "1", None, np.array(1), np.float64(1), np.bool_(True)]
        if dtype.itemsize < 8:
            other += [limits.max + 1, limits.min - 1, 2**62]
    for value in fine:
        status, _, _, result = call(value)
        assert status == 0
        assert np.array_equal(own(result), own(value)) and np.signbit(float(result)) == np.signbit(float(value))
    for value in other:
        assert call(value) is None, value


def test_integers_beyond_64_bits_overflow_as_in_numpy():
    for dtype, value in ((I64, 2**63), (I64, -(2**63) - 1), (DTYPES["u64"], 2**64), (DTYPES["u64"], -1)):
        with pytest.raises(OverflowError):
            kernel_for(IDENTITY, Scalar(dtype)).call(value)


def test_nan_keeps_its_sign_and_float32_is_rounded():
    assert np.isnan(kernel_for(IDENTITY, Scalar(F64)).call(float("nan"))[3])
    assert kernel_for(IDENTITY, Scalar(F32)).call(0.1)[3] == float(np.float32(0.1))


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_arrays_of_every_dtype(dtype):
    kernel = kernel_for(COPY, Array(dtype, (None, None)))
    for shape in ((2, 3), (0, 3), (1, 1), (60, 70)):  # the last is too large for a copy
        x = (np.arange(np.prod(shape)) % 2).astype(dtype.numpy).reshape(shape)
        out = kernel.call(x)[3]
        assert out is not x and out.dtype is x.dtype and out.shape == shape
        assert out.flags.c_contiguous and out.flags.writeable and out.flags.aligned
        np.testing.assert_array_equal(out, x)
    for other in DTYPES.values():
        if other is not dtype:
            assert kernel.call(np.zeros((2, 3), other.numpy)) is None


def wrong_arrays():
    class Sub(np.ndarray):
        pass

    unaligned = np.zeros(8 * 6 + 1, np.uint8)[1:].view(np.float64).reshape(2, 3)
    return {
        "rank 0": np.array(1.0),
        "rank 1": np.ones(6),
        "rank 3": np.ones((1, 2, 3)),
        "byte order": np.ones((2, 3)).astype(np.dtype(np.float64).newbyteorder()),
        "unaligned": unaligned,
        "subclass": np.ones((2, 3)).view(Sub),
        "masked": np.ma.ones((2, 3)),
        "complex": np.ones((2, 3), complex),
        "object": np.ones((2, 3), object),
        "record": np.ones((2, 3), [("a", "f8")]),
        "datetime": np.ones((2, 3), "m8[s]"),
        "list": [[1.0, 2.0]],
        "none": None,
        "number": 1.0,
        "memory": memoryview(np.ones((2, 3))),
    }


@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_arrays_that_a_kernel_must_not_see(layout):
    call = kernel_for(SUM, Array(F64, (None, None)), layouts=[layout]).call
    for what, value in wrong_arrays().items():
        assert call(value) is None, what
    for arguments in ((), (BASE, BASE)):
        assert call(*arguments) is None
    with pytest.raises(TypeError):
        call(x=BASE)


@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_layouts(layout):
    call = kernel_for(SUM, Array(F64, (None, None)), layouts=[layout]).call
    views = {
        "C": [BASE, BASE[1:3], BASE[:0], BASE[:1], BASE.T.copy()],
        "F": [BASE.T, np.asfortranarray(BASE), BASE.T[:, 1:3]],
        "A": [BASE[::2, ::3], BASE[::-1], BASE[:, 1:3], np.broadcast_to(np.ones(3), (2, 3)), BASE[1:1, ::2]],
    }
    for kind, arrays in views.items():
        for x in arrays:
            result = call(x)
            if kind == layout or layout == "A":
                i, j = np.indices(x.shape)
                assert result == (0, 0, 0, np.sum((10 * i + j) * x), *x.shape)
            else:
                fits = x.flags.c_contiguous if layout == "C" else x.flags.f_contiguous and not x.flags.c_contiguous
                assert (result is not None) == fits


def test_extents_that_the_type_fixes():
    call = kernel_for(SUM, Array(F64, (None, 1))).call
    assert call(np.ones((3, 1)))[4:] == (3, 1)
    assert call(np.ones((1, 1)))[4:] == (1, 1)
    assert call(np.ones((3, 2))) is None
    strict = kernel_for(SUM, Array(F64, (None, 1)), distinguish_ones=True).call
    assert strict(np.ones((3, 1)))[4:] == (3, 1)
    assert strict(np.ones((1, 1))) is None
    assert strict(np.ones((0, 1)))[4:] == (0, 1)


def test_a_loaded_kernel_checks_as_well(monkeypatch):
    types = [Array(F64, (None, None))]
    kernel_for(SUM, *types)
    monkeypatch.setattr(build, "_kernels", {})
    stats.reset()
    loaded = kernel_for(SUM, *types)
    assert stats.loaded_from_cache == 1 and loaded.checked
    for what, value in wrong_arrays().items():
        assert loaded.call(value) is None, what
    assert loaded.call(BASE)[4:] == BASE.shape


@pytest.mark.parametrize("size", [3, entry.SMALL // 8, entry.SMALL // 8 + 1, 5000])
def test_nothing_is_leaked(size):
    from numba.core.runtime import _nrt_python, rtsys

    text = """
import numpy as np

def f(x, y, n):
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = x[i] + y[i]
    return 0, 0, 0, out, out[n:].copy(), n
"""
    call = kernel_for(text, VECTOR, VECTOR, Scalar(I64)).call
    _nrt_python.memsys_enable_stats()
    try:
        x, y, n = np.ones(size), np.ones(size), 1
        counted = [x, y, n, x.dtype, np.ndarray, None, float]
        call(x, y, n)
        gc.collect()
        counts = [sys.getrefcount(value) for value in counted]
        before = rtsys.get_allocation_stats()
        tracemalloc.start()
        start = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            result = call(x, y, n)
            assert call(x, y, 1.5) is None
            assert call(x, y[::2], n) is None
        kept = result[3]
        references = sys.getrefcount(result), sys.getrefcount(kept)
        assert references == (2, 3)  # the name, (the tuple) and the call's argument
        np.testing.assert_array_equal(result[3], 2.0)
        del result, kept
        grown = tracemalloc.get_traced_memory()[0] - start
        tracemalloc.stop()
        after = rtsys.get_allocation_stats()
        assert after.alloc - before.alloc >= 1000
        assert after.alloc - before.alloc == after.free - before.free
        assert after.mi_alloc - before.mi_alloc == after.mi_free - before.mi_free
        assert grown < 20_000
        changes = [sys.getrefcount(value) - count for value, count in zip(counted, counts)]
        assert max(map(abs, changes)) < 100, changes  # what a call leaks would count 500 times
    finally:
        _nrt_python.memsys_disable_stats()


def test_results_outlive_the_kernel():
    call = kernel_for(COPY, VECTOR).call
    for size in (4, 4000):
        out = call(np.arange(float(size)))[3]
        others = [call(np.full(size, -1.0))[3] for _ in range(20)]
        np.testing.assert_array_equal(out, np.arange(size))
        out[0] = 7.0
        assert others[0][0] == -1.0


def test_memory_that_runs_out_is_an_error_of_python():
    text = "import numpy as np\n\ndef f(n):\n    return 0, 0, 0, np.empty(n)\n"
    call = kernel_for(text, Scalar(I64)).call
    with pytest.raises(MemoryError):
        call(2**58)
    assert call(3)[3].shape == (3,)


def test_a_kernel_that_returns_no_tuple_is_refused():
    with pytest.raises(Exception, match="not a tuple"):
        kernel_for("def f(x):\n    return x\n", Scalar(F64))


def specialized(kernel, values):
    parameters = [Parameter(f"a{i}", Slot(i, leaf_of(value))) for i, value in enumerate(values)]
    return specialize("f", parameters, kernel, Output(0), failed=None, miss=lambda *a: "miss")


def test_the_host_relies_on_a_checked_kernel_only_where_it_may():
    value = np.ones((3, 4))
    kind, layout = kernel_type(leaf_of(value))
    for options in ({"distinguish_ones": True}, {}):  # without it, the host has to look itself
        fast, run = specialized(kernel_for(SUM, kind, layouts=[layout], **options), [value])
        assert fast(value) == run([value]) == SUM_OF_ONES
        for what, other in wrong_arrays().items():
            assert fast(other) == "miss", what
            if what in ("byte order", "unaligned"):
                assert np.isfinite(run([other]))  # converted
            else:
                with pytest.raises(ArgumentError):
                    run([other])
        assert fast(np.ones((1, 4))) == "miss"
        with pytest.raises(ArgumentError):
            run([np.ones((1, 4))])


SUM_OF_ONES = float(sum(10 * i + j for i in range(3) for j in range(4)))


def test_a_checked_kernel_that_writes_to_an_argument():
    text = "def f(x, y):\n    x[0] += y[0]\n    return 0, 0, 0, x[0]\n"
    kernel = kernel_for(text, VECTOR, VECTOR, distinguish_ones=True, noalias=True)
    leaf = leaf_of(np.ones(3))
    parameters = [Parameter("x", (Slot(0, leaf),)), Parameter("y", [Slot(1, leaf)])]
    fast, run = specialize("f", parameters, kernel, Output(0), failed=None, miss=lambda *a: "miss", written=[0])
    x, y = np.zeros(6), np.ones(3)
    frozen = np.ones(3)
    frozen.flags.writeable = False
    assert fast((x,), [frozen]) == 1.0 and x[0] == 1.0
    assert fast((x[:3],), [x[3:]]) == 1.0
    assert run([x, y]) == 2.0
    for written, read in ((frozen, y), (x[:4], x[3:]), (x, x), (x[::2], y), (x, y[::2]), (x, [1.0])):
        assert fast((written,), [read]) == "miss"
        with pytest.raises(ArgumentError):
            run([written, read])
    assert x[0] == 2.0


def test_captures_and_nested_arguments_of_a_checked_kernel():
    kernel = kernel_for("def f(x, y):\n    return 0, 0, 0, x[0] - y[1]\n", VECTOR, VECTOR, distinguish_ones=True)
    place, leaf, reads = {"y": np.arange(3.0)}, leaf_of(np.ones(3)), []

    def read():
        reads.append(place["y"])
        return place["y"]

    failed = lambda *report: report
    parameters = [Parameter("x", {"a": [Slot(0, leaf)]})]
    fast, _ = specialize(
        "f",
        parameters,
        kernel,
        Output(0),
        failed=failed,
        miss=lambda *a: "miss",
        captures=[(read, Slot(1, leaf))],
    )
    assert fast({"a": [np.full(3, 5.0)]}) == 4.0
    assert len(reads) == 1
    place["y"] = np.full(4, 2.0)
    assert fast({"a": [np.full(3, 5.0)]}) == 3.0
    assert fast({"a": [5.0]}) == fast({"a": []}) == fast({"b": [np.ones(3)]}) == "miss"
    place["y"] = "text"
    assert fast({"a": [np.full(3, 5.0)]}) == "miss"


def test_the_host_refuses_a_kernel_of_other_types():
    kernel = kernel_for(SUM, Array(F64, (None, None)))
    for value in (1.0, np.ones(3), np.ones((3, 1)), np.ones((2, 2), np.float32), BASE.T):
        with pytest.raises(ValueError, match="compiled for"):
            specialized(kernel, [value])


def test_where_objects_are_laid_out_otherwise_the_host_checks(monkeypatch):
    monkeypatch.setattr(entry, "supported", lambda: False)
    kernel = kernel_for(SUM, Array(F64, (None, None)), distinguish_ones=True)
    assert not kernel.checked
    value = np.ones((3, 4))
    fast, run = specialized(kernel, [value])
    assert fast(value) == run([value]) == SUM_OF_ONES
    for what, other in wrong_arrays().items():
        assert fast(other) == "miss", what
    monkeypatch.setattr(build, "_kernels", {})
    loaded = kernel_for(SUM, Array(F64, (None, None)), distinguish_ones=True)
    assert loaded.from_cache and not loaded.checked
    assert specialized(loaded, [value])[0](value) == SUM_OF_ONES


def test_code_for_another_layout_of_objects_is_not_loaded(monkeypatch):
    kernel_for(SUM, Array(F64, (None, None)))
    monkeypatch.setattr(build, "_kernels", {})
    monkeypatch.setattr(entry, "supported", lambda: False)
    stats.reset()
    again = kernel_for(SUM, Array(F64, (None, None)))
    assert not again.checked and (stats.compiled, stats.loaded_from_cache) == (1, 0)


def test_the_self_check_sees_another_layout(monkeypatch):
    for name in ("_TYPE", "_DATA", "_RANK", "_DIMENSIONS", "_STRIDES", "_DTYPE", "_FLAGS"):
        with monkeypatch.context() as patch:
            # neighbours: other fields, whose values differ; pointers to extents must stay readable
            patch.setattr(entry, name, getattr(entry, "_RANK" if name != "_RANK" else "_DATA"))
            if name in ("_DIMENSIONS", "_STRIDES"):
                patch.setattr(entry, name, entry._STRIDES if name == "_DIMENSIONS" else entry._DIMENSIONS)
            assert entry.supported.__wrapped__() is False, name
    assert entry.supported.__wrapped__() is True
    assert bridge.Argument is entry.Argument
