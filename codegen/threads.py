"""The pool of threads that kernels with `parallel` run their loops on.

In: nothing, or the number of threads that is wanted. Out: four functions under names that machine code links to.

    i64 adjit_threads_acquire(i64 wanted, i64 work)     take the pool (0: all threads) for so many nanoseconds of work;
                                                        how many threads, the caller included
    void adjit_threads_run(task, context, i64 chunks, i64 threads)      run the task on every chunk, give the pool back
    void adjit_threads_release()                 give the pool back unused
    void adjit_threads_wait(word)                in a task: wait until another chunk, begun before, has set a word

A task is `i64 (context, chunk, thread)`; where it gives another number than 0, no further chunks are begun. Chunks are
begun in order, each once. The caller works too, as thread 0. Who finds the pool taken (another Python thread runs
there) gets one thread, its own, and does all chunks itself, which gives the same results, since what a chunk is does
not depend on threads.

Workers are Python's threads that have entered native code and stay there, without the interpreter's lock: that works
wherever Python has threads, and needs no C compiler. Idle, they look for work a short while, letting others have the
processor now and then, and sleep on a lock of Python's. Sleepers are woken for work that pays it; smaller pieces go to
those who are awake. They are started when a kernel first asks for them, never at import; a forked child starts with
none and makes its own; at exit they are sent home. One word, `state`, holds whether a job can be joined, how many
workers have joined it, and its number: a worker joins by one atomic operation or not at all, so that a caller waits for
those who are at work, never for a sleeper.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import os
import platform
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable
from typing import Any

__all__ = ["LIMIT", "SYMBOLS", "available", "register_symbols", "started"]

LIMIT = 256
"""The most threads of a pool."""
SYMBOLS = frozenset(f"adjit_threads_{name}" for name in ("acquire", "run", "release", "wait"))

NATIVE = """
@state = private global i64 0, align 64      ; bits 0-15: workers that joined; 16: may be joined; 17-: its number
@next = private global i64 0, align 64       ; the chunk to begin next
@busy = private global i64 0, align 64
@quit = private global i64 0, align 64
@task = private global ptr null, align 64    ; what follows describes the job, and changes while nobody is in it
@context = private global ptr null
@chunks = private global i64 0
@members = private global i64 0
@count = private global i64 1, align 64      ; threads there are, the caller included
@known = private global i64 0                ; the most threads that were asked for
@every = private global i64 1                ; what 0 threads mean
@missed = private global i64 0               ; nanoseconds of work since sleepers were last woken that they were not for
@parked = private global [LIMIT x [8 x i64]] zeroinitializer, align 64
@locks = private global [LIMIT x ptr] zeroinitializer

declare i32 @PyThread_acquire_lock(ptr, i32)
declare void @PyThread_release_lock(ptr)
declare void @adjit_threads_start(i64)
declare i32 @YIELD()
DECLARE_PAUSE

define i64 @adjit_threads_acquire(i64 %wanted, i64 %work) {
  %try = cmpxchg ptr @busy, i64 0, i64 1 acquire monotonic
  %mine = extractvalue { i64, i1 } %try, 1
  br i1 %mine, label %taken, label %alone
taken:
  %all = icmp eq i64 %wanted, 0
  %every = load i64, ptr @every
  %limit = select i1 %all, i64 %every, i64 %wanted
  %before = load i64, ptr @missed
  %missed = add i64 %before, %work
  %large = icmp sge i64 %work, LARGE
  %often = icmp sge i64 %missed, OFTEN
  %rouse = or i1 %large, %often
  br i1 %rouse, label %sleepers, label %awake
sleepers:
  store i64 0, ptr @missed
  %known = load i64, ptr @known
  %least = call i64 @llvm.smax.i64(i64 %wanted, i64 1)
  %enough = icmp sge i64 %known, %least
  br i1 %enough, label %there, label %start
start:
  call void @adjit_threads_start(i64 %wanted)
  br label %there
there:
  %now = load i64, ptr @every
  %most = select i1 %all, i64 %now, i64 %wanted
  %count = load i64, ptr @count
  %threads = call i64 @llvm.smin.i64(i64 %most, i64 %count)
  br label %found
awake:                                         ; those before the first who sleeps
  %there_are = load i64, ptr @count
  %end = call i64 @llvm.smin.i64(i64 %limit, i64 %there_are)
  br label %next
next:
  %k = phi i64 [ 1, %awake ], [ %k1, %look ]
  %more = icmp slt i64 %k, %end
  br i1 %more, label %ask, label %few
ask:
  %place = getelementptr [LIMIT x [8 x i64]], ptr @parked, i64 0, i64 %k, i64 0
  %parked = load atomic i64, ptr %place monotonic, align 64
  %sleeps = icmp ne i64 %parked, 0
  br i1 %sleeps, label %few, label %look
look:
  %k1 = add i64 %k, 1
  br label %next
few:
  %some = icmp sgt i64 %k, 1
  %kept = select i1 %some, i64 %before, i64 %missed
  store i64 %kept, ptr @missed
  br label %found
found:
  %given = phi i64 [ %threads, %there ], [ %k, %few ]
  %several = icmp sgt i64 %given, 1
  br i1 %several, label %give, label %back
give:
  ret i64 %given
back:
  store atomic i64 0, ptr @busy release, align 64
  br label %alone
alone:
  ret i64 1
}

