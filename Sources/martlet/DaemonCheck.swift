import Daemon

/// Whether all daemons run.
struct DaemonCheck {
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
        return findings
    }
}
