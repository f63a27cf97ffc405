"""Where workers run: not on the processor of the thread that has the pool.

In: nothing. Out: LLVM text for the pool's module (`code`), on Linux; nothing elsewhere.

Linux likes to put a thread that is woken or started on the processor of whoever did that, be others idle or not, and
the thread that is at work there makes no room for milliseconds: the pool would be one thread at a time. So the thread
that opens a job notes where it runs. A sleeper is told before it is woken that it must not run there, a worker that
finds itself there leaves. Where there is no other processor the system refuses, and things stay as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from ctypes import c_int64

__all__ = ["HOOKS", "TEXT", "allow_processors"]

LINUX = sys.platform == "linux"
WORDS = 16
"""Of 64 bits: as many processors as the C library's sets have room for."""
TEXT = """
@threads = private global [LIMIT x ptr] zeroinitializer      ; of workers
@away = private global [LIMIT x i64] zeroinitializer         ; the processor that they do not run on, and one
@caller = private global i32 -1                              ; where the thread is that has the pool
@allowed = private global [WORDS x i64] zeroinitializer      ; bits: the processors that there are for them

declare i32 @sched_getcpu()
declare ptr @pthread_self()
declare i32 @pthread_setaffinity_np(ptr, i64, ptr)

define void @allow(i64 %word, i64 %bits) {
  %place = getelementptr [WORDS x i64], ptr @allowed, i64 0, i64 %word
  store i64 %bits, ptr %place
  ret void
}

define private void @tell_place() {
  %here = call i32 @sched_getcpu()
  store i32 %here, ptr @caller
  ret void
}

define private void @make_room(i64 %me) {
  %here = call i32 @sched_getcpu()
  %caller = load i32, ptr @caller
  %together = icmp eq i32 %here, %caller
  br i1 %together, label %leave, label %done
leave:
  call void @keep_away(i64 %me)
  br label %done
done:
  ret void
}

define private void @keep_away(i64 %k) {
  %place = getelementptr [LIMIT x ptr], ptr @threads, i64 0, i64 %k
  %thread = load ptr, ptr %place
  %unknown = icmp eq ptr %thread, null
  br i1 %unknown, label %done, label %known
known:
  %here = load i32, ptr @caller
  %cpu = zext i32 %here to i64
  %there_is = icmp ult i64 %cpu, BITS
  br i1 %there_is, label %look, label %done
look:
  %mark = add i64 %cpu, 1
  %held = getelementptr [LIMIT x i64], ptr @away, i64 0, i64 %k
  %last = load i64, ptr %held
  %same = icmp eq i64 %last, %mark
  br i1 %same, label %done, label %change
change:
  store i64 %mark, ptr %held
  %set = alloca [WORDS x i64], align 8
  call void @llvm.memcpy.p0.p0.i64(ptr %set, ptr @allowed, i64 BYTES, i1 false)
  %word = lshr i64 %cpu, 6
  %bit = and i64 %cpu, 63
  %one = shl i64 1, %bit
  %rest = xor i64 %one, -1
  %target = getelementptr [WORDS x i64], ptr %set, i64 0, i64 %word
  %bits = load i64, ptr %target
  %others = and i64 %bits, %rest
  store i64 %others, ptr %target
  %ignored = call i32 @pthread_setaffinity_np(ptr %thread, i64 BYTES, ptr %set)
  br label %done
done:
  ret void
}

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
HOOKS = {
    "TELL_PLACE": "call void @tell_place()",
    "KEEP_AWAY": "call void @keep_away(i64 %k)",
    "MAKE_ROOM": "call void @make_room(i64 %me)",
    "INTRODUCE": """%self = call ptr @pthread_self()
  %mine_at = getelementptr [LIMIT x ptr], ptr @threads, i64 0, i64 %me
  store ptr %self, ptr %mine_at""",
    "FORGET": """call void @llvm.memset.p0.i64(ptr @threads, i8 0, i64 POINTERS, i1 false)
  call void @llvm.memset.p0.i64(ptr @away, i8 0, i64 POINTERS, i1 false)""",
}
"""What stands at the places in the pool's text that have these names."""
if not LINUX:
    TEXT, HOOKS = "", dict.fromkeys(HOOKS, "")
for name, number in {"WORDS": WORDS, "BYTES": 8 * WORDS, "BITS": 64 * WORDS}.items():
    TEXT = TEXT.replace(name, str(number))


def allow_processors(tell: Callable[[int, int], None]) -> None:
    """Tell the pool which processors there are for its workers: `tell(word, bits)` for each word of the set."""
    processors = sum(1 << k for k in os.sched_getaffinity(0) if k < 64 * WORDS)
    for k in range(WORDS):
        tell(k, c_int64(processors >> 64 * k).value)
