import NIOCore
import NIOEmbedded
import Testing

@testable import IMAPServer

#if canImport(Glibc)
import Glibc
#endif

@Suite struct CompressionTests {
    /// RFC 4978
    @Test func aSession() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            #expect(try await client.command("COMPRESS LZW").last?.contains(" BAD ") == true)
            try await client.compress()
            #expect(try await client.command("COMPRESS DEFLATE").last?.contains(" NO [COMPRESSIONACTIVE]") == true)
            let large =
                Array("Subject: large\r\n\r\n".utf8) + (0..<400_000).map { UInt8(truncatingIfNeeded: $0 % 61 + 33) }
            try await client.append(large)
            _ = try await client.ok("SELECT INBOX")
            let lines = try await client.ok("FETCH 1 BODY.PEEK[]")
            #expect(lines[0].hasSuffix("{\(large.count)}") && lines.joined(separator: "\r\n").utf8.count > large.count)
            let many = String(repeating: "x NOOP\r\n", count: 2000)
            try await client.send(many + "last NOOP\r\n")
            #expect(try await client.lines(to: "last OK").count == 2001)
            try await client.send("i IDLE\r\n")
            #expect(try await client.line().hasPrefix("+"))
            let other = try await system.client()
            try await other.append("Subject: x\r\n\r\nx\r\n")
            _ = try await client.lines(to: "* 2 EXISTS")
            try await client.send("DONE\r\n")
            _ = try await client.lines(to: "i OK")
            #expect(try await client.ok("LOGOUT").first?.hasPrefix("* BYE") == true)
        }
    }

    @Test func whatIsPipelinedBehindIsNotTakenForCompressed() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            try await client.send("a COMPRESS DEFLATE\r\nb NOOP\r\n")
            #expect(try await client.lines(to: "b ").map { $0.prefix(5) } == ["a BAD", "b OK "])
        }
    }

    @Test func whatIsNotDeflateEndsTheSession() async throws {
        try await TestSystem.run { system in
            let client = try await system.client()
            _ = try await client.ok("COMPRESS DEFLATE")
            try await client.send([UInt8](repeating: 0xFF, count: 100))
            await #expect(throws: (any Error).self) {
                while true { _ = try await client.line() }
            }
            _ = try await system.client()
        }
    }

    /// What waits for a client that reads nothing takes no more room than it's long.
    @Test func smallAnswersWaitInSmallBuffers() throws {
        let channel = EmbeddedChannel(handler: try CompressionHandler())
        let count = 500
        for number in 0..<count { channel.writeAndFlush(ByteBuffer(string: "x\(number) OK done\r\n"), promise: nil) }
        var pieces = 0
        var room = 0
        while let piece = try channel.readOutbound(as: ByteBuffer.self) {
            #expect(piece.readableBytes > 0)
            pieces += 1
            room += piece.storageCapacity
        }
        #expect(pieces <= count && room <= 64 * count)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    /// zlib keeps what is written until there is a flush; the promise waits as long, and none is left without an answer.
    @Test func promisesOfWrites() throws {
        let channel = EmbeddedChannel(handler: try CompressionHandler())
        let loop = channel.embeddedEventLoop
        let done = ByteBuffer()
        let first = channel.write(ByteBuffer(string: "a"))
        let second = channel.write(ByteBuffer(string: "b"))
        loop.run()
        #expect(try channel.readOutbound(as: ByteBuffer.self) == nil)
        channel.flush()
        try first.wait()
        try second.wait()
        #expect(try channel.readOutbound(as: ByteBuffer.self) != nil)
        let empty = channel.write(done)
        try empty.wait()
        let last = channel.write(ByteBuffer(string: "c"))
        _ = try channel.finish(acceptAlreadyClosed: true)
        #expect(throws: ChannelError.self) { try last.wait() }
    }

    /// The end of the client's DEFLATE stream (RFC 1951 §3.2.3) ends the input behind what came before it.
    @Test func theEndOfTheStream() throws {
        let channel = EmbeddedChannel()
        let events = Events()
        try channel.pipeline.syncOperations.addHandlers([try CompressionHandler(), events])
        // A last block that isn't compressed, and what isn't DEFLATE.
        try channel.writeInbound(ByteBuffer(bytes: [1, 3, 0, 0xFC, 0xFF] + Array("abc".utf8) + [0xFF, 0xFF]))
        try channel.writeInbound(ByteBuffer(bytes: [0xFF, 0xFF]))
        channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        #expect(try channel.readInbound(as: ByteBuffer.self) == ByteBuffer(string: "abc"))
        #expect(try channel.readInbound(as: ByteBuffer.self) == nil)
        #expect(events.ends == 1)
        _ = try channel.finish(acceptAlreadyClosed: true)
    }

    /// Counts how often the input has ended.
    private final class Events: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        var ends = 0

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if let event = event as? ChannelEvent, event == .inputClosed { ends += 1 }
        }
    }

    /// A few octets may mean gigabytes: no more of them is made than is read.
    @Test func bombsAreInflatedOnDemand() throws {
        let channel = EmbeddedChannel()
        let packer = EmbeddedChannel(handler: try CompressionHandler())
        let zeros = ByteBuffer(repeating: 0, count: 1 << 20)
        for _ in 0..<64 { packer.writeAndFlush(zeros, promise: nil) }
        var bomb = ByteBuffer()
        while var piece = try packer.readOutbound(as: ByteBuffer.self) { bomb.writeBuffer(&piece) }
        #expect(bomb.readableBytes < 200_000)
        try channel.pipeline.syncOperations.addHandlers([try CompressionHandler(), Gate()])
        try channel.writeInbound(bomb)
        channel.embeddedEventLoop.run()
        var octets = 0
        while let piece = try channel.readInbound(as: ByteBuffer.self) { octets += piece.readableBytes }
        #expect((1...(64 * 1024)).contains(octets))
        // Each read gives a piece more, to the end.
        while octets < 64 << 20 {
            channel.pipeline.fireUserInboundEventTriggered(Gate.Open())
            channel.embeddedEventLoop.run()
            var more = 0
            while let piece = try channel.readInbound(as: ByteBuffer.self) { more += piece.readableBytes }
            #expect((1...(64 * 1024)).contains(more))
            guard more > 0 else { break }
            octets += more
        }
        #expect(octets == 64 << 20)
        _ = try channel.finish(acceptAlreadyClosed: true)
        _ = try packer.finish(acceptAlreadyClosed: true)
    }

    /// Lets a read through only when it is opened for one.
    private final class Gate: ChannelDuplexHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundIn = ByteBuffer
        struct Open {}

        func read(context: ChannelHandlerContext) {}

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if event is Open { context.read() } else { context.fireUserInboundEventTriggered(event) }
        }
    }
}
