import Cryptography
import Daemon
import Encodings
import NIOCore
import Network
import SASL
import SMTP

/// Logs in at a host (RFC 4954).
struct HostLogin {
    let client: SMTPClient
    let credentials: RelayCredentials

    /// Challenges that one login answers.
    private static let maximumChallenges = 5

    /// - Throws: `login` where the host doesn't take us; what `reply` throws.
    func run() async throws(SMTPClient.Failure) {
        // Whoever listens must not learn what others can use.
        guard client.connection.tls != nil else { throw .login("logging in needs TLS", nil) }
        let name = try mechanism()
        var exchange: SASLClient
        do throws(SASLClientFault) {
            exchange = try SASLClient(
                name,
                evidence,
                nonce: Base64.encode(SecureRandom.octets(18)),
                host: (client.target.host, client.target.address.port ?? 0)
            )
        } catch {
            throw .login("the credentials can't be used by \(name.rawValue)", nil)
        }
        var command = "AUTH \(name.rawValue)"
        if let initial = exchange.initial { command += " \(initial.isEmpty ? "=" : Base64.text(initial))" }
        var reply = try await client.command(command)
        for _ in 0..<Self.maximumChallenges where reply.code.isIntermediate {
            guard let challenge = Base64.decode((reply.lines.last ?? "").utf8) else {
                throw .login("the host's challenge can't be read", reply)
            }
            let answer: [UInt8]
            do throws(SASLClientFault) {
                answer = try await Self.answer(&exchange, challenge)
            } catch {
                // A line with an asterisk ends the exchange (RFC 4954 §4).
                _ = try await client.command("*", in: "AUTH")
                let reason = error == .serverNotProven ? "the host doesn't know the password itself" : "nonsense"
                throw .login("\(name.rawValue): \(reason)", nil)
            }
            reply = try await client.command(Base64.text(answer), in: "AUTH")
        }
        guard reply.code.isPositive else {
            throw .login("the host does not take our credentials (\(name.rawValue))", reply)
        }
        guard exchange.mayEnd else { throw .login("the host doesn't show that it knows the password itself", nil) }
    }

    private static func answer(
        _ exchange: inout SASLClient,
        _ challenge: [UInt8]
    ) async throws(SASLClientFault) -> [UInt8] {
        guard exchange.isSlow else { return try exchange.respond(to: challenge) }
        let begun = exchange
        let (done, answer) = try await BlockingPool.shared.run { () throws(SASLClientFault) -> (SASLClient, [UInt8]) in
            var exchange = begun
            let answer = try exchange.respond(to: challenge)
            return (exchange, answer)
        }
        exchange = done
        return answer
    }

    private var evidence: SASLEvidence {
        switch credentials.secret {
        case .password(let password): .password(PasswordCredentials(user: credentials.user, password: password))
        case .token(let token): .token(TokenCredentials(user: credentials.user, token: token))
        }
    }

    /// The best one that both have.
    private func mechanism() throws(SMTPClient.Failure) -> SASLMechanismName {
        let offered = client.extensions.mechanisms
        let wanted = credentials.mechanism.map { [$0] } ?? RelayCredentials.mechanisms(for: credentials.secret)
        guard let name = wanted.first(where: { offered.contains($0.rawValue) }) else {
            let list = offered.isEmpty ? "no logins" : offered.joined(separator: ", ")
            throw .login("the host offers \(list)", nil)
        }
        return name
    }
}
