import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// Whether files and directories have the owners and modes that keep the daemons apart.
struct PermissionCheck {
    private struct Rule {
        let path: String
        /// The daemon whose system user owns it; nil for root.
        let owner: DaemonName?
        /// Permission bits that must not be there.
        let forbidden: mode_t
        let isDirectory: Bool
    }

    private let configuration: Configuration
    private let rules: [Rule]

    init(_ configuration: Configuration) {
        self.configuration = configuration
        rules = [
            Rule(path: "etc", owner: nil, forbidden: 0o022, isDirectory: true),
            Rule(path: "run", owner: nil, forbidden: 0o022, isDirectory: true),
            Rule(path: "run/status", owner: nil, forbidden: 0o022, isDirectory: true),
            Rule(path: "spool", owner: .queueManager, forbidden: 0o077, isDirectory: true),
            Rule(
                path: configuration.localDeliver.mailDirectory,
                owner: .localDeliver,
                forbidden: 0o077,
                isDirectory: true
            ),
            Rule(path: configuration.authd.users, owner: nil, forbidden: 0o027, isDirectory: false),
            Rule(path: configuration.tls.privateKey, owner: nil, forbidden: 0o077, isDirectory: false),
        ]
    }

    func findings() -> [Finding] {
        var findings = missingUsers()
        let faults = rules.compactMap(fault)
        findings += faults
        if faults.isEmpty { findings.append(.fine("permissions", "owners and modes are as they should be")) }
        return findings
    }

    private func missingUsers() -> [Finding] {
        guard getuid() == 0 else { return [] }
        let names = Set(DaemonName.allCases.map { configuration.systemUsers[$0] }).sorted()
        return names.filter { getpwnam($0) == nil }.map {
            .wrong(
                "system users",
                "there is no user \"\($0)\"",
                mend: "useradd --system --user-group --shell /usr/sbin/nologin \($0)"
            )
        }
    }

    private func fault(_ rule: Rule) -> Finding? {
        var status = stat()
        guard stat(rule.path, &status) == 0 else {
            let reason = String(cString: strerror(errno))
            return .wrong(
                rule.path,
                reason,
                mend: rule.isDirectory ? "mkdir -p \(rule.path)" : "make the file; see docs/operations.md"
            )
        }
        let mode = status.st_mode & 0o7777
        if mode & rule.forbidden != 0 {
            let wanted = String(mode & ~rule.forbidden, radix: 8)
            return .wrong(
                rule.path,
                "mode \(String(mode, radix: 8)) lets others in",
                mend: "chmod \(wanted) \(rule.path)"
            )
        }
        // Without root everything belongs to the caller.
        guard getuid() == 0 else { return nil }
        let name = rule.owner.map { configuration.systemUsers[$0] } ?? "root"
        guard let uid = getpwnam(name)?.pointee.pw_uid, uid != status.st_uid else { return nil }
        return .wrong(rule.path, "belongs to uid \(status.st_uid), not to \(name)", mend: "chown \(name) \(rule.path)")
    }
}
