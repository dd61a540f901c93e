import Bus
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `mailq`, `sendmail -bp` and `sendmail -q`.
enum QueueCommands {
    static func list() throws {
        let last = try ask("LIST") { frame in
            guard frame.verb == "MESSAGE" else { return }
            let arrived = DateTime(secondsSince1970: frame.integer("arrived") ?? 0)
            show(
                "\(frame["id"] ?? "")  \(frame["state"] ?? "")  \(frame["octets"] ?? "")  \(arrived)  \(frame["sender"] ?? "")"
            )
            for field in frame.fields {
                if field.name == "recipient" { show("    \(field.value)") }
                if field.name == "reason", !field.value.isEmpty { show("        (\(field.value))") }
            }
        }
        let count = last["count"] ?? "0"
        show(count == "0" ? "Mail queue is empty" : "\(count) \(count == "1" ? "message" : "messages")")
    }

    static func flush(_ selection: SendmailOptions.QueueSelection) throws {
        var fields: [Frame.Field] = []
        switch selection {
        case .all: break
        case .message(let id): fields.append(.init("id", id))
        case .destination(let domain): fields.append(.init("destination", domain.lowercased()))
        }
        _ = try ask("FLUSH", fields) { _ in }
    }

    /// The last frame of queue-manager's answer.
    ///
    /// - Throws: `Failure`, with EX_TEMPFAIL or EX_UNAVAILABLE by the kind of the answer.
    private static func ask(_ verb: String, _ fields: [Frame.Field] = [], each: (Frame) -> Void) throws -> Frame {
        do {
            let control = try FrameSocket("run/control.sock")
            try control.send([Frame(verb, fields)])
            while true {
                let frame = try control.receive()
                let text = "\(frame["status"] ?? "") \(frame["text"] ?? "")"
                switch frame.replyKind {
                case .ok: return frame
                case .defer: throw Failure(.temporary, text)
                case .reject: throw Failure(.unavailable, text)
                case nil: each(frame)
                }
            }
        } catch let error as BusError {
            throw Failure(.temporary, "queue-manager does not answer: \(error)")
        }
    }

    /// Prints a line without control characters.
    private static func show(_ line: String) {
        print(
            String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
        )
    }
}
