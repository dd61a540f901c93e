import Cryptography
import DNS

/// What a key of a zone signs (RFC 9364 §2, RFC 6781 §3.1).
package enum KeyRole: String, CaseIterable, Sendable {
    /// All of the zone, its keys included; the parent vouches for it.
    case csk
    /// The zone's keys; the parent vouches for it.
    case ksk
    /// All but the zone's keys.
    case zsk

    /// Whether the parent's DS record leads to it.
    package var isSecureEntryPoint: Bool { self != .zsk }
}

/// Where in its life a key is.
package enum KeyState: String, CaseIterable, Sendable {
    /// Resolvers are to know it before anything is signed with it.
    case published
    /// It signs.
    case active
    /// It signs no more; resolvers may still have what it signed.
    case retired
}

/// A key with what it is used for.
package struct ZoneSigningKey: Sendable {
    package var key: SigningKey
    package var role: KeyRole
    package var state: KeyState

    package init(key: SigningKey, role: KeyRole, state: KeyState) {
        self.key = key
        self.role = role
        self.state = state
    }
}

/// The keys of a zone that is signed.
package struct ZoneKeySet: Sendable {
    /// The DNSKEY records, those of keys that don't sign now included.
    package let published: [ResourceRecord]
    /// What the zone asks its parent for (RFC 7344 §4): CDS and CDNSKEY of the keys that the parent is to vouch for.
    package let requests: [ResourceRecord]
    /// Who signs the DNSKEY, CDS and CDNSKEY sets, and who signs all others.
    private let keySigners: [SigningKey]
    private let dataSigners: [SigningKey]

    /// Nil where no key is active: then nothing can be signed.
    package init?(_ keys: [ZoneSigningKey]) {
        let active = keys.filter { $0.state == .active }
        guard !active.isEmpty else { return nil }
        func signers(_ other: KeyRole) -> [SigningKey] {
            let fitting = active.filter { $0.role != other }
            // A role that nobody has falls to those that there are.
            return (fitting.isEmpty ? active : fitting).map(\.key)
        }
        keySigners = signers(.zsk)
        dataSigners = signers(.ksk)
        published = keys.map(\.key.record)
        requests = active.filter(\.role.isSecureEntryPoint).flatMap(\.key.parentRequests)
    }

    /// The keys that sign sets of a type.
    package func signers(of type: RecordType) -> [SigningKey] {
        switch type {
        case .dnskey, .cds, .cdnskey: keySigners
        default: dataSigners
        }
    }
}
