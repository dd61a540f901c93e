import Bus
import NIOCore
import SMTP

/// What authd says about a recipient.
enum RecipientKind: Equatable {
    /// A mailbox or alias of ours.
    case local
    /// A domain that is not ours.
    case foreign
    /// One of our domains has no such mailbox.
    case unknown(status: String, text: String)
    /// authd cannot say now; the reason.
    case deferred(String)
}

/// Asks authd about recipients, for the sessions of one event loop. Positive answers are believed for a short time, as
/// the same recipient comes again and again when mail comes fast.
final class RecipientDirectory: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread.
    private static let maximumCached = 4096

    private let authority: BusClient
    private let lifetime: TimeAmount
    private var cache: [MailAddress: (kind: RecipientKind, until: NIODeadline)] = [:]

    init(authority: BusClient, lifetime: TimeAmount) {
        self.authority = authority
        self.lifetime = lifetime
    }

    func look(up address: MailAddress) async -> RecipientKind {
        if let known = cache[address], known.until > .now() { return known.kind }
        let kind = await ask(address)
        guard lifetime > .zero, kind == .local || kind == .foreign else { return kind }
        if cache.count >= Self.maximumCached { cache.removeAll(keepingCapacity: true) }
        cache[address] = (kind, .now() + lifetime)
        return kind
    }

    private func ask(_ address: MailAddress) async -> RecipientKind {
        let reply: Frame
        do {
            reply = try await authority.request(Frame("RECIPIENT", ["address": address.description]))
        } catch {
            return .deferred("\(error)")
        }
        switch reply.replyKind {
        case .ok where reply["kind"] == "local": return .local
        case .ok where reply["kind"] == "foreign": return .foreign
        case .reject:
            return .unknown(status: reply["status"] ?? "5.1.1", text: reply["text"] ?? "no such mailbox")
        case .defer: return .deferred(reply["text"] ?? "authd defers")
        default: return .deferred("authd: unexpected reply \(reply.verb)")
        }
    }
}
