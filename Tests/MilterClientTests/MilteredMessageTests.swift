import Milter
import NIOCore
import SMTP
import Testing

@testable import MilterClient

@Suite struct MilteredMessageTests {
    private let memory = MilterMemory(limit: 1 << 20, clientLimit: 1 << 20)

    private func message(_ text: String, header: Int, from sender: String = "<a@example.org>") throws -> MilteredMessage
    {
        let held = HeldOctets(memory, client: [1])
        held.append(ByteBuffer(string: text))
        return MilteredMessage(
            held,
            sender: try EnvelopeSender(parsing: sender.utf8, options: .envelope),
            recipients: [],
            added: ByteBuffer(string: "Received: ours\r\n"),
            hiding: "received",
            headerEnd: header
        )
    }

    private func names(_ message: MilteredMessage) -> [String] {
        message.header.shown(leadingSpace: false).map { String(decoding: $0.name, as: UTF8.self) }
    }

    private func body(_ message: MilteredMessage) -> String { message.body.map { String(buffer: $0) }.joined() }

    @Test func headerAndBody() throws {
        let message = try message("A: 1\r\n\r\nbody\r\n", header: 8)
        #expect(names(message) == ["A"])
        #expect(body(message) == "body\r\n")
    }

    /// All that is delivered is shown: behind a line that is no field the body begins, and the empty line is put there.
    @Test func aLineThatIsNoField() throws {
        let message = try message("A: 1\r\njunk\r\nB: 2\r\n\r\nbody\r\n", header: 20)
        #expect(names(message) == ["A"])
        #expect(body(message) == "junk\r\nB: 2\r\n\r\nbody\r\n")
        let parts = message.header.parts(limit: 1000, hasBody: true)
        #expect(String(buffer: parts.added) == "Received: ours\r\n")
        #expect(String(buffer: parts.rest) == "A: 1\r\n\r\n")
    }

    @Test func aLongRestComesInPieces() throws {
        let rest = "junk\r\n" + String(repeating: "B: 2\r\n", count: 30_000) + "\r\n"
        let message = try message("A: 1\r\n" + rest, header: 6 + rest.utf8.count)
        #expect(body(message) == rest)
        #expect(message.body.allSatisfy { $0.readableBytes <= MilterEvent.maximumBody })
    }

    /// What the client asked for stays, whatever else a milter says of the sender.
    @Test func anotherSender() throws {
        var message = try message("A: 1\r\n\r\n", header: 8, from: "<a@example.org> REQUIRETLS ENVID=x")
        try message.apply(
            .changeSender(Array("b@example.org".utf8), parameters: Array("RET=HDRS ENVID=y".utf8)),
            leadingSpace: false
        )
        #expect(message.sender.path.description == "<b@example.org>")
        #expect(message.sender.parameters.requiresTLS)
        #expect(message.sender.parameters.envelopeID == "y")
        #expect(message.sender.parameters.ret == .headers)
    }

    /// However many clients come, there is room for one more.
    @Test func memoryIsShared() {
        let memory = MilterMemory(limit: 1 << 20, clientLimit: 1 << 20)
        var held: [HeldOctets] = []
        for client in UInt8(0)..<8 {
            let octets = HeldOctets(memory, client: [client])
            while !octets.isCut { octets.append(ByteBuffer(repeating: 0, count: 512)) }
            #expect(octets.count >= (1 << 20) >> (Int(client) + 2), "client \(client)")
            held.append(octets)
        }
        let last = HeldOctets(memory, client: [200])
        last.append(ByteBuffer(repeating: 0, count: 512))
        #expect(!last.isCut)
        held = []
        #expect(memory.held == 512)
    }
}
