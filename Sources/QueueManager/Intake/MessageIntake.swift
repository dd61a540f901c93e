import Bus
import Daemon
import NIOCore
import SMTP
import Spool
import Submission

/// A message that is being received: held in memory while it's small, in `incoming/` when it's not. Belongs to the queue's
/// event loop.
final class MessageIntake {
    private let queue: Queue
    /// nil where nothing is kept of what comes.
    private let envelope: MessageEnvelope?
    private var held = ByteBuffer()
    private var large: IncomingMessage?
    private var octets = 0
    /// Received fields in the beginning of a large message.
    private var hops = 0
    /// The Message-ID of a large one, where the log is to have it.
    private var name: String?
    private var refusal: SubmissionRefusal?

    init(_ queue: Queue, envelope: MessageEnvelope?) {
        self.queue = queue
        self.envelope = envelope
    }

    /// Adds octets; after a failure they are thrown away.
    func append(_ chunk: ByteBuffer) async {
        guard let envelope, refusal == nil else { return }
        octets += chunk.readableBytes
        if let maximum = SubmissionPolicy.maximumMessage(envelope, queue.settings), octets > maximum {
            await refuse(SubmissionRefusal(.reject, .messageTooLong, "message too large"))
        } else if large == nil, held.readableBytes + chunk.readableBytes <= queue.spool.journaledMessage {
            // The first piece is often all there is: it's kept without a copy.
            if held.readableBytes == 0 { held = chunk } else { held.writeImmutableBuffer(chunk) }
        } else {
            await stream(envelope, chunk)
        }
    }

    private func stream(_ envelope: MessageEnvelope, _ chunk: ByteBuffer) async {
        do {
            if let large {
                try await queue.spool.perform { (_) throws(SpoolError) in try large.append(chunk) }
                return
            }
            held.writeImmutableBuffer(chunk)
            let start = held
            hops = SubmissionPolicy.hops(in: start)
            try checkHops(hops)
            name = SubmissionPolicy.name(envelope, start)
            large = try await queue.spool.perform { (spool) throws(SpoolError) in
                let message = try spool.begin(envelope)
                try message.append(start)
                return message
            }
            held = ByteBuffer()
        } catch let error as SpoolError {
            await refuse(SubmissionRefusal(error))
        } catch let error as SubmissionRefusal {
            await refuse(error)
        } catch {
            await refuse(SubmissionRefusal(.defer, .systemTrouble, "the queue cannot take it now"))
        }
    }

    private func checkHops(_ hops: Int) throws(SubmissionRefusal) {
        guard hops <= queue.settings.maximumHops else {
            throw SubmissionRefusal(.reject, .routingLoop, "too many hops: a mail loop")
        }
    }

    private func refuse(_ reason: SubmissionRefusal) async {
        refusal = reason
        await discard()
    }

    /// Keeps nothing of the message.
    func discard() async {
        held = ByteBuffer()
        guard let large else { return }
        self.large = nil
        try? await queue.spool.perform { (_) throws(SpoolError) in large.discard() }
    }

    /// Makes the message durable and gives it to the queue.
    ///
    /// - Parameters:
    ///   - added: the block that goes in front of it.
    ///   - isQuarantined: whether it belongs into its recipients' Junk.
    ///   - isHeld: whether it's kept until an administrator releases it.
    ///   - route: the name of its route.
    /// - Returns: the reply for the peer.
    func commit(added: ByteBuffer, isQuarantined: Bool, isHeld: Bool, route: String? = nil) async -> Frame {
        do {
            guard var envelope else { throw SubmissionRefusal(.defer, .systemTrouble, "nothing was kept") }
            if let refusal { throw refusal }
            envelope.isQuarantined = isQuarantined
            if let route {
                guard RemoteRelayConfiguration.isRouteName(route), route.utf8.count <= MessageEnvelope.routeLength
                else { throw SubmissionRefusal(.defer, .systemTrouble, "malformed name of a route") }
                envelope.route = route
            }
            guard added.readableBytes <= SubmissionProtocol.addedLimit else {
                throw SubmissionRefusal(.reject, .messageTooBig, "the added block is too large")
            }
            var block = SubmissionPolicy.traceField(envelope, queue.settings)
            if block.readableBytes == 0 { block = added } else { block.writeImmutableBuffer(added) }
            let passed = large == nil ? SubmissionPolicy.hops(in: held) : hops
            try checkHops(passed + SubmissionPolicy.hops(in: block))
            if let large {
                try await commit(large, block, envelope, isHeld)
            } else {
                try await commitSmall(envelope, block, isHeld)
            }
            return Frame.ok([.init("id", envelope.id.description), .init("text", "queued")])
        } catch let error as SubmissionRefusal {
            await discard()
            return refused(error)
        } catch let error as SpoolError {
            await discard()
            return refused(SubmissionRefusal(error))
        } catch {
            await discard()
            return refused(SubmissionRefusal(.defer, .systemTrouble, "the queue cannot take it now"))
        }
    }

    private func refused(_ refusal: SubmissionRefusal) -> Frame {
        queue.log.refused(refusal.reply["text"] ?? "", sender: envelope.map { "\($0.sender)" } ?? "")
        return refusal.reply
    }

    private func commitSmall(_ envelope: MessageEnvelope, _ added: ByteBuffer, _ isHeld: Bool) async throws {
        let (queue, held) = (queue, held)
        let name = SubmissionPolicy.name(envelope, held)
        let error: SpoolError? = await withCheckedContinuation { continuation in
            queue.accept(envelope, held, added: added, isHeld: isHeld, name: name) {
                continuation.resume(returning: $0)
            }
        }
        if let error { throw error }
    }

    private func commit(
        _ message: IncomingMessage,
        _ added: ByteBuffer,
        _ envelope: MessageEnvelope,
        _ isHeld: Bool
    ) async throws {
        let (queue, name) = (queue, name)
        let error: SpoolError? = await withCheckedContinuation { continuation in
            queue.accept(
                message,
                added: added,
                isQuarantined: envelope.isQuarantined,
                isHeld: isHeld,
                name: name,
                route: envelope.route
            ) { continuation.resume(returning: $0) }
        }
        if let error { throw error }
        large = nil
    }
}
