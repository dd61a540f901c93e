/// A key of a zone (RFC 4034 §2).
package struct ZoneKey: Hashable, Sendable {
    package let flags: UInt16
    package let `protocol`: UInt8
    package let algorithm: UInt8
    package let key: [UInt8]
    /// Tells keys of a zone apart, mostly (RFC 4034 appendix B).
    package let keyTag: UInt16

    /// The data of a DNSKEY or CDNSKEY record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .dnskey || record.type == .cdnskey, record.data.count >= 4 else { return nil }
        let data = record.data
        flags = UInt16(data[0]) << 8 | UInt16(data[1])
        self.protocol = data[2]
        algorithm = data[3]
        key = Array(data[4...])
        keyTag = Self.tag(data)
    }

    /// Whether it signs the data of a zone: the zone bit is set, and the protocol is the only one there is.
    package var isZoneKey: Bool { flags & 0x0100 != 0 && self.protocol == 3 }
    /// Whether it is an entry point that a parent's DS record leads to.
    package var isSecureEntryPoint: Bool { flags & 0x0001 != 0 }
    /// Whether it says of itself that it must not be trusted any more (RFC 5011 §2.1).
    package var isRevoked: Bool { flags & 0x0080 != 0 }

    private static func tag(_ data: [UInt8]) -> UInt16 {
        // Algorithm 1 has a tag of its own, and is not to be used (RFC 4034 appendix B.1).
        var sum: UInt32 = 0
        for (index, octet) in data.enumerated() {
            sum &+= index & 1 == 0 ? UInt32(octet) << 8 : UInt32(octet)
        }
        sum &+= sum >> 16
        return UInt16(truncatingIfNeeded: sum)
    }
}

/// What a parent says of a child's key (RFC 4034 §5).
package struct DelegationSigner: Hashable, Sendable {
    package let keyTag: UInt16
    package let algorithm: UInt8
    package let digestType: UInt8
    package let digest: [UInt8]

    /// The data of a DS or CDS record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .ds || record.type == .cds, record.data.count > 4 else { return nil }
        let data = record.data
        keyTag = UInt16(data[0]) << 8 | UInt16(data[1])
        algorithm = data[2]
        digestType = data[3]
        digest = Array(data[4...])
    }
}

/// A signature over the records of one name and type (RFC 4034 §3).
package struct RecordSignature: Hashable, Sendable {
    package let typeCovered: RecordType
    package let algorithm: UInt8
    /// How many labels the signed name has, a wildcard's asterisk not counted.
    package let labels: UInt8
    package let originalTimeToLive: UInt32
    /// Until when it counts. Seconds since 1970, modulo 2^32.
    package let expiration: UInt32
    /// From when on it counts. Seconds since 1970, modulo 2^32.
    package let inception: UInt32
    package let keyTag: UInt16
    /// The zone whose key signed.
    package let signer: DomainName
    package let signature: [UInt8]

    /// The data of an RRSIG record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .rrsig, var reader = record.reader, let type = try? reader.readInteger16(),
            let algorithm = try? reader.readInteger8(), let labels = try? reader.readInteger8(),
            let originalTimeToLive = try? reader.readInteger32(), let expiration = try? reader.readInteger32(),
            let inception = try? reader.readInteger32(), let keyTag = try? reader.readInteger16(),
            let signer = try? reader.readName()
        else { return nil }
        typeCovered = RecordType(rawValue: type)
        self.algorithm = algorithm
        self.labels = labels
        self.originalTimeToLive = originalTimeToLive
        self.expiration = expiration
        self.inception = inception
        self.keyTag = keyTag
        self.signer = signer
        signature = Array(record.data[reader.position...])
    }
}

/// That between two names of a zone there is none (RFC 4034 §4).
package struct NextSecure: Hashable, Sendable {
    package let owner: DomainName
    package let next: DomainName
    package let types: TypeBitmap

    /// The data of an NSEC record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .nsec, var reader = record.reader, let next = try? reader.readName(),
            let types = TypeBitmap(record.data[reader.position...])
        else { return nil }
        owner = record.name
        self.next = next
        self.types = types
    }
}

/// That between the hashes of two names of a zone there is none (RFC 5155 §3).
package struct NextSecure3: Hashable, Sendable {
    /// The zone.
    package let zone: DomainName
    /// The hash that the owner's first label spells.
    package let hash: [UInt8]
    package let hashAlgorithm: UInt8
    /// Whether insecure delegations between the two may have been left out.
    package let isOptOut: Bool
    /// Whether a flag is set that nobody knows: the record then says nothing (RFC 5155 §8.2).
    package let hasUnknownFlags: Bool
    package let iterations: UInt16
    package let salt: [UInt8]
    package let next: [UInt8]
    package let types: TypeBitmap

    /// The data of an NSEC3 record; nil for any other, or where the owner's first label spells no hash.
    package init?(_ record: ResourceRecord) {
        guard record.type == .nsec3, var reader = record.reader, let algorithm = try? reader.readInteger8(),
            let flags = try? reader.readInteger8(), let iterations = try? reader.readInteger16(),
            let saltLength = try? reader.readInteger8(), let salt = try? reader.readOctets(Int(saltLength)),
            let hashLength = try? reader.readInteger8(), let next = try? reader.readOctets(Int(hashLength)),
            let types = TypeBitmap(record.data[reader.position...]), let zone = record.name.parent,
            let label = record.name.firstLabel, let hash = RadixCoding.base32hex.decode(label)
        else { return nil }
        self.zone = zone
        self.hash = hash
        hashAlgorithm = algorithm
        isOptOut = flags & 1 != 0
        hasUnknownFlags = flags & 0xFE != 0
        self.iterations = iterations
        self.salt = Array(salt)
        self.next = Array(next)
        self.types = types
    }
}
