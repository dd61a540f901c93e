import Bus
import NIOCore
import Network
import SMTP

/// The front's side of a login handover (docs/protocols.md, "pop3.sock and imap.sock").
package struct LoginHandover: Sendable {
    /// What the mailbox process said.
    package enum Answer {
        /// The connection carries the session from now on; `text` is for people.
        case accepted(Connection, text: String?)
        /// The mailbox can't be opened: now (a status of class 4) or at all.
        case refused(status: EnhancedStatusCode, text: String)
        /// The mailbox process is down, or its answer isn't understood; the reason.
        case unavailable(String)
    }

    private let path: String
    private let timeout: TimeAmount

    /// - Parameters:
    ///   - path: of the mailbox process's socket, as this process sees it.
    ///   - timeout: how long to wait for its answer.
    package init(path: String, timeout: TimeAmount = .seconds(30)) {
        self.path = path
        self.timeout = timeout
    }

    /// Hands the login over. Call on the client connection's loop.
    ///
    /// - Parameters:
    ///   - ticket: from authd, for this service.
    ///   - client: the client's address, for the record.
    ///   - mark: by which the session may give the client back.
    package func begin(
        ticket: String,
        client: String,
        isEncrypted: Bool,
        mark: ReturnMark? = nil,
        on loop: any EventLoop
    ) async -> Answer {
        do {
            let connection = try await Connection.connect(unix: path, on: loop)
            connection.idleTimeout = timeout
            var request = Frame("SESSION", ["ticket": ticket, "client": client, "tls": isEncrypted ? "yes" : "no"])
            request["return"] = mark?.text
            connection.write(request)
            do {
                try await connection.flush()
                return try await Self.answer(connection)
            } catch {
                connection.abort()
                throw error
            }
        } catch let error as FrameError {
            return .unavailable("\(path): \(error.text)")
        } catch {
            return .unavailable("\(path): \(error)")
        }
    }

    private static func answer(_ connection: Connection) async throws -> Answer {
        var parser = FrameParser()
        guard let reply = try await connection.readFrame(&parser) else { throw ConnectionError.closed }
        switch reply.replyKind {
        case .ok:
            connection.idleTimeout = nil
            return .accepted(connection, text: reply["text"])
        case .defer, .reject:
            connection.abort()
            let status = reply.status ?? .systemTrouble
            return .refused(status: status, text: reply["text"] ?? "the mailbox can't be opened")
        case nil:
            connection.abort()
            return .unavailable("unexpected reply \(reply.verb)")
        }
    }

    /// Passes octets between the client and the mailbox process until the session is over, then closes both. The
    /// mailbox process decides how long an idle client may stay.
    ///
    /// - Parameter mark: by which the session may give the client back.
    /// - Returns: whether it has: the client's connection goes on then, and has what the client said behind its session.
    @discardableResult
    package static func relay(_ client: Connection, _ session: Connection, until mark: ReturnMark? = nil) async -> Bool
    {
        client.idleTimeout = nil
        client.deadline = nil
        let way = Way(mark, on: client.eventLoop)
        async let replies: Void = passReplies(from: session, to: client, way)
        do throws(ConnectionError) {
            while !way.isOver {
                try await pass(from: client, to: session)
                guard !way.isOver, try await client.receive() else { break }
            }
            // What the client asked for before it closed its side is answered still.
            session.endOutput()
        } catch {
            way.hasFailed = true
            session.close()
        }
        await replies
        session.close()
        guard way.isOver, !way.hasFailed else {
            client.close()
            return false
        }
        way.unheard.writeImmutableBuffer(client.input)
        client.input = way.unheard
        return true
    }

    /// What both directions of a relay know.
    private final class Way: @unchecked Sendable {
        // Unchecked: all state belongs to the event loop's thread, which debug builds check.
        private let loop: any EventLoop
        let mark: ReturnMark?
        var hasFailed = false
        /// What the session had received of the client's octets, and hasn't listened to.
        var unheard = ByteBuffer()
        private var isReturned = false

        /// The most of it that is taken. Octets.
        static let maximum = 1 << 20

        init(_ mark: ReturnMark?, on loop: any EventLoop) {
            self.mark = mark
            self.loop = loop
        }

        /// Whether the client is given back: nothing more of it goes to the session.
        var isOver: Bool {
            loop.assertInEventLoop()
            return isReturned
        }

        func end() {
            loop.assertInEventLoop()
            isReturned = true
        }
    }

    private static func passReplies(from session: Connection, to client: Connection, _ way: Way) async {
        do throws(ConnectionError) {
            while true {
                if let mark = way.mark {
                    let found = mark.find(in: session.input.readableBytesView)
                    try await pass(from: session, to: client, found.before)
                    if found.of == mark.octets.count {
                        session.input.moveReaderIndex(forwardBy: found.of)
                        return try await takeBack(from: session, client, way)
                    }
                } else {
                    try await pass(from: session, to: client)
                }
                guard try await session.receive() else { break }
            }
            // What looked like the mark's beginning.
            try await pass(from: session, to: client)
        } catch {
            way.hasFailed = true
            session.close()
        }
        // Nothing can follow: the session is over, whatever the client still wants to say.
        client.close()
    }

    /// Takes what the session gives back of the client's octets, once it's told that no more come.
    private static func takeBack(
        from session: Connection,
        _ client: Connection,
        _ way: Way
    ) async throws(ConnectionError) {
        way.end()
        client.endWait()
        repeat {
            way.unheard.writeImmutableBuffer(session.input)
            session.input = ByteBuffer()
            guard way.unheard.readableBytes <= Way.maximum else { throw .failed("too much said behind a session") }
        } while try await session.receive()
    }

    private static func pass(
        from source: Connection,
        to target: Connection,
        _ count: Int? = nil
    ) async throws(ConnectionError) {
        let count = count ?? source.input.readableBytes
        guard count > 0, let octets = source.input.readSlice(length: count) else { return }
        if source.input.readableBytes == 0 { source.input = ByteBuffer() }
        target.write(octets)
        try await target.flush()
    }
}
