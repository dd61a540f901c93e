import DNS
import MIME
import MailAuth

/// What signatures say, for people.
enum DKIMOutcomeText {
    static func print(_ outcomes: [DKIMOutcome], indent: String = "") {
        if outcomes.isEmpty { Swift.print("\(indent)the message has no DKIM signature") }
        for (index, outcome) in outcomes.enumerated() {
            Swift.print("\(indent)signature \(index + 1): \(outcome.result.rawValue): \(shown(outcome.reason))")
            guard let signature = outcome.signature else { continue }
            let key = ResultText.name(signature.keyName)
            let bits = outcome.keyBits.map { " (\($0) bits)" } ?? ""
            let forms = "\(signature.headerCanonicalization.rawValue)/\(signature.bodyCanonicalization.rawValue)"
            Swift.print("\(indent)    domain \(shown(signature.domain)), identity \(shown(signature.identity))")
            Swift.print("\(indent)    \(signature.algorithm.rawValue), \(forms), key at \(key)\(bits)")
            if let signedAt = signature.signedAt { Swift.print("\(indent)    signed at \(ResultText.time(signedAt))") }
            if let expiresAt = signature.expiresAt {
                Swift.print("\(indent)    expires at \(ResultText.time(expiresAt))")
            }
            let fields = signature.signedFields.map { shown($0) }.joined(separator: " ")
            Swift.print("\(indent)    signs \(fields)")
        }
    }
}

/// One signature's outcome, for programs.
struct DKIMOutcomeDocument: Encodable {
    var result: String
    var reason: String
    var domain: String?
    var selector: String?
    var identity: String?
    var algorithm: String?
    var canonicalization: String?
    var key: String?
    var keyBits: Int?
    var signedFields: [String]?
    var changedFields: [String]
    var signedAt: Int?
    var expiresAt: Int?
    var unsignedOctets: Int
    var isTesting: Bool

    init(_ outcome: DKIMOutcome) {
        let text = { (octets: [UInt8]) in String(decoding: octets, as: UTF8.self) }
        result = outcome.result.rawValue
        reason = outcome.reason
        if let signature = outcome.signature {
            domain = text(signature.domain)
            selector = text(signature.selector)
            identity = text(signature.identity)
            algorithm = signature.algorithm.rawValue
            canonicalization =
                "\(signature.headerCanonicalization.rawValue)/\(signature.bodyCanonicalization.rawValue)"
            key = ResultText.name(signature.keyName)
            signedFields = signature.signedFields.map(text)
            signedAt = signature.signedAt
            expiresAt = signature.expiresAt
        }
        keyBits = outcome.keyBits
        changedFields = outcome.changedFields.map(text)
        unsignedOctets = outcome.unsignedOctets
        isTesting = outcome.isTesting
    }
}

/// Names and times as results show them.
enum ResultText {
    /// Without the dot at the end.
    static func name(_ name: DomainName) -> String { name.isRoot ? "." : String("\(name)".dropLast()) }

    static func time(_ seconds: Int) -> String { "\(DateTime(secondsSince1970: seconds))" }
}
