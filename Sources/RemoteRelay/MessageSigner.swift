import Caching
import Deliverer
import Logging
import MIME
import MailAuth
import NIOCore
import SMTP

#if canImport(Glibc)
import Glibc
#endif

/// Signs mail of our own domains (RFC 6376, RFC 8463), each message once, however many destinations and attempts it has:
/// what was signed is remembered for a while. Belongs to one event loop.
final class MessageSigner: @unchecked Sendable {
    // Unchecked: all state belongs to the event loop's thread, which debug builds check.
    /// What was signed.
    struct Key: Hashable {
        let id: String
        let octets: Int
        let form: OutgoingMessage.Form
    }

    /// What became of a message in one form.
    enum Outcome {
        case signed(SignedMessage)
        /// It goes as it is: its domain has no keys, or it can't be signed at all.
        case unsigned
        case refused(DeliveryResult)
    }

    private let keys: SigningKeys
    private let loop: any EventLoop
    private let logger: Logger
    private var known = BoundedCache<Key, SignedMessage>(limit: memory)
    /// Who waits for what is being signed now.
    private var waiting: [Key: [CheckedContinuation<Outcome?, Never>]] = [:]

    /// For what was signed. Octets.
    private static let memory = 4 << 20

    /// How the body is hashed.
    static let bodyHashMethod = BodyHashMethod(.relaxed)

    init(_ keys: SigningKeys, on loop: any EventLoop, logger: Logger) {
        self.keys = keys
        self.loop = loop
        self.logger = logger
    }

    /// What is known of a message, or what the closure finds out. Where several deliveries ask at once, one works.
    func outcome(
        of key: Key,
        _ find: () async throws(MessageSourceError) -> Outcome
    ) async throws(MessageSourceError) -> Outcome {
        loop.assertInEventLoop()
        while waiting[key] != nil {
            let outcome = await withCheckedContinuation { waiting[key, default: []].append($0) }
            // Whoever worked on it may have been given up.
            if let outcome { return outcome }
        }
        if let signed = known.value(for: key) { return .signed(signed) }
        waiting[key] = []
        let outcome: Outcome
        do throws(MessageSourceError) {
            outcome = try await find()
        } catch {
            finish(key, nil)
            throw error
        }
        if case .signed(let signed) = outcome {
            known.insert(signed, for: key, cost: key.id.utf8.count + signed.fields.readableBytes)
        }
        finish(key, outcome)
        return outcome
    }

    private func finish(_ key: Key, _ outcome: Outcome?) {
        for waiter in waiting.removeValue(forKey: key) ?? [] { waiter.resume(returning: outcome) }
    }

    /// The keys that sign a message with that header; none where it goes unsigned.
    func keys(for header: HeaderBlock, id: String) async throws(SigningKeysError) -> [ActiveKey] {
        switch DMARCAuthor(header) {
        case .domain(let domain): return try await keys.nearest(to: domain)
        case let other:
            note(unsigned: "\(other)", id: id)
            return []
        }
    }

    /// The signatures of all keys over a message.
    ///
    /// - Returns: nil where the message is none that can be signed.
    func fields(
        for message: HashedMessage,
        by keys: [ActiveKey],
        id: String
    ) async throws(SigningKeysError) -> ByteBuffer? {
        var fields: [UInt8] = []
        for key in keys {
            let draft: SignatureDraft
            do throws(DKIMSigningError) {
                draft = try DKIMSigner(key.name).draft(for: message, now: time(nil))
            } catch {
                note(unsigned: "its header is too long, or has a line that is no field", id: id)
                return nil
            }
            fields += draft.field(try await self.keys.sign(key, draft))
        }
        logger.info(
            "message signed",
            metadata: [
                "id": "\(id)",
                "domain": "\(String(decoding: keys.first?.name.domain ?? [], as: UTF8.self))",
                "selectors": .string(
                    keys.map { String(decoding: $0.name.selector, as: UTF8.self) }.joined(separator: ",")
                ),
            ]
        )
        return ByteBuffer(bytes: fields)
    }

    /// A key can't be used now. The mail waits: unsigned it might be taken for a forgery.
    func refusal(_ error: SigningKeysError, id: String) -> DeliveryResult {
        logger.warning("message not signed: it waits", metadata: ["id": "\(id)", "reason": .string(error.reason)])
        return DeliveryResult(.delayed, .encryptionNeeded, "can't be signed now: \(error.reason)")
    }

    private func note(unsigned reason: String, id: String) {
        logger.notice("message not signed: it goes as it is", metadata: ["id": "\(id)", "reason": .string(reason)])
    }
}

/// What a message in one form was signed with.
struct SignedMessage: Sendable {
    /// The signatures' fields, which go in front.
    let fields: ByteBuffer
    /// Whether it was signed in other lines than it came in.
    let isRewritten: Bool
    /// Of all that is sent. Octets.
    let octets: Int
}
