import Cryptography
import Encodings

/// The client's side of SCRAM without channel binding (RFC 5802) for one login.
package struct ScramLogin: Sendable {
    private enum State: Sendable {
        case begun
        /// Our proof is out; the server has to answer with this signature.
        case proven(signature: [UInt8])
        case done
    }

    private let hash: ScramHash
    private let password: [UInt8]
    private let nonce: [UInt8]
    private let bare: [UInt8]
    private var state = State.begun

    /// GS2 header: this client does no channel binding.
    private static let header = Array("n,,".utf8)
    /// Fewer iterations are no protection, more are an attack.
    private static let iterations = 4096...1_000_000

    /// - Parameter nonce: printable, without commas, and never used before.
    /// - Returns: nil for a password that SASLprep doesn't allow.
    package init?(_ hash: ScramHash, _ credentials: PasswordCredentials, nonce: [UInt8]) {
        guard let password = SASLPreparation.prepared(credentials.password) else { return nil }
        self.hash = hash
        self.password = password
        self.nonce = nonce
        let user = credentials.user.utf8.flatMap { octet -> [UInt8] in
            switch octet {
            case UInt8(ascii: ","): Array("=2C".utf8)
            case UInt8(ascii: "="): Array("=3D".utf8)
            default: [octet]
            }
        }
        bare = Array("n=".utf8) + user + Array(",r=".utf8) + nonce
    }

    /// `client-first-message`.
    package var first: [UInt8] { Self.header + bare }

    /// Whether the server has shown that it knows the password's verifier.
    package var isDone: Bool {
        if case .done = state { true } else { false }
    }

    /// Answers the server's message. The first time takes as long as the server's iterations make it: not for an event loop.
    package mutating func respond(to message: [UInt8]) throws(SASLClientFault) -> [UInt8] {
        switch state {
        case .begun: return try prove(message)
        case .proven(let signature):
            let values = Self.attributes(message)
            guard let text = values[UInt8(ascii: "v")], let given = Base64.decode(text),
                MessageAuthentication.areEqual(given, signature)
            else { throw .serverNotProven }
            state = .done
            return []
        case .done: throw .malformed
        }
    }

    private mutating func prove(_ message: [UInt8]) throws(SASLClientFault) -> [UInt8] {
        let values = Self.attributes(message)
        guard values[UInt8(ascii: "m")] == nil, let whole = values[UInt8(ascii: "r")], whole.starts(with: nonce),
            whole.count > nonce.count, let salt = values[UInt8(ascii: "s")].flatMap({ Base64.decode($0) }),
            !salt.isEmpty, let digits = values[UInt8(ascii: "i")],
            let iterations = Int(String(decoding: digits, as: UTF8.self)), Self.iterations.contains(iterations),
            let salted = PasswordDerivation.pbkdf2(
                password,
                salt: salt,
                iterations: iterations,
                using: hash.function
            )
        else { throw .malformed }
        let function = hash.function
        let unproven = Array("c=\(Base64.text(Self.header)),r=".utf8) + whole
        let signed = bare + [UInt8(ascii: ",")] + message + [UInt8(ascii: ",")] + unproven
        let clientKey = MessageAuthentication.code(of: Array("Client Key".utf8), key: salted, using: function)
        let signature = MessageAuthentication.code(of: signed, key: function.digest(of: clientKey), using: function)
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        let serverKey = MessageAuthentication.code(of: Array("Server Key".utf8), key: salted, using: function)
        state = .proven(signature: MessageAuthentication.code(of: signed, key: serverKey, using: function))
        return unproven + Array(",p=\(Base64.text(proof))".utf8)
    }

    /// Values by their letters.
    private static func attributes(_ message: [UInt8]) -> [UInt8: ArraySlice<UInt8>] {
        var values: [UInt8: ArraySlice<UInt8>] = [:]
        for part in message.split(separator: UInt8(ascii: ","), maxSplits: 64) {
            guard let letter = part.first, part.dropFirst().first == UInt8(ascii: "=") else { continue }
            if values[letter] == nil { values[letter] = part.dropFirst(2) }
        }
        return values
    }
}
