import DNS
import DNSSEC
import Encodings

/// The steps of a validation as people read them.
enum DNSValidationText {
    static func line(_ step: ValidationStep) -> String {
        switch step {
        case .anchor(let zone, let tags):
            "\(zone) trust begins with key\(tags.count == 1 ? "" : "s") \(list(tags))"
        case .signers(let zone, let signers):
            "\(zone) DS "
                + signers.map { "\($0.keyTag) (\(algorithm($0.algorithm)), digest \($0.digestType))" }
                .joined(separator: ", ")
        case .keys(let zone, let keys, let entrance):
            "\(zone) DNSKEY \(keys.map(key).joined(separator: ", ")), signed by key \(entrance)"
        case .unsigned(let zone): "\(zone) is not signed: its parent proves that it has no DS"
        case .set(let name, let type, let signature):
            "\(name) \(type) signed by key \(signature.keyTag) of \(signature.signer) (\(algorithm(signature.algorithm)), "
                + "from \(Moment.print(signature.inception)) to \(Moment.print(signature.expiration)))"
        case .denial(let name, let type, let zone): "\(name) \(type) isn't there: \(zone) proves it"
        }
    }

    static func judgement(_ document: DNSValidationDocument) -> String {
        let reason = document.reason.map { ": \(shown($0))" } ?? ""
        return document.security == "bogus"
            ? "bogus\(reason)" : "\(document.security): \(document.name) \(document.type)\(reason)"
    }

    private static func key(_ key: ZoneKey) -> String {
        var words = [algorithm(key.algorithm)]
        if key.isSecureEntryPoint { words.append("entry point") }
        if key.isRevoked { words.append("revoked") }
        return "\(key.keyTag) (\(words.joined(separator: ", ")))"
    }

    /// An algorithm by its number and, where it has one, its mnemonic.
    static func algorithm(_ number: UInt8) -> String {
        "algorithm \(number)" + (algorithms[number].map { " \($0)" } ?? "")
    }

    private static let algorithms: [UInt8: String] = [
        1: "RSAMD5", 3: "DSA", 5: "RSASHA1", 6: "DSA-NSEC3-SHA1", 7: "RSASHA1-NSEC3-SHA1", 8: "RSASHA256",
        10: "RSASHA512", 12: "ECC-GOST", 13: "ECDSAP256SHA256", 14: "ECDSAP384SHA384", 15: "ED25519", 16: "ED448",
    ]

    private static func list(_ tags: [UInt16]) -> String {
        tags.sorted().map { String($0) }.joined(separator: ", ")
    }
}

/// The chain of trust as programs read it.
struct DNSValidationDocument: Encodable {
    var name: String
    var type: String
    /// `secure`, `insecure` or `bogus`.
    var security = "bogus"
    var reason: String?
    var steps: [Step] = []

    struct Key: Encodable {
        var tag: UInt16
        var algorithm: UInt8?
        var flags: UInt16?
        var digestType: UInt8?
        /// The key in base64.
        var key: String?
    }

    struct Signature: Encodable {
        var tag: UInt16
        var algorithm: UInt8
        var signer: String
        var inception: String
        var expiration: String
    }

    struct Step: Encodable {
        /// `anchor`, `signers`, `keys`, `unsigned`, `set` or `denial`.
        var kind: String
        var name: String
        var type: String?
        var keys: [Key]?
        /// The tag of the key that signed the keys.
        var entrance: UInt16?
        var signature: Signature?
        /// The zone that proves a denial.
        var zone: String?

        init(_ step: ValidationStep) {
            switch step {
            case .anchor(let zone, let tags):
                (kind, name) = ("anchor", zone.description)
                keys = tags.map { Key(tag: $0) }
            case .signers(let zone, let signers):
                (kind, name) = ("signers", zone.description)
                keys = signers.map { Key(tag: $0.keyTag, algorithm: $0.algorithm, digestType: $0.digestType) }
            case .keys(let zone, let found, let entrance):
                (kind, name) = ("keys", zone.description)
                self.entrance = entrance
                keys = found.map { key in
                    let text = String(decoding: Base64.encode(key.key), as: UTF8.self)
                    return Key(tag: key.keyTag, algorithm: key.algorithm, flags: key.flags, key: text)
                }
            case .unsigned(let zone): (kind, name) = ("unsigned", zone.description)
            case .set(let owner, let covered, let made):
                (kind, name, type) = ("set", owner.description, covered.description)
                signature = Signature(
                    tag: made.keyTag,
                    algorithm: made.algorithm,
                    signer: made.signer.description,
                    inception: Moment.print(made.inception),
                    expiration: Moment.print(made.expiration)
                )
            case .denial(let owner, let missing, let zone):
                (kind, name, type, self.zone) = ("denial", owner.description, missing.description, zone.description)
            }
        }
    }
}
