import DNS
import Testing

@testable import DNSSEC

struct KeyCacheTests {
    private func keys(_ zone: DomainName, octets: Int) throws -> CutStatus {
        let data = [1, 1, 3, 13] + [UInt8](repeating: 5, count: octets)
        let record = try ResourceRecord(name: zone, type: .dnskey, timeToLive: 60, wireData: data)
        let key = try #require(ZoneKey(record))
        return .zone(.secure(TrustedKeys(zone: zone, keys: [key], ValidationPolicy())))
    }

    @Test func manyKeysStayWithinTheLimit() throws {
        let cache = KeyCache(limit: 100_000)
        for number in 0..<500 {
            let zone = try DomainName("zone\(number).test")
            cache.keep(try keys(zone, octets: number % 7 * 200), for: zone, seconds: 60, now: 0)
            #expect(cache.octets <= 100_000)
            // The newest is always there.
            #expect(cache.status(of: zone, now: 1) != nil)
        }
        #expect(cache.octets > 50_000)
        cache.removeAll()
        #expect(cache.octets == 0)
    }

    @Test func howLongItCounts() throws {
        let cache = KeyCache(limit: 4_000)
        let name = try DomainName("some.test")
        cache.keep(.none, for: name, seconds: 60, now: 100)
        #expect(cache.known(of: name, now: 110)?.seconds == 50)
        #expect(cache.known(of: name, now: 160) == nil)
    }

    @Test func whatIsLargerThanAllIsNotKept() throws {
        let cache = KeyCache(limit: 4_000)
        let zone = try DomainName("large.test")
        cache.keep(try keys(zone, octets: 4_000), for: zone, seconds: 60, now: 0)
        #expect(cache.octets == 0 && cache.status(of: zone, now: 1) == nil)
    }

    @Test func whatIsOverGoesFirst() throws {
        let cache = KeyCache(limit: 30_000)
        for number in 0..<80 {
            cache.keep(.none, for: try DomainName("old\(number).test"), seconds: 10, now: 0)
        }
        let kept = try DomainName("kept.test")
        cache.keep(.none, for: kept, seconds: 1000, now: 0)
        for number in 0..<60 {
            cache.keep(.none, for: try DomainName("new\(number).test"), seconds: 10, now: 20)
        }
        #expect(cache.status(of: kept, now: 20) != nil)
        // Again the same name: it counts once.
        let before = cache.octets
        cache.keep(.none, for: kept, seconds: 1000, now: 20)
        #expect(cache.octets == before)
    }
}
