import CLinux
import Logging

#if canImport(Glibc)
import Glibc
#endif

/// What a daemon keeps of the rights that it was started with. Everything that isn't named is refused.
package struct Rights: Sendable {
    /// The directory that becomes the root, relative to the instance directory; only where started as root.
    package var root: String?
    /// Directories beneath which files may be read (and listed), by descriptor.
    package private(set) var readable: [(directory: CInt, list: Bool)] = []
    /// Directories beneath which files may be made, changed and removed, by descriptor.
    package private(set) var writable: [CInt] = []
    /// Directories beneath which programs may be started, by descriptor.
    package private(set) var executable: [CInt] = []

    package mutating func allowReading(beneath directory: CInt, listing: Bool) { readable.append((directory, listing)) }
    package mutating func allowWriting(beneath directory: CInt) { writable.append(directory) }
    package mutating func allowExecuting(beneath directory: CInt) { executable.append(directory) }

    /// Gives up everything else, for good. Must be called before a second thread exists: most of this counts for the
    /// calling thread and those that it starts.
    ///
    /// - Parameters:
    ///   - calls: the system calls that it makes from now on.
    ///   - mode: what becomes of others.
    /// - Throws: `SetupError` when a right could not be dropped: the daemon must not start.
    func apply(
        user: String,
        calls: SystemCalls,
        mode: SeccompConfiguration.Mode,
        logger: Logger
    ) throws(SetupError) {
        guard CLinux_set_no_new_privs() == 0 else { throw SetupError("set no_new_privs") }
        if getuid() == 0 {
            try become(user)
        } else {
            logger.warning("not started as root: keeps running as the calling user", metadata: ["uid": "\(getuid())"])
        }
        guard CLinux_drop_capabilities() == 0, !CLinux_has_capabilities() else { throw SetupError("drop capabilities") }
        try restrictFiles(logger: logger)
        try restrict(to: calls, mode, logger: logger)
    }

    private func become(_ user: String) throws(SetupError) {
        guard let entry = getpwnam(user)?.pointee else {
            throw SetupError(
                reason: "there is no system user \"\(user)\"; scripts/install makes it",
                code: .configuration
            )
        }
        if let root {
            guard chroot(root) == 0, chdir("/") == 0 else { throw SetupError("change the root to \(root)") }
        }
        guard CLinux_drop_bounding_set() == 0 else { throw SetupError("drop the bounding set") }
        guard CLinux_become(entry.pw_uid, entry.pw_gid) == 0 else { throw SetupError("become \(user)") }
    }

    private func restrictFiles(logger: Logger) throws(SetupError) {
        guard CLinux_landlock_abi() > 0 else {
            logger.warning("the kernel has no Landlock: file access is limited by the user's rights only")
            return
        }
        let rules = CLinux_landlock_create()
        guard rules >= 0 else { throw SetupError("make Landlock rules") }
        defer { close(rules) }
        for (directory, list) in readable {
            guard CLinux_landlock_allow_read(rules, directory, list) == 0 else { throw SetupError("allow reading") }
        }
        for directory in writable {
            guard CLinux_landlock_allow_write(rules, directory) == 0 else { throw SetupError("allow writing") }
        }
        for directory in executable {
            guard CLinux_landlock_allow_execute(rules, directory) == 0 else { throw SetupError("allow executing") }
        }
        guard CLinux_landlock_restrict(rules) == 0 else { throw SetupError("apply Landlock rules") }
    }

    private func restrict(
        to calls: SystemCalls,
        _ mode: SeccompConfiguration.Mode,
        logger: Logger
    ) throws(SetupError) {
        guard !calls.isUnlimited else { return }
        switch mode {
        case .enforce: break
        case .log: logger.warning("system calls that have no use here are done, and logged by the kernel (seccomp)")
        case .off:
            logger.warning("system calls are limited by the user's rights only (seccomp)")
            return
        }
        if let reason = try calls.apply(onlyLogging: mode == .log) {
            logger.warning(
                "the kernel takes no filter of system calls: they are limited by the user's rights only",
                metadata: ["reason": "\(reason)"]
            )
        }
    }
}

/// Why a daemon can't start.
package struct SetupError: Error, CustomStringConvertible {
    package let description: String
    package let code: DaemonExit

    /// With the system's reason (`errno`); the fault may pass.
    package init(_ what: String) {
        description = "cannot \(what): \(String(cString: strerror(errno)))"
        code = .temporary
    }

    package init(reason: String, code: DaemonExit) {
        description = reason
        self.code = code
    }
}

/// How a daemon ends.
package enum DaemonExit: CInt, Sendable {
    case success = 0
    /// EX_CONFIG of sysexits.h: the configuration is wrong.
    case configuration = 78
    /// Something that trying again won't mend.
    case permanent = 100
    /// Something that may pass; the supervisor tries again.
    case temporary = 111
}
