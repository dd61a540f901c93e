import DNS
import MailRules
import NIOCore
import NIOPosix
import Network
import Policy
import Resolution
import Testing

/// Lists of clients in the DNS (RFC 5782): what they say, and what they do instead.
@Suite struct DNSListTests {
    private static let zone = """
        1.2.0.192.bl.test. A 127.0.0.2
        1.2.0.192.wl.test. A 127.0.0.1
        1.2.0.192.closed.test. A 127.255.255.254
        1.2.0.192.sold.test. A 203.0.113.9
        1.2.0.192.empty.test. TXT "nothing"
        1.2.0.192.in-addr.arpa. PTR out.example.org.
        out.example.org. A 192.0.2.1
        """

    private func facts(_ lists: [DNSList], failing: [String] = []) async throws -> ConnectionFacts {
        let dns = try PretendedDNS(Self.zone, failing: failing)
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        return await Task(executorPreference: LoopExecutor.of(loop)) {
            await ClientLookup.run([192, 0, 2, 1], lists: lists, timeout: .seconds(5), on: loop, query: dns.query)
        }.value
    }

    private func list(_ name: String, _ weight: Int = 5, codes: [ClosedRange<UInt8>] = []) throws -> DNSList {
        DNSList(name: name, zone: try DomainName("\(name).test"), weight: weight, codes: codes)
    }

    @Test func listingsCount() async throws {
        let facts = try await facts([list("bl", 4), list("wl", -3), list("other"), list("empty")])
        #expect(facts.lists == ["bl", "wl"] && facts.score == 1)
        #expect(facts.name == "out.example.org")
        #expect(try await self.facts([list("bl", codes: [3...9])]).lists.isEmpty)
        #expect(try await self.facts([list("bl", codes: [1...2])]).lists == ["bl"])
    }

    /// One that has been given up and answers with anything, or that doesn't answer, has nobody listed; the others count.
    @Test func listsInTroubleHaveNobody() async throws {
        let lists = try [list("closed"), list("sold"), list("bl", 4), list("down")]
        let facts = try await facts(lists, failing: ["1.2.0.192.down.test"])
        #expect(facts.lists == ["bl"] && facts.score == 4)
        #expect(facts.name == "out.example.org")
    }
}
