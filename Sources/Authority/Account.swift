import SASL
import SMTP

/// How a mailbox is kept on disk.
package enum MailboxFormat: String, Sendable, CaseIterable {
    case maildir
    /// A Maildir whose folders are directories in each other: Dovecot's `LAYOUT=fs`.
    case maildirTree = "maildir-fs"
    case mbox
}

/// One line of `etc/users`: `address:hash:mailbox:format:quota:verifier`.
package struct Account: Sendable, Equatable {
    /// The only spelling that we use ourselves; looked up without regard to ASCII case.
    package let address: MailAddress
    /// As crypt(5) or argon2 encode it; `!` in front locks the account.
    package var hash: String
    /// Below the mail directory.
    package var mailbox: String
    package var format: MailboxFormat
    /// Octets; 0 for none.
    package var quota: Int
    /// By which SCRAM recognises the password that `hash` is of; nil where none was made with it.
    package var verifier: ScramVerifier?

    package init(
        address: MailAddress,
        hash: String,
        mailbox: String,
        format: MailboxFormat,
        quota: Int,
        verifier: ScramVerifier? = nil
    ) {
        self.address = address
        self.hash = hash
        self.mailbox = mailbox
        self.format = format
        self.quota = quota
        self.verifier = verifier
    }

    /// Whether nobody may log in, by whatever means.
    package var isLocked: Bool { hash.first == "!" }

    /// Locks or unlocks the account. The password stays what it was.
    package mutating func lock(_ isLocked: Bool) {
        hash = (isLocked ? "!" : "") + hash.drop { $0 == "!" }
    }

    /// Reads a line; nil with a reason where it can't be understood.
    static func parse(_ line: Substring) -> Result<Account, TableFault> {
        if let reason = TableLines.fault(of: line) { return .failure(TableFault(reason)) }
        let fields = line.split(separator: ":", omittingEmptySubsequences: false)
        guard (2...6).contains(fields.count) else {
            return .failure(TableFault("expected address:hash:mailbox:format:quota:verifier"))
        }
        guard let address = try? MailAddress(parsing: fields[0].utf8, options: .utf8) else {
            return .failure(TableFault("\"\(fields[0])\" is not an address"))
        }
        let mailbox = fields.count > 2 && !fields[2].isEmpty ? String(fields[2]) : standardMailbox(of: address)
        guard isMailbox(mailbox) else {
            return .failure(TableFault("\"\(mailbox)\" is not a path below the mail directory"))
        }
        let format = fields.count > 3 && !fields[3].isEmpty ? MailboxFormat(rawValue: String(fields[3])) : .maildir
        guard let format else { return .failure(TableFault("\"\(fields[3])\" is not maildir, maildir-fs or mbox")) }
        let quota = fields.count > 4 && !fields[4].isEmpty ? Int(fields[4]) : 0
        guard let quota, quota >= 0 else { return .failure(TableFault("\"\(fields[4])\" is not a number of octets")) }
        let verifier = fields.count > 5 && !fields[5].isEmpty ? ScramVerifier(parsing: fields[5]) : nil
        guard verifier != nil || fields.count < 6 || fields[5].isEmpty else {
            return .failure(TableFault("the verifier is none of SCRAM's"))
        }
        return .success(
            Account(
                address: address,
                hash: String(fields[1]),
                mailbox: mailbox,
                format: format,
                quota: quota,
                verifier: verifier
            )
        )
    }

    /// The account as a line of `etc/users`.
    package var line: String {
        "\(address):\(hash):\(mailbox):\(format.rawValue):\(quota)" + (verifier.map { ":\($0.text)" } ?? "")
    }

    /// `domain/local-part`, where nothing else was chosen. Octets that a path could misread become `_`.
    package static func standardMailbox(of address: MailAddress) -> String {
        let local = String(address.localPart.lowercased().map { $0 == "/" || $0 == ":" || $0 == "\0" ? "_" : $0 })
        return "\(address.lowercasedDomain)/\(local.first == "." ? "_" + local.dropFirst() : local)"
    }

    /// Whether a path stays below the mail directory, and leaves room for the names of files beside it.
    package static func isMailbox(_ path: String) -> Bool {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        return path.utf8.count <= 1024
            && parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count <= 200 }
            && path.unicodeScalars.allSatisfy { $0 != ":" && $0.properties.generalCategory != .control }
    }
}

/// The form under which addresses are looked up: ASCII letters in lower case.
struct AddressKey: Hashable, Sendable {
    let text: String

    init(localPart: some StringProtocol, domain: some StringProtocol) {
        text = Self.lowercased(localPart) + "@" + Self.lowercased(domain)
    }

    init(_ address: MailAddress) { self.init(localPart: address.localPart, domain: address.domain) }

    private static func lowercased(_ text: some StringProtocol) -> String {
        String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
