import ArgumentParser
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `martlet mime extract`: writes parts, decoded, into files or to standard output.
struct MIMEExtractCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "extract",
        abstract: "Writes parts of a message into files, decoded.",
        discussion: """
            Without --part, all that have a file name, and files in uuencode or yEnc within texts. With --part and without \
            --to, to standard output. Attached messages, and a multipart that --part names, are written as they came. The \
            names are the sender's, made safe: no directories, no control characters, not hidden; what exists is never \
            overwritten.
            """
    )

    @OptionGroup var input: MIMEInput
    @Option(help: "Only the part of that number, such as 2.1 (see parts).") var part: String?
    @Option(name: .customLong("to"), help: "The directory to write to.", completion: .directory)
    var directory: String?
    @Flag(help: "For programs: the files that were written, as one JSON document.") var json = false

    func validate() throws {
        if json, part != nil, directory == nil { throw ValidationError("--json needs --to where --part is given") }
    }

    func run() throws {
        var extraction = MIMEExtraction(part: part, directory: directory, tells: !json)
        try extraction.read(input)
        if let failure = extraction.failure { throw failure }
        if extraction.hasMoreFiles {
            throw ValidationError(
                "there are more than \(MIMEContents.mostFiles) files within texts; the rest is not written"
            )
        }
        if !extraction.isFound, let part { throw ValidationError("there is no part \(part)") }
        if json { try JSONOutput.print(extraction.written) }
    }
}

/// Parts, and files within texts, on their way into files.
private struct MIMEExtraction {
    struct Written: Encodable {
        let part: String
        let type: String
        let path: String
        let octets: Int
    }

    let part: String?
    let directory: String?
    /// Whether each name is printed.
    let tells: Bool
    private(set) var failure: (any Error)?
    private(set) var isFound = false
    private(set) var written: [Written] = []
    private var numbering = PartNumbering()
    private var type = ""
    private var output: MIMEOutput?
    /// Messages and multiparts that are written as they come, each within the one before it.
    private var copies: [Copy] = []
    private var octets = LastOctets()
    /// Where the multipart is wanted that is the body of a message: what it has besides parts, until it has one.
    private var outside: [UInt8]?
    private var outsideEncoding = TransferDecoder.Encoding.identity
    private var files: EnclosedFileReader?
    private var file: MIMEOutput?
    private var fileCount = 0
    /// Which number a file of that name was given last, so that not all are tried for each.
    private var numbers: [String: Int] = [:]
    private(set) var hasMoreFiles = false

    private struct Copy {
        let output: MIMEOutput
        let number: String
        let type: String
        /// How deep the part is that it's the body of.
        let depth: Int
        /// The octet of the message that is written next.
        var next: Int
    }

    private static let mostTold = 100_000
    private static let mostOutside = 16 << 20

    init(part: String?, directory: String?, tells: Bool) {
        self.part = part
        self.directory = directory
        self.tells = tells
    }

    mutating func read(_ input: MIMEInput) throws {
        var parser = DecodingParser()
        try input.read { piece in
            octets.add(piece)
            parser.feed(piece) { take($0) }
            copyOn()
            octets.removeFirst()
        }
        parser.finish { take($0) }
    }

    private mutating func take(_ event: MessageEvent) {
        let number = numbering.bodyNumber
        let depth = numbering.depth
        numbering.take(event)
        guard failure == nil else { return }
        do {
            switch event {
            case .headerEnd(let end, _, let content): try begin(numbering.bodyNumber, at: end, content)
            case .body(_, let octets):
                if outside != nil {
                    // It could not be looked into.
                    outside = nil
                    output = try self.output(number, ContentFields())
                    isFound = true
                }
                try output?.write(octets)
                try lookForFiles(number) { files, receive in files?.feed(octets, to: receive) }
            case .outside(_, let octets): try keep(octets)
            case .partBegin(let start, let isMessage):
                outside = nil
                if isMessage, let output {
                    copies.append(Copy(output: output, number: number, type: type, depth: depth, next: start))
                    self.output = nil
                }
                try end(number)
            case .partEnd(let body, _, _):
                try end(number)
                try endCopies(depth, at: body.upperBound)
            case .field: break
            }
        } catch { failure = error }
    }

    private mutating func begin(_ number: String, at start: Int, _ content: ContentFields) throws {
        type = TerminalText.make(content.type.value.map(ASCII.lower))
        if content.isMultipart, let own = numbering.number {
            // It has the number; none of it is a body.
            guard own == part, let output = try output(number, content) else { return }
            copies.append(Copy(output: output, number: number, type: type, depth: numbering.depth, next: start))
            isFound = true
            return
        }
        if content.isMultipart {
            // Its first part has the number, unless it has none.
            guard number == part else { return }
            outside = []
            outsideEncoding = content.encoding
            return
        }
        output = try output(number, content)
        isFound = isFound || output != nil
        if part == nil, ASCII.equal(content.type.value, "text/plain") { files = EnclosedFileReader() }
    }

    /// What is in a multipart besides parts.
    private mutating func keep(_ octets: UnsafeRawBufferPointer) throws {
        guard let kept = outside?.count else { return }
        guard kept + octets.count <= Self.mostOutside else {
            throw ValidationError("more than \(Self.mostOutside) octets before any part")
        }
        outside? += octets
    }

