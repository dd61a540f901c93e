import NIOConcurrencyHelpers

/// How many connections each client has, by TCP, DNS over TLS and DNS over HTTPS together: each kind has places of its own,
/// but nobody three times as many for that.
final class ClientConnections: Sendable {
    private let limit: Int
    private let counts = NIOLockedValueBox<[[UInt8]: Int]>([:])

    /// - Parameter limit: connections of one client at the same time.
    init(limit: Int) { self.limit = limit }

    /// Counts one more; false where the client has all that it may have.
    ///
    /// - Parameter client: what `SocketAddress.clientKey` gives.
    func take(_ client: [UInt8]) -> Bool {
        counts.withLockedValue { counts in
            guard counts[client, default: 0] < limit else { return false }
            counts[client, default: 0] += 1
            return true
        }
    }

    /// One that was counted is over.
    func give(_ client: [UInt8]) {
        counts.withLockedValue { counts in
            let left = counts[client, default: 1] - 1
            counts[client] = left > 0 ? left : nil
        }
    }
}
