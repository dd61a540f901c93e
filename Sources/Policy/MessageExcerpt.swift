import MIME
import MailRules
import NIOCore

/// What rules may look at of a message: its header and the beginning of its body, both bounded.
package struct MessageExcerpt: Sendable {
    private let bodyLimit: Int
    private var octets: [UInt8] = []

    /// Fields behind that many octets of a header aren't looked at.
    package static let headerLimit = 256 * 1024

    /// - Parameter bodyLimit: octets of the body that are kept.
    package init(bodyLimit: Int) { self.bodyLimit = bodyLimit }

    /// Takes the next octets of the message.
    package mutating func append(_ more: some Collection<UInt8>) {
        let room = Self.headerLimit + bodyLimit - octets.count
        if room > 0 { octets += more.prefix(room) }
    }

    package var facts: (fields: [(name: String, value: [UInt8])], body: [UInt8]) {
        let end = headerEnd
        let header = HeaderBlock(Array(octets[..<end.header]))
        let fields = header.fields.map { field in
            (
                name: String(decoding: header.name(of: field).map(ASCII.lower), as: UTF8.self),
                value: EncodedWords.decode(header.value(of: field))
            )
        }
        return (fields, Array(octets[end.body...].prefix(bodyLimit)))
    }

    /// Where the header's fields end, and where the body begins: at the first empty line.
    private var headerEnd: (header: Int, body: Int) {
        var start = 0
        while let end = octets[start...].firstIndex(of: ASCII.lineFeed) {
            if end == start || end == start + 1 && octets[start] == ASCII.carriageReturn { return (start, end + 1) }
            start = end + 1
        }
        return (octets.count, octets.count)
    }
}

extension MessageFacts {
    /// Adds what stands in the message.
    package mutating func add(_ excerpt: MessageExcerpt) { (fields, body) = excerpt.facts }
}
