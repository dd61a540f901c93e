// System calls that Swift cannot reach: each a few lines, no policy.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// The uid at the other end of a connected Unix-domain socket (SO_PEERCRED), or -1 with errno.
int64_t CLinux_peer_uid(int socket);
/// The groups of the process at the other end of a connected Unix-domain socket, its first one first. How many, or -1 with
/// errno, such as ERANGE where there are more than fit.
int CLinux_peer_groups(int socket, gid_t *groups, int capacity);
/// The process at the other end of a connected Unix-domain socket (for a client: the one that called listen), or -1 with
/// errno; 0 where it can't be seen from here.
pid_t CLinux_peer_pid(int socket);

/// Sets no_new_privs for this thread and what it starts. 0, or -1 with errno.
int CLinux_set_no_new_privs(void);
/// Whether no_new_privs is set.
bool CLinux_no_new_privs(void);

/// Drops all groups but gid, then becomes gid and uid for good (real, effective, saved). 0, or -1 with errno.
int CLinux_become(uid_t uid, gid_t gid);
/// Whether a user with this one group and no capabilities finds a file, and may read it; for root to ask. Only the calling
/// thread is concerned. 0, or -1 with errno.
int CLinux_reaches(uid_t uid, gid_t gid, const char *path, bool reads);
/// Empties the bounding set, as far as this process may. 0, or -1 with errno.
int CLinux_drop_bounding_set(void);
/// Empties the effective, permitted, inheritable and ambient capability sets. 0, or -1 with errno.
int CLinux_drop_capabilities(void);
/// Whether any effective or permitted capability is left.
bool CLinux_has_capabilities(void);

/// Has nobody but root look into this process, or have a core of it (PR_SET_DUMPABLE).
void CLinux_hide_memory(void);
/// Keeps this process's memory, and what it gets later, from being swapped, where root lets it.
void CLinux_lock_memory(void);

/// The Landlock ABI of the kernel, 0 where there is none.
int CLinux_landlock_abi(void);
/// A ruleset that handles every file-system right that this kernel knows: all that no rule allows is refused. A descriptor, or -1.
int CLinux_landlock_create(void);
/// Allows reading files beneath the directory, and listing it where `list` says so. 0, or -1 with errno.
int CLinux_landlock_allow_read(int ruleset, int directory, bool list);
/// Allows everything but devices and execution beneath the directory. 0, or -1 with errno.
int CLinux_landlock_allow_write(int ruleset, int directory);
/// Allows reading and executing beneath the directory. 0, or -1 with errno.
int CLinux_landlock_allow_execute(int ruleset, int directory);
/// Puts this thread (and what it starts) under the ruleset. Needs no_new_privs. 0, or -1 with errno.
int CLinux_landlock_restrict(int ruleset);

/// syncfs(2).
int CLinux_syncfs(int descriptor);
/// renameat2(2) with RENAME_NOREPLACE.
int CLinux_rename_noreplace(int from_directory, const char *from, int to_directory, const char *to);
/// Sets SO_REUSEPORT. 0, or -1 with errno.
int CLinux_set_reuse_port(int socket);
/// localtime_r's offset from UTC in seconds at a time; the zone file is read at the first call.
long CLinux_utc_offset(int64_t seconds);
/// CRC-32C (Castagnoli) over what `before` is the checksum of (0 for nothing) followed by the octets.
uint32_t CLinux_crc32c(uint32_t before, const void *octets, size_t count);
/// A converter from that character set to UTF-8 (iconv_open), or NULL where the system has none.
void *CLinux_charset_open(const char *name);
enum CLinux_charset_status {
    CLinux_charset_all,
    /// The text has no more room.
    CLinux_charset_full,
    /// The next octets mean nothing.
    CLinux_charset_invalid,
    /// The next character isn't complete.
    CLinux_charset_incomplete,
};
/// Converts octets (NULL: the end) to UTF-8 as far as it goes (iconv).
enum CLinux_charset_status CLinux_charset_convert(void *descriptor, const void *octets, size_t count, size_t *consumed, void *text,
                           size_t capacity, size_t *produced);
void CLinux_charset_close(void *descriptor);
/// What octets of mail have in them.
struct CLinux_octets {
    size_t line_feeds;
    size_t returns;
    /// Line feeds behind a carriage return.
    size_t pairs;
    /// All octets or'ed: the highest bit says whether any is beyond ASCII.
    uint8_t bits;
    bool nul;
};
/// Goes through octets up to and with the first line feed that a `-` follows, or through all of them, and adds up what is
/// in them. `before` is the octet before the first. How many octets it went through.
size_t CLinux_scan_octets(const void *octets, size_t count, uint8_t before, struct CLinux_octets *sums);
/// Decodes groups of four characters of base64 with line ends between them, up to the first group that has anything else in
/// it, and at most `room` octets. How many characters it went through.
size_t CLinux_base64_decode(const uint8_t *in, size_t count, uint8_t *out, size_t room, size_t *written);
/// Encodes groups of three octets as four characters each, without line ends.
void CLinux_base64_encode(const uint8_t *in, size_t groups, uint8_t *out);
/// Gives memory that was freed back to the system (malloc_trim).
void CLinux_trim_memory(void);
/// Bounds the arenas of malloc, so that threads do not each keep a heap of their own.
void CLinux_limit_arenas(int count);

/// Sends Swift's tasks that prefer no executor to `now` and `later` instead of libdispatch's threads: libdispatch watches
/// its threads through /proc and ends the process where it can't read it. Before the first task.
void CLinux_redirect_tasks(void (*now)(void *job), void (*later)(void *job, int64_t nanoseconds));
