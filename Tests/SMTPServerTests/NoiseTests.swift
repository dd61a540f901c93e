import Front
import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network
import SMTP
import Testing

@testable import SMTPServer

@Suite struct NoiseTests {
    /// A sequence of numbers that is the same at every run.
    private struct Dice: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    private static let words: [String] = [
        "EHLO a\r\n", "MAIL FROM:<>\r\n", "MAIL FROM:<a@x> SIZE=1\r\n", "RCPT TO:<bob@example.test>\r\n", "DATA\r\n",
        "DATA\r\n", ".\r\n", "\r\n.\r\n", "\r\n", "\n", "\r", ".", "\0", "RSET\r\n", "AUTH PLAIN\r\n", "=", "<", "@",
        ":",
        "Received: x\r\n", "NOOP ", "\u{FF}", "HELO ", "text", "VRFY x\r\n", "MAIL", "QUI",
    ]

    private static func noise(_ seed: UInt64) -> [UInt8] {
        var dice = Dice(state: seed)
        var octets: [UInt8] = Array("EHLO a\r\n".utf8)
        for _ in 0..<300 {
            octets += Array(words.randomElement(using: &dice).map(\.utf8) ?? "".utf8)
            if Int.random(in: 0..<20, using: &dice) == 0 { octets.append(UInt8.random(in: 0...255, using: &dice)) }
        }
        return octets
    }

    /// Whatever comes, the server goes on, and no message with a bare CR or LF gets through.
    @Test func noiseDoesNoHarm() async throws {
        try await TestServer.run({
            $0.settings.front.maximumErrors = 1_000_000
            $0.settings.mayPipelineEarly = true
        }) { server in
            for seed in 0..<60 as Range<UInt64> {
                let client = try await server.connect()
                var noise = Self.noise(seed)[...]
                var dice = Dice(state: seed)
                while !noise.isEmpty {
                    let step = Int.random(in: 1...400, using: &dice)
                    client.connection.write(Array(noise.prefix(step)))
                    noise = noise.dropFirst(step)
                    try? await client.connection.flush()
                    await Task.yield()
                }
                client.connection.endOutput()
                // Replies may be anything, but they are replies, and the server closes after the last.
                var count = 0
                while let reply = try? await client.reply() {
                    #expect((200...599).contains(reply.code.value))
                    count += 1
                }
                #expect(count > 1)
            }
            #expect(!server.queue.messages.isEmpty)
            for message in server.queue.messages {
                let octets = Array(message.octets.readableBytesView)
                for (index, octet) in octets.enumerated() {
                    if octet == 0x0A { #expect(index > 0 && octets[index - 1] == 0x0D) }
                    if octet == 0x0D { #expect(index + 1 < octets.count && octets[index + 1] == 0x0A) }
                }
            }
            let client = try await server.greetedClient()
            try await client.startMessage()
            #expect(try await client.say("x\r\n.").hasPrefix("250"))
        }
    }
}
