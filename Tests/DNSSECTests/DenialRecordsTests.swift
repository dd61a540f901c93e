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
}
