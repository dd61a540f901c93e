import ArgumentParser
import Daemon

/// `martlet check`: what is wrong with this instance, and how to mend it.
struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract:
            "Checks configuration, permissions, disks, services, certificates, accounts, daemons, routes, DNS and DKIM keys, and says how to mend what is wrong.",
        discussion: "Exits with 1 when something is wrong, with 78 when the configuration can't be read."
    )

    @OptionGroup var instance: InstanceOptions
    @Flag(help: "For programs: one JSON document.") var json = false
    @Argument(help: "Only this: tls (certificates, and what servers show).") var only: Subject?
    @Flag(help: "Sets the owners and modes that are wrong, all the way down.") var mend = false

    enum Subject: String, ExpressibleByArgument, CaseIterable { case tls }

    func run() async throws {
        try instance.enter()
        let configuration: Configuration
        let file = "etc/martlet.toml"
        do {
            configuration = try Configuration.load(file)
        } catch {
            try show([.wrong("configuration", "\(error)", mend: "correct the file and run this again")])
            throw ExitCode(DaemonExit.configuration.rawValue)
        }
        if only == .tls { return try conclude(await TLSCheck(configuration).findings()) }
        var findings = [Finding.fine("configuration", "\(file) is understood")]
        findings += PermissionCheck(configuration).findings(mending: mend)
        findings += DiskCheck(configuration).findings()
        findings += ServiceCheck(configuration).findings()
        findings += await TLSCheck(configuration).findings()
        findings += await AccountsCheck(configuration, file: file).findings()
        var reports: [DaemonName: StatusCommand.Report] = [:]
        for daemon in DaemonName.allCases { reports[daemon] = await StatusCommand.report(daemon) }
        findings += DaemonCheck(seccomp: configuration.seccomp, reports: reports).findings()
        findings += await PortCheck(configuration, reports).findings()
        findings += await RelayCheck(configuration).findings()
        findings += await DNSCheck(configuration).findings()
        findings += await DKIMCheck(configuration).findings()
        try conclude(findings)
    }

    private func conclude(_ findings: [Finding]) throws {
        try show(findings)
        if findings.contains(where: { $0.grade == .wrong }) { throw ExitCode(1) }
    }

    private func show(_ findings: [Finding]) throws {
        if json {
            try JSONOutput.print(findings)
            return
        }
        for finding in findings {
            print("\(finding.grade.label) \(finding.subject): \(finding.text)")
            if let mend = finding.mend { print("       \(mend)") }
        }
    }
}

/// The result of one check.
struct Finding: Encodable {
    enum Grade: String, Encodable {
        case fine
        /// Works, but is probably not what was meant.
        case doubtful
        case wrong
        /// Was wrong, and was set right.
        case mended

        var label: String {
            switch self {
            case .fine: return "ok    "
            case .doubtful: return "check "
            case .wrong: return "WRONG "
            case .mended: return "mended"
            }
        }
    }

    let grade: Grade
    let subject: String
    let text: String
    /// What to do about it.
    var mend: String?

    static func fine(_ subject: String, _ text: String) -> Finding {
        Finding(grade: .fine, subject: subject, text: text)
    }

    static func mended(_ subject: String, _ text: String) -> Finding {
        Finding(grade: .mended, subject: subject, text: text)
    }

    static func doubtful(_ subject: String, _ text: String, mend: String) -> Finding {
        Finding(grade: .doubtful, subject: subject, text: text, mend: mend)
    }

    static func wrong(_ subject: String, _ text: String, mend: String) -> Finding {
        Finding(grade: .wrong, subject: subject, text: text, mend: mend)
    }
}
