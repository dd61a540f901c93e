import Bus

#if canImport(Glibc)
import Glibc
#endif

/// A message in the queue as commands show it.
struct QueueEntry: Encodable, Sendable {
    /// A recipient that is still to be served.
    struct Recipient: Encodable, Sendable {
        let recipient: String
        /// What was said at the last attempt.
        let reason: String?
    }

    let id: String
    let state: String
    /// Seconds since 1970.
    let arrived: Int
    let octets: Int
    let sender: String
    var recipients: [Recipient] = []
    let client: String?
    let user: String?
    let uid: String?
    /// When it's tried again. Seconds since 1970.
    let next: Int?
    let attempts: Int
    /// Its sender doesn't want it to leave before. Seconds since 1970.
    let heldUntil: Int?
    /// By when its sender wants it delivered, and in which mode (docs/protocols.md).
    let deliverBy: String?
    /// From -9 to 9; nil for the usual.
    let priority: Int?
    /// Why it waits where its sender's or its destination's mail is paused.
    let paused: String?

    init(_ frame: Frame) {
        id = frame["id"] ?? ""
        state = frame["state"] ?? ""
        arrived = frame.integer("arrived") ?? 0
        octets = frame.integer("octets") ?? 0
        sender = frame["sender"] ?? ""
        client = frame["client"]
        user = frame["user"]
        uid = frame["uid"]
        next = frame.integer("next")
        attempts = frame.integer("attempts") ?? 0
        heldUntil = frame.integer("hold-until")
        deliverBy = frame["deliver-by"]
        priority = frame.integer("priority")
        paused = frame["paused"]
        for field in frame.fields {
            if field.name == "recipient" {
                recipients.append(Recipient(recipient: field.value, reason: nil))
            } else if field.name == "reason", let last = recipients.popLast() {
                recipients.append(
                    Recipient(recipient: last.recipient, reason: field.value.isEmpty ? nil : field.value)
                )
            }
        }
    }

    /// Some lines for people, without control characters.
    var text: String {
        let now = Self.now
        var lines = ["\(id)  \(state)  \(octets) octets  \(Self.age(now - arrived)) old  from \(sender)"]
        for recipient in recipients {
            lines.append("    \(recipient.recipient)")
            if let reason = recipient.reason { lines.append("        \(reason)") }
        }
        if let heldUntil, heldUntil > now { lines.append("    held for its sender, \(Self.age(heldUntil - now)) more") }
        if let paused { lines.append("    \(paused)") }
        if let next { lines.append("    next attempt in \(Self.age(max(0, next - now))), after \(attempts)") }
        return lines.map(Self.printable).joined(separator: "\n")
    }

    /// Seconds since 1970.
    static var now: Int { time(nil) }

    /// `3d`, `5h`, `20m`, `7s`.
    static func age(_ seconds: Int) -> String {
        switch seconds {
        case 172_800...: return "\(seconds / 86_400)d"
        case 7200...: return "\(seconds / 3600)h"
        case 120...: return "\(seconds / 60)m"
        default: return "\(max(0, seconds))s"
        }
    }

    /// Text from outside without control characters.
    static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 || (0x7f...0x9f).contains($0.value) ? "?" : $0 }
            )
        )
    }
}
