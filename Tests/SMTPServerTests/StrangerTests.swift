import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct StrangerTests {
    // MARK: Rates

    private static let start = NIODeadline.uptimeNanoseconds(600_000_000_000)

    private func excess(
        _ counts: inout RateCounts,
        _ client: [UInt8] = [192, 0, 2, 7],
        limit: Int = 3,
        networkLimit: Int = 0,
        after seconds: Int64 = 0
    ) -> ClientRates.Excess? {
        counts.excess(
            of: client,
            in: Array(client.prefix(client.count == 4 ? 3 : 8)),
            limit: limit,
            networkLimit: networkLimit,
            now: Self.start + .seconds(seconds)
        )
    }

    @Test func ratesAreCountedOverAMinute() {
        var counts = RateCounts(capacity: 100)
        for _ in 1...3 { #expect(excess(&counts) == nil) }
        #expect(excess(&counts, after: 59) == .client)
        #expect(excess(&counts, [192, 0, 2, 8], after: 59) == nil)
        // A share of the minute before still counts.
        #expect(excess(&counts, after: 61) == nil)
        #expect(excess(&counts, after: 61) == .client)
        #expect(excess(&counts, after: 95) == nil)
        #expect(excess(&counts, after: 300) == nil)
    }

    @Test func networksAreCountedToo() {
        var counts = RateCounts(capacity: 100)
        for host in 1...4 as ClosedRange<UInt8> { #expect(excess(&counts, [192, 0, 2, host], networkLimit: 4) == nil) }
        #expect(excess(&counts, [192, 0, 2, 9], networkLimit: 4) == .network)
        #expect(excess(&counts, [192, 0, 3, 9], networkLimit: 4) == nil)
        let six = [UInt8](repeating: 1, count: 8)
        for host in 1...4 as ClosedRange<UInt8> {
            let address = six + [UInt8](repeating: host, count: 8)
            #expect(excess(&counts, address, networkLimit: 4) == nil)
        }
        #expect(excess(&counts, six + six, networkLimit: 4) == .network)
        #expect(excess(&counts, limit: 0) == nil)
    }

    @Test func whoIsOverALimitStaysSoInAFlood() {
        var counts = RateCounts(capacity: 100)
        for _ in 1...3 { _ = excess(&counts) }
        for number in 0..<1000 {
            _ = excess(&counts, [10, 1, UInt8(number / 256), UInt8(number % 256)], after: 1)
            #expect(counts.size <= 100)
        }
        #expect(excess(&counts, after: 2) == .client)
    }

    @Test func tooManyConnectionsAreRefused() async throws {
        try await TestServer.run({ $0.settings.rates.connections = 2 }) { server in
            for _ in 1...2 { _ = try await server.greetedClient() }
            let third = try await server.connect()
            #expect(
                try await third.reply().description
                    == "421 4.7.0 too many connections from your address within a minute, try again later"
            )
            #expect(await third.isClosed())
            // Users are not concerned.
            _ = try await server.submittingClient()
        }
    }

    @Test func tooManyMessagesWait() async throws {
        try await TestServer.run({ $0.settings.rates.networkMessages = 2 }) { server in
            let client = try await server.greetedClient()
            for _ in 1...2 {
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
                #expect(try await client.command("RSET").code == .ok)
            }
            #expect(
                try await client.say("MAIL FROM:<carol@example.net>")
                    == "450 4.7.1 too many messages from your network within a minute, try again later"
            )
        }
        let loopback = try #require(AddressRange("127.0.0.0/8"))
        try await TestServer.run({
            $0.settings.rates.messages = 1
            $0.settings.rates.connections = 1
            $0.settings.exempt = [loopback]
        }) { server in
            for _ in 1...3 {
                let client = try await server.greetedClient()
                #expect(try await client.say("MAIL FROM:<carol@example.net>").hasPrefix("250"))
            }
        }
    }

    @Test func clientOfAProxyIsTheOneThatCounts() async throws {
        let loopback = try #require(AddressRange("127.0.0.0/8"))
        try await TestServer.run({
            $0.settings.rates.connections = 1
            $0.settings.xclientFrom = [loopback]
        }) { server in
            for (address, code) in [("192.0.2.7", "220"), ("192.0.2.8", "220"), ("192.0.2.7", "421 4.7.0")] {
                let client = try await server.greetedClient()
                #expect(try await client.say("XCLIENT ADDR=\(address)").hasPrefix(code))
            }
        }
    }

    // MARK: The greeting

    @Test func whoHasWaitedOnceIsRemembered() {
        let greeted = GreetedClients(capacity: 100)
        let client: [UInt8] = [192, 0, 2, 7]
        #expect(!greeted.knows(client, now: Self.start))
        greeted.note(client, now: Self.start)
        #expect(greeted.knows(client, now: Self.start + .hours(23)))
        #expect(!greeted.knows(client, now: Self.start + .hours(24)))
        for number in 0..<1000 {
            greeted.note([10, 1, UInt8(number / 256), UInt8(number % 256)], now: Self.start + .seconds(Int64(number)))
            #expect(greeted.count <= 100)
        }
        #expect(greeted.knows([10, 1, 3, 231], now: Self.start + .seconds(1000)))
    }

    @Test func theGreetingIsHeldBackOnce() async throws {
        try await TestServer.run({ $0.settings.limits.greetingDelay = .milliseconds(300) }) { server in
            _ = try await server.greetedClient()
            // Nobody listens whether the second one talks before it.
            let second = try await server.connect()
            try await second.send("EHLO client.example\r\n")
            #expect(try await second.reply().code == .ready)
            #expect(try await second.reply().code == .ok)
        }
    }

    // MARK: Pipelining

    @Test(
        arguments: [
            ("EHLO client.example\r\nMAIL FROM:<a@example.net>\r\n", ["554 5.5.0 wait for the reply"]),
            ("HELO client.example\r\nMAIL FROM:<a@example.net>\r\n", ["554 5.5.0"]),
            ("NOOP\r\nNOOP\r\n", ["554 5.5.0"]),
        ]
    )
    func commandsBeforeTheirTimeEndTheSession(text: String, replies: [String]) async throws {
        try await TestServer.run { server in
            let client = try await server.connect()
            #expect(try await client.reply().code == .ready)
            try await client.send(text)
            for reply in replies { #expect(try await client.reply().description.hasPrefix(reply)) }
            #expect(await client.isClosed())
        }
    }

    @Test func messageBeforeItsTimeEndsTheSession() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.send(
                "MAIL FROM:<a@example.net>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\nSubject: x\r\n\r\nx\r\n.\r\n"
            )
            for _ in 1...2 { #expect(try await client.reply().code == .ok) }
            #expect(try await client.reply().description.hasPrefix("554 5.5.0"))
            #expect(server.queue.messages.isEmpty)
        }
    }

    @Test func pipeliningAfterEHLOIsFine() async throws {
        try await TestServer.run { server in
            let client = try await server.greetedClient()
            try await client.send("MAIL FROM:<a@example.net>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n")
            for _ in 1...2 { #expect(try await client.reply().code == .ok) }
            #expect(try await client.reply().code == .startMailInput)
        }
        try await TestServer.run({ $0.settings.mayPipelineEarly = true }) { server in
            let client = try await server.connect()
            try await client.send("HELO client.example\r\nMAIL FROM:<a@example.net>\r\n")
            #expect(try await client.reply().code == .ready)
            for _ in 1...2 { #expect(try await client.reply().code == .ok) }
        }
    }
}
