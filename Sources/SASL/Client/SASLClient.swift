/// Why a client doesn't go on with a login.
package enum SASLClientFault: Error, Equatable {
    /// The server's message is none of the mechanism.
    case malformed
    /// The server doesn't know the password either: it's another one (RFC 5802 §3).
    case serverNotProven
    /// The credentials can't be used with the mechanism.
    case unfit
}

/// The client's side of one mechanism for one login: octets in, octets out. The base64 and the lines around them belong to the
/// protocol that carries it.
package struct SASLClient: Sendable {
    private enum Exchange: Sendable {
        /// All is said in one message.
        case single([UInt8])
        /// One answer to each question (LOGIN).
        case answers([[UInt8]])
        case scram(ScramLogin)
    }

    private var exchange: Exchange

    /// - Parameters:
    ///   - nonce: for SCRAM: printable, without commas, and never used before.
    ///   - host: the server's name, and its port, which OAUTHBEARER tells (RFC 7628 §3.1).
    /// - Throws: `unfit`, also for mechanisms that servers alone have here.
    package init(
        _ mechanism: SASLMechanismName,
        _ evidence: SASLEvidence,
        nonce: [UInt8],
        host: (name: String, port: Int)
    ) throws(SASLClientFault) {
        switch (mechanism, evidence) {
        case (.plain, .password(let credentials)):
            exchange = .single([0] + Array(credentials.user.utf8) + [0] + Array(credentials.password.utf8))
        case (.login, .password(let credentials)):
            exchange = .answers([Array(credentials.user.utf8), Array(credentials.password.utf8)])
        case (.scramSHA1, .password(let credentials)), (.scramSHA256, .password(let credentials)):
            guard let client = ScramLogin(mechanism == .scramSHA1 ? .sha1 : .sha256, credentials, nonce: nonce) else {
                throw .unfit
            }
            exchange = .scram(client)
        case (.xoauth2, .token(let credentials)):
            exchange = .single(
                Array("user=\(credentials.user ?? "")\u{1}auth=Bearer \(credentials.token)\u{1}\u{1}".utf8)
            )
        case (.oauthBearer, .token(let credentials)):
            let user = (credentials.user ?? "").replacing("=", with: "=3D").replacing(",", with: "=2C")
            let place = "host=\(host.name)\u{1}port=\(host.port)"
            exchange = .single(Array("n,a=\(user),\u{1}\(place)\u{1}auth=Bearer \(credentials.token)\u{1}\u{1}".utf8))
        default: throw .unfit
        }
    }

    /// What goes with the command; nil where the server speaks first.
    package var initial: [UInt8]? {
        switch exchange {
        case .single(let message): message
        case .answers: nil
        case .scram(let client): client.first
        }
    }

    /// Whether an answer may take long, and is not for an event loop.
    package var isSlow: Bool {
        if case .scram = exchange { true } else { false }
    }

    /// Answers a challenge.
    package mutating func respond(to challenge: [UInt8]) throws(SASLClientFault) -> [UInt8] {
        switch exchange {
        // What a server adds to a refusal: the login fails once it's acknowledged (RFC 7628 §3.2.3).
        case .single: return []
        case .answers(let answers):
            guard let next = answers.first else { throw .malformed }
            exchange = .answers(Array(answers.dropFirst()))
            return next
        case .scram(var client):
            let answer = try client.respond(to: challenge)
            exchange = .scram(client)
            return answer
        }
    }

    /// Whether the server may say now that the login was good: it must have proven itself first where the mechanism wants that.
    package var mayEnd: Bool {
        switch exchange {
        case .single: true
        case .answers(let rest): rest.isEmpty
        case .scram(let client): client.isDone
        }
    }
}
