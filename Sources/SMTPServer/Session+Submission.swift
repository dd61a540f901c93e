import Accounts
import CoreMetrics
import Logging
import MIME
import NIOCore
import Network
import SMTP

/// What users may send: as whom, and how much (RFC 6409 §6.1, §4.3).
extension Session {
    /// Refuses a reverse-path that is not the user's; nil where it may be used.
    func refuseSender(_ path: ReversePath) async throws(ConnectionError) -> Next? {
        guard settings.enforcesSender, let user, let address = path.address else { return nil }
        switch await resources.senders.mayUse(address, user: user) {
        case .allowed: return nil
        case .refused:
            logger.info("sender refused", metadata: ["client": "\(client)", "user": "\(user)", "sender": "\(path)"])
            return try await fault(.mailboxNameNotAllowed, .notAuthorized, "not one of your addresses")
        case .unknown(let reason):
            logger.error("sender deferred", metadata: ["user": "\(user)", "sender": "\(path)", "reason": "\(reason)"])
            reply(.localError, .systemTrouble, "cannot look up your addresses now, try again later")
            return .command
        }
    }

    /// Counts the user's message before it begins; the reply where it's over a limit, or that can't be known.
    func refuseAmount(_ transaction: Transaction) async -> Next? {
        guard let user else { return nil }
        let refusal: (ReplyCode, EnhancedStatusCode, String)
        switch await resources.senders.send(user: user, recipients: transaction.recipients.count) {
        case nil:
            counted = (user, transaction.recipients.count)
            return nil
        case .refused(let status, let text): refusal = (.mailboxUnavailable, status, text)
        case .deferred(.limitReached, let text): refusal = (.mailboxBusy, .limitReached, text)
        case .deferred(_, let reason), .unavailable(let reason):
            logger.error("message deferred", metadata: ["user": "\(user)", "reason": "\(reason)"])
            refusal = (.localError, .systemTrouble, "cannot count your message now, try again later")
        }
        logger.notice(
            refusal.0.isTransient ? "message deferred" : "message refused",
            metadata: [
                "client": "\(client)", "user": "\(user)", "sender": "\(transaction.sender.path)",
                "recipients": "\(transaction.recipients.count)", "status": "\(refusal.1)", "reason": "\(refusal.2)",
            ]
        )
        (refusal.0.isTransient ? counters.messagesDeferred : counters.messagesRefused).increment()
        resetTransaction()
        reply(refusal.0, refusal.1, refusal.2)
        return .command
    }

    /// A message that was counted is not taken.
    func takeBackCount() {
        if let counted { resources.senders.takeBack(user: counted.user, recipients: counted.recipients) }
        counted = nil
    }

    /// Fields that say who has written or sent a message (RFC 5322 §3.6.2, §3.6.6): readers show them all.
    private static let authorFields = ["From", "Sender", "Resent-From", "Resent-Sender"]

    /// Refuses a message whose author is somebody else; nil where all who are named are the user. Where From is missing, it's
    /// added.
    func refusalOfAuthor(_ header: HeaderBlock?) async -> Verdict? {
        guard settings.enforcesSender, let user, let header else { return nil }
        var known: Set<MailAddress> = []
        var count = 0
        for name in Self.authorFields {
            for field in header.all(name.lowercased().utf8) {
                count += 1
                let (listed, hasMore) = AddressListParser.read(field, maximum: Self.maximumAuthors)
                // Names of groups have no host, and who names no address has an empty one.
                let addressed = listed.filter { $0.host != nil }
                let addresses = addressed.compactMap(Self.address)
                guard !hasMore, count <= Self.maximumAuthors, !addresses.isEmpty, addresses.count == addressed.count
                else { return .unreadableAuthor(name) }
                for author in addresses where known.insert(author).inserted {
                    switch await resources.senders.mayUse(author, user: user) {
                    case .allowed: continue
                    case .refused: return .foreignAuthor(author, name)
                    case .unknown(let reason): return .unknownAuthor(reason)
                    }
                }
            }
        }
        return nil
    }

    /// Of a field, and fields.
    private static let maximumAuthors = 50

    private static func address(_ listed: ListedAddress) -> MailAddress? {
        guard let mailbox = listed.mailbox, let host = listed.host else { return nil }
        return try? MailAddress(
            localPart: String(decoding: mailbox, as: UTF8.self),
            domain: String(decoding: host, as: UTF8.self)
        )
    }
}
