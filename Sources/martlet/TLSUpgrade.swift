import NIOCore
import Network
import SMTP

/// How a client comes to the handshake on a port.
enum TLSUpgrade: Sendable {
    /// It begins with that.
    case none
    /// RFC 3207
    case smtp
    /// RFC 2595 §4
    case pop3
    /// RFC 9051 §6.2.1
    case imap

    /// The server doesn't get to it; the reason.
    struct Refusal: Error {
        let reason: String
    }

    private static let maximumLine = 4096

    /// Says what has to be said before the handshake.
    ///
    /// - Throws: `Refusal`, or `ConnectionError`.
    func ask(_ connection: Connection) async throws {
        switch self {
        case .none: return
        case .smtp:
            var parser = ReplyParser()
            try await reply(connection, &parser)
            // The address of this machine under which it looks at itself.
            try await say("EHLO [127.0.0.1]", connection)
            try await reply(connection, &parser)
            try await say("STARTTLS", connection)
            try await reply(connection, &parser)
        case .pop3:
            try await line(connection, "+OK")
            try await say("STLS", connection)
            try await line(connection, "+OK")
        case .imap:
            try await line(connection, "* OK")
            try await say("a STARTTLS", connection)
            try await line(connection, "a OK")
        }
    }

    private func say(_ command: String, _ connection: Connection) async throws {
        connection.write(command + "\r\n")
        try await connection.flush()
    }

    private func reply(_ connection: Connection, _ parser: inout ReplyParser) async throws {
        while true {
            if let reply = try parser.next(&connection.input) {
                guard reply.code.isPositive else { throw Refusal(reason: reply.description) }
                return
            }
            guard try await connection.receive() else { throw ConnectionError.closed }
        }
    }

    private func line(_ connection: Connection, _ beginning: String) async throws {
        guard let line = try await connection.readLine(maximum: Self.maximumLine) else { throw ConnectionError.closed }
        let text = String(buffer: line)
        guard text.hasPrefix(beginning) else { throw Refusal(reason: text) }
    }
}
