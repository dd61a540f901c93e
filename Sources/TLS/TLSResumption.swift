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

    private let loop: any EventLoop
    private let capacity: Int
    private var sessions: [Key: (session: OpaquePointer, proof: ServerProof?)] = [:]
    /// The keys in the order in which they came, oldest first; those of sessions that were taken stay until it's their turn.
    private var order: CircularBuffer<Key> = []

    /// - Parameter capacity: how many sessions are kept.
    package init(capacity: Int = 1000, on loop: any EventLoop) {
        self.capacity = capacity
        self.loop = loop
    }

    deinit { for (session, _) in sessions.values { SSL_SESSION_free(session) } }

    /// Takes a session over, with its reference.
    ///
    /// - Parameter proof: how the server had shown who it is.
    func keep(_ session: OpaquePointer, _ proof: ServerProof?, _ key: Key) {
        loop.assertInEventLoop()
        if let old = sessions.updateValue((session, proof), forKey: key) {
            SSL_SESSION_free(old.session)
            return
        }
        order.append(key)
        while order.count > capacity, let oldest = order.popFirst() {
            if let old = sessions.removeValue(forKey: oldest) { SSL_SESSION_free(old.session) }
        }
    }

    /// A session to resume, once: tickets are for one use (RFC 8446 §C.4). The reference is the caller's.
    func take(_ key: Key) -> (session: OpaquePointer, proof: ServerProof?)? {
        loop.assertInEventLoop()
        guard let kept = sessions.removeValue(forKey: key) else { return nil }
        if let place = order.firstIndex(of: key) { order.remove(at: place) }
        return kept
    }
}
