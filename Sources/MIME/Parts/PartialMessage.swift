/// A piece of a message that was cut for sending (message/partial, RFC 2046 §5.2.2).
package struct PartialMessage: Sendable, Equatable {
    /// What all pieces of one message share.
    package let identifier: [UInt8]
    /// From 1.
    package let number: Int
    /// How many there are; only the last piece has to say so.
    package let total: Int?

    /// The most pieces of one message.
    package static let maximum = 1000

    /// nil for other types, and for pieces whose parameters make no sense.
    package init?(_ content: ContentFields) {
        guard Self.isPartial(content), let identifier = content.type["id"], !identifier.isEmpty,
            let number = content.type["number"].flatMap({ ASCII.number(ASCII.trim($0[...])) }),
            (1...Self.maximum).contains(number)
        else { return nil }
        var total: Int?
        if let told = content.type["total"] {
            guard let count = ASCII.number(ASCII.trim(told[...])), (number...Self.maximum).contains(count) else {
                return nil
            }
            total = count
        }
        self.identifier = identifier
        self.number = number
        self.total = total
    }

    package static func isPartial(_ content: ContentFields) -> Bool {
        ASCII.equal(content.type.value, "message/partial")
    }
}

/// Puts the pieces of a cut message together (RFC 2046 §5.2.2.1); they may come in any order.
package struct PartialAssembly: Sendable {
    package enum Failure: Error, Equatable {
        /// The message isn't a piece of one.
        case notPartial
        /// Its identifier or total is another than that of the pieces before.
        case otherMessage
        /// There is one of that number already.
        case repeated(Int)
        /// The pieces have more octets than wanted.
        case tooLong
        /// These numbers haven't come; empty where it isn't known how many there are.
        case missing([Int])
    }

    private var identifier: [UInt8]?
    private var total: Int?
    private var pieces: [Int: [UInt8]] = [:]
    private var outer: HeaderBlock?
    private var octets = 0
    private let mostOctets: Int

    /// - Parameter mostOctets: of all pieces together.
    package init(mostOctets: Int) { self.mostOctets = mostOctets }

    /// Takes a message that is a piece.
    package mutating func add(_ message: [UInt8]) throws(Failure) {
        var parser = StructureParser()
        message.withUnsafeBytes { parser.feed($0) }
        let part = parser.finish()
        guard let piece = PartialMessage(part.content) else { throw .notPartial }
        guard identifier == nil || identifier == piece.identifier,
            total == nil || piece.total == nil || total == piece.total,
            piece.number <= total ?? .max, pieces.keys.allSatisfy({ $0 <= piece.total ?? .max })
        else { throw .otherMessage }
        guard pieces[piece.number] == nil else { throw .repeated(piece.number) }
        guard message.count <= mostOctets - octets else { throw .tooLong }
        octets += message.count
        identifier = piece.identifier
        total = total ?? piece.total
        // These messages are never encoded (§5.2.2); the line end before the cut is part of the piece.
        pieces[piece.number] = Array(message[part.body.clamped(to: 0..<message.count)])
        if piece.number == 1 { outer = HeaderBlock(Array(message[part.header.clamped(to: 0..<message.count)])) }
    }

    /// The message: of the outer header all but what belongs to the inner one, then the inner one and the body.
    package func message() throws(Failure) -> [UInt8] {
        guard let total else { throw .missing([]) }
        let missing = (1...total).filter { pieces[$0] == nil }
        guard missing.isEmpty, let outer else { throw .missing(missing) }
        var joined: [UInt8] = []
        for number in 1...total { joined += pieces[number] ?? [] }
        let inner = HeaderBlock(joined)
        var octets: [UInt8] = []
        for field in outer.fields where !Self.isInner(outer.name(of: field)) { octets += outer.octets[field.whole] }
        for field in inner.fields where Self.isInner(inner.name(of: field)) { octets += inner.octets[field.whole] }
        return octets + joined[Self.end(of: inner)...]
    }

    /// Where the lines of the header end: with the empty line, which is kept.
    private static func end(of header: HeaderBlock) -> Int {
        var position = header.fields.last?.whole.upperBound ?? 0
        // Lines that are no fields may follow the last one.
        while position < header.octets.count, header.octets[position] != ASCII.carriageReturn,
            header.octets[position] != ASCII.lineFeed
        {
            position = header.octets[position...].firstIndex(of: ASCII.lineFeed).map { $0 + 1 } ?? header.octets.count
        }
        return position
    }

    /// Fields that come from the enclosed message (§5.2.2.1 (2)).
    private static func isInner(_ name: ArraySlice<UInt8>) -> Bool {
        let names: [StaticString] = ["subject", "message-id", "encrypted", "mime-version"]
        return ASCII.equal(name.prefix(8), "content-") || names.contains { ASCII.equal(name, $0) }
    }
}
