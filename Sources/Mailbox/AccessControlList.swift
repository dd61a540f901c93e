/// Whom an entry of a folder's list is about, as Dovecot's IMAP names them.
package struct AccessIdentifier: Hashable, Sendable {
    package enum Subject: Hashable, Sendable {
        case anyone
        /// Whoever has logged in, which is everybody here.
        case authenticated
        /// The account's own user, who has all rights whatever stands here.
        case owner
        /// An address.
        case user(String)
        /// What is kept and means nothing here: groups.
        case other(String)
    }

    package let subject: Subject
    /// Whether its rights are taken away, not given (RFC 4314 §2).
    package let isNegative: Bool

    package init(_ subject: Subject, isNegative: Bool = false) {
        self.subject = subject
        self.isNegative = isNegative
    }

    /// Octets.
    private static let maximum = 300

    /// As clients write it: nil for what can't be one.
    package init?(imap octets: [UInt8]) {
        let isNegative = octets.first == UInt8(ascii: "-")
        let name = isNegative ? octets.dropFirst() : octets[...]
        guard (1...Self.maximum).contains(name.count), name.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != 0x22 }) else {
            return nil
        }
        let text = String(decoding: name, as: UTF8.self)
        switch text {
        case "anyone": self.init(.anyone, isNegative: isNegative)
        case "authenticated": self.init(.authenticated, isNegative: isNegative)
        case "owner": self.init(.owner, isNegative: isNegative)
        default:
            guard let first = name.first, first != UInt8(ascii: "$"), first != UInt8(ascii: "!"),
                first != UInt8(ascii: "#"), first != UInt8(ascii: "-")
            else { return nil }
            self.init(.user(text), isNegative: isNegative)
        }
    }

    /// As clients read it.
    package var imap: String {
        let name =
            switch subject {
            case .anyone: "anyone"
            case .authenticated: "authenticated"
            case .owner: "owner"
            case .user(let user): user
            case .other(let text):
                text.hasPrefix("group=")
                    ? "$" + text.dropFirst(6)
                    : text.hasPrefix("group-override=") ? "!$" + text.dropFirst(15) : "#" + text
            }
        return (isNegative ? "-" : "") + name
    }

    /// As the file has it.
    init(file text: String) {
        let isNegative = text.hasPrefix("-")
        let name = isNegative ? String(text.dropFirst()) : text
        switch name {
        case "anyone": self.init(.anyone, isNegative: isNegative)
        case "authenticated": self.init(.authenticated, isNegative: isNegative)
        case "owner": self.init(.owner, isNegative: isNegative)
        default:
            let isUser = name.hasPrefix("user=")
            self.init(isUser ? .user(String(name.dropFirst(5))) : .other(name), isNegative: isNegative)
        }
    }

    var file: String {
        let name =
            switch subject {
            case .anyone: "anyone"
            case .authenticated: "authenticated"
            case .owner: "owner"
            case .user(let user): "user=\(user)"
            case .other(let text): text
            }
        return (isNegative ? "-" : "") + name
    }
}

/// How SETACL changes rights (RFC 4314 §3.1).
package enum AccessChange: Hashable, Sendable {
    case replace(MailboxRights)
    case add(MailboxRights)
    case remove(MailboxRights)
    /// DELETEACL: the entry goes.
    case delete
}

