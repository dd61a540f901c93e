import Keys
import Testing

@testable import KeyService

@Suite struct TicketKeyringTests {
    @Test func eachTicketOutlivesItsKeyAsTheIssuer() {
        var ring = TicketKeyring(lifetime: 100)
        func keys(_ service: String, _ now: Int) -> TicketKeys { ring.keys(of: service, now: now) }
        func rotate(_ now: Int) -> Bool { ring.rotate(now: now) }
        let first = keys("imapd", 1000)
        #expect(first.keys.count == 1)
        #expect(first.lifetime == 100)
        #expect(keys("imapd", 1049) == first)
        #expect(!rotate(1049))
        #expect(rotate(1050))
        let second = keys("imapd", 1050)
        #expect(second.keys.count == 2)
        #expect(second.keys[1] == first.keys[0])
        // A ticket of 1049 is good until 1149.
        #expect(keys("imapd", 1149).keys.contains(first.keys[0]))
        #expect(!keys("imapd", 1210).keys.contains(first.keys[0]))
        #expect(keys("imapd", 9000).keys.count == 1)
    }

    /// Whoever comes first gets the new key; the others still hear of it.
    @Test func aKeyThatSomebodyAskedForIsNewsToOthers() {
        var ring = TicketKeyring(lifetime: 100)
        func keys(_ service: String, _ now: Int) -> TicketKeys { ring.keys(of: service, now: now) }
        func rotate(_ now: Int) -> Bool { ring.rotate(now: now) }
        _ = keys("imapd", 0)
        _ = keys("smtpd", 0)
        #expect(!rotate(10))
        #expect(keys("imapd", 50).keys.count == 2)
        #expect(rotate(50))
        #expect(!rotate(51))
    }

    @Test func servicesDoNotShare() {
        var ring = TicketKeyring(lifetime: 100)
        func keys(_ service: String, _ now: Int) -> TicketKeys { ring.keys(of: service, now: now) }
        #expect(keys("imapd", 0).keys != keys("smtpd", 0).keys)
    }

    @Test func withoutALifetimeThereAreNone() {
        var ring = TicketKeyring(lifetime: 0)
        func keys(_ service: String, _ now: Int) -> TicketKeys { ring.keys(of: service, now: now) }
        #expect(keys("imapd", 0) == TicketKeys(keys: [], lifetime: 0))
    }
}
