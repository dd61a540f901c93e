import NIOConcurrencyHelpers
import NIOCore

/// One value for each event loop, made when it's first asked for: what the sessions of a loop share, such as a client of
/// another daemon, which then needs no lock.
package struct PerLoop<Value: Sendable>: Sendable {
    /// With its loop, so that no other loop takes its place in memory.
    private let values = NIOLockedValueBox<[ObjectIdentifier: (loop: any EventLoop, value: Value)]>([:])
    private let make: @Sendable (any EventLoop) -> Value

    /// - Parameter make: makes the value of a loop, on any thread.
    package init(_ make: @escaping @Sendable (any EventLoop) -> Value) { self.make = make }

    /// The value of a loop.
    package subscript(loop: any EventLoop) -> Value {
        values.withLockedValue { values in
            if let known = values[ObjectIdentifier(loop)] { return known.value }
            let value = make(loop)
            values[ObjectIdentifier(loop)] = (loop, value)
            return value
        }
    }
}
