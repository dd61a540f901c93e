import Bus
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Network
import SMTP
import Testing

@testable import Submission

#if canImport(Glibc)
import Glibc
#endif

/// A pretended queue-manager on a socket of its own, which keeps what it is handed or misbehaves as told.
final class FakeQueueManager: Sendable {
    struct Message: Sendable, Equatable {
        var sender = ""
        var octets = ByteBuffer()
        var added = ByteBuffer()
        /// The verbs in their order.
        var verbs: [String] = []

        var text: String { String(buffer: added) + String(buffer: octets) }
    }

    enum Behaviour: Sendable {
        /// Answers each message so, `next` added.
        case answer(Frame)
        /// Answers at the first frame with octets, and closes.
        case answerEarly(Frame)
        /// Closes at the first frame of the verb, without a word.
        case closeAt(String)
        /// Sends these octets instead of a reply.
        case talkNonsense(String)
    }

    let path = "/tmp/martlet-submission-\(UInt64.random(in: 0 ... .max)).sock"
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let messages = NIOLockedValueBox<[Message]>([])
    let connections = NIOLockedValueBox(0)
    private let behaviour = NIOLockedValueBox(Behaviour.answer(.ok(tag: nil, [.init("id", "kept")])))
    private let listener: Listener

    private init() { listener = Listener(group: loop) }

    func set(_ new: Behaviour) { behaviour.withLockedValue { $0 = new } }

    /// Runs the body, on the loop, against a running queue-manager.
    static func run(_ body: @escaping @Sendable (FakeQueueManager) async throws -> Void) async throws {
        let queue = FakeQueueManager()
        let listener = queue.listener
        try await listener.accept(on: try UnixSocket.listen(queue.path)) { await queue.serve($0) }
        let failure = await Task(executorPreference: LoopExecutor.of(queue.loop)) { () -> (any Error)? in
            do {
                try await body(queue)
                return nil
            } catch {
                return error
            }
        }.value
        await listener.shutDown(grace: .seconds(2))
        unlink(queue.path)
        if let failure { throw failure }
    }

    private func serve(_ connection: Connection) async {
        let number = connections.withLockedValue { count in
            count += 1
            return count
        }
        connection.write(Frame.ok(tag: nil, [.init("next", "id\(number)")]))
        try? await connection.flush()
        var message = Message()
        var parser = FrameParser()
        while let frame = try? await connection.readFrame(&parser) {
            let behaviour = behaviour.withLockedValue { $0 }
            message.verbs.append(frame.verb)
            if case .closeAt(frame.verb) = behaviour { return }
            if case .answerEarly(let answer) = behaviour, frame.body != nil {
                connection.write(answer)
                try? await connection.flush()
                return
            }
            if let sender = frame["sender"] { message.sender = sender }
            if let body = frame.body {
                if frame.verb == "END" { message.added = body } else { message.octets.writeImmutableBuffer(body) }
            }
            guard frame.verb == "END" else { continue }
            let done = message
            messages.withLockedValue { $0.append(done) }
            message = Message()
            switch behaviour {
            case .answer(var answer):
                answer["next"] = "next\(number)"
                connection.write(answer)
            case .talkNonsense(let text): connection.write(text)
            case .answerEarly, .closeAt: break
            }
            try? await connection.flush()
        }
    }

    static let envelope = SubmissionEnvelope(
        sender: EnvelopeSender(.null),
        recipients: [(try? EnvelopeRecipient(parsing: "<b@example.test>".utf8))].compactMap { $0 }
    )
}
