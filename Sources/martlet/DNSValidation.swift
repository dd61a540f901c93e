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

    /// Finds the chain of trust, or why there is none.
    ///
    /// - Parameter prints: whether each step is printed as it's found, and the judgement.
    func run(_ question: Question, prints: Bool) async throws -> DNSValidationDocument {
        let message = try resolver.ask(query(question))
        let reply = SecurityReply(
            code: message.responseCode,
            answers: message.answers,
            authorities: message.authorities
        )
        var document = DNSValidationDocument(name: question.name.description, type: question.type.description)
        let steps = Steps()
        let validator = Validator(
            anchors: anchors,
            policy: ValidationPolicy(),
            cache: KeyCache(),
            now: UInt32(truncatingIfNeeded: time(nil)),
            trace: { step in
                if prints { print(DNSValidationText.line(step)) }
                steps.found.append(DNSValidationDocument.Step(step))
            },
            source: { name, type in
                guard let answer = try? resolver.ask(query(Question(name: name, type: type))) else { return nil }
                return SecurityReply(
                    code: answer.responseCode,
                    answers: answer.answers,
                    authorities: answer.authorities
                )
            }
        )
        switch await validator.judge(question, reply, isComplete: true).security {
        case .secure: document.security = "secure"
        case .insecure(let reason): (document.security, document.reason) = ("insecure", reason?.text)
        case .bogus(let reason): (document.security, document.reason) = ("bogus", reason.text)
        }
        document.steps = steps.found
        if prints { print(DNSValidationText.judgement(document)) }
        return document
    }

    private final class Steps {
        var found: [DNSValidationDocument.Step] = []
    }

    private func query(_ question: Question) -> DNSMessage {
        var query = DNSMessage.query(id: .random(in: .min ... .max), question: question, dnssecOK: true)
        query.flags.checkingDisabled = true
        return query
    }
}