/// The file `dovecot-acl` of a folder: a line for each identifier, with its rights behind a blank. What isn't understood stays
/// as it is, and gives nothing.
package struct AccessControlList: Sendable {
    private enum Line: Sendable {
        /// With what stands behind the letters, such as rights that Dovecot's plugins have.
        case entry(AccessIdentifier, MailboxRights, rest: String)
        case unknown([UInt8])
    }

    private var lines: [Line] = []

    static let path = "dovecot-acl"
    /// Octets, and entries.
    static let maximumOctets = 256 * 1024
    package static let maximumCount = 1000

    init() {}

    init(_ octets: [UInt8]) {
        for line in octets.split(separator: UInt8(ascii: "\n")) { lines.append(Self.parse(Array(line))) }
    }

    private static func parse(_ octets: [UInt8]) -> Line {
        guard octets.first != UInt8(ascii: "#") else { return .unknown(octets) }
        var rest = octets[...]
        var name: [UInt8] = []
        // An identifier with blanks in it stands between quotes.
        if rest.first == UInt8(ascii: "\"") {
            rest.removeFirst()
            while let octet = rest.popFirst(), octet != UInt8(ascii: "\"") {
                if octet == UInt8(ascii: "\\"), let escaped = rest.popFirst() {
                    name.append(escaped)
                } else {
                    name.append(octet)
                }
            }
        } else {
            name = Array(rest.prefix { $0 != UInt8(ascii: " ") })
            rest = rest.dropFirst(name.count)
        }
        guard !name.isEmpty, let text = String(validating: name, as: UTF8.self) else { return .unknown(octets) }
        rest = rest.drop { $0 == UInt8(ascii: " ") }
        var rights: MailboxRights = []
        while let letter = rest.first, letter != UInt8(ascii: ":"), letter != UInt8(ascii: " ") {
            guard let right = MailboxRights(letter: letter) else { return .unknown(octets) }
            rights.insert(right)
            rest.removeFirst()
        }
        return .entry(AccessIdentifier(file: text), rights, rest: String(decoding: rest, as: UTF8.self))
    }

    var octets: [UInt8] {
        var octets: [UInt8] = []
        for line in lines {
            switch line {
            case .unknown(let some): octets += some
            case .entry(let identifier, let rights, let rest):
                let name = identifier.file
                let needsQuotes = name.utf8.contains { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\"") }
                if needsQuotes {
                    octets.append(UInt8(ascii: "\""))
                    for octet in name.utf8 {
                        if octet == UInt8(ascii: "\"") || octet == UInt8(ascii: "\\") {
                            octets.append(UInt8(ascii: "\\"))
                        }
                        octets.append(octet)
                    }
                    octets.append(UInt8(ascii: "\""))
                } else {
                    octets += name.utf8
                }
                octets += " \(rights.text)\(rest)".utf8
            }
            octets.append(UInt8(ascii: "\n"))
        }
        return octets
    }

    package var entries: [(identifier: AccessIdentifier, rights: MailboxRights)] {
        lines.compactMap { line in
            if case .entry(let identifier, let rights, _) = line { (identifier, rights) } else { nil }
        }
    }

    /// - Returns: false where there would be too many entries.
    mutating func apply(_ change: AccessChange, to identifier: AccessIdentifier) -> Bool {
        let place = lines.firstIndex { line in
            if case .entry(let other, _, _) = line { other == identifier } else { false }
        }
        var rights: MailboxRights = []
        var rest = ""
        if let place, case .entry(_, let known, let more) = lines[place] { (rights, rest) = (known, more) }
        switch change {
        case .replace(let some): rights = some
        case .add(let some): rights.formUnion(some)
        case .remove(let some): rights.subtract(some)
        case .delete:
            if let place { lines.remove(at: place) }
            return true
        }
        if let place {
            lines[place] = .entry(identifier, rights, rest: rest)
        } else {
            guard lines.count < Self.maximumCount else { return false }
            lines.append(.entry(identifier, rights, rest: rest))
        }
        return true
    }

    /// What a user who isn't the owner may do: the rights of the entry that is most about him (his own before `authenticated`
    /// before `anyone`, as Dovecot has it), without those that are taken away from any of these.
    package func rights(of user: String) -> MailboxRights {
        var granted: MailboxRights = []
        var rank = -1
        var denied: MailboxRights = []
        for (identifier, rights) in entries {
            let own: Int
            switch identifier.subject {
            case .anyone: own = 0
            case .authenticated: own = 1
            case .user(let name) where name == user: own = 2
            case .user, .owner, .other: continue
            }
            if identifier.isNegative {
                denied.formUnion(rights)
            } else if own > rank {
                (granted, rank) = (rights, own)
            } else if own == rank {
                // Of two lines the one with less counts.
                granted.formIntersection(rights)
            }
        }
        return granted.subtracting(denied)
    }
}

extension Maildir {
    /// Dovecot's cache of which folders have a list; it makes it anew.
    private static let dovecotCache = "dovecot-acl-list"

    private func accessPath(_ name: FolderName) -> String {
        "\(name.directory)/\(AccessControlList.path)"
    }

    package func accessList(of name: FolderName) throws(MailboxError) -> AccessControlList {
        try requireFolder(name)
        return try readAccessList(name) ?? AccessControlList()
    }

    private func readAccessList(_ name: FolderName) throws(MailboxError) -> AccessControlList? {
        try root.contents(accessPath(name), maximum: AccessControlList.maximumOctets).map { AccessControlList($0) }
    }

    package func changeAccess(
        to name: FolderName,
        of identifier: AccessIdentifier,
        _ change: AccessChange
    ) throws(MailboxError) {
        let path = accessPath(name)
        try root.withLock(Self.lockFile) { () throws(MailboxError) in
            try requireFolder(name)
            let lock = try MboxLock.DotLock.acquire(path, in: root)
            defer { withExtendedLifetime(lock) {} }
            var list = try readAccessList(name) ?? AccessControlList()
            guard list.apply(change, to: identifier) else { throw .overQuota }
            try root.replace(path, with: list.octets)
            try root.sync(name.directory)
            try root.removeIfPresent(Self.dovecotCache)
        }
    }

    func inheritAccess(_ name: FolderName, from parent: FolderName) throws(MailboxError) {
        guard let list = try readAccessList(parent) else { return }
        try root.replace(accessPath(name), with: list.octets)
        try root.sync(name.directory)
    }
}
