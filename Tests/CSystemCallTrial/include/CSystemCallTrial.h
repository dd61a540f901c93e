// System calls tried in processes of their own, for what Swift can't do: fork, and call by number.
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

enum CSystemCallTrial_end {
    /// The trial itself failed.
    CSystemCallTrial_failed,
    /// The call was done, or refused for another reason than a filter's, such as its arguments.
    CSystemCallTrial_allowed,
    /// EPERM.
    CSystemCallTrial_refused,
    /// ENOSYS.
    CSystemCallTrial_absent,
    /// SIGSYS.
    CSystemCallTrial_killed,
};

struct CSystemCallTrial_call {
    long number;
    long arguments[6];
    /// What became of it.
    enum CSystemCallTrial_end end;
};

/// As an argument: the number of the process that makes the call.
static const long CSystemCallTrial_self = LONG_MIN;

/// Makes a process that sets no_new_privs, calls `restrict_calls`, which says whether it worked, and then makes the calls in
/// their order; after one that ends it, another process goes on.
void CSystemCallTrial_run(bool (*restrict_calls)(void *), void *context, struct CSystemCallTrial_call *calls, size_t count);
