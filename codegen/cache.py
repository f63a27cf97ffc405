"""The disk cache: machine code, kernel sources and traces that outlive the process.

In: a key (a hex digest of everything that an entry depends on) and bytes. Out: the same bytes, in a later
process, or None. Nothing here knows what the bytes mean; `build` stores machine code, `manifest` stores
traces.

    <root>/source/<name>_<digest>.py     kernels as readable Python, for tracebacks, debuggers and `.source()`
    <root>/code/<key>.bin                machine code
    <root>/trace/<key>.bin               what tracing found out

An entry is a header (magic, format version, kind and key, payload length, SHA-256 of the payload) and the
payload. An entry is used only if all of that is right: a torn, truncated, foreign or corrupted one is a miss,
and is removed. Entries are written to a temporary file of the same folder and renamed over, so a reader sees
an old entry, a new one or none; several processes may store the same key at once, and the last one wins with
the same contents.

Nothing here raises because of the file system. Where the folder cannot be written, nothing is stored and
kernel sources go to a temporary folder of the process; where it cannot be read, everything is a miss.

Security: an entry holds machine code, so who can write the folder can run code as whoever reads it. The
checksum finds damage, not malice. The folder is therefore made with mode 0700 and, on POSIX, one that belongs
to another user or that others may write is not used (a `RuntimeWarning` says so).

`ADJIT_CACHE_DIR` names another folder, `ADJIT_CACHE_SIZE` the limit in MiB (default 512; least recently used
entries go first), `ADJIT_CACHE_DIR=` (empty) switches the disk cache off.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import stat
import struct
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

__all__ = ["CacheInfo", "clear", "digest", "info", "load", "prune", "remove", "root", "source_file", "store"]

_MAGIC = b"ADJIT\x00\x01\n"  # the byte before the newline is the format version
_HEADER = struct.Struct("<8s16s64sQ32s")  # magic, kind, key, payload length, SHA-256 of the payload
_KINDS = ("code", "trace")
_DEFAULT_LIMIT = 512  # MiB
_TEMPORARY = ".tmp-"
_STORES_BETWEEN_PRUNES = 64
_STALE_TEMPORARY = 3600.0  # seconds after which a writer's temporary file is taken for abandoned

_lock = threading.Lock()
_checked: dict[str, bool] = {}  # folder -> may be used
_stores = 0
_process_folder: Path | None = None


@dataclass(frozen=True)
class CacheInfo:
    """What the cache holds: `entries` counts machine code, traces and sources; `size` is in bytes."""

    folder: Path | None
    entries: dict[str, int]
    size: int
    limit: int


def digest(*parts: str | bytes) -> str:
    """A key made of `parts`, in which no two different sequences of parts look alike.

    >>> digest("ab", "c") == digest("a", "bc")
    False
    """
    hasher = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(8, "little"))
        hasher.update(data)
    return hasher.hexdigest()


def root() -> Path | None:
    """The cache's folder, made if need be; None where there is none to be used (off, not writable *and* not
    there, or not private)."""
    named = os.environ.get("ADJIT_CACHE_DIR")
    if named is not None and not named.strip():
        return None
    folder = Path(named).expanduser() if named else Path(platformdirs.user_cache_dir("adjit", appauthor=False))
    text = str(folder)
    usable = _checked.get(text)
    if usable is None or (usable and not folder.is_dir()):  # removed by someone since: make it again
        usable = _checked[text] = _prepare(folder)
    return folder if usable else None


def _prepare(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return False
    if os.name == "posix":
        foreign = status.st_uid not in (os.getuid(), 0)
        if foreign or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            whose = "belongs to another user" if foreign else "can be written by others"
            warnings.warn(
                f"adjit does not use its cache folder {folder}, since it {whose}: "
                "compiled code is kept there. "
                "Make it private (chmod 700) or set ADJIT_CACHE_DIR to a folder of your own.",
                RuntimeWarning,
                stacklevel=2,
            )
            return False
    return True


def limit() -> int:
    """The size limit in bytes."""
    try:
        mebibytes = float(os.environ.get("ADJIT_CACHE_SIZE", _DEFAULT_LIMIT))
    except ValueError:
        mebibytes = _DEFAULT_LIMIT
    return int(max(mebibytes, 0.0) * 2**20)


def _entry_path(kind: str, key: str) -> Path | None:
    if kind not in _KINDS or len(key) != 64:
        raise ValueError(f"not a cache entry: {kind!r}, {key!r}")
    folder = root()
    return None if folder is None else folder / kind / f"{key}.bin"


def load(kind: str, key: str) -> bytes | None:
    """The payload stored under `key` (as `digest` makes them) among entries of `kind`; None if there is none
    or it is damaged. The payload's checksum has been verified before it is returned."""
    path = _entry_path(kind, key)
    if path is None:
        return None
    try:
        data = path.read_bytes()
    except OSError:
        return None
    payload = _unwrap(kind, key, data)
    if payload is None:
        remove(kind, key)
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # recently used: pruned last
    return payload


