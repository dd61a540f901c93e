import MIME

/// A message's tree, and what was found in the bodies of texts and reports on the way; bodies aren't kept.
struct MIMEContents {
    /// What a part's body holds.
    struct Found {
        var files: [EnclosedFile] = []
        var hasMoreFiles = false
        var report: MessageReport?
        var external: ExternalBody?
    }

    private(set) var tree = PartTree()
    /// By the octet at which the part's header begins.
    private(set) var found: [Int: Found] = [:]
    private var starts: [Int] = []
    private var body: Body?
    private var fileCount = 0

    /// Files within texts that are told of, or written.
    static let mostFiles = 1000

    var root: MessagePart { tree.root }

    static func read(_ input: MIMEInput) throws -> MIMEContents {
        var contents = MIMEContents()
        try input.parse { contents.take($0) }
        return contents
    }

    /// The body of the part that is open, where it's looked into.
    private struct Body {
        let content: ContentFields
        var decoder: BodyDecoder
        var files: EnclosedFileReader?
        var kept: [UInt8] = []
    }

    private mutating func take(_ event: MessageEvent) {
        tree.take(event)
        switch event {
        case .partBegin(let start, _):
            starts.append(start)
            body = nil
        case .headerEnd(_, _, let content):
            let isPlain = ASCII.equal(content.type.value, "text/plain")
            guard isPlain || MessageReport.isReport(content) || ExternalBody.isExternal(content) else { return }
            let decoder = BodyDecoder(content, toUTF8: false)
            body = Body(content: content, decoder: decoder, files: isPlain ? EnclosedFileReader() : nil)
        case .body(_, let octets):
            guard var open = body else { return }
            body = nil
            var decoded: [UInt8] = []
            open.decoder.decode(octets, into: &decoded)
            inspect(&open, decoded)
            body = open
        case .partEnd:
            end(starts.popLast() ?? 0)
        case .field, .outside: break
        }
    }

    private mutating func inspect(_ body: inout Body, _ decoded: [UInt8]) {
        guard body.files != nil else {
            body.kept += decoded.prefix(MessageReport.limit + 1 - body.kept.count)
            return
        }
        let start = starts.last ?? 0
        body.files?.feed(decoded) { add($0, start) }
    }

    private mutating func end(_ start: Int) {
        guard var body else { return }
        self.body = nil
        var decoded: [UInt8] = []
        body.decoder.finish(into: &decoded)
        guard body.files == nil else {
            body.files?.feed(decoded) { add($0, start) }
            body.files?.finish { add($0, start) }
            return
        }
        body.kept += decoded.prefix(MessageReport.limit + 1 - body.kept.count)
        let report = MessageReport(body.content, body: body.kept)
        let external = ExternalBody(body.content, body: body.kept)
        if report != nil || external != nil { found[start] = Found(report: report, external: external) }
    }

    private mutating func add(_ event: EnclosedFileReader.Event, _ start: Int) {
        guard case .end(let file) = event else { return }
        if fileCount < Self.mostFiles {
            found[start, default: Found()].files.append(file)
            fileCount += 1
        } else if found[start] != nil || found.count < Self.mostFiles {
            found[start, default: Found()].hasMoreFiles = true
        }
    }
}

/// A file within a text, as the commands tell of it.
struct EnclosedFileDocument: Encodable {
    let name: String
    let encoding: String
    let octets: Int
    let isDamaged: Bool
    /// Of a file in yEnc that was cut: which part it is, of how many.
    let part: Int?
    let parts: Int?

    init(_ file: EnclosedFile) {
        name = TerminalText.make(EncodedWords.text(file.name).utf8)
        encoding = file.encoding.rawValue
        octets = file.octets
        isDamaged = !file.defects.isEmpty
        part = file.part?.number
        parts = file.part?.total
    }

    /// One line for a person.
    var line: String {
        var words = ["file in \(encoding)", "\"\(name)\"", "\(octets) octets"]
        if let part { words.append("part \(part)" + (parts.map { " of \($0)" } ?? "")) }
        if isDamaged { words.append("damaged") }
        return words.joined(separator: "  ")
    }
}

/// What there is to say of a part besides its type, a line each.
enum MIMENotes {
    private static let mostRecipients = 20

    static func make(_ part: MessagePart, _ found: MIMEContents.Found?) -> [String] {
        var lines: [String] = []
        if let secured = SecuredPart(part) {
            let words = [secured.kind == .signed ? "signed" : "encrypted", secured.protocolName, secured.micalg]
            lines.append(words.compactMap { $0 }.joined(separator: "  "))
        }
        if let piece = PartialMessage(part.content) {
            let total = piece.total.map { " of \($0)" } ?? ""
            lines.append("piece \(piece.number)\(total)  id \(EncodedWords.text(piece.identifier))")
        }
        if let external = found?.external {
            let place = external.url ?? external["name"] ?? external["server"] ?? ""
            lines.append("content lies elsewhere  \(external.accessType)  \(place)")
        }
        if let report = found?.report { lines += self.lines(report) }
        lines = lines.map { TerminalText.make($0.utf8) }
        return lines + (found?.files.map { EnclosedFileDocument($0).line } ?? [])
    }

    private static func lines(_ report: MessageReport) -> [String] {
        switch report {
        case .delivery(let status):
            let shown = status.recipients.prefix(mostRecipients).map { recipient in
                let words = [
                    recipient.final?.value ?? recipient.original?.value ?? "?",
                    recipient.action?.rawValue ?? recipient.otherAction,
                    recipient.status,
                    recipient.diagnostic?.value,
                ]
                return words.compactMap { $0 }.joined(separator: "  ")
            }
            let rest = status.recipients.count - shown.count
            return shown + (rest > 0 ? ["and \(rest) more recipients"] : [])
                + (status.hasMoreRecipients ? ["and perhaps others: not all of the report is read"] : [])
        case .disposition(let notification):
            let words =
                [notification.finalRecipient?.value ?? "?", notification.kind?.rawValue ?? "?"] + notification.modifiers
            return [words.joined(separator: "  ")]
        case .feedback(let feedback):
            let words =
                ["feedback", feedback.kind, feedback.authFailure, feedback.sourceIP] + feedback.domains.map { $0 }
            return [words.compactMap { $0 }.joined(separator: "  ")]
        }
    }
}
