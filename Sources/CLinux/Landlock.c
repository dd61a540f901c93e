#define _GNU_SOURCE
#include "CLinux.h"

#include <linux/landlock.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// Rights that came after the headers of Debian 12 (ABI 2 to 5), by their values in the kernel's interface.
#define ACCESS_REFER (1ULL << 13)
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL_DEVICE (1ULL << 15)

static uint64_t handled(int abi) {
    uint64_t rights = (1ULL << 13) - 1;  // ABI 1: execute to make symbolic links
    if (abi >= 2) rights |= ACCESS_REFER;
    if (abi >= 3) rights |= ACCESS_TRUNCATE;
    if (abi >= 5) rights |= ACCESS_IOCTL_DEVICE;
    return rights;
}

int CLinux_landlock_abi(void) {
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

int CLinux_landlock_create(void) {
    uint64_t attributes = handled(CLinux_landlock_abi());
    return (int)syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0);
}

static int allow(int ruleset, int directory, uint64_t rights) {
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = directory};
    return (int)syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
}

int CLinux_landlock_allow_read(int ruleset, int directory, bool list) {
    return allow(ruleset, directory, LANDLOCK_ACCESS_FS_READ_FILE | (list ? LANDLOCK_ACCESS_FS_READ_DIR : 0));
}

int CLinux_landlock_allow_write(int ruleset, int directory) {
    uint64_t refused = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
                       ACCESS_IOCTL_DEVICE;
    return allow(ruleset, directory, handled(CLinux_landlock_abi()) & ~refused);
}

int CLinux_landlock_allow_execute(int ruleset, int directory) {
    return allow(ruleset, directory,
                 LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_EXECUTE);
}

int CLinux_landlock_restrict(int ruleset) { return (int)syscall(SYS_landlock_restrict_self, ruleset, 0); }
