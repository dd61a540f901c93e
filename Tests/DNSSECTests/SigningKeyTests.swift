import Cryptography
import DNS
import Testing

@testable import DNSSEC

@Suite struct SigningKeyTests {
    private let now = TestZones.now

    private func key(_ kind: KeyKind) throws -> SigningKey {
        let secret = try #require(PrivateKey.generate(kind))
        let zone = try DomainName("Signed.test")
        return try #require(SigningKey(zone: zone, key: secret, isSecureEntryPoint: true, timeToLive: 300))
    }

    private func signed(_ text: String, _ key: SigningKey) throws -> RecordSet {
        let records = try TestZones.parse(text)
        let set = try #require(SignableSet(records))
        let signature = try #require(key.sign(set, inception: now - 60, expiration: now + 60))
        return try #require(RecordSet.sets(of: records + [signature]).first)
    }

    @Test(arguments: [KeyKind.ecdsaP256, .ed25519])
    func whatIsSignedIsBelieved(kind: KeyKind) throws {
        let key = try key(kind)
        let policy = ValidationPolicy()
        let trusted = TrustedKeys(zone: key.zone, keys: [key.publicKey], policy)
        for text in [
            "signed.test. 60 MX 10 Mail.Signed.test.\nsigned.test. 60 MX 5 other.test.", "a.signed.test. 60 TXT a b",
            "*.w.signed.test. 60 A 192.0.2.1",
        ] {
            var set = try signed(text, key)
            let signature = try trusted.verify(set, now: now, policy, ValidationBudget())
            #expect(!set.isExpanded(signature))
            #expect(throws: Bogus.self) { try trusted.verify(set, now: now + 1000, policy, ValidationBudget()) }
            set.records.removeLast()
            #expect(throws: Bogus.self) { try trusted.verify(set, now: now, policy, ValidationBudget()) }
        }
    }

    @Test func aWildcardsSignatureCountsForNamesBelow() throws {
        let key = try key(.ed25519)
        var wildcard = try signed("*.w.signed.test. 60 A 192.0.2.1", key)
        wildcard.records[0].name = try DomainName("x.y.w.signed.test")
        let set = RecordSet(
            name: wildcard.records[0].name,
            type: .a,
            records: wildcard.records,
            signatures: wildcard.signatures
        )
        let trusted = TrustedKeys(zone: key.zone, keys: [key.publicKey], ValidationPolicy())
        let signature = try trusted.verify(set, now: now, ValidationPolicy(), ValidationBudget())
        #expect(set.isExpanded(signature))
    }

    @Test func aSignatureIsCheckedOnce() throws {
        let key = try key(.ed25519)
        let policy = ValidationPolicy()
        let trusted = TrustedKeys(zone: key.zone, keys: [key.publicKey], policy)
        let verified = VerifiedSignatures()
        let set = try signed("*.w.signed.test. 60 A 192.0.2.1", key)
        func judge(_ set: RecordSet, checks: Int, now: UInt32? = nil, keys: TrustedKeys? = nil) -> Bool {
            let budget = ValidationBudget(signatures: checks, verified: verified)
            return (try? (keys ?? trusted).verify(set, now: now ?? self.now, policy, budget)) != nil
        }
        #expect(!judge(set, checks: 0))
        #expect(judge(set, checks: 1))
        // From now on it costs nothing, for no name that the wildcard stands for.
        #expect(judge(set, checks: 0))
        let expanded = set.records.map { record in
            var record = record
            record.name = key.zone
            return record
        }
        let other = RecordSet(
            name: try DomainName("x.w.signed.test"),
            type: .a,
            records: expanded,
            signatures: set.signatures
        )
        #expect(judge(other, checks: 0))
        // Neither after its time, nor over other data, nor by another key.
        #expect(!judge(set, checks: 0, now: now + 1000))
        var changed = set
        changed.records[0] = try #require(try TestZones.parse("*.w.signed.test. 60 A 192.0.2.2").first)
        #expect(!judge(changed, checks: 9))
        #expect(!judge(changed, checks: 9))
        let stranger = try self.key(.ed25519).publicKey
        #expect(!judge(set, checks: 9, keys: TrustedKeys(zone: key.zone, keys: [stranger], policy)))
    }

    @Test func whatIsElsewhereIsNotSigned() throws {
        let key = try key(.ecdsaP256)
        let set = try #require(SignableSet(try TestZones.parse("other.test. 60 A 192.0.2.1")))
        #expect(key.sign(set, inception: now, expiration: now + 60) == nil)
    }

    @Test func otherKindsOfKeyAreRefused() throws {
        let secret = try #require(PrivateKey.generate(.ed448))
        #expect(SigningKey(zone: .root, key: secret, isSecureEntryPoint: false, timeToLive: 60) == nil)
    }

    @Test(arguments: [KeyKind.ecdsaP256, .ed25519])
    func theParentIsTold(kind: KeyKind) throws {
        let key = try key(kind)
        let record = try #require(key.delegationSigner())
        let signer = try #require(DelegationSigner(record))
        #expect(signer.matches(key.publicKey, key.record))
        #expect(key.publicKey.isSecureEntryPoint && key.publicKey.isZoneKey)
        #expect(key.parentRequests.map(\.type) == [.cds, .cdnskey])
        #expect(key.parentRequests.map(\.data) == [record.data, key.record.data])
        let longer = try #require(key.delegationSigner(.sha384).flatMap { DelegationSigner($0) })
        #expect(longer.digestType == 4 && longer.digest.count == 48 && longer.matches(key.publicKey, key.record))
        #expect(key.delegationSigner(.sha512) == nil)
    }
}
