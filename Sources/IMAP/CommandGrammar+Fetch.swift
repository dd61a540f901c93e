import MIME

extension CommandGrammar {
    /// What FETCH asks: a macro, one item or a list.
    mutating func fetchItems() throws(SyntaxError) -> [FetchItem] {
        if scanner.take(word: "ALL") { return [.flags, .internalDate, .size, .envelope] }
        if scanner.take(word: "FAST") { return [.flags, .internalDate, .size] }
        if scanner.take(word: "FULL") { return [.flags, .internalDate, .size, .envelope, .body] }
        guard scanner.next == UInt8(ascii: "(") else { return [try Self.fetchItem(&scanner)] }
        let items = try scanner.list { scanner throws(SyntaxError) in try Self.fetchItem(&scanner) }
        guard (1...Self.count).contains(items.count) else { throw SyntaxError("FETCH items expected") }
        return items
    }

    private static func fetchItem(_ scanner: inout CommandScanner) throws(SyntaxError) -> FetchItem {
        let name = String(
            decoding: scanner.run { CommandScanner.isAtomCharacter($0) && $0 != UInt8(ascii: "[") }.map(ASCII.upper),
            as: UTF8.self
        )
        switch name {
        case "ENVELOPE": return .envelope
        case "FLAGS": return .flags
        case "INTERNALDATE": return .internalDate
        case "UID": return .uid
        case "RFC822.SIZE": return .size
        case "RFC822": return .rfc822
        case "RFC822.HEADER": return .rfc822Header
        case "RFC822.TEXT": return .rfc822Text
        case "BODYSTRUCTURE": return .bodyStructure
        case "BODY" where scanner.next != UInt8(ascii: "["): return .body
        case "BODY", "BODY.PEEK":
            try scanner.expect(UInt8(ascii: "["), "section")
            let section = try section(&scanner)
            return .section(section, partial: try partial(&scanner), peek: name == "BODY.PEEK")
        case "BINARY", "BINARY.PEEK":
            let part = try binaryPart(&scanner)
            return .binary(part, partial: try partial(&scanner), peek: name == "BINARY.PEEK")
        case "BINARY.SIZE": return .binarySize(try binaryPart(&scanner))
        // Its one modifier (RFC 8970 §3.1); another list is FETCH's own, or an error by itself.
        case "PREVIEW": return .preview(isLazy: scanner.take(word: " (LAZY)"))
        case "MODSEQ": return .modSequence
        case "EMAILID": return .emailID
        case "THREADID": return .threadID
        case "SAVEDATE": return .saveDate
        default: throw SyntaxError("unknown FETCH item")
        }
    }

    static func section(_ scanner: inout CommandScanner) throws(SyntaxError) -> Section {
        var section = Section()
        while let octet = scanner.next, ASCII.isDigit(octet) {
            let number = try scanner.number()
            guard number > 0, section.part.count < nesting else { throw SyntaxError("malformed part number") }
            section.part.append(Int(number))
            if scanner.take(UInt8(ascii: "]")) { return section }
            try scanner.expect(UInt8(ascii: "."), "end of section")
        }
        if section.part.isEmpty, scanner.take(UInt8(ascii: "]")) { return section }
        let name = try scanner.keyword()
        switch name {
        case "HEADER": section.text = .header
        case "HEADER.FIELDS": section.text = .headerFields(try headerNames(&scanner))
        case "HEADER.FIELDS.NOT": section.text = .headerFieldsNot(try headerNames(&scanner))
        case "TEXT": section.text = .text
        case "MIME" where !section.part.isEmpty: section.text = .mime
        default: throw SyntaxError("unknown section")
        }
        try scanner.expect(UInt8(ascii: "]"), "end of section")
        return section
    }

    private static func binaryPart(_ scanner: inout CommandScanner) throws(SyntaxError) -> [Int] {
        try scanner.expect(UInt8(ascii: "["), "section")
        let section = try section(&scanner)
        guard section.text == .content else { throw SyntaxError("only part numbers are expected there") }
        return section.part
    }

    /// `(CHANGEDSINCE n VANISHED)`, `(PARTIAL 1:100)`.
    mutating func fetchModifiers() throws(SyntaxError) -> FetchModifiers {
        var modifiers = FetchModifiers()
        guard scanner.another() else { return modifiers }
        _ = try scanner.list { scanner throws(SyntaxError) in
            switch try scanner.keyword() {
            case "CHANGEDSINCE":
                try scanner.space()
                modifiers.changedSince = try scanner.number64()
            case "VANISHED": modifiers.vanished = true
            case "PARTIAL":
                try scanner.space()
                modifiers.partial = try scanner.partialRange()
            default: throw SyntaxError("unknown FETCH modifier")
            }
        }
        return modifiers
    }

    private static func headerNames(_ scanner: inout CommandScanner) throws(SyntaxError) -> [[UInt8]] {
        try scanner.space()
        let names = try scanner.list { scanner throws(SyntaxError) in try scanner.astring() }
        guard (1...count).contains(names.count) else { throw SyntaxError("header names expected") }
        return names
    }

    private static func partial(_ scanner: inout CommandScanner) throws(SyntaxError) -> Partial? {
        guard scanner.take(UInt8(ascii: "<")) else { return nil }
        // Of 63 bits since IMAP4rev2 (RFC 9051 §9, partial-range).
        let start = try scanner.number64()
        try scanner.expect(UInt8(ascii: "."), "dot")
        let count = try scanner.number64()
        guard count > 0 else { throw SyntaxError("no octets asked for") }
        try scanner.expect(UInt8(ascii: ">"), "end of range")
        return Partial(start: Int(clamping: start), count: Int(clamping: count))
    }
}
