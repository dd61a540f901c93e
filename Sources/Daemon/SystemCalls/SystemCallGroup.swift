import CSeccomp

#if canImport(Glibc)
import Glibc
#endif

/// System calls that one purpose needs, with those that the C library takes for it on any architecture and in newer
/// versions.
struct SystemCallGroup: Sendable, ExpressibleByArrayLiteral {
    let rules: [SystemCallRule]

    init(arrayLiteral rules: SystemCallRule...) { self.rules = rules }

    // What every daemon does.

    /// Memory, which is either writable or executable.
    static let memory: Self = [
        "brk", "munmap", "mremap", "madvise", "mincore", "msync", "mlock", "mlock2", "munlock", "membarrier",
        .init("mmap", where: .bits(2, PROT_WRITE | PROT_EXEC)),
        .init("mmap", where: .bits(2, PROT_WRITE | PROT_EXEC, are: PROT_WRITE)),
        .init("mmap", where: .bits(2, PROT_WRITE | PROT_EXEC, are: PROT_EXEC)),
        .init("mprotect", where: .bits(2, PROT_EXEC)),
    ]

    /// Threads of this process; no other process is made, and no namespace.
    static let threads: Self = [
        "futex", "futex_waitv", "set_robust_list", "get_robust_list", "rseq", "set_tid_address", "gettid", "exit",
        "exit_group", "sched_yield", "sched_getaffinity", "sched_setaffinity", "sched_getparam",
        "sched_getscheduler", "sched_get_priority_max", "sched_get_priority_min", "getpriority", "getcpu",
        .init("clone", where: .bits(0, CLONE_THREAD | newNamespaces, are: CLONE_THREAD)),
        .init("prctl", where: .int(0, is: PR_SET_NAME)),
        .init("prctl", where: .int(0, is: PR_GET_NAME)),
        .init("prctl", where: .int(0, is: setMemoryName)),
    ]

    /// Signals; sent to nobody but this process.
    static var signals: Self {
        [
            "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending", "rt_sigsuspend",
            "sigaltstack", "restart_syscall", "pause",
            .init("kill", where: .int(0, is: getpid())),
            .init("tgkill", where: .int(0, is: getpid())),
        ]
    }

    static let time: Self = [
        "clock_gettime", "clock_getres", "clock_nanosleep", "gettimeofday", "nanosleep", "time", "times",
        "getrusage",
    ]

    static let random: Self = ["getrandom"]

    /// Who this process is, and how much there is of what.
    static let identity: Self = [
        "getpid", "getppid", "getpgrp", "getpgid", "getsid", "getuid", "geteuid", "getresuid", "getgid", "getegid",
        "getresgid", "getgroups", "capget", "uname", "sysinfo", "getcwd", "umask", "getrlimit",
        .init("prlimit64", where: .isNull(2)),
        .init("prctl", where: .int(0, is: PR_GET_NO_NEW_PRIVS)),
        .init("prctl", where: .int(0, is: PR_GET_SECCOMP)),
        .init("prctl", where: .int(0, is: PR_CAPBSET_READ)),
        .init("prctl", where: .int(0, is: PR_GET_DUMPABLE)),
        .init("prctl", where: .int(0, is: PR_SET_DUMPABLE), .isNull(1)),
    ]

    static let eventLoop: Self = [
        "epoll_create", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd",
        "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime", "poll", "ppoll", "select", "pselect6",
        "pipe", "pipe2",
    ]

    /// What may be done with files and sockets that are open.
    static let descriptors: Self = [
        "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev", "pwritev2",
        "sendfile", "close", "close_range", "lseek", "fcntl", "dup", "dup2", "dup3", "fstat", "newfstatat", "stat",
        "lstat", "statx", "fstatfs",
        .init("ioctl", where: .int(1, is: CInt(FIONREAD))),
        .init("ioctl", where: .int(1, is: CInt(FIONBIO))),
        .init("ioctl", where: .int(1, is: CInt(TIOCOUTQ))),
        .init("ioctl", where: .int(1, is: CInt(TCGETS))),
    ]

    /// Sockets that are there, and new ones to our own daemons.
    static let localSockets: Self = [
        "connect", "listen", "accept", "accept4", "shutdown", "getsockname", "getpeername", "getsockopt",
        "setsockopt", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
        .init("socket", where: .int(0, is: AF_UNIX)),
        .init("socketpair", where: .int(0, is: AF_UNIX)),
    ]

    // What some do.

    /// Connections to other hosts by TCP.
    static let streamClient: Self = [
        .init("socket", where: .int(0, is: AF_INET), .bits(1, socketKind, are: CInt(SOCK_STREAM.rawValue))),
        .init("socket", where: .int(0, is: AF_INET6), .bits(1, socketKind, are: CInt(SOCK_STREAM.rawValue))),
    ]

    /// Datagrams to other hosts.
    static let datagramClient: Self = [
        .init("socket", where: .int(0, is: AF_INET), .bits(1, socketKind, are: CInt(SOCK_DGRAM.rawValue))),
        .init("socket", where: .int(0, is: AF_INET6), .bits(1, socketKind, are: CInt(SOCK_DGRAM.rawValue))),
    ]

    /// A source address of our choice.
    static let binding: Self = ["bind"]

    /// Files are opened to be read; Landlock says which.
    static let filesRead: Self = [
        "getdents64", "readlink", "readlinkat", "access", "faccessat", "faccessat2", "statfs", "fadvise64",
        "readahead", "flock",
        .init("openat", where: .bits(2, writingFlags)),
        .init("open", where: .bits(1, writingFlags)),
    ]

    /// Files are made, changed and removed; Landlock says where.
    static let filesWritten: Self = [
        "openat", "open", "creat", "ftruncate", "fallocate", "fsync", "fdatasync", "syncfs", "sync_file_range",
        "copy_file_range", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "renameat2",
        "link", "linkat", "fchmod", "chmod", "fchmodat", "fchown", "utimensat",
    ]

    /// Changes of directories are waited for.
    static let directoryWatches: Self = ["inotify_init1", "inotify_add_watch", "inotify_rm_watch"]

    /// Whether a process lives (of which a lock's file has the number); nothing is sent to it.
    static let liveness: Self = [.init("kill", where: .int(1, is: 0))]

    private static let newNamespaces =
        CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
    /// SOCK_TYPE_MASK of the kernel: the others are SOCK_NONBLOCK and SOCK_CLOEXEC.
    private static let socketKind: CInt = 0xf
    private static let writingFlags = O_ACCMODE | O_CREAT | O_TRUNC
    /// PR_SET_VMA, by which newer C libraries give their memory names.
    private static let setMemoryName: CInt = 0x5356_4d41
}
