import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

#if canImport(Glibc)
import Glibc
#endif

/// Log lines on their way to a descriptor. Those of one turn of an event loop leave in one write; what is urgent, and what
/// other threads say, leaves at once. Lines are never mixed and keep their order.
package final class LogLines: Sendable {
    private struct State {
        var octets = ByteBuffer()
        var isFlushScheduled = false
    }

    private let descriptor: CInt
    private let state = NIOLockedValueBox(State())

    /// More than this isn't kept. Octets.
    private static let limit = 32 * 1024

    /// - Parameter descriptor: stays the caller's.
    package init(descriptor: CInt) { self.descriptor = descriptor }

    /// Adds a line with its end.
    ///
    /// - Parameter isUrgent: whether it must be out when this returns.
    func add(_ line: String, isUrgent: Bool) {
        let loop = isUrgent ? nil : MultiThreadedEventLoopGroup.currentEventLoop
        let schedules = state.withLockedValue { state in
            state.octets.writeString(line)
            if loop == nil || state.octets.readableBytes > Self.limit {
                write(&state)
                return false
            }
            defer { state.isFlushScheduled = true }
            return !state.isFlushScheduled
        }
        if schedules {
            loop?.execute { [self] in
                state.withLockedValue { state in
                    state.isFlushScheduled = false
                    write(&state)
                }
            }
        }
    }

    /// Writes what waits. For the end of the process.
    package func flush() { state.withLockedValue { write(&$0) } }

    /// Under the lock, so that nothing comes between.
    private func write(_ state: inout State) {
        while state.octets.readableBytes > 0 {
            let count = state.octets.withUnsafeReadableBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            // Nobody reads the log: the daemon goes on without one.
            if count <= 0 { break }
            state.octets.moveReaderIndex(forwardBy: count)
        }
        state.octets.clear()
    }
}
