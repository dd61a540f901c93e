import Encodings
import MIME

/// The name of a mailbox in UTF-8. On the wire names are in modified UTF-7 (RFC 3501 §5.1.3).
package struct MailboxName: Sendable, Hashable, CustomStringConvertible {
    package let text: String
    /// False for what came as a name and can't be one: no mailbox has it.
    package let isWellFormed: Bool

    package init(_ text: String) { self.init(text, isWellFormed: true) }

    private init(_ text: String, isWellFormed: Bool) {
        // INBOX is the one name that doesn't depend on case.
        self.text = ASCII.equal(text.utf8, "INBOX") ? "INBOX" : text
        self.isWellFormed = isWellFormed
    }

    package static let inbox = MailboxName("INBOX")

    package var description: String { text }

    /// Reads a name from the wire. Names that are malformed, empty or have control characters are not well-formed.
    ///
    /// - Parameter isUTF8: whether the client has asked for names in UTF-8 (RFC 9051 §5.1, RFC 6855); otherwise they are in
    ///   modified UTF-7, and UTF-8 is taken as well.
    package init(wire octets: [UInt8], isUTF8: Bool = false) {
        let decoded = isUTF8 ? String(validating: octets, as: UTF8.self) : Self.decode(octets)
        guard let text = decoded, !text.isEmpty, !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            self.init(String(decoding: octets, as: UTF8.self), isWellFormed: false)
            return
        }
        self.init(text)
    }

    /// The name in modified UTF-7.
    package var wire: [UInt8] { Self.encode(text) }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,".utf8)
    private static let shift = UInt8(ascii: "&")

    /// Text in modified UTF-7.
    package static func encode(_ text: String) -> [UInt8] {
        var wire: [UInt8] = []
        var units: [UInt16] = []
        func flush() {
            guard !units.isEmpty else { return }
            wire.append(shift)
            var bits: UInt32 = 0
            var count = 0
            for unit in units {
                bits = bits << 16 | UInt32(unit)
                count += 16
                while count >= 6 {
                    count -= 6
                    wire.append(alphabet[Int(bits >> UInt32(count) & 63)])
                }
                bits &= 63
            }
            if count > 0 { wire.append(alphabet[Int(bits << UInt32(6 - count) & 63)]) }
            wire.append(UInt8(ascii: "-"))
            units = []
        }
        for unit in text.utf16 {
            if (0x20...0x7E).contains(unit) {
                flush()
                wire.append(UInt8(truncatingIfNeeded: unit))
                if UInt8(truncatingIfNeeded: unit) == shift { wire.append(UInt8(ascii: "-")) }
            } else {
                units.append(unit)
            }
        }
        flush()
        return wire
    }

    /// Text from modified UTF-7; nil for what is neither that nor UTF-8.
    package static func decode(_ wire: [UInt8]) -> String? {
        if wire.contains(where: { $0 >= 0x80 }) { return String(validating: wire, as: UTF8.self) }
        var units: [UInt16] = []
        var rest = wire[...]
        while let octet = rest.popFirst() {
            guard octet == shift else {
                units.append(UInt16(octet))
                continue
            }
            guard let end = rest.firstIndex(of: UInt8(ascii: "-")) else { return nil }
            let run = rest[..<end]
            rest = rest[(end + 1)...]
            if run.isEmpty {
                units.append(UInt16(shift))
            } else {
                guard let decoded = decodeRun(run) else { return nil }
                units += decoded
            }
        }
        return String(validating: units, as: UTF16.self)
    }

    private static func decodeRun(_ run: ArraySlice<UInt8>) -> [UInt16]? {
        var units: [UInt16] = []
        var bits: UInt32 = 0
        var count = 0
        for character in run {
            guard let value = character == UInt8(ascii: ",") ? 63 : Base64.value(of: character),
                character != UInt8(ascii: "/")
            else { return nil }
            bits = bits << 6 | value
            count += 6
            if count >= 16 {
                count -= 16
                units.append(UInt16(truncatingIfNeeded: bits >> UInt32(count)))
            }
            bits &= (1 << 22) - 1
        }
        let padding = bits & ((1 << UInt32(count)) - 1)
        return count < 6 && padding == 0 && !units.isEmpty ? units : nil
    }
}
