/// The arguments that programs have given to sendmail for forty years. Those that have no meaning here are ignored.
struct SendmailOptions {
    enum Mode {
        case deliver
        case smtp
        case list
        case flush
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
    /// `-R`: how much a report shows.
    var ret: String?
    /// `-V`: ENVID.
    var envelopeID: String?
    /// `-v`: say what happens.
    var isVerbose = false
    var recipients: [String] = []

    /// Options that take a value.
    private static let valued = Set("fFrNRVBCDdhLOopqXA")

    init(_ arguments: [String]) throws {
        var rest = arguments.dropFirst()[...]
        let name = arguments.first?.split(separator: "/").last ?? ""
        if name == "mailq" { mode = .list }
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
            case "m", "e", "n", "s", "G", "U", "E", "I":
                // -e takes a value of one letter that is written together with it.
                if letter == "e" { letters = "" }
            case "q":
                mode = .flush
                letters = ""
            case "b":
                try setMode(letters)
                letters = ""
            case "o":
                if letters.first == "i" { ignoresDots = true }
                if letters.isEmpty { _ = rest.popFirst() }
                letters = ""
            case let letter where Self.valued.contains(letter):
                guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else {
                    throw Failure(.usage, "option -\(letter) needs a value")
                }
                set(letter, value)
                letters = ""
            default: throw Failure(.usage, "unknown option -\(letter)")
            }
        }
    }

    private mutating func setMode(_ letters: Substring) throws {
        switch letters {
        case "m": mode = .deliver
        case "s": mode = .smtp
        case "p": mode = .list
        default: throw Failure(.usage, "mode -b\(letters) is not supported")
        }
    }

    private mutating func set(_ letter: Character, _ value: String) {
        switch letter {
        case "f", "r": sender = value == "<>" ? "" : value
        case "F": fullName = value
        case "N": notify = value.uppercased()
        case "R": ret = value.uppercased()
        case "V": envelopeID = value
        default: break  // the others in `valued` have no meaning here
        }
    }
}
