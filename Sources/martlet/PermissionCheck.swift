import Daemon
import Files

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
        /// All that is in it belongs to the owner as well.
        var isTree = false
        /// It need not be there.
        var isOptional = false
        /// The daemon whose group may read it; nil for any.
        var group: DaemonName?
    }

    private let configuration: Configuration
    private let rules: [Rule]

    init(_ configuration: Configuration) {
        self.configuration = configuration
        rules =
            [
                Rule(path: "etc", owner: nil, forbidden: 0o022, isDirectory: true),
                Rule(path: "run", owner: nil, forbidden: 0o022, isDirectory: true),
                Rule(path: "run/status", owner: nil, forbidden: 0o022, isDirectory: true),
                Rule(path: "spool", owner: .queueManager, forbidden: 0o077, isDirectory: true, isTree: true),
                Rule(
                    path: AuthdConfiguration.stateDirectory,
                    owner: .authd,
                    forbidden: 0o077,
                    isDirectory: true,
                    isTree: true
                ),
                Rule(
                    path: ReportsConfiguration.directory,
                    owner: .reportd,
                    forbidden: 0o077,
                    isDirectory: true,
                    isTree: true
                ),
                Rule(path: "dns", owner: .resolverd, forbidden: 0o077, isDirectory: true, isTree: true),
                Rule(path: TLSConfiguration.directory, owner: nil, forbidden: 0o027, isDirectory: true, group: .keyd),
                Rule(
                    path: TLSConfiguration.dkimDirectory,
                    owner: nil,
                    forbidden: 0o027,
                    isDirectory: true,
                    isOptional: true,
                    group: .keyd
                ),
                Rule(
                    path: configuration.localDeliver.mailDirectory,
                    owner: .localDeliver,
                    forbidden: 0o077,
                    isDirectory: true,
                    isTree: true
                ),
                Rule(path: configuration.authd.users, owner: nil, forbidden: 0o027, isDirectory: false),
                Rule(
                    path: configuration.authd.appPasswords,
                    owner: nil,
                    forbidden: 0o027,
                    isDirectory: false,
                    isOptional: true
                ),
            ]
            + configuration.tls.pairs.map {
                Rule(path: $0.privateKey, owner: nil, forbidden: 0o027, isDirectory: false, group: .keyd)
            }
            + (configuration.srs.domain == nil
                ? [] : [Rule(path: configuration.srs.secrets, owner: nil, forbidden: 0o077, isDirectory: false)])
    }

    /// - Parameter mending: sets right what is wrong, and says so.
    func findings(mending: Bool = false) -> [Finding] {
        var findings = missingUsers() + sharedUsers()
        let faults =
            rules.flatMap { pathFaults($0, mending) } + rules.compactMap { treeFault($0, mending) }
            + readableKeys(mending)
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

    /// Users that are root by another name, or each other.
    private func sharedUsers() -> [Finding] {
        guard getuid() == 0 else { return [] }
        var findings: [Finding] = []
        var owners: [uid_t: String] = [:]
        for name in Set(DaemonName.allCases.map { configuration.systemUsers[$0] }).sorted() {
            guard let uid = getpwnam(name)?.pointee.pw_uid else { continue }
            if uid == 0 {
                findings.append(.wrong("system users", "\(name) is root", mend: "give it a uid of its own"))
            } else if let other = owners.updateValue(name, forKey: uid) {
                findings.append(
                    .wrong("system users", "\(name) and \(other) are one uid", mend: "give each a uid of its own")
                )
            }
        }
        return findings
    }

    private func pathFaults(_ rule: Rule, _ mending: Bool) -> [Finding] {
        var status = stat()
        guard stat(rule.path, &status) == 0 else {
            if rule.isOptional, errno == ENOENT { return [] }
            let reason = String(cString: strerror(errno))
            let mend = rule.isDirectory ? "mkdir -p \(rule.path)" : "make the file; see docs/operations.md"
            return [.wrong(rule.path, reason, mend: mend)]
        }
        return [
            modeFault(rule, status.st_mode & 0o7777, mending), ownerFault(rule, status, mending),
            groupFault(rule, status, mending),
        ].compactMap { $0 }
    }

    private func modeFault(_ rule: Rule, _ mode: mode_t, _ mending: Bool) -> Finding? {
        guard mode & rule.forbidden != 0 else { return nil }
        let wanted = String(mode & ~rule.forbidden, radix: 8)
        if mending, chmod(rule.path, mode & ~rule.forbidden) == 0 {
            return .mended(rule.path, "mode \(String(mode, radix: 8)) is \(wanted) now")
        }
        return .wrong(
            rule.path,
            "mode \(String(mode, radix: 8)) lets others in",
            mend: "chmod \(wanted) \(rule.path)"
        )
    }

    private func ownerFault(_ rule: Rule, _ status: stat, _ mending: Bool) -> Finding? {
        // Without root everything belongs to the caller.
        guard getuid() == 0 else { return nil }
        let name = rule.owner.map { configuration.systemUsers[$0] } ?? "root"
        guard let uid = getpwnam(name)?.pointee.pw_uid, uid != status.st_uid else { return nil }
        if mending, chown(rule.path, uid, status.st_gid) == 0 { return .mended(rule.path, "belongs to \(name) now") }
        return .wrong(rule.path, "belongs to uid \(status.st_uid), not to \(name)", mend: "chown \(name) \(rule.path)")
    }

    /// A group that may read it and isn't its daemon's, or is and may not.
    private func groupFault(_ rule: Rule, _ status: stat, _ mending: Bool) -> Finding? {
        guard getuid() == 0, let group = rule.group else { return nil }
        let name = configuration.systemUsers[group]
        let needed: mode_t = rule.isDirectory ? 0o050 : 0o040
        guard let gid = getpwnam(name)?.pointee.pw_gid,
            gid != status.st_gid || status.st_mode & needed != needed
        else { return nil }
        let mode = (status.st_mode & 0o7777 & ~rule.forbidden) | needed
        if mending, chown(rule.path, status.st_uid, gid) == 0, chmod(rule.path, mode) == 0 {
            return .mended(rule.path, "the group \(name) may read it now, and no other")
        }
        return .wrong(
            rule.path,
            "\(group.rawValue) may not read it, or another group may",
            mend: "chgrp \(name) \(rule.path) && chmod \(String(mode, radix: 8)) \(rule.path)"
        )
    }

    /// What lies in a directory and belongs to others, as after a restore: its daemon can't work with it.
    private func treeFault(_ rule: Rule, _ mending: Bool) -> Finding? {
        guard rule.isTree, getuid() == 0, let owner = rule.owner,
            let user = getpwnam(configuration.systemUsers[owner])?.pointee
        else { return nil }
        let name = configuration.systemUsers[owner]
        let tree = OwnedTree(path: rule.path, user: user.pw_uid, group: user.pw_gid)
        let result = tree.look(mending: mending)
        if let failure = result.failure {
            return .wrong(
                failure.path,
                String(cString: strerror(failure.code)),
                mend: "mend that first, then run this again"
            )
        }
        guard let first = result.first else { return nil }
        let others =
            result.count > 1 ? " and \(result.count - 1) more below \(rule.path) do not belong" : " does not belong"
        if mending { return .mended(rule.path, "\(result.count) files and directories belong to \(name) now") }
        return .wrong(
            first.path,
            "belongs to uid \(first.user): it\(others) to \(name), and mail in it waits",
            mend: "martlet check --mend, or chown -R -h \(name): \(rule.path)"
        )
    }

    /// Private keys that others than their daemon may read.
    private func readableKeys(_ mending: Bool) -> [Finding] {
        var findings: [Finding] = []
        let domains = (try? KernelFileSystem().names(TLSConfiguration.dkimDirectory, in: nil)) ?? []
        let directories =
            ["etc", TLSConfiguration.directory, "dns/keys"]
            + domains.map { "\(TLSConfiguration.dkimDirectory)/\(String(decoding: $0, as: UTF8.self))" }.sorted()
        for directory in directories {
            // By descriptors: the directory's owner may be hostile.
            let place = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard place >= 0 else { continue }
            defer { close(place) }
            let names = (try? KernelFileSystem().names(".", in: FileHandle(place))) ?? []
            for name in names.map({ String(decoding: $0, as: UTF8.self) }).sorted() {
                let path = "\(directory)/\(name)"
                let file = openat(place, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                guard file >= 0 else { continue }
                defer { close(file) }
                var status = stat()
                guard !configuration.tls.pairs.contains(where: { $0.privateKey == path }), fstat(file, &status) == 0,
                    status.st_mode & S_IFMT == S_IFREG, status.st_nlink == 1, status.st_mode & 0o007 != 0,
                    Self.holdsKey("/proc/self/fd/\(file)")
                else { continue }
                let wanted = status.st_mode & 0o770
                if mending, fchmod(file, wanted) == 0 {
                    findings.append(.mended(path, "mode is \(String(wanted, radix: 8)) now"))
                    continue
                }
                findings.append(
                    .wrong(
                        path,
                        "a private key that everybody may read",
                        mend: "chmod \(String(wanted, radix: 8)) \(path), and make a new key if strangers were here"
                    )
                )
            }
        }
        return findings
    }

    private static func holdsKey(_ path: String) -> Bool {
        guard let text = WholeFile.read(path, maximum: 1 << 20) else { return false }
        return text.contains("PRIVATE KEY-----") || text.contains("Private-key-format:")
    }
}
