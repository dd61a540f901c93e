import Bus
import MIME

#if canImport(Glibc)
import Glibc
#endif

/// `mailq`, `sendmail -bp` and `sendmail -q`.
enum QueueWishes {
    static func list() throws {
        let control = try QueueSocket("run/control.sock")
        try control.send(Frame("LIST"))
        let last = try control.answer { frame in
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

    static func flush() throws {
        let control = try QueueSocket("run/control.sock")
        try control.send(Frame("FLUSH"))
        _ = try control.answer()
    }

    /// A line without octets that could steer a terminal.
    private static func show(_ line: String) {
        print(
            String(String.UnicodeScalarView(line.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
        )
    }
}
