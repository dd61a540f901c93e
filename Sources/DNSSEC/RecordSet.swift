import Cryptography
import DNS

/// The records of one name and type, with their signatures (RFC 2181 §5, RFC 4035 §2.2).
package struct RecordSet: Sendable {
    package let name: DomainName
    package let type: RecordType
    package var records: [ResourceRecord]
    package var signatures: [RecordSignature]

    /// The sets among records, in the order of their first record. Signatures without records make none.
    package static func sets(of records: [ResourceRecord]) -> [RecordSet] {
        struct Key: Hashable {
            var name: DomainName
            var type: RecordType
        }
        var places: [Key: Int] = [:]
        var sets: [RecordSet] = []
        for record in records where record.type != .rrsig && record.class == .internet {
            let key = Key(name: record.name, type: record.type)
            if let place = places[key] {
                sets[place].records.append(record)
            } else {
                places[key] = sets.count
                sets.append(RecordSet(name: record.name, type: record.type, records: [record], signatures: []))
            }
        }
        for record in records where record.type == .rrsig && record.class == .internet {
            guard let signature = RecordSignature(record),
                let place = places[Key(name: record.name, type: signature.typeCovered)]
            else { continue }
            sets[place].signatures.append(signature)
        }
        return sets
    }

    /// What a signature is made over (RFC 4034 §3.1.8.1); nil where it can't be of this set.
    package func signedData(_ signature: RecordSignature) -> [UInt8]? {
        guard signature.typeCovered == type, let owner = owner(signature) else { return nil }
        var data: [UInt8] = []
        data.append(integer: signature.typeCovered.rawValue)
        data.append(signature.algorithm)
        data.append(signature.labels)
        data.append(integer: signature.originalTimeToLive)
        data.append(integer: signature.expiration)
        data.append(integer: signature.inception)
        data.append(integer: signature.keyTag)
        data += signature.signer.lowercased.wire
        data += Self.canonicalForm(records, of: type, owner: owner, timeToLive: signature.originalTimeToLive)
        return data
    }

    /// Records of one name and type in canonical form and order (RFC 4034 §6).
    ///
    /// - Parameter owner: the name as it's signed, in lower case.
    static func canonicalForm(
        _ records: [ResourceRecord],
        of type: RecordType,
        owner: DomainName,
        timeToLive: UInt32
    ) -> [UInt8] {
        var data: [UInt8] = []
        var previous: [UInt8]?
        for canonical in records.map(\.canonicalData).sorted(by: { $0.lexicographicallyPrecedes($1) }) {
            // A record that is there twice counts once (RFC 4034 §6.3).
            if canonical == previous { continue }
            previous = canonical
            data += owner.wire
            data.append(integer: type.rawValue)
            data.append(integer: RecordClass.internet.rawValue)
            data.append(integer: timeToLive)
            data.append(integer: UInt16(truncatingIfNeeded: canonical.count))
            data += canonical
        }
        return data
    }

    /// The name as it was signed: where it has more labels than the signature says, it stands for a wildcard.
    private func owner(_ signature: RecordSignature) -> DomainName? {
        let count = name.isWildcard ? name.labelCount - 1 : name.labelCount
        if Int(signature.labels) == count { return name.lowercased }
        guard Int(signature.labels) < count else { return nil }
        return try? name.suffix(labels: Int(signature.labels)).lowercased.prepending(label: [0x2A])
    }

    /// Whether a signature says that the set comes from a wildcard.
    package func isExpanded(_ signature: RecordSignature) -> Bool {
        Int(signature.labels) < (name.isWildcard ? name.labelCount - 1 : name.labelCount)
    }
}
