import ArgumentParser
import Daemon
import Files
import QueueManager
import Spool

#if canImport(Glibc)
import Glibc
#endif

/// `martlet queue fsck`
struct QueueFsckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fsck",
        abstract: "Looks through the spool of a queue-manager that is down, and says what is not as it should be.",
        discussion: """
            Every message is read and compared with its checksum. Without --repair nothing is changed. With it, first is done what a \
            start would do with the journal; then damaged files go to corrupt/, misplaced ones where they belong, and what belongs to \
            no message is removed.
            """
    )

    @OptionGroup var options: QueueOptions
    @Flag(help: "Mends what is found.") var `repair` = false

    private struct Document: Encodable {
        struct Finding: Encodable {
            let kind: String
            let path: String
            let text: String
            let mended: Bool
        }

        let format: Int
        let messages: Int
        let held: Int
        let unfiled: Int
        let findings: [Finding]
    }

    func run() throws {
        try options.instance.enter()
        let directory = "spool"
        var status = stat()
        guard stat(directory, &status) == 0 else {
            throw DaemonControl.Failure(description: "\(directory): \(String(cString: strerror(errno)))")
        }
        // New files must be queue-manager's.
        if geteuid() == 0, status.st_uid != 0 {
            guard setgroups(0, nil) == 0, setgid(status.st_gid) == 0, setuid(status.st_uid) == 0 else {
                throw DaemonControl.Failure(description: "can't become the owner of \(directory)")
            }
        }
        let check: SpoolCheck
        do throws(SpoolError) {
            check = try SpoolCheck(
                path: directory,
                disk: KernelFileSystem(),
                isMending: `repair`,
                isPauses: Pause.isFile
            )
        } catch {
            throw DaemonControl.Failure(description: Self.explanation(error))
        }
        if options.json {
            let findings = check.findings.map {
                Document.Finding(kind: $0.kind.rawValue, path: $0.path, text: $0.text, mended: $0.isMended)
            }
            try JSONOutput.print(
                Document(
                    format: check.version,
                    messages: check.messages,
                    held: check.held,
                    unfiled: check.unfiled,
                    findings: findings
                )
            )
        } else {
            for finding in check.findings {
                print(
                    QueueEntry.printable(
                        "\(directory)/\(finding.path): \(finding.text)\(finding.isMended ? " (mended)" : "")"
                    )
                )
            }
            let journal = check.unfiled > 0 ? ", \(check.unfiled) in the journal alone" : ""
            print("\(check.messages) messages in files, \(check.held) of them held\(journal); format \(check.version).")
        }
        if check.findings.contains(where: { !$0.isMended }) { throw ExitCode.failure }
    }

    private static func explanation(_ error: SpoolError) -> String {
        switch error {
        case .owned(let owner): "the spool is in use by \(owner): stop queue-manager first"
        case .corrupt(let reason):
            "\(reason). The journal was not changed. Copy the spool before anything else; what was acknowledged behind that "
                + "place is in the journal alone."
        case .full, .failed, .missing, .broken, .newer: "\(error)"
        }
    }
}
