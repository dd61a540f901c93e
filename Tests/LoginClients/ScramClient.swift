import Cryptography
import Encodings

/// A client of SCRAM (RFC 5802), as the examples of the RFCs have it.
package struct ScramClient {
    package let user: String
    package let password: String
    package var nonce = "rOprNGfwEbeRWgbNEkqO"
    /// The GS2 header.
    package var header = "n,,"
    /// What the binding is bound to.
    package var binding: [UInt8] = []
    package let function: HashFunction

    package init(user: String, password: String, function: HashFunction = .sha256) {
        self.user = user
        self.password = password
        self.function = function
    }

    package var bare: String { "n=\(user),r=\(nonce)" }
    package var first: [UInt8] { Array((header + bare).utf8) }

    /// The client's last message, and what the server must answer.
    package func last(to challenge: [UInt8]) -> (message: [UInt8], confirmation: [UInt8])? {
        let text = String(decoding: challenge, as: UTF8.self)
        var values: [Character: Substring] = [:]
        for part in text.split(separator: ",") { values[part.first ?? " "] = part.dropFirst(2) }
        guard let nonce = values["r"], let salt = values["s"].flatMap({ Base64.decode($0.utf8) }),
            let iterations = values["i"].flatMap({ Int($0) }),
            let salted = PasswordDerivation.pbkdf2(
                Array(password.utf8),
                salt: salt,
                iterations: iterations,
                using: function
            )
        else { return nil }
        func code(_ text: String, _ key: [UInt8]) -> [UInt8] {
            MessageAuthentication.code(of: Array(text.utf8), key: key, using: function)
        }
        let unproven = "c=\(Base64.text(Array(header.utf8) + binding)),r=\(nonce)"
        let signed = "\(bare),\(text),\(unproven)"
        let clientKey = code("Client Key", salted)
        let signature = code(signed, function.digest(of: clientKey))
        let proof = zip(clientKey, signature).map { $0 ^ $1 }
        let answer = code(signed, code("Server Key", salted))
        return (Array("\(unproven),p=\(Base64.text(proof))".utf8), Array("v=\(Base64.text(answer))".utf8))
    }
}
