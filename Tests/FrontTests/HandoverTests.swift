import Accounts
import Bus
import Front
import Logging
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

#if canImport(Glibc)
import Glibc
#endif

/// A front and a mailbox process on one loop, with a pretended authd that knows the ticket `good`.
@Suite struct HandoverTests {
    private struct Setting: Sendable {
        let loop: any EventLoop
        let directory: String
        var session: String { "\(directory)/pop3.sock" }
    }

    /// - Parameter session: the mailbox process's session, after the login arrived.
    private func run(
        session: @escaping @Sendable (LoginArrival, Connection) async throws -> Void,
        _ body: @escaping @Sendable (Setting) async throws -> Void
    ) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let setting = Setting(loop: loop, directory: "/tmp/martlet-front-\(UInt64.random(in: 0 ... .max))")
        #expect(mkdir(setting.directory, 0o700) == 0)
        let authPath = "\(setting.directory)/auth.sock"
        defer {
            for path in [authPath, setting.session] { unlink(path) }
            rmdir(setting.directory)
        }
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let authority = BusServer(group: loop, logger: logger)
        try await authority.answer(on: try UnixSocket.listen(authPath)) { frame, connection in
            connection.write(Self.redeem(frame))
        }
        let mailboxes = BusServer(group: loop, logger: logger)
        try await mailboxes.accept(on: try UnixSocket.listen(setting.session)) { connection in
            let accounts = AccountsClient(path: authPath, on: loop)
            defer { accounts.close() }
            if let arrival = await LoginArrival.receive(on: connection, service: .pop3, accounts: accounts) {
                try? await session(arrival, connection)
            }
        }
        let failure = await Task(executorPreference: LoopExecutor.of(loop)) { () -> (any Error)? in
            do {
                try await body(setting)
                return nil
            } catch {
                return error
            }
        }.value
        await mailboxes.shutDown(grace: .seconds(3))
        await authority.shutDown(grace: .seconds(3))
        if let failure { throw failure }
    }

    private static func redeem(_ frame: Frame) -> Frame {
        guard frame.verb == "REDEEM", frame["ticket"] == "good", frame["service"] == "pop3" else {
            return .reply(.reject, status: "5.7.8", text: "no such ticket", tag: frame["tag"])
        }
        return .ok(
            tag: frame["tag"],
            [
                .init("address", "alice@example.test"), .init("mailbox", "example.test/alice"),
                .init("format", "maildir"), .init("quota", "0"),
            ]
        )
    }

    @Test func theSessionIsPassedBothWays() async throws {
        try await run { arrival, connection in
            #expect(arrival.mailbox.mailbox == "example.test/alice")
            #expect(arrival.client == "192.0.2.7" && arrival.isEncrypted)
            try await arrival.accept(on: connection, text: "3 messages")
            while let line = try await connection.readLine(maximum: 100) {
                let text = String(buffer: line)
                connection.write("you said \(text)\r\n")
                try await connection.flush()
                if text == "bye" { return }
            }
        } _: { setting in
            // The client's TCP connection to the front.
            let listener = Listener(group: setting.loop)
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = try #require(InternetSocket.port(of: socket))
            try await listener.accept(on: socket) { client in
                let outcome = await LoginHandover(path: setting.session)
                    .begin(ticket: "good", client: "192.0.2.7", isEncrypted: true, on: setting.loop)
                guard case .accepted(let session, let text) = outcome else { return }
                client.write("\(text ?? "")\r\n")
                await LoginHandover.relay(client, session)
            }
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            let client = try await Connection.connect(to: address, on: setting.loop, timeout: .seconds(5))
            client.idleTimeout = .seconds(20)
            client.write("one\r\ntwo\r\nbye\r\n")
            try await client.flush()
            var lines: [String] = []
            while let line = try await client.readLine(maximum: 100) { lines.append(String(buffer: line)) }
            #expect(lines == ["3 messages", "you said one", "you said two", "you said bye"])
            client.close()
            await listener.shutDown(grace: .seconds(5))
            #expect(listener.count == 0)
        }
    }

    /// However the octets come, what the client says behind its session is heard by whoever has the connection then.
    @Test(arguments: [0, 1, 7, 33])
    func aSessionGivesItsClientBack(size: Int) async throws {
        try await run { arrival, connection in
            let mark = try #require(arrival.mark)
            try await arrival.accept(on: connection)
            _ = try await connection.readLine(maximum: 100)
            guard size > 0 else {
                connection.write("left\r\n")
                return try await LoginArrival.giveBack(connection, by: mark, unheard: ByteBuffer(string: "first "))
            }
            // In pieces, and never after it was given back.
            var octets = Array("left\r\n".utf8) + mark.octets
            while !octets.isEmpty {
                connection.write(octets.prefix(size))
                try await connection.flush()
                octets.removeFirst(min(size, octets.count))
                await connection.eventLoop.pause(.milliseconds(1))
            }
            var unheard = ByteBuffer(string: "first ")
            repeat {
                unheard.writeImmutableBuffer(connection.input)
                connection.input = ByteBuffer()
            } while try await connection.receive()
            connection.write(unheard)
            try await connection.flush()
        } _: { setting in
            let listener = Listener(group: setting.loop)
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = try #require(InternetSocket.port(of: socket))
            try await listener.accept(on: socket) { client in
                let mark = ReturnMark()
                let outcome = await LoginHandover(path: setting.session)
                    .begin(ticket: "good", client: "192.0.2.7", isEncrypted: true, mark: mark, on: setting.loop)
                guard case .accepted(let session, _) = outcome else { return }
                guard await LoginHandover.relay(client, session, until: mark) else { return }
                while let line = try? await client.readLine(maximum: 100) {
                    client.write("front heard \(String(buffer: line))\r\n")
                    try? await client.flush()
                }
            }
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            let client = try await Connection.connect(to: address, on: setting.loop, timeout: .seconds(5))
            client.idleTimeout = .seconds(20)
            client.write("leave\r\nline\r\n")
            try await client.flush()
            #expect(try await client.readLine(maximum: 100).map { String(buffer: $0) } == "left")
            #expect(try await client.readLine(maximum: 100).map { String(buffer: $0) } == "front heard first line")
            client.write("later\r\n")
            try await client.flush()
            #expect(try await client.readLine(maximum: 100).map { String(buffer: $0) } == "front heard later")
            client.close()
            await listener.shutDown(grace: .seconds(5))
            #expect(listener.count == 0)
        }
    }

    @Test func theMailboxProcessHearsThatTheClientWent() async throws {
        try await run { arrival, connection in
            try await arrival.accept(on: connection)
            while try await connection.receive() {}
        } _: { setting in
            let listener = Listener(group: setting.loop)
            let socket = try InternetSocket.listen(try SocketAddress(ipAddress: "127.0.0.1", port: 0))
            let port = try #require(InternetSocket.port(of: socket))
            try await listener.accept(on: socket) { client in
                let outcome = await LoginHandover(path: setting.session)
                    .begin(ticket: "good", client: "192.0.2.7", isEncrypted: false, on: setting.loop)
                guard case .accepted(let session, _) = outcome else { return }
                client.write("in\r\n")
                try? await client.flush()
                await LoginHandover.relay(client, session)
            }
            let address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
            let client = try await Connection.connect(to: address, on: setting.loop, timeout: .seconds(5))
            _ = try await client.readLine(maximum: 10)
            client.abort()
            await listener.shutDown(grace: .seconds(20))
            #expect(listener.count == 0)
        }
    }

    @Test func aWrongTicketIsRefused() async throws {
        try await run { _, _ in
            Issue.record("a session without a ticket")
        } _: { setting in
            let outcome = await LoginHandover(path: setting.session)
                .begin(ticket: "bad", client: "192.0.2.7", isEncrypted: true, on: setting.loop)
            guard case .refused(let status, _) = outcome else {
                Issue.record("not refused")
                return
            }
            #expect(status == .badCredentials)
        }
    }

    @Test(arguments: ["HELLO\n\n", "SESSION\nclient: x\n\n", "session\n\n", "SESSION\nsize: 5\n\nhello"])
    func otherRequestsAreRefused(request: String) async throws {
        try await run { _, _ in
            Issue.record("a session without a ticket")
        } _: { setting in
            let connection = try await Connection.connect(unix: setting.session, on: setting.loop)
            connection.write(request)
            try await connection.flush()
            var parser = FrameParser()
            let reply = try await connection.readFrame(&parser)
            #expect(reply?.replyKind == .reject)
            connection.close()
        }
    }

    @Test func nobodyThereIsUnavailable() async throws {
        try await run { _, _ in
        } _: { setting in
            let outcome = await LoginHandover(path: "\(setting.directory)/none.sock")
                .begin(ticket: "good", client: "192.0.2.7", isEncrypted: true, on: setting.loop)
            guard case .unavailable = outcome else {
                Issue.record("not unavailable")
                return
            }
        }
    }
}
