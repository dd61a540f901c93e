import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Wakes one session. Belongs to its event loop.
final class Bell: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let loop: any EventLoop
    private var hasRung = false
    private var waiter: CheckedContinuation<Void, Never>?

    init(on loop: any EventLoop) { self.loop = loop }

    /// May be called from any thread.
    func ring() {
        if loop.inEventLoop { ringHere() } else { loop.execute { self.ringHere() } }
    }

    private func ringHere() {
        loop.assertInEventLoop()
        hasRung = true
        let waiting = waiter
        waiter = nil
        waiting?.resume()
    }

    /// Returns when the bell was rung since the last return, or when the time is over.
    func wait(_ time: TimeAmount) async {
        loop.assertInEventLoop()
        if !hasRung {
            let timer = loop.scheduleTask(in: time) { self.ringHere() }
            await withCheckedContinuation { waiter = $0 }
            timer.cancel()
        }
        hasRung = false
    }
}

/// Tells sessions that something happened in a directory: one inotify descriptor for the process.
final class FolderWatcher: Sendable {
    private struct Watches {
        /// Bells by watch descriptor.
        var bells: [CInt: [ObjectIdentifier: Bell]] = [:]
        var isStopped = false
    }

    private let descriptor: CInt
    private let watches = NIOLockedValueBox(Watches())
    private let thread = NIOThreadPool(numberOfThreads: 1)

    /// nil where the system gives no inotify descriptor: sessions poll then.
    init?() {
        descriptor = inotify_init1(CInt(IN_CLOEXEC))
        guard descriptor >= 0 else { return nil }
        thread.start()
        thread.submit { [descriptor, watches] _ in Self.listen(descriptor, watches) }
    }

    /// Rings the bell at changes in a directory until `forget`.
    ///
    /// - Returns: the watch; nil where the directory can't be watched.
    func watch(_ path: String, _ bell: Bell) -> CInt? {
        watches.withLockedValue { watches in
            guard !watches.isStopped else { return nil }
            let mask = UInt32(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) | UInt32(IN_ONLYDIR)
            let watch = inotify_add_watch(descriptor, path, mask)
            guard watch >= 0 else { return nil }
            watches.bells[watch, default: [:]][ObjectIdentifier(bell)] = bell
            return watch
        }
    }

    func forget(_ watch: CInt, _ bell: Bell) {
        watches.withLockedValue { watches in
            watches.bells[watch]?[ObjectIdentifier(bell)] = nil
            guard watches.bells[watch]?.isEmpty == true else { return }
            watches.bells[watch] = nil
            inotify_rm_watch(descriptor, watch)
        }
    }

    /// Ends the thread: the removal of a last watch makes it look up.
    func stop() {
        watches.withLockedValue { watches in
            watches.isStopped = true
            let last = inotify_add_watch(descriptor, "/", UInt32(IN_CREATE))
            if last >= 0 { inotify_rm_watch(descriptor, last) }
        }
    }

    private static func listen(_ descriptor: CInt, _ watches: NIOLockedValueBox<Watches>) {
        var memory = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            let count = memory.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0, !watches.withLockedValue({ $0.isStopped }) else { break }
            let touched = Self.watches(in: memory[..<count])
            let bells = watches.withLockedValue { watches in
                touched.flatMap { watches.bells[$0].map { Array($0.values) } ?? [] }
            }
            for bell in bells { bell.ring() }
        }
        close(descriptor)
    }

    /// The watch descriptors in what inotify wrote: each event is wd, mask, cookie, length and a name.
    private static func watches(in octets: ArraySlice<UInt8>) -> Set<CInt> {
        var found: Set<CInt> = []
        octets.withUnsafeBytes { memory in
            var position = 0
            while position + 16 <= memory.count {
                found.insert(memory.loadUnaligned(fromByteOffset: position, as: CInt.self))
                let length = memory.loadUnaligned(fromByteOffset: position + 12, as: UInt32.self)
                position += 16 + Int(length)
            }
        }
        return found
    }
}