define void @adjit_threads_release() {
  store atomic i64 0, ptr @busy release, align 64
  ret void
}

define void @adjit_threads_wait(ptr %word) {
  br label %look
look:
  %turn = phi i64 [ 0, %0 ], [ %turn1, %relax ], [ %turn1, %yield ]
  %now = load atomic i64, ptr %word acquire, align 8
  %set = icmp ne i64 %now, 0
  br i1 %set, label %done, label %spin
spin:
  %turn1 = add i64 %turn, 1
  %some = and i64 %turn1, OTHERS
  %long = icmp eq i64 %some, 0
  br i1 %long, label %yield, label %relax
yield:
  %ignored = call i32 @YIELD()
  br label %look
relax:
  PAUSE
  br label %look
done:
  ret void
}

define void @adjit_threads_run(ptr %task, ptr %context, i64 %chunks, i64 %threads) {
  %alone = icmp sle i64 %threads, 1
  br i1 %alone, label %serial, label %open
serial:
  %c = phi i64 [ 0, %0 ], [ %following, %again ]
  %more = icmp slt i64 %c, %chunks
  br i1 %more, label %again, label %done
again:
  %failed = call i64 %task(ptr %context, i64 %c, i64 0)
  %following = add i64 %c, 1
  %fine = icmp eq i64 %failed, 0
  br i1 %fine, label %serial, label %done
done:
  ret void
open:
  store ptr %task, ptr @task
  store ptr %context, ptr @context
  store i64 %chunks, ptr @chunks
  store i64 %threads, ptr @members
  store atomic i64 0, ptr @next monotonic, align 64
  %old = load atomic i64, ptr @state monotonic, align 64
  %number = lshr i64 %old, 17
  %increased = add i64 %number, 1
  %shifted = shl i64 %increased, 17
  %new = or i64 %shifted, 65536
  store atomic i64 %new, ptr @state seq_cst, align 64
  br label %wake
wake:
  %w = phi i64 [ 1, %open ], [ %w1, %waked ]
  %wakes = icmp slt i64 %w, %threads
  br i1 %wakes, label %look, label %work
look:
  call void @wake(i64 %w)
  br label %waked
waked:
  %w1 = add i64 %w, 1
  br label %wake
work:
  call void @work(i64 0)
  %closed = atomicrmw and ptr @state, i64 -65537 acq_rel
  br label %wait
wait:
  %turn = phi i64 [ 0, %work ], [ %turn1, %still ]
  %now = load atomic i64, ptr @state acquire, align 64
  %joined = and i64 %now, 65535
  %left = icmp eq i64 %joined, 0
  br i1 %left, label %finish, label %spin
spin:
  %turn1 = add i64 %turn, 1
  %some = and i64 %turn1, OTHERS
  %long = icmp eq i64 %some, 0
  br i1 %long, label %yield, label %relax
yield:
  %ignored = call i32 @YIELD()
  br label %still
relax:
  PAUSE
  br label %still
still:
  br label %wait
finish:
  store atomic i64 0, ptr @busy release, align 64
  ret void
}

define private void @wake(i64 %k) {
  %place = getelementptr [LIMIT x [8 x i64]], ptr @parked, i64 0, i64 %k, i64 0
  %was = atomicrmw xchg ptr %place, i64 0 seq_cst
  %sleeps = icmp eq i64 %was, 1
  br i1 %sleeps, label %release, label %done
release:
  %held = getelementptr [LIMIT x ptr], ptr @locks, i64 0, i64 %k
  %lock = load ptr, ptr %held
  call void @PyThread_release_lock(ptr %lock)
  br label %done
done:
  ret void
}

define private void @work(i64 %thread) {
  %task = load ptr, ptr @task
  %context = load ptr, ptr @context
  %chunks = load i64, ptr @chunks
  br label %begin
begin:
  %chunk = atomicrmw add ptr @next, i64 1 monotonic
  %more = icmp slt i64 %chunk, %chunks
  br i1 %more, label %run, label %done
run:
  %failed = call i64 %task(ptr %context, i64 %chunk, i64 %thread)
  %fine = icmp eq i64 %failed, 0
  br i1 %fine, label %begin, label %stop
stop:
  store atomic i64 4611686018427387904, ptr @next monotonic, align 64
  br label %done
done:
  ret void
}

