import DNS
import LocalZones
import Recursion
import Network

/// Addresses for clients that only have IPv6: an IPv4 address put behind the prefix of a translator (RFC 6147, RFC 6052).
struct DNS64: Sendable {
    /// The prefix, in 16 octets.
    private let prefix: [UInt8]
    /// How many octets of it count.
    private let length: Int
    /// Whom it's done for; nil for all whose questions are answered recursively.
    let clients: [AddressRange]?
    /// IPv6 addresses that count as if they weren't there, beside IPv4 ones mapped into IPv6 (RFC 6147 §5.1.4).
    private let excluded: [AddressRange]
    /// IPv4 addresses that get none.
    private let unmapped: [AddressRange]

    /// How long a prefix may be. Bits (RFC 6052 §2.2).
    static let lengths = [32, 40, 48, 56, 64, 96]
    /// The octet that stays zero in an address with a prefix shorter than 96 bits (RFC 6052 §2.2, "u").
    private static let reserved = 8
    /// The prefix that everybody may use, for addresses of the world only (RFC 6052 §3.1).
    private static let wellKnown: [UInt8] = [0, 0x64, 0xFF, 0x9B] + [UInt8](repeating: 0, count: 12)
    /// How IPv4 addresses that are mapped into IPv6 begin.
    private static let mapped: [UInt8] = [UInt8](repeating: 0, count: 10) + [0xFF, 0xFF]
    /// For how many seconds a made-up record may be kept where no SOA record says it (RFC 6147 §5.1.7), and an alias.
    private static let lifetime: UInt32 = 600

    /// nil for a prefix that isn't one of IPv6, or of a length that RFC 6052 doesn't have.
    init?(
        prefix: AddressRange,
        clients: [AddressRange]? = nil,
        excluded: [AddressRange] = [],
        unmapped: [AddressRange] = []
    ) {
        guard prefix.octets.count == 16, Self.lengths.contains(prefix.bits) else { return nil }
        length = prefix.bits / 8
        // The octet that stays zero must not be set by the prefix either.
        guard prefix.octets[Self.reserved] == 0 else { return nil }
        self.prefix = prefix.octets
        self.clients = clients
        self.excluded = excluded
        self.unmapped = unmapped
    }

    /// Whether addresses are made up for a client.
    func serves(_ address: [UInt8]) -> Bool { clients?.contains { $0.contains(address) } ?? true }

    /// The IPv6 address that stands for an IPv4 one; nil where none may.
    func address(for octets: [UInt8]) -> [UInt8]? {
        guard octets.count == 4, !unmapped.contains(where: { $0.contains(octets) }),
            prefix != Self.wellKnown || !AddressPolicy.isPrivate(octets)
        else { return nil }
        var address = prefix
        for (octet, place) in zip(octets, places) { address[place] = octet }
        return address
    }

    /// Where the octets of an IPv4 address go.
    private var places: some Sequence<Int> { (length..<16).lazy.filter { $0 != Self.reserved || length == 12 } }

    /// The name in in-addr.arpa for a name in ip6.arpa whose address stands for an IPv4 one (RFC 6147 §5.3.1).
    func reverseTarget(_ name: DomainName) -> DomainName? {
        let labels = name.labels
        guard labels.count == 34, labels[32].elementsEqual("ip6".utf8, by: isLetter),
            labels[33].elementsEqual("arpa".utf8, by: isLetter)
        else { return nil }
        var nibbles: [UInt8] = []
        for label in labels[..<32].reversed() {
            guard label.count == 1, let digit = label.first, let value = Self.nibble(digit) else { return nil }
            nibbles.append(value)
        }
        let address = (0..<16).map { nibbles[2 * $0] << 4 | nibbles[2 * $0 + 1] }
        guard address[..<length] == prefix[..<length], length == 12 || address[Self.reserved] == 0 else { return nil }
        let octets = zip(places, 0..<4).map { address[$0.0] }
        return try? DomainName(octets.reversed().map { "\($0)." }.joined() + "in-addr.arpa.")
    }

