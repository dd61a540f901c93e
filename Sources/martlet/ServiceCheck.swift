import Daemon
import Files

#if canImport(Glibc)
import Glibc
#endif

/// Whether the services' definitions can start the daemons of this instance: s6, runit and systemd, as far as they are here.
struct ServiceCheck {
    private let mailDirectory: String

    /// Where systemd looks, the administrator's directory first (systemd.unit(5)).
    private static let unitDirectories = ["/etc/systemd/system", "/run/systemd/system"]
    private static let again = "scripts/install with the options of the installation writes it anew"

    init(_ configuration: Configuration) {
        mailDirectory = configuration.localDeliver.mailDirectory
    }

    func findings() -> [Finding] {
        var findings: [Finding] = []
        for directory in ["etc/s6", "service", "etc/runit"] where Self.exists(directory) {
            findings += DaemonName.allCases.flatMap { scriptFaults("\(directory)/\($0.rawValue)") }
        }
        if Self.exists("etc/systemd") {
            findings += DaemonName.allCases.flatMap(unitFaults) + linkFaults()
        }
        if findings.isEmpty { findings.append(.fine("services", "their definitions start this instance")) }
        return findings
    }

    private static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    // MARK: s6 and runit

    private func scriptFaults(_ directory: String) -> [Finding] {
        let path = "\(directory)/run"
        guard let text = WholeFile.read(path, maximum: 1 << 16) else {
            return [.wrong(path, String(cString: strerror(errno)), mend: Self.again)]
        }
        var findings: [Finding] = []
        if access(path, X_OK) != 0 { findings.append(.wrong(path, "it is not executable", mend: "chmod 755 \(path)")) }
        if let fault = strangerFault(path) { findings.append(fault) }
        // What the script does before it becomes the daemon is the administrator's; these two words have to be right.
        for line in text.split(separator: "\n") {
            let words = UnitFile.words(String(line))
            guard words.count > 1 else { continue }
            if words[0] == "cd" { findings += [instanceFault(path, words[1])].compactMap(\.self) }
            if words[0] == "exec", words[1].hasPrefix("/") {
                findings += [programFault(path, words[1])].compactMap(\.self)
            }
        }
        return findings
    }

