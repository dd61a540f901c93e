import Bus
import NIOConcurrencyHelpers
import NIOCore
import Network

/// Stands in for queue-manager: keeps what it is handed, or misbehaves as told.
final class FakeQueue: Sendable {
    struct Message: Sendable {
        var envelope: Frame
        /// As it came, without what is added.
        var octets = ByteBuffer()
        /// The body of `END`.
        var added = ByteBuffer()
        /// Whether `END` says that it's to be held.
        var isHeld = false
        /// The route that `END` names.
        var route: String?
        /// Frames that carried octets.
        var parts = 0
        var id = ""

        /// What deliverers see.
        var text: String { String(buffer: added) + String(buffer: octets) }
    }

    enum Behaviour: Sendable {
        case accept
        case answer(Frame)
        /// Closes at the end of the message, without a reply.
        case closeAtEnd
        /// Closes at the first part of a message.
        case closeAtData
        /// Answers at the first part of a message and closes.
        case answerAtData(Frame)
        /// Accepts, but so slowly that the client must be braked.
        case acceptSlowly
    }

    struct State {
        var behaviour = Behaviour.accept
        var messages: [Message] = []
        var aborted = 0
        var connections = 0
        var lastID = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    let state = NIOLockedValueBox(State())

    var messages: [Message] { state.withLockedValue { $0.messages } }

    func set(_ behaviour: Behaviour) { state.withLockedValue { $0.behaviour = behaviour } }

    /// Waits until a message was thrown away because its connection closed.
    func untilAborted() async {
        await withCheckedContinuation { continuation in
            let isNow = state.withLockedValue { state in
                if state.aborted > 0 { return true }
                state.waiting.append(continuation)
                return false
            }
            if isNow { continuation.resume() }
        }
    }

    func serve(_ connection: Connection) async {
        state.withLockedValue { $0.connections += 1 }
        var current: Message?
        var parser = FrameParser()
        do {
            var id = greet(connection, nil)
            try await connection.flush()
            while let frame = try await connection.readFrame(&parser) {
                let behaviour = state.withLockedValue { $0.behaviour }
                if frame.verb == "SUBMIT" { current = Message(envelope: frame, id: id) }
                if frame.verb == "END" {
                    current?.isHeld = frame["hold"] == "yes"
                    current?.route = frame["route"]
                }
                if frame.verb == "END", let body = frame.body { current?.added = body }
                if frame.verb != "END", let body = frame.body {
                    if case .closeAtData = behaviour { return }
                    if case .answerAtData(let answer) = behaviour {
                        connection.write(answer)
                        try await connection.flush()
                        return
                    }
                    if case .acceptSlowly = behaviour {
                        try await connection.eventLoop.scheduleTask(in: .milliseconds(5)) {}.futureResult.get()
                    }
                    current?.octets.writeImmutableBuffer(body)
                    current?.parts += 1
                }
                guard frame.verb == "END" else { continue }
                guard let message = current else { return }
                current = nil
                switch behaviour {
                case .accept, .acceptSlowly:
                    state.withLockedValue { $0.messages.append(message) }
                    id = greet(connection, message.id)
                case .answer(let answer):
                    var answer = answer
                    id = nextID()
                    answer["next"] = id
                    connection.write(answer)
                case .closeAtEnd, .closeAtData, .answerAtData:
                    return
                }
                try await connection.flush()
            }
        } catch {}
        if current != nil {
            let waiting = state.withLockedValue { state in
                state.aborted += 1
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    private func nextID() -> String {
        state.withLockedValue {
            $0.lastID += 1
            return "id\($0.lastID)"
        }
    }

    private func greet(_ connection: Connection, _ id: String?) -> String {
        let next = nextID()
        connection.write(.ok([.init("next", next)] + (id.map { [.init("id", $0)] } ?? [])))
        return next
    }
}

extension Frame {
    fileprivate static func ok(_ fields: [Field]) -> Frame { .ok(tag: nil, fields) }
}
