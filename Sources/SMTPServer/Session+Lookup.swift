import Accounts
import Logging
import Network
import SMTP

extension Session {
    /// VRFY (RFC 5321 §3.5): what RCPT would say, for those who may know.
    func verify(_ text: String, isUTF8: Bool) async throws(ConnectionError) -> Next {
        guard extensions.contains(.verify), mayLookUp else {
            reply(.cannotVerify, .success, "send mail and see")
            return .command
        }
        guard let (address, kind) = await lookUp(text) else {
            return try await fault(.argumentError, .badRecipientSyntax, "not an address")
        }
        guard isUTF8 || address?.needsUTF8 != true else {
            return try await fault(.mailboxNameNotAllowed, .noUTF8Addresses, "say SMTPUTF8 to hear of it")
        }
        switch kind {
        case .local, .returnPath, .full: reply(.ok, .recipientValid, "<\(address.map(\.description) ?? "postmaster")>")
        case .foreign: reply(.cannotVerify, .success, "not here: send mail and see")
        case .unknown(let status, let text): return try await fault(.mailboxUnavailable, status, text)
        case .deferred(let reason):
            logger.error("recipient deferred", metadata: ["recipient": "\(text)", "reason": "\(reason)"])
            reply(.localError, .systemTrouble, "cannot look it up now, try again later")
        }
        return .command
    }

    /// EXPN (RFC 5321 §3.5): the addresses that an alias or a list leads to.
    func expand(_ text: String, isUTF8: Bool) async throws(ConnectionError) -> Next {
        guard extensions.contains(.expand), mayLookUp else {
            return try await fault(.notImplemented, .invalidCommand, "EXPN is not available here")
        }
        guard let (address, kind) = await lookUp(text), let address else {
            return try await fault(.argumentError, .badRecipientSyntax, "not an address")
        }
        if kind == .foreign {
            return try await fault(.mailboxUnavailable, .noSuchMailbox, "not an address of ours")
        }
        let addresses: [String]
        do throws(AccountsError) {
            switch try await resources.recipients.expansion(of: address) {
            case .mailbox(let mailbox, _): addresses = [mailbox.address]
            case .forward(let targets, _): addresses = targets
            }
        } catch {
            guard case .refused(let status, let text) = error else {
                logger.error("expansion deferred", metadata: ["address": "\(address)", "reason": "\(error)"])
                reply(.localError, .systemTrouble, "cannot look it up now, try again later")
                return .command
            }
            return try await fault(.mailboxUnavailable, status, text)
        }
        guard isUTF8 || addresses.allSatisfy({ $0.utf8.allSatisfy { $0 < 0x80 } }) else {
            return try await fault(.mailboxNameNotAllowed, .noUTF8Addresses, "say SMTPUTF8 to hear of it")
        }
        for (index, address) in addresses.enumerated() {
            reply(.ok, .recipientValid, "<\(address)>", isLast: index == addresses.count - 1)
        }
        return .command
    }

    /// The address that is meant, with or without brackets or domain; nil where it's none.
    private func lookUp(_ text: String) async -> (address: MailAddress?, kind: RecipientKind)? {
        let options: MailAddress.ParsingOptions = [.utf8, .irregularDots, .unbracketedPaths]
        let word = text.utf8.filter { $0 != UInt8(ascii: "<") && $0 != UInt8(ascii: ">") }
        // `VRFY bob` means the one here.
        if !word.contains(UInt8(ascii: "@")) {
            return await resources.recipients.homeAddress(localPart: String(decoding: word, as: UTF8.self))
        }
        guard case .mailbox(let address)? = try? ForwardPath(parsing: text.utf8, options: options) else { return nil }
        return (address, await resources.recipients.kind(of: address))
    }

    /// HELP: what there is, or how one command is written.
    func help(_ topic: String) async throws(ConnectionError) -> Next {
        guard extensions.contains(.help) else {
            return try await fault(.notImplemented, .invalidCommand, "HELP is not available here")
        }
        let verbs = Command.Verb.allCases.filter(isKnown)
        guard !topic.isEmpty else {
            reply(.help, .success, "\(settings.hostname) knows these commands:", isLast: false)
            for verb in verbs { reply(.help, .success, usage(of: verb), isLast: false) }
            reply(.help, .success, "RFC \(kind == .lmtp ? "2033" : "5321") tells the rest")
            return .command
        }
        guard let verb = verbs.first(where: { $0.rawValue == topic.uppercased() }) else {
            return try await fault(.parameterNotImplemented, .invalidArguments, "no such command")
        }
        reply(.help, .success, usage(of: verb))
        return .command
    }

    private func isKnown(_ verb: Command.Verb) -> Bool {
        switch verb {
        case .helo, .ehlo: kind != .lmtp
        case .lhlo: kind == .lmtp
        case .startTLS: offers(.startTLS)
        case .auth: extensions.contains(.auth) && kind != .lmtp
        case .bdat: extensions.contains(.chunking)
        case .vrfy: extensions.contains(.verify)
        case .expn: offers(.expand)
        case .xclient: offers(.client)
        case .mail, .rcpt, .data, .rset, .help, .noop, .quit: true
        }
    }

    private func usage(of verb: Command.Verb) -> String {
        let used: (ServiceExtension, String) -> String = { self.offers($0) ? " [\($1)]" : "" }
        switch verb {
        case .helo, .ehlo, .lhlo: return "\(verb.rawValue) name: who you are"
        case .startTLS: return "STARTTLS: encrypts the connection"
        case .auth: return "AUTH mechanism [response]: logs in, over TLS"
        case .mail:
            return "MAIL FROM:<sender>" + used(.size, "SIZE=octets") + used(.eightBitMIME, "BODY=8BITMIME")
                + used(.utf8, "SMTPUTF8") + used(.dsn, "RET=HDRS|FULL] [ENVID=name")
                + used(.requireTLS, "REQUIRETLS") + used(.deliverBy, "BY=seconds;R|N")
                + used(.futureRelease, "HOLDFOR=seconds] [HOLDUNTIL=time") + used(.priority, "MT-PRIORITY=level")
                + used(.variableSender, "XVERP")
                + ": begins a message"
        case .rcpt:
            return "RCPT TO:<recipient>"
                + used(.dsn, "NOTIFY=NEVER|SUCCESS,FAILURE,DELAY] [ORCPT=type;address") + ": one recipient of it"
        case .data: return "DATA: the message follows, up to a dot on a line of its own"
        case .bdat: return "BDAT octets [LAST]: so many octets of the message follow"
        case .rset: return "RSET: forgets the message"
        case .vrfy: return "VRFY address: whether there is such an address"
        case .expn: return "EXPN address: whom a list or an alias leads to"
        case .help: return "HELP [command]: this"
        case .noop: return "NOOP: does nothing"
        case .xclient: return "XCLIENT attribute=value ...: who the client of a proxy is"
        case .quit: return "QUIT: ends the session"
        }
    }
}
