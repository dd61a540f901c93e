import Cryptography
import Encodings
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
    /// As crypt(5) or argon2 encode it; `!` in front locks the account. Another password makes the verifier void.
    package var hash: String {
        didSet { if Self.mark(hash) != Self.mark(oldValue) { verifier = nil } }
    }
    /// Below the mail directory.
    package var mailbox: String
    package var format: MailboxFormat
    /// Octets; 0 for none.
    package var quota: Int
    /// By which SCRAM recognises the password that `hash` is of; nil where none was made with it.
    package var verifier: ScramVerifier?
    /// Whether the line has a verifier that was made beside another hash, or doesn't say beside which: it is not used.
    package private(set) var hasForeignVerifier = false

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
    ///
    /// A scheme in braces may stand in front of the mark. No hash at all, and `*`, `*LK*` and their like, which no password has in
    /// shadow(5), lock the account as `!` does.
    package var isLocked: Bool {
        let rest = hash[Self.endOfScheme(hash)...]
        return hash.first == "!" || rest.isEmpty || rest.first == "!" || rest.first == "*"
    }

    /// Locks or unlocks the account. The password stays what it was.
    package mutating func lock(_ isLocked: Bool) {
        let bare = hash.drop { $0 == "!" }
        if isLocked {
            hash = "!\(bare)"
        } else {
            let end = Self.endOfScheme(bare)
            let rest = bare[end...].drop { $0 == "!" }
            hash = "\(bare[..<end])\(rest)"
        }
    }

    /// Where the hash itself begins, behind the scheme that Dovecot writes in front.
    private static func endOfScheme<Text: StringProtocol>(_ hash: Text) -> Text.Index {
        guard hash.first == "{", let brace = hash.firstIndex(of: "}") else { return hash.startIndex }
        return hash.index(after: brace)
    }

    /// Tells hashes apart and says nothing about passwords: a verifier has the mark of the hash that it was made beside. That an
    /// account is locked changes nothing.
    static func mark(_ hash: String) -> String {
        let bare = hash.drop { $0 == "!" }
        return Base64.text(HashFunction.sha256.digest(of: bare.utf8).prefix(12))
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
        var account = Account(
            address: address,
            hash: String(fields[1]),
            mailbox: mailbox,
            format: format,
            quota: quota
        )
        if fields.count > 5, !fields[5].isEmpty {
            guard let (verifier, mark) = markedVerifier(fields[5]) else {
                return .failure(TableFault("the verifier is none of SCRAM's"))
            }
            if mark == Self.mark(account.hash) {
                account.verifier = verifier
            } else {
                account.hasForeignVerifier = true
            }
        }
        return .success(account)
    }

    /// A verifier and the mark behind it; nil where it's none of SCRAM's.
    private static func markedVerifier(_ text: Substring) -> (verifier: ScramVerifier, mark: String?)? {
        if let verifier = ScramVerifier(parsing: text) { return (verifier, nil) }
        guard let end = text.lastIndex(of: "$"), let verifier = ScramVerifier(parsing: text[..<end]) else { return nil }
        return (verifier, String(text[text.index(after: end)...]))
    }

    /// The account as a line of `etc/users`. A verifier that is not used is left out.
    package var line: String {
        "\(address):\(hash):\(mailbox):\(format.rawValue):\(quota)"
            + (verifier.map { ":\($0.text)$\(Self.mark(hash))" } ?? "")
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
