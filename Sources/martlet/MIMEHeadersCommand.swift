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
        var walk = PartNumbering()
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
