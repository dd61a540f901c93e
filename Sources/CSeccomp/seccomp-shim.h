#pragma once
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/prctl.h>

// Swift sees no macros with arguments, nor those with casts.
static inline uint32_t CSeccomp_refuse(uint16_t error) { return SCMP_ACT_ERRNO(error); }
static const uint32_t CSeccomp_allow = SCMP_ACT_ALLOW;
static const uint32_t CSeccomp_log = SCMP_ACT_LOG;
static const uint32_t CSeccomp_kill = SCMP_ACT_KILL_PROCESS;
