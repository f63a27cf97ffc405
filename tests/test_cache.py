"""The disk cache: a second process compiles nothing, no edit is missed, and nothing on the disk does harm by
being damaged, missing, read-only or written by several processes at once."""

import os
import stat
import subprocess
import sys
import textwrap
import types

import pytest

from adjit.codegen import build, cache, manifest
from adjit.codegen import numba_bridge as bridge
from adjit.codegen.build import compile_kernel, stats
from adjit.ir.types import F64, Array, Scalar

TEXT = "def f(x):\n    return 0, 0, 0, x * x + 3.0\n"
KEY = cache.digest("some key")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty cache of its own for each test, and a process that has compiled nothing."""
    path = tmp_path / "cache"
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(path))
    monkeypatch.delenv("ADJIT_CACHE_SIZE", raising=False)
    forget(monkeypatch)
    return path


def forget(monkeypatch):
    """What a new process knows: only what is on the disk."""
    monkeypatch.setattr(build, "_kernels", {})
    stats.reset()


def kernel(text=TEXT, **options):
    return compile_kernel(text, "f", [Scalar(F64)], ["C"], **options)


def counts():
    return stats.compiled, stats.loaded_from_cache


PROGRAM = """
import sys
import numpy as np
from adjit.codegen.build import compile_kernel, stats
from adjit.ir.types import F64, Array, Scalar

