import NIOConcurrencyHelpers
import NIOCore
import Network
import TLS

/// An SMTP server that follows a script: the greeting, then a reply for each command by its verb.
final class ScriptedServer: Sendable {
    struct Script: Sendable {
        /// Empty: the connection is closed at once.
        var greeting = "220 sink ESMTP\r\n"
        /// Replies by verb, taken in turn; the last one stays. An empty reply closes the connection.
        var replies: [String: [String]] = [
            "EHLO": ["250-sink\r\n250 PIPELINING\r\n"], "HELO": ["250 sink\r\n"], "MAIL": ["250 ok\r\n"],
            "RCPT": ["250 ok\r\n"], "DATA": ["354 go\r\n"], ".": ["250 2.0.0 taken\r\n"], "RSET": ["250 ok\r\n"],
            "QUIT": ["221 bye\r\n"],
        ]
        /// The connection ends after the answer to MAIL where something has come behind that in one go.
        var losesPipelines = false
        /// Lines of a message behind which the connection ends; nil for all.
        var lines: Int?
        /// A connection that ends early does so without a word, also of TLS.
        var aborts = false
        var hold: Hold?
        /// What STARTTLS that is answered with 220 goes on with; nil for a connection that ends there.
        var tls: TLSContext?
        /// TLS begins with the first octet.
        var isImplicitTLS = false
    }

    /// Where the server waits before it answers.
    struct Hold: Sendable {
        let verb: String
        let reached: EventLoopPromise<Void>
        let release: EventLoopFuture<Void>
        /// The session is over.
        let ended: EventLoopPromise<Void>
    }

    private struct State {
        var connections = 0
        var resumptions = 0
        var commands: [String] = []
        var messages: [String] = []
        var used: [String: Int] = [:]
        var last = ""
    }

    private let script: Script
    private let state = NIOLockedValueBox(State())

    init(_ script: Script) { self.script = script }

    var connections: Int { state.withLockedValue { $0.connections } }
    /// Handshakes that resumed a session.
    var resumptions: Int { state.withLockedValue { $0.resumptions } }
    var commands: [String] { state.withLockedValue { $0.commands } }
    var messages: [String] { state.withLockedValue { $0.messages } }

    func serve(_ connection: Connection) async {
        state.withLockedValue { $0.connections += 1 }
        defer { script.hold?.ended.succeed(()) }
        if script.isImplicitTLS, let tls = script.tls {
            do { try await connection.startTLS(server: tls, reply: nil) } catch { return }
            if connection.tls?.isResumed == true { state.withLockedValue { $0.resumptions += 1 } }
        }
        if script.greeting.isEmpty { return }
        connection.write(script.greeting)
        do {
            try await connection.flush()
            var isLogin = false
            while let line = try await connection.readLine(maximum: 4096) {
                let command = String(buffer: line)
                state.withLockedValue { $0.commands.append(command) }
                // What a login goes on with is answered as "334".
                let verb = isLogin ? "334" : command.prefix { $0 != " " }.uppercased()
                if script.losesPipelines, verb == "MAIL", connection.input.readableBytes > 0 {
                    connection.write(next(verb))
                    try await connection.flush()
                    return
                }
                guard try await answer(verb, connection) else { return }
                isLogin = (verb == "AUTH" || verb == "334") && last.hasPrefix("334")
            }
        } catch {
            return
        }
    }

    private var last: String { state.withLockedValue { $0.last } }

    private func answer(_ verb: String, _ connection: Connection) async throws -> Bool {
        if verb == "BDAT" {
            // One chunk with the whole message.
            let words = commands.last?.split(separator: " ") ?? []
            let octets = try await connection.readExactly(words.count > 1 ? Int(words[1]) ?? 0 : 0)
            state.withLockedValue { $0.messages.append(String(buffer: octets)) }
        }
        if let hold = script.hold, hold.verb == verb {
            hold.reached.succeed(())
            try await hold.release.get()
        }
        let reply = next(verb)
        state.withLockedValue { $0.last = reply }
        if verb == "STARTTLS", reply.hasPrefix("220"), let tls = script.tls {
            try await connection.startTLS(server: tls, reply: ByteBuffer(string: reply))
            if connection.tls?.isResumed == true { state.withLockedValue { $0.resumptions += 1 } }
            return true
        }
        connection.write(reply)
        try await connection.flush()
        guard !reply.isEmpty else {
            if script.aborts { connection.abort() }
            return false
        }
        if verb == "DATA", reply.hasPrefix("354") {
            var lines: [String] = []
            while let line = try await connection.readLine(maximum: 1 << 20) {
                if line.readableBytesView.elementsEqual(".".utf8) {
                    let text = lines.joined(separator: "\n")
                    state.withLockedValue { $0.messages.append(text) }
                    return try await answer(".", connection)
                }
                lines.append(String(buffer: line))
                if lines.count == script.lines {
                    if script.aborts { connection.abort() }
                    return false
                }
            }
            return false
        }
        if verb == "STARTTLS", reply.hasPrefix("220") {
            // Not what a handshake goes on with: the connection ends at the client's first octets.
            _ = try await connection.receive()
            return false
        }
        return verb != "QUIT"
    }

    private func next(_ verb: String) -> String {
        state.withLockedValue { state in
            let replies = script.replies[verb] ?? ["500 what\r\n"]
            let index = state.used[verb, default: 0]
            state.used[verb] = index + 1
            return replies[min(index, replies.count - 1)]
        }
    }
}
