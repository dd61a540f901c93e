import Bus
import SMTP
import Spool
import Testing

@testable import QueueManager

@Suite struct MessageFilterTests {
    private static let id = MessageID(time: 5, random: 7)

    @Test(
        arguments: [
            [], [.init("id", id.description)], [.init("sender", "")], [.init("sender", "alice@Example.TEST")],
            [.init("sender", "@Example.test")], [.init("account", "alice@example.test"), .init("state", "held")],
            [.init("recipient", "bob@example.net"), .init("domain", "EXAMPLE.net"), .init("destination", "local")],
            [.init("older", "3600"), .init("newer", "86400"), .init("larger", "1024"), .init("smaller", "1048576")],
            [.init("state", "paused"), .init("reason", "Mailbox FULL")],
            // Keys that look like a domain, or like another address.
            [.init("sender", #""@x"@Example.net"#)], [.init("recipient", #""\"a\""@example.net"#)],
            [.init("account", #""\"a\""@example.net"#)], [.init("sender", #""a b"@Example.net"#)],
        ] as [[Frame.Field]]
    ) func fieldsSayTheSame(fields: [Frame.Field]) throws {
        let filter = try MessageFilter(Frame("LIST", fields))
        #expect(try MessageFilter(Frame("LIST", filter.fields)) == filter)
        #expect(filter.isEmpty == fields.isEmpty)
        #expect(filter.fields.map(\.name) == fields.map(\.name))
    }

    /// What is kept of a pause is about the same mail.
    @Test(arguments: [#""@x"@Example.net"#, #""\"a\""@example.net"#, "alice@example.net", "@example.net"])
    func pausesSayTheSame(sender: String) throws {
        let pause = try #require(Pause(Frame("PAUSE", [.init("sender", sender)]), since: 5))
        #expect(Pause(pause.frame, since: 6) == pause)
    }

    @Test(arguments: [
        ("id", "x"), ("id", ""), ("state", "lost"), ("older", "-1"), ("older", "1h"), ("newer", "99999999999999999999"),
        ("larger", "many"), ("smaller", ""), ("reason", ""),
        ("account", ""), ("account", "@example.test"), ("recipient", ""), ("recipient", "@"), ("sender", "@"),
        ("domain", ""), ("destination", ""),
        ("older", "0"), ("larger", "0"),
    ]) func nonsenseIsNamed(field: String, value: String) throws {
        let fault = #expect(throws: MessageFilter.Fault.self) {
            try MessageFilter(Frame("LIST", [.init(field, value)]))
        }
        #expect(fault?.field == field)
    }

    @Test(arguments: ["local", "Local", "LOCAL"]) func mailboxesHereHaveOneName(_ name: String) throws {
        let filter = try MessageFilter(Frame("LIST", [.init("destination", name)]))
        #expect(try MessageFilter(Frame("LIST", filter.fields)) == filter)
        #expect(filter.destination == "")
        #expect(Pause.Subject(Frame("PAUSE", [.init("destination", name)])) == .destination(""))
    }

    /// The second would be passed over.
    @Test func conditionsStandOnce() throws {
        let fault = #expect(throws: MessageFilter.Fault.self) {
            try MessageFilter(Frame("REMOVE", [.init("sender", "a@b.example"), .init("sender", "c@d.example")]))
        }
        #expect(fault?.field == "sender")
    }

    @Test func whatIsAskedForAlone() throws {
        func filter(_ fields: [Frame.Field]) throws -> MessageFilter { try MessageFilter(Frame("FLUSH", fields)) }
        #expect(try filter([.init("destination", "Example.net")]).isByDestination)
        #expect(try !filter([.init("destination", "example.net"), .init("older", "5")]).isByDestination)
        #expect(try filter([.init("id", Self.id.description)]).isByID)
        #expect(try !filter([.init("id", Self.id.description), .init("state", "held")]).isByID)
        #expect(try filter([.init("domain", "example.net")]).isByDomain)
        #expect(try !filter([]).isByID)
    }

    @Test func domainIsNotTheEndOfAnother() {
        let addresses = MessageFilter.addresses("@example.net")
        #expect(addresses.contains("bob@example.net"))
        #expect(!addresses.contains("bob@an.example.net"))
        #expect(!addresses.contains("bob@anexample.net"))
        #expect(!addresses.contains("example.net"))
        #expect(!addresses.contains(""))
    }

    @Test func reasonsThatDifferInNamesAreOne() {
        var reasons = FailureReasons()
        let first = reasons.shared("4.2.1 451 try later, mx1.example.net [192.0.2.1]:25 id=4f9a1c7e")
        #expect(first.text == "4.2.1 451 try later, * id=4f9a1c7e".replacing(" id=4f9a1c7e", with: ""))
        #expect(reasons.shared("4.2.1 451 try later, mx22.example.net [192.0.2.77]:25 id=77aa01bc") === first)
        #expect(reasons.shared("4.2.2 mailbox full").text == "4.2.2 mailbox full")
        #expect(FailureReasons.shortened(String(repeating: "word ", count: 1000)).utf8.count <= 120)
        // However many there are.
        for number in 0..<20_000 { #expect(reasons.shared("4.0.0 n\(number % 10_000)").text.hasPrefix("4.0.0")) }
    }
}
