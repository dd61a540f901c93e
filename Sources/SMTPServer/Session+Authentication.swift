import Accounts
import Front
import Network
import SMTP

extension Session {
    /// AUTH (RFC 4954), over TLS only.
    func authenticate(_ mechanism: String, initialResponse: [UInt8]?) async throws(ConnectionError) -> Next {
        if let refusal = try await refuseAuthentication() { return refusal }
        let exchange = try await front.authenticate(
            by: mechanism,
            initialResponse: initialResponse,
            to: .smtp,
            maximumLine: settings.limits.authenticationLine
        ) { [self] text in reply(.continueAuthentication, nil, text) }
        switch exchange {
        case .judged(let verdict): return try await logIn(verdict, by: mechanism)
        case .failed(let reason): return try await refuse(reason)
        case .ended: return .close
        }
    }

    private func refuseAuthentication() async throws(ConnectionError) -> Next? {
        if !front.mayLogIn {
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

    /// RFC 4954 §4 and §6.
    private func refuse(_ reason: AuthenticationFault) async throws(ConnectionError) -> Next {
        switch reason {
        case .unknownMechanism: try await fault(.parameterNotImplemented, .invalidArguments, reason.text)
        case .cancelled: try await fault(.argumentError, .securityRequired, reason.text)
        case .lineTooLong: try await fault(.syntaxError, .syntaxError, reason.text)
        case .notBase64, .malformed: try await fault(.argumentError, .syntaxError, reason.text)
        }
    }

    private func logIn(_ verdict: LoginVerdict, by mechanism: String) async throws(ConnectionError) -> Next {
        switch front.logIn(verdict) {
        case .accepted(let address):
            user = address
            self.mechanism = mechanism.uppercased()
            reply(.authenticated, .authenticated, "welcome")
            return .command
        case .wrong:
            return try await fault(.authenticationFailed, .badCredentials, "wrong user or password")
        case .unavailable:
            // No fault of the client's.
            reply(.temporaryAuthenticationFailure, .refusedForNow, "cannot check the login now, try again later")
            return .command
        }
    }
}