define void @worker(i64 %me) {
  %place = getelementptr [LIMIT x [8 x i64]], ptr @parked, i64 0, i64 %me, i64 0
  %held = getelementptr [LIMIT x ptr], ptr @locks, i64 0, i64 %me
  br label %poll
poll:
  %seen = phi i64 [ 0, %0 ], [ %seen, %relax ], [ %seen, %others ], [ %number, %skip ], [ %seen, %join ],
                  [ %number, %joined ], [ %seen, %park ], [ %seen, %sleep ]
  %spins = phi i64 [ 0, %0 ], [ %spins1, %relax ], [ %spins1, %others ], [ 0, %skip ], [ %spins, %join ],
                   [ 0, %joined ], [ 0, %park ], [ 0, %sleep ]
  %quit = load atomic i64, ptr @quit monotonic, align 64
  %stay = icmp eq i64 %quit, 0
  br i1 %stay, label %look, label %home
look:
  %state = load atomic i64, ptr @state seq_cst, align 64
  %number = lshr i64 %state, 17
  %flag = and i64 %state, 65536
  %open = icmp ne i64 %flag, 0
  %fresh = icmp ne i64 %number, %seen
  %job = and i1 %open, %fresh
  br i1 %job, label %offer, label %idle
offer:
  %members = load atomic i64, ptr @members monotonic, align 8
  %invited = icmp slt i64 %me, %members
  br i1 %invited, label %join, label %skip
skip:
  br label %poll
join:
  %with = add i64 %state, 1
  %try = cmpxchg ptr @state, i64 %state, i64 %with acq_rel monotonic
  %inside = extractvalue { i64, i1 } %try, 1
  br i1 %inside, label %joined, label %poll
joined:
  call void @work(i64 %me)
  %ended = atomicrmw sub ptr @state, i64 1 acq_rel
  br label %poll
idle:
  %spins1 = add i64 %spins, 1
  %tired = icmp sgt i64 %spins1, SPINS
  br i1 %tired, label %tires, label %relax
relax:
  PAUSE
  %some = and i64 %spins1, OTHERS
  %pass = icmp eq i64 %some, 0
  br i1 %pass, label %others, label %poll
others:                                        ; the caller may be waiting for this processor
  %ignored = call i32 @YIELD()
  br label %poll
tires:
  %before = atomicrmw xchg ptr %place, i64 1 seq_cst
  %last = load atomic i64, ptr @state seq_cst, align 64
  %last_number = lshr i64 %last, 17
  %last_flag = and i64 %last, 65536
  %last_open = icmp ne i64 %last_flag, 0
  %last_fresh = icmp ne i64 %last_number, %seen
  %last_job = and i1 %last_open, %last_fresh
  %last_quit = load atomic i64, ptr @quit seq_cst, align 64
  %quits = icmp ne i64 %last_quit, 0
  %awake = or i1 %last_job, %quits
  br i1 %awake, label %park, label %sleep
park:                                          ; who was not woken meanwhile goes on; who was has a lock to take
  %mine = atomicrmw xchg ptr %place, i64 0 seq_cst
  %unwoken = icmp eq i64 %mine, 1
  br i1 %unwoken, label %poll, label %sleep
sleep:
  %lock = load ptr, ptr %held
  %got = call i32 @PyThread_acquire_lock(ptr %lock, i32 1)
  br label %poll
home:
  ret void
}

define void @started(i64 %count, i64 %known, i64 %every) {
  store i64 %every, ptr @every
  store i64 %known, ptr @known
  store i64 %count, ptr @count
  ret void
}

define void @lock_of(i64 %k, ptr %lock) {
  %held = getelementptr [LIMIT x ptr], ptr @locks, i64 0, i64 %k
  store ptr %lock, ptr %held
  %place = getelementptr [LIMIT x [8 x i64]], ptr @parked, i64 0, i64 %k, i64 0
  store i64 0, ptr %place
  ret void
}

define void @forget() {
  store i64 0, ptr @state
  store i64 0, ptr @busy
  store i64 0, ptr @quit
  store i64 1, ptr @count
  store i64 0, ptr @known
  store i64 0, ptr @missed
  ret void
}

define void @dismiss(i64 %count) {
  store atomic i64 1, ptr @quit seq_cst, align 64
  br label %each
each:
  %k = phi i64 [ 1, %0 ], [ %k1, %one ]
  %more = icmp slt i64 %k, %count
  br i1 %more, label %one, label %done
one:
  call void @wake(i64 %k)
  %k1 = add i64 %k, 1
  br label %each
done:
  ret void
}

