import ArgumentParser
import Bus
import Daemon
import NIOCore

#if canImport(Glibc)
import Glibc
#endif

/// `martlet status`: each daemon, up or down, since when, and what it has counted.
struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows which daemons are up, since when, and what they have counted.",
        discussion: "Exits with 1 when a daemon is down."
    )

    @OptionGroup var instance: InstanceOptions
    @Flag(help: "For programs: one JSON document.") var json = false

    /// What one daemon says of itself.
    struct Report: Encodable {
        let daemon: String
        let up: Bool
        var pid: Int?
        /// Seconds since 1970.
        var since: Int?
        var version: String?
        var counts: [String: Int] = [:]
    }

    func run() async throws {
        try instance.enter()
        var reports: [Report] = []
        for daemon in DaemonName.allCases { reports.append(await Self.report(daemon)) }
        if json {
            try JSONOutput.print(reports)
        } else {
            for report in reports { Self.show(report) }
        }
        if reports.contains(where: { !$0.up }) { throw ExitCode(1) }
    }

    static func report(_ daemon: DaemonName) async -> Report {
        guard let answer = try? await BusClient.ask(daemon.statusSocket, Frame("STATUS"), timeout: .seconds(2)),
            answer.replyKind == .ok
        else { return Report(daemon: daemon.rawValue, up: false) }
        var report = Report(daemon: daemon.rawValue, up: true)
        report.pid = answer.integer("pid")
        report.since = answer.integer("since")
        report.version = answer["version"]
        for count in answer.all("count") {
            let parts = count.split(separator: " ")
            if parts.count == 2, let value = Int(parts[1]) { report.counts[String(parts[0])] = value }
        }
        return report
    }

    private static func show(_ report: Report) {
        let name = report.daemon + String(repeating: " ", count: max(1, 16 - report.daemon.count))
        guard report.up else {
            print("\(name)down")
            return
        }
        let age = report.since.map { max(0, time(nil) - $0) } ?? 0
        print("\(name)up \(duration(age)), process \(report.pid ?? 0)")
        for (label, value) in report.counts.sorted(by: { $0.key < $1.key }) {
            print("                  \(label): \(value)")
        }
    }

    /// Seconds in the two largest units that matter.
    private static func duration(_ seconds: Int) -> String {
        switch seconds {
        case ..<60: return "\(seconds) s"
        case ..<3600: return "\(seconds / 60) min \(seconds % 60) s"
        case ..<86_400: return "\(seconds / 3600) h \(seconds % 3600 / 60) min"
        default: return "\(seconds / 86_400) d \(seconds % 86_400 / 3600) h"
        }
    }
}
