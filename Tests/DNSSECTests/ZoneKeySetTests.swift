import Cryptography
import DNS
import Testing

@testable import DNSSEC

@Suite struct ZoneKeySetTests {
    private func key(_ role: KeyRole, _ state: KeyState, _ kind: KeyKind = .ed25519) throws -> ZoneSigningKey {
        let secret = try #require(PrivateKey.generate(kind))
        let key = try #require(
            SigningKey(
                zone: DomainName("example.test"),
                key: secret,
                isSecureEntryPoint: role.isSecureEntryPoint,
                timeToLive: 300
            )
        )
        return ZoneSigningKey(key: key, role: role, state: state)
    }

    private func tags(_ keys: [SigningKey]) -> [UInt16] { keys.map(\.publicKey.keyTag) }

    @Test func eachRoleSignsItsOwn() throws {
        let (ksk, zsk) = (try key(.ksk, .active), try key(.zsk, .active))
        let set = try #require(ZoneKeySet([ksk, zsk]))
        for type in [RecordType.dnskey, .cds, .cdnskey] { #expect(tags(set.signers(of: type)) == tags([ksk.key])) }
        for type in [RecordType.soa, .a, .nsec3, .ds] { #expect(tags(set.signers(of: type)) == tags([zsk.key])) }
        #expect(set.published == [ksk.key.record, zsk.key.record])
        #expect(set.requests == ksk.key.parentRequests)
    }

    @Test func oneKeySignsEverything() throws {
        for role in KeyRole.allCases {
            let only = try key(role, .active)
            let set = try #require(ZoneKeySet([only]))
            #expect(tags(set.signers(of: .dnskey)) == tags([only.key]))
            #expect(tags(set.signers(of: .a)) == tags([only.key]))
            #expect(set.requests.isEmpty == (role == .zsk))
        }
    }

    @Test func onlyActiveKeysSign() throws {
        let active = try key(.csk, .active, .ecdsaP256)
        let (next, last) = (try key(.csk, .published), try key(.csk, .retired))
        let set = try #require(ZoneKeySet([last, active, next]))
        #expect(tags(set.signers(of: .dnskey)) == tags([active.key]))
        #expect(tags(set.signers(of: .a)) == tags([active.key]))
        #expect(set.published.count == 3)
        #expect(set.requests == active.key.parentRequests)
        #expect(ZoneKeySet([next, last]) == nil)
        #expect(ZoneKeySet([]) == nil)
    }

    @Test func twoActiveKeysSignBoth() throws {
        let (one, other) = (try key(.csk, .active), try key(.csk, .active, .ecdsaP256))
        let set = try #require(ZoneKeySet([one, other]))
        #expect(tags(set.signers(of: .a)) == tags([one.key, other.key]))
        #expect(set.requests.count == 4)
    }
}
