import Cryptography
import DNS
import DNSSEC

/// A message whose sets bear the right signatures of one zone, or not, as the first octets say, judged by the validator: what is
/// proved is what the zone signed, and nothing costs much.
let dnsValidationTarget = FuzzTarget("dns-validation", maximum: 2048) { input in
    var octets = Array(input)[...]
    guard let signed = octets.popFirst(), let later = octets.popFirst() else { return }
    guard let message = try? DNSMessage(decoding: Array(octets)), let question = message.questions.first else { return }
    let zone = SigningZone.shared
    // Each bit says whether a set is signed; so deep code sees good signatures over all that the fuzzer thinks of.
    let answers = zone.sign(message.answers, signed)
    let authorities = zone.sign(message.authorities, later)
    let extra = zone.sign(message.additionals, signed ^ later)
    waiting {
        let validator = Validator(
            anchors: zone.anchors,
            policy: ValidationPolicy(),
            cache: KeyCache(),
            now: SigningZone.now,
            source: { name, type in
                if name == zone.key.zone, type == .dnskey {
                    return SecurityReply(code: .noError, answers: zone.keys, authorities: [])
                }
                let found = (answers.records + extra.records).filter { record in
                    record.name == name && (record.type == type || RecordSignature(record)?.typeCovered == type)
                }
                return SecurityReply(code: message.responseCode, answers: found, authorities: authorities.records)
            }
        )
        let reply = SecurityReply(
            code: message.responseCode,
            answers: answers.records,
            authorities: authorities.records
        )
        let verdict = await validator.judge(question, reply, isComplete: true)
        guard case .secure = verdict.security, question.type != .rrsig else { return }
        // Secure data at the question's name is what was signed, or comes by a signed alias from elsewhere.
        let data = answers.records.filter {
            $0.name == question.name && $0.type == question.type && $0.class == .internet
        }
        demand(
            data.isEmpty || answers.signed.contains(.init(name: question.name, type: question.type)) || answers.forged,
            "\(question.name) \(question.type) counts as secure, and nobody signed it"
        )
    }
}

/// A zone with a key that never changes.
private final class SigningZone: Sendable {
    static let now: UInt32 = 1_800_000_000
    static let shared = SigningZone()

    let key: SigningKey
    let keys: [ResourceRecord]
    let anchors: TrustAnchors

    struct Owner: Hashable, Sendable {
        var name: DomainName
        var type: RecordType
    }

    struct Signed: Sendable {
        var records: [ResourceRecord]
        var signed: Set<Owner>
        /// Whether the input had signatures of its own, which may be copies of good ones.
        var forged: Bool
    }

    private init() {
        guard let zone = try? DomainName("z"), let secret = PrivateKey(.ed25519, raw: [UInt8](repeating: 7, count: 32)),
            let key = SigningKey(zone: zone, key: secret, isSecureEntryPoint: true, timeToLive: 3600),
            let set = SignableSet([key.record]),
            let signature = key.sign(set, inception: Self.now - 1000, expiration: Self.now + 100_000)
        else { fatalError("no key") }
        self.key = key
        keys = [key.record, signature]
        anchors = TrustAnchors([key.record])
    }

    /// The records with signatures for those sets whose bits are set.
    func sign(_ records: [ResourceRecord], _ bits: UInt8) -> Signed {
        var result = Signed(records: records, signed: [], forged: records.contains { $0.type == .rrsig })
        for (index, set) in RecordSet.sets(of: records).enumerated() where bits & (1 << UInt8(index % 8)) != 0 {
            guard index < 16, let signable = SignableSet(set.records),
                let signature = key.sign(signable, inception: Self.now - 1000, expiration: Self.now + 100_000)
            else { continue }
            result.records.append(signature)
            result.signed.insert(Owner(name: set.name, type: set.type))
        }
        return result
    }
}
