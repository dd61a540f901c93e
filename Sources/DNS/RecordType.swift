/// The type of a resource record or of a question (RFC 1035 §3.2.2 and the IANA registry).
package struct RecordType: RawRepresentable, Hashable, Sendable {
    /// The number on the wire.
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = RecordType(rawValue: 1)
    package static let ns = RecordType(rawValue: 2)
    package static let cname = RecordType(rawValue: 5)
    package static let soa = RecordType(rawValue: 6)
    package static let ptr = RecordType(rawValue: 12)
    package static let hinfo = RecordType(rawValue: 13)
    package static let mx = RecordType(rawValue: 15)
    package static let txt = RecordType(rawValue: 16)
    package static let rp = RecordType(rawValue: 17)
    package static let aaaa = RecordType(rawValue: 28)
    package static let loc = RecordType(rawValue: 29)
    package static let srv = RecordType(rawValue: 33)
    package static let naptr = RecordType(rawValue: 35)
    package static let dname = RecordType(rawValue: 39)
    package static let opt = RecordType(rawValue: 41)
    package static let ds = RecordType(rawValue: 43)
    package static let sshfp = RecordType(rawValue: 44)
    package static let rrsig = RecordType(rawValue: 46)
    package static let nsec = RecordType(rawValue: 47)
    package static let dnskey = RecordType(rawValue: 48)
    package static let nsec3 = RecordType(rawValue: 50)
    package static let nsec3param = RecordType(rawValue: 51)
    package static let tlsa = RecordType(rawValue: 52)
    package static let smimea = RecordType(rawValue: 53)
    package static let cds = RecordType(rawValue: 59)
    package static let cdnskey = RecordType(rawValue: 60)
    package static let openpgpkey = RecordType(rawValue: 61)
    package static let zonemd = RecordType(rawValue: 63)
    package static let svcb = RecordType(rawValue: 64)
    package static let https = RecordType(rawValue: 65)
    package static let spf = RecordType(rawValue: 99)
    /// Says in a proof that a name doesn't exist, and is nowhere else (RFC 9824 §2).
    package static let nxname = RecordType(rawValue: 128)
    package static let tkey = RecordType(rawValue: 249)
    package static let tsig = RecordType(rawValue: 250)
    package static let ixfr = RecordType(rawValue: 251)
    package static let axfr = RecordType(rawValue: 252)
    package static let any = RecordType(rawValue: 255)
    package static let uri = RecordType(rawValue: 256)
    package static let caa = RecordType(rawValue: 257)

    /// Whether a type can only be asked for, or belongs to the message and not to the data (RFC 6895 §3.1).
    package var isMeta: Bool { rawValue == 41 || (128...255).contains(rawValue) || rawValue == 0 }

    private static let mnemonics: [UInt16: String] = [
        1: "A", 2: "NS", 3: "MD", 4: "MF", 5: "CNAME", 6: "SOA", 7: "MB", 8: "MG", 9: "MR", 10: "NULL", 11: "WKS",
        12: "PTR", 13: "HINFO", 14: "MINFO", 15: "MX", 16: "TXT", 17: "RP", 18: "AFSDB", 19: "X25", 20: "ISDN",
        21: "RT", 22: "NSAP", 24: "SIG", 25: "KEY", 26: "PX", 27: "GPOS", 28: "AAAA", 29: "LOC", 30: "NXT", 33: "SRV",
        35: "NAPTR", 36: "KX", 37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY",
        46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA",
        55: "HIP", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS",
        99: "SPF", 104: "NID", 105: "L32", 106: "L64", 107: "LP", 108: "EUI48", 109: "EUI64", 128: "NXNAME",
        249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA", 258: "AVC",
        260: "AMTRELAY",
    ]
    private static let numbers = Dictionary(uniqueKeysWithValues: mnemonics.map { ($0.value, $0.key) })

    /// A type from its mnemonic in any case, or from `TYPE123` (RFC 3597 §5); nil for anything else.
    package init?(mnemonic: some Collection<UInt8>) {
        let text = String(decoding: mnemonic.map { $0 &- 0x61 < 26 ? $0 & 0xDF : $0 }, as: UTF8.self)
        if let number = Self.numbers[text] {
            self.init(rawValue: number)
        } else if text.hasPrefix("TYPE"), let number = decimal(text.utf8.dropFirst(4)).flatMap(UInt16.init(exactly:)) {
            self.init(rawValue: number)
        } else {
            return nil
        }
    }
}

extension RecordType: CustomStringConvertible {
    /// The mnemonic, or `TYPE123` (RFC 3597 §5).
    package var description: String { Self.mnemonics[rawValue] ?? "TYPE\(rawValue)" }
}

/// The class of a record or of a question (RFC 1035 §3.2.4).
package struct RecordClass: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number on the wire.
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let internet = RecordClass(rawValue: 1)
    package static let chaos = RecordClass(rawValue: 3)
    package static let none = RecordClass(rawValue: 254)
    package static let any = RecordClass(rawValue: 255)

    /// The mnemonic, or `CLASS123` (RFC 3597 §5).
    package var description: String {
        switch rawValue {
        case 1: "IN"
        case 3: "CH"
        case 4: "HS"
        case 254: "NONE"
        case 255: "ANY"
        default: "CLASS\(rawValue)"
        }
    }

    /// A class from its mnemonic in any case, or from `CLASS123`; nil for anything else.
    package init?(mnemonic: some Collection<UInt8>) {
        let text = String(decoding: mnemonic.map { $0 &- 0x61 < 26 ? $0 & 0xDF : $0 }, as: UTF8.self)
        switch text {
        case "IN": self = .internet
        case "CH": self = .chaos
        case "HS": self.init(rawValue: 4)
        default:
            guard text.hasPrefix("CLASS"), let number = decimal(text.utf8.dropFirst(5)).flatMap(UInt16.init(exactly:))
            else { return nil }
            self.init(rawValue: number)
        }
    }
}

/// A number written in decimal digits alone, up to 2^32-1; nil for anything else.
func decimal(_ text: some Collection<UInt8>) -> UInt32? {
    guard !text.isEmpty, text.count <= 10 else { return nil }
    var value: UInt64 = 0
    for octet in text {
        guard isDigit(octet) else { return nil }
        value = value * 10 + UInt64(octet - 0x30)
    }
    return UInt32(exactly: value)
}
