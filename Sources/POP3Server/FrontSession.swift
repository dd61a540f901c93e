import Accounts
import Front
import NIOCore
import Network
import POP3
import SASL

/// One client before login (RFC 1939 §4, AUTHORIZATION), and the relay of what comes after.
final class FrontSession {
    /// What happens after a command.
    enum Next {
        case command
        case close
        /// The client has logged in.
        case relay(Connection)
    }

    private let client: FrontClient
    private let connection: Connection
    private let handover: LoginHandover
    private var user: String?

    init(_ client: FrontClient, handover: LoginHandover) {
        self.client = client
        self.handover = handover
        connection = client.connection
    }

    func run() async {
        do throws(ConnectionError) {
            connection.write { $0.writeOK("\(client.settings.hostname) POP3 ready") }
            while true {
                switch try await next() {
                case .command: continue
                case .close: return try await connection.flush()
                case .relay(let session):
                    await LoginHandover.relay(connection, session)
                    return
                }
            }
        } catch {
            switch error {
            case .timedOut: connection.write { $0.writeError(.temporary, "timed out") }
            case .shuttingDown: connection.write { $0.writeError(.temporary, "the server is restarting") }
            case .dismissed: connection.write { $0.writeError(.temporary, "too many connections") }
            case .closed, .lineTooLong, .failed, .badSource, .tls: return client.logEnd(error)
            }
            try? await connection.flush()
        }
    }

    private func next() async throws(ConnectionError) -> Next {
        try client.checkTime()
        // Replies to commands that came together leave together.
        if connection.input.readableBytes == 0 { try await connection.flush() }
        let command: Command
        do throws(ConnectionError) {
            guard let line = try await connection.readLine(maximum: LineLimit.command) else { return .close }
            do {
                command = try Command(parsing: line)
            } catch {
                return try await fault(error == .unknown ? "unknown command" : "malformed arguments")
            }
        } catch .lineTooLong {
            return try await fault("line too long")
        }
        return try await perform(command)
    }

    private func perform(_ command: Command) async throws(ConnectionError) -> Next {
        switch command {
        case .capa: capabilities()
        case .stls: return try await startTLS()
        case .user(let name): return try await setUser(name)
        case .pass(let password): return try await logIn(password: password)
        case .auth(let mechanism, let response): return try await authenticate(mechanism, response)
        case .quit:
            connection.write { $0.writeOK("bye") }
            return .close
        case .stat, .list, .uidl, .retr, .top, .dele, .rset, .noop: return try await fault("log in first")
        }
        return .command
    }

    // MARK: Commands

    private func capabilities() {
        let capabilities = Capabilities(
            startTLS: client.mayStartTLS,
            login: client.takesPasswords,
            mechanisms: client.mechanisms.map(\.rawValue)
        )
        connection.write { output in
            output.writeOK("capabilities follow")
            for line in capabilities.lines { output.writeListing(line) }
            output.writeListingEnd()
        }
    }

    /// STLS (RFC 2595 §4).
    private func startTLS() async throws(ConnectionError) -> Next {
        guard client.mayStartTLS else { return try await fault(client.tlsRefusal) }
        user = nil
        var reply = ByteBuffer()
        reply.writeOK("begin TLS")
        try await client.startTLS(reply: reply)
        return .command
    }

    private func setUser(_ name: String) async throws(ConnectionError) -> Next {
        guard client.takesPasswords else { return try await refusePassword() }
        user = name
        connection.write { $0.writeOK("password, please") }
        return .command
    }

    private func logIn(password: String) async throws(ConnectionError) -> Next {
        guard client.takesPasswords else { return try await refusePassword() }
        guard let user else { return try await fault("USER comes first") }
        self.user = nil
        let credentials = PasswordCredentials(user: user, password: password)
        return try await logIn(await client.verify(.password(credentials), for: .pop3))
    }

    /// AUTH (RFC 5034).
    private func authenticate(_ mechanism: String, _ response: [UInt8]?) async throws(ConnectionError) -> Next {
        guard client.mayLogIn else { return try await refusePlaintext() }
        let exchange = try await client.authenticate(
            by: mechanism,
            initialResponse: response,
            to: .pop3,
            maximumLine: LineLimit.response
        ) { [connection] text in connection.write { $0.writeChallenge(text) } }
        switch exchange {
        case .judged(let verdict): return try await logIn(verdict)
        case .failed(let reason): return try await fault(reason.text)
        case .ended: return .close
        }
    }

    // MARK: Login

    private func logIn(_ verdict: LoginVerdict) async throws(ConnectionError) -> Next {
        switch await client.logIn(verdict, by: handover) {
        case .accepted(let session, let text):
            connection.write { $0.writeOK(text ?? "logged in") }
            do throws(ConnectionError) {
                try await connection.flush()
            } catch {
                session.abort()
                throw error
            }
            return .relay(session)
        case .wrong: return try await fault("wrong user or password", .authentication)
        case .refused(.inUse, let text): return try await fault(text, .inUse)
        case .refused(.temporary, let text): return try await fault(text, .temporary)
        case .refused(.permanent, let text): return try await fault(text, .permanent)
        case .unavailable: return try await fault("cannot log in now, try again later", .temporary)
        }
    }

    private func refusePassword() async throws(ConnectionError) -> Next {
        guard client.mayLogIn else { return try await refusePlaintext() }
        return try await fault("no passwords are taken here", .authentication)
    }

    private func refusePlaintext() async throws(ConnectionError) -> Next {
        try await fault("encrypt first: STLS", .authentication)
    }

    private func fault(_ text: String, _ code: ResponseCode? = nil) async throws(ConnectionError) -> Next {
        let left = try await client.countFault()
        connection.write { $0.writeError(code, text) }
        guard left > 0 else {
            client.logTooManyFaults()
            return .close
        }
        return .command
    }
}
