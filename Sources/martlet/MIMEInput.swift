import ArgumentParser
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// Where a message comes from: a file, or standard input. It's read in pieces; none is kept.
struct MIMEInput: ParsableArguments {
    @Argument(help: "The message's file; standard input without it or for \"-\".", completion: .file())
    var file = "-"

    private static let piece = 128 * 1024

    /// Gives every piece to the parser, and what that finds to `receive`.
    func parse(_ receive: (MessageEvent) -> Void) throws {
        var parser = MessageParser()
        try read { parser.feed($0, to: receive) }
        parser.finish(to: receive)
    }

    /// The message's parts.
    func structure() throws -> MessagePart {
        var parser = StructureParser()
        try read { parser.feed($0) }
        return parser.finish()
    }

    private func read(_ take: (UnsafeRawBufferPointer) -> Void) throws {
        let descriptor = file == "-" ? dup(STDIN_FILENO) : open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ValidationError("\(file): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var buffer = [UInt8](repeating: 0, count: Self.piece)
        while true {
            let count = Glibc.read(descriptor, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw ValidationError("\(file): \(String(cString: strerror(errno)))") }
            if count == 0 { return }
            buffer.withUnsafeBytes { take(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
    }
}

/// Text of strangers for a terminal.
enum TerminalText {
    /// The text with what would steer a terminal, or turn its text's direction, replaced.
    static func make(_ octets: some Sequence<UInt8>) -> String {
        var text = String.UnicodeScalarView()
        for scalar in String(decoding: Array(octets), as: UTF8.self).unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator: text.append(scalar == "\t" ? " " : "\u{FFFD}")
            default: text.append(scalar)
            }
        }
        return String(text)
    }
}
