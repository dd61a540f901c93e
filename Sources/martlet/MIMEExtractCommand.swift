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
            Without --part, all that have a file name, and files in uuencode or yEnc within texts. With --part and without --to, to standard output. The names are the \
            sender's, made safe: no directories, no control characters, not hidden; what exists is never overwritten.
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
        try input.decode(toUTF8: false) { extraction.take($0) }
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
    private var files: EnclosedFileReader?
    private var file: MIMEOutput?
    private var fileCount = 0
    /// Which number a file of that name was given last, so that not all are tried for each.
    private var numbers: [String: Int] = [:]
    private(set) var hasMoreFiles = false

    private static let mostTold = 100_000

    init(part: String?, directory: String?, tells: Bool) {
        self.part = part
        self.directory = directory
        self.tells = tells
    }

    mutating func take(_ event: MessageEvent) {
        let number = numbering.bodyNumber
        numbering.take(event)
        guard failure == nil else { return }
        do {
            switch event {
            case .headerEnd(_, _, let content): try begin(numbering.bodyNumber, content)
            case .body(_, let octets):
                try output?.write(octets)
                try lookForFiles(number) { files, receive in files?.feed(octets, to: receive) }
            case .partBegin, .partEnd: try end(number)
            case .field: break
            }
        } catch { failure = error }
    }

    private mutating func begin(_ number: String, _ content: ContentFields) throws {
        type = TerminalText.make(content.type.value.map(ASCII.lower))
        output = try output(number, content)
        isFound = isFound || output != nil
        if part == nil, ASCII.equal(content.type.value, "text/plain") { files = EnclosedFileReader() }
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
