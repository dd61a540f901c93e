import MIME
import NIOCore

/// The kind of a status response (RFC 3501 §7.1).
package enum Status: String, Sendable, Equatable {
    case ok = "OK"
    case no = "NO"
    case bad = "BAD"
    case bye = "BYE"
    case preauth = "PREAUTH"
}

/// Writes responses (RFC 3501 §7 and §9, `response`) into a buffer.
package struct ResponseWriter {
    package var buffer: ByteBuffer
    /// What the client has asked for.
    let dialect: Dialect

    package init(_ buffer: ByteBuffer = ByteBuffer(), for dialect: Dialect = Dialect()) {
        self.buffer = buffer
        self.dialect = dialect
    }

    // MARK: Whole responses

    /// A status response; untagged where the tag is nil.
    package mutating func status(_ status: Status, tag: String? = nil, code: ResponseCode? = nil, _ text: String) {
        raw(tag ?? "*")
        raw(" \(status.rawValue) ")
        if let code { raw("[\(code.text)] ") }
        line(text.isEmpty ? "-" : text)
        end()
    }

    /// A continuation request: `+ text`.
    package mutating func continuation(_ text: String) {
        raw("+ ")
        line(text)
        end()
    }

    package mutating func capability(_ names: [String]) {
        raw("* CAPABILITY " + names.joined(separator: " "))
        end()
    }

    package mutating func enabled(_ names: [String]) {
        raw((["* ENABLED"] + names).joined(separator: " "))
        end()
    }

    /// `* 23 EXISTS`, and the like.
    package mutating func number(_ number: Int, _ word: StaticString) {
        raw("* \(number) ")
        buffer.writeStaticString(word)
        end()
    }

    /// `* FLAGS (…)`
    package mutating func flags(_ flags: [Flag]) {
        raw("* FLAGS ")
        flagList(flags)
        end()
    }

    /// `* LIST (attributes) "delimiter" name`, or LSUB.
    ///
    /// - Parameters:
    ///   - name: nil for the empty name.
    ///   - childInfo: what has made the name's children match, where nothing has made itself (RFC 5258 §3.5).
    package mutating func list(
        _ word: StaticString,
        attributes: [String],
        delimiter: UInt8?,
        name: MailboxName?,
        childInfo: [String] = []
    ) {
        raw("* ")
        buffer.writeStaticString(word)
        raw(" (" + attributes.joined(separator: " ") + ") ")
        if let delimiter { string([delimiter]) } else { raw("NIL") }
        space()
        if let name { mailbox(name) } else { raw("\"\"") }
        if !childInfo.isEmpty {
            raw(" (\"CHILDINFO\" (" + childInfo.map { "\"\($0)\"" }.joined(separator: " ") + "))")
        }
        end()
    }

    package mutating func status(_ name: MailboxName, _ items: [(StatusItem, String)]) {
        raw("* STATUS ")
        mailbox(name)
        raw(" (" + items.map { "\($0.0.rawValue) \($0.1)" }.joined(separator: " ") + ")")
        end()
    }

    /// RFC 9208 §5.2: the roots of a mailbox.
    package mutating func quotaRoots(_ name: MailboxName, _ roots: [[UInt8]]) {
        raw("* QUOTAROOT ")
        mailbox(name)
        for root in roots {
            space()
            astring(root)
        }
        end()
    }

    /// RFC 9208 §5.1: storage in units of 1,024 octets.
    package mutating func quota(_ root: [UInt8], storage: Int, limit: Int) {
        raw("* QUOTA ")
        astring(root)
        raw(" (STORAGE \(storage) \(limit))")
        end()
    }

    /// RFC 5464 §4.4.1: annotations with their values.
    ///
    /// - Parameter name: nil for the server's.
    package mutating func metadata(_ name: MailboxName?, _ values: [AnnotationValue]) {
        raw("* METADATA ")
        if let name { mailbox(name) } else { raw("\"\"") }
        raw(" (")
        for (index, value) in values.enumerated() {
            if index > 0 { space() }
            astring(Array(value.name.description.utf8))
            space()
            if let octets = value.value, octets.contains(ASCII.nul) {
                binaryHead(octets.count)
                raw(octets)
            } else {
                nstring(value.value)
            }
        }
        raw(")")
        end()
    }

    /// RFC 5464 §4.4.2: annotations that have changed.
    package mutating func metadata(_ name: MailboxName?, changed names: [AnnotationName]) {
        raw("* METADATA ")
        if let name { mailbox(name) } else { raw("\"\"") }
        for name in names {
            space()
            astring(Array(name.description.utf8))
        }
        end()
    }

    /// Numbers of a SEARCH or SORT response, of which there may be many: they go out in several writes.
    package mutating func numbers(_ numbers: some Sequence<UInt32>) {
        for number in numbers {
            space()
            decimal(Int(number))
        }
    }

    /// Part of a sequence set, of which there may be much: it goes out in several writes.
    ///
    /// - Parameters:
    ///   - numbers: in their order; what ascends by one becomes a range.
    ///   - whole: where the set's numbers are.
    ///   - start: where this part begins.
    ///   - maximum: ranges that are written.
    /// - Returns: where the next part begins, or the end of `whole`.
    package mutating func setPart(
        _ numbers: [UInt32],
        _ whole: Range<Int>,
        from start: Int,
        maximum: Int
    ) -> Int {
        var next = start
        var count = 0
        while next < whole.upperBound, count < maximum {
            if next > whole.lowerBound { buffer.writeInteger(UInt8(ascii: ",")) }
            let first = numbers[next]
            var last = first
            next += 1
            while next < whole.upperBound, last != .max, numbers[next] == last + 1 {
                last += 1
                next += 1
            }
            decimal(Int(first))
            if last > first {
                buffer.writeInteger(UInt8(ascii: ":"))
                decimal(Int(last))
            }
            count += 1
        }
        return next
    }

    /// RFC 7162 §3.2.10: UIDs of messages that are gone.
    ///
    /// - Parameter isEarlier: they went before the mailbox was selected, or nobody knows when: message numbers stay.
    package mutating func vanished(_ uids: String, isEarlier: Bool = false) {
        raw("* VANISHED " + (isEarlier ? "(EARLIER) " : "") + uids)
        end()
    }

    /// RFC 7162 §3.1.4.2
    package mutating func modSequence(_ sequence: UInt64) { raw("MODSEQ (\(sequence))") }

    /// The beginning of a FETCH response, up to its items; of UIDFETCH where the client has no message numbers (RFC 9586
    /// §3.3).
    package mutating func fetchHead(number: Int, uid: UInt32) {
        buffer.writeStaticString("* ")
        decimal(dialect.usesUIDsOnly ? Int(uid) : number)
        buffer.writeStaticString(dialect.usesUIDsOnly ? " UIDFETCH (" : " FETCH (")
    }

    /// The beginning of an ESEARCH response, up to its results (RFC 4731, and RFC 7377 §2.1 where a mailbox is named).
    package mutating func extendedSearchHead(
        tag: String,
        byUID: Bool,
        in mailbox: (name: MailboxName, uidValidity: UInt32)? = nil
    ) {
        raw("* ESEARCH (TAG ")
        string(Array(tag.utf8))
        if let mailbox {
            raw(" MAILBOX ")
            self.mailbox(mailbox.name)
            raw(" UIDVALIDITY \(mailbox.uidValidity)")
        }
        raw(byUID ? ") UID" : ")")
    }

    /// A result of ESEARCH that is one number, such as ` COUNT 5`.
    package mutating func searchResult(_ name: StaticString, _ number: Int) {
        space()
        buffer.writeStaticString(name)
        space()
        decimal(number)
    }

    /// RFC 2342: one personal namespace, and where there are any, one of other users and one for all.
    ///
    /// - Parameters:
    ///   - others: what stands in front of the names of other users' mailboxes.
    ///   - shared: in front of those for all.
    package mutating func namespace(delimiter: UInt8, others: MailboxName? = nil, shared: MailboxName? = nil) {
        raw("* NAMESPACE ((\"\" ")
        string([delimiter])
        raw("))")
        for prefix in [others, shared] {
            guard let prefix else {
                raw(" NIL")
                continue
            }
            raw(" ((")
            string(dialect.hasUTF8Names ? Array(prefix.text.utf8) : prefix.wire)
            space()
            string([delimiter])
            raw("))")
        }
        end()
    }

    /// RFC 4314 §3.6
    package mutating func acl(_ name: MailboxName, _ entries: [(identifier: String, rights: String)]) {
        raw("* ACL ")
        mailbox(name)
        for entry in entries {
            space()
            astring(Array(entry.identifier.utf8))
            space()
            astring(Array(entry.rights.utf8))
        }
        end()
    }

    /// RFC 4314 §3.7
    package mutating func listRights(_ name: MailboxName, _ identifier: [UInt8], required: String, optional: [String]) {
        raw("* LISTRIGHTS ")
        mailbox(name)
        space()
        astring(identifier)
        space()
        astring(Array(required.utf8))
        for right in optional { raw(" " + right) }
        end()
    }

    /// RFC 4314 §3.8
    package mutating func myRights(_ name: MailboxName, _ rights: String) {
        raw("* MYRIGHTS ")
        mailbox(name)
        space()
        astring(Array(rights.utf8))
        end()
    }

    /// RFC 2971
    package mutating func id(_ fields: [IDField]) {
        raw("* ID ")
        if fields.isEmpty {
            raw("NIL")
        } else {
            raw("(")
            for (index, field) in fields.enumerated() {
                if index > 0 { space() }
                string(field.name)
                space()
                nstring(field.value)
            }
            raw(")")
        }
        end()
    }

    // MARK: Elements

    package mutating func end() { buffer.writeStaticString("\r\n") }

    package mutating func space() { buffer.writeInteger(ASCII.space) }

    package mutating func raw(_ text: String) { buffer.writeString(text) }

    /// A number that isn't negative, without a string for it: there are some in each of many lines.
    package mutating func decimal(_ number: Int) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { digits in
            var rest = UInt(bitPattern: max(0, number))
            var start = digits.count
            repeat {
                start -= 1
                digits[start] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
            } while rest > 0
            buffer.writeBytes(UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(digits)[start...]))
        }
    }

    package mutating func raw(_ octets: some Sequence<UInt8>) {
        // At once where they lie together: one by one they'd cost a call each.
        let isWritten: Void? = octets.withContiguousStorageIfAvailable {
            _ = buffer.writeBytes(UnsafeRawBufferPointer($0))
        }
        if isWritten == nil { buffer.writeBytes(octets) }
    }

    /// Text for people: no line ends, nothing beyond ASCII.
    private mutating func line(_ text: String) {
        raw(text.utf8.map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") })
    }

    /// A mailbox's name: in modified UTF-7, or in UTF-8 between quotes where the client has asked for it.
    package mutating func mailbox(_ name: MailboxName) {
        guard dialect.hasUTF8Names else { return astring(name.wire) }
        let text = Array(name.text.utf8)
        if text.allSatisfy({ $0 < 0x80 }) { astring(text) } else { quoted(text) }
    }

    package mutating func flagList(_ flags: [Flag]) {
        raw("(" + flags.map(\.name).joined(separator: " ") + ")")
    }

    /// Between quotes where that is allowed, otherwise as a literal.
    package mutating func string(_ text: some Collection<UInt8>) {
        let isQuotable =
            text.count <= 1000 && text.allSatisfy { $0 >= 0x20 && $0 < 0x7F }
        guard isQuotable else {
            literalHead(text.count)
            literalOctets(text)
            return
        }
        quoted(text)
    }

    private mutating func quoted(_ text: some Collection<UInt8>) {
        buffer.writeInteger(ASCII.quote)
        for octet in text {
            if octet == ASCII.quote || octet == ASCII.backslash { buffer.writeInteger(ASCII.backslash) }
            buffer.writeInteger(octet)
        }
        buffer.writeInteger(ASCII.quote)
    }

    /// `NIL` for nothing.
    package mutating func nstring(_ text: [UInt8]?) {
        if let text { string(text) } else { raw("NIL") }
    }

    /// Plain where that is allowed.
    package mutating func astring(_ text: [UInt8]) {
        if !text.isEmpty, text.allSatisfy(CommandScanner.isAtomCharacter), !ASCII.equal(text, "NIL") {
            raw(text)
        } else {
            string(text)
        }
    }

    /// Announces a literal; its octets must follow.
    package mutating func literalHead(_ count: Int) { raw("{\(count)}\r\n") }

    /// The same for octets of any kind (RFC 3516 §4.2).
    package mutating func binaryHead(_ count: Int) { raw("~{\(count)}\r\n") }

    /// What stands in a literal. NUL can't (RFC 3501 §9, CHAR8), and strangers' messages have it; it becomes 0x80, as other
    /// servers have it: no text has that, and the length stays.
    package mutating func literalOctets(_ octets: some Collection<UInt8>) {
        let hasNUL = octets.withContiguousStorageIfAvailable { $0.contains(ASCII.nul) } ?? octets.contains(ASCII.nul)
        if hasNUL {
            raw(octets.lazy.map { $0 == ASCII.nul ? 0x80 : $0 })
        } else {
            raw(octets)
        }
    }

    /// As `literalOctets`, of what is sent by itself.
    package static func withoutNUL(_ octets: ByteBuffer) -> ByteBuffer {
        guard octets.readableBytesView.contains(ASCII.nul) else { return octets }
        return ByteBuffer(bytes: octets.readableBytesView.map { $0 == ASCII.nul ? 0x80 : $0 })
    }

    /// `"17-Jul-1996 02:44:25 -0700"`; the day has two places.
    package mutating func dateTime(_ date: DateTime) {
        var text: [UInt8] = [ASCII.quote]
        if date.day < 10 { text.append(ASCII.space) }
        text += Array(String(date.day).utf8)
        text.append(UInt8(ascii: "-"))
        text += DateTime.name(ofMonth: date.month).withUTF8Buffer { Array($0) }
        text.append(UInt8(ascii: "-"))
        DateTime.write(date.year, digits: 4, to: &text)
        text.append(ASCII.space)
        date.writeTime(to: &text)
        text.append(ASCII.quote)
        raw(text)
    }
}
