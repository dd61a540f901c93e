/// What happened, for programs: `class.subject.detail` (RFC 3463).
package struct EnhancedStatusCode: Hashable, Sendable, CustomStringConvertible {
    /// 2 success, 4 try again later, 5 final.
    package let statusClass: UInt8
    /// 0 to 999.
    package let subject: UInt16
    /// 0 to 999.
    package let detail: UInt16

    /// A code of parts that are known to be good.
    package init(_ statusClass: UInt8, _ subject: UInt16, _ detail: UInt16) {
        self.statusClass = statusClass
        self.subject = subject
        self.detail = detail
    }

    /// Reads `5.1.1`, all of `bytes`; nil where it is something else.
    package init?(parsing bytes: some Sequence<UInt8>) {
        var scanner = ByteScanner(bytes)
        self.init(&scanner)
        guard scanner.isAtEnd else { return nil }
    }

    init?(_ scanner: inout ByteScanner) {
        guard let first = scanner.next(), [0x32, 0x34, 0x35].contains(first), scanner.take(.dot) else { return nil }
        guard let subject = Self.number(&scanner), scanner.take(.dot), let detail = Self.number(&scanner) else {
            return nil
        }
        self.init(first - 0x30, subject, detail)
    }

    private static func number(_ scanner: inout ByteScanner) -> UInt16? {
        let digits = scanner.take(while: \.isDigit)
        guard (1...3).contains(digits.count) else { return nil }
        return digits.reduce(0) { $0 * 10 + UInt16($1 - 0x30) }
    }

    /// `5.1.1`.
    package var description: String { "\(statusClass).\(subject).\(detail)" }
}

extension EnhancedStatusCode {
    /// 2.0.0: success.
    package static let success = EnhancedStatusCode(2, 0, 0)
    /// 4.4.1: no answer from the host.
    package static let noAnswer = EnhancedStatusCode(4, 4, 1)
    /// 2.1.0: sender accepted.
    package static let senderValid = EnhancedStatusCode(2, 1, 0)
    /// 2.1.5: destination address valid.
    package static let recipientValid = EnhancedStatusCode(2, 1, 5)
    /// 2.7.0: authentication succeeded (RFC 4954 §6).
    package static let authenticated = EnhancedStatusCode(2, 7, 0)
    /// 4.2.2: the mailbox holds as much as it may.
    package static let mailboxFull = EnhancedStatusCode(4, 2, 2)
    /// 4.3.0: other or undefined mail system status.
    package static let systemTrouble = EnhancedStatusCode(4, 3, 0)
    /// 4.3.1: mail system full.
    package static let systemFull = EnhancedStatusCode(4, 3, 1)
    /// 4.3.2: system not accepting network messages.
    package static let notAccepting = EnhancedStatusCode(4, 3, 2)
    /// 4.4.7: tried for as long as a message may be; final, although what hindered it might pass (RFC 3463 §3.5).
    package static let deliveryTimeExpired = EnhancedStatusCode(4, 4, 7)
    /// 4.4.2: bad connection: it broke, or timed out.
    package static let badConnection = EnhancedStatusCode(4, 4, 2)
    /// 4.5.3: too many recipients.
    package static let tooManyRecipients = EnhancedStatusCode(4, 5, 3)
    /// 4.5.0: another command works on the message.
    package static let busy = EnhancedStatusCode(4, 5, 0)
    /// 5.2.1: the mailbox is disabled.
    package static let mailboxDisabled = EnhancedStatusCode(5, 2, 1)
    /// 4.7.0: other or undefined security status: a limit on this client, or logins cannot be verified now.
    package static let refusedForNow = EnhancedStatusCode(4, 7, 0)
    /// 4.7.1: too much in too short a time, or too early.
    package static let limitReached = EnhancedStatusCode(4, 7, 1)
    /// 5.1.1: bad destination mailbox address.
    package static let noSuchMailbox = EnhancedStatusCode(5, 1, 1)
    /// 5.1.3: bad destination mailbox address syntax.
    package static let badRecipientSyntax = EnhancedStatusCode(5, 1, 3)
    /// 5.1.7: bad sender's mailbox address syntax.
    package static let badSenderSyntax = EnhancedStatusCode(5, 1, 7)
    /// 5.3.4: message too big for system.
    package static let messageTooBig = EnhancedStatusCode(5, 3, 4)
    /// 5.2.3: message length exceeds administrative limit.
    package static let messageTooLong = EnhancedStatusCode(5, 2, 3)
    /// 5.0.0: other undefined status.
    package static let failure = EnhancedStatusCode(5, 0, 0)
    /// 5.4.6: routing loop detected.
    package static let routingLoop = EnhancedStatusCode(5, 4, 6)
    /// 5.5.1: invalid command.
    package static let invalidCommand = EnhancedStatusCode(5, 5, 1)
    /// 5.5.0: what was named is not there.
    package static let notFound = EnhancedStatusCode(5, 5, 0)
    /// 5.5.2: syntax error.
    package static let syntaxError = EnhancedStatusCode(5, 5, 2)
    /// 5.5.3: too many recipients, however often it is tried.
    package static let tooManyRecipientsEver = EnhancedStatusCode(5, 5, 3)
    /// 5.5.4: invalid command arguments.
    package static let invalidArguments = EnhancedStatusCode(5, 5, 4)
    /// 5.6.0: other or undefined media error: the message itself is not acceptable.
    package static let badMessage = EnhancedStatusCode(5, 6, 0)
    /// 5.7.0: other or undefined security status, such as that authentication is required.
    package static let securityRequired = EnhancedStatusCode(5, 7, 0)
    /// 5.7.1: delivery not authorized, message refused.
    package static let notAuthorized = EnhancedStatusCode(5, 7, 1)
    /// 5.7.8: authentication credentials invalid (RFC 4954 §6).
    package static let badCredentials = EnhancedStatusCode(5, 7, 8)
    /// 5.7.11: encryption required for the mechanism (RFC 4954 §6).
    package static let encryptionRequired = EnhancedStatusCode(5, 7, 11)
    /// 5.4.7: not delivered by the time that the sender had set (RFC 2852 §4.1.4).
    package static let deadlinePassed = EnhancedStatusCode(5, 4, 7)
    /// 5.6.3: the message would have to be converted, and can't be (RFC 3030 §3).
    package static let conversionNotSupported = EnhancedStatusCode(5, 6, 3)
    /// 5.6.7: an address in UTF-8 where that is not allowed (RFC 6531 §3.5, §3.7.4.2).
    package static let noUTF8Addresses = EnhancedStatusCode(5, 6, 7)
    /// 5.7.30: REQUIRETLS can't be kept to (RFC 8689 §7).
    package static let tlsNotAssured = EnhancedStatusCode(5, 7, 30)
}
