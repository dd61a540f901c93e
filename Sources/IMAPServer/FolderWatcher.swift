import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Wakes one session. Belongs to its event loop.
final class Waker: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    let loop: any EventLoop
    private var isAwake = false
    private var waiter: CheckedContinuation<Void, Never>?

    init(on loop: any EventLoop) { self.loop = loop }

    /// May be called from any thread.
    func wake() {
        if loop.inEventLoop { wakeHere() } else { loop.execute { self.wakeHere() } }
    }

    private func wakeHere() {
        loop.assertInEventLoop()
        isAwake = true
        let waiting = waiter
        waiter = nil
        waiting?.resume()
    }

    /// Returns once it was woken since the last return, or when the time is over.
    func wait(_ time: TimeAmount) async {
        loop.assertInEventLoop()
        if !isAwake {
            let timer = loop.scheduleTask(in: time) { self.wakeHere() }
            await withCheckedContinuation { waiter = $0 }
            timer.cancel()
        }
        isAwake = false
    }
}

/// Tells sessions that something happened in a directory: one inotify descriptor for the process.
final class FolderWatcher: Sendable {
    private struct Watches {
        /// Bells by watch descriptor.
        var wakers: [CInt: [ObjectIdentifier: Waker]] = [:]
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

    /// Wakes at changes in a directory until `unwatch`.
    ///
    /// - Returns: the watch; nil where the directory can't be watched.
    func watch(_ path: String, _ waker: Waker) -> CInt? {
        watches.withLockedValue { watches in
            guard !watches.isStopped else { return nil }
            let mask = UInt32(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO) | UInt32(IN_ONLYDIR)
            let watch = inotify_add_watch(descriptor, path, mask)
            guard watch >= 0 else { return nil }
            watches.wakers[watch, default: [:]][ObjectIdentifier(waker)] = waker
            return watch
        }
    }

    func unwatch(_ watch: CInt, _ waker: Waker) {
        watches.withLockedValue { watches in
            watches.wakers[watch]?[ObjectIdentifier(waker)] = nil
            guard watches.wakers[watch]?.isEmpty == true else { return }
            watches.wakers[watch] = nil
            inotify_rm_watch(descriptor, watch)
        }
    }

    /// Ends the thread: the removal of a last watch ends its wait.
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
            let wakers = watches.withLockedValue { watches in
                touched.flatMap { watches.wakers[$0].map { Array($0.values) } ?? [] }
            }
            for waker in wakers { waker.wake() }
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
