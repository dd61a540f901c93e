import ArgumentParser
import MIME

/// Where a message comes from: a file, or standard input. It's read in pieces; none is kept.
struct MIMEInput: ParsableArguments {
    @Argument(help: "The message's file; standard input without it or for \"-\".", completion: .file())
    var file = "-"

    /// Gives every piece.
    func read(_ take: (UnsafeRawBufferPointer) throws -> Void) throws { try FileOctets.read(file, take) }

    /// Gives every piece to the parser, and what that finds to `receive`.
    func parse(_ receive: (MessageEvent) -> Void) throws {
        var parser = MessageParser()
        try FileOctets.read(file) { parser.feed($0, to: receive) }
        parser.finish(to: receive)
    }

    /// As `parse`, with bodies decoded.
    func decode(toUTF8: Bool, _ receive: (MessageEvent) -> Void) throws {
        var parser = DecodingParser(toUTF8: toUTF8)
        try FileOctets.read(file) { parser.feed($0, to: receive) }
        parser.finish(to: receive)
    }

    /// The message's parts, with all that is wrong with them.
    func check() throws -> MessagePart {
        var check = MessageCheck()
        try FileOctets.read(file) { check.feed($0) }
        return check.finish()
    }

    /// The message's parts.
    func structure() throws -> MessagePart {
        var parser = StructureParser()
        try FileOctets.read(file) { parser.feed($0) }
        return parser.finish()
    }
}
