import DNS
import Testing

@testable import DNSSEC

@Suite struct DenialRecordsTests {
    private let zone = "example.com"

    @Test func aCompactDenialIsAsTheRFCHasIt() throws {
        let record = try #require(
            ResourceRecord.nextSecure(
                DomainName("a.example.com"),
                within: DomainName(zone),
                types: [.rrsig, .nsec, .nxname],
                timeToLive: 3600
            )
        )
        // RFC 9824 §3.1.
        #expect(record.description == "a.example.com.\t3600\tIN\tNSEC\t\\000.a.example.com. RRSIG NSEC NXNAME")
        let denial = Denial(zone: try DomainName(zone), [record])
        #expect(denial.noData(try DomainName("a.example.com"), .a) == .proven)
        #expect(denial.noName(try DomainName("a.example.com")) == .proven)
        #expect(denial.noName(try DomainName("b.example.com")) == .missing)
        #expect(denial.noName(try DomainName("x.a.example.com")) == .missing)
    }

    @Test func aNameThatIsThereIsNotDenied() throws {
        let record = try #require(
            ResourceRecord.nextSecure(
                DomainName("a.example.com"),
                within: DomainName(zone),
                types: [.rrsig, .nsec, .a],
                timeToLive: 3600
            )
        )
        let denial = Denial(zone: try DomainName(zone), [record])
        #expect(denial.noName(try DomainName("a.example.com")) == .missing)
        #expect(denial.noData(try DomainName("a.example.com"), .a) == .missing)
        #expect(denial.noData(try DomainName("a.example.com"), .aaaa) == .proven)
    }

    @Test func hashesOfNSEC3CoverOneNameEach() throws {
        let zone = try DomainName(zone)
        let name = try DomainName("missing.example.com")
        let covering = try #require(
            ResourceRecord.nextSecure3(covering: NameHash.hash(name), in: zone, timeToLive: 60)
        )
        let matching = try #require(
            ResourceRecord.nextSecure3(
                matching: NameHash.hash(zone),
                in: zone,
                types: [.soa, .ns, .rrsig],
                timeToLive: 60
            )
        )
        let wildcard = try #require(
            ResourceRecord.nextSecure3(covering: NameHash.hash(DomainName("*.example.com")), in: zone, timeToLive: 60)
        )
        let records = [covering, matching, wildcard]
        let denial = HashedDenial(zone: zone, records, ValidationPolicy(), ValidationBudget())
        #expect(denial.noName(name) == .proven)
        #expect(denial.noName(try DomainName("other.example.com")) == .missing)
        #expect(denial.noData(zone, .a) == .proven)
        #expect(denial.noData(zone, .soa) == .missing)
        let view = try #require(NextSecure3(covering))
        #expect(view.iterations == 0 && view.salt.isEmpty && !view.isOptOut && view.hashAlgorithm == 1)
    }

    @Test func hashesGoRound() {
        let (first, last) = ([UInt8](repeating: 0, count: 20), [UInt8](repeating: 0xFF, count: 20))
        #expect(NameHash.next(last) == first)
        #expect(NameHash.previous(first) == last)
        #expect(NameHash.next([1, 0xFF]) == [2, 0] && NameHash.previous([2, 0]) == [1, 0xFF])
    }

    /// A chain never leads out of its zone: such a record proves nothing.
    @Test(arguments: ["z.example.org", "example.org", "com", "."])
    func aGapThatLeadsOutOfItsZoneProvesNothing(next: String) throws {
        let text =
            "a.example.com. 300 NSEC \(next) A RRSIG NSEC\nexample.com. 300 NSEC a.example.com. NS SOA RRSIG NSEC"
        let denial = Denial(zone: try DomainName(zone), try TestZones.parse(text))
        #expect(denial.noName(try DomainName("b.example.com")) == .missing)
        #expect(denial.noData(try DomainName("a.example.com"), .mx) == .missing)
        #expect(denial.noCloserMatch(try DomainName("b.example.com"), labels: 2) == .missing)
        #expect(denial.cut(try DomainName("b.example.com")) == .missing)
        let inside = text.replacing(" \(next) ", with: " example.com. ")
        #expect(
            Denial(zone: try DomainName(zone), try TestZones.parse(inside)).noName(try DomainName("b.example.com"))
                == .proven
        )
    }

    /// RFC 5155 §7.1, §8.6: below an opt-out span there may be unsigned zones, and names above them that have no record.
    @Test(
        arguments: [RecordType.a, .aaaa, .mx, .txt, .ds, .cname, .https],
        [nil, "A RRSIG", "A AAAA MX TXT HTTPS RRSIG", ""]
    )
    func noDataBelowAnOptOutSpan(type: RecordType, wildcard: String?) throws {
        let zone = try DomainName(zone)
        func spell(_ hash: [UInt8]) -> String { String(decoding: RadixCoding.base32hex.encode(hash), as: UTF8.self) }
        func matching(_ name: String, _ types: String) throws -> String {
            let hash = NameHash.hash(try DomainName(name))
            return "\(spell(hash)).\(zone) 300 NSEC3 1 0 0 - \(spell(NameHash.next(hash))) \(types)"
        }
        func covering(_ name: String, isOptOut: Bool) throws -> String {
            let hash = NameHash.hash(try DomainName(name))
            let (owner, next) = (spell(NameHash.previous(hash)), spell(NameHash.next(hash)))
            return "\(owner).\(zone) 300 NSEC3 1 \(isOptOut ? 1 : 0) 0 - \(next) NS"
        }
        for isOptOut in [true, false] {
            var lines = [
                try matching("example.com", "NS SOA RRSIG"), try covering("ent.example.com", isOptOut: isOptOut),
            ]
            if let wildcard { lines.append(try matching("*.example.com", wildcard)) }
            let records = try TestZones.parse(lines.joined(separator: "\n"))
            let denial = HashedDenial(zone: zone, records, ValidationPolicy(), ValidationBudget())
            // An empty name above an unsigned zone, a name below it, and the zone itself.
            for name in ["ent.example.com", "x.ent.example.com", "unsigned.x.ent.example.com"] {
                let hasIt = wildcard.map { $0.split(separator: " ").contains { $0 == "\(type)" } } ?? true
                let otherwise: DenialVerdict = hasIt ? .missing : .proven
                #expect(denial.noData(try DomainName(name), type) == (isOptOut ? .optedOut : otherwise))
            }
        }
    }
}
