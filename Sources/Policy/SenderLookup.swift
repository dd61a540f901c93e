import MailAuth
import NIOCore
import Resolution

/// Asks before a message comes whether its sender's domain lets the client send (RFC 7208). Belongs to one event loop.
package enum SenderLookup {
    /// The sender's domain where SPF says `pass`; nil for anything else, and where that isn't known in time.
    ///
    /// - Parameters:
    ///   - client: of 4 or 16 octets.
    ///   - sender: an address; a report's has no domain.
    ///   - timeout: how long answers are waited for.
    package static func domain(
        client: [UInt8],
        helo: String,
        sender: String,
        timeout: TimeAmount,
        on loop: any EventLoop,
        query: @escaping StubResolver.Query
    ) async -> String? {
        loop.assertInEventLoop()
        guard let at = sender.lastIndex(of: "@") else { return nil }
        let lookup = ResolverLookup(on: loop, query: query)
        let bounded = BoundedLookup(lookup, on: loop)
        bounded.deadline = .now() + timeout
        let spf = SPFQuery(address: client, mailFrom: Array(sender.utf8), helo: Array(helo.utf8))
        guard await AuthenticationCheck.SPF(spf, lookup: bounded).outcome.result == .pass else { return nil }
        return String(sender[sender.index(after: at)...])
    }
}
