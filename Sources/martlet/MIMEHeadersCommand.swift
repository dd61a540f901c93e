import ArgumentParser
import MIME

/// `martlet mime headers`: the fields of a message or a part.
struct MIMEHeadersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "headers",
        abstract: "Shows a message's header: unfolded, with encoded words decoded."
    )

    struct Field: Encodable {
        let name: String
        let value: String
        /// The octet of the message that it begins at, and how many it has.
        let offset: Int
        let octets: Int
    }

    @OptionGroup var input: MIMEInput
    @Option(help: "The header of that part, such as 2.1, instead of the message's.") var part: String?
    @Flag(help: "For programs: one JSON document.") var json = false

    func run() throws {
        var walk = MIMEPartWalk()
        var fields: [Field] = []
        var isFound = part == nil
        try input.parse { event in
            walk.take(event)
            if case .partBegin = event { isFound = isFound || walk.number == part }
            guard case .field(let place, let name, let value) = event,
                part == nil ? walk.depth == 1 : walk.number == part
            else { return }
            let unfolded = ASCII.trim(value).filter { $0 != ASCII.carriageReturn && $0 != ASCII.lineFeed }
            fields.append(
                Field(
                    name: TerminalText.make(name),
                    value: TerminalText.make(EncodedWords.decode(unfolded)),
                    offset: place.lowerBound,
                    octets: place.count
                )
            )
        }
        guard isFound else { throw ValidationError("there is no part \(part ?? "")") }
        if json { return try JSONOutput.print(fields) }
        for field in fields { print("\(field.name): \(field.value)") }
    }
}

/// Counts parts as IMAP does (RFC 3501 §6.4.5) while their events come.
struct MIMEPartWalk {
    private struct Open {
        let path: [Int]
        let isMessage: Bool
        var isMultipart = false
        var children = 0
    }

    private var stack: [Open] = []

    var depth: Int { stack.count }

    /// The number of the part that is open; of a message, nil.
    var number: String? { stack.last.flatMap { $0.isMessage ? nil : Self.text($0.path) } }

    /// The number of the part whose body comes; a message that is one part has its body as part 1.
    var bodyNumber: String { stack.last.map { Self.text($0.isMessage ? $0.path + [1] : $0.path) } ?? "" }

    mutating func take(_ event: MessageEvent) {
        switch event {
        case .partBegin(_, let isMessage):
            guard let last = stack.indices.last else {
                stack.append(Open(path: [], isMessage: true))
                return
            }
            stack[last].children += 1
            let path = stack[last].path
            if isMessage {
                stack.append(Open(path: stack[last].isMessage ? path + [1] : path, isMessage: true))
            } else {
                stack.append(Open(path: path + [stack[last].children], isMessage: false))
            }
        case .partEnd: stack.removeLast()
        case .field, .headerEnd, .body: break
        }
    }

    private static func text(_ path: [Int]) -> String { path.map(String.init).joined(separator: ".") }
}
