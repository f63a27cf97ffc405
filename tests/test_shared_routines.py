"""Library routines are compiled once, and shared by kernels and processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adjit.codegen import cache

SCRIPT = """
import sys
import numpy as np
from adjit import grad, jit
from adjit.codegen import build
from adjit.codegen.llvm import routines

made = []
compile_routine = routines.compiled
routines.compiled = lambda descriptor, name: (made.append(name), compile_routine(descriptor, name))[1]

def trace_of_factor(a):
    return np.sum(np.diag(np.linalg.cholesky(a)))

def log_determinant(a):
    return 2.0 * np.sum(np.log(np.diag(np.linalg.cholesky(a))))

a = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])
for name in sys.argv[1:]:
    if name == "trace":
        assert np.isclose(jit(trace_of_factor)(a), np.trace(np.linalg.cholesky(a)), rtol=1e-12)
    else:
        inverse = np.linalg.inv(a)  # of a symmetric matrix, of which only the lower triangle is read
        assert np.allclose(grad(log_determinant)(a), 2.0 * np.tril(inverse) - np.diag(np.diag(inverse)), rtol=1e-10)
print(build.stats.compiled, build.stats.loaded_from_cache, *made)
"""


def run(folder: Path, *programs: str) -> list[str]:
    environment = {**os.environ, "ADJIT_CACHE_DIR": str(folder), "ADJIT_BACKEND": ""}
    done = subprocess.run(
        [sys.executable, str(folder / "script.py"), *programs], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


@pytest.mark.slow
def test_routines_are_compiled_once_and_found_on_the_disk(folder: Path) -> None:
    assert run(folder, "trace") == ["1", "0", "cholesky_factor"]
    assert run(folder, "gradient", "trace") == ["1", "1", "solve_triangular"]  # the factorization is known
    assert run(folder, "gradient", "trace") == ["0", "2"]


@pytest.mark.daily(1)
@pytest.mark.parametrize("damage", ["removed", "torn", "nonsense"])
def test_a_kernel_whose_routine_is_gone_is_compiled_again(
    folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(folder, "trace")
    entries = sorted((folder / "code").glob("*.bin"))
    assert len(entries) == 3  # the kernel, the routine, the memory pool
    (routine,) = (e for e in entries if not any(x in e.read_bytes() for x in (b"adjit_kernel_", b"adjit_memory_clear")))
    if damage == "removed":
        routine.unlink()
    elif damage == "torn":
        routine.write_bytes(routine.read_bytes()[:1000])
    else:
        monkeypatch.setenv("ADJIT_CACHE_DIR", str(folder))
        assert cache.store("code", routine.stem, b"nonsense" * 20)
    assert run(folder, "trace") == ["1", "0", "cholesky_factor"]
    assert run(folder, "trace") == ["0", "1"]
