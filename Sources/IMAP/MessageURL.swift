import Encodings
import MIME

/// A message, or a part of it, of the same account (RFC 5092 §11; RFC 4469 §4 gives CATENATE's use of it).
package struct MessageURL: Sendable, Equatable {
    /// nil for the selected mailbox.
    package var mailbox: MailboxName?
    package var uidValidity: UInt32?
    package var uid: UInt32
    package var section = Section()
    package var partial: Partial?

    /// Reads a relative URL, such as `/INBOX;UIDVALIDITY=3/;UID=20/;SECTION=1.2`; nil for anything else, also for other
    /// servers' messages.
    package init?(_ octets: [UInt8]) {
        guard let end = Self.find(";uid=", in: octets) else { return nil }
        guard let mailbox = Self.mailbox(octets[..<end]) else { return nil }
        self.mailbox = mailbox.name
        uidValidity = mailbox.validity
        let parts = octets[(end + 5)...].split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard let number = parts.first.flatMap({ ASCII.number($0) }), let uid = UInt32(exactly: number), uid > 0 else {
            return nil
        }
        self.uid = uid
        for part in parts.dropFirst() {
            guard let decoded = Self.decoded(part), let equals = decoded.firstIndex(of: UInt8(ascii: "=")) else {
                return nil
            }
            let value = Array(decoded[(equals + 1)...])
            if ASCII.equal(decoded[..<equals], ";section"), let section = CommandGrammar.section(value) {
                self.section = section
            } else if ASCII.equal(decoded[..<equals], ";partial"), let partial = Self.partial(value) {
                self.partial = partial
            } else {
                return nil
            }
        }
    }

    /// Where `/;uid=` or, at the beginning, `;uid=` stands.
    private static func find(_ word: StaticString, in octets: [UInt8]) -> Int? {
        let length = word.utf8CodeUnitCount
        guard octets.count >= length else { return nil }
        return (0...(octets.count - length)).first { start in
            ASCII.equal(octets[start..<(start + length)], word)
        }
    }

    private static func mailbox(_ octets: ArraySlice<UInt8>) -> (name: MailboxName?, validity: UInt32?)? {
        if octets.isEmpty { return (nil, nil) }
        // `//host` and `imap://host` are of other servers.
        guard octets.count > 2, octets.first == UInt8(ascii: "/"), octets.last == UInt8(ascii: "/") else { return nil }
        var name = octets.dropFirst().dropLast()
        guard name.first != UInt8(ascii: "/") else { return nil }
        var validity: UInt32?
        if let start = find(";uidvalidity=", in: Array(name)) {
            guard let number = ASCII.number(name.dropFirst(start + 13)), let value = UInt32(exactly: number) else {
                return nil
            }
            validity = value
            name = name.prefix(start)
        }
        guard let decoded = decoded(name) else { return nil }
        let mailbox = MailboxName(wire: decoded, isUTF8: true)
        return mailbox.isWellFormed ? (mailbox, validity) : nil
    }

    private static func decoded(_ octets: ArraySlice<UInt8>) -> [UInt8]? {
        PercentCoding.decode(octets)
    }

    private static func partial(_ value: [UInt8]) -> Partial? {
        let numbers = value.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard let start = numbers.first.flatMap({ ASCII.number($0) }), numbers.count <= 2 else { return nil }
        guard numbers.count == 2 else { return Partial(start: start, count: .max) }
        return ASCII.number(numbers[1]).map { Partial(start: start, count: $0) }
    }
}

extension CommandGrammar {
    /// A section as it stands between FETCH's brackets; nil for what is none.
    static func section(_ text: [UInt8]) -> Section? {
        var scanner = CommandScanner(text + [UInt8(ascii: "]")])
        do throws(SyntaxError) {
            let section = try section(&scanner)
            return scanner.isAtEnd ? section : nil
        } catch {
            return nil
        }
    }
}
