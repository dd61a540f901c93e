import Accounts
import CoreMetrics
import Front
import Logging
import Mailbox
import MailboxProcess
import NIOCore
import Network
import POP3
import SASL

/// One client after login (RFC 1939 §5 and §6, TRANSACTION and UPDATE).
final class MailboxSession {
    private static let chunk = 64 * 1024

    private let connection: Connection
    private let maildrop: Maildrop
    private let service: POP3MailboxService
    /// The account's sessions wait for their turns together.
    private let disk: BlockingPool.Line
    private let arrival: LoginArrival
    private var errors = 0

    init(
        _ connection: Connection,
        _ maildrop: Maildrop,
        service: POP3MailboxService,
        disk: BlockingPool.Line,
        arrival: LoginArrival
    ) {
        self.connection = connection
        self.maildrop = maildrop
        self.service = service
        self.disk = disk
        self.arrival = arrival
    }

    func run() async {
        // Without QUIT nothing is deleted (RFC 1939 §6), and the next session must not find a lock.
        defer { maildrop.release() }
        var reason = "quit"
        do throws(ConnectionError) {
            let total = maildrop.total
            try await arrival.accept(on: connection, text: "\(total.count) messages, \(total.octets) octets")
            connection.idleTimeout = service.settings.idleTimeout
            while try await next() {}
            try await connection.flush()
        } catch {
            reason = "\(error)"
            if error == .shuttingDown {
                connection.write { $0.writeError(.temporary, "the server is restarting") }
                try? await connection.flush()
            }
        }
        service.logger.info(
            "session ended",
            metadata: ["address": "\(arrival.mailbox.address)", "client": "\(arrival.client)", "reason": "\(reason)"]
        )
    }

    /// Performs one command; false when the session is over.
    private func next() async throws(ConnectionError) -> Bool {
        // Replies to commands that came together leave together.
        if connection.input.readableBytes == 0 { try await connection.flush() }
        let command: Command
        do throws(ConnectionError) {
            guard let line = try await connection.readLine(maximum: LineLimit.command) else { throw .closed }
            do {
                command = try Command(parsing: line)
            } catch {
                return fault(error == .unknown ? "unknown command" : "malformed arguments")
            }
        } catch .lineTooLong {
            return fault("line too long")
        }
        return try await perform(command)
    }

    private func perform(_ command: Command) async throws(ConnectionError) -> Bool {
        switch command {
        case .stat:
            let total = maildrop.total
            connection.write { $0.writeOK("\(total.count) \(total.octets)") }
        case .list(let number): return try await list(number) { "\($0) \($1.octets)" }
        case .uidl(let number): return try await list(number) { "\($0) \(self.maildrop.identifier($1))" }
        case .retr(let number): return try await send(number, lines: nil)
        case .top(let number, let lines): return try await send(number, lines: lines)
        case .dele(let number):
            guard maildrop.entry(number) != nil else { return fault("no such message") }
            maildrop.delete(number)
            connection.write { $0.writeOK("message \(number) deleted") }
        case .rset:
            maildrop.reset()
            connection.write { $0.writeOK("nothing is deleted") }
        case .noop: connection.write { $0.writeOK("") }
        case .capa: capabilities()
        case .quit: return await quit()
        case .user, .pass, .auth, .stls: return fault("already logged in")
        }
        return true
    }

    private func fault(_ text: String, _ code: ResponseCode? = nil) -> Bool {
        errors += 1
        connection.write { $0.writeError(code, text) }
        return errors < service.settings.maximumErrors
    }

    private func capabilities() {
        // What the front offers depends on the connection to it, which isn't known here; nobody logs in any more.
        let mechanisms = [SASLMechanismName.plain, .login].map(\.rawValue)
        connection.write { output in
            output.writeOK("capabilities follow")
            for line in Capabilities(startTLS: false, login: true, mechanisms: mechanisms).lines {
                output.writeListing(line)
            }
            output.writeListingEnd()
        }
    }

