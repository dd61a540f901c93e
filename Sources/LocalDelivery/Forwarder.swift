import Bus
import Mailbox
import NIOCore
import NIOPosix
import Network
import SMTP

/// Hands a message in again for the addresses that an alias leads to. Belongs to one event loop.
final class Forwarder: @unchecked Sendable {
    // Unchecked: nothing changes after init.
    private let path: String
    private let pool: NIOThreadPool
    private let loop: any EventLoop

    private static let chunk = 64 * 1024

    /// - Parameter path: of queue-manager's socket, as this process sees it.
    init(path: String, pool: NIOThreadPool, loop: any EventLoop) {
        self.path = path
        self.pool = pool
        self.loop = loop
    }

    /// Returns when the message is in the queue for all targets, or for none. The request's key makes it idempotent.
    func forward(_ request: DeliveryRequest, to targets: [String]) async -> DeliveryResult {
        do {
            let connection = try await Connection.connect(unix: path, on: loop)
            defer { connection.close() }
            connection.idleTimeout = .minutes(2)
            let reply = try await submit(request, targets, connection)
            let text = reply["text"] ?? ""
            switch reply.replyKind {
            case .ok:
                var result = DeliveryResult.delivered("forwarded to \(targets.count) addresses as \(reply["id"] ?? "")")
                result.expanded = targets.count
                return result
            case .reject: return .never(reply["status"] ?? "5.3.0", "cannot forward: \(text)")
            default: return .later(reply["status"] ?? "4.3.0", "cannot forward now: \(text)")
            }
        } catch {
            return .later("4.3.0", "cannot forward now: \(error)")
        }
    }

    private func submit(
        _ request: DeliveryRequest,
        _ targets: [String],
        _ connection: Connection
    ) async throws -> Frame {
        var parser = FrameParser()
        guard let greeting = try await connection.readFrame(&parser) else { throw ConnectionError.closed }
        guard greeting.replyKind == .ok else { return greeting }
        var envelope = Frame("SUBMIT", ["sender": request.sender.description])
        envelope.fields += targets.map { .init("recipient", "<\($0)>") }
        envelope.fields += [.init("client", "local"), .init("origin", request.key)]
        connection.write(envelope)
        connection.write(
            Frame("DATA", [:], body: ByteBuffer(string: "Delivered-To: \(request.recipient.address)\r\n"))
        )
        var position = 0
        while position < request.octets {
            let (file, offset) = (request.file, request.offset + position)
            let count = min(Self.chunk, request.octets - position)
            let octets = try await pool.runIfActive(eventLoop: loop) { try file.read(count, at: offset) }.get()
            guard !octets.isEmpty else { throw MailboxError.corrupt("the message ends before its time") }
            position += octets.count
            connection.write(Frame("DATA", [:], body: ByteBuffer(bytes: octets)))
            try await connection.flush()
        }
        connection.write(Frame("END"))
        try await connection.flush()
        guard let reply = try await connection.readFrame(&parser) else { throw ConnectionError.closed }
        return reply
    }
}
