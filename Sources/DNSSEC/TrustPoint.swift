import DNS

/// The keys of a zone in which trust begins, followed as the zone rolls them over (RFC 5011). A value: who owns it says
/// what was seen, and when.
package struct TrustPoint: Sendable, Equatable {
    /// Where a key is on its way (RFC 5011 §4.2). One that was never seen, or went while it was pending, isn't kept.
    package enum State: String, CaseIterable, Sendable {
        /// Seen, and not trusted before the hold-down time is over.
        case pending
        case valid
        /// Not in the zone any more, without having been revoked; still trusted.
        case missing
        /// Said of itself that it must not be trusted.
        case revoked
        /// Revoked for long enough; remembered, so that it never comes back.
        case removed
    }

    /// One key.
    package struct Key: Sendable, Equatable {
        /// The DNSKEY record, as it is unrevoked.
        package var record: ResourceRecord
        package var state: State
        /// When it came into the state. Seconds since 1970.
        package var since: Int64
        /// When it may leave the state, for a pending and a revoked one. Seconds since 1970.
        package var until: Int64

        package init(record: ResourceRecord, state: State, since: Int64, until: Int64 = 0) {
            self.record = record
            self.state = state
            self.since = since
            self.until = until
        }

        package var keyTag: UInt16 { ZoneKey(record)?.keyTag ?? 0 }
        fileprivate var isTrusted: Bool { state == .valid || state == .missing }
    }

    /// What happened to a key.
    package struct Change: Sendable, Equatable {
        package var keyTag: UInt16
        /// nil for one that went while it was pending.
        package var state: State?
    }

    package let zone: DomainName
    package internal(set) var keys: [Key]
    /// When the keys were last seen and proven; 0 for never. Seconds since 1970.
    package internal(set) var confirmed: Int64
    /// When they are to be asked for again. Seconds since 1970.
    package internal(set) var next: Int64
    /// The anchors that the administrator, or whoever built this, vouches for.
    private let seeds: [DelegationSigner]

    /// How long a new key must be there, and a revoked one away (RFC 5011 §2.4.1, §2.4.2). Seconds.
    package static let holdDown: Int64 = 30 * 86_400
    private static let hour: Int64 = 3600
    private static let day: Int64 = 86_400
    private static let longestInterval = 15 * day
    /// How many keys a zone may have, and how many are followed.
    private static let maximumKeys = 64

    package init(zone: DomainName, seeds: [DelegationSigner], keys: [Key] = [], confirmed: Int64 = 0, next: Int64 = 0) {
        self.zone = zone
        self.seeds = seeds
        self.keys = keys
        self.confirmed = confirmed
        self.next = next
    }

    /// What is trusted now: the keys that are known to be good, and the seeds that no key has shown up for.
    package var signers: [DelegationSigner] {
        keys.filter(\.isTrusted).compactMap { $0.record.signer() } + unseen
    }

    /// The seeds that no key has shown up for.
    package var unseen: [DelegationSigner] { seeds.filter { seed in !keys.contains { Self.fits(seed, $0.record) } } }

    /// Takes up what the zone says of its keys now.
    ///
    /// - Parameters:
    ///   - answers: the DNSKEY records with their signatures, fresh from the zone's servers.
    ///   - now: seconds since 1970.
    /// - Returns: what has changed, and why the keys weren't believed where no trusted one signed them; what keys said of
    ///   their own revocation counts all the same.
    package mutating func observe(
        _ answers: [ResourceRecord],
        now: Int64,
        _ policy: ValidationPolicy
    ) -> (changes: [Change], failure: Bogus?) {
        guard let set = RecordSet.sets(of: answers).first(where: { $0.type == .dnskey && $0.name == zone }),
            set.records.count <= Self.maximumKeys
        else {
            postpone(now)
            return ([], Bogus(ExtendedError.keyMissingCode, "\(zone) has no DNSKEY records"))
        }
        let before = keys
        revoke(set, now, policy)
        let failure = confirm(set, now, policy)
        if failure != nil { postpone(now) }
        return (Self.changes(from: before, to: keys), failure)
    }

    /// Whether the keys are to be asked for. A time that is farther away than any may be was set by a clock that was wrong.
    package func isDue(_ now: Int64) -> Bool { next <= now || next > now + Self.longestInterval }

    /// That the zone's servers said nothing: they are asked again sooner (RFC 5011 §2.3).
    package mutating func postpone(_ now: Int64) {
        let interval = max(next - confirmed, Self.hour)
        next = now + max(Self.hour, min(Self.day, interval / 5))
    }

    // MARK: Steps

    /// Keys that revoke themselves: with the bit set, and a signature of their own (RFC 5011 §2.1).
    private mutating func revoke(_ set: RecordSet, _ now: Int64, _ policy: ValidationPolicy) {
        for record in set.records {
            guard let key = ZoneKey(record), key.isRevoked, let plain = record.unrevoked else { continue }
            let place = keys.firstIndex { $0.record.data == plain.data }
            let isKnown = place.map { keys[$0].isTrusted } ?? seeds.contains { Self.fits($0, plain) }
            guard isKnown, isSelfSigned(key, set, now, policy) else { continue }
            let revoked = Key(record: plain, state: .revoked, since: now, until: now + Self.holdDown)
            if let place { keys[place] = revoked } else { keys.append(revoked) }
        }
    }

    private func isSelfSigned(_ key: ZoneKey, _ set: RecordSet, _ now: Int64, _ policy: ValidationPolicy) -> Bool {
        let own = TrustedKeys(zone: zone, revoked: key, policy)
        let time = UInt32(truncatingIfNeeded: now)
        return (try? own.verify(set, now: time, policy, ValidationBudget())) != nil
    }

    /// Where a trusted key signed the set, what is in it and what isn't counts.
    private mutating func confirm(_ set: RecordSet, _ now: Int64, _ policy: ValidationPolicy) -> Bogus? {
        let signers = signers
        let published = set.records.filter { record in
            ZoneKey(record).map { $0.isZoneKey && $0.isSecureEntryPoint && !$0.isRevoked } ?? false
        }
        let trusted = set.records.filter { record in
            guard let key = ZoneKey(record), !key.isRevoked else { return false }
            return signers.contains { $0.matches(key, record) }
        }
        let signature: RecordSignature
        do {
            let entrance = TrustedKeys(zone: zone, keys: trusted.compactMap(ZoneKey.init), policy)
            signature = try entrance.verify(
                set,
                now: UInt32(truncatingIfNeeded: now),
                policy,
                ValidationBudget()
            )
        } catch {
            return error
        }
        for record in trusted where !keys.contains(where: { $0.record.data == record.data }) {
            keys.append(Key(record: record, state: .valid, since: now))
        }
        for record in published { see(record, now, timeToLive: signature.originalTimeToLive) }
        miss(published + trusted, now)
        confirmed = now
        next = now + Self.interval(signature, now)
        return nil
    }

    private mutating func see(_ record: ResourceRecord, _ now: Int64, timeToLive: UInt32) {
        guard let place = keys.firstIndex(where: { $0.record.data == record.data }) else {
            guard keys.count < Self.maximumKeys else { return }
            // RFC 5011 §2.4.1: 30 days, or the time to live of the set where that's longer.
            let until = now + max(Self.holdDown, Int64(timeToLive))
            keys.append(Key(record: record, state: .pending, since: now, until: until))
            return
        }
        switch keys[place].state {
        case .pending where now >= keys[place].until, .missing:
            keys[place] = Key(record: keys[place].record, state: .valid, since: now)
        case .pending, .valid, .revoked, .removed: break
        }
    }

    private mutating func miss(_ published: [ResourceRecord], _ now: Int64) {
        keys.removeAll { key in key.state == .pending && !published.contains { $0.data == key.record.data } }
        for place in keys.indices {
            switch keys[place].state {
            case .valid where !published.contains(where: { $0.data == keys[place].record.data }):
                keys[place] = Key(record: keys[place].record, state: .missing, since: now)
            case .revoked where now >= keys[place].until:
                keys[place] = Key(record: keys[place].record, state: .removed, since: now)
            default: break
            }
        }
    }

    /// Until the next look (RFC 5011 §2.3). Seconds.
    private static func interval(_ signature: RecordSignature, _ now: Int64) -> Int64 {
        let left = Int64(Int32(bitPattern: signature.expiration &- UInt32(truncatingIfNeeded: now)))
        return max(hour, min(longestInterval, Int64(signature.originalTimeToLive) / 2, left / 2))
    }

    private static func fits(_ seed: DelegationSigner, _ record: ResourceRecord) -> Bool {
        ZoneKey(record).map { seed.matches($0, record) } ?? false
    }

    private static func changes(from before: [Key], to after: [Key]) -> [Change] {
        let gone = before.filter { old in !after.contains { $0.record.data == old.record.data } }
        let other = after.filter { key in
            before.first { $0.record.data == key.record.data }?.state != key.state
        }
        return other.map { Change(keyTag: $0.keyTag, state: $0.state) }
            + gone.map { Change(keyTag: $0.keyTag, state: nil) }
    }
}

extension ResourceRecord {
    /// The DNSKEY record without its revocation.
    fileprivate var unrevoked: ResourceRecord? {
        guard type == .dnskey, data.count >= 4 else { return nil }
        var octets = data
        octets[1] &= 0x7F
        return try? ResourceRecord(name: name, type: type, timeToLive: timeToLive, wireData: octets)
    }
}
