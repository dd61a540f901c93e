import Cryptography
import DNS
import MIME

/// Verifies a message's DKIM signatures (RFC 6376 §6, with RFC 8301, 8463 and 8616).
package enum DKIMVerifier {
    /// What every signature says, from the top; empty where there's none. Those beyond the limit have one outcome together.
    ///
    /// - Parameter now: seconds since 1970.
    package static func verify(
        _ message: HashedMessage,
        lookup: any MailAuthLookup,
        now: Int,
        limits: SignatureLimits = SignatureLimits()
    ) async -> [DKIMOutcome] {
        if message.isHeaderCut {
            let reason = "the header has more than \(limits.headerOctets) octets"
            return [DKIMOutcome(result: .permerror, reason: reason, field: 0)]
        }
        let signatures = message.signatures
        if let first = signatures.entries.first, !message.header.hasOnlyFields {
            let reason = "the header has a line that is no field, which some take for the body"
            return [DKIMOutcome(result: .permerror, reason: reason, field: first.place)]
        }
        let keys = await KeyRecords(Set(signatures.read.map(\.keyName)), lookup: lookup)
        var outcomes: [DKIMOutcome] = []
        for entry in signatures.entries {
            switch entry.signature {
            case .failure(let fault):
                outcomes.append(DKIMOutcome(result: fault.result, reason: fault.reason, field: entry.place))
            case .success(let signature):
                let check = SignatureCheck(message: message, place: entry.place, now: now, limits: limits)
                outcomes.append(check.outcome(signature, keys))
            }
        }
        // One outcome for all of them, so that what is reported stays short.
        if let rest = signatures.rest {
            let reason =
                "only the first \(signatures.entries.count) signatures are looked at, not the \(rest.count) below them"
            outcomes.append(DKIMOutcome(result: .neutral, reason: reason, field: rest.place))
        }
        return outcomes
    }
}

/// Checks one signature of DKIM or one ARC-Message-Signature, its keys being at hand.
struct SignatureCheck {
    let message: HashedMessage
    /// The signature's place among the fields.
    let place: Int
    let now: Int
    let limits: SignatureLimits

    func outcome(_ signature: DKIMSignature, _ keys: KeyRecords) -> DKIMOutcome {
        var outcome = DKIMOutcome(result: .pass, reason: "", signature: signature, field: place)
        do throws(SignatureFault) {
            let texts = try accept(signature, keys)
            let key = try key(signature, texts, keys, &outcome)
            try compareBody(signature, &outcome)
            try compareHeader(signature, key, &outcome)
            outcome.reason = "the signature of \(String(decoding: signature.domain, as: UTF8.self)) is good"
            if outcome.unsignedOctets > 0 {
                outcome.reason += ", but leaves \(outcome.unsignedOctets) octets at the end of the body unsigned (l=)"
            }
        } catch {
            outcome.result = error.result
            outcome.reason = error.reason
        }
        if outcome.isTesting, outcome.result != .pass { outcome.reason += " (the domain is testing, t=y)" }
        return outcome
    }

    /// What needs no key.
    private func accept(_ signature: DKIMSignature, _ keys: KeyRecords) throws(SignatureFault) -> [[UInt8]] {
        if signature.algorithm == .rsaSHA1 {
            throw SignatureFault(.permerror, "rsa-sha1 is no longer valid (RFC 8301)")
        }
        if let expiry = signature.expiresAt, now > expiry, now - expiry > limits.clockSkew {
            throw SignatureFault(.policy, "the signature expired at \(DateTime(secondsSince1970: expiry)) (x=)")
        }
        if let start = signature.signedAt, start > now, start - now > limits.clockSkew {
            throw SignatureFault(.policy, "the signature is from the future: \(DateTime(secondsSince1970: start)) (t=)")
        }
        return try keys.texts(signature.keyName)
    }

