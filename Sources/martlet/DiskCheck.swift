import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// Whether there is room for mail, in octets and in files.
struct DiskCheck {
    private let places: [(path: String, what: String)]
    private let reserve: Int

    /// More than this is nearly full. Per cent.
    private static let limit = 95

    init(_ configuration: Configuration) {
        places = [
            ("spool", "the queue"), (configuration.localDeliver.mailDirectory, "the mailboxes"), ("log", "the logs"),
        ]
        reserve = configuration.queueManager.reserve
    }

    func findings() -> [Finding] {
        var findings: [Finding] = []
        var seen: Set<UInt> = []
        for (path, what) in places {
            var status = statvfs()
            guard statvfs(path, &status) == 0 else { continue }
            // What several of them share is told once.
            guard seen.insert(status.f_fsid).inserted else { continue }
            findings += faults(path, what, status)
        }
        if findings.isEmpty { findings.append(.fine("disk", "there is room for mail")) }
        return findings
    }

    private func faults(_ path: String, _ what: String, _ status: statvfs) -> [Finding] {
        var findings: [Finding] = []
        // In floating point: some file systems report numbers that no disk has.
        let free = Double(status.f_bavail) * Double(status.f_frsize)
        let used = max(0, Double(status.f_blocks) - Double(status.f_bfree))
        let usable = used + Double(status.f_bavail)
        let percent = usable > 0 ? Int(100 * used / usable) : 100
        if path == "spool", free < Double(reserve) {
            findings.append(
                .wrong(
                    "disk",
                    "\(Int(min(free / 1_048_576, 1e15))) MiB are free for \(what), less than the reserve: no mail is taken",
                    mend: "make room on the file system of \(path)"
                )
            )
        } else if percent >= Self.limit {
            findings.append(
                .wrong(
                    "disk",
                    "the file system of \(what) (\(path)) is \(percent) % full",
                    mend: "make room there: when it is full, mail waits"
                )
            )
        }
        let filesUsed = max(0, Double(status.f_files) - Double(status.f_ffree))
        if status.f_files > 0, 100 * filesUsed / Double(status.f_files) >= Double(Self.limit) {
            findings.append(
                .wrong(
                    "disk",
                    "the file system of \(what) (\(path)) has room for \(status.f_favail) more files only",
                    mend: "remove files there: when there is no inode left, mail waits"
                )
            )
        }
        if status.f_flag & UInt(ST_RDONLY) != 0 {
            findings.append(
                .wrong("disk", "the file system of \(what) (\(path)) is read-only", mend: "mount it for writing")
            )
        }
        return findings
    }
}