    /// What root runs and others may change.
    private func strangerFault(_ path: String) -> Finding? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        if status.st_mode & 0o022 != 0 {
            return .wrong(path, "others may change what root runs", mend: "chmod go-w \(path)")
        }
        guard getuid() == 0, status.st_uid != 0 else { return nil }
        return .wrong(path, "uid \(status.st_uid) may change what root runs", mend: "chown root \(path)")
    }

    private func programFault(_ path: String, _ program: String) -> Finding? {
        guard access(program, X_OK) != 0 else { return strangerFault(program) }
        return .wrong(path, "\(program): \(String(cString: strerror(errno)))", mend: Self.again)
    }

    private func instanceFault(_ path: String, _ directory: String) -> Finding? {
        Self.isSame(directory, ".") ? nil : .wrong(path, "\(directory) is not this instance", mend: Self.again)
    }

    private static func isSame(_ left: String, _ right: String) -> Bool {
        var (first, second) = (stat(), stat())
        guard stat(left, &first) == 0, stat(right, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    // MARK: systemd

    /// What a daemon writes to, below the instance or elsewhere.
    private func written(by daemon: DaemonName) -> [String] {
        switch daemon {
        case .queueManager: ["run", "spool"]
        case .localDeliver, .pop3dMailbox, .imapdMailbox: ["run", mailDirectory]
        case .resolverd: ["run", "dns"]
        case .authd: ["run", AuthdConfiguration.stateDirectory]
        case .reportd: ["run", ReportsConfiguration.directory]
        case .remoteRelay: ["run", RemoteRelayConfiguration.directory]
        case .smtpd, .pop3d, .imapd, .keyd, .pipeDeliver: ["run"]
        }
    }

    private func unitFaults(_ daemon: DaemonName) -> [Finding] {
        let name = "martlet-\(daemon.rawValue).service"
        let path = "etc/systemd/\(name)"
        // Another instance's units may be the machine's.
        let isOurs = Self.unitDirectories.contains { Self.isSame("\($0)/\(name)", path) }
        guard let unit = UnitFile([path] + (isOurs ? Self.additions(name) : [])) else {
            return [.wrong(path, String(cString: strerror(errno)), mend: Self.again)]
        }
        var findings = [strangerFault(path)].compactMap(\.self)
        if let program = unit.program {
            if let fault = programFault(path, program) { findings.append(fault) }
        } else {
            findings.append(.wrong(path, "it starts nothing", mend: Self.again))
        }
        if let fault = instanceFault(path, unit.last("WorkingDirectory") ?? "/") { findings.append(fault) }
        if unit.last("Type") != "notify" {
            findings.append(.wrong(path, "it is not of Type=notify: up is not ready", mend: "systemctl edit \(name)"))
        }
        if let user = unit.last("User"), user != "root", user != "0" {
            let text = "it starts as \(user); daemons start as root and give up what they don't need themselves"
            findings.append(.wrong(path, text, mend: "take User= out: systemctl edit \(name)"))
        }
        for place in written(by: daemon) where !allows(unit, writing: place) {
            let mend = "ReadWritePaths=\(Self.absolute(place)) under [Service]: systemctl edit \(name)"
            findings.append(.wrong(path, "\(daemon.rawValue) may not write to \(place)", mend: mend))
        }
        return findings
    }

    private func allows(_ unit: UnitFile, writing place: String) -> Bool {
        // Nil where it isn't there, which is another finding.
        guard let absolute = realpath(Self.absolute(place), nil) else { return true }
        defer { free(absolute) }
        let path = String(cString: absolute)
        let isStrict = unit.last("ProtectSystem") == "strict"
        let isHome = ["/home/", "/root/", "/run/user/"].contains { path.hasPrefix($0) }
        let home = unit.last("ProtectHome") ?? "no"
        let homeIsClosed = isHome && !["no", "false", "0", "off"].contains(home)
        guard isStrict || homeIsClosed else { return true }
        return unit.words("ReadWritePaths").contains { word in
            guard let resolved = realpath(String(word.drop { "-+".contains($0) }), nil) else { return false }
            defer { free(resolved) }
            let allowed = String(cString: resolved)
            return path == allowed || path.hasPrefix(allowed == "/" ? "/" : allowed + "/")
        }
    }

    private static func absolute(_ path: String) -> String {
        guard !path.hasPrefix("/"), let here = realpath(".", nil) else { return path }
        defer { free(here) }
        return "\(String(cString: here))/\(path)"
    }

    /// The files that add to a unit, in the order in which they count.
    private static func additions(_ name: String) -> [String] {
        var paths: [String: String] = [:]
        for directory in unitDirectories.reversed() {
            let place = "\(directory)/\(name).d"
            let handle = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard handle >= 0 else { continue }
            defer { close(handle) }
            for octets in (try? KernelFileSystem().names(".", in: FileHandle(handle))) ?? [] {
                let file = String(decoding: octets, as: UTF8.self)
                if file.hasSuffix(".conf") { paths[file] = "\(place)/\(file)" }
            }
        }
        return paths.sorted { $0.key < $1.key }.map(\.value)
    }

    /// Units of this instance that systemd doesn't know, where it knows others of them.
    private func linkFaults() -> [Finding] {
        let names = DaemonName.allCases.map { "martlet-\($0.rawValue).service" } + ["martlet.target"]
        func isLinked(_ name: String) -> Bool {
            Self.unitDirectories.contains { Self.isSame("\($0)/\(name)", "etc/systemd/\(name)") }
        }
        let linked = names.filter(isLinked)
        guard !linked.isEmpty else { return [] }
        var findings: [Finding] = []
        for name in names where !linked.contains(name) {
            let isMasked = Self.unitDirectories.contains { Self.isSame("\($0)/\(name)", "/dev/null") }
            let mend =
                isMasked
                ? "systemctl unmask \(name), then link it" : "systemctl link \(Self.absolute("etc/systemd/\(name)"))"
            findings.append(.wrong(name, isMasked ? "it is masked" : "systemd does not know it", mend: mend))
        }
        if linked.contains("martlet.target"), !Self.exists("/etc/systemd/system/multi-user.target.wants/martlet.target")
        {
            findings.append(
                .doubtful("martlet.target", "it is not started at boot", mend: "systemctl enable martlet.target")
            )
        }
        return findings
    }
}
