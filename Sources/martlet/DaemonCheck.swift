import Daemon

/// Whether all daemons run, with system calls that are limited.
struct DaemonCheck {
    let seccomp: SeccompConfiguration
    let reports: [DaemonName: StatusCommand.Report]

    func findings() -> [Finding] {
        var findings: [Finding] = []
        for daemon in DaemonName.allCases {
            guard let report = reports[daemon] else { continue }
            if !report.up {
                findings.append(.wrong(daemon.rawValue, "it is down", mend: "start it; its log says why it stopped"))
            } else if let version = report.version, version != MartletVersion.current {
                findings.append(
                    .doubtful(
                        daemon.rawValue,
                        "version \(version) runs, \(MartletVersion.current) is installed",
                        mend: "restart \(daemon.rawValue)"
                    )
                )
            }
        }
        if findings.isEmpty { findings.append(.fine("daemons", "all \(DaemonName.allCases.count) are up")) }
        return findings + DaemonName.allCases.compactMap { filterFinding($0) }
    }

    private func filterFinding(_ daemon: DaemonName) -> Finding? {
        guard !SystemCalls(daemon).isUnlimited else { return nil }
        let mend = "once that isn't needed any more, take it out of [seccomp] and restart \(daemon.rawValue)"
        switch seccomp[daemon] {
        case .off: return .doubtful(daemon.rawValue, "its system calls are not limited, as configured", mend: mend)
        case .log: return .doubtful(daemon.rawValue, "system calls that it has no use for are only logged", mend: mend)
        case .enforce:
            guard let process = reports[daemon]?.pid, Self.isFiltered(process) == false else { return nil }
            return .doubtful(
                daemon.rawValue,
                "its system calls are not limited",
                mend: "restart it, if [seccomp] was changed; else its log says why the kernel takes no filter"
            )
        }
    }

    /// Whether the kernel says so of a process; nil where it tells nothing.
    private static func isFiltered(_ process: Int) -> Bool? {
        guard let status = WholeFile.read("/proc/\(process)/status", maximum: 1 << 16) else { return nil }
        let mode = status.split(separator: "\n").first { $0.hasPrefix("Seccomp:") }
        return mode.map { $0.hasSuffix("2") }
    }
}
