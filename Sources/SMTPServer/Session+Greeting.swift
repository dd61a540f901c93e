import Front
import NIOCore
import Network
import SASL
import SMTP

extension Session {
    /// HELO and EHLO (RFC 5321 §4.1.1.1): resets the transaction; EHLO lists the extensions.
    func hello(_ name: String, isExtended: Bool) -> Next {
        helo = name
        self.isExtended = isExtended
        transaction = nil
        guard isExtended else {
            reply(.ok, nil, settings.hostname)
            return .command
        }
        reply(.ok, nil, settings.hostname, isLast: false)
        reply(.ok, nil, "PIPELINING", isLast: false)
        reply(.ok, nil, "SIZE \(settings.limits.message)", isLast: false)
        if front.mayStartTLS { reply(.ok, nil, "STARTTLS", isLast: false) }
        let mechanisms = front.mechanisms
        if !mechanisms.isEmpty {
            reply(.ok, nil, "AUTH " + mechanisms.map(\.rawValue).joined(separator: " "), isLast: false)
        }
        reply(.ok, nil, "8BITMIME", isLast: false)
        reply(.ok, nil, "ENHANCEDSTATUSCODES")
        return .command
    }

    /// STARTTLS (RFC 3207): what the client sent behind it is discarded, and the session state is reset (§4.2).
    func startTLS() async throws(ConnectionError) -> Next {
        guard front.mayStartTLS else {
            let code = connection.tls == nil ? ReplyCode.notImplemented : .badSequence
            return try await fault(code, .invalidCommand, front.tlsRefusal)
        }
        guard helo != nil, isExtended else {
            return try await fault(.badSequence, .invalidCommand, "send EHLO first")
        }
        var ready = ByteBuffer()
        Reply.write(.ready, .success, "go ahead", to: &ready)
        try await front.startTLS(reply: ready)
        helo = nil
        isExtended = false
        user = nil
        transaction = nil
        return .command
    }
}
