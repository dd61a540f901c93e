import Files
import NIOConcurrencyHelpers

#if canImport(Glibc)
import Glibc
#endif

/// The file system that mailboxes are on, with the clock and the unique file names that they need.
package final class MailboxDisk: Sendable {
    /// This machine's file system and clock.
    package static let kernel = makeKernel()

    /// The same, with none of what this process knows of folders.
    static func makeKernel() -> MailboxDisk {
        MailboxDisk(
            KernelFileSystem(),
            process: getpid(),
            microseconds: wallClock,
            uptime: upClock,
            boot: bootIdentity()
        )
    }

    /// What Linux calls this run of the machine; nothing where it doesn't say.
    private static func bootIdentity() -> [UInt8] {
        let file = Glibc.open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return [] }
        defer { close(file) }
        var text = [UInt8](repeating: 0, count: 36)
        return read(file, &text, text.count) == text.count ? text : []
    }

    let files: any FileSystem
    private let process: pid_t
    private let microseconds: @Sendable () -> Int64
    private let uptime: @Sendable () -> Int
    /// Tells this run of the machine from all others.
    let boot: EntryDigest
    /// The folders of Maildirs on it that are in use, or were a moment ago.
    let maildirs = MaildirIndexes()
    private let counter = NIOLockedValueBox<UInt64>(0)

    /// - Parameters:
    ///   - process: makes this process's names unique among those of concurrent processes.
    ///   - microseconds: since 1970.
    ///   - uptime: how long the machine has been up. Seconds.
    ///   - boot: tells this run of the machine from all others; where it's empty every process is taken for one of its own.
    package init(
        _ files: any FileSystem,
        process: pid_t,
        microseconds: @escaping @Sendable () -> Int64,
        uptime: @escaping @Sendable () -> Int,
        boot: [UInt8] = []
    ) {
        self.files = files
        self.process = process
        self.microseconds = microseconds
        self.uptime = uptime
        self.boot = EntryDigest(boot.isEmpty ? Array("\(UInt64.random(in: 0 ... .max))".utf8) : boot)
    }

    private static let wallClock: @Sendable () -> Int64 = {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
    }

    private static let upClock: @Sendable () -> Int = {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return time.tv_sec
    }

    /// Since 1970.
    var seconds: Int { Int(microseconds() / 1_000_000) }

    /// Since 1970, as fine as the clock is.
    var nanoseconds: Int { Int(microseconds()) &* 1000 }

    /// The same, for what must rise.
    var clock: UInt64 { UInt64(clamping: microseconds()) }

    /// When the machine was started: seconds since 1970.
    var startedAt: Int { seconds - uptime() }

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
