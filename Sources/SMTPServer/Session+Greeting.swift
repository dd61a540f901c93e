import Front
import MilterClient
import NIOCore
import Network
import SASL
import SMTP

extension Session {
    /// HELO and EHLO (RFC 5321 §4.1.1.1), LHLO (RFC 2033 §4.1): resets the transaction; but for HELO, lists the extensions.
    func hello(_ name: String, by verb: Command.Verb) async throws(ConnectionError) -> Next {
        guard (verb == .lhlo) == (kind == .lmtp) else {
            let right = kind == .lmtp ? "LHLO" : "EHLO"
            return try await fault(
                .syntaxError,
                .invalidCommand,
                "say \(right): this is \(kind == .lmtp ? "LMTP" : "SMTP")"
            )
        }
        resetTransaction()
        if let verdict = await milters?.helo(name, macros()), let next = try await refuse(by: verdict) {
            helo = nil
            return next
        }
        helo = name
        // EHLO has to be the last of what comes together (RFC 2920 §3.1).
        if let refusal = try await refuseEarlyPipelining() { return refusal }
        isExtended = verb != .helo
        guard isExtended else {
            reply(.ok, nil, settings.hostname)
            return .command
        }
        let lines = ServiceExtension.allCases.filter(offers).map(announcement)
        reply(.ok, nil, settings.hostname, isLast: lines.isEmpty)
        for (index, line) in lines.enumerated() { reply(.ok, nil, line, isLast: index == lines.count - 1) }
        return .command
    }

    /// STARTTLS (RFC 3207): what the client sent behind it is discarded, and the session state is reset (§4.2).
    func startTLS() async throws(ConnectionError) -> Next {
        guard front.mayStartTLS, extensions.contains(.startTLS) else {
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
        mechanism = nil
        resetTransaction()
        return .command
    }
}
