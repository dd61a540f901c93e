import NIOCore

/// One value for each event loop of a group, made beforehand: what the sessions of a loop share, such as a client of
/// another daemon, without a lock.
package struct PerLoop<Value: Sendable>: Sendable {
    private let values: [ObjectIdentifier: Value]

    /// Makes the value of every loop of the group.
    package init<Failure: Error>(
        _ group: any EventLoopGroup,
        _ make: (any EventLoop) throws(Failure) -> Value
    ) throws(Failure) {
        var values: [ObjectIdentifier: Value] = [:]
        for loop in group.makeIterator() { values[ObjectIdentifier(loop)] = try make(loop) }
        self.values = values
    }

    /// The value of a loop, which must be one of the group.
    package subscript(loop: any EventLoop) -> Value {
        guard let value = values[ObjectIdentifier(loop)] else { preconditionFailure("an event loop of another group") }
        return value
    }
}
