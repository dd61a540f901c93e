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
            if case .partBegin = event, Self.isPart(part, walk) {
                isFound = true
                // A message of several parts isn't its first part.
                fields = []
            }
            guard case .field(let place, let name, let value) = event,
                part == nil ? walk.depth == 1 : Self.isPart(part, walk)
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

    /// Whether the open part has that number, as `parts` tells it: that of a message is its body's.
    private static func isPart(_ part: String?, _ walk: PartNumbering) -> Bool {
        (walk.number ?? walk.bodyNumber) == part
    }
}
