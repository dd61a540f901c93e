import Bus
import NIOCore
import Network
import Spool

/// One connection to queue.sock: takes one message after another (docs/protocols.md, "queue.sock").
struct SubmissionSession {
    let connection: Connection
    let scheduler: Scheduler
    private var parser = FrameParser()
    private var nextID: MessageID

    init(_ connection: Connection, _ scheduler: Scheduler) {
        self.connection = connection
        self.scheduler = scheduler
        nextID = scheduler.spool.makeID()
    }

    private var spool: Spool { scheduler.spool }

    /// Serves until the peer closes the connection or breaks the protocol.
    mutating func run() async {
        do {
            answer(.ok())
            try await connection.flush()
            while let frame = try await connection.readFrame(&parser) {
                guard frame.verb == "SUBMIT" else { throw FrameError.malformedVerb }
                connection.idleTimeout = scheduler.settings.idleTimeout
                guard let reply = try await take(frame) else { continue }
                connection.idleTimeout = nil
                nextID = spool.makeID()
                answer(reply)
                try await connection.flush()
            }
        } catch let error as FrameError {
            connection.write(Frame.reply(.reject, status: "5.5.2", text: error.text))
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

    /// Receives a message to its end and commits it; nil where the peer thought better of it.
    private mutating func take(_ submit: Frame) async throws -> Frame? {
        let now = scheduler.clock.now() / 1000
        var envelope: MessageEnvelope?
        var refusal: Frame?
        do throws(SubmissionRefusal) {
            envelope = try SubmissionPolicy(settings: scheduler.settings, peer: connection.peerUser)
                .envelope(submit, id: nextID, now: now)
            guard spool.hasSpace() else { throw SubmissionRefusal(.defer, "4.3.1", "not enough space in the queue") }
        } catch {
            refusal = error.reply
        }
        // A message that comes again is received and thrown away.
        if let origin = envelope?.origin, refusal == nil {
            if let known = scheduler.origins[origin] {
                refusal = Frame.ok([.init("id", known.description), .init("text", "queued before")])
            } else if scheduler.comingOrigins.contains(origin) {
                refusal = Frame.reply(.defer, status: "4.3.0", text: "the same message is coming in already")
            }
        }
        let intake = MessageIntake(scheduler, envelope: refusal == nil ? envelope : nil)
        let origin = refusal == nil ? envelope?.origin : nil
        if let origin { scheduler.comingOrigins.insert(origin) }
        defer { if let origin { scheduler.comingOrigins.remove(origin) } }
        do {
            guard try await receive(submit, into: intake) else {
                await intake.abandon()
                return nil
            }
        } catch {
            await intake.abandon()
            throw error
        }
        if let refusal { return refusal }
        let reply = await intake.commit()
        // Known from now on, even before the scheduler has the message.
        if let origin, reply.replyKind == .ok, let id = envelope?.id { scheduler.origins.insert(origin, id) }
        return reply
    }

    /// Whether the message came to its end.
    private mutating func receive(_ submit: Frame, into intake: MessageIntake) async throws -> Bool {
        if let body = submit.body {
            await intake.append(body)
            return true
        }
        while let frame = try await connection.readFrame(&parser) {
            switch frame.verb {
            case "DATA": await intake.append(frame.body ?? ByteBuffer())
            case "END": return true
            case "ABORT": return false
            default: throw FrameError.malformedVerb
            }
        }
        throw ConnectionError.closed
    }
}