text = '''
import numpy as np

def f(x, a):
    out = np.empty(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = np.exp(x[i]) * a
    return 0, 0, 0, out
'''
kernel = compile_kernel(text, "f", [Array(F64, (None,)), Scalar(F64)], ["C", "C"])
out = kernel.call(np.array([0.0, 1.0]), 2.0)[3]
assert np.allclose(out, [2.0, 2 * np.e], rtol=1e-15, atol=0)
print(stats.compiled, stats.loaded_from_cache)
"""


def start(program=PROGRAM):
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err == ""
    return out.strip()


def test_a_second_process_compiles_nothing():
    assert finish(start()) == "1 0"
    assert finish(start()) == "0 1"


@pytest.mark.slow
def test_four_processes_at_once():
    first = [finish(process) for process in [start() for _ in range(4)]]
    assert set(first) <= {"1 0", "0 1"} and "1 0" in first
    assert finish(start()) == "0 1"
    assert cache.info().entries["code"] == 2  # the kernel and the memory pool
    assert not [path for path in cache.info().folder.rglob("*") if path.name.startswith(".tmp-")]


def test_loaded_code_computes_the_same(monkeypatch):
    compiled = kernel().call(0.3)
    forget(monkeypatch)
    assert kernel().call(0.3) == compiled
    assert counts() == (0, 1)
    assert kernel().from_cache


@pytest.mark.parametrize(
    "change",
    ["text", "fastmath", "noalias", "nogil", "environment", "setting", "primitives", "argument"],
)
def test_everything_that_code_depends_on_is_in_the_key(monkeypatch, change):
    before = kernel().key
    forget(monkeypatch)
    if change == "text":
        after = kernel(TEXT.replace("3.0", "4.0"))
        assert after.call(1.0)[3] == 5.0
    elif change == "environment":  # another version, another CPU
        known = bridge.environment()
        monkeypatch.setattr(bridge, "environment", lambda: known + ",-avx512f")
        monkeypatch.setattr(build, "_environment", build._environment.__wrapped__)
        after = kernel()
    elif change == "setting":
        monkeypatch.setenv("NUMBA_OPT", "1")
        monkeypatch.setattr(build, "_environment", build._environment.__wrapped__)
        after = kernel()
    elif change == "primitives":
        monkeypatch.setattr(build, "_primitives_digest", lambda: "edited")
        monkeypatch.setattr(build, "_environment", build._environment.__wrapped__)
        after = kernel()
    elif change == "argument":
        text = "def f(x):\n    return 0, 0, 0, x[0]\n"
        one = compile_kernel(text, "f", [Array(F64, (None,))], ["C"]).key
        after = compile_kernel(text, "f", [Array(F64, (None,))], ["A"])
        assert one != after.key
    else:
        after = kernel(**{change: {"fastmath": True}.get(change, False)})
    assert after.key != before
    assert stats.loaded_from_cache == 0


def test_the_primitives_digest_reads_the_sources(monkeypatch, tmp_path):
    package = tmp_path / "codegen"
    (package / "vecmath").mkdir(parents=True)
    (package / "vecmath" / "exp.py").write_text("a = 1\n")
    (package / "numba_bridge.py").write_text("")
    monkeypatch.setattr(build, "__file__", str(package / "build.py"))
    seen = {build._primitives_digest()}
    (package / "vecmath" / "exp.py").write_text("a = 2\n")
    seen.add(build._primitives_digest())
    (package / "primitives.py").write_text("b = 1\n")
    seen.add(build._primitives_digest())
    assert len(seen) == 3


def entry():
    (path,) = (cache.root() / "code").glob("*.bin")
    return path


def damage_truncate(data):
    return data[: len(data) // 2]


def damage_flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def damage_version(data):
    return data[:6] + bytes([data[6] ^ 0xFF]) + data[7:]


@pytest.mark.parametrize(
    "damage",
    [damage_truncate, damage_flip, damage_version, lambda d: b"", lambda d: d + b"x", lambda d: d[:20]],
)
def test_a_damaged_entry_is_compiled_again(monkeypatch, damage):
    kernel()
    path = entry()
    path.write_bytes(damage(path.read_bytes()))
    forget(monkeypatch)
    monkeypatch.setattr(bridge, "load", lambda *a: pytest.fail("damaged bytes were read as code"))
    assert kernel().call(1.0)[3] == 4.0
    assert counts() == (1, 0)
    monkeypatch.undo()


def test_after_damage_the_entry_is_whole_again(monkeypatch):
    kernel()
    entry().write_bytes(b"nonsense")
    forget(monkeypatch)
    kernel()
    forget(monkeypatch)
    assert kernel().call(1.0)[3] == 4.0
    assert counts() == (0, 1)


def test_an_entry_of_another_key_is_not_taken():
    assert cache.store("trace", KEY, b"payload")
    other = cache.digest("another key")
    path = cache.root() / "trace"
    (path / f"{KEY}.bin").rename(path / f"{other}.bin")
    assert cache.load("trace", other) is None
    assert cache.load("trace", KEY) is None


def test_whole_bytes_that_are_no_code_are_compiled_again(monkeypatch):
    key = kernel().key
    cache.store("code", key, b"whole, but of another meaning")
    forget(monkeypatch)
    assert kernel().call(1.0)[3] == 4.0
    assert counts() == (1, 0)


def test_code_that_needs_unknown_symbols_is_compiled_again(monkeypatch):
    """LLVM would end the process."""
    key = kernel().key
    description, code, bitcode = bridge._parts(cache.load("code", key))
    description["needs"] = [*description["needs"], "no_such_symbol_anywhere"]
    cache.store("code", key, bridge.serialize(description, code, bitcode))
    forget(monkeypatch)
    assert kernel().call(1.0)[3] == 4.0
    assert counts() == (1, 0)


def test_code_with_constants_that_are_no_plain_data_is_not_stored():
    result = types.SimpleNamespace(
        library=types.SimpleNamespace(has_dynamic_globals=False, _reload_init=set()),
        environment=types.SimpleNamespace(consts=[object()]),
        reload_init=[],
        lifted=(),
    )
    assert bridge.image_of(result, True) is None
    result.library.has_dynamic_globals = True
    result.environment.consts = []
    assert bridge.image_of(result, True) is None


def test_without_a_folder_everything_works(monkeypatch):
    monkeypatch.setenv("ADJIT_CACHE_DIR", "")
    made = kernel()
    assert made.call(1.0)[3] == 4.0
    assert os.path.isfile(made.path)  # in a temporary folder of this process
    assert cache.root() is None
    assert cache.info().entries == {"code": 0, "trace": 0, "source": 0}
    assert cache.load("code", made.key) is None
    forget(monkeypatch)
    kernel()
    assert counts() == (1, 0)


def test_a_folder_that_cannot_be_made_or_written(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(blocked / "cache"))
    assert kernel().call(1.0)[3] == 4.0
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(blocked))
    forget(monkeypatch)
    assert kernel().call(1.0)[3] == 4.0


def test_a_folder_that_can_only_be_read(monkeypatch, folder):
    kernel()
    other = TEXT.replace("3.0", "5.0")

    def refuse(*args, **kwargs):
        if str(folder) in str(kwargs.get("dir", "")):
            raise PermissionError("read-only file system")
        return make(*args, **kwargs)

    make = cache.tempfile.mkstemp
    monkeypatch.setattr(cache.tempfile, "mkstemp", refuse)
    forget(monkeypatch)
    assert kernel().call(1.0)[3] == 4.0
    made = kernel(other)
    assert made.call(1.0)[3] == 6.0
    assert counts() == (1, 1)
    assert not made.path.startswith(str(folder)) and os.path.isfile(made.path)


def test_no_place_for_a_file_at_all(monkeypatch):
    import linecache

    monkeypatch.setattr(cache, "source_file", lambda name, text: None)
    made = kernel(TEXT.replace("3.0", "7.0"))
    assert made.call(1.0)[3] == 8.0
    assert linecache.getline(made.path, 2) == "    return 0, 0, 0, x * x + 7.0\n"


def test_the_temporary_folder_goes_with_the_process():
    program = "import os; os.environ['ADJIT_CACHE_DIR'] = ''\nfrom adjit.codegen import cache\n"
    path = finish(start(program + "print(cache.source_file('f', 'x = 1'))"))
    assert path.endswith(".py") and not os.path.exists(path)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_the_folder_is_private(folder):
    kernel()
    for path in (folder, folder / "code", folder / "source"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(entry().stat().st_mode) & 0o077 == 0


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_folder_that_others_can_write_is_not_used(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="can be written by others"):
        assert kernel().call(1.0)[3] == 4.0
    assert list(folder.iterdir()) == []


def test_a_folder_removed_while_in_use_is_made_again(folder):
    import shutil

    assert cache.store("trace", KEY, b"a")
    shutil.rmtree(folder)
    assert cache.load("trace", KEY) is None
    assert cache.store("trace", KEY, b"b")
    assert cache.load("trace", KEY) == b"b"


def test_info_and_clear(folder):
    kernel()
    cache.store("trace", KEY, b"12345")
    (folder / "notes.txt").write_text("not adjit's")
    info = cache.info()
    assert info.entries == {"code": 1, "trace": 1, "source": 1}
    assert info.folder == folder
    assert info.size == sum(path.stat().st_size for path in folder.rglob("*.*") if path.name != "notes.txt")
    assert cache.clear() == 3
    assert cache.info().size == 0
    assert (folder / "notes.txt").exists()


def test_prune_removes_what_was_used_least_recently(monkeypatch, folder):
    keys = [cache.digest(str(i)) for i in range(6)]
    for age, key in enumerate(keys):
        cache.store("trace", key, bytes(1000))
        os.utime(folder / "trace" / f"{key}.bin", (1000.0 + age, 1000.0 + age))
    assert cache.load("trace", keys[0]) is not None  # used now, so it stays
    one = (folder / "trace" / f"{keys[0]}.bin").stat().st_size
    assert cache.prune(3 * one) == 3
    assert [cache.load("trace", key) is not None for key in keys] == [True, False, False, False, True, True]
    monkeypatch.setenv("ADJIT_CACHE_SIZE", "0")
    assert cache.prune() == 3


def test_prune_removes_what_a_killed_writer_left(folder):
    cache.store("trace", KEY, b"a")
    left, fresh = folder / "trace" / ".tmp-left", folder / "trace" / ".tmp-fresh"
    left.write_bytes(b"half")
    fresh.write_bytes(b"half")
    os.utime(left, (1000.0, 1000.0))
    assert cache.prune() == 1
    assert fresh.exists() and not left.exists() and cache.load("trace", KEY) == b"a"


def test_storing_prunes_by_itself(monkeypatch):
    monkeypatch.setenv("ADJIT_CACHE_SIZE", "0.01")
    monkeypatch.setattr(cache, "_STORES_BETWEEN_PRUNES", 1)
    for i in range(30):
        cache.store("trace", cache.digest(str(i)), bytes(1000))
    assert 0 < cache.info().size <= 0.01 * 2**20


def test_digests_tell_parts_apart():
    parts = [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), (b"ab", "c", ""), ()]
    assert len({cache.digest(*p) for p in parts}) == len(parts)


# The manifest: traces.


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        textwrap.dedent("""
        # a comment
        def helper(x):
            return x + 1

        def f(x):
            return helper(x) * 2
    """)
    )
    return path


def test_a_manifest_comes_back_while_nothing_changed(module):
    source = manifest.source_lines(str(module), 3, 4)
    capture = manifest.Capture("helper", "d1")
    assert manifest.store_manifest(KEY, b"payload", [source, capture])
    assert manifest.load_manifest(KEY, {"helper": "d1"}.get) == b"payload"
    assert manifest.load_manifest(KEY, {"helper": "d2"}.get) is None
    assert manifest.load_manifest(KEY, {}.get) is None
    assert manifest.load_manifest(KEY) is None
    assert manifest.load_manifest(cache.digest("no such"), {"helper": "d1"}.get) is None


def test_an_edited_or_missing_source_makes_a_manifest_void(module):
    text = module.read_text()
    manifest.store_manifest(KEY, b"payload", [manifest.source_lines(str(module), 3, 4)])
    module.write_text(text.replace("* 2", "* 3"))  # another function of the same file
    assert manifest.load_manifest(KEY) == b"payload"
    module.write_text(text.replace("x + 1", "x + 2"))
    assert manifest.load_manifest(KEY) is None
    module.write_text("\n" + text)  # the lines moved
    assert manifest.load_manifest(KEY) is None
    module.unlink()
    assert manifest.load_manifest(KEY) is None
    module.write_text(text)
    assert manifest.load_manifest(KEY) == b"payload"


def test_source_lines_of_a_given_text_and_of_the_file_agree(module):
    given = manifest.source_lines(str(module), 3, 4, "def helper(x):\n    return x + 1\n")
    assert given == manifest.source_lines(str(module), 3, 4)
    with pytest.raises(ValueError, match="no lines"):
        manifest.source_lines(str(module), 3, 400)


def test_a_damaged_manifest_is_a_miss():
    manifest.store_manifest(KEY, b"payload")
    path = cache.root() / "trace" / f"{KEY}.bin"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert manifest.load_manifest(KEY) is None
    cache.store("trace", KEY, b"\xff\xff\xff\xffwhole but of another meaning")
    assert manifest.load_manifest(KEY) is None


def test_manifest_keys_tell_requests_apart(monkeypatch):
    request = ("m", "f", "source", "f64", "grad")
    keys = {manifest.manifest_key(*request)}
    for i in range(5):
        keys.add(manifest.manifest_key(*(part + "'" * (i == j) for j, part in enumerate(request))))
    monkeypatch.setattr(manifest, "adjit_digest", lambda: "edited")
    keys.add(manifest.manifest_key(*request))
    assert len(keys) == 7


def test_code_digest_sees_what_code_does():
    def digest(text):
        return manifest.code_digest(compile(text, "somewhere.py", "exec"))

    base = "def f(x, k={'a', 'b'}):\n    return x in {'u', 'v'} and x + 1"
    same = [base, "\n\n" + base, base.replace("x + 1", "x  +  1  # a comment")]
    assert len({digest(text) for text in same}) == 1
    changes = [("x + 1", "x + 1.0"), ("x + 1", "x - 1"), ("'u'", "'w'"), ("x, k", "y, k"), ("x + 1", "z + 1")]
    others = {digest(base.replace(*change)) for change in changes}
    assert len(others | {digest(base)}) == len(changes) + 1
    renamed = compile(base, "elsewhere.py", "exec")
    assert manifest.code_digest(renamed) == digest(base)


def test_code_digests_are_the_same_in_every_process():
    program = (
        "from adjit.codegen import manifest\n"
        "print(manifest.code_digest(compile('def f(x): return x in {1, \"a\", \"b\", 2.0}', 'x', 'exec')))"
    )
    assert finish(start(program)) == finish(start(program))
