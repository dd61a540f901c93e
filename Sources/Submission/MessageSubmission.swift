import Bus
import NIOCore
import SMTP

/// One message on its way into the queue: octets are sent in large pieces, and a slow queue-manager holds up whoever
/// appends. A small message leaves in one write. Belongs to one event loop.
package final class MessageSubmission {
    /// The ID that the message will have.
    package let id: String
    /// Others were told the ID: whatever becomes of this message, no other one gets it.
    package var isIDKnown = false

    private let client: SubmissionClient
    private let connection: QueueConnection
    /// Who sends it to whom; changes count until something was appended.
    package var envelope: SubmissionEnvelope
    /// What was appended and not sent.
    private var held = ByteBuffer()
    private var isBegun = false
    private var isOver = false
    private var isEndSent = false
    /// What queue-manager said, or the loss of its connection, before the end of the message.
    package private(set) var earlyResult: SubmissionResult?

    /// The connection was lost behind the end of the message: queue-manager may have it.
    package private(set) var isUncertain = false

    /// Whether queue-manager could be handed the message now, as far as is known.
    package var isUsable: Bool { !isOver && connection.isUsable }

    /// Smaller slices are joined, so that many small packets do not become as many frames. Octets.
    private static let worthItsOwnFrame = 16 * 1024

    init(_ envelope: SubmissionEnvelope, over connection: QueueConnection, of client: SubmissionClient) {
        self.envelope = envelope
        self.connection = connection
        self.client = client
        id = connection.nextID ?? ""
    }

    /// Appends octets of the message. Returns when more may come; once there is a result, octets are thrown away.
    package func append(_ octets: ByteBuffer) async {
        guard earlyResult == nil, !isOver else { return }
        if held.readableBytes + octets.readableBytes <= SubmissionProtocol.chunk {
            hold(octets)
            return
        }
        send()
        var rest = octets
        while rest.readableBytes >= Self.worthItsOwnFrame,
            let part = rest.readSlice(length: min(rest.readableBytes, SubmissionProtocol.chunk))
        {
            connection.write(SubmissionProtocol.part(part))
        }
        if rest.readableBytes > 0 { hold(rest) }
        await flush()
    }

    private func hold(_ octets: ByteBuffer) {
        // The first piece is often all there is: it's kept without a copy.
        if held.readableBytes == 0 { held = octets } else { held.writeImmutableBuffer(octets) }
    }

    private func send() {
        let part = held
        held = ByteBuffer()
        if !isBegun {
            isBegun = true
            connection.write(SubmissionProtocol.begin(envelope, first: part.readableBytes > 0 ? part : nil))
        } else if part.readableBytes > 0 {
            connection.write(SubmissionProtocol.part(part))
        }
    }

    private func flush() async {
        do throws(SubmissionError) {
            try await connection.flush()
            if let reply = connection.earlyReply() { end(SubmissionResult(reply, expected: id)) }
        } catch {
            lose(error)
        }
    }

    private func lose(_ error: SubmissionError) {
        // It may have said why before it hung up.
        let reply = connection.earlyReply()
        isUncertain = isEndSent && reply == nil
        end(reply.map { SubmissionResult($0, expected: id) } ?? SubmissionResult(error))
    }

    /// Ends the message, with what goes in front of it, and waits for what queue-manager says about it.
    ///
    /// - Parameters:
    ///   - added: whole header lines; where the message has no header, with the empty line that ends one.
    ///     `SubmissionProtocol.addedLimit` octets at most.
    ///   - isQuarantined: whether it belongs into its recipients' Junk.
    ///   - isHeld: whether it's kept until an administrator releases it.
    ///   - route: the name of a route that it has, whatever its sender and recipients.
    package func finish(
        added: ByteBuffer,
        isQuarantined: Bool = false,
        isHeld: Bool = false,
        route: String? = nil
    ) async -> SubmissionResult {
        if let earlyResult { return earlyResult }
        guard !isOver else { return .deferred(.systemTrouble, "the message was thrown away") }
        send()
        isEndSent = true
        connection.write(
            SubmissionProtocol.end(added: added, isQuarantined: isQuarantined, isHeld: isHeld, route: route)
        )
        do throws(SubmissionError) {
            try await connection.flush()
            let reply = try await connection.reply()
            isOver = true
            client.release(connection)
            return SubmissionResult(reply, expected: id)
        } catch {
            lose(error)
            return earlyResult ?? SubmissionResult(error)
        }
    }

    /// There is a result although the message was not ended: the connection is of no more use.
    private func end(_ result: SubmissionResult) {
        earlyResult = result
        isOver = true
        held = ByteBuffer()
        connection.abort()
    }

    /// Throws the message away. Does nothing after its end.
    package func abort() {
        guard !isOver else { return }
        isOver = true
        held = ByteBuffer()
        if isBegun || isIDKnown { connection.abort() } else { client.release(connection) }
    }
}
