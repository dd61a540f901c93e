import NIOCore
import Testing

@testable import Authority

@Suite struct TicketStoreTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test func aTicketIsGoodOnce() throws {
        var store = TicketStore()
        let issued = store.issue(service: "pop3", address: "alice@example.test", now: start)
        let ticket = try #require(issued)
        #expect(store.redeem(ticket, service: "pop3", now: start) == "alice@example.test")
        #expect(store.redeem(ticket, service: "pop3", now: start) == nil)
        #expect(store.redeem("", service: "pop3", now: start) == nil)
    }

    @Test func anotherServiceVoidsIt() throws {
        var store = TicketStore()
        let issued = store.issue(service: "pop3", address: "alice@example.test", now: start)
        let ticket = try #require(issued)
        #expect(store.redeem(ticket, service: "imap", now: start) == nil)
        #expect(store.redeem(ticket, service: "pop3", now: start) == nil)
    }

    @Test(arguments: [(29_999, true), (30_000, false), (86_400_000, false)])
    func itExpires(milliseconds: Int64, isGood: Bool) throws {
        var store = TicketStore(lifetime: .seconds(30))
        let issued = store.issue(service: "imap", address: "alice@example.test", now: start)
        let ticket = try #require(issued)
        let later = start + .milliseconds(milliseconds)
        #expect((store.redeem(ticket, service: "imap", now: later) != nil) == isGood)
    }

    @Test func noTwoAreAlikeAndAllAreLong() {
        var store = TicketStore()
        let tickets = (0..<1000).compactMap { _ in store.issue(service: "pop3", address: "a@example.test", now: start) }
        #expect(Set(tickets).count == 1000)
        #expect(tickets.allSatisfy { $0.utf8.count == 64 && $0.allSatisfy(\.isHexDigit) })
    }

    @Test func expiredOnesMakeRoom() {
        var store = TicketStore(lifetime: .seconds(30), capacity: 2)
        #expect(store.issue(service: "pop3", address: "a@example.test", now: start) != nil)
        #expect(store.issue(service: "pop3", address: "b@example.test", now: start + .seconds(20)) != nil)
        #expect(store.issue(service: "pop3", address: "c@example.test", now: start + .seconds(29)) == nil)
        #expect(store.issue(service: "pop3", address: "c@example.test", now: start + .seconds(30)) != nil)
        #expect(store.issue(service: "pop3", address: "d@example.test", now: start + .seconds(30)) == nil)
    }
}
