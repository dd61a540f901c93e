import Front
import Logging
import MilterClient
import NIOCore
import Network
import SMTP

extension Session {
    /// XCLIENT: a trusted proxy says who the client is. All that was said before is forgotten, and the greeting comes again
    /// (https://www.postfix.org/XCLIENT_README.html).
    func takeOver(_ attributes: ClientAttributes) async throws(ConnectionError) -> Next {
        guard extensions.contains(.client) else {
            return try await fault(.syntaxError, .syntaxError, "unknown command")
        }
        guard isTrustedProxy else {
            return try await fault(.mailboxUnavailable, .notAuthorized, "only for proxies that are trusted")
        }
        guard transaction == nil else {
            return try await fault(.badSequence, .invalidCommand, "not within a transaction")
        }
        var login: MailAddress?
        if let name = attributes[.login] {
            // Who logs in without a domain is in the first one.
            if name.utf8.contains(UInt8(ascii: "@")) {
                login = try? MailAddress(parsing: name.utf8, options: .envelope)
            } else {
                let (address, kind) = await resources.recipients.homeAddress(localPart: name)
                if case .deferred(let reason) = kind, address == nil {
                    logger.error("client of a proxy deferred", metadata: ["login": "\(name)", "reason": "\(reason)"])
                    reply(.localError, .systemTrouble, "cannot look up LOGIN now, try again later")
                    return .command
                }
                login = address
            }
            if login == nil { return try await fault(.argumentError, .invalidArguments, "LOGIN is no address") }
        }
        // Without an address it would go on with the proxy's, and with all that the proxy may do.
        guard !attributes.named.contains(.address) || attributes.ipAddress(.address) != nil else {
            return try await fault(.argumentError, .invalidArguments, "ADDR must be known")
        }
        if let text = attributes.ipAddress(.address) {
            guard let remote = Self.address(text, attributes[.port]) else {
                return try await fault(.argumentError, .invalidArguments, "ADDR is no address")
            }
            let local = attributes.ipAddress(.destinationAddress).flatMap {
                Self.address($0, attributes[.destinationPort])
            }
            front.isReally(remote, at: local)
            connectionFacts = nil
        }
        logger.debug("client of a proxy", metadata: ["client": "\(client)", "name": "\(attributes[.name] ?? "")"])
        helo = attributes[.helo]
        isExtended = attributes[.protocolName].map { $0 != "SMTP" } ?? true
        user = login?.description
        mechanism = nil
        resetTransaction()
        if let (code, status, text) = refuseConnection() {
            reply(code, status, text)
            return .close
        }
        if let verdict = await introduceClient(), await refuseClient(verdict) == .close { return .close }
        if let helo, let verdict = await milters?.helo(helo, macros()), let next = try await refuse(by: verdict) {
            self.helo = nil
            return next
        }
        askForName()
        reply(.ready, nil, "\(settings.hostname) \(kind == .lmtp ? "LMTP" : "ESMTP")")
        return .command
    }

    private static func address(_ text: String, _ port: String?) -> SocketAddress? {
        (try? SocketAddress(ipAddress: text, port: port.flatMap { UInt16($0) }.map { Int($0) } ?? 0))?.unmapped
    }
}