    private func isLetter(_ one: UInt8, _ other: UInt8) -> Bool { one | 0x20 == other }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    /// The alias that leads from an address of the prefix to the IPv4 address's name.
    func alias(_ name: DomainName) -> ResourceRecord? {
        reverseTarget(name).map { .naming(name, .cname, $0, timeToLive: Self.lifetime) }
    }

    /// What the question for AAAA records comes to without those that don't count; nil where addresses must be made up.
    func judge(_ found: Resolution) -> Resolution? {
        // A name that isn't there has no addresses; what is bogus or withheld stays so (RFC 6147 §5.1.2, §5.5).
        let isBogus = found.error.map { ExtendedError.bogusCodes.contains($0.code) } ?? false
        guard found.code == .noError || found.code == .serverFailure, !isBogus else { return found }
        let counting = found.answers.filter { !isExcluded($0) }
        guard counting.contains(where: { $0.type == .aaaa }) else { return nil }
        guard counting.count < found.answers.count else { return found }
        // Their signature is of all of them.
        return found.translated(counting.filter { RecordSignature($0)?.typeCovered != .aaaa })
    }

    private func isExcluded(_ record: ResourceRecord) -> Bool {
        guard record.type == .aaaa, let octets = record.addressOctets else { return false }
        return octets.starts(with: Self.mapped) || excluded.contains { $0.contains(octets) }
    }

    /// Addresses made up from IPv4 ones; nil where there are none either.
    ///
    /// - Parameters:
    ///   - found: the answer for A records.
    ///   - denial: the one for AAAA records.
    func synthesis(from found: Resolution, inPlaceOf denial: Resolution) -> Resolution? {
        guard found.code == .noError else { return nil }
        let start = denial.authorities.first { $0.type == .soa }
        let longest = start?.timeToLive ?? Self.lifetime
        var answers: [ResourceRecord] = []
        for record in found.answers {
            if record.type == .a, let octets = record.addressOctets {
                guard let address = address(for: octets),
                    let made = try? ResourceRecord(
                        name: record.name,
                        type: .aaaa,
                        timeToLive: min(record.timeToLive, longest),
                        wireData: address
                    )
                else { continue }
                answers.append(made)
            } else if RecordSignature(record)?.typeCovered != .a {
                answers.append(record)
            }
        }
        return answers.contains { $0.type == .aaaa } ? found.translated(answers) : nil
    }
}

extension ResolutionWalk {
    /// The answer to a question, with addresses made up for those who need them (RFC 6147 §5.1).
    func answer(_ question: Question, _ rights: QueryRights) async -> Resolution {
        let found = await resolve(question, rights)
        guard question.type == .aaaa, let dns64 = settings.dns64, rights.takesMadeUpAddresses else { return found }
        if let whole = dns64.judge(found) { return whole }
        let older = await resolve(Question(name: question.name, type: .a), rights)
        return dns64.synthesis(from: older, inPlaceOf: found) ?? found
    }
}

extension QueryRights {
    /// Not for those who validate themselves, and would find that it's nobody's word (RFC 6147 §5.5).
    var takesMadeUpAddresses: Bool {
        standing.rights.contains(.dns64) && mayRecurse && recursionDesired && !(dnssecOK && checkingDisabled)
    }
}

extension SpecialZones {
    /// The name by which clients find the prefix (RFC 7050, RFC 8880 §7.1): whoever makes up addresses answers it.
    static let ipv4Only: [Zone] = [
        zone("ipv4only.arpa", "@ A 192.0.0.170\n@ A 192.0.0.171\n"),
        zone("170.0.0.192.in-addr.arpa", "@ PTR ipv4only.arpa.\n"),
        zone("171.0.0.192.in-addr.arpa", "@ PTR ipv4only.arpa.\n"),
    ].compactMap { $0 }
}
