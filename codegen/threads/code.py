"""The pool of threads as LLVM text.

In: nothing. Out: `native_text()`, a module with the functions that `codegen.threads` tells of, the worker's loop, and
what `process` tells the pool.

Idle workers look for work a short while, letting others have the processor now and then, and sleep on a lock of
Python's. Sleepers are woken for work that pays it; smaller pieces go to those who are awake. One word, `state`, holds
whether a job can be joined, how many workers have joined it, and its number: a worker joins by one atomic operation or
not at all, so that a caller waits for those who are at work, never for a sleeper.
"""

from __future__ import annotations

import platform
import sys

from . import placing

__all__ = ["BACKWARD", "FORWARD", "IN_ORDER", "LIMIT", "native_text"]

LIMIT = 256
"""The most threads of a pool."""
IN_ORDER, FORWARD, BACKWARD = 0, 1, 2
"""In which order chunks are begun, and by whom (`codegen.threads`)."""
NATIVE = """
@state = private global i64 0, align 64      ; bits 0-15: workers that joined; 16: may be joined; 17-: its number
@next = private global [LIMIT x [8 x i64]] zeroinitializer, align 64   ; chunks begun of the part of each thread
@stop = private global i64 0, align 64       ; no chunk from here on is begun
@busy = private global i64 0, align 64
@quit = private global i64 0, align 64
@task = private global ptr null, align 64    ; what follows describes the job, and changes while nobody is in it
@context = private global ptr null
@chunks = private global i64 0
@order = private global i64 0
@members = private global i64 0
@count = private global i64 1, align 64      ; threads there are, the caller included
@known = private global i64 0                ; the most threads that were asked for
@every = private global i64 1                ; what 0 threads mean
@missed = private global i64 0               ; nanoseconds of work since sleepers were last woken that they were not for
@parked = private global [LIMIT x [8 x i64]] zeroinitializer, align 64
@locks = private global [LIMIT x ptr] zeroinitializer
PLACING
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

define void @adjit_threads_run(ptr %task, ptr %context, i64 %chunks, i64 %threads, i64 %order) {
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
  store i64 %order, ptr @order
  store i64 %threads, ptr @members
  store atomic i64 %chunks, ptr @stop monotonic, align 64
  br label %reset
reset:
  %r = phi i64 [ 0, %open ], [ %r1, %reset ]
  %begun = getelementptr [LIMIT x [8 x i64]], ptr @next, i64 0, i64 %r, i64 0
  store atomic i64 0, ptr %begun monotonic, align 64
  %r1 = add i64 %r, 1
  %resets = icmp slt i64 %r1, %threads
  br i1 %resets, label %reset, label %ready
ready:
  TELL_PLACE
  %old = load atomic i64, ptr @state monotonic, align 64
  %number = lshr i64 %old, 17
  %increased = add i64 %number, 1
  %shifted = shl i64 %increased, 17
  %new = or i64 %shifted, 65536
  store atomic i64 %new, ptr @state seq_cst, align 64
  br label %wake
wake:
  %w = phi i64 [ 1, %ready ], [ %w1, %waked ]
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
  KEEP_AWAY
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
  %order = load i64, ptr @order
  %members = load i64, ptr @members
  %shared = icmp eq i64 %order, IN_ORDER
  %parts = select i1 %shared, i64 1, i64 %members      ; one part is everybody's
  %mirrored = icmp eq i64 %order, BACKWARD
  br label %part
part:                                          ; its own, then those of the threads after it
  %k = phi i64 [ 0, %0 ], [ %k1, %next_part ]
  %more_parts = icmp slt i64 %k, %parts
  br i1 %more_parts, label %begin_part, label %done
begin_part:
  %sum = add i64 %thread, %k
  %owner = urem i64 %sum, %parts
  %from_end = sub i64 %parts, %owner
  %before_end = sub i64 %from_end, 1
  %place = select i1 %mirrored, i64 %before_end, i64 %owner
  %place1 = add i64 %place, 1
  %scaled = mul i64 %place, %chunks
  %scaled1 = mul i64 %place1, %chunks
  %first = udiv i64 %scaled, %parts
  %end = udiv i64 %scaled1, %parts
  %begun = getelementptr [LIMIT x [8 x i64]], ptr @next, i64 0, i64 %owner, i64 0
  br label %begin
begin:
  %number = atomicrmw add ptr %begun, i64 1 monotonic
  %chunk = add i64 %first, %number
  %more = icmp slt i64 %chunk, %end
  br i1 %more, label %look, label %next_part
look:
  %stop = load atomic i64, ptr @stop monotonic, align 64
  %wanted = icmp slt i64 %chunk, %stop
  br i1 %wanted, label %run, label %next_part
run:
  %failed = call i64 %task(ptr %context, i64 %chunk, i64 %thread)
  %fine = icmp eq i64 %failed, 0
  br i1 %fine, label %begin, label %fails
fails:
  %earlier = atomicrmw min ptr @stop, i64 %chunk monotonic
  br label %next_part
next_part:
  %k1 = add i64 %k, 1
  br label %part
done:
  ret void
}

define void @worker(i64 %me) {
  %place = getelementptr [LIMIT x [8 x i64]], ptr @parked, i64 0, i64 %me, i64 0
  %held = getelementptr [LIMIT x ptr], ptr @locks, i64 0, i64 %me
  INTRODUCE
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
  MAKE_ROOM
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
  FORGET
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
    words: dict[str, object] = {"PLACING": placing.TEXT, **placing.HOOKS, "DECLARE_PAUSE": declare, "PAUSE": pause}
    words |= {"LIMIT": LIMIT, "POINTERS": 8 * LIMIT, "IN_ORDER": IN_ORDER, "BACKWARD": BACKWARD}
    words |= {"SPINS": SPINS, "OTHERS": OTHERS, "LARGE": LARGE, "OFTEN": OFTEN}
    words["YIELD"] = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
    text = NATIVE
    for word, value in words.items():
        text = text.replace(word, str(value))
    return text
