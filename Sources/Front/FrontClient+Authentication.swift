import Encodings
import NIOCore
import Network
import SASL

/// How the exchange of a SASL mechanism ended.
package enum AuthenticationExchange: Equatable {
    /// The client has said who it is: `logIn` with it.
    case evidence(SASLEvidence)
    /// It failed. The client may try again.
    case failed(AuthenticationFault)
    /// The client is gone.
    case ended
}

/// What was wrong with an exchange before anybody could be asked about it.
package enum AuthenticationFault: Error, Equatable {
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
    /// it: challenges and responses in base64, a line each, `*` to cancel.
    ///
    /// - Parameters:
    ///   - mechanism: its name in capitals.
    ///   - initialResponse: in base64, `=` for an empty one; nil where the client sent none.
    ///   - maximumLine: octets of a response.
    ///   - challenge: writes a challenge, in base64 already, as the protocol wants it.
    package func authenticate(
        by mechanism: String,
        initialResponse: [UInt8]?,
        maximumLine: Int,
        challenge: (String) -> Void
    ) async throws(ConnectionError) -> AuthenticationExchange {
        guard var mechanism = SASLMechanisms.begin(mechanism) else { return .failed(.unknownMechanism) }
        var response = initialResponse.map { $0 == [UInt8(ascii: "=")] ? [] : $0 }
        var question = mechanism.firstChallenge
        while true {
            if response == nil {
                challenge(Base64.text(question))
                try await connection.flush()
                do throws(ConnectionError) {
                    guard let line = try await connection.readLine(maximum: maximumLine) else { return .ended }
                    response = Array(line.readableBytesView)
                } catch .lineTooLong {
                    return .failed(.lineTooLong)
                }
                if response == [UInt8(ascii: "*")] { return .failed(.cancelled) }
            }
            guard let octets = Base64.decode(response ?? []) else { return .failed(.notBase64) }
            response = nil
            switch mechanism.respond(to: octets) {
            case .challenge(let next): question = next
            case .evidence(let evidence): return .evidence(evidence)
            case .malformed: return .failed(.malformed)
            }
        }
    }
}
