/// `[seccomp]`: what the kernel does with system calls that a daemon has no use for.
package struct SeccompConfiguration: Sendable {
    package enum Mode: String, CaseIterable, Sendable {
        /// They fail, or end the process.
        case enforce
        /// They are done, and the kernel logs them.
        case log
        /// Nobody looks.
        case off
    }

    private var modes: [DaemonName: Mode] = [:]

    init(_ table: ConfigurationTable) throws(ConfigurationError) {
        let standard = try table.choice("default", default: Mode.enforce)
        for daemon in DaemonName.allCases {
            modes[daemon] = try table.choice(daemon.rawValue, default: standard)
        }
    }

    package subscript(daemon: DaemonName) -> Mode { modes[daemon] ?? .enforce }
}
