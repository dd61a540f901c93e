#define _GNU_SOURCE
#include "CLinux.h"

#include <time.h>

// Hooks of the Swift concurrency runtime (stdlib/public/Concurrency/GlobalExecutor.cpp names them).
#define SWIFT_CALL __attribute__((swiftcall))
extern SWIFT_CALL void (*swift_task_enqueueGlobal_hook)(void *job, void *original);
extern SWIFT_CALL void (*swift_task_enqueueGlobalWithDelay_hook)(unsigned long long delay, void *job, void *original);
extern SWIFT_CALL void (*swift_task_enqueueGlobalWithDeadline_hook)(long long seconds, long long nanoseconds,
                                                                    long long tolerance_seconds,
                                                                    long long tolerance_nanoseconds, int clock,
                                                                    void *job, void *original);

static void (*enqueue_now)(void *job);
static void (*enqueue_later)(void *job, int64_t nanoseconds);

static SWIFT_CALL void on_enqueue(void *job, void *original) { enqueue_now(job); }

static SWIFT_CALL void on_delay(unsigned long long delay, void *job, void *original) {
    enqueue_later(job, delay > INT64_MAX ? INT64_MAX : (int64_t)delay);
}

static SWIFT_CALL void on_deadline(long long seconds, long long nanoseconds, long long tolerance_seconds,
                                   long long tolerance_nanoseconds, int clock, void *job, void *original) {
    struct timespec now;
    // The runtime's clocks: 1 is continuous, 2 stands still while the machine sleeps.
    clock_gettime(clock == 1 ? CLOCK_BOOTTIME : CLOCK_MONOTONIC, &now);
    int64_t left;
    if (__builtin_sub_overflow(seconds, now.tv_sec, &left) || __builtin_mul_overflow(left, 1000000000, &left) ||
        __builtin_add_overflow(left, nanoseconds - now.tv_nsec, &left))
        left = INT64_MAX;
    enqueue_later(job, left > 0 ? left : 0);
}

void CLinux_redirect_tasks(void (*now)(void *job), void (*later)(void *job, int64_t nanoseconds)) {
    enqueue_now = now;
    enqueue_later = later;
    swift_task_enqueueGlobal_hook = on_enqueue;
    swift_task_enqueueGlobalWithDelay_hook = on_delay;
    swift_task_enqueueGlobalWithDeadline_hook = on_deadline;
}
