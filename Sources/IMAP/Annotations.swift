import MIME

/// The name of an annotation (RFC 5464 §3.2), in small letters: the case of names makes no difference.
package struct AnnotationName: Hashable, Sendable, CustomStringConvertible {
    package let description: String

    /// Octets.
    private static let maximum = 256

    /// Nil for what doesn't begin with `/shared` or `/private`, has an empty part, or a character that none may have.
    package init?(_ octets: some Collection<UInt8>) {
        let name = octets.map(ASCII.lower)
        let parts = name.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard name.count <= Self.maximum, parts.count >= 2, parts[0].isEmpty,
            parts.dropFirst().allSatisfy({ !$0.isEmpty }),
            parts[1].elementsEqual("shared".utf8) || parts[1].elementsEqual("private".utf8),
            name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "*") && $0 != UInt8(ascii: "%") })
        else { return nil }
        description = String(decoding: name, as: UTF8.self)
    }

    /// For one user alone.
    package var isPrivate: Bool { description.utf8.starts(with: "/private".utf8) }

    /// `/shared` and `/private` themselves can have no value.
    package var hasValue: Bool { description.utf8.dropFirst().contains(UInt8(ascii: "/")) }

    /// Whether this one is the other or below it, at most so many levels.
    package func isWithin(_ other: AnnotationName, depth: GetMetadataCommand.Depth) -> Bool {
        guard self != other else { return true }
        guard description.utf8.starts(with: (other.description + "/").utf8) else { return false }
        switch depth {
        case .zero: return false
        case .one: return !description.utf8.dropFirst(other.description.utf8.count + 1).contains(UInt8(ascii: "/"))
        case .infinity: return true
        }
    }
}

/// GETMETADATA (RFC 5464 §4.2).
package struct GetMetadataCommand: Sendable, Equatable {
    /// How many levels below the names count too.
    package enum Depth: String, Sendable, Equatable {
        case zero = "0"
        case one = "1"
        case infinity = "INFINITY"
    }

    /// Nil for the server's annotations.
    package var mailbox: MailboxName?
    package var names: [AnnotationName]
    /// Octets of values that are told.
    package var maximumSize: Int?
    package var depth = Depth.zero

    package init(_ mailbox: MailboxName?, _ names: [AnnotationName]) {
        self.mailbox = mailbox
        self.names = names
    }
}

/// An annotation with its value; nil for none.
package struct AnnotationValue: Sendable, Equatable {
    package var name: AnnotationName
    package var value: [UInt8]?

    package init(_ name: AnnotationName, _ value: [UInt8]?) {
        self.name = name
        self.value = value
    }
}

extension CommandGrammar {
    /// Names or values that a command may have.
    private static let maximumAnnotations = 200

    /// Options stand in front of the mailbox's name by the grammar, and behind it in all examples.
    mutating func getMetadata() throws(SyntaxError) -> Command {
        var command = GetMetadataCommand(nil, [])
        if scanner.next == UInt8(ascii: "(") {
            try metadataOptions(&command)
            try scanner.space()
        }
        command.mailbox = try annotated()
        try scanner.space()
        if scanner.next == UInt8(ascii: "(") {
            let start = scanner
            _ = scanner.take(UInt8(ascii: "("))
            scanner.blanks()
            let isName =
                scanner.next == UInt8(ascii: "/") || scanner.next == ASCII.quote || scanner.next == UInt8(ascii: "{")
            scanner = start
            if !isName {
                try metadataOptions(&command)
                try scanner.space()
            }
        }
        if scanner.next == UInt8(ascii: "(") {
            command.names = try annotationNames()
        } else {
            repeat { command.names.append(try Self.annotationName(&scanner)) } while scanner.another()
        }
        guard (1...Self.maximumAnnotations).contains(command.names.count) else { throw SyntaxError("names expected") }
        return .getMetadata(command)
    }

    /// `(/shared/comment /private/comment)`
    mutating func annotationNames() throws(SyntaxError) -> [AnnotationName] {
        let names = try scanner.list { scanner throws(SyntaxError) in try Self.annotationName(&scanner) }
        guard (1...Self.maximumAnnotations).contains(names.count) else { throw SyntaxError("names expected") }
        return names
    }

    private mutating func metadataOptions(_ command: inout GetMetadataCommand) throws(SyntaxError) {
        try scanner.expect(UInt8(ascii: "("), "list")
        scanner.blanks()
        repeat {
            let option = try scanner.keyword()
            try scanner.space()
            switch option {
            case "MAXSIZE": command.maximumSize = Int(try scanner.number())
            case "DEPTH":
                guard let depth = GetMetadataCommand.Depth(rawValue: try scanner.keyword()) else {
                    throw SyntaxError("depth is 0, 1 or infinity")
                }
                command.depth = depth
            default: throw SyntaxError("unknown option")
            }
        } while scanner.another()
        try scanner.expect(UInt8(ascii: ")"), "end of list")
    }

    mutating func setMetadata() throws(SyntaxError) -> Command {
        let mailbox = try annotated()
        try scanner.space()
        let values = try scanner.list { scanner throws(SyntaxError) in
            let name = try Self.annotationName(&scanner)
            guard name.hasValue else { throw SyntaxError("no value can be there") }
            try scanner.space()
            return AnnotationValue(name, try scanner.nstringOfAnyOctets())
        }
        guard (1...Self.maximumAnnotations).contains(values.count) else { throw SyntaxError("values expected") }
        return .setMetadata(mailbox, values)
    }

    /// A mailbox; the empty name stands for the server.
    private mutating func annotated() throws(SyntaxError) -> MailboxName? {
        let start = scanner
        if try scanner.astring().isEmpty { return nil }
        scanner = start
        return try scanner.mailbox()
    }

    private static func annotationName(_ scanner: inout CommandScanner) throws(SyntaxError) -> AnnotationName {
        guard let name = AnnotationName(try scanner.astring()) else {
            throw SyntaxError("the name of an annotation expected")
        }
        return name
    }
}
