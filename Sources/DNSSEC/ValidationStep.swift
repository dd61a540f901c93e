import DNS

/// What was found on the way of a validation, for people who want to see it.
package enum ValidationStep: Sendable {
    /// Trust begins at a zone, with keys of these tags.
    case anchor(DomainName, keyTags: [UInt16])
    /// A parent vouches for keys of a zone, with these tags and digest types.
    case signers(DomainName, [DelegationSigner])
    /// A zone's keys, of which the one with the tag signed all.
    case keys(DomainName, [ZoneKey], entrance: UInt16)
    /// A zone below that is not signed, as its parent proves.
    case unsigned(DomainName)
    /// A set that a signature proves.
    case set(DomainName, RecordType, RecordSignature)
    /// That there is nothing, which a zone's NSEC or NSEC3 records prove.
    case denial(DomainName, RecordType, zone: DomainName)
}

/// Takes the steps as they are found. Nothing is told of what a cache of keys knew already.
package typealias ValidationTrace = (ValidationStep) -> Void