    // MARK: As it came

    /// Writes what is there of messages and multiparts, but for the octets that the next delimiter may take back.
    private mutating func copyOn() {
        guard failure == nil else { return }
        do {
            for index in copies.indices { try copy(index, to: octets.end - LastOctets.kept) }
        } catch { failure = error }
    }

    private mutating func copy(_ index: Int, to end: Int) throws {
        guard end > copies[index].next else { return }
        let output = copies[index].output
        try octets.withOctets(copies[index].next..<end) { try output.write($0) }
        copies[index].next = end
    }

    private mutating func endCopies(_ depth: Int, at end: Int) throws {
        while let last = copies.last, last.depth == depth {
            try copy(copies.count - 1, to: end)
            copies.removeLast()
            tell(last.output, last.number, last.type)
        }
    }

    /// Where the part goes; nil for nowhere.
    private mutating func output(_ number: String, _ content: ContentFields) throws -> MIMEOutput? {
        if let part {
            guard number == part else { return nil }
            if directory == nil { return MIMEOutput() }
        } else if content.fileName == nil {
            return nil
        }
        let name = SafeFileName.make(Array((content.fileName ?? "").utf8), fallback: "part-\(number)")
        return try MIMEOutput(directory: directory ?? ".", name: name, numbers: &numbers)
    }

    private mutating func lookForFiles(
        _ number: String,
        _ feed: (inout EnclosedFileReader?, (EnclosedFileReader.Event) -> Void) -> Void
    ) throws {
        guard files != nil else { return }
        var events: [EnclosedFileReader.Event] = []
        feed(&files) { if case .text = $0 { return } else { events.append($0) } }
        for event in events {
            switch event {
            case .text: break
            case .begin(let found):
                fileCount += 1
                hasMoreFiles = fileCount > MIMEContents.mostFiles
                if hasMoreFiles { continue }
                let name = SafeFileName.make(Array(EncodedWords.text(found.name).utf8), fallback: "file-\(number)")
                file = try MIMEOutput(directory: directory ?? ".", name: name, numbers: &numbers)
            case .content(let octets): try octets.withUnsafeBytes { try file?.write($0) }
            case .end:
                tell(file, number, "application/octet-stream")
                file = nil
            }
        }
    }

    private mutating func end(_ number: String) throws {
        try lookForFiles(number) { files, receive in files?.finish(to: receive) }
        files = nil
        if let outside, !outside.isEmpty {
            output = try output(number, ContentFields())
            isFound = true
            try TransferDecoder.decode(outside, outsideEncoding).withUnsafeBytes { try output?.write($0) }
        }
        outside = nil
        tell(output, number, type)
        output = nil
    }

    private mutating func tell(_ output: MIMEOutput?, _ number: String, _ type: String) {
        guard let output, let path = output.path else { return }
        if tells {
            print(path)
        } else if written.count < Self.mostTold {
            written.append(Written(part: number, type: type, path: path, octets: output.octets))
        }
    }
}

/// The octets of a message that were read last: a part's end is known only when the delimiter behind it was read.
private struct LastOctets {
    /// The most octets that a parser may have read beyond the end of what it tells.
    static let kept = 8192

    private var octets: [UInt8] = []
    private var start = 0

    /// Where the octets end that were read.
    var end: Int { start + octets.count }

    mutating func add(_ piece: UnsafeRawBufferPointer) { octets += piece }

    /// Forgets all but the last.
    mutating func removeFirst() {
        let count = max(0, octets.count - Self.kept)
        octets.removeFirst(count)
        start += count
    }

    func withOctets(_ range: Range<Int>, _ body: (UnsafeRawBufferPointer) throws -> Void) rethrows {
        try octets.withUnsafeBytes { octets in
            try body(UnsafeRawBufferPointer(rebasing: octets[(range.lowerBound - start)..<(range.upperBound - start)]))
        }
    }
}

/// A file that a part's octets are written to.
private final class MIMEOutput {
    private let descriptor: CInt
    /// nil for standard output.
    let path: String?
    private(set) var octets = 0

    private static let mostNames = 10_000

    /// Standard output.
    init() {
        descriptor = dup(STDOUT_FILENO)
        path = nil
    }

    /// Makes a file of that name, or with a number before the extension where there is one already.
    init(directory: String, name: String, numbers: inout [String: Int]) throws {
        let dot = name.lastIndex(of: ".") ?? name.endIndex
        let first = (numbers[name] ?? 0) + 1
        for number in first..<(first + Self.mostNames) {
            numbers[name] = number
            let tried = number == 1 ? name : "\(name[..<dot])-\(number)\(name[dot...])"
            let path = "\(directory)/\(tried)"
            let opened = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if opened < 0, errno == EEXIST { continue }
            guard opened >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
            descriptor = opened
            self.path = path
            return
        }
        throw ValidationError("\(directory)/\(name): there are too many files of that name")
    }

    deinit { close(descriptor) }

    func write(_ piece: UnsafeRawBufferPointer) throws {
        try FileOctets.write(piece, to: descriptor, path ?? "standard output")
        octets += piece.count
    }
}
