#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int CLinux_syncfs(int descriptor) { return syncfs(descriptor); }

int CLinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to) {
    return renameat2(from_directory, from, to_directory, to, RENAME_NOREPLACE);
}

int CLinux_set_reuse_port(int socket) {
    int on = 1;
    return setsockopt(socket, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
}

long CLinux_utc_offset(int64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm local;
    return localtime_r(&when, &local) ? local.tm_gmtoff : 0;
}

void CLinux_trim_memory(void) { malloc_trim(0); }

void CLinux_limit_arenas(int count) {
    mallopt(M_ARENA_MAX, count);
    // Grow in steps that spare system calls; what isn't touched takes no memory.
    mallopt(M_TOP_PAD, 1 << 20);
}
