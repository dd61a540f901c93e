import NIOCore

/// A POP3 command (RFC 1939; CAPA RFC 2449; STLS RFC 2595; AUTH RFC 5034).
package enum Command: Equatable, Sendable {
    case user(String)
    case pass(String)
    /// The mechanism's name in capitals; the initial response in base64, where there is one (`=` is an empty one).
    case auth(mechanism: String, initialResponse: [UInt8]?)
    case stls
    case capa
    case stat
    case list(Int?)
    case uidl(Int?)
    case retr(Int)
    case top(Int, lines: Int)
    case dele(Int)
    case rset
    case noop
    case quit

    /// Reads a line without its end. Keywords are taken in any case.
    package init(parsing line: ByteBuffer) throws(CommandError) {
        let octets = line.readableBytesView
        let keyword = octets.prefix { $0 != UInt8(ascii: " ") }
        guard keyword.count <= 4 else { throw .unknown }
        let name = String(decoding: keyword.map(Self.uppercased), as: UTF8.self)
        // A password may hold spaces, so the rest of the line stays as it is for it.
        let rest = octets.dropFirst(keyword.count + 1)
        switch name {
        case "USER": self = .user(try Self.text(rest))
        case "PASS": self = .pass(try Self.text(rest))
        case "AUTH": self = try Self.auth(rest)
        default: self = try Self.command(name, Arguments(rest))
        }
    }

    private static func command(_ name: String, _ arguments: Arguments) throws(CommandError) -> Command {
        switch name {
        case "LIST": return .list(try arguments.optionalNumber())
        case "UIDL": return .uidl(try arguments.optionalNumber())
        case "RETR": return .retr(try arguments.number())
        case "DELE": return .dele(try arguments.number())
        case "TOP":
            let (number, lines) = try arguments.numbers()
            return .top(number, lines: lines)
        default:
            guard let command = plain[name] else { throw .unknown }
            try arguments.none()
            return command
        }
    }

    private static let plain: [String: Command] = [
        "STLS": .stls, "CAPA": .capa, "STAT": .stat, "RSET": .rset, "NOOP": .noop, "QUIT": .quit,
    ]

    private static func auth(_ rest: ByteBufferView) throws(CommandError) -> Command {
        let words = Arguments(rest).words
        guard (1...2).contains(words.count), let mechanism = words.first, mechanism.count <= 20 else {
            throw .malformedArguments
        }
        return .auth(
            mechanism: String(decoding: mechanism.map(uppercased), as: UTF8.self),
            initialResponse: words.count == 2 ? words.last.map { Array($0) } : nil
        )
    }

    private static func text(_ octets: ByteBufferView) throws(CommandError) -> String {
        guard !octets.isEmpty, !octets.contains(0), let text = String(validating: octets, as: UTF8.self) else {
            throw .malformedArguments
        }
        return text
    }

    private static func uppercased(_ octet: UInt8) -> UInt8 {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(octet) ? octet & ~0x20 : octet
    }
}

/// Why a line is not a command.
package enum CommandError: Error, Equatable {
    case unknown
    case malformedArguments
}

/// The words behind a keyword.
private struct Arguments {
    let words: [ByteBufferView]

    init(_ octets: ByteBufferView) { words = octets.split(separator: UInt8(ascii: " ")) }

    func none() throws(CommandError) {
        guard words.isEmpty else { throw .malformedArguments }
    }

    func number() throws(CommandError) -> Int {
        guard words.count == 1, let number = try optionalNumber() else { throw .malformedArguments }
        return number
    }

    func optionalNumber() throws(CommandError) -> Int? {
        guard words.count <= 1 else { throw .malformedArguments }
        guard let word = words.first else { return nil }
        return try Self.decimal(word)
    }

    func numbers() throws(CommandError) -> (Int, Int) {
        guard words.count == 2 else { throw .malformedArguments }
        return (try Self.decimal(words[0]), try Self.decimal(words[1]))
    }

    private static func decimal(_ word: ByteBufferView) throws(CommandError) -> Int {
        guard (1...10).contains(word.count) else { throw .malformedArguments }
        var number = 0
        for octet in word {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(octet) else { throw .malformedArguments }
            number = number * 10 + Int(octet - UInt8(ascii: "0"))
        }
        return number
    }
}