declare i64 @llvm.smax.i64(i64, i64)
declare i64 @llvm.smin.i64(i64, i64)
"""
SPINS = 8000
"""How often an idle thread looks before it sleeps: one or two hundred microseconds. There is less between the loops of
one program, and waking takes up to a hundred where the sleeper's processor has gone to sleep with it."""
OTHERS = 63
"""It lets others have the processor each time that this many and one have gone by."""
LARGE = 100_000
"""Nanoseconds of work that sleeping threads are woken for: waking costs the caller up to twenty microseconds."""
OFTEN = 400_000
"""Nanoseconds of smaller pieces of work after which they are woken all the same: where one piece follows the other,
threads stay awake from then on; where not, little is lost."""


def native_text() -> str:
    """The LLVM text of the pool for this machine."""
    machine = platform.machine().lower()
    pause = declare = ""
    if machine in ("x86_64", "amd64", "i686", "x86"):
        declare, pause = "declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"
    elif machine in ("aarch64", "arm64"):
        declare, pause = "declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)"
    words = {"DECLARE_PAUSE": declare, "PAUSE": pause, "LIMIT": str(LIMIT), "SPINS": str(SPINS)}
    words |= {"OTHERS": str(OTHERS), "LARGE": str(LARGE), "OFTEN": str(OFTEN)}
    words["YIELD"] = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    text = NATIVE
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def available() -> int:
    """How many threads `parallel=True` means: ADJIT_NUM_THREADS, or the processors that this process may use."""
    wanted = os.environ.get("ADJIT_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return min(int(wanted), LIMIT)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, LIMIT)


class Pool:
    """The native pool of this process, and the threads in it. There is one (`pool`)."""

    def __init__(self) -> None:
        llvm = importlib.import_module("llvmlite.binding")
        importlib.import_module("numba.core.codegen")  # it prepares LLVM for this machine
        self.locks: list[int] = []
        self.homes: list[threading.Event] = []
        api = ctypes.pythonapi
        self.allocate_lock, self.acquire_lock = api.PyThread_allocate_lock, api.PyThread_acquire_lock
        self.allocate_lock.restype = ctypes.c_void_p
        self.acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.start)
        for name in ("PyThread_acquire_lock", "PyThread_release_lock"):
            llvm.add_symbol(name, address_of(getattr(api, name)))
        llvm.add_symbol("adjit_threads_start", address_of(self.callback))
        if sys.platform == "win32":
            llvm.add_symbol("SwitchToThread", address_of(ctypes.WinDLL("kernel32").SwitchToThread))
        module = llvm.parse_assembly(native_text())
        module.verify()
        self.engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
        self.engine.finalize_object()
        # threads may be in this code when the interpreter takes its modules apart: it stays for ever
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.engine))
        for name in SYMBOLS:
            llvm.add_symbol(name, self.engine.get_function_address(name))
        word = ctypes.c_int64
        self.worker = self.function("worker", word)
        self.tell_started = self.function("started", word, word, word)
        self.tell_lock = self.function("lock_of", word, ctypes.c_void_p)
        self.tell_forked = self.function("forget")
        self.tell_dismissed = self.function("dismiss", word)
        self.closed = False
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forked)

    def function(self, name: str, *arguments: Any) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(None, *arguments)(self.engine.get_function_address(name))

    def start(self, wanted: int) -> None:
        """Called by the kernel that has taken the pool: let there be that many threads, as far as possible."""
        every = available()
        target = min(wanted or every, LIMIT)
        try:
            while not self.closed and len(self.homes) + 1 < target:
                self.start_one(len(self.homes) + 1)
        except RuntimeError:  # no more threads to be had
            pass
        self.tell_started(len(self.homes) + 1, max(wanted, 1), every)

    def start_one(self, number: int) -> None:
        lock = self.allocate_lock()
        if not lock:
            raise RuntimeError("no lock")
        self.acquire_lock(lock, 1)
        self.tell_lock(number, lock)
        home = threading.Event()
        start_new_thread(self.live, (number, home))
        self.homes.append(home)

    def live(self, number: int, home: threading.Event) -> None:
        self.worker(number)
        home.set()

    def forked(self) -> None:
        """In a child there are no threads but the one that forked."""
        self.homes = []
        self.tell_forked()

    def close(self) -> None:
        """At exit: send the workers home, while there is an interpreter to go home to."""
        self.closed = True
        self.tell_dismissed(len(self.homes) + 1)
        for home in self.homes:
            home.wait(1.0)
        self.homes = []
        self.tell_started(1, LIMIT, 1)


def address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def pool() -> Pool:
    return Pool()


def register_symbols() -> None:
    """Tell LLVM the addresses of the pool's functions."""
    pool()


def started() -> int:
    """How many workers the pool has started in this process."""
    return len(pool().homes)
