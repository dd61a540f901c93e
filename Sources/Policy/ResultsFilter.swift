import MIME
import MailAuth
import NIOCore

/// Takes what claims to be our own word out of a message's header while it streams by (RFC 8601 §5).
struct ResultsFilter {
    private let authservID: [UInt8]
    private let removesBcc: Bool
    /// What came of the header, until all of it is there.
    private var held = ByteBuffer()
    private(set) var isHeaderPassed = false
    /// Whether the header is longer than can be looked through.
    private(set) var isHeaderTooLong = false

    /// - Parameter removesBcc: whether fields go that say who else gets a copy (RFC 5322 §3.6.3).
    init(authservID: String, removesBcc: Bool = false) {
        self.authservID = Array(authservID.utf8)
        self.removesBcc = removesBcc
    }

    /// Takes the next octets of a message as they came.
    ///
    /// - Parameter header: once it has ended, with these octets or before.
    /// - Returns: what may go on: the header once it has ended, then everything as it comes.
    mutating func pass(_ octets: ByteBuffer, header: HeaderBlock?) -> ByteBuffer {
        if isHeaderPassed { return octets }
        guard held.readableBytes + octets.readableBytes <= MessageAuthentication.maximumHeader || header != nil else {
            isHeaderTooLong = true
            return ByteBuffer()
        }
        held.writeImmutableBuffer(octets)
        guard let header else { return ByteBuffer() }
        guard header.octets.count < MessageAuthentication.maximumHeader else {
            isHeaderTooLong = true
            return ByteBuffer()
        }
        isHeaderPassed = true
        var removed = AuthenticationResults.forged(in: header, authservID: authservID)
        if removesBcc { removed = (removed + Self.blindCopies(in: header)).sorted() }
        defer { held = ByteBuffer() }
        guard !removed.isEmpty else { return held }
        var rest = ByteBuffer(bytes: AuthenticationResults.removing(removed, from: header))
        held.moveReaderIndex(forwardBy: header.octets.count)
        rest.writeImmutableBuffer(held)
        return rest
    }

    private static func blindCopies(in header: HeaderBlock) -> [Int] {
        header.fields.indices.filter { place in
            let name = header.name(of: header.fields[place])
            return ASCII.equal(name, "bcc") || ASCII.equal(name, "resent-bcc")
        }
    }

    /// There is no header: everything goes on.
    mutating func giveUp(_ octets: ByteBuffer) -> ByteBuffer {
        isHeaderPassed = true
        defer { held = ByteBuffer() }
        held.writeImmutableBuffer(octets)
        return held
    }
}

/// The same for messages whose authors aren't checked. Belongs to one event loop.
package final class ForgedResultsFilter {
    private let hasher = MessageHasher(readsSignatures: false)
    private var filter: ResultsFilter

    /// - Parameters:
    ///   - authservID: our name in Authentication-Results.
    ///   - removesBcc: whether Bcc and Resent-Bcc are taken out too.
    package init(authservID: String, removesBcc: Bool = false) {
        filter = ResultsFilter(authservID: authservID, removesBcc: removesBcc)
    }

    /// The header as it came, once it has ended; nil where there is none.
    package var header: HeaderBlock? { hasher.endedHeader }

    /// Whether the header is longer than can be looked through: what it claims can't be known.
    package var isHeaderTooLong: Bool { filter.isHeaderTooLong }

    /// Takes the next octets of the message, and returns those that may go on.
    ///
    /// - Parameter isHeaderless: the message is text alone, and claims nothing.
    package func pass(_ octets: ByteBuffer, isHeaderless: Bool) -> ByteBuffer {
        // The body isn't looked at.
        if filter.isHeaderPassed { return octets }
        if isHeaderless { return filter.giveUp(octets) }
        octets.withUnsafeReadableBytes { hasher.feed($0) }
        return filter.pass(octets, header: hasher.endedHeader)
    }

    /// The end of the message: returns the rest of it.
    package func end() -> ByteBuffer {
        if filter.isHeaderPassed { return ByteBuffer() }
        _ = hasher.finish()
        return filter.pass(ByteBuffer(), header: hasher.endedHeader)
    }
}
