import CIDN2
import DNS
import MIME

/// Domains as mail writes them: with or without letters beyond ASCII.
package enum MailDomain {
    /// The name in the DNS, U-labels as A-labels (IDNA2008, RFC 5891); nil for what is no domain.
    package static func name(_ text: [UInt8]) -> DomainName? {
        guard !text.isEmpty, text.count <= 4 * DomainName.maximumOctets else { return nil }
        if text.contains(where: { $0 >= 0x80 }) { return ascii(text).flatMap { name($0) } }
        guard text.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        return try? DomainName(dotted: text[...])
    }

    /// As `name`, but nil too where a label has other characters than letters, digits, hyphens and underscores, or a hyphen
    /// at an end: in tags, addresses and results, such text is no domain (RFC 5321 §4.1.2; underscores are what selectors and
    /// names of services have).
    package static func hostName(_ text: [UInt8]) -> DomainName? {
        if text.contains(where: { $0 >= 0x80 }) { return internationalHostName(text) }
        return isHostName(text) ? name(text) : nil
    }

    /// Whether there is such a name.
    package static func isHostName(_ text: [UInt8]) -> Bool {
        var label = 0
        var last = hyphen
        for octet in text {
            guard octet < 0x80 else { return internationalHostName(text) != nil }
            if octet == UInt8(ascii: ".") {
                guard label > 0, last != hyphen else { return false }
                label = 0
            } else {
                guard isDomainOctet(octet), label > 0 || octet != hyphen, label < DomainName.maximumLabelOctets else {
                    return false
                }
                label += 1
            }
            last = octet
        }
        // The first length and the root are two octets more.
        return label > 0 && last != hyphen && text.count <= DomainName.maximumOctets - 2
    }

    private static func internationalHostName(_ text: [UInt8]) -> DomainName? {
        // Other dots than the ASCII one would become it.
        let dots = text.count { $0 == UInt8(ascii: ".") }
        guard let name = name(text), name.labelCount == dots + 1 else { return nil }
        let isHost = name.labels.allSatisfy { label in
            label.allSatisfy { isDomainOctet($0) && $0 != UInt8(ascii: ".") } && label.first != hyphen
                && label.last != hyphen
        }
        return isHost ? name : nil
    }

    private static let hyphen = UInt8(ascii: "-")

    /// Letters, digits, hyphens, underscores and dots: what readers of mail can't take for anything but a domain's.
    static func isDomainOctet(_ octet: UInt8) -> Bool {
        ASCII.isLetter(octet) || ASCII.isDigit(octet) || octet == hyphen || octet == UInt8(ascii: "_")
            || octet == UInt8(ascii: ".")
    }

    private static func ascii(_ text: [UInt8]) -> [UInt8]? {
        guard !text.contains(0) else { return nil }
        var result: UnsafeMutablePointer<UInt8>?
        let flags = Int32(IDN2_NFC_INPUT.rawValue | IDN2_NONTRANSITIONAL.rawValue)
        guard idn2_lookup_u8(text + [0], &result, flags) == IDN2_OK.rawValue, let result else { return nil }
        defer { idn2_free(result) }
        var octets: [UInt8] = []
        var position = result
        while position.pointee != 0 {
            octets.append(position.pointee)
            position += 1
        }
        return octets
    }
}
