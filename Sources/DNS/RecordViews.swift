/// Where a domain's mail goes (RFC 1035 §3.3.9).
package struct MailExchange: Hashable, Sendable {
    /// Lower ones come first.
    package let preference: UInt16
    /// The host; the root says that the domain takes no mail (RFC 7505).
    package let exchange: DomainName

    /// The data of an MX record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .mx, var reader = record.reader, let preference = try? reader.readInteger16(),
            let exchange = try? reader.readName()
        else { return nil }
        self.preference = preference
        self.exchange = exchange
    }
}

/// Where a service is (RFC 2782).
package struct ServiceLocation: Hashable, Sendable {
    /// Lower ones come first.
    package let priority: UInt16
    /// The share among those of equal priority.
    package let weight: UInt16
    /// The port.
    package let port: UInt16
    /// The host; the root says that there is no such service.
    package let target: DomainName

    /// The data of an SRV record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .srv, var reader = record.reader, let priority = try? reader.readInteger16(),
            let weight = try? reader.readInteger16(), let port = try? reader.readInteger16(),
            let target = try? reader.readName()
        else { return nil }
        self.priority = priority
        self.weight = weight
        self.port = port
        self.target = target
    }
}

/// What a TLS certificate must be (RFC 6698 §2.1).
package struct TLSAssociation: Hashable, Sendable {
    /// PKIX-TA 0, PKIX-EE 1, DANE-TA 2, DANE-EE 3 (RFC 7218).
    package let usage: UInt8
    /// The certificate 0, its public key 1.
    package let selector: UInt8
    /// Itself 0, its SHA-256 1, its SHA-512 2.
    package let matching: UInt8
    /// What to compare with.
    package let data: [UInt8]

    /// The data of a TLSA record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .tlsa, record.data.count >= 3 else { return nil }
        usage = record.data[0]
        selector = record.data[1]
        matching = record.data[2]
        data = Array(record.data[3...])
    }
}

/// The start of a zone of authority (RFC 1035 §3.3.13).
package struct StartOfAuthority: Hashable, Sendable {
    /// The primary server.
    package let primary: DomainName
    /// The mailbox of who is responsible, its first dot standing for `@`.
    package let responsible: DomainName
    /// The zone's version.
    package let serial: UInt32
    /// Seconds between a secondary's looks.
    package let refresh: UInt32
    /// Seconds until a failed look is tried again.
    package let retry: UInt32
    /// Seconds after which a secondary's data is too old.
    package let expire: UInt32
    /// Seconds for which an answer that there is nothing may be kept, at most (RFC 2308 §4).
    package let minimum: UInt32

    /// The data of an SOA record; nil for any other.
    package init?(_ record: ResourceRecord) {
        guard record.type == .soa, var reader = record.reader, let primary = try? reader.readName(),
            let responsible = try? reader.readName(), let serial = try? reader.readInteger32(),
            let refresh = try? reader.readInteger32(), let retry = try? reader.readInteger32(),
            let expire = try? reader.readInteger32(), let minimum = try? reader.readInteger32()
        else { return nil }
        self.primary = primary
        self.responsible = responsible
        self.serial = serial
        self.refresh = refresh
        self.retry = retry
        self.expire = expire
        self.minimum = minimum
    }
}

extension ResourceRecord {
    var reader: MessageReader? { MessageReader(data) }

    /// The name that an NS, CNAME, DNAME or PTR record holds, or an MX or SRV record's host; nil for other types.
    package var target: DomainName? {
        switch type {
        case .ns, .cname, .dname, .ptr: return try? DomainName(wire: data)
        case .mx: return MailExchange(self)?.exchange
        case .srv: return ServiceLocation(self)?.target
        default: return nil
        }
    }

    /// The address of an A (4 octets) or AAAA (16 octets) record in network order; nil for other types.
    package var addressOctets: [UInt8]? {
        switch (type, data.count) {
        case (.a, 4), (.aaaa, 16): data
        default: nil
        }
    }

    /// The addresses that an SVCB or HTTPS record has as hints (RFC 9460 §7.3), in network order; none for other types, or
    /// from where the record is malformed.
    package var addressHints: [[UInt8]] {
        guard type == .svcb || type == .https else { return [] }
        return ServiceParameters.addressHints(in: data)
    }

    /// The strings of a TXT record; nil for other types. Readers of SPF and DKIM put them together.
    package var texts: [[UInt8]]? {
        guard type == .txt || type == .spf else { return nil }
        var texts: [[UInt8]] = []
        var reader = MessageReader(data)
        while let length = try? reader.readInteger8(), let text = try? reader.readOctets(Int(length)) {
            texts.append(Array(text))
        }
        return texts
    }

    /// A record whose data is one name (NS, CNAME, DNAME, PTR).
    package static func naming(
        _ name: DomainName,
        _ type: RecordType,
        _ target: DomainName,
        timeToLive: UInt32
    ) -> ResourceRecord {
        ResourceRecord(name: name, type: type, class: .internet, timeToLive: timeToLive, data: target.wire)
    }
}
