extension ResourceRecord {
    /// The data with the names in it in lower case, for the types of which that is asked (RFC 4034 §6.2, RFC 6840 §5.1).
    package var canonicalData: [UInt8] {
        guard Self.loweredTypes.contains(type.rawValue), RecordField.fields(of: type) != nil else { return data }
        var canonical: [UInt8] = []
        canonical.reserveCapacity(data.count)
        forEachField { field, octets in
            if field.isName { canonical += octets.map(asciiLowercased) } else { canonical += octets }
        }
        return canonical
    }

    /// NS, MD, MF, CNAME, SOA, MB, MG, MR, PTR, MINFO, MX, RP, AFSDB, RT, SIG, PX, SRV, NAPTR, KX, DNAME, RRSIG.
    private static let loweredTypes: Set<UInt16> = [
        2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15, 17, 18, 21, 24, 26, 33, 35, 36, 39, 46,
    ]
}
