import DNS

/// What another server, or the cache, says to a question.
package struct SecurityReply: Sendable {
    package var code: ResponseCode
    package var answers: [ResourceRecord]
    package var authorities: [ResourceRecord]

    package init(code: ResponseCode, answers: [ResourceRecord], authorities: [ResourceRecord]) {
        self.code = code
        self.answers = answers
        self.authorities = authorities
    }
}

/// Gives DS and DNSKEY records with their signatures, unchecked.
package typealias SecuritySource = (DomainName, RecordType) async -> SecurityReply?

/// The way from a trust anchor down to a zone, by DS and DNSKEY records (RFC 4035 §5).
struct ChainOfTrust {
    let anchors: TrustAnchors
    let policy: ValidationPolicy
    let cache: KeyCache
    let budget: ValidationBudget
    /// Seconds since 1970.
    let now: UInt32
    let source: SecuritySource
    /// Gives what another server says, where what was given last is bogus; nil where there is none.
    let another: SecuritySource?
    var trace: ValidationTrace?

    private static let longest: UInt32 = 86_400
    private static let shortest: UInt32 = 30
    private static let bogusTime: UInt32 = 60
    /// How many DS records of a zone are followed.
    private static let maximumSigners = 16
    /// How many keys a zone may have.
    private static let maximumKeys = 64
    /// How many servers are asked for what turned out to be bogus.
    private static let maximumReplies = 4

    /// The keys of the zone that a name is in.
    func status(of name: DomainName) async -> ZoneStatus {
        guard let anchor = anchors.closest(to: name) else { return .insecure }
        var keys: TrustedKeys
        switch await anchored(anchor.zone, anchor.signers) {
        case .secure(let found): keys = found
        case let other: return other
        }
        let depth = name.labelCount
        var labels = anchor.zone.labelCount
        while labels < depth {
            labels += 1
            switch await cut(name.suffix(labels: labels), keys) {
            case .none: continue
            case .zone(.secure(let below)): keys = below
            case .zone(let other): return other
            }
        }
        return .secure(keys)
    }

    private func anchored(_ zone: DomainName, _ signers: [DelegationSigner]) async -> ZoneStatus {
        if case .zone(let known) = cache.status(of: zone, now: now) { return known }
        trace?(.anchor(zone, keyTags: signers.map(\.keyTag)))
        let (status, seconds) = await keys(of: zone, signers, lifetime: Self.longest)
        cache.keep(.zone(status), for: zone, seconds: seconds, now: now)
        return status
    }

    /// What the zone above says of a name.
    private func cut(_ name: DomainName, _ parent: TrustedKeys) async -> CutStatus {
        if let known = cache.status(of: name, now: now) { return known }
        guard let reply = await source(name, .ds) else {
            return .zone(.bogus(Bogus(ExtendedError.proofMissingCode, "no answer about the DS records of \(name)")))
        }
        let (status, seconds) = await firstGood(reply, name, .ds) { await judge($0, name, parent) }
        cache.keep(status, for: name, seconds: seconds, now: now)
        return status
    }

    /// The judgement of the first reply that isn't bogus, of as many servers as there are: one that is behind, or lies,
    /// doesn't speak for the others. That of the first reply where all are bogus.
    private func firstGood(
        _ reply: SecurityReply,
        _ name: DomainName,
        _ type: RecordType,
        _ judge: (SecurityReply) async -> (CutStatus, UInt32)
    ) async -> (CutStatus, UInt32) {
        let first = await judge(reply)
        guard case .zone(.bogus) = first.0, let another else { return first }
        for _ in 1..<Self.maximumReplies {
            // Others may have asked meanwhile for a question of their own.
            if let known = cache.known(of: name, now: now) {
                if case .zone(.bogus) = known.status { break }
                return (known.status, known.seconds)
            }
            guard !budget.isExhausted, let reply = await another(name, type) else { break }
            let next = await judge(reply)
            if case .zone(.bogus) = next.0 { continue }
            return next
        }
        return first
    }

