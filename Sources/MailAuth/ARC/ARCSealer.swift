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
    package var key: SigningKey
    package var fields = SignedFieldList.arc

    package init(key: SigningKey) { self.key = key }

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
        now: Int
    ) throws(ARCSealingError) -> [UInt8] {
        let instance = outcome.chain.highestInstance + 1
        guard instance <= ARCChain.maximumSets, !outcome.endsInFailure else { throw .chainIsAtItsEnd }
        let findings = results.field(name: "ARC-Authentication-Results", instance: instance)
        do throws(DKIMSigningError) {
            let signature = try messageSignature(message, instance: instance, now: now)
            let seal = try seal(message, outcome, findings + signature, instance: instance, now: now)
            return seal + signature + findings
        } catch {
            throw .signing(error)
        }
    }

    private func messageSignature(
        _ message: HashedMessage,
        instance: Int,
        now: Int
    ) throws(DKIMSigningError) -> [UInt8] {
        let header = message.header
        guard !message.isHeaderCut, header.first("from") != nil, header.hasOnlyFields else { throw .badHeader }
        guard let hash = message.bodyHashes[bodyHashMethod] else { throw .noBodyHash }
        let names = fields.names(in: header)
        var writer = SignatureWriter(name: "ARC-Message-Signature")
        writer.add("i", "\(instance)")
        writer.add("a", key.algorithm.rawValue)
        writer.add("c", "relaxed/relaxed")
        writer.add("d", key.domain)
        writer.add("s", key.selector)
        writer.add("t", "\(now)")
        writer.add("h", names, separator: UInt8(ascii: ":"))
        writer.add("bh", Base64.encode(hash.digest))
        var input = SignatureInput.octets(names, of: message, excluding: nil, canonicalization: .relaxed)
        input += SignatureInput.unsigned(writer.unsigned(), canonicalization: .relaxed)
        return writer.signed(try key.signature(of: input))
    }

    /// The seal covers all sets; that of a broken chain only its own (RFC 8617 §5.1.2).
    private func seal(
        _ message: HashedMessage,
        _ outcome: ARCOutcome,
        _ own: [UInt8],
        instance: Int,
        now: Int
    ) throws(DKIMSigningError) -> [UInt8] {
        var writer = SignatureWriter(name: "ARC-Seal")
        writer.add("i", "\(instance)")
        writer.add("a", key.algorithm.rawValue)
        writer.add("cv", outcome.result.rawValue)
        writer.add("d", key.domain)
        writer.add("s", key.selector)
        writer.add("t", "\(now)")
        var input: [UInt8] = []
        if outcome.result == .pass {
            for set in outcome.chain.sets { input += ARCValidator.scope(of: set, in: message.header) }
        }
        let block = HeaderBlock(own)
        input += block.fields.flatMap { Canonicalization.relaxed.field($0, in: block.octets) }
        input += SignatureInput.unsigned(writer.unsigned(), canonicalization: .relaxed)
        return writer.signed(try key.signature(of: input))
    }
}

extension SignedFieldList {
    /// The standard fields and the DKIM signatures, without oversigning: later hops may add what they must.
    package static let arc = SignedFieldList(
        oversigned: [],
        signed: standard.oversigned + standard.signed + [Array("dkim-signature".utf8)]
    )
}
