import CZlib
import MIME

/// Prints what is in a message, so that it can be compared with what another library finds.
///
/// A line `message SUBJECT` for each message, then one for each part, from the top: `DEPTH TYPE NAME BODY TEXT`. Subject and
/// name are in hexadecimal digits of their UTF-8. Body and text are the lengths and CRC-32 of a leaf's decoded body and,
/// where it's text, of the same in UTF-8 with LF as line end. `-` stands for nothing.
enum PartListing {
    static func print(_ message: UnsafeRawBufferPointer) {
        var listing = Listing()
        var parser = MessageParser()
        parser.feed(message) { listing.take($0) }
        parser.finish { listing.take($0) }
        Swift.print("message", hexadecimal(listing.subject))
        for line in listing.lines { Swift.print(line) }
    }

    fileprivate static func hexadecimal(_ text: [UInt8]?) -> String {
        guard let text, !text.isEmpty else { return "-" }
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: text.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    fileprivate static func digest(_ octets: [UInt8]) -> String {
        let sum = octets.withUnsafeBufferPointer { crc32(0, $0.baseAddress, UInt32(clamping: octets.count)) }
        return "\(octets.count):\(sum)"
    }
}

private struct Listing {
    private struct Open {
        var line: Int
        var content = ContentFields()
        var body: BodyDecoder?
        var text: BodyDecoder?
        var octets: [UInt8] = []
        var words: [UInt8] = []
        var hasParts = false
    }

    private(set) var lines: [String] = []
    private(set) var subject: [UInt8]?
    private var stack: [Open] = []

    mutating func take(_ event: MessageEvent) {
        switch event {
        case .partBegin:
            if let last = stack.indices.last { stack[last].hasParts = true }
            stack.append(Open(line: lines.count))
            lines.append("")
        case .headerEnd(_, let header, let content):
            if stack.count == 1 { subject = header.first("subject").map { Array(EncodedWords.text($0).utf8) } }
            guard let last = stack.indices.last else { return }
            stack[last].content = content
            stack[last].body = BodyDecoder(content, toUTF8: false)
            stack[last].text = content.isText ? BodyDecoder(content, toUTF8: true) : nil
        case .body(_, let octets):
            guard var open = stack.popLast() else { return }
            open.body?.decode(octets, into: &open.octets)
            open.text?.decode(octets, into: &open.words)
            stack.append(open)
        case .partEnd: end()
        case .field, .outside: break
        }
    }

    private mutating func end() {
        guard var part = stack.popLast() else { return }
        var words = [
            "\(stack.count)", String(decoding: part.content.type.value.map(ASCII.lower), as: UTF8.self), "-", "-", "-",
        ]
        if !part.hasParts {
            part.body?.finish(into: &part.octets)
            part.text?.finish(into: &part.words)
            words[2] = PartListing.hexadecimal(part.content.fileName.map { Array($0.utf8) })
            words[3] = PartListing.digest(part.octets)
            if part.text != nil {
                words[4] = PartListing.digest(part.words.filter { $0 != ASCII.carriageReturn })
            }
        }
        lines[part.line] = words.joined(separator: " ")
    }
}
