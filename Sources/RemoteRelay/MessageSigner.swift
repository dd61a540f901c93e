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

/// Signs mail of our own domains (RFC 6376, RFC 8463), and seals strangers' mail that goes on (RFC 8617), each message once, however many destinations and attempts it has:
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
    private let settings: RelaySettings
    private let loop: any EventLoop
    private let logger: Logger
    private var known = BoundedCache<Key, SignedMessage>(limit: memory)
    /// Who waits for what is being signed now.
    private var waiting: [Key: [CheckedContinuation<Outcome?, Never>]] = [:]

    /// For what was signed. Octets.
    private static let memory = 4 << 20

    /// How the body is hashed.
    static let bodyHashMethod = BodyHashMethod(.relaxed)

    init(_ keys: SigningKeys, settings: RelaySettings, on loop: any EventLoop, logger: Logger) {
        self.keys = keys
        self.settings = settings
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

    /// What is put in front of a message.
    enum Work {
        /// The signatures of these keys.
        case sign([ActiveKey])
        /// A set of ARC, with what was found out when the message came in.
        case seal(ActiveKey, ARCOutcome, AuthenticationResults)
    }

    /// What is to be done with a message with that header; nil where it goes as it is.
    ///
    /// - Parameter submitter: nil for strangers' mail.
    func work(
        for header: HeaderBlock,
        of submitter: Submitter?,
        id: String
    ) async throws(SigningKeysError) -> Work? {
        guard submitter != nil else {
            do throws(SigningKeysError) {
                return try await sealing(header)
            } catch {
                note(unsealed: error, id: id)
                return nil
            }
        }
        guard settings.signs else { return nil }
        switch DMARCAuthor(header) {
        case .domain(let domain):
            let keys = try await keys.nearest(to: domain)
            return keys.isEmpty ? nil : .sign(keys)
        case let other:
            note(unsigned: "\(other)", id: id)
            return nil
        }
    }

    /// What smtpd looked at is sealed as what it found (RFC 8617 §5.1); of other mail there is nothing to say.
    private func sealing(_ header: HeaderBlock) async throws(SigningKeysError) -> Work? {
        guard settings.seals,
            let results = AuthenticationResults.own(in: header, authservID: Array(settings.authservID.utf8)),
            let outcome = ARCOutcome(header, found: results), !outcome.endsInFailure,
            outcome.chain.highestInstance < ARCChain.maximumSets
        else { return nil }
        let keys = try await keys.nearest(to: Array(settings.hostname.utf8))
        // Few verify seals by Ed25519, and a set has one signature only.
        let key = keys.first { $0.name.algorithm == .rsaSHA256 } ?? keys.first
        return key.map { .seal($0, outcome, results) }
    }

    /// Whether nothing is ever to be done with such mail.
    func isIdle(for submitter: Submitter?) -> Bool { submitter == nil ? !settings.seals : !settings.signs }

    /// The fields that go in front of a message.
    ///
    /// - Returns: nil where the message is none that can be signed.
    func fields(for message: HashedMessage, _ work: Work, id: String) async throws(SigningKeysError) -> ByteBuffer? {
        var fields: [UInt8] = []
        switch work {
        case .sign(let keys):
            for key in keys {
                guard let draft = try? DKIMSigner(key.name).draft(for: message, now: time(nil)) else {
                    note(unsigned: Self.badHeader, id: id)
                    return nil
                }
                fields += draft.field(try await self.keys.sign(key, draft))
            }
            log("message signed", keys, id)
        case .seal(let key, let outcome, let results):
            guard
                let draft = try? ARCSealer(key.name).draft(
                    for: message,
                    after: outcome,
                    results: results,
                    now: time(nil)
                )
            else {
                note(unsigned: Self.badHeader, id: id)
                return nil
            }
            do throws(SigningKeysError) {
                let seal = draft.seal(try await keys.sign(key, draft.messageSignature))
                fields = seal.fields(try await keys.sign(key, seal.draft))
            } catch {
                note(unsealed: error, id: id)
                return nil
            }
            log("message sealed", [key], id)
        }
        return ByteBuffer(bytes: fields)
    }

    private static let badHeader = "its header is too long, or has a line that is no field, or no From field"

    private func log(_ event: Logger.Message, _ keys: [ActiveKey], _ id: String) {
        let selectors = keys.map { String(decoding: $0.name.selector, as: UTF8.self) }
        logger.info(
            event,
            metadata: [
                "id": "\(id)",
                "domain": "\(String(decoding: keys.first?.name.domain ?? [], as: UTF8.self))",
                "selectors": .string(selectors.joined(separator: ",")),
            ]
        )
    }

    /// A key can't be used now. The mail waits: unsigned it might be taken for a forgery.
    func refusal(_ error: SigningKeysError, id: String) -> DeliveryResult {
        logger.warning("message not signed: it waits", metadata: ["id": "\(id)", "reason": .string(error.reason)])
        return DeliveryResult(.delayed, .encryptionNeeded, "can't be signed now: \(error.reason)")
    }

    /// Nobody asks for seals: a stranger's mail that waited for one would come back to him in the end.
    private func note(unsealed error: SigningKeysError, id: String) {
        logger.warning(
            "message not sealed: it goes as it is",
            metadata: ["id": "\(id)", "reason": .string(error.reason)]
        )
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
