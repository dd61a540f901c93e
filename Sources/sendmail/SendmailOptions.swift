import SMTP

/// The arguments that programs have given to sendmail for forty years. Those that have no meaning here are ignored.
struct SendmailOptions {
    enum Mode {
        case deliver
        case smtp
        case list
        case flush(QueueSelection)
        /// `-bv`: says where addresses lead, and sends nothing.
        case verify
        /// `-bi`, `-I`, `newaliases`.
        case aliases
    }

    /// Which messages `-q` is about.
    enum QueueSelection: Equatable {
        case all
        /// `-qI`: one, by its ID.
        case message(String)
        /// `-qR`: those for a domain.
        case destination(String)
    }

    var mode = Mode.deliver
    /// `-t`: recipients from the header.
    var readsRecipients = false
    /// `-i`: a line of one dot does not end the message.
    var ignoresDots = false
    /// `-f`, `-r`: the reverse-path; empty for the null one.
    var sender: String?
    /// `-F`: the full name in From.
    var fullName: String?
    /// `-N`: when to report, as NOTIFY says it.
    var notify: String?
    /// `-R`: how much a report shows, `FULL` or `HDRS`.
    var ret: String?
    /// `-B`: BODY.
    var body: String?
    /// `-V`: ENVID.
    var envelopeID: String?
    /// `-XV`: each recipient's mail has a sender of its own.
    var variableSender: VariableSender?
    /// `-v`: say what happens.
    var isVerbose = false
    var recipients: [String] = []

    /// Options that take a value.
    private static let valued = Set("fFrNRVBCDhLOopqXA")

    init(_ arguments: [String]) throws {
        var rest = arguments.dropFirst()[...]
        let name = arguments.first?.split(separator: "/").last ?? ""
        switch name {
        case "mailq": mode = .list
        case "newaliases": mode = .aliases
        default: break
        }
        while let argument = rest.popFirst() {
            if argument == "--" {
                recipients += rest
                break
            }
            guard argument.hasPrefix("-"), argument.utf8.count > 1 else {
                recipients.append(argument)
                continue
            }
            try parse(argument.dropFirst(), &rest)
        }
    }

    /// One argument may hold several options without values: `-ti`.
    private mutating func parse(_ argument: Substring, _ rest: inout ArraySlice<String>) throws {
        var letters = argument
        while let letter = letters.popFirst() {
            switch letter {
            case "t": readsRecipients = true
            case "i": ignoresDots = true
            case "v": isVerbose = true
            case "I": mode = .aliases
            case "m", "e", "n", "s", "G", "U", "E", "c", "x", "a", "d":
                // -e takes a value of one letter that is written together with it, -d a list of what is to be debugged.
                if letter == "e" || letter == "d" { letters = "" }
            case "q":
                mode = .flush(try Self.selection(letters))
                letters = ""
            case "b":
                guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                    throw Failure(.usage, "option -b needs a mode")
                }
                try setMode(value)
                letters = ""
            case let letter where Self.valued.contains(letter):
                guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                    throw Failure(.usage, "option -\(letter) needs a value")
                }
                try set(letter, value)
                letters = ""
            default: throw Failure(.usage, "unknown option -\(letter)")
            }
        }
    }

    /// A time (`-q30m`) means all: what the queue does by itself needs no daemon of sendmail's.
    private static func selection(_ letters: Substring) throws -> QueueSelection {
        let value = String(letters.dropFirst())
        switch letters.first {
        case "I" where !value.isEmpty: return .message(value)
        case "R" where !value.isEmpty: return .destination(value.split(separator: "@").last.map(String.init) ?? value)
        case "S", "G", "Q", "L", "!": throw Failure(.usage, "-q\(letters) is not supported: see martlet queue")
        default: return .all
        }
    }

    private mutating func setMode(_ value: String) throws {
        switch value {
        case "m": mode = .deliver
        case "s": mode = .smtp
        case "p": mode = .list
        case "v": mode = .verify
        case "i": mode = .aliases
        case "d", "D", "l":
            throw Failure(
                .usage,
                "mode -b\(value) is not supported: smtpd is started by a supervisor (docs/operations.md)"
            )
        default: throw Failure(.usage, "mode -b\(value) is not supported")
        }
    }

    private mutating func set(_ letter: Character, _ value: String) throws {
        switch letter {
        case "f", "r": sender = value == "<>" ? "" : value
        case "F": fullName = value
        case "N": notify = value.uppercased()
        case "R":
            guard ["FULL", "HDRS"].contains(value.uppercased()) else {
                throw Failure(.usage, "-R takes full or hdrs, not \(value)")
            }
            ret = value.uppercased()
        case "V": envelopeID = value
        case "X" where value.first == "V":
            // Others name a file for a log, which means nothing here.
            let text = value.dropFirst()
            guard let variable = text.isEmpty ? .standard : VariableSender(text.utf8) else {
                throw Failure(.usage, "-XV takes two of - + =, not \(text)")
            }
            variableSender = variable
        case "B":
            // `8BITMIME` and `7BIT`; others mean nothing.
            if ["8BITMIME", "7BIT"].contains(value.uppercased()) { body = value.uppercased() }
        case "o":
            // `-oi`; in the other forms options mean nothing here, such as `-oem` and `-odb`.
            if value == "i" { ignoresDots = true }
        default: break  // the others in `valued` have no meaning here
        }
    }
}
