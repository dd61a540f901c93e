#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int64_t CLinux_peer_uid(int socket) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
    return (int64_t)peer.uid;
}

pid_t CLinux_peer_pid(int socket) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
    return peer.pid;
}

int CLinux_peer_groups(int socket, gid_t *groups, int capacity) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (capacity < 1 || getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return -1;
    groups[0] = peer.gid;
    length = (socklen_t)((size_t)(capacity - 1) * sizeof *groups);
    if (getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, groups + 1, &length) != 0) return -1;
    return 1 + (int)(length / sizeof *groups);
}

int CLinux_set_no_new_privs(void) { return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); }

bool CLinux_no_new_privs(void) { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1; }

int CLinux_become(uid_t uid, gid_t gid) {
    if (setgroups(0, NULL) != 0) return -1;
    if (setresgid(gid, gid, gid) != 0) return -1;
    if (setresuid(uid, uid, uid) != 0) return -1;
    if (uid != 0 && setuid(0) == 0) {
        errno = EPERM;
        return -1;
    }
    return 0;
}

int CLinux_reaches(uid_t uid, gid_t gid, const char *path, bool reads) {
    gid_t groups[NGROUPS_MAX];
    int count = getgroups(NGROUPS_MAX, groups);
    // By the system call itself: the C library would change all threads.
    if (count < 0 || syscall(SYS_setgroups, 0, NULL) != 0) return -1;
    setfsgid(gid);
    setfsuid(uid);
    int descriptor = -1;
    int error = EPERM;
    // Only the second call tells whether the first one was allowed.
    if ((uid_t)setfsuid((uid_t)-1) == uid && (gid_t)setfsgid((gid_t)-1) == gid) {
        descriptor = open(path, (reads ? O_RDONLY | O_NONBLOCK : O_PATH) | O_CLOEXEC);
        error = errno;
    }
    setfsuid(geteuid());
    setfsgid(getegid());
    // Without its groups the thread could do less than before, never more.
    syscall(SYS_setgroups, (size_t)count, groups);
    if (descriptor < 0) {
        errno = error;
        return -1;
    }
    close(descriptor);
    return 0;
}

int CLinux_drop_bounding_set(void) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) return -1;
    return 0;
}

int CLinux_drop_capabilities(void) {
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    memset(data, 0, sizeof data);
    return (int)syscall(SYS_capset, &header, data);
}

bool CLinux_has_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0) return true;
    return (data[0].effective | data[1].effective | data[0].permitted | data[1].permitted) != 0;
}

void CLinux_hide_memory(void) { prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); }

void CLinux_lock_memory(void) {
    // Without the limit's end, memory could not be had at some time.
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_MEMLOCK, &all) == 0) mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
}
