import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// The file system that mailboxes are on, with the clock and the unique file names that they need.
package final class MailboxDisk: Sendable {
    /// This machine's file system and clock.
    package static let kernel = MailboxDisk(KernelFileSystem(), process: getpid(), microseconds: wallClock)

    let files: any FileSystem
    private let process: pid_t
    private let microseconds: @Sendable () -> Int64
    private let counter = NIOLockedValueBox<UInt64>(0)

    /// - Parameters:
    ///   - process: makes this process's names unique among those of concurrent processes.
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

    /// A unique base name, without sizes: time, process, counter.
    func uniqueName() -> String {
        let count = counter.withLockedValue { counter in
            counter += 1
            return counter
        }
        let (seconds, rest) = microseconds().quotientAndRemainder(dividingBy: 1_000_000)
        return "\(seconds).M\(rest)P\(process)Q\(count).\(MaildirFileName.hostName)"
    }
}