    /// The first of the records that can be used (RFC 6376 §6.1.2), or else why the first can't.
    private func key(
        _ signature: DKIMSignature,
        _ texts: [[UInt8]],
        _ keys: KeyRecords,
        _ outcome: inout DKIMOutcome
    ) throws(SignatureFault) -> PublicKey {
        var fault: SignatureFault?
        for text in texts.prefix(limits.keyRecords) {
            do throws(SignatureFault) {
                var forbidsSubdomains = false
                let key = try keys.key(text, for: signature.algorithm, limits: limits) { record in
                    outcome.isTesting = record.isTesting
                    forbidsSubdomains = record.forbidsSubdomains
                }
                outcome.keyBits = key.bits
                if forbidsSubdomains, signature.kind == .message, !isOfDomainItself(signature) {
                    throw SignatureFault(.permerror, "the key is not for domains below its own (t=s), which i= names")
                }
                return key
            } catch {
                fault = fault ?? error
            }
        }
        throw fault ?? SignatureFault(.permerror, "there is no key")
    }

    private func isOfDomainItself(_ signature: DKIMSignature) -> Bool {
        let host = signature.identity.lastIndex(of: UInt8(ascii: "@")).map { signature.identity[($0 + 1)...] } ?? []
        guard let one = MailDomain.name(Array(host)), let other = MailDomain.name(signature.domain) else {
            return false
        }
        return one == other
    }

    private func compareBody(_ signature: DKIMSignature, _ outcome: inout DKIMOutcome) throws(SignatureFault) {
        guard let hash = message.bodyHashes[signature.bodyHashMethod] else {
            throw SignatureFault(.neutral, "the message has signatures over too many forms of its body")
        }
        if let length = signature.bodyLength {
            guard length <= hash.octets else {
                throw SignatureFault(.fail, "the body has \(hash.octets) octets, fewer than the \(length) signed (l=)")
            }
            outcome.unsignedOctets = hash.octets - length
            if limits.requiresWholeBody, outcome.unsignedOctets > 0 {
                throw SignatureFault(.policy, "\(outcome.unsignedOctets) octets of the body are not signed (l=)")
            }
        }
        guard MessageAuthentication.areEqual(hash.digest, signature.bodyHash) else {
            throw SignatureFault(.fail, "the body has been changed: its hash is not the one signed (bh=)")
        }
    }

    private func compareHeader(
        _ signature: DKIMSignature,
        _ key: PublicKey,
        _ outcome: inout DKIMOutcome
    ) throws(SignatureFault) {
        let header = message.header
        let form = signature.headerCanonicalization
        var input = SignatureInput.octets(
            signature.signedFields,
            of: message,
            excluding: place,
            canonicalization: form
        )
        input += SignatureInput.unsigned(
            header.fields[place],
            in: header,
            extent: signature.signatureExtent,
            canonicalization: form
        )
        guard !SignatureInput.isValid(signature.signature, of: input, key: key, algorithm: signature.algorithm) else {
            return
        }
        outcome.changedFields = changes(signature)
        var reason = "the signature does not fit: signed fields have been changed, or it is another key's"
        if !outcome.changedFields.isEmpty {
            let names = outcome.changedFields.map { String(decoding: $0, as: UTF8.self) }
            reason += "; by the copies in z=, changed are: \(names.joined(separator: ", "))"
        }
        throw SignatureFault(.fail, reason)
    }

    /// The names of copied fields that the message has differently now, white space aside.
    private func changes(_ signature: DKIMSignature) -> [[UInt8]] {
        guard !signature.copiedFields.isEmpty else { return [] }
        let header = message.header
        // Each field is gone through once, however many copies there are.
        var present: [[UInt8]: Set<[UInt8]>] = [:]
        return signature.copiedFields.compactMap { copy in
            let name = copy.name.map(ASCII.lower)
            let values =
                present[name]
                ?? Set(
                    message.fieldIndex.all(name).map { place in
                        header.octets[header.fields[place].value].filter { !ASCII.isWhitespace($0) }
                    }
                )
            present[name] = values
            return values.contains(copy.value.filter { !ASCII.isWhitespace($0) }) ? nil : copy.name
        }
    }
}
