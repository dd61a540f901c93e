import Cryptography
import DNS
import Testing

@testable import DNSSEC

/// RFC 5011, with keys made here and a clock that is set.
struct TrustPointTests {
    private static let start: Int64 = 1_764_000_000
    private static let day: Int64 = 86_400
    private static let policy = ValidationPolicy()

    private static func key() throws -> RollingKey { try RollingKey(zone: .root) }

    /// The root's keys as its servers give them.
    private static func answers(
        _ keys: [RollingKey],
        signers: [RollingKey],
        revoked: [RollingKey] = [],
        at now: Int64
    ) throws -> [ResourceRecord] {
        let gone = revoked.map(\.revoked)
        let records = keys.map(\.plain.record) + gone.map(\.record)
        let set = try #require(SignableSet(records))
        let time = UInt32(truncatingIfNeeded: now)
        let all = signers.map(\.plain) + gone
        return try records
            + all.map { signer in
                try #require(signer.sign(set, inception: time &- 3600, expiration: time &+ UInt32(10 * day)))
            }
    }

    private static func seeds(_ keys: RollingKey...) -> [DelegationSigner] {
        keys.compactMap { $0.plain.record.signer() }
    }

    private func states(_ point: TrustPoint) -> [UInt16: TrustPoint.State] {
        Dictionary(uniqueKeysWithValues: point.keys.map { ($0.keyTag, $0.state) })
    }

    @Test func aWholeRollOver() throws {
        let (old, new) = try (Self.key(), Self.key())
        var point = TrustPoint(zone: .root, seeds: Self.seeds(old))
        var now = Self.start
        func look(_ keys: [RollingKey], signers: [RollingKey], revoked: [RollingKey] = []) throws -> Bogus? {
            point.observe(try Self.answers(keys, signers: signers, revoked: revoked, at: now), now: now, Self.policy)
                .failure
        }
        #expect(try look([old], signers: [old]) == nil)
        #expect(states(point) == [old.plain.publicKey.keyTag: .valid])
        #expect(point.next == now + Self.day, "half of the time to live")
        // A new key appears: not trusted for thirty days.
        #expect(try look([old, new], signers: [old]) == nil)
        now += 29 * Self.day
        #expect(try look([old, new], signers: [old, new]) == nil)
        #expect(states(point)[new.plain.publicKey.keyTag] == .pending)
        #expect(point.signers == Self.seeds(old))
        #expect(try look([old, new], signers: [new]) != nil, "a pending key proves nothing")
        now += Self.day
        #expect(try look([old, new], signers: [old]) == nil)
        #expect(states(point)[new.plain.publicKey.keyTag] == .valid)
        // The old one is revoked, by itself and the new one.
        #expect(try look([new], signers: [new], revoked: [old]) == nil)
        #expect(states(point) == [old.plain.publicKey.keyTag: .revoked, new.plain.publicKey.keyTag: .valid])
        #expect(point.signers == Self.seeds(new), "although the configuration still names the old one")
        now += 31 * Self.day
        #expect(try look([new], signers: [new]) == nil)
        #expect(states(point)[old.plain.publicKey.keyTag] == .removed)
        // It never comes back.
        #expect(try look([old, new], signers: [old, new]) == nil)
        #expect(states(point)[old.plain.publicKey.keyTag] == .removed)
        #expect(try look([old], signers: [old]) != nil)
    }

    @Test func aPendingKeyThatGoesBeginsAnew() throws {
        let (old, new) = try (Self.key(), Self.key())
        var point = TrustPoint(zone: .root, seeds: Self.seeds(old))
        var now = Self.start
        for (days, keys) in [(0, [old, new]), (20, [old]), (5, [old, new]), (10, [old, new])] {
            now += Int64(days) * Self.day
            let failure = point.observe(try Self.answers(keys, signers: [old], at: now), now: now, Self.policy).failure
            #expect(failure == nil)
        }
        #expect(states(point)[new.plain.publicKey.keyTag] == .pending)
        #expect(point.signers == Self.seeds(old))
    }

    @Test func aKeyThatIsMissingIsTrusted() throws {
        let (one, other) = try (Self.key(), Self.key())
        var point = TrustPoint(zone: .root, seeds: Self.seeds(one, other))
        let now = Self.start
        _ = point.observe(try Self.answers([one, other], signers: [one], at: now), now: now, Self.policy)
        _ = point.observe(try Self.answers([one], signers: [one], at: now), now: now, Self.policy)
        #expect(states(point)[other.plain.publicKey.keyTag] == .missing)
        #expect(Set(point.signers) == Set(Self.seeds(one, other)))
        let failure = point.observe(try Self.answers([other], signers: [other], at: now), now: now, Self.policy).failure
        #expect(failure == nil)
        #expect(states(point) == [one.plain.publicKey.keyTag: .missing, other.plain.publicKey.keyTag: .valid])
    }

    /// Somebody else can't revoke a key, and can't bring one in.
    @Test func whatOthersSayOfKeys() throws {
        let (old, stranger) = try (Self.key(), Self.key())
        var point = TrustPoint(zone: .root, seeds: Self.seeds(old))
        let now = Self.start
        _ = point.observe(try Self.answers([old], signers: [old], at: now), now: now, Self.policy)
        let record = old.revoked.record
        let set = try #require(SignableSet([record, stranger.plain.record]))
        let time = UInt32(truncatingIfNeeded: now)
        let signature = try #require(stranger.plain.sign(set, inception: time &- 60, expiration: time &+ 3600))
        let (changes, failure) = point.observe([record, stranger.plain.record, signature], now: now, Self.policy)
        #expect(changes == [])
        #expect(failure != nil)
        #expect(point.signers == Self.seeds(old))
        #expect(point.next >= now + 3600)
    }

    @Test func theLastKeyIsRevoked() throws {
        let old = try Self.key()
        var point = TrustPoint(zone: .root, seeds: Self.seeds(old))
        let now = Self.start
        let answers = try Self.answers([], signers: [], revoked: [old], at: now)
        let (changes, failure) = point.observe(answers, now: now, Self.policy)
        #expect(changes.map(\.state) == [.revoked])
        #expect(failure != nil)
        #expect(point.signers == [])
        var anchors = TrustAnchors([old.plain.record])
        anchors.replace(.root, point.signers)
        #expect(anchors.closest(to: .root) == nil, "as if it had never been configured (RFC 5011 §5)")
    }

    @Test func nothingOfUse() throws {
        let old = try Self.key()
        var point = TrustPoint(zone: .root, seeds: Self.seeds(old))
        let failure = point.observe([], now: Self.start, Self.policy).failure
        #expect(failure != nil)
        #expect(point.next == Self.start + 3600)
        #expect(point.signers == Self.seeds(old))
    }
}

/// A key that signs keys, and the same as it revokes itself, under another tag.
private struct RollingKey {
    let plain: SigningKey
    let revoked: SigningKey

    init(zone: DomainName) throws {
        let key = try #require(PrivateKey.generate(.ed25519))
        func made(_ isRevoked: Bool) -> SigningKey? {
            SigningKey(zone: zone, key: key, isSecureEntryPoint: true, timeToLive: 172_800, isRevoked: isRevoked)
        }
        plain = try #require(made(false))
        revoked = try #require(made(true))
    }
}
