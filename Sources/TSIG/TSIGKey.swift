import Cryptography
import DNS
import Encodings

/// A secret that two parties share, and what it's for (RFC 8945 §1.3).
package struct TSIGKey: Hashable, Sendable {
    /// What TSIG records call the key.
    package let name: DomainName
    package let algorithm: TSIGAlgorithm
    /// How many octets of the codes are sent, and must at least be there in what comes.
    package let codeLength: Int
    let secret: [UInt8]

    /// The fewest octets of a secret: 128 bits.
    package static let minimumSecretOctets = 16

    /// Why there is no key in a text.
    package enum TextError: Error, Hashable, Sendable, CustomStringConvertible {
        /// Not one line with an algorithm and a secret.
        case form
        case unknownAlgorithm(String)
        /// Not Base64.
        case encoding
        case shortSecret

        package var description: String {
            switch self {
            case .form: "one line is needed with an algorithm and a secret, such as \"hmac-sha256 BASE64\""
            case .unknownAlgorithm(let name):
                "unknown algorithm \(name); there are "
                    + TSIGAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")
            case .encoding: "the secret isn't Base64"
            case .shortSecret: "the secret has fewer than \(TSIGKey.minimumSecretOctets) octets"
            }
        }
    }

    /// - Parameter codeLength: octets of the codes, where they are truncated; kept between what RFC 8945 §5.2.2.1 allows
    ///   and the whole code.
    package init(name: DomainName, algorithm: TSIGAlgorithm, secret: [UInt8], codeLength: Int? = nil) {
        self.name = name
        self.algorithm = algorithm
        self.secret = secret
        let wanted = codeLength ?? algorithm.codeLength
        self.codeLength = min(max(wanted, algorithm.minimumCodeLength), algorithm.codeLength)
    }

    /// A key from the text of a key file: `hmac-sha256 BASE64`; with `hmac-sha256-128` codes are truncated to so many bits
    /// (RFC 8945 §6 names half of the whole). Lines that begin with # are comments.
    package init(name: DomainName, text: String) throws(TextError) {
        let lines = text.split(whereSeparator: \.isNewline).filter { $0.first != "#" && !$0.allSatisfy(\.isWhitespace) }
        let words = lines.first.map { $0.split(whereSeparator: \.isWhitespace) } ?? []
        guard lines.count == 1, words.count == 2 else { throw .form }
        let mnemonic = words[0].lowercased()
        guard let algorithm = TSIGAlgorithm.allCases.first(where: { mnemonic.hasPrefix($0.rawValue) }) else {
            throw .unknownAlgorithm(mnemonic)
        }
        var codeLength: Int?
        let rest = mnemonic.dropFirst(algorithm.rawValue.count)
        if !rest.isEmpty {
            guard rest.first == "-", let bits = Int(rest.dropFirst()), bits.isMultiple(of: 8),
                (algorithm.minimumCodeLength...algorithm.codeLength).contains(bits / 8)
            else { throw .unknownAlgorithm(mnemonic) }
            codeLength = bits / 8
        }
        guard let secret = Base64.decode(words[1].utf8) else { throw .encoding }
        guard secret.count >= Self.minimumSecretOctets else { throw .shortSecret }
        self.init(name: name, algorithm: algorithm, secret: secret, codeLength: codeLength)
    }

    /// The whole authentication code of octets.
    func code(of octets: [UInt8]) -> [UInt8] {
        MessageAuthentication.code(of: octets, key: secret, using: algorithm.function)
    }
}

extension TSIGKey: CustomStringConvertible {
    /// Without the secret.
    package var description: String { "\(name) \(algorithm.rawValue)" }
}
