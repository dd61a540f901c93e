import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Log lines on their way to a descriptor. What is urgent, and what other threads than event loops say, leaves at once; the
/// rest at the end of the loop's turn, and where there is much of it, a hundred times a second. Lines are never mixed and
/// keep their order.
package final class LogLines: Sendable {
    private struct State {
        var octets = ByteBuffer()
        /// When a loop will write.
        var flushTime: NIODeadline?
        var written = NIODeadline.distantPast
    }

    private let descriptor: CInt
    private let state = NIOLockedValueBox(State())

    /// More than this isn't kept. Octets.
    private static let limit = 32 * 1024
    /// Between two writes that nothing urges.
    private static let pause = TimeAmount.milliseconds(10)

    /// - Parameter descriptor: stays the caller's.
    package init(descriptor: CInt) { self.descriptor = descriptor }

    /// Adds a line with its end.
    ///
    /// - Parameter isUrgent: whether it must be out when this returns.
    func add(_ line: ByteBuffer, isUrgent: Bool) {
        let loop = isUrgent ? nil : MultiThreadedEventLoopGroup.currentEventLoop
        let now = NIODeadline.now()
        let time: NIODeadline? = state.withLockedValue { state in
            state.octets.writeImmutableBuffer(line)
            if loop == nil || state.octets.readableBytes > Self.limit {
                write(&state, at: now)
                return nil
            }
            if let flushTime = state.flushTime {
                // The loop that was to write is busy with something else.
                if now > flushTime + Self.pause { write(&state, at: now) }
                return nil
            }
            let time = max(now, state.written + Self.pause)
            state.flushTime = time
            return time
        }
        guard let loop, let time else { return }
        let flush: @Sendable () -> Void = { [self] in
            state.withLockedValue { state in
                state.flushTime = nil
                write(&state, at: .now())
            }
        }
        if time <= now { loop.execute(flush) } else { loop.scheduleTask(deadline: time, flush) }
    }

    /// Writes what waits. For the end of the process.
    package func flush() { state.withLockedValue { write(&$0, at: .now()) } }

    /// Under the lock, so that nothing comes between.
    private func write(_ state: inout State, at now: NIODeadline) {
        while state.octets.readableBytes > 0 {
            let count = state.octets.withUnsafeReadableBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // Nobody reads the log: the daemon goes on without one.
            if count <= 0 { break }
            state.octets.moveReaderIndex(forwardBy: count)
        }
        state.octets.clear()
        state.written = now
    }
}
