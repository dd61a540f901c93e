import DNS

/// What the signatures of an answer are worth (RFC 4033 §5).
package enum Security: Equatable, Sendable {
    case secure
    /// A proof, or the lack of a trust anchor, says that it needs no signature; sometimes with a reason worth telling.
    case insecure(Bogus?)
    case bogus(Bogus)
}

/// The judgement of one answer.
package struct Verdict: Sendable {
    package var security: Security
    /// How long it counts at most. Seconds.
    package var lifetime = UInt32.max
    /// NSEC records that were proven on the way, with their signatures, and the zone that they are of: they say more than
    /// was asked (RFC 8198).
    package var gaps: [ResourceRecord] = []
    package var zone: DomainName?
    /// Whether it's bogus because the zone's keys are, whatever the answer is.
    package var isOfKeys = false
}

/// Judges answers by their signatures (RFC 4035 §5). Used for one answer.
package struct Validator {
    private let chain: ChainOfTrust

    /// - Parameters:
    ///   - cache: the zones' keys that have been checked.
    ///   - budget: what it may cost.
    ///   - now: seconds since 1970.
    ///   - trace: is told of each step.
    ///   - another: is asked where what the source gave is bogus; nil where nobody else is to be asked.
    ///   - source: gives DS and DNSKEY records.
    package init(
        anchors: TrustAnchors,
        policy: ValidationPolicy,
        cache: KeyCache,
        budget: ValidationBudget = ValidationBudget(),
        now: UInt32,
        trace: ValidationTrace? = nil,
        another: SecuritySource? = nil,
        source: @escaping SecuritySource
    ) {
        chain = ChainOfTrust(
            anchors: anchors,
            policy: policy,
            cache: cache,
            budget: budget,
            now: now,
            source: source,
            another: another,
            trace: trace
        )
    }

    /// What an answer is worth, the chain of aliases in it included.
    ///
    /// - Parameter isComplete: whether the answer ends with records or with their denial, not with an alias.
    package func judge(_ question: Question, _ reply: SecurityReply, isComplete: Bool) async -> Verdict {
        let sets = RecordSet.sets(of: reply.answers)
        var name = question.name
        var verdict = Verdict(security: .secure)
        for _ in 0...AliasChain.maximum {
            if question.type == .rrsig, reply.answers.contains(where: { $0.type == .rrsig && $0.name == name }) {
                // Nobody signs signatures. That there are none is proven as for any other type.
                verdict.add(Verdict(security: .insecure(nil)))
                return verdict
            }
            let redirection = sets.first {
                $0.type == .dname && name != $0.name && name.isSubdomain(of: $0.name)
            }
            if redirection == nil || question.type != .cname,
                let set = sets.first(where: { $0.name == name && $0.type == question.type })
            {
                verdict.add(await check(set, reply))
                return verdict
            }
            if let redirection, let base = redirection.records.first?.target {
                // The alias beside it follows from it and has no signature (RFC 6672 §5.3.1).
                verdict.add(await check(redirection, reply))
                do {
                    guard let target = try name.replacing(suffix: redirection.name, with: base),
                        question.type != .cname
                    else { return verdict }
                    name = target
                } catch {
                    // That the name gets too long follows from it too.
                    return verdict
                }
            } else if let alias = sets.first(where: { $0.name == name && $0.type == .cname }),
                let target = alias.records.first?.target
            {
                verdict.add(await check(alias, reply))
                name = target
            } else {
                if isComplete { verdict.add(await checkDenial(Question(name: name, type: question.type), reply)) }
                return verdict
            }
            if case .bogus = verdict.security { return verdict }
        }
        verdict.add(Verdict(security: .bogus(Bogus(ExtendedError.bogusCode, "too many aliases"))))
        return verdict
    }

    /// The keys of the zone that a signature names. That nobody vouches for a zone above says nothing of `owner`, which a
    /// trust anchor in between may protect: then the forger of a signature must not choose what is unsigned.
    private func status(of signer: DomainName, over owner: DomainName) async -> ZoneStatus {
        let status = await chain.status(of: signer)
        guard case .insecure = status, signer != owner else { return status }
        switch await chain.status(of: owner) {
        case .secure(let keys):
            let text = "\(owner) is signed by \(signer), which nobody vouches for, and not by \(keys.zone)"
            return .bogus(Bogus(ExtendedError.signaturesMissingCode, text))
        case let other: return other
        }
    }

    /// Whether what's wrong is known of the zone itself, so that no other answer of it can be right.
    private func hasBogusKeys(_ zone: DomainName) async -> Bool {
        if case .bogus = await chain.status(of: zone) { true } else { false }
    }

    // MARK: Records

    private func check(_ set: RecordSet, _ reply: SecurityReply) async -> Verdict {
        // The parent has a zone's DS records.
        let owner = set.type == .ds ? set.name.parent ?? set.name : set.name
        guard let signer = set.signatures.map(\.signer).first(where: { owner.isSubdomain(of: $0) }) else {
            return unsigned(await chain.status(of: owner), "\(set.name) \(set.type)")
        }
        switch await status(of: signer, over: owner) {
        case .insecure: return Verdict(security: .insecure(nil))
        case .bogus(let reason): return Verdict(security: .bogus(reason), isOfKeys: await hasBogusKeys(signer))
        case .secure(let keys): return verified(set, keys, reply)
        }
    }

    private func verified(_ set: RecordSet, _ keys: TrustedKeys, _ reply: SecurityReply) -> Verdict {
        do {
            let signature = try keys.verify(set, now: chain.now, chain.policy, chain.budget)
            chain.trace?(.set(set.name, set.type, signature))
            var verdict = Verdict(security: .secure, lifetime: set.lifetime(signature, now: chain.now))
            guard set.isExpanded(signature) else { return verdict }
            // A wildcard stands for names that don't exist only.
            let proofs = try Proofs(reply.authorities, keys, now: chain.now, chain.policy, chain.budget)
            let proof = proofs.noCloserMatch(set.name, labels: Int(signature.labels))
            verdict.add(
                judgement(
                    proof,
                    "\(set.name) itself doesn't exist, which a wildcard stands for",
                    proofs.lifetime
                )
            )
            return verdict
        } catch {
            return Verdict(security: .bogus(error))
        }
    }

    private func unsigned(_ status: ZoneStatus, _ what: @autoclosure () -> String) -> Verdict {
        switch status {
        case .insecure: Verdict(security: .insecure(nil))
        case .bogus(let reason): Verdict(security: .bogus(reason), isOfKeys: true)
        case .secure(let keys):
            Verdict(
                security: .bogus(
                    Bogus(ExtendedError.signaturesMissingCode, "\(what()) has no signature, but \(keys.zone) is signed")
                )
            )
        }
    }

    // MARK: Denials

    private func checkDenial(_ question: Question, _ reply: SecurityReply) async -> Verdict {
        let owner = question.type == .ds ? question.name.parent ?? question.name : question.name
        let sets = RecordSet.sets(of: reply.authorities)
        let signers = sets.filter { [.soa, .nsec, .nsec3].contains($0.type) }.flatMap(\.signatures).map(\.signer)
        guard let signer = signers.first(where: { owner.isSubdomain(of: $0) }) else {
            return unsigned(await chain.status(of: owner), "that \(question.name) has no \(question.type)")
        }
        switch await status(of: signer, over: owner) {
        case .insecure: return Verdict(security: .insecure(nil))
        case .bogus(let reason): return Verdict(security: .bogus(reason), isOfKeys: await hasBogusKeys(signer))
        case .secure(let keys):
            do {
                return try denied(question, reply, keys, sets.first { $0.type == .soa })
            } catch {
                return Verdict(security: .bogus(error))
            }
        }
    }

    private func denied(
        _ question: Question,
        _ reply: SecurityReply,
        _ keys: TrustedKeys,
        _ start: RecordSet?
    ) throws(Bogus) -> Verdict {
        var lifetime = UInt32.max
        if let start {
            let signature = try keys.verify(start, now: chain.now, chain.policy, chain.budget)
            lifetime = start.lifetime(signature, now: chain.now)
        }
        let proofs = try Proofs(reply.authorities, keys, now: chain.now, chain.policy, chain.budget)
        lifetime = min(lifetime, proofs.lifetime)
        var verdict = denial(question, reply, proofs, lifetime)
        if case .bogus = verdict.security {
        } else {
            chain.trace?(.denial(question.name, question.type, zone: keys.zone))
        }
        verdict.gaps = proofs.gaps
        verdict.zone = keys.zone
        return verdict
    }

    private func denial(_ question: Question, _ reply: SecurityReply, _ proofs: Proofs, _ lifetime: UInt32) -> Verdict {
        if reply.code == .nameError {
            return judgement(proofs.noName(question.name), "\(question.name) doesn't exist", lifetime)
        }
        let verdict = proofs.noData(question.name, question.type)
        return judgement(verdict, "\(question.name) has no \(question.type)", lifetime)
    }

    private func judgement(
        _ verdict: DenialVerdict,
        _ what: @autoclosure () -> String,
        _ lifetime: UInt32
    ) -> Verdict {
        switch verdict {
        case .proven: return Verdict(security: .secure, lifetime: lifetime)
        case .optedOut: return Verdict(security: .insecure(nil), lifetime: lifetime)
        case .tooExpensive:
            let text = "the proof that \(what()) has too many iterations"
            return Verdict(
                security: .insecure(Bogus(ExtendedError.unsupportedIterationsCode, text)),
                lifetime: lifetime
            )
        case .missing:
            if chain.budget.isExhausted {
                return Verdict(security: .bogus(Bogus(ExtendedError.bogusCode, "a proof would cost too much")))
            }
            return Verdict(security: .bogus(Bogus(ExtendedError.proofMissingCode, "no proof that \(what())")))
        }
    }
}

extension Verdict {
    /// Takes in a part's verdict: the whole is worth what its weakest part is.
    mutating func add(_ part: Verdict) {
        lifetime = min(lifetime, part.lifetime)
        isOfKeys = isOfKeys || part.isOfKeys
        if let zone = part.zone {
            self.zone = zone
            gaps = part.gaps
        }
        switch (security, part.security) {
        case (.bogus, _), (_, .secure): break
        case (.secure, _), (.insecure, .bogus), (.insecure(nil), .insecure): security = part.security
        case (.insecure, .insecure): break
        }
    }
}
