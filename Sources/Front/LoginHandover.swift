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
    package func begin(
        ticket: String,
        client: String,
        isEncrypted: Bool,
        on loop: any EventLoop
    ) async -> Answer {
        do {
            let connection = try await Connection.connect(unix: path, on: loop)
            connection.idleTimeout = timeout
            connection.write(
                Frame("SESSION", ["ticket": ticket, "client": client, "tls": isEncrypted ? "yes" : "no"])
            )
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
    package static func relay(_ client: Connection, _ session: Connection) async {
        client.idleTimeout = nil
        client.deadline = nil
        async let replies: Void = passReplies(from: session, to: client)
        do throws(ConnectionError) {
            while true {
                try await pass(from: client, to: session)
                guard try await client.receive() else { break }
            }
            // What the client asked for before it closed its side is answered still.
            session.endOutput()
        } catch {
            session.close()
        }
        await replies
        session.close()
        client.close()
    }

    private static func passReplies(from session: Connection, to client: Connection) async {
        do throws(ConnectionError) {
            while true {
                try await pass(from: session, to: client)
                guard try await session.receive() else { break }
            }
        } catch {
            session.close()
        }
        // Nothing can follow: the session is over, whatever the client still wants to say.
        client.close()
    }

    private static func pass(from source: Connection, to target: Connection) async throws(ConnectionError) {
        guard source.input.readableBytes > 0 else { return }
        let octets = source.input
        source.input = ByteBuffer()
        target.write(octets)
        try await target.flush()
    }
}
