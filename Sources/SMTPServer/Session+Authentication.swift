import Accounts
import CoreMetrics
import Logging
import NIOCore
import Network
import SASL
import SMTP

extension Session {
    /// AUTH (RFC 4954): PLAIN and LOGIN, over TLS only.
    func authenticate(_ mechanism: String, initialResponse: [UInt8]?) async throws(ConnectionError) -> Next {
        if let refusal = try await refuseAuthentication() { return refusal }
        guard var exchange = PasswordExchange(mechanism: mechanism) else {
            return try await fault(.parameterNotImplemented, .invalidArguments, "unknown mechanism")
        }
        var response = initialResponse.map { $0 == [UInt8(ascii: "=")] ? [] : $0 }
        while true {
            if response == nil {
                switch try await answer(to: exchange.firstChallenge) {
                case .text(let text): response = text
                case .ended(let next): return next
                }
            }
            guard let octets = Base64.decode(response ?? []) else {
                return try await fault(.argumentError, .syntaxError, "not base64")
            }
            switch exchange.take(octets) {
            case .challenge(let text):
                switch try await answer(to: text) {
                case .text(let text): response = text
                case .ended(let next): return next
                }
            case .credentials(let credentials):
                return try await login(credentials)
            case .malformed:
                return try await fault(.argumentError, .syntaxError, "malformed response")
            }
        }
    }

    private func refuseAuthentication() async throws(ConnectionError) -> Next? {
        if connection.tls == nil {
            return try await fault(.encryptionRequired, .encryptionRequired, "encrypt first")
        }
        if helo == nil || !isExtended {
            return try await fault(.badSequence, .invalidCommand, "send EHLO first")
        }
        if user != nil {
            return try await fault(.badSequence, .invalidCommand, "you are logged in already")
        }
        if transaction != nil {
            return try await fault(.badSequence, .invalidCommand, "not within a transaction")
        }
        return nil
    }

    private enum Answer {
        case text([UInt8])
        case ended(Next)
    }

    private func answer(to challenge: String) async throws(ConnectionError) -> Answer {
        reply(.continueAuthentication, nil, Base64.encode(challenge.utf8))
        try await flush()
        let line: ByteBuffer
        do throws(ConnectionError) {
            guard let next = try await connection.readLine(maximum: settings.limits.authenticationLine) else {
                return .ended(.close)
            }
            line = next
        } catch .lineTooLong {
            return .ended(try await fault(.syntaxError, .syntaxError, "line too long"))
        }
        let text = Array(line.readableBytesView)
        if text == [UInt8(ascii: "*")] {
            return .ended(try await fault(.argumentError, .securityRequired, "cancelled"))
        }
        return .text(text)
    }

    private func login(_ credentials: PasswordCredentials) async throws(ConnectionError) -> Next {
        do throws(AccountsError) {
            let login = try await resources.accounts.verify(
                service: .smtp,
                user: credentials.user,
                password: credentials.password,
                client: client
            )
            user = login.address
        } catch {
            switch error {
            case .refused: return try await refuseLogin(credentials.user)
            case .deferred(_, let reason), .unavailable(let reason): return deferLogin(reason)
            }
        }
        counters.logins.increment()
        reply(.authenticated, .authenticated, "welcome")
        return .command
    }

    private func refuseLogin(_ user: String) async throws(ConnectionError) -> Next {
        counters.loginsFailed.increment()
        logger.notice("login failed", metadata: ["client": "\(client)", "user": "\(user)"])
        return try await fault(.authenticationFailed, .badCredentials, "wrong user or password")
    }

    private func deferLogin(_ reason: String) -> Next {
        logger.error("login deferred", metadata: ["client": "\(client)", "reason": "\(reason)"])
        reply(.temporaryAuthenticationFailure, .refusedForNow, "cannot check the login now, try again later")
        return .command
    }
}
