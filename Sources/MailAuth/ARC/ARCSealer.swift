import DNS
import Encodings
import MIME

/// Why nothing is sealed.
package enum ARCSealingError: Error, Sendable, Equatable {
    /// There are fifty sets already, or the newest says that the chain is broken (RFC 8617 §5.1).
    case chainIsAtItsEnd
    /// The key, the header or the body's hash.
    case signing(DKIMSigningError)
}

/// Adds a set to a message's chain (RFC 8617 §5.1).
package struct ARCSealer: Sendable {
    package var name: SigningName
    package var fields = SignedFieldList.arc

    package init(_ name: SigningName) { self.name = name }

    /// How the body has to be hashed.
    package var bodyHashMethod: BodyHashMethod { BodyHashMethod(.relaxed) }

    /// The three fields, with CRLF at their ends; they go on top.
    ///
    /// - Parameters:
    ///   - outcome: what a check of the message said just now.
    ///   - results: what else was found, as an Authentication-Results field would say it.
    ///   - now: seconds since 1970.
    package func fields(
        for message: HashedMessage,
        after outcome: ARCOutcome,
        results: AuthenticationResults,
        now: Int,
        by key: SigningKey
    ) throws(ARCSealingError) -> [UInt8] {
        let set = try draft(for: message, after: outcome, results: results, now: now)
        do throws(DKIMSigningError) {
            let seal = set.seal(try key.signature(of: set.messageSignature))
            return seal.fields(try key.signature(of: seal.draft))
        } catch {
            throw .signing(error)
        }
    }

    /// A set for a message whose chain has been checked just now. Two signatures make it whole, one after the other.
    package func draft(
        for message: HashedMessage,
        after outcome: ARCOutcome,
        results: AuthenticationResults,
        now: Int
    ) throws(ARCSealingError) -> ARCSetDraft {
        let instance = outcome.chain.highestInstance + 1
        guard instance <= ARCChain.maximumSets, !outcome.endsInFailure else { throw .chainIsAtItsEnd }
        do throws(DKIMSigningError) {
            return ARCSetDraft(
                messageSignature: try messageSignature(message, instance: instance, now: now),
                findings: results.field(name: "ARC-Authentication-Results", instance: instance),
                sealWriter: sealWriter(outcome, instance: instance, now: now),
                covered: Self.covered(message, outcome)
            )
        } catch {
            throw .signing(error)
        }
    }

    private func messageSignature(
        _ message: HashedMessage,
        instance: Int,
        now: Int
    ) throws(DKIMSigningError) -> SignatureDraft {
        let header = message.header
        guard !message.isHeaderCut, header.first("from") != nil, header.hasOnlyFields else { throw .badHeader }
        guard let hash = message.bodyHashes[bodyHashMethod] else { throw .noBodyHash }
        let names = fields.names(in: header)
        var writer = SignatureWriter(name: "ARC-Message-Signature")
        writer.add("i", "\(instance)")
        writer.add("a", name.algorithm.rawValue)
        writer.add("c", "relaxed/relaxed")
        writer.add("d", name.domain)
        writer.add("s", name.selector)
        writer.add("t", "\(now)")
        writer.add("h", names, separator: UInt8(ascii: ":"))
        writer.add("bh", Base64.encode(hash.digest))
        var input = SignatureInput.octets(names, of: message, excluding: nil, canonicalization: .relaxed)
        input += SignatureInput.unsigned(writer.unsigned(), canonicalization: .relaxed)
        return SignatureDraft(name, writer, input: input)
    }

    private func sealWriter(_ outcome: ARCOutcome, instance: Int, now: Int) -> SignatureWriter {
        var writer = SignatureWriter(name: "ARC-Seal")
        writer.add("i", "\(instance)")
        writer.add("a", name.algorithm.rawValue)
        writer.add("cv", outcome.result.rawValue)
        writer.add("d", name.domain)
        writer.add("s", name.selector)
        writer.add("t", "\(now)")
        return writer
    }

    /// The seal covers all sets; that of a broken chain only its own (RFC 8617 §5.1.2).
    private static func covered(_ message: HashedMessage, _ outcome: ARCOutcome) -> [UInt8] {
        guard outcome.result == .pass else { return [] }
        return outcome.chain.sets.flatMap { ARCValidator.scope(of: $0, in: message.header) }
    }
}

/// A set that lacks its two signatures; the seal covers the message's.
package struct ARCSetDraft: Sendable {
    package let messageSignature: SignatureDraft
    private let findings: [UInt8]
    private let sealWriter: SignatureWriter
    private let covered: [UInt8]

    init(messageSignature: SignatureDraft, findings: [UInt8], sealWriter: SignatureWriter, covered: [UInt8]) {
        self.messageSignature = messageSignature
        self.findings = findings
        self.sealWriter = sealWriter
        self.covered = covered
    }

    /// The set with its message signature.
    package func seal(_ signature: [UInt8]) -> ARCSealDraft {
        let field = messageSignature.field(signature)
        let own = HeaderBlock(findings + field)
        let input =
            covered + own.fields.flatMap { Canonicalization.relaxed.field($0, in: own.octets) }
            + SignatureInput.unsigned(sealWriter.unsigned(), canonicalization: .relaxed)
        return ARCSealDraft(
            draft: SignatureDraft(messageSignature.name, sealWriter, input: input),
            others: field + findings
        )
    }
}

/// A set that lacks only the seal's signature.
package struct ARCSealDraft: Sendable {
    package let draft: SignatureDraft
    private let others: [UInt8]

    init(draft: SignatureDraft, others: [UInt8]) {
        self.draft = draft
        self.others = others
    }

    /// The three fields, with CRLF at their ends; they go on top.
    package func fields(_ signature: [UInt8]) -> [UInt8] { draft.field(signature) + others }
}

extension SignedFieldList {
    /// The standard fields and the DKIM signatures, without oversigning: later hops may add what they must.
    package static let arc = SignedFieldList(
        oversigned: [],
        signed: standard.oversigned + standard.signed + [Array("dkim-signature".utf8)]
    )
}
