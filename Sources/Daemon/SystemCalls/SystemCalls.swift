import CSeccomp

#if canImport(Glibc)
import Glibc
#endif

/// The system calls that a daemon may make once it serves.
package struct SystemCalls: Sendable {
    let groups: [SystemCallGroup]
    /// Whether there is no filter: the programs that pipe-deliver starts would have it, too, and may need any call.
    package var isUnlimited: Bool { groups.isEmpty }

    private init(all groups: [SystemCallGroup]) { self.groups = groups }

    private init(_ groups: SystemCallGroup...) {
        let common: [SystemCallGroup] = [
            .memory, .threads, .signals, .time, .random, .identity, .eventLoop, .descriptors, .localSockets,
        ]
        self.init(all: common + groups)
    }

    /// Those of each daemon.
    package init(_ daemon: DaemonName) {
        switch daemon {
        // Their listeners were opened before, and strangers are accepted from them.
        case .pop3d, .imapd: self.init()
        // Milters may be reached by TCP.
        case .smtpd: self.init(.streamClient)
        case .keyd: self.init(.filesRead)
        case .authd, .queueManager, .reportd: self.init(.filesRead, .filesWritten)
        case .pipeDeliver: self.init(all: [])
        case .localDeliver, .pop3dMailbox: self.init(.filesRead, .filesWritten, .liveness)
        case .imapdMailbox: self.init(.filesRead, .filesWritten, .liveness, .directoryWatches)
        case .remoteRelay: self.init(.filesRead, .filesWritten, .streamClient, .binding)
        case .resolverd: self.init(.filesRead, .filesWritten, .streamClient, .datagramClient, .binding)
        }
    }

    /// Calls that none of our code and no library makes, but somebody who has taken over a process: the process ends,
    /// before anything else is tried. What is killed at any moment loses no mail.
    static let deadly = [
        "execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd",
        "kcmp", "bpf", "perf_event_open", "userfaultfd", "kexec_load", "kexec_file_load", "init_module",
        "finit_module", "delete_module", "mount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen",
        "fsconfig", "fsmount", "fspick", "pivot_root", "chroot", "unshare", "setns", "keyctl", "add_key",
        "request_key", "open_by_handle_at", "reboot", "swapon", "swapoff", "acct", "iopl", "ioperm", "personality",
    ]

    /// Calls whose arguments lie in memory, where no filter sees them: as if the kernel were older, so that the C library
    /// takes the older ones.
    static let absent = ["clone3", "openat2"]

    /// Numbers of calls that came after those named here (they are the same on all architectures): absent as well.
    static let newer: ClosedRange<CInt> = 451...511

    /// Restricts the process, all its threads, to these calls, for good. Needs no_new_privs.
    ///
    /// - Parameter onlyLogging: whether the kernel logs other calls instead of refusing them.
    /// - Returns: why the kernel takes no filters; nil where it has taken this one.
    /// - Throws: `SetupError` when there is no room for a filter.
    package func apply(onlyLogging: Bool = false) throws(SetupError) -> String? {
        let filter = try SystemCallFilter(
            other: onlyLogging ? CSeccomp_log : CSeccomp_refuse(UInt16(EPERM)),
            foreign: onlyLogging ? CSeccomp_log : CSeccomp_kill
        )
        let rules = Set(groups.flatMap(\.rules))
        let unconditional = Set(rules.filter { $0.conditions.isEmpty }.map(\.name))
        for rule in rules where rule.conditions.isEmpty || !unconditional.contains(rule.name) {
            try filter.add(rule, CSeccomp_allow)
        }
        for name in Self.absent { try filter.add(SystemCallRule(name), CSeccomp_refuse(UInt16(ENOSYS))) }
        for number in Self.newer { try filter.add(number, CSeccomp_refuse(UInt16(ENOSYS))) }
        if !onlyLogging { for name in Self.deadly { try filter.add(SystemCallRule(name), CSeccomp_kill) } }
        let failure = filter.load()
        return failure == 0 ? nil : String(cString: strerror(failure))
    }
}
