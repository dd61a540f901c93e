import Cryptography
import Encodings
import JWT
import SASL

/// The first octet chooses the mechanism; lines are the client's messages.
let saslMessageTarget = FuzzTarget("sasl-message", maximum: 4096) { input in
    guard let choice = input.first else { return }
    let messages = input.dropFirst().split(separator: 0x0a, maxSplits: 4, omittingEmptySubsequences: false)
    let name = SASLMechanismName.allCases[Int(choice) % SASLMechanismName.allCases.count]
    switch name.need {
    case .scram(let mechanism): followScram(mechanism, messages.map { Array($0) })
    case .password, .token, .certificate: followEvidence(name, messages.map { Array($0) })
    }
    if let verifier = ScramVerifier(parsing: String(decoding: input.dropFirst(), as: UTF8.self)) {
        demand(ScramVerifier(parsing: verifier.text) == verifier, "a verifier changes as it's written")
    }
}

private func followScram(_ mechanism: ScramMechanism, _ messages: [[UInt8]]) {
    let bindings = ChannelBindings(exporter: [1, 2, 3], serverEndPoint: [4, 5])
    for bindings in [bindings, ChannelBindings()] {
        var server = ScramServer(mechanism, bindings: bindings, nonce: Array("nonce".utf8))
        guard let first = messages.first, let client = try? server.begin(first) else { continue }
        demand(!client.user.isEmpty && !client.user.utf8.contains(0), "a user without a name")
        let challenge = server.challenge(salt: [1, 2, 3, 4, 5, 6, 7, 8], iterations: 4096)
        demand(challenge.starts(with: "r=".utf8), "a challenge without a nonce")
        let nobody = ScramKeys(storedKey: [UInt8](repeating: 0, count: 32), serverKey: [])
        for message in messages.dropFirst() {
            guard let proof = try? server.finish(message) else { continue }
            demand(proof.confirmation(by: nobody) == nil, "somebody knows nobody's password")
        }
    }
}

private func followEvidence(_ name: SASLMechanismName, _ messages: [[UInt8]]) {
    guard var mechanism = SASLMechanisms.begin(name) else { return }
    for message in messages {
        switch mechanism.respond(to: message) {
        case .challenge: continue
        case .malformed, .inquiry: return
        case .evidence(.password(let credentials)):
            demand(!credentials.user.isEmpty && !credentials.password.isEmpty, "empty credentials")
            return
        case .evidence(.token(let credentials)):
            demand((1...TokenCredentials.maximumToken).contains(credentials.token.utf8.count), "a token without bounds")
            return
        case .evidence(.certificate(let user)):
            demand(user?.isEmpty != true, "an empty user")
            return
        }
    }
}

/// A token, and behind a line end the issuer's keys. Nobody has a key that any input was signed by.
let tokenTarget = FuzzTarget("token", maximum: 8192) { input in
    let parts = input.split(separator: 0x0a, maxSplits: 1, omittingEmptySubsequences: false)
    let keys = parts.count > 1 ? try? KeySet(json: Array(parts[1])) : nil
    guard let keys = keys ?? knownKeys else { return }
    let requirements = TokenRequirements(issuer: "https://id.example", audiences: ["mail"])
    let token = String(decoding: parts[0], as: UTF8.self)
    let account = try? requirements.account(of: token, keys: keys, now: 1_700_000_000)
    // With keys of its own an input may be right.
    demand(account == nil || parts.count > 1, "a token that nobody signed")
}

private let knownKeys = try? KeySet(
    json: Array(
        """
        {"keys":[{"kty":"EC","crv":"P-256","kid":"k1","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",\
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}
        """.utf8
    )
)
