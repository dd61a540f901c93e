import MIME

/// Where a domain wants reports of TLS to go: the TXT record of `_smtp._tls.DOMAIN` (RFC 8460 §3).
package struct TLSReportRecord: Sendable, Hashable {
    /// `mailto:` and `https:` addresses.
    package let destinations: [[UInt8]]

    static let maximumDestinations = 10

    /// nil without addresses, with too many of them, and where one can't be written: commas and semicolons have to be
    /// escaped in them (RFC 8460 §3).
    package init?(destinations: [[UInt8]]) {
        guard (1...Self.maximumDestinations).contains(destinations.count),
            destinations.allSatisfy({ uri in Self.isDestination(uri) && !uri.contains { ",;".utf8.contains($0) } })
        else { return nil }
        self.destinations = destinations
    }

    /// The record's text.
    package var text: [UInt8] {
        Array("v=TLSRPTv1; rua=".utf8) + destinations.joined(separator: [UInt8(ascii: ",")])
    }

    /// Exactly one of the texts may be such a record; nil otherwise, and without addresses.
    package init?(texts: [[UInt8]]) {
        let records = texts.filter { Self.begins($0) }
        guard let text = records.first, records.count == 1 else { return nil }
        var found: [[UInt8]]?
        for field in text.split(separator: UInt8(ascii: ";")).dropFirst().prefix(50) {
            guard let equals = field.firstIndex(of: UInt8(ascii: "=")), found == nil,
                ASCII.trim(field[..<equals]).elementsEqual(Array("rua".utf8))
            else { continue }
            found = field[(equals + 1)...].split(separator: UInt8(ascii: ",")).map { Array(ASCII.trim($0)) }
        }
        let destinations = (found ?? []).prefix(Self.maximumDestinations).filter(Self.isDestination)
        guard !destinations.isEmpty else { return nil }
        self.destinations = Array(destinations)
    }

    private static func begins(_ text: [UInt8]) -> Bool {
        let version = Array("v=TLSRPTv1".utf8)
        return text.starts(with: version) && ASCII.trim(text[version.count...]).first == UInt8(ascii: ";")
    }

    private static func isDestination(_ uri: [UInt8]) -> Bool {
        guard let colon = uri.firstIndex(of: UInt8(ascii: ":")), colon + 1 < uri.count, uri.count <= 1024,
            uri.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return false }
        return ASCII.equal(uri[..<colon], "mailto") || ASCII.equal(uri[..<colon], "https")
    }
}