def _unwrap(kind: str, key: str, data: bytes) -> bytes | None:
    if len(data) < _HEADER.size:
        return None
    magic, kind_field, key_field, length, checksum = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    expected = (_MAGIC, kind.encode().ljust(16, b"\x00"), key.encode(), len(payload))
    if (magic, kind_field, key_field, length) != expected or hashlib.sha256(payload).digest() != checksum:
        return None
    return payload


def store(kind: str, key: str, payload: bytes) -> bool:
    """Keep `payload` under `key` for later processes; False where that was not possible (never an
    exception)."""
    global _stores
    path = _entry_path(kind, key)
    if path is None:
        return False
    header = _HEADER.pack(_MAGIC, kind.encode(), key.encode(), len(payload), hashlib.sha256(payload).digest())
    if not _write(path, header + payload):
        return False
    with _lock:
        due = _stores % _STORES_BETWEEN_PRUNES == 0
        _stores += 1
    if due:
        prune()
    return True


def remove(kind: str, key: str) -> None:
    """Forget one entry (because its contents turned out to be unusable)."""
    path = _entry_path(kind, key)
    if path is not None:
        with contextlib.suppress(OSError):
            path.unlink()


def _write(path: Path, data: bytes) -> bool:
    """Write a whole file or nothing: a temporary file of the same folder, renamed over `path`."""
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except OSError:  # no space, read-only, or (Windows) the file is open elsewhere, hence there already
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        return False
    return True


def source_file(name: str, text: str) -> Path | None:
    """A file that holds exactly `text`, named after `name` and the text's digest; written if it is not there
    yet.

    In the cache folder, else in a temporary folder of this process; None where neither can be written.
    """
    readable = "".join(c if c.isalnum() or c == "_" else "_" for c in name)[:60]
    file = f"{readable}_{digest(text)[:16]}.py"
    data = text.encode("utf-8", "surrogatepass")
    folder = root()
    for parent in (None if folder is None else folder / "source", _temporary_folder()):
        if parent is None:
            continue
        path = parent / file
        try:
            present = path.read_bytes() == data
        except OSError:
            present = False
        if present or _write(path, data):
            return path
    return None


def _temporary_folder() -> Path | None:
    global _process_folder
    with _lock:
        if _process_folder is None:
            try:
                made = Path(tempfile.mkdtemp(prefix="adjit-"))
            except OSError:
                return None
            atexit.register(_remove_own, made, os.getpid())
            _process_folder = made
        return _process_folder


def _remove_own(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not in a forked child: the parent still shows its sources from there
        shutil.rmtree(folder, ignore_errors=True)


def _files() -> Iterator[tuple[Path, os.stat_result]]:
    folder = root()
    for kind in (*_KINDS, "source") if folder is not None else ():
        assert folder is not None
        with contextlib.suppress(OSError), os.scandir(folder / kind) as found:
            for item in found:
                with contextlib.suppress(OSError):
                    if item.is_file(follow_symlinks=False):
                        yield Path(item.path), item.stat(follow_symlinks=False)


def info() -> CacheInfo:
    """What the cache holds now."""
    entries = dict.fromkeys((*_KINDS, "source"), 0)
    size = 0
    for path, status in _files():
        if not path.name.startswith(_TEMPORARY):
            entries[path.parent.name] += 1
        size += status.st_size
    return CacheInfo(root(), entries, size, limit())


def prune(limit_bytes: int | None = None) -> int:
    """Remove least recently used files until the cache is within its limit; the number of files removed.

    A kernel whose files vanish while a process uses it goes on working, as it lives in memory.
    """
    allowed = limit() if limit_bytes is None else limit_bytes
    now = time.time()
    files = []
    removed = 0
    for path, status in _files():
        if not path.name.startswith(_TEMPORARY):
            files.append((status.st_mtime, status.st_size, path))
        elif now - status.st_mtime > _STALE_TEMPORARY:
            removed += _unlink(path)
    size = sum(entry[1] for entry in files)
    for _, bytes_, path in sorted(files, key=lambda entry: entry[0]):
        if size <= allowed:
            break
        if _unlink(path):
            removed += 1
            size -= bytes_
    return removed


def clear() -> int:
    """Remove everything the cache holds; the number of files removed. Files that are not adjit's stay."""
    return sum(_unlink(path) for path, _ in _files())


def _unlink(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True
