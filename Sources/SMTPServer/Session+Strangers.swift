import CoreMetrics
import Front
import Logging
import NIOCore
import Network
import SMTP

/// What strangers on `smtp` may do before they are known: how soon they talk, how often they come.
extension Session {
    /// Whether it's somebody of whom nothing is known.
    var isStranger: Bool {
        kind == .smtp && user == nil && !mayRelayByAddress && !isProxyItself && !isIn(settings.exempt)
    }

    /// Whether it's a trusted proxy that has not said yet who its client is.
    private var isProxyItself: Bool {
        isTrustedProxy && front.remoteAddress?.addressOctets == connection.remoteAddress?.addressOctets
    }

    /// Counts the connection; the reply where there are too many of its kind.
    func refuseConnection() -> (ReplyCode, EnhancedStatusCode, String)? {
        guard let excess = excess(of: .connection) else { return nil }
        let text = "too many connections from \(excess.rawValue) within a minute, try again later"
        logger.notice("connection refused", metadata: ["client": "\(client)", "reason": "\(text)"])
        counters.connectionsTooFast.increment()
        return (.serviceNotAvailable, .refusedForNow, text)
    }

    /// Counts a transaction; refuses it where there are too many of its kind.
    func refuseTransaction(from sender: ReversePath) -> Next? {
        guard let excess = excess(of: .message) else { return nil }
        let text = "too many messages from \(excess.rawValue) within a minute, try again later"
        logger.notice(
            "message deferred",
            metadata: ["client": "\(client)", "helo": "\(helo ?? "")", "sender": "\(sender)", "reason": "\(text)"]
        )
        counters.messagesDeferred.increment()
        reply(.mailboxBusy, .limitReached, text)
        return .command
    }

    private func excess(of event: ClientRates.Event) -> ClientRates.Excess? {
        guard isStranger, let address = front.remoteAddress?.addressOctets else { return nil }
        return resources.rates.excess(of: event, by: address)
    }

    /// Ends the session of a stranger who has sent more before he could know that he may (RFC 2920 §3.1): such programs don't
    /// wait for replies, and send what they came to send whatever these say.
    func refuseEarlyPipelining() async throws(ConnectionError) -> Next? {
        guard !settings.mayPipelineEarly, connection.input.readableBytes > 0, isStranger else { return nil }
        logger.info("client talked before its turn", metadata: ["client": "\(client)", "helo": "\(helo ?? "")"])
        counters.earlyTalkers.increment()
        reply(.transactionFailed, .notFound, "wait for the reply")
        try await flush()
        return .close
    }
}
