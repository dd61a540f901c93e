extension EDNS: CustomStringConvertible {
    /// What the OPT record says but for its options: `version 0, flags do, udp 1232`.
    package var description: String {
        "version \(version), flags\(dnssecOK ? " do" : ""), udp \(payloadSize)"
    }
}

extension EDNS.Option: CustomStringConvertible {
    /// The option's name in the IANA registry, or `OPT123`.
    package var name: String { Self.names[code] ?? "OPT\(code)" }

    /// What it says: in its own form where it has one, else in hexadecimal.
    package var value: String {
        switch code {
        case 3: return text(data) ?? hexadecimal
        case 5, 6, 7: return data.map { String($0) }.joined(separator: " ")
        case 8: return subnet ?? hexadecimal
        case 11 where data.count == 2:
            let tenths = Int(data[0]) << 8 | Int(data[1])
            return "\(tenths / 10).\(tenths % 10) s"
        case 12: return "\(data.count) octets"
        case ExtendedError.optionCode: return ExtendedError(self).map(\.description) ?? hexadecimal
        default: return hexadecimal
        }
    }

    /// Name and value.
    package var description: String { data.isEmpty ? name : "\(name): \(value)" }

    private static let names: [UInt16: String] = [
        1: "LLQ", 3: "NSID", 5: "DAU", 6: "DHU", 7: "N3U", 8: "ECS", 9: "EXPIRE", 10: "COOKIE", 11: "KEEPALIVE",
        12: "PADDING", 13: "CHAIN", 14: "KEYTAG", 15: "EDE", 18: "REPORT-CHANNEL", 19: "ZONEVERSION",
    ]

    private var hexadecimal: String { String(decoding: RadixCoding.hexadecimal.encode(data), as: UTF8.self) }

    /// Printable text in quotes; nil for anything else.
    private func text(_ octets: [UInt8]) -> String? {
        octets.allSatisfy { (0x20...0x7E).contains($0) } ? CharacterString.quoted(octets) : nil
    }

    /// A client's network (RFC 7871 §6): `192.0.2.0/24/0`.
    private var subnet: String? {
        guard data.count >= 4 else { return nil }
        let count = data[0] == 0 && data[1] == 1 ? 4 : 16
        let address = Array(data[4...].prefix(count))
        let whole = address + [UInt8](repeating: 0, count: count - address.count)
        return "\(AddressText.print(whole))/\(data[2])/\(data[3])"
    }
}

extension ExtendedError: CustomStringConvertible {
    /// The code's meaning (RFC 8914 §4, and the IANA registry).
    package var meaning: String {
        Self.meanings.indices.contains(Int(code)) ? Self.meanings[Int(code)] : "Unknown"
    }

    /// `6 (DNSSEC Bogus): text`. The text is the sender's, and may hold anything.
    package var description: String { "\(code) (\(meaning))" + (text.isEmpty ? "" : ": \(text)") }

    private static let meanings = [
        "Other", "Unsupported DNSKEY Algorithm", "Unsupported DS Digest Type", "Stale Answer", "Forged Answer",
        "DNSSEC Indeterminate", "DNSSEC Bogus", "Signature Expired", "Signature Not Yet Valid", "DNSKEY Missing",
        "RRSIGs Missing", "No Zone Key Bit Set", "NSEC Missing", "Cached Error", "Not Ready", "Blocked", "Censored",
        "Filtered", "Prohibited", "Stale NXDOMAIN Answer", "Not Authoritative", "Not Supported",
        "No Reachable Authority", "Network Error", "Invalid Data", "Signature Expired before Valid", "Too Early",
        "Unsupported NSEC3 Iterations Value", "Unable to conform to policy", "Synthesized", "Invalid Query Type",
    ]
}
