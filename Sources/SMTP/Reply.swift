import NIOCore

/// A three-digit reply code (RFC 5321 §4.2.1).
package struct ReplyCode: Hashable, Sendable, CustomStringConvertible {
    /// 200 to 599.
    package let value: UInt16

    /// A code that is known to be good.
    package init(_ value: UInt16) {
        self.value = value
    }

    /// 2xx: positive completion.
    package var isPositive: Bool { value / 100 == 2 }
    /// 3xx: positive intermediate.
    package var isIntermediate: Bool { value / 100 == 3 }
    /// 4xx: transient negative completion.
    package var isTransient: Bool { value / 100 == 4 }
    /// 5xx: permanent negative completion.
    package var isPermanent: Bool { value / 100 == 5 }

    package var description: String { String(value) }

    /// 214: help message.
    package static let help = ReplyCode(214)
    /// 220: service ready.
    package static let ready = ReplyCode(220)
    /// 221: closing the connection.
    package static let closing = ReplyCode(221)
    /// 235: authentication succeeded (RFC 4954).
    package static let authenticated = ReplyCode(235)
    /// 250: requested action completed.
    package static let ok = ReplyCode(250)
    /// 252: cannot verify the user, but will accept the message (VRFY).
    package static let cannotVerify = ReplyCode(252)
    /// 334: a SASL challenge (RFC 4954).
    package static let continueAuthentication = ReplyCode(334)
    /// 354: start mail input.
    package static let startMailInput = ReplyCode(354)
    /// 421: closing, try again later.
    package static let serviceNotAvailable = ReplyCode(421)
    /// 450: mailbox temporarily unavailable.
    package static let mailboxBusy = ReplyCode(450)
    /// 451: local error, try again later.
    package static let localError = ReplyCode(451)
    /// 452: insufficient storage, or too many recipients.
    package static let insufficientStorage = ReplyCode(452)
    /// 454: temporary authentication failure, or TLS not available (RFC 4954, RFC 3207).
    package static let temporaryAuthenticationFailure = ReplyCode(454)
    /// 500: command unrecognized, or line too long.
    package static let syntaxError = ReplyCode(500)
    /// 501: syntax error in parameters or arguments.
    package static let argumentError = ReplyCode(501)
    /// 502: the command is not implemented.
    package static let notImplemented = ReplyCode(502)
    /// 503: bad sequence of commands.
    package static let badSequence = ReplyCode(503)
    /// 504: command parameter not implemented.
    package static let parameterNotImplemented = ReplyCode(504)
    /// 530: authentication required (RFC 4954).
    package static let authenticationRequired = ReplyCode(530)
    /// 535: authentication credentials invalid (RFC 4954).
    package static let authenticationFailed = ReplyCode(535)
    /// 538: encryption required for the mechanism (RFC 4954).
    package static let encryptionRequired = ReplyCode(538)
    /// 550: mailbox unavailable: not found, or refused by policy.
    package static let mailboxUnavailable = ReplyCode(550)
    /// 552: exceeded storage allocation: the message is too large.
    package static let tooLarge = ReplyCode(552)
    /// 553: mailbox name not allowed.
    package static let mailboxNameNotAllowed = ReplyCode(553)
    /// 554: transaction failed.
    package static let transactionFailed = ReplyCode(554)
    /// 555: MAIL or RCPT parameters not recognized.
    package static let parameterNotRecognized = ReplyCode(555)
}

/// One reply of a server (RFC 5321 §4.2), with its enhanced status code (RFC 2034).
package struct Reply: Hashable, Sendable, CustomStringConvertible {
    /// The code that every line starts with.
    package let code: ReplyCode
    /// Stands before the text of every line where there is one.
    package let status: EnhancedStatusCode?
    /// The texts, at least one; without line ends.
    package let lines: [String]

    /// A reply of its parts.
    package init(_ code: ReplyCode, _ status: EnhancedStatusCode?, lines: [String]) {
        self.code = code
        self.status = status
        self.lines = lines.isEmpty ? [""] : lines
    }

    /// A reply of one line.
    package init(_ code: ReplyCode, _ status: EnhancedStatusCode?, _ text: String) {
        self.init(code, status, lines: [text])
    }

    /// Appends the reply as it goes over the wire.
    package func write(to buffer: inout ByteBuffer) {
        for (index, line) in lines.enumerated() {
            Self.write(code, status, line, isLast: index == lines.count - 1, to: &buffer)
        }
    }

    /// Appends one line of a reply as it goes over the wire. Line ends inside `text` become spaces.
    package static func write(
        _ code: ReplyCode,
        _ status: EnhancedStatusCode?,
        _ text: String,
        isLast: Bool = true,
        to buffer: inout ByteBuffer
    ) {
        writeNumber(code.value, to: &buffer)
        buffer.writeInteger(isLast ? UInt8.space : UInt8(ascii: "-"))
        if let status {
            writeNumber(UInt16(status.statusClass), to: &buffer)
            buffer.writeInteger(UInt8.dot)
            writeNumber(status.subject, to: &buffer)
            buffer.writeInteger(UInt8.dot)
            writeNumber(status.detail, to: &buffer)
            buffer.writeInteger(UInt8.space)
        }
        if text.utf8.contains(where: { $0 == .carriageReturn || $0 == .lineFeed }) {
            buffer.writeBytes(text.utf8.lazy.map { $0 == .carriageReturn || $0 == .lineFeed ? .space : $0 })
        } else {
            buffer.writeString(text)
        }
        buffer.writeInteger(UInt8.carriageReturn)
        buffer.writeInteger(UInt8.lineFeed)
    }

    private static func writeNumber(_ number: UInt16, to buffer: inout ByteBuffer) {
        if number >= 100 { buffer.writeInteger(UInt8(0x30 + number / 100 % 10)) }
        if number >= 10 { buffer.writeInteger(UInt8(0x30 + number / 10 % 10)) }
        buffer.writeInteger(UInt8(0x30 + number % 10))
    }

    /// In one line, as a log or a delivery report has it: `550 5.1.1 no such mailbox`.
    package var description: String {
        let text = lines.joined(separator: " ")
        guard let status else { return "\(code) \(text)" }
        return "\(code) \(status) \(text)"
    }
}
