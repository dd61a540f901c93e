import Accounts
import Encodings
import NIOCore
import Network
import SASL

/// How the exchange of a SASL mechanism ended.
package enum AuthenticationExchange {
    /// authd has said what it thinks of the client: `logIn` with it.
    case judged(LoginVerdict)
    /// It failed. The client may try again.
    case failed(AuthenticationFault)
    /// The client is gone.
    case ended
}

/// What was wrong with an exchange before anybody could be asked about it.
package enum AuthenticationFault: Error, Equatable {
    /// It isn't known, or not offered now.
    case unknownMechanism
    /// The client sent `*` in place of a response.
    case cancelled
    case lineTooLong
    case notBase64
    /// The mechanism does not accept the response.
    case malformed

    /// For the client.
    package var text: String {
        switch self {
        case .unknownMechanism: "unknown mechanism"
        case .cancelled: "cancelled"
        case .lineTooLong: "line too long"
        case .notBase64: "not base64"
        case .malformed: "malformed response"
        }
    }
}

extension FrontClient {
    /// Runs the exchange of a SASL mechanism as SMTP (RFC 4954 §4), POP3 (RFC 5034 §4) and IMAP (RFC 9051 §6.2.2) profile
    /// it: challenges and responses in base64, a line each, `*` to cancel. Asks authd.
    ///
    /// - Parameters:
    ///   - name: of the mechanism, in capitals.
    ///   - initialResponse: in base64, `=` for an empty one; nil where the client sent none.
    ///   - service: what the client wants to log in to.
    ///   - maximumLine: octets of a response.
    ///   - challenge: writes a challenge, in base64 already, as the protocol wants it.
    package func authenticate(
        by name: String,
        initialResponse: [UInt8]?,
        to service: LoginService,
        maximumLine: Int,
        challenge: @escaping (String) -> Void
    ) async throws(ConnectionError) -> AuthenticationExchange {
        guard let name = SASLMechanismName(rawValue: name), mechanisms.contains(name) else {
            return .failed(.unknownMechanism)
        }
        var dialogue = Dialogue(
            connection: connection,
            waiting: initialResponse.map { $0 == [UInt8(ascii: "=")] ? [] : $0 },
            maximumLine: maximumLine,
            challenge: challenge
        )
        do throws(DialogueEnd) {
            guard let mechanism = SASLMechanisms.begin(name) else {
                return .judged(try await scram(name, service, &dialogue))
            }
            return .judged(try await present(mechanism, service, &dialogue))
        } catch {
            switch error {
            case .fault(let fault): return .failed(fault)
            case .ended: return .ended
            case .connection(let error): throw error
            }
        }
    }

    /// Has the client present its evidence, and authd judge it.
    private func present(
        _ mechanism: any SASLMechanism,
        _ service: LoginService,
        _ dialogue: inout Dialogue
    ) async throws(DialogueEnd) -> LoginVerdict {
        var mechanism = mechanism
        var question = mechanism.firstChallenge
        while true {
            let verdict: LoginVerdict
            switch mechanism.respond(to: try await dialogue.response(to: question)) {
            case .challenge(let next):
                question = next
                continue
            case .malformed: throw .fault(.malformed)
            case .evidence(let evidence): verdict = await verify(evidence, for: service)
            case .inquiry: verdict = .wrong
            }
            if verdict == .wrong, let hint = mechanism.refusal(settings.tokens ?? TokenHint()) {
                // Whatever the client says to it, the exchange has failed.
                _ = try await dialogue.response(to: hint)
            }
            return verdict
        }
    }

    /// Passes what the client and authd say to each other on. The server's last message is a challenge with an empty response,
    /// as none of the three protocols sends anything with success.
    private func scram(
        _ mechanism: SASLMechanismName,
        _ service: LoginService,
        _ dialogue: inout Dialogue
    ) async throws(DialogueEnd) -> LoginVerdict {
        let first = try await dialogue.response(to: [])
        let challenge: ScramChallenge
        do throws(AccountsError) {
            challenge = try await authority.accounts.beginScram(
                service: service,
                mechanism: mechanism,
                message: first,
                bindings: bindings,
                client: address
            )
        } catch {
            return verdict(error, user: "")
        }
        let second = try await dialogue.response(to: challenge.challenge)
        let login: VerifiedLogin
        let confirmation: [UInt8]
        do throws(AccountsError) {
            (login, confirmation) = try await authority.accounts.finishScram(challenge, message: second)
        } catch {
            return verdict(error, user: challenge.user)
        }
        guard try await dialogue.response(to: confirmation).isEmpty else { throw .fault(.malformed) }
        return .accepted(login)
    }
}

/// Why an exchange did not come to its end.
private enum DialogueEnd: Error {
    case fault(AuthenticationFault)
    /// The client is gone.
    case ended
    case connection(ConnectionError)
}

/// Challenges and responses, a line each.
private struct Dialogue {
    let connection: Connection
    /// An initial response that was not used yet.
    var waiting: [UInt8]?
    let maximumLine: Int
    let challenge: (String) -> Void

    /// The client's next response, to a challenge unless it sent it before.
    mutating func response(to question: [UInt8]) async throws(DialogueEnd) -> [UInt8] {
        let line: [UInt8]
        if let waiting {
            line = waiting
            self.waiting = nil
        } else {
            challenge(Base64.text(question))
            line = try await readLine()
            if line == [UInt8(ascii: "*")] { throw .fault(.cancelled) }
        }
        guard let octets = Base64.decode(line) else { throw .fault(.notBase64) }
        return octets
    }

    private func readLine() async throws(DialogueEnd) -> [UInt8] {
        do throws(ConnectionError) {
            try await connection.flush()
            guard let line = try await connection.readLine(maximum: maximumLine) else { throw ConnectionError.closed }
            return Array(line.readableBytesView)
        } catch {
            switch error {
            case .lineTooLong: throw .fault(.lineTooLong)
            case .closed: throw .ended
            default: throw .connection(error)
            }
        }
    }
}
