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
            Without --part, all that have a file name. With --part and without --to, to standard output. The names are the \
            sender's, made safe: no directories, no control characters, not hidden; what exists is never overwritten.
            """
    )

    @OptionGroup var input: MIMEInput
    @Option(help: "Only the part of that number, such as 2.1 (see parts).") var part: String?
    @Option(name: .customLong("to"), help: "The directory to write to.", completion: .directory)
    var directory: String?

    func run() throws {
        var walk = MIMEPartWalk()
        var output: MIMEOutput?
        var failure: (any Error)?
        var isFound = false
        try input.parse { event in
            walk.take(event)
            guard failure == nil else { return }
            do {
                switch event {
                case .headerEnd(_, _, let content):
                    output = try begin(walk.bodyNumber, content)
                    isFound = isFound || output != nil
                case .body(_, let octets): try output?.write(octets)
                case .partBegin, .partEnd:
                    try output?.finish()
                    output = nil
                case .field: break
                }
            } catch { failure = error }
        }
        if let failure { throw failure }
        if !isFound, let part { throw ValidationError("there is no part \(part)") }
    }

    /// Where the part goes whose header has come; nil for nowhere.
    private func begin(_ number: String, _ content: ContentFields) throws -> MIMEOutput? {
        if let part {
            guard number == part else { return nil }
            if directory == nil { return MIMEOutput(standardOutput: content) }
        } else if content.fileName == nil {
            return nil
        }
        let name = SafeFileName.make(Array((content.fileName ?? "").utf8), fallback: "part-\(number)")
        return try MIMEOutput(directory: directory ?? ".", name: name, content)
    }
}

/// A part's decoded octets on their way into a file.
final class MIMEOutput {
    private let descriptor: CInt
    private let name: String?
    private var decoder: TransferDecoder
    private var decoded: [UInt8] = []

    private static let mostNames = 10_000

    init(standardOutput content: ContentFields) {
        descriptor = dup(STDOUT_FILENO)
        name = nil
        decoder = TransferDecoder(content.encoding)
    }

    /// Makes a file of that name, or with a number before the extension where there is one already.
    init(directory: String, name: String, _ content: ContentFields) throws {
        let dot = name.lastIndex(of: ".") ?? name.endIndex
        for number in 1...Self.mostNames {
            let tried = number == 1 ? name : "\(name[..<dot])-\(number)\(name[dot...])"
            let path = "\(directory)/\(tried)"
            let opened = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            if opened < 0, errno == EEXIST { continue }
            guard opened >= 0 else { throw ValidationError("\(path): \(String(cString: strerror(errno)))") }
            descriptor = opened
            self.name = path
            decoder = TransferDecoder(content.encoding)
            return
        }
        throw ValidationError("\(directory)/\(name): there are too many files of that name")
    }

    deinit { close(descriptor) }

    func write(_ octets: UnsafeRawBufferPointer) throws {
        decoder.decode(octets, into: &decoded)
        try flush()
    }

    func finish() throws {
        decoder.finish(into: &decoded)
        try flush()
        if let name { print(name) }
    }

    private func flush() throws {
        var written = 0
        while written < decoded.count {
            let count = decoded.withUnsafeBytes { octets in
                Glibc.write(descriptor, octets.baseAddress?.advanced(by: written), octets.count - written)
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw ValidationError("\(name ?? "standard output"): \(String(cString: strerror(errno)))")
            }
            written += count
        }
        decoded.removeAll(keepingCapacity: true)
    }
}
