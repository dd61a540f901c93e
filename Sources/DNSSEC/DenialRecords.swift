import DNS

/// Records that say what isn't there, made for one question (RFC 4470, RFC 9824).
extension ResourceRecord {
    /// That a name has records of these types only, and that nothing lies between it and the next name that there could be.
    ///
    /// - Parameter origin: the zone's top.
    package static func nextSecure(
        _ owner: DomainName,
        within origin: DomainName,
        types: some Sequence<RecordType>,
        timeToLive: UInt32
    ) -> ResourceRecord? {
        nextSecure(owner, next: owner.successor(within: origin), types: types, timeToLive: timeToLive)
    }

    /// That a name has records of these types only, and that nothing lies between it and another one (RFC 4034 §4).
    package static func nextSecure(
        _ owner: DomainName,
        next: DomainName,
        types: some Sequence<RecordType>,
        timeToLive: UInt32
    ) -> ResourceRecord? {
        try? ResourceRecord(
            name: owner,
            type: .nsec,
            timeToLive: timeToLive,
            wireData: next.wire + TypeBitmap.encode(types)
        )
    }

    /// That the name with this hash has records of these types only; none for one that is there without records
    /// (RFC 5155 §7.1). Zero iterations and no salt (RFC 9276 §3.1).
    package static func nextSecure3(
        matching hash: [UInt8],
        in zone: DomainName,
        types: some Sequence<RecordType>,
        timeToLive: UInt32
    ) -> ResourceRecord? {
        nextSecure3(hash, next: NameHash.next(hash), in: zone, types: types, timeToLive: timeToLive)
    }

    /// That no name has this hash, and of the others nothing.
    package static func nextSecure3(covering hash: [UInt8], in zone: DomainName, timeToLive: UInt32) -> ResourceRecord?
    {
        nextSecure3(
            NameHash.previous(hash),
            next: NameHash.next(hash),
            in: zone,
            types: [],
            timeToLive: timeToLive
        )
    }

    /// That the name with a hash has records of these types only, and that no name's hash lies between it and another one.
    package static func nextSecure3(
        _ owner: [UInt8],
        next: [UInt8],
        in zone: DomainName,
        types: some Sequence<RecordType>,
        timeToLive: UInt32
    ) -> ResourceRecord? {
        guard let name = try? zone.prepending(label: RadixCoding.base32hex.encode(owner).map(asciiLowercased)) else {
            return nil
        }
        // SHA-1, no flags, no iterations, no salt.
        let head: [UInt8] = [1, 0, 0, 0, 0, UInt8(truncatingIfNeeded: next.count)]
        return try? ResourceRecord(
            name: name,
            type: .nsec3,
            timeToLive: timeToLive,
            wireData: head + next + TypeBitmap.encode(types)
        )
    }

    /// How a zone hashes its names (RFC 5155 §4): with SHA-1, without iterations and salt.
    package static func nextSecure3Parameters(_ zone: DomainName, timeToLive: UInt32) -> ResourceRecord? {
        try? ResourceRecord(name: zone, type: .nsec3param, timeToLive: timeToLive, wireData: [1, 0, 0, 0, 0])
    }
}

extension NameHash {
    /// The hash without iterations and salt.
    package static func hash(_ name: DomainName) -> [UInt8] { hash(name, salt: [], iterations: 0) }

    /// The hash that follows another one; the first one behind the last.
    static func next(_ hash: [UInt8]) -> [UInt8] {
        var hash = hash
        for index in hash.indices.reversed() {
            hash[index] &+= 1
            if hash[index] != 0 { break }
        }
        return hash
    }

    /// The hash that another one follows.
    static func previous(_ hash: [UInt8]) -> [UInt8] {
        var hash = hash
        for index in hash.indices.reversed() {
            hash[index] &-= 1
            if hash[index] != 0xFF { break }
        }
        return hash
    }
}
