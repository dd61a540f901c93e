import MIME

/// A part as the commands tell of it.
struct MIMEPartDocument: Encodable {
    struct Offsets: Encodable {
        let start: Int
        let end: Int
    }

    struct Defect: Encodable {
        let name: String
        let text: String
        let source: String
    }

    /// As IMAP counts (RFC 3501 §6.4.5), and `extract` does: `2.1` for the first part of the second, or for the body of a
    /// message attached as the second. Empty for a message of several parts.
    let part: String
    let type: String
    let charset: String?
    let encoding: String
    let disposition: String?
    let fileName: String?
    let subject: String?
    let isMessage: Bool
    let header: Offsets
    let body: Offsets
    let lines: Int
    let defects: [Defect]
    let contentID: String?
    let location: String?
    /// Files within its text, in uuencode or yEnc.
    let files: [EnclosedFileDocument]
    /// What else is to say of it, for people.
    let notes: [String]
    let children: [MIMEPartDocument]

    init(_ root: MessagePart, _ contents: MIMEContents? = nil) {
        self.init(root, contents, path: [], isMessage: true)
    }

    private init(_ part: MessagePart, _ contents: MIMEContents?, path: [Int], isMessage: Bool) {
        let content = part.content
        // The body of a message that is one part is its first.
        let isLeaf = isMessage && part.children.isEmpty
        self.part = (isLeaf ? path + [1] : path).map(String.init).joined(separator: ".")
        self.isMessage = isMessage
        type = TerminalText.make(content.type.value.map(ASCII.lower))
        charset = content.isText ? content.type.text("charset").map { TerminalText.make($0.utf8) } : nil
        encoding = TerminalText.make((content.transferEncoding ?? Array("7bit".utf8)).map(ASCII.lower))
        disposition = content.disposition.map { TerminalText.make($0.value.map(ASCII.lower)) }
        fileName = content.fileName.map { TerminalText.make($0.utf8) }
        subject = part.envelope?.subject.map { TerminalText.make(EncodedWords.decode($0)) }
        header = Offsets(start: part.header.lowerBound, end: part.header.upperBound)
        body = Offsets(start: part.body.lowerBound, end: part.body.upperBound)
        lines = part.lines
        contentID = content.identifier.map { TerminalText.make($0) }
        location = content.location.map { TerminalText.make($0) }
        let found = contents?.found[part.header.lowerBound]
        files = found?.files.map { EnclosedFileDocument($0) } ?? []
        notes = MIMENotes.make(part, found)
        let limits: Defects = found?.hasMoreFiles == true ? .tooManyFiles : []
        defects = part.defects.union(limits).kinds.map { Defect(name: $0.name, text: $0.text, source: $0.source) }
        children = part.children.enumerated().map { index, child in
            part.isMultipart
                ? MIMEPartDocument(child, contents, path: path + [index + 1], isMessage: false)
                : MIMEPartDocument(child, contents, path: isMessage ? path + [1] : path, isMessage: true)
        }
    }

    /// This part and all in it, in the message's order.
    var all: [MIMEPartDocument] { [self] + children.flatMap(\.all) }

    /// One line for a person.
    var line: String {
        var words = [type]
        if let charset { words.append(charset) }
        words += [encoding, "\(body.end - body.start) octets", "\(lines) lines"]
        if let disposition { words.append(disposition) }
        if let fileName { words.append("\"\(fileName)\"") }
        if isMessage, let subject { words.append("Subject: \(subject)") }
        return words.joined(separator: "  ")
    }
}
