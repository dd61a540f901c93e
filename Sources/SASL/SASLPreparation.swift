import CIDN

/// SASLprep (RFC 4013), by which both sides of SCRAM write a password the same way.
package enum SASLPreparation {
    /// A password as its verifier is made of it.
    ///
    /// - Returns: nil for one that is empty then, or has what is not allowed.
    package static func prepared(_ text: String) -> [UInt8]? {
        let octets = Array(text.utf8)
        guard !octets.isEmpty, !octets.contains(0) else { return nil }
        // ASCII without control characters is as it should be, and most are that.
        if octets.allSatisfy({ (0x20..<0x7f).contains($0) }) { return octets }
        // NFKC makes at most 18 characters of one.
        var room = [CChar](repeating: 0, count: octets.count * 24 + 1)
        for (index, octet) in octets.enumerated() { room[index] = CChar(bitPattern: octet) }
        guard CIDN_saslprep(&room, room.count) == 0 else { return nil }
        let prepared = room.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        return prepared.isEmpty ? nil : prepared
    }
}