    private func judge(_ reply: SecurityReply, _ name: DomainName, _ parent: TrustedKeys) async -> (CutStatus, UInt32) {
        let sets = RecordSet.sets(of: reply.answers)
        do {
            if let set = sets.first(where: { $0.type == .ds && $0.name == name }) {
                let signature = try parent.verify(set, now: now, policy, budget)
                let signers = set.records.compactMap(DelegationSigner.init)
                trace?(.set(name, .ds, signature))
                trace?(.signers(name, signers))
                let (status, seconds) = await keys(of: name, signers, lifetime: lifetime(set, signature))
                return (.zone(status), seconds)
            }
            if let alias = sets.first(where: { $0.type == .cname && $0.name == name }) {
                let signature = try parent.verify(alias, now: now, policy, budget)
                return (.none, lifetime(alias, signature))
            }
            let proofs = try Proofs(reply.authorities, parent, now: now, policy, budget)
            let seconds = min(max(proofs.lifetime, Self.shortest), Self.longest)
            switch proofs.cut(name) {
            case .none: return (.none, seconds)
            case .insecure:
                trace?(.unsigned(name))
                return (.zone(.insecure), seconds)
            case .missing:
                let text = "no proof that \(name) has no DS records"
                return (.zone(.bogus(Bogus(ExtendedError.proofMissingCode, text))), Self.bogusTime)
            }
        } catch {
            return (.zone(.bogus(error)), Self.bogusTime)
        }
    }

    /// The keys of a zone whose parent, or the administrator, vouches for one of them.
    private func keys(
        of zone: DomainName,
        _ signers: [DelegationSigner],
        lifetime: UInt32
    ) async -> (ZoneStatus, UInt32) {
        var usable = signers.filter { signer in
            SigningAlgorithm.parameters(signer.algorithm, policy) != nil
                && SigningAlgorithm.digest(signer.digestType) != nil
        }
        // With a better digest SHA-1's doesn't count (RFC 4509 §3).
        if usable.contains(where: { $0.digestType != 1 }) { usable.removeAll { $0.digestType == 1 } }
        // Nothing that is known vouches for it: it's as good as unsigned (RFC 4035 §5.2).
        guard !usable.isEmpty else { return (.insecure, max(lifetime, Self.shortest)) }
        guard let reply = await source(zone, .dnskey) else { return missing(zone) }
        let (status, seconds) = await firstGood(reply, zone, .dnskey) { reply in
            let (status, seconds) = judge(keys: reply, zone, usable, lifetime: lifetime)
            return (.zone(status), seconds)
        }
        guard case .zone(let found) = status else { return missing(zone) }
        return (found, seconds)
    }

    private func missing(_ zone: DomainName) -> (ZoneStatus, UInt32) {
        (.bogus(Bogus(ExtendedError.keyMissingCode, "\(zone) has no DNSKEY records")), Self.bogusTime)
    }

    private func judge(
        keys reply: SecurityReply,
        _ zone: DomainName,
        _ usable: [DelegationSigner],
        lifetime: UInt32
    ) -> (ZoneStatus, UInt32) {
        guard let set = RecordSet.sets(of: reply.answers).first(where: { $0.type == .dnskey && $0.name == zone }),
            set.records.count <= Self.maximumKeys
        else { return missing(zone) }
        let published = set.records.compactMap { record in ZoneKey(record).map { (key: $0, record: record) } }
        var reason = Bogus(ExtendedError.keyMissingCode, "no DNSKEY record of \(zone) fits its DS records")
        for signer in usable.prefix(Self.maximumSigners) {
            for entry in published where signer.matches(entry.key, entry.record) {
                let entrance = TrustedKeys(zone: zone, keys: [entry.key], policy)
                do {
                    let signature = try entrance.verify(set, now: now, policy, budget)
                    let trusted = TrustedKeys(zone: zone, keys: published.map(\.key), policy)
                    trace?(.keys(zone, published.map(\.key), entrance: entry.key.keyTag))
                    return (.secure(trusted), min(lifetime, self.lifetime(set, signature)))
                } catch {
                    reason = error
                }
            }
        }
        return (.bogus(reason), Self.bogusTime)
    }

    /// How long a verified set counts (RFC 4035 §5.3.3). Seconds.
    private func lifetime(_ set: RecordSet, _ signature: RecordSignature) -> UInt32 {
        min(max(set.lifetime(signature, now: now), Self.shortest), Self.longest)
    }
}

extension RecordSet {
    /// How long the set counts that a signature proves: no longer than the signature, nor than its zone says
    /// (RFC 4035 §5.3.3). Seconds.
    func lifetime(_ signature: RecordSignature, now: UInt32) -> UInt32 {
        let left = Int32(bitPattern: signature.expiration &- now)
        let shortest = min(records.map(\.timeToLive).min() ?? 0, signature.originalTimeToLive)
        return min(shortest, left > 0 ? UInt32(left) : 1)
    }
}
