import COpenSSL
import NIOCore

/// Sessions that clients may resume, each by where it leads and what the server had to show there: one that was verified for less is
/// never resumed for more. Belongs to one event loop.
package final class TLSResumption: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    struct Key: Hashable {
        let destination: String
        let verification: ServerVerification
    }

    private struct Kept {
        let session: OpaquePointer
        let proof: ServerProof?
        /// Of its place in the order.
        let number: Int
    }

    private let loop: any EventLoop
    private let capacity: Int
    private var sessions: [Key: Kept] = [:]
    /// The keys in the order in which they came, oldest first. Those of sessions that were taken or replaced stay until it's their
    /// turn, or until there are too many.
    private var order: CircularBuffer<(key: Key, number: Int)> = []
    private var lastNumber = 0

    /// - Parameter capacity: how many sessions are kept.
    package init(capacity: Int = 1000, on loop: any EventLoop) {
        self.capacity = capacity
        self.loop = loop
    }

    deinit { for kept in sessions.values { SSL_SESSION_free(kept.session) } }

    /// Takes a session over, with its reference.
    ///
    /// - Parameter proof: how the server had shown who it is.
    func keep(_ session: OpaquePointer, _ proof: ServerProof?, _ key: Key) {
        loop.assertInEventLoop()
        lastNumber += 1
        if let old = sessions.updateValue(Kept(session: session, proof: proof, number: lastNumber), forKey: key) {
            SSL_SESSION_free(old.session)
        }
        order.append((key, lastNumber))
        while sessions.count > capacity, let oldest = order.popFirst() {
            guard isKept(oldest), let old = sessions.removeValue(forKey: oldest.key) else { continue }
            SSL_SESSION_free(old.session)
        }
        if order.count > 2 * capacity { order = CircularBuffer(order.filter(isKept)) }
    }

    private func isKept(_ place: (key: Key, number: Int)) -> Bool { sessions[place.key]?.number == place.number }

    /// A session to resume, once: tickets are for one use (RFC 8446 §C.4). The reference is the caller's.
    func take(_ key: Key) -> (session: OpaquePointer, proof: ServerProof?)? {
        loop.assertInEventLoop()
        return sessions.removeValue(forKey: key).map { ($0.session, $0.proof) }
    }
}
