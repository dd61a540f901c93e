import ArgumentParser
import Cryptography
import MailAuth

#if canImport(Glibc)
import Glibc
#endif

/// A message in a file or on standard input, read in pieces; read twice where it's also to be written.
struct MessageFile {
    let path: String
    /// What standard input gave, where it is read twice.
    private var kept: [UInt8]?
    /// Whether the message's lines end in LF alone.
    private(set) var hasBareLineFeeds = false

    /// The most octets of standard input that are kept.
    private static let mostKept = 1 << 30

    init(_ path: String) { self.path = path }

    /// Hashes the message for signatures.
    mutating func hash(
        methods: [BodyHashMethod] = [],
        limits: SignatureLimits = SignatureLimits(),
        keeping: Bool = false
    ) throws -> HashedMessage {
        let hasher = MessageHasher(methods: methods, limits: limits)
        var kept: [UInt8]? = keeping && path == "-" ? [] : nil
        var lineEnd: Bool?
        var last: UInt8 = 0
        try FileOctets.read(path) { piece in
            if lineEnd == nil, let place = piece.firstIndex(of: 10) {
                lineEnd = (place > 0 ? piece[place - 1] : last) != 13
            }
            last = piece.last ?? last
            hasher.feed(piece)
            kept?.append(contentsOf: piece)
            if let count = kept?.count, count > Self.mostKept {
                throw ValidationError("standard input: more than \(Self.mostKept) octets; name a file instead")
            }
        }
        self.kept = kept
        hasBareLineFeeds = lineEnd ?? false
        return hasher.finish()
    }

    /// Writes fields with the message's own line ends, then the message, to standard output.
    func write(fields: [UInt8], alone: Bool) throws {
        let fields = hasBareLineFeeds ? fields.filter { $0 != 13 } : fields
        try fields.withUnsafeBytes { try Self.write($0) }
        if alone { return }
        if let kept {
            try kept.withUnsafeBytes { try Self.write($0) }
        } else {
            try FileOctets.read(path) { try Self.write($0) }
        }
    }

    private static func write(_ octets: UnsafeRawBufferPointer) throws {
        try FileOctets.write(octets, to: STDOUT_FILENO, "standard output")
    }
}

/// Keys to sign with, as the command line names them.
enum SigningKeyFile {
    private static let mostOctets = 1 << 20

    /// - Parameter text: `SELECTOR=FILE`.
    static func read(_ text: String, domain: String) throws -> SigningKey {
        guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
            throw ValidationError("\"\(text)\" is not SELECTOR=FILE")
        }
        let selector = text[..<equals]
        let path = String(text[text.index(after: equals)...])
        let octets = try FileOctets.read(path, most: mostOctets)
        // Besides PEM: the secret octets of an Ed25519 key in base64, as dkimpy keeps them.
        guard
            let key = PrivateKey(pem: octets) ?? TagList.base64(octets).flatMap({ PrivateKey(.ed25519, raw: $0) })
        else { throw ValidationError("\(path): no private key without a pass phrase") }
        do throws(DKIMSigningError) {
            return try SigningKey(domain: Array(domain.utf8), selector: Array(selector.utf8), key: key)
        } catch {
            switch error {
            case .badKey: throw ValidationError("\(path): neither an RSA key of 1024 bits or more nor an Ed25519 key")
            default: throw ValidationError("\(selector)._domainkey.\(domain) is not a domain name")
            }
        }
    }

    /// Why a message can't be signed, for people.
    static func reason(_ error: DKIMSigningError) -> String {
        switch error {
        case .badName: "the domain and the selector make no name"
        case .badKey: "the key can't sign"
        case .badIdentity: "--identity is not an address at the domain or below it"
        case .badHeader: "the message has no From field, or a line that is no field, or its header is too long"
        case .noBodyHash: "the body is shorter than --body-length"
        }
    }
}
