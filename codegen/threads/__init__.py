"""The pool of threads that kernels with `parallel` run their loops on.

In: nothing, or the number of threads that is wanted. Out: four functions under names that machine code links to.

    i64 adjit_threads_acquire(i64 wanted, i64 work)     take the pool (0: all threads) for so many nanoseconds of work;
                                                        how many threads, the caller included
    void adjit_threads_run(task, context, i64 chunks, i64 threads, i64 order)
                                                 run the task on every chunk, give the pool back
    void adjit_threads_release()                 give the pool back unused
    void adjit_threads_wait(word)                in a task: wait until another chunk, begun before, has set a word

A task is `i64 (context, chunk, thread)`; where it gives another number than 0, no chunk after that one is begun, and
those before it still are: the first chunk that fails is the same from run to run. The caller works too, as thread 0.
Who finds the pool taken (another Python thread runs there) gets one thread, its own, and does all chunks itself, which
gives the same results, since what a chunk is does not depend on threads.

Each chunk is begun once. In which order, and by whom, is the caller's wish:

    IN_ORDER     the next one by whoever is free: chunks may wait for those before them
    FORWARD      thread t begins with the t-th part of them, and goes on with those that other threads have not begun:
                 what it wrote in one loop and reads in the next is in its processor's cache
    BACKWARD     the same, where turns count down: thread t has the t-th part from the end
"""

from .code import BACKWARD, FORWARD, IN_ORDER, LIMIT
from .process import SYMBOLS, available, register_symbols, started

__all__ = ["BACKWARD", "FORWARD", "IN_ORDER", "LIMIT", "SYMBOLS", "available", "register_symbols", "started"]
