import DNS
import DNSSEC
import Daemon

#if canImport(Glibc)
import Glibc
#endif

/// Checks an answer's signatures from the trust anchor down, by records that a resolver gives, and shows each step.
struct DNSValidation {
    let resolver: DNSStub
    let anchors: TrustAnchors

    /// Why there are no anchors.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// - Parameter file: DS or DNSKEY records as master file lines; nil for the root's keys.
    static func anchors(_ file: String?) throws -> TrustAnchors {
        var text = TrustAnchors.root
        if let file {
            guard let content = WholeFile.read(file, maximum: 1 << 20) else {
                throw Failure(description: "cannot read \(file)")
            }
            text = content
        }
        return try TrustAnchors(masterFile: Array(text.utf8), file: file ?? "root")
    }

    /// Prints the chain of trust, or why there is none.
    ///
    /// - Returns: whether the answer is not bogus.
    func run(_ question: Question) async throws -> Bool {
        let message = try resolver.ask(query(question))
        let reply = SecurityReply(
            code: message.responseCode,
            answers: message.answers,
            authorities: message.authorities
        )
        let validator = Validator(
            anchors: anchors,
            policy: ValidationPolicy(),
            cache: KeyCache(),
            now: UInt32(truncatingIfNeeded: time(nil)),
            trace: { print(Self.text($0)) },
            source: { name, type in
                guard let answer = try? resolver.ask(query(Question(name: name, type: type))) else { return nil }
                return SecurityReply(
                    code: answer.responseCode,
                    answers: answer.answers,
                    authorities: answer.authorities
                )
            }
        )
        let verdict = await validator.judge(question, reply, isComplete: true)
        switch verdict.security {
        case .secure: print("secure: \(question.name) \(question.type)")
        case .insecure(let reason):
            print("insecure: \(question.name) \(question.type)\(reason.map { ": \($0.text)" } ?? "")")
        case .bogus(let reason):
            print("bogus: \(reason.text)")
            return false
        }
        return true
    }

    private func query(_ question: Question) -> DNSMessage {
        var query = DNSMessage.query(id: .random(in: .min ... .max), question: question, dnssecOK: true)
        query.flags.checkingDisabled = true
        return query
    }

    private static func text(_ step: ValidationStep) -> String {
        switch step {
        case .anchor(let zone, let tags):
            return "\(zone) trust begins with key\(tags.count == 1 ? "" : "s") \(list(tags))"
        case .signers(let zone, let signers):
            return "\(zone) DS " + signers.map { "\($0.keyTag) (digest \($0.digestType))" }.joined(separator: ", ")
        case .keys(let zone, let keys, let entrance):
            let all = keys.map { key in
                "\(key.keyTag) (algorithm \(key.algorithm)\(key.isSecureEntryPoint ? ", entry point" : ""))"
            }
            return "\(zone) DNSKEY \(all.joined(separator: ", ")), signed by key \(entrance)"
        case .unsigned(let zone): return "\(zone) is not signed: its parent proves that it has no DS"
        case .set(let name, let type, let signature):
            return "\(name) \(type) signed by key \(signature.keyTag) of \(signature.signer)"
        case .denial(let name, let type, let zone): return "\(name) \(type) isn't there: \(zone) proves it"
        }
    }

    private static func list(_ tags: [UInt16]) -> String {
        tags.sorted().map { String($0) }.joined(separator: ", ")
    }
}
