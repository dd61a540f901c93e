import Bus
import NIOCore
import Spool

/// A message that is being received: held in memory while it's small, in `incoming/` when it's not.
final class MessageIntake {
    private let scheduler: Scheduler
    /// nil where nothing is kept of what comes.
    private let envelope: MessageEnvelope?
    private var head = ByteBuffer()
    private var large: IncomingMessage?
    private var octets = 0
    private var refusal: SubmissionRefusal?

    init(_ scheduler: Scheduler, envelope: MessageEnvelope?) {
        self.scheduler = scheduler
        self.envelope = envelope
        if let envelope { head = SubmissionPolicy.traceField(envelope, scheduler.settings) }
    }

    /// Adds octets; after a failure they are thrown away.
    func append(_ chunk: ByteBuffer) async {
        guard let envelope, refusal == nil else { return }
        octets += chunk.readableBytes
        if let maximum = SubmissionPolicy.maximumMessage(envelope, scheduler.settings), octets > maximum {
            await give(up: SubmissionRefusal(.reject, "5.2.3", "message too large"))
        } else if large == nil, head.readableBytes + chunk.readableBytes <= scheduler.spool.journaledMessage {
            head.writeImmutableBuffer(chunk)
        } else {
            await stream(envelope, chunk)
        }
    }

    private func stream(_ envelope: MessageEnvelope, _ chunk: ByteBuffer) async {
        do {
            if large == nil {
                let (spool, start) = (scheduler.spool, head)
                try checkHops()
                large = try await scheduler.offLoop { () throws(SpoolError) in
                    let message = try spool.begin(envelope)
                    try message.append(start)
                    return message
                }
                head = ByteBuffer()
            }
            if let large { try await scheduler.offLoop { () throws(SpoolError) in try large.append(chunk) } }
        } catch let error as SpoolError {
            await give(up: SubmissionRefusal(error))
        } catch let error as SubmissionRefusal {
            await give(up: error)
        } catch {}
    }

    private func checkHops() throws(SubmissionRefusal) {
        guard SubmissionPolicy.hops(head) <= scheduler.settings.maximumHops else {
            throw SubmissionRefusal(.reject, "5.4.6", "too many hops: a mail loop")
        }
    }

    private func give(up reason: SubmissionRefusal) async {
        refusal = reason
        await abandon()
    }

    /// Keeps nothing of the message.
    func abandon() async {
        head = ByteBuffer()
        guard let large else { return }
        self.large = nil
        try? await scheduler.offLoop { () throws(SpoolError) in large.discard() }
    }

    /// Makes the message durable and gives it to the scheduler; the reply for the peer.
    func commit() async -> Frame {
        do {
            guard let envelope else { throw SubmissionRefusal(.defer, "4.3.0", "nothing was kept") }
            if let refusal { throw refusal }
            if let large { try await commit(large, envelope) } else { try await commitSmall(envelope) }
            scheduler.counters.count("accepted")
            return Frame.ok([.init("id", envelope.id.description), .init("text", "queued")])
        } catch let error as SubmissionRefusal {
            return refused(error)
        } catch let error as SpoolError {
            return refused(SubmissionRefusal(error))
        } catch {
            return refused(SubmissionRefusal(.defer, "4.3.0", "the queue can't take it now"))
        }
    }

    private func refused(_ refusal: SubmissionRefusal) -> Frame {
        scheduler.log.refused(refusal.reply["text"] ?? "", sender: envelope?.sender ?? "")
        return refusal.reply
    }

    private func commitSmall(_ envelope: MessageEnvelope) async throws {
        try checkHops()
        guard scheduler.spool.hasSpace(for: head.readableBytes) else { throw SpoolError.full }
        let (file, offset) = QueueFile.encode(envelope, message: head)
        let head = QueueFileHead(envelope, offset: offset, octets: head.readableBytes)
        scheduler.log.accepted(envelope.id, envelope, octets: head.octets)
        let scheduler = scheduler
        scheduler.announce(envelope.id)
        let error: SpoolError? = await withCheckedContinuation { continuation in
            scheduler.spool.commit(
                [.put(envelope.id, file: file)],
                durable: { continuation.resume(returning: $0) },
                applied: { scheduler.add(head, isNew: true) }
            )
        }
        if let error { throw error }
    }

    private func commit(_ large: IncomingMessage, _ envelope: MessageEnvelope) async throws {
        self.large = nil
        scheduler.announce(envelope.id)
        let (offset, octets) = try await scheduler.offLoop { () throws(SpoolError) in try large.finish() }
        let head = QueueFileHead(envelope, offset: offset, octets: octets)
        scheduler.log.accepted(envelope.id, envelope, octets: octets)
        scheduler.add(head, isNew: true)
    }
}
