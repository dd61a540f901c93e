import CoreMetrics
import Accounts
import Logging
import Login
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

    let connection: Connection
    let service: FrontService
    let accounts: AccountsClient
    let client: String
    private var user: String?
    private var errors = 0

    init(_ connection: Connection, service: FrontService, accounts: AccountsClient) {
        self.connection = connection
        self.service = service
        self.accounts = accounts
        client = connection.remoteAddress.clientText
    }

    func run(isEncrypted: Bool) async {
        connection.idleTimeout = service.settings.idleTimeout
        connection.deadline = .now() + service.settings.loginTimeout
        do {
            if isEncrypted { try await connection.startTLS(server: service.tlsContext, reply: nil) }
            connection.write { $0.writeOK("\(self.service.settings.hostname) POP3 ready") }
            while true {
                switch try await next() {
                case .command: continue
                case .close: return try await connection.flush()
                case .relay(let session): return await LoginHandover.relay(connection, session)
                }
            }
        } catch {
            await end(error)
        }
    }

    private func end(_ reason: ConnectionError) async {
        service.logger.debug("connection ended", metadata: ["client": "\(client)", "reason": "\(reason)"])
        switch reason {
        case .timedOut: connection.write { $0.writeError(.temporary, "timed out") }
        case .shuttingDown: connection.write { $0.writeError(.temporary, "the server is restarting") }
        default: return
        }
        try? await connection.flush()
    }

    private func next() async throws(ConnectionError) -> Next {
        // Replies to commands that came together leave together.
        if connection.input.readableBytes == 0 { try await connection.flush() }
        let command: Command
        do throws(ConnectionError) {
            guard let line = try await connection.readLine(maximum: LineLimit.command) else { return .close }
            do {
                command = try Command(parsing: line)
            } catch {
                return fault(error == .unknown ? "unknown command" : "malformed arguments")
            }
        } catch .lineTooLong {
            return fault("line too long")
        }
        return try await perform(command)
    }

    private func perform(_ command: Command) async throws(ConnectionError) -> Next {
        switch command {
        case .capa: capabilities()
        case .stls: return try await startTLS()
        case .user(let name): return take(user: name)
        case .pass(let password): return try await take(password: password)
        case .auth(let mechanism, let response): return try await authenticate(mechanism, response)
        case .quit:
            connection.write { $0.writeOK("bye") }
            return .close
        default: return fault("log in first")
        }
        return .command
    }

    // MARK: Commands

    /// Whether a password may be sent now.
    private var mayLogIn: Bool {
        connection.tls != nil || service.settings.plaintextOnLoopback && connection.remoteAddress.isLoopback
    }

    private func capabilities() {
        let lines = Capabilities(startTLS: connection.tls == nil, login: mayLogIn).lines
        connection.write { output in
            output.writeOK("capabilities follow")
            for line in lines { output.writeListing(line) }
            output.writeListingEnd()
        }
    }

    private func startTLS() async throws(ConnectionError) -> Next {
        guard connection.tls == nil else { return fault("TLS is on already") }
        user = nil
        var reply = ByteBuffer()
        reply.writeOK("begin TLS")
        try await connection.startTLS(server: service.tlsContext, reply: reply)
        return .command
    }

    private func take(user name: String) -> Next {
        guard mayLogIn else { return refusePlaintext() }
        user = name
        connection.write { $0.writeOK("password, please") }
        return .command
    }

    private func take(password: String) async throws(ConnectionError) -> Next {
        guard mayLogIn else { return refusePlaintext() }
        guard let user else { return fault("USER comes first") }
        self.user = nil
        return try await logIn(PasswordCredentials(user: user, password: password))
    }

    private func authenticate(_ mechanism: String, _ initial: [UInt8]?) async throws(ConnectionError) -> Next {
        guard mayLogIn else { return refusePlaintext() }
        guard var exchange = PasswordExchange(mechanism: mechanism) else { return fault("unknown mechanism") }
        var response = initial.map { $0 == [UInt8(ascii: "=")] ? [] : $0 }
        var challenge = exchange.firstChallenge
        while true {
            let text: [UInt8]
            do throws(ConnectionError) {
                guard let answer = if let response { response } else { try await answer(to: challenge) } else {
                    return .close
                }
                text = answer
            } catch .lineTooLong {
                return fault("line too long")
            }
            response = nil
            if text == [UInt8(ascii: "*")] { return fault("cancelled") }
            guard let octets = Base64.decode(text) else { return fault("not base64") }
            switch exchange.take(octets) {
            case .challenge(let next): challenge = next
            case .credentials(let credentials): return try await logIn(credentials)
            case .malformed: return fault("malformed response")
            }
        }
    }

    private func answer(to challenge: String) async throws(ConnectionError) -> [UInt8]? {
        connection.write { $0.writeChallenge(Base64.encode(challenge.utf8)) }
        try await connection.flush()
        return try await connection.readLine(maximum: LineLimit.response).map { Array($0.readableBytesView) }
    }

    // MARK: Login

    private func logIn(_ credentials: PasswordCredentials) async throws(ConnectionError) -> Next {
        let outcome = await service.handover.logIn(
            .pop3,
            user: credentials.user,
            password: credentials.password,
            client: client,
            isEncrypted: connection.tls != nil,
            accounts: accounts,
            on: connection.eventLoop
        )
        switch outcome {
        case .accepted(let session, let address, let text):
            service.counters.logins.increment()
            service.logger.info("login", metadata: ["client": "\(client)", "address": "\(address)"])
            connection.write { $0.writeOK(text ?? "logged in") }
            do throws(ConnectionError) {
                try await connection.flush()
            } catch {
                session.abort()
                throw error
            }
            return .relay(session)
        case .wrong:
            service.counters.loginsFailed.increment()
            service.logger.notice("login failed", metadata: ["client": "\(client)", "user": "\(credentials.user)"])
            return fault("wrong user or password", .authentication)
        case .refused("4.2.0", let text):
            return fault(text, .inUse)
        case .refused(let status, let text):
            return fault(text, status.hasPrefix("4.") ? .temporary : .permanent)
        case .unavailable(let reason):
            service.counters.loginsDeferred.increment()
            service.logger.error("login deferred", metadata: ["client": "\(client)", "reason": "\(reason)"])
            return fault("cannot log in now, try again later", .temporary)
        }
    }

    private func refusePlaintext() -> Next { fault("encrypt first: STLS", .authentication) }

    private func fault(_ text: String, _ code: ResponseCode? = nil) -> Next {
        errors += 1
        connection.write { $0.writeError(code, text) }
        return errors < service.settings.maximumErrors ? .command : .close
    }
}
