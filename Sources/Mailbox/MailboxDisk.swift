import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// What mailboxes are kept on: a file system, a clock for what the files say of time, and names that no other file has.
package final class MailboxDisk: Sendable {
    /// This machine's.
    package static let kernel = MailboxDisk(KernelFileSystem(), process: getpid(), microseconds: wallClock)

    let files: any FileSystem
    private let process: pid_t
    private let microseconds: @Sendable () -> Int64
    private let counter = NIOLockedValueBox<UInt64>(0)

    /// - Parameters:
    ///   - process: what tells the names of this process from those of others that are alive.
    ///   - microseconds: since 1970.
    package init(_ files: any FileSystem, process: pid_t, microseconds: @escaping @Sendable () -> Int64) {
        self.files = files
        self.process = process
        self.microseconds = microseconds
    }

    private static let wallClock: @Sendable () -> Int64 = {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
    }

    /// Since 1970.
    var seconds: Int { Int(microseconds() / 1_000_000) }

    /// A base name without sizes that no other message has: time, process, count.
    func uniqueName() -> String {
        let count = counter.withLockedValue { counter in
            counter += 1
            return counter
        }
        let (seconds, rest) = microseconds().quotientAndRemainder(dividingBy: 1_000_000)
        return "\(seconds).M\(rest)P\(process)Q\(count).\(MaildirFileName.hostName)"
    }
}
