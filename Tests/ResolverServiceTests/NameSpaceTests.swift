import DNS
import DNSFixtures
import Testing

@testable import LocalZones
@testable import Recursion
@testable import ResolverService

struct NameSpaceTests {
    @Test func specialZones() throws {
        let zone = try Zone(
            origin: DomainName("example.test"),
            records: [
                "example.test. 300 SOA ns.example.test. root.example.test. 1 3600 900 604800 300",
                "example.test. 300 NS ns.elsewhere.test.",
            ].map(record)
        )
        let inner = try DomainName("corp.test")
        let names = NameSpace(zones: [zone], forwardZones: [inner: []], forwarders: [])
        func origin(_ name: String) throws -> String? {
            if case .local(let zone) = names.route(try DomainName(name)) { return zone.origin.description }
            return nil
        }
        #expect(try origin("a.example.test") == "example.test.")
        #expect(try origin("other.test") == "test.")
        #expect(try origin("a.corp.test") == nil)
        #expect(try origin("localhost") == "localhost.")
        #expect(try origin("1.0.0.127.in-addr.arpa") == "127.in-addr.arpa.")
        #expect(try origin("7.20.172.in-addr.arpa") == "20.172.in-addr.arpa.")
        #expect(try origin("example.org") == nil)
        #expect(SpecialZones.make().count > 90)
    }
}