    /// LIST and UIDL: one line, or one for each message.
    private func list(
        _ number: Int?,
        _ line: (Int, Maildrop.Entry) -> String
    ) async throws(ConnectionError) -> Bool {
        if let number {
            guard let entry = maildrop.entry(number) else { return fault("no such message") }
            connection.write { $0.writeOK(line(number, entry)) }
            return true
        }
        connection.write { $0.writeOK("messages follow") }
        var pending = 0
        for message in maildrop.present {
            connection.write { $0.writeListing(line(message.number, message.entry)) }
            pending += 1
            if pending.isMultiple(of: 1024) { try await connection.flush() }
        }
        connection.write { $0.writeListingEnd() }
        return true
    }

    // MARK: Messages

    /// RETR, or TOP with so many lines of the body.
    private func send(_ number: Int, lines: Int?) async throws(ConnectionError) -> Bool {
        guard let entry = maildrop.entry(number) else { return fault("no such message") }
        let maildrop = maildrop
        let opened: (reader: MessageReader, start: ByteBuffer)
        do throws(MailboxError) {
            // Most messages are read whole by this one call.
            opened = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                let reader = try maildrop.open(entry)
                return (reader, try Self.read(reader, at: 0))
            }
        } catch {
            return unreadable(entry, error)
        }
        connection.write { $0.writeOK(lines == nil ? "\(opened.reader.octets) octets" : "top of message follows") }
        try await stream(opened.reader, from: opened.start, lines: lines)
        service.messagesRead.increment()
        return true
    }

    /// A message that can't be read to its end ends the connection: the client must not take a part for the whole.
    private func stream(
        _ reader: MessageReader,
        from start: ByteBuffer,
        lines: Int?
    ) async throws(ConnectionError) {
        var encoder = MessageEncoder()
        var limiter = lines.map { TopLimiter(lines: $0) }
        var octets = start
        var offset = 0
        while true {
            offset += octets.readableBytes
            let wanted = limiter?.limit(octets.readableBytesView) ?? octets.readableBytesView
            connection.write { encoder.encode(wanted, into: &$0) }
            guard offset < reader.octets, limiter?.isDone != true else { break }
            try await connection.flush()
            let position = offset
            do throws(MailboxError) {
                octets = try await disk.run { () throws(MailboxError) in try Self.read(reader, at: position) }
            } catch {
                throw .failed("\(error)")
            }
        }
        connection.write { encoder.finish(into: &$0) }
        // What was asked for in one go is more than memory should hold.
        try await connection.flush()
    }

    private static func read(_ reader: MessageReader, at offset: Int) throws(MailboxError) -> ByteBuffer {
        let octets = try reader.read(at: offset, count: chunk)
        if octets.readableBytes == 0, offset < reader.octets { throw .corrupt("the message is shorter than it was") }
        return octets
    }

    private func unreadable(_ entry: Maildrop.Entry, _ error: MailboxError) -> Bool {
        if error == .notFound { return fault("the message is gone") }
        service.logger.error(
            "message not read",
            metadata: ["address": "\(arrival.mailbox.address)", "uid": "\(entry.uid)", "reason": "\(error)"]
        )
        return fault("the message cannot be read now", .temporary)
    }

    /// UPDATE: marked messages are removed, and only then is QUIT answered.
    private func quit() async -> Bool {
        let maildrop = maildrop
        do throws(MailboxError) {
            let removed = try await disk.runWhenFree(on: connection.eventLoop) { () throws(MailboxError) in
                try maildrop.commit()
            }
            service.messagesDeleted.increment(by: removed.uids.count)
            RemovalLog(service.logger, address: arrival.mailbox.address, folder: "INBOX")
                .write("messages deleted", removed.uids, removed.names)
            connection.write { $0.writeOK("bye") }
        } catch {
            service.logger.error(
                "messages not deleted",
                metadata: ["address": "\(arrival.mailbox.address)", "reason": "\(error)"]
            )
            connection.write { $0.writeError(.temporary, "some deleted messages are not removed") }
        }
        return false
    }
}
