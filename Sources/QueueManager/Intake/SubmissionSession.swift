import Bus
import NIOCore
import Network
import SMTP
import Spool
import Submission

/// One connection to queue.sock: takes one message after another (docs/protocols.md, "queue.sock").
struct SubmissionSession {
    let connection: Connection
    let queue: Queue
    private var parser = FrameParser()
    private var nextID: MessageID

    init(_ connection: Connection, _ queue: Queue) {
        self.connection = connection
        self.queue = queue
        nextID = queue.spool.makeID()
    }

    /// Serves until the peer closes the connection or breaks the protocol.
    mutating func run() async {
        let idleTimeout = connection.idleTimeout
        do {
            answer(.ok())
            try await connection.flush()
            while let frame = try await connection.readFrame(&parser) {
                guard frame.verb == "SUBMIT" else { throw FrameError.malformedVerb }
                connection.idleTimeout = queue.settings.idleTimeout
                connection.note(.atWork)
                defer { connection.note(.stranger) }
                guard let reply = try await receive(frame) else { continue }
                connection.idleTimeout = idleTimeout
                nextID = queue.spool.makeID()
                answer(reply)
                try await connection.flush()
            }
        } catch let error as FrameError {
            connection.write(Frame.reply(.reject, status: .syntaxError, text: error.text))
            try? await connection.flush()
        } catch {
            // The peer is gone, and with it the message it had not ended.
        }
    }

    private func answer(_ reply: Frame) {
        var reply = reply
        reply["next"] = nextID.description
        connection.write(reply)
    }

    // MARK: One message

    /// Receives a message to its end and commits it; nil where the peer aborted it.
    private mutating func receive(_ submit: Frame) async throws -> Frame? {
        let now = queue.clock.now() / 1000
        let policy = SubmissionPolicy(settings: queue.settings, peer: connection.peerUser)
        var envelope: MessageEnvelope?
        var refusal: Frame?
        do {
            envelope = try policy.envelope(submit, id: nextID, now: now)
            try queue.spool.requireSpace()
        } catch let error as SubmissionRefusal {
            refusal = error.reply
        } catch let error as SpoolError {
            refusal = SubmissionRefusal(error).reply
        }
        // A message that comes again is received and thrown away.
        if let origin = envelope?.origin, refusal == nil {
            if let known = queue.origins[origin] {
                refusal = Frame.ok([.init("id", known.description), .init("text", "queued before")])
            } else if queue.comingOrigins.contains(origin) {
                refusal = .reply(.defer, status: .systemTrouble, text: "the same message is coming in already")
            }
        }
        let intake = MessageIntake(queue, envelope: refusal == nil ? envelope : nil)
        let origin = refusal == nil ? envelope?.origin : nil
        if let origin { queue.comingOrigins.insert(origin) }
        defer { if let origin { queue.comingOrigins.remove(origin) } }
        let end: Frame?
        do {
            end = try await receive(submit, into: intake)
        } catch {
            await intake.discard()
            throw error
        }
        guard let end else {
            await intake.discard()
            return nil
        }
        if let refusal { return refusal }
        return await intake.commit(
            added: end.body ?? ByteBuffer(),
            isQuarantined: SubmissionProtocol.isQuarantined(end),
            isHeld: SubmissionProtocol.isHeld(end),
            route: policy.route(end)
        )
    }

    /// Receives a message; returns the frame that ends it, or nil where the peer aborted it.
    private mutating func receive(_ submit: Frame, into intake: MessageIntake) async throws -> Frame? {
        if let body = submit.body { await intake.append(body) }
        while let frame = try await connection.readFrame(&parser) {
            switch frame.verb {
            case "DATA": await intake.append(frame.body ?? ByteBuffer())
            case "END": return frame
            case "ABORT": return nil
            default: throw FrameError.malformedVerb
            }
        }
        throw ConnectionError.closed
    }
}
